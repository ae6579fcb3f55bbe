//! The verbs of `seald sectors` that change something: each asks the running daemon, which alone changes anything.

use super::{
    Global,
    failure::{Exit, Failure, Outcome, print, print_json},
    runtime, state_dir,
};
use crate::{
    control::{Client, ClientError, verb},
    sector::{State, operator::Order},
    status::orders::Ruling,
    units::SectorNumber,
};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use std::{future::Future, num::NonZeroU64};

/// Arguments of `seald sectors pledge`.
#[derive(Debug, Args)]
pub struct PledgeArgs {
    /// How many sectors more
    #[arg(value_name = "COUNT", default_value = "1")]
    pub count: NonZeroU64,
    /// Take back what was ordered: want what the manifest declares, and keep what was begun
    #[arg(long, conflicts_with = "count")]
    pub as_declared: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of an order about one sector.
#[derive(Debug, Args)]
pub struct OrderArgs {
    /// The sector's number
    #[arg(value_name = "NUMBER")]
    pub number: SectorNumber,
    /// Agree to what it costs; without it the costs are shown and nothing is changed
    #[arg(long)]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `seald sectors set-state`.
#[derive(Debug, Args)]
pub struct SetStateArgs {
    /// The sector, and whether its costs are agreed to.
    #[command(flatten)]
    pub order: OrderArgs,
    /// The state it shall be in
    #[arg(value_name = "STATE", hide_possible_values = true, value_parser = state_parser())]
    pub state: State,
}

/// Takes the name of a state, and hints at it when it is nearly right.
pub fn state_parser() -> impl clap::builder::TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.iter().map(|state| state.as_str())).try_map(|name| name.parse::<State>())
}

/// Runs `seald sectors pledge`.
///
/// # Errors
/// The daemon does not run, or refuses.
pub fn pledge(global: &Global, args: &PledgeArgs) -> Outcome {
    let PledgeArgs { count, as_declared, json } = args;
    let pledged =
        ask(
            global,
            async |client: Client| {
                if *as_declared { client.pledge_as_declared().await } else { client.pledge(*count).await }
            },
        )?;
    if *json {
        print_json(&pledged)?
    } else {
        print(&pledged.render())?
    }
    Ok(Exit::Well)
}

/// Gives an order about a sector, or shows what it would cost.
///
/// # Errors
/// The daemon does not run, or refuses; or the order costs something and `--yes` is not there.
pub fn order(global: &Global, args: &OrderArgs, order: Order) -> Outcome {
    let OrderArgs { number, yes, json } = args;
    let ruling = ask(global, async |client: Client| client.order(*number, order, *yes).await)?;
    if *json {
        print_json(&ruling)?
    } else {
        print(&ruling.render())?
    }
    if ruling.done { Ok(Exit::Well) } else { Err(not_agreed(&ruling, order)) }
}

fn not_agreed(Ruling { sector, .. }: &Ruling, order: Order) -> Failure {
    let verb = verb(order);
    let state = match order {
        Order::SetState(state) => format!(" {state}"),
        Order::Retry | Order::Remove | Order::Terminate => String::new(),
    };
    let help = format!("`seald sectors {verb} {sector}{state} --yes` agrees to that");
    Failure::new(format!("nothing was changed: {verb} has a cost, and nobody agreed to it"), help)
}

/// Asks the daemon of this manifest's state folder.
///
/// # Errors
/// The daemon does not run, or refuses.
pub fn ask<T, F: Future<Output = Result<T, ClientError>>>(
    global: &Global,
    what: impl FnOnce(Client) -> F,
) -> Outcome<T> {
    let explained = |error| explained(global, error);
    let client = Client::connect(&state_dir::find_running(global)).map_err(explained)?;
    runtime()?.block_on(what(client)).map_err(explained)
}

/// Asks the daemon of this manifest's state folder for what can be had without one too; `None` when none runs.
///
/// # Errors
/// It runs, and does not let this user ask, or cannot answer.
pub fn asked<T, F: Future<Output = Result<T, ClientError>>>(
    global: &Global,
    what: impl FnOnce(Client) -> F,
) -> Outcome<Option<T>> {
    let client = match Client::connect(&state_dir::find_running(global)) {
        Ok(client) => client,
        Err(ClientError::NotRunning { .. } | ClientError::TooLong { .. }) => return Ok(None),
        Err(error) => return Err(explained(global, error)),
    };
    runtime()?.block_on(what(client)).map(Some).map_err(|error| explained(global, error))
}

/// An error of the control socket with what to do about it.
pub fn explained(global: &Global, error: ClientError) -> Failure {
    let help = match &error {
        ClientError::TooLong { .. } => "set a shorter state.dir in the manifest, then start seald again".to_owned(),
        ClientError::NotRunning { .. } => {
            let config = global.config.display();
            format!("start it with `seald run --config {config}`, or with `systemctl start seald`; then ask again")
        }
        ClientError::Forbidden { .. } => {
            "have root run `adduser YOU GROUP` with the group of that folder, then log in again; or run this as root"
                .to_owned()
        }
        ClientError::NoAnswer(_) => {
            "see with `seald status` whether it runs, and with `seald sectors show` whether it did it all the same"
                .to_owned()
        }
        ClientError::Foreign(_) => "use the version of seald that runs as the daemon (`seald version`)".to_owned(),
        ClientError::Refused { help, .. } => help.clone(),
    };
    Failure::of(error, help)
}
