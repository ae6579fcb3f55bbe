//! How much memory workers may take together: all of it, or what a control group above them allows.

use crate::units::Bytes;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The group of all workers that systemd starts.
const WORKERS: &str = "seald.slice/seald-workers.slice";

/// The least of what the machine has, what the groups of this process allow, and what that of the workers allows.
pub fn total() -> Option<Bytes> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_meminfo(&text));
    let own = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| own_group(&text));
    let groups = Path::new("/sys/fs/cgroup");
    let bounds = own.into_iter().chain([PathBuf::from(WORKERS)]).filter_map(|group| bound(groups, &group));
    machine.into_iter().chain(bounds).min()
}

/// `MemTotal` of a `meminfo` file.
pub fn of_meminfo(text: &str) -> Option<Bytes> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Bytes::new(kib).checked_mul(1024)
}

/// The group that a `/proc/PID/cgroup` file names in the unified hierarchy, without its leading slash.
pub fn own_group(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from(path))
}

/// The least `memory.max` of a group and of those above it.
fn bound(root: &Path, group: &Path) -> Option<Bytes> {
    let of = |group: &Path| fs::read_to_string(root.join(group).join("memory.max")).ok()?.trim().parse::<u64>().ok();
    group.ancestors().filter_map(of).min().map(Bytes::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_group_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let group = Path::new("a.slice/b.service");
        fs::create_dir_all(root.path().join(group)).unwrap();
        assert_eq!(bound(root.path(), group), None);
        fs::write(root.path().join("a.slice/b.service/memory.max"), "max\n").unwrap();
        assert_eq!(bound(root.path(), group), None);
        fs::write(root.path().join("a.slice/memory.max"), "4096\n").unwrap();
        assert_eq!(bound(root.path(), group), Some(Bytes::new(4096)));
        fs::write(root.path().join("a.slice/b.service/memory.max"), "8192\n").unwrap();
        assert_eq!(bound(root.path(), group), Some(Bytes::new(4096)));
    }

    #[test]
    fn a_group_is_named_by_the_unified_hierarchy_alone() {
        let text = "4:memory:/old\n0::/system.slice/seald.service\n";
        assert_eq!(own_group(text), Some(PathBuf::from("system.slice/seald.service")));
        assert_eq!(own_group("4:memory:/old\n"), None);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(total().is_some_and(|bytes| bytes > Bytes::new(1 << 20)));
    }
}
