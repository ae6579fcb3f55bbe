//! What readers of the control socket ask for: answered in the server's tasks, from the database and the node, with the
//! newest snapshot beside it. The loop knows nothing of it.

use super::{
    observer::Sight,
    standing::{self, Whom},
    survey::{Known, survey},
};
use crate::{
    chain::cids,
    clock,
    control::{Cause, Reading, Refused},
    error::Chain,
    outbox::BatchState,
    sector::{MessageId, Record},
    status::{
        DaemonState, Snapshot,
        info::InfoReport,
        sectors::{Choice, HistoryLine, List, Names, OnChain, Show},
    },
    store::{HistoryEntry, Store, StoreError, Unreadable},
    units::{SectorNumber, UnixMillis},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use std::sync::Arc;
use tokio::sync::watch;

/// The chosen sectors, with what the daemon last said of them, and without what only the chain knows.
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
    let names = names(store, &record).await?;
    Ok(Some(Show { names, ..Show::new(record, history.collect(), daemon, last) }))
}

/// What the chain calls the commitments and messages of a sector.
async fn names(store: &Store, record: &Record) -> Result<Names, StoreError> {
    let Record { sealed, precommit, commit, termination, .. } = record;
    Ok(Names {
        comm_d: sealed.as_ref().map(|sealed| cids::unsealed(sealed.comm_d).to_string()),
        comm_r: sealed.as_ref().map(|sealed| cids::sealed(sealed.comm_r).to_string()),
        precommit: cid_of(store, precommit.as_ref().and_then(|p| p.message.as_ref())).await?,
        commit: cid_of(store, commit.as_ref().and_then(|c| c.message.as_ref())).await?,
        termination: cid_of(store, termination.as_ref().and_then(|t| t.message.as_ref())).await?,
    })
}

/// The CID of a message: of what executed, or else of what a node took last.
async fn cid_of(store: &Store, id: Option<&MessageId>) -> Result<Option<String>, StoreError> {
    let Some(id) = id else { return Ok(None) };
    let Some(batch) = store.batch(id).await? else { return Ok(None) };
    Ok(match batch.state {
        BatchState::Landed(executed) | BatchState::Settled(executed) => Some(executed.cid),
        BatchState::Open { .. } | BatchState::Sealed | BatchState::Sent | BatchState::Dissolved { .. } => {
            batch.sent.map(|sent| sent.cid)
        }
    })
}

/// Reads for the control socket.
pub(super) struct Reader {
    pub store: Store,
    pub sight: watch::Receiver<Sight>,
    pub status: watch::Receiver<Arc<Snapshot>>,
    /// Since when the daemon runs.
    pub running_since: UnixMillis,
}

impl Reader {
    /// Whom to ask, as far as the chain was read.
    fn whom(&self) -> Whom {
        let miner = self.status.borrow().miner.ok_or("the miner is not known yet")?;
        let client = self.sight.borrow().client.clone().ok_or("the chain was not read yet")?;
        Ok((client, miner))
    }
}

/// The chain cannot be asked, or gives no answer.
fn away(error: &str) -> Refused {
    Refused::new(Cause::Unavailable, error, "`seald status` says what it waits for")
}

const NODE: &str = "look at the node that chain.endpoints of the manifest names";

impl Reading for Reader {
    fn sectors(&self, choice: Choice) -> BoxFuture<'_, Result<List, Refused>> {
        let latest = Arc::clone(&self.status.borrow());
        let whom = self.whom();
        async move {
            let list = list(&self.store, &choice, Some(&latest)).await.map_err(refused)?;
            Ok(if choice.fast { list } else { standing::with_chain(list, whom).await })
        }
        .boxed()
    }

    fn on_chain(&self, number: SectorNumber) -> BoxFuture<'_, Result<OnChain, Refused>> {
        let whom = self.whom();
        async move {
            let (client, miner) = whom.map_err(|error| away(&error))?;
            let found = standing::on_chain(&client, miner, number).await;
            found.map_err(|error| Refused::new(Cause::Unavailable, Chain(&error).to_string(), NODE))
        }
        .boxed()
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
        let states = self.status.borrow().counts.clone();
        let whom = self.whom();
        async move {
            let (client, miner) = whom.map_err(|error| away(&error))?;
            let known = Known { at: clock::now(), running_since: Some(self.running_since), miner, states };
            let found = survey(&client, known).await;
            found.map_err(|error| Refused::new(Cause::Unavailable, Chain(&error).to_string(), NODE))
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
