//! The API as tools see it: over HTTP and over websockets, against shapes written down from Lotus's Go types.

use super::{
    answers::Desk,
    method::Method,
    server::router,
    site::{File, Job, Known, Lookup, OnChain, Repo, Room, Site, Worker},
    token::{Permission, Secret},
    workers::worker_id,
};
use crate::{
    chain::{Ends, SectorTerms},
    control::{Answering, Ask, Cause, Refused, Reply, Request},
    host::memory::Memory,
    manifest::Api,
    plan::Assignee,
    sector::{Event, EventKind, Record, Stage, State, tests::event},
    status::{
        Alarm, BatchStatus, SectorStatus, Snapshot,
        orders::{FORMAT_VERSION, Pledged},
        sectors::HistoryLine,
    },
    units::{AttoFil, Bytes, Epoch, MinerId, SectorNumber, SectorSize, UnixMillis},
};
use axum::extract::connect_info::MockConnectInfo;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _, future::BoxFuture};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use tokio_tungstenite::tungstenite;

const MINER: MinerId = MinerId::new(1000);

fn number(number: u64) -> SectorNumber {
    SectorNumber::try_from(number).unwrap()
}

fn at(second: i64) -> UnixMillis {
    UnixMillis::new(1_700_000_000_000 + second * 1_000)
}

/// A sector whose proof is on its way.
fn proven() -> Known {
    let mut record = Record::new(number(3), SectorSize::KiB2.seal_proof(), "disk".parse().unwrap(), at(0));
    let mut history = Vec::new();
    let mut take = |event: Event, second| {
        record = record.apply(&event, at(second)).unwrap();
        history.push(HistoryLine { at: at(second), event, applied: true });
    };
    let way = [
        EventKind::Packed,
        EventKind::TicketDrawn,
        EventKind::PreCommit1Done,
        EventKind::PreCommit2Done,
        EventKind::PreCommitted,
        EventKind::PreCommitLanded,
        EventKind::SeedReady,
        EventKind::ProofReady,
    ];
    way.into_iter().zip(1..).for_each(|(kind, second)| take(event(kind), second));
    let stale = HistoryLine { at: at(9), event: event(EventKind::Packed), applied: false };
    let history = history.into_iter().chain([stale]).collect();
    Known { record, history, precommit: Some("bafy2bzacepre".to_owned()), commit: None }
}

/// Looks up what the tests wrote down.
struct Shelf;

impl Lookup for Shelf {
    fn sectors(&self) -> BoxFuture<'_, Result<Vec<(SectorNumber, State)>, Refused>> {
        let states = [(1, State::Proving), (2, State::Removed), (3, State::Committing), (7, State::Proving)];
        async move { Ok(states.map(|(of, state)| (number(of), state)).to_vec()) }.boxed()
    }

    fn sector(&self, of: SectorNumber) -> BoxFuture<'_, Result<Known, Refused>> {
        async move {
            match of.as_u64() {
                3 => Ok(proven()),
                4 => {
                    let proof = SectorSize::KiB2.seal_proof();
                    let record = Record::new(number(4), proof, "disk".parse().unwrap(), at(0));
                    Ok(Known { record, history: Vec::new(), precommit: None, commit: None })
                }
                _ => Err(Refused::new(Cause::Unknown, format!("there is no sector {of}"), "look at the list")),
            }
        }
        .boxed()
    }

    fn on_chain(&self, of: SectorNumber) -> BoxFuture<'_, Result<Option<OnChain>, Refused>> {
        let terms = SectorTerms {
            seal_proof: 5,
            activation: Epoch::new(200),
            expiration: Epoch::new(90_000),
            deal_weight: 0,
            verified_deal_weight: 340_282_366_920_938,
            pledge: AttoFil::from_atto(12_345_678_901_234_567_890),
            power_base: Epoch::new(200),
            daily_fee: AttoFil::ZERO,
        };
        let ends = Ends { on_time: Epoch::new(90_059), early: Some(Epoch::new(43_000)) };
        let found = (of == number(3)).then_some(OnChain { terms, ends: Some(ends) });
        async move { Ok(found) }.boxed()
    }

    fn files(&self, repo: Repo) -> BoxFuture<'_, Result<Vec<File>, Refused>> {
        assert_eq!(repo.id, "76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8");
        async { Ok(vec![File { miner: MINER, number: number(1), kinds: 6 }]) }.boxed()
    }

    fn kinds(&self, repo: Repo, miner: MinerId, of: SectorNumber) -> BoxFuture<'_, Result<u8, Refused>> {
        assert_eq!((repo.id.as_str(), miner), ("76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8", MINER));
        async move { Ok(if of == number(1) { 6 } else { 0 }) }.boxed()
    }

    fn memory(&self) -> Memory {
        let [physical, used, swap, swap_used] = [64, 8, 16, 1].map(Bytes::new);
        Memory { physical, used, swap, swap_used }
    }
}

fn who(instance: u32) -> Assignee {
    Assignee { slot: "gpu0".parse().unwrap(), instance }
}

fn site(access: Api) -> Site {
    let worker = |instance, job| Worker {
        who: who(instance),
        stages: [Stage::PreCommit2, Stage::Commit].into(),
        enabled: instance == 0,
        cpus: 4,
        gpu: (instance == 0).then(|| "GPU-1".to_owned()),
        memory: Bytes::new(5),
        job,
    };
    let repo = |id: &str, room| Repo {
        id: id.to_owned(),
        path: "/data/disk".into(),
        seal: true,
        store: false,
        weight: 10,
        max_use: Some(Bytes::new(900)),
        room,
    };
    let [capacity, free, left, used, reserved] = [1000, 600, 500, 300, 20].map(Bytes::new);
    let job = Job { task: 9, sector: number(3), stage: Stage::Commit, since: at(0) };
    Site {
        access,
        miner: Some(MINER),
        sector_size: SectorSize::KiB2,
        next_number: Some(number(12)),
        workers: vec![worker(0, Some(job)), worker(1, None)],
        repos: vec![
            repo("76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8", Ok(Room { capacity, free, left, used, reserved })),
            repo("gone", Err("nothing is mounted there".to_owned())),
        ],
    }
}

fn snapshot() -> Snapshot {
    let batch = |kind: &str, state: &str| BatchStatus {
        id: "b".to_owned(),
        kind: kind.to_owned(),
        state: state.to_owned(),
        sectors: vec![number(3)],
        oldest: at(0),
        leaves: None,
        waits_for: None,
        cids: Vec::new(),
    };
    let (about, what, remedy) = ("wallet".to_owned(), "it is empty".to_owned(), "fill it".to_owned());
    let mut snapshot = Snapshot {
        miner: Some(MINER),
        sectors: vec![
            SectorStatus::new(number(3), "Committing", at(0)),
            SectorStatus::new(number(4), "WaitSeed", at(0)),
        ],
        batches: vec![batch("commit", "open"), batch("pre_commit", "sent")],
        counts: vec![("Proving".to_owned(), 2), ("PreCommitting".to_owned(), 1)],
        alarms: vec![Alarm { about, what, remedy }],
        ..Snapshot::empty(at(0))
    };
    snapshot.chain.network = Some("calibrationnet".to_owned());
    snapshot.version = "1.2.3".to_owned();
    snapshot
}

/// A server, and whoever talks to it.
struct Bench {
    url: String,
    secret: Secret,
    status: watch::Sender<Arc<Snapshot>>,
    requests: mpsc::Receiver<Request>,
    http: reqwest::Client,
    _server: JoinSet<()>,
}

async fn bench() -> Bench {
    bench_with(Api::Read).await
}

async fn bench_with(access: Api) -> Bench {
    let key = [7; 32];
    let (status, seen) = watch::channel(Arc::new(snapshot()));
    let (sender, requests) = mpsc::channel(1);
    let desk = Desk {
        secret: Ok(Secret::new(&key)),
        site: watch::Sender::new(Some(Arc::new(site(access)))).subscribe(),
        status: seen,
        lookup: Arc::new(Shelf),
        requests: sender,
        address: SocketAddr::from(([10, 0, 0, 2], 2345)),
        host: "box".to_owned(),
        session: "ef8d99a2-6865-4189-8ffa-9fef0f806eee".parse().unwrap(),
        began: at(0),
        pledging: Semaphore::new(1),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = router(desk).layer(MockConnectInfo(Answering::default()));
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    // a devnet and these tests need no certificates
    drop(rustls::crypto::ring::default_provider().install_default());
    Bench { url, secret: Secret::new(&key), status, requests, http: reqwest::Client::new(), _server: server }
}

impl Bench {
    fn token(&self, permission: Permission) -> String {
        self.secret.sign(&permission.and_below())
    }

    async fn send(&self, token: Option<&str>, body: String) -> (u16, String) {
        let request = self.http.post(format!("{}/rpc/v0", self.url)).body(body);
        let request = match token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The whole answer to a call of somebody who may do that.
    async fn call(&self, permission: Permission, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "method": format!("Filecoin.{method}"), "params": params, "id": 3 });
        let (status, text) = self.send(Some(&self.token(permission)), body.to_string()).await;
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(3)));
        answer
    }

    async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.call(Permission::Admin, method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    async fn error(&self, permission: Permission, method: &str, params: Value) -> (i64, String) {
        let answer = self.call(permission, method, params).await;
        assert!(answer.get("result").is_none(), "{method}: {answer}");
        (answer["error"]["code"].as_i64().unwrap(), answer["error"]["message"].as_str().unwrap().to_owned())
    }
}

/// Method, parameters, and what comes of them.
type Fixture = (&'static str, Value, Value);

fn of_miner_and_sectors(bench: &Bench) -> Vec<Fixture> {
    vec![
        (
            "Version",
            json!([]),
            json!({"Version": "seald-1.2.3+calibrationnet", "APIVersion": 66816, "BlockDelay": 4, "Agent": "seald"}),
        ),
        ("Session", json!([]), json!("ef8d99a2-6865-4189-8ffa-9fef0f806eee")),
        ("StartTime", json!([]), json!("2023-11-14T22:13:20Z")),
        ("AuthVerify", json!([bench.token(Permission::Write)]), json!(["read", "write"])),
        ("LogList", json!([]), json!(["seald"])),
        ("RuntimeSubsystems", json!([]), json!(["Sealing", "SectorStorage"])),
        ("ActorAddress", json!([]), json!("t01000")),
        ("ActorSectorSize", json!(["f01000"]), json!(2048)),
        (
            "ActorAddressConfig",
            json!([]),
            json!({"PreCommitControl": [], "CommitControl": [], "TerminateControl": [], "DealPublishControl": [],
                "DisableOwnerFallback": false, "DisableWorkerFallback": false}),
        ),
        ("SectorsList", json!([]), json!([1, 2, 3, 7])),
        ("SectorsSummary", json!([]), json!({"Proving": 2, "SubmitPreCommitBatch": 1})),
        ("SectorsListInStates", json!([["Proving", "Nonsense"]]), json!([1, 7])),
        ("SectorsListInStates", json!([["WaitSeed"]]), Value::Null),
        ("SectorsListInStates", json!([[]]), Value::Null),
        ("SectorsRefs", json!([]), json!({})),
        ("SectorNumReservations", json!([]), json!({})),
        (
            "SectorNumAssignerMeta",
            json!([]),
            json!({"Reserved": [0], "Allocated": [1, 3, 3, 1], "InUse": [1, 3, 3, 1], "Next": 12}),
        ),
    ]
}

fn of_storage() -> Vec<Fixture> {
    vec![
        (
            "StorageList",
            json!([]),
            json!({"76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8": [{"Miner": 1000, "Number": 1, "SectorFileType": 6}],
                "gone": []}),
        ),
        (
            "StorageLocal",
            json!([]),
            json!({"76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8": "/data/disk", "gone": "/data/disk"}),
        ),
        (
            "StorageInfo",
            json!(["76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8"]),
            json!({"ID": "76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8", "URLs": ["http://10.0.0.2:2345/remote"], "Weight": 10,
                "MaxStorage": 900, "CanSeal": true, "CanStore": false, "Groups": [], "AllowTo": [], "AllowTypes": [],
                "DenyTypes": [], "AllowMiners": [], "DenyMiners": []}),
        ),
        (
            "StorageStat",
            json!(["76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8"]),
            json!({"Capacity": 1000, "Available": 500, "FSAvailable": 600, "Reserved": 20, "Max": 900, "Used": 300}),
        ),
        (
            "StorageFindSector",
            json!([{"Miner": 1000, "Number": 1}, 2, 2048, false]),
            json!([{"ID": "76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8",
                "URLs": ["http://10.0.0.2:2345/remote/sealed/s-t01000-1"], "BaseURLs": ["http://10.0.0.2:2345/remote"],
                "Weight": 10, "CanSeal": true, "CanStore": false, "Primary": true, "AllowTypes": [], "DenyTypes": [],
                "AllowMiners": [], "DenyMiners": []}]),
        ),
        ("StorageFindSector", json!([{"Miner": 1000, "Number": 1}, 1, 0, true]), json!([])),
        ("StorageFindSector", json!([{"Miner": 1000, "Number": 2}, 7, 0, true]), json!([])),
        (
            "StorageGetLocks",
            json!([]),
            json!({"Locks": [{"Sector": {"Miner": 1000, "Number": 3}, "Write": [0, 1, 1, 0, 0, 0],
                "Read": [0, 0, 0, 0, 0, 0]}]}),
        ),
    ]
}

fn of_workers_and_messages() -> Vec<Fixture> {
    let worker = |instance| worker_id("box", &who(instance)).to_string();
    vec![
        ("SectorPreCommitPending", json!([]), json!([])),
        ("SectorCommitPending", json!([]), json!([{"Miner": 1000, "Number": 3}])),
        ("SectorTerminatePending", json!([]), json!([])),
        ("MarketListDeals", json!([]), json!([])),
        (
            "LogAlerts",
            json!([]),
            json!([{"Type": {"System": "seald", "Subsystem": "wallet"}, "Active": true,
                "LastActive": {"Type": "raised", "Message": {"message": "it is empty", "remedy": "fill it"},
                    "Time": "2023-11-14T22:13:20Z"},
                "LastResolved": null}]),
        ),
        (
            "WorkerStats",
            json!([]),
            json!({
                (worker(0)): {"Info": {"Hostname": "box:gpu0/0", "IgnoreResources": false, "Resources": {
                        "MemPhysical": 64, "MemUsed": 8, "MemSwap": 16, "MemSwapUsed": 1, "CPUs": 4, "GPUs": ["GPU-1"],
                        "Resources": null}},
                    "Tasks": ["seal/v0/precommit/2", "seal/v0/commit/1", "seal/v0/commit/2"], "Enabled": true,
                    "MemUsedMin": 5, "MemUsedMax": 5, "GpuUsed": 1, "CpuUse": 4,
                    "TaskCounts": {"5:seal/v0/commit/2": 1}},
                (worker(1)): {"Info": {"Hostname": "box:gpu0/1", "IgnoreResources": false, "Resources": {
                        "MemPhysical": 64, "MemUsed": 8, "MemSwap": 16, "MemSwapUsed": 1, "CPUs": 4, "GPUs": [],
                        "Resources": null}},
                    "Tasks": ["seal/v0/precommit/2", "seal/v0/commit/1", "seal/v0/commit/2"], "Enabled": false,
                    "MemUsedMin": 5, "MemUsedMax": 5, "GpuUsed": 0, "CpuUse": 0, "TaskCounts": {}},
            }),
        ),
    ]
}

#[tokio::test]
async fn small_answers_have_lotus_shapes() {
    let bench = bench().await;
    let mut bare = snapshot();
    bare.chain.epoch_secs = Some(4);
    bench.status.send_replace(Arc::new(bare));
    let fixtures = [of_miner_and_sectors(&bench), of_storage(), of_workers_and_messages()];
    for (method, params, expected) in fixtures.into_iter().flatten() {
        assert_eq!(bench.result(method, params).await, expected, "{method}");
    }
}

#[tokio::test]
async fn jobs_and_waits_name_their_sector_and_worker() {
    let bench = bench().await;
    let worker = worker_id("box", &who(0)).to_string();
    let jobs = bench.result("WorkerJobs", json!([])).await;
    let job = &jobs[&worker][0];
    let sector = json!({"Miner": 1000, "Number": 3});
    let id: uuid::Uuid = job["ID"]["ID"].as_str().unwrap().parse().unwrap();
    let expected = json!({"ID": {"Sector": sector, "ID": id}, "Sector": sector, "Task": "seal/v0/commit/2", "RunWait": 0,
        "Start": "2023-11-14T22:13:20Z", "Hostname": "box:gpu0/0"});
    assert_eq!((jobs.as_object().unwrap().len(), job), (1, &expected));

    let waits = bench.result("SealingSchedDiag", json!([true])).await;
    let request = &waits["SchedInfo"]["Requests"][0];
    assert_eq!(waits["SchedInfo"]["Requests"].as_array().unwrap().len(), 1, "nothing waits for a seed's worker");
    assert_eq!((&request["Sector"], &request["TaskType"]), (&sector, &json!("seal/v0/commit/2")));
    assert!(request["SchedId"].as_str().unwrap().parse::<uuid::Uuid>().is_ok());
    // the only other worker is not enabled
    assert_eq!(waits["SchedInfo"]["OpenWindows"], json!([]));
    let rest = json!({"ReturnedWork": waits["ReturnedWork"], "Waiting": waits["Waiting"],
        "CallToWork": waits["CallToWork"], "EarlyRet": waits["EarlyRet"]});
    assert_eq!(rest, json!({"ReturnedWork": null, "Waiting": null, "CallToWork": {}, "EarlyRet": null}));
}

#[tokio::test]
async fn a_sector_is_told_as_lotus_tells_it() {
    let bench = bench().await;
    let Record { ticket, seed, sealed, porep, .. } = proven().record;
    let (ticket, seed, sealed) = (ticket.unwrap(), seed.unwrap(), sealed.unwrap());
    let line = |kind: &str, second: i64, said: &str| {
        let said = json!({ "User": said }).to_string();
        json!({"Kind": kind, "Timestamp": 1_700_000_000 + second, "Trace": "", "Message": said})
    };
    let status = bench.result("SectorsStatus", json!([3, false])).await;
    let log = status["Log"].as_array().unwrap().clone();
    let kinds: Vec<_> =
        log.iter().map(|line| line["Kind"].as_str().unwrap().trim_start_matches("event;sealing.")).collect();
    let expected = [
        "SectorStartCC",
        "SectorPacked",
        "SectorTicket",
        "SectorPreCommit1",
        "SectorPreCommit2",
        "SectorPreCommitBatchSent",
        "SectorPreCommitLanded",
        "SectorSeedReady",
        "SectorCommitted",
    ];
    assert_eq!(kinds, expected, "what met the wrong state is not in it");
    assert_eq!(log[..2], [line("event;sealing.SectorStartCC", 0, ""), line("event;sealing.SectorPacked", 1, "")]);
    let expected = json!({
        "SectorID": 3, "State": "Committing",
        "CommD": {"/": crate::chain::cids::unsealed(sealed.comm_d).to_string()},
        "CommR": {"/": crate::chain::cids::sealed(sealed.comm_r).to_string()},
        "Proof": STANDARD.encode(crate::units::from_hex(&porep.unwrap()).unwrap()),
        "Deals": [0],
        "Pieces": [{"Piece": {"Size": 2048,
            "PieceCID": {"/": "baga6ea4seaqpy7usqklokfx2vxuynmupslkeutzexe2uqurdg5vhtebhxqmpqmy"}}, "DealInfo": null}],
        "Ticket": {"Value": STANDARD.encode(ticket.value.0), "Epoch": ticket.epoch.as_i64()},
        "Seed": {"Value": STANDARD.encode(seed.value.0), "Epoch": seed.epoch.as_i64()},
        "PreCommitMsg": {"/": "bafy2bzacepre"}, "CommitMsg": null, "Retries": 0, "ToUpgrade": false,
        "ReplicaUpdateMessage": null, "LastErr": "", "Log": log,
        "SealProof": 5, "Activation": 0, "Expiration": 0, "DealWeight": "0", "VerifiedDealWeight": "0",
        "InitialPledge": "0", "OnTime": 0, "Early": 0,
    });
    assert_eq!(status, expected);

    // with the chain's view of it
    let status = bench.result("SectorsStatus", json!([3, true])).await;
    let seen =
        ["SealProof", "Activation", "Expiration", "OnTime", "Early"].map(|field| status[field].as_i64().unwrap());
    assert_eq!(seen, [5, 200, 90_000, 90_059, 43_000]);
    let seen = ["InitialPledge", "DealWeight", "VerifiedDealWeight"].map(|field| status[field].as_str().unwrap());
    assert_eq!(seen, ["12345678901234567890", "0", "340282366920938"]);

    // a young one: null where there is nothing, and a log all the same
    let status = bench.result("SectorsStatus", json!([4, true])).await;
    let nothing = ["CommD", "CommR", "Proof", "PreCommitMsg", "CommitMsg"];
    assert!(nothing.iter().all(|field| status[field].is_null() && status.get(field).is_some()), "{status:#}");
    assert_eq!(status["Ticket"], json!({"Value": null, "Epoch": 0}));
    assert_eq!(status["Log"], json!([line("event;sealing.SectorStartCC", 0, "")]));

    let (code, why) = bench.error(Permission::Read, "SectorsStatus", json!([99, false])).await;
    assert_eq!((code, why.as_str()), (1, "there is no sector 99: look at the list"));
}

#[tokio::test]
async fn each_method_wants_its_permission_and_no_token_is_read() {
    let bench = bench().await;
    for method in Method::ALL {
        let words = format!("missing permission to invoke '{}' (need '{}')", method.name(), method.permission().word());
        for permission in Permission::ALL {
            // a wrong number of parameters is found after the permission: nothing is done
            let params = json!([1, 2, 3, 4, 5]);
            let (code, why) = bench.error(permission, method.name(), params).await;
            if permission < method.permission() {
                assert_eq!((code, &why), (1, &words), "{permission:?}");
            } else {
                assert_eq!(code, -32602, "{method:?} with {permission:?}: {why}");
            }
        }
        let body =
            json!({"method": format!("Filecoin.{}", method.name()), "params": [1, 2, 3, 4, 5], "id": 1}).to_string();
        let (_, text) = bench.send(None, body).await;
        assert_eq!(text.contains(&words), method.permission() != Permission::Read, "{method:?}: {text}");
    }
    // as in Lotus, what a token lists is all that it allows
    let admin_only = bench.secret.sign(&[Permission::Admin].into());
    let (_, text) = bench.send(Some(&admin_only), json!({"method": "Filecoin.Version", "id": 1}).to_string()).await;
    assert!(text.contains("need 'read'"), "{text}");
}

#[tokio::test]
async fn tokens_come_in_the_header_or_in_the_query_and_wrong_ones_are_401() {
    let bench = bench().await;
    let body = json!({"method": "Filecoin.StorageLocal", "params": [], "id": 1}).to_string();
    let (status, text) = bench.send(Some(&bench.token(Permission::Admin)), body.clone()).await;
    assert!(status == 200 && text.contains("/data/disk"), "{text}");
    let in_query =
        |token: &str| bench.http.post(format!("{}/rpc/v0?token={token}", bench.url)).body(body.clone()).send();
    let answer = in_query(&bench.token(Permission::Admin)).await.unwrap();
    assert!(answer.text().await.unwrap().contains("/data/disk"));
    assert_eq!(in_query("nonsense").await.unwrap().status(), 401);

    let other = Secret::new(&[8; 32]).sign(&Permission::Admin.and_below());
    let good = bench.token(Permission::Admin);
    for token in ["nonsense", "a.b.c", other.as_str(), &good[1..]] {
        let (status, text) = bench.send(Some(token), body.clone()).await;
        assert!(status == 401 && !text.contains(token), "{status} {text}");
    }
    let basic =
        bench.http.post(format!("{}/rpc/v0", bench.url)).header("Authorization", "Basic eDp5").body(body.clone());
    assert_eq!(basic.send().await.unwrap().status(), 401);

    // a token that the API makes is one of this daemon
    let made = bench.result("AuthNew", json!([["read", "write"]])).await;
    let made = String::from_utf8(STANDARD.decode(made.as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(bench.result("AuthVerify", json!([made])).await, json!(["read", "write"]));
    let (code, why) = bench.error(Permission::Admin, "AuthNew", json!([["root"]])).await;
    assert!(code == -32602 && why.contains("read, write, sign, admin"), "{code} {why}");
    let (code, why) = bench.error(Permission::Admin, "AuthVerify", json!(["nonsense"])).await;
    assert!(code == 1 && why.contains("seald api token"), "{why}");
}

#[tokio::test]
async fn a_batch_is_answered_in_one_list_and_nonsense_ends_nothing() {
    let bench = bench().await;
    let batch = json!([
        {"jsonrpc": "2.0", "method": "Filecoin.ActorAddress", "id": "a"},
        {"jsonrpc": "2.0", "method": "Filecoin.Nothing", "id": 2},
        {"jsonrpc": "2.0", "method": "Filecoin.ActorAddress"},
        7,
    ]);
    let (status, text) = bench.send(None, batch.to_string()).await;
    let answers: Vec<Value> = serde_json::from_str(&text).unwrap();
    let codes: Vec<_> = answers.iter().map(|answer| answer["error"]["code"].as_i64()).collect();
    assert_eq!((status, codes), (200, vec![None, Some(-32601), Some(-32600)]));
    assert_eq!(answers[0], json!({"jsonrpc": "2.0", "result": "t01000", "id": "a"}));
    // nobody waits for the answer to a call without an id
    let told = json!({"jsonrpc": "2.0", "method": "Filecoin.ActorAddress"}).to_string();
    assert_eq!(bench.send(None, told.clone()).await, (200, String::new()));

    let deep = "[".repeat(100_000);
    let many = json!(vec![json!({"id": 1, "method": "Filecoin.Version"}); 101]).to_string();
    for (body, code) in [("{", -32700), ("", -32700), (deep.as_str(), -32700), ("[]", -32600), (many.as_str(), -32600)]
    {
        let (status, text) = bench.send(None, body.to_owned()).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)), "{body:.20}");
    }
    let huge = format!("{{\"id\":1,\"method\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(bench.send(None, huge).await.0, 413);
    // nothing of what is asked comes back at any length
    let long = json!({"id": 1, "method": "x".repeat(100_000)}).to_string();
    assert!(bench.send(None, long).await.1.len() < 500);
    let (code, why) = bench.error(Permission::Read, "ActorSectorSize", json!(["f0".repeat(1000)])).await;
    assert!(code == 1 && why.len() < 200, "{why}");
    for (method, params) in [("SectorsStatus", json!([-1, false])), ("SectorsStatus", json!([3, "yes"]))] {
        assert_eq!(bench.error(Permission::Read, method, params).await.0, -32602);
    }
}

#[tokio::test]
async fn paths_that_are_not_the_api_say_so() {
    let bench = bench().await;
    for (path, words) in
        [("/remote/sealed/s-t01000-1", "sector files"), ("/", "/metrics and /rpc/v0"), ("/rpc/v2", "/rpc/v0")]
    {
        let answer = bench.http.get(format!("{}{path}", bench.url)).send().await.unwrap();
        assert_eq!(answer.status(), 404);
        assert!(answer.text().await.unwrap().contains(words), "{path}");
    }
    let answer = bench.http.get(format!("{}/rpc/v0", bench.url)).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    let closed = bench_with(Api::Off).await;
    let (status, text) = closed.send(None, json!({"id": 1, "method": "Filecoin.Version"}).to_string()).await;
    assert!(status == 404 && text.contains("node.api"), "{text}");
}

#[tokio::test]
async fn the_document_names_every_method() {
    let bench = bench().await;
    let found = bench.result("Discover", json!([])).await;
    let names: Vec<_> = found["methods"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    let expected: Vec<_> = Method::ALL.iter().map(|method| format!("Filecoin.{}", method.name())).collect();
    assert_eq!(names, expected);
    let (_, text) = bench.send(None, json!({"id": 1, "method": "rpc.discover"}).to_string()).await;
    assert!(text.contains("\"openrpc\":\"1.2.6\""), "{text}");
}

#[tokio::test]
async fn a_pledge_goes_to_the_loop_where_the_manifest_allows_it_and_answers_with_the_sector() {
    let refusing = bench().await;
    let (code, why) = refusing.error(Permission::Write, "PledgeSector", json!([])).await;
    assert!(code == 1 && why.contains("node.api = \"write\""), "{why}");

    let mut bench = bench_with(Api::Write).await;
    let (code, why) = bench.error(Permission::Read, "PledgeSector", json!([])).await;
    assert_eq!((code, why.as_str()), (1, "missing permission to invoke 'PledgeSector' (need 'write')"));
    assert!(bench.requests.try_recv().is_err(), "nothing was ordered");

    let token = bench.token(Permission::Write);
    let body = json!({"id": 1, "method": "Filecoin.PledgeSector"}).to_string();
    let request = bench.http.post(format!("{}/rpc/v0?token={token}", bench.url)).body(body);
    let mut asking = JoinSet::new();
    asking.spawn(async move { request.send().await.unwrap().json::<Value>().await.unwrap() });
    let Request { ask, reply } = bench.requests.recv().await.unwrap();
    assert_eq!(ask, Ask::Pledge(std::num::NonZeroU64::MIN));
    let pledged = Pledged { format_version: FORMAT_VERSION, declared: 1, wanted: 2, proving: 1 };
    reply.send(Ok(Reply::Pledged(pledged))).unwrap();
    let mut later = snapshot();
    later.sectors.push(SectorStatus::new(number(8), "Packing", at(1)));
    bench.status.send_replace(Arc::new(later));
    let answer = asking.join_next().await.unwrap().unwrap();
    assert_eq!(answer["result"], json!({"Miner": 1000, "Number": 8}), "{answer}");
}

#[tokio::test]
async fn a_websocket_answers_calls_in_any_order_and_pings() {
    let bench = bench().await;
    let address = bench.url.trim_start_matches("http://").to_owned();
    let token = bench.token(Permission::Admin);
    let stream = TcpStream::connect(&address).await.unwrap();
    let url = format!("ws://{address}/rpc/v0?token={token}");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    // more than are answered at a time, and one that is no call
    for id in 0..40 {
        let call = json!({"jsonrpc": "2.0", "method": "Filecoin.StorageLocal", "params": [], "id": id});
        socket.send(tungstenite::Message::text(call.to_string())).await.unwrap();
    }
    socket.send(tungstenite::Message::text("nonsense")).await.unwrap();
    socket.send(tungstenite::Message::Ping("are you there".into())).await.unwrap();
    let (mut answered, mut pongs, mut refused) = (std::collections::BTreeSet::new(), 0, 0);
    while answered.len() < 40 || pongs == 0 || refused == 0 {
        match socket.next().await.unwrap().unwrap() {
            tungstenite::Message::Text(text) => {
                let answer: Value = serde_json::from_str(&text).unwrap();
                match answer["id"].as_i64() {
                    Some(id) => assert!(answer["result"].is_object() && answered.insert(id), "{answer}"),
                    None => refused += i32::from(answer["error"]["code"] == json!(-32700)),
                }
            }
            tungstenite::Message::Pong(bytes) => {
                assert_eq!(bytes.as_ref(), b"are you there");
                pongs += 1;
            }
            tungstenite::Message::Binary(_)
            | tungstenite::Message::Ping(_)
            | tungstenite::Message::Close(_)
            | tungstenite::Message::Frame(_) => panic!("nobody asked for that"),
        }
    }
    socket.close(None).await.unwrap();

    let stream = TcpStream::connect(&address).await.unwrap();
    let refused = tokio_tungstenite::client_async(format!("ws://{address}/rpc/v0?token=wrong"), stream).await;
    let Err(tungstenite::Error::Http(answer)) = refused else { panic!("a wrong token opened a websocket") };
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_websocket_that_asks_for_too_much_is_closed_and_places_are_bounded() {
    let bench = bench().await;
    let address = bench.url.trim_start_matches("http://").to_owned();
    let connect = async || {
        let stream = TcpStream::connect(&address).await.unwrap();
        tokio_tungstenite::client_async(format!("ws://{address}/rpc/v0"), stream).await
    };
    let mut open = Vec::new();
    let full = loop {
        match connect().await {
            Ok((socket, _)) => open.push(socket),
            Err(error) => break error,
        }
        assert!(open.len() <= 64, "there is no bound");
    };
    let tungstenite::Error::Http(answer) = full else { panic!("{full}") };
    assert_eq!((answer.status().as_u16(), open.len()), (503, 32));

    // sending all of it may fail when the other side closes before it was read
    let mut socket = open.pop().unwrap();
    drop(socket.send(tungstenite::Message::text("x".repeat(2 << 20))).await);
    while let Some(Ok(message)) = socket.next().await {
        assert!(message.is_close(), "{message:?}");
    }
}

#[tokio::test]
async fn a_daemon_whose_secret_is_out_of_reach_answers_those_without_a_token() {
    let (sender, _requests) = mpsc::channel(1);
    let desk = Desk {
        secret: Err("the secret is damaged".to_owned()),
        site: watch::Sender::new(None).subscribe(),
        status: watch::Sender::new(Arc::new(snapshot())).subscribe(),
        lookup: Arc::new(Shelf),
        requests: sender,
        address: SocketAddr::from(([0, 0, 0, 0], 1)),
        host: "box".to_owned(),
        session: uuid::Uuid::nil(),
        began: at(0),
        pledging: Semaphore::new(1),
    };
    let read = Permission::Read.and_below();
    // and before its first turn it says so
    let why = desk.answer(&read, "Filecoin.ActorAddress", Vec::new()).await.unwrap_err();
    assert!(why.message.contains("starting"), "{why:?}");
    let mut desk = desk;
    desk.site = watch::Sender::new(Some(Arc::new(site(Api::Read)))).subscribe();
    assert_eq!(desk.answer(&read, "Filecoin.ActorAddress", Vec::new()).await, Ok(json!("t01000")));
    let why = desk.answer(&read, "Filecoin.AuthVerify", vec![json!("a.b.c")]).await.unwrap_err();
    assert!(why.message.contains("damaged"), "{why:?}");
    // an address that stands for all of the machine's is not one to go to
    let id = vec![json!("76f1988b-ef30-4d7e-b3ec-9a627f4ba5a8")];
    let info = desk.answer(&Permission::Admin.and_below(), "Filecoin.StorageInfo", id).await.unwrap();
    assert_eq!(info["URLs"], json!(["http://box:1/remote"]));
    let gone =
        desk.answer(&Permission::Admin.and_below(), "Filecoin.StorageStat", vec![json!("gone")]).await.unwrap_err();
    assert_eq!(gone.message, "/data/disk: nothing is mounted there");
}
