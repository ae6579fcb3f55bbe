//! The control group that keeps workers within bounds: a slice of their own for those that systemd starts, and that of this
//! process for its children. What bounds the one says nothing of the other.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the unified hierarchy is.
pub(super) const ROOT: &str = "/sys/fs/cgroup";

/// The group of all workers that systemd starts.
const SLICE: &str = "seald.slice/seald-workers.slice";

/// Whose processes the workers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// Systemd's, in units.
    Units,
    /// The daemon's, in its own group.
    Children,
}

impl Workers {
    /// Their group; `None` where this process is in none.
    pub(super) fn group(self) -> Option<PathBuf> {
        match self {
            Self::Units => Some(PathBuf::from(SLICE)),
            Self::Children => own(&fs::read_to_string("/proc/self/cgroup").ok()?),
        }
    }
}

/// The group that a `/proc/PID/cgroup` file names in the unified hierarchy, without its leading slash.
pub fn own(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from(path))
}

/// What a file says in a group and in those above it, the nearest first.
pub(super) fn say(root: &Path, group: &Path, file: &str) -> Vec<String> {
    group.ancestors().filter_map(|group| fs::read_to_string(root.join(group).join(file)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_by_the_unified_hierarchy_alone() {
        let text = "4:memory:/old\n0::/system.slice/seald.service\n";
        assert_eq!(own(text), Some(PathBuf::from("system.slice/seald.service")));
        assert_eq!(own("4:memory:/old\n"), None);
    }
}
