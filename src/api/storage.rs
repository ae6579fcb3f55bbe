//! Repos as Lotus's storage paths. Pure.

use super::{
    sectors::sector_id,
    site::{File, Repo, Room},
};
use crate::units::Bytes;
use serde_json::{Value, json};

/// What lies in one path: a part of `StorageList`.
pub fn declarations(files: &[File]) -> Value {
    let line = |file: &File| {
        let mut line = sector_id(file.miner, file.number);
        if let Some(line) = line.as_object_mut() {
            line.insert("SectorFileType".to_owned(), json!(file.kinds));
        }
        line
    };
    json!(files.iter().map(line).collect::<Vec<_>>())
}

/// `StorageLocal`.
pub fn local(repos: &[Repo]) -> Value {
    Value::Object(repos.iter().map(|repo| (repo.id.clone(), json!(repo.path.display().to_string()))).collect())
}

/// `StorageInfo`. There is always one URL, as tools take the host from it.
pub fn info(repo: &Repo, url: &str) -> Value {
    json!({
        "ID": repo.id,
        "URLs": [url],
        "Weight": repo.weight,
        "MaxStorage": repo.max_use.map_or(0, Bytes::as_u64),
        "CanSeal": repo.seal,
        "CanStore": repo.store,
        "Groups": [],
        "AllowTo": [],
        "AllowTypes": [],
        "DenyTypes": [],
        "AllowMiners": [],
        "DenyMiners": [],
    })
}

/// One path of `StorageFindSector`: the URLs are of the file and of the path.
pub fn holder(repo: &Repo, url: &str, file: &str) -> Value {
    json!({
        "ID": repo.id,
        "URLs": [format!("{url}/{file}")],
        "BaseURLs": [url],
        "Weight": repo.weight,
        "CanSeal": repo.seal,
        "CanStore": repo.store,
        "Primary": true,
        "AllowTypes": [],
        "DenyTypes": [],
        "AllowMiners": [],
        "DenyMiners": [],
    })
}

/// `StorageStat`. Its capacity is never 0, which tools divide by: a repo that cannot be used has none of this.
///
/// # Errors
/// Why it cannot be used.
pub fn stat(repo: &Repo) -> Result<Value, String> {
    let Room { capacity, free, left, used, reserved } = repo.room.clone()?;
    if capacity == Bytes::default() {
        return Err("it is not measured yet: ask again in a second".to_owned());
    }
    Ok(json!({
        "Capacity": capacity.as_u64(),
        "Available": left.as_u64(),
        "FSAvailable": free.as_u64(),
        "Reserved": reserved.as_u64(),
        "Max": repo.max_use.map_or(0, Bytes::as_u64),
        "Used": used.as_u64(),
    }))
}
