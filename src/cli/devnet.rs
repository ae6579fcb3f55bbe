//! `seald devnet`: a local chain in a box.

use super::{
    Global, ProverArgs,
    failure::{Exit, Failure, Outcome},
};
use crate::devnet::{self, Options};
use clap::Args;
use std::{net::SocketAddr, path::PathBuf};

/// Arguments of `seald devnet`.
#[derive(Debug, Args)]
pub struct DevnetArgs {
    /// Folder of its chain; made when it is not there
    #[arg(long, value_name = "DIR", default_value = "devnet-chain")]
    pub dir: PathBuf,
    /// Address it serves JSON-RPC on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1234")]
    pub listen: SocketAddr,
    /// Milliseconds from one epoch to the next
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub epoch_ms: u64,
    /// Make an epoch only when asked to over its fault API
    #[arg(long, conflicts_with = "epoch_ms")]
    pub manual: bool,
    /// Begin a new chain with a miner and its sealed sectors: the JSON file of a pre-seal
    #[arg(long, value_name = "FILE")]
    pub presealed: Option<PathBuf>,
    /// End when stdin closes: the daemon that started it is gone
    #[arg(long, hide = true)]
    pub attached: bool,
    /// The prover.
    #[command(flatten)]
    pub prover: ProverArgs,
}

/// Runs `seald devnet`.
///
/// # Errors
/// The chain cannot be opened or served.
pub fn run(_: &Global, args: &DevnetArgs) -> Outcome {
    let options = Options {
        dir: args.dir.clone(),
        listen: args.listen,
        epoch_ms: args.epoch_ms,
        manual: args.manual,
        presealed: args.presealed.clone(),
        prover: args.prover.prover(),
        attached: args.attached,
    };
    let ended = super::runtime()?.block_on(devnet::run(options));
    ended.map(|()| Exit::Well).map_err(|error| {
        Failure::new(format!("{error:#}"), "correct what is named here and start it again: its chain is kept")
    })
}
