//! Orders of an operator, and what is late or out of turn.

use super::{super::operator::*, *};

/// A sector as an ordinary life leaves it in this state.
fn typical(state: State) -> Record {
    let full = Record {
        ticket: Some(ticket(8_000)),
        sealed: Some(sealed()),
        precommit: Some(PreCommit { message: message(), landed: Some(landed()) }),
        seed: Some(seed(1)),
        porep: Some("aa".to_owned()),
        commit: Some(Commit { message: Some(MessageId("m-2".to_owned())) }),
        activation: Some(activation()),
        store: store(),
        ..record(state)
    };
    let unproven = || Record { commit: None, activation: None, store: None, ..full.clone() };
    let unsent = || Record { precommit: None, seed: None, porep: None, ..unproven() };
    match state {
        S::Packing | S::PackingFailed => record(state),
        S::PreCommit1 | S::PreCommit2 | S::SealFailed => Record { sealed: None, ..unsent() },
        S::PreCommitting | S::PreCommitFailed => unsent(),
        S::WaitSeed => Record { precommit: Some(PreCommit { message: message(), landed: None }), ..unsent() },
        S::Committing | S::ComputeProofFailed | S::CommitFailed | S::FailedUnrecoverable => unproven(),
        S::CommitWait => Record { activation: None, store: None, ..full },
        S::FinalizeSector => Record { store: None, ..full },
        S::Proving | S::Faulty | S::FaultReported | S::FaultedFinal | S::Removing | S::Removed => full,
        S::Terminating => Record { termination: Some(Termination { message: message(), epoch: None }), ..full },
    }
}

/// What the chain can show of it, each with a word for it.
fn views() -> Vec<(&'static str, Facts)> {
    let precommit = OnChainPreCommit {
        epoch: landed().epoch,
        ticket_epoch: Epoch::new(8_000),
        comm_r: sealed().comm_r,
        deposit: landed().deposit,
    };
    let sector = OnChainSector { activation: activation(), faulty: false };
    vec![
        ("nothing", Facts::default()),
        ("pending", Facts { message: Some(MessageView::Pushed), ..Facts::default() }),
        ("precommit", Facts { precommit: Some(precommit), allocated: true, seed: Some(seed(1)), ..Facts::default() }),
        ("active", Facts { sector: Some(sector), allocated: true, ..Facts::default() }),
        ("gone", Facts { allocated: true, ..Facts::default() }),
    ]
}

// matrix: A10
/// `UPDATE_EXPECT=1` writes the file anew; the difference is then a matter for review.
#[test]
fn every_order_in_every_state_is_judged() {
    let orders = [("retry", Order::Retry), ("remove", Order::Remove), ("terminate", Order::Terminate)];
    let mut found = String::new();
    for state in S::ALL {
        for (name, order) in orders {
            for (view, facts) in views() {
                let answer = match judge(&typical(*state), Some(&facts), Some(CHAIN), order) {
                    Ok(verdict) => {
                        let yes = if verdict.needs_yes { "with a yes" } else { "freely" };
                        format!("{yes}: {}", verdict.costs.join("; "))
                    }
                    Err(refusal) => format!("no: {refusal}"),
                };
                found.push_str(format!("{state}, {name}, {view}, {answer}").trim_end_matches([' ', ':']));
                found.push('\n');
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sector/orders.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let changed = found.lines().filter(|line| !expected.lines().any(|known| known == *line)).collect::<Vec<_>>();
    assert!(found == expected, "src/sector/orders.txt is stale; UPDATE_EXPECT=1 rewrites it. Changed: {changed:#?}");
}

// matrix: A10
#[test]
fn an_order_never_loses_money_or_a_live_sector_without_a_yes() {
    let orders = [Order::Retry, Order::Remove, Order::Terminate]
        .into_iter()
        .chain(S::ALL.iter().map(|state| Order::SetState(*state)));
    let mut allowed = BTreeSet::new();
    for order in orders {
        for state in S::ALL {
            let records = all_records(*state).into_iter().step_by(3).chain([typical(*state)]);
            for record in records {
                for (_, facts) in views() {
                    let verdict = match judge(&record, Some(&facts), Some(CHAIN), order) {
                        Ok(verdict) => verdict,
                        Err(refusal) => {
                            assert!(!refusal.why.is_empty() && !refusal.next.is_empty());
                            continue;
                        }
                    };
                    allowed.insert(format!("{order:?}"));
                    let after = record.apply(&verdict.event, NOW).unwrap_or_else(|e| panic!("{e}: {order:?}"));
                    assert_awake(&after, Some(&facts), &next(&after, Some(&facts), Some(CHAIN), &POLICY, NOW));
                    match order {
                        Order::Retry => assert!(!verdict.needs_yes && verdict.costs.is_empty() && after.attempts == 0),
                        Order::Terminate => assert!(verdict.needs_yes && facts.sector.is_some()),
                        Order::Remove => {
                            assert!(facts.sector.is_none(), "{record:#?}");
                            if let Some(precommit) = &facts.precommit {
                                let named = verdict.costs.iter().any(|c| c.contains(&precommit.deposit.to_string()));
                                assert!(verdict.needs_yes && named, "{verdict:?}");
                            }
                        }
                        Order::SetState(to) => {
                            assert_eq!(after.state, to);
                            assert!(facts.sector.is_none() || !after.state.is_given_up(), "{to}");
                            // nothing the record holds is dropped: what was sent is still followed
                            let back = Record { state: record.state, attempts: record.attempts, ..after.clone() };
                            assert_eq!(Record { version: record.version, ..back }, record);
                        }
                    }
                }
            }
        }
    }
    let reachable = S::ALL.len() - 3;
    assert_eq!(allowed.len(), 3 + reachable, "{allowed:?}");
}

// matrix: A10
#[test]
fn without_a_fresh_view_of_the_chain_nothing_is_removed_terminated_or_forced() {
    let stale = ChainNow { stale: true, ..CHAIN };
    for state in S::ALL {
        for (_, facts) in views() {
            for (facts, chain) in [(None, Some(CHAIN)), (Some(&facts), None), (Some(&facts), Some(stale))] {
                for order in [Order::Remove, Order::Terminate, Order::SetState(S::PreCommit1)] {
                    assert!(judge(&typical(*state), facts, chain, order).is_err(), "{state} {order:?}");
                }
            }
        }
        let retried = judge(&typical(*state), None, None, Order::Retry).is_ok();
        assert_eq!(retried, typical(*state).apply(&Ev::RetryAsked, NOW).is_ok());
    }
}

#[test]
fn a_state_is_set_only_where_the_record_has_its_data() {
    let view = |name: &str| views().into_iter().find(|(known, _)| *known == name).unwrap().1;
    let set = |record: &Record, facts: &Facts, state| judge(record, Some(facts), Some(CHAIN), Order::SetState(state));
    let refused = |record: &Record, facts: &Facts, state| set(record, facts, state).unwrap_err().to_string();
    let sealing = typical(S::PreCommit2);
    let why = "a sector in WaitSeed has a replica, and this one has none; choose an earlier state";
    assert_eq!(refused(&sealing, &view("nothing"), S::WaitSeed), why);
    let why = "Removed is not set by hand; `sectors terminate` and `sectors remove` lead there";
    assert_eq!(refused(&sealing, &view("nothing"), S::Removed), why);
    let why = "the chain has this sector as active; choose CommitWait or later, or terminate it";
    assert_eq!(refused(&typical(S::Proving), &view("active"), S::PreCommit1), why);
    let why = "the chain does not have this sector; choose a state before CommitWait";
    assert_eq!(refused(&typical(S::Proving), &view("precommit"), S::FinalizeSector), why);
    let why = "its number was used on chain and its pre-commit is gone; choose FailedUnrecoverable";
    assert_eq!(refused(&typical(S::Committing), &view("gone"), S::PreCommitting), why);
    let why = "it was pre-committed, and Packing comes before that; choose PreCommit1 or later";
    assert_eq!(refused(&typical(S::Committing), &view("precommit"), S::Packing), why);
    // giving up what is pre-committed costs its deposit
    let given_up = set(&typical(S::Committing), &view("precommit"), S::FailedUnrecoverable).unwrap();
    assert!(given_up.needs_yes && given_up.costs.iter().any(|cost| cost.contains("7 attoFIL")), "{given_up:?}");
}

// matrix: A6
#[test]
fn a_forced_state_wins_over_a_result_that_comes_late() {
    let forced = |record: &Record, state| record.apply(&Ev::StateForced { state }, NOW.plus_ms(1)).unwrap();
    for state in [S::PreCommit1, S::PreCommit2, S::Committing, S::FinalizeSector] {
        let running = typical(state);
        let attempt = running.attempt();
        for to in S::ALL {
            if running.apply(&Ev::StateForced { state: *to }, NOW).is_err() {
                continue;
            }
            // also when it is put where it is: what ran there before is not what is wanted now
            let after = forced(&running, *to);
            assert_eq!(after.state, *to);
            assert_ne!(after.attempt(), attempt, "{state} {to}");
        }
    }
}

// matrix: A6, D17
#[test]
fn a_message_on_its_way_is_followed_from_wherever_its_sector_was_put() {
    let sent = typical(S::WaitSeed);
    for to in [S::PreCommit1, S::PreCommit2, S::PreCommitting, S::PreCommitFailed, S::SealFailed] {
        let mut sector = sent.apply(&Ev::StateForced { state: to }, NOW).unwrap();
        assert_eq!(sector.current_message(), sent.current_message(), "{to}");
        let same = Some((Epoch::new(8_000), ticket(8_000).value));
        let pushed = Facts { message: Some(MessageView::Pushed), ticket: same, ..Facts::default() };
        for _ in 0..20 {
            match next(&sector, Some(&pushed), Some(CHAIN), &POLICY, NOW) {
                Next::Record(event) => sector = sector.apply(&event, NOW).unwrap(),
                Next::Work(Stage::PreCommit1) => sector = sector.apply(&Ev::PreCommit1Done, NOW).unwrap(),
                Next::Work(Stage::PreCommit2) => {
                    sector = sector.apply(&Ev::PreCommit2Done { sealed: sealed() }, NOW).unwrap();
                }
                Next::Wait(_) => break,
                other => panic!("{to} wants {other:?} while its pre-commit may land"),
            }
        }
        assert_eq!(sector.state, S::PreCommitting, "{to}");
        // it lands: it is adopted, with its message
        let (_, landed) = views().remove(2);
        let Next::Record(event) = next(&sector, Some(&landed), Some(CHAIN), &POLICY, NOW) else { panic!("{to}") };
        let adopted = sector.apply(&event, NOW).unwrap();
        assert_eq!((adopted.state, adopted.current_message()), (S::WaitSeed, sent.current_message()));
        // it is refused: another may be sent
        let refused = Facts { message: Some(MessageView::Refused { why: "no".to_owned() }), ..pushed.clone() };
        assert_eq!(next(&sector, Some(&refused), Some(CHAIN), &POLICY, NOW), Next::SubmitPreCommit, "{to}");
    }
    // a prove-commit likewise
    let sent = typical(S::CommitWait);
    let (_, precommitted) = views().remove(2);
    let sector = sent.apply(&Ev::StateForced { state: S::Committing }, NOW).unwrap();
    let wish = |message| next(&sector, Some(&Facts { message, ..precommitted.clone() }), Some(CHAIN), &POLICY, NOW);
    assert!(matches!(wish(Some(MessageView::Pushed)), Next::Wait(_)));
    assert_eq!(wish(Some(MessageView::Refused { why: "no".to_owned() })), Next::SubmitCommit);
    let remove =
        judge(&sector, Some(&Facts { message: Some(MessageView::Pushed), ..precommitted }), Some(CHAIN), Order::Remove);
    assert!(remove.unwrap_err().why.contains("may still make it active"));
}

// matrix: A7
#[test]
fn a_result_and_a_new_seed_that_come_together_end_alike_in_either_order() {
    let running = Record { porep: None, ..typical(S::Committing) };
    let attempt = running.attempt();
    let seed_changed = Ev::SeedReady { seed: seed(2) };
    let proof = Ev::ProofReady { porep: "aa".to_owned() };
    // a result is recorded while it is the sector's
    let result = |record: &Record| {
        let taken = record.attempt() == attempt;
        if taken { record.apply(&proof, NOW).unwrap() } else { record.clone() }
    };
    let first = result(&running.apply(&seed_changed, NOW).unwrap());
    let second = result(&running).apply(&seed_changed, NOW).unwrap();
    assert_eq!(Record { version: 0, ..first.clone() }, Record { version: 0, ..second });
    assert_eq!((first.porep, first.seed), (None, Some(seed(2))));
    // two failures count twice, whichever comes first; a restart between them changes nothing
    let fail = |record: &Record, class| {
        let failure = Failure { class, ..failure() };
        record.apply(&Ev::AttemptFailed { failure, retry_at: NOW }, NOW).unwrap()
    };
    let (chain, worker) = (Class::Chain, Class::Worker);
    let one = fail(&fail(&running, chain), worker);
    let other = fail(&restarted(&fail(&running, worker)), chain);
    assert_eq!((one.attempts, one.state), (other.attempts, other.state));
}

fn restarted(record: &Record) -> Record {
    serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap()
}

// matrix: A5
#[test]
fn a_restart_changes_nothing_of_what_a_sector_wants() {
    for state in S::ALL {
        for record in [typical(*state), record(*state)] {
            let again = restarted(&record);
            assert_eq!(again, record);
            for (_, facts) in views() {
                let wish = |record| next(record, Some(&facts), Some(CHAIN), &POLICY, NOW);
                assert_eq!(wish(&again), wish(&record), "{state}");
            }
        }
    }
}

#[test]
fn a_record_of_before_terminations_is_read() {
    let mut stored = serde_json::to_value(typical(S::Proving)).unwrap();
    stored.as_object_mut().unwrap().remove("termination").unwrap();
    assert_eq!(serde_json::from_value::<Record>(stored).unwrap(), typical(S::Proving));
}

// matrix: A10
#[test]
fn orders_to_a_sector_whose_cache_is_whole_keep_its_files() {
    let (_, active) = views().remove(3);
    let whole = Record { store: None, ..typical(S::Proving) };
    let order = |order| judge(&whole, Some(&active), Some(CHAIN), order);
    // the trim is tried again, and no state needs a trim
    let tired = Record { attempts: 9, retry_at: Some(NOW.plus_ms(1)), failure: Some(failure()), ..whole.clone() };
    let again = tired.apply(&order(Order::Retry).unwrap().event, NOW).unwrap();
    assert_eq!((again.state, again.attempts, again.retry_at), (S::Proving, 0, None));
    for state in [S::FinalizeSector, S::Proving, S::CommitWait] {
        assert!(order(Order::SetState(state)).is_ok(), "{state}");
    }
    assert!(order(Order::Remove).unwrap_err().why.contains("active on chain"));
    assert!(order(Order::SetState(S::PreCommit1)).is_err());
    // ended while the trim runs: what comes of that is late, and the files of every repo are removed in the end
    let ended = whole.apply(&order(Order::Terminate).unwrap().event, NOW).unwrap();
    assert_eq!(ended.state, S::Terminating);
    assert_ne!(ended.attempt(), whole.attempt());
    assert!(ended.apply(&event(E::Finalized), NOW).is_err());
    // trimmed, there is nothing to try again
    assert!(judge(&typical(S::Proving), Some(&active), Some(CHAIN), Order::Retry).is_err());
}

// matrix: C9
#[test]
fn a_seed_that_is_told_again_or_too_late_changes_nothing() {
    let told = Ev::SeedReady { seed: seed(1) };
    for state in [S::CommitWait, S::FinalizeSector, S::Proving, S::PreCommitFailed] {
        assert!(typical(state).apply(&told, NOW).is_err(), "{state}");
    }
    let proven = typical(S::Committing);
    let again = proven.apply(&told, NOW).unwrap();
    assert_eq!(Record { version: proven.version, ..again }, proven);
}

// matrix: E9, E10
#[test]
fn a_result_of_another_attempt_is_not_the_sectors_and_one_result_counts_once() {
    let running = typical(S::PreCommit1);
    let attempt = running.attempt();
    let cooled = running.apply(&event(E::AttemptFailed), NOW).unwrap();
    assert_eq!(cooled.attempt(), attempt, "the same layers, gone on with");
    let drawn = Ev::TicketDrawn { ticket: Ticket { value: Hash32([7; 32]), ..ticket(8_100) } };
    let other = running.apply(&Ev::TicketExpired, NOW).unwrap().apply(&drawn, NOW).unwrap();
    assert_ne!(other.attempt(), attempt, "layers of another ticket");
    let proving = typical(S::Committing);
    let reseeded = proving.apply(&Ev::SeedReady { seed: seed(2) }, NOW).unwrap();
    assert_ne!(reseeded.attempt(), proving.attempt(), "a proof for another seed");
    // told twice
    let results = [
        (S::PreCommit1, Ev::PreCommit1Done),
        (S::PreCommit2, Ev::PreCommit2Done { sealed: sealed() }),
        (S::FinalizeSector, Ev::Finalized { store: store().unwrap() }),
        (S::Removing, Ev::RemoveDone),
    ];
    for (state, result) in results {
        let once = typical(state).apply(&result, NOW).unwrap();
        assert!(once.apply(&result, NOW).is_err(), "{state}");
        assert_ne!(once.attempt(), typical(state).attempt(), "{state}");
    }
    let proof = Ev::ProofReady { porep: "aa".to_owned() };
    let once = proving.apply(&proof, NOW).unwrap();
    assert_eq!(Record { version: once.version, ..once.apply(&proof, NOW).unwrap() }, once);
}

// matrix: F12
#[test]
fn a_number_that_a_live_sector_has_is_never_sealed_over_or_removed() {
    let (_, active) = views().remove(3);
    for state in [S::PreCommit1, S::PreCommit2, S::SealFailed] {
        for ticket in [None, Some(ticket(8_000))] {
            let mistaken = Record { ticket, ..record(state) };
            let mut sector = mistaken;
            while let Next::Record(event) = next(&sector, Some(&active), Some(CHAIN), &POLICY, NOW) {
                sector = sector.apply(&event, NOW).unwrap();
            }
            assert_eq!(sector.state, S::FailedUnrecoverable, "{state}");
            let why = "the chain has an active sector of this number that was not sealed here";
            assert_eq!(sector.failure.as_ref().unwrap().error, why);
            assert!(judge(&sector, Some(&active), Some(CHAIN), Order::Remove).is_err());
            // not even if it was ordered before the chain was known
            let removing = sector.apply(&Ev::RemoveAsked, NOW).unwrap();
            let wish = next(&removing, Some(&active), Some(CHAIN), &POLICY, NOW);
            assert!(matches!(&wish, Next::Wait(wait) if wait.until == WakeUp::Operator), "{wish:?}");
        }
    }
}

#[test]
fn a_terminated_sector_is_removed_when_its_end_is_final() {
    let start = typical(S::Proving).apply(&Ev::TerminateAsked, NOW).unwrap();
    let (_, active) = views().remove(3);
    let wish = |record: &Record, facts: &Facts, chain| next(record, Some(facts), Some(chain), &POLICY, NOW);
    assert_eq!(wish(&start, &active, CHAIN), Next::SubmitTerminate);
    let sent = start.apply(&Ev::TerminateSent { message: message() }, NOW).unwrap();
    assert_eq!(sent.current_message(), message().as_ref());
    let view = |message| Facts { message: Some(message), ..active.clone() };
    assert!(matches!(wish(&sent, &view(MessageView::Pushed), CHAIN), Next::Wait(_)));
    // refused: again, later
    let refused = wish(&sent, &view(MessageView::Refused { why: "the deadline is immutable".to_owned() }), CHAIN);
    let Next::Record(event @ Ev::TerminateFailed { .. }) = refused else { panic!("{refused:?}") };
    let failed = sent.apply(&event, NOW).unwrap();
    let later = failed.retry_at.unwrap();
    assert_eq!(next(&failed, Some(&active), Some(CHAIN), &POLICY, later), Next::SubmitTerminate);
    // executed, though the chain lists the sector for a while yet
    let executed = view(MessageView::Landed { exit_code: 0, own: true, height: Epoch::new(9_990) });
    let Next::Record(event) = wish(&sent, &executed, CHAIN) else { panic!() };
    assert_eq!(event, Ev::Terminated { epoch: Epoch::new(9_990) });
    let ended = sent.apply(&event, NOW).unwrap();
    let Next::Wait(wait) = wish(&ended, &executed, CHAIN) else { panic!() };
    assert_eq!(wait.until, WakeUp::At(HEAD.plus(890)));
    // a reorganisation takes it back, and the same message may land again
    assert_eq!(wish(&ended, &view(MessageView::Pushed), CHAIN), Next::Record(Ev::TerminateReverted));
    let back = ended.apply(&Ev::TerminateReverted, NOW).unwrap();
    assert!(matches!(wish(&back, &view(MessageView::Pushed), CHAIN), Next::Wait(_)));
    // final: its files go, and then nothing is left to do
    let finalized = ChainNow { finalized: Epoch::new(9_990), ..CHAIN };
    let mut sector = ended;
    for want in [Next::Record(Ev::RemoveAsked), Next::Work(Stage::Remove), Next::Rest] {
        let wish = wish(&sector, &executed, finalized);
        assert_eq!(wish, want);
        sector = match wish {
            Next::Record(event) => sector.apply(&event, NOW).unwrap(),
            Next::Work(_) => sector.apply(&Ev::RemoveDone, NOW).unwrap(),
            _ => sector,
        };
    }
    assert_eq!(sector.state, S::Removed);
    assert!(S::ALL.iter().all(|state| sector.apply(&Ev::StateForced { state: *state }, NOW).is_err()));
}
