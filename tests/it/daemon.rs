//! The real program with real child processes, killed, starved and misled.
//!
//! `kills` kills it at every recorded step and at random, `full_disk` takes its space away, `orders` tells it what to do,
//! `reload` gives it other manifests, `api` asks it as tools for Lotus do, `slots` holds parts of it back, `watch` and `looks` look on, `chain` makes its chain misbehave, `outlive` ends it while its workers
//! go on, `real` does it with real proofs. Each test has folders and a devnet of its own. Nothing here needs a network, a GPU or
//! a wallet.

mod api;
mod chain;
mod full_disk;
mod identity;
mod kills;
mod looks;
#[cfg(feature = "proofs")]
mod lotus;
mod orders;
mod outlive;
mod proven;
#[cfg(feature = "proofs")]
mod real;
mod reload;
mod rig;
mod slots;
mod watch;

use proven::assert_proven;
use rig::{Kind, Rig};
use std::fs;

#[test]
fn two_commands_take_an_empty_folder_to_the_target() {
    let rig = Rig::simulated(2, 20);
    let told = rig.finish();
    assert!(told.contains("target met: 2 sectors proven on chain"), "{told}");
    assert!(told.contains("SIMULATED"), "{told}");
    assert_proven(&rig);

    // again: there is nothing to do, and nothing is started for it
    let url = fs::read_to_string(rig.state().join("devnet/url")).ok();
    let lock = fs::read_to_string(rig.state().join("devnet/lock")).unwrap();
    let told = rig.finish();
    assert!(told.contains("target met: 2 sectors proven on chain in 0 s"), "{told}");
    assert!(!told.contains("created") && !told.contains("repo open"), "{told}");
    assert_eq!(fs::read_to_string(rig.state().join("devnet/url")).ok(), url);
    assert_eq!(fs::read_to_string(rig.state().join("devnet/lock")).unwrap(), lock);

    let status = rig.json(&["status", "--json"]);
    assert_eq!((&status["daemon"], &status["target"]["proving"]), (&"stopped".into(), &2.into()), "{status:#}");
    let show = rig.ask(&["sectors", "show", "1"]);
    let show = String::from_utf8(show.stdout).unwrap();
    for event in ["Packed", "TicketDrawn", "PreCommitLanded", "ProofReady", "Proving", "Finalized"] {
        assert!(show.contains(event), "{event}: {show}");
    }
}

/// A daemon that goes on after the target.
fn endless(sectors: u64) -> Rig {
    let mut rig = Rig::simulated(sectors, 20);
    rig.run.retain(|arg| arg != "--until-target");
    rig
}

#[test]
fn a_running_daemon_answers_and_ends_when_asked() {
    let rig = endless(1);
    let mut run = rig.start();
    run.until("target 1/1 proving");
    let info = rig.json(&["info", "--json"]);
    assert_eq!((&info["proving"], &info["states"]), (&1.into(), &serde_json::json!([["Proving", 1]])), "{info:#}");
    let list = rig.json(&["sectors", "list", "--json", "--state", "Proving"]);
    assert_eq!(list["sectors"].as_array().unwrap().len(), 1);
    assert_eq!(rig.json(&["status", "--json"])["daemon"], "running");
    assert_eq!(rig.ask(&["status"]).status.code(), Some(0));

    // one daemon per state folder
    let mut second = rig.start();
    let (status, told) = second.end();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("another seald (pid {})", run.pid())) && told.contains("help: "), "{told}");

    run.trimmed(&rig);
    assert_eq!(run.stopped().code(), Some(0));
    assert_proven(&rig);
}

#[test]
fn a_wrong_manifest_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("seald.toml");
    fs::write(&manifest, "[miner]\nactor = 7\n[state]\ndir = \"state\"\n").unwrap();
    let seald = std::process::Command::new(env!("CARGO_BIN_EXE_seald"))
        .args(["run", "--config", "seald.toml"])
        .env_clear()
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(seald.stderr).unwrap();
    assert_eq!(seald.status.code(), Some(78), "a start again is of no use: {said}");
    assert!(said.contains("seald.toml:2:9: miner.actor") && said.contains("help: "), "{said}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["seald.toml"], "it made nothing");
}

#[test]
fn simulated_proofs_are_kept_from_real_networks() {
    let mut rig = Rig::simulated(1, 20);
    let endpoint = "--set=chain.endpoints=[{url=\"http://127.0.0.1:1/rpc/v1\"}]";
    rig.more = vec![endpoint.to_owned(), "--set=chain.devnet=false".to_owned()];
    let (status, told) = rig.start().end();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("the simulated prover proves nothing"), "{told}");
    assert!(rig.processes(Kind::Devnet).is_empty() && !rig.repo.exists());
}
