//! `seald bench`: what seald costs on top of the work itself. Every figure is set against a baseline of the same run:
//! waits of free workers against the stages they ran, our stages against direct calls of the proofs library.
//!
//! Works in a folder of its own, with a devnet of its own, and removes both. Needs no manifest. The daemon that is
//! measured seals with the simulated prover; the stages are real ones.

use super::{
    Global,
    failure::{Exit, Failure, OrHelp as _, Outcome, print, print_json},
    run::explained,
};
use crate::{
    clock,
    daemon::{self, Ending, Proposal, Source, Until},
    manifest::{self, File, Overrides},
    proofs::{
        PoRep, Prover, params,
        stages::{self, Replica},
    },
    sector::{Sealed, Stage},
    status::{Scheduling, Snapshot},
    units::{Hash32, MinerId, SectorNumber, SectorSize},
    worker::{
        jobs::Jobs,
        protocol::{self, Job, SectorFiles, SectorRef},
    },
};
use clap::Args;
use serde::Serialize;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Of the JSON; raised when a field changes its meaning or goes away.
const FORMAT_VERSION: u32 = 1;

/// Longest mean wait of a free worker per task that seald allows itself.
const LIMIT_MS: u32 = 100;

/// Epochs of the devnet beneath the daemon that is measured: waiting for them is no part of the figures.
const EPOCH_MS: u64 = 100;

/// Times that short stages are run, each time by seald and by the library; a first time warms up and does not count.
const ROUNDS: u64 = 5;

/// Arguments of `seald bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Sectors that the simulated prover seals to measure scheduling
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub sectors: u64,
    /// Sector size of the real stages
    #[arg(long, value_name = "SIZE", default_value = "2KiB")]
    pub sector_size: SectorSize,
    /// Measure the proof too: minutes for 2KiB; its parameters must be there
    #[arg(long)]
    pub commit: bool,
    /// Folder to work in; what is written there is removed [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    format_version: u32,
    scheduling: Waiting,
    /// Empty when this seald was built without the proofs library.
    stages: Vec<Compared>,
}

/// Waits of free workers while there was a task for them.
#[derive(Debug, Serialize)]
struct Waiting {
    /// Tasks given.
    tasks: u64,
    /// Mean wait of a task.
    mean_ms: f64,
    /// The longest wait.
    longest_ms: f64,
    /// What `longest_ms` is to stay below.
    limit_ms: u32,
    /// Mean time of a task on its worker.
    task_ms: f64,
    /// `mean_ms` by `task_ms`.
    ratio: f64,
}

/// One stage, by seald and by direct calls of the library.
#[derive(Debug, Serialize)]
struct Compared {
    stage: &'static str,
    size: SectorSize,
    /// With ledger, self-check and syncing.
    ours_ms: f64,
    /// The bare calls, nothing synced.
    library_ms: f64,
    /// `ours_ms` by `library_ms`.
    ratio: f64,
}

/// Runs `seald bench`.
///
/// # Errors
/// The folder cannot be used, a stage fails, or it is interrupted.
pub fn run(global: &Global, args: &BenchArgs) -> Outcome {
    global.start_log("warn")?;
    let built = cfg!(feature = "proofs");
    if args.commit && !built {
        return Err(Failure::new("this seald was built without the cargo feature `proofs`", "leave out --commit"));
    }
    if args.commit && !params::ready(args.sector_size, &params::default_dir()) {
        let what = format!("the proof parameters of {} sectors are not there", args.sector_size);
        return Err(Failure::new(what, "make them available with `seald params`, or leave out --commit"));
    }
    let scratch = Scratch::new(args.dir.clone().unwrap_or_else(std::env::temp_dir))?;
    let scheduling = Waiting::of(&schedule(&scratch.0, args.sectors)?);
    let stages = if built { compare(&scratch.0, args)? } else { Vec::new() };
    let report = Report { format_version: FORMAT_VERSION, scheduling, stages };
    if args.json {
        print_json(&report)?
    } else {
        print(&report.render())?
    }
    Ok(Exit::Well)
}

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: PathBuf) -> Outcome<Self> {
        let path = parent.join(format!("seald-bench-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&path).or_help(&format!("let this user write to {}, or give --dir", parent.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), error = %error, "the folder of the benchmark cannot be removed");
        }
    }
}

/// Lets a daemon seal that many sectors with the simulated prover.
fn schedule(scratch: &Path, sectors: u64) -> Outcome<Scheduling> {
    let (source, proposal) = manifest(scratch, sectors)?;
    let options = daemon::Options {
        source,
        state_dir: proposal.loaded.manifest.state.dir.clone(),
        proposal: Some(proposal),
        prover: Prover::Simulated,
        until: Until::Target,
        devnet_epoch_ms: Some(EPOCH_MS),
    };
    let (show, shown) = watch::channel(Arc::new(Snapshot::empty(clock::now())));
    match super::runtime()?.block_on(daemon::run(options, show)) {
        Ok(Ending::Reached) => Ok(shown.borrow().scheduling),
        Ok(Ending::Asked) => Err(Failure::new("interrupted", "start it again when there is time")),
        Err(error) => Err(explained(error)),
    }
}

fn manifest(scratch: &Path, sectors: u64) -> Outcome<(Source, Proposal)> {
    let text = format!(
        "miner.sector_size = '2KiB'\n\
         miner.create = {{ owner = 'default', worker = 'default' }}\n\
         chain = {{ devnet = true, message_confidence = 1, seed_confidence = 1 }}\n\
         state.dir = 'state'\n\
         repo.disk = {{ path = 'repo', roles = ['seal', 'store'] }}\n\
         slot.bench = {{ tasks = ['precommit1', 'precommit2', 'commit', 'finalize'], count = 4 }}\n\
         pledge.sectors = {sectors}\n"
    );
    let path = scratch.join("seald.toml");
    let source =
        Source { path: path.clone(), overrides: Overrides { cwd: scratch.to_owned(), ..Overrides::default() } };
    let told = |problems: Vec<manifest::Problem>| {
        let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        Failure::new(format!("the manifest of the benchmark is wrong:{lines}"), "report this")
    };
    let proposal = source.parse(vec![File { path, text }]).map_err(told)?;
    Ok((source, proposal))
}

/// Each stage by seald and by the library, in turns: seald first, which pays for what the process reads once.
fn compare(scratch: &Path, args: &BenchArgs) -> Outcome<Vec<Compared>> {
    let mut taken = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    let mut last = None;
    for round in 0..=ROUNDS {
        let (ours, library) = (Site::new(scratch, "ours", round, args)?, Site::new(scratch, "library", round, args)?);
        let (by_us, sealed) = ours.precommit_by_seald()?;
        let (by_library, same) = library.precommit_by_library()?;
        if sealed != same {
            return Err(Failure::new("seald and the library sealed different replicas", "report this"));
        }
        if round > 0 {
            for ((us, lib), (a, b)) in taken.iter_mut().zip(by_us.into_iter().zip(by_library)) {
                us.push(a);
                lib.push(b);
            }
        }
        last = Some((ours, library, sealed));
    }
    let stages = [Stage::PreCommit1, Stage::PreCommit2].into_iter().zip(taken);
    let mut compared: Vec<_> = stages
        .map(|(stage, (ours, library))| Compared::new(stage, args.sector_size, median(ours), median(library)))
        .collect();
    if let Some((ours, library, sealed)) = last.filter(|_| args.commit) {
        let (ours, library) = (ours.commit_by_seald(&sealed)?, library.commit_by_library(&sealed)?);
        compared.push(Compared::new(Stage::Commit, args.sector_size, ours, library));
    }
    Ok(compared)
}

const BROKEN: &str = "look at the disk and at its space; `seald check` looks at this machine";
const SEED: Hash32 = Hash32([9; 32]);

/// A sector to be sealed, in a repo of its own.
struct Site {
    sector: SectorRef,
    files: SectorFiles,
}

impl Site {
    fn new(scratch: &Path, who: &str, round: u64, args: &BenchArgs) -> Outcome<Self> {
        let repo = scratch.join(format!("{who}-{round}"));
        fs::create_dir(&repo).or_help(BROKEN)?;
        let at = |kind: &str| repo.join(kind).join("s-t01000-1");
        let sector = SectorRef {
            miner: MinerId::new(1000),
            number: SectorNumber::try_from(1).or_help("report this")?,
            proof: args.sector_size.seal_proof(),
            ticket: Hash32([1; 32]),
        };
        Ok(Self { sector, files: SectorFiles { sealed: at("sealed"), cache: at("cache"), work: at("work") } })
    }

    fn replica(&self) -> Replica<'_> {
        let SectorRef { miner, number, proof, ticket } = self.sector;
        Replica { miner, number, proof, ticket, cache: &self.files.cache, sealed: &self.files.sealed }
    }

    fn by_seald(&self, job: &Job) -> Outcome<(Duration, protocol::Outcome)> {
        timed(|| Jobs::new(Prover::Real).run(job, &|_, _| {}).or_help(BROKEN))
    }

    fn precommit_by_seald(&self) -> Outcome<([Duration; 2], Sealed)> {
        let (sector, files) = (self.sector.clone(), self.files.clone());
        let (first, _) = self.by_seald(&Job::PreCommit1 { sector, files, fresh: false })?;
        let (sector, files) = (self.sector.clone(), self.files.clone());
        match self.by_seald(&Job::PreCommit2 { sector, files })? {
            (second, protocol::Outcome::PreCommit2 { sealed }) => Ok(([first, second], sealed)),
            (_, other) => Err(Failure::new(format!("PreCommit2 gave {other:?}"), "report this")),
        }
    }

    fn precommit_by_library(&self) -> Outcome<([Duration; 2], Sealed)> {
        for dir in [Some(self.files.cache.as_path()), self.files.sealed.parent()].into_iter().flatten() {
            fs::create_dir_all(dir).or_help(BROKEN)?;
        }
        fs::File::create(&self.files.sealed).or_help(BROKEN)?;
        let replica = self.replica();
        let (first, phase1) = timed(|| stages::precommit1(Prover::Real, &replica).or_help(BROKEN))?;
        let (second, sealed) = timed(|| stages::precommit2(Prover::Real, &replica, &phase1).or_help(BROKEN))?;
        Ok(([first, second], sealed))
    }

    fn commit_by_seald(&self, sealed: &Sealed) -> Outcome<Duration> {
        let (sector, files) = (self.sector.clone(), self.files.clone());
        self.by_seald(&Job::Commit { sector, files, sealed: sealed.clone(), seed: SEED }).map(|(took, _)| took)
    }

    fn commit_by_library(&self, sealed: &Sealed) -> Outcome<Duration> {
        let SectorRef { miner, number, proof, ticket } = self.sector;
        let statement =
            PoRep { miner, number, proof, comm_r: sealed.comm_r, comm_d: sealed.comm_d, ticket, seed: SEED };
        let prove = || {
            let vanilla = stages::vanilla(Prover::Real, &self.replica(), sealed, SEED).or_help(BROKEN)?;
            stages::snark(Prover::Real, &statement, &vanilla).or_help(BROKEN)
        };
        timed(prove).map(|(took, _)| took)
    }
}

fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let begun = clock::monotonic();
    let result = work()?;
    Ok((begun.elapsed(), result))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// To the microsecond.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn ratio(of: Duration, by: Duration) -> f64 {
    if by.is_zero() { 0.0 } else { (of.as_secs_f64() / by.as_secs_f64() * 1e4).round() / 1e4 }
}

impl Waiting {
    fn of(sums: &Scheduling) -> Self {
        let mean = |us: u64, of: u64| Duration::from_micros(us.checked_div(of).unwrap_or(0));
        let (wait, task) = (mean(sums.wait_us, sums.tasks), mean(sums.busy_us, sums.done));
        Self {
            tasks: sums.tasks,
            mean_ms: ms(wait),
            longest_ms: ms(Duration::from_micros(sums.longest_wait_us)),
            limit_ms: LIMIT_MS,
            task_ms: ms(task),
            ratio: ratio(wait, task),
        }
    }
}

impl Compared {
    fn new(stage: Stage, size: SectorSize, ours: Duration, library: Duration) -> Self {
        let ratio = ratio(ours, library);
        Self { stage: stage.as_str(), size, ours_ms: ms(ours), library_ms: ms(library), ratio }
    }
}

impl Report {
    fn render(&self) -> String {
        let Waiting { tasks, mean_ms, longest_ms, limit_ms, task_ms, ratio } = &self.scheduling;
        let mut text = format!(
            "scheduling: a free worker waited {mean_ms:.1} ms for its task, {longest_ms:.1} ms at the longest \
             (limit {limit_ms} ms)\n{tasks} tasks of {task_ms:.1} ms each: the wait is {:.1} % of the work\n",
            ratio * 100.0
        );
        if self.stages.is_empty() {
            text.push_str("stages: not measured, this seald was built without the cargo feature `proofs`\n");
            return text;
        }
        text.push_str("\nstage        size      seald ms  library ms    ratio\n");
        for Compared { stage, size, ours_ms, library_ms, ratio } in &self.stages {
            let size = size.to_string();
            text.push_str(&format!("{stage:<12} {size:<6} {ours_ms:>11.1} {library_ms:>11.1} {ratio:>8.2}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_ratios_to_a_baseline_of_the_same_run() {
        let sums = Scheduling { tasks: 4, wait_us: 8_000, longest_wait_us: 5_500, done: 2, busy_us: 80_000 };
        let ms = Duration::from_millis;
        let stages = vec![Compared::new(Stage::PreCommit1, SectorSize::KiB2, ms(30), ms(20))];
        let report = Report { format_version: FORMAT_VERSION, scheduling: Waiting::of(&sums), stages };
        assert_eq!(
            report.render(),
            "scheduling: a free worker waited 2.0 ms for its task, 5.5 ms at the longest (limit 100 ms)\n\
             4 tasks of 40.0 ms each: the wait is 5.0 % of the work\n\n\
             stage        size      seald ms  library ms    ratio\n\
             precommit1   2KiB          30.0        20.0     1.50\n"
        );
        assert_eq!(median(vec![ms(9), ms(1), ms(5)]), ms(5));
        assert_eq!(Waiting::of(&Scheduling::default()).ratio, 0.0, "nothing done is no division by zero");
    }
}
