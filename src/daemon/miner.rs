//! The way to a known miner actor: found, or created once.
//!
//! Each step is an errand of its own. What must not be done twice is in the database before it is done.

use super::{
    errands::{Desk, Done, Miner, Step, told},
    observer::other_network,
};
use crate::{
    book::{Handed, OVERTAKEN},
    chain::{Executed, Fate, messages},
    clock,
    manifest::{Account, Identity},
    outbox::{Batch, BatchState, MessageKind, Sent, reprice},
    plan::{Desired, NETWORKS},
    sector::MessageId,
    store::{Store, StoreError},
    units::{AttoFil, Epoch, MinerId},
};
use std::collections::BTreeMap;

impl Desk {
    /// Takes the next step towards a known miner. `gone` says since when messages are gone.
    pub async fn miner(self, store: Store, gone: BTreeMap<MessageId, Epoch>) -> Done {
        Done::Miner(Way { desk: self, store, gone }.step().await)
    }
}

/// What a step towards the miner needs.
struct Way {
    desk: Desk,
    store: Store,
    gone: BTreeMap<MessageId, Epoch>,
}

impl Way {
    async fn step(&self) -> Result<Step, String> {
        self.same_network().await?;
        let known = self.store.setting(MINER).await.map_err(|e| told(&e))?;
        let miner = match (known, &self.desk.manifest.miner.identity) {
            (known, Identity::Attach(id)) => {
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
            (_, Identity::Genesis { .. }) => {
                return Err("this version does not import genesis sectors: use miner.actor or miner.create".to_owned());
            }
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

    /// Creates the actor: one message, recorded before it is sent. `Err` in `Ok` says what is waited for.
    async fn create(&self, owner: &Account, worker: &Account) -> Result<Result<MinerId, Step>, String> {
        let waiting = |what: &str| Ok(Err(Step::Waiting(what.to_owned())));
        let (batches, _) = self.store.batches().await.map_err(|e| told(&e))?;
        let mut batches: Vec<_> = batches.into_iter().filter(|b| b.kind == MessageKind::CreateMiner).collect();
        batches.sort_by_key(|batch| batch.created);
        let failures = batches.iter().filter(|b| matches!(executed(&b.state), Some(e) if e.exit_code != 0));
        if failures.count() >= CREATIONS {
            let sender = batches.last().and_then(|b| b.message.as_ref()).map_or("the owner", |m| m.from.as_str());
            return Err(format!(
                "creating the miner failed on chain {CREATIONS} times, and each try costs gas: look at the messages of \
                 {sender}, then start with another state.dir"
            ));
        }
        let Some(batch) = batches.pop().filter(|batch| !failed(&batch.state)) else {
            self.compose_create(owner, worker).await?;
            return waiting("its CreateMiner message to be sent");
        };
        match (&batch.state, &batch.sent, &batch.message) {
            (BatchState::Sealed, _, Some(message)) => {
                let cap = self.desk.manifest.fees.max_commit;
                let tried = Batch { attempts: batch.attempts.saturating_add(1), ..batch.clone() };
                self.put(&tried).await?;
                match self.desk.hand_over(&batch, message, cap).await {
                    Handed::Taken(sent) => {
                        self.put(&Batch { state: BatchState::Sent, sent: Some(sent), ..tried }).await?;
                        waiting("its CreateMiner message to be included")
                    }
                    Handed::Refused(why) => {
                        self.put(&Batch { state: BatchState::Dissolved { why: why.clone() }, ..tried }).await?;
                        Err(format!("the network refuses to create the miner: {why}"))
                    }
                    Handed::Unclear(why) => Err(why),
                }
            }
            (BatchState::Sent, Some(sent), Some(message)) => {
                let fate = self.desk.client.fate(&sent.cid, &message.from, Some(sent.nonce), &self.desk.head).await;
                match fate.map_err(|e| told(&e))? {
                    Fate::Executed(executed) if self.counts(executed.height) => {
                        self.put(&Batch { state: BatchState::Landed(executed.clone()), ..batch }).await?;
                        created(&executed).map(Ok)
                    }
                    Fate::Executed(_) => waiting("its CreateMiner message to be deep enough in the chain"),
                    Fate::Waiting => {
                        self.pay_more(&batch, sent).await?;
                        waiting("its CreateMiner message to be included")
                    }
                    Fate::Forgotten | Fate::Overtaken if !self.stays_gone(&batch.id) => Ok(Err(Step::Gone(batch.id))),
                    Fate::Forgotten if sent.signed.is_some() => {
                        self.desk.client.resend(sent).await.map_err(|e| told(&e))?;
                        waiting("its CreateMiner message, handed over again, to be included")
                    }
                    Fate::Forgotten | Fate::Overtaken => {
                        let why = OVERTAKEN.to_owned();
                        self.put(&Batch { state: BatchState::Dissolved { why }, ..batch }).await?;
                        waiting("its CreateMiner message to be made anew")
                    }
                }
            }
            (BatchState::Landed(executed) | BatchState::Settled(executed), _, _) => created(executed).map(Ok),
            (BatchState::Dissolved { why }, _, _) => Err(why.clone()),
            (BatchState::Open { .. } | BatchState::Sealed | BatchState::Sent, _, _) => {
                Err(format!("message {} is recorded without its content: give seald another state.dir", batch.id.0))
            }
        }
    }

    /// Replaces the message by a dearer one when it waits below the base fee; a node that does not let it keeps it.
    async fn pay_more(&self, batch: &Batch, sent: &Sent) -> Result<(), String> {
        let Desk { client, head, manifest, .. } = &self.desk;
        let rule = Desired::of(manifest).commit_fees;
        let Some(dearer) = reprice(&rule, sent, head.base_fee, head.height, None) else { return Ok(()) };
        match client.replace(sent, dearer.gas).await {
            Ok(taken) => {
                let taken = Sent { at: head.height, ..taken };
                self.put(&Batch { sent: Some(taken), ..batch.clone() }).await
            }
            Err(error) => {
                tracing::warn!(error = %told(&error), "the CreateMiner message cannot be replaced by a dearer one");
                Ok(())
            }
        }
    }

    async fn put(&self, batch: &Batch) -> Result<(), String> {
        self.store.put_batch(batch).await.map_err(|e| told(&e))
    }

    fn stays_gone(&self, id: &MessageId) -> bool {
        self.gone.get(id).is_some_and(|since| self.counts(*since))
    }

    fn counts(&self, height: Epoch) -> bool {
        self.desk.head.height >= height.plus(self.desk.manifest.chain.message_confidence)
    }

    async fn compose_create(&self, owner: &Account, worker: &Account) -> Result<(), String> {
        let owner = self.account(owner).await?;
        let worker = self.account(worker).await?;
        let deposit = self.desk.client.creation_deposit(&self.desk.head).await.map_err(|e| told(&e))?;
        // a margin of 1 %, as lotus-miner sends: the deposit moves with the network between now and execution
        let value = AttoFil::from_atto(deposit.as_atto().saturating_add(deposit.as_atto() / 100));
        let sector_size = self.desk.manifest.miner.sector_size;
        let new = messages::NewMiner { from: &owner, owner: &owner, worker: &worker, sector_size };
        let message = messages::create_miner_message(&new, value).map_err(|e| told(&e))?;
        let mut batch = Batch::open(new_id(), MessageKind::CreateMiner, Vec::new(), clock::now());
        (batch.state, batch.message) = (BatchState::Sealed, Some(message));
        self.put(&batch).await
    }

    async fn account(&self, account: &Account) -> Result<String, String> {
        match account {
            Account::Address(address) => Ok(address.clone()),
            Account::Default => self
                .desk
                .client
                .default_address()
                .await
                .map_err(|e| told(&e))?
                .ok_or_else(|| "the node has no default wallet address: make one, or name the account".to_owned()),
            Account::New => {
                // remembered at once, so that a crash makes one key and not two
                let known = self.store.setting(WORKER_KEY).await.map_err(|e| told(&e))?;
                if let Some(known) = known {
                    return Ok(known);
                }
                let address = self.desk.client.new_bls_address().await.map_err(|e| told(&e))?;
                self.store.set_setting(WORKER_KEY, &address).await.map_err(|e: StoreError| told(&e))?;
                Ok(address)
            }
        }
    }
}

/// Settings of the database.
pub const MINER: &str = "miner";
const WORKER_KEY: &str = "worker_key";
const NETWORK: &str = "network";

/// CreateMiner messages that may fail on chain: each costs gas.
const CREATIONS: usize = 3;

/// A new idempotency key.
pub(super) fn new_id() -> MessageId {
    MessageId(uuid::Uuid::new_v4().to_string())
}

const fn executed(state: &BatchState) -> Option<&Executed> {
    match state {
        BatchState::Landed(executed) | BatchState::Settled(executed) => Some(executed),
        BatchState::Open { .. } | BatchState::Sealed | BatchState::Sent | BatchState::Dissolved { .. } => None,
    }
}

fn failed(state: &BatchState) -> bool {
    matches!(state, BatchState::Dissolved { .. }) || executed(state).is_some_and(|e| e.exit_code != 0)
}

fn created(executed: &Executed) -> Result<MinerId, String> {
    if executed.exit_code != 0 {
        return Err(format!("creating the miner failed on chain with exit code {}", executed.exit_code));
    }
    messages::decode_create_miner(&executed.value).map_err(|e| told(&e))
}
