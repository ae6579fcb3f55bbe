//! Lotus's words for ours: sector states, events of a sector's log, tasks of workers. Dashboards colour and count by them.
//! Pure.

use crate::sector::{EventKind, Stage, State};

/// Lotus's name of a state. One of ours that stands for several of Lotus's gets the one in which a sector is longest.
pub const fn state(state: State) -> &'static str {
    match state {
        State::Proving => "Proving",
        State::Packing => "Packing",
        State::PreCommit1 => "PreCommit1",
        State::PreCommit2 => "PreCommit2",
        State::PreCommitting => "SubmitPreCommitBatch",
        State::WaitSeed => "WaitSeed",
        State::Committing => "Committing",
        State::CommitWait => "CommitAggregateWait",
        State::FinalizeSector => "FinalizeSector",
        State::FailedUnrecoverable => "FailedUnrecoverable",
        State::SealFailed => "SealPreCommit1Failed",
        State::PreCommitFailed => "PreCommitFailed",
        State::ComputeProofFailed => "ComputeProofFailed",
        State::CommitFailed => "CommitFailed",
        State::PackingFailed => "PackingFailed",
        State::Faulty => "Faulty",
        State::FaultReported => "FaultReported",
        State::FaultedFinal => "FaultedFinal",
        State::Terminating => "Terminating",
        State::Removing => "Removing",
        State::Removed => "Removed",
    }
}

/// The first line of every log: how tools know a sector without deals.
pub const STARTED: &str = "event;sealing.SectorStartCC";

/// The kind of a line of a sector's log: Lotus's event where there is one, else ours under our own name. An attempt that
/// failed and changed nothing is an error in Lotus's log, not an event.
pub const fn kind(event: EventKind) -> &'static str {
    match event {
        EventKind::Packed => "event;sealing.SectorPacked",
        EventKind::Imported => "event;seald.Imported",
        EventKind::PackingFailed => "event;seald.PackingFailed",
        EventKind::TicketDrawn => "event;sealing.SectorTicket",
        EventKind::TicketExpired => "event;sealing.SectorOldTicket",
        EventKind::PreCommit1Done => "event;sealing.SectorPreCommit1",
        EventKind::PreCommit2Done => "event;sealing.SectorPreCommit2",
        EventKind::AttemptFailed => "error;seald.AttemptFailed",
        EventKind::SealPreCommitFailed => "event;sealing.SectorSealPreCommit1Failed",
        EventKind::PreCommitted => "event;sealing.SectorPreCommitBatchSent",
        EventKind::PreCommitLanded => "event;sealing.SectorPreCommitLanded",
        EventKind::PreCommitReverted => "event;seald.PreCommitReverted",
        EventKind::ChainPreCommitFailed => "event;sealing.SectorChainPreCommitFailed",
        EventKind::SeedReady => "event;sealing.SectorSeedReady",
        EventKind::ProofReady => "event;sealing.SectorCommitted",
        EventKind::ComputeProofFailed => "event;sealing.SectorComputeProofFailed",
        EventKind::Committed => "event;sealing.SectorCommitAggregateSent",
        EventKind::CommitFailed => "event;sealing.SectorCommitFailed",
        EventKind::Proving => "event;sealing.SectorProving",
        EventKind::CommitReverted => "event;seald.CommitReverted",
        EventKind::Finalized => "event;sealing.SectorFinalized",
        EventKind::RetrySeal => "event;sealing.SectorRetrySealPreCommit1",
        EventKind::RetryPreCommit => "event;sealing.SectorRetryPreCommit",
        EventKind::RetryWaitSeed => "event;sealing.SectorRetryWaitSeed",
        EventKind::RetryComputeProof => "event;sealing.SectorRetryComputeProof",
        EventKind::RetryInvalidProof => "event;sealing.SectorRetryInvalidProof",
        EventKind::RetrySubmitCommit => "event;sealing.SectorRetrySubmitCommit",
        EventKind::RetryCommitWait => "event;sealing.SectorRetryCommitWait",
        EventKind::Faulty => "event;sealing.SectorFaulty",
        EventKind::FaultReported => "event;sealing.SectorFaultReported",
        EventKind::Recovered => "event;seald.Recovered",
        EventKind::FaultedFinal => "event;sealing.SectorFaultedFinal",
        EventKind::GivenUp => "event;seald.GivenUp",
        EventKind::RetryAsked => "event;seald.RetryAsked",
        EventKind::TerminateAsked => "event;sealing.SectorTerminate",
        EventKind::TerminateSent => "event;sealing.SectorTerminating",
        EventKind::Terminated => "event;sealing.SectorTerminated",
        EventKind::TerminateReverted => "event;seald.TerminateReverted",
        EventKind::TerminateFailed => "event;sealing.SectorTerminateFailed",
        EventKind::RemoveAsked => "event;sealing.SectorRemove",
        EventKind::RemoveDone => "event;sealing.SectorRemoved",
        EventKind::StateForced => "event;sealing.SectorForceState",
    }
}

/// What Lotus calls the tasks of a stage. It removes files without a task: that one has a name of ours.
pub const fn tasks(stage: Stage) -> &'static [&'static str] {
    match stage {
        Stage::PreCommit1 => &["seal/v0/addpiece", "seal/v0/precommit/1"],
        Stage::PreCommit2 => &["seal/v0/precommit/2"],
        Stage::Commit => &["seal/v0/commit/1", "seal/v0/commit/2"],
        Stage::Finalize => &["seal/v0/finalize"],
        Stage::Remove => &["seald/v0/remove"],
    }
}

/// What Lotus calls a stage that runs or waits: its longest task.
pub const fn task(stage: Stage) -> &'static str {
    match stage {
        Stage::PreCommit1 => "seal/v0/precommit/1",
        Stage::PreCommit2 => "seal/v0/precommit/2",
        Stage::Commit => "seal/v0/commit/2",
        Stage::Finalize => "seal/v0/finalize",
        Stage::Remove => "seald/v0/remove",
    }
}

/// The stage that a sector in this state waits for when it waits for a worker; `None` where no worker has anything to do.
pub const fn stage_of(state: State) -> Option<Stage> {
    match state {
        State::PreCommit1 => Some(Stage::PreCommit1),
        State::PreCommit2 => Some(Stage::PreCommit2),
        State::Committing => Some(Stage::Commit),
        State::FinalizeSector => Some(Stage::Finalize),
        State::Removing => Some(Stage::Remove),
        State::Proving
        | State::Packing
        | State::PreCommitting
        | State::WaitSeed
        | State::CommitWait
        | State::FailedUnrecoverable
        | State::SealFailed
        | State::PreCommitFailed
        | State::ComputeProofFailed
        | State::CommitFailed
        | State::PackingFailed
        | State::Faulty
        | State::FaultReported
        | State::FaultedFinal
        | State::Terminating
        | State::Removed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every state that Lotus 1.36 has for sectors without deals. Source: storage-miner-api 3.
    const LOTUS: &[&str] = &[
        "Packing",
        "GetTicket",
        "PreCommit1",
        "PreCommit2",
        "SubmitPreCommitBatch",
        "PreCommitBatchWait",
        "WaitSeed",
        "Committing",
        "SubmitCommitAggregate",
        "CommitAggregateWait",
        "FinalizeSector",
        "Proving",
        "CommitFinalize",
        "FailedUnrecoverable",
        "SealPreCommit1Failed",
        "SealPreCommit2Failed",
        "PreCommitFailed",
        "ComputeProofFailed",
        "CommitFailed",
        "PackingFailed",
        "FinalizeFailed",
        "Faulty",
        "FaultReported",
        "FaultedFinal",
        "Terminating",
        "TerminateWait",
        "TerminateFinality",
        "TerminateFailed",
        "Removing",
        "RemoveFailed",
        "Removed",
    ];

    #[test]
    fn every_state_has_a_name_that_lotus_knows_and_no_two_share_one() {
        let names: BTreeSet<_> = State::ALL.iter().map(|one| state(*one)).collect();
        assert_eq!(names.len(), State::ALL.len());
        let strange: Vec<_> = names.iter().filter(|name| !LOTUS.contains(name)).collect();
        assert!(strange.is_empty(), "{strange:?}");
    }

    #[test]
    fn kinds_of_the_log_have_the_form_that_tools_split_at() {
        for event in EventKind::ALL {
            let (what, name) = kind(*event).split_once(';').unwrap();
            assert!(["event", "error"].contains(&what) && name.contains('.'), "{event:?}");
        }
        // what exporters look for by name
        assert_eq!(kind(EventKind::Packed), "event;sealing.SectorPacked");
        assert_eq!(kind(EventKind::Finalized), "event;sealing.SectorFinalized");
        assert_eq!(kind(EventKind::Proving), "event;sealing.SectorProving");
    }
}
