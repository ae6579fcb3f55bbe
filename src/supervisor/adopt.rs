//! Workers that an earlier daemon started are found and taken over, before anything is planned.
//!
//! Each is looked at by itself and at the same time as the others: one that does not answer holds nobody up. None is
//! killed here: what cannot be taken over is left alone, named, and looked at again now and then.

use super::{
    Running as Process, Supervisor, TaskView, Worker, WorkerId, WorkerSpec,
    attend::{Attendant, Before, Charge},
    link::Link,
    process::Seen,
    slot::{Slot, State},
    unit::{HELLO, Unit, end_of, forget_door},
};
use crate::{
    proofs::Prover,
    sector::Stage,
    units::UnixMillis,
    worker::{
        INVOCATION,
        protocol::{Hello, Identity, Order, PROTOCOL, Report, Running},
    },
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

/// A worker that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Who.
    pub worker: WorkerId,
    /// Its job; the end of one that ended meanwhile is told next.
    pub job: Option<Running>,
}

/// What a worker's socket led to.
pub(super) enum Found {
    /// A worker that can be believed.
    Worker(Box<Claim>),
    /// Nobody listens any more.
    Stale,
    /// The socket is gone: its worker left meanwhile.
    Left,
    /// Somebody who is no worker of ours, or does not answer.
    Stranger(String),
}

pub(super) struct Claim {
    unit: Unit,
    hello: Hello,
    identity: Identity,
}

/// How often those that were not taken over are looked at again.
const LOOK_AGAIN_MS: u64 = 30_000;

/// Sockets of earlier workers that led to nobody who could be taken over.
#[derive(Default)]
pub(super) struct Strangers {
    /// Why, in words, by socket.
    at: BTreeMap<PathBuf, String>,
    /// When they were looked at.
    looked: UnixMillis,
    pub(super) looks: JoinSet<(PathBuf, Found)>,
}

impl Supervisor {
    /// Takes over what earlier daemons started, and says who has what. To be called once, inside a Tokio runtime, before
    /// [`Supervisor::reconcile`]. `usual` is how long a stage usually takes.
    pub async fn adopt(&mut self, usual: &BTreeMap<Stage, Duration>, now: UnixMillis) -> Vec<Adopted> {
        self.strangers.looked = now;
        match self.places.doors() {
            Ok(doors) => doors.into_iter().for_each(|door| self.look_at(door)),
            Err(error) => {
                let folder = self.places.workers.clone();
                let what = format!("workers of an earlier start cannot be looked for in {}: {error}", folder.display());
                self.strangers.at.insert(folder, what);
                return Vec::new();
            }
        }
        let looks = std::mem::take(&mut self.strangers.looks);
        let found = looks.join_all().await;
        self.take_in(found, usual, now).await
    }

    /// Looks again, now and then, at those who could not be taken over: one that was stopped may answer, one that was in
    /// the way may be gone. Waits for nobody; says who was taken over since.
    pub async fn adopt_late(&mut self, usual: &BTreeMap<Stage, Duration>, now: UnixMillis) -> Vec<Adopted> {
        let mut found = Vec::new();
        while let Some(look) = self.strangers.looks.try_join_next() {
            // one that panicked said why, and its socket is looked at again
            found.extend(look.ok());
        }
        let due = now.ms_since(self.strangers.looked) >= LOOK_AGAIN_MS && self.strangers.looks.is_empty();
        if due {
            self.strangers.looked = now;
            let doors: Vec<_> = self.strangers.at.keys().cloned().collect();
            doors.into_iter().for_each(|door| self.look_at(door));
        }
        self.take_in(found, usual, now).await
    }

    /// Who was met at a socket and could not be taken over.
    pub fn strangers(&self) -> impl Iterator<Item = &String> {
        self.strangers.at.values()
    }

    fn look_at(&mut self, door: PathBuf) {
        let unit = Unit::at(self.places.clone(), door);
        self.strangers.looks.spawn(async move { (unit.door().to_owned(), look(unit).await) });
    }

    async fn take_in(
        &mut self,
        found: Vec<(PathBuf, Found)>,
        usual: &BTreeMap<Stage, Duration>,
        now: UnixMillis,
    ) -> Vec<Adopted> {
        let mut claims: BTreeMap<WorkerId, Vec<Claim>> = BTreeMap::new();
        for (door, found) in found {
            match found {
                Found::Worker(claim) => {
                    self.strangers.at.remove(&door);
                    let Identity { slot, instance, .. } = &claim.identity;
                    let id = WorkerId { slot: slot.clone(), instance: *instance };
                    claims.entry(id).or_default().push(*claim);
                }
                Found::Left => drop(self.strangers.at.remove(&door)),
                Found::Stale => {
                    self.strangers.at.remove(&door);
                    let how = self.end_at(&door);
                    tracing::warn!(path = %door.display(), reason = %how, "a worker ended while no daemon was there");
                }
                Found::Stranger(why) => {
                    self.leave_alone(door.clone(), format!("the worker at {} {why}: it is left alone", door.display()));
                }
            }
        }
        let mut adopted = Vec::new();
        for (id, mut claims) in claims {
            let taken = self.workers.get(&id).is_some_and(|worker| worker.process.is_some());
            let keep = favourite(&claims.iter().map(standing).collect::<Vec<_>>());
            let kept = (!taken).then(|| claims.swap_remove(keep));
            for other in claims {
                self.part_with(&id, other).await;
            }
            adopted.extend(kept.map(|kept| self.take_over(id, kept, usual, now)));
        }
        adopted
    }

    fn leave_alone(&mut self, door: PathBuf, what: String) {
        if self.strangers.at.get(&door) != Some(&what) {
            tracing::warn!(reason = %what, "not adopted");
            self.strangers.at.insert(door, what);
        }
    }

    /// How the worker ended that listened there, in words; its socket is removed.
    pub(super) fn end_at(&self, door: &Path) -> String {
        let invocation = std::fs::read_to_string(door.with_extension(INVOCATION));
        let exit = invocation.ok().and_then(|id| end_of(&self.places.exits, id.trim()));
        forget_door(door);
        exit.map_or_else(|| "nobody knows how".to_owned(), |exit| exit.to_string())
    }

    /// Two that claim one place: this one has nothing to lose, or less, or came late.
    async fn part_with(&mut self, id: &WorkerId, claim: Claim) {
        let Claim { mut unit, hello, identity } = claim;
        if hello.running.is_some() {
            let what = format!("process {} is a second worker {id} with a job, which it may finish", identity.pid);
            return self.leave_alone(unit.door().to_owned(), what);
        }
        tracing::warn!(slot = %id, pid = identity.pid, "a second worker of one place is asked to leave");
        if let Ok(line) = serde_json::to_string(&Order::Leave) {
            // one that is gone meanwhile has left
            unit.say(&line).await.unwrap_or_default();
        }
    }

    fn take_over(&mut self, id: WorkerId, claim: Claim, usual: &BTreeMap<Stage, Duration>, now: UnixMillis) -> Adopted {
        let Claim { unit, hello, identity } = claim;
        let spec = understood(&hello);
        let Hello { version, prover, protocol, identity: _, spec: _, sandbox, running, ended } = hello;
        let job = running.clone().or_else(|| ended.as_ref().map(|(running, _)| running.clone()));
        tracing::info!(slot = %id, pid = identity.pid, version, task = job.as_ref().map(|job| job.task), "adopted");
        let state = if job.is_some() { State::Busy } else { State::Idle };
        let task = job.as_ref().map(|job| TaskView {
            task: job.task,
            stage: job.about.stage,
            step: String::new(),
            permille: 0,
            started: job.started,
        });
        self.incarnation = self.incarnation.saturating_add(1);
        let (commands, orders) = mpsc::channel(super::COMMANDS);
        let charge = Charge {
            worker: id.clone(),
            incarnation: self.incarnation,
            prover: if prover == Prover::Simulated.as_str() { Prover::Simulated } else { Prover::Real },
            limits: self.limits,
            link: Link::Unit(Box::new(unit)),
        };
        let found = Before {
            protocol,
            usual: job.as_ref().and_then(|job| usual.get(&job.about.stage?)).copied().unwrap_or_default(),
            ended: ended.map(|(_, report)| *report).filter(|_| running.is_none()),
            running,
        };
        let attendant = Attendant::new(charge, orders, self.events.clone()).adopting(found);
        self.tasks.spawn(attendant.run());
        let process = Some(Process { incarnation: self.incarnation, pid: Some(identity.pid), commands });
        self.workers.insert(id.clone(), Worker { spec, slot: Slot::adopted(state, now), process, task, sandbox });
        Adopted { worker: id, job }
    }
}

/// What it was started as, when this daemon can go on with it: one of another version finishes its job and leaves.
fn understood(hello: &Hello) -> Option<WorkerSpec> {
    let same = hello.protocol == PROTOCOL && hello.version == env!("CARGO_PKG_VERSION");
    hello.spec.clone().filter(|_| same).and_then(|spec| serde_json::from_value(spec).ok())
}

async fn look(mut unit: Unit) -> Found {
    match unit.call().await {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Found::Stale,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Left,
        Err(error) => return Found::Stranger(format!("cannot be reached ({error})")),
    }
    let hello = match timeout(HELLO, first_line(&mut unit)).await {
        Ok(Some(Report::Hello(hello))) => *hello,
        Ok(Some(_) | None) => return Found::Stranger("said something else than hello".to_owned()),
        Err(_) => return Found::Stranger(format!("said no hello within {} s", HELLO.as_secs())),
    };
    let Some(identity) = hello.identity.clone() else {
        return Found::Stranger("did not say which process it is".to_owned());
    };
    match unit.meet(&identity) {
        Ok(()) => Found::Worker(Box::new(Claim { unit, hello, identity })),
        Err(why) => Found::Stranger(why),
    }
}

async fn first_line(unit: &mut Unit) -> Option<Report> {
    match unit.next().await {
        Seen::Control(line) if !line.cut => Report::read(&line.text),
        Seen::Control(_) | Seen::Closed | Seen::Log(_) | Seen::Gone | Seen::Exited(_) => None,
    }
}

/// What speaks for one of several workers in one place, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Idle,
    Ended,
    Working,
}

fn standing(claim: &Claim) -> Standing {
    match (&claim.hello.running, &claim.hello.ended) {
        (Some(_), _) => Standing::Working,
        (None, Some(_)) => Standing::Ended,
        (None, None) => Standing::Idle,
    }
}

/// Which of them stays: the first of those with the most to lose.
fn favourite(claims: &[Standing]) -> usize {
    let most = claims.iter().max();
    claims.iter().position(|standing| Some(standing) == most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_in_one_place_the_one_with_work_stays() {
        use Standing::{Ended, Idle, Working};
        assert_eq!(favourite(&[Idle]), 0);
        assert_eq!(favourite(&[Idle, Working, Ended]), 1);
        assert_eq!(favourite(&[Idle, Ended, Idle]), 1);
        assert_eq!(favourite(&[Working, Working]), 0);
    }
}
