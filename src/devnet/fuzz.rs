//! What a client may send to the devnet, for a fuzzer: see [`crate::fuzz`].

use super::{
    chain::Chain,
    faults::Fault,
    fixture, gas,
    ledger::{Context, Message},
    node::verifier,
};
use crate::{
    chain::params::{
        CreateMinerParams, PreCommitSectorBatchParams2, ProveCommitSectors3Params, TerminateSectorsParams, method,
    },
    proofs::Prover,
    units::AttoFil,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt::Debug, sync::OnceLock};

/// A chain with a miner that has a sector at each stage: pre-committed, ready to be proven, proven.
fn world() -> &'static (Chain, u64) {
    static WORLD: OnceLock<(Chain, u64)> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut chain = fixture::chain();
        fixture::mine(&mut chain, 1000);
        let miner = fixture::create_miner(&mut chain);
        let sectors = [1, 2, 3].map(|number| fixture::capacity(&chain, number)).to_vec();
        fixture::pre_commit(&mut chain, miner, sectors);
        fixture::mine(&mut chain, 20);
        fixture::prove_all(&mut chain, miner, &[1]);
        let late = fixture::capacity(&chain, 4);
        fixture::pre_commit(&mut chain, miner, vec![late]);
        (chain, miner)
    })
}

fn cbor<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = fvm_ipld_encoding::from_slice::<T>(bytes) else { return };
    let again = fvm_ipld_encoding::to_vec(&value).ok().and_then(|text| fvm_ipld_encoding::from_slice(&text).ok());
    assert_eq!(again.as_ref(), Some(&value), "it changes on its way");
}

/// Parameters of a message, for every method that has some: it is executed, and makes or loses no money.
pub fn messages(bytes: &[u8]) {
    cbor::<CreateMinerParams>(bytes);
    cbor::<PreCommitSectorBatchParams2>(bytes);
    cbor::<ProveCommitSectors3Params>(bytes);
    cbor::<TerminateSectorsParams>(bytes);
    let (chain, miner) = world();
    let (before, verify) = (chain.tip(), verifier(Prover::Simulated));
    let Some(from) = chain.wallets().next() else { panic!("a chain has a wallet") };
    let context = Context {
        epoch: chain.head.saturating_add(1),
        base_fee: AttoFil::from_atto(100),
        challenge_delay: chain.challenge_delay,
        randomness: &chain.randomness,
        verify: &verify,
    };
    let to_miner = format!("t0{miner}");
    for (to, method) in [
        ("t04", method::CREATE_MINER),
        (&to_miner, method::PRE_COMMIT_SECTOR_BATCH2),
        (&to_miner, method::PROVE_COMMIT_SECTORS3),
        (&to_miner, method::TERMINATE_SECTORS),
    ] {
        let mut message = Message {
            from: from.clone(),
            to: to.to_owned(),
            nonce: chain.next_nonce(&from),
            value: AttoFil::from_atto(fixture::FIL),
            gas_limit: 0,
            fee_cap: AttoFil::from_atto(1000),
            premium: AttoFil::ZERO,
            method,
            params: bytes.to_vec(),
        };
        message.gas_limit = gas::used_by(&message);
        let mut after = (*before).clone();
        let executed = after.apply(&message, &context);
        assert!(executed.is_ok(), "a simulated proof is judged");
        assert_eq!(after.total_funds(), before.total_funds(), "money was made or lost");
    }
}

/// A request of the fault API: its name, a line break, its body.
pub fn faults(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (name, body) = text.split_once('\n').unwrap_or((text, ""));
    if let Err(why) = Fault::read(name, body.as_bytes()) {
        assert!(why.len() <= text.len().saturating_add(1024), "{why}");
    }
}
