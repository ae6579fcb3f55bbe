//! What worker processes and the devnet are started with: arguments and whole environments, made from the manifest.

use super::world::World;
use crate::{
    manifest::{Launcher, Manifest},
    plan::{Assignee, ParamsSeen, RepoSeen},
    proofs::{Prover, simulated},
    supervisor::{Places, WorkerId, WorkerSpec},
    units::{RepoName, SlotName},
    worker::Life,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest time to fetch or generate parameters: about 200 GB over a slow line.
pub const PARAMS_DEADLINE: Duration = Duration::from_secs(72 * 60 * 60);

/// How long a fetch usually takes from one report of progress to the next, generously: a thousandth of 200 GB over a
/// slow line, which takes hardly any processor time.
pub const PARAMS_USUAL: Duration = Duration::from_secs(2 * 60 * 60);

/// Whether workers outlive this daemon.
pub fn life(launcher: Launcher, places: &Places) -> Life {
    match launcher {
        Launcher::Systemd => Life::Outlives,
        Launcher::Auto if places.can_start().is_ok() => Life::Outlives,
        Launcher::Auto | Launcher::Direct => Life::WithDaemon,
    }
}

/// The word of the manifest for that.
pub const fn word(life: Life) -> &'static str {
    match life {
        Life::Outlives => Launcher::Systemd.word(),
        Life::WithDaemon => Launcher::Direct.word(),
    }
}

/// This very program, even after an upgrade has replaced its file.
pub fn program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Arguments of the local chain that belongs to this daemon.
pub fn devnet_args(dir: &Path, prover: Prover, epoch_ms: Option<u64>) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["devnet".into(), "--attached".into(), "--listen".into(), "127.0.0.1:0".into()];
    args.extend(["--dir".into(), dir.into()]);
    if let Some(ms) = epoch_ms {
        args.extend(["--epoch-ms".into(), ms.to_string().into()]);
    }
    if prover == Prover::Simulated {
        args.push("--simulate-proofs".into());
    }
    args
}

/// The variable of a worker's environment that has the UUID of its GPU.
pub const GPU: &str = "CUDA_VISIBLE_DEVICES";

/// Passed on from the daemon when set; everything else a child needs is made here.
const PASSED_ON: &[&str] = &["PATH", "HOME", "TMPDIR", "LANG", "RUST_BACKTRACE", simulated::STAGE_MS];

/// The environment every child has.
pub fn base_env(manifest: &Manifest) -> BTreeMap<String, String> {
    let passed = PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let mut env: BTreeMap<_, _> = passed.collect();
    env.insert("FIL_PROOFS_PARAMETER_CACHE".to_owned(), manifest.params.dir.display().to_string());
    // the proof libraries tell every step at `info`
    env.insert("RUST_LOG".to_owned(), "warn".to_owned());
    env
}

/// What the proof libraries are told of a worker's GPU and of how many threads it has.
fn slot_env(manifest: &Manifest, gpu: Option<&str>, cpus: Option<&BTreeSet<u32>>) -> BTreeMap<String, String> {
    let mut env = base_env(manifest);
    match gpu {
        None => drop(env.insert("BELLMAN_NO_GPU".to_owned(), "1".to_owned())),
        Some(uuid) => {
            env.insert(GPU.to_owned(), uuid.to_owned());
            // the libraries lock a GPU by a file there: workers of different GPUs must not wait for each other
            let own = manifest.state.dir.join("tmp").join(uuid);
            env.insert("CUDA_CACHE_PATH".to_owned(), own.join("kernels").display().to_string());
            env.insert("TMPDIR".to_owned(), own.display().to_string());
        }
    }
    if let Some(cpus) = cpus {
        env.insert("RAYON_NUM_THREADS".to_owned(), cpus.len().to_string());
    }
    env
}

/// The worker that makes parameters available; no slot of a manifest has its name, which starts with an underscore.
pub fn params_worker() -> WorkerId {
    let name = "_params".to_owned();
    WorkerId { slot: SlotName::try_from(name).expect("a name of small letters and an underscore"), instance: 0 }
}

impl World {
    /// Every worker process that shall run now. Proof parameters are made by a child: it needs the network, which the
    /// units of workers do not have.
    pub fn wanted_workers(&self) -> BTreeMap<WorkerId, WorkerSpec> {
        let mut wanted: BTreeMap<_, _> = self.started.iter().filter_map(|who| self.spec(who)).collect();
        if self.params == ParamsSeen::Preparing {
            let spec = WorkerSpec {
                env: slot_env(&self.manifest, None, None),
                cpus: None,
                memory: None,
                writable: vec![self.manifest.params.dir.clone()],
                network: true,
                prover: self.prover,
                life: Life::WithDaemon,
                generation: self.in_force.generation.number,
            };
            wanted.insert(params_worker(), spec);
        }
        wanted
    }

    fn spec(&self, who: &Assignee) -> Option<(WorkerId, WorkerSpec)> {
        let slot = self.manifest.slots.get(&who.slot)?;
        let cpus = self.machine.cpus(who);
        let spec = WorkerSpec {
            env: slot_env(&self.manifest, self.machine.gpu(who), cpus),
            cpus: cpus.cloned(),
            memory: slot.memory,
            writable: self.writable(),
            network: false,
            prover: self.prover,
            life: self.life,
            generation: self.in_force.generation.number,
        };
        Some((WorkerId { slot: who.slot.clone(), instance: who.instance }, spec))
    }

    /// The folders of all repos that can be used. The kernel keeps a process to the folders that were there when it
    /// started: workers are started anew when a repo was mounted again.
    fn writable(&self) -> Vec<PathBuf> {
        let usable =
            |name: &RepoName| !matches!(self.repos.get(name).map(|desk| &desk.seen), Some(RepoSeen::Unusable { .. }));
        let repos = self.manifest.repos.iter().filter(|(name, repo)| (repo.seal || repo.store) && usable(name));
        repos.map(|(_, repo)| repo.path.clone()).chain([self.manifest.params.dir.clone()]).collect()
    }
}
