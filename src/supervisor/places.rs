//! Where workers that outlive their daemon are started and found again. The packaged units name the same places.

use super::WorkerId;
use nix::unistd::{AccessFlags, access};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The socket of the unit that starts workers.
const SPAWN: (&str, &str) = ("SEALD_SPAWN_SOCKET", "/run/seald-spawn.sock");
/// The folder of the workers' own sockets.
const WORKERS: (&str, &str) = ("SEALD_WORKERS_DIR", "/run/seald-workers");
/// The folder of exit records.
const EXITS: (&str, &str) = ("SEALD_EXITS_DIR", "/var/lib/seald/exits");

/// The places of one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Connecting here starts a worker.
    pub spawn: PathBuf,
    /// Each worker has a socket in here.
    pub workers: PathBuf,
    /// Each ended worker has a record in here.
    pub exits: PathBuf,
    /// Begins the last part of the names of this daemon's sockets, so that one with another state folder, such as a
    /// devnet on the same machine, leaves them alone.
    owner: String,
}

impl Places {
    /// Those of the daemon with this state folder; tests put them elsewhere by environment variables.
    pub fn of(state_dir: &Path) -> Self {
        let owner = blake2b_simd::Params::new().hash_length(4).hash(state_dir.as_os_str().as_encoded_bytes());
        Self { spawn: place(SPAWN), workers: place(WORKERS), exits: exits(), owner: owner.to_hex().to_string() }
    }

    /// Whether workers can be started here.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn can_start(&self) -> Result<(), String> {
        access(&self.spawn, AccessFlags::W_OK).map_err(|error| format!("{}: {}", self.spawn.display(), error.desc()))
    }

    /// A socket for a new worker, which no worker had before.
    pub fn new_door(&self, id: &WorkerId) -> PathBuf {
        let WorkerId { slot, instance } = id;
        let unique = uuid::Uuid::new_v4().as_fields().0;
        self.workers.join(format!("{slot}.{instance}.{}-{unique:08x}.sock", self.owner))
    }

    /// The sockets of workers that some daemon with the same state folder started. None where there is no folder.
    ///
    /// # Errors
    /// The folder is there and cannot be read.
    pub fn doors(&self) -> std::io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.workers) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        let mine = format!(".{}-", self.owner);
        let is_mine = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.contains(&mine) && name.ends_with(".sock")
        };
        Ok(paths.into_iter().filter(is_mine).collect())
    }
}

/// The folder of exit records, which does not depend on the daemon: units write them without knowing one.
pub fn exits() -> PathBuf {
    place(EXITS)
}

fn place((variable, default): (&str, &str)) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(default), |path: OsString| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_sees_the_workers_of_its_own_state_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let of = |state: &str| Places { workers: folder.path().to_owned(), ..Places::of(Path::new(state)) };
        let (mine, other) = (of("/var/lib/seald"), of("/tmp/devnet"));
        let id = WorkerId { slot: "cpu".parse().unwrap(), instance: 3 };
        let doors = [mine.new_door(&id), mine.new_door(&id), other.new_door(&id)];
        doors.iter().for_each(|door| std::fs::write(door, "").unwrap());
        std::fs::write(folder.path().join("note.txt"), "").unwrap();
        assert_ne!(doors[0], doors[1]);
        let mut seen = mine.doors().unwrap();
        seen.sort();
        let mut wanted = doors[..2].to_vec();
        wanted.sort();
        assert_eq!(seen, wanted);
        assert_eq!(Places { workers: "/nonexistent".into(), ..mine }.doors().unwrap(), Vec::<PathBuf>::new());
    }
}
