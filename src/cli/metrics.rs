//! `seald metrics`: the status as Prometheus text, for a look or for node_exporter's textfile collector.

use super::{
    Global,
    failure::{Exit, OrHelp as _, Outcome, print},
    state_dir, status,
};
use crate::{repo::write_atomic, status::metrics};
use clap::Args;
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

/// Arguments of `seald metrics`.
#[derive(Debug, Args)]
pub struct MetricsArgs {
    /// Write them to this file, replaced in one step, such as for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs `seald metrics`.
///
/// # Errors
/// There is no status yet, or the file cannot be written.
pub fn run(global: &Global, args: &MetricsArgs) -> Outcome {
    let report = status::current(global, &state_dir::find_running(global))?;
    let text = metrics::render(&report.snapshot);
    match &args.output {
        None => print(&text)?,
        Some(path) => {
            let help = "give a file in a folder that this user may write to";
            write_atomic(path, text.as_bytes()).or_help(help)?;
            // whoever collects it is another user
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).or_help(help)?;
        }
    }
    Ok(Exit::Well)
}
