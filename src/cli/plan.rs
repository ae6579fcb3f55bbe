//! `seald plan`: what a reload would do. Changes nothing.

use super::{Global, failure::Outcome, unconnected};
use clap::Args;

/// Arguments of `seald plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `seald plan`: `Exit::Well` when there is nothing to do, `Exit::Pending` when there is.
///
/// # Errors
/// The manifest has problems, or what is cannot be read.
pub fn run(_: &Global, _: &PlanArgs) -> Outcome {
    Err(unconnected("plan"))
}
