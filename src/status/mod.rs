//! What `seald status` shows: one versioned snapshot, written by the daemon, rendered as text or JSON.
//!
//! Pure: the daemon fills it, the command line prints it. Field names are a contract for scripts.

pub mod changes;
pub mod events;
pub mod info;
pub mod metrics;
pub mod orders;
pub mod paint;
pub mod sectors;
pub mod stake;
pub mod text;
pub mod waiting;
pub mod winning;
pub mod words;

use crate::{
    plan::{How, Place},
    sector::Stage,
    units::{AttoFil, Bytes, Epoch, MinerId, RepoName, SectorNumber, SlotName, UnixMillis},
};
use serde::{Deserialize, Serialize};

/// Raised when a field changes its meaning or goes away.
pub const FORMAT_VERSION: u32 = 1;

/// The word in [`Snapshot::prover`] for the prover that proves nothing.
pub const SIMULATED_PROVER: &str = "simulated";

/// The word in [`EndpointStatus::state`] for a node that is believed.
pub const WELL: &str = "well";

/// Older facts than this come from a daemon that hangs: it writes every second when something changes and
/// every few seconds when nothing does.
pub const STALE_MS: u64 = 60_000;

/// Whether a daemon works for this manifest; found out by looking at its lock, not at the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DaemonState {
    /// It holds the lock.
    Running,
    /// Nobody holds the lock.
    Stopped,
}

/// What `seald status --json` prints: the snapshot's fields, and what the reader found out itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether the daemon runs now.
    pub daemon: DaemonState,
    /// Age of the facts in milliseconds.
    pub age_ms: u64,
    /// The facts.
    #[serde(flatten)]
    pub snapshot: Snapshot,
}

impl Report {
    /// The facts as read at `now`.
    pub fn new(snapshot: Snapshot, daemon: DaemonState, now: UnixMillis) -> Self {
        Self { daemon, age_ms: now.ms_since(snapshot.at), snapshot }
    }

    /// Whether nobody has to look: the daemon runs, its facts are fresh, and it raises no alarm.
    pub fn is_well(&self) -> bool {
        self.daemon == DaemonState::Running && self.age_ms < STALE_MS && self.snapshot.alarms.is_empty()
    }
}

/// Everything `seald status` can say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// When these facts were true.
    pub at: UnixMillis,
    /// Program version of the daemon.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Manifest file in force.
    pub manifest: String,
    /// The generation of the manifest that is in force; absent while there is none.
    #[serde(default)]
    pub generation: Option<Generation>,
    /// The miner, once known.
    pub miner: Option<MinerId>,
    /// `simulated` when the fake prover runs; never on a real network.
    pub prover: String,
    /// What start-up work is still going on, in order; empty once ready.
    pub preparing: Vec<Preparing>,
    /// Chain.
    pub chain: ChainStatus,
    /// Pledge target.
    pub target: Target,
    /// Who starts workers: `systemd`, under which running stages outlive the daemon, or `direct`, where they end with it.
    #[serde(default)]
    pub launcher: String,
    /// Worker slots, one entry per instance.
    pub slots: Vec<SlotStatus>,
    /// Sectors in flight (not yet Proving), by number.
    pub sectors: Vec<SectorStatus>,
    /// Messages that sectors share or will share, oldest first; those that are settled are left out.
    #[serde(default)]
    pub batches: Vec<BatchStatus>,
    /// Number of sectors per state, failures included.
    pub counts: Vec<(String, u64)>,
    /// Repos.
    pub repos: Vec<RepoStatus>,
    /// What scheduling cost since the daemon started.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// How long the stages that were ever measured take.
    #[serde(default)]
    pub stages: Vec<StageStatus>,
    /// What an operator must look at; `status` exits 1 when there is one.
    pub alarms: Vec<Alarm>,
}

impl Snapshot {
    /// Before anything is known.
    pub fn empty(at: UnixMillis) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            manifest: String::new(),
            generation: None,
            miner: None,
            prover: String::new(),
            preparing: Vec::new(),
            chain: ChainStatus {
                network: None,
                head: None,
                seen: None,
                trouble: None,
                messages_pending: 0,
                worker_balance: None,
                epoch_secs: None,
                endpoints: Vec::new(),
            },
            target: Target { wanted: 0, ordered: 0, proving: 0, in_flight: 0, eta_ms: None },
            launcher: String::new(),
            slots: Vec::new(),
            sectors: Vec::new(),
            batches: Vec::new(),
            counts: Vec::new(),
            repos: Vec::new(),
            scheduling: Scheduling::default(),
            stages: Vec::new(),
            alarms: Vec::new(),
        }
    }
}

/// A manifest that came into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Counts from 1.
    pub number: u64,
    /// Since when.
    pub since: UnixMillis,
}

/// One piece of start-up work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preparing {
    /// What, such as `Groth parameters for 2KiB`.
    pub what: String,
    /// What it is doing now, or what it waits for.
    pub step: String,
    /// 0 to 1000, when known.
    pub permille: Option<u16>,
    /// Estimated milliseconds left, when known.
    pub eta_ms: Option<u64>,
}

/// The chain as last seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChainStatus {
    /// Network name, once known.
    pub network: Option<String>,
    /// Head, once known.
    pub head: Option<Epoch>,
    /// When it was read.
    pub seen: Option<UnixMillis>,
    /// Why it cannot be read now.
    pub trouble: Option<String>,
    /// Messages waiting to land.
    pub messages_pending: u64,
    /// Worker balance, once known.
    pub worker_balance: Option<AttoFil>,
    /// Seconds of an epoch, once known.
    #[serde(default)]
    pub epoch_secs: Option<u64>,
    /// The endpoints, in order of preference; none before the first was asked.
    #[serde(default)]
    pub endpoints: Vec<EndpointStatus>,
}

/// One node that may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// Scheme, host and port.
    pub name: String,
    /// `well`; `unasked`; `unreachable`; `refused`, as by a wrong token; or why it is not believed: `behind`,
    /// `other_network`, `other_version`, `not_believed`.
    pub state: String,
    /// Why it is not well.
    pub why: Option<String>,
    /// Its head, when it was last asked.
    pub head: Option<Epoch>,
    /// It is the one that is asked.
    pub in_use: bool,
}

/// Progress towards the declared pledge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Sectors that are wanted in all: declared, or ordered.
    pub wanted: u64,
    /// How many of them were ordered by `seald sectors pledge` beyond what the manifest declares.
    #[serde(default)]
    pub ordered: u64,
    /// Sectors in state Proving.
    pub proving: u64,
    /// Sectors in flight.
    pub in_flight: u64,
    /// Estimated milliseconds to the target, when measured stages allow one.
    pub eta_ms: Option<u64>,
}

/// One worker process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// Slot.
    pub slot: SlotName,
    /// Instance, from 0.
    pub instance: u32,
    /// `starting`, `idle`, `busy`, `backoff`, `quarantined`, `stopping`; `away` when it was drained.
    pub state: String,
    /// Process id, when running.
    pub pid: Option<u32>,
    /// What it works on, such as `sector 3 commit`.
    pub task: Option<String>,
    /// Its processors and why these, its GPU, its bound of memory, its sandbox.
    #[serde(default)]
    pub placement: Option<String>,
    /// Restarts so far.
    pub restarts: u32,
    /// Why it is not running, or how it last ended.
    pub note: Option<String>,
    /// An operator holds it: it gets no new task.
    #[serde(default)]
    pub held: Option<HeldStatus>,
}

/// How an operator holds a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldStatus {
    /// What was held, such as `gpu0` or `gpu0/1`.
    pub place: Place,
    /// `cordoned`, `paused`, `drained`.
    pub how: How,
    /// Since when.
    pub since: UnixMillis,
}

/// How long a stage takes here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStatus {
    /// The stage.
    pub stage: Stage,
    /// Mean duration, late ones count most.
    pub mean_ms: u64,
}

/// One sector in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SectorStatus {
    /// Number.
    pub number: SectorNumber,
    /// State name.
    pub state: String,
    /// When it entered the state.
    pub entered: UnixMillis,
    /// What it is doing, such as `SNARK`, when a worker has it.
    pub step: Option<String>,
    /// 0 to 1000 of the running stage.
    pub permille: Option<u16>,
    /// Estimated milliseconds left in the running stage.
    pub eta_ms: Option<u64>,
    /// The slot instance that has it, such as `cpu/0`.
    pub slot: Option<String>,
    /// What it waits for, when it waits.
    pub waits_for: Option<String>,
    /// Since when it waits for that.
    #[serde(default)]
    pub since: Option<UnixMillis>,
    /// Until when at the latest, or when it is looked at next; absent when that is the next chain head.
    pub until: Option<String>,
    /// The nearest epoch by which something must have happened on chain.
    #[serde(default)]
    pub deadline: Option<DeadlineStatus>,
    /// What is locked on chain for it: its deposit, or its pledge once it is active.
    #[serde(default)]
    pub stake: Option<AttoFil>,
    /// Last failure.
    pub failure: Option<String>,
    /// Attempts at the present step.
    pub attempts: u32,
}

impl SectorStatus {
    /// A sector in `state`, of which nothing else is said.
    pub fn new(number: SectorNumber, state: impl Into<String>, entered: UnixMillis) -> Self {
        Self {
            number,
            state: state.into(),
            entered,
            step: None,
            permille: None,
            eta_ms: None,
            slot: None,
            waits_for: None,
            since: None,
            until: None,
            deadline: None,
            stake: None,
            failure: None,
            attempts: 0,
        }
    }
}

/// An epoch by which something must have happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineStatus {
    /// What, such as `its proof to be on chain`.
    pub what: String,
    /// The last epoch that will do.
    pub epoch: Epoch,
    /// Epochs from the head to it; negative once it is missed.
    pub slack: i64,
}

/// A message that sectors share, from the moment the first one waits in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchStatus {
    /// What the outbox calls it.
    pub id: String,
    /// What it is for, such as `pre_commit`.
    pub kind: String,
    /// `open`, `sealed`, `sent`, `landed`, `settled`.
    pub state: String,
    /// Its sectors.
    pub sectors: Vec<SectorNumber>,
    /// Since when the first of them waits.
    pub oldest: UnixMillis,
    /// When it goes although there is room in it; absent once it has gone.
    pub leaves: Option<UnixMillis>,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// The chain messages that carried or carry it, the newest last.
    pub cids: Vec<String>,
}

/// One repo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepoStatus {
    /// Name.
    pub name: RepoName,
    /// Path.
    pub path: String,
    /// `ready`, or why not.
    pub state: String,
    /// `seal`, `store`.
    pub roles: Vec<String>,
    /// The most that it may hold: the size of its file system, or `max_use` if that is less.
    pub capacity: Bytes,
    /// What seald may still write to it.
    pub free: Bytes,
    /// Promised to running stages.
    pub reserved: Bytes,
}

/// How long free workers waited while there was a task for them, since the daemon started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scheduling {
    /// Tasks given to workers.
    pub tasks: u64,
    /// Microseconds that a free worker and a task it can do were both there, over all tasks.
    pub wait_us: u64,
    /// The longest of these waits.
    pub longest_wait_us: u64,
    /// Tasks that ended well.
    pub done: u64,
    /// Microseconds that workers spent on those.
    pub busy_us: u64,
}

/// Something an operator must look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What it is about, such as `sector 3` or `slot gpu0/0`.
    pub about: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}
