//! Addresses of the node's wallet, and messages: estimate, push, find again.
//!
//! Pushing is the only thing here that cannot be taken back; the caller records the message and its id first.

use super::{Client, METHOD_NOT_FOUND, NONE, key};
use crate::{
    chain::{ChainError, Executed, Fate, Gas, Message, Sent, TipSet, messages, rpc::Kind, wire},
    sector::MessageId,
    units::{AttoFil, Epoch},
};
use fvm_shared::address::Address;
use uuid::Uuid;

/// What Go prints for no address.
const NO_ADDRESS: &str = "<empty>";

/// Codes from this one on are of the method itself, and not of the protocol. Source: lotus-full-node-api 1.4.
const APPLICATION: i64 = 1;

/// Lotus' code for an actor that does not exist. Source: lotus-full-node-api 1.4.
const ACTOR_NOT_FOUND: i64 = 11;

impl Client {
    /// Funds of any address.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn balance(&self, address: &str) -> Result<AttoFil, ChainError> {
        self.ask("WalletBalance", (address,)).await
    }

    /// The default address of the node's wallet; `None` when it has none.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn default_address(&self) -> Result<Option<String>, ChainError> {
        let found: Option<String> = self.ask("WalletDefaultAddress", NONE).await?;
        Ok(found.filter(|address| !address.is_empty() && address != NO_ADDRESS))
    }

    /// A new BLS key in the node's wallet. Not repeated: an answer that is lost leaves a key nobody uses.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn new_bls_address(&self) -> Result<String, ChainError> {
        self.rpc.call(Kind::Write, "WalletNew", ("bls",)).await
    }

    /// Whether the node's wallet can sign for a key address.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn has_key(&self, address: &str) -> Result<bool, ChainError> {
        self.ask("WalletHas", (address,)).await
    }

    /// The id address of an address; `None` when the chain does not know it yet.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn lookup_id(&self, address: &str, at: &TipSet) -> Result<Option<String>, ChainError> {
        match self.ask("StateLookupID", (address, key(at))).await {
            Ok(id) => Ok(Some(id)),
            Err(ChainError::Refused { code, message, .. })
                if code == ACTOR_NOT_FOUND || (code != METHOD_NOT_FOUND && message.contains("not found")) =>
            {
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// The key address of an account; `None` when there is no account at this address, but nothing or another actor.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn account_key(&self, address: &str, at: &TipSet) -> Result<Option<String>, ChainError> {
        match self.ask("StateAccountKey", (address, key(at))).await {
            Ok(key) => Ok(Some(key)),
            Err(ChainError::Refused { code, .. }) if code >= APPLICATION => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// What sending a message would cost, by executing it on the head. Nothing is sent.
    ///
    /// # Errors
    /// [`ChainError::Refused`] with code 3 and the actor's text when the actor would reject it, with code 2 when it
    /// is over the block gas limit.
    pub async fn estimate(&self, message: &Message, max_fee: AttoFil, at: &TipSet) -> Result<Gas, ChainError> {
        let params = (unsigned(message), spec(max_fee, Uuid::nil()), key(at));
        let filled: wire::Message = self.rpc.call(Kind::SlowRead, "GasEstimateMessageGas", params).await?;
        Ok(Gas { limit: filled.gas_limit, fee_cap: filled.gas_fee_cap, premium: filled.gas_premium })
    }

    /// Has the node fill in gas and nonce, sign and publish a message. `max_fee` bounds its fees.
    ///
    /// Pushing again with the same id answers with the first message, on the same Lotus node. Forest ignores the id
    /// and another endpoint does not know it, so before a push is repeated, [`Client::pending_like`] and the state
    /// the message would change are asked first.
    ///
    /// # Errors
    /// [`ChainError::Unreachable`] and [`ChainError::Malformed`] do not mean that it was not sent.
    /// [`ChainError::Invalid`] when `id` is not a UUID.
    pub async fn push(&self, message: &Message, id: &MessageId, max_fee: AttoFil) -> Result<Sent, ChainError> {
        let MessageId(text) = id;
        let id = Uuid::parse_str(text)
            .map_err(|why| ChainError::Invalid { what: format!("message id {text:?} is not a UUID: {why}") })?;
        let params = (unsigned(message), spec(max_fee, id));
        let signed: wire::SignedMessage = self.rpc.call(Kind::Write, "MpoolPushMessage", params).await?;
        Ok(sent(signed))
    }

    /// Hands over a message that was signed before: it has its nonce, so it can only be the same message once more.
    ///
    /// # Errors
    /// [`ChainError::Refused`] when the nonce was used meanwhile; [`ChainError::Invalid`] when `known` has no signed
    /// message.
    pub async fn resend(&self, known: &Sent) -> Result<Sent, ChainError> {
        let signed = signed(known)?;
        self.ask_pool(&signed).await?;
        Ok(Sent { replaced: known.replaced.clone(), ..sent(signed) })
    }

    /// Replaces a message in the pool by a dearer one with the same nonce: one of the two executes, never both.
    ///
    /// # Errors
    /// [`ChainError::Refused`] when the node does not allow it; the first one stays.
    pub async fn replace(&self, known: &Sent, gas: Gas) -> Result<Sent, ChainError> {
        let mut message = signed(known)?.message;
        (message.gas_limit, message.gas_fee_cap, message.gas_premium) = (gas.limit, gas.fee_cap, gas.premium);
        message.cid = None;
        let from = message.from.clone();
        let dearer: wire::SignedMessage = self.rpc.call(Kind::Write, "WalletSignMessage", (from, message)).await?;
        self.ask_pool(&dearer).await?;
        let mut replaced = known.replaced.clone();
        replaced.push(known.cid.clone());
        Ok(Sent { replaced, ..sent(dearer) })
    }

    async fn ask_pool(&self, signed: &wire::SignedMessage) -> Result<(), ChainError> {
        match self.rpc.call::<wire::CidJson>(Kind::Write, "MpoolPush", (signed,)).await {
            Ok(_) => Ok(()),
            // it was there all the time
            Err(ChainError::Refused { message, .. })
                if message.contains("already in mpool") && !message.contains("increase GasPremium") =>
            {
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    /// A message in the node's pool with the same sender, receiver, method and parameters.
    ///
    /// # Errors
    /// See [`Client`]; [`ChainError::Invalid`] when the message's addresses are none.
    pub async fn pending_like(&self, message: &Message) -> Result<Option<Sent>, ChainError> {
        let head = wire::TipSetKey::default();
        let mut from = messages::parse_address(&message.from)?;
        if messages::is_id(&from) {
            // in the pool the sender is always a key
            let account: String = self.ask("StateAccountKey", (&message.from, &head)).await?;
            from = messages::parse_address(&account).map_err(|e| ChainError::malformed("StateAccountKey", e))?;
        }
        let to = messages::parse_address(&message.to)?;
        let pool: Option<Vec<wire::SignedMessage>> = self.ask("MpoolPending", (head,)).await?;
        let is = |text: &str, wanted: &Address| messages::parse_address(text).is_ok_and(|found| found == *wanted);
        let same = pool.unwrap_or_default().into_iter().find(|pending| {
            let found = &pending.message;
            found.method == message.method
                && found.params.0 == message.params
                && is(&found.from, &from)
                && is(&found.to, &to)
        });
        Ok(same.map(sent))
    }

    /// What became of a message; `None` while it has not landed, or when the node does not know it.
    ///
    /// # Errors
    /// [`ChainError::Overtaken`] when another message landed with its nonce.
    pub async fn search(&self, cid: &str, at: &TipSet) -> Result<Option<Executed>, ChainError> {
        let (all_of_history, allow_replaced) = (-1i64, true);
        let params = (key(at), wire::CidJson::from(cid.to_owned()), all_of_history, allow_replaced);
        let answer: Result<Option<wire::MsgLookup>, _> = self.rpc.call(Kind::SlowRead, "StateSearchMsg", params).await;
        let found = match answer {
            Ok(found) => found,
            Err(ChainError::Refused { message, .. }) if message.contains("found message with equal nonce") => {
                return Err(ChainError::Overtaken { cid: cid.to_owned() });
            }
            // Lotus does not search for what it has never seen; the nonce tells what became of it
            Err(ChainError::Refused { message, .. }) if message.contains("failed to load message") => return Ok(None),
            Err(other) => return Err(other),
        };
        Ok(found.map(|found| Executed {
            cid: found.message.cid,
            exit_code: found.receipt.exit_code,
            value: found.receipt.r#return.0,
            height: Epoch::new(found.height),
        }))
    }

    /// The nonce of the sender's next message, with those in the pool counted.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn next_nonce(&self, from: &str) -> Result<u64, ChainError> {
        self.ask("MpoolGetNonce", (from,)).await
    }

    /// What became of a message; with the nonce it was pushed with, one that the node forgot is told from one that
    /// waits.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn fate(&self, cid: &str, from: &str, nonce: Option<u64>, at: &TipSet) -> Result<Fate, ChainError> {
        match self.search(cid, at).await {
            Ok(Some(executed)) => Ok(Fate::Executed(executed)),
            Err(ChainError::Overtaken { .. }) => Ok(Fate::Overtaken),
            Err(other) => Err(other),
            Ok(None) => {
                let Some(nonce) = nonce else { return Ok(Fate::Waiting) };
                // a node that does not say makes it wait
                Ok(if self.next_nonce(from).await.is_ok_and(|next| next <= nonce) {
                    Fate::Forgotten
                } else {
                    Fate::Waiting
                })
            }
        }
    }
}

fn unsigned(message: &Message) -> wire::Message {
    wire::Message {
        version: 0,
        to: message.to.clone(),
        from: message.from.clone(),
        nonce: 0,
        value: message.value,
        gas_limit: 0,
        gas_fee_cap: AttoFil::ZERO,
        gas_premium: AttoFil::ZERO,
        method: message.method,
        params: wire::Blob(message.params.clone()),
        cid: None,
    }
}

const fn spec(max_fee: AttoFil, msg_uuid: Uuid) -> wire::MessageSendSpec {
    wire::MessageSendSpec { max_fee, msg_uuid, maximize_fee_cap: false }
}

fn sent(signed: wire::SignedMessage) -> Sent {
    let message = &signed.message;
    let gas = Gas { limit: message.gas_limit, fee_cap: message.gas_fee_cap, premium: message.gas_premium };
    let (cid, nonce) = (signed.cid.cid.clone(), message.nonce);
    Sent { cid, nonce, gas, signed: serde_json::to_value(signed).ok(), replaced: Vec::new(), at: Epoch::default() }
}

fn signed(known: &Sent) -> Result<wire::SignedMessage, ChainError> {
    let kept = known.signed.clone().and_then(|signed| serde_json::from_value(signed).ok());
    kept.ok_or_else(|| ChainError::Invalid {
        what: format!("message {} was sent before its signature was kept: it cannot be sent again", known.cid),
    })
}
