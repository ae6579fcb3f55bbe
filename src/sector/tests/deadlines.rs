//! Tickets and deadlines: what is sent when, and what is given up.

use super::{super::deadlines::*, *};
use std::collections::BTreeMap;

fn at(head: i64) -> ChainNow {
    ChainNow { head: Epoch::new(head), ..CHAIN }
}

fn wish_at(record: &Record, facts: &Facts, head: i64) -> Next {
    next(record, Some(facts), Some(at(head)), &POLICY, NOW)
}

fn kind(wish: &Next) -> Option<EventKind> {
    if let Next::Record(event) = wish { Some(event.kind()) } else { None }
}

fn sealed_sector() -> Record {
    Record { ticket: Some(ticket(8_000)), sealed: Some(sealed()), ..record(S::PreCommitting) }
}

/// With a proof that can be sent.
fn proven() -> Record {
    Record {
        precommit: Some(PreCommit { message: message(), landed: Some(landed()) }),
        seed: Some(seed(1)),
        porep: Some("aa".to_owned()),
        state: S::Committing,
        ..sealed_sector()
    }
}

fn nothing() -> Facts {
    Facts { ticket: Some((Epoch::new(8_000), ticket(8_000).value)), ..Facts::default() }
}

fn precommitted() -> Facts {
    let precommit = OnChainPreCommit {
        epoch: landed().epoch,
        ticket_epoch: Epoch::new(8_000),
        comm_r: sealed().comm_r,
        deposit: landed().deposit,
    };
    Facts { precommit: Some(precommit), allocated: true, seed: Some(seed(1)), ..Facts::default() }
}

// matrix: E6
#[test]
fn a_precommit_is_sent_while_it_can_execute_within_3780_epochs_of_the_ticket() {
    // the message executes in the epoch after the head
    let age = |age: i64| wish_at(&sealed_sector(), &nothing(), 8_000 + age - 1);
    assert_eq!((age(3_779), age(3_780)), (Next::SubmitPreCommit, Next::SubmitPreCommit));
    assert_eq!(kind(&age(3_781)), Some(E::SealPreCommitFailed));
    let failed = Record { state: S::PreCommitFailed, ..sealed_sector() };
    assert_eq!(kind(&wish_at(&failed, &nothing(), 8_000 + 3_779)), Some(E::RetryPreCommit));
    assert_eq!(kind(&wish_at(&failed, &nothing(), 8_000 + 3_780)), Some(E::SealPreCommitFailed));
}

// matrix: E5, B6
#[test]
fn an_old_ticket_is_replaced_wherever_it_is_found_and_no_layer_of_it_is_used() {
    let late = 8_000 + 3_780;
    for state in [S::PreCommit1, S::PreCommit2, S::PreCommitting, S::PreCommitFailed, S::SealFailed] {
        let mut sector = Record { state, ..sealed_sector() };
        let mut way = Vec::new();
        while let Next::Record(event) = wish_at(&sector, &nothing(), late) {
            way.push(event.kind());
            sector = sector.apply(&event, NOW).unwrap();
        }
        assert_eq!(way.last(), Some(&E::TicketExpired), "{state}: {way:?}");
        assert_eq!((sector.state, &sector.ticket, &sector.sealed), (S::PreCommit1, &None, &None), "{state}");
        assert_eq!(wish_at(&sector, &nothing(), late), Next::DrawTicket, "{state}");
    }
}

// matrix: E5
#[test]
fn no_layer_is_begun_that_cannot_be_precommitted_in_time() {
    let wish = |needed, record: &Record, head| {
        let policy = Policy { to_precommit: needed, ..POLICY };
        next(record, Some(&nothing()), Some(at(head)), &policy, NOW)
    };
    let drawn = Record { ticket: Some(ticket(8_000)), ..record(S::PreCommit1) };
    let left = |left: i64| 8_000 + 3_780 - left;
    assert_eq!(wish(Some(1_000), &drawn, left(1_000)), Next::Work(Stage::PreCommit1));
    assert_eq!(wish(Some(1_000), &drawn, left(999)), Next::Record(Ev::TicketExpired));
    assert_eq!(wish(None, &drawn, left(1)), Next::Work(Stage::PreCommit1), "nothing is refused on a guess");
    // a machine that is too slow for every ticket draws none, and says so
    let undrawn = record(S::PreCommit1);
    let longest = 3_780 - 900 - POLICY.margin;
    assert_eq!(wish(Some(longest), &undrawn, 9_000), Next::DrawTicket);
    assert_eq!(wish(None, &undrawn, 9_000), Next::DrawTicket);
    let Next::Wait(wait) = wish(Some(longest + 1), &undrawn, 9_000) else { panic!() };
    assert!(wait.until == WakeUp::Operator && wait.reason.contains("about 2781 epochs"), "{}", wait.reason);
    // who may draw may also begin: no ticket is drawn only to be dropped
    for margin in [0, 1, 100] {
        let policy = Policy { margin, ..POLICY };
        for needed in 2_700..2_900 {
            let policy = Policy { to_precommit: Some(needed), ..policy };
            let draws = next(&undrawn, Some(&nothing()), Some(at(8_900)), &policy, NOW) == Next::DrawTicket;
            let begins = next(&drawn, Some(&nothing()), Some(at(8_905)), &policy, NOW);
            assert!(!draws || begins == Next::Work(Stage::PreCommit1), "{margin} {needed} {begins:?}");
        }
    }
    // one that was pre-committed is sealed again however late it is
    let live = wish_at(&drawn, &precommitted(), 8_000 + 3_780);
    assert_eq!(live, Next::Work(Stage::PreCommit1));
}

// matrix: D14
#[test]
fn a_proof_is_sent_so_that_it_executes_151_epochs_after_the_precommit_at_the_earliest() {
    let executes_after = |epochs: i64| wish_at(&proven(), &precommitted(), 9_000 + epochs - 1);
    let Next::Wait(wait) = executes_after(150) else { panic!() };
    assert_eq!(wait.until, WakeUp::At(Epoch::new(9_150)));
    assert_eq!(executes_after(151), Next::SubmitCommit);
    // the seed counts at the seed's confidence after that
    let waiting = Record { state: S::WaitSeed, seed: None, porep: None, ..proven() };
    let Next::Wait(wait) = wish_at(&waiting, &precommitted(), 9_151) else { panic!() };
    assert_eq!(wait.until, WakeUp::At(Epoch::new(9_152)));
    assert_eq!(kind(&wish_at(&waiting, &precommitted(), 9_152)), Some(E::SeedReady));
}

// matrix: B15, B14
#[test]
fn a_seed_is_taken_for_its_own_epoch_only_however_late() {
    let waiting = Record { state: S::WaitSeed, seed: None, porep: None, ..proven() };
    let wish = wish_at(&waiting, &precommitted(), 9_150 + 1_000);
    assert_eq!(wish, Next::Record(Ev::SeedReady { seed: seed(1) }));
    let other = Seed { epoch: Epoch::new(10_000), ..seed(1) };
    for state in [S::WaitSeed, S::Committing] {
        let start = Record { state, ..waiting.clone() };
        let wrong = Facts { seed: Some(other.clone()), ..precommitted() };
        let wish = wish_at(&start, &wrong, 10_150);
        assert!(matches!(&wish, Next::Wait(wait) if wait.until == WakeUp::NextHead), "{state} {wish:?}");
    }
}

// matrix: E8
#[test]
fn a_sector_whose_proof_came_too_late_is_lost_with_its_deposit_named() {
    let last = 9_000 + 150 + PROVE_COMMIT_WINDOW;
    assert_eq!(wish_at(&proven(), &precommitted(), last - 1), Next::SubmitCommit);
    // too late to be sent, not yet so deep that it is certain
    for head in last..=last + POLICY.message_confidence {
        let Next::Wait(wait) = wish_at(&proven(), &precommitted(), head) else { panic!("{head}") };
        assert!(matches!(wait.until, WakeUp::At(epoch) if epoch > Epoch::new(head)), "{head} {wait:?}");
    }
    let gone = Facts { precommit: None, seed: None, ..precommitted() };
    let states =
        [S::PreCommit1, S::PreCommit2, S::SealFailed, S::WaitSeed, S::Committing, S::CommitWait, S::CommitFailed];
    for state in states {
        // the chain may have cleared the pre-commit, or not yet
        for facts in [precommitted(), gone.clone()] {
            let commit = Some(Commit { message: message() });
            let mut sector = Record { state, commit, ..proven() };
            let facts = Facts { message: Some(MessageView::Pushed), ..facts };
            while let Next::Record(event) = wish_at(&sector, &facts, last + 100) {
                sector = sector.apply(&event, NOW).unwrap();
            }
            assert_eq!(sector.state, S::FailedUnrecoverable, "{state}");
            let why = sector.failure.unwrap().error;
            assert!(why.contains("its deposit of 7 attoFIL is lost"), "{state}: {why}");
        }
    }
}

#[test]
fn the_deadline_book_says_what_is_due_and_what_is_left() {
    assert_eq!(nearest(&record(S::PreCommit1), CHAIN, &POLICY), None);
    let due = nearest(&sealed_sector(), CHAIN, &POLICY).unwrap();
    assert_eq!((due.what, due.at, due.slack), ("its pre-commit to be on chain", Epoch::new(11_780), 1_780));
    let due = nearest(&proven(), CHAIN, &POLICY).unwrap();
    assert_eq!((due.what, due.at, due.slack), ("its proof to be on chain", Epoch::new(95_550), 85_550));
    for state in [S::FailedUnrecoverable, S::Removing, S::Removed, S::Terminating, S::Proving] {
        assert_eq!(deadlines(&Record { state, ..proven() }, CHAIN, &POLICY), [], "{state}");
    }
}

#[test]
fn a_forecast_needs_every_stage_on_the_way_to_be_measured() {
    let hour = 3_600_000;
    let mut known = BTreeMap::from([(Stage::PreCommit1, 4 * hour), (Stage::Commit, hour)]);
    assert_eq!(forecast(&known, 30, Stage::PreCommit1), None);
    assert_eq!(forecast(&known, 30, Stage::Commit), Some(120 + 5));
    known.insert(Stage::PreCommit2, hour + 1);
    assert_eq!(forecast(&known, 30, Stage::PreCommit1), Some(601 + 5));
    assert_eq!(forecast(&known, 30, Stage::PreCommit2), Some(121 + 5));
    assert_eq!(forecast(&known, 30, Stage::Finalize), None);
    assert!(forecast(&BTreeMap::from([(Stage::Commit, u64::MAX)]), 0, Stage::Commit).is_some());
}

// matrix: C3
#[test]
fn by_a_head_that_is_too_old_nothing_is_sent_dropped_or_called_late() {
    let old = ChainNow { stale: true, ..CHAIN };
    let mut waited = 0;
    for state in S::ALL {
        for record in all_records(*state) {
            for facts in all_facts().into_iter().step_by(5) {
                let wish = next(&record, Some(&facts), Some(old), &POLICY, NOW);
                let fresh = next(&record, Some(&facts), Some(CHAIN), &POLICY, NOW);
                if wish != fresh {
                    assert!(matches!(&wish, Next::Wait(wait) if wait.until == WakeUp::NextHead), "{wish:?}");
                    waited += 1;
                }
                match &wish {
                    Next::Wait(_) | Next::Rest => {}
                    Next::Work(stage) => assert!(*stage < Stage::Finalize, "{state}"),
                    Next::Record(event) => {
                        let after = record.apply(event, NOW).unwrap();
                        assert_eq!(after.ticket, record.ticket, "{event:?}");
                        assert!(!after.state.is_given_up() || record.state.is_given_up(), "{event:?}");
                    }
                    other => panic!("{state} wants {other:?} by an old head"),
                }
            }
        }
    }
    assert!(waited > 1_000);
    let missed = wish_at(&proven(), &precommitted(), 200_000);
    assert_eq!(kind(&missed), Some(E::GivenUp));
    let behind = ChainNow { stale: true, ..at(200_000) };
    assert!(matches!(next(&proven(), Some(&precommitted()), Some(behind), &POLICY, NOW), Next::Wait(_)));
}

// matrix: C3, C13
#[test]
fn a_head_is_old_after_ten_epochs_or_five_minutes_whichever_is_longer() {
    let made = NOW;
    let old = |ms: i64, secs| is_stale(made, made.plus_ms(ms), secs);
    assert_eq!((old(300_000, 30), old(300_001, 30)), (false, true));
    assert_eq!((old(600_000, 60), old(600_001, 60)), (false, true));
    assert_eq!((old(300_000, 1), old(300_001, 1)), (false, true));
    assert!(!old(-3_600_000, 30), "a head from the future is not an old one");
}

// matrix: C13
#[test]
fn a_clock_that_jumps_an_hour_moves_no_deadline() {
    for state in S::ALL {
        for record in all_records(*state) {
            for facts in all_facts().iter().step_by(7) {
                let by = |now| match next(&record, Some(facts), Some(CHAIN), &POLICY, now) {
                    // when something is tried again is a matter of the clock; whether and what is not
                    Next::Record(event) => format!("{:?}", event.kind()),
                    wish => format!("{wish:?}"),
                };
                let hour = 3_600_000;
                assert_eq!((by(NOW.plus_ms(hour)), by(NOW.plus_ms(-hour))), (by(NOW), by(NOW)), "{state}");
            }
        }
    }
}

// matrix: C4, C12
#[test]
fn a_precommit_that_a_reorganisation_takes_is_waited_for_again_with_the_same_message() {
    let waiting = Record { state: S::WaitSeed, seed: None, porep: None, ..proven() };
    let pending = Facts { message: Some(MessageView::Pushed), ..nothing() };
    let moved = |epoch: i64| {
        let precommit = precommitted().precommit.map(|p| OnChainPreCommit { epoch: Epoch::new(epoch), ..p });
        let seed =
            Some(Seed { epoch: Epoch::new(epoch + 150), value: Hash32([u8::try_from(epoch - 9_000).unwrap(); 32]) });
        Facts { precommit, seed, message: pending.message.clone(), ..precommitted() }
    };
    let (mut sector, mut sent) = (waiting, Vec::new());
    // two forks in turn, and one without the message between them
    for round in 0..10 {
        let facts = [pending.clone(), moved(9_002), pending.clone(), moved(9_000)][round % 4].clone();
        for _ in 0..8 {
            match wish_at(&sector, &facts, 9_500) {
                Next::Record(event) => sector = sector.apply(&event, NOW).unwrap(),
                Next::Wait(_) | Next::Work(Stage::Commit) => break,
                other => sent.push(other),
            }
        }
        match &facts.precommit {
            None => assert_eq!((sector.state, &sector.seed), (S::WaitSeed, &None)),
            Some(precommit) => {
                assert_eq!(sector.state, S::Committing);
                assert_eq!(sector.seed.as_ref().unwrap().epoch, precommit.epoch.plus(150));
            }
        }
        assert_eq!(sector.precommit.as_ref().unwrap().message, message(), "the same message");
    }
    assert_eq!(sent, []);
}

// matrix: C5, C6
#[test]
fn a_proof_is_made_anew_for_a_seed_that_changed_and_sent_once() {
    let value = Facts { seed: Some(seed(2)), ..precommitted() };
    let precommit = precommitted().precommit.map(|p| OnChainPreCommit { epoch: Epoch::new(9_002), ..p });
    let later = Some(Seed { epoch: Epoch::new(9_152), ..seed(2) });
    let epoch = Facts { precommit, seed: later, ..precommitted() };
    for facts in [value, epoch] {
        for porep in [None, Some("aa".to_owned())] {
            let mut sector = Record { porep, ..proven() };
            let attempt = sector.attempt();
            let mut way = Vec::new();
            let wish = loop {
                match wish_at(&sector, &facts, 9_500) {
                    Next::Record(event) => {
                        way.push(event.kind());
                        sector = sector.apply(&event, NOW).unwrap();
                    }
                    other => break other,
                }
            };
            assert_eq!(wish, Next::Work(Stage::Commit), "{way:?}");
            assert_eq!((&sector.seed, &sector.porep), (&facts.seed, &None));
            assert_ne!(sector.attempt(), attempt, "the proof that is being made is not taken");
            let proven = sector.apply(&Ev::ProofReady { porep: "bb".to_owned() }, NOW).unwrap();
            assert_eq!(wish_at(&proven, &facts, 9_500), Next::SubmitCommit);
            let sent = proven.apply(&Ev::Committed { message: message() }, NOW).unwrap();
            let pushed = Facts { message: Some(MessageView::Pushed), ..facts.clone() };
            assert!(matches!(wish_at(&sent, &pushed, 9_500), Next::Wait(_)));
        }
    }
}

// matrix: C8
#[test]
fn a_sector_that_a_reorganisation_takes_goes_back_and_its_cache_is_kept_until_finality() {
    let active = Facts {
        sector: Some(OnChainSector { activation: activation(), faulty: false }),
        precommit: None,
        ..precommitted()
    };
    let commit = Some(Commit { message: message() });
    let finalizing = Record { state: S::FinalizeSector, activation: Some(activation()), commit, ..proven() };
    let deferred = finalizing.apply(&Ev::FinalizeDeferred, NOW).unwrap();
    for head in 9_501..10_400 {
        let chain = ChainNow { finalized: Epoch::new(head - 900), ..at(head) };
        let wish = next(&finalizing, Some(&active), Some(chain), &POLICY, NOW);
        let early = head - 900 < 9_500;
        assert_eq!(matches!(wish, Next::Work(Stage::Finalize)), !early, "{head} {wish:?}");
        let later = next(&deferred, Some(&active), Some(chain), &POLICY, NOW);
        assert_eq!(later, if early { Next::Rest } else { Next::Work(Stage::Finalize) }, "{head}");
    }
    let reverted = wish_at(&finalizing, &Facts { message: Some(MessageView::Pushed), ..precommitted() }, 9_600);
    assert_eq!(reverted, Next::Record(Ev::CommitReverted));
    let back = finalizing.apply(&Ev::CommitReverted, NOW).unwrap();
    assert_eq!((back.state, &back.activation, &back.porep), (S::CommitWait, &None, &proven().porep));
    let pushed = Facts { message: Some(MessageView::Pushed), ..precommitted() };
    assert!(matches!(wish_at(&back, &pushed, 9_600), Next::Wait(_)), "the same message may land again");
}
