//! How many calls an endpoint gets: so many a second, and as many at once as it did not get in the second before.

use crate::clock;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between two calls: 200 a second. A head with 50 sectors in flight is read in one, and a node serves others too.
const INTERVAL: Duration = Duration::from_millis(5);

/// What was not used within this time is lost.
const SAVED: Duration = Duration::from_secs(1);

/// The turns of an endpoint.
pub(super) struct Rate {
    next: Mutex<Instant>,
}

impl Rate {
    pub(super) fn new() -> Self {
        let now = clock::monotonic();
        Self { next: Mutex::new(now.checked_sub(SAVED).unwrap_or(now)) }
    }

    /// Waits for the turn of one call.
    pub(super) async fn turn(&self) {
        let now = clock::monotonic();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = turn(*next, now);
            *next = turn.checked_add(INTERVAL).unwrap_or(turn);
            turn
        };
        if turn > now {
            tokio::time::sleep_until(turn.into()).await;
        }
    }
}

/// When a call may be made that comes `now`.
fn turn(next: Instant, now: Instant) -> Instant {
    now.checked_sub(SAVED).map_or(next, |oldest| next.max(oldest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_calls_comes_at_once_and_the_rest_in_its_turn() {
        let now = clock::monotonic() + Duration::from_secs(100);
        // after a long rest
        let mut next = now.checked_sub(Duration::from_secs(60)).unwrap();
        let mut waits = Vec::new();
        for _ in 0..400 {
            let turn = turn(next, now);
            waits.push(turn.saturating_duration_since(now));
            next = turn + INTERVAL;
        }
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 201);
        assert_eq!(waits.last().copied().unwrap(), INTERVAL * 199);
    }
}
