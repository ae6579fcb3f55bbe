//! What is known of one sector, and how an event changes it.

use super::{
    machine::{self, Event, EventKind, State},
    operator,
};
use crate::units::{AttoFil, Epoch, Hash32, RepoName, SealProof, SectorNumber, UnixMillis};
use serde::{Deserialize, Serialize};

/// Identity of one intended chain message: the UUID that makes pushing it idempotent (Lotus `MsgUuid`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub String);

/// The randomness a replica is bound to, kept for the sector's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The epoch it was drawn at (may be negative on a young network).
    pub epoch: Epoch,
    /// 32 bytes of chain randomness.
    pub value: Hash32,
    /// Height of the head it was read through.
    pub read_at: Epoch,
}

/// The commitments PreCommit2 produced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Commitment to the replica.
    pub comm_r: Hash32,
    /// Commitment to the data.
    pub comm_d: Hash32,
}

/// A pre-commit that was handed to the outbox, and what the chain made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreCommit {
    /// The message; `None` when the pre-commit was adopted from the chain.
    pub message: Option<MessageId>,
    /// Set once the chain shows the pre-commit.
    pub landed: Option<Landed>,
}

/// A pre-commit as the chain shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// The epoch it executed at: the interactive seed is drawn `PreCommitChallengeDelay` epochs later.
    pub epoch: Epoch,
    /// The deposit that is locked for it.
    pub deposit: AttoFil,
}

/// The interactive randomness of the proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Pre-commit epoch plus challenge delay.
    pub epoch: Epoch,
    /// 32 bytes of beacon randomness.
    pub value: Hash32,
}

/// A prove-commit that was handed to the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The message; `None` when the sector was found active on chain without one of ours.
    pub message: Option<MessageId>,
}

/// The end of a sector before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    /// The message; `None` when the chain ended the sector without one of ours.
    pub message: Option<MessageId>,
    /// When the chain had ended the sector, at the latest.
    pub epoch: Option<Epoch>,
}

/// The sector as the chain shows it after its proof was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Epoch of activation.
    pub epoch: Epoch,
    /// Epoch the sector expires at.
    pub expiration: Epoch,
    /// The pledge that is locked for it.
    pub pledge: AttoFil,
}

/// The stages a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// SDR layers and tree-d.
    PreCommit1,
    /// Trees c and r-last, replica encoding.
    PreCommit2,
    /// Vanilla proofs and SNARK, verified before it is reported.
    Commit,
    /// Cache trimmed, replica moved to its long-term repo.
    Finalize,
    /// Every file of the sector removed, in every repo.
    Remove,
}

impl Stage {
    /// The word used in the manifest, in logs and in `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreCommit1 => "precommit1",
            Self::PreCommit2 => "precommit2",
            Self::Commit => "commit",
            Self::Finalize => "finalize",
            Self::Remove => "remove",
        }
    }
}

/// What kind of thing failed. Only `Data` may ever lead to sealing again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Space, memory, descriptors.
    Resource,
    /// Parameters, drivers, permissions, a missing mount.
    Environment,
    /// The worker process crashed, hung or lied.
    Worker,
    /// The sector's own bytes are wrong.
    Data,
    /// The node refused or cannot be reached.
    Chain,
    /// What only an operator can change.
    Operator,
}

impl Class {
    /// The word used in logs and in `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Environment => "environment",
            Self::Worker => "worker",
            Self::Data => "data",
            Self::Chain => "chain",
            Self::Operator => "operator",
        }
    }
}

/// Why the last attempt at something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of thing failed.
    pub class: Class,
    /// What was being done.
    pub doing: String,
    /// The error with its causes.
    pub error: String,
}

/// The durable record of one sector. Only [`Record::apply`] changes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The sector's number, used once and never again.
    pub number: SectorNumber,
    /// Where it stands.
    pub state: State,
    /// Number of events applied so far: the optimistic lock of the store.
    pub version: u64,
    /// The proof type it is sealed with.
    pub proof: SealProof,
    /// The repo it is sealed in.
    pub repo: RepoName,
    /// The repo it is kept in once finalized; until then its cache is whole.
    pub store: Option<RepoName>,
    /// When it was created.
    pub created: UnixMillis,
    /// When it entered its state.
    pub entered: UnixMillis,
    /// The ticket, once drawn.
    pub ticket: Option<Ticket>,
    /// The commitments, once sealed.
    pub sealed: Option<Sealed>,
    /// The pre-commit, once handed over.
    pub precommit: Option<PreCommit>,
    /// The interactive seed, once known.
    pub seed: Option<Seed>,
    /// The proof, verified, before it is sent (hexadecimal).
    pub porep: Option<String>,
    /// The prove-commit, once handed over.
    pub commit: Option<Commit>,
    /// The sector on chain.
    pub activation: Option<Activation>,
    /// Its termination, once handed over or seen.
    #[serde(default)]
    pub termination: Option<Termination>,
    /// Failed attempts at what it is doing now, reset by progress. Those that only lacked space or memory do not count.
    pub attempts: u32,
    /// Not to be tried again before this moment.
    pub retry_at: Option<UnixMillis>,
    /// The last failure, kept until progress is made.
    pub failure: Option<Failure>,
    /// Proofs that could not be made of the replica's bytes, or that the chain refused, since it was last proven.
    pub invalid_proofs: u32,
}

/// An event that does not belong to the state it met. The record is unchanged; the event is kept in the history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} does not apply to a sector in state {state}")]
pub struct Refused {
    /// The state the sector is in.
    pub state: State,
    /// The event that met it.
    pub event: EventKind,
}

impl Record {
    /// A new sector, in `Packing`.
    pub fn new(number: SectorNumber, proof: SealProof, repo: RepoName, now: UnixMillis) -> Self {
        Self {
            number,
            state: State::Packing,
            version: 0,
            proof,
            repo,
            store: None,
            created: now,
            entered: now,
            ticket: None,
            sealed: None,
            precommit: None,
            seed: None,
            porep: None,
            commit: None,
            activation: None,
            termination: None,
            attempts: 0,
            retry_at: None,
            failure: None,
            invalid_proofs: 0,
        }
    }

    /// The record after `event`. The state comes from [`machine::EDGES`] and nowhere else.
    ///
    /// A state that an operator forces needs the data that belong to it, and nothing of the record is dropped for it:
    /// messages that were sent stay known and are still followed.
    ///
    /// # Errors
    /// [`Refused`] when the table has no such edge or had it until the trim, or the record cannot be in the forced state.
    pub fn apply(&self, event: &Event, now: UnixMillis) -> Result<Self, Refused> {
        let state = if let Event::StateForced { state } = event {
            operator::can_be_in(self, *state).is_ok().then_some(*state)
        } else {
            machine::target(self.state, event)
        };
        let trimmed = self.store.is_some() && machine::ends_with_the_trim(self.state, event.kind());
        let state = state.filter(|_| !trimmed).ok_or_else(|| Refused { state: self.state, event: event.kind() })?;
        let mut next = self.clone();
        next.version = self.version.saturating_add(1);
        // a forced state is entered anew, so that what ran before does not belong to it
        if state != self.state || matches!(event, Event::StateForced { .. }) {
            next.entered = now;
        }
        next.state = state;
        next.count(event);
        next.take(event);
        Ok(next)
    }

    fn progressed(&mut self) {
        self.attempts = 0;
        self.retry_at = None;
        self.failure = None;
    }

    /// Space and memory come back when they come back: to wait for them spends nothing.
    fn failed(&mut self, failure: &Failure, retry_at: Option<UnixMillis>) {
        if failure.class != Class::Resource {
            self.attempts = self.attempts.saturating_add(1);
        }
        self.retry_at = retry_at;
        self.failure = Some(failure.clone());
    }

    /// The message of a proof is not forgotten with it: as long as it may land, no other is sent.
    fn forget_proof(&mut self) {
        self.seed = None;
        self.porep = None;
    }

    /// What the event says about trying: how often, when again, and why not yet.
    fn count(&mut self, event: &Event) {
        let damaged = self.failure.as_ref().is_some_and(|failure| failure.class == Class::Data);
        match event {
            // new layers prove nothing until a replica comes of them, else sealing again would never end
            Event::PreCommit1Done if damaged => self.retry_at = None,
            Event::TicketDrawn { .. }
            | Event::PreCommit1Done
            | Event::PreCommit2Done { .. }
            | Event::PreCommitLanded { .. }
            | Event::SeedReady { .. }
            | Event::ProofReady { .. }
            | Event::Proving { .. }
            | Event::Finalized { .. }
            | Event::Imported { .. }
            | Event::TerminateAsked
            | Event::Terminated { .. }
            | Event::RemoveAsked
            | Event::RemoveDone => self.progressed(),
            // the failure is kept: layers that were found damaged are still made anew
            Event::RetryAsked | Event::StateForced { .. } => {
                self.attempts = 0;
                self.retry_at = None;
            }
            Event::AttemptFailed { failure, retry_at }
            | Event::SealPreCommitFailed { failure, retry_at }
            | Event::ChainPreCommitFailed { failure, retry_at }
            | Event::ComputeProofFailed { failure, retry_at }
            | Event::CommitFailed { failure, retry_at }
            | Event::TerminateFailed { failure, retry_at } => self.failed(failure, Some(*retry_at)),
            Event::PackingFailed { failure } | Event::GivenUp { failure } => self.failed(failure, None),
            Event::Packed
            | Event::PreCommitted { .. }
            | Event::Committed { .. }
            | Event::RetrySeal
            | Event::RetryPreCommit
            | Event::RetryWaitSeed
            | Event::RetryComputeProof
            | Event::RetryInvalidProof
            | Event::RetryCommitWait
            | Event::RetrySubmitCommit
            | Event::Faulty
            | Event::FaultReported
            | Event::Recovered
            | Event::FaultedFinal
            | Event::TerminateSent { .. } => self.retry_at = None,
            // a trim that failed and is put off has failed so often all the same
            Event::FinalizeDeferred
            | Event::TicketExpired
            | Event::PreCommitReverted
            | Event::CommitReverted
            | Event::TerminateReverted => {}
        }
    }

    /// A proof that says something against the replica.
    fn disproved(&mut self, failure: &Failure) {
        let against = u32::from(failure.class == Class::Data);
        self.invalid_proofs = self.invalid_proofs.saturating_add(against);
    }

    /// A message that is known stays known, also when the pre-commit is found on chain without it.
    fn precommitted(&mut self, message: Option<MessageId>, landed: Option<Landed>) {
        let known = self.precommit.take().and_then(|precommit| precommit.message);
        self.precommit = Some(PreCommit { message: message.or(known), landed });
    }

    fn terminated(&mut self, epoch: Option<Epoch>) {
        let message = self.termination.take().and_then(|termination| termination.message);
        self.termination = Some(Termination { message, epoch });
    }

    /// What the event says about the sector itself.
    fn take(&mut self, event: &Event) {
        match event {
            Event::TicketDrawn { ticket } => self.ticket = Some(ticket.clone()),
            Event::TicketExpired => (self.ticket, self.sealed) = (None, None),
            Event::PreCommit2Done { sealed } => self.sealed = Some(sealed.clone()),
            Event::ChainPreCommitFailed { .. } => {
                self.precommit = None;
                self.forget_proof();
            }
            Event::ComputeProofFailed { failure, .. } => self.disproved(failure),
            Event::CommitFailed { failure, .. } => {
                self.commit = None;
                self.disproved(failure);
            }
            Event::PreCommitted { message } => self.precommitted(message.clone(), None),
            Event::PreCommitLanded { landed } => {
                self.precommitted(None, Some(landed.clone()));
                self.seed = None;
                self.porep = None;
            }
            Event::PreCommitReverted => {
                self.precommitted(None, None);
                self.forget_proof();
            }
            Event::SeedReady { seed } => {
                if self.seed.as_ref() != Some(seed) {
                    self.forget_proof();
                }
                self.seed = Some(seed.clone());
            }
            Event::ProofReady { porep } => self.porep = Some(porep.clone()),
            Event::Committed { message } => {
                let known = self.commit.take().and_then(|commit| commit.message);
                self.commit = Some(Commit { message: message.clone().or(known) });
            }
            Event::Proving { activation } => {
                (self.invalid_proofs, self.activation) = (0, Some(activation.clone()));
            }
            Event::CommitReverted => self.activation = None,
            Event::Finalized { store } => self.store = Some(store.clone()),
            Event::Imported { sealed, activation, store } => {
                (self.sealed, self.store) = (Some(sealed.clone()), Some(store.clone()));
                self.activation = Some(activation.clone());
            }
            Event::RetrySeal => self.sealed = None,
            Event::RetryPreCommit | Event::RetryWaitSeed => self.forget_proof(),
            Event::RetryComputeProof | Event::RetryInvalidProof => self.porep = None,
            Event::RetryAsked => self.invalid_proofs = 0,
            Event::TerminateSent { message } => {
                self.termination = Some(Termination { message: message.clone(), epoch: None });
            }
            Event::Terminated { epoch } => self.terminated(Some(*epoch)),
            Event::TerminateReverted => self.terminated(None),
            Event::TerminateAsked | Event::TerminateFailed { .. } => self.termination = None,
            Event::Packed
            | Event::PreCommit1Done
            | Event::AttemptFailed { .. }
            | Event::SealPreCommitFailed { .. }
            | Event::PackingFailed { .. }
            | Event::GivenUp { .. }
            | Event::RetryCommitWait
            | Event::RetrySubmitCommit
            | Event::FinalizeDeferred
            | Event::Faulty
            | Event::FaultReported
            | Event::Recovered
            | Event::FaultedFinal
            | Event::RemoveAsked
            | Event::RemoveDone
            | Event::StateForced { .. } => {}
        }
    }

    /// The message the sector is waiting for, or waited for last.
    pub fn current_message(&self) -> Option<&MessageId> {
        let precommit = || self.precommit.as_ref()?.message.as_ref();
        let commit = || self.commit.as_ref()?.message.as_ref();
        match self.state {
            State::Terminating => self.termination.as_ref()?.message.as_ref(),
            State::CommitWait | State::CommitFailed | State::FinalizeSector => commit(),
            // one of an earlier attempt, if an operator put the sector back here
            State::Committing => commit().or_else(precommit),
            State::Proving
            | State::Packing
            | State::PreCommit1
            | State::PreCommit2
            | State::PreCommitting
            | State::WaitSeed
            | State::FailedUnrecoverable
            | State::SealFailed
            | State::PreCommitFailed
            | State::ComputeProofFailed
            | State::PackingFailed
            | State::Faulty
            | State::FaultReported
            | State::FaultedFinal
            | State::Removing
            | State::Removed => precommit(),
        }
    }

    /// Whether the chain counts on it while its cache is still whole: a reorganisation could ask for that.
    pub const fn is_untrimmed(&self) -> bool {
        let proven = matches!(self.state, State::Proving | State::Faulty | State::FaultReported);
        proven && self.store.is_none()
    }

    /// Whether it is at the end of its work, well or badly, and nothing is left to be done later.
    pub const fn is_at_rest(&self) -> bool {
        self.state.is_final() && !self.is_untrimmed()
    }

    /// What a stage that starts now is done for. A result is the sector's only while this is still the same.
    pub fn attempt(&self) -> Attempt {
        Attempt {
            state: self.state,
            entered: self.entered,
            ticket: self.ticket.as_ref().map(|ticket| ticket.value),
            seed: self.seed.as_ref().map(|seed| seed.value),
        }
    }
}

/// One stay of a sector in a state, with the randomness the work of it is bound to: a result of another one is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    state: State,
    entered: UnixMillis,
    ticket: Option<Hash32>,
    seed: Option<Hash32>,
}
