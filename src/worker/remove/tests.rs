//! Remove, from every half state, and what it leaves alone.

use super::*;
use crate::{
    sector::Class,
    units::Hash32,
    worker::{
        folder::Finalized,
        jobs::tests::{Site, class, files_in, run, sector, site},
        protocol::Job,
    },
};
use std::path::PathBuf;

const SEED: Hash32 = Hash32([9; 32]);

fn give_up(site: &Site, places: &[&SectorFiles]) -> Result<Outcome, JobError> {
    let SectorRef { miner, number, .. } = site.sector;
    run(&Job::Remove { miner, number, files: places.iter().map(|place| (*place).clone()).collect() })
}

/// All files and folders below, that hold something or not.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in files::names(folder).unwrap() {
        let path = folder.join(name);
        if path.is_dir() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

/// Whatever speaks of sector 7.
fn left(site: &Site) -> Vec<PathBuf> {
    below(site.repo.path()).into_iter().filter(|path| path.display().to_string().contains("s-t01000-7")).collect()
}

/// A sector with everything a worker ever writes, moved half-way to a second repo.
fn on_its_way() -> (Site, SectorFiles) {
    let site = site();
    let sealed = site.sealed();
    site.commit(&sealed, SEED).unwrap();
    let store = site.repo.path().join("store");
    fs::create_dir(&store).unwrap();
    let to = files_in(&store);
    for folder in [&to.sealed, &to.cache, &to.work].map(|path| path.parent().unwrap()) {
        fs::create_dir(folder).unwrap();
    }
    let mark = Finalized { sector: site.sector.clone(), to: to.clone(), done: false };
    Folder::open(&site.files.work).unwrap().mark_finalized(&mark).unwrap();
    fs::create_dir(&to.cache).unwrap();
    fs::write(to.cache.join(layout::P_AUX), [0; 64]).unwrap();
    let incoming = incoming_of(&to.sealed).unwrap();
    fs::create_dir(incoming.parent().unwrap()).unwrap();
    fs::write(incoming, "half").unwrap();
    fs::write(site.output("pc2.json.part"), "half").unwrap();
    fs::write(site.files.cache.join("sc-02-data-layer-2..tmp"), "half").unwrap();
    (site, to)
}

#[test]
fn a_removed_sector_leaves_nothing_behind_wherever_its_files_were() {
    let (site, to) = on_its_way();
    assert!(left(&site).len() > 15, "{:?}", left(&site));
    // where it was going to, its mark says
    give_up(&site, &[&site.files]).unwrap();
    assert_eq!(left(&site), Vec::<PathBuf>::new());
    give_up(&site, &[&site.files, &to]).unwrap();

    let moved = site_with_a_finished_move();
    give_up(&moved.0, &[&moved.1, &moved.0.files]).unwrap();
    assert_eq!(left(&moved.0), Vec::<PathBuf>::new());

    let begun = crate::worker::jobs::tests::site();
    begun.precommit1(2, false).unwrap();
    give_up(&begun, &[&begun.files]).unwrap();
    assert_eq!(left(&begun), Vec::<PathBuf>::new(), "of whatever ticket");
}

fn site_with_a_finished_move() -> (Site, SectorFiles) {
    let site = site();
    site.sealed();
    let store = site.repo.path().join("store");
    fs::create_dir(&store).unwrap();
    let to = files_in(&store);
    run(&Job::Finalize { sector: site.sector.clone(), files: site.files.clone(), to: to.clone() }).unwrap();
    (site, to)
}

/// Every state that a kill can leave: files go one by one, in the order in which the removal takes them.
// matrix: B23
#[test]
fn a_removal_goes_on_from_wherever_it_was_cut() {
    let all = {
        let (site, _) = on_its_way();
        let before = below(site.repo.path()).len();
        give_up(&site, &[&site.files]).unwrap();
        before - below(site.repo.path()).len()
    };
    let mut cut = 0;
    loop {
        let (site, to) = on_its_way();
        let gone = cut_after(&site, &to, cut);
        give_up(&site, &[&site.files]).unwrap();
        assert_eq!(left(&site), Vec::<PathBuf>::new(), "cut after {cut}");
        if gone < cut {
            break;
        }
        cut += 1;
    }
    assert_eq!(cut, all + 1, "every step was a cut");
}

/// Does the first steps of a removal, and says how many there were.
fn cut_after(site: &Site, to: &SectorFiles, steps: usize) -> usize {
    let order = |files: &SectorFiles| -> Vec<PathBuf> {
        let SectorFiles { sealed, cache, work } = files;
        let mut order = vec![incoming_of(sealed).unwrap(), sealed.clone()];
        order.extend(below(cache));
        order.push(cache.clone());
        let mut notes = below(work);
        notes.sort_by_key(|path| ["finalized.json", "job.json"].iter().position(|claim| path.ends_with(claim)));
        order.extend(notes);
        order.push(work.clone());
        order
    };
    let all: Vec<PathBuf> = order(to).into_iter().chain(order(&site.files)).filter(|path| path.exists()).collect();
    if steps > 0 {
        Folder::open(&site.files.work).unwrap().give_up().unwrap();
    }
    for path in all.iter().take(steps) {
        if path.is_dir() { fs::remove_dir(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    all.len().min(steps)
}

#[test]
fn a_half_removed_sector_is_of_no_use_to_any_stage() {
    let site = site();
    let sealed = site.sealed();
    Folder::open(&site.files.work).unwrap().give_up().unwrap();
    assert_eq!(class(site.precommit2()), Class::Data);
    assert_eq!(class(site.commit(&sealed, SEED)), Class::Data);
}

#[test]
fn strangers_and_other_sectors_stay() {
    let site = site();
    site.sealed();
    let mine = left(&site).len();
    let others = [
        site.files.cache.join("notes.txt"),
        site.files.work.join("mine.json"),
        site.files.cache.with_file_name("s-t01000-70"),
        site.files.sealed.with_file_name("s-t01000-77"),
        site.files.sealed.with_file_name("s-t01001-7"),
    ];
    others.iter().for_each(|path| fs::write(path, "not the sector's").unwrap());
    assert!(mine > 10);
    give_up(&site, &[&site.files]).unwrap();
    for path in &others {
        assert_eq!(fs::read(path).unwrap(), b"not the sector's", "{}", path.display());
    }
    assert!(files::names(&site.files.cache).unwrap() == ["notes.txt"] && !site.files.sealed.exists());
    give_up(&site, &[&site.files]).unwrap();
}

#[test]
fn what_is_claimed_by_another_sector_or_by_nobody_is_refused() {
    let mut foreign = site();
    foreign.sealed();
    let before = below(foreign.repo.path());
    let name = foreign.files.clone();
    foreign.sector = sector(8, 1);
    assert_eq!(class(give_up(&foreign, &[&name])), Class::Worker, "the names are not sector 8's");
    let job = Job::PreCommit1 { sector: sector(8, 1), files: foreign.files.clone(), fresh: false };
    assert_eq!(class(run(&job)), Class::Environment);
    assert_eq!(below(foreign.repo.path()), before);

    // the names are right, the work folder says another
    let disguised = site();
    disguised.sealed();
    Folder::open(&disguised.files.work).unwrap().claim(&sector(8, 1), false).unwrap();
    let before = below(disguised.repo.path());
    assert_eq!(class(give_up(&disguised, &[&disguised.files])), Class::Environment);
    assert_eq!(below(disguised.repo.path()), before);

    let strange = site();
    strange.sealed();
    fs::remove_dir_all(&strange.files.work).unwrap();
    let before = below(strange.repo.path());
    assert_eq!(class(give_up(&strange, &[&strange.files])), Class::Environment);
    assert_eq!(below(strange.repo.path()), before, "sealed, and nobody says by whom");
}

#[test]
fn a_repo_that_is_not_mounted_is_not_taken_for_an_empty_one() {
    let site = site();
    site.sealed();
    let missing = files_in(&site.repo.path().join("not mounted"));
    let before = below(site.repo.path());
    assert_eq!(class(give_up(&site, &[&site.files, &missing])), Class::Environment);
    assert_eq!(below(site.repo.path()), before, "all or nothing is begun");
}

#[test]
fn nothing_is_removed_under_a_running_stage() {
    let site = site();
    site.sealed();
    let lock = Folder::open(&site.files.work).unwrap();
    assert_eq!(class(give_up(&site, &[&site.files])), Class::Resource);
    assert!(site.files.sealed.exists());
    drop(lock);
    give_up(&site, &[&site.files]).unwrap();
}

#[test]
fn what_an_operator_attached_by_links_is_let_go_and_kept() {
    let site = site();
    site.sealed();
    let attached = site.repo.path().join("attached");
    fs::create_dir(&attached).unwrap();
    let (sealed, cache) = (attached.join("replica"), attached.join("trees"));
    for (from, to) in [(&site.files.sealed, &sealed), (&site.files.cache, &cache)] {
        fs::rename(from, to).unwrap();
        std::os::unix::fs::symlink(to, from).unwrap();
    }
    let before = below(&attached);
    give_up(&site, &[&site.files]).unwrap();
    assert_eq!(left(&site), Vec::<PathBuf>::new());
    assert_eq!(below(&attached), before, "the files behind the links stay");
}
