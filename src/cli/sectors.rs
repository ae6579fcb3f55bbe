//! `seald sectors`: what the database knows of sectors, with what the daemon last said about them. The verbs that change
//! something are in `orders`.

use super::{
    Global, colour,
    failure::{Exit, Failure, OrHelp as _, Outcome, print, print_json},
    orders::{self, OrderArgs, PledgeArgs, SetStateArgs},
    runtime, state_dir, status,
};
use crate::{
    clock,
    manifest::Manifest,
    sector::{Record, State, operator::Order},
    status::{
        DaemonState, Report,
        sectors::{Choice, HistoryLine, List, Show},
    },
    store::{HistoryEntry, Store, StoreError, Unreadable},
    units::SectorNumber,
};
use clap::{Args, Subcommand};

/// Arguments of `seald sectors`.
#[derive(Debug, Args)]
pub struct SectorsArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with sectors.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List sectors with their state, epochs, and what they wait for
    List(ListArgs),
    /// Show everything about one sector, its history, and why it stands where it stands
    Show(ShowArgs),
    /// Want more sectors than the manifest declares
    Pledge(PledgeArgs),
    /// Try what was parked or waits for its next attempt again, now and with a new budget
    Retry(OrderArgs),
    /// Give a sector up and remove its files; its number is never used again
    Remove(OrderArgs),
    /// End an active sector on chain before its time, at a fee, then remove it
    Terminate(OrderArgs),
    /// Put a sector into another state, as far as its record and the chain allow that
    SetState(SetStateArgs),
}

/// Arguments of `seald sectors list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only sectors in this state
    #[arg(long, value_name = "STATE", hide_possible_values = true)]
    #[arg(value_parser = orders::state_parser())]
    pub state: Option<State>,
    /// Only sectors whose wait or failure says this, in whatever letters
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Only sectors that failed last, or for good
    #[arg(long)]
    pub failed: bool,
    /// Only sectors that wait for something
    #[arg(long)]
    pub waiting: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `seald sectors show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The sector's number
    #[arg(value_name = "NUMBER")]
    pub number: SectorNumber,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `seald sectors`.
///
/// # Errors
/// The database cannot be read, there is no such sector, or the daemon could not or did not do what was asked.
pub fn run(global: &Global, args: &SectorsArgs) -> Outcome {
    // without facts from the daemon the database is shown alone
    let last = || status::read(global, &state_dir::find(global)).ok();
    match &args.verb {
        Verb::List(args) => list(global, args, last().as_ref()).map(|()| Exit::Well),
        Verb::Show(args) => show(global, args, last().as_ref()).map(|()| Exit::Well),
        Verb::Pledge(args) => orders::pledge(global, args),
        Verb::Retry(args) => orders::order(global, args, Order::Retry),
        Verb::Remove(args) => orders::order(global, args, Order::Remove),
        Verb::Terminate(args) => orders::order(global, args, Order::Terminate),
        Verb::SetState(SetStateArgs { order, state }) => orders::order(global, order, Order::SetState(*state)),
    }
}

fn list(global: &Global, args: &ListArgs, last: Option<&Report>) -> Outcome<()> {
    let (records, unreadable) = read_all(global)?;
    let unreadable = unreadable.into_iter().map(|Unreadable { what, error }| format!("{what}: {error}")).collect();
    let ListArgs { state, why, failed, waiting, json } = args;
    let choice = Choice { state: *state, why: why.clone(), failed: *failed, waiting: *waiting };
    let list = List::new(&records, unreadable, &choice, last.map(|report| &report.snapshot));
    if *json { print_json(&list) } else { print(&list.render(clock::now(), colour())) }
}

fn show(global: &Global, args: &ShowArgs, last: Option<&Report>) -> Outcome<()> {
    let help = "`seald sectors list` shows the sectors there are";
    let found = read_one(global, args.number)?;
    let (record, history) = found.ok_or_else(|| Failure::new(format!("there is no sector {}", args.number), help))?;
    let history = history.into_iter().map(|HistoryEntry { at, event, applied }| HistoryLine { at, event, applied });
    let daemon = last.map_or(DaemonState::Stopped, |report| report.daemon);
    let show = Show::new(record, history.collect(), daemon, last.map(|report| &report.snapshot));
    if args.json { print_json(&show) } else { print(&show.render(clock::now(), colour())) }
}

/// Every sector, and the rows that cannot be read.
fn read_all(global: &Global) -> Outcome<(Vec<Record>, Vec<Unreadable>)> {
    let manifest = global.load()?.manifest;
    runtime()?.block_on(async { open(&manifest).await?.sectors().await.or_help(LOOK) })
}

/// One sector with its history, oldest first; `None` when there is none of that number.
fn read_one(global: &Global, number: SectorNumber) -> Outcome<Option<(Record, Vec<HistoryEntry>)>> {
    let manifest = global.load()?.manifest;
    runtime()?.block_on(async {
        let store = open(&manifest).await?;
        let record = match store.sector(number).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(StoreError::Unreadable { error, .. }) => {
                let what = format!("sector {number} is quarantined, its record cannot be read: {error}");
                let help = "restore the database from a backup; seald seals the others, and keeps this one's files";
                return Err(Failure::new(what, help));
            }
            Err(error) => return Err(error).or_help(LOOK),
        };
        Ok(Some((record, store.history(number).await.or_help(LOOK)?)))
    })
}

const LOOK: &str = "look at the database that state.url of the manifest names";

/// The database, for reading beside a daemon or without one.
///
/// # Errors
/// It is not there yet, cannot be read, or is of another version of seald.
pub async fn open(manifest: &Manifest) -> Outcome<Store> {
    match Store::open_read_only(manifest.state.url.as_str()).await {
        Ok(store) => Ok(store),
        Err(StoreError::Missing { url }) => Err(Failure::new(
            format!("seald has not run yet with this manifest (no database at {url})"),
            "start it with `seald run`, or with `systemctl start seald`",
        )),
        Err(error) => Err(error).or_help(LOOK),
    }
}
