//! The one loop: observe, plan, apply, again.
//!
//! Tasks, all owned by [`run`]: the loop itself, which alone changes the [`world`]; the chain [`observer`]; the
//! servers of the control socket and of the network; one task per errand to the node; and one attendant per worker process
//! inside the supervisor. They talk by channels only: `watch` for state (the chain view, the questions to it, the
//! snapshot), bounded `mpsc` for events, a `JoinSet` for errands. Everything is level-triggered: a lost event costs a
//! tick, never a sector.

mod accounts;
mod adopt;
mod apply;
pub(crate) mod compose;
pub mod connect;
mod creation;
pub mod errands;
pub mod generation;
pub mod genesis;
mod holding;
pub mod lock;
mod machine;
mod miner;
pub(crate) mod news;
pub(crate) mod observe;
pub mod observer;
pub mod reading;
mod reloading;
pub mod report;
mod requests;
mod site;
pub mod standing;
mod start;
pub mod survey;
#[cfg(test)]
mod tests;
mod unconfigured;
mod waits;
mod workers;
pub mod world;

pub use generation::{Proposal, Source};
pub use start::{Options, StartError, Until, offline};
pub use workers::{life, word};

use crate::{
    api, clock,
    control::{self, Answer, Ask, ManifestOrder, Reply, Request, ServerError},
    error::{Chain, Remedy},
    plan::{Action, Plan, plan},
    sector::WakeUp,
    status::{Snapshot, waiting},
    store::StoreError,
    supervisor::{CompanionEvent, WorkerEvent},
    units::UnixMillis,
};
use errands::Done;
use futures_util::StreamExt as _;
use news::News;
use observer::{Questions, Sight};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time,
};
use world::World;

/// Worker events in the queue: every worker process says little, and waits when the loop is behind.
const WORKER_EVENTS: usize = 256;

/// Events of the devnet in the queue: it has one, when it ends.
const DEVNET_EVENTS: usize = 4;

/// Longest time between two turns: progress and ages in `status` stay fresh.
const TICK: Duration = Duration::from_secs(1);

/// Turns of planning without waiting in between: each needs an action of the one before.
const PLANS_AT_ONCE: u32 = 32;

/// How long children get to end before they are killed.
const GRACE: Duration = Duration::from_secs(5);

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A signal asked for it.
    Asked,
    /// What it was to run until.
    Reached,
}

/// The daemon could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The control socket cannot be made.
    #[error(transparent)]
    Control(#[from] ServerError),
    /// The database failed.
    #[error("the database fails")]
    Store(#[from] StoreError),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] std::io::Error),
    /// The observer ended: a fault of this program.
    #[error("the chain observer ended by itself")]
    Observer,
}

/// Runs until it is asked to end, or until what the options say is reached. Every snapshot goes to `show`.
///
/// # Errors
/// See [`DaemonError`].
pub async fn run(options: Options, show: watch::Sender<Arc<Snapshot>>) -> Result<Ending, DaemonError> {
    let Options { source, proposal, prover, until, devnet_epoch_ms, state_dir } = options;
    let mut server = JoinSet::new();
    let (asking, mut requests) = mpsc::channel(control::QUEUE);
    let (proposal, waiting) = match proposal {
        Some(proposal) => (proposal, Waiting::default()),
        None => {
            let lock = lock::StateLock::take(&state_dir).await.map_err(StartError::from)?;
            let feed = unconfigured::feed(&source, show.subscribe());
            server.spawn(control::Server::open(&state_dir, asking.clone())?.run(feed));
            let written = unconfigured::wait(&source, &state_dir, &mut requests, &show).await?;
            drop(lock);
            match written {
                Some(unconfigured::Written { proposal, replies }) => {
                    (proposal, Waiting { replies, left: Some(state_dir) })
                }
                None => return Ok(Ending::Asked),
            }
        }
    };
    let (worker_tx, worker_rx) = mpsc::channel(WORKER_EVENTS);
    let (devnet_tx, devnet_rx) = mpsc::channel(DEVNET_EVENTS);
    let began = start::world(source, proposal, prover, worker_tx).await;
    let (mut world, lock, sight, questions) = match began {
        Ok(began) => began,
        Err(error) => {
            let why = Chain(&error).to_string();
            waiting
                .answer(&Err(generation::refused(&why, "correct what is named here, then `systemctl restart seald`")));
            return Err(error.into());
        }
    };
    let mut observer = JoinSet::new();
    if !is_reached(&world, until) {
        world.adopt_workers(clock::now()).await;
        observer.spawn(observer::run(Arc::clone(&world.manifest), questions.clone(), sight.clone()));
        let orders = asking.clone();
        server.spawn(control::Server::open(&world.manifest.state.dir, asking)?.run(world.feed(show.subscribe())));
        if let Some(node) = world.manifest.node {
            let trouble = world.front.listening.clone();
            let metrics = control::metrics_router(show.subscribe());
            let routes = metrics.merge(api::router(world.desk_of_api(node, show.subscribe(), orders)));
            server.spawn(control::serve_network(node.address, routes, trouble));
        }
    }
    let mut turning = Loop {
        world,
        show,
        devnet_tx,
        epoch_ms: devnet_epoch_ms,
        written: UnixMillis::default(),
        until,
        observer,
        observing: (questions, sight),
        orders: reloading::Orders::default(),
    };
    let result = turning.turn_until_ended(worker_rx, devnet_rx, requests, waiting).await;
    server.shutdown().await;
    let Loop { mut world, mut observer, .. } = turning;
    observer.shutdown().await;
    tell_service(&[sd_notify::NotifyState::Stopping]);
    world.errands.shutdown().await;
    world.supervisor.shutdown(GRACE).await;
    if let Some(devnet) = world.devnet {
        devnet.shutdown(GRACE).await;
    }
    drop(lock);
    result
}

fn is_reached(world: &World, until: Until) -> bool {
    match until {
        Until::Asked => false,
        Until::Prepared => world.is_prepared(),
        Until::Target => world.proving() >= world.desired.sectors && !world.trims_soon(NEAR),
    }
}

/// Epochs that a trim may be ahead for the target to wait for it: a run that ends leaves nothing half done, and waits for
/// no finality that takes hours.
const NEAR: i64 = 30;

/// What is left of the time without a manifest.
#[derive(Debug, Default)]
struct Waiting {
    /// Who waits for the first manifest to be in force.
    replies: Vec<oneshot::Sender<Answer>>,
    /// The folder in which the daemon was to be found.
    left: Option<std::path::PathBuf>,
}

impl Waiting {
    /// Nobody is to look for the daemon in the folder that it was in, when that is another one now.
    fn leave(&self, dir: &std::path::Path) {
        if let Some(left) = self.left.as_ref().filter(|left| *left != dir)
            && let Err(error) = std::fs::remove_file(left.join(control::SOCKET))
        {
            tracing::warn!(path = %left.display(), %error, "the old control socket stays");
        }
    }

    fn answer(self, answer: &Answer) {
        // who asked may have gone meanwhile
        self.replies.into_iter().for_each(|reply| drop(reply.send(answer.clone())));
    }
}

struct Loop {
    world: World,
    show: watch::Sender<Arc<Snapshot>>,
    devnet_tx: mpsc::Sender<CompanionEvent>,
    epoch_ms: Option<u64>,
    written: UnixMillis,
    until: Until,
    /// The one task that reads the chain.
    observer: JoinSet<()>,
    /// Its ends of the channels, for the next one.
    observing: (watch::Receiver<Questions>, watch::Sender<Sight>),
    /// Orders about the manifest.
    orders: reloading::Orders,
}

impl Loop {
    async fn turn_until_ended(
        &mut self,
        mut workers: mpsc::Receiver<WorkerEvent>,
        mut devnet: mpsc::Receiver<CompanionEvent>,
        mut requests: mpsc::Receiver<Request>,
        waiting: Waiting,
    ) -> Result<Ending, DaemonError> {
        let mut signals = signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(DaemonError::Signals)?;
        tell_service(&[sd_notify::NotifyState::Ready]);
        if is_reached(&self.world, self.until) {
            // nothing was looked at: what the last run saw stays true
            let seen = report::read(&self.world.manifest.state.dir);
            self.show
                .send_replace(Arc::new(seen.unwrap_or_else(|| self.world.snapshot(&Plan::default(), clock::now()))));
            return Ok(Ending::Reached);
        }
        let mut waiting = Some(waiting);
        loop {
            let plan = self.turn().await?;
            if let Some(waiting) = waiting.take() {
                waiting.leave(&self.world.manifest.state.dir);
                waiting.answer(&Ok(Reply::Reloaded(self.world.as_first())));
            }
            if is_reached(&self.world, self.until) {
                self.publish(&plan, clock::now());
                return Ok(Ending::Reached);
            }
            let wake = self.next_wake(&plan);
            let now = clock::monotonic();
            let due = now.checked_add(wake).unwrap_or(now);
            // each arm only waits, and none takes more than one item: cancelling loses nothing
            tokio::select! {
                Some(event) = workers.recv() => {
                    let done = self.on_worker(event, &mut workers).await;
                    self.survive(done)?;
                }
                Some(event) = devnet.recv() => self.on_devnet(event),
                Some(done) = self.world.errands.join_next() => {
                    let done = self.on_errands(done).await;
                    self.survive(done)?;
                }
                changed = self.world.sight.changed() => match changed {
                    Ok(()) => {
                        let told = self.world.sight.borrow().told;
                        self.world.waits.hear(told.unwrap_or_else(clock::monotonic));
                        let done = self.world.on_view().await;
                        self.survive(done)?;
                    }
                    Err(_) => return Err(DaemonError::Observer),
                },
                Some(request) = requests.recv() => {
                    let done = match request {
                        Request { ask: Ask::Manifest(order), reply } => self.on_order(order, Some(reply)).await,
                        request => self.world.on_request(request).await,
                    };
                    self.survive(done)?;
                }
                Some(read) = self.orders.next() => self.on_read(read).await?,
                Some(signal) = signals.next() => match signal {
                    SIGHUP => {
                        let done = self.on_order(ManifestOrder::Reload, None).await;
                        self.survive(done)?;
                    }
                    signal => {
                        tracing::info!(signal, "asked to end");
                        return Ok(Ending::Asked);
                    }
                },
                Some(_) = self.observer.join_next() => return Err(DaemonError::Observer),
                () = time::sleep(wake) => self.world.waits.hear(due),
            }
        }
    }

    /// A write that failed does not end the daemon and its workers: what is known is read again before anything else.
    fn survive(&mut self, done: Result<(), StoreError>) -> Result<(), StoreError> {
        match done {
            Err(error) if error.remedy() == Remedy::Stop => Err(error),
            Err(error) => {
                self.world.doubt(&error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Observes, plans and applies until nothing leads on at once; publishes what came of it.
    async fn turn(&mut self) -> Result<Plan, DaemonError> {
        let now = clock::now();
        if self.world.stale {
            let done = self.world.reload().await;
            self.survive(done)?;
        }
        let world = &mut self.world;
        world.measure(now);
        world.look_at_machine(now);
        world.adopt_late(now).await;
        let mut latest = Plan::default();
        for _ in 0..PLANS_AT_ONCE {
            if world.stale {
                break;
            }
            let wanted = world.wanted_workers();
            world.supervisor.reconcile(&wanted, now);
            if let Some(devnet) = &mut world.devnet {
                devnet.reconcile(now);
            }
            world.feed_params(now);
            latest = plan(&world.desired, &world.observed(now));
            if self.until == Until::Prepared {
                latest.actions.retain(Action::prepares);
            }
            if latest.actions.is_empty() {
                break;
            }
            let leads_on = World::leads_on(&latest.actions);
            let applied = world.apply(latest.actions.clone(), &self.devnet_tx, self.epoch_ms, now).await;
            if let Err(error) = applied {
                if error.remedy() == Remedy::Stop {
                    return Err(error.into());
                }
                world.doubt(&error);
                break;
            }
            if !leads_on {
                break;
            }
        }
        world.ask();
        world.tell_operators();
        self.publish(&latest, now);
        Ok(latest)
    }

    fn publish(&mut self, plan: &Plan, now: UnixMillis) {
        let mut snapshot = self.world.snapshot(plan, now);
        // what waited when the last daemon ended waits since then
        let last_run = || report::read(&self.world.manifest.state.dir).map(Arc::new);
        let first = if self.written == UnixMillis::default() { last_run() } else { None };
        let before = first.unwrap_or_else(|| Arc::clone(&self.show.borrow()));
        waiting::carry(&before.sectors, &mut snapshot.sectors, now);
        self.world.show_site(&snapshot);
        let snapshot = Arc::new(snapshot);
        if now.ms_since(self.written) >= 1_000 || is_reached(&self.world, self.until) {
            self.written = now;
            if let Err(error) = report::write(&self.world.manifest.state.dir, &snapshot) {
                tracing::error!(error = %error, "the status file cannot be written");
            }
            let target = &snapshot.target;
            let line = format!("{}/{} proving, {} in flight", target.proving, target.wanted, target.in_flight);
            tell_service(&[sd_notify::NotifyState::Status(&line), sd_notify::NotifyState::Watchdog]);
        }
        self.show.send_replace(snapshot);
    }

    fn next_wake(&self, plan: &Plan) -> Duration {
        if self.world.stale {
            return TICK;
        }
        let now = clock::now();
        let holds = plan.holds.iter().filter_map(|hold| match hold.until {
            WakeUp::Time(at) => Some(at),
            WakeUp::NextHead | WakeUp::At(_) | WakeUp::Funds | WakeUp::Operator => None,
        });
        let pauses = self.world.pauses.values().map(|pause| pause.until).filter(|at| *at > now);
        let devnet = self.world.devnet.as_ref().and_then(crate::supervisor::Companion::next_wake);
        let earliest = holds.chain(pauses).chain(self.world.supervisor.next_wake()).chain(devnet).min();
        let until = earliest.map_or(TICK, |at| Duration::from_millis(at.ms_since(now)));
        until.clamp(Duration::from_millis(1), TICK)
    }

    async fn on_worker(
        &mut self,
        first: WorkerEvent,
        more: &mut mpsc::Receiver<WorkerEvent>,
    ) -> Result<(), StoreError> {
        self.world.waits.hear(first.at);
        let mut news = News::default();
        let mut next = Some(first);
        while let Some(event) = next {
            let (now, at) = (clock::now(), event.at);
            if let Some(notice) = self.world.supervisor.on(event, now) {
                self.world.on_notice(notice, at, now, &mut news);
            }
            next = more.try_recv().ok();
        }
        self.world.record_news(news).await
    }

    async fn on_errands(&mut self, first: Result<(Instant, Done), JoinError>) -> Result<(), StoreError> {
        let mut heard: Option<Instant> = None;
        let mut news = News::default();
        let mut next = Some(first);
        while let Some(ended) = next {
            if let Ok((at, done)) = ended {
                heard = Some(heard.map_or(at, |before| before.min(at)));
                self.world.on_errand(done, clock::now(), &mut news).await?;
            }
            next = self.world.errands.try_join_next();
        }
        if let Some(at) = heard {
            self.world.waits.hear(at);
        }
        self.world.record_news(news).await
    }

    fn on_devnet(&mut self, event: CompanionEvent) {
        if let Some(devnet) = &mut self.world.devnet
            && let Some(why) = devnet.on(event, clock::now())
        {
            tracing::warn!(reason = %why, "the devnet ended");
        }
    }
}

/// Tells the service manager; a daemon without one says nothing.
fn tell_service(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "the service manager was not told");
    }
}
