//! The machine under the daemon: its processors, memory and GPUs, and who has what of them. Decided by `plan`.

use super::{
    errands::Done,
    workers::GPU,
    world::{Task, World},
};
use crate::{
    host,
    manifest::{self, Gpu, Manifest, Slot},
    plan::{
        Ask, Assignee, GpuSeen, MemorySeen, assign,
        cores::{Cpu, Load, Placement, Want, place},
    },
    proofs::Prover,
    sector::Stage,
    supervisor::WorkerSpec,
    units::{Bytes, SlotName, UnixMillis},
    worker::Life,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The machine is looked at this often.
const LOOK_MS: u64 = 30_000;

/// The machine, as far as it is known.
#[derive(Debug)]
pub struct Machine {
    /// All of its processors.
    cpus: Vec<Cpu>,
    /// Those that workers may use; `None` all.
    usable: Option<BTreeSet<u32>>,
    /// When memory and processors were looked at.
    measured: UnixMillis,
    memory: MemorySeen,
    /// `None` until they were looked at.
    gpus: Option<Vec<GpuSeen>>,
    /// When that was begun.
    looked: UnixMillis,
    looking: bool,
    given: BTreeMap<Assignee, Result<String, String>>,
    placed: BTreeMap<Assignee, Placement>,
    /// The manifest that was given out by; `None` when something changed since.
    settled: Option<Arc<Manifest>>,
}

impl Machine {
    /// This machine, on which stages took this much memory before.
    pub fn new(peaks: BTreeMap<Stage, Bytes>) -> Self {
        Self {
            cpus: host::topology::cpus(),
            usable: None,
            measured: UnixMillis::default(),
            memory: MemorySeen { total: None, peaks, ran_out: BTreeSet::new(), outgrew: BTreeMap::new() },
            gpus: None,
            looked: UnixMillis::default(),
            looking: false,
            given: BTreeMap::new(),
            placed: BTreeMap::new(),
            settled: None,
        }
    }

    /// What a worker runs with that an earlier daemon started: it keeps that while it may.
    pub fn remember(&mut self, who: &Assignee, spec: &WorkerSpec) {
        if let Some(uuid) = spec.env.get(GPU) {
            self.given.insert(who.clone(), Ok(uuid.clone()));
        }
        if spec.cpus.is_some() {
            self.placed.insert(who.clone(), Placement { cpus: spec.cpus.clone(), why: String::new() });
        }
    }

    /// What the planner knows of its memory.
    pub const fn memory(&self) -> &MemorySeen {
        &self.memory
    }

    /// Workers that it cannot run now, and why.
    pub fn barred(&self) -> BTreeMap<Assignee, String> {
        self.given.iter().filter_map(|(who, got)| Some((who.clone(), got.as_ref().err()?.clone()))).collect()
    }

    /// Nothing is known of its GPUs yet.
    pub const fn is_looking_first(&self) -> bool {
        self.gpus.is_none()
    }

    /// The GPU of a worker.
    pub fn gpu(&self, who: &Assignee) -> Option<&str> {
        self.given.get(who)?.as_deref().ok()
    }

    /// The only processors of a worker; `None` all.
    pub fn cpus(&self, who: &Assignee) -> Option<&BTreeSet<u32>> {
        self.placed.get(who)?.cpus.as_ref()
    }

    /// Where a worker runs, in words.
    pub fn words(&self, who: &Assignee) -> Option<String> {
        let placed = &self.placed.get(who)?.why;
        let gpu = self.gpu(who).map(|uuid| {
            let name = self.gpus.iter().flatten().find(|gpu| gpu.uuid == uuid).map(|gpu| format!(" ({})", gpu.name));
            format!("; {uuid}{}", name.unwrap_or_default())
        });
        Some(format!("{placed}{}", gpu.unwrap_or_default()))
    }

    /// A stage ended well in this slot.
    pub fn took(&mut self, slot: &SlotName, stage: Stage, peak: Option<Bytes>) {
        self.memory.ran_out.remove(&stage);
        self.memory.outgrew.remove(&(slot.clone(), stage));
        if let Some(peak) = peak {
            let known = self.memory.peaks.entry(stage).or_default();
            *known = (*known).max(peak);
        }
    }

    /// A stage ended for want of memory in a slot that is kept within `bound`: of its own, if that is less than there is.
    fn ran_out(&mut self, slot: &SlotName, stage: Stage, bound: Option<Bytes>) {
        let own = bound.filter(|bound| self.memory.total.is_none_or(|total| *bound < total));
        if let Some(bound) = own {
            let most = self.memory.outgrew.entry((slot.clone(), stage)).or_default();
            *most = (*most).max(bound);
        } else {
            self.memory.ran_out.insert(stage);
        }
    }

    /// What workers may take of it, which whoever manages the machine may change at any time.
    fn on_measured(&mut self, total: Option<Bytes>, usable: Option<BTreeSet<u32>>) {
        self.memory.total = total;
        if self.usable != usable {
            self.usable = usable;
            self.settled = None;
        }
    }

    /// GPUs were looked at.
    pub fn on_gpus(&mut self, seen: Option<Vec<GpuSeen>>) {
        self.looking = false;
        let Some(seen) = seen else { return };
        if self.gpus.as_ref() != Some(&seen) {
            for GpuSeen { uuid, name, memory, trouble, .. } in &seen {
                match trouble {
                    None => tracing::info!(uuid, name, %memory, "GPU found"),
                    Some(trouble) => tracing::error!(uuid, name, reason = trouble, "GPU unusable"),
                }
            }
            self.gpus = Some(seen);
            self.settled = None;
        }
    }

    /// Gives everything out anew.
    fn settle(&mut self, manifest: &Arc<Manifest>, prover: Prover) {
        let asks: Vec<Ask> = workers(manifest)
            .filter_map(|(who, slot)| Some(Ask { who, gpu: slot.gpu.clone().filter(|_| prover == Prover::Real)? }))
            .collect();
        let had: BTreeMap<_, _> =
            self.given.iter().filter_map(|(who, got)| Some((who.clone(), got.clone().ok()?))).collect();
        self.given = match &self.gpus {
            Some(seen) => assign(seen, &asks, &had),
            None => asks.into_iter().map(|ask| (ask.who.clone(), unseen(&ask, had.get(&ask.who)))).collect(),
        };
        let wants: Vec<Want> = workers(manifest)
            .map(|(who, slot)| Want {
                load: load(&slot.tasks),
                cpus: slot.cpus.as_ref().map(|cpus| cpus.as_set().clone()),
                near: self.node(&who),
                who,
            })
            .collect();
        let may = |cpu: &&Cpu| self.usable.as_ref().is_none_or(|ids| ids.contains(&cpu.id));
        let cpus: Vec<Cpu> = self.cpus.iter().filter(may).copied().collect();
        self.placed = place(&cpus, &wants, &self.placed);
        self.settled = Some(Arc::clone(manifest));
    }

    fn node(&self, who: &Assignee) -> Option<u32> {
        let uuid = self.gpu(who)?;
        self.gpus.iter().flatten().find(|gpu| gpu.uuid == uuid)?.node
    }
}

/// Before the GPUs were looked at, a worker has only what it had under an earlier daemon.
fn unseen(ask: &Ask, had: Option<&String>) -> Result<String, String> {
    let same = |uuid: &&String| match &ask.gpu {
        Gpu::Auto => true,
        Gpu::Uuid(named) => named.eq_ignore_ascii_case(uuid),
    };
    had.filter(same).cloned().ok_or_else(|| "its GPU, which is being looked at".to_owned())
}

fn workers(manifest: &Manifest) -> impl Iterator<Item = (Assignee, &Slot)> {
    let of = |(name, slot): (&SlotName, &'_ Slot)| {
        let name = name.clone();
        (0..slot.count).map(move |instance| Assignee { slot: name.clone(), instance })
    };
    manifest.slots.iter().flat_map(move |(name, slot)| of((name, slot)).map(move |who| (who, slot)))
}

/// One that also makes trees or proofs wants many cores for them.
fn load(tasks: &BTreeSet<manifest::Task>) -> Load {
    use manifest::Task;
    let wide = tasks.contains(&Task::PreCommit2) || tasks.contains(&Task::Commit);
    if tasks.contains(&Task::PreCommit1) && !wide { Load::Layers } else { Load::Anything }
}

impl World {
    /// A task ended for want of memory.
    pub fn ran_out(&mut self, task: u64) {
        let Some(Task { worker, stage, .. }) = self.tasks.get(&task) else { return };
        let bound = self.manifest.slots.get(&worker.slot).and_then(|slot| slot.memory);
        // a child is bounded in what it asks for, and fails by itself: the kernel kills it for others
        self.machine.ran_out(&worker.slot, *stage, bound.filter(|_| self.life == Life::Outlives));
    }

    /// Has the machine looked at when it is time, and gives out anew what changed.
    pub fn look_at_machine(&mut self, now: UnixMillis) {
        if now.ms_since(self.machine.measured) >= LOOK_MS {
            self.machine.measured = now;
            let workers = match self.life {
                Life::Outlives => host::group::Workers::Units,
                Life::WithDaemon => host::group::Workers::Children,
            };
            self.machine.on_measured(host::memory::total(workers), host::topology::usable(workers));
        }
        let wanted = self.prover == Prover::Real && self.manifest.slots.values().any(|slot| slot.gpu.is_some());
        let due = now.ms_since(self.machine.looked) >= LOOK_MS;
        if wanted && due && !self.machine.looking {
            (self.machine.looking, self.machine.looked) = (true, now);
            self.errand(Done::Gpus(None), async {
                Done::Gpus(tokio::task::spawn_blocking(host::gpu::look).await.ok())
            });
        }
        if !self.machine.settled.as_ref().is_some_and(|by| Arc::ptr_eq(by, &self.manifest)) {
            let manifest = Arc::clone(&self.manifest);
            self.machine.settle(&manifest, self.prover);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Overrides;
    use std::path::Path;

    fn example() -> Arc<Manifest> {
        let overrides = Overrides { cwd: "/box".into(), ..Overrides::default() };
        Arc::new(manifest::load(Path::new("examples/configs/gpu-nvme.toml"), &overrides).unwrap().manifest)
    }

    fn gpu(n: u32, trouble: Option<&str>) -> GpuSeen {
        let (uuid, name) = (format!("GPU-00000000-0000-0000-0000-{n:012}"), "made up".to_owned());
        GpuSeen { uuid, name, memory: Bytes::new(24 << 30), node: None, trouble: trouble.map(str::to_owned) }
    }

    fn who(slot: &str) -> Assignee {
        Assignee { slot: slot.parse().unwrap(), instance: 0 }
    }

    #[test]
    fn a_worker_runs_only_while_its_gpu_is_well_and_others_do_not_mind() {
        let (manifest, mut machine) = (example(), Machine::new(BTreeMap::new()));
        machine.settle(&manifest, Prover::Real);
        assert_eq!(machine.barred()[&who("gpu0")], "its GPU, which is being looked at");
        machine.on_gpus(Some(vec![gpu(0, None), gpu(1, None)]));
        machine.settle(&manifest, Prover::Real);
        assert_eq!(machine.barred(), BTreeMap::new());
        assert_eq!(machine.gpu(&who("gpu1")), Some("GPU-00000000-0000-0000-0000-000000000001"));
        assert!(machine.words(&who("gpu1")).unwrap().ends_with("000000000001 (made up)"));
        machine.on_gpus(Some(vec![gpu(0, Some("GPU is lost")), gpu(1, None)]));
        machine.settle(&manifest, Prover::Real);
        assert_eq!(machine.barred().into_keys().collect::<Vec<_>>(), [who("gpu0")]);
        assert!(machine.barred()[&who("gpu0")].ends_with("to be well again: GPU is lost"));
        machine.settle(&manifest, Prover::Simulated);
        assert_eq!(machine.barred(), BTreeMap::new(), "simulated proofs need none");
    }

    #[test]
    fn a_worker_that_was_taken_over_keeps_its_gpu_and_is_not_barred_until_they_are_looked_at() {
        let (manifest, mut machine) = (example(), Machine::new(BTreeMap::new()));
        let auto = manifest.slots.iter().find(|(_, slot)| slot.gpu == Some(Gpu::Auto)).map(|(name, _)| name.clone());
        let manifest = match auto {
            Some(_) => manifest,
            None => {
                let mut all_auto = (*manifest).clone();
                all_auto
                    .slots
                    .values_mut()
                    .filter(|slot| slot.gpu.is_some())
                    .for_each(|slot| slot.gpu = Some(Gpu::Auto));
                Arc::new(all_auto)
            }
        };
        let second = gpu(1, None).uuid;
        let spec = WorkerSpec {
            env: BTreeMap::from([(GPU.to_owned(), second.clone())]),
            cpus: None,
            memory: None,
            writable: Vec::new(),
            network: false,
            prover: Prover::Real,
            life: Life::Outlives,
            generation: 1,
        };
        machine.remember(&who("gpu0"), &spec);
        machine.settle(&manifest, Prover::Real);
        assert_eq!(machine.barred().into_keys().collect::<Vec<_>>(), [who("gpu1")]);
        machine.on_gpus(Some(vec![gpu(0, None), gpu(1, None)]));
        machine.settle(&manifest, Prover::Real);
        assert_eq!((machine.gpu(&who("gpu0")), machine.barred().len()), (Some(second.as_str()), 0));
        assert_ne!(machine.gpu(&who("gpu1")), Some(second.as_str()));
    }

    #[test]
    fn what_a_stage_took_at_most_is_kept_and_a_good_end_forgets_that_memory_ran_out() {
        let (mut machine, gpu) = (Machine::new(BTreeMap::from([(Stage::Commit, Bytes::new(7))])), who("gpu0").slot);
        machine.ran_out(&gpu, Stage::Commit, None);
        assert!(machine.memory().ran_out.contains(&Stage::Commit));
        machine.took(&gpu, Stage::Commit, Some(Bytes::new(5)));
        assert_eq!((machine.memory().peaks[&Stage::Commit], machine.memory().ran_out.len()), (Bytes::new(7), 0));
        machine.took(&gpu, Stage::Commit, Some(Bytes::new(9)));
        assert_eq!(machine.memory().peaks[&Stage::Commit], Bytes::new(9));
    }

    /// As after `AllowedCPUs=` on the slice of the workers, which may come while they run.
    #[test]
    fn processors_that_workers_may_not_use_are_given_to_none() {
        let (manifest, mut machine) = (example(), Machine::new(BTreeMap::new()));
        machine.cpus = (0..32).map(|id| Cpu { id, core: id, cache: 0, node: 0 }).collect();
        let given = |machine: &Machine| -> BTreeSet<u32> {
            let placed = machine.placed.values();
            placed.flat_map(|placement| placement.cpus.clone().unwrap_or_else(|| (0..32).collect())).collect()
        };
        machine.settle(&manifest, Prover::Simulated);
        assert!(given(&machine).iter().any(|cpu| *cpu >= 16));
        machine.on_measured(Some(Bytes::new(7)), Some((0..16).collect()));
        assert!(machine.settled.is_none() && machine.memory().total == Some(Bytes::new(7)));
        machine.settle(&manifest, Prover::Simulated);
        assert!(given(&machine).iter().all(|cpu| *cpu < 16), "{:?}", machine.placed);
        machine.on_measured(Some(Bytes::new(9)), Some((0..16).collect()));
        assert!(machine.settled.is_some() && machine.memory().total == Some(Bytes::new(9)), "nothing to give out anew");
    }

    /// A slot that is too small must not have the whole machine drained for it.
    #[test]
    fn a_stage_that_outgrows_its_slot_is_remembered_for_that_slot_alone() {
        let (mut machine, gpu) = (Machine::new(BTreeMap::new()), who("gpu0").slot);
        machine.memory.total = Some(Bytes::new(100));
        for bound in [40, 60, 50] {
            machine.ran_out(&gpu, Stage::Commit, Some(Bytes::new(bound)));
        }
        let memory = machine.memory();
        let most = BTreeMap::from([((gpu.clone(), Stage::Commit), Bytes::new(60))]);
        assert_eq!((&memory.outgrew, memory.ran_out.len()), (&most, 0));
        machine.took(&gpu, Stage::Commit, None);
        assert!(machine.memory().outgrew.is_empty(), "it fits after all");
        machine.ran_out(&gpu, Stage::Commit, Some(Bytes::new(100)));
        assert!(machine.memory().outgrew.is_empty() && machine.memory().ran_out.contains(&Stage::Commit));
    }
}
