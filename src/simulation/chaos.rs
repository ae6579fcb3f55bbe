//! What goes wrong, drawn epoch by epoch.

use super::{
    dice::Dice,
    node::Moods,
    run::{Frailty, Sim},
    work::Luck,
};
use crate::units::AttoFil;

/// How often things go wrong, each of a thousand epochs or occasions; a world has some of them and not others.
#[derive(Debug, Clone, Copy)]
pub struct Chaos {
    moods: Moods,
    luck: Luck,
    frailty: Frailty,
    forks: u64,
    deepest: i64,
    evictions: u64,
    foreigners: u64,
    fees: u64,
    stalls: u64,
    lags: u64,
    small_blocks: u64,
}

impl Chaos {
    /// All of it, forks up to 20 epochs deep.
    pub const EVERYTHING: Self = Self {
        moods: Moods { away: 5, lost: 200, moves: 1, drops: 100, late: 100, low: 50 },
        luck: Luck { slowest_ms: 10 * 30_000, fails: 50, damages: 100 },
        frailty: Frailty { crashes: 2, writes: 2, errand_ms: 60_000 },
        forks: 80,
        deepest: 20,
        evictions: 60,
        foreigners: 40,
        fees: 40,
        stalls: 10,
        lags: 60,
        small_blocks: 10,
    };

    pub fn drawn(dice: &mut Dice) -> Self {
        let mut some = |most: i64| {
            let wanted = dice.chance(500);
            let how_often = dice.between(1, most);
            if wanted { u64::try_from(how_often).unwrap() } else { 0 }
        };
        let moods = Moods {
            away: some(80),
            lost: some(200),
            moves: some(4),
            drops: some(150),
            late: some(200),
            low: some(100),
        };
        let luck = Luck { slowest_ms: 1, fails: some(100), damages: some(200) };
        let frailty = Frailty { crashes: some(60), writes: some(30), errand_ms: 1 };
        let (forks, evictions, foreigners) = (some(80), some(60), some(40));
        let (fees, stalls, lags, small_blocks) = (some(30), some(20), some(60), some(20));
        let luck = Luck { slowest_ms: dice.between(1, 15) * 30_000, ..luck };
        let frailty = Frailty { errand_ms: dice.between(0, 90_000), ..frailty };
        let deepest = dice.between(1, 20);
        Self { moods, luck, frailty, forks, deepest, evictions, foreigners, fees, stalls, lags, small_blocks }
    }

    /// Everything goes wrong for so many epochs, then nothing does.
    pub fn rage(&mut self, sim: &mut Sim, epochs: i64) -> Result<(), String> {
        sim.luck = self.luck;
        sim.frailty = self.frailty;
        sim.node.net().moods = self.moods;
        let mut still = 0;
        for _ in 0..epochs {
            if sim.dice.chance(self.stalls) {
                still = sim.dice.between(1, 30);
            }
            still -= 1;
            self.strike(sim);
            let ticks = sim.dice.between(1, 3);
            sim.epoch(still <= 0, ticks)?;
        }
        self.calm(sim);
        Ok(())
    }

    fn strike(&self, sim: &mut Sim) {
        let dice = &mut sim.dice;
        let mut net = sim.node.net();
        if dice.chance(self.forks) {
            let depth = dice.between(1, self.deepest).min(net.chain.head - 6);
            let delay = *dice.pick(&[0, 0, 1, 3, 10]);
            if depth > 0 {
                let to = net.chain.head - depth;
                sim.laws.given.retain(|(at, _)| *at <= to);
                net.reorganise(depth, delay);
                // what was taken back may be lost for good
                if dice.chance(200) {
                    net.forget_ours();
                }
            }
        }
        if dice.chance(self.evictions) {
            net.forget_ours();
        }
        if dice.chance(self.foreigners) {
            let from = net.chain.tip().key_address(&sim.miner.worker).unwrap();
            let cid = net.chain.push_foreign(&from).unwrap();
            net.taken.insert(cid);
        }
        if dice.chance(self.fees) {
            let fee = *dice.pick(&[100, 5_000, 1_000_000, 1_000_000_000, 20_000_000_000]);
            net.chain.set_base_fee(AttoFil::from_atto(fee));
        }
        net.lag = if dice.chance(self.lags) { dice.between(1, 4).min(net.chain.head - 3) } else { 0 };
        if dice.chance(self.small_blocks) {
            let gas = *dice.pick(&[10_000_000_000, 200_000_000, 120_000_000]);
            net.chain.set_block_gas(gas);
        }
    }

    /// The end of all faults.
    pub fn calm(&self, sim: &mut Sim) {
        sim.luck.fails = 0;
        sim.frailty = Frailty::default();
        let mut net = sim.node.net();
        net.moods = Moods::default();
        net.rules = crate::devnet::faults::Rules::default();
        net.lag = 0;
        net.chain.set_base_fee(AttoFil::from_atto(100));
        net.chain.set_block_gas(crate::devnet::gas::BLOCK_GAS_LIMIT);
    }
}
