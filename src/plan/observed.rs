//! The two inputs of the planner: what the manifest wants, and what is.

use super::{ContactSeen, HeldSlots, MemorySeen, space::Room};
use crate::{
    manifest::{ChainSource, Manifest, Senders, Slot, Task},
    outbox::{Accounts, Batch, FeeRule},
    sector::{ChainNow, Facts, MessageId, Policy, Record, Stage},
    units::{AttoFil, Bytes, Epoch, Multiaddr, PeerId, RepoName, SectorNumber, SectorSize, SlotName, UnixMillis},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// One process of a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assignee {
    /// The slot.
    pub slot: SlotName,
    /// Which of its processes, from 0.
    pub instance: u32,
}

impl fmt::Display for Assignee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.slot, self.instance)
    }
}

/// What a slot is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotWish {
    /// The stages its workers take.
    pub stages: BTreeSet<Stage>,
    /// How many processes.
    pub count: u32,
    /// The most that one of them may take of memory.
    pub memory: Option<Bytes>,
}

/// What a repo is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepoWish {
    /// Sectors may be sealed in it.
    pub seal: bool,
    /// Finished sectors may be kept in it.
    pub store: bool,
    /// Preference among equals.
    pub weight: u64,
}

/// How many sectors share a message, and how long the first waits for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRule {
    /// At most this many.
    pub max: usize,
    /// At most this long, milliseconds.
    pub wait_ms: u64,
}

/// What the manifest wants, as far as planning goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// A local chain is wanted.
    pub devnet: bool,
    /// Sector size.
    pub sector_size: SectorSize,
    /// Repos by name.
    pub repos: BTreeMap<RepoName, RepoWish>,
    /// Slots by name.
    pub slots: BTreeMap<SlotName, SlotWish>,
    /// What operators hold of them.
    pub held: HeldSlots,
    /// Sectors to be proven in all.
    pub sectors: u64,
    /// Sectors between creation and Proving.
    pub max_in_flight: u64,
    /// Pre-commit batching.
    pub precommit: BatchRule,
    /// Prove-commit batching.
    pub commit: BatchRule,
    /// The miner's libp2p identity on chain; `None` for whatever it is.
    pub peer_id: Option<PeerId>,
    /// Where the chain is to say that it is reached; `None` for whatever it says.
    pub multiaddrs: Option<Vec<Multiaddr>>,
    /// Who sends its messages.
    pub senders: Senders,
    /// Proofs are aggregated from this many on; `None` never.
    pub aggregate_from: Option<usize>,
    /// No message is sent while a gas unit costs more, unless a deadline is near.
    pub base_fee_ceiling: Option<AttoFil>,
    /// What pre-commits may cost.
    pub precommit_fees: FeeRule,
    /// What prove-commits may cost.
    pub commit_fees: FeeRule,
    /// Rules of waiting and retrying.
    pub policy: Policy,
}

/// The network's limit on the age of a ticket at pre-commit: 2880 epochs plus finality, on every network.
const TICKET_MAX_AGE: i64 = 3780;

/// How old a ticket is when it is drawn: as far back as no reorganisation reaches, on every network.
const TICKET_LOOKBACK: i64 = 900;

/// Failed attempts at one thing before a sector is parked with an alarm.
const ATTEMPTS: u32 = 8;

/// Milliseconds of an epoch in economic formulas, on every network.
const EPOCH_MS: u128 = 30_000;

impl Desired {
    /// What this manifest wants.
    pub fn of(manifest: &Manifest) -> Self {
        let rule = |max: u64, wait: std::time::Duration| BatchRule {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let epochs = |time: std::time::Duration| {
            i64::try_from(time.as_millis().checked_div(EPOCH_MS).unwrap_or(0)).unwrap_or(i64::MAX)
        };
        let fees = &manifest.fees;
        let fee_rule = |cap: AttoFil| FeeRule {
            cap,
            urgent_factor: fees.urgent_factor,
            margin: epochs(fees.deadline_margin),
            replace_after: epochs(fees.replace_after),
        };
        Self {
            devnet: manifest.chain.source == ChainSource::Devnet,
            sector_size: manifest.miner.sector_size,
            repos: manifest
                .repos
                .iter()
                .map(|(name, repo)| {
                    (name.clone(), RepoWish { seal: repo.seal, store: repo.store, weight: repo.weight })
                })
                .collect(),
            slots: manifest.slots.iter().map(|(name, slot)| (name.clone(), wish(slot))).collect(),
            held: HeldSlots::default(),
            sectors: manifest.pledge.sectors,
            max_in_flight: manifest.pledge.max_in_flight,
            precommit: rule(manifest.batch.precommit.max, manifest.batch.precommit.wait),
            commit: rule(manifest.batch.commit.max, manifest.batch.commit.wait),
            peer_id: manifest.miner.peer_id.clone(),
            multiaddrs: manifest.miner.multiaddrs.clone(),
            senders: manifest.miner.senders.clone(),
            aggregate_from: manifest.batch.aggregate_from.and_then(|from| usize::try_from(from).ok()),
            base_fee_ceiling: fees.base_fee_ceiling,
            precommit_fees: fee_rule(fees.max_precommit),
            commit_fees: fee_rule(fees.max_commit),
            policy: Policy {
                message_confidence: manifest.chain.message_confidence,
                seed_confidence: manifest.chain.seed_confidence,
                ticket_max_age: TICKET_MAX_AGE,
                ticket_lookback: TICKET_LOOKBACK,
                margin: epochs(fees.deadline_margin),
                to_precommit: None,
                attempts: ATTEMPTS,
            },
        }
    }

    /// Every worker process that is wanted.
    pub fn workers(&self) -> impl Iterator<Item = Assignee> + '_ {
        self.slots
            .iter()
            .flat_map(|(slot, wish)| (0..wish.count).map(|instance| Assignee { slot: slot.clone(), instance }))
    }

    /// Workers of the manifest that can do this stage.
    pub fn able(&self, stage: Stage) -> impl Iterator<Item = Assignee> + '_ {
        self.workers().filter(move |who| self.slot_of(who).is_some_and(|wish| wish.stages.contains(&stage)))
    }

    /// The slot of a worker that is wanted.
    pub fn slot_of(&self, who: &Assignee) -> Option<&SlotWish> {
        self.slots.get(&who.slot).filter(|wish| who.instance < wish.count)
    }

    /// Whether sectors that are sealed in this repo stay there.
    pub fn stores_in(&self, repo: &RepoName) -> bool {
        self.repos.get(repo).is_some_and(|wish| wish.store)
    }
}

fn wish(slot: &Slot) -> SlotWish {
    SlotWish { stages: stages(&slot.tasks), count: slot.count, memory: slot.memory }
}

fn stages(tasks: &BTreeSet<Task>) -> BTreeSet<Stage> {
    tasks
        .iter()
        .flat_map(|task| -> &[Stage] {
            match task {
                Task::PreCommit1 => &[Stage::PreCommit1],
                Task::PreCommit2 => &[Stage::PreCommit2],
                Task::Commit => &[Stage::Commit],
                Task::Finalize => &[Stage::Finalize, Stage::Remove],
                Task::AddPiece | Task::Fetch | Task::WindowPost | Task::WinningPost => &[],
            }
        })
        .copied()
        .collect()
}

/// A repo as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepoSeen {
    /// Not opened yet.
    Closed,
    /// It cannot be used now.
    Unusable {
        /// Why.
        why: String,
        /// Looked at again then.
        again: UnixMillis,
    },
    /// Open and locked by us.
    Open(Room),
}

/// The miner as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MinerSeen {
    /// A step is being taken.
    Preparing {
        /// Which.
        step: String,
    },
    /// The next step can be taken.
    Unknown,
    /// The last step failed.
    Failed {
        /// Why.
        why: String,
        /// Tried again then.
        again: UnixMillis,
    },
    /// It exists on chain and is ours.
    Known,
}

/// The proof parameters as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamsSeen {
    /// Not complete.
    Missing,
    /// Being fetched or generated.
    Preparing,
    /// The last attempt failed.
    Failed {
        /// Why.
        why: String,
        /// Tried again then.
        again: UnixMillis,
    },
    /// Complete.
    Ready,
}

/// A sector as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectorSeen {
    /// Its record.
    pub record: Record,
    /// What the chain says of it, read at the present head.
    pub facts: Option<Facts>,
    /// Something is being done for it already, such as `commit on cpu/0`.
    pub busy: Option<String>,
}

/// A batch that may still land.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSeen {
    /// The batch.
    pub batch: Batch,
    /// It is being composed, aggregated or handed over right now.
    pub busy: bool,
    /// Not to be handed over again before.
    pub retry_at: Option<UnixMillis>,
    /// The node that took it knows it no more, since this height.
    pub gone_since: Option<Epoch>,
    /// The sectors, ascending, whose proofs were tried to be made one as they are now.
    pub aggregate: Option<Vec<SectorNumber>>,
}

/// What there is to spend, and what things cost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Funds {
    /// The accounts that can send and pay; `None` until they were read.
    pub accounts: Option<Accounts>,
    /// `None` until they were read.
    pub costs: Option<Costs>,
}

/// What one sector locks, at the present head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// With its pre-commit.
    pub deposit: AttoFil,
    /// With its proof; the deposit is part of it.
    pub pledge: AttoFil,
}

/// What is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The time.
    pub now: UnixMillis,
    /// The chain, once read.
    pub chain: Option<ChainNow>,
    /// Base fee of the head, attoFIL per gas unit.
    pub base_fee: AttoFil,
    /// Why the chain cannot be read.
    pub chain_trouble: Option<String>,
    /// The local chain runs, or none is wanted.
    pub devnet_running: bool,
    /// The miner.
    pub miner: MinerSeen,
    /// The parameters.
    pub params: ParamsSeen,
    /// Repos that are or were declared.
    pub repos: BTreeMap<RepoName, RepoSeen>,
    /// Worker processes, and whether each could take a task now; without those that were told to stop.
    pub workers: BTreeMap<Assignee, bool>,
    /// Sectors by number.
    pub sectors: BTreeMap<SectorNumber, SectorSeen>,
    /// Sectors whose record cannot be read: they are counted, so that nothing is sealed in their place.
    pub quarantined: u64,
    /// Batches of sectors that may still land.
    pub batches: BTreeMap<MessageId, BatchSeen>,
    /// What there is to spend.
    pub funds: Funds,
    /// How the miner is reached.
    pub contact: ContactSeen,
    /// Version of the network at the head; `None` until it was read.
    pub network_version: Option<u32>,
    /// Neither we nor the chain ever used this number or a higher one; `None` until the chain was asked.
    pub next_number: Option<SectorNumber>,
    /// Mean duration of each stage that was ever measured, milliseconds.
    pub durations: BTreeMap<Stage, u64>,
    /// The stage that each of these workers is at.
    pub running: BTreeMap<Assignee, Stage>,
    /// What is known of memory.
    pub memory: MemorySeen,
    /// Workers that this machine cannot run now, with the reason, to be read after "waits for".
    pub barred: BTreeMap<Assignee, String>,
}
