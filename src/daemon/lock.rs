//! One daemon per state folder: an exclusive lock whose file names its owner.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// The lock file in the state folder.
pub const LOCK: &str = "lock";

/// The state folder belongs to this process while the value lives.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// The state folder cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error(
        "another seald ({owner}) runs with the state folder {dir}: stop it first, or give this one another state.dir"
    )]
    Taken {
        /// The folder.
        dir: PathBuf,
        /// What the lock file says of its owner.
        owner: String,
    },
    /// The folder cannot be used.
    #[error("cannot use the state folder {dir}")]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Readers hold the lock for an instant to see whether a daemon runs; it is asked for again this often.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Makes the state folder, for its user and group alone; one that is there keeps its mode.
///
/// # Errors
/// What the file system says.
pub fn make_folder(dir: &Path) -> io::Result<()> {
    if let Some(above) = dir.parent() {
        std::fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o750).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made,
    }
}

impl StateLock {
    /// Makes the folder when needed and takes its lock.
    ///
    /// # Errors
    /// See [`LockError`].
    pub async fn take(dir: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { dir: dir.to_owned(), source };
        make_folder(dir).map_err(io)?;
        let path = dir.join(LOCK);
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => {
                    file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
                    write!(file, "pid {}", std::process::id()).map_err(io)?;
                    return Ok(Self { _file: file });
                }
                Err(TryLockError::Error(source)) => return Err(io(source)),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            }
        }
        let mut owner = String::new();
        file.read_to_string(&mut owner).map_err(io)?;
        Err(LockError::Taken {
            dir: dir.to_owned(),
            owner: if owner.is_empty() { "unknown".to_owned() } else { owner },
        })
    }
}
