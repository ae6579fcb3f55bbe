//! The daemon's memory and errands against a real database and scripted nodes: what was done twice or never by mistake.

use super::{
    adopt::AggregateNote,
    compose::Draught,
    errands::{Desk, Done, Miner},
    generation::Source,
    news::News,
    observer::{ChainView, Questions, Sight},
    start,
    world::{Task, World},
};
use crate::{
    book::{Change, Composed, Handed, OVERTAKEN},
    chain::{
        Client, Endpoint, Executed, Fate, Limits, Message, NetworkParams, Sent, TipSet,
        fake::{Fake, Reply},
    },
    manifest,
    outbox::{Aggregate, Batch, BatchState, MessageKind},
    plan::Assignee,
    proofs::Prover,
    sector::{
        Event, EventKind, Facts, MessageId, Record, Stage, State,
        policy::parked,
        tests::{NOW, event},
    },
    store::StoreError,
    supervisor::{Notice, WorkerId},
    units::{AttoFil, Epoch, SectorNumber, SectorSize},
    worker::protocol::{About, Aggregated, Outcome, Running},
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

struct Bench {
    world: World,
    sight: watch::Sender<Sight>,
    _questions: watch::Receiver<Questions>,
    _lock: super::lock::StateLock,
    folder: tempfile::TempDir,
}

async fn bench() -> Bench {
    bench_in(tempfile::tempdir().unwrap()).await
}

async fn bench_in(folder: tempfile::TempDir) -> Bench {
    let overrides = manifest::Overrides { cwd: folder.path().to_owned(), ..manifest::Overrides::default() };
    let source = Source { path: "examples/configs/devnet.toml".into(), overrides };
    let proposal = source.read().unwrap();
    let (events, _) = mpsc::channel(1);
    let (world, _lock, sight, _questions) = start::world(source, proposal, Prover::Simulated, events).await.unwrap();
    Bench { world, sight, _questions, _lock, folder }
}

fn number() -> SectorNumber {
    SectorNumber::try_from(7).unwrap()
}

fn network() -> NetworkParams {
    NetworkParams { name: "testnet".to_owned(), block_delay_secs: 30, pre_commit_challenge_delay: 150 }
}

fn head(height: i64) -> TipSet {
    TipSet { key: vec!["bafyhead".to_owned()], height: Epoch::new(height), timestamp: 0, base_fee: AttoFil::ZERO }
}

fn sealed(kind: MessageKind, id: &str) -> Batch {
    let sectors = if kind == MessageKind::CreateMiner { Vec::new() } else { vec![number()] };
    let (from, to) = ("t01002".to_owned(), "t01000".to_owned());
    let message = Message { from, to, value: AttoFil::ZERO, method: 28, params: vec![1] };
    let open = Batch::open(MessageId(id.to_owned()), kind, sectors, NOW);
    Batch { state: BatchState::Sealed, message: Some(message), ..open }
}

fn executed(exit_code: i64) -> Executed {
    Executed { cid: "bafyours".to_owned(), exit_code, value: Vec::new(), height: Epoch::new(90) }
}

impl Bench {
    /// A sector that waits for its pre-commit, and the message, pushed.
    async fn pre_committed(&mut self) -> MessageId {
        let world = &mut self.world;
        let record = Record::new(number(), SectorSize::KiB2.seal_proof(), "disk".parse().unwrap(), NOW);
        world.commit(Change { created: vec![record], ..Change::default() }).await.unwrap();
        let way = [EventKind::Packed, EventKind::TicketDrawn, EventKind::PreCommit1Done, EventKind::PreCommit2Done];
        for kind in way {
            world.record_all(vec![(number(), event(kind))]).await.unwrap();
        }
        let id = MessageId("m-1".to_owned());
        let joined = world.book.join(MessageKind::PreCommit, None, &[number()], id.clone(), NOW);
        world.commit(joined).await.unwrap();
        let message = sealed(MessageKind::PreCommit, "m-1").message.unwrap();
        let composed = Composed { message: Some((vec![number()], message)), refused: Vec::new() };
        let change = world.book.seal(&id, composed, MessageId("rest".to_owned()), NOW);
        world.commit(change).await.unwrap();
        let sent = Sent {
            cid: "bafyours".to_owned(),
            nonce: 3,
            gas: Default::default(),
            signed: None,
            replaced: Vec::new(),
            at: Epoch::new(90),
        };
        let change = world.book.handed(&id, Handed::Taken(sent), NOW);
        world.commit(change).await.unwrap();
        id
    }

    /// The chain at a height, with what it says of messages.
    async fn sees(&mut self, height: i64, fates: &[(&MessageId, Fate)]) {
        let view = ChainView {
            head: head(height),
            finalized: Epoch::new(height - 5),
            network: network(),
            at: NOW,
            facts: BTreeMap::from([(number(), Facts::default())]),
            fates: fates.iter().map(|(id, fate)| ((*id).clone(), fate.clone())).collect(),
            next_number: None,
            network_version: None,
            accounts: None,
            contact: None,
            costs: None,
        };
        self.sight.send_replace(Sight { view: Some(Arc::new(view)), ..Sight::default() });
        self.world.on_view().await.unwrap();
    }

    fn state(&self, id: &MessageId) -> &BatchState {
        &self.world.book.batches[id].state
    }

    fn desk(&self, node: Endpoint) -> Desk {
        let limits = Limits { back_off: Duration::from_millis(1), ..Limits::default() };
        Desk {
            client: Client::with_limits(vec![node], limits).unwrap(),
            head: head(100),
            network: network(),
            manifest: Arc::clone(&self.world.manifest),
        }
    }
}

// matrix: D6
#[tokio::test]
async fn a_message_whose_nonce_stays_taken_is_given_up() {
    let mut bench = bench().await;
    let id = bench.pre_committed().await;
    bench.sees(100, &[(&id, Fate::Overtaken)]).await;
    bench.sees(101, &[(&id, Fate::Waiting)]).await;
    bench.sees(102, &[(&id, Fate::Overtaken)]).await;
    assert_eq!(bench.state(&id), &BatchState::Sent, "it came back in between");
    bench.sees(103, &[(&id, Fate::Overtaken)]).await;
    assert_eq!(bench.state(&id), &BatchState::Dissolved { why: OVERTAKEN.to_owned() });
}

#[tokio::test]
async fn that_a_message_landed_counts_at_the_head_it_is_read_at() {
    let mut bench = bench().await;
    let id = bench.pre_committed().await;
    bench.sees(100, &[(&id, Fate::Executed(executed(0)))]).await;
    assert!(bench.world.facts(&bench.world.book.records[&number()]).is_some());
    // a reorganisation has taken it back, and nobody has looked yet
    bench.sees(110, &[]).await;
    assert_eq!(bench.world.facts(&bench.world.book.records[&number()]), None);
    bench.sees(110, &[(&id, Fate::Waiting)]).await;
    assert_eq!(bench.state(&id), &BatchState::Sent);
}

#[tokio::test]
async fn after_a_write_that_failed_the_database_is_the_truth() {
    let mut bench = bench().await;
    bench.pre_committed().await;
    let world = &mut bench.world;
    // done, although it was said that it failed
    let landed = event(EventKind::PreCommitLanded);
    let after = world.book.records[&number()].apply(&landed, NOW).unwrap();
    let change = Change { sectors: vec![(after.clone(), landed.clone())], at: NOW, ..Change::default() };
    world.store.commit(&change).await.unwrap();
    let error = world.record_all(vec![(number(), landed.clone())]).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    world.doubt(&error);
    assert!(
        world.stale && world.snapshot(&crate::plan::Plan::default(), NOW).alarms.iter().any(|a| a.about == "database")
    );
    world.reload().await.unwrap();
    assert_eq!(world.book.records[&number()], after);
    world.record_all(vec![(number(), landed)]).await.unwrap();
    assert_eq!((world.stale, &world.store_trouble), (false, &None));
}

#[tokio::test]
async fn a_parked_sector_stays_parked_over_a_start_until_an_operator_says_retry() {
    let mut bench = bench().await;
    bench.pre_committed().await;
    let policy = bench.world.desired.policy;
    while parked(&bench.world.book.records[&number()], &policy).is_none() {
        bench.world.record_all(vec![(number(), event(EventKind::ChainPreCommitFailed))]).await.unwrap();
        bench.world.record_all(vec![(number(), Event::RetryWaitSeed)]).await.unwrap();
    }
    let Bench { world, _lock, folder, .. } = bench;
    drop((world, _lock));
    // a service that is restarted for ever would else spend one budget after the other
    let mut again = bench_in(folder).await;
    assert!(parked(&again.world.book.records[&number()], &policy).is_some());
    again.world.record_all(vec![(number(), Event::RetryAsked)]).await.unwrap();
    let record = &again.world.book.records[&number()];
    assert_eq!((record.state, record.attempts), (State::WaitSeed, 0));
}

#[tokio::test]
async fn an_errand_that_panics_comes_back() {
    let mut bench = bench().await;
    let lost = Done::Ticket { number: number(), result: Err("it panicked".to_owned()) };
    bench.world.errand_of.insert(number(), "drawing its ticket");
    bench.world.errand(lost, async { panic!("a test's") });
    let (_, done) = bench.world.errands.join_next().await.unwrap().unwrap();
    bench.world.on_errand(done, NOW, &mut News::default()).await.unwrap();
    assert!(bench.world.errand_of.is_empty() && bench.world.pauses.contains_key(&number()));
}

/// What a worker finished while no daemon was there, or found done already, says nothing of how long a stage takes.
#[tokio::test]
async fn a_stage_takes_what_its_worker_says_and_not_how_long_a_daemon_was_away() {
    let mut bench = bench().await;
    bench.pre_committed().await;
    let world = &mut bench.world;
    let worker = WorkerId { slot: "cpu".parse().unwrap(), instance: 0 };
    let record = &world.book.records[&number()];
    let task = Task {
        number: number(),
        stage: Stage::PreCommit1,
        worker: Assignee { slot: worker.slot.clone(), instance: 0 },
        repo: record.repo.clone(),
        attempt: record.attempt(),
        started: NOW,
    };
    let late = NOW.plus_ms(500_000);
    for (took_ms, known) in [(None, None), (Some(7_000), Some(7_000))] {
        world.tasks.insert(1, task.clone());
        let mut news = News::default();
        let done = Notice::Done { worker: worker.clone(), task: 1, outcome: Outcome::PreCommit1, peak: None, took_ms };
        world.on_notice(done, crate::clock::monotonic(), late, &mut news);
        world.record_news(news).await.unwrap();
        let stored = world.store.durations().await.unwrap().first().map(|(_, _, ms, _)| *ms);
        assert_eq!((world.durations.get(&Stage::PreCommit1).copied(), stored), (known, known));
    }
}

#[tokio::test]
async fn a_sector_at_which_another_version_works_is_busy_until_that_ends() {
    let mut bench = bench().await;
    bench.pre_committed().await;
    let worker = WorkerId { slot: "cpu".parse().unwrap(), instance: 0 };
    let about = About { stage: None, sector: Some(number()), ticket: None, seed: None };
    let job = Running { task: 9, about, note: "of another version".to_owned(), started: NOW, deadline: NOW };
    bench.world.remember(&job, &Assignee { slot: worker.slot.clone(), instance: 0 });
    let busy = |world: &World| world.observed(NOW).sectors[&number()].busy.clone();
    assert_eq!(busy(&bench.world).as_deref(), Some("a job of another version of seald on cpu/0"));
    bench.world.on_notice(Notice::Void { worker, task: 9 }, crate::clock::monotonic(), NOW, &mut News::default());
    assert_eq!(busy(&bench.world), None);
}

/// An aggregation that goes on under the next daemon is not begun again, and what comes of it is used.
#[tokio::test]
async fn an_aggregation_is_known_again() {
    let mut bench = bench().await;
    bench.pre_committed().await;
    let id = MessageId("m-2".to_owned());
    let batch = Batch::open(id.clone(), MessageKind::Commit, vec![number()], NOW);
    bench.world.commit(Change { batches: vec![batch], at: NOW, ..Change::default() }).await.unwrap();
    let of = vec![(number(), crate::units::Hash32([3; 32]))];
    let about = About { stage: None, sector: None, ticket: None, seed: None };
    let note = AggregateNote { batch: id.clone(), of: of.clone() }.to_text();
    let worker = WorkerId { slot: "cpu".parse().unwrap(), instance: 0 };
    let job = Running { task: 9, about, note, started: NOW, deadline: NOW };
    bench.world.remember(&job, &Assignee { slot: worker.slot.clone(), instance: 0 });
    assert!(bench.world.observed(NOW).batches[&id].busy);
    let outcome = Outcome::Aggregate { aggregated: Aggregated::Proof("aa".to_owned()) };
    let done = Notice::Done { worker, task: 9, outcome, peak: None, took_ms: None };
    let mut news = News::default();
    bench.world.on_notice(done, crate::clock::monotonic(), NOW, &mut news);
    bench.world.record_news(news).await.unwrap();
    assert!(!bench.world.observed(NOW).batches[&id].busy);
    let aggregate = Some(Aggregate { of, proof: Ok("aa".to_owned()) });
    assert_eq!(bench.state(&id), &BatchState::Open { aggregate });
}

// matrix: B11
#[tokio::test]
async fn a_message_that_may_have_been_sent_is_looked_for_before_it_is_sent_again() {
    let bench = bench().await;
    let id = "00000000-0000-4000-8000-000000000001";
    let sent = Batch { attempts: 1, ..sealed(MessageKind::PreCommit, id) };
    let fee = AttoFil::from_atto(1_000);
    let methods = |node: &Fake| node.asked().into_iter().map(|asked| asked.method).collect::<Vec<_>>();
    let key = fvm_shared::address::Address::new_bls(&[1; 48]).unwrap().to_string();
    let (of_away, of_changed) = (key.clone(), key);
    // the pool cannot be read: nothing is sent
    let away = Fake::start(move |asked| match asked.method.as_str() {
        "StateAccountKey" => Reply::Result(json!(of_away)),
        _ => Reply::Error(1, "busy"),
    })
    .await;
    let Done::Handed { result, .. } = bench.desk(away.endpoint()).push(sent.clone(), fee).await else { panic!() };
    assert!(matches!(result, Handed::Unclear(_)), "{result:?}");
    assert!(!methods(&away).contains(&"MpoolPushMessage".to_owned()), "{:?}", methods(&away));
    // it is nowhere, and the actor would not take it any more: it does not wait for ever
    let changed = Fake::start(move |asked| match asked.method.as_str() {
        "StateAccountKey" => Reply::Result(json!(of_changed)),
        "MpoolPending" => Reply::Result(json!([])),
        _ => Reply::Error(3, "the ticket is too old"),
    })
    .await;
    let Done::Handed { result, .. } = bench.desk(changed.endpoint()).push(sent, fee).await else { panic!() };
    assert!(matches!(&result, Handed::Refused(why) if why.contains("too old")), "{result:?} {:?}", methods(&changed));
}

#[tokio::test]
async fn a_miner_is_not_paid_for_again_and_again_nor_on_another_network() {
    let bench = bench().await;
    let nobody = || Endpoint { url: "http://127.0.0.1:1".to_owned(), token: None };
    for id in ["m-1", "m-2", "m-3"] {
        let failed = BatchState::Landed(executed(16));
        let batch = Batch { state: failed, ..sealed(MessageKind::CreateMiner, id) };
        bench.world.store.put_batch(&batch).await.unwrap();
    }
    let Done::Miner(Err(why)) =
        bench.desk(nobody()).miner(bench.world.store.clone(), BTreeMap::new(), Vec::new()).await
    else {
        panic!()
    };
    assert!(why.contains("failed on chain 3 times"), "{why}");
    let elsewhere = Desk { network: NetworkParams { name: "mainnet".to_owned(), ..network() }, ..bench.desk(nobody()) };
    let Done::Miner(Err(why)) = elsewhere.miner(bench.world.store.clone(), BTreeMap::new(), Vec::new()).await else {
        panic!()
    };
    assert!(why.contains("belongs to network testnet"), "{why}");
}

/// A node that takes a message of these sectors as `verdict` says.
async fn judging(verdict: impl Fn(&[u64], bool) -> Reply + Send + Sync + 'static) -> Fake {
    use crate::chain::params::ProveCommitSectors3Params;
    use base64::Engine as _;
    Fake::start(move |asked| match asked.method.as_str() {
        "StateMinerInitialPledgeForSector" => Reply::Result(json!("1000")),
        "GasEstimateMessageGas" => {
            let params = base64::engine::general_purpose::STANDARD.decode(asked.params[0]["Params"].as_str().unwrap());
            let params: ProveCommitSectors3Params = fvm_ipld_encoding::from_slice(&params.unwrap()).unwrap();
            let sectors: Vec<u64> = params.sector_activations.iter().map(|sector| sector.sector_number).collect();
            let answer = verdict(&sectors, params.aggregate_proof_type.is_some());
            let Reply::Result(limit) = answer else { return answer };
            let mut message = asked.params[0].clone();
            message["GasLimit"] = limit;
            Reply::Result(message)
        }
        _ => Reply::Error(1, "not asked for"),
    })
    .await
}

/// Composes a prove-commit of sectors 1 to `count`, of which there may be an aggregate.
async fn commit(node: &Fake, count: u64, aggregate: Option<Vec<u8>>) -> (Composed, bool) {
    let bench = bench().await;
    let record = |n: u64| {
        let start = Record::new(
            SectorNumber::try_from(n).unwrap(),
            SectorSize::KiB2.seal_proof(),
            "disk".parse().unwrap(),
            NOW,
        );
        Record { porep: Some("aabb".to_owned()), ..start }
    };
    let draught = Draught {
        from: "t01002".to_owned(),
        batch: MessageId("m-1".to_owned()),
        kind: MessageKind::Commit,
        records: (1..=count).map(record).collect(),
        aggregate,
        max_fee: AttoFil::from_atto(1_000),
    };
    let miner =
        Miner { id: crate::units::MinerId::new(1000), worker: "t01002".to_owned(), network: "devnet".to_owned() };
    let Done::Composed { result, .. } = bench.desk(node.endpoint()).compose(miner, draught).await else { panic!() };
    let composed = result.unwrap();
    let aggregated = composed.message.as_ref().is_some_and(|(_, message)| {
        let params: crate::chain::params::ProveCommitSectors3Params =
            fvm_ipld_encoding::from_slice(&message.params).unwrap();
        params.aggregate_proof_type.is_some()
    });
    (composed, aggregated)
}

fn members(composed: &Composed) -> Vec<u64> {
    composed.message.iter().flat_map(|(numbers, _)| numbers.iter().map(|number| number.as_u64())).collect()
}

// matrix: D8, D12
#[tokio::test]
async fn the_sector_that_the_chain_refuses_leaves_the_message_and_the_others_go() {
    let node = judging(|sectors, _| {
        if sectors.contains(&3) { Reply::Error(3, "no pre-committed sector 3") } else { Reply::Result(json!(1_000)) }
    })
    .await;
    let (composed, _) = commit(&node, 5, None).await;
    assert_eq!(members(&composed), [1, 2, 4, 5]);
    let [(number, why)] = &composed.refused[..] else { panic!("{composed:?}") };
    assert!(number.as_u64() == 3 && why.contains("no pre-committed sector"), "{composed:?}");
}

// matrix: D10
#[tokio::test]
async fn a_message_above_the_block_gas_is_halved_until_it_fits() {
    let node = judging(
        |sectors, _| {
            if sectors.len() > 3 { Reply::Error(2, "out of gas") } else { Reply::Result(json!(1_000)) }
        },
    )
    .await;
    let (composed, _) = commit(&node, 10, None).await;
    assert_eq!((members(&composed), composed.refused.len()), (vec![1, 2, 3], 0), "the others wait for the next one");
}

#[tokio::test]
async fn the_cheaper_of_an_aggregate_and_its_proofs_is_sent() {
    for (single, whole, aggregated) in [(900, 1_000, false), (1_000, 900, true)] {
        let node = judging(move |_, one| Reply::Result(json!(if one { whole } else { single }))).await;
        let (composed, sent) = commit(&node, 5, Some(vec![1; 64])).await;
        assert_eq!((members(&composed).len(), sent), (5, aggregated));
    }
    // as many proofs would not fit the block, their aggregate does
    let node = judging(|_, one| if one { Reply::Result(json!(900)) } else { Reply::Error(2, "out of gas") }).await;
    let (composed, sent) = commit(&node, 5, Some(vec![1; 64])).await;
    assert_eq!((members(&composed).len(), sent), (5, true));
    // the chain refuses the aggregate: each sector stands for itself
    let node = judging(|_, one| if one { Reply::Error(3, "bad aggregate") } else { Reply::Result(json!(900)) }).await;
    let (composed, sent) = commit(&node, 5, Some(vec![1; 64])).await;
    assert_eq!((members(&composed).len(), sent), (5, false));
}

#[tokio::test]
async fn a_node_that_is_away_makes_no_message_and_refuses_no_sector() {
    let node = judging(|_, _| Reply::Raw(500, String::new())).await;
    let bench = bench().await;
    let record = Record {
        porep: Some("aabb".to_owned()),
        ..Record::new(number(), SectorSize::KiB2.seal_proof(), "disk".parse().unwrap(), NOW)
    };
    let draught = Draught {
        from: "t01002".to_owned(),
        batch: MessageId("m-1".to_owned()),
        kind: MessageKind::Commit,
        records: vec![record],
        aggregate: None,
        max_fee: AttoFil::ZERO,
    };
    let miner =
        Miner { id: crate::units::MinerId::new(1000), worker: "t01002".to_owned(), network: "devnet".to_owned() };
    let done = bench.desk(node.endpoint()).compose(miner, draught).await;
    assert!(matches!(done, Done::Composed { result: Err(_), .. }), "{done:?}");
}

/// Where it was sealed and where it is kept: neither goes while it is there.
#[tokio::test]
async fn a_repo_that_holds_a_sector_is_not_let_go() {
    let mut bench = bench().await;
    let text = std::fs::read_to_string("examples/configs/devnet.toml").unwrap();
    let more = format!("{text}\n[repo.attic]\npath = \"attic\"\nroles = [\"store\"]\n");
    let source = bench.world.in_force.source.clone();
    let of =
        |text: &str| source.parse(vec![manifest::File { path: "seald.toml".into(), text: text.to_owned() }]).unwrap();
    bench.world.enforce(of(&more), super::generation::How::Reload).await.unwrap();
    assert_eq!(bench.world.compare(&of(&text), &[]).refused, [""; 0], "nothing is in it");
    let mut record = Record::new(number(), SectorSize::KiB2.seal_proof(), "disk".parse().unwrap(), NOW);
    record.store = Some("attic".parse().unwrap());
    bench.world.book.records.insert(number(), record);
    let refused = bench.world.compare(&of(&text), &[]).refused;
    assert!(matches!(refused.as_slice(), [why] if why.starts_with("repo.attic: 1 sector")), "{refused:?}");
    let moved = more.replace("\"attic\"\n", "\"elsewhere\"\n");
    assert!(!bench.world.compare(&of(&moved), &[]).refused.is_empty());
}
