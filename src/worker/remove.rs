//! The end of a sector that the operator gave up: its files go, and nothing else does.
//!
//! Only paths that end in the sector's name are looked at, and in its folders only files of the names that the library
//! and seald give. The claim goes last, so that a removal that was cut short is known for one and goes on. Whether the
//! sector may be removed is decided elsewhere.

use super::{
    files::{self, Doing},
    finalize::incoming_of,
    folder::{Claim, Folder},
    jobs::{JobError, Say},
    protocol::{Outcome, SectorFiles, SectorRef},
};
use crate::{
    proofs::layout,
    sector::Class,
    units::{MinerId, SectorNumber, sector_file_name},
};
use std::{fs, path::Path};

/// Removes what the sector has in `places`, and where its marks say that it was going to. Can be repeated from any
/// point. What is not the sector's stays where it is, and is named on standard error.
pub fn remove(miner: MinerId, number: SectorNumber, places: &[SectorFiles], say: Say<'_>) -> Result<Outcome, JobError> {
    let mut search =
        Search { miner, number, name: sector_file_name(miner, number), seen: Vec::new(), found: Vec::new() };
    places.iter().try_for_each(|place| search.visit(place))?;
    search.vouch();
    search.found.iter().try_for_each(Place::check)?;
    for place in search.found {
        say("removing files", 0);
        place.remove()?;
    }
    Ok(Outcome::Remove)
}

/// Finds every place of a sector, the goal of a move before its source: the mark that names a goal goes after it.
struct Search {
    miner: MinerId,
    number: SectorNumber,
    name: String,
    seen: Vec<SectorFiles>,
    found: Vec<Place>,
}

impl Search {
    fn visit(&mut self, files: &SectorFiles) -> Result<(), JobError> {
        require_name(files, &self.name)?;
        if self.seen.contains(files) {
            return Ok(());
        }
        self.seen.push(files.clone());
        let folder = if files.work.is_dir() { Some(Folder::open(&files.work)?) } else { None };
        let claims = folder.as_ref().map_or(Ok(Vec::new()), Folder::claims)?;
        let mine = (self.miner, self.number);
        if let Some(Claim { sector, .. }) = claims.iter().find(|c| (c.sector.miner, c.sector.number) != mine) {
            let SectorRef { miner, number, .. } = sector;
            let what = format!("{} belongs to sector {number} of {miner}: move it away", files.work.display());
            return Err(JobError::new(Class::Environment, what));
        }
        let goals: Vec<_> = claims.iter().filter_map(|claim| claim.moves_to.clone()).collect();
        goals.iter().try_for_each(|goal| self.visit(goal))?;
        self.found.push(Place { files: files.clone(), claimed: !claims.is_empty(), folder, goals });
        Ok(())
    }

    /// The goal of a move is claimed by the mark at its source.
    fn vouch(&mut self) {
        let goals: Vec<_> = self.found.iter().flat_map(|place| place.goals.clone()).collect();
        self.found.iter_mut().filter(|place| goals.contains(&place.files)).for_each(|place| place.claimed = true);
    }
}

struct Place {
    files: SectorFiles,
    folder: Option<Folder>,
    /// Where its mark says that the sector goes.
    goals: Vec<SectorFiles>,
    /// The work folder, or the mark of a move, says that the files are the sector's.
    claimed: bool,
}

impl Place {
    /// A repo that is not mounted would look as if the files were gone, and a sealed sector that nobody claims was not
    /// sealed here.
    fn check(&self) -> Result<(), JobError> {
        let SectorFiles { sealed, cache, work } = &self.files;
        for directory in [sealed, cache, work].into_iter().filter_map(|path| path.parent()) {
            fs::metadata(directory).doing("cannot look into (is the repo mounted?)", directory)?;
        }
        let aux = cache.join(layout::P_AUX);
        if self.claimed || files::length(&aux).is_none() {
            return Ok(());
        }
        let what = format!("{} is of a sector that was not sealed here: remove it by hand", aux.display());
        Err(JobError::new(Class::Environment, what))
    }

    fn remove(self) -> Result<(), JobError> {
        let Self { files: SectorFiles { sealed, cache, work }, folder, claimed: _, goals: _ } = self;
        if let Some(folder) = &folder {
            folder.give_up()?;
        }
        for path in [incoming_of(&sealed), Some(sealed)].into_iter().flatten() {
            files::remove(&path)?;
            if path.parent().is_some_and(Path::is_dir) {
                files::sync_parent(&path)?;
            }
        }
        for directory in [incoming_of(&cache), Some(cache)].into_iter().flatten() {
            remove_folder(&directory, layout::is_of_sector)?;
        }
        if let Some(folder) = &folder {
            folder.clear_claims_last()?;
            remove_folder(&work, |_| false)?;
        }
        Ok(())
    }
}

/// Removes the files that are `ours`, then the folder when nothing else is in it.
fn remove_folder(folder: &Path, ours: impl Fn(&str) -> bool) -> Result<(), JobError> {
    // what it leads to was attached by an operator, who keeps it
    if folder.is_symlink() {
        files::remove(folder)?;
        return files::sync_parent(folder);
    }
    if !folder.is_dir() {
        return Ok(());
    }
    let (ours, others): (Vec<_>, Vec<_>) = files::names(folder)?.into_iter().partition(|name| ours(name));
    ours.iter().try_for_each(|name| files::remove(&folder.join(name)))?;
    if others.is_empty() {
        fs::remove_dir(folder).doing("cannot remove", folder)?;
        return files::sync_parent(folder);
    }
    eprintln!("WARN {} stays, it holds what is not the sector's: {}", folder.display(), others.join(", "));
    files::sync(folder)
}

fn require_name(files: &SectorFiles, name: &str) -> Result<(), JobError> {
    let SectorFiles { sealed, cache, work } = files;
    match [sealed, cache, work].into_iter().find(|path| path.file_name().is_none_or(|last| last != name)) {
        None => Ok(()),
        Some(path) => Err(JobError::new(Class::Worker, format!("{} is not a path of {name}", path.display()))),
    }
}

#[cfg(test)]
mod tests;
