//! One child process: started, listened to, signalled, reaped. The only place that starts processes.
//!
//! The child has a process group of its own, an empty environment but for what it is given, and one end of a socket
//! pair as standard input: the control channel, both ways. What it prints is log. Dropping a [`Process`] kills its
//! whole group. What the lines mean is not known here.

use super::{
    exit::{Ended, Exit},
    lines::{Line, Lines},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    io,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    pin::Pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    time::{Sleep, sleep},
};

/// Longest control line: a job names a few paths, a proof is a few kilobytes.
const CONTROL_LINE: usize = 1 << 20;
/// Longest log line that is passed on; the rest of a longer one is dropped.
const LOG_LINE: usize = 4 << 10;
/// How long output is read after the end, should somebody outside the group hold it open.
const DRAIN: Duration = Duration::from_secs(1);

/// What a worker or a companion did.
#[derive(Debug)]
pub enum Seen {
    /// It sent a line over the control channel.
    Control(Line),
    /// The control channel is closed; the end of the process follows soon, unless it is stuck.
    Closed,
    /// It printed a line.
    Log(Line),
    /// It is gone; how it ended follows as soon as that is known.
    Gone,
    /// It ended. The last thing that is seen.
    Exited(Exit),
}

/// A running child and the group it leads.
pub struct Process {
    child: Child,
    group: Pid,
    write: OwnedWriteHalf,
    sources: [Source; 3],
    queue: VecDeque<Seen>,
    status: Option<ExitStatus>,
    drain: Option<Pin<Box<Sleep>>>,
    last_words: Option<String>,
    oom_kills: Option<u64>,
}

impl Process {
    /// Starts `program`. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts processes")]
    pub fn start(program: &Path, args: &[OsString], env: &BTreeMap<String, String>) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let oom_kills = oom_kills();
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .envs(env)
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let (Some(group), Some(out), Some(err)) = (group, child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("the child has no process id or no output"));
        };
        let (read, write) = UnixStream::from_std(ours)?.into_split();
        let sources = [
            Source::control(read),
            Source::new(Kind::Print, Box::new(out), LOG_LINE),
            Source::new(Kind::Print, Box::new(err), LOG_LINE),
        ];
        let queue = VecDeque::new();
        Ok(Self { child, group, write, sources, queue, status: None, drain: None, last_words: None, oom_kills })
    }

    /// Its process id, as long as it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The next thing it does. Everything it wrote is seen before its end is. Cancel safe; not to be called again after
    /// [`Seen::Exited`].
    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.queue.pop_front() {
                return seen;
            }
            let open = self.sources.iter().any(|source| source.open);
            if let Some(status) = self.status
                && !open
            {
                return Seen::Exited(self.end(status));
            }
            let [control, out, err] = &mut self.sources;
            // each arm is cancel safe: a read either took bytes or did not, waiting and sleeping change nothing
            let chunk = tokio::select! {
                biased;
                read = control.read(), if control.open => Some((read, Kind::Control)),
                read = out.read(), if out.open => Some((read, Kind::Print)),
                read = err.read(), if err.open => Some((read, Kind::Print)),
                status = self.child.wait(), if self.status.is_none() => {
                    self.status = Some(status.unwrap_or_default());
                    // whatever it left behind goes too, and lets go of its output; the number of a group cannot be
                    // given to others while the group has members, and without members there is nothing to hit
                    killpg(self.group, Signal::SIGKILL).unwrap_or_default();
                    self.drain = Some(Box::pin(sleep(DRAIN)));
                    None
                }
                () = wait_for(&mut self.drain) => {
                    self.sources.iter_mut().for_each(|source| source.open = false);
                    None
                }
            };
            if let Some((lines, kind)) = chunk {
                self.take(lines, kind);
            }
        }
    }

    /// Sends one line.
    ///
    /// # Errors
    /// When the child has closed its end.
    pub async fn say(&mut self, line: &str) -> io::Result<()> {
        self.write.write_all(format!("{line}\n").as_bytes()).await
    }

    /// Signals the whole group.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            // fails only when nobody is left, which is what is wanted
            killpg(self.group, signal).unwrap_or_default();
        }
    }

    fn take(&mut self, lines: Option<Vec<Line>>, kind: Kind) {
        match (lines, kind) {
            (Some(lines), Kind::Control) => self.queue.extend(lines.into_iter().map(Seen::Control)),
            (Some(lines), Kind::Print) => {
                let words = lines.iter().rev().find(|line| !line.text.trim().is_empty());
                if let Some(words) = words {
                    self.last_words = Some(words.text.clone());
                }
                self.queue.extend(lines.into_iter().map(Seen::Log));
            }
            (None, Kind::Control) if self.status.is_none() => self.queue.push_back(Seen::Closed),
            (None, Kind::Control | Kind::Print) => {}
        }
    }

    fn end(&self, status: ExitStatus) -> Exit {
        let grew = match (self.oom_kills, oom_kills()) {
            (Some(before), Some(now)) => now > before,
            (None, _) | (_, None) => false,
        };
        let ended = status.code().map_or_else(|| Ended::Signal(status.signal().unwrap_or_default()), Ended::Code);
        Exit::of(ended, grew, self.last_words.clone())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// How often the kernel killed for memory so far: within the group of processes that this one and its children belong
/// to, so that another group's end is not mistaken for ours; on the whole machine where groups are not to be seen.
fn oom_kills() -> Option<u64> {
    let of_group = || {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        count(&std::fs::read_to_string(format!("/sys/fs/cgroup/{path}/memory.events")).ok()?)
    };
    of_group().or_else(|| count(&std::fs::read_to_string("/proc/vmstat").ok()?))
}

fn count(counters: &str) -> Option<u64> {
    counters.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Replaces this process by a program: same process id, same standard input. Returns only when that fails.
#[expect(clippy::disallowed_methods, reason = "the one place that starts processes")]
pub fn become_program(program: &Path, args: &[String], env: &BTreeMap<String, String>) -> io::Error {
    std::process::Command::new(program).arg0("seald").args(args).env_clear().envs(env).exec()
}

/// Runs a short program to its end, without a time limit; what it printed, line by line. Dropping it kills the program.
///
/// # Errors
/// When the operating system refuses to start it.
pub async fn printed(program: &Path, args: &[String]) -> io::Result<Vec<String>> {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    let mut process = Process::start(program, &args, &BTreeMap::new())?;
    let mut lines = Vec::new();
    loop {
        match process.next().await {
            Seen::Log(line) => lines.push(line.text),
            Seen::Control(_) | Seen::Closed | Seen::Gone => {}
            Seen::Exited(_) => return Ok(lines),
        }
    }
}

/// Waits for a timer that may not be set.
pub async fn wait_for(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Control,
    Print,
}

/// A stream of lines, until it ends.
pub struct Source {
    kind: Kind,
    stream: Box<dyn AsyncRead + Send + Sync + Unpin>,
    lines: Lines,
    open: bool,
}

impl Source {
    /// What a worker says.
    pub fn control(stream: OwnedReadHalf) -> Self {
        Self::new(Kind::Control, Box::new(stream), CONTROL_LINE)
    }

    /// Whether more may come.
    pub const fn is_open(&self) -> bool {
        self.open
    }

    fn new(kind: Kind, stream: Box<dyn AsyncRead + Send + Sync + Unpin>, longest: usize) -> Self {
        Self { kind, stream, lines: Lines::new(longest), open: true }
    }

    /// The lines that came in; `None` at the end. Cancel safe. A cut-off last line counts for logs only.
    pub async fn read(&mut self) -> Option<Vec<Line>> {
        let mut chunk = [0; 8192];
        let read = self.stream.read(&mut chunk).await.unwrap_or(0);
        if read > 0 {
            return Some(self.lines.push(chunk.get(..read).unwrap_or_default()));
        }
        self.open = false;
        match (self.kind, self.lines.finish()) {
            (Kind::Print, Some(line)) => Some(vec![line]),
            (Kind::Print | Kind::Control, _) => None,
        }
    }
}
