//! Repos in throw-away folders, and the laws of the ledger.

use super::*;
use crate::{
    sector::Stage,
    units::{SectorSize, sector_file_name},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, fs::File};

fn declared(path: &Path) -> Declared {
    Declared {
        name: "nvme0".parse().unwrap(),
        path: path.to_path_buf(),
        seal: true,
        store: false,
        max_use: None,
        reserve: Bytes::default(),
        weight: 10,
        require_mount: false,
    }
}

fn marker(repo: &Path) -> Value {
    serde_json::from_slice(&fs::read(repo.join("sectorstore.json")).unwrap()).unwrap()
}

fn number(n: u64) -> SectorNumber {
    n.try_into().unwrap()
}

#[test]
fn a_new_repo_has_folders_a_lock_and_a_marker_that_lotus_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/yet/there");
    let declared = Declared { max_use: Some(Bytes::new(1 << 40)), ..declared(&path) };
    let repo = open(&declared).unwrap();
    for folder in ["unsealed", "sealed", "cache", "work"] {
        assert_eq!(fs::metadata(path.join(folder)).unwrap().permissions().mode() & 0o027, 0, "{folder}");
    }
    let expected = json!({
        "ID": repo.uuid(), "Weight": 10, "CanSeal": true, "CanStore": false, "MaxStorage": 1u64 << 40,
        "Groups": [], "AllowTo": [], "AllowTypes": [], "DenyTypes": [], "AllowMiners": [], "DenyMiners": [],
    });
    assert_eq!(marker(&path), expected);
    assert!(uuid::Uuid::parse_str(repo.uuid()).is_ok());
}

#[test]
fn what_lies_in_a_repo_is_seen_beside_its_owner_and_never_taken_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let repo = open(&declared(dir.path())).unwrap();
    let id = repo.uuid().to_owned();
    let (miner, cache) = (MinerId::new(1000), dir.path().join("cache/s-t01000-7"));
    fs::write(dir.path().join("sealed/s-t01000-7"), b"replica").unwrap();
    fs::create_dir(cache).unwrap();
    let both = BTreeSet::from([Kind::Sealed, Kind::Cache]);
    assert_eq!(sectors_at(dir.path(), &id).unwrap().sectors, [((miner, number(7)), both.clone())].into());
    assert_eq!(files_at(dir.path(), &id, miner, number(7)).unwrap(), both);
    assert_eq!(files_at(dir.path(), &id, miner, number(8)).unwrap(), BTreeSet::new());
    // another repo in its place, or the empty folder below a file system that is gone
    assert!(matches!(sectors_at(dir.path(), "other"), Err(RepoError::Marker { .. })));
    fs::remove_file(dir.path().join("sectorstore.json")).unwrap();
    assert!(matches!(files_at(dir.path(), &id, miner, number(7)), Err(RepoError::Io { .. })));
}

#[test]
fn opening_again_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&declared(dir.path())).unwrap().uuid().to_owned();
    let text = fs::read(dir.path().join("sectorstore.json")).unwrap();
    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(dir.path().join("sectorstore.json")).unwrap());
    let before = inode();
    fs::write(dir.path().join("sealed/s-t01000-7"), b"replica").unwrap();
    assert_eq!(open(&declared(dir.path())).unwrap().uuid(), first);
    assert_eq!(fs::read(dir.path().join("sectorstore.json")).unwrap(), text);
    assert_eq!(inode(), before, "the marker was not even rewritten");
    assert_eq!(fs::read(dir.path().join("sealed/s-t01000-7")).unwrap(), b"replica");
}

#[test]
fn a_marker_keeps_its_id_and_all_that_the_manifest_does_not_decide() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = json!({
        "ID": "one-of-lotus", "Weight": 3, "CanSeal": false, "CanStore": true, "MaxStorage": 7,
        "Groups": ["fast"], "AllowTo": null, "AllowTypes": ["sealed"], "AllowMiners": ["t01000"],
        "Later": { "nested": [1, { "deep": "kept" }], "float": 0.5 },
    });
    fs::write(dir.path().join("sectorstore.json"), theirs.to_string()).unwrap();
    let repo = open(&declared(dir.path())).unwrap();
    assert_eq!(repo.uuid(), "one-of-lotus");
    let mut expected = theirs;
    for (key, value) in
        [("Weight", json!(10)), ("CanSeal", json!(true)), ("CanStore", json!(false)), ("MaxStorage", json!(0))]
    {
        expected[key] = value;
    }
    assert_eq!(marker(dir.path()), expected);
}

#[test]
fn a_marker_that_makes_no_sense_is_refused_and_left_alone() {
    for text in ["", "{", "[]", "{}", r#"{"ID":""}"#, r#"{"ID":7}"#] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sectorstore.json"), text).unwrap();
        let error = open(&declared(dir.path())).unwrap_err();
        assert!(matches!(error, RepoError::Marker { .. }), "{text:?}: {error}");
        assert_eq!(error.remedy(), Remedy::Hold);
        assert_eq!(fs::read_to_string(dir.path().join("sectorstore.json")).unwrap(), text);
    }
}

#[test]
fn a_marker_with_a_number_that_would_lose_digits_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"{"ID":"theirs","Later":{"seed":[123456789012345678901234567890]}}"#;
    fs::write(dir.path().join("sectorstore.json"), text).unwrap();
    let error = open(&declared(dir.path())).unwrap_err();
    assert!(matches!(&error, RepoError::Marker { why, .. } if why.contains("its key Later")), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("sectorstore.json")).unwrap(), text);
}

#[test]
fn a_second_opener_is_told_who_has_it_and_the_end_of_the_first_lets_it_in() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&declared(dir.path())).unwrap();
    let error = open(&declared(dir.path())).unwrap_err();
    let RepoError::Locked { path, owner } = &error else { panic!("{error}") };
    assert_eq!(path, dir.path());
    assert!(owner.starts_with(concat!("seald ", env!("CARGO_PKG_VERSION"), ", process ")), "{owner}");
    assert!(owner.contains(&format!("process {} on ", std::process::id())), "{owner}");
    assert!(owner.contains(", since 20"), "{owner}");
    assert_eq!(error.remedy(), Remedy::Hold);
    drop(first);
    open(&declared(dir.path())).unwrap();
}

#[test]
fn another_process_is_named_and_what_it_left_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repo.lock");
    let said = r#"{"pid":4242,"host":"sealer-7","since":1767225600000,"program":"seald 0.0.9"}"#;
    fs::write(&path, said).unwrap();
    // an open file of its own is to the kernel what another process is
    let theirs = File::open(&path).unwrap();
    theirs.lock().unwrap();
    let error = open(&declared(dir.path())).unwrap_err().to_string();
    let who = "seald 0.0.9, process 4242 on sealer-7, since 2026-01-01T00:00:00Z";
    assert!(error.contains(who), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), said, "the loser does not touch the owner's words");
    assert!(!dir.path().join("sectorstore.json").exists(), "nor the repo");

    theirs.unlock().unwrap();
    let repo = open(&declared(dir.path())).unwrap();
    let now: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(now["pid"], json!(std::process::id()));
    drop(repo);
}

#[test]
fn an_owner_that_says_nothing_or_something_else_is_still_an_owner() {
    for (said, shown) in [("", "did not say who it is"), ("lotus 1.2\n", "a program that wrote \"lotus 1.2\"")] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("repo.lock"), said).unwrap();
        let theirs = File::open(dir.path().join("repo.lock")).unwrap();
        theirs.lock().unwrap();
        let error = open(&declared(dir.path())).unwrap_err().to_string();
        assert!(error.contains(shown), "{error}");
    }
}

#[test]
fn a_missing_mount_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("disk");
    let declared = Declared { require_mount: true, ..declared(&path) };
    let error = open_with(&declared, || Ok(Mounts::parse(b"27 1 8:1 / / rw - ext4 /dev/sda1 rw\n"))).unwrap_err();
    assert!(matches!(error, RepoError::NotMounted { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Hold);
    assert!(error.to_string().contains("require_mount"), "{error}");
    assert!(!path.exists());
    let parent = path.parent().unwrap().display();
    let bound = format!("27 1 8:1 / / ro - ext4 /dev/sda1 rw\n40 27 8:1 {parent} {parent} rw - ext4 /dev/sda1 rw\n");
    let error = open_with(&declared, || Ok(Mounts::parse(bound.as_bytes()))).unwrap_err();
    assert!(matches!(error, RepoError::NotMounted { .. }), "{error}");
    assert!(!path.exists());

    let table = format!("40 27 259:0 / {} rw - xfs /dev/nvme0n1 rw\n", path.display());
    open_with(&declared, || Ok(Mounts::parse(table.as_bytes()))).unwrap();
}

// matrix: F7
#[test]
fn a_repo_that_was_unmounted_or_covered_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let repo = open(&declared(&path)).unwrap();
    repo.check_mounted().unwrap();
    fs::rename(&path, dir.path().join("gone")).unwrap();
    assert!(matches!(repo.check_mounted(), Err(RepoError::Replaced { .. })));
    // another file system at the same place, even one that was a repo
    fs::create_dir(&path).unwrap();
    fs::write(path.join("repo.lock"), "").unwrap();
    assert!(matches!(repo.check_mounted(), Err(RepoError::Replaced { .. })));
    assert!(matches!(repo.space(), Err(RepoError::Replaced { .. })));
    assert!(matches!(repo.sectors(), Err(RepoError::Replaced { .. })), "not: there are no sectors");
    assert!(matches!(repo.used(), Err(RepoError::Replaced { .. })));
    fs::remove_dir_all(&path).unwrap();
    fs::rename(dir.path().join("gone"), &path).unwrap();
    assert_eq!(repo.sectors().unwrap(), Listing::default());
}

#[test]
fn a_folder_that_cannot_be_made_is_named_and_held() {
    // sysfs has no folders to make, not even for root
    let error = open(&declared(Path::new("/sys/seald-test"))).unwrap_err();
    assert_eq!(error.to_string(), "cannot create the folder /sys/seald-test");
    assert_eq!(error.remedy(), Remedy::Hold);

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("sealed"), "a file in the way").unwrap();
    let error = open(&declared(dir.path())).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot create the folder {}", dir.path().join("sealed").display()));
    assert_eq!(error.remedy(), Remedy::Hold);
    assert_eq!(fs::read_to_string(dir.path().join("sealed")).unwrap(), "a file in the way");
}

// matrix: F11
#[test]
fn files_have_the_names_of_lotus_and_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let repo = open(&declared(dir.path())).unwrap();
    let miner = MinerId::new(1000);
    let files = repo.files(miner, number(7));
    assert_eq!(files.sealed, dir.path().join("sealed/s-t01000-7"));
    assert_eq!(files.cache, dir.path().join("cache/s-t01000-7"));
    assert_eq!(files.work, dir.path().join("work/s-t01000-7"));

    fs::write(&files.sealed, [1u8; 5000]).unwrap();
    fs::create_dir(&files.cache).unwrap();
    fs::write(files.cache.join("p_aux"), [1u8; 64]).unwrap();
    fs::write(dir.path().join("unsealed").join(sector_file_name(MinerId::new(2000), number(0))), []).unwrap();
    fs::create_dir(dir.path().join("cache/fetching")).unwrap();
    let strange = ["s-t01000-07", "s-f01000-7", "s-t01000-", "notes.txt", "s-t01000-99999999999999999999"];
    for name in strange {
        fs::write(dir.path().join("sealed").join(name), []).unwrap();
    }
    let listing = repo.sectors().unwrap();
    assert_eq!(listing.sectors[&(miner, number(7))], BTreeSet::from([Kind::Sealed, Kind::Cache]));
    assert_eq!(listing.sectors[&(MinerId::new(2000), number(0))], BTreeSet::from([Kind::Unsealed]));
    assert_eq!(listing.sectors.len(), 2);
    assert_eq!(listing.strangers, strange.iter().map(|name| dir.path().join("sealed").join(name)).collect());
    assert!(repo.used().unwrap() >= Bytes::new(5064), "{}", repo.used().unwrap());
}

#[test]
fn the_file_system_is_measured_and_a_max_use_looks_at_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let declared = Declared { max_use: Some(Bytes::new(1 << 20)), reserve: Bytes::new(1), ..declared(dir.path()) };
    let repo = open(&declared).unwrap();
    let space = repo.space().unwrap();
    assert!(space.capacity >= space.free && space.free > Bytes::default());
    fs::write(dir.path().join("sealed/s-t01000-1"), vec![1u8; 600 << 10]).unwrap();
    let room = repo.room().unwrap();
    assert_eq!((room.max_use, room.reserve), (declared.max_use, declared.reserve));
    let short = Reservations::default().fits(repo.name(), &room, Bytes::new(600 << 10)).unwrap_err();
    assert_eq!(short.limit, "max_use");
}

/// The exact sizes, without margins, as measured on sealed sectors.
#[test]
fn stages_grow_by_the_measured_sizes_and_a_little() {
    use Stage::{Commit, Finalize, PreCommit1, PreCommit2};
    let sizes: [(SectorSize, u64, u64, u64); 5] = [
        // size, cache after PreCommit1, cache after PreCommit2 without the 64 bytes of p_aux, tree-r-last
        (SectorSize::KiB2, 8_160, 10_528, 32),
        (SectorSize::MiB8, 33_554_400, 43_160_096, 18_720),
        (SectorSize::MiB512, 2_147_483_616, 2_762_248_736, 1_198_368),
        (SectorSize::GiB32, 446_676_598_752, 486_021_566_944, 76_695_808),
        (SectorSize::GiB64, 893_353_197_536, 972_043_133_920, 153_391_616),
    ];
    for (size, after_pc1, after_pc2, r_last) in sizes {
        let replica = size.bytes().as_u64();
        let near = |found: Bytes, exact: u64| {
            let (low, high) = (exact + exact / 100, exact + exact / 100 + (2 << 20));
            assert!((low..high).contains(&found.as_u64()), "{size}: {} is not near {exact}", found.as_u64());
        };
        near(stage_growth(size, PreCommit1), replica + after_pc1);
        near(stage_growth(size, PreCommit2), replica + after_pc2 - after_pc1 + 64);
        near(stage_growth(size, Finalize), replica + r_last + 64);
        let proof = stage_growth(size, Commit).as_u64();
        assert!(sealing_peak(size).as_u64() > replica + after_pc2 + 64, "{size}");
        assert!(sealing_peak(size).as_u64() < (replica + after_pc2 + proof) / 50 * 51 + (4 << 20), "{size}");
        assert_eq!(finalized_size(size), stage_growth(size, Finalize));
    }
}

#[test]
fn a_refusal_says_how_much_is_missing_of_what() {
    let repo: RepoName = "nvme0".parse().unwrap();
    let mut ledger = Reservations::default();
    ledger.add(number(1), repo.clone(), Bytes::new(3 << 30));
    let room = Room {
        free: Bytes::new(10 << 30),
        used: Bytes::new(2 << 30),
        reserve: Bytes::new(4 << 30),
        max_use: Some(Bytes::new(6 << 30)),
    };
    assert_eq!(ledger.fits(&repo, &room, Bytes::new(1 << 30)), Ok(()));
    let short = ledger.fits(&repo, &room, Bytes::new(2 << 30)).unwrap_err();
    assert_eq!(short.to_string(), "1 GiB short of max_use in repo nvme0 (2 GiB wanted, 3 GiB reserved)");
    let short = ledger.fits(&repo, &Room { max_use: None, ..room }, Bytes::new(5 << 30)).unwrap_err();
    assert_eq!((short.limit, short.missing), ("free space", Bytes::new(2 << 30)));
    // a promise to oneself is replaced, and other repos have their own
    ledger.add(number(1), repo.clone(), Bytes::new(1 << 30));
    ledger.add(number(1), "hdd0".parse().unwrap(), Bytes::new(1 << 40));
    assert_eq!(ledger.reserved(&repo), Bytes::new(1 << 30));
    ledger.release(number(1));
    assert_eq!(ledger, Reservations::default());
    // sums that leave the range fit nowhere
    ledger.add(number(1), repo.clone(), Bytes::new(u64::MAX));
    assert!(ledger.fits(&repo, &room, Bytes::new(1)).is_err());
}

/// Promises, writing and giving back, in any order, with the ledger asked first as the daemon does.
#[derive(Debug, Clone, Copy)]
enum Op {
    Start { sector: u64, repo: usize, bytes: u64 },
    Write { sector: u64, bytes: u64 },
    End { sector: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..6u64, 0..2usize, 0..700u64).prop_map(|(sector, repo, bytes)| Op::Start { sector, repo, bytes }),
        (0..6u64, 0..400u64).prop_map(|(sector, bytes)| Op::Write { sector, bytes }),
        (0..6u64).prop_map(|sector| Op::End { sector }),
    ]
}

proptest! {
    #[test]
    fn promises_that_fit_can_all_be_kept(ops in proptest::collection::vec(op(), 0..80)) {
        const CAPACITY: u64 = 1000;
        const RESERVE: u64 = 100;
        let repos: [RepoName; 2] = ["a".parse().unwrap(), "b".parse().unwrap()];
        let max_use = [None, Some(Bytes::new(600))];
        let mut written = [0u64; 2];
        // per sector: the repo it runs in, and what it has still to write there
        let mut running: std::collections::BTreeMap<u64, (usize, u64)> = Default::default();
        let mut ledger = Reservations::default();
        for op in ops {
            match op {
                Op::Start { sector, repo, bytes } if !running.contains_key(&sector) => {
                    let room = Room {
                        free: Bytes::new(CAPACITY - written[repo]),
                        used: Bytes::new(written[repo]),
                        reserve: Bytes::new(RESERVE),
                        max_use: max_use[repo],
                    };
                    if ledger.fits(&repos[repo], &room, Bytes::new(bytes)).is_ok() {
                        ledger.add(number(sector), repos[repo].clone(), Bytes::new(bytes));
                        running.insert(sector, (repo, bytes));
                    }
                }
                Op::Write { sector, bytes } => if let Some((repo, left)) = running.get_mut(&sector) {
                    let bytes = bytes.min(*left);
                    *left -= bytes;
                    written[*repo] += bytes;
                    ledger.add(number(sector), repos[*repo].clone(), Bytes::new(*left));
                },
                Op::End { sector } => {
                    running.remove(&sector);
                    ledger.release(number(sector));
                }
                Op::Start { .. } => {}
            }
            for (index, repo) in repos.iter().enumerate() {
                let total = written[index] + ledger.reserved(repo).as_u64();
                prop_assert!(total <= CAPACITY - RESERVE, "{total} in {repo}");
                prop_assert!(max_use[index].is_none_or(|max| total <= max.as_u64()), "{total} in {repo}");
            }
        }
    }
}
