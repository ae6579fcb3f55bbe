//! Carries a plan out: one small function per kind of action, free of decisions.

use super::{
    adopt::{AggregateNote, Note},
    compose::Draught,
    connect,
    errands::{Done, Miner},
    genesis::Shelf,
    miner::new_id,
    workers,
    world::{Pause, RepoDesk, Task, World},
};
use crate::{
    book::Handed,
    clock,
    error::Chain,
    outbox::Gas,
    plan::{Action, Announcement, Assignee, MinerSeen, ParamsSeen, RepoSeen},
    repo::{self, Declared},
    sector::{Class, Event, MessageId, Record, Stage},
    store::StoreError,
    supervisor::{Assignment, Companion, CompanionEvent, WorkerId},
    units::{AttoFil, Bytes, RepoName, SectorNumber, SectorSize, UnixMillis},
    worker::protocol::{Job, Proven, SectorFiles, SectorRef},
};
use futures_util::FutureExt as _;
use std::{panic::AssertUnwindSafe, time::Duration};
use tokio::sync::mpsc;

/// A repo that cannot be used is looked at again this often.
const REPO_PAUSE_MS: i64 = 5_000;

/// What an errand says that panicked; the panic itself is in the log.
const PANICKED: &str = "an errand to the node panicked, which is a fault of seald: see its log";

/// Free space is asked for this often.
const MEASURE_MS: u64 = 2_000;

impl World {
    /// Carries out all actions, in order.
    ///
    /// # Errors
    /// The database failed; what was not done is planned again.
    pub async fn apply(
        &mut self,
        actions: Vec<Action>,
        devnet_events: &mpsc::Sender<CompanionEvent>,
        devnet_epoch_ms: Option<u64>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.waits.planned(&actions);
        let mut draft = Vec::new();
        let mut created = Vec::new();
        for action in actions {
            tracing::debug!(%action, "apply");
            match action {
                Action::Record { number, event } => draft.push((number, event)),
                Action::CreateSector { number, repo } => {
                    created.push(Record::new(number, self.desired.sector_size.seal_proof(), repo, now));
                }
                Action::OpenRepo(name) => self.open_repo(&name, now),
                Action::StartDevnet => self.start_devnet(devnet_events, devnet_epoch_ms),
                Action::StartWorker(who) => drop(self.started.insert(who)),
                Action::StopWorker(who) => drop(self.started.remove(&who)),
                Action::PrepareParams(size) => self.prepare_params(size, now),
                Action::PrepareMiner => self.prepare_miner(),
                Action::DrawTicket(number) => self.draw_ticket(number),
                Action::Run { number, stage, worker, repo } => self.run_stage(number, stage, worker, repo, now),
                Action::Join { kind, batch, sectors } => {
                    let change = self.book.join(kind, batch.as_ref(), &sectors, new_id(), now);
                    match self.commit(change).await {
                        // one of them is in a batch whose row cannot be read: they wait, and nobody else does
                        Err(error @ StoreError::LiveMessage { .. }) => self.pause_all(&sectors, &error, now),
                        done => done?,
                    }
                }
                Action::Aggregate { batch, sectors, worker } => self.aggregate(batch, &sectors, &worker, now),
                Action::Seal { batch, sectors, from, max_fee } => self.compose(batch, sectors, from, max_fee),
                Action::Announce { what, from } => self.announce(&what, &from, now).await?,
                Action::Push { batch, max_fee } => self.push(batch, max_fee, now).await?,
                Action::Resend(id) => self.hand_again(id, None),
                Action::Reprice { batch, gas } => self.hand_again(batch, Some(gas)),
            }
        }
        self.create_sectors(created).await?;
        self.record_all(draft).await
    }

    fn pause_all(&mut self, numbers: &[SectorNumber], error: &StoreError, now: UnixMillis) {
        for number in numbers {
            let pause = Pause::again(self.pauses.get(number), Chain(error).to_string(), now);
            self.pauses.insert(*number, pause);
        }
    }

    async fn create_sectors(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut draft = self.book.draft(clock::now());
        records.into_iter().for_each(|record| draft.create(record));
        let change = draft.finish();
        match self.commit(change).await {
            // a crash after an earlier create: that record is read at the next start, and its number is not used
            Err(StoreError::Taken { number }) => {
                self.highest_in_store = self.highest_in_store.max(Some(number));
                Ok(())
            }
            other => other,
        }
    }

    fn open_repo(&mut self, name: &RepoName, now: UnixMillis) {
        let Some(wish) = self.manifest.repos.get(name) else { return };
        let declared = Declared {
            name: name.clone(),
            path: wish.path.clone(),
            seal: wish.seal,
            store: wish.store,
            max_use: wish.max_use,
            reserve: wish.reserve,
            weight: wish.weight,
            require_mount: wish.require_mount,
        };
        let opened = repo::open(&declared).and_then(|repo| repo.sectors().map(|listing| (repo, listing)));
        let desk = match opened {
            Ok((repo, listing)) => {
                tracing::info!(repo = %name, path = %repo.path().display(), "repo open");
                for stranger in listing.strangers {
                    tracing::warn!(repo = %name, path = %stranger.display(), "not a sector's file: left alone");
                }
                let highest = listing.sectors.keys().map(|(_, number)| *number).max();
                self.highest_on_disk = self.highest_on_disk.max(highest);
                RepoDesk {
                    repo: Some(repo),
                    seen: RepoSeen::Closed,
                    capacity: Bytes::default(),
                    measured: UnixMillis::default(),
                }
            }
            Err(error) => {
                let why = Chain(&error).to_string();
                let known = self.repos.get(name).map(|desk| &desk.seen);
                if !matches!(known, Some(RepoSeen::Unusable { why: known, .. }) if *known == why) {
                    tracing::error!(repo = %name, reason = %why, "repo unusable");
                }
                let again = now.plus_ms(REPO_PAUSE_MS);
                let seen = RepoSeen::Unusable { why, again };
                RepoDesk { repo: None, seen, capacity: Bytes::default(), measured: now }
            }
        };
        self.repos.insert(name.clone(), desk);
        self.measure(now);
    }

    /// Asks every open repo for its free space, now and then.
    pub fn measure(&mut self, now: UnixMillis) {
        for desk in self.repos.values_mut() {
            let Some(repo) = desk.repo.as_ref().filter(|_| now.ms_since(desk.measured) >= MEASURE_MS) else { continue };
            desk.measured = now;
            match repo.space().and_then(|space| repo.room().map(|room| (space, room))) {
                Ok((space, room)) => {
                    desk.capacity = space.capacity;
                    desk.seen = RepoSeen::Open(room);
                }
                Err(error) => {
                    let why = Chain(&error).to_string();
                    desk.seen = RepoSeen::Unusable { why, again: now.plus_ms(REPO_PAUSE_MS) };
                    desk.repo = None;
                }
            }
        }
    }

    fn start_devnet(&mut self, events: &mpsc::Sender<CompanionEvent>, epoch_ms: Option<u64>) {
        let dir = self.manifest.state.dir.join(connect::DEVNET);
        // the address of a chain that ended; a new one says its own
        if let Err(error) = std::fs::remove_file(dir.join(connect::DEVNET_URL))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(error = %error, "the old devnet address cannot be removed");
        }
        let args = workers::devnet_args(&dir, self.prover, epoch_ms);
        let env = workers::base_env(&self.manifest);
        self.devnet = Some(Companion::new("devnet", workers::program(), args, env, events.clone()));
        self.devnet_started = true;
    }

    fn prepare_params(&mut self, size: SectorSize, now: UnixMillis) {
        self.params = ParamsSeen::Preparing;
        let worker = workers::params_worker();
        let idle = self.supervisor.views().iter().any(|view| view.id == worker && view.state == "idle");
        if !idle || self.params_task.is_some() {
            return;
        }
        let task = self.next_task();
        let job = Job::Params { size, mirror: self.manifest.params.mirror.clone() };
        let (deadline, usual, note) = (workers::PARAMS_DEADLINE, workers::PARAMS_USUAL, String::new());
        if self.supervisor.run(&worker, Assignment { task, job, deadline, usual, note }, now).is_ok() {
            self.params_task = Some(task);
        }
    }

    /// The parameters' worker became idle after it was asked for: give it its job.
    pub fn feed_params(&mut self, now: UnixMillis) {
        if self.params == ParamsSeen::Preparing && self.params_task.is_none() {
            self.prepare_params(self.desired.sector_size, now);
        }
    }

    fn prepare_miner(&mut self) {
        let Some(desk) = self.desk().filter(|_| !self.miner_errand) else { return };
        self.miner_errand = true;
        self.miner_seen = MinerSeen::Preparing { step: self.miner_step.clone() };
        let open = self.repos.values().filter_map(|desk| desk.repo.as_ref()).map(|repo| repo.declared());
        let shelves = open.map(|repo| Shelf {
            name: repo.name.clone(),
            path: repo.path.clone(),
            store: repo.store,
            weight: repo.weight,
        });
        let work = desk.miner(self.store.clone(), self.gone.clone(), shelves.collect());
        self.errand(Done::Miner(Err(PANICKED.to_owned())), work);
    }

    fn draw_ticket(&mut self, number: SectorNumber) {
        let (Some(desk), Some(miner)) = (self.desk(), &self.miner) else { return };
        self.errand_of.insert(number, "the node, which draws its ticket");
        let work = desk.ticket(miner.id, number, self.desired.policy.ticket_lookback);
        self.errand(Done::Ticket { number, result: Err(PANICKED.to_owned()) }, work);
    }

    /// Records the message; it is handed over by a later plan.
    async fn announce(&mut self, what: &Announcement, from: &str, now: UnixMillis) -> Result<(), StoreError> {
        match self.announcement(what.kind(), from) {
            Some(Ok(message)) => {
                let change = self.book.announce(new_id(), what.kind(), message, now);
                self.commit(change).await
            }
            Some(Err(error)) => {
                tracing::error!(error = %Chain(&error), "what the manifest wants the chain to say of the miner is no message");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn compose(&mut self, batch: MessageId, numbers: Vec<SectorNumber>, from: String, max_fee: AttoFil) {
        let (Some(desk), Some(miner)) = (self.desk(), self.miner.clone()) else { return };
        let Some(kind) = self.book.batches.get(&batch).map(|known| known.kind) else { return };
        let records: Vec<_> = numbers.iter().filter_map(|number| self.book.records.get(number).cloned()).collect();
        for number in &numbers {
            self.errand_of.insert(*number, "the node, which is asked for what its message needs");
        }
        self.handling.insert(batch.clone());
        let lost = Done::Composed { batch: batch.clone(), numbers: numbers.clone(), result: Err(PANICKED.to_owned()) };
        let aggregate = self.book.aggregate_of(&batch, &numbers).and_then(|made| made.as_deref().ok());
        let aggregate = aggregate.and_then(crate::units::from_hex);
        self.errand(lost, desk.compose(miner, Draught { batch, kind, records, from, aggregate, max_fee }));
    }

    fn aggregate(&mut self, batch: MessageId, numbers: &[SectorNumber], worker: &Assignee, now: UnixMillis) {
        let (Some(miner), Some(of)) = (self.miner.as_ref(), self.book.proofs_of(numbers)) else { return };
        let member = |number: &SectorNumber| {
            let record = self.book.records.get(number)?;
            Some(Proven {
                number: *number,
                comm_r: record.sealed.as_ref()?.comm_r,
                ticket: record.ticket.as_ref()?.value,
                seed: record.seed.as_ref()?.value,
                porep: record.porep.clone()?,
            })
        };
        let Some(sectors) = of.iter().map(|(number, _)| member(number)).collect() else { return };
        let job = Job::Aggregate { miner: miner.id, proof: self.desired.sector_size.seal_proof(), sectors };
        let task = self.next_task();
        let who = WorkerId { slot: worker.slot.clone(), instance: worker.instance };
        let (deadline, usual) = (self.deadline(Stage::Commit), self.usual(Stage::Commit));
        let note = AggregateNote { batch: batch.clone(), of: of.clone() }.to_text();
        let assignment = Assignment { task, job, deadline, usual, note };
        match self.supervisor.run(&who, assignment, now) {
            Ok(()) => {
                tracing::info!(message = %batch.0, sectors = of.len(), slot = %worker, "aggregating proofs");
                self.handling.insert(batch.clone());
                self.aggregating.insert(task, (batch, of));
            }
            Err(busy) => tracing::debug!(reason = %busy, "an aggregation was not taken"),
        }
    }

    async fn push(&mut self, id: MessageId, max_fee: AttoFil, now: UnixMillis) -> Result<(), StoreError> {
        let (Some(desk), Some(batch)) = (self.desk(), self.book.batches.get(&id).cloned()) else { return Ok(()) };
        let change = self.book.handing(&id, now);
        self.commit(change).await?;
        self.handling.insert(id.clone());
        let lost = Done::Handed { batch: id, result: Handed::Unclear(PANICKED.to_owned()) };
        self.errand(lost, desk.push(batch, max_fee));
        Ok(())
    }

    /// Hands a message that was sent over again: the same, or with `gas` a dearer one with its nonce.
    fn hand_again(&mut self, id: MessageId, gas: Option<Gas>) {
        let (Some(desk), Some(batch)) = (self.desk(), self.book.batches.get(&id).cloned()) else { return };
        let lost = Done::Handed { batch: id.clone(), result: Handed::Unclear(PANICKED.to_owned()) };
        match (gas, batch.sent.clone()) {
            (Some(gas), _) => self.errand(lost, desk.reprice(batch, gas)),
            (None, Some(sent)) => self.errand(lost, desk.resend(id.clone(), sent)),
            (None, None) => return,
        }
        self.handling.insert(id);
    }

    /// Runs an errand; `lost` is what comes back of one that panics, so that what it was about is not busy for ever.
    pub fn errand(&mut self, lost: Done, work: impl Future<Output = Done> + Send + 'static) {
        self.errands.spawn(async move {
            let done = AssertUnwindSafe(work).catch_unwind().await.unwrap_or(lost);
            (clock::monotonic(), done)
        });
    }

    fn run_stage(&mut self, number: SectorNumber, stage: Stage, worker: Assignee, repo: RepoName, now: UnixMillis) {
        let Some(attempt) = self.book.records.get(&number).map(Record::attempt) else { return };
        let Some(job) = self.job(number, stage, &repo) else { return };
        let task = self.next_task();
        let who = WorkerId { slot: worker.slot.clone(), instance: worker.instance };
        let (deadline, usual) = (self.deadline(stage), self.usual(stage));
        let note = Note { repo: repo.clone(), attempt: attempt.clone() }.to_text();
        match self.supervisor.run(&who, Assignment { task, job, deadline, usual, note }, now) {
            Ok(()) => {
                self.waits.given(number, &worker, clock::monotonic());
                let miner = self.miner.as_ref().map(|miner| miner.id.to_string());
                tracing::info!(sector = %number, stage = stage.as_str(), slot = %worker, miner, "stage started: sector {number} {} on {worker}", stage.as_str());
                self.tasks.insert(task, Task { number, stage, worker, repo, attempt, started: now });
            }
            // planned again as soon as a worker says it is free
            Err(busy) => tracing::debug!(reason = %busy, "a stage was not taken"),
        }
    }

    fn job(&self, number: SectorNumber, stage: Stage, to: &RepoName) -> Option<Job> {
        let record = self.book.records.get(&number)?;
        let Miner { id: miner, .. } = self.miner.as_ref()?;
        let at = |name: &RepoName| -> Option<SectorFiles> {
            Some(self.repos.get(name)?.repo.as_ref()?.files(*miner, number))
        };
        let sector = || {
            let ticket = record.ticket.as_ref()?.value;
            Some(SectorRef { miner: *miner, number, proof: record.proof, ticket })
        };
        let files = at(&record.repo)?;
        Some(match stage {
            Stage::PreCommit1 => {
                let fresh = record.failure.as_ref().is_some_and(|failure| failure.class == Class::Data);
                Job::PreCommit1 { sector: sector()?, files, fresh }
            }
            Stage::PreCommit2 => Job::PreCommit2 { sector: sector()?, files },
            Stage::Commit => {
                let seed = record.seed.as_ref()?.value;
                Job::Commit { sector: sector()?, files, sealed: record.sealed.clone()?, seed }
            }
            Stage::Finalize => Job::Finalize { sector: sector()?, files, to: at(to)? },
            Stage::Remove => {
                // wherever a move may have been going
                let open = self.repos.values().filter_map(|desk| desk.repo.as_ref());
                Job::Remove { miner: *miner, number, files: open.map(|repo| repo.files(*miner, number)).collect() }
            }
        })
    }

    /// Ten times the usual, and never less than what an unknown machine may need.
    fn deadline(&self, stage: Stage) -> Duration {
        let floor = match (self.desired.sector_size, stage) {
            (SectorSize::KiB2 | SectorSize::MiB8, _) => 60 * 60,
            (SectorSize::MiB512, _) => 6 * 60 * 60,
            (SectorSize::GiB32 | SectorSize::GiB64, Stage::PreCommit1) => 72 * 60 * 60,
            (SectorSize::GiB32 | SectorSize::GiB64, _) => 24 * 60 * 60,
        };
        Duration::from_secs(floor).max(self.usual(stage).saturating_mul(10))
    }

    /// How long the stage usually takes here; nothing when it was never done.
    fn usual(&self, stage: Stage) -> Duration {
        Duration::from_millis(self.durations.get(&stage).copied().unwrap_or(0))
    }

    fn next_task(&mut self) -> u64 {
        self.last_task = self.last_task.saturating_add(1);
        self.last_task
    }

    /// Whether an action of this kind can lead at once to another: then the loop plans again without waiting.
    pub fn leads_on(actions: &[Action]) -> bool {
        actions.iter().any(|action| match action {
            Action::Record { event, .. } => !matches!(event, Event::AttemptFailed { .. }),
            Action::CreateSector { .. }
            | Action::OpenRepo(_)
            | Action::StartWorker(_)
            | Action::StopWorker(_)
            | Action::Announce { .. }
            | Action::Join { .. } => true,
            Action::StartDevnet
            | Action::PrepareMiner
            | Action::PrepareParams(_)
            | Action::DrawTicket(_)
            | Action::Run { .. }
            | Action::Aggregate { .. }
            | Action::Seal { .. }
            | Action::Push { .. }
            | Action::Resend(_)
            | Action::Reprice { .. } => false,
        })
    }
}
