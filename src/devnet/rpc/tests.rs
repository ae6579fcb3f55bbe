//! Over a real loopback socket, with epochs on demand.

mod client;
mod shapes;
mod socket;

use super::*;
use crate::{
    chain::{params::method, wire},
    devnet::{
        Options,
        fixture::{capacity, create_params, pre_commit_params, proof, prove_params},
        node::Node,
        persist::Home,
        run,
    },
    proofs::Prover,
    units::AttoFil,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{path::Path as FilePath, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};

struct Client {
    http: reqwest::Client,
    base: String,
    handle: Option<Handle>,
}

impl Client {
    fn new(base: String, handle: Option<Handle>) -> Self {
        // another test may have installed it already
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        Self { http, base, handle }
    }

    async fn post(&self, path: &str, body: String) -> (u16, Value) {
        let answer = self.http.post(format!("{}{path}", self.base)).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn raw(&self, name: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": format!("Filecoin.{name}"), "params": params });
        self.post("/rpc/v1", body.to_string()).await.1
    }

    async fn ask<T: DeserializeOwned>(&self, name: &str, params: Value) -> T {
        let answer = self.raw(name, params).await;
        let result = answer.get("result").unwrap_or_else(|| panic!("{name}: {answer}")).clone();
        serde_json::from_value(result.clone()).unwrap_or_else(|error| panic!("{name}: {error}: {result}"))
    }

    async fn refusal(&self, name: &str, params: Value) -> (i64, String) {
        let answer = self.raw(name, params).await;
        let error: RpcError = serde_json::from_value(answer["error"].clone()).unwrap_or_else(|_| panic!("{answer}"));
        (error.code, error.message)
    }

    async fn fault(&self, name: &str, body: Value) -> (u16, Value) {
        self.post(&format!("/devnet/v1/{name}"), body.to_string()).await
    }

    async fn mine(&self, epochs: i64) {
        assert_eq!(self.fault("mine", json!({ "epochs": epochs })).await.0, 200);
    }

    fn chain(&self) -> crate::devnet::chain::Chain {
        self.handle.as_ref().unwrap().view().chain.clone()
    }

    async fn wallet(&self) -> String {
        self.ask("WalletDefaultAddress", json!([])).await
    }

    async fn call(&self, to: &str, value: i128, method: u64, params: &[u8]) -> Value {
        let params = STANDARD.encode(params);
        json!({ "To": to, "From": self.wallet().await, "Value": value.to_string(), "Method": method, "Params": params })
    }

    /// Pushes, mines, waits; the receipt.
    async fn send(&self, to: &str, value: i128, method: u64, params: &[u8]) -> wire::MsgLookup {
        let message = self.call(to, value, method, params).await;
        let pushed: wire::SignedMessage = self.ask("MpoolPushMessage", json!([message, null])).await;
        self.mine(2).await;
        self.ask("StateWaitMsg", json!([pushed.cid, 0, -1, true])).await
    }
}

/// A devnet whose server task lives as long as the set.
async fn devnet(dir: &FilePath) -> (Client, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let home = Home::open(dir).unwrap();
    let chain = home.load().unwrap().unwrap_or_else(crate::devnet::fixture::chain);
    let (node, handle) = Node::start(chain, home, Prover::Simulated, true, &base).await.unwrap();
    let mut tasks = JoinSet::new();
    let app = router(handle.clone());
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    tasks.spawn(async move { node.run(pending()).await.unwrap() });
    (Client::new(base, Some(handle)), tasks)
}

async fn with_miner(client: &Client) -> String {
    let params = create_params(&client.wallet().await, 10);
    let found = client.send("f04", 10_000_000_000_000_000_000, method::CREATE_MINER, &params).await;
    assert_eq!(found.receipt.exit_code, 0);
    "t01001".to_owned()
}

#[tokio::test]
async fn the_envelope_is_that_of_lotus() {
    let dir = tempfile::tempdir().unwrap();
    let (client, _tasks) = devnet(dir.path()).await;
    assert_eq!(client.refusal("NoSuchThing", json!([])).await.0, -32601);
    assert_eq!(client.refusal("ChainHead", json!([1])).await.0, -32602);
    assert_eq!(client.refusal("StateMinerInfo", json!(["t01000"])).await.0, -32602);
    assert_eq!(client.refusal("StateMinerInfo", json!([5, []])).await.0, -32700);
    let (status, answer) = client.post("/rpc/v1", "{nonsense".to_owned()).await;
    assert_eq!((status, answer["error"]["code"].as_i64()), (500, Some(-32700)));
    assert_eq!(client.post("/rpc/v1", r#"{"id":1}"#.to_owned()).await.1["error"]["code"], json!(-32600));

    let head = r#"{"jsonrpc":"2.0","id":"a","method":"Filecoin.ChainHead"}"#;
    let silent = r#"{"jsonrpc":"2.0","method":"Filecoin.ChainHead"}"#;
    assert_eq!(client.post("/rpc/v1", silent.to_owned()).await, (200, Value::Null));
    let (status, answers) = client.post("/rpc/v1", format!("[{head},{silent},{head}]")).await;
    assert_eq!((status, answers.as_array().unwrap().len(), &answers[1]["id"]), (200, 2, &json!("a")));
}

#[tokio::test]
async fn tipsets_parameters_and_randomness_have_lotus_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let (client, _tasks) = devnet(dir.path()).await;
    client.mine(10).await;
    let head: wire::TipSet = client.ask("ChainHead", json!([])).await;
    assert_eq!((head.height, head.blocks.len()), (10, 1));
    let parent: wire::TipSet = client.ask("ChainGetTipSet", json!([head.blocks[0].parents])).await;
    let same: wire::TipSet = client.ask("ChainGetTipSetByHeight", json!([9, head.cids])).await;
    assert_eq!(parent, same);
    assert_eq!(client.refusal("ChainGetTipSetByHeight", json!([9, same.blocks[0].parents])).await.0, 1);
    let finalized: wire::TipSet = client.ask("ChainGetFinalizedTipSet", json!([])).await;
    assert_eq!(finalized.height, 5);
    let version: wire::Version = client.ask("Version", Value::Null).await;
    assert_eq!(version.api_version, 131_840);
    let params: wire::NetworkParams = client.ask("StateGetNetworkParams", json!([])).await;
    assert_eq!((params.pre_commit_challenge_delay, params.block_delay_secs), (10, 1));
    assert_eq!(client.ask::<u32>("StateNetworkVersion", json!([[]])).await, 28);

    let ticket: String = client.ask("StateGetRandomnessFromTickets", json!([5, -890, "QwDoBw==", null])).await;
    assert_eq!(STANDARD.decode(ticket).unwrap().len(), 32);
    let (code, text) = client.refusal("StateGetRandomnessFromBeacon", json!([6, 11, "QwDoBw==", head.cids])).await;
    assert_eq!((code, text.as_str()), (1, "cannot draw randomness from the future"));
    let unknown = json!([["t01000"], [{ "/": "bafy2bzacedunknown" }]]);
    assert_eq!(client.refusal("StateLookupID", json!([client.wallet().await, unknown[1]])).await.0, 1);
    assert_eq!(client.refusal("StateMinerInfo", json!(["t09999", []])).await.0, 11);
}

#[tokio::test]
async fn a_sector_is_made_over_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let (client, _tasks) = devnet(dir.path()).await;
    let miner = with_miner(&client).await;
    let at = json!([miner, []]);
    let info: wire::MinerInfo = client.ask("StateMinerInfo", json!(["f01001", []])).await;
    assert_eq!((info.sector_size, info.window_post_proof_type, info.worker.as_str()), (2048, 10, "t01000"));
    let power: wire::MinerPower = client.ask("StateMinerPower", at.clone()).await;
    assert_eq!(power.miner_power.raw_byte_power, 0);

    let sectors = vec![capacity(&client.chain(), 0), capacity(&client.chain(), 1)];
    let to = miner.as_str();
    let found = client.send(to, 0, method::PRE_COMMIT_SECTOR_BATCH2, &pre_commit_params(sectors)).await;
    assert_eq!(
        (found.receipt.exit_code, found.tip_set),
        (0, client.ask::<wire::TipSet>("ChainHead", json!([])).await.cids)
    );
    let pre: wire::SectorPreCommitOnChainInfo = client.ask("StateSectorPreCommitInfo", json!([miner, 0, []])).await;
    assert_eq!((pre.pre_commit_epoch, pre.info.unsealed_cid.clone()), (found.height - 1, None));
    let deposit: AttoFil = client.ask("StateMinerPreCommitDepositForPower", json!([miner, pre.info, []])).await;
    assert_eq!(deposit.as_atto(), pre.pre_commit_deposit.as_atto() * 11 / 10);

    client.mine(10).await;
    let proofs: Vec<_> = [0, 1].map(|n| (n, proof(&client.chain(), 1001, n))).into();
    let params = fvm_ipld_encoding::to_vec(&prove_params(&proofs, true)).unwrap();
    let found = client.send(to, 0, method::PROVE_COMMIT_SECTORS3, &params).await;
    assert_eq!(found.receipt.r#return.0, [0x82, 0x02, 0x80]);
    let sector: wire::SectorOnChainInfo = client.ask("StateSectorGetInfo", json!([miner, 1, found.tip_set])).await;
    assert_eq!(
        (sector.activation, sector.sealed_cid.clone()),
        (
            found.height - 1,
            wire::CidJson::from(crate::chain::cids::sealed(crate::devnet::fixture::comm_r(1)).to_string())
        )
    );
    assert_eq!(client.ask::<Value>("StateSectorPreCommitInfo", json!([miner, 1, []])).await, Value::Null);
    let place: Value = client.ask("StateSectorPartition", json!([miner, 1, []])).await;
    let parts: Value = client.ask("StateMinerPartitions", json!([miner, place["Deadline"], []])).await;
    assert_eq!(parts[0]["LiveSectors"], json!([1, 1]));
    assert_eq!(client.ask::<Value>("StateMinerAllocated", at.clone()).await, json!([0, 2]));
    let all: Vec<wire::SectorOnChainInfo> = client.ask("StateMinerSectors", json!([miner, [1, 5], []])).await;
    assert_eq!(all, [sector]);

    assert_eq!(client.fault("sector", json!({ "miner": "f01001", "number": 0, "condition": "faulty" })).await.0, 200);
    client.mine(1).await;
    let count: wire::MinerSectors = client.ask("StateMinerSectorCount", at.clone()).await;
    assert_eq!((count.live, count.active, count.faulty), (2, 1, 1));
    assert_eq!(client.ask::<Value>("StateMinerFaults", at.clone()).await, json!([0, 1]));
    let state: wire::ActorState<wire::MinerState> = client.ask("StateReadState", at.clone()).await;
    let free: AttoFil = client.ask("StateMinerAvailableBalance", at).await;
    let locked = state.state.initial_pledge.as_atto() + state.state.locked_funds.as_atto();
    assert_eq!(free.as_atto(), state.balance.as_atto() - locked);
}

#[tokio::test]
async fn a_refused_estimate_carries_the_actors_words() {
    let dir = tempfile::tempdir().unwrap();
    let (client, _tasks) = devnet(dir.path()).await;
    let miner = with_miner(&client).await;
    let mut late = capacity(&client.chain(), 0);
    late.seal_rand_epoch = 1_000_000;
    let params = pre_commit_params(vec![late]);
    let message = client.call(&miner, 0, method::PRE_COMMIT_SECTOR_BATCH2, &params).await;
    let (code, text) = client.refusal("GasEstimateMessageGas", json!([message, null, []])).await;
    assert!(code == 3 && text.contains("exit=[16]") && text.contains("must be before now"), "{code} {text}");
    let (code, text) = client.refusal("MpoolPushMessage", json!([message, null])).await;
    assert!(code == 1 && text.starts_with("GasEstimateMessageGas error: message execution failed"), "{text}");

    let many = (0..1200_u64).map(|n| {
        let mut info = capacity(&client.chain(), 0);
        info.sector_number = n;
        info
    });
    let message = client.call(&miner, 0, method::PRE_COMMIT_SECTOR_BATCH2, &pre_commit_params(many.collect())).await;
    let (code, text) = client.refusal("GasEstimateMessageGas", json!([message, null, []])).await;
    assert!(code == 1 && text.contains("too large"), "{code} {text}");
    let many = (0..850_u64).map(|n| {
        let mut info = capacity(&client.chain(), 0);
        info.sector_number = n;
        info
    });
    let message = client.call(&miner, 0, method::PRE_COMMIT_SECTOR_BATCH2, &pre_commit_params(many.collect())).await;
    assert_eq!(client.refusal("GasEstimateMessageGas", json!([message, null, []])).await.0, 2);
    assert_eq!(client.ask::<Value>("MpoolPending", json!([[]])).await, json!([]));
}

#[tokio::test]
async fn a_wait_ends_when_the_message_has_its_confidence() {
    let dir = tempfile::tempdir().unwrap();
    let (client, _tasks) = devnet(dir.path()).await;
    let message = client.call("t01000", 1, 0, &[]).await;
    let pushed: wire::SignedMessage = client.ask("MpoolPushMessage", json!([message, null])).await;
    assert_eq!(client.ask::<Value>("StateSearchMsg", json!([[], pushed.cid, -1, true])).await, Value::Null);
    let waiting: Vec<wire::SignedMessage> = client.ask("MpoolPending", json!([null])).await;
    assert_eq!((waiting.len(), &waiting[0]), (1, &pushed));
    let waiting = client.ask::<wire::MsgLookup>("StateWaitMsg", json!([pushed.cid, 3, -1, true]));
    let mining = async {
        for _ in 0..5 {
            client.mine(1).await;
        }
        client.chain().head
    };
    let (found, head) = tokio::join!(waiting, mining);
    assert_eq!((found.height, found.message), (2, pushed.cid));
    assert_eq!(head, 5);
    let (code, _) = client.refusal("StateWaitMsg", json!([{ "/": "bafy2bzaceunknown" }, 0, -1, true])).await;
    assert_eq!(code, 1);
}

#[tokio::test]
async fn faults_are_injected_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let (client, _tasks) = devnet(dir.path()).await;
    let (status, why) = client.fault("explode", json!({})).await;
    assert!(status == 400 && why["error"].as_str().unwrap().contains("`reorg`"), "{why}");

    client.fault("fail", json!({ "method": "ChainHead", "count": 2 })).await;
    assert_eq!(client.refusal("ChainHead", json!([])).await.0, 1);
    client.ask::<u32>("StateNetworkVersion", json!([[]])).await;
    client.fault("fail", json!({ "method": "StateNetworkName", "how": "http500" })).await;
    let body = r#"{"id":1,"method":"Filecoin.StateNetworkName"}"#.to_owned();
    assert_eq!(client.post("/rpc/v1", body.clone()).await, (500, Value::Null));
    assert_eq!(client.post("/rpc/v1", body).await.0, 200);
    assert_eq!(client.refusal("ChainHead", json!([])).await.0, 1);
    client.ask::<wire::TipSet>("ChainHead", json!([])).await;

    client.fault("drop", json!({ "method": 0 })).await;
    let message = client.call("t01000", 1, 0, &[]).await;
    let lost: wire::SignedMessage = client.ask("MpoolPushMessage", json!([message, null])).await;
    let other = client.call("t01000", 2, 0, &[]).await;
    let kept: wire::SignedMessage = client.ask("MpoolPushMessage", json!([other, null])).await;
    assert_eq!(lost.message.nonce, kept.message.nonce);
    client.mine(4).await;
    let (code, text) = client.refusal("StateSearchMsg", json!([[], lost.cid, -1, true])).await;
    assert!(code == 1 && text.contains("found message with equal nonce"), "{text}");

    let before: wire::TipSet = client.ask("ChainHead", json!([])).await;
    assert_eq!(client.fault("reorg", json!({ "epochs": 4, "delay": 9 })).await.0, 200);
    let after: wire::TipSet = client.ask("ChainHead", json!([])).await;
    assert_eq!(after.height, before.height + 1);
    assert_eq!(client.refusal("ChainGetTipSet", json!([before.cids])).await.0, 1);
    assert_eq!(client.ask::<Value>("StateSearchMsg", json!([[], kept.cid, -1, true])).await, Value::Null);
    assert_eq!(client.fault("reorg", json!({ "epochs": 50, "force": true })).await.0, 400);

    client.fault("base_fee", json!({ "atto": "5000000000" })).await;
    client.mine(1).await;
    let head: wire::TipSet = client.ask("ChainHead", json!([])).await;
    assert_eq!(head.blocks[0].parent_base_fee, AttoFil::from_atto(5_000_000_000));
    let fresh: String = client.ask("WalletNew", json!(["bls"])).await;
    client.fault("fund", json!({ "address": fresh, "atto": "77" })).await;
    client.mine(1).await;
    assert_eq!(client.ask::<String>("WalletBalance", json!([fresh])).await, "77");
}

#[tokio::test]
async fn a_fee_replacement_lands_instead_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let (client, _tasks) = devnet(dir.path()).await;
    let message = client.call("t01000", 1, 0, &[]).await;
    let first: wire::SignedMessage = client.ask("MpoolPushMessage", json!([message, null])).await;
    let wallet = client.wallet().await;
    let dearer = |premium: i128| {
        let fee = AttoFil::from_atto(premium);
        wire::Message { gas_premium: fee, gas_fee_cap: fee, ..first.message.clone() }
    };
    let premium = first.message.gas_premium.as_atto();
    let cheap: Value = client.ask("WalletSignMessage", json!([wallet, dearer(premium + 1)])).await;
    assert!(client.refusal("MpoolPush", json!([cheap])).await.1.contains("replace by fee"));
    let dear: Value = client.ask("WalletSignMessage", json!([wallet, dearer(premium * 2)])).await;
    let landed: wire::CidJson = client.ask("MpoolPush", json!([dear])).await;
    client.mine(2).await;
    let found: wire::MsgLookup = client.ask("StateSearchMsg", json!([[], first.cid, -1, true])).await;
    assert_eq!(found.message, landed);
    assert_eq!(client.refusal("StateSearchMsg", json!([[], first.cid, -1, false])).await.0, 1);
}

// matrix: D1, D5, D6
#[tokio::test]
async fn the_mempool_and_its_faults_are_reached_over_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let (client, _tasks) = devnet(dir.path()).await;
    let wallet = client.wallet().await;
    let call = client.call("t01000", 1, 0, &[]).await;
    let first: wire::SignedMessage = client.ask("MpoolPushMessage", json!([call, null])).await;
    let mut forged = first.clone();
    forged.message.nonce = 1;
    assert!(client.refusal("MpoolPush", json!([forged])).await.1.contains("signature"));
    let mut by_id = first.clone();
    by_id.message.from = "t01000".to_owned();
    assert!(client.refusal("MpoolPush", json!([by_id])).await.1.contains("key address"));
    assert!(client.refusal("MpoolPush", json!([first])).await.1.contains("already in mpool"));

    assert_eq!(client.fault("evict", json!({})).await.0, 200);
    assert_eq!(client.ask::<Value>("MpoolPending", json!([[]])).await, json!([]));
    assert_eq!(client.ask::<u64>("MpoolGetNonce", json!([wallet])).await, 0);
    let again: wire::CidJson = client.ask("MpoolPush", json!([first])).await;
    assert_eq!(again, first.cid);

    assert_eq!(client.fault("foreign", json!({})).await.0, 200);
    client.mine(1).await;
    let (_, text) = client.refusal("StateSearchMsg", json!([[], first.cid, -1, true])).await;
    assert!(text.contains("found message with equal nonce"), "{text}");
    assert_eq!(client.fault("foreign", json!({ "address": "t0999" })).await.0, 400);

    client.fault("gas", json!({ "pct": 50, "count": 1, "method": 0 })).await;
    let low: wire::SignedMessage = client.ask("MpoolPushMessage", json!([call, null])).await;
    let right: wire::SignedMessage = client.ask("MpoolPushMessage", json!([call, null])).await;
    client.mine(2).await;
    for (sent, exit_code) in [(low, 7), (right, 0)] {
        let found: wire::MsgLookup = client.ask("StateSearchMsg", json!([[], sent.cid, -1, true])).await;
        assert_eq!(found.receipt.exit_code, exit_code);
    }
    client.fault("block_gas", json!({ "gas": 100 })).await;
    assert_eq!(client.refusal("GasEstimateMessageGas", json!([call, null, []])).await.0, 2);
}

async fn url_of(dir: &FilePath) -> String {
    let there = async {
        loop {
            if let Ok(url) = tokio::fs::read_to_string(dir.join("url")).await {
                return url.strip_suffix("/rpc/v1").unwrap().to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), there).await.unwrap()
}

#[tokio::test]
async fn an_acknowledged_message_survives_a_kill_and_is_sent_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dir: dir.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        epoch_ms: 1000,
        manual: true,
        presealed: None,
        prover: Prover::Simulated,
        attached: false,
    };
    let push =
        json!([null, { "MaxFee": "0", "MsgUuid": "76081ba0-61bd-45a5-bc08-af05f1c26e5d", "MaximizeFeeCap": false }]);
    let mut killed = JoinSet::new();
    killed.spawn(run(options.clone()));
    let client = Client::new(url_of(dir.path()).await, None);
    let mut push = push;
    push[0] = client.call("t01000", 5, 0, &[]).await;
    let first: wire::SignedMessage = client.ask("MpoolPushMessage", push.clone()).await;
    // no shutdown: the task is gone between two instructions
    killed.shutdown().await;
    // a killed devnet leaves its address behind
    std::fs::remove_file(dir.path().join("url")).unwrap();

    let mut again = JoinSet::new();
    again.spawn(run(options));
    let client = Client::new(url_of(dir.path()).await, None);
    let second: wire::SignedMessage = client.ask("MpoolPushMessage", push).await;
    assert_eq!(first, second);
    client.mine(2).await;
    let found: wire::MsgLookup = client.ask("StateWaitMsg", json!([first.cid, 0, -1, true])).await;
    assert_eq!(found.receipt.exit_code, 0);
    assert_eq!(client.ask::<u64>("MpoolGetNonce", json!([client.wallet().await])).await, 1);
}

#[tokio::test]
async fn only_loopback_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let listen = "0.0.0.0:0".parse().unwrap();
    let (epoch_ms, manual, prover, attached) = (1000, true, Prover::Simulated, false);
    let options = Options { dir: dir.path().to_owned(), listen, epoch_ms, manual, presealed: None, prover, attached };
    let why = run(options).await.unwrap_err().to_string();
    assert!(why.contains("loopback"), "{why}");
}

#[tokio::test]
async fn epochs_pass_by_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let (epoch_ms, manual, prover, attached) = (5, false, Prover::Simulated, false);
    let mut tasks = JoinSet::new();
    tasks.spawn(run(Options {
        dir: dir.path().to_owned(),
        listen,
        epoch_ms,
        manual,
        presealed: None,
        prover,
        attached,
    }));
    let client = Client::new(url_of(dir.path()).await, None);
    let message = client.call("t01000", 5, 0, &[]).await;
    let pushed: wire::SignedMessage = client.ask("MpoolPushMessage", json!([message, null])).await;
    client.ask::<wire::MsgLookup>("StateWaitMsg", json!([pushed.cid, 5, -1, true])).await;
    client.fault("stall", json!({})).await;
    let stalled: wire::TipSet = client.ask("ChainHead", json!([])).await;
    client.mine(1).await;
    let head: wire::TipSet = client.ask("ChainHead", json!([])).await;
    assert_eq!(head.height, stalled.height + 1, "stalled, and still at command");
    client.fault("resume", json!({})).await;
    while client.ask::<wire::TipSet>("ChainHead", json!([])).await.height < stalled.height + 3 {}
}
