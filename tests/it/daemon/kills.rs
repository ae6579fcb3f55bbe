//! `kill -9` of every process at every step that is recorded, and at random: the target is reached all the same, with
//! nothing done twice.

use super::{
    proven::assert_proven,
    rig::{Kind, Rig, slay},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

/// What the log says at each step, in order.
const STEPS: &[&str] = &[
    "repo open",
    "the miner is known",
    "created sector=1",
    "event=\"Packed\"",
    "event=\"TicketDrawn\"",
    "stage=\"precommit1\"",
    "event=\"PreCommit1Done\"",
    "stage=\"precommit2\"",
    "event=\"PreCommit2Done\"",
    "kind=pre_commit status=\"open\"",
    "event=\"PreCommitted\"",
    "kind=pre_commit status=\"sealed\"",
    "kind=pre_commit status=\"sent\"",
    "kind=pre_commit status=\"landed\"",
    "event=\"PreCommitLanded\"",
    "event=\"SeedReady\"",
    "stage=\"commit\"",
    "event=\"ProofReady\"",
    "kind=commit status=\"open\"",
    "event=\"Committed\"",
    "kind=commit status=\"sealed\"",
    "kind=commit status=\"sent\"",
    "kind=commit status=\"landed\"",
    "event=\"Proving\"",
    "stage=\"finalize\"",
    "event=\"Finalized\"",
];

/// Cases under way at once: most of each is waiting for epochs.
const AT_ONCE: usize = 5;

fn at_every_step(kind: Kind) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(step) = STEPS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    killed_at(kind, step);
                }
            });
        }
    });
}

fn killed_at(kind: Kind, step: &str) {
    let rig = Rig::simulated(2, 60);
    let mut run = rig.start();
    run.until(step);
    let told = if kind == Kind::Daemon {
        let before = run.killed();
        format!("{before}\n--- killed at {step}\n{}", rig.finish())
    } else {
        let mut victims = rig.processes(kind);
        while victims.is_empty() && run.more(Duration::from_secs(30)) {
            victims = rig.processes(kind);
        }
        assert!(!victims.is_empty(), "no {kind:?} to kill at {step}:\n{}", run.told());
        victims.into_iter().for_each(slay);
        run.ends_well()
    };
    eprintln!("{kind:?} killed at {step}");
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_proven(&rig)));
    assert!(checked.is_ok(), "{kind:?} killed at {step}:\n{told}");
}

// matrix: B1, B2, B3, B7, B9, B10, B12, B13, B14, B17, B18, B19
#[test]
fn the_daemon_is_killed_at_every_step() {
    at_every_step(Kind::Daemon);
}

// matrix: F1, B16
#[test]
fn the_workers_are_killed_at_every_step() {
    at_every_step(Kind::Worker);
}

#[test]
fn the_devnet_is_killed_at_every_step() {
    at_every_step(Kind::Devnet);
}

/// Small numbers that look random: the same for the same seed.
struct Dice(u64);

impl Dice {
    /// From `SEALD_TEST_SEED`, or from the clock; printed, so that a failure can be looked at again.
    fn new() -> Self {
        let given = std::env::var("SEALD_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
        let since = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let seed = given.unwrap_or_else(|| u64::try_from(since() % 1_000_000_000).unwrap());
        eprintln!("SEALD_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

const KILLS: u32 = 200;

/// Children killed between two ends of the daemon: more of them, and a slot is given up for good, as it should be.
const IN_A_ROW: u32 = 4;

#[test]
fn two_hundred_random_kills_change_nothing() {
    let mut dice = Dice::new();
    let mut rig = Rig::simulated(20, 60);
    rig.more = vec!["--set=pledge.max_in_flight=8".to_owned(), "--set=slot.light.count=2".to_owned()];
    let (mut run, mut kills, mut in_a_row) = (rig.start(), 0, 0);
    let mut told = String::new();
    while kills < KILLS {
        // half of them come in the middle of a recovery
        let most = if dice.below(2) == 0 { 120 } else { 1200 };
        if !run.listen(Duration::from_millis(dice.below(most))) {
            told.push_str(&run.ends_well());
            rig.sectors += 5;
            (run, in_a_row) = (rig.start(), 0);
            continue;
        }
        let kind = match dice.below(8) {
            _ if in_a_row >= IN_A_ROW => Kind::Daemon,
            0..=2 => Kind::Daemon,
            3..=5 => Kind::Worker,
            _ => Kind::Devnet,
        };
        if kind == Kind::Daemon {
            told.push_str(&run.killed());
            (run, in_a_row) = (rig.start(), 0);
            kills += 1;
        } else {
            let living = rig.processes(kind);
            let Some(victim) = usize::try_from(dice.below(8)).ok().and_then(|n| living.get(n % living.len().max(1)))
            else {
                continue;
            };
            slay(*victim);
            in_a_row += 1;
            kills += 1;
        }
    }
    told.push_str(&run.ends_well());
    eprintln!("{KILLS} kills, {} sectors", rig.sectors);
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_proven(&rig)));
    if checked.is_err() {
        let path = std::env::temp_dir().join("seald-random-kills.log");
        std::fs::write(&path, told).unwrap();
        panic!("see {}", path.display());
    }
}
