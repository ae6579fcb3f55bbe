//! `seald init`: only the part of the plan that must be done before sealing starts, then the end: repos, devnet,
//! miner, parameters. `seald run` does the same by itself.

use super::{
    Global, ProverArgs,
    failure::{Exit, Outcome, print},
    live::{self, Output},
    log,
    run::explained,
};
use crate::{
    clock,
    daemon::{self, Ending, Options},
    status::Snapshot,
};
use clap::Args;
use std::sync::Arc;
use tokio::sync::watch;

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
pub fn run(global: &Global, args: &InitArgs) -> Outcome {
    let proposal = global.propose()?;
    log::start(global.log.as_deref().unwrap_or("info"), &log::Sink::choose())?;
    let options = Options {
        source: global.source()?,
        state_dir: proposal.loaded.manifest.state.dir.clone(),
        proposal: Some(proposal),
        prover: args.prover.prover(),
        until: daemon::Until::Prepared,
        devnet_epoch_ms: None,
    };
    let (show, shown) = watch::channel(Arc::new(Snapshot::empty(clock::now())));
    let ended = super::runtime()?.block_on(async {
        let (ending, ()) = tokio::join!(daemon::run(options, show), live::show(shown, Output::Lines));
        ending
    });
    match ended {
        Ok(Ending::Reached) => print("everything is prepared: start `seald run`\n").map(|()| Exit::Well),
        Ok(Ending::Asked) => Ok(Exit::Failed),
        Err(error) => Err(explained(error)),
    }
}
