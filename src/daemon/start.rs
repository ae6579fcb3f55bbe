//! Everything before the first turn: state folder, lock, database, and what they remember.

use super::{
    generation::{InForce, Proposal, Source},
    lock::{LockError, StateLock},
    machine::Machine,
    observer::{Questions, Sight},
    site::Front,
    waits::Waits,
    workers,
    world::{MOVES, World},
};
use crate::{
    book::Book,
    clock,
    manifest::{ChainSource, Manifest},
    plan::{self, Desired, Funds, MinerSeen, Observed, ParamsSeen},
    proofs::{Prover, params},
    sector::Stage,
    store::{Store, StoreError},
    supervisor::{Places, Supervisor, WorkerEvent},
    units::{Bytes, UnixMillis},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
};

/// What ends the daemon, besides a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Nothing.
    Asked,
    /// Repos, chain, miner and parameters are there. Nothing is sealed.
    Prepared,
    /// Every declared target is proven on chain.
    Target,
}

/// How the daemon shall run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the manifest is read again.
    pub source: Source,
    /// What it says now; absent while nobody has written one, and then it is waited for.
    pub proposal: Option<Proposal>,
    /// The state folder while there is no manifest.
    pub state_dir: PathBuf,
    /// Which prover workers and devnet run.
    pub prover: Prover,
    /// What ends it, besides a signal.
    pub until: Until,
    /// Milliseconds of a devnet epoch, for tests.
    pub devnet_epoch_ms: Option<u64>,
}

/// The daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another one runs, or the state folder cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The simulated prover is for devnets.
    #[error(
        "the simulated prover proves nothing, and chain.endpoints names a real network: use it with chain.devnet = true"
    )]
    SimulatedOnRealNetwork,
    /// A database that others can reach is another daemon's.
    #[error(
        "the database belongs to the seald of {owner}, and this version runs one daemon to a database: \
         if that one is gone for good, delete the row `{OWNER}` of its table `settings`"
    )]
    Owned {
        /// Host and state folder.
        owner: String,
    },
    /// This build has no proofs.
    #[error(
        "this seald was built without the cargo feature `proofs`: it can only run with simulated proofs on a devnet"
    )]
    NoProofs,
}

pub(super) type Started = (World, StateLock, watch::Sender<Sight>, watch::Receiver<Questions>);

/// The world as the last run left it.
pub(super) async fn world(
    source: Source,
    proposal: Proposal,
    prover: Prover,
    events: mpsc::Sender<WorkerEvent>,
) -> Result<Started, StartError> {
    let manifest = proposal.loaded.manifest.clone();
    may_run(prover, &manifest)?;
    for refused in crate::host::limits::raise() {
        tracing::warn!(reason = %refused, "a limit is not raised");
    }
    let lock = StateLock::take(&manifest.state.dir).await?;
    let store = Store::open(manifest.state.url.as_str()).await?;
    own(&store, &manifest).await?;
    let in_force = InForce::at_start(&store, source, proposal).await?;
    let manifest = in_force.proposal.loaded.manifest.clone();
    if matches!(manifest.chain.source, ChainSource::Endpoints(_)) {
        tracing::warn!("this version submits no window PoSt: something else must keep the sectors proven");
    }
    let size = manifest.miner.sector_size;
    let durations = durations(&store, size).await?;
    let places = Places::of(&manifest.state.dir);
    let (sight_tx, sight) = watch::channel(Sight::default());
    let (questions, questions_rx) = watch::channel(Questions::default());
    let mut world = World {
        desired: super::requests::desired(&manifest, &store).await?,
        prover,
        book: Book::default(),
        gone: BTreeMap::new(),
        batch_pauses: BTreeMap::new(),
        miner: None,
        miner_seen: MinerSeen::Unknown,
        miner_errand: false,
        miner_step: "asking the chain".to_owned(),
        miner_pause: None,
        params: params_seen(prover, &manifest),
        params_pause: None,
        params_task: None,
        machine: Machine::new(peaks(&store, size).await?),
        repos: BTreeMap::new(),
        highest_on_disk: None,
        highest_in_store: None,
        life: workers::life(manifest.workers.launcher, &places),
        supervisor: Supervisor::new(workers::program(), places, events),
        devnet: None,
        devnet_started: false,
        started: BTreeSet::new(),
        tasks: BTreeMap::new(),
        unplaced: BTreeMap::new(),
        aggregating: BTreeMap::new(),
        suspects: BTreeMap::new(),
        // more than a thousand jobs a millisecond are not given
        last_task: u64::try_from(clock::now().as_i64()).unwrap_or(0).saturating_mul(1_000),
        errands: JoinSet::new(),
        errand_of: BTreeMap::new(),
        handling: BTreeSet::new(),
        pauses: BTreeMap::new(),
        sight,
        questions,
        durations,
        unreadable: Vec::new(),
        stale: true,
        waits: Waits::new(clock::monotonic()),
        store_trouble: None,
        moves: broadcast::Sender::new(MOVES),
        front: Front::default(),
        operators: watch::Sender::new(manifest.control.operator_group.clone()),
        in_force,
        manifest: Arc::new(manifest),
        store,
    };
    world.reload().await?;
    world.keep_held().await?;
    Ok((world, lock, sight_tx, questions_rx))
}

/// Whether this prover is for this chain, and in this build.
fn may_run(prover: Prover, manifest: &Manifest) -> Result<(), StartError> {
    match prover {
        Prover::Simulated if manifest.chain.source != ChainSource::Devnet => Err(StartError::SimulatedOnRealNetwork),
        Prover::Real if cfg!(not(feature = "proofs")) => Err(StartError::NoProofs),
        Prover::Simulated | Prover::Real => Ok(()),
    }
}

/// The setting that names the daemon of a database.
const OWNER: &str = "owner";

/// A SQLite file is kept to one daemon by the lock of the state folder; a server is reached from other hosts too.
async fn own(store: &Store, manifest: &Manifest) -> Result<(), StartError> {
    if manifest.state.url.sqlite_path().is_some() {
        return Ok(());
    }
    let host = nix::unistd::gethostname().unwrap_or_default();
    let me = format!("{} in {}", host.to_string_lossy(), manifest.state.dir.display());
    match store.setting(OWNER).await? {
        Some(owner) if owner != me => Err(StartError::Owned { owner }),
        Some(_) => Ok(()),
        None => Ok(store.set_setting(OWNER, &me).await?),
    }
}

fn params_seen(prover: Prover, manifest: &Manifest) -> ParamsSeen {
    let ready = prover == Prover::Simulated || params::ready(manifest.miner.sector_size, &manifest.params.dir);
    if ready { ParamsSeen::Ready } else { ParamsSeen::Missing }
}

async fn durations(store: &Store, size: crate::units::SectorSize) -> Result<BTreeMap<Stage, u64>, StoreError> {
    let stages = [Stage::PreCommit1, Stage::PreCommit2, Stage::Commit, Stage::Finalize];
    let known = store.durations().await?;
    let of = |stage: Stage| known.iter().find(|(name, of, _, _)| name == stage.as_str() && *of == size);
    Ok(stages.into_iter().filter_map(|stage| of(stage).map(|(_, _, mean, _)| (stage, *mean))).collect())
}

async fn peaks(store: &Store, size: crate::units::SectorSize) -> Result<BTreeMap<Stage, Bytes>, StoreError> {
    let known = store.peaks().await?;
    let of = |stage: Stage| known.iter().find(|(name, of, _)| name == stage.as_str() && *of == size);
    let stages = [Stage::PreCommit1, Stage::PreCommit2, Stage::Commit, Stage::Finalize];
    Ok(stages.into_iter().filter_map(|stage| of(stage).map(|(_, _, bytes)| (stage, *bytes))).collect())
}

/// What is wanted, and what can be seen without starting anything, for `seald plan`: the database, if there is one, and
/// the parameters. Workers, repos and chain count as not there: the plan says all that a start would do.
///
/// # Errors
/// The database is there but cannot be read.
pub async fn offline(manifest: &Manifest, now: UnixMillis) -> Result<(Desired, Observed), StoreError> {
    let (desired, records, quarantined, miner) = match Store::open_read_only(manifest.state.url.as_str()).await {
        Ok(store) => {
            let desired = super::requests::desired(manifest, &store).await?;
            let (records, unreadable) = store.sectors().await?;
            (desired, records, unreadable.len(), store.setting(super::miner::MINER).await?)
        }
        Err(StoreError::Missing { .. }) => (Desired::of(manifest), Vec::new(), 0, None),
        Err(error) => return Err(error),
    };
    let seen = |record: crate::sector::Record| plan::SectorSeen { record, facts: None, busy: None };
    let observed = Observed {
        now,
        chain: None,
        base_fee: crate::units::AttoFil::ZERO,
        chain_trouble: Some("`seald plan` does not ask it".to_owned()),
        devnet_running: false,
        miner: if miner.is_some() { MinerSeen::Known } else { MinerSeen::Unknown },
        params: params_seen(Prover::Real, manifest),
        repos: BTreeMap::new(),
        workers: BTreeMap::new(),
        sectors: records.into_iter().map(|record| (record.number, seen(record))).collect(),
        batches: BTreeMap::new(),
        quarantined: u64::try_from(quarantined).unwrap_or(u64::MAX),
        funds: Funds::default(),
        contact: plan::ContactSeen::default(),
        network_version: None,
        next_number: None,
        durations: BTreeMap::new(),
        running: BTreeMap::new(),
        memory: crate::plan::MemorySeen::default(),
        barred: BTreeMap::new(),
    };
    Ok((desired, observed))
}
