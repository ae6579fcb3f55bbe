//! What a sector wants next, given what is known of it, of the chain and of the time.
//!
//! Level-triggered: the answer is recomputed from what is, so a lost event costs a tick, never a sector.
//! The truth is the chain: whatever it shows about a sector is looked at before anything is done.

use super::{
    active,
    deadlines::{proof_missed, prove_by, prove_from, ticket_expired, ticket_too_short},
    exit_code::{self, ILLEGAL_ARGUMENT, Remedy},
    facts::{ChainNow, Facts, MessageView, OnChainPreCommit},
    machine::{Event, EventKind, State},
    policy::{self, Policy, cooling, parked},
    record::{Class, Failure, Landed, Record, Seed, Stage},
};
use crate::units::{Epoch, UnixMillis};

/// Until when something waits, and what wakes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeUp {
    /// The next chain head.
    NextHead,
    /// This epoch.
    At(Epoch),
    /// This moment.
    Time(UnixMillis),
    /// Funds in the worker's wallet.
    Funds,
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
    /// A termination in the outbox.
    SubmitTerminate,
    /// To be left alone.
    Wait(Wait),
    /// Nothing: it is where it should be.
    Rest,
}

pub(super) fn wait(reason: impl Into<String>, until: WakeUp) -> Next {
    Next::Wait(Wait { reason: reason.into(), until })
}

pub(super) fn failure(class: Class, doing: &str, error: impl Into<String>) -> Failure {
    Failure { class, doing: doing.to_owned(), error: error.into() }
}

/// The next thing for this sector. `facts` is `None` while the chain has not been read for it.
///
/// What the chain shows is taken at once; what is to be done waits for the pause after a failure, and for an operator
/// once the budget of attempts is spent.
pub fn next(record: &Record, facts: Option<&Facts>, chain: Option<ChainNow>, policy: &Policy, now: UnixMillis) -> Next {
    let wish = match (facts, chain) {
        (Some(facts), Some(chain)) => {
            let wish = with_chain(record, facts, chain, policy, now);
            if chain.stale { on_old_head(wish) } else { wish }
        }
        (None, _) | (_, None) => without_chain(record, now),
    };
    let seen = match &wish {
        Next::Rest => true,
        Next::Record(event) => is_seen(event.kind()),
        Next::DrawTicket
        | Next::Work(_)
        | Next::SubmitPreCommit
        | Next::SubmitCommit
        | Next::SubmitTerminate
        | Next::Wait(_) => false,
    };
    match parked(record, policy).or_else(|| cooling(record, now)) {
        Some(wait) if !seen => Next::Wait(wait),
        Some(_) | None => wish,
    }
}

/// What goes on while the node does not answer: the work, and nothing that the chain decides.
fn without_chain(record: &Record, now: UnixMillis) -> Next {
    match record.state {
        State::Packing => Next::Record(Event::Packed),
        State::PreCommit1 if record.ticket.is_some() => Next::Work(Stage::PreCommit1),
        State::PreCommit1 => wait("the chain to be read, for the ticket", WakeUp::NextHead),
        State::PreCommit2 => Next::Work(Stage::PreCommit2),
        State::ComputeProofFailed => compute_proof_failed(record, now),
        State::Proving | State::PackingFailed | State::FailedUnrecoverable | State::FaultedFinal | State::Removed => {
            Next::Rest
        }
        State::PreCommitting
        | State::WaitSeed
        | State::Committing
        | State::CommitWait
        | State::FinalizeSector
        | State::SealFailed
        | State::PreCommitFailed
        | State::CommitFailed
        | State::Faulty
        | State::FaultReported
        | State::Terminating
        | State::Removing => wait("the chain to be read", WakeUp::NextHead),
    }
}

fn with_chain(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    match record.state {
        State::PreCommit1 => precommit1(record, facts, chain, policy),
        State::PreCommit2 => precommit2(record, facts, chain, policy, now),
        State::PreCommitting => precommitting(record, facts, chain, policy, now),
        State::WaitSeed => wait_seed(record, facts, chain, policy, now),
        State::Committing => committing(record, facts, chain, policy),
        State::CommitWait => commit_wait(record, facts, chain, policy, now),
        State::FinalizeSector => active::finalize(facts, chain),
        State::SealFailed => seal_failed(record, facts, chain, policy),
        State::PreCommitFailed => precommit_failed(record, facts, chain, policy, now),
        State::CommitFailed => commit_failed(record, facts, chain, policy, now),
        State::Proving => active::proving(record, facts, chain),
        State::Faulty | State::FaultReported => active::faulty(record, facts, chain),
        State::Terminating => active::terminating(record, facts, chain, policy, now),
        State::Removing => active::removing(record, facts),
        State::Packing
        | State::ComputeProofFailed
        | State::PackingFailed
        | State::FailedUnrecoverable
        | State::FaultedFinal
        | State::Removed => without_chain(record, now),
    }
}

/// Whether the event is something that the chain shows, and no attempt at anything: it is never put off.
const fn is_seen(kind: EventKind) -> bool {
    match kind {
        EventKind::PreCommitted
        | EventKind::PreCommitLanded
        | EventKind::PreCommitReverted
        | EventKind::SeedReady
        | EventKind::Committed
        | EventKind::Proving
        | EventKind::CommitReverted
        | EventKind::RetryWaitSeed
        | EventKind::RetryCommitWait
        | EventKind::Faulty
        | EventKind::FaultReported
        | EventKind::Recovered
        | EventKind::FaultedFinal
        | EventKind::GivenUp
        | EventKind::Terminated
        | EventKind::TerminateReverted
        | EventKind::RemoveAsked => true,
        EventKind::Packed
        | EventKind::Imported
        | EventKind::PackingFailed
        | EventKind::TicketDrawn
        | EventKind::TicketExpired
        | EventKind::PreCommit1Done
        | EventKind::PreCommit2Done
        | EventKind::AttemptFailed
        | EventKind::SealPreCommitFailed
        | EventKind::ChainPreCommitFailed
        | EventKind::ProofReady
        | EventKind::ComputeProofFailed
        | EventKind::CommitFailed
        | EventKind::Finalized
        | EventKind::RetrySeal
        | EventKind::RetryPreCommit
        | EventKind::RetryComputeProof
        | EventKind::RetryInvalidProof
        | EventKind::RetrySubmitCommit
        | EventKind::RetryAsked
        | EventKind::TerminateAsked
        | EventKind::TerminateSent
        | EventKind::TerminateFailed
        | EventKind::RemoveDone
        | EventKind::StateForced => false,
    }
}

/// By a head that is too old, nothing is sent, nothing is called lost or late, and nothing is taken back. What it
/// shows to have happened did happen, and work goes on.
fn on_old_head(wish: Next) -> Next {
    let holds = match &wish {
        Next::Work(Stage::PreCommit1 | Stage::PreCommit2 | Stage::Commit) | Next::Wait(_) | Next::Rest => true,
        Next::Work(Stage::Finalize | Stage::Remove)
        | Next::DrawTicket
        | Next::SubmitPreCommit
        | Next::SubmitCommit
        | Next::SubmitTerminate => false,
        Next::Record(event) => matches!(
            event.kind(),
            EventKind::Packed
                | EventKind::PreCommitted
                | EventKind::PreCommitLanded
                | EventKind::SeedReady
                | EventKind::Committed
                | EventKind::Proving
                | EventKind::RetryWaitSeed
                | EventKind::RetryCommitWait
                | EventKind::RetryComputeProof
        ),
    };
    if holds { wish } else { wait("the node to catch up with the chain: its head is too old", WakeUp::NextHead) }
}

/// What the chain gives now for the epoch of the ticket; a value for another epoch is of a ticket before it.
fn ticket_now(record: &Record, facts: &Facts) -> Option<crate::units::Hash32> {
    let (epoch, value) = facts.ticket?;
    record.ticket.as_ref().is_some_and(|ticket| ticket.epoch == epoch).then_some(value)
}

/// Whether a reorganisation went back past the ticket: the chain would refuse every proof of this replica.
fn ticket_changed(record: &Record, facts: &Facts) -> bool {
    ticket_now(record, facts).is_some_and(|value| record.ticket.as_ref().is_some_and(|ticket| ticket.value != value))
}

/// Why the number can never become this sector, when the chain shows that.
fn foreign(record: &Record, facts: &Facts) -> Option<&'static str> {
    let known = |epoch| record.ticket.as_ref().is_some_and(|ticket| ticket.epoch == epoch);
    match (&facts.precommit, &facts.sector) {
        (Some(precommit), _) if known(precommit.ticket_epoch) => None,
        (Some(_), _) => Some("the chain holds a pre-commit of this number with another ticket"),
        (None, Some(_)) if record.precommit.is_some() => None,
        (None, Some(_)) => Some("the chain has an active sector of this number that was not sealed here"),
        (None, None) if facts.allocated => Some(GONE),
        (None, None) => None,
    }
}

const GONE: &str = "the number was used on chain and its pre-commit is gone";
const OTHER_REPLICA: &str = "the chain holds a pre-commit of this number with another replica";

/// Neither on chain nor on its way there: what was not sent can still be sealed with another ticket.
fn is_unsent(record: &Record, facts: &Facts) -> bool {
    facts.precommit.is_none() && facts.sector.is_none() && !facts.allocated && !under_way(record, facts)
}

/// A pre-commit of ours was handed over and may still land: no other may be sent.
fn under_way(record: &Record, facts: &Facts) -> bool {
    let sent = record.precommit.as_ref().is_some_and(|precommit| precommit.message.is_some());
    sent && match &facts.message {
        Some(MessageView::Intended { .. } | MessageView::Pushed) => true,
        Some(MessageView::Landed { exit_code, .. }) => *exit_code == 0,
        Some(MessageView::Refused { .. }) | None => false,
    }
}

fn precommit1(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy) -> Next {
    if let Some(why) = foreign(record, facts) {
        return lost(record, why);
    }
    if let Some(missed) = missed(record, facts, chain, policy) {
        return missed;
    }
    if record.ticket.is_none() {
        let window = policy.ticket_max_age.saturating_sub(policy.ticket_lookback);
        return match policy.to_precommit {
            // a little more than what a drawn ticket needs, else tickets would be drawn and dropped in turn
            Some(needed) if needed.saturating_add(policy.margin.max(WORTHWHILE)) > window => wait(
                format!(
                    "an operator: sealing to the pre-commit takes about {needed} epochs and a ticket is good for {window}: \
                     it needs faster or fewer busy workers"
                ),
                WakeUp::Operator,
            ),
            Some(_) | None => Next::DrawTicket,
        };
    }
    // a sector with a live pre-commit never draws a new ticket
    let unusable = ticket_expired(record, chain, policy)
        || ticket_changed(record, facts)
        || ticket_too_short(record, chain, policy);
    if unusable && is_unsent(record, facts) {
        return Next::Record(Event::TicketExpired);
    }
    Next::Work(Stage::PreCommit1)
}

/// Epochs that must be left over, at the least, for a ticket to be drawn.
const WORTHWHILE: i64 = 10;

fn precommit2(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    if let Some(why) = foreign(record, facts) {
        return lost(record, why);
    }
    if let Some(missed) = missed(record, facts, chain, policy) {
        return missed;
    }
    if is_unsent(record, facts)
        && let Some(late) = unusable_ticket(record, facts, chain, policy, now)
    {
        return late;
    }
    Next::Work(Stage::PreCommit2)
}

/// The replica is sealed again, with another ticket, when its own is no longer taken.
fn unusable_ticket(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Option<Next> {
    let why = if ticket_expired(record, chain, policy) {
        "the ticket is too old for a pre-commit"
    } else if ticket_changed(record, facts) {
        "the chain's ticket changed (reorganisation)"
    } else {
        return None;
    };
    let failure = failure(Class::Chain, "pre-committing", why);
    Some(Next::Record(Event::SealPreCommitFailed { failure, retry_at: now }))
}

/// The chain shows a pre-commit of this number: is it ours?
fn is_ours(record: &Record, precommit: &OnChainPreCommit) -> bool {
    record.sealed.as_ref().is_some_and(|s| s.comm_r == precommit.comm_r)
        && record.ticket.as_ref().is_some_and(|t| t.epoch == precommit.ticket_epoch)
}

fn lost(record: &Record, error: &str) -> Next {
    let landed = record.precommit.as_ref().and_then(|precommit| precommit.landed.as_ref());
    let deposit = landed.map_or_else(String::new, |landed| format!(": its deposit of {} is lost", landed.deposit));
    let doing = format!("following sector {}", record.number);
    Next::Record(Event::GivenUp { failure: failure(Class::Chain, &doing, format!("{error}{deposit}")) })
}

/// The sector is lost once its proof can no longer land.
fn missed(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy) -> Option<Next> {
    let at = proof_missed(record, facts, chain, policy).filter(|_| facts.sector.is_none())?;
    Some(lost(record, &format!("its proof was not on chain by {at}")))
}

fn precommitting(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    if facts.sector.is_some() {
        return Next::Record(Event::Committed { message: None });
    }
    match &facts.precommit {
        Some(precommit) if is_ours(record, precommit) => return Next::Record(Event::PreCommitted { message: None }),
        Some(_) => return lost(record, OTHER_REPLICA),
        None if facts.allocated => return lost(record, GONE),
        None => {}
    }
    if under_way(record, facts) {
        return match outstanding(facts, chain, policy, "pre-commit") {
            Ok(wait) => wait,
            // it executed, and the chain does not show it: it is not on its way any more
            Err(_) => Next::SubmitPreCommit,
        };
    }
    if let Some(late) = unusable_ticket(record, facts, chain, policy, now) {
        return late;
    }
    // a deposit depends on it
    if ticket_now(record, facts).is_none() {
        return wait("the ticket to be read again from the chain", WakeUp::NextHead);
    }
    Next::SubmitPreCommit
}

fn wait_seed(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    if facts.sector.is_some() {
        return Next::Record(Event::Committed { message: None });
    }
    if let Some(missed) = missed(record, facts, chain, policy) {
        return missed;
    }
    let landed = record.precommit.as_ref().and_then(|p| p.landed.as_ref());
    let Some(precommit) = &facts.precommit else {
        return match landed {
            Some(_) if facts.allocated => lost(record, GONE),
            Some(_) => Next::Record(Event::PreCommitReverted),
            None => precommit_outstanding(record, facts, chain, policy, now),
        };
    };
    if !is_ours(record, precommit) {
        return lost(record, OTHER_REPLICA);
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
    match seed_of(facts, here.epoch, chain) {
        _ if chain.head < ready_at => wait("the interactive seed", WakeUp::At(ready_at)),
        Some(seed) => Next::Record(Event::SeedReady { seed: seed.clone() }),
        None => wait("the seed to be read from the chain", WakeUp::NextHead),
    }
}

/// The seed that belongs to a pre-commit of this epoch, if that is the one that was read.
fn seed_of(facts: &Facts, precommitted: Epoch, chain: ChainNow) -> Option<&Seed> {
    facts.seed.as_ref().filter(|seed| seed.epoch == precommitted.plus(chain.challenge_delay))
}

/// Not on chain: what does its message say?
fn precommit_outstanding(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    match outstanding(facts, chain, policy, "pre-commit") {
        Ok(next) => next,
        Err(failure) => {
            let retry_at = policy::retry_at(record, failure.class, now);
            Next::Record(Event::ChainPreCommitFailed { failure, retry_at })
        }
    }
}

/// What a message that has no effect yet leads to: a wait, or the failure to send it.
pub(super) fn outstanding(facts: &Facts, chain: ChainNow, policy: &Policy, what: &str) -> Result<Next, Failure> {
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
        Some(MessageView::Landed { exit_code, height, .. }) => {
            let counts_at = height.plus(policy.message_confidence);
            if chain.head < counts_at {
                return Ok(wait(format!("the {what} message to be deep enough in the chain"), WakeUp::At(counts_at)));
            }
            let error = match exit_code {
                0 => "the message executed but the chain does not show its effect on this sector".to_owned(),
                code => match exit_code::remedy(*code) {
                    Remedy::Resend => format!("{}; it is sent again with a fresh estimate", exit_code::words(*code)),
                    Remedy::LookAgain => exit_code::words(*code),
                },
            };
            Err(failure(Class::Chain, &doing, error))
        }
    }
}

fn committing(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy) -> Next {
    if facts.sector.is_some() {
        return Next::Record(Event::Committed { message: None });
    }
    if let Some(missed) = missed(record, facts, chain, policy) {
        return missed;
    }
    let landed = record.precommit.as_ref().and_then(|p| p.landed.as_ref());
    let here = match (&facts.precommit, landed) {
        (Some(there), Some(here)) if there.epoch == here.epoch => here.epoch,
        (None, Some(_)) if facts.allocated => return lost(record, GONE),
        (Some(_) | None, _) => return Next::Record(Event::PreCommitReverted),
    };
    let seed = seed_of(facts, here, chain);
    if let Some(seed) = seed
        && Some(seed) != record.seed.as_ref()
    {
        return Next::Record(Event::SeedReady { seed: seed.clone() });
    }
    match (&record.porep, seed) {
        (None, _) if record.seed.is_none() => wait("the seed to be read from the chain", WakeUp::NextHead),
        (None, _) => Next::Work(Stage::Commit),
        (Some(_), Some(_)) => submit_commit(record, facts, chain, policy, here),
        (Some(_), None) => wait("the seed to be read again before the proof is sent", WakeUp::NextHead),
    }
}

/// A message executes in the epoch after the head at the earliest: neither too early nor too late for the actor, and
/// not besides one that may still land.
fn submit_commit(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, precommitted: Epoch) -> Next {
    let executes = chain.head.plus(1);
    let (first, last) = (prove_from(precommitted, chain), prove_by(precommitted, chain));
    if executes < first {
        return wait("the first epoch at which a proof is taken", WakeUp::At(first.plus(-1)));
    }
    if executes > last {
        let sure = last.plus(policy.message_confidence).plus(1);
        return wait(format!("the end of its deadline at {last} to be certain"), WakeUp::At(sure));
    }
    let sent = record.commit.as_ref().is_some_and(|commit| commit.message.is_some());
    match outstanding(facts, chain, policy, "prove-commit") {
        Ok(wait) if sent => wait,
        Ok(_) | Err(_) => Next::SubmitCommit,
    }
}

fn commit_wait(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    if let Some(sector) = &facts.sector {
        let counts_at = sector.activation.epoch.plus(policy.message_confidence);
        if chain.head < counts_at {
            return wait("the prove-commit to be deep enough in the chain", WakeUp::At(counts_at));
        }
        return Next::Record(Event::Proving { activation: sector.activation.clone() });
    }
    let failed = |failure: Failure| {
        let retry_at = policy::retry_at(record, failure.class, now);
        Next::Record(Event::CommitFailed { failure, retry_at })
    };
    if let Some(at) = proof_missed(record, facts, chain, policy) {
        let why = format!("the sector was not on chain by {at}");
        return failed(failure(Class::Chain, "sending the prove-commit", why));
    }
    match (outstanding(facts, chain, policy, "prove-commit"), &facts.message) {
        (Ok(wait), _) => wait,
        (Err(failure), Some(MessageView::Landed { exit_code: ILLEGAL_ARGUMENT, own: true, .. }))
            if facts.precommit.as_ref().is_some_and(|precommit| is_ours(record, precommit)) =>
        {
            let error = format!("the chain refused the proof (exit code {ILLEGAL_ARGUMENT})");
            failed(Failure { class: Class::Data, error, ..failure })
        }
        (Err(failure), _) => failed(failure),
    }
}

/// Sealed again with the ticket it has: the chain may hold a pre-commit with it, and only the same ticket gives the
/// same replica. It is drawn anew in PreCommit1, and only when neither pre-commit nor number is on chain.
fn seal_failed(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy) -> Next {
    match foreign(record, facts) {
        Some(why) => lost(record, why),
        None if facts.sector.is_some() => Next::Record(Event::Committed { message: None }),
        None => missed(record, facts, chain, policy).unwrap_or(Next::Record(Event::RetrySeal)),
    }
}

fn precommit_failed(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    match &facts.precommit {
        Some(precommit) if is_ours(record, precommit) => Next::Record(Event::RetryWaitSeed),
        Some(_) => lost(record, OTHER_REPLICA),
        None if facts.sector.is_some() => Next::Record(Event::RetryWaitSeed),
        None if facts.allocated => lost(record, GONE),
        None => unusable_ticket(record, facts, chain, policy, now)
            .filter(|_| !under_way(record, facts))
            .unwrap_or(Next::Record(Event::RetryPreCommit)),
    }
}

/// Proofs of one sector that the chain may refuse before an operator has to look: each costs a message.
const REFUSED_PROOFS: u32 = 3;

fn commit_failed(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    if facts.sector.is_some() {
        return Next::Record(Event::RetryCommitWait);
    }
    if let Some(missed) = missed(record, facts, chain, policy) {
        return missed;
    }
    match &facts.precommit {
        None if facts.allocated => {
            return lost(record, "the pre-commit is gone: its deposit was burnt or a reorganisation took it");
        }
        None => return Next::Record(Event::RetryPreCommit),
        Some(precommit) if !is_ours(record, precommit) => return lost(record, OTHER_REPLICA),
        Some(_) if facts.seed.is_some() && facts.seed != record.seed => return Next::Record(Event::RetryWaitSeed),
        Some(_) => {}
    }
    match record.failure.as_ref().filter(|failure| failure.class == Class::Data) {
        // the proof was verified before it was sent, so first it is made anew; then the replica is
        Some(_) if record.invalid_proofs < 2 => Next::Record(Event::RetryInvalidProof),
        Some(failure) if record.invalid_proofs < REFUSED_PROOFS => {
            Next::Record(Event::SealPreCommitFailed { failure: failure.clone(), retry_at: now })
        }
        Some(_) => {
            wait(format!("an operator: {} proofs of this sector were refused", record.invalid_proofs), WakeUp::Operator)
        }
        None if record.porep.is_some() => Next::Record(Event::RetrySubmitCommit),
        None => Next::Record(Event::RetryComputeProof),
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
