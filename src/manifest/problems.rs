//! What is wrong with a manifest, and where: keys, places, layers and the wording of a problem.
//!
//! Values only; nothing here decides what is wrong.

use std::{fmt, path::PathBuf};

/// The name of a setting, such as `slot.pc1.tasks` or `chain.endpoints[0].url`. The empty key is the whole manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Key(Vec<Step>);

/// One step of a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into a table.
    Name(String),
    /// Into a list.
    Item(usize),
}

impl Key {
    /// The key of names joined by dots, none of which needs quotes.
    pub fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(|name| Step::Name(name.to_owned())).collect())
    }

    /// The key of something in this table.
    #[must_use]
    pub fn name(&self, name: &str) -> Self {
        self.step(Step::Name(name.to_owned()))
    }

    /// The key of an element of this list.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        self.step(Step::Item(index))
    }

    /// The key one step further.
    #[must_use]
    pub fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The table or list this is in; `None` for the whole manifest.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, front)| Self(front.to_vec()))
    }

    /// From the outside in.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is `other` or lies within it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Name(name) => {
                    let dot = if depth == 0 { "" } else { "." };
                    if bare(name) { write!(f, "{dot}{name}")? } else { write!(f, "{dot}{name:?}")? }
                }
            }
        }
        Ok(())
    }
}

/// A place in a file. Line and column count from 1, the column in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as its path was given.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A manifest file.
    File(Place),
    /// An environment variable.
    Environment(String),
    /// A `--set` argument: its key.
    Set(String),
    /// seald's own default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => place.fmt(f),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Set(key) => write!(f, "--set {key}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value of the manifest in force and where it comes from, for `seald check --explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As TOML writes it, secrets hidden.
    pub value: String,
    /// Which layer gave it.
    pub origin: Origin,
}

/// One thing that is wrong. Read as a sentence: at, key, value, what; accepted; suggestion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the value was given; `None` when it is not a matter of one place.
    pub at: Option<Origin>,
    /// The setting; empty when the fault is in the text itself.
    pub key: String,
    /// What was given, secrets hidden.
    pub value: Option<String>,
    /// What is wrong with it: `is not a task`.
    pub what: String,
    /// What would be right.
    pub accepted: Option<String>,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl Problem {
    /// A problem with nothing but its sentence.
    pub fn new(at: Option<Origin>, key: &Key, what: impl Into<String>) -> Self {
        Self { at, key: key.to_string(), value: None, what: what.into(), accepted: None, suggestion: None }
    }

    /// The same, showing what was given.
    #[must_use]
    pub fn value(self, value: impl Into<String>) -> Self {
        Self { value: Some(value.into()), ..self }
    }

    /// The same, saying what would be right.
    #[must_use]
    pub fn accepted(self, accepted: impl Into<String>) -> Self {
        Self { accepted: Some(accepted.into()), ..self }
    }

    /// The same, saying what was probably meant.
    #[must_use]
    pub fn suggestion(self, suggestion: Option<String>) -> Self {
        Self { suggestion, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        if let Some(value) = &self.value {
            write!(f, "{value} ")?;
        }
        f.write_str(&self.what)?;
        if let Some(accepted) = &self.accepted {
            write!(f, "; accepted: {accepted}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean {suggestion:?}?")?;
        }
        Ok(())
    }
}

/// Puts problems in reading order: by file, line and column, then the environment, then the command line, then the
/// ones without a place.
pub fn sort(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| (a.at.is_none(), &a.at, &a.key, &a.what).cmp(&(b.at.is_none(), &b.at, &b.key, &b.what)));
    problems.dedup();
}

/// The one of `words` that was probably meant by `found`: at most a third of its letters differ.
pub fn did_you_mean<'a>(found: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let found = found.to_lowercase();
    let allowed = found.chars().count().div_ceil(3);
    words
        .into_iter()
        .map(|word| (distance(&found, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, word)| word.to_owned())
}

/// Letters to insert, delete, replace or swap with their neighbour to make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (row, from) in a.chars().enumerate() {
        let mut now = vec![row.saturating_add(1)];
        let mut previous_b = None;
        for (column, to) in b.iter().copied().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column).saturating_add(usize::from(from != to));
            let deleted = at(&last, column.saturating_add(1)).saturating_add(1);
            let inserted = at(&now, column).saturating_add(1);
            let swapped = if previous_a == Some(to) && previous_b == Some(from) {
                at(&before_last, column.saturating_sub(1)).saturating_add(1)
            } else {
                usize::MAX
            };
            now.push(replaced.min(deleted).min(inserted).min(swapped));
            previous_b = Some(to);
        }
        previous_a = Some(from);
        before_last = std::mem::replace(&mut last, now);
    }
    last.last().copied().unwrap_or_default()
}
