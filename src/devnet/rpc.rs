//! JSON-RPC over HTTP and websockets as Lotus speaks it: envelope, parameter counting, error codes, dispatch. No
//! authentication: the devnet answers on loopback only.

mod chain;
mod messages;
mod socket;
mod state;

use super::{
    address,
    faults::{EXAMPLES, Fault, How},
    ledger::State,
    miner::Miner,
    node::{Handle, Request, View},
};
use crate::chain::wire::{BitField, CidJson, RpcError, TipSetKey};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State as Shared, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{future::pending, sync::Arc};

/// Largest request. Source: lotus-full-node-api 1.4.
const BODY_LIMIT: usize = 100 << 20;

/// Error codes. Source: lotus-full-node-api 1.4.
mod code {
    pub const PARSE: i64 = -32700;
    pub const INVALID: i64 = -32600;
    pub const NO_METHOD: i64 = -32601;
    pub const PARAMS: i64 = -32602;
    pub const APPLICATION: i64 = 1;
    pub const OUT_OF_GAS: i64 = 2;
    pub const REVERTED: i64 = 3;
    pub const NO_ACTOR: i64 = 11;
}

type Answer = Result<Value, RpcError>;

/// The routes of the devnet: the node's RPC and the fault API.
pub fn router(handle: Handle) -> Router {
    Router::new()
        .route("/rpc/v1", post(rpc).get(upgrade))
        .route("/devnet/v1", get(list_faults))
        .route("/devnet/v1/state", get(dump))
        .route("/devnet/v1/{fault}", post(inject))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(handle)
}

async fn list_faults(Shared(handle): Shared<Handle>) -> Json<Value> {
    let examples = EXAMPLES.iter().map(|(name, body)| (format!("POST /devnet/v1/{name}"), Value::from(*body)));
    let faults: serde_json::Map<String, Value> = examples.collect();
    let view = handle.view();
    Json(json!({ "head": view.chain.head, "rules": view.rules, "faults": faults, "dump": "GET /devnet/v1/state" }))
}

async fn dump(Shared(handle): Shared<Handle>) -> Response {
    Json(&handle.view().chain).into_response()
}

async fn inject(Shared(handle): Shared<Handle>, Path(name): Path<String>, body: Bytes) -> Response {
    let done = match Fault::read(&name, &body) {
        Ok(fault) => handle.ask(|reply| Request::Fault { fault, reply }).await,
        Err(why) => Some(Err(why)),
    };
    match done {
        Some(Ok(value)) => Json(value).into_response(),
        Some(Err(why)) => (StatusCode::BAD_REQUEST, Json(json!({ "error": why }))).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn upgrade(Shared(handle): Shared<Handle>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.max_message_size(BODY_LIMIT).max_frame_size(BODY_LIMIT);
    upgrade.on_upgrade(|socket| socket::serve(handle, socket))
}

async fn rpc(Shared(handle): Shared<Handle>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return reply(StatusCode::INTERNAL_SERVER_ERROR, &failure(&Value::Null, error(code::PARSE, "not JSON")));
    };
    let Value::Array(batch) = request else {
        return match one(&handle, request).await {
            Some(Ok((status, answer))) => reply(status, &answer),
            Some(Err(NoAnswer)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            None => StatusCode::OK.into_response(),
        };
    };
    let mut answers = Vec::new();
    for request in batch {
        match one(&handle, request).await {
            Some(Ok((_, answer))) => answers.push(answer),
            Some(Err(NoAnswer)) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            None => {}
        }
    }
    reply(StatusCode::OK, &Value::Array(answers))
}

fn reply(status: StatusCode, body: &Value) -> Response {
    (status, Json(body)).into_response()
}

/// A fault rule wants a bare HTTP 500.
struct NoAnswer;

/// Serves one request of a body; `None` for a notification.
async fn one(handle: &Handle, mut request: Value) -> Option<Result<(StatusCode, Value), NoAnswer>> {
    let id = request.get("id").cloned();
    let known = id.clone().unwrap_or(Value::Null);
    let Some(name) = request.get("method").and_then(Value::as_str).map(str::to_owned) else {
        let answer = failure(&known, error(code::INVALID, "a request needs a method"));
        return Some(Ok((StatusCode::BAD_REQUEST, answer)));
    };
    let params = match request.get_mut("params").map(Value::take) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(params)) => Some(params),
        Some(_) => None,
    };
    let method = name.strip_prefix("Filecoin.").unwrap_or_default().to_owned();
    let failing = if handle.view().rules.concern(&method) {
        handle.ask(|reply| Request::Call { method: method.clone(), reply }).await.flatten()
    } else {
        None
    };
    let answer = match (failing, params) {
        (Some(How::Http500), _) => return Some(Err(NoAnswer)),
        (Some(How::Error), _) => Err(error(code::APPLICATION, "this call was told to fail")),
        (_, None) => Err(error(code::PARAMS, "params must be an array")),
        (Some(How::Hang) | None, Some(params)) => call(handle, &method, Params(params), &name).await,
    };
    if failing == Some(How::Hang) {
        pending::<()>().await;
    }
    id?;
    Some(Ok(match answer {
        Ok(result) => (StatusCode::OK, json!({ "jsonrpc": "2.0", "id": known, "result": result })),
        Err(error) => {
            let status = if error.code > 0 { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            (status, failure(&known, error))
        }
    }))
}

async fn call(handle: &Handle, method: &str, params: Params, name: &str) -> Answer {
    if name == socket::CHAIN_NOTIFY {
        let text = format!("method '{name}' not supported in this mode (no out channel support)");
        return Err(error(code::NO_METHOD, text));
    }
    if messages::METHODS.contains(&method) {
        return messages::call(handle, method, params).await;
    }
    let question = Question { view: handle.view(), params };
    if let Some(answer) = chain::answer(method, &question).or_else(|| state::answer(method, &question)) {
        return answer;
    }
    Err(error(code::NO_METHOD, format!("method '{name}' not found")))
}

fn failure(id: &Value, error: RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

fn error(code: i64, message: impl Into<String>) -> RpcError {
    RpcError { code, message: message.into() }
}

/// An ordinary error of a handler.
fn refuse<T>(message: impl Into<String>) -> Result<T, RpcError> {
    Err(error(code::APPLICATION, message))
}

fn show<T: Serialize>(value: &T) -> Answer {
    serde_json::to_value(value).or_else(|e| refuse(format!("cannot encode the answer: {e}")))
}

/// The object with more fields: what Lotus answers besides what our own shapes name.
fn with(value: &impl Serialize, more: Value) -> Answer {
    let mut value = show(value)?;
    if let (Some(fields), Value::Object(more)) = (value.as_object_mut(), more) {
        fields.extend(more);
    }
    Ok(value)
}

/// Positional parameters.
struct Params(Vec<Value>);

impl Params {
    /// All of them as a tuple of `count`.
    fn read<T: DeserializeOwned>(&self, count: usize) -> Result<T, RpcError> {
        let Self(params) = self;
        if params.len() != count {
            let text = format!("wrong param count (method needs {count}, got {})", params.len());
            return Err(error(code::PARAMS, text));
        }
        serde_json::from_value(Value::Array(params.clone()))
            .map_err(|e| error(code::PARSE, format!("unmarshaling params failed: {e}")))
    }

    fn none(&self) -> Result<(), RpcError> {
        self.read::<[Value; 0]>(0).map(|_| ())
    }
}

/// A question that needs nothing but what is written.
struct Question {
    view: Arc<View>,
    params: Params,
}

impl Question {
    fn height(&self, key: &TipSetKey) -> Result<i64, RpcError> {
        let chain = &self.view.chain;
        match key.0.as_slice() {
            [] => Ok(chain.head),
            [block] => match chain.height_of(&block.cid) {
                Some(height) => Ok(height),
                None => refuse(format!("tipset {} is not on this chain", block.cid)),
            },
            [_, _, ..] => refuse("every tipset of this chain has one block"),
        }
    }

    /// The state seen through a key, and the height of its tipset.
    fn state(&self, key: &TipSetKey) -> Result<(&State, i64), RpcError> {
        let height = self.height(key)?;
        match self.view.chain.state_at(height) {
            Some(state) => Ok((state, height)),
            None => refuse(format!("the state at height {height} is no longer kept")),
        }
    }

    fn miner(&self, address: &str, key: &TipSetKey) -> Result<Seen<'_>, RpcError> {
        let (state, height) = self.state(key)?;
        let found = state.resolve(address).and_then(|id| state.miners.get_key_value(&id));
        match found {
            Some((id, miner)) => Ok(Seen { state, height, id: *id, miner }),
            None => Err(error(code::NO_ACTOR, format!("actor not found: no miner at {address}"))),
        }
    }

    /// For the many methods of one miner and one key.
    fn miner_only(&self) -> Result<Seen<'_>, RpcError> {
        let (address, key): (String, TipSetKey) = self.params.read(2)?;
        self.miner(&address, &key)
    }

    /// For the many methods of one miner, one sector and one key.
    fn sector(&self) -> Result<(Seen<'_>, u64), RpcError> {
        let (address, number, key): (String, u64, TipSetKey) = self.params.read(3)?;
        Ok((self.miner(&address, &key)?, number))
    }
}

/// A miner in a state.
struct Seen<'a> {
    state: &'a State,
    height: i64,
    id: u64,
    miner: &'a Miner,
}

fn key_of(view: &View, height: i64) -> TipSetKey {
    TipSetKey(vec![CidJson::from(view.chain.block_cid(height))])
}

/// Numbers in ascending order as run lengths.
fn bits(numbers: impl Iterator<Item = u64>) -> BitField {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        let end = number.saturating_add(1);
        match ranges.last_mut() {
            Some(last) if last.1 == number => last.1 = end,
            Some(_) | None => ranges.push((number, end)),
        }
    }
    BitField::from_ranges(&ranges)
}

/// The text of an address with the prefix this node prints.
fn normal(text: &str) -> Result<String, RpcError> {
    match address::parse(text) {
        Some(parsed) => Ok(address::show(&parsed)),
        None => refuse(format!("invalid address {text:?}")),
    }
}

#[cfg(test)]
mod tests;
