//! A prover that proves nothing: files of the right names, hashes in place of proofs. For fault and load tests.

use super::PoRep;

/// The 192 bytes that the simulated devnet accepts for this statement.
pub fn porep(statement: &PoRep) -> Vec<u8> {
    let PoRep { miner, number, proof, comm_r, comm_d, ticket, seed } = statement;
    let mut state = blake2b_simd::Params::new().hash_length(64).to_state();
    state.update(b"seald simulated porep");
    for number in [miner.as_u64(), number.as_u64(), proof.as_i64().unsigned_abs()] {
        state.update(&number.to_be_bytes());
    }
    for hash in [comm_r, comm_d, ticket, seed] {
        state.update(&hash.0);
    }
    state.finalize().as_bytes().repeat(3)
}
