//! Aggregates: one short proof for the proofs of many sectors, by SnarkPack version 2, the one that the network takes.

#[cfg(feature = "proofs")]
use super::real;
#[cfg(not(feature = "proofs"))]
use super::stages::absent;
use super::{PoRep, ProofError, Prover, simulated};

/// The aggregate of proofs that each hold for their statement, in this order. The caller verifies it.
///
/// # Errors
/// Class `Environment` when the reference string is not there.
pub fn aggregate(prover: Prover, members: &[(PoRep, Vec<u8>)]) -> Result<Vec<u8>, ProofError> {
    match prover {
        Prover::Simulated => Ok(simulated::aggregate(members.iter().map(|(_, bytes)| bytes.as_slice()))),
        #[cfg(feature = "proofs")]
        Prover::Real => real::aggregate(members),
        #[cfg(not(feature = "proofs"))]
        Prover::Real => Err(absent("aggregating proofs")),
    }
}

/// Whether `bytes` proves all the statements, which are of one proof type and in the order of the aggregate.
///
/// # Errors
/// When it cannot be decided: parameters missing or unreadable, or this build has no real prover.
pub fn verify_aggregate(prover: Prover, statements: &[PoRep], bytes: &[u8]) -> Result<bool, ProofError> {
    match prover {
        Prover::Simulated => {
            let proofs: Vec<Vec<u8>> = statements.iter().map(simulated::porep).collect();
            Ok(simulated::aggregate(proofs.iter().map(Vec::as_slice)) == bytes)
        }
        #[cfg(feature = "proofs")]
        Prover::Real => real::verify_aggregate(statements, bytes),
        #[cfg(not(feature = "proofs"))]
        Prover::Real => Err(absent("verifying an aggregate")),
    }
}
