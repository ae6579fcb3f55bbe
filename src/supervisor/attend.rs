//! One worker process, attended: its reports checked, its silence and its deadline watched, its output logged.
//!
//! Never blocks on the daemon's loop: what it has to tell waits in an outbox, and progress is dropped meanwhile. Data
//! is looked at before timers, so a machine that stood still does not get its workers killed for being silent.

use super::{
    WorkerId,
    exit::{Exit, tells_of_lost_gpu},
    lines::Line,
    link::Link,
    process::{Seen, wait_for},
    progress::{Sign, Watch},
};
use crate::{
    clock,
    proofs::Prover,
    sector::{Class, Stage},
    units::{Bytes, SectorNumber},
    worker::{
        process,
        protocol::{About, Hello, Job, Order, Outcome, PROTOCOL, Report, Running},
    },
};
use nix::sys::signal::Signal;
use std::{
    collections::VecDeque,
    io,
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
    /// The least time without any sign of progress after which it counts as stuck.
    pub progress: Duration,
    /// How often signs of progress are looked for.
    pub look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            progress: Duration::from_secs(10 * 60),
            look: Duration::from_secs(30),
        }
    }
}

/// What the supervisor wants from the process.
#[derive(Debug)]
pub enum Command {
    /// Run this job.
    Run(Box<Assignment>),
    /// The end of this job is recorded.
    Ack {
        /// Its number.
        task: u64,
    },
    /// Leave; it has no job.
    Leave,
    /// End now, job and all; its end is told.
    Stop,
    /// End, with whatever it is doing; a worker that outlives the daemon is let go of instead.
    End {
        /// How long it may take.
        grace: Duration,
    },
}

/// A job for a worker.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Its number; must be new over the lives of all daemons.
    pub task: u64,
    /// The job.
    pub job: Job,
    /// How long it may take.
    pub deadline: Duration,
    /// How long such a job usually takes; zero when that is not known.
    pub usual: Duration,
    /// Told back by a worker that outlives this daemon, with the job or with its end.
    pub note: String,
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
    Ready {
        pid: Option<u32>,
        sandbox: Option<String>,
    },
    Progress {
        task: u64,
        step: String,
        permille: u16,
    },
    Done {
        task: u64,
        outcome: Outcome,
        peak: Option<Bytes>,
        took_ms: Option<u64>,
    },
    Failed {
        task: u64,
        class: Class,
        error: String,
        leaving: bool,
    },
    /// The job did not reach it.
    NotTaken {
        task: u64,
    },
    /// The job ended, and what came of it is told in words of another version.
    Unclear {
        task: u64,
    },
    /// It is about to end, or is gone and nobody knows how yet.
    Leaving,
    Exited(Exit),
}

/// The task that owns one process.
pub struct Attendant {
    worker: WorkerId,
    incarnation: u64,
    prover: Prover,
    protocol: u32,
    limits: Limits,
    link: Link,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<WorkerEvent>,
    /// At most: ready, the end of a job or two, one progress, that it leaves by three signs, the exit.
    outbox: VecDeque<What>,
    phase: Phase,
    /// What it works on.
    task: Option<(u64, About)>,
    /// Whether that goes on.
    watch: Option<Watch>,
    sign: Sign,
    /// Why it was killed by us.
    verdict: Option<Exit>,
    silence: Option<Timer>,
    deadline: Option<Timer>,
    last_call: Option<Timer>,
    look: Option<Timer>,
}

/// What a worker said that an earlier daemon started.
pub struct Before {
    /// The protocol it speaks. Of another one than ours only the end of its job is understood, if even that.
    pub protocol: u32,
    /// Its job.
    pub running: Option<Running>,
    /// The end of its last job, when it has none now.
    pub ended: Option<Report>,
    /// How long such a job usually takes.
    pub usual: Duration,
}

/// What an attendant is told of its worker.
pub struct Charge {
    /// Who it is.
    pub worker: WorkerId,
    /// Which of the processes that were in its place.
    pub incarnation: u64,
    /// The prover it is to run.
    pub prover: Prover,
    /// How long it may take.
    pub limits: Limits,
    /// The way to it.
    pub link: Link,
}

type Timer = Pin<Box<Sleep>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Silent,
    Speaking,
    /// Connected again, and not yet greeted.
    Returning,
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
    Look,
}

impl Attendant {
    /// Attends a worker that has said nothing yet.
    pub fn new(charge: Charge, commands: mpsc::Receiver<Command>, events: mpsc::Sender<WorkerEvent>) -> Self {
        let Charge { worker, incarnation, prover, limits, link } = charge;
        Self {
            worker,
            incarnation,
            prover,
            protocol: PROTOCOL,
            limits,
            link,
            commands,
            events,
            outbox: VecDeque::new(),
            phase: Phase::Silent,
            task: None,
            watch: None,
            sign: Sign::default(),
            verdict: None,
            silence: timer(limits.silence),
            deadline: None,
            last_call: None,
            look: None,
        }
    }

    /// Goes on with a worker that an earlier daemon started and that was greeted already.
    #[must_use]
    pub fn adopting(mut self, before: Before) -> Self {
        let Before { protocol, running, ended, usual } = before;
        self.phase = Phase::Speaking;
        self.protocol = protocol;
        if let Some(Running { task, about, deadline, .. }) = running {
            let left = Duration::from_millis(deadline.ms_since(clock::now()));
            self.working((task, about), left, usual);
        }
        if let Some((_, _, what)) = ended.and_then(ending) {
            self.ended(what);
        }
        self
    }

    /// Until the process is gone and everything about it is told, or the supervisor is gone.
    pub async fn run(mut self) {
        if let Err(exit) = self.link.open().await {
            self.saw_exit(exit);
        }
        while self.phase != Phase::Gone || !self.outbox.is_empty() {
            match self.turn().await {
                Turn::Command(Some(command)) => self.obey(command).await,
                Turn::Command(None) => return,
                Turn::Seen(seen) => self.saw(seen).await,
                Turn::Sent => {}
                Turn::Silent if self.phase == Phase::Silent => self.kill(Exit::NoHello(self.limits.silence)),
                Turn::Silent => self.kill(Exit::NoHeartbeat(self.limits.silence)),
                Turn::Overdue => self.kill(Exit::Overdue),
                Turn::LastCall => self.kill(Exit::Lingered),
                Turn::Look => self.look(),
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
            seen = self.link.next(), if self.phase != Phase::Gone => Turn::Seen(seen),
            () = wait_for(&mut self.silence) => Turn::Silent,
            () = wait_for(&mut self.deadline) => Turn::Overdue,
            () = wait_for(&mut self.last_call) => Turn::LastCall,
            () = wait_for(&mut self.look) => Turn::Look,
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Run(assignment) => {
                let Assignment { task, job, deadline, usual, note } = *assignment;
                let until = clock::now().plus_ms(i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX));
                let about = job.about();
                // one that has yet to say hello again could not be told what it was given before that
                let reached = self.phase == Phase::Speaking
                    && self.order(&Order::Run { task, job, note, deadline: until }).await.is_ok();
                if reached {
                    self.working((task, about), deadline, usual);
                } else {
                    self.outbox.push_back(What::NotTaken { task });
                }
            }
            // a closed socket is seen as such, and the end of the process tells the rest
            Command::Ack { task } => self.order(&Order::Ack { task }).await.unwrap_or_default(),
            Command::Leave => {
                self.leaving(Phase::Leaving, self.limits.grace);
                self.order(&Order::Leave).await.unwrap_or_default();
            }
            Command::Stop => {
                self.leaving(Phase::Leaving, self.limits.grace);
                self.link.signal(Signal::SIGTERM);
            }
            Command::End { grace: _ } if self.link.outlives() => {
                self.outbox.clear();
                self.phase = Phase::Gone;
            }
            Command::End { grace } => {
                self.outbox.clear();
                self.leaving(Phase::Ending, grace);
                self.link.signal(Signal::SIGTERM);
            }
        }
    }

    fn working(&mut self, task: (u64, About), deadline: Duration, usual: Duration) {
        self.task = Some(task);
        self.deadline = timer(deadline);
        self.sign = Sign::default();
        self.watch = Some(Watch::new(self.limits.progress, usual, clock::monotonic()));
        self.look = timer(self.limits.look);
    }

    fn rest(&mut self) {
        (self.task, self.watch, self.deadline, self.look) = (None, None, None, None);
    }

    fn leaving(&mut self, phase: Phase, grace: Duration) {
        if self.phase != Phase::Gone {
            self.phase = phase;
            self.last_call = timer(grace);
        }
    }

    async fn order(&mut self, order: &Order) -> io::Result<()> {
        self.link.say(&serde_json::to_string(order)?).await
    }

    async fn saw(&mut self, seen: Seen) {
        match seen {
            Seen::Control(line) => {
                if let Err(why) = self.report(&line) {
                    self.kill(Exit::Faulty(why));
                }
            }
            // a daemon that stood still for long is let go of by a worker that outlives it
            Seen::Closed if self.phase == Phase::Speaking && self.link.reconnect().await.is_ok() => {
                self.phase = Phase::Returning;
                self.silence = timer(self.limits.silence);
            }
            Seen::Closed => {
                self.last_call = self.last_call.take().or_else(|| timer(self.limits.grace));
                self.outbox.push_back(What::Leaving);
            }
            Seen::Gone => self.outbox.push_back(What::Leaving),
            Seen::Log(line) => self.log(&line),
            Seen::Exited(exit) => self.saw_exit(exit),
        }
    }

    fn saw_exit(&mut self, exit: Exit) {
        (self.silence, self.deadline, self.last_call, self.look) = (None, None, None, None);
        let exit = if self.phase == Phase::Leaving { Exit::Asked } else { exit };
        let exit = self.verdict.take().unwrap_or(exit);
        if self.phase == Phase::Ending {
            self.outbox.clear();
        } else {
            self.outbox.push_back(What::Exited(exit));
        }
        self.phase = Phase::Gone;
    }

    /// Looks for signs of progress of the job.
    fn look(&mut self) {
        self.look = timer(self.limits.look);
        let pid = self.link.pid();
        // of a process that cannot be looked at nothing bad is believed
        let Some(stat) = pid.and_then(|pid| process::stat(pid).ok()) else { return };
        let sign = Sign { cpu_ticks: stat.cpu_ticks, ..self.sign.clone() };
        let stuck = self.watch.as_mut().and_then(|watch| watch.see(sign, clock::monotonic()));
        if let Some(time) = stuck {
            self.kill(Exit::Stuck(time));
        }
    }

    /// Takes one line of the process, or says why it cannot be trusted any longer.
    fn report(&mut self, line: &Line) -> Result<(), String> {
        let report = Report::read(&line.text).filter(|_| !line.cut);
        let report = match report {
            Some(report) => report,
            None if self.protocol != PROTOCOL => {
                self.hear_of_another_version(&line.text);
                return Ok(());
            }
            None => {
                let start = line.text.chars().take(80).collect::<String>();
                return Err(format!("sent a line that cannot be read: {start:?}"));
            }
        };
        self.silence = timer(self.limits.silence);
        if let Report::Hello(hello) = report {
            return self.greet(*hello);
        }
        if matches!(self.phase, Phase::Silent | Phase::Returning) {
            return Err("spoke before its hello".to_owned());
        }
        if let Report::Progress { task, step, permille } = report {
            if self.task.is_some_and(|(mine, _)| mine == task) {
                (self.sign.step, self.sign.permille) = (step.clone(), permille);
                if self.outbox.is_empty() {
                    self.outbox.push_back(What::Progress { task, step, permille });
                }
            }
            return Ok(());
        }
        let Some((task, about, what)) = ending(report) else { return Ok(()) };
        if self.task != Some((task, about)) {
            if self.protocol != PROTOCOL && self.task.is_some_and(|(mine, _)| mine == task) {
                self.ended(What::Unclear { task });
                return Ok(());
            }
            return Err(format!("reported the end of job {task}, which it does not have"));
        }
        self.ended(what);
        Ok(())
    }

    /// A line in words of another version. Of the end of its job is understood that it came: what was found is in the
    /// sector's folder, and the same job asks for it again.
    fn hear_of_another_version(&mut self, text: &str) {
        self.silence = timer(self.limits.silence);
        let told = serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
        let is_end = matches!(told.get("report").and_then(|word| word.as_str()), Some("done" | "failed"));
        let ended = told.get("task").and_then(serde_json::Value::as_u64).filter(|_| is_end);
        if let Some((task, _)) = self.task.filter(|(task, _)| ended == Some(*task)) {
            self.ended(What::Unclear { task });
        }
    }

    /// Its job ended. One that leaves after it may wait until that is recorded, and not for ever.
    fn ended(&mut self, what: What) {
        self.rest();
        if let What::Failed { leaving: true, .. } = &what {
            self.last_call = self.last_call.take().or_else(|| timer(self.limits.grace));
        }
        self.outbox.push_back(what);
    }

    fn greet(&mut self, hello: Hello) -> Result<(), String> {
        let Hello { protocol, version, prover, identity, spec: _, sandbox, running, ended } = hello;
        match self.phase {
            Phase::Silent if protocol != PROTOCOL => {
                Err(format!("is version {version} and speaks protocol {protocol}, this seald speaks {PROTOCOL}"))
            }
            Phase::Silent if prover != self.prover.as_str() => {
                Err(format!("runs the {prover} prover instead of the {} one", self.prover.as_str()))
            }
            Phase::Silent => {
                self.link.meet(identity.as_ref())?;
                self.phase = Phase::Speaking;
                self.outbox.push_back(What::Ready { pid: self.link.pid(), sandbox });
                Ok(())
            }
            Phase::Returning => {
                self.link.meet(identity.as_ref())?;
                self.phase = Phase::Speaking;
                if self.task.is_none() {
                    self.outbox.push_back(What::Ready { pid: self.link.pid(), sandbox });
                }
                self.resume(running.as_ref(), ended)
            }
            Phase::Speaking => Err("said hello twice".to_owned()),
            Phase::Leaving | Phase::Ending | Phase::Gone => Ok(()),
        }
    }

    /// Finds the job again that it had before the connection was lost.
    fn resume(&mut self, running: Option<&Running>, ended: Option<(Running, Box<Report>)>) -> Result<(), String> {
        let Some((task, _)) = self.task else { return Ok(()) };
        if running.is_some_and(|running| running.task == task) {
            return Ok(());
        }
        match ended.and_then(|(_, report)| ending(*report)).filter(|(ended, _, _)| *ended == task) {
            Some((_, _, what)) => {
                self.ended(what);
                Ok(())
            }
            None if self.protocol != PROTOCOL => {
                self.ended(What::Unclear { task });
                Ok(())
            }
            None => Err(format!("lost job {task} with its connection")),
        }
    }

    fn kill(&mut self, why: Exit) {
        (self.silence, self.deadline, self.last_call, self.look) = (None, None, None, None);
        self.verdict.get_or_insert(why);
        self.link.signal(Signal::SIGKILL);
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

/// The end of a job, when that is what was reported.
fn ending(report: Report) -> Option<(u64, About, What)> {
    match report {
        Report::Done { task, about, outcome, peak, took_ms } => {
            Some((task, about, What::Done { task, outcome, peak, took_ms }))
        }
        Report::Failed { task, about, class, error, leaving } => {
            let error = if tells_of_lost_gpu(&error) { format!("lost its GPU: {error}") } else { error };
            Some((task, about, What::Failed { task, class, error, leaving }))
        }
        Report::Hello(_) | Report::Heartbeat | Report::Progress { .. } => None,
    }
}

fn timer(after: Duration) -> Option<Timer> {
    Some(Box::pin(sleep(after)))
}
