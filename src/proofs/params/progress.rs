//! How far a long run has come, and when it will probably end. Says it at a bearable rate; shows nothing itself.

use crate::clock;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub step: String,
    /// How much of everything is done, in thousandths; never falls.
    pub permille: u16,
    /// How long the rest will take at the speed so far; `None` before that can be said.
    pub eta: Option<Duration>,
}

/// Who is told.
pub type Report<'a> = &'a (dyn Fn(Progress) + Sync);

/// The time between two reports of the same step.
const EVERY: Duration = Duration::from_millis(250);
/// The least time that says something about speed.
const SPEED_KNOWN_AFTER: Duration = Duration::from_secs(2);

/// Adds up work and reports it.
pub struct Meter<'a> {
    report: Report<'a>,
    cancel: &'a AtomicBool,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    total: u64,
    done: u64,
    shown: Option<(String, Instant)>,
    permille: u16,
}

impl<'a> Meter<'a> {
    /// Nothing done of nothing.
    pub fn new(report: Report<'a>, cancel: &'a AtomicBool) -> Self {
        Self { report, cancel, started: clock::monotonic(), state: Mutex::default() }
    }

    /// Whether it was asked to stop.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// There is so much more to do.
    pub fn expect(&self, units: u64) {
        let mut state = self.lock();
        state.total = state.total.saturating_add(units);
    }

    /// Of what was expected, so much is not to be done after all.
    #[cfg(feature = "proofs")]
    pub fn forgo(&self, units: u64) {
        let mut state = self.lock();
        state.total = state.total.saturating_sub(units);
    }

    /// So much more is done, within `step`. `false` when asked to stop.
    pub fn advance(&self, step: &str, units: u64) -> bool {
        let due = {
            let mut state = self.lock();
            state.done = state.done.saturating_add(units);
            let now = clock::monotonic();
            let shown = state.shown.as_ref();
            let due = shown.is_none_or(|(last, at)| last != step || now.duration_since(*at) >= EVERY);
            due.then(|| {
                state.shown = Some((step.to_owned(), now));
                self.progress(&mut state, step, now)
            })
        };
        if let Some(progress) = due {
            (self.report)(progress);
        }
        !self.cancelled()
    }

    fn progress(&self, state: &mut State, step: &str, now: Instant) -> Progress {
        let permille = state.done.saturating_mul(1000).checked_div(state.total).unwrap_or(0).min(1000);
        state.permille = u16::try_from(permille).unwrap_or(1000).max(state.permille);
        let elapsed = now.duration_since(self.started);
        let eta = || {
            let rest = u128::from(state.total.saturating_sub(state.done));
            let millis = elapsed.as_millis().saturating_mul(rest).checked_div(u128::from(state.done))?;
            u64::try_from(millis).ok().map(Duration::from_millis)
        };
        let eta = if elapsed >= SPEED_KNOWN_AFTER { eta() } else { None };
        Progress { step: step.to_owned(), permille: state.permille, eta }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // numbers only: whatever a panicking holder left is good enough
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permille_never_falls_and_every_new_step_is_told() {
        let told = Mutex::new(Vec::new());
        let report = |progress: Progress| told.lock().unwrap().push((progress.step, progress.permille));
        let cancel = AtomicBool::new(false);
        let meter = Meter::new(&report, &cancel);
        meter.expect(100);
        assert!(meter.advance("a", 50));
        meter.expect(300);
        assert!(meter.advance("b", 0));
        cancel.store(true, Ordering::Relaxed);
        assert!(!meter.advance("c", 350));
        assert_eq!(*told.lock().unwrap(), [("a".into(), 500), ("b".into(), 500), ("c".into(), 1000)]);
    }
}
