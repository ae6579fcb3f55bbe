//! The same calls over a websocket, and `ChainNotify`, which tells of heads as Lotus does: first where the head is,
//! then at each change what is reverted, newest first, and what is applied, oldest first.
//! Source: lotus-full-node-api 1.5.

use super::{NoAnswer, chain::tipset, code, error, failure, one};
use crate::devnet::node::{Handle, View};
use axum::extract::ws::{Message, WebSocket};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{self, Interval},
};

/// The method that opens a channel.
pub const CHAIN_NOTIFY: &str = "Filecoin.ChainNotify";

/// A client hears at least this often.
const PING: Duration = Duration::from_secs(5);

/// Calls served at once on one connection; the next one is read when one of them is done.
const AT_ONCE: usize = 256;

type Served = Option<Result<Value, NoAnswer>>;

/// One client.
struct Session {
    handle: Handle,
    socket: WebSocket,
    serving: FuturesUnordered<BoxFuture<'static, Served>>,
    views: watch::Receiver<Arc<View>>,
    pings: Interval,
    channels: Vec<Channel>,
    last_channel: u64,
    /// Of the fault rules, what this session has followed.
    cuts: u64,
    closings: u64,
}

/// One `ChainNotify`.
struct Channel {
    number: u64,
    /// The id of the request that opened it.
    request: Value,
    /// What was told last.
    told: Arc<View>,
}

enum Event {
    Frame(Option<Result<Message, axum::Error>>),
    Served(Served),
    View(bool),
    Ping,
}

/// The client went away, or is sent away.
struct Gone;

impl From<axum::Error> for Gone {
    fn from(_: axum::Error) -> Self {
        Self
    }
}

/// Serves a client until it goes, or the devnet ends.
pub async fn serve(handle: Handle, socket: WebSocket) {
    let mut views = handle.watch();
    let rules = views.borrow_and_update().rules.clone();
    let mut session = Session {
        handle,
        socket,
        serving: FuturesUnordered::new(),
        views,
        pings: time::interval(PING),
        channels: Vec::new(),
        last_channel: 0,
        cuts: rules.cuts,
        closings: rules.closings,
    };
    while session.step().await.is_ok() {}
}

impl Session {
    async fn step(&mut self) -> Result<(), Gone> {
        let has_room = self.serving.len() < AT_ONCE;
        // each arm only waits: a call that is served stays among the others
        let event = tokio::select! {
            frame = self.socket.recv(), if has_room => Event::Frame(frame),
            Some(served) = self.serving.next() => Event::Served(served),
            changed = self.views.changed() => Event::View(changed.is_ok()),
            _ = self.pings.tick() => Event::Ping,
        };
        match event {
            Event::Frame(Some(Ok(Message::Text(text)))) => self.hear(&text).await,
            Event::Frame(Some(Ok(Message::Ping(_) | Message::Pong(_)))) | Event::Served(None) => Ok(()),
            Event::Frame(Some(Ok(Message::Binary(bytes)))) => match std::str::from_utf8(&bytes) {
                Ok(text) => self.hear(text).await,
                Err(_) => Err(Gone),
            },
            // a call that a rule lets end without an answer takes the connection with it: there is no status to send
            Event::Frame(Some(Ok(Message::Close(_)) | Err(_)) | None)
            | Event::Served(Some(Err(NoAnswer)))
            | Event::View(false) => Err(Gone),
            Event::Served(Some(Ok(answer))) => self.send(&answer).await,
            Event::View(true) => self.moved().await,
            Event::Ping => Ok(self.socket.send(Message::Ping(axum::body::Bytes::new())).await?),
        }
    }

    async fn send(&mut self, body: &Value) -> Result<(), Gone> {
        Ok(self.socket.send(Message::text(body.to_string())).await?)
    }

    async fn hear(&mut self, text: &str) -> Result<(), Gone> {
        let Ok(request) = serde_json::from_str::<Value>(text) else {
            return self.send(&failure(&Value::Null, error(code::PARSE, "not JSON"))).await;
        };
        match request.get("method").and_then(Value::as_str) {
            Some(CHAIN_NOTIFY) => self.open(request.get("id").cloned().unwrap_or(Value::Null)).await,
            Some("xrpc.cancel") => {
                let cancelled = request.pointer("/params/0").cloned();
                self.close(|channel| Some(&channel.request) == cancelled.as_ref()).await
            }
            Some(_) | None => {
                let handle = self.handle.clone();
                let serve = async move { one(&handle, request).await };
                self.serving.push(serve.map(|served| served.map(|s| s.map(|(_, answer)| answer))).boxed());
                Ok(())
            }
        }
    }

    async fn open(&mut self, request: Value) -> Result<(), Gone> {
        self.last_channel = self.last_channel.saturating_add(1);
        let (number, view) = (self.last_channel, self.handle.view());
        self.send(&json!({ "jsonrpc": "2.0", "id": request, "result": number })).await?;
        let current = change("current", &view, view.chain.head);
        self.channels.push(Channel { number, request, told: view });
        self.tell(number, vec![current]).await
    }

    async fn close(&mut self, which: impl Fn(&Channel) -> bool) -> Result<(), Gone> {
        let (closed, open) = std::mem::take(&mut self.channels).into_iter().partition::<Vec<_>, _>(which);
        self.channels = open;
        for Channel { number, .. } in closed {
            self.send(&json!({ "jsonrpc": "2.0", "method": "xrpc.ch.close", "params": [number] })).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, channel: u64, changes: Vec<Value>) -> Result<(), Gone> {
        self.send(&json!({ "jsonrpc": "2.0", "method": "xrpc.ch.val", "params": [channel, changes] })).await
    }

    /// Something was written: a head, or a rule about websockets.
    async fn moved(&mut self) -> Result<(), Gone> {
        let view = Arc::clone(&self.views.borrow_and_update());
        if view.rules.cuts != self.cuts {
            return Err(Gone);
        }
        if std::mem::replace(&mut self.closings, view.rules.closings) != view.rules.closings {
            self.close(|_| true).await?;
        }
        if view.rules.mute {
            return Ok(());
        }
        let mut values = Vec::new();
        for channel in &mut self.channels {
            let told = std::mem::replace(&mut channel.told, Arc::clone(&view));
            values.push((channel.number, changes(&told, &view)));
        }
        for (channel, changes) in values {
            if !changes.is_empty() {
                self.tell(channel, changes).await?;
            }
        }
        Ok(())
    }
}

/// The way from one head to another.
fn changes(old: &View, new: &View) -> Vec<Value> {
    let shared = |height: &i64| old.chain.block_cid(*height) == new.chain.block_cid(*height);
    let fork = (0..=old.chain.head.min(new.chain.head)).rev().find(shared).unwrap_or(0);
    let first = fork.saturating_add(1);
    let reverted = (first..=old.chain.head).rev().map(|height| change("revert", old, height));
    reverted.chain((first..=new.chain.head).map(|height| change("apply", new, height))).collect()
}

fn change(kind: &str, view: &View, height: i64) -> Value {
    json!({ "Type": kind, "Val": tipset(view, height).unwrap_or(Value::Null) })
}
