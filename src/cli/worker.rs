//! `seald worker`: one instance of a slot. Started by the daemon, never by hand.

use super::{Global, ProverArgs, failure::Outcome, unconnected};
use crate::units::{Bytes, SlotName};
use clap::Args;

/// Arguments of `seald worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Its slot
    #[arg(long, value_name = "NAME")]
    pub slot: SlotName,
    /// Which instance of the slot, from 0
    #[arg(long, value_name = "N")]
    pub instance: u32,
    /// Cores it may use, such as 0-31,40
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<String>,
    /// Most memory it may use, such as 72GiB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Bytes>,
    /// The prover.
    #[command(flatten)]
    pub prover: ProverArgs,
}

/// Runs `seald worker`.
///
/// # Errors
/// Stdin is not a socket to a daemon, or the daemon broke the protocol.
pub fn run(_: &Global, _: &WorkerArgs) -> Outcome {
    Err(unconnected("worker"))
}
