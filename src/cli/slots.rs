//! `seald cordon`, `drain`, `pause` and `resume`: keeping slots from new tasks. Each asks the running daemon; with
//! `--wait` it goes on asking until nothing runs there any more, and says what still does.

use super::{
    Global,
    failure::{Exit, Outcome, print, print_json},
    orders::{ask, explained},
    runtime, state_dir,
};
use crate::{
    control::{Client, SlotOrder},
    plan::Place,
    status::{SlotStatus, Snapshot, orders::SlotsRuled},
};
use clap::Args;
use std::time::Duration;

/// Which slots.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// A slot of the manifest such as gpu0, or one worker of it such as gpu0/1
    #[arg(value_name = "SLOT", required_unless_present = "all", conflicts_with = "all")]
    pub slot: Option<Place>,
    /// Every slot of the manifest
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `seald drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Which slots.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Return once nothing runs there any more; says meanwhile what still does
    #[arg(long)]
    pub wait: bool,
}

/// Arguments of `seald pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Which slots.
    #[command(flatten)]
    pub which: WhichArgs,
    /// End running tasks at once; their sectors lose nothing, PreCommit1 goes on at its last good layer
    #[arg(long)]
    pub now: bool,
    /// Return once nothing runs there any more; says meanwhile what still does
    #[arg(long)]
    pub wait: bool,
}

/// Runs `seald drain`.
///
/// # Errors
/// The daemon does not run, or refuses.
pub fn drain(global: &Global, args: &DrainArgs) -> Outcome {
    order(global, &args.which, SlotOrder::Drain)?;
    if args.wait { wait(global, &args.which) } else { Ok(Exit::Well) }
}

/// Runs `seald pause`.
///
/// # Errors
/// The daemon does not run, or refuses.
pub fn pause(global: &Global, args: &PauseArgs) -> Outcome {
    order(global, &args.which, if args.now { SlotOrder::PauseNow } else { SlotOrder::Pause })?;
    if args.wait { wait(global, &args.which) } else { Ok(Exit::Well) }
}

/// Runs `seald cordon` or `seald resume`.
///
/// # Errors
/// The daemon does not run, or refuses.
pub fn order(global: &Global, args: &WhichArgs, order: SlotOrder) -> Outcome {
    let ruled: SlotsRuled = ask(global, async |client: Client| client.slots(args.slot.as_ref(), order).await)?;
    if args.json {
        print_json(&ruled)?
    } else {
        print(&ruled.render())?
    }
    Ok(Exit::Well)
}

const ASK_EVERY: Duration = Duration::from_millis(500);

/// Until nothing runs there any more; progress goes to stderr, as JSON alone belongs on stdout.
fn wait(global: &Global, which: &WhichArgs) -> Outcome {
    let failed = |error| explained(global, error);
    let client = Client::connect(&state_dir::find_running(global)).map_err(failed)?;
    runtime()?.block_on(async {
        let mut told = Vec::new();
        let mut pause = tokio::time::interval(ASK_EVERY);
        loop {
            pause.tick().await;
            let busy = running(&client.status().await.map_err(failed)?, which.slot.as_ref());
            if busy.is_empty() {
                return Ok(Exit::Well);
            }
            if busy != told {
                busy.iter().for_each(|line| eprintln!("waits for {line}"));
                told = busy;
            }
        }
    })
}

/// What still runs in a place, one line each.
fn running(snapshot: &Snapshot, place: Option<&Place>) -> Vec<String> {
    let is_there = |status: &&SlotStatus| {
        place.is_none_or(|place| {
            place.slot == status.slot && place.instance.is_none_or(|instance| instance == status.instance)
        })
    };
    let line = |status: &SlotStatus| {
        let SlotStatus { slot, instance, task, .. } = status;
        task.as_ref().map(|task| format!("slot {slot}/{instance}: {task}"))
    };
    snapshot.slots.iter().filter(is_there).filter_map(line).collect()
}
