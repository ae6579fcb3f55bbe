//! Both sides of the socket together, with a loop that this test plays.

use super::{
    access::{Role, Rules},
    connection::Patience,
    server::Verdict,
    *,
};
use crate::{
    clock,
    status::events::Line,
    units::{Epoch, MinerId, UnixMillis},
};
use futures_util::FutureExt as _;
use std::{
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::mpsc,
    task::JoinSet,
};

/// A server in a folder of its own, and what its loop gets.
struct Rig {
    dir: tempfile::TempDir,
    requests: mpsc::Receiver<Request>,
    tasks: JoinSet<()>,
    status: watch::Sender<Arc<Snapshot>>,
    moves: broadcast::Sender<Arc<Move>>,
}

/// A database and a chain with one sector.
struct Shelf;

impl Reading for Shelf {
    fn sectors(&self, choice: Choice) -> BoxFuture<'_, Result<List, Refused>> {
        // what was understood of the choice comes back as a row that cannot be read
        let unreadable = vec![format!("{choice:?}")];
        async { Ok(List { unreadable, ..List::new(&[], vec![], &Choice::default(), None) }) }.boxed()
    }

    fn sector(&self, number: SectorNumber) -> BoxFuture<'_, Result<Show, Refused>> {
        async move { Err(Refused::new(Cause::Unknown, format!("there is no sector {number}"), "see the list")) }.boxed()
    }

    fn on_chain(&self, number: SectorNumber) -> BoxFuture<'_, Result<OnChain, Refused>> {
        async move { Ok(OnChain { head: Epoch::new(i64::try_from(number.as_u64()).unwrap()), terms: None }) }.boxed()
    }

    fn info(&self) -> BoxFuture<'_, Result<InfoReport, Refused>> {
        async { Err(Refused::new(Cause::Unavailable, "the chain was not read yet", "wait")) }.boxed()
    }
}

fn rig() -> Rig {
    rig_with(|server| server)
}

fn rig_with(change: impl FnOnce(Server) -> Server) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let (asking, requests) = tokio::sync::mpsc::channel(QUEUE);
    let server = Server::open(dir.path(), asking).unwrap();
    let (status, moves) = (watch::Sender::new(Arc::new(snapshot(7))), broadcast::Sender::new(4));
    let feed = Feed {
        status: status.subscribe(),
        moves: moves.clone(),
        operators: watch::Sender::new(Some("ops".to_owned())).subscribe(),
        reading: Arc::new(Shelf),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(change(server).run(feed));
    Rig { dir, requests, tasks, status, moves }
}

fn snapshot(at: i64) -> Snapshot {
    Snapshot { miner: Some(MinerId::new(1000)), ..Snapshot::empty(UnixMillis::new(at)) }
}

impl Rig {
    fn client(&self) -> Client {
        Client::connect(self.dir.path()).unwrap()
    }

    /// Takes the next request and gives it this answer.
    async fn answers(&mut self, answer: Answer) -> Ask {
        answers(&mut self.requests, answer).await
    }

    /// What the bare protocol says: status and body.
    async fn bare(&self, method: reqwest::Method, path: &str, body: &str) -> (u16, serde_json::Value) {
        // the builder wants the provider that this installs
        drop(self.client());
        let http =
            reqwest::Client::builder().unix_socket(self.dir.path().join(SOCKET)).tls_certs_only([]).build().unwrap();
        let sent = http.request(method, format!("http://seald{path}")).body(body.to_owned()).send().await.unwrap();
        let status = sent.status().as_u16();
        (status, serde_json::from_slice(&sent.bytes().await.unwrap()).unwrap())
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join(SOCKET)).await.unwrap()
    }

    fn moved(&self, n: u64) -> Move {
        let moved = Move {
            number: number(n),
            from: Some(State::Packing),
            to: State::PreCommit1,
            event: "Packed".to_owned(),
            at: UnixMillis::new(1),
        };
        self.moves.send(Arc::new(moved.clone())).unwrap();
        moved
    }
}

async fn answers(requests: &mut mpsc::Receiver<Request>, answer: Answer) -> Ask {
    let Request { ask, reply } = requests.recv().await.unwrap();
    reply.send(answer).unwrap();
    ask
}

fn number(n: u64) -> SectorNumber {
    n.try_into().unwrap()
}

fn ruling(done: bool) -> Ruling {
    Ruling {
        format_version: 1,
        sector: number(4),
        order: "remove".to_owned(),
        state: State::WaitSeed,
        done,
        costs: vec!["the deposit of 0.07 FIL".to_owned()],
    }
}

#[tokio::test]
async fn every_order_reaches_the_loop_as_it_was_given_and_its_answer_comes_back() {
    let mut rig = rig();
    let client = rig.client();
    for order in [Order::Retry, Order::Remove, Order::Terminate, Order::SetState(State::PreCommit1)] {
        for yes in [false, true] {
            let (answer, ask) =
                tokio::join!(client.order(number(4), order, yes), rig.answers(Ok(Reply::Ruling(ruling(yes)))));
            assert_eq!(ask, Ask::Sector { number: number(4), order, yes });
            assert_eq!(answer.unwrap(), ruling(yes));
        }
    }
    let more = NonZeroU64::new(3).unwrap();
    let pledged = Pledged { format_version: 1, declared: 2, wanted: 5, proving: 0 };
    let (answer, ask) = tokio::join!(client.pledge(more), rig.answers(Ok(Reply::Pledged(pledged.clone()))));
    assert_eq!((ask, answer.unwrap()), (Ask::Pledge(more), pledged.clone()));
    let (answer, ask) = tokio::join!(client.pledge_as_declared(), rig.answers(Ok(Reply::Pledged(pledged.clone()))));
    assert_eq!((ask, answer.unwrap()), (Ask::PledgeAsDeclared, pledged));
}

#[tokio::test]
async fn what_only_looks_is_answered_without_the_loop() {
    let rig = rig();
    let client = rig.client();
    assert_eq!(client.status().await.unwrap(), snapshot(7));
    rig.status.send_replace(Arc::new(snapshot(8)));
    let get = reqwest::Method::GET;
    let (status, body) = rig.bare(get.clone(), "/v1/status", "").await;
    assert_eq!((status, serde_json::from_value::<Snapshot>(body).unwrap()), (200, snapshot(8)));
    let (status, body) = rig.bare(get, "/v1/version", "").await;
    assert_eq!((status, &body["version"]), (200, &env!("CARGO_PKG_VERSION").into()));
    let choice = Choice {
        state: vec![State::PreCommit1, State::WaitSeed],
        why: Some("no space & more?".to_owned()),
        failed: true,
        waiting: false,
        fast: true,
    };
    assert_eq!(client.sectors(&choice).await.unwrap().unreadable, [format!("{choice:?}")]);
    assert_eq!(client.sectors(&Choice::default()).await.unwrap().unreadable, [format!("{:?}", Choice::default())]);
    assert!(client.sector(number(4)).await.unwrap_err().to_string().contains("there is no sector 4"));
    assert_eq!(client.on_chain(number(4)).await.unwrap(), OnChain { head: Epoch::new(4), terms: None });
    let (status, body) = rig.bare(reqwest::Method::GET, "/v1/sectors/four/chain", "").await;
    assert!(status == 400 && body["help"].as_str().unwrap().contains("sectors list"), "{status} {body}");
    let (status, body) = rig.bare(reqwest::Method::GET, "/v1/sectors?state=Proving,Sealing", "").await;
    assert!(status == 400 && body["error"].as_str().unwrap().contains("Sealing"), "{status} {body}");
    assert!(client.info().await.unwrap_err().to_string().contains("the chain was not read yet"));
    let http = reqwest::Client::builder().unix_socket(rig.dir.path().join(SOCKET)).tls_certs_only([]).build().unwrap();
    let page = http.get("http://seald/v1/metrics").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(page.text().await.unwrap(), crate::status::metrics::render(&snapshot(8)));
    assert_eq!(rig.requests.len(), 0);
}

async fn line(lines: &mut Lines) -> Line {
    serde_json::from_str(&lines.next().await.unwrap().unwrap()).unwrap()
}

/// The next line that is not the heartbeat of a slow machine.
async fn news(lines: &mut Lines) -> Line {
    loop {
        let told = line(lines).await;
        if !matches!(told, Line::Alive { .. }) {
            return told;
        }
    }
}

#[tokio::test]
async fn the_stream_begins_with_the_snapshot_and_tells_every_move_in_order_until_the_daemon_ends() {
    let rig = rig();
    let mut lines = rig.client().events().await.unwrap();
    assert_eq!(news(&mut lines).await, Line::Status { snapshot: Box::new(snapshot(7)) });
    for n in 1..40 {
        let moved = rig.moved(n);
        assert_eq!(news(&mut lines).await, Line::Sector(moved));
    }
    rig.status.send_replace(Arc::new(snapshot(9)));
    assert_eq!(news(&mut lines).await, Line::Status { snapshot: Box::new(snapshot(9)) });
    // the loop ends, and its snapshots with it
    drop(rig.status);
    assert!(lines.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_listener_that_is_too_slow_is_told_how_much_it_missed_and_gets_the_snapshot() {
    let (status, moves) = (watch::Sender::new(Arc::new(snapshot(7))), broadcast::Sender::new(4));
    let place = Arc::new(tokio::sync::Semaphore::new(1)).acquire_owned().await.unwrap();
    let mut events = events::Events::new(status.subscribe(), moves.subscribe(), place);
    assert!(matches!(events.next().await, Some(Line::Status { .. })));
    let moved = |n| Move {
        number: number(n),
        from: None,
        to: State::Packing,
        event: "Created".to_owned(),
        at: UnixMillis::new(1),
    };
    // telling never waits for it
    (0..10).for_each(|n| assert_eq!(moves.send(Arc::new(moved(n))).unwrap(), 1));
    assert_eq!(events.next().await, Some(Line::Lagged { missed: 6 }));
    let mut kept = Vec::new();
    let fresh = loop {
        let told = events.next().await.unwrap();
        let Line::Sector(moved) = told else { break told };
        kept.push(moved.number.as_u64());
    };
    assert_eq!((kept, fresh), (vec![6, 7, 8, 9], Line::Status { snapshot: Box::new(snapshot(7)) }));
    drop(moves);
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn snapshots_are_a_quarter_of_a_second_apart() {
    let (status, moves) = (watch::Sender::new(Arc::new(snapshot(7))), broadcast::Sender::new(4));
    let place = Arc::new(tokio::sync::Semaphore::new(1)).acquire_owned().await.unwrap();
    let mut events = events::Events::new(status.subscribe(), moves.subscribe(), place);
    let begun = clock::monotonic();
    for n in 0..4 {
        assert!(matches!(events.next().await, Some(Line::Status { .. })), "{n}");
        status.send_replace(Arc::new(snapshot(n)));
    }
    assert!(begun.elapsed() >= Duration::from_millis(750), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn each_may_do_what_their_role_lets_them() {
    let rules = |operators| Rules { own: 0, readers: Some(0), operators };
    let reader = rig_with(|server| {
        server.judged_by(|_, group| {
            assert_eq!(group, Some("ops"));
            let rules = Rules { own: 0, readers: Some(0), operators: Some(70) };
            Verdict { role: Some(Role::Reader), rules, operators: group.map(str::to_owned) }
        })
    });
    let (get, post) = (reqwest::Method::GET, reqwest::Method::POST);
    for path in ["/v1/status", "/v1/sectors", "/v1/version"] {
        assert_eq!(reader.bare(get.clone(), path, "").await.0, 200, "{path}");
    }
    let expected = rules(Some(70)).refusal(Some(Role::Reader), Role::Operator, Some("ops"));
    for path in ["/v1/pledge", "/v1/sectors/4/retry", "/v1/slots/drain", "/v1/slots/gpu0/pause"] {
        let (status, body) = reader.bare(post.clone(), path, "{\"count\": 1}").await;
        assert_eq!(status, 403, "{path}");
        assert_eq!((&body["error"], &body["help"]), (&expected.0.clone().into(), &expected.1.clone().into()), "{path}");
    }
    assert_eq!(reader.requests.len(), 0);
    let stranger = rig_with(|server| {
        server.judged_by(|_, _| Verdict {
            role: None,
            rules: Rules { own: 0, readers: Some(0), operators: None },
            operators: None,
        })
    });
    for (method, path) in [(get.clone(), "/v1/status"), (get, "/v1/nothing"), (post, "/v1/pledge")] {
        let (status, body) = stranger.bare(method, path, "").await;
        assert_eq!(status, 403, "{path}");
        assert!(body["help"].as_str().unwrap().contains("`adduser YOU root`"), "{body}");
    }
}

/// Reads until the other side closes; everything it said.
async fn rest(stream: &mut UnixStream) -> String {
    let mut said = String::new();
    // a connection that is let go may be reset
    stream.read_to_string(&mut said).await.unwrap_or_default();
    said
}

#[tokio::test]
async fn whoever_says_nothing_or_stops_in_the_middle_is_let_go() {
    let mut rig = rig_with(|server| server.patient(Patience { idle: Duration::from_millis(100), ..Patience::USUAL }));
    let mut silent = rig.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let mut cut = rig.connect().await;
    cut.write_all(b"GET /v1/status HTTP/1.1\r\nHost: s").await.unwrap();
    assert!(!rest(&mut cut).await.contains("200 OK"));
    // whoever waits for an answer is not
    let mut busy = rig.connect().await;
    let text = b"POST /v1/slots/drain HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    busy.write_all(text).await.unwrap();
    let request = rig.requests.recv().await.unwrap();
    for _ in 0..3 {
        assert_eq!(rest(&mut rig.connect().await).await, "");
    }
    request.reply.send(Err(Refused::new(Cause::Conflict, "not now", "later"))).unwrap();
    assert!(rest(&mut busy).await.contains("not now"));
}

/// Says one byte after the other, with pauses in which it listens, for as long as anybody is there.
async fn drip(mut stream: UnixStream, first: &str) -> String {
    stream.write_all(first.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let begun = clock::monotonic();
    while begun.elapsed() < Duration::from_secs(20) {
        if stream.write_all(b"x").await.is_err() {
            return String::from_utf8(said).unwrap();
        }
        let mut heard = [0; 512];
        match tokio::time::timeout(Duration::from_millis(10), stream.read(&mut heard)).await {
            Ok(Ok(0) | Err(_)) => return String::from_utf8(said).unwrap(),
            Ok(Ok(count)) => said.extend_from_slice(&heard[..count]),
            Err(_) => {}
        }
    }
    panic!("it was listened to all the time")
}

#[tokio::test]
async fn whoever_never_comes_to_the_end_of_a_request_is_let_go() {
    let patience = Patience { request: Duration::from_millis(300), ..Patience::USUAL };
    let rig = rig_with(|server| server.patient(patience));
    let get = "GET /v1/version HTTP/1.1\r\nHost: s\r\n";
    assert_eq!(drip(rig.connect().await, &format!("{get}X: ")).await, "");
    // the one before was answered
    let said = drip(rig.connect().await, &format!("{get}\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let slow = "POST /v1/pledge HTTP/1.1\r\nHost: s\r\nContent-Length: 4000\r\n\r\n";
    let said = drip(rig.connect().await, slow).await;
    assert!(said.contains("the request took too long to come"), "{said}");
}

#[tokio::test]
async fn one_who_only_looks_takes_a_part_of_the_places_and_a_stranger_none() {
    let reader = |_: Option<(u32, u32)>, _: Option<&str>| Verdict {
        role: Some(Role::Reader),
        rules: Rules { own: 0, readers: Some(0), operators: None },
        operators: None,
    };
    let rig = rig_with(|server| server.judged_by(reader));
    let get = b"GET /v1/version HTTP/1.1\r\nHost: s\r\n\r\n";
    let mut inside = Vec::new();
    let refused = loop {
        let mut stream = rig.connect().await;
        stream.write_all(get).await.unwrap();
        let mut heard = [0; 512];
        let count = stream.read(&mut heard).await.unwrap();
        let said = String::from_utf8_lossy(&heard[..count]).into_owned();
        if !said.starts_with("HTTP/1.1 200") {
            break said + &rest(&mut stream).await;
        }
        inside.push(stream);
        assert!(inside.len() < 64, "there is no bound");
    };
    assert_eq!(inside.len(), 16);
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("too many of this user"), "{refused}");

    let stranger = |_: Option<(u32, u32)>, _: Option<&str>| Verdict {
        role: None,
        rules: Rules { own: 0, readers: Some(0), operators: None },
        operators: None,
    };
    let rig = rig_with(|server| server.judged_by(stranger));
    // far more than there are places; none of them says anything
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(rig.connect().await);
    }
    for mut stream in silent {
        assert_eq!(rest(&mut stream).await, "");
    }
    let mut asking = rig.connect().await;
    asking.write_all(get).await.unwrap();
    let said = rest(&mut asking).await;
    assert!(said.starts_with("HTTP/1.1 403") && said.contains("may ask seald"), "{said}");
}

#[tokio::test]
async fn orders_about_slots_reach_the_loop_as_they_were_given() {
    let mut rig = rig();
    let client = rig.client();
    let ruled = SlotsRuled { format_version: 1, order: "drain".to_owned(), slots: Vec::new(), stopped: Vec::new() };
    let orders = [SlotOrder::Cordon, SlotOrder::Drain, SlotOrder::Pause, SlotOrder::PauseNow, SlotOrder::Resume];
    for order in orders {
        for place in [None, Some("gpu0"), Some("gpu0/1")] {
            let place: Option<Place> = place.map(|text| text.parse().unwrap());
            let (answer, ask) =
                tokio::join!(client.slots(place.as_ref(), order), rig.answers(Ok(Reply::Slots(ruled.clone()))));
            assert_eq!((ask, answer.unwrap()), (Ask::Slots { place, order }, ruled.clone()));
        }
    }
}

#[tokio::test]
async fn a_refusal_says_why_and_what_to_do() {
    let mut rig = rig();
    let mut requests = std::mem::replace(&mut rig.requests, mpsc::channel(1).1);
    let client = rig.client();
    let causes = [(Cause::Malformed, 400), (Cause::Unknown, 404), (Cause::Conflict, 409), (Cause::Unavailable, 503)];
    for (cause, wanted) in causes {
        let refused = Refused::new(cause, "there is no sector 4", "see the list");
        let asked = client.order(number(4), Order::Retry, false);
        let (answer, _) = tokio::join!(asked, answers(&mut requests, Err(refused.clone())));
        let ClientError::Refused { cause: told, error, help } = answer.unwrap_err() else { panic!("{cause:?}") };
        assert_eq!(told, Some(cause));
        assert_eq!((error.as_str(), help.as_str()), ("there is no sector 4", "see the list"));
        let asked = rig.bare(reqwest::Method::POST, "/v1/sectors/4/retry", "");
        let ((status, _), _) = tokio::join!(asked, answers(&mut requests, Err(refused)));
        assert_eq!(status, wanted);
    }
}

#[tokio::test]
async fn what_cannot_be_meant_never_reaches_the_loop() {
    let mut rig = rig();
    let post = reqwest::Method::POST;
    for (path, body, status) in [
        ("/v1/sectors/x/retry", "", 400),
        ("/v1/sectors/-1/retry", "", 400),
        ("/v1/sectors/4/burn", "", 404),
        ("/v1/sectors/4/set-state", "{}", 400),
        ("/v1/sectors/4/set-state", "{\"state\": \"Packed\"}", 400),
        ("/v1/sectors/4/remove", "{\"state\": \"Proving\"}", 400),
        ("/v1/sectors/4/remove", "{\"force\": true}", 400),
        ("/v1/sectors/4/remove", "yes", 400),
        ("/v1/pledge", "{\"count\": 0}", 400),
        ("/v1/pledge", "", 400),
        ("/v1/pledge", " ".repeat(5000).as_str(), 400),
        ("/v1/status", "", 404),
        ("/v2/status", "", 404),
    ] {
        let (found, said) = rig.bare(post.clone(), path, body).await;
        assert_eq!(found, status, "{path} {body}: {said}");
        assert!(said["error"].is_string() && said["help"].is_string(), "{path} {body}: {said}");
    }
    assert!(rig.requests.try_recv().is_err(), "the loop was asked");
}

#[tokio::test]
async fn a_loop_that_ends_or_is_full_is_said_to_be_so() {
    let mut rig = rig();
    let client = rig.client();
    let order = || client.order(number(4), Order::Retry, false);
    // the loop takes it and ends without an answer
    let (answer, ()) = tokio::join!(order(), async { drop(rig.requests.recv().await.unwrap()) });
    assert!(answer.unwrap_err().to_string().contains("is ending"));
    // nobody takes anything: the queue fills, and the next one hears of it while the others wait
    let waiting: futures_util::stream::FuturesUnordered<_> = (0..17).map(|_| order()).collect();
    let mut waiting = std::pin::pin!(waiting);
    let first = futures_util::StreamExt::next(&mut waiting).await.unwrap();
    assert!(first.unwrap_err().to_string().contains("too many requests"));
    assert_eq!(rig.requests.len(), 16);
}

#[tokio::test]
async fn a_socket_that_a_dead_daemon_left_is_replaced_and_an_orderly_end_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).unwrap());
    assert!(matches!(Client::connect(dir.path()).unwrap_err(), ClientError::NotRunning { .. }));
    let (asking, requests) = tokio::sync::mpsc::channel(QUEUE);
    let server = Server::open(dir.path(), asking).unwrap();
    let found = std::fs::metadata(dir.path().join(SOCKET)).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o666, "each is judged by who they are");
    let (status, moves) = (watch::Sender::new(Arc::new(snapshot(7))), broadcast::Sender::new(4));
    let operators = watch::Sender::new(None).subscribe();
    let feed = Feed { status: status.subscribe(), moves: moves.clone(), operators, reading: Arc::new(Shelf) };
    let mut rig = Rig { dir, requests, tasks: JoinSet::new(), status, moves };
    rig.tasks.spawn(server.run(feed));
    drop(rig.client());
    rig.tasks.shutdown().await;
    assert!(!rig.dir.path().join(SOCKET).exists());
    assert!(matches!(Client::connect(rig.dir.path()).unwrap_err(), ClientError::NotRunning { .. }));
}

#[test]
fn a_path_that_no_socket_can_have_is_refused_with_the_key_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    for said in [
        Server::open(&deep, tokio::sync::mpsc::channel(1).0).unwrap_err().to_string(),
        Client::connect(&deep).unwrap_err().to_string(),
    ] {
        assert!(said.contains("107 bytes") && said.contains("shorter state.dir"), "{said}");
    }
    let exactly = PathBuf::from("/".to_owned() + &"d".repeat(LONGEST_PATH - SOCKET.len() - 2));
    assert_eq!(socket(&exactly).unwrap().as_os_str().len(), LONGEST_PATH);
    assert!(socket(&exactly.join("d")).is_err());
}
