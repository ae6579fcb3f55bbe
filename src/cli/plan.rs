//! `seald plan`: what a start would do, in order, and what would wait. Looks at the manifest, the database and the
//! parameters; starts nothing, changes nothing and asks no node.

use super::{
    Global,
    failure::{Exit, OrHelp as _, Outcome, print, print_json},
};
use crate::{clock, daemon, plan::Plan};
use clap::Args;
use serde::Serialize;

/// Arguments of `seald plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The JSON form.
#[derive(Debug, Serialize)]
struct Report {
    /// Raised when a field changes its meaning or goes away.
    format_version: u32,
    /// What would be done, in order.
    actions: Vec<String>,
    /// What would wait.
    holds: Vec<Waiting>,
}

/// One hold.
#[derive(Debug, Serialize)]
struct Waiting {
    about: String,
    waits_for: String,
}

const FORMAT_VERSION: u32 = 1;

/// Runs `seald plan`: `Exit::Well` when there is nothing to do, `Exit::Pending` when there is.
///
/// # Errors
/// The manifest has problems, or what is cannot be read.
pub fn run(global: &Global, args: &PlanArgs) -> Outcome {
    let manifest = global.load()?.manifest;
    let help = "see that the database can be read by this user";
    let (desired, observed) = super::runtime()?.block_on(daemon::offline(&manifest, clock::now())).or_help(help)?;
    let met = observed.sectors.values().filter(|seen| seen.record.state == crate::sector::State::Proving).count();
    let target = usize::try_from(desired.sectors).unwrap_or(usize::MAX);
    let plan = crate::plan::plan(&desired, &observed);
    let report = Report {
        format_version: FORMAT_VERSION,
        actions: plan.actions.iter().map(ToString::to_string).collect(),
        holds: plan
            .holds
            .iter()
            .map(|hold| Waiting { about: hold.about.to_string(), waits_for: hold.reason.clone() })
            .collect(),
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&text(&plan, met, target, desired.sectors.saturating_sub(manifest.pledge.sectors)))?;
    }
    Ok(if met >= target { Exit::Well } else { Exit::Pending })
}

fn text(plan: &Plan, met: usize, target: usize, ordered: u64) -> String {
    let ordered = if ordered > 0 { format!(" ({ordered} of them ordered by command)") } else { String::new() };
    let mut out = format!("target: {met} of {target} sectors proven{ordered}\n");
    if !plan.actions.is_empty() {
        out.push_str("a start does, in order:\n");
    }
    for action in &plan.actions {
        out.push_str(&format!("  + {action}\n"));
    }
    if !plan.holds.is_empty() {
        out.push_str("and then waits:\n");
    }
    for hold in &plan.holds {
        out.push_str(&format!("  . {} waits for {}\n", hold.about, hold.reason));
    }
    out
}
