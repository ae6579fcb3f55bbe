//! The daemon before anybody has written a manifest: it says so, and waits to be told to read one.

use super::{
    DaemonError,
    generation::{Prepared, Proposal, Source, listed, refused},
    report, tell_service,
};
use crate::{
    clock,
    control::{Answer, Ask, Cause, Feed, ManifestOrder, Reading, Refused, Request},
    manifest::Problem,
    status::{
        Alarm, Snapshot,
        info::InfoReport,
        sectors::{Choice, List, OnChain, Show},
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
    pub replies: Vec<oneshot::Sender<Answer>>,
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
    let not_configured = not_configured(source);
    tracing::warn!("{not_configured}");
    tell_service(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(&not_configured)]);
    let mut reading: JoinSet<Result<Prepared, Vec<Problem>>> = JoinSet::new();
    // who waits for what is being read, and who asked since: the file may be another one by then
    let (mut asked, mut since): (Vec<Asker>, Vec<Asker>) = (Vec::new(), Vec::new());
    let mut wrong = None;
    loop {
        if reading.is_empty() && !since.is_empty() {
            asked = std::mem::take(&mut since);
            reading.spawn(source.clone().prepare(None));
        }
        let snapshot = Arc::new(snapshot(source, wrong.as_deref()));
        if let Err(error) = report::write(dir, &snapshot) {
            tracing::error!(error = %error, "the status file cannot be written");
        }
        tell_service(&[sd_notify::NotifyState::Watchdog]);
        show.send_replace(Arc::clone(&snapshot));
        // each arm only waits, and none takes more than one item: cancelling loses nothing
        tokio::select! {
            Some(Request { ask, reply }) = requests.recv() => match ask {
                Ask::Manifest(ManifestOrder::Reload) => since.push(Some(reply)),
                Ask::Manifest(ManifestOrder::Preview | ManifestOrder::Rollback) | Ask::Pledge(_) | Ask::PledgeAsDeclared | Ask::Sector { .. } | Ask::Slots { .. } => {
                    drop(reply.send(Err(not_yet(&not_configured))));
                }
            },
            Some(Ok(read)) = reading.join_next() => match read {
                Ok(Prepared { proposal, .. }) if since.is_empty() => {
                    return Ok(Some(Written { proposal, replies: asked.into_iter().flatten().collect() }));
                }
                // read again for those who asked since
                Ok(_) => since.append(&mut asked),
                Err(problems) => {
                    let what = format!("the manifest {} cannot be used:{}", source.path.display(), listed(&problems));
                    tracing::error!(reason = what, "the manifest is refused");
                    for reply in asked.drain(..).flatten() {
                        drop(reply.send(Err(refused(&what, "correct it, then `seald reload`"))));
                    }
                    wrong = Some(what);
                }
            },
            Some(signal) = signals.next() => match signal {
                SIGHUP => since.push(None),
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
pub fn feed(source: &Source, status: watch::Receiver<Arc<Snapshot>>) -> Feed {
    let (moves, operators) = (broadcast::Sender::new(1), watch::Sender::new(None).subscribe());
    Feed { status, moves, operators, reading: Arc::new(Nothing { why: not_configured(source) }) }
}

/// There is no database and no chain yet.
struct Nothing {
    why: String,
}

impl Reading for Nothing {
    fn sectors(&self, _: Choice) -> BoxFuture<'_, Result<List, Refused>> {
        async { Err(not_yet(&self.why)) }.boxed()
    }

    fn sector(&self, _: SectorNumber) -> BoxFuture<'_, Result<Show, Refused>> {
        async { Err(not_yet(&self.why)) }.boxed()
    }

    fn on_chain(&self, _: SectorNumber) -> BoxFuture<'_, Result<OnChain, Refused>> {
        async { Err(not_yet(&self.why)) }.boxed()
    }

    fn info(&self) -> BoxFuture<'_, Result<InfoReport, Refused>> {
        async { Err(not_yet(&self.why)) }.boxed()
    }
}

/// What the service manager and operators are told while there is no manifest.
fn not_configured(source: &Source) -> String {
    format!("not configured: write {}, then `seald reload`", source.path.display())
}

fn not_yet(why: &str) -> Refused {
    Refused::new(Cause::Unavailable, why, "write the manifest, then `seald reload`")
}

fn snapshot(source: &Source, wrong: Option<&str>) -> Snapshot {
    let alarm = Alarm {
        about: "seald".to_owned(),
        what: wrong.map_or_else(|| format!("not configured: {} sets nothing", source.path.display()), str::to_owned),
        remedy: format!(
            "write {} (see /usr/share/doc/seald/examples), `seald check`, then `systemctl reload seald`",
            source.path.display()
        ),
    };
    let manifest = source.overrides.cwd.join(&source.path).display().to_string();
    Snapshot { manifest, alarms: vec![alarm], ..Snapshot::empty(clock::now()) }
}
