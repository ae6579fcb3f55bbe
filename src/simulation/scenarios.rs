//! Single faults at chosen moments, each to its end: what was sent, what was paid, what the sector went through.

use super::{
    run::Sim,
    worlds::{Plot, RICH, world},
};
use crate::{
    chain::params::method,
    devnet::{
        fixture::{FIL, pre_commit_params},
        gas,
        ledger::Message,
        miner::{deposit, pledge},
    },
    outbox::{Batch, BatchState, MessageKind},
    plan::BatchRule,
    sector::{Event, EventKind, Record, Stage, State},
    units::{AttoFil, SectorNumber},
};

const PRE: u64 = method::PRE_COMMIT_SECTOR_BATCH2;
const PROVE: u64 = method::PROVE_COMMIT_SECTORS3;

fn number(n: u64) -> SectorNumber {
    n.try_into().unwrap()
}

/// A quiet world: stages take no time.
fn quiet(sectors: u64) -> Sim {
    let count = usize::try_from(sectors).unwrap();
    let workers = u32::try_from(sectors).unwrap();
    let plot = Plot { seed: 7, sectors, in_flight: sectors, workers, batch: count, challenge_delay: 10, funds: RICH };
    let mut sim = world(&plot);
    sim.luck.slowest_ms = 0;
    sim.desired.aggregate_from = None;
    sim
}

impl Sim {
    fn go(&mut self) {
        self.epoch(true, 2).unwrap_or_else(|why| panic!("{why}\n{}", self.standing()));
    }

    /// Epochs until something holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..6_000 {
            if holds(self) {
                return;
            }
            self.go();
        }
        panic!("never: {what}\n{}", self.standing());
    }

    fn sector(&self, n: u64) -> &Record {
        &self.disk.records[&number(n)]
    }

    fn reaches(&mut self, state: State) {
        self.until(state.as_str(), |sim| sim.disk.records.get(&number(1)).is_some_and(|r| r.state == state));
    }

    /// All sectors are proven, each message was pushed so often, and no gas was for nothing.
    fn ends(&mut self, pre_commits: usize, proofs: usize, wasted: usize) {
        self.until("all are proven", Self::is_done);
        let pushed = |method| self.node.net().pushes.iter().filter(|pushed| **pushed == method).count();
        assert_eq!((pushed(PRE), pushed(PROVE)), (pre_commits, proofs), "{}", self.standing());
        assert_eq!(self.laws.wasted.len(), wasted, "{:?}", self.laws.wasted);
        for number in self.disk.records.keys() {
            self.disk.replay(*number).unwrap();
        }
    }

    fn happened(&self, n: u64, kind: EventKind) -> usize {
        let applied = self.disk.events[&number(n)].iter().filter(|entry| entry.applied);
        applied.filter(|entry| entry.event.kind() == kind).count()
    }

    fn of_kind(&self, kind: MessageKind) -> Vec<&Batch> {
        self.disk.batches.values().filter(|batch| batch.kind == kind).collect()
    }

    /// The daemon is down while the chain goes on.
    fn sleeps(&mut self, epochs: i64) {
        self.crash();
        let mut net = self.node.net();
        net.mine_many(epochs);
        let reached = net.head_time();
        drop(net);
        self.now = self.now.max(crate::units::UnixMillis::new(reached));
    }

    fn pre_commit_epoch(&self, n: u64) -> i64 {
        let landed = self.sector(n).precommit.as_ref().and_then(|precommit| precommit.landed.as_ref());
        landed.expect("it landed").epoch.as_i64()
    }

    /// The chain is taken back to before `epoch`, and what was there since comes `later` epochs later.
    fn moves(&mut self, epoch: i64, later: i64) {
        let mut net = self.node.net();
        let old = net.chain.head;
        net.reorganise(old - epoch + 1, epoch + later - old);
    }

    /// The next messages of a method stay in the pool for so long.
    fn delays(&self, method: u64, epochs: i64) {
        self.node.net().rules.add(1, Some(method), Some(epochs));
    }

    fn is_sent(&self, kind: MessageKind) -> bool {
        self.of_kind(kind).iter().any(|batch| batch.state == BatchState::Sent)
    }
}

fn is_pushed(sim: &Sim, method: u64) -> bool {
    sim.node.net().pushes.contains(&method)
}

fn has(sim: &Sim, kind: MessageKind, holds: impl Fn(&Batch) -> bool) -> bool {
    sim.disk.batches.values().any(|batch| batch.kind == kind && holds(batch))
}

// matrix: B10
#[test]
fn a_batch_that_was_sealed_and_not_sent_is_sent_once_after_a_crash() {
    let mut sim = quiet(3);
    sim.cut_when = Some(|sim| has(sim, MessageKind::PreCommit, |batch| batch.state == BatchState::Sealed));
    sim.until("a crash", |sim| sim.crashes > 0);
    let sealed = sim.of_kind(MessageKind::PreCommit)[0].message.clone();
    sim.ends(1, 1, 0);
    assert_eq!(sim.of_kind(MessageKind::PreCommit)[0].message, sealed, "the same message");
}

// matrix: B11, B18
#[test]
fn a_message_whose_answer_a_crash_took_is_found_and_not_sent_again() {
    let cuts: [fn(&Sim) -> bool; 2] = [
        |sim| is_pushed(sim, PRE) && !has(sim, MessageKind::PreCommit, |batch| batch.sent.is_some()),
        |sim| is_pushed(sim, PROVE) && !has(sim, MessageKind::Commit, |batch| batch.sent.is_some()),
    ];
    for cut in cuts {
        let mut sim = quiet(2);
        sim.cut_when = Some(cut);
        sim.until("a crash", |sim| sim.crashes > 0);
        sim.ends(1, 1, 0);
    }
}

#[test]
fn a_message_that_executed_before_its_answer_was_known_is_followed() {
    for (method, kind) in [(PRE, MessageKind::PreCommit), (PROVE, MessageKind::Commit)] {
        let mut sim = quiet(2);
        sim.node.net().moods.lost = 1000;
        sim.until("it is pushed", |sim| is_pushed(sim, method));
        sim.node.net().mine_many(1);
        sim.node.net().moods.lost = 0;
        sim.ends(1, 1, 0);
        assert!(sim.of_kind(kind).iter().all(|batch| batch.sent.is_some()), "its nonce is known");
    }
}

// matrix: B12
#[test]
fn after_a_crash_the_message_that_was_sent_is_waited_for() {
    let mut sim = quiet(2);
    sim.cut_when = Some(|sim| has(sim, MessageKind::PreCommit, |batch| batch.state == BatchState::Sent));
    sim.until("a crash", |sim| sim.crashes > 0);
    sim.ends(1, 1, 0);
}

// matrix: B13, B14, B15, B19
#[test]
fn what_lands_while_the_daemon_is_down_is_taken_as_it_is() {
    for (kind, down) in [
        (MessageKind::PreCommit, 3),
        (MessageKind::PreCommit, 50),
        (MessageKind::PreCommit, 900),
        (MessageKind::Commit, 50),
    ] {
        let mut sim = quiet(2);
        sim.until("it is sent", |sim| sim.is_sent(kind));
        sim.sleeps(down);
        sim.ends(1, 1, 0);
        let seed = sim.sector(1).seed.as_ref().unwrap().epoch.as_i64();
        assert_eq!(seed, sim.pre_commit_epoch(1) + 10);
    }
}

// matrix: C1
#[test]
fn an_hour_without_a_node_changes_no_state_that_the_chain_decides() {
    let waits = [State::PreCommitting, State::WaitSeed, State::Committing, State::CommitWait, State::Proving];
    for state in waits {
        let mut sim = quiet(1);
        sim.reaches_between_looks(state);
        sim.node.net().silent.insert("*");
        for _ in 0..120 {
            sim.go();
            assert_eq!(sim.sector(1).state, state);
            assert!(!sim.shop.files.get(&number(1)).is_some_and(|files| files.trimmed));
        }
        sim.node.net().silent.clear();
        sim.ends(1, 1, 0);
    }
}

impl Sim {
    /// The sector is in a state, and the daemon has not looked since.
    fn reaches_between_looks(&mut self, state: State) {
        if state == State::PreCommitting {
            // it waits for company that comes late
            self.desired.precommit = BatchRule { max: 2, wait_ms: 200 * 30_000 };
            self.desired.sectors = 2;
            self.desired.max_in_flight = 1;
        }
        if state == State::Committing {
            self.luck.slowest_ms = 150 * 30_000;
        }
        self.reaches(state);
        self.desired.sectors = 1;
    }
}

// matrix: C2
#[test]
fn a_call_that_fails_alone_is_made_again_alone() {
    let calls = [
        "StateGetRandomnessFromTickets",
        "StateGetRandomnessFromBeacon",
        "StateSectorPreCommitInfo",
        "StateSectorGetInfo",
        "StateSearchMsg",
        "GasEstimateMessageGas",
        "MpoolPushMessage",
        "StateMinerPreCommitDepositForPower",
        "StateMinerInitialPledgeForSector",
        "WalletBalance",
    ];
    for call in calls {
        let mut sim = quiet(2);
        sim.node.net().silent.insert(call);
        for _ in 0..60 {
            sim.go();
        }
        // what became of a message is seen in the chain's state as well
        assert!(!sim.is_done() || call == "StateSearchMsg", "{call} is needed");
        sim.node.net().silent.clear();
        sim.ends(1, 1, 0);
        let failed = [EventKind::SealPreCommitFailed, EventKind::ChainPreCommitFailed, EventKind::CommitFailed];
        assert!(failed.iter().all(|kind| sim.happened(1, *kind) == 0), "{call}");
    }
}

// matrix: C4
#[test]
fn a_pre_commit_that_a_fork_takes_back_lands_again_with_another_seed() {
    let mut sim = quiet(2);
    sim.until("it landed", |sim| {
        sim.disk.records.get(&number(1)).is_some_and(|r| r.precommit.as_ref().is_some_and(|p| p.landed.is_some()))
    });
    let before = sim.pre_commit_epoch(1);
    sim.moves(before, 9);
    sim.ends(1, 1, 0);
    assert_eq!(sim.pre_commit_epoch(1), before + 9);
    assert_eq!(sim.sector(1).seed.as_ref().unwrap().epoch.as_i64(), before + 19);
}

// matrix: C5
#[test]
fn a_proof_under_way_for_a_pre_commit_that_moves_is_dropped() {
    let mut sim = quiet(1);
    sim.reaches(State::WaitSeed);
    sim.luck.slowest_ms = 40 * 30_000;
    sim.until("the proof is made", |sim| sim.memory.tasks.iter().any(|task| task.stage == Stage::Commit));
    let before = sim.pre_commit_epoch(1);
    sim.moves(before, 2);
    sim.ends(1, 1, 0);
    assert_eq!(sim.pre_commit_epoch(1), before + 2);
    assert_eq!(sim.sector(1).seed.as_ref().unwrap().epoch.as_i64(), before + 12);
    assert_eq!(sim.shop.done[&(number(1), Stage::Commit)], 2);
}

// matrix: C6
#[test]
fn a_seed_that_changes_at_the_same_epoch_gets_another_proof() {
    let mut sim = quiet(1);
    sim.node.net().other_beacons = true;
    sim.reaches(State::WaitSeed);
    sim.luck.slowest_ms = 40 * 30_000;
    sim.until("the proof is made", |sim| sim.memory.tasks.iter().any(|task| task.stage == Stage::Commit));
    sim.node.net().other_beacons = false;
    sim.ends(1, 1, 0);
    assert_eq!(sim.happened(1, EventKind::SeedReady), 2);
    assert_eq!(sim.shop.done[&(number(1), Stage::Commit)], 2);
}

// matrix: C7
#[test]
fn a_ticket_that_changed_is_seen_before_the_pre_commit() {
    let mut sim = quiet(2);
    sim.desired.precommit.wait_ms = 100 * 30_000;
    sim.desired.max_in_flight = 1;
    sim.node.net().other_tickets = true;
    // the second keeps the first waiting in its batch
    sim.desired.sectors = 2;
    sim.reaches(State::PreCommitting);
    sim.node.net().other_tickets = false;
    sim.desired.max_in_flight = 2;
    sim.ends(1, 1, 0);
    assert_eq!((sim.happened(1, EventKind::SealPreCommitFailed), sim.happened(1, EventKind::TicketDrawn)), (1, 2));
    assert_eq!(sim.happened(2, EventKind::TicketDrawn), 1);
}

// matrix: C8
#[test]
fn a_prove_commit_that_a_fork_takes_back_leaves_the_cache_whole() {
    let mut sim = quiet(1);
    sim.reaches(State::Proving);
    assert!(sim.sector(1).is_untrimmed());
    let activated = sim.sector(1).activation.as_ref().unwrap().epoch.as_i64();
    sim.moves(activated, 20);
    sim.go();
    assert_eq!(sim.sector(1).state, State::CommitWait);
    assert!(!sim.shop.files[&number(1)].trimmed);
    sim.ends(1, 1, 0);
    assert_eq!(sim.happened(1, EventKind::CommitReverted), 1);
    assert_eq!(sim.sector(1).activation.as_ref().unwrap().epoch.as_i64(), activated + 20);
}

// matrix: C8
#[test]
fn a_proof_that_a_fork_took_back_while_the_daemon_was_down_is_on_chain_again_and_the_cache_whole() {
    let mut sim = quiet(1);
    sim.reaches(State::Proving);
    let activated = sim.sector(1).activation.as_ref().unwrap().epoch.as_i64();
    sim.moves(activated, 60);
    sim.sleeps(40);
    sim.go();
    assert_eq!(sim.sector(1).state, State::CommitWait, "what was recorded as final by now is not on chain");
    assert!(!sim.shop.files[&number(1)].trimmed);
    sim.ends(1, 1, 0);
    assert_eq!(sim.sector(1).activation.as_ref().unwrap().epoch.as_i64(), activated + 60);
}

// matrix: C8
#[test]
fn a_sector_counts_before_finality_and_is_trimmed_once_after_it() {
    let cuts: [fn(&Sim) -> bool; 3] = [
        |sim| sim.disk.records.get(&number(1)).is_some_and(|record| record.state == State::FinalizeSector),
        |sim| sim.disk.records.get(&number(1)).is_some_and(Record::is_untrimmed),
        |sim| sim.memory.tasks.iter().any(|task| task.stage == Stage::Finalize),
    ];
    for cut in cuts {
        let mut sim = quiet(2);
        // the second is sealed when the first is proven, and not after its trim
        sim.desired.max_in_flight = 1;
        sim.luck.slowest_ms = 40 * 30_000;
        sim.cut_when = Some(cut);
        sim.until("a crash", |sim| sim.crashes > 0);
        sim.until("both are trimmed", Sim::is_done);
        for n in [1, 2] {
            assert_eq!((sim.happened(n, EventKind::FinalizeDeferred), sim.happened(n, EventKind::Finalized)), (1, 1));
            assert!(sim.shop.files[&number(n)].trimmed);
        }
        let trimmed = sim.disk.events[&number(1)].iter().find(|entry| entry.event.kind() == EventKind::Finalized);
        assert!(trimmed.is_some_and(|trimmed| sim.sector(2).created < trimmed.at));
    }
}

// matrix: C12
#[test]
fn two_heads_in_turn_do_nothing_twice() {
    let mut sim = quiet(3);
    for epoch in 0..300 {
        sim.node.net().lag = if epoch > 5 && epoch % 2 == 0 { 4 } else { 0 };
        sim.go();
    }
    sim.ends(1, 1, 0);
}

// matrix: D1
#[test]
fn a_pre_commit_that_ran_out_of_gas_is_sent_again_and_locks_one_deposit() {
    let mut sim = quiet(2);
    sim.node.net().rules.add_gas(3, Some(PRE), 70);
    sim.ends(2, 1, 1);
    assert_eq!(sim.happened(1, EventKind::PreCommitLanded), 1);
}

// matrix: D3
#[test]
fn a_prove_commit_that_ran_out_of_gas_is_sent_again_with_the_same_proof() {
    let mut sim = quiet(2);
    sim.reaches(State::WaitSeed);
    sim.node.net().rules.add_gas(3, Some(PROVE), 70);
    sim.ends(1, 2, 1);
    assert_eq!(sim.shop.done[&(number(1), Stage::Commit)], 1);
}

// matrix: D2, D16
#[test]
fn sectors_without_funds_wait_and_go_on_when_they_come() {
    let small = AttoFil::from_atto(FIL / 2_000);
    // the gas of one message, and deposit and pledge of two sectors with the node's margin
    let funds = AttoFil::from_atto(small.as_atto() * 2 + pledge(super::node::MINER_SIZE).as_atto() * 23 / 10);
    let plot = Plot { seed: 7, sectors: 4, in_flight: 4, workers: 4, batch: 4, challenge_delay: 10, funds };
    let mut sim = world(&plot);
    (sim.desired.precommit_fees.cap, sim.desired.commit_fees.cap) = (small, small);
    sim.desired.aggregate_from = None;
    for _ in 0..200 {
        sim.go();
    }
    let stuck = sim.disk.records.values().filter(|record| record.state == State::PreCommitting).count();
    assert_eq!((sim.count(State::Proving), stuck), (2, 2), "{}", sim.standing());
    assert!(sim.memory.plan.holds.iter().filter(|hold| hold.reason.starts_with("funds: ")).count() == 2);
    sim.fund(RICH);
    sim.until("all are proven", Sim::is_done);
    assert!(sim.laws.wasted.is_empty());
}

// matrix: D4
#[test]
fn a_message_that_was_made_dearer_is_found_under_its_new_cid() {
    let mut sim = quiet(1);
    sim.until("it is pushed", |sim| sim.is_sent(MessageKind::PreCommit));
    let first = sim.of_kind(MessageKind::PreCommit)[0].sent.clone().unwrap();
    // it is not included any more
    let mut net = sim.node.net();
    let depth = net.chain.head.min(3);
    net.chain.set_base_fee(AttoFil::from_atto(10_000_000));
    drop(net);
    assert!(depth > 0);
    sim.ends(1, 1, 0);
    let batch = sim.of_kind(MessageKind::PreCommit)[0];
    let BatchState::Settled(executed) = &batch.state else { panic!("{batch:?}") };
    let sent = batch.sent.as_ref().unwrap();
    assert_eq!((sent.nonce, &sent.replaced[0], &sent.cid), (first.nonce, &first.cid, &executed.cid));
}

// matrix: D5
#[test]
fn a_message_that_the_node_forgot_is_handed_over_with_its_nonce() {
    let mut sim = quiet(2);
    sim.delays(PRE, 30);
    sim.until("it is sent", |sim| sim.is_sent(MessageKind::PreCommit));
    let before = sim.of_kind(MessageKind::PreCommit)[0].sent.clone().unwrap();
    sim.node.net().forget_ours();
    sim.ends(1, 1, 0);
    let after = sim.of_kind(MessageKind::PreCommit)[0].sent.clone().unwrap();
    assert_eq!((after.cid, after.nonce), (before.cid, before.nonce));
}

// matrix: D6
#[test]
fn a_nonce_that_a_foreign_message_took_costs_a_new_message() {
    let mut sim = quiet(2);
    sim.delays(PRE, 30);
    sim.until("it is sent", |sim| sim.is_sent(MessageKind::PreCommit));
    let mut net = sim.node.net();
    let from = net.chain.tip().key_address(&sim.miner.worker).unwrap();
    let cid = net.chain.push_foreign(&from).unwrap();
    net.taken.insert(cid);
    drop(net);
    sim.ends(2, 1, 0);
    assert_eq!(sim.happened(1, EventKind::ChainPreCommitFailed), 1);
}

// matrix: D7
#[test]
fn a_base_fee_above_the_cap_is_paid_before_the_ticket_is_too_old() {
    let mut sim = quiet(1);
    let cap = AttoFil::from_atto(FIL / 2_000);
    (sim.desired.precommit_fees.cap, sim.desired.precommit_fees.margin) = (cap, 200);
    sim.reaches(State::PreCommit1);
    sim.node.net().chain.set_base_fee(AttoFil::from_atto(50_000_000));
    let head = |sim: &Sim| sim.node.net().chain.head;
    let start = head(&sim);
    sim.until("it is on chain", |sim| sim.sector(1).precommit.as_ref().is_some_and(|p| p.landed.is_some()));
    let ticket = sim.sector(1).ticket.as_ref().unwrap().epoch.as_i64();
    let landed = sim.pre_commit_epoch(1);
    assert!(landed > start + 2_400, "20 hours and more it was not paid: {start} to {landed}");
    assert!(landed <= ticket + 3_780, "{landed}");
    let sent = sim.of_kind(MessageKind::PreCommit)[0].sent.clone().unwrap();
    assert!(sent.gas.max_cost().unwrap() > cap && !sent.replaced.is_empty());
    sim.node.net().chain.set_base_fee(AttoFil::from_atto(100));
    sim.ends(1, 1, 0);
}

/// The pre-commit of one sector by another hand with the same key, executed.
fn pre_commit_by_hand(sim: &Sim, n: u64) {
    let record = sim.sector(n);
    let (ticket, sealed) = (record.ticket.clone().unwrap(), record.sealed.clone().unwrap());
    let mut net = sim.node.net();
    let mut info = crate::devnet::fixture::capacity(&net.chain, n);
    info.seal_rand_epoch = ticket.epoch.as_i64();
    info.sealed_cid = crate::chain::cids::sealed(sealed.comm_r);
    let from = net.chain.tip().key_address(&sim.miner.worker).unwrap();
    let nonce = net.chain.next_nonce(&from);
    let mut message = Message {
        from,
        to: sim.miner.id.to_address(),
        nonce,
        value: deposit(super::node::MINER_SIZE),
        gas_limit: 0,
        fee_cap: AttoFil::from_atto(1_000_000_000),
        premium: AttoFil::from_atto(1),
        method: PRE,
        params: pre_commit_params(vec![info]),
    };
    message.gas_limit = gas::used_by(&message);
    let cid = net.chain.accept(message, None, Some(0));
    net.taken.insert(cid);
    net.mine_many(1);
}

// matrix: D8
#[test]
fn a_sector_of_a_batch_that_is_on_chain_already_is_adopted_and_the_others_sent() {
    let mut sim = quiet(10);
    sim.desired.base_fee_ceiling = Some(AttoFil::from_atto(1_000));
    sim.node.net().chain.set_base_fee(AttoFil::from_atto(2_000));
    sim.until("it is sealed", |sim| has(sim, MessageKind::PreCommit, |batch| batch.state == BatchState::Sealed));
    pre_commit_by_hand(&sim, 3);
    sim.node.net().chain.set_base_fee(AttoFil::from_atto(100));
    sim.until("all are proven", Sim::is_done);
    assert!(sim.laws.wasted.is_empty(), "it was refused before it was sent");
    let landed: Vec<_> = sim.of_kind(MessageKind::PreCommit).into_iter().filter(|b| b.sent.is_some()).collect();
    assert_eq!(landed.len(), 1);
    assert_eq!((landed[0].sectors.len(), landed[0].sectors.contains(&number(3))), (9, false));
}

// matrix: D9
#[test]
fn a_ticket_that_expires_in_the_pool_costs_its_sector_alone_a_new_replica() {
    let mut sim = quiet(10);
    sim.desired.sectors = 1;
    sim.desired.precommit = BatchRule { max: 10, wait_ms: u64::MAX / 2 };
    sim.desired.precommit_fees.margin = 100;
    sim.desired.sectors = 10;
    sim.desired.max_in_flight = 1;
    sim.reaches(State::PreCommitting);
    let expires = sim.sector(1).ticket.as_ref().unwrap().epoch.as_i64() + 3_780;
    sim.until("the ticket is old", |sim| sim.node.net().chain.head > expires - 120);
    sim.node.net().rules.add(100, Some(PRE), Some(200));
    sim.desired.max_in_flight = 10;
    sim.until("it is too late", |sim| sim.node.net().chain.head > expires);
    sim.node.net().rules = crate::devnet::faults::Rules::default();
    sim.desired.precommit.wait_ms = 5 * 30_000;
    sim.until("all are proven", Sim::is_done);
    assert_eq!((sim.happened(1, EventKind::TicketDrawn), sim.happened(2, EventKind::TicketDrawn)), (2, 1));
    assert_eq!(sim.laws.wasted.len(), 1, "the message that was in the pool");
}

// matrix: D11
#[test]
fn a_proof_that_the_chain_refuses_is_made_anew_for_its_sector_alone() {
    let mut sim = quiet(5);
    sim.shop.lies.insert(number(2));
    sim.ends(1, 2, 0);
    let failed = sim.disk.events[&number(2)].iter().find_map(|entry| {
        let Event::CommitFailed { failure, .. } = &entry.event else { return None };
        Some(failure.clone())
    });
    assert!(failed.is_some_and(|failure| failure.error.contains("refused the proof")));
    let again: Vec<_> = sim.of_kind(MessageKind::Commit).into_iter().filter(|b| b.sectors == [number(2)]).collect();
    assert_eq!(again.len(), 1);
    assert_eq!(sim.shop.done[&(number(1), Stage::Commit)], 1);
}

// matrix: D12
#[test]
fn a_sector_whose_pre_commit_is_gone_is_left_out_of_the_prove_commit() {
    let mut sim = quiet(5);
    sim.reaches(State::WaitSeed);
    sim.luck.slowest_ms = 20 * 30_000;
    sim.reaches(State::Committing);
    let id = sim.miner.id.as_u64();
    let remove = |state: &mut crate::devnet::ledger::State| {
        let gone = state.miner_mut(id).and_then(|miner| miner.pre_commits.remove(&3));
        gone.map(drop).ok_or_else(|| "sector 3 is pre-committed".to_owned())
    };
    sim.node.net().chain.interfere(remove).unwrap();
    sim.until("another takes its place", Sim::is_done);
    assert_eq!(sim.sector(3).state, State::FailedUnrecoverable);
    assert!(sim.sector(3).failure.as_ref().unwrap().error.contains("deposit"), "{:?}", sim.sector(3).failure);
    assert!(sim.laws.wasted.is_empty() && sim.disk.records.contains_key(&number(6)));
}

// matrix: E8
#[test]
fn a_missed_deadline_ends_the_sector_and_says_what_it_cost() {
    let mut sim = quiet(1);
    sim.reaches(State::Committing);
    sim.sleeps(86_400 + 10 + 20);
    sim.until("another takes its place", Sim::is_done);
    let lost = sim.sector(1);
    assert_eq!(lost.state, State::FailedUnrecoverable);
    let error = &lost.failure.as_ref().unwrap().error;
    assert!(error.contains("its proof was not on chain") && error.contains("FIL"), "{error}");
    assert_eq!(sim.sector(2).state, State::Proving);
    assert_eq!(sim.happened(1, EventKind::TicketDrawn), 1, "its number is not used again");
}
