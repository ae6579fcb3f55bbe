//! What is said over one websocket, from its opening to its end: calls out, answers in by their number, and the
//! channel on which a node tells of new heads.
//!
//! Ends at the first frame that is none of these, and when nothing at all was heard for a while; then every call that
//! waits is told so, and whether it was written. A peer that sends much is slowed by TCP, since one frame is read at
//! a time and none is kept. Pings are answered by reading. Source: lotus-full-node-api 1.5.

use super::{
    Limits,
    heads::Following,
    socket::Io,
    trouble::{Cause, Trouble},
};
use crate::{
    chain::wire::{self, Frame},
    clock,
    error::Chain,
};
use futures_util::{SinkExt as _, StreamExt as _};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, Utf8Bytes, error::CapacityError},
};

/// An open websocket.
pub(super) type Stream = WebSocketStream<Box<dyn Io>>;

/// The number of the call that opens the channel. Calls of the client count from 1.
const FOLLOW: u64 = 0;

/// The method of that call.
const CHAIN_NOTIFY: &str = "Filecoin.ChainNotify";

/// What a node calls: something on a channel, and its end.
const VALUE: &str = "xrpc.ch.val";
const CLOSE: &str = "xrpc.ch.close";

/// One call on its way out.
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) body: String,
    pub(super) reply: Reply,
}

type Reply = oneshot::Sender<Result<Utf8Bytes, End>>;

/// How the conversation ended, told to one call.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// This call was written, at least in part.
    sent: bool,
    why: Arc<Why>,
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("the connection ended")]
    Closed,
    #[error("the connection failed")]
    Failed(#[source] tungstenite::Error),
    #[error("nothing was heard for {} s, not even a ping", .0.as_secs_f32())]
    Silent(Duration),
    #[error("it takes no more calls")]
    Stuck,
    #[error("a frame was too large")]
    TooLarge,
    #[error("it sent a frame that is neither an answer nor a notification")]
    Garbage(#[source] Cause),
}

impl End {
    /// The same, as the failure of an attempt.
    pub(super) fn trouble(self, node: String, limit: usize) -> Trouble {
        let Self { sent, why } = self;
        if !sent {
            return Trouble::Connect { node, source: Chain(why.as_ref()).to_string().into() };
        }
        match why.as_ref() {
            Why::TooLarge => Trouble::TooLarge { node, limit },
            Why::Garbage(source) => Trouble::NotRpc { node, source: source.to_string().into() },
            Why::Closed | Why::Failed(_) | Why::Silent(_) | Why::Stuck => {
                Trouble::Lost { node, source: Chain(why.as_ref()).to_string().into() }
            }
        }
    }
}

/// Where the channel of new heads is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    /// Nobody wants it, or the node does not have it.
    No,
    /// To be asked for then.
    Wanted(Instant),
    /// Asked for.
    Asked,
    /// It has this number.
    Open(u64),
}

/// One connection.
pub(super) struct Conversation {
    stream: Stream,
    calls: mpsc::Receiver<Call>,
    waiting: BTreeMap<u64, Reply>,
    channel: Channel,
    /// Somebody wants to hear of new heads.
    wanted: watch::Receiver<bool>,
    following: watch::Sender<Following>,
    heard: Instant,
    limits: Limits,
}

/// What happened.
enum Event {
    Frame(Option<Result<Message, tungstenite::Error>>),
    Call(Option<Call>),
    Silence,
    Follow,
}

impl Conversation {
    pub(super) fn new(
        stream: Stream,
        calls: mpsc::Receiver<Call>,
        following: watch::Sender<Following>,
        wanted: watch::Receiver<bool>,
        limits: Limits,
    ) -> Self {
        let heard = clock::monotonic();
        let channel = if *wanted.borrow() { Channel::Wanted(heard) } else { Channel::No };
        Self { stream, calls, waiting: BTreeMap::new(), channel, wanted, following, heard, limits }
    }

    /// Until the connection is of no more use.
    pub(super) async fn run(mut self, node: String) {
        let why = loop {
            if let Err(why) = self.step().await {
                break Arc::new(why);
            }
        };
        tracing::debug!(node, reason = %Chain(why.as_ref()), "a websocket ended");
        self.calls.close();
        while let Ok(Call { reply, .. }) = self.calls.try_recv() {
            // a caller that went away is not told
            drop(reply.send(Err(End { sent: false, why: Arc::clone(&why) })));
        }
        for reply in std::mem::take(&mut self.waiting).into_values() {
            drop(reply.send(Err(End { sent: true, why: Arc::clone(&why) })));
        }
        // last, so that whoever wakes finds no connection and makes another
        self.set_open(false);
    }

    async fn step(&mut self) -> Result<(), Why> {
        let silent = self.heard.checked_add(self.limits.silence).unwrap_or(self.heard);
        let follow = match self.channel {
            Channel::Wanted(at) => Some(at),
            Channel::No | Channel::Asked | Channel::Open(_) => None,
        };
        // each arm only waits: a frame that is half read stays in the stream
        let event = tokio::select! {
            frame = self.stream.next() => Event::Frame(frame),
            call = self.calls.recv() => Event::Call(call),
            () = time::sleep_until(silent.into()) => Event::Silence,
            () = time::sleep_until(follow.unwrap_or(silent).into()), if follow.is_some() => Event::Follow,
            // said once, and before the first channel
            Ok(()) = self.wanted.changed() => Event::Follow,
        };
        match event {
            Event::Frame(None) | Event::Call(None) => Err(Why::Closed),
            Event::Frame(Some(Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. })))) => {
                Err(Why::TooLarge)
            }
            Event::Frame(Some(Err(error))) => Err(Why::Failed(error)),
            Event::Frame(Some(Ok(frame))) => {
                self.heard = clock::monotonic();
                self.frame(frame)
            }
            Event::Silence => Err(Why::Silent(self.limits.silence)),
            // its caller did not wait: it is not written, since nobody would hear how it went
            Event::Call(Some(call)) if call.reply.is_closed() => Ok(()),
            Event::Call(Some(Call { id, body, reply })) => {
                // those whose callers went away: their answers will be passed over
                self.waiting.retain(|_, reply| !reply.is_closed());
                self.waiting.insert(id, reply);
                self.write(body).await
            }
            Event::Follow => {
                self.channel = Channel::Asked;
                let request = wire::Request {
                    jsonrpc: "2.0".to_owned(),
                    id: FOLLOW,
                    method: CHAIN_NOTIFY.to_owned(),
                    params: [(); 0],
                };
                self.write(serde_json::to_string(&request).map_err(|e| Why::Garbage(e.into()))?).await
            }
        }
    }

    async fn write(&mut self, body: String) -> Result<(), Why> {
        // while this waits nothing is read: a peer that does not read either is not waited for
        match time::timeout(self.limits.answer, self.stream.send(Message::text(body))).await {
            Ok(written) => written.map_err(Why::Failed),
            Err(_) => Err(Why::Stuck),
        }
    }

    fn frame(&mut self, frame: Message) -> Result<(), Why> {
        match frame {
            Message::Text(text) => self.text(text),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(Why::Closed),
            Message::Binary(_) | Message::Frame(_) => Err(Why::Garbage("a frame that is not text".into())),
        }
    }

    fn text(&mut self, text: Utf8Bytes) -> Result<(), Why> {
        let frame: Frame = serde_json::from_str(&text).map_err(|e| Why::Garbage(e.into()))?;
        match frame {
            Frame { method: Some(method), params, .. } => {
                self.notice(&method, params.0);
                Ok(())
            }
            Frame { id: Some(FOLLOW), error, channel, .. } => {
                self.opened(error.is_none(), channel.0);
                Ok(())
            }
            Frame { id: Some(id), .. } => {
                // an answer to nobody comes after its caller went away
                if let Some(reply) = self.waiting.remove(&id) {
                    drop(reply.send(Ok(text)));
                }
                Ok(())
            }
            Frame { id: None, .. } => Err(Why::Garbage("it has neither a number nor a method".into())),
        }
    }

    /// The answer to the wish for a channel.
    fn opened(&mut self, granted: bool, number: Option<u64>) {
        if self.channel != Channel::Asked {
            return;
        }
        match number.filter(|_| granted) {
            Some(number) => {
                self.channel = Channel::Open(number);
                self.set_open(true);
            }
            // polling does as well
            None => self.channel = Channel::No,
        }
    }

    fn notice(&mut self, method: &str, channel: Option<u64>) {
        let Channel::Open(ours) = self.channel else { return };
        if channel != Some(ours) {
            return;
        }
        match method {
            VALUE => self.following.send_modify(|following| following.moves = following.moves.wrapping_add(1)),
            CLOSE => {
                // a reader that was too slow for the node is closed: it asks again, though not in a circle
                let now = clock::monotonic();
                self.channel = Channel::Wanted(now.checked_add(self.limits.back_off).unwrap_or(now));
                self.set_open(false);
            }
            _ => {}
        }
    }

    fn set_open(&self, open: bool) {
        self.following.send_if_modified(|following| std::mem::replace(&mut following.open, open) != open);
    }
}
