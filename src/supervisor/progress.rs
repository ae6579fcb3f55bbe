//! Whether a job that beats its heart gets anywhere: pure.
//!
//! Neither sign is enough by itself. A long step says nothing for an hour while all processors work; a copy to a slow
//! disk works little while its share grows.

use std::time::{Duration, Instant};

/// What can be seen of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sign {
    /// What it says it is doing.
    pub step: String,
    /// How far it says it is, in thousandths.
    pub permille: u16,
    /// What its process used of the processors, in clock ticks.
    pub cpu_ticks: u64,
}

/// A job that is watched.
#[derive(Debug)]
pub struct Watch {
    patience: Duration,
    latest: Sign,
    since: Instant,
}

/// Multiple of the usual time of a stage after which nothing is awaited any more of one that shows nothing.
const USUAL: u32 = 3;

/// Clock ticks of a second, which Linux fixes for what it shows to programs.
const TICKS: u64 = 100;

impl Watch {
    /// A job that begins now; `least` is waited in any case, and three times the usual.
    pub fn new(least: Duration, usual: Duration, now: Instant) -> Self {
        Self { patience: usual.saturating_mul(USUAL).max(least), latest: Sign::default(), since: now }
    }

    /// Takes in what is seen; when it is stuck, for how long. The heartbeat itself takes some processor time: less than
    /// a hundredth of one processor counts as nothing.
    pub fn see(&mut self, sign: Sign, now: Instant) -> Option<Duration> {
        let still = now.saturating_duration_since(self.since);
        let worked = sign.cpu_ticks.saturating_sub(self.latest.cpu_ticks);
        let nothing = still.as_secs().saturating_mul(TICKS / 100);
        let told = (&sign.step, sign.permille) != (&self.latest.step, self.latest.permille);
        if told || worked > nothing {
            (self.latest, self.since) = (sign, now);
            return None;
        }
        (still >= self.patience).then_some(still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MINUTE: Duration = Duration::from_secs(60);

    fn sign(permille: u16, cpu_ticks: u64) -> Sign {
        Sign { step: "SNARK".to_owned(), permille, cpu_ticks }
    }

    #[test]
    fn only_who_neither_tells_nor_works_is_stuck() {
        let start = clock::monotonic();
        let at = |minutes: u32| start.checked_add(MINUTE.saturating_mul(minutes)).unwrap();
        let watch = || {
            let mut watch = Watch::new(MINUTE.saturating_mul(10), MINUTE, start);
            assert_eq!(watch.see(sign(1, 500), start), None);
            watch
        };
        let mut silent = watch();
        // a heartbeat: a tick a minute
        assert_eq!((1..10).filter_map(|minute| silent.see(sign(1, 500 + u64::from(minute)), at(minute))).count(), 0);
        assert_eq!(silent.see(sign(1, 510), at(10)), Some(MINUTE.saturating_mul(10)));

        let (mut telling, mut working) = (watch(), watch());
        for minute in 1..100 {
            assert_eq!(telling.see(sign(u16::try_from(minute).unwrap(), 500), at(minute)), None);
            assert_eq!(working.see(sign(1, 500 + u64::from(minute) * 61), at(minute)), None);
        }
    }

    #[test]
    fn a_stage_that_usually_takes_long_is_waited_for_longer() {
        let start = clock::monotonic();
        let at = |minutes: u32| start.checked_add(MINUTE.saturating_mul(minutes)).unwrap();
        let mut watch = Watch::new(MINUTE.saturating_mul(10), MINUTE.saturating_mul(60), start);
        assert_eq!(watch.see(sign(1, 0), start), None);
        assert_eq!(watch.see(sign(1, 0), at(179)), None);
        assert_eq!(watch.see(sign(1, 0), at(180)), Some(MINUTE.saturating_mul(180)));
    }
}
