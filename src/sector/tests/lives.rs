//! Random lives: what happens to a sector in any order.

use super::*;
use proptest::prelude::*;

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
        Next::SubmitTerminate => Some(Ev::TerminateSent { message: message() }),
        Next::Work(Stage::Remove) => Some(Ev::RemoveDone),
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
