//! One long-lived child that takes no orders, such as the devnet: kept running with the same back-off as a worker.
//!
//! Its standard input is a socket that closes when the daemon is gone, however it went: a companion that shall not
//! outlive the daemon calls [`crate::worker::end_with_parent`].

use super::{
    REAP, chance,
    exit::Exit,
    note,
    process::{Process, Seen, wait_for},
    slot::{Event, Patience, Slot, State, Wish},
};
use crate::units::UnixMillis;
use nix::sys::signal::Signal;
use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

/// A supervised child without a protocol.
pub struct Companion {
    name: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<String, String>,
    events: mpsc::Sender<CompanionEvent>,
    slot: Slot,
    patience: Patience,
    process: Option<Running>,
    incarnation: u64,
    tasks: JoinSet<()>,
}

struct Running {
    pid: Option<u32>,
    end: mpsc::Sender<Duration>,
}

/// The child ended; for [`Companion::on`].
#[derive(Debug)]
pub struct CompanionEvent {
    incarnation: u64,
    exit: Exit,
}

/// A companion as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanionView {
    /// Its name.
    pub name: &'static str,
    /// `starting`, `running`, `backoff` or `quarantined`.
    pub state: &'static str,
    /// Its process, when there is one.
    pub pid: Option<u32>,
    /// Starts after the first.
    pub restarts: u32,
    /// How the last process ended.
    pub note: Option<String>,
    /// When it is started again.
    pub until: Option<UnixMillis>,
}

impl Companion {
    /// A child that is started by the first [`Companion::reconcile`]. `env` is its whole environment.
    pub fn new(
        name: &'static str,
        program: PathBuf,
        args: Vec<OsString>,
        env: BTreeMap<String, String>,
        events: mpsc::Sender<CompanionEvent>,
    ) -> Self {
        Self {
            name,
            program,
            args,
            env,
            events,
            slot: Slot::default(),
            patience: Patience::default(),
            process: None,
            incarnation: 0,
            tasks: JoinSet::new(),
        }
    }

    /// Starts it when it is due. Idempotent; called on every turn of the loop, inside a Tokio runtime.
    pub fn reconcile(&mut self, now: UnixMillis) {
        while self.tasks.try_join_next().is_some() {}
        if self.step(Event::Wanted, now) == Wish::Start {
            self.start(now);
        }
    }

    /// Takes in its end; says how it ended, unless that process is long gone.
    pub fn on(&mut self, event: CompanionEvent, now: UnixMillis) -> Option<String> {
        let CompanionEvent { incarnation, exit } = event;
        if incarnation != self.incarnation {
            return None;
        }
        self.process = None;
        let why = exit.to_string();
        self.step(Event::Exited { exit }, now);
        Some(why)
    }

    /// How it is.
    pub fn view(&self) -> CompanionView {
        CompanionView {
            name: self.name,
            state: if self.slot.state == State::Idle { "running" } else { self.slot.state.as_str() },
            pid: self.process.as_ref().and_then(|running| running.pid),
            restarts: self.slot.starts.saturating_sub(1),
            note: note(&self.slot),
            until: self.slot.due(),
        }
    }

    /// When [`Companion::reconcile`] has something to do that no event announces.
    pub fn next_wake(&self) -> Option<UnixMillis> {
        self.slot.due()
    }

    /// Ends it: SIGTERM to its group, SIGKILL after `grace`. Returns when it is reaped.
    pub async fn shutdown(mut self, grace: Duration) {
        if let Some(Running { end, .. }) = self.process.take() {
            // closed means that it is gone already
            end.try_send(grace).unwrap_or_default();
            let drain = async { while self.tasks.join_next().await.is_some() {} };
            if timeout(grace.saturating_add(REAP), drain).await.is_err() {
                tracing::warn!(companion = self.name, "did not end in time");
            }
        }
        self.tasks.shutdown().await;
    }

    fn step(&mut self, event: Event, now: UnixMillis) -> Wish {
        let (slot, wish) = self.slot.step(event, now, chance(), &self.patience);
        self.slot = slot;
        wish
    }

    fn start(&mut self, now: UnixMillis) {
        match Process::start(&self.program, &self.args, &self.env) {
            Ok(process) => {
                self.incarnation = self.incarnation.saturating_add(1);
                let (end, ends) = mpsc::channel(1);
                self.process = Some(Running { pid: process.pid(), end });
                self.tasks.spawn(attend(self.name, self.incarnation, process, ends, self.events.clone()));
                // there is no hello to wait for
                self.step(Event::Ready, now);
            }
            Err(error) => {
                let why = format!("cannot start {}: {error}", self.program.display());
                tracing::warn!(companion = self.name, error = %why, "companion not started");
                self.step(Event::Exited { exit: Exit::NotStarted(why) }, now);
            }
        }
    }
}

async fn attend(
    name: &'static str,
    incarnation: u64,
    mut process: Process,
    mut ends: mpsc::Receiver<Duration>,
    events: mpsc::Sender<CompanionEvent>,
) {
    let mut last_call = None;
    let exit = loop {
        // each arm is cancel safe: receiving and `next` take nothing until they are ready, the timer stays set
        tokio::select! {
            biased;
            grace = ends.recv(), if last_call.is_none() => {
                process.signal(Signal::SIGTERM);
                last_call = Some(Box::pin(sleep(grace.unwrap_or_default())));
            }
            seen = process.next() => match seen {
                Seen::Log(line) => tracing::debug!(companion = name, text = line.text, "companion output"),
                Seen::Control(_) | Seen::Closed | Seen::Gone => {}
                Seen::Exited(exit) => break exit,
            },
            () = wait_for(&mut last_call) => {
                process.signal(Signal::SIGKILL);
                last_call = Some(Box::pin(sleep(REAP)));
            }
        }
    };
    if last_call.is_none() {
        // either arm may be dropped: nobody is left to read the event once the other end is closed
        tokio::select! {
            _ = events.send(CompanionEvent { incarnation, exit }) => {}
            _ = ends.recv() => {}
        }
    }
}
