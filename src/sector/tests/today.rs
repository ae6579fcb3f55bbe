//! The table beside the one that the network's reference software has today.

use super::{
    table::{BEYOND, CLASSIC, Edge},
    *,
};

/// The table that the network's reference software has today, as far as a miner of capacity sectors needs it: its state,
/// its event, its next state, and what is there for it here.
const TODAY: &[(&str, &str, &str, Here)] = &[
    ("undefined", "SectorStartCC", "Packing", Here::Not("a record begins in Packing")),
    ("Packing", "SectorPacked", "GetTicket", Here::Edge(S::Packing, E::Packed, S::PreCommit1)),
    ("GetTicket", "SectorTicket", "PreCommit1", Here::Edge(S::PreCommit1, E::TicketDrawn, S::PreCommit1)),
    ("GetTicket", "SectorCommitFailed", "CommitFailed", Here::Not("a number that was used is lost: GivenUp")),
    ("PreCommit1", "SectorPreCommit1", "PreCommit2", Here::Edge(S::PreCommit1, E::PreCommit1Done, S::PreCommit2)),
    (
        "PreCommit1",
        "SectorSealPreCommit1Failed",
        "SealPreCommit1Failed",
        Here::Edge(S::PreCommit1, E::SealPreCommitFailed, S::SealFailed),
    ),
    ("PreCommit1", "SectorOldTicket", "GetTicket", Here::Edge(S::PreCommit1, E::TicketExpired, S::PreCommit1)),
    (
        "PreCommit2",
        "SectorPreCommit2",
        "SubmitPreCommitBatch",
        Here::Edge(S::PreCommit2, E::PreCommit2Done, S::PreCommitting),
    ),
    (
        "PreCommit2",
        "SectorSealPreCommit2Failed",
        "SealPreCommit2Failed",
        Here::Edge(S::PreCommit2, E::AttemptFailed, S::PreCommit2),
    ),
    (
        "PreCommit2",
        "SectorSealPreCommit1Failed",
        "SealPreCommit1Failed",
        Here::Edge(S::PreCommit2, E::SealPreCommitFailed, S::SealFailed),
    ),
    (
        "SubmitPreCommitBatch",
        "SectorPreCommitBatchSent",
        "PreCommitBatchWait",
        Here::Edge(S::PreCommitting, E::PreCommitted, S::WaitSeed),
    ),
    (
        "SubmitPreCommitBatch",
        "SectorSealPreCommit1Failed",
        "SealPreCommit1Failed",
        Here::Edge(S::PreCommitting, E::SealPreCommitFailed, S::SealFailed),
    ),
    (
        "SubmitPreCommitBatch",
        "SectorChainPreCommitFailed",
        "PreCommitFailed",
        Here::Edge(S::PreCommitting, E::ChainPreCommitFailed, S::PreCommitFailed),
    ),
    (
        "SubmitPreCommitBatch",
        "SectorPreCommitLanded",
        "WaitSeed",
        Here::Edge(S::PreCommitting, E::PreCommitted, S::WaitSeed),
    ),
    (
        "PreCommitBatchWait",
        "SectorPreCommitLanded",
        "WaitSeed",
        Here::Edge(S::WaitSeed, E::PreCommitLanded, S::WaitSeed),
    ),
    (
        "PreCommitBatchWait",
        "SectorChainPreCommitFailed",
        "PreCommitFailed",
        Here::Edge(S::WaitSeed, E::ChainPreCommitFailed, S::PreCommitFailed),
    ),
    (
        "PreCommitBatchWait",
        "SectorRetryPreCommit",
        "PreCommitting",
        Here::Not("by way of PreCommitFailed, which asks the chain first"),
    ),
    ("WaitSeed", "SectorSeedReady", "Committing", Here::Edge(S::WaitSeed, E::SeedReady, S::Committing)),
    (
        "WaitSeed",
        "SectorChainPreCommitFailed",
        "PreCommitFailed",
        Here::Edge(S::WaitSeed, E::ChainPreCommitFailed, S::PreCommitFailed),
    ),
    ("Committing", "SectorCommitted", "SubmitCommitAggregate", Here::Edge(S::Committing, E::ProofReady, S::Committing)),
    ("Committing", "SectorProofReady", "CommitFinalize", Here::Not(EARLY)),
    ("Committing", "SectorSeedReady", "Committing", Here::Edge(S::Committing, E::SeedReady, S::Committing)),
    (
        "Committing",
        "SectorComputeProofFailed",
        "ComputeProofFailed",
        Here::Edge(S::Committing, E::ComputeProofFailed, S::ComputeProofFailed),
    ),
    (
        "Committing",
        "SectorSealPreCommit1Failed",
        "SealPreCommit1Failed",
        Here::Edge(S::ComputeProofFailed, E::SealPreCommitFailed, S::SealFailed),
    ),
    ("Committing", "SectorCommitFailed", "CommitFailed", Here::Edge(S::Committing, E::CommitFailed, S::CommitFailed)),
    ("Committing", "SectorRetryCommitWait", "CommitWait", Here::Edge(S::Committing, E::Committed, S::CommitWait)),
    ("CommitFinalize", "SectorFinalized", "SubmitCommitAggregate", Here::Not(EARLY)),
    ("CommitFinalize", "SectorFinalizeFailed", "CommitFinalizeFailed", Here::Not(EARLY)),
    ("CommitFinalizeFailed", "SectorRetryFinalize", "CommitFinalize", Here::Not(EARLY)),
    (
        "SubmitCommitAggregate",
        "SectorCommitAggregateSent",
        "CommitAggregateWait",
        Here::Edge(S::Committing, E::Committed, S::CommitWait),
    ),
    (
        "SubmitCommitAggregate",
        "SectorCommitFailed",
        "CommitFailed",
        Here::Edge(S::Committing, E::CommitFailed, S::CommitFailed),
    ),
    (
        "SubmitCommitAggregate",
        "SectorRetrySubmitCommit",
        "SubmitCommit",
        Here::Not("a message that could not be composed is composed again in Committing"),
    ),
    (
        "CommitAggregateWait",
        "SectorProving",
        "FinalizeSector",
        Here::Edge(S::CommitWait, E::Proving, S::FinalizeSector),
    ),
    (
        "CommitAggregateWait",
        "SectorCommitFailed",
        "CommitFailed",
        Here::Edge(S::CommitWait, E::CommitFailed, S::CommitFailed),
    ),
    (
        "CommitAggregateWait",
        "SectorRetrySubmitCommit",
        "SubmitCommit",
        Here::Edge(S::CommitFailed, E::RetrySubmitCommit, S::Committing),
    ),
    ("FinalizeSector", "SectorFinalized", "Proving", Here::Edge(S::FinalizeSector, E::Finalized, S::Proving)),
    (
        "FinalizeSector",
        "SectorFinalizeFailed",
        "FinalizeFailed",
        Here::Edge(S::FinalizeSector, E::AttemptFailed, S::FinalizeSector),
    ),
    (
        "SealPreCommit1Failed",
        "SectorRetrySealPreCommit1",
        "PreCommit1",
        Here::Edge(S::SealFailed, E::RetrySeal, S::PreCommit1),
    ),
    (
        "SealPreCommit2Failed",
        "SectorRetrySealPreCommit1",
        "PreCommit1",
        Here::Edge(S::SealFailed, E::RetrySeal, S::PreCommit1),
    ),
    (
        "SealPreCommit2Failed",
        "SectorRetrySealPreCommit2",
        "PreCommit2",
        Here::Edge(S::PreCommit2, E::AttemptFailed, S::PreCommit2),
    ),
    (
        "PreCommitFailed",
        "SectorRetryPreCommit",
        "PreCommitting",
        Here::Edge(S::PreCommitFailed, E::RetryPreCommit, S::PreCommitting),
    ),
    (
        "PreCommitFailed",
        "SectorRetryPreCommitWait",
        "PreCommitWait",
        Here::Edge(S::PreCommitFailed, E::RetryWaitSeed, S::WaitSeed),
    ),
    (
        "PreCommitFailed",
        "SectorRetryWaitSeed",
        "WaitSeed",
        Here::Edge(S::PreCommitFailed, E::RetryWaitSeed, S::WaitSeed),
    ),
    (
        "PreCommitFailed",
        "SectorSealPreCommit1Failed",
        "SealPreCommit1Failed",
        Here::Edge(S::PreCommitFailed, E::SealPreCommitFailed, S::SealFailed),
    ),
    (
        "PreCommitFailed",
        "SectorPreCommitLanded",
        "WaitSeed",
        Here::Edge(S::PreCommitFailed, E::RetryWaitSeed, S::WaitSeed),
    ),
    (
        "ComputeProofFailed",
        "SectorRetryComputeProof",
        "Committing",
        Here::Edge(S::ComputeProofFailed, E::RetryComputeProof, S::Committing),
    ),
    (
        "ComputeProofFailed",
        "SectorSealPreCommit1Failed",
        "SealPreCommit1Failed",
        Here::Edge(S::ComputeProofFailed, E::SealPreCommitFailed, S::SealFailed),
    ),
    (
        "CommitFailed",
        "SectorSealPreCommit1Failed",
        "SealPreCommit1Failed",
        Here::Edge(S::CommitFailed, E::SealPreCommitFailed, S::SealFailed),
    ),
    ("CommitFailed", "SectorRetryWaitSeed", "WaitSeed", Here::Edge(S::CommitFailed, E::RetryWaitSeed, S::WaitSeed)),
    (
        "CommitFailed",
        "SectorRetryComputeProof",
        "Committing",
        Here::Edge(S::CommitFailed, E::RetryComputeProof, S::Committing),
    ),
    (
        "CommitFailed",
        "SectorRetryInvalidProof",
        "Committing",
        Here::Edge(S::CommitFailed, E::RetryInvalidProof, S::Committing),
    ),
    (
        "CommitFailed",
        "SectorRetryPreCommitWait",
        "PreCommitWait",
        Here::Edge(S::CommitFailed, E::RetryWaitSeed, S::WaitSeed),
    ),
    (
        "CommitFailed",
        "SectorRetryPreCommit",
        "PreCommitting",
        Here::Edge(S::CommitFailed, E::RetryPreCommit, S::PreCommitting),
    ),
    (
        "CommitFailed",
        "SectorChainPreCommitFailed",
        "PreCommitFailed",
        Here::Not("PreCommitting asks the chain all that PreCommitFailed asks"),
    ),
    (
        "CommitFailed",
        "SectorRetryCommitWait",
        "CommitWait",
        Here::Edge(S::CommitFailed, E::RetryCommitWait, S::CommitWait),
    ),
    (
        "CommitFailed",
        "SectorRetrySubmitCommit",
        "SubmitCommit",
        Here::Edge(S::CommitFailed, E::RetrySubmitCommit, S::Committing),
    ),
    (
        "FinalizeFailed",
        "SectorRetryFinalize",
        "FinalizeSector",
        Here::Edge(S::FinalizeSector, E::AttemptFailed, S::FinalizeSector),
    ),
    ("Terminating", "SectorTerminating", "TerminateWait", Here::Edge(S::Terminating, E::TerminateSent, S::Terminating)),
    (
        "Terminating",
        "SectorTerminateFailed",
        "TerminateFailed",
        Here::Edge(S::Terminating, E::TerminateFailed, S::Terminating),
    ),
    (
        "TerminateWait",
        "SectorTerminated",
        "TerminateFinality",
        Here::Edge(S::Terminating, E::Terminated, S::Terminating),
    ),
    (
        "TerminateWait",
        "SectorTerminateFailed",
        "TerminateFailed",
        Here::Edge(S::Terminating, E::TerminateFailed, S::Terminating),
    ),
    (
        "TerminateFinality",
        "SectorTerminateFailed",
        "TerminateFailed",
        Here::Edge(S::Terminating, E::TerminateReverted, S::Terminating),
    ),
    ("TerminateFinality", "SectorRemove", "Removing", Here::Edge(S::Terminating, E::RemoveAsked, S::Removing)),
    ("Removing", "SectorRemoved", "Removed", Here::Edge(S::Removing, E::RemoveDone, S::Removed)),
    ("Removing", "SectorRemoveFailed", "RemoveFailed", Here::Edge(S::Removing, E::AttemptFailed, S::Removing)),
    ("any", "SectorTerminate", "Terminating", Here::Edge(S::Proving, E::TerminateAsked, S::Terminating)),
    ("any", "SectorRemove", "Removing", Here::Edge(S::FailedUnrecoverable, E::RemoveAsked, S::Removing)),
    (
        "any",
        "SectorForceState",
        "the given one",
        Here::Not("StateForced leads to what the record can be, see `operator`"),
    ),
    ("any", "SectorRestart", "the same", Here::Not("every turn looks anew, so there is nothing to restart")),
    (
        "any",
        "SectorFatalError",
        "the same",
        Here::Not("a failure that is not the sector's is AttemptFailed, with a pause"),
    ),
];

const EARLY: &str = "optional there; a cache is trimmed after finality only";

/// What is here for an edge of another table.
#[derive(Debug, Clone, Copy)]
enum Here {
    /// This edge.
    Edge(State, EventKind, State),
    /// None, for this reason.
    Not(&'static str),
}

// matrix: G5
#[test]
fn every_edge_that_sealing_needs_today_is_here_or_has_a_reason() {
    let mut seen = BTreeSet::new();
    for (state, event, to, here) in TODAY {
        assert!(seen.insert((state, event)), "{state} {event} twice");
        match here {
            Here::Edge(from, kind, next) => assert!(EDGES.contains(&(*from, *kind, *next)), "{state} {event} {to}"),
            Here::Not(why) => assert!(!why.is_empty()),
        }
    }
    // and what the other table does not have is listed with its reason as beyond the classic one
    let edge = |here: &Here| if let Here::Edge(from, kind, to) = here { Some((*from, *kind, *to)) } else { None };
    let theirs: BTreeSet<_> = TODAY.iter().filter_map(|(_, _, _, here)| edge(here)).collect();
    let known: BTreeSet<_> = CLASSIC.iter().chain(BEYOND.iter().flat_map(|(_, edges)| *edges)).copied().collect();
    let unexplained: Vec<_> = EDGES.iter().filter(|edge| !theirs.contains(edge) && !known.contains(edge)).collect();
    assert_eq!(unexplained, Vec::<&Edge>::new());
}
