//! Processors as the kernel shows them: cores, caches, memory nodes, and which of them this process may use.

use crate::{manifest::CpuSet, plan::cores::Cpu};
use nix::{sched::sched_getaffinity, unistd::Pid};
use std::{collections::BTreeSet, fs, path::Path};

/// The processors that are online and that this process may use, in ascending order.
pub fn cpus() -> Vec<Cpu> {
    let online = read(Path::new("/sys"));
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(allowed) => {
            let may = |cpu: &Cpu| usize::try_from(cpu.id).is_ok_and(|id| allowed.is_set(id).unwrap_or(false));
            online.into_iter().filter(may).collect()
        }
        // more than the system call can tell of: all of them
        Err(_) => online,
    }
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

/// A list of numbers such as `0-3,8`, as the kernel writes it.
fn list(path: &Path) -> Option<BTreeSet<u32>> {
    let text = fs::read_to_string(path).ok()?;
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
    fn this_machine_has_processors_and_this_process_may_use_some() {
        assert!(!cpus().is_empty());
    }
}
