//! What the chain shows of one sector, and how old that is.

use super::record::{Activation, Seed};
use crate::units::{AttoFil, Epoch, Hash32, UnixMillis};

/// The chain as of the last head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainNow {
    /// Head height.
    pub head: Epoch,
    /// Highest epoch that no reorganisation can undo.
    pub finalized: Epoch,
    /// Epochs from pre-commit to seed.
    pub challenge_delay: i64,
    /// Seconds of an epoch.
    pub epoch_secs: u64,
    /// The head is too old: the node is behind or cut off, and nothing is decided by it that a newer head may show
    /// otherwise. See [`is_stale`].
    pub stale: bool,
}

/// Epochs, and milliseconds, that a head may be old; the longer of the two counts.
const STALE_EPOCHS: u64 = 10;
const STALE_MS: u64 = 5 * 60 * 1_000;

/// Whether a head made at `made` is too old at `now` to decide deadlines by.
pub fn is_stale(made: UnixMillis, now: UnixMillis, epoch_secs: u64) -> bool {
    now.ms_since(made) > STALE_MS.max(epoch_secs.saturating_mul(STALE_EPOCHS * 1_000))
}

/// A pre-commit as the chain shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChainPreCommit {
    /// Epoch it executed at.
    pub epoch: Epoch,
    /// Ticket epoch it names.
    pub ticket_epoch: Epoch,
    /// CommR it names.
    pub comm_r: Hash32,
    /// Locked deposit.
    pub deposit: AttoFil,
}

/// A sector as the chain shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChainSector {
    /// Since when, until when, at what pledge.
    pub activation: Activation,
    /// The chain lists it as faulty.
    pub faulty: bool,
}

/// What became of the sector's current message, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageView {
    /// In the outbox, not yet taken by a node.
    Intended {
        /// Why the last attempt to push it failed, if it did.
        trouble: Option<String>,
    },
    /// In the mempool.
    Pushed,
    /// Executed, at this height.
    Landed {
        /// 0 is success.
        exit_code: i64,
        /// The code is about this sector: no other is in the message, or the return value names it.
        own: bool,
        /// Height of the executing tipset.
        height: Epoch,
    },
    /// Refused by the node's simulation; it was never sent.
    Refused {
        /// The node's words.
        why: String,
    },
}

/// What the chain says of one sector, all read at one head. A sector in `Proving` that is trimmed is only reported when
/// the chain lists it as faulty or no longer at all, and when it has its turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Its pre-commit, when there is one.
    pub precommit: Option<OnChainPreCommit>,
    /// The sector itself, when it is active.
    pub sector: Option<OnChainSector>,
    /// Its number was used.
    pub allocated: bool,
    /// The value the chain gives now for the epoch of the record's ticket, when it was asked.
    pub ticket: Option<(Epoch, Hash32)>,
    /// The interactive seed of its pre-commit epoch, once the chain is that far.
    pub seed: Option<Seed>,
    /// Its current message: the prove-commit if there is one, else the pre-commit.
    pub message: Option<MessageView>,
}
