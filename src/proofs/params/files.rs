//! Parameter files on disk: their layout, their digest, the marker beside those made here, and putting a finished
//! file in place. Knows the format's lengths only, no points.

use super::{Kind, ParamsError, at};
use crate::units::{Bytes, to_hex};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// Encoded points of the first and the second group.
const G1: u64 = 96;
const G2: u64 = 192;
/// What a verifying key has before its list: α, β, β, γ, δ, δ.
const KEY_HEAD: u64 = 3 * G1 + 3 * G2;

/// The length that a file of this kind should have by the counts in it.
///
/// # Errors
/// `UnexpectedEof` when it ends before its last count.
pub fn length_by_layout(file: &File, kind: Kind) -> io::Result<u64> {
    // a verifying key has one list; parameters go on with h, l, a, b in the first group, b in the second
    let (mut offset, lists): (u64, &[u64]) = match kind {
        Kind::VerifyingKey => (KEY_HEAD, &[G1]),
        Kind::Parameters => (KEY_HEAD, &[G1, G1, G1, G1, G1, G2]),
        // powers of two secrets in either group, compressed
        Kind::Srs => (0, &[G1 / 2, G1 / 2, G2 / 2, G2 / 2]),
    };
    for point in lists {
        let mut count = [0u8; 4];
        file.read_exact_at(&mut count, offset)?;
        offset = offset.saturating_add(4).saturating_add(u64::from(u32::from_be_bytes(count)).saturating_mul(*point));
    }
    Ok(offset)
}

/// Whether `params` begins with the whole of `key`: the two were made together.
///
/// # Errors
/// When one of them cannot be read.
pub fn belong_together(params: &Path, key: &Path) -> io::Result<bool> {
    let key = fs::read(key)?;
    let mut head = vec![0u8; key.len()];
    match File::open(params)?.read_exact(&mut head) {
        Ok(()) => Ok(head == key),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The digest as it is published: the first 16 bytes of BLAKE2b-512.
pub fn digest_text(hash: &blake2b_simd::Hash) -> String {
    to_hex(hash.as_bytes().get(..16).unwrap_or_default())
}

/// The digest of a file. Reads all of it, at about 1 GB/s.
///
/// # Errors
/// When it cannot be read.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut state = blake2b_simd::State::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        match buffer.get(..n) {
            Some([]) | None => return Ok(digest_text(&state.finalize())),
            Some(read) => state.update(read),
        };
    }
}

/// What is remembered beside a file made here, in `<name>.seald.json`, so that a change of it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// 1.
    pub format_version: u32,
    /// Its digest when it was made.
    pub digest: String,
}

impl Marker {
    /// The marker's place.
    pub fn path(file: &Path) -> PathBuf {
        with_suffix(file, ".seald.json")
    }

    /// The marker of a file, if it has a readable one.
    pub fn read(file: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(Self::path(file)).ok()?).ok()
    }

    /// Writes the marker of a file with this digest.
    ///
    /// # Errors
    /// When it cannot be written.
    #[cfg(any(test, feature = "proofs"))]
    pub fn write(file: &Path, digest: String) -> Result<(), ParamsError> {
        let path = Self::path(file);
        let text = serde_json::to_vec(&Self { format_version: 1, digest })
            .map_err(|error| at("write", &path)(io::Error::from(error)))?;
        put(&path, &text)
    }
}

/// `path` with `suffix` after its whole name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Writes a small file so that it is there completely or not at all.
///
/// # Errors
/// When it cannot be written.
#[cfg(any(test, feature = "proofs"))]
pub fn put(path: &Path, bytes: &[u8]) -> Result<(), ParamsError> {
    let partial = with_suffix(path, ".new");
    fs::write(&partial, bytes).map_err(at("write", &partial))?;
    finish(&partial, path)
}

/// Gives a complete file its name, and makes both last a power cut.
///
/// # Errors
/// When the disk refuses.
pub fn finish(partial: &Path, path: &Path) -> Result<(), ParamsError> {
    File::open(partial).and_then(|file| file.sync_all()).map_err(at("write", partial))?;
    fs::rename(partial, path).map_err(at("name", path))?;
    let dir = path.parent().unwrap_or(path);
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at("write", dir))
}

/// Makes `dir` and sees that so much fits in it.
///
/// # Errors
/// [`ParamsError::Space`] when it does not.
pub fn make_room(dir: &Path, needed: Bytes) -> Result<(), ParamsError> {
    fs::create_dir_all(dir).map_err(at("create", dir))?;
    let stat = nix::sys::statvfs::statvfs(dir).map_err(|errno| at("look at", dir)(errno.into()))?;
    let free = Bytes::new(stat.blocks_available().saturating_mul(stat.fragment_size()));
    if free < needed { Err(ParamsError::Space { dir: dir.to_owned(), needed, free }) } else { Ok(()) }
}
