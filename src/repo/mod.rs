//! Storage repos on disk: initialise, lock, mark, lay out, measure.
//!
//! A repo is a folder with `sectorstore.json` (who it is), `repo.lock` (who has it) and one folder per kind of
//! file. Nothing in this room deletes or overwrites sector data, and nothing decides where a sector goes.

mod atomic;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod layout;
mod lock;
mod marker;
mod mount;
#[cfg(test)]
mod tests;

pub use crate::plan::space::{Reservations, Room, Short, finalized_size, sealing_peak, stage_growth};
pub use atomic::{sync_dir, write_atomic};
pub use layout::{Kind, Listing};
pub use mount::Mounts;

use crate::{
    error::Remedy,
    units::{Bytes, MinerId, RepoName, SectorNumber},
    worker::protocol::SectorFiles,
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

/// A repo as the manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name in the manifest.
    pub name: RepoName,
    /// Its folder.
    pub path: PathBuf,
    /// Sectors are sealed here.
    pub seal: bool,
    /// Finalized sectors are kept here.
    pub store: bool,
    /// The most its files may take.
    pub max_use: Option<Bytes>,
    /// What stays free on its file system.
    pub reserve: Bytes,
    /// Preference among repos, as Lotus understands it; 0 is read only.
    pub weight: u64,
    /// Refuse the folder unless a file system other than the root is mounted on it or above it: [`Mounts::holding`].
    pub require_mount: bool,
}

/// A repo could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The file system that holds the repo is not there.
    #[error("nothing is mounted at {path} or above it, and repo {name} has `require_mount`: mount its file system")]
    NotMounted {
        /// The repo.
        name: RepoName,
        /// Its folder.
        path: PathBuf,
    },
    /// The folder is no longer the one that was opened.
    #[error("{path} is not what it was when repo {name} was opened: mount its file system again")]
    Replaced {
        /// The repo.
        name: RepoName,
        /// Its folder.
        path: PathBuf,
    },
    /// Somebody else has the repo.
    #[error("the repo at {path} is in use by {owner}: stop that, or declare another path")]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Program, process id, host and since when, as far as the owner said.
        owner: String,
    },
    /// The marker is there but cannot be understood; it is left as it is.
    #[error("the repo marker {path} is damaged ({why}): restore it, or move it away to have a new one written")]
    Marker {
        /// The marker's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The operating system refused.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl RepoError {
    /// Makes a failed step an error: `.map_err(RepoError::io("write", &path))`.
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }

    /// What to do.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::NotMounted { .. } | Self::Replaced { .. } | Self::Locked { .. } | Self::Marker { .. } => Remedy::Hold,
            Self::Io { source, .. } if is_lasting(source.kind()) => Remedy::Hold,
            Self::Io { .. } => Remedy::Retry,
        }
    }
}

/// Refusals that trying again does not change.
fn is_lasting(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        kind,
        K::PermissionDenied
            | K::ReadOnlyFilesystem
            | K::StorageFull
            | K::QuotaExceeded
            | K::NotADirectory
            | K::AlreadyExists
            | K::Unsupported
    )
}

/// An open repo; this process owns it while the value lives.
#[derive(Debug)]
pub struct Repo {
    declared: Declared,
    id: String,
    lock: lock::Lock,
}

/// The file system of a repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub capacity: Bytes,
    /// What of it an unprivileged process may still take.
    pub free: Bytes,
}

/// Opens the repo, making what is missing, and locks it. What is there stays: folders are only added, and of an
/// existing marker only `Weight`, `CanSeal`, `CanStore` and `MaxStorage` follow the declaration. Opening it again
/// later, after a crash at any point, does the rest.
///
/// # Errors
/// See [`RepoError`]; nothing was changed unless the lock was taken.
pub fn open(declared: &Declared) -> Result<Repo, RepoError> {
    open_with(declared, Mounts::read)
}

fn open_with(declared: &Declared, mounts: impl FnOnce() -> Result<Mounts, RepoError>) -> Result<Repo, RepoError> {
    let Declared { name, path, require_mount, .. } = declared;
    if *require_mount && mounts()?.holding(path).is_none() {
        return Err(RepoError::NotMounted { name: name.clone(), path: path.clone() });
    }
    layout::ensure_root(path)?;
    let lock = lock::Lock::take(path)?;
    // the marker comes last: a folder that has one has everything
    layout::ensure_folders(path)?;
    let id = marker::ensure(path, declared)?;
    Ok(Repo { declared: declared.clone(), id, lock })
}

/// What lies in the repo with this id at `path`, whoever has it open. As in [`Repo::sectors`] a missing file system is an
/// error, never an empty list: the marker is not there then.
///
/// # Errors
/// [`RepoError::Marker`] when another repo is there, or none; [`RepoError::Io`].
pub fn sectors_at(path: &Path, id: &str) -> Result<Listing, RepoError> {
    is_there(path, id)?;
    layout::list(path)
}

/// The same of one sector.
///
/// # Errors
/// As [`sectors_at`].
pub fn files_at(path: &Path, id: &str, miner: MinerId, number: SectorNumber) -> Result<BTreeSet<Kind>, RepoError> {
    is_there(path, id)?;
    layout::kinds(path, miner, number)
}

fn is_there(path: &Path, id: &str) -> Result<(), RepoError> {
    match marker::id_at(path)? {
        found if found == id => Ok(()),
        found => {
            let why = format!("it is of another repo, {found}");
            Err(RepoError::Marker { path: path.join(marker::FILE), why })
        }
    }
}

impl Repo {
    /// Its name in the manifest.
    pub fn name(&self) -> &RepoName {
        &self.declared.name
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.declared.path
    }

    /// What it was opened as.
    pub fn declared(&self) -> &Declared {
        &self.declared
    }

    /// The id in its marker: a UUID when seald or Lotus made it, and kept as written in any case.
    pub fn uuid(&self) -> &str {
        &self.id
    }

    /// Where the files of a sector are, whether they exist or not.
    pub fn files(&self, miner: MinerId, number: SectorNumber) -> SectorFiles {
        layout::files(self.path(), miner, number)
    }

    /// Asks the file system, once. On a network file system whose server is gone this can block.
    ///
    /// # Errors
    /// [`RepoError::Replaced`] when the file system is not the one that was opened; [`RepoError::Io`].
    pub fn space(&self) -> Result<Space, RepoError> {
        self.check_mounted()?;
        let asked = nix::sys::statvfs::statvfs(self.path()).map_err(io::Error::from);
        let stat = asked.map_err(RepoError::io("ask for the free space of", self.path()))?;
        let bytes = |blocks: u64| Bytes::new(blocks.saturating_mul(stat.fragment_size()));
        Ok(Space { capacity: bytes(stat.blocks()), free: bytes(stat.blocks_available()) })
    }

    /// Bytes the repo's own files take on disk. Looks at every file: for now and then, not for every tick.
    ///
    /// # Errors
    /// [`RepoError::Replaced`]; [`RepoError::Io`] naming the folder that cannot be read.
    pub fn used(&self) -> Result<Bytes, RepoError> {
        self.check_mounted()?;
        layout::used(self.path())
    }

    /// Everything [`Reservations::fits`] needs to know about this repo.
    ///
    /// # Errors
    /// As [`Repo::space`] and, where there is a `max_use`, [`Repo::used`].
    pub fn room(&self) -> Result<Room, RepoError> {
        let Declared { reserve, max_use, .. } = self.declared;
        let used = if max_use.is_some() { self.used()? } else { Bytes::default() };
        Ok(Room { free: self.space()?.free, used, reserve, max_use })
    }

    /// Whether the folder still is the one that was opened: a file system that was unmounted, or covered by
    /// another, must not be written beside.
    ///
    /// # Errors
    /// [`RepoError::Replaced`].
    pub fn check_mounted(&self) -> Result<(), RepoError> {
        if self.lock.is_in_place() {
            return Ok(());
        }
        Err(RepoError::Replaced { name: self.name().clone(), path: self.path().to_path_buf() })
    }

    /// What lies here, other miners' sectors included. Names that are no sector's are listed apart. A missing file
    /// system is an error, never an empty list: nobody shall conclude that sectors are gone.
    ///
    /// # Errors
    /// [`RepoError::Replaced`]; [`RepoError::Io`] naming the folder that cannot be read.
    pub fn sectors(&self) -> Result<Listing, RepoError> {
        self.check_mounted()?;
        layout::list(self.path())
    }
}
