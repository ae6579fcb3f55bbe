//! Failures: how often, how long, and what they lead to.

use super::{super::policy::*, *};

/// The record after its present wish failed in this way, as a worker's result is recorded.
fn fail(record: &Record, class: Class) -> Record {
    let failure = Failure { class, ..failure() };
    let retry_at = retry_at(record, class, NOW);
    let event = match (class, record.state) {
        (Class::Data, S::PreCommit1 | S::PreCommit2) => Ev::SealPreCommitFailed { failure, retry_at },
        (Class::Data, S::Committing) => Ev::ComputeProofFailed { failure, retry_at },
        _ => Ev::AttemptFailed { failure, retry_at },
    };
    record.apply(&event, NOW).unwrap()
}

/// What it wants once its pause is over, with nothing of it on chain.
fn wish(record: &Record, facts: &Facts) -> Next {
    let later = record.retry_at.unwrap_or(NOW);
    next(record, Some(facts), Some(CHAIN), &POLICY, later)
}

/// Records what happens by itself, then answers the state and the wish.
fn settle(mut record: Record, facts: &Facts) -> (Record, Next) {
    for _ in 0..8 {
        match wish(&record, facts) {
            Next::Record(event) => record = record.apply(&event, NOW).unwrap(),
            other => return (record, other),
        }
    }
    panic!("no end: {record:#?}")
}

fn sealing() -> Record {
    Record { ticket: Some(ticket(8_000)), ..record(S::PreCommit1) }
}

fn proving_now() -> Record {
    Record {
        ticket: Some(ticket(8_000)),
        sealed: Some(sealed()),
        precommit: Some(PreCommit { message: message(), landed: Some(landed()) }),
        seed: Some(seed(1)),
        ..record(S::Committing)
    }
}

/// The chain holds the pre-commit of [`proving_now`].
fn precommitted() -> Facts {
    let precommit = OnChainPreCommit {
        epoch: landed().epoch,
        ticket_epoch: Epoch::new(8_000),
        comm_r: sealed().comm_r,
        deposit: landed().deposit,
    };
    Facts { precommit: Some(precommit), allocated: true, seed: Some(seed(1)), ..Facts::default() }
}

const CLASSES: [Class; 6] =
    [Class::Resource, Class::Environment, Class::Worker, Class::Data, Class::Chain, Class::Operator];

#[test]
fn a_pause_doubles_up_to_its_longest_and_is_spread_over_sectors() {
    for class in CLASSES {
        let pause = |n: u64, attempts| {
            let number = SectorNumber::try_from(n).unwrap();
            let record = Record { number, attempts, ..record(S::PreCommit1) };
            retry_at(&record, class, NOW).ms_since(NOW)
        };
        let (first, last) = (pause(1, 0), pause(1, 40));
        for attempts in 0..40 {
            let pauses: BTreeSet<_> = (0..50).map(|n| pause(n, attempts)).collect();
            let (least, most) = (*pauses.first().unwrap(), *pauses.last().unwrap());
            assert!(pauses.len() > 20 && most <= least + least.div_ceil(4) + 1, "{class:?} {attempts} {pauses:?}");
            assert_eq!(pause(7, attempts), pause(7, attempts), "the same for the same attempt");
            assert!(pause(7, attempts) <= last * 5 / 4 + 1, "{class:?} {attempts}");
        }
        assert!(first > 0 && (class == Class::Resource || last >= 48 * first), "{class:?} {first} {last}");
        assert!(last <= 38 * 60 * 1_000, "{class:?} {last}");
    }
    // a wallet without funds has hours before the budget is spent
    let budget = budget(Class::Chain, &Policy { attempts: 8, ..POLICY }).unwrap();
    let pauses = (0..budget)
        .map(|attempts| retry_at(&Record { attempts, ..record(S::PreCommitting) }, Class::Chain, NOW).ms_since(NOW));
    assert!(pauses.sum::<u64>() > 3 * 3_600 * 1_000);
}

// matrix: E1, E2
#[test]
fn a_failing_stage_is_tried_again_in_place_then_parked_and_never_removed() {
    for start in [sealing(), Record { state: S::PreCommit2, ..sealing() }, proving_now()] {
        let facts = if start.state == S::Committing { precommitted() } else { Facts::default() };
        for class in [Class::Environment, Class::Worker] {
            let mut record = start.clone();
            let wanted = wish(&record, &facts);
            for attempt in 1..=POLICY.attempts {
                record = fail(&record, class);
                assert_eq!((record.state, record.attempts), (start.state, attempt));
                let cooling = next(&record, Some(&facts), Some(CHAIN), &POLICY, NOW);
                if attempt < POLICY.attempts {
                    let until = WakeUp::Time(record.retry_at.unwrap());
                    assert!(matches!(&cooling, Next::Wait(wait) if wait.until == until), "{cooling:?}");
                    assert_eq!(wish(&record, &facts), wanted, "again, in the same state");
                }
            }
            let Next::Wait(wait) = wish(&record, &facts) else { panic!("{record:#?}") };
            assert_eq!((wait.reason.as_str(), wait.until), ("an operator: testing failed 5 times", WakeUp::Operator));
            // an operator's retry is a new budget, at once
            let again = record.apply(&Ev::RetryAsked, NOW).unwrap();
            assert_eq!(next(&again, Some(&facts), Some(CHAIN), &POLICY, NOW), wanted);
            // and progress is one as well
            let better = fail(&start, class).apply(&progress(start.state), NOW).unwrap();
            assert_eq!((better.attempts, better.failure), (0, None));
        }
    }
}

fn progress(state: State) -> Event {
    match state {
        S::PreCommit1 => Ev::PreCommit1Done,
        S::PreCommit2 => Ev::PreCommit2Done { sealed: sealed() },
        _ => Ev::ProofReady { porep: "aa".to_owned() },
    }
}

// matrix: E1, E4, B3
#[test]
fn wrong_bytes_are_sealed_again_with_the_same_ticket_and_live_precommits_keep_theirs() {
    for state in [S::PreCommit1, S::PreCommit2] {
        for facts in [Facts::default(), precommitted()] {
            let start = Record { state, precommit: proving_now().precommit, ..sealing() };
            let (again, wish) = settle(fail(&start, Class::Data), &facts);
            assert_eq!((again.state, wish), (S::PreCommit1, Next::Work(Stage::PreCommit1)));
            assert_eq!(again.ticket, start.ticket);
        }
    }
    // with a live pre-commit not even an old or changed ticket is replaced: only it gives the replica that is promised
    let old = Record { ticket: Some(ticket(5_000)), ..sealing() };
    let live = OnChainPreCommit { ticket_epoch: Epoch::new(5_000), ..precommitted().precommit.unwrap() };
    let live = Facts { precommit: Some(live), ticket: Some((Epoch::new(8_000), Hash32([99; 32]))), ..precommitted() };
    assert_eq!(wish(&old, &live), Next::Work(Stage::PreCommit1));
    // one that the chain does not know of is: a ticket that was drawn and never written down costs nothing
    assert_eq!(settle(old, &Facts::default()).1, Next::DrawTicket);
    assert_eq!(settle(Record { ticket: None, ..sealing() }, &Facts::default()).1, Next::DrawTicket);
}

// matrix: E1
#[test]
fn wrong_bytes_that_do_not_mend_are_parked() {
    let mut record = sealing();
    for attempt in 1..=POLICY.attempts {
        assert_eq!(record.state, S::PreCommit1, "before attempt {attempt}");
        record = fail(&record, Class::Data);
        (record, _) = settle(record, &Facts::default());
    }
    assert_eq!(record.state, S::SealFailed);
    let Next::Wait(wait) = wish(&record, &Facts::default()) else { panic!("{record:#?}") };
    assert_eq!(wait.until, WakeUp::Operator);
}

// matrix: E11
#[test]
fn only_wrong_bytes_lead_to_sealing_again() {
    for class in CLASSES {
        let mut record = proving_now();
        let mut resealed = false;
        for _ in 0..20 {
            record = fail(&record, class);
            (record, _) = settle(record, &precommitted());
            resealed |= record.state == S::PreCommit1;
            if record.state != S::Committing {
                break;
            }
        }
        assert_eq!(resealed, class == Class::Data, "{class:?} {record:#?}");
    }
}

// matrix: E11
#[test]
fn what_only_lacks_room_is_tried_for_ever_and_what_only_an_operator_mends_once() {
    let mut short = sealing();
    for _ in 0..100 {
        short = fail(&short, Class::Resource);
        assert_eq!((short.attempts, wish(&short, &Facts::default())), (0, Next::Work(Stage::PreCommit1)));
        assert!(short.failure.is_some() && short.retry_at > Some(NOW));
    }
    let Next::Wait(wait) = wish(&fail(&sealing(), Class::Operator), &Facts::default()) else { panic!() };
    assert_eq!((wait.reason.as_str(), wait.until), ("an operator: testing failed once", WakeUp::Operator));
}

// matrix: E3
#[test]
fn a_refused_proof_is_made_anew_then_its_replica_then_an_operator_looks() {
    let refused = |own| {
        let executed = MessageView::Landed { exit_code: 16, own, height: Epoch::new(9_900) };
        Facts { message: Some(executed), ..precommitted() }
    };
    let sent = |from: &Record| Record {
        state: S::CommitWait,
        porep: Some("aa".to_owned()),
        commit: Some(Commit { message: message() }),
        ..from.clone()
    };
    // whose fault it was is not known of a message with several: the same proof is sent again
    let (others, then) = settle(sent(&proving_now()), &refused(false));
    assert_eq!((others.invalid_proofs, then), (0, Next::SubmitCommit));
    let (first, then) = settle(sent(&proving_now()), &refused(true));
    assert_eq!((first.state, first.porep.clone(), then), (S::Committing, None, Next::Work(Stage::Commit)));
    let (second, then) = settle(sent(&first), &refused(true));
    assert_eq!((second.state, then), (S::PreCommit1, Next::Work(Stage::PreCommit1)));
    assert_eq!((&second.ticket, &second.precommit), (&proving_now().ticket, &proving_now().precommit));
    let back = Record { sealed: Some(sealed()), seed: Some(seed(1)), ..second };
    let (third, then) = settle(sent(&back), &refused(true));
    let Next::Wait(wait) = then else { panic!("{third:#?}") };
    assert_eq!((third.state, wait.until), (S::CommitFailed, WakeUp::Operator));
    // who asks for another attempt gets a proof made anew
    let again = third.apply(&Ev::RetryAsked, NOW).unwrap();
    assert_eq!(settle(again, &precommitted()).1, Next::Work(Stage::Commit));
}

// matrix: B13, B19
#[test]
fn what_the_chain_shows_is_taken_though_the_sector_is_parked() {
    let parked = |state| Record {
        attempts: 99,
        failure: Some(failure()),
        ticket: Some(ticket(8_000)),
        sealed: Some(sealed()),
        ..record(state)
    };
    for state in [S::PreCommitting, S::PreCommitFailed] {
        let (record, _) = settle(parked(state), &Facts { seed: None, ..precommitted() });
        assert_eq!((record.state, record.attempts), (S::WaitSeed, 0), "{state}");
        assert_eq!(record.precommit.and_then(|precommit| precommit.landed), Some(landed()));
    }
    let active = Facts { sector: Some(OnChainSector { activation: activation(), faulty: false }), ..precommitted() };
    for state in [S::PreCommitting, S::WaitSeed, S::Committing, S::PreCommitFailed, S::CommitFailed, S::SealFailed] {
        let (record, _) = settle(parked(state), &active);
        assert_eq!((record.state, record.attempts), (S::Proving, 0), "{state}");
    }
}

// matrix: B24
#[test]
fn ten_crashes_in_a_row_park_one_sector_with_its_reason() {
    let policy = Policy { attempts: 8, ..POLICY };
    let mut record = sealing();
    let mut starts = 0;
    let mut at = NOW;
    for _ in 0..10 {
        match next(&record, Some(&Facts::default()), Some(CHAIN), &policy, at) {
            Next::Work(Stage::PreCommit1) => {
                starts += 1;
                let failure =
                    Failure { class: Class::Worker, doing: "precommit1".to_owned(), error: "it died".to_owned() };
                let retry_at = retry_at(&record, Class::Worker, at);
                assert!(retry_at > at, "a pause after each");
                record = record.apply(&Ev::AttemptFailed { failure, retry_at }, at).unwrap();
                at = retry_at;
            }
            Next::Wait(wait) => assert_eq!(wait.reason, "an operator: precommit1 failed 8 times"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((starts, record.state), (8, S::PreCommit1));
}
