//! What the API answers from: the site, which is what the daemon has and does now, and what it looks up on request.

use crate::{
    chain::{Ends, SectorTerms},
    control::Refused,
    host::memory::Memory,
    manifest::Api,
    plan::Assignee,
    sector::{Record, Stage, State},
    status::sectors::HistoryLine,
    units::{Bytes, MinerId, SectorNumber, SectorSize, UnixMillis},
};
use futures_util::future::BoxFuture;
use std::{collections::BTreeSet, path::PathBuf};

/// The miner, its workers and its repos, as they are now.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// What may be asked.
    pub access: Api,
    /// The miner, once known.
    pub miner: Option<MinerId>,
    /// Size of its sectors.
    pub sector_size: SectorSize,
    /// The lowest number that nobody used; `None` until the chain was asked.
    pub next_number: Option<SectorNumber>,
    /// Workers that there shall be, by name.
    pub workers: Vec<Worker>,
    /// Declared repos, by name.
    pub repos: Vec<Repo>,
}

/// One worker process.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// Which.
    pub who: Assignee,
    /// What it does.
    pub stages: BTreeSet<Stage>,
    /// It gets tasks: it runs, and nobody holds it.
    pub enabled: bool,
    /// Processors it may use.
    pub cpus: u64,
    /// Its GPU.
    pub gpu: Option<String>,
    /// What its job took of memory at most, when such a one ran before; nothing without a job.
    pub memory: Bytes,
    /// Its job.
    pub job: Option<Job>,
}

/// A stage that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub task: u64,
    /// The sector.
    pub sector: SectorNumber,
    /// The stage.
    pub stage: Stage,
    /// Since when.
    pub since: UnixMillis,
}

/// One repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// The id of its marker; its name as long as that is not read.
    pub id: String,
    /// Its folder.
    pub path: PathBuf,
    /// Sectors are sealed in it.
    pub seal: bool,
    /// Finished sectors are kept in it.
    pub store: bool,
    /// Preference among equals.
    pub weight: u64,
    /// The most that it may take.
    pub max_use: Option<Bytes>,
    /// Its room, or why it cannot be used.
    pub room: Result<Room, String>,
}

/// The room of a repo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Size of its file system.
    pub capacity: Bytes,
    /// Free there.
    pub free: Bytes,
    /// What seald may still take.
    pub left: Bytes,
    /// Taken by the repo's own files; only known with a bound on it.
    pub used: Bytes,
    /// Promised to running stages.
    pub reserved: Bytes,
}

/// Everything about one sector.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The record.
    pub record: Record,
    /// What happened to it, oldest first.
    pub history: Vec<HistoryLine>,
    /// The message that carried its pre-commit.
    pub precommit: Option<String>,
    /// The message that carried its proof.
    pub commit: Option<String>,
}

/// One sector as the chain has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChain {
    /// What it promised and locked.
    pub terms: SectorTerms,
    /// When it ends; `None` when the node does not say.
    pub ends: Option<Ends>,
}

/// A sector's files in one repo, as Lotus counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Whose sector.
    pub miner: MinerId,
    /// Which.
    pub number: SectorNumber,
    /// What of it lies there, a bit each: 1 unsealed, 2 sealed, 4 cache.
    pub kinds: u8,
}

/// What the daemon looks up; never in its loop.
pub trait Lookup: Send + Sync {
    /// Every sector with its state, by number.
    fn sectors(&self) -> BoxFuture<'_, Result<Vec<(SectorNumber, State)>, Refused>>;

    /// One sector.
    fn sector(&self, number: SectorNumber) -> BoxFuture<'_, Result<Known, Refused>>;

    /// One sector as the chain has it at its head; `None` before its proof and after its end.
    fn on_chain(&self, number: SectorNumber) -> BoxFuture<'_, Result<Option<OnChain>, Refused>>;

    /// What lies in one repo.
    fn files(&self, repo: Repo) -> BoxFuture<'_, Result<Vec<File>, Refused>>;

    /// What of one sector lies in one repo, a bit each as in [`File::kinds`].
    fn kinds(&self, repo: Repo, miner: MinerId, number: SectorNumber) -> BoxFuture<'_, Result<u8, Refused>>;

    /// The memory of this machine, now.
    fn memory(&self) -> Memory;
}
