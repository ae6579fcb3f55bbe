//! Sectors that were sealed for a genesis block: read, held against the chain, their files found or linked, and then
//! taken up as proven.
//!
//! Nothing is copied, moved or removed. Each step can be repeated: links that are there are kept, sectors that are known
//! are left, so a crash between any two steps costs nothing. The miner is only remembered after all of them.

use super::{
    errands::{Step, told},
    miner::Way,
};
use crate::{
    chain::{
        MinerInfo, SectorInfo,
        presealed::{self, Presealed, PresealedSector},
    },
    sector::{Activation, Event, Record, Sealed},
    units::{MinerId, RepoName, SealProof, SectorNumber, sector_file_name},
};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A repo that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// Its name.
    pub name: RepoName,
    /// Its folder.
    pub path: PathBuf,
    /// Finished sectors may be kept in it.
    pub store: bool,
    /// Preference among equals.
    pub weight: u64,
}

/// A sector that is to be taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its number.
    pub number: SectorNumber,
    /// How it was sealed.
    pub proof: SealProof,
    /// Its commitments.
    pub sealed: Sealed,
    /// What the chain has of it.
    pub activation: Activation,
    /// The repo that has its files.
    pub repo: RepoName,
}

impl Imported {
    /// The fact about it.
    pub fn event(&self) -> Event {
        let Self { sealed, activation, repo, .. } = self.clone();
        Event::Imported { sealed, activation, store: repo }
    }
}

/// Largest file that is read: some hundred thousand sectors.
const MOST_BYTES: u64 = 512 << 20;

impl Way {
    /// Brings the sectors of a genesis miner in. `Err` in `Ok` says what is to be recorded or waited for first.
    pub(super) async fn import(
        &self,
        info: &MinerInfo,
        actor: MinerId,
        folders: &[PathBuf],
        metadata: &Path,
    ) -> Result<Result<(), Step>, String> {
        if self.shelves.len() < self.desk.manifest.repos.len() {
            return Ok(Err(Step::Waiting("its repos to be open, for the sectors of the genesis block".to_owned())));
        }
        let file = metadata.to_owned();
        let read = tokio::task::spawn_blocking(move || described(&file, actor));
        let described = read.await.map_err(|e| told(&e))??;
        self.agrees(&described, info, metadata).await?;
        let on_chain = self.on_chain(actor, &described.sectors).await?;
        let wanted = matched(&described.sectors, &on_chain)?;
        let (known, _) = self.store.sectors().await.map_err(|e| told(&e))?;
        let missing = unknown(wanted, &known)?;
        if missing.is_empty() {
            return Ok(Ok(()));
        }
        let (shelves, folders) = (self.shelves.clone(), folders.to_vec());
        // links are made and synced: not on a thread that others wait for
        let work = move || -> Result<Vec<Imported>, String> {
            let placed = missing.into_iter().map(|(sector, activation)| {
                let PresealedSector { number, comm_r, comm_d, proof } = sector;
                let repo = shelve(&sector_file_name(actor, number), &shelves, &folders)?;
                Ok(Imported { number, proof, sealed: Sealed { comm_r, comm_d }, activation, repo })
            });
            placed.collect()
        };
        let placed = tokio::task::spawn_blocking(work).await.map_err(|e| told(&e))??;
        Ok(Err(Step::Imported(placed)))
    }

    /// What the chain has under these numbers.
    async fn on_chain(&self, actor: MinerId, sectors: &[PresealedSector]) -> Result<Vec<SectorInfo>, String> {
        let mut found = Vec::with_capacity(sectors.len());
        // one after the other: a genesis block has few, and this is done once
        for sector in sectors {
            let there = self.desk.client.sector(actor, sector.number, &self.desk.head).await.map_err(|e| told(&e))?;
            found.extend(there);
        }
        Ok(found)
    }

    /// The file is of this network's miner.
    async fn agrees(&self, described: &Presealed, info: &MinerInfo, file: &Path) -> Result<(), String> {
        let Presealed { actor, owner, worker, sector_size, .. } = described;
        if *sector_size != info.sector_size {
            return Err(format!(
                "{} is of {sector_size} sectors, miner {actor} has {} on chain: correct miner.genesis.metadata",
                file.display(),
                info.sector_size
            ));
        }
        for (role, declared, there) in [("owner", owner, &info.owner), ("worker", worker, &info.worker)] {
            let id = self.desk.client.lookup_id(declared, &self.desk.head).await.map_err(|e| told(&e))?;
            if id.as_ref() != Some(there) {
                return Err(format!(
                    "{} says that {declared} is the {role} of miner {actor}; on this chain it is {there}: correct \
                     miner.genesis.metadata, or attach with miner.actor",
                    file.display()
                ));
            }
        }
        Ok(())
    }
}

fn described(path: &Path, actor: MinerId) -> Result<Presealed, String> {
    let failed = |error: io::Error| format!("cannot read miner.genesis.metadata {}: {error}", path.display());
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MOST_BYTES {
        return Err(format!("{} has {size} bytes: the file of a pre-seal has {MOST_BYTES} at most", path.display()));
    }
    let bytes = fs::read(path).map_err(failed)?;
    presealed::read(&bytes, actor).map_err(|problems| format!("{}: {}", path.display(), problems.join("; ")))
}

/// Each described sector with what the chain has of it; those that ended since are left out. Pure.
///
/// # Errors
/// The chain has another replica under one of the numbers, or none of the sectors at all.
fn matched(
    described: &[PresealedSector],
    on_chain: &[SectorInfo],
) -> Result<Vec<(PresealedSector, Activation)>, String> {
    let by_number: BTreeMap<_, _> = on_chain.iter().map(|sector| (sector.number, sector)).collect();
    let mut found = Vec::with_capacity(described.len());
    for sector in described {
        let Some(there) = by_number.get(&sector.number) else { continue };
        if there.comm_r != sector.comm_r {
            return Err(format!(
                "sector {} has CommR {} on chain and {} in miner.genesis.metadata: that file is of another network",
                sector.number, there.comm_r, sector.comm_r
            ));
        }
        let activation = Activation { epoch: there.activation, expiration: there.expiration, pledge: there.pledge };
        found.push((sector.clone(), activation));
    }
    if found.is_empty() && !described.is_empty() {
        let what = format!("the chain has none of the {} sectors of miner.genesis.metadata", described.len());
        return Err(format!("{what}: that file is of another network, or all of them ended"));
    }
    Ok(found)
}

/// Those without a record. Pure.
///
/// # Errors
/// A record with one of the numbers is of another replica.
fn unknown(
    wanted: Vec<(PresealedSector, Activation)>,
    known: &[Record],
) -> Result<Vec<(PresealedSector, Activation)>, String> {
    let by_number: BTreeMap<_, _> = known.iter().map(|record| (record.number, record)).collect();
    let mut missing = Vec::with_capacity(wanted.len());
    for (sector, activation) in wanted {
        match by_number.get(&sector.number) {
            None => missing.push((sector, activation)),
            Some(record) if record.sealed.as_ref().is_some_and(|sealed| sealed.comm_r == sector.comm_r) => {}
            Some(_) => {
                return Err(format!(
                    "sector {} of miner.genesis.metadata is another one in this state folder: give seald another state.dir",
                    sector.number
                ));
            }
        }
    }
    Ok(missing)
}

/// The folders of a sector's files, each with an entry of its name.
const PARTS: [&str; 2] = ["sealed", "cache"];

/// The repo that has the files of a sector; where none has, links to them are made in one.
fn shelve(name: &str, shelves: &[Shelf], folders: &[PathBuf]) -> Result<RepoName, String> {
    let lies_in = |folder: &Path| PARTS.iter().all(|part| folder.join(part).join(name).exists());
    if let Some(shelf) = shelves.iter().find(|shelf| lies_in(&shelf.path)) {
        return Ok(shelf.name.clone());
    }
    let Some(from) = folders.iter().find(|folder| lies_in(folder)) else {
        let looked = folders.iter().chain(shelves.iter().map(|shelf| &shelf.path));
        let looked: Vec<_> = looked.map(|folder| folder.display().to_string()).collect();
        return Err(format!(
            "sealed/{name} and cache/{name} are in none of {}: correct miner.genesis.presealed",
            looked.join(", ")
        ));
    };
    let stores = shelves.iter().filter(|shelf| shelf.store);
    let Some(to) = stores.max_by_key(|shelf| (shelf.weight, std::cmp::Reverse(&shelf.name))) else {
        return Err(
            "no repo has the role \"store\", where the sectors of the genesis block are to be linked".to_owned()
        );
    };
    for part in PARTS {
        link(&from.join(part).join(name), &to.path.join(part).join(name))?;
    }
    Ok(to.name.clone())
}

/// Makes a link that is there when this returns; the same one may be there already, and anything else is left alone.
fn link(from: &Path, to: &Path) -> Result<(), String> {
    match symlink(from, to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_link(to).ok().as_deref() != Some(from) {
                return Err(format!(
                    "{} is something else than a link to {}: move it away",
                    to.display(),
                    from.display()
                ));
            }
        }
        Err(error) => return Err(format!("cannot link {} to {}: {error}", to.display(), from.display())),
    }
    let parent = to.parent().unwrap_or(to);
    crate::repo::sync_dir(parent).map_err(|e| told(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{AttoFil, Epoch, Hash32, SectorSize};

    fn sector(number: u64) -> PresealedSector {
        let number = SectorNumber::try_from(number).unwrap();
        let hash = Hash32([u8::try_from(number.as_u64()).unwrap(); 32]);
        PresealedSector { number, comm_r: hash, comm_d: hash, proof: SectorSize::KiB2.seal_proof() }
    }

    fn there(number: u64) -> SectorInfo {
        let PresealedSector { number, comm_r, .. } = sector(number);
        let (activation, expiration) = (Epoch::new(0), Epoch::new(1_000_000));
        SectorInfo { number, comm_r, activation, expiration, pledge: AttoFil::ZERO }
    }

    #[test]
    fn what_the_chain_has_is_taken_and_another_network_is_not() {
        let found = matched(&[sector(0), sector(1), sector(2)], &[there(0), there(2), there(9)]).unwrap();
        assert_eq!(found.iter().map(|(sector, _)| sector.number.as_u64()).collect::<Vec<_>>(), [0, 2], "1 has ended");
        let other = SectorInfo { comm_r: Hash32([9; 32]), ..there(1) };
        assert!(matched(&[sector(1)], &[other]).unwrap_err().contains("of another network"));
        assert!(matched(&[sector(1)], &[]).unwrap_err().contains("none of the 1 sectors"));
        assert!(matched(&[], &[]).unwrap().is_empty());
    }

    #[test]
    fn a_sector_that_is_known_is_left_and_another_under_its_number_is_refused() {
        let now = crate::units::UnixMillis::new(1);
        let activation = Activation { epoch: Epoch::new(0), expiration: Epoch::new(1), pledge: AttoFil::ZERO };
        let imported = |n: u64| {
            let PresealedSector { number, comm_r, comm_d, proof } = sector(n);
            let sealed = Sealed { comm_r, comm_d };
            Imported { number, proof, sealed, activation: activation.clone(), repo: "disk".parse().unwrap() }
        };
        let of = |n: u64| {
            let new = Record::new(imported(n).number, imported(n).proof, imported(n).repo, now);
            new.apply(&imported(n).event(), now).unwrap()
        };
        assert_eq!(of(1).state, crate::sector::State::Proving);
        let wanted = || vec![(sector(1), activation.clone()), (sector(2), activation.clone())];
        let missing = unknown(wanted(), &[of(1)]).unwrap();
        assert_eq!(missing.iter().map(|(sector, _)| sector.number.as_u64()).collect::<Vec<_>>(), [2]);
        let foreign = Record { sealed: None, ..of(2) };
        assert!(unknown(wanted(), &[foreign]).unwrap_err().contains("sector 2"));
    }

    /// A folder with a sector's files, and a repo.
    fn folders() -> (tempfile::TempDir, PathBuf, Shelf) {
        let dir = tempfile::tempdir().unwrap();
        let (presealed, repo) = (dir.path().join("presealed"), dir.path().join("repo"));
        for part in PARTS {
            fs::create_dir_all(presealed.join(part)).unwrap();
            fs::create_dir_all(repo.join(part)).unwrap();
        }
        fs::write(presealed.join("sealed/s-t01000-0"), "replica").unwrap();
        fs::create_dir(presealed.join("cache/s-t01000-0")).unwrap();
        let shelf = Shelf { name: "disk".parse().unwrap(), path: repo, store: true, weight: 1 };
        (dir, presealed, shelf)
    }

    #[test]
    fn files_are_linked_once_and_nothing_is_moved_or_replaced() {
        let (_dir, presealed, shelf) = folders();
        let shelves = [shelf.clone()];
        // a crash after the first of the two links
        symlink(presealed.join("sealed/s-t01000-0"), shelf.path.join("sealed/s-t01000-0")).unwrap();
        for _ in 0..2 {
            assert_eq!(shelve("s-t01000-0", &shelves, std::slice::from_ref(&presealed)).unwrap(), shelf.name);
        }
        assert_eq!(fs::read(shelf.path.join("sealed/s-t01000-0")).unwrap(), b"replica");
        assert_eq!(fs::read_link(shelf.path.join("cache/s-t01000-0")).unwrap(), presealed.join("cache/s-t01000-0"));
        assert!(presealed.join("sealed/s-t01000-0").is_file());
        let why = shelve("s-t01000-1", &shelves, &[presealed]).unwrap_err();
        assert!(why.contains("sealed/s-t01000-1") && why.contains("miner.genesis.presealed"), "{why}");
    }

    #[test]
    fn a_declared_repo_is_used_as_it_is_and_what_is_in_the_way_stays() {
        let (_dir, presealed, shelf) = folders();
        let as_it_is = Shelf { name: "genesis".parse().unwrap(), path: presealed.clone(), store: false, weight: 0 };
        let both = [shelf.clone(), as_it_is.clone()];
        assert_eq!(shelve("s-t01000-0", &both, std::slice::from_ref(&presealed)).unwrap(), as_it_is.name);
        assert!(!shelf.path.join("sealed/s-t01000-0").exists());
        fs::write(shelf.path.join("sealed/s-t01000-0"), "another").unwrap();
        let why = shelve("s-t01000-0", std::slice::from_ref(&shelf), std::slice::from_ref(&presealed)).unwrap_err();
        assert!(why.contains("something else than a link"), "{why}");
        assert_eq!(fs::read(shelf.path.join("sealed/s-t01000-0")).unwrap(), b"another");
        let read_only = Shelf { store: false, ..shelf };
        assert!(shelve("s-t01000-0", &[read_only], &[presealed]).unwrap_err().contains("role \"store\""));
    }
}
