//! `seald sectors list`.

use super::{
    FORMAT_VERSION, failed, is_about,
    standing::{Standings, moment, yes_no},
};
use crate::{
    sector::{Failure, Record, State},
    status::{
        SectorStatus, Snapshot,
        paint::{Cell, Colour, Side, Table, Tone, cell, maybe, toned},
        text, words,
    },
    units::{Epoch, SectorNumber, UnixMillis},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `seald sectors list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The sectors, by number.
    pub sectors: Vec<Row>,
    /// Rows of the database that cannot be read, in words.
    pub unreadable: Vec<String>,
    /// Height of the head at which the chain was asked; absent when it was not, and when it gave no answer.
    #[serde(default)]
    pub head: Option<Epoch>,
    /// Why what only the chain knows is not known, in words; absent when it is, and when it was not asked.
    #[serde(default)]
    pub unknown: Option<String>,
    /// Seconds of an epoch, once known.
    #[serde(default)]
    pub epoch_secs: Option<u64>,
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
    /// Whether the chain has it; absent when the chain was not asked.
    #[serde(default)]
    pub on_chain: Option<bool>,
    /// Whether it counts there: proven and not faulty; absent when the chain was not asked.
    #[serde(default)]
    pub active: Option<bool>,
    /// Epoch it expires at, by the chain.
    #[serde(default)]
    pub expiration: Option<Epoch>,
    /// What it waits for, as the daemon last said.
    pub waits_for: Option<String>,
    /// Since when it waits for that.
    pub since: Option<UnixMillis>,
    /// Last failure.
    pub failure: Option<Failure>,
}

/// Which sectors are listed: those that every part of it lets through. And whether the chain is asked about them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choice {
    /// Only those in one of these states; with none, those in any.
    #[serde(with = "names")]
    pub state: Vec<State>,
    /// Only those whose wait or failure says this somewhere, in whatever letters.
    pub why: Option<String>,
    /// Only those that failed last, or for good.
    pub failed: bool,
    /// Only those that wait.
    pub waiting: bool,
    /// Without what only the chain knows.
    pub fast: bool,
}

/// Names with commas between them, as a query of HTTP has them.
mod names {
    use super::State;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(states: &[State], to: S) -> Result<S::Ok, S::Error> {
        let names: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        to.serialize_str(&names.join(","))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<State>, D::Error> {
        let text = String::deserialize(from)?;
        let names = text.split(',').filter(|name| !name.is_empty());
        names.map(|name| name.parse().map_err(D::Error::custom)).collect()
    }
}

impl Choice {
    fn takes(&self, row: &Row) -> bool {
        let says = |wanted: &String| {
            let wanted = wanted.to_lowercase();
            let wait = row.waits_for.as_ref().map(|reason| reason.to_lowercase());
            let failure = row.failure.as_ref().map(|failure| failed(failure).to_lowercase());
            [wait, failure].into_iter().flatten().any(|reason| reason.contains(&wanted))
        };
        (self.state.is_empty() || self.state.contains(&row.state))
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
                on_chain: None,
                active: None,
                expiration: None,
                waits_for: status.and_then(|status| status.waits_for.clone()),
                since: status.and_then(|status| status.since),
                failure: record.failure.clone(),
            }
        };
        let mut sectors: Vec<Row> = records.iter().map(row).filter(|row| choice.takes(row)).collect();
        sectors.sort_by_key(|row| row.number);
        let epoch_secs = last.and_then(|last| last.chain.epoch_secs);
        Self { format_version: FORMAT_VERSION, sectors, unreadable, head: None, unknown: None, epoch_secs }
    }

    /// The sectors that the chain is to be asked about.
    pub fn numbers(&self) -> BTreeSet<SectorNumber> {
        self.sectors.iter().map(|row| row.number).collect()
    }

    /// The list with what the chain says of its sectors, or why nobody knows that.
    #[must_use]
    pub fn with(mut self, found: Result<Standings, String>) -> Self {
        match found {
            Ok(Standings { head, expirations, active }) => {
                self.head = Some(head);
                for row in &mut self.sectors {
                    row.expiration = expirations.get(&row.number).copied();
                    row.on_chain = Some(row.expiration.is_some());
                    row.active = Some(active.contains(&row.number));
                }
            }
            Err(why) => self.unknown = Some(why),
        }
        self
    }

    /// The list as text.
    pub fn render(&self, now: UnixMillis, colour: Colour) -> String {
        let mut table = Table::new(&[
            ("sector", Side::Right),
            ("state", Side::Left),
            ("for", Side::Left),
            ("on chain", Side::Left),
            ("active", Side::Left),
            ("expiration", Side::Left),
            ("ticket", Side::Right),
            ("precommit", Side::Right),
            ("seed", Side::Right),
            ("activated", Side::Right),
            ("deals", Side::Left),
            ("waits for", Side::Left),
        ]);
        for row in &self.sectors {
            let Row { number, state, entered, ticket, precommit, seed, activation, waits_for, failure, .. } = row;
            let epochs = [ticket, precommit, seed, activation].map(|epoch| maybe(epoch.map(Epoch::as_i64)));
            let age = cell(words::about(now.ms_since(*entered)));
            let head = [cell(number), toned(state, text::tone_of(state.as_str())), age];
            let why = failure.as_ref().map(|f| toned(failed(f), Tone::Red));
            let chain = self.chain(row);
            // nothing else is sealed here: a sector has no deals
            let tail = [toned("CC", Tone::Blue), maybe(waits_for.as_ref())];
            table.row(head.into_iter().chain(chain).chain(epochs).chain(tail), why);
        }
        let mut out = if self.sectors.is_empty() { "no sectors\n".to_owned() } else { table.render(colour) };
        if let Some(why) = &self.unknown {
            let line = format!("on chain, active and expiration are not known: {why}");
            out.push_str(&format!("{}\n", colour.paint(Tone::Yellow, &line)));
        }
        for what in &self.unreadable {
            out.push_str(&format!("{}\n", colour.paint(Tone::Red, &format!("quarantined, cannot be read: {what}"))));
        }
        out
    }

    /// What only the chain knows; no column of it when it was not to be asked.
    fn chain(&self, row: &Row) -> [Cell; 3] {
        if self.head.is_none() && self.unknown.is_none() {
            return [cell(""), cell(""), cell("")];
        }
        let expiration = row.expiration.zip(self.head).map(|(at, head)| cell(moment(at, head, self.epoch_secs)));
        [yes_no(row.on_chain), yes_no(row.active), expiration.unwrap_or_else(|| toned("-", Tone::Dim))]
    }
}
