//! `seald info`: the miner on chain.

use super::{
    Global, colour,
    failure::{Exit, Outcome, print, print_json},
    unconnected,
};
use crate::status::info::InfoReport;
use clap::Args;

/// Arguments of `seald info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `seald info`.
///
/// # Errors
/// The chain or the database cannot be read.
pub fn run(global: &Global, args: &InfoArgs) -> Outcome {
    let report = read(global)?;
    if args.json {
        print_json(&report)?
    } else {
        print(&report.render(colour()))?
    }
    Ok(Exit::Well)
}

/// Asks the chain and the database.
fn read(_: &Global) -> Outcome<InfoReport> {
    Err(unconnected("info"))
}
