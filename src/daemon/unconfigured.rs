//! The daemon before anybody has written a manifest: it says so, and waits to be told to read one.

use super::{
    DaemonError, NOT_CONFIGURED,
    generation::{Proposal, Source, listed, refused},
    report, tell_service,
};
use crate::{
    clock,
    control::{Answer, Ask, Cause, Feed, ManifestOrder, Reading, Refused, Request},
    status::{
        Alarm, Snapshot,
        info::InfoReport,
        sectors::{Choice, List, Show},
    },
    units::SectorNumber,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::{path::Path, sync::Arc};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
    time,
};

/// A manifest at last, and who waits for it to be in force.
pub struct Written {
    /// The manifest.
    pub proposal: Proposal,
    /// Who asked for it.
    pub reply: Asker,
}

/// Who waits for an answer; nobody when it was a signal.
type Asker = Option<oneshot::Sender<Answer>>;

/// Waits for a manifest; `None` when asked to end first. Requests come from the socket that `server` serves.
///
/// # Errors
/// Signals cannot be received.
pub async fn wait(
    source: &Source,
    dir: &Path,
    requests: &mut mpsc::Receiver<Request>,
    show: &watch::Sender<Arc<Snapshot>>,
) -> Result<Option<Written>, DaemonError> {
    use futures_util::StreamExt as _;
    let mut signals = signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(DaemonError::Signals)?;
    tracing::warn!(manifest = %source.path.display(), "{NOT_CONFIGURED}");
    tell_service(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(NOT_CONFIGURED)]);
    let mut reading: JoinSet<(Result<Proposal, String>, Asker)> = JoinSet::new();
    let begin = |reading: &mut JoinSet<_>, reply| {
        let source = source.clone();
        reading.spawn_blocking(move || {
            let problems = |problems: Vec<_>| listed(&problems);
            (source.prepare(None).map(|(proposal, _)| proposal).map_err(problems), reply)
        });
    };
    loop {
        let snapshot = Arc::new(snapshot(source));
        if let Err(error) = report::write(dir, &snapshot) {
            tracing::error!(error = %error, "the status file cannot be written");
        }
        tell_service(&[sd_notify::NotifyState::Watchdog]);
        show.send_replace(Arc::clone(&snapshot));
        // each arm only waits, and none takes more than one item: cancelling loses nothing
        tokio::select! {
            Some(Request { ask, reply }) = requests.recv() => match ask {
                Ask::Manifest(ManifestOrder::Reload) if reading.is_empty() => begin(&mut reading, Some(reply)),
                Ask::Manifest(_) | Ask::Pledge(_) | Ask::PledgeAsDeclared | Ask::Sector { .. } | Ask::Slots { .. } => {
                    drop(reply.send(Err(not_yet())));
                }
            },
            Some(Ok((read, reply))) = reading.join_next() => match read {
                Ok(proposal) => return Ok(Some(Written { proposal, reply })),
                Err(problems) => {
                    let what = format!("the manifest {} cannot be used:{problems}", source.path.display());
                    tracing::error!(reason = what, "the manifest is refused");
                    if let Some(reply) = reply {
                        drop(reply.send(Err(refused(&what, "correct it, then `seald reload`"))));
                    }
                }
            },
            Some(signal) = signals.next() => match signal {
                SIGHUP if reading.is_empty() => begin(&mut reading, None),
                SIGHUP => {}
                signal => {
                    tracing::info!(signal, "asked to end");
                    tell_service(&[sd_notify::NotifyState::Stopping]);
                    return Ok(None);
                }
            },
            () = time::sleep(super::TICK) => {}
        }
    }
}

/// What the control socket is answered from while there is nothing to read.
pub fn feed(status: watch::Receiver<Arc<Snapshot>>) -> Feed {
    let (moves, operators) = (broadcast::Sender::new(1), watch::Sender::new(None).subscribe());
    Feed { status, moves, operators, reading: Arc::new(Nothing) }
}

/// There is no database and no chain yet.
struct Nothing;

impl Reading for Nothing {
    fn sectors(&self, _: Choice) -> BoxFuture<'_, Result<List, Refused>> {
        async { Err(not_yet()) }.boxed()
    }

    fn sector(&self, _: SectorNumber) -> BoxFuture<'_, Result<Show, Refused>> {
        async { Err(not_yet()) }.boxed()
    }

    fn info(&self) -> BoxFuture<'_, Result<InfoReport, Refused>> {
        async { Err(not_yet()) }.boxed()
    }
}

fn not_yet() -> Refused {
    Refused::new(Cause::Unavailable, NOT_CONFIGURED, "write the manifest, then `seald reload`")
}

fn snapshot(source: &Source) -> Snapshot {
    let alarm = Alarm {
        about: "seald".to_owned(),
        what: format!("not configured: {} sets nothing", source.path.display()),
        remedy: format!(
            "write {} (see /usr/share/doc/seald/examples), `seald check`, then `systemctl reload seald`",
            source.path.display()
        ),
    };
    Snapshot { manifest: source.path.display().to_string(), alarms: vec![alarm], ..Snapshot::empty(clock::now()) }
}
