//! The StorageMiner API of a daemon that seals, asked as exporters and lotus-miner ask it.

use super::{
    endless,
    rig::{Rig, Run},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
};

/// Status and body of the answer to one request.
fn post(address: SocketAddr, token: Option<&str>, body: &Value) -> (String, String) {
    let body = body.to_string();
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.len();
    let head = format!("POST /rpc/v0 HTTP/1.1\r\nHost: seald\r\nConnection: close\r\n{bearer}Content-Length: {length}");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

struct Asker {
    address: SocketAddr,
    token: String,
}

impl Asker {
    fn answer(&self, method: &str, params: Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "method": format!("Filecoin.{method}"), "params": params, "id": 1});
        let (status, body) = post(self.address, Some(&self.token), &call);
        assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
        serde_json::from_str(&body).unwrap()
    }

    fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }
}

/// Where the API of a daemon with this rig will be.
fn with_api(rig: &mut Rig, api: &str) -> SocketAddr {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    rig.more = vec![format!("--set=node.address={address}"), format!("--set=node.api={api}")];
    address
}

fn token(rig: &Rig, permission: &str) -> String {
    let made = rig.ask(&["api", "token", "--permission", permission]);
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// A daemon, once it can be asked.
fn answering(rig: &Rig, address: SocketAddr) -> Run {
    let mut run = rig.start();
    run.until("repo open");
    run.watch(rig, |status| status["miner"].is_string() && TcpStream::connect(address).is_ok());
    run
}

#[test]
fn the_api_tells_of_a_sector_what_lotus_would() {
    let mut rig = endless(1);
    let address = with_api(&mut rig, "write");
    // before the first start there is no secret, and the words say who makes one
    let said = String::from_utf8(rig.ask(&["api", "token"]).stderr).unwrap();
    assert!(said.contains("api-secret") && said.contains("node.address"), "{said}");
    let mut run = rig.start();
    run.until("target 1/1 proving");
    // its cache is trimmed once its activation is final
    run.until("event=\"Finalized\"");
    let mode = fs::metadata(rig.state().join("api-secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let asker = Asker { address, token: token(&rig, "admin") };
    let miner = rig.json(&["status", "--json"])["miner"].as_str().unwrap().replacen('f', "t", 1);
    assert_eq!(asker.result("ActorAddress", json!([])), json!(miner));
    assert_eq!(asker.result("ActorSectorSize", json!([miner])), 2048);
    assert_eq!(asker.result("SectorsList", json!([])), json!([1]));
    assert_eq!(asker.result("SectorsSummary", json!([])), json!({"Proving": 1}));
    assert_eq!(asker.result("SectorNumAssignerMeta", json!([]))["Next"], 2);

    let sector = asker.result("SectorsStatus", json!([1, true]));
    assert_eq!(
        (&sector["SectorID"], &sector["State"], &sector["SealProof"]),
        (&json!(1), &json!("Proving"), &json!(5))
    );
    let record = &rig.json(&["sectors", "show", "1", "--json"])["sector"];
    let (activation, ticket) = (&record["activation"], &record["ticket"]);
    assert_eq!(sector["Activation"], activation["epoch"], "{sector:#}");
    assert_eq!((&sector["Expiration"], &sector["OnTime"]), (&activation["expiration"], &activation["expiration"]));
    assert_eq!((&sector["InitialPledge"], &sector["Ticket"]["Epoch"]), (&activation["pledge"], &ticket["epoch"]));
    let proof = STANDARD.decode(sector["Proof"].as_str().unwrap()).unwrap();
    assert_eq!(proof.len() * 2, record["porep"].as_str().unwrap().len());
    for message in ["PreCommitMsg", "CommitMsg", "CommD", "CommR"] {
        assert!(sector[message]["/"].as_str().is_some_and(|cid| cid.starts_with("ba")), "{message}: {sector:#}");
    }
    let log: Vec<_> = sector["Log"].as_array().unwrap().iter().map(|line| line["Kind"].as_str().unwrap()).collect();
    assert_eq!(log[..2], ["event;sealing.SectorStartCC", "event;sealing.SectorPacked"]);
    assert!(
        log.contains(&"event;sealing.SectorProving") && log.ends_with(&["event;sealing.SectorFinalized"]),
        "{log:?}"
    );

    // where it lies: sealed and cache, 2 + 4
    let paths = asker.result("StorageLocal", json!([]));
    let (id, path) = paths.as_object().unwrap().iter().next().unwrap();
    assert_eq!(path.as_str(), rig.repo.to_str());
    let number: u64 = miner.trim_start_matches("t0").parse().unwrap();
    let lies = json!({(id): [{"Miner": number, "Number": 1, "SectorFileType": 6}]});
    assert_eq!(asker.result("StorageList", json!([])), lies);
    assert!(asker.result("StorageStat", json!([id]))["Capacity"].as_u64().unwrap() > 0);
    assert_eq!(asker.result("StorageInfo", json!([id]))["URLs"], json!([format!("http://{address}/remote")]));
    let workers = asker.result("WorkerStats", json!([]));
    let worker = workers.as_object().unwrap().values().next().unwrap();
    assert_eq!((&worker["Enabled"], &worker["TaskCounts"]), (&json!(true), &json!({})), "{worker:#}");
    assert_eq!(asker.result("WorkerJobs", json!([])), json!({}));

    // an order for one sector more, which is there when the answer is
    let pledged = asker.result("PledgeSector", json!([]));
    assert_eq!(pledged, json!({"Miner": number, "Number": 2}));
    run.until("target 2/2 proving");
    assert_eq!(asker.result("SectorsListInStates", json!([["Proving"]])), json!([1, 2]));
    assert_eq!(run.stopped().code(), Some(0));
}

#[test]
fn the_api_is_for_looking_unless_the_manifest_says_more_and_keeps_its_tokens_over_a_restart() {
    let mut rig = endless(0);
    let address = with_api(&mut rig, "read");
    let run = answering(&rig, address);
    let asker = Asker { address, token: token(&rig, "write") };
    let refused = asker.answer("PledgeSector", json!([]));
    let why = refused["error"]["message"].as_str().unwrap();
    assert!(refused["error"]["code"] == 1 && why.contains("node.api = \"write\""), "{why}");
    assert_eq!(asker.answer("StorageList", json!([]))["error"]["code"], 1, "that is for admins");
    let version = json!({"jsonrpc": "2.0", "method": "Filecoin.Version", "params": [], "id": 3});
    let (status, body) = post(address, None, &version);
    assert!(status == "HTTP/1.1 200 OK" && body.contains("66816"), "{status} {body}");
    let (status, _) = post(address, Some("nonsense"), &version);
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    // nothing that it said to its end has a token in it
    let told = run.killed();
    assert!(told.contains("repo open") && !told.contains(&asker.token), "{told}");

    let info = String::from_utf8(rig.ask(&["api", "info", "--permission", "write"]).stdout).unwrap();
    assert_eq!(info, format!("MINER_API_INFO={}:/ip4/127.0.0.1/tcp/{}/http\n", asker.token, address.port()));
    let run = answering(&rig, address);
    assert_eq!(asker.result("AuthVerify", json!([asker.token])), json!(["read", "write"]));
    assert_eq!(run.stopped().code(), Some(0));
}
