//! The ledger: accounts, actors and what a message does to them. Pure: the same state, message and context
//! give the same state and receipt.
//!
//! It follows the rules of the real actors for the methods a sealing daemon sends; every other method ends with
//! exit code 22. It deliberately has no virtual machine, no signatures and no block rewards.

use super::{
    address, gas,
    miner::{Done, Miner},
    randomness::Randomness,
};
use crate::{
    chain::{
        params::{CreateMinerParams, CreateMinerReturn, method},
        presealed::Presealed,
    },
    proofs::{PoRep, ProofError},
    units::{AttoFil, SectorSize, from_hex, to_hex},
};
use fvm_ipld_encoding::RawBytes;
use fvm_shared::{address::Address, bigint::BigInt, econ::TokenAmount};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The power actor.
pub const POWER_ACTOR: u64 = 4;
/// Holds what the fault API gives away.
pub const RESERVE_ACTOR: u64 = 90;
/// Where burnt funds go; they stay part of the sum.
pub const BURN_ACTOR: u64 = 99;
/// First id of an account.
const FIRST_ID: u64 = 1000;
const ATTO_PER_FIL: i128 = 1_000_000_000_000_000_000;
/// Given to the default wallet and to the reserve.
const WALLET_FUNDS: AttoFil = AttoFil::from_atto(1_000_000 * ATTO_PER_FIL);
const RESERVE_FUNDS: AttoFil = AttoFil::from_atto(1_000_000_000 * ATTO_PER_FIL);
/// What CreateMiner must bring: small, as on a developer network.
pub const CREATION_DEPOSIT: AttoFil = AttoFil::from_atto(ATTO_PER_FIL / 100);
/// Exit codes of the real actors and machine. Source: lotus-full-node-api 3.0.
pub mod exit {
    /// The sender or its nonce is wrong.
    pub const SENDER_STATE: u32 = 4;
    /// The receiver does not exist and cannot be made.
    pub const INVALID_RECEIVER: u32 = 5;
    /// The sender cannot pay the value.
    pub const SYS_INSUFFICIENT_FUNDS: u32 = 6;
    /// The gas limit is too low.
    pub const OUT_OF_GAS: u32 = 7;
    /// Illegal argument.
    pub const ILLEGAL_ARGUMENT: u32 = 16;
    /// Not found.
    pub const NOT_FOUND: u32 = 17;
    /// Forbidden.
    pub const FORBIDDEN: u32 = 18;
    /// The actor lacks funds.
    pub const INSUFFICIENT_FUNDS: u32 = 19;
    /// The parameters do not decode.
    pub const SERIALIZATION: u32 = 21;
    /// No such method.
    pub const UNHANDLED: u32 = 22;
}

/// A message as it is signed. Addresses are texts with the prefix `t`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Key address of the sender.
    pub from: String,
    /// Receiver.
    pub to: String,
    /// Sequence number of the sender.
    pub nonce: u64,
    /// Funds sent along.
    pub value: AttoFil,
    /// Most gas it may use.
    pub gas_limit: u64,
    /// Most attoFIL per gas.
    pub fee_cap: AttoFil,
    /// Tip per gas. No block producer here takes it.
    pub premium: AttoFil,
    /// Method number.
    pub method: u64,
    /// CBOR parameters.
    #[serde(with = "hex_bytes")]
    pub params: Vec<u8>,
}

impl Message {
    /// The CID that the network would give it: blake2b of its CBOR.
    pub fn cid(&self) -> String {
        let amount = |amount: AttoFil| TokenAmount::from_atto(BigInt::from(amount.as_atto()));
        let nowhere = Address::new_id(0);
        let message = fvm_shared::message::Message {
            version: 0,
            from: address::parse(&self.from).unwrap_or(nowhere),
            to: address::parse(&self.to).unwrap_or(nowhere),
            sequence: self.nonce,
            value: amount(self.value),
            method_num: self.method,
            params: RawBytes::new(self.params.clone()),
            gas_limit: self.gas_limit,
            gas_fee_cap: amount(self.fee_cap),
            gas_premium: amount(self.premium),
        };
        address::cbor_cid(&fvm_ipld_encoding::to_vec(&message).unwrap_or_default())
    }

    /// Whether the other message would do the same: all but gas is equal.
    pub fn same_call(&self, other: &Self) -> bool {
        let call = |m: &Self| (m.from.clone(), m.to.clone(), m.nonce, m.value, m.method, m.params.clone());
        call(self) == call(other)
    }

    /// The most it can cost its sender besides the value.
    pub fn max_fee(&self) -> AttoFil {
        times(self.fee_cap, self.gas_limit)
    }
}

/// What executing a message gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// 0 is success.
    pub exit_code: u32,
    /// CBOR return value.
    #[serde(with = "hex_bytes")]
    pub value: Vec<u8>,
    /// Gas used.
    pub gas_used: u64,
    /// The actor's words when it failed.
    pub error: String,
}

/// Why a message stopped.
#[derive(Debug)]
pub enum Halt {
    /// The actor aborted: exit code and its words.
    Exit(u32, String),
    /// A proof can neither be accepted nor refused here; the message must wait.
    Undecided(ProofError),
}

/// Shorthand for an abort.
pub fn abort<T>(code: u32, text: impl Into<String>) -> Result<T, Halt> {
    Err(Halt::Exit(code, text.into()))
}

/// How proofs of replication are judged: that of one statement, or the aggregate of several, in its order.
pub type Verify<'a> = &'a (dyn Fn(&[PoRep], &[u8]) -> Result<bool, ProofError> + Sync);

/// The world a message runs in.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Height of the including tipset.
    pub epoch: i64,
    /// Base fee, attoFIL per gas.
    pub base_fee: AttoFil,
    /// Epochs from pre-commit to seed.
    pub challenge_delay: i64,
    /// The chain's own randomness.
    pub randomness: &'a Randomness,
    /// The judge of proofs.
    pub verify: Verify<'a>,
}

/// An account or actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Key address of an account, robust address of an actor.
    pub address: Option<String>,
    /// Funds.
    pub balance: AttoFil,
    /// Next sequence number of an account.
    pub nonce: u64,
}

/// All accounts and miners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    actors: BTreeMap<u64, Actor>,
    /// Miner actors by id.
    #[serde(with = "shared_values")]
    pub miners: BTreeMap<u64, Arc<Miner>>,
    next_id: u64,
}

impl State {
    /// Reserve, burn account and one rich wallet; before it a miner with sealed sectors, if there is to be one.
    pub fn genesis(wallet: &str, presealed: Option<&Presealed>) -> Self {
        let system = |balance| Actor { address: None, balance, nonce: 0 };
        let mut actors: BTreeMap<u64, Actor> =
            [1, 2, 3, POWER_ACTOR, 5, 6, 7, BURN_ACTOR].map(|id| (id, system(AttoFil::ZERO))).into();
        actors.insert(RESERVE_ACTOR, system(RESERVE_FUNDS));
        let mut state = Self { actors, miners: BTreeMap::new(), next_id: FIRST_ID };
        if let Some(presealed) = presealed {
            state.create_presealed(presealed);
        }
        let id = state.create_actor(wallet.to_owned());
        state.credit(id, WALLET_FUNDS);
        state
    }

    /// The actor of an address in any form, if it is on chain.
    pub fn resolve(&self, text: &str) -> Option<u64> {
        let address = address::parse(text)?;
        if let Ok(id) = address.id() {
            return self.actors.contains_key(&id).then_some(id);
        }
        let shown = address::show(&address);
        self.actors.iter().find(|(_, actor)| actor.address.as_ref() == Some(&shown)).map(|(id, _)| *id)
    }

    /// The key address of an account, given in any form.
    pub fn key_address(&self, text: &str) -> Option<String> {
        self.resolve(text).and_then(|id| self.actor(id)).and_then(|actor| actor.address.clone())
    }

    /// An account or actor.
    pub fn actor(&self, id: u64) -> Option<&Actor> {
        self.actors.get(&id)
    }

    /// Its funds; nothing when it does not exist.
    pub fn balance(&self, id: u64) -> AttoFil {
        self.actors.get(&id).map_or(AttoFil::ZERO, |actor| actor.balance)
    }

    /// Everything that exists: never changes after genesis.
    pub fn total_funds(&self) -> AttoFil {
        self.actors.values().fold(AttoFil::ZERO, |sum, actor| plus(sum, actor.balance))
    }

    /// Executes a message whose nonce and fee cap were checked by the caller.
    ///
    /// # Errors
    /// When a proof in it cannot be judged; the state is unchanged then.
    pub fn apply(&mut self, message: &Message, context: &Context<'_>) -> Result<Receipt, ProofError> {
        let failed = |exit_code, gas_used, error: &str| {
            Ok(Receipt { exit_code, value: Vec::new(), gas_used, error: error.to_owned() })
        };
        let Some(sender) = self.resolve(&message.from) else {
            return failed(exit::SENDER_STATE, 0, "the sender is not on chain");
        };
        if self.actor(sender).is_none_or(|actor| actor.nonce != message.nonce) {
            return failed(exit::SENDER_STATE, 0, "the nonce is not the sender's next");
        }
        let gas = gas::used_by(message);
        let (paid_gas, out_of_gas) = if gas > message.gas_limit { (message.gas_limit, true) } else { (gas, false) };
        let fee = times(context.base_fee, paid_gas);
        if self.balance(sender) < fee {
            return failed(exit::SYS_INSUFFICIENT_FUNDS, 0, "the sender cannot pay for the gas");
        }
        let mut after = self.clone();
        let outcome = if out_of_gas {
            abort(exit::OUT_OF_GAS, format!("the gas limit {} is below the {gas} needed", message.gas_limit))
        } else {
            after.charge(sender, fee);
            after.execute(sender, message, context)
        };
        let (exit_code, value, error) = match outcome {
            Ok(value) => (0, value, String::new()),
            Err(Halt::Exit(code, text)) => {
                after = self.clone();
                after.charge(sender, fee);
                (code, Vec::new(), text)
            }
            Err(Halt::Undecided(error)) => return Err(error),
        };
        if let Some(actor) = after.actors.get_mut(&sender) {
            actor.nonce = actor.nonce.saturating_add(1);
        }
        *self = after;
        Ok(Receipt { exit_code, value, gas_used: paid_gas, error })
    }

    /// Whether the end of this epoch takes a pre-commit that nobody proved.
    pub fn has_expired(&self, epoch: i64, challenge_delay: i64) -> bool {
        self.miners.values().any(|miner| miner.has_expired(epoch, challenge_delay))
    }

    /// What the network does by itself at the end of an epoch: burns the deposits of pre-commits nobody proved.
    pub fn end_epoch(&mut self, epoch: i64, challenge_delay: i64) {
        let late = self.miners.iter_mut().filter(|(_, miner)| miner.has_expired(epoch, challenge_delay));
        let burnt: Vec<(u64, AttoFil)> =
            late.map(|(id, miner)| (*id, Arc::make_mut(miner).expire_pre_commits(epoch, challenge_delay))).collect();
        for (id, amount) in burnt {
            self.charge(id, amount);
        }
    }

    /// A miner to be changed.
    pub fn miner_mut(&mut self, id: u64) -> Option<&mut Miner> {
        self.miners.get_mut(&id).map(Arc::make_mut)
    }

    /// Gives `amount` of the reserve to an address, making the account when needed.
    ///
    /// # Errors
    /// The reserve is empty, or the address is not one.
    pub fn fund(&mut self, to: &str, amount: AttoFil) -> Result<(), String> {
        let receiver = self.resolve_or_create(to).ok_or_else(|| format!("{to:?} is not an address"))?;
        if self.transfer(RESERVE_ACTOR, receiver, amount) {
            Ok(())
        } else {
            Err(format!("the reserve holds {}, less than {amount}", self.balance(RESERVE_ACTOR)))
        }
    }

    fn execute(&mut self, sender: u64, message: &Message, context: &Context<'_>) -> Result<Vec<u8>, Halt> {
        let Some(receiver) = self.resolve_or_create(&message.to) else {
            return abort(exit::INVALID_RECEIVER, format!("no actor at {}", message.to));
        };
        if !self.transfer(sender, receiver, message.value) {
            return abort(exit::SYS_INSUFFICIENT_FUNDS, "the sender cannot pay the value");
        }
        if message.method == 0 {
            return Ok(Vec::new());
        }
        if receiver == POWER_ACTOR && message.method == method::CREATE_MINER {
            return self.create_miner(message, context.epoch);
        }
        let balance = self.balance(receiver);
        let Some(miner) = self.miner_mut(receiver) else {
            return abort(exit::UNHANDLED, format!("actor {} has no method {}", message.to, message.method));
        };
        let Done { value, burnt } = miner.invoke(sender, balance, message, context)?;
        self.charge(receiver, burnt);
        Ok(value)
    }

    fn create_miner(&mut self, message: &Message, epoch: i64) -> Result<Vec<u8>, Halt> {
        let params: CreateMinerParams = decode(&message.params)?;
        let size = SectorSize::ALL.into_iter().find(|size| size.window_post_proof() == params.window_post_proof_type);
        let Some(size) = size else {
            let text = format!("window PoSt proof type {} is not one of 10 to 14", params.window_post_proof_type);
            return abort(exit::ILLEGAL_ARGUMENT, text);
        };
        let account = |address: &Address| self.resolve(&address::show(address));
        let (Some(owner), Some(worker)) = (account(&params.owner), account(&params.worker)) else {
            return abort(exit::ILLEGAL_ARGUMENT, "owner or worker is not on chain");
        };
        if !self.actor(worker).and_then(|actor| actor.address.as_deref()).is_some_and(address::is_bls) {
            return abort(exit::ILLEGAL_ARGUMENT, "the worker must be a BLS account");
        }
        if message.value < CREATION_DEPOSIT {
            return abort(exit::INSUFFICIENT_FUNDS, "not enough balance to lock for create miner deposit");
        }
        let robust = Address::new_actor(message.cid().as_bytes());
        let id = self.create_actor(address::show(&robust));
        self.transfer(POWER_ACTOR, id, message.value);
        let multiaddrs = params.multiaddrs.into_iter().map(|bytes| bytes.0).collect();
        let id_address = Address::new_id(id);
        let miner = Miner::new(id, owner, worker, size, epoch).with_contact(params.peer, multiaddrs);
        self.miners.insert(id, Arc::new(miner));
        encode(&CreateMinerReturn { id_address, robust_address: robust })
    }

    fn create_presealed(&mut self, presealed: &Presealed) {
        let Presealed { actor, owner, worker, sector_size, sectors } = presealed;
        let id = actor.as_u64().max(FIRST_ID);
        self.next_id = id;
        let robust = Address::new_actor(b"presealed");
        self.create_actor(address::show(&robust));
        self.credit(id, WALLET_FUNDS);
        let accounts = [owner, worker].map(|account| {
            let known = self.resolve_or_create(account).unwrap_or(id);
            self.credit(known, WALLET_FUNDS);
            known
        });
        let [owner, worker] = accounts;
        let mut miner = Miner::new(id, owner, worker, *sector_size, 0);
        miner.preseal(sectors);
        self.miners.insert(id, Arc::new(miner));
    }

    fn resolve_or_create(&mut self, text: &str) -> Option<u64> {
        self.resolve(text).or_else(|| {
            let address = address::parse(text).filter(|address| address.id().is_err())?;
            Some(self.create_actor(address::show(&address)))
        })
    }

    fn create_actor(&mut self, address: String) -> u64 {
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        self.actors.insert(id, Actor { address: Some(address), balance: AttoFil::ZERO, nonce: 0 });
        id
    }

    /// Moves funds from an actor that has them to the burn account.
    fn charge(&mut self, from: u64, amount: AttoFil) {
        self.transfer(from, BURN_ACTOR, amount);
    }

    /// Moves funds; `false`, and nothing moves, when there are not enough or one of the two does not exist.
    fn transfer(&mut self, from: u64, to: u64, amount: AttoFil) -> bool {
        let left = self.balance(from).checked_sub(amount).filter(|left| *left >= AttoFil::ZERO);
        let (Some(left), true) = (left, amount >= AttoFil::ZERO && self.actors.contains_key(&to)) else {
            return false;
        };
        if let Some(actor) = self.actors.get_mut(&from) {
            actor.balance = left;
        }
        self.credit(to, amount);
        true
    }

    fn credit(&mut self, to: u64, amount: AttoFil) {
        if let Some(actor) = self.actors.get_mut(&to) {
            actor.balance = plus(actor.balance, amount);
        }
    }
}

/// The sum. All funds together are far below the range, so it cannot leave it.
pub fn plus(a: AttoFil, b: AttoFil) -> AttoFil {
    AttoFil::from_atto(a.as_atto().saturating_add(b.as_atto()))
}

/// The difference; may be negative.
pub fn minus(a: AttoFil, b: AttoFil) -> AttoFil {
    AttoFil::from_atto(a.as_atto().saturating_sub(b.as_atto()))
}

/// `amount × count`, at the end of the range when it would be past it: more than anyone can pay.
pub fn times(amount: AttoFil, count: u64) -> AttoFil {
    AttoFil::from_atto(amount.as_atto().saturating_mul(i128::from(count)))
}

/// Reads CBOR parameters; exit code 21 when they are not of the method's shape.
pub fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Halt> {
    fvm_ipld_encoding::from_slice(bytes).or_else(|e| abort(exit::SERIALIZATION, format!("cannot read parameters: {e}")))
}

/// Writes a CBOR return value.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Halt> {
    fvm_ipld_encoding::to_vec(value)
        .or_else(|e| abort(exit::SERIALIZATION, format!("cannot write the return value: {e}")))
}

/// Bytes as hexadecimal text in the chain file.
mod hex_bytes {
    use super::{from_hex, to_hex};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&to_hex(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        from_hex(&text).ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}

/// Maps of shared values are plain maps in the file.
pub mod shared_values {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::{collections::BTreeMap, sync::Arc};

    /// Writes a plain map.
    ///
    /// # Errors
    /// When a value does not encode.
    pub fn serialize<S: Serializer, K: Serialize, T: Serialize>(
        map: &BTreeMap<K, Arc<T>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(key, value)| (key, value.as_ref())))
    }

    /// Reads a plain map.
    ///
    /// # Errors
    /// When a value does not decode.
    pub fn deserialize<'de, D, K, T>(from: D) -> Result<BTreeMap<K, Arc<T>>, D::Error>
    where
        D: Deserializer<'de>,
        K: Deserialize<'de> + Ord,
        T: Deserialize<'de>,
    {
        let map = BTreeMap::<K, T>::deserialize(from)?;
        Ok(map.into_iter().map(|(key, value)| (key, Arc::new(value))).collect())
    }
}

#[cfg(test)]
mod tests;
