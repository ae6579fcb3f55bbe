//! `seald check`: the manifest against its schema, then against this host; every problem at once.
//!
//! Changes nothing and starts nothing: it is safe beside a running daemon.

#[cfg(test)]
mod tests;

use super::{
    Global,
    failure::{Exit, Outcome, print, print_json},
};
use crate::{
    daemon,
    host::{judge, seen::Host},
    manifest::{self, Loaded, Manifest, Origin, Overrides, Problem, Setting},
    proofs::params,
    supervisor::Places,
    worker::Life,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The version of the JSON that `--json` prints; raised whenever a field changes its meaning.
const FORMAT_VERSION: u32 = 1;

/// Arguments of `seald check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The manifest, instead of --config
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print the problems as JSON
    #[arg(long)]
    pub json: bool,
    /// Show the value of every key in force and where it came from
    #[arg(long)]
    pub explain: bool,
    /// Look at the text alone, not at this host
    #[arg(long)]
    pub schema_only: bool,
    /// Print the JSON Schema of the manifest and check nothing
    #[arg(long, conflicts_with_all = ["file", "json", "explain", "schema_only"])]
    pub schema: bool,
}

/// What was found.
struct Report {
    file: PathBuf,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    /// Every setting in force, when they are to be shown.
    settings: Option<BTreeMap<String, Setting>>,
    /// Whether workers would outlive the daemon here; absent when that was not looked at.
    life: Option<Life>,
}

/// Runs `seald check`: [`Exit::Well`] when nothing is wrong, [`Exit::BadManifest`] when something is.
///
/// # Errors
/// The working directory cannot be read, or stdout cannot be written.
pub fn run(global: &Global, args: &CheckArgs) -> Outcome {
    if args.schema {
        print_json(&manifest::schema())?;
        return Ok(Exit::Well);
    }
    let report = examine(args.file.as_ref().unwrap_or(&global.config), args, &global.overrides()?);
    if args.json {
        print_json(&as_json(&report))?;
    } else {
        print(&as_text(&report))?;
    }
    Ok(if report.problems.is_empty() { Exit::Well } else { Exit::BadManifest })
}

fn examine(file: &Path, args: &CheckArgs, overrides: &Overrides) -> Report {
    let file = file.to_owned();
    let Loaded { manifest, mut warnings, provenance } = match manifest::load(&file, overrides) {
        Ok(loaded) => loaded,
        Err(problems) => return Report { file, problems, warnings: Vec::new(), settings: None, life: None },
    };
    let mut problems = Vec::new();
    let mut life = None;
    if !args.schema_only {
        let findings = judge::judge(&manifest, &provenance, &Host::look(&manifest));
        life = Some(daemon::life(manifest.workers.launcher, &Places::of(&manifest.state.dir)));
        problems.extend(findings.problems);
        warnings.extend(findings.warnings);
        warnings.extend(parameters(&manifest).map(|what| judge::about(&provenance, "params.dir", what)));
    }
    Report { file, problems, warnings, settings: args.explain.then_some(provenance), life }
}

/// What is missing of the proof parameters, and what will be done about it: never a problem, because it is done
/// before anything is sealed.
fn parameters(manifest: &Manifest) -> Option<String> {
    let size = manifest.miner.sector_size;
    let lacking = match params::lacking(size, &manifest.params.dir) {
        Ok(lacking) => lacking,
        Err(error) => return Some(format!("cannot be looked at for parameters: {error}")),
    };
    let remedy = if manifest.params.mirror.is_some() {
        "seald fetches them when it first starts"
    } else if params::can_generate(size) {
        "seald generates them when it first starts"
    } else {
        "fetch them with `seald params fetch --mirror URL`, or name a params.mirror"
    };
    let mut purposes: Vec<_> = lacking.iter().map(|file| file.purpose).collect();
    purposes.dedup();
    let purposes: Vec<_> = purposes.into_iter().map(params::Purpose::as_str).collect();
    (!lacking.is_empty()).then(|| {
        let (files, purposes) = (counted(lacking.len(), "parameter file"), purposes.join(", "));
        format!("lacks {files} of {size} sectors ({purposes}); {remedy}")
    })
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

fn as_text(report: &Report) -> String {
    let Report { file, problems, warnings, settings, life } = report;
    let settings = settings.iter().flatten();
    let mut lines: Vec<_> =
        settings.map(|(key, Setting { value, origin })| format!("{key} = {value}  # {origin}")).collect();
    lines.extend(life.map(|life| {
        let what = match life {
            Life::Outlives => "running stages outlive the daemon",
            Life::WithDaemon => "running stages end with the daemon",
        };
        format!("workers {}: {what}", daemon::word(life))
    }));
    lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(problems.iter().map(Problem::to_string));
    let problems = if problems.is_empty() { "no problems".to_owned() } else { counted(problems.len(), "problem") };
    let warned = if warnings.is_empty() { String::new() } else { format!(", {}", counted(warnings.len(), "warning")) };
    lines.push(format!("{}: {problems}{warned}\n", file.display()));
    lines.join("\n")
}

fn as_json(report: &Report) -> Value {
    let Report { file, problems, warnings, settings, life } = report;
    let settings = settings.as_ref().map(|settings| {
        let setting = |(key, Setting { value, origin }): (&String, &Setting)| {
            (key.clone(), json!({ "value": value, "origin": origin_json(origin) }))
        };
        settings.iter().map(setting).collect::<serde_json::Map<_, _>>()
    });
    json!({
        "format_version": FORMAT_VERSION,
        "file": file,
        "ok": problems.is_empty(),
        "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
        "warnings": warnings.iter().map(problem_json).collect::<Vec<_>>(),
        "settings": settings,
        "launcher": life.map(daemon::word),
    })
}

fn problem_json(problem: &Problem) -> Value {
    let Problem { at, key, value, what, accepted, suggestion } = problem;
    json!({
        "at": at.as_ref().map(origin_json), "key": key, "value": value, "what": what, "accepted": accepted,
        "suggestion": suggestion, "text": problem.to_string(),
    })
}

fn origin_json(origin: &Origin) -> Value {
    match origin {
        Origin::File(place) => json!({ "file": place.file, "line": place.line, "column": place.column }),
        Origin::Environment(variable) => json!({ "variable": variable }),
        Origin::Set(key) => json!({ "set": key }),
        Origin::Default => json!("default"),
    }
}
