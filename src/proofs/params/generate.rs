//! Makes the parameter sets of a test size: which circuits, in which files, one process at a time. The mathematics is
//! in `synthesis`, `fixed_base` and `setup`.

use super::{
    Kind, ParamFile, ParamsError, Purpose, Report, at, can_generate, catalog, check,
    files::{self, Marker},
    progress::Meter,
    secret::Trapdoor,
    setup, srs,
    synthesis::{self, Counts},
};
use crate::{
    proofs::real::registered,
    units::{Bytes, SectorSize},
};
use bellperson::{Circuit, ConstraintSystem, SynthesisError, groth16::VerifyingKey};
use blstrs::{Bls12, Scalar};
use filecoin_proofs::{
    DefaultPieceHasher, SectorShapeBase,
    parameters::{public_params, window_post_public_params, winning_post_public_params},
};
use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Write},
    path::Path,
    sync::atomic::AtomicBool,
    time::Duration,
};
use storage_proofs_core::{compound_proof::CompoundProof, parameter_cache::CacheEntryMetadata};
use storage_proofs_porep::stacked::{StackedCircuit, StackedCompound, StackedDrg};
use storage_proofs_post::fallback::{FallbackPoSt, FallbackPoStCircuit, FallbackPoStCompound};

/// Nanoseconds of work, measured at 2.6 GHz; only their ratio matters. A variable evaluated, on one core whatever the
/// machine has; a point in each group, on all cores.
const EVALUATE: u64 = 560;
const FIRST_GROUP: u64 = 5_200;
const SECOND_GROUP: u64 = 12_000;
/// How often a waiting process looks whether the other has ended.
const LOCK_EVERY: Duration = Duration::from_millis(200);

/// Makes the parameters of a test size in `dir`; those present stay when [`check`](super::check()) calls them good.
/// Blocks for about a minute of all cores; a second process waits for the first and then finds its files.
///
/// `report` hears of progress at least once a second while there is some; `cancel` stops within about as long.
/// Whatever happens, a file is either complete under its name or not there.
///
/// # Errors
/// [`ParamsError::NotMadeHere`] for production sizes; otherwise what [`ParamsError::remedy`] says.
pub fn generate(size: SectorSize, dir: &Path, report: Report<'_>, cancel: &AtomicBool) -> Result<(), ParamsError> {
    if !can_generate(size) {
        return Err(ParamsError::NotMadeHere { size });
    }
    let files = catalog::files(size)?;
    let mut sets = Vec::new();
    for purpose in [Purpose::PoRep, Purpose::WindowPost, Purpose::WinningPost] {
        let of = |kind| files.iter().find(|file| file.purpose == purpose && file.kind == kind).cloned();
        if let (Some(params), Some(key)) = (of(Kind::Parameters), of(Kind::VerifyingKey)) {
            sets.push(Set {
                purpose,
                params,
                key,
                sector_size: size.bytes(),
                blank: Box::new(move || blank(size, purpose)),
            });
        }
    }
    let meter = Meter::new(report, cancel);
    make(&sets, dir, &format!(".seald-{size}.lock"), &meter)?;
    files.iter().filter(|file| file.kind == Kind::Srs).try_for_each(|file| srs::make(file, dir, &meter))
}

/// One parameter set to make.
struct Set<C> {
    purpose: Purpose,
    params: ParamFile,
    key: ParamFile,
    sector_size: Bytes,
    blank: Box<dyn Fn() -> Result<C, ParamsError>>,
}

/// A circuit of one of the three proofs, without its witness.
enum Blank {
    PoRep(StackedCircuit<SectorShapeBase, DefaultPieceHasher>),
    Post(FallbackPoStCircuit<SectorShapeBase>),
}

impl Circuit<Scalar> for Blank {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        match self {
            Self::PoRep(circuit) => circuit.synthesize(cs),
            Self::Post(circuit) => circuit.synthesize(cs),
        }
    }
}

/// The circuit with the public parameters that the library itself proves with. All test sizes have one tree shape.
fn blank(size: SectorSize, purpose: Purpose) -> Result<Blank, ParamsError> {
    type Stacked = StackedCompound<SectorShapeBase, DefaultPieceHasher>;
    type Fallback = FallbackPoStCompound<SectorShapeBase>;
    let refused = |error: &dyn std::fmt::Display| library(purpose, format!("{error:#}"));
    if purpose == Purpose::PoRep {
        let public =
            public_params::<SectorShapeBase>(&registered(size.seal_proof()).as_v1_config()).map_err(|e| refused(&e))?;
        type Scheme<'a> = StackedDrg<'a, SectorShapeBase, DefaultPieceHasher>;
        return Ok(Blank::PoRep(<Stacked as CompoundProof<Scheme<'_>, _>>::blank_circuit(&public)));
    }
    let config = catalog::post_proof(size, purpose).as_v1_config();
    let public = if purpose == Purpose::WinningPost {
        winning_post_public_params::<SectorShapeBase>(&config)
    } else {
        window_post_public_params::<SectorShapeBase>(&config)
    };
    type Scheme<'a> = FallbackPoSt<'a, SectorShapeBase>;
    Ok(Blank::Post(<Fallback as CompoundProof<Scheme<'_>, _>>::blank_circuit(&public.map_err(|e| refused(&e))?)))
}

fn library(purpose: Purpose, why: String) -> ParamsError {
    ParamsError::Library { purpose: purpose.as_str(), why }
}

/// Makes the sets that are not there yet, in order, while holding the lock.
fn make<C: Circuit<Scalar>>(sets: &[Set<C>], dir: &Path, lock: &str, meter: &Meter<'_>) -> Result<(), ParamsError> {
    files::make_room(dir, Bytes::default())?;
    let _lock = hold(&dir.join(lock), meter)?;
    let mut missing = Vec::new();
    for set in sets {
        meter.advance("looking at the files that are there", 0);
        let pair = vec![set.params.clone(), set.key.clone()];
        let reports = check::check_files(pair, dir, true)?;
        if !reports.iter().all(|report| matches!(report.state, super::FileState::Good(_))) {
            missing.push(set);
        }
    }
    let mut counted = Vec::new();
    let mut needed = 0u64;
    for set in missing {
        let step = format!("counting the {} circuit", set.purpose.as_str());
        let counts = synthesis::count((set.blank)()?, &|_| meter.advance(&step, 0)).map_err(|e| failed(set, dir, e))?;
        needed = needed.saturating_add(setup::most_bytes(counts));
        meter.expect(set_work(counts, setup::usual_points(counts)));
        counted.push((set, counts));
    }
    files::make_room(dir, Bytes::new(needed))?;
    counted.into_iter().try_for_each(|(set, counts)| make_set(set, counts, dir, meter))
}

/// The lock file, locked. It stays: removing it would let two processes hold it.
pub(super) fn hold(path: &Path, meter: &Meter<'_>) -> Result<File, ParamsError> {
    let file = File::create(path).map_err(at("create", path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if meter.advance("waiting for another process to make them", 0) => {
                std::thread::sleep(LOCK_EVERY);
            }
            Err(TryLockError::WouldBlock) => return Err(ParamsError::Cancelled),
            Err(TryLockError::Error(error)) => return Err(at("lock", path)(error)),
        }
    }
}

/// The work of one set, in the units of the constants above.
fn set_work(counts: Counts, (first, second): (usize, usize)) -> u64 {
    variables_work(counts.aux).saturating_add(points_work(first, second))
}

fn variables_work(variables: usize) -> u64 {
    amount(variables).saturating_mul(EVALUATE)
}

fn points_work(first: usize, second: usize) -> u64 {
    let work = amount(first).saturating_mul(FIRST_GROUP).saturating_add(amount(second).saturating_mul(SECOND_GROUP));
    work.checked_div(amount(rayon::current_num_threads())).unwrap_or(work)
}

fn amount(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Makes one set under other names, tries it, and then gives the files theirs.
fn make_set<C: Circuit<Scalar>>(
    set: &Set<C>,
    counts: Counts,
    dir: &Path,
    meter: &Meter<'_>,
) -> Result<(), ParamsError> {
    let path = dir.join(&set.params.name);
    let partial = files::with_suffix(&path, ".new");
    let made = write_partial(set, counts, &partial, dir, meter);
    let (key, digest) = match made {
        Ok(made) => made,
        Err(error) => {
            // what is in it is of no use to anyone, and a gigabyte; the next run would overwrite it
            fs::remove_file(&partial).unwrap_or_default();
            return Err(error);
        }
    };
    let mut key_bytes = Vec::new();
    key.write(&mut key_bytes).map_err(at("write", &path))?;
    let meta = serde_json::to_vec(&CacheEntryMetadata { sector_size: set.sector_size.as_u64() })
        .map_err(|error| at("write", &path)(error.into()))?;
    let key_path = dir.join(&set.key.name);
    // the parameters come last: who finds them finds the rest
    files::put(&path.with_extension("meta"), &meta)?;
    Marker::write(&path, digest)?;
    Marker::write(&key_path, files::digest_text(&blake2b_simd::blake2b(&key_bytes)))?;
    files::put(&key_path, &key_bytes)?;
    files::finish(&partial, &path)
}

/// The parameter file under its partial name: its verifying key and its digest.
fn write_partial<C: Circuit<Scalar>>(
    set: &Set<C>,
    counts: Counts,
    partial: &Path,
    dir: &Path,
    meter: &Meter<'_>,
) -> Result<(VerifyingKey<Bls12>, String), ParamsError> {
    let failed = |error| failed(set, dir, error);
    let step = |what: &str| format!("{what} the {} parameters", set.purpose.as_str());
    let trapdoor = Trapdoor::draw();
    let evaluating = step("evaluating");
    let watch = |variables| meter.advance(&evaluating, variables_work(variables));
    let at_tau = synthesis::evaluate((set.blank)()?, counts, &trapdoor.tau, &watch).map_err(failed)?;

    let points = setup::points(&at_tau, counts);
    let (expected, exact) = (set_work(counts, setup::usual_points(counts)), set_work(counts, points));
    meter.expect(exact);
    meter.forgo(expected);

    let file = File::create(partial).map_err(at("create", partial))?;
    let mut out = Hashing { to: BufWriter::new(file), state: blake2b_simd::State::new() };
    let writing = step("making");
    let made = |first, second| meter.advance(&writing, points_work(first, second));
    let key = setup::write(at_tau, counts, &trapdoor, &mut out, &made).map_err(failed)?;
    out.flush().map_err(at("write", partial))?;

    // read back what the prover will read
    let read = File::open(partial).and_then(VerifyingKey::<Bls12>::read).map_err(at("read", partial))?;
    if read == key && setup::holds_together(&read) {
        Ok((key, files::digest_text(&out.state.finalize())))
    } else {
        Err(library(set.purpose, "the file does not read back as it was written: check disk and memory".to_owned()))
    }
}

fn failed<C>(set: &Set<C>, dir: &Path, error: SynthesisError) -> ParamsError {
    let SynthesisError::IoError(error) = error else { return library(set.purpose, error.to_string()) };
    if error.kind() == io::ErrorKind::Interrupted {
        ParamsError::Cancelled
    } else if error.kind() == io::ErrorKind::InvalidData {
        library(set.purpose, error.to_string())
    } else {
        at("write", &dir.join(&set.params.name))(error)
    }
}

/// A writer that knows the digest of what went through it.
struct Hashing<W> {
    to: W,
    state: blake2b_simd::State,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.state.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests;
