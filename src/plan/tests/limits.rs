//! Limits: of workers, of space, of what a network may be.

use super::{
    super::{space::Room, *},
    devnet, ready, text,
    world::{SIZE, done, number, precommit_sector, under_way},
};
use crate::{
    sector::{Record, State, tests::NOW},
    units::Bytes,
};
use std::collections::{BTreeMap, BTreeSet};

fn slots(wishes: &[(&str, &[Stage], u32)]) -> BTreeMap<SlotName, SlotWish> {
    let one = |(name, stages, count): &(&str, &[Stage], u32)| {
        (name.parse().unwrap(), SlotWish { stages: stages.iter().copied().collect(), count: *count, memory: None })
    };
    wishes.iter().map(one).collect()
}

fn in_state(n: u64, state: State) -> SectorSeen {
    let mut seen = precommit_sector(n);
    seen.record.state = state;
    seen.record.repo = "disk".parse().unwrap();
    seen
}

// matrix: F4
#[test]
fn a_stage_that_no_slot_runs_waits_and_nothing_fails() {
    let mut desired = Desired { sectors: 0, ..devnet() };
    desired.slots = slots(&[("cpu", &[Stage::PreCommit1], 1)]);
    let mut observed = ready(&desired);
    observed.sectors = [(number(1), in_state(1, State::PreCommit2))].into();
    let waits = "sector 1 waits for a worker for precommit2: no slot of the manifest runs one";
    assert_eq!(text(&plan(&desired, &observed)), [waits]);
    // the worker is declared, and is not there yet
    desired.slots = slots(&[("cpu", &[Stage::PreCommit1, Stage::PreCommit2], 1)]);
    observed.workers = BTreeMap::new();
    let coming = text(&plan(&desired, &observed));
    assert_eq!(coming[0], "start worker cpu/0");
    assert!(coming[1].starts_with("sector 1 waits for a worker for precommit2"), "{coming:?}");
}

// matrix: F6
#[test]
fn room_for_some_sectors_takes_those_and_not_one_more() {
    for fits in 0..5u64 {
        let desired = Desired { sectors: 10, max_in_flight: 10, ..devnet() };
        let mut observed = ready(&desired);
        let free = Bytes::new(space::sealing_peak(SIZE).as_u64() * fits);
        let room = Room { free, used: Bytes::default(), reserve: Bytes::default(), max_use: None };
        observed.repos.values_mut().for_each(|repo| *repo = RepoSeen::Open(room));
        let made = plan(&desired, &observed).actions;
        let made = made.iter().filter(|action| matches!(action, Action::CreateSector { .. })).count();
        assert_eq!(u64::try_from(made).unwrap(), fits);
    }
}

// matrix: F7
#[test]
fn sectors_of_a_repo_that_became_unusable_wait_and_say_why() {
    let desired = Desired { sectors: 0, ..devnet() };
    let mut observed = ready(&desired);
    let states = [State::PreCommit1, State::PreCommit2];
    observed.sectors = states.iter().zip(1..).map(|(state, n)| (number(n), in_state(n, *state))).collect();
    let gone = RepoSeen::Unusable { why: "nothing is mounted on it any more".to_owned(), again: NOW.plus_ms(1) };
    observed.repos.values_mut().for_each(|repo| *repo = gone.clone());
    let plan = plan(&desired, &observed);
    assert!(!plan.actions.iter().any(|action| matches!(action, Action::Run { .. } | Action::Record { .. })));
    for n in [1, 2] {
        let waits = format!("sector {n} waits for repo disk: nothing is mounted on it any more");
        assert!(text(&plan).contains(&waits), "{plan:#?}");
    }
}

/// A byte that looks random.
fn draw(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

// matrix: F15
#[test]
fn ten_thousand_schedules_keep_every_limit() {
    let mut seed = 1;
    let stages = [Stage::PreCommit1, Stage::PreCommit2, Stage::Commit, Stage::Finalize];
    let mut desired = Desired { sectors: 0, ..devnet() };
    desired.slots =
        slots(&[("cpu", &[Stage::PreCommit1, Stage::Finalize], 2), ("gpu", &[Stage::PreCommit2, Stage::Commit], 1)]);
    let repo: RepoName = "disk".parse().unwrap();
    let mut observed = ready(&desired);
    let mut running: Vec<(Assignee, SectorNumber, Stage)> = Vec::new();
    for _ in 0..10_000 {
        while observed.sectors.len() < 6 {
            let n = u64::try_from(draw(&mut seed)).unwrap();
            let state = [State::PreCommit1, State::PreCommit2][draw(&mut seed) % 2];
            let mut seen = in_state(n, state);
            seen.record = Record { number: number(n), repo: repo.clone(), ..seen.record };
            observed.sectors.insert(number(n), seen);
        }
        for action in plan(&desired, &observed).actions {
            if let Action::Run { number, stage, worker, .. } = &action {
                assert!(desired.slots[&worker.slot].stages.contains(stage), "{action}");
                running.push((worker.clone(), *number, *stage));
                observed = under_way(observed, &action);
            }
        }
        let busy: BTreeSet<_> = running.iter().map(|(worker, _, _)| worker).collect();
        assert_eq!(busy.len(), running.len(), "one task for each worker: {running:?}");
        for stage in stages {
            let able: u32 = desired.slots.values().filter(|s| s.stages.contains(&stage)).map(|s| s.count).sum();
            let doing = running.iter().filter(|(_, _, of)| *of == stage).count();
            assert!(doing <= usize::try_from(able).unwrap(), "{stage:?}");
        }
        // somebody ends
        if !running.is_empty() {
            let (worker, number, _) = running.swap_remove(draw(&mut seed) % running.len());
            observed.workers.insert(worker, true);
            observed.sectors.remove(&number);
        }
    }
}

// matrix: C11
#[test]
fn messages_wait_on_a_network_that_this_version_does_not_know_until_a_deadline_is_near() {
    let mut desired = Desired { precommit: BatchRule { max: 1, wait_ms: 0 }, sectors: 0, ..devnet() };
    desired.precommit_fees.margin = 100;
    let mut observed = ready(&desired);
    observed.sectors = [(number(1), precommit_sector(1))].into();
    let join = plan(&desired, &observed).actions.into_iter().find(|a| matches!(a, Action::Join { .. })).unwrap();
    observed = done(observed, &join);
    let sealed = |observed: &Observed| {
        plan(&desired, observed).actions.iter().any(|action| matches!(action, Action::Seal { .. }))
    };
    for (version, sends) in [(24, false), (25, true), (29, true), (30, false)] {
        observed.network_version = Some(version);
        assert_eq!(sealed(&observed), sends, "version {version}");
    }
    let waits = text(&plan(&desired, &observed));
    assert!(waits[0].contains("network version 30"), "{waits:?}");
    super::batches::drawn_at(&mut observed, 1, 50 - 3_780);
    assert!(sealed(&observed), "the node's simulation decides before a deposit is lost");
}

#[test]
fn a_stage_that_outgrew_its_slot_goes_to_another_and_else_waits_for_more_memory() {
    let mut desired = Desired { sectors: 0, ..devnet() };
    desired.slots = slots(&[("large", &[Stage::PreCommit2, Stage::Commit], 1), ("small", &[Stage::PreCommit2], 1)]);
    let bound = |desired: &mut Desired, name: &str, bytes| {
        desired.slots.get_mut(&name.parse().unwrap()).unwrap().memory = Some(Bytes::new(bytes));
    };
    bound(&mut desired, "small", 40 << 30);
    let mut observed = ready(&desired);
    observed.sectors = [(number(1), in_state(1, State::PreCommit2))].into();
    assert!(text(&plan(&desired, &observed))[0].contains("small/0"), "the more specialised one has it first");
    observed.memory.total = Some(Bytes::new(200 << 30));
    observed.memory.outgrew.insert(("small".parse().unwrap(), Stage::PreCommit2), Bytes::new(40 << 30));
    assert!(text(&plan(&desired, &observed))[0].contains("large/0"), "{:#?}", text(&plan(&desired, &observed)));
    bound(&mut desired, "large", 20 << 30);
    observed.memory.outgrew.insert(("large".parse().unwrap(), Stage::PreCommit2), Bytes::new(20 << 30));
    let said = plan(&desired, &observed);
    let waits = "sector 1 waits for more memory for precommit2 of 2KiB in slot large, where it ran out of 20 GiB, or slot \
                 small, where it ran out of 40 GiB";
    assert_eq!(text(&said), [waits]);
    assert_eq!(said.holds[0].until, WakeUp::Operator);
    bound(&mut desired, "small", 50 << 30);
    assert!(text(&plan(&desired, &observed))[0].contains("small/0"), "a larger bound is another chance");
    desired.slots.values_mut().for_each(|slot| slot.memory = None);
    assert!(text(&plan(&desired, &observed))[0].contains("small/0"), "and so is none");
}
