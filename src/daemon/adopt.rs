//! Workers that an earlier daemon started: what they have is known again before anything is planned.
//!
//! Adopt, then plan, then start. A stage that is under way makes its sector busy, an aggregation its batch, so that nobody
//! else gets them. A job that cannot be placed (of another version, or of a sector that is gone) is left to finish, and
//! what comes of it is dropped: it lies in the sector's folder, where the same stage finds it.

use super::world::{Task, World};
use crate::{
    plan::Assignee,
    sector::{Attempt, MessageId, Stage},
    supervisor::Adopted,
    units::{Hash32, RepoName, SectorNumber, UnixMillis},
    worker::protocol::Running,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

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

/// What a later daemon must know of an aggregation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AggregateNote {
    /// The batch it is for.
    pub batch: MessageId,
    /// Of which proofs it is made: sectors with their seeds.
    pub of: Vec<(SectorNumber, Hash32)>,
}

impl AggregateNote {
    /// As a worker keeps it.
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl World {
    /// Takes over the workers of earlier daemons.
    pub async fn adopt_workers(&mut self, now: UnixMillis) {
        let usual = self.usual_times();
        let adopted = self.supervisor.adopt(&usual, now).await;
        self.took_over(adopted);
    }

    /// Takes over those that could not be had at the start and can now.
    pub async fn adopt_late(&mut self, now: UnixMillis) {
        let usual = self.usual_times();
        let adopted = self.supervisor.adopt_late(&usual, now).await;
        self.took_over(adopted);
    }

    fn usual_times(&self) -> BTreeMap<Stage, Duration> {
        self.durations.iter().map(|(stage, ms)| (*stage, Duration::from_millis(*ms))).collect()
    }

    fn took_over(&mut self, adopted: Vec<Adopted>) {
        for Adopted { worker: id, job } in adopted {
            let worker = Assignee { slot: id.slot.clone(), instance: id.instance };
            if let Some(job) = job {
                self.remember(&job, &worker);
            }
            if let Some(spec) = self.supervisor.spec_of(&id) {
                self.machine.remember(&worker, spec);
            }
            // one that is not wanted any more is asked to leave by the first turn, once its job is done
            self.started.insert(worker);
        }
    }

    /// Knows a job again that an earlier daemon gave.
    pub(super) fn remember(&mut self, job: &Running, worker: &Assignee) {
        if let Some((id, task)) = placed(job, worker) {
            tracing::info!(sector = %task.number, stage = task.stage.as_str(), slot = %worker, "stage goes on: sector {} {} on {worker}", task.number, task.stage.as_str());
            self.tasks.insert(id, task);
        } else if let Ok(AggregateNote { batch, of }) = serde_json::from_str(&job.note) {
            tracing::info!(message = %batch.0, sectors = of.len(), slot = %worker, "an aggregation goes on");
            self.handling.insert(batch.clone());
            self.aggregating.insert(job.task, (batch, of));
        } else if let Some(number) = job.about.sector {
            tracing::warn!(sector = %number, slot = %worker, "a job of another version of seald goes on");
            self.unplaced.insert(job.task, (number, worker.clone()));
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
