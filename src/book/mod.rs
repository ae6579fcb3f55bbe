//! What is known of sectors and batches, and how it changes.
//!
//! Pure: an input comes in, a [`Change`] comes out, the database commits it, and only then does the book follow
//! ([`Book::committed`]). So a crash between any two lines leaves the database as the truth, and the book that is read
//! from it goes on from there.

mod draft;
#[cfg(test)]
mod tests;

pub use crate::outbox::OVERTAKEN;
pub use draft::Draft;

use crate::{
    chain::messages::decode_batch_return,
    outbox::{Aggregate, Batch, BatchState, Fate, Message, MessageKind, Sent},
    sector::{Event, Facts, MessageId, MessageView, Record, Stage, State},
    units::{Bytes, Epoch, Hash32, SectorNumber, SectorSize, UnixMillis},
};
use std::collections::{BTreeMap, BTreeSet};

/// What a stage took, for estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// The stage.
    pub stage: Stage,
    /// Of a sector of this size.
    pub size: SectorSize,
    /// Milliseconds.
    pub ms: u64,
    /// The most memory, when it was measured.
    pub peak: Option<Bytes>,
}

/// What is to be committed, all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// New sectors.
    pub created: Vec<Record>,
    /// The record after an event (its `version` is the old one plus one), and the event; in order.
    pub sectors: Vec<(Record, Event)>,
    /// Events that met the wrong state: kept in the history, nothing moves.
    pub notes: Vec<(SectorNumber, Event)>,
    /// Batches as they are from now on.
    pub batches: Vec<Batch>,
    /// Finished stages.
    pub durations: Vec<Took>,
    /// When.
    pub at: UnixMillis,
}

impl Change {
    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        let Self { created, sectors, notes, batches, durations, at: _ } = self;
        created.is_empty() && sectors.is_empty() && notes.is_empty() && batches.is_empty() && durations.is_empty()
    }
}

/// What became of handing over a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    /// The node has it.
    Taken(Sent),
    /// The node's simulation refused it; it was not sent.
    Refused(String),
    /// It may or may not have arrived; handing it over again with the same id is safe.
    Unclear(String),
}

/// A message made for sectors of an open batch, and simulated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Composed {
    /// The sectors in it, in the order of its parameters, and the message; `None` when no sector was fit for one.
    pub message: Option<(Vec<SectorNumber>, Message)>,
    /// Sectors whose part of it the chain refuses, and its words.
    pub refused: Vec<(SectorNumber, String)>,
}

/// Everything the daemon knows of sectors and batches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Book {
    /// Sectors.
    pub records: BTreeMap<SectorNumber, Record>,
    /// Batches that matter still.
    pub batches: BTreeMap<MessageId, Batch>,
    /// Messages that a node took and does not know any more, and since when.
    pub gone: BTreeMap<MessageId, Epoch>,
}

impl Book {
    /// The book of what a database holds.
    pub fn of(records: Vec<Record>, batches: Vec<Batch>) -> Self {
        Self {
            records: records.into_iter().map(|record| (record.number, record)).collect(),
            batches: batches.into_iter().map(|batch| (batch.id.clone(), batch)).collect(),
            gone: BTreeMap::new(),
        }
    }

    /// A change of nothing, to be added to.
    pub fn draft(&self, now: UnixMillis) -> Draft<'_> {
        Draft::new(self, now)
    }

    /// Follows a change that was committed.
    pub fn committed(&mut self, change: Change) {
        let Change { created, sectors, notes: _, batches, durations: _, at: _ } = change;
        self.records.extend(created.into_iter().map(|record| (record.number, record)));
        self.records.extend(sectors.into_iter().map(|(record, _)| (record.number, record)));
        for batch in batches {
            // handed over again, or ended: what was known of it is of before
            self.gone.remove(&batch.id);
            self.batches.insert(batch.id.clone(), batch);
        }
    }

    /// The live batch of this kind that a sector is in.
    pub fn batch_of(&self, number: SectorNumber, kind: MessageKind) -> Option<&Batch> {
        self.batches
            .values()
            .find(|batch| batch.kind == kind && batch.state.is_live() && batch.sectors.contains(&number))
    }

    /// Puts sectors into an open batch, or opens one for them under `new`.
    pub fn join(
        &self,
        kind: MessageKind,
        into: Option<&MessageId>,
        sectors: &[SectorNumber],
        new: MessageId,
        now: UnixMillis,
    ) -> Change {
        let mut draft = self.draft(now);
        let known = into.and_then(|id| self.batches.get(id)).filter(|b| matches!(b.state, BatchState::Open { .. }));
        let mut batch = known.cloned().unwrap_or_else(|| Batch::open(new, kind, Vec::new(), now));
        for number in sectors {
            let waits = self.records.get(number).is_some_and(|r| Some(r.state) == kind.collects());
            if waits && self.batch_of(*number, kind).is_none() {
                batch.sectors.push(*number);
            }
        }
        if !batch.sectors.is_empty() {
            draft.put(batch);
        }
        draft.finish()
    }

    /// A message was composed for an open batch. It is sealed with the sectors that are in the message, which wait for
    /// it from now on; those that the chain refuses leave it with the chain's words; the others open `rest`.
    ///
    /// When one of the sectors in the message has moved on meanwhile, nothing changes: it is composed again without it.
    pub fn seal(&self, id: &MessageId, composed: Composed, rest: MessageId, now: UnixMillis) -> Change {
        let mut draft = self.draft(now);
        let Some(batch) = self.batches.get(id).filter(|b| matches!(b.state, BatchState::Open { .. })) else {
            return draft.finish();
        };
        let waits = |number: &SectorNumber| {
            batch.sectors.contains(number)
                && self.records.get(number).is_some_and(|r| Some(r.state) == batch.kind.collects())
        };
        let Composed { message, refused } = composed;
        let members = message.as_ref().map(|(members, _)| members.clone()).unwrap_or_default();
        if !members.iter().all(waits) {
            return draft.finish();
        }
        let out: BTreeSet<_> = members.iter().chain(refused.iter().map(|(number, _)| number)).copied().collect();
        let left: Vec<_> = batch.sectors.iter().filter(|number| !out.contains(number)).copied().collect();
        let mut sealed = batch.clone();
        sealed.sectors = members.clone();
        match message {
            Some((_, message)) => {
                (sealed.state, sealed.message) = (BatchState::Sealed, Some(message));
                draft.put(sealed);
                if !left.is_empty() {
                    draft.put(Batch::open(rest, batch.kind, left, batch.created));
                }
            }
            None if left.is_empty() => {
                sealed.state = BatchState::Dissolved { why: "the chain would refuse each of its sectors".to_owned() };
                draft.put(sealed);
            }
            None => {
                sealed.sectors = left;
                sealed.state = BatchState::OPEN;
                draft.put(sealed);
            }
        }
        for number in members {
            if let Some(event) = joined(batch.kind, id.clone()) {
                draft.event(number, event);
            }
        }
        for (number, why) in refused.into_iter().filter(|(number, _)| waits(number)) {
            draft.refused(number, batch.kind, &why);
        }
        draft.finish()
    }

    /// A message about no sector, whole from the beginning: a row first, to be handed over like any other. Nothing while
    /// another of its kind may land.
    pub fn announce(&self, new: MessageId, kind: MessageKind, message: Message, now: UnixMillis) -> Change {
        let mut draft = self.draft(now);
        if !self.batches.values().any(|batch| batch.kind == kind && batch.state.is_live()) {
            let open = Batch::open(new, kind, Vec::new(), now);
            draft.put(Batch { state: BatchState::Sealed, message: Some(message), ..open });
        }
        draft.finish()
    }

    /// The newest message of a kind.
    pub fn newest(&self, kind: MessageKind) -> Option<&Batch> {
        let of_kind = self.batches.values().filter(|batch| batch.kind == kind);
        of_kind.max_by_key(|batch| (batch.created, &batch.id))
    }

    /// The proofs of these sectors as one, or why there is none.
    pub fn aggregated(&self, id: &MessageId, aggregate: Aggregate, now: UnixMillis) -> Change {
        let mut draft = self.draft(now);
        if let Some(batch) = self.batches.get(id).filter(|b| matches!(b.state, BatchState::Open { .. })) {
            let state = BatchState::Open { aggregate: Some(aggregate) };
            draft.put(Batch { state, ..batch.clone() });
        }
        draft.finish()
    }

    /// The aggregate of exactly these sectors and their proofs, when it was made.
    pub fn aggregate_of(&self, id: &MessageId, sectors: &[SectorNumber]) -> Option<&Result<String, String>> {
        let Some(BatchState::Open { aggregate: Some(Aggregate { of, proof }) }) =
            self.batches.get(id).map(|b| &b.state)
        else {
            return None;
        };
        let now = self.proofs_of(sectors)?;
        (*of == now).then_some(proof)
    }

    /// The sectors, ascending, whose proofs were tried to be made one as they are now.
    pub fn aggregated_sectors(&self, id: &MessageId) -> Option<Vec<SectorNumber>> {
        let BatchState::Open { aggregate: Some(Aggregate { of, .. }) } = &self.batches.get(id)?.state else {
            return None;
        };
        let sectors: Vec<_> = of.iter().map(|(number, _)| *number).collect();
        self.aggregate_of(id, &sectors).map(|_| sectors)
    }

    /// Sectors with the seeds that their proofs answer, ascending; `None` when one has no proof.
    pub fn proofs_of(&self, sectors: &[SectorNumber]) -> Option<Vec<(SectorNumber, Hash32)>> {
        let one = |number: &SectorNumber| {
            let record = self.records.get(number).filter(|record| record.porep.is_some())?;
            Some((*number, record.seed.as_ref()?.value))
        };
        let mut proofs: Vec<_> = sectors.iter().map(one).collect::<Option<_>>()?;
        proofs.sort_unstable();
        Some(proofs)
    }

    /// A message is about to be handed over: recorded first, so that a crash asks before it sends again.
    pub fn handing(&self, id: &MessageId, now: UnixMillis) -> Change {
        let mut draft = self.draft(now);
        if let Some(batch) = self.batches.get(id) {
            draft.put(Batch { attempts: batch.attempts.saturating_add(1), ..batch.clone() });
        }
        draft.finish()
    }

    /// What became of handing over a message.
    pub fn handed(&self, id: &MessageId, result: Handed, now: UnixMillis) -> Change {
        let mut draft = self.draft(now);
        let Some(batch) = self.batches.get(id) else { return draft.finish() };
        match (&batch.state, result) {
            (BatchState::Sealed | BatchState::Sent, Handed::Taken(sent)) => {
                draft.put(Batch { state: BatchState::Sent, sent: Some(sent), ..batch.clone() });
            }
            // taken back by a reorganisation, forgotten, and handed over again
            (BatchState::Landed(_), Handed::Taken(sent)) => draft.put(Batch { sent: Some(sent), ..batch.clone() }),
            (BatchState::Sealed, Handed::Refused(why)) => {
                draft.put(Batch { state: BatchState::Dissolved { why }, ..batch.clone() });
            }
            // it landed, or was given up, while it was handed over; or a replacement was not taken: the first one counts
            (
                BatchState::Open { .. }
                | BatchState::Sealed
                | BatchState::Sent
                | BatchState::Landed(_)
                | BatchState::Settled(_)
                | BatchState::Dissolved { .. },
                Handed::Taken(_) | Handed::Refused(_) | Handed::Unclear(_),
            ) => {}
        }
        draft.finish()
    }

    /// What a head says of messages. `confidence` is how many epochs a message must be gone to be gone.
    pub fn seen(
        &mut self,
        head: Epoch,
        finalized: Epoch,
        fates: &BTreeMap<MessageId, Fate>,
        confidence: i64,
        now: UnixMillis,
    ) -> Change {
        let gone = std::mem::take(&mut self.gone);
        let mut still = BTreeMap::new();
        let mut draft = self.draft(now);
        let mut unlanded = Vec::new();
        for (id, fate) in fates {
            let Some(batch) = self.batches.get(id) else { continue };
            let since = gone.get(id).copied().unwrap_or(head);
            let to = |state: BatchState| Batch { state, ..batch.clone() };
            match (&batch.state, fate) {
                (BatchState::Sealed | BatchState::Sent, Fate::Executed(executed)) => {
                    draft.put(to(BatchState::Landed(executed.clone())));
                }
                (BatchState::Landed(known), Fate::Executed(executed)) if known != executed => {
                    draft.put(to(BatchState::Landed(executed.clone())));
                }
                (BatchState::Landed(known), Fate::Executed(_)) if known.height <= finalized => {
                    draft.put(to(BatchState::Settled(known.clone())));
                }
                (BatchState::Landed(_), Fate::Waiting | Fate::Forgotten | Fate::Overtaken) => {
                    unlanded.push((batch, fate));
                }
                (BatchState::Sent, Fate::Forgotten) => {
                    still.insert(id.clone(), since);
                }
                (BatchState::Sent, Fate::Overtaken) if head.since(since) >= confidence => {
                    draft.put(to(BatchState::Dissolved { why: OVERTAKEN.to_owned() }));
                }
                (BatchState::Sent, Fate::Overtaken) => {
                    still.insert(id.clone(), since);
                }
                (
                    BatchState::Open { .. }
                    | BatchState::Sealed
                    | BatchState::Sent
                    | BatchState::Landed(_)
                    | BatchState::Settled(_)
                    | BatchState::Dissolved { .. },
                    Fate::Waiting | Fate::Executed(_) | Fate::Forgotten | Fate::Overtaken,
                ) => {}
            }
        }
        // one reorganisation may take back a message and its successor: only the newest can be live for their sectors. The
        // other is looked after all the same, as no later nonce executes before its own
        unlanded.sort_by_key(|(batch, _)| std::cmp::Reverse((batch.created, &batch.id)));
        for (batch, fate) in unlanded {
            if batch.sectors.iter().all(|number| !draft.has_live(*number, batch.kind)) {
                draft.put(Batch { state: batch.unlanded(), ..batch.clone() });
            } else if *fate == Fate::Forgotten {
                still.insert(batch.id.clone(), gone.get(&batch.id).copied().unwrap_or(head));
            }
        }
        let change = draft.finish();
        self.gone = still;
        change
    }

    /// The batch a sector is waiting for, or waited for last.
    pub fn message_of(&self, record: &Record) -> Option<&Batch> {
        self.batches.get(record.current_message()?)
    }

    /// What the chain says of a sector, with what the outbox says of its message. `trouble` is why the message could
    /// not be handed over.
    pub fn facts(
        &self,
        record: &Record,
        read: &BTreeMap<SectorNumber, Facts>,
        fates: &BTreeMap<MessageId, Fate>,
        trouble: impl Fn(&MessageId) -> Option<String>,
    ) -> Option<Facts> {
        let mut facts = read.get(&record.number)?.clone();
        let batch = self.message_of(record);
        // that it landed may be news of another head, and a reorganisation has taken it back since
        let awaited = matches!(record.state, State::WaitSeed | State::CommitWait | State::Terminating);
        let landed = batch.filter(|batch| awaited && matches!(batch.state, BatchState::Landed(_)));
        if landed.is_some_and(|batch| !fates.contains_key(&batch.id)) {
            return None;
        }
        facts.message = batch.map(|batch| match (&batch.state, fates.get(&batch.id)) {
            // a reorganisation took it back while one of its sectors has a newer one: for the others it may land again
            (BatchState::Landed(_), Some(Fate::Waiting | Fate::Forgotten)) => MessageView::Pushed,
            _ => view(batch, record.number, trouble(&batch.id)),
        });
        Some(facts)
    }
}

/// What it means for a sector to be in a message; nothing for a message about no sector.
fn joined(kind: MessageKind, id: MessageId) -> Option<Event> {
    let message = Some(id);
    match kind {
        MessageKind::PreCommit => Some(Event::PreCommitted { message }),
        MessageKind::Commit => Some(Event::Committed { message }),
        MessageKind::Terminate => Some(Event::TerminateSent { message }),
        MessageKind::NewAccount
        | MessageKind::CreateMiner
        | MessageKind::ChangePeerId
        | MessageKind::ChangeMultiaddrs => None,
    }
}

fn view(batch: &Batch, number: SectorNumber, trouble: Option<String>) -> MessageView {
    match &batch.state {
        BatchState::Open { .. } | BatchState::Sealed => MessageView::Intended { trouble },
        BatchState::Sent => MessageView::Pushed,
        BatchState::Dissolved { why } => MessageView::Refused { why: why.clone() },
        BatchState::Landed(executed) | BatchState::Settled(executed) => {
            // exit code 0 of a batch says nothing of one sector: its own code is in the return value
            let codes = decode_batch_return(&executed.value, batch.sectors.len()).ok();
            let own = batch.sectors.iter().position(|n| *n == number).and_then(|at| codes?.get(at).copied());
            let exit_code = if executed.exit_code == 0 { own.unwrap_or(0) } else { executed.exit_code };
            let own = (executed.exit_code == 0 && own.is_some()) || batch.sectors.len() == 1;
            MessageView::Landed { exit_code, own, height: executed.height }
        }
    }
}
