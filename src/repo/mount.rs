//! What is mounted where, for repos that must not be mistaken for the empty folder below a missing mount.
//!
//! `require_mount` holds when a file system is mounted on the repo's path or on a folder above it, other than `/`. The root
//! does not count: everything is below it, mounted or not. Nor does a folder that is bound to itself, which systemd does
//! to each place that a unit may write to: there a path leads to the same bytes as without the mount.

use super::RepoError;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

const TABLE: &str = "/proc/self/mountinfo";

/// Mount points of this process at which another file system, or another part of it, begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts(BTreeSet<PathBuf>);

/// A line of the kernel's table.
struct Row<'a> {
    /// The number of the mount that this one is on.
    on: &'a [u8],
    /// Major and minor number of the file system.
    device: &'a [u8],
    /// The folder of the file system that is seen here.
    shown: PathBuf,
    /// Where it is seen.
    at: PathBuf,
}

impl Mounts {
    /// Reads the kernel's table.
    ///
    /// # Errors
    /// [`RepoError::Io`].
    pub fn read() -> Result<Self, RepoError> {
        let table = std::fs::read(TABLE).map_err(RepoError::io("read the mount table", Path::new(TABLE)))?;
        Ok(Self::parse(&table))
    }

    /// The mount points of a table, without those that show what would be there without them.
    pub fn parse(table: &[u8]) -> Self {
        let rows: BTreeMap<&[u8], Row<'_>> = table.split(|byte| *byte == b'\n').filter_map(row).collect();
        Self(rows.values().filter(|row| !is_shown_from_above(row, &rows)).map(|row| row.at.clone()).collect())
    }

    /// The mount point, other than the root, that `path` is on. Links in `path` are followed as far as it exists.
    pub fn holding(&self, path: &Path) -> Option<PathBuf> {
        let real = resolve(path);
        let above = real.ancestors().take_while(|folder| folder.parent().is_some());
        above.map(Path::to_path_buf).find(|folder| self.0.contains(folder))
    }
}

/// Its number, and the four fields after it, with the kernel's escapes for blanks and backslashes undone.
fn row(line: &[u8]) -> Option<(&[u8], Row<'_>)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut field = || fields.next();
    let (number, on, device) = (field()?, field()?, field()?);
    Some((number, Row { on, device, shown: unescape(field()?), at: unescape(field()?) }))
}

/// Whether a mount that this one is on, or is on through others, has the same folder of the same file system there.
fn is_shown_from_above(row: &Row<'_>, rows: &BTreeMap<&[u8], Row<'_>>) -> bool {
    let below = |row: &&Row<'_>| rows.get(row.on);
    // no walk is longer than the table, and what comes back to its beginning is the root of a namespace
    let walk = std::iter::successors(below(&row), below).take(rows.len());
    walk.take_while(|above| !std::ptr::eq(*above, row)).any(|above| {
        let rest = row.at.strip_prefix(&above.at);
        above.device == row.device && rest.is_ok_and(|rest| above.shown.join(rest) == row.shown)
    })
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

    /// What a unit with `ProtectSystem=strict` and `ReadWritePaths=/srv /mnt` sees, before and after a disk is mounted.
    #[test]
    fn a_folder_that_is_bound_to_itself_is_no_mount() {
        let unit = "27 1 8:1 / / ro - ext4 /dev/sda1 rw\n\
            50 27 8:1 /srv /srv rw - ext4 /dev/sda1 rw\n\
            51 27 8:1 /mnt /mnt rw - ext4 /dev/sda1 rw\n\
            52 27 8:1 /tmp/private/tmp /tmp rw - ext4 /dev/sda1 rw\n\
            53 52 8:1 /tmp/shared /tmp/shared rw - ext4 /dev/sda1 rw\n";
        let late = format!("{unit}60 50 259:0 / /srv/nvme0 rw - xfs /dev/nvme0n1 rw\n");
        let holding = |table: &str, path: &str| Mounts::parse(table.as_bytes()).holding(Path::new(path));
        assert_eq!(holding(unit, "/srv/nvme0"), None, "the disk is not there: this is the system's");
        assert_eq!(holding(unit, "/mnt"), None);
        assert_eq!(holding(&late, "/srv/nvme0/repo"), Some(PathBuf::from("/srv/nvme0")));
        assert_eq!(holding(&late, "/srv/nvme1"), None);
        // on another mount of the same disk, from which a bind leads back to what the root has there
        assert_eq!(holding(unit, "/tmp/shared"), Some(PathBuf::from("/tmp")));
        // a disk that is bound to itself is there all the same
        let bound = format!("{late}61 60 259:0 /repo /srv/nvme0/repo rw - xfs /dev/nvme0n1 rw\n");
        assert_eq!(holding(&bound, "/srv/nvme0/repo"), Some(PathBuf::from("/srv/nvme0")));
        let covered = format!("{late}61 60 259:0 / /srv/nvme0 rw - xfs /dev/nvme0n1 rw\n");
        assert_eq!(holding(&covered, "/srv/nvme0"), Some(PathBuf::from("/srv/nvme0")));
    }

    #[test]
    fn subvolumes_datasets_layers_and_folders_from_elsewhere_are_mounts_and_their_own_folders_are_none() {
        let holding = |table: &str, path: &str| Mounts::parse(table.as_bytes()).holding(Path::new(path));
        let at = |path: &str| Some(PathBuf::from(path));
        let btrfs = "27 1 0:25 /@ / rw - btrfs /dev/sda2 rw\n40 27 0:25 /@/srv /srv rw - btrfs /dev/sda2 rw\n\
            41 40 0:25 /@disk /srv/disk rw - btrfs /dev/sda2 rw\n";
        assert_eq!((holding(btrfs, "/srv/other"), holding(btrfs, "/srv/disk")), (None, at("/srv/disk")));
        let zfs = "27 1 0:30 / / rw - zfs rpool/root rw\n40 27 0:30 /srv /srv rw - zfs rpool/root rw\n\
            41 40 0:31 / /srv/disk rw - zfs tank/disk rw\n";
        assert_eq!((holding(zfs, "/srv/other"), holding(zfs, "/srv/disk")), (None, at("/srv/disk")));
        let overlay = "27 1 0:50 / / rw - overlay overlay rw\n40 27 0:50 /srv /srv rw - overlay overlay rw\n\
            41 27 8:1 /volumes/data /data rw - ext4 /dev/sda1 rw\n";
        assert_eq!((holding(overlay, "/srv/disk"), holding(overlay, "/data/repo")), (None, at("/data")));
        let chosen = "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 27 8:1 /big/folder /srv/disk rw - ext4 /dev/sda1 rw\n";
        assert_eq!(holding(chosen, "/srv/disk"), at("/srv/disk"), "whoever binds another folder there means it");
    }

    #[test]
    fn a_table_that_makes_no_sense_is_read_to_its_end() {
        let mounts = Mounts::parse(b"1 1 8:1 / /a rw\n2 3 8:2 / /b rw\n3 2 8:3 / /c rw\n4 4\n\n5");
        assert_eq!(mounts, Mounts(["/a", "/b", "/c"].map(PathBuf::from).into()));
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
