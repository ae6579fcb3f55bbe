//! What `seald run` shows while it runs: the status over itself on a terminal, else a line for each change.

use super::{colour, screen::Screen};
use crate::{
    clock,
    status::{DaemonState, Snapshot, changes::Narrator, text},
};
use std::{io, io::IsTerminal as _, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::watch, time};

/// Ages and ETAs move between snapshots.
const REDRAW_EVERY: Duration = Duration::from_secs(1);

/// Where the view goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A terminal. The log is in this file meanwhile, and the view says so.
    Terminal {
        /// The log file.
        log: PathBuf,
    },
    /// A pipe, a file, the journal.
    Lines,
}

impl Output {
    /// As stdout is, with the log file a terminal view would name.
    pub fn choose(log: PathBuf) -> Self {
        if io::stdout().is_terminal() { Self::Terminal { log } } else { Self::Lines }
    }
}

/// Shows every snapshot until the sender is dropped. A closed stdout ends the showing, never the daemon.
pub async fn show(rx: watch::Receiver<Arc<Snapshot>>, out: Output) {
    match out {
        Output::Terminal { log } => draw(rx, &log.display().to_string()).await,
        Output::Lines => narrate(rx, &mut io::stdout()).await,
    }
}

async fn draw(mut rx: watch::Receiver<Arc<Snapshot>>, log: &str) {
    let screen = Screen::new();
    let mut tick = time::interval(REDRAW_EVERY);
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Skip);
    loop {
        let snapshot = rx.borrow_and_update().clone();
        let view = text::render(&snapshot, clock::now(), colour(), DaemonState::Running);
        screen.draw(&format!("{view}\nlog: {log}   Ctrl-C ends seald; sealing resumes where it was"));
        // both arms only wait: cancelling either loses nothing, the next turn reads the newest snapshot
        tokio::select! {
            changed = rx.changed() => if changed.is_err() { return },
            _ = tick.tick() => {}
        }
    }
}

async fn narrate(mut rx: watch::Receiver<Arc<Snapshot>>, out: &mut impl io::Write) {
    let mut narrator = Narrator::default();
    let mut open = true;
    loop {
        let snapshot = rx.borrow_and_update().clone();
        let text: String = narrator.tell(&snapshot).iter().map(|line| format!("{line}\n")).collect();
        open = open && out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok();
        if rx.changed().await.is_err() {
            return;
        }
    }
}
