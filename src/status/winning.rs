//! How many blocks a miner may expect to win, and what they bring. Pure, by the network's own lottery: of each epoch's
//! five expected winners, as many as its share of the quality-adjusted power. Knows no growth of network or miner.

use super::info::Share;
use crate::units::AttoFil;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Winners that the network expects in an epoch.
const WINNERS: f64 = 5.0;

const DAY: Duration = Duration::from_secs(86_400);

/// Bits that a power keeps when it is multiplied with a reward, of which there are fewer than 2^71 attoFIL an epoch.
const POWER_BITS: u32 = 55;

/// What the lottery gives in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Winning {
    /// Epochs with a block of the miner, in a day.
    pub blocks_per_day: f64,
    /// The same in a week.
    pub blocks_per_week: f64,
    /// Seconds from one of them to the next.
    pub every_secs: u64,
    /// Seconds within which the next comes in 999 of 1000 cases.
    pub within_secs: u64,
    /// What they bring in a day, when the node says what an epoch brings.
    pub reward_per_day: Option<AttoFil>,
}

impl Winning {
    /// What a miner with this share of the power wins; `None` when it has none, and before the network has any. `reward`
    /// is what an epoch brings to all its winners together.
    pub fn expected(power: Share, epoch: Duration, reward: Option<AttoFil>) -> Option<Self> {
        let Share { miner, network } = power;
        if miner == 0 || network == 0 || epoch.is_zero() {
            return None;
        }
        // a node whose totals are behind may show more of the miner than of the network
        let mean = WINNERS * ratio(miner.min(network), network);
        let wins = -(-mean).exp_m1();
        let epochs_per_day = DAY.as_secs_f64() / epoch.as_secs_f64();
        // what is left of (1 - wins) to the power of so many epochs is a thousandth
        let (every, within) = (1.0 / wins, 1000_f64.ln() / mean);
        Some(Self {
            blocks_per_day: nanos(wins * epochs_per_day),
            blocks_per_week: nanos(wins * epochs_per_day * 7.0),
            every_secs: seconds(every * epoch.as_secs_f64()),
            within_secs: seconds(within * epoch.as_secs_f64()),
            reward_per_day: reward.and_then(|reward| part(reward, miner.min(network), network, epoch)),
        })
    }
}

/// Loses bits that no reader would see.
fn ratio(part: u128, whole: u128) -> f64 {
    part as f64 / whole as f64
}

/// To nine decimals: what is behind them differs from one processor's library to the next, and does not survive JSON.
fn nanos(n: f64) -> f64 {
    (n * 1e9).round() / 1e9
}

/// For ever, where it is longer than can be counted.
fn seconds(secs: f64) -> u64 {
    Duration::try_from_secs_f64(secs).map_or(u64::MAX, |time| time.as_secs())
}

/// The part of a day's rewards; `None` past the range.
fn part(reward: AttoFil, miner: u128, network: u128, epoch: Duration) -> Option<AttoFil> {
    let bits = u128::BITS.saturating_sub(network.leading_zeros());
    let unseen = bits.saturating_sub(POWER_BITS);
    let (miner, network) = (i128::try_from(miner >> unseen).ok()?, i128::try_from(network >> unseen).ok()?);
    let an_epoch = reward.as_atto().checked_mul(miner)?.checked_div(network)?;
    let day = an_epoch.checked_mul(i128::try_from(DAY.as_millis()).ok()?)?;
    day.checked_div(i128::try_from(epoch.as_millis()).ok()?).map(AttoFil::from_atto)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Duration = Duration::from_secs(30);
    const FIL: i128 = 1_000_000_000_000_000_000;

    fn share(miner: u128, network: u128) -> Share {
        Share { miner, network }
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < expected.abs() * 1e-9
    }

    #[test]
    fn nobody_wins_without_power() {
        for (miner, network) in [(0, 0), (0, 1 << 60), (1 << 35, 0)] {
            assert_eq!(Winning::expected(share(miner, network), EPOCH, None), None, "{miner} of {network}");
        }
        assert_eq!(Winning::expected(share(1, 1), Duration::ZERO, None), None);
    }

    /// Five thousandths of the power: a mean of 0.025 blocks an epoch, so 1 - e^-0.025 = 0.024690087971667385.
    #[test]
    fn the_rate_is_that_of_the_lottery() {
        let won = Winning::expected(share(5, 1000), EPOCH, Some(AttoFil::from_atto(100 * FIL))).unwrap();
        assert!(near(won.blocks_per_day, 71.107_453_358), "{won:?}");
        assert!(near(won.blocks_per_week, 497.752_173_509), "{won:?}");
        // 30 s / 0.0246900879 = 1215.06 s, and ln(1000) / 0.025 = 276.3 epochs
        assert_eq!((won.every_secs, won.within_secs), (1215, 8289));
        // half a FIL an epoch, 2880 times a day
        assert_eq!(won.reward_per_day, Some(AttoFil::from_atto(1440 * FIL)));
    }

    #[test]
    fn who_has_all_the_power_wins_nearly_every_epoch() {
        let won = Winning::expected(share(2048, 2048), Duration::from_secs(4), Some(AttoFil::ZERO)).unwrap();
        // 21600 epochs a day, of which e^-5 have no winner at all
        assert!(near(won.blocks_per_day, 21_454.460_344_82), "{won:?}");
        assert_eq!((won.every_secs, won.within_secs), (4, 5));
        assert_eq!(won.reward_per_day, Some(AttoFil::ZERO));
        let more = Winning::expected(share(4096, 2048), Duration::from_secs(4), Some(AttoFil::ZERO)).unwrap();
        assert_eq!(more, won, "more than all of it is all of it");
    }

    #[test]
    fn one_sector_of_a_large_network_is_a_small_number_and_not_none() {
        let one = share(32 << 30, 25 << 60);
        let won = Winning::expected(one, EPOCH, Some(AttoFil::from_atto(80 * FIL))).unwrap();
        assert!(won.blocks_per_day > 0.0 && won.blocks_per_day < 0.001, "{won:?}");
        // 2^35 of 25 * 2^60, of 80 FIL, 2880 times
        let exact = 80 * FIL * 2880 / (25 << 25);
        let found = won.reward_per_day.unwrap().as_atto();
        assert!((found - exact).abs() < exact / 1_000_000, "{found} {exact}");
        let least = Winning::expected(share(1, u128::MAX), EPOCH, Some(AttoFil::from_atto(80 * FIL))).unwrap();
        assert_eq!(least.within_secs, u64::MAX, "longer than can be counted");
        assert!(least.blocks_per_day.is_finite(), "{least:?}");
    }
}
