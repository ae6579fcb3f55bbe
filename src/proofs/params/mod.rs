//! Groth parameters: which files a sector size needs, whether they are there and whole, and the two ways to get
//! them. Every size can fetch the published files; test sizes can also make their own, in about a minute.
//!
//! Parameters made here are for test networks only: whoever made them could have kept the numbers that forge proofs.
//! Nothing here proves or verifies; the proofs library reads the same directory on its own.

mod catalog;
mod check;
mod fetch;
mod files;
#[cfg(feature = "proofs")]
mod fixed_base;
#[cfg(feature = "proofs")]
mod generate;
mod progress;
#[cfg(feature = "proofs")]
mod secret;
#[cfg(feature = "proofs")]
mod setup;
#[cfg(feature = "proofs")]
mod srs;
#[cfg(feature = "proofs")]
mod synthesis;

pub use check::{can_aggregate, check, lacking, ready};
pub use fetch::fetch;
#[cfg(feature = "proofs")]
pub use generate::generate;
pub use progress::{Progress, Report};

use crate::{
    error::Remedy,
    sector::Class,
    units::{Bytes, SectorSize},
};
use std::{io, path::PathBuf};

/// Where the proofs library looks: `FIL_PROOFS_PARAMETER_CACHE`, or `/var/tmp/filecoin-proof-parameters`.
pub fn default_dir() -> PathBuf {
    std::env::var_os("FIL_PROOFS_PARAMETER_CACHE")
        .map_or_else(|| PathBuf::from("/var/tmp/filecoin-proof-parameters"), PathBuf::from)
}

/// Without the proofs library there are no circuits to make parameters for.
///
/// # Errors
/// Always.
#[cfg(not(feature = "proofs"))]
pub fn generate(
    _size: SectorSize,
    _dir: &std::path::Path,
    _report: Report<'_>,
    _cancel: &std::sync::atomic::AtomicBool,
) -> Result<(), ParamsError> {
    Err(ParamsError::NotBuilt)
}

/// Whether [`generate`] makes parameters of this size: those of test networks that fit a small machine.
pub const fn can_generate(size: SectorSize) -> bool {
    match size {
        SectorSize::KiB2 | SectorSize::MiB8 => true,
        SectorSize::MiB512 | SectorSize::GiB32 | SectorSize::GiB64 => false,
    }
}

/// What a parameter file is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Sealing.
    PoRep,
    /// Proving sectors in every proving period.
    WindowPost,
    /// Proving for the right to make a block.
    WinningPost,
    /// Aggregating commits. Sealing and proving need none of it.
    Aggregation,
}

impl Purpose {
    /// The words used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PoRep => "PoRep",
            Self::WindowPost => "window PoSt",
            Self::WinningPost => "winning PoSt",
            Self::Aggregation => "aggregation",
        }
    }
}

/// What is in a parameter file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What the prover reads, the verifying key included.
    Parameters,
    /// What the verifier reads.
    VerifyingKey,
    /// The structured reference string for aggregation, the same for all sizes.
    Srs,
}

/// One file that a sector size has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamFile {
    /// The name that the proofs library computes for it.
    pub name: String,
    /// What needs it.
    pub purpose: Purpose,
    /// What is in it.
    pub kind: Kind,
    /// The published digest: the first 16 bytes of BLAKE2b-512, in hexadecimal.
    pub published: String,
}

/// What [`check`] found out about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub file: ParamFile,
    /// Its state.
    pub state: FileState,
    /// Its size; 0 when missing.
    pub bytes: Bytes,
}

/// The state of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// Not there.
    Missing,
    /// Whole.
    Good(Origin),
    /// There, but not what it should be.
    Corrupt {
        /// What is wrong with it.
        why: String,
    },
}

/// Where a good file is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It has the published digest.
    Published,
    /// [`generate`] made it, and it has not changed since.
    Generated,
}

/// Why parameters could not be checked, fetched or made.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// Production sizes are not made locally.
    #[error(
        "parameters for {size} sectors are not made locally: they come from a ceremony of many parties; \
         run `seald params fetch` instead"
    )]
    NotMadeHere {
        /// The size.
        size: SectorSize,
    },
    /// This build has no proofs library.
    #[error("this seald was built without the cargo feature `proofs`: use a full build for real parameters")]
    NotBuilt,
    /// The disk is too small.
    #[error("{dir} has {free} free, the parameters take up to {needed}: free some space or set another directory")]
    Space {
        /// The directory.
        dir: PathBuf,
        /// What is needed.
        needed: Bytes,
        /// What there is.
        free: Bytes,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The proofs library refused, or a point came out wrong.
    #[error("cannot make the {purpose} parameters: {why}")]
    Library {
        /// Which.
        purpose: &'static str,
        /// The library's words.
        why: String,
    },
    /// Asked to stop.
    #[error("stopped before the parameters were complete; run it again to go on")]
    Cancelled,
    /// The mirror does not have a file, or will not give it.
    #[error("the mirror answered {status} for {url}: check `mirror`, or name another one")]
    Refused {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The mirror cannot be reached, or breaks off again and again without giving anything more.
    #[error("cannot fetch {url}, {tries} tries in a row brought nothing: {why}; run it again to go on from there")]
    Unreachable {
        /// The address.
        url: String,
        /// How often it was tried.
        tries: u32,
        /// The last failure.
        why: String,
    },
    /// The mirror serves something else.
    #[error("{url} came out wrong twice: digest {found}, published {wanted}; the mirror is corrupt, name another one")]
    WrongDigest {
        /// The address.
        url: String,
        /// What came.
        found: String,
        /// What was published.
        wanted: String,
    },
    /// Another process has the file's partial download open.
    #[error("another process is fetching {path}: wait for it, or stop it")]
    Busy {
        /// The partial download.
        path: PathBuf,
    },
}

impl ParamsError {
    /// What kind of thing failed.
    pub fn class(&self) -> Class {
        match self {
            Self::Space { .. } => Class::Resource,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Class::Resource,
            Self::NotMadeHere { .. }
            | Self::NotBuilt
            | Self::Io { .. }
            | Self::Library { .. }
            | Self::Cancelled
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::WrongDigest { .. }
            | Self::Busy { .. } => Class::Environment,
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable { .. } | Self::Cancelled | Self::Busy { .. } => Remedy::Retry,
            Self::Space { .. } | Self::Io { .. } | Self::Refused { .. } | Self::WrongDigest { .. } => Remedy::Hold,
            Self::NotMadeHere { .. } | Self::NotBuilt | Self::Library { .. } => Remedy::Stop,
        }
    }
}

/// Puts what was being done, and to what, in front of an I/O error.
fn at(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> ParamsError {
    let path = path.to_owned();
    move |source| ParamsError::Io { doing, path, source }
}
