//! What is met at the sockets of earlier workers: good ones, dead ones, and some that lie. The liars are in this process,
//! whose number and beginning they may say, so that everything else about them is right.

use super::*;
use crate::supervisor::process::Seen;
use crate::worker::{
    INVOCATION, process,
    protocol::{Hello, Identity, PROTOCOL, Running},
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
};

/// A folder of workers' sockets, and a daemon that looks into it.
struct Site {
    folder: tempfile::TempDir,
    rig: Rig,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut rig = Rig::new(spec("exit 0", &[]));
        rig.wanted.clear();
        let places = &mut rig.supervisor.places;
        (places.workers, places.exits) = (folder.path().to_owned(), folder.path().join("exits"));
        // this process is not to be killed for what it pretends
        let hour = Duration::from_secs(3_600);
        (rig.supervisor.limits.silence, rig.supervisor.limits.grace) = (hour, hour);
        Self { folder, rig }
    }

    fn door(&self) -> PathBuf {
        self.rig.supervisor.places.new_door(&worker())
    }

    /// Somebody who says this to the first who connects, and then nothing; gives what is answered.
    fn pretend(&self, says: String) -> (PathBuf, tokio::task::JoinHandle<String>) {
        let door = self.door();
        let answer = answers(&door, says);
        (door, answer)
    }

    async fn adopt(&mut self) -> Vec<Adopted> {
        self.rig.supervisor.adopt(&BTreeMap::new(), self.rig.now).await
    }

    /// The words about the only one that was left alone.
    fn stranger(&self) -> &str {
        let all: Vec<_> = self.rig.supervisor.strangers().collect();
        let [one] = all[..] else { panic!("{all:?}") };
        one
    }

    /// Looks at the strangers once more, as half a minute later, until they have answered.
    async fn adopt_late(&mut self) -> Vec<Adopted> {
        self.rig.now = self.rig.now.plus_ms(30_000);
        loop {
            let adopted = self.rig.supervisor.adopt_late(&BTreeMap::new(), self.rig.now).await;
            if !adopted.is_empty() || self.rig.supervisor.strangers.looks.is_empty() {
                return adopted;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// As [`Site::pretend`], at this door.
fn answers(door: &Path, says: String) -> tokio::task::JoinHandle<String> {
    let listener = UnixListener::bind(door).unwrap();
    tokio::task::spawn_blocking(move || {
        let (mut socket, _) = listener.accept().unwrap();
        writeln!(socket, "{says}").unwrap();
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).unwrap();
        answer
    })
}

/// What a liar was answered. Waited for beside the runtime, which may have to close a connection first.
async fn joined<T>(thread: tokio::task::JoinHandle<T>) -> T {
    timeout(LONG, thread).await.unwrap().unwrap()
}

fn identity() -> Identity {
    let pid = std::process::id();
    Identity {
        slot: worker().slot,
        instance: 0,
        pid,
        start_ticks: process::stat(pid).unwrap().start_ticks,
        boot: process::boot().unwrap(),
        invocation: None,
    }
}

fn hello(identity: Option<Identity>) -> Hello {
    Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        prover: "simulated".to_owned(),
        identity,
        spec: None,
        sandbox: None,
        running: None,
        ended: None,
    }
}

fn said(hello: Hello) -> String {
    serde_json::to_string(&Report::Hello(Box::new(hello))).unwrap()
}

fn running(task: u64) -> Running {
    let far = UnixMillis::new(i64::MAX);
    Running { task, about: params().about(), note: "n".to_owned(), started: UnixMillis::new(1), deadline: far }
}

#[tokio::test]
async fn a_dead_workers_socket_is_removed_and_its_end_told_from_its_record() {
    let mut site = Site::new();
    let exits = site.rig.supervisor.places.exits.clone();
    std::fs::create_dir(&exits).unwrap();
    std::fs::write(exits.join("00ff"), r#"{"result":"oom-kill","code":"killed","status":"KILL"}"#).unwrap();
    let door = site.door();
    let dead = || {
        drop(UnixListener::bind(&door).unwrap());
        std::fs::write(door.with_extension(INVOCATION), "00ff").unwrap();
    };
    let is_forgotten = || std::fs::read_dir(door.parent().unwrap()).unwrap().count() == 1 && exits.exists();
    dead();
    let how = site.rig.supervisor.end_at(&door);
    assert_eq!((how.as_str(), is_forgotten()), ("killed by the kernel, which was out of memory for it", true));
    dead();
    assert_eq!(site.adopt().await, []);
    assert_eq!((site.rig.supervisor.strangers().count(), is_forgotten()), (0, true), "socket and note are gone");
}

#[tokio::test]
async fn who_cannot_be_believed_is_left_alone_and_named() {
    let own = identity();
    for (says, why) in [
        ("garbage".to_owned(), "said something else than hello"),
        (serde_json::to_string(&Report::Heartbeat).unwrap(), "said something else than hello"),
        (said(hello(None)), "did not say which process it is"),
        (said(hello(Some(Identity { start_ticks: own.start_ticks + 1, ..own.clone() }))), "which is another one now"),
        (said(hello(Some(Identity { boot: "b".to_owned(), ..own.clone() }))), "started before the machine was"),
        (said(hello(Some(Identity { pid: u32::MAX, ..own.clone() }))), "which cannot be"),
        (
            said(hello(Some(Identity {
                pid: std::os::unix::process::parent_id(),
                start_ticks: process::stat(std::os::unix::process::parent_id()).unwrap().start_ticks,
                ..own.clone()
            }))),
            "and is process",
        ),
    ] {
        let mut site = Site::new();
        let (door, answer) = site.pretend(says.clone());
        assert_eq!(site.adopt().await, [], "{says}");
        assert!(site.stranger().contains(why), "{says}: {}", site.stranger());
        assert!(door.exists(), "left alone");
        assert_eq!(joined(answer).await, "", "nothing was ordered");
    }
}

#[tokio::test]
async fn who_says_nothing_holds_up_nobody() {
    let mut site = Site::new();
    let mute = UnixListener::bind(site.door()).unwrap();
    let (_, answer) = site.pretend(said(hello(Some(identity()))));
    let adopted = timeout(LONG, site.adopt()).await.unwrap();
    assert_eq!(adopted, [Adopted { worker: worker(), job: None }]);
    assert!(site.stranger().contains("said no hello within"), "{}", site.stranger());
    drop((site, mute));
    joined(answer).await;
}

#[tokio::test]
async fn a_worker_of_another_version_keeps_its_job_and_leaves_after_it() {
    let mut site = Site::new();
    let older = Hello { protocol: 2, running: Some(running(5)), ..hello(Some(identity())) };
    let door = site.door();
    let listener = UnixListener::bind(&door).unwrap();
    let wanted = spec("exit 0", &[]);
    let old = tokio::task::spawn_blocking(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let done =
            Report::Done { task: 5, about: params().about(), outcome: Outcome::Params, peak: None, took_ms: None };
        writeln!(socket, "{}", said(older)).unwrap();
        // what this version never said
        writeln!(socket, r#"{{"report":"mood"}}"#).unwrap();
        writeln!(socket, "{}", serde_json::to_string(&done).unwrap()).unwrap();
        let mut order = String::new();
        BufReader::new(socket).read_line(&mut order).unwrap();
        order
    });
    let adopted = site.adopt().await;
    assert_eq!(adopted, [Adopted { worker: worker(), job: Some(running(5)) }]);
    site.rig.wanted.insert(worker(), wanted);
    assert_eq!(
        site.rig.notice().await,
        Notice::Done { worker: worker(), task: 5, outcome: Outcome::Params, peak: None, took_ms: None }
    );
    assert_eq!(joined(old).await.trim(), r#"{"order":"leave"}"#);
}

/// Not a word of what it does is known here, but for which sector it is.
#[tokio::test]
async fn a_worker_whose_job_is_not_understood_finishes_it_and_leaves() {
    let mut site = Site::new();
    let busy = said(Hello { running: Some(running(5)), ..hello(Some(identity())) });
    let about = r#"{"stage":null,"sector":null"#;
    assert!(busy.contains(about));
    let busy = busy.replace(about, r#"{"stage":"window_post","sector":8"#);
    let listener = UnixListener::bind(site.door()).unwrap();
    let newer = tokio::task::spawn_blocking(move || {
        let (mut socket, _) = listener.accept().unwrap();
        writeln!(socket, "{busy}").unwrap();
        writeln!(socket, r#"{{"report":"done","task":5,"outcome":{{"outcome":"window_post"}}}}"#).unwrap();
        let mut order = String::new();
        BufReader::new(socket).read_line(&mut order).unwrap();
        order
    });
    let adopted = site.adopt().await;
    let [Adopted { job: Some(Running { task: 5, about: About { stage: None, sector, .. }, .. }), .. }] = &adopted[..]
    else {
        panic!("{adopted:?} {:?}", site.rig.supervisor.strangers().next())
    };
    assert_eq!(*sector, Some(SectorNumber::try_from(8).unwrap()));
    assert_eq!(site.rig.view().state, "busy");
    site.rig.wanted.insert(worker(), spec("exit 0", &[]));
    assert_eq!(site.rig.notice().await, Notice::Void { worker: worker(), task: 5 });
    assert_eq!(joined(newer).await.trim(), r#"{"order":"leave"}"#);
}

#[tokio::test]
async fn of_two_workers_in_one_place_the_one_with_a_job_stays() {
    let mut site = Site::new();
    let busy = Hello { running: Some(running(5)), ..hello(Some(identity())) };
    let (_, idle) = site.pretend(said(hello(Some(identity()))));
    let (_, kept) = site.pretend(said(busy));
    assert_eq!(site.adopt().await, [Adopted { worker: worker(), job: Some(running(5)) }]);
    assert_eq!(joined(idle).await.trim(), r#"{"order":"leave"}"#);
    assert_eq!(site.rig.supervisor.views().len(), 1);
    site.rig.supervisor.shutdown(LONG).await;
    assert_eq!(joined(kept).await, "", "it is let go of, not ended");
}

#[tokio::test]
async fn what_ended_without_a_daemon_is_told_once_and_acknowledged() {
    let mut site = Site::new();
    let report = Report::Done { task: 5, about: params().about(), outcome: Outcome::Params, peak: None, took_ms: None };
    let ended = Hello { ended: Some((running(5), Box::new(report))), ..hello(Some(identity())) };
    let (_, answer) = site.pretend(said(ended));
    assert_eq!(site.adopt().await, [Adopted { worker: worker(), job: Some(running(5)) }]);
    let event = timeout(LONG, site.rig.events.recv()).await.unwrap().unwrap();
    let notice = site.rig.supervisor.on(event, site.rig.now);
    assert_eq!(
        notice,
        Some(Notice::Done { worker: worker(), task: 5, outcome: Outcome::Params, peak: None, took_ms: None })
    );
    site.rig.supervisor.acknowledge(&worker(), 5);
    assert_eq!(joined(answer).await.trim(), r#"{"order":"ack","task":5}"#);
}

/// A daemon that stood still is let go of by its worker, and connects again as soon as it goes on.
#[tokio::test]
async fn a_lost_connection_is_made_again_with_the_job_where_it_was() {
    for lost in [false, true] {
        let mut site = Site::new();
        let listener = UnixListener::bind(site.door()).unwrap();
        let busy = Hello { running: Some(running(5)), ..hello(Some(identity())) };
        let forgetful = if lost { hello(Some(identity())) } else { busy.clone() };
        let old = tokio::task::spawn_blocking(move || {
            let greet = |hello: &Hello| -> UnixStream {
                let (mut socket, _) = listener.accept().unwrap();
                writeln!(socket, "{}", said(hello.clone())).unwrap();
                socket
            };
            drop(greet(&busy));
            let done =
                Report::Done { task: 5, about: params().about(), outcome: Outcome::Params, peak: None, took_ms: None };
            let again = if lost {
                let ended = Some((running(5), Box::new(done)));
                greet(&Hello { ended, ..forgetful })
            } else {
                let mut socket = greet(&forgetful);
                writeln!(socket, "{}", serde_json::to_string(&done).unwrap()).unwrap();
                socket
            };
            BufReader::new(again).read_line(&mut String::new()).unwrap()
        });
        assert_eq!(site.adopt().await.len(), 1);
        let event = timeout(LONG, site.rig.events.recv()).await.unwrap().unwrap();
        let notice = site.rig.supervisor.on(event, site.rig.now);
        assert_eq!(
            notice,
            Some(Notice::Done { worker: worker(), task: 5, outcome: Outcome::Params, peak: None, took_ms: None })
        );
        drop(site);
        joined(old).await;
    }
}

/// A real worker that listens at a door of the site.
async fn real(site: &Site, repo: &Path, env: &[(&str, &str)]) -> Process {
    let mut start = real_worker("", repo);
    start.env.insert("SEALD_TEST_DOOR".to_owned(), site.door().to_str().unwrap().to_owned());
    start.env.insert("SEALD_SIMULATED_STAGE_MS".to_owned(), "600000".to_owned());
    start.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let mut process = Process::start(Path::new(FAKE), &[], &start.env).unwrap();
    loop {
        match timeout(LONG, process.next()).await.unwrap() {
            // its hello: it listens
            Seen::Control(_) => return process,
            Seen::Log(_) => {}
            end @ (Seen::Closed | Seen::Gone | Seen::Exited(_)) => panic!("{end:?}"),
        }
    }
}

#[tokio::test]
async fn a_real_worker_is_found_again_and_ended_through_its_handle() {
    let mut site = Site::new();
    let repo = tempfile::tempdir().unwrap();
    let first = real(&site, repo.path(), &[]).await;
    assert_eq!(site.adopt().await, [Adopted { worker: worker(), job: None }]);
    assert_eq!(site.rig.view().pid, first.pid());
    assert!(site.rig.view().note.unwrap().contains("another version"), "nobody said what it was started as");
    site.rig.run(7, precommit1(repo.path()), Duration::from_millis(50));
    let notice = site.rig.notice().await;
    let error = "ran past its deadline".to_owned();
    assert_eq!(notice, Notice::Lost { worker: worker(), task: 7, class: Class::Worker, error, out_of_memory: false });
    assert_eq!(std::fs::read_dir(site.folder.path()).unwrap().count(), 0, "its socket is gone");
}

/// One that was stopped while the daemon started: its job is taken over, or finished, as soon as it answers.
#[tokio::test]
async fn who_did_not_answer_is_taken_over_once_it_does() {
    let mut site = Site::new();
    let (_, answer) = site.pretend("garbage".to_owned());
    let door = site.rig.supervisor.places.doors().unwrap().pop().unwrap();
    assert_eq!(site.adopt().await, []);
    assert!(site.stranger().contains("said something else"), "{}", site.stranger());
    joined(answer).await;
    std::fs::remove_file(&door).unwrap();
    let busy = Hello { running: Some(running(5)), ..hello(Some(identity())) };
    let answer = answers(&door, said(busy));
    assert_eq!(site.adopt_late().await, [Adopted { worker: worker(), job: Some(running(5)) }]);
    assert_eq!((site.rig.supervisor.strangers().count(), site.rig.view().state), (0, "busy"));
    drop(site);
    joined(answer).await;
}

#[tokio::test]
async fn who_answers_late_and_has_no_place_any_more_finishes_its_job_and_is_sent_away() {
    let mut site = Site::new();
    let (door, answer) = site.pretend("garbage".to_owned());
    assert_eq!(site.adopt().await, []);
    joined(answer).await;
    site.rig.wanted.insert(worker(), spec(&format!("{HELLO} sleep 1000"), &[]));
    site.rig.ready().await;
    for (running, order) in [(Some(running(5)), ""), (None, r#"{"order":"leave"}"#)] {
        std::fs::remove_file(&door).unwrap();
        let is_busy = running.is_some();
        let answer = answers(&door, said(Hello { running, ..hello(Some(identity())) }));
        assert_eq!(site.adopt_late().await, []);
        assert_eq!(joined(answer).await.trim(), order);
        assert_eq!(site.rig.supervisor.strangers().count(), usize::from(is_busy));
    }
    assert_eq!(site.rig.view().state, "idle", "the one that has its place keeps it");
}

#[tokio::test]
async fn who_is_gone_is_no_stranger() {
    for removed in [false, true] {
        let mut site = Site::new();
        let (door, answer) = site.pretend("garbage".to_owned());
        assert_eq!(site.adopt().await, []);
        joined(answer).await;
        assert_eq!(site.rig.supervisor.strangers().count(), 1);
        if removed {
            std::fs::remove_file(&door).unwrap();
        }
        assert_eq!(site.adopt_late().await, []);
        assert_eq!((site.rig.supervisor.strangers().count(), door.exists()), (0, false));
    }
}

/// Its record is not there yet when it is gone, and it is not idle meanwhile.
#[tokio::test]
async fn a_dead_worker_gets_no_job_while_nobody_knows_how_it_ended() {
    let mut site = Site::new();
    let repo = tempfile::tempdir().unwrap();
    let first = real(&site, repo.path(), &[("SEALD_TEST_INVOCATION", "00ff")]).await;
    assert_eq!(site.adopt().await, [Adopted { worker: worker(), job: None }]);
    first.signal(Signal::SIGKILL);
    while site.rig.view().state == "idle" {
        let event = timeout(LONG, site.rig.events.recv()).await.unwrap().unwrap();
        assert_eq!(site.rig.supervisor.on(event, site.rig.now), None, "its end is not known");
    }
    let busy = site.rig.supervisor.run(&worker(), assignment(8, params(), LONG), site.rig.now).unwrap_err();
    assert_eq!(busy.to_string(), "worker cpu/0 is stopping");
}
