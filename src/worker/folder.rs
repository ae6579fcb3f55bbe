//! A sector's work folder: whose files these are, which layers are safe on disk, and what each phase gave.
//!
//! The library takes any layer of the right length as valid, so a file is only ever reused when this folder says that
//! it belongs to the same sector and ticket. Outputs are kept as two lines: what they belong to with their hash, then
//! the output; one whose hash is another is as good as none.

use super::{
    files::{self, Doing},
    jobs::JobError,
    ledger::Entry,
    protocol::SectorRef,
};
use crate::{
    sector::{Class, Sealed},
    units::Hash32,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// Raised when the files of a sector change their meaning; older ones are then made anew.
const VERSION: u32 = 1;

const MANIFEST: &str = "job.json";
const LAYERS: &str = "layers.json";
const FINALIZED: &str = "finalized.json";

/// Every file that is ever in a work folder; the claims come last. While one is replaced there is another of its name
/// and `.part`.
const ALL: [&str; 7] = [
    LAYERS,
    Kept::PreCommit1.file(),
    Kept::PreCommit2.file(),
    Kept::Vanilla.file(),
    Kept::Proof.file(),
    FINALIZED,
    MANIFEST,
];

/// The kept output of a phase.
#[derive(Debug, Clone, Copy)]
pub enum Kept {
    /// Phase 1 output of the library.
    PreCommit1,
    /// The commitments.
    PreCommit2,
    /// The vanilla proof.
    Vanilla,
    /// The verified proof.
    Proof,
}

impl Kept {
    const fn file(self) -> &'static str {
        match self {
            Self::PreCommit1 => "pc1.json",
            Self::PreCommit2 => "pc2.json",
            Self::Vanilla => "c1.json",
            Self::Proof => "proof.json",
        }
    }
}

/// What a kept output belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    sector: SectorRef,
    sealed: Option<Sealed>,
    seed: Option<Hash32>,
}

impl Key {
    /// An output of PreCommit1 or PreCommit2.
    pub fn of_replica(sector: &SectorRef) -> Self {
        Self { sector: sector.clone(), sealed: None, seed: None }
    }

    /// An output of Commit.
    pub fn of_proof(sector: &SectorRef, sealed: &Sealed, seed: Hash32) -> Self {
        Self { sector: sector.clone(), sealed: Some(sealed.clone()), seed: Some(seed) }
    }
}

/// The first line of a kept output.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    of: Key,
    hash: Hash32,
}

impl Head {
    pub(super) fn of(key: &Key, output: &[u8]) -> Self {
        Self { of: key.clone(), hash: files::hash_of_bytes(output) }
    }
}

/// The output in a kept file, when it is whole and belongs to this key.
pub(super) fn output_of(mut bytes: Vec<u8>, key: &Key) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let output = bytes.split_off(end.saturating_add(1));
    let matches = serde_json::from_slice(&bytes)
        .is_ok_and(|Head { of, hash }| of == *key && hash == files::hash_of_bytes(&output));
    matches.then_some(output)
}

/// Whose files are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// This sector's with this ticket.
    Same,
    /// This sector's, but of another ticket, of another version, or half wiped: of no use.
    Stale,
    /// Nobody's.
    Unclaimed,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    sector: SectorRef,
    wiping: bool,
}

/// Written before the first file of a finished sector is removed or moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finalized {
    /// The sector.
    pub sector: SectorRef,
    /// Where its files are from now on.
    pub to: super::protocol::SectorFiles,
    /// Whether they are all there.
    pub done: bool,
}

/// Whom a work folder belongs to, by one of its files.
#[derive(Debug)]
pub struct Claim {
    /// The sector.
    pub sector: SectorRef,
    /// Where the mark of a finished sector says that it goes.
    pub moves_to: Option<super::protocol::SectorFiles>,
}

/// An opened work folder. Locked: no other process works on the sector while this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens a folder that must be there.
    pub fn open(path: &Path) -> Result<Self, JobError> {
        let lock = File::open(path).doing("cannot open the work folder (is the repo mounted?)", path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            // it ends or is ended by itself, and costs the sector no attempt
            Err(TryLockError::WouldBlock) => {
                Err(JobError::new(Class::Resource, format!("another process still works in {}", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(error).doing("cannot lock", path),
        }
    }

    /// Whether the sector of this work folder is finished, or about to be.
    pub fn is_of_finished(path: &Path) -> bool {
        path.join(FINALIZED).exists()
    }

    /// Whose files are here. Another sector's are never touched.
    pub fn standing(&self, sector: &SectorRef) -> Result<Standing, JobError> {
        let Some(manifest) = self.read::<Manifest>(MANIFEST)? else { return Ok(Standing::Unclaimed) };
        if (manifest.sector.miner, manifest.sector.number) != (sector.miner, sector.number) {
            let Manifest { sector: other, .. } = manifest;
            return Err(JobError::new(
                Class::Environment,
                format!("{} belongs to sector {} of {}: move it away", self.path.display(), other.number, other.miner),
            ));
        }
        let same = manifest.version == VERSION && manifest.sector == *sector && !manifest.wiping;
        Ok(if same { Standing::Same } else { Standing::Stale })
    }

    /// Who says that the files are theirs.
    pub fn claims(&self) -> Result<Vec<Claim>, JobError> {
        let manifest = self.read::<Manifest>(MANIFEST)?;
        let finalized = self.finalized()?;
        let begun = manifest.map(|Manifest { sector, .. }| Claim { sector, moves_to: None });
        let finished = finalized.map(|Finalized { sector, to, .. }| Claim { sector, moves_to: Some(to) });
        Ok(begun.into_iter().chain(finished).collect())
    }

    /// Says, durably, that the files are of no use to anybody any more.
    pub fn give_up(&self) -> Result<(), JobError> {
        let manifest = self.read::<Manifest>(MANIFEST)?;
        manifest.map_or(Ok(()), |Manifest { sector, .. }| self.claim(&sector, true))
    }

    /// Says that the files are this sector's. While `wiping`, they are of no use to anybody.
    pub fn claim(&self, sector: &SectorRef, wiping: bool) -> Result<(), JobError> {
        self.write(MANIFEST, &Manifest { version: VERSION, sector: sector.clone(), wiping })
    }

    /// The output that was kept for this key.
    pub fn kept(&self, what: Kept, key: &Key) -> Result<Option<Vec<u8>>, JobError> {
        Ok(read_if_there(&self.path.join(what.file()))?.and_then(|bytes| output_of(bytes, key)))
    }

    /// Keeps the output of a phase, durably.
    pub fn keep(&self, what: Kept, key: &Key, output: &[u8]) -> Result<(), JobError> {
        let path = self.path.join(what.file());
        files::write_whole(&path, &[&to_json(&Head::of(key, output), &path)?, b"\n", output])
    }

    /// Forgets outputs, durably: they are about to become untrue.
    pub fn forget(&self, which: &[Kept]) -> Result<(), JobError> {
        for what in which {
            files::remove(&self.path.join(what.file()))?;
        }
        files::sync(&self.path)
    }

    /// The entries of the layer ledger. One that cannot be read has none: its layers are computed anew.
    pub fn layers(&self) -> Result<Vec<Entry>, JobError> {
        let text = read_if_there(&self.path.join(LAYERS))?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default())
    }

    /// Replaces the entries of the layer ledger, durably.
    pub fn record_layers(&self, layers: &[Entry]) -> Result<(), JobError> {
        self.write(LAYERS, &layers)
    }

    /// The mark of a finished sector.
    pub fn finalized(&self) -> Result<Option<Finalized>, JobError> {
        self.read(FINALIZED)
    }

    /// Marks the sector as finished.
    pub fn mark_finalized(&self, finalized: &Finalized) -> Result<(), JobError> {
        self.write(FINALIZED, finalized)
    }

    /// Refuses to seal over a finished sector.
    pub fn refuse_finalized(&self) -> Result<(), JobError> {
        if self.finalized()?.is_none() {
            return Ok(());
        }
        Err(JobError::new(Class::Data, format!("{} says that the sector is finished", self.path.display())))
    }

    /// Removes all files of ours, those last that say whose the folder is.
    pub fn clear_claims_last(&self) -> Result<(), JobError> {
        for name in ALL {
            let path = self.path.join(name);
            files::remove(&files::with_suffix(&path, files::PART))?;
            files::remove(&path)?;
        }
        files::sync(&self.path)
    }

    /// Removes everything but the mark of a finished sector.
    pub fn clear(&self) -> Result<(), JobError> {
        for name in files::names(&self.path)?.iter().filter(|name| *name != FINALIZED) {
            files::remove(&self.path.join(name))?;
        }
        files::sync(&self.path)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, JobError> {
        let path = self.path.join(name);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let remedy = "remove it once its sector is known to need sealing";
            JobError::new(Class::Environment, format!("{} cannot be read ({error}): {remedy}", path.display()))
        })
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), JobError> {
        let path = self.path.join(name);
        files::write_whole(&path, &[&to_json(value, &path)?])
    }
}

fn to_json(value: &impl Serialize, path: &Path) -> Result<Vec<u8>, JobError> {
    serde_json::to_vec(value).map_err(io::Error::other).doing("cannot write", path)
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, JobError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing("cannot read", path),
    }
}
