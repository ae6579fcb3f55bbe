//! The API on the wire: calls by POST, one or a batch in a request, and by websocket, one in a message. Each request has a
//! bound in size and time, each connection one in calls at a time; connections are bounded by the listener.

use super::{
    answers::Desk,
    rpc::{self, Asked, Call, Fault, Unfit},
    token::{Permission, Permissions},
};
use crate::{
    control::{Answered, Answering},
    manifest::Api,
};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{
        ConnectInfo, Query, Request, State as Shared,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Bytes of the largest request.
const LARGEST: usize = 1 << 20;

/// How long a request may take to come whole.
const COMING: Duration = Duration::from_secs(5);

/// The longest time that an answer may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Websockets at a time, so that room for requests and for metrics is left.
const SOCKETS: usize = 32;

/// Calls of one websocket that are answered at the same time; the others wait in it.
const CALLS: usize = 16;

/// Whoever says nothing on a websocket for this long is asked whether they are there, and let go after as long again.
/// Lotus's clients say something every five seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// What every request is answered with.
#[derive(Clone)]
struct Office {
    desk: Arc<Desk>,
    sockets: Arc<Semaphore>,
}

/// The routes of the API.
pub fn router(desk: Desk) -> Router {
    let office = Office { desk: Arc::new(desk), sockets: Arc::new(Semaphore::new(SOCKETS)) };
    let remote = async || told(StatusCode::NOT_FOUND, "seald does not serve sector files to other machines");
    let nothing = async || told(StatusCode::NOT_FOUND, "seald serves /metrics and /rpc/v0 here");
    Router::new()
        .route("/rpc/v0", get(socket).post(post))
        // clients that know full nodes only ask here
        .route("/rpc/v1", get(socket).post(post))
        .route("/remote", any(remote))
        .route("/remote/{*rest}", any(remote))
        .fallback(nothing)
        .with_state(office)
}

fn told(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

/// The token of a browser, which can set no header.
#[derive(Deserialize)]
struct InQuery {
    token: Option<String>,
}

/// Somebody who is not answered, and in what words.
struct Turned(StatusCode, String);

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        told(self.0, &self.1)
    }
}

/// What whoever sent this may do. Nothing is said of the token that came, not even to the log.
fn allowed(desk: &Desk, headers: &HeaderMap, query: InQuery) -> Result<Permissions, Turned> {
    if desk.access() == Api::Off {
        return Err(Turned(StatusCode::NOT_FOUND, "the API is off: node.api of the manifest says so".to_owned()));
    }
    let unknown = || {
        let words = "the token is not one of this seald: `seald api token` makes one";
        Turned(StatusCode::UNAUTHORIZED, words.to_owned())
    };
    let token = match headers.get(header::AUTHORIZATION) {
        Some(value) => {
            let bearer = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
            Some(bearer.ok_or_else(unknown)?.trim().to_owned())
        }
        None => query.token,
    };
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(Permission::Read.and_below()) };
    let secret = desk.secret.as_ref().map_err(|why| Turned(StatusCode::SERVICE_UNAVAILABLE, why.clone()))?;
    secret.verify(&token).ok_or_else(unknown)
}

async fn post(Shared(office): Shared<Office>, Query(query): Query<InQuery>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let allowed = match allowed(&office.desk, &head.headers, query) {
        Ok(allowed) => allowed,
        Err(sent) => return sent.into_response(),
    };
    let body = match timeout(COMING, to_bytes(body, LARGEST)).await {
        Ok(Ok(body)) => body,
        Ok(Err(why)) => {
            let words = format!("the request cannot be read: {why}; send at most {LARGEST} bytes");
            return told(StatusCode::PAYLOAD_TOO_LARGE, &words);
        }
        Err(_) => {
            return told(StatusCode::REQUEST_TIMEOUT, "the request took too long to come: send all of it at once");
        }
    };
    match answered(&office.desk, &allowed, &body).await {
        Ok(Some(answer)) => Json(answer).into_response(),
        Ok(None) => Body::empty().into_response(),
        Err(unreadable) => (StatusCode::BAD_REQUEST, Json(unreadable)).into_response(),
    }
}

/// The answer to one message; `None` when nobody waits for one.
///
/// # Errors
/// What the message is not understood as, written as an answer.
async fn answered(desk: &Desk, allowed: &Permissions, message: &[u8]) -> Result<Option<Value>, Value> {
    match rpc::read(message) {
        Ok(Asked::One(call)) => Ok(one(desk, allowed, call).await),
        Ok(Asked::Many(calls)) => {
            let mut answers = Vec::new();
            for call in calls {
                answers.extend(one(desk, allowed, call).await);
            }
            Ok((!answers.is_empty()).then_some(Value::Array(answers)))
        }
        Err(fault) => Err(rpc::written(&Value::Null, Err(fault))),
    }
}

async fn one(desk: &Desk, allowed: &Permissions, call: Result<Call, Unfit>) -> Option<Value> {
    let Call { id, method, params } = match call {
        Ok(call) => call,
        Err(Unfit { id, fault }) => return Some(rpc::written(&id, Err(fault))),
    };
    let late = || Fault::refused("this took too long: see with `seald status` what seald does");
    let answer = timeout(LONGEST, desk.answer(allowed, &method, params)).await.unwrap_or_else(|_| Err(late()));
    id.map(|id| rpc::written(&id, answer))
}

async fn socket(
    Shared(office): Shared<Office>,
    ConnectInfo(answering): ConnectInfo<Answering>,
    headers: HeaderMap,
    Query(query): Query<InQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let allowed = match allowed(&office.desk, &headers, query) {
        Ok(allowed) => allowed,
        Err(sent) => return sent.into_response(),
    };
    let Ok(upgrade) = upgrade else {
        return told(StatusCode::METHOD_NOT_ALLOWED, "send calls by POST or by websocket");
    };
    let Ok(place) = Arc::clone(&office.sockets).try_acquire_owned() else {
        return told(StatusCode::SERVICE_UNAVAILABLE, "too many websockets are open: end one of them");
    };
    // the connection is not idle while the websocket lives, which has a patience of its own
    let held = answering.begin();
    upgrade
        .max_message_size(LARGEST)
        .max_frame_size(LARGEST)
        .on_upgrade(move |stream| converse(stream, office.desk, allowed, (held, place)))
}

/// Answers what is asked on a websocket, in the order in which answers are found, until it is closed or silent.
async fn converse(
    mut stream: WebSocket,
    desk: Arc<Desk>,
    allowed: Permissions,
    _place: (Answered, OwnedSemaphorePermit),
) {
    let mut calls = FuturesUnordered::new();
    let mut asked_back = false;
    loop {
        // each arm takes one item at most, so that none is lost when another is ready
        let ended = tokio::select! {
            Some(answer) = calls.next() => match answer {
                Some(answer) => tell(&mut stream, answer).await,
                None => false,
            },
            heard = timeout(SILENCE, stream.recv()), if calls.len() < CALLS => match heard {
                Ok(Some(Ok(message))) => {
                    asked_back = false;
                    match message {
                        Message::Text(text) => calls.push(reply(&desk, &allowed, text.as_bytes().to_vec())),
                        Message::Binary(bytes) => calls.push(reply(&desk, &allowed, bytes.to_vec())),
                        // the library answers a ping by itself
                        Message::Ping(_) | Message::Pong(_) => {}
                        Message::Close(_) => return,
                    }
                    false
                }
                Ok(Some(Err(_)) | None) => true,
                Err(_) if asked_back && calls.is_empty() => return let_go(stream).await,
                Err(_) => {
                    asked_back = true;
                    stream.send(Message::Ping(axum::body::Bytes::new())).await.is_err()
                }
            },
        };
        if ended {
            return;
        }
    }
}

/// The answer to one message as it is sent.
async fn reply(desk: &Desk, allowed: &Permissions, message: Vec<u8>) -> Option<Value> {
    answered(desk, allowed, &message).await.unwrap_or_else(Some)
}

/// Whether the other side is gone.
async fn tell(stream: &mut WebSocket, answer: Value) -> bool {
    stream.send(Message::Text(answer.to_string().into())).await.is_err()
}

async fn let_go(mut stream: WebSocket) {
    let frame = CloseFrame { code: close_code::AWAY, reason: "nothing was said for too long".into() };
    // whoever is not there does not hear it
    drop(stream.send(Message::Close(Some(frame))).await);
}
