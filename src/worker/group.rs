//! The control group of a worker that systemd started: a group of its own below, in which the job's memory is bounded.
//!
//! A bound there counts all memory, and what goes beyond it ends the worker with a word that tells so. Only a unit of
//! ours is entered: in any other group there are strangers, and the daemon.

use crate::{host, units::Bytes};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How the units of workers are called.
const UNIT: &str = "seald-worker@";

/// Bounds the memory of this process and of all it starts. `false` when its group is not a worker's own.
///
/// # Errors
/// The group cannot be made or bounded: what was tried.
pub fn bound(memory: Bytes) -> Result<bool, String> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(group) = host::group::own(&text).filter(|group| is_ours(group)) else { return Ok(false) };
    let group = Path::new("/sys/fs/cgroup").join(group);
    enter(&group, memory).map(|()| true).map_err(|(path, error)| format!("{}: {error}", path.display()))
}

fn is_ours(group: &Path) -> bool {
    group.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(UNIT))
}

/// The process moves down before the controllers are turned on: a group with processes cannot pass them on.
fn enter(group: &Path, memory: Bytes) -> Result<(), (PathBuf, io::Error)> {
    let job = group.join("job");
    let at = |path: PathBuf| move |error| (path, error);
    match fs::create_dir(&job) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err((job, error)),
        Ok(()) | Err(_) => {}
    }
    let most = memory.as_u64().saturating_add(memory.as_u64().checked_div(10).unwrap_or(0));
    let writes = [
        (job.join("cgroup.procs"), "0".to_owned()),
        (group.join("cgroup.subtree_control"), "+memory".to_owned()),
        // slowed down at its bound, ended above it, and never swapped: sealing from swap does not come to an end
        (job.join("memory.high"), memory.as_u64().to_string()),
        (job.join("memory.max"), most.to_string()),
        (job.join("memory.swap.max"), "0".to_owned()),
    ];
    writes.into_iter().try_for_each(|(path, text)| fs::write(&path, text).map_err(at(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unit_of_a_worker_is_entered() {
        assert!(is_ours(Path::new("seald.slice/seald-workers.slice/seald-worker@3-99-0.service")));
        assert!(!is_ours(Path::new("system.slice/seald.service")));
        assert!(!is_ours(Path::new("")));
    }

    #[test]
    fn a_job_is_moved_down_bounded_and_kept_from_swap() {
        let group = tempfile::tempdir().unwrap();
        enter(group.path(), Bytes::new(1000)).unwrap();
        let says = |path: &str| fs::read_to_string(group.path().join(path)).unwrap();
        let bounds = ["job/cgroup.procs", "cgroup.subtree_control", "job/memory.high", "job/memory.max"].map(says);
        assert_eq!(bounds, ["0", "+memory", "1000", "1100"]);
        assert_eq!(says("job/memory.swap.max"), "0");
        enter(group.path(), Bytes::new(1000)).expect("a group that is there already is as good");
        let (path, _) = enter(&group.path().join("absent"), Bytes::new(1000)).unwrap_err();
        assert!(path.ends_with("absent/job"));
    }
}
