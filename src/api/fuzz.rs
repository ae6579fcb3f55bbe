//! What comes over the network to the StorageMiner API, for a fuzzer: see [`crate::fuzz`].

use super::{
    rpc::{self, Asked},
    token::Secret,
};

/// A request, and by its text a token: of those only what this secret signed is believed.
pub fn requests(bytes: &[u8]) {
    if let Ok(Asked::Many(calls)) = rpc::read(bytes) {
        assert!((1..=rpc::BATCH).contains(&calls.len()), "a batch of {}", calls.len());
    }
    let secret = Secret::new(&[7; 32]);
    if let Some(allowed) = std::str::from_utf8(bytes).ok().and_then(|token| secret.verify(token)) {
        let again = secret.verify(&secret.sign(&allowed));
        assert_eq!(again, Some(allowed), "a token changes on its way");
    }
}
