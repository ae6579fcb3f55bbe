//! How failures are waited out: per kind, how often a thing is tried and how long the pauses get.
//!
//! One place for all of them. Nothing here removes a sector: one whose budget is spent is parked for an operator.

use super::{
    next::{Wait, WakeUp},
    record::{Class, Record},
};
use crate::units::UnixMillis;

/// The rules of waiting and retrying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Epochs on top of a message before it counts.
    pub message_confidence: i64,
    /// Epochs after the seed epoch before the seed counts.
    pub seed_confidence: i64,
    /// A pre-commit must execute within this many epochs of the ticket (3780 on every network).
    pub ticket_max_age: i64,
    /// A new ticket is already this many epochs old (900 on every network).
    pub ticket_lookback: i64,
    /// A deadline that is nearer than this many epochs is urgent.
    pub margin: i64,
    /// Epochs from the start of PreCommit1 until a pre-commit executes; `None` while a stage was never measured.
    pub to_precommit: Option<i64>,
    /// A sector is parked, with an alarm, after this many failed attempts at one thing; see [`budget`].
    pub attempts: u32,
}

/// Attempts at one thing before a sector is parked because of this kind of failure; `None`: as many as it takes.
///
/// Space and memory come back when they come back. The chain gets twice the time, as a wallet without funds and a
/// full pool mend slowly. What only an operator can change is not tried twice.
pub const fn budget(class: Class, policy: &Policy) -> Option<u32> {
    match class {
        Class::Resource => None,
        Class::Environment | Class::Worker | Class::Data => Some(policy.attempts),
        Class::Chain => Some(policy.attempts.saturating_mul(2)),
        Class::Operator => Some(1),
    }
}

/// The first pause after this kind of failure and the longest, milliseconds. Each pause is twice the one before.
const fn pauses(class: Class) -> (i64, i64) {
    match class {
        Class::Resource => (5_000, 5_000),
        Class::Environment => (10_000, 10 * 60_000),
        Class::Worker | Class::Data => (1_000, 60_000),
        Class::Chain | Class::Operator => (2_000, 30 * 60_000),
    }
}

/// When the next attempt is due after a failure of this kind at `now`, on top of the failures `record` counts.
///
/// Up to a quarter is added to each pause, fixed by the sector's number and the attempt, so that sectors that failed
/// together do not come back together.
pub fn retry_at(record: &Record, class: Class, now: UnixMillis) -> UnixMillis {
    let (first, longest) = pauses(class);
    let pause = first.saturating_mul(2_i64.saturating_pow(record.attempts)).min(longest);
    let spread = scatter(record.number.as_u64() ^ (u64::from(record.attempts) << 48));
    let jitter = pause.saturating_mul(i64::from(spread)).checked_div(4 * 255).unwrap_or(0);
    now.plus_ms(pause.saturating_add(jitter))
}

/// A byte that looks random and is not (the mix of splitmix64).
const fn scatter(n: u64) -> u8 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n.to_be_bytes()[0]
}

/// Why the sector waits for an operator: its budget of attempts is spent. `None` while it is not.
pub fn parked(record: &Record, policy: &Policy) -> Option<Wait> {
    let budget = match &record.failure {
        Some(failure) => budget(failure.class, policy),
        None => Some(policy.attempts),
    };
    let spent = budget.is_some_and(|budget| record.attempts >= budget) && !record.is_at_rest();
    spent.then(|| {
        let what = record.failure.as_ref().map_or("the last attempt", |failure| failure.doing.as_str());
        let times = if record.attempts == 1 { "once".to_owned() } else { format!("{} times", record.attempts) };
        Wait { reason: format!("an operator: {what} failed {times}"), until: WakeUp::Operator }
    })
}

/// The pause after a failure that is not over yet.
pub(super) fn cooling(record: &Record, now: UnixMillis) -> Option<Wait> {
    let at = record.retry_at.filter(|at| *at > now)?;
    let what = record.failure.as_ref().map_or("the last attempt", |f| f.doing.as_str());
    Some(Wait { reason: format!("the next attempt after {what} failed"), until: WakeUp::Time(at) })
}
