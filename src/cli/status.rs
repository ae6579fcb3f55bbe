//! `seald status`: what the daemon says over its socket; when none runs, its last snapshot from a file. Needs no database, no
//! chain, and no manifest that would have to be right.

use super::{
    Global, colour,
    failure::{Exit, Failure, OrHelp as _, Outcome, print, print_json},
    orders::explained,
    runtime,
    screen::Screen,
    state_dir,
};
use crate::{
    clock,
    control::{Client, ClientError, Lines},
    status::{DaemonState, Report, Snapshot, changes::Narrator, events::Line, text, words},
};
use anyhow::Context as _;
use clap::Args;
use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time;

/// Name of the snapshot in the state folder. The daemon replaces it in one rename.
pub const FILE: &str = "status.json";
/// Name of the lock in the state folder. The daemon holds an exclusive `flock` on it as long as it lives; readers
/// hold a shared one for an instant, so a starting daemon tries more than once.
pub const LOCK: &str = "lock";

const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `seald status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Follow it until Ctrl-C; with --json, a line for every change, as GET /v1/events of the control socket has them
    #[arg(long)]
    pub watch: bool,
    /// Folder of the daemon's state, instead of the manifest's state.dir
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Runs `seald status`.
///
/// # Errors
/// The daemon never ran with this manifest, or its snapshot cannot be read.
pub fn run(global: &Global, args: &StatusArgs) -> Outcome {
    let dir = args.state_dir.clone().unwrap_or_else(|| state_dir::find_running(global));
    if args.watch {
        return runtime()?.block_on(watch(global, &dir, args.json));
    }
    let report = current(global, &dir)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&text::render(&report.snapshot, clock::now(), colour(), report.daemon))?;
    }
    Ok(if report.is_well() { Exit::Well } else { Exit::Failed })
}

/// What the running daemon says now, or else what it said last.
///
/// # Errors
/// As [`read`], and when this user may not ask the daemon.
pub fn current(global: &Global, dir: &Path) -> Outcome<Report> {
    let client = match Client::connect(dir) {
        Ok(client) => client,
        Err(ClientError::NotRunning { .. } | ClientError::TooLong { .. }) => return read(global, dir),
        Err(error) => return Err(explained(global, error)),
    };
    match runtime()?.block_on(client.status()) {
        Ok(snapshot) => Ok(Report::new(snapshot, DaemonState::Running, clock::now())),
        // one that hangs says nothing; the file tells since when
        Err(ClientError::NoAnswer(_)) => read(global, dir),
        Err(error) => Err(explained(global, error)),
    }
}

/// Where `--watch` shows what it hears.
struct View {
    json: bool,
    screen: Screen,
    narrator: Narrator,
    /// The daemon was said to be away.
    away: bool,
}

/// Follows the daemon's event stream; while no daemon runs, says so and waits for one.
async fn watch(global: &Global, dir: &Path, json: bool) -> Outcome {
    let mut view = View { json, screen: Screen::new(), narrator: Narrator::default(), away: false };
    let mut again = time::interval(WATCH_EVERY);
    again.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        again.tick().await;
        match Client::connect(dir) {
            Ok(client) => match client.events().await {
                Ok(lines) => follow(lines, &mut view).await?,
                // it ended meanwhile
                Err(ClientError::NoAnswer(_)) => {}
                Err(error) => return Err(explained(global, error)),
            },
            Err(ClientError::NotRunning { .. } | ClientError::TooLong { .. }) => view.down(&read(global, dir)?)?,
            Err(error) => return Err(explained(global, error)),
        }
    }
}

/// Until the daemon ends.
async fn follow(mut lines: Lines, view: &mut View) -> Outcome<()> {
    loop {
        match lines.next().await {
            Ok(Some(line)) => view.hear(&line)?,
            Ok(None) | Err(ClientError::NoAnswer(_)) => return Ok(()),
            Err(error) => return Err(error).or_help("this is a defect of seald: report it"),
        }
    }
}

impl View {
    fn hear(&mut self, line: &str) -> Outcome<()> {
        self.away = false;
        if self.json {
            return print(&format!("{line}\n"));
        }
        match serde_json::from_str::<Line>(line).or_help("use the version of seald that runs as the daemon")? {
            Line::Status { snapshot } => self.show(&snapshot, DaemonState::Running),
            Line::Sector(_) | Line::Lagged { .. } | Line::Alive { .. } | Line::Down { .. } => Ok(()),
        }
    }

    fn down(&mut self, report: &Report) -> Outcome<()> {
        if self.json || !self.screen.is_shown() {
            if self.away {
                return Ok(());
            }
            self.away = true;
            let line = serde_json::to_string(&Line::Down { at: clock::now() });
            let line = line.or_help("this is a defect of seald: report it")?;
            let text = format!("{} seald is not running: waits for it", words::clock(clock::now()));
            return print(&format!("{}\n", if self.json { line } else { text }));
        }
        self.show(&report.snapshot, report.daemon)
    }

    fn show(&mut self, snapshot: &Snapshot, daemon: DaemonState) -> Outcome<()> {
        if self.screen.draw(&text::render(snapshot, clock::now(), colour(), daemon)) {
            return Ok(());
        }
        let lines = self.narrator.tell(snapshot);
        print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
    }
}

/// The facts in `dir`, and whether the daemon that writes them lives.
///
/// # Errors
/// There are none, or they cannot be read.
pub fn read(global: &Global, dir: &Path) -> Outcome<Report> {
    let daemon = daemon_state(dir).or_help("run this as root or as the user seald runs as")?;
    let path = dir.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(never_ran(global, dir, daemon)),
        Err(error) => {
            let error = anyhow::Error::from(error).context(format!("cannot read {}", path.display()));
            return Err(error).or_help("run this as root or as the user seald runs as");
        }
    };
    let help = "use the version of seald that runs as the daemon (`seald version`)";
    let snapshot: Snapshot =
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display())).or_help(help)?;
    Ok(Report::new(snapshot, daemon, clock::now()))
}

fn never_ran(global: &Global, dir: &Path, daemon: DaemonState) -> Failure {
    let config = global.config.display();
    match daemon {
        DaemonState::Running => Failure::new("seald is just starting", "ask again in a second"),
        DaemonState::Stopped => Failure::new(
            format!("seald has not run yet with this manifest (nothing in {})", dir.display()),
            format!("start it with `seald run --config {config}`, or with `systemctl start seald`"),
        ),
    }
}

/// Whether a daemon holds the lock of this folder.
///
/// # Errors
/// The lock cannot be looked at.
pub fn daemon_state(dir: &Path) -> anyhow::Result<DaemonState> {
    let path = dir.join(LOCK);
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DaemonState::Stopped),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(DaemonState::Stopped),
        Err(TryLockError::WouldBlock) => Ok(DaemonState::Running),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}
