//! What the daemon knows: records, messages, repos, workers, and what is under way. Changes only here.
//!
//! Every change of a sector or a batch goes through [`World::commit`]: the pure book decides, the store commits, then the
//! book follows. A crash between any two lines leaves the store as the truth and is planned on from there.

use super::{
    errands::{Desk, Done, Miner},
    generation::InForce,
    holding,
    machine::Machine,
    observer::{Questions, Sight},
    reading::Reader,
    site::Front,
    waits::Waits,
};
use crate::{
    book::{Book, Change},
    clock,
    control::Feed,
    error::Chain,
    manifest::Manifest,
    plan::{Assignee, Desired, MinerSeen, ParamsSeen, RepoSeen},
    proofs::Prover,
    repo::Repo,
    sector::{Attempt, Event, Facts, MessageId, Record, Stage, State},
    status::{Snapshot, events::Move},
    store::{Store, StoreError, Unreadable},
    supervisor::{Companion, Supervisor},
    units::{Bytes, Epoch, Hash32, RepoName, SectorNumber, UnixMillis},
    worker::Life,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
};

/// A declared repo as the daemon has it.
#[derive(Debug)]
pub struct RepoDesk {
    /// Open and locked.
    pub repo: Option<Repo>,
    /// As the planner sees it.
    pub seen: RepoSeen,
    /// Size of its file system.
    pub capacity: Bytes,
    /// When it was measured.
    pub measured: UnixMillis,
}

/// A stage a worker has.
#[derive(Debug, Clone)]
pub struct Task {
    /// The sector.
    pub number: SectorNumber,
    /// The stage.
    pub stage: Stage,
    /// Who has it.
    pub worker: Assignee,
    /// The repo the result is in.
    pub repo: RepoName,
    /// The sector's stay in its state that it works for: a result of another one is stale.
    pub attempt: Attempt,
    /// Since when.
    pub started: UnixMillis,
}

/// Something that failed for a reason outside, and is tried again.
#[derive(Debug, Clone, Default)]
pub struct Pause {
    /// Why.
    pub why: String,
    /// Not before.
    pub until: UnixMillis,
    /// Failures in a row.
    pub tries: u32,
}

impl Pause {
    /// The next pause after `before`.
    pub fn again(before: Option<&Self>, why: String, now: UnixMillis) -> Self {
        let tries = before.map_or(0, |p| p.tries).saturating_add(1);
        Self { why, until: now.plus_ms(back_off(tries)), tries }
    }
}

/// Milliseconds before the next attempt: one second, doubling to a minute.
pub fn back_off(tries: u32) -> i64 {
    1_000_i64.saturating_mul(1 << tries.saturating_sub(1).min(6)).min(60_000)
}

/// Everything the daemon knows.
pub struct World {
    /// The manifest in force.
    pub manifest: Arc<Manifest>,
    /// Which generation that is, and where it came from.
    pub in_force: InForce,
    /// What it wants.
    pub desired: Desired,
    /// Which prover runs.
    pub prover: Prover,
    /// The database.
    pub store: Store,
    /// Sectors and batches.
    pub book: Book,
    /// When the CreateMiner message was first found gone.
    pub gone: BTreeMap<MessageId, Epoch>,
    /// Batches that could not be composed or handed over.
    pub batch_pauses: BTreeMap<MessageId, Pause>,
    /// The miner, once known.
    pub miner: Option<Miner>,
    /// The way there.
    pub miner_seen: MinerSeen,
    /// A step is being taken.
    pub miner_errand: bool,
    /// What the way there waits for, kept while the next step is taken.
    pub miner_step: String,
    /// Failures on the way.
    pub miner_pause: Option<Pause>,
    /// The parameters.
    pub params: ParamsSeen,
    /// Failures to get them.
    pub params_pause: Option<Pause>,
    /// The task that gets them.
    pub params_task: Option<u64>,
    /// Repos by name.
    pub repos: BTreeMap<RepoName, RepoDesk>,
    /// The highest number that lies in a repo.
    pub highest_on_disk: Option<SectorNumber>,
    /// The highest number the database ever had.
    pub highest_in_store: Option<SectorNumber>,
    /// The machine, and who has what of it.
    pub machine: Machine,
    /// Worker processes.
    pub supervisor: Supervisor,
    /// Whether those of the slots outlive this daemon.
    pub life: Life,
    /// The local chain.
    pub devnet: Option<Companion>,
    /// It was asked to run.
    pub devnet_started: bool,
    /// Workers that were asked to run.
    pub started: BTreeSet<Assignee>,
    /// Stages under way.
    pub tasks: BTreeMap<u64, Task>,
    /// Jobs that an earlier daemon gave and that are not understood: at which sector who works.
    pub unplaced: BTreeMap<u64, (SectorNumber, Assignee)>,
    /// Workers that gave wrong bytes, and for which sectors: one is the sector's trouble, more are the worker's.
    pub suspects: BTreeMap<Assignee, BTreeSet<SectorNumber>>,
    /// Aggregations under way: of which batch, and of which proofs.
    pub aggregating: BTreeMap<u64, (MessageId, Vec<(SectorNumber, Hash32)>)>,
    /// The last task number given. Workers that outlive a daemon keep theirs, so each daemon begins above all before.
    pub last_task: u64,
    /// Chain work under way; each says when it was done.
    pub errands: JoinSet<(Instant, Done)>,
    /// Sectors an errand is about.
    pub errand_of: BTreeMap<SectorNumber, &'static str>,
    /// Batches being composed, aggregated or handed over.
    pub handling: BTreeSet<MessageId>,
    /// Sectors whose errand failed.
    pub pauses: BTreeMap<SectorNumber, Pause>,
    /// The latest view of the chain.
    pub sight: watch::Receiver<Sight>,
    /// What is asked of the chain.
    pub questions: watch::Sender<Questions>,
    /// Mean duration of each stage, milliseconds.
    pub durations: BTreeMap<Stage, u64>,
    /// Rows that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// What scheduling costs.
    pub waits: Waits,
    /// A write failed, so memory may not be what the database says.
    pub stale: bool,
    /// Why the last write failed; until one succeeds.
    pub store_trouble: Option<String>,
    /// Where every move of a sector is told.
    pub moves: broadcast::Sender<Arc<Move>>,
    /// What is shown at the manifest's address.
    pub front: Front,
    /// The group whose members may give orders.
    pub operators: watch::Sender<Option<String>>,
}

/// Moves that a listener may be behind before it misses some.
pub const MOVES: usize = 1024;

impl World {
    /// What the control socket is answered from.
    pub(super) fn feed(&self, status: watch::Receiver<Arc<Snapshot>>) -> Feed {
        let (store, sight) = (self.store.clone(), self.sight.clone());
        let reading = Reader { store, sight, status: status.clone(), running_since: clock::now() };
        let operators = self.operators.subscribe();
        Feed { status, moves: self.moves.clone(), operators, reading: Arc::new(reading) }
    }

    /// Lets the control socket know who may give orders, after a manifest changed that.
    pub(super) fn tell_operators(&self) {
        let group = &self.manifest.control.operator_group;
        self.operators.send_if_modified(|known| {
            let changed = known != group;
            known.clone_from(group);
            changed
        });
    }

    /// What an errand needs, once the chain was read.
    pub fn desk(&self) -> Option<Desk> {
        let sight = self.sight.borrow();
        let (client, view) = (sight.client.clone()?, sight.view.clone()?);
        Some(Desk {
            client,
            head: view.head.clone(),
            network: view.network.clone(),
            manifest: Arc::clone(&self.manifest),
        })
    }

    /// Reads records and messages from the database, which is the truth: at the start, and after a write failed, as
    /// that may have been done all the same.
    ///
    /// # Errors
    /// The database does not answer; memory is unchanged.
    pub async fn reload(&mut self) -> Result<(), StoreError> {
        let (records, mut unreadable) = self.store.sectors().await?;
        let (batches, more) = self.store.batches().await?;
        self.highest_in_store = self.store.max_number().await?;
        self.desired.held = holding::declared(&self.store, &self.desired.slots).await?;
        unreadable.extend(more);
        self.book = Book::of(records, batches);
        self.unreadable = unreadable;
        self.stale = false;
        Ok(())
    }

    /// A write failed: nothing is planned before [`World::reload`].
    pub fn doubt(&mut self, error: &StoreError) {
        self.stale = true;
        let why = Chain(error).to_string();
        if self.store_trouble.as_ref() != Some(&why) {
            tracing::error!(error = %why, "the database was not written");
            self.store_trouble = Some(why);
        }
    }

    /// Records events of sectors, in one transaction, and then in memory. An event that does not belong to its sector's
    /// state is kept in the history and changes nothing.
    ///
    /// # Errors
    /// The database failed; memory is unchanged.
    pub async fn record_all(&mut self, events: Vec<(SectorNumber, Event)>) -> Result<(), StoreError> {
        let mut draft = self.book.draft(clock::now());
        events.into_iter().for_each(|(number, event)| draft.event(number, event));
        let change = draft.finish();
        self.commit(change).await
    }

    /// Commits a change, and then follows it.
    ///
    /// # Errors
    /// The database failed; memory is unchanged.
    pub async fn commit(&mut self, change: Change) -> Result<(), StoreError> {
        if change.is_empty() {
            return Ok(());
        }
        self.store.commit(&change).await?;
        self.store_trouble = None;
        self.tell(&change);
        for (record, _) in &change.sectors {
            self.pauses.remove(&record.number);
        }
        self.book.committed(change);
        Ok(())
    }

    fn tell(&self, change: &Change) {
        let miner = self.miner.as_ref().map(|miner| miner.id.to_string());
        for record in &change.created {
            tracing::info!(sector = %record.number, repo = %record.repo, "sector {} created", record.number);
            self.told(record, None, "Created");
        }
        for (number, event) in &change.notes {
            tracing::warn!(sector = %number, event = event.kind().as_str(), "sector {number}: an event that does not apply was noted");
        }
        for (record, event) in &change.sectors {
            let before = self.book.records.get(&record.number).map_or(State::Packing, |r| r.state);
            tell(miner.as_deref(), before, record, event);
            self.told(record, Some(before), event.kind().as_str());
        }
        for batch in &change.batches {
            let before = self.book.batches.get(&batch.id).map_or("new", |known| known.state.as_str());
            let (kind, status) = (batch.kind, batch.state.as_str());
            if before != status {
                tracing::info!(batch = %batch.id.0, %kind, status, before, sectors = batch.sectors.len(), "message {kind} {before} -> {status}");
            }
        }
    }

    fn told(&self, record: &Record, from: Option<State>, event: &str) {
        let Record { number, state: to, .. } = *record;
        // nobody may be listening
        drop(self.moves.send(Arc::new(Move { number, from, to, event: event.to_owned(), at: clock::now() })));
    }

    /// A new view of the chain: what it says of messages is recorded.
    ///
    /// # Errors
    /// The database failed.
    pub async fn on_view(&mut self) -> Result<(), StoreError> {
        // a miner step that only waits for the chain is looked at again
        if matches!(self.miner_seen, MinerSeen::Preparing { .. }) && !self.miner_errand {
            self.miner_seen = MinerSeen::Unknown;
        }
        let Some(view) = self.sight.borrow().view.clone() else { return Ok(()) };
        let confidence = self.desired.policy.message_confidence;
        let change = self.book.seen(view.head.height, view.finalized, &view.fates, confidence, clock::now());
        self.commit(change).await
    }

    /// What the chain says of a sector, with what the outbox says of its message.
    pub fn facts(&self, record: &Record) -> Option<Facts> {
        let view = self.sight.borrow().view.clone()?;
        let trouble = |id: &MessageId| self.batch_pauses.get(id).map(|pause| pause.why.clone());
        self.book.facts(record, &view.facts, &view.fates, trouble)
    }

    /// The lowest number nobody used; `None` until the chain was asked.
    pub fn next_number(&self) -> Option<SectorNumber> {
        let on_chain = self.sight.borrow().view.as_ref()?.next_number?;
        let ours = [self.highest_in_store, self.highest_on_disk, self.book.records.keys().next_back().copied()];
        let above = ours.into_iter().flatten().filter_map(SectorNumber::next).max();
        Some(above.map_or(on_chain, |above| above.max(on_chain)))
    }

    /// Everything that sealing needs is there.
    pub fn is_prepared(&self) -> bool {
        let open = |name| self.repos.get(name).is_some_and(|desk| matches!(desk.seen, RepoSeen::Open(_)));
        self.miner_seen == MinerSeen::Known && self.params == ParamsSeen::Ready && self.manifest.repos.keys().all(open)
    }

    /// Sectors that count towards the target.
    pub fn proving(&self) -> u64 {
        let proving = self.book.records.values().filter(|r| r.state == State::Proving).count();
        u64::try_from(proving).unwrap_or(u64::MAX)
    }
}

fn tell(miner: Option<&str>, before: State, after: &Record, event: &Event) {
    let number = after.number;
    let kind = event.kind().as_str();
    match &after.failure {
        Some(failure) if after.state.is_failure() => tracing::warn!(
            sector = %number, miner, event = kind, error = %failure.error,
            "sector {number} {before} -> {}", after.state
        ),
        _ if before != after.state => {
            tracing::info!(sector = %number, miner, event = kind, "sector {number} {before} -> {}", after.state)
        }
        _ => tracing::info!(sector = %number, miner, event = kind, "sector {number} {}: {kind}", after.state),
    }
}
