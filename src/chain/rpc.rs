//! JSON-RPC calls over HTTP and websockets to several nodes in order of preference: bounded in time, size and number,
//! repeated where repeating is safe.
//!
//! A node that answers with an error has answered; only a node that does not answer is passed over, and one that is
//! not believed. Keeps no answers, follows no redirect and no proxy setting.

mod belief;
mod conversation;
mod heads;
mod http;
mod node;
mod rate;
#[cfg(any(test, fuzzing))]
mod recorded;
mod socket;
mod standing;
mod trouble;

use self::{
    node::{Address, Node},
    trouble::{Attempt, Trouble},
};
use super::{ChainError, Endpoint, health::Expected, wire::Request};
use crate::{clock, error::Chain};
use reqwest::redirect;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

pub use self::heads::Heads;
#[cfg(any(test, fuzzing))]
pub(super) use self::recorded::Recorded;

/// Calls in flight at once, over all endpoints: a node serves other clients too.
const CONCURRENT: usize = 8;

/// How often all endpoints are tried for one call.
const ROUNDS: u32 = 3;

/// The bounds of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest wait for one endpoint's answer.
    pub answer: Duration,
    /// The same for searches and estimates, which execute messages.
    pub slow_answer: Duration,
    /// Longest silence on a websocket: nodes send a ping every few seconds.
    pub silence: Duration,
    /// Largest answer in bytes.
    pub body: usize,
    /// Wait before endpoints are tried again, doubled each time, with jitter.
    pub back_off: Duration,
    /// How long a stand-in is used before the preferred endpoint is tried again.
    pub stand_in: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            slow_answer: Duration::from_secs(60),
            silence: Duration::from_secs(30),
            body: 64 << 20,
            back_off: Duration::from_millis(500),
            stand_in: Duration::from_secs(60),
        }
    }
}

/// What may be done with a call that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Changes nothing: repeated.
    Read,
    /// Changes nothing, takes long.
    SlowRead,
    /// Changes something: repeated only when it cannot have arrived.
    Write,
}

/// One question.
struct Ask<'a, P> {
    kind: Kind,
    method: &'a str,
    params: &'a P,
    /// Also of nodes that are known not to be believed: this is how they come back.
    unfit_too: bool,
}

/// The endpoints and the connections to them.
pub(super) struct Rpc {
    nodes: Vec<Node>,
    limits: Limits,
    permits: Semaphore,
    next_id: AtomicU64,
    /// What nodes must have in common, where they are asked who they are.
    expected: Option<Mutex<Expected>>,
}

impl Rpc {
    /// # Errors
    /// [`ChainError::Invalid`] for an unusable endpoint or token, and for no endpoint at all.
    pub(super) fn new(endpoints: &[Endpoint], limits: Limits, expected: Option<Expected>) -> Result<Self, ChainError> {
        let addresses = endpoints.iter().map(Address::new).collect::<Result<Vec<_>, _>>()?;
        if addresses.is_empty() {
            return Err(ChainError::Invalid { what: "no chain endpoint is declared: name at least one".to_owned() });
        }
        // a second installation is refused, and the first serves as well
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder =
            reqwest::Client::builder().connect_timeout(limits.connect).redirect(redirect::Policy::none()).no_proxy();
        if !addresses.iter().any(Address::is_encrypted) {
            // the machine's root certificates are not needed and need not be there
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|why| ChainError::Invalid {
            what: format!("cannot prepare https (are the system's root certificates installed?): {}", Chain(&why)),
        })?;
        let nodes = addresses.into_iter().map(|address| Node::new(address, &http, limits));
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            limits,
            permits: Semaphore::new(CONCURRENT),
            next_id: AtomicU64::new(1),
            expected: expected.map(Mutex::new),
        })
    }

    /// Asks the first endpoint that answers.
    ///
    /// # Errors
    /// [`ChainError::Refused`] as soon as one endpoint refuses, otherwise [`ChainError::Unreachable`] or
    /// [`ChainError::Malformed`] of the last endpoint tried.
    pub(super) async fn call<R: DeserializeOwned>(
        &self,
        kind: Kind,
        method: &str,
        params: impl Serialize + Send + Sync,
    ) -> Result<R, ChainError> {
        let ask = Ask { kind, method, params: &params, unfit_too: false };
        self.ask(&ask, |_, _| Ok(())).await
    }

    /// The same, of any endpoint that can be called, as far as its answer is believed.
    async fn ask<R: DeserializeOwned, P: Serialize + Sync>(
        &self,
        ask: &Ask<'_, P>,
        believe: impl Fn(&Node, &R) -> Result<(), Trouble>,
    ) -> Result<R, ChainError> {
        let Ask { kind, method, .. } = *ask;
        let started = clock::monotonic();
        let mut round = 1;
        loop {
            let trouble = match self.round(ask, &believe).await {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Refused(error)) => return Err(error),
                Err(Attempt::Trouble(trouble)) => trouble,
            };
            if trouble.unusable() {
                return Err(ChainError::malformed(method, trouble));
            }
            let repeatable = !trouble.lasts() && (kind != Kind::Write || trouble.unsent());
            // an endpoint that lets calls time out is not asked three times by one call
            let in_time = clock::monotonic().duration_since(started) < self.deadline(kind);
            if round >= ROUNDS || !repeatable || !in_time {
                return Err(ChainError::Unreachable {
                    method: method.to_owned(),
                    tried: self.nodes.len(),
                    source: Box::new(trouble),
                });
            }
            tokio::time::sleep(self.pause(round)).await;
            round = round.saturating_add(1);
        }
    }

    /// One attempt at each endpoint until one answers; the last trouble otherwise.
    async fn round<R: DeserializeOwned, P: Serialize + Sync>(
        &self,
        ask: &Ask<'_, P>,
        believe: &impl Fn(&Node, &R) -> Result<(), Trouble>,
    ) -> Result<R, Attempt> {
        let mut last = None;
        for node in self.order() {
            if let Err(trouble) = self.believed(node, ask.unfit_too).await {
                last = Some(trouble);
                continue;
            }
            let answer = self.attempt(node, ask.kind, ask.method, ask.params).await;
            let trouble = match answer {
                Ok(answer) => {
                    node.standing().answered();
                    match believe(node, &answer) {
                        Ok(()) => return Ok(answer),
                        Err(trouble) => trouble,
                    }
                }
                Err(Attempt::Trouble(trouble)) => {
                    node.standing().failed(&trouble);
                    trouble
                }
                Err(Attempt::Refused(error)) => {
                    node.standing().answered();
                    return Err(Attempt::Refused(error));
                }
            };
            if ask.kind == Kind::Write && !trouble.unsent() {
                return Err(trouble.into());
            }
            last = Some(trouble);
        }
        // there is at least one node, so there was at least one attempt
        Err(last.map_or_else(
            || Attempt::Refused(ChainError::Invalid { what: "no chain endpoint is declared".to_owned() }),
            Attempt::Trouble,
        ))
    }

    async fn attempt<R: DeserializeOwned>(
        &self,
        node: &Node,
        kind: Kind,
        method: &str,
        params: &(impl Serialize + Sync),
    ) -> Result<R, Attempt> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let request = Request { jsonrpc: "2.0".to_owned(), id, method: format!("Filecoin.{method}"), params };
        let body = serde_json::to_string(&request).map_err(|why| {
            Attempt::Refused(ChainError::Invalid { what: format!("the parameters of {method} do not encode: {why}") })
        })?;
        node.rate.turn().await;
        // never closed
        let _permit = self.permits.acquire().await;
        node.call(method, id, body, self.deadline(kind)).await
    }

    /// Has the node that is asked first tell of new heads, where it can.
    pub(super) fn heads(&self) -> Heads {
        Heads::of(self.order().first().and_then(|node| node.follow()))
    }

    const fn deadline(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Read => self.limits.answer,
            Kind::SlowRead | Kind::Write => self.limits.slow_answer,
        }
    }

    /// The back-off after this round: half of it fixed, half of it chance, so that clients do not march in step.
    fn pause(&self, round: u32) -> Duration {
        let full = self.limits.back_off.saturating_mul(1u32.checked_shl(round.saturating_sub(1)).unwrap_or(u32::MAX));
        let chance = u32::from(uuid::Uuid::new_v4().as_bytes().first().copied().unwrap_or(0));
        full.saturating_mul(chance.saturating_add(256)).checked_div(512).unwrap_or(full)
    }

    /// The endpoints in the order to try them.
    fn order(&self) -> Vec<&Node> {
        let (away, here): (Vec<_>, Vec<_>) = self.nodes.iter().partition(|node| node.standing().is_away(&self.limits));
        here.into_iter().chain(away).collect()
    }
}

#[cfg(test)]
mod tests;
