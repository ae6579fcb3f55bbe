//! `seald sectors`: what is known of sectors, asked of the running daemon, or read from the database when none runs. The
//! verbs that change something are in `orders`.

use super::{
    Global, colour,
    failure::{Exit, Failure, OrHelp as _, Outcome, print, print_json},
    info,
    orders::{self, OrderArgs, PledgeArgs, SetStateArgs, asked},
    runtime, state_dir, status,
};
use crate::{
    clock,
    control::{Client, Refused},
    daemon::{reading, standing},
    manifest::Manifest,
    sector::{State, operator::Order},
    status::{
        DaemonState, Report,
        sectors::{Choice, List, OnChain, Show, Shown},
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
    #[command(visible_alias = "status")]
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
    /// Only sectors in this state, or in one of several with commas between them
    #[arg(long, visible_alias = "states", value_name = "STATE", hide_possible_values = true)]
    #[arg(value_delimiter = ',', value_parser = orders::state_parser())]
    pub state: Vec<State>,
    /// Only sectors whose wait or failure says this, in whatever letters
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Only sectors that failed last, or for good
    #[arg(long)]
    pub failed: bool,
    /// Only sectors that wait for something
    #[arg(long)]
    pub waiting: bool,
    /// Do not ask the chain which of them it has, which count there, and when they expire
    #[arg(long)]
    pub fast: bool,
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
    /// Ask the chain about it too: terms, pledge, when it ends, where it is proven
    #[arg(long)]
    pub on_chain_info: bool,
    /// Print the bytes of its proof
    #[arg(long, conflicts_with = "json")]
    pub proof: bool,
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
    let ListArgs { state, why, failed, waiting, fast, json } = args;
    let (state, why) = (state.clone(), why.clone());
    let choice = Choice { state, why, failed: *failed, waiting: *waiting, fast: *fast };
    let list = match asked(global, async |client: Client| client.sectors(&choice).await)? {
        Some(list) => list,
        None => offline_list(global, &choice)?,
    };
    if *json { print_json(&list) } else { print(&list.render(clock::now(), colour())) }
}

/// The chosen sectors, read beside no daemon.
fn offline_list(global: &Global, choice: &Choice) -> Outcome<List> {
    let (manifest, last) = (global.load()?.manifest, last(global));
    let last = last.as_ref().map(|report| &report.snapshot);
    runtime()?.block_on(async {
        let store = open(&manifest).await?;
        let list = reading::list(&store, choice, last).await.or_help(LOOK)?;
        if choice.fast {
            return Ok(list);
        }
        // why the chain cannot be asked is said below the list
        let whom = info::whom(&manifest, &store).await.map_err(|failure| failure.why());
        Ok(standing::with_chain(list, whom).await)
    })
}

fn show(global: &Global, args: &ShowArgs) -> Outcome<()> {
    let ShowArgs { number, on_chain_info, proof, json } = args;
    let found = asked(global, async |client: Client| {
        let show = client.sector(*number).await?;
        let on_chain = if *on_chain_info { Some(client.on_chain(*number).await?) } else { None };
        Ok(Show { on_chain, ..show })
    })?;
    let show = match found {
        Some(show) => show,
        None if *on_chain_info => Show { on_chain: Some(offline_chain(global, *number)?), ..offline(global, *number)? },
        None => offline(global, *number)?,
    };
    if *json { print_json(&show) } else { print(&show.render(Shown { proof: *proof }, clock::now(), colour())) }
}

/// What the chain says of one sector, asked beside no daemon.
fn offline_chain(global: &Global, number: SectorNumber) -> Outcome<OnChain> {
    let manifest = global.load()?.manifest;
    runtime()?.block_on(async {
        let (client, miner) = info::whom(&manifest, &open(&manifest).await?).await?;
        standing::on_chain(&client, miner, number).await.or_help(info::NODE)
    })
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
