//! Parameters and return values of the built-in actors' methods, as CBOR tuples.
//!
//! Written out here because the daemon needs a handful of them; byte equality with the actors' own crates
//! and with recorded vectors is tested. Source of field order: built-in actors v18.

use cid::Cid;
use fvm_ipld_bitfield::BitField;
use fvm_ipld_encoding::{BytesDe, RawBytes, strict_bytes, tuple::*};
use fvm_shared::address::Address;

/// Method numbers. Source: lotus-full-node-api section 5.
pub mod method {
    /// Any actor: nothing but what is sent along.
    pub const SEND: u64 = 0;
    /// Power actor: CreateMiner.
    pub const CREATE_MINER: u64 = 2;
    /// Miner actor: ChangePeerID.
    pub const CHANGE_PEER_ID: u64 = 4;
    /// Miner actor: SubmitWindowedPoSt.
    pub const SUBMIT_WINDOWED_POST: u64 = 5;
    /// Miner actor: TerminateSectors.
    pub const TERMINATE_SECTORS: u64 = 9;
    /// Miner actor: ChangeMultiaddrs.
    pub const CHANGE_MULTIADDRS: u64 = 18;
    /// Miner actor: PreCommitSectorBatch2.
    pub const PRE_COMMIT_SECTOR_BATCH2: u64 = 28;
    /// Miner actor: ProveCommitSectors3.
    pub const PROVE_COMMIT_SECTORS3: u64 = 34;
}

/// Power actor method 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct CreateMinerParams {
    /// Owner account.
    pub owner: Address,
    /// Worker account; must be BLS.
    pub worker: Address,
    /// Registered window PoSt proof number, 10 to 14.
    pub window_post_proof_type: i64,
    /// Raw libp2p peer id, may be empty.
    #[serde(with = "strict_bytes")]
    pub peer: Vec<u8>,
    /// Raw multiaddrs.
    pub multiaddrs: Vec<BytesDe>,
}

/// What CreateMiner returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct CreateMinerReturn {
    /// The new actor's id address.
    pub id_address: Address,
    /// Its address that survives reorganisations.
    pub robust_address: Address,
}

/// Miner actor method 4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ChangePeerIdParams {
    /// Raw libp2p peer id.
    #[serde(with = "strict_bytes")]
    pub new_id: Vec<u8>,
}

/// Miner actor method 18.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ChangeMultiaddrsParams {
    /// Raw multiaddrs: all of them, not those to be added.
    pub new_multiaddrs: Vec<BytesDe>,
}

/// Miner actor method 28.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct PreCommitSectorBatchParams2 {
    /// The sectors; one bad entry fails the message.
    pub sectors: Vec<SectorPreCommitInfo>,
}

/// One sector of a pre-commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct SectorPreCommitInfo {
    /// Registered seal proof number.
    pub seal_proof: i64,
    /// Sector number.
    pub sector_number: u64,
    /// CommR as a CID.
    pub sealed_cid: Cid,
    /// Ticket epoch.
    pub seal_rand_epoch: i64,
    /// Must stay empty on today's network.
    pub deal_ids: Vec<u64>,
    /// Expiration epoch.
    pub expiration: i64,
    /// CommD as a CID; `None` (CBOR null) for a capacity sector.
    pub unsealed_cid: Option<Cid>,
}

/// Miner actor method 34.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct ProveCommitSectors3Params {
    /// One entry per sector.
    pub sector_activations: Vec<SectorActivationManifest>,
    /// One proof per activation, or none when aggregated.
    pub sector_proofs: Vec<RawBytes>,
    /// The aggregate, or empty.
    pub aggregate_proof: RawBytes,
    /// Aggregation type number, with an aggregate only.
    pub aggregate_proof_type: Option<i64>,
    /// All or nothing.
    pub require_activation_success: bool,
    /// Irrelevant without pieces.
    pub require_notification_success: bool,
}

/// One sector of a prove-commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct SectorActivationManifest {
    /// Sector number.
    pub sector_number: u64,
    /// Pieces: none for a capacity sector. Other sectors are not sealed by this version.
    pub pieces: Vec<()>,
}

/// Miner actor method 9.
#[derive(Debug, Clone, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct TerminateSectorsParams {
    /// What ends, by place. Empty when what an earlier message left is to be worked off.
    pub terminations: Vec<TerminationDeclaration>,
}

/// Sectors of one partition that end.
#[derive(Debug, Clone, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct TerminationDeclaration {
    /// Deadline, 0 to 47.
    pub deadline: u64,
    /// Partition of the deadline, from 0.
    pub partition: u64,
    /// Numbers of the sectors; not empty.
    pub sectors: BitField,
}

/// What TerminateSectors returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct TerminateSectorsReturn {
    /// All of it is paid for; otherwise the message is to be sent again, without sectors.
    pub done: bool,
}

/// Per-sector outcome of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct BatchReturn {
    /// How many succeeded.
    pub success_count: u32,
    /// The others.
    pub fail_codes: Vec<FailCode>,
}

/// One failed entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct FailCode {
    /// Position in the batch.
    pub idx: u32,
    /// Exit code.
    pub code: u32,
}

#[cfg(test)]
mod tests;
