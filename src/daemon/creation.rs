//! The creation of a miner actor: the messages of it, each recorded before it is sent, so that a crash at any moment
//! creates one miner and not two.

use super::{
    errands::{Desk, Step, told},
    miner::{Way, new_id},
};
use crate::{
    book::{Handed, OVERTAKEN},
    chain::{Executed, Fate, Message, messages},
    clock,
    manifest::Account,
    outbox::{Batch, BatchState, MessageKind, Sent, reprice},
    plan::Desired,
    sector::{MessageId, exit_code},
    store::StoreError,
    units::{AttoFil, Epoch, MinerId},
};

/// Where one message stands: it executed, or a step is taken, or waited for.
type Stand = Result<Executed, Step>;

impl Way {
    /// Creates the actor. `Err` in `Ok` says what is waited for.
    pub(super) async fn create(&self, owner: &Account, worker: &Account) -> Result<Result<MinerId, Step>, String> {
        let stand = match self.newest(MessageKind::CreateMiner).await? {
            Some(batch) => self.follow(batch).await?,
            None => {
                let owner = self.account(owner).await?;
                let worker = self.account(worker).await?;
                if let Err(step) = self.is_ready(&owner, &worker).await? {
                    return Ok(Err(step));
                }
                let message = self.create_message(&owner, &worker).await?;
                self.seal(MessageKind::CreateMiner, message).await?
            }
        };
        match stand {
            Ok(executed) => messages::decode_create_miner(&executed.value).map(Ok).map_err(|e| told(&e)),
            Err(step) => Ok(Err(step)),
        }
    }

    /// Whether both accounts are what the network wants, and the node can sign for them. A key that was just made is
    /// brought onto the chain first, by a message of its own.
    async fn is_ready(&self, owner: &str, worker: &str) -> Result<Result<(), Step>, String> {
        let Desk { client, head, .. } = &self.desk;
        for (role, address) in [("owner", owner), ("worker", worker)] {
            let key = client.account_key(address, head).await.map_err(|e| told(&e))?;
            let key = key.unwrap_or_else(|| address.to_owned());
            if !client.has_key(&key).await.map_err(|e| told(&e))? {
                return Err(format!(
                    "the key {key} of the {role} is not in the node's wallet: `lotus wallet import` puts it there"
                ));
            }
            if role == "worker" && !messages::is_bls(&key).map_err(|e| told(&e))? {
                return Err(format!("the worker {key} is no BLS account, which the network wants: name another"));
            }
        }
        let on_chain = |found: Option<String>| found.is_some();
        if !client.lookup_id(owner, head).await.map(on_chain).map_err(|e| told(&e))? {
            return Err(format!("the owner {owner} has no account on chain: send it the funds that the miner needs"));
        }
        let announced = self.newest(MessageKind::NewAccount).await?;
        let announced = announced.filter(|batch| batch.message.as_ref().is_some_and(|message| message.to == worker));
        let is_there = client.lookup_id(worker, head).await.map(on_chain).map_err(|e| told(&e))?;
        let stand = match announced {
            // followed to its end, although the account shows as soon as it is included
            Some(batch) if !is_there || batch.state.is_live() => self.follow(batch).await?,
            Some(_) | None if is_there => return Ok(Ok(())),
            Some(_) | None => self.seal(MessageKind::NewAccount, messages::new_account_message(owner, worker)).await?,
        };
        Ok(match stand {
            Ok(_) => Err(Step::Waiting("the account of its worker to show on chain".to_owned())),
            Err(step) => Err(step),
        })
    }

    /// The newest message of a kind, unless it failed: then another is made, a few times.
    async fn newest(&self, kind: MessageKind) -> Result<Option<Batch>, String> {
        let (batches, _) = self.store.batches().await.map_err(|e| told(&e))?;
        let mut batches: Vec<_> = batches.into_iter().filter(|batch| batch.kind == kind).collect();
        batches.sort_by_key(|batch| batch.created);
        let failed = |batch: &&Batch| executed(&batch.state).is_some_and(|executed| executed.exit_code != 0);
        if batches.iter().filter(failed).count() >= ATTEMPTS {
            let last = batches.last();
            let sender = last.and_then(|b| b.message.as_ref()).map_or("the owner", |m| m.from.as_str());
            let why = last.and_then(|b| executed(&b.state)).map_or_else(String::new, |e| exit_code::words(e.exit_code));
            return Err(format!(
                "creating the miner failed on chain {ATTEMPTS} times, and each try costs gas ({why}): look at the \
                 messages of {sender}, then start with another state.dir"
            ));
        }
        let over = |batch: &Batch| matches!(batch.state, BatchState::Dissolved { .. }) || failed(&batch);
        Ok(batches.pop().filter(|batch| !over(batch)))
    }

    /// Records a message that is to be sent.
    async fn seal(&self, kind: MessageKind, message: Message) -> Result<Stand, String> {
        let mut batch = Batch::open(new_id(), kind, Vec::new(), clock::now());
        (batch.state, batch.message) = (BatchState::Sealed, Some(message));
        self.put(&batch).await?;
        Ok(waiting(&batch, "to be sent"))
    }

    /// Takes the next step for a message that is recorded.
    async fn follow(&self, batch: Batch) -> Result<Stand, String> {
        match (&batch.state, &batch.sent, &batch.message) {
            (BatchState::Sealed, _, Some(message)) => {
                let cap = self.desk.manifest.fees.max_commit;
                let tried = Batch { attempts: batch.attempts.saturating_add(1), ..batch.clone() };
                self.put(&tried).await?;
                match self.desk.hand_over(&batch, message, cap).await {
                    Handed::Taken(sent) => {
                        self.put(&Batch { state: BatchState::Sent, sent: Some(sent), ..tried }).await?;
                        Ok(waiting(&batch, "to be included"))
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
                        let landed = Batch { state: BatchState::Landed(executed.clone()), ..batch };
                        self.put(&landed).await?;
                        succeeded(executed)
                    }
                    Fate::Executed(_) => Ok(waiting(&batch, "to be deep enough in the chain")),
                    Fate::Waiting => {
                        self.pay_more(&batch, sent).await?;
                        Ok(waiting(&batch, "to be included"))
                    }
                    Fate::Forgotten | Fate::Overtaken if !self.stays_gone(&batch.id) => Ok(Err(Step::Gone(batch.id))),
                    Fate::Forgotten if sent.signed.is_some() => {
                        self.desk.client.resend(sent).await.map_err(|e| told(&e))?;
                        Ok(waiting(&batch, "that was handed over again, to be included"))
                    }
                    Fate::Forgotten | Fate::Overtaken => {
                        let why = OVERTAKEN.to_owned();
                        self.put(&Batch { state: BatchState::Dissolved { why }, ..batch.clone() }).await?;
                        Ok(waiting(&batch, "to be made anew"))
                    }
                }
            }
            (BatchState::Landed(executed) | BatchState::Settled(executed), _, _) => succeeded(executed.clone()),
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
                tracing::warn!(error = %told(&error), "a message cannot be replaced by a dearer one");
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

    async fn create_message(&self, owner: &str, worker: &str) -> Result<Message, String> {
        let deposit = self.desk.client.creation_deposit(&self.desk.head).await.map_err(|e| told(&e))?;
        // a margin of 1 %, as lotus-miner sends: the deposit moves with the network between now and execution
        let value = AttoFil::from_atto(deposit.as_atto().saturating_add(deposit.as_atto() / 100));
        let declared = &self.desk.manifest.miner;
        let new = messages::NewMiner {
            from: owner,
            owner,
            worker,
            sector_size: declared.sector_size,
            peer_id: declared.peer_id.as_ref(),
            multiaddrs: declared.multiaddrs.as_deref().unwrap_or_default(),
        };
        messages::create_miner_message(&new, value).map_err(|e| told(&e))
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

/// The setting of the database that holds the key that was made for the worker.
const WORKER_KEY: &str = "worker_key";

/// Messages of a kind that may fail on chain: each costs gas.
const ATTEMPTS: usize = 3;

fn waiting(batch: &Batch, what: &str) -> Stand {
    let message = match batch.kind {
        MessageKind::NewAccount => "the message that makes its worker's key an account",
        MessageKind::CreateMiner => "its CreateMiner message",
        MessageKind::ChangePeerId
        | MessageKind::ChangeMultiaddrs
        | MessageKind::PreCommit
        | MessageKind::Commit
        | MessageKind::Terminate => "its message",
    };
    Err(Step::Waiting(format!("{message} {what}")))
}

const fn executed(state: &BatchState) -> Option<&Executed> {
    match state {
        BatchState::Landed(executed) | BatchState::Settled(executed) => Some(executed),
        BatchState::Open { .. } | BatchState::Sealed | BatchState::Sent | BatchState::Dissolved { .. } => None,
    }
}

fn succeeded(executed: Executed) -> Result<Stand, String> {
    if executed.exit_code != 0 {
        return Err(format!("creating the miner failed on chain: {}", exit_code::words(executed.exit_code)));
    }
    Ok(Ok(executed))
}
