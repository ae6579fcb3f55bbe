//! The manifest as it is written: only names and shapes. serde reads it, and the JSON Schema is made from it.
//!
//! Everything is optional here, so that what is missing is reported together with what is wrong; words, units and
//! agreement between keys are judged by `resolve`. Nothing outside this room sees these types.

use super::model::{Api, Launcher, Task};
use crate::units::SectorSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::{collections::BTreeMap, fmt};

/// A quantity or word with its unit. A bare number is read as its text, so that the refusal can name the unit.
#[derive(Debug, Clone)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl de::Visitor<'_> for AnyText {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }
        }
        deserializer.deserialize_any(AnyText)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// The words of `roles`.
pub const ROLES: [&str; 2] = ["seal", "store"];

fn sector_size_words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": SectorSize::ALL.map(|size| size.to_string()) })
}

fn role_words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "enum": ROLES } })
}

fn launcher_words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Launcher::ALL.map(Launcher::word) })
}

fn api_words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Api::ALL.map(Api::word) })
}

fn task_words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "items": { "enum": Task::ALL.map(Task::word) }, "minItems": 1
    })
}

/// What a Filecoin storage miner shall be. seald makes it true.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "seald manifest")]
pub struct RawManifest {
    /// Which miner this is.
    pub miner: Option<RawMiner>,
    /// How the chain is reached.
    pub chain: Option<RawChain>,
    /// Where seald keeps its own state.
    pub state: Option<RawState>,
    /// Storage paths, each a table with a name: [repo.nvme0].
    pub repo: Option<BTreeMap<String, RawRepo>>,
    /// Workers, each kind a table with a name: [slot.pc1].
    pub slot: Option<BTreeMap<String, RawSlot>>,
    /// How much is to be sealed.
    pub pledge: Option<RawPledge>,
    /// What messages may cost.
    pub fees: Option<RawFees>,
    /// How sectors share messages.
    pub batch: Option<RawBatch>,
    /// This machine among several; absent: nothing listens on the network.
    pub node: Option<RawNode>,
    /// The proof parameters.
    pub params: Option<RawParams>,
    /// How worker processes are started.
    pub workers: Option<RawWorkers>,
    /// Who may tell the running daemon what to do.
    pub control: Option<RawControl>,
}

/// Who may tell the running daemon what to do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawControl {
    /// Members of this group of the system may give orders. Default: only root and the user that seald runs as.
    pub operator_group: Option<String>,
}

/// Exactly one of `actor`, `create` and `genesis` says where the actor comes from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMiner {
    /// Size of every sector. Cannot change once the actor exists.
    #[schemars(schema_with = "sector_size_words")]
    pub sector_size: Option<Text>,
    /// Attach to this existing actor, such as f01000.
    pub actor: Option<Text>,
    /// Create the actor once, and remember it.
    pub create: Option<RawCreate>,
    /// The actor is in the genesis block of a network.
    pub genesis: Option<RawGenesis>,
    /// Its libp2p peer id on chain, such as 12D3KooW…. Absent: what the chain has stays.
    pub peer_id: Option<Text>,
    /// Where the chain says that it is reached, such as /ip4/203.0.113.7/tcp/24001. Absent: what the chain has stays.
    pub multiaddrs: Option<Vec<String>>,
    /// Who sends its messages. Default: the worker.
    pub senders: Option<RawSenders>,
}

/// Accounts that send messages: owner, worker or control addresses of the actor. Of each list the first is used whose
/// key is in the node's wallet and that can pay; after them always the worker.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSenders {
    /// Of pre-commits.
    pub precommit: Option<Vec<String>>,
    /// Of prove-commits.
    pub commit: Option<Vec<String>>,
    /// Of terminations.
    pub terminate: Option<Vec<String>>,
}

/// Accounts of a new actor.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCreate {
    /// Who owns it: default (the node's default wallet) or an address f0…, f1…, f3….
    pub owner: Option<Text>,
    /// Who signs its messages: default, new (a BLS key made in the node's wallet), or a BLS address f0…, f3….
    pub worker: Option<Text>,
}

/// An actor of the genesis block.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGenesis {
    /// The actor, such as t01000.
    pub actor: Option<Text>,
    /// Folders of the sectors that were sealed for the genesis block.
    pub presealed: Option<Vec<String>>,
    /// The JSON file that describes them.
    pub metadata: Option<String>,
}

/// Either `endpoints` or `devnet = true`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawChain {
    /// Lotus-compatible nodes in order of preference.
    pub endpoints: Option<Vec<RawEndpoint>>,
    /// seald starts and supervises a chain of its own on this machine.
    pub devnet: Option<bool>,
    /// Epochs on top of a message before seald acts on it.
    #[schemars(range(min = 0, max = 900))]
    pub message_confidence: Option<i64>,
    /// Epochs after the seed epoch before the seed is used.
    #[schemars(range(min = 0, max = 900))]
    pub seed_confidence: Option<i64>,
}

/// One node.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEndpoint {
    /// Address of its JSON-RPC, such as http://127.0.0.1:1234/rpc/v1.
    pub url: Option<String>,
    /// File that holds the API token.
    pub token_file: Option<String>,
}

/// Where seald keeps its own state.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawState {
    /// Folder of the daemon's own files.
    pub dir: Option<String>,
    /// Database: sqlite:PATH, or postgres://… when several machines work for one miner. Default: seald.db in dir.
    pub url: Option<String>,
}

/// One storage path.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRepo {
    /// The folder.
    pub path: Option<String>,
    /// seal: sectors are sealed here. store: finished sectors stay here. Empty: read only.
    #[schemars(schema_with = "role_words")]
    pub roles: Option<Vec<String>>,
    /// Most that seald uses here, such as 3.5TiB. Default: the whole file system less reserve.
    pub max_use: Option<Text>,
    /// Free space that seald leaves alone.
    pub reserve: Option<Text>,
    /// Preference among the repos that fit; 0 only when nothing else does.
    pub weight: Option<u64>,
    /// Refuse to use the path unless something is mounted on it, or above it other than at /.
    pub require_mount: Option<bool>,
}

/// A kind of worker.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSlot {
    /// What these workers do.
    #[schemars(schema_with = "task_words")]
    pub tasks: Option<Vec<String>>,
    /// How many of them run.
    #[schemars(range(min = 1, max = 1024))]
    pub count: Option<u32>,
    /// UUID of their GPU as `nvidia-smi -L` prints it, or auto. Absent: they compute on the CPU.
    pub gpu: Option<Text>,
    /// Their CPUs, such as 0-31,40. Absent: seald places them.
    pub cpus: Option<Text>,
    /// Memory bound of one worker, such as 72GiB.
    pub memory: Option<Text>,
}

/// Exactly one of `sectors` and `power`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPledge {
    /// Sectors to be proven on chain, in all.
    pub sectors: Option<u64>,
    /// The same as raw power, such as 32TiB; rounded up to whole sectors.
    pub power: Option<Text>,
    /// Most sectors between ticket and proof at any time.
    #[schemars(range(min = 1))]
    pub max_in_flight: Option<u64>,
    /// How long a sector is promised, 212d to 1276d.
    pub lifetime: Option<Text>,
}

/// What messages may cost.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFees {
    /// Most gas fee of one pre-commit message.
    pub max_precommit: Option<Text>,
    /// Most gas fee of one prove-commit message.
    pub max_commit: Option<Text>,
    /// No message leaves while one unit of gas costs more than this, such as 1 nanoFIL. Default: no ceiling.
    pub base_fee_ceiling: Option<Text>,
    /// This close to a deadline a message leaves without regard to the ceiling and to batch waits.
    pub deadline_margin: Option<Text>,
    /// How many times its cap a message may cost at a deadline; the cap grows evenly over the margin before it.
    #[schemars(range(min = 1, max = 1000))]
    pub urgent_factor: Option<u64>,
    /// A message that pays less than the base fee is replaced by a dearer one after this long.
    pub replace_after: Option<Text>,
}

/// How sectors share messages.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBatch {
    /// Pre-commits; at most 256 in a message.
    pub precommit: Option<RawBatchRule>,
    /// Prove-commits; at most 819 in a message, and 33 where their proofs are not aggregated.
    pub commit: Option<RawBatchRule>,
    /// From this many proofs on, 4 at least, one aggregate is made of them and sent when it is cheaper; 0 for never.
    #[schemars(range(max = 819))]
    pub aggregate_from: Option<u64>,
}

/// When a batch leaves.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBatchRule {
    /// Most sectors in one message.
    #[schemars(range(min = 1))]
    pub max: Option<u64>,
    /// Longest wait of a sector for company, such as 30m.
    pub wait: Option<Text>,
}

/// This machine on its network.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawNode {
    /// IP address and port to listen on for those who read metrics or use the StorageMiner API, such as 10.0.0.2:3456.
    pub address: Option<String>,
    /// What Lotus's StorageMiner API allows there. read: looking. write: orders too, with a token. off: it is not served.
    #[schemars(schema_with = "api_words")]
    pub api: Option<Text>,
}

/// The proof parameters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawParams {
    /// Where they are kept. FIL_PROOFS_PARAMETER_CACHE is used when this is not set.
    pub dir: Option<String>,
    /// Base address to fetch missing ones from.
    pub mirror: Option<String>,
}

/// How worker processes are started.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWorkers {
    /// systemd: running stages outlive the daemon. direct: they end with it. auto: systemd where its socket is there.
    #[schemars(schema_with = "launcher_words")]
    pub launcher: Option<Text>,
}
