//! Which layers of PreCommit1 are safe on disk, and what they are: an entry for each, written when the layer is
//! finished and synced, so that whatever is killed repeats one layer at most.
//!
//! Whoever computes the layers takes any file of the right length as valid, and after a power cut such a file may hold
//! anything. So a layer without an entry goes, and the last ones are read again before anything is built on them. Who
//! computes the layers, and when they are looked for, is not decided here.

use super::{files, folder::Folder, jobs::JobError};
use crate::{
    proofs::{
        Prover, layout,
        stages::{self, Replica},
    },
    units::Hash32,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Nodes of the last layer that are computed again before work goes on from it: two thousand short reads. A layer of
/// which a sixteenth was wrong when it was written passes once in 3900 times; what changed since, the hash finds.
const NODES_CHECKED: u64 = 128;

/// One layer that is synced, and its directory too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counted from 1.
    layer: u32,
    /// Length of the file.
    bytes: u64,
    /// BLAKE2b-256 of the file.
    hash: Hash32,
    /// The ticket it was computed with.
    ticket: Hash32,
    /// The replica id: miner, number, ticket, data and proof type in one.
    replica: Hash32,
}

/// The layers of one sector.
#[derive(Debug)]
pub struct Ledger<'a> {
    prover: Prover,
    folder: &'a Folder,
    replica: Replica<'a>,
    id: Hash32,
    entries: Vec<Entry>,
}

impl<'a> Ledger<'a> {
    /// Opens the ledger in the sector's work folder and removes every layer that cannot be trusted: all from the first
    /// that has no entry, another length, or belongs to another replica; then the last ones that are not what was
    /// written or whose labels do not follow from the layer before. Reads the last two layers once.
    ///
    /// # Errors
    /// A layer cannot be read or removed.
    pub fn open(prover: Prover, folder: &'a Folder, replica: Replica<'a>) -> Result<Self, JobError> {
        let mut entries = folder.layers()?;
        let id = stages::replica_id(&replica);
        let mut ledger = Self { prover, folder, replica, id, entries: Vec::new() };
        let trusted = (1..).zip(&entries).take_while(|(layer, entry)| ledger.speaks_of(*layer, entry)).count();
        entries.truncate(trusted);
        ledger.entries = entries;
        while !ledger.is_end_sound()? {
            ledger.entries.pop();
        }
        ledger.drop_others()?;
        Ok(ledger)
    }

    /// How many layers are valid: those from 1 to this number.
    pub fn valid_layers(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// Whether the next layer is there, whole by its length.
    pub fn is_next_there(&self) -> bool {
        self.valid_layers() < self.replica.proof.sector_size().layers()
            && files::length(&self.path(self.valid_layers().saturating_add(1))) == Some(self.bytes())
    }

    /// Enters every layer that has appeared: they are renamed into place when they are whole.
    ///
    /// # Errors
    /// As [`Self::finished`].
    pub fn catch_up(&mut self) -> Result<(), JobError> {
        while self.is_next_there() {
            self.finished()?;
        }
        Ok(())
    }

    /// The next layer is whole: makes it durable, reads it once, and writes its entry. At 32 GiB about a minute, during
    /// which the one after it is computed.
    ///
    /// # Errors
    /// It cannot be synced or read, or the entry cannot be written.
    pub fn finished(&mut self) -> Result<(), JobError> {
        let layer = self.valid_layers().saturating_add(1);
        let path = self.path(layer);
        files::sync(&path)?;
        files::sync_parent(&path)?;
        let (bytes, hash, ticket) = (self.bytes(), files::hash_of(&path)?, self.replica.ticket);
        self.entries.push(Entry { layer, bytes, hash, ticket, replica: self.id });
        self.folder.record_layers(&self.entries)
    }

    fn speaks_of(&self, number: u32, entry: &Entry) -> bool {
        let Entry { layer, bytes, hash: _, ticket, replica } = entry;
        (*layer, *bytes, *ticket, *replica) == (number, self.bytes(), self.replica.ticket, self.id)
            && files::length(&self.path(number)) == Some(*bytes)
    }

    /// Whether work can go on from the last layer: it and the one before it are what was written, and some of its
    /// labels, drawn anew each time, follow from them. True when there is none.
    fn is_end_sound(&self) -> Result<bool, JobError> {
        let Some((last, before)) = self.entries.split_last() else { return Ok(true) };
        for entry in before.last().into_iter().chain([last]) {
            if files::hash_of(&self.path(entry.layer))? != entry.hash {
                return Ok(false);
            }
        }
        let nodes = self.bytes() / layout::NODE;
        let mut drawn = vec![0, nodes.saturating_sub(1)];
        drawn.extend((0..NODES_CHECKED).map(|_| uuid::Uuid::new_v4().as_u64_pair().1.checked_rem(nodes).unwrap_or(0)));
        Ok(stages::labels_hold(self.prover, &self.replica, last.layer, &drawn)?)
    }

    /// First the entries go, then the files: an entry never speaks of a file with other content.
    fn drop_others(&self) -> Result<(), JobError> {
        self.folder.record_layers(&self.entries)?;
        let layers = self.replica.proof.sector_size().layers();
        (self.valid_layers().saturating_add(1)..=layers).try_for_each(|layer| files::remove(&self.path(layer)))
    }

    fn path(&self, layer: u32) -> PathBuf {
        self.replica.cache.join(layout::layer(layer))
    }

    fn bytes(&self) -> u64 {
        layout::layer_bytes(self.replica.proof.sector_size())
    }
}

#[cfg(test)]
mod tests;
