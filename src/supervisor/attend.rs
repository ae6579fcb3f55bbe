//! One worker process, attended: its reports checked, its silence and its deadline watched, its output logged.
//!
//! Never blocks on the daemon's loop: what it has to tell waits in an outbox, and progress is dropped meanwhile. Data
//! is looked at before timers, so a machine that stood still does not get its workers killed for being silent.

use super::{
    WorkerId,
    lines::Line,
    process::{End, Process, Seen, wait_for},
};
use crate::{
    clock,
    proofs::Prover,
    sector::{Class, Stage},
    units::SectorNumber,
    worker::protocol::{About, Job, Order, Outcome, PROTOCOL, Report},
};
use nix::sys::signal::Signal;
use std::{
    collections::VecDeque,
    pin::Pin,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};

/// How long a worker may take for what takes no time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From start to hello, and from one line to the next: it beats its heart every second.
    pub silence: Duration,
    /// From being asked to leave, or from closing its socket, to being gone.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { silence: Duration::from_secs(30), grace: Duration::from_secs(10) }
    }
}

/// What the supervisor wants from the process.
#[derive(Debug)]
pub enum Command {
    /// Run this job.
    Run {
        /// Its number.
        task: u64,
        /// The job.
        job: Box<Job>,
        /// How long it may take.
        deadline: Duration,
    },
    /// Leave; it has no job.
    Leave,
    /// End now, job and all; its end is told.
    Stop,
    /// End, with whatever it is doing.
    End {
        /// How long it may take.
        grace: Duration,
    },
}

/// What happened to a worker; made by [`Attendant`], understood by [`super::Supervisor::on`].
#[derive(Debug)]
pub struct WorkerEvent {
    pub(super) worker: WorkerId,
    pub(super) incarnation: u64,
    pub(super) what: What,
    /// When it reached the daemon.
    pub at: Instant,
}

#[derive(Debug)]
pub(super) enum What {
    Ready,
    Progress { task: u64, step: String, permille: u16 },
    Done { task: u64, outcome: Outcome },
    Failed { task: u64, class: Class, error: String },
    Exited(End),
}

/// The task that owns one process.
pub struct Attendant {
    worker: WorkerId,
    incarnation: u64,
    prover: Prover,
    limits: Limits,
    process: Process,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<WorkerEvent>,
    /// At most: ready, the end of a job, one progress, the exit.
    outbox: VecDeque<What>,
    phase: Phase,
    /// What it works on.
    task: Option<(u64, About)>,
    /// Why it was killed by us.
    verdict: Option<End>,
    silence: Option<Timer>,
    deadline: Option<Timer>,
    last_call: Option<Timer>,
}

type Timer = Pin<Box<Sleep>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Silent,
    Speaking,
    Leaving,
    /// As leaving, and nobody listens any more.
    Ending,
    Gone,
}

enum Turn {
    Command(Option<Command>),
    Seen(Seen),
    Sent,
    Silent,
    Overdue,
    LastCall,
}

impl Attendant {
    /// Attends this process.
    pub fn new(
        worker: WorkerId,
        incarnation: u64,
        prover: Prover,
        limits: Limits,
        process: Process,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<WorkerEvent>,
    ) -> Self {
        Self {
            worker,
            incarnation,
            prover,
            limits,
            process,
            commands,
            events,
            outbox: VecDeque::new(),
            phase: Phase::Silent,
            task: None,
            verdict: None,
            silence: timer(limits.silence),
            deadline: None,
            last_call: None,
        }
    }

    /// Until the process is gone and everything about it is told, or the supervisor is gone.
    pub async fn run(mut self) {
        while self.phase != Phase::Gone || !self.outbox.is_empty() {
            match self.turn().await {
                Turn::Command(Some(command)) => self.obey(command).await,
                Turn::Command(None) => return,
                Turn::Seen(seen) => self.saw(seen),
                Turn::Sent => {}
                Turn::Silent => {
                    let seconds = self.limits.silence.as_secs_f32();
                    let what = if self.phase == Phase::Silent { "said no hello" } else { "had no heartbeat" };
                    self.kill(&format!("{what} for {seconds} s"));
                }
                Turn::Overdue => self.kill("ran past its deadline"),
                Turn::LastCall => self.kill("did not leave in time"),
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let id = (self.worker.clone(), self.incarnation);
        // each arm is cancel safe: receiving, reserving and `next` take nothing until they are ready, timers stay set
        tokio::select! {
            biased;
            command = self.commands.recv() => Turn::Command(command),
            permit = self.events.reserve(), if !self.outbox.is_empty() => {
                match (permit, self.outbox.pop_front()) {
                    (Ok(permit), Some(what)) => {
                        permit.send(WorkerEvent { worker: id.0, incarnation: id.1, what, at: clock::monotonic() });
                    }
                    (Err(_), _) | (_, None) => self.outbox.clear(),
                }
                Turn::Sent
            }
            seen = self.process.next(), if self.phase != Phase::Gone => Turn::Seen(seen),
            () = wait_for(&mut self.silence) => Turn::Silent,
            () = wait_for(&mut self.deadline) => Turn::Overdue,
            () = wait_for(&mut self.last_call) => Turn::LastCall,
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Run { task, job, deadline } => {
                self.task = Some((task, job.about()));
                self.deadline = timer(deadline);
                self.order(&Order::Run { task, job: *job }).await;
            }
            Command::Leave => {
                self.leaving(Phase::Leaving, self.limits.grace);
                self.order(&Order::Leave).await;
            }
            Command::Stop => {
                self.leaving(Phase::Leaving, self.limits.grace);
                self.process.signal(Signal::SIGTERM);
            }
            Command::End { grace } => {
                self.outbox.clear();
                self.leaving(Phase::Ending, grace);
                self.process.signal(Signal::SIGTERM);
            }
        }
    }

    fn leaving(&mut self, phase: Phase, grace: Duration) {
        if self.phase != Phase::Gone {
            self.phase = phase;
            self.last_call = timer(grace);
        }
    }

    async fn order(&mut self, order: &Order) {
        match serde_json::to_string(order) {
            // a closed socket is seen as such, and the end of the process tells the rest
            Ok(line) => self.process.say(&line).await.unwrap_or_default(),
            Err(error) => self.kill(&format!("could not be given an order: {error}")),
        }
    }

    fn saw(&mut self, seen: Seen) {
        match seen {
            Seen::Control(line) => {
                if let Err(why) = self.report(&line) {
                    self.kill(&why);
                }
            }
            Seen::Closed => self.last_call = self.last_call.take().or_else(|| timer(self.limits.grace)),
            Seen::Log(line) => self.log(&line),
            Seen::Exited(end) => {
                (self.silence, self.deadline, self.last_call) = (None, None, None);
                let left = || End { why: "left as asked".to_owned(), class: Class::Worker };
                let asked = self.phase == Phase::Leaving;
                let end = self.verdict.take().unwrap_or_else(|| if asked { left() } else { end });
                if self.phase == Phase::Ending {
                    self.outbox.clear();
                } else {
                    self.outbox.push_back(What::Exited(end));
                }
                self.phase = Phase::Gone;
            }
        }
    }

    /// Takes one line of the process, or says why it cannot be trusted any longer.
    fn report(&mut self, line: &Line) -> Result<(), String> {
        let report = serde_json::from_str::<Report>(&line.text).ok().filter(|_| !line.cut).ok_or_else(|| {
            format!("sent a line that cannot be read: {:?}", line.text.chars().take(80).collect::<String>())
        })?;
        self.silence = timer(self.limits.silence);
        if let Report::Hello { protocol, prover, version } = report {
            return self.greet(protocol, &prover, &version);
        }
        if self.phase == Phase::Silent {
            return Err("spoke before its hello".to_owned());
        }
        let what = match report {
            Report::Hello { .. } | Report::Heartbeat => return Ok(()),
            Report::Progress { task, step, permille } => {
                if self.task.is_some_and(|(mine, _)| mine == task) && self.outbox.is_empty() {
                    self.outbox.push_back(What::Progress { task, step, permille });
                }
                return Ok(());
            }
            Report::Done { task, about, outcome } => (task, about, What::Done { task, outcome }),
            Report::Failed { task, about, class, error } => (task, about, What::Failed { task, class, error }),
        };
        let (task, about, what) = what;
        if self.task != Some((task, about)) {
            return Err(format!("reported the end of job {task}, which it does not have"));
        }
        (self.task, self.deadline) = (None, None);
        self.outbox.push_back(what);
        Ok(())
    }

    fn greet(&mut self, protocol: u32, prover: &str, version: &str) -> Result<(), String> {
        if protocol != PROTOCOL {
            return Err(format!("is version {version} and speaks protocol {protocol}, this seald speaks {PROTOCOL}"));
        }
        if prover != self.prover.as_str() {
            return Err(format!("runs the {prover} prover instead of the {} one", self.prover.as_str()));
        }
        match self.phase {
            Phase::Silent => {
                self.phase = Phase::Speaking;
                self.outbox.push_back(What::Ready);
                Ok(())
            }
            Phase::Speaking => Err("said hello twice".to_owned()),
            Phase::Leaving | Phase::Ending | Phase::Gone => Ok(()),
        }
    }

    fn kill(&mut self, why: &str) {
        (self.silence, self.deadline, self.last_call) = (None, None, None);
        self.verdict.get_or_insert_with(|| End { why: why.to_owned(), class: Class::Worker });
        self.process.signal(Signal::SIGKILL);
    }

    /// What a worker prints is chatter of the libraries, unless it says otherwise.
    fn log(&self, line: &Line) {
        let (slot, text) = (&self.worker, line.text.trim_end());
        let about = self.task.map(|(_, about)| about);
        let sector = about.and_then(|about| about.sector).map(SectorNumber::as_u64);
        let stage = about.and_then(|about| about.stage).map(Stage::as_str);
        let serious =
            text.contains("panicked at") || ["WARN", "ERROR"].iter().any(|level| text.trim_start().starts_with(level));
        if serious {
            tracing::warn!(%slot, sector, stage, text, "worker output");
        } else if !text.is_empty() {
            tracing::debug!(%slot, sector, stage, text, "worker output");
        }
    }
}

fn timer(after: Duration) -> Option<Timer> {
    Some(Box::pin(sleep(after)))
}
