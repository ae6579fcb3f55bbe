//! What a sector wants next, given what is known of it, of the chain and of the time.
//!
//! Level-triggered: the answer is recomputed from what is, so a lost event costs a tick, never a sector.
//! The truth is the chain: whatever it shows about a sector is looked at before anything is done.

use super::{
    machine::{Event, State},
    record::{Activation, Class, Failure, Landed, Record, Seed, Stage},
};
use crate::units::{AttoFil, Epoch, Hash32, UnixMillis};

/// The chain as of the last head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainNow {
    /// Head height.
    pub head: Epoch,
    /// Highest epoch that no reorganisation can undo.
    pub finalized: Epoch,
    /// Epochs from pre-commit to seed.
    pub challenge_delay: i64,
}

/// The rules of waiting and retrying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Epochs on top of a message before it counts.
    pub message_confidence: i64,
    /// Epochs after the seed epoch before the seed counts.
    pub seed_confidence: i64,
    /// A pre-commit must execute within this many epochs of the ticket (3780 on every network).
    pub ticket_max_age: i64,
    /// A sector is parked, with an alarm, after this many failed attempts at one thing.
    pub attempts: u32,
}

/// A pre-commit as the chain shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChainPreCommit {
    /// Epoch it executed at.
    pub epoch: Epoch,
    /// Ticket epoch it names.
    pub ticket_epoch: Epoch,
    /// CommR it names.
    pub comm_r: Hash32,
    /// Locked deposit.
    pub deposit: AttoFil,
}

/// A sector as the chain shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnChainSector {
    /// Since when, until when, at what pledge.
    pub activation: Activation,
    /// The chain lists it as faulty.
    pub faulty: bool,
}

/// What became of the sector's current message, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageView {
    /// In the outbox, not yet taken by a node.
    Intended {
        /// Why the last attempt to push it failed, if it did.
        trouble: Option<String>,
    },
    /// In the mempool.
    Pushed,
    /// Executed, at this height.
    Landed {
        /// 0 is success.
        exit_code: i64,
        /// Height of the executing tipset.
        height: Epoch,
    },
    /// Refused by the node's simulation; it was never sent.
    Refused {
        /// The node's words.
        why: String,
    },
}

/// What the chain says of one sector, all read at one head. A sector in `Proving` is only reported when the chain
/// lists it as faulty or no longer at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Its pre-commit, when there is one.
    pub precommit: Option<OnChainPreCommit>,
    /// The sector itself, when it is active.
    pub sector: Option<OnChainSector>,
    /// Its number was used.
    pub allocated: bool,
    /// The value the chain gives now for the epoch of the record's ticket, when it was asked.
    pub ticket: Option<Hash32>,
    /// The interactive seed of its pre-commit epoch, once the chain is that far.
    pub seed: Option<Seed>,
    /// Its current message: the prove-commit if there is one, else the pre-commit.
    pub message: Option<MessageView>,
}

/// Until when something waits, and what wakes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeUp {
    /// The next chain head.
    NextHead,
    /// This epoch.
    At(Epoch),
    /// This moment.
    Time(UnixMillis),
    /// An operator.
    Operator,
}

/// A reason to do nothing now. There is no silent waiting: each is shown in `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for, for a human.
    pub reason: String,
    /// What ends the wait.
    pub until: WakeUp,
}

/// What a sector wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// This already happened: record it.
    Record(Event),
    /// A ticket from the chain; only worth drawing when a PreCommit1 slot is free.
    DrawTicket,
    /// A worker.
    Work(Stage),
    /// A pre-commit in the outbox.
    SubmitPreCommit,
    /// A prove-commit in the outbox.
    SubmitCommit,
    /// To be left alone.
    Wait(Wait),
    /// Nothing: it is where it should be.
    Rest,
}

fn wait(reason: impl Into<String>, until: WakeUp) -> Next {
    Next::Wait(Wait { reason: reason.into(), until })
}

fn failure(class: Class, doing: &str, error: impl Into<String>) -> Failure {
    Failure { class, doing: doing.to_owned(), error: error.into() }
}

/// The next thing for this sector. `facts` is `None` while the chain has not been read for it.
pub fn next(record: &Record, facts: Option<&Facts>, chain: Option<ChainNow>, policy: &Policy, now: UnixMillis) -> Next {
    if let Some(wait) = parked(record, policy).or_else(|| cooling(record, now)) {
        return Next::Wait(wait);
    }
    match record.state {
        State::Packing => Next::Record(Event::Packed),
        State::PreCommit1 => precommit1(record, facts, chain, policy),
        State::PreCommit2 => Next::Work(Stage::PreCommit2),
        State::Proving => proving(record, facts, chain),
        State::PackingFailed | State::FailedUnrecoverable | State::FaultedFinal => Next::Rest,
        State::SealFailed => Next::Record(Event::RetrySeal),
        State::ComputeProofFailed => compute_proof_failed(record, now),
        State::PreCommitting
        | State::WaitSeed
        | State::Committing
        | State::CommitWait
        | State::FinalizeSector
        | State::PreCommitFailed
        | State::CommitFailed
        | State::Faulty
        | State::FaultReported => match (facts, chain) {
            (Some(facts), Some(chain)) => with_chain(record, facts, chain, policy, now),
            _ => wait("the chain to be read", WakeUp::NextHead),
        },
    }
}

/// A spent attempt budget parks the sector. It is never removed by itself.
fn parked(record: &Record, policy: &Policy) -> Option<Wait> {
    let spent = record.attempts >= policy.attempts && !record.state.is_final();
    spent.then(|| {
        let what = record.failure.as_ref().map_or("failed", |f| f.doing.as_str());
        Wait { reason: format!("an operator: {} failed {} times", what, record.attempts), until: WakeUp::Operator }
    })
}

fn cooling(record: &Record, now: UnixMillis) -> Option<Wait> {
    let at = record.retry_at.filter(|at| *at > now)?;
    let what = record.failure.as_ref().map_or("the last attempt", |f| f.doing.as_str());
    Some(Wait { reason: format!("the next attempt after {what} failed"), until: WakeUp::Time(at) })
}

fn with_chain(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    match record.state {
        State::PreCommitting => precommitting(record, facts, chain, policy, now),
        State::WaitSeed => wait_seed(record, facts, chain, policy, now),
        State::Committing => committing(record, facts),
        State::CommitWait => commit_wait(record, facts, chain, policy, now),
        State::FinalizeSector => finalize(facts, chain),
        State::PreCommitFailed => precommit_failed(record, facts, chain, policy, now),
        State::CommitFailed => commit_failed(record, facts),
        State::Faulty | State::FaultReported => faulty(record, facts, chain),
        State::Proving
        | State::Packing
        | State::PreCommit1
        | State::PreCommit2
        | State::FailedUnrecoverable
        | State::SealFailed
        | State::ComputeProofFailed
        | State::PackingFailed
        | State::FaultedFinal => Next::Rest,
    }
}

/// Whether a pre-commit sent now would come too late for its ticket.
fn ticket_expired(record: &Record, head: Epoch, policy: &Policy) -> bool {
    record.ticket.as_ref().is_some_and(|ticket| head.plus(1).since(ticket.epoch) > policy.ticket_max_age)
}

/// Whether a reorganisation went back past the ticket: the chain would refuse every proof of this replica.
fn ticket_changed(record: &Record, facts: &Facts) -> bool {
    match (&record.ticket, facts.ticket) {
        (Some(ticket), Some(value)) => ticket.value != value,
        (None, _) | (_, None) => false,
    }
}

fn precommit1(record: &Record, facts: Option<&Facts>, chain: Option<ChainNow>, policy: &Policy) -> Next {
    if record.ticket.is_none() {
        return match (facts, chain) {
            (Some(facts), Some(_)) if facts.allocated || facts.precommit.is_some() => wait(
                format!("an operator: number {} was used on chain by somebody else", record.number),
                WakeUp::Operator,
            ),
            (Some(_), Some(_)) => Next::DrawTicket,
            _ => wait("the chain to be read, for the ticket", WakeUp::NextHead),
        };
    }
    // a sector with a live pre-commit never draws a new ticket
    if let (Some(facts), Some(chain)) = (facts, chain)
        && facts.precommit.is_none()
        && !facts.allocated
        && (ticket_expired(record, chain.head, policy) || ticket_changed(record, facts))
    {
        return Next::Record(Event::TicketExpired);
    }
    Next::Work(Stage::PreCommit1)
}

/// The chain shows a pre-commit of this number: is it ours?
fn is_ours(record: &Record, precommit: &OnChainPreCommit) -> bool {
    record.sealed.as_ref().is_some_and(|s| s.comm_r == precommit.comm_r)
        && record.ticket.as_ref().is_some_and(|t| t.epoch == precommit.ticket_epoch)
}

fn lost(record: &Record, error: &str) -> Next {
    Next::Record(Event::GivenUp {
        failure: failure(Class::Chain, &format!("following sector {}", record.number), error),
    })
}

fn precommitting(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    if facts.sector.is_some() {
        return Next::Record(Event::Committed { message: None });
    }
    match &facts.precommit {
        Some(precommit) if is_ours(record, precommit) => Next::Record(Event::PreCommitted { message: None }),
        Some(_) => lost(record, "the chain holds a pre-commit of this number with another replica"),
        None if facts.allocated => lost(record, "the number was used on chain and its pre-commit is gone"),
        None if ticket_expired(record, chain.head, policy) => Next::Record(Event::SealPreCommitFailed {
            failure: failure(Class::Chain, "pre-committing", "the ticket is too old for a pre-commit"),
            retry_at: now,
        }),
        None if ticket_changed(record, facts) => Next::Record(Event::SealPreCommitFailed {
            failure: failure(Class::Chain, "pre-committing", "the chain's ticket changed (reorganisation)"),
            retry_at: now,
        }),
        // a deposit depends on it
        None if facts.ticket.is_none() => wait("the ticket to be read again from the chain", WakeUp::NextHead),
        None => Next::SubmitPreCommit,
    }
}

fn wait_seed(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    if facts.sector.is_some() {
        return Next::Record(Event::Committed { message: None });
    }
    let landed = record.precommit.as_ref().and_then(|p| p.landed.as_ref());
    let Some(precommit) = &facts.precommit else {
        if landed.is_some() {
            return Next::Record(Event::PreCommitReverted);
        }
        return precommit_outstanding(record, facts, chain, policy, now);
    };
    if !is_ours(record, precommit) {
        return lost(record, "the chain holds a pre-commit of this number with another replica");
    }
    let here = Landed { epoch: precommit.epoch, deposit: precommit.deposit };
    if landed != Some(&here) {
        let counts_at = precommit.epoch.plus(policy.message_confidence);
        return if chain.head >= counts_at {
            Next::Record(Event::PreCommitLanded { landed: here })
        } else {
            wait("the pre-commit to be deep enough in the chain", WakeUp::At(counts_at))
        };
    }
    let ready_at = here.epoch.plus(chain.challenge_delay).plus(policy.seed_confidence);
    match &facts.seed {
        _ if chain.head < ready_at => wait("the interactive seed", WakeUp::At(ready_at)),
        Some(seed) => Next::Record(Event::SeedReady { seed: seed.clone() }),
        None => wait("the seed to be read from the chain", WakeUp::NextHead),
    }
}

/// Not on chain: what does its message say?
fn precommit_outstanding(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    match outstanding(facts, chain, policy, "pre-commit") {
        Ok(next) => next,
        Err(failure) => Next::Record(Event::ChainPreCommitFailed { failure, retry_at: resend_at(record, now) }),
    }
}

/// When a message that failed is made anew: at first after a few epochs of a fast network, then four times later each
/// time, so that a wallet without funds has more than an hour before the budget is spent.
fn resend_at(record: &Record, now: UnixMillis) -> UnixMillis {
    let pause = 2_000_i64.saturating_mul(4_i64.saturating_pow(record.attempts));
    now.plus_ms(pause.min(30 * 60 * 1_000))
}

fn outstanding(facts: &Facts, chain: ChainNow, policy: &Policy, what: &str) -> Result<Next, Failure> {
    let doing = format!("sending the {what}");
    match &facts.message {
        None => Err(failure(Class::Chain, &doing, "its message is not in the outbox")),
        Some(MessageView::Intended { trouble: None }) => {
            Ok(wait(format!("the {what} message to be taken by the node"), WakeUp::NextHead))
        }
        Some(MessageView::Intended { trouble: Some(why) }) => {
            Ok(wait(format!("the node to take the {what} message: {why}"), WakeUp::NextHead))
        }
        Some(MessageView::Pushed) => Ok(wait(format!("the {what} message to be included"), WakeUp::NextHead)),
        Some(MessageView::Refused { why }) => Err(failure(Class::Chain, &doing, why.clone())),
        Some(MessageView::Landed { exit_code, height }) => {
            let counts_at = height.plus(policy.message_confidence);
            if chain.head < counts_at {
                return Ok(wait(format!("the {what} message to be deep enough in the chain"), WakeUp::At(counts_at)));
            }
            let error = match exit_code {
                0 => "the message executed but the chain does not show its effect on this sector".to_owned(),
                6 => "the sender's funds did not suffice (exit code 6)".to_owned(),
                7 => "the message ran out of gas (exit code 7)".to_owned(),
                code => format!("the actor refused it with exit code {code}"),
            };
            Err(failure(Class::Chain, &doing, error))
        }
    }
}

fn committing(record: &Record, facts: &Facts) -> Next {
    if facts.sector.is_some() {
        return Next::Record(Event::Committed { message: None });
    }
    let landed = record.precommit.as_ref().and_then(|p| p.landed.as_ref());
    match (&facts.precommit, landed) {
        (Some(there), Some(here)) if there.epoch == here.epoch => {}
        _ => return Next::Record(Event::PreCommitReverted),
    }
    if let Some(seed) = &facts.seed
        && Some(seed) != record.seed.as_ref()
    {
        return Next::Record(Event::SeedReady { seed: seed.clone() });
    }
    match (&record.porep, &facts.seed) {
        (None, _) if record.seed.is_none() => wait("the seed to be read from the chain", WakeUp::NextHead),
        (None, _) => Next::Work(Stage::Commit),
        (Some(_), Some(_)) => Next::SubmitCommit,
        (Some(_), None) => wait("the seed to be read again before the proof is sent", WakeUp::NextHead),
    }
}

fn commit_wait(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    let Some(sector) = &facts.sector else {
        return match outstanding(facts, chain, policy, "prove-commit") {
            Ok(next) => next,
            Err(failure) => Next::Record(Event::CommitFailed { failure, retry_at: resend_at(record, now) }),
        };
    };
    let counts_at = sector.activation.epoch.plus(policy.message_confidence);
    if chain.head < counts_at {
        return wait("the prove-commit to be deep enough in the chain", WakeUp::At(counts_at));
    }
    Next::Record(Event::Proving { activation: sector.activation.clone() })
}

fn finalize(facts: &Facts, chain: ChainNow) -> Next {
    let Some(sector) = &facts.sector else { return Next::Record(Event::CommitReverted) };
    let ahead = sector.activation.epoch.since(chain.finalized);
    if ahead <= 0 {
        return Next::Work(Stage::Finalize);
    }
    wait("finality: the cache is kept until no reorganisation can ask for it", WakeUp::At(chain.head.plus(ahead)))
}

fn precommit_failed(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    match &facts.precommit {
        Some(precommit) if is_ours(record, precommit) => Next::Record(Event::RetryWaitSeed),
        Some(_) => lost(record, "the chain holds a pre-commit of this number with another replica"),
        None if facts.sector.is_some() => Next::Record(Event::RetryWaitSeed),
        None if facts.allocated => lost(record, "the number was used on chain and its pre-commit is gone"),
        None if ticket_expired(record, chain.head, policy) => Next::Record(Event::SealPreCommitFailed {
            failure: failure(Class::Chain, "pre-committing", "the ticket is too old for a pre-commit"),
            retry_at: now,
        }),
        None => Next::Record(Event::RetryPreCommit),
    }
}

fn commit_failed(record: &Record, facts: &Facts) -> Next {
    if facts.sector.is_some() {
        return Next::Record(Event::RetryCommitWait);
    }
    match &facts.precommit {
        None if facts.allocated => {
            lost(record, "the pre-commit is gone: its deposit was burnt or a reorganisation took it")
        }
        None => Next::Record(Event::RetryPreCommit),
        Some(precommit) if !is_ours(record, precommit) => {
            lost(record, "the chain holds a pre-commit of this number with another replica")
        }
        Some(_) if facts.seed.is_some() && facts.seed != record.seed => Next::Record(Event::RetryWaitSeed),
        Some(_) if record.porep.is_some() => Next::Record(Event::RetrySubmitCommit),
        Some(_) => Next::Record(Event::RetryComputeProof),
    }
}

/// Proofs that fail for the replica's own bytes before it is sealed again, once, with the same ticket. If that does not
/// help, the attempt budget ends it.
const INVALID_PROOFS: u32 = 3;

fn compute_proof_failed(record: &Record, now: UnixMillis) -> Next {
    match &record.failure {
        Some(failure) if record.invalid_proofs == INVALID_PROOFS => {
            Next::Record(Event::SealPreCommitFailed { failure: failure.clone(), retry_at: now })
        }
        Some(_) | None => Next::Record(Event::RetryComputeProof),
    }
}

/// A node that is behind does not know the sector yet: then it is not gone.
fn knows(record: &Record, chain: ChainNow) -> bool {
    record.activation.as_ref().is_none_or(|activation| activation.epoch <= chain.finalized)
}

fn proving(record: &Record, facts: Option<&Facts>, chain: Option<ChainNow>) -> Next {
    let (Some(facts), Some(chain)) = (facts, chain) else { return Next::Rest };
    match &facts.sector {
        Some(sector) if !sector.faulty => Next::Rest,
        None if !knows(record, chain) => Next::Rest,
        // gone is a fault as well: the states of faults lead on from there
        Some(_) | None => Next::Record(Event::Faulty),
    }
}

fn faulty(record: &Record, facts: &Facts, chain: ChainNow) -> Next {
    match (&facts.sector, record.state) {
        (None, _) if !knows(record, chain) => wait("the node to be as far as the sector", WakeUp::NextHead),
        (Some(sector), _) if !sector.faulty => Next::Record(Event::Recovered),
        (_, State::Faulty) => Next::Record(Event::FaultReported),
        (None, _) => Next::Record(Event::FaultedFinal),
        (Some(_), _) => wait("an operator: the chain lists the sector as faulty", WakeUp::Operator),
    }
}
