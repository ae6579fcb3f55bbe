//! One owner for a repo: `flock` on `repo.lock`, with a line in it that tells the next comer who has it.
//!
//! The kernel's lock alone decides. The text is for people: after a crash it stays, without a lock, and is no
//! obstacle. The file is never removed, because removing a locked file lets two owners in.

use super::RepoError;
use crate::{clock, units::UnixMillis};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The lock's file in a repo.
pub(super) const FILE: &str = "repo.lock";

/// Longest owner text that is read: ours has about 120 bytes, and the file may be anybody's.
const OWNER_MAX: u64 = 4096;

/// What the owner writes into the file.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    host: String,
    since: UnixMillis,
    program: String,
}

/// A held lock; dropping it, or the end of the process, lets go.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of the repo at `repo`, or says who has it.
    pub(super) fn take(repo: &Path) -> Result<Self, RepoError> {
        let path = repo.join(FILE);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(&path);
        let mut file = opened.map_err(RepoError::io("open the lock", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RepoError::Locked { path: repo.to_path_buf(), owner: describe_owner(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(RepoError::io("lock", &path)(source)),
        }
        sign(&mut file).map_err(RepoError::io("write the owner into", &path))?;
        Ok(Self { file, path })
    }

    /// Whether the file at the lock's path is still the locked one. It is not when the repo's file system was
    /// unmounted, or another one was mounted over it.
    pub(super) fn is_in_place(&self) -> bool {
        let held = self.file.metadata().map(|m| (m.dev(), m.ino()));
        let there = std::fs::metadata(&self.path).map(|m| (m.dev(), m.ino()));
        matches!((held, there), (Ok(held), Ok(there)) if held == there)
    }
}

/// Writes this process into the file it just locked.
fn sign(file: &mut File) -> std::io::Result<()> {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    let owner = Owner {
        pid: std::process::id(),
        host: host.unwrap_or_else(|_| "unknown".to_owned()),
        since: clock::now(),
        program: concat!("seald ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let mut line = serde_json::to_vec(&owner)?;
    line.push(b'\n');
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&line)
}

/// The owner in words, from whatever the file says. The owner may be writing it right now, or be another program.
fn describe_owner(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(OWNER_MAX).read_to_string(&mut text);
    match serde_json::from_str::<Owner>(&text) {
        Ok(Owner { pid, host, since, program }) => {
            let since = jiff::Timestamp::from_millisecond(since.as_i64()).unwrap_or_default();
            format!("{program}, process {pid} on {host}, since {since:.0}")
        }
        Err(_) if read.is_ok() && !text.trim().is_empty() => format!("a program that wrote {:?}", text.trim()),
        Err(_) => "a process that did not say who it is (`lsof` or `fuser` on the file names it)".to_owned(),
    }
}
