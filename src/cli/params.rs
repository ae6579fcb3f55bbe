//! `seald params`: the Groth parameters and the SRS of a sector size, checked or made available.

use super::{
    Global,
    failure::{Exit, Failure, OrHelp as _, Outcome, print, print_json},
    runtime,
};
use crate::{
    clock,
    error::Remedy,
    manifest::Manifest,
    proofs::params::{self, FileReport, FileState, Origin, ParamsError, Progress},
    status::words,
    units::{Bytes, SectorSize},
};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Of the JSON; raised when a field changes its meaning or goes away.
const FORMAT_VERSION: u32 = 1;

/// Between two lines of progress where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Arguments of `seald params`.
#[derive(Debug, Args)]
pub struct ParamsArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with parameters.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Verify the digest of every file that the sector size needs
    Check(FilesArgs),
    /// Fetch the files that are missing or wrong, resuming what is half there
    Fetch(FetchArgs),
    /// Generate the files of a test size (2KiB, 8MiB) on this machine
    Generate(FilesArgs),
}

/// Which files.
#[derive(Debug, Clone, Args)]
pub struct FilesArgs {
    /// Sector size, instead of the manifest's miner.sector_size
    #[arg(long, value_name = "SIZE")]
    pub sector_size: Option<SectorSize>,
    /// Folder of the files, instead of the manifest's params.dir
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which files, from where.
#[derive(Debug, Clone, Args)]
pub struct FetchArgs {
    /// Which files.
    #[command(flatten)]
    pub files: FilesArgs,
    /// Base address of the published files, instead of the manifest's params.mirror
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
}

/// Runs `seald params`: [`Exit::Failed`] when a file is missing or wrong.
///
/// # Errors
/// Files cannot be read, or cannot be made available.
pub fn run(global: &Global, args: &ParamsArgs) -> Outcome {
    global.start_log("warn")?;
    let (Verb::Check(files) | Verb::Fetch(FetchArgs { files, .. }) | Verb::Generate(files)) = &args.verb;
    let (size, dir) = which(global, files)?;
    let checked = match &args.verb {
        Verb::Check(_) => Some(params::check(size, &dir).map_err(failed)?),
        Verb::Fetch(FetchArgs { mirror, .. }) => {
            fetch(size, &dir, &source(global, mirror.as_deref())?).map(|()| None)?
        }
        Verb::Generate(_) => generate(size, &dir).map(|()| None)?,
    };
    let report = Report::new(size, dir, checked);
    if files.json {
        print_json(&report)?
    } else {
        print(&report.render())?
    }
    Ok(if report.ok { Exit::Well } else { Exit::Failed })
}

/// The manifest, when there is one; when there is, it must be right.
fn declared(global: &Global) -> Outcome<Option<Manifest>> {
    let there = global.config.exists();
    Ok(if there { Some(global.load()?.manifest) } else { None })
}

/// The sector size and the folder: as given, else as declared.
fn which(global: &Global, args: &FilesArgs) -> Outcome<(SectorSize, PathBuf)> {
    if let FilesArgs { sector_size: Some(size), dir: Some(dir), .. } = args {
        return Ok((*size, dir.clone()));
    }
    let declared = declared(global)?;
    let size = args.sector_size.or(declared.as_ref().map(|manifest| manifest.miner.sector_size));
    let size = size.ok_or_else(|| {
        let what = format!("there is no manifest {} to take the sector size from", global.config.display());
        Failure::new(what, "give --sector-size, such as 32GiB, or --config FILE")
    })?;
    let dir = args.dir.clone().or(declared.map(|manifest| manifest.params.dir));
    Ok((size, dir.unwrap_or_else(params::default_dir)))
}

/// Where to fetch from: as given, else as declared.
fn source(global: &Global, given: Option<&str>) -> Outcome<String> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let declared = declared(global)?.and_then(|manifest| manifest.params.mirror);
    let help = "give --mirror URL, or set params.mirror in the manifest";
    declared.ok_or_else(|| Failure::new("no mirror is named to fetch the parameters from", help))
}

fn fetch(size: SectorSize, dir: &Path, mirror: &str) -> Outcome<()> {
    let runtime = runtime()?;
    let view = View::new();
    let done = runtime.block_on(async {
        let report = |progress| view.show(&progress);
        let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        // dropping the download stops between two writes, and waiting for a signal loses nothing
        tokio::select! {
            done = params::fetch(size, dir, mirror, &report) => done.map_err(failed),
            _ = interrupt.recv() => Err(failed(ParamsError::Cancelled)),
            _ = terminate.recv() => Err(failed(ParamsError::Cancelled)),
        }
    });
    // a digest that is being computed for nobody is not waited for
    runtime.shutdown_background();
    done
}

fn listen(kind: SignalKind) -> Outcome<Signal> {
    signal(kind).or_help(LIMITS)
}

fn generate(size: SectorSize, dir: &Path) -> Outcome<()> {
    let cancel = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // no way out for a second signal: wrappers pass one on twice, and the first ends this within a second
        flag::register(signal, Arc::clone(&cancel)).or_help(LIMITS)?;
    }
    let view = View::new();
    params::generate(size, dir, &|progress| view.show(&progress), &cancel).map_err(failed)
}

const LIMITS: &str = "raise the limits on tasks and open files (TasksMax=, LimitNOFILE=)";

fn failed(error: ParamsError) -> Failure {
    let help = match error.remedy() {
        Remedy::Retry => "run the same command again: it goes on where this one ended",
        Remedy::Hold => "remove the cause, then run the same command again",
        Remedy::Stop => "`seald params --help` shows the other ways",
    };
    Failure::of(error, help)
}

/// How far it is, on stderr: one bar on a terminal, else a line now and then.
enum View {
    Bar(ProgressBar),
    Lines { told: Mutex<Option<Instant>> },
}

impl View {
    fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines { told: Mutex::default() };
        }
        let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix}\n{wide_bar} {percent:>3} %  {msg}");
        Self::Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    fn show(&self, progress: &Progress) {
        match self {
            Self::Bar(bar) => {
                bar.set_prefix(progress.step.clone());
                bar.set_message(left(progress).unwrap_or_default());
                bar.set_position(u64::from(progress.permille));
            }
            Self::Lines { told } => {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                let now = clock::monotonic();
                if told.is_none_or(|last| now.duration_since(last) >= TELL_EVERY) {
                    *told = Some(now);
                    // with stderr closed nobody is left to tell
                    drop(io::stderr().write_all(line(progress).as_bytes()));
                }
            }
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn left(progress: &Progress) -> Option<String> {
    let ms = u64::try_from(progress.eta?.as_millis()).ok()?;
    Some(format!("{} left", words::about(ms)))
}

fn line(progress: &Progress) -> String {
    let left = left(progress).map(|left| format!(", {left}")).unwrap_or_default();
    format!("{}{left}: {}\n", words::percent(progress.permille), progress.step)
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    format_version: u32,
    sector_size: SectorSize,
    dir: PathBuf,
    /// Every file is good.
    ok: bool,
    /// Each file, when it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<Line>>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    purpose: &'static str,
    /// `good`, `missing` or `corrupt`.
    state: &'static str,
    /// Where a good file is from, or what is wrong with a corrupt one.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    bytes: Bytes,
}

impl Report {
    fn new(sector_size: SectorSize, dir: PathBuf, checked: Option<Vec<FileReport>>) -> Self {
        let files: Option<Vec<Line>> = checked.map(|files| files.into_iter().map(Line::new).collect());
        let ok = files.iter().flatten().all(|line| line.state == "good");
        Self { format_version: FORMAT_VERSION, sector_size, dir, ok, files }
    }

    fn render(&self) -> String {
        let Self { sector_size: size, dir, ok, files, .. } = self;
        let mut text = String::new();
        for Line { name, purpose, state, detail, .. } in files.iter().flatten() {
            let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            text.push_str(&format!("{state:<8} {purpose:<13} {name}{detail}\n"));
        }
        let dir = dir.display();
        let verb = if params::can_generate(*size) { "generate" } else { "fetch" };
        text.push_str(&if *ok {
            format!("{dir} has all parameters of {size} sectors\n")
        } else {
            format!("{dir} lacks parameters of {size} sectors: `seald params {verb}` makes them available\n")
        });
        text
    }
}

impl Line {
    fn new(FileReport { file, state, bytes }: FileReport) -> Self {
        let (state, detail) = match state {
            FileState::Missing => ("missing", None),
            FileState::Good(Origin::Published) => ("good", Some("published".to_owned())),
            FileState::Good(Origin::Generated) => ("good", Some("generated here, for test networks only".to_owned())),
            FileState::Corrupt { why } => ("corrupt", Some(why)),
        };
        Self { name: file.name, purpose: file.purpose.as_str(), state, detail, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proofs::params::{Kind, ParamFile, Purpose};

    #[test]
    fn progress_is_a_share_and_what_is_left() {
        let progress = |eta| Progress { step: "making PoRep parameters".to_owned(), permille: 125, eta };
        assert_eq!(line(&progress(None)), "12 %: making PoRep parameters\n");
        assert_eq!(line(&progress(Some(Duration::from_secs(31)))), "12 %, 31 s left: making PoRep parameters\n");
    }

    #[test]
    fn one_bad_file_is_one_too_many() {
        let report = |state| {
            let file = |name: &str| ParamFile {
                name: name.to_owned(),
                purpose: Purpose::PoRep,
                kind: Kind::Parameters,
                published: String::new(),
            };
            let good = FileState::Good(Origin::Generated);
            let file = |name, state| FileReport { file: file(name), state, bytes: Bytes::new(3) };
            Report::new(SectorSize::KiB2, "p".into(), Some(vec![file("a", good), file("b", state)]))
        };
        let missing = report(FileState::Missing);
        assert!(!missing.ok);
        assert_eq!(
            missing.render(),
            "good     PoRep         a: generated here, for test networks only\nmissing  PoRep         b\n\
             p lacks parameters of 2KiB sectors: `seald params generate` makes them available\n"
        );
        assert!(report(FileState::Good(Origin::Published)).ok);
        let json = serde_json::to_value(report(FileState::Corrupt { why: "short".to_owned() })).unwrap();
        assert_eq!(
            json["files"][1],
            serde_json::json!({"name": "b", "purpose": "PoRep", "state": "corrupt",
            "detail": "short", "bytes": 3})
        );
    }
}
