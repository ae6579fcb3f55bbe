//! Where a sector's files are below a repo, and what lies there.
//!
//! The names are Lotus's, so that its tools find the files. Only folders are made here; nothing is ever removed.

use super::{RepoError, atomic};
use crate::{
    units::{Bytes, MinerId, SectorNumber, sector_file_name},
    worker::protocol::SectorFiles,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{DirBuilder, DirEntry},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// One of the folders below a repo, each with an entry per sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `unsealed/`: padded data, a file. Capacity sectors have none.
    Unsealed,
    /// `sealed/`: the replica, a file.
    Sealed,
    /// `cache/`: layers, trees, `p_aux`, a folder.
    Cache,
    /// `work/`: seald's own notes and phase outputs, a folder.
    Work,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Unsealed, Self::Sealed, Self::Cache, Self::Work];

    /// The folder's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsealed => "unsealed",
            Self::Sealed => "sealed",
            Self::Cache => "cache",
            Self::Work => "work",
        }
    }
}

/// What lies in a repo.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The sectors, also those of other miners, with the kinds of files they have.
    pub sectors: BTreeMap<(MinerId, SectorNumber), BTreeSet<Kind>>,
    /// Entries whose name is not a sector's: shown to the operator, never touched.
    pub strangers: BTreeSet<PathBuf>,
}

/// Owner and group may enter; nobody else needs to.
const MODE: u32 = 0o750;

/// Lotus keeps incoming transfers in a folder of this name inside each of the above.
const FETCHING: &str = "fetching";

/// Makes the repo's folder, with those above it, when it is not there.
pub(super) fn ensure_root(repo: &Path) -> Result<(), RepoError> {
    DirBuilder::new().recursive(true).mode(MODE).create(repo).map_err(RepoError::io("create the folder", repo))
}

/// Makes the folders below the repo that are not there.
pub(super) fn ensure_folders(repo: &Path) -> Result<(), RepoError> {
    let mut made = false;
    for kind in Kind::ALL {
        let folder = repo.join(kind.as_str());
        match DirBuilder::new().mode(MODE).create(&folder) {
            Ok(()) => made = true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(RepoError::io("create the folder", &folder)(error)),
        }
    }
    if made { atomic::sync_dir(repo) } else { Ok(()) }
}

/// Where the files of a sector are, whether they exist or not.
pub(super) fn files(repo: &Path, miner: MinerId, number: SectorNumber) -> SectorFiles {
    let name = sector_file_name(miner, number);
    let below = |kind: Kind| repo.join(kind.as_str()).join(&name);
    SectorFiles { sealed: below(Kind::Sealed), cache: below(Kind::Cache), work: below(Kind::Work) }
}

/// What lies in the repo.
pub(super) fn list(repo: &Path) -> Result<Listing, RepoError> {
    let mut listing = Listing::default();
    for kind in Kind::ALL {
        for entry in entries(&repo.join(kind.as_str()))? {
            match entry.file_name().to_str().map(parse_name) {
                Some(Some(sector)) => {
                    listing.sectors.entry(sector).or_default().insert(kind);
                }
                _ if entry.file_name() == FETCHING => {}
                Some(None) | None => {
                    listing.strangers.insert(entry.path());
                }
            }
        }
    }
    Ok(listing)
}

/// What lies there of one sector.
pub(super) fn kinds(repo: &Path, miner: MinerId, number: SectorNumber) -> Result<BTreeSet<Kind>, RepoError> {
    let name = sector_file_name(miner, number);
    let mut kinds = BTreeSet::new();
    for kind in Kind::ALL {
        let path = repo.join(kind.as_str()).join(&name);
        match std::fs::symlink_metadata(&path) {
            Ok(_) => drop(kinds.insert(kind)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(RepoError::io("look at", &path)(error)),
        }
    }
    Ok(kinds)
}

/// The sector a name stands for. Only the one spelling that [`sector_file_name`] gives is accepted.
pub(super) fn parse_name(name: &str) -> Option<(MinerId, SectorNumber)> {
    let (miner, number) = name.strip_prefix("s-")?.split_once('-')?;
    let (miner, number) = (miner.parse().ok()?, number.parse().ok()?);
    (sector_file_name(miner, number) == name).then_some((miner, number))
}

/// Bytes on disk (blocks, so holes count nothing) of everything below the repo's folders, two levels deep: no
/// sector has more. What disappears meanwhile does not count.
pub(super) fn used(repo: &Path) -> Result<Bytes, RepoError> {
    let mut blocks = 0u64;
    for kind in Kind::ALL {
        for entry in entries(&repo.join(kind.as_str()))? {
            blocks = blocks.saturating_add(blocks_of(&entry));
            if entry.file_type().is_ok_and(|file_type| file_type.is_dir()) {
                let inner = entries(&entry.path())?;
                blocks = inner.iter().map(blocks_of).fold(blocks, u64::saturating_add);
            }
        }
    }
    // the kernel counts in units of 512 bytes, whatever the file system's block size
    Ok(Bytes::new(blocks.saturating_mul(512)))
}

fn blocks_of(entry: &DirEntry) -> u64 {
    entry.metadata().map_or(0, |metadata| metadata.blocks())
}

/// The entries of a folder; none when it is gone.
fn entries(folder: &Path) -> Result<Vec<DirEntry>, RepoError> {
    let found = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(RepoError::io("list the folder", folder)),
    }
}
