//! How long a free worker waited although there was a task for it: what scheduling costs, measured where it is paid.
//!
//! A wait begins when both are there: the worker said that it is free, and the last thing the task lacked (the end
//! of the stage before, a ticket, a head of the chain) reached the daemon. It ends when the worker is given the task.
//! What lies in between is the daemon's own: queues, the database, the plan. Moments are those at which a message
//! reached the daemon, not those at which the loop got around to it. Decides nothing.

use crate::{
    plan::{Action, Assignee},
    status::Scheduling,
    units::SectorNumber,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// What is known of free workers and tasks, and the sums.
#[derive(Debug)]
pub struct Waits {
    /// When that what the present turn is about reached the daemon.
    heard: Instant,
    /// Since when each worker is free.
    free: BTreeMap<Assignee, Instant>,
    /// Since when tasks that were planned, but not given, could have been.
    due: BTreeMap<SectorNumber, Instant>,
    sums: Scheduling,
}

impl Waits {
    /// Nothing was given yet.
    pub fn new(now: Instant) -> Self {
        Self { heard: now, free: BTreeMap::new(), due: BTreeMap::new(), sums: Scheduling::default() }
    }

    /// The next turn is about something that reached the daemon at this moment.
    pub const fn hear(&mut self, at: Instant) {
        self.heard = at;
    }

    /// A worker has no task since this moment.
    pub fn free(&mut self, worker: Assignee, at: Instant) {
        self.free.insert(worker, at);
    }

    /// These are about to be carried out.
    pub fn planned(&mut self, actions: &[Action]) {
        let runs: BTreeSet<_> = actions.iter().filter_map(run).collect();
        self.due.retain(|number, _| runs.contains(number));
        for number in runs {
            self.due.entry(number).or_insert(self.heard);
        }
    }

    /// The worker was given the task.
    pub fn given(&mut self, number: SectorNumber, worker: &Assignee, now: Instant) {
        let due = self.due.remove(&number).unwrap_or(self.heard);
        let both = self.free.remove(worker).map_or(due, |free| free.max(due));
        let waited = micros(now.saturating_duration_since(both));
        self.sums.tasks = self.sums.tasks.saturating_add(1);
        self.sums.wait_us = self.sums.wait_us.saturating_add(waited);
        self.sums.longest_wait_us = self.sums.longest_wait_us.max(waited);
    }

    /// A task that was given ended well after so many milliseconds.
    pub const fn done(&mut self, ms: u64) {
        self.sums.done = self.sums.done.saturating_add(1);
        self.sums.busy_us = self.sums.busy_us.saturating_add(ms.saturating_mul(1000));
    }

    /// The sums.
    pub const fn sums(&self) -> Scheduling {
        self.sums
    }
}

const fn run(action: &Action) -> Option<SectorNumber> {
    match action {
        Action::Run { number, .. } => Some(*number),
        Action::OpenRepo(_)
        | Action::StopWorker(_)
        | Action::StartDevnet
        | Action::PrepareMiner
        | Action::PrepareParams(_)
        | Action::StartWorker(_)
        | Action::CreateSector { .. }
        | Action::Record { .. }
        | Action::DrawTicket(_)
        | Action::Join { .. }
        | Action::Aggregate { .. }
        | Action::Seal { .. }
        | Action::Announce { .. }
        | Action::Push { .. }
        | Action::Resend(_)
        | Action::Reprice { .. } => None,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, sector::Stage};

    fn number(n: u64) -> SectorNumber {
        SectorNumber::try_from(n).unwrap()
    }

    fn worker() -> Assignee {
        Assignee { slot: "cpu".to_owned().try_into().unwrap(), instance: 0 }
    }

    fn planned(n: u64) -> Action {
        let repo = "disk".to_owned().try_into().unwrap();
        Action::Run { number: number(n), stage: Stage::PreCommit2, worker: worker(), repo }
    }

    #[test]
    fn a_wait_begins_when_both_are_there() {
        let start = clock::monotonic();
        let at = |ms| start.checked_add(Duration::from_millis(ms)).unwrap();
        let mut waits = Waits::new(start);
        // the worker is free long before the task
        waits.free(worker(), at(0));
        waits.hear(at(50));
        waits.planned(&[planned(1)]);
        waits.given(number(1), &worker(), at(53));
        assert_eq!(waits.sums(), Scheduling { tasks: 1, wait_us: 3_000, longest_wait_us: 3_000, ..waits.sums() });
        // the task was planned long before a worker is free
        waits.hear(at(60));
        waits.planned(&[planned(2)]);
        waits.hear(at(90));
        waits.free(worker(), at(90));
        waits.planned(&[planned(2)]);
        waits.given(number(2), &worker(), at(91));
        assert_eq!(waits.sums(), Scheduling { tasks: 2, wait_us: 4_000, longest_wait_us: 3_000, ..waits.sums() });
    }

    #[test]
    fn a_task_that_was_not_taken_goes_on_waiting_until_it_is_no_longer_planned() {
        let start = clock::monotonic();
        let at = |ms| start.checked_add(Duration::from_millis(ms)).unwrap();
        let mut waits = Waits::new(start);
        waits.free(worker(), at(0));
        waits.planned(&[planned(1), planned(2)]);
        waits.hear(at(1_000));
        waits.planned(&[planned(1)]);
        waits.given(number(1), &worker(), at(1_000));
        assert_eq!(waits.sums().longest_wait_us, 1_000_000);
        waits.free(worker(), at(1_500));
        waits.hear(at(2_000));
        waits.planned(&[planned(2)]);
        waits.given(number(2), &worker(), at(2_004));
        assert_eq!(waits.sums().wait_us, 1_004_000, "it lacked something meanwhile");
    }
}
