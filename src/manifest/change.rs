//! What differs between two manifests, and what bringing the second into force would mean. Pure.

use super::{Loaded, Setting};
use std::{collections::BTreeMap, fmt};

/// How a change comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// With the next turn of the loop.
    Live,
    /// Workers finish the task they have, then go or are replaced.
    Drain,
    /// When seald is started again; workers go on meanwhile.
    Restart,
    /// Never, once there is a miner or a sector: it would be another miner's.
    Never,
}

impl Class {
    /// The word in answers and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Drain => "drain",
            Self::Restart => "restart",
            Self::Never => "never",
        }
    }

    /// Whether a reload can do it.
    pub const fn reloads(self) -> bool {
        match self {
            Self::Live | Self::Drain => true,
            Self::Restart | Self::Never => false,
        }
    }
}

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its key, or that of a table that comes or goes whole.
    pub key: String,
    /// Its value until now, without secrets; absent when it was not set.
    pub from: Option<String>,
    /// Its value then.
    pub to: Option<String>,
    /// How it comes into force.
    pub class: Class,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, from, to, class } = self;
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{key}: {} -> {} ({})", said(from), said(to), class.as_str())
    }
}

/// Every setting that differs, in the order of keys. Where only a secret differs, its key is named without values.
pub fn changes(old: &Loaded, new: &Loaded) -> Vec<Change> {
    let (before, after) = (&old.provenance, &new.provenance);
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let value =
        |settings: &BTreeMap<String, Setting>, key: &str| settings.get(key).map(|setting| setting.value.clone());
    let mut changes: Vec<Change> = Vec::new();
    for key in keys {
        let (from, to) = (value(before, key), value(after, key));
        if from == to {
            continue;
        }
        let class = class_of(key, &from, &to);
        changes.push(Change { key: key.clone(), from, to, class });
    }
    if changes.is_empty() && old.manifest.state.url != new.manifest.state.url {
        changes.push(Change { key: "state.url".to_owned(), from: None, to: None, class: Class::Restart });
    }
    changes
}

/// The class of a key. A key that is not named here is not known to be harmless.
fn class_of(key: &str, from: &Option<String>, to: &Option<String>) -> Class {
    let part = |name: &str| key.rsplit('.').next() == Some(name);
    let table = key.split(['.', '[']).next().unwrap_or_default();
    match table {
        "pledge" | "fees" | "batch" | "control" => Class::Live,
        "chain" if key == "chain.devnet" => Class::Never,
        "chain" => Class::Live,
        // a repo comes and goes with the next turn; whether it may go is judged by what it holds
        "repo" => Class::Live,
        // more of the same starts at once, and everything else waits for the task that runs
        "slot" if part("count") && count(to) > count(from) && from.is_some() => Class::Live,
        "slot" if from.is_none() && part("tasks") => Class::Live,
        "slot" => Class::Drain,
        "params" => Class::Drain,
        "miner" => Class::Never,
        "state" | "workers" | "node" => Class::Restart,
        _ => Class::Restart,
    }
}

fn count(value: &Option<String>) -> u64 {
    value.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{File, Overrides, parse, schema};
    use std::collections::BTreeSet;

    const BASE: &str = r#"
[miner]
sector_size = "2KiB"
create = { owner = "default", worker = "default" }
[chain]
devnet = true
[state]
url = "postgres://seald:old@db/seald"
[repo.disk]
path = "/srv/disk"
roles = ["seal", "store"]
[slot.cpu]
tasks = ["precommit1", "precommit2", "commit"]
count = 2
[pledge]
sectors = 2
"#;

    fn loaded(text: &str) -> Loaded {
        let file = File { path: "seald.toml".into(), text: text.to_owned() };
        let overrides = Overrides { cwd: "/".into(), ..Overrides::default() };
        parse(&[file], &overrides).unwrap()
    }

    fn differ(from: &str, to: &str) -> Vec<(String, Class)> {
        let found = changes(&loaded(BASE), &loaded(&BASE.replace(from, to)));
        found.into_iter().map(|change| (change.key, change.class)).collect()
    }

    #[test]
    fn every_change_has_its_class() {
        let is = |key: &str, class| vec![(key.to_owned(), class)];
        assert_eq!(differ("nothing", "changes"), []);
        assert_eq!(differ("sectors = 2", "sectors = 3"), is("pledge.sectors", Class::Live));
        assert_eq!(differ("count = 2", "count = 3"), is("slot.cpu.count", Class::Live));
        assert_eq!(differ("count = 2", "count = 1"), is("slot.cpu.count", Class::Drain));
        assert_eq!(differ("count = 2", "count = 2\ncpus = \"0\""), is("slot.cpu.cpus", Class::Drain));
        assert_eq!(differ("\"2KiB\"", "\"8MiB\""), is("miner.sector_size", Class::Never));
        assert_eq!(
            differ("[pledge]", "[workers]\nlauncher = \"direct\"\n[pledge]"),
            is("workers.launcher", Class::Restart)
        );
        assert_eq!(differ("[chain]", "[chain]\nseed_confidence = 3"), is("chain.seed_confidence", Class::Live));
        let slot = differ("[pledge]", "[slot.new]\ntasks = [\"precommit1\"]\n[pledge]");
        assert!(slot.contains(&("slot.new.tasks".to_owned(), Class::Live)), "{slot:?}");
    }

    #[test]
    fn a_secret_that_changes_is_named_and_not_shown() {
        let found = changes(&loaded(BASE), &loaded(&BASE.replace(":old@", ":new@")));
        assert_eq!(found.len(), 1);
        let text = found.iter().map(ToString::to_string).collect::<String>();
        assert_eq!(text, "state.url: nothing -> nothing (restart)");
    }

    /// A table that a later version adds must be thought of here.
    #[test]
    fn every_table_of_the_schema_is_thought_of() {
        let schema = schema();
        let tables = schema.get("properties").and_then(|all| all.as_object()).unwrap();
        let known: BTreeSet<_> = [
            "batch", "chain", "control", "fees", "miner", "node", "params", "pledge", "repo", "slot", "state",
            "workers",
        ]
        .into();
        let unknown: Vec<_> = tables.keys().filter(|table| !known.contains(table.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?} have no class in `class_of`");
    }
}
