//! Worker processes: started, watched, restarted, stopped. One process per slot instance.
//!
//! The daemon's loop calls [`Supervisor::reconcile`] with what it wants, and hands every [`WorkerEvent`] it receives to
//! [`Supervisor::on`]. When to start and when to give up is decided in `slot`, a pure machine; each process has a task
//! of its own in `attend`; `process` alone touches the operating system. Workers are children of the daemon and end
//! with it: their socket closes and they kill their own group. What jobs mean is not known here.

mod attend;
mod companion;
mod lines;
mod process;
mod slot;

pub use attend::WorkerEvent;
pub use companion::{Companion, CompanionEvent, CompanionView};

use crate::{
    proofs::Prover,
    sector::{Class, Stage},
    units::{Bytes, SlotName, UnixMillis},
    worker::{
        Options,
        protocol::{Job, Outcome},
    },
};
use attend::{Attendant, Command, Limits, What};
use process::{End, Process};
use slot::{Event, Patience, Slot, State, Wish};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSpec {
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// The only processors it may use; absent means all.
    pub cpus: Option<BTreeSet<u32>>,
    /// Most memory it may allocate.
    pub memory: Option<Bytes>,
    /// The prover it runs.
    pub prover: Prover,
    /// Generation of the manifest that wants it. A new one gives a slot that was given up another chance; alone it
    /// interrupts nothing.
    pub generation: u64,
}

impl WorkerSpec {
    fn starts_alike(&self, other: &Self) -> bool {
        let Self { env, cpus, memory, prover, generation: _ } = self;
        (env, cpus, memory, prover) == (&other.env, &other.cpus, &other.memory, &other.prover)
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
    /// Starts after the first.
    pub restarts: u32,
    /// How the last process ended, when it was not asked to.
    pub note: Option<String>,
    /// When it is started again.
    pub until: Option<UnixMillis>,
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

/// Commands on their way to one process: a job or a request to leave, and the order to end.
const COMMANDS: usize = 4;

struct Worker {
    spec: WorkerSpec,
    slot: Slot,
    process: Option<Running>,
    task: Option<TaskView>,
}

struct Running {
    incarnation: u64,
    pid: Option<u32>,
    commands: mpsc::Sender<Command>,
}

/// All workers of this machine.
pub struct Supervisor {
    program: PathBuf,
    events: mpsc::Sender<WorkerEvent>,
    workers: BTreeMap<WorkerId, Worker>,
    tasks: JoinSet<()>,
    /// Tells a process from the one before it in the same place.
    incarnation: u64,
    patience: Patience,
    limits: Limits,
}

impl Supervisor {
    /// Workers run `program worker …`; what happens to them is sent to `events`.
    pub fn new(program: PathBuf, events: mpsc::Sender<WorkerEvent>) -> Self {
        Self {
            program,
            events,
            workers: BTreeMap::new(),
            tasks: JoinSet::new(),
            incarnation: 0,
            patience: Patience::default(),
            limits: Limits::default(),
        }
    }

    /// Starts what is wanted and due, lets what is not wanted finish its job and leave. Idempotent; called on every
    /// turn of the loop, inside a Tokio runtime.
    pub fn reconcile(&mut self, wanted: &BTreeMap<WorkerId, WorkerSpec>, now: UnixMillis) {
        self.reap();
        for (id, spec) in wanted {
            let new = || Worker { spec: spec.clone(), slot: Slot::default(), process: None, task: None };
            self.workers.entry(id.clone()).or_insert_with(new).take_spec(spec);
        }
        let ids: Vec<WorkerId> = self.workers.keys().cloned().collect();
        for id in ids {
            let alike = |worker: &Worker| wanted.get(&id).is_some_and(|spec| spec.starts_alike(&worker.spec));
            let event = if self.workers.get(&id).is_some_and(alike) { Event::Wanted } else { Event::Unwanted };
            self.step(&id, event, now);
        }
    }

    /// Gives an idle worker a job. `task` must be new for the daemon's life. A job that takes longer than `deadline` is
    /// killed with its process.
    ///
    /// # Errors
    /// [`Busy`] when the worker is not idle.
    pub fn run(
        &mut self,
        worker: &WorkerId,
        task: u64,
        job: Job,
        deadline: Duration,
        now: UnixMillis,
    ) -> Result<(), Busy> {
        let busy = |state| Busy { worker: worker.clone(), state };
        let one = self.workers.get_mut(worker).ok_or_else(|| busy("not there"))?;
        let running = one.process.as_ref().filter(|_| one.slot.state == State::Idle);
        let running = running.ok_or_else(|| busy(one.slot.state.as_str()))?;
        let stage = job.about().stage;
        let command = Command::Run { task, job: Box::new(job), deadline };
        running.commands.try_send(command).map_err(|_| busy("stopping"))?;
        one.task = Some(TaskView { task, stage, step: String::new(), permille: 0, started: now });
        self.step(worker, Event::Assigned, now);
        Ok(())
    }

    /// Ends the process of a worker with its job: SIGTERM to its group, SIGKILL when that takes too long. While it is
    /// wanted it is started again. Whether there was a process to end.
    pub fn stop(&mut self, worker: &WorkerId, now: UnixMillis) -> bool {
        let running = self.workers.get(worker).and_then(|one| one.process.as_ref());
        if !running.is_some_and(|running| running.commands.try_send(Command::Stop).is_ok()) {
            return false;
        }
        self.step(worker, Event::Stopped, now);
        true
    }

    /// Takes in what happened. `None` when it concerns a process that is long gone.
    pub fn on(&mut self, event: WorkerEvent, now: UnixMillis) -> Option<Notice> {
        let WorkerEvent { worker, incarnation, what, at: _ } = event;
        let one = self.workers.get_mut(&worker)?;
        one.process.as_ref().filter(|running| running.incarnation == incarnation)?;
        match what {
            What::Ready => {
                self.step(&worker, Event::Ready, now);
                Some(Notice::Ready { worker })
            }
            What::Progress { task, step, permille } => {
                let view = one.task.as_mut().filter(|view| view.task == task)?;
                (view.step, view.permille) = (step, permille.min(1000));
                Some(Notice::Progress { worker, task })
            }
            What::Done { task, outcome } => {
                one.task = None;
                self.step(&worker, Event::Done, now);
                Some(Notice::Done { worker, task, outcome })
            }
            What::Failed { task, class, error } => {
                one.task = None;
                self.step(&worker, Event::Failed, now);
                Some(Notice::Failed { worker, task, class, error })
            }
            What::Exited(End { why, class }) => {
                one.process = None;
                let task = one.task.take();
                // whoever is only asked to leave has no job any more
                let asked = one.slot.state == State::Stopping;
                self.step(&worker, Event::Exited { why: why.clone() }, now);
                Some(match task {
                    Some(TaskView { task, .. }) if asked => Notice::Stopped { worker, task },
                    Some(TaskView { task, .. }) => Notice::Lost { worker, task, class, error: why },
                    None => Notice::Down { worker, why },
                })
            }
        }
    }

    /// All workers, by name.
    pub fn views(&self) -> Vec<WorkerView> {
        self.workers.iter().map(|(id, worker)| worker.view(id)).collect()
    }

    /// When [`Supervisor::reconcile`] has something to do that no event announces.
    pub fn next_wake(&self) -> Option<UnixMillis> {
        self.workers.values().filter_map(|worker| worker.slot.due()).min()
    }

    /// Ends all processes: SIGTERM to their groups, and SIGKILL after `grace`. Returns when all are reaped.
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
        let Some(worker) = self.workers.get_mut(id) else { return };
        let WorkerSpec { env, cpus, memory, prover, generation: _ } = &worker.spec;
        let options = Options {
            slot: id.slot.clone(),
            instance: id.instance,
            prover: *prover,
            cpus: cpus.as_ref().map(|cpus| cpus.iter().copied().collect()),
            memory: *memory,
        };
        let process = match Process::start(&self.program, &options.to_args(), env) {
            Ok(process) => process,
            Err(error) => {
                let why = format!("cannot start {}: {error}", self.program.display());
                tracing::warn!(slot = %id, error = %why, "worker not started");
                return self.step(id, Event::Exited { why }, now);
            }
        };
        self.incarnation = self.incarnation.saturating_add(1);
        let (commands, orders) = mpsc::channel(COMMANDS);
        worker.process = Some(Running { incarnation: self.incarnation, pid: process.pid(), commands });
        let (id, events) = (id.clone(), self.events.clone());
        let attendant = Attendant::new(id, self.incarnation, *prover, self.limits, process, orders, events);
        self.tasks.spawn(attendant.run());
    }
}

/// On top of the grace, for killing and reaping.
const REAP: Duration = Duration::from_secs(5);

impl Worker {
    /// Takes over a new declaration as far as the present process, if any, allows.
    fn take_spec(&mut self, spec: &WorkerSpec) {
        let renewed = spec.generation != self.spec.generation;
        if !self.slot.state.is_running() && (renewed || !spec.starts_alike(&self.spec)) {
            let Slot { starts, .. } = self.slot;
            self.slot = Slot { starts, ..Slot::default() };
            self.spec = spec.clone();
        } else if spec.starts_alike(&self.spec) {
            self.spec = spec.clone();
        }
    }

    fn view(&self, id: &WorkerId) -> WorkerView {
        let Self { slot, process, task, .. } = self;
        WorkerView {
            id: id.clone(),
            state: slot.state.as_str(),
            pid: process.as_ref().and_then(|running| running.pid),
            task: task.clone(),
            restarts: slot.starts.saturating_sub(1),
            note: note(slot),
            until: slot.due(),
        }
    }
}

/// How the last process ended, and what a given-up slot needs.
fn note(slot: &Slot) -> Option<String> {
    let note = slot.note.clone()?;
    Some(if slot.state == State::Quarantined {
        format!("given up after {} failures in a row, the last: {note}; change it or start seald again", slot.failures)
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
