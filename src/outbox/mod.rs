//! Messages to the chain: batches of sectors that share one, what they may cost, and what must stay in the wallet.
//!
//! Pure. A batch is a row before it is a call, and its state says how far it came:
//!
//! ```text
//! Open -> Sealed -> Sent <-> Landed -> Settled
//!   \________\________\-> Dissolved
//! ```

mod fees;
mod funds;
mod senders;

pub use fees::{FeeRule, Reprice, cap, reprice};
pub use funds::{Ledger, Short};
pub use senders::{Account, Accounts, Unfit};

use crate::{
    sector::{MessageId, State},
    units::{AttoFil, Epoch, Hash32, SectorNumber, UnixMillis},
};
use serde::{Deserialize, Serialize};
use std::fmt;

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

/// A message as a node took it: the newest one, when it was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its CID.
    pub cid: String,
    /// Its nonce.
    pub nonce: u64,
    /// What it may spend on gas.
    #[serde(default)]
    pub gas: Gas,
    /// The signed message in the node's own JSON: pushing this again can only ever be the same message.
    #[serde(default)]
    pub signed: Option<serde_json::Value>,
    /// CIDs with this nonce that it replaced, oldest first.
    #[serde(default)]
    pub replaced: Vec<String>,
    /// Height of the head when it was handed over.
    #[serde(default)]
    pub at: Epoch,
}

/// What a message may spend on gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gas {
    /// Gas units at most, the node's margin included.
    pub limit: i64,
    /// AttoFIL per gas unit at most.
    pub fee_cap: AttoFil,
    /// AttoFIL per gas unit for the block's miner.
    pub premium: AttoFil,
}

impl Gas {
    /// The most the message can cost in fees; `None` past the range.
    pub fn max_cost(self) -> Option<AttoFil> {
        self.fee_cap.as_atto().checked_mul(i128::from(self.limit)).map(AttoFil::from_atto)
    }
}

/// A message that executed.
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

/// What became of a message that a node took, at one head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It may still be included.
    Waiting,
    /// It executed.
    Executed(Executed),
    /// The node forgot it: its nonce goes to the next message. A reorganisation may bring it back, so this counts only
    /// when it stays so; then the same signed message is handed over again.
    Forgotten,
    /// Another message executed with its nonce: it never will.
    Overtaken,
}

/// Why a message is given up that a node had taken.
pub const OVERTAKEN: &str = "another message took its nonce";

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// Nothing, sent to a key that the chain has never seen, so that it becomes an account.
    NewAccount,
    /// CreateMiner.
    CreateMiner,
    /// ChangePeerID.
    ChangePeerId,
    /// ChangeMultiaddrs.
    ChangeMultiaddrs,
    /// PreCommitSectorBatch2.
    PreCommit,
    /// ProveCommitSectors3.
    Commit,
    /// TerminateSectors.
    Terminate,
}

impl MessageKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::NewAccount,
        Self::CreateMiner,
        Self::ChangePeerId,
        Self::ChangeMultiaddrs,
        Self::PreCommit,
        Self::Commit,
        Self::Terminate,
    ];

    /// The name as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewAccount => "new_account",
            Self::CreateMiner => "create_miner",
            Self::ChangePeerId => "change_peer_id",
            Self::ChangeMultiaddrs => "change_multiaddrs",
            Self::PreCommit => "pre_commit",
            Self::Commit => "commit",
            Self::Terminate => "terminate",
        }
    }

    /// Messages on the way to a miner: sent and followed by the steps of that way, before there is anything to plan.
    pub const fn is_of_creation(self) -> bool {
        match self {
            Self::NewAccount | Self::CreateMiner => true,
            Self::ChangePeerId | Self::ChangeMultiaddrs | Self::PreCommit | Self::Commit | Self::Terminate => false,
        }
    }

    /// The state in which a sector waits for such a message to land; `None` for a message about no sector.
    pub const fn awaits(self) -> Option<State> {
        match self {
            Self::NewAccount | Self::CreateMiner | Self::ChangePeerId | Self::ChangeMultiaddrs => None,
            Self::PreCommit => Some(State::WaitSeed),
            Self::Commit => Some(State::CommitWait),
            Self::Terminate => Some(State::Terminating),
        }
    }

    /// The state in which a sector waits for a place in such a message; `None` for a message about no sector.
    pub const fn collects(self) -> Option<State> {
        match self {
            Self::NewAccount | Self::CreateMiner | Self::ChangePeerId | Self::ChangeMultiaddrs => None,
            Self::PreCommit => Some(State::PreCommitting),
            Self::Commit => Some(State::Committing),
            Self::Terminate => Some(State::Terminating),
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One proof for the sectors of an open batch, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Whose proofs it is made of, ascending, each with the seed its proof answers.
    pub of: Vec<(SectorNumber, Hash32)>,
    /// The aggregate, hexadecimal; or why the sectors are sent with a proof each.
    pub proof: Result<String, String>,
}

/// How far a batch came. [`BatchState::may_become`] has every edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum BatchState {
    /// It takes sectors; there is no message yet.
    Open {
        /// The proofs of its sectors as one, once that was tried.
        #[serde(default)]
        aggregate: Option<Aggregate>,
    },
    /// Its sectors and its message are fixed; not known to have reached a node. Pushing again with its id is safe.
    #[serde(alias = "intended")]
    Sealed,
    /// A node took it.
    #[serde(alias = "pushed")]
    Sent,
    /// It executed; a reorganisation may take that back.
    Landed(Executed),
    /// It executed, and nothing can take that back.
    Settled(Executed),
    /// Nothing of it will land.
    #[serde(alias = "refused")]
    Dissolved {
        /// Why.
        why: String,
    },
}

impl BatchState {
    /// A batch that takes sectors.
    pub const OPEN: Self = Self::Open { aggregate: None };

    /// The name as stored and shown.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Sealed => "sealed",
            Self::Sent => "sent",
            Self::Landed(_) => "landed",
            Self::Settled(_) => "settled",
            Self::Dissolved { .. } => "dissolved",
        }
    }

    /// It may still land: no second one of its kind may exist for its sectors.
    pub const fn is_live(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Sealed | Self::Sent => true,
            Self::Landed(_) | Self::Settled(_) | Self::Dissolved { .. } => false,
        }
    }

    /// Whether a batch in this state may come to be in the other, or change its details in the same.
    pub const fn may_become(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Open { .. }, Self::Open { .. } | Self::Sealed | Self::Dissolved { .. })
            | (Self::Sealed, Self::Sealed | Self::Sent | Self::Landed(_) | Self::Dissolved { .. })
            | (Self::Sent, Self::Sent | Self::Landed(_) | Self::Dissolved { .. })
            // back: a reorganisation
            | (Self::Landed(_), Self::Landed(_) | Self::Settled(_) | Self::Sent | Self::Sealed)
            | (Self::Settled(_), Self::Settled(_))
            | (Self::Dissolved { .. }, Self::Dissolved { .. }) => true,
            (
                Self::Open { .. }
                | Self::Sealed
                | Self::Sent
                | Self::Landed(_)
                | Self::Settled(_)
                | Self::Dissolved { .. },
                _,
            ) => false,
        }
    }
}

/// Sectors that share a message, and the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Idempotency key, a UUID, sent along as Lotus `MsgUuid`.
    pub id: MessageId,
    /// What it is for.
    pub kind: MessageKind,
    /// The sectors it carries, in the order of its parameters.
    pub sectors: Vec<SectorNumber>,
    /// The message, once it is sealed.
    pub message: Option<Message>,
    /// When it was opened.
    pub created: UnixMillis,
    /// How far it came.
    pub state: BatchState,
    /// The message as a node took it.
    pub sent: Option<Sent>,
    /// How often handing it over was tried.
    pub attempts: u32,
}

impl Batch {
    /// A batch that takes sectors.
    pub const fn open(id: MessageId, kind: MessageKind, sectors: Vec<SectorNumber>, now: UnixMillis) -> Self {
        Self { id, kind, sectors, message: None, created: now, state: BatchState::OPEN, sent: None, attempts: 0 }
    }

    /// The state it goes back to when a reorganisation takes it off the chain.
    pub const fn unlanded(&self) -> BatchState {
        if self.sent.is_some() { BatchState::Sent } else { BatchState::Sealed }
    }

    /// What the sender must still have for it, while it may land: the funds it carries and the gas it may spend.
    pub fn claims(&self, max_fee: AttoFil) -> AttoFil {
        if !matches!(self.state, BatchState::Sealed | BatchState::Sent) {
            return AttoFil::ZERO;
        }
        let gas = self.sent.as_ref().and_then(|sent| sent.gas.max_cost()).filter(|cost| *cost > AttoFil::ZERO);
        let value = self.message.as_ref().map_or(AttoFil::ZERO, |message| message.value);
        value.checked_add(gas.unwrap_or(max_fee)).unwrap_or(value)
    }
}
