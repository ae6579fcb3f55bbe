//! What a sector wants, for every combination of facts.

use super::*;

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
            let free = next(&record(*state), Some(&facts), Some(CHAIN), &POLICY, NOW);
            let spent = Record { attempts: 2 * POLICY.attempts, failure: Some(failure()), ..record(*state) };
            let cooling = Record { retry_at: Some(NOW.plus_ms(1)), ..record(*state) };
            for (record, until) in [(spent, WakeUp::Operator), (cooling, WakeUp::Time(NOW.plus_ms(1)))] {
                match next(&record, Some(&facts), Some(CHAIN), &POLICY, NOW) {
                    Next::Wait(wait) => assert_eq!(wait.until, until, "{state}"),
                    // what the chain shows is taken all the same, and nothing else is
                    Next::Record(event) => {
                        let changed = matches!(event, Ev::CommitFailed { .. } | Ev::ChainPreCommitFailed { .. });
                        assert!(free == Next::Record(event) && !changed, "{state} {free:?}");
                    }
                    wish => panic!("{state} wants {wish:?}"),
                }
            }
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
    let taken = next(&record(S::PreCommit1), Some(&ours), Some(CHAIN), &POLICY, NOW);
    let Next::Record(Ev::GivenUp { failure }) = taken else { panic!("{taken:?}") };
    assert_eq!(failure.error, "the chain holds a pre-commit of this number with another ticket");
    // no proof without a seed
    let committing = Record {
        ticket: Some(ticket(8_000)),
        sealed: Some(sealed()),
        precommit: Some(PreCommit { message: None, landed: Some(landed()) }),
        ..record(S::Committing)
    };
    assert_eq!(wait(&committing, &ours), WakeUp::NextHead);
    // finality is counted from where the chain has the activation, whatever was recorded before a reorganisation
    let active = Facts { sector: Some(OnChainSector { activation: activation(), faulty: false }), ..ours };
    let recorded = Some(Activation { epoch: Epoch::new(9_000), ..activation() });
    let early = |state| Record { activation: recorded.clone(), ..record(state) };
    let wish = |state| next(&early(state), Some(&active), Some(CHAIN), &POLICY, NOW);
    assert_eq!((wish(S::FinalizeSector), wish(S::Proving)), (Next::Record(Ev::FinalizeDeferred), Next::Rest));
}

/// What follows, by itself, from one reading of the chain, and the state it ends in.
fn steps(start: Record, facts: &Facts) -> (Vec<EventKind>, Record) {
    steps_at(start, facts, CHAIN)
}

fn steps_at(start: Record, facts: &Facts, chain: ChainNow) -> (Vec<EventKind>, Record) {
    let mut record = start;
    let mut steps = Vec::new();
    while let Next::Record(event) = next(&record, Some(facts), Some(chain), &POLICY, NOW) {
        record = record.apply(&event, NOW).unwrap();
        steps.push(event.kind());
        assert!(steps.len() <= 8, "{steps:?} with {facts:#?}");
    }
    (steps, record)
}

// matrix: C7
#[test]
fn a_replica_is_sealed_again_when_the_chain_changed_its_ticket() {
    let sealed = Record { ticket: Some(ticket(8_000)), sealed: Some(sealed()), ..record(S::PreCommitting) };
    let same = Facts { ticket: Some((Epoch::new(8_000), ticket(8_000).value)), ..Facts::default() };
    let changed = Facts { ticket: Some((Epoch::new(8_000), Hash32([99; 32]))), ..Facts::default() };
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
    let proving = Record { activation: Some(activation()), store: store(), ..record(S::Proving) };
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

// matrix: C8
#[test]
fn a_proven_sector_is_trimmed_at_finality_and_taken_back_before_it() {
    let whole = |state| Record { activation: Some(activation()), ..record(state) };
    let early = CHAIN;
    let late = ChainNow { finalized: activation().epoch, ..CHAIN };
    let listed = |faulty| Facts {
        sector: Some(OnChainSector { activation: activation(), faulty }),
        allocated: true,
        ..Facts::default()
    };
    let wish = |record: &Record, facts: &Facts, chain| next(record, Some(facts), Some(chain), &POLICY, NOW);
    let proving = whole(S::Proving);
    assert_eq!(wish(&proving, &listed(false), early), Next::Rest);
    assert_eq!(wish(&proving, &listed(false), late), Next::Work(Stage::Finalize));
    // by an old head nothing is trimmed, and nothing is taken back
    for facts in [listed(false), Facts::default()] {
        let old = wish(&proving, &facts, ChainNow { stale: true, ..late });
        assert!(matches!(&old, Next::Wait(wait) if wait.until == WakeUp::NextHead), "{old:?}");
    }
    // a failed trim waits, is parked, and goes on in the same state
    let failed = proving.apply(&event(E::AttemptFailed), NOW).unwrap();
    assert_eq!((failed.state, failed.attempts), (S::Proving, 1));
    let spent = Record { attempts: 2 * POLICY.attempts, ..failed };
    let parked = wish(&spent, &listed(false), late);
    assert!(matches!(&parked, Next::Wait(wait) if wait.until == WakeUp::Operator), "{parked:?}");
    assert_eq!(wish(&spent, &listed(false), early), Next::Rest);
    // a fault comes first, and the trim when it is over
    assert_eq!(wish(&proving, &listed(true), late), Next::Record(Ev::Faulty));
    assert!(matches!(wish(&whole(S::FaultReported), &listed(true), late), Next::Wait(_)));
    let recovered = whole(S::FaultReported).apply(&Ev::Recovered, NOW).unwrap();
    assert_eq!(wish(&recovered, &listed(false), late), Next::Work(Stage::Finalize));
    // trimmed, it rests for good
    let trimmed = proving.apply(&event(E::Finalized), NOW).unwrap();
    assert_eq!((trimmed.state, wish(&trimmed, &listed(false), late)), (S::Proving, Next::Rest));
    assert!(trimmed.apply(&event(E::Finalized), NOW).is_err() && trimmed.apply(&Ev::CommitReverted, NOW).is_err());
    // what a reorganisation takes goes back, from wherever it is; seen late as well, when the pre-commit is there again
    let precommit = all_facts().into_iter().find_map(|facts| facts.precommit);
    let precommitted = Facts { precommit, allocated: true, ..Facts::default() };
    let gone = Facts { allocated: true, ..Facts::default() };
    for state in [S::Proving, S::Faulty, S::FaultReported] {
        for (facts, chain) in
            [(&Facts::default(), early), (&gone, early), (&precommitted, early), (&precommitted, late)]
        {
            assert_eq!(wish(&whole(state), facts, chain), Next::Record(Ev::CommitReverted), "{state} {facts:?}");
        }
        assert_eq!(whole(state).apply(&Ev::CommitReverted, NOW).unwrap().state, S::CommitWait);
        // a sector that was there for good and is gone was ended
        assert_eq!(steps_at(whole(state), &gone, late).1.state, S::FaultedFinal, "{state}");
    }
}
