//! Who shares a message, when it leaves, and what the wallet allows.

use super::{
    super::*,
    devnet, ready, text,
    world::{done, number, precommit_sector, worker_has},
};
use crate::{
    manifest::Senders,
    outbox::{Account, Accounts, BatchState},
    sector::{
        Facts, Landed, OnChainPreCommit, PreCommit, Seed, State,
        tests::{CHAIN, NOW},
    },
    units::{AttoFil, Hash32},
};
use std::collections::BTreeSet;

/// Sectors that want a pre-commit, all of them in one open batch.
fn wanting(desired: &Desired, count: u64) -> Observed {
    let mut observed =
        Observed { sectors: (0..count).map(|n| (number(n), precommit_sector(n))).collect(), ..ready(desired) };
    let join = plan(desired, &observed).actions.into_iter().find(|a| matches!(a, Action::Join { .. }));
    observed = done(observed, &join.expect("they join a batch"));
    observed
}

/// Sectors of the messages that are composed now.
fn sealed(plan: &Plan) -> Vec<Vec<u64>> {
    let of = |action: &Action| {
        let Action::Seal { sectors, .. } = action else { return None };
        Some(sectors.iter().map(|number| number.as_u64()).collect())
    };
    plan.actions.iter().filter_map(of).collect()
}

/// With a ticket of that many epochs after the head, which the chain still gives.
pub(super) fn drawn_at(observed: &mut Observed, n: u64, after: i64) {
    let seen = observed.sectors.get_mut(&number(n)).unwrap();
    let ticket = seen.record.ticket.as_mut().unwrap();
    ticket.epoch = CHAIN.head.plus(after);
    seen.facts.as_mut().unwrap().ticket = Some((ticket.epoch, ticket.value));
}

const MINUTE: u64 = 60_000;

// matrix: D18
#[test]
fn a_batch_leaves_when_its_oldest_sector_has_waited_long_enough() {
    let desired = Desired { precommit: BatchRule { max: 100, wait_ms: 30 * MINUTE }, sectors: 1_000, ..devnet() };
    let mut observed = wanting(&desired, 1);
    // one arrives every minute, which does not wind the clock up again
    for minute in 1..30 {
        observed.now = NOW.plus_ms(minute * 60_000);
        let number = number(u64::try_from(minute).unwrap());
        let mut seen = precommit_sector(number.as_u64());
        seen.record.entered = observed.now;
        observed.sectors.insert(number, seen);
        let plan = plan(&desired, &observed);
        assert_eq!(sealed(&plan), Vec::<Vec<u64>>::new(), "minute {minute}");
        observed = plan.actions.iter().filter(|a| matches!(a, Action::Join { .. })).fold(observed, done);
    }
    observed.now = NOW.plus_ms(30 * 60_000);
    assert_eq!(sealed(&plan(&desired, &observed)), [(0..30).collect::<Vec<_>>()]);
}

// matrix: A2
#[test]
fn three_hundred_sectors_make_two_batches() {
    let desired = Desired { precommit: BatchRule { max: 256, wait_ms: 0 }, sectors: 300, ..devnet() };
    let mut observed =
        Observed { sectors: (0..300).map(|n| (number(n), precommit_sector(n))).collect(), ..ready(&desired) };
    let first = plan(&desired, &observed);
    observed = first.actions.iter().filter(|a| matches!(a, Action::Join { .. })).fold(observed, done);
    let sealed = sealed(&plan(&desired, &observed));
    assert_eq!(sealed.iter().map(Vec::len).collect::<Vec<_>>(), [256, 44]);
    assert_eq!(sealed.concat().into_iter().collect::<BTreeSet<_>>().len(), 300);
}

// matrix: D16
#[test]
fn what_cannot_be_paid_waits_and_the_rest_goes_on() {
    let mut desired = Desired { precommit: BatchRule { max: 10, wait_ms: 0 }, sectors: 10, ..devnet() };
    desired.precommit_fees.cap = AttoFil::from_atto(10);
    let mut observed = wanting(&desired, 10);
    // the gas, and deposit and pledge of six
    observed.funds.accounts = Some(worker_has(AttoFil::from_atto(10 + 6 * 5 + 4)));
    // the most urgent go first
    drawn_at(&mut observed, 9, -3_000);
    let plan = plan(&desired, &observed);
    assert_eq!(sealed(&plan), [vec![0, 1, 2, 3, 4, 9]]);
    let waiting: Vec<_> = plan.holds.iter().filter(|hold| hold.reason.contains("in the worker's wallet")).collect();
    assert_eq!(waiting.len(), 4, "{:#?}", plan.holds);
}

// matrix: D2
#[test]
fn a_deposit_is_not_locked_when_no_pledge_could_follow() {
    let mut desired = Desired { precommit: BatchRule { max: 10, wait_ms: 0 }, sectors: 1, ..devnet() };
    desired.precommit_fees.cap = AttoFil::from_atto(10);
    let mut observed = wanting(&desired, 1);
    observed.funds.accounts = Some(worker_has(AttoFil::from_atto(10 + 3)));
    let held = plan(&desired, &observed);
    assert!(sealed(&held).is_empty() && text(&held)[0].contains("funds: "), "{held:#?}");
    // the same sector goes as soon as there is enough
    observed.funds.accounts = Some(worker_has(AttoFil::from_atto(10 + 5)));
    assert_eq!(sealed(&plan(&desired, &observed)), [vec![0]]);
}

/// The worker and two others, who hold this much, the second without a key.
fn three(worker: i128, first: i128, second: i128) -> Accounts {
    let mut accounts = worker_has(AttoFil::from_atto(worker));
    for (id, in_wallet, holds) in [("t01003", true, first), ("t01004", false, second)] {
        let balance = AttoFil::from_atto(holds);
        let account = Account { id: id.to_owned(), key: format!("t3{id}"), in_wallet, balance };
        accounts.named.insert(id.to_owned(), Some(account));
        accounts.allowed.insert(id.to_owned());
    }
    accounts
}

fn from(plan: &Plan) -> Vec<String> {
    let of = |action: &Action| if let Action::Seal { from, .. } = action { Some(from.clone()) } else { None };
    plan.actions.iter().filter_map(of).collect()
}

#[test]
fn the_first_sender_with_key_and_funds_sends_and_the_worker_when_no_other_can() {
    let mut desired = Desired { precommit: BatchRule { max: 10, wait_ms: 0 }, sectors: 2, ..devnet() };
    desired.precommit_fees.cap = AttoFil::from_atto(10);
    desired.senders.precommit = vec!["t01004".to_owned(), "t01003".to_owned()];
    let mut observed = wanting(&desired, 2);
    let mut with = |worker, first, second| {
        observed.funds.accounts = Some(three(worker, first, second));
        plan(&desired, &observed)
    };
    // each sector: a deposit of 3 by its sender, and 2 later by the worker, who sends the proofs
    let plan = with(4, 16, 1_000);
    assert_eq!(
        (from(&plan), sealed(&plan)),
        (vec!["t01003".to_owned()], vec![vec![0, 1]]),
        "the key of the first is not there"
    );
    let plan = with(20, 15, 0);
    assert_eq!(
        (from(&plan), sealed(&plan)),
        (vec!["t01002".to_owned()], vec![vec![0, 1]]),
        "the worker can pay for all"
    );
    let plan = with(2, 16, 0);
    assert_eq!(
        (from(&plan), sealed(&plan)),
        (vec!["t01003".to_owned()], vec![vec![0]]),
        "no pledge could follow for the other"
    );
    assert!(text(&plan).iter().any(|line| line.contains("2 attoFIL more in the worker's wallet")), "{:?}", text(&plan));
}

#[test]
fn without_a_key_nothing_is_sent_and_the_key_is_named() {
    let mut desired = Desired { precommit: BatchRule { max: 10, wait_ms: 0 }, sectors: 1, ..devnet() };
    desired.senders = Senders { precommit: vec!["t01004".to_owned()], ..Senders::default() };
    let mut observed = wanting(&desired, 1);
    let mut accounts = three(1_000, 0, 1_000);
    accounts.worker.in_wallet = false;
    observed.funds.accounts = Some(accounts);
    let held = plan(&desired, &observed);
    assert!(sealed(&held).is_empty(), "{held:#?}");
    let told = text(&held).join("\n");
    assert!(told.contains("key t3t01002 of t01002 is not in the node's wallet: `lotus wallet import`"), "{told}");
    assert!(told.contains("sector 0 waits for a key of the miner in the node's wallet"), "{told}");
    // one that was sealed before is not pushed
    let batch = observed.batches.values_mut().next().unwrap();
    let message = crate::outbox::Message {
        from: "t01002".to_owned(),
        to: "t01000".to_owned(),
        value: AttoFil::ZERO,
        method: 28,
        params: Vec::new(),
    };
    (batch.batch.state, batch.batch.message) = (BatchState::Sealed, Some(message));
    assert!(!plan(&desired, &observed).actions.iter().any(|action| matches!(action, Action::Push { .. })));
    observed.funds.accounts = Some(worker_has(AttoFil::from_atto(1_000)));
    assert!(plan(&desired, &observed).actions.iter().any(|action| matches!(action, Action::Push { .. })));
}

// matrix: E7
#[test]
fn a_near_deadline_fills_no_batch() {
    let mut desired = Desired { precommit: BatchRule { max: 10, wait_ms: 60 * MINUTE }, sectors: 10, ..devnet() };
    (desired.precommit_fees.margin, desired.commit_fees.margin) = (100, 100);
    let mut observed = wanting(&desired, 2);
    assert_eq!(sealed(&plan(&desired, &observed)), Vec::<Vec<u64>>::new());
    drawn_at(&mut observed, 1, 99 - 3_780);
    assert_eq!(sealed(&plan(&desired, &observed)), [vec![0, 1]]);
}

#[test]
fn nobody_waits_for_company_that_cannot_come() {
    let desired = Desired { precommit: BatchRule { max: 10, wait_ms: 60 * MINUTE }, sectors: 2, ..devnet() };
    assert_eq!(sealed(&plan(&desired, &wanting(&desired, 2))), [vec![0, 1]]);
}

/// Sectors 0 to `count` whose proofs are ready, in one open batch, with a deadline far away.
fn proving(desired: &Desired, count: u64) -> Observed {
    let mut observed = wanting(desired, count);
    for (n, seen) in observed.sectors.iter_mut() {
        let record = &mut seen.record;
        (record.state, record.porep) = (State::Committing, Some("aa".to_owned()));
        let seed = Seed { epoch: CHAIN.head.plus(-10), value: Hash32([1; 32]) };
        let landed = Landed { epoch: CHAIN.head.plus(-160), deposit: AttoFil::from_atto(3) };
        record.seed = Some(seed.clone());
        record.precommit = Some(PreCommit { message: None, landed: Some(landed.clone()) });
        let there = OnChainPreCommit {
            epoch: landed.epoch,
            ticket_epoch: record.ticket.as_ref().unwrap().epoch,
            comm_r: record.sealed.as_ref().unwrap().comm_r,
            deposit: landed.deposit,
        };
        let facts = Facts { precommit: Some(there), allocated: true, seed: Some(seed), ..Facts::default() };
        assert!(*n == seen.record.number);
        seen.facts = Some(facts);
    }
    observed.batches.clear();
    let join = plan(desired, &observed).actions.into_iter().find(|a| matches!(a, Action::Join { .. }));
    done(observed, &join.expect("they join a batch"))
}

fn commits(count: u64) -> (Desired, Observed) {
    let rule = BatchRule { max: 20, wait_ms: 0 };
    let mut desired = Desired { precommit: rule, commit: rule, sectors: count, ..devnet() };
    desired.commit_fees.cap = AttoFil::from_atto(10);
    desired.precommit_fees.cap = AttoFil::from_atto(10);
    (desired.commit_fees.margin, desired.precommit_fees.margin) = (100, 100);
    let observed = proving(&desired, count);
    (desired, observed)
}

fn aggregated(plan: &Plan) -> Vec<usize> {
    let of = |action: &Action| if let Action::Aggregate { sectors, .. } = action { Some(sectors.len()) } else { None };
    plan.actions.iter().filter_map(of).collect()
}

// matrix: D16
#[test]
fn an_aggregate_of_those_that_are_paid_for_is_made_once_and_sent() {
    let (mut desired, mut observed) = commits(10);
    desired.aggregate_from = Some(5);
    // each lacks 2 of its pledge
    observed.funds.accounts = Some(worker_has(AttoFil::from_atto(10 + 6 * 2 + 1)));
    assert_eq!(aggregated(&plan(&desired, &observed)), [6]);
    let batch = observed.batches.values_mut().next().unwrap();
    batch.aggregate = Some((0..6).map(number).collect());
    let sends = plan(&desired, &observed);
    assert_eq!((aggregated(&sends), sealed(&sends)), (vec![], vec![(0..6).collect::<Vec<_>>()]));
}

// matrix: E7
#[test]
fn near_a_deadline_nobody_waits_for_an_aggregate() {
    let (mut desired, mut observed) = commits(6);
    desired.aggregate_from = Some(5);
    assert_eq!(aggregated(&plan(&desired, &observed)), [6]);
    let by = CHAIN.challenge_delay + crate::sector::PROVE_COMMIT_WINDOW;
    let record = &mut observed.sectors.get_mut(&number(3)).unwrap().record;
    let epoch = CHAIN.head.plus(50 - by);
    record.precommit.as_mut().unwrap().landed.as_mut().unwrap().epoch = epoch;
    let facts = observed.sectors.get_mut(&number(3)).unwrap().facts.as_mut().unwrap();
    facts.precommit.as_mut().unwrap().epoch = epoch;
    let sends = plan(&desired, &observed);
    assert_eq!((aggregated(&sends), sealed(&sends).len()), (vec![], 1));
}

// matrix: D16
#[test]
fn a_new_deposit_never_takes_what_a_proof_waits_for() {
    let (desired, mut observed) = commits(1);
    let new = precommit_sector(9);
    observed.sectors.insert(number(9), new);
    let join = plan(&desired, &observed).actions.into_iter().find(|a| matches!(a, Action::Join { .. })).unwrap();
    observed = done(observed, &join);
    // the proof lacks 2 and its gas 10: one too few; the deposit and its pledge would be 5 and 10
    for (balance, sent) in [(11, vec![]), (12, vec![vec![0]]), (26, vec![vec![0]]), (27, vec![vec![0], vec![9]])] {
        observed.funds.accounts = Some(worker_has(AttoFil::from_atto(balance)));
        assert_eq!(sealed(&plan(&desired, &observed)), sent, "balance {balance}");
    }
    // the same while the proof's message waits for company
    let mut patient = desired.clone();
    patient.commit = BatchRule { max: 20, wait_ms: u64::MAX };
    patient.sectors = 20;
    observed.funds.accounts = Some(worker_has(AttoFil::from_atto(16)));
    assert_eq!(sealed(&plan(&patient, &observed)), Vec::<Vec<u64>>::new());
    observed.funds.accounts = Some(worker_has(AttoFil::from_atto(17)));
    assert_eq!(sealed(&plan(&patient, &observed)), [[9]]);
}

#[test]
fn nothing_is_handed_over_by_a_head_that_is_too_old() {
    let (desired, mut observed) = commits(2);
    let batch = observed.batches.values_mut().next().unwrap();
    batch.batch.state = BatchState::Sealed;
    let pushes = |observed: &Observed| {
        plan(&desired, observed).actions.iter().any(|action| matches!(action, Action::Push { .. }))
    };
    assert!(pushes(&observed));
    observed.chain = Some(crate::sector::ChainNow { stale: true, ..CHAIN });
    assert!(!pushes(&observed));
}
