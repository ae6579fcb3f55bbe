//! What workers and errands tell, and what it means for sectors and batches.

use super::{
    errands::{Done, Step},
    genesis::Imported,
    miner::new_id,
    world::{Pause, Task, World},
};
use crate::{
    book::{Handed, Took},
    clock,
    outbox::Aggregate,
    plan::{Assignee, MinerSeen, ParamsSeen},
    sector::{Class, Event, Failure, MessageId, Record, Stage, policy::retry_at},
    store::StoreError,
    supervisor::{Notice, WorkerId},
    units::{Bytes, SectorNumber, UnixMillis},
    worker::protocol::{Aggregated, Outcome},
};
use std::time::Instant;

/// What workers and errands told and is not recorded yet.
#[derive(Debug, Default)]
pub struct News {
    /// What happened to sectors; of each at most one thing, as it has at most one worker.
    events: Vec<(SectorNumber, Event)>,
    /// What came of attempts that are over.
    stale: Vec<(SectorNumber, Event)>,
    /// Finished stages.
    durations: Vec<Took>,
    /// What came of aggregating proofs.
    aggregates: Vec<(MessageId, Aggregate)>,
    /// Jobs whose workers are to know that their end is recorded.
    ended: Vec<(WorkerId, u64)>,
}

impl World {
    /// A worker has news, which reached the daemon at `at`. What it means for a sector is added to `news`, to be
    /// recorded by [`World::record_news`] before the next plan.
    pub fn on_notice(&mut self, notice: Notice, at: Instant, now: UnixMillis, news: &mut News) {
        if let Notice::Ready { worker } | Notice::Done { worker, .. } | Notice::Failed { worker, .. } = &notice {
            let WorkerId { slot, instance } = worker.clone();
            self.waits.free(Assignee { slot, instance }, at);
        }
        if let Notice::Done { worker, task, .. } | Notice::Failed { worker, task, .. } = &notice {
            news.ended.push((worker.clone(), *task));
        }
        if let Notice::Done { task, .. }
        | Notice::Failed { task, .. }
        | Notice::Lost { task, .. }
        | Notice::Void { task, .. }
        | Notice::Stopped { task, .. } = &notice
        {
            self.unplaced.remove(task);
        }
        let out_of_memory = matches!(notice, Notice::Lost { out_of_memory: true, .. });
        match notice {
            Notice::Ready { .. } | Notice::Progress { .. } => {}
            Notice::Done { task, outcome, .. } if self.aggregating.contains_key(&task) => {
                let made = if let Outcome::Aggregate { aggregated } = outcome {
                    Ok(aggregated)
                } else {
                    Err("a worker answered with the outcome of another job".to_owned())
                };
                self.on_aggregate(task, made, now, news);
            }
            Notice::Failed { task, error, .. } | Notice::Lost { task, error, .. }
                if self.aggregating.contains_key(&task) =>
            {
                tracing::warn!(error = %error, "proofs are not made one");
                self.on_aggregate(task, Err(error), now, news);
            }
            Notice::Done { task, outcome, peak, took_ms, .. } => {
                self.on_done(task, outcome, (peak, took_ms), now, news);
            }
            Notice::Failed { task, class, error, worker } | Notice::Lost { task, class, error, worker, .. } => {
                let of = self.tasks.get(&task);
                let (sector, stage) = (of.map(|of| of.number.as_u64()), of.map(|of| of.stage.as_str()));
                let miner = self.miner.as_ref().map(|miner| miner.id.to_string());
                tracing::warn!(sector, stage, slot = %worker, miner, class = class.as_str(), error = %error, "a task failed: {error}");
                if out_of_memory {
                    self.ran_out(task);
                }
                self.on_failed(task, class, error, now, news);
            }
            Notice::Void { worker, task } => {
                tracing::info!(slot = %worker, task, "nothing is known of what came of a job: it is given again");
                self.on_stopped(task);
            }
            Notice::Stopped { worker, task } => {
                let of = self.tasks.get(&task);
                let (sector, stage) = (of.map(|of| of.number.as_u64()), of.map(|of| of.stage.as_str()));
                tracing::info!(sector, stage, slot = %worker, "a task was ended as an operator asked; it goes on later");
                self.on_stopped(task);
            }
            Notice::Down { worker, why } => {
                tracing::warn!(slot = %worker, reason = %why, "a worker ended: {why}");
            }
        }
    }

    /// Records what was told, in one transaction: a sync for each of them would let the free ones wait.
    ///
    /// # Errors
    /// The database failed; memory is unchanged.
    pub async fn record_news(&mut self, news: News) -> Result<(), StoreError> {
        let News { events, stale, durations, aggregates, ended } = news;
        for (batch, aggregate) in aggregates {
            let change = self.book.aggregated(&batch, aggregate, clock::now());
            self.commit(change).await?;
        }
        let mut draft = self.book.draft(clock::now());
        events.into_iter().for_each(|(number, event)| draft.event(number, event));
        stale.into_iter().for_each(|(number, event)| draft.note(number, event));
        durations.into_iter().for_each(|took| draft.took(took));
        let change = draft.finish();
        self.commit(change).await?;
        // only now: until then a worker that outlives this daemon keeps what it found for the next one
        for (worker, task) in ended {
            self.supervisor.acknowledge(&worker, task);
        }
        Ok(())
    }

    /// What came of an aggregation. A proof that turned out wrong is made again; without an aggregate each sector is
    /// sent with its own.
    fn on_aggregate(&mut self, task: u64, made: Result<Aggregated, String>, now: UnixMillis, news: &mut News) {
        let Some((batch, of)) = self.aggregating.remove(&task) else { return };
        self.handling.remove(&batch);
        let proof = match made {
            Ok(Aggregated::Proof(proof)) => Ok(proof),
            Ok(Aggregated::Wrong(numbers)) => {
                for number in &numbers {
                    let Some(record) = self.book.records.get(number) else { continue };
                    let error = "its kept proof does not verify any more".to_owned();
                    let failure = Failure { class: Class::Data, doing: "aggregating proofs".to_owned(), error };
                    let retry_at = retry_at(record, Class::Data, now);
                    news.events.push((*number, Event::CommitFailed { failure, retry_at }));
                }
                Err("some of the proofs do not verify".to_owned())
            }
            Err(why) => Err(why),
        };
        news.aggregates.push((batch, Aggregate { of, proof }));
    }

    fn on_done(
        &mut self,
        id: u64,
        outcome: Outcome,
        (peak, took_ms): (Option<Bytes>, Option<u64>),
        now: UnixMillis,
        news: &mut News,
    ) {
        if self.params_task == Some(id) {
            self.params_task = None;
            self.params_pause = None;
            self.params = ParamsSeen::Ready;
            return;
        }
        let Some(task) = self.tasks.remove(&id) else { return };
        self.waits.done(took_ms.unwrap_or_else(|| now.ms_since(task.started)));
        self.machine.took(&task.worker.slot, task.stage, peak);
        // by our clock it would be the time until a daemon heard of it
        if let Some(ms) = took_ms {
            news.durations.push(Took { stage: task.stage, size: self.desired.sector_size, ms, peak });
            let mean = self.durations.entry(task.stage).or_insert(ms);
            *mean = (*mean).saturating_mul(7).saturating_add(ms) / 8;
        }
        let event = match (task.stage, outcome) {
            (Stage::PreCommit1, Outcome::PreCommit1) => Event::PreCommit1Done,
            (Stage::PreCommit2, Outcome::PreCommit2 { sealed }) => Event::PreCommit2Done { sealed },
            (Stage::Commit, Outcome::Commit { porep }) => Event::ProofReady { porep },
            (Stage::Finalize, Outcome::Finalize) => Event::Finalized { store: task.repo.clone() },
            (Stage::Remove, Outcome::Remove) => Event::RemoveDone,
            (stage, _) => {
                let Some(record) = self.book.records.get(&task.number) else { return };
                failed(record, stage, Class::Worker, "the outcome of another job".to_owned(), now)
            }
        };
        self.ended(&task, event, news);
    }

    /// A task was ended because an operator asked for it, or never began: it is as if it had not been given.
    fn on_stopped(&mut self, id: u64) {
        self.tasks.remove(&id);
        self.params_task = self.params_task.filter(|task| *task != id);
        if let Some((batch, _)) = self.aggregating.remove(&id) {
            self.handling.remove(&batch);
        }
    }

    fn on_failed(&mut self, id: u64, class: Class, error: String, now: UnixMillis, news: &mut News) {
        if self.params_task == Some(id) {
            self.params_task = None;
            let pause = Pause::again(self.params_pause.as_ref(), error, now);
            self.params = ParamsSeen::Failed { why: pause.why.clone(), again: pause.until };
            self.params_pause = Some(pause);
            return;
        }
        let Some(task) = self.tasks.remove(&id) else { return };
        let Some(record) = self.book.records.get(&task.number) else { return };
        let event = failed(record, task.stage, class, error, now);
        if class == Class::Data {
            self.suspects.entry(task.worker.clone()).or_default().insert(task.number);
        }
        self.ended(&task, event, news);
    }

    /// A stage ended. When its sector went another way meanwhile, or got another seed, that says nothing of it now.
    fn ended(&self, task: &Task, event: Event, news: &mut News) {
        let record = self.book.records.get(&task.number);
        let told = if record.is_some_and(|record| record.attempt() == task.attempt) {
            &mut news.events
        } else {
            &mut news.stale
        };
        told.push((task.number, event));
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
                    Err(why) => {
                        let pause = Pause::again(self.pauses.get(&number), why, now);
                        self.pauses.insert(number, pause);
                    }
                }
                Ok(())
            }
            Done::Composed { batch, numbers, result } => {
                for number in &numbers {
                    self.errand_of.remove(number);
                }
                self.handling.remove(&batch);
                match result {
                    Ok(composed) => {
                        self.batch_pauses.remove(&batch);
                        let change = self.book.seal(&batch, composed, new_id(), now);
                        self.commit(change).await
                    }
                    Err(why) => {
                        for number in numbers {
                            let pause = Pause::again(self.pauses.get(&number), why.clone(), now);
                            self.pauses.insert(number, pause);
                        }
                        self.pause_batch(&batch, why, now);
                        Ok(())
                    }
                }
            }
            Done::Handed { batch, result } => {
                self.handling.remove(&batch);
                match &result {
                    Handed::Taken(_) | Handed::Refused(_) => drop(self.batch_pauses.remove(&batch)),
                    Handed::Unclear(why) => self.pause_batch(&batch, why.clone(), now),
                }
                let change = self.book.handed(&batch, result, now);
                self.commit(change).await
            }
            Done::Gpus(seen) => {
                self.machine.on_gpus(seen);
                Ok(())
            }
            Done::Miner(Ok(Step::Imported(sectors))) => {
                self.miner_errand = false;
                self.miner_seen = MinerSeen::Unknown;
                self.import(&sectors, now).await
            }
            Done::Miner(result) => {
                self.on_miner(result, now);
                Ok(())
            }
        }
    }

    fn pause_batch(&mut self, id: &MessageId, why: String, now: UnixMillis) {
        tracing::warn!(message = %id.0, reason = %why, "the node did not take a message");
        let pause = Pause::again(self.batch_pauses.get(id), why, now);
        self.batch_pauses.insert(id.clone(), pause);
    }

    /// Sectors that were sealed elsewhere are taken up, all of them or none; the next step towards the miner finds them.
    async fn import(&mut self, sectors: &[Imported], now: UnixMillis) -> Result<(), StoreError> {
        let mut draft = self.book.draft(now);
        for sector in sectors {
            draft.create(Record::new(sector.number, sector.proof, sector.repo.clone(), now));
            draft.event(sector.number, sector.event());
        }
        let change = draft.finish();
        self.commit(change).await
    }

    fn on_miner(&mut self, result: Result<Step, String>, now: UnixMillis) {
        self.miner_errand = false;
        match result {
            Ok(Step::Known(miner)) => {
                tracing::info!(miner = %miner.id, worker = miner.worker, "the miner is known");
                self.miner = Some(miner);
                self.miner_seen = MinerSeen::Known;
                self.miner_pause = None;
            }
            Ok(Step::Gone(id)) => {
                let head = self.sight.borrow().view.as_ref().map(|view| view.head.height);
                self.gone.entry(id).or_insert(head.unwrap_or_default());
                self.miner_seen =
                    MinerSeen::Preparing { step: "its CreateMiner message, which the node knows no more".to_owned() };
                self.miner_pause = None;
            }
            // recorded before this
            Ok(Step::Imported(_)) => self.miner_seen = MinerSeen::Unknown,
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
}

/// What it means for a sector that a stage failed.
pub fn failed(record: &Record, stage: Stage, class: Class, error: String, now: UnixMillis) -> Event {
    let failure = Failure { class, doing: stage.as_str().to_owned(), error };
    let retry_at = retry_at(record, class, now);
    match (class, stage) {
        (Class::Data, Stage::PreCommit1 | Stage::PreCommit2) => Event::SealPreCommitFailed { failure, retry_at },
        (Class::Data, Stage::Commit) => Event::ComputeProofFailed { failure, retry_at },
        (Class::Data, Stage::Finalize | Stage::Remove)
        | (Class::Resource | Class::Environment | Class::Worker | Class::Chain | Class::Operator, _) => {
            Event::AttemptFailed { failure, retry_at }
        }
    }
}
