//! What the StorageMiner API is answered from: the site, made beside each snapshot, and what is looked up on request, in the
//! server's tasks, from the database, the node and the repos. The loop knows nothing of who asks.

use super::{
    observer::Sight,
    reading::{no_sector, quarantined, refused},
    world::World,
};
use crate::{
    api::{Desk, File, Job, Known, Lookup, OnChain, Repo, Room, Secret, Site, Worker},
    clock,
    control::{Cause, Refused, Request},
    error::Chain,
    host::memory::Memory,
    manifest::Node,
    outbox::{Batch, BatchState},
    plan::{Assignee, RepoSeen},
    repo::{self, Kind, RepoError},
    sector::{MessageId, State},
    status::{Snapshot, sectors::HistoryLine},
    store::{HistoryEntry, Store, StoreError},
    supervisor::WorkerView,
    units::{MinerId, SectorNumber},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use std::{collections::BTreeSet, num::NonZeroUsize, sync::Arc};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::spawn_blocking,
};

/// What is shown at the manifest's address, and what keeps it from being shown.
#[derive(Debug, Default)]
pub struct Front {
    /// Why nothing can be listened to there.
    pub listening: watch::Sender<Option<String>>,
    /// Why the API takes no tokens.
    pub tokens: Option<String>,
    /// What the API is answered from.
    pub site: watch::Sender<Option<Arc<Site>>>,
}

/// Looks at repos at the same time: one behind a network may keep its thread for long.
const LOOKS: usize = 4;

impl World {
    /// What the API is answered with, at the address of the manifest.
    pub(super) fn desk_of_api(
        &mut self,
        node: Node,
        status: watch::Receiver<Arc<Snapshot>>,
        requests: mpsc::Sender<Request>,
    ) -> Desk {
        let secret = Secret::read_or_make(&self.manifest.state.dir).map_err(|error| Chain(&error).to_string());
        if let Err(why) = &secret {
            tracing::error!(reason = %why, "the API takes no tokens");
        }
        self.front.tokens = secret.as_ref().err().cloned();
        let clerk = Clerk {
            store: self.store.clone(),
            sight: self.sight.clone(),
            status: status.clone(),
            looks: Semaphore::new(LOOKS),
        };
        Desk {
            secret,
            site: self.front.site.subscribe(),
            status,
            lookup: Arc::new(clerk),
            requests,
            address: node.address,
            host: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
            session: uuid::Uuid::new_v4(),
            began: clock::now(),
            pledging: Semaphore::new(1),
        }
    }

    /// The site as it is now, for the API if there is one. `snapshot` was made of the same world.
    pub(super) fn show_site(&self, snapshot: &Snapshot) {
        let Some(node) = self.manifest.node else { return };
        let views = self.supervisor.views();
        self.front.site.send_replace(Some(Arc::new(Site {
            access: node.api,
            miner: snapshot.miner,
            sector_size: self.desired.sector_size,
            next_number: self.next_number(),
            workers: self.desired.workers().map(|who| self.worker(who, &views)).collect(),
            repos: self.sites_repos(snapshot),
        })));
    }

    fn worker(&self, who: Assignee, views: &[WorkerView]) -> Worker {
        let view = views.iter().find(|view| view.id.slot == who.slot && view.id.instance == who.instance);
        let runs = view.is_some_and(|view| matches!(view.state, "starting" | "idle" | "busy"));
        let task = self.tasks.iter().find(|(_, task)| task.worker == who);
        let job = task.map(|(task, of)| Job { task: *task, sector: of.number, stage: of.stage, since: of.started });
        let memory = job.as_ref().and_then(|job| self.machine.memory().peaks.get(&job.stage).copied());
        let all = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let cpus = self.machine.cpus(&who).map_or_else(all, |cpus| cpus.len());
        Worker {
            stages: self.desired.slot_of(&who).map(|wish| wish.stages.clone()).unwrap_or_default(),
            enabled: runs && self.desired.held.of(&who).is_none(),
            cpus: u64::try_from(cpus).unwrap_or(u64::MAX),
            gpu: self.machine.gpu(&who).map(str::to_owned),
            memory: memory.unwrap_or_default(),
            job,
            who,
        }
    }

    fn sites_repos(&self, snapshot: &Snapshot) -> Vec<Repo> {
        let repos = self.manifest.repos.iter().map(|(name, wish)| {
            let desk = self.repos.get(name);
            let id = desk.and_then(|desk| desk.repo.as_ref()).map_or(name.as_str(), |repo| repo.uuid());
            let reserved = snapshot.repos.iter().find(|status| status.name == *name).map(|status| status.reserved);
            let room = match desk.map(|desk| (&desk.seen, desk.capacity)) {
                Some((RepoSeen::Open(room), capacity)) => Ok(Room {
                    capacity,
                    free: room.free,
                    left: room.left(),
                    used: room.used,
                    reserved: reserved.unwrap_or_default(),
                }),
                Some((RepoSeen::Unusable { why, .. }, _)) => Err(why.clone()),
                Some((RepoSeen::Closed, _)) | None => Err("it is not opened yet".to_owned()),
            };
            Repo {
                id: id.to_owned(),
                path: wish.path.clone(),
                seal: wish.seal,
                store: wish.store,
                weight: wish.weight,
                max_use: wish.max_use,
                room,
            }
        });
        repos.collect()
    }
}

/// Looks things up.
struct Clerk {
    store: Store,
    sight: watch::Receiver<Sight>,
    status: watch::Receiver<Arc<Snapshot>>,
    looks: Semaphore,
}

impl Clerk {
    async fn known(&self, number: SectorNumber) -> Result<Known, Refused> {
        let record = self.store.sector(number).await.map_err(|error| unread(number, error))?;
        let record = record.ok_or_else(|| no_sector(number))?;
        let history = self.store.history(number).await.map_err(|error| unread(number, error))?.into_iter();
        let history = history.map(|HistoryEntry { at, event, applied }| HistoryLine { at, event, applied }).collect();
        let precommit = self.cid(record.precommit.as_ref().and_then(|sent| sent.message.as_ref())).await?;
        let commit = self.cid(record.commit.as_ref().and_then(|sent| sent.message.as_ref())).await?;
        Ok(Known { record, history, precommit, commit })
    }

    /// The chain message of a batch: the one that executed, else the last one that was handed over.
    async fn cid(&self, id: Option<&MessageId>) -> Result<Option<String>, Refused> {
        let Some(id) = id else { return Ok(None) };
        Ok(self.store.batch(id).await.map_err(refused)?.and_then(carrier))
    }

    async fn chain_has(&self, number: SectorNumber) -> Result<Option<OnChain>, Refused> {
        let why = |error: &str, help: &str| Refused::new(Cause::Unavailable, error, help);
        let waits = |what: &str| why(what, "`seald status` says what it waits for");
        let miner = self.status.borrow().miner.ok_or_else(|| waits("the miner is not known yet"))?;
        let (client, view) = {
            let sight = self.sight.borrow();
            (sight.client.clone(), sight.view.clone())
        };
        let (Some(client), Some(view)) = (client, view) else { return Err(waits("the chain was not read yet")) };
        let help = "look at the node that chain.endpoints of the manifest names";
        let terms = client.sector_terms(miner, number, &view.head).await;
        let Some(terms) = terms.map_err(|error| why(&Chain(&error).to_string(), help))? else { return Ok(None) };
        // a node that does not say it does not make the rest unknown, with Lotus neither
        let ends = client.ends(miner, number, &view.head).await.ok();
        Ok(Some(OnChain { terms, ends }))
    }

    async fn list(&self, repo: Repo) -> Result<Vec<File>, Refused> {
        let listing = self.look(move || repo::sectors_at(&repo.path, &repo.id)).await?;
        let file = |((miner, number), kinds): (&(MinerId, SectorNumber), &BTreeSet<Kind>)| File {
            miner: *miner,
            number: *number,
            kinds: bits(kinds),
        };
        // notes of ours are nothing to Lotus
        Ok(listing.sectors.iter().map(file).filter(|file| file.kinds != 0).collect())
    }

    /// Looks at a repo, which may take as long as its file system likes.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Result<T, RepoError> + Send + 'static,
    ) -> Result<T, Refused> {
        let why = |error: &str| Refused::new(Cause::Unavailable, error, "look at the repo's file system");
        let _place = self.looks.acquire().await.map_err(|_| why("seald is ending"))?;
        let seen = spawn_blocking(look).await.map_err(|_| why("seald is ending"))?;
        seen.map_err(|error| why(&Chain(&error).to_string()))
    }
}

fn bits(kinds: &BTreeSet<Kind>) -> u8 {
    kinds.iter().fold(0, |bits, kind| bits | bit(*kind))
}

/// Source: Lotus, `storiface.SectorFileType`.
const fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::Unsealed => 1,
        Kind::Sealed => 2,
        Kind::Cache => 4,
        Kind::Work => 0,
    }
}

fn carrier(batch: Batch) -> Option<String> {
    match batch.state {
        BatchState::Landed(executed) | BatchState::Settled(executed) => Some(executed.cid),
        BatchState::Open { .. } | BatchState::Sealed | BatchState::Sent | BatchState::Dissolved { .. } => {
            batch.sent.map(|sent| sent.cid)
        }
    }
}

fn unread(number: SectorNumber, error: StoreError) -> Refused {
    if let StoreError::Unreadable { error, .. } = &error { quarantined(number, error) } else { refused(error) }
}

impl Lookup for Clerk {
    fn sectors(&self) -> BoxFuture<'_, Result<Vec<(SectorNumber, State)>, Refused>> {
        async {
            let states = self.store.states().await.map_err(refused)?;
            // a state that this version does not know has no name in Lotus
            Ok(states.into_iter().filter_map(|(number, state)| Some((number, state.parse().ok()?))).collect())
        }
        .boxed()
    }

    fn sector(&self, number: SectorNumber) -> BoxFuture<'_, Result<Known, Refused>> {
        self.known(number).boxed()
    }

    fn on_chain(&self, number: SectorNumber) -> BoxFuture<'_, Result<Option<OnChain>, Refused>> {
        self.chain_has(number).boxed()
    }

    fn files(&self, repo: Repo) -> BoxFuture<'_, Result<Vec<File>, Refused>> {
        self.list(repo).boxed()
    }

    fn kinds(&self, repo: Repo, miner: MinerId, number: SectorNumber) -> BoxFuture<'_, Result<u8, Refused>> {
        async move {
            let seen = self.look(move || repo::files_at(&repo.path, &repo.id, miner, number)).await?;
            Ok(bits(&seen))
        }
        .boxed()
    }

    fn memory(&self) -> Memory {
        Memory::now()
    }
}
