//! `seald worker`: one instance of a slot. Started by the daemon, never by hand.

use super::{Global, failure::Outcome, unconnected};
use crate::{
    proofs::Prover,
    units::{Bytes, SlotName},
};
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
    /// The prover it runs
    #[arg(long, value_name = "PROVER", value_parser = prover)]
    pub prover: Prover,
    /// The only processors it may run on, such as 0,1,2,3; absent means all
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub cpus: Option<Vec<u32>>,
    /// Most memory it may use, such as 72GiB
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Bytes>,
}

fn prover(word: &str) -> Result<Prover, String> {
    let known = [Prover::Real, Prover::Simulated].into_iter().find(|prover| prover.as_str() == word);
    known.ok_or_else(|| "a prover is `real` or `simulated`".to_owned())
}

/// Runs `seald worker`.
///
/// # Errors
/// Stdin is not a socket to a daemon, or the daemon broke the protocol.
pub fn run(_: &Global, _: &WorkerArgs) -> Outcome {
    Err(unconnected("worker"))
}
