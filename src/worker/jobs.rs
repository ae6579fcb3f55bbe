//! The sealing stages, and every rule about their files: what may be reused, what is restored, what goes.
//!
//! Each stage can be killed at any moment and run again: an output is removed before the files it speaks of are
//! touched, and written after they are synced. Which prover does the heavy part changes nothing here.

use super::{
    aggregate::aggregate,
    files::{self, Doing},
    finalize::finalize,
    folder::{Folder, Kept, Key, Standing},
    ledger::Ledger,
    protocol::{Job, Outcome, SectorFiles, SectorRef},
    remove::remove,
};
use crate::{
    error::Chain,
    proofs::{
        self, PoRep, ProofError, Prover, layout,
        params::{self, FileState, ParamFile, ParamsError, Progress, Purpose},
        stages::{self, Replica},
        zero_comm_d,
    },
    sector::{Class, Sealed},
    units::{Hash32, SectorSize, from_hex, to_hex},
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use std::{
    fs::File,
    path::Path,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct JobError {
    /// What kind of thing failed.
    pub class: Class,
    /// The error with its causes.
    pub error: String,
}

impl JobError {
    /// An error of this class.
    pub fn new(class: Class, error: impl Into<String>) -> Self {
        Self { class, error: error.into() }
    }
}

impl From<ProofError> for JobError {
    fn from(error: ProofError) -> Self {
        Self { class: error.class, error: error.to_string() }
    }
}

/// Takes the name of the present step and how far the job is, in thousandths.
pub type Say<'a> = &'a (dyn Fn(&str, u16) + Sync);

/// How often progress is read off the files while the library works.
const POLL: Duration = Duration::from_millis(500);

/// How often a finished layer is looked for: what is lost at most when one goes unrecorded.
const LOOK_FOR_LAYERS: Duration = Duration::from_millis(100);

/// Looks for layers from one report of progress to the next.
const TELL_EACH: u32 = 5;

/// Vanilla proofs that a new replica must pass, each for challenges of its own: 180 nodes in production sizes, 2 in the
/// test sizes. Each node is checked in every layer with the label it should have, in the replica, and in the trees. So
/// a layer without content, or a part of one, is found: of one in which a hundredth of the labels is wrong not even 1
/// in 200 passes in production sizes. A single wrong byte is not; Lotus checks as many. Costs a C1 each.
const SELF_CHECKS: [u8; 3] = [0, 1, 2];

/// Runs jobs, one after the other.
#[derive(Debug)]
pub struct Jobs {
    prover: Prover,
    /// Processor milliseconds of the last SNARK; 0 before the first. Its progress can only be told from this.
    last_snark_ms: AtomicU64,
    /// The present job goes on from what an earlier attempt left, or finds everything there.
    resumed: AtomicBool,
}

impl Jobs {
    /// Jobs done with this prover.
    pub const fn new(prover: Prover) -> Self {
        Self { prover, last_snark_ms: AtomicU64::new(0), resumed: AtomicBool::new(false) }
    }

    /// Runs one job to its end. Blocks; may panic where the library does.
    ///
    /// # Errors
    /// [`JobError`]; the files are then such that the same job can be run again.
    pub fn run(&self, job: &Job, say: Say<'_>) -> Result<Outcome, JobError> {
        self.resumed.store(false, Ordering::Relaxed);
        match job {
            Job::PreCommit1 { sector, files, fresh } => self.precommit1(sector, files, *fresh, say),
            Job::PreCommit2 { sector, files } => self.precommit2(sector, files, say),
            Job::Commit { sector, files, sealed, seed } => self.commit(sector, files, sealed, *seed, say),
            Job::Finalize { sector, files, to } => {
                self.resumes(Folder::is_of_finished(&files.work));
                finalize(sector, files, to, say)
            }
            Job::Aggregate { miner, proof, sectors } => aggregate(self.prover, *miner, *proof, sectors, say),
            Job::Remove { miner, number, files } => remove(*miner, *number, files, say),
            Job::Params { size, mirror } => self.params(*size, mirror.as_deref(), say),
        }
    }

    /// Whether the last job did all of its work, so that what it took says what such a job takes.
    pub fn did_all(&self) -> bool {
        !self.resumed.load(Ordering::Relaxed)
    }

    fn resumes(&self, is_so: bool) {
        self.resumed.fetch_or(is_so, Ordering::Relaxed);
    }

    fn precommit1(
        &self,
        sector: &SectorRef,
        files: &SectorFiles,
        fresh: bool,
        say: Say<'_>,
    ) -> Result<Outcome, JobError> {
        let size = sector.proof.sector_size();
        make_directories(files)?;
        let folder = Folder::open(&files.work)?;
        folder.refuse_finalized()?;
        match folder.standing(sector)? {
            Standing::Same if !fresh => {}
            Standing::Same | Standing::Stale => wipe(&folder, sector, files)?,
            Standing::Unclaimed => {
                refuse_strangers(files)?;
                wipe(&folder, sector, files)?;
            }
        }
        let key = Key::of_replica(sector);
        if folder.kept(Kept::PreCommit1, &key)?.is_some() && layers_are_whole(&files.cache, size) {
            self.resumes(true);
            return Ok(Outcome::PreCommit1);
        }
        folder.forget(&[Kept::PreCommit1, Kept::PreCommit2, Kept::Vanilla, Kept::Proof])?;
        let replica = replica(sector, files);
        say("checking layers", 0);
        let mut ledger = Ledger::open(self.prover, &folder, replica)?;
        self.resumes(ledger.valid_layers() > 0);
        // the library extends the file and takes what is in it as data
        File::create(&files.sealed).doing("cannot empty", &files.sealed)?;
        let (mut trouble, mut polls) = (Ok(()), 0u32);
        let poll = || {
            let before = ledger.valid_layers();
            if trouble.is_ok() {
                trouble = ledger.catch_up();
            }
            if polls.is_multiple_of(TELL_EACH) || ledger.valid_layers() > before {
                tell_layers(&ledger, &replica, say);
            }
            polls = polls.wrapping_add(1);
        };
        let output = watched(LOOK_FOR_LAYERS, poll, || stages::precommit1(self.prover, &replica))?;
        trouble?;
        ledger.catch_up()?;
        say("syncing", 990);
        sync(files)?;
        folder.keep(Kept::PreCommit1, &key, &output)?;
        Ok(Outcome::PreCommit1)
    }

    fn precommit2(&self, sector: &SectorRef, files: &SectorFiles, say: Say<'_>) -> Result<Outcome, JobError> {
        let size = sector.proof.sector_size();
        let folder = open_claimed(sector, files)?;
        let key = Key::of_replica(sector);
        if let Some(sealed) = kept_commitments(&folder, &key)?
            && replica_is_whole(files, size)
        {
            self.resumes(true);
            return Ok(Outcome::PreCommit2 { sealed });
        }
        let phase1 = folder.kept(Kept::PreCommit1, &key)?.filter(|_| layers_are_whole(&files.cache, size));
        let phase1 = phase1.ok_or_else(|| {
            JobError::new(Class::Data, format!("the layers in {} are not whole", files.cache.display()))
        })?;
        folder.forget(&[Kept::PreCommit2, Kept::Vanilla, Kept::Proof])?;
        say("restoring the sealed file", 0);
        restore(files, size)?;
        let replica = replica(sector, files);
        let poll = || tell_trees(&files.cache, size, say);
        let sealed = watched(POLL, poll, || stages::precommit2(self.prover, &replica, &phase1))?;
        if sealed.comm_d != zero_comm_d(size) {
            return Err(JobError::new(Class::Data, format!("CommD is {}, not that of zeros", sealed.comm_d)));
        }
        self.self_check(&replica, &sealed, say)?;
        say("syncing", 980);
        sync(files)?;
        let text = serde_json::to_vec(&sealed).map_err(|error| JobError::new(Class::Worker, error.to_string()))?;
        folder.keep(Kept::PreCommit2, &key, &text)?;
        Ok(Outcome::PreCommit2 { sealed })
    }

    /// Proves some random challenges before a deposit depends on the replica; see [`SELF_CHECKS`].
    fn self_check(&self, replica: &Replica<'_>, sealed: &Sealed, say: Say<'_>) -> Result<(), JobError> {
        for (round, done) in SELF_CHECKS.into_iter().zip(960..) {
            say("self-check", done);
            // CommR stands for every byte that counts, so that other bytes meet other challenges
            let seed = files::hash_of_bytes(&[&sealed.comm_r.0[..], &[round]].concat());
            stages::vanilla(self.prover, replica, sealed, seed).map_err(|ProofError { class, doing, why }| {
                let text = "the replica does not pass its self-check; where it repeats, suspect the worker's memory";
                JobError::new(class, format!("{text} ({doing}: {why})"))
            })?;
        }
        Ok(())
    }

    fn commit(
        &self,
        sector: &SectorRef,
        files: &SectorFiles,
        sealed: &Sealed,
        seed: Hash32,
        say: Say<'_>,
    ) -> Result<Outcome, JobError> {
        let folder = open_claimed(sector, files)?;
        if kept_commitments(&folder, &Key::of_replica(sector))?.as_ref() != Some(sealed) {
            return Err(JobError::new(Class::Data, format!("{} holds another replica", files.sealed.display())));
        }
        let statement = statement(sector, sealed, seed);
        let key = Key::of_proof(sector, sealed, seed);
        if let Some(proof) = folder.kept(Kept::Proof, &key)?.and_then(|text| proof_bytes(&text))
            && proofs::verify_porep(self.prover, &statement, &proof)?
        {
            self.resumes(true);
            return Ok(Outcome::Commit { porep: to_hex(&proof) });
        }
        let vanilla = match folder.kept(Kept::Vanilla, &key)? {
            Some(vanilla) => {
                self.resumes(true);
                vanilla
            }
            None => {
                say("vanilla proof", 10);
                let vanilla = stages::vanilla(self.prover, &replica(sector, files), sealed, seed)?;
                folder.keep(Kept::Vanilla, &key, &vanilla)?;
                vanilla
            }
        };
        let size = sector.proof.sector_size();
        self.require_parameters(size)?;
        let proof = match self.verified_snark(&statement, &vanilla, say) {
            Ok(proof) => proof,
            Err(error) => {
                let error = self.blame(size, error);
                if error.class == Class::Worker {
                    folder.forget(&[Kept::Vanilla])?;
                }
                return Err(error);
            }
        };
        let porep = to_hex(&proof);
        folder.keep(Kept::Proof, &key, porep.as_bytes())?;
        Ok(Outcome::Commit { porep })
    }

    /// Parameters that are missing or cut short end the library in a panic, or tell nobody what is missing.
    fn require_parameters(&self, size: SectorSize) -> Result<(), JobError> {
        match self.prover {
            Prover::Simulated => Ok(()),
            Prover::Real => {
                let lacking = params::lacking(size, &params::default_dir())
                    .map_err(|error| JobError::new(error.class(), Chain(&error).to_string()))?;
                let of_porep = lacking.into_iter().find(|file| file.purpose == Purpose::PoRep);
                of_porep.map_or(Ok(()), |file| Err(bad_parameters(&file, "missing or cut short")))
            }
        }
    }

    fn verified_snark(&self, statement: &PoRep, vanilla: &[u8], say: Say<'_>) -> Result<Vec<u8>, JobError> {
        let proof = self.snark(statement, vanilla, say)?;
        say("verifying", 970);
        if proofs::verify_porep(self.prover, statement, &proof)? {
            return Ok(proof);
        }
        Err(JobError::new(
            Class::Worker,
            "the proof that was made does not verify; where it repeats, suspect the memory",
        ))
    }

    /// What is really to blame for a proof that did not come out: damaged parameters, when they are. The sector never
    /// is, its vanilla proof was checked. Reads all parameters of the size, about a second a gigabyte.
    fn blame(&self, size: SectorSize, error: JobError) -> JobError {
        if error.class == Class::Resource || self.prover == Prover::Simulated {
            return error;
        }
        let reports = params::check(size, &params::default_dir()).unwrap_or_default();
        let damaged = reports.into_iter().find_map(|report| match report.state {
            FileState::Corrupt { why } if report.file.purpose == Purpose::PoRep => Some((report.file, why)),
            FileState::Corrupt { .. } | FileState::Missing | FileState::Good(_) => None,
        });
        damaged.map_or(error, |(file, why)| bad_parameters(&file, &why))
    }

    /// The library tells nothing while it works, so progress is the share of processor time that the last one took:
    /// unlike wall time it stands still when the machine does something else. Without a last one it is what was
    /// measured for the sector size, and where nothing was measured it stays where it is.
    fn snark(&self, statement: &PoRep, vanilla: &[u8], say: Say<'_>) -> Result<Vec<u8>, JobError> {
        let begun = processor_ms();
        let last = match self.last_snark_ms.load(Ordering::Relaxed) {
            0 => first_snark_ms(statement.proof.sector_size()),
            last => last,
        };
        let spent = || processor_ms().saturating_sub(begun);
        let poll = || say("SNARK", share(spent(), last, 100, 950));
        say("SNARK", 100);
        let proof = watched(POLL, poll, || stages::snark(self.prover, statement, vanilla))?;
        self.last_snark_ms.store(spent(), Ordering::Relaxed);
        Ok(proof)
    }

    fn params(&self, size: SectorSize, mirror: Option<&str>, say: Say<'_>) -> Result<Outcome, JobError> {
        match self.prover {
            Prover::Simulated => Ok(Outcome::Params),
            Prover::Real => run_params(size, mirror, say),
        }
    }
}

/// Processor milliseconds of a SNARK without a GPU, where they were measured.
const fn first_snark_ms(size: SectorSize) -> u64 {
    match size {
        SectorSize::KiB2 => 95_000,
        SectorSize::MiB8 | SectorSize::MiB512 | SectorSize::GiB32 | SectorSize::GiB64 => 0,
    }
}

/// Processor time of this process so far, all threads, milliseconds; 0 when the system does not say.
fn processor_ms() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF);
    let ms = usage.map_or(0, |usage| usage.user_time().num_milliseconds());
    u64::try_from(ms).unwrap_or(0)
}

/// Makes the Groth parameters available.
fn run_params(size: SectorSize, mirror: Option<&str>, say: Say<'_>) -> Result<Outcome, JobError> {
    let dir = params::default_dir();
    let told = |progress: Progress| say(&progress.step, progress.permille);
    let made = match mirror {
        // ends with the process: a fetch goes on where it was, a generation leaves nothing half made
        None => params::generate(size, &dir, &told, &AtomicBool::new(false)),
        Some(mirror) => fetch(size, &dir, mirror, &told),
    };
    made.map(|()| Outcome::Params).map_err(|error| JobError::new(error.class(), Chain(&error).to_string()))
}

fn fetch(size: SectorSize, dir: &Path, mirror: &str, report: params::Report<'_>) -> Result<(), ParamsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let io = |source| ParamsError::Io { doing: "start fetching into", path: dir.to_owned(), source };
    runtime.map_err(io)?.block_on(params::fetch(size, dir, mirror, report))
}

fn bad_parameters(file: &ParamFile, why: &str) -> JobError {
    let what = format!("the parameter file {} is no good ({why}): `seald params check` tells how to get it", file.name);
    JobError::new(Class::Environment, what)
}

/// What the proof of this sector says.
fn statement(sector: &SectorRef, sealed: &Sealed, seed: Hash32) -> PoRep {
    let SectorRef { miner, number, proof, ticket } = *sector;
    PoRep { miner, number, proof, comm_r: sealed.comm_r, comm_d: sealed.comm_d, ticket, seed }
}

fn replica<'a>(sector: &SectorRef, files: &'a SectorFiles) -> Replica<'a> {
    let SectorRef { miner, number, proof, ticket } = *sector;
    Replica { miner, number, proof, ticket, cache: &files.cache, sealed: &files.sealed }
}

/// Runs `work` while another thread calls `poll` each time this has passed.
fn watched<T>(each: Duration, mut poll: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (working, ended) = mpsc::sync_channel::<()>(0);
        scope.spawn(move || {
            while ended.recv_timeout(each) == Err(RecvTimeoutError::Timeout) {
                poll();
            }
        });
        let result = work();
        drop(working);
        result
    })
}

/// `from` to `to`, as far as `done` is of `whole`; `from` when `whole` is not known.
fn share(done: u64, whole: u64, from: u16, to: u16) -> u16 {
    let span = u64::from(to.saturating_sub(from));
    let part = done.min(whole).saturating_mul(span).checked_div(whole).unwrap_or(0);
    from.saturating_add(u16::try_from(part).unwrap_or(0))
}

/// Directories below a repo are made; the repo itself must be there.
pub(super) fn make_directories(files: &SectorFiles) -> Result<(), JobError> {
    let SectorFiles { sealed, cache, work } = files;
    for directory in [sealed.parent(), cache.parent(), Some(cache.as_path()), work.parent(), Some(work.as_path())] {
        directory.map_or(Ok(()), files::make_directory)?;
    }
    Ok(())
}

/// The work folder of a sector that is being sealed with this ticket.
fn open_claimed(sector: &SectorRef, files: &SectorFiles) -> Result<Folder, JobError> {
    let folder = Folder::open(&files.work)?;
    folder.refuse_finalized()?;
    if folder.standing(sector)? == Standing::Same {
        return Ok(folder);
    }
    Err(JobError::new(Class::Data, format!("{} holds no files of this sector and ticket", files.work.display())))
}

/// Files that nobody claims may be the remains of an attempt, but a sealed sector without a claim came from elsewhere.
fn refuse_strangers(files: &SectorFiles) -> Result<(), JobError> {
    let aux = files.cache.join(layout::P_AUX);
    if files::length(&aux).is_none() {
        return Ok(());
    }
    let what = format!("{} is of a sector that was not sealed here: move it away", aux.display());
    Err(JobError::new(Class::Environment, what))
}

/// Empties cache, sealed file and work folder of a sector. If it is cut short, the claim still says so.
fn wipe(folder: &Folder, sector: &SectorRef, files: &SectorFiles) -> Result<(), JobError> {
    folder.claim(sector, true)?;
    files::remove_all(&files.cache)?;
    files::remove(&files.sealed)?;
    files::make_directory(&files.cache)?;
    files::sync_parent(&files.sealed)?;
    folder.forget(&[Kept::PreCommit1, Kept::PreCommit2, Kept::Vanilla, Kept::Proof])?;
    folder.record_layers(&[])?;
    folder.claim(sector, false)
}

fn kept_commitments(folder: &Folder, key: &Key) -> Result<Option<Sealed>, JobError> {
    Ok(folder.kept(Kept::PreCommit2, key)?.and_then(|text| serde_json::from_slice(&text).ok()))
}

pub(super) fn proof_bytes(text: &[u8]) -> Option<Vec<u8>> {
    from_hex(std::str::from_utf8(text).ok()?)
}

fn layers_are_whole(cache: &Path, size: SectorSize) -> bool {
    let layers = (1..=size.layers()).map(|number| (layout::layer(number), layout::layer_bytes(size)));
    layers
        .chain([(layout::TREE_D.to_owned(), layout::tree_d_bytes(size))])
        .all(|(name, bytes)| files::length(&cache.join(name)) == Some(bytes))
}

fn replica_is_whole(files: &SectorFiles, size: SectorSize) -> bool {
    let trees = layout::tree_c(size).into_iter().chain(layout::tree_r_last(size));
    files::length(&files.sealed) == Some(size.bytes().as_u64())
        && layers_are_whole(&files.cache, size)
        && trees.chain([layout::P_AUX.to_owned()]).all(|name| files::length(&files.cache.join(name)).is_some())
}

/// PreCommit2 encodes the sealed file in place: before a repetition the file must be zeros again.
fn restore(files: &SectorFiles, size: SectorSize) -> Result<(), JobError> {
    for name in files::names(&files.cache)?.iter().filter(|name| layout::is_of_precommit2(name)) {
        files::remove(&files.cache.join(name))?;
    }
    files::zeros(&files.sealed, size.bytes().as_u64())
}

fn sync(files: &SectorFiles) -> Result<(), JobError> {
    files::sync_all_in(&files.cache)?;
    files::sync(&files.sealed)?;
    files::sync_parent(&files.sealed)?;
    files::sync_parent(&files.cache)
}

fn tell_trees(cache: &Path, size: SectorSize, say: Say<'_>) {
    let filled = |names: Vec<String>| names.iter().map(|name| files::filled(&cache.join(name))).sum::<u64>();
    let parts = u64::try_from(layout::tree_c(size).len()).unwrap_or(0);
    if filled(layout::tree_r_last(size)) == 0 {
        let whole = layout::tree_c_bytes(size).saturating_mul(parts);
        say("tree-c", share(filled(layout::tree_c(size)), whole, 10, 700));
    } else {
        let whole = layout::tree_r_last_bytes(size).saturating_mul(parts);
        say("tree-r-last", share(filled(layout::tree_r_last(size)), whole, 700, 950));
    }
}

fn tell_layers(ledger: &Ledger<'_>, replica: &Replica<'_>, say: Say<'_>) {
    let size = replica.proof.sector_size();
    let (done, layers) = (ledger.valid_layers(), size.layers());
    let tree_d = share(files::filled(&replica.cache.join(layout::TREE_D)), layout::tree_d_bytes(size), 0, 50);
    if tree_d < 50 && done == 0 {
        say("tree-d", tree_d);
    } else {
        let step = format!("layer {} of {layers}", done.saturating_add(1).min(layers));
        say(&step, share(u64::from(done), u64::from(layers), 50, 980));
    }
}

#[cfg(test)]
pub(super) mod tests;
