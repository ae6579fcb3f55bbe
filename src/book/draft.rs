//! A change in the making: events are applied to the records as they come, and open batches lose sectors that move on.

use super::{Book, Change, Took};
use crate::{
    outbox::{Batch, BatchState, MessageKind},
    sector::{Class, Event, Failure, MessageId, Record, policy::retry_at},
    units::{SectorNumber, UnixMillis},
};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug)]
pub struct Draft<'a> {
    book: &'a Book,
    change: Change,
    records: BTreeMap<SectorNumber, Record>,
    batches: BTreeMap<MessageId, Batch>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(book: &'a Book, now: UnixMillis) -> Self {
        let change = Change { at: now, ..Change::default() };
        Self { book, change, records: BTreeMap::new(), batches: BTreeMap::new() }
    }

    fn record(&self, number: SectorNumber) -> Option<&Record> {
        self.records.get(&number).or_else(|| self.book.records.get(&number))
    }

    /// Something happened to a sector. What does not belong to its state is noted; what is said of a number without a
    /// sector is nothing.
    pub fn event(&mut self, number: SectorNumber, event: Event) {
        let Some(record) = self.record(number) else { return };
        match record.apply(&event, self.change.at) {
            Ok(next) => {
                self.leave(&next);
                self.records.insert(number, next.clone());
                self.change.sectors.push((next, event));
            }
            Err(_) => self.change.notes.push((number, event)),
        }
    }

    /// Something that was told of a sector and is of an earlier attempt: kept in the history, it moves nothing.
    pub fn note(&mut self, number: SectorNumber, event: Event) {
        if self.record(number).is_some() {
            self.change.notes.push((number, event));
        }
    }

    /// The chain refuses a sector's part of a message of this kind.
    pub(super) fn refused(&mut self, number: SectorNumber, kind: MessageKind, why: &str) {
        let Some(record) = self.record(number) else { return };
        let retry_at = retry_at(record, Class::Chain, self.change.at);
        let doing = format!("simulating the {} message", kind.as_str().replace('_', "-"));
        let failure = Failure { class: Class::Chain, doing, error: why.to_owned() };
        let event = match kind {
            MessageKind::PreCommit => Event::ChainPreCommitFailed { failure, retry_at },
            MessageKind::Commit => Event::CommitFailed { failure, retry_at },
            MessageKind::Terminate => Event::TerminateFailed { failure, retry_at },
            // messages about no sector
            MessageKind::NewAccount
            | MessageKind::CreateMiner
            | MessageKind::ChangePeerId
            | MessageKind::ChangeMultiaddrs => return,
        };
        self.event(number, event);
    }

    /// A stage was finished.
    pub fn took(&mut self, took: Took) {
        self.change.durations.push(took);
    }

    /// A new sector; events of it may follow.
    pub fn create(&mut self, record: Record) {
        self.records.insert(record.number, record.clone());
        self.change.created.push(record);
    }

    /// A batch as it is from now on.
    pub(super) fn put(&mut self, batch: Batch) {
        self.batches.insert(batch.id.clone(), batch);
    }

    /// The batches as they are with this change.
    fn batches(&self) -> impl Iterator<Item = &Batch> {
        let known = self.book.batches.values().filter(|batch| !self.batches.contains_key(&batch.id));
        known.chain(self.batches.values())
    }

    /// Whether a batch of this kind that may still land has the sector.
    pub(super) fn has_live(&self, number: SectorNumber, kind: MessageKind) -> bool {
        self.batches().any(|batch| batch.kind == kind && batch.state.is_live() && batch.sectors.contains(&number))
    }

    /// A sector that no longer waits for a place in a message gives its place up.
    fn leave(&mut self, after: &Record) {
        let open = |batch: &&Batch| {
            matches!(batch.state, BatchState::Open { .. })
                && batch.sectors.contains(&after.number)
                && (batch.kind.collects() != Some(after.state)
                    || (batch.kind == MessageKind::Commit && after.porep.is_none()))
        };
        // sealed, and no node has seen it: it is not sent for a sector that does not wait for it any more
        let unsent = |batch: &&Batch| {
            let waits = after.current_message() == Some(&batch.id) && batch.kind.awaits() == Some(after.state);
            batch.state == BatchState::Sealed && batch.attempts == 0 && batch.sectors.contains(&after.number) && !waits
        };
        let of_it: Vec<Batch> = self.batches().filter(|batch| open(batch) || unsent(batch)).cloned().collect();
        for mut batch in of_it {
            if batch.state == BatchState::Sealed {
                batch.state = BatchState::Dissolved { why: format!("sector {} went another way", after.number) };
                self.put(batch);
                continue;
            }
            batch.sectors.retain(|number| *number != after.number);
            if batch.sectors.is_empty() {
                batch.state = BatchState::Dissolved { why: "its sectors went another way".to_owned() };
            }
            self.put(batch);
        }
    }

    /// The change.
    pub fn finish(self) -> Change {
        let Self { mut change, batches, .. } = self;
        change.batches = batches.into_values().collect();
        change
    }
}
