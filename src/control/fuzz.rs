//! What comes over the control socket, for a fuzzer: see [`crate::fuzz`].

use super::{
    Ask, PledgeBody,
    server::{order_of, slot_order_of},
};

/// A request: two parts of its path, divided by `/`, a line break, and its body.
pub fn orders(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (path, rest) = bytes.split_at(end);
    let body = rest.get(1..).unwrap_or_default();
    let Ok(path) = std::str::from_utf8(path) else { return };
    let (name, verb) = path.split_once('/').unwrap_or(("", path));
    if let Ok(ask) = order_of(name, verb, body) {
        assert!(matches!(ask, Ask::Sector { .. }), "an order about a sector is {ask:?}");
    }
    for slot in [Some(name), None] {
        if let Ok(ask) = slot_order_of(slot, verb, body) {
            let Ask::Slots { place, .. } = ask else { panic!("an order about slots is {ask:?}") };
            assert_eq!(place.is_some(), slot.is_some(), "one slot is all, or all are one");
        }
    }
    serde_json::from_slice::<PledgeBody>(body).ok();
}
