//! Workers in units of their own outlive the daemon, without systemd: what it does for them is little, and done here.
//!
//! It listens at a socket, starts `seald worker-start` for each connection with the connection as standard input, and
//! runs `seald worker-exit` when that has ended. The real one is tried by the package's tests.

use super::{
    proven::{assert_proven, assert_same_bytes},
    rig::{Kind, Rig, Run, slay},
};
use nix::unistd::Pid;
use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::{
            net::{UnixListener, UnixStream},
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A state that does not come about within this time is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service manager of one rig.
struct Units {
    places: Places,
    stopping: Arc<AtomicBool>,
    /// Whether the next unit that is killed was killed for memory.
    out_of_memory: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
    units: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

#[derive(Clone)]
struct Places {
    spawn: PathBuf,
    workers: PathBuf,
    exits: PathBuf,
}

impl Units {
    /// Begins to listen; daemons of the rig that start later find it.
    fn start(rig: &mut Rig) -> Self {
        let folder = rig.state().parent().unwrap().to_owned();
        let places =
            Places { spawn: folder.join("spawn.sock"), workers: folder.join("workers"), exits: folder.join("exits") };
        fs::create_dir(&places.workers).unwrap();
        for (name, place) in [
            ("SEALD_SPAWN_SOCKET", &places.spawn),
            ("SEALD_WORKERS_DIR", &places.workers),
            ("SEALD_EXITS_DIR", &places.exits),
        ] {
            rig.env.push((name.to_owned(), place.to_str().unwrap().to_owned()));
        }
        let listener = UnixListener::bind(&places.spawn).unwrap();
        let (stopping, out_of_memory) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let units = Arc::new(Mutex::new(Vec::new()));
        let thread = thread::spawn({
            let (stopping, out_of_memory, units) = (stopping.clone(), out_of_memory.clone(), units.clone());
            let places = places.clone();
            move || {
                for connection in listener.incoming().map(Result::unwrap) {
                    if stopping.load(Ordering::Relaxed) {
                        return;
                    }
                    let (places, out_of_memory) = (places.clone(), out_of_memory.clone());
                    let unit = thread::spawn(move || unit(connection, &places, &out_of_memory));
                    units.lock().unwrap().push(unit);
                }
            }
        });
        Self { places, stopping, out_of_memory, listener: Some(thread), units }
    }

    /// Ends all units, as `systemctl stop` of their slice does.
    fn stop(&mut self, rig: &Rig) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            drop(UnixStream::connect(&self.places.spawn));
            listener.join().unwrap();
        }
        rig.processes(Kind::Worker).into_iter().for_each(slay);
        self.units.lock().unwrap().drain(..).for_each(|unit| unit.join().unwrap());
    }
}

/// One unit from its start to its record.
fn unit(connection: UnixStream, places: &Places, out_of_memory: &AtomicBool) {
    let invocation = uuid::Uuid::new_v4().simple().to_string();
    let seald = |subcommand: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seald"));
        command.arg(subcommand).env_clear().env("INVOCATION_ID", &invocation).env("SEALD_EXITS_DIR", &places.exits);
        command
    };
    let mut start = seald("worker-start");
    // the journal
    let log = fs::File::options().create(true).append(true).open(places.workers.join("journal")).unwrap();
    start.stdin(OwnedFd::from(connection)).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
    let mut child = start.spawn().unwrap();
    // its copy of the connection
    drop(start);
    let (result, code, status) = in_words(child.wait().unwrap(), out_of_memory);
    let mut exit = seald("worker-exit");
    exit.env("SERVICE_RESULT", result).env("EXIT_CODE", code).env("EXIT_STATUS", status).stdin(Stdio::null());
    assert!(exit.status().unwrap().success());
}

fn in_words(status: ExitStatus, out_of_memory: &AtomicBool) -> (&'static str, &'static str, String) {
    match (status.code(), status.signal()) {
        (Some(0), _) => ("success", "exited", "0".to_owned()),
        (Some(code), _) => ("exit-code", "exited", code.to_string()),
        (None, _) if out_of_memory.swap(false, Ordering::Relaxed) => ("oom-kill", "killed", "KILL".to_owned()),
        (None, Some(9)) => ("signal", "killed", "KILL".to_owned()),
        (None, Some(15)) => ("signal", "killed", "TERM".to_owned()),
        (None, signal) => panic!("ended by signal {signal:?}"),
    }
}

fn workers(rig: &Rig) -> Vec<Pid> {
    let mut pids = rig.processes(Kind::Worker);
    pids.sort();
    pids
}

/// Looks until it is so.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it did not come to that: {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// How often a stage of a sector was given to a worker.
fn given(told: &str, sector: u64, stage: &str) -> usize {
    let (sector, stage) = (format!("sector={sector} "), format!("stage=\"{stage}\""));
    told.lines().filter(|l| l.contains("stage started") && l.contains(&sector) && l.contains(&stage)).count()
}

/// The slot that has a job.
fn busy(status: &serde_json::Value) -> Option<&serde_json::Value> {
    status["slots"].as_array()?.iter().find(|slot| slot["state"] == "busy")
}

fn pid_in(status: &serde_json::Value, slot: &str) -> Option<Pid> {
    let slot = status["slots"].as_array()?.iter().find(|known| known["slot"] == slot)?;
    Some(Pid::from_raw(slot["pid"].as_i64()?.try_into().ok()?))
}

fn rig_with(sectors: u64, stage_ms: u32) -> (Rig, Units) {
    let mut rig = Rig::simulated(sectors, stage_ms);
    let units = Units::start(&mut rig);
    (rig, units)
}

fn stage_ms(rig: &mut Rig, ms: u32) {
    for (name, value) in &mut rig.env {
        if name == "SEALD_SIMULATED_STAGE_MS" {
            *value = ms.to_string();
        }
    }
}

/// A run of which a worker is at the first stage.
fn begun(rig: &Rig) -> Run {
    let mut run = rig.start();
    run.until("stage=\"precommit1\"");
    let folder = rig.repo.join("work/s-t01001-1");
    wait_for("the worker has its order", || folder.exists());
    run
}

/// Starts it again and waits until it has taken its worker over.
fn again(rig: &Rig, told: &mut String, before: Option<Run>) -> Run {
    if let Some(before) = before {
        told.push_str(&before.killed());
    }
    let mut run = rig.start();
    run.until("stage goes on");
    run
}

// matrix: F2
#[test]
fn a_running_stage_outlives_three_ends_of_the_daemon() {
    let (mut rig, mut units) = rig_with(1, 8_000);
    let mut told = String::new();
    let mut run = begun(&rig);
    let before = workers(&rig);
    assert!(!before.is_empty());
    run = again(&rig, &mut told, Some(run));
    assert_eq!(workers(&rig), before, "killed");
    let daemon = run.pid().as_raw();
    let status = run.watch(&rig, |status| status["pid"] == daemon && busy(status).is_some());
    let slot = busy(&status).unwrap();
    assert!(before.iter().any(|pid| slot["pid"] == pid.as_raw()), "{status:#}");
    assert_eq!(slot["task"], "sector 1 precommit1");
    assert_eq!(run.stopped().code(), Some(0));
    run = again(&rig, &mut told, None);
    assert_eq!(workers(&rig), before, "asked to end");

    // an upgrade: the same worker is another than what is wanted now, and finishes before it is replaced
    stage_ms(&mut rig, 20);
    run = again(&rig, &mut told, Some(run));
    let old = || workers(&rig).iter().filter(|pid| before.contains(pid)).count();
    wait_for("the idle one is replaced, the busy one is not", || old() == 1);
    told.push_str(&run.ends_well());
    assert_eq!(given(&told, 1, "precommit1"), 1, "{told}");
    assert_eq!(old(), 0, "replaced once it had finished");
    units.stop(&rig);
    assert_proven(&rig);
    assert_same_bytes(&rig);
}

// matrix: F2, B7
#[test]
fn what_a_worker_finished_alone_is_taken() {
    let (rig, mut units) = rig_with(1, 700);
    let mut told = begun(&rig).killed();
    let output = rig.repo.join("work/s-t01001-1/pc1.json");
    wait_for("its output is there", || output.exists());
    told.push_str(&rig.finish());
    assert_eq!(given(&told, 1, "precommit1"), 1, "{told}");
    assert!(told.contains("stage goes on"), "{told}");
    units.stop(&rig);
    assert_proven(&rig);
}

// matrix: F2
#[test]
fn a_worker_that_ended_alone_is_noticed_and_its_stage_done_again() {
    let (rig, mut units) = rig_with(1, 700);
    let mut told = begun(&rig).killed();
    workers(&rig).into_iter().for_each(slay);
    let records = || fs::read_dir(&units.places.exits).map_or(0, Iterator::count);
    wait_for("their ends are recorded", || records() == 2);
    told.push_str(&rig.finish());
    assert!(told.contains("a worker ended while no daemon was there"), "{told}");
    assert!(told.contains("killed by signal 9"), "{told}");
    assert_eq!(given(&told, 1, "precommit1"), 2, "{told}");
    units.stop(&rig);
    assert_proven(&rig);
}

#[test]
fn a_worker_killed_for_memory_is_named_and_the_other_goes_on() {
    let (rig, mut units) = rig_with(2, 3_000);
    let mut run = rig.start();
    run.until("stage=\"precommit1\" slot=cpu/0");
    run.until("stage=\"precommit1\" slot=light/0");
    let status = run.watch(&rig, |status| pid_in(status, "cpu").is_some() && pid_in(status, "light").is_some());
    let pid_of = |slot: &str| pid_in(&status, slot).unwrap();
    units.out_of_memory.store(true, Ordering::Relaxed);
    slay(pid_of("cpu"));
    let line = run.until("a task failed");
    assert!(line.contains("slot=cpu/0") && line.contains("class=\"resource\""), "{line}");
    assert!(line.contains("out of memory"), "{line}");
    let told = run.ends_well();
    assert!(workers(&rig).contains(&pid_of("light")), "{told}");
    assert_eq!(told.matches("a worker ended").count() + told.matches("a task failed").count(), 1, "{told}");
    units.stop(&rig);
    assert_proven(&rig);
    assert_eq!(sockets(&units.places.workers), 2, "of the two whose end no daemon saw");
}

#[test]
fn what_outlived_its_daemon_is_paused_by_the_next_and_the_one_after_that_keeps_it() {
    let (mut rig, mut units) = rig_with(1, 8_000);
    let mut told = String::new();
    let run = begun(&rig);
    let before = workers(&rig);
    let mut run = again(&rig, &mut told, Some(run));
    let paused = |status: &serde_json::Value| {
        let waits = status["sectors"][0]["waits_for"].as_str();
        status["daemon"] == "running" && waits.is_some_and(|reason| reason.contains("which is paused"))
    };
    assert_eq!(rig.ask(&["pause", "--all", "--now", "--wait"]).status.code(), Some(0));
    run.watch(&rig, paused);
    let left = || workers(&rig).iter().filter(|pid| before.contains(pid)).count();
    wait_for("the one with a task has ended", || left() + 1 == before.len());
    told.push_str(&run.killed());
    stage_ms(&mut rig, 20);
    let mut run = rig.start();
    run.watch(&rig, paused);
    assert_eq!(rig.ask(&["resume", "--all"]).status.code(), Some(0));
    told.push_str(&run.ends_well());
    assert!(!told.contains("a task failed"), "{told}");
    units.stop(&rig);
    assert_proven(&rig);
}

/// Sockets of workers that nobody removed.
fn sockets(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".sock")).count()
}
