//! Whether a stage fits into memory beside those that run.
//!
//! What a stage takes is what it took here at most, and before it ever ran, what it is known to take elsewhere. Where
//! nothing runs, a stage is given whatever it takes: an estimate that is too high then costs company, not progress.

use super::{Assignee, Desired, Observed};
use crate::{
    sector::Stage,
    units::{Bytes, SectorSize, SlotName},
};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of this machine's memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemorySeen {
    /// What workers may take together; `None` sets no limit.
    pub total: Option<Bytes>,
    /// The most that each stage took here.
    pub peaks: BTreeMap<Stage, Bytes>,
    /// Stages whose last end was for want of the machine's memory: each is tried again alone.
    pub ran_out: BTreeSet<Stage>,
    /// Stages that ended for want of what their slot may take: the most at which that happened. Being alone is no help.
    pub outgrew: BTreeMap<(SlotName, Stage), Bytes>,
}

/// The part of memory that the daemon, the node's client and the kernel keep: a twentieth, at least 1 GiB, and never more
/// than a quarter, so that a small machine still seals.
fn reserve(total: Bytes) -> Bytes {
    let part = |of: u64| Bytes::new(total.as_u64().checked_div(of).unwrap_or(0));
    part(20).max(Bytes::new(1 << 30)).min(part(4))
}

/// What a stage takes where it was never measured: Lotus's tables, with what may be swapped out counted as memory. Too
/// little to matter for the sizes of tests.
fn known(size: SectorSize, stage: Stage) -> Option<Bytes> {
    const GIB: u64 = 1 << 30;
    let bytes = match (size, stage) {
        (SectorSize::KiB2 | SectorSize::MiB8, _) | (_, Stage::Finalize | Stage::Remove) => return None,
        (SectorSize::MiB512, Stage::PreCommit1) => GIB,
        (SectorSize::MiB512, Stage::PreCommit2 | Stage::Commit) => GIB + GIB / 2,
        // two layers
        (SectorSize::GiB32, Stage::PreCommit1) => 64 * GIB,
        (SectorSize::GiB32, Stage::PreCommit2) => 15 * GIB,
        (SectorSize::GiB32, Stage::Commit) => 150 * GIB,
        (SectorSize::GiB64, Stage::PreCommit1) => 128 * GIB,
        (SectorSize::GiB64, Stage::PreCommit2) => 30 * GIB,
        (SectorSize::GiB64, Stage::Commit) => 190 * GIB,
    };
    Some(Bytes::new(bytes))
}

/// The bound of this worker's slot, when the stage ran out of no less than that there.
pub(super) fn outgrown(desired: &Desired, observed: &Observed, who: &Assignee, stage: Stage) -> Option<Bytes> {
    let bound = desired.slot_of(who)?.memory?;
    let most = observed.memory.outgrew.get(&(who.slot.clone(), stage))?;
    (bound <= *most).then_some(bound)
}

/// Why a stage is not given to a worker now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Short {
    /// Until others end; to be read after "waits for".
    Now(String),
    /// It never fits here.
    Ever(String),
}

/// Memory while a plan is made: what runs, and what the plan adds.
pub struct Ledger<'a> {
    desired: &'a Desired,
    seen: &'a MemorySeen,
    /// What runs or was given, with what it takes.
    running: Vec<(Assignee, Stage, Bytes)>,
    /// What stages that were refused in this plan wait for: what comes after them must fit beside it, or large stages
    /// would wait for ever while small ones pass.
    kept: Bytes,
}

impl<'a> Ledger<'a> {
    /// With all that runs now.
    pub fn of(desired: &'a Desired, observed: &'a Observed) -> Self {
        let seen = &observed.memory;
        let mut ledger = Self { desired, seen, running: Vec::new(), kept: Bytes::default() };
        for (who, stage) in &observed.running {
            ledger.add(who, *stage);
        }
        ledger
    }

    /// Counts a stage in that this worker runs, or for which it is kept.
    pub fn add(&mut self, who: &Assignee, stage: Stage) {
        let need = self.need(who, stage);
        self.running.push((who.clone(), stage, need));
    }

    /// Counts a stage in if it fits.
    ///
    /// # Errors
    /// Why it does not.
    pub fn admit(&mut self, who: &Assignee, stage: Stage) -> Result<(), Short> {
        let Some(total) = self.seen.total else { return Ok(()) };
        let (need, size) = (self.need(who, stage), self.desired.sector_size);
        let takes = |need: Bytes| format!("memory: {} of {size} takes {need}", stage.as_str());
        if self.seen.peaks.contains_key(&stage) && need > total {
            return Err(Short::Ever(format!("{}, and there are {total} in all", takes(need))));
        }
        let largest = self.running.iter().filter(|(_, _, bytes)| *bytes > Bytes::default()).max_by_key(|(.., b)| *b);
        let Some((at, running, _)) = largest else {
            self.add(who, stage);
            return Ok(());
        };
        let free = self.running.iter().fold(total.less(reserve(total)), |left, (.., bytes)| left.less(*bytes));
        if need <= free.less(self.kept) {
            self.add(who, stage);
            return Ok(());
        }
        let ends = format!("until {} on {at} ends", running.as_str());
        let why = if self.seen.ran_out.contains(&stage) {
            format!("memory: {} ran out of it and is tried again alone, {ends}", stage.as_str())
        } else if need <= free {
            format!("{}, {free} are free and kept for a stage that is further on, {ends}", takes(need))
        } else {
            format!("{}, {free} are free {ends}", takes(need))
        };
        self.kept = self.kept.checked_add(need).unwrap_or(self.kept);
        Err(Short::Now(why))
    }

    fn need(&self, who: &Assignee, stage: Stage) -> Bytes {
        let bound = self.desired.slot_of(who).and_then(|slot| slot.memory);
        if self.seen.ran_out.contains(&stage) {
            return self.seen.total.unwrap_or_default();
        }
        let measured = self.seen.peaks.get(&stage).copied();
        let need = measured.or_else(|| known(self.desired.sector_size, stage)).unwrap_or_default();
        // more than its bound it cannot take
        bound.map_or(need, |bound| need.min(bound))
    }
}

#[cfg(test)]
mod tests;
