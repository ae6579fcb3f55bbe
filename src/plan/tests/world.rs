//! Random worlds to plan in, and what the actions of a plan make of them.

use super::super::{space::Room, *};
use crate::{
    outbox::{Account, Accounts, Batch, BatchState, FeeRule, Gas, Message, MessageKind, Sent},
    sector::{
        ChainNow, EDGES, EventKind, Facts, Record,
        tests::{CHAIN, NOW, POLICY, all_facts, event},
    },
    units::{AttoFil, Bytes, SectorSize, UnixMillis},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::LazyLock};

pub(super) const SIZE: SectorSize = SectorSize::KiB2;
pub(super) const LATER: UnixMillis = UnixMillis::new(1_000_001);

/// A chain on which every sector of the facts is final.
pub(super) const FINAL: ChainNow = ChainNow { finalized: CHAIN.head, ..CHAIN };

static FACTS: LazyLock<Vec<Facts>> = LazyLock::new(all_facts);

pub(super) fn number(n: u64) -> SectorNumber {
    n.try_into().unwrap()
}

/// The way to `Proving`, every second life strays from.
const GOOD_LIFE: [EventKind; 11] = [
    EventKind::Packed,
    EventKind::TicketDrawn,
    EventKind::PreCommit1Done,
    EventKind::PreCommit2Done,
    EventKind::PreCommitted,
    EventKind::PreCommitLanded,
    EventKind::SeedReady,
    EventKind::ProofReady,
    EventKind::Committed,
    EventKind::Proving,
    EventKind::Finalized,
];

/// A record as some walk over the table leaves it: a stretch of the good life, then any edges.
fn record() -> impl Strategy<Value = Record> {
    let stray = proptest::collection::vec(any::<proptest::sample::Index>(), 0..5);
    (0..=GOOD_LIFE.len(), stray, repo_name(), 0..=POLICY.attempts, any::<bool>()).prop_map(
        |(good, stray, repo, attempts, cooling)| {
            let mut record = Record::new(number(0), SIZE.seal_proof(), repo, NOW);
            for kind in &GOOD_LIFE[..good] {
                record = record.apply(&event(*kind), NOW).unwrap();
            }
            for step in stray {
                let ways: Vec<_> = EDGES
                    .iter()
                    .filter(|(from, kind, _)| *from == record.state && record.apply(&event(*kind), NOW).is_ok())
                    .collect();
                if !ways.is_empty() {
                    record = record.apply(&event(step.get(&ways).1), NOW).unwrap();
                }
            }
            // most sectors are not parked and not cooling
            record.attempts = attempts.saturating_mul(u32::from(attempts == POLICY.attempts));
            record.retry_at = (cooling && attempts == 1).then_some(LATER);
            record
        },
    )
}

fn sector() -> impl Strategy<Value = SectorSeen> {
    let facts = proptest::option::weighted(0.8, (0..FACTS.len()).prop_map(|index| FACTS[index].clone()));
    let busy = proptest::option::weighted(0.2, Just("something".to_owned()));
    (record(), facts, busy).prop_map(|(record, facts, busy)| SectorSeen { record, facts, busy })
}

fn repo_name() -> impl Strategy<Value = RepoName> {
    proptest::sample::select(vec!["hdd", "nvme", "old", "ssd"]).prop_map(|name| name.parse().unwrap())
}

fn slot_name() -> impl Strategy<Value = SlotName> {
    proptest::sample::select(vec!["cpu", "gpu", "old"]).prop_map(|name| name.parse().unwrap())
}

fn room() -> impl Strategy<Value = Room> {
    let sectors = |n: u64| Bytes::new(space::sealing_peak(SIZE).as_u64() * n + 100);
    (0..12u64, 0..3u64, 0..3u64, proptest::option::of(0..12u64)).prop_map(move |(free, used, reserve, max_use)| Room {
        free: sectors(free),
        used: sectors(used),
        reserve: sectors(reserve),
        max_use: max_use.map(sectors),
    })
}

fn again() -> impl Strategy<Value = UnixMillis> {
    proptest::sample::select(vec![NOW, LATER])
}

fn repo() -> impl Strategy<Value = RepoSeen> {
    prop_oneof![
        1 => Just(RepoSeen::Closed),
        1 => again().prop_map(|again| RepoSeen::Unusable { why: "a missing mount".to_owned(), again }),
        4 => room().prop_map(RepoSeen::Open),
    ]
}

fn wish() -> impl Strategy<Value = SlotWish> {
    let stages = vec![Stage::PreCommit1, Stage::PreCommit2, Stage::Commit, Stage::Finalize];
    (proptest::sample::subsequence(stages, 1..=4), 0..4u32).prop_map(|(stages, count)| SlotWish {
        stages: stages.into_iter().collect(),
        count,
        memory: None,
    })
}

fn batch() -> impl Strategy<Value = BatchRule> {
    (0..4usize, 0..2u64).prop_map(|(max, wait_ms)| BatchRule { max, wait_ms })
}

fn held() -> impl Strategy<Value = HeldSlots> {
    let places: Vec<Place> =
        ["cpu", "cpu/0", "cpu/1", "gpu", "gpu/0"].iter().map(|text| text.parse().unwrap()).collect();
    let how = proptest::sample::select(vec![How::Cordoned, How::Paused, How::Drained]);
    proptest::option::weighted(0.4, (proptest::sample::subsequence(places, 1..=3), how)).prop_map(|held| {
        let mut slots = HeldSlots::default();
        if let Some((places, how)) = held {
            places.into_iter().for_each(|place| slots.hold(place, how, NOW));
        }
        slots
    })
}

fn desired() -> impl Strategy<Value = Desired> {
    let repo_wish =
        (any::<bool>(), any::<bool>(), 0..3u64).prop_map(|(seal, store, weight)| RepoWish { seal, store, weight });
    let declared = proptest::sample::select(vec!["hdd", "nvme", "ssd"]).prop_map(|name| name.parse().unwrap());
    let slots = proptest::sample::select(vec!["cpu", "gpu"]).prop_map(|name| name.parse().unwrap());
    (
        any::<bool>(),
        proptest::collection::btree_map(declared, repo_wish, 0..4),
        proptest::collection::btree_map(slots, wish(), 0..3),
        (0..16u64, 1..12u64),
        (batch(), batch()),
        proptest::option::of(0..3i128),
        held(),
    )
        .prop_map(|(devnet, repos, slots, (sectors, max_in_flight), (precommit, commit), ceiling, held)| Desired {
            devnet,
            sector_size: SIZE,
            repos,
            slots,
            held,
            sectors,
            max_in_flight,
            precommit,
            commit,
            aggregate_from: ceiling.map(|_| 2),
            peer_id: None,
            multiaddrs: None,
            senders: Default::default(),
            base_fee_ceiling: ceiling.map(AttoFil::from_atto),
            precommit_fees: FEES,
            commit_fees: FEES,
            policy: POLICY,
        })
}

const FEES: FeeRule = FeeRule { cap: AttoFil::from_atto(10), urgent_factor: 10, margin: 100, replace_after: 20 };

fn message() -> Message {
    let (from, to) = ("t01002".to_owned(), "t01000".to_owned());
    Message { from, to, value: AttoFil::from_atto(5), method: 28, params: Vec::new() }
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..8i128, 0..3i64).prop_map(|(fee_cap, limit)| Sent {
        cid: "bafy".to_owned(),
        nonce: 1,
        gas: Gas { limit, fee_cap: AttoFil::from_atto(fee_cap), premium: AttoFil::from_atto(1) },
        signed: None,
        replaced: Vec::new(),
        at: CHAIN.head.plus(-50),
    })
}

/// Without its sectors: those are given out in the world, each to one batch of a kind at most.
fn batch_seen() -> impl Strategy<Value = BatchSeen> {
    let kind = proptest::sample::select(vec![MessageKind::PreCommit, MessageKind::Commit, MessageKind::Terminate]);
    let gone = proptest::option::weighted(0.2, Just(CHAIN.head.plus(-10)));
    (kind, 0..3u8, sent(), any::<bool>(), proptest::option::of(again()), gone).prop_map(
        |(kind, state, sent, busy, retry_at, gone_since)| {
            let mut batch = Batch::open(MessageId(String::new()), kind, Vec::new(), NOW);
            if state > 0 {
                (batch.state, batch.message) = (BatchState::Sealed, Some(message()));
            }
            if state > 1 {
                (batch.state, batch.sent) = (BatchState::Sent, Some(sent));
            }
            BatchSeen { batch, busy, retry_at, gone_since, aggregate: None }
        },
    )
}

/// A worker that can sign and holds so much, and nobody else.
pub(super) fn worker_has(balance: AttoFil) -> Accounts {
    let id = "t01002".to_owned();
    let worker = Account { key: format!("t3{id}"), id: id.clone(), in_wallet: true, balance };
    Accounts { worker, allowed: [id].into(), named: BTreeMap::new() }
}

fn funds() -> impl Strategy<Value = Funds> {
    let costs = Costs { deposit: AttoFil::from_atto(3), pledge: AttoFil::from_atto(5) };
    let balance = proptest::option::weighted(0.9, (0..200i128).prop_map(AttoFil::from_atto));
    (balance, proptest::option::weighted(0.9, Just(costs)))
        .prop_map(|(balance, costs)| Funds { accounts: balance.map(worker_has), costs })
}

/// Gives each sector that waits for a message to one of the batches of its kind, by its number; some to none.
fn give_out(sectors: &BTreeMap<SectorNumber, SectorSeen>, batches: &mut BTreeMap<MessageId, BatchSeen>) {
    for (number, seen) in sectors {
        let fits = |b: &&mut BatchSeen| b.batch.kind.collects() == Some(seen.record.state);
        let mut fitting: Vec<_> = batches.values_mut().filter(fits).collect();
        let choice = usize::try_from(number.as_u64()).unwrap() % (fitting.len() + 1);
        if let Some(batch) = fitting.get_mut(choice) {
            batch.batch.sectors.push(*number);
        }
    }
}

fn miner() -> impl Strategy<Value = MinerSeen> {
    prop_oneof![
        1 => Just(MinerSeen::Preparing { step: "creating it".to_owned() }),
        1 => Just(MinerSeen::Unknown),
        1 => again().prop_map(|again| MinerSeen::Failed { why: "no funds".to_owned(), again }),
        9 => Just(MinerSeen::Known),
    ]
}

fn params() -> impl Strategy<Value = ParamsSeen> {
    prop_oneof![
        1 => Just(ParamsSeen::Missing),
        1 => Just(ParamsSeen::Preparing),
        1 => again().prop_map(|again| ParamsSeen::Failed { why: "no network".to_owned(), again }),
        3 => Just(ParamsSeen::Ready),
    ]
}

fn observed() -> impl Strategy<Value = Observed> {
    let who = (slot_name(), 0..4u32).prop_map(|(slot, instance)| Assignee { slot, instance });
    let id = (0..5u8).prop_map(|n| MessageId(format!("m-{n}")));
    (
        (
            proptest::option::weighted(0.9, proptest::sample::select(vec![CHAIN, FINAL])),
            proptest::option::weighted(0.1, Just("no answer".to_owned())),
        ),
        (0..4i128, any::<bool>()),
        (miner(), params()),
        proptest::collection::btree_map(repo_name(), repo(), 0..5),
        proptest::collection::btree_map(who, any::<bool>(), 0..9),
        proptest::collection::btree_map((0..10u64).prop_map(number), sector(), 0..10),
        (proptest::collection::btree_map(id, batch_seen(), 0..4), funds()),
        proptest::option::weighted(0.9, (10..20u64).prop_map(number)),
    )
        .prop_map(
            |(
                (chain, trouble),
                (base_fee, running),
                (miner, params),
                repos,
                workers,
                sectors,
                (batches, funds),
                next,
            )| {
                let named = sectors.into_iter().map(|(number, mut seen)| {
                    seen.record.number = number;
                    (number, seen)
                });
                let sectors = named.collect();
                let mut batches: BTreeMap<_, _> = batches
                    .into_iter()
                    .map(|(id, seen)| (id.clone(), BatchSeen { batch: Batch { id, ..seen.batch }, ..seen }))
                    .collect();
                give_out(&sectors, &mut batches);
                Observed {
                    contact: ContactSeen::default(),
                    now: NOW,
                    chain,
                    base_fee: AttoFil::from_atto(base_fee),
                    chain_trouble: trouble,
                    devnet_running: running,
                    miner,
                    params,
                    repos,
                    workers,
                    sectors,
                    batches,
                    quarantined: 0,
                    funds,
                    network_version: Some(28),
                    next_number: next,
                    durations: BTreeMap::new(),
                    running: BTreeMap::new(),
                    memory: crate::plan::MemorySeen::default(),
                    barred: BTreeMap::new(),
                }
            },
        )
}

/// A manifest and a world.
pub(super) fn world() -> impl Strategy<Value = (Desired, Observed)> {
    (desired(), observed())
}

/// A sector that was just created.
fn created(number: SectorNumber, repo: &RepoName, busy: Option<String>) -> SectorSeen {
    let record = Record::new(number, SIZE.seal_proof(), repo.clone(), NOW);
    SectorSeen { record, facts: Some(Facts::default()), busy }
}

/// A sector that is to be finalized, sealed in `nvme`, on [`FINAL`].
pub(super) fn final_sector(n: u64) -> SectorSeen {
    let start = Record::new(number(n), SIZE.seal_proof(), "nvme".parse().unwrap(), NOW);
    let life = GOOD_LIFE[..GOOD_LIFE.len() - 1].iter();
    let record = life.fold(start, |record, kind| record.apply(&event(*kind), NOW).unwrap());
    let facts = FACTS.iter().find(|facts| facts.sector.as_ref().is_some_and(|sector| !sector.faulty)).cloned();
    SectorSeen { record, facts, busy: None }
}

/// A sector that is to be pre-committed, with a ticket that the chain still gives.
pub(super) fn precommit_sector(n: u64) -> SectorSeen {
    let start = Record::new(number(n), SIZE.seal_proof(), "nvme".parse().unwrap(), NOW);
    let record = GOOD_LIFE[..4].iter().fold(start, |record, kind| record.apply(&event(*kind), NOW).unwrap());
    let ticket = record.ticket.as_ref().map(|ticket| (ticket.epoch, ticket.value));
    SectorSeen { record, facts: Some(Facts { ticket, ..Facts::default() }), busy: None }
}

/// A sector that is proven and not trimmed, sealed in `nvme`.
pub(super) fn untrimmed_sector(n: u64) -> SectorSeen {
    let seen = final_sector(n);
    SectorSeen { record: seen.record.apply(&event(EventKind::FinalizeDeferred), NOW).unwrap(), ..seen }
}

fn sector_is_busy(observed: &mut Observed, number: SectorNumber) {
    observed.sectors.get_mut(&number).expect("an action names a sector that exists").busy = Some("this".to_owned());
}

fn batch_is_busy(observed: &mut Observed, id: &MessageId) {
    observed.batches.get_mut(id).expect("an action names a batch that exists").busy = true;
}

/// The world while this action is being carried out.
pub(super) fn under_way(mut observed: Observed, action: &Action) -> Observed {
    match action {
        Action::OpenRepo(name) => {
            let opening = RepoSeen::Unusable { why: "it is being opened".to_owned(), again: LATER };
            observed.repos.insert(name.clone(), opening);
        }
        Action::StopWorker(who) => {
            observed.workers.remove(who).expect("only a worker that runs is stopped");
        }
        Action::StartDevnet => observed.devnet_running = true,
        Action::PrepareMiner => observed.miner = MinerSeen::Preparing { step: "the next".to_owned() },
        Action::PrepareParams(_) => observed.params = ParamsSeen::Preparing,
        Action::StartWorker(who) => {
            assert_eq!(observed.workers.insert(who.clone(), false), None, "{who} runs already");
        }
        Action::CreateSector { number, repo } => {
            let before = observed.sectors.insert(*number, created(*number, repo, Some("being created".to_owned())));
            assert_eq!(before, None, "sector {number} exists already");
            observed.next_number = number.next();
        }
        Action::Record { number, .. } | Action::DrawTicket(number) => sector_is_busy(&mut observed, *number),
        Action::Run { number, worker, .. } => {
            sector_is_busy(&mut observed, *number);
            assert_eq!(observed.workers.insert(worker.clone(), false), Some(true), "{worker} was not idle");
        }
        Action::Join { sectors, .. } => sectors.iter().for_each(|number| sector_is_busy(&mut observed, *number)),
        Action::Seal { batch, sectors, .. } => {
            sectors.iter().for_each(|number| sector_is_busy(&mut observed, *number));
            batch_is_busy(&mut observed, batch);
        }
        Action::Aggregate { batch, worker, .. } => {
            assert_eq!(observed.workers.insert(worker.clone(), false), Some(true), "{worker} was not idle");
            batch_is_busy(&mut observed, batch);
        }
        Action::Announce { what, .. } => {
            let batch = Batch::open(MessageId("announced".to_owned()), what.kind(), Vec::new(), NOW);
            observed.contact.newest.push(Announced { batch, is_wanted: true });
        }
        Action::Push { batch, .. } | Action::Resend(batch) | Action::Reprice { batch, .. } => {
            batch_is_busy(&mut observed, batch);
        }
    }
    observed
}

/// The world once this action is done, as far as it takes no time: repos are open, new sectors and events are stored.
pub(super) fn done(mut observed: Observed, action: &Action) -> Observed {
    match action {
        Action::OpenRepo(name) => {
            let free = Bytes::new(space::sealing_peak(SIZE).as_u64() * 4);
            let room = Room { free, used: Bytes::default(), reserve: Bytes::default(), max_use: None };
            observed.repos.insert(name.clone(), RepoSeen::Open(room));
            observed
        }
        Action::CreateSector { number, repo } => {
            assert_eq!(observed.sectors.insert(*number, created(*number, repo, None)), None);
            observed.next_number = number.next();
            observed
        }
        Action::Record { number, event } => {
            let seen = observed.sectors.get_mut(number).expect("an event of a sector that exists");
            seen.record = seen.record.apply(event, NOW).expect("an event that the table knows");
            observed
        }
        Action::Join { kind, batch, sectors } => {
            let id = batch.clone().unwrap_or_else(|| MessageId(format!("n-{kind}-{}", sectors[0])));
            let new = BatchSeen {
                batch: Batch::open(id.clone(), *kind, Vec::new(), NOW),
                busy: false,
                retry_at: None,
                gone_since: None,
                aggregate: None,
            };
            observed.batches.entry(id).or_insert(new).batch.sectors.extend(sectors);
            observed
        }
        Action::StopWorker(_)
        | Action::StartDevnet
        | Action::PrepareMiner
        | Action::PrepareParams(_)
        | Action::StartWorker(_)
        | Action::Announce { .. }
        | Action::DrawTicket(_)
        | Action::Run { .. }
        | Action::Aggregate { .. }
        | Action::Seal { .. }
        | Action::Push { .. }
        | Action::Resend(_)
        | Action::Reprice { .. } => under_way(observed, action),
    }
}

/// The same map, built the other way round.
pub(super) fn reversed<K: Ord + Clone, V: Clone>(map: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    map.iter().rev().map(|(key, value)| (key.clone(), value.clone())).collect()
}
