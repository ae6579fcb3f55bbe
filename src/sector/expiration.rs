//! Until when a sector is promised to the network, as its pre-commit says.
//!
//! Only the rule of expirations: what the chain finally set is in the record's activation, and extensions are not
//! made here.

use crate::units::Epoch;

/// Longest time from pre-commit to prove-commit on top of the challenge delay: 30 days, on every network.
pub const PROVE_COMMIT_WINDOW: i64 = 86_400;

/// Shortest life of a sector once it is proven: 180 days.
const SHORTEST_LIFE: i64 = 518_400;

/// Longest time from now to an expiration: 1278 days.
const LONGEST_AHEAD: i64 = 3_680_640;

/// How long the message may take to be included: a day.
const INCLUSION_MARGIN: i64 = 2_880;

/// The expiration to pre-commit with at `head`, for a sector that shall live `lifetime_epochs`.
///
/// The actor takes what is at least `challenge_delay` + 30 days + 180 days and at most 1278 days after the epoch the
/// message executes at. A lifetime outside of that is moved to the nearer end, one day inside, so that the answer
/// holds for a message that executes up to a day later, or that much earlier on another fork.
pub fn expiration(head: Epoch, lifetime_epochs: i64, challenge_delay: i64) -> Epoch {
    let earliest = head.plus(PROVE_COMMIT_WINDOW).plus(challenge_delay).plus(SHORTEST_LIFE).plus(INCLUSION_MARGIN);
    let latest = head.plus(LONGEST_AHEAD - INCLUSION_MARGIN);
    head.plus(lifetime_epochs).max(earliest).min(latest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // matrix: D15
    #[test]
    fn a_lifetime_is_kept_inside_the_networks_bounds() {
        let after = |lifetime| expiration(Epoch::new(1_000), lifetime, 150).since(Epoch::new(1_000));
        assert_eq!(after(540 * 2_880), 540 * 2_880);
        assert_eq!(after(180 * 2_880), 607_830, "211 days and the challenge delay at least");
        assert_eq!(after(1_278 * 2_880), 1_277 * 2_880);
        assert_eq!(after(i64::MAX), 1_277 * 2_880);
    }

    proptest! {
        // matrix: D15
        #[test]
        fn the_actor_takes_it_for_a_day(head in 0..10_000_000i64, lifetime: i64, delay in 0..1_000i64, late in 0..=2_880i64) {
            let expires = expiration(Epoch::new(head), lifetime, delay);
            let executes = Epoch::new(head + late);
            prop_assert!(expires >= executes.plus(86_400 + delay).plus(518_400));
            prop_assert!(expires <= executes.plus(3_680_640));
        }
    }
}
