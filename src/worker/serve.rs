//! The worker process: one thread reads orders, one beats the heart, the main thread runs jobs.
//!
//! The socket is standard input. When it closes, the daemon is gone, and the worker ends with everything it started:
//! leaving alone would leave grandchildren behind. SIGTERM keeps its default action, which is to end at once; every
//! stage can be killed at any moment.

use super::{
    Options,
    confine::confine,
    jobs::{JobError, Jobs},
    protocol::{Job, Order, PROTOCOL, Report},
};
use crate::{proofs::stages::class_of_text, sector::Class};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{getpgrp, getpid},
};
use std::{
    any::Any,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    process::{ExitCode, exit},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
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

const HEARTBEAT: Duration = Duration::from_secs(1);

/// Runs a worker until the daemon sends it away or is gone. Standard input must be the daemon's socket.
/// To be called before any other thread is started: processor affinity is inherited.
pub fn serve(options: Options) -> ExitCode {
    if let Err(why) = confine(&options) {
        eprintln!("{why}");
        return ExitCode::from(EXIT_OPTIONS);
    }
    start_logging();
    let Options { prover, .. } = options;
    let (link, orders) = match Link::open() {
        Ok(both) => both,
        Err(error) => {
            eprintln!("standard input is not the daemon's socket: {error}");
            return ExitCode::from(EXIT_OPTIONS);
        }
    };
    let hello = Report::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        prover: prover.as_str().to_owned(),
    };
    link.say(&hello);
    let link = Arc::new(link);
    let busy = Arc::new(AtomicBool::new(false));
    // one job at a time: the reader refuses a second, so one place is enough
    let (jobs, todo) = sync_channel(1);
    start("heartbeat", {
        let link = Arc::clone(&link);
        move || beat(&link)
    });
    start("orders", {
        let (link, busy) = (Arc::clone(&link), Arc::clone(&busy));
        move || listen(orders, &link, &busy, &jobs)
    });
    work(&Jobs::new(prover), &todo, &link, &busy)
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

fn start(name: &str, run: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(run) {
        eprintln!("cannot start the thread {name}: {error}");
        exit(i32::from(EXIT_OPTIONS));
    }
}

/// Takes jobs until there is no more reader.
fn work(jobs: &Jobs, todo: &Receiver<(u64, Job)>, link: &Link, busy: &AtomicBool) -> ExitCode {
    for (task, job) in todo {
        let about = job.about();
        let say = |step: &str, permille| link.say(&Report::Progress { task, step: step.to_owned(), permille });
        // after a panic nothing of the library's state is used again: the process ends
        let result = catch_unwind(AssertUnwindSafe(|| jobs.run(&job, &say)));
        busy.store(false, Ordering::Release);
        match result {
            Ok(Ok(outcome)) => link.say(&Report::Done { task, about, outcome }),
            Ok(Err(JobError { class, error })) => link.say(&Report::Failed { task, about, class, error }),
            Err(panic) => {
                let error = format!("the library panicked: {}", panic_text(panic.as_ref()));
                let class = class_of_text(&error).unwrap_or(Class::Worker);
                link.say(&Report::Failed { task, about, class, error });
                return ExitCode::from(EXIT_PANIC);
            }
        }
    }
    ExitCode::SUCCESS
}

fn listen(orders: BufReader<UnixStream>, link: &Link, busy: &AtomicBool, jobs: &SyncSender<(u64, Job)>) {
    for line in orders.lines() {
        let Ok(line) = line else { end_group() };
        match serde_json::from_str(&line) {
            Ok(Order::Leave) => exit(0),
            Ok(Order::Run { task, job }) => {
                let about = job.about();
                let free = !busy.swap(true, Ordering::AcqRel);
                if !free || jobs.try_send((task, job)).is_err() {
                    let error = "the worker already has a job".to_owned();
                    link.say(&Report::Failed { task, about, class: Class::Worker, error });
                }
            }
            Err(error) => {
                eprintln!("cannot understand the order {line:?}: {error}");
                exit(EXIT_PROTOCOL)
            }
        }
    }
    end_group()
}

fn beat(link: &Link) {
    loop {
        thread::sleep(HEARTBEAT);
        link.say(&Report::Heartbeat);
    }
}

/// The way to the daemon, shared by all threads.
struct Link(Mutex<UnixStream>);

impl Link {
    fn open() -> io::Result<(Self, BufReader<UnixStream>)> {
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // fails for anything that is not a socket
        socket.local_addr()?;
        let orders = BufReader::new(socket.try_clone()?);
        Ok((Self(Mutex::new(socket)), orders))
    }

    /// Sends one line. A daemon that cannot be told is gone.
    fn say(&self, report: &Report) {
        let Ok(mut line) = serde_json::to_vec(report) else { exit(EXIT_PROTOCOL) };
        line.push(b'\n');
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if socket.write_all(&line).is_err() {
            end_group()
        }
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
