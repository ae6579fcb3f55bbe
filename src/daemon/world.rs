//! What the daemon knows: records, messages, repos, workers, and what is under way. Changes only here.
//!
//! Every change of a sector goes through [`World::record_all`]: the pure machine decides, the store commits, then memory
//! follows. A crash between any two lines leaves the store as the truth and is planned on from there.

use super::{
    errands::{Desk, Done, GONE, Handed, Miner, Step},
    observer::{Questions, Sight},
    waits::Waits,
};
use crate::{
    chain::Fate,
    clock,
    error::Chain,
    manifest::Manifest,
    plan::{Assignee, Desired, MinerSeen, ParamsSeen, RepoSeen},
    proofs::Prover,
    repo::Repo,
    sector::{Class, Event, Facts, Failure, MessageId, MessageView, Record, Stage, State},
    store::{Change, MessageStatus, OutboxMessage, Store, StoreError, Took, Unreadable},
    supervisor::{Companion, Notice, Supervisor, WorkerId},
    units::{Bytes, Epoch, Hash32, RepoName, SectorNumber, UnixMillis},
    worker::protocol::Outcome,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};
use tokio::{sync::watch, task::JoinSet};

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
    /// The seed a proof is made for.
    pub seed: Option<Hash32>,
    /// Since when.
    pub started: UnixMillis,
}

/// What workers and errands told and is not recorded yet.
#[derive(Debug, Default)]
pub struct News {
    /// What happened to sectors; of each at most one thing, as it has at most one worker.
    events: Vec<(SectorNumber, Event)>,
    /// Finished stages.
    durations: Vec<Took>,
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
    fn again(before: Option<&Self>, why: String, now: UnixMillis) -> Self {
        let tries = before.map_or(0, |p| p.tries).saturating_add(1);
        Self { why, until: now.plus_ms(back_off(tries)), tries }
    }
}

/// Milliseconds before the next attempt: one second, doubling to a minute.
pub fn back_off(tries: u32) -> i64 {
    1_000_i64.saturating_mul(1 << tries.saturating_sub(1).min(6)).min(60_000)
}

/// Space and memory come back when they come back: looked at this often, without counting the attempt.
const RESOURCE_PAUSE_MS: i64 = 5_000;

/// Everything the daemon knows.
pub struct World {
    /// The manifest in force.
    pub manifest: Arc<Manifest>,
    /// What it wants.
    pub desired: Desired,
    /// Which prover runs.
    pub prover: Prover,
    /// The database.
    pub store: Store,
    /// Sectors.
    pub records: BTreeMap<SectorNumber, Record>,
    /// The outbox.
    pub messages: BTreeMap<MessageId, OutboxMessage>,
    /// Messages that a node took and knows no more, and since when.
    pub gone: BTreeMap<MessageId, Epoch>,
    /// Messages the node did not take.
    pub message_pauses: BTreeMap<MessageId, Pause>,
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
    /// Worker processes.
    pub supervisor: Supervisor,
    /// The local chain.
    pub devnet: Option<Companion>,
    /// It was asked to run.
    pub devnet_started: bool,
    /// Workers that were asked to run.
    pub started: BTreeSet<Assignee>,
    /// Stages under way.
    pub tasks: BTreeMap<u64, Task>,
    /// The last task number given.
    pub last_task: u64,
    /// Chain work under way; each says when it was done.
    pub errands: JoinSet<(Instant, Done)>,
    /// Sectors an errand is about.
    pub errand_of: BTreeMap<SectorNumber, &'static str>,
    /// Messages being handed over.
    pub pushing: BTreeSet<MessageId>,
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
}

impl World {
    /// What an errand needs, once the chain was read.
    pub fn desk(&self) -> Option<Desk> {
        let sight = self.sight.borrow();
        let (client, view) = (sight.client.clone()?, sight.view.clone()?);
        Some(Desk {
            client,
            head: view.head.clone(),
            network: view.network.clone(),
            manifest: Arc::clone(&self.manifest),
            store: self.store.clone(),
            gone: self.gone.clone(),
        })
    }

    /// Reads records and messages from the database, which is the truth: at the start, and after a write failed, as
    /// that may have been done all the same.
    ///
    /// # Errors
    /// The database does not answer; memory is unchanged.
    pub async fn reload(&mut self) -> Result<(), StoreError> {
        let (records, mut unreadable) = self.store.sectors().await?;
        let (messages, more) = self.store.messages().await?;
        self.highest_in_store = self.store.max_number().await?;
        unreadable.extend(more);
        self.records = records.into_iter().map(|record| (record.number, record)).collect();
        self.messages = messages.into_iter().map(|row| (row.id.clone(), row)).collect();
        self.unreadable = unreadable;
        self.stale = false;
        Ok(())
    }

    /// An operator who starts seald again has looked at what was parked: it gets a new budget.
    pub fn unpark(&mut self) {
        let parked = self.records.values_mut().filter(|record| record.attempts >= self.desired.policy.attempts);
        parked.for_each(|record| record.attempts = 0);
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

    /// Records events of sectors and the message they share, in one transaction, and then in memory. An event that
    /// does not belong to its sector's state is kept in the history and changes nothing.
    ///
    /// # Errors
    /// The database failed; memory is unchanged.
    pub async fn record_all(
        &mut self,
        events: Vec<(SectorNumber, Event)>,
        message: Option<OutboxMessage>,
    ) -> Result<(), StoreError> {
        self.record_change(events, message, Vec::new()).await
    }

    async fn record_change(
        &mut self,
        events: Vec<(SectorNumber, Event)>,
        message: Option<OutboxMessage>,
        durations: Vec<Took>,
    ) -> Result<(), StoreError> {
        let now = clock::now();
        let mut sectors = Vec::with_capacity(events.len());
        for (number, event) in events {
            let Some(record) = self.records.get(&number) else { continue };
            match record.apply(&event, now) {
                Ok(next) => sectors.push((next, event)),
                Err(refused) => {
                    tracing::warn!(sector = %number, reason = %refused, "an event that does not apply was noted");
                    self.store.note(number, &event, now).await?;
                }
            }
        }
        if sectors.is_empty() && durations.is_empty() {
            return Ok(());
        }
        let change = Change { sectors, message, durations, at: now };
        self.store.commit(&change).await?;
        self.store_trouble = None;
        let Change { sectors, message, .. } = change;
        for (record, event) in sectors {
            let number = record.number;
            let before = self.records.get(&number).map_or(State::Packing, |r| r.state);
            tell(before, &record, &event);
            self.pauses.remove(&number);
            self.records.insert(number, record);
        }
        if let Some(message) = message {
            self.messages.insert(message.id.clone(), message);
        }
        Ok(())
    }

    /// A worker has news, which reached the daemon at `at`. What it means for a sector is added to `news`, to be
    /// recorded by [`World::record_news`] before the next plan.
    pub fn on_notice(&mut self, notice: Notice, at: Instant, now: UnixMillis, news: &mut News) {
        if let Notice::Ready { worker } | Notice::Done { worker, .. } | Notice::Failed { worker, .. } = &notice {
            let WorkerId { slot, instance } = worker.clone();
            self.waits.free(Assignee { slot, instance }, at);
        }
        match notice {
            Notice::Ready { .. } | Notice::Progress { .. } => {}
            Notice::Done { task, outcome, .. } => {
                news.events.extend(self.on_done(task, outcome, now, &mut news.durations))
            }
            Notice::Failed { task, class, error, worker } | Notice::Lost { task, class, error, worker } => {
                tracing::warn!(slot = %worker, class = class.as_str(), error = %error, "a task failed");
                news.events.extend(self.on_failed(task, class, error, now));
            }
            Notice::Down { worker, why } => {
                tracing::warn!(slot = %worker, reason = %why, "a worker ended");
            }
        }
    }

    /// Records what was told, in one transaction: a sync for each of them would let the free ones wait.
    ///
    /// # Errors
    /// The database failed; memory is unchanged.
    pub async fn record_news(&mut self, news: News) -> Result<(), StoreError> {
        let News { events, durations } = news;
        self.record_change(events, None, durations).await
    }

    fn on_done(
        &mut self,
        id: u64,
        outcome: Outcome,
        now: UnixMillis,
        durations: &mut Vec<Took>,
    ) -> Option<(SectorNumber, Event)> {
        if self.params_task == Some(id) {
            self.params_task = None;
            self.params_pause = None;
            self.params = ParamsSeen::Ready;
            return None;
        }
        let task = self.tasks.remove(&id)?;
        let ms = now.ms_since(task.started);
        self.waits.done(ms);
        durations.push(Took { stage: task.stage, size: self.desired.sector_size, ms });
        let mean = self.durations.entry(task.stage).or_insert(ms);
        *mean = (*mean).saturating_mul(7).saturating_add(ms) / 8;
        let record = self.records.get(&task.number);
        let event = match (task.stage, outcome) {
            (Stage::PreCommit1, Outcome::PreCommit1) => Event::PreCommit1Done,
            (Stage::PreCommit2, Outcome::PreCommit2 { sealed }) => Event::PreCommit2Done { sealed },
            (Stage::Commit, Outcome::Commit { porep }) => {
                // a proof for a seed that has changed meanwhile proves nothing
                let seed = record.and_then(|r| r.seed.as_ref()).map(|s| s.value);
                if seed != task.seed {
                    tracing::info!(sector = %task.number, "a proof for a seed that is no longer the chain's is dropped");
                    return None;
                }
                Event::ProofReady { porep }
            }
            (Stage::Finalize, Outcome::Finalize) => Event::Finalized { store: task.repo },
            (stage, _) => {
                return Some(self.failed_stage(&task, stage, Class::Worker, "the outcome of another job".into(), now));
            }
        };
        Some((task.number, event))
    }

    fn on_failed(&mut self, id: u64, class: Class, error: String, now: UnixMillis) -> Option<(SectorNumber, Event)> {
        if self.params_task == Some(id) {
            self.params_task = None;
            let pause = Pause::again(self.params_pause.as_ref(), error, now);
            self.params = ParamsSeen::Failed { why: pause.why.clone(), again: pause.until };
            self.params_pause = Some(pause);
            return None;
        }
        let task = self.tasks.remove(&id)?;
        Some(self.failed_stage(&task, task.stage, class, error, now))
    }

    fn failed_stage(
        &self,
        task: &Task,
        stage: Stage,
        class: Class,
        error: String,
        now: UnixMillis,
    ) -> (SectorNumber, Event) {
        let attempts = self.records.get(&task.number).map_or(0, |r| r.attempts);
        let pause = if class == Class::Resource { RESOURCE_PAUSE_MS } else { back_off(attempts.saturating_add(1)) };
        let failure = Failure { class, doing: stage.as_str().to_owned(), error };
        let retry_at = now.plus_ms(pause);
        let event = match (class, stage) {
            (Class::Data, Stage::PreCommit1 | Stage::PreCommit2) => Event::SealPreCommitFailed { failure, retry_at },
            (Class::Data, Stage::Commit) => Event::ComputeProofFailed { failure, retry_at },
            (Class::Data, Stage::Finalize | Stage::Remove)
            | (Class::Resource | Class::Environment | Class::Worker | Class::Chain | Class::Operator, _) => {
                Event::AttemptFailed { failure, retry_at }
            }
        };
        (task.number, event)
    }

    /// An errand came back. What is only an event of a sector is added to `news`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn on_errand(&mut self, done: Done, now: UnixMillis, news: &mut News) -> Result<(), StoreError> {
        match done {
            Done::Ticket { number, result } => {
                self.errand_of.remove(&number);
                match result {
                    Ok(ticket) => news.events.push((number, Event::TicketDrawn { ticket })),
                    Err(why) => self.pause(number, why, now),
                }
                Ok(())
            }
            Done::Composed { numbers, result } => {
                for number in &numbers {
                    self.errand_of.remove(number);
                }
                match result {
                    Ok(row) => self.on_composed(numbers, row).await,
                    Err(why) => {
                        numbers.into_iter().for_each(|n| self.pause(n, why.clone(), now));
                        Ok(())
                    }
                }
            }
            Done::Pushed { id, result } => self.on_pushed(&id, result, now).await,
            Done::Miner(result) => {
                self.on_miner(result, now);
                Ok(())
            }
        }
    }

    fn pause(&mut self, number: SectorNumber, why: String, now: UnixMillis) {
        let pause = Pause::again(self.pauses.get(&number), why, now);
        self.pauses.insert(number, pause);
    }

    async fn on_composed(&mut self, numbers: Vec<SectorNumber>, row: OutboxMessage) -> Result<(), StoreError> {
        use crate::store::MessageKind;
        let (state, pre) = match row.kind {
            MessageKind::PreCommit => (State::PreCommitting, true),
            MessageKind::Commit => (State::Committing, false),
            MessageKind::CreateMiner => return Ok(()),
        };
        // nothing was sent yet: if one of them has moved on meanwhile, the message is composed again without it
        if !numbers.iter().all(|number| self.records.get(number).is_some_and(|r| r.state == state)) {
            return Ok(());
        }
        let message = Some(row.id.clone());
        let event = |message| if pre { Event::PreCommitted { message } } else { Event::Committed { message } };
        let events = numbers.iter().map(|number| (*number, event(message.clone()))).collect();
        match self.record_all(events, Some(row)).await {
            // one that cannot be read, for it would be known otherwise
            Err(error @ StoreError::LiveMessage { .. }) => {
                let why = Chain(&error).to_string();
                numbers.into_iter().for_each(|number| self.pause(number, why.clone(), clock::now()));
                Ok(())
            }
            other => other,
        }
    }

    async fn on_pushed(&mut self, id: &MessageId, result: Handed, now: UnixMillis) -> Result<(), StoreError> {
        self.pushing.remove(id);
        let Some(row) = self.messages.get_mut(id) else { return Ok(()) };
        let status = match result {
            Handed::Taken(pushed) => MessageStatus::Pushed(pushed),
            Handed::Refused(why) => MessageStatus::Refused { why },
            Handed::Unclear(why) => {
                tracing::warn!(message = %id.0, reason = %why, "the node did not take a message");
                // the errand has recorded its attempt if it got that far
                row.attempts = self.store.message(id).await?.map_or(row.attempts, |stored| stored.attempts);
                let pause = Pause::again(self.message_pauses.get(id), why, now);
                self.message_pauses.insert(id.clone(), pause);
                return Ok(());
            }
        };
        self.message_pauses.remove(id);
        row.attempts = row.attempts.max(1);
        self.store.set_message(id, &status, row.attempts).await?;
        tracing::info!(message = %id.0, kind = %row.kind, status = status.as_str(), "message");
        row.status = status;
        Ok(())
    }

    fn on_miner(&mut self, result: Result<Step, String>, now: UnixMillis) {
        self.miner_errand = false;
        match result {
            Ok(Step::Known { miner, worker }) => {
                tracing::info!(%miner, %worker, "the miner is known");
                self.miner = Some(Miner { id: miner, worker });
                self.miner_seen = MinerSeen::Known;
                self.miner_pause = None;
            }
            Ok(Step::Gone(id)) => {
                let head = self.sight.borrow().view.as_ref().map(|view| view.head.height);
                self.gone.entry(id).or_insert(head.unwrap_or_default());
                self.miner_seen = MinerSeen::Preparing { step: format!("its CreateMiner message: {GONE}") };
                self.miner_pause = None;
            }
            Ok(Step::Waiting(step)) => {
                self.gone.clear();
                self.miner_step.clone_from(&step);
                self.miner_seen = MinerSeen::Preparing { step };
                self.miner_pause = None;
            }
            Err(why) => {
                tracing::warn!(reason = %why, "the miner cannot be prepared");
                let pause = Pause::again(self.miner_pause.as_ref(), why, now);
                self.miner_seen = MinerSeen::Failed { why: pause.why.clone(), again: pause.until };
                self.miner_pause = Some(pause);
            }
        }
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
        for (id, fate) in &view.fates {
            let Some(row) = self.messages.get_mut(id) else { continue };
            let gone = self.gone.remove(id);
            let status = match (&row.status, fate) {
                (MessageStatus::Pushed(_), Fate::Executed(executed)) => MessageStatus::Landed(executed.clone()),
                (MessageStatus::Landed(known), Fate::Executed(executed)) if known != executed => {
                    MessageStatus::Landed(executed.clone())
                }
                (MessageStatus::Landed(_), Fate::Waiting | Fate::Gone) => {
                    match self.store.revert_message(id).await {
                        Ok(status) => row.status = status,
                        // its successor is on its way already
                        Err(StoreError::LiveMessage { .. }) => continue,
                        Err(other) => return Err(other),
                    }
                    tracing::warn!(message = %id.0, "a reorganisation took a message off the chain");
                    continue;
                }
                (MessageStatus::Pushed(_), Fate::Gone) => {
                    let since = gone.unwrap_or(view.head.height);
                    if view.head.height < since.plus(self.desired.policy.message_confidence) {
                        self.gone.insert(id.clone(), since);
                        continue;
                    }
                    tracing::warn!(message = %id.0, reason = GONE, "a message is given up");
                    MessageStatus::Refused { why: GONE.to_owned() }
                }
                _ => continue,
            };
            self.store.set_message(id, &status, row.attempts).await?;
            row.status = status;
        }
        Ok(())
    }

    /// What the chain says of a sector, with what the outbox says of its message.
    pub fn facts(&self, record: &Record) -> Option<Facts> {
        let view = self.sight.borrow().view.clone()?;
        let mut facts = view.facts.get(&record.number)?.clone();
        let row = self.message_of(record).and_then(|id| self.messages.get(id));
        // that it landed may be news of another head, and a reorganisation has taken it back since
        let awaited = matches!(record.state, State::WaitSeed | State::CommitWait);
        let landed = row.filter(|row| awaited && matches!(row.status, MessageStatus::Landed(_)));
        if landed.is_some_and(|row| !view.fates.contains_key(&row.id)) {
            return None;
        }
        facts.message = row.map(|row| self.message_view(row, record.number));
        Some(facts)
    }

    /// The message a sector is waiting for, or waited for last.
    pub fn message_of<'a>(&self, record: &'a Record) -> Option<&'a MessageId> {
        record.current_message()
    }

    fn message_view(&self, row: &OutboxMessage, number: SectorNumber) -> MessageView {
        match &row.status {
            MessageStatus::Intended => {
                MessageView::Intended { trouble: self.message_pauses.get(&row.id).map(|p| p.why.clone()) }
            }
            MessageStatus::Pushed(_) => MessageView::Pushed,
            MessageStatus::Refused { why } => MessageView::Refused { why: why.clone() },
            MessageStatus::Landed(executed) => {
                // exit code 0 of a batch says nothing of one sector: its own code is in the return value
                let codes = crate::chain::messages::decode_batch_return(&executed.value, row.sectors.len()).ok();
                let own = row.sectors.iter().position(|n| *n == number).and_then(|at| codes?.get(at).copied());
                let exit_code = if executed.exit_code == 0 { own.unwrap_or(0) } else { executed.exit_code };
                let own = (executed.exit_code == 0 && own.is_some()) || row.sectors.len() == 1;
                MessageView::Landed { exit_code, own, height: executed.height }
            }
        }
    }

    /// The lowest number nobody used; `None` until the chain was asked.
    pub fn next_number(&self) -> Option<SectorNumber> {
        let on_chain = self.sight.borrow().view.as_ref()?.next_number?;
        let ours = [self.highest_in_store, self.highest_on_disk, self.records.keys().next_back().copied()];
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
        let proving = self.records.values().filter(|r| r.state == State::Proving).count();
        u64::try_from(proving).unwrap_or(u64::MAX)
    }
}

fn tell(before: State, after: &Record, event: &Event) {
    let number = after.number;
    let kind = event.kind().as_str();
    match &after.failure {
        Some(failure) if after.state.is_failure() => tracing::warn!(
            sector = %number, event = kind, error = %failure.error, "{} -> {}", before, after.state
        ),
        _ if before != after.state => tracing::info!(sector = %number, event = kind, "{} -> {}", before, after.state),
        _ => tracing::info!(sector = %number, event = kind, "{}", after.state),
    }
}
