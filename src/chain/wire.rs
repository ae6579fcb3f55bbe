//! The JSON shapes of Lotus' RPC, as its documentation prints them. Private to `chain` and `devnet`.
//!
//! Shapes only: no meaning, no checks beyond what decoding needs. Go writes a nil list, byte string or pointer as
//! `null`, so every list and byte string here reads `null` as empty and writes empty as `null`, and every answer
//! may have fields that are not named here. Addresses stay texts: the node prints its own network's prefix.

mod frame;

pub use frame::{First, Frame, Number};

use crate::units::AttoFil;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

mod proving;

pub use proving::{BeneficiaryTerm, Deadline, Partition, PendingBeneficiary, SectorExpiration};

/// A JSON-RPC request. `P` is a tuple or a list: parameters are positional.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request<P> {
    /// Always `2.0`.
    pub jsonrpc: String,
    /// Chosen by the caller, comes back with the answer.
    pub id: u64,
    /// `Filecoin.ChainHead` and so on.
    pub method: String,
    /// Positional parameters.
    pub params: P,
}

/// A JSON-RPC answer: one of `result` and `error`. A `result` of `null` is an answer, not the lack of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct Response<R> {
    /// Always `2.0`.
    #[serde(default)]
    pub jsonrpc: String,
    /// That of the request; `None` when the server could not read it.
    #[serde(default)]
    pub id: Option<u64>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub result: Option<R>,
    /// Or the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RpcError>,
}

/// A JSON-RPC error. Codes: lotus-full-node-api 1.4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// Code.
    pub code: i64,
    /// Text.
    #[serde(default)]
    pub message: String,
}

fn present<'de, D: Deserializer<'de>, R: Deserialize<'de>>(from: D) -> Result<Option<R>, D::Error> {
    R::deserialize(from).map(Some)
}

/// Go lists: `null` is empty, both ways.
pub mod list {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    /// Reads `null` as empty.
    ///
    /// # Errors
    /// When an element does not decode.
    pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        Option::<Vec<T>>::deserialize(from).map(Option::unwrap_or_default)
    }

    /// Writes empty as `null`.
    ///
    /// # Errors
    /// When an element does not encode.
    pub fn serialize<S: Serializer, T: Serialize>(items: &[T], to: S) -> Result<S::Ok, S::Error> {
        if items.is_empty() { to.serialize_none() } else { items.serialize(to) }
    }
}

/// Big integers: decimal strings.
pub mod decimal {
    use super::{Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    /// Reads a decimal string.
    ///
    /// # Errors
    /// When it is not one, is negative, or passes 2^128 − 1.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }

    /// Writes a decimal string.
    ///
    /// # Errors
    /// None of its own.
    pub fn serialize<S: Serializer>(n: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(n)
    }
}

/// `{"/":"bafy…"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CidJson {
    /// The CID's text.
    #[serde(rename = "/")]
    pub cid: String,
}

impl From<String> for CidJson {
    fn from(cid: String) -> Self {
        Self { cid }
    }
}

/// Bytes as standard base64, `null` when empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Vec<u8>);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(from)?.unwrap_or_default();
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { to.serialize_none() } else { to.serialize_str(&STANDARD.encode(&self.0)) }
    }
}

/// The block CIDs that name a tipset; empty is the node's head.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TipSetKey(#[serde(with = "list")] pub Vec<CidJson>);

/// A tipset; its blocks are sorted by ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TipSet {
    /// Its key.
    pub cids: TipSetKey,
    /// Its blocks.
    #[serde(default, with = "list")]
    pub blocks: Vec<BlockHeader>,
    /// Its height.
    pub height: i64,
}

/// The parts of a block header that are read here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BlockHeader {
    /// The miner that made it.
    pub miner: String,
    /// The tipset it is built on.
    #[serde(default)]
    pub parents: TipSetKey,
    /// Weight of the chain below it, decimal.
    pub parent_weight: String,
    /// Height.
    pub height: i64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Base fee its parents leave, attoFIL per gas unit.
    pub parent_base_fee: AttoFil,
}

/// A message. With gas, nonce and CID at their defaults it is a request to fill them in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Message {
    /// Always 0.
    #[serde(default)]
    pub version: u64,
    /// Receiver.
    pub to: String,
    /// Sender.
    pub from: String,
    /// Sender's sequence number.
    #[serde(default)]
    pub nonce: u64,
    /// Attached funds.
    #[serde(default)]
    pub value: AttoFil,
    /// Gas units at most.
    #[serde(default)]
    pub gas_limit: i64,
    /// AttoFIL per gas unit at most.
    #[serde(default)]
    pub gas_fee_cap: AttoFil,
    /// AttoFIL per gas unit for the block's miner.
    #[serde(default)]
    pub gas_premium: AttoFil,
    /// Method number.
    #[serde(default)]
    pub method: u64,
    /// CBOR parameters.
    #[serde(default)]
    pub params: Blob,
    /// Its own CID, in answers.
    #[serde(default, rename = "CID", skip_serializing_if = "Option::is_none")]
    pub cid: Option<CidJson>,
}

/// How the node may send a message. Forest wants all three fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessageSendSpec {
    /// Most that gas may cost; 0 is the node's default.
    pub max_fee: AttoFil,
    /// Idempotency key: pushing the same one again answers with the first message.
    pub msg_uuid: uuid::Uuid,
    /// Raise the fee cap to all that `max_fee` allows.
    pub maximize_fee_cap: bool,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Signature {
    /// 1 secp256k1, 2 BLS, 3 delegated.
    pub r#type: u8,
    /// The signature.
    pub data: Blob,
}

/// A message in the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SignedMessage {
    /// The message.
    pub message: Message,
    /// Its signature.
    pub signature: Signature,
    /// What to track it by.
    #[serde(rename = "CID")]
    pub cid: CidJson,
}

/// What executing a message gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MessageReceipt {
    /// 0 is success.
    pub exit_code: i64,
    /// CBOR return value.
    #[serde(default)]
    pub r#return: Blob,
    /// Gas units used.
    pub gas_used: i64,
}

/// Where a message landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MsgLookup {
    /// The message that landed; another than asked for after a fee replacement.
    pub message: CidJson,
    /// Its receipt.
    pub receipt: MessageReceipt,
    /// The tipset that executed it: the child of the one that has it.
    pub tip_set: TipSetKey,
    /// Height of that child.
    pub height: i64,
}

/// `StateMinerInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MinerInfo {
    /// Owner, id address.
    pub owner: String,
    /// Worker, id address.
    pub worker: String,
    /// Coming worker, `<empty>` when none.
    #[serde(default)]
    pub new_worker: String,
    /// Control id addresses.
    #[serde(default, with = "list")]
    pub control_addresses: Vec<String>,
    /// When the coming worker takes over, −1 when none.
    pub worker_change_epoch: i64,
    /// libp2p identity.
    #[serde(default)]
    pub peer_id: Option<String>,
    /// Raw multiaddrs.
    #[serde(default, with = "list")]
    pub multiaddrs: Vec<Blob>,
    /// Registered window PoSt proof, 10 to 14.
    #[serde(rename = "WindowPoStProofType")]
    pub window_post_proof_type: i64,
    /// Sector size in bytes.
    pub sector_size: u64,
    /// Sectors per window PoSt partition.
    #[serde(rename = "WindowPoStPartitionSectors")]
    pub window_post_partition_sectors: u64,
    /// Until when it may not win blocks, −1 when it may.
    pub consensus_fault_elapsed: i64,
    /// Who gets withdrawn funds.
    #[serde(default)]
    pub beneficiary: String,
    /// How much of them, when it is not the owner.
    #[serde(default)]
    pub beneficiary_term: Option<BeneficiaryTerm>,
    /// Who is to get them.
    #[serde(default)]
    pub pending_beneficiary_term: Option<PendingBeneficiary>,
}

/// One sector of a pre-commit: an answer, and the parameter of the deposit question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SectorPreCommitInfo {
    /// Registered seal proof.
    pub seal_proof: i64,
    /// Number.
    pub sector_number: u64,
    /// CommR.
    #[serde(rename = "SealedCID")]
    pub sealed_cid: CidJson,
    /// Ticket epoch.
    pub seal_rand_epoch: i64,
    /// Deals; none on today's network.
    #[serde(default, rename = "DealIDs", with = "list")]
    pub deal_ids: Vec<u64>,
    /// Expiration.
    pub expiration: i64,
    /// CommD; `null` for a capacity sector.
    #[serde(default)]
    pub unsealed_cid: Option<CidJson>,
}

/// `StateSectorPreCommitInfo`; `null` when there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SectorPreCommitOnChainInfo {
    /// What was pre-committed.
    pub info: SectorPreCommitInfo,
    /// Locked deposit.
    pub pre_commit_deposit: AttoFil,
    /// Epoch it executed at.
    pub pre_commit_epoch: i64,
}

/// `StateSectorGetInfo`; `null` when there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SectorOnChainInfo {
    /// Number.
    pub sector_number: u64,
    /// Registered seal proof.
    pub seal_proof: i64,
    /// CommR.
    #[serde(rename = "SealedCID")]
    pub sealed_cid: CidJson,
    /// Epoch of activation.
    pub activation: i64,
    /// Expiration.
    pub expiration: i64,
    /// 0 for a capacity sector.
    #[serde(default, with = "decimal")]
    pub deal_weight: u128,
    /// 0 for a capacity sector.
    #[serde(default, with = "decimal")]
    pub verified_deal_weight: u128,
    /// Locked pledge.
    pub initial_pledge: AttoFil,
    /// Epoch its power counts from.
    #[serde(default)]
    pub power_base_epoch: i64,
    /// 1: simple QA power.
    #[serde(default)]
    pub flags: u64,
    /// What a day costs.
    #[serde(default)]
    pub daily_fee: AttoFil,
}

/// `StateGetNetworkParams`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkParams {
    /// Name.
    pub network_name: String,
    /// Seconds between epochs.
    pub block_delay_secs: u64,
    /// Least power that wins blocks, bytes.
    #[serde(with = "decimal")]
    pub consensus_miner_min_power: u128,
    /// Epochs from pre-commit to seed.
    pub pre_commit_challenge_delay: i64,
}

/// Raw and quality-adjusted power, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Claim {
    /// Raw.
    #[serde(with = "decimal")]
    pub raw_byte_power: u128,
    /// Quality-adjusted.
    #[serde(with = "decimal")]
    pub quality_adj_power: u128,
}

/// `StateMinerPower`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MinerPower {
    /// The miner's.
    pub miner_power: Claim,
    /// The network's.
    pub total_power: Claim,
    /// Enough to win blocks.
    pub has_min_power: bool,
}

/// `StateMinerSectorCount`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MinerSectors {
    /// Not terminated.
    pub live: u64,
    /// Live and not faulty.
    pub active: u64,
    /// Faulty.
    pub faulty: u64,
}

/// `StateMinerProvingDeadline`: what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProvingDeadline {
    /// Its index in the proving period.
    pub index: u64,
    /// First epoch of its window.
    pub open: i64,
    /// First epoch after it.
    pub close: i64,
}

/// `StateSectorPartition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SectorLocation {
    /// Deadline.
    pub deadline: u64,
    /// Partition of the deadline.
    pub partition: u64,
}

/// `StateMarketBalance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MarketBalance {
    /// All of it.
    pub escrow: AttoFil,
    /// The part bound to deals.
    pub locked: AttoFil,
}

/// `StateReadState` of an actor whose state is `S`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ActorState<S> {
    /// The actor's balance.
    pub balance: AttoFil,
    /// Its state.
    pub state: S,
}

/// The parts of a miner actor's state that are read here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MinerState {
    /// Locked as pre-commit deposits.
    pub pre_commit_deposits: AttoFil,
    /// Vesting.
    pub locked_funds: AttoFil,
    /// Debt.
    pub fee_debt: AttoFil,
    /// Locked as initial pledge.
    pub initial_pledge: AttoFil,
}

/// The parts of the reward actor's state that are read here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RewardState {
    /// Block reward of the epoch, all winners together.
    pub this_epoch_reward: AttoFil,
}

/// `Version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Version {
    /// The node's own.
    pub version: String,
    /// `major << 16 | minor << 8 | patch`.
    #[serde(rename = "APIVersion")]
    pub api_version: u32,
    /// Seconds between epochs.
    pub block_delay: u64,
    /// Node software.
    #[serde(default)]
    pub agent: String,
}

/// A set of numbers as run lengths, the first of numbers *not* in it: `{5}` is `[5,1]`, empty is `[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BitField(#[serde(deserialize_with = "list::deserialize")] pub Vec<u64>);

impl BitField {
    /// The set of half-open `[start, end)` ranges, which are in ascending order and neither empty nor touching.
    pub fn from_ranges(ranges: &[(u64, u64)]) -> Self {
        let mut runs = Vec::new();
        let mut at = 0u64;
        for (start, end) in ranges {
            runs.push(start.saturating_sub(at));
            runs.push(end.saturating_sub(*start));
            at = *end;
        }
        if runs.is_empty() {
            runs.push(0);
        }
        Self(runs)
    }

    /// How many numbers it has; `None` when the runs pass 2^64 − 1.
    pub fn count(&self) -> Option<u64> {
        let sizes = self.to_ranges()?.into_iter().map(|(start, end)| end.saturating_sub(start));
        Some(sizes.fold(0, u64::saturating_add))
    }

    /// The set as half-open `[start, end)` ranges in ascending order; `None` when the runs pass 2^64 − 1.
    pub fn to_ranges(&self) -> Option<Vec<(u64, u64)>> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut at = 0u64;
        for (index, run) in self.0.iter().enumerate() {
            let end = at.checked_add(*run)?;
            if index % 2 == 1 && *run > 0 {
                match ranges.last_mut().filter(|last| last.1 == at) {
                    Some(last) => last.1 = end,
                    None => ranges.push((at, end)),
                }
            }
            at = end;
        }
        Some(ranges)
    }
}

#[cfg(test)]
mod tests;
