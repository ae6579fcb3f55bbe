//! The planner: what is wanted and what is, in; what to do and what to wait for, out.
//!
//! Pure: the same inputs give the same plan, in the same order. Everything that is wanted but not done now is a
//! [`Hold`], and `seald status` prints it: there is no silent waiting. An action is small, idempotent and names what
//! it touches; a failed one is planned again. Nothing that is not declared is ever touched.

mod batches;
mod contact;
pub mod cores;
mod gpus;
mod held;
mod memory;
mod observed;
mod purse;
mod sectors;
mod setup;
pub mod space;
#[cfg(test)]
mod tests;

pub use batches::NETWORKS;
pub use contact::{Announced, Announcement, Contact, ContactSeen};
pub use gpus::{Ask, GpuSeen, assign};
pub use held::{Held, HeldSlots, How, Place};
pub use memory::MemorySeen;
pub use observed::{
    Assignee, BatchRule, BatchSeen, Costs, Desired, Funds, MinerSeen, Observed, ParamsSeen, RepoSeen, RepoWish,
    SectorSeen, SlotWish,
};
pub use sectors::promises;

use crate::{
    outbox::{Gas, MessageKind},
    sector::{Event, MessageId, Stage, WakeUp},
    units::{AttoFil, RepoName, SectorNumber, SectorSize, SlotName},
};
use std::fmt;

/// Something to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Initialise what is missing of the repo, lock it, mark it.
    OpenRepo(RepoName),
    /// Stop a worker that is no longer declared, or that an operator drained, once its task is done.
    StopWorker(Assignee),
    /// Start the local chain.
    StartDevnet,
    /// Take the next step towards a known miner actor.
    PrepareMiner,
    /// Fetch or generate the proof parameters of this sector size.
    PrepareParams(SectorSize),
    /// Start a worker process.
    StartWorker(Assignee),
    /// Create a sector record.
    CreateSector {
        /// Its number.
        number: SectorNumber,
        /// Where it will be sealed.
        repo: RepoName,
    },
    /// Record something that already happened.
    Record {
        /// The sector.
        number: SectorNumber,
        /// What happened.
        event: Event,
    },
    /// Draw a ticket: a PreCommit1 worker is free for it.
    DrawTicket(SectorNumber),
    /// Give a stage to a worker.
    Run {
        /// The sector.
        number: SectorNumber,
        /// The stage.
        stage: Stage,
        /// The worker.
        worker: Assignee,
        /// The repo the replica shall be in when the stage is done.
        repo: RepoName,
    },
    /// Put sectors into an open batch, or into a new one.
    Join {
        /// What the batch is for.
        kind: MessageKind,
        /// The batch; `None` opens one.
        batch: Option<MessageId>,
        /// The sectors.
        sectors: Vec<SectorNumber>,
    },
    /// Make one proof of those of these sectors.
    Aggregate {
        /// The open batch.
        batch: MessageId,
        /// Its sectors, ascending.
        sectors: Vec<SectorNumber>,
        /// The worker.
        worker: Assignee,
    },
    /// Compose the message of an open batch, with these of its sectors.
    Seal {
        /// The batch.
        batch: MessageId,
        /// The sectors.
        sectors: Vec<SectorNumber>,
        /// The id address of its sender.
        from: String,
        /// The most its gas may cost.
        max_fee: AttoFil,
    },
    /// Record the message that changes what the chain says of the miner.
    Announce {
        /// What the chain is to say.
        what: Announcement,
        /// The id address of the sender.
        from: String,
    },
    /// Hand a sealed message to the node.
    Push {
        /// The batch.
        batch: MessageId,
        /// The most its gas may cost.
        max_fee: AttoFil,
    },
    /// Hand a message that the node forgot over once more.
    Resend(MessageId),
    /// Replace a message that waits by a dearer one with its nonce.
    Reprice {
        /// The batch.
        batch: MessageId,
        /// What it pays.
        gas: Gas,
    },
}

impl Action {
    /// Whether it belongs to the preparation that `seald init` does.
    pub const fn prepares(&self) -> bool {
        match self {
            Self::OpenRepo(_) | Self::StartDevnet | Self::PrepareMiner | Self::PrepareParams(_) => true,
            Self::StopWorker(_)
            | Self::StartWorker(_)
            | Self::CreateSector { .. }
            | Self::Record { .. }
            | Self::DrawTicket(_)
            | Self::Run { .. }
            | Self::Join { .. }
            | Self::Aggregate { .. }
            | Self::Seal { .. }
            | Self::Announce { .. }
            | Self::Push { .. }
            | Self::Resend(_)
            | Self::Reprice { .. } => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &[SectorNumber]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::OpenRepo(name) => write!(f, "initialise and lock repo {name}"),
            Self::StopWorker(who) => write!(f, "stop worker {who} when its task is done"),
            Self::StartDevnet => write!(f, "start the local chain"),
            Self::PrepareMiner => write!(f, "prepare the miner actor"),
            Self::PrepareParams(size) => write!(f, "make the proof parameters for {size} sectors available"),
            Self::StartWorker(who) => write!(f, "start worker {who}"),
            Self::CreateSector { number, repo } => write!(f, "create sector {number} in repo {repo}"),
            Self::Record { number, event } => write!(f, "record {} of sector {number}", event.kind().as_str()),
            Self::DrawTicket(number) => write!(f, "draw the ticket of sector {number}"),
            Self::Run { number, stage, worker, .. } => {
                write!(f, "run {} of sector {number} on {worker}", stage.as_str())
            }
            Self::Join { kind, sectors, .. } => write!(f, "put sectors {} into a {kind} batch", list(sectors)),
            Self::Aggregate { sectors, worker, .. } => {
                write!(f, "aggregate the proofs of sectors {} on {worker}", list(sectors))
            }
            Self::Seal { batch, sectors, .. } => {
                write!(f, "compose message {} for sectors {}", batch.0, list(sectors))
            }
            Self::Announce { what, .. } => write!(f, "change what the chain says of the miner to {what}"),
            Self::Push { batch, .. } => write!(f, "send message {}", batch.0),
            Self::Resend(id) => write!(f, "send message {} again, which the node forgot", id.0),
            Self::Reprice { batch, gas } => {
                write!(f, "replace message {} by one with fee cap {}", batch.0, gas.fee_cap)
            }
        }
    }
}

/// What a hold is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The daemon as a whole.
    Daemon,
    /// The pledge target.
    Pledge,
    /// A repo.
    Repo(RepoName),
    /// A slot.
    Slot(SlotName),
    /// A sector.
    Sector(SectorNumber),
    /// A message.
    Message(MessageId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon => f.write_str("seald"),
            Self::Pledge => f.write_str("pledge"),
            Self::Repo(name) => write!(f, "repo {name}"),
            Self::Slot(name) => write!(f, "slot {name}"),
            Self::Sector(number) => write!(f, "sector {number}"),
            Self::Message(id) => write!(f, "message {}", id.0),
        }
    }
}

/// Wanted, not done now: why, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What waits.
    pub about: Subject,
    /// What it waits for, to be read after "waits for".
    pub reason: String,
    /// What ends the wait.
    pub until: WakeUp,
}

/// What to do, in order, and what to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In order: stop before start, prepare before seal.
    pub actions: Vec<Action>,
    /// Every want that is not an action.
    pub holds: Vec<Hold>,
}

impl Plan {
    fn hold(&mut self, about: Subject, reason: impl Into<String>, until: WakeUp) {
        self.holds.push(Hold { about, reason: reason.into(), until });
    }
}

/// Decides what to do. Pure.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    setup::plan(desired, observed, &mut plan);
    contact::plan(desired, observed, &mut plan);
    sectors::plan(desired, observed, &mut plan);
    plan
}
