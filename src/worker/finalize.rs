//! The end of sealing: what proving does not need goes, and the rest moves to where it is kept.
//!
//! Only called once the chain shows the sector and no reorganisation can take it back. The mark of a finished sector
//! is written before the first file goes, so that from then on no stage seals over it. A file leaves its old place
//! only after all of them were read back whole in the new one, and nothing that is there already is overwritten.

use super::{
    files::{self, Doing},
    folder::{Finalized, Folder, Standing},
    jobs::{JobError, Say, make_directories},
    protocol::{Outcome, SectorFiles, SectorRef},
};
use crate::{proofs::layout, sector::Class};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Trims the sector and moves it from `from` to `to`; equal when nothing moves. Can be repeated from any point.
pub fn finalize(sector: &SectorRef, from: &SectorFiles, to: &SectorFiles, say: Say<'_>) -> Result<Outcome, JobError> {
    let folder = Folder::open(&from.work)?;
    let before = folder.finalized()?;
    if let Some(before) = &before {
        check_sector(before, sector, from)?;
    } else if folder.standing(sector)? != Standing::Same {
        let what = format!("{} does not say that the files are of this sector", from.work.display());
        return Err(JobError::new(Class::Data, what));
    }
    match before {
        Some(Finalized { to: there, done: true, .. }) => {
            // the files are there already; perhaps the old ones are not gone yet, perhaps they shall go on elsewhere
            leave(&folder, from, &there)?;
            if there == *from { settle(&folder, sector, from, to, say)? } else { pass_on(sector, &there, to, say)? }
        }
        Some(_) | None => settle(&folder, sector, from, to, say)?,
    }
    Ok(Outcome::Finalize)
}

fn check_sector(before: &Finalized, sector: &SectorRef, from: &SectorFiles) -> Result<(), JobError> {
    if before.sector == *sector {
        return Ok(());
    }
    let number = before.sector.number;
    let what = format!("{} is of sector {number} with another ticket: look at it by hand", from.work.display());
    Err(JobError::new(Class::Environment, what))
}

/// The sector was moved before and has its own work folder there.
fn pass_on(sector: &SectorRef, there: &SectorFiles, to: &SectorFiles, say: Say<'_>) -> Result<(), JobError> {
    if there == to {
        return Ok(());
    }
    settle(&Folder::open(&there.work)?, sector, there, to, say)
}

fn settle(
    folder: &Folder,
    sector: &SectorRef,
    from: &SectorFiles,
    to: &SectorFiles,
    say: Say<'_>,
) -> Result<(), JobError> {
    require_replica(from)?;
    let mark = |done| Finalized { sector: sector.clone(), to: to.clone(), done };
    folder.mark_finalized(&mark(false))?;
    say("trimming", 50);
    trim(&from.cache)?;
    if from != to {
        make_parents(to)?;
        say("copying the cache", 100);
        place(&from.cache, &to.cache)?;
        say("copying the replica", 200);
        place(&from.sealed, &to.sealed)?;
        make_directories(to)?;
        Folder::open(&to.work)?.mark_finalized(&mark(true))?;
    }
    folder.mark_finalized(&mark(true))?;
    say("removing the source", 950);
    leave(folder, from, to)
}

/// Removes what is left at the old place, when there is a new one, and the outputs of the stages.
fn leave(folder: &Folder, from: &SectorFiles, to: &SectorFiles) -> Result<(), JobError> {
    if from != to {
        require_replica(to)?;
        files::remove_all(&from.cache)?;
        files::remove(&from.sealed)?;
        files::sync_parent(&from.cache)?;
        files::sync_parent(&from.sealed)?;
    }
    folder.clear()
}

/// What proving needs must be there.
fn require_replica(files: &SectorFiles) -> Result<(), JobError> {
    let SectorFiles { sealed, cache, .. } = files;
    for path in [sealed.clone(), cache.join(layout::P_AUX)] {
        fs::metadata(&path).doing("the sector is not whole: cannot find", &path)?;
    }
    Ok(())
}

fn trim(cache: &Path) -> Result<(), JobError> {
    for name in files::names(cache)?.iter().filter(|name| layout::is_trimmed(name)) {
        files::remove(&cache.join(name))?;
    }
    files::sync_all_in(cache)
}

fn make_parents(to: &SectorFiles) -> Result<(), JobError> {
    [&to.sealed, &to.cache].into_iter().filter_map(|path| path.parent()).try_for_each(files::make_directory)
}

/// Copies a file or a flat directory beside its goal, compares it, and renames it into place.
fn place(from: &Path, to: &Path) -> Result<(), JobError> {
    if to.exists() {
        return require_same(from, to);
    }
    let incoming = incoming(to)?;
    files::remove_all(&incoming)?;
    if from.is_dir() {
        files::make_directory(&incoming)?;
        for name in files::names(from)? {
            files::copy_verified(&from.join(&name), &incoming.join(&name))?;
        }
        files::sync(&incoming)?;
    } else {
        files::copy_verified(from, &incoming)?;
    }
    fs::rename(&incoming, to).doing("cannot put in place", to)?;
    files::sync_parent(to)
}

/// Makes the folder of what is on its way in.
fn incoming(to: &Path) -> Result<PathBuf, JobError> {
    let path = incoming_of(to)
        .ok_or_else(|| JobError::new(Class::Environment, format!("{} is not a path below a repo", to.display())))?;
    path.parent().map_or(Ok(()), files::make_directory)?;
    Ok(path)
}

/// `<kind>/fetching/<name>`: where other Filecoin software also keeps what is on its way in.
pub(super) fn incoming_of(to: &Path) -> Option<PathBuf> {
    Some(to.parent()?.join("fetching").join(to.file_name()?))
}

/// Renames make the goal whole at once, so one that differs is not a copy cut short.
fn require_same(from: &Path, to: &Path) -> Result<(), JobError> {
    let same = if from.is_dir() {
        let names = files::names(from)?;
        let mut same = names == files::names(to)?;
        for name in names {
            same = same && files::same(&from.join(&name), &to.join(&name))?;
        }
        same
    } else {
        files::same(from, to)?
    };
    if same {
        return Ok(());
    }
    let what = format!("{} already holds something else than {}: move it away", to.display(), from.display());
    Err(JobError::new(Class::Environment, what))
}

#[cfg(test)]
mod tests;
