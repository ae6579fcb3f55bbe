//! The way from a worker to its daemon, and what a later daemon must be told: the job, and the end of one that nobody
//! acknowledged. Shared by all threads of the worker.
//!
//! One lock covers the socket and what the hello says, so that a job that ends while a daemon connects is either in the
//! hello or reported after it. The end of a job is kept in memory only: its files are durable, so that the same job
//! given again answers at once, and an aggregate is cheap to make again.

use super::protocol::{Hello, Report, Running};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a daemon that does not read may hold up a worker that outlives it. Longer than any pause of a daemon that
/// is well; one that was stopped for longer connects again.
const UNREAD: Duration = Duration::from_secs(10);

/// Whose end is the worker's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Without its daemon the worker ends.
    WithDaemon,
    /// Daemons come and go.
    Outlives,
}

/// A daemon that is connected, by number: the latest is the only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit(u64);

/// The way to the present daemon, if there is one.
pub struct Link {
    hello: Hello,
    life: Life,
    state: Mutex<State>,
    acknowledged: Condvar,
}

#[derive(Default)]
struct State {
    socket: Option<UnixStream>,
    visit: u64,
    running: Option<Running>,
    ended: Option<(Running, Report)>,
}

impl Link {
    /// A link without a daemon; `hello` says who this worker is.
    pub fn new(hello: Hello, life: Life) -> Self {
        Self { hello, life, state: Mutex::default(), acknowledged: Condvar::new() }
    }

    /// Whose end is the worker's end.
    pub const fn life(&self) -> Life {
        self.life
    }

    /// Says hello to a daemon. From now on it alone is told; the one before is let go of.
    ///
    /// # Errors
    /// It is gone already.
    pub fn attach(&self, socket: UnixStream) -> io::Result<Visit> {
        if self.life == Life::Outlives {
            socket.set_write_timeout(Some(UNREAD))?;
        }
        let mut state = self.state();
        let ended = state.ended.clone().map(|(running, report)| (running, Box::new(report)));
        let hello = Hello { running: state.running.clone(), ended, ..self.hello.clone() };
        write(&socket, &Report::Hello(Box::new(hello)))?;
        state.visit = state.visit.saturating_add(1);
        let_go(state.socket.replace(socket));
        Ok(Visit(state.visit))
    }

    /// That daemon is gone, or cannot be understood.
    pub fn part(&self, visit: Visit) {
        let mut state = self.state();
        if visit == Visit(state.visit) {
            let_go(state.socket.take());
        }
    }

    /// Tells the daemon. Without one nothing is lost that the next hello does not say.
    ///
    /// # Errors
    /// The daemon is gone, and it was the only one this worker lives for.
    pub fn say(&self, report: &Report) -> io::Result<()> {
        self.say_in(&mut self.state(), report)
    }

    /// Takes a job on; false when there is one already. The end of the job before needs no acknowledgement any more.
    pub fn begin(&self, running: Running) -> bool {
        let mut state = self.state();
        if state.running.is_some() {
            return false;
        }
        state.running = Some(running);
        state.ended = None;
        self.acknowledged.notify_all();
        true
    }

    /// The job ended: tells it, and keeps it until it is acknowledged.
    ///
    /// # Errors
    /// As [`Link::say`].
    pub fn end(&self, report: Report) -> io::Result<()> {
        let mut state = self.state();
        let told = self.say_in(&mut state, &report);
        state.ended = state.running.take().map(|running| (running, report));
        told
    }

    /// A daemon recorded the end of this job.
    pub fn acknowledge(&self, task: u64) {
        let mut state = self.state();
        if state.ended.as_ref().is_some_and(|(running, _)| running.task == task) {
            state.ended = None;
            self.acknowledged.notify_all();
        }
    }

    /// Waits until some daemon recorded the end of the last job.
    pub fn wait_for_acknowledgement(&self) {
        let waiting = |state: &mut State| state.ended.is_some();
        drop(self.acknowledged.wait_while(self.state(), waiting).unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether it has a job, or the end of one that nobody knows.
    pub fn is_needed(&self) -> bool {
        let state = self.state();
        state.running.is_some() || state.ended.is_some()
    }

    fn say_in(&self, state: &mut State, report: &Report) -> io::Result<()> {
        let Some(socket) = &state.socket else { return Ok(()) };
        let Err(error) = write(socket, report) else { return Ok(()) };
        let_go(state.socket.take());
        match self.life {
            Life::WithDaemon => Err(error),
            Life::Outlives => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // every change is whole before the next line that could panic
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(mut socket: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// Closes a connection for everybody who holds a copy of it: standard input is one.
fn let_go(socket: Option<UnixStream>) {
    if let Some(socket) = socket {
        // fails only when the other end closed it first
        socket.shutdown(Shutdown::Both).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        units::{SectorSize, UnixMillis},
        worker::protocol::{Job, Outcome, PROTOCOL},
    };
    use std::io::{BufRead, BufReader, Read};

    fn link(life: Life) -> Link {
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
        Link::new(hello, life)
    }

    fn running(task: u64) -> Running {
        let about = Job::Params { size: SectorSize::KiB2, mirror: None }.about();
        Running { task, about, note: "n".to_owned(), started: UnixMillis::new(1), deadline: UnixMillis::new(2) }
    }

    fn done(task: u64) -> Report {
        Report::Done { task, about: running(task).about, outcome: Outcome::Params, peak: None, took_ms: None }
    }

    struct Daemon(BufReader<UnixStream>);

    impl Daemon {
        fn connect(link: &Link) -> (Self, Visit) {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let visit = link.attach(theirs).unwrap();
            (Self(BufReader::new(ours)), visit)
        }

        fn hears(&mut self) -> Report {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap()
        }

        fn hello(&mut self) -> Hello {
            let Report::Hello(hello) = self.hears() else { panic!("no hello") };
            *hello
        }
    }

    #[test]
    fn the_end_of_a_job_is_told_to_every_daemon_until_one_acknowledges_it() {
        let link = link(Life::Outlives);
        let (mut first, visit) = Daemon::connect(&link);
        assert!(link.begin(running(1)) && !link.begin(running(2)), "one job at a time");
        drop(first.hello());
        link.part(visit);
        assert_eq!(first.0.read_to_end(&mut Vec::new()).unwrap(), 0, "its connection is closed");
        let (mut second, _) = Daemon::connect(&link);
        assert_eq!(second.hello().running, Some(running(1)));
        drop(second);
        link.end(done(1)).unwrap();
        for _ in 0..2 {
            let (mut next, _) = Daemon::connect(&link);
            let hello = next.hello();
            assert_eq!((hello.running, hello.ended), (None, Some((running(1), Box::new(done(1))))));
        }
        link.acknowledge(7);
        assert!(link.is_needed(), "that was another job");
        link.acknowledge(1);
        link.wait_for_acknowledgement();
        assert!(!link.is_needed());
    }

    #[test]
    fn the_newest_daemon_wins() {
        let link = link(Life::Outlives);
        let (mut old, visit) = Daemon::connect(&link);
        let (mut new, _) = Daemon::connect(&link);
        drop(old.hello());
        assert_eq!(old.0.read_to_end(&mut Vec::new()).unwrap(), 0);
        link.part(visit);
        link.say(&Report::Heartbeat).unwrap();
        drop(new.hello());
        assert_eq!(new.hears(), Report::Heartbeat, "the end of the old one is not its end");
    }

    #[test]
    fn who_lives_with_its_daemon_learns_of_its_end() {
        let (alone, lasting) = (link(Life::WithDaemon), link(Life::Outlives));
        drop((Daemon::connect(&alone), Daemon::connect(&lasting)));
        assert!(alone.say(&Report::Heartbeat).is_err());
        assert!(lasting.say(&Report::Heartbeat).is_ok() && lasting.say(&Report::Heartbeat).is_ok());
    }
}
