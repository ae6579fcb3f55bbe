//! The workers and the files of sectors: stages take time, fail, and what is on disk survives their end.

use super::{dice::Dice, node::MINER_SIZE};
use crate::{
    devnet::address::blake2b,
    plan::Assignee,
    proofs::{PoRep, simulated, zero_comm_d},
    sector::{Attempt, Class, Sealed, Stage},
    units::{Hash32, MinerId, RepoName, SectorNumber, UnixMillis, to_hex},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

/// A stage that a worker has.
#[derive(Debug, Clone)]
pub struct Task {
    pub number: SectorNumber,
    pub stage: Stage,
    pub worker: Assignee,
    pub repo: RepoName,
    pub job: Job,
    /// What the sector was doing when it was given.
    pub attempt: Attempt,
    pub due: UnixMillis,
}

/// What a worker is told.
#[derive(Debug, Clone)]
pub enum Job {
    PreCommit1 { ticket: Hash32, fresh: bool },
    PreCommit2 { ticket: Hash32 },
    Commit { ticket: Hash32, sealed: Sealed, seed: Hash32 },
    Finalize,
    Remove,
}

/// What a worker says.
#[derive(Debug, Clone)]
pub enum Outcome {
    Layers,
    Replica(Sealed),
    Proof(String),
    Trimmed,
    Removed,
}

/// What lies on disk of one sector.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub layers: Option<Hash32>,
    pub replica: Option<Hash32>,
    pub proof: Option<(Hash32, Hash32)>,
    pub trimmed: bool,
}

/// How the work goes: longest time of a stage, and how often one fails, of a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Luck {
    pub slowest_ms: i64,
    pub fails: u64,
    /// One of these failures is of the sector's own bytes.
    pub damages: u64,
}

pub fn comm_r(number: SectorNumber, ticket: Hash32) -> Hash32 {
    let mut hash = blake2b(&[b"simulated replica", &number.as_u64().to_be_bytes(), &ticket.0]);
    // a commitment is a field element: below 2^254, little-endian
    hash.0[31] &= 0x3f;
    hash
}

fn comm_d() -> Hash32 {
    static ZEROS: OnceLock<Hash32> = OnceLock::new();
    *ZEROS.get_or_init(|| zero_comm_d(MINER_SIZE))
}

/// All files, and how often each stage was really done.
#[derive(Debug, Clone, Default)]
pub struct Workshop {
    pub files: BTreeMap<SectorNumber, Files>,
    pub done: BTreeMap<(SectorNumber, Stage), u32>,
    /// Sectors whose next proof is wrong, and is said to be right.
    pub lies: BTreeSet<SectorNumber>,
}

impl Workshop {
    /// Whether the stage's result is there already: then it takes no time.
    pub fn has(&self, number: SectorNumber, job: &Job) -> bool {
        let Some(files) = self.files.get(&number) else { return false };
        match job {
            Job::PreCommit1 { ticket, fresh } => files.layers == Some(*ticket) && !fresh,
            Job::PreCommit2 { ticket } => files.replica == Some(*ticket),
            Job::Commit { ticket, seed, .. } => files.proof == Some((*ticket, *seed)),
            Job::Finalize => files.trimmed,
            Job::Remove => false,
        }
    }

    /// The stage, from its files to its files.
    ///
    /// # Errors
    /// The kind of failure and its words; `Err(Err(_))` is a law that was broken.
    pub fn run(
        &mut self,
        miner: MinerId,
        task: &Task,
        luck: Luck,
        dice: &mut Dice,
    ) -> Result<Outcome, Result<(Class, String), String>> {
        let number = task.number;
        let files = self.files.entry(number).or_default();
        if files.trimmed && !matches!(task.job, Job::Finalize | Job::Remove) {
            return Err(Err(format!("{:?} was asked for over the finished sector {number}", task.stage)));
        }
        if dice.chance(luck.fails) {
            let class = if dice.chance(luck.damages) {
                Class::Data
            } else {
                *dice.pick(&[Class::Resource, Class::Environment, Class::Worker])
            };
            return Err(Ok((class, "the simulated worker failed".to_owned())));
        }
        let damaged = |why: &str| Err(Ok((Class::Data, why.to_owned())));
        let outcome = match &task.job {
            Job::PreCommit1 { ticket, fresh } => {
                if *fresh || files.layers != Some(*ticket) {
                    *files = Files::default();
                }
                files.layers = Some(*ticket);
                Outcome::Layers
            }
            Job::PreCommit2 { ticket } => {
                if files.layers != Some(*ticket) {
                    return damaged("the layers are not of this ticket");
                }
                files.replica = Some(*ticket);
                Outcome::Replica(Sealed { comm_r: comm_r(number, *ticket), comm_d: comm_d() })
            }
            Job::Commit { ticket, sealed, seed } => {
                if files.replica != Some(*ticket) || sealed.comm_r != comm_r(number, *ticket) {
                    return damaged("the replica does not belong to these commitments");
                }
                files.proof = Some((*ticket, *seed));
                let proof = MINER_SIZE.seal_proof();
                let (comm_r, comm_d) = (sealed.comm_r, sealed.comm_d);
                let statement = PoRep { miner, number, proof, comm_r, comm_d, ticket: *ticket, seed: *seed };
                if self.lies.remove(&number) {
                    files.proof = None;
                    return Ok(Outcome::Proof("00".repeat(192)));
                }
                Outcome::Proof(to_hex(&simulated::porep(&statement)))
            }
            Job::Finalize => {
                files.trimmed = true;
                Outcome::Trimmed
            }
            Job::Remove => {
                self.files.remove(&number);
                Outcome::Removed
            }
        };
        *self.done.entry((number, task.stage)).or_default() += 1;
        Ok(outcome)
    }
}
