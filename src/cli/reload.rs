//! `seald reload` and `seald rollback`: the manifest as it is now, or the one before it, brought into force by the running
//! daemon. Ends when that is done, so that `systemctl reload` does.

use super::{
    Global,
    failure::{Exit, Outcome, print, print_json},
    orders::ask,
};
use crate::control::{Client, ManifestOrder};
use clap::Args;

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
    let told = ask(global, async |client: Client| client.manifest(order).await)?;
    if args.json {
        print_json(&told)?
    } else {
        print(&told.render())?
    }
    Ok(Exit::Well)
}
