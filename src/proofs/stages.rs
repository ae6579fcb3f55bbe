//! The four heavy calls of sealing, for either prover.
//!
//! They read and write the sector's files as they are told to and keep no rule about them: which file may be
//! reused, restored or removed is decided in `worker`. Each call blocks for as long as the stage takes.

pub use super::labels::replica_id;
#[cfg(feature = "proofs")]
use super::real;
use super::{PoRep, ProofError, Prover, simulated};
use crate::{
    sector::{Class, Sealed},
    units::{Hash32, MinerId, SealProof, SectorNumber},
};
use std::{io, path::Path};

/// A replica in the making: what it is bound to and where its files are.
#[derive(Debug, Clone, Copy)]
pub struct Replica<'a> {
    /// The miner.
    pub miner: MinerId,
    /// The sector.
    pub number: SectorNumber,
    /// The proof type.
    pub proof: SealProof,
    /// The ticket.
    pub ticket: Hash32,
    /// Directory of layers and trees; exists.
    pub cache: &'a Path,
    /// The sealed file; exists.
    pub sealed: &'a Path,
}

/// Layers and tree-d of a sector of zeros. Whole layers that are there are taken as they are.
/// Gives what [`precommit2`] wants back, as JSON.
///
/// # Errors
/// What the prover says, with its class.
pub fn precommit1(prover: Prover, replica: &Replica<'_>) -> Result<Vec<u8>, ProofError> {
    match prover {
        Prover::Simulated => simulated::precommit1(replica),
        #[cfg(feature = "proofs")]
        Prover::Real => real::precommit1(replica),
        #[cfg(not(feature = "proofs"))]
        Prover::Real => Err(absent("computing layers")),
    }
}

/// Whether the labels of these nodes of a layer follow from the layer before it, by computing them anew. Both layers
/// must be there. About 15 short reads a node.
///
/// # Errors
/// A layer cannot be read, or what the prover says.
pub fn labels_hold(prover: Prover, replica: &Replica<'_>, layer: u32, nodes: &[u64]) -> Result<bool, ProofError> {
    match prover {
        Prover::Simulated => simulated::labels_hold(replica, layer, nodes),
        #[cfg(feature = "proofs")]
        Prover::Real => real::labels_hold(replica, layer, nodes),
        #[cfg(not(feature = "proofs"))]
        Prover::Real => Err(absent("checking labels")),
    }
}

/// Trees, and the replica encoded in place over the zeros of the sealed file.
///
/// # Errors
/// What the prover says, with its class.
pub fn precommit2(prover: Prover, replica: &Replica<'_>, phase1: &[u8]) -> Result<Sealed, ProofError> {
    match prover {
        Prover::Simulated => simulated::precommit2(replica, phase1),
        #[cfg(feature = "proofs")]
        Prover::Real => real::precommit2(replica, phase1),
        #[cfg(not(feature = "proofs"))]
        Prover::Real => Err(absent("building trees")),
    }
}

/// Vanilla proofs for `seed`, checked against the commitments. Gives what [`snark`] wants, as JSON.
///
/// # Errors
/// Class `Data` when the files do not give a valid proof.
pub fn vanilla(prover: Prover, replica: &Replica<'_>, sealed: &Sealed, seed: Hash32) -> Result<Vec<u8>, ProofError> {
    match prover {
        Prover::Simulated => simulated::vanilla(replica, sealed, seed),
        #[cfg(feature = "proofs")]
        Prover::Real => real::vanilla(replica, sealed, seed),
        #[cfg(not(feature = "proofs"))]
        Prover::Real => Err(absent("computing vanilla proofs")),
    }
}

/// The proof of replication. The caller verifies it.
///
/// # Errors
/// Class `Environment` when the Groth parameters are not there.
pub fn snark(prover: Prover, statement: &PoRep, vanilla: &[u8]) -> Result<Vec<u8>, ProofError> {
    match prover {
        Prover::Simulated => Ok(simulated::snark(statement, vanilla)),
        #[cfg(feature = "proofs")]
        Prover::Real => real::snark(statement, vanilla),
        #[cfg(not(feature = "proofs"))]
        Prover::Real => Err(absent("computing the SNARK")),
    }
}

/// What kind of thing failed, for an I/O error: space, memory and descriptors are resources, the rest is the
/// environment (permissions, a missing mount, a broken disk).
pub fn class_of_io(error: &io::Error) -> Class {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull};
    let descriptors = [nix::libc::EMFILE, nix::libc::ENFILE];
    let scarce = matches!(error.kind(), StorageFull | QuotaExceeded | OutOfMemory)
        || error.raw_os_error().is_some_and(|code| descriptors.contains(&code));
    if scarce { Class::Resource } else { Class::Environment }
}

/// How the GPU crates begin what they have to say: bellperson, ec-gpu-gen and rust-gpu-tools.
const LOST_GPU: &[&str] = &[
    "Encountered a GPU Error",
    "GPUError",
    "EC GPU error",
    "GPU tools error",
    "GPU call was aborted",
    "Cuda Error",
    "Opencl3 Error",
];

/// What kind of thing failed, for the text of a panic or of an error that lost its type on the way.
/// `None` when the text does not say.
pub fn class_of_text(text: &str) -> Option<Class> {
    // ENOMEM, ENFILE, EMFILE, ENOSPC, EDQUOT as the standard library prints them
    let scarce = ["(os error 12)", "(os error 23)", "(os error 24)", "(os error 28)", "(os error 122)"];
    if scarce.iter().any(|code| text.contains(code)) {
        return Some(Class::Resource);
    }
    let environment = ["No cached parameters found", "No cached srs key found", "Invalid parameters file"];
    environment.iter().chain(LOST_GPU).any(|words| text.contains(words)).then_some(Class::Environment)
}

/// What every call of the real prover gives where there is none.
#[cfg(not(feature = "proofs"))]
pub(super) fn absent(doing: &'static str) -> ProofError {
    let why = "this seald was built without the cargo feature `proofs`".to_owned();
    ProofError { class: Class::Environment, doing, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_a_resource_failure_in_either_shape() {
        let error = io::Error::from_raw_os_error(nix::libc::ENOSPC);
        assert_eq!(class_of_io(&error), Class::Resource);
        assert_eq!(class_of_text(&format!("failed to write: {error}")), Some(Class::Resource));
        assert_eq!(class_of_io(&io::Error::from_raw_os_error(nix::libc::EMFILE)), Class::Resource);
        assert_eq!(class_of_io(&io::Error::from(io::ErrorKind::PermissionDenied)), Class::Environment);
        assert_eq!(class_of_text("index out of bounds"), None);
    }

    // matrix: E11
    #[test]
    fn missing_parameters_and_a_lost_gpu_are_never_the_sectors_fault() {
        for text in [
            "No cached parameters found for stacked-proof-of-replication [failure finding v28.params]",
            "Encountered a GPU Error: EC GPU error: GPU tools error: Cuda Error: 999",
        ] {
            assert_eq!(class_of_text(text), Some(Class::Environment), "{text}");
        }
    }
}
