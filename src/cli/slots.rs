//! `seald cordon`, `drain`, `pause` and `resume`: keeping slots from new tasks. Each asks the running daemon; with
//! `--wait` it goes on asking until nothing runs there any more, and says what still does.

use super::{
    Global,
    failure::{Exit, Failure, Outcome, print, print_json},
    orders::{ask, explained},
    runtime, state_dir,
};
use crate::{
    clock,
    control::{Client, SlotOrder},
    plan::Place,
    status::{SlotStatus, Snapshot, orders::SlotsRuled},
    units::UnixMillis,
};
use clap::Args;
use std::{
    io::{self, Write as _},
    time::Duration,
};

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
    let told = order(global, &args.which, SlotOrder::Drain)?;
    if args.wait { wait(global, &args.which, SlotOrder::Drain, clock::now()) } else { Ok(told) }
}

/// Runs `seald pause`.
///
/// # Errors
/// The daemon does not run, or refuses.
pub fn pause(global: &Global, args: &PauseArgs) -> Outcome {
    let wanted = if args.now { SlotOrder::PauseNow } else { SlotOrder::Pause };
    let told = order(global, &args.which, wanted)?;
    if args.wait { wait(global, &args.which, wanted, clock::now()) } else { Ok(told) }
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
fn wait(global: &Global, which: &WhichArgs, order: SlotOrder, ordered: UnixMillis) -> Outcome {
    let failed = |error| explained(global, error);
    let client = Client::connect(&state_dir::find_running(global)).map_err(failed)?;
    runtime()?.block_on(async {
        let mut told = Vec::new();
        let mut pause = tokio::time::interval(ASK_EVERY);
        loop {
            pause.tick().await;
            let snapshot = client.status().await.map_err(failed)?;
            let (now, busy) = looked(&snapshot, which.slot.as_ref(), ordered);
            match now {
                Now::Over => return Ok(Exit::Well),
                Now::Waits => {}
                Now::Resumed(place) => return Err(resumed(&place, order)),
            }
            if busy != told {
                let lines: String = busy.iter().map(|line| format!("waits for {line}\n")).collect();
                // with stderr closed nobody is left to tell; the order is waited for all the same
                io::stderr().write_all(lines.as_bytes()).unwrap_or_default();
                told = busy;
            }
        }
    })
}

fn resumed(place: &Place, order: SlotOrder) -> Failure {
    let verb = order.verb();
    let what = format!("slot {place} takes tasks again, so waiting for it would have no end: it was resumed meanwhile");
    Failure::new(what, format!("`seald {verb} {place} --wait` orders it again"))
}

/// How it stands with an order that is waited for.
#[derive(Debug, PartialEq, Eq)]
enum Now {
    /// Nothing runs there any more.
    Over,
    /// Something does, or nobody knows yet.
    Waits,
    /// Nobody holds this worker any more.
    Resumed(Place),
}

/// How it stands, and what still runs in a place, one line each.
fn looked(snapshot: &Snapshot, place: Option<&Place>, ordered: UnixMillis) -> (Now, Vec<String>) {
    let is_there = |status: &&SlotStatus| {
        place.is_none_or(|place| {
            place.slot == status.slot && place.instance.is_none_or(|instance| instance == status.instance)
        })
    };
    let busy: Vec<&SlotStatus> =
        snapshot.slots.iter().filter(is_there).filter(|status| status.task.is_some()).collect();
    let line = |status: &&SlotStatus| {
        let SlotStatus { slot, instance, task, .. } = status;
        task.as_ref().map(|task| format!("slot {slot}/{instance}: {task}"))
    };
    let free = busy.iter().find(|status| status.held.is_none());
    let now = match free {
        // what was true before the order says nothing about it
        _ if snapshot.at <= ordered => Now::Waits,
        Some(free) => Now::Resumed(Place { slot: free.slot.clone(), instance: Some(free.instance) }),
        None if busy.is_empty() => Now::Over,
        None => Now::Waits,
    };
    (now, busy.iter().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::How, status::HeldStatus};

    fn slot(name: &str, task: Option<&str>, held: bool) -> SlotStatus {
        let held =
            held.then(|| HeldStatus { place: name.parse().unwrap(), how: How::Drained, since: UnixMillis::new(5) });
        SlotStatus {
            slot: name.parse().unwrap(),
            instance: 1,
            state: "busy".to_owned(),
            pid: Some(7),
            task: task.map(str::to_owned),
            placement: None,
            restarts: 0,
            note: None,
            held,
        }
    }

    #[test]
    fn waiting_ends_when_the_slot_is_empty_and_when_somebody_resumed_it() {
        let (task, ordered) = (Some("sector 3 commit"), UnixMillis::new(5));
        let at = |at, slots: Vec<SlotStatus>| {
            let snapshot = Snapshot { slots, ..Snapshot::empty(UnixMillis::new(at)) };
            looked(&snapshot, Some(&"gpu0".parse().unwrap()), ordered)
        };
        let line = vec!["slot gpu0/1: sector 3 commit".to_owned()];
        assert_eq!(at(6, vec![slot("gpu0", task, true), slot("gpu1", task, false)]), (Now::Waits, line.clone()));
        assert_eq!(at(6, vec![slot("gpu0", None, true), slot("gpu1", task, false)]), (Now::Over, vec![]));
        assert_eq!(at(6, vec![slot("gpu0", task, false)]), (Now::Resumed("gpu0/1".parse().unwrap()), line.clone()));
        // before the daemon says what came of the order
        assert_eq!(at(5, vec![slot("gpu0", task, false)]), (Now::Waits, line));
        assert_eq!(at(5, vec![slot("gpu0", None, false)]).0, Now::Waits);
        assert_eq!(at(6, vec![slot("gpu0", None, false)]).0, Now::Over);
        let said = resumed(&"gpu0/1".parse().unwrap(), SlotOrder::PauseNow);
        assert!(format!("{said:?}").contains("`seald pause gpu0/1 --wait`"), "{said:?}");
    }
}
