//! Addresses and object ids as the devnet makes and reads them.
//!
//! Wallet addresses look like BLS ones but have no key behind them: nothing here signs or checks a signature.

use crate::units::Hash32;
use cid::Cid;
use fvm_shared::address::{Address, Network, Protocol};
use multihash_codetable::{Code, MultihashDigest};

const DAG_CBOR: u64 = 0x71;

/// Reads an address with either network's prefix.
pub fn parse(text: &str) -> Option<Address> {
    let network = if text.starts_with('f') { Network::Mainnet } else { Network::Testnet };
    network.parse_address(text).ok()
}

/// Prints an address with the test networks' prefix, whatever the process-global network is.
pub fn show(address: &Address) -> String {
    format!("t{}", address.to_string().get(1..).unwrap_or_default())
}

/// The id address `t0…`.
pub fn id(id: u64) -> String {
    format!("t0{id}")
}

/// A BLS-style address derived from a seed and a number: the same pair gives the same wallet.
pub fn wallet(seed: &Hash32, number: u64) -> String {
    let mut state = blake2b_simd::Params::new().hash_length(48).to_state();
    state.update(b"seald devnet wallet").update(&seed.0).update(&number.to_be_bytes());
    Address::new_bls(state.finalize().as_bytes()).map(|address| show(&address)).unwrap_or_default()
}

/// Whether the address names a BLS key.
pub fn is_bls(text: &str) -> bool {
    parse(text).is_some_and(|address| address.protocol() == Protocol::BLS)
}

/// 32 bytes of blake2b.
pub fn blake2b(parts: &[&[u8]]) -> Hash32 {
    let mut state = blake2b_simd::Params::new().hash_length(32).to_state();
    for part in parts {
        state.update(part);
    }
    Hash32(state.finalize().as_bytes().try_into().unwrap_or_default())
}

/// The CID of a CBOR object with these bytes.
pub fn cbor_cid(bytes: &[u8]) -> String {
    Cid::new_v1(DAG_CBOR, Code::Blake2b256.digest(bytes)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_with_either_prefix_and_print_with_one() {
        let wallet = wallet(&Hash32([7; 32]), 0);
        assert!(wallet.starts_with("t3") && is_bls(&wallet), "{wallet}");
        let other = format!("f{}", &wallet[1..]);
        assert_eq!(parse(&other), parse(&wallet));
        assert_eq!(show(&parse("f01000").unwrap()), "t01000");
        assert_eq!(parse("nonsense"), None);
    }
}
