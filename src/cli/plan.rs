//! `seald plan`: what a reload would change of a daemon that runs, and what a start would do, in order, and what would
//! wait. Looks at the manifest, the database and the parameters; starts nothing, changes nothing and asks no node.

use super::{
    Global,
    failure::{Exit, OrHelp as _, Outcome, print, print_json},
    state_dir,
};
use crate::{
    clock,
    control::{Client, ManifestOrder},
    daemon,
    plan::Plan,
    status::orders::Reloaded,
};
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
    /// What a reload would change; absent when no daemon runs, or when it does not answer this user.
    reload: Option<Reloaded>,
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
    let reload = preview(global)?;
    let pending = reload.as_ref().is_some_and(|reload| !reload.changes.is_empty());
    let report = Report {
        format_version: FORMAT_VERSION,
        reload,
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
        let reload = report.reload.as_ref().map(Reloaded::render).unwrap_or_default();
        print(&reload)?;
        print(&text(&plan, met, target, desired.sectors.saturating_sub(manifest.pledge.sectors)))?;
    }
    Ok(if met >= target && !pending { Exit::Well } else { Exit::Pending })
}

/// What the running daemon says that a reload would change.
fn preview(global: &Global) -> Outcome<Option<Reloaded>> {
    let Ok(client) = Client::connect(&state_dir::find_running(global)) else { return Ok(None) };
    // one that has no manifest yet has nothing to compare with
    Ok(super::runtime()?.block_on(client.manifest(ManifestOrder::Preview)).ok())
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
