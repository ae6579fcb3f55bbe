//! The manifest: TOML text in, one valid [`Manifest`] or every problem out.
//!
//! Layers, the lowest first: defaults, `FIL_PROOFS_PARAMETER_CACHE` (for `params.dir` alone), the file, its drop-ins
//! in name order, `SEALD_…` variables, `--set` arguments. figment merges them; `merged` leads from a value back to
//! its layer; `resolve` and `conflicts` judge. [`parse`] is pure: only [`load`] reads files. Nothing here looks at
//! the host: that is `seald check`.

mod change;
mod conflicts;
mod defaults;
mod equipment;
mod identity;
mod merged;
mod model;
mod problems;
mod raw;
mod reader;
mod resolve;
mod schema;
mod source;
#[cfg(test)]
mod tests;
mod values;

pub use change::{Change, Class, changes};
pub use model::{
    Account, Api, Batch, BatchRule, Chain, ChainSource, Control, Endpoint, Fees, Identity, Launcher, Manifest, Miner,
    Node, Params, Pledge, Repo, Senders, Slot, State, Task, Workers,
};
pub use problems::{Key, Origin, Place, Problem, Setting};
pub use schema::schema;
pub use source::{File, Overrides, read, set_nothing};
pub use values::{CpuSet, DatabaseUrl, Gpu};

use std::{collections::BTreeMap, path::Path};

/// A manifest that is right, and what is worth knowing about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The manifest.
    pub manifest: Manifest,
    /// What the operator should know.
    pub warnings: Vec<Problem>,
    /// Every setting in force by its key, with its layer.
    pub provenance: BTreeMap<String, Setting>,
}

/// Reads the file and its drop-ins, and parses them under these overrides.
///
/// # Errors
/// Every problem, in reading order.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, Vec<Problem>> {
    parse(&source::read(path)?, overrides)
}

/// Parses files, the lowest layer first, under these overrides. Pure.
///
/// # Errors
/// Every problem, in reading order.
pub fn parse(files: &[File], overrides: &Overrides) -> Result<Loaded, Vec<Problem>> {
    let mut layers: Vec<source::Layer> = source::Layer::of_parameter_cache(&overrides.variables).into_iter().collect();
    let mut problems = Vec::new();
    for file in files {
        let (layer, errors) = source::Layer::of_file(file);
        layers.push(layer);
        problems.extend(errors);
    }
    let readable = problems.is_empty();
    layers.extend(source::Layer::of_variables(&overrides.variables));
    for argument in &overrides.set {
        match source::Layer::of_set(argument) {
            Some(layer) => layers.push(layer),
            None => {
                let problem = Problem::new(Some(Origin::Set(argument.clone())), &Key::default(), "sets nothing");
                problems.push(problem.accepted("key=value, such as pledge.sectors=5"));
            }
        }
    }
    if !readable {
        // what a parser makes of broken text is not what was meant: nothing more can be said about it
        problems::sort(&mut problems);
        return Err(problems);
    }
    let merged = merged::Merged::new(layers);
    let shape = merged.shape();
    problems.extend(shape.problems);
    let mut reader = reader::Reader::new(&merged, &overrides.cwd, problems, shape.dealt_with);
    let sections = resolve::Sections::new(&mut reader, shape.raw);
    conflicts::check(&mut reader, &sections);
    let reader::Reader { mut problems, mut warnings, derived, .. } = reader;
    problems::sort(&mut problems);
    problems::sort(&mut warnings);
    let files = files.iter().map(|file| overrides.cwd.join(&file.path)).collect();
    match sections.into_manifest(files) {
        Some(manifest) if problems.is_empty() => {
            let mut provenance = merged.settings();
            provenance.extend(derived);
            Ok(Loaded { manifest, warnings, provenance })
        }
        Some(_) | None => Err(problems),
    }
}
