//! Builds the status snapshot from what the daemon knows and from the plan's holds, and writes it for `seald status`.

use super::{workers, world::World};
use crate::{
    chain::health::EndpointSeen,
    outbox::{Accounts, Batch, BatchState, Unfit},
    plan::{Assignee, Held, Hold, MinerSeen, NETWORKS, Observed, ParamsSeen, Plan, RepoSeen, Subject},
    sector::{
        ChainNow, Record, Stage, State, WakeUp,
        deadlines::{self, Deadline},
        policy,
    },
    status::{
        Alarm, BatchStatus, ChainStatus, DeadlineStatus, EndpointStatus, FORMAT_VERSION, HeldStatus, Preparing,
        RepoStatus, SectorStatus, SlotStatus, Snapshot, StageStatus, Target, stake::Stake, words,
    },
    supervisor::{TaskView, WorkerId, WorkerView},
    units::{Bytes, SectorNumber, SlotName, UnixMillis},
};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

impl World {
    /// Everything `seald status` can say, now.
    pub fn snapshot(&self, plan: &Plan, now: UnixMillis) -> Snapshot {
        let views = self.supervisor.views();
        let observed = self.observed(now);
        Snapshot {
            format_version: FORMAT_VERSION,
            at: now,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            manifest: self.manifest.files.first().map(|f| f.display().to_string()).unwrap_or_default(),
            generation: Some(self.in_force.generation),
            miner: self.miner.as_ref().map(|miner| miner.id),
            prover: self.prover.as_str().to_owned(),
            preparing: self.preparing(&views, now),
            chain: self.chain_status(),
            target: self.target(now),
            launcher: workers::word(self.life).to_owned(),
            slots: self.slot_statuses(&views),
            sectors: self.sector_statuses(&views, plan, observed.chain, now),
            batches: self.batch_statuses(plan),
            counts: self.counts(),
            repos: self.repo_statuses(&observed),
            scheduling: self.waits.sums(),
            stages: self.durations.iter().map(|(stage, ms)| StageStatus { stage: *stage, mean_ms: *ms }).collect(),
            alarms: self.alarms(&views, plan),
        }
    }

    fn preparing(&self, views: &[WorkerView], now: UnixMillis) -> Vec<Preparing> {
        let line = |what: &str, step: String| Preparing { what: what.to_owned(), step, permille: None, eta_ms: None };
        let mut lines = Vec::new();
        if self.sight.borrow().view.is_none() {
            let why = self.sight.borrow().trouble.clone().unwrap_or_else(|| "waiting for its first answer".to_owned());
            lines.push(line("the chain", why));
        }
        match &self.miner_seen {
            MinerSeen::Known => {}
            MinerSeen::Unknown => lines.push(line("the miner actor", "waits for the chain".to_owned())),
            MinerSeen::Preparing { step } => lines.push(line("the miner actor", step.clone())),
            MinerSeen::Failed { why, .. } => lines.push(line("the miner actor", why.clone())),
        }
        let what = format!("proof parameters for {} sectors", self.desired.sector_size);
        match &self.params {
            ParamsSeen::Ready => {}
            ParamsSeen::Missing => {}
            ParamsSeen::Failed { why, .. } => lines.push(line(&what, why.clone())),
            ParamsSeen::Preparing => {
                let task = views.iter().filter_map(|v| v.task.as_ref()).find(|t| Some(t.task) == self.params_task);
                lines.push(Preparing {
                    what,
                    step: task.map_or_else(|| "its worker starts".to_owned(), |task| task.step.clone()),
                    permille: task.map(|task| task.permille),
                    eta_ms: task.and_then(|task| left(task, None, now)),
                });
            }
        }
        lines
    }

    fn chain_status(&self) -> ChainStatus {
        let sight = self.sight.borrow();
        let view = sight.view.as_ref();
        let pending = self.book.batches.values().filter(|batch| batch.state.is_live()).count();
        ChainStatus {
            network: view.map(|view| view.network.name.clone()),
            head: view.map(|view| view.head.height),
            finalized: view.map(|view| view.finalized),
            seen: view.map(|view| view.at),
            trouble: sight.trouble.clone(),
            messages_pending: u64::try_from(pending).unwrap_or(u64::MAX),
            worker_balance: view.and_then(|view| Some(view.accounts.as_ref()?.worker.balance)),
            epoch_secs: view.map(|view| view.network.block_delay_secs),
            endpoints: sight.endpoints.iter().cloned().map(endpoint).collect(),
        }
    }

    fn target(&self, now: UnixMillis) -> Target {
        let in_flight = self.book.records.values().filter(|r| !r.state.is_final() && !r.state.is_given_up()).count();
        Target {
            wanted: self.desired.sectors,
            ordered: self.desired.sectors.saturating_sub(self.manifest.pledge.sectors),
            proving: self.proving(),
            in_flight: u64::try_from(in_flight).unwrap_or(u64::MAX),
            eta_ms: self.target_eta(now),
        }
    }

    /// The slowest stage decides: what is left of it over all sectors, shared by its workers, and one pass through
    /// the rest. Known only once every stage was measured.
    fn target_eta(&self, now: UnixMillis) -> Option<u64> {
        let left = self.desired.sectors.saturating_sub(self.proving());
        if left == 0 {
            return None;
        }
        let stages = [Stage::PreCommit1, Stage::PreCommit2, Stage::Commit, Stage::Finalize];
        let mut slowest = 0_u64;
        let mut once = 0_u64;
        for stage in stages {
            let mean = *self.durations.get(&stage)?;
            let workers =
                self.desired.slots.values().filter(|slot| slot.stages.contains(&stage)).map(|s| u64::from(s.count));
            let done = self.book.records.values().filter(|r| past(r.state, stage)).count();
            let todo = self.desired.sectors.saturating_sub(u64::try_from(done).unwrap_or(u64::MAX));
            let running = self.tasks.values().filter(|task| task.stage == stage);
            let spent: u64 = running.map(|task| now.ms_since(task.started).min(mean)).sum();
            let all = mean.saturating_mul(todo).saturating_sub(spent).checked_div(workers.sum::<u64>().max(1))?;
            slowest = slowest.max(all);
            once = if todo == 0 { once } else { once.saturating_add(mean) };
        }
        let view = self.sight.borrow().view.clone()?;
        let wait = view.network.pre_commit_challenge_delay.saturating_add(self.desired.policy.seed_confidence);
        let waits = self.book.records.values().any(|r| !past(r.state, Stage::Commit) && r.seed.is_none());
        let epochs = if waits { u64::try_from(wait).unwrap_or(0) } else { 0 };
        let chain = epochs.saturating_mul(view.network.block_delay_secs).saturating_mul(1000);
        Some(slowest.max(once.min(slowest.saturating_add(once))).saturating_add(chain))
    }

    fn placement(&self, view: &WorkerView) -> Option<String> {
        let WorkerId { slot, instance } = &view.id;
        let place = self.machine.words(&Assignee { slot: slot.clone(), instance: *instance });
        let memory = self.manifest.slots.get(slot).and_then(|slot| slot.memory);
        let memory = memory.map(|memory| format!("{memory} of memory at most"));
        let parts = [place, memory, view.sandbox.as_ref().map(|sandbox| format!("sandbox {sandbox}"))];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    fn slot_status(&self, view: &WorkerView) -> SlotStatus {
        let task = view.task.as_ref().map(|task| match self.tasks.get(&task.task) {
            Some(of) => format!("sector {} {}", of.number, of.stage.as_str()),
            None => "proof parameters".to_owned(),
        });
        SlotStatus {
            slot: view.id.slot.clone(),
            instance: view.id.instance,
            state: view.state.to_owned(),
            pid: view.pid,
            task,
            placement: self.placement(view),
            restarts: view.restarts,
            note: view.note.clone(),
            held: None,
        }
    }

    /// Every worker there is or shall be, by name: one that left because its slot is drained is shown as well.
    pub(super) fn slot_statuses(&self, views: &[WorkerView]) -> Vec<SlotStatus> {
        let is = |who: &Assignee, status: &SlotStatus| status.slot == who.slot && status.instance == who.instance;
        let mut statuses: Vec<SlotStatus> = views.iter().map(|view| self.slot_status(view)).collect();
        for who in self.desired.workers() {
            let Some((place, Held { how, since })) = self.desired.held.of(&who) else { continue };
            let held = Some(HeldStatus { place, how, since });
            match statuses.iter_mut().find(|status| is(&who, status)) {
                Some(status) => status.held = held,
                None => {
                    let Assignee { slot, instance } = who;
                    let state = "away".to_owned();
                    statuses.push(SlotStatus {
                        slot,
                        instance,
                        state,
                        pid: None,
                        task: None,
                        placement: None,
                        restarts: 0,
                        note: None,
                        held,
                    });
                }
            }
        }
        statuses.sort_by(|a, b| (&a.slot, a.instance).cmp(&(&b.slot, b.instance)));
        statuses
    }

    fn next_deadline(&self, record: &Record, chain: ChainNow) -> Option<DeadlineStatus> {
        let Deadline { what, at, slack } = deadlines::nearest(record, chain, &self.desired.policy)?;
        Some(DeadlineStatus { what: what.to_owned(), epoch: at, slack })
    }

    fn sector_statuses(
        &self,
        views: &[WorkerView],
        plan: &Plan,
        chain: Option<ChainNow>,
        now: UnixMillis,
    ) -> Vec<SectorStatus> {
        let holds: BTreeMap<SectorNumber, &Hold> = plan
            .holds
            .iter()
            .filter_map(|hold| match &hold.about {
                Subject::Sector(number) => Some((*number, hold)),
                Subject::Daemon | Subject::Pledge | Subject::Repo(_) | Subject::Slot(_) | Subject::Message(_) => None,
            })
            .collect();
        self.at_work(|number| holds.contains_key(number))
            .map(|(number, record)| {
                let task = self.tasks.iter().find(|(_, task)| task.number == *number);
                let view =
                    task.and_then(|(id, _)| views.iter().filter_map(|v| v.task.as_ref()).find(|v| v.task == *id));
                let hold = holds.get(number).filter(|_| task.is_none());
                let pause = self.pauses.get(number).filter(|pause| pause.until > now);
                let usual = task.and_then(|(_, task)| self.durations.get(&task.stage).copied());
                SectorStatus {
                    step: view.map(|view| view.step.clone()).filter(|step| !step.is_empty()),
                    permille: view.map(|view| view.permille),
                    eta_ms: view.and_then(|view| left(view, usual, now)),
                    slot: task.map(|(_, task)| task.worker.to_string()),
                    waits_for: hold
                        .map(|hold| hold.reason.clone())
                        .or_else(|| pause.map(|pause| format!("the node: {}", pause.why)))
                        .or_else(|| self.errand_of.get(number).map(|doing| (*doing).to_owned())),
                    until: hold.and_then(|hold| self.until(hold.until, now)),
                    stake: Stake::of(record).and_then(Stake::locked),
                    deadline: chain.and_then(|chain| self.next_deadline(record, chain)),
                    failure: record.failure.as_ref().map(|f| format!("{}: {}", f.doing, f.error)),
                    attempts: record.attempts,
                    ..SectorStatus::new(*number, record.state.as_str(), record.entered)
                }
            })
            .collect()
    }

    fn until(&self, wake: WakeUp, now: UnixMillis) -> Option<String> {
        match wake {
            WakeUp::NextHead => None,
            WakeUp::At(epoch) => {
                let view = self.sight.borrow().view.clone();
                let about = view.filter(|view| epoch > view.head.height).map(|view| {
                    let distance = epoch.as_i64().saturating_sub(view.head.height.as_i64());
                    format!(" ({})", words::epochs(distance, view.network.block_delay_secs))
                });
                Some(format!("{epoch}{}", about.unwrap_or_default()))
            }
            WakeUp::Time(at) => Some(format!("{} ({})", words::clock(at), words::within(at, now))),
            WakeUp::Funds => Some("the wallet is filled".to_owned()),
            WakeUp::Operator => Some("an operator acts".to_owned()),
        }
    }

    /// Batches that are not settled, oldest first.
    fn batch_statuses(&self, plan: &Plan) -> Vec<BatchStatus> {
        let entered = |number: &SectorNumber| self.book.records.get(number).map(|record| record.entered);
        let live = self.book.batches.values().filter(|batch| batch.state.is_live() || self.awaited(batch));
        let status = |batch: &Batch| {
            let oldest = batch.sectors.iter().filter_map(entered).min().unwrap_or(batch.created);
            let held = |about: &Subject| match about {
                Subject::Message(id) => *id == batch.id,
                Subject::Sector(number) => {
                    matches!(batch.state, BatchState::Open { .. }) && batch.sectors.contains(number)
                }
                Subject::Daemon | Subject::Pledge | Subject::Repo(_) | Subject::Slot(_) => false,
            };
            let hold = plan.holds.iter().find(|hold| held(&hold.about));
            let sent = batch.sent.as_ref();
            BatchStatus {
                id: batch.id.0.clone(),
                kind: batch.kind.as_str().to_owned(),
                state: batch.state.as_str().to_owned(),
                sectors: batch.sectors.clone(),
                oldest,
                leaves: hold.and_then(|hold| match hold.until {
                    WakeUp::Time(at) => Some(at),
                    WakeUp::NextHead | WakeUp::At(_) | WakeUp::Funds | WakeUp::Operator => None,
                }),
                waits_for: hold.map(|hold| hold.reason.clone()),
                cids: sent.map(|s| s.replaced.iter().chain([&s.cid]).cloned().collect()).unwrap_or_default(),
            }
        };
        let mut statuses: Vec<BatchStatus> = live.map(status).collect();
        statuses.sort_by_key(|status| status.oldest);
        statuses
    }

    /// Landed, and not so deep that its sectors count with it.
    fn awaited(&self, batch: &Batch) -> bool {
        let waits = |number: &SectorNumber| {
            let record = self.book.records.get(number);
            record.is_some_and(|record| record.current_message() == Some(&batch.id) && !record.state.is_final())
        };
        matches!(batch.state, BatchState::Landed(_)) && batch.sectors.iter().any(waits)
    }

    fn counts(&self) -> Vec<(String, u64)> {
        let count = |state: &State| self.book.records.values().filter(|record| record.state == *state).count();
        let counted =
            State::ALL.iter().map(|state| (state.to_string(), u64::try_from(count(state)).unwrap_or(u64::MAX)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    fn repo_statuses(&self, observed: &Observed) -> Vec<RepoStatus> {
        let promised = crate::plan::promises(&self.desired, observed);
        self.manifest
            .repos
            .iter()
            .map(|(name, wish)| {
                let desk = self.repos.get(name);
                let (state, free) = match desk.map(|desk| &desk.seen) {
                    Some(RepoSeen::Open(room)) => ("ready".to_owned(), room.left()),
                    Some(RepoSeen::Unusable { why, .. }) => (why.clone(), Bytes::default()),
                    Some(RepoSeen::Closed) | None => ("to be opened".to_owned(), Bytes::default()),
                };
                let size = desk.map_or(Bytes::default(), |desk| desk.capacity);
                let roles = [(wish.seal, "seal"), (wish.store, "store")];
                RepoStatus {
                    name: name.clone(),
                    path: wish.path.display().to_string(),
                    state,
                    roles: roles.iter().filter(|(on, _)| *on).map(|(_, role)| (*role).to_owned()).collect(),
                    capacity: wish.max_use.map_or(size, |max| size.min(max)),
                    free,
                    reserved: promised.reserved(name),
                }
            })
            .collect()
    }

    fn alarms(&self, views: &[WorkerView], plan: &Plan) -> Vec<Alarm> {
        let quarantined = views.iter().filter(|view| view.state == "quarantined").map(|view| {
            let why = view.note.clone().unwrap_or_else(|| "it ended too often".to_owned());
            let remedy =
                format!("`seald logs {0}` shows its last words; mend the cause, then `seald resume {0}`", view.id);
            alarm(format!("slot {}", view.id), why, &remedy)
        });
        let failing =
            views.iter().filter(|view| matches!(view.state, "backoff" | "starting") && view.failures >= FAILURES_TOLD);
        let failing = failing.map(|view| {
            let why = view.note.clone().unwrap_or_else(|| "it ends at once".to_owned());
            let what = format!("{why} ({} times in a row)", view.failures);
            let remedy = format!("seald tries again by itself; `seald logs {}` shows what it said", view.id);
            alarm(format!("slot {}", view.id), what, &remedy)
        });
        let repos = self.repos.iter().filter_map(|(name, desk)| match &desk.seen {
            RepoSeen::Unusable { why, .. } => {
                let remedy = "seald goes on by itself once the repo is usable again";
                Some(alarm(format!("repo {name}"), why.clone(), remedy))
            }
            RepoSeen::Closed | RepoSeen::Open(_) => None,
        });
        let sectors = self.book.records.values().filter_map(|record| self.sector_alarm(record));
        let unreadable = self.unreadable.iter().map(|row| {
            let remedy = "restore the database from a backup; seald works around the row";
            alarm(row.what.clone(), row.error.clone(), remedy)
        });
        quarantined
            .chain(failing)
            .chain(repos)
            .chain(sectors)
            .chain(unreadable)
            .chain(wallet(plan))
            .chain(self.senders())
            .chain(self.suspected())
            .chain(self.barred())
            .chain(self.outgrown())
            .chain(too_large(plan))
            .chain(self.daemon_alarms())
            .collect()
    }

    /// Workers that gave wrong bytes for several sectors.
    fn barred(&self) -> impl Iterator<Item = Alarm> {
        let barred = self.machine.barred().into_iter().filter(|_| !self.machine.is_looking_first());
        barred.map(|(worker, why)| {
            let remedy = "mend or declare another GPU; the worker starts by itself once its GPU is well";
            alarm(format!("slot {worker}"), format!("it is not started: it waits for {why}"), remedy)
        })
    }

    /// Stages that a slot is not given any more, as it is too small for them.
    fn outgrown(&self) -> impl Iterator<Item = Alarm> {
        let bound = |slot: &SlotName| self.manifest.slots.get(slot).and_then(|slot| slot.memory);
        let outgrew = self.machine.memory().outgrew.iter();
        let still = outgrew
            .filter_map(move |((slot, stage), most)| Some((slot, stage, bound(slot).filter(|bound| bound <= most)?)));
        still.map(|(slot, stage, bound)| {
            let (stage, size) = (stage.as_str(), self.desired.sector_size);
            let what = format!("{stage} of {size} ran out of its {bound} of memory, and is not given to it any more");
            let remedy = format!("raise slot.{slot}.memory, then `seald reload`; other slots go on");
            alarm(format!("slot {slot}"), what, &remedy)
        })
    }

    /// Accounts that are to send messages and cannot.
    fn senders(&self) -> Vec<Alarm> {
        let view = self.sight.borrow().view.clone();
        let unfit = view.iter().filter_map(|view| view.accounts.as_ref()).flat_map(Accounts::unfit);
        let told = unfit.map(|unfit| {
            let remedy = match &unfit {
                Unfit::NoKey { .. } => {
                    "import the key into the node's wallet, `lotus wallet import`; until then nothing is sent from it"
                }
                Unfit::Unknown { .. } | Unfit::Stranger { .. } => {
                    "correct miner.senders, then `seald reload`; until then the others send, the worker last"
                }
            };
            alarm("miner".to_owned(), unfit.to_string(), remedy)
        });
        told.collect()
    }

    fn suspected(&self) -> impl Iterator<Item = Alarm> {
        let several = self.suspects.iter().filter(|(_, sectors)| sectors.len() > 1);
        several.map(|(worker, sectors)| {
            let numbers = sectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let what = format!("it gave wrong bytes for sectors {numbers}");
            alarm(format!("slot {worker}"), what, "test the memory, disk and GPU it works with")
        })
    }

    /// What concerns the daemon as a whole.
    fn daemon_alarms(&self) -> impl Iterator<Item = Alarm> {
        let store = self.store_trouble.as_ref().map(|why| {
            let remedy = "seald goes on by itself once it can be written: look at the disk of state.dir";
            alarm("database".to_owned(), why.clone(), remedy)
        });
        let miner = match &self.miner_seen {
            MinerSeen::Failed { why, .. } => {
                let remedy = "seald tries again by itself; correct the manifest if it names the cause";
                Some(alarm("miner".to_owned(), why.clone(), remedy))
            }
            MinerSeen::Known | MinerSeen::Unknown | MinerSeen::Preparing { .. } => None,
        };
        let params = match &self.params {
            ParamsSeen::Failed { why, .. } => {
                let remedy = "seald tries again by itself; see `seald params check`";
                Some(alarm("proof parameters".to_owned(), why.clone(), remedy))
            }
            ParamsSeen::Missing | ParamsSeen::Preparing | ParamsSeen::Ready => None,
        };
        let network = self.sight.borrow().view.as_ref().and_then(|view| view.network_version);
        let network = network.filter(|version| !NETWORKS.contains(version)).map(|version| {
            let what = format!("version {version} is not one that this seald knows: messages wait for a near deadline");
            alarm("network".to_owned(), what, "install a newer seald")
        });
        let listening = self.front.listening.borrow().clone().map(|why| {
            let remedy = "free the address, or change node.address; seald tries again by itself";
            alarm("node.address".to_owned(), why, remedy)
        });
        let tokens = self.front.tokens.clone().map(|why| {
            let remedy =
                "mend the file, then `systemctl restart seald`; until then only those without a token are answered";
            alarm("API".to_owned(), why, remedy)
        });
        let strangers = self.supervisor.strangers().map(|what| {
            let remedy = "seald works around it; once it has ended, or was killed, restart seald";
            alarm("workers".to_owned(), what.clone(), remedy)
        });
        [store, miner, params, network, listening, tokens]
            .into_iter()
            .flatten()
            .chain(self.manifest_alarms())
            .chain(strangers)
    }

    /// What an operator should know of the manifest that is, or is not, in force.
    fn manifest_alarms(&self) -> impl Iterator<Item = Alarm> {
        let file = self.in_force.source.path.display();
        let number = self.in_force.generation.number;
        let declined = self.in_force.declined.then(|| {
            let what = format!("{file} is not in force: it was rolled back to generation {number}");
            alarm("manifest".to_owned(), what, "edit it, then `seald reload`")
        });
        let refused = self.in_force.refused.as_ref().map(|(at, why)| {
            let at = words::date(*at);
            let what = format!("refused at {at}, generation {number} stays in force: {why}");
            alarm("manifest".to_owned(), what, "correct it, then `seald reload`")
        });
        [declined, refused].into_iter().flatten()
    }

    fn sector_alarm(&self, record: &Record) -> Option<Alarm> {
        let about = format!("sector {}", record.number);
        let why = record.failure.as_ref().map_or_else(String::new, |f| format!("{}: {}", f.doing, f.error));
        if record.state.is_final() && !matches!(record.state, State::Proving | State::Removed) {
            let remedy =
                format!("it is lost, its files are kept: `seald sectors remove {}` removes them", record.number);
            return Some(alarm(about, format!("{}: {why}", record.state), &remedy));
        }
        if matches!(record.state, State::Faulty | State::FaultReported) {
            let remedy = "check that its sealed file and cache are readable";
            return Some(alarm(about, "the chain lists it as faulty".to_owned(), remedy));
        }
        policy::parked(record, &self.desired.policy).map(|_| {
            let remedy =
                format!("mend the cause named here, then `seald sectors retry {}`; nothing is lost", record.number);
            let tried = words::count(u64::from(record.attempts), "attempt");
            alarm(about, format!("parked after {tried}: {why}"), &remedy)
        })
    }
}

fn endpoint(seen: EndpointSeen) -> EndpointStatus {
    let EndpointSeen { name, state, why, head, in_use } = seen;
    EndpointStatus { name, state, why, head, in_use }
}

/// Sectors that wait for funds, as one alarm.
fn wallet(plan: &Plan) -> Option<Alarm> {
    let short = plan.holds.iter().filter(|hold| hold.until == WakeUp::Funds);
    let waiting = short.clone().count();
    let first = short.map(|hold| hold.reason.as_str()).next()?;
    let what = format!("{} wait for {first}", words::count(u64::try_from(waiting).unwrap_or(u64::MAX), "sector"));
    Some(alarm("wallet".to_owned(), what, "send funds to the address that is named; seald goes on by itself"))
}

/// Sectors whose stage never fits into memory.
fn too_large(plan: &Plan) -> impl Iterator<Item = Alarm> {
    let never = plan.holds.iter().filter(|hold| hold.until == WakeUp::Operator && hold.reason.starts_with("memory: "));
    never.map(|hold| {
        let remedy = "seal on a machine with more memory, or give the slot a bound that it can keep to";
        alarm(hold.about.to_string(), format!("it waits for {}", hold.reason), remedy)
    })
}

fn alarm(about: String, what: String, remedy: &str) -> Alarm {
    Alarm { about, what, remedy: remedy.to_owned() }
}

/// Whether a sector in `state` needs `stage` no more.
const fn past(state: State, stage: Stage) -> bool {
    let needs = match state {
        State::Packing | State::PreCommit1 | State::SealFailed => 0,
        State::PreCommit2 => 1,
        State::PreCommitting
        | State::WaitSeed
        | State::Committing
        | State::PreCommitFailed
        | State::ComputeProofFailed => 2,
        State::CommitWait | State::CommitFailed | State::FinalizeSector => 3,
        State::Proving | State::Faulty | State::FaultReported => 4,
        State::FailedUnrecoverable
        | State::PackingFailed
        | State::FaultedFinal
        | State::Terminating
        | State::Removing
        | State::Removed => 0,
    };
    let order = match stage {
        Stage::PreCommit1 => 0,
        Stage::PreCommit2 => 1,
        Stage::Commit => 2,
        Stage::Finalize | Stage::Remove => 3,
    };
    needs > order
}

/// Milliseconds left: by how far it is once that says something, before by the usual duration.
fn left(task: &TaskView, usual: Option<u64>, now: UnixMillis) -> Option<u64> {
    let spent = now.ms_since(task.started);
    let done = u64::from(task.permille);
    if done < TELLING
        && let Some(usual) = usual.filter(|usual| *usual > spent)
    {
        return Some(usual.saturating_sub(spent));
    }
    spent.saturating_mul(1000_u64.saturating_sub(done)).checked_div(done)
}

/// Failures in a row after which an operator should know that a worker does not come up.
const FAILURES_TOLD: u32 = 3;

/// Thousandths from which on progress says more than experience.
const TELLING: u64 = 150;

/// What the last run wrote; `None` when there is nothing that can be read.
pub fn read(dir: &Path) -> Option<Snapshot> {
    let text = std::fs::read(dir.join(crate::cli::status::FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Replaces the status file. Its content matters for seconds only, so it is not synced to disk.
///
/// # Errors
/// The state folder cannot be written.
pub fn write(dir: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let text = serde_json::to_vec(snapshot)?;
    let next = dir.join("status.json.next");
    // for the daemon's user and group, as the folder is
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&next)?;
    file.write_all(&text)?;
    std::fs::rename(next, dir.join(crate::cli::status::FILE))
}
