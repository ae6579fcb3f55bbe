//! What each sector gets: its next step, a worker, room on a disk, a place in a message. And new sectors, as long as
//! the target wants them and what is in flight can still be finished.

use super::{
    Action, Assignee, Desired, Held, MinerSeen, Observed, ParamsSeen, Place, Plan, RepoSeen, SectorSeen, Subject,
    batches,
    memory::{Ledger, Short, outgrown},
    space::{self, Reservations},
};
use crate::{
    outbox::{BatchState, MessageKind},
    sector::{
        self, MessageId, Next, Policy, Record, Stage, State, WakeUp,
        deadlines::{forecast, nearest},
    },
    units::{RepoName, SectorNumber},
};
use std::collections::BTreeMap;

pub(super) fn plan(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    if observed.miner != MinerSeen::Known {
        return wait_for_miner(desired, observed, plan);
    }
    let mut desk = Desk {
        desired,
        observed,
        free: free_workers(desired, observed),
        promised: promises(desired, observed),
        memory: Ledger::of(desired, observed),
    };
    let mut ready: batches::Ready<'_> = BTreeMap::new();
    let mut work = Vec::new();
    let policy = policy(desired, observed);
    for (number, seen) in &observed.sectors {
        if seen.busy.is_some() {
            // a ticket is being drawn for a worker that is free: it stays free for it
            if seen.record.state == State::PreCommit1 && seen.record.ticket.is_none() {
                work.push((Stage::PreCommit1, seen));
            }
            continue;
        }
        match sector::next(&seen.record, seen.facts.as_ref(), observed.chain, &policy, observed.now) {
            Next::Rest => {}
            Next::Wait(wait) => plan.hold(Subject::Sector(*number), wait.reason, wait.until),
            Next::Record(event) => plan.actions.push(Action::Record { number: *number, event }),
            Next::SubmitPreCommit => ready.entry(MessageKind::PreCommit).or_default().push(seen),
            Next::SubmitCommit => ready.entry(MessageKind::Commit).or_default().push(seen),
            Next::SubmitTerminate => ready.entry(MessageKind::Terminate).or_default().push(seen),
            Next::DrawTicket => work.push((Stage::PreCommit1, seen)),
            Next::Work(stage) => work.push((stage, seen)),
        }
    }
    let aggregate = batches::plan(desired, observed, &ready, plan);
    // later stages first: they free what earlier ones need; of a stage, first who has the least time left
    let slack = |record| nearest(record, observed.chain?, &policy).map(|deadline| deadline.slack);
    work.sort_by_key(|(stage, seen)| {
        let slack = slack(&seen.record).unwrap_or(i64::MAX);
        (std::cmp::Reverse(*stage), slack, seen.busy.is_none(), seen.record.number)
    });
    // a message that waits for its proofs holds up many sectors: it comes before their single stages
    for (batch, sectors) in aggregate {
        desk.aggregate(batch, sectors, plan);
    }
    for (stage, seen) in work {
        if seen.busy.is_some() {
            desk.keep_worker(stage);
        } else {
            desk.assign(stage, seen, plan);
        }
    }
    desk.create(plan);
    say_what_is_held(desired, observed, plan);
}

/// What keeps every worker of a stage from new tasks, when operators hold them all.
fn held_back(desired: &Desired, stage: Stage) -> Option<String> {
    let held: Option<BTreeMap<Place, Held>> = desired.able(stage).map(|who| desired.held.of(&who)).collect();
    let held = held.filter(|held| !held.is_empty())?;
    let told = held.iter().map(|(place, Held { how, .. })| {
        format!("slot {place}, which is {}: `seald resume {place}` lets it go on", how.as_str())
    });
    Some(told.collect::<Vec<_>>().join("; "))
}

/// Said once for the pledge: a stage that nobody may do now stops every sector that comes to it.
fn say_what_is_held(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let have = observed.sectors.values().filter(|seen| seen.record.state == State::Proving).count();
    if desired.held.is_empty() || desired.sectors <= u64::try_from(have).unwrap_or(u64::MAX) {
        return;
    }
    let stages = [Stage::PreCommit1, Stage::PreCommit2, Stage::Commit, Stage::Finalize];
    let told = |stage: Stage| held_back(desired, stage).map(|reason| format!("{} by {reason}", stage.as_str()));
    let held: Vec<String> = stages.into_iter().filter_map(told).collect();
    if !held.is_empty() {
        plan.hold(Subject::Pledge, held.join("; "), WakeUp::Operator);
    }
}

/// The rules, with how long sealing takes here.
fn policy(desired: &Desired, observed: &Observed) -> Policy {
    let to_precommit =
        observed.chain.and_then(|chain| forecast(&observed.durations, chain.epoch_secs, Stage::PreCommit1));
    Policy { to_precommit, ..desired.policy }
}

/// Before the miner is known nothing is done for a sector or a message, and each says so.
fn wait_for_miner(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let have = u64::try_from(observed.sectors.len()).unwrap_or(u64::MAX);
    let wanted = desired.sectors.saturating_sub(have);
    if wanted > 0 {
        plan.hold(Subject::Pledge, format!("the miner, then {wanted} sectors are sealed"), WakeUp::NextHead);
    }
    let sectors = observed.sectors.iter().filter(|(_, seen)| seen.busy.is_none() && !seen.record.state.is_final());
    let messages = observed.batches.iter().filter(|(_, seen)| !seen.busy && seen.batch.state == BatchState::Sealed);
    let waiting = sectors.map(|(number, _)| Subject::Sector(*number));
    for about in waiting.chain(messages.map(|(id, _)| Subject::Message(id.clone()))) {
        plan.hold(about, "the miner", WakeUp::NextHead);
    }
}

/// What is still to be given out in this plan.
struct Desk<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    /// Idle workers with the number of stages each can do.
    free: BTreeMap<Assignee, usize>,
    promised: Reservations,
    memory: Ledger<'a>,
}

fn free_workers(desired: &Desired, observed: &Observed) -> BTreeMap<Assignee, usize> {
    let idle = observed.workers.iter().filter(|(who, idle)| **idle && desired.held.of(who).is_none());
    idle.filter_map(|(who, _)| desired.slot_of(who).map(|wish| (who.clone(), wish.stages.len()))).collect()
}

/// What each sector in flight may still write: where it is sealed, and while it is moved, where it may go.
pub fn promises(desired: &Desired, observed: &Observed) -> Reservations {
    let mut promised = Reservations::default();
    for (number, seen) in &observed.sectors {
        let Record { proof, state, repo, .. } = &seen.record;
        let moves = *state == State::FinalizeSector || seen.record.is_untrimmed();
        if let Some(bytes) = space::still_to_write(proof.sector_size(), *state) {
            promised.add(*number, repo.clone(), bytes);
        }
        if moves && seen.busy.is_some() && !desired.stores_in(repo) {
            // which of them was chosen is not known any more: too much is promised, for as long as the move takes
            for (name, _) in desired.repos.iter().filter(|(_, wish)| wish.store) {
                promised.add(*number, name.clone(), space::finalized_size(proof.sector_size()));
            }
        }
    }
    promised
}

impl Desk<'_> {
    fn assign(&mut self, stage: Stage, seen: &SectorSeen, plan: &mut Plan) {
        let number = seen.record.number;
        if stage == Stage::Commit && self.observed.params != ParamsSeen::Ready {
            return plan.hold(Subject::Sector(number), "the proof parameters", WakeUp::NextHead);
        }
        let repo = match self.place(stage, &seen.record) {
            Ok(repo) => repo,
            Err(why) => return plan.hold(Subject::Sector(number), why, WakeUp::NextHead),
        };
        let Some(worker) = self.free_worker(stage) else {
            let (reason, until) = self.no_worker(stage);
            return plan.hold(Subject::Sector(number), reason, until);
        };
        match self.memory.admit(&worker, stage) {
            Ok(()) => drop(self.free.remove(&worker)),
            Err(Short::Now(why)) => return plan.hold(Subject::Sector(number), why, WakeUp::NextHead),
            Err(Short::Ever(why)) => return plan.hold(Subject::Sector(number), why, WakeUp::Operator),
        }
        if repo != seen.record.repo {
            self.promised.add(number, repo.clone(), space::finalized_size(seen.record.proof.sector_size()));
        }
        plan.actions.push(match (stage, &seen.record.ticket) {
            (Stage::PreCommit1, None) => Action::DrawTicket(number),
            (Stage::PreCommit1 | Stage::PreCommit2 | Stage::Commit | Stage::Finalize | Stage::Remove, _) => {
                Action::Run { number, stage, worker, repo }
            }
        });
    }

    /// Has the proofs of an open batch made one.
    fn aggregate(&mut self, batch: MessageId, sectors: Vec<SectorNumber>, plan: &mut Plan) {
        match self.free_worker(Stage::Commit) {
            Some(worker) => {
                self.free.remove(&worker);
                plan.actions.push(Action::Aggregate { batch, sectors, worker });
            }
            None => {
                let (worker, until) = self.no_worker(Stage::Commit);
                let reason = format!("its batch's proofs to be made one by {worker}");
                for number in sectors {
                    plan.hold(Subject::Sector(number), reason.clone(), until);
                }
            }
        }
    }

    /// The most specialised worker that is free: one that can do everything is kept for what only it can do.
    fn free_worker(&self, stage: Stage) -> Option<Assignee> {
        let able = self.free.iter().filter(|(who, _)| self.can(who, stage));
        able.min_by_key(|(who, stages)| (**stages, *who)).map(|(who, _)| who.clone())
    }

    /// Keeps a worker and its memory for a stage that begins soon.
    fn keep_worker(&mut self, stage: Stage) {
        if let Some(worker) = self.free_worker(stage) {
            self.memory.add(&worker, stage);
            self.free.remove(&worker);
        }
    }

    fn can(&self, who: &Assignee, stage: Stage) -> bool {
        let does = self.desired.slot_of(who).is_some_and(|wish| wish.stages.contains(&stage));
        does && outgrown(self.desired, self.observed, who, stage).is_none()
    }

    /// What there is to wait for when no worker can take this stage, and what ends that.
    fn no_worker(&self, stage: Stage) -> (String, WakeUp) {
        if let Some(reason) = held_back(self.desired, stage) {
            return (reason, WakeUp::Operator);
        }
        if let Some(reason) = self.outgrown_everywhere(stage) {
            return (reason, WakeUp::Operator);
        }
        let barred = || self.desired.able(stage).map(|who| self.observed.barred.get(&who)).collect::<Option<Vec<_>>>();
        if let Some(why) = barred().and_then(|whys| whys.first().copied()) {
            return (why.clone(), WakeUp::NextHead);
        }
        let able = self.observed.workers.keys().filter(|who| self.can(who, stage));
        let reason = match able.filter(|who| self.desired.held.of(who).is_none()).count() {
            0 if self.desired.able(stage).next().is_some() => format!("a worker for {} to be started", stage.as_str()),
            0 => format!("a worker for {}: no slot of the manifest runs one", stage.as_str()),
            1 => format!("the {} worker to be free", stage.as_str()),
            n => format!("one of {n} {} workers to be free", stage.as_str()),
        };
        (reason, WakeUp::NextHead)
    }

    /// What every slot of this stage lacks, when each was too small for it.
    fn outgrown_everywhere(&self, stage: Stage) -> Option<String> {
        let bound = |who: Assignee| Some((who.slot.clone(), outgrown(self.desired, self.observed, &who, stage)?));
        let bounds: BTreeMap<_, _> = self.desired.able(stage).map(bound).collect::<Option<_>>()?;
        let told = bounds.iter().map(|(slot, bound)| format!("slot {slot}, where it ran out of {bound}"));
        let told = told.collect::<Vec<_>>().join(", or ");
        let (stage, size) = (stage.as_str(), self.desired.sector_size);
        (!bounds.is_empty()).then(|| format!("more memory for {stage} of {size} in {told}"))
    }

    /// The repo the stage's result goes to, when it is usable and has room.
    fn place(&self, stage: Stage, record: &Record) -> Result<RepoName, String> {
        let room = self.room(&record.repo)?;
        if stage == Stage::Remove {
            if let Some(store) = &record.store {
                self.room(store)?;
            }
            return Ok(record.repo.clone());
        }
        if stage != Stage::Finalize {
            let wanted = space::stage_growth(record.proof.sector_size(), stage);
            // what this sector needs is part of what is promised: only the disk's truth is asked
            return match Reservations::default().fits(&record.repo, &room, wanted) {
                Ok(()) => Ok(record.repo.clone()),
                Err(short) => Err(format!("space: {short}")),
            };
        }
        if self.desired.stores_in(&record.repo) {
            return Ok(record.repo.clone());
        }
        let wanted = space::finalized_size(record.proof.sector_size());
        self.best(|wish| wish.store, wanted).map_err(|why| format!("a repo with role store: {why}"))
    }

    fn room(&self, name: &RepoName) -> Result<space::Room, String> {
        if !self.desired.repos.contains_key(name) {
            return Err(format!("repo {name}, which the manifest no longer declares"));
        }
        match self.observed.repos.get(name) {
            Some(RepoSeen::Open(room)) => Ok(*room),
            Some(RepoSeen::Unusable { why, .. }) => Err(format!("repo {name}: {why}")),
            Some(RepoSeen::Closed) | None => Err(format!("repo {name} to be opened")),
        }
    }

    /// The repo that fits best: most weight, then most free space, then by name.
    fn best(&self, role: impl Fn(&super::RepoWish) -> bool, wanted: crate::units::Bytes) -> Result<RepoName, String> {
        let mut best = None;
        let mut why = "none is declared".to_owned();
        for (name, wish) in self.desired.repos.iter().filter(|(_, wish)| role(wish)) {
            let fits = self.room(name).and_then(|room| {
                self.promised.fits(name, &room, wanted).map(|()| room).map_err(|short| short.to_string())
            });
            match fits {
                Ok(room) => best = best.max(Some((wish.weight, room.free, std::cmp::Reverse(name.clone())))),
                Err(reason) => why = reason,
            }
        }
        best.map(|(_, _, std::cmp::Reverse(name))| name).ok_or(why)
    }

    /// New sectors, as long as the target wants them.
    fn create(&mut self, plan: &mut Plan) {
        let counted = |seen: &&SectorSeen| !seen.record.state.is_given_up();
        let have = u64::try_from(self.observed.sectors.values().filter(counted).count()).unwrap_or(u64::MAX);
        let in_flight = |seen: &&SectorSeen| {
            let state = seen.record.state;
            !state.is_final() && !state.is_given_up()
        };
        let flying = u64::try_from(self.observed.sectors.values().filter(in_flight).count()).unwrap_or(u64::MAX);
        let have = have.saturating_add(self.observed.quarantined);
        let wanted = self.desired.sectors.saturating_sub(have);
        let allowed = self.desired.max_in_flight.saturating_sub(flying);
        if wanted > allowed {
            let max = self.desired.max_in_flight;
            let reason =
                format!("sectors in flight to be finished: {max} are allowed, {} more wanted", wanted - allowed);
            plan.hold(Subject::Pledge, reason, WakeUp::NextHead);
        }
        let mut next = self.observed.next_number;
        for _ in 0..wanted.min(allowed).min(CREATE_AT_ONCE) {
            let Some(number) = next else {
                return plan.hold(Subject::Pledge, "the chain to say which sector numbers are free", WakeUp::NextHead);
            };
            let size = self.desired.sector_size;
            match self.best(|wish| wish.seal, space::sealing_peak(size)) {
                Ok(repo) => {
                    self.promised.add(number, repo.clone(), space::sealing_peak(size));
                    plan.actions.push(Action::CreateSector { number, repo });
                }
                Err(why) => {
                    return plan.hold(Subject::Pledge, format!("space for another sector: {why}"), WakeUp::NextHead);
                }
            }
            next = number.next();
        }
    }
}

/// Sectors created in one plan: the rest follows in the next turn, so that no turn is long.
const CREATE_AT_ONCE: u64 = 64;
