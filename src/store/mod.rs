//! The database: what the world did. Sector records, append-only events, messages, settings.
//!
//! A sector's row, its event and its outbox row change in one transaction. Reading is total: a row that
//! does not parse is reported as [`Unreadable`], never a crash. Decides nothing, deletes nothing.

mod messages;
mod open;
mod read;
mod sectors;
mod settings;
mod sql;
#[cfg(test)]
mod tests;

pub use open::{Store, known_version};

use crate::{
    chain::{Executed, Message, Pushed},
    error::Remedy,
    sector::{Event, MessageId, Record, Stage},
    units::{SectorNumber, SectorSize, UnixMillis},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// CreateMiner.
    CreateMiner,
    /// PreCommitSectorBatch2.
    PreCommit,
    /// ProveCommitSectors3.
    Commit,
}

impl MessageKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::CreateMiner, Self::PreCommit, Self::Commit];

    /// The name as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateMiner => "create_miner",
            Self::PreCommit => "pre_commit",
            Self::Commit => "commit",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a message stands. It only moves down this list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum MessageStatus {
    /// Recorded, not known to have reached a node. Pushing again with the same id is safe.
    Intended,
    /// A node took it.
    Pushed(Pushed),
    /// It executed; final once deep enough.
    Landed(Executed),
    /// It will not be sent: the node's simulation refused it, or it was superseded.
    Refused {
        /// Why.
        why: String,
    },
}

impl MessageStatus {
    /// The name as stored and shown.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Pushed(_) => "pushed",
            Self::Landed(_) => "landed",
            Self::Refused { .. } => "refused",
        }
    }

    /// The message may still land: no second one of its kind may exist for its sectors.
    pub const fn is_live(&self) -> bool {
        match self {
            Self::Intended | Self::Pushed(_) => true,
            Self::Landed(_) | Self::Refused { .. } => false,
        }
    }
}

/// One row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxMessage {
    /// Idempotency key, a UUID, sent along as Lotus `MsgUuid`.
    pub id: MessageId,
    /// What it is for.
    pub kind: MessageKind,
    /// The sectors it carries, in the order of its parameters.
    pub sectors: Vec<SectorNumber>,
    /// The message.
    pub message: Message,
    /// When it was recorded.
    pub created: UnixMillis,
    /// Where it stands.
    pub status: MessageStatus,
    /// How often pushing it was tried.
    pub attempts: u32,
}

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

/// How long a stage took, for estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// The stage.
    pub stage: Stage,
    /// Of a sector of this size.
    pub size: SectorSize,
    /// Milliseconds.
    pub ms: u64,
}

/// A change of sectors together with the message it puts into the outbox: one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The record after the event (its `version` is the old one plus one), and the event.
    pub sectors: Vec<(Record, Event)>,
    /// A new outbox row.
    pub message: Option<OutboxMessage>,
    /// Finished stages.
    pub durations: Vec<Took>,
    /// When.
    pub at: UnixMillis,
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
    #[error("a {kind} message{} is still under way: wait until it has landed or was refused", of_sector(*.sector))]
    LiveMessage {
        /// What both are for.
        kind: MessageKind,
        /// A sector that both carry, where one is named.
        sector: Option<SectorNumber>,
    },
    /// The message was recorded before.
    #[error("message {} is recorded already", .id.0)]
    DuplicateMessage {
        /// The message.
        id: MessageId,
    },
    /// There is no such message.
    #[error("there is no message {}", .id.0)]
    UnknownMessage {
        /// The message.
        id: MessageId,
    },
    /// Messages only move down the list of [`MessageStatus`].
    #[error("message {} is {from} and cannot become {to}", .id.0)]
    Backwards {
        /// The message.
        id: MessageId,
        /// Where it stands.
        from: String,
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
            | Self::DuplicateMessage { .. }
            | Self::UnknownMessage { .. }
            | Self::Backwards { .. }
            | Self::Unreadable { .. } => Remedy::Hold,
            Self::Newer { .. } => Remedy::Stop,
        }
    }
}
