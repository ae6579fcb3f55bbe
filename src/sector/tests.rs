//! The whole machine, looked at from outside: every pair of the table, every answer of [`next`], random lives.

use super::{Event as Ev, EventKind as E, State as S, *};
use crate::units::{AttoFil, Epoch, Hash32, SectorNumber, SectorSize, UnixMillis};
use proptest::prelude::*;
use std::collections::BTreeSet;

pub(crate) const NOW: UnixMillis = UnixMillis::new(1_000_000);
const HEAD: Epoch = Epoch::new(10_000);
pub(crate) const CHAIN: ChainNow = ChainNow { head: HEAD, finalized: Epoch::new(9_100), challenge_delay: 150 };
pub(crate) const POLICY: Policy =
    Policy { message_confidence: 5, seed_confidence: 2, ticket_max_age: 3_780, attempts: 5 };

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
    }
}

// ── the table ──

/// `UPDATE_EXPECT=1` writes the file anew; the difference is then a matter for review.
#[test]
fn every_pair_is_decided() {
    let mut found = String::new();
    for state in S::ALL {
        for kind in E::ALL {
            let answer = match record(*state).apply(&event(*kind), NOW) {
                Ok(next) => next.state.to_string(),
                Err(refused) => {
                    assert_eq!(refused, Refused { state: *state, event: *kind });
                    "refused".to_owned()
                }
            };
            found.push_str(&format!("{state} {} {answer}\n", kind.as_str()));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sector/table.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let changed = found.lines().filter(|line| !expected.lines().any(|known| known == *line)).collect::<Vec<_>>();
    assert!(found == expected, "src/sector/table.txt is stale; UPDATE_EXPECT=1 rewrites it. Changed: {changed:#?}");
}

#[test]
fn no_pair_is_listed_twice() {
    let pairs: BTreeSet<_> = EDGES.iter().map(|(from, kind, _)| (*from, *kind)).collect();
    assert_eq!(pairs.len(), EDGES.len());
}

#[test]
fn every_state_is_reachable_and_every_event_is_used() {
    let mut reached = BTreeSet::from([S::Packing]);
    for _ in S::ALL {
        reached.extend(
            EDGES.iter().filter(|(from, _, _)| reached.contains(from)).map(|(_, _, to)| *to).collect::<Vec<_>>(),
        );
    }
    assert_eq!(reached, S::ALL.iter().copied().collect());
    let used: BTreeSet<_> = EDGES.iter().map(|(_, kind, _)| *kind).collect();
    assert_eq!(used, E::ALL.iter().copied().collect());
}

#[test]
fn every_state_that_is_not_final_has_a_way_to_a_final_one() {
    let mut ending: BTreeSet<_> = S::ALL.iter().copied().filter(|state| *state == S::Proving).collect();
    for _ in S::ALL {
        ending.extend(
            EDGES.iter().filter(|(_, _, to)| ending.contains(to)).map(|(from, _, _)| *from).collect::<Vec<_>>(),
        );
    }
    let stuck: Vec<_> = S::ALL.iter().filter(|state| !ending.contains(*state)).collect();
    let dead_ends = [S::FailedUnrecoverable, S::PackingFailed, S::FaultedFinal];
    assert_eq!(stuck, dead_ends.iter().collect::<Vec<_>>(), "every other state can still become Proving");
    assert!(dead_ends.iter().all(|state| state.is_final() && state.is_failure()));
    assert!(EDGES.iter().all(|(from, _, _)| !dead_ends.contains(from)));
}

#[test]
fn names_are_stored_and_read_back() {
    for state in S::ALL {
        assert_eq!(state.as_str().parse(), Ok(*state));
        assert_eq!(serde_json::to_string(state).unwrap(), format!("{:?}", state.as_str()));
    }
    for kind in E::ALL {
        let text = serde_json::to_string(&event(*kind)).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event(*kind), "{text}");
        assert!(text.contains(&format!("\"event\":{:?}", kind.as_str())), "{text}");
    }
}

type Edge = (State, EventKind, State);

/// The planner table of the classic sealing machine, event for event.
const CLASSIC: &[Edge] = &[
    (S::Packing, E::Packed, S::PreCommit1),
    (S::PreCommit1, E::PreCommit1Done, S::PreCommit2),
    (S::PreCommit1, E::SealPreCommitFailed, S::SealFailed),
    (S::PreCommit1, E::PackingFailed, S::PackingFailed),
    (S::PreCommit2, E::PreCommit2Done, S::PreCommitting),
    (S::PreCommit2, E::SealPreCommitFailed, S::SealFailed),
    (S::PreCommit2, E::PackingFailed, S::PackingFailed),
    (S::PreCommitting, E::PreCommitted, S::WaitSeed),
    (S::PreCommitting, E::SealPreCommitFailed, S::SealFailed),
    (S::PreCommitting, E::ChainPreCommitFailed, S::PreCommitFailed),
    (S::WaitSeed, E::SeedReady, S::Committing),
    (S::WaitSeed, E::ChainPreCommitFailed, S::PreCommitFailed),
    (S::Committing, E::Committed, S::CommitWait),
    (S::Committing, E::SeedReady, S::Committing),
    (S::Committing, E::ComputeProofFailed, S::ComputeProofFailed),
    (S::Committing, E::SealPreCommitFailed, S::CommitFailed),
    (S::Committing, E::CommitFailed, S::CommitFailed),
    (S::CommitWait, E::Proving, S::FinalizeSector),
    (S::CommitWait, E::CommitFailed, S::CommitFailed),
    (S::FinalizeSector, E::Finalized, S::Proving),
    (S::Proving, E::FaultReported, S::FaultReported),
    (S::Proving, E::Faulty, S::Faulty),
    (S::SealFailed, E::RetrySeal, S::PreCommit1),
    (S::PreCommitFailed, E::RetryPreCommit, S::PreCommitting),
    (S::PreCommitFailed, E::RetryWaitSeed, S::WaitSeed),
    (S::PreCommitFailed, E::SealPreCommitFailed, S::SealFailed),
    (S::ComputeProofFailed, E::RetryComputeProof, S::Committing),
    (S::CommitFailed, E::SealPreCommitFailed, S::SealFailed),
    (S::CommitFailed, E::RetryWaitSeed, S::WaitSeed),
    (S::CommitFailed, E::RetryComputeProof, S::Committing),
    (S::CommitFailed, E::RetryInvalidProof, S::Committing),
    (S::Faulty, E::FaultReported, S::FaultReported),
];

/// What ours has beyond the classic table, and why. Its restart and force-state events are absent: everything is
/// recomputed from what is, so there is nothing to restart and nothing to force.
const BEYOND: &[(&str, &[Edge])] = &[
    ("pieces that do not fit are found before any layer", &[(S::Packing, E::PackingFailed, S::PackingFailed)]),
    (
        "the ticket is a sub-step of PreCommit1: durable before the layers begin, drawn anew when it grew too old",
        &[(S::PreCommit1, E::TicketDrawn, S::PreCommit1), (S::PreCommit1, E::TicketExpired, S::PreCommit1)],
    ),
    (
        "a failure that is not the sector's is tried again in place, and never leads to sealing again",
        &[
            (S::PreCommit1, E::AttemptFailed, S::PreCommit1),
            (S::PreCommit2, E::AttemptFailed, S::PreCommit2),
            (S::PreCommitting, E::AttemptFailed, S::PreCommitting),
            (S::Committing, E::AttemptFailed, S::Committing),
            (S::FinalizeSector, E::AttemptFailed, S::FinalizeSector),
        ],
    ),
    (
        "the chain is the truth: what it shows is taken, whoever sent the message",
        &[
            (S::PreCommitting, E::Committed, S::CommitWait),
            (S::WaitSeed, E::Committed, S::CommitWait),
            (S::WaitSeed, E::PreCommitLanded, S::WaitSeed),
            (S::CommitFailed, E::RetryCommitWait, S::CommitWait),
        ],
    ),
    (
        "a reorganisation takes back what the chain showed",
        &[
            (S::WaitSeed, E::PreCommitReverted, S::WaitSeed),
            (S::Committing, E::PreCommitReverted, S::WaitSeed),
            (S::FinalizeSector, E::CommitReverted, S::CommitWait),
            (S::CommitFailed, E::RetryPreCommit, S::PreCommitting),
        ],
    ),
    (
        "a proof is stored before it is sent, so that sending it again needs no new one",
        &[(S::Committing, E::ProofReady, S::Committing), (S::CommitFailed, E::RetrySubmitCommit, S::Committing)],
    ),
    (
        "bytes found wrong while proving are sealed again",
        &[(S::ComputeProofFailed, E::SealPreCommitFailed, S::SealFailed)],
    ),
    (
        "what cannot succeed any more is said to be so, instead of being tried for ever",
        &[
            (S::PreCommitting, E::GivenUp, S::FailedUnrecoverable),
            (S::WaitSeed, E::GivenUp, S::FailedUnrecoverable),
            (S::Committing, E::GivenUp, S::FailedUnrecoverable),
            (S::SealFailed, E::GivenUp, S::FailedUnrecoverable),
            (S::PreCommitFailed, E::GivenUp, S::FailedUnrecoverable),
            (S::CommitFailed, E::GivenUp, S::FailedUnrecoverable),
        ],
    ),
    (
        "faults end, well or badly",
        &[
            (S::Faulty, E::Recovered, S::Proving),
            (S::FaultReported, E::Recovered, S::Proving),
            (S::FaultReported, E::FaultedFinal, S::FaultedFinal),
        ],
    ),
];

#[test]
fn the_table_is_the_classic_one_and_what_we_added_with_a_reason() {
    let ours: BTreeSet<_> = EDGES.iter().copied().collect();
    let mut expected: BTreeSet<_> = CLASSIC.iter().copied().collect();
    for (why, edges) in BEYOND {
        for edge in *edges {
            assert!(expected.insert(*edge), "{edge:?} is listed already, not only for: {why}");
        }
    }
    assert_eq!(ours.difference(&expected).collect::<Vec<_>>(), Vec::<&_>::new(), "edges without a reason");
    assert_eq!(expected.difference(&ours).collect::<Vec<_>>(), Vec::<&_>::new(), "edges that went missing");
}

// ── what a sector wants, for every combination of facts ──

/// Every chain one sector can meet: 3 × 3 × 5 × 3 × 8.
pub(crate) fn all_facts() -> Vec<Facts> {
    let on_chain = |comm_r: u8| OnChainPreCommit {
        epoch: landed().epoch,
        ticket_epoch: Epoch::new(8_000),
        comm_r: Hash32([comm_r; 32]),
        deposit: landed().deposit,
    };
    let sector = |faulty| OnChainSector { activation: activation(), faulty };
    let executed = |exit_code, height| MessageView::Landed { exit_code, height: Epoch::new(height) };
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
            let (same, changed) = (Some(ticket(8_000).value), Some(Hash32([99; 32])));
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
                WakeUp::NextHead => {}
            }
        }
        Next::DrawTicket | Next::Work(_) | Next::SubmitPreCommit | Next::SubmitCommit => {
            assert!(!state.is_final(), "{state} wants {answer:?}");
        }
    }
}

#[test]
fn every_answer_is_work_a_step_of_the_table_or_a_wait_that_ends() {
    let facts = all_facts();
    for state in S::ALL {
        for record in all_records(*state) {
            assert_awake(&record, None, &next(&record, None, None, &POLICY, NOW));
            for facts in &facts {
                assert_awake(&record, Some(facts), &next(&record, Some(facts), Some(CHAIN), &POLICY, NOW));
            }
        }
    }
}

/// Steps that follow from one reading of the chain come to an end: no event chases another in a circle.
#[test]
fn one_reading_of_the_chain_leads_to_a_few_steps_only() {
    let facts = all_facts();
    for state in S::ALL {
        for start in all_records(*state) {
            for facts in &facts {
                steps(start.clone(), facts);
            }
        }
    }
}

#[test]
fn a_spent_budget_parks_a_sector_and_a_retry_time_is_kept() {
    for state in S::ALL.iter().filter(|state| !state.is_final()) {
        for facts in all_facts() {
            let spent = Record { attempts: POLICY.attempts, failure: Some(failure()), ..record(*state) };
            let Next::Wait(wait) = next(&spent, Some(&facts), Some(CHAIN), &POLICY, NOW) else { panic!("{state}") };
            assert_eq!(wait.until, WakeUp::Operator, "{state}");
            let cooling = Record { retry_at: Some(NOW.plus_ms(1)), ..record(*state) };
            let Next::Wait(wait) = next(&cooling, Some(&facts), Some(CHAIN), &POLICY, NOW) else { panic!("{state}") };
            assert_eq!(wait.until, WakeUp::Time(NOW.plus_ms(1)), "{state}");
        }
    }
}

#[test]
fn the_chain_is_looked_at_before_anything_irreversible() {
    let ours = all_facts().into_iter().find(|f| {
        f.precommit.as_ref().is_some_and(|p| p.comm_r == sealed().comm_r) && f.sector.is_none() && f.seed.is_none()
    });
    let ours = ours.unwrap();
    let wait = |record: &Record, facts: &Facts| {
        let answer = next(record, Some(facts), Some(CHAIN), &POLICY, NOW);
        let Next::Wait(wait) = answer else { panic!("{answer:?}") };
        wait.until
    };
    // no new ticket while a pre-commit is on chain
    assert_eq!(wait(&record(S::PreCommit1), &ours), WakeUp::Operator);
    // no proof without a seed
    let committing = Record {
        ticket: Some(ticket(8_000)),
        sealed: Some(sealed()),
        precommit: Some(PreCommit { message: None, landed: Some(landed()) }),
        ..record(S::Committing)
    };
    assert_eq!(wait(&committing, &ours), WakeUp::NextHead);
    // finality is counted from where the chain has the activation, whatever was recorded before a reorganisation
    let finalizing = Record { activation: Some(activation()), ..record(S::FinalizeSector) };
    let active = Facts { sector: Some(OnChainSector { activation: activation(), faulty: false }), ..ours };
    let early = Record { activation: Some(Activation { epoch: Epoch::new(9_000), ..activation() }), ..finalizing };
    assert_eq!(wait(&early, &active), WakeUp::At(HEAD.plus(400)));
}

/// What follows, by itself, from one reading of the chain, and the state it ends in.
fn steps(start: Record, facts: &Facts) -> (Vec<EventKind>, Record) {
    let mut record = start;
    let mut steps = Vec::new();
    while let Next::Record(event) = next(&record, Some(facts), Some(CHAIN), &POLICY, NOW) {
        record = record.apply(&event, NOW).unwrap();
        steps.push(event.kind());
        assert!(steps.len() <= 8, "{steps:?} with {facts:#?}");
    }
    (steps, record)
}

#[test]
fn a_replica_is_sealed_again_when_the_chain_changed_its_ticket() {
    let sealed = Record { ticket: Some(ticket(8_000)), sealed: Some(sealed()), ..record(S::PreCommitting) };
    let same = Facts { ticket: Some(ticket(8_000).value), ..Facts::default() };
    let changed = Facts { ticket: Some(Hash32([99; 32])), ..Facts::default() };
    let wish = |record: &Record, facts: &Facts| next(record, Some(facts), Some(CHAIN), &POLICY, NOW);
    assert_eq!(wish(&sealed, &same), Next::SubmitPreCommit);
    let Next::Wait(_) = wish(&sealed, &Facts::default()) else { panic!("a deposit on a ticket nobody looked at") };
    let Next::Record(Ev::SealPreCommitFailed { failure, .. }) = wish(&sealed, &changed) else { panic!() };
    assert_eq!((failure.class, failure.error.as_str()), (Class::Chain, "the chain's ticket changed (reorganisation)"));
    // the way back drops the ticket, and a new one is drawn
    let (way, fresh) = steps(sealed.clone(), &changed);
    assert_eq!(way, [E::SealPreCommitFailed, E::RetrySeal, E::TicketExpired]);
    assert_eq!((&fresh.ticket, &fresh.sealed, wish(&fresh, &changed)), (&None, &None, Next::DrawTicket));
    // layers of a changed ticket are not finished; others are
    let sealing = Record { ticket: Some(ticket(8_000)), ..record(S::PreCommit1) };
    assert_eq!(wish(&sealing, &changed), Next::Record(Ev::TicketExpired));
    assert_eq!(wish(&sealing, &same), Next::Work(Stage::PreCommit1));
    // a pre-commit that is on chain cannot be taken back: its ticket is kept
    let precommit = OnChainPreCommit {
        epoch: landed().epoch,
        ticket_epoch: Epoch::new(8_000),
        comm_r: sealed.sealed.clone().unwrap().comm_r,
        deposit: landed().deposit,
    };
    let there = Facts { precommit: Some(precommit), allocated: true, ..changed };
    assert_eq!(wish(&sealed, &there), Next::Record(Ev::PreCommitted { message: None }));
    assert_eq!(wish(&sealing, &there), Next::Work(Stage::PreCommit1));
}

#[test]
fn a_proving_sector_that_the_chain_no_longer_lists_ends() {
    let activation = || Activation { epoch: CHAIN.finalized, ..activation() };
    let proving = Record { activation: Some(activation()), ..record(S::Proving) };
    let listed = |faulty| Facts {
        sector: Some(OnChainSector { activation: activation(), faulty }),
        allocated: true,
        ..Facts::default()
    };
    let gone = Facts { allocated: true, ..Facts::default() };
    assert_eq!(next(&proving, None, Some(CHAIN), &POLICY, NOW), Next::Rest);
    assert_eq!(steps(proving.clone(), &listed(false)).0, []);
    let (way, ended) = steps(proving.clone(), &gone);
    assert_eq!((way, ended.state), (vec![E::Faulty, E::FaultReported, E::FaultedFinal], S::FaultedFinal));
    // a fault is waited out, and ends well or badly
    let (way, faulty) = steps(proving.clone(), &listed(true));
    assert_eq!((way, faulty.state), (vec![E::Faulty, E::FaultReported], S::FaultReported));
    assert_eq!(steps(faulty.clone(), &listed(false)).1.state, S::Proving);
    assert_eq!(steps(faulty.clone(), &gone).1.state, S::FaultedFinal);
    // a node that is behind the sector does not know it yet
    let behind = ChainNow { finalized: CHAIN.finalized.plus(-1), ..CHAIN };
    for known in [proving, faulty] {
        let answer = next(&known, Some(&gone), Some(behind), &POLICY, NOW);
        assert!(matches!(answer, Next::Rest | Next::Wait(_)), "{answer:?}");
    }
}

#[test]
fn a_replica_that_gives_no_valid_proof_is_sealed_again_once() {
    let failed = |record: &Record| {
        let failure = Failure { class: Class::Data, ..failure() };
        record.apply(&Ev::ComputeProofFailed { failure, retry_at: NOW }, NOW).unwrap()
    };
    let mut record =
        Record { ticket: Some(ticket(8_000)), sealed: Some(sealed()), seed: Some(seed(1)), ..record(S::Committing) };
    for wish in [E::RetryComputeProof, E::RetryComputeProof, E::SealPreCommitFailed] {
        record = failed(&record);
        let Next::Record(event) = next(&record, None, None, &POLICY, NOW) else { panic!("{record:#?}") };
        assert_eq!(event.kind(), wish);
        record = record.apply(&event, NOW).unwrap();
    }
    record = record.apply(&Ev::RetrySeal, NOW).unwrap();
    assert_eq!((record.state, record.ticket.clone()), (S::PreCommit1, Some(ticket(8_000))), "with the same ticket");
    // sealing again is no progress until there is a replica
    let before = record.attempts;
    record = record.apply(&Ev::PreCommit1Done, NOW).unwrap();
    assert!(before > 0 && record.attempts == before, "{record:#?}");
    record = record.apply(&Ev::PreCommit2Done { sealed: sealed() }, NOW).unwrap();
    assert_eq!(record.attempts, 0);
    // a second time does not help: the budget ends it
    record = Record { state: S::Committing, ..record };
    for _ in 0..POLICY.attempts {
        record = failed(&Record { state: S::Committing, ..record });
        let wish = next(&record, None, None, &POLICY, NOW);
        assert!(matches!(wish, Next::Record(Ev::RetryComputeProof) | Next::Wait(_)), "{wish:?}");
    }
    assert_eq!(record.attempts, POLICY.attempts);
}

#[test]
fn waiting_for_room_spends_no_budget_and_messages_are_made_anew_ever_later() {
    let failure = Failure { class: Class::Resource, ..failure() };
    let short = record(S::PreCommit2).apply(&Ev::AttemptFailed { failure: failure.clone(), retry_at: NOW }, NOW);
    assert_eq!(short.map(|record| (record.attempts, record.failure)), Ok((0, Some(failure))));

    let refused = Facts { message: Some(MessageView::Refused { why: "no funds".to_owned() }), ..Facts::default() };
    let pause = |attempts| {
        let waiting = Record { attempts, ..record(S::WaitSeed) };
        let wanted = next(&waiting, Some(&refused), Some(CHAIN), &Policy { attempts: 99, ..POLICY }, NOW);
        let Next::Record(Ev::ChainPreCommitFailed { retry_at, .. }) = wanted else { panic!("{wanted:?}") };
        retry_at.ms_since(NOW) / 1_000
    };
    assert_eq!([0, 1, 2, 5, 98].map(pause), [2, 8, 32, 1_800, 1_800]);
}

// ── random lives ──

/// What the world does next to a sector.
#[derive(Debug, Clone)]
enum Turn {
    /// The sector is asked what it wants under these facts, and it happens, well or badly.
    Tick { facts: usize, outcome: usize },
    /// Any event at all arrives.
    Noise(EventKind),
    /// The operator says to try again.
    Again,
}

fn turn() -> impl Strategy<Value = Turn> {
    let kind = proptest::sample::select(E::ALL.to_vec());
    prop_oneof![
        8 => (0..all_facts().len(), 0..8usize).prop_map(|(facts, outcome)| Turn::Tick { facts, outcome }),
        1 => kind.prop_map(Turn::Noise),
        1 => Just(Turn::Again),
    ]
}

/// What comes of a wish.
fn outcome(record: &Record, wish: Next, way: usize) -> Option<Event> {
    let (failure, retry_at) = (failure(), NOW);
    match wish {
        Next::Record(event) => Some(event),
        Next::DrawTicket => Some(Ev::TicketDrawn { ticket: ticket(8_000) }),
        Next::Work(Stage::PreCommit1 | Stage::PreCommit2) if way == 1 => {
            Some(Ev::SealPreCommitFailed { failure, retry_at })
        }
        Next::Work(_) | Next::SubmitPreCommit if way == 0 => Some(Ev::AttemptFailed { failure, retry_at }),
        Next::Work(Stage::PreCommit1) => {
            assert!(record.ticket.is_some(), "layers without a ticket: {record:#?}");
            Some(Ev::PreCommit1Done)
        }
        Next::Work(Stage::PreCommit2) => {
            assert!(record.ticket.is_some(), "a replica without a ticket: {record:#?}");
            Some(Ev::PreCommit2Done { sealed: sealed() })
        }
        Next::Work(Stage::Commit) => {
            assert!(record.ticket.is_some() && record.sealed.is_some(), "nothing to prove: {record:#?}");
            assert!(record.seed.is_some(), "a proof without a seed: {record:#?}");
            Some(if way == 1 {
                Ev::ComputeProofFailed { failure, retry_at }
            } else {
                Ev::ProofReady { porep: "aa".to_owned() }
            })
        }
        Next::Work(Stage::Finalize) => {
            assert!(record.activation.is_some(), "a cache is trimmed before the sector is on chain: {record:#?}");
            Some(Ev::Finalized { store: "hdd0".parse().unwrap() })
        }
        Next::SubmitPreCommit => {
            assert!(record.ticket.is_some() && record.sealed.is_some(), "nothing to commit to: {record:#?}");
            Some(Ev::PreCommitted { message: message() })
        }
        Next::SubmitCommit => {
            let complete = record.porep.is_some() && record.seed.is_some() && record.sealed.is_some();
            assert!(complete, "nothing to send: {record:#?}");
            Some(Ev::Committed { message: message() })
        }
        Next::Wait(_) | Next::Rest => None,
    }
}

/// What no event changes, and what each does.
fn assert_law(before: &Record, after: &Record) {
    assert_eq!(
        (after.number, after.proof, after.created, &after.repo),
        (before.number, before.proof, before.created, &before.repo)
    );
    assert_eq!(after.version, before.version + 1);
}

proptest! {
    #[test]
    fn a_random_life_keeps_the_laws(turns in proptest::collection::vec(turn(), 0..120), noisy: bool) {
        let all = all_facts();
        let start = Record::new(
            SectorNumber::try_from(7).unwrap(), SectorSize::KiB2.seal_proof(), "nvme0".parse().unwrap(), NOW,
        );
        let mut record = start.clone();
        let mut history = Vec::new();
        for turn in turns {
            let event = match turn {
                Turn::Tick { facts, outcome: way } => {
                    let wish = next(&record, Some(&all[facts]), Some(CHAIN), &POLICY, NOW);
                    assert_awake(&record, Some(&all[facts]), &wish);
                    // noise may take a sector where no wish would, so the demands on wishes hold without it
                    if noisy { None } else { outcome(&record, wish, way) }
                }
                Turn::Noise(kind) => noisy.then(|| event(kind)),
                Turn::Again => {
                    (record.attempts, record.retry_at) = (0, None);
                    None
                }
            };
            let Some(event) = event else { continue };
            match record.apply(&event, NOW) {
                Ok(after) => {
                    assert_law(&record, &after);
                    history.push((record.attempts, record.retry_at, event));
                    record = after;
                }
                Err(refused) => {
                    prop_assert!(noisy, "{refused}");
                    prop_assert!(!EDGES.iter().any(|(from, kind, _)| *from == record.state && *kind == event.kind()));
                }
            }
        }
        // the history is enough to make the record again, and the record survives its text
        let mut replayed = start;
        for (attempts, retry_at, event) in &history {
            (replayed.attempts, replayed.retry_at) = (*attempts, *retry_at);
            replayed = replayed.apply(event, NOW).unwrap();
        }
        (replayed.attempts, replayed.retry_at) = (record.attempts, record.retry_at);
        prop_assert_eq!(&replayed, &record);
        let text = serde_json::to_string(&record).unwrap();
        prop_assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
