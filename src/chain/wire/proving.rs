//! Shapes of what a miner actor proves and owes: deadlines, partitions, expirations, and who gets its funds.

use super::BitField;
use crate::units::AttoFil;
use serde::{Deserialize, Serialize};

/// One of the 48 of `StateMinerDeadlines`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Deadline {
    /// Partitions that were proven in the window that is open.
    pub post_submissions: BitField,
    /// Proofs that may still be disputed.
    pub disputable_proof_count: u64,
    /// What its sectors cost a day; not there before network version 25.
    #[serde(default)]
    pub daily_fee: AttoFil,
}

/// One of `StateMinerPartitions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Partition {
    /// Sectors it ever had, until it is compacted.
    pub all_sectors: BitField,
    /// Faulty ones.
    pub faulty_sectors: BitField,
    /// Faulty ones that were declared well again.
    pub recovering_sectors: BitField,
    /// Those that did not end.
    pub live_sectors: BitField,
    /// Those that count: live, proven, not faulty.
    pub active_sectors: BitField,
}

/// `StateSectorExpiration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SectorExpiration {
    /// When it ends if nothing happens.
    pub on_time: i64,
    /// When it ends before that if its fault lasts; 0 when it is not faulty.
    pub early: i64,
}

/// How much of a miner's funds its beneficiary may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BeneficiaryTerm {
    /// At most.
    pub quota: AttoFil,
    /// Of that, what it had.
    pub used_quota: AttoFil,
    /// Until then.
    pub expiration: i64,
}

/// A change of beneficiary that not everybody has agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PendingBeneficiary {
    /// Who it is to be.
    pub new_beneficiary: String,
    /// How much it may have.
    pub new_quota: AttoFil,
    /// Until when.
    pub new_expiration: i64,
    /// The present one agreed.
    pub approved_by_beneficiary: bool,
    /// The coming one agreed.
    pub approved_by_nominee: bool,
}
