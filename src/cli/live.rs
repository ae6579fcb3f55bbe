//! What `seald run` shows while it runs: the status over itself on a terminal, else a line for each change.

use super::{colour, log::Sink, screen::Screen};
use crate::{
    clock,
    status::{DaemonState, Snapshot, changes::Narrator, text},
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
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
    /// A pipe or a file.
    Lines,
    /// The journal, which has the log too.
    Journal,
}

impl Output {
    /// As stdout is and where the log goes.
    pub fn choose(sink: &Sink) -> Self {
        match sink {
            Sink::File(log) => Self::Terminal { log: log.clone() },
            Sink::Journal => Self::Journal,
            Sink::Stderr => Self::Lines,
        }
    }
}

/// Shows every snapshot until the sender is dropped. A closed stdout ends the showing, never the daemon.
pub async fn show(mut rx: watch::Receiver<Arc<Snapshot>>, out: Output) {
    // what the channel starts with says nothing yet
    if rx.changed().await.is_err() {
        return;
    }
    rx.mark_changed();
    match out {
        Output::Terminal { log } => draw(rx, &log.display().to_string()).await,
        Output::Lines => narrate(Narrator::default(), rx, &mut io::stdout()).await,
        Output::Journal => narrate(Narrator::for_journal(), rx, &mut io::stdout()).await,
    }
}

async fn draw(mut rx: watch::Receiver<Arc<Snapshot>>, log: &str) {
    let screen = Screen::new();
    let mut tick = time::interval(REDRAW_EVERY);
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Skip);
    loop {
        let snapshot = rx.borrow_and_update().clone();
        let view = text::render(&snapshot, clock::now(), colour(), DaemonState::Running);
        // on top, where a terminal that is too short does not cut it off
        screen.draw(&format!("log: {log}   Ctrl-C ends seald; the next run goes on where it was\n{view}"));
        // both arms only wait: cancelling either loses nothing, the next turn reads the newest snapshot
        tokio::select! {
            changed = rx.changed() => if changed.is_err() { return },
            _ = tick.tick() => {}
        }
    }
}

async fn narrate(mut narrator: Narrator, mut rx: watch::Receiver<Arc<Snapshot>>, out: &mut impl io::Write) {
    let mut open = true;
    // what is there at the start was made before anything was looked at: there is nothing in it to tell
    while rx.changed().await.is_ok() {
        let snapshot = rx.borrow_and_update().clone();
        let text: String = narrator.tell(&snapshot).iter().map(|line| format!("{line}\n")).collect();
        open = open && out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Target;

    fn snapshot(proving: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            pid: 7,
            manifest: "m.toml".to_owned(),
            prover: "real".to_owned(),
            target: Target { wanted: 2, ordered: 0, proving, in_flight: 0, eta_ms: None },
            ..Snapshot::empty(crate::units::UnixMillis::new(1_772_366_621_000))
        })
    }

    #[tokio::test]
    async fn the_last_snapshot_is_told_before_the_end() {
        let (sender, receiver) = watch::channel(snapshot(0));
        let mut out = Vec::new();
        let told = narrate(Narrator::default(), receiver, &mut out);
        let send = async move {
            sender.send(snapshot(2)).unwrap();
            drop(sender);
        };
        tokio::join!(told, send);
        let lines = "12:03:41 seald 0.1.0, pid 7, m.toml\n12:03:41 target 2/2 proving, 0 in flight, target met\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }

    #[test]
    fn the_journal_gets_lines_without_a_clock() {
        let told = Narrator::for_journal().tell(&snapshot(0));
        assert_eq!(told[0], "seald 0.1.0, pid 7, m.toml");
    }

    #[tokio::test]
    async fn a_closed_stdout_does_not_end_the_show() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let (sender, receiver) = watch::channel(snapshot(0));
        let told = narrate(Narrator::default(), receiver, &mut writer);
        tokio::pin!(told);
        assert!(futures_util::poll!(told.as_mut()).is_pending());
        drop(sender);
        told.await;
    }
}
