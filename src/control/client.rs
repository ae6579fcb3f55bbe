//! The command line's side of the control socket.

use super::{Cause, ErrorBody, LONGEST_PATH, ManifestOrder, OrderBody, PledgeBody, SlotOrder, SlotsBody, socket, verb};
use crate::{
    plan::Place,
    sector::operator::Order,
    status::{
        Snapshot,
        info::InfoReport,
        orders::{Pledged, Reloaded, Ruling, SlotsRuled},
        sectors::{Choice, List, OnChain, Show},
    },
    units::SectorNumber,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    num::NonZeroU64,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// The loop answers within a turn, and a turn is as long as the database takes to write.
const PATIENCE: Duration = Duration::from_secs(30);

/// For what the server answers without its loop.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Longer than the daemon is ever silent on its event stream.
const SILENCE: Duration = Duration::from_secs(20);

/// In place of no timeout, which a request cannot have once its client has one.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The daemon could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket can have this path.
    #[error(
        "the control socket cannot be at {path}: its path has more than {LONGEST_PATH} bytes. Choose a shorter state.dir"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Nobody listens.
    #[error("seald is not running (nobody listens on {path})")]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is another user's.
    #[error("the control socket {path} cannot be used by this user")]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or no answer came in time.
    #[error("seald did not answer")]
    NoAnswer(#[source] reqwest::Error),
    /// Its answer cannot be understood.
    #[error("the answer of seald cannot be understood")]
    Foreign(#[source] serde_json::Error),
    /// It did not do it.
    #[error("{error}")]
    Refused {
        /// Why, for programs; `None` when it is who asked.
        cause: Option<Cause>,
        /// Why.
        error: String,
        /// What to do about it, in the daemon's words.
        help: String,
    },
}

/// A connection to the daemon of a state folder.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
}

impl Client {
    /// Whether a daemon listens is found out here.
    ///
    /// # Errors
    /// [`ClientError::TooLong`], [`ClientError::NotRunning`], [`ClientError::Forbidden`].
    pub fn connect(dir: &Path) -> Result<Self, ClientError> {
        let path = socket(dir).map_err(|path| ClientError::TooLong { path })?;
        if let Err(source) = UnixStream::connect(&path) {
            let forbidden = source.kind() == io::ErrorKind::PermissionDenied;
            return Err(if forbidden {
                ClientError::Forbidden { path, source }
            } else {
                ClientError::NotRunning { path }
            });
        }
        // whoever was first has installed the same provider; a socket needs none, the builder wants one all the same
        rustls::crypto::ring::default_provider().install_default().ok();
        // a Unix socket needs no certificates, and on a small machine there are none to load
        let http = reqwest::Client::builder().unix_socket(path).no_proxy().tls_certs_only([]).timeout(PATIENCE).build();
        Ok(Self { http: http.map_err(ClientError::NoAnswer)? })
    }

    /// The newest snapshot.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<Snapshot, ClientError> {
        read(self.http.get(url("status")).timeout(AT_ONCE)).await
    }

    /// The chosen sectors.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn sectors(&self, choice: &Choice) -> Result<List, ClientError> {
        let Choice { state, why, failed, waiting, fast } = choice;
        let flag = |on: bool| on.then(|| "true".to_owned());
        let states: Vec<&str> = state.iter().map(|state| state.as_str()).collect();
        let pairs = [
            ("state", Some(states.join(",")).filter(|states| !states.is_empty())),
            ("why", why.clone()),
            ("failed", flag(*failed)),
            ("waiting", flag(*waiting)),
            ("fast", flag(*fast)),
        ];
        let mut url = url("sectors");
        for (index, (name, value)) in pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).enumerate() {
            let join = if index == 0 { '?' } else { '&' };
            url.push_str(&format!("{join}{name}={}", escaped(&value)));
        }
        read(self.http.get(url)).await
    }

    /// Everything about one sector.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn sector(&self, number: SectorNumber) -> Result<Show, ClientError> {
        read(self.http.get(url(&format!("sectors/{number}")))).await
    }

    /// What the chain says of one sector.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn on_chain(&self, number: SectorNumber) -> Result<OnChain, ClientError> {
        read(self.http.get(url(&format!("sectors/{number}/chain")))).await
    }

    /// The miner on chain.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn info(&self) -> Result<InfoReport, ClientError> {
        read(self.http.get(url("info"))).await
    }

    /// The lines of the event stream, until the daemon ends.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn events(&self) -> Result<Lines, ClientError> {
        // it has no end that a timeout of the whole answer could wait for; a line comes every few seconds
        let sent = self.http.get(url("events")).timeout(FOR_EVER).send().await.map_err(ClientError::NoAnswer)?;
        if sent.status().is_success() {
            Ok(Lines { response: sent, rest: Vec::new() })
        } else {
            Err(refusal(sent).await)
        }
    }

    /// Wants so many sectors more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pledge(&self, count: NonZeroU64) -> Result<Pledged, ClientError> {
        send(self.http.post(url("pledge")), &PledgeBody { count }).await
    }

    /// Wants no more sectors than the manifest declares.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pledge_as_declared(&self) -> Result<Pledged, ClientError> {
        read(self.http.delete(url("pledge"))).await
    }

    /// Gives an order about a sector. Without `yes`, one that costs something is only answered with what it costs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn order(&self, number: SectorNumber, order: Order, yes: bool) -> Result<Ruling, ClientError> {
        let state = match order {
            Order::SetState(state) => Some(state),
            Order::Retry | Order::Remove | Order::Terminate => None,
        };
        let path = url(&format!("sectors/{number}/{}", verb(order)));
        send(self.http.post(path), &OrderBody { yes, state }).await
    }

    /// Gives an order about a slot, one worker of it, or every slot.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn slots(&self, place: Option<&Place>, order: SlotOrder) -> Result<SlotsRuled, ClientError> {
        let verb = order.verb();
        let path = place.map_or_else(|| format!("slots/{verb}"), |place| format!("slots/{}/{verb}", place.slot));
        let instance = place.and_then(|place| place.instance);
        let body = SlotsBody { instance, now: order == SlotOrder::PauseNow };
        send(self.http.post(url(&path)), &body).await
    }

    /// Has the manifest read again, or the one before it; answered once that is in force.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn manifest(&self, order: ManifestOrder) -> Result<Reloaded, ClientError> {
        read(match order {
            ManifestOrder::Preview => self.http.get(url("plan")),
            ManifestOrder::Reload => self.http.post(url("reload")),
            ManifestOrder::Rollback => self.http.post(url("rollback")),
        })
        .await
    }
}

/// The event stream, line by line.
#[derive(Debug)]
pub struct Lines {
    response: reqwest::Response,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line as it was sent, without its end; `None` when the daemon ended.
    ///
    /// # Errors
    /// The connection broke, or nothing came for longer than the daemon is ever silent.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            match timeout(SILENCE, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => self.rest.extend_from_slice(&chunk),
                Ok(Ok(None)) | Err(_) => return Ok(None),
                Ok(Err(error)) => return Err(ClientError::NoAnswer(error)),
            }
        }
    }
}

/// A value of a query with everything escaped that could mean something.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The host is the socket's; HTTP wants a name in its place.
fn url(path: &str) -> String {
    format!("http://seald/v1/{path}")
}

async fn send<T: DeserializeOwned>(request: reqwest::RequestBuilder, body: &impl Serialize) -> Result<T, ClientError> {
    read(request.json(body)).await
}

async fn read<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, ClientError> {
    let response = request.send().await.map_err(ClientError::NoAnswer)?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let body = response.bytes().await.map_err(ClientError::NoAnswer)?;
    serde_json::from_slice(&body).map_err(ClientError::Foreign)
}

async fn refusal(response: reqwest::Response) -> ClientError {
    let cause = Cause::of(response.status().as_u16());
    match response.bytes().await.map(|body| serde_json::from_slice(&body)) {
        Ok(Ok(ErrorBody { error, help })) => ClientError::Refused { cause, error, help },
        Ok(Err(error)) => ClientError::Foreign(error),
        Err(error) => ClientError::NoAnswer(error),
    }
}
