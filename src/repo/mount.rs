//! What is mounted where, for repos that must not be mistaken for the empty folder below a missing mount.
//!
//! `require_mount` holds when the repo's path or a folder above it, other than `/`, is a mount point. The root
//! does not count: everything is below it, mounted or not.

use super::RepoError;
use std::{
    collections::BTreeSet,
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

const TABLE: &str = "/proc/self/mountinfo";

/// Mount points of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounts(BTreeSet<PathBuf>);

impl Mounts {
    /// Reads the kernel's table.
    pub(super) fn read() -> Result<Self, RepoError> {
        let table = std::fs::read(TABLE).map_err(RepoError::io("read the mount table", Path::new(TABLE)))?;
        Ok(Self::parse(&table))
    }

    /// The fifth field of each line, with the kernel's escapes for blanks and backslashes undone.
    pub(super) fn parse(table: &[u8]) -> Self {
        let lines = table.split(|byte| *byte == b'\n');
        Self(lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescape).collect())
    }

    /// The mount point, other than the root, that `path` is on. Links in `path` are followed as far as it exists.
    pub(super) fn holding(&self, path: &Path) -> Option<PathBuf> {
        let real = resolve(path);
        let above = real.ancestors().take_while(|folder| folder.parent().is_some());
        above.map(Path::to_path_buf).find(|folder| self.0.contains(folder))
    }
}

/// `path` without links: the part that exists is resolved, the rest is kept as written.
fn resolve(path: &Path) -> PathBuf {
    for folder in path.ancestors() {
        if let Ok(real) = folder.canonicalize() {
            return match path.strip_prefix(folder) {
                Ok(rest) if rest != Path::new("") => real.join(rest),
                _ => real,
            };
        }
    }
    path.to_path_buf()
}

/// `\040` is a blank: a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = code.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
        40 27 259:0 / /srv/nvme0 rw,noatime shared:5 - xfs /dev/nvme0n1 rw\n\
        41 27 259:1 / /srv/with\\040blank\\134 rw - xfs /dev/nvme1n1 rw\n";

    #[test]
    fn a_path_is_held_by_the_nearest_mount_point_and_never_by_the_root() {
        let mounts = Mounts::parse(SAMPLE);
        let holding = |path: &str| mounts.holding(Path::new(path));
        assert_eq!(holding("/srv/nvme0"), Some(PathBuf::from("/srv/nvme0")));
        assert_eq!(holding("/srv/nvme0/seald/repo"), Some(PathBuf::from("/srv/nvme0")));
        assert_eq!(holding("/srv/nvme01"), None, "a common prefix of letters is not a folder");
        assert_eq!(holding("/srv/with blank\\/x"), Some(PathBuf::from("/srv/with blank\\")));
        assert_eq!(holding("/srv/nvme1"), None);
        assert_eq!(holding("/"), None);
    }

    #[test]
    fn links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("disk")).unwrap();
        let disk = dir.path().join("disk").canonicalize().unwrap();
        std::os::unix::fs::symlink(&disk, dir.path().join("link")).unwrap();
        let mounts = Mounts(BTreeSet::from([disk.clone()]));
        assert_eq!(mounts.holding(&dir.path().join("link/not/yet/there")), Some(disk));
        assert_eq!(mounts.holding(dir.path()), None);
    }

    #[test]
    fn this_machine_has_a_readable_table() {
        let mounts = Mounts::read().unwrap();
        assert_eq!(mounts.holding(Path::new("/proc/self/fd")), Some(PathBuf::from("/proc")));
    }
}
