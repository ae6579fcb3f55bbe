//! Files that are either the old ones or the new ones after a crash, never something in between.
//!
//! Deliberately no locking here: one path has one writer at a time, which the callers' locks see to.

use super::RepoError;
use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

/// Makes what was created, renamed or removed in the folder `dir` survive a power failure.
///
/// # Errors
/// [`RepoError::Io`] naming the folder.
pub fn sync_dir(dir: &Path) -> Result<(), RepoError> {
    let synced = File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(RepoError::io("flush the folder", dir))
}

/// Replaces the file `path` by `bytes`: written beside it, flushed, renamed over it, and the folder flushed.
/// Whenever this fails the old file is as it was. `path` has one writer at a time.
///
/// # Errors
/// [`RepoError::Io`] naming the file and the step.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RepoError> {
    let new = beside(path);
    let written = OpenOptions::new().write(true).create(true).truncate(true).open(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(RepoError::io("write", &new))?;
    std::fs::rename(&new, path).map_err(RepoError::io("replace", path))?;
    match path.parent() {
        Some(dir) if dir != Path::new("") => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}

/// `.name.new` in the folder of `name`: always the same, so that a crash leaves at most one behind and the next
/// write takes it over.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write_atomic(&path, b"a long first text").unwrap();
        write_atomic(&path, b"short").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"short");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_file_and_the_next_write_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write_atomic(&path, b"old").unwrap();
        // what a crash in the middle of writing leaves
        std::fs::write(beside(&path), b"half of the n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write_atomic(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert!(!beside(&path).exists());
    }

    #[test]
    fn a_failed_write_names_the_file_and_keeps_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write_atomic(&path, b"old").unwrap();
        // a folder in the way of the new file
        std::fs::create_dir(beside(&path)).unwrap();
        let error = write_atomic(&path, b"new").unwrap_err();
        assert!(error.to_string().contains("state.json"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
}
