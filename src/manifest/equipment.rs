//! Repos and slots: the named tables of the manifest.

use super::{
    model::{Repo, Slot, Task},
    problems::Key,
    raw,
    reader::Reader,
    resolve::optional,
    values,
};
use crate::units::{Bytes, RepoName, SlotName};
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

/// The repos that are right, and the roles that any repo claims, right or not.
pub fn repos(
    reader: &mut Reader<'_>,
    raw: BTreeMap<String, raw::RawRepo>,
) -> (BTreeMap<RepoName, Repo>, BTreeSet<String>) {
    let mut repos = BTreeMap::new();
    let mut roles = BTreeSet::new();
    for (text, raw) in raw {
        let at = Key::of("repo").name(&text);
        let name = name(reader, &at, &text);
        let repo = repo(reader, &at, raw, &mut roles);
        repos.extend(name.zip(repo));
    }
    (repos, roles)
}

fn name<T: FromStr>(reader: &mut Reader<'_>, at: &Key, text: &str) -> Option<T> {
    let name = text.parse().ok();
    if name.is_none() {
        let problem = reader.about_table(at, "cannot be a name").accepted("1 to 32 characters a-z, 0-9, - or _");
        reader.refuse(at, problem);
    }
    name
}

fn repo(reader: &mut Reader<'_>, at: &Key, raw: raw::RawRepo, claimed: &mut BTreeSet<String>) -> Option<Repo> {
    let raw::RawRepo { path, roles, max_use, reserve, weight, require_mount } = raw;
    let key = at.name("path");
    let path = reader.required(&key, path, "the path of a folder");
    let path = path.and_then(|text| reader.path(&key, &text));
    let key = at.name("roles");
    let roles = reader.required(&key, roles, "a list of seal and store; [] is read only");
    claimed.extend(roles.iter().flatten().cloned());
    let roles: Option<Vec<&str>> = roles.and_then(|roles| {
        let words = raw::ROLES.map(|role| (role, role));
        let known = roles.iter().enumerate().map(|(i, role)| reader.word(&key.item(i), role, "a role", &words));
        known.collect::<Vec<_>>().into_iter().collect()
    });
    let max_use = optional(reader, &at.name("max_use"), max_use, Bytes::from_str);
    let reserve = optional(reader, &at.name("reserve"), reserve, Bytes::from_str);
    let roles = roles?;
    Some(Repo {
        path: path?,
        seal: roles.contains(&"seal"),
        store: roles.contains(&"store"),
        max_use: max_use?,
        reserve: reserve??,
        weight: weight?,
        require_mount: require_mount?,
    })
}

/// The slots that are right, and the tasks that any slot claims, right or not.
pub fn slots(
    reader: &mut Reader<'_>,
    raw: BTreeMap<String, raw::RawSlot>,
) -> (BTreeMap<SlotName, Slot>, BTreeSet<Task>) {
    let mut slots = BTreeMap::new();
    let mut tasks = BTreeSet::new();
    for (text, raw) in raw {
        let at = Key::of("slot").name(&text);
        let name = name(reader, &at, &text);
        let slot = slot(reader, &at, raw, &mut tasks);
        slots.extend(name.zip(slot));
    }
    // every sector must be finalized: where nobody is named for it, those who wrote the trees trim them
    if !tasks.contains(&Task::Finalize) {
        for slot in slots.values_mut().filter(|slot| slot.tasks.contains(&Task::PreCommit2)) {
            slot.tasks.insert(Task::Finalize);
        }
    }
    (slots, tasks)
}

fn slot(reader: &mut Reader<'_>, at: &Key, raw: raw::RawSlot, claimed: &mut BTreeSet<Task>) -> Option<Slot> {
    // far more than any machine runs; keeps a slip from starting processes without end
    const MOST_WORKERS: u32 = 1024;
    let raw::RawSlot { tasks, count, gpu, cpus, memory } = raw;
    let tasks = slot_tasks(reader, &at.name("tasks"), tasks);
    claimed.extend(tasks.iter().flatten());
    let key = at.name("count");
    let count = count.and_then(|count| reader.within(&key, count, 1, MOST_WORKERS));
    let gpu = optional(reader, &at.name("gpu"), gpu, values::Gpu::from_str);
    let cpus = optional(reader, &at.name("cpus"), cpus, values::CpuSet::from_str);
    let memory = optional(reader, &at.name("memory"), memory, Bytes::from_str);
    Some(Slot { tasks: tasks?, count: count?, gpu: gpu?, cpus: cpus?, memory: memory? })
}

fn slot_tasks(reader: &mut Reader<'_>, key: &Key, tasks: Option<Vec<String>>) -> Option<BTreeSet<Task>> {
    let words = Task::ALL.map(|task| (task.word(), task));
    let accepted = format!("a list of {}", Task::ALL.map(Task::word).join(" "));
    let tasks = reader.required(key, tasks, &accepted)?;
    if tasks.is_empty() {
        let problem = reader.about(key, "leaves the slot without work").accepted(accepted);
        reader.refuse(key, problem);
        return None;
    }
    let known = tasks.iter().enumerate().map(|(i, task)| reader.word(&key.item(i), task, "a task", &words));
    let known: Vec<Option<Task>> = known.collect();
    for (index, task) in known.iter().enumerate() {
        if task.is_some_and(|task| !task.runs()) {
            let warning = reader.about(&key.item(index), "is accepted but not run by this version");
            reader.warnings.push(warning);
        }
    }
    known.into_iter().collect()
}
