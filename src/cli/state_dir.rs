//! Where the daemon keeps its files, for commands that must work whatever state the manifest is in.
//!
//! Reads the one key `state.dir` around whatever else the manifest says, right or wrong. Not a second manifest
//! reader: whoever needs more of the manifest parses it properly.

use super::Global;
use crate::control::{Client, ClientError};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The manifest of the system's daemon.
pub const MANIFEST: &str = "/etc/seald.toml";

/// The manifest's own default.
const DEFAULT: &str = "/var/lib/seald";
const KEY: &str = "state.dir";
const VARIABLE: &str = "SEALD_STATE__DIR";

/// The state folder: `--set`, environment, drop-ins, manifest, default; the first that says one.
pub fn find(global: &Global) -> PathBuf {
    let set = global.set.iter().rev().filter_map(|pair| pair.split_once('=')).find(|(key, _)| key.trim() == KEY);
    let set = set.map(|(_, value)| unquoted(value));
    let said = set.or_else(|| std::env::var(VARIABLE).ok().map(|value| unquoted(&value)));
    said.or_else(|| from_files(&global.config)).map_or_else(|| PathBuf::from(DEFAULT), PathBuf::from)
}

/// Whether this argument of `--set` says where the state folder is.
pub fn is_named_by(set: &str) -> bool {
    set.split_once('=').is_some_and(|(key, _)| key.trim() == KEY)
}

/// The state folder of the daemon to talk to: as [`find`] says, except where only the daemon of the system listens. A
/// manifest of the system that names another folder than the one in force must not hide the daemon it is written for.
pub fn find_running(global: &Global) -> PathBuf {
    let said = find(global);
    let nobody =
        |dir| matches!(Client::connect(dir), Err(ClientError::NotRunning { .. } | ClientError::TooLong { .. }));
    let system = PathBuf::from(DEFAULT);
    let elsewhere = global.config == Path::new(MANIFEST) && said != system && nobody(&said) && !nobody(&system);
    if elsewhere { system } else { said }
}

fn from_files(manifest: &Path) -> Option<String> {
    let folder = std::fs::read_dir(manifest.with_extension("d"));
    let mut files: Vec<PathBuf> = folder.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    // the last drop-in wins, the manifest itself is the lowest layer
    files.insert(0, manifest.to_owned());
    files.iter().rev().find_map(|path| from_text(&std::fs::read_to_string(path).ok()?))
}

fn from_text(text: &str) -> Option<String> {
    let (table, _syntax_errors) = DeTable::parse_recoverable(text);
    let state = table.get_ref().get("state")?.get_ref();
    match state.as_table()?.get("dir")?.get_ref() {
        DeValue::String(dir) => Some(dir.clone().into_owned()),
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    }
}

fn unquoted(value: &str) -> String {
    let value = value.trim();
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_manifest_still_says_where_the_state_is() {
        let text = "[miner\nsector_size = \n[state]\ndir = \"/tmp/s\"\nurl = 7\n[slot.x]\ntasks = [";
        assert_eq!(from_text(text).as_deref(), Some("/tmp/s"));
        assert_eq!(from_text("state = 7"), None);
        assert_eq!(from_text("[state]\ndir = 7"), None);
    }

    #[test]
    fn the_last_layer_wins() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("seald.toml");
        let global = |set: &[&str]| Global {
            config: config.clone(),
            set: set.iter().map(|s| (*s).to_owned()).collect(),
            log: None,
        };
        assert_eq!(find(&global(&[])), PathBuf::from(DEFAULT));
        std::fs::write(&config, "[state]\ndir = \"a\"").unwrap();
        assert_eq!(find(&global(&[])), PathBuf::from("a"));
        std::fs::create_dir(folder.path().join("seald.d")).unwrap();
        std::fs::write(folder.path().join("seald.d/10.toml"), "state.dir = \"b\"").unwrap();
        std::fs::write(folder.path().join("seald.d/20.toml"), "[pledge]\nsectors = 1").unwrap();
        assert_eq!(find(&global(&[])), PathBuf::from("b"));
        assert_eq!(find(&global(&["state.dir=c", "state.dir=\"d\"", "pledge.sectors=3"])), PathBuf::from("d"));
    }
}
