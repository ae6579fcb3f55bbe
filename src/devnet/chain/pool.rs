//! The mempool: what the node takes, replaces and forgets, by Lotus's rules for messages of its own wallets.

use super::{
    super::{
        faults::Rules,
        gas,
        ledger::{Context, Message, Receipt, Verify, exit, plus, times},
    },
    Chain, Waiting,
};
use crate::{proofs::ProofError, units::AttoFil};
use std::{collections::BTreeMap, sync::Arc};

/// Most that gas may cost when the caller does not say. Source: lotus-full-node-api 3.0.
const DEFAULT_MAX_FEE: AttoFil = AttoFil::from_atto(70_000_000_000_000_000);
/// Tip per gas of an estimate, attoFIL.
const PREMIUM: AttoFil = AttoFil::from_atto(100_000);
/// Part of the old premium that a replacement pays at least, percent. Source: Lotus's default.
const REPLACE_PCT: i128 = 125;
/// What gas is of a message by somebody else's hand, attoFIL: enough for any base fee of a test.
const FOREIGN_FEE_CAP: AttoFil = AttoFil::from_atto(1_000_000_000_000);

/// How the caller wants the fees of an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Most that gas may cost; 0 is the node's default.
    pub max_fee: AttoFil,
    /// Raise the fee cap to all that `max_fee` allows.
    pub maximize_fee_cap: bool,
    /// Percent of the gas limit that is answered: 100, unless a fault says other.
    pub gas_pct: Option<u64>,
}

/// Why a message got no estimate.
#[derive(Debug)]
pub enum Refusal {
    /// It needs more gas than a block has.
    OutOfGas,
    /// The actor would not take it: exit code and words.
    Reverted(u32, String),
    /// A proof in it cannot be judged.
    Undecided(ProofError),
}

impl Chain {
    /// Messages waiting, with their CIDs, by sender and nonce.
    pub fn pending(&self) -> impl Iterator<Item = (&String, &Arc<Message>)> {
        let waiting = self.pending.values().flat_map(BTreeMap::values);
        waiting.filter_map(|waiting| self.messages.get_key_value(&waiting.cid))
    }

    /// The nonce that the sender's next message gets: the first that neither executed nor waits.
    pub fn next_nonce(&self, from: &str) -> u64 {
        let waiting = self.pending.get(from);
        let mut nonce = self.chain_nonce(from);
        while waiting.is_some_and(|nonces| nonces.contains_key(&nonce)) {
            nonce = nonce.saturating_add(1);
        }
        nonce
    }

    /// The nonce that the sender's next message to execute has.
    fn chain_nonce(&self, from: &str) -> u64 {
        let tip = self.tip();
        tip.resolve(from).and_then(|id| tip.actor(id)).map_or(0, |actor| actor.nonce)
    }

    /// What a message would give if it came after what its sender already has in the mempool: all of it, or what is
    /// before the message with the same nonce, as Lotus has it, so that a replacement can be estimated.
    ///
    /// # Errors
    /// When a proof in it cannot be judged.
    pub fn simulate(&self, message: &Message, verify: Verify<'_>) -> Result<Receipt, ProofError> {
        let height = self.head.saturating_add(1);
        let (randomness, challenge_delay) = (&self.randomness, self.challenge_delay);
        let context = Context { epoch: height, base_fee: AttoFil::ZERO, challenge_delay, randomness, verify };
        let mut state = Arc::unwrap_or_clone(self.tip());
        // their proofs were judged when they were pushed
        let trusting = Context { verify: &|_, _| Ok(true), ..context };
        let before = self.pending.get(&message.from).into_iter().flatten();
        let before = before.take_while(|(nonce, _)| **nonce != message.nonce);
        for earlier in before.filter_map(|(_, waiting)| self.messages.get(&waiting.cid)) {
            state.apply(earlier, &trusting)?;
        }
        let nonce = state.resolve(&message.from).and_then(|id| state.actor(id)).map_or(0, |actor| actor.nonce);
        state.apply(&Message { nonce, gas_limit: self.block_gas, ..message.clone() }, &context)
    }

    /// Fills in what gas fields are zero, as the node does.
    ///
    /// # Errors
    /// When the message would not execute.
    pub fn estimate(&self, message: Message, asked: Asked, verify: Verify<'_>) -> Result<Message, Refusal> {
        let message = if message.gas_limit == 0 {
            let receipt = self.simulate(&message, verify).map_err(Refusal::Undecided)?;
            let limit = self.limit(receipt)?.saturating_mul(asked.gas_pct.unwrap_or(100)).div_euclid(100);
            Message { gas_limit: limit, ..message }
        } else {
            message
        };
        let premium = if message.premium > AttoFil::ZERO { message.premium } else { PREMIUM };
        let base_fee = self.base_fee(self.head.saturating_add(1)).as_atto();
        // the base fee grows by at most an eighth each epoch: this lasts for 20 of them, as a node's own estimate does
        let lasting = base_fee.saturating_mul(21).div_euclid(2).saturating_add(premium.as_atto());
        let max_fee = if asked.max_fee > AttoFil::ZERO { asked.max_fee } else { DEFAULT_MAX_FEE };
        let affordable = max_fee.as_atto().checked_div(i128::from(message.gas_limit)).unwrap_or(0);
        let wanted = if message.fee_cap > AttoFil::ZERO {
            message.fee_cap.as_atto()
        } else if asked.maximize_fee_cap {
            affordable
        } else {
            lasting
        };
        let fee_cap = AttoFil::from_atto(wanted.min(affordable));
        Ok(Message { fee_cap, premium: premium.min(fee_cap), ..message })
    }

    /// The gas limit for a simulated outcome: the node's over-estimation of a quarter, at most a block's.
    fn limit(&self, receipt: Receipt) -> Result<u64, Refusal> {
        let Receipt { exit_code, gas_used, error, value: _ } = receipt;
        match exit_code {
            0 => Ok(gas_used.saturating_add(gas_used / 4).min(self.block_gas)),
            exit::OUT_OF_GAS => Err(Refusal::OutOfGas),
            _ => Err(Refusal::Reverted(exit_code, error)),
        }
    }

    /// Takes a message with all but the nonce filled in; the same `uuid` again gives the first message.
    ///
    /// # Errors
    /// The node's words.
    pub fn push(&mut self, message: Message, uuid: Option<String>, rules: &mut Rules) -> Result<Message, String> {
        let before = uuid.as_ref().and_then(|uuid| self.pushed_as(uuid)).and_then(|cid| self.message(cid));
        if let Some(before) = before {
            return Ok(Message::clone(before));
        }
        let message = Message { nonce: self.next_nonce(&message.from), ..message };
        self.check_funds(&message)?;
        let not_before = rules.not_before(&message, self.head.saturating_add(1));
        self.accept(message.clone(), uuid, not_before);
        Ok(message)
    }

    /// Takes a message as it was signed; it may replace one that waits with its nonce when it pays a quarter more.
    ///
    /// # Errors
    /// The node's words.
    pub fn push_signed(&mut self, message: Message, rules: &mut Rules) -> Result<String, String> {
        let Message { from, nonce, gas_limit, fee_cap, premium, .. } = &message;
        let least = self.chain_nonce(from);
        if *nonce < least {
            return Err(format!("minimum expected nonce is {least}: message nonce too low"));
        }
        if *gas_limit > gas::BLOCK_GAS_LIMIT {
            return Err(format!(
                "message will not be included in a block: 'GasLimit' field cannot be greater than a \
                block's gas limit ({gas_limit} > {})",
                gas::BLOCK_GAS_LIMIT
            ));
        }
        if *premium > *fee_cap {
            return Err("message will not be included in a block: 'GasFeeCap' less than 'GasPremium'".to_owned());
        }
        let waiting = self.pending.get(from).and_then(|nonces| nonces.get(nonce));
        if let Some(old) = waiting.and_then(|waiting| self.messages.get(&waiting.cid)) {
            if **old == message {
                return Err(format!(
                    "message from {from} with nonce {nonce} already in mpool: message with nonce already exists"
                ));
            }
            let old = old.premium.as_atto();
            let least = old.saturating_mul(REPLACE_PCT).div_euclid(100).saturating_add(1);
            if premium.as_atto() < least {
                return Err(format!(
                    "message from {from} with nonce {nonce} already in mpool, increase GasPremium to {least} from {} \
                     to trigger replace by fee: replace by fee has too low GasPremium",
                    premium.as_atto()
                ));
            }
        }
        self.check_funds(&message)?;
        let not_before = rules.not_before(&message, self.head.saturating_add(1));
        Ok(self.accept(message, None, not_before))
    }

    /// The sender pays for this message and for those that wait before it.
    fn check_funds(&self, message: &Message) -> Result<(), String> {
        let tip = self.tip();
        let balance = tip.balance(tip.resolve(&message.from).ok_or("the sender is not on chain")?);
        let others = self.pending.get(&message.from).into_iter().flatten().filter(|(nonce, _)| **nonce < message.nonce);
        let others = others.filter_map(|(_, waiting)| self.messages.get(&waiting.cid));
        let cost = |m: &Message| plus(m.value, times(m.fee_cap, m.gas_limit));
        let needed = others.fold(cost(message), |sum, other| plus(sum, cost(other)));
        if balance < needed {
            return Err(format!("mpool push: not enough funds: {} < {}", balance.as_atto(), needed.as_atto()));
        }
        Ok(())
    }

    /// Records a message without any check; it is included from `not_before` on, or never when that is `None`.
    pub fn accept(&mut self, message: Message, uuid: Option<String>, not_before: Option<i64>) -> String {
        let cid = message.cid();
        if let Some(not_before) = not_before {
            // a fee replacement takes the place of the message with the same nonce
            self.wait(&message, Waiting { cid: cid.clone(), not_before });
        }
        if let Some(uuid) = uuid {
            self.uuids.insert(uuid, cid.clone());
        }
        self.messages.insert(cid.clone(), Arc::new(message));
        cid
    }

    /// Puts a message into the mempool.
    pub(super) fn wait(&mut self, message: &Message, waiting: Waiting) {
        self.pending.entry(message.from.clone()).or_default().insert(message.nonce, waiting);
    }

    /// Takes the message with this nonce out of the mempool; whether there was one.
    pub(super) fn forget(&mut self, from: &str, nonce: u64) -> bool {
        let Some(nonces) = self.pending.get_mut(from) else { return false };
        let found = nonces.remove(&nonce).is_some();
        if nonces.is_empty() {
            self.pending.remove(from);
        }
        found
    }

    /// Forgets waiting messages: those of one sender, or with one nonce, or all. Gives how many.
    pub fn evict(&mut self, from: Option<&str>, nonce: Option<u64>) -> usize {
        let all = self.pending().map(|(_, message)| (message.from.clone(), message.nonce));
        let chosen: Vec<(String, u64)> = all
            .filter(|(sender, number)| from.is_none_or(|from| from == sender) && nonce.is_none_or(|n| n == *number))
            .collect();
        chosen.into_iter().filter(|(sender, number)| self.forget(sender, *number)).count()
    }

    /// A message by somebody else's hand, with the nonce that the sender's next message to execute has: it takes the
    /// place of what waits with it. Gives its CID.
    ///
    /// # Errors
    /// When the sender is not on chain.
    pub fn push_foreign(&mut self, from: &str) -> Result<String, String> {
        if self.tip().resolve(from).is_none() {
            return Err(format!("{from} is not on chain"));
        }
        let (to, nonce) = (from.to_owned(), self.chain_nonce(from));
        let mut message = Message {
            from: from.to_owned(),
            to,
            nonce,
            value: AttoFil::ZERO,
            gas_limit: 0,
            fee_cap: FOREIGN_FEE_CAP,
            premium: AttoFil::from_atto(1),
            method: 0,
            params: Vec::new(),
        };
        message.gas_limit = gas::used_by(&message);
        let next = self.head.saturating_add(1);
        Ok(self.accept(message, None, Some(next)))
    }
}

#[cfg(test)]
mod tests;
