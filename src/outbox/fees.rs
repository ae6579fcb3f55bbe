//! What a message may cost: more, the nearer the deadline of a sector in it. And when a message that was sent is made
//! to pay more.

use super::{Gas, Sent};
use crate::units::{AttoFil, Epoch};

/// The operator's rules for one kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeRule {
    /// The most its gas may cost while no deadline is near.
    pub cap: AttoFil,
    /// How many times that at a deadline.
    pub urgent_factor: u32,
    /// A deadline is near within this many epochs.
    pub margin: i64,
    /// A message that was not included for this many epochs is made to pay more, if it pays less than the base fee.
    pub replace_after: i64,
}

/// A message in the pool is replaced only by one with at least this much of its premium, per cent.
/// Source: Lotus `ReplaceByFeePercentageMinimum`.
const REPLACE_PERCENT: i128 = 125;

/// The most the gas of a message may cost: the cap, growing evenly from the margin on to the urgent factor of it.
/// `slack` is epochs to the nearest deadline of its sectors; `None` when they have none.
pub fn cap(rule: &FeeRule, slack: Option<i64>) -> AttoFil {
    let Some(slack) = slack.filter(|slack| *slack < rule.margin) else { return rule.cap };
    let (margin, near) = (i128::from(rule.margin.max(1)), i128::from(rule.margin.saturating_sub(slack.max(0))));
    let more = i128::from(rule.urgent_factor.max(1)).saturating_sub(1);
    let extra = rule.cap.as_atto().saturating_mul(more).saturating_mul(near).checked_div(margin).unwrap_or(0);
    AttoFil::from_atto(rule.cap.as_atto().saturating_add(extra))
}

/// What a replacement is to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reprice {
    /// Its gas.
    pub gas: Gas,
}

/// Whether a message that waits in the pool shall be replaced by a dearer one with the same nonce, and what that pays.
/// `None` while it is fine, while it is too early, or when the cap does not allow it.
pub fn reprice(rule: &FeeRule, sent: &Sent, base_fee: AttoFil, head: Epoch, slack: Option<i64>) -> Option<Reprice> {
    let age = head.since(sent.at);
    let urgent = slack.is_some_and(|slack| slack < rule.margin);
    let patience = if urgent { rule.replace_after.min(5) } else { rule.replace_after };
    if age < patience.max(1) || sent.gas.limit <= 0 {
        return None;
    }
    // one that pays the base fee is included in its time
    if sent.gas.fee_cap > base_fee && !urgent {
        return None;
    }
    let limit = i128::from(sent.gas.limit);
    let least = |old: AttoFil| {
        let raised = old.as_atto().saturating_mul(REPLACE_PERCENT).checked_div(100).unwrap_or(0);
        raised.saturating_add(1)
    };
    let premium = least(sent.gas.premium);
    let wanted = base_fee.as_atto().saturating_mul(2).saturating_add(premium).max(least(sent.gas.fee_cap));
    let allowed = cap(rule, slack).as_atto().checked_div(limit).unwrap_or(0);
    let fee_cap = wanted.min(allowed);
    if fee_cap < premium || fee_cap <= sent.gas.fee_cap.as_atto() || fee_cap <= base_fee.as_atto() {
        return None;
    }
    let gas = Gas { limit: sent.gas.limit, fee_cap: AttoFil::from_atto(fee_cap), premium: AttoFil::from_atto(premium) };
    Some(Reprice { gas })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: FeeRule =
        FeeRule { cap: AttoFil::from_atto(1_000_000), urgent_factor: 10, margin: 100, replace_after: 20 };

    fn sent(fee_cap: i128, premium: i128) -> Sent {
        let gas = Gas { limit: 100, fee_cap: AttoFil::from_atto(fee_cap), premium: AttoFil::from_atto(premium) };
        Sent { cid: "bafy".to_owned(), nonce: 1, gas, signed: None, replaced: Vec::new(), at: Epoch::new(1_000) }
    }

    fn fee(atto: i128) -> AttoFil {
        AttoFil::from_atto(atto)
    }

    #[test]
    fn the_cap_grows_towards_the_deadline_and_not_before() {
        assert_eq!(cap(&RULE, None), RULE.cap);
        assert_eq!(cap(&RULE, Some(100)), RULE.cap);
        assert_eq!(cap(&RULE, Some(50)), fee(5_500_000));
        assert_eq!(cap(&RULE, Some(0)), fee(10_000_000));
        assert_eq!(cap(&RULE, Some(-5)), fee(10_000_000));
    }

    // matrix: D7
    #[test]
    fn a_base_fee_above_the_cap_is_followed_as_the_deadline_comes_nearer() {
        let old = sent(8_000, 10);
        let at = |slack| reprice(&RULE, &old, fee(20_000), Epoch::new(1_030), Some(slack)).map(|r| r.gas.fee_cap);
        assert_eq!(at(500), None, "the cap does not pay for it while there is time");
        assert_eq!(at(95), None);
        let urgent: Vec<_> = (0..90).rev().filter_map(at).collect();
        assert!(urgent.windows(2).all(|pair| pair[0] <= pair[1]), "{urgent:?}");
        assert_eq!(urgent.last(), Some(&fee(40_013)), "twice the base fee and the premium");
    }

    #[test]
    fn a_message_that_pays_enough_is_left_alone() {
        assert_eq!(reprice(&RULE, &sent(8_000, 10), fee(7_000), Epoch::new(2_000), None), None);
        assert_eq!(reprice(&RULE, &sent(5_000, 10), fee(7_000), Epoch::new(1_019), None), None, "too early");
        assert!(reprice(&RULE, &sent(5_000, 10), fee(7_000), Epoch::new(1_020), None).is_some());
    }

    proptest! {
        #[test]
        fn a_replacement_is_one_that_a_pool_takes(
            fee_cap in 0..20_000i128, premium in 0..20_000i128, base in 0..30_000i128, age in 0..100i64,
            slack in proptest::option::of(-10..200i64),
        ) {
            let old = sent(fee_cap, premium);
            if let Some(Reprice { gas }) = reprice(&RULE, &old, fee(base), Epoch::new(1_000 + age), slack) {
                prop_assert!(gas.premium.as_atto() > premium * 125 / 100);
                prop_assert!(gas.fee_cap >= gas.premium && gas.fee_cap > old.gas.fee_cap);
                prop_assert!(gas.max_cost().unwrap() <= cap(&RULE, slack));
            }
        }
    }
}
