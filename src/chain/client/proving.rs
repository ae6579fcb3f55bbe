//! Questions that only who looks at a miner asks: its deadlines, which of its sectors the chain has and counts, and
//! everything about one of them. None takes a call for each sector.

use super::{Client, key};
use crate::{
    chain::{ChainError, DeadlineState, Ends, PartitionCount, ProvingDeadline, SectorTerms, TipSet, wire},
    units::{Epoch, MinerId, SectorNumber},
};
use futures_util::future::try_join_all;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Sectors told with one call: such an answer has about 5 MB, well below the bound of one.
const AT_ONCE: usize = 10_000;

/// Deadlines of a proving period. Source: lotus-full-node-api 3d.
const DEADLINES: u64 = 48;

/// Sectors of a partition at most, of any size. Source: the network's largest is 2349, for sectors of 32 GiB. A few bytes of
/// run lengths can name 2^63 of them, and the set must fit into memory.
const MOST_OF_A_PARTITION: u64 = 4096;

/// Of a sector in a long list: what is shown of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    sector_number: u64,
    expiration: i64,
}

impl Client {
    /// The window that is open, or the next one.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn proving_deadline(&self, miner: MinerId, at: &TipSet) -> Result<ProvingDeadline, ChainError> {
        let found: wire::ProvingDeadline = self.ask("StateMinerProvingDeadline", (miner.to_address(), key(at))).await?;
        let wire::ProvingDeadline { index, open, close } = found;
        Ok(ProvingDeadline { index, open: Epoch::new(open), close: Epoch::new(close) })
    }

    /// Every deadline of the proving period.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn deadlines(&self, miner: MinerId, at: &TipSet) -> Result<Vec<DeadlineState>, ChainError> {
        let method = "StateMinerDeadlines";
        let found: Option<Vec<wire::Deadline>> = self.ask(method, (miner.to_address(), key(at))).await?;
        let one = |deadline: wire::Deadline| {
            let posted = counted(method, &deadline.post_submissions)?;
            Ok(DeadlineState { posted, daily_fee: deadline.daily_fee })
        };
        found.unwrap_or_default().into_iter().map(one).collect()
    }

    /// The partitions of a deadline.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn partitions(
        &self,
        miner: MinerId,
        deadline: u64,
        at: &TipSet,
    ) -> Result<Vec<PartitionCount>, ChainError> {
        let method = "StateMinerPartitions";
        let found: Option<Vec<wire::Partition>> = self.ask(method, (miner.to_address(), deadline, key(at))).await?;
        let one = |partition: wire::Partition| {
            Ok(PartitionCount {
                live: counted(method, &partition.live_sectors)?,
                faulty: counted(method, &partition.faulty_sectors)?,
                recovering: counted(method, &partition.recovering_sectors)?,
            })
        };
        found.unwrap_or_default().into_iter().map(one).collect()
    }

    /// Which of these sectors the chain has, with the epoch each expires at.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn expirations(
        &self,
        miner: MinerId,
        numbers: &BTreeSet<SectorNumber>,
        at: &TipSet,
    ) -> Result<BTreeMap<SectorNumber, Epoch>, ChainError> {
        let method = "StateMinerSectors";
        let numbers: Vec<u64> = numbers.iter().map(|number| number.as_u64()).collect();
        let mut found = BTreeMap::new();
        for some in numbers.chunks(AT_ONCE) {
            let ranges: Vec<(u64, u64)> = joined(some);
            let filter = wire::BitField::from_ranges(&ranges);
            let listed: Option<Vec<Listed>> = self.ask(method, (miner.to_address(), filter, key(at))).await?;
            for Listed { sector_number, expiration } in listed.unwrap_or_default() {
                found.insert(number(method, sector_number)?, Epoch::new(expiration));
            }
        }
        Ok(found)
    }

    /// The sectors that count: on chain, proven, not faulty. Of a miner with about `expected` sectors or fewer: few are told
    /// with all there is to say of them in one call, many as sets of numbers, in a call for each deadline.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn active_sectors(
        &self,
        miner: MinerId,
        expected: usize,
        at: &TipSet,
    ) -> Result<BTreeSet<SectorNumber>, ChainError> {
        if expected > AT_ONCE {
            let deadlines = (0..DEADLINES).map(|deadline| self.active_in(miner, deadline, at));
            return Ok(try_join_all(deadlines).await?.into_iter().flatten().collect());
        }
        let method = "StateMinerActiveSectors";
        let found: Option<Vec<Listed>> = self.ask(method, (miner.to_address(), key(at))).await?;
        found.unwrap_or_default().into_iter().map(|listed| number(method, listed.sector_number)).collect()
    }

    async fn active_in(&self, miner: MinerId, deadline: u64, at: &TipSet) -> Result<Vec<SectorNumber>, ChainError> {
        let method = "StateMinerPartitions";
        let found: Option<Vec<wire::Partition>> = self.ask(method, (miner.to_address(), deadline, key(at))).await?;
        let mut numbers = Vec::new();
        for partition in found.unwrap_or_default() {
            let found = counted(method, &partition.active_sectors)?;
            if found > MOST_OF_A_PARTITION {
                let wrong = format!("{found} sectors are more than a partition has");
                return Err(ChainError::malformed(method, wrong));
            }
            let ranges = partition.active_sectors.to_ranges().unwrap_or_default();
            for found in ranges.into_iter().flat_map(|(start, end)| start..end) {
                numbers.push(number(method, found)?);
            }
        }
        Ok(numbers)
    }

    /// Everything about a sector on chain; `None` before its proof and after its end.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn sector_terms(
        &self,
        miner: MinerId,
        number: SectorNumber,
        at: &TipSet,
    ) -> Result<Option<SectorTerms>, ChainError> {
        let found: Option<wire::SectorOnChainInfo> =
            self.ask("StateSectorGetInfo", (miner.to_address(), number, key(at))).await?;
        Ok(found.map(|found| SectorTerms {
            seal_proof: found.seal_proof,
            activation: Epoch::new(found.activation),
            expiration: Epoch::new(found.expiration),
            deal_weight: found.deal_weight,
            verified_deal_weight: found.verified_deal_weight,
            pledge: found.initial_pledge,
            power_base: Epoch::new(found.power_base_epoch),
            daily_fee: found.daily_fee,
        }))
    }

    /// When a sector on chain ends.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn ends(&self, miner: MinerId, number: SectorNumber, at: &TipSet) -> Result<Ends, ChainError> {
        let found: wire::SectorExpiration =
            self.ask("StateSectorExpiration", (miner.to_address(), number, key(at))).await?;
        let wire::SectorExpiration { on_time, early } = found;
        Ok(Ends { on_time: Epoch::new(on_time), early: Some(early).filter(|early| *early != 0).map(Epoch::new) })
    }
}

fn counted(method: &str, set: &wire::BitField) -> Result<u64, ChainError> {
    set.count().ok_or_else(|| ChainError::malformed(method, "its run lengths pass 2^64"))
}

fn number(method: &str, number: u64) -> Result<SectorNumber, ChainError> {
    SectorNumber::try_from(number).map_err(|error| ChainError::malformed(method, error))
}

/// Ascending numbers as ranges.
fn joined(numbers: &[u64]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        let end = number.saturating_add(1);
        match ranges.last_mut() {
            Some(last) if last.1 == *number => last.1 = end,
            Some(_) | None => ranges.push((*number, end)),
        }
    }
    ranges
}
