//! How a worker's unit ended, written by the unit itself as its last act, so that no daemon need be there to see it.
//!
//! One file a run, named by the invocation id, which no other run of any unit has.

use super::exit::{Ended, Exit};
use crate::{clock, error::Chain, repo::write_atomic};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// A record that nobody read for so long is of no use any more.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How a unit ended, in the words of systemd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// `success`, `exit-code`, `signal`, `core-dump`, `watchdog`, `oom-kill`, `timeout` and others.
    pub result: String,
    /// `exited`, `killed` or `dumped`.
    pub code: String,
    /// The exit code, or the name of the signal.
    pub status: String,
}

impl ExitRecord {
    /// What it means; `words` say where more can be read.
    pub fn exit(&self, words: &str) -> Exit {
        let Self { result, code, status } = self;
        let ended = if code == "exited" {
            status.parse().map(Ended::Code).ok()
        } else {
            format!("SIG{status}").parse::<Signal>().map(|signal| Ended::Signal(signal as i32)).ok()
        };
        match (result.as_str(), ended) {
            ("oom-kill", _) => Exit::OutOfMemory,
            ("watchdog", _) => Exit::Watchdog,
            (_, Some(ended)) => Exit::of(ended, false, Some(words.to_owned())),
            (_, None) => Exit::Unrecorded,
        }
    }
}

/// Writes down how this unit ended, by the variables that systemd sets for `ExecStopPost=`, and lets go of records
/// that are too old.
///
/// # Errors
/// A variable is missing, or the folder cannot be written, in words for the journal.
pub fn write_own(folder: &Path) -> Result<(), String> {
    let variable = |name: &str| {
        std::env::var(name).map_err(|_| format!("{name} is not set: this command is for ExecStopPost= of a unit"))
    };
    let path = path(folder, &variable("INVOCATION_ID")?)?;
    let record = ExitRecord {
        result: variable("SERVICE_RESULT")?,
        // both are missing when the program itself could not be started
        code: variable("EXIT_CODE").unwrap_or_default(),
        status: variable("EXIT_STATUS").unwrap_or_default(),
    };
    let text = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
    fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    write_atomic(&path, &text).map_err(|error| Chain(&error).to_string())?;
    forget_old(folder).map_err(|error| format!("cannot tidy {}: {error}", folder.display()))
}

/// The record of that run, once it is there.
pub fn read(folder: &Path, invocation: &str) -> Option<ExitRecord> {
    let text = fs::read(path(folder, invocation).ok()?).ok()?;
    serde_json::from_slice(&text).ok()
}

fn path(folder: &Path, invocation: &str) -> Result<PathBuf, String> {
    let is_id = !invocation.is_empty() && invocation.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_id
        .then(|| folder.join(invocation))
        .ok_or_else(|| format!("{invocation:?} is not an invocation id: hexadecimal digits are wanted"))
}

fn forget_old(folder: &Path) -> io::Result<()> {
    let now = Duration::from_millis(u64::try_from(clock::now().as_i64()).unwrap_or(0));
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let written = entry.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.saturating_sub(written) > KEPT {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_systemd_are_understood() {
        let exit = |result: &str, code: &str, status: &str| {
            let own = str::to_owned;
            ExitRecord { result: own(result), code: own(code), status: own(status) }.exit("the journal")
        };
        let coded = |code| Exit::Code { code, words: Some("the journal".to_owned()) };
        assert_eq!(exit("success", "exited", "0").to_string(), "ended by itself");
        assert_eq!(exit("exit-code", "exited", "70"), coded(70));
        assert_eq!(exit("signal", "killed", "KILL"), Exit::Signal(9));
        assert_eq!(exit("core-dump", "dumped", "SEGV"), Exit::Signal(11));
        assert_eq!(exit("signal", "killed", "BUS"), Exit::DiskFull);
        assert_eq!(exit("watchdog", "killed", "ABRT"), Exit::Watchdog);
        assert_eq!(exit("oom-kill", "killed", "KILL"), Exit::OutOfMemory);
        assert_eq!(exit("resources", "", ""), Exit::Unrecorded);
    }

    #[test]
    fn only_invocation_ids_name_files() {
        let folder = tempfile::tempdir().unwrap();
        for bad in ["", "../seald.db", "a/b", ".."] {
            assert!(path(folder.path(), bad).is_err(), "{bad}");
            assert_eq!(read(folder.path(), bad), None);
        }
        fs::write(folder.path().join("00ff"), r#"{"result":"oom-kill","code":"killed","status":"KILL"}"#).unwrap();
        assert_eq!(read(folder.path(), "00ff").unwrap().exit(""), Exit::OutOfMemory);
        assert_eq!(read(folder.path(), "00fe"), None);
    }

    #[test]
    fn old_records_go_and_young_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (old, young) = (folder.path().join("00"), folder.path().join("11"));
        fs::write(&young, "").unwrap();
        let file = fs::File::create(&old).unwrap();
        file.set_modified(UNIX_EPOCH.checked_add(Duration::from_secs(1)).unwrap()).unwrap();
        forget_old(folder.path()).unwrap();
        assert!(!old.exists() && young.exists());
    }
}
