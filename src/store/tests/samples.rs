//! Sectors, events and messages to test with.

use crate::{
    outbox::{Batch, BatchState, Executed, Message, MessageKind, Sent},
    sector::{Activation, Class, Event, EventKind, Failure, Landed, MessageId, Record, Sealed, Seed, Ticket},
    store::{Change, Store, StoreError},
    units::{AttoFil, Epoch, Hash32, SectorNumber, SectorSize, UnixMillis},
};

pub(super) const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

pub(super) fn number(n: u64) -> SectorNumber {
    n.try_into().unwrap()
}

pub(super) fn sector(n: u64) -> Record {
    Record::new(number(n), SectorSize::KiB2.seal_proof(), "nvme0".parse().unwrap(), NOW)
}

pub(super) async fn created(store: &Store, n: u64) -> Record {
    let record = sector(n);
    create(store, std::slice::from_ref(&record)).await.unwrap();
    record
}

pub(super) async fn create(store: &Store, records: &[Record]) -> Result<(), StoreError> {
    store.commit(&Change { created: records.to_vec(), ..Change::default() }).await
}

pub(super) async fn note(store: &Store, number: SectorNumber, event: &Event, at: UnixMillis) -> Result<(), StoreError> {
    store.commit(&Change { notes: vec![(number, event.clone())], at, ..Change::default() }).await
}

/// A change of one sector by one event, and the record after it.
pub(super) fn change(record: &Record, event: &Event) -> (Record, Change) {
    let after = record.apply(event, NOW).unwrap();
    (after.clone(), Change { sectors: vec![(after, event.clone())], at: NOW, ..Change::default() })
}

/// The event of a kind, its payload varied by `n`.
pub(super) fn event(kind: EventKind, n: u8) -> Event {
    let hash = Hash32([n; 32]);
    let epoch = Epoch::new(i64::from(n) - 100);
    let failure =
        Failure { class: Class::Resource, doing: format!("step {n}"), error: "a \"quoted\" 'cause' ✗".into() };
    let retry_at = NOW.plus_ms(i64::from(n));
    let message = n.is_multiple_of(2).then(|| MessageId(format!("message-{n}")));
    match kind {
        EventKind::Packed => Event::Packed,
        EventKind::PackingFailed => Event::PackingFailed { failure },
        EventKind::TicketDrawn => {
            Event::TicketDrawn { ticket: Ticket { epoch, value: hash, read_at: epoch.plus(900) } }
        }
        EventKind::TicketExpired => Event::TicketExpired,
        EventKind::PreCommit1Done => Event::PreCommit1Done,
        EventKind::PreCommit2Done => Event::PreCommit2Done { sealed: Sealed { comm_r: hash, comm_d: hash } },
        EventKind::AttemptFailed => Event::AttemptFailed { failure, retry_at },
        EventKind::SealPreCommitFailed => Event::SealPreCommitFailed { failure, retry_at },
        EventKind::PreCommitted => Event::PreCommitted { message },
        EventKind::PreCommitLanded => {
            Event::PreCommitLanded { landed: Landed { epoch, deposit: AttoFil::from_atto(i128::MAX) } }
        }
        EventKind::PreCommitReverted => Event::PreCommitReverted,
        EventKind::ChainPreCommitFailed => Event::ChainPreCommitFailed { failure, retry_at },
        EventKind::SeedReady => Event::SeedReady { seed: Seed { epoch, value: hash } },
        EventKind::ProofReady => Event::ProofReady { porep: hash.to_string() },
        EventKind::ComputeProofFailed => Event::ComputeProofFailed { failure, retry_at },
        EventKind::Committed => Event::Committed { message },
        EventKind::CommitFailed => Event::CommitFailed { failure, retry_at },
        EventKind::Proving => {
            let activation = Activation { epoch, expiration: epoch.plus(1_000_000), pledge: AttoFil::from_atto(1) };
            Event::Proving { activation }
        }
        EventKind::CommitReverted => Event::CommitReverted,
        EventKind::Finalized => Event::Finalized { store: "hdd0".parse().unwrap() },
        EventKind::Imported => {
            let activation = Activation { epoch, expiration: epoch.plus(1), pledge: AttoFil::from_atto(1) };
            let sealed = Sealed { comm_r: hash, comm_d: hash };
            Event::Imported { sealed, activation, store: "hdd0".parse().unwrap() }
        }
        EventKind::RetrySeal => Event::RetrySeal,
        EventKind::RetryPreCommit => Event::RetryPreCommit,
        EventKind::RetryWaitSeed => Event::RetryWaitSeed,
        EventKind::RetryComputeProof => Event::RetryComputeProof,
        EventKind::RetryInvalidProof => Event::RetryInvalidProof,
        EventKind::RetrySubmitCommit => Event::RetrySubmitCommit,
        EventKind::RetryCommitWait => Event::RetryCommitWait,
        EventKind::Faulty => Event::Faulty,
        EventKind::FaultReported => Event::FaultReported,
        EventKind::Recovered => Event::Recovered,
        EventKind::FaultedFinal => Event::FaultedFinal,
        EventKind::GivenUp => Event::GivenUp { failure },
        EventKind::RetryAsked => Event::RetryAsked,
        EventKind::TerminateAsked => Event::TerminateAsked,
        EventKind::TerminateSent => Event::TerminateSent { message },
        EventKind::Terminated => Event::Terminated { epoch },
        EventKind::TerminateReverted => Event::TerminateReverted,
        EventKind::TerminateFailed => Event::TerminateFailed { failure, retry_at },
        EventKind::RemoveAsked => Event::RemoveAsked,
        EventKind::RemoveDone => Event::RemoveDone,
        EventKind::StateForced => Event::StateForced { state: crate::sector::State::PackingFailed },
    }
}

pub(super) fn id(text: &str) -> MessageId {
    MessageId(text.to_owned())
}

/// A sealed batch; its parameters hold every byte value.
pub(super) fn sealed(name: &str, kind: MessageKind, sectors: &[u64]) -> Batch {
    let message = Message {
        from: "t3worker".into(),
        to: "t01000".into(),
        value: AttoFil::from_atto(170_141_183_460_469_231_731_687_303_715_884_105_727),
        method: 28,
        params: (0..=255).collect(),
    };
    let mut batch = Batch::open(id(name), kind, sectors.iter().copied().map(number).collect(), NOW);
    (batch.state, batch.message) = (BatchState::Sealed, Some(message));
    batch
}

/// The batch, taken by a node.
pub(super) fn sent(batch: &Batch, nonce: u64) -> Batch {
    let sent = Sent {
        cid: format!("bafy{nonce}"),
        nonce,
        gas: Default::default(),
        signed: Some(serde_json::json!({ "Message": {} })),
        replaced: vec!["bafyold".into()],
        at: Epoch::new(8),
    };
    Batch { state: BatchState::Sent, sent: Some(sent), attempts: 1, ..batch.clone() }
}

/// The batch, executed.
pub(super) fn landed(batch: &Batch, height: i64) -> Batch {
    let cid = format!("bafy{height}");
    let executed = Executed { cid, exit_code: 0, value: vec![0x80], height: Epoch::new(height) };
    Batch { state: BatchState::Landed(executed), ..batch.clone() }
}

/// The batch, executed for good.
pub(super) fn settled(batch: &Batch, height: i64) -> Batch {
    let landed = landed(batch, height);
    let BatchState::Landed(executed) = landed.state else { unreachable!() };
    Batch { state: BatchState::Settled(executed), ..batch.clone() }
}

/// The batch, given up.
pub(super) fn dissolved(batch: &Batch) -> Batch {
    Batch { state: BatchState::Dissolved { why: "not enough funds".into() }, ..batch.clone() }
}
