//! What the daemon asks of the chain on behalf of a plan: tickets, messages, the miner actor.
//!
//! Each errand runs in a task of its own and ends in one [`Done`]; the loop records what it means. Nothing is
//! remembered here, so an errand that is lost with the process is planned again.

use super::genesis::Imported;
use crate::{
    book::{Composed, Handed},
    chain::{Client, NetworkParams, Node, TipSet},
    error::Chain,
    manifest::Manifest,
    plan::GpuSeen,
    sector::{MessageId, Ticket},
    units::{MinerId, SectorNumber},
};
use std::sync::Arc;

/// An errand came back.
#[derive(Debug)]
pub enum Done {
    /// A ticket was drawn, or not.
    Ticket {
        /// The sector.
        number: SectorNumber,
        /// The ticket.
        result: Result<Ticket, String>,
    },
    /// A message was composed, or not. Nothing was sent.
    Composed {
        /// The open batch.
        batch: MessageId,
        /// The sectors that were asked for.
        numbers: Vec<SectorNumber>,
        /// The message.
        result: Result<Composed, String>,
    },
    /// A message was handed to the node, or not.
    Handed {
        /// The batch.
        batch: MessageId,
        /// What became of it.
        result: Handed,
    },
    /// A step towards the miner was taken.
    Miner(Result<Step, String>),
    /// The GPUs were looked at; `None` when that could not be done.
    Gpus(Option<Vec<GpuSeen>>),
}

/// Where the miner actor stands.
#[derive(Debug)]
pub enum Step {
    /// It is on chain and as declared.
    Known(Miner),
    /// Not yet.
    Waiting(String),
    /// The sectors of a genesis block are where they are to be, and are to be recorded.
    Imported(Vec<Imported>),
    /// The chain and the node know nothing of its CreateMiner message any more.
    Gone(MessageId),
}

/// What every errand needs.
#[derive(Debug, Clone)]
pub struct Desk<N = Client> {
    /// The node.
    pub client: N,
    /// The head all questions are asked at.
    pub head: TipSet,
    /// The network.
    pub network: NetworkParams,
    /// The manifest in force.
    pub manifest: Arc<Manifest>,
}

/// The miner once it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miner {
    /// Its id.
    pub id: MinerId,
    /// The sender of its messages.
    pub worker: String,
    /// The network it is on.
    pub network: String,
}

pub(super) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string()
}

impl<N: Node> Desk<N> {
    /// Draws the ticket of a sector, `lookback` epochs before the head.
    pub async fn ticket(self, miner: MinerId, number: SectorNumber, lookback: i64) -> Done {
        let epoch = self.head.height.plus(lookback.saturating_neg());
        let drawn = self.client.ticket(miner, epoch, &self.head).await;
        let result = match drawn {
            Ok(value) => Ok(Ticket { epoch, value, read_at: self.head.height }),
            Err(error) => Err(told(&error)),
        };
        Done::Ticket { number, result }
    }
}
