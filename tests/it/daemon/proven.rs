//! What must be true of a run that reached its target, whatever happened on the way: asked of the chain's own file, of
//! the disk and of the database, not of what the daemon says.

use super::rig::Rig;
use fvm_ipld_encoding::from_slice;
use seald::{
    chain::params::{PreCommitSectorBatchParams2, ProveCommitSectors3Params, method},
    proofs::{Prover, stages},
    units::{MinerId, SectorSize, from_hex},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Every sector is proven once, with one message each way, and nothing else is left anywhere.
pub fn assert_proven(rig: &Rig) {
    rig.all_gone();
    let numbers: Vec<u64> = (1..=rig.sectors).collect();
    let chain = chain_of(rig);
    messages(&chain, &numbers);
    miner(&chain, &numbers);
    for number in &numbers {
        files(rig, *number);
    }
    database(rig, &numbers);
}

fn messages(chain: &Value, numbers: &[u64]) {
    let (sent, executed) = (chain["messages"].as_object().unwrap(), chain["receipts"].as_object().unwrap());
    let ids = chain["uuids"].as_object().unwrap();
    assert_eq!(chain["pending"].as_object().unwrap().len(), 0, "messages that nobody waited for: {chain:#}");
    assert_eq!(ids.len(), sent.len(), "an id for each message: {chain:#}");
    assert_eq!(sent.len(), executed.len(), "a message was sent and never executed: {chain:#}");
    let mut by_method: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (cid, receipt) in executed {
        assert_eq!(receipt[1]["exit_code"], 0, "{cid}: {receipt}");
        let message = &sent[cid];
        let params = from_hex(message["params"].as_str().unwrap()).unwrap();
        let method = message["method"].as_u64().unwrap();
        by_method.entry(method).or_default().extend(sectors_in(method, &params));
    }
    by_method.values_mut().for_each(|sectors| sectors.sort_unstable());
    let once = BTreeMap::from([
        (method::CREATE_MINER, vec![0]),
        (method::PRE_COMMIT_SECTOR_BATCH2, numbers.to_vec()),
        (method::PROVE_COMMIT_SECTORS3, numbers.to_vec()),
    ]);
    assert_eq!(by_method, once, "each sector in one message of each kind");
}

pub fn chain_of(rig: &Rig) -> Value {
    serde_json::from_slice(&fs::read(rig.state().join("devnet/chain.json")).unwrap()).unwrap()
}

/// The parameters of every message of a method that succeeded.
pub fn executed(rig: &Rig, method: u64) -> Vec<Vec<u8>> {
    let chain = chain_of(rig);
    let receipts = chain["receipts"].as_object().unwrap().iter();
    let succeeded = receipts.filter(|(_, receipt)| receipt[1]["exit_code"] == 0);
    let sent = succeeded.map(|(cid, _)| &chain["messages"][cid]).filter(|message| message["method"] == method);
    sent.map(|message| from_hex(message["params"].as_str().unwrap()).unwrap()).collect()
}

/// How often a sector was in a message of a method that succeeded.
pub fn times(rig: &Rig, method: u64, number: u64) -> usize {
    let messages = executed(rig, method);
    messages.iter().flat_map(|params| sectors_in(method, params)).filter(|sector| *sector == number).count()
}

fn sectors_in(method: u64, params: &[u8]) -> Vec<u64> {
    match method {
        method::PRE_COMMIT_SECTOR_BATCH2 => {
            let params: PreCommitSectorBatchParams2 = from_slice(params).unwrap();
            params.sectors.iter().map(|info| info.sector_number).collect()
        }
        method::PROVE_COMMIT_SECTORS3 => {
            let params: ProveCommitSectors3Params = from_slice(params).unwrap();
            params.sector_activations.iter().map(|activation| activation.sector_number).collect()
        }
        _ => vec![0],
    }
}

fn miner(chain: &Value, numbers: &[u64]) {
    let state = &chain["states"].as_array().unwrap().last().unwrap()[1];
    let miners = state["miners"].as_object().unwrap();
    assert_eq!(miners.len(), 1);
    let miner = miners.values().next().unwrap();
    let mut sectors: Vec<u64> = miner["sectors"].as_object().unwrap().keys().map(|n| n.parse().unwrap()).collect();
    sectors.sort_unstable();
    assert_eq!(sectors, numbers);
    assert!(miner["sectors"].as_object().unwrap().values().all(|sector| sector["condition"] == "active"), "{miner:#}");
    assert_eq!(miner["allocated"], serde_json::json!(numbers), "no number was lost");
    assert_eq!(miner["pre_commits"], serde_json::json!({}));
}

fn files(rig: &Rig, number: u64) {
    let name = format!("s-t01001-{number}");
    assert!(fs::metadata(rig.repo.join("sealed").join(&name)).unwrap().len() >= 2048, "sealed {number}");
    // the proofs library writes its notes on the trees too, and finalizing keeps them as the library does
    let notes: &[&str] = if rig.is_simulated() { &[] } else { &["t_aux"] };
    let kept = [&["p_aux", "sc-02-data-tree-r-last.dat"], notes].concat();
    assert_eq!(names(&rig.repo.join("cache").join(&name)), kept, "cache {number}");
    assert_eq!(names(&rig.repo.join("work").join(&name)), ["finalized.json"], "work {number}");
}

/// Whoever was killed or taken over on the way: what is stored is, byte for byte, what sealing without any trouble gives.
pub fn assert_same_bytes(rig: &Rig) {
    let prover = if rig.is_simulated() { Prover::Simulated } else { Prover::Real };
    for number in 1..=rig.sectors {
        let record = rig.json(&["sectors", "show", &number.to_string(), "--json"])["sector"].clone();
        let folder = tempfile::tempdir().unwrap();
        let sealed = folder.path().join("sealed");
        fs::File::create(&sealed).unwrap().set_len(SectorSize::KiB2.bytes().as_u64()).unwrap();
        let replica = stages::Replica {
            miner: MinerId::new(1001),
            number: number.try_into().unwrap(),
            proof: SectorSize::KiB2.seal_proof(),
            ticket: serde_json::from_value(record["ticket"]["value"].clone()).unwrap(),
            cache: folder.path(),
            sealed: &sealed,
        };
        let phase1 = stages::precommit1(prover, &replica).unwrap();
        let commitments = stages::precommit2(prover, &replica, &phase1).unwrap();
        assert_eq!(serde_json::to_value(commitments).unwrap(), record["sealed"], "sector {number}");
        let name = format!("s-t01001-{number}");
        let same = |ours: &Path, theirs: &Path| fs::read(ours).unwrap() == fs::read(theirs).unwrap();
        assert!(same(&sealed, &rig.repo.join("sealed").join(&name)), "the replica of sector {number}");
        for file in ["p_aux", "sc-02-data-tree-r-last.dat"] {
            let stored = rig.repo.join("cache").join(&name).join(file);
            assert!(same(&folder.path().join(file), &stored), "{file} of sector {number}");
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn database(rig: &Rig, numbers: &[u64]) {
    let list = rig.json(&["sectors", "list", "--json"]);
    let rows = list["sectors"].as_array().unwrap();
    let found: Vec<u64> = rows.iter().map(|row| row["number"].as_u64().unwrap()).collect();
    assert_eq!(found, numbers);
    assert!(rows.iter().all(|row| row["state"] == "Proving"), "{list:#}");
}
