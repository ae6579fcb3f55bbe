//! What an operator may do to a sector, what it costs, and what to do instead. Pure; the chain is the truth here too.

use super::{
    facts::{ChainNow, Facts, MessageView},
    machine::{Event, State},
    record::{Failure, Record},
};

/// Something an operator wants of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To try again at once, with a new budget.
    Retry,
    /// To remove its files for good.
    Remove,
    /// To end it on chain, then to remove its files.
    Terminate,
    /// To put it into this state.
    SetState(State),
}

/// An order that can be carried out: record the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What to record.
    pub event: Event,
    /// What it costs in FIL and in work, a line each; empty when nothing is lost.
    pub costs: Vec<String>,
    /// It loses what cannot be had back: only with the operator's explicit yes.
    pub needs_yes: bool,
}

/// An order that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}; {next}")]
pub struct Refusal {
    /// Why not.
    pub why: String,
    /// What to do instead.
    pub next: String,
}

fn refuse<T>(why: impl Into<String>, next: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { why: why.into(), next: next.into() })
}

/// Judges an order against the record and what the chain says of this sector now. `facts` and `chain` are `None` when
/// the chain could not be read, or its head is old: then only what the chain has no part in is allowed.
///
/// # Errors
/// [`Refusal`]: why not, and what to do instead.
pub fn judge(
    record: &Record,
    facts: Option<&Facts>,
    chain: Option<ChainNow>,
    order: Order,
) -> Result<Verdict, Refusal> {
    let facts = facts.filter(|_| chain.is_some_and(|chain| !chain.stale));
    match order {
        Order::Retry => retry(record),
        Order::Remove => remove(record, facts),
        Order::Terminate => terminate(record, facts),
        Order::SetState(state) => set_state(record, facts, state),
    }
}

const NO_FACTS: &str = "the chain has not been read for this sector";
const READ_FIRST: &str = "try again when `seald status` shows a fresh head";

fn retry(record: &Record) -> Result<Verdict, Refusal> {
    match record.state {
        State::Proving if !record.is_untrimmed() => {
            refuse("the sector is proven: there is nothing to try again", "nothing is to be done")
        }
        State::Removed => refuse("the sector is removed", "its number stays used; another sector takes its place"),
        State::FailedUnrecoverable | State::PackingFailed | State::FaultedFinal => refuse(
            format!("a sector in {} cannot go on{}", record.state, because(record.failure.as_ref())),
            "`sectors remove` clears its files; another sector takes its place",
        ),
        State::Proving
        | State::Packing
        | State::PreCommit1
        | State::PreCommit2
        | State::PreCommitting
        | State::WaitSeed
        | State::Committing
        | State::CommitWait
        | State::FinalizeSector
        | State::SealFailed
        | State::PreCommitFailed
        | State::ComputeProofFailed
        | State::CommitFailed
        | State::Faulty
        | State::FaultReported
        | State::Terminating
        | State::Removing => Ok(Verdict { event: Event::RetryAsked, costs: Vec::new(), needs_yes: false }),
    }
}

fn because(failure: Option<&Failure>) -> String {
    failure.map_or_else(String::new, |failure| format!(" ({}: {})", failure.doing, failure.error))
}

fn remove(record: &Record, facts: Option<&Facts>) -> Result<Verdict, Refusal> {
    match record.state {
        State::Removing => return refuse("its files are being removed already", "`sectors show` says how far it is"),
        State::Removed => return refuse("the sector is removed already", "nothing is to be done"),
        State::FinalizeSector | State::Proving | State::Faulty | State::FaultReported => return active(record),
        State::CommitWait => return undecided(),
        State::Terminating if record.termination.is_some() => {
            return refuse("its termination is under way", "its files are removed by themselves once that is final");
        }
        State::Packing
        | State::PreCommit1
        | State::PreCommit2
        | State::PreCommitting
        | State::WaitSeed
        | State::Committing
        | State::SealFailed
        | State::PreCommitFailed
        | State::ComputeProofFailed
        | State::CommitFailed
        | State::FailedUnrecoverable
        | State::PackingFailed
        | State::FaultedFinal
        | State::Terminating => {}
    }
    let Some(facts) = facts else { return refuse(NO_FACTS, READ_FIRST) };
    if facts.sector.is_some() {
        return active(record);
    }
    // put back by an operator while its prove-commit was on its way
    let sent = record.commit.as_ref().is_some_and(|commit| commit.message.is_some());
    if sent && record.activation.is_none() && may_land(record, facts) {
        return undecided();
    }
    let mut costs = Vec::new();
    if let Some(precommit) = &facts.precommit {
        costs.push(format!("the deposit of {} that is locked for its pre-commit is lost", precommit.deposit));
    } else if may_land(record, facts) {
        let what = "the deposit of its pre-commit is lost if the message that carries it still lands";
        costs.push(what.to_owned());
    }
    costs.extend(work(record.state).map(str::to_owned));
    Ok(Verdict { event: Event::RemoveAsked, needs_yes: !costs.is_empty(), costs })
}

fn undecided() -> Result<Verdict, Refusal> {
    let why = "its prove-commit may still make it active, and an active sector without files is a fault";
    refuse(why, "wait for the outcome, then terminate or remove it")
}

fn active(record: &Record) -> Result<Verdict, Refusal> {
    refuse(
        format!("sector {} is active on chain: without its files it becomes faulty and is fined", record.number),
        "terminate it first; its files are then removed by themselves",
    )
}

/// The work that is lost with the files of a sector in this state.
const fn work(state: State) -> Option<&'static str> {
    match state {
        State::PreCommit1 | State::SealFailed => Some("the layers sealed so far are lost"),
        State::PreCommit2 => Some("the layers are lost: PreCommit1 was done"),
        State::PreCommitting
        | State::WaitSeed
        | State::PreCommitFailed
        | State::Committing
        | State::ComputeProofFailed
        | State::CommitFailed => Some("the replica is lost: PreCommit1 and PreCommit2 were done"),
        State::Packing
        | State::Proving
        | State::CommitWait
        | State::FinalizeSector
        | State::FailedUnrecoverable
        | State::PackingFailed
        | State::Faulty
        | State::FaultReported
        | State::FaultedFinal
        | State::Terminating
        | State::Removing
        | State::Removed => None,
    }
}

/// A message of ours for this sector has no outcome yet, as far as known.
fn may_land(record: &Record, facts: &Facts) -> bool {
    record.current_message().is_some()
        && match &facts.message {
            None => !facts.allocated,
            Some(MessageView::Intended { .. } | MessageView::Pushed) => true,
            Some(MessageView::Landed { .. } | MessageView::Refused { .. }) => false,
        }
}

fn terminate(record: &Record, facts: Option<&Facts>) -> Result<Verdict, Refusal> {
    let Some(facts) = facts else { return refuse(NO_FACTS, READ_FIRST) };
    let there = match (&facts.sector, record.state) {
        (_, State::Terminating) => {
            return refuse("it is being terminated already", "`sectors show` says how far it is");
        }
        (_, State::Removed) => return refuse("the sector is removed already", "nothing is to be done"),
        (None, _) => return refuse("the chain does not have this sector", "remove it instead"),
        (
            Some(sector),
            State::FinalizeSector | State::Proving | State::Faulty | State::FaultReported | State::Removing,
        ) => sector,
        (
            Some(_),
            State::Packing
            | State::PreCommit1
            | State::PreCommit2
            | State::PreCommitting
            | State::WaitSeed
            | State::Committing
            | State::CommitWait
            | State::FailedUnrecoverable
            | State::SealFailed
            | State::PreCommitFailed
            | State::ComputeProofFailed
            | State::CommitFailed
            | State::PackingFailed
            | State::FaultedFinal,
        ) => {
            return refuse(
                format!("the chain has the sector, and {} has not taken notice of it yet", record.state),
                "wait until it is in FinalizeSector or Proving, or set it to CommitWait",
            );
        }
    };
    let pledge = there.activation.pledge;
    let costs = vec![
        format!("the termination fee, a part of its pledge of {pledge}; the rest comes back"),
        format!("its power and its rewards until {}", there.activation.expiration),
        "its replica; another sector is sealed in its place unless the target is lowered".to_owned(),
    ];
    Ok(Verdict { event: Event::TerminateAsked, costs, needs_yes: true })
}

/// A part of a record that a state cannot be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Ticket,
    Sealed,
    PreCommit,
    Landed,
    Seed,
    Commit,
    Activation,
}

impl Part {
    fn is_in(self, record: &Record) -> bool {
        match self {
            Self::Ticket => record.ticket.is_some(),
            Self::Sealed => record.sealed.is_some(),
            Self::PreCommit => record.precommit.is_some(),
            Self::Landed => record.precommit.as_ref().is_some_and(|precommit| precommit.landed.is_some()),
            Self::Seed => record.seed.is_some(),
            Self::Commit => record.commit.is_some(),
            Self::Activation => record.activation.is_some(),
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Ticket => "a ticket",
            Self::Sealed => "a replica",
            Self::PreCommit => "a pre-commit",
            Self::Landed => "a pre-commit on chain",
            Self::Seed => "an interactive seed",
            Self::Commit => "a prove-commit",
            Self::Activation => "an activation",
        }
    }
}

/// What a record must have to be in a state; `None` when no order leads there because other orders do.
const fn parts(state: State) -> Option<&'static [Part]> {
    use Part::{Activation, Commit, Landed, PreCommit, Sealed, Seed, Ticket};
    Some(match state {
        State::Packing | State::PreCommit1 | State::PackingFailed | State::FailedUnrecoverable => &[],
        State::PreCommit2 | State::SealFailed => &[Ticket],
        State::PreCommitting | State::PreCommitFailed => &[Ticket, Sealed],
        State::WaitSeed => &[Ticket, Sealed, PreCommit],
        State::Committing | State::ComputeProofFailed => &[Ticket, Sealed, Landed, Seed],
        State::CommitFailed => &[Ticket, Sealed, Landed],
        State::CommitWait => &[Ticket, Sealed, Commit],
        State::FinalizeSector | State::Proving | State::Faulty | State::FaultReported | State::FaultedFinal => {
            &[Activation]
        }
        State::Terminating | State::Removing | State::Removed => return None,
    })
}

/// Whether the record has what belongs to `state`, and may be put there by an operator at all.
///
/// # Errors
/// [`Refusal`]: what is missing, or which order leads there.
pub(super) fn can_be_in(record: &Record, state: State) -> Result<(), Refusal> {
    if matches!(record.state, State::Removing | State::Removed) {
        return refuse("its files are removed", "its number stays used; another sector takes its place");
    }
    let Some(parts) = parts(state) else {
        return refuse(format!("{state} is not set by hand"), "`sectors terminate` and `sectors remove` lead there");
    };
    if let Some(missing) = parts.iter().find(|part| !part.is_in(record)) {
        let why = format!("a sector in {state} has {}, and this one has none", missing.what());
        return refuse(why, "choose an earlier state");
    }
    // what was handed over is followed where it belongs: before that, there was nothing
    if matches!(state, State::Packing | State::PackingFailed) && record.precommit.is_some() {
        return refuse(format!("it was pre-committed, and {state} comes before that"), "choose PreCommit1 or later");
    }
    Ok(())
}

fn set_state(record: &Record, facts: Option<&Facts>, state: State) -> Result<Verdict, Refusal> {
    can_be_in(record, state)?;
    let Some(facts) = facts else { return refuse(NO_FACTS, READ_FIRST) };
    agrees(record, facts, state)?;
    let mut costs = vec![format!("what is being done for it in {} now is not used", record.state)];
    let mut needs_yes = false;
    if state == State::FailedUnrecoverable {
        needs_yes = facts.precommit.is_some();
        costs.extend(facts.precommit.as_ref().map(|p| format!("the deposit of {} is lost in the end", p.deposit)));
        costs.extend(work(record.state).map(str::to_owned));
    }
    if matches!(state, State::Packing | State::PreCommit1 | State::SealFailed) {
        costs.extend(work(record.state).map(|_| "it is sealed again from PreCommit1".to_owned()));
    }
    Ok(Verdict { event: Event::StateForced { state }, costs, needs_yes })
}

/// The chain has the last word on where a sector can be.
fn agrees(record: &Record, facts: &Facts, state: State) -> Result<(), Refusal> {
    let active = facts.sector.is_some();
    match state {
        State::CommitWait | State::FinalizeSector | State::Proving | State::Faulty | State::FaultReported => {
            if !active && state != State::CommitWait {
                return refuse("the chain does not have this sector", "choose a state before CommitWait");
            }
        }
        State::Packing
        | State::PreCommit1
        | State::PreCommit2
        | State::PreCommitting
        | State::WaitSeed
        | State::Committing
        | State::SealFailed
        | State::PreCommitFailed
        | State::ComputeProofFailed
        | State::CommitFailed
        | State::PackingFailed
        | State::FailedUnrecoverable
        | State::FaultedFinal => {
            if active {
                return refuse("the chain has this sector as active", "choose CommitWait or later, or terminate it");
            }
        }
        State::Terminating | State::Removing | State::Removed => {}
    }
    let ended = matches!(state, State::FailedUnrecoverable | State::FaultedFinal | State::CommitWait);
    if !active && !ended && facts.precommit.is_none() && facts.allocated {
        return refuse("its number was used on chain and its pre-commit is gone", "choose FailedUnrecoverable");
    }
    if matches!(state, State::Packing | State::PackingFailed) && (facts.precommit.is_some() || may_land(record, facts))
    {
        return refuse("its pre-commit is on chain or on its way", "choose PreCommit1 or later");
    }
    Ok(())
}
