//! What `resolve` and `conflicts` read with: each value is parsed where it stands, and each refusal is noted with
//! its key, place, value and what would be accepted, so that reading goes on.

use super::{
    merged::Merged,
    problems::{Key, Origin, Problem, Setting, did_you_mean},
    values::absolute,
};
use crate::units::BadUnit;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Reads values and collects what is wrong with them.
pub struct Reader<'a> {
    merged: &'a Merged,
    cwd: &'a Path,
    dealt_with: BTreeSet<Key>,
    /// What makes the manifest unusable.
    pub problems: Vec<Problem>,
    /// What the operator should know.
    pub warnings: Vec<Problem>,
    /// Values that were derived, not given.
    pub derived: BTreeMap<String, Setting>,
}

impl<'a> Reader<'a> {
    /// A reader that knows what was found wrong already.
    pub fn new(merged: &'a Merged, cwd: &'a Path, problems: Vec<Problem>, dealt_with: BTreeSet<Key>) -> Self {
        Self { merged, cwd, dealt_with, problems, warnings: Vec::new(), derived: BTreeMap::new() }
    }

    /// A problem with the value of this key, not yet noted.
    pub fn about(&self, key: &Key, what: impl Into<String>) -> Problem {
        let problem = Problem::new(self.merged.value_origin(key), key, what);
        match self.merged.shown(key) {
            Some(value) => problem.value(value),
            None => problem,
        }
    }

    /// A problem with a table or with what is not there, not yet noted.
    pub fn about_table(&self, key: &Key, what: impl Into<String>) -> Problem {
        Problem::new(self.merged.value_origin(key), key, what)
    }

    /// Notes a problem at a key.
    pub fn refuse(&mut self, key: &Key, problem: Problem) {
        self.dealt_with.insert(key.clone());
        self.problems.push(problem);
    }

    /// Where the value of this key stands.
    pub fn origin(&self, key: &Key) -> Option<Origin> {
        self.merged.value_origin(key)
    }

    /// Whether something at this key, around it or within it was found wrong already, so that a problem which follows
    /// from it would only be noise.
    pub fn is_dealt_with(&self, key: &Key) -> bool {
        self.dealt_with.iter().any(|known| key.is_within(known) || known.is_within(key))
    }

    /// Whether a key that `picks` names was found wrong already.
    pub fn has_dealt_with(&self, picks: impl Fn(&Key) -> bool) -> bool {
        self.dealt_with.iter().any(picks)
    }

    /// Makes a missing value a problem of its table.
    pub fn required<T>(&mut self, key: &Key, value: Option<T>, accepted: &str) -> Option<T> {
        if value.is_none() && !self.is_dealt_with(key) {
            let problem = self.about_table(key, "is missing").accepted(accepted);
            self.refuse(key, problem);
        }
        value
    }

    /// Parses a value that is there.
    pub fn parse<T>(&mut self, key: &Key, text: &str, parse: impl Fn(&str) -> Result<T, BadUnit>) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(BadUnit { wanted, .. }) => {
                let (thing, list) = wanted.split_once(": ").map_or((wanted, None), |(thing, list)| (thing, Some(list)));
                let (thing, list) = match (list, thing.split_once(", such as ")) {
                    (None, Some((thing, example))) => (thing, Some(format!("such as {example}"))),
                    (list, _) => (thing, list.map(str::to_owned)),
                };
                let mut problem = self.about(key, format!("is not {thing}"));
                problem.accepted = list;
                self.refuse(key, problem);
                None
            }
        }
    }

    /// The word that this text is.
    pub fn word<T>(&mut self, key: &Key, text: &str, thing: &str, words: &[(&str, T)]) -> Option<T>
    where
        T: Copy,
    {
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let names = words.iter().map(|(word, _)| *word);
            let problem = self
                .about(key, format!("is not {thing}"))
                .accepted(names.clone().collect::<Vec<_>>().join(" "))
                .suggestion(did_you_mean(text, names));
            self.refuse(key, problem);
        }
        found
    }

    /// A number within bounds.
    pub fn within<N>(&mut self, key: &Key, number: N, least: N, most: N) -> Option<N>
    where
        N: PartialOrd + std::fmt::Display + Copy,
    {
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let problem = self.about(key, "is out of bounds").accepted(format!("{least} to {most}"));
        self.refuse(key, problem);
        None
    }

    /// A path, made absolute.
    pub fn path(&mut self, key: &Key, text: &str) -> Option<PathBuf> {
        if text.trim().is_empty() {
            let problem = self.about(key, "is not a path").accepted("an absolute path, or one from here");
            self.refuse(key, problem);
            return None;
        }
        self.is_placed(key, text).then(|| absolute(text, self.cwd))
    }

    /// Whether a path means the same wherever it is read from: a file below `/etc` is read from many folders.
    pub fn is_placed(&mut self, key: &Key, path: &str) -> bool {
        let system = matches!(self.origin(key), Some(Origin::File(place)) if place.file.starts_with("/etc"));
        let placed = !system || Path::new(path).is_absolute();
        if !placed {
            let problem = self.about(key, "is a path from the folder that seald happens to be started in");
            self.refuse(key, problem.accepted(format!("a path from /, such as /srv/{path}")));
        }
        placed
    }

    /// Where relative paths start.
    pub const fn cwd(&self) -> &'a Path {
        self.cwd
    }
}
