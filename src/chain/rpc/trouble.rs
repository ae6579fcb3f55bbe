//! Why one endpoint's attempt gave nothing, and what that allows: another endpoint, another round, or neither.

use crate::chain::{ChainError, health::Unfit};
use reqwest::StatusCode;
use std::error::Error;

/// Whatever lies below.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// What to do about an address that answers with HTTP, but not with answers.
pub(super) const REDIRECTS: &str = "it redirects, which is not followed: declare the address it redirects to";
pub(super) const NO_API: &str = "is this the address of a node's API, and is the node well?";

/// Why one endpoint's attempt gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// No connection: the call cannot have arrived.
    #[error("cannot connect to {node}")]
    Connect { node: String, source: Cause },
    /// The connection for all calls is refused: this call never went over one.
    #[error("{node} refuses a websocket with HTTP status {status}: {advice}")]
    Upgrade { node: String, status: StatusCode, advice: &'static str },
    #[error("{node} gave no answer")]
    Lost { node: String, source: Cause },
    #[error("{node} answered with HTTP status {status}: {advice}")]
    Status { node: String, status: StatusCode, advice: &'static str },
    #[error("{node} answered with more than {limit} bytes")]
    TooLarge { node: String, limit: usize },
    #[error("{node} answered with something else than JSON-RPC")]
    NotRpc { node: String, source: Cause },
    /// The node is not believed: the call was not made, or its answer is not used.
    #[error("{node} is not used")]
    Unfit { node: String, source: Unfit },
    /// It would not say who it is: the call was not made.
    #[error("{node} does not say which node it is")]
    Unknown { node: String, source: Cause },
    #[error("{node} answered another call (number {found:?} instead of {wanted})")]
    OtherCall { node: String, found: Option<u64>, wanted: u64 },
}

impl Trouble {
    /// The call never left this machine.
    pub(super) const fn unsent(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Upgrade { .. } | Self::Unfit { .. } | Self::Unknown { .. })
    }

    /// An answer came, and asking again would bring the same one.
    pub(super) const fn unusable(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::NotRpc { .. } | Self::OtherCall { .. })
    }

    /// The connection is gone, or never was.
    pub(super) const fn parts(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Upgrade { .. } | Self::Lost { .. })
    }

    /// The node was reached, and is what it is: asking again at once brings nothing else.
    pub(super) const fn lasts(&self) -> bool {
        matches!(self, Self::Unfit { .. })
    }
}

/// How an attempt ended without an answer.
pub(super) enum Attempt {
    /// It may be made elsewhere, or again.
    Trouble(Trouble),
    /// The node has answered: it does not want to.
    Refused(ChainError),
}

impl From<Trouble> for Attempt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}
