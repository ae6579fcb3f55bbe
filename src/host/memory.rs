//! How much memory workers may take together: all of it, or what a control group above them allows; and how much of the
//! machine's is taken now.

use super::group::{self, Workers};
use crate::units::Bytes;
use std::{fs, path::Path};

/// The memory of the machine, whoever takes it. All 0 where the kernel does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// All of it.
    pub physical: Bytes,
    /// What cannot be had without swapping.
    pub used: Bytes,
    /// All of the swap.
    pub swap: Bytes,
    /// What of the swap is taken.
    pub swap_used: Bytes,
}

impl Memory {
    /// As it is now.
    pub fn now() -> Self {
        Self::of_meminfo(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
    }

    fn of_meminfo(text: &str) -> Self {
        let of = |field| field_of(text, field).unwrap_or_default();
        let (physical, swap) = (of("MemTotal:"), of("SwapTotal:"));
        let (used, swap_used) = (physical.less(of("MemAvailable:")), swap.less(of("SwapFree:")));
        Self { physical, used, swap, swap_used }
    }
}

/// The least of what the machine has and what the groups of these workers allow.
pub fn total(workers: Workers) -> Option<Bytes> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_meminfo(&text));
    let bound = workers.group().and_then(|group| bound(Path::new(group::ROOT), &group));
    machine.into_iter().chain(bound).min()
}

/// `MemTotal` of a `meminfo` file.
pub fn of_meminfo(text: &str) -> Option<Bytes> {
    field_of(text, "MemTotal:")
}

fn field_of(text: &str, field: &str) -> Option<Bytes> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
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
    fn what_is_taken_is_what_is_not_available() {
        let text = "MemTotal: 8 kB\nMemFree: 1 kB\nMemAvailable: 5 kB\nSwapTotal: 4 kB\nSwapFree: 3 kB\n";
        let kib = |n: u64| Bytes::new(n << 10);
        let expected = Memory { physical: kib(8), used: kib(3), swap: kib(4), swap_used: kib(1) };
        assert_eq!(Memory::of_meminfo(text), expected);
        assert_eq!(Memory::of_meminfo("nonsense"), Memory::default());
    }

    #[test]
    fn this_machine_has_memory() {
        for workers in [Workers::Units, Workers::Children] {
            assert!(total(workers).is_some_and(|bytes| bytes > Bytes::new(1 << 20)), "{workers:?}");
        }
    }
}
