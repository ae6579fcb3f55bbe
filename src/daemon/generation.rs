//! Which manifest is in force, where it came from, and how another takes its place: all of it, or nothing.
//!
//! The manifest is read and this host looked at on a blocking thread; what differs is a pure comparison; what then comes
//! into force is recorded before anything follows it, so that a start after a crash runs what was answered.

use super::{miner::MINER, world::World};
use crate::{
    clock,
    control::{Cause, Refused},
    host::{judge, seen::Host},
    manifest::{self, Change, Class, File, Identity, Key, Loaded, Manifest, Overrides, Problem},
    plan::Desired,
    sector::{Record, State},
    status::{
        self,
        orders::{self, Changed, Reloaded},
        words,
    },
    store::{self, Store, StoreError},
    units::{MinerId, RepoName, SectorNumber, UnixMillis},
};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Where the manifest is read, now and again.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file; its drop-ins are beside it.
    pub path: PathBuf,
    /// What is laid over the files: this process's environment and arguments.
    pub overrides: Overrides,
}

/// A manifest that is right, with the texts it was made of.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The files as they were read.
    pub files: Vec<File>,
    /// What they say.
    pub loaded: Loaded,
}

/// A manifest that can work on this host.
#[derive(Debug)]
pub struct Prepared {
    /// It.
    pub proposal: Proposal,
    /// What does not work now, or not well.
    pub warnings: Vec<Problem>,
    /// Whether the files on disk are the ones it was made of.
    pub is_on_disk: bool,
}

/// Longest time for reading a manifest and looking at this host: a disk that died answers never, and that is when a
/// manifest without it is wanted.
const READING: Duration = Duration::from_secs(10);

impl Source {
    /// The files as they are now.
    ///
    /// # Errors
    /// Every problem of them.
    pub fn read(&self) -> Result<Proposal, Vec<Problem>> {
        self.parse(manifest::read(&self.path)?)
    }

    /// These files, under the same overrides.
    ///
    /// # Errors
    /// Every problem of them.
    pub fn parse(&self, files: Vec<File>) -> Result<Proposal, Vec<Problem>> {
        let loaded = manifest::parse(&files, &self.overrides)?;
        Ok(Proposal { files, loaded })
    }

    /// Whether nobody has written a manifest yet: there is no file, or it sets nothing.
    pub fn is_unwritten(&self) -> bool {
        !self.path.exists() || manifest::read(&self.path).is_ok_and(|files| manifest::set_nothing(&files))
    }

    /// The files as they are now, or `files`, held against this host. What cannot work here is a problem, what does not
    /// work now a warning.
    ///
    /// # Errors
    /// Every problem, as `seald check` prints them, or that the host does not answer.
    pub async fn prepare(self, files: Option<Vec<File>>) -> Result<Prepared, Vec<Problem>> {
        let path = self.path.clone();
        let work = tokio::task::spawn_blocking(move || self.prepare_blocking(files));
        let late = |what: String| vec![Problem::new(None, &Key::default(), what)];
        match timeout(READING, work).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(error)) => Err(late(format!("the reading of {} failed: {error}", path.display()))),
            Err(_) => Err(late(format!(
                "{} and what it names could not be looked at within {} s: a file system of this host does not answer",
                path.display(),
                READING.as_secs()
            ))),
        }
    }

    fn prepare_blocking(&self, files: Option<Vec<File>>) -> Result<Prepared, Vec<Problem>> {
        let proposal = files.map_or_else(|| self.read(), |files| self.parse(files))?;
        let is_on_disk = manifest::read(&self.path).is_ok_and(|there| texts(&there) == texts(&proposal.files));
        let Loaded { manifest, warnings, provenance } = &proposal.loaded;
        let found = judge::judge(manifest, provenance, &Host::look(manifest));
        if !found.problems.is_empty() {
            return Err(found.problems);
        }
        let warnings = warnings.iter().cloned().chain(found.warnings).collect();
        Ok(Prepared { proposal, warnings, is_on_disk })
    }
}

/// What brings a manifest into force that a daemon did not start with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The file was edited.
    Reload,
    /// An operator went back.
    Rollback {
        /// Whether the file says the same by now.
        is_on_disk: bool,
    },
}

/// The manifest that is in force.
#[derive(Debug)]
pub struct InForce {
    /// Which one it is, and since when.
    pub generation: status::Generation,
    /// Where it is read again.
    pub source: Source,
    /// What it says, with its texts.
    pub proposal: Proposal,
    /// The file says what an operator rolled back: this is the generation that took its place.
    pub declined: bool,
    /// Why a manifest was refused since, and when.
    pub refused: Option<(UnixMillis, String)>,
}

/// How many generations back one is looked for.
const REMEMBERED: u32 = 100;

/// How the note of a generation begins that an operator went back to, before the number of the one that it left.
const ROLLBACK: &str = "rollback of ";

impl InForce {
    /// What is in force at a start: the files as they are, unless they are the ones that were rolled back, or leave
    /// sectors without what they need. Then it is what was in force before.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn at_start(store: &Store, source: Source, proposal: Proposal) -> Result<Self, StoreError> {
        let known = store.generations(REMEMBERED).await?;
        let texts = texts(&proposal.files);
        let declined = store.declined_generation().await?;
        let is_declined =
            known.iter().any(|generation| Some(generation.number) == declined && generation.files == texts);
        let newest = known.first();
        let took = |generation: &store::Generation| status::Generation {
            number: generation.number,
            since: generation.applied,
        };
        if let Some((newest, before)) =
            newest.filter(|_| is_declined).and_then(|newest| Some((newest, again(&source, newest)?)))
        {
            let generation = took(newest);
            return Ok(Self { generation, source, proposal: before, declined: true, refused: None });
        }
        if let Some((newest, before)) = newest.and_then(|newest| Some((newest, again(&source, newest)?))) {
            let (old, new) = (&before.loaded.manifest, &proposal.loaded.manifest);
            let (records, _) = store.sectors().await?;
            let miner = store.setting(MINER).await?.and_then(|text| text.parse().ok());
            let changes = manifest::changes(old, new, miner.is_some() || !records.is_empty());
            if changes.is_empty() {
                return Ok(Self { generation: took(newest), source, proposal, declined: false, refused: None });
            }
            let held = |name: &RepoName| held(records.iter(), name).len();
            let never = |change: &&Change| change.class == Class::Never;
            let refused = refusals(old, new, changes.iter().filter(never), miner, held);
            if !refused.is_empty() {
                let refused = refused.join("\n  ");
                tracing::error!(reason = refused, generation = newest.number, "the manifest is refused");
                let (generation, refused) = (took(newest), Some((clock::now(), refused)));
                return Ok(Self { generation, source, proposal: before, declined: false, refused });
            }
        }
        let generation = begin(store, &proposal, newest.map(|newest| newest.number), "start", None).await?;
        Ok(Self { generation, source, proposal, declined: false, refused: None })
    }
}

/// Sectors with files in a repo, or on their way there.
fn held<'a>(records: impl Iterator<Item = &'a Record>, name: &RepoName) -> BTreeSet<SectorNumber> {
    let live = records.filter(|record| record.state != State::Removed);
    live.filter(|record| record.repo == *name || record.store.as_ref() == Some(name))
        .map(|record| record.number)
        .collect()
}

/// Why these changes cannot come into force while there is what there is, each with what to do. `held` counts the sectors
/// of a repo.
fn refusals<'a>(
    old: &Manifest,
    new: &Manifest,
    changes: impl Iterator<Item = &'a Change>,
    miner: Option<MinerId>,
    held: impl Fn(&RepoName) -> usize,
) -> Vec<String> {
    // the miner that was created, from now on named by its address, is the same miner
    let same_miner = matches!((&new.miner.identity, miner), (Identity::Attach(actor), Some(miner)) if *actor == miner);
    let mut refused: Vec<String> = changes
        .filter(|change| !(same_miner && change.key.starts_with("miner.") && change.key != "miner.sector_size"))
        .map(|change| format!("{change} ({})", change.class.effect()))
        .collect();
    for (name, old) in &old.repos {
        let stays = new.repos.get(name).is_some_and(|repo| repo.path == old.path);
        let held = held(name);
        if !stays && held > 0 {
            let held = words::count(u64::try_from(held).unwrap_or(u64::MAX), "sector");
            let path = old.path.display();
            refused.push(format!(
                "repo.{name}: {held} in {path}; keep the repo (roles = [] takes nothing new) until they are gone"
            ));
        }
    }
    refused
}

/// Of the generations, the newest first, the files of the one before what is in force: it says something else, and it is
/// not one that an operator came back from.
fn before(known: &[store::Generation], source: &Source, in_force: &Manifest) -> Option<Vec<File>> {
    let mut older = known;
    // one that was gone back to stands where it stood when it was new
    while let Some(left) = older.first().and_then(|at| at.note.strip_prefix(ROLLBACK)?.parse::<u64>().ok()) {
        let files = older.first().map(|at| at.files.clone())?;
        let origin = older.iter().position(|one| one.number < left && one.files == files)?;
        older = older.get(origin..)?;
    }
    let differs = |one: &&store::Generation| {
        again(source, one).is_some_and(|it| !manifest::changes(in_force, &it.loaded.manifest, true).is_empty())
    };
    let before = older.iter().skip(1).find(differs)?;
    serde_json::from_str(&before.files).ok()
}

/// A generation as it was, if it can be read now.
fn again(source: &Source, generation: &store::Generation) -> Option<Proposal> {
    source.parse(serde_json::from_str(&generation.files).ok()?).ok()
}

async fn begin(
    store: &Store,
    proposal: &Proposal,
    newest: Option<u64>,
    note: &str,
    declined: Option<u64>,
) -> Result<status::Generation, StoreError> {
    let (number, applied) = (newest.unwrap_or(0).saturating_add(1), clock::now());
    let next = store::Generation { number, applied, note: note.to_owned(), files: texts(&proposal.files) };
    store.begin_generation(&next, declined).await?;
    Ok(status::Generation { number, since: applied })
}

fn texts(files: &[File]) -> String {
    serde_json::json!(files).to_string()
}

/// Problems as `seald check` prints them, one a line.
pub fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

impl World {
    /// The files of the generation before the one in force.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn generation_before(&self) -> Result<Option<Vec<File>>, StoreError> {
        let known = self.store.generations(REMEMBERED).await?;
        Ok(before(&known, &self.in_force.source, &self.manifest))
    }

    /// What a proposal would change, and what stands against it.
    pub fn compare(&self, proposal: &Proposal, warnings: &[Problem]) -> Reloaded {
        let begun = self.miner.is_some() || !self.book.records.is_empty();
        let new = &proposal.loaded.manifest;
        let changes = manifest::changes(&self.manifest, new, begun);
        let left = changes.iter().filter(|change| !change.class.is_taken());
        let miner = self.miner.as_ref().map(|miner| miner.id);
        let refused = refusals(&self.manifest, new, left, miner, |name| self.held_by(name));
        let changed = |change: &Change| {
            let Change { key, from, to, class } = change.clone();
            Changed { key, from, to, class: class.word().to_owned() }
        };
        Reloaded {
            format_version: orders::FORMAT_VERSION,
            generation: self.in_force.generation.number,
            applied: false,
            changes: changes.iter().map(changed).collect(),
            refused,
            drains: self.drains(&changes),
            warnings: warnings.iter().map(ToString::to_string).collect(),
        }
    }

    /// Brings a proposal into force: it is recorded, and then everything follows in this turn.
    ///
    /// # Errors
    /// The database failed; nothing changed.
    pub async fn enforce(&mut self, proposal: Proposal, how: How) -> Result<(), StoreError> {
        let before = self.in_force.generation.number;
        let manifest = proposal.loaded.manifest.clone();
        let desired: Desired = super::requests::desired(&manifest, &self.store).await?;
        let (note, declined) = match how {
            How::Reload => ("reload".to_owned(), None),
            How::Rollback { is_on_disk: true } => (format!("{ROLLBACK}{before}"), None),
            // the file still says what was declined first
            How::Rollback { is_on_disk: false } => {
                let first = if self.in_force.declined { self.store.declined_generation().await? } else { None };
                (format!("{ROLLBACK}{before}"), first.or(Some(before)))
            }
        };
        let newest = self.store.generations(1).await?.first().map(|newest| newest.number);
        let generation = begin(&self.store, &proposal, newest, &note, declined).await?;
        tracing::info!(generation = generation.number, before, note, "another manifest is in force");
        let old = Arc::clone(&self.manifest);
        self.in_force.generation = generation;
        self.in_force.proposal = proposal;
        self.in_force.declined = declined.is_some();
        self.in_force.refused = None;
        // whatever differs is opened anew, and what is not declared any more is let go of
        self.repos.retain(|name, _| manifest.repos.get(name).is_some_and(|repo| old.repos.get(name) == Some(repo)));
        self.desired = desired;
        self.manifest = Arc::new(manifest);
        // it is in force all the same; what is held is read again then
        if let Err(error) = self.keep_held().await {
            self.doubt(&error);
        }
        Ok(())
    }

    /// What is in force since the first manifest was written.
    pub fn as_first(&self) -> Reloaded {
        Reloaded {
            format_version: orders::FORMAT_VERSION,
            generation: self.in_force.generation.number,
            applied: true,
            changes: Vec::new(),
            refused: Vec::new(),
            drains: Vec::new(),
            warnings: self.in_force.proposal.loaded.warnings.iter().map(ToString::to_string).collect(),
        }
    }

    /// Sectors with files in this repo, or on their way there.
    fn held_by(&self, name: &RepoName) -> usize {
        let coming = self.tasks.values().filter(|task| task.repo == *name).map(|task| task.number);
        let there = held(self.book.records.values(), name);
        there.into_iter().chain(coming).collect::<BTreeSet<_>>().len()
    }

    /// The tasks that workers finish before they go or are replaced.
    fn drains(&self, changes: &[Change]) -> Vec<String> {
        let waits = |class| match class {
            Class::NewJobs | Class::Drain => true,
            Class::Live | Class::Restart | Class::Never => false,
        };
        let replaced: Vec<&str> =
            changes.iter().filter(|change| waits(change.class)).map(|change| change.key.as_str()).collect();
        let of = |slot: &str| {
            let (table, below) = (format!("slot.{slot}"), format!("slot.{slot}."));
            replaced.iter().any(|key| *key == table || key.starts_with(&below))
        };
        let tasks = self.tasks.values().filter(|task| of(&task.worker.slot.to_string()));
        tasks.map(|task| format!("sector {} {} on {}", task.number, task.stage.as_str(), task.worker)).collect()
    }
}

/// A proposal that is refused, in words.
pub fn refused(what: &str, help: &str) -> Refused {
    Refused::new(Cause::Conflict, what, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../examples/configs/devnet.toml");

    fn source(folder: &std::path::Path) -> Source {
        let overrides = Overrides { cwd: folder.to_owned(), ..Overrides::default() };
        Source { path: folder.join("seald.toml"), overrides }
    }

    fn write(source: &Source, text: &str) -> Proposal {
        std::fs::write(&source.path, text).unwrap();
        source.read().unwrap()
    }

    #[tokio::test]
    async fn a_start_runs_the_file_unless_it_was_rolled_back() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path());
        let store = Store::open(&format!("sqlite:{}/seald.db", folder.path().display())).await.unwrap();
        let more = TEXT.replace("sectors = 2", "sectors = 7");
        let at_start = async |text: &str| {
            let proposal = write(&source, text);
            let InForce { generation, proposal, declined, .. } =
                InForce::at_start(&store, source.clone(), proposal).await.unwrap();
            (generation.number, proposal.loaded.manifest.pledge.sectors, declined)
        };
        assert_eq!(at_start(TEXT).await, (1, 2, false));
        assert_eq!(at_start(TEXT).await, (1, 2, false), "nothing changed");
        assert_eq!(at_start(&more).await, (2, 7, false));
        // what `seald rollback` records: the first text again, instead of generation 2
        begin(&store, &write(&source, TEXT), Some(2), "rollback of 2", Some(2)).await.unwrap();
        assert_eq!(at_start(&more).await, (3, 2, true), "the file was rolled back");
        assert_eq!(at_start(&more.replace('7', "8")).await, (4, 8, false), "an edited file is another one");
        assert_eq!(at_start(&more).await, (5, 7, false), "nothing is declined any more");
    }

    #[tokio::test]
    async fn a_start_does_not_take_what_a_reload_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path());
        let store = Store::open(&format!("sqlite:{}/seald.db", folder.path().display())).await.unwrap();
        let at_start =
            async |text: &str| InForce::at_start(&store, source.clone(), write(&source, text)).await.unwrap();
        let (larger, moved) = (TEXT.replace("\"2KiB\"", "\"8MiB\""), TEXT.replace("[repo.disk]", "[repo.other]"));
        at_start(TEXT).await;
        at_start(&format!("# only words\n{TEXT}")).await;
        assert_eq!(store.generations(9).await.unwrap().len(), 1, "words are no other manifest");
        let (number, repo) = (1_u64.try_into().unwrap(), "disk".parse().unwrap());
        let record = Record::new(number, crate::units::SectorSize::KiB2.seal_proof(), repo, clock::now());
        store.commit(&store::Change { created: vec![record], ..store::Change::default() }).await.unwrap();
        for (text, why) in [(&larger, "miner.sector_size: 2KiB becomes 8MiB"), (&moved, "repo.disk: 1 sector in ")] {
            let InForce { generation, proposal, declined, refused, .. } = at_start(text).await;
            let (_, told) = refused.unwrap();
            assert!(told.contains(why), "{told}");
            assert_eq!((generation.number, declined), (1, false));
            assert_eq!(proposal.loaded.manifest.miner.sector_size, crate::units::SectorSize::KiB2);
        }
        assert_eq!(at_start(&TEXT.replace("sectors = 2", "sectors = 7")).await.generation.number, 2);
    }

    #[test]
    fn a_rollback_goes_back_one_more_each_time_and_past_what_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path());
        let text = |sectors: u64| TEXT.replace("sectors = 2", &format!("sectors = {sectors}"));
        let files = |text: String| vec![File { path: source.path.clone(), text }];
        let mut known: Vec<store::Generation> = Vec::new();
        let mut add = |note: &str, text: String| {
            let number = u64::try_from(known.len()).unwrap() + 1;
            let one = store::Generation {
                number,
                applied: UnixMillis::default(),
                note: note.to_owned(),
                files: texts(&files(text)),
            };
            known.insert(0, one);
            known.clone()
        };
        let back = |known: &[store::Generation]| {
            let in_force = again(&source, &known[0]).unwrap().loaded.manifest;
            before(known, &source, &in_force).map(|files| source.parse(files).unwrap().loaded.manifest.pledge.sectors)
        };
        assert_eq!(back(&add("start", text(3))), None);
        assert_eq!(back(&add("reload", text(4))), Some(3));
        assert_eq!(back(&add("start", format!("# words\n{}", text(4)))), Some(3));
        assert_eq!(back(&add("reload", text(5))), Some(4));
        assert_eq!(back(&add("rollback of 4", format!("# words\n{}", text(4)))), Some(3), "not to 5 again");
        assert_eq!(back(&add("rollback of 5", text(3))), None, "there was nothing before it");
        assert_eq!(back(&add("reload", text(6))), Some(3));
    }

    #[test]
    fn a_file_of_comments_is_unwritten() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path());
        assert!(source.is_unwritten(), "there is none");
        for (text, unwritten) in [("# nothing\n", true), ("[pledge]\nsectors = 1", false), ("[pledge", false)] {
            std::fs::write(&source.path, text).unwrap();
            assert_eq!(source.is_unwritten(), unwritten, "{text}");
        }
    }
}
