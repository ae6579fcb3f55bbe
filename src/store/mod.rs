//! The database: what the world did. Sector records, append-only events, messages, settings, and the manifests that were
//! in force.
//!
//! A sector's row, its event and its outbox row change in one transaction. Reading is total: a row that
//! does not parse is reported as [`Unreadable`], never a crash. Decides nothing, deletes nothing.

mod batches;
mod generations;
mod open;
mod read;
mod sectors;
mod settings;
mod sql;
#[cfg(test)]
mod tests;

pub use generations::Generation;
pub use open::{Store, known_version};

pub use crate::{
    book::{Change, Took},
    outbox::{Batch, BatchState, MessageKind},
};

use crate::{
    error::Remedy,
    sector::{Event, MessageId},
    units::{SectorNumber, UnixMillis},
};
use serde::{Deserialize, Serialize};

/// One line of a sector's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: UnixMillis,
    /// What happened.
    pub event: Event,
    /// Whether it moved the sector; `false` for an event that met the wrong state.
    pub applied: bool,
}

/// A row that does not parse: kept, shown, worked around.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Table and key.
    pub what: String,
    /// Why.
    pub error: String,
}

/// The database could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("cannot open the database {url}")]
    Open {
        /// Its address, without secrets.
        url: String,
        /// Why.
        source: sqlx::Error,
    },
    /// There is no database yet.
    #[error("there is no database at {url}: `seald run` makes it when it first starts")]
    Missing {
        /// Its address, without secrets.
        url: String,
    },
    /// The schema is newer than this program.
    #[error("the database has schema version {found}, this seald knows up to {known}: install a newer seald")]
    Newer {
        /// Found.
        found: i64,
        /// Known.
        known: i64,
    },
    /// The schema is older than this program, and only reading was asked for.
    #[error("the database has schema version {found}, this seald reads {known}: start this seald's daemon once")]
    Older {
        /// Found; 0 is an empty database.
        found: i64,
        /// Known.
        known: i64,
    },
    /// A statement failed.
    #[error("cannot {doing}")]
    Query {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// Somebody else changed the sector in between.
    #[error("sector {number} was changed by somebody else (expected version {expected})")]
    Conflict {
        /// The sector.
        number: SectorNumber,
        /// The version the change was made from.
        expected: u64,
    },
    /// The sector number was used before.
    #[error("sector number {number} is already taken")]
    Taken {
        /// The sector.
        number: SectorNumber,
    },
    /// There is no such sector.
    #[error("there is no sector {number}")]
    UnknownSector {
        /// The sector.
        number: SectorNumber,
    },
    /// A second message of this kind would do the same thing twice.
    #[error("a {kind} message{} is still under way: wait until it has landed or was given up", of_sector(*.sector))]
    LiveMessage {
        /// What both are for.
        kind: MessageKind,
        /// A sector that both carry, where one is named.
        sector: Option<SectorNumber>,
    },
    /// A batch only moves along the edges of [`BatchState::may_become`].
    #[error("message {} is {from} and cannot become {to}", .id.0)]
    Backwards {
        /// The message.
        id: MessageId,
        /// Where it stands.
        from: &'static str,
        /// Where it was to go.
        to: &'static str,
    },
    /// The one row that was asked for does not parse.
    #[error("{what} cannot be read: {error}")]
    Unreadable {
        /// Table and key.
        what: String,
        /// Why.
        error: String,
    },
}

fn of_sector(sector: Option<SectorNumber>) -> String {
    sector.map(|number| format!(" of sector {number}")).unwrap_or_default()
}

impl StoreError {
    /// What to do.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Query { .. } | Self::Conflict { .. } => Remedy::Retry,
            Self::Open { .. }
            | Self::Missing { .. }
            | Self::Older { .. }
            | Self::Taken { .. }
            | Self::UnknownSector { .. }
            | Self::LiveMessage { .. }
            | Self::Backwards { .. }
            | Self::Unreadable { .. } => Remedy::Hold,
            Self::Newer { .. } => Remedy::Stop,
        }
    }
}
