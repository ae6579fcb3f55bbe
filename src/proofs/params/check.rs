//! Whether the parameters of a size are there and whole. Reads only.

use super::{
    FileReport, FileState, Kind, Origin, ParamFile, ParamsError, Purpose, at, can_generate, catalog,
    files::{self, Marker},
};
use crate::units::{Bytes, SectorSize};
use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Looks at every file of a size, and reads every byte of it: about a second a gigabyte.
///
/// # Errors
/// When a file is there and cannot be read. A damaged or missing file is a report, not an error.
pub fn check(size: SectorSize, dir: &Path) -> Result<Vec<FileReport>, ParamsError> {
    check_files(catalog::files(size)?, dir, can_generate(size))
}

/// Whether proving can start: [`lacking`] finds nothing.
pub fn ready(size: SectorSize, dir: &Path) -> bool {
    lacking(size, dir).is_ok_and(|lacking| lacking.is_empty())
}

/// Whether proofs of this size can be aggregated: the reference string is there and has the length that its own counts
/// add up to.
pub fn can_aggregate(size: SectorSize, dir: &Path) -> bool {
    let fits = |file: &ParamFile| matches!(shape(&dir.join(&file.name), file.kind), Ok(Shape::Fits(_)));
    catalog::files(size).is_ok_and(|files| files.iter().any(|file| file.kind == Kind::Srs && fits(file)))
}

/// The files that sealing and proving need and that are not there, do not have the length that their own counts add
/// up to, or do not belong to their verifying key. Takes a few reads, so it does not find a changed byte; [`check`]
/// does.
///
/// # Errors
/// Nobody knows the files of this size.
pub fn lacking(size: SectorSize, dir: &Path) -> Result<Vec<ParamFile>, ParamsError> {
    Ok(lacking_of(catalog::files(size)?, dir))
}

/// [`lacking`] for these files.
pub fn lacking_of(mut files: Vec<ParamFile>, dir: &Path) -> Vec<ParamFile> {
    let all = files.clone();
    let fits = |file: &ParamFile| {
        let fits = shape(&dir.join(&file.name), file.kind).is_ok_and(|shape| matches!(shape, Shape::Fits(_)));
        fits && stray_key(&all, file, dir).is_ok_and(|stray| !stray)
    };
    files.retain(|file| file.purpose != Purpose::Aggregation && !fits(file));
    files
}

/// [`check`] for these files.
pub fn check_files(files: Vec<ParamFile>, dir: &Path, may_be_made_here: bool) -> Result<Vec<FileReport>, ParamsError> {
    let mut reports = Vec::with_capacity(files.len());
    for file in &files {
        let path = dir.join(&file.name);
        let (bytes, state) = match shape(&path, file.kind).map_err(at("read", &path))? {
            Shape::Missing => (0, FileState::Missing),
            Shape::CutOff { bytes, why } => (bytes, FileState::Corrupt { why }),
            Shape::Fits(bytes) => {
                let found = files::digest(&path).map_err(at("read", &path))?;
                (bytes, state(file, &path, &found, may_be_made_here))
            }
        };
        let stray = matches!(state, FileState::Good(_)) && stray_key(&files, file, dir).map_err(at("read", &path))?;
        let why = || "it is not the verifying key of the parameters beside it".to_owned();
        let state = if stray { FileState::Corrupt { why: why() } } else { state };
        reports.push(FileReport { file: file.clone(), state, bytes: Bytes::new(bytes) });
    }
    Ok(reports)
}

fn state(file: &ParamFile, path: &Path, found: &str, may_be_made_here: bool) -> FileState {
    let published = &file.published;
    if found == published {
        return FileState::Good(Origin::Published);
    }
    match if may_be_made_here { Marker::read(path) } else { None } {
        Some(Marker { digest, .. }) if digest == found => FileState::Good(Origin::Generated),
        Some(Marker { digest, .. }) => {
            FileState::Corrupt { why: format!("its digest is {found}, it was made with {digest}") }
        }
        None => FileState::Corrupt { why: format!("its digest is {found}, the published one is {published}") },
    }
}

enum Shape {
    Missing,
    Fits(u64),
    CutOff { bytes: u64, why: String },
}

fn shape(path: &Path, kind: Kind) -> io::Result<Shape> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Shape::Missing),
        Err(error) => return Err(error),
    };
    let bytes = file.metadata()?.len();
    let why = match files::length_by_layout(&file, kind) {
        Ok(length) if length == bytes => return Ok(Shape::Fits(bytes)),
        Ok(length) => format!("it has {bytes} bytes where its own counts add up to {length}"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => format!("it ends after {bytes} bytes"),
        Err(error) => return Err(error),
    };
    Ok(Shape::CutOff { bytes, why })
}

/// Whether `file` is a verifying key and the parameters of its purpose, being there, begin with another one.
fn stray_key(files: &[ParamFile], file: &ParamFile, dir: &Path) -> io::Result<bool> {
    let partner = |other: &&ParamFile| other.purpose == file.purpose && other.kind == Kind::Parameters;
    match files.iter().find(partner).map(|params| dir.join(&params.name)) {
        Some(params) if file.kind == Kind::VerifyingKey && fs::exists(&params)? => {
            Ok(!files::belong_together(&params, &dir.join(&file.name))?)
        }
        Some(_) | None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A verifying key with one list of `n` points, and parameters around it; zero bytes where points would be.
    fn pair(n: u8, head: u8) -> (Vec<u8>, Vec<u8>) {
        let list = |n: u8, point: usize| [vec![0, 0, 0, n], vec![7; usize::from(n) * point]].concat();
        let key = [vec![head; 864], list(n, 96)].concat();
        let rest = [list(3, 96), list(2, 96), list(2, 96), list(1, 96), list(1, 192)].concat();
        let params = [key.clone(), rest].concat();
        (key, params)
    }

    fn file(name: &str, kind: Kind) -> ParamFile {
        ParamFile { name: name.into(), purpose: Purpose::PoRep, kind, published: "00".repeat(16) }
    }

    fn look(dir: &Path) -> Vec<FileState> {
        let files = vec![file("p", Kind::Parameters), file("k", Kind::VerifyingKey)];
        check_files(files, dir, true).unwrap().into_iter().map(|report| report.state).collect()
    }

    fn made_here(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
        Marker::write(path, files::digest(path).unwrap()).unwrap();
    }

    #[test]
    fn a_file_made_here_is_good_until_a_byte_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (key, mut params) = pair(2, 1);
        assert_eq!(look(dir.path()), [FileState::Missing, FileState::Missing]);
        made_here(&dir.path().join("p"), &params);
        made_here(&dir.path().join("k"), &key);
        let good = FileState::Good(Origin::Generated);
        assert_eq!(look(dir.path()), [good.clone(), good.clone()]);
        *params.last_mut().unwrap() ^= 1;
        fs::write(dir.path().join("p"), &params).unwrap();
        assert!(matches!(look(dir.path()).as_slice(), [FileState::Corrupt { .. }, state] if *state == good));
    }

    #[test]
    fn cut_off_and_mismatched_files_are_found_without_a_digest() {
        let dir = tempfile::tempdir().unwrap();
        let files = [file("p", Kind::Parameters), file("k", Kind::VerifyingKey)];
        let ((key, params), (other, _)) = (pair(2, 1), pair(2, 9));
        let with = |p: &[u8], k: &[u8]| {
            fs::write(dir.path().join("p"), p).unwrap();
            fs::write(dir.path().join("k"), k).unwrap();
            lacking_of(files.to_vec(), dir.path()).is_empty()
        };
        assert!(with(&params, &key));
        assert!(!with(&params[..params.len() - 1], &key));
        assert!(!with(&params[..900], &key));
        assert!(!with(&params, &other));
        fs::remove_file(dir.path().join("k")).unwrap();
        assert_eq!(lacking_of(files.to_vec(), dir.path()).len(), 1);
    }

    #[test]
    fn the_published_digest_needs_no_marker_and_production_sizes_accept_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let empty = [0; 16];
        made_here(&path, &empty);
        let srs = ParamFile { purpose: Purpose::Aggregation, ..file("s", Kind::Srs) };
        let look = |file: &ParamFile| check_files(vec![file.clone()], dir.path(), false).unwrap().remove(0).state;
        assert!(matches!(look(&srs), FileState::Corrupt { .. }));
        let published = ParamFile { published: files::digest(&path).unwrap(), ..srs };
        assert_eq!(look(&published), FileState::Good(Origin::Published));
        fs::write(&path, [empty.as_slice(), &[1]].concat()).unwrap();
        let FileState::Corrupt { why } = look(&published) else { panic!("a byte too many") };
        assert!(why.contains("17 bytes where its own counts add up to 16"), "{why}");
    }
}
