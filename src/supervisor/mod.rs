//! Worker processes: started, watched, restarted, stopped. One process per slot instance.
//!
//! The daemon's loop calls [`Supervisor::reconcile`] with what it wants, and hands every [`WorkerEvent`] it receives to
//! [`Supervisor::on`]. When to start and when to give up is decided in `slot`, a pure machine; each process has a task
//! of its own in `attend`. There are two ways to start one: as a child (`process`), which ends with the daemon, as its
//! socket closes and it kills its own group; and in a unit of its own (`launch`, `unit`), which outlives the daemon and
//! is found again by the next one (`adopt`). What jobs mean is not known here.

mod adopt;
mod attend;
mod companion;
mod exit;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod launch;
mod lines;
mod link;
mod places;
mod process;
mod progress;
mod record;
mod slot;
mod unit;

pub use adopt::Adopted;
pub use attend::{Assignment, WorkerEvent};
pub use companion::{Companion, CompanionEvent, CompanionView};
pub use exit::tells_of_lost_gpu;
pub use launch::become_worker;
pub use places::{Places, exits};
pub use process::printed;
pub use record::write_own as record_own_end;

use crate::{
    proofs::Prover,
    sector::{Class, Stage},
    units::{Bytes, SlotName, UnixMillis},
    worker::{Life, Options, protocol::Outcome},
};
use adopt::Strangers;
use attend::{Attendant, Charge, Command, Limits, What};
use exit::Exit;
use launch::Launch;
use link::Link;
use process::Process;
use serde::{Deserialize, Serialize};
use slot::{Event, Patience, Slot, State, Wish};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use unit::Unit;

/// One process of a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerId {
    /// The slot.
    pub slot: SlotName,
    /// Which of its `count` processes, from 0.
    pub instance: u32,
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.slot, self.instance)
    }
}

/// What a worker process shall be like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSpec {
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// The only processors it may use; absent means all.
    pub cpus: Option<BTreeSet<u32>>,
    /// Most memory it may allocate.
    pub memory: Option<Bytes>,
    /// Folders below which it may write.
    pub writable: Vec<PathBuf>,
    /// Whether it may use the network.
    pub network: bool,
    /// The prover it runs.
    pub prover: Prover,
    /// Whose end is its end.
    pub life: Life,
    /// Generation of the manifest that wants it. A new one gives a slot that was given up another chance; alone it
    /// interrupts nothing.
    pub generation: u64,
}

impl WorkerSpec {
    fn starts_alike(&self, other: &Self) -> bool {
        let Self { env, cpus, memory, writable, network, prover, life, generation: _ } = self;
        (env, cpus, memory) == (&other.env, &other.cpus, &other.memory)
            && (writable, network) == (&other.writable, &other.network)
            && (prover, life) == (&other.prover, &other.life)
    }
}

/// What the daemon's loop should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It can take a job.
    Ready {
        /// Who.
        worker: WorkerId,
    },
    /// Its job went on; [`Supervisor::views`] says how far.
    Progress {
        /// Who.
        worker: WorkerId,
        /// Which job.
        task: u64,
    },
    /// Its job ended well.
    Done {
        /// Who.
        worker: WorkerId,
        /// Which job.
        task: u64,
        /// What it gave.
        outcome: Outcome,
        /// The most memory that it took.
        peak: Option<Bytes>,
        /// How long it took by the worker's own clock, milliseconds, when it did all of its work.
        took_ms: Option<u64>,
    },
    /// Its job ended badly.
    Failed {
        /// Who.
        worker: WorkerId,
        /// Which job.
        task: u64,
        /// What kind of thing failed.
        class: Class,
        /// The error with its causes.
        error: String,
    },
    /// The job is as if it had not been given, and nobody's failure: it did not reach its worker, or its end was told in
    /// words of another version.
    Void {
        /// Who.
        worker: WorkerId,
        /// Which job.
        task: u64,
    },
    /// The process ended, and its job with it.
    Lost {
        /// Who.
        worker: WorkerId,
        /// Which job.
        task: u64,
        /// What kind of thing failed.
        class: Class,
        /// How the process ended, such as `killed by signal 9` or `ran past its deadline`.
        error: String,
        /// Whether it was killed for the memory it took.
        out_of_memory: bool,
    },
    /// The process was ended by [`Supervisor::stop`], and its job with it: nobody's failure.
    Stopped {
        /// Who.
        worker: WorkerId,
        /// Which job.
        task: u64,
    },
    /// The process ended; it had no job.
    Down {
        /// Who.
        worker: WorkerId,
        /// How.
        why: String,
    },
}

/// A worker as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Who.
    pub id: WorkerId,
    /// `starting`, `idle`, `busy`, `backoff`, `quarantined` or `stopping`.
    pub state: &'static str,
    /// Its process, when there is one.
    pub pid: Option<u32>,
    /// Its job.
    pub task: Option<TaskView>,
    /// What keeps it from writing elsewhere and from the network, or why nothing does; once it said hello.
    pub sandbox: Option<String>,
    /// Starts after the first.
    pub restarts: u32,
    /// How the last process ended, when it was not asked to.
    pub note: Option<String>,
    /// When it is started again.
    pub until: Option<UnixMillis>,
    /// Ends that were failures and starts that could not be made, in a row.
    pub failures: u32,
}

/// A running job as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// Its number.
    pub task: u64,
    /// The sealing stage; `None` for parameters.
    pub stage: Option<Stage>,
    /// What it is doing; empty until it says.
    pub step: String,
    /// How far it is, in thousandths.
    pub permille: u16,
    /// When it was given.
    pub started: UnixMillis,
}

/// The worker cannot take a job now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("worker {worker} is {state}")]
pub struct Busy {
    /// Who.
    pub worker: WorkerId,
    /// The word for what it is instead of idle.
    pub state: &'static str,
}

/// Commands on their way to one process: an acknowledgement, a job, requests to leave and to stop, the order to end.
const COMMANDS: usize = 5;

struct Worker {
    /// What its process was started as; none when an earlier daemon started it and that cannot be understood.
    spec: Option<WorkerSpec>,
    slot: Slot,
    process: Option<Running>,
    task: Option<TaskView>,
    /// What keeps its process from writing elsewhere, or why nothing does.
    sandbox: Option<String>,
}

struct Running {
    incarnation: u64,
    pid: Option<u32>,
    commands: mpsc::Sender<Command>,
}

/// All workers of this machine.
pub struct Supervisor {
    program: PathBuf,
    places: Places,
    events: mpsc::Sender<WorkerEvent>,
    workers: BTreeMap<WorkerId, Worker>,
    tasks: JoinSet<()>,
    /// Tells a process from the one before it in the same place.
    incarnation: u64,
    patience: Patience,
    limits: Limits,
    /// What was found at the start and could not be taken over yet.
    strangers: Strangers,
}

impl Supervisor {
    /// Workers run `program worker …`; those that outlive the daemon are started and found again at `places`. What
    /// happens to them is sent to `events`.
    pub fn new(program: PathBuf, places: Places, events: mpsc::Sender<WorkerEvent>) -> Self {
        Self {
            program,
            places,
            events,
            workers: BTreeMap::new(),
            tasks: JoinSet::new(),
            incarnation: 0,
            patience: Patience::default(),
            limits: Limits::default(),
            strangers: Strangers::default(),
        }
    }

    /// Starts what is wanted and due, lets what is not wanted finish its job and leave. Idempotent; called on every
    /// turn of the loop, inside a Tokio runtime.
    pub fn reconcile(&mut self, wanted: &BTreeMap<WorkerId, WorkerSpec>, now: UnixMillis) {
        self.reap();
        for (id, spec) in wanted {
            let new =
                || Worker { spec: Some(spec.clone()), slot: Slot::default(), process: None, task: None, sandbox: None };
            self.workers.entry(id.clone()).or_insert_with(new).take_spec(spec);
        }
        let ids: Vec<WorkerId> = self.workers.keys().cloned().collect();
        for id in ids {
            let alike = |worker: &Worker| wanted.get(&id).is_some_and(|spec| worker.is_alike(spec));
            let event = if self.workers.get(&id).is_some_and(alike) { Event::Wanted } else { Event::Unwanted };
            self.step(&id, event, now);
        }
    }

    /// Gives an idle worker a job. One that takes longer than its deadline is killed with its process.
    ///
    /// # Errors
    /// [`Busy`] when the worker is not idle.
    pub fn run(&mut self, worker: &WorkerId, assignment: Assignment, now: UnixMillis) -> Result<(), Busy> {
        let busy = |state| Busy { worker: worker.clone(), state };
        let one = self.workers.get_mut(worker).ok_or_else(|| busy("not there"))?;
        let running = one.process.as_ref().filter(|_| one.slot.state == State::Idle);
        let running = running.ok_or_else(|| busy(one.slot.state.as_str()))?;
        let (task, stage) = (assignment.task, assignment.job.about().stage);
        running.commands.try_send(Command::Run(Box::new(assignment))).map_err(|_| busy("stopping"))?;
        one.task = Some(TaskView { task, stage, step: String::new(), permille: 0, started: now });
        self.step(worker, Event::Assigned, now);
        Ok(())
    }

    /// Ends the process of a worker with its job: SIGTERM to its group, SIGKILL when that takes too long. While it is
    /// wanted it is started again. Whether there was a process to end.
    pub fn stop(&mut self, worker: &WorkerId, now: UnixMillis) -> bool {
        let running = self.workers.get(worker).and_then(|one| one.process.as_ref());
        if running.is_none_or(|running| running.commands.try_send(Command::Stop).is_err()) {
            return false;
        }
        self.step(worker, Event::Stopped, now);
        true
    }

    /// A worker that was given up, or that waits to be started again, is started at the next turn, whatever it did.
    pub fn forgive(&mut self, worker: &WorkerId) {
        if let Some(one) = self.workers.get_mut(worker).filter(|one| !one.slot.state.is_running()) {
            one.slot = one.slot.forgiven();
        }
    }

    /// What came of this job is recorded: its worker need not tell the next daemon.
    pub fn acknowledge(&self, worker: &WorkerId, task: u64) {
        let process = self.workers.get(worker).and_then(|one| one.process.as_ref());
        if let Some(running) = process {
            // full or closed: then the next daemon hears of it again, and finds that it is done
            running.commands.try_send(Command::Ack { task }).unwrap_or_default();
        }
    }

    /// Takes in what happened. `None` when it concerns a process that is long gone.
    pub fn on(&mut self, event: WorkerEvent, now: UnixMillis) -> Option<Notice> {
        let WorkerEvent { worker, incarnation, what, at: _ } = event;
        let one = self.workers.get_mut(&worker)?;
        one.process.as_ref().filter(|running| running.incarnation == incarnation)?;
        match what {
            What::Ready { pid, sandbox } => {
                if let Some(running) = &mut one.process {
                    running.pid = pid;
                }
                one.sandbox = sandbox;
                self.step(&worker, Event::Ready, now);
                Some(Notice::Ready { worker })
            }
            What::Progress { task, step, permille } => {
                let view = one.task.as_mut().filter(|view| view.task == task)?;
                (view.step, view.permille) = (step, permille.min(1000));
                Some(Notice::Progress { worker, task })
            }
            What::Done { task, outcome, peak, took_ms } => {
                one.task = None;
                self.step(&worker, Event::Done, now);
                Some(Notice::Done { worker, task, outcome, peak, took_ms })
            }
            What::Failed { task, class, error, leaving } => {
                one.task = None;
                self.step(&worker, if leaving { Event::Leaving } else { Event::Failed }, now);
                Some(Notice::Failed { worker, task, class, error })
            }
            What::NotTaken { task } => {
                one.task = None;
                self.step(&worker, Event::NotTaken, now);
                Some(Notice::Void { worker, task })
            }
            What::Unclear { task } => {
                one.task = None;
                self.step(&worker, Event::Failed, now);
                Some(Notice::Void { worker, task })
            }
            What::Leaving => {
                self.step(&worker, Event::Leaving, now);
                None
            }
            What::Exited(exit) => {
                one.process = None;
                let task = one.task.take();
                // whoever is only asked to leave has no job any more
                let asked = one.slot.state == State::Stopping;
                let (error, class) = (exit.to_string(), exit.class());
                let out_of_memory = exit == Exit::OutOfMemory;
                self.step(&worker, Event::Exited { exit }, now);
                Some(match task {
                    Some(TaskView { task, .. }) if asked => Notice::Stopped { worker, task },
                    Some(TaskView { task, .. }) => Notice::Lost { worker, task, class, error, out_of_memory },
                    None => Notice::Down { worker, why: error },
                })
            }
        }
    }

    /// What a worker's process was started as; `None` without one, or when this daemon does not understand it.
    pub fn spec_of(&self, worker: &WorkerId) -> Option<&WorkerSpec> {
        self.workers.get(worker).filter(|one| one.process.is_some())?.spec.as_ref()
    }

    /// All workers, by name.
    pub fn views(&self) -> Vec<WorkerView> {
        self.workers.iter().map(|(id, worker)| worker.view(id)).collect()
    }

    /// When [`Supervisor::reconcile`] has something to do that no event announces.
    pub fn next_wake(&self) -> Option<UnixMillis> {
        self.workers.values().filter_map(|worker| worker.slot.due()).min()
    }

    /// Ends all children: SIGTERM to their groups, and SIGKILL after `grace`. Returns when all are reaped. Workers that
    /// outlive the daemon are let go of and go on.
    pub async fn shutdown(self, grace: Duration) {
        for running in self.workers.values().filter_map(|worker| worker.process.as_ref()) {
            // full means that the process is being ended already, closed that it is gone
            running.commands.try_send(Command::End { grace }).unwrap_or_default();
        }
        let Self { mut tasks, workers, .. } = self;
        let drain = async { while tasks.join_next().await.is_some() {} };
        if timeout(grace.saturating_add(REAP), drain).await.is_err() {
            tracing::warn!("worker processes did not end in time");
        }
        tasks.shutdown().await;
        // only now: an attendant whose commands end kills its process at once
        drop(workers);
    }

    /// Lets go of tasks that are done. One that panicked is a fault of this program, and ends it.
    fn reap(&mut self) {
        while let Some(result) = self.tasks.try_join_next() {
            if let Err(error) = result
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    fn step(&mut self, id: &WorkerId, event: Event, now: UnixMillis) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        let (slot, wish) = worker.slot.step(event, now, chance(), &self.patience);
        worker.slot = slot;
        match wish {
            Wish::Rest => {}
            Wish::Start => self.start(id, now),
            Wish::Leave => {
                if let Some(running) = &worker.process {
                    // full or closed: it is on its way out already
                    running.commands.try_send(Command::Leave).unwrap_or_default();
                }
            }
            Wish::Forget => {
                self.workers.remove(id);
            }
        }
    }

    fn start(&mut self, id: &WorkerId, now: UnixMillis) {
        let Some(spec) = self.workers.get(id).and_then(|worker| worker.spec.clone()) else { return };
        let link = match self.link(id, &spec) {
            Ok(link) => link,
            Err(why) => {
                tracing::warn!(slot = %id, error = %why, "worker not started");
                return self.step(id, Event::Exited { exit: Exit::NotStarted(why) }, now);
            }
        };
        let Some(worker) = self.workers.get_mut(id) else { return };
        self.incarnation = self.incarnation.saturating_add(1);
        let (commands, orders) = mpsc::channel(COMMANDS);
        let (incarnation, limits) = (self.incarnation, self.limits);
        worker.process = Some(Running { incarnation, pid: link.pid(), commands });
        let charge = Charge { worker: id.clone(), incarnation, prover: spec.prover, limits, link };
        self.tasks.spawn(Attendant::new(charge, orders, self.events.clone()).run());
    }

    fn link(&self, id: &WorkerId, spec: &WorkerSpec) -> Result<Link, String> {
        let WorkerSpec { env, cpus, memory, writable, network, prover, life, generation: _ } = spec;
        let options = Options {
            slot: id.slot.clone(),
            instance: id.instance,
            prover: *prover,
            cpus: cpus.as_ref().map(|cpus| cpus.iter().copied().collect()),
            memory: *memory,
            writable: writable.clone(),
            network: *network,
            attach: None,
            spec: None,
            invocation: None,
        };
        match life {
            Life::WithDaemon => {
                let started = Process::start(&self.program, &options.to_args(), env);
                started
                    .map(|process| Link::Child(Box::new(process)))
                    .map_err(|error| format!("cannot start {}: {error}", self.program.display()))
            }
            Life::Outlives => {
                let door = self.places.new_door(id);
                let told = serde_json::to_string(spec).map_err(|error| error.to_string())?;
                let options = Options { attach: Some(door.clone()), spec: Some(told), ..options };
                let launch = Launch::new(options.to_args(), env.clone())?.to_line();
                Ok(Link::Unit(Box::new(Unit::new(self.places.clone(), door, launch))))
            }
        }
    }
}

/// On top of the grace, for killing and reaping.
const REAP: Duration = Duration::from_secs(5);

impl Worker {
    /// Takes over a new declaration as far as the present process, if any, allows.
    fn take_spec(&mut self, spec: &WorkerSpec) {
        let renewed = self.spec.as_ref().is_none_or(|known| spec.generation != known.generation);
        if !self.slot.state.is_running() && (renewed || !self.is_alike(spec)) {
            self.slot = self.slot.forgiven();
            self.spec = Some(spec.clone());
        } else if self.is_alike(spec) {
            self.spec = Some(spec.clone());
        }
    }

    fn is_alike(&self, spec: &WorkerSpec) -> bool {
        self.spec.as_ref().is_some_and(|known| known.starts_alike(spec))
    }

    fn view(&self, id: &WorkerId) -> WorkerView {
        let Self { slot, process, task, sandbox, .. } = self;
        WorkerView {
            id: id.clone(),
            state: slot.state.as_str(),
            pid: process.as_ref().and_then(|running| running.pid),
            task: task.clone(),
            sandbox: sandbox.clone().filter(|_| process.is_some()),
            restarts: slot.starts.saturating_sub(1),
            note: note(slot).or_else(|| self.foreign()),
            until: slot.due(),
            failures: slot.failures.saturating_add(slot.not_started),
        }
    }

    /// What there is to say of a process that an earlier daemon started as something that this one does not know.
    fn foreign(&self) -> Option<String> {
        let is_foreign = self.spec.is_none() && self.process.is_some();
        is_foreign.then(|| "started by another version of seald: it finishes its job and is replaced".to_owned())
    }
}

/// How the last process ended, and what a given-up slot needs.
fn note(slot: &Slot) -> Option<String> {
    let note = slot.note.clone()?;
    Some(if slot.state == State::Quarantined {
        let failures = usize::try_from(slot.failures).unwrap_or(usize::MAX).max(slot.lately.len());
        format!("given up after {failures} failures, the last: {note}")
    } else {
        note
    })
}

/// Any number, so that slots that fail together do not start together.
fn chance() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

#[cfg(test)]
mod tests;
