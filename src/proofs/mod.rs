//! The only caller of the proofs crates. Without the cargo feature `proofs` there is the simulated prover alone.
//!
//! Runs in workers and in the devnet, never in the daemon.

mod aggregate;
mod labels;
pub mod layout;
pub mod params;
#[cfg(feature = "proofs")]
mod parents;
#[cfg(feature = "proofs")]
mod real;
pub mod simulated;
pub mod stages;

pub use aggregate::{aggregate, verify_aggregate};

use crate::{
    sector::Class,
    units::{Hash32, MinerId, SealProof, SectorNumber, SectorSize},
};
use multihash_codetable::{Code, MultihashDigest};
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

/// Whether `bytes` proves what is claimed: one statement by a proof of its own, several by their aggregate, in its
/// order.
///
/// # Errors
/// As [`verify_porep`].
pub fn verify(prover: Prover, claimed: &[PoRep], bytes: &[u8]) -> Result<bool, ProofError> {
    match claimed {
        [one] => verify_porep(prover, one, bytes),
        several => verify_aggregate(prover, several, bytes),
    }
}

/// Commitment to the data of a sector that holds only zeros: the root of a binary tree of SHA-256 digests cut to
/// 254 bits.
pub fn zero_comm_d(size: SectorSize) -> Hash32 {
    let mut node = [0u8; 32];
    let mut bytes = 32;
    while bytes < size.bytes().as_u64() {
        let digest = Code::Sha2_256.digest(&node.repeat(2));
        node.copy_from_slice(digest.digest());
        if let Some(top) = node.last_mut() {
            *top &= 0x3f;
        }
        bytes = bytes.saturating_mul(2);
    }
    Hash32(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cid::Cid;

    #[test]
    fn the_commitment_to_zeros_is_the_networks() {
        for (size, cid) in [
            (SectorSize::KiB2, "baga6ea4seaqpy7usqklokfx2vxuynmupslkeutzexe2uqurdg5vhtebhxqmpqmy"),
            (SectorSize::GiB32, "baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq"),
            (SectorSize::GiB64, "baga6ea4seaqomqafu276g53zko4k23xzh4h4uecjwicbmvhsuqi7o4bhthhm4aq"),
        ] {
            let cid: Cid = cid.parse().unwrap();
            assert_eq!(zero_comm_d(size).0.as_slice(), cid.hash().digest(), "{size}");
        }
    }
}
