//! The layers of a manifest: TOML texts with the place of every key, environment variables, `--set` arguments.
//! Each is a figment provider; figment merges them and remembers which layer gave which value.
//!
//! [`read`] and [`Overrides::of_process`] are the only functions of this room that look outside.

use super::problems::{Key, Origin, Place, Problem};
use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Variables that begin with `SEALD_` and are not manifest keys.
pub const OTHER_VARIABLES: [&str; 11] = [
    "SEALD_LOG",
    "SEALD_CONFIG",
    "SEALD_SPAWN_SOCKET",
    "SEALD_WORKERS_DIR",
    "SEALD_EXITS_DIR",
    "SEALD_SIMULATED_STAGE_MS",
    "SEALD_TEST_LOTUS",
    "SEALD_TEST_POSTGRES",
    "SEALD_TEST_SEED",
    "SEALD_TEST_SEEDS",
    "SEALD_TEST_STEPS",
];

/// The proofs libraries' own variable: it takes the place of the default of `params.dir`.
const PARAMETER_CACHE: &str = "FIL_PROOFS_PARAMETER_CACHE";

/// What is laid over the files.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Environment variables; those that do not concern seald are passed over.
    pub variables: Vec<(String, String)>,
    /// `--set` arguments, `key=value`; the last one wins.
    pub set: Vec<String>,
    /// Relative paths start here.
    pub cwd: PathBuf,
}

impl Overrides {
    /// This process's environment and working directory, with these `--set` arguments.
    ///
    /// # Errors
    /// The working directory is gone or cannot be read.
    pub fn of_process(set: Vec<String>) -> std::io::Result<Self> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        Ok(Self { variables: std::env::vars_os().filter_map(text).collect(), set, cwd: std::env::current_dir()? })
    }
}

/// One manifest file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// As it was given.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// Whether these files set nothing at all: they hold comments at most.
pub fn set_nothing(files: &[File]) -> bool {
    files.iter().all(|file| DeTable::parse(&file.text).is_ok_and(|table| table.get_ref().is_empty()))
}

/// Reads the manifest and the drop-ins beside it: for `seald.toml`, every `seald.d/*.toml` in name order.
///
/// # Errors
/// A problem for each file that cannot be read.
pub fn read(path: &Path) -> Result<Vec<File>, Vec<Problem>> {
    let mut paths = vec![path.to_owned()];
    let mut problems = Vec::new();
    let mut refuse = |path: &Path, error: std::io::Error| {
        problems.push(Problem::new(None, &Key::default(), format!("cannot read {}: {error}", path.display())));
    };
    let folder = path.with_extension("d");
    match std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => {
            let dropins = entries.into_iter().map(|entry| entry.path());
            let mut dropins: Vec<_> =
                dropins.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
            dropins.sort();
            paths.extend(dropins);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => refuse(&folder, error),
    }
    let mut files = Vec::new();
    for path in paths {
        match std::fs::read_to_string(&path) {
            Ok(text) => files.push(File { path, text }),
            Err(error) => refuse(&path, error),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// Line and column of a key and of its value.
#[derive(Debug, Clone, Copy)]
struct Spot {
    key: (usize, usize),
    value: (usize, usize),
}

/// One layer: what it says and where each part of it stands.
#[derive(Debug, Clone)]
pub struct Layer {
    origin: LayerOrigin,
    data: Dict,
    spots: BTreeMap<Key, Spot>,
}

#[derive(Debug, Clone)]
enum LayerOrigin {
    File(PathBuf),
    Whole(Origin),
}

impl Layer {
    /// A manifest file, and its syntax errors; what could be read around them is kept.
    pub fn of_file(file: &File) -> (Self, Vec<Problem>) {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        let mut walk = Walk { text: &file.text, spots: BTreeMap::new(), problems: Vec::new() };
        let data = walk.table(&Key::default(), table.get_ref());
        let Walk { spots, problems: numbers, .. } = walk;
        let errors = errors.into_iter().map(|error| {
            let what = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            (error.span().map_or(0, |span| span.start), Key::default(), format!("not valid TOML: {what}"))
        });
        let problems = errors.chain(numbers).map(|(offset, key, what)| {
            let (line, column) = line_and_column(&file.text, offset);
            Problem::new(Some(Origin::File(Place { file: file.path.clone(), line, column })), &key, what)
        });
        let problems = problems.collect();
        (Self { origin: LayerOrigin::File(file.path.clone()), data, spots }, problems)
    }

    /// A default: this TOML text at `key`.
    pub fn of_default(key: &Key, text: &str) -> Self {
        let table = DeTable::parse_recoverable(text).0;
        let data = Walk { text, spots: BTreeMap::new(), problems: Vec::new() }.table(key, table.get_ref());
        Self::at(Origin::Default, key, Value::from(data))
    }

    /// Every environment variable that concerns the manifest, in name order.
    pub fn of_variables(variables: &[(String, String)]) -> Vec<Self> {
        let mut variables: Vec<_> = variables.iter().collect();
        variables.sort();
        let layer = |(name, value): &(String, String)| {
            let path = name.strip_prefix("SEALD_").filter(|_| !OTHER_VARIABLES.contains(&name.as_str()))?;
            let key = Key::of(&path.to_lowercase().replace("__", "."));
            Some(Self::at(Origin::Environment(name.clone()), &key, override_value(value)))
        };
        variables.into_iter().filter_map(layer).collect()
    }

    /// The parameter folder other Filecoin programs on this machine use, when the environment names one.
    pub fn of_parameter_cache(variables: &[(String, String)]) -> Option<Self> {
        let (name, value) = variables.iter().find(|(name, value)| name == PARAMETER_CACHE && !value.is_empty())?;
        Some(Self::at(Origin::Environment(name.clone()), &Key::of("params.dir"), Value::from(value.as_str())))
    }

    /// A `--set key=value`; `None` when the argument has no `=` or no key.
    pub fn of_set(argument: &str) -> Option<Self> {
        let (key, value) = argument.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then(|| Self::at(Origin::Set(key.to_owned()), &Key::of(key), override_value(value)))
    }

    fn at(origin: Origin, key: &Key, value: Value) -> Self {
        let wrap = |inner: Value, step: &super::problems::Step| match step {
            super::problems::Step::Name(name) => Value::from(Dict::from([(name.clone(), inner)])),
            super::problems::Step::Item(_) => inner,
        };
        let data = key.steps().iter().rev().fold(value, wrap).into_dict().unwrap_or_default();
        Self { origin: LayerOrigin::Whole(origin), data, spots: BTreeMap::new() }
    }

    /// Different for every layer; figment's metadata carries it.
    pub fn name(&self) -> String {
        match &self.origin {
            LayerOrigin::File(path) => path.display().to_string(),
            LayerOrigin::Whole(origin) => origin.to_string(),
        }
    }

    /// The manifest file this layer is, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.origin {
            LayerOrigin::File(path) => Some(path),
            LayerOrigin::Whole(_) => None,
        }
    }

    /// Where the value of a key stands; the beginning of a file for a key it does not have.
    pub fn value_origin(&self, key: &Key) -> Origin {
        self.origin_at(self.spots.get(key).map_or((1, 1), |spot| spot.value))
    }

    /// Where the key itself stands.
    pub fn key_origin(&self, key: &Key) -> Origin {
        self.origin_at(self.spots.get(key).map_or((1, 1), |spot| spot.key))
    }

    fn origin_at(&self, (line, column): (usize, usize)) -> Origin {
        match &self.origin {
            LayerOrigin::File(path) => Origin::File(Place { file: path.clone(), line, column }),
            LayerOrigin::Whole(origin) => origin.clone(),
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.data.clone())]))
    }
}

/// What an override says: a TOML value when it is one, else the text itself, so that no quotes are needed.
fn override_value(text: &str) -> Value {
    DeValue::parse(text).map_or_else(
        |_| Value::from(text),
        |value| {
            let mut walk = Walk { text, spots: BTreeMap::new(), problems: Vec::new() };
            let parsed = walk.value(&Key::default(), &value);
            if walk.problems.is_empty() { parsed } else { Value::from(text) }
        },
    )
}

/// Turns TOML into figment's values, noting places.
struct Walk<'a> {
    text: &'a str,
    spots: BTreeMap<Key, Spot>,
    problems: Vec<(usize, Key, String)>,
}

impl Walk<'_> {
    fn table(&mut self, at: &Key, table: &DeTable<'_>) -> Dict {
        let mut dict = Dict::new();
        for (name, value) in table {
            let key = at.name(name.get_ref());
            let place = |span: std::ops::Range<usize>| line_and_column(self.text, span.start);
            let spot = Spot { key: place(name.span()), value: place(value.span()) };
            self.spots.insert(key.clone(), spot);
            dict.insert(name.get_ref().to_string(), self.value(&key, value));
        }
        dict
    }

    fn value(&mut self, key: &Key, value: &Spanned<DeValue<'_>>) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Boolean(truth) => Value::from(*truth),
            DeValue::Datetime(moment) => Value::from(moment.to_string()),
            DeValue::Table(table) => Value::from(self.table(key, table)),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or_else(
                |_| {
                    self.problems.push((value.span().start, key.clone(), "the number is too large".to_owned()));
                    Value::from(0)
                },
                Value::from,
            ),
            DeValue::Float(number) => Value::from(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Array(items) => {
                let mut values = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let key = key.item(index);
                    let place = line_and_column(self.text, item.span().start);
                    self.spots.insert(key.clone(), Spot { key: place, value: place });
                    values.push(self.value(&key, item));
                }
                Value::from(values)
            }
        }
    }
}

/// From a byte offset; both count from 1.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}
