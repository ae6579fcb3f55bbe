//! When a worker process is started, sent away, started again, and when no longer: a pure machine.
//!
//! Failures in a row double the pause before the next start and end in quarantine; a healthy spell or a job done well
//! forgets them. Too many failures within an hour end there too, whatever went well in between. Both are counted for
//! the life of a daemon: a new one gives a new chance. What could not even be started burns nothing and is tried again
//! for as long as it takes. Knows no process and no clock: time and chance are arguments.

use super::exit::Exit;
use crate::units::UnixMillis;

/// How patient the machine is. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Pause after the first failure; each further one doubles it.
    pub first_ms: i64,
    /// The longest pause.
    pub cap_ms: i64,
    /// A process that was ready for this long had no bad start: its end counts as a first failure.
    pub healthy_ms: u64,
    /// Failures in a row that end in quarantine.
    pub failures: u32,
    /// Failures within [`Patience::within_ms`] that end in quarantine.
    pub burst: usize,
    /// See [`Patience::burst`].
    pub within_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        // a slot that never comes up is given up after about a quarter of a minute; a minute is long enough not to burn
        // a processor on a process that dies at once, and short enough to be back soon after a repair. Five within an
        // hour cannot be five accidents; eight in a row are none either, however long each took to fail
        Self { first_ms: 1_000, cap_ms: 60_000, healthy_ms: 600_000, failures: 8, burst: 5, within_ms: 3_600_000 }
    }
}

/// Where a slot instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// No process.
    #[default]
    Down,
    /// A process that has not said hello.
    Starting,
    /// Ready, no job.
    Idle,
    /// Has a job.
    Busy,
    /// Has a job, and goes when it is done.
    Draining,
    /// Asked to leave.
    Stopping,
    /// Going, or gone, without being asked: it gets no job, and its end counts.
    Leaving,
    /// No process until then.
    Backoff {
        /// When it is started again.
        until: UnixMillis,
    },
    /// No process until an operator does something.
    Quarantined,
}

impl State {
    /// The word used in `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down | Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining | Self::Stopping | Self::Leaving => "stopping",
            Self::Backoff { .. } => "backoff",
            Self::Quarantined => "quarantined",
        }
    }

    /// Whether there is a process.
    pub const fn is_running(self) -> bool {
        match self {
            Self::Starting | Self::Idle | Self::Busy | Self::Draining | Self::Stopping | Self::Leaving => true,
            Self::Down | Self::Backoff { .. } | Self::Quarantined => false,
        }
    }
}

/// One slot instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slot {
    /// Where it stands.
    pub state: State,
    /// Starts so far.
    pub starts: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Starts in a row that could not even be made: they lengthen the pause, and are no failures.
    pub not_started: u32,
    /// When it failed lately, the latest last.
    pub lately: Vec<UnixMillis>,
    /// Since when the present process is ready.
    pub ready: Option<UnixMillis>,
    /// How the last process ended, when it was not asked to.
    pub note: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The manifest wants it as it is.
    Wanted,
    /// The manifest does not want it, or wants it otherwise.
    Unwanted,
    /// An operator has its process ended with its job.
    Stopped,
    /// Its process said hello.
    Ready,
    /// It was given a job.
    Assigned,
    /// Its job ended well.
    Done,
    /// Its job ended badly; the process lives.
    Failed,
    /// It was given a job that did not reach it: its connection is closed. It says hello on another one, or ends.
    NotTaken,
    /// Its process is about to end, or has ended nobody knows how yet.
    Leaving,
    /// Its process ended, or could not be started.
    Exited {
        /// How.
        exit: Exit,
    },
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    Rest,
    /// Start a process.
    Start,
    /// Ask the process to leave.
    Leave,
    /// Nothing is left of it.
    Forget,
}

impl Slot {
    /// A slot whose process was started by an earlier daemon.
    pub fn adopted(state: State, now: UnixMillis) -> Self {
        Self { state, starts: 1, ready: Some(now), ..Self::default() }
    }

    /// The slot after `event`, and what is to be done. `chance` is any number; it spreads the pauses of slots that fail
    /// together by up to a quarter.
    pub fn step(&self, event: Event, now: UnixMillis, chance: u64, patience: &Patience) -> (Self, Wish) {
        let to = |state| Self { state, ..self.clone() };
        match event {
            Event::Wanted => self.wanted(now),
            Event::Unwanted => match self.state {
                State::Down | State::Backoff { .. } | State::Quarantined => (Self::default(), Wish::Forget),
                State::Starting | State::Idle => (to(State::Stopping), Wish::Leave),
                State::Busy => (to(State::Draining), Wish::Rest),
                State::Draining | State::Stopping | State::Leaving => (self.clone(), Wish::Rest),
            },
            Event::Stopped if self.state.is_running() => (to(State::Stopping), Wish::Rest),
            Event::Ready if self.state == State::Starting => {
                // what kept it from being started is over, and the last words are about that
                let note = self.note.clone().filter(|_| self.not_started == 0);
                (Self { ready: self.ready.or(Some(now)), not_started: 0, note, ..to(State::Idle) }, Wish::Rest)
            }
            Event::Assigned if self.state == State::Idle => (to(State::Busy), Wish::Rest),
            Event::Done => {
                let (next, wish) = self.job_ended();
                (Self { failures: 0, note: None, ..next }, wish)
            }
            Event::Failed => self.job_ended(),
            Event::NotTaken if self.state == State::Busy => (to(State::Starting), Wish::Rest),
            Event::NotTaken => self.job_ended(),
            Event::Leaving => match self.state {
                State::Starting | State::Idle | State::Busy | State::Draining => (to(State::Leaving), Wish::Rest),
                State::Down | State::Stopping | State::Leaving | State::Backoff { .. } | State::Quarantined => {
                    (self.clone(), Wish::Rest)
                }
            },
            Event::Exited { exit } => (self.exited(&exit, now, chance, patience), Wish::Rest),
            // a report that crossed a request to leave
            Event::Ready | Event::Assigned | Event::Stopped => (self.clone(), Wish::Rest),
        }
    }

    /// A slot without a process, whose failures count no more.
    pub fn forgiven(&self) -> Self {
        Self { starts: self.starts, ..Self::default() }
    }

    /// When it wants to be looked at again.
    pub const fn due(&self) -> Option<UnixMillis> {
        match self.state {
            State::Backoff { until } => Some(until),
            State::Down
            | State::Starting
            | State::Idle
            | State::Busy
            | State::Draining
            | State::Stopping
            | State::Leaving
            | State::Quarantined => None,
        }
    }

    fn wanted(&self, now: UnixMillis) -> (Self, Wish) {
        match self.state {
            State::Backoff { until } if until > now => (self.clone(), Wish::Rest),
            State::Down | State::Backoff { .. } => {
                let starts = self.starts.saturating_add(1);
                (Self { state: State::Starting, starts, ready: None, ..self.clone() }, Wish::Start)
            }
            State::Draining => (Self { state: State::Busy, ..self.clone() }, Wish::Rest),
            State::Starting | State::Idle | State::Busy | State::Stopping | State::Leaving | State::Quarantined => {
                (self.clone(), Wish::Rest)
            }
        }
    }

    fn job_ended(&self) -> (Self, Wish) {
        match self.state {
            State::Busy => (Self { state: State::Idle, ..self.clone() }, Wish::Rest),
            State::Draining => (Self { state: State::Stopping, ..self.clone() }, Wish::Leave),
            State::Down
            | State::Starting
            | State::Idle
            | State::Stopping
            | State::Leaving
            | State::Backoff { .. }
            | State::Quarantined => (self.clone(), Wish::Rest),
        }
    }

    fn exited(&self, exit: &Exit, now: UnixMillis, chance: u64, patience: &Patience) -> Self {
        let note = Some(exit.to_string());
        let down = Self { state: State::Down, ready: None, ..self.clone() };
        match self.state {
            State::Stopping => Self { failures: 0, note: None, ..down },
            State::Draining => Self { note, ..down },
            State::Down | State::Backoff { .. } | State::Quarantined => self.clone(),
            State::Starting | State::Idle | State::Busy | State::Leaving => {
                if let Exit::NotStarted(_) = exit {
                    let not_started = self.not_started.saturating_add(1);
                    let until = now.plus_ms(pause(not_started, chance, patience));
                    return Self { state: State::Backoff { until }, not_started, note, ..down };
                }
                let healthy = self.ready.is_some_and(|ready| now.ms_since(ready) >= patience.healthy_ms);
                let failures = if healthy { 1 } else { self.failures.saturating_add(1) };
                let recent = |at: &&UnixMillis| now.ms_since(**at) < patience.within_ms;
                let lately: Vec<_> = self.lately.iter().filter(recent).copied().chain([now]).collect();
                let state = if failures >= patience.failures || lately.len() >= patience.burst {
                    State::Quarantined
                } else {
                    State::Backoff { until: now.plus_ms(pause(failures, chance, patience)) }
                };
                Self { state, failures, lately, note, ..down }
            }
        }
    }
}

/// Doubles with each failure up to the cap, give or take a quarter.
fn pause(failures: u32, chance: u64, patience: &Patience) -> i64 {
    let doublings = failures.saturating_sub(1).min(32);
    let full = patience.first_ms.saturating_mul(1i64 << doublings).min(patience.cap_ms);
    let quarter = full / 4;
    let spread = u64::try_from(quarter.saturating_mul(2)).unwrap_or(0).saturating_add(1);
    let offset = i64::try_from(chance.checked_rem(spread).unwrap_or(0)).unwrap_or(0);
    full.saturating_sub(quarter).saturating_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Patience = Patience {
        first_ms: 100,
        cap_ms: 1_000,
        healthy_ms: 5_000,
        failures: 6,
        burst: usize::MAX,
        within_ms: 3_600_000,
    };

    fn at(ms: i64) -> UnixMillis {
        UnixMillis::new(ms)
    }

    fn exited() -> Event {
        Event::Exited { exit: Exit::Signal(9) }
    }

    /// Applies events one after the other at one moment.
    fn after(events: &[Event], now: UnixMillis, slot: &Slot) -> (Slot, Wish) {
        events.iter().fold((slot.clone(), Wish::Rest), |(slot, _), event| slot.step(event.clone(), now, 0, &PATIENCE))
    }

    #[test]
    fn a_wanted_slot_is_started_once_and_becomes_ready() {
        let (slot, wish) = after(&[Event::Wanted], at(0), &Slot::default());
        assert_eq!((slot.state, wish), (State::Starting, Wish::Start));
        let (slot, wish) = after(&[Event::Wanted, Event::Ready, Event::Wanted], at(1), &slot);
        assert_eq!((slot.state, wish, slot.starts), (State::Idle, Wish::Rest, 1));
    }

    #[test]
    fn a_removed_slot_finishes_its_job_first() {
        let (slot, _) = after(&[Event::Wanted, Event::Ready, Event::Assigned], at(0), &Slot::default());
        let (slot, wish) = after(&[Event::Unwanted], at(1), &slot);
        assert_eq!((slot.state, wish), (State::Draining, Wish::Rest));
        let (kept, _) = after(&[Event::Wanted], at(2), &slot);
        assert_eq!(kept.state, State::Busy, "unless it is wanted again");
        let (slot, wish) = after(&[Event::Failed], at(2), &slot);
        assert_eq!((slot.state, wish), (State::Stopping, Wish::Leave));
        let (slot, wish) = after(&[exited(), Event::Unwanted], at(3), &slot);
        assert_eq!((slot.state, wish, slot.failures, slot.note), (State::Down, Wish::Forget, 0, None));
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_end_in_quarantine() {
        let mut slot = Slot::default();
        let mut pauses = Vec::new();
        while slot.state != State::Quarantined {
            let now = slot.due().unwrap_or(at(0));
            slot = after(&[Event::Wanted, exited()], now, &slot).0;
            pauses.extend(slot.due().map(|due| due.ms_since(now)));
        }
        assert_eq!(pauses, [75, 150, 300, 600, 750]);
        assert_eq!(slot.note.as_deref(), Some("killed by signal 9"));
        assert_eq!(after(&[Event::Wanted], at(i64::MAX), &slot).1, Wish::Rest);
        assert_eq!(after(&[Event::Unwanted], at(0), &slot).1, Wish::Forget);
    }

    #[test]
    fn a_healthy_spell_or_a_job_done_well_forgets_failures() {
        let (slot, _) = after(&[Event::Wanted, exited()], at(0), &Slot::default());
        let (slot, _) = after(&[Event::Wanted, exited()], at(1_000), &slot);
        assert_eq!(slot.failures, 2);
        let (ready, _) = after(&[Event::Wanted, Event::Ready], at(2_000), &slot);
        assert_eq!(after(&[exited()], at(6_999), &ready).0.failures, 3);
        assert_eq!(after(&[exited()], at(7_000), &ready).0.failures, 1);
        assert_eq!(after(&[Event::Assigned, Event::Done, exited()], at(2_001), &ready).0.failures, 1);
        assert_eq!(after(&[Event::Assigned, Event::Failed, exited()], at(2_001), &ready).0.failures, 3);
    }

    #[test]
    fn a_process_that_was_stopped_is_no_failure_and_is_started_again_while_it_is_wanted() {
        let (slot, _) = after(&[Event::Wanted, Event::Ready, Event::Assigned], at(0), &Slot::default());
        let (slot, wish) = after(&[Event::Stopped, Event::Wanted], at(1), &slot);
        assert_eq!((slot.state, wish), (State::Stopping, Wish::Rest));
        let (slot, wish) = after(&[exited(), Event::Wanted], at(2), &slot);
        assert_eq!((slot.state, wish, slot.failures, slot.note), (State::Starting, Wish::Start, 0, None));
        assert_eq!(after(&[Event::Stopped], at(0), &Slot::default()), (Slot::default(), Wish::Rest));
    }

    #[test]
    fn who_leaves_without_being_asked_gets_no_job_and_its_end_counts() {
        let (idle, _) = after(&[Event::Wanted, Event::Ready], at(0), &Slot::default());
        let (slot, wish) = after(&[Event::Leaving, Event::Wanted, Event::Assigned, Event::Ready], at(1), &idle);
        assert_eq!((slot.state, wish, slot.state.is_running()), (State::Leaving, Wish::Rest, true));
        let (slot, wish) = after(&[exited(), Event::Wanted], at(2), &slot);
        assert_eq!((slot.failures, wish, slot.note.as_deref()), (1, Wish::Rest, Some("killed by signal 9")));
        let (asked, _) = after(&[Event::Unwanted, Event::Leaving, exited()], at(2), &idle);
        assert_eq!((asked.state, asked.failures), (State::Down, 0));
        let (slot, wish) = after(&[Event::Assigned, Event::NotTaken, Event::Wanted], at(1), &idle);
        assert_eq!((slot.state, wish), (State::Starting, Wish::Rest), "until it says hello again");
        assert_eq!(after(&[Event::Ready], at(2), &slot).0, idle);
    }

    #[test]
    fn five_failures_within_an_hour_are_too_many_and_five_within_two_are_not() {
        let lived = |minutes: i64| {
            let patience = Patience::default();
            let mut slot = Slot::default();
            for turn in 0..5 {
                let now = at(turn * minutes * 60_000);
                for event in [Event::Wanted, Event::Ready, Event::Assigned, Event::Done, exited()] {
                    slot = slot.step(event, now, 0, &patience).0;
                }
            }
            slot.state
        };
        assert_eq!(lived(14), State::Quarantined, "although each did a job");
        assert!(matches!(lived(16), State::Backoff { .. }));
    }

    #[test]
    fn what_cannot_be_started_is_tried_again_for_as_long_as_it_takes() {
        let mut slot = Slot::default();
        for _ in 0..100 {
            let now = slot.due().unwrap_or(at(0));
            let exit = Exit::NotStarted("cannot ask for a worker".to_owned());
            slot = after(&[Event::Wanted, Event::Exited { exit }], now, &slot).0;
            assert!(slot.due().is_some_and(|due| due.ms_since(now) <= 1_250), "{slot:?}");
        }
        assert_eq!((slot.note.as_deref(), slot.failures), (Some("cannot ask for a worker"), 0));
        let (slot, _) = after(&[Event::Wanted, Event::Ready], at(200_000), &slot);
        assert_eq!(slot.note, None, "that is over");
        let (slot, _) = after(&[exited()], at(200_001), &slot);
        assert_eq!((slot.failures, slot.due().is_some()), (1, true), "and has burnt nothing");
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => Just(Event::Wanted),
            1 => Just(Event::Unwanted),
            1 => Just(Event::Stopped),
            2 => Just(Event::Ready),
            2 => Just(Event::Assigned),
            1 => Just(Event::Done),
            1 => Just(Event::Failed),
            1 => Just(Event::NotTaken),
            1 => Just(Event::Leaving),
            2 => Just(exited()),
        ]
    }

    proptest! {
        /// Whatever happens, in whatever order: never two processes, never a start before its time, and a wanted slot
        /// that is not quarantined has a process or a moment to get one.
        #[test]
        fn never_two_processes_and_never_forgotten(events in prop::collection::vec((any_event(), 0..2_000i64, any::<u64>()), 0..60)) {
            let (mut slot, mut now, mut running) = (Slot::default(), at(0), false);
            for (event, ms, chance) in events {
                now = now.plus_ms(ms);
                let due = slot.due();
                if matches!(event, Event::Exited { .. }) {
                    running = false;
                }
                let (next, wish) = slot.step(event, now, chance, &PATIENCE);
                slot = next;
                if wish == Wish::Start {
                    prop_assert!(!running && due.is_none_or(|due| due <= now));
                    running = true;
                }
                prop_assert_eq!(slot.state.is_running(), running);
                prop_assert!(wish != Wish::Leave || running);
                prop_assert!(wish != Wish::Forget || !running);
                prop_assert!(slot.due().is_none_or(|due| due <= now.plus_ms(1_250)));
                prop_assert!(slot.failures <= PATIENCE.failures);
                let (wanted, wish) = slot.step(Event::Wanted, now, chance, &PATIENCE);
                prop_assert!(wanted.state.is_running() || wanted.due().is_some() || wanted.state == State::Quarantined, "{wish:?}");
            }
        }
    }
}
