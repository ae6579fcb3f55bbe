//! The table: every state, every event, and every edge between them.

use super::record::{Activation, Failure, Landed, MessageId, Sealed, Seed, Ticket};
use crate::units::{Epoch, RepoName, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Where a sector stands; the operator's words. Stored by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum State { $($(#[$doc])* $name),* }

        impl State {
            /// Every state, in the order `info` lists them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name as stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

states! {
    /// On chain, proven, finalized.
    Proving,
    /// Created; a capacity sector has nothing to pack.
    Packing,
    /// Ticket, SDR layers and tree-d.
    PreCommit1,
    /// Trees and replica.
    PreCommit2,
    /// Pre-commit to be sent.
    PreCommitting,
    /// Pre-commit in the outbox or landed; waiting for the interactive seed.
    WaitSeed,
    /// Proof being computed, then to be sent.
    Committing,
    /// Prove-commit in the outbox; waiting for the chain to show the sector.
    CommitWait,
    /// On chain; cache to be trimmed and replica to be stored.
    FinalizeSector,
    /// Cannot be sealed any more; nothing happens by itself.
    FailedUnrecoverable,
    /// Sealing gave wrong bytes; to be sealed again.
    SealFailed,
    /// The pre-commit did not land.
    PreCommitFailed,
    /// The proof could not be computed.
    ComputeProofFailed,
    /// The prove-commit did not land.
    CommitFailed,
    /// The pieces do not fit the sector.
    PackingFailed,
    /// The chain shows the sector as faulty, or not at all.
    Faulty,
    /// The fault is on chain; waiting for recovery.
    FaultReported,
    /// The faulty sector was ended by the chain.
    FaultedFinal,
    /// To be ended on chain before its time, then removed.
    Terminating,
    /// Its files are being removed.
    Removing,
    /// Its files are gone; its number stays used.
    Removed,
}

impl State {
    /// States that end a sector's work, well or badly: nothing more happens by itself.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Proving | Self::FailedUnrecoverable | Self::PackingFailed | Self::FaultedFinal | Self::Removed
        )
    }

    /// States of a sector that is given up: it counts towards no target, and what it holds is only to be cleared.
    pub const fn is_given_up(self) -> bool {
        match self {
            Self::FailedUnrecoverable
            | Self::PackingFailed
            | Self::FaultedFinal
            | Self::Terminating
            | Self::Removing
            | Self::Removed => true,
            Self::Proving
            | Self::Packing
            | Self::PreCommit1
            | Self::PreCommit2
            | Self::PreCommitting
            | Self::WaitSeed
            | Self::Committing
            | Self::CommitWait
            | Self::FinalizeSector
            | Self::SealFailed
            | Self::PreCommitFailed
            | Self::ComputeProofFailed
            | Self::CommitFailed
            | Self::Faulty
            | Self::FaultReported => false,
        }
    }

    /// States an operator must know about.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::FailedUnrecoverable
            | Self::SealFailed
            | Self::PreCommitFailed
            | Self::ComputeProofFailed
            | Self::CommitFailed
            | Self::PackingFailed
            | Self::Faulty
            | Self::FaultReported
            | Self::FaultedFinal => true,
            Self::Proving
            | Self::Packing
            | Self::PreCommit1
            | Self::PreCommit2
            | Self::PreCommitting
            | Self::WaitSeed
            | Self::Committing
            | Self::CommitWait
            | Self::FinalizeSector
            | Self::Terminating
            | Self::Removing
            | Self::Removed => false,
        }
    }

    /// States in which the chain counts the sector as this miner's.
    pub const fn is_on_chain(self) -> bool {
        matches!(self, Self::Proving | Self::FinalizeSector | Self::Faulty | Self::FaultReported)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|state| state.as_str() == s)
            .ok_or_else(|| format!("{s:?} is not a sector state"))
    }
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident $({ $($(#[$fdoc:meta])* $field:ident : $ty:ty),* $(,)? })?),* $(,)?) => {
        /// A fact about a sector, in the past tense, with what came with it.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "event", rename_all_fields = "snake_case")]
        pub enum Event { $($(#[$doc])* $name $({ $($(#[$fdoc])* $field: $ty),* })?),* }

        /// An event without its payload: the column of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum EventKind { $($(#[$doc])* $name),* }

        impl EventKind {
            /// Every kind of event.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name as stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }

        impl Event {
            /// The kind of this event.
            pub const fn kind(&self) -> EventKind {
                match self { $(Self::$name { .. } => EventKind::$name),* }
            }
        }
    };
}

events! {
    /// The sector's data is complete.
    Packed,
    /// It was sealed and proven elsewhere before there was a record of it, such as for a genesis block.
    Imported {
        /// Its commitments.
        sealed: Sealed,
        /// The sector as the chain has it.
        activation: Activation,
        /// Where its files are.
        store: RepoName,
    },
    /// The pieces cannot make up the sector.
    PackingFailed {
        /// Why.
        failure: Failure,
    },
    /// Chain randomness for the replica was drawn.
    TicketDrawn {
        /// The ticket.
        ticket: Ticket,
    },
    /// The ticket is too old for a pre-commit to be accepted, or the chain does not know it any more.
    TicketExpired,
    /// Layers and tree-d are on disk.
    PreCommit1Done,
    /// Replica and trees are on disk.
    PreCommit2Done {
        /// The commitments.
        sealed: Sealed,
    },
    /// An attempt failed for a reason that is not the sector's; it is tried again in the same state.
    AttemptFailed {
        /// Why.
        failure: Failure,
        /// Not before this moment.
        retry_at: UnixMillis,
    },
    /// Sealing must be done again.
    SealPreCommitFailed {
        /// Why.
        failure: Failure,
        /// Not before this moment.
        retry_at: UnixMillis,
    },
    /// The pre-commit was handed to the outbox, or found on chain (no message).
    PreCommitted {
        /// The outbox message.
        message: Option<MessageId>,
    },
    /// The chain shows the pre-commit.
    PreCommitLanded {
        /// Where and with what deposit.
        landed: Landed,
    },
    /// A reorganisation took the pre-commit off the chain.
    PreCommitReverted,
    /// The pre-commit was refused or lost.
    ChainPreCommitFailed {
        /// Why.
        failure: Failure,
        /// Not before this moment.
        retry_at: UnixMillis,
    },
    /// The interactive seed is known, or changed.
    SeedReady {
        /// The seed.
        seed: Seed,
    },
    /// The proof is computed and verified.
    ProofReady {
        /// The proof bytes, hexadecimal.
        porep: String,
    },
    /// No valid proof could be computed.
    ComputeProofFailed {
        /// Why.
        failure: Failure,
        /// Not before this moment.
        retry_at: UnixMillis,
    },
    /// The prove-commit was handed to the outbox, or the sector was found on chain (no message).
    Committed {
        /// The outbox message.
        message: Option<MessageId>,
    },
    /// The prove-commit was refused or lost.
    CommitFailed {
        /// Why.
        failure: Failure,
        /// Not before this moment.
        retry_at: UnixMillis,
    },
    /// The chain shows the sector.
    Proving {
        /// Since when, until when, at what pledge.
        activation: Activation,
    },
    /// A reorganisation took the sector off the chain.
    CommitReverted,
    /// The cache is trimmed and the replica is in its long-term repo.
    Finalized {
        /// That repo.
        store: RepoName,
    },
    /// Seal again.
    RetrySeal,
    /// Send a pre-commit again.
    RetryPreCommit,
    /// The pre-commit is on chain after all, or its seed must be read again.
    RetryWaitSeed,
    /// Compute the proof again.
    RetryComputeProof,
    /// Compute the proof again after one that did not verify.
    RetryInvalidProof,
    /// Send the proof again.
    RetrySubmitCommit,
    /// The sector is on chain after all.
    RetryCommitWait,
    /// The chain lists the sector as faulty, or not at all.
    Faulty,
    /// The chain has recorded the fault.
    FaultReported,
    /// The chain no longer lists the sector as faulty.
    Recovered,
    /// The chain ended the faulty sector.
    FaultedFinal,
    /// Nothing can be done for this sector any more.
    GivenUp {
        /// Why.
        failure: Failure,
    },
    /// An operator wants the next attempt at once, and gives a new budget.
    RetryAsked,
    /// An operator wants the sector to be ended on chain.
    TerminateAsked,
    /// The termination was handed to the outbox.
    TerminateSent {
        /// The outbox message.
        message: Option<MessageId>,
    },
    /// The chain has ended the sector.
    Terminated {
        /// At the latest then.
        epoch: Epoch,
    },
    /// A reorganisation took the termination off the chain.
    TerminateReverted,
    /// The termination was refused or lost.
    TerminateFailed {
        /// Why.
        failure: Failure,
        /// Not before this moment.
        retry_at: UnixMillis,
    },
    /// The files are to be removed: an operator wants it, or the termination is final.
    RemoveAsked,
    /// The files are gone from every repo.
    RemoveDone,
    /// An operator put the sector into this state.
    StateForced {
        /// The state; [`super::operator`] says which ones a record can be in.
        state: State,
    },
}

use EventKind as E;
use State as S;

/// The whole machine: (state, event, next state). Nothing else decides where a sector goes, except the operator's
/// [`Event::StateForced`], which leads to any state that the record's data allow.
pub const EDGES: &[(State, EventKind, State)] = &[
    (S::Packing, E::Packed, S::PreCommit1),
    (S::Packing, E::PackingFailed, S::PackingFailed),
    (S::Packing, E::Imported, S::Proving),
    (S::PreCommit1, E::TicketDrawn, S::PreCommit1),
    (S::PreCommit1, E::TicketExpired, S::PreCommit1),
    (S::PreCommit1, E::AttemptFailed, S::PreCommit1),
    (S::PreCommit1, E::PreCommit1Done, S::PreCommit2),
    (S::PreCommit1, E::SealPreCommitFailed, S::SealFailed),
    (S::PreCommit1, E::PackingFailed, S::PackingFailed),
    (S::PreCommit1, E::GivenUp, S::FailedUnrecoverable),
    (S::PreCommit2, E::AttemptFailed, S::PreCommit2),
    (S::PreCommit2, E::PreCommit2Done, S::PreCommitting),
    (S::PreCommit2, E::SealPreCommitFailed, S::SealFailed),
    (S::PreCommit2, E::PackingFailed, S::PackingFailed),
    (S::PreCommit2, E::GivenUp, S::FailedUnrecoverable),
    (S::PreCommitting, E::AttemptFailed, S::PreCommitting),
    (S::PreCommitting, E::PreCommitted, S::WaitSeed),
    (S::PreCommitting, E::SealPreCommitFailed, S::SealFailed),
    (S::PreCommitting, E::ChainPreCommitFailed, S::PreCommitFailed),
    (S::PreCommitting, E::Committed, S::CommitWait),
    (S::PreCommitting, E::GivenUp, S::FailedUnrecoverable),
    (S::WaitSeed, E::PreCommitLanded, S::WaitSeed),
    (S::WaitSeed, E::PreCommitReverted, S::WaitSeed),
    (S::WaitSeed, E::SeedReady, S::Committing),
    (S::WaitSeed, E::ChainPreCommitFailed, S::PreCommitFailed),
    (S::WaitSeed, E::Committed, S::CommitWait),
    (S::WaitSeed, E::GivenUp, S::FailedUnrecoverable),
    (S::Committing, E::ProofReady, S::Committing),
    (S::Committing, E::AttemptFailed, S::Committing),
    (S::Committing, E::SeedReady, S::Committing),
    (S::Committing, E::PreCommitReverted, S::WaitSeed),
    (S::Committing, E::Committed, S::CommitWait),
    (S::Committing, E::ComputeProofFailed, S::ComputeProofFailed),
    (S::Committing, E::SealPreCommitFailed, S::CommitFailed),
    (S::Committing, E::CommitFailed, S::CommitFailed),
    (S::Committing, E::GivenUp, S::FailedUnrecoverable),
    (S::CommitWait, E::Proving, S::FinalizeSector),
    (S::CommitWait, E::CommitFailed, S::CommitFailed),
    (S::FinalizeSector, E::AttemptFailed, S::FinalizeSector),
    (S::FinalizeSector, E::CommitReverted, S::CommitWait),
    (S::FinalizeSector, E::Finalized, S::Proving),
    (S::Proving, E::Faulty, S::Faulty),
    (S::Proving, E::FaultReported, S::FaultReported),
    (S::SealFailed, E::RetrySeal, S::PreCommit1),
    (S::SealFailed, E::GivenUp, S::FailedUnrecoverable),
    (S::SealFailed, E::Committed, S::CommitWait),
    (S::PreCommitFailed, E::RetryPreCommit, S::PreCommitting),
    (S::PreCommitFailed, E::RetryWaitSeed, S::WaitSeed),
    (S::PreCommitFailed, E::SealPreCommitFailed, S::SealFailed),
    (S::PreCommitFailed, E::GivenUp, S::FailedUnrecoverable),
    (S::ComputeProofFailed, E::RetryComputeProof, S::Committing),
    (S::ComputeProofFailed, E::SealPreCommitFailed, S::SealFailed),
    (S::CommitFailed, E::SealPreCommitFailed, S::SealFailed),
    (S::CommitFailed, E::RetryWaitSeed, S::WaitSeed),
    (S::CommitFailed, E::RetryComputeProof, S::Committing),
    (S::CommitFailed, E::RetryInvalidProof, S::Committing),
    (S::CommitFailed, E::RetrySubmitCommit, S::Committing),
    (S::CommitFailed, E::RetryCommitWait, S::CommitWait),
    (S::CommitFailed, E::RetryPreCommit, S::PreCommitting),
    (S::CommitFailed, E::GivenUp, S::FailedUnrecoverable),
    (S::Faulty, E::FaultReported, S::FaultReported),
    (S::Faulty, E::Recovered, S::Proving),
    (S::FaultReported, E::Recovered, S::Proving),
    (S::FaultReported, E::FaultedFinal, S::FaultedFinal),
    (S::Packing, E::RetryAsked, S::Packing),
    (S::PreCommit1, E::RetryAsked, S::PreCommit1),
    (S::PreCommit2, E::RetryAsked, S::PreCommit2),
    (S::PreCommitting, E::RetryAsked, S::PreCommitting),
    (S::WaitSeed, E::RetryAsked, S::WaitSeed),
    (S::Committing, E::RetryAsked, S::Committing),
    (S::CommitWait, E::RetryAsked, S::CommitWait),
    (S::FinalizeSector, E::RetryAsked, S::FinalizeSector),
    (S::SealFailed, E::RetryAsked, S::SealFailed),
    (S::PreCommitFailed, E::RetryAsked, S::PreCommitFailed),
    (S::ComputeProofFailed, E::RetryAsked, S::ComputeProofFailed),
    (S::CommitFailed, E::RetryAsked, S::CommitFailed),
    (S::Faulty, E::RetryAsked, S::Faulty),
    (S::FaultReported, E::RetryAsked, S::FaultReported),
    (S::Terminating, E::RetryAsked, S::Terminating),
    (S::Removing, E::RetryAsked, S::Removing),
    (S::FinalizeSector, E::TerminateAsked, S::Terminating),
    (S::Proving, E::TerminateAsked, S::Terminating),
    (S::Faulty, E::TerminateAsked, S::Terminating),
    (S::FaultReported, E::TerminateAsked, S::Terminating),
    (S::Removing, E::TerminateAsked, S::Terminating),
    (S::Terminating, E::TerminateSent, S::Terminating),
    (S::Terminating, E::Terminated, S::Terminating),
    (S::Terminating, E::TerminateReverted, S::Terminating),
    (S::Terminating, E::TerminateFailed, S::Terminating),
    (S::Packing, E::RemoveAsked, S::Removing),
    (S::PreCommit1, E::RemoveAsked, S::Removing),
    (S::PreCommit2, E::RemoveAsked, S::Removing),
    (S::PreCommitting, E::RemoveAsked, S::Removing),
    (S::WaitSeed, E::RemoveAsked, S::Removing),
    (S::Committing, E::RemoveAsked, S::Removing),
    (S::SealFailed, E::RemoveAsked, S::Removing),
    (S::PreCommitFailed, E::RemoveAsked, S::Removing),
    (S::ComputeProofFailed, E::RemoveAsked, S::Removing),
    (S::CommitFailed, E::RemoveAsked, S::Removing),
    (S::FailedUnrecoverable, E::RemoveAsked, S::Removing),
    (S::PackingFailed, E::RemoveAsked, S::Removing),
    (S::FaultedFinal, E::RemoveAsked, S::Removing),
    (S::Terminating, E::RemoveAsked, S::Removing),
    (S::Removing, E::AttemptFailed, S::Removing),
    (S::Removing, E::RemoveDone, S::Removed),
];

/// The state that `event` leads to; `None` when the table has no such edge. Of [`Event::StateForced`] it knows nothing:
/// that depends on the record.
pub(super) fn target(state: State, event: &Event) -> Option<State> {
    EDGES.iter().find(|(from, kind, _)| *from == state && *kind == event.kind()).map(|(_, _, to)| *to)
}
