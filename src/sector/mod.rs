//! The life of one sector: its states, the events that move it, and the one table that says how.
//!
//! Pure: facts come in, the next state or the next wish comes out. Nothing here talks to a disk, a chain
//! or a clock, and nothing outside this module decides where a sector goes.

mod active;
pub mod deadlines;
pub mod exit_code;
mod expiration;
mod facts;
mod machine;
mod next;
pub mod operator;
pub mod policy;
mod record;
#[cfg(test)]
pub(crate) mod tests;

pub use expiration::{PROVE_COMMIT_WINDOW, expiration};
pub use facts::{ChainNow, Facts, MessageView, OnChainPreCommit, OnChainSector, is_stale};
pub use machine::{EDGES, Event, EventKind, State};
pub use next::{Next, Wait, WakeUp, next};
pub use policy::Policy;
pub use record::{
    Activation, Attempt, Class, Commit, Failure, Landed, MessageId, PreCommit, Record, Refused, Sealed, Seed, Stage,
    Termination, Ticket,
};
