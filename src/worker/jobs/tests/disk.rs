//! A disk that is full at every point there is: whatever a stage was doing, it says that space is short, and goes on
//! to the same result when there is some.

use super::*;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{io::Write as _, path::PathBuf};

/// A small file system in memory, gone with the value.
pub struct Disk(PathBuf);

const PAGE: u64 = 4096;

impl Disk {
    /// Over an empty folder. `None` where this user may not mount; then CI fails and others are told.
    pub fn mount(folder: &Path) -> Option<Self> {
        match mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some("size=1m")) {
            Ok(()) => Some(Self(folder.to_owned())),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "cannot mount a tmpfs: {error}: run the tests as root");
                eprintln!("SKIPPED: cannot mount a tmpfs as this user ({error}); root can");
                None
            }
        }
    }

    /// Leaves this many pages free.
    pub fn fill(&self, free: u64) {
        let mut file = fs::File::options().create(true).append(true).open(self.ballast()).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.checked_sub(free * PAGE).unwrap()).unwrap();
    }

    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

/// From no page at all to as many as all stages need, each the point where some file finds no space.
// matrix: F5
#[test]
fn a_disk_that_is_full_at_any_point_costs_time_only() {
    let reference = site().sealed();
    let mut failed = std::collections::BTreeSet::new();
    for free in 0.. {
        let site = site();
        let Some(disk) = Disk::mount(site.repo.path()) else { return };
        disk.fill(free);
        let mut through = true;
        let mut until_done = |stage: &'static str, run: &dyn Fn() -> Result<Outcome, JobError>| match run() {
            Ok(outcome) => outcome,
            Err(error) => {
                assert_eq!(error.class, Class::Resource, "{stage} with {free} pages: {error}");
                assert!(std::mem::take(&mut through), "{stage} fails with space");
                failed.insert(stage);
                disk.free();
                run().unwrap()
            }
        };
        until_done("precommit1", &|| site.precommit1(1, false));
        let sealed = until_done("precommit2", &|| site.precommit2());
        assert_eq!(sealed, Outcome::PreCommit2 { sealed: reference.clone() });
        until_done("commit", &|| site.commit(&reference, SEED));
        let (sector, files) = (site.sector.clone(), site.files.clone());
        let finalize = Job::Finalize { sector, to: files.clone(), files };
        until_done("finalize", &|| run(&finalize));
        if through {
            break;
        }
    }
    assert!(failed.is_superset(&["precommit1", "precommit2", "commit"].into()), "{failed:?}");
}
