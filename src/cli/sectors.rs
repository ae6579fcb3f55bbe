//! `seald sectors`: what is known of sectors, asked of the running daemon, or read from the database when none runs. The
//! verbs that change something are in `orders`.

use super::{
    Global, colour,
    failure::{Exit, Failure, OrHelp as _, Outcome, print, print_json},
    orders::{self, OrderArgs, PledgeArgs, SetStateArgs, asked},
    runtime, state_dir, status,
};
use crate::{
    clock,
    control::{Client, Refused},
    daemon::reading,
    manifest::Manifest,
    sector::{State, operator::Order},
    status::{
        DaemonState, Report,
        sectors::{Choice, Show},
    },
    store::{Store, StoreError},
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
    match &args.verb {
        Verb::List(args) => list(global, args).map(|()| Exit::Well),
        Verb::Show(args) => show(global, args).map(|()| Exit::Well),
        Verb::Pledge(args) => orders::pledge(global, args),
        Verb::Retry(args) => orders::order(global, args, Order::Retry),
        Verb::Remove(args) => orders::order(global, args, Order::Remove),
        Verb::Terminate(args) => orders::order(global, args, Order::Terminate),
        Verb::SetState(SetStateArgs { order, state }) => orders::order(global, order, Order::SetState(*state)),
    }
}

fn list(global: &Global, args: &ListArgs) -> Outcome<()> {
    let ListArgs { state, why, failed, waiting, json } = args;
    let choice = Choice { state: *state, why: why.clone(), failed: *failed, waiting: *waiting };
    let list = match asked(global, async |client: Client| client.sectors(&choice).await)? {
        Some(list) => list,
        None => {
            let (manifest, last) = (global.load()?.manifest, last(global));
            let last = last.as_ref().map(|report| &report.snapshot);
            runtime()?.block_on(async { reading::list(&open(&manifest).await?, &choice, last).await.or_help(LOOK) })?
        }
    };
    if *json { print_json(&list) } else { print(&list.render(clock::now(), colour())) }
}

fn show(global: &Global, args: &ShowArgs) -> Outcome<()> {
    let number = args.number;
    let show = match asked(global, async |client: Client| client.sector(number).await)? {
        Some(show) => show,
        None => offline(global, number)?,
    };
    if args.json { print_json(&show) } else { print(&show.render(clock::now(), colour())) }
}

/// Everything about one sector, read beside no daemon.
fn offline(global: &Global, number: SectorNumber) -> Outcome<Show> {
    let (manifest, last) = (global.load()?.manifest, last(global));
    let daemon = last.as_ref().map_or(DaemonState::Stopped, |report| report.daemon);
    let last = last.as_ref().map(|report| &report.snapshot);
    let refused = |Refused { error, help, .. }| Failure::new(error, help);
    runtime()?.block_on(async {
        match reading::show(&open(&manifest).await?, number, daemon, last).await {
            Ok(Some(show)) => Ok(show),
            Ok(None) => Err(refused(reading::no_sector(number))),
            Err(StoreError::Unreadable { error, .. }) => Err(refused(reading::quarantined(number, &error))),
            Err(error) => Err(error).or_help(LOOK),
        }
    })
}

/// What a daemon that does not run any more said last; without it the database is shown alone.
fn last(global: &Global) -> Option<Report> {
    status::read(global, &state_dir::find_running(global)).ok()
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
