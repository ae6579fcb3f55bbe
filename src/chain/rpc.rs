//! JSON-RPC calls over HTTP to several nodes in order of preference: bounded in time, size and number, repeated
//! where repeating is safe.
//!
//! A node that answers with an error has answered; only a node that does not answer is passed over. Knows nothing
//! of what is asked, keeps no answers, uses no websocket, follows no redirect and no proxy setting.

use super::{
    ChainError, Endpoint,
    wire::{Request, Response},
};
use crate::{clock, error::Chain};
use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use serde::{Serialize, de::DeserializeOwned, de::IgnoredAny};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

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

/// The endpoints and the connections to them.
pub(super) struct Rpc {
    http: reqwest::Client,
    nodes: Vec<Node>,
    limits: Limits,
    permits: Semaphore,
    next_id: AtomicU64,
    /// The node that answered when the first one did not, and since when.
    stand_in: Mutex<Option<(usize, Instant)>>,
}

struct Node {
    url: Url,
    /// Host and port, for errors.
    name: String,
    headers: HeaderMap,
}

/// Why one endpoint's attempt gave nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// No connection: the call cannot have arrived.
    #[error("cannot connect to {node}")]
    Connect { node: String, source: reqwest::Error },
    #[error("{node} gave no answer")]
    Lost { node: String, source: reqwest::Error },
    #[error("{node} answered with HTTP status {status}: {advice}")]
    Status { node: String, status: StatusCode, advice: &'static str },
    #[error("{node} answered with more than {limit} bytes")]
    TooLarge { node: String, limit: usize },
    #[error("{node} answered with something else than JSON-RPC")]
    NotRpc { node: String, source: serde_json::Error },
    #[error("{node} answered another call (number {found:?} instead of {wanted})")]
    OtherCall { node: String, found: Option<u64>, wanted: u64 },
}

impl Trouble {
    /// The call never left this machine.
    const fn unsent(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }

    /// An answer came, and asking again would bring the same one.
    const fn unusable(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::NotRpc { .. } | Self::OtherCall { .. })
    }
}

enum Attempt {
    Trouble(Trouble),
    Refused(ChainError),
}

impl From<Trouble> for Attempt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Rpc {
    /// # Errors
    /// [`ChainError::Invalid`] for an unusable endpoint or token, and for no endpoint at all.
    pub(super) fn new(endpoints: &[Endpoint], limits: Limits) -> Result<Self, ChainError> {
        let nodes = endpoints.iter().map(Node::new).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(ChainError::Invalid { what: "no chain endpoint is declared: name at least one".to_owned() });
        }
        // a second installation is refused, and the first serves as well
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("seald/", env!("CARGO_PKG_VERSION")));
        if nodes.iter().all(|node| node.url.scheme() == "http") {
            // the machine's root certificates are not needed and need not be there
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|why| ChainError::Invalid {
            what: format!("cannot prepare https (are the system's root certificates installed?): {}", Chain(&why)),
        })?;
        Ok(Self {
            http,
            nodes,
            limits,
            permits: Semaphore::new(CONCURRENT),
            next_id: AtomicU64::new(1),
            stand_in: Mutex::new(None),
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
        let started = clock::monotonic();
        let mut round = 1;
        loop {
            let trouble = match self.round(kind, method, &params).await {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Refused(error)) => return Err(error),
                Err(Attempt::Trouble(trouble)) => trouble,
            };
            if trouble.unusable() {
                return Err(ChainError::malformed(method, trouble));
            }
            let repeatable = kind != Kind::Write || trouble.unsent();
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
    async fn round<R: DeserializeOwned>(
        &self,
        kind: Kind,
        method: &str,
        params: &(impl Serialize + Sync),
    ) -> Result<R, Attempt> {
        let mut last = None;
        for index in self.order() {
            let Some(node) = self.nodes.get(index) else { continue };
            match self.attempt(node, kind, method, params).await {
                Err(Attempt::Trouble(trouble)) if kind != Kind::Write || trouble.unsent() => last = Some(trouble),
                Err(Attempt::Trouble(trouble)) => return Err(trouble.into()),
                answered => {
                    self.answered(index);
                    return answered;
                }
            }
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
        let body = serde_json::to_vec(&request).map_err(|why| {
            Attempt::Refused(ChainError::Invalid { what: format!("the parameters of {method} do not encode: {why}") })
        })?;
        // never closed
        let _permit = self.permits.acquire().await;
        let sent = self.http.post(node.url.clone()).headers(node.headers.clone()).body(body);
        let answer = sent.timeout(self.deadline(kind)).send().await.map_err(|source| node.lost(source))?;
        let status = answer.status();
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return Err(Attempt::Refused(node.unauthorized(method, status)));
        }
        if status.is_redirection() {
            let advice = "it redirects, which is not followed: declare the address it redirects to";
            return Err(Trouble::Status { node: node.name.clone(), status, advice }.into());
        }
        let body = node.read(answer, self.limits.body).await?;
        node.decode(method, id, status, &body)
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
    fn order(&self) -> Vec<usize> {
        let first = self.stand_in().map_or(0, |(index, _)| index);
        std::iter::once(first).chain((0..self.nodes.len()).filter(|index| *index != first)).collect()
    }

    fn stand_in(&self) -> Option<(usize, Instant)> {
        let stand_in = *self.stand_in.lock().unwrap_or_else(PoisonError::into_inner);
        stand_in.filter(|(_, since)| clock::monotonic().duration_since(*since) < self.limits.stand_in)
    }

    fn answered(&self, index: usize) {
        let kept = self.stand_in().filter(|(current, _)| *current == index);
        let next = if index == 0 { None } else { kept.or_else(|| Some((index, clock::monotonic()))) };
        *self.stand_in.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

impl Node {
    fn new(endpoint: &Endpoint) -> Result<Self, ChainError> {
        let url = endpoint.to_url()?;
        let name = url.origin().ascii_serialization();
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        if let Some(token) = &endpoint.token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal())).map_err(|_| {
                ChainError::Invalid { what: format!("the token of chain endpoint {name} is not one line of text") }
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self { url, name, headers })
    }

    fn lost(&self, source: reqwest::Error) -> Trouble {
        let node = self.name.clone();
        let source = source.without_url();
        if source.is_connect() { Trouble::Connect { node, source } } else { Trouble::Lost { node, source } }
    }

    fn unauthorized(&self, method: &str, status: StatusCode) -> ChainError {
        let token =
            if self.headers.contains_key(AUTHORIZATION) { "does not accept the token" } else { "wants a token" };
        ChainError::Refused {
            method: method.to_owned(),
            code: i64::from(status.as_u16()),
            message: format!(
                "{} {token}: put one with the permissions read, write and sign into the endpoint's token_file",
                self.name
            ),
        }
    }

    async fn read(&self, mut answer: reqwest::Response, limit: usize) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|source| self.lost(source))? {
            if body.len().saturating_add(chunk.len()) > limit {
                return Err(Trouble::TooLarge { node: self.name.clone(), limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn decode<R: DeserializeOwned>(
        &self,
        method: &str,
        id: u64,
        status: StatusCode,
        body: &[u8],
    ) -> Result<R, Attempt> {
        // an error may come with a null result, which is not an R: so it is looked for first
        let outer: Response<IgnoredAny> = match serde_json::from_slice(body) {
            Ok(outer) => outer,
            Err(_) if !status.is_success() => {
                let advice = "is this the address of a node's API, and is the node well?";
                return Err(Trouble::Status { node: self.name.clone(), status, advice }.into());
            }
            Err(source) => return Err(Trouble::NotRpc { node: self.name.clone(), source }.into()),
        };
        if let Some(error) = outer.error {
            return Err(Attempt::Refused(ChainError::Refused {
                method: method.to_owned(),
                code: error.code,
                message: error.message,
            }));
        }
        if outer.id != Some(id) {
            return Err(Trouble::OtherCall { node: self.name.clone(), found: outer.id, wanted: id }.into());
        }
        let not_rpc = |source| Trouble::NotRpc { node: self.name.clone(), source };
        let inner: Response<R> = serde_json::from_slice(body).map_err(not_rpc)?;
        let missing = || not_rpc(serde::de::Error::missing_field("result"));
        inner.result.ok_or_else(|| missing().into())
    }
}

#[cfg(test)]
mod tests;
