//! The deadlines of a sector, in epochs, and whether they can be kept. Pure data: nothing here is a timer.

use super::{
    PROVE_COMMIT_WINDOW,
    facts::{ChainNow, Facts},
    policy::Policy,
    record::{Record, Stage},
};
use crate::units::Epoch;
use std::collections::BTreeMap;

/// Something that must have happened by an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// What, for a human.
    pub what: &'static str,
    /// The last epoch at which it may execute.
    pub at: Epoch,
    /// Epochs from the head until then; negative once it is over.
    pub slack: i64,
}

/// Epochs from handing a message to the node until it executes, in the ordinary case.
const INCLUSION: i64 = 5;

/// The epoch a pre-commit has to execute at, at the latest; `None` before there is a ticket.
pub fn precommit_by(record: &Record, policy: &Policy) -> Option<Epoch> {
    record.ticket.as_ref().map(|ticket| ticket.epoch.plus(policy.ticket_max_age))
}

/// The first epoch a prove-commit may execute at, after a pre-commit of epoch `precommitted`.
pub const fn prove_from(precommitted: Epoch, chain: ChainNow) -> Epoch {
    precommitted.plus(chain.challenge_delay).plus(1)
}

/// The last epoch a prove-commit may execute at, after a pre-commit of epoch `precommitted`.
pub const fn prove_by(precommitted: Epoch, chain: ChainNow) -> Epoch {
    precommitted.plus(chain.challenge_delay).plus(PROVE_COMMIT_WINDOW)
}

/// What still has to happen to this sector and until when: its pre-commit, or once that landed, its proof.
pub fn deadlines(record: &Record, chain: ChainNow, policy: &Policy) -> Vec<Deadline> {
    if record.state.is_final() || record.state.is_given_up() || record.activation.is_some() {
        return Vec::new();
    }
    let due = |what, at: Epoch| Deadline { what, at, slack: at.since(chain.head) };
    let landed = record.precommit.as_ref().and_then(|precommit| precommit.landed.as_ref());
    match landed {
        Some(landed) => vec![due("its proof to be on chain", prove_by(landed.epoch, chain))],
        None => precommit_by(record, policy).map(|at| due("its pre-commit to be on chain", at)).into_iter().collect(),
    }
}

/// The deadline that comes first.
pub fn nearest(record: &Record, chain: ChainNow, policy: &Policy) -> Option<Deadline> {
    deadlines(record, chain, policy).into_iter().min_by_key(|deadline| deadline.at)
}

/// Whether a message that is sent now executes too late for the ticket.
pub(super) fn ticket_expired(record: &Record, chain: ChainNow, policy: &Policy) -> bool {
    precommit_by(record, policy).is_some_and(|at| chain.head.plus(1) > at)
}

/// Whether the ticket's time is too short for sealing to end in it, as far as the stages were measured.
pub(super) fn ticket_too_short(record: &Record, chain: ChainNow, policy: &Policy) -> bool {
    let left = precommit_by(record, policy).map(|at| at.since(chain.head));
    matches!((left, policy.to_precommit), (Some(left), Some(needed)) if needed > left)
}

/// The deadline of the proof, once it is over and so deep that no other fork can keep it.
pub(super) fn proof_missed(record: &Record, facts: &Facts, chain: ChainNow, policy: &Policy) -> Option<Epoch> {
    let landed = || record.precommit.as_ref().and_then(|precommit| precommit.landed.as_ref()).map(|l| l.epoch);
    let precommitted = facts.precommit.as_ref().map(|precommit| precommit.epoch).or_else(landed)?;
    let at = prove_by(precommitted, chain);
    (chain.head > at.plus(policy.message_confidence)).then_some(at)
}

/// Epochs from the start of `from` until the message that it leads to executes, at the usual speed; `None` when a stage
/// on the way was never measured, or none leads to a message.
///
/// Waiting for company in a message is left out: a batch with an urgent sector leaves at once.
pub fn forecast(durations: &BTreeMap<Stage, u64>, epoch_secs: u64, from: Stage) -> Option<i64> {
    let way: &[Stage] = match from {
        Stage::PreCommit1 => &[Stage::PreCommit1, Stage::PreCommit2],
        Stage::PreCommit2 => &[Stage::PreCommit2],
        Stage::Commit => &[Stage::Commit],
        Stage::Finalize | Stage::Remove => return None,
    };
    let ms = way.iter().try_fold(0_u64, |sum, stage| Some(sum.saturating_add(*durations.get(stage)?)))?;
    let epochs = ms.div_ceil(epoch_secs.saturating_mul(1_000).max(1));
    Some(i64::try_from(epochs).unwrap_or(i64::MAX).saturating_add(INCLUSION))
}
