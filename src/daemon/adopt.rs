//! Workers that an earlier daemon started: what they have is known again before anything is planned.
//!
//! Adopt, then plan, then start. A stage that is under way makes its sector busy, so that nobody else gets it. A job that
//! cannot be placed (an aggregate, a sector that is gone) is left to finish, and what comes of it is dropped: it is
//! cheap, or lies in the sector's folder, where the same stage finds it.

use super::world::{Task, World};
use crate::{
    plan::Assignee,
    sector::Attempt,
    supervisor::Adopted,
    units::{RepoName, UnixMillis},
    worker::protocol::Running,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a later daemon must know of a stage, besides what the job itself says. The worker keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    /// The repo the result is in.
    pub repo: RepoName,
    /// The sector's stay in its state that the stage works for.
    pub attempt: Attempt,
}

impl Note {
    /// As a worker keeps it.
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl World {
    /// Takes over the workers of earlier daemons.
    pub async fn adopt_workers(&mut self, now: UnixMillis) {
        let usual = self.durations.iter().map(|(stage, ms)| (*stage, Duration::from_millis(*ms))).collect();
        for Adopted { worker: id, job } in self.supervisor.adopt(&usual, now).await {
            let worker = Assignee { slot: id.slot.clone(), instance: id.instance };
            if let Some((id, task)) = job.and_then(|job| placed(&job, &worker)) {
                tracing::info!(sector = %task.number, stage = task.stage.as_str(), slot = %worker, "stage goes on: sector {} {} on {worker}", task.number, task.stage.as_str());
                self.tasks.insert(id, task);
            }
            if let Some(spec) = self.supervisor.spec_of(&id) {
                self.machine.remember(&worker, spec);
            }
            // one that is not wanted any more is asked to leave by the first turn, once its job is done
            self.started.insert(worker);
        }
    }
}

/// The stage of a sector that a job is.
fn placed(job: &Running, worker: &Assignee) -> Option<(u64, Task)> {
    let Running { task, about, note, started, deadline: _ } = job;
    let Note { repo, attempt } = serde_json::from_str(note).ok()?;
    let task_of_sector =
        Task { number: about.sector?, stage: about.stage?, worker: worker.clone(), repo, attempt, started: *started };
    Some((*task, task_of_sector))
}
