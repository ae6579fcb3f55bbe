//! One endpoint: its address, its token, its transport, and the reading of its answers.

use super::{
    Limits,
    heads::Following,
    http::Http,
    rate::Rate,
    socket::Socket,
    standing::Standing,
    trouble::{Attempt, NO_API, REDIRECTS, Trouble},
};
use crate::chain::{ChainError, Endpoint, shortened, wire::Response};
use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT},
};
use serde::{de::DeserializeOwned, de::IgnoredAny};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How this program calls itself.
const AGENT: &str = concat!("seald/", env!("CARGO_PKG_VERSION"));

/// Where a node is, and what is sent along with every request.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) url: Url,
    /// Scheme, host and port, for errors.
    pub(super) name: String,
    pub(super) headers: HeaderMap,
}

/// How calls travel.
enum Transport {
    /// A POST for each.
    Http(Http),
    /// All of them over one connection.
    Socket(Box<Socket>),
    /// Nowhere: the answer to each is at hand.
    #[cfg(any(test, fuzzing))]
    Recorded(super::recorded::Recorded),
}

/// An endpoint that can be called.
pub(super) struct Node {
    address: Arc<Address>,
    transport: Transport,
    standing: Mutex<Standing>,
    pub(super) rate: Rate,
    /// Held while it is asked who it is, so that it is asked once.
    pub(super) identifying: tokio::sync::Mutex<()>,
}

/// The body of an answer.
pub(super) struct Answer<B> {
    pub(super) status: StatusCode,
    pub(super) body: B,
}

impl Address {
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, ChainError> {
        let url = endpoint.to_url()?;
        // an origin with a websocket's scheme is opaque to the library
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let name = format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default());
        let mut headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (USER_AGENT, HeaderValue::from_static(AGENT)),
        ]);
        if let Some(token) = &endpoint.token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal())).map_err(|_| {
                ChainError::Invalid { what: format!("the token of chain endpoint {name} is not one line of text") }
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self { url, name, headers })
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self.url.scheme(), "ws" | "wss")
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.url.scheme(), "https" | "wss")
    }

    /// An HTTP status that is no answer to a call: what the node makes of who asks, or of the address.
    pub(super) fn judge(&self, method: &str, status: StatusCode) -> Result<(), Attempt> {
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return Err(Attempt::Refused(self.unauthorized(method, status)));
        }
        if status.is_redirection() {
            return Err(Trouble::Status { node: self.name.clone(), status, advice: REDIRECTS }.into());
        }
        Ok(())
    }

    pub(super) fn unauthorized(&self, method: &str, status: StatusCode) -> ChainError {
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

    fn decode<R: DeserializeOwned>(
        &self,
        method: &str,
        id: u64,
        Answer { status, body }: Answer<&[u8]>,
    ) -> Result<R, Attempt> {
        // an error may come with a null result, which is not an R: so it is looked for first
        let outer: Response<IgnoredAny> = match serde_json::from_slice(body) {
            Ok(outer) => outer,
            Err(_) if !status.is_success() => {
                return Err(Trouble::Status { node: self.name.clone(), status, advice: NO_API }.into());
            }
            Err(source) => return Err(Trouble::NotRpc { node: self.name.clone(), source: source.into() }.into()),
        };
        if let Some(error) = outer.error {
            return Err(Attempt::Refused(ChainError::Refused {
                method: method.to_owned(),
                code: error.code,
                message: shortened(error.message),
            }));
        }
        if outer.id != Some(id) {
            return Err(Trouble::OtherCall { node: self.name.clone(), found: outer.id, wanted: id }.into());
        }
        let not_rpc = |source: serde_json::Error| Trouble::NotRpc { node: self.name.clone(), source: source.into() };
        let inner: Response<R> = serde_json::from_slice(body).map_err(not_rpc)?;
        let missing = || not_rpc(serde::de::Error::missing_field("result"));
        inner.result.ok_or_else(|| missing().into())
    }
}

impl Node {
    pub(super) fn new(address: Address, http: &reqwest::Client, limits: Limits) -> Result<Self, ChainError> {
        let address = Arc::new(address);
        let transport = if address.is_socket() {
            Transport::Socket(Box::new(Socket::new(Arc::clone(&address), limits)?))
        } else {
            Transport::Http(Http::new(Arc::clone(&address), http.clone(), limits.body))
        };
        Ok(Self::of(address, transport))
    }

    fn of(address: Arc<Address>, transport: Transport) -> Self {
        let (standing, identifying) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { address, transport, standing, rate: Rate::new(), identifying }
    }

    /// Scheme, host and port.
    pub(super) fn name(&self) -> String {
        self.address.name.clone()
    }

    /// What is known of it.
    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call, once.
    pub(super) async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        id: u64,
        body: String,
        deadline: Duration,
    ) -> Result<R, Attempt> {
        match &self.transport {
            Transport::Http(http) => {
                let Answer { status, body } = http.call(method, body, deadline).await?;
                self.address.decode(method, id, Answer { status, body: &body })
            }
            Transport::Socket(socket) => {
                let body = socket.call(method, id, body, deadline).await?;
                self.address.decode(method, id, Answer { status: StatusCode::OK, body: body.as_bytes() })
            }
            #[cfg(any(test, fuzzing))]
            Transport::Recorded(recorded) => {
                let body = recorded.body(id);
                self.address.decode(method, id, Answer { status: recorded.status(), body: &body })
            }
        }
    }

    /// A node whose answers are at hand.
    #[cfg(any(test, fuzzing))]
    pub(super) fn recorded(recorded: super::recorded::Recorded) -> Result<Self, ChainError> {
        let address = Address::new(&Endpoint { url: "http://127.0.0.1:1".to_owned(), token: None })?;
        Ok(Self::of(Arc::new(address), Transport::Recorded(recorded)))
    }

    /// Has the node tell of new heads, from its next connection on; `None` when it cannot.
    pub(super) fn follow(&self) -> Option<watch::Receiver<Following>> {
        match &self.transport {
            Transport::Http(_) => None,
            #[cfg(any(test, fuzzing))]
            Transport::Recorded(_) => None,
            Transport::Socket(socket) => Some(socket.follow()),
        }
    }
}
