//! What a unit is told to become, for a fuzzer: see [`crate::fuzz`].

use super::launch::Launch;

/// The line on a unit's standard input.
pub fn launches(bytes: &[u8]) {
    let told = |name: &str| (name == "INVOCATION_ID").then(|| "0".repeat(32));
    if let Ok(launch) = Launch::read(bytes, told) {
        assert_eq!(launch.args.first().map(String::as_str), Some("worker"), "a unit becomes a worker only");
        assert!(Launch::read(launch.to_line().as_bytes(), |_| None).is_ok_and(|again| again == launch));
    }
}
