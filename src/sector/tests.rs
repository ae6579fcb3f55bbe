//! The whole machine, looked at from outside: every pair of the table, every answer of [`next`], every order of an
//! operator, random lives. Here is what the tests are made of.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names the answers it expects; every other one fails it")]

mod deadlines;
mod failures;
mod lives;
mod operator;
mod table;
mod today;
mod wishes;

use super::{Event as Ev, EventKind as E, State as S, *};
use crate::units::{AttoFil, Epoch, Hash32, SectorNumber, SectorSize, UnixMillis};
use std::collections::BTreeSet;

pub(crate) const NOW: UnixMillis = UnixMillis::new(1_000_000);
const HEAD: Epoch = Epoch::new(10_000);
pub(crate) const CHAIN: ChainNow =
    ChainNow { head: HEAD, finalized: Epoch::new(9_100), challenge_delay: 150, epoch_secs: 30, stale: false };
pub(crate) const POLICY: Policy = Policy {
    message_confidence: 5,
    seed_confidence: 2,
    ticket_max_age: 3_780,
    ticket_lookback: 900,
    margin: 100,
    to_precommit: None,
    attempts: 5,
};

fn failure() -> Failure {
    Failure { class: Class::Chain, doing: "testing".to_owned(), error: "it failed".to_owned() }
}

fn ticket(epoch: i64) -> Ticket {
    Ticket { epoch: Epoch::new(epoch), value: Hash32([1; 32]), read_at: Epoch::new(epoch + 900) }
}

fn seed(n: u8) -> Seed {
    Seed { epoch: Epoch::new(9_150), value: Hash32([n; 32]) }
}

fn sealed() -> Sealed {
    Sealed { comm_r: Hash32([2; 32]), comm_d: Hash32([3; 32]) }
}

fn landed() -> Landed {
    Landed { epoch: Epoch::new(9_000), deposit: AttoFil::from_atto(7) }
}

fn activation() -> Activation {
    Activation { epoch: Epoch::new(9_500), expiration: Epoch::new(2_000_000), pledge: AttoFil::from_atto(9) }
}

fn message() -> Option<MessageId> {
    Some(MessageId("m-1".to_owned()))
}

fn record(state: State) -> Record {
    let repo = "nvme0".parse().unwrap();
    let number = SectorNumber::try_from(7).unwrap();
    Record { state, ..Record::new(number, SectorSize::KiB2.seal_proof(), repo, NOW) }
}

/// One event of each kind.
pub(crate) fn event(kind: EventKind) -> Event {
    let (failure, retry_at) = (failure(), NOW);
    match kind {
        E::Packed => Ev::Packed,
        E::Imported => Ev::Imported { sealed: sealed(), activation: activation(), store: "hdd0".parse().unwrap() },
        E::PackingFailed => Ev::PackingFailed { failure },
        E::TicketDrawn => Ev::TicketDrawn { ticket: ticket(9_000) },
        E::TicketExpired => Ev::TicketExpired,
        E::PreCommit1Done => Ev::PreCommit1Done,
        E::PreCommit2Done => Ev::PreCommit2Done { sealed: sealed() },
        E::AttemptFailed => Ev::AttemptFailed { failure, retry_at },
        E::SealPreCommitFailed => Ev::SealPreCommitFailed { failure, retry_at },
        E::PreCommitted => Ev::PreCommitted { message: message() },
        E::PreCommitLanded => Ev::PreCommitLanded { landed: landed() },
        E::PreCommitReverted => Ev::PreCommitReverted,
        E::ChainPreCommitFailed => Ev::ChainPreCommitFailed { failure, retry_at },
        E::SeedReady => Ev::SeedReady { seed: seed(1) },
        E::ProofReady => Ev::ProofReady { porep: "aa".to_owned() },
        E::ComputeProofFailed => Ev::ComputeProofFailed { failure, retry_at },
        E::Committed => Ev::Committed { message: message() },
        E::CommitFailed => Ev::CommitFailed { failure, retry_at },
        E::Proving => Ev::Proving { activation: activation() },
        E::CommitReverted => Ev::CommitReverted,
        E::Finalized => Ev::Finalized { store: "hdd0".parse().unwrap() },
        E::RetrySeal => Ev::RetrySeal,
        E::RetryPreCommit => Ev::RetryPreCommit,
        E::RetryWaitSeed => Ev::RetryWaitSeed,
        E::RetryComputeProof => Ev::RetryComputeProof,
        E::RetryInvalidProof => Ev::RetryInvalidProof,
        E::RetrySubmitCommit => Ev::RetrySubmitCommit,
        E::RetryCommitWait => Ev::RetryCommitWait,
        E::Faulty => Ev::Faulty,
        E::FaultReported => Ev::FaultReported,
        E::Recovered => Ev::Recovered,
        E::FaultedFinal => Ev::FaultedFinal,
        E::GivenUp => Ev::GivenUp { failure },
        E::RetryAsked => Ev::RetryAsked,
        E::TerminateAsked => Ev::TerminateAsked,
        E::TerminateSent => Ev::TerminateSent { message: message() },
        E::Terminated => Ev::Terminated { epoch: HEAD },
        E::TerminateReverted => Ev::TerminateReverted,
        E::TerminateFailed => Ev::TerminateFailed { failure, retry_at },
        E::RemoveAsked => Ev::RemoveAsked,
        E::RemoveDone => Ev::RemoveDone,
        E::StateForced => Ev::StateForced { state: S::FailedUnrecoverable },
    }
}

// ── what a chain can show, and what a record can hold ──

/// Every chain one sector can meet: 3 × 3 × 5 × 3 × 8.
pub(crate) fn all_facts() -> Vec<Facts> {
    let on_chain = |comm_r: u8| OnChainPreCommit {
        epoch: landed().epoch,
        ticket_epoch: Epoch::new(8_000),
        comm_r: Hash32([comm_r; 32]),
        deposit: landed().deposit,
    };
    let sector = |faulty| OnChainSector { activation: activation(), faulty };
    let executed = |exit_code, height| MessageView::Landed { exit_code, own: true, height: Epoch::new(height) };
    let messages = [
        None,
        Some(MessageView::Intended { trouble: None }),
        Some(MessageView::Intended { trouble: Some("the node is away".to_owned()) }),
        Some(MessageView::Pushed),
        Some(executed(0, 9_998)),
        Some(executed(0, 9_000)),
        Some(executed(6, 9_000)),
        Some(MessageView::Refused { why: "no funds".to_owned() }),
    ];
    let mut all = Vec::new();
    for precommit in [None, Some(on_chain(2)), Some(on_chain(99))] {
        for sector in [None, Some(sector(false)), Some(sector(true))] {
            let drawn = |value| Some((Epoch::new(8_000), value));
            let (same, changed) = (drawn(ticket(8_000).value), drawn(Hash32([99; 32])));
            for (allocated, ticket) in [(false, None), (false, same), (false, changed), (true, None), (true, changed)] {
                for seed in [None, Some(seed(1)), Some(seed(2))] {
                    all.extend(messages.iter().map(|message| Facts {
                        precommit: precommit.clone(),
                        sector: sector.clone(),
                        allocated,
                        ticket,
                        seed: seed.clone(),
                        message: message.clone(),
                    }));
                }
            }
        }
    }
    all
}

/// Records of a state with each part there or not, sensible or not: 2 × 2 × 3 × 2 × 2.
fn all_records(state: State) -> Vec<Record> {
    let mut all = Vec::new();
    for ticket in [None, Some(ticket(8_000)), Some(ticket(5_000))] {
        for sealed in [None, Some(sealed())] {
            for landed in [None, Some(None), Some(Some(landed()))] {
                for seed in [None, Some(seed(1))] {
                    for porep in [None, Some("aa".to_owned())] {
                        all.push(Record {
                            ticket: ticket.clone(),
                            sealed: sealed.clone(),
                            precommit: landed.clone().map(|landed| PreCommit { message: message(), landed }),
                            seed: seed.clone(),
                            porep,
                            activation: Some(activation()),
                            ..record(state)
                        });
                    }
                }
            }
        }
    }
    all
}

/// Nothing is silently stuck: work, a step, a wait that ends, or the end of the sector's life.
fn assert_awake(record: &Record, facts: Option<&Facts>, answer: &Next) {
    let state = record.state;
    match answer {
        Next::Rest => assert!(state.is_final(), "{state} rests: {record:#?} {facts:#?}"),
        Next::Record(event) => {
            record.apply(event, NOW).unwrap_or_else(|refused| panic!("{refused}: {record:#?} {facts:#?}"));
        }
        Next::Wait(Wait { reason, until }) => {
            assert!(!reason.is_empty());
            match until {
                WakeUp::At(epoch) => assert!(*epoch > HEAD, "{state}: {epoch} is over"),
                WakeUp::Time(at) => assert!(*at > NOW),
                WakeUp::Operator => assert!(reason.starts_with("an operator: "), "{reason}"),
                WakeUp::NextHead | WakeUp::Funds => {}
            }
        }
        Next::DrawTicket | Next::Work(_) | Next::SubmitPreCommit | Next::SubmitCommit | Next::SubmitTerminate => {
            assert!(!state.is_final(), "{state} wants {answer:?}");
        }
    }
}
