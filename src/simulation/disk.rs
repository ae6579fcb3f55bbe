//! The database: its rules without its engine. What the real one refuses, this refuses, and then the run has failed.

use crate::{
    book::{Book, Change},
    outbox::{Batch, BatchState},
    sector::{Event, MessageId, Record},
    store::HistoryEntry,
    units::SectorNumber,
};
use std::collections::BTreeMap;

/// What survives a crash, the files of the sectors apart.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub records: BTreeMap<SectorNumber, Record>,
    pub births: BTreeMap<SectorNumber, Record>,
    pub events: BTreeMap<SectorNumber, Vec<HistoryEntry>>,
    pub batches: BTreeMap<MessageId, Batch>,
}

impl Disk {
    /// Records all of a change or nothing of it.
    ///
    /// # Errors
    /// What the database would have refused.
    pub fn commit(&mut self, change: &Change) -> Result<(), String> {
        let Change { created, sectors, notes, batches, durations: _, at } = change;
        let mut new: BTreeMap<SectorNumber, Record> = BTreeMap::new();
        let mut entries: Vec<(SectorNumber, HistoryEntry)> = Vec::new();
        let entry = |event: &Event, applied| HistoryEntry { at: *at, event: event.clone(), applied };
        for record in created {
            if self.records.contains_key(&record.number) || new.insert(record.number, record.clone()).is_some() {
                return Err(format!("sector number {} was used before", record.number));
            }
        }
        let mut ordered: Vec<_> = sectors.iter().collect();
        ordered.sort_by_key(|(record, _)| record.number);
        for (record, event) in ordered {
            let number = record.number;
            let known = new.get(&number).or_else(|| self.records.get(&number));
            if known.map(|known| known.version + 1) != Some(record.version) {
                return Err(format!("sector {number} is not at the version before {}", record.version));
            }
            new.insert(number, record.clone());
            entries.push((number, entry(event, true)));
        }
        for (number, event) in notes {
            if !new.contains_key(number) && !self.records.contains_key(number) {
                return Err(format!("there is no sector {number}"));
            }
            entries.push((*number, entry(event, false)));
        }
        self.check(batches, &new)?;
        for record in created {
            self.births.insert(record.number, record.clone());
        }
        self.records.extend(new);
        for (number, entry) in entries {
            self.events.entry(number).or_default().push(entry);
        }
        self.batches.extend(batches.iter().map(|batch| (batch.id.clone(), batch.clone())));
        Ok(())
    }

    fn check(&self, batches: &[Batch], new: &BTreeMap<SectorNumber, Record>) -> Result<(), String> {
        for batch in batches {
            let known = self.batches.get(&batch.id);
            if let Some(known) = known.filter(|known| !known.state.may_become(&batch.state)) {
                return Err(format!("batch {} goes from {:?} to {:?}", batch.id.0, known.state, batch.state));
            }
        }
        let after = |id: &MessageId| batches.iter().rev().find(|batch| batch.id == *id);
        for batch in batches {
            for number in &batch.sectors {
                if !new.contains_key(number) && !self.records.contains_key(number) {
                    return Err(format!("batch {} names sector {number}, which is none", batch.id.0));
                }
                if batch.sectors.iter().filter(|other| *other == number).count() > 1 {
                    return Err(format!("batch {} names sector {number} twice", batch.id.0));
                }
            }
            if !batch.state.is_live() {
                continue;
            }
            let others = self.batches.values().filter(|other| after(&other.id).is_none()).chain(batches);
            let mut others = others.filter(|other| other.id != batch.id && other.kind == batch.kind);
            let shares = |other: &Batch| other.sectors.iter().any(|number| batch.sectors.contains(number));
            if let Some(other) = others.find(|other| other.state.is_live() && shares(other)) {
                return Err(format!("a sector of batch {} is in the live batch {}", batch.id.0, other.id.0));
            }
        }
        Ok(())
    }

    /// What the daemon reads when it starts: the batches that matter still.
    pub fn book(&self) -> Book {
        let on_its_way = |number: &SectorNumber| self.records.get(number).is_some_and(|r| !r.state.is_final());
        let landed = |batch: &Batch| matches!(batch.state, BatchState::Landed(_));
        let matters = |batch: &&Batch| batch.state.is_live() || landed(batch) || batch.sectors.iter().any(on_its_way);
        Book::of(self.records.values().cloned().collect(), self.batches.values().filter(matters).cloned().collect())
    }

    /// Whether the history of a sector makes its record again.
    ///
    /// # Errors
    /// The first difference.
    pub fn replay(&self, number: SectorNumber) -> Result<(), String> {
        let mut record = self.births[&number].clone();
        for HistoryEntry { at, event, applied } in self.events.get(&number).into_iter().flatten() {
            match (record.apply(event, *at), applied) {
                (Ok(next), true) => record = next,
                (Err(_), false) => {}
                // a late result may fit the state: it says nothing of this attempt
                (Ok(_), false) => {}
                (Err(refused), true) => return Err(format!("sector {number}: {refused}")),
            }
        }
        (record == self.records[&number]).then_some(()).ok_or_else(|| format!("sector {number} is not its history"))
    }
}
