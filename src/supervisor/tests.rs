//! Real processes: shell scripts that behave badly, and this test binary as a worker that behaves well.

mod adopted;

use super::*;
use crate::{
    units::{Bytes, Hash32, MinerId, SectorNumber, SectorSize},
    worker::protocol::{About, Job, Report, SectorFiles, SectorRef},
};
use nix::sys::signal::Signal;
use std::{ffi::OsString, io::Read, path::Path};

const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/supervisor/tests/fake-worker.sh");
const HELLO: &str =
    r#"hello='{"report":"hello","protocol":3,"version":"0","prover":"simulated"}'; echo "$hello" >&0; "#;
const LONG: Duration = Duration::from_secs(60);

struct Rig {
    supervisor: Supervisor,
    events: mpsc::Receiver<WorkerEvent>,
    wanted: BTreeMap<WorkerId, WorkerSpec>,
    now: UnixMillis,
}

fn worker() -> WorkerId {
    WorkerId { slot: "cpu".parse().unwrap(), instance: 0 }
}

fn spec(script: &str, env: &[(&str, &Path)]) -> WorkerSpec {
    let path = std::env::var("PATH").unwrap();
    let mut env: BTreeMap<String, String> =
        env.iter().map(|(name, value)| ((*name).to_owned(), value.to_str().unwrap().to_owned())).collect();
    env.extend([("FAKE".to_owned(), script.to_owned()), ("PATH".to_owned(), path)]);
    WorkerSpec {
        env,
        cpus: None,
        memory: None,
        writable: Vec::new(),
        network: false,
        prover: Prover::Simulated,
        life: Life::WithDaemon,
        generation: 1,
    }
}

/// This test binary, running only the named test. The arguments after the name are those of the test harness.
fn this_binary(test: &str) -> String {
    let binary = std::env::current_exe().unwrap();
    format!("exec '{}' supervisor::tests::{test} --exact --nocapture", binary.display())
}

impl Rig {
    fn new(spec: WorkerSpec) -> Self {
        let (sender, events) = mpsc::channel(16);
        let supervisor = Supervisor::new(FAKE.into(), Places::of(Path::new("/nonexistent")), sender);
        let wanted = BTreeMap::from([(worker(), spec)]);
        Self { supervisor, events, wanted, now: UnixMillis::new(0) }
    }

    fn fake(script: &str) -> Self {
        Self::new(spec(&format!("{HELLO}{script}"), &[]))
    }

    /// One turn of a daemon's loop after the other, until there is something to know.
    async fn notice(&mut self) -> Notice {
        loop {
            self.supervisor.reconcile(&self.wanted, self.now);
            let event = timeout(LONG, self.events.recv()).await.unwrap().unwrap();
            match self.supervisor.on(event, self.now) {
                Some(Notice::Progress { .. }) | None => {}
                Some(notice) => return notice,
            }
        }
    }

    async fn ready(&mut self) {
        assert_eq!(self.notice().await, Notice::Ready { worker: worker() });
    }

    async fn down(&mut self) -> String {
        let notice = self.notice().await;
        let Notice::Down { why, .. } = notice else { panic!("{notice:?}") };
        why
    }

    async fn lost(&mut self, deadline: Duration) -> (Class, String) {
        self.ready().await;
        self.run(7, params(), deadline);
        let notice = self.notice().await;
        let Notice::Lost { task: 7, class, error, .. } = notice else { panic!("{notice:?}") };
        (class, error)
    }

    fn run(&mut self, task: u64, job: Job, deadline: Duration) {
        self.supervisor.run(&worker(), assignment(task, job, deadline), self.now).unwrap();
    }

    fn view(&self) -> WorkerView {
        self.supervisor.views().pop().unwrap()
    }
}

fn assignment(task: u64, job: Job, deadline: Duration) -> Assignment {
    Assignment { task, job, deadline, usual: Duration::ZERO, note: String::new() }
}

fn params() -> Job {
    Job::Params { size: SectorSize::KiB2, mirror: None }
}

fn precommit1(repo: &Path) -> Job {
    let at = |kind: &str| repo.join(kind).join("s-t01000-7");
    let files = SectorFiles { sealed: at("sealed"), cache: at("cache"), work: at("work") };
    let sector = SectorRef {
        miner: MinerId::new(1000),
        number: SectorNumber::try_from(7).unwrap(),
        proof: SectorSize::KiB2.seal_proof(),
        ticket: Hash32([1; 32]),
    };
    Job::PreCommit1 { sector, files, fresh: false }
}

#[tokio::test]
async fn a_worker_that_ends_is_started_again_after_a_pause() {
    let mut rig = Rig::fake("echo no library >&2; exit 3");
    rig.ready().await;
    let why = "ended with exit code 3: no library";
    assert_eq!(rig.down().await, why);
    let view = rig.view();
    assert_eq!((view.state, view.restarts, view.pid, view.note.as_deref()), ("backoff", 0, None, Some(why)));
    assert_eq!(view.until, rig.supervisor.next_wake());
    rig.supervisor.reconcile(&rig.wanted, rig.now);
    assert_eq!(rig.view().pid, None, "not before its time");
    rig.now = view.until.unwrap();
    rig.ready().await;
    assert_eq!(rig.view().restarts, 1);
}

/// As after a panic of a library: it says so, and ends a while later.
#[tokio::test]
async fn a_worker_that_leaves_after_its_job_gets_no_other() {
    let error = "the library panicked".to_owned();
    let failed =
        Report::Failed { task: 7, about: params().about(), class: Class::Worker, error: error.clone(), leaving: true };
    let failed = serde_json::to_string(&failed).unwrap();
    let mut rig = Rig::fake(&format!("read order; echo '{failed}' >&0; read ack; exit 70"));
    rig.ready().await;
    rig.run(7, params(), LONG);
    assert_eq!(rig.notice().await, Notice::Failed { worker: worker(), task: 7, class: Class::Worker, error });
    let busy = rig.supervisor.run(&worker(), assignment(8, params(), LONG), rig.now).unwrap_err();
    assert_eq!(busy.to_string(), "worker cpu/0 is stopping");
    rig.supervisor.acknowledge(&worker(), 7);
    assert_eq!(rig.down().await, "ended with exit code 70");
    assert_eq!((rig.view().state, rig.view().failures), ("backoff", 1), "nobody asked it to");
}

#[tokio::test]
async fn a_job_that_did_not_reach_its_worker_is_nobodys_failure() {
    let mut rig = Rig::fake("exec 0<&-; sleep 1000");
    rig.supervisor.limits.grace = LONG;
    rig.ready().await;
    // it has closed its socket, and the supervisor has not been told yet
    let closed = timeout(LONG, rig.events.recv()).await.unwrap().unwrap();
    rig.run(7, params(), LONG);
    assert_eq!(rig.supervisor.on(closed, rig.now), None);
    assert_eq!(rig.notice().await, Notice::Void { worker: worker(), task: 7 });
    assert_eq!((rig.view().state, rig.view().task), ("stopping", None));
}

#[tokio::test]
async fn a_slot_that_keeps_failing_is_given_up_until_the_next_generation_or_a_word() {
    let mut rig = Rig::fake("exit 3");
    rig.supervisor.patience.failures = 3;
    let words: [fn(&mut Rig); 2] =
        [|rig| rig.wanted.get_mut(&worker()).unwrap().generation = 2, |rig| rig.supervisor.forgive(&worker())];
    for word in words {
        for _ in 0..3 {
            rig.ready().await;
            rig.down().await;
            rig.now = rig.now.plus_ms(100_000);
        }
        let view = rig.view();
        assert_eq!((view.state, view.until), ("quarantined", None));
        assert!(view.note.unwrap().contains("given up after 3 failures"));
        rig.supervisor.reconcile(&rig.wanted, rig.now);
        assert_eq!(rig.view().state, "quarantined");
        word(&mut rig);
    }
    rig.ready().await;
}

#[tokio::test]
async fn whoever_does_not_speak_the_protocol_is_killed() {
    let other = HELLO.replace("protocol\":3", "protocol\":9");
    let liar = HELLO.replace("simulated", "real");
    for (script, why) in [
        ("echo '{\"report\":\"heartbeat\"}' >&0; sleep 1000", "spoke before its hello"),
        ("echo hello >&0; sleep 1000", "sent a line that cannot be read: \"hello\""),
        (&format!("{other} sleep 1000"), "is version 0 and speaks protocol 9, this seald speaks 3"),
        (&format!("{liar} sleep 1000"), "runs the real prover instead of the simulated one"),
    ] {
        let mut rig = Rig::new(spec(script, &[]));
        assert_eq!(rig.down().await, why);
    }
    let mut rig = Rig::fake(&format!("{} sleep 1000", done(1, params().about(), Outcome::Params)));
    rig.ready().await;
    assert_eq!(rig.down().await, "reported the end of job 1, which it does not have");
}

/// What was started in a unit outlives the connection, so that it has to be told.
#[tokio::test]
async fn a_unit_that_does_not_speak_the_protocol_is_sent_away() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let hello = |protocol: u32, prover: &str| {
        format!(r#"{{"report":"hello","protocol":{protocol},"version":"0","prover":"{prover}"}}"#)
    };
    for (says, why) in [
        (hello(9, "simulated"), "is version 0 and speaks protocol 9, this seald speaks 3"),
        (hello(3, "real"), "runs the real prover instead of the simulated one"),
        (hello(3, "simulated"), "did not say which process it is"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut rig = Rig::fake("");
        rig.wanted.get_mut(&worker()).unwrap().life = Life::Outlives;
        rig.supervisor.places.spawn = folder.path().join("spawn.sock");
        let listener = std::os::unix::net::UnixListener::bind(&rig.supervisor.places.spawn).unwrap();
        let told = tokio::task::spawn_blocking(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&socket).lines();
            lines.next().unwrap().unwrap();
            writeln!(&socket, "{says}").unwrap();
            lines.next().unwrap().unwrap()
        });
        assert_eq!(rig.down().await, why);
        assert_eq!(timeout(LONG, told).await.unwrap().unwrap(), r#"{"order":"leave"}"#);
    }
}

/// A line of shell that reports the end of a job.
fn done(task: u64, about: About, outcome: Outcome) -> String {
    format!(
        "echo '{}' >&0;",
        serde_json::to_string(&Report::Done { task, about, outcome, peak: None, took_ms: None }).unwrap()
    )
}

// matrix: E9
#[tokio::test]
async fn a_result_for_another_sector_another_attempt_or_another_job_is_not_taken() {
    let about = params().about();
    let other_sector = About { sector: Some(SectorNumber::try_from(8).unwrap()), ..about };
    let other_attempt = About { ticket: Some(Hash32([2; 32])), ..about };
    for (task, about) in [(7, other_sector), (7, other_attempt), (8, about)] {
        let script = format!("read order; {} sleep 1000", done(task, about, Outcome::Params));
        let (class, why) = Rig::fake(&script).lost(LONG).await;
        assert_eq!((class, why), (Class::Worker, format!("reported the end of job {task}, which it does not have")));
    }
}

// matrix: E10
#[tokio::test]
async fn a_result_that_is_told_twice_counts_once() {
    let told = done(1, params().about(), Outcome::Params);
    let mut rig = Rig::fake(&format!("read order; {told} {told} sleep 1000"));
    rig.ready().await;
    rig.run(1, params(), LONG);
    assert_eq!(
        rig.notice().await,
        Notice::Done { worker: worker(), task: 1, outcome: Outcome::Params, peak: None, took_ms: None }
    );
    assert_eq!(rig.down().await, "reported the end of job 1, which it does not have");
}

#[tokio::test]
async fn whoever_is_silent_is_killed() {
    let mut rig = Rig::new(spec("sleep 1000", &[]));
    rig.supervisor.limits.silence = Duration::from_millis(50);
    assert_eq!(rig.down().await, "said no hello for 0.05 s");
    let mut rig = Rig::fake("sleep 1000");
    rig.supervisor.limits.silence = Duration::from_secs(2);
    rig.ready().await;
    assert_eq!(rig.down().await, "had no heartbeat for 2 s");
}

#[tokio::test]
async fn a_lost_job_says_how_its_process_ended() {
    let killed = Rig::fake("read order; kill -9 $$").lost(LONG).await;
    assert_eq!(killed, (Class::Worker, "killed by signal 9".to_owned()));
    let overdue = Rig::fake("read order; sleep 1000").lost(Duration::from_millis(50)).await;
    assert_eq!(overdue, (Class::Worker, "ran past its deadline".to_owned()));
    let full = Rig::fake("read order; kill -BUS $$").lost(LONG).await;
    assert_eq!(full.0, Class::Resource);
}

#[tokio::test]
async fn a_stopped_job_is_nobodys_failure_and_its_worker_comes_back() {
    let mut rig = Rig::fake("read order <&0; sleep 600");
    rig.ready().await;
    rig.run(7, params(), LONG);
    assert!(rig.supervisor.stop(&worker(), rig.now));
    assert_eq!(rig.notice().await, Notice::Stopped { worker: worker(), task: 7 });
    let view = rig.view();
    assert_eq!((view.state, view.note), ("starting", None));
    rig.ready().await;
    assert!(!rig.supervisor.stop(&WorkerId { instance: 9, ..worker() }, rig.now), "there is no such worker");
}

#[tokio::test]
async fn a_program_that_is_missing_is_a_failure_to_start() {
    let mut rig = Rig::fake("");
    rig.supervisor.program = "/nonexistent/seald".into();
    rig.supervisor.reconcile(&rig.wanted, rig.now);
    let view = rig.view();
    assert_eq!(view.state, "backoff");
    assert!(view.note.unwrap().starts_with("cannot start /nonexistent/seald"));
}

/// Not a test: the worker of the tests below.
#[test]
fn the_worker() {
    if std::env::var_os("SEALD_TEST_WORKER").is_some() {
        let options = Options {
            slot: "cpu".parse().unwrap(),
            instance: 0,
            prover: Prover::Simulated,
            cpus: None,
            memory: None,
            writable: Vec::new(),
            network: false,
            attach: std::env::var_os("SEALD_TEST_DOOR").map(Into::into),
            spec: None,
            invocation: std::env::var("SEALD_TEST_INVOCATION").ok(),
        };
        crate::worker::serve(options);
        std::process::exit(0);
    }
}

fn real_worker(before: &str, fifo: &Path) -> WorkerSpec {
    let script = format!("{before} {}", this_binary("the_worker"));
    spec(&script, &[("SEALD_TEST_WORKER", Path::new("1")), ("FIFO", fifo)])
}

#[tokio::test]
async fn a_real_worker_works_reports_and_drains() {
    let repo = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(real_worker("", repo.path()));
    rig.ready().await;
    rig.run(1, precommit1(repo.path()), LONG);
    let busy = rig.supervisor.run(&worker(), assignment(2, params(), LONG), rig.now).unwrap_err();
    assert_eq!(busy.to_string(), "worker cpu/0 is busy");
    assert_eq!(rig.view().task.unwrap().stage, Some(Stage::PreCommit1));
    let notice = rig.notice().await;
    let Notice::Done { task: 1, outcome: Outcome::PreCommit1, peak: Some(peak), .. } = notice else {
        panic!("{notice:?}")
    };
    assert!(peak > Bytes::new(1 << 20), "{peak}");
    assert!(repo.path().join("work/s-t01000-7/pc1.json").exists());

    rig.run(2, precommit1(&repo.path().join("missing")), LONG);
    let notice = rig.notice().await;
    let Notice::Failed { task: 2, class: Class::Environment, error, .. } = notice else { panic!("{notice:?}") };
    assert!(error.contains("mounted"), "{error}");

    rig.run(3, params(), LONG);
    rig.wanted.clear();
    assert!(matches!(rig.notice().await, Notice::Done { task: 3, outcome: Outcome::Params, .. }));
    assert_eq!(rig.down().await, "left as asked");
    rig.supervisor.reconcile(&rig.wanted, rig.now);
    assert_eq!(rig.supervisor.views(), []);
}

#[tokio::test]
async fn a_changed_declaration_replaces_the_process_and_a_mere_generation_does_not() {
    let repo = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(real_worker("", repo.path()));
    rig.ready().await;
    let pid = rig.view().pid;
    rig.wanted.get_mut(&worker()).unwrap().generation = 2;
    rig.supervisor.reconcile(&rig.wanted, rig.now);
    assert_eq!((rig.view().state, rig.view().pid), ("idle", pid));
    rig.wanted.get_mut(&worker()).unwrap().env.insert("RAYON_NUM_THREADS".to_owned(), "1".to_owned());
    assert_eq!(rig.down().await, "left as asked");
    rig.ready().await;
    assert_ne!(rig.view().pid, pid);
}

/// Opens a named pipe and gives it to the worker's whole group: it reads as ended when the last of them is gone.
fn group_watch(directory: &Path) -> std::path::PathBuf {
    let fifo = directory.join("group");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fifo
}

const WITH_GRANDCHILD: &str = "exec 3>\"$FIFO\"; sleep 1000 &";

#[tokio::test]
async fn a_shutdown_leaves_no_process_behind() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = group_watch(directory.path());
    let stubborn = format!("{WITH_GRANDCHILD} trap '' TERM; {HELLO} while :; do wait; done");
    for worker in [real_worker(WITH_GRANDCHILD, &fifo), spec(&stubborn, &[("FIFO", &fifo)])] {
        let mut rig = Rig::new(worker);
        let open = tokio::task::spawn_blocking({
            let fifo = fifo.clone();
            move || std::fs::File::open(fifo).unwrap()
        });
        rig.ready().await;
        let mut group = open.await.unwrap();
        rig.supervisor.shutdown(Duration::from_millis(100)).await;
        assert_eq!(group.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}

/// Not a test: a daemon that is killed by the test below.
#[tokio::test]
async fn the_daemon() {
    if let Some(fifo) = std::env::var_os("SEALD_TEST_DAEMON") {
        let mut rig = Rig::new(real_worker(WITH_GRANDCHILD, Path::new(&fifo)));
        rig.ready().await;
        println!("the worker is ready");
        rig.notice().await;
    }
}

#[tokio::test]
async fn a_daemon_killed_by_signal_9_takes_its_workers_along() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = group_watch(directory.path());
    let env = spec(&this_binary("the_daemon"), &[("SEALD_TEST_DAEMON", &fifo)]).env;
    let mut daemon = Process::start(Path::new(FAKE), &[], &env).unwrap();
    let open = tokio::task::spawn_blocking(move || std::fs::File::open(fifo).unwrap());
    loop {
        match timeout(LONG, daemon.next()).await.unwrap() {
            process::Seen::Log(line) if line.text.contains("the worker is ready") => break,
            process::Seen::Exited(end) => panic!("{end:?}"),
            process::Seen::Log(_) | process::Seen::Control(_) | process::Seen::Closed | process::Seen::Gone => {}
        }
    }
    let mut group = open.await.unwrap();
    daemon.signal(Signal::SIGKILL);
    let ended = tokio::task::spawn_blocking(move || group.read_to_end(&mut Vec::new()).unwrap());
    assert_eq!(timeout(LONG, ended).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_companion_is_kept_running_and_ended() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("started");
    // ends by itself the first time only
    let script = "test -e \"$MARKER\" || { : > \"$MARKER\"; exit 4; }; while :; do sleep 1000; done";
    let env = spec(script, &[("MARKER", &marker)]).env;
    let (sender, mut events) = mpsc::channel(1);
    let mut companion = Companion::new("devnet", FAKE.into(), Vec::<OsString>::new(), env, sender);
    let now = UnixMillis::new(0);
    companion.reconcile(now);
    assert_eq!(companion.view().state, "running");
    let event = timeout(LONG, events.recv()).await.unwrap().unwrap();
    assert_eq!(companion.on(event, now).as_deref(), Some("ended with exit code 4"));
    let due = companion.next_wake().unwrap();
    companion.reconcile(due);
    let view = companion.view();
    assert_eq!((view.state, view.restarts, view.pid.is_some()), ("running", 1, true));
    companion.shutdown(LONG).await;
    assert!(events.recv().await.is_none());
}

/// Its limits are far below what any real job needs, its heart beats, and it neither tells nor works.
#[tokio::test]
async fn who_gets_nowhere_is_killed_although_its_heart_beats() {
    let beat = r#"while :; do echo '{"report":"heartbeat"}' >&0; sleep 0.2; done"#;
    let mut rig = Rig::fake(&format!("read order; {beat}"));
    (rig.supervisor.limits.progress, rig.supervisor.limits.look) = (Duration::from_secs(2), Duration::from_millis(50));
    let (class, why) = rig.lost(LONG).await;
    assert_eq!(class, Class::Worker);
    assert!(why.starts_with("was stuck: neither progress nor work"), "{why}");
}

#[tokio::test]
async fn a_worker_that_nobody_can_start_says_what_to_do() {
    let mut rig = Rig::fake("");
    rig.wanted.get_mut(&worker()).unwrap().life = Life::Outlives;
    let folder = tempfile::tempdir().unwrap();
    rig.supervisor.places.spawn = folder.path().join("spawn.sock");
    let why = rig.down().await;
    assert!(why.starts_with("cannot ask") && why.contains("is seald-worker.socket active?"), "{why}");
    // as systemd does above MaxConnections=
    let listener = std::os::unix::net::UnixListener::bind(&rig.supervisor.places.spawn).unwrap();
    let refuse = tokio::task::spawn_blocking(move || drop(listener.accept().unwrap()));
    rig.now = rig.now.plus_ms(100_000);
    let why = rig.down().await;
    assert!(why.contains("before a hello") && why.contains("MaxConnections="), "{why}");
    refuse.await.unwrap();
}

const CRASHES: usize = 1_000;

/// Not a test: run by the test below, in a process where nothing else opens files and starts processes.
#[tokio::test]
async fn the_crashes() {
    if std::env::var_os("SEALD_TEST_CRASHES").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(spec("exit 3", &[]));
    rig.supervisor.places.spawn = folder.path().join("spawn.sock");
    let listener = tokio::net::UnixListener::bind(&rig.supervisor.places.spawn).unwrap();
    let mut refusing = JoinSet::new();
    refusing.spawn(async move { while listener.accept().await.is_ok() {} });
    rig.supervisor.patience =
        Patience { first_ms: 1, cap_ms: 1, healthy_ms: 1_000, failures: u32::MAX, burst: usize::MAX, within_ms: 1 };
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut before = None;
    for crash in 0..CRASHES {
        // children and units, one after the other
        let life = if crash % 2 == 0 { Life::WithDaemon } else { Life::Outlives };
        rig.wanted.get_mut(&worker()).unwrap().life = life;
        rig.down().await;
        rig.now = rig.now.plus_ms(100);
        // what is opened once for the life of the process is open after the first two
        before = if crash == 1 { Some(descriptors()) } else { before };
    }
    rig.wanted.clear();
    rig.supervisor.reconcile(&rig.wanted, rig.now);
    timeout(LONG, async { while rig.supervisor.tasks.join_next().await.is_some() {} }).await.unwrap();
    assert_eq!((rig.supervisor.views().len(), rig.supervisor.tasks.len()), (0, 0));
    assert_eq!(Some(descriptors()), before);
    let children = nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
    assert_eq!(children, Err(nix::errno::Errno::ECHILD), "no child is left");
}

#[tokio::test]
async fn a_thousand_crashes_leave_nothing_behind() {
    let env = spec(&this_binary("the_crashes"), &[("SEALD_TEST_CRASHES", Path::new("1"))]).env;
    let mut process = Process::start(Path::new(FAKE), &[], &env).unwrap();
    let mut told = String::new();
    loop {
        match timeout(LONG.saturating_mul(2), process.next()).await.unwrap() {
            process::Seen::Log(line) => told.push_str(&format!("{}\n", line.text)),
            process::Seen::Exited(exit) => {
                assert_eq!(exit, Exit::Code { code: 0, words: None }, "{told}");
                assert!(told.contains("1 passed"), "{told}");
                return;
            }
            process::Seen::Control(_) | process::Seen::Closed | process::Seen::Gone => {}
        }
    }
}
