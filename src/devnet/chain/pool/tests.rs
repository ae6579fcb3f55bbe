//! The mempool: nonces, replacements, evictions, other hands, estimates.

use super::*;
use crate::{
    chain::params::method,
    devnet::{
        fixture::{capacity, chain, create_miner, message, mine, pre_commit_params},
        ledger::{BURN_ACTOR, exit, minus},
        node::verifier,
    },
    proofs::Prover,
};

fn transfer(chain: &Chain) -> Message {
    message(chain, "t01000", AttoFil::from_atto(5), 0, vec![])
}

fn dearer(message: &Message, premium: i128) -> Message {
    let premium = AttoFil::from_atto(premium);
    Message { premium, fee_cap: premium.max(message.fee_cap), ..message.clone() }
}

fn push(chain: &mut Chain, message: &Message) -> Result<String, String> {
    chain.push_signed(message.clone(), &mut Rules::default())
}

// matrix: D4
#[test]
fn a_replacement_pays_a_quarter_more_and_lands_in_place_of_the_first() {
    let mut chain = chain();
    let first = Message { premium: AttoFil::from_atto(101), ..transfer(&chain) };
    let cid = push(&mut chain, &first).unwrap();
    // 101 × 1.25 is 126 and a fraction
    let why = push(&mut chain, &dearer(&first, 126)).unwrap_err();
    assert!(why.contains("increase GasPremium to 127 from 126") && why.contains("replace by fee has too low"), "{why}");
    let why = push(&mut chain, &first).unwrap_err();
    assert!(why.contains("already in mpool"), "{why}");
    let second = push(&mut chain, &dearer(&first, 127)).unwrap();
    assert_eq!(chain.pending().map(|(cid, _)| cid).collect::<Vec<_>>(), [&second]);

    mine(&mut chain, 2);
    assert_eq!((chain.receipt(&cid), chain.receipt(&second).map(|(height, _)| *height)), (None, Some(1)));
    let (found, instead) = chain.executed_instead(&first).unwrap();
    assert!(*found == second && instead.same_call(&first));
    let why = push(&mut chain, &dearer(&first, 10_000)).unwrap_err();
    assert_eq!(why, "minimum expected nonce is 1: message nonce too low");
    assert_eq!(chain.tip().actor(1000).unwrap().nonce, 1, "it executed once");
}

// matrix: D5
#[test]
fn an_evicted_message_gives_its_nonce_back_and_may_be_pushed_again_as_it_was() {
    let mut chain = chain();
    let messages: Vec<Message> = (0..3)
        .map(|_| {
            let message = transfer(&chain);
            push(&mut chain, &message).unwrap();
            message
        })
        .collect();
    let from = messages[0].from.clone();
    assert_eq!((chain.next_nonce(&from), chain.pending().count()), (3, 3));
    assert_eq!(chain.evict(Some("t3nobody"), None), 0);
    assert_eq!(chain.evict(Some(&from), Some(1)), 1);
    assert_eq!(chain.next_nonce(&from), 1, "the first nonce that nothing waits with");
    mine(&mut chain, 3);
    assert_eq!((chain.next_nonce(&from), chain.pending().count()), (1, 1), "the third waits for the second");

    let cid = push(&mut chain, &messages[1]).unwrap();
    assert_eq!((cid.clone(), chain.next_nonce(&from)), (messages[1].cid(), 3));
    mine(&mut chain, 2);
    assert!(messages.iter().all(|message| chain.receipt(&message.cid()).is_some()));
    assert_eq!(chain.evict(None, None), 0);

    let forgotten = transfer(&chain);
    let mut rules = Rules::default();
    rules.add(1, None, None);
    chain.push_signed(forgotten.clone(), &mut rules).unwrap();
    assert_eq!(chain.pending().count(), 0, "dropped");
    chain.push_signed(forgotten.clone(), &mut rules).unwrap();
    mine(&mut chain, 2);
    assert!(chain.receipt(&forgotten.cid()).is_some(), "pushed again it lands");
}

// matrix: D6
#[test]
fn a_message_by_another_hand_takes_the_nonce_for_good() {
    let mut chain = chain();
    let ours = [transfer(&chain), Message { nonce: 1, ..transfer(&chain) }];
    for message in &ours {
        push(&mut chain, message).unwrap();
    }
    let foreign = chain.push_foreign(&ours[0].from).unwrap();
    mine(&mut chain, 2);
    assert_eq!(chain.executed_instead(&ours[0]).map(|(cid, _)| cid), Some(&foreign));
    assert!(!chain.message(&foreign).unwrap().same_call(&ours[0]));
    assert!(chain.receipt(&ours[0].cid()).is_none() && chain.receipt(&ours[1].cid()).is_some());
    assert_eq!((chain.pending().count(), chain.next_nonce(&ours[0].from)), (0, 2));
    assert!(push(&mut chain, &ours[0]).unwrap_err().contains("minimum expected nonce is 2"));
    assert!(chain.push_foreign("t3nobody").is_err());

    // a reorganisation that leaves the foreign message out makes the nonce free again
    chain.rollback(2, 0).unwrap();
    assert_eq!(chain.evict(None, Some(0)), 1);
    assert_eq!(chain.executed_instead(&ours[0]), None);
    push(&mut chain, &ours[0]).unwrap();
    mine(&mut chain, 2);
    assert!(ours.iter().all(|message| chain.receipt(&message.cid()).is_some()));
}

// matrix: D7
#[test]
fn a_message_below_the_base_fee_waits_until_a_replacement_pays_it() {
    let mut chain = chain();
    let low = transfer(&chain);
    chain.set_base_fee(plus(low.fee_cap, AttoFil::from_atto(1)));
    push(&mut chain, &low).unwrap();
    mine(&mut chain, 50);
    assert_eq!((chain.pending().count(), chain.tip().actor(1000).unwrap().nonce), (1, 0));
    let paying = dearer(&low, 2 * low.fee_cap.as_atto());
    let cid = push(&mut chain, &paying).unwrap();
    mine(&mut chain, 2);
    assert_eq!(chain.receipt(&cid).unwrap().1.exit_code, 0);
}

#[test]
fn what_no_block_would_take_is_refused_when_it_is_pushed() {
    let mut chain = chain();
    let good = transfer(&chain);
    let over = Message { gas_limit: gas::BLOCK_GAS_LIMIT + 1, ..good.clone() };
    assert!(push(&mut chain, &over).unwrap_err().contains("block's gas limit"));
    let tip = Message { premium: plus(good.fee_cap, AttoFil::from_atto(1)), ..good.clone() };
    assert!(push(&mut chain, &tip).unwrap_err().contains("less than 'GasPremium'"));
    // each alone is payable, the two together are not
    let all = chain.tip().balance(1000);
    let fee = times(good.fee_cap, good.gas_limit);
    let rest = minus(all, fee);
    push(&mut chain, &Message { value: rest, ..good.clone() }).unwrap();
    let why = push(&mut chain, &Message { nonce: 1, ..good.clone() }).unwrap_err();
    assert!(why.contains("not enough funds"), "{why}");
    assert_eq!(chain.pending().count(), 1);
}

fn batch(chain: &Chain, miner: u64, sectors: u64) -> Message {
    let infos = (0..sectors).map(|n| capacity(chain, n)).collect();
    let to = format!("t0{miner}");
    let message = message(chain, &to, AttoFil::ZERO, method::PRE_COMMIT_SECTOR_BATCH2, pre_commit_params(infos));
    Message { gas_limit: 0, fee_cap: AttoFil::ZERO, premium: AttoFil::ZERO, ..message }
}

// matrix: D1, D3
#[test]
fn too_low_an_estimate_runs_out_of_gas_and_locks_no_deposit() {
    let mut chain = chain();
    let miner = create_miner(&mut chain);
    let verify = verifier(Prover::Simulated);
    let message = batch(&chain, miner, 3);
    let asked = |gas_pct| Asked { gas_pct, ..Asked::default() };
    let low = chain.estimate(message.clone(), asked(Some(79)), &verify).unwrap();
    let right = chain.estimate(message, asked(None), &verify).unwrap();
    assert_eq!(right.gas_limit, gas::used_by(&right) * 5 / 4);

    let (free, burnt) = (chain.tip().miners[&miner].deposits(), chain.tip().balance(BURN_ACTOR));
    let sent = chain.push(low, None, &mut Rules::default()).unwrap();
    mine(&mut chain, 2);
    let receipt = &chain.receipt(&sent.cid()).unwrap().1;
    assert_eq!((receipt.exit_code, receipt.gas_used), (exit::OUT_OF_GAS, sent.gas_limit));
    assert_eq!(chain.tip().miners[&miner].deposits(), free);
    assert!(chain.tip().balance(BURN_ACTOR) > burnt, "the gas is paid all the same");
    let sent = chain.push(right, None, &mut Rules::default()).unwrap();
    mine(&mut chain, 2);
    assert_eq!((sent.nonce, chain.receipt(&sent.cid()).unwrap().1.exit_code), (2, 0));
    assert_eq!(chain.tip().miners[&miner].pre_commits.len(), 3);
}

// matrix: D10
#[test]
fn a_batch_above_the_block_gas_is_refused_and_its_halves_are_not() {
    let mut chain = chain();
    let miner = create_miner(&mut chain);
    let verify = verifier(Prover::Simulated);
    chain.set_block_gas(120_000_000);
    let whole = chain.estimate(batch(&chain, miner, 8), Asked::default(), &verify);
    assert!(matches!(whole, Err(Refusal::OutOfGas)), "{whole:?}");
    let half = chain.estimate(batch(&chain, miner, 4), Asked::default(), &verify).unwrap();
    assert!(half.gas_limit <= 120_000_000);
    let reverted = chain.estimate(Message { method: 6, ..batch(&chain, miner, 1) }, Asked::default(), &verify);
    assert!(matches!(reverted, Err(Refusal::Reverted(22, _))), "{reverted:?}");
}

#[test]
fn a_replacement_is_estimated_without_what_it_replaces() {
    let mut chain = chain();
    let miner = create_miner(&mut chain);
    let verify = verifier(Prover::Simulated);
    let estimate = |chain: &Chain, message: Message| chain.estimate(message, Asked::default(), &verify);
    let first = estimate(&chain, batch(&chain, miner, 2)).unwrap();
    let first = chain.push(first, None, &mut Rules::default()).unwrap();
    let again = batch(&chain, miner, 2);
    assert_ne!(again.nonce, first.nonce);
    let refused = estimate(&chain, again.clone());
    assert!(matches!(refused, Err(Refusal::Reverted(exit::ILLEGAL_ARGUMENT, _))), "its sectors are pre-committed then");
    estimate(&chain, Message { nonce: first.nonce, ..again }).unwrap();
}
