//! `seald run`: the daemon in the foreground. On a terminal the live view shows its work and the log goes to a file
//! in the state folder; elsewhere changes go to stdout and the log to the journal or stderr.

use super::{Global, ProverArgs, failure::Outcome, unconnected};
use clap::Args;

/// Arguments of `seald run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// End with 0 and a summary once every declared target is proven on chain
    #[arg(long)]
    pub until_target: bool,
    /// The prover.
    #[command(flatten)]
    pub prover: ProverArgs,
}

/// Runs `seald run`.
///
/// # Errors
/// The daemon could not start or had to end.
pub fn run(_: &Global, _: &RunArgs) -> Outcome {
    Err(unconnected("run"))
}
