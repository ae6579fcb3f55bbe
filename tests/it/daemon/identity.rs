//! Who the miner is on chain: accounts that send for it, and how it is reached, as declared.

use super::{endless, proven, rig::Rig};
use crate::{read, root};
use fvm_shared::address::Address;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use seald::{
    chain::{cids, params::method},
    units::Hash32,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

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

/// Sectors 0 and 3 as a pre-seal leaves them: the files, and the description.
fn preseal(folder: &Path) {
    let sector = |number: u8| {
        let name = format!("s-t01000-{number}");
        fs::create_dir_all(folder.join("cache").join(&name)).unwrap();
        fs::write(folder.join("cache").join(&name).join("p_aux"), [number; 64]).unwrap();
        fs::create_dir_all(folder.join("sealed")).unwrap();
        fs::write(folder.join("sealed").join(&name), vec![number; 2048]).unwrap();
        json!({
            "CommR": { "/": cids::sealed(Hash32([number + 1; 32])).to_string() },
            "CommD": { "/": cids::unsealed(Hash32([7; 32])).to_string() },
            "SectorID": number,
            "ProofType": 5,
        })
    };
    let key = |byte: u8| Address::new_bls(&[byte; 48]).unwrap().to_string();
    let described = json!({ "t01000": {
        "ID": "t01000", "Owner": key(1), "Worker": key(2), "SectorSize": 2048, "Sectors": [sector(0), sector(3)],
    } });
    fs::write(folder.join("pre-seal-t01000.json"), described.to_string()).unwrap();
}

/// The chain of a daemon that has not run yet, with that miner in its genesis block.
fn genesis_chain(rig: &Rig, folder: &Path) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_seald"));
    command.args(["devnet", "--listen=127.0.0.1:0", "--epoch-ms=50", "--simulate-proofs", "--dir"]);
    command.arg(rig.state().join("devnet")).arg("--presealed").arg(folder.join("pre-seal-t01000.json"));
    let (reader, writer) = std::io::pipe().unwrap();
    let mut devnet = command.stdin(Stdio::null()).stderr(writer.try_clone().unwrap()).stdout(writer).spawn().unwrap();
    drop(command);
    let mut lines = BufReader::new(reader).lines();
    assert!(lines.any(|line| line.unwrap().contains("devnet starts")), "it ended");
    kill(Pid::from_raw(devnet.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    lines.for_each(drop);
    assert!(devnet.wait().unwrap().success());
}

#[test]
fn sectors_of_a_genesis_block_are_taken_up_and_sealing_goes_on_after_them() {
    let mut rig = Rig::simulated(3, 20);
    let presealed = tempfile::tempdir().unwrap();
    let presealed = presealed.path();
    preseal(presealed);
    genesis_chain(&rig, presealed);
    let example = read(root().join("examples/configs/devnet.toml").to_str().unwrap());
    let create = example.lines().find(|line| line.starts_with("create = ")).unwrap();
    let (folder, file) = (presealed.display(), presealed.join("pre-seal-t01000.json"));
    let genesis =
        format!("genesis = {{ actor = \"t01000\", presealed = [\"{folder}\"], metadata = \"{}\" }}", file.display());
    rig.write_manifest(&example.replace(create, &genesis));
    // a file that is missing is named, and nothing is taken up
    fs::rename(presealed.join("sealed/s-t01000-3"), presealed.join("away")).unwrap();
    let mut run = rig.start();
    run.until("sealed/s-t01000-3 and cache/s-t01000-3 are in none of");
    assert_eq!(rig.json(&["sectors", "list", "--json"])["sectors"], json!([]));
    drop(run.killed());
    fs::rename(presealed.join("away"), presealed.join("sealed/s-t01000-3")).unwrap();
    // killed as soon as they are recorded, it goes on
    let mut run = rig.start();
    run.until("Packing -> Proving");
    drop(run.killed());
    rig.finish();

    let list = rig.json(&["sectors", "list", "--json"]);
    let numbers: Vec<_> =
        list["sectors"].as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 3, 4], "{list:#}");
    let show = rig.json(&["sectors", "show", "3", "--json"]);
    assert_eq!((&show["sector"]["state"], &show["sector"]["ticket"]), (&json!("Proving"), &Value::Null), "{show:#}");
    assert_eq!(show["sector"]["sealed"]["comm_r"], json!(Hash32([4; 32]).to_string()), "{show:#}");
    for number in [0, 3] {
        let name = format!("s-t01000-{number}");
        for part in ["sealed", "cache"] {
            assert_eq!(fs::read_link(rig.repo.join(part).join(&name)).unwrap(), presealed.join(part).join(&name));
        }
        assert_eq!(fs::metadata(presealed.join("sealed").join(&name)).unwrap().len(), 2048, "nothing was moved");
    }
    assert_eq!(proven::times(&rig, method::PRE_COMMIT_SECTOR_BATCH2, 4), 1);
    assert!(proven::executed(&rig, method::CREATE_MINER).is_empty());
}
