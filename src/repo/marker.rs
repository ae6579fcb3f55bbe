//! `sectorstore.json`: the identity of a repo, in the form Lotus reads and writes.
//!
//! Four of its keys follow the manifest. All others, known to Lotus or to nobody, stay as they are, so that a
//! repo can come from Lotus and go back. A marker that cannot be understood is never replaced.

use super::{Declared, RepoError, atomic};
use crate::units::Bytes;
use serde_json::{Map, Value, json};
use std::{io::ErrorKind, path::Path};

/// The marker's file in a repo.
pub(super) const FILE: &str = "sectorstore.json";

/// Makes the marker of the repo at `repo` say what is declared, and gives the repo's id. Writes only what differs.
pub(super) fn ensure(repo: &Path, declared: &Declared) -> Result<String, RepoError> {
    let path = repo.join(FILE);
    let found = match std::fs::read(&path) {
        Ok(text) => Some(parse(&text).map_err(|why| RepoError::Marker { path: path.clone(), why })?),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(RepoError::io("read the marker", &path)(error)),
    };
    let mut marker = found.clone().unwrap_or_else(fresh);
    follow(&mut marker, declared);
    let id = id_of(&marker).map_err(|why| RepoError::Marker { path: path.clone(), why })?;
    if found.as_ref() != Some(&marker) {
        if let Some(key) = found.iter().flatten().find(|(_, value)| !is_kept(value)).map(|(key, _)| key) {
            let why = format!("its key {key} has a number that would not be kept as it is: write it as a text");
            return Err(RepoError::Marker { path, why });
        }
        let mut text = format!("{:#}", Value::Object(marker));
        text.push('\n');
        atomic::write_atomic(&path, text.as_bytes())?;
    }
    Ok(id)
}

/// The id of the repo at `repo`, whose marker must be there.
pub(super) fn id_at(repo: &Path) -> Result<String, RepoError> {
    let path = repo.join(FILE);
    let text = std::fs::read(&path).map_err(RepoError::io("read the marker", &path))?;
    parse(&text).and_then(|marker| id_of(&marker)).map_err(|why| RepoError::Marker { path, why })
}

pub(super) fn parse(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(marker)) => Ok(marker),
        Ok(_) => Err("it is not a JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The id, as it stands: Lotus treats it as an opaque text.
pub(super) fn id_of(marker: &Map<String, Value>) -> Result<String, String> {
    match marker.get("ID").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => Ok(id.to_owned()),
        _ => Err("it has no ID, a text such as a UUID".to_owned()),
    }
}

/// From here on not every whole number is a floating-point one: 2^53.
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// Whether a value of others keeps its meaning when it is written again: a whole number past 2^64 loses digits.
pub(super) fn is_kept(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64() || number.as_f64().is_some_and(|number| number.abs() < INEXACT),
        Value::Array(values) => values.iter().all(is_kept),
        Value::Object(fields) => fields.values().all(is_kept),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// The marker of a new repo: every key Lotus knows, open to every sector type and miner.
fn fresh() -> Map<String, Value> {
    let mut marker = Map::new();
    marker.insert("ID".to_owned(), json!(uuid::Uuid::new_v4()));
    for open_to_all in ["Groups", "AllowTo", "AllowTypes", "DenyTypes", "AllowMiners", "DenyMiners"] {
        marker.insert(open_to_all.to_owned(), json!([]));
    }
    marker
}

/// The keys the manifest decides. In Lotus's words a `MaxStorage` of 0 is no limit.
pub(super) fn follow(marker: &mut Map<String, Value>, declared: &Declared) {
    let max = declared.max_use.map_or(0, Bytes::as_u64);
    marker.insert("Weight".to_owned(), json!(declared.weight));
    marker.insert("CanSeal".to_owned(), json!(declared.seal));
    marker.insert("CanStore".to_owned(), json!(declared.store));
    marker.insert("MaxStorage".to_owned(), json!(max));
}
