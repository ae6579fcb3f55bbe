//! The parents of every node, which the proofs library keeps in one file per sector size for all sectors of a machine.
//!
//! The library makes the file in its full length, fills it, and from then on believes it. One whose making was cut
//! short by a kill or a power cut would spoil every sector to come, so nothing is computed from a file before it was
//! compared with the graph, once; a mark beside it says so. The file is nobody's data: a wrong one is made anew.

use super::real::Graph;
use crate::units::to_hex;
use anyhow::Context as _;
use filecoin_hashers::{Hasher as _, poseidon::PoseidonHasher};
use filecoin_proofs::constants::{DRG_DEGREE, EXP_DEGREE};
use multihash_codetable::{Code, MultihashDigest};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};
use storage_proofs_core::{
    PoRepID,
    crypto::{FEISTEL_DST, derive_porep_domain_seed},
    drgraph::Graph as _,
    parameter_cache::{ParameterSetMetadata as _, VERSION},
    settings::SETTINGS,
};

/// Bytes of one node: a little-endian number for each parent.
const ENTRY: usize = 4 * (DRG_DEGREE + EXP_DEGREE);

/// Nodes that are compared at a time.
const CHUNK: usize = 1 << 14;

/// Makes the file when it is missing or wrong. With a mark beside the file this takes no time; without one, about as
/// long as making it. Only one process of this machine at a time; the others wait.
///
/// # Errors
/// I/O, or the library computes another name or content than is known here.
pub fn ensure(graph: &Graph, porep_id: PoRepID) -> anyhow::Result<()> {
    let path = path(graph, porep_id)?;
    let directory = path.parent().context("the directory of the parents cache has no name")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    ensure_at(graph, &path).with_context(|| format!("cannot make sure of the parents cache {}", path.display()))
}

fn ensure_at(graph: &Graph, path: &Path) -> anyhow::Result<()> {
    let lock = File::create(beside(path, ".seald-lock"))?;
    lock.lock()?;
    let mark = beside(path, ".seald-checked");
    if mark.exists() && is_of_right_length(graph, path)? {
        return Ok(());
    }
    if !is_whole(graph, path)? {
        if path.exists() {
            fs::remove_file(path)?;
        }
        let made = graph.parent_cache()?.path;
        anyhow::ensure!(made == path, "the library made {} instead", made.display());
        anyhow::ensure!(is_whole(graph, path)?, "the library made a wrong one");
    }
    File::open(path)?.sync_all()?;
    File::create(mark)?.sync_all()?;
    Ok(path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())?)
}

/// Whether every entry is what the graph says.
fn is_whole(graph: &Graph, path: &Path) -> io::Result<bool> {
    if !is_of_right_length(graph, path)? {
        return Ok(false);
    }
    let file = File::open(path)?;
    let firsts: Vec<usize> = (0..graph.size()).step_by(CHUNK).collect();
    let wrong =
        firsts.into_par_iter().map(|first| is_chunk_right(graph, &file, first)).find_any(|r| !matches!(r, Ok(true)));
    wrong.unwrap_or(Ok(true))
}

fn is_chunk_right(graph: &Graph, file: &File, first: usize) -> io::Result<bool> {
    let count = graph.size().saturating_sub(first).min(CHUNK);
    let mut entries = vec![0; count.saturating_mul(ENTRY)];
    file.read_exact_at(&mut entries, u64::try_from(first.saturating_mul(ENTRY)).map_err(io::Error::other)?)?;
    for (node, entry) in (first..).zip(entries.chunks(ENTRY)) {
        let mut parents = [0; DRG_DEGREE + EXP_DEGREE];
        graph.parents(node, &mut parents).map_err(io::Error::other)?;
        if !parents.iter().flat_map(|parent| parent.to_le_bytes()).eq(entry.iter().copied()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// False when there is none.
fn is_of_right_length(graph: &Graph, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(there) => Ok(usize::try_from(there.len()).ok() == Some(graph.size().saturating_mul(ENTRY))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The name that the library gives to the file.
fn path(graph: &Graph, porep_id: PoRepID) -> anyhow::Result<PathBuf> {
    let mut name = PoseidonHasher::name().into_bytes();
    name.extend(graph.identifier().bytes());
    name.extend(derive_porep_domain_seed(FEISTEL_DST, porep_id));
    name.extend(u32::try_from(graph.size())?.to_le_bytes());
    let digest = to_hex(Code::Sha2_256.digest(&name).digest());
    Ok(Path::new(&SETTINGS.parent_cache).join(format!("v{VERSION}-sdr-parent-{digest}.cache")))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{proofs::real::graph, units::SectorSize};

    #[test]
    fn a_parents_cache_that_is_cut_short_zeroed_or_changed_is_not_whole() {
        let (graph, porep_id) = graph(SectorSize::KiB2.seal_proof()).unwrap();
        ensure(&graph, porep_id).unwrap();
        let good = fs::read(path(&graph, porep_id).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        assert!(!is_whole(&graph, &copy).unwrap());
        let holds = |bytes: &[u8]| {
            fs::write(&copy, bytes).unwrap();
            is_whole(&graph, &copy).unwrap()
        };
        assert!(holds(&good));
        assert!(!holds(&good[ENTRY..]));
        assert!(!holds(&[&good[..good.len() - ENTRY], &[0; ENTRY]].concat()));
        assert!(!holds(&[&[good[0] ^ 1], &good[1..]].concat()));
    }
}
