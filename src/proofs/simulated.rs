//! A prover that proves nothing: files of the right names and sizes, hashes in place of proofs. For fault and load
//! tests: each stage takes `SEALD_SIMULATED_STAGE_MS` (20 when absent) and can be killed between any two writes.

use super::{
    PoRep, ProofError, layout,
    stages::{Replica, class_of_io},
    zero_comm_d,
};
use crate::{
    sector::{Class, Sealed},
    units::Hash32,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::FileExt as _,
    path::Path,
    time::Duration,
};

/// Environment variable: milliseconds that each stage takes.
pub const STAGE_MS: &str = "SEALD_SIMULATED_STAGE_MS";

/// Pieces a file is written in, each synced: places to be killed at.
const PIECES: u32 = 4;

/// Bytes really written of each file; the rest of a larger one is a hole.
const DENSE: u64 = 64 << 10;

/// The 192 bytes that the simulated devnet accepts for this statement.
pub fn porep(statement: &PoRep) -> Vec<u8> {
    let PoRep { miner, number, proof, comm_r, comm_d, ticket, seed } = statement;
    let mut state = blake2b_simd::Params::new().hash_length(64).to_state();
    state.update(b"seald simulated porep");
    for number in [miner.as_u64(), number.as_u64(), proof.as_i64().unsigned_abs()] {
        state.update(&number.to_be_bytes());
    }
    for hash in [comm_r, comm_d, ticket, seed] {
        state.update(&hash.0);
    }
    state.finalize().as_bytes().repeat(3)
}

/// What the simulated devnet accepts as the aggregate of these proofs, in this order.
pub fn aggregate<'a>(proofs: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut state = blake2b_simd::Params::new().hash_length(64).to_state();
    state.update(b"seald simulated aggregate");
    for proof in proofs {
        state.update(proof);
    }
    state.finalize().as_bytes().repeat(3)
}

/// Tree-d and layers. Whole layers are kept.
pub fn precommit1(replica: &Replica<'_>) -> Result<Vec<u8>, ProofError> {
    let doing = "computing layers";
    let size = replica.proof.sector_size();
    let pace = Pace::of_stage(size.layers().saturating_add(1));
    let run = || -> io::Result<()> {
        File::options().write(true).open(replica.sealed)?.set_len(size.bytes().as_u64())?;
        write(&replica.cache.join(layout::TREE_D), layout::tree_d_bytes(size), &[0; 32], &pace)?;
        for number in 1..=size.layers() {
            let path = replica.cache.join(layout::layer(number));
            if fs::metadata(&path).is_ok_and(|there| there.len() == layout::layer_bytes(size)) {
                continue;
            }
            let part = path.with_extension(".tmp");
            write(&part, layout::layer_bytes(size), &replica.ticket.0, &pace)?;
            fs::rename(&part, &path)?;
        }
        Ok(())
    };
    run().map_err(|error| failed(doing, &error))?;
    Ok(format!("{{\"simulated\":\"{}\"}}", replica.ticket).into_bytes())
}

/// Whether these nodes hold what [`precommit1`] writes there.
pub fn labels_hold(replica: &Replica<'_>, layer: u32, nodes: &[u64]) -> Result<bool, ProofError> {
    let read = || -> io::Result<bool> {
        let file = File::open(replica.cache.join(layout::layer(layer)))?;
        for node in nodes {
            let (mut label, at) = ([0; 32], node.saturating_mul(layout::NODE));
            file.read_exact_at(&mut label, at)?;
            if label != (if at < DENSE { replica.ticket.0 } else { [0; 32] }) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    read().map_err(|error| failed("checking labels", &error))
}

/// Trees, and the replica encoded in place, so that a repetition needs the restored file as the real one does.
pub fn precommit2(replica: &Replica<'_>, phase1: &[u8]) -> Result<Sealed, ProofError> {
    let doing = "building trees";
    if phase1 != format!("{{\"simulated\":\"{}\"}}", replica.ticket).as_bytes() {
        return Err(wrong(doing, "the output of PreCommit1 is not of this ticket"));
    }
    let size = replica.proof.sector_size();
    let files = layout::tree_c(size).into_iter().map(|name| (name, layout::tree_c_bytes(size)));
    let files: Vec<_> = files
        .chain(layout::tree_r_last(size).into_iter().map(|name| (name, layout::tree_r_last_bytes(size))))
        .collect();
    let pace = Pace::of_stage(u32::try_from(files.len()).unwrap_or(u32::MAX).saturating_add(1));
    let comm_r = comm_r(replica);
    for (name, bytes) in &files {
        write(&replica.cache.join(name), *bytes, &comm_r.0, &pace).map_err(|error| failed(doing, &error))?;
    }
    let zeros = encode(replica.sealed, &comm_r, &pace).map_err(|error| failed(doing, &error))?;
    if !zeros {
        return Err(wrong(doing, "the sealed file was not restored to zeros"));
    }
    fs::write(replica.cache.join(layout::P_AUX), comm_r.0.repeat(2)).map_err(|error| failed(doing, &error))?;
    Ok(Sealed { comm_r, comm_d: zero_comm_d(size) })
}

/// A short JSON text, when the replica is the one that PreCommit2 left.
pub fn vanilla(replica: &Replica<'_>, sealed: &Sealed, seed: Hash32) -> Result<Vec<u8>, ProofError> {
    let doing = "computing vanilla proofs";
    let mut head = [0; 32];
    let read = File::open(replica.sealed).and_then(|mut file| file.read_exact(&mut head));
    read.map_err(|error| failed(doing, &error))?;
    if head != sealed.comm_r.0 || sealed.comm_r != comm_r(replica) {
        return Err(wrong(doing, "the replica does not belong to these commitments"));
    }
    Ok(format!("{{\"simulated\":\"{seed}\"}}").into_bytes())
}

/// [`porep`], after the stage's time; of something else when the vanilla proof is not of this seed.
pub fn snark(statement: &PoRep, vanilla: &[u8]) -> Vec<u8> {
    let pace = Pace::of_stage(1);
    (0..PIECES).for_each(|_| pace.step());
    let mut proof = porep(statement);
    if vanilla != format!("{{\"simulated\":\"{}\"}}", statement.seed).as_bytes() {
        proof.reverse();
    }
    proof
}

fn comm_r(replica: &Replica<'_>) -> Hash32 {
    let mut state = blake2b_simd::Params::new().hash_length(32).to_state();
    state.update(b"seald simulated replica");
    state.update(&replica.miner.as_u64().to_be_bytes()).update(&replica.number.as_u64().to_be_bytes());
    state.update(&replica.ticket.0);
    let mut hash = [0; 32];
    hash.copy_from_slice(state.finalize().as_bytes());
    // a commitment is a field element: below 2^254, little-endian
    if let Some(top) = hash.last_mut() {
        *top &= 0x3f;
    }
    Hash32(hash)
}

/// The time of one stage, spread over its pieces.
struct Pace(Duration);

impl Pace {
    fn of_stage(files: u32) -> Self {
        let ms = std::env::var(STAGE_MS).ok().and_then(|ms| ms.parse().ok()).unwrap_or(20);
        Self(Duration::from_millis(ms).checked_div(files.saturating_mul(PIECES)).unwrap_or_default())
    }

    fn step(&self) {
        std::thread::sleep(self.0);
    }
}

/// Fills a new file with `pattern`, in pieces.
fn write(path: &Path, bytes: u64, pattern: &[u8; 32], pace: &Pace) -> io::Result<()> {
    let mut file = File::create(path)?;
    let dense = bytes.min(DENSE);
    let piece = dense.div_ceil(u64::from(PIECES)).next_multiple_of(32);
    let mut written = 0;
    while written < dense {
        let now = piece.min(dense.saturating_sub(written));
        let text: Vec<u8> = pattern.iter().copied().cycle().take(usize::try_from(now).unwrap_or(0)).collect();
        file.write_all(&text)?;
        file.sync_data()?;
        written = written.saturating_add(now);
        pace.step();
    }
    file.set_len(bytes)
}

/// XORs the replica's key over the dense part of the file; whether the file held only zeros there before.
fn encode(path: &Path, key: &Hash32, pace: &Pace) -> io::Result<bool> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut data = Vec::new();
    Read::by_ref(&mut file).take(DENSE).read_to_end(&mut data)?;
    let zeros = data.iter().all(|byte| *byte == 0);
    data.iter_mut().zip(key.0.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    file.rewind()?;
    for piece in data.chunks(data.len().div_ceil(4).max(32)) {
        file.write_all(piece)?;
        file.sync_data()?;
        pace.step();
    }
    Ok(zeros)
}

fn failed(doing: &'static str, error: &io::Error) -> ProofError {
    ProofError { class: class_of_io(error), doing, why: error.to_string() }
}

fn wrong(doing: &'static str, why: &str) -> ProofError {
    ProofError { class: Class::Data, doing, why: why.to_owned() }
}
