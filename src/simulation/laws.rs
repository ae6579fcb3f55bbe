//! What must be true after every step, whatever went wrong.

use super::{
    disk::Disk,
    node::{Net, SimNode},
    work::{Workshop, comm_r},
};
use crate::{
    book::Change,
    chain::params::{PreCommitSectorBatchParams2, ProveCommitSectors3Params, method},
    daemon::errands::Miner,
    devnet::ledger::{exit, minus, plus, times},
    plan::{Action, Observed, Plan, Subject},
    sector::{EventKind, State, WakeUp},
    units::{AttoFil, SectorNumber},
};
use std::collections::{BTreeMap, BTreeSet};

/// The books of the one who watches.
#[derive(Debug, Clone, Default)]
pub struct Laws {
    /// All funds there are.
    pub total: AttoFil,
    /// What the worker account held at the start, and what it was given since, with the height of that.
    pub start: AttoFil,
    pub given: Vec<(i64, AttoFil)>,
    /// Sectors of every message of ours, by CID.
    contents: BTreeMap<String, (u64, Vec<u64>)>,
    /// Messages that executed without success, by kind: gas that bought nothing.
    pub wasted: BTreeMap<String, (u64, u32)>,
    /// Messages that executed on some fork.
    executed: BTreeSet<String>,
    /// Messages that wait besides a second one for the same sector, after a reorganisation took one of them back.
    pub doubled: BTreeSet<String>,
    replayed: BTreeMap<SectorNumber, u64>,
}

type Law = Result<(), String>;

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Law {
    if holds { Ok(()) } else { Err(why()) }
}

impl Laws {
    pub fn new(total: AttoFil, start: AttoFil) -> Self {
        Self { total, start, ..Self::default() }
    }

    /// Before a change is written: no ticket is drawn or dropped while a pre-commit of the sector is on chain or on its
    /// way there.
    pub fn before(&mut self, change: &Change, node: &SimNode, miner: &Miner) -> Law {
        let redraws = |kind| matches!(kind, EventKind::TicketDrawn | EventKind::TicketExpired);
        for (record, event) in change.sectors.iter().filter(|(_, event)| redraws(event.kind())) {
            let (net, number) = (node.net(), record.number.as_u64());
            let tip = net.chain.tip();
            let there = tip.miners.get(&miner.id.as_u64()).is_some_and(|m| m.allocated.contains(&number));
            ensure(!there, || format!("{:?} of sector {number}, whose number is used on chain", event.kind()))?;
            let pending: Vec<String> = net.chain.pending().map(|(cid, _)| cid.clone()).collect();
            for cid in pending {
                let (kind, sectors) = self.contents(&net, &cid);
                let carries = kind == method::PRE_COMMIT_SECTOR_BATCH2 && sectors.contains(&number);
                ensure(!carries, || format!("{:?} of sector {number}, whose pre-commit is pending", event.kind()))?;
            }
        }
        Ok(())
    }

    /// Nothing is silent: every sector that is not at its end has work, a step, a place in a message that is made, or a
    /// wait that ends.
    pub fn planned(&self, observed: &Observed, plan: &Plan) -> Law {
        let mut spoken: BTreeSet<SectorNumber> = BTreeSet::new();
        for action in &plan.actions {
            match action {
                Action::Record { number, .. } | Action::DrawTicket(number) | Action::Run { number, .. } => {
                    spoken.insert(*number);
                }
                Action::Join { sectors, .. } | Action::Seal { sectors, .. } | Action::Aggregate { sectors, .. } => {
                    spoken.extend(sectors);
                }
                Action::OpenRepo(_)
                | Action::StopWorker(_)
                | Action::StartDevnet
                | Action::PrepareMiner
                | Action::PrepareParams(_)
                | Action::StartWorker(_)
                | Action::CreateSector { .. }
                | Action::Announce { .. }
                | Action::Push { .. }
                | Action::Resend(_)
                | Action::Reprice { .. } => {}
            }
        }
        for hold in &plan.holds {
            let ends = match hold.until {
                WakeUp::Time(at) => at > observed.now,
                WakeUp::At(epoch) => observed.chain.is_none_or(|chain| epoch > chain.head),
                WakeUp::NextHead | WakeUp::Funds | WakeUp::Operator => true,
            };
            ensure(ends, || format!("a wait that is over: {hold:?}"))?;
            if let Subject::Sector(number) = hold.about {
                spoken.insert(number);
            }
        }
        for (number, seen) in &observed.sectors {
            // a whole cache is kept in silence only while no head shows its activation to be final
            let last = seen.facts.as_ref().zip(observed.chain);
            let seen_final = last.is_some_and(|(facts, chain)| {
                facts.sector.as_ref().is_some_and(|sector| sector.activation.epoch <= chain.finalized)
            });
            let rests = seen.record.is_at_rest() || (seen.record.state == State::Proving && !seen_final);
            let awake = seen.busy.is_some() || rests || spoken.contains(number);
            ensure(awake, || format!("sector {number} waits in silence: {:#?}\n{plan:#?}", seen))?;
        }
        Ok(())
    }

    /// A cache is trimmed only when no reorganisation can ask for it.
    pub fn trimming(&self, number: SectorNumber, node: &SimNode, miner: &Miner) -> Law {
        let net = node.net();
        let tip = net.chain.tip();
        let sector = tip.miners.get(&miner.id.as_u64()).and_then(|m| m.sectors.get(&number.as_u64()));
        let settled = net.chain.head - net.finality;
        let fine = sector.is_some_and(|sector| sector.activation <= settled);
        ensure(fine, || format!("sector {number} is trimmed before its activation is final: {sector:?}"))
    }

    fn contents(&mut self, net: &Net, cid: &str) -> (u64, Vec<u64>) {
        if let Some(known) = self.contents.get(cid) {
            return known.clone();
        }
        let Some(message) = net.chain.message(cid) else { return (0, Vec::new()) };
        let sectors = match message.method {
            method::PRE_COMMIT_SECTOR_BATCH2 => {
                let params: PreCommitSectorBatchParams2 = fvm_ipld_encoding::from_slice(&message.params).unwrap();
                params.sectors.iter().map(|info| info.sector_number).collect()
            }
            method::PROVE_COMMIT_SECTORS3 => {
                let params: ProveCommitSectors3Params = fvm_ipld_encoding::from_slice(&message.params).unwrap();
                params.sector_activations.iter().map(|activation| activation.sector_number).collect()
            }
            _ => Vec::new(),
        };
        self.contents.insert(cid.to_owned(), (message.method, sectors));
        self.contents[cid].clone()
    }

    /// After every epoch.
    pub fn after(&mut self, node: &SimNode, disk: &Disk, shop: &Workshop, miner: &Miner) -> Law {
        let net = node.net();
        self.money(&net, miner)?;
        self.messages(&net, miner)?;
        Self::replicas(&net, disk, shop, miner)?;
        for (number, record) in &disk.records {
            // a history only grows: one that was replayed and did not grow needs no second look
            let seen = self.replayed.insert(*number, record.version);
            if seen != Some(record.version) && (record.version % 8 == 0 || record.is_at_rest()) {
                disk.replay(*number)?;
            }
        }
        Ok(())
    }

    /// Nothing is made or lost, and every coin that left the wallet bought something or was gas.
    fn money(&mut self, net: &Net, miner: &Miner) -> Law {
        let chain = &net.chain;
        let state = chain.state_at(chain.head).ok_or("the head's state is not kept")?;
        ensure(chain.tip().total_funds() == self.total, || "funds were made or lost".to_owned())?;
        let given = self.given.iter().filter(|(at, _)| *at < chain.head).fold(self.start, |sum, (_, n)| plus(sum, *n));
        let (mut left, mut locked) = (given, AttoFil::ZERO);
        for cid in &net.taken {
            let (Some((height, receipt)), Some(message)) = (chain.receipt(cid), chain.message(cid)) else { continue };
            self.executed.insert(cid.clone());
            left = minus(left, times(chain.base_fee(*height), receipt.gas_used));
            let funds = [exit::SYS_INSUFFICIENT_FUNDS, exit::INSUFFICIENT_FUNDS];
            ensure(!funds.contains(&receipt.exit_code), || format!("{cid} was not paid for: {}", receipt.error))?;
            if receipt.exit_code == 0 && message.from != message.to {
                left = minus(left, message.value);
                locked = plus(locked, message.value);
            } else if receipt.exit_code != 0 {
                self.wasted.insert(cid.clone(), (message.method, receipt.exit_code));
            }
        }
        let worker = state.resolve(&miner.worker).ok_or("the worker is on chain")?;
        let (found, id) = (state.balance(worker), miner.id.as_u64());
        ensure(found == left, || format!("the worker holds {found} and should hold {left}"))?;
        let actor = state.miners.get(&id).ok_or("the miner is on chain")?;
        let available = actor.available(state.balance(id));
        ensure(available >= AttoFil::ZERO, || format!("the miner owes {available}"))?;
        let spoken = plus(actor.deposits(), actor.initial_pledge());
        ensure(spoken <= locked, || format!("{spoken} is locked and {locked} was sent"))
    }

    /// Of a sector at most one message of a kind is in the pool, and none for what the chain has already.
    fn messages(&mut self, net: &Net, miner: &Miner) -> Law {
        let tip = net.chain.tip();
        let actor = tip.miners.get(&miner.id.as_u64()).ok_or("the miner is on chain")?;
        let pending: Vec<String> = net.chain.pending().map(|(cid, _)| cid.clone()).collect();
        let mut carried: BTreeMap<(u64, u64), String> = BTreeMap::new();
        for cid in pending {
            let (kind, sectors) = self.contents(net, &cid);
            for number in sectors {
                let used = kind == method::PRE_COMMIT_SECTOR_BATCH2 && actor.allocated.contains(&number);
                let proven = kind == method::PROVE_COMMIT_SECTORS3 && actor.sectors.contains_key(&number);
                let other = carried.insert((kind, number), cid.clone());
                if !used && !proven && other.is_none() {
                    continue;
                }
                // one that failed deep enough was followed by a second, and then a deeper fork brought it back
                let back = self.executed.contains(&cid) || other.is_some_and(|other| self.executed.contains(&other));
                ensure(back, || format!("{cid} waits for sector {number}, which another message has (method {kind})"))?;
                self.doubled.insert(cid.clone());
            }
        }
        Ok(())
    }

    /// What is on chain is what was sealed here, one replica to a number.
    fn replicas(net: &Net, disk: &Disk, shop: &Workshop, miner: &Miner) -> Law {
        let tip = net.chain.tip();
        let actor = tip.miners.get(&miner.id.as_u64()).ok_or("the miner is on chain")?;
        let promised = actor.pre_commits.iter().map(|(number, found)| (*number, found.comm_r));
        let proven = actor.sectors.iter().map(|(number, found)| (*number, found.comm_r));
        for (number, found) in promised.chain(proven) {
            let number = SectorNumber::try_from(number).unwrap();
            let record =
                disk.records.get(&number).ok_or_else(|| format!("sector {number} is on chain, not on disk"))?;
            if matches!(record.state, State::FailedUnrecoverable | State::Removing | State::Removed) {
                continue;
            }
            let sealed = record.ticket.as_ref().map(|ticket| comm_r(number, ticket.value));
            ensure(sealed == Some(found), || format!("the chain has another replica of sector {number}: {record:#?}"))?;
            let files = shop.files.get(&number);
            ensure(files.is_some(), || format!("sector {number} is on chain and has no files"))?;
        }
        Ok(())
    }
}
