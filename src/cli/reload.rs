//! `seald reload` and `seald rollback`: the manifest as it is now, or the one before it, brought into force by the running
//! daemon. Ends when that is done, so that `systemctl reload` does.

use super::{
    Global,
    failure::{Exit, Failure, Outcome, print, print_json},
    orders::ask,
    state_dir,
};
use crate::control::{Client, ManifestOrder};
use clap::Args;
use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

/// Arguments of `seald reload` and of `seald rollback`.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `seald reload`, or `seald rollback`: [`Exit::Well`] once it is in force.
///
/// # Errors
/// The daemon does not run, or refuses, with every reason: then nothing changed.
pub fn run(global: &Global, args: &ReloadArgs, order: ManifestOrder) -> Outcome {
    for set in global.set.iter().filter(|set| !state_dir::is_named_by(set)) {
        let text = format!("warning: --set {set} does not reach the daemon, which keeps to what it was started with\n");
        // whoever does not read it is not stopped by it
        io::stderr().write_all(text.as_bytes()).unwrap_or_default();
    }
    let theirs = ask(global, async |client: Client| client.status().await)?.manifest;
    if is_another(&global.config, Path::new(&theirs)) {
        let what = format!("the daemon that runs here reads {theirs}, not {}", global.config.display());
        return Err(Failure::new(
            what,
            format!("give --config {theirs}, or name the other daemon by --set state.dir="),
        ));
    }
    let told = ask(global, async |client: Client| client.manifest(order).await)?;
    if args.json {
        print_json(&told)?
    } else {
        print(&told.render())?
    }
    Ok(Exit::Well)
}

/// Whether these are surely two files; one that cannot be looked at is not.
pub(super) fn is_another(ours: &Path, theirs: &Path) -> bool {
    fs::canonicalize(ours).ok().zip(fs::canonicalize(theirs).ok()).is_some_and(|(ours, theirs)| ours != theirs)
}
