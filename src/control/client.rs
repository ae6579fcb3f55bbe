//! The command line's side of the control socket.

use super::{ErrorBody, LONGEST_PATH, ManifestOrder, OrderBody, PledgeBody, SlotOrder, SlotsBody, socket, verb};
use crate::{
    plan::Place,
    sector::operator::Order,
    status::{
        Snapshot,
        orders::{Pledged, Reloaded, Ruling, SlotsRuled},
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

/// The loop answers within a turn, and a turn is as long as the database takes to write.
const PATIENCE: Duration = Duration::from_secs(30);

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
        let http = reqwest::Client::builder().unix_socket(path).no_proxy().timeout(PATIENCE).build();
        Ok(Self { http: http.map_err(ClientError::NoAnswer)? })
    }

    /// The newest snapshot.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<Snapshot, ClientError> {
        read(self.http.get(url("status"))).await
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

/// The host is the socket's; HTTP wants a name in its place.
fn url(path: &str) -> String {
    format!("http://seald/v1/{path}")
}

async fn send<T: DeserializeOwned>(request: reqwest::RequestBuilder, body: &impl Serialize) -> Result<T, ClientError> {
    read(request.json(body)).await
}

async fn read<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, ClientError> {
    let response = request.send().await.map_err(ClientError::NoAnswer)?;
    let well = response.status().is_success();
    let body = response.bytes().await.map_err(ClientError::NoAnswer)?;
    if well {
        return serde_json::from_slice(&body).map_err(ClientError::Foreign);
    }
    let ErrorBody { error, help } = serde_json::from_slice(&body).map_err(ClientError::Foreign)?;
    Err(ClientError::Refused { error, help })
}
