//! One worker in a unit of its own: asked for at a socket of systemd, or found again at its own socket. It is not our
//! child: a handle of the kernel says when it is gone, and its exit record says how.
//!
//! Dropping a [`Unit`] closes the connection and nothing else.

use super::{
    exit::Exit,
    lines::Line,
    places::Places,
    process::{Seen, Source},
    record,
};
use crate::{
    clock,
    worker::{
        INVOCATION, process,
        protocol::{Identity, Order},
    },
};
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncWriteExt, Interest, unix::AsyncFd},
    net::{UnixStream, unix::OwnedWriteHalf},
    time::{sleep, timeout},
};

/// Longest wait for a connection: the other side of a socket of this machine is there or not.
pub const CALL: Duration = Duration::from_secs(2);
/// Longest wait for the hello of a worker that took the call: on a loaded machine it may take a while to get its turn, and
/// one that is not adopted has to be left alone.
pub const HELLO: Duration = Duration::from_secs(10);
/// Longest wait for the record of an end, which the service manager has written after the process was gone.
const RECORD: Duration = Duration::from_secs(5);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// A worker that is not our child.
pub struct Unit {
    places: Places,
    door: PathBuf,
    /// What a new one is to become; none once it was said.
    launch: Option<String>,
    wire: Option<Wire>,
    known: Option<Known>,
    gone: Option<Instant>,
    queue: VecDeque<Seen>,
}

struct Wire {
    source: Source,
    write: OwnedWriteHalf,
    /// Who listens at the worker's own socket; at the spawn socket that is the service manager.
    peer: Option<Peer>,
}

/// Who is at the other end of a socket, by the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peer {
    pid: Option<u32>,
    uid: u32,
}

/// The process, held so that its number cannot become another's.
struct Known {
    pid: u32,
    handle: AsyncFd<OwnedFd>,
    invocation: Option<String>,
}

impl Unit {
    /// A new worker, which will listen at `door`; asked for by [`Unit::open`].
    pub const fn new(places: Places, door: PathBuf, launch: String) -> Self {
        Self::closed(places, door, Some(launch))
    }

    /// A worker that may listen at `door`; [`Unit::call`] finds out.
    pub const fn at(places: Places, door: PathBuf) -> Self {
        Self::closed(places, door, None)
    }

    const fn closed(places: Places, door: PathBuf, launch: Option<String>) -> Self {
        Self { places, door, launch, wire: None, known: None, gone: None, queue: VecDeque::new() }
    }

    /// Asks for it, unless it runs already.
    ///
    /// # Errors
    /// The service manager's socket cannot be reached.
    pub async fn open(&mut self) -> Result<(), Exit> {
        let Some(launch) = self.launch.take() else { return Ok(()) };
        let spawn = self.places.spawn.clone();
        let asked = timeout(CALL, async {
            let mut stream = UnixStream::connect(&spawn).await?;
            stream.write_all(format!("{launch}\n").as_bytes()).await?;
            Ok::<_, io::Error>(stream)
        });
        let why = match asked.await {
            Ok(Ok(stream)) => {
                self.wire = Some(Wire::new(stream, None));
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", CALL.as_secs()),
        };
        let spawn = self.places.spawn.display();
        Err(Exit::NotStarted(format!("cannot ask {spawn} for a worker: {why}: is seald-worker.socket active?")))
    }

    /// Connects to the worker's own socket. Whatever connection there was is closed.
    ///
    /// # Errors
    /// Nobody listens there; `ConnectionRefused` when that is for good.
    pub async fn call(&mut self) -> io::Result<()> {
        self.wire = None;
        let stream = timeout(CALL, UnixStream::connect(&self.door)).await??;
        let peer = stream.peer_cred()?;
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
        self.wire = Some(Wire::new(stream, Some(Peer { pid, uid: peer.uid() })));
        Ok(())
    }

    /// Believes that the worker is the process that its hello says, or says why not.
    ///
    /// # Errors
    /// It is not.
    pub fn meet(&mut self, told: &Identity) -> Result<(), String> {
        let gone = |error: io::Error| format!("says that it is process {}, which is not there: {error}", told.pid);
        // first the handle, then the look at what it is: a number that was given to another in between is found out
        let pid = i32::try_from(told.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| format!("says that it is process {}, which cannot be", told.pid))?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| gone(error.into()))?;
        let seen = Facts {
            boot: process::boot().map_err(|error| format!("cannot be identified: {error}"))?,
            start_ticks: process::stat(told.pid).map_err(gone)?.start_ticks,
            own_uid: nix::unistd::getuid().as_raw(),
            peer: self.wire.as_ref().and_then(|wire| wire.peer),
        };
        judge(told, &seen)?;
        let handle = watch(handle).map_err(|error| format!("cannot be watched: {error}"))?;
        self.known = Some(Known { pid: told.pid, handle, invocation: told.invocation.clone() });
        Ok(())
    }

    /// Where it listens.
    pub fn door(&self) -> &Path {
        &self.door
    }

    /// Its process id, once it is known.
    pub fn pid(&self) -> Option<u32> {
        self.known.as_ref().map(|known| known.pid)
    }

    /// The next thing it does. Everything it said is seen before its end is. Cancel safe; not to be called again after
    /// [`Seen::Exited`].
    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.queue.pop_front() {
                return seen;
            }
            if let Some(since) = self.gone {
                match self.recorded(since) {
                    Some(exit) => return Seen::Exited(exit),
                    // cancel safe: since when it is gone is kept
                    None => sleep(LOOK).await,
                }
                continue;
            }
            let reading = self.wire.as_ref().is_some_and(|wire| wire.source.is_open());
            if !reading && self.known.is_none() {
                return Seen::Exited(self.refused());
            }
            // each arm is cancel safe: a read either took bytes or did not, waiting for a handle changes nothing
            tokio::select! {
                biased;
                lines = read(&mut self.wire), if reading => self.take(lines),
                () = ended(&self.known) => {
                    self.gone = Some(clock::monotonic());
                    return Seen::Gone;
                }
            }
        }
    }

    /// Sends one line.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn say(&mut self, line: &str) -> io::Result<()> {
        let wire = self.wire.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        wire.write.write_all(format!("{line}\n").as_bytes()).await
    }

    /// Signals the process. What it started goes with its unit. One that is not known is sent away.
    pub fn signal(&mut self, signal: Signal) {
        match &self.known {
            Some(known) => {
                if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
                    // fails only when it is gone, which is what is wanted
                    pidfd_send_signal(known.handle.get_ref(), signal).unwrap_or_default();
                }
            }
            None => self.send_away(),
        }
    }

    /// One that was not believed has no job, and without this order it would wait for another daemon.
    fn send_away(&mut self) {
        if let (Some(wire), Ok(line)) = (self.wire.take(), serde_json::to_string(&Order::Leave)) {
            // whoever is gone has left
            wire.write.try_write(format!("{line}\n").as_bytes()).unwrap_or_default();
        }
    }

    fn take(&mut self, lines: Option<Vec<Line>>) {
        match lines {
            Some(lines) => self.queue.extend(lines.into_iter().map(Seen::Control)),
            None if self.known.is_some() => self.queue.push_back(Seen::Closed),
            None => {}
        }
    }

    fn refused(&self) -> Exit {
        Exit::NotStarted(
            "the unit closed the connection before a hello: MaxConnections= of seald-worker.socket is reached, or the \
             worker could not start: see `journalctl -u 'seald-worker@*'`"
                .to_owned(),
        )
    }

    /// How it ended, once that is written down, or when it was waited for long enough.
    fn recorded(&self, since: Instant) -> Option<Exit> {
        let exit = match self.known.as_ref().and_then(|known| known.invocation.as_ref()) {
            Some(invocation) => end_of(&self.places.exits, invocation),
            None => Some(Exit::Unrecorded),
        };
        let waited = clock::monotonic().saturating_duration_since(since);
        let exit = exit.or_else(|| (waited >= RECORD).then_some(Exit::Unrecorded))?;
        forget_door(&self.door);
        Some(exit)
    }
}

/// How the run with this invocation id ended, if that is recorded.
pub fn end_of(exits: &Path, invocation: &str) -> Option<Exit> {
    let words = format!("see `journalctl _SYSTEMD_INVOCATION_ID={invocation}`");
    record::read(exits, invocation).map(|record| record.exit(&words))
}

/// Removes the socket of a worker that is gone, and the note beside it.
pub fn forget_door(door: &Path) {
    for path in [door.with_extension(INVOCATION), door.to_owned()] {
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), error = %error, "a file of a worker that is gone stays");
        }
    }
}

impl Wire {
    fn new(stream: UnixStream, peer: Option<Peer>) -> Self {
        let (read, write) = stream.into_split();
        Self { source: Source::control(read), write, peer }
    }
}

#[expect(deprecated, reason = "its successor is unsafe, and owned descriptors keep the promise that it asks for")]
fn watch(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}

async fn read(wire: &mut Option<Wire>) -> Option<Vec<Line>> {
    match wire {
        Some(wire) => wire.source.read().await,
        None => None,
    }
}

/// Waits until the process is gone; for ever when none is known.
async fn ended(known: &Option<Known>) {
    match known {
        // the handle becomes readable once, and stays so; an error can only mean that the runtime is going away
        Some(known) => drop(known.handle.readable().await),
        None => std::future::pending().await,
    }
}

/// What can be seen of a process that says who it is.
struct Facts {
    boot: String,
    start_ticks: u64,
    own_uid: u32,
    peer: Option<Peer>,
}

fn judge(told: &Identity, seen: &Facts) -> Result<(), String> {
    let Identity { slot: _, instance: _, pid, start_ticks, boot, invocation: _ } = told;
    if *boot != seen.boot {
        return Err("says that it was started before the machine was".to_owned());
    }
    if *start_ticks != seen.start_ticks {
        return Err(format!("says that it is process {pid}, which is another one now"));
    }
    match seen.peer {
        Some(peer) if peer.uid != seen.own_uid => Err(format!("belongs to user {}", peer.uid)),
        Some(Peer { pid: Some(peer), .. }) if peer != *pid => {
            Err(format!("says that it is process {pid} and is process {peer}"))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_who_it_says_or_not_believed() {
        let told = Identity {
            slot: "cpu".parse().unwrap(),
            instance: 0,
            pid: 7,
            start_ticks: 100,
            boot: "a".to_owned(),
            invocation: None,
        };
        let facts = |boot: &str, start_ticks, pid, uid| Facts {
            boot: boot.to_owned(),
            start_ticks,
            own_uid: 1000,
            peer: Some(Peer { pid: Some(pid), uid }),
        };
        assert_eq!(judge(&told, &facts("a", 100, 7, 1000)), Ok(()));
        assert_eq!(judge(&told, &Facts { peer: None, ..facts("a", 100, 7, 1000) }), Ok(()), "a new one");
        for (seen, why) in [
            (facts("b", 100, 7, 1000), "says that it was started before the machine was"),
            (facts("a", 101, 7, 1000), "says that it is process 7, which is another one now"),
            (facts("a", 100, 8, 1000), "says that it is process 7 and is process 8"),
            (facts("a", 100, 7, 1001), "belongs to user 1001"),
        ] {
            assert_eq!(judge(&told, &seen), Err(why.to_owned()));
        }
    }
}
