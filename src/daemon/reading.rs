//! What readers of the control socket ask for: answered in the server's tasks, from the database and the node, with the
//! newest snapshot beside it. The loop knows nothing of it.

use super::{
    observer::Sight,
    survey::{Known, survey},
};
use crate::{
    clock,
    control::{Cause, Reading, Refused},
    error::Chain,
    status::{
        DaemonState, Snapshot,
        info::InfoReport,
        sectors::{Choice, HistoryLine, List, Show},
    },
    store::{HistoryEntry, Store, StoreError, Unreadable},
    units::{SectorNumber, UnixMillis},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use std::sync::Arc;
use tokio::sync::watch;

/// The chosen sectors, with what the daemon last said of them.
///
/// # Errors
/// The database does not answer.
pub async fn list(store: &Store, choice: &Choice, last: Option<&Snapshot>) -> Result<List, StoreError> {
    let (records, unreadable) = store.sectors().await?;
    let unreadable = unreadable.into_iter().map(|Unreadable { what, error }| format!("{what}: {error}")).collect();
    Ok(List::new(&records, unreadable, choice, last))
}

/// Everything about one sector, its history oldest first; `None` when there is none of that number.
///
/// # Errors
/// The database does not answer, or the sector's row cannot be read.
pub async fn show(
    store: &Store,
    number: SectorNumber,
    daemon: DaemonState,
    last: Option<&Snapshot>,
) -> Result<Option<Show>, StoreError> {
    let Some(record) = store.sector(number).await? else { return Ok(None) };
    let history = store.history(number).await?.into_iter();
    let history = history.map(|HistoryEntry { at, event, applied }| HistoryLine { at, event, applied });
    Ok(Some(Show::new(record, history.collect(), daemon, last)))
}

/// Reads for the control socket.
pub(super) struct Reader {
    pub store: Store,
    pub sight: watch::Receiver<Sight>,
    pub status: watch::Receiver<Arc<Snapshot>>,
    /// Since when the daemon runs.
    pub running_since: UnixMillis,
}

impl Reading for Reader {
    fn sectors(&self, choice: Choice) -> BoxFuture<'_, Result<List, Refused>> {
        let latest = Arc::clone(&self.status.borrow());
        async move { list(&self.store, &choice, Some(&latest)).await.map_err(refused) }.boxed()
    }

    fn sector(&self, number: SectorNumber) -> BoxFuture<'_, Result<Show, Refused>> {
        let latest = Arc::clone(&self.status.borrow());
        async move {
            match show(&self.store, number, DaemonState::Running, Some(&latest)).await {
                Ok(Some(show)) => Ok(show),
                Ok(None) => Err(no_sector(number)),
                Err(StoreError::Unreadable { error, .. }) => Err(quarantined(number, &error)),
                Err(error) => Err(refused(error)),
            }
        }
        .boxed()
    }

    fn info(&self) -> BoxFuture<'_, Result<InfoReport, Refused>> {
        let latest = Arc::clone(&self.status.borrow());
        let client = self.sight.borrow().client.clone();
        async move {
            let why = |error: &str, help: &str| Refused::new(Cause::Unavailable, error, help);
            let miner = latest
                .miner
                .ok_or_else(|| why("the miner is not known yet", "`seald status` says what it waits for"))?;
            let client =
                client.ok_or_else(|| why("the chain was not read yet", "`seald status` says what it waits for"))?;
            let help = "look at the node that chain.endpoints of the manifest names";
            let known = Known {
                at: clock::now(),
                running_since: Some(self.running_since),
                miner,
                states: latest.counts.clone(),
            };
            survey(&client, known).await.map_err(|error| why(&Chain(&error).to_string(), help))
        }
        .boxed()
    }
}

/// The database cannot be read.
pub(super) fn refused(error: StoreError) -> Refused {
    Refused::new(
        Cause::Unavailable,
        Chain(&error).to_string(),
        "look at the database that state.url of the manifest names",
    )
}

/// There is no such sector.
pub fn no_sector(number: SectorNumber) -> Refused {
    let why = format!("there is no sector {number}");
    Refused::new(Cause::Unknown, why, "`seald sectors list` shows the sectors there are")
}

/// Its record cannot be read.
pub fn quarantined(number: SectorNumber, error: &str) -> Refused {
    let why = format!("sector {number} is quarantined, its record cannot be read: {error}");
    Refused::new(
        Cause::Conflict,
        why,
        "restore the database from a backup; seald seals the others, and keeps this one's files",
    )
}
