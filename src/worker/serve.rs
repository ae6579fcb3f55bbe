//! The worker process: one thread reads orders, one beats the heart, the main thread runs jobs.
//!
//! The socket is standard input. When it closes, the daemon is gone. A worker that lives with its daemon then ends with
//! everything it started: leaving alone would leave grandchildren behind. One that outlives it goes on, keeps what came
//! of its job, and waits at a socket of its own for the next daemon. SIGTERM keeps its default action, which is to end
//! at once; every stage can be killed at any moment.

use super::{
    Options,
    confine::confine,
    footprint::Footprint,
    jobs::{JobError, Jobs},
    link::{Life, Link, Visit},
    process,
    protocol::{Hello, Identity, Job, Order, PROTOCOL, Report, Running},
};
use crate::{clock, proofs::stages::class_of_text, sector::Class, units::UnixMillis};
use nix::{
    sys::{
        signal::{Signal, killpg},
        socket::{getsockopt, sockopt::PeerCredentials},
        stat::{Mode, umask},
    },
    unistd::{getpgrp, getpid, getuid},
};
use std::{
    any::Any,
    io::{self, BufRead, BufReader, Read},
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::{ExitCode, exit},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// Exit code: an order could not be understood.
const EXIT_PROTOCOL: i32 = 64;
/// Exit code: a library panicked, and with it the state it keeps for the process.
const EXIT_PANIC: u8 = 70;
/// Exit code: the machine does not give what the options ask for.
const EXIT_OPTIONS: u8 = 78;

/// The ending of the file beside a worker's socket that says which exit record will be its own: once it is dead, it
/// cannot be asked.
pub const INVOCATION: &str = "invocation";

const HEARTBEAT: Duration = Duration::from_secs(1);

/// Runs a worker until the daemon sends it away or, unless it is to outlive it, is gone. Standard input must be the
/// daemon's socket. To be called before any other thread is started: processor affinity is inherited.
pub fn serve(options: Options) -> ExitCode {
    let sandbox = match confine(&options) {
        Ok(sandbox) => sandbox,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(EXIT_OPTIONS);
        }
    };
    start_logging();
    let prover = options.prover;
    let ready = open(options, sandbox).and_then(|(link, door)| Ok((link, door, daemon_socket()?)));
    let (link, door, socket) = match ready {
        Ok(ready) => ready,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(EXIT_OPTIONS);
        }
    };
    // one job at a time: the link takes no second one on, so one place is enough
    let (jobs, todo) = sync_channel(1);
    let server = Arc::new(Server { link, door, jobs, footprint: Footprint::default() });
    // a worker that nobody waits for any more has nothing to live for
    let Ok(orders) = server.greet(socket) else { return server.leave() };
    start("heartbeat", {
        let server = Arc::clone(&server);
        move || server.beat()
    });
    if server.door.is_some() {
        let server = Arc::clone(&server);
        start("door", move || server.open_door());
        tell_service(&[sd_notify::NotifyState::Ready]);
    }
    let reader = Arc::clone(&server);
    start("orders", move || reader.listen(orders));
    server.work(&Jobs::new(prover), &todo)
}

/// Ends this process and all it started as soon as the process that started it is gone. For a child whose standard
/// input is the supervisor's socket but that takes no orders.
pub fn end_with_parent() {
    start("parent", || {
        let mut nothing = [0; 64];
        while io::stdin().read(&mut nothing).is_ok_and(|read| read > 0) {}
        end_group()
    });
}

/// Starts a thread that this worker is nothing without.
fn start(name: &str, run: impl FnOnce() + Send + 'static) {
    if let Err(error) = spawn(name, run) {
        eprintln!("cannot start the thread {name}: {error}");
        exit(i32::from(EXIT_OPTIONS));
    }
}

fn spawn<F: FnOnce() + Send + 'static>(name: &str, run: F) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// Who this worker is, and where later daemons find it.
fn open(options: Options, sandbox: String) -> Result<(Link, Option<Door>), String> {
    let Options { slot, instance, prover, attach, spec, invocation, .. } = options;
    let mut hello = Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        prover: prover.as_str().to_owned(),
        identity: None,
        spec: spec.and_then(|spec| serde_json::from_str(&spec).ok()),
        sandbox: Some(sandbox),
        running: None,
        ended: None,
    };
    let Some(path) = attach else { return Ok((Link::new(hello, Life::WithDaemon), None)) };
    let pid = std::process::id();
    let unknown = |error| format!("cannot learn who this process is: {error}");
    let start_ticks = process::stat(pid).map_err(unknown)?.start_ticks;
    let boot = process::boot().map_err(unknown)?;
    if let Some(invocation) = &invocation {
        let note = path.with_extension(INVOCATION);
        std::fs::write(&note, invocation).map_err(|error| format!("cannot write {}: {error}", note.display()))?;
    }
    hello.identity = Some(Identity { slot, instance, pid, start_ticks, boot, invocation });
    // not for a moment open to others
    let mask = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(&path);
    umask(mask);
    let listener = bound.map_err(|error| format!("cannot listen at {}: {error}", path.display()))?;
    Ok((Link::new(hello, Life::Outlives), Some(Door { listener, path })))
}

fn daemon_socket() -> Result<UnixStream, String> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    // the address fails for anything that is not a socket
    let socket = socket.and_then(|socket| socket.local_addr().map(|_| socket));
    socket.map_err(|error| format!("standard input is not the daemon's socket: {error}"))
}

/// Where later daemons find a worker that outlives its first.
struct Door {
    listener: UnixListener,
    path: PathBuf,
}

/// What the threads of a worker share.
struct Server {
    link: Link,
    door: Option<Door>,
    jobs: SyncSender<(u64, Job)>,
    footprint: Footprint,
}

/// The orders of one daemon.
struct Orders {
    lines: BufReader<UnixStream>,
    visit: Visit,
}

type Listening = Box<dyn FnOnce() + Send>;

impl Server {
    fn greet(&self, socket: UnixStream) -> io::Result<Orders> {
        let lines = BufReader::new(socket.try_clone()?);
        Ok(Orders { lines, visit: self.link.attach(socket)? })
    }

    /// Takes jobs until it is sent away.
    fn work(&self, jobs: &Jobs, todo: &Receiver<(u64, Job)>) -> ExitCode {
        for (task, job) in todo {
            let about = job.about();
            self.footprint.begin();
            let begun = clock::monotonic();
            let say = |step: &str, permille| self.say(&Report::Progress { task, step: step.to_owned(), permille });
            // after a panic nothing of the library's state is used again: the process ends
            match catch_unwind(AssertUnwindSafe(|| jobs.run(&job, &say))) {
                Ok(Ok(outcome)) => {
                    let peak = self.footprint.peak();
                    let took = clock::monotonic().saturating_duration_since(begun);
                    let took_ms = jobs.did_all().then(|| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
                    self.end(Report::Done { task, about, outcome, peak, took_ms });
                }
                Ok(Err(JobError { class, error })) => {
                    self.end(Report::Failed { task, about, class, error, leaving: false });
                }
                Err(panic) => {
                    let error = format!("the library panicked: {}", panic_text(panic.as_ref()));
                    let class = class_of_text(&error).unwrap_or(Class::Worker);
                    self.end(Report::Failed { task, about, class, error, leaving: true });
                    if self.link.life() == Life::Outlives {
                        // an exit code says less than these words
                        self.link.wait_for_acknowledgement();
                    }
                    self.close_door();
                    return ExitCode::from(EXIT_PANIC);
                }
            }
        }
        self.leave()
    }

    /// Takes the orders of one daemon until it is gone.
    fn listen(&self, orders: Orders) {
        let Orders { lines, visit } = orders;
        for line in lines.lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(Order::Leave) => {
                    self.close_door();
                    exit(0)
                }
                Ok(Order::Run { task, job, note, deadline }) => self.take_on(task, job, note, deadline),
                Ok(Order::Ack { task }) => self.link.acknowledge(task),
                Err(error) => {
                    eprintln!("cannot understand the order {line:?}: {error}");
                    if self.link.life() == Life::WithDaemon || !self.link.is_needed() {
                        self.close_door();
                        exit(EXIT_PROTOCOL)
                    }
                    // a later daemon may make more sense, and will want what this worker has
                    break;
                }
            }
        }
        match self.link.life() {
            Life::WithDaemon => end_group(),
            Life::Outlives => self.link.part(visit),
        }
    }

    fn take_on(&self, task: u64, job: Job, note: String, deadline: UnixMillis) {
        let about = job.about();
        let running = Running { task, about, note, started: clock::now(), deadline };
        if !self.link.begin(running) {
            let error = "the worker already has a job".to_owned();
            self.say(&Report::Failed { task, about, class: Class::Worker, error, leaving: false });
        } else if self.jobs.try_send((task, job)).is_err() {
            // the one before panicked and nothing is done any more
            let error = "the worker is about to end".to_owned();
            self.end(Report::Failed { task, about, class: Class::Worker, error, leaving: true });
        }
    }

    /// Lets later daemons in, one at a time: the newest is the only one that is told and listened to.
    fn open_door(self: Arc<Self>) {
        let Some(door) = &self.door else { return };
        loop {
            let visitor = door.listener.accept();
            // without descriptors every attempt fails at once
            let pause = visitor.is_err();
            if let Err(error) = visitor.and_then(|(socket, _)| self.let_in(socket, spawn)) {
                eprintln!("a daemon that wanted to connect was not let in: {error}");
            }
            if pause {
                thread::sleep(HEARTBEAT);
            }
        }
    }

    /// Greets a daemon and listens to it in a thread that `spawn` starts. Where that fails the job goes on, and the
    /// daemon may come again.
    fn let_in(self: &Arc<Self>, socket: UnixStream, spawn: fn(&str, Listening) -> io::Result<()>) -> io::Result<()> {
        require_friend(&socket)?;
        let orders = self.greet(socket)?;
        let (server, visit) = (Arc::clone(self), orders.visit);
        let listening = spawn("orders", Box::new(move || server.listen(orders)));
        listening.inspect_err(|_| self.link.part(visit))
    }

    fn beat(&self) {
        loop {
            thread::sleep(HEARTBEAT);
            tell_service(&[sd_notify::NotifyState::Watchdog]);
            self.say(&Report::Heartbeat);
            self.footprint.sample();
        }
    }

    fn say(&self, report: &Report) {
        if self.link.say(report).is_err() {
            end_group()
        }
    }

    fn end(&self, report: Report) {
        if self.link.end(report).is_err() {
            end_group()
        }
    }

    fn leave(&self) -> ExitCode {
        self.close_door();
        ExitCode::SUCCESS
    }

    /// Nobody is to look for this worker any more.
    fn close_door(&self) {
        if let Some(door) = &self.door {
            for path in [door.path.with_extension(INVOCATION), door.path.clone()] {
                std::fs::remove_file(path).unwrap_or_default();
            }
        }
    }
}

/// Only this user and root may give orders.
fn require_friend(socket: &UnixStream) -> io::Result<()> {
    let uid = getsockopt(socket, PeerCredentials)?.uid();
    if uid == 0 || uid == getuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {uid} is neither this one nor root")))
}

/// A worker without a service manager says nothing.
fn tell_service(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        eprintln!("the service manager was not told: {error}");
    }
}

/// Kills the process group that the supervisor made for this worker. By hand, from a shell, the group is not ours.
fn end_group() -> ! {
    if getpgrp() == getpid() {
        killpg(getpgrp(), Signal::SIGKILL).unwrap_or_default();
    }
    exit(1)
}

/// The libraries log to standard error, as much as RUST_LOG says (errors only when it is absent). The supervisor adds
/// time, slot and sector.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .try_init();
    if let Err(error) = started {
        eprintln!("library logs are off: {error}");
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_cannot_be_listened_to_does_not_end_a_worker_and_its_job() {
        let hello = Hello {
            protocol: PROTOCOL,
            version: "0".to_owned(),
            prover: "simulated".to_owned(),
            identity: None,
            spec: None,
            sandbox: None,
            running: None,
            ended: None,
        };
        let (link, jobs) = (Link::new(hello, Life::Outlives), sync_channel(1).0);
        let server = Arc::new(Server { link, door: None, jobs, footprint: Footprint::default() });
        let (ours, theirs) = UnixStream::pair().unwrap();
        let error = server.let_in(theirs, |_, _| Err(io::ErrorKind::WouldBlock.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut told = String::new();
        (&ours).read_to_string(&mut told).unwrap();
        assert_eq!(told.lines().count(), 1, "it is greeted and parted with");
        let (ours, theirs) = UnixStream::pair().unwrap();
        server.let_in(theirs, spawn).unwrap();
        server.say(&Report::Heartbeat);
        let heard: Vec<_> = BufReader::new(&ours).lines().take(2).map(Result::unwrap).collect();
        assert_eq!(heard[1], r#"{"report":"heartbeat"}"#);
    }
}
