//! The program as a worker, spoken to as the daemon does: killed in the middle of real layers, and given parameters
//! that are missing or damaged.

use seald::{
    sector::{Class, Sealed},
    units::{Hash32, MinerId, SectorNumber, SectorSize, UnixMillis},
    worker::protocol::{Job, Order, Outcome, Report, SectorFiles, SectorRef},
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

/// A report that does not come within this time is a failure; a worker beats its heart each second.
const SILENCE: Duration = Duration::from_secs(60);

struct Worker {
    child: Child,
    reports: BufReader<UnixStream>,
}

impl Worker {
    /// With the real prover and this environment only.
    fn start(env: &[(&str, &Path)]) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(SILENCE)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_seald"));
        command.args(["worker", "--slot", "cpu", "--instance", "0", "--prover", "real"]);
        command.env_clear().envs(env.iter().copied()).stdin(Stdio::from(OwnedFd::from(theirs)));
        Self { child: command.spawn().unwrap(), reports: BufReader::new(ours) }
    }

    fn order(&mut self, job: &Job) {
        let order = serde_json::to_string(&Order::Run {
            task: 1,
            job: job.clone(),
            note: String::new(),
            deadline: UnixMillis::default(),
        })
        .unwrap();
        writeln!(self.reports.get_mut(), "{order}").unwrap();
    }

    fn report(&mut self) -> Report {
        let mut line = String::new();
        self.reports.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The end of a job, and everything that was told before it.
    fn run(&mut self, job: &Job) -> (Result<Outcome, (Class, String)>, Vec<String>) {
        self.order(job);
        let mut steps = Vec::new();
        loop {
            match self.report() {
                Report::Hello { .. } | Report::Heartbeat => {}
                Report::Progress { step, .. } => steps.push(step),
                Report::Done { outcome, .. } => return (Ok(outcome), steps),
                Report::Failed { class, error, .. } => return (Err((class, error)), steps),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A sector of zeros below a folder.
struct Site {
    files: SectorFiles,
    sector: SectorRef,
}

impl Site {
    fn new(repo: &Path, size: SectorSize) -> Self {
        let at = |kind: &str| repo.join(kind).join("s-t01000-7");
        let files = SectorFiles { sealed: at("sealed"), cache: at("cache"), work: at("work") };
        let (miner, number) = (MinerId::new(1000), SectorNumber::try_from(7).unwrap());
        Self { files, sector: SectorRef { miner, number, proof: size.seal_proof(), ticket: Hash32([1; 32]) } }
    }

    fn precommit1(&self) -> Job {
        Job::PreCommit1 { sector: self.sector.clone(), files: self.files.clone(), fresh: false }
    }

    fn seal(&self, worker: &mut Worker) -> Sealed {
        worker.run(&self.precommit1()).0.unwrap();
        let precommit2 = Job::PreCommit2 { sector: self.sector.clone(), files: self.files.clone() };
        let Ok(Outcome::PreCommit2 { sealed }) = worker.run(&precommit2).0 else { panic!("not sealed") };
        sealed
    }

    fn layer(&self, number: u32) -> PathBuf {
        self.files.cache.join(format!("sc-02-data-layer-{number}.dat"))
    }

    fn modified(&self, layer: u32) -> SystemTime {
        fs::metadata(self.layer(layer)).unwrap().modified().unwrap()
    }

    /// Layers that the ledger knows.
    fn entries(&self) -> usize {
        let text = fs::read(self.files.work.join("layers.json")).unwrap_or_default();
        serde_json::from_slice::<Vec<serde_json::Value>>(&text).map_or(0, |entries| entries.len())
    }
}

/// Whether the first layer is finished, or all is over.
fn is_told_or_over(report: &Report) -> bool {
    match report {
        Report::Progress { step, .. } => step == "layer 2 of 2",
        Report::Done { .. } | Report::Failed { .. } => true,
        Report::Hello { .. } | Report::Heartbeat => false,
    }
}

// matrix: B4, B7, F1
#[test]
fn a_sector_killed_during_pc1_of_an_8_mib_sector_resumes_with_at_most_one_layer_repeated() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (undisturbed, killed) = (Site::new(one.path(), SectorSize::MiB8), Site::new(other.path(), SectorSize::MiB8));
    let mut worker = Worker::start(&[]);
    let sealed = undisturbed.seal(&mut worker);
    drop(worker);

    // a machine may finish the second layer between the report of the first and the kill: then it begins again
    let cut_short = (0..20).any(|_| {
        let mut worker = Worker::start(&[]);
        let Job::PreCommit1 { sector, files, .. } = killed.precommit1() else { unreachable!() };
        worker.order(&Job::PreCommit1 { sector, files, fresh: true });
        while !is_told_or_over(&worker.report()) {}
        drop(worker);
        killed.entries() == 1 && !killed.files.work.join("pc1.json").exists()
    });
    assert!(cut_short, "it was never killed in the second layer");
    let first = killed.modified(1);

    let mut worker = Worker::start(&[]);
    let (result, steps) = worker.run(&killed.precommit1());
    assert_eq!(result, Ok(Outcome::PreCommit1));
    assert_eq!(killed.modified(1), first, "the first layer was kept: {steps:?}");
    assert!(!steps.iter().any(|step| step == "layer 1 of 2"), "{steps:?}");
    for layer in [1, 2] {
        let same = fs::read(killed.layer(layer)).unwrap() == fs::read(undisturbed.layer(layer)).unwrap();
        assert!(same, "layer {layer} is another");
    }
    assert_eq!(killed.seal(&mut worker), sealed);
}

/// A folder in which every parameter file is a link to the machine's, `None` where there are none to link to.
fn linked_parameters(folder: &Path) -> Option<PathBuf> {
    let real = Path::new("/var/tmp/filecoin-proof-parameters");
    let mut of_porep = None;
    for entry in fs::read_dir(real).ok()? {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("v28-") {
            std::os::unix::fs::symlink(&path, folder.join(&name)).unwrap();
        }
        // the proof of replication of 2 KiB sectors
        if name.contains("032d3138d22506ec") && name.ends_with(".params") {
            of_porep = Some(folder.join(&name));
        }
    }
    of_porep
}

/// A copy of the proving parameters with their true counts and no points in between: no disk is filled.
fn without_points(real: &Path, copy: &Path) {
    use std::os::unix::fs::FileExt as _;
    let (from, to) = (fs::File::open(real).unwrap(), fs::File::create(copy).unwrap());
    let take = |at: u64, length: usize| {
        let mut bytes = vec![0; length];
        from.read_exact_at(&mut bytes, at).unwrap();
        to.write_all_at(&bytes, at).unwrap();
        bytes
    };
    // the verifying key's own points, its list, then five lists; a list is its length and its points
    let mut at = 864;
    take(0, 864);
    for (place, point) in [96, 96, 96, 96, 96, 192].into_iter().enumerate() {
        let count = u64::from(u32::from_be_bytes(take(at, 4).try_into().unwrap()));
        if place == 0 {
            take(at + 4, usize::try_from(count * point).unwrap());
        }
        at += 4 + count * point;
    }
    assert_eq!(at, fs::metadata(real).unwrap().len());
    to.set_len(at).unwrap();
}

// matrix: E11
#[test]
fn parameters_that_are_missing_cut_short_or_damaged_are_never_the_sectors_fault() {
    let (repo, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(params) = linked_parameters(folder.path()) else {
        assert!(std::env::var_os("CI").is_none(), "the Groth parameters of 2KiB sectors are missing");
        eprintln!("SKIPPED: the Groth parameters of 2KiB sectors are missing");
        return;
    };
    let site = Site::new(repo.path(), SectorSize::KiB2);
    let sealed = site.seal(&mut Worker::start(&[]));
    let (sector, files) = (site.sector.clone(), site.files.clone());
    let commit = Job::Commit { sector, files, sealed, seed: Hash32([9; 32]) };
    let real = fs::read_link(&params).unwrap();
    let damages: [(&str, &dyn Fn()); 3] = [
        ("missing", &|| ()),
        ("cut short", &|| {
            let mut head = vec![0; 1 << 20];
            std::io::Read::read_exact(&mut fs::File::open(&real).unwrap(), &mut head).unwrap();
            fs::write(&params, head).unwrap();
        }),
        ("digest", &|| without_points(&real, &params)),
    ];
    for (words, damage) in damages {
        fs::remove_file(&params).unwrap_or_default();
        damage();
        let mut worker = Worker::start(&[("FIL_PROOFS_PARAMETER_CACHE", folder.path())]);
        let (result, _) = worker.run(&commit);
        let (class, error) = result.unwrap_err();
        assert_eq!(class, Class::Environment, "{words}: {error}");
        assert!(error.contains("seald params check"), "{words}: {error}");
        assert!(site.files.cache.join("p_aux").exists() && !site.files.work.join("proof.json").exists());
    }
}
