//! All layers merged by figment, and the way back from a value to the layer and place it came from.
//!
//! serde stops at the first fault. Here a fault is noted, the key it lies at is taken out, and reading starts again,
//! until what is left fits: so every fault of shape is found, each with its key.

use super::{
    defaults,
    problems::{Key, Origin, Problem, Setting, Step, did_you_mean},
    raw::RawManifest,
    source::Layer,
    values::redact,
};
use figment::{
    Figment,
    error::Kind,
    value::{Num, Tag, Value},
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The merged layers.
pub struct Merged {
    figment: Figment,
    layers: Vec<Layer>,
    value: Value,
}

/// What serde made of them.
pub struct Shape {
    /// Everything that has the right name and type.
    pub raw: RawManifest,
    /// Everything that has not.
    pub problems: Vec<Problem>,
    /// Keys that are dealt with: at fault, or what a misspelt key was probably meant to be.
    pub dealt_with: BTreeSet<Key>,
}

impl Merged {
    /// Merges layers, the lowest first, over the defaults.
    pub fn new(mut layers: Vec<Layer>) -> Self {
        layers.insert(0, Layer::of_default(&Key::default(), defaults::SECTIONS));
        let merged = layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer));
        // the names of repos and slots are known only now; `join` fills in and never replaces
        let whole = whole_of(&merged);
        let of_each = |table: &str, text: &str| {
            let names = whole.find_ref(table).and_then(Value::as_dict).into_iter().flatten();
            let tables = names.filter(|(_, value)| value.as_dict().is_some());
            tables.map(|(name, _)| Layer::of_default(&Key::of(table).name(name), text)).collect::<Vec<_>>()
        };
        let mut filling = of_each("repo", defaults::REPO);
        filling.extend(of_each("slot", defaults::SLOT));
        // absent, it says that nothing listens
        let node = whole.find_ref("node").and_then(Value::as_dict);
        filling.extend(node.map(|_| Layer::of_default(&Key::of("node"), defaults::NODE)));
        let figment = filling.iter().fold(merged, |figment, layer| figment.join(layer));
        let value = whole_of(&figment);
        layers.extend(filling);
        Self { figment, layers, value }
    }

    /// The value at a key.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        key.steps().iter().try_fold(&self.value, |value, step| match step {
            Step::Name(name) => value.as_dict()?.get(name),
            Step::Item(index) => value.as_array()?.get(*index),
        })
    }

    /// Where the value at a key comes from; for a key that is not there, the table it should be in.
    pub fn value_origin(&self, key: &Key) -> Option<Origin> {
        self.origin(key, Layer::value_origin)
    }

    /// Where the key itself stands.
    pub fn key_origin(&self, key: &Key) -> Option<Origin> {
        self.origin(key, Layer::key_origin)
    }

    fn origin(&self, key: &Key, place: impl Fn(&Layer, &Key) -> Origin) -> Option<Origin> {
        let Some(value) = self.get(key) else { return self.origin(&key.parent()?, place) };
        match self.figment.get_metadata(value.tag()) {
            Some(metadata) => {
                let layer = self.layers.iter().find(|layer| layer.name() == metadata.name)?;
                // a table that only a default layer has is missing from the files
                let origin = place(layer, key);
                if origin == Origin::Default && value.as_dict().is_some() { self.first_file() } else { Some(origin) }
            }
            None => self.first_file(),
        }
    }

    fn first_file(&self) -> Option<Origin> {
        let layer = self.layers.iter().find(|layer| layer.file().is_some())?;
        Some(layer.value_origin(&Key::default()))
    }

    /// The value at a key as TOML writes it, secrets hidden.
    pub fn shown(&self, key: &Key) -> Option<String> {
        self.get(key).map(shown)
    }

    /// Every value that is in force, with its layer.
    pub fn settings(&self) -> BTreeMap<String, Setting> {
        let mut settings = BTreeMap::new();
        self.collect(&Key::default(), &self.value, &mut settings);
        settings
    }

    fn collect(&self, key: &Key, value: &Value, settings: &mut BTreeMap<String, Setting>) {
        if let Some(dict) = value.as_dict() {
            for (name, value) in dict {
                self.collect(&key.name(name), value, settings);
            }
        } else if let Some(origin) = self.value_origin(key) {
            settings.insert(key.to_string(), Setting { value: shown(value), origin });
        }
    }

    /// Reads the merged value into the raw types.
    pub fn shape(&self) -> Shape {
        let mut rest = self.value.clone();
        let mut problems = Vec::new();
        let mut dealt_with = BTreeSet::new();
        loop {
            let error = match RawManifest::deserialize(&rest) {
                Ok(raw) => return Shape { raw, problems, dealt_with },
                Err(error) => error,
            };
            let key = self.key(&error.path);
            problems.push(self.fault(&key, &error.kind, &mut dealt_with));
            dealt_with.insert(key);
            if !prune(&mut rest, &error.path) {
                return Shape { raw: RawManifest::default(), problems, dealt_with };
            }
        }
    }

    /// figment's path, with the steps into lists told apart from names.
    fn key(&self, path: &[String]) -> Key {
        path.iter().fold(Key::default(), |key, name| {
            let in_list = self.get(&key).is_some_and(|value| value.as_array().is_some());
            match name.parse() {
                Ok(index) if in_list => key.item(index),
                Ok(_) | Err(_) => key.name(name),
            }
        })
    }

    fn fault(&self, key: &Key, kind: &Kind, dealt_with: &mut BTreeSet<Key>) -> Problem {
        if let Kind::UnknownField(name, words) = kind {
            let meant = did_you_mean(name, words.iter().copied());
            let table = key.parent().unwrap_or_default();
            dealt_with.extend(meant.iter().map(|meant| table.name(meant)));
            return Problem::new(self.key_origin(key), key, "is not a known key")
                .accepted(words.join(", "))
                .suggestion(meant);
        }
        let (Kind::InvalidType(_, wanted) | Kind::InvalidValue(_, wanted)) = kind else {
            return Problem::new(self.value_origin(key), key, kind.to_string());
        };
        let wanted = wording(wanted);
        let shown = self.shown(key).unwrap_or_default();
        Problem::new(self.value_origin(key), key, "has the wrong type").value(shown).accepted(wanted)
    }
}

fn whole_of(figment: &Figment) -> Value {
    // `Layer` never fails to provide, so there is always a merged value
    figment.find_value("").unwrap_or_else(|_| Value::Dict(Tag::Default, figment::value::Dict::new()))
}

/// serde's words for what it expected, in ours.
fn wording(wanted: &str) -> &str {
    match wanted {
        "u64" | "u32" => "a whole number from 0",
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

/// Takes out what is at the path: a key with its value, or the whole list when the fault is an element of it.
fn prune(value: &mut Value, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    match value {
        Value::Dict(_, dict) => match rest {
            [] => dict.remove(first).is_some(),
            [index] if matches!(dict.get(first), Some(Value::Array(..))) && index.parse::<usize>().is_ok() => {
                dict.remove(first).is_some()
            }
            rest => dict.get_mut(first).is_some_and(|inner| prune(inner, rest)),
        },
        Value::Array(_, items) => {
            first.parse::<usize>().ok().and_then(|index| items.get_mut(index)).is_some_and(|inner| prune(inner, rest))
        }
        Value::String(..) | Value::Char(..) | Value::Bool(..) | Value::Num(..) | Value::Empty(..) => false,
    }
}

fn shown(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::String(_, text) => format!("{:?}", redact(text)),
        Value::Char(_, letter) => format!("{letter:?}"),
        Value::Bool(_, truth) => truth.to_string(),
        Value::Num(_, Num::F64(number)) => number.to_string(),
        Value::Num(_, number) => number.to_i128().map(|n| n.to_string()).unwrap_or_default(),
        Value::Empty(..) => String::new(),
        Value::Array(_, items) => format!("[{}]", list(items.iter().map(shown).collect())),
        Value::Dict(_, dict) => {
            let pairs = dict.iter().map(|(name, value)| format!("{name} = {}", shown(value)));
            format!("{{ {} }}", list(pairs.collect()))
        }
    }
}
