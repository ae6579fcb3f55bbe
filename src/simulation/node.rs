//! The node: the devnet's chain and mempool behind the daemon's questions, without a wire, and with its moods.

use super::dice::Dice;
use crate::{
    chain::{
        Beneficiary, ChainError, Executed, Fate, Gas, Location, Message, MinerInfo, NetworkParams, Node,
        PreCommitInfo, SectorInfo, SectorSet, Sent, TipSet, params::SectorPreCommitInfo,
    },
    devnet::{
        address,
        chain::{Asked, Chain, Refusal},
        faults::Rules,
        ledger::{self, State},
        miner::{Condition, Miner, deposit, pledge},
        node::verifier,
        randomness::{INTERACTIVE_SEAL, SEAL_RANDOMNESS},
    },
    proofs::Prover,
    sector::MessageId,
    units::{AttoFil, Epoch, Hash32, MinerId, SectorNumber, SectorSize},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

/// How often calls go wrong, each of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moods {
    /// No answer, and nothing happened.
    pub away: u64,
    /// No answer to a push, resend or replacement that took effect.
    pub lost: u64,
    /// A tipset is made while the call is under way.
    pub moves: u64,
    /// A message is taken and forgotten.
    pub drops: u64,
    /// A message is included late.
    pub late: u64,
    /// An estimate is too low: the message runs out of gas.
    pub low: u64,
}

/// The chain and what the node makes of it.
pub struct Net {
    pub chain: Chain,
    pub rules: Rules,
    pub moods: Moods,
    pub dice: Dice,
    /// Methods that get no answer; `*` is all of them.
    pub silent: BTreeSet<&'static str>,
    /// The node is on a fork with other tickets, or other beacons.
    pub other_tickets: bool,
    pub other_beacons: bool,
    /// Epochs that the node is behind.
    pub lag: i64,
    /// Epochs behind the head that are final.
    pub finality: i64,
    /// CIDs that were ever taken, ours and foreign.
    pub taken: BTreeSet<String>,
    /// Messages that were handed over, oldest first: the method number.
    pub pushes: Vec<u64>,
    /// States by the key of the tipset that they are seen through.
    views: BTreeMap<String, (i64, Arc<State>)>,
}

/// Many hands on one node.
#[derive(Clone)]
pub struct SimNode(Arc<Mutex<Net>>);

pub const MINER_SIZE: SectorSize = SectorSize::KiB2;

/// A domain of randomness that nobody draws from: what another fork would give.
const OTHER: i64 = 99;

/// Keys that are answered although a newer head is known.
const OLD_VIEWS: usize = 64;

fn away(method: &str) -> ChainError {
    ChainError::Unreachable { method: method.to_owned(), tried: 1, source: "the simulated node is away".into() }
}

fn refused(method: &str, code: i64, message: impl Into<String>) -> ChainError {
    ChainError::Refused { method: method.to_owned(), code, message: message.into() }
}

impl Net {
    pub fn new(chain: Chain, dice: Dice, finality: i64) -> Self {
        Self {
            chain,
            rules: Rules::default(),
            moods: Moods::default(),
            dice,
            silent: BTreeSet::new(),
            other_tickets: false,
            other_beacons: false,
            lag: 0,
            finality,
            taken: BTreeSet::new(),
            pushes: Vec::new(),
            views: BTreeMap::new(),
        }
    }

    /// One more tipset at this moment.
    pub fn mine(&mut self, now_ms: i64) {
        let block = self.chain.prepare(now_ms).run(&verifier(Prover::Simulated));
        assert!(block.undecided.is_empty(), "simulated proofs can always be judged");
        self.chain.append(block);
    }

    /// Tipsets on schedule.
    pub fn mine_many(&mut self, epochs: i64) {
        for _ in 0..epochs {
            let next = self.chain.time_ms(self.chain.head + 1);
            self.mine(next);
        }
    }

    /// The last epochs are replaced by one more of them; their messages wait until `delay` epochs after the old head.
    pub fn reorganise(&mut self, epochs: i64, delay: i64) {
        let old = self.chain.head;
        if self.chain.rollback(epochs, delay).is_ok() {
            self.mine_many(old + 1 - self.chain.head);
        }
    }

    /// The node forgets the messages of ours that wait. Those of somebody else are somebody else's to send again.
    pub fn forget_ours(&mut self) {
        let ours = self.chain.pending().filter(|(_, message)| message.method != 0);
        let ours: Vec<(String, u64)> = ours.map(|(_, message)| (message.from.clone(), message.nonce)).collect();
        for (from, nonce) in ours {
            self.chain.evict(Some(&from), Some(nonce));
        }
    }

    pub fn head_time(&self) -> i64 {
        self.chain.time_ms(self.chain.head)
    }

    fn tipset(&mut self) -> TipSet {
        let height = (self.chain.head - self.lag).max(1);
        let key = self.chain.block_cid(height);
        let state = Arc::clone(self.chain.state_at(height).expect("the states of the last hundred epochs are kept"));
        self.views.insert(key.clone(), (height, state));
        if self.views.len() > OLD_VIEWS {
            let oldest = self.views.iter().min_by_key(|(_, (height, _))| *height).map(|(key, _)| key.clone());
            oldest.map(|key| self.views.remove(&key));
        }
        TipSet {
            key: vec![key],
            height: Epoch::new(height),
            timestamp: u64::try_from(self.chain.time_ms(height).div_euclid(1000)).unwrap(),
            base_fee: self.chain.base_fee(height),
        }
    }

    fn state(&self, at: &TipSet) -> Result<Arc<State>, ChainError> {
        let known = at.key.first().and_then(|key| self.views.get(key));
        known.map(|(_, state)| Arc::clone(state)).ok_or_else(|| refused("state", 1, "the tipset is not known"))
    }

    fn miner(&self, miner: MinerId, at: &TipSet) -> Result<Arc<Miner>, ChainError> {
        let state = self.state(at)?;
        state.miners.get(&miner.as_u64()).cloned().ok_or_else(|| refused("state", 11, "actor not found"))
    }

    fn filled(&mut self, message: &Message, max_fee: AttoFil) -> Result<ledger::Message, ChainError> {
        let method = "GasEstimateMessageGas";
        let from = self.chain.tip().key_address(&message.from).ok_or_else(|| refused(method, 1, "no such sender"))?;
        let unfilled = ledger::Message {
            from,
            to: message.to.clone(),
            nonce: 0,
            value: message.value,
            gas_limit: 0,
            fee_cap: AttoFil::ZERO,
            premium: AttoFil::ZERO,
            method: message.method,
            params: message.params.clone(),
        };
        let asked = Asked { max_fee, maximize_fee_cap: false, gas_pct: self.rules.gas_pct(message.method) };
        match self.chain.estimate(unfilled, asked, &verifier(Prover::Simulated)) {
            Ok(filled) => Ok(filled),
            Err(Refusal::OutOfGas) => Err(refused(method, 2, "call ran out of gas")),
            Err(Refusal::Reverted(exit, words)) => {
                Err(refused(method, 3, format!("message execution failed (exit=[{exit}], vm error=[{words}])")))
            }
            Err(Refusal::Undecided(why)) => Err(refused(method, 1, why.to_string())),
        }
    }

    /// Draws what the node will do with the next message.
    fn draw_rules(&mut self) {
        let Moods { drops, late, low, .. } = self.moods;
        if self.dice.chance(drops) {
            self.rules.add(1, None, None);
        } else if self.dice.chance(late) {
            let epochs = self.dice.between(1, 12);
            self.rules.add(1, None, Some(epochs));
        }
        if self.dice.chance(low) {
            self.rules.add_gas(1, None, 70);
        }
    }
}

fn sent(message: &ledger::Message, replaced: Vec<String>) -> Sent {
    Sent {
        cid: message.cid(),
        nonce: message.nonce,
        gas: Gas {
            limit: i64::try_from(message.gas_limit).unwrap(),
            fee_cap: message.fee_cap,
            premium: message.premium,
        },
        signed: serde_json::to_value(message).ok(),
        replaced,
        at: Epoch::default(),
    }
}

fn signed(known: &Sent) -> ledger::Message {
    serde_json::from_value(known.signed.clone().expect("what this node signs is kept")).unwrap()
}

/// With the ten percent that nodes add to what they advise.
fn margin(amount: AttoFil) -> AttoFil {
    AttoFil::from_atto(amount.as_atto() * 11 / 10)
}

impl SimNode {
    pub fn new(net: Net) -> Self {
        Self(Arc::new(Mutex::new(net)))
    }

    pub fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap()
    }

    pub fn network(&self) -> NetworkParams {
        let net = self.net();
        NetworkParams {
            name: net.chain.name.clone(),
            block_delay_secs: net.chain.epoch_ms / 1000,
            pre_commit_challenge_delay: net.chain.challenge_delay,
        }
    }

    fn call(&self, method: &'static str) -> Result<MutexGuard<'_, Net>, ChainError> {
        let mut net = self.net();
        if net.silent.contains("*") || net.silent.contains(method) {
            return Err(away(method));
        }
        let Moods { away: gone, moves, .. } = net.moods;
        if net.dice.chance(gone) {
            return Err(away(method));
        }
        if net.dice.chance(moves) {
            net.mine_many(1);
        }
        Ok(net)
    }

    /// The answer to something that was done, unless it is lost.
    fn answered(mut net: MutexGuard<'_, Net>, method: &str, answer: Sent) -> Result<Sent, ChainError> {
        let lost = net.moods.lost;
        if net.dice.chance(lost) { Err(away(method)) } else { Ok(answer) }
    }
}

impl Node for SimNode {
    async fn head(&self) -> Result<TipSet, ChainError> {
        Ok(self.call("ChainHead")?.tipset())
    }

    async fn finalized(&self) -> Result<Epoch, ChainError> {
        let net = self.call("ChainGetFinalizedTipSet")?;
        Ok(Epoch::new((net.chain.head - net.lag - net.finality).max(0)))
    }

    async fn network_version(&self) -> Result<u32, ChainError> {
        self.call("StateNetworkVersion").map(|_| 28)
    }

    async fn ticket(&self, miner: MinerId, epoch: Epoch, _: &TipSet) -> Result<Hash32, ChainError> {
        let net = self.call("StateGetRandomnessFromTickets")?;
        let domain = if net.other_tickets { OTHER } else { SEAL_RANDOMNESS };
        Ok(net.chain.randomness.from_tickets(domain, epoch.as_i64(), &miner.to_entropy()))
    }

    async fn seed(&self, miner: MinerId, epoch: Epoch, at: &TipSet) -> Result<Hash32, ChainError> {
        let net = self.call("StateGetRandomnessFromBeacon")?;
        if epoch > at.height {
            return Err(refused("StateGetRandomnessFromBeacon", 1, "cannot draw randomness from the future"));
        }
        let domain = if net.other_beacons { OTHER } else { INTERACTIVE_SEAL };
        Ok(net.chain.randomness.from_beacon(domain, epoch.as_i64(), &miner.to_entropy()))
    }

    async fn miner_info(&self, miner: MinerId, at: &TipSet) -> Result<MinerInfo, ChainError> {
        let miner = self.call("StateMinerInfo")?.miner(miner, at)?;
        Ok(MinerInfo {
            owner: address::id(miner.owner),
            worker: address::id(miner.worker),
            control: Vec::new(),
            sector_size: miner.size,
            window_post_proof: miner.size.window_post_proof(),
            peer_id: None,
            multiaddrs: Vec::new(),
            beneficiary: Beneficiary {
                address: address::id(miner.owner),
                quota: AttoFil::ZERO,
                used: AttoFil::ZERO,
                expiration: Epoch::new(0),
                pending: None,
            },
        })
    }

    async fn precommit(
        &self,
        miner: MinerId,
        number: SectorNumber,
        at: &TipSet,
    ) -> Result<Option<PreCommitInfo>, ChainError> {
        let miner = self.call("StateSectorPreCommitInfo")?.miner(miner, at)?;
        Ok(miner.pre_commits.get(&number.as_u64()).map(|found| PreCommitInfo {
            epoch: Epoch::new(found.epoch),
            ticket_epoch: Epoch::new(found.ticket_epoch),
            comm_r: found.comm_r,
            deposit: found.deposit,
        }))
    }

    async fn sector(
        &self,
        miner: MinerId,
        number: SectorNumber,
        at: &TipSet,
    ) -> Result<Option<SectorInfo>, ChainError> {
        let miner = self.call("StateSectorGetInfo")?.miner(miner, at)?;
        let found = miner.sectors.get(&number.as_u64()).filter(|found| found.condition != Condition::Terminated);
        Ok(found.map(|found| SectorInfo {
            number,
            comm_r: found.comm_r,
            activation: Epoch::new(found.activation),
            expiration: Epoch::new(found.expiration),
            pledge: found.pledge,
        }))
    }

    async fn allocated(&self, miner: MinerId, at: &TipSet) -> Result<SectorSet, ChainError> {
        let miner = self.call("StateMinerAllocated")?.miner(miner, at)?;
        Ok(miner.allocated.iter().copied().collect())
    }

    async fn faults(&self, miner: MinerId, at: &TipSet) -> Result<SectorSet, ChainError> {
        let miner = self.call("StateMinerFaults")?.miner(miner, at)?;
        Ok(miner.in_condition(Condition::Faulty).map(|(number, _)| number).collect())
    }

    async fn precommit_deposit(&self, _: MinerId, _: &SectorPreCommitInfo, _: &TipSet) -> Result<AttoFil, ChainError> {
        self.call("StateMinerPreCommitDepositForPower").map(drop)?;
        Ok(margin(deposit(MINER_SIZE)))
    }

    async fn initial_pledge(&self, _: i64, size: SectorSize, _: &TipSet) -> Result<AttoFil, ChainError> {
        self.call("StateMinerInitialPledgeForSector").map(drop)?;
        Ok(margin(pledge(size)))
    }

    async fn lookup_id(&self, address: &str, at: &TipSet) -> Result<Option<String>, ChainError> {
        Ok(self.call("StateLookupID")?.state(at)?.resolve(address).map(address::id))
    }

    async fn account_key(&self, address: &str, at: &TipSet) -> Result<Option<String>, ChainError> {
        Ok(self.call("StateAccountKey")?.state(at)?.key_address(address))
    }

    async fn has_key(&self, address: &str) -> Result<bool, ChainError> {
        Ok(self.call("WalletHas")?.chain.wallets().any(|wallet| wallet == address))
    }

    async fn balance(&self, address: &str) -> Result<AttoFil, ChainError> {
        let net = self.call("WalletBalance")?;
        let state = net.chain.state_at(net.chain.head).expect("the head's state is kept");
        Ok(state.resolve(address).map_or(AttoFil::ZERO, |id| state.balance(id)))
    }

    async fn estimate(&self, message: &Message, max_fee: AttoFil, _: &TipSet) -> Result<Gas, ChainError> {
        let filled = self.call("GasEstimateMessageGas")?.filled(message, max_fee)?;
        Ok(sent(&filled, Vec::new()).gas)
    }

    async fn push(&self, message: &Message, id: &MessageId, max_fee: AttoFil) -> Result<Sent, ChainError> {
        let method = "MpoolPushMessage";
        let mut net = self.call(method)?;
        let before = net.chain.pushed_as(&id.0).and_then(|cid| net.chain.message(cid)).map(Arc::clone);
        if let Some(before) = before {
            return Self::answered(net, method, sent(&before, Vec::new()));
        }
        net.draw_rules();
        let filled = net.filled(message, max_fee).map_err(|error| refused(method, 1, error.to_string()))?;
        let Net { chain, rules, .. } = &mut *net;
        let pushed = chain.push(filled, Some(id.0.clone()), rules).map_err(|why| refused(method, 1, why))?;
        net.taken.insert(pushed.cid());
        net.pushes.push(message.method);
        Self::answered(net, method, sent(&pushed, Vec::new()))
    }

    async fn resend(&self, known: &Sent) -> Result<Sent, ChainError> {
        let method = "MpoolPush";
        let mut net = self.call(method)?;
        let message = signed(known);
        let Net { chain, rules, .. } = &mut *net;
        match chain.push_signed(message.clone(), rules) {
            Err(why) if !why.contains("already in mpool") => Err(refused(method, 1, why)),
            // it was there all the time
            Ok(_) | Err(_) => Self::answered(net, method, sent(&message, known.replaced.clone())),
        }
    }

    async fn replace(&self, known: &Sent, gas: Gas) -> Result<Sent, ChainError> {
        let method = "MpoolPush";
        let mut net = self.call(method)?;
        let (gas_limit, fee_cap, premium) = (u64::try_from(gas.limit).unwrap(), gas.fee_cap, gas.premium);
        let dearer = ledger::Message { gas_limit, fee_cap, premium, ..signed(known) };
        let Net { chain, rules, .. } = &mut *net;
        let cid = chain.push_signed(dearer.clone(), rules).map_err(|why| refused(method, 1, why))?;
        net.taken.insert(cid);
        let mut replaced = known.replaced.clone();
        replaced.push(known.cid.clone());
        Self::answered(net, method, sent(&dearer, replaced))
    }

    async fn pending_like(&self, message: &Message) -> Result<Option<Sent>, ChainError> {
        let net = self.call("MpoolPending")?;
        let from = net.chain.tip().key_address(&message.from);
        let same = |pending: &&Arc<ledger::Message>| {
            Some(&pending.from) == from.as_ref()
                && pending.to == message.to
                && pending.method == message.method
                && pending.params == message.params
        };
        let found = net.chain.pending().map(|(_, pending)| pending).find(same);
        Ok(found.map(|found| sent(found, Vec::new())))
    }

    async fn sector_location(
        &self,
        miner: MinerId,
        number: SectorNumber,
        at: &TipSet,
    ) -> Result<Option<Location>, ChainError> {
        let miner = self.call("StateSectorPartition")?.miner(miner, at)?;
        let place = miner.sectors.get(&number.as_u64()).map(|sector| sector.place);
        Ok(place.map(|place| Location { deadline: place.deadline, partition: place.partition }))
    }

    async fn search(&self, cid: &str, at: &TipSet) -> Result<Option<Executed>, ChainError> {
        let net = self.call("StateSearchMsg")?;
        let found = net.chain.landed(cid, true).map_err(|_| ChainError::Overtaken { cid: cid.to_owned() })?;
        let found = found.map(|found| Executed {
            cid: found.cid.clone(),
            exit_code: i64::from(found.receipt.exit_code),
            value: found.receipt.value.clone(),
            height: Epoch::new(found.included + 1),
        });
        Ok(found.filter(|found| found.height <= at.height))
    }

    async fn fate(&self, cid: &str, from: &str, nonce: Option<u64>, at: &TipSet) -> Result<Fate, ChainError> {
        match (self.search(cid, at).await, nonce) {
            (Ok(Some(executed)), _) => Ok(Fate::Executed(executed)),
            (Err(ChainError::Overtaken { .. }), _) => Ok(Fate::Overtaken),
            (Err(other), _) => Err(other),
            (Ok(None), None) => Ok(Fate::Waiting),
            (Ok(None), Some(nonce)) => {
                let net = self.call("MpoolGetNonce");
                let next = net.map(|net| {
                    let from = net.chain.tip().key_address(from).unwrap_or_default();
                    net.chain.next_nonce(&from)
                });
                Ok(if next.is_ok_and(|next| next <= nonce) { Fate::Forgotten } else { Fate::Waiting })
            }
        }
    }
}
