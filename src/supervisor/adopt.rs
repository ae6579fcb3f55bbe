//! Workers that an earlier daemon started are found and taken over, before anything is planned.
//!
//! Each is looked at by itself and at the same time as the others: one that does not answer holds nobody up. None is
//! killed here: what cannot be taken over is left alone, and named.

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
use std::{collections::BTreeMap, io, path::Path, time::Duration};
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
enum Found {
    /// A worker that can be believed.
    Worker(Box<Claim>),
    /// Nobody listens any more.
    Stale,
    /// Somebody who is no worker of ours, or does not answer.
    Stranger(String),
}

struct Claim {
    unit: Unit,
    hello: Hello,
    identity: Identity,
}

impl Supervisor {
    /// Takes over what earlier daemons started, and says who has what. To be called once, inside a Tokio runtime, before
    /// [`Supervisor::reconcile`]. `usual` is how long a stage usually takes.
    pub async fn adopt(&mut self, usual: &BTreeMap<Stage, Duration>, now: UnixMillis) -> Vec<Adopted> {
        let doors = match self.places.doors() {
            Ok(doors) => doors,
            Err(error) => {
                let folder = self.places.workers.display();
                self.strangers.push(format!("workers of an earlier start cannot be looked for in {folder}: {error}"));
                return Vec::new();
            }
        };
        let mut calls = JoinSet::new();
        for door in doors {
            let unit = Unit::at(self.places.clone(), door);
            calls.spawn(async move { (unit.door().to_owned(), look(unit).await) });
        }
        let mut claims: BTreeMap<WorkerId, Vec<Claim>> = BTreeMap::new();
        for (door, found) in calls.join_all().await {
            match found {
                Found::Worker(claim) => {
                    let Identity { slot, instance, .. } = &claim.identity;
                    let id = WorkerId { slot: slot.clone(), instance: *instance };
                    claims.entry(id).or_default().push(*claim);
                }
                Found::Stale => self.tell_stale(&door),
                Found::Stranger(why) => {
                    let what = format!("the worker at {} {why}: it is left alone", door.display());
                    tracing::warn!(reason = %what, "not adopted");
                    self.strangers.push(what);
                }
            }
        }
        let mut adopted = Vec::new();
        for (id, mut claims) in claims {
            let keep = favourite(&claims.iter().map(standing).collect::<Vec<_>>());
            let kept = claims.swap_remove(keep);
            for other in claims {
                self.part_with(&id, other).await;
            }
            adopted.push(self.take_over(id, kept, usual, now));
        }
        adopted
    }

    /// Who was met at the start and could not be taken over.
    pub fn strangers(&self) -> &[String] {
        &self.strangers
    }

    fn tell_stale(&self, door: &Path) {
        let invocation = std::fs::read_to_string(door.with_extension(INVOCATION));
        let exit = invocation.ok().and_then(|id| end_of(&self.places.exits, id.trim()));
        let how = exit.map_or_else(|| "nobody knows how".to_owned(), |exit| exit.to_string());
        tracing::warn!(path = %door.display(), reason = %how, "a worker ended while no daemon was there");
        forget_door(door);
    }

    /// Two that claim one place: this one has nothing to lose, or less.
    async fn part_with(&mut self, id: &WorkerId, claim: Claim) {
        let Claim { mut unit, hello, identity } = claim;
        if hello.running.is_some() {
            let pid = identity.pid;
            self.strangers.push(format!("process {pid} is a second worker {id} with a job: it is left alone"));
            return;
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
        Seen::Control(line) if !line.cut => serde_json::from_str(&line.text).ok(),
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
