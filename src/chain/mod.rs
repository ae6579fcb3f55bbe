//! The chain as the daemon sees it: typed questions and answers. Lotus JSON-RPC lives in `client` and `wire`.

pub mod cids;
pub mod client;
pub mod params;
pub mod wire;

use crate::{
    error::Remedy,
    units::{AttoFil, Epoch, Hash32, SectorNumber, SectorSize},
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// A message to be pushed; gas is estimated by the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Sender address.
    pub from: String,
    /// Receiver address.
    pub to: String,
    /// Attached funds.
    pub value: AttoFil,
    /// Method number.
    pub method: u64,
    /// CBOR parameters.
    pub params: Vec<u8>,
}

/// A message the node has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Its CID.
    pub cid: String,
    /// Its nonce.
    pub nonce: u64,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// CID that landed (differs after a fee replacement).
    pub cid: String,
    /// 0 is success.
    pub exit_code: i64,
    /// CBOR return value.
    pub value: Vec<u8>,
    /// Height of the tipset that executed it.
    pub height: Epoch,
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
    /// Free to use.
    pub available: AttoFil,
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

/// A chain question that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No endpoint answered in time.
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
    #[error("the node refuses {method}: {message} (code {code})")]
    Refused {
        /// The RPC method.
        method: String,
        /// JSON-RPC error code.
        code: i64,
        /// The node's text.
        message: String,
    },
    /// The answer is not of the documented shape.
    #[error("the node's answer to {method} cannot be read")]
    Malformed {
        /// The RPC method.
        method: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ChainError {
    /// What to do: everything about a node passes, except what it refuses.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Unreachable { .. } | Self::Malformed { .. } => Remedy::Retry,
            Self::Refused { .. } => Remedy::Hold,
        }
    }
}
