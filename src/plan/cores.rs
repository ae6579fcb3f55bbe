//! Which processors each worker runs on: layers get cores of their own, everything else shares what is left.
//!
//! Hashing layers is one thread that lives in its cache: a neighbour on the same core, or one that takes the cache away,
//! costs it hours. Trees and proofs use as many cores as there are, one after the other, and lose little by sharing.
//! On a small machine nothing is placed: there the kernel does better than any fixed share.

use super::Assignee;
use std::collections::{BTreeMap, BTreeSet};

/// Fewest cores on which workers are placed at all.
const PLACED_FROM: usize = 8;

/// One processor as the kernel numbers them: a hardware thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu {
    /// Its number.
    pub id: u32,
    /// The lowest number among the threads of its core.
    pub core: u32,
    /// The lowest number among those that share its last cache.
    pub cache: u32,
    /// Its memory node.
    pub node: u32,
}

/// What a worker needs processors for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Layers, and nothing that wants many cores.
    Layers,
    /// Trees, proofs, moving files; or layers among them.
    Anything,
}

/// A worker to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Who.
    pub who: Assignee,
    /// What for.
    pub load: Load,
    /// The processors that the manifest gives it.
    pub cpus: Option<BTreeSet<u32>>,
    /// The memory node its GPU is at.
    pub near: Option<u32>,
}

/// Where a worker runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The only processors it may use; `None` all.
    pub cpus: Option<BTreeSet<u32>>,
    /// Why these, for a human.
    pub why: String,
}

/// A core with its threads.
type Core = (u32, BTreeSet<u32>);

/// Places every worker. `before` is where they are now: a worker that hashes layers stays there while its share keeps
/// its size, since moving it means waiting for the end of its stage.
pub fn place(machine: &[Cpu], wants: &[Want], before: &BTreeMap<Assignee, Placement>) -> BTreeMap<Assignee, Placement> {
    let (told, open): (Vec<&Want>, Vec<&Want>) = wants.iter().partition(|want| want.cpus.is_some());
    let taken: BTreeSet<u32> = told.iter().filter_map(|want| want.cpus.as_ref()).flatten().copied().collect();
    let mut placed: BTreeMap<_, _> = told.into_iter().map(|want| (want.who.clone(), as_declared(want))).collect();
    let caches = free_cores(machine, &taken);
    let cores: usize = caches.values().map(Vec::len).sum();
    let (layers, rest): (Vec<&Want>, Vec<&Want>) = open.iter().partition(|want| want.load == Load::Layers);
    let enough = layers.len().saturating_add(usize::from(!rest.is_empty()));
    if cores < PLACED_FROM || cores < enough {
        let why = if cores < PLACED_FROM {
            format!("any processor: {cores} cores are too few to be divided")
        } else {
            format!("any processor: {cores} cores are fewer than the {enough} that its neighbours and it want")
        };
        placed.extend(open.into_iter().map(|want| (want.who.clone(), Placement { cpus: None, why: why.clone() })));
        return placed;
    }
    let given = give_layers(&layers, caches, before);
    let of_layers: BTreeSet<u32> = given.values().filter_map(|place| place.cpus.as_ref()).flatten().copied().collect();
    placed.extend(given);
    // a core of which the manifest took one thread stays with the rest
    let left: Vec<&Cpu> =
        machine.iter().filter(|cpu| !taken.contains(&cpu.id) && !of_layers.contains(&cpu.id)).collect();
    placed.extend(rest.into_iter().map(|want| (want.who.clone(), share(&left, machine.len(), want.near))));
    placed
}

fn as_declared(want: &Want) -> Placement {
    let list = want.cpus.as_ref().map(numbers).unwrap_or_default();
    Placement { cpus: want.cpus.clone(), why: format!("processors {list}, as the manifest says") }
}

/// Cores of which no thread is taken, by the cache they share.
fn free_cores(machine: &[Cpu], taken: &BTreeSet<u32>) -> BTreeMap<u32, Vec<Core>> {
    let mut cores: BTreeMap<(u32, u32), BTreeSet<u32>> = BTreeMap::new();
    for cpu in machine {
        cores.entry((cpu.cache, cpu.core)).or_default().insert(cpu.id);
    }
    let mut caches: BTreeMap<u32, Vec<Core>> = BTreeMap::new();
    for ((cache, core), threads) in cores {
        if threads.is_disjoint(taken) {
            caches.entry(cache).or_default().push((core, threads));
        }
    }
    caches
}

/// Gives each worker of layers whole cores below one cache, as far from the others as there are caches.
fn give_layers(
    workers: &[&Want],
    mut caches: BTreeMap<u32, Vec<Core>>,
    before: &BTreeMap<Assignee, Placement>,
) -> BTreeMap<Assignee, Placement> {
    let share = layer_share(&caches, workers.len());
    let mut settled: Vec<(&Assignee, u32, Vec<Core>)> = Vec::new();
    let mut homeless = Vec::new();
    for want in workers {
        let known = before.get(&want.who).and_then(|place| place.cpus.as_ref());
        match known.and_then(|known| keep(&mut caches, known, share)) {
            Some((cache, cores)) => settled.push((&want.who, cache, cores)),
            None => homeless.push(&want.who),
        }
    }
    for who in homeless {
        let neighbours = |cache: u32| settled.iter().filter(|(_, at, _)| *at == cache).count();
        let fits = caches.iter_mut().filter(|(_, free)| free.len() >= share);
        if let Some((cache, free)) = fits.min_by_key(|(cache, _)| (neighbours(**cache), **cache)) {
            settled.push((who, *cache, free.drain(..share).collect()));
        }
    }
    settled.into_iter().map(|(who, cache, cores)| (who.clone(), of_layers(cache, &cores))).collect()
}

/// Whole cores of a worker of layers: together they get half of the machine, as one thread hashes and more of them only
/// shorten what comes before and after; never more than share a cache, and at least one.
fn layer_share(caches: &BTreeMap<u32, Vec<Core>>, workers: usize) -> usize {
    let cores: usize = caches.values().map(Vec::len).sum();
    let most = cores.checked_div(workers.saturating_mul(2)).unwrap_or(0).max(1);
    let room = |share: &usize| caches.values().filter_map(|free| free.len().checked_div(*share)).sum::<usize>();
    (1..=most).rev().find(|share| room(share) >= workers).unwrap_or(1)
}

/// Takes the cores of `known` out, when they are whole, free, below one cache and as many as `share`.
fn keep(caches: &mut BTreeMap<u32, Vec<Core>>, known: &BTreeSet<u32>, share: usize) -> Option<(u32, Vec<Core>)> {
    let inside = |(_, threads): &Core| threads.is_subset(known);
    let (cache, free) = caches.iter_mut().find(|(_, free)| {
        let mine: Vec<&Core> = free.iter().filter(|core| inside(core)).collect();
        mine.len() == share && mine.iter().map(|(_, threads)| threads.len()).sum::<usize>() == known.len()
    })?;
    let (mine, others) = std::mem::take(free).into_iter().partition(inside);
    *free = others;
    Some((*cache, mine))
}

fn of_layers(cache: u32, cores: &[Core]) -> Placement {
    let cpus: BTreeSet<u32> = cores.iter().flat_map(|(_, threads)| threads).copied().collect();
    let (list, count) = (numbers(&cpus), cores.len());
    let what = if count == 1 { "a core".to_owned() } else { format!("{count} cores") };
    Placement {
        cpus: Some(cpus),
        why: format!("processors {list}: {what} for its layers alone, below the cache of {cache}"),
    }
}

/// What a worker that shares may use: all that is left, or what of it is at its GPU when that is not little.
fn share(left: &[&Cpu], all: usize, near: Option<u32>) -> Placement {
    if left.len() == all {
        return Placement { cpus: None, why: "any processor: nobody needs one alone".to_owned() };
    }
    let nodes: BTreeSet<u32> = left.iter().map(|cpu| cpu.node).collect();
    let at = |node: u32| left.iter().filter(|cpu| cpu.node == node).map(|cpu| cpu.id).collect::<BTreeSet<_>>();
    let local = near.map(|node| (node, at(node)));
    // with less than half of an even part, being near is not worth it
    let worth = |cpus: &BTreeSet<u32>| cpus.len().saturating_mul(nodes.len()).saturating_mul(2) >= left.len();
    if let Some((node, cpus)) = local.filter(|(_, cpus)| nodes.len() > 1 && worth(cpus)) {
        let why = format!("processors {}: what layers leave of node {node}, where its GPU is", numbers(&cpus));
        return Placement { cpus: Some(cpus), why };
    }
    let cpus: BTreeSet<u32> = left.iter().map(|cpu| cpu.id).collect();
    let why = format!("processors {}: what layers leave, shared", numbers(&cpus));
    Placement { cpus: Some(cpus), why }
}

/// As the kernel writes them, runs joined: `0-3,8`.
fn numbers(cpus: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for cpu in cpus {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*cpu) => *last = *cpu,
            Some(_) | None => runs.push((*cpu, *cpu)),
        }
    }
    let text = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
