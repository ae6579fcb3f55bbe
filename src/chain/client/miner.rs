//! Questions about one miner actor: who it is, its sectors, its power and its funds.

use super::{Client, key};
use crate::{
    chain::{
        Beneficiary, ChainError, Funds, Location, MarketBalance, MinerInfo, Power, PreCommitInfo, SectorCount,
        SectorInfo, SectorSet, TipSet, cids, params, wire,
    },
    units::{AttoFil, Epoch, Hash32, MinerId, Multiaddr, SectorNumber, SectorSize},
};

impl Client {
    /// Owner, worker, sector size.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn miner_info(&self, miner: MinerId, at: &TipSet) -> Result<MinerInfo, ChainError> {
        let method = "StateMinerInfo";
        let found: wire::MinerInfo = self.ask(method, (miner.to_address(), key(at))).await?;
        let size = SectorSize::ALL.into_iter().find(|size| size.bytes().as_u64() == found.sector_size);
        let beneficiary = beneficiary(&found);
        Ok(MinerInfo {
            owner: found.owner,
            worker: found.worker,
            control: found.control_addresses,
            sector_size: size.ok_or_else(|| {
                ChainError::malformed(method, format!("sectors of {} bytes are of no known size", found.sector_size))
            })?,
            window_post_proof: found.window_post_proof_type,
            peer_id: found.peer_id.and_then(|id| id.parse().ok()),
            multiaddrs: found.multiaddrs.into_iter().map(|wire::Blob(bytes)| Multiaddr::of_chain(bytes)).collect(),
            beneficiary,
        })
    }

    /// The pre-commit of a sector; `None` before it, after its proof, and after it expired.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn precommit(
        &self,
        miner: MinerId,
        number: SectorNumber,
        at: &TipSet,
    ) -> Result<Option<PreCommitInfo>, ChainError> {
        let method = "StateSectorPreCommitInfo";
        let found: Option<wire::SectorPreCommitOnChainInfo> =
            self.ask(method, (miner.to_address(), number, key(at))).await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(PreCommitInfo {
            epoch: Epoch::new(found.pre_commit_epoch),
            ticket_epoch: Epoch::new(found.info.seal_rand_epoch),
            comm_r: comm_r(method, &found.info.sealed_cid)?,
            deposit: found.pre_commit_deposit,
        }))
    }

    /// A proven sector; `None` before its proof and after its end.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn sector(
        &self,
        miner: MinerId,
        number: SectorNumber,
        at: &TipSet,
    ) -> Result<Option<SectorInfo>, ChainError> {
        let method = "StateSectorGetInfo";
        let found: Option<wire::SectorOnChainInfo> = self.ask(method, (miner.to_address(), number, key(at))).await?;
        found.map(|found| sector(method, &found)).transpose()
    }

    /// Whether a sector number was ever used.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn is_allocated(&self, miner: MinerId, number: SectorNumber, at: &TipSet) -> Result<bool, ChainError> {
        self.ask("StateMinerSectorAllocated", (miner.to_address(), number, key(at))).await
    }

    /// All sector numbers ever used.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn allocated(&self, miner: MinerId, at: &TipSet) -> Result<SectorSet, ChainError> {
        self.bit_field("StateMinerAllocated", miner, at).await
    }

    /// The sectors that are faulty now.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn faults(&self, miner: MinerId, at: &TipSet) -> Result<SectorSet, ChainError> {
        self.bit_field("StateMinerFaults", miner, at).await
    }

    /// The deposit a pre-commit locks, the node's margin of a tenth included.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn precommit_deposit(
        &self,
        miner: MinerId,
        info: &params::SectorPreCommitInfo,
        at: &TipSet,
    ) -> Result<AttoFil, ChainError> {
        let info = wire::SectorPreCommitInfo {
            seal_proof: info.seal_proof,
            sector_number: info.sector_number,
            sealed_cid: info.sealed_cid.to_string().into(),
            seal_rand_epoch: info.seal_rand_epoch,
            deal_ids: info.deal_ids.clone(),
            expiration: info.expiration,
            unsealed_cid: info.unsealed_cid.map(|cid| cid.to_string().into()),
        };
        self.ask("StateMinerPreCommitDepositForPower", (miner.to_address(), info, key(at))).await
    }

    /// The pledge a capacity sector locks that lives this many epochs from now, the node's margin of a tenth included.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn initial_pledge(
        &self,
        lifetime_epochs: i64,
        size: SectorSize,
        at: &TipSet,
    ) -> Result<AttoFil, ChainError> {
        let verified_bytes = 0u64;
        let params = (lifetime_epochs, size.bytes(), verified_bytes, key(at));
        self.ask("StateMinerInitialPledgeForSector", params).await
    }

    /// Balance, locked and available funds.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn funds(&self, miner: MinerId, at: &TipSet) -> Result<Funds, ChainError> {
        let method = "StateReadState";
        let found: wire::ActorState<wire::MinerState> = self.ask(method, (miner.to_address(), key(at))).await?;
        let wire::MinerState { pre_commit_deposits, locked_funds, fee_debt, initial_pledge } = found.state;
        let held = [pre_commit_deposits, initial_pledge, locked_funds, fee_debt];
        let available = held.into_iter().try_fold(found.balance, AttoFil::checked_sub);
        Ok(Funds {
            balance: found.balance,
            pre_commit_deposits,
            initial_pledge,
            vesting: locked_funds,
            fee_debt,
            available: available.ok_or_else(|| ChainError::malformed(method, "its amounts are more than there is"))?,
        })
    }

    /// Power of the miner and of the network.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn power(&self, miner: MinerId, at: &TipSet) -> Result<Power, ChainError> {
        let found: wire::MinerPower = self.ask("StateMinerPower", (miner.to_address(), key(at))).await?;
        Ok(Power {
            raw: found.miner_power.raw_byte_power,
            quality_adjusted: found.miner_power.quality_adj_power,
            total_raw: found.total_power.raw_byte_power,
            total_quality_adjusted: found.total_power.quality_adj_power,
            has_min_power: found.has_min_power,
        })
    }

    /// Live, active and faulty sectors.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn sector_count(&self, miner: MinerId, at: &TipSet) -> Result<SectorCount, ChainError> {
        let found: wire::MinerSectors = self.ask("StateMinerSectorCount", (miner.to_address(), key(at))).await?;
        Ok(SectorCount { live: found.live, active: found.active, faulty: found.faulty })
    }

    /// Where a sector is proven; `None` when it never was. A sector that ended keeps its place until the miner's
    /// partitions are compacted.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn sector_location(
        &self,
        miner: MinerId,
        number: SectorNumber,
        at: &TipSet,
    ) -> Result<Option<Location>, ChainError> {
        let answer: Result<wire::SectorLocation, _> =
            self.ask("StateSectorPartition", (miner.to_address(), number, key(at))).await;
        match answer {
            Ok(wire::SectorLocation { deadline, partition }) => Ok(Some(Location { deadline, partition })),
            Err(ChainError::Refused { message, .. })
                if message.contains("not due at any deadline") || message.contains("not found") =>
            {
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Funds in the market actor.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn market_balance(&self, miner: MinerId, at: &TipSet) -> Result<MarketBalance, ChainError> {
        let found: wire::MarketBalance = self.ask("StateMarketBalance", (miner.to_address(), key(at))).await?;
        Ok(MarketBalance { escrow: found.escrow, locked: found.locked })
    }

    async fn bit_field(&self, method: &str, miner: MinerId, at: &TipSet) -> Result<SectorSet, ChainError> {
        let found: wire::BitField = self.ask(method, (miner.to_address(), key(at))).await?;
        let set = found.to_ranges().and_then(SectorSet::of);
        set.ok_or_else(|| ChainError::malformed(method, "it names a sector past 2^63-1, the last there can be"))
    }
}

/// Its owner, unless the chain names another.
fn beneficiary(found: &wire::MinerInfo) -> Beneficiary {
    let named = Some(&found.beneficiary).filter(|address| !address.is_empty() && *address != "<empty>");
    let term = found.beneficiary_term.as_ref();
    Beneficiary {
        address: named.unwrap_or(&found.owner).clone(),
        quota: term.map_or(AttoFil::ZERO, |term| term.quota),
        used: term.map_or(AttoFil::ZERO, |term| term.used_quota),
        expiration: Epoch::new(term.map_or(0, |term| term.expiration)),
        pending: found.pending_beneficiary_term.as_ref().map(|pending| pending.new_beneficiary.clone()),
    }
}

fn sector(method: &str, found: &wire::SectorOnChainInfo) -> Result<SectorInfo, ChainError> {
    Ok(SectorInfo {
        number: SectorNumber::try_from(found.sector_number).map_err(|e| ChainError::malformed(method, e))?,
        comm_r: comm_r(method, &found.sealed_cid)?,
        activation: Epoch::new(found.activation),
        expiration: Epoch::new(found.expiration),
        pledge: found.initial_pledge,
    })
}

fn comm_r(method: &str, cid: &wire::CidJson) -> Result<Hash32, ChainError> {
    cids::parse(&cid.cid).and_then(|cid| cids::comm_r(&cid)).map_err(|e| ChainError::malformed(method, e))
}
