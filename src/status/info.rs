//! What `seald info` prints: the miner as the chain shows it, line by line as storage providers know it from
//! `lotus-storage-miner info`. Pure, and right for a miner or a network without any power.

use super::{
    paint::{Colour, Tone},
    text,
    winning::Winning,
    words,
};
use crate::{
    sector::State,
    units::{AttoFil, Epoch, MinerId, SectorSize, UnixMillis},
};
use serde::{Deserialize, Serialize};

/// Raised when a field changes its meaning or goes away. 2: `proving` counts faulty sectors, as Lotus does, and
/// `funds.available` does not what may vest at the next deadline.
pub const FORMAT_VERSION: u32 = 2;

/// The miner on chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InfoReport {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// When this was asked.
    pub at: UnixMillis,
    /// Since when the daemon runs; absent when none was asked.
    pub running_since: Option<UnixMillis>,
    /// Everything below was read at this epoch.
    pub head: Epoch,
    /// The chain that it was read from.
    pub chain: ChainState,
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
    /// Those of them that are proven, the faulty ones included.
    pub proving: u64,
    /// Those of them that are faulty.
    pub faulty: u64,
    /// What blocks it may expect; absent without power, and below the network's minimum.
    pub winning: Option<Winning>,
    /// Funds of the miner actor.
    pub funds: Funds,
    /// What all its sectors cost a day; absent when the node does not say.
    pub daily_fee: Option<AttoFil>,
    /// The owner.
    pub owner: String,
    /// The worker account.
    pub worker: String,
    /// Balance of the worker account.
    pub worker_balance: AttoFil,
    /// The control accounts that were asked about.
    pub controls: Vec<Account>,
    /// More control accounts, which were not.
    pub controls_not_asked: u64,
    /// Who gets withdrawn funds.
    pub beneficiary: Beneficiary,
    /// Funds in the storage market; absent when the network has no market actor.
    pub market: Option<Market>,
    /// Number of sectors per state, as the database has them.
    pub states: Vec<(String, u64)>,
    /// The deadline that is open or comes next, when the proving period is known.
    pub deadline: Option<Deadline>,
}

/// The chain, as far as it says how much the rest can be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    /// Name of the network.
    pub network: String,
    /// Seconds of an epoch.
    pub epoch_secs: u64,
    /// How old the head was when this was asked.
    pub age_secs: u64,
    /// Whether that is what it should be.
    pub sync: Sync,
    /// Base fee, attoFIL per gas unit.
    pub base_fee: AttoFil,
}

/// How far the node is, by the age of its head. The bounds are Lotus's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// Less than one and a half epochs old.
    Ok,
    /// Less than five.
    Slow,
    /// More.
    Behind,
}

impl Sync {
    /// Of a head of this age.
    pub const fn of(age_secs: u64, epoch_secs: u64) -> Self {
        if age_secs.saturating_mul(2) < epoch_secs.saturating_mul(3) {
            Self::Ok
        } else if age_secs < epoch_secs.saturating_mul(5) {
            Self::Slow
        } else {
            Self::Behind
        }
    }

    const fn said(self) -> (&'static str, Tone) {
        match self {
            Self::Ok => ("sync ok", Tone::Green),
            Self::Slow => ("sync slow", Tone::Yellow),
            Self::Behind => ("sync behind", Tone::Red),
        }
    }
}

/// An account and its balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its address.
    pub address: String,
    /// Its balance.
    pub balance: AttoFil,
}

/// Who gets withdrawn funds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beneficiary {
    /// Its address.
    pub address: String,
    /// At most so much; without meaning for the owner.
    pub quota: AttoFil,
    /// Of that, what it had.
    pub used: AttoFil,
    /// Until then.
    pub expiration: Epoch,
    /// Who is to take its place, once all agreed.
    pub pending: Option<String>,
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

/// Large integers as decimal text.
pub(super) mod decimal {
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
    /// Pledge and vesting together, which is what storage providers first knew as locked.
    pub locked: AttoFil,
    /// Owed.
    pub debt: AttoFil,
    /// Free to be used or withdrawn; less than nothing when more is owed than is there.
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
    /// What is due in it, when the node says.
    pub due: Option<Due>,
}

/// What is due in a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Partitions with sectors that did not end.
    pub partitions: u64,
    /// Those that were proven in the window.
    pub posted: u64,
    /// Sectors that did not end.
    pub sectors: u64,
    /// Those of them that are faulty.
    pub faulty: u64,
    /// Those of the faulty that were declared well again.
    pub recovering: u64,
}

/// What the text leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    /// Without the sectors by state.
    pub without_sectors: bool,
}

type Line = (&'static str, String, Tone);

impl InfoReport {
    /// The report as text.
    pub fn render(&self, shown: Shown, colour: Colour) -> String {
        let lines = [self.chain(), self.power(), self.winning(), self.funds(), self.accounts(), self.due()].concat();
        let width = lines.iter().map(|(key, ..)| key.chars().count()).max().unwrap_or(0).saturating_add(3);
        let mut out = String::new();
        for (key, value, tone) in lines {
            let key = format!("{key}:");
            out.push_str(&format!("{key:<width$}{}\n", colour.paint(tone, &value)));
        }
        if !shown.without_sectors {
            out.push_str(&self.sectors(colour));
        }
        out
    }

    /// The sectors by state: in order of the states, those that this seald does not know at the end.
    fn sectors(&self, colour: Colour) -> String {
        let mut out = format!("\n{}\n", colour.paint(Tone::Strong, "Sectors:"));
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

    fn chain(&self) -> Vec<Line> {
        let ChainState { network, age_secs, sync, base_fee, .. } = &self.chain;
        let (said, tone) = sync.said();
        let age = words::exactly(age_secs.saturating_mul(1000));
        let chain = format!("{network}, {}, {said} ({age} old), base fee {base_fee}", self.head);
        let daemon = match self.running_since {
            Some(since) => (format!("running for {}", words::about(self.at.ms_since(since))), Tone::Plain),
            None => ("not running".to_owned(), Tone::Yellow),
        };
        vec![("Chain", chain, tone), ("Daemon", daemon.0, daemon.1)]
    }

    fn power(&self) -> Vec<Line> {
        let Self { miner, sector_size, byte_power, adjusted_power, committed, faulty, .. } = self;
        vec![
            ("Miner", miner.to_string(), Tone::Blue),
            ("Sector Size", sector_size.to_string(), Tone::Plain),
            ("Byte Power", share(*byte_power), Tone::Blue),
            ("Actual Power", share(*adjusted_power), Tone::Green),
            ("  Committed", self.size_of(*committed), Tone::Plain),
            ("  Proving", self.proving(), if *faulty > 0 { Tone::Red } else { Tone::Plain }),
        ]
    }

    fn winning(&self) -> Vec<Line> {
        const RATE: &str = "Expected block win rate";
        let Some(winning) = self.winning.filter(|_| self.has_min_power) else {
            let why = if self.has_min_power { "none: without power no blocks are won" } else { BELOW_MINIMUM };
            return vec![(RATE, why.to_owned(), Tone::Yellow)];
        };
        let Winning { blocks_per_day, blocks_per_week, every_secs, within_secs, reward_per_day } = winning;
        let every = words::about(every_secs.saturating_mul(1000));
        let within = words::about(within_secs.saturating_mul(1000));
        let rate = format!("{blocks_per_day:.4}/day, {blocks_per_week:.2}/week (every {every})");
        let mut lines =
            vec![(RATE, rate, Tone::Blue), ("  With 99.9 % chance", format!("one within {within}"), Tone::Green)];
        lines.extend(reward_per_day.map(|reward| ("  Expected reward", format!("{reward}/day"), Tone::Plain)));
        lines
    }

    fn funds(&self) -> Vec<Line> {
        let Funds { balance, precommit, pledge, vesting, locked, debt, available } = &self.funds;
        let mut lines = vec![
            ("Miner Balance", balance.to_string(), Tone::Yellow),
            ("  PreCommit", precommit.to_string(), Tone::Plain),
            ("  Pledge", pledge.to_string(), Tone::Plain),
            ("  Vesting", vesting.to_string(), Tone::Plain),
            ("  Locked", locked.to_string(), Tone::Plain),
            ("  Available", available.to_string(), tone_of(*available)),
        ];
        if *debt > AttoFil::ZERO {
            lines.push(("  Fee Debt", format!("{debt}: no blocks are won before it is paid"), Tone::Red));
        }
        lines.extend(self.daily_fee.map(|fee| ("  Daily Fee", format!("{fee}/day"), Tone::Plain)));
        lines
    }

    fn accounts(&self) -> Vec<Line> {
        let Self { worker_balance, controls, controls_not_asked, beneficiary, owner, .. } = self;
        let mut lines = vec![("Worker Balance", worker_balance.to_string(), Tone::Cyan)];
        let control =
            |Account { address, balance }: &Account| ("  Control", format!("{balance} ({address})"), Tone::Cyan);
        lines.extend(controls.iter().map(control));
        if *controls_not_asked > 0 {
            let more = words::count(*controls_not_asked, "more account");
            lines.push(("  Control", format!("{more}, not asked about"), Tone::Plain));
        }
        if let Some(Market { escrow, locked }) = &self.market {
            lines.push(("Market (Escrow)", escrow.to_string(), Tone::Plain));
            lines.push(("Market (Locked)", locked.to_string(), Tone::Plain));
        }
        let Beneficiary { address, quota, used, expiration, pending } = beneficiary;
        if address != owner {
            let term = format!("{address}, had {used} of {quota}, until {expiration}");
            lines.push(("Beneficiary", term, Tone::Yellow));
        }
        lines.extend(pending.as_ref().map(|coming| ("  Proposed", coming.clone(), Tone::Yellow)));
        lines
    }

    fn due(&self) -> Vec<Line> {
        let Some(deadline) = &self.deadline else { return Vec::new() };
        let mut lines = vec![("Deadline", next(deadline, self.head, self.chain.epoch_secs), Tone::Plain)];
        if let Some(Due { partitions, posted, sectors, faulty, recovering }) = deadline.due {
            let sectors = words::count(sectors, "sector");
            let partitions = words::count(partitions, "partition");
            let faulty = if faulty > 0 { format!(", {faulty} faulty, {recovering} recovering") } else { String::new() };
            lines.push(("  Due", format!("{sectors} in {partitions}, {posted} proven{faulty}"), Tone::Plain));
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

const BELOW_MINIMUM: &str = "none: below the network's minimum power";

/// There is some, none, or less than none.
fn tone_of(amount: AttoFil) -> Tone {
    match amount.cmp(&AttoFil::ZERO) {
        std::cmp::Ordering::Greater => Tone::Green,
        std::cmp::Ordering::Equal => Tone::Yellow,
        std::cmp::Ordering::Less => Tone::Red,
    }
}

fn share(Share { miner, network }: Share) -> String {
    format!("{} / {} ({})", words::bytes(miner), words::bytes(network), words::share(miner, network))
}

fn next(Deadline { index, open, close, .. }: &Deadline, head: Epoch, epoch_secs: u64) -> String {
    let (verb, at) = if open.since(head) > 0 { ("opens", *open) } else { ("open, closes", *close) };
    format!("{index}, {verb} {} ({at})", words::epochs(at.since(head), epoch_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_late_by_lotus_bounds() {
        let said = [0, 44, 45, 149, 150, u64::MAX].map(|age| Sync::of(age, 30));
        assert_eq!(said, [Sync::Ok, Sync::Ok, Sync::Slow, Sync::Slow, Sync::Behind, Sync::Behind]);
    }

    #[test]
    fn the_deadline_is_to_come_or_open() {
        let deadline = Deadline { index: 7, open: Epoch::new(60), close: Epoch::new(120), due: None };
        let said = [50, 60, 119].map(|head| next(&deadline, Epoch::new(head), 30));
        assert_eq!(said[0], "7, opens in about 5 min (epoch 60)");
        assert_eq!(said[1], "7, open, closes in about 30 min (epoch 120)");
        assert_eq!(said[2], "7, open, closes in about 30 s (epoch 120)");
    }
}
