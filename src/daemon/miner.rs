//! The way to a known miner actor: found, created once, or taken over from a genesis block.
//!
//! Each step is an errand of its own. What must not be done twice is in the database before it is done.

use super::{
    accounts,
    errands::{Desk, Done, Miner, Step, told},
    genesis::Shelf,
    observer::other_network,
};
use crate::{
    chain::MinerInfo,
    manifest::{Identity, Senders},
    plan::NETWORKS,
    sector::MessageId,
    store::Store,
    units::Epoch,
};
use std::collections::BTreeMap;

impl Desk {
    /// Takes the next step towards a known miner. `gone` says since when messages are gone.
    pub async fn miner(self, store: Store, gone: BTreeMap<MessageId, Epoch>, shelves: Vec<Shelf>) -> Done {
        Done::Miner(Way { desk: self, store, gone, shelves }.step().await)
    }
}

/// What a step towards the miner needs.
pub(super) struct Way {
    pub(super) desk: Desk,
    pub(super) store: Store,
    pub(super) gone: BTreeMap<MessageId, Epoch>,
    pub(super) shelves: Vec<Shelf>,
}

impl Way {
    async fn step(&self) -> Result<Step, String> {
        self.same_network().await?;
        let known = self.store.setting(MINER).await.map_err(|e| told(&e))?;
        let is_first = known.is_none();
        let miner = match (known, &self.desk.manifest.miner.identity) {
            (known, Identity::Attach(id) | Identity::Genesis { actor: id, .. }) => {
                if let Some(other) = known.as_deref().filter(|known| *known != id.to_string()) {
                    return Err(format!(
                        "this state folder belongs to miner {other}, the manifest says {id}: give it another state.dir"
                    ));
                }
                *id
            }
            (Some(known), Identity::Create { .. }) => known.parse().map_err(|e| told(&e))?,
            (None, Identity::Create { owner, worker }) => match self.create(owner, worker).await? {
                Ok(miner) => miner,
                Err(step) => return Ok(step),
            },
        };
        let info = self.desk.client.miner_info(miner, &self.desk.head).await.map_err(|e| told(&e))?;
        let wanted = self.desk.manifest.miner.sector_size;
        if info.sector_size != wanted {
            return Err(format!(
                "miner {miner} has {} sectors on chain, the manifest says {wanted}: correct miner.sector_size",
                info.sector_size
            ));
        }
        if info.window_post_proof != wanted.window_post_proof() {
            return Err(format!(
                "miner {miner} proves with window PoSt type {}, this version seals for type {}",
                info.window_post_proof,
                wanted.window_post_proof()
            ));
        }
        let version = self.desk.client.network_version().await.map_err(|e| told(&e))?;
        let oldest = NETWORKS.start();
        if version < *oldest {
            return Err(format!(
                "the network is at version {version}: the messages of this version exist from {oldest} on"
            ));
        }
        if is_first {
            self.can_send(&info).await?;
            if let Identity::Genesis { actor, presealed, metadata } = &self.desk.manifest.miner.identity
                && let Err(step) = self.import(&info, *actor, presealed, metadata).await?
            {
                return Ok(step);
            }
        }
        self.store.set_setting(MINER, &miner.to_string()).await.map_err(|e| told(&e))?;
        let network = self.desk.network.name.clone();
        Ok(Step::Known(Miner { id: miner, worker: info.worker, network }))
    }

    /// The same numbers mean other miners and sectors on another network.
    async fn same_network(&self) -> Result<(), String> {
        let here = &self.desk.network.name;
        match self.store.setting(NETWORK).await.map_err(|e| told(&e))? {
            Some(known) if known == *here => Ok(()),
            Some(known) => Err(other_network(&known, here)),
            None => self.store.set_setting(NETWORK, here).await.map_err(|e| told(&e)),
        }
    }

    /// Before a miner is taken up: its worker's key is there, and everybody whom the manifest names may send. Later the
    /// same is an alarm, and what goes on goes on.
    async fn can_send(&self, info: &MinerInfo) -> Result<(), String> {
        let Senders { precommit, commit, terminate } = &self.desk.manifest.miner.senders;
        let names = precommit.iter().chain(commit).chain(terminate).cloned().collect();
        let read = accounts::read(&self.desk.client, info, &names, &self.desk.head).await.map_err(|e| told(&e))?;
        let accounts = read.ok_or_else(|| format!("the worker {} is no account on chain", info.worker))?;
        accounts.unfit().into_iter().next().map_or(Ok(()), |unfit| Err(unfit.to_string()))
    }
}

/// Settings of the database.
pub const MINER: &str = "miner";
const NETWORK: &str = "network";

/// A new idempotency key.
pub(super) fn new_id() -> MessageId {
    MessageId(uuid::Uuid::new_v4().to_string())
}
