//! Who shares a message with whom, when it leaves, and what it may cost.
//!
//! A sector joins an open batch at once. The batch is sealed when it is full, when its oldest sector has waited long
//! enough, when nobody else can come, or when a deadline is near; with as many of its sectors as can be paid for, the
//! most urgent first.

use super::{Action, BatchRule, BatchSeen, Desired, Funds, Observed, Plan, SectorSeen, Subject};
use crate::{
    outbox::{Batch, BatchState, FeeRule, Ledger, MessageKind, cap, reprice},
    sector::{MessageId, Record, State, WakeUp, deadlines::nearest},
    units::{AttoFil, SectorNumber},
};
use std::collections::{BTreeMap, BTreeSet};

/// Sectors that want a place in a message, by kind.
pub(super) type Ready<'a> = BTreeMap<MessageKind, Vec<&'a SectorSeen>>;

/// Batches that want their proofs aggregated: the batch and its sectors, ascending.
pub(super) type ToAggregate = Vec<(MessageId, Vec<SectorNumber>)>;

/// Plans all batches. Gives those that want a worker first, which makes one proof of many.
pub(super) fn plan(desired: &Desired, observed: &Observed, ready: &Ready<'_>, plan: &mut Plan) -> ToAggregate {
    let desk = Desk { desired, observed };
    desk.join(ready, plan);
    let mut aggregate = Vec::new();
    let mut ledger = desk.ledger(ready);
    // what is owed comes first: a deposit that no pledge follows is burnt
    for kind in [MessageKind::Terminate, MessageKind::Commit, MessageKind::PreCommit] {
        let mut paid = BTreeSet::new();
        for (id, seen) in desk.batches(kind) {
            paid.extend(desk.seal(id, seen, ready, ledger.as_mut(), plan, &mut aggregate));
        }
        if let (MessageKind::Commit, Some(ledger)) = (kind, &mut ledger) {
            // what is not sent now will be: no new deposit takes it
            let wanting = ready.get(&kind).into_iter().flatten().map(|seen| &seen.record);
            let unpaid = wanting.filter(|record| !paid.contains(&record.number));
            unpaid.filter_map(|record| desk.price(kind, record)).for_each(|price| ledger.reserve(price));
        }
    }
    for (id, seen) in observed.batches.iter().filter(|(_, seen)| !seen.busy) {
        desk.hand_over(id, seen, plan);
    }
    aggregate
}

struct Desk<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
}

impl<'a> Desk<'a> {
    fn rule(&self, kind: MessageKind) -> BatchRule {
        match kind {
            MessageKind::PreCommit => self.desired.precommit,
            MessageKind::Commit | MessageKind::CreateMiner => self.desired.commit,
            MessageKind::Terminate => TERMINATIONS,
        }
    }

    fn fees(&self, kind: MessageKind) -> &FeeRule {
        match kind {
            MessageKind::PreCommit => &self.desired.precommit_fees,
            MessageKind::Commit | MessageKind::CreateMiner | MessageKind::Terminate => &self.desired.commit_fees,
        }
    }

    /// Open batches of a kind, oldest first.
    fn batches(&self, kind: MessageKind) -> Vec<(&'a MessageId, &'a BatchSeen)> {
        let open = |seen: &BatchSeen| seen.batch.kind == kind && matches!(seen.batch.state, BatchState::Open { .. });
        let mut open: Vec<_> = self.observed.batches.iter().filter(|(_, seen)| open(seen)).collect();
        open.sort_by_key(|(id, seen)| (seen.batch.created, *id));
        open
    }

    /// Puts those that are in no batch of their kind into one.
    fn join(&self, ready: &Ready<'_>, plan: &mut Plan) {
        for (kind, wanting) in ready {
            let mut left = Vec::new();
            for number in wanting.iter().map(|seen| seen.record.number) {
                let live = |batch: &&Batch| batch.kind == *kind && batch.state.is_live();
                let of_kind = self.observed.batches.values().map(|seen| &seen.batch).filter(live);
                match of_kind.filter(|batch| batch.sectors.contains(&number)).map(|batch| &batch.state).next() {
                    None => left.push(number),
                    Some(BatchState::Open { .. }) => {}
                    Some(_) => {
                        let reason = "its earlier message to land or to be given up";
                        plan.hold(Subject::Sector(number), reason, WakeUp::NextHead);
                    }
                }
            }
            let max = self.rule(*kind).max.max(1);
            for (id, seen) in self.batches(*kind).into_iter().filter(|(_, seen)| !seen.busy) {
                let room = max.saturating_sub(seen.batch.sectors.len()).min(left.len());
                let sectors: Vec<_> = left.drain(..room).collect();
                if !sectors.is_empty() {
                    plan.actions.push(Action::Join { kind: *kind, batch: Some(id.clone()), sectors });
                }
            }
            for sectors in left.chunks(max) {
                plan.actions.push(Action::Join { kind: *kind, batch: None, sectors: sectors.to_vec() });
            }
        }
    }

    /// What the worker's wallet has left for new messages: without those under way, and without the pledge of every
    /// sector whose pre-commit is sent or landed. `None` until it was read.
    fn ledger(&self, ready: &Ready<'_>) -> Option<Ledger> {
        let Funds { balance, costs } = self.observed.funds;
        let mut ledger = Ledger::new(balance?);
        for seen in self.observed.batches.values() {
            ledger.reserve(seen.batch.claims(cap(self.fees(seen.batch.kind), None)));
        }
        let asking: BTreeSet<_> =
            ready.get(&MessageKind::Commit).into_iter().flatten().map(|seen| seen.record.number).collect();
        let owing = |record: &&Record| match record.state {
            State::WaitSeed | State::Committing | State::ComputeProofFailed | State::CommitFailed => {
                !asking.contains(&record.number)
            }
            State::Proving
            | State::Packing
            | State::PreCommit1
            | State::PreCommit2
            | State::PreCommitting
            | State::CommitWait
            | State::FinalizeSector
            | State::FailedUnrecoverable
            | State::SealFailed
            | State::PreCommitFailed
            | State::PackingFailed
            | State::Faulty
            | State::FaultReported
            | State::FaultedFinal
            | State::Removing
            | State::Removed
            | State::Terminating => false,
        };
        if let Some(costs) = costs {
            // a message that is being composed has no row of its own yet
            let composing = self.batches(MessageKind::PreCommit).into_iter().filter(|(_, seen)| seen.busy);
            let composing: usize = composing.map(|(_, seen)| seen.batch.sectors.len()).sum();
            ledger.reserve(times(costs.deposit.max(costs.pledge), composing));
            let owing = self.observed.sectors.values().map(|seen| &seen.record).filter(owing).count();
            let each = costs.pledge.checked_sub(costs.deposit).unwrap_or(AttoFil::ZERO).max(AttoFil::ZERO);
            ledger.reserve(times(each, owing));
        }
        Some(ledger)
    }

    /// What one sector of a new message of this kind takes of the wallet, what must follow later included.
    fn price(&self, kind: MessageKind, record: &Record) -> Option<AttoFil> {
        let costs = self.observed.funds.costs;
        match kind {
            MessageKind::PreCommit => costs.map(|costs| costs.deposit.max(costs.pledge)),
            MessageKind::Commit => costs.map(|costs| {
                let landed = record.precommit.as_ref().and_then(|p| p.landed.as_ref());
                let deposit = landed.map_or(AttoFil::ZERO, |landed| landed.deposit);
                costs.pledge.checked_sub(deposit).unwrap_or(costs.pledge).max(AttoFil::ZERO)
            }),
            MessageKind::Terminate | MessageKind::CreateMiner => Some(AttoFil::ZERO),
        }
    }

    /// Seals an open batch, or says what it waits for.
    fn seal(
        &self,
        id: &MessageId,
        seen: &BatchSeen,
        ready: &Ready<'_>,
        ledger: Option<&mut Ledger>,
        plan: &mut Plan,
        aggregate: &mut ToAggregate,
    ) -> Vec<SectorNumber> {
        let (batch, kind) = (&seen.batch, seen.batch.kind);
        let wanting = ready.get(&kind).into_iter().flatten();
        let mut members: Vec<&SectorSeen> =
            wanting.filter(|member| batch.sectors.contains(&member.record.number)).copied().collect();
        if seen.busy || members.is_empty() {
            hold_all(&members, "its message, which is being made", plan);
            return Vec::new();
        }
        let rule = self.rule(kind);
        let oldest = members.iter().map(|member| member.record.entered).min().unwrap_or(self.observed.now);
        let late = self.observed.now.ms_since(oldest) >= rule.wait_ms;
        if members.len() < rule.max && !late && !self.near(kind, &batch.sectors) && self.more_can_come(kind) {
            let until = oldest.plus_ms(i64::try_from(rule.wait_ms).unwrap_or(i64::MAX));
            for member in members {
                let reason = format!("company in its message ({} of {})", batch.sectors.len(), rule.max);
                plan.hold(Subject::Sector(member.record.number), reason, WakeUp::Time(until));
            }
            return Vec::new();
        }
        if let Some(version) = self.observed.network_version.filter(|version| !NETWORKS.contains(version))
            && !self.near(kind, &batch.sectors)
        {
            let (from, to) = (NETWORKS.start(), NETWORKS.end());
            let reason = format!("a seald that knows network version {version}: this one knows {from} to {to}");
            for member in members {
                plan.hold(Subject::Sector(member.record.number), reason.clone(), WakeUp::Operator);
            }
            return Vec::new();
        }
        // the most urgent first, so that those that cannot be paid for are the ones with time
        members.sort_by_key(|member| (self.slack_of(&member.record).unwrap_or(i64::MAX), member.record.number));
        hold_all(&members.split_off(members.len().min(rule.max.max(1))), "the next message", plan);
        let max_fee = cap(self.fees(kind), self.nearest(&batch.sectors));
        let Some(ledger) = ledger else {
            hold_all(&members, "the worker's balance to be read", plan);
            return Vec::new();
        };
        let mut trial = *ledger;
        let mut paid: Vec<SectorNumber> = Vec::with_capacity(members.len());
        let mut short = trial.claim(max_fee).err();
        for member in &members {
            if short.is_some() {
                break;
            }
            let Some(price) = self.price(kind, &member.record) else {
                hold_all(&members, "the price of a sector to be read from the chain", plan);
                return Vec::new();
            };
            match trial.claim(price) {
                Ok(()) => paid.push(member.record.number),
                Err(missing) => short = Some(missing),
            }
        }
        if let Some(missing) = short {
            let unpaid: Vec<_> = members.into_iter().filter(|m| !paid.contains(&m.record.number)).collect();
            let reason = format!("funds: {missing}");
            for member in unpaid {
                plan.hold(Subject::Sector(member.record.number), reason.clone(), WakeUp::Funds);
            }
        }
        if paid.is_empty() {
            return paid;
        }
        *ledger = trial;
        paid.sort_unstable();
        // near a deadline nobody waits for a worker: each sector goes with its own proof
        if kind == MessageKind::Commit && !self.near(kind, &batch.sectors) && self.wants_aggregate(seen, &paid) {
            aggregate.push((id.clone(), paid.clone()));
            return paid;
        }
        plan.actions.push(Action::Seal { batch: id.clone(), sectors: paid.clone(), max_fee });
        paid
    }

    /// Enough proofs to be cheaper as one, and not tried yet for exactly these.
    fn wants_aggregate(&self, seen: &BatchSeen, sectors: &[SectorNumber]) -> bool {
        let enough = self.desired.aggregate_from.is_some_and(|from| sectors.len() >= from);
        enough && seen.aggregate.as_deref() != Some(sectors)
    }

    /// Whether some sector may still reach the state in which it wants such a message.
    fn more_can_come(&self, kind: MessageKind) -> bool {
        let before = |state: State| match state {
            State::Packing | State::PreCommit1 | State::PreCommit2 | State::SealFailed | State::PreCommitFailed => true,
            State::PreCommitting | State::WaitSeed | State::ComputeProofFailed | State::CommitFailed => {
                kind == MessageKind::Commit
            }
            State::Committing => false,
            State::Proving
            | State::CommitWait
            | State::FinalizeSector
            | State::FailedUnrecoverable
            | State::PackingFailed
            | State::Faulty
            | State::FaultReported
            | State::FaultedFinal
            | State::Removing
            | State::Removed
            | State::Terminating => false,
        };
        let joined = |number: SectorNumber| {
            let of_kind = self.observed.batches.values().filter(|seen| seen.batch.kind == kind);
            of_kind.into_iter().any(|seen| seen.batch.sectors.contains(&number))
        };
        let coming = |seen: &SectorSeen| {
            let Record { number, state, .. } = seen.record;
            before(state) || (Some(state) == kind.collects() && !joined(number))
        };
        let lost = |seen: &&SectorSeen| !seen.record.state.is_given_up();
        let have = self.observed.sectors.values().filter(lost).count();
        let missing = self.desired.sectors > u64::try_from(have).unwrap_or(u64::MAX);
        missing || self.observed.sectors.values().any(coming)
    }

    /// Hands a sealed message over, and looks after one that was sent.
    fn hand_over(&self, id: &MessageId, seen: &BatchSeen, plan: &mut Plan) {
        let batch = &seen.batch;
        let fees = self.fees(batch.kind);
        let later = seen.retry_at.filter(|at| *at > self.observed.now);
        let slack = self.nearest(&batch.sectors);
        let about = Subject::Message(id.clone());
        let Some(chain) = self.observed.chain.filter(|chain| !chain.stale) else {
            // fees and deadlines are judged by a fresh head
            if batch.state == BatchState::Sealed {
                plan.hold(about, "the node to be up to date with the chain", WakeUp::NextHead);
            }
            return;
        };
        let confidence = self.desired.policy.message_confidence;
        let gone = seen.gone_since.is_some_and(|since| chain.head.since(since) >= confidence);
        match (&batch.state, &batch.sent) {
            (BatchState::Sealed, _) => {
                let dear = self.desired.base_fee_ceiling.filter(|ceiling| self.observed.base_fee > *ceiling);
                match (later, dear) {
                    (Some(at), _) => plan.hold(about, "the next attempt to send it", WakeUp::Time(at)),
                    (None, Some(ceiling)) if !self.near(batch.kind, &batch.sectors) => {
                        let reason = format!("a base fee of at most {ceiling} (it is {})", self.observed.base_fee);
                        plan.hold(about, reason, WakeUp::NextHead);
                    }
                    (None, _) => plan.actions.push(Action::Push { batch: id.clone(), max_fee: cap(fees, slack) }),
                }
            }
            (BatchState::Sent | BatchState::Landed(_), Some(_)) if later.is_none() && gone => {
                plan.actions.push(Action::Resend(id.clone()));
            }
            (BatchState::Sent, Some(sent)) if later.is_none() => {
                if let Some(dearer) = reprice(fees, sent, self.observed.base_fee, chain.head, slack) {
                    plan.actions.push(Action::Reprice { batch: id.clone(), gas: dearer.gas });
                }
            }
            (
                BatchState::Open { .. }
                | BatchState::Sent
                | BatchState::Landed(_)
                | BatchState::Settled(_)
                | BatchState::Dissolved { .. },
                _,
            ) => {}
        }
    }

    fn slack_of(&self, record: &Record) -> Option<i64> {
        nearest(record, self.observed.chain?, &self.desired.policy).map(|deadline| deadline.slack)
    }

    /// Epochs to the nearest deadline of these sectors.
    fn nearest(&self, sectors: &[SectorNumber]) -> Option<i64> {
        let records = sectors.iter().filter_map(|number| self.observed.sectors.get(number));
        records.filter_map(|seen| self.slack_of(&seen.record)).min()
    }

    fn near(&self, kind: MessageKind, sectors: &[SectorNumber]) -> bool {
        self.nearest(sectors).is_some_and(|slack| slack <= self.fees(kind).margin)
    }
}

fn hold_all(members: &[&SectorSeen], reason: &str, plan: &mut Plan) {
    for member in members {
        plan.hold(Subject::Sector(member.record.number), reason, WakeUp::NextHead);
    }
}

/// Versions of the network on which PreCommitSectorBatch2 and ProveCommitSectors3 are what is sent here. The last one
/// has the actors of the one before; Lotus's 2k networks come to it at epoch 200.
pub const NETWORKS: std::ops::RangeInclusive<u32> = 25..=29;

/// An operator asked for it: nothing is waited for. Source of the limit: sealing-fsm 2.10.
const TERMINATIONS: BatchRule = BatchRule { max: 100, wait_ms: 0 };

fn times(amount: AttoFil, count: usize) -> AttoFil {
    let count = i128::try_from(count).unwrap_or(i128::MAX);
    AttoFil::from_atto(amount.as_atto().saturating_mul(count))
}
