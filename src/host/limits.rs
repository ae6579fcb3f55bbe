//! The limits of a process that an ordinary user may raise: open files and locked memory.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// The hard limits, up to which [`raise`] goes. What cannot be learnt is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Files a process may open.
    pub open_files: Option<u64>,
    /// Bytes that a process may lock in memory; `u64::MAX` is any number.
    pub locked: Option<u64>,
}

/// What this process may have.
pub fn hard() -> Limits {
    let hard = |resource| getrlimit(resource).ok().map(|(_, hard)| if hard == RLIM_INFINITY { u64::MAX } else { hard });
    Limits { open_files: hard(Resource::RLIMIT_NOFILE), locked: hard(Resource::RLIMIT_MEMLOCK) }
}

/// Raises each limit as far as it may go; children inherit them. What is refused stays as it is, and is told.
pub fn raise() -> Vec<String> {
    let raise = |(resource, name): (Resource, &str)| {
        let (soft, hard) = getrlimit(resource).ok()?;
        let refused = (soft < hard).then(|| setrlimit(resource, hard, hard).err())??;
        Some(format!("the limit of {name} stays at {soft}, though {hard} are allowed: {refused}"))
    };
    [(Resource::RLIMIT_NOFILE, "open files"), (Resource::RLIMIT_MEMLOCK, "locked memory")]
        .into_iter()
        .filter_map(raise)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_raised_to_what_is_allowed() {
        assert_eq!(raise(), Vec::<String>::new());
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, Some(hard)), (hard, super::hard().open_files));
    }
}
