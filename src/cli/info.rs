//! `seald info`: the miner on chain.

use super::{
    Global, colour,
    failure::{Exit, Failure, OrHelp as _, Outcome, print, print_json},
    orders::asked,
    runtime,
};
use crate::{
    chain::{Client, Limits},
    clock, control,
    daemon::{
        connect,
        survey::{Known, survey},
    },
    manifest::{Identity, Manifest},
    status::info::{InfoReport, Shown},
    store::{Store, StoreError},
    units::MinerId,
};
use clap::Args;
use std::time::Duration;

/// The setting of the database that names the miner that was created.
const MINER: &str = "miner";

/// What to do when the chain gives no answer.
pub const NODE: &str = "look at the node that chain.endpoints of the manifest names";

/// Arguments of `seald info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Leave out the number of sectors in each state
    #[arg(long, conflicts_with = "json")]
    pub hide_sectors: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `seald info`.
///
/// # Errors
/// The chain or the database cannot be read.
pub fn run(global: &Global, args: &InfoArgs) -> Outcome {
    let report = read(global)?;
    let InfoArgs { hide_sectors, json } = args;
    if *json {
        print_json(&report)?
    } else {
        print(&report.render(Shown { without_sectors: *hide_sectors }, colour()))?
    }
    Ok(Exit::Well)
}

/// Asks the daemon, or without one the chain and the database.
fn read(global: &Global) -> Outcome<InfoReport> {
    if let Some(report) = asked(global, async |client: control::Client| client.info().await)? {
        return Ok(report);
    }
    let manifest = global.load()?.manifest;
    runtime()?.block_on(async {
        let (miner, states) = known(&manifest).await?;
        let endpoints = connect::endpoints(&manifest).or_help("`seald status` shows whether the daemon runs")?;
        let known = Known { at: clock::now(), running_since: None, miner, states };
        survey(&Client::new(endpoints).or_help(NODE)?, known).await.or_help(NODE)
    })
}

/// Whom to ask without a daemon: the declared node about the declared miner, or the one that was created. Waits less for a
/// node that is away than the daemon does: somebody looks at the screen.
pub async fn whom(manifest: &Manifest, store: &Store) -> Outcome<(Client, MinerId)> {
    let miner = miner(manifest, Some(store)).await?;
    let limits = Limits { back_off: Duration::from_millis(50), ..Limits::default() };
    let endpoints = connect::endpoints(manifest).or_help("`seald status` shows whether the daemon runs")?;
    Ok((Client::with_limits(endpoints, limits).or_help(NODE)?, miner))
}

/// What the manifest and the database know: the miner, and the number of sectors by state.
async fn known(manifest: &Manifest) -> Outcome<(MinerId, Vec<(String, u64)>)> {
    let help = "look at the database that state.url of the manifest names";
    let store = match Store::open_read_only(manifest.state.url.as_str()).await {
        Ok(store) => Some(store),
        // nothing has run yet, but the chain may know the miner all the same
        Err(StoreError::Missing { .. }) => None,
        Err(error) => return Err(error).or_help(help),
    };
    let states = match &store {
        Some(store) => store.count_by_state().await.or_help(help)?,
        None => Vec::new(),
    };
    Ok((miner(manifest, store.as_ref()).await?, states))
}

async fn miner(manifest: &Manifest, store: Option<&Store>) -> Outcome<MinerId> {
    let help = "look at the database that state.url of the manifest names";
    let declared = match &manifest.miner.identity {
        Identity::Attach(actor) | Identity::Genesis { actor, .. } => Some(*actor),
        Identity::Create { .. } => None,
    };
    let created = match store {
        Some(store) => store.setting(MINER).await.or_help(help)?,
        None => None,
    };
    let created = created.map(|text| text.parse()).transpose().or_help(help)?;
    let none = || Failure::new("no miner has been created yet with this manifest", "`seald run` creates it");
    declared.or(created).ok_or_else(none)
}
