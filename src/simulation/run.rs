//! The shell's turn without its runtime: look, take news, plan, apply. It may be cut wherever the shell waits for a
//! write or for a node; then memory is gone and the disk is read again.

use super::{
    dice::Dice,
    disk::Disk,
    laws::Laws,
    node::{MINER_SIZE, SimNode},
    work::{Job, Luck, Outcome, Task, Workshop},
};
use crate::{
    book::{Book, Change, Handed},
    chain::Node,
    daemon::{
        compose::Draught,
        errands::{Desk, Done, Miner},
        news, observe,
        observer::{self, ChainView, Questions},
        world::{Pause, World},
    },
    manifest::Manifest,
    outbox::{Aggregate, Batch, Gas, Sent},
    plan::{self, Action, Assignee, Desired, Funds, MinerSeen, Observed, ParamsSeen, Plan, RepoSeen, SectorSeen},
    proofs::simulated,
    sector::{Class, Event, MessageId, Record, Stage, operator, operator::Order, policy::parked},
    units::{AttoFil, Bytes, SectorNumber, UnixMillis, from_hex, to_hex},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Turns of planning without waiting in between, as in the shell.
const PLANS_AT_ONCE: u32 = 32;

/// Why a step ended early.
#[derive(Debug)]
pub enum Cut {
    /// The daemon was killed.
    Crash,
    /// A write failed, or its answer was lost.
    Write,
    /// A law is broken.
    Broken(String),
}

type Step = Result<(), Cut>;

/// What the daemon knows and a crash takes.
#[derive(Default)]
pub struct Memory {
    pub book: Book,
    pub view: Option<Arc<ChainView>>,
    pub trouble: Option<String>,
    pub tasks: Vec<Task>,
    pub errands: Vec<Errand>,
    aggregating: Vec<Aggregating>,
    errand_of: BTreeSet<SectorNumber>,
    handling: BTreeSet<MessageId>,
    pauses: BTreeMap<SectorNumber, Pause>,
    batch_pauses: BTreeMap<MessageId, Pause>,
    round: usize,
    stale: bool,
    pub plan: Plan,
}

impl Memory {
    /// What failed outside and is tried again, for a human.
    pub fn pausing(&self) -> impl Iterator<Item = String> {
        let sectors = self.pauses.iter().map(|(number, pause)| format!("sector {number} after {}", pause.why));
        sectors.chain(self.batch_pauses.iter().map(|(id, pause)| format!("{} after {}", id.0, pause.why)))
    }
}

/// Proofs that a worker makes one of.
struct Aggregating {
    due: UnixMillis,
    batch: MessageId,
    worker: Assignee,
    made: Aggregate,
}

/// A question to the node that is under way.
#[derive(Clone)]
pub struct Errand {
    pub due: UnixMillis,
    desk: Desk<SimNode>,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Ticket(SectorNumber),
    Compose(Draught),
    Push(Batch, AttoFil),
    Resend(MessageId, Sent),
    Reprice(Batch, Gas),
}

/// How often the daemon itself goes wrong, each of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frailty {
    /// A kill at a point where one can come.
    pub crashes: u64,
    /// A write that fails, half of them done all the same.
    pub writes: u64,
    /// Longest time of an errand.
    pub errand_ms: i64,
}

/// A world.
pub struct Sim {
    pub dice: Dice,
    pub node: SimNode,
    pub disk: Disk,
    pub shop: Workshop,
    pub memory: Memory,
    pub laws: Laws,
    pub desired: Desired,
    pub manifest: Arc<Manifest>,
    pub miner: Miner,
    pub now: UnixMillis,
    pub luck: Luck,
    pub frailty: Frailty,
    pub crashes: u64,
    /// Killed at the first such point where this holds, once: for scenarios.
    pub cut_when: Option<fn(&Self) -> bool>,
}

/// Drives a future whose every wait is over at once.
fn ready<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("the simulated node never waits");
}

impl Sim {
    /// A point where the daemon can be killed.
    fn crash_point(&mut self) -> Step {
        if let Some(cut) = self.cut_when.take() {
            if cut(self) {
                return Err(Cut::Crash);
            }
            self.cut_when = Some(cut);
        }
        if self.dice.chance(self.frailty.crashes) { Err(Cut::Crash) } else { Ok(()) }
    }

    pub fn commit(&mut self, change: Change) -> Step {
        if change.is_empty() {
            return Ok(());
        }
        self.laws.before(&change, &self.node, &self.miner).map_err(Cut::Broken)?;
        self.crash_point()?;
        let fails = self.dice.chance(self.frailty.writes);
        if fails && self.dice.chance(500) {
            return Err(Cut::Write);
        }
        self.disk.commit(&change).map_err(|why| Cut::Broken(format!("the database refuses: {why}")))?;
        if fails {
            return Err(Cut::Write);
        }
        self.crash_point()?;
        let memory = &mut self.memory;
        for (record, _) in &change.sectors {
            memory.pauses.remove(&record.number);
        }
        memory.book.committed(change);
        Ok(())
    }

    /// What is left of a step that was cut.
    fn survive(&mut self, step: Step) -> Result<(), String> {
        match step {
            Ok(()) => Ok(()),
            Err(Cut::Crash) => {
                self.crash();
                Ok(())
            }
            Err(Cut::Write) => {
                self.memory.stale = true;
                Ok(())
            }
            Err(Cut::Broken(why)) => Err(why),
        }
    }

    /// Kill -9, and the next start. Workers end with the daemon; what they wrote is there. Calls that were under way may
    /// have reached the node.
    pub fn crash(&mut self) {
        self.crashes += 1;
        let memory = std::mem::take(&mut self.memory);
        for task in memory.tasks {
            if self.dice.chance(500) {
                let luck = Luck { fails: 0, ..self.luck };
                self.shop.run(self.miner.id, &task, luck, &mut self.dice).ok();
            }
        }
        for errand in memory.errands {
            if self.dice.chance(500) {
                drop(self.ask(errand));
            }
        }
        self.memory.book = self.disk.book();
        // what a start does: an operator has looked at what was parked
        let mut draft = self.memory.book.draft(self.now);
        let waiting = self.memory.book.records.values().filter(|r| parked(r, &self.desired.policy).is_some());
        waiting.for_each(|record| draft.event(record.number, Event::RetryAsked));
        let change = draft.finish();
        self.disk.commit(&change).expect("a new budget can always be written");
        self.memory.book.committed(change);
    }

    // ── one tick ──

    /// The observer's look; what it says of messages is recorded.
    pub fn look(&mut self) -> Result<(), String> {
        let asked = self.questions();
        let (node, network) = (self.node.clone(), self.node.network());
        let round = self.memory.round;
        let read = ready(async {
            let head = node.head().await?;
            observer::read(&node, network, head, &asked, round).await
        });
        match read {
            Err(error) => {
                self.memory.trouble = Some(error.to_string());
                Ok(())
            }
            Ok(view) => {
                let memory = &mut self.memory;
                memory.round += 1;
                memory.trouble = None;
                let view = Arc::new(view);
                memory.view = Some(Arc::clone(&view));
                let confidence = self.desired.policy.message_confidence;
                let change = memory.book.seen(view.head.height, view.finalized, &view.fates, confidence, self.now);
                let done = self.commit(change);
                self.survive(done)
            }
        }
    }

    fn questions(&self) -> Questions {
        let terms = (self.manifest.pledge.lifetime_epochs, MINER_SIZE);
        observe::questions(&self.memory.book, self.miner.id, terms)
    }

    /// What workers and the node answered by now is recorded, then it is planned and applied.
    pub fn turn(&mut self) -> Result<(), String> {
        self.reload();
        let done = self.news();
        self.survive(done)?;
        self.reload();
        let done = self.answers();
        self.survive(done)?;
        self.reload();
        for _ in 0..PLANS_AT_ONCE {
            let observed = self.observed();
            let plan = plan::plan(&self.desired, &observed);
            self.laws.planned(&observed, &plan)?;
            self.memory.plan = plan.clone();
            if plan.actions.is_empty() {
                break;
            }
            let leads_on = World::leads_on(&plan.actions);
            let applied = self.apply(plan.actions);
            let whole = applied.is_ok();
            self.survive(applied)?;
            if !leads_on || !whole {
                break;
            }
        }
        Ok(())
    }

    /// After a write that may have failed, the disk is the truth.
    fn reload(&mut self) {
        if std::mem::take(&mut self.memory.stale) {
            self.memory.book = self.disk.book();
        }
    }

    fn news(&mut self) -> Step {
        let now = self.now;
        let (due, busy) = std::mem::take(&mut self.memory.tasks).into_iter().partition(|task| task.due <= now);
        self.memory.tasks = busy;
        let due: Vec<Task> = due;
        let (mut events, mut stale) = (Vec::with_capacity(due.len()), Vec::new());
        for task in due {
            let outcome = self.shop.run(self.miner.id, &task, self.luck, &mut self.dice);
            let Some(record) = self.memory.book.records.get(&task.number) else { continue };
            let event = match outcome {
                Err(Err(broken)) => return Err(Cut::Broken(broken)),
                Err(Ok((class, error))) => news::failed(record, task.stage, class, error, now),
                Ok(Outcome::Layers) => Event::PreCommit1Done,
                Ok(Outcome::Replica(sealed)) => Event::PreCommit2Done { sealed },
                Ok(Outcome::Proof(porep)) => Event::ProofReady { porep },
                Ok(Outcome::Trimmed) => Event::Finalized { store: task.repo.clone() },
                Ok(Outcome::Removed) => Event::RemoveDone,
            };
            let told = if record.attempt() == task.attempt { &mut events } else { &mut stale };
            told.push((task.number, event));
        }
        let mut draft = self.memory.book.draft(now);
        events.into_iter().for_each(|(number, event)| draft.event(number, event));
        stale.into_iter().for_each(|(number, event)| draft.note(number, event));
        let change = draft.finish();
        self.commit(change)?;
        while let Some(at) = self.memory.aggregating.iter().position(|work| work.due <= now) {
            let Aggregating { batch, made, .. } = self.memory.aggregating.remove(at);
            self.memory.handling.remove(&batch);
            let change = self.memory.book.aggregated(&batch, made, now);
            self.commit(change)?;
        }
        Ok(())
    }

    fn answers(&mut self) -> Step {
        let now = self.now;
        while let Some(at) = self.memory.errands.iter().position(|errand| errand.due <= now) {
            let errand = self.memory.errands.remove(at);
            let done = self.ask(errand);
            self.crash_point()?;
            self.on_errand(done)?;
        }
        Ok(())
    }

    fn ask(&self, errand: Errand) -> Done {
        let Errand { desk, what, .. } = errand;
        match what {
            What::Ticket(number) => ready(desk.ticket(self.miner.id, number, self.desired.policy.ticket_lookback)),
            What::Compose(draught) => ready(desk.compose(self.miner.clone(), draught)),
            What::Push(batch, max_fee) => ready(desk.push(batch, max_fee)),
            What::Resend(id, sent) => ready(desk.resend(id, sent)),
            What::Reprice(batch, gas) => ready(desk.reprice(batch, gas)),
        }
    }

    fn on_errand(&mut self, done: Done) -> Step {
        let now = self.now;
        match done {
            // nobody asks for them here
            Done::Gpus(_) => Ok(()),
            Done::Ticket { number, result } => {
                self.memory.errand_of.remove(&number);
                match result {
                    Ok(ticket) => self.record(number, Event::TicketDrawn { ticket }),
                    Err(why) => {
                        self.pause(number, why);
                        Ok(())
                    }
                }
            }
            Done::Composed { batch, numbers, result } => {
                for number in &numbers {
                    self.memory.errand_of.remove(number);
                }
                self.memory.handling.remove(&batch);
                match result {
                    Ok(composed) => {
                        self.memory.batch_pauses.remove(&batch);
                        let rest = self.new_id();
                        let change = self.memory.book.seal(&batch, composed, rest, now);
                        self.commit(change)
                    }
                    Err(why) => {
                        numbers.into_iter().for_each(|number| self.pause(number, why.clone()));
                        self.pause_batch(&batch, why);
                        Ok(())
                    }
                }
            }
            Done::Handed { batch, result } => {
                self.memory.handling.remove(&batch);
                match &result {
                    Handed::Taken(_) | Handed::Refused(_) => drop(self.memory.batch_pauses.remove(&batch)),
                    Handed::Unclear(why) => self.pause_batch(&batch, why.clone()),
                }
                let change = self.memory.book.handed(&batch, result, now);
                self.commit(change)
            }
            Done::Miner(_) => Ok(()),
        }
    }

    fn pause(&mut self, number: SectorNumber, why: String) {
        let pause = Pause::again(self.memory.pauses.get(&number), why, self.now);
        self.memory.pauses.insert(number, pause);
    }

    fn pause_batch(&mut self, id: &MessageId, why: String) {
        let pause = Pause::again(self.memory.batch_pauses.get(id), why, self.now);
        self.memory.batch_pauses.insert(id.clone(), pause);
    }

    fn new_id(&mut self) -> MessageId {
        MessageId(self.dice.uuid())
    }

    pub fn record(&mut self, number: SectorNumber, event: Event) -> Step {
        let mut draft = self.memory.book.draft(self.now);
        draft.event(number, event);
        let change = draft.finish();
        self.commit(change)
    }

    /// An operator's word; whether it was taken.
    pub fn order(&mut self, number: SectorNumber, order: Order) -> Result<bool, String> {
        self.reload();
        let record = &self.memory.book.records[&number];
        let facts = self.facts(record);
        let chain = self.memory.view.as_deref().map(|view| observe::chain_now(view, self.now));
        let Ok(verdict) = operator::judge(record, facts.as_ref(), chain, order) else { return Ok(false) };
        let done = self.record(number, verdict.event);
        self.survive(done).map(|()| true)
    }

    // ── observed ──

    pub fn facts(&self, record: &Record) -> Option<crate::sector::Facts> {
        let Memory { view, book, batch_pauses, .. } = &self.memory;
        let view = view.as_ref()?;
        let trouble = |id: &MessageId| batch_pauses.get(id).map(|pause| pause.why.clone());
        book.facts(record, &view.facts, &view.fates, trouble)
    }

    pub fn observed(&self) -> Observed {
        let (now, memory) = (self.now, &self.memory);
        let view = memory.view.as_deref();
        let workers = memory.tasks.iter().map(|task| &task.worker);
        let busy_workers: BTreeSet<&Assignee> =
            workers.chain(memory.aggregating.iter().map(|work| &work.worker)).collect();
        let working: BTreeMap<SectorNumber, &Task> = memory.tasks.iter().map(|task| (task.number, task)).collect();
        let seen = |record: &Record| {
            let number = record.number;
            let paused = memory.pauses.get(&number).filter(|pause| pause.until > now);
            let busy = working
                .get(&number)
                .map(|task| task.stage.as_str().to_owned())
                .or_else(|| memory.errand_of.contains(&number).then(|| "the node".to_owned()))
                .or_else(|| paused.map(|pause| pause.why.clone()));
            (number, SectorSeen { record: record.clone(), facts: self.facts(record), busy })
        };
        let room = plan::space::Room {
            free: Bytes::new(1 << 50),
            used: Bytes::default(),
            reserve: Bytes::default(),
            max_use: None,
        };
        let ours = memory.book.records.keys().next_back().copied().and_then(SectorNumber::next);
        let on_chain = view.and_then(|view| view.next_number);
        Observed {
            now,
            chain: view.map(|view| observe::chain_now(view, now)),
            base_fee: view.map_or(AttoFil::ZERO, |view| view.head.base_fee),
            chain_trouble: memory.trouble.clone(),
            devnet_running: true,
            miner: MinerSeen::Known,
            params: ParamsSeen::Ready,
            repos: self.desired.repos.keys().map(|name| (name.clone(), RepoSeen::Open(room))).collect(),
            workers: self.desired.workers().map(|who| (who.clone(), !busy_workers.contains(&who))).collect(),
            sectors: memory.book.records.values().map(seen).collect(),
            quarantined: 0,
            network_version: view.and_then(|view| view.network_version),
            batches: observe::batches_seen(&memory.book, &memory.handling, &memory.batch_pauses),
            funds: view.map_or_else(Funds::default, observe::funds),
            contact: plan::ContactSeen::default(),
            next_number: on_chain.map(|on_chain| ours.map_or(on_chain, |ours| ours.max(on_chain))),
            durations: BTreeMap::new(),
            running: BTreeMap::new(),
            memory: crate::plan::MemorySeen::default(),
            barred: BTreeMap::new(),
        }
    }

    // ── applied ──

    fn apply(&mut self, actions: Vec<Action>) -> Step {
        let now = self.now;
        let (mut events, mut created) = (Vec::new(), Vec::new());
        // as in the shell: without a view there is nobody to ask
        let desk = self.memory.view.is_some();
        for action in actions {
            match action {
                Action::DrawTicket(_)
                | Action::Seal { .. }
                | Action::Push { .. }
                | Action::Resend(_)
                | Action::Reprice { .. }
                    if !desk => {}
                Action::Record { number, event } => events.push((number, event)),
                Action::CreateSector { number, repo } => {
                    created.push(Record::new(number, MINER_SIZE.seal_proof(), repo, now));
                }
                Action::DrawTicket(number) => {
                    self.memory.errand_of.insert(number);
                    self.errand(What::Ticket(number));
                }
                Action::Run { number, stage, worker, repo } => self.give(number, stage, worker, repo)?,
                Action::Join { kind, batch, sectors } => {
                    let new = self.new_id();
                    let change = self.memory.book.join(kind, batch.as_ref(), &sectors, new, now);
                    self.commit(change)?;
                }
                Action::Aggregate { batch, sectors, worker } => self.aggregate(batch, &sectors, worker)?,
                Action::Seal { batch, sectors, from, max_fee } => {
                    self.seal(batch, &sectors, from, max_fee);
                }
                Action::Push { batch, max_fee } => {
                    let Some(known) = self.memory.book.batches.get(&batch).cloned() else { continue };
                    let change = self.memory.book.handing(&batch, now);
                    self.commit(change)?;
                    self.memory.handling.insert(batch);
                    self.errand(What::Push(known, max_fee));
                }
                Action::Resend(id) => self.again(id, None),
                Action::Reprice { batch, gas } => self.again(batch, Some(gas)),
                Action::OpenRepo(_)
                | Action::StopWorker(_)
                | Action::StartDevnet
                | Action::Announce { .. }
                | Action::PrepareMiner
                | Action::PrepareParams(_)
                | Action::StartWorker(_) => return Err(Cut::Broken(format!("everything is there: {action}"))),
            }
        }
        let mut draft = self.memory.book.draft(now);
        created.into_iter().for_each(|record| draft.create(record));
        let change = draft.finish();
        self.commit(change)?;
        let mut draft = self.memory.book.draft(now);
        events.into_iter().for_each(|(number, event)| draft.event(number, event));
        let change = draft.finish();
        self.commit(change)
    }

    fn errand(&mut self, what: What) {
        let Some(view) = self.memory.view.as_ref() else { return };
        let desk = Desk {
            client: self.node.clone(),
            head: view.head.clone(),
            network: view.network.clone(),
            manifest: Arc::clone(&self.manifest),
        };
        let slow = self.frailty.errand_ms;
        let due = self.now.plus_ms(if slow > 0 { self.dice.between(0, slow) } else { 0 });
        self.memory.errands.push(Errand { due, desk, what });
    }

    fn aggregate(&mut self, batch: MessageId, sectors: &[SectorNumber], worker: Assignee) -> Step {
        let book = &self.memory.book;
        let Some(of) = book.proofs_of(sectors) else {
            return Err(Cut::Broken(format!("an aggregate of sectors {sectors:?}, which have no proofs")));
        };
        let proofs = of.iter().filter_map(|(number, _)| book.records[number].porep.as_deref().and_then(from_hex));
        let proofs: Vec<_> = proofs.collect();
        let proof = if self.dice.chance(self.luck.fails) {
            Err("the simulated worker made none".to_owned())
        } else {
            Ok(to_hex(&simulated::aggregate(proofs.iter().map(Vec::as_slice))))
        };
        self.memory.handling.insert(batch.clone());
        let due = self.now.plus_ms(self.dice.between(0, self.luck.slowest_ms));
        self.memory.aggregating.push(Aggregating { due, batch, worker, made: Aggregate { of, proof } });
        Ok(())
    }

    fn seal(&mut self, batch: MessageId, numbers: &[SectorNumber], from: String, max_fee: AttoFil) {
        let book = &self.memory.book;
        let Some(kind) = book.batches.get(&batch).map(|known| known.kind) else { return };
        let records = numbers.iter().filter_map(|number| book.records.get(number).cloned()).collect();
        let aggregate = book.aggregate_of(&batch, numbers).and_then(|made| made.as_deref().ok()).and_then(from_hex);
        self.memory.errand_of.extend(numbers);
        self.memory.handling.insert(batch.clone());
        self.errand(What::Compose(Draught { batch, kind, records, from, aggregate, max_fee }));
    }

    fn again(&mut self, id: MessageId, gas: Option<Gas>) {
        let Some(batch) = self.memory.book.batches.get(&id).cloned() else { return };
        match (gas, batch.sent.clone()) {
            (Some(gas), _) => self.errand(What::Reprice(batch, gas)),
            (None, Some(sent)) => self.errand(What::Resend(id.clone(), sent)),
            (None, None) => return,
        }
        self.memory.handling.insert(id);
    }

    fn give(&mut self, number: SectorNumber, stage: Stage, worker: Assignee, repo: crate::units::RepoName) -> Step {
        self.crash_point()?;
        let Some(record) = self.memory.book.records.get(&number) else { return Ok(()) };
        if self.memory.tasks.iter().any(|task| task.number == number || task.worker == worker) {
            return Err(Cut::Broken(format!("sector {number} or its worker has two things to do")));
        }
        let ticket = record.ticket.as_ref().map(|ticket| ticket.value);
        let job = match (stage, ticket) {
            (Stage::PreCommit1, Some(ticket)) => {
                let fresh = record.failure.as_ref().is_some_and(|failure| failure.class == Class::Data);
                Job::PreCommit1 { ticket, fresh }
            }
            (Stage::PreCommit2, Some(ticket)) => Job::PreCommit2 { ticket },
            (Stage::Commit, Some(ticket)) => {
                let (Some(sealed), Some(seed)) = (record.sealed.clone(), record.seed.as_ref()) else {
                    return Err(Cut::Broken(format!("a proof of sector {number} without commitments or seed")));
                };
                Job::Commit { ticket, sealed, seed: seed.value }
            }
            (Stage::Finalize, _) => {
                self.laws.trimming(number, &self.node, &self.miner).map_err(Cut::Broken)?;
                Job::Finalize
            }
            (Stage::Remove, _) => Job::Remove,
            (Stage::PreCommit1 | Stage::PreCommit2 | Stage::Commit, None) => {
                return Err(Cut::Broken(format!("{stage:?} of sector {number} without a ticket")));
            }
        };
        let attempt = record.attempt();
        let slowest = if self.shop.has(number, &job) { 0 } else { self.luck.slowest_ms };
        let due = self.now.plus_ms(if slowest > 0 { self.dice.between(0, slowest) } else { 0 });
        self.memory.tasks.push(Task { number, stage, worker, repo, job, attempt, due });
        Ok(())
    }

    /// One epoch by the clock: the chain grows unless it stands still, and the daemon has its turns.
    pub fn epoch(&mut self, mines: bool, ticks: i64) -> Result<(), String> {
        let step = i64::try_from(self.node.net().chain.epoch_ms).unwrap();
        if mines {
            let mut net = self.node.net();
            let next = net.head_time() + step;
            let at = self.now.as_i64().max(next);
            net.mine(at);
            let reached = net.head_time();
            drop(net);
            self.now = self.now.max(UnixMillis::new(reached));
        } else {
            self.now = self.now.plus_ms(step);
        }
        for tick in 0..ticks {
            self.now = self.now.plus_ms(if tick == 0 { 1_000 } else { step / ticks / 2 });
            self.look()?;
            self.turn()?;
        }
        self.laws.after(&self.node, &self.disk, &self.shop, &self.miner)
    }
}
