//! The only caller of the proofs crates. Without the cargo feature `proofs` there is the simulated prover alone.
//!
//! Runs in workers and in the devnet, never in the daemon.

pub mod params;
#[cfg(feature = "proofs")]
mod real;
pub mod simulated;

use crate::{
    sector::Class,
    units::{Hash32, MinerId, SealProof, SectorNumber},
};
use serde::{Deserialize, Serialize};

/// Which prover runs. `Simulated` is for fault and load tests on a devnet; it proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prover {
    /// filecoin-proofs.
    #[default]
    Real,
    /// Hashes that only the simulated devnet accepts.
    Simulated,
}

impl Prover {
    /// The word used in hellos and in `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Simulated => "simulated",
        }
    }
}

/// What a proof of replication is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoRep {
    /// The miner.
    pub miner: MinerId,
    /// The sector.
    pub number: SectorNumber,
    /// The proof type.
    pub proof: SealProof,
    /// Commitment to the replica.
    pub comm_r: Hash32,
    /// Commitment to the data.
    pub comm_d: Hash32,
    /// Ticket.
    pub ticket: Hash32,
    /// Interactive seed.
    pub seed: Hash32,
}

/// A proof operation that failed, with what kind of thing failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct ProofError {
    /// What kind of thing failed.
    pub class: Class,
    /// What was being done.
    pub doing: &'static str,
    /// The library's words, causes included.
    pub why: String,
}

/// Whether `bytes` proves `statement`.
///
/// # Errors
/// When it cannot be decided: parameters missing or unreadable, or this build has no real prover.
pub fn verify_porep(prover: Prover, statement: &PoRep, bytes: &[u8]) -> Result<bool, ProofError> {
    match prover {
        Prover::Simulated => Ok(simulated::porep(statement).as_slice() == bytes),
        #[cfg(feature = "proofs")]
        Prover::Real => real::verify_porep(statement, bytes),
        #[cfg(not(feature = "proofs"))]
        Prover::Real => Err(ProofError {
            class: Class::Environment,
            doing: "verifying a proof",
            why: "this seald was built without the cargo feature `proofs`".to_owned(),
        }),
    }
}
