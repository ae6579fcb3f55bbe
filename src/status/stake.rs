//! What of the operator's money is locked in a sector. Pure.

use crate::{
    sector::{Record, State},
    units::AttoFil,
};

/// What of the operator's money hangs on a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stake {
    /// The deposit of its pre-commit is locked, and is lost when the proof does not come in time.
    Deposit(AttoFil),
    /// The deposit of its pre-commit is lost, or will be: no proof of it comes any more.
    Lost(AttoFil),
    /// The pledge of the active sector is locked; a part of it is lost when it ends early.
    Pledge(AttoFil),
}

impl Stake {
    /// What hangs on `record`; `None` when nothing does, as far as is known.
    pub fn of(record: &Record) -> Option<Self> {
        let ended = record.termination.as_ref().is_some_and(|termination| termination.epoch.is_some());
        if ended || record.state == State::FaultedFinal {
            return None;
        }
        if let Some(activation) = &record.activation {
            return Some(Self::Pledge(activation.pledge));
        }
        let deposit = record.precommit.as_ref()?.landed.as_ref()?.deposit;
        let given_up = matches!(record.state, State::FailedUnrecoverable | State::Removing | State::Removed);
        Some(if given_up { Self::Lost(deposit) } else { Self::Deposit(deposit) })
    }

    /// How much is locked and can still come back.
    pub const fn locked(self) -> Option<AttoFil> {
        match self {
            Self::Deposit(amount) | Self::Pledge(amount) => Some(amount),
            Self::Lost(_) => None,
        }
    }
}
