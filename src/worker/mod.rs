//! The worker process: takes jobs over its socket, runs them, reports. Knows neither chain nor database.
//!
//! [`serve`] is the process; [`jobs`] are the stages and the rules about their files, which live nowhere else.

mod aggregate;
mod confine;
mod files;
mod finalize;
mod folder;
mod footprint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod group;
pub mod jobs;
mod ledger;
mod link;
mod options;
pub mod process;
pub mod protocol;
mod remove;
mod sandbox;
mod serve;

pub use link::Life;
pub use options::Options;
pub use serve::{INVOCATION, end_with_parent, serve};
