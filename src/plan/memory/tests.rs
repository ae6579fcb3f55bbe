//! What fits beside what, and what nobody may wait for for ever.

use super::*;
use crate::plan::{SlotWish, tests::devnet};
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

fn gib(n: u64) -> Bytes {
    Bytes::new(n * GIB)
}

fn who(slot: &str, instance: u32) -> Assignee {
    Assignee { slot: slot.parse().unwrap(), instance }
}

/// A machine with slots `pc1` and `gpu`, the second bounded to 100 GiB.
fn desired() -> Desired {
    let slot = |name: &str, memory: Option<u64>| {
        let stages = [Stage::PreCommit1, Stage::PreCommit2, Stage::Commit].into();
        (name.parse().unwrap(), SlotWish { stages, count: 9, memory: memory.map(gib) })
    };
    let slots = [slot("pc1", None), slot("gpu", Some(100))].into();
    Desired { sector_size: SectorSize::GiB32, slots, ..devnet() }
}

fn seen(total: u64, peaks: &[(Stage, u64)]) -> MemorySeen {
    let peaks = peaks.iter().map(|(stage, peak)| (*stage, gib(*peak))).collect();
    MemorySeen { total: Some(gib(total)), peaks, ran_out: BTreeSet::new(), outgrew: BTreeMap::new() }
}

fn ledger<'a>(desired: &'a Desired, seen: &'a MemorySeen, running: &[(&str, Stage)]) -> Ledger<'a> {
    let mut ledger = Ledger { desired, seen, running: Vec::new(), kept: Bytes::default() };
    for (at, (slot, stage)) in (0..).zip(running) {
        ledger.add(&who(slot, at), *stage);
    }
    ledger
}

#[test]
fn a_stage_waits_for_memory_and_says_what_for() {
    let (desired, seen) = (desired(), seen(160, &[(Stage::PreCommit2, 63)]));
    let mut ledger = ledger(&desired, &seen, &[("gpu", Stage::Commit)]);
    let why = "memory: precommit2 of 32GiB takes 63 GiB, 52 GiB are free until commit on gpu/0 ends";
    assert_eq!(ledger.admit(&who("pc1", 1), Stage::PreCommit2), Err(Short::Now(why.to_owned())));
    assert_eq!(ledger.admit(&who("pc1", 1), Stage::Finalize), Ok(()), "what takes nothing waits for nobody");
}

#[test]
fn what_was_measured_counts_and_else_what_is_known_but_no_more_than_the_bound() {
    let (desired, measured, unknown) = (desired(), seen(256, &[(Stage::PreCommit1, 65)]), seen(256, &[]));
    let need = |seen, slot, stage| ledger(&desired, seen, &[]).need(&who(slot, 0), stage);
    assert_eq!(need(&measured, "pc1", Stage::PreCommit1), gib(65));
    assert_eq!(need(&unknown, "pc1", Stage::PreCommit1), gib(64));
    assert_eq!(need(&unknown, "pc1", Stage::Commit), gib(150));
    assert_eq!(need(&unknown, "gpu", Stage::Commit), gib(100));
    assert_eq!(need(&unknown, "gpu", Stage::Finalize), Bytes::default());
}

#[test]
fn where_nothing_runs_an_estimate_stops_nobody_but_a_measured_impossibility_does() {
    let (desired, small) = (desired(), seen(16, &[]));
    assert_eq!(ledger(&desired, &small, &[]).admit(&who("pc1", 0), Stage::Commit), Ok(()));
    let measured = seen(16, &[(Stage::Commit, 20)]);
    let why = "memory: commit of 32GiB takes 20 GiB, and there are 16 GiB in all";
    let refused = ledger(&desired, &measured, &[]).admit(&who("pc1", 0), Stage::Commit);
    assert_eq!(refused, Err(Short::Ever(why.to_owned())));
}

#[test]
fn what_a_refused_stage_waits_for_is_not_taken_by_those_after_it() {
    let (desired, seen) = (desired(), seen(256, &[]));
    let mut ledger = ledger(&desired, &seen, &[("pc1", Stage::PreCommit1), ("pc1", Stage::PreCommit1)]);
    assert!(ledger.admit(&who("pc1", 2), Stage::Commit).is_err());
    let why = "memory: precommit1 of 32GiB takes 64 GiB, 115.2 GiB are free and kept for a stage that is further on, \
               until precommit1 on pc1/1 ends";
    assert_eq!(ledger.admit(&who("pc1", 3), Stage::PreCommit1), Err(Short::Now(why.to_owned())));
}

#[test]
fn a_stage_that_ran_out_of_memory_is_tried_again_alone() {
    let (desired, mut seen) = (desired(), seen(512, &[]));
    seen.ran_out.insert(Stage::PreCommit2);
    let why = "memory: precommit2 ran out of it and is tried again alone, until precommit1 on pc1/0 ends";
    let mut beside = ledger(&desired, &seen, &[("pc1", Stage::PreCommit1)]);
    assert_eq!(beside.admit(&who("gpu", 0), Stage::PreCommit2), Err(Short::Now(why.to_owned())));
    let mut alone = ledger(&desired, &seen, &[]);
    assert_eq!(alone.admit(&who("gpu", 0), Stage::PreCommit2), Ok(()));
    assert!(alone.admit(&who("pc1", 0), Stage::PreCommit1).is_err(), "and nothing joins it");
}

proptest! {
    /// Whatever the machine and in whatever order stages come: more than there is is given out only to one that is
    /// alone, and where nothing runs the first is never refused for an estimate.
    #[test]
    fn memory_is_given_out_once(total in 1..600_u64, stages in prop::collection::vec(0..3_usize, 1..20)) {
        let (desired, seen) = (desired(), seen(total, &[]));
        let mut ledger = ledger(&desired, &seen, &[]);
        for (at, stage) in (0..).zip(&stages) {
            let stage = [Stage::PreCommit1, Stage::PreCommit2, Stage::Commit][*stage];
            let admitted = ledger.admit(&who("pc1", at), stage);
            prop_assert!(at > 0 || admitted.is_ok());
        }
        let taken: u64 = ledger.running.iter().map(|(.., bytes)| bytes.as_u64()).sum();
        prop_assert!(ledger.running.len() == 1 || taken <= gib(total).less(reserve(gib(total))).as_u64());
    }
}
