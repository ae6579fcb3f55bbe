//! Endpoints that are on another network, behind, liars, or strangers; and the way back to the preferred one.

use super::*;
use crate::chain::{Client, health::EndpointSeen};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
};

/// What a node of these tests says. Its network keeps no time, unless it is said to.
#[derive(Clone)]
struct Says {
    api: u32,
    network: &'static str,
    genesis: &'static str,
    delay: i64,
    height: Arc<AtomicI64>,
    timestamp: u64,
}

fn says() -> Says {
    let height = Arc::new(AtomicI64::new(100));
    Says { api: 0x0002_0300, network: "net", genesis: "bafygen", delay: 10, height, timestamp: 0 }
}

impl Says {
    fn reply(&self, method: &str) -> Reply {
        let tipset = |cid: &str, height: i64, timestamp: u64| {
            json!({ "Cids": [{ "/": cid }], "Height": height, "Blocks": [{
                "Miner": "t01000", "Parents": [], "ParentWeight": "1", "Height": height, "Timestamp": timestamp,
                "ParentBaseFee": "100",
            }] })
        };
        Reply::Result(match method {
            "Version" => json!({ "Version": "1", "APIVersion": self.api, "BlockDelay": 30 }),
            "StateGetNetworkParams" => json!({
                "NetworkName": self.network, "BlockDelaySecs": 30, "ConsensusMinerMinPower": "2048",
                "PreCommitChallengeDelay": self.delay,
            }),
            "ChainGetGenesis" => tipset(self.genesis, 0, 0),
            "ChainHead" => tipset("bafyhead", self.height.load(SeqCst), self.timestamp),
            _ => json!(28),
        })
    }

    async fn start(self) -> Fake {
        Fake::start(move |asked| self.reply(&asked.method)).await
    }
}

fn wary(endpoints: Vec<Endpoint>, limits: Limits) -> Client {
    Client::wary_within(endpoints, Some("net".to_owned()), limits).unwrap()
}

fn states(client: &Client) -> Vec<(String, bool)> {
    client.endpoints().into_iter().map(|EndpointSeen { state, in_use, .. }| (state, in_use)).collect()
}

fn seen(states: &[(&str, bool)]) -> Vec<(String, bool)> {
    states.iter().map(|(state, used)| ((*state).to_owned(), *used)).collect()
}

#[tokio::test]
async fn a_node_says_who_it_is_before_anything_else_and_once() {
    let node = says().start().await;
    for way in node.ways() {
        let client = wary(vec![way], limits());
        assert_eq!(client.network_version().await.unwrap(), 28);
        assert_eq!(client.head().await.unwrap().height, Epoch::new(100));
    }
    let asked: Vec<_> = node.asked().into_iter().map(|asked| asked.method).collect();
    let expected = ["Version", "StateGetNetworkParams", "ChainGetGenesis", "StateNetworkVersion", "ChainHead"];
    assert_eq!(asked, [expected, expected].concat());
}

#[tokio::test]
async fn who_is_not_believed_is_asked_nothing_else() {
    let old = now().saturating_sub(1000);
    let cases = [
        (Says { api: 0x0001_0500, ..says() }, "version 1.5 of the API, and 2.3 is wanted", "other_version"),
        (Says { network: "other", ..says() }, "belongs to network net, the node is on other", "other_network"),
        (Says { genesis: "bafyother", ..says() }, "its genesis is bafyother", "other_network"),
        (Says { delay: 150, timestamp: old, ..says() }, "does not tell the truth", "not_believed"),
        (Says { delay: 150, height: Arc::new(AtomicI64::new(0)), ..says() }, "epochs behind", "behind"),
    ];
    for (says_other, why, state) in cases {
        let (is_gone, bad) = (Arc::new(AtomicBool::new(false)), says_other.start().await);
        let gone = Arc::clone(&is_gone);
        let good = Fake::start(move |asked| match gone.load(SeqCst) {
            true => Reply::Raw(503, String::new()),
            false => says().reply(&asked.method),
        })
        .await;
        let client = wary(vec![good.endpoint(), bad.endpoint()], limits());
        client.head().await.unwrap();
        client.look_around().await;
        assert_eq!(states(&client), seen(&[("well", true), (state, false)]), "{why}");
        // the good one goes, and the bad one is the only one left
        is_gone.store(true, SeqCst);
        let error = client.network_version().await.unwrap_err();
        assert!(Chain(&error).to_string().contains(why), "{why}: {}", Chain(&error));
        assert!(client.head().await.is_err());
        assert!(bad.asked().iter().all(|asked| asked.method != "StateNetworkVersion"), "{why}");
    }
}

#[tokio::test]
async fn the_first_endpoint_is_left_when_it_falls_behind_and_taken_again_when_it_has_caught_up() {
    let first = says();
    let (height, second) = (Arc::clone(&first.height), says().start().await);
    let first = first.start().await;
    let client = wary(vec![first.endpoint(), second.socket()], limits());
    client.head().await.unwrap();
    client.look_around().await;
    assert_eq!(states(&client), seen(&[("well", true), ("well", false)]));

    height.store(90, SeqCst);
    assert_eq!(client.head().await.unwrap().height, Epoch::new(100), "the head of the one that is in step");
    assert_eq!(states(&client), seen(&[("behind", false), ("well", true)]));
    assert!(client.endpoints()[0].why.as_ref().unwrap().contains("10 epochs behind"));
    let before = first.asked().len();
    client.network_version().await.unwrap();
    assert_eq!(first.asked().len(), before, "nothing is asked of it");

    height.store(101, SeqCst);
    client.look_around().await;
    assert_eq!(states(&client), seen(&[("well", true), ("well", false)]));
    assert_eq!(client.head().await.unwrap().height, Epoch::new(101));
}

#[tokio::test]
async fn the_only_endpoint_is_believed_again_once_it_has_caught_up() {
    let node = Says { delay: 150, timestamp: 0, height: Arc::new(AtomicI64::new(0)), ..says() };
    let (height, is_old) = (Arc::clone(&node.height), Arc::new(AtomicBool::new(true)));
    let old = Arc::clone(&is_old);
    let fake = Fake::start(move |asked| {
        // by its schedule, as the genesis is at 0
        let height = if old.load(SeqCst) { 5 } else { i64::try_from(now() / 30).unwrap() };
        node.height.store(height, SeqCst);
        Says { timestamp: u64::try_from(height).unwrap() * 30, ..node.clone() }.reply(&asked.method)
    })
    .await;
    let client = wary(vec![fake.endpoint()], limits());
    let error = client.head().await.unwrap_err();
    assert!(Chain(&error).to_string().contains("epochs behind"), "{}", Chain(&error));
    assert_eq!(states(&client), seen(&[("behind", false)]));
    assert!(client.network_version().await.is_err());
    is_old.store(false, SeqCst);
    assert_eq!(client.head().await.unwrap().height.as_i64(), height.load(SeqCst));
    assert_eq!(client.network_version().await.unwrap(), 28);
    assert_eq!(states(&client), seen(&[("well", true)]));
}

#[tokio::test]
async fn who_is_away_or_wants_no_stranger_is_shown_as_that() {
    let good = says().start().await;
    let strict = Fake::start(|_| Reply::Raw(401, String::new())).await;
    let (dead, _port) = nobody();
    let client = wary(vec![dead, strict.endpoint(), good.endpoint()], limits());
    assert_eq!(states(&client), seen(&[("unasked", true), ("unasked", false), ("unasked", false)]));
    client.head().await.unwrap();
    assert_eq!(states(&client), seen(&[("unreachable", false), ("refused", false), ("well", true)]));
    let endpoints = client.endpoints();
    assert!(endpoints[0].why.as_ref().unwrap().contains("cannot connect"), "{endpoints:?}");
    assert!(endpoints[1].why.as_ref().unwrap().contains("token_file"), "{endpoints:?}");
}

#[tokio::test]
async fn a_write_goes_elsewhere_when_a_node_does_not_say_who_it_is() {
    let (silent, good) = (Fake::start(|_| Reply::Silence).await, says().start().await);
    let rpc = Rpc::new(&[silent.endpoint(), good.endpoint()], impatient(), Some(Expected::default())).unwrap();
    assert_eq!(rpc.call::<u64>(Kind::Write, "MpoolPushMessage", [1]).await.unwrap(), 28);
    assert_eq!(silent.asked().iter().map(|asked| asked.method.as_str()).collect::<Vec<_>>(), ["Version"]);
}

fn now() -> u64 {
    u64::try_from(clock::now().as_i64() / 1000).unwrap()
}
