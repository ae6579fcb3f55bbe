//! The miner actor: pre-commit and prove-commit with the real actor's checks and exit codes, deposits and pledge.
//!
//! Differences from the real actor, on purpose: a sector has power from its activation and keeps it without window
//! PoSts (faults come from the fault API), there is no daily fee, the creation deposit never vests, and deals and
//! every method not named here are refused.

use super::{
    deadline::{self, DeadlineInfo, Place},
    ledger::{Context, Halt, Message, abort, decode, encode, exit, minus, plus, times},
    randomness::{INTERACTIVE_SEAL, SEAL_RANDOMNESS},
};
use crate::{
    chain::{
        cids,
        messages::{AGGREGATED_SECTORS, SNARK_PACK_V2},
        params::{
            BatchReturn, ChangeMultiaddrsParams, ChangePeerIdParams, FailCode, PreCommitSectorBatchParams2,
            ProveCommitSectors3Params, SectorPreCommitInfo, TerminateSectorsParams, TerminateSectorsReturn,
            TerminationDeclaration, method,
        },
        presealed::PresealedSector,
    },
    proofs::PoRep,
    units::{AttoFil, Hash32, MinerId, SealProof, SectorNumber, SectorSize},
};
use fvm_ipld_encoding::RawBytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Oldest ticket a pre-commit may name. Source of these constants: sealing-fsm 2.1.
const MAX_TICKET_AGE: i64 = 3780;
/// Epochs to prove after pre-commit, on top of the challenge delay.
const MAX_PROVE_COMMIT: i64 = 86_400;
/// After that, epochs until the deposit is burnt.
const CLEAN_UP_DELAY: i64 = 960;
const MIN_LIFETIME: i64 = 518_400;
const MAX_EXTENSION: i64 = 3_680_640;
/// Pledge of a 32 GiB sector, and the least of any: so that test sizes lock something to look at.
const PLEDGE_32GIB: AttoFil = AttoFil::from_atto(200_000_000_000_000_000);
const LEAST_PLEDGE: AttoFil = AttoFil::from_atto(1_000_000_000_000_000);
/// Age of a sector from which on ending it costs the most: 140 days.
const FULL_FEE_AGE: i64 = 140 * deadline::PERIOD;
/// Most sectors that one message may end. Source: lotus-full-node-api 3g.
const MOST_TERMINATIONS: u64 = 25_000;
/// Longest peer id, and longest multiaddrs in all. Source: lotus-full-node-api 6.
const MOST_PEER_ID: usize = 128;
const MOST_MULTIADDR_BYTES: usize = 1024;
/// Longest aggregate. Source: lotus-full-node-api 5.
const MOST_AGGREGATE_BYTES: usize = 81_960;
const GIB_32: u64 = 32 << 30;

/// Initial pledge of one sector.
pub fn pledge(size: SectorSize) -> AttoFil {
    let scaled = times(PLEDGE_32GIB, size.bytes().as_u64()).as_atto().checked_div(i128::from(GIB_32)).unwrap_or(0);
    AttoFil::from_atto(scaled).max(LEAST_PLEDGE)
}

/// Pre-commit deposit of one sector: part of its pledge, so that proving needs more funds, as on a real network.
pub fn deposit(size: SectorSize) -> AttoFil {
    AttoFil::from_atto(times(pledge(size), 6).as_atto().checked_div(10).unwrap_or(0))
}

/// What ending a sector early costs: 8.5 percent of its pledge after 140 days, in proportion to its age before, and at
/// least 2 percent. Source: lotus-full-node-api 3g; the part that a fault fee would raise needs rewards, which a devnet
/// has none of.
pub fn termination_fee(sector: &Sector, epoch: i64) -> AttoFil {
    let age = epoch.saturating_sub(sector.activation).clamp(0, FULL_FEE_AGE);
    let pledge = sector.pledge.as_atto();
    let full = pledge.saturating_mul(85).div_euclid(1000);
    let aged = full.saturating_mul(i128::from(age)).div_euclid(i128::from(FULL_FEE_AGE));
    AttoFil::from_atto(aged.max(pledge.div_euclid(50)))
}

/// A pre-committed sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreCommit {
    /// Seal proof type.
    pub proof: SealProof,
    /// CommR.
    pub comm_r: Hash32,
    /// CommD; `None` for a capacity sector.
    pub comm_d: Option<Hash32>,
    /// Ticket epoch.
    pub ticket_epoch: i64,
    /// Expiration.
    pub expiration: i64,
    /// Locked deposit.
    pub deposit: AttoFil,
    /// Epoch it executed at.
    pub epoch: i64,
}

impl PreCommit {
    /// Whether its time to be proven is over, and the network takes its deposit.
    const fn is_over(&self, epoch: i64, challenge_delay: i64) -> bool {
        let age = MAX_PROVE_COMMIT.saturating_add(challenge_delay).saturating_add(CLEAN_UP_DELAY);
        self.epoch.saturating_add(age) <= epoch
    }
}

/// A proven sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sector {
    /// Seal proof type.
    pub proof: SealProof,
    /// CommR.
    pub comm_r: Hash32,
    /// Epoch of activation.
    pub activation: i64,
    /// Expiration.
    pub expiration: i64,
    /// Locked pledge.
    pub pledge: AttoFil,
    /// Where it is proven.
    pub place: Place,
    /// Its condition.
    pub condition: Condition,
}

/// Whether a sector counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It counts.
    Active,
    /// It does not count for now.
    Faulty,
    /// It counts no more; its pledge is free.
    Terminated,
}

/// What a method gave.
#[derive(Debug)]
pub struct Done {
    /// CBOR return value.
    pub value: Vec<u8>,
    /// What of the actor's balance is to be burnt.
    pub burnt: AttoFil,
}

impl Done {
    const fn of(value: Vec<u8>) -> Self {
        Self { value, burnt: AttoFil::ZERO }
    }
}

/// A miner actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miner {
    id: u64,
    /// Owner account.
    pub owner: u64,
    /// Worker account.
    pub worker: u64,
    /// Sector size.
    pub size: SectorSize,
    /// Raw libp2p identity.
    pub peer: Vec<u8>,
    /// Raw multiaddrs.
    pub multiaddrs: Vec<Vec<u8>>,
    /// Start of its proving periods, modulo the period.
    pub period_offset: i64,
    /// The creation deposit.
    pub locked: AttoFil,
    /// Pre-commits by number.
    pub pre_commits: BTreeMap<u64, PreCommit>,
    /// Sectors by number, terminated ones included.
    pub sectors: BTreeMap<u64, Sector>,
    /// Every number ever used.
    pub allocated: BTreeSet<u64>,
}

impl Miner {
    /// A miner made at `epoch`, with the creation deposit locked.
    pub fn new(id: u64, owner: u64, worker: u64, size: SectorSize, epoch: i64) -> Self {
        // a period that starts now at the earliest opens no deadline in the past; ids spread the miners
        let spread = i64::try_from(id.wrapping_mul(997) % 2880).unwrap_or(0);
        Self {
            id,
            owner,
            worker,
            size,
            peer: Vec::new(),
            multiaddrs: Vec::new(),
            period_offset: epoch.saturating_add(spread).rem_euclid(deadline::PERIOD),
            locked: super::ledger::CREATION_DEPOSIT,
            pre_commits: BTreeMap::new(),
            sectors: BTreeMap::new(),
            allocated: BTreeSet::new(),
        }
    }

    /// With its libp2p identity.
    #[must_use]
    pub fn with_contact(self, peer: Vec<u8>, multiaddrs: Vec<Vec<u8>>) -> Self {
        Self { peer, multiaddrs, ..self }
    }

    /// With sectors that were sealed before there was a chain: active from the beginning.
    pub fn preseal(&mut self, sectors: &[PresealedSector]) {
        let info = DeadlineInfo::at(self.period_offset, 0);
        let mut taken: Vec<Place> = Vec::with_capacity(sectors.len());
        for PresealedSector { number, comm_r, proof, .. } in sectors {
            let place = deadline::place(&taken, &info, self.size);
            taken.push(place);
            let sector = Sector {
                proof: *proof,
                comm_r: *comm_r,
                activation: 0,
                expiration: MAX_EXTENSION,
                pledge: pledge(self.size),
                place,
                condition: Condition::Active,
            };
            self.sectors.insert(number.as_u64(), sector);
            self.allocated.insert(number.as_u64());
        }
    }

    /// Locked as pre-commit deposits.
    pub fn deposits(&self) -> AttoFil {
        self.pre_commits.values().fold(AttoFil::ZERO, |sum, p| plus(sum, p.deposit))
    }

    /// Locked as initial pledge.
    pub fn initial_pledge(&self) -> AttoFil {
        self.live().fold(AttoFil::ZERO, |sum, (_, sector)| plus(sum, sector.pledge))
    }

    /// What of the actor's balance is free.
    pub fn available(&self, balance: AttoFil) -> AttoFil {
        minus(balance, plus(self.locked, plus(self.deposits(), self.initial_pledge())))
    }

    /// Sectors that are not terminated.
    pub fn live(&self) -> impl Iterator<Item = (u64, &Sector)> {
        self.sectors.iter().filter(|(_, s)| s.condition != Condition::Terminated).map(|(number, s)| (*number, s))
    }

    /// Sectors in this condition.
    pub fn in_condition(&self, condition: Condition) -> impl Iterator<Item = (u64, &Sector)> {
        self.sectors.iter().filter(move |(_, s)| s.condition == condition).map(|(number, s)| (*number, s))
    }

    /// Bytes that count.
    pub fn power(&self) -> u128 {
        let sectors = u128::try_from(self.in_condition(Condition::Active).count()).unwrap_or(0);
        sectors.saturating_mul(u128::from(self.size.bytes().as_u64()))
    }

    /// The deadline open at an epoch.
    pub fn deadline(&self, epoch: i64) -> DeadlineInfo {
        DeadlineInfo::at(self.period_offset, epoch)
    }

    /// Runs one method; on an abort the caller throws this copy away.
    ///
    /// # Errors
    /// The actor's aborts, and a proof that cannot be judged.
    pub fn invoke(
        &mut self,
        sender: u64,
        balance: AttoFil,
        message: &Message,
        context: &Context<'_>,
    ) -> Result<Done, Halt> {
        let known = [
            method::CHANGE_PEER_ID,
            method::CHANGE_MULTIADDRS,
            method::PRE_COMMIT_SECTOR_BATCH2,
            method::PROVE_COMMIT_SECTORS3,
            method::TERMINATE_SECTORS,
        ];
        if !known.contains(&message.method) {
            return abort(exit::UNHANDLED, format!("this devnet's miner actor has no method {}", message.method));
        }
        if sender != self.owner && sender != self.worker {
            return abort(exit::FORBIDDEN, format!("caller {} is neither owner nor worker", message.from));
        }
        match message.method {
            method::CHANGE_PEER_ID => self.change_peer_id(decode(&message.params)?).map(|()| Done::of(Vec::new())),
            method::CHANGE_MULTIADDRS => {
                self.change_multiaddrs(decode(&message.params)?).map(|()| Done::of(Vec::new()))
            }
            method::PRE_COMMIT_SECTOR_BATCH2 => {
                self.pre_commit(&decode(&message.params)?, balance, context).map(Done::of)
            }
            method::PROVE_COMMIT_SECTORS3 => {
                self.prove_commit(&decode(&message.params)?, balance, context).map(Done::of)
            }
            _ => self.terminate(&decode(&message.params)?, context.epoch),
        }
    }

    fn change_peer_id(&mut self, params: ChangePeerIdParams) -> Result<(), Halt> {
        if params.new_id.len() > MOST_PEER_ID {
            return abort(exit::ILLEGAL_ARGUMENT, format!("peer ID size of {} exceeds maximum", params.new_id.len()));
        }
        self.peer = params.new_id;
        Ok(())
    }

    fn change_multiaddrs(&mut self, params: ChangeMultiaddrsParams) -> Result<(), Halt> {
        let addresses: Vec<Vec<u8>> = params.new_multiaddrs.into_iter().map(|bytes| bytes.0).collect();
        if addresses.iter().any(Vec::is_empty) {
            return abort(exit::ILLEGAL_ARGUMENT, "invalid empty multiaddr");
        }
        if addresses.iter().map(Vec::len).sum::<usize>() > MOST_MULTIADDR_BYTES {
            return abort(exit::ILLEGAL_ARGUMENT, "multiaddr size exceeds maximum");
        }
        self.multiaddrs = addresses;
        Ok(())
    }

    /// Whether some pre-commit was not proven in time.
    pub fn has_expired(&self, epoch: i64, challenge_delay: i64) -> bool {
        self.pre_commits.values().any(|p| p.is_over(epoch, challenge_delay))
    }

    /// Removes the pre-commits that nobody proved in time; gives their deposits, which are to be burnt.
    pub fn expire_pre_commits(&mut self, epoch: i64, challenge_delay: i64) -> AttoFil {
        let before = self.deposits();
        self.pre_commits.retain(|_, p| !p.is_over(epoch, challenge_delay));
        minus(before, self.deposits())
    }

    /// Puts a live sector into another condition, as if proven or missed.
    ///
    /// # Errors
    /// When there is no such live sector.
    pub fn set_condition(&mut self, number: u64, condition: Condition) -> Result<(), String> {
        let live = self.sectors.get_mut(&number).filter(|s| s.condition != Condition::Terminated);
        match live {
            Some(sector) => {
                sector.condition = condition;
                Ok(())
            }
            None => Err(format!("t0{} has no live sector {number}", self.id)),
        }
    }

    fn pre_commit(
        &mut self,
        params: &PreCommitSectorBatchParams2,
        balance: AttoFil,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Halt> {
        if params.sectors.is_empty() {
            return abort(exit::ILLEGAL_ARGUMENT, "batch empty");
        }
        let mut batch = BTreeMap::new();
        for info in &params.sectors {
            let pre_commit = self.check_pre_commit(info, context)?;
            if batch.insert(info.sector_number, pre_commit).is_some() {
                return abort(exit::ILLEGAL_ARGUMENT, format!("duplicate sector number {}", info.sector_number));
            }
        }
        let needed = batch.values().fold(AttoFil::ZERO, |sum, p| plus(sum, p.deposit));
        let available = self.available(balance);
        if available < needed {
            let text = format!("insufficient funds {available} for pre-commit deposit: {needed}");
            return abort(exit::INSUFFICIENT_FUNDS, text);
        }
        if let Some(used) = batch.keys().find(|number| self.allocated.contains(number)) {
            return abort(exit::ILLEGAL_ARGUMENT, format!("sector number {used} already allocated"));
        }
        self.allocated.extend(batch.keys());
        self.pre_commits.append(&mut batch);
        Ok(Vec::new())
    }

    fn check_pre_commit(&self, info: &SectorPreCommitInfo, context: &Context<'_>) -> Result<PreCommit, Halt> {
        let refuse = |why: String| abort(exit::ILLEGAL_ARGUMENT, format!("sector {}: {why}", info.sector_number));
        let now = context.epoch;
        if SectorNumber::try_from(info.sector_number).is_err() {
            return refuse("sector number out of range 0..(2^63-1)".to_owned());
        }
        let proof = SealProof::try_from(info.seal_proof).ok().filter(|proof| proof.sector_size() == self.size);
        let Some(proof) = proof else {
            return refuse(format!("seal proof type {} is not one for {} sectors", info.seal_proof, self.size));
        };
        let Ok(comm_r) = cids::comm_r(&info.sealed_cid) else {
            return refuse("sealed CID had wrong prefix".to_owned());
        };
        let Ok(comm_d) = info.unsealed_cid.as_ref().map(cids::comm_d).transpose() else {
            return refuse("unsealed CID had wrong prefix".to_owned());
        };
        if info.seal_rand_epoch >= now {
            return refuse(format!("seal challenge epoch {} must be before now {now}", info.seal_rand_epoch));
        }
        if info.seal_rand_epoch < now.saturating_sub(MAX_TICKET_AGE) {
            return refuse(format!("seal challenge epoch {} too old, now {now}", info.seal_rand_epoch));
        }
        let latest_activation = now.saturating_add(MAX_PROVE_COMMIT).saturating_add(context.challenge_delay);
        let earliest = latest_activation.saturating_add(MIN_LIFETIME);
        let latest = now.saturating_add(MAX_EXTENSION);
        if !(earliest..=latest).contains(&info.expiration) {
            return refuse(format!("expiration {} must be in {earliest}..={latest}", info.expiration));
        }
        if !info.deal_ids.is_empty() {
            return refuse("deals are not taken at pre-commit".to_owned());
        }
        Ok(PreCommit {
            proof,
            comm_r,
            comm_d,
            ticket_epoch: info.seal_rand_epoch,
            expiration: info.expiration,
            deposit: deposit(self.size),
            epoch: now,
        })
    }

    fn prove_commit(
        &mut self,
        params: &ProveCommitSectors3Params,
        balance: AttoFil,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Halt> {
        let numbers = self.check_prove_commit(params, context)?;
        let statements: Vec<PoRep> = numbers.iter().filter_map(|number| self.statement(*number, context)).collect();
        let verified = if params.sector_proofs.is_empty() {
            // the aggregate is of all sectors that are listed, those that come too late among them
            if !(context.verify)(&statements, params.aggregate_proof.bytes()).map_err(Halt::Undecided)? {
                return abort(exit::ILLEGAL_ARGUMENT, "aggregate seal verify failed");
            }
            vec![true; statements.len()]
        } else {
            let each = statements.iter().zip(&params.sector_proofs);
            let judge = |(statement, proof): (&PoRep, &RawBytes)| {
                (context.verify)(std::slice::from_ref(statement), proof.bytes())
            };
            each.map(judge).collect::<Result<_, _>>().map_err(Halt::Undecided)?
        };
        let mut proven = Vec::new();
        let mut fail_codes = Vec::new();
        for (index, (number, verified)) in numbers.iter().zip(verified).enumerate() {
            if verified && !self.is_late(*number, context) {
                proven.push(*number);
            } else {
                fail_codes
                    .push(FailCode { idx: u32::try_from(index).unwrap_or(u32::MAX), code: exit::ILLEGAL_ARGUMENT });
            }
        }
        if proven.is_empty() || (params.require_activation_success && !fail_codes.is_empty()) {
            let failed = fail_codes.len();
            return abort(exit::ILLEGAL_ARGUMENT, format!("{failed} sectors invalid or proven too late"));
        }
        self.activate(&proven, balance, context.epoch)?;
        let success_count = u32::try_from(proven.len()).unwrap_or(u32::MAX);
        encode(&BatchReturn { success_count, fail_codes })
    }

    /// The checks that fail the whole message; gives the numbers in order.
    fn check_prove_commit(&self, params: &ProveCommitSectors3Params, context: &Context<'_>) -> Result<Vec<u64>, Halt> {
        let numbers: Vec<u64> = params.sector_activations.iter().map(|activation| activation.sector_number).collect();
        let refuse = |why: &str| abort(exit::ILLEGAL_ARGUMENT, why);
        let aggregate = params.aggregate_proof.bytes();
        if aggregate.is_empty() == params.sector_proofs.is_empty() {
            return refuse("exactly one of sector proofs and aggregate proof must be non-empty");
        }
        if aggregate.is_empty() {
            if params.aggregate_proof_type.is_some() {
                return refuse("aggregate proof type must be null with sector proofs bytes");
            }
            if numbers.len() != params.sector_proofs.len() {
                return refuse("mismatched lengths of sector activations and sector proofs");
            }
        } else if params.aggregate_proof_type != Some(SNARK_PACK_V2) {
            return refuse("aggregate proof type must be SnarkPackV2");
        } else if !AGGREGATED_SECTORS.contains(&numbers.len()) || aggregate.len() > MOST_AGGREGATE_BYTES {
            return refuse("too few or too many sectors, or too many bytes, in an aggregate");
        }
        if numbers.iter().collect::<BTreeSet<_>>().len() != numbers.len() {
            return refuse("duplicate sector number");
        }
        let mut proofs = BTreeSet::new();
        for number in &numbers {
            let Some(pre_commit) = self.pre_commits.get(number) else {
                return abort(exit::NOT_FOUND, format!("no pre-committed sector {number}"));
            };
            if context.epoch <= pre_commit.epoch.saturating_add(context.challenge_delay) {
                return abort(exit::FORBIDDEN, format!("too early to prove sector {number}"));
            }
            if pre_commit.comm_d.is_some_and(|comm_d| comm_d != cids::zero_comm_d(self.size)) {
                return refuse("unsealed CID does not match the declared pieces");
            }
            proofs.insert(pre_commit.proof);
        }
        if proofs.len() != 1 {
            return refuse("seal proof types differ");
        }
        Ok(numbers)
    }

    /// Whether the time to prove a pre-committed sector is over.
    fn is_late(&self, number: u64, context: &Context<'_>) -> bool {
        let last = |p: &PreCommit| p.epoch.saturating_add(context.challenge_delay).saturating_add(MAX_PROVE_COMMIT);
        self.pre_commits.get(&number).is_none_or(|pre_commit| context.epoch > last(pre_commit))
    }

    /// What a proof of a pre-committed sector has to prove, by the chain's own ticket and seed.
    fn statement(&self, number: u64, context: &Context<'_>) -> Option<PoRep> {
        let pre_commit = self.pre_commits.get(&number)?;
        let miner = MinerId::new(self.id);
        let entropy = miner.to_entropy();
        let seed_epoch = pre_commit.epoch.saturating_add(context.challenge_delay);
        Some(PoRep {
            miner,
            number: SectorNumber::try_from(number).ok()?,
            proof: pre_commit.proof,
            comm_r: pre_commit.comm_r,
            comm_d: cids::zero_comm_d(self.size),
            ticket: context.randomness.from_tickets(SEAL_RANDOMNESS, pre_commit.ticket_epoch, &entropy),
            seed: context.randomness.from_beacon(INTERACTIVE_SEAL, seed_epoch, &entropy),
        })
    }

    fn activate(&mut self, numbers: &[u64], balance: AttoFil, epoch: i64) -> Result<(), Halt> {
        let one = pledge(self.size);
        let pledge = times(one, u64::try_from(numbers.len()).unwrap_or(u64::MAX));
        let released: Vec<(u64, PreCommit)> =
            numbers.iter().filter_map(|number| self.pre_commits.remove_entry(number)).collect();
        let available = self.available(balance);
        if available < pledge {
            let text = format!("insufficient funds for initial pledge requirement {pledge}, available: {available}");
            return abort(exit::INSUFFICIENT_FUNDS, text);
        }
        let info = self.deadline(epoch);
        let mut taken: Vec<Place> = self.sectors.values().map(|sector| sector.place).collect();
        for (number, PreCommit { proof, comm_r, expiration, .. }) in released {
            let place = deadline::place(&taken, &info, self.size);
            taken.push(place);
            let condition = Condition::Active;
            let sector = Sector { proof, comm_r, activation: epoch, expiration, pledge: one, place, condition };
            self.sectors.insert(number, sector);
        }
        Ok(())
    }

    /// Ends sectors for good: power and pledge go at once, the fee is burnt, the numbers stay used. The real actor may
    /// leave a part of many terminations to later; this one is always done.
    fn terminate(&mut self, params: &TerminateSectorsParams, epoch: i64) -> Result<Done, Halt> {
        let refuse = |why: String| abort(exit::ILLEGAL_ARGUMENT, why);
        let info = self.deadline(epoch);
        let mut burnt = AttoFil::ZERO;
        for TerminationDeclaration { deadline, partition, sectors } in &params.terminations {
            if *deadline >= deadline::COUNT {
                return refuse(format!("invalid deadline {deadline} of {}", deadline::COUNT));
            }
            if sectors.is_empty() || sectors.len() > MOST_TERMINATIONS {
                return refuse(format!("a declaration needs 1 to {MOST_TERMINATIONS} sectors, not {}", sectors.len()));
            }
            if !info.is_mutable(*deadline) {
                return refuse(format!("cannot terminate sectors in immutable deadline {deadline}"));
            }
            let place = Place { deadline: *deadline, partition: *partition };
            for number in sectors.iter() {
                let live = self.sectors.get_mut(&number).filter(|s| s.condition != Condition::Terminated);
                let Some(sector) = live.filter(|sector| sector.place == place) else {
                    return refuse(format!("can only terminate live sectors: {number} is none of that partition"));
                };
                sector.condition = Condition::Terminated;
                burnt = plus(burnt, termination_fee(sector, epoch));
            }
        }
        let value = encode(&TerminateSectorsReturn { done: true })?;
        Ok(Done { value, burnt })
    }
}
