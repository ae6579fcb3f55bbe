//! The chain: blocks, branches, reorganisations, estimates.

use super::*;
use crate::{
    devnet::{
        fixture::{capacity, chain, create_miner, message, mine, pre_commit, reorganise},
        node::verifier,
        persist::Home,
    },
    proofs::Prover,
};

fn transfer(chain: &Chain) -> Message {
    message(chain, "t01000", AttoFil::from_atto(5), 0, vec![])
}

#[test]
fn effects_are_seen_through_the_key_of_the_next_tipset() {
    let mut chain = chain();
    let cid = chain.accept(transfer(&chain), None, Some(1));
    mine(&mut chain, 1);
    assert_eq!(chain.receipt(&cid), None, "included at the head, executed for the next");
    let nonce = |chain: &Chain, height| chain.state_at(height).unwrap().actor(1000).unwrap().nonce;
    assert_eq!(nonce(&chain, 1), 0);
    mine(&mut chain, 1);
    assert_eq!(chain.receipt(&cid).unwrap().0, 1);
    assert_eq!((nonce(&chain, 1), nonce(&chain, 2)), (0, 1));
}

#[test]
fn a_reorganisation_takes_messages_back_and_includes_them_again() {
    let mut chain = chain();
    let miner = create_miner(&mut chain);
    mine(&mut chain, 3);
    let info = vec![capacity(&chain, 0)];
    pre_commit(&mut chain, miner, info);
    let (old_head, included) = (chain.head, chain.head - 1);
    let (old_cid, old_ticket, below) =
        (chain.block_cid(included), chain.randomness.ticket(included), chain.block_cid(included - 1));
    assert!(chain.tip().miners[&miner].pre_commits.contains_key(&0));

    chain.rollback(2, 3).unwrap();
    assert!(!chain.tip().miners[&miner].allocated.contains(&0));
    assert_eq!(chain.pending().count(), 1);
    mine(&mut chain, 3);
    assert_eq!(chain.head, old_head + 1);
    assert_ne!(chain.block_cid(included), old_cid);
    assert_ne!(chain.randomness.ticket(included), old_ticket);
    assert_eq!(chain.block_cid(included - 1), below);
    assert_eq!(chain.height_of(&old_cid), None);
    assert_eq!(chain.pending().count(), 1, "delayed until three epochs after the old head");
    mine(&mut chain, 2);
    assert_eq!(chain.tip().miners[&miner].pre_commits[&0].epoch, old_head + 3);
}

#[test]
fn messages_of_epochs_taken_back_land_once_again() {
    let mut chain = chain();
    let cids: Vec<String> = (0..3)
        .map(|_| {
            let cid = chain.accept(transfer(&chain), None, Some(0));
            mine(&mut chain, 1);
            cid
        })
        .collect();
    mine(&mut chain, 1);
    let included = |chain: &Chain| cids.iter().map(|cid| chain.landed(cid, true).unwrap().unwrap().included).collect();
    let before: Vec<i64> = included(&chain);
    reorganise(&mut chain, 3, 0, &verifier(Prover::Simulated));
    let after: Vec<i64> = included(&chain);
    assert_eq!((before, after, chain.head), (vec![1, 2, 3], vec![1, 2, 2], 5));
    assert_eq!((chain.tip().actor(1000).unwrap().nonce, chain.pending().count()), (3, 0));
}

#[test]
fn an_epoch_that_changes_nothing_shares_its_state_with_the_one_before() {
    let mut chain = chain();
    let miner = create_miner(&mut chain);
    let before = chain.tip();
    mine(&mut chain, 3);
    assert!(Arc::ptr_eq(&before, &chain.tip()));
    let info = vec![capacity(&chain, 0)];
    pre_commit(&mut chain, miner, info);
    assert!(before.miners[&miner].pre_commits.is_empty() && !chain.tip().miners[&miner].pre_commits.is_empty());
}

#[test]
fn a_reorganisation_deeper_than_what_is_kept_is_refused_and_changes_nothing() {
    let mut chain = chain();
    mine(&mut chain, 150);
    let before = chain.clone();
    for epochs in [0, -1, 100, 1000] {
        assert!(chain.rollback(epochs, 0).unwrap_err().contains("1 to 99"));
    }
    assert!(chain == before);
    chain.rollback(99, 0).unwrap();
    assert_eq!(chain.head, 51);
}

#[test]
fn a_low_fee_cap_waits_for_the_base_fee_and_blocks_later_nonces() {
    let mut chain = chain();
    chain.set_base_fee(AttoFil::from_atto(2000));
    let first = chain.accept(transfer(&chain), None, Some(0));
    let second = Message { fee_cap: AttoFil::from_atto(5000), ..transfer(&chain) };
    assert_eq!(second.nonce, 1);
    let second = chain.accept(second, None, Some(0));
    mine(&mut chain, 3);
    assert_eq!((chain.receipt(&first), chain.receipt(&second)), (None, None));
    chain.set_base_fee(AttoFil::from_atto(100));
    mine(&mut chain, 2);
    assert!(chain.receipt(&first).is_some() && chain.receipt(&second).is_some());
}

#[test]
fn a_forgotten_message_gives_its_nonce_to_the_next() {
    let mut chain = chain();
    let dropped = Message { value: AttoFil::from_atto(1), ..transfer(&chain) };
    let lost = chain.accept(dropped.clone(), Some("a".to_owned()), None);
    assert_eq!((chain.pushed_as("a"), chain.pending().count()), (Some(&lost), 0));
    let next = transfer(&chain);
    assert_eq!(next.nonce, dropped.nonce);
    let cid = chain.accept(next, None, Some(0));
    mine(&mut chain, 2);
    assert_eq!(chain.receipt(&lost), None);
    assert_eq!(chain.executed_instead(&dropped).map(|(cid, _)| cid.clone()), Some(cid));
}

#[test]
fn a_message_that_cannot_be_judged_waits_and_the_chain_goes_on() {
    let mut chain = chain();
    let miner = create_miner(&mut chain);
    let info = vec![capacity(&chain, 0)];
    pre_commit(&mut chain, miner, info);
    mine(&mut chain, 12);
    let params = crate::devnet::fixture::prove_params(&[(0, crate::devnet::fixture::proof(&chain, miner, 0))], true);
    let params = fvm_ipld_encoding::to_vec(&params).unwrap();
    let sent = message(&chain, &format!("t0{miner}"), AttoFil::ZERO, 34, params);
    chain.accept(sent, None, Some(0));
    let job = chain.prepare(0);
    let broken = |_: &[crate::proofs::PoRep], _: &[u8]| {
        let (class, why) = (crate::sector::Class::Environment, "no parameters".to_owned());
        Err(ProofError { class, doing: "verifying a proof", why })
    };
    let block = job.run(&broken);
    assert_eq!(block.undecided.len(), 1);
    assert!(!chain.append(block));
    assert_eq!(chain.pending().count(), 1);
    let block = chain.prepare(0).run(&verifier(Prover::Simulated));
    assert!(chain.append(block));
}

#[test]
fn what_was_saved_comes_back_and_goes_on_as_a_branch_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = chain();
    let miner = create_miner(&mut chain);
    let info = vec![capacity(&chain, 3)];
    pre_commit(&mut chain, miner, info);
    let waiting = chain.accept(transfer(&chain), Some("key".to_owned()), Some(0));
    {
        let home = Home::open(dir.path()).unwrap();
        home.save(&chain).unwrap();
        let second = Home::open(dir.path()).unwrap_err().to_string();
        assert!(second.contains(&std::process::id().to_string()), "{second}");
    }
    // two empty epochs that were never written, then a kill
    let mut lost = chain.clone();
    let home = Home::open(dir.path()).unwrap();
    let mut back = home.load().unwrap().unwrap();
    assert_eq!((back.head, back.tip(), back.pushed_as("key")), (chain.head, chain.tip(), Some(&waiting)));
    assert_eq!(back.state_at(back.head), chain.state_at(chain.head));
    back.resume(chain.time_ms(chain.head) + 60_000);
    mine(&mut back, 2);
    mine(&mut lost, 2);
    assert!(back.receipt(&waiting).is_some());
    assert_ne!(back.block_cid(back.head), lost.block_cid(lost.head), "a key never names two states");
    assert_eq!(back.time_ms(chain.head + 1), chain.time_ms(chain.head) + 60_000);
}

#[test]
fn a_file_that_is_no_chain_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    assert!(home.load().unwrap().is_none());
    std::fs::write(dir.path().join("chain.json"), "{}").unwrap();
    assert!(format!("{:#}", home.load().unwrap_err()).contains("move it away"));
    assert!(dir.path().join("chain.json").exists());
}
