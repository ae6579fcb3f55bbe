//! What one manifest changes of another, and what each change means for a daemon that runs. Pure.
//!
//! Every key has a class in [`CLASSES`]. A repo or slot that comes or goes is one change, of its whole table.

use super::{
    model::{
        Account, Batch, BatchRule, Chain, ChainSource, Control, Endpoint, Fees, Identity, Manifest, Miner, Node,
        Params, Pledge, Repo, Senders, Slot, State, Workers,
    },
    values::redact,
};
use crate::units::{AttoFil, Bytes, Multiaddr};
use std::{collections::BTreeMap, fmt::Display, time::Duration};

/// What a change means for what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It counts from the next turn of the loop on.
    Live,
    /// Running tasks keep what they were started with.
    NewJobs,
    /// What runs there is finished, then it goes.
    Drain,
    /// Only a start takes it up.
    Restart,
    /// It cannot change while there are sectors.
    Never,
}

impl Class {
    /// The word in answers and documents.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::NewJobs => "new jobs",
            Self::Drain => "drain",
            Self::Restart => "restart",
            Self::Never => "never",
        }
    }

    /// Whether a running daemon takes it up.
    pub const fn is_taken(self) -> bool {
        match self {
            Self::Live | Self::NewJobs | Self::Drain => true,
            Self::Restart | Self::Never => false,
        }
    }

    /// What becomes of what runs, or what to do when nothing does.
    pub const fn effect(self) -> &'static str {
        match self {
            Self::Live => "at once; nothing is interrupted",
            Self::NewJobs => "running tasks keep the old, their workers are replaced when they are done",
            Self::Drain => "no new task; what runs there is finished, then it goes",
            Self::Restart => "not by a reload: put it back, or `systemctl restart seald`",
            Self::Never => "not while there are sectors: put it back, or give another state.dir to another miner",
        }
    }
}

/// The class of every key; `*` stands for the name of a repo or slot. A key within a listed one has its class.
pub const CLASSES: &[(&str, Class)] = &[
    ("miner.peer_id", Class::Live),
    ("miner.multiaddrs", Class::Live),
    ("miner.senders", Class::Live),
    ("miner", Class::Never),
    ("chain.endpoints", Class::Live),
    ("chain.devnet", Class::Restart),
    ("chain.message_confidence", Class::Live),
    ("chain.seed_confidence", Class::Live),
    ("state.dir", Class::Restart),
    ("state.url", Class::Restart),
    ("repo.*.path", Class::Restart),
    ("repo.*.roles", Class::Drain),
    ("repo.*.max_use", Class::Live),
    ("repo.*.reserve", Class::Live),
    ("repo.*.weight", Class::Live),
    ("repo.*.require_mount", Class::Live),
    ("slot.*.tasks", Class::NewJobs),
    ("slot.*.count", Class::NewJobs),
    ("slot.*.gpu", Class::NewJobs),
    ("slot.*.cpus", Class::NewJobs),
    ("slot.*.memory", Class::NewJobs),
    ("pledge", Class::Live),
    ("fees", Class::Live),
    ("batch", Class::Live),
    ("node.address", Class::Restart),
    ("node.api", Class::Live),
    ("params.dir", Class::Restart),
    ("params.mirror", Class::Live),
    ("workers.launcher", Class::Restart),
    ("control.operator_group", Class::Live),
];

/// The class of a key, `*` in place of names; `None` for one that no manifest has.
pub fn class_of(pattern: &str) -> Option<Class> {
    let holds = |key: &str| pattern.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    CLASSES.iter().find(|(key, _)| holds(key)).map(|(_, class)| *class)
}

/// One key that differs. Secrets are hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key, or the table of a repo or slot that comes or goes.
    pub key: String,
    /// What it was; `None` when there was nothing.
    pub from: Option<String>,
    /// What it is to be; `None` when there is to be nothing.
    pub to: Option<String>,
    /// What that means.
    pub class: Class,
}

impl Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, from, to, class: _ } = self;
        match (from, to) {
            (Some(from), Some(to)) if from == to => write!(f, "{key}: another secret"),
            (Some(from), Some(to)) => write!(f, "{key}: {from} becomes {to}"),
            (None, Some(to)) => write!(f, "{key} is added: {to}"),
            (Some(from), None) => write!(f, "{key} is removed: {from}"),
            (None, None) => f.write_str(key),
        }
    }
}

/// Everything that differs, in the order of its keys. `sectors`: whether there are any.
pub fn changes(old: &Manifest, new: &Manifest, sectors: bool) -> Vec<Change> {
    let (mut before, mut after) = (facts(old), facts(new));
    let mut found = Vec::new();
    let tables = [("repo", names(&old.repos), names(&new.repos)), ("slot", names(&old.slots), names(&new.slots))];
    for (table, had, has) in tables {
        for name in had.iter().filter(|name| !has.contains(name)) {
            let whole = take(&mut before, &format!("{table}.{name}."));
            found.push(Change { key: format!("{table}.{name}"), from: Some(whole), to: None, class: Class::Drain });
        }
        for name in has.iter().filter(|name| !had.contains(name)) {
            let whole = take(&mut after, &format!("{table}.{name}."));
            found.push(Change { key: format!("{table}.{name}"), from: None, to: Some(whole), class: Class::Live });
        }
    }
    let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    for key in keys {
        let (from, to) = (before.get(&key), after.get(&key));
        if from.map(|fact| &fact.truth) != to.map(|fact| &fact.truth) {
            let class = from.or(to).map_or(Class::Restart, |fact| fact.class);
            let class = if class == Class::Never && !sectors { Class::Restart } else { class };
            // values that are rounded to the same text are told in full
            let rounded = from.zip(to).is_some_and(|(from, to)| from.shown == to.shown && !from.secret);
            let shown =
                |fact: Option<&Fact>| fact.map(|fact| if rounded { fact.truth.clone() } else { fact.shown.clone() });
            found.push(Change { class: fewer(old, new, &key).unwrap_or(class), key, from: shown(from), to: shown(to) });
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// Fewer processes: those that go finish first.
fn fewer(old: &Manifest, new: &Manifest, key: &str) -> Option<Class> {
    let name = key.strip_prefix("slot.")?.strip_suffix(".count")?;
    let count =
        |manifest: &Manifest| manifest.slots.iter().find(|(slot, _)| slot.as_str() == name).map(|(_, slot)| slot.count);
    (count(new)? < count(old)?).then_some(Class::Drain)
}

/// The value of one key.
struct Fact {
    /// All of it, to compare.
    truth: String,
    /// What may be shown of it.
    shown: String,
    /// Whether the one is not to be told from the other.
    secret: bool,
    class: Class,
}

type Facts = BTreeMap<String, Fact>;

fn names<K: Display, V>(tables: &BTreeMap<K, V>) -> Vec<String> {
    tables.keys().map(ToString::to_string).collect()
}

/// Takes all facts below a table out, as one text.
fn take(facts: &mut Facts, below: &str) -> String {
    let mut parts = Vec::new();
    facts.retain(|key, fact| {
        let inside = key.strip_prefix(below);
        parts.extend(inside.map(|name| format!("{name} = {}", fact.shown)));
        inside.is_none()
    });
    parts.join(", ")
}

/// Collects facts. Absent values are no facts.
#[derive(Default)]
struct Collector(Facts);

impl Collector {
    fn put(&mut self, key: &str, pattern: &str, value: impl Display) {
        let shown = value.to_string();
        self.put_fact(key, pattern, shown.clone(), shown, false);
    }

    fn put_secret(&mut self, key: &str, truth: String, shown: String) {
        self.put_fact(key, key, truth, shown, true);
    }

    fn put_fact(&mut self, key: &str, pattern: &str, truth: String, shown: String, secret: bool) {
        // a key without a class would be taken up by a start only, and fails the test of all keys
        let class = class_of(pattern).unwrap_or(Class::Restart);
        self.0.insert(key.to_owned(), Fact { truth, shown, secret, class });
    }

    /// Bytes, which are shown rounded.
    fn put_bytes(&mut self, key: &str, pattern: &str, bytes: Bytes) {
        self.put_fact(key, pattern, format!("{} bytes", bytes.as_u64()), bytes.to_string(), false);
    }

    /// An amount, which is shown rounded.
    fn set_amount(&mut self, key: &str, amount: &AttoFil) {
        self.put_fact(key, key, format!("{} attoFIL", amount.as_atto()), amount.to_string(), false);
    }

    fn set(&mut self, key: &str, value: impl Display) {
        self.put(key, key, value);
    }

    fn set_some(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }
}

/// Every key of a manifest. Each struct is taken apart whole, so that a new key is missed by the compiler.
fn facts(manifest: &Manifest) -> Facts {
    let Manifest { files: _, miner, chain, state, repos, slots, pledge, fees, batch, node, params, workers, control } =
        manifest;
    let mut to = Collector::default();
    of_miner(&mut to, miner);
    of_chain(&mut to, chain);
    let State { dir, url } = state;
    to.set("state.dir", dir.display());
    to.put_secret("state.url", url.as_str().to_owned(), url.to_string());
    repos.iter().for_each(|(name, repo)| of_repo(&mut to, name.as_str(), repo));
    slots.iter().for_each(|(name, slot)| of_slot(&mut to, name.as_str(), slot));
    let Pledge { sectors, max_in_flight, lifetime_epochs } = pledge;
    to.set("pledge.sectors", sectors);
    to.set("pledge.max_in_flight", max_in_flight);
    to.set("pledge.lifetime", format!("{lifetime_epochs} epochs"));
    of_fees(&mut to, fees);
    let Batch { precommit, commit, aggregate_from } = batch;
    for (name, rule) in [("precommit", precommit), ("commit", commit)] {
        let BatchRule { max, wait } = rule;
        to.set(&format!("batch.{name}.max"), max);
        to.set(&format!("batch.{name}.wait"), duration(*wait));
    }
    to.set("batch.aggregate_from", aggregate_from.unwrap_or(0));
    if let Some(Node { address, api }) = node {
        to.set("node.address", address);
        to.set("node.api", api.word());
    }
    let Params { dir, mirror } = params;
    to.set("params.dir", dir.display());
    if let Some(mirror) = mirror {
        to.put_secret("params.mirror", mirror.clone(), redact(mirror));
    }
    let Workers { launcher } = workers;
    to.set("workers.launcher", launcher.word());
    let Control { operator_group } = control;
    to.set_some("control.operator_group", operator_group.as_ref());
    to.0
}

fn of_miner(to: &mut Collector, miner: &Miner) {
    let account = |account: &Account| match account {
        Account::Default => "default".to_owned(),
        Account::New => "new".to_owned(),
        Account::Address(address) => address.clone(),
    };
    let Miner { sector_size, identity, peer_id, multiaddrs, senders } = miner;
    to.set("miner.sector_size", sector_size);
    match identity {
        Identity::Attach(actor) => to.set("miner.actor", actor),
        Identity::Create { owner, worker } => {
            to.set("miner.create.owner", account(owner));
            to.set("miner.create.worker", account(worker));
        }
        Identity::Genesis { actor, presealed, metadata } => {
            to.set("miner.genesis.actor", actor);
            let folders: Vec<_> = presealed.iter().map(|folder| folder.display().to_string()).collect();
            to.set("miner.genesis.presealed", folders.join(", "));
            to.set("miner.genesis.metadata", metadata.display());
        }
    }
    to.set_some("miner.peer_id", peer_id.as_ref());
    let texts = |addresses: &Vec<Multiaddr>| {
        format!("[{}]", addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    };
    to.set_some("miner.multiaddrs", multiaddrs.as_ref().map(texts));
    let Senders { precommit, commit, terminate } = senders;
    for (name, list) in [("precommit", precommit), ("commit", commit), ("terminate", terminate)] {
        if !list.is_empty() {
            to.set(&format!("miner.senders.{name}"), format!("[{}]", list.join(", ")));
        }
    }
}

fn of_chain(to: &mut Collector, chain: &Chain) {
    let Chain { source, message_confidence, seed_confidence } = chain;
    match source {
        ChainSource::Devnet => to.set("chain.devnet", true),
        ChainSource::Endpoints(endpoints) => {
            to.set("chain.devnet", false);
            let file = |token_file: &Option<std::path::PathBuf>| {
                token_file.as_ref().map(|path| format!(" with {}", path.display())).unwrap_or_default()
            };
            let text = |hide: fn(&str) -> String| {
                let of = |Endpoint { url, token_file }: &Endpoint| format!("{}{}", hide(url), file(token_file));
                endpoints.iter().map(of).collect::<Vec<_>>().join(", ")
            };
            to.put_secret("chain.endpoints", text(str::to_owned), text(redact));
        }
    }
    to.set("chain.message_confidence", message_confidence);
    to.set("chain.seed_confidence", seed_confidence);
}

fn of_repo(to: &mut Collector, name: &str, repo: &Repo) {
    let Repo { path, seal, store, max_use, reserve, weight, require_mount } = repo;
    let mut put = |part: &str, value: String| to.put(&format!("repo.{name}.{part}"), &format!("repo.*.{part}"), value);
    put("path", path.display().to_string());
    let roles = [(*seal, "seal"), (*store, "store")];
    put("roles", format!("[{}]", joined(roles.into_iter().filter(|(on, _)| *on).map(|(_, role)| role))));
    put("weight", weight.to_string());
    put("require_mount", require_mount.to_string());
    for (part, bytes) in [("max_use", max_use.as_ref()), ("reserve", Some(reserve))] {
        if let Some(bytes) = bytes {
            to.put_bytes(&format!("repo.{name}.{part}"), &format!("repo.*.{part}"), *bytes);
        }
    }
}

fn of_slot(to: &mut Collector, name: &str, slot: &Slot) {
    let Slot { tasks, count, gpu, cpus, memory } = slot;
    let mut put = |part: &str, value: String| to.put(&format!("slot.{name}.{part}"), &format!("slot.*.{part}"), value);
    put("tasks", format!("[{}]", joined(tasks.iter().map(|task| task.word()))));
    put("count", count.to_string());
    let optional = [("gpu", gpu.as_ref().map(ToString::to_string)), ("cpus", cpus.as_ref().map(ToString::to_string))];
    optional.into_iter().for_each(|(part, value)| {
        if let Some(value) = value {
            put(part, value);
        }
    });
    if let Some(memory) = memory {
        to.put_bytes(&format!("slot.{name}.memory"), "slot.*.memory", *memory);
    }
}

fn of_fees(to: &mut Collector, fees: &Fees) {
    let Fees { max_precommit, max_commit, base_fee_ceiling, deadline_margin, urgent_factor, replace_after } = fees;
    to.set_amount("fees.max_precommit", max_precommit);
    to.set_amount("fees.max_commit", max_commit);
    if let Some(ceiling) = base_fee_ceiling {
        to.set_amount("fees.base_fee_ceiling", ceiling);
    }
    to.set("fees.deadline_margin", duration(*deadline_margin));
    to.set("fees.urgent_factor", urgent_factor);
    to.set("fees.replace_after", duration(*replace_after));
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let whole = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit));
    let (unit, word) = whole.unwrap_or((1, "s"));
    format!("{}{word}", seconds.checked_div(unit).unwrap_or(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Api, File, Overrides, parse, schema};
    use serde_json::Value;

    const BASE: &str = "miner = { sector_size = '2KiB', actor = 'f01000' }\n\
         chain.endpoints = [{ url = 'http://a:1/rpc', token_file = 't' }]\n\
         state = { dir = 'state', url = 'postgres://u:first@db/s' }\n\
         repo.a = { path = 'a', roles = ['seal', 'store'] }\nrepo.b = { path = 'b', roles = ['store'] }\n\
         slot.cpu = { tasks = ['precommit1', 'precommit2', 'commit', 'finalize'], count = 2 }\n\
         slot.more = { tasks = ['commit'] }\npledge.sectors = 1\n";

    fn manifest(text: &str) -> Manifest {
        let file = File { path: "seald.toml".into(), text: text.to_owned() };
        parse(&[file], &Overrides { cwd: "/box".into(), ..Overrides::default() }).unwrap().manifest
    }

    fn found(replace: &[(&str, &str)], sectors: bool) -> Vec<(String, Class)> {
        let text = replace.iter().fold(BASE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let found = changes(&manifest(BASE), &manifest(&text), sectors);
        found.into_iter().map(|change| (change.key, change.class)).collect()
    }

    /// What is replaced in the text, and what a change of it is.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, Class)]);

    #[test]
    fn each_change_has_the_class_that_its_key_and_direction_say() {
        let cases: &[Case] = &[
            (&[("sectors = 1", "sectors = 3")], &[("pledge.sectors", Class::Live)]),
            (&[("count = 2", "count = 3")], &[("slot.cpu.count", Class::NewJobs)]),
            (&[("count = 2", "count = 1")], &[("slot.cpu.count", Class::Drain)]),
            (&[("count = 2", "count = 2, memory = '1GiB'")], &[("slot.cpu.memory", Class::NewJobs)]),
            (&[("slot.more = { tasks = ['commit'] }\n", "")], &[("slot.more", Class::Drain)]),
            (&[("slot.more", "slot.other")], &[("slot.more", Class::Drain), ("slot.other", Class::Live)]),
            (&[("repo.b = { path = 'b'", "repo.b = { path = 'c'")], &[("repo.b.path", Class::Restart)]),
            (&[("repo.b", "repo.c")], &[("repo.b", Class::Drain), ("repo.c", Class::Live)]),
            (&[("http://a:1", "http://b:1")], &[("chain.endpoints", Class::Live)]),
            (&[("dir = 'state'", "dir = 'other'")], &[("state.dir", Class::Restart)]),
            (&[("f01000", "f01001")], &[("miner.actor", Class::Never)]),
            (&[("actor =", "senders.commit = ['f01007'], actor =")], &[("miner.senders.commit", Class::Live)]),
            (&[("actor =", "multiaddrs = ['/ip4/1.2.3.4/tcp/1'], actor =")], &[("miner.multiaddrs", Class::Live)]),
            (&[("'2KiB'", "'8MiB'")], &[("miner.sector_size", Class::Never)]),
            (&[], &[]),
        ];
        for (replace, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(key, class)| ((*key).to_owned(), *class)).collect();
            assert_eq!(found(replace, true), expected, "{replace:?}");
        }
        assert_eq!(found(&[("f01000", "f01001")], false), [("miner.actor".to_owned(), Class::Restart)]);
    }

    #[test]
    fn what_the_api_allows_changes_at_once_and_is_to_look_unless_said() {
        let node = |api: &str| manifest(&format!("{BASE}node = {{ address = '10.0.0.2:3456'{api} }}\n"));
        let (look, order) = (node(""), node(", api = 'write'"));
        assert_eq!(look.node.map(|node| node.api), Some(Api::Read));
        let changed: Vec<_> =
            changes(&look, &order, true).iter().map(|change| (change.to_string(), change.class)).collect();
        assert_eq!(changed, [("node.api: read becomes write".to_owned(), Class::Live)]);
        let wrong =
            File { path: "seald.toml".into(), text: format!("{BASE}node = {{ address = '1.2.3.4:5', api = 'on' }}\n") };
        let problems = parse(&[wrong], &Overrides { cwd: "/box".into(), ..Overrides::default() }).unwrap_err();
        let said: String = problems.iter().map(ToString::to_string).collect();
        assert!(problems.len() == 1 && said.contains("node.api") && said.contains("off read write"), "{said}");
    }

    #[test]
    fn what_is_rounded_to_the_same_text_is_told_in_full() {
        let before = format!("{BASE}[repo.c]\npath = 'c'\nroles = ['store']\nmax_use = '3.51TiB'\n[fees]\n");
        let after = before.replace("3.51TiB", "3.54TiB").replace("[fees]", "[fees]\nmax_commit = '1.0000000001 FIL'");
        let before = before.replace("[fees]", "[fees]\nmax_commit = '1.0000000002 FIL'");
        let found = changes(&manifest(&before), &manifest(&after), true);
        let told: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "fees.max_commit: 1000000000200000000 attoFIL becomes 1000000000100000000 attoFIL",
                "repo.c.max_use: 3859285813493 bytes becomes 3892271162327 bytes"
            ]
        );
    }

    #[test]
    fn a_secret_that_changed_is_told_and_not_shown() {
        let mirror = |secret: &str| format!("{BASE}params.mirror = 'https://u:{secret}@m/'\n");
        let text = mirror("fourth").replace("first", "second").replace("http://a:1", "http://u:third@a:1");
        let found = changes(&manifest(&mirror("fifth")), &manifest(&text), false);
        let told: String = found.iter().map(|change| format!("{change}\n")).collect();
        assert_eq!(found.len(), 3, "{told}");
        assert!(["first", "second", "third", "fourth", "fifth"].iter().all(|secret| !told.contains(secret)), "{told}");
        assert!(told.contains("state.url: another secret"), "{told}");
    }

    /// The keys of a schema with `*` for names, down to values.
    fn leaves(schema: &Value, at: &str, found: &mut Vec<String>) {
        let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        let properties = schema.get("properties").and_then(Value::as_object);
        let named = schema.get("additionalProperties").filter(|of| of.is_object());
        if properties.is_none() && named.is_none() {
            found.push(at.to_owned());
        }
        properties.into_iter().flatten().for_each(|(name, of)| leaves(of, &below(name), found));
        named.into_iter().for_each(|of| leaves(of, &below("*"), found));
    }

    #[test]
    fn every_key_of_a_manifest_has_a_class_and_no_class_is_left_over() {
        let mut keys = Vec::new();
        leaves(&schema(), "", &mut keys);
        assert!(keys.len() > 30, "{keys:?}");
        let missed: Vec<_> = keys.iter().filter(|key| class_of(key).is_none()).collect();
        assert!(missed.is_empty(), "{missed:?}");
        let idle: Vec<_> = CLASSES
            .iter()
            .filter(|(class, _)| !keys.iter().any(|key| key == class || key.starts_with(&format!("{class}."))))
            .collect();
        assert!(idle.is_empty(), "{idle:?}");
    }

    #[test]
    fn durations_are_told_in_their_largest_whole_unit() {
        let told = [0, 59, 60, 5_400, 7_200, 172_800].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(told, ["0s", "59s", "1m", "90m", "2h", "2d"]);
    }
}
