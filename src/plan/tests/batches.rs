//! Who shares a message, when it leaves, and what the wallet allows.

use super::{
    super::*,
    devnet, ready, text,
    world::{done, number, precommit_sector},
};
use crate::{
    sector::tests::{CHAIN, NOW},
    units::AttoFil,
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
    observed.funds.balance = Some(AttoFil::from_atto(10 + 6 * 5 + 4));
    // the most urgent go first
    observed.sectors.get_mut(&number(9)).unwrap().record.ticket.as_mut().unwrap().epoch = CHAIN.head.plus(-3000);
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
    observed.funds.balance = Some(AttoFil::from_atto(10 + 3));
    let held = plan(&desired, &observed);
    assert!(sealed(&held).is_empty() && text(&held)[0].contains("funds: "), "{held:#?}");
    // the same sector goes as soon as there is enough
    observed.funds.balance = Some(AttoFil::from_atto(10 + 5));
    assert_eq!(sealed(&plan(&desired, &observed)), [vec![0]]);
}

// matrix: E7
#[test]
fn a_near_deadline_fills_no_batch() {
    let mut desired = Desired { precommit: BatchRule { max: 10, wait_ms: 60 * MINUTE }, sectors: 10, ..devnet() };
    (desired.precommit_fees.margin, desired.commit_fees.margin) = (100, 100);
    let mut observed = wanting(&desired, 2);
    assert_eq!(sealed(&plan(&desired, &observed)), Vec::<Vec<u64>>::new());
    observed.sectors.get_mut(&number(1)).unwrap().record.ticket.as_mut().unwrap().epoch = CHAIN.head.plus(99 - 3780);
    assert_eq!(sealed(&plan(&desired, &observed)), [vec![0, 1]]);
}

#[test]
fn nobody_waits_for_company_that_cannot_come() {
    let desired = Desired { precommit: BatchRule { max: 10, wait_ms: 60 * MINUTE }, sectors: 2, ..devnet() };
    assert_eq!(sealed(&plan(&desired, &wanting(&desired, 2))), [vec![0, 1]]);
}
