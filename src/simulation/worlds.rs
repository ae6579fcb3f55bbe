//! Worlds drawn from seeds, and one with a thousand sectors.

use super::{
    chaos::Chaos,
    dice::Dice,
    disk::Disk,
    laws::Laws,
    node::{MINER_SIZE, Net, SimNode},
    run::{Frailty, Memory, Sim},
    work::{Luck, Workshop},
};
use crate::{
    chain::params::method,
    daemon::errands::Miner,
    devnet::{
        chain::{Chain, Genesis},
        fixture::{FIL, create_params},
        ledger::{CREATION_DEPOSIT, Message},
    },
    manifest::{self, Manifest},
    plan::{BatchRule, Desired, SlotWish},
    sector::{Record, Stage, State, operator::Order},
    units::{AttoFil, Hash32, MinerId, SectorNumber, UnixMillis},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, OnceLock},
};

/// What a world is like.
#[derive(Debug, Clone, Copy)]
pub struct Plot {
    pub seed: u64,
    pub sectors: u64,
    pub in_flight: u64,
    pub workers: u32,
    pub batch: usize,
    pub challenge_delay: i64,
    pub funds: AttoFil,
}

fn manifest() -> Arc<Manifest> {
    static LOADED: OnceLock<Arc<Manifest>> = OnceLock::new();
    let load = || {
        let overrides = manifest::Overrides { cwd: "/box".into(), ..manifest::Overrides::default() };
        Arc::new(manifest::load(Path::new("examples/configs/devnet.toml"), &overrides).unwrap().manifest)
    };
    Arc::clone(LOADED.get_or_init(load))
}

/// More than any world needs.
pub const RICH: AttoFil = AttoFil::from_atto(100 * FIL);

const EPOCH_MS: u64 = 30_000;
const GENESIS_MS: i64 = 1_700_000_000_000;

/// A chain with a miner whose worker has `funds`.
fn chain(plot: &Plot) -> (Chain, Miner, String) {
    let mut seed = Hash32([7; 32]);
    seed.0[..8].copy_from_slice(&plot.seed.to_be_bytes());
    let mut chain = Chain::new(Genesis {
        name: "simulated".to_owned(),
        seed,
        epoch_ms: EPOCH_MS,
        challenge_delay: plot.challenge_delay,
        at_ms: GENESIS_MS,
    });
    let worker = chain.add_wallet();
    let funds = AttoFil::from_atto(plot.funds.as_atto() + CREATION_DEPOSIT.as_atto() + FIL / 10_000);
    chain.interfere(|state| state.fund(&worker, funds)).unwrap();
    let params = create_params(&worker, MINER_SIZE.window_post_proof());
    let create = Message {
        from: worker.clone(),
        to: "t04".to_owned(),
        nonce: 0,
        value: CREATION_DEPOSIT,
        gas_limit: 100_000_000,
        fee_cap: AttoFil::from_atto(1_000),
        premium: AttoFil::from_atto(10),
        method: method::CREATE_MINER,
        params,
    };
    chain.accept(create, None, Some(1));
    crate::devnet::fixture::mine(&mut chain, 3);
    let tip = chain.tip();
    let id = *tip.miners.keys().next().expect("the miner was created");
    let account = tip.resolve(&worker).unwrap();
    let miner =
        Miner { id: MinerId::new(id), worker: crate::devnet::address::id(account), network: "simulated".to_owned() };
    (chain, miner, worker)
}

pub fn world(plot: &Plot) -> Sim {
    let mut dice = Dice::new(plot.seed);
    let (chain, miner, _) = chain(plot);
    let tip = chain.tip();
    let start = tip.balance(tip.resolve(&miner.worker).unwrap());
    let laws = Laws::new(tip.total_funds(), start);
    let now = UnixMillis::new(chain.time_ms(chain.head));
    let node = SimNode::new(Net::new(chain, Dice::new(dice.next()), 30));
    let manifest = manifest();
    let mut desired = Desired::of(&manifest);
    let all = BTreeSet::from([Stage::PreCommit1, Stage::PreCommit2, Stage::Commit, Stage::Finalize, Stage::Remove]);
    desired.slots =
        BTreeMap::from([("cpu".parse().unwrap(), SlotWish { stages: all, count: plot.workers, memory: None })]);
    desired.sectors = plot.sectors;
    desired.max_in_flight = plot.in_flight;
    desired.precommit = BatchRule { max: plot.batch, wait_ms: 5 * EPOCH_MS };
    desired.commit = BatchRule { max: plot.batch, wait_ms: 5 * EPOCH_MS };
    desired.policy.message_confidence = 5;
    desired.policy.seed_confidence = 2;
    desired.policy.margin = 100;
    Sim {
        dice,
        node,
        disk: Disk::default(),
        shop: Workshop::default(),
        memory: Memory::default(),
        laws,
        desired,
        manifest,
        miner,
        now,
        luck: Luck { slowest_ms: 10 * 30_000, ..Luck::default() },
        frailty: Frailty::default(),
        crashes: 0,
        cut_when: None,
    }
}

impl Sim {
    pub fn count(&self, state: State) -> u64 {
        u64::try_from(self.disk.records.values().filter(|record| record.state == state).count()).unwrap()
    }

    /// All sectors that are wanted are proven, and nothing of them is left to be trimmed.
    pub fn is_done(&self) -> bool {
        let whole = self.disk.records.values().any(Record::is_untrimmed);
        !whole && self.count(State::Proving) >= self.desired.sectors
    }

    /// Why it is not done, for a human.
    pub fn standing(&self) -> String {
        let mut text = format!("head {}\n", self.node.net().chain.head);
        for record in self.disk.records.values().filter(|record| record.state != State::Proving || !record.is_at_rest())
        {
            text += &format!("{}: {} {:?} attempts {}\n", record.number, record.state, record.failure, record.attempts);
        }
        for pause in self.memory.pausing() {
            text += &format!("{pause}\n");
        }
        for hold in &self.memory.plan.holds {
            text += &format!("{} waits for {} until {:?}\n", hold.about, hold.reason, hold.until);
        }
        for batch in self.disk.batches.values() {
            let numbers: Vec<_> = batch.sectors.iter().map(|number| number.as_u64()).collect();
            let nonce = batch.sent.as_ref().map(|sent| sent.nonce);
            let known = self.memory.book.batches.contains_key(&batch.id);
            let (kind, state) = (batch.kind, &batch.state);
            text += &format!("{} {kind} {numbers:?} nonce {nonce:?} known {known} {state:?}\n", batch.id.0);
        }
        let net = self.node.net();
        for (cid, message) in net.chain.pending() {
            text += &format!("pending {cid} nonce {} fee cap {}\n", message.nonce, message.fee_cap.as_atto());
        }
        text
    }

    /// Funds for the worker, outside of any message.
    pub fn fund(&mut self, amount: AttoFil) {
        let mut net = self.node.net();
        net.chain.interfere(|state| state.fund(&self.miner.worker, amount)).unwrap();
        self.laws.given.push((net.chain.head, amount));
    }

    /// Without any more faults, and with an operator who tries again what is parked, everything ends well.
    pub fn converge(&mut self, epochs: i64) -> Result<(), String> {
        for epoch in 0..epochs {
            if self.is_done() {
                return Ok(());
            }
            if epoch % 50 == 0 {
                let failing = |r: &&Record| !r.is_at_rest() && r.failure.is_some();
                let parked: Vec<SectorNumber> =
                    self.disk.records.values().filter(failing).map(|record| record.number).collect();
                for number in parked {
                    self.order(number, Order::Retry)?;
                }
            }
            self.epoch(true, 2)?;
        }
        Err(format!("not done after {epochs} epochs without faults:\n{}", self.standing()))
    }
}

/// One world from its seed to its end.
fn live(seed: u64) -> Result<Sim, (String, Box<Sim>)> {
    let mut dice = Dice::new(seed ^ 0x5ea1);
    let sectors = if dice.chance(20) { dice.between(20, 50) } else { dice.between(1, 8) };
    let plot = Plot {
        seed,
        sectors: u64::try_from(sectors).unwrap(),
        in_flight: u64::try_from(dice.between(1 + sectors / 4, sectors.max(2))).unwrap(),
        workers: u32::try_from(dice.between(1, 4)).unwrap(),
        batch: usize::try_from(dice.between(1, 10)).unwrap(),
        challenge_delay: *dice.pick(&[10, 10, 15, 25, 40]),
        funds: if dice.chance(200) { AttoFil::from_atto(FIL / 1_000 * i128::from(dice.between(2, 9))) } else { RICH },
    };
    let mut sim = world(&plot);
    if plot.funds < RICH {
        let small = AttoFil::from_atto(FIL / 2_000);
        (sim.desired.precommit_fees.cap, sim.desired.commit_fees.cap) = (small, small);
    }
    let mut chaos = Chaos::drawn(&mut dice);
    let epochs = dice.between(20, 250);
    let ended = chaos.rage(&mut sim, epochs).and_then(|()| {
        sim.fund(RICH);
        sim.converge(3_000)
    });
    match ended {
        Ok(()) => Ok(sim),
        Err(why) => Err((why, Box::new(sim))),
    }
}

#[test]
fn random_worlds_keep_the_laws() {
    let given = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match (given("SEALD_TEST_SEED"), given("SEALD_TEST_SEEDS")) {
        (Some(one), _) => one..one + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..40,
    };
    let (mut wasted, mut doubled, mut lost, mut crashes) = (BTreeMap::new(), 0, 0, 0);
    for seed in seeds.clone() {
        let ended = live(seed);
        let sim = ended.unwrap_or_else(|(why, sim)| {
            panic!("SEALD_TEST_SEED={seed}: {why}\n{}", sim.standing());
        });
        for (kind, code) in sim.laws.wasted.values() {
            *wasted.entry((*kind, *code)).or_insert(0) += 1;
        }
        for twice in &sim.laws.doubled {
            println!("seed {seed}: {twice}");
        }
        doubled += sim.laws.doubled.len();
        lost += sim.count(State::FailedUnrecoverable);
        crashes += sim.crashes;
    }
    if seeds.end - seeds.start > 1 {
        assert!(crashes > 0 && !wasted.is_empty(), "nothing went wrong: the faults do not reach the daemon");
    }
    println!("{} worlds: {crashes} crashes, {lost} sectors lost, doubled {doubled}, wasted {wasted:?}", seeds.end);
}

// matrix: G3
#[test]
fn a_thousand_sectors_with_forks_and_losses_are_all_proven() {
    let plot =
        Plot { seed: 1_000, sectors: 1_000, in_flight: 250, workers: 40, batch: 40, challenge_delay: 10, funds: RICH };
    let mut sim = world(&plot);
    let mut chaos = Chaos::EVERYTHING;
    let ended = chaos.rage(&mut sim, 600).and_then(|()| sim.converge(3_000));
    ended.unwrap_or_else(|why| panic!("{why}\n{}", sim.standing()));
    println!("{} crashes, doubled {:?}, wasted {:?}", sim.crashes, sim.laws.doubled, sim.laws.wasted.len());
}
