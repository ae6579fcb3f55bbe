//! The real program against a chain that forgets, forks and is used by others too.

use super::{assert_proven, proven, rig::Rig};
use seald::chain::params::{ProveCommitSectors3Params, method};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

/// Tells the devnet of a run to misbehave.
pub fn fault(rig: &Rig, name: &str, body: &Value) {
    let url = fs::read_to_string(rig.state().join("devnet/url")).unwrap();
    let host = url.trim().trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let body = body.to_string();
    let mut stream = TcpStream::connect(&host).unwrap();
    let head = format!(
        "POST /devnet/v1/{name} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{name} {body}: {answer}");
}

/// Sectors that share messages.
fn batched(sectors: u64) -> Rig {
    let mut rig = Rig::simulated(sectors, 20);
    rig.more = [
        "pledge.max_in_flight=20",
        "batch.precommit.max=20",
        "batch.precommit.wait=1h",
        "batch.commit.max=20",
        "batch.commit.wait=1h",
    ]
    .map(|setting| format!("--set={setting}"))
    .into();
    rig
}

#[test]
fn eight_proofs_are_sent_as_one_where_that_is_cheaper_and_three_are_not() {
    for (sectors, aggregated) in [(8, true), (3, false)] {
        let rig = batched(sectors);
        rig.finish();
        assert_proven(&rig);
        let [params] = &proven::executed(&rig, method::PROVE_COMMIT_SECTORS3)[..] else { panic!("not one message") };
        let params: ProveCommitSectors3Params = fvm_ipld_encoding::from_slice(params).unwrap();
        assert_eq!(params.aggregate_proof_type.is_some(), aggregated, "{sectors} proofs");
        let proofs = if aggregated { 0 } else { usize::try_from(sectors).unwrap() };
        assert_eq!(params.sector_proofs.len(), proofs);
    }
}

// matrix: D5
#[test]
fn a_message_that_the_pool_forgets_is_the_one_that_lands() {
    // of two, which a slow machine may part, the second could take the nonce of the first
    let rig = batched(1);
    let mut run = rig.start();
    run.until("the miner is known");
    fault(&rig, "delay", &json!({ "epochs": 100_000, "method": method::PRE_COMMIT_SECTOR_BATCH2 }));
    run.until("kind=pre_commit status=\"sent\"");
    fault(&rig, "evict", &json!({}));
    run.ends_well();
    assert_proven(&rig);
}

// matrix: D6
#[test]
fn sectors_of_a_message_that_another_overtook_are_sent_again_once() {
    let rig = batched(2);
    let mut run = rig.start();
    run.until("the miner is known");
    fault(&rig, "delay", &json!({ "epochs": 100_000, "method": method::PRE_COMMIT_SECTOR_BATCH2 }));
    run.until("kind=pre_commit status=\"sent\"");
    fault(&rig, "evict", &json!({}));
    fault(&rig, "foreign", &json!({}));
    run.until("kind=pre_commit status=\"dissolved\"");
    run.ends_well();
    for number in [1, 2] {
        assert_eq!(proven::times(&rig, method::PRE_COMMIT_SECTOR_BATCH2, number), 1);
        assert_eq!(proven::times(&rig, method::PROVE_COMMIT_SECTORS3, number), 1);
    }
}

// matrix: D1, D3
#[test]
fn a_message_that_runs_out_of_gas_is_sent_again_with_one_deposit_and_the_same_proof() {
    let rig = batched(2);
    let mut run = rig.start();
    run.until("the miner is known");
    for kind in [method::PRE_COMMIT_SECTOR_BATCH2, method::PROVE_COMMIT_SECTORS3] {
        // of both estimates: that of the simulation, and that of the push
        fault(&rig, "gas", &json!({ "pct": 10, "count": 3, "method": kind }));
    }
    run.until("out of gas");
    let told = run.ends_well();
    assert_eq!(told.matches("event=\"ProofReady\"").count(), 2, "no proof is made twice");
    for number in [1, 2] {
        assert_eq!(proven::times(&rig, method::PRE_COMMIT_SECTOR_BATCH2, number), 1);
        assert_eq!(proven::times(&rig, method::PROVE_COMMIT_SECTORS3, number), 1);
    }
}

// matrix: C4, C8
#[test]
fn reorganisations_on_the_way_change_nothing_in_the_end() {
    let rig = batched(2);
    let mut run = rig.start();
    run.until("event=\"PreCommitLanded\"");
    fault(&rig, "reorg", &json!({ "epochs": 4, "delay": 3 }));
    run.until("event=\"Proving\"");
    fault(&rig, "reorg", &json!({ "epochs": 4, "delay": 3 }));
    run.ends_well();
    assert_proven(&rig);
}

/// What happened to the sectors of a rig, by the names of the events.
fn events(rig: &Rig) -> Vec<String> {
    let history = |number: u64| {
        let show = rig.json(&["sectors", "show", &number.to_string(), "--json"]);
        let lines = show["history"].as_array().unwrap().clone();
        lines.into_iter().map(|line| line["event"]["event"].as_str().unwrap().to_owned())
    };
    (1..=rig.sectors).flat_map(history).collect()
}

/// Nothing failed: what could not be asked was waited for.
fn assert_nothing_failed(rig: &Rig) {
    let failed: Vec<_> = events(rig).into_iter().filter(|event| event.ends_with("Failed")).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

// matrix: C1
#[test]
fn a_node_that_is_away_in_any_state_costs_time_only() {
    let rig = batched(2);
    let mut run = rig.start();
    let steps = [
        "created sector=1",
        "event=\"TicketDrawn\"",
        "event=\"PreCommit2Done\"",
        "kind=pre_commit status=\"sealed\"",
        "kind=pre_commit status=\"sent\"",
        "event=\"PreCommitLanded\"",
        "event=\"SeedReady\"",
        "event=\"ProofReady\"",
        "kind=commit status=\"sent\"",
        "event=\"Proving\"",
    ];
    for step in steps {
        run.until(step);
        fault(&rig, "fail", &json!({ "method": "*", "count": 4, "how": "http500" }));
    }
    run.ends_well();
    assert_proven(&rig);
    assert_nothing_failed(&rig);
}

// matrix: C2
#[test]
fn a_question_that_fails_holds_up_its_own_step_only() {
    let rig = batched(2);
    let mut run = rig.start();
    run.until("the miner is known");
    let questions = [
        "StateGetRandomnessFromTickets",
        "StateGetRandomnessFromBeacon",
        "StateSectorPreCommitInfo",
        "StateSectorGetInfo",
        "StateSearchMsg",
        "StateMinerPreCommitDepositForPower",
        "StateMinerInitialPledgeForSector",
        "WalletBalance",
        "GasEstimateMessageGas",
    ];
    for method in questions {
        fault(&rig, "fail", &json!({ "method": method, "count": 3 }));
    }
    run.ends_well();
    assert_proven(&rig);
    assert_nothing_failed(&rig);
}
