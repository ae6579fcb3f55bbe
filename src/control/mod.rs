//! The daemon's control socket: HTTP with JSON bodies over a Unix socket in the state folder.
//!
//! The server decides nothing and changes nothing: what only looks is answered from the [`Feed`], beside the loop; of an
//! order it makes a [`Request`], and the loop, which alone changes the world, answers that. Paths begin with a version;
//! an error is an object with `error` and `help`. Readers may look, operators may also give orders: see `access`.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET /v1/status` | | the snapshot |
//! | `GET /v1/events` | | [`Line`](crate::status::events::Line)s, one JSON object each, without an end |
//! | `GET /v1/sectors?state=&why=&failed=&waiting=&fast=` | | [`List`] |
//! | `GET /v1/sectors/{number}` | | [`Show`] |
//! | `GET /v1/sectors/{number}/chain` | | [`OnChain`] |
//! | `GET /v1/info` | | [`InfoReport`] |
//! | `GET /v1/metrics` | | Prometheus text |
//! | `GET /v1/version` | | [`Version`] |
//! | `GET /v1/plan` | | what a reload would do, [`Reloaded`] |
//! | `POST /v1/reload`, `POST /v1/rollback` | | [`Reloaded`], once it is in force |
//! | `POST /v1/pledge` | `{"count": 3}` | [`Pledged`] |
//! | `DELETE /v1/pledge` | | [`Pledged`] |
//! | `POST /v1/sectors/{number}/{retry,remove,terminate}` | `{"yes": true}` | [`Ruling`] |
//! | `POST /v1/slots/{cordon,drain,pause,resume}` | | [`SlotsRuled`], of every slot |
//! | `POST /v1/slots/{slot}/{cordon,drain,pause,resume}` | `{"instance": 1, "now": true}` | [`SlotsRuled`] |
//! | `POST /v1/sectors/{number}/set-state` | `{"state": "PreCommit1", "yes": true}` | [`Ruling`] |

mod access;
mod client;
mod connection;
mod door;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod looks;
mod metrics;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, Lines};
pub use connection::{Answered, Answering};
pub use metrics::{metrics_router, serve_network};
pub use server::{QUEUE, Server, ServerError, ask};

use crate::{
    plan::Place,
    sector::{State, operator::Order},
    status::{
        Snapshot,
        events::Move,
        info::InfoReport,
        orders::{Pledged, Reloaded, Ruling, SlotsRuled},
        sectors::{Choice, List, OnChain, Show},
    },
    units::SectorNumber,
};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{
    num::NonZeroU64,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::{broadcast, oneshot, watch};

/// Name of the socket in the state folder.
pub const SOCKET: &str = "control.sock";

/// Bytes of the longest path of a Unix socket: `sun_path` has 108, the last of them 0. Source: unix(7).
pub const LONGEST_PATH: usize = 107;

/// What is asked of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// So many sectors beyond those that are wanted now.
    Pledge(NonZeroU64),
    /// No sectors beyond those that the manifest declares.
    PledgeAsDeclared,
    /// An order about one sector.
    Sector {
        /// The sector.
        number: SectorNumber,
        /// The order.
        order: Order,
        /// What it costs was agreed to.
        yes: bool,
    },
    /// The manifest anew.
    Manifest(ManifestOrder),
    /// An order about slots.
    Slots {
        /// Which; `None` for every slot there is.
        place: Option<Place>,
        /// The order.
        order: SlotOrder,
    },
}

/// What an operator wants of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestOrder {
    /// Only what a reload would do.
    Preview,
    /// The files as they are now, in force.
    Reload,
    /// The generation before the present one, in force.
    Rollback,
}

/// What an operator wants of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotOrder {
    /// No new task; the workers stay.
    Cordon,
    /// No new task; the workers leave when their task is done.
    Drain,
    /// No new task until it is resumed.
    Pause,
    /// The same, and the tasks that run are ended at once: their sectors go on with them later.
    PauseNow,
    /// Tasks again.
    Resume,
}

impl SlotOrder {
    /// The word in paths, answers and on the command line.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Cordon => "cordon",
            Self::Drain => "drain",
            Self::Pause | Self::PauseNow => "pause",
            Self::Resume => "resume",
        }
    }
}

/// What the server answers from without asking the loop.
#[derive(Clone)]
pub struct Feed {
    /// The newest snapshot.
    pub status: watch::Receiver<Arc<Snapshot>>,
    /// Every move of a sector, as it is recorded.
    pub moves: broadcast::Sender<Arc<Move>>,
    /// The group whose members are operators.
    pub operators: watch::Receiver<Option<String>>,
    /// What must be looked up.
    pub reading: Arc<dyn Reading>,
}

/// What the server looks up in the database and on the chain; never in the loop.
pub trait Reading: Send + Sync {
    /// The chosen sectors.
    fn sectors(&self, choice: Choice) -> BoxFuture<'_, Result<List, Refused>>;

    /// Everything about one sector.
    fn sector(&self, number: SectorNumber) -> BoxFuture<'_, Result<Show, Refused>>;

    /// What the chain says of one sector.
    fn on_chain(&self, number: SectorNumber) -> BoxFuture<'_, Result<OnChain, Refused>>;

    /// The miner on chain.
    fn info(&self) -> BoxFuture<'_, Result<InfoReport, Refused>>;
}

/// The answer to `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Raised when a field changes its meaning or goes away.
    pub format_version: u32,
    /// Program version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
}

/// One request, as the loop gets it. Who asked may have gone meanwhile; what is asked is done all the same.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// The answer to a request.
pub type Answer = Result<Reply, Refused>;

/// A request that was answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The target, now.
    Pledged(Pledged),
    /// What became of an order.
    Ruling(Ruling),
    /// What became of an order about the manifest.
    Reloaded(Reloaded),
    /// What became of an order about slots.
    Slots(SlotsRuled),
}

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It makes no sense.
    Malformed,
    /// There is no such thing.
    Unknown,
    /// It must not be done as things stand.
    Conflict,
    /// It could be done at another time.
    Unavailable,
}

impl Cause {
    const ALL: [Self; 4] = [Self::Malformed, Self::Unknown, Self::Conflict, Self::Unavailable];

    /// The status code that says it.
    const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unknown => 404,
            Self::Conflict => 409,
            Self::Unavailable => 503,
        }
    }

    fn of(status: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.status() == status)
    }
}

/// A request that was not carried out: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why, for programs.
    pub cause: Cause,
    /// Why, for people.
    pub error: String,
    /// What to do about it.
    pub help: String,
}

impl Refused {
    /// A refusal.
    pub fn new(cause: Cause, error: impl Into<String>, help: impl Into<String>) -> Self {
        Self { cause, error: error.into(), help: help.into() }
    }
}

/// A refusal as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ErrorBody {
    error: String,
    help: String,
}

/// Body of `POST /v1/pledge`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PledgeBody {
    count: NonZeroU64,
}

/// Body of `POST /v1/sectors/{number}/{verb}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    #[serde(default)]
    yes: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
}

/// Body of `POST /v1/slots/…`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotsBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<u32>,
    #[serde(default)]
    now: bool,
}

/// The word for an order in paths, answers and on the command line.
pub const fn verb(order: Order) -> &'static str {
    match order {
        Order::Retry => "retry",
        Order::Remove => "remove",
        Order::Terminate => "terminate",
        Order::SetState(_) => "set-state",
    }
}

/// Where the socket of a state folder is.
///
/// # Errors
/// The path as it is, when no socket can have it.
pub fn socket(dir: &Path) -> Result<PathBuf, PathBuf> {
    let path = dir.join(SOCKET);
    if path.as_os_str().as_bytes().len() > LONGEST_PATH { Err(path) } else { Ok(path) }
}
