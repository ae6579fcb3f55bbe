//! What the facts about this host mean for a manifest. Pure: looks at nothing itself.
//!
//! What can never work is a problem. What only does not work at this moment, such as a disk that is full, is a
//! warning: a service that refused to start for it would stop proving too.

use super::seen::{Access, Host, SecretFile, presealed, token_files};
use crate::{
    control,
    manifest::{Gpu, Key, Launcher, Manifest, Problem, Setting, Task},
    repo::{finalized_size, sealing_peak},
    units::{Bytes, SectorSize},
};
use std::{collections::BTreeMap, path::Path};

/// What is wrong with the host, or with the manifest for this host.
#[derive(Debug, Default)]
pub struct Findings {
    /// What cannot work.
    pub problems: Vec<Problem>,
    /// What does not work now, or not well.
    pub warnings: Vec<Problem>,
}

/// A finding about the value of a key.
pub fn about(settings: &BTreeMap<String, Setting>, key: &str, what: impl Into<String>) -> Problem {
    let setting = settings.get(key);
    Problem {
        at: setting.map(|setting| setting.origin.clone()),
        key: key.to_owned(),
        value: setting.map(|setting| setting.value.clone()),
        what: what.into(),
        accepted: None,
        suggestion: None,
    }
}

/// Compares the manifest with the facts. Pure.
pub fn judge(manifest: &Manifest, settings: &BTreeMap<String, Setting>, host: &Host) -> Findings {
    let mut judge = Judge { manifest, settings, host, findings: Findings::default() };
    judge.folders();
    judge.repos();
    judge.secrets();
    judge.cpus();
    judge.memory();
    judge.gpus();
    judge.open_files();
    judge.locked();
    judge.launcher();
    judge.findings
}

struct Judge<'a> {
    manifest: &'a Manifest,
    settings: &'a BTreeMap<String, Setting>,
    host: &'a Host,
    findings: Findings,
}

impl Judge<'_> {
    fn problem(&mut self, key: &str, what: impl Into<String>, accepted: impl Into<String>) {
        let problem = about(self.settings, key, what).accepted(accepted);
        self.findings.problems.push(problem);
    }

    fn warning(&mut self, key: &str, what: impl Into<String>) {
        let warning = about(self.settings, key, what);
        self.findings.warnings.push(warning);
    }

    fn folders(&mut self) {
        let Manifest { state, params, .. } = self.manifest;
        let database = state.url.sqlite_path().and_then(Path::parent).filter(|folder| *folder != state.dir);
        let own = [("state.dir", Some(state.dir.as_path())), ("state.url", database)];
        for (key, path) in own {
            match path.and_then(|path| self.host.folders.get(path)).map(|folder| &folder.access) {
                Some(Access::Unusable(why)) => self.problem(key, format!("cannot be used: {why}"), WRITABLE),
                Some(Access::ReadOnly) => self.problem(key, "cannot be written to", WRITABLE),
                Some(Access::Writable | Access::Creatable) | None => {}
            }
        }
        if let Err(path) = control::socket(&state.dir) {
            let socket = path.display();
            let longest = control::LONGEST_PATH;
            self.problem(
                "state.dir",
                format!("the control socket {socket} cannot be made in it"),
                format!("a path that leaves the socket's one at most {longest} bytes"),
            );
        }
        // parameters may be kept by somebody else: reading is enough
        if let Some(Access::Unusable(why)) = self.host.folders.get(&params.dir).map(|folder| &folder.access) {
            self.problem("params.dir", format!("cannot be used: {why}"), "a folder to read, or one that can be made");
        }
        for path in presealed(self.manifest) {
            let access = self.host.folders.get(path).map(|folder| &folder.access);
            if matches!(access, Some(Access::Creatable | Access::Unusable(_))) {
                let what = format!("names {}, which cannot be read", path.display());
                self.problem("miner.genesis.presealed", what, "folders of sealed sectors");
            }
        }
    }

    fn repos(&mut self) {
        let size = self.manifest.miner.sector_size;
        for (name, repo) in &self.manifest.repos {
            let key = |part: &str| format!("repo.{name}.{part}");
            let Some(folder) = self.host.folders.get(&repo.path) else { continue };
            if repo.require_mount && !folder.mounted {
                let accepted = format!("a folder on a mount other than /, or {} = false", key("require_mount"));
                self.problem(&key("path"), "has nothing mounted on it or above it", accepted);
                continue;
            }
            let written = repo.seal || repo.store;
            match &folder.access {
                Access::Unusable(why) => self.problem(&key("path"), format!("cannot be used: {why}"), WRITABLE),
                Access::ReadOnly if written => self.problem(&key("path"), "cannot be written to", WRITABLE),
                Access::Creatable if !written => self.problem(&key("path"), "is not there", "a folder with sectors"),
                Access::Writable | Access::ReadOnly | Access::Creatable => {}
            }
            if !written || self.manifest.pledge.sectors == 0 {
                continue;
            }
            let (need, purpose) =
                if repo.seal { (sealing_peak(size), "seal") } else { (finalized_size(size), "store") };
            let what = |room: Bytes| format!("has {room} for seald; to {purpose} one sector takes {need}");
            let room = folder.capacity.less(repo.reserve);
            let most = repo.max_use.unwrap_or(room);
            if most < need {
                let part = if repo.max_use.is_some() { "max_use" } else { "path" };
                self.problem(&key(part), what(most), format!("{need} or more"));
            } else if folder.free.less(repo.reserve) < need {
                let room = folder.free.less(repo.reserve);
                self.warning(&key("path"), format!("{} now; nothing new fits until space is freed", what(room)));
            }
        }
    }

    fn secrets(&mut self) {
        for (key, path) in token_files(self.manifest) {
            let accepted = "a file that seald can read and others cannot: chmod 640";
            let at = "chain.endpoints";
            let mut note = |what: String| {
                let mut problem = about(self.settings, at, what).accepted(accepted);
                problem.key.clone_from(&key);
                problem.value = Some(format!("{:?}", path.display().to_string()));
                self.findings.problems.push(problem);
            };
            match self.host.secrets.get(path) {
                Some(SecretFile::Unreadable(why)) => note(format!("cannot be read: {why}")),
                Some(SecretFile::Readable(mode)) if mode & 0o007 != 0 => note("is open to every user".to_owned()),
                Some(SecretFile::Readable(_)) | None => {}
            }
        }
    }

    fn cpus(&mut self) {
        let Some(online) = &self.host.cpus else { return };
        for (name, slot) in &self.manifest.slots {
            let Some(cpus) = &slot.cpus else { continue };
            let absent: Vec<String> = cpus.as_set().difference(online.as_set()).map(u32::to_string).collect();
            if !absent.is_empty() {
                let what = format!("names CPUs that are not there: {}", absent.join(" "));
                self.problem(&format!("slot.{name}.cpus"), what, format!("of {online}"));
            }
        }
    }

    fn memory(&mut self) {
        let Some(total) = self.host.memory else { return };
        let slots = self.manifest.slots.iter();
        let asks = slots.filter_map(|(name, slot)| Some((name, slot.memory?.checked_mul(slot.count.into())?)));
        let asks: Vec<_> = asks.collect();
        let sum = asks.iter().fold(Bytes::default(), |sum, (_, ask)| sum.checked_add(*ask).unwrap_or(sum));
        let Some((largest, _)) = asks.iter().max_by_key(|(_, ask)| *ask) else { return };
        if sum > total {
            let what = format!("and the other slots together may take {sum} of memory; this machine has {total}");
            self.problem(&format!("slot.{largest}.memory"), what, format!("{total} in all, counts included"));
        }
    }

    fn gpus(&mut self) {
        let mut free: Vec<&String> = self.host.gpus.iter().collect();
        let has = if free.is_empty() { "no NVIDIA GPU on this machine".to_owned() } else { self.host.gpus.join(", ") };
        let mut auto = Vec::new();
        for (name, slot) in &self.manifest.slots {
            let key = format!("slot.{name}.gpu");
            if slot.gpu.is_some() && !self.host.computes_on_gpus {
                self.warning(&key, "is bound and watched, and not used: this seald is built without cuda and opencl");
            }
            match &slot.gpu {
                Some(Gpu::Uuid(uuid)) if uuid.starts_with("GPU-") => {
                    if free.iter().any(|gpu| gpu.eq_ignore_ascii_case(uuid)) {
                        free.retain(|gpu| !gpu.eq_ignore_ascii_case(uuid));
                    } else {
                        self.problem(&key, "is not a GPU of this machine", has.clone());
                    }
                }
                // a part of a GPU; the driver lists whole ones only
                Some(Gpu::Uuid(_)) | None => {}
                Some(Gpu::Auto) => auto.push((key, usize::try_from(slot.count).unwrap_or(usize::MAX))),
            }
        }
        let mut left = free.len();
        for (key, count) in auto {
            if count > left {
                let what = format!("asks for {count} GPUs; {left} are free for it");
                self.problem(&key, what, has.clone());
            }
            left = left.saturating_sub(count);
        }
    }

    fn launcher(&mut self) {
        if let (Launcher::Systemd, Some(why)) = (self.manifest.workers.launcher, &self.host.no_units) {
            let what = format!("has no socket to start workers at: {why}");
            self.problem("workers.launcher", what, "direct or auto, or `systemctl start seald-worker.socket`");
        }
    }

    fn open_files(&mut self) {
        // a worker has up to 30 files of a 32 GiB sector open, and the daemon its sockets and database
        const DAEMON: u64 = 256;
        const WORKER: u64 = 64;
        let Some(limit) = self.host.open_files else { return };
        let workers: u64 = self.manifest.slots.values().map(|slot| u64::from(slot.count)).sum();
        let need = workers.saturating_mul(WORKER).saturating_add(DAEMON);
        if limit < need {
            let what = format!("a process may open {limit} files here; {need} are enough for the declared slots");
            let fix = format!("LimitNOFILE={need} in the unit, or ulimit -n {need}");
            self.findings.warnings.push(Problem::new(None, &Key::default(), what).accepted(fix));
        }
    }

    /// Layers that cannot be locked may be swapped out, and then take days. A unit of a worker has no such limit.
    fn locked(&mut self) {
        let size = self.manifest.miner.sector_size;
        let large = matches!(size, SectorSize::GiB32 | SectorSize::GiB64);
        let layers = self.manifest.slots.values().any(|slot| slot.tasks.contains(&Task::PreCommit1));
        let children = self.manifest.workers.launcher == Launcher::Direct || self.host.no_units.is_some();
        let (Some(limit), Some(need)) = (self.host.locked, size.bytes().checked_mul(2)) else { return };
        if large && layers && children && Bytes::new(limit) < need {
            let limit = Bytes::new(limit);
            let what = format!("a process may lock {limit} of memory here; the layers of one {size} sector are {need}");
            let problem = Problem::new(None, &Key::default(), what);
            self.findings.warnings.push(problem.accepted("LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited"));
        }
    }
}

const WRITABLE: &str = "a folder that seald can write to, or one that it can make";
