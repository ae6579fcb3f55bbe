//! The chain as the daemon sees it: typed questions and answers. Lotus JSON-RPC lives in `client`, `rpc` and `wire`,
//! the actors' CBOR in `messages` and `params`. Keeps nothing: what was asked or sent is the caller's to remember.

pub mod cids;
pub mod client;
pub mod endpoint;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod health;
pub mod messages;
pub mod node;
pub mod params;
pub mod presealed;
mod refusal;
mod rpc;
pub mod wire;

pub use crate::outbox::{Executed, Fate, Gas, Message, Sent};
pub use client::Client;
pub use endpoint::{Endpoint, Secret};
pub use node::Node;
pub use rpc::{Heads, Limits};

use crate::{
    error::{Chain, Remedy},
    units::{AttoFil, Epoch, Hash32, Multiaddr, PeerId, SectorNumber, SectorSize},
};
use serde::{Deserialize, Serialize};

/// A tipset: the key every state question is asked at, and its height.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TipSet {
    /// Block CIDs, in the node's order.
    pub key: Vec<String>,
    /// Height.
    pub height: Epoch,
    /// Seconds since 1970 of the first block.
    pub timestamp: u64,
    /// Base fee of the parent, attoFIL per gas unit.
    pub base_fee: AttoFil,
}

/// The network's build-dependent values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkParams {
    /// Name of the network.
    pub name: String,
    /// Seconds between epochs.
    pub block_delay_secs: u64,
    /// Epochs from pre-commit to seed.
    pub pre_commit_challenge_delay: i64,
}

/// The miner actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinerInfo {
    /// Owner id address.
    pub owner: String,
    /// Worker id address.
    pub worker: String,
    /// Control id addresses.
    pub control: Vec<String>,
    /// Sector size.
    pub sector_size: SectorSize,
    /// Window PoSt proof number.
    pub window_post_proof: i64,
    /// Its libp2p identity, if it has one that can be read.
    pub peer_id: Option<PeerId>,
    /// Where it says that it is reached.
    pub multiaddrs: Vec<Multiaddr>,
    /// Who gets withdrawn funds.
    pub beneficiary: Beneficiary,
}

/// Who gets the funds that are withdrawn from a miner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beneficiary {
    /// Id address; the owner's, unless another was agreed on.
    pub address: String,
    /// At most so much; without meaning for the owner.
    pub quota: AttoFil,
    /// Of that, what it had.
    pub used: AttoFil,
    /// Until then.
    pub expiration: Epoch,
    /// Who is to take its place, once all agreed.
    pub pending: Option<String>,
}

/// A pre-commit on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreCommitInfo {
    /// Epoch it executed at.
    pub epoch: Epoch,
    /// Ticket epoch it names.
    pub ticket_epoch: Epoch,
    /// CommR it names.
    pub comm_r: Hash32,
    /// Locked deposit.
    pub deposit: AttoFil,
}

/// A sector on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorInfo {
    /// Its number.
    pub number: SectorNumber,
    /// CommR.
    pub comm_r: Hash32,
    /// Epoch of activation.
    pub activation: Epoch,
    /// Epoch of expiration.
    pub expiration: Epoch,
    /// Locked pledge.
    pub pledge: AttoFil,
}

/// Everything about one sector on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorTerms {
    /// Registered seal proof.
    pub seal_proof: i64,
    /// Epoch of activation.
    pub activation: Epoch,
    /// Epoch of expiration.
    pub expiration: Epoch,
    /// Bytes times epochs of deals; 0 for a capacity sector.
    pub deal_weight: u128,
    /// The same of verified deals.
    pub verified_deal_weight: u128,
    /// Locked pledge.
    pub pledge: AttoFil,
    /// Epoch its power counts from.
    pub power_base: Epoch,
    /// What it costs a day.
    pub daily_fee: AttoFil,
}

/// When a sector ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// If nothing happens.
    pub on_time: Epoch,
    /// Before that, if its fault lasts; `None` when it is not faulty.
    pub early: Option<Epoch>,
}

/// Power of a miner and of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power {
    /// The miner's raw bytes, decimal.
    pub raw: u128,
    /// The miner's quality-adjusted bytes.
    pub quality_adjusted: u128,
    /// The network's raw bytes.
    pub total_raw: u128,
    /// The network's quality-adjusted bytes.
    pub total_quality_adjusted: u128,
    /// Enough power to win blocks.
    pub has_min_power: bool,
}

/// Funds of a miner actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funds {
    /// Actor balance.
    pub balance: AttoFil,
    /// Locked as pre-commit deposits.
    pub pre_commit_deposits: AttoFil,
    /// Locked as initial pledge.
    pub initial_pledge: AttoFil,
    /// Vesting.
    pub vesting: AttoFil,
    /// Debt.
    pub fee_debt: AttoFil,
    /// Free to use; less than nothing for a miner that owes more than it has. What may vest at the next deadline is not
    /// counted before.
    pub available: AttoFil,
}

/// Funds of a miner in the market actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketBalance {
    /// All of it.
    pub escrow: AttoFil,
    /// The part bound to deals.
    pub locked: AttoFil,
}

/// A set of sector numbers as the chain tells it, in ranges: a few bytes can name more than fit into memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SectorSet {
    /// Half-open, ascending, none empty, none touching the next, none past the last number of a sector.
    ranges: Vec<(u64, u64)>,
}

impl SectorSet {
    /// Of ranges as a bitfield gives them; `None` when one passes the last number that a sector can have.
    fn of(ranges: Vec<(u64, u64)>) -> Option<Self> {
        let last = ranges.last().map(|(_, end)| end.saturating_sub(1));
        last.is_none_or(|last| SectorNumber::try_from(last).is_ok()).then_some(Self { ranges })
    }

    /// Whether this number is in it.
    pub fn contains(&self, number: SectorNumber) -> bool {
        let number = number.as_u64();
        let after = self.ranges.partition_point(|(start, _)| *start <= number);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, end)| number < *end)
    }

    /// The highest number; `None` of an empty set.
    pub fn max(&self) -> Option<SectorNumber> {
        let (_, end) = self.ranges.last()?;
        end.checked_sub(1).and_then(|n| SectorNumber::try_from(n).ok())
    }
}

#[cfg(test)]
impl FromIterator<u64> for SectorSet {
    /// Of ascending numbers.
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, end)) if *end == number => *end = number + 1,
                _ => ranges.push((number, number + 1)),
            }
        }
        Self { ranges }
    }
}

/// Number of sectors by condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorCount {
    /// Live.
    pub live: u64,
    /// Active.
    pub active: u64,
    /// Faulty.
    pub faulty: u64,
}

/// Where a sector is proven, and so where it is terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Deadline, 0 to 47.
    pub deadline: u64,
    /// Partition of the deadline, from 0.
    pub partition: u64,
}

/// A window in which sectors are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvingDeadline {
    /// Its index in the proving period.
    pub index: u64,
    /// First epoch of the window.
    pub open: Epoch,
    /// First epoch after it.
    pub close: Epoch,
}

/// One of the deadlines of a proving period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineState {
    /// Partitions proven in the window that is open.
    pub posted: u64,
    /// What its sectors cost a day.
    pub daily_fee: AttoFil,
}

/// Number of sectors of a partition, by condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionCount {
    /// Live.
    pub live: u64,
    /// Faulty.
    pub faulty: u64,
    /// Faulty, and declared well again.
    pub recovering: u64,
}

/// A chain question that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answered in time. Of a push: it may have arrived all the same.
    #[error("no chain endpoint answers {method} ({tried} tried)")]
    Unreachable {
        /// The RPC method.
        method: String,
        /// How many endpoints were tried.
        tried: usize,
        /// The last endpoint's failure.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node answered with an error of its own.
    #[error("the node refuses {method}: {} (code {code})", refusal::brief(message))]
    Refused {
        /// The RPC method.
        method: String,
        /// JSON-RPC error code (2: over the block gas limit, 3: the actor would reject it), or the HTTP status of
        /// a refused token.
        code: i64,
        /// The node's text.
        message: String,
    },
    /// Another message with the same sender and nonce landed: this one never will.
    #[error("message {cid} was overtaken by another one with its nonce: it will not land, plan it anew")]
    Overtaken {
        /// The message that lost.
        cid: String,
    },
    /// The answer is not of the documented shape.
    #[error("the node's answer to {method} cannot be read")]
    Malformed {
        /// The RPC method.
        method: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was given to the client is wrong: an endpoint, an address, a message too large. Nothing was sent.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it and what would be accepted.
        what: String,
    },
}

/// The most of a node's words that an error repeats, in bytes: an answer may have 64 MiB of them, and an error goes
/// into the log and into the status as it is.
const LONGEST_TEXT: usize = 4096;

/// The beginning of a text that is too long, and how long it was.
fn shortened(mut text: String) -> String {
    let length = text.len();
    if length > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push_str(&format!("… ({length} bytes)"));
    }
    text
}

impl ChainError {
    /// What to do: everything about a node passes, except what it refuses.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable { .. } | Self::Malformed { .. } | Self::Overtaken { .. } => Remedy::Retry,
            Self::Refused { .. } => Remedy::Hold,
            Self::Invalid { .. } => Remedy::Stop,
        }
    }

    fn malformed(method: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let source = source.into();
        let text = Chain(source.as_ref()).to_string();
        let source = if text.len() > LONGEST_TEXT { shortened(text).into() } else { source };
        Self::Malformed { method: method.to_owned(), source }
    }
}
