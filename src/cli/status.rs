//! `seald status`: the daemon's last snapshot, and whether the daemon runs. Reads two small files and nothing
//! else: no runtime, no database, no chain, and no manifest that would have to be right.

use super::{
    Global, colour,
    failure::{Exit, Failure, OrHelp as _, Outcome, print, print_json},
    screen::Screen,
    state_dir,
};
use crate::{
    clock,
    status::{DaemonState, Report, Snapshot, changes::Narrator, text},
};
use anyhow::Context as _;
use clap::Args;
use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

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
    /// Show it again every second until Ctrl-C; with --json, a line for every change
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
    let dir = args.state_dir.clone().unwrap_or_else(|| state_dir::find(global));
    if args.watch {
        return watch(global, &dir, args.json);
    }
    let report = read(global, &dir)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&text::render(&report.snapshot, clock::now(), colour(), report.daemon))?;
    }
    Ok(if report.is_well() { Exit::Well } else { Exit::Failed })
}

fn watch(global: &Global, dir: &Path, json: bool) -> Outcome {
    let screen = Screen::new();
    let mut narrator = Narrator::default();
    let mut last = None;
    loop {
        let report = read(global, dir)?;
        let drawn = !json && screen.draw(&text::render(&report.snapshot, clock::now(), colour(), report.daemon));
        let key = Some((report.daemon, report.snapshot.at));
        if !drawn && key != last {
            last = key;
            let lines = if json { vec![json_line(&report)?] } else { narrator.tell(&report.snapshot) };
            print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

fn json_line(report: &Report) -> Outcome<String> {
    serde_json::to_string(report).or_help("this is a defect of seald: report it")
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

fn daemon_state(dir: &Path) -> anyhow::Result<DaemonState> {
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
