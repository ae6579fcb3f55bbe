//! `seald sectors list`.

use super::{FORMAT_VERSION, failed, is_about};
use crate::{
    sector::{Failure, Record, State},
    status::{
        SectorStatus, Snapshot,
        paint::{Colour, Side, Table, Tone, cell, maybe, toned},
        text, words,
    },
    units::{Epoch, SectorNumber, UnixMillis},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `seald sectors list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The sectors, by number.
    pub sectors: Vec<Row>,
    /// Rows of the database that cannot be read, in words.
    pub unreadable: Vec<String>,
}

/// One sector of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Number.
    pub number: SectorNumber,
    /// State.
    pub state: State,
    /// When it entered the state.
    pub entered: UnixMillis,
    /// Epoch the ticket was drawn at.
    pub ticket: Option<Epoch>,
    /// Epoch the pre-commit executed at.
    pub precommit: Option<Epoch>,
    /// Epoch of the interactive seed.
    pub seed: Option<Epoch>,
    /// Epoch of activation.
    pub activation: Option<Epoch>,
    /// What it waits for, as the daemon last said.
    pub waits_for: Option<String>,
    /// Since when it waits for that.
    pub since: Option<UnixMillis>,
    /// Last failure.
    pub failure: Option<Failure>,
}

/// Which sectors are listed: those that every part of it lets through.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choice {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those whose wait or failure says this somewhere, in whatever letters.
    pub why: Option<String>,
    /// Only those that failed last, or for good.
    pub failed: bool,
    /// Only those that wait.
    pub waiting: bool,
}

impl Choice {
    fn takes(&self, row: &Row) -> bool {
        let says = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            let wait = row.waits_for.as_ref().map(|reason| reason.to_lowercase());
            let failure = row.failure.as_ref().map(|failure| failed(failure).to_lowercase());
            [wait, failure].into_iter().flatten().any(|reason| reason.contains(&wanted))
        };
        self.state.is_none_or(|state| state == row.state)
            && self.why.as_ref().is_none_or(says)
            && (!self.failed || row.failure.is_some() || row.state.is_failure())
            && (!self.waiting || row.waits_for.is_some())
    }
}

impl List {
    /// The list of those of `records` that are chosen. `last` is the daemon's last snapshot.
    pub fn new(records: &[Record], unreadable: Vec<String>, choice: &Choice, last: Option<&Snapshot>) -> Self {
        let said: BTreeMap<SectorNumber, &SectorStatus> =
            last.iter().flat_map(|last| &last.sectors).map(|status| (status.number, status)).collect();
        let row = |record: &Record| {
            let status = said.get(&record.number).filter(|status| is_about(status, record));
            Row {
                number: record.number,
                state: record.state,
                entered: record.entered,
                ticket: record.ticket.as_ref().map(|ticket| ticket.epoch),
                precommit: record.precommit.as_ref().and_then(|p| p.landed.as_ref()).map(|landed| landed.epoch),
                seed: record.seed.as_ref().map(|seed| seed.epoch),
                activation: record.activation.as_ref().map(|activation| activation.epoch),
                waits_for: status.and_then(|status| status.waits_for.clone()),
                since: status.and_then(|status| status.since),
                failure: record.failure.clone(),
            }
        };
        let mut sectors: Vec<Row> = records.iter().map(row).filter(|row| choice.takes(row)).collect();
        sectors.sort_by_key(|row| row.number);
        Self { format_version: FORMAT_VERSION, sectors, unreadable }
    }

    /// The list as text.
    pub fn render(&self, now: UnixMillis, colour: Colour) -> String {
        let mut table = Table::new(&[
            ("sector", Side::Right),
            ("state", Side::Left),
            ("for", Side::Left),
            ("ticket", Side::Right),
            ("precommit", Side::Right),
            ("seed", Side::Right),
            ("active", Side::Right),
            ("waits for", Side::Left),
        ]);
        for row in &self.sectors {
            let Row { number, state, entered, ticket, precommit, seed, activation, waits_for, failure, .. } = row;
            let epochs = [ticket, precommit, seed, activation].map(|epoch| maybe(epoch.map(Epoch::as_i64)));
            let age = cell(words::about(now.ms_since(*entered)));
            let head = [cell(number), toned(state, text::tone_of(state.as_str())), age];
            let why = failure.as_ref().map(|f| toned(failed(f), Tone::Red));
            table.row(head.into_iter().chain(epochs).chain([maybe(waits_for.as_ref())]), why);
        }
        let mut out = if self.sectors.is_empty() { "no sectors\n".to_owned() } else { table.render(colour) };
        for what in &self.unreadable {
            out.push_str(&format!("{}\n", colour.paint(Tone::Red, &format!("quarantined, cannot be read: {what}"))));
        }
        out
    }
}
