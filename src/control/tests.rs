//! Both sides of the socket together, with a loop that this test plays.

use super::{server::may, *};
use crate::units::UnixMillis;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use tokio::{sync::mpsc, task::JoinSet};

/// A server in a folder of its own, and what its loop gets.
struct Rig {
    dir: tempfile::TempDir,
    requests: mpsc::Receiver<Request>,
    tasks: JoinSet<()>,
}

fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let (asking, requests) = tokio::sync::mpsc::channel(QUEUE);
    let server = Server::open(dir.path(), asking).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.run());
    Rig { dir, requests, tasks }
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
        let http = reqwest::Client::builder().unix_socket(self.dir.path().join(SOCKET)).build().unwrap();
        let sent = http.request(method, format!("http://seald{path}")).body(body.to_owned()).send().await.unwrap();
        let status = sent.status().as_u16();
        (status, serde_json::from_slice(&sent.bytes().await.unwrap()).unwrap())
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
async fn the_status_is_the_snapshot() {
    let mut rig = rig();
    let snapshot = Snapshot::empty(UnixMillis::new(7));
    let mut requests = std::mem::replace(&mut rig.requests, mpsc::channel(1).1);
    let answer = answers(&mut requests, Ok(Reply::Status(Arc::new(snapshot.clone()))));
    let ((status, body), ask) = tokio::join!(rig.bare(reqwest::Method::GET, "/v1/status", ""), answer);
    assert_eq!((status, ask), (200, Ask::Status));
    assert_eq!(serde_json::from_value::<Snapshot>(body).unwrap(), snapshot);
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
        let ClientError::Refused { error, help } = answer.unwrap_err() else { panic!("{cause:?}") };
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
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let mut rig = Rig { dir, requests, tasks: JoinSet::new() };
    rig.tasks.spawn(server.run());
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

#[test]
fn only_root_and_the_daemons_own_user_may_ask() {
    assert!(may(Some(1000), 1000) && may(Some(0), 1000) && may(Some(0), 0));
    assert!(!may(Some(1001), 1000) && !may(Some(1000), 0) && !may(None, 1000));
}
