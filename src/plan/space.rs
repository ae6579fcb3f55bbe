//! How much room sealing takes: exact sizes from the proof parameters, and the ledger of what is promised.
//!
//! Pure: the file system is asked elsewhere. The sizes are the layout of filecoin-proofs for each sector size;
//! all multiples of 32-byte nodes.

use crate::{
    sector::{Stage, State},
    units::{Bytes, RepoName, SectorNumber, SectorSize},
};
use std::collections::BTreeMap;

/// A node of any tree or layer.
const NODE: u64 = 32;

/// `p_aux`: two commitments.
const P_AUX: u64 = 64;

/// On top of every figure: block rounding, folders and notes of about 50 files.
const MARGIN: u64 = 1 << 20;

/// An allowance for the kept vanilla proof, not a measured size: tens of MB are reported for production sizes.
const fn vanilla_proof(size: SectorSize) -> u64 {
    match size {
        SectorSize::KiB2 | SectorSize::MiB8 | SectorSize::MiB512 => 1 << 20,
        SectorSize::GiB32 | SectorSize::GiB64 => 128 << 20,
    }
}

/// Base trees that the octrees of a replica are built from.
const fn octrees(size: SectorSize) -> u64 {
    match size {
        SectorSize::KiB2 | SectorSize::MiB8 | SectorSize::MiB512 => 1,
        SectorSize::GiB32 => 8,
        SectorSize::GiB64 => 16,
    }
}

/// Nodes of an octree from the row of `widest` nodes up to its root, which is always there.
const fn octree_nodes(widest: u64) -> u64 {
    let mut nodes = 0;
    let mut row = widest;
    while row > 1 {
        nodes += row;
        row /= 8;
    }
    nodes + 1
}

const fn layers(size: SectorSize) -> u64 {
    // lossless: u64::from is not const
    size.layers() as u64 * size.bytes().as_u64()
}

/// A binary tree over the sector's nodes.
const fn tree_d(size: SectorSize) -> u64 {
    (2 * (size.bytes().as_u64() / NODE) - 1) * NODE
}

const fn tree_c(size: SectorSize) -> u64 {
    let leaves = size.bytes().as_u64() / NODE / octrees(size);
    octrees(size) * octree_nodes(leaves) * NODE
}

/// The replica's trees without their three lowest rows, which are computed again when they are needed.
const fn tree_r_last(size: SectorSize) -> u64 {
    let leaves = size.bytes().as_u64() / NODE / octrees(size);
    octrees(size) * octree_nodes(leaves / 512) * NODE
}

/// One per cent and [`MARGIN`] on top.
const fn with_margin(exact: u64) -> Bytes {
    Bytes::new(exact + exact / 100 + MARGIN)
}

/// What `stage` may add at most: the first three in the repo the sector is sealed in, `Finalize` in the repo that
/// it is moved to. The replica counts in both pre-commit stages: it is made in the first, as a hole where the
/// file system has holes, and filled in the second.
pub const fn stage_growth(size: SectorSize, stage: Stage) -> Bytes {
    let replica = size.bytes().as_u64();
    match stage {
        Stage::PreCommit1 => with_margin(replica + layers(size) + tree_d(size)),
        Stage::PreCommit2 => with_margin(replica + tree_c(size) + tree_r_last(size) + P_AUX),
        Stage::Commit => with_margin(vanilla_proof(size)),
        Stage::Finalize => finalized_size(size),
        Stage::Remove => Bytes::new(0),
    }
}

/// The most a sector takes in the repo it is sealed in, from its first byte until it is finalized.
pub const fn sealing_peak(size: SectorSize) -> Bytes {
    let trees = tree_d(size) + tree_c(size) + tree_r_last(size) + P_AUX;
    with_margin(size.bytes().as_u64() + layers(size) + trees + vanilla_proof(size))
}

/// What a sector takes for the rest of its life.
pub const fn finalized_size(size: SectorSize) -> Bytes {
    with_margin(size.bytes().as_u64() + tree_r_last(size) + P_AUX)
}

/// What a sector in `state` may still write in the repo it is sealed in; `None` once it writes nothing more.
pub fn still_to_write(size: SectorSize, state: State) -> Option<Bytes> {
    let stages: &[Stage] = match state {
        State::Packing | State::PreCommit1 | State::SealFailed => return Some(sealing_peak(size)),
        State::PreCommit2 => &[Stage::PreCommit2, Stage::Commit],
        State::PreCommitting
        | State::WaitSeed
        | State::Committing
        | State::PreCommitFailed
        | State::ComputeProofFailed
        | State::CommitFailed => &[Stage::Commit],
        State::CommitWait
        | State::FinalizeSector
        | State::Proving
        | State::FailedUnrecoverable
        | State::PackingFailed
        | State::Faulty
        | State::FaultReported
        | State::FaultedFinal
        | State::Terminating
        | State::Removing
        | State::Removed => return None,
    };
    let sum = |sum: Bytes, stage: &Stage| sum.checked_add(stage_growth(size, *stage)).unwrap_or(Bytes::new(u64::MAX));
    Some(stages.iter().fold(Bytes::default(), sum))
}

/// What a repo has, and what of it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Free on its file system.
    pub free: Bytes,
    /// Taken by the repo's own files; only looked at where there is a `max_use`.
    pub used: Bytes,
    /// Declared: stays free.
    pub reserve: Bytes,
    /// Declared: the repo's own files never take more.
    pub max_use: Option<Bytes>,
}

impl Room {
    /// What may still be written, whether it is promised or not.
    pub fn left(&self) -> Bytes {
        let free = self.free.less(self.reserve);
        self.max_use.map_or(free, |max| free.min(max.less(self.used)))
    }
}

/// Why something does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{missing} short of {limit} in repo {repo} ({wanted} wanted, {reserved} reserved)")]
pub struct Short {
    /// The repo.
    pub repo: RepoName,
    /// `free space` or `max_use`.
    pub limit: &'static str,
    /// How much more would be needed.
    pub missing: Bytes,
    /// How much was asked for.
    pub wanted: Bytes,
    /// How much is promised to others.
    pub reserved: Bytes,
}

/// What is promised but not yet written, per sector and repo. A sector runs one task at a time, so it has at most
/// one promise in a repo.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reservations {
    promised: BTreeMap<(RepoName, SectorNumber), Bytes>,
}

impl Reservations {
    /// Promises `bytes` of `repo` to the sector, instead of what it was promised there before. Promising what is
    /// left to write, rather than the whole, keeps bytes from counting twice: once as written, once as promised.
    pub fn add(&mut self, number: SectorNumber, repo: RepoName, bytes: Bytes) {
        self.promised.insert((repo, number), bytes);
    }

    /// Takes back everything the sector was promised.
    pub fn release(&mut self, number: SectorNumber) {
        self.promised.retain(|(_, owner), _| *owner != number);
    }

    /// The sum of the promises in `repo`; the largest number there is when it would be larger.
    pub fn reserved(&self, repo: &RepoName) -> Bytes {
        let here = self.promised.iter().filter(|((name, _), _)| name == repo);
        here.fold(Bytes::default(), |sum, (_, bytes)| sum.checked_add(*bytes).unwrap_or(Bytes::new(u64::MAX)))
    }

    /// Whether `wanted` more may be promised in `repo` without breaking an earlier promise.
    ///
    /// # Errors
    /// [`Short`]: how much is missing, of which limit.
    pub fn fits(&self, repo: &RepoName, room: &Room, wanted: Bytes) -> Result<(), Short> {
        let Room { free, used, reserve, max_use } = *room;
        let reserved = self.reserved(repo);
        let short = |limit, missing| Short { repo: repo.clone(), limit, missing, wanted, reserved };
        let claims = reserved.checked_add(wanted).unwrap_or(Bytes::new(u64::MAX));
        // a sum that leaves the range fits nowhere
        let missing = claims.checked_add(reserve).unwrap_or(Bytes::new(u64::MAX)).less(free);
        if missing > Bytes::default() {
            return Err(short("free space", missing));
        }
        let over = max_use.map(|max| used.checked_add(claims).unwrap_or(Bytes::new(u64::MAX)).less(max));
        match over.filter(|over| *over > Bytes::default()) {
            Some(over) => Err(short("max_use", over)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_least_of_what_is_free_and_what_may_be_used() {
        let bytes = Bytes::new;
        let room = Room { free: bytes(100), used: bytes(30), reserve: bytes(10), max_use: None };
        assert_eq!(room.left(), bytes(90));
        assert_eq!(Room { max_use: Some(bytes(50)), ..room }.left(), bytes(20));
        assert_eq!(Room { max_use: Some(bytes(500)), ..room }.left(), bytes(90));
        assert_eq!(Room { max_use: Some(bytes(20)), ..room }.left(), bytes(0), "more is used than may be, since today");
        assert_eq!(Room { reserve: bytes(200), ..room }.left(), bytes(0));
    }

    #[test]
    fn trees_have_the_sizes_of_sealed_sectors() {
        let measured = [
            // size, layers, tree-d, tree-c, tree-r-last
            (SectorSize::KiB2, 4_096, 4_064, 2_336, 32),
            (SectorSize::MiB8, 16_777_216, 16_777_184, 9_586_976, 18_720),
            (SectorSize::MiB512, 1_073_741_824, 1_073_741_792, 613_566_752, 1_198_368),
            (SectorSize::GiB32, 377_957_122_048, 68_719_476_704, 39_268_272_384, 76_695_808),
            (SectorSize::GiB64, 755_914_244_096, 137_438_953_440, 78_536_544_768, 153_391_616),
        ];
        for (size, all_layers, d, c, r_last) in measured {
            assert_eq!((layers(size), tree_d(size)), (all_layers, d), "{size}");
            assert_eq!((tree_c(size), tree_r_last(size)), (c, r_last), "{size}");
        }
    }
}
