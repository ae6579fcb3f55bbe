//! Messages for sectors: composed and simulated, then handed over. Errands: nothing is remembered here.
//!
//! One wrong sector would take the whole message with it. So a message is simulated before it is sealed; when it is
//! refused, each of its sectors is simulated alone, and what the chain refuses of them leaves the message.

use super::errands::{Desk, Done, Miner, told};
use crate::{
    book::{Composed, Handed},
    chain::{
        ChainError, Gas, Message, Node, cids, messages,
        params::{self, SectorPreCommitInfo},
    },
    outbox::{Batch, MessageKind, Sent},
    sector::{self, MessageId, Record},
    units::{AttoFil, MinerId, SectorNumber},
};
use std::collections::BTreeMap;

/// What an open batch is to become.
#[derive(Debug, Clone)]
pub struct Draught {
    /// The batch.
    pub batch: MessageId,
    /// What it is for.
    pub kind: MessageKind,
    /// Its sectors that are to be in the message.
    pub records: Vec<Record>,
    /// The id address of its sender.
    pub from: String,
    /// Their proofs as one, when that was made.
    pub aggregate: Option<Vec<u8>>,
    /// The most its gas may cost.
    pub max_fee: AttoFil,
}

/// A sector's part of a message.
#[derive(Debug, Clone)]
struct Part {
    number: SectorNumber,
    value: AttoFil,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    PreCommit(Box<SectorPreCommitInfo>),
    Proof(Vec<u8>),
    Place(u64, u64),
}

impl<N: Node> Desk<N> {
    /// Composes the message of an open batch.
    pub async fn compose(self, miner: Miner, draught: Draught) -> Done {
        let numbers = draught.records.iter().map(|record| record.number).collect();
        let result = self.composed(&miner, &draught).await.map_err(|error| told(&error));
        Done::Composed { batch: draught.batch, numbers, result }
    }

    async fn composed(&self, miner: &Miner, draught: &Draught) -> Result<Composed, ChainError> {
        let (mut parts, mut refused) = self.parts(miner, draught).await?;
        let one_for_all = self.aggregated(miner, draught, &parts).await?;
        let chosen = loop {
            if parts.is_empty() {
                return Ok(Composed { message: None, refused });
            }
            match self.simulate(miner, draught, &parts).await {
                Ok(found) => break found,
                // as many proofs do not fit a message, their aggregate does
                Err(error) if too_large(&error) && one_for_all.is_some() && parts.len() == draught.records.len() => {
                    break one_for_all.clone().ok_or(error)?;
                }
                Err(error) if is_refusal(&error) => match (parts.len(), too_large(&error)) {
                    (1, _) => refused.extend(parts.drain(..).map(|part| (part.number, told(&error)))),
                    (many, true) => parts.truncate(many.div_ceil(2)),
                    (many, false) => {
                        let (good, bad) = self.each_alone(miner, draught, parts).await?;
                        refused.extend(bad);
                        parts = good;
                        // only together are they too much, for the sender's funds perhaps
                        if parts.len() == many {
                            parts.truncate(many.div_ceil(2));
                        }
                    }
                },
                Err(error) => return Err(error),
            }
        };
        let (message, gas) = chosen;
        let cheaper = one_for_all.filter(|(_, cost)| parts.len() == draught.records.len() && cost.limit < gas.limit);
        let message = cheaper.map_or(message, |(cheaper, _)| cheaper);
        Ok(Composed { message: Some((ascending(&parts), message)), refused })
    }

    async fn each_alone(
        &self,
        miner: &Miner,
        draught: &Draught,
        parts: Vec<Part>,
    ) -> Result<(Vec<Part>, Vec<(SectorNumber, String)>), ChainError> {
        let (mut good, mut bad) = (Vec::with_capacity(parts.len()), Vec::new());
        for part in parts {
            match self.simulate(miner, draught, std::slice::from_ref(&part)).await {
                Ok(_) => good.push(part),
                Err(error) if is_refusal(&error) => bad.push((part.number, told(&error))),
                Err(error) => return Err(error),
            }
        }
        Ok((good, bad))
    }

    async fn simulate(&self, miner: &Miner, draught: &Draught, parts: &[Part]) -> Result<(Message, Gas), ChainError> {
        let message = message(miner.id, draught, parts)?;
        let gas = self.client.estimate(&message, draught.max_fee, &self.head).await?;
        Ok((message, gas))
    }

    /// The message with one proof for all, when that proof was made and the chain takes it.
    async fn aggregated(
        &self,
        miner: &Miner,
        draught: &Draught,
        parts: &[Part],
    ) -> Result<Option<(Message, Gas)>, ChainError> {
        let aggregate = draught.aggregate.as_deref().filter(|_| parts.len() == draught.records.len());
        let Some(aggregate) = aggregate else { return Ok(None) };
        let (value, sectors) = (total(parts)?, ascending(parts));
        let message = messages::aggregate_commit_message(miner.id, &draught.from, value, &sectors, aggregate.to_vec())?;
        match self.client.estimate(&message, draught.max_fee, &self.head).await {
            Ok(gas) => Ok(Some((message, gas))),
            Err(error) if is_refusal(&error) => {
                tracing::warn!(error = %told(&error), "an aggregate is not sent: its sectors get a proof each");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Each sector's part, and those that have none.
    async fn parts(
        &self,
        miner: &Miner,
        draught: &Draught,
    ) -> Result<(Vec<Part>, Vec<(SectorNumber, String)>), ChainError> {
        let (mut parts, mut refused) = (Vec::with_capacity(draught.records.len()), Vec::new());
        let mut price = None;
        for record in &draught.records {
            match self.part(miner, draught.kind, record, &mut price).await {
                Ok(part) => parts.push(part),
                Err(error @ ChainError::Invalid { .. }) => refused.push((record.number, told(&error))),
                Err(error) => return Err(error),
            }
        }
        Ok((parts, refused))
    }

    /// All capacity sectors of one size have one `price`: it is asked for once.
    async fn part(
        &self,
        miner: &Miner,
        kind: MessageKind,
        record: &Record,
        price: &mut Option<AttoFil>,
    ) -> Result<Part, ChainError> {
        let number = record.number;
        match kind {
            MessageKind::PreCommit => {
                let info = self.precommit_info(record)?;
                let value = match *price {
                    Some(known) => known,
                    None => *price.insert(self.client.precommit_deposit(miner.id, &info, &self.head).await?),
                };
                Ok(Part { number, value, body: Body::PreCommit(Box::new(info)) })
            }
            MessageKind::Commit => {
                let proof = record.porep.as_deref().and_then(crate::units::from_hex);
                let proof = proof.ok_or_else(|| invalid(number, "has no proof"))?;
                let pledge = match *price {
                    Some(known) => known,
                    None => {
                        let (life, size) = (self.manifest.pledge.lifetime_epochs, self.manifest.miner.sector_size);
                        *price.insert(self.client.initial_pledge(life, size, &self.head).await?)
                    }
                };
                let landed = record.precommit.as_ref().and_then(|p| p.landed.as_ref());
                let deposit = landed.map_or(AttoFil::ZERO, |landed| landed.deposit);
                let value = pledge.checked_sub(deposit).unwrap_or(pledge).max(AttoFil::ZERO);
                Ok(Part { number, value, body: Body::Proof(proof) })
            }
            MessageKind::Terminate => {
                let place = self.client.sector_location(miner.id, number, &self.head).await?;
                let place = place.ok_or_else(|| invalid(number, "is in no deadline of the miner"))?;
                Ok(Part { number, value: AttoFil::ZERO, body: Body::Place(place.deadline, place.partition) })
            }
            MessageKind::NewAccount
            | MessageKind::CreateMiner
            | MessageKind::ChangePeerId
            | MessageKind::ChangeMultiaddrs => Err(foreign(kind)),
        }
    }

    fn precommit_info(&self, record: &Record) -> Result<SectorPreCommitInfo, ChainError> {
        let (Some(ticket), Some(sealed)) = (&record.ticket, &record.sealed) else {
            return Err(invalid(record.number, "has no ticket or no commitments"));
        };
        let delay = self.network.pre_commit_challenge_delay;
        let lifetime = self.manifest.pledge.lifetime_epochs;
        Ok(params::SectorPreCommitInfo {
            seal_proof: record.proof.as_i64(),
            sector_number: record.number.as_u64(),
            sealed_cid: cids::sealed(sealed.comm_r),
            seal_rand_epoch: ticket.epoch.as_i64(),
            deal_ids: Vec::new(),
            expiration: sector::expiration(self.head.height, lifetime, delay).as_i64(),
            unsealed_cid: None,
        })
    }

    /// Hands a sealed message to the node; `batch` as it was before this attempt was recorded. It is simulated first,
    /// so that a refusal by the actor is told from a node that is away; after the first time, the node is asked before
    /// that whether it has the message already.
    pub async fn push(self, batch: Batch, max_fee: AttoFil) -> Done {
        let result = match &batch.message {
            Some(message) => self.hand_over(&batch, message, max_fee).await,
            None => Handed::Unclear("the batch has no message yet".to_owned()),
        };
        Done::Handed { batch: batch.id, result }
    }

    pub(super) async fn hand_over(&self, batch: &Batch, message: &Message, max_fee: AttoFil) -> Handed {
        if batch.attempts > 0 {
            match self.client.pending_like(message).await {
                Ok(Some(sent)) => return self.taken(sent),
                Ok(None) => {}
                Err(error) => return Handed::Unclear(told(&error)),
            }
        }
        match self.client.estimate(message, max_fee, &self.head).await {
            Ok(_) => {}
            // the actor says no, perhaps as an attempt whose answer was lost has executed: a node that knows its id gives it
            // back, and then its nonce is followed; any other refuses as it has just done
            Err(error) if is_refusal(&error) && batch.attempts > 0 => {
                return match self.client.push(message, &batch.id, max_fee).await {
                    Ok(sent) => self.taken(sent),
                    Err(ChainError::Refused { .. }) => Handed::Refused(told(&error)),
                    Err(away) => Handed::Unclear(told(&away)),
                };
            }
            Err(error) if is_refusal(&error) => return Handed::Refused(told(&error)),
            // anything else says nothing
            Err(error) => return Handed::Unclear(told(&error)),
        }
        match self.client.push(message, &batch.id, max_fee).await {
            Ok(sent) => self.taken(sent),
            Err(error) => Handed::Unclear(told(&error)),
        }
    }

    /// Hands over once more what a node forgot: the same signed message, so it cannot execute twice.
    pub async fn resend(self, batch: MessageId, sent: Sent) -> Done {
        let result = match self.client.resend(&sent).await {
            Ok(sent) => self.taken(sent),
            Err(error) => Handed::Unclear(told(&error)),
        };
        Done::Handed { batch, result }
    }

    /// Replaces a message that waits in the pool by a dearer one with its nonce.
    pub async fn reprice(self, batch: Batch, gas: Gas) -> Done {
        let (Some(sent), Some(message)) = (&batch.sent, &batch.message) else {
            return Done::Handed { batch: batch.id, result: Handed::Unclear("it was not sent yet".to_owned()) };
        };
        let result = match self.client.replace(sent, gas).await {
            Ok(dearer) => self.taken(dearer),
            Err(error) => match self.client.pending_like(message).await {
                // another replacement is there: ours, of which the answer was lost, or an operator's
                Ok(Some(found)) if found.nonce == sent.nonce && found.cid != sent.cid => {
                    let replaced = sent.replaced.iter().chain([&sent.cid]).cloned().collect();
                    self.taken(Sent { replaced, ..found })
                }
                Ok(_) | Err(_) => Handed::Unclear(format!("the node does not replace it: {}", told(&error))),
            },
        };
        Done::Handed { batch: batch.id, result }
    }

    fn taken(&self, sent: Sent) -> Handed {
        Handed::Taken(Sent { at: self.head.height, ..sent })
    }
}

/// 2: over the block gas limit, 3: the actor said no; or it does not fit a message.
const fn is_refusal(error: &ChainError) -> bool {
    matches!(error, ChainError::Refused { code: 2 | 3, .. } | ChainError::Invalid { .. })
}

const fn too_large(error: &ChainError) -> bool {
    matches!(error, ChainError::Refused { code: 2, .. } | ChainError::Invalid { .. })
}

fn ascending(parts: &[Part]) -> Vec<SectorNumber> {
    let mut numbers: Vec<_> = parts.iter().map(|part| part.number).collect();
    numbers.sort_unstable();
    numbers
}

fn total(parts: &[Part]) -> Result<AttoFil, ChainError> {
    let beyond = || ChainError::Invalid { what: "an amount of FIL beyond what exists".to_owned() };
    parts.iter().try_fold(AttoFil::ZERO, |sum, part| sum.checked_add(part.value).ok_or_else(beyond))
}

fn message(miner: MinerId, draught: &Draught, parts: &[Part]) -> Result<Message, ChainError> {
    let (mut infos, mut proofs, mut places) = (Vec::new(), Vec::new(), BTreeMap::<_, Vec<_>>::new());
    let value = total(parts)?;
    let mut parts: Vec<_> = parts.iter().collect();
    parts.sort_by_key(|part| part.number);
    for part in parts {
        match part.body.clone() {
            Body::PreCommit(info) => infos.push(*info),
            Body::Proof(proof) => proofs.push((part.number, proof)),
            Body::Place(deadline, partition) => places.entry((deadline, partition)).or_default().push(part.number),
        }
    }
    match draught.kind {
        MessageKind::PreCommit => messages::precommit_message(miner, &draught.from, value, infos),
        MessageKind::Commit => messages::commit_message(miner, &draught.from, value, proofs),
        MessageKind::Terminate => {
            let places = places.into_iter().map(|((deadline, partition), numbers)| (deadline, partition, numbers));
            messages::terminate_message(miner, &draught.from, places.collect())
        }
        MessageKind::NewAccount
        | MessageKind::CreateMiner
        | MessageKind::ChangePeerId
        | MessageKind::ChangeMultiaddrs => Err(foreign(draught.kind)),
    }
}

fn foreign(kind: MessageKind) -> ChainError {
    ChainError::Invalid { what: format!("a {kind} message is about no sector") }
}

fn invalid(number: SectorNumber, what: &str) -> ChainError {
    ChainError::Invalid { what: format!("sector {number} {what}") }
}
