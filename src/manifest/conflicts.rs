//! What one thing only may own, and what must be there at all: the checks that look across sections.
//!
//! They look at the text alone; whether the host has what is named is `check`'s question.

use super::{
    model::{ChainSource, Task},
    problems::{Key, Step},
    reader::Reader,
    resolve::Sections,
    values::{Gpu, host_port, node_host},
};
use std::{collections::BTreeMap, net::IpAddr, path::Path};

/// Notes every conflict.
pub fn check(reader: &mut Reader<'_>, sections: &Sections) {
    gpus(reader, sections);
    paths(reader, sections);
    ports(reader, sections);
    coverage(reader, sections);
}

fn belongs_to(reader: &Reader<'_>, owner: &Key) -> String {
    let place = reader.origin(owner).map(|at| format!(" ({at})")).unwrap_or_default();
    format!("already belongs to {owner}{place}")
}

/// One GPU, one process: two proofs on one card starve each other of its memory.
fn gpus(reader: &mut Reader<'_>, sections: &Sections) {
    let mut owners: BTreeMap<String, Key> = BTreeMap::new();
    for (name, slot) in &sections.slots {
        let Some(Gpu::Uuid(uuid)) = &slot.gpu else { continue };
        let key = Key::of("slot").name(name.as_str()).name("gpu");
        if let Some(owner) = owners.get(&uuid.to_lowercase()) {
            let problem = reader.about(&key, belongs_to(reader, owner)).accepted("one slot for each GPU");
            reader.refuse(&key, problem);
            continue;
        }
        if slot.count > 1 {
            let what = format!("is one GPU for {} processes", slot.count);
            let problem = reader.about(&key, what).accepted("count = 1, or gpu = \"auto\" for a GPU each");
            reader.refuse(&key, problem);
        }
        owners.insert(uuid.to_lowercase(), key);
    }
}

/// No repo is, holds or lies in another folder of seald; only the state's folder may hold repos.
fn paths(reader: &mut Reader<'_>, sections: &Sections) {
    let state = sections.state.iter().map(|state| (Key::of("state.dir"), state.dir.as_path()));
    let params = sections.params.iter().map(|params| (Key::of("params.dir"), params.dir.as_path()));
    let repos = sections.repos.iter();
    let repos = repos.map(|(name, repo)| (Key::of("repo").name(name.as_str()).name("path"), repo.path.as_path()));
    let mut owners: Vec<(Key, &Path)> = state.chain(params).collect();
    for (key, path) in repos {
        for (owner, taken) in &owners {
            let in_state = *owner == Key::of("state.dir");
            let what = if path == *taken {
                "already belongs to"
            } else if path.starts_with(taken) && !in_state {
                "lies within the folder of"
            } else if taken.starts_with(path) {
                "holds the folder of"
            } else {
                continue;
            };
            let place = reader.origin(owner).map(|at| format!(" ({at})")).unwrap_or_default();
            let problem = reader.about(&key, format!("{what} {owner}{place}")).accepted("a folder of its own");
            reader.refuse(&key, problem);
            break;
        }
        owners.push((key, path));
    }
}

/// The port this machine listens on is nobody else's on this machine.
fn ports(reader: &mut Reader<'_>, sections: &Sections) {
    let Some(Some(node)) = sections.node else { return };
    let here = |host: &str| match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip.is_unspecified() || ip == node.address.ip(),
        Err(_) => host == "localhost",
    };
    let mut listeners: Vec<(Key, (String, u16))> = Vec::new();
    if let Some(ChainSource::Endpoints(endpoints)) = sections.chain.as_ref().map(|chain| &chain.source) {
        let key = Key::of("chain.endpoints");
        let named = endpoints.iter().enumerate();
        listeners.extend(named.filter_map(|(i, at)| Some((key.item(i).name("url"), node_host(&at.url)?))));
    }
    // PostgreSQL listens on 5432 unless told otherwise
    let database = sections.state.as_ref().and_then(|state| state.url.as_str().split_once("://"));
    listeners.extend(database.and_then(|(_, rest)| Some((Key::of("state.url"), host_port(rest, 5432)?))));
    let key = Key::of("node.address");
    for (owner, (host, port)) in listeners {
        if port == node.address.port() && here(&host) {
            let what = format!("asks for port {port}, which {}", belongs_to(reader, &owner));
            let problem = reader.about(&key, what).accepted("a port of its own");
            reader.refuse(&key, problem);
        }
    }
}

/// Every stage has a worker, and every sector a place to be sealed and a place to stay.
fn coverage(reader: &mut Reader<'_>, sections: &Sections) {
    if sections.pledge.as_ref().is_some_and(|pledge| pledge.sectors == 0) {
        return;
    }
    let roles = ["seal", "store"].map(|role| (role, sections.roles.contains(role)));
    let tasks = [Task::PreCommit1, Task::PreCommit2, Task::Commit];
    let tasks = tasks.map(|task| (task.word(), sections.tasks.contains(&task)));
    let missing =
        roles.iter().map(|role| ("repo", "roles", role)).chain(tasks.iter().map(|task| ("slot", "tasks", task)));
    for (table, list, (word, found)) in missing {
        let at = Key::of(table);
        // a table or list that could not be read may well have held the word
        let unread = |key: &Key| {
            key.is_within(&at) && (key.steps().len() <= 2 || key.steps().get(2) == Some(&Step::Name(list.to_owned())))
        };
        if !*found && !reader.has_dealt_with(unread) {
            let problem = reader.about_table(&at, format!("nothing has {word:?} among its {list}"));
            reader.problems.push(problem.accepted(format!("a [{table}.NAME] with {list} = [{word:?}]")));
        }
    }
}
