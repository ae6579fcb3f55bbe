//! `seald init`: the part of the plan that must be done before sealing can start, then the end.

use super::{Global, ProverArgs, failure::Outcome, unconnected};
use clap::Args;

/// Arguments of `seald init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The prover.
    #[command(flatten)]
    pub prover: ProverArgs,
}

/// Runs `seald init`.
///
/// # Errors
/// Something could not be made or found.
pub fn run(_: &Global, _: &InitArgs) -> Outcome {
    Err(unconnected("init"))
}
