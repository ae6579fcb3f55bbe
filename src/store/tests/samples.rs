//! Sectors, events and messages to test with.

use crate::{
    chain::{Executed, Message, Pushed},
    sector::{Activation, Class, Event, EventKind, Failure, Landed, MessageId, Record, Sealed, Seed, Ticket},
    store::{Change, MessageKind, MessageStatus, OutboxMessage, Store},
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
    store.create(std::slice::from_ref(&record)).await.unwrap();
    record
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

/// A fresh message; its parameters hold every byte value.
pub(super) fn message(name: &str, kind: MessageKind, sectors: &[u64]) -> OutboxMessage {
    OutboxMessage {
        id: id(name),
        kind,
        sectors: sectors.iter().copied().map(number).collect(),
        message: Message {
            from: "t3worker".into(),
            to: "t01000".into(),
            value: AttoFil::from_atto(170_141_183_460_469_231_731_687_303_715_884_105_727),
            method: 28,
            params: (0..=255).collect(),
        },
        created: NOW,
        status: MessageStatus::Intended,
        attempts: 0,
    }
}

pub(super) fn pushed(nonce: u64) -> MessageStatus {
    MessageStatus::Pushed(Pushed { cid: format!("bafy{nonce}"), nonce })
}

pub(super) fn landed(height: i64) -> MessageStatus {
    let cid = format!("bafy{height}");
    MessageStatus::Landed(Executed { cid, exit_code: 0, value: vec![0x80], height: Epoch::new(height) })
}

pub(super) fn refused() -> MessageStatus {
    MessageStatus::Refused { why: "not enough funds".into() }
}
