//! A sector on chain: trimmed once that is final, watched, and on its ways out.

use super::{
    facts::{ChainNow, Facts, MessageView, OnChainSector},
    machine::{Event, State},
    next::{Next, WakeUp, outstanding, wait},
    policy::{self, Policy},
    record::{Record, Stage},
};
use crate::units::{Epoch, UnixMillis};

pub(super) fn finalize(facts: &Facts, chain: ChainNow) -> Next {
    let Some(sector) = &facts.sector else { return Next::Record(Event::CommitReverted) };
    if is_final(sector, chain) { Next::Work(Stage::Finalize) } else { Next::Record(Event::FinalizeDeferred) }
}

/// Whether no reorganisation can ask for the cache any more. By what the chain shows: what was recorded may be of before a
/// reorganisation.
fn is_final(sector: &OnChainSector, chain: ChainNow) -> bool {
    sector.activation.epoch <= chain.finalized
}

/// A node that is behind does not know the sector yet: then it is not gone.
fn knows(record: &Record, chain: ChainNow) -> bool {
    record.activation.as_ref().is_none_or(|activation| activation.epoch <= chain.finalized)
}

pub(super) fn proving(record: &Record, facts: &Facts, chain: ChainNow) -> Next {
    match &facts.sector {
        Some(sector) if sector.faulty => Next::Record(Event::Faulty),
        Some(sector) if record.is_untrimmed() && is_final(sector, chain) => Next::Work(Stage::Finalize),
        Some(_) => Next::Rest,
        None if is_taken_back(record, facts, chain) => Next::Record(Event::CommitReverted),
        None if !knows(record, chain) => Next::Rest,
        // gone is a fault as well: the states of faults lead on from there
        None => Next::Record(Event::Faulty),
    }
}

/// Whether a reorganisation took back the proof of a sector that still has its cache. Not when the chain had its activation
/// for good and used its pre-commit up: then it has ended the sector.
fn is_taken_back(record: &Record, facts: &Facts, chain: ChainNow) -> bool {
    let ended = knows(record, chain) && facts.allocated && facts.precommit.is_none();
    record.is_untrimmed() && facts.sector.is_none() && !ended
}

pub(super) fn faulty(record: &Record, facts: &Facts, chain: ChainNow) -> Next {
    match (&facts.sector, record.state) {
        (None, _) if is_taken_back(record, facts, chain) => Next::Record(Event::CommitReverted),
        (None, _) if !knows(record, chain) => wait("the node to be as far as the sector", WakeUp::NextHead),
        (Some(sector), _) if !sector.faulty => Next::Record(Event::Recovered),
        (_, State::Faulty) => Next::Record(Event::FaultReported),
        (None, _) => Next::Record(Event::FaultedFinal),
        (Some(_), _) => wait("an operator: the chain lists the sector as faulty", WakeUp::Operator),
    }
}

/// Sent, seen, final, then removed. The chain may list an ended sector for a while: a termination that executed well
/// counts as much as a sector that is gone.
pub(super) fn terminating(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy, now: UnixMillis) -> Next {
    let executed = match &facts.message {
        Some(MessageView::Landed { exit_code: 0, height, .. }) => Some(*height),
        Some(
            MessageView::Landed { .. }
            | MessageView::Intended { .. }
            | MessageView::Pushed
            | MessageView::Refused { .. },
        )
        | None => None,
    };
    let ended = record.termination.as_ref().and_then(|termination| termination.epoch);
    match (ended, &facts.sector, executed) {
        (Some(_), Some(_), None) => Next::Record(Event::TerminateReverted),
        (Some(epoch), _, _) => when_final(epoch, chain),
        (None, None, _) if !knows(record, chain) => wait("the node to be as far as the sector", WakeUp::NextHead),
        (None, None, _) => Next::Record(Event::Terminated { epoch: chain.head }),
        (None, Some(_), Some(height)) if chain.head >= height.plus(policy.message_confidence) => {
            Next::Record(Event::Terminated { epoch: height })
        }
        (None, Some(_), _) if record.termination.is_none() => Next::SubmitTerminate,
        (None, Some(_), _) => match outstanding(facts, chain, policy, "termination") {
            Ok(wait) => wait,
            Err(failure) => {
                let retry_at = policy::retry_at(record, failure.class, now);
                Next::Record(Event::TerminateFailed { failure, retry_at })
            }
        },
    }
}

fn when_final(ended: Epoch, chain: ChainNow) -> Next {
    let ahead = ended.since(chain.finalized);
    if ahead <= 0 {
        return Next::Record(Event::RemoveAsked);
    }
    wait("finality: the replica is kept until no reorganisation can ask for it", WakeUp::At(chain.head.plus(ahead)))
}

/// The files of a sector that the chain counts on are kept, whatever was ordered.
pub(super) fn removing(record: &Record, facts: &Facts) -> Next {
    let ended = record.termination.as_ref().is_some_and(|termination| termination.epoch.is_some());
    if facts.sector.is_some() && !ended {
        return wait("an operator: the chain has made the sector active; terminate it first", WakeUp::Operator);
    }
    Next::Work(Stage::Remove)
}
