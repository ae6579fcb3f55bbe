//! Proving deadlines: when each opens and closes, and where a new sector goes. Pure arithmetic.

use crate::units::SectorSize;
use serde::{Deserialize, Serialize};

/// Epochs of a proving period. Source of all constants here: lotus-full-node-api 3d and 6.
pub const PERIOD: i64 = 2880;
/// Deadlines of a period.
pub const COUNT: u64 = 48;
/// Epochs of a deadline's window.
pub const WINDOW: i64 = 60;
const CHALLENGE_LOOKBACK: i64 = 20;
const FAULT_CUTOFF: i64 = 70;

/// Most sectors of one partition.
pub const fn partition_sectors(size: SectorSize) -> u64 {
    match size {
        SectorSize::KiB2 | SectorSize::MiB8 | SectorSize::MiB512 => 2,
        SectorSize::GiB32 => 2349,
        SectorSize::GiB64 => 2300,
    }
}

/// Where a sector is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Deadline, 0 to 47.
    pub deadline: u64,
    /// Partition of the deadline, from 0.
    pub partition: u64,
}

/// `StateMinerProvingDeadline`: the deadline that is open at an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeadlineInfo {
    /// The epoch asked about.
    pub current_epoch: i64,
    /// First epoch of the proving period.
    pub period_start: i64,
    /// Deadline, 0 to 47.
    pub index: u64,
    /// First epoch of its window.
    pub open: i64,
    /// First epoch after its window.
    pub close: i64,
    /// Epoch of the challenge randomness.
    pub challenge: i64,
    /// First epoch at which faults of this deadline cannot be declared any more.
    pub fault_cutoff: i64,
    #[serde(rename = "WPoStPeriodDeadlines")]
    deadlines: u64,
    #[serde(rename = "WPoStProvingPeriod")]
    period: i64,
    #[serde(rename = "WPoStChallengeWindow")]
    window: i64,
    #[serde(rename = "WPoStChallengeLookback")]
    lookback: i64,
    fault_declaration_cutoff: i64,
}

impl DeadlineInfo {
    /// The deadline open at `epoch` for a miner whose periods start at `offset` modulo the period.
    pub fn at(offset: i64, epoch: i64) -> Self {
        let into = epoch.saturating_sub(offset).rem_euclid(PERIOD);
        let period_start = epoch.saturating_sub(into);
        let index = into.div_euclid(WINDOW);
        let open = period_start.saturating_add(index.saturating_mul(WINDOW));
        Self {
            current_epoch: epoch,
            period_start,
            index: index.unsigned_abs(),
            open,
            close: open.saturating_add(WINDOW),
            challenge: open.saturating_sub(CHALLENGE_LOOKBACK),
            fault_cutoff: open.saturating_sub(FAULT_CUTOFF),
            deadlines: COUNT,
            period: PERIOD,
            window: WINDOW,
            lookback: CHALLENGE_LOOKBACK,
            fault_declaration_cutoff: FAULT_CUTOFF,
        }
    }

    /// Whether sectors may be added to a deadline now: not to the open one, nor to the next.
    pub const fn is_mutable(&self, deadline: u64) -> bool {
        let next = (self.index + 1) % COUNT;
        deadline != self.index && deadline != next
    }
}

/// The place for one more sector: the emptiest mutable deadline, in its last partition that has room.
pub fn place(taken: &[Place], info: &DeadlineInfo, size: SectorSize) -> Place {
    let load = |deadline: u64| taken.iter().filter(|place| place.deadline == deadline).count();
    let deadline = (0..COUNT).filter(|d| info.is_mutable(*d)).min_by_key(|d| load(*d)).unwrap_or(0);
    let sectors = u64::try_from(load(deadline)).unwrap_or(u64::MAX);
    Place { deadline, partition: sectors.checked_div(partition_sectors(size)).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_deadline_contains_the_epoch() {
        for epoch in [-900, 0, 1, 59, 60, 2879, 2880, 100_000] {
            let info = DeadlineInfo::at(1234, epoch);
            assert!(info.open <= epoch && epoch < info.close, "{info:?}");
            assert!(info.index < COUNT && (epoch - info.period_start) < PERIOD);
            assert_eq!(info.open, info.period_start + WINDOW * i64::try_from(info.index).unwrap());
        }
    }

    #[test]
    fn sectors_spread_over_mutable_deadlines_and_fill_partitions() {
        let info = DeadlineInfo::at(0, 65);
        let mut taken: Vec<Place> = Vec::new();
        for _ in 0..(46 * 3) {
            let next = place(&taken, &info, SectorSize::KiB2);
            assert!(info.is_mutable(next.deadline));
            taken.push(next);
        }
        assert_eq!(taken.iter().filter(|p| p.deadline == 0).map(|p| p.partition).collect::<Vec<_>>(), [0, 0, 1]);
    }
}
