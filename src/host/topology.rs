//! Processors as the kernel shows them: cores, caches, memory nodes, and which of them workers may use.

use super::group::{self, Workers};
use crate::{manifest::CpuSet, plan::cores::Cpu};
use nix::{
    sched::{self, sched_getaffinity},
    unistd::Pid,
};
use std::{collections::BTreeSet, fs, path::Path};

/// The processors that are online, in ascending order.
pub fn cpus() -> Vec<Cpu> {
    read(Path::new("/sys"))
}

/// The processors that these workers may use; `None` where nothing keeps them from any.
pub fn usable(workers: Workers) -> Option<BTreeSet<u32>> {
    match workers {
        // their group alone: where the daemon itself is kept says nothing of them
        Workers::Units => {
            let isolated = list(Path::new("/sys/devices/system/cpu/isolated")).unwrap_or_default();
            let cpus = effective(Path::new(group::ROOT), &workers.group()?)?;
            Some(&cpus - &isolated)
        }
        // more than the system call can tell of: all of them
        Workers::Children => {
            let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
            let ids = (0..sched::CpuSet::count()).filter(|id| allowed.is_set(*id).unwrap_or(false));
            Some(ids.filter_map(|id| u32::try_from(id).ok()).collect())
        }
    }
}

/// What a group may use: by its own word, or where it has none by that of the nearest above it.
fn effective(root: &Path, group: &Path) -> Option<BTreeSet<u32>> {
    group::say(root, group, "cpuset.cpus.effective").iter().find_map(|text| numbers(text))
}

/// What the tree at `sys` shows. A machine that tells nothing of its cores and caches has one thread a core, and one cache.
pub fn read(sys: &Path) -> Vec<Cpu> {
    let cpus = sys.join("devices/system/cpu");
    let nodes = nodes(&sys.join("devices/system/node"));
    let Some(online) = list(&cpus.join("online")) else { return Vec::new() };
    let lowest = |path: String| list(&cpus.join(path))?.first().copied();
    let first = online.first().copied().unwrap_or(0);
    let cpu = |id: u32| Cpu {
        id,
        core: lowest(format!("cpu{id}/topology/thread_siblings_list")).unwrap_or(id),
        cache: lowest(format!("cpu{id}/cache/index3/shared_cpu_list"))
            .or_else(|| lowest(format!("cpu{id}/topology/core_siblings_list")))
            .unwrap_or(first),
        node: nodes.iter().find(|(_, of)| of.contains(&id)).map_or(0, |(node, _)| *node),
    };
    online.iter().map(|id| cpu(*id)).collect()
}

fn nodes(folder: &Path) -> Vec<(u32, BTreeSet<u32>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |name: &str| name.strip_prefix("node")?.parse::<u32>().ok();
    let node = |entry: fs::DirEntry| Some((number(entry.file_name().to_str()?)?, list(&entry.path().join("cpulist"))?));
    let mut nodes: Vec<_> = entries.filter_map(node).collect();
    nodes.sort();
    nodes
}

/// The list of numbers in a file.
fn list(path: &Path) -> Option<BTreeSet<u32>> {
    numbers(&fs::read_to_string(path).ok()?)
}

/// A list of numbers such as `0-3,8`, as the kernel writes it.
fn numbers(text: &str) -> Option<BTreeSet<u32>> {
    text.trim().parse::<CpuSet>().ok().map(|set| set.as_set().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join("devices/system").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn cores_caches_and_nodes_are_read_as_the_kernel_writes_them() {
        let sys = tempfile::tempdir().unwrap();
        let root = sys.path();
        write(root, "cpu/online", "0-1,3\n");
        for (cpu, siblings) in [(0, "0,3"), (1, "1"), (3, "0,3")] {
            write(root, &format!("cpu/cpu{cpu}/topology/thread_siblings_list"), siblings);
            write(root, &format!("cpu/cpu{cpu}/cache/index3/shared_cpu_list"), siblings);
        }
        write(root, "node/node0/cpulist", "0-1\n");
        write(root, "node/node1/cpulist", "2-3\n");
        write(root, "node/has_cpu", "0-1\n");
        let cpu = |id, core, cache, node| Cpu { id, core, cache, node };
        assert_eq!(read(root), [cpu(0, 0, 0, 0), cpu(1, 1, 1, 0), cpu(3, 0, 0, 1)]);
    }

    #[test]
    fn a_machine_that_tells_little_has_one_thread_a_core_and_one_cache() {
        let sys = tempfile::tempdir().unwrap();
        assert_eq!(read(sys.path()), []);
        write(sys.path(), "cpu/online", "4-5\n");
        let cpu = |id| Cpu { id, core: id, cache: 4, node: 0 };
        assert_eq!(read(sys.path()), [cpu(4), cpu(5)]);
    }

    #[test]
    fn the_nearest_group_that_says_it_has_the_processors_of_workers() {
        let root = tempfile::tempdir().unwrap();
        let group = Path::new("seald.slice/seald-workers.slice");
        fs::create_dir_all(root.path().join(group)).unwrap();
        let says = |group: &str, text: &str| {
            fs::write(root.path().join(group).join("cpuset.cpus.effective"), text).unwrap();
        };
        assert_eq!(effective(root.path(), group), None);
        says("", "0-7\n");
        assert_eq!(effective(root.path(), group), Some((0..8).collect()));
        assert_eq!(effective(root.path(), Path::new("not/there")), Some((0..8).collect()));
        says("seald.slice", "0-5\n");
        says("seald.slice/seald-workers.slice", "2-3,5\n");
        assert_eq!(effective(root.path(), group), Some([2, 3, 5].into()));
        says("seald.slice/seald-workers.slice", "\n");
        assert_eq!(effective(root.path(), group), Some((0..6).collect()), "one that says nothing is not asked");
    }

    #[test]
    fn this_machine_has_processors_and_workers_may_use_some() {
        let cpus = cpus();
        for workers in [Workers::Units, Workers::Children] {
            let may = |cpu: &&Cpu| usable(workers).is_none_or(|ids| ids.contains(&cpu.id));
            assert!(cpus.iter().any(|cpu| may(&cpu)), "{workers:?}");
        }
    }
}
