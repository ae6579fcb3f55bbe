//! Questions about actors and miners at a tipset.

use super::{Answer, Question, Seen, bits, code, error, refuse, show, with};
use crate::{
    chain::{
        cids,
        wire::{
            ActorState, BeneficiaryTerm, BitField, Blob, CidJson, Claim, Deadline, MarketBalance, MinerInfo,
            MinerPower, MinerSectors, MinerState, Partition, SectorExpiration, SectorLocation, SectorOnChainInfo,
            SectorPreCommitInfo, SectorPreCommitOnChainInfo, TipSetKey,
        },
    },
    devnet::{
        address,
        deadline::{COUNT, Place, partition_sectors},
        ledger::{CREATION_DEPOSIT, State},
        miner::{Condition, PreCommit, Sector, deposit, pledge},
    },
    units::{AttoFil, PeerId, SectorSize},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The reward actor.
const REWARD_ACTOR: u64 = 2;

/// Answers a method of this group; `None` when it is not one.
pub fn answer(method: &str, q: &Question) -> Option<Answer> {
    of_actors(method, q).or_else(|| of_miner(method, q)).or_else(|| of_sector(method, q))
}

fn of_actors(method: &str, q: &Question) -> Option<Answer> {
    let found = || -> Result<(&State, u64), _> {
        let (text, key): (String, TipSetKey) = q.params.read(2)?;
        let (state, _) = q.state(&key)?;
        let missing = || error(code::NO_ACTOR, format!("actor not found: {text}"));
        Ok((state, state.resolve(&text).ok_or_else(missing)?))
    };
    Some(match method {
        "StateLookupID" => found().map(|(_, id)| Value::from(address::id(id))),
        "StateAccountKey" => found().and_then(|(state, id)| {
            let key = state.actor(id).and_then(|a| a.address.clone()).filter(|_| !state.miners.contains_key(&id));
            key.map_or_else(|| refuse(format!("{} is not an account", address::id(id))), |key| show(&key))
        }),
        "StateGetActor" => found().map(|(state, id)| {
            let object = |what: &str| json!({ "/": address::cbor_cid(what.as_bytes()) });
            let kind = if state.miners.contains_key(&id) { "storageminer" } else { "account" };
            let nonce = state.actor(id).map_or(0, |actor| actor.nonce);
            json!({ "Code": object(kind), "Head": object(&format!("state of {id}")), "Nonce": nonce,
                "Balance": state.balance(id), "DelegatedAddress": null })
        }),
        "StateReadState" => found().and_then(|(state, id)| read_state(state, id)),
        "StateMarketBalance" => {
            let nothing = MarketBalance { escrow: AttoFil::ZERO, locked: AttoFil::ZERO };
            found().and_then(|_| show(&nothing))
        }
        "StateMinerCreationDeposit" => {
            q.params.read(1).and_then(|(key,)| q.height(&key)).and_then(|_| show(&CREATION_DEPOSIT))
        }
        _ => return None,
    })
}

fn read_state(state: &State, id: u64) -> Answer {
    let balance = state.balance(id);
    let code = json!({ "Code": { "/": address::cbor_cid(b"code") } });
    if id == REWARD_ACTOR {
        let nothing = json!({ "PositionEstimate": "0", "VelocityEstimate": "0" });
        let reward = json!({ "ThisEpochReward": "0", "ThisEpochRewardSmoothed": nothing });
        return with(&ActorState { balance, state: reward }, code);
    }
    let Some(miner) = state.miners.get(&id) else {
        return with(&ActorState { balance, state: json!({}) }, code);
    };
    let funds = MinerState {
        pre_commit_deposits: miner.deposits(),
        locked_funds: miner.locked,
        fee_debt: AttoFil::ZERO,
        initial_pledge: miner.initial_pledge(),
    };
    with(&ActorState { balance, state: funds }, code)
}

fn of_miner(method: &str, q: &Question) -> Option<Answer> {
    let numbers = |condition: Condition| {
        q.miner_only().and_then(|seen| show(&bits(seen.miner.in_condition(condition).map(|(number, _)| number))))
    };
    Some(match method {
        "StateMinerInfo" => q.miner_only().and_then(|seen| info(&seen)),
        "StateMinerPower" => q.miner_only().and_then(|seen| power(&seen)),
        "StateMinerSectorCount" => q.miner_only().and_then(|seen| {
            let count = |condition| u64::try_from(seen.miner.in_condition(condition).count()).unwrap_or(u64::MAX);
            let (active, faulty) = (count(Condition::Active), count(Condition::Faulty));
            show(&MinerSectors { live: active.saturating_add(faulty), active, faulty })
        }),
        "StateMinerActiveSectors" => q
            .miner_only()
            .and_then(|seen| seen.miner.in_condition(Condition::Active).map(|(n, s)| on_chain(n, s)).collect()),
        "StateMinerSectors" => sectors(q),
        "StateMinerFaults" => numbers(Condition::Faulty),
        // faults end through the fault API, never by a declared recovery
        "StateMinerRecoveries" => q.miner_only().and_then(|_| show(&bits(std::iter::empty()))),
        "StateMinerAllocated" => q.miner_only().and_then(|seen| show(&bits(seen.miner.allocated.iter().copied()))),
        "StateMinerAvailableBalance" => {
            q.miner_only().and_then(|seen| show(&seen.miner.available(seen.state.balance(seen.id))))
        }
        "StateMinerPreCommitDepositForPower" => pre_commit_deposit(q),
        "StateMinerInitialPledgeForSector" => initial_pledge(q),
        "StateMinerProvingDeadline" => q.miner_only().and_then(|seen| show(&seen.miner.deadline(seen.height))),
        "StateMinerDeadlines" => q.miner_only().and_then(|_| {
            let post_submissions = bits(std::iter::empty());
            let idle = Deadline { post_submissions, disputable_proof_count: 0, daily_fee: AttoFil::ZERO };
            show(&vec![idle; usize::try_from(COUNT).unwrap_or(0)])
        }),
        "StateMinerPartitions" => partitions(q),
        _ => return None,
    })
}

fn info(seen: &Seen<'_>) -> Answer {
    let miner = seen.miner;
    let info = MinerInfo {
        owner: address::id(miner.owner),
        worker: address::id(miner.worker),
        new_worker: "<empty>".to_owned(),
        control_addresses: Vec::new(),
        worker_change_epoch: -1,
        peer_id: PeerId::from_bytes(miner.peer.clone()).map(|id| id.to_string()),
        multiaddrs: miner.multiaddrs.iter().cloned().map(Blob).collect(),
        window_post_proof_type: miner.size.window_post_proof(),
        sector_size: miner.size.bytes().as_u64(),
        window_post_partition_sectors: partition_sectors(miner.size),
        consensus_fault_elapsed: -1,
        beneficiary: address::id(miner.owner),
        beneficiary_term: Some(BeneficiaryTerm { quota: AttoFil::ZERO, used_quota: AttoFil::ZERO, expiration: 0 }),
        pending_beneficiary_term: None,
    };
    with(&info, json!({ "PendingOwnerAddress": null }))
}

fn power(seen: &Seen<'_>) -> Answer {
    let claim = |bytes: u128| Claim { raw_byte_power: bytes, quality_adj_power: bytes };
    let own = seen.miner.power();
    let total = seen.state.miners.values().fold(0_u128, |sum, miner| sum.saturating_add(miner.power()));
    show(&MinerPower { miner_power: claim(own), total_power: claim(total), has_min_power: own >= 2048 })
}

fn sectors(q: &Question) -> Answer {
    let (address, filter, key): (String, Option<BitField>, TipSetKey) = q.params.read(3)?;
    let ranges = match filter.as_ref().map(BitField::to_ranges) {
        None => None,
        Some(Some(ranges)) => Some(ranges),
        Some(None) => return refuse("the bitfield passes 2^64-1"),
    };
    let wanted = |number: u64| {
        ranges.as_ref().is_none_or(|ranges| ranges.iter().any(|(start, end)| (*start..*end).contains(&number)))
    };
    let seen = q.miner(&address, &key)?;
    seen.miner.live().filter(|(n, _)| wanted(*n)).map(|(n, sector)| on_chain(n, sector)).collect()
}

fn pre_commit_deposit(q: &Question) -> Answer {
    // the deposit depends on the sector size alone
    let (address, _, key): (String, Value, TipSetKey) = q.params.read(3)?;
    show(&margin(deposit(q.miner(&address, &key)?.miner.size)))
}

fn initial_pledge(q: &Question) -> Answer {
    let (_, bytes, _, key): (i64, u64, u64, TipSetKey) = q.params.read(4)?;
    q.height(&key)?;
    match SectorSize::ALL.into_iter().find(|size| size.bytes().as_u64() == bytes) {
        Some(size) => show(&margin(pledge(size))),
        None => refuse(format!("{bytes} is not a sector size")),
    }
}

/// With the ten percent that nodes add to what they advise.
fn margin(amount: AttoFil) -> AttoFil {
    AttoFil::from_atto(amount.as_atto().saturating_mul(11).div_euclid(10))
}

fn partitions(q: &Question) -> Answer {
    let (address, deadline, key): (String, u64, TipSetKey) = q.params.read(3)?;
    let seen = q.miner(&address, &key)?;
    let here: Vec<(u64, &Sector)> =
        seen.miner.sectors.iter().filter(|(_, s)| s.place.deadline == deadline).map(|(n, s)| (*n, s)).collect();
    let indices: BTreeSet<u64> = here.iter().map(|(_, s)| s.place.partition).collect();
    let show_one = |partition: u64| {
        let within = |wanted: &[Condition]| {
            bits(
                here.iter()
                    .filter(|(_, s)| s.place.partition == partition && wanted.contains(&s.condition))
                    .map(|(n, _)| *n),
            )
        };
        Partition {
            all_sectors: within(&[Condition::Active, Condition::Faulty, Condition::Terminated]),
            faulty_sectors: within(&[Condition::Faulty]),
            recovering_sectors: within(&[]),
            live_sectors: within(&[Condition::Active, Condition::Faulty]),
            active_sectors: within(&[Condition::Active]),
        }
    };
    let list: Vec<Partition> = indices.into_iter().map(show_one).collect();
    // Go prints a list that was never filled as null
    show(&Some(list).filter(|list| !list.is_empty()))
}

fn of_sector(method: &str, q: &Question) -> Option<Answer> {
    let live = || -> Result<_, _> {
        let (seen, number) = q.sector()?;
        let sector = seen.miner.sectors.get(&number).filter(|s| s.condition != Condition::Terminated);
        Ok((sector, number))
    };
    let present = || live().and_then(|(found, n)| found.map_or_else(|| refuse(format!("sector {n} not found")), Ok));
    Some(match method {
        "StateMinerSectorAllocated" => q.sector().map(|(seen, n)| Value::from(seen.miner.allocated.contains(&n))),
        "StateSectorPreCommitInfo" => {
            q.sector().and_then(|(seen, n)| show(&seen.miner.pre_commits.get(&n).map(|p| pre_committed(n, p))))
        }
        "StateSectorGetInfo" => {
            live().and_then(|(found, n)| found.map_or(Ok(Value::Null), |sector| on_chain(n, sector)))
        }
        // a partition keeps the sectors that ended
        "StateSectorPartition" => q.sector().and_then(|(seen, n)| match seen.miner.sectors.get(&n) {
            Some(Sector { place: Place { deadline, partition }, .. }) => {
                show(&SectorLocation { deadline: *deadline, partition: *partition })
            }
            None => refuse(format!("sector {n} not due at any deadline")),
        }),
        // nobody ends a sector here because its fault lasts
        "StateSectorExpiration" => {
            present().and_then(|sector| show(&SectorExpiration { on_time: sector.expiration, early: 0 }))
        }
        _ => return None,
    })
}

fn pre_committed(number: u64, pre_commit: &PreCommit) -> SectorPreCommitOnChainInfo {
    SectorPreCommitOnChainInfo {
        info: SectorPreCommitInfo {
            seal_proof: pre_commit.proof.as_i64(),
            sector_number: number,
            sealed_cid: CidJson::from(cids::sealed(pre_commit.comm_r).to_string()),
            seal_rand_epoch: pre_commit.ticket_epoch,
            deal_ids: Vec::new(),
            expiration: pre_commit.expiration,
            unsealed_cid: pre_commit.comm_d.map(|comm_d| CidJson::from(cids::unsealed(comm_d).to_string())),
        },
        pre_commit_deposit: pre_commit.deposit,
        pre_commit_epoch: pre_commit.epoch,
    }
}

fn on_chain(number: u64, sector: &Sector) -> Answer {
    let info = SectorOnChainInfo {
        sector_number: number,
        seal_proof: sector.proof.as_i64(),
        sealed_cid: CidJson::from(cids::sealed(sector.comm_r).to_string()),
        activation: sector.activation,
        expiration: sector.expiration,
        deal_weight: 0,
        verified_deal_weight: 0,
        initial_pledge: sector.pledge,
        power_base_epoch: sector.activation,
        flags: 1,
        daily_fee: AttoFil::ZERO,
    };
    // of earlier networks, and of sectors that were given other data
    let more = ["ExpectedDayReward", "ExpectedStoragePledge", "ReplacedDayReward", "SectorKeyCID"];
    with(&info, more.into_iter().map(|name| (name.to_owned(), Value::Null)).collect())
}
