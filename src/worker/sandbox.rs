//! What a worker may do besides computing: write to the folders it was given, and nothing on the network.
//!
//! The kernel keeps it to that (Landlock), as far as it can: proofs are computed by large libraries and GPU drivers, and
//! none of them has any business elsewhere. Reading is not restricted. Where the kernel cannot do it, that is said.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, path_beneath_rules,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the proofs library keeps the cache of parents.
const PARENTS: &str = "/var/tmp/filecoin-parents";

/// Beside its folders every worker may write to these: shared memory and the devices of GPUs.
const DEVICES: &[&str] = &["/dev/null", "/dev/shm", "/dev/dri", "/dev/kfd", "/dev/nvidia-caps"];

/// Keeps this process, and whatever it starts, to these folders. Answers what keeps it there, or why nothing does. To be
/// called before any other thread is started.
pub fn enter(writable: &[PathBuf], network: bool) -> String {
    if let Err(error) = nix::sys::prctl::set_no_new_privs() {
        return format!("none: {error}");
    }
    if writable.is_empty() {
        return "none: no folder was named that it may write to".to_owned();
    }
    let own = [PathBuf::from(PARENTS), std::env::temp_dir()];
    for folder in &own {
        // one that cannot be made is missed by whoever needs it, in better words
        fs::create_dir_all(folder).unwrap_or_default();
    }
    let devices = DEVICES.iter().map(PathBuf::from).chain(nvidia_devices(Path::new("/dev")));
    let paths: Vec<PathBuf> = writable.iter().cloned().chain(own).chain(devices).collect();
    match restrict(&paths, network) {
        Ok(words) => words,
        Err(error) => format!("none: {error}"),
    }
}

fn restrict(paths: &[PathBuf], network: bool) -> Result<String, RulesetError> {
    let write = AccessFs::from_write(ABI::V5);
    let rules = Ruleset::default().handle_access(write)?;
    let rules = if network { rules } else { rules.handle_access(AccessNet::from_all(ABI::V4))? };
    let status = rules.create()?.add_rules(path_beneath_rules(paths, write))?.restrict_self()?;
    let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
        return Ok("none: this kernel has no landlock".to_owned());
    };
    let version = effective_abi as i32;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => format!("landlock {version}"),
        RulesetStatus::PartiallyEnforced => format!("landlock {version}, in part"),
        RulesetStatus::NotEnforced => "none: this kernel enforces nothing of landlock".to_owned(),
    })
}

/// `/dev/nvidia0`, `/dev/nvidiactl`, `/dev/nvidia-uvm` and the like.
fn nvidia_devices(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with("nvidia")));
    ours.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::ErrorKind::PermissionDenied,
        net::{Ipv4Addr, TcpListener},
        thread::Builder,
    };

    /// In a thread of its own, which alone is restricted.
    fn inside(writable: &[PathBuf], network: bool, test: impl FnOnce(&str) + Send) {
        std::thread::scope(|scope| {
            let run = || test(&enter(writable, network));
            Builder::new().spawn_scoped(scope, run).unwrap().join().unwrap();
        });
    }

    fn is_kept(name: &str, sandbox: &str) -> bool {
        let kept = sandbox.starts_with("landlock ");
        if !kept {
            println!("SKIPPED {name}: {sandbox}");
        }
        kept
    }

    #[test]
    fn a_worker_writes_only_where_it_may_and_reads_everywhere() {
        // not below the folder for temporary files, where it may write in any case
        let outside = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mine = outside.path().join("mine");
        fs::create_dir(&mine).unwrap();
        let theirs = outside.path().join("theirs");
        fs::write(&theirs, "before").unwrap();
        inside(std::slice::from_ref(&mine), false, |sandbox| {
            fs::write(mine.join("a"), "text").unwrap();
            fs::create_dir_all(mine.join("folder/below")).unwrap();
            fs::rename(mine.join("a"), mine.join("folder/below/a")).unwrap();
            assert_eq!(fs::read_to_string(&theirs).unwrap(), "before");
            fs::write("/dev/null", "text").unwrap();
            if is_kept("a_worker_writes_only_where_it_may_and_reads_everywhere", sandbox) {
                assert_eq!(fs::write(&theirs, "after").unwrap_err().kind(), PermissionDenied);
                assert_eq!(fs::remove_file(&theirs).unwrap_err().kind(), PermissionDenied);
                assert_eq!(fs::create_dir(outside.path().join("new")).unwrap_err().kind(), PermissionDenied);
            }
        });
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "before");
    }

    #[test]
    fn a_worker_has_the_network_only_when_it_needs_it() {
        let mine = tempfile::tempdir().unwrap();
        let writable = [mine.path().to_owned()];
        inside(&writable, false, |sandbox| {
            let version = sandbox.strip_prefix("landlock ").and_then(|rest| rest.split(',').next());
            if version.is_some_and(|version| version.parse::<i32>().unwrap() >= 4) {
                assert_eq!(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_err().kind(), PermissionDenied);
            } else {
                println!("SKIPPED a_worker_has_the_network_only_when_it_needs_it: {sandbox}");
            }
        });
        inside(&writable, true, |_| drop(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()));
    }

    #[test]
    fn a_worker_that_was_given_no_folder_says_that_nothing_keeps_it() {
        inside(&[], false, |sandbox| assert_eq!(sandbox, "none: no folder was named that it may write to"));
    }

    #[test]
    fn the_devices_of_a_gpu_are_found() {
        let dev = tempfile::tempdir().unwrap();
        for name in ["nvidia0", "nvidiactl", "null"] {
            fs::write(dev.path().join(name), "").unwrap();
        }
        assert_eq!(nvidia_devices(dev.path()).len(), 2);
    }
}
