//! `seald run`: the daemon in the foreground. On a terminal the live view shows its work and the log goes to a file
//! in the state folder; elsewhere changes go to stdout and the log to the journal or stderr.

use super::{
    Global, ProverArgs,
    failure::{Exit, Failure, OrHelp as _, Outcome, print},
    live::{self, Output},
    log, state_dir,
};
use crate::{
    clock,
    daemon::{self, DaemonError, Ending, Options},
    status::{Snapshot, text},
};
use clap::Args;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Arguments of `seald run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// End with 0 and a summary once every declared target is proven on chain
    #[arg(long)]
    pub until_target: bool,
    /// Without a manifest, start all the same, say what to write, and wait for `seald reload`
    #[arg(long)]
    pub wait_for_manifest: bool,
    /// Milliseconds of an epoch of the devnet that this daemon starts, for tests
    #[arg(long, hide = true, value_name = "MS")]
    pub devnet_epoch_ms: Option<u64>,
    /// The prover.
    #[command(flatten)]
    pub prover: ProverArgs,
}

/// How long threads get that still wait for a disk when everything else has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs `seald run`.
///
/// # Errors
/// The daemon could not start or had to end.
pub fn run(global: &Global, args: &RunArgs) -> Outcome {
    let source = global.source()?;
    let waits = args.wait_for_manifest && source.is_unwritten();
    let proposal = if waits { None } else { Some(global.propose().map_err(|wrong| wrong.exit(Exit::Configuration))?) };
    let declared = proposal.as_ref().map(|proposal| proposal.loaded.manifest.state.dir.clone());
    let state_dir = declared.unwrap_or_else(|| state_dir::find(global));
    let help = format!("let this user make {}, or set state.dir", state_dir.display());
    daemon::lock::make_folder(&state_dir).or_help(&help)?;
    let log_file = state_dir.join(log::FILE);
    let sink = log::Sink::choose_for_run(log_file);
    log::start(global.log.as_deref().unwrap_or("info"), &sink)?;
    for warning in proposal.iter().flat_map(|proposal| &proposal.loaded.warnings) {
        tracing::warn!("{warning}");
    }
    let options = Options {
        source,
        proposal,
        state_dir,
        prover: args.prover.prover(),
        until: if args.until_target { daemon::Until::Target } else { daemon::Until::Asked },
        devnet_epoch_ms: args.devnet_epoch_ms,
    };
    let started = clock::monotonic();
    let runtime = super::runtime()?;
    let (ending, last) = runtime.block_on(watched(options, Output::choose(&sink)));
    // a file system that does not answer may hold a thread for ever; whatever was to be kept was waited for
    runtime.shutdown_timeout(LAST_WORDS);
    match ending {
        Ok(Ending::Reached) => {
            print(&text::summary(&last, started.elapsed()))?;
            Ok(Exit::Well)
        }
        Ok(Ending::Asked) => Ok(Exit::Well),
        Err(error) => Err(explained(error)),
    }
}

/// The daemon with its view beside it; ends with the daemon.
async fn watched(options: Options, output: Output) -> (Result<Ending, DaemonError>, Arc<Snapshot>) {
    let (show, shown) = watch::channel(Arc::new(Snapshot::empty(clock::now())));
    let last = shown.clone();
    let view = live::show(shown, output);
    let (ending, ()) = tokio::join!(daemon::run(options, show), view);
    let snapshot = last.borrow().clone();
    (ending, snapshot)
}

/// An error of the daemon with what to do about it.
pub fn explained(error: DaemonError) -> Failure {
    let help = match &error {
        DaemonError::Start(_) | DaemonError::Control(_) => "correct what is named here, then start seald again",
        DaemonError::Store(_) => {
            "see that the database can be reached and its disk has space, then start seald again: it goes on where it was"
        }
        DaemonError::Signals(_) | DaemonError::Observer => {
            "start seald again: it goes on where it was; please report this"
        }
    };
    Failure::of(error, help)
}
