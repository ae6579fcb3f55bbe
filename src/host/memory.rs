//! How much memory workers may take together: all of it, or what a control group above them allows.

use super::group::{self, Workers};
use crate::units::Bytes;
use std::{fs, path::Path};

/// The least of what the machine has and what the groups of these workers allow.
pub fn total(workers: Workers) -> Option<Bytes> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_meminfo(&text));
    let bound = workers.group().and_then(|group| bound(Path::new(group::ROOT), &group));
    machine.into_iter().chain(bound).min()
}

/// `MemTotal` of a `meminfo` file.
pub fn of_meminfo(text: &str) -> Option<Bytes> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Bytes::new(kib).checked_mul(1024)
}

/// The least `memory.max` of a group and of those above it.
fn bound(root: &Path, group: &Path) -> Option<Bytes> {
    let bounds = group::say(root, group, "memory.max");
    bounds.iter().filter_map(|text| text.trim().parse().ok()).min().map(Bytes::new)
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
    fn this_machine_has_memory() {
        for workers in [Workers::Units, Workers::Children] {
            assert!(total(workers).is_some_and(|bytes| bytes > Bytes::new(1 << 20)), "{workers:?}");
        }
    }
}
