//! What daemon and worker say to each other: one JSON object a line, over the socket that is the worker's stdin.
//!
//! Control never travels on stdout or stderr (proof libraries print there). The worker speaks first, with
//! [`Report::Hello`]; the daemon answers with [`Order`]s. A line that does not parse ends a worker that has no job.
//!
//! A worker that outlives its daemon says hello again to each one that connects. Fields that later versions add to the
//! hello have defaults, so that daemon and worker of two versions can at least tell who they are.

use crate::{
    sector::{Class, Sealed, Stage},
    units::{Bytes, Hash32, MinerId, SealProof, SectorNumber, SectorSize, SlotName, UnixMillis},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::PathBuf;

/// Raised whenever a message changes its meaning.
pub const PROTOCOL: u32 = 3;

/// The protocol of a worker that says of its job what this version has no words for.
pub const FOREIGN: u32 = 0;

/// Daemon to worker.
#[expect(clippy::large_enum_variant, reason = "one at a time, on its way")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Run this job. At most one runs at a time; a second is answered with a failure of class `Worker`.
    Run {
        /// Echoed in every report about it; unique over the lives of all daemons.
        task: u64,
        /// What to do.
        job: Job,
        /// The daemon's own, told back to the next one that connects.
        #[serde(default)]
        note: String,
        /// Until when it may run; the daemon judges it, and one that connects later is told.
        #[serde(default)]
        deadline: UnixMillis,
    },
    /// The end of this job is recorded: it need not be told to another daemon.
    Ack {
        /// Which job.
        task: u64,
    },
    /// Finish nothing, leave at once. For a worker that ends with its daemon a closed socket means the same.
    Leave,
}

/// Where the files of one sector are. All below one repo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorFiles {
    /// `<repo>/sealed/s-t0…`: the replica.
    pub sealed: PathBuf,
    /// `<repo>/cache/s-t0…/`: layers, trees, `p_aux`.
    pub cache: PathBuf,
    /// `<repo>/work/s-t0…/`: seald's own: phase outputs and what they belong to.
    pub work: PathBuf,
}

/// Who and what is being sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorRef {
    /// The miner.
    pub miner: MinerId,
    /// The sector.
    pub number: SectorNumber,
    /// The seal proof type.
    pub proof: SealProof,
    /// The ticket the replica is bound to.
    pub ticket: Hash32,
}

/// A sector with its proof, for an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// The sector.
    pub number: SectorNumber,
    /// Commitment to the replica.
    pub comm_r: Hash32,
    /// The ticket.
    pub ticket: Hash32,
    /// The interactive seed.
    pub seed: Hash32,
    /// Its proof, hexadecimal.
    pub porep: String,
}

/// One unit of work for a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// Layers and tree-d from zeros; resumes when the work folder says they belong to the same sector and ticket.
    PreCommit1 {
        /// The sector.
        sector: SectorRef,
        /// Its files.
        files: SectorFiles,
        /// Wipe what is there first: the bytes were found wrong.
        fresh: bool,
    },
    /// Trees and replica. Restores the unencoded sealed file first, so that it can be repeated.
    PreCommit2 {
        /// The sector.
        sector: SectorRef,
        /// Its files.
        files: SectorFiles,
    },
    /// Vanilla proof (kept in the work folder), SNARK, local verification.
    Commit {
        /// The sector.
        sector: SectorRef,
        /// Its files.
        files: SectorFiles,
        /// What PreCommit2 gave.
        sealed: Sealed,
        /// The interactive seed.
        seed: Hash32,
    },
    /// Trims the cache; copies replica and cache to `to` when it is another repo, verifies, then removes the source.
    Finalize {
        /// The sector.
        sector: SectorRef,
        /// Where its files are.
        files: SectorFiles,
        /// Where they shall be; equal to `files` when nothing moves.
        to: SectorFiles,
    },
    /// One proof for the proofs of several sectors, each of which is verified first.
    Aggregate {
        /// The miner.
        miner: MinerId,
        /// The proof type of all of them.
        proof: SealProof,
        /// The sectors in ascending order, the order of the message.
        sectors: Vec<Proven>,
    },
    /// Removes whatever one sector has in these places, of any ticket, and where a move of it was going to.
    Remove {
        /// The miner.
        miner: MinerId,
        /// The sector.
        number: SectorNumber,
        /// Every place where it may have files.
        files: Vec<SectorFiles>,
    },
    /// Makes the Groth parameters of a sector size available: fetched from `mirror`, or generated for test sizes.
    Params {
        /// The sector size.
        size: SectorSize,
        /// Base address of published parameter files, when one is declared.
        mirror: Option<String>,
    },
}

impl Job {
    /// What the job is about.
    pub fn about(&self) -> About {
        let of = |stage, sector: &SectorRef, seed| About {
            stage: Some(stage),
            sector: Some(sector.number),
            ticket: Some(sector.ticket),
            seed,
        };
        match self {
            Self::PreCommit1 { sector, .. } => of(Stage::PreCommit1, sector, None),
            Self::PreCommit2 { sector, .. } => of(Stage::PreCommit2, sector, None),
            Self::Commit { sector, seed, .. } => of(Stage::Commit, sector, Some(*seed)),
            Self::Finalize { sector, .. } => of(Stage::Finalize, sector, None),
            Self::Remove { number, .. } => {
                About { stage: Some(Stage::Remove), sector: Some(*number), ticket: None, seed: None }
            }
            Self::Aggregate { .. } | Self::Params { .. } => {
                About { stage: None, sector: None, ticket: None, seed: None }
            }
        }
    }
}

/// What a job is about. A worker says it with the end of a job, so that no result is ever taken for that of another
/// sector or of another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The sealing stage; none for parameters.
    pub stage: Option<Stage>,
    /// The sector; none for parameters.
    pub sector: Option<SectorNumber>,
    /// The ticket of its replica.
    pub ticket: Option<Hash32>,
    /// The seed of its proof.
    pub seed: Option<Hash32>,
}

/// Who a worker is and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Orders are given only when it equals [`PROTOCOL`].
    pub protocol: u32,
    /// The program's version.
    pub version: String,
    /// `real` or `simulated`: which prover this worker runs.
    pub prover: String,
    /// Which process it is; none from a worker that ends with its daemon.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// What it was started as, in the words of whoever started it.
    #[serde(default)]
    pub spec: Option<Value>,
    /// What keeps it from writing elsewhere and from the network, or why nothing does.
    #[serde(default)]
    pub sandbox: Option<String>,
    /// The job it has.
    #[serde(default)]
    pub running: Option<Running>,
    /// A job whose end nobody has acknowledged, and how it ended.
    #[serde(default)]
    pub ended: Option<(Running, Box<Report>)>,
}

impl Hello {
    /// A hello of another version, of whose jobs cannot be said what they are: of one that is under way only what is
    /// understood, and of an end nothing. What such a job gave is in its sector's folder.
    fn of_another_version(line: &str) -> Option<Self> {
        let mut told: Value = serde_json::from_str(line).ok()?;
        let said = told.as_object_mut()?;
        let running = said.remove("running").filter(|running| !running.is_null());
        said.remove("ended");
        let Ok(Report::Hello(hello)) = serde_json::from_value(told) else { return None };
        Some(Self { protocol: FOREIGN, running: running.as_ref().map(Running::understood), ..*hello })
    }
}

/// Which process a worker is: no two in the life of a machine say the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its slot.
    pub slot: SlotName,
    /// Which of the slot's processes.
    pub instance: u32,
    /// Its process id, which may be another's later.
    pub pid: u32,
    /// When the process started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// Which start of the machine.
    pub boot: String,
    /// The name of its exit record, when the service manager gave it one.
    pub invocation: Option<String>,
}

/// A job that a worker has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its number.
    pub task: u64,
    /// What it is about.
    pub about: About,
    /// What the daemon that gave it wanted to be told back.
    pub note: String,
    /// When it was given.
    pub started: UnixMillis,
    /// Until when it may run.
    pub deadline: UnixMillis,
}

impl Running {
    /// What is understood of a job: its number, and above all its sector, which nobody else may work at meanwhile.
    fn understood(told: &Value) -> Self {
        fn one<T: DeserializeOwned>(told: Option<&Value>, name: &str) -> Option<T> {
            serde_json::from_value(told?.get(name)?.clone()).ok()
        }
        let (told, about) = (Some(told), told.get("about"));
        Self {
            task: one(told, "task").unwrap_or_default(),
            about: About {
                stage: one(about, "stage"),
                sector: one(about, "sector"),
                ticket: one(about, "ticket"),
                seed: one(about, "seed"),
            },
            note: one(told, "note").unwrap_or_default(),
            started: one(told, "started").unwrap_or_default(),
            // not to be ended for what is not understood
            deadline: one(told, "deadline").unwrap_or(UnixMillis::new(i64::MAX)),
        }
    }
}

impl Report {
    /// Reads a line of a worker. A hello of any version is understood as far as that goes.
    pub fn read(line: &str) -> Option<Self> {
        let foreign = || Some(Self::Hello(Box::new(Hello::of_another_version(line)?)));
        serde_json::from_str(line).ok().or_else(foreign)
    }
}

/// Worker to daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// First line of a worker on each connection.
    Hello(Box<Hello>),
    /// Sent every second by a thread of its own: the process lives.
    Heartbeat,
    /// How far the running job is.
    Progress {
        /// Which job.
        task: u64,
        /// What it is doing, such as `layer 1 of 2` or `SNARK`.
        step: String,
        /// Work done, in thousandths of the whole job.
        permille: u16,
    },
    /// The job ended well.
    Done {
        /// Which job.
        task: u64,
        /// What that job is about.
        about: About,
        /// What it gave.
        outcome: Outcome,
        /// The most memory that the worker had to itself meanwhile, when it could be measured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peak: Option<Bytes>,
        /// How long it took, milliseconds, when all of its work was done: not when it went on from what an earlier
        /// attempt had left, or found everything there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took_ms: Option<u64>,
    },
    /// The job ended badly.
    Failed {
        /// Which job.
        task: u64,
        /// What that job is about.
        about: About,
        /// What kind of thing failed.
        class: Class,
        /// The error with its causes.
        error: String,
        /// The worker takes no other job and ends by itself: a library panicked, and its state is good for nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        leaving: bool,
    },
}

/// What a job gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Layers and tree-d are on disk and synced.
    PreCommit1,
    /// Replica and trees are on disk and synced.
    PreCommit2 {
        /// The commitments.
        sealed: Sealed,
    },
    /// A proof that verified.
    Commit {
        /// Proof bytes, hexadecimal.
        porep: String,
    },
    /// Trimmed and in place.
    Finalize,
    /// What came of the aggregate.
    Aggregate {
        /// An aggregate, or why there is none.
        aggregated: Aggregated,
    },
    /// Nothing of the sector is left.
    Remove,
    /// Parameters are there and checked.
    Params,
}

/// What came of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregated {
    /// One that verified: its bytes, hexadecimal.
    Proof(String),
    /// None: the proofs of these sectors do not hold.
    Wrong(Vec<SectorNumber>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are a contract between two versions of the program.
    #[test]
    fn messages_are_one_line_of_json_and_read_back() {
        let job = Job::Params { size: SectorSize::KiB2, mirror: None };
        let about = job.about();
        let order = Order::Run { task: 3, job, note: "mine".to_owned(), deadline: UnixMillis::new(9) };
        let job = r#"{"job":"params","size":"2KiB","mirror":null}"#;
        let text = format!(r#"{{"order":"run","task":3,"job":{job},"note":"mine","deadline":9}}"#);
        assert_eq!(serde_json::to_string(&order).unwrap(), text);
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
        assert_eq!(serde_json::to_string(&Order::Ack { task: 3 }).unwrap(), r#"{"order":"ack","task":3}"#);

        let error = "two\nlines".to_owned();
        let failed = Report::Failed { task: 3, about, class: Class::Resource, error: error.clone(), leaving: false };
        let nothing = r#"{"stage":null,"sector":null,"ticket":null,"seed":null}"#;
        let text =
            format!(r#"{{"report":"failed","task":3,"about":{nothing},"class":"resource","error":"two\nlines"}}"#);
        assert_eq!(serde_json::to_string(&failed).unwrap(), text);
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), failed);
        let last = Report::Failed { task: 3, about, class: Class::Resource, error, leaving: true };
        let text = text.replacen("lines\"}", "lines\",\"leaving\":true}", 1);
        assert_eq!(serde_json::to_string(&last).unwrap(), text);

        let outcome = Outcome::Commit { porep: "c0".to_owned() };
        let of = About { stage: Some(Stage::Commit), ..about };
        let done = Report::Done { task: 3, about: of, outcome, peak: None, took_ms: None };
        let about = nothing.replacen("null", "\"commit\"", 1);
        let text =
            format!(r#"{{"report":"done","task":3,"about":{about},"outcome":{{"outcome":"commit","porep":"c0"}}}}"#);
        assert_eq!(serde_json::to_string(&done).unwrap(), text);
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), done);
        assert!(serde_json::from_str::<Report>(r#"{"report":"gone"}"#).is_err());
    }

    /// A worker of an older version says less, one of a newer version more.
    #[test]
    fn a_hello_of_another_version_is_read() {
        let least = r#"{"report":"hello","protocol":2,"version":"0","prover":"simulated"}"#;
        let Report::Hello(hello) = serde_json::from_str(least).unwrap() else { panic!("no hello") };
        assert_eq!((hello.protocol, hello.identity, hello.running), (2, None, None));
        let about = Job::Params { size: SectorSize::KiB2, mirror: None }.about();
        let running =
            Running { task: 1, about, note: "n".to_owned(), started: UnixMillis::new(1), deadline: UnixMillis::new(2) };
        let failed = Report::Failed { task: 1, about, class: Class::Worker, error: "e".to_owned(), leaving: false };
        let full = Hello {
            protocol: 4,
            version: "9".to_owned(),
            prover: "real".to_owned(),
            identity: Some(Identity {
                slot: "cpu".parse().unwrap(),
                instance: 1,
                pid: 7,
                start_ticks: 8,
                boot: "b".to_owned(),
                invocation: None,
            }),
            spec: Some(serde_json::json!({ "unknown": true })),
            sandbox: None,
            running: Some(running.clone()),
            ended: Some((running, Box::new(failed))),
        };
        let mut text = serde_json::to_value(Report::Hello(Box::new(full.clone()))).unwrap();
        text["more"] = "that is not known here".into();
        assert_eq!(Report::read(&text.to_string()).unwrap(), Report::Hello(Box::new(full.clone())));

        // words that are not known here: its job is known by its sector, the end of one is not
        let mut text = text.clone();
        text["running"]["about"] = serde_json::json!({ "stage": "window_post", "sector": 8, "partition": 1 });
        text["ended"][1]["class"] = "weather".into();
        let Some(Report::Hello(hello)) = Report::read(&text.to_string()) else { panic!("{text}") };
        let job = hello.running.unwrap();
        assert_eq!((hello.protocol, hello.identity, hello.ended), (FOREIGN, full.identity.clone(), None));
        assert_eq!((job.task, job.about.stage, job.note.as_str()), (1, None, "n"));
        assert_eq!(job.about.sector, Some(SectorNumber::try_from(8).unwrap()));
        text["running"] = Value::Null;
        let Some(Report::Hello(hello)) = Report::read(&text.to_string()) else { panic!("{text}") };
        assert_eq!((hello.protocol, hello.running), (FOREIGN, None));
        assert_eq!(Report::read(r#"{"report":"gone"}"#), None);
    }
}
