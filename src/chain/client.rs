//! The one client of a Lotus-compatible node: each question of the daemon is one method here or in a child.
//!
//! Turns the node's JSON into the types of `chain` and back. Decides nothing and remembers nothing: messages are
//! recorded by the caller before they are pushed. State is asked at a tipset, and the node answers with the state
//! *before* that tipset's own messages.

mod miner;
mod outbox;
mod proving;

use super::{
    ChainError, Endpoint, NetworkParams, TipSet,
    health::{EndpointSeen, Expected},
    rpc::{Heads, Kind, Limits, Rpc},
    wire,
};
use crate::units::{AttoFil, Epoch, Hash32, MinerId};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// Epochs after which the chain is final without further proof. Source: lotus-full-node-api 6.
const FINALITY: i64 = 900;

/// Randomness for the replica and for its proof. Source: lotus-full-node-api 4.1.
const SEAL_RANDOMNESS: i64 = 5;
const INTERACTIVE_SEAL_CHALLENGE_SEED: i64 = 6;

/// Of a method without parameters: an empty list.
const NONE: [(); 0] = [];

/// The reward actor. Source: lotus-full-node-api 5.
const REWARD_ACTOR: &str = "t02";

/// JSON-RPC's "no such method".
const METHOD_NOT_FOUND: i64 = -32601;

/// A node, or several in order of preference. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    rpc: Arc<Rpc>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Every method: [`ChainError::Unreachable`] when no endpoint answers within the bounds, [`ChainError::Refused`]
/// when one refuses, [`ChainError::Malformed`] when the answer is not of the documented shape.
impl Client {
    /// A client of these endpoints; connects when first asked.
    ///
    /// # Errors
    /// [`ChainError::Invalid`] for an endpoint that cannot be one, and for an empty list.
    pub fn new(endpoints: Vec<Endpoint>) -> Result<Self, ChainError> {
        Self::with_limits(endpoints, Limits::default())
    }

    /// The same with other bounds.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_limits(endpoints: Vec<Endpoint>, limits: Limits) -> Result<Self, ChainError> {
        Ok(Self { rpc: Arc::new(Rpc::new(&endpoints, limits, None)?) })
    }

    /// A client that believes no endpoint before it has said who it is, and none whose head is not one to decide by.
    /// All must be on `network`; without it, on that of the first one that answers.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn wary(endpoints: Vec<Endpoint>, network: Option<String>) -> Result<Self, ChainError> {
        Self::wary_within(endpoints, network, Limits::default())
    }

    /// The same with other bounds.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn wary_within(endpoints: Vec<Endpoint>, network: Option<String>, limits: Limits) -> Result<Self, ChainError> {
        let expected = Expected { network, genesis: None };
        Ok(Self { rpc: Arc::new(Rpc::new(&endpoints, limits, Some(expected))?) })
    }

    /// Asks the endpoints that are not in use who they are and where their head is.
    pub async fn look_around(&self) {
        self.rpc.look_around().await;
    }

    /// How each endpoint was found last.
    pub fn endpoints(&self) -> Vec<EndpointSeen> {
        self.rpc.seen()
    }

    /// News of heads, where the endpoint in use can tell: a websocket. What was heard before is not told again.
    pub fn heads(&self) -> Heads {
        self.rpc.heads()
    }

    /// A client of a node whose answers are at hand.
    #[cfg(any(test, fuzzing))]
    pub(super) fn recorded(answers: super::rpc::Recorded) -> Result<Self, ChainError> {
        Ok(Self { rpc: Arc::new(Rpc::recorded(answers)?) })
    }

    /// Name and version of the node software.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn version(&self) -> Result<String, ChainError> {
        let found: wire::Version = self.ask("Version", NONE).await?;
        Ok([found.agent, found.version].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
    }

    /// The network's build-dependent values.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn network_params(&self) -> Result<NetworkParams, ChainError> {
        let found: wire::NetworkParams = self.ask("StateGetNetworkParams", NONE).await?;
        Ok(NetworkParams {
            name: found.network_name,
            block_delay_secs: found.block_delay_secs,
            pre_commit_challenge_delay: found.pre_commit_challenge_delay,
        })
    }

    /// The network version at the head.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn network_version(&self) -> Result<u32, ChainError> {
        self.ask("StateNetworkVersion", (wire::TipSetKey::default(),)).await
    }

    /// The heaviest tipset the node knows.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn head(&self) -> Result<TipSet, ChainError> {
        tipset("ChainHead", self.rpc.head().await?)
    }

    /// The newest epoch that cannot be reorganised away: what the node says, or 900 epochs back when it cannot say.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn finalized(&self) -> Result<Epoch, ChainError> {
        match self.ask("ChainGetFinalizedTipSet", NONE).await {
            Ok(found) => Ok(tipset("ChainGetFinalizedTipSet", found)?.height),
            Err(ChainError::Refused { .. }) => Ok(self.head().await?.height.plus(-FINALITY)),
            Err(other) => Err(other),
        }
    }

    /// The randomness a replica is bound to, of a past epoch (negative is the genesis).
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn ticket(&self, miner: MinerId, epoch: Epoch, at: &TipSet) -> Result<Hash32, ChainError> {
        self.randomness("StateGetRandomnessFromTickets", SEAL_RANDOMNESS, miner, epoch, at).await
    }

    /// The randomness its proof answers to, of a past epoch.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn seed(&self, miner: MinerId, epoch: Epoch, at: &TipSet) -> Result<Hash32, ChainError> {
        self.randomness("StateGetRandomnessFromBeacon", INTERACTIVE_SEAL_CHALLENGE_SEED, miner, epoch, at).await
    }

    /// The deposit that comes with a new miner, without any margin.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn creation_deposit(&self, at: &TipSet) -> Result<AttoFil, ChainError> {
        self.ask("StateMinerCreationDeposit", (key(at),)).await
    }

    /// The block reward of an epoch, all winners together.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn epoch_reward(&self, at: &TipSet) -> Result<AttoFil, ChainError> {
        let found: wire::ActorState<wire::RewardState> = self.ask("StateReadState", (REWARD_ACTOR, key(at))).await?;
        Ok(found.state.this_epoch_reward)
    }

    async fn randomness(
        &self,
        method: &str,
        tag: i64,
        miner: MinerId,
        epoch: Epoch,
        at: &TipSet,
    ) -> Result<Hash32, ChainError> {
        let entropy = wire::Blob(miner.to_entropy());
        let wire::Blob(drawn) = self.ask(method, (tag, epoch, entropy, key(at))).await?;
        <[u8; 32]>::try_from(drawn).map(Hash32).map_err(|drawn| {
            ChainError::malformed(method, format!("randomness of {} bytes instead of 32", drawn.len()))
        })
    }

    async fn ask<R: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize + Send + Sync,
    ) -> Result<R, ChainError> {
        self.rpc.call(Kind::Read, method, params).await
    }
}

fn tipset(method: &str, found: wire::TipSet) -> Result<TipSet, ChainError> {
    let first = found.blocks.first().ok_or_else(|| ChainError::malformed(method, "a tipset without blocks"))?;
    Ok(TipSet {
        timestamp: first.timestamp,
        base_fee: first.parent_base_fee,
        height: Epoch::new(found.height),
        key: found.cids.0.into_iter().map(|link| link.cid).collect(),
    })
}

fn key(at: &TipSet) -> wire::TipSetKey {
    wire::TipSetKey(at.key.iter().cloned().map(wire::CidJson::from).collect())
}

#[cfg(test)]
mod tests;
