//! Messages, gas and wallets: what changes the mempool, waits, or executes something.

use super::{Answer, Params, Question, code, error, key_of, normal, refuse, show, with};
use crate::{
    chain::wire::{
        self, Blob, CidJson, MessageReceipt, MessageSendSpec, MsgLookup, RpcError, Signature, SignedMessage, TipSetKey,
    },
    devnet::{
        address,
        chain::{Asked, Landed, Refusal},
        ledger::Message,
        node::{Handle, Request, View, verifier},
    },
    units::AttoFil,
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};

/// Methods of this group.
pub const METHODS: [&str; 13] = [
    "GasEstimateMessageGas",
    "MpoolPushMessage",
    "MpoolPush",
    "MpoolPending",
    "MpoolGetNonce",
    "StateSearchMsg",
    "StateWaitMsg",
    "WalletDefaultAddress",
    "WalletList",
    "WalletHas",
    "WalletNew",
    "WalletBalance",
    "WalletSignMessage",
];

/// Longest parameters of a message. Source: lotus-full-node-api 3.0.
const MOST_PARAMS: usize = 65_408;
/// Longest `StateWaitMsg`: a client that waits longer asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Answers a method of [`METHODS`].
pub async fn call(handle: &Handle, method: &str, params: Params) -> Answer {
    let q = Question { view: handle.view(), params };
    match method {
        "GasEstimateMessageGas" => {
            let (message, spec, key): (wire::Message, Value, TipSetKey) = q.params.read(3)?;
            q.height(&key)?;
            let message = read(&q.view, message)?;
            show(&written(&estimate(handle, message, &send_spec(spec)?).await?))
        }
        "MpoolPushMessage" => push(handle, &q).await,
        "MpoolPush" => push_signed(handle, &q).await,
        "StateWaitMsg" => wait(handle, &q).await,
        "WalletNew" => {
            let (kind,): (String,) = q.params.read(1)?;
            if kind != "bls" {
                return refuse(format!("this devnet makes \"bls\" wallets, not {kind:?}"));
            }
            let wallet = handle.ask(|reply| Request::NewWallet { reply }).await;
            wallet.map_or_else(stopping, |wallet| show(&wallet))
        }
        _ => read_only(method, &q),
    }
}

fn read_only(method: &str, q: &Question) -> Answer {
    let chain = &q.view.chain;
    match method {
        "MpoolPending" => {
            let (key,): (TipSetKey,) = q.params.read(1)?;
            q.height(&key)?;
            let mut pending: Vec<&Arc<Message>> = chain.pending().map(|(_, message)| message).collect();
            pending.sort_by(|a, b| (&a.from, a.nonce).cmp(&(&b.from, b.nonce)));
            show(&pending.into_iter().map(|message| signed(message)).collect::<Vec<_>>())
        }
        "MpoolGetNonce" => {
            let (from,): (String,) = q.params.read(1)?;
            Ok(Value::from(chain.next_nonce(&key_address(&q.view, &from)?)))
        }
        "StateSearchMsg" => {
            let (from, cid, limit, replaced): (TipSetKey, CidJson, i64, bool) = q.params.read(4)?;
            let search = Search { from: q.height(&from)?, limit, replaced };
            lookup(&q.view, &cid.cid, search)?.map_or(Ok(Value::Null), |(_, lookup)| Ok(lookup))
        }
        "WalletDefaultAddress" => q.params.none().map(|()| chain.wallets().next().into()),
        "WalletList" => q.params.none().and_then(|()| show(&chain.wallets().collect::<Vec<_>>())),
        "WalletHas" => {
            let (text,): (String,) = q.params.read(1)?;
            let wanted = normal(&text)?;
            Ok(Value::from(chain.wallets().any(|wallet| wallet == wanted)))
        }
        "WalletBalance" => {
            let (text,): (String,) = q.params.read(1)?;
            let (state, _) = q.state(&TipSetKey::default())?;
            show(&state.resolve(&normal(&text)?).map_or(AttoFil::ZERO, |id| state.balance(id)))
        }
        "WalletSignMessage" => {
            let (text, message): (String, wire::Message) = q.params.read(2)?;
            let message = Message { from: own_wallet(&q.view, &text)?, ..read(&q.view, message)? };
            show(&signed(&message))
        }
        _ => refuse(format!("{method} is listed and not served")),
    }
}

fn stopping<T>() -> Result<T, RpcError> {
    refuse("the devnet is stopping")
}

/// The key address of an address in any form.
fn key_address(view: &View, text: &str) -> Result<String, RpcError> {
    view.chain.tip().key_address(text).map_or_else(|| normal(text), Ok)
}

fn own_wallet(view: &View, text: &str) -> Result<String, RpcError> {
    let key = key_address(view, text)?;
    if view.chain.wallets().any(|wallet| wallet == key) { Ok(key) } else { refuse(format!("key for {text} not found")) }
}

fn read(view: &View, message: wire::Message) -> Result<Message, RpcError> {
    if message.params.0.len() > MOST_PARAMS {
        return refuse(format!("message too large: its parameters have more than {MOST_PARAMS} bytes"));
    }
    if message.value < AttoFil::ZERO {
        return refuse("message value is negative");
    }
    Ok(Message {
        from: key_address(view, &message.from)?,
        to: normal(&message.to)?,
        nonce: message.nonce,
        value: message.value,
        gas_limit: u64::try_from(message.gas_limit).unwrap_or(0),
        fee_cap: message.gas_fee_cap,
        premium: message.gas_premium,
        method: message.method,
        params: message.params.0,
    })
}

fn written(message: &Message) -> wire::Message {
    wire::Message {
        version: 0,
        to: message.to.clone(),
        from: message.from.clone(),
        nonce: message.nonce,
        value: message.value,
        gas_limit: i64::try_from(message.gas_limit).unwrap_or(i64::MAX),
        gas_fee_cap: message.fee_cap,
        gas_premium: message.premium,
        method: message.method,
        params: Blob(message.params.clone()),
        cid: Some(CidJson::from(message.cid())),
    }
}

/// With a signature of the right form that says nothing.
fn signed(message: &Message) -> SignedMessage {
    let cid = message.cid();
    let data = address::blake2b(&[b"signature", cid.as_bytes()]).0.repeat(3);
    SignedMessage {
        message: written(message),
        signature: Signature { r#type: 2, data: Blob(data) },
        cid: CidJson::from(cid),
    }
}

/// A spec with missing fields at their zero values, as Go reads it.
fn send_spec(spec: Value) -> Result<MessageSendSpec, RpcError> {
    let mut fields: Map<String, Value> = Map::new();
    fields.insert("MaxFee".to_owned(), Value::from("0"));
    fields.insert("MsgUuid".to_owned(), Value::from(uuid::Uuid::nil().to_string()));
    fields.insert("MaximizeFeeCap".to_owned(), Value::from(false));
    if let Value::Object(given) = spec {
        fields.extend(given);
    }
    serde_json::from_value(Value::Object(fields))
        .map_err(|e| error(code::PARSE, format!("unmarshaling params failed: {e}")))
}

/// Fills in what gas fields are zero.
async fn estimate(handle: &Handle, message: Message, spec: &MessageSendSpec) -> Result<Message, RpcError> {
    let view = handle.view();
    let gas_pct = if message.gas_limit == 0 && view.rules.concern_gas() {
        let method = message.method;
        handle.ask(|reply| Request::Estimate { method, reply }).await.flatten()
    } else {
        None
    };
    let asked = Asked { max_fee: spec.max_fee, maximize_fee_cap: spec.maximize_fee_cap, gas_pct };
    let verify = verifier(handle.prover);
    let run = move || view.chain.estimate(message, asked, &verify);
    match tokio::task::spawn_blocking(run).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(Refusal::OutOfGas)) => Err(error(code::OUT_OF_GAS, "call ran out of gas")),
        Ok(Err(Refusal::Reverted(exit, words))) => {
            let text = format!("message execution failed (exit=[{exit}], revert reason=[none], vm error=[{words}])");
            Err(error(code::REVERTED, text))
        }
        Ok(Err(Refusal::Undecided(why))) => refuse(format!("the proof cannot be judged: {why}")),
        Err(_) => stopping(),
    }
}

async fn push(handle: &Handle, q: &Question) -> Answer {
    let (message, spec): (wire::Message, Value) = q.params.read(2)?;
    let spec = send_spec(spec)?;
    let uuid = (!spec.msg_uuid.is_nil()).then(|| spec.msg_uuid.to_string());
    let chain = &q.view.chain;
    let before = uuid.as_ref().and_then(|uuid| chain.pushed_as(uuid)).and_then(|cid| chain.message(cid));
    if let Some(before) = before {
        return show(&signed(before));
    }
    if message.nonce != 0 {
        return refuse(format!("MpoolPushMessage expects message nonce to be 0, was {}", message.nonce));
    }
    let from = own_wallet(&q.view, &message.from)?;
    let message = Message { from, ..read(&q.view, message)? };
    let message = match estimate(handle, message, &spec).await {
        Ok(message) => message,
        // wrapped, and so without its own code: lotus-full-node-api 1.4
        Err(why) => return refuse(format!("GasEstimateMessageGas error: {}", why.message)),
    };
    match handle.ask(|reply| Request::Push { message, uuid, reply }).await {
        Some(Ok(message)) => show(&signed(&message)),
        Some(Err(why)) => refuse(why),
        None => stopping(),
    }
}

async fn push_signed(handle: &Handle, q: &Question) -> Answer {
    let (pushed,): (SignedMessage,) = q.params.read(1)?;
    if normal(&pushed.message.from)? != key_address(&q.view, &pushed.message.from)? {
        return refuse(format!("the sender must be a key address, not {}", pushed.message.from));
    }
    let message = read(&q.view, pushed.message)?;
    if signed(&message).signature != pushed.signature || own_wallet(&q.view, &message.from).is_err() {
        return refuse("signature verification failed: bls signature failed to verify");
    }
    match handle.ask(|reply| Request::PushSigned { message, reply }).await {
        Some(Ok(cid)) => show(&CidJson::from(cid)),
        Some(Err(why)) => refuse(why),
        None => stopping(),
    }
}

/// Where and what to look for.
#[derive(Clone, Copy)]
struct Search {
    /// Height of the tipset to look back from.
    from: i64,
    /// How many epochs back, without limit when negative.
    limit: i64,
    /// A fee replacement counts too.
    replaced: bool,
}

/// The message's landing and the height it was included at.
fn lookup(view: &View, cid: &str, search: Search) -> Result<Option<(i64, Value)>, RpcError> {
    let landed = view.chain.landed(cid, search.replaced).or_else(refuse)?;
    let Some(Landed { cid, included, receipt }) = landed else { return Ok(None) };
    let height = included.saturating_add(1);
    let too_far = search.limit >= 0 && search.from.saturating_sub(height) > search.limit;
    if height > search.from || too_far {
        return Ok(None);
    }
    let found = MsgLookup {
        message: CidJson::from(cid.clone()),
        receipt: MessageReceipt {
            exit_code: i64::from(receipt.exit_code),
            r#return: Blob(receipt.value.clone()),
            gas_used: i64::try_from(receipt.gas_used).unwrap_or(i64::MAX),
        },
        tip_set: key_of(view, height),
        height,
    };
    let receipt = with(&found.receipt, json!({ "EventsRoot": null }))?;
    with(&found, json!({ "ReturnDec": null, "Receipt": receipt })).map(|found| Some((included, found)))
}

async fn wait(handle: &Handle, q: &Question) -> Answer {
    let (CidJson { cid }, confidence, limit, replaced): (CidJson, i64, i64, bool) = q.params.read(4)?;
    if !(0..=900).contains(&confidence) {
        return refuse("confidence must be 0 to 900 epochs");
    }
    let mut views = handle.watch();
    let landed = async {
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            if view.chain.message(&cid).is_none() {
                return refuse(format!("failed to load message {cid}: not found"));
            }
            let search = Search { from: view.chain.head, limit, replaced };
            let deep = |included: &i64| view.chain.head.saturating_sub(included.saturating_add(1)) >= confidence;
            if let Some((_, found)) = lookup(&view, &cid, search)?.filter(|(included, _)| deep(included)) {
                return Ok(found);
            }
            if views.changed().await.is_err() {
                return stopping();
            }
        }
    };
    match tokio::time::timeout(LONGEST_WAIT, landed).await {
        Ok(answer) => answer,
        Err(_) => refuse(format!("{cid} did not land in {} seconds", LONGEST_WAIT.as_secs())),
    }
}
