//! Which manifest is in force, where it came from, and how another takes its place: all of it, or nothing.
//!
//! The manifest is read and this host looked at on a blocking thread; what differs is a pure comparison; what then comes
//! into force is recorded before anything follows it, so that a start after a crash runs what was answered.

use super::world::World;
use crate::{
    clock,
    control::{Cause, Refused},
    host::{judge, seen::Host},
    manifest::{self, Change, Class, File, Identity, Loaded, Manifest, Overrides, Problem},
    plan::Desired,
    sector::{Record, State},
    status::{
        self,
        orders::{self, Changed, Reloaded},
        words,
    },
    store::{self, Store, StoreError},
    units::{RepoName, UnixMillis},
};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

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
    /// work now a warning. Blocks.
    ///
    /// # Errors
    /// Every problem, as `seald check` prints them.
    pub fn prepare(&self, files: Option<Vec<File>>) -> Result<(Proposal, Vec<Problem>), Vec<Problem>> {
        let proposal = files.map_or_else(|| self.read(), |files| self.parse(files))?;
        let Loaded { manifest, warnings, provenance } = &proposal.loaded;
        let found = judge::judge(manifest, provenance, &Host::look(manifest));
        if !found.problems.is_empty() {
            return Err(found.problems);
        }
        let warnings = warnings.iter().cloned().chain(found.warnings).collect();
        Ok((proposal, warnings))
    }
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

/// How many generations back a declined one is looked for.
const REMEMBERED: u32 = 20;

impl InForce {
    /// What is in force at a start: the files as they are, unless they are the ones that were rolled back.
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
        let generation = match newest.filter(|newest| newest.files == texts) {
            Some(same) => took(same),
            None => begin(store, &proposal, newest.map(|newest| newest.number), "start", None).await?,
        };
        Ok(Self { generation, source, proposal, declined: false, refused: None })
    }
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
        let known = self.store.generations(2).await?;
        Ok(known.get(1).and_then(|before| serde_json::from_str(&before.files).ok()))
    }

    /// What a proposal would change, and what stands against it.
    pub fn compare(&self, proposal: &Proposal, warnings: &[Problem]) -> Reloaded {
        let begun = self.miner.is_some() || !self.book.records.is_empty();
        let changes = manifest::changes(&self.manifest, &proposal.loaded.manifest, begun);
        let changed = |change: &Change| {
            let Change { key, from, to, class } = change.clone();
            Changed { key, from, to, class: class.word().to_owned() }
        };
        Reloaded {
            format_version: orders::FORMAT_VERSION,
            generation: self.in_force.generation.number,
            applied: false,
            changes: changes.iter().map(changed).collect(),
            refused: self.refusals(&changes, &proposal.loaded.manifest),
            drains: self.drains(&changes),
            warnings: warnings.iter().map(ToString::to_string).collect(),
        }
    }

    /// Brings a proposal into force: it is recorded, and then everything follows in this turn.
    ///
    /// # Errors
    /// The database failed; nothing changed.
    pub async fn enforce(&mut self, proposal: Proposal, rolled_back: bool) -> Result<(), StoreError> {
        let before = self.in_force.generation.number;
        let manifest = proposal.loaded.manifest.clone();
        let desired: Desired = super::requests::desired(&manifest, &self.store).await?;
        let (note, declined) =
            if rolled_back { (format!("rollback of {before}"), Some(before)) } else { ("reload".to_owned(), None) };
        let newest = self.store.generations(1).await?.first().map(|newest| newest.number);
        let generation = begin(&self.store, &proposal, newest, &note, declined).await?;
        tracing::info!(generation = generation.number, before, note, "another manifest is in force");
        let old = Arc::clone(&self.manifest);
        self.in_force.generation = generation;
        self.in_force.proposal = proposal;
        self.in_force.declined = rolled_back;
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

    /// Why these changes cannot come into force now, each with what to do.
    fn refusals(&self, changes: &[Change], new: &Manifest) -> Vec<String> {
        // the miner that was created, from now on named by its address, is the same miner
        let same_miner = matches!(
            (&new.miner.identity, &self.miner),
            (Identity::Attach(actor), Some(miner)) if *actor == miner.id
        );
        let mut refused: Vec<String> = changes
            .iter()
            .filter(|change| !change.class.is_taken())
            .filter(|change| !(same_miner && change.key.starts_with("miner.") && change.key != "miner.sector_size"))
            .map(|change| format!("{change} ({})", change.class.effect()))
            .collect();
        for (name, old) in &self.manifest.repos {
            let stays = new.repos.get(name).is_some_and(|repo| repo.path == old.path);
            let held = self.held_by(name);
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

    /// Sectors with files in this repo, or on their way there.
    fn held_by(&self, name: &RepoName) -> usize {
        let live = self.book.records.values().filter(|record| record.state != State::Removed);
        let is_here = |record: &&Record| record.repo == *name || record.store.as_ref() == Some(name);
        let there = live.filter(is_here).map(|record| record.number);
        let coming = self.tasks.values().filter(|task| task.repo == *name).map(|task| task.number);
        there.chain(coming).collect::<BTreeSet<_>>().len()
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
