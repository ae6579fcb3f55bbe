//! The table: every pair, and what it has beyond the two machines it is compared with.

use super::*;

/// A record with every part there is, so that what an event drops is seen.
fn whole(state: State) -> Record {
    Record {
        ticket: Some(ticket(8_000)),
        sealed: Some(sealed()),
        precommit: Some(PreCommit { message: None, landed: Some(Landed { epoch: HEAD, ..landed() }) }),
        seed: Some(seed(2)),
        porep: Some("ff".to_owned()),
        commit: Some(Commit { message: None }),
        activation: Some(Activation { epoch: HEAD, ..activation() }),
        store: Some("hdd9".parse().unwrap()),
        termination: Some(Termination { message: None, epoch: Some(Epoch::new(1)) }),
        attempts: 3,
        retry_at: Some(NOW.plus_ms(1)),
        failure: Some(Failure { doing: "before".to_owned(), ..failure() }),
        invalid_proofs: 1,
        ..record(state)
    }
}

/// The fields that an event changed, with what became of those that are gone or counted.
fn changes(before: &Record, after: &Record) -> String {
    let (before, after) = (serde_json::to_value(before).unwrap(), serde_json::to_value(after).unwrap());
    let fields = before
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, old)| !["state", "version"].contains(&name.as_str()) && after[name.as_str()] != **old);
    let changed: Vec<_> = fields
        .map(|(name, _)| match &after[name] {
            serde_json::Value::Null => format!("-{name}"),
            serde_json::Value::Number(count) if name != "retry_at" => format!("{name}={count}"),
            _ => format!("+{name}"),
        })
        .collect();
    changed.join(" ")
}

// matrix: A3, A4
/// `UPDATE_EXPECT=1` writes the file anew; the difference is then a matter for review.
#[test]
fn every_pair_is_decided() {
    let mut found = String::new();
    for state in S::ALL {
        for kind in E::ALL {
            let before = whole(*state);
            let answer = match before.apply(&event(*kind), NOW) {
                Ok(next) => format!("{} {}", next.state, changes(&before, &next)),
                Err(refused) => {
                    assert_eq!(refused, Refused { state: *state, event: *kind });
                    "refused".to_owned()
                }
            };
            found.push_str(format!("{state} {} {answer}", kind.as_str()).trim_end());
            found.push('\n');
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
    // where that one leads is a matter of the record
    let listed = E::ALL.iter().copied().filter(|kind| *kind != E::StateForced);
    assert_eq!(used, listed.collect());
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
    let given_up: Vec<_> = S::ALL.iter().filter(|state| state.is_given_up()).collect();
    assert_eq!(stuck, given_up, "every other state can still become Proving");
    // and what is given up can be cleared
    for state in given_up.iter().filter(|state| ![S::Removing, S::Removed].contains(state)) {
        assert!(EDGES.contains(&(**state, E::RemoveAsked, S::Removing)), "{state}");
    }
    assert!(EDGES.iter().all(|(from, _, _)| *from != S::Removed));
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

pub(super) type Edge = (State, EventKind, State);

/// The planner table of the classic sealing machine, event for event.
pub(super) const CLASSIC: &[Edge] = &[
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

/// What ours has beyond the classic table, and why. Its restart event is absent: everything is
/// recomputed from what is, so there is nothing to restart. Its force-state event leads where the record can be.
pub(super) const BEYOND: &[(&str, &[Edge])] = &[
    ("pieces that do not fit are found before any layer", &[(S::Packing, E::PackingFailed, S::PackingFailed)]),
    (
        "what was sealed and proven elsewhere is taken as it is: it has neither ticket nor seed",
        &[(S::Packing, E::Imported, S::Proving)],
    ),
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
            (S::SealFailed, E::Committed, S::CommitWait),
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
            (S::PreCommit1, E::GivenUp, S::FailedUnrecoverable),
            (S::PreCommit2, E::GivenUp, S::FailedUnrecoverable),
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
    (
        "an operator wants the next attempt at once, in every state that goes on by itself",
        &[
            (S::Packing, E::RetryAsked, S::Packing),
            (S::PreCommit1, E::RetryAsked, S::PreCommit1),
            (S::PreCommit2, E::RetryAsked, S::PreCommit2),
            (S::PreCommitting, E::RetryAsked, S::PreCommitting),
            (S::WaitSeed, E::RetryAsked, S::WaitSeed),
            (S::Committing, E::RetryAsked, S::Committing),
            (S::CommitWait, E::RetryAsked, S::CommitWait),
            (S::FinalizeSector, E::RetryAsked, S::FinalizeSector),
            (S::SealFailed, E::RetryAsked, S::SealFailed),
            (S::PreCommitFailed, E::RetryAsked, S::PreCommitFailed),
            (S::ComputeProofFailed, E::RetryAsked, S::ComputeProofFailed),
            (S::CommitFailed, E::RetryAsked, S::CommitFailed),
            (S::Faulty, E::RetryAsked, S::Faulty),
            (S::FaultReported, E::RetryAsked, S::FaultReported),
            (S::Terminating, E::RetryAsked, S::Terminating),
            (S::Removing, E::RetryAsked, S::Removing),
        ],
    ),
    (
        "an operator has the chain end a sector; a reorganisation may take that back until it is final",
        &[
            (S::FinalizeSector, E::TerminateAsked, S::Terminating),
            (S::Proving, E::TerminateAsked, S::Terminating),
            (S::Faulty, E::TerminateAsked, S::Terminating),
            (S::FaultReported, E::TerminateAsked, S::Terminating),
            (S::Removing, E::TerminateAsked, S::Terminating),
            (S::Terminating, E::TerminateSent, S::Terminating),
            (S::Terminating, E::Terminated, S::Terminating),
            (S::Terminating, E::TerminateReverted, S::Terminating),
            (S::Terminating, E::TerminateFailed, S::Terminating),
        ],
    ),
    (
        "what is not on chain, or not any more, is removed; what is active is not",
        &[
            (S::Packing, E::RemoveAsked, S::Removing),
            (S::PreCommit1, E::RemoveAsked, S::Removing),
            (S::PreCommit2, E::RemoveAsked, S::Removing),
            (S::PreCommitting, E::RemoveAsked, S::Removing),
            (S::WaitSeed, E::RemoveAsked, S::Removing),
            (S::Committing, E::RemoveAsked, S::Removing),
            (S::SealFailed, E::RemoveAsked, S::Removing),
            (S::PreCommitFailed, E::RemoveAsked, S::Removing),
            (S::ComputeProofFailed, E::RemoveAsked, S::Removing),
            (S::CommitFailed, E::RemoveAsked, S::Removing),
            (S::FailedUnrecoverable, E::RemoveAsked, S::Removing),
            (S::PackingFailed, E::RemoveAsked, S::Removing),
            (S::FaultedFinal, E::RemoveAsked, S::Removing),
            (S::Terminating, E::RemoveAsked, S::Removing),
            (S::Removing, E::AttemptFailed, S::Removing),
            (S::Removing, E::RemoveDone, S::Removed),
        ],
    ),
];

// matrix: G5
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

// matrix: A4
#[test]
fn an_event_out_of_turn_changes_nothing_and_the_sector_goes_on() {
    let facts = all_facts();
    for state in S::ALL {
        for kind in E::ALL {
            let before = whole(*state);
            let Err(refused) = before.apply(&event(*kind), NOW) else { continue };
            assert!(refused.to_string().contains(state.as_str()));
            for facts in facts.iter().step_by(97) {
                assert_awake(&before, Some(facts), &next(&before, Some(facts), Some(CHAIN), &POLICY, NOW));
            }
        }
    }
}
