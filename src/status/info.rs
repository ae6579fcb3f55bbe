//! What `seald info` prints: the miner as the chain shows it, line by line as storage providers know it from
//! `lotus-storage-miner info`. Pure, and right for a miner or a network without any power.

use super::{
    paint::{Colour, Tone},
    text, words,
};
use crate::{
    sector::State,
    units::{AttoFil, Epoch, MinerId, SectorSize},
};
use serde::{Deserialize, Serialize};

/// Raised when a field changes its meaning or goes away.
pub const FORMAT_VERSION: u32 = 1;

/// The miner on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoReport {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Everything below was read at this epoch.
    pub head: Epoch,
    /// The miner.
    pub miner: MinerId,
    /// Its sector size.
    pub sector_size: SectorSize,
    /// Raw bytes proven, of the miner and of the network.
    pub byte_power: Share,
    /// Quality-adjusted bytes proven, of the miner and of the network.
    pub adjusted_power: Share,
    /// Enough power to win blocks.
    pub has_min_power: bool,
    /// Sectors on chain, proven or not.
    pub committed: u64,
    /// Those of them that are proven and not faulty.
    pub proving: u64,
    /// Those of them that are faulty.
    pub faulty: u64,
    /// Funds of the miner actor.
    pub funds: Funds,
    /// Balance of the worker account.
    pub worker_balance: AttoFil,
    /// Funds in the storage market; absent when the network has no market actor.
    pub market: Option<Market>,
    /// Number of sectors per state, as the database has them.
    pub states: Vec<(String, u64)>,
    /// The deadline that is open or comes next, when the proving period is known.
    pub deadline: Option<Deadline>,
}

/// A part and its whole. As decimal text in JSON: networks have more than 2^53 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The miner's.
    #[serde(with = "decimal")]
    pub miner: u128,
    /// The network's.
    #[serde(with = "decimal")]
    pub network: u128,
}

mod decimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(n: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(n)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Funds of the miner actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Funds {
    /// All of it.
    pub balance: AttoFil,
    /// Locked as pre-commit deposits.
    pub precommit: AttoFil,
    /// Locked as initial pledge.
    pub pledge: AttoFil,
    /// Locked and vesting.
    pub vesting: AttoFil,
    /// Owed.
    pub debt: AttoFil,
    /// Free to be used or withdrawn.
    pub available: AttoFil,
}

/// Funds in the storage market.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Market {
    /// In escrow.
    pub escrow: AttoFil,
    /// Locked by deals.
    pub locked: AttoFil,
}

/// One window PoSt deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// Its index.
    pub index: u64,
    /// First epoch of its window.
    pub open: Epoch,
    /// First epoch after it.
    pub close: Epoch,
}

impl InfoReport {
    /// The report as text.
    pub fn render(&self, colour: Colour) -> String {
        let mut out = String::new();
        for (key, value, tone) in self.lines() {
            let key = format!("{key}:");
            out.push_str(&format!("{key:<18}{}\n", colour.paint(tone, &value)));
        }
        out.push_str(&format!("\n{}\n", colour.paint(Tone::Strong, "Sectors:")));
        let total = self.states.iter().map(|(_, n)| n).sum();
        let known = State::ALL.iter().filter_map(|state| {
            let n = self.states.iter().find(|(name, _)| name == state.as_str())?.1;
            Some((state.as_str(), n, text::tone_of(state.as_str())))
        });
        let unknown = self.states.iter().filter(|(name, _)| name.parse::<State>().is_err());
        let unknown = unknown.map(|(name, n)| (name.as_str(), *n, Tone::Red));
        for (name, n, tone) in std::iter::once(("Total", total, Tone::Plain)).chain(known).chain(unknown) {
            if n > 0 || name == "Total" {
                let name = format!("{name}:");
                out.push_str(&format!("  {}\n", colour.paint(tone, &format!("{name:<22}{n}"))));
            }
        }
        out
    }

    fn lines(&self) -> Vec<(&'static str, String, Tone)> {
        let Self { head, miner, sector_size, byte_power, adjusted_power, funds, worker_balance, .. } = self;
        let Funds { balance, precommit, pledge, vesting, debt, available } = funds;
        let mut lines = vec![
            ("Miner", miner.to_string(), Tone::Blue),
            ("Sector Size", sector_size.to_string(), Tone::Plain),
            ("Byte Power", share(*byte_power), Tone::Blue),
            ("Actual Power", share(*adjusted_power), Tone::Green),
            ("Committed", self.size_of(self.committed), Tone::Plain),
            ("Proving", self.proving(), if self.faulty > 0 { Tone::Red } else { Tone::Plain }),
        ];
        if !self.has_min_power {
            lines.push(("Block Rewards", "none: below the network's minimum power".to_owned(), Tone::Plain));
        }
        lines.extend([
            ("Miner Balance", balance.to_string(), Tone::Yellow),
            ("  PreCommit", precommit.to_string(), Tone::Plain),
            ("  Pledge", pledge.to_string(), Tone::Plain),
            ("  Vesting", vesting.to_string(), Tone::Plain),
            ("  Locked", pledge.checked_add(*vesting).unwrap_or(*pledge).to_string(), Tone::Plain),
            ("  Available", available.to_string(), Tone::Green),
        ]);
        if *debt > AttoFil::ZERO {
            lines.push(("  Fee Debt", debt.to_string(), Tone::Red));
        }
        lines.push(("Worker Balance", worker_balance.to_string(), Tone::Cyan));
        if let Some(Market { escrow, locked }) = &self.market {
            lines.push(("Market (Escrow)", escrow.to_string(), Tone::Plain));
            lines.push(("Market (Locked)", locked.to_string(), Tone::Plain));
        }
        if let Some(deadline) = &self.deadline {
            lines.push(("Next Deadline", next(deadline, *head), Tone::Plain));
        }
        lines
    }

    fn proving(&self) -> String {
        let proving = self.size_of(self.proving);
        if self.faulty == 0 {
            return proving;
        }
        let share = words::share(u128::from(self.faulty), u128::from(self.committed));
        format!("{proving} ({} Faulty, {share})", self.size_of(self.faulty))
    }

    fn size_of(&self, sectors: u64) -> String {
        words::bytes(u128::from(sectors).saturating_mul(u128::from(self.sector_size.bytes().as_u64())))
    }
}

fn share(Share { miner, network }: Share) -> String {
    format!("{} / {} ({})", words::bytes(miner), words::bytes(network), words::share(miner, network))
}

fn next(Deadline { index, open, close }: &Deadline, head: Epoch) -> String {
    let left = open.since(head);
    if left > 0 {
        return format!("{index}, opens in {left} epochs ({open})");
    }
    format!("{index}, open, closes in {} epochs ({close})", close.since(head))
}
