//! Finalize, from every half state that a kill can leave.

use super::*;
use crate::{
    sector::Class,
    worker::{
        jobs::tests::{Site, class, disk::Disk, files_in, run, site},
        protocol::Job,
    },
};

fn finish(site: &Site, to: &SectorFiles) -> Result<Outcome, JobError> {
    run(&Job::Finalize { sector: site.sector.clone(), files: site.files.clone(), to: to.clone() })
}

fn other_repo(site: &Site) -> SectorFiles {
    let repo = site.repo.path().join("store");
    fs::create_dir_all(&repo).unwrap();
    files_in(&repo)
}

/// Replica, cache listing.
fn content(files: &SectorFiles) -> (Vec<u8>, Vec<String>) {
    (fs::read(&files.sealed).unwrap(), files::names(&files.cache).unwrap())
}

const KEPT: [&str; 2] = ["p_aux", "sc-02-data-tree-r-last.dat"];

fn assert_moved(site: &Site, to: &SectorFiles, replica: &[u8]) {
    assert_eq!(content(to), (replica.to_vec(), KEPT.map(str::to_owned).to_vec()));
    assert!(!site.files.sealed.exists() && !site.files.cache.exists());
    assert_eq!(files::names(&site.files.work).unwrap(), ["finalized.json"]);
    assert_eq!(files::names(&to.work).unwrap(), ["finalized.json"]);
    assert_eq!(class(site.precommit1(1, true)), Class::Data, "nothing is sealed there again");
}

#[test]
fn in_place_only_the_cache_is_trimmed() {
    let site = site();
    site.sealed();
    let replica = fs::read(&site.files.sealed).unwrap();
    for _ in 0..2 {
        finish(&site, &site.files).unwrap();
        assert_eq!(content(&site.files), (replica.clone(), KEPT.map(str::to_owned).to_vec()));
        assert_eq!(files::names(&site.files.work).unwrap(), ["finalized.json"]);
    }
}

#[test]
fn a_sector_moves_to_another_repo_once_and_for_all() {
    let site = site();
    site.sealed();
    let replica = fs::read(&site.files.sealed).unwrap();
    let to = other_repo(&site);
    finish(&site, &to).unwrap();
    assert_moved(&site, &to, &replica);
    finish(&site, &to).unwrap();
    assert_moved(&site, &to, &replica);
}

// matrix: B20
#[test]
fn a_trim_goes_on_from_wherever_it_was_cut() {
    let trimmed =
        ["sc-02-data-layer-1.dat", "sc-02-data-layer-2.dat", "sc-02-data-tree-c.dat", "sc-02-data-tree-d.dat"];
    for gone in 0..=trimmed.len() {
        let site = site();
        site.sealed();
        let replica = fs::read(&site.files.sealed).unwrap();
        let mark = Finalized { sector: site.sector.clone(), to: site.files.clone(), done: false };
        Folder::open(&site.files.work).unwrap().mark_finalized(&mark).unwrap();
        trimmed[..gone].iter().for_each(|name| fs::remove_file(site.files.cache.join(name)).unwrap());
        finish(&site, &site.files).unwrap();
        assert_eq!(content(&site.files), (replica, KEPT.map(str::to_owned).to_vec()));
    }
}

// matrix: B21, B22
#[test]
fn a_move_goes_on_from_wherever_it_was_cut() {
    type Cut = fn(&Site, &SectorFiles);
    let cuts: [Cut; 7] = [
        // 30 % of the replica on its way, the cache in place
        |site, to| {
            let mark = Finalized { sector: site.sector.clone(), to: to.clone(), done: false };
            Folder::open(&site.files.work).unwrap().mark_finalized(&mark).unwrap();
            trim(&site.files.cache).unwrap();
            make_parents(to).unwrap();
            place(&site.files.cache, &to.cache).unwrap();
            let replica = fs::read(&site.files.sealed).unwrap();
            fs::write(incoming(&to.sealed).unwrap(), &replica[..replica.len() * 3 / 10]).unwrap();
        },
        // done at both places, of the source only the cache removed
        |site, to| {
            finish(site, to).unwrap();
            let mark = Finalized { sector: site.sector.clone(), to: to.clone(), done: true };
            Folder::open(&site.files.work).unwrap().mark_finalized(&mark).unwrap();
            fs::copy(&to.sealed, &site.files.sealed).unwrap();
        },
        // half a cache on its way
        |_, to| {
            let incoming = to.cache.parent().unwrap().join("fetching/s-t01000-7");
            fs::create_dir_all(&incoming).unwrap();
            fs::write(incoming.join("p_aux"), "half").unwrap();
        },
        // half a replica on its way
        |_, to| {
            let incoming = to.sealed.parent().unwrap().join("fetching");
            fs::create_dir_all(&incoming).unwrap();
            fs::write(incoming.join("s-t01000-7"), "half").unwrap();
        },
        // trimmed and marked, cache in place
        |site, to| {
            let mark = Finalized { sector: site.sector.clone(), to: to.clone(), done: false };
            Folder::open(&site.files.work).unwrap().mark_finalized(&mark).unwrap();
            trim(&site.files.cache).unwrap();
            make_parents(to).unwrap();
            place(&site.files.cache, &to.cache).unwrap();
        },
        // both in place, nothing marked as done
        |site, to| {
            let mark = Finalized { sector: site.sector.clone(), to: to.clone(), done: false };
            Folder::open(&site.files.work).unwrap().mark_finalized(&mark).unwrap();
            trim(&site.files.cache).unwrap();
            make_parents(to).unwrap();
            place(&site.files.cache, &to.cache).unwrap();
            place(&site.files.sealed, &to.sealed).unwrap();
        },
        // done, the old cache already gone
        |site, to| {
            finish(site, to).unwrap();
            fs::copy(&to.sealed, &site.files.sealed).unwrap();
            fs::write(site.output("pc2.json"), "left over").unwrap();
        },
    ];
    for cut in cuts {
        let site = site();
        site.sealed();
        let replica = fs::read(&site.files.sealed).unwrap();
        let to = other_repo(&site);
        cut(&site, &to);
        finish(&site, &to).unwrap();
        assert_moved(&site, &to, &replica);
    }
}

#[test]
fn a_finished_sector_moves_on_to_another_repo() {
    let site = site();
    site.sealed();
    let replica = fs::read(&site.files.sealed).unwrap();
    let first = other_repo(&site);
    finish(&site, &first).unwrap();
    let second = site.repo.path().join("second");
    fs::create_dir(&second).unwrap();
    let second = files_in(&second);
    finish(&site, &second).unwrap();
    assert_eq!(fs::read(&second.sealed).unwrap(), replica);
    assert!(!first.sealed.exists());
}

// matrix: F5
#[test]
fn a_copy_that_finds_no_space_is_a_resource_failure_and_the_source_stays() {
    let site = site();
    site.sealed();
    let replica = fs::read(&site.files.sealed).unwrap();
    let to = other_repo(&site);
    let Some(disk) = Disk::mount(to.sealed.parent().unwrap().parent().unwrap()) else { return };
    make_parents(&to).unwrap();
    disk.fill(0);
    assert_eq!(class(finish(&site, &to)), Class::Resource);
    assert_eq!(fs::read(&site.files.sealed).unwrap(), replica, "the source stays");
    disk.free();
    finish(&site, &to).unwrap();
    assert_moved(&site, &to, &replica);
}

#[test]
fn what_is_in_the_way_is_neither_overwritten_nor_believed() {
    let site = site();
    site.sealed();
    let replica = fs::read(&site.files.sealed).unwrap();
    let to = other_repo(&site);
    make_parents(&to).unwrap();
    fs::write(&to.sealed, "somebody else's").unwrap();
    assert_eq!(class(finish(&site, &to)), Class::Environment);
    assert_eq!(fs::read(&to.sealed).unwrap(), b"somebody else's");
    assert_eq!(fs::read(&site.files.sealed).unwrap(), replica, "the source stays");
}

#[test]
fn a_source_is_kept_when_the_copy_is_gone() {
    let site = site();
    site.sealed();
    let replica = fs::read(&site.files.sealed).unwrap();
    let to = other_repo(&site);
    let mark = Finalized { sector: site.sector.clone(), to: to.clone(), done: true };
    Folder::open(&site.files.work).unwrap().mark_finalized(&mark).unwrap();
    assert_eq!(class(finish(&site, &to)), Class::Environment);
    assert_eq!(fs::read(&site.files.sealed).unwrap(), replica);
}
