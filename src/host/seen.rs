//! What this host has of what the manifest names: facts only. `judge` says what they mean.

use super::{gpu, limits, memory};
use crate::{
    manifest::{ChainSource, CpuSet, Identity, Key, Manifest},
    repo::Mounts,
    supervisor::Places,
    units::Bytes,
};
use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A folder that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// How it can be used.
    pub access: Access,
    /// Whether it is on a mount, as a repo with `require_mount` asks when it is opened.
    pub mounted: bool,
    /// Size of the file system it is or would be on.
    pub capacity: Bytes,
    /// Free space there.
    pub free: Bytes,
}

/// How a folder can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It is there, for reading and writing.
    Writable,
    /// It is there, for reading.
    ReadOnly,
    /// It is not there and can be made.
    Creatable,
    /// It cannot be used: why.
    Unusable(String),
}

/// A file that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFile {
    /// It can be read; its permission bits.
    Readable(u32),
    /// It cannot: why.
    Unreadable(String),
}

/// Facts about this host. What could not be found out is absent and is not judged.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Folders by path.
    pub folders: BTreeMap<PathBuf, Folder>,
    /// Token files by path.
    pub secrets: BTreeMap<PathBuf, SecretFile>,
    /// CPUs that run.
    pub cpus: Option<CpuSet>,
    /// All memory.
    pub memory: Option<Bytes>,
    /// UUIDs of the GPUs, as the driver lists them.
    pub gpus: Vec<String>,
    /// Whether this program computes on a GPU.
    pub computes_on_gpus: bool,
    /// Files a process may open, once it raised its limit.
    pub open_files: Option<u64>,
    /// Bytes a process may lock in memory; `u64::MAX` is any number.
    pub locked: Option<u64>,
    /// Why workers cannot be started in units of their own, when they cannot.
    pub no_units: Option<String>,
}

impl Host {
    /// Looks at everything that this manifest needs.
    pub fn look(manifest: &Manifest) -> Self {
        let mounts = Mounts::read().unwrap_or_default();
        let repos = manifest.repos.values().map(|repo| repo.path.clone());
        let own = [manifest.state.dir.clone(), manifest.params.dir.clone()];
        let database = manifest.state.url.sqlite_path().and_then(Path::parent).map(Path::to_owned);
        let folders = repos.chain(own).chain(database).chain(presealed(manifest).iter().cloned());
        let cpus = fs::read_to_string("/sys/devices/system/cpu/online").ok();
        Self {
            folders: folders.map(|path| (path.clone(), look_at_folder(&path, &mounts))).collect(),
            secrets: token_files(manifest).map(|(_, path)| (path.to_owned(), look_at_secret(path))).collect(),
            cpus: cpus.and_then(|text| text.trim().parse().ok()),
            memory: fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory::of_meminfo(&text)),
            gpus: listed_gpus(manifest),
            computes_on_gpus: cfg!(any(feature = "cuda", feature = "opencl")),
            no_units: Places::of(&manifest.state.dir).can_start().err(),
            open_files: limits::hard().open_files,
            locked: limits::hard().locked,
        }
    }
}

/// By the management library, where a slot names a GPU; without it by the driver's own list.
fn listed_gpus(manifest: &Manifest) -> Vec<String> {
    let named = manifest.slots.values().any(|slot| slot.gpu.is_some());
    let known: Vec<String> = if named { gpu::look() } else { Vec::new() }.into_iter().map(|gpu| gpu.uuid).collect();
    if known.is_empty() { gpus(Path::new("/proc/driver/nvidia/gpus")) } else { known }
}

/// Folders of sectors that were sealed for a genesis block.
pub fn presealed(manifest: &Manifest) -> &[PathBuf] {
    match &manifest.miner.identity {
        Identity::Genesis { presealed, .. } => presealed,
        Identity::Attach(_) | Identity::Create { .. } => &[],
    }
}

/// Token files with their keys.
pub fn token_files(manifest: &Manifest) -> impl Iterator<Item = (String, &Path)> {
    let endpoints = match &manifest.chain.source {
        ChainSource::Endpoints(endpoints) => endpoints.as_slice(),
        ChainSource::Devnet => &[],
    };
    let key = |index| Key::of("chain.endpoints").item(index).name("token_file").to_string();
    endpoints.iter().enumerate().filter_map(move |(index, at)| Some((key(index), at.token_file.as_deref()?)))
}

fn look_at_folder(path: &Path, mounts: &Mounts) -> Folder {
    let there = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let writable = access(there, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    let readable = access(there, AccessFlags::R_OK | AccessFlags::X_OK).is_ok();
    let access = if !there.is_dir() {
        Access::Unusable(format!("{} is not a folder", there.display()))
    } else if there != path {
        let why = format!("it is not there, and {} cannot be written to", there.display());
        if writable { Access::Creatable } else { Access::Unusable(why) }
    } else if writable && readable {
        Access::Writable
    } else if readable {
        Access::ReadOnly
    } else {
        Access::Unusable("permission denied".to_owned())
    };
    let (capacity, free) = statvfs(there).map_or((u64::MAX, u64::MAX), |of| {
        let bytes = |blocks: u64| blocks.saturating_mul(of.fragment_size());
        (bytes(of.blocks()), bytes(of.blocks_available()))
    });
    Folder { access, mounted: mounts.holding(path).is_some(), capacity: Bytes::new(capacity), free: Bytes::new(free) }
}

fn look_at_secret(path: &Path) -> SecretFile {
    match fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) => SecretFile::Readable(metadata.permissions().mode()),
        Err(error) => SecretFile::Unreadable(error.to_string()),
    }
}

/// The UUIDs that the NVIDIA driver lists below this folder; none without the driver.
pub fn gpus(folder: &Path) -> Vec<String> {
    let cards = fs::read_dir(folder).into_iter().flatten().flatten();
    let texts = cards.filter_map(|card| fs::read_to_string(card.path().join("information")).ok());
    let uuid = |text: String| Some(text.lines().find_map(|line| line.strip_prefix("GPU UUID:"))?.trim().to_owned());
    let mut uuids: Vec<String> = texts.filter_map(uuid).collect();
    uuids.sort();
    uuids
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the rule by which it would be opened: below a mount, and through a link.
    #[test]
    fn a_folder_below_a_mount_is_mounted() {
        let mounts = Mounts::read().unwrap();
        assert!(look_at_folder(Path::new("/proc/self"), &mounts).mounted);
        assert!(!look_at_folder(Path::new("/nowhere/at/all"), &mounts).mounted);
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/proc/self", &link).unwrap();
        assert!(look_at_folder(&link, &mounts).mounted);
    }
}
