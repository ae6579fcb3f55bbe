//! Who the miner is on chain: accounts that send for it, and how it is reached, as declared.

use super::{endless, proven, rig::Rig};
use crate::{read, root};
use seald::chain::params::method;
use serde_json::Value;
use std::collections::BTreeSet;

const FIRST: &str = "12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf";
const SECOND: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";

/// The example with a key of its own for the worker, and more keys of `[miner]`.
fn with(more: &str) -> String {
    let example = read(root().join("examples/configs/devnet.toml").to_str().unwrap());
    let example = example.replace(r#"worker = "default""#, r#"worker = "new""#);
    example.replace("[chain]\n", &format!("{more}\n[chain]\n"))
}

/// Senders of the messages of a method that succeeded.
fn senders(rig: &Rig, method: u64) -> BTreeSet<String> {
    let chain = proven::chain_of(rig);
    let executed = chain["receipts"].as_object().unwrap().iter().filter(|(_, receipt)| receipt[1]["exit_code"] == 0);
    let messages = executed.map(|(cid, _)| &chain["messages"][cid]).filter(|message| message["method"] == method);
    messages.map(|message| message["from"].as_str().unwrap().to_owned()).collect()
}

fn miner(rig: &Rig) -> Value {
    let chain = proven::chain_of(rig);
    let state = &chain["states"].as_array().unwrap().last().unwrap()[1];
    state["miners"].as_object().unwrap().values().next().unwrap().clone()
}

#[test]
fn a_new_worker_becomes_an_account_and_others_pay_for_it() {
    let mut rig = Rig::simulated(2, 20);
    let owner = r#"["f01000"]"#;
    rig.write_manifest(&with(&format!("senders = {{ precommit = {owner}, commit = {owner} }}")));
    let told = rig.finish();
    assert!(told.contains("kind=new_account status=\"sent\"") || told.contains("worker's key an account"), "{told}");
    assert_eq!(proven::executed(&rig, method::SEND).len(), 1, "one message makes the account");
    assert_eq!(proven::executed(&rig, method::CREATE_MINER).len(), 1);
    let owner = senders(&rig, method::CREATE_MINER);
    assert_eq!(
        (&senders(&rig, method::PRE_COMMIT_SECTOR_BATCH2), &senders(&rig, method::PROVE_COMMIT_SECTORS3)),
        (&owner, &owner)
    );
    let miner = miner(&rig);
    assert_ne!(miner["owner"], miner["worker"]);
}

#[test]
fn how_the_miner_is_reached_follows_the_manifest_by_one_message_each() {
    let mut rig = endless(0);
    let contact = |peer: &str, port: u32| {
        with(&format!(
            "senders = {{ commit = [\"t01000\"] }}\npeer_id = \"{peer}\"\nmultiaddrs = [\"/ip4/203.0.113.7/tcp/{port}\"]"
        ))
    };
    rig.write_manifest(&contact(FIRST, 24_001));
    let mut run = rig.start();
    run.until("the miner is known");
    // it is created with what is declared: there is nothing to change
    rig.write_manifest(&contact(SECOND, 24_002));
    let preview = rig.ask(&["plan"]);
    let preview = String::from_utf8(preview.stdout).unwrap();
    assert!(preview.contains("miner.peer_id") && preview.contains(FIRST) && preview.contains(SECOND), "{preview}");
    let answer = rig.ask(&["reload"]);
    assert_eq!(answer.status.code(), Some(0), "{}", String::from_utf8_lossy(&answer.stderr));
    run.until("kind=change_peer_id status=\"landed\"");
    run.until("kind=change_multiaddrs status=\"landed\"");
    // killed, it looks at the chain before it says anything again
    drop(run.killed());
    let mut run = rig.start();
    run.until("the miner is known");
    run.watch(&rig, |status| status["chain"]["messages_pending"] == 0 && status["chain"]["head"].is_number());
    run.stopped();
    let peers = proven::executed(&rig, method::CHANGE_PEER_ID);
    assert_eq!((peers.len(), proven::executed(&rig, method::CHANGE_MULTIADDRS).len()), (1, 1));
    assert_eq!(miner(&rig)["multiaddrs"], serde_json::json!([[4, 203, 0, 113, 7, 6, 0x5d, 0xc2]]));
}
