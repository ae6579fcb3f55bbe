//! Who shares a message with whom, when it leaves, and what it may cost.
//!
//! A sector joins an open batch at once. The batch is sealed when it is full, when its oldest sector has waited long
//! enough, when nobody else can come, or when a deadline is near; with as many of its sectors as can be paid for, the
//! most urgent first.

use super::{Action, BatchRule, BatchSeen, Costs, Desired, Funds, Observed, Plan, SectorSeen, Subject, purse::Purse};
use crate::{
    outbox::{Batch, BatchState, FeeRule, MessageKind, Short, cap, reprice},
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
    let mut purse = desk.purse(ready);
    // what is owed comes first: a deposit that no pledge follows is burnt
    for kind in [MessageKind::Terminate, MessageKind::Commit, MessageKind::PreCommit] {
        let mut paid = BTreeSet::new();
        for (id, seen) in desk.batches(kind) {
            paid.extend(desk.seal(id, seen, ready, purse.as_mut(), plan, &mut aggregate));
        }
        if let (MessageKind::Commit, Some(purse)) = (kind, &mut purse) {
            // what is not sent now will be: no new deposit takes it
            let wanting = ready.get(&kind).into_iter().flatten().map(|seen| &seen.record);
            let unpaid = wanting.filter(|record| !paid.contains(&record.number));
            let prices = unpaid.filter_map(|record| desk.price(kind, record));
            prices.for_each(|(price, _)| purse.reserve(kind, price));
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
            MessageKind::Commit => self.desired.commit,
            MessageKind::Terminate
            | MessageKind::NewAccount
            | MessageKind::CreateMiner
            | MessageKind::ChangePeerId
            | MessageKind::ChangeMultiaddrs => AT_ONCE,
        }
    }

    fn fees(&self, kind: MessageKind) -> &FeeRule {
        match kind {
            MessageKind::PreCommit => &self.desired.precommit_fees,
            MessageKind::Commit
            | MessageKind::Terminate
            | MessageKind::NewAccount
            | MessageKind::CreateMiner
            | MessageKind::ChangePeerId
            | MessageKind::ChangeMultiaddrs => &self.desired.commit_fees,
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

    /// What the wallets have left for new messages: without those under way, and without the pledge of every sector
    /// whose pre-commit is sent or landed. `None` until they were read.
    fn purse(&self, ready: &Ready<'_>) -> Option<Purse<'a>> {
        let Funds { accounts, costs } = &self.observed.funds;
        let mut purse = Purse::new(accounts.as_ref()?, &self.desired.senders);
        for BatchSeen { batch, .. } in self.observed.batches.values() {
            if let Some(message) = &batch.message {
                purse.reserve_of(&message.from, batch.claims(cap(self.fees(batch.kind), None)));
            }
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
            purse.reserve(MessageKind::PreCommit, times(costs.deposit, composing));
            let owing = self.observed.sectors.values().map(|seen| &seen.record).filter(owing).count();
            purse.reserve(MessageKind::Commit, times(owed(costs), owing.saturating_add(composing)));
        }
        Some(purse)
    }

    /// What one sector of a new message of this kind takes of its sender's wallet, and what must follow later with its
    /// proof.
    fn price(&self, kind: MessageKind, record: &Record) -> Option<(AttoFil, AttoFil)> {
        let costs = self.observed.funds.costs;
        match kind {
            MessageKind::PreCommit => costs.map(|costs| (costs.deposit, owed(&costs))),
            MessageKind::Commit => costs.map(|costs| {
                let landed = record.precommit.as_ref().and_then(|p| p.landed.as_ref());
                let deposit = landed.map_or(AttoFil::ZERO, |landed| landed.deposit);
                let missing = costs.pledge.checked_sub(deposit).unwrap_or(costs.pledge).max(AttoFil::ZERO);
                (missing, AttoFil::ZERO)
            }),
            MessageKind::Terminate
            | MessageKind::NewAccount
            | MessageKind::CreateMiner
            | MessageKind::ChangePeerId
            | MessageKind::ChangeMultiaddrs => Some((AttoFil::ZERO, AttoFil::ZERO)),
        }
    }

    /// Seals an open batch, or says what it waits for.
    fn seal(
        &self,
        id: &MessageId,
        seen: &BatchSeen,
        ready: &Ready<'_>,
        purse: Option<&mut Purse<'a>>,
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
        let Some(purse) = purse else {
            hold_all(&members, "the worker's balance to be read", plan);
            return Vec::new();
        };
        if purse.senders(kind).is_empty() {
            for member in members {
                plan.hold(Subject::Sector(member.record.number), NO_KEY, WakeUp::Operator);
            }
            return Vec::new();
        }
        let Some(prices) = members.iter().map(|member| self.price(kind, &member.record)).collect::<Option<Vec<_>>>()
        else {
            hold_all(&members, "the price of a sector to be read from the chain", plan);
            return Vec::new();
        };
        let Some(Payment { after, from, paid, short }) = pay(purse, kind, &prices, max_fee) else { return Vec::new() };
        for member in members.split_off(paid) {
            let reason = format!("funds: {}", short.as_deref().unwrap_or("more in the worker's wallet"));
            plan.hold(Subject::Sector(member.record.number), reason, WakeUp::Funds);
        }
        let mut paid: Vec<SectorNumber> = members.iter().map(|member| member.record.number).collect();
        if paid.is_empty() {
            return paid;
        }
        *purse = after;
        paid.sort_unstable();
        // near a deadline nobody waits for a worker: each sector goes with its own proof
        if kind == MessageKind::Commit && !self.near(kind, &batch.sectors) && self.wants_aggregate(seen, &paid) {
            aggregate.push((id.clone(), paid.clone()));
            return paid;
        }
        plan.actions.push(Action::Seal { batch: id.clone(), sectors: paid.clone(), from: from.to_owned(), max_fee });
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
                let unsigned = batch.message.as_ref().filter(|message| self.lacks_key(&message.from));
                if unsigned.is_some() {
                    return plan.hold(about, NO_KEY, WakeUp::Operator);
                }
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

    /// Whether the node is known not to be able to sign for this account.
    fn lacks_key(&self, from: &str) -> bool {
        let accounts = self.observed.funds.accounts.as_ref();
        accounts.and_then(|accounts| accounts.find(from)).is_some_and(|account| !account.in_wallet)
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
const AT_ONCE: BatchRule = BatchRule { max: 100, wait_ms: 0 };

/// What messages wait for that nobody can sign; which key it is, the alarm says.
const NO_KEY: &str = "a key of the miner in the node's wallet";

/// A message that can be paid for.
struct Payment<'a> {
    /// What is left then.
    after: Purse<'a>,
    /// Who sends it.
    from: &'a str,
    /// For how many sectors it pays, of the first on.
    paid: usize,
    /// What is missing for the next one, and where.
    short: Option<String>,
}

/// Chooses who sends a message for sectors of these prices: the first who can pay for all of them, else who can pay for
/// the most. `None` when nobody can send.
fn pay<'a>(
    purse: &Purse<'a>,
    kind: MessageKind,
    prices: &[(AttoFil, AttoFil)],
    max_fee: AttoFil,
) -> Option<Payment<'a>> {
    let mut best: Option<Payment<'a>> = None;
    for sender in purse.senders(kind) {
        let payment = pay_from(purse, &sender.id, prices, max_fee);
        if best.as_ref().is_none_or(|best| payment.paid > best.paid) {
            best = Some(payment);
        }
    }
    best
}

fn pay_from<'a>(purse: &Purse<'a>, from: &'a str, prices: &[(AttoFil, AttoFil)], max_fee: AttoFil) -> Payment<'a> {
    let mut payment = Payment { after: purse.clone(), from, paid: 0, short: None };
    let missing = |short: Short, id: &str| {
        let Short { missing, balance, claimed } = short;
        format!("{missing} more in {} (it holds {balance}, {claimed} of it is spoken for)", purse.words(id))
    };
    if let Err(short) = payment.after.claim_of(from, max_fee) {
        payment.short = Some(missing(short, from));
        return payment;
    }
    for (now, later) in prices {
        let mut trial = payment.after.clone();
        if let Err(short) = trial.claim_of(from, *now) {
            payment.short = Some(missing(short, from));
            break;
        }
        if *later > AttoFil::ZERO
            && let Err((id, short)) = trial.claim(MessageKind::Commit, *later)
        {
            payment.short = Some(missing(short, &id));
            break;
        }
        (payment.after, payment.paid) = (trial, payment.paid.saturating_add(1));
    }
    payment
}

/// What a sector locks with its proof, beyond the deposit.
fn owed(costs: &Costs) -> AttoFil {
    costs.pledge.checked_sub(costs.deposit).unwrap_or(AttoFil::ZERO).max(AttoFil::ZERO)
}

fn times(amount: AttoFil, count: usize) -> AttoFil {
    let count = i128::try_from(count).unwrap_or(i128::MAX);
    AttoFil::from_atto(amount.as_atto().saturating_mul(count))
}
