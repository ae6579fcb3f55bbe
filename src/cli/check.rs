//! `seald check`: the manifest against its schema, then against this host; every problem at once.
//!
//! Changes nothing and starts nothing: it is safe beside a running daemon.

mod host;
mod judge;
#[cfg(test)]
mod tests;

use crate::manifest::{self, Loaded, Manifest, Origin, Overrides, Problem, Setting};
use anyhow::Context as _;
use host::Host;
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Write, path::PathBuf, process::ExitCode};

/// The version of the JSON that `--json` prints; raised whenever a field changes its meaning.
const FORMAT_VERSION: u32 = 1;

/// The manifest has problems.
const HAS_PROBLEMS: u8 = 3;

/// Arguments of `seald check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The manifest; drop-ins are the files of the folder with the same name and the ending .d
    #[arg(value_name = "FILE", env = "SEALD_CONFIG", default_value = "/etc/seald.toml")]
    pub file: PathBuf,
    /// Lay a value over the manifest, such as pledge.sectors=5
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Print every setting with its value and where it comes from
    #[arg(long)]
    pub explain: bool,
    /// Look at the text alone, not at this host
    #[arg(long)]
    pub schema_only: bool,
    /// Print the JSON Schema of the manifest, for editors, and do nothing else
    #[arg(long, conflicts_with_all = ["json", "explain", "schema_only"])]
    pub schema: bool,
}

/// What was found.
struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    settings: BTreeMap<String, Setting>,
}

/// Checks and prints; 0 when nothing is wrong, 3 when something is. `parameters` names what is missing of the proof
/// parameters, one sentence each.
///
/// # Errors
/// The working directory cannot be read, or standard output cannot be written.
pub fn run(args: &Args, parameters: &dyn Fn(&Manifest) -> Vec<String>) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if args.schema {
        writeln!(out, "{:#}", manifest::schema())?;
        return Ok(ExitCode::SUCCESS);
    }
    let overrides = Overrides::of_process(args.set.clone()).context("cannot read the working directory")?;
    let report = examine(args, &overrides, parameters);
    if args.json {
        writeln!(out, "{:#}", as_json(args, &report))?;
    } else {
        write!(out, "{}", as_text(args, &report))?;
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(HAS_PROBLEMS) })
}

fn examine(args: &Args, overrides: &Overrides, parameters: &dyn Fn(&Manifest) -> Vec<String>) -> Report {
    let Loaded { manifest, mut warnings, provenance } = match manifest::load(&args.file, overrides) {
        Ok(loaded) => loaded,
        Err(problems) => return Report { problems, warnings: Vec::new(), settings: BTreeMap::new() },
    };
    let mut problems = Vec::new();
    if !args.schema_only {
        let findings = judge::judge(&manifest, &provenance, &Host::look(&manifest));
        problems.extend(findings.problems);
        warnings.extend(findings.warnings);
        warnings.extend(parameters(&manifest).into_iter().map(|what| judge::about(&provenance, "params.dir", what)));
    }
    Report { problems, warnings, settings: provenance }
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

fn as_text(args: &Args, report: &Report) -> String {
    let Report { problems, warnings, settings } = report;
    let mut lines = Vec::new();
    if args.explain {
        lines.extend(settings.iter().map(|(key, Setting { value, origin })| format!("{key} = {value}  # {origin}")));
    }
    lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(problems.iter().map(Problem::to_string));
    let problems = if problems.is_empty() { "no problems".to_owned() } else { counted(problems.len(), "problem") };
    let warned = if warnings.is_empty() { String::new() } else { format!(", {}", counted(warnings.len(), "warning")) };
    lines.push(format!("{}: {problems}{warned}\n", args.file.display()));
    lines.join("\n")
}

fn as_json(args: &Args, report: &Report) -> Value {
    let Report { problems, warnings, settings } = report;
    let settings = args.explain.then(|| {
        let setting = |(key, Setting { value, origin }): (&String, &Setting)| {
            (key.clone(), json!({ "value": value, "origin": origin_json(origin) }))
        };
        settings.iter().map(setting).collect::<serde_json::Map<_, _>>()
    });
    json!({
        "format_version": FORMAT_VERSION,
        "file": args.file,
        "ok": problems.is_empty(),
        "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
        "warnings": warnings.iter().map(problem_json).collect::<Vec<_>>(),
        "settings": settings,
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
