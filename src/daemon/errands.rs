//! What the daemon asks of the chain on behalf of a plan: tickets, messages, the miner actor.
//!
//! Each errand runs in a task of its own and ends in one [`Done`]; the loop records what it means. Nothing is
//! remembered here, so an errand that is lost with the process is planned again.

use crate::{
    chain::{ChainError, Client, Executed, Fate, Message, NetworkParams, Pushed, TipSet, cids, messages, params},
    clock,
    error::Chain,
    manifest::{Account, Identity, Manifest},
    sector::{self, MessageId, Record, Ticket},
    store::{MessageKind, MessageStatus, OutboxMessage, Store, StoreError},
    units::{AttoFil, Epoch, MinerId, SectorNumber},
};
use std::{collections::BTreeMap, sync::Arc};

/// How far before the head a ticket is drawn: chain finality, on every network.
const TICKET_LOOKBACK: i64 = 900;

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
        /// The sectors it carries.
        numbers: Vec<SectorNumber>,
        /// The outbox row.
        result: Result<OutboxMessage, String>,
    },
    /// A message was handed to the node, or not.
    Pushed {
        /// The message.
        id: MessageId,
        /// What became of it.
        result: Handed,
    },
    /// A step towards the miner was taken.
    Miner(Result<Step, String>),
}

/// What became of handing over a message.
#[derive(Debug)]
pub enum Handed {
    /// The node has it.
    Taken(Pushed),
    /// The node's simulation refused it; it was not sent.
    Refused(String),
    /// It may or may not have arrived; handing it over again with the same id is safe.
    Unclear(String),
}

/// Where the miner actor stands.
#[derive(Debug)]
pub enum Step {
    /// It is on chain and as declared.
    Known {
        /// Its id.
        miner: MinerId,
        /// The worker's id address, which sends the messages.
        worker: String,
    },
    /// Not yet.
    Waiting(String),
    /// The chain and the node know nothing of its CreateMiner message any more.
    Gone(MessageId),
}

/// What every errand needs.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The node.
    pub client: Client,
    /// The head all questions are asked at.
    pub head: TipSet,
    /// The network.
    pub network: NetworkParams,
    /// The manifest in force.
    pub manifest: Arc<Manifest>,
    /// The database.
    pub store: Store,
    /// Since when messages are gone.
    pub gone: BTreeMap<MessageId, Epoch>,
}

/// The miner once it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miner {
    /// Its id.
    pub id: MinerId,
    /// The sender of its messages.
    pub worker: String,
}

fn told(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string()
}

fn new_id() -> MessageId {
    MessageId(uuid::Uuid::new_v4().to_string())
}

impl Desk {
    /// Draws the ticket of a sector.
    pub async fn ticket(self, miner: MinerId, number: SectorNumber) -> Done {
        let epoch = self.head.height.plus(TICKET_LOOKBACK.saturating_neg());
        let drawn = self.client.ticket(miner, epoch, &self.head).await;
        let result = match drawn {
            Ok(value) => Ok(Ticket { epoch, value, read_at: self.head.height }),
            Err(error) => Err(told(&error)),
        };
        Done::Ticket { number, result }
    }

    /// Composes one pre-commit message for these sectors.
    pub async fn precommit(self, miner: Miner, records: Vec<Record>) -> Done {
        let numbers = records.iter().map(|record| record.number).collect();
        let result = self.compose_precommit(&miner, &records).await.map_err(|e| told(&e));
        Done::Composed { numbers, result }
    }

    async fn compose_precommit(&self, miner: &Miner, records: &[Record]) -> Result<OutboxMessage, ChainError> {
        let delay = self.network.pre_commit_challenge_delay;
        let lifetime = self.manifest.pledge.lifetime_epochs;
        let mut value = AttoFil::ZERO;
        let mut infos = Vec::with_capacity(records.len());
        for record in records {
            let (Some(ticket), Some(sealed)) = (&record.ticket, &record.sealed) else {
                return Err(invalid(record.number, "has no ticket or no commitments"));
            };
            let info = params::SectorPreCommitInfo {
                seal_proof: record.proof.as_i64(),
                sector_number: record.number.as_u64(),
                sealed_cid: cids::sealed(sealed.comm_r),
                seal_rand_epoch: ticket.epoch.as_i64(),
                deal_ids: Vec::new(),
                expiration: sector::expiration(self.head.height, lifetime, delay).as_i64(),
                unsealed_cid: None,
            };
            let deposit = self.client.precommit_deposit(miner.id, &info, &self.head).await?;
            value = sum(value, deposit)?;
            infos.push(info);
        }
        let message = messages::precommit_message(miner.id, &miner.worker, value, infos)?;
        Ok(outbox(MessageKind::PreCommit, records, message))
    }

    /// Composes one prove-commit message for these sectors.
    pub async fn commit(self, miner: Miner, records: Vec<Record>) -> Done {
        let numbers = records.iter().map(|record| record.number).collect();
        let result = self.compose_commit(&miner, &records).await.map_err(|e| told(&e));
        Done::Composed { numbers, result }
    }

    async fn compose_commit(&self, miner: &Miner, records: &[Record]) -> Result<OutboxMessage, ChainError> {
        let size = self.manifest.miner.sector_size;
        let pledge = self.client.initial_pledge(self.manifest.pledge.lifetime_epochs, size, &self.head).await?;
        let mut value = AttoFil::ZERO;
        let mut proofs = Vec::with_capacity(records.len());
        for record in records {
            let proof = record.porep.as_deref().and_then(crate::units::from_hex);
            let proof = proof.ok_or_else(|| invalid(record.number, "has no proof"))?;
            let landed = record.precommit.as_ref().and_then(|p| p.landed.as_ref());
            let deposit = landed.map_or(AttoFil::ZERO, |landed| landed.deposit);
            let missing = pledge.checked_sub(deposit).unwrap_or(pledge).max(AttoFil::ZERO);
            value = sum(value, missing)?;
            proofs.push((record.number, proof));
        }
        let message = messages::commit_message(miner.id, &miner.worker, value, proofs)?;
        Ok(outbox(MessageKind::Commit, records, message))
    }

    /// Hands an outbox message to the node. It is simulated first, so that a refusal by the actor is told from a node
    /// that is away; after the first time, the node is asked before that whether it has the message already.
    pub async fn push(self, row: OutboxMessage) -> Done {
        let result = self.hand_over(&row).await;
        Done::Pushed { id: row.id, result }
    }

    async fn hand_over(&self, row: &OutboxMessage) -> Handed {
        let fee = self.max_fee(row.kind);
        if row.attempts > 0 {
            match self.client.pending_like(&row.message).await {
                Ok(Some(pushed)) => return Handed::Taken(pushed),
                Ok(None) => {}
                Err(error) => return Handed::Unclear(told(&error)),
            }
        }
        match self.client.estimate(&row.message, fee, &self.head).await {
            Ok(_) => {}
            // 2: out of gas, 3: the actor said no, perhaps as it has executed already; anything else says nothing
            Err(error @ ChainError::Refused { code: 2 | 3, .. }) => return Handed::Refused(told(&error)),
            Err(error) => return Handed::Unclear(told(&error)),
        }
        // from here on it may have been sent: recorded first, so that a crash asks before it sends again
        let attempts = row.attempts.saturating_add(1);
        if let Err(error) = self.store.set_message(&row.id, &MessageStatus::Intended, attempts).await {
            return Handed::Unclear(told(&error));
        }
        match self.client.push(&row.message, &row.id, fee).await {
            Ok(pushed) => Handed::Taken(pushed),
            Err(error) => Handed::Unclear(told(&error)),
        }
    }

    fn max_fee(&self, kind: MessageKind) -> AttoFil {
        match kind {
            MessageKind::PreCommit => self.manifest.fees.max_precommit,
            MessageKind::Commit | MessageKind::CreateMiner => self.manifest.fees.max_commit,
        }
    }

    /// Takes the next step towards a known miner.
    pub async fn miner(self) -> Done {
        Done::Miner(self.miner_step().await)
    }

    async fn miner_step(&self) -> Result<Step, String> {
        self.same_network().await?;
        let known = self.store.setting(MINER).await.map_err(|e| told(&e))?;
        let miner = match (known, &self.manifest.miner.identity) {
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
        let info = self.client.miner_info(miner, &self.head).await.map_err(|e| told(&e))?;
        let wanted = self.manifest.miner.sector_size;
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
        let version = self.client.network_version().await.map_err(|e| told(&e))?;
        if version < OLDEST_NETWORK {
            return Err(format!(
                "the network is at version {version}: the messages of this version exist from {OLDEST_NETWORK} on"
            ));
        }
        self.store.set_setting(MINER, &miner.to_string()).await.map_err(|e| told(&e))?;
        Ok(Step::Known { miner, worker: info.worker })
    }

    /// The same numbers mean other miners and sectors on another network.
    async fn same_network(&self) -> Result<(), String> {
        let here = &self.network.name;
        match self.store.setting(NETWORK).await.map_err(|e| told(&e))? {
            Some(known) if known == *here => Ok(()),
            Some(known) => Err(format!(
                "this state folder belongs to network {known}, the node is on {here}: correct the endpoint, or give it \
                 another state.dir"
            )),
            None => self.store.set_setting(NETWORK, here).await.map_err(|e| told(&e)),
        }
    }

    /// Creates the actor: one message, recorded before it is sent. `Err` in `Ok` says what is waited for.
    async fn create(&self, owner: &Account, worker: &Account) -> Result<Result<MinerId, Step>, String> {
        let waiting = |what: &str| Ok(Err(Step::Waiting(what.to_owned())));
        let (rows, _) = self.store.messages().await.map_err(|e| told(&e))?;
        let mut rows: Vec<_> = rows.into_iter().filter(|row| row.kind == MessageKind::CreateMiner).collect();
        rows.sort_by_key(|row| row.created);
        let failures = rows.iter().filter(|row| matches!(&row.status, MessageStatus::Landed(e) if e.exit_code != 0));
        if failures.count() >= CREATIONS {
            return Err(format!(
                "creating the miner failed on chain {CREATIONS} times, and each try costs gas: look at the messages of \
                 {}, then start with another state.dir",
                rows.last().map_or("the owner", |row| row.message.from.as_str())
            ));
        }
        let Some(row) = rows.pop().filter(|row| !failed(row)) else {
            self.compose_create(owner, worker).await?;
            return waiting("its CreateMiner message to be sent");
        };
        match &row.status {
            MessageStatus::Intended => {
                let done = self.hand_over(&row).await;
                let attempts = row.attempts.saturating_add(1);
                let status = match done {
                    Handed::Taken(pushed) => MessageStatus::Pushed(pushed),
                    Handed::Refused(why) => MessageStatus::Refused { why },
                    Handed::Unclear(why) => return Err(why),
                };
                self.store.set_message(&row.id, &status, attempts).await.map_err(|e| told(&e))?;
                match status {
                    MessageStatus::Refused { why } => Err(format!("the network refuses to create the miner: {why}")),
                    MessageStatus::Intended | MessageStatus::Pushed(_) | MessageStatus::Landed(_) => {
                        waiting("its CreateMiner message to be included")
                    }
                }
            }
            MessageStatus::Pushed(pushed) => {
                let Pushed { cid, nonce } = pushed;
                let fate = self.client.fate(cid, &row.message.from, Some(*nonce), &self.head).await;
                match fate.map_err(|e| told(&e))? {
                    Fate::Executed(executed) if self.counts(executed.height) => {
                        let landed = MessageStatus::Landed(executed.clone());
                        self.store.set_message(&row.id, &landed, row.attempts).await.map_err(|e| told(&e))?;
                        created(&executed).map(Ok)
                    }
                    Fate::Executed(_) => waiting("its CreateMiner message to be deep enough in the chain"),
                    Fate::Waiting => waiting("its CreateMiner message to be included"),
                    Fate::Gone if self.gone.get(&row.id).is_some_and(|since| self.counts(*since)) => {
                        let refused = MessageStatus::Refused { why: GONE.to_owned() };
                        self.store.set_message(&row.id, &refused, row.attempts).await.map_err(|e| told(&e))?;
                        waiting("its CreateMiner message to be made anew")
                    }
                    Fate::Gone => Ok(Err(Step::Gone(row.id))),
                }
            }
            MessageStatus::Landed(executed) => created(executed).map(Ok),
            MessageStatus::Refused { why } => Err(why.clone()),
        }
    }

    fn counts(&self, height: Epoch) -> bool {
        self.head.height >= height.plus(self.manifest.chain.message_confidence)
    }

    async fn compose_create(&self, owner: &Account, worker: &Account) -> Result<(), String> {
        let owner = self.account(owner).await?;
        let worker = self.account(worker).await?;
        let deposit = self.client.creation_deposit(&self.head).await.map_err(|e| told(&e))?;
        // a margin of 1 %, as lotus-miner sends: the deposit moves with the network between now and execution
        let value = AttoFil::from_atto(deposit.as_atto().saturating_add(deposit.as_atto() / 100));
        let sector_size = self.manifest.miner.sector_size;
        let new = messages::NewMiner { from: &owner, owner: &owner, worker: &worker, sector_size };
        let message = messages::create_miner_message(&new, value).map_err(|e| told(&e))?;
        let row = outbox(MessageKind::CreateMiner, &[], message);
        self.store.add_message(&row).await.map_err(|e| told(&e))
    }

    async fn account(&self, account: &Account) -> Result<String, String> {
        match account {
            Account::Address(address) => Ok(address.clone()),
            Account::Default => self
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
                let address = self.client.new_bls_address().await.map_err(|e| told(&e))?;
                self.store.set_setting(WORKER_KEY, &address).await.map_err(|e: StoreError| told(&e))?;
                Ok(address)
            }
        }
    }
}

/// The first network version on which PreCommitSectorBatch2 and ProveCommitSectors3 are the only way, as sent here.
const OLDEST_NETWORK: u32 = 25;

/// Settings of the database.
pub const MINER: &str = "miner";
const WORKER_KEY: &str = "worker_key";
const NETWORK: &str = "network";

/// CreateMiner messages that may fail on chain: each costs gas.
const CREATIONS: usize = 3;

/// Why a message is given up that a node had taken.
pub const GONE: &str = "the node forgot it, or another message took its nonce";

fn failed(row: &OutboxMessage) -> bool {
    match &row.status {
        MessageStatus::Refused { .. } => true,
        MessageStatus::Landed(executed) => executed.exit_code != 0,
        MessageStatus::Intended | MessageStatus::Pushed(_) => false,
    }
}

fn created(executed: &Executed) -> Result<MinerId, String> {
    if executed.exit_code != 0 {
        return Err(format!("creating the miner failed on chain with exit code {}", executed.exit_code));
    }
    messages::decode_create_miner(&executed.value).map_err(|e| told(&e))
}

fn invalid(number: SectorNumber, what: &str) -> ChainError {
    ChainError::Invalid { what: format!("sector {number} {what}") }
}

fn sum(a: AttoFil, b: AttoFil) -> Result<AttoFil, ChainError> {
    a.checked_add(b).ok_or_else(|| ChainError::Invalid { what: "an amount of FIL beyond what exists".to_owned() })
}

fn outbox(kind: MessageKind, records: &[Record], message: Message) -> OutboxMessage {
    OutboxMessage {
        id: new_id(),
        kind,
        sectors: records.iter().map(|record| record.number).collect(),
        message,
        created: clock::now(),
        status: MessageStatus::Intended,
        attempts: 0,
    }
}
