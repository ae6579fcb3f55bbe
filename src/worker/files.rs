//! Files that must survive a power cut: written whole or not at all, synced with their directory, copied with proof.
//!
//! Nothing here knows what the files mean.

use super::jobs::JobError;
use crate::{proofs::stages::class_of_io, units::Hash32};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise, posix_fallocate};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// Ends the name of a file that is being written.
pub const PART: &str = ".part";

/// Gives an I/O error the words that say what was being done to which file.
pub trait Doing<T> {
    /// `doing` with the path, such as `cannot write`.
    fn doing(self, doing: &str, path: &Path) -> Result<T, JobError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &str, path: &Path) -> Result<T, JobError> {
        self.map_err(|error| JobError::new(class_of_io(&error), format!("{doing} {}: {error}", path.display())))
    }
}

/// Replaces a file by one with this content. A reader, or a machine after a power cut, sees the old or the new one.
pub fn write_whole(path: &Path, content: &[&[u8]]) -> Result<(), JobError> {
    let temporary = with_suffix(path, PART);
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        for part in content {
            file.write_all(part)?;
        }
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().doing("cannot write", path)?;
    sync_parent(path)
}

/// Makes a file's bytes durable.
pub fn sync(path: &Path) -> Result<(), JobError> {
    File::open(path).and_then(|file| file.sync_all()).doing("cannot sync", path)
}

/// Makes the names in the directory above `path` durable.
pub fn sync_parent(path: &Path) -> Result<(), JobError> {
    path.parent().map_or(Ok(()), sync)
}

/// Makes every file of a flat directory durable, and the directory.
pub fn sync_all_in(directory: &Path) -> Result<(), JobError> {
    for name in names(directory)? {
        sync(&directory.join(name))?;
    }
    sync(directory)
}

/// Removes a file; one that is not there is fine.
pub fn remove(path: &Path) -> Result<(), JobError> {
    absent_is_fine(fs::remove_file(path)).doing("cannot remove", path)
}

/// Removes a directory with what is in it, or a file; nothing there is fine.
pub fn remove_all(path: &Path) -> Result<(), JobError> {
    if path.is_dir() { fs::remove_dir_all(path).doing("cannot remove", path) } else { remove(path) }
}

/// Makes a directory. The one above it must be there: a repo may be a mount that is missing.
pub fn make_directory(path: &Path) -> Result<(), JobError> {
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).doing("cannot make the directory (is the repo mounted?)", path),
    }
}

/// The file names in a directory, sorted; none when it does not exist.
pub fn names(directory: &Path) -> Result<Vec<String>, JobError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.doing("cannot list", directory),
    }
}

/// The length of a file; `None` when it cannot be told.
pub fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|there| there.len())
}

/// Bytes of a file that are really on disk: the library makes its tree files in full length before it fills them.
pub fn filled(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map_or(0, |there| there.len().min(there.blocks().saturating_mul(512)))
}

/// Leaves a file of `bytes` zeros with its space taken, so that a full disk is an error here and not a SIGBUS in the
/// middle of the library's memory map.
pub fn zeros(path: &Path, bytes: u64) -> Result<(), JobError> {
    let fill = || -> io::Result<()> {
        let file = File::options().write(true).create(true).truncate(true).open(path)?;
        let length = i64::try_from(bytes).map_err(io::Error::other)?;
        match posix_fallocate(&file, 0, length) {
            // a file system that cannot promise space
            Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::EINVAL) => file.set_len(bytes),
            result => Ok(result?),
        }
    };
    fill().doing("cannot make room for", path)
}

/// Copies a file and reads the copy back from disk to compare it.
pub fn copy_verified(from: &Path, to: &Path) -> Result<(), JobError> {
    let copy = || -> io::Result<Hash32> {
        let mut target = File::create(to)?;
        let hash = digest(&mut File::open(from)?, |piece| target.write_all(piece))?;
        target.sync_all()?;
        // drop the cached pages, so that what is compared comes from the disk
        posix_fadvise(&target, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        Ok(hash)
    };
    let wanted = copy().doing(&format!("cannot copy {} to", from.display()), to)?;
    if wanted == hash_of(to)? {
        return Ok(());
    }
    Err(JobError::new(
        crate::sector::Class::Environment,
        format!("the copy {} differs from {}: check the disk", to.display(), from.display()),
    ))
}

/// Whether two files hold the same bytes.
pub fn same(one: &Path, other: &Path) -> Result<bool, JobError> {
    Ok(length(one) == length(other) && hash_of(one)? == hash_of(other)?)
}

/// BLAKE2b-256 of a file: the cores' speed, about a gigabyte a second.
pub fn hash_of(path: &Path) -> Result<Hash32, JobError> {
    File::open(path).and_then(|mut file| digest(&mut file, |_| Ok(()))).doing("cannot read", path)
}

/// BLAKE2b-256 of some bytes.
pub fn hash_of_bytes(bytes: &[u8]) -> Hash32 {
    hash32(&blake2b_simd::Params::new().hash_length(32).hash(bytes))
}

fn digest(file: &mut File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Hash32> {
    let mut state = blake2b_simd::Params::new().hash_length(32).to_state();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
            return Ok(hash32(&state.finalize()));
        };
        state.update(piece);
        each(piece)?;
    }
}

fn hash32(hash: &blake2b_simd::Hash) -> Hash32 {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_bytes());
    Hash32(bytes)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The path with something after its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
