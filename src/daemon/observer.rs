//! Watches the chain: at each new head it reads what the daemon's sectors and messages need to know.
//!
//! It looks at the head a few times an epoch; where the node tells of new heads it looks when it is told, and seldom
//! besides, so that a node which falls silent never stops it. What it is told is only when to look.
//!
//! One task; questions come in through a `watch`, the view goes out through another, so a slow node never holds the
//! daemon's loop. Everything in one view was read at one head. Decides nothing.

use super::{
    accounts,
    connect::{self, ConnectError},
};
use crate::{
    chain::{
        ChainError, Client, Fate, Heads, NetworkParams, Node, TipSet, cids,
        health::{EndpointSeen, Unfit},
        params::SectorPreCommitInfo,
    },
    clock,
    error::Chain,
    manifest::Manifest,
    outbox::Accounts,
    plan::{Contact, Costs},
    sector::{Activation, Facts, MessageId, OnChainPreCommit, OnChainSector, Seed},
    units::{Epoch, Hash32, MinerId, SectorNumber, SectorSize, UnixMillis},
};
use futures_util::{StreamExt as _, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet, time};

/// What the daemon wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Questions {
    /// The miner, once known.
    pub miner: Option<MinerId>,
    /// The network it is on: the same numbers mean other miners and sectors on another one.
    pub network: Option<String>,
    /// Sectors whose standing on chain matters, with the ticket epoch to be drawn again for a check.
    pub sectors: BTreeMap<SectorNumber, Option<Epoch>>,
    /// Sectors that are proven: asked about when the chain lists them as faulty, and a few in turn with each head.
    pub proven: BTreeSet<SectorNumber>,
    /// Messages that are waited for.
    pub messages: BTreeMap<MessageId, Awaited>,
    /// Accounts that the manifest names as senders.
    pub senders: BTreeSet<String>,
    /// Lifetime in epochs and size of a sector, while what it locks matters.
    pub terms: Option<(i64, SectorSize)>,
}

/// A message that a node took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Its CID, or that of the one that executed in its place.
    pub cid: String,
    /// Its sender.
    pub from: String,
    /// Its nonce, unless it executed.
    pub nonce: Option<u64>,
}

/// What the chain answered, all of it at `head`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainView {
    /// The head.
    pub head: TipSet,
    /// The highest final epoch.
    pub finalized: Epoch,
    /// The network.
    pub network: NetworkParams,
    /// When it was read.
    pub at: UnixMillis,
    /// By sector.
    pub facts: BTreeMap<SectorNumber, Facts>,
    /// By message.
    pub fates: BTreeMap<MessageId, Fate>,
    /// The number after the highest the chain ever saw of this miner.
    pub next_number: Option<SectorNumber>,
    /// The version of the network.
    pub network_version: Option<u32>,
    /// Who can send the miner's messages.
    pub accounts: Option<Accounts>,
    /// How the miner is reached, as the chain has it.
    pub contact: Option<Contact>,
    /// What a sector locks, when it was asked for.
    pub costs: Option<Costs>,
}

/// The latest view and, when it is not fresh, why.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// A client for errands, once the node is known.
    pub client: Option<Client>,
    /// The latest view.
    pub view: Option<Arc<ChainView>>,
    /// When this view was made known.
    pub told: Option<Instant>,
    /// Why there is no newer one.
    pub trouble: Option<String>,
    /// How each endpoint was found last, in order of preference.
    pub endpoints: Vec<EndpointSeen>,
}

/// Requests under way at once, and proven sectors looked at with each head: one that the chain ended is seen within
/// as many heads as there are eights of them.
const AT_ONCE: usize = 8;

/// Shortest and longest time between two looks at the head.
const POLL_MIN: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_secs(5);

/// Epochs between two looks at the head of a node that tells of new ones.
const SELDOM: u32 = 3;
const SELDOM_MAX: Duration = Duration::from_secs(120);

/// Between two looks at the endpoints that are not in use.
const AROUND: Duration = Duration::from_secs(30);

/// Watches until the daemon drops its ends of the channels.
pub async fn run(manifest: Arc<Manifest>, mut questions: watch::Receiver<Questions>, sight: watch::Sender<Sight>) {
    let mut link: Option<(String, Client)> = None;
    let mut network: Option<NetworkParams> = None;
    let mut round = 0_usize;
    let mut poll = POLL_MIN;
    let mut around = Around::default();
    loop {
        let asked = questions.borrow_and_update().clone();
        // from before the look, so that what happens while it lasts is heard
        let mut heads = link.as_ref().map_or_else(Heads::silent, |(_, client)| client.heads());
        let began = clock::monotonic();
        match look(&manifest, &mut link, &mut network, &mut round, &asked, &sight).await {
            Ok(()) => poll = network.as_ref().map_or(POLL_MIN, |network| pace(network, heads.is_open())),
            Err(why) => {
                tracing::debug!(reason = %why, "the chain cannot be read");
                sight.send_if_modified(|s| s.trouble.replace(why.clone()).as_ref() != Some(&why));
                poll = poll.saturating_mul(2).clamp(POLL_MIN, POLL_MAX);
            }
        }
        if let Some((_, client)) = &link {
            around.look(client);
            // for operators: nothing is decided by it, so nobody is woken
            sight.send_if_modified(|sight| {
                sight.endpoints = client.endpoints();
                false
            });
        }
        // a node that never stops telling is not listened to all the time
        let heard = async {
            heads.heard().await;
            time::sleep_until(began.checked_add(POLL_MIN).unwrap_or(began).into()).await;
        };
        // all arms only wait; cancelling any loses nothing
        tokio::select! {
            changed = questions.changed() => if changed.is_err() { return },
            () = time::sleep(poll) => if sight.is_closed() { return },
            () = heard => if sight.is_closed() { return },
        }
    }
}

/// The look at the endpoints that are not in use: beside everything else, since one that hangs holds up nothing.
#[derive(Default)]
struct Around {
    looking: JoinSet<()>,
    began: Option<Instant>,
}

impl Around {
    fn look(&mut self, client: &Client) {
        let now = clock::monotonic();
        while self.looking.try_join_next().is_some() {}
        if self.looking.is_empty() && self.began.is_none_or(|began| now.duration_since(began) >= AROUND) {
            self.began = Some(now);
            let client = client.clone();
            self.looking.spawn(async move { client.look_around().await });
        }
    }
}

/// A quarter of an epoch, so that a head is seen soon after it is made; some epochs where the node tells of it.
fn pace(network: &NetworkParams, told: bool) -> Duration {
    let epoch = Duration::from_secs(network.block_delay_secs);
    if told { epoch.saturating_mul(SELDOM).clamp(POLL_MIN, SELDOM_MAX) } else { (epoch / 4).clamp(POLL_MIN, POLL_MAX) }
}

async fn look(
    manifest: &Manifest,
    link: &mut Option<(String, Client)>,
    network: &mut Option<NetworkParams>,
    round: &mut usize,
    asked: &Questions,
    sight: &watch::Sender<Sight>,
) -> Result<(), String> {
    let endpoints = connect::endpoints(manifest).map_err(|e| match &e {
        // this daemon starts it: until it says its address there is nothing to look into
        ConnectError::Devnet { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "the devnet starts".to_owned()
        }
        ConnectError::Devnet { .. } | ConnectError::Token { .. } => Chain(&e).to_string(),
    })?;
    // one that is to believe another network is another client
    let network_wanted = asked.network.as_deref().unwrap_or_default();
    let key = endpoints.iter().map(|e| e.url.as_str()).chain([network_wanted]).collect::<Vec<_>>().join(" ");
    let client = match link {
        Some((known, client)) if *known == key => client.clone(),
        Some(_) | None => {
            let client = Client::wary(endpoints, asked.network.clone()).map_err(|e| Chain(&e).to_string())?;
            *link = Some((key, client.clone()));
            client
        }
    };
    let told = |e: ChainError| Chain(&e).to_string();
    let params = match network {
        Some(params) => params.clone(),
        None => network.insert(client.network_params().await.map_err(told)?).clone(),
    };
    if let Some(ours) = asked.network.as_ref().filter(|ours| **ours != params.name) {
        *network = None;
        return Err(other_network(ours, &params.name));
    }
    let head = client.head().await.map_err(told)?;
    let known = sight.borrow().view.clone();
    let same = known.as_ref().is_some_and(|view| view.head == head && answers(view, asked));
    if same && sight.borrow().trouble.is_none() {
        return Ok(());
    }
    let view = read(&client, params, head, asked, *round).await.map_err(told)?;
    *round = round.wrapping_add(1);
    let (told, endpoints) = (Some(clock::monotonic()), client.endpoints());
    sight.send_replace(Sight { client: Some(client), view: Some(Arc::new(view)), told, trouble: None, endpoints });
    Ok(())
}

/// What there is to say of a node that is on another network than everything in the state folder.
pub fn other_network(ours: &str, node: &str) -> String {
    Unfit::Network { ours: ours.to_owned(), found: node.to_owned() }.to_string()
}

/// Whether the view already answers these questions.
fn answers(view: &ChainView, asked: &Questions) -> bool {
    let sector = |(number, ticket): (&SectorNumber, &Option<Epoch>)| {
        let drawn = |facts: &Facts| facts.ticket.map(|(epoch, _)| epoch);
        view.facts.get(number).is_some_and(|facts| facts.allocated || ticket.is_none() || drawn(facts) == *ticket)
    };
    asked.sectors.iter().all(sector)
        && asked.messages.keys().all(|id| view.fates.contains_key(id))
        && (asked.miner.is_none() || view.next_number.is_some())
        && (asked.terms.is_none() || view.costs.is_some())
        && view.accounts.iter().all(|known| asked.senders.iter().all(|name| known.named.contains_key(name)))
}

/// Reads everything that is asked, at one head.
///
/// # Errors
/// The node does not answer one of the questions.
pub async fn read<N: Node>(
    client: &N,
    network: NetworkParams,
    head: TipSet,
    asked: &Questions,
    round: usize,
) -> Result<ChainView, ChainError> {
    let mut view = ChainView {
        finalized: client.finalized().await?,
        network,
        at: clock::now(),
        facts: BTreeMap::new(),
        fates: BTreeMap::new(),
        next_number: None,
        network_version: None,
        accounts: None,
        contact: None,
        costs: None,
        head,
    };
    let Some(miner) = asked.miner else { return Ok(view) };
    let head = &view.head;
    let (allocated, faults, info) =
        tokio::try_join!(client.allocated(miner, head), client.faults(miner, head), client.miner_info(miner, head))?;
    let first = SectorNumber::try_from(1).ok();
    view.next_number = allocated.max().map_or(first, SectorNumber::next);
    view.network_version = answered(client.network_version().await);
    view.accounts = answered(accounts::read(client, &info, &asked.senders, head).await).flatten();
    view.contact = Some(Contact { peer_id: info.peer_id, multiaddrs: info.multiaddrs });
    if let Some((lifetime, size)) = asked.terms {
        view.costs = answered(costs(client, miner, lifetime, size, head).await);
    }
    let delay = view.network.pre_commit_challenge_delay;
    let mut sectors = asked.sectors.clone();
    let suspects = asked.proven.iter().filter(|number| faults.contains(**number)).chain(in_turn(&asked.proven, round));
    sectors.extend(suspects.map(|number| (*number, None)));
    let reader = Reader { client, miner, head, delay };
    let mut reads = Vec::with_capacity(sectors.len());
    for (number, ticket) in sectors {
        reads.push(reader.sector(number, ticket, allocated.contains(number), faults.contains(number)));
    }
    let found: Vec<_> = stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
    let mut searches = Vec::with_capacity(asked.messages.len());
    for (id, awaited) in &asked.messages {
        searches.push(reader.message(id, awaited));
    }
    let fates: Vec<_> = stream::iter(searches).buffer_unordered(AT_ONCE).collect().await;
    // one question that fails holds up what it is about, and nothing else; it is asked again at the next look
    view.facts = found.into_iter().filter_map(answered).collect();
    view.fates = fates.into_iter().filter_map(answered).collect();
    Ok(view)
}

fn answered<T>(answer: Result<T, ChainError>) -> Option<T> {
    answer.inspect_err(|error| tracing::debug!(error = %Chain(error), "a question to the node failed")).ok()
}

/// What a capacity sector of this size and lifetime locks.
async fn costs<N: Node>(
    client: &N,
    miner: MinerId,
    lifetime: i64,
    size: SectorSize,
    head: &TipSet,
) -> Result<Costs, ChainError> {
    let info = SectorPreCommitInfo {
        seal_proof: size.seal_proof().as_i64(),
        sector_number: 0,
        sealed_cid: cids::sealed(Hash32([0; 32])),
        seal_rand_epoch: head.height.as_i64(),
        deal_ids: Vec::new(),
        expiration: head.height.plus(lifetime).as_i64(),
        unsealed_cid: None,
    };
    let deposit = client.precommit_deposit(miner, &info, head).await?;
    Ok(Costs { deposit, pledge: client.initial_pledge(lifetime, size, head).await? })
}

struct Reader<'a, N> {
    client: &'a N,
    miner: MinerId,
    head: &'a TipSet,
    delay: i64,
}

impl<N: Node> Reader<'_, N> {
    async fn sector(
        &self,
        number: SectorNumber,
        ticket: Option<Epoch>,
        allocated: bool,
        faulty: bool,
    ) -> Result<(SectorNumber, Facts), ChainError> {
        let Self { client, miner, head, delay } = *self;
        if !allocated {
            // a number that was never used has neither a pre-commit nor a sector
            let ticket = match ticket {
                Some(epoch) => Some((epoch, client.ticket(miner, epoch, head).await?)),
                None => None,
            };
            return Ok((number, Facts { ticket, ..Facts::default() }));
        }
        let (precommit, sector) =
            tokio::try_join!(client.precommit(miner, number, head), client.sector(miner, number, head))?;
        let seed_at = precommit.as_ref().map(|p| p.epoch.plus(delay)).filter(|at| *at < head.height);
        let seed = match seed_at {
            Some(epoch) => Some(Seed { epoch, value: client.seed(miner, epoch, head).await? }),
            None => None,
        };
        let facts = Facts {
            precommit: precommit.map(|p| OnChainPreCommit {
                epoch: p.epoch,
                ticket_epoch: p.ticket_epoch,
                comm_r: p.comm_r,
                deposit: p.deposit,
            }),
            sector: sector.map(|s| OnChainSector {
                activation: Activation { epoch: s.activation, expiration: s.expiration, pledge: s.pledge },
                faulty,
            }),
            allocated,
            seed,
            ticket: None,
            message: None,
        };
        Ok((number, facts))
    }

    async fn message(&self, id: &MessageId, awaited: &Awaited) -> Result<(MessageId, Fate), ChainError> {
        let Awaited { cid, from, nonce } = awaited;
        Ok((id.clone(), self.client.fate(cid, from, *nonce, self.head).await?))
    }
}

/// The next few of all, over and over.
fn in_turn(all: &BTreeSet<SectorNumber>, round: usize) -> impl Iterator<Item = &SectorNumber> {
    let before = round.wrapping_mul(AT_ONCE).checked_rem(all.len()).unwrap_or(0);
    all.iter().cycle().skip(before).take(AT_ONCE.min(all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        devnet,
        manifest::{File, Overrides, parse},
        proofs::Prover,
    };

    #[tokio::test]
    async fn a_node_of_another_network_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let text = include_str!("../../examples/configs/devnet.toml").to_owned();
        let overrides = Overrides { cwd: folder.path().to_owned(), ..Overrides::default() };
        let manifest = parse(&[File { path: "seald.toml".into(), text }], &overrides).unwrap().manifest;
        let dir = manifest.state.dir.join(connect::DEVNET);
        let options = devnet::Options {
            dir: dir.clone(),
            listen: "127.0.0.1:0".parse().unwrap(),
            epoch_ms: 1_000,
            manual: true,
            presealed: None,
            prover: Prover::Simulated,
            attached: false,
        };
        let mut node = tokio::task::JoinSet::new();
        node.spawn(devnet::run(options));
        while !dir.join(connect::DEVNET_URL).exists() {
            assert!(node.try_join_next().is_none(), "the devnet ended");
            tokio::task::yield_now().await;
        }
        let (sight, seen) = watch::channel(Sight::default());
        let (mut link, mut network, mut round) = (None, None, 0);
        let mut look = async |ours: Option<&str>| {
            let asked = Questions { network: ours.map(str::to_owned), ..Questions::default() };
            look(&manifest, &mut link, &mut network, &mut round, &asked, &sight).await
        };
        let why = look(Some("another")).await.unwrap_err();
        assert!(why.contains("belongs to network another, the node is on devnet-"), "{why}");
        assert!(seen.borrow().view.is_none() && seen.borrow().client.is_none());
        look(None).await.unwrap();
        let name = seen.borrow().view.as_ref().unwrap().network.name.clone();
        look(Some(&name)).await.unwrap();
    }

    #[tokio::test]
    async fn heads_are_seen_when_the_node_tells_of_them_and_when_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let options = devnet::Options {
            dir: folder.path().join("devnet"),
            listen: "127.0.0.1:0".parse().unwrap(),
            // where heads are told, it is looked for them besides less often than this test has patience
            epoch_ms: 3_600_000,
            manual: true,
            prover: Prover::Simulated,
            attached: false,
            presealed: None,
        };
        let file = options.dir.join(connect::DEVNET_URL);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(devnet::run(options));
        while !file.exists() {
            assert!(tasks.try_join_next().is_none(), "the devnet ended");
            tokio::task::yield_now().await;
        }
        let http = std::fs::read_to_string(&file).unwrap().trim().trim_end_matches("/rpc/v1").to_owned();
        let text = format!(
            "miner.sector_size = '2KiB'\nminer.actor = 'f01000'\nstate.dir = 'state'\n\
             repo.disk = {{ path = 'repo', roles = ['seal', 'store'] }}\n\
             slot.cpu = {{ tasks = ['precommit1', 'precommit2', 'commit', 'finalize'] }}\n\
             pledge.sectors = 1\nchain.endpoints = [{{ url = '{}' }}]\n",
            http.replacen("http", "ws", 1)
        );
        let overrides = Overrides { cwd: folder.path().to_owned(), ..Overrides::default() };
        let manifest = parse(&[File { path: "seald.toml".into(), text }], &overrides).unwrap().manifest;
        let (_questions, asked) = watch::channel(Questions::default());
        let (sight, mut seen) = watch::channel(Sight::default());
        tasks.spawn(async move {
            run(Arc::new(manifest), asked, sight).await;
            Ok(())
        });
        // another test may have installed it already
        drop(rustls::crypto::ring::default_provider().install_default());
        let poster = reqwest::Client::builder().no_proxy().build().unwrap();
        let fault = async |name: &str| {
            let sent = poster.post(format!("{http}/devnet/v1/{name}")).send().await.unwrap();
            assert!(sent.status().is_success());
        };
        let reached = |height: i64| {
            move |sight: &Sight| sight.view.as_ref().is_some_and(|view| view.head.height.as_i64() >= height)
        };
        seen.wait_for(reached(0)).await.unwrap();
        let client = seen.borrow().client.clone().unwrap();
        let open = async {
            while !client.heads().is_open() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), open).await.unwrap();
        let mut height = seen.borrow().view.as_ref().unwrap().head.height.as_i64();
        // told; told again after the channel was closed, and after the connection was cut
        for breaking in ["clear", "close_channels", "disconnect"] {
            fault(breaking).await;
            fault("mine").await;
            height += 1;
            tokio::time::timeout(Duration::from_secs(60), seen.wait_for(reached(height))).await.unwrap().unwrap();
        }
        assert_eq!(seen.borrow().endpoints.iter().map(|e| e.state.as_str()).collect::<Vec<_>>(), ["well"]);
    }

    #[test]
    fn what_is_told_is_no_reason_to_stop_looking() {
        let network =
            |block_delay_secs| NetworkParams { name: String::new(), block_delay_secs, pre_commit_challenge_delay: 10 };
        assert_eq!(pace(&network(30), false), POLL_MAX);
        assert_eq!(pace(&network(30), true), Duration::from_secs(90));
        for delay in [0, u64::MAX] {
            for told in [false, true] {
                assert!((POLL_MIN..=SELDOM_MAX).contains(&pace(&network(delay), told)));
            }
        }
    }

    #[test]
    fn every_proven_sector_has_its_turn() {
        for count in [0, 1, 7, 8, 9, 30] {
            let all: BTreeSet<_> = (0..count).map(|n| SectorNumber::try_from(n).unwrap()).collect();
            let rounds = all.len().div_ceil(AT_ONCE);
            let seen: BTreeSet<_> = (0..rounds).flat_map(|round| in_turn(&all, round)).copied().collect();
            assert_eq!(seen, all);
        }
    }
}
