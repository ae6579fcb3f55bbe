//! `seald plan`: of a daemon that runs, what a reload would change or refuses, and what it does next; without one, what a
//! start would do, in order, and what would wait. Starts nothing, changes nothing and asks no node.

use super::{
    Global,
    failure::{Exit, Failure, OrHelp as _, Outcome, print, print_json},
    orders::explained,
    reload::is_another,
    state_dir,
};
use crate::{
    clock,
    control::{Cause, Client, ClientError, ManifestOrder},
    daemon,
    manifest::Manifest,
    sector::State,
    status::{Preparing, SectorStatus, Snapshot, orders::Reloaded},
};
use clap::Args;
use serde::Serialize;
use std::path::Path;

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
    /// What a reload would change; absent when no daemon runs, or none that has a manifest.
    reload: Option<Reloaded>,
    /// What a start would do, in order; with `reload`, what the daemon does next.
    actions: Vec<String>,
    /// What would wait, or waits.
    holds: Vec<Waiting>,
    #[serde(skip)]
    target: Target,
}

/// One hold.
#[derive(Debug, Serialize)]
struct Waiting {
    about: String,
    waits_for: String,
}

/// How far it is with the sectors that are wanted.
#[derive(Debug)]
struct Target {
    proven: u64,
    wanted: u64,
    ordered: u64,
}

const FORMAT_VERSION: u32 = 1;

/// Runs `seald plan`. With a daemon: `Exit::Pending` when a reload would change something, or refuses to. Without:
/// `Exit::Well` when there is nothing to do, `Exit::Pending` when there is.
///
/// # Errors
/// The manifest has problems, here or where the daemon looks at it; or what is cannot be read.
pub fn run(global: &Global, args: &PlanArgs) -> Outcome {
    let manifest = global.load()?.manifest;
    let report = match preview(global)? {
        Some((reload, snapshot)) => of_daemon(reload, &snapshot),
        None => of_start(&manifest)?,
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    let Report { reload, target, .. } = &report;
    let pending = match reload {
        Some(reload) => !reload.changes.is_empty() || !reload.refused.is_empty(),
        None => target.proven < target.wanted,
    };
    Ok(if pending { Exit::Pending } else { Exit::Well })
}

/// What the running daemon says that a reload would do, and how it is; `None` when none runs, or when it has no manifest
/// yet that anything could be compared with.
fn preview(global: &Global) -> Outcome<Option<(Reloaded, Snapshot)>> {
    let client = match Client::connect(&state_dir::find_running(global)) {
        Ok(client) => client,
        Err(ClientError::NotRunning { .. } | ClientError::TooLong { .. }) => return Ok(None),
        Err(error) => return Err(explained(global, error)),
    };
    let asked = super::runtime()?.block_on(async {
        let status = client.status().await?;
        // the daemon of another manifest says nothing about this one
        if is_unconfigured(&status) || is_another(&global.config, Path::new(&status.manifest)) {
            return Ok(None);
        }
        let reload = client.manifest(ManifestOrder::Preview).await?;
        // one that was just starting has looked around now
        Ok(Some((reload, client.status().await?)))
    });
    asked.map_err(|error| refused(global, error))
}

/// Whether it waits for a first manifest; one that is just starting names its manifest only together with the generation.
fn is_unconfigured(snapshot: &Snapshot) -> bool {
    snapshot.generation.is_none() && !snapshot.manifest.is_empty()
}

/// What a reload would be told, with the exit code of what is wrong.
fn refused(global: &Global, error: ClientError) -> Failure {
    let manifest = matches!(error, ClientError::Refused { cause: Some(Cause::Conflict), .. });
    let failure = explained(global, error);
    if manifest { failure.exit(Exit::BadManifest) } else { failure }
}

fn of_daemon(reload: Reloaded, snapshot: &Snapshot) -> Report {
    let preparing = snapshot.preparing.iter().map(|Preparing { what, step, .. }| format!("{what}: {step}"));
    let at_work = snapshot.sectors.iter().filter(|sector| sector.waits_for.is_none());
    let at_work = at_work.map(|SectorStatus { number, state, slot, .. }| {
        let slot = slot.as_ref().map(|slot| format!(" on {slot}")).unwrap_or_default();
        format!("sector {number}: {state}{slot}")
    });
    let waiting = |sector: &SectorStatus| {
        let waits_for = sector.waits_for.clone()?;
        Some(Waiting { about: format!("sector {}", sector.number), waits_for })
    };
    let target = &snapshot.target;
    Report {
        format_version: FORMAT_VERSION,
        reload: Some(reload),
        actions: preparing.chain(at_work).collect(),
        holds: snapshot.sectors.iter().filter_map(waiting).collect(),
        target: Target { proven: target.proving, wanted: target.wanted, ordered: target.ordered },
    }
}

fn of_start(manifest: &Manifest) -> Outcome<Report> {
    let help = "see that the database can be read by this user";
    let (desired, observed) = super::runtime()?.block_on(daemon::offline(manifest, clock::now())).or_help(help)?;
    let proven = observed.sectors.values().filter(|seen| seen.record.state == State::Proving).count();
    let plan = crate::plan::plan(&desired, &observed);
    let waiting = plan.holds.iter();
    let waiting = waiting.map(|hold| Waiting { about: hold.about.to_string(), waits_for: hold.reason.clone() });
    Ok(Report {
        format_version: FORMAT_VERSION,
        reload: None,
        actions: plan.actions.iter().map(ToString::to_string).collect(),
        holds: waiting.collect(),
        target: Target {
            proven: u64::try_from(proven).unwrap_or(u64::MAX),
            wanted: desired.sectors,
            ordered: desired.sectors.saturating_sub(manifest.pledge.sectors),
        },
    })
}

fn text(report: &Report) -> String {
    let Report { reload, actions, holds, target: Target { proven, wanted, ordered }, .. } = report;
    let (does, waits) = match reload {
        Some(_) => ("seald does next:", "what waits:"),
        None => ("a start does, in order:", "and then waits:"),
    };
    let mut out = reload.as_ref().map(Reloaded::render_preview).unwrap_or_default();
    let ordered = if *ordered > 0 { format!(" ({ordered} of them ordered by command)") } else { String::new() };
    out.push_str(&format!("target: {proven} of {wanted} sectors proven{ordered}\n"));
    if !actions.is_empty() {
        out.push_str(&format!("{does}\n"));
    }
    actions.iter().for_each(|action| out.push_str(&format!("  + {action}\n")));
    if !holds.is_empty() {
        out.push_str(&format!("{waits}\n"));
    }
    for Waiting { about, waits_for } in holds {
        out.push_str(&format!("  . {about} waits for {waits_for}\n"));
    }
    out
}
