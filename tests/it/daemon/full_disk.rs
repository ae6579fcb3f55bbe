//! A disk that is full in the middle of each stage: the sector waits, says why, and goes on where it was when there is
//! space again. Nothing is sealed anew and no attempt is counted.

use super::{
    proven::assert_proven,
    rig::{Rig, Run},
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// A small file system in memory, gone with the value.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where this user may not mount; then CI fails and others are told.
    fn mount(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        match mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=16m")) {
            Ok(()) => Some(Self(folder)),
            Err(error) => {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "{test} cannot mount a tmpfs: {error}: run the tests as root"
                );
                eprintln!("SKIPPED {test}: cannot mount a tmpfs as this user ({error}); root can");
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.ballast()).unwrap();
        for size in [1 << 20, 1 << 12] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        umount2(self.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

/// What the log says when the disk is to be full, and the stage that then fails.
const MOMENTS: &[(&str, &str)] = &[
    ("stage=\"precommit1\"", "precommit1"),
    ("stage=\"precommit2\"", "precommit2"),
    ("stage=\"commit\"", "commit"),
    ("kind=commit status=\"sent\"", "finalize"),
];

#[test]
fn a_full_disk_costs_time_only() {
    let Some(disk) = Disk::mount("a_full_disk_costs_time_only") else { return };
    let mut rig = Rig::simulated(1, 1500);
    rig.repo = disk.path().join("repo");
    let mut run = rig.start();
    for (when, stage) in MOMENTS {
        run.until(when);
        disk.fill();
        is_short(&mut run, &rig, stage);
        disk.free();
    }
    run.ends_well();

    let show = rig.json(&["sectors", "show", "1", "--json"]);
    let history: Vec<&str> =
        show["history"].as_array().unwrap().iter().map(|line| line["event"]["event"].as_str().unwrap()).collect();
    let once = ["TicketDrawn", "PreCommit1Done", "PreCommit2Done", "ProofReady", "Finalized"];
    assert!(once.iter().all(|event| history.iter().filter(|e| *e == event).count() == 1), "{history:?}");
    assert!(!history.iter().any(|event| event.contains("Retry") || *event == "SealPreCommitFailed"), "{history:?}");
    assert_proven(&rig);
}

/// The stage failed for want of space, and `status` says so while the sector waits.
fn is_short(run: &mut Run, rig: &Rig, stage: &str) {
    let failed = run.watch(rig, |status| {
        let sector = &status["sectors"][0];
        let failure = sector["failure"].as_str().unwrap_or_default();
        failure.starts_with(stage) && failure.contains("os error 28") && sector["waits_for"].is_string()
    });
    assert_eq!(failed["sectors"][0]["attempts"], 0, "a full disk is not the sector's fault: {failed:#}");
}
