//! The way from an attendant to its worker, whoever started it.

use super::{
    exit::Exit,
    process::{Process, Seen},
    unit::Unit,
};
use crate::worker::protocol::Identity;
use nix::sys::signal::Signal;
use std::io;

/// A worker and the connection to it.
pub enum Link {
    /// Our child, which ends with us.
    Child(Box<Process>),
    /// In a unit of its own, which outlives us.
    Unit(Box<Unit>),
}

impl Link {
    /// Whether the worker goes on when this daemon ends.
    pub const fn outlives(&self) -> bool {
        match self {
            Self::Child(_) => false,
            Self::Unit(_) => true,
        }
    }

    /// Asks for the worker, where that is not done already.
    ///
    /// # Errors
    /// How it came not to run.
    pub async fn open(&mut self) -> Result<(), Exit> {
        match self {
            Self::Child(_) => Ok(()),
            Self::Unit(unit) => unit.open().await,
        }
    }

    /// The next thing it does. Cancel safe; not to be called again after [`Seen::Exited`].
    pub async fn next(&mut self) -> Seen {
        match self {
            Self::Child(process) => process.next().await,
            Self::Unit(unit) => unit.next().await,
        }
    }

    /// Sends one line.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn say(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Child(process) => process.say(line).await,
            Self::Unit(unit) => unit.say(line).await,
        }
    }

    /// Signals it and what it started.
    pub fn signal(&mut self, signal: Signal) {
        match self {
            Self::Child(process) => process.signal(signal),
            Self::Unit(unit) => unit.signal(signal),
        }
    }

    /// Its process id, as long as it runs and is known.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Child(process) => process.pid(),
            Self::Unit(unit) => unit.pid(),
        }
    }

    /// Takes in who it says it is. A child is known without.
    ///
    /// # Errors
    /// It cannot be believed.
    pub fn meet(&mut self, told: Option<&Identity>) -> Result<(), String> {
        match (self, told) {
            (Self::Child(_), _) => Ok(()),
            (Self::Unit(unit), Some(told)) => unit.meet(told),
            (Self::Unit(_), None) => Err("did not say which process it is".to_owned()),
        }
    }

    /// The connection is closed: connects again where that is possible.
    ///
    /// # Errors
    /// It is not, or nobody answers.
    pub async fn reconnect(&mut self) -> io::Result<()> {
        match self {
            Self::Child(_) => Err(io::ErrorKind::NotConnected.into()),
            Self::Unit(unit) => unit.call().await,
        }
    }
}
