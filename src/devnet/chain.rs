//! The chain: tipsets, mempool, receipts, and states of the last epochs. Pure: told the time, never reads it.
//!
//! Every epoch has one tipset of one block, and nothing is stored about an empty one: ids, tickets and times follow
//! from the seed and the branch. A message executes in the tipset that includes it; as on the real network its
//! effects are seen through the key of the next one.

mod pool;

pub use pool::{Asked, Refusal};

use super::{
    address,
    gas::BLOCK_GAS_LIMIT,
    ledger::{Context, Message, Receipt, State, Verify, plus},
    randomness::Randomness,
};
use crate::{
    chain::presealed::Presealed,
    proofs::ProofError,
    units::{AttoFil, Hash32},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Epochs whose states are kept, and so the deepest reorganisation.
pub const KEPT_STATES: usize = 101;
/// The finalized tipset is this far behind the head.
pub const FINALITY_LAG: i64 = 5;
/// Epochs searched for a tipset key: a day.
const KEY_SEARCH: i64 = 2880;
/// Base fee of a quiet network, attoFIL per gas. Source: the network's minimum.
const BASE_FEE: AttoFil = AttoFil::from_atto(100);
/// A head later than its schedule by this many epochs starts a new schedule.
const DRIFT: i64 = 3;

/// What a chain is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Network name.
    pub name: String,
    /// Decides wallets, tickets, beacons and ids.
    pub seed: Hash32,
    /// Milliseconds of an epoch.
    pub epoch_ms: u64,
    /// Epochs from pre-commit to seed.
    pub challenge_delay: i64,
    /// Now.
    pub at_ms: i64,
}

/// The whole devnet, as it is kept in its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// Network name.
    pub name: String,
    /// Milliseconds of an epoch.
    pub epoch_ms: u64,
    /// Epochs from pre-commit to seed.
    pub challenge_delay: i64,
    /// Tickets and beacons.
    pub randomness: Randomness,
    /// Height of the head.
    pub head: i64,
    /// State after the tipset of each of the last heights, oldest first; never empty. Two are kept in the file.
    #[serde(with = "last_states")]
    states: VecDeque<(i64, Arc<State>)>,
    /// Message CIDs of the tipsets that have any.
    blocks: BTreeMap<i64, Vec<String>>,
    /// Every message ever accepted, by CID.
    #[serde(with = "super::ledger::shared_values")]
    messages: BTreeMap<String, Arc<Message>>,
    /// Including height and outcome, by CID.
    #[serde(with = "super::ledger::shared_values")]
    receipts: BTreeMap<String, Arc<(i64, Receipt)>>,
    /// CIDs of executed messages by sender and nonce.
    executed: BTreeMap<String, BTreeMap<u64, String>>,
    /// Messages waiting to be included, by sender and nonce.
    pending: BTreeMap<String, BTreeMap<u64, Waiting>>,
    /// CIDs by the idempotency key they were pushed with.
    uuids: BTreeMap<String, String>,
    /// From which height on which base fee holds, ascending.
    base_fees: Vec<(i64, AttoFil)>,
    /// Most gas of a block.
    block_gas: u64,
    /// How many wallets the node made.
    wallets: u64,
    /// Those that it was given, before its own.
    #[serde(default)]
    imported: Vec<String>,
}

/// A message in the mempool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    cid: String,
    /// First height that may include it.
    not_before: i64,
}

/// Where a message landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landed<'a> {
    /// CID of what landed: the message, or its fee replacement.
    pub cid: &'a String,
    /// Height of the tipset that has it; its effects are seen from the next one on.
    pub included: i64,
    /// What it gave.
    pub receipt: &'a Receipt,
}

/// The next tipset before it is executed: everything needed to do that elsewhere.
#[derive(Debug, Clone)]
pub struct Job {
    height: i64,
    state: Arc<State>,
    messages: Vec<(String, Arc<Message>)>,
    base_fee: AttoFil,
    block_gas: u64,
    challenge_delay: i64,
    randomness: Randomness,
}

/// An executed tipset.
#[derive(Debug)]
pub struct Block {
    height: i64,
    /// The one before when nothing changed.
    state: Arc<State>,
    included: Vec<(String, Receipt)>,
    /// Messages that wait because a proof in them cannot be judged.
    pub undecided: Vec<(String, ProofError)>,
}

impl Job {
    /// Executes what can be; the rest stays in the mempool.
    pub fn run(self, verify: Verify<'_>) -> Block {
        let Self { height, mut state, messages, base_fee, block_gas, challenge_delay, randomness } = self;
        let context = Context { epoch: height, base_fee, challenge_delay, randomness: &randomness, verify };
        let (mut included, mut undecided, mut gas) = (Vec::new(), Vec::new(), 0_u64);
        for (cid, message) in messages {
            let total_gas = gas.saturating_add(message.gas_limit);
            if total_gas > block_gas || !is_payable(&state, &message) {
                continue;
            }
            match Arc::make_mut(&mut state).apply(&message, &context) {
                Ok(receipt) => {
                    gas = total_gas;
                    included.push((cid, receipt));
                }
                Err(error) => undecided.push((cid, error)),
            }
        }
        if state.has_expired(height, challenge_delay) {
            Arc::make_mut(&mut state).end_epoch(height, challenge_delay);
        }
        Block { height, state, included, undecided }
    }
}

/// Whether the message is its sender's next and the sender has what it may cost.
fn is_payable(state: &State, message: &Message) -> bool {
    let sender = state.resolve(&message.from).and_then(|id| state.actor(id));
    sender.is_some_and(|s| s.nonce == message.nonce && s.balance >= plus(message.value, message.max_fee()))
}

impl Chain {
    /// A chain at height 0.
    pub fn new(genesis: Genesis) -> Self {
        let state = State::genesis(&address::wallet(&genesis.seed, 0), None);
        Self::of(genesis, state, Vec::new())
    }

    /// A chain at height 0 that has a miner with sealed sectors. The node has the keys of its accounts.
    pub fn with_miner(genesis: Genesis, presealed: &Presealed) -> Self {
        let state = State::genesis(&address::wallet(&genesis.seed, 0), Some(presealed));
        let normal = |text: &String| address::parse(text).map(|parsed| address::show(&parsed));
        let mut imported: Vec<_> = [&presealed.worker, &presealed.owner].into_iter().filter_map(normal).collect();
        imported.dedup();
        Self::of(genesis, state, imported)
    }

    fn of(genesis: Genesis, state: State, imported: Vec<String>) -> Self {
        let Genesis { name, seed, epoch_ms, challenge_delay, at_ms } = genesis;
        let state = Arc::new(state);
        Self {
            name,
            epoch_ms,
            challenge_delay,
            randomness: Randomness::new(seed, at_ms),
            head: 0,
            states: [(-1, Arc::clone(&state)), (0, state)].into(),
            blocks: BTreeMap::new(),
            messages: BTreeMap::new(),
            receipts: BTreeMap::new(),
            executed: BTreeMap::new(),
            pending: BTreeMap::new(),
            uuids: BTreeMap::new(),
            base_fees: vec![(0, BASE_FEE)],
            block_gas: BLOCK_GAS_LIMIT,
            wallets: 1,
            imported,
        }
    }

    /// After a restart: whatever follows is a branch of its own, since empty tipsets after the last write are lost.
    pub fn resume(&mut self, now_ms: i64) {
        self.randomness.fork(self.head.saturating_add(1), now_ms);
    }

    // ── reading ──

    /// CID of the one block at a height.
    pub fn block_cid(&self, height: i64) -> String {
        let salt = self.randomness.branch(height).salt.to_be_bytes();
        let messages = self.blocks.get(&height).map(|cids| cids.concat()).unwrap_or_default();
        let seed = &self.randomness.seed().0;
        let id = address::blake2b(&[b"block", seed, &salt, &height.to_be_bytes(), messages.as_bytes()]);
        address::cbor_cid(&id.0)
    }

    /// Milliseconds since 1970 of a height, by the schedule of its branch.
    pub fn time_ms(&self, height: i64) -> i64 {
        let branch = self.randomness.branch(height);
        let step = i64::try_from(self.epoch_ms).unwrap_or(i64::MAX);
        height.saturating_sub(branch.from).saturating_mul(step).saturating_add(branch.at_ms)
    }

    /// Base fee that messages of a height pay.
    pub fn base_fee(&self, height: i64) -> AttoFil {
        self.base_fees.iter().rev().find(|(from, _)| *from <= height).map_or(BASE_FEE, |(_, fee)| *fee)
    }

    /// Height of the tipset with this block; `None` when it is not on this chain or more than a day back.
    pub fn height_of(&self, cid: &str) -> Option<i64> {
        let oldest = self.head.saturating_sub(KEY_SEARCH).max(0);
        (oldest..=self.head).rev().find(|height| self.block_cid(*height) == cid)
    }

    /// The state seen through the key of a tipset: before its own messages. `None` when it is no longer kept.
    pub fn state_at(&self, height: i64) -> Option<&Arc<State>> {
        self.state_after(height.saturating_sub(1))
    }

    fn state_after(&self, height: i64) -> Option<&Arc<State>> {
        self.states.iter().rev().find(|(at, _)| *at == height).map(|(_, state)| state)
    }

    /// The state after the head's messages: what the next message meets.
    pub fn tip(&self) -> Arc<State> {
        let (_, state) = self.states.back().expect("a chain is made with states, and reading one without fails");
        Arc::clone(state)
    }

    /// Addresses of the node's wallets; the first is the default one.
    pub fn wallets(&self) -> impl Iterator<Item = String> {
        let made = (0..self.wallets).map(|number| address::wallet(self.randomness.seed(), number));
        self.imported.iter().cloned().chain(made)
    }

    /// A message ever accepted.
    pub fn message(&self, cid: &str) -> Option<&Arc<Message>> {
        self.messages.get(cid)
    }

    /// The message pushed with an idempotency key.
    pub fn pushed_as(&self, uuid: &str) -> Option<&String> {
        self.uuids.get(uuid)
    }

    /// Including height and receipt of a message, once the tipset that shows it is there.
    pub fn receipt(&self, cid: &str) -> Option<&(i64, Receipt)> {
        self.receipts.get(cid).map(Arc::as_ref).filter(|(height, _)| *height < self.head)
    }

    /// The executed message that took the nonce of this one.
    pub fn executed_instead(&self, message: &Message) -> Option<(&String, &Arc<Message>)> {
        let cid = self.executed.get(&message.from)?.get(&message.nonce)?;
        self.receipt(cid)?;
        self.messages.get_key_value(cid)
    }

    /// What became of a message: `None` while it has not landed or is unknown. With `replaced`, a fee replacement of
    /// it counts too.
    ///
    /// # Errors
    /// The node's words when another message took its nonce.
    pub fn landed(&self, cid: &str, replaced: bool) -> Result<Option<Landed<'_>>, String> {
        let Some((cid, message)) = self.messages.get_key_value(cid) else { return Ok(None) };
        if let Some(found) = self.landed_as(cid) {
            return Ok(Some(found));
        }
        match self.executed_instead(message) {
            None => Ok(None),
            Some((other, instead)) if replaced && instead.same_call(message) => Ok(self.landed_as(other)),
            Some((other, _)) => Err(format!(
                "found message with equal nonce as the one we are looking for ({cid} n {}, found {other})",
                message.nonce
            )),
        }
    }

    fn landed_as<'a>(&'a self, cid: &'a String) -> Option<Landed<'a>> {
        self.receipt(cid).map(|(height, receipt)| Landed { cid, included: *height, receipt })
    }

    // ── growing ──

    /// The next tipset, to be executed and then appended. Only one may be on its way.
    pub fn prepare(&mut self, now_ms: i64) -> Job {
        let height = self.head.saturating_add(1);
        let late = now_ms.saturating_sub(self.time_ms(height));
        if late > DRIFT.saturating_mul(i64::try_from(self.epoch_ms).unwrap_or(i64::MAX)) {
            self.randomness.fork(height, now_ms);
        }
        let base_fee = self.base_fee(height);
        // by sender and nonce: a nonce whose turn it is not is left out when it comes up
        let messages = self
            .pending
            .values()
            .flat_map(BTreeMap::values)
            .filter(|waiting| waiting.not_before <= height)
            .filter_map(|waiting| self.messages.get_key_value(&waiting.cid))
            .filter(|(_, message)| message.fee_cap >= base_fee)
            .map(|(cid, message)| (cid.clone(), Arc::clone(message)))
            .collect();
        let (block_gas, challenge_delay, randomness) = (self.block_gas, self.challenge_delay, self.randomness.clone());
        Job { height, state: self.tip(), messages, base_fee, block_gas, challenge_delay, randomness }
    }

    /// Makes an executed tipset the head; whether it has messages.
    pub fn append(&mut self, block: Block) -> bool {
        let Block { height, state, included, undecided: _ } = block;
        let has_messages = !included.is_empty();
        if has_messages {
            self.blocks.insert(height, included.iter().map(|(cid, _)| cid.clone()).collect());
        }
        for (cid, receipt) in included {
            if let Some(message) = self.messages.get(&cid).map(Arc::clone) {
                // whatever waits with its nonce never can land
                self.forget(&message.from, message.nonce);
                self.executed.entry(message.from.clone()).or_default().insert(message.nonce, cid.clone());
            }
            self.receipts.insert(cid, Arc::new((height, receipt)));
        }
        self.head = height;
        self.states.push_back((height, state));
        while self.states.len() > KEPT_STATES {
            self.states.pop_front();
        }
        has_messages
    }

    /// Takes the last `epochs` tipsets off. Their messages wait again, until `delay` epochs after the old head, or for
    /// nothing when it is 0. The caller grows the chain again.
    ///
    /// # Errors
    /// When the state there is no longer kept.
    pub fn rollback(&mut self, epochs: i64, delay: i64) -> Result<(), String> {
        let to = self.head.saturating_sub(epochs);
        // the state before the new head must be there too: questions at the head see it
        if epochs < 1 || to < 0 || self.state_after(to.saturating_sub(1)).is_none() {
            let reach = self.states.len().saturating_sub(2);
            return Err(format!(
                "epochs must be 1 to {reach}: older states are not kept (a restart keeps none but the head's)"
            ));
        }
        let next_ms = self.time_ms(to.saturating_add(1));
        let first = to.saturating_add(1);
        let not_before = if delay == 0 { first } else { self.head.saturating_add(delay) };
        for cid in self.blocks.split_off(&first).into_values().flatten() {
            self.receipts.remove(&cid);
            let Some(message) = self.messages.get(&cid).map(Arc::clone) else { continue };
            if let Some(nonces) = self.executed.get_mut(&message.from) {
                nonces.remove(&message.nonce);
            }
            self.wait(&message, Waiting { cid, not_before });
        }
        self.states.retain(|(height, _)| *height <= to);
        self.head = to;
        self.randomness.fork(first, next_ms);
        Ok(())
    }

    // ── what is outside of messages ──

    /// One more wallet.
    pub fn add_wallet(&mut self) -> String {
        let wallet = address::wallet(self.randomness.seed(), self.wallets);
        self.wallets = self.wallets.saturating_add(1);
        wallet
    }

    /// The base fee from the next height on.
    pub fn set_base_fee(&mut self, fee: AttoFil) {
        let next = self.head.saturating_add(1);
        self.base_fees.retain(|(from, _)| *from < next);
        self.base_fees.push((next, fee));
    }

    /// Most gas of a block, and so of a message, from the next height on.
    pub const fn set_block_gas(&mut self, gas: u64) {
        self.block_gas = gas;
    }

    /// Changes the state outside of any message, at the head; a reorganisation takes it back.
    ///
    /// # Errors
    /// Those of the change; nothing is changed then.
    pub fn interfere(&mut self, change: impl FnOnce(&mut State) -> Result<(), String>) -> Result<(), String> {
        let mut state = Arc::unwrap_or_clone(self.tip());
        change(&mut state)?;
        if let Some((_, tip)) = self.states.back_mut() {
            *tip = Arc::new(state);
        }
        Ok(())
    }
}

/// The file keeps the states of the head and of its parent.
mod last_states {
    use super::{Arc, State, VecDeque};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(states: &VecDeque<(i64, Arc<State>)>, to: S) -> Result<S::Ok, S::Error> {
        let skipped = states.len().saturating_sub(2);
        to.collect_seq(states.iter().skip(skipped).map(|(height, state)| (height, state.as_ref())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<VecDeque<(i64, Arc<State>)>, D::Error> {
        let states = Vec::<(i64, State)>::deserialize(from)?;
        if states.is_empty() {
            return Err(D::Error::custom("no state"));
        }
        Ok(states.into_iter().map(|(height, state)| (height, Arc::new(state))).collect())
    }
}

#[cfg(test)]
mod tests;
