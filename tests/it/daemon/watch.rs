//! Whoever looks on while a real daemon seals: the event stream tells everything that happens, in order, and one who stops
//! reading holds nobody up; metrics come over the network.

use super::{endless, rig::Rig};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    process::{Child, Stdio},
    sync::mpsc,
    time::Duration,
};

/// A line that does not come within this time is a failure.
const PATIENCE: Duration = Duration::from_secs(90);

/// `seald status --watch --json`, read line by line.
struct Watch {
    child: Child,
    lines: mpsc::Receiver<Value>,
    told: Vec<Value>,
}

impl Watch {
    fn start(rig: &Rig) -> Self {
        let mut command = rig.command(&["status", "--watch", "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, told: Vec::new() }
    }

    fn until(&mut self, is_it: impl Fn(&Value) -> bool) {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("fell silent after {:?}", self.told.last()));
            let found = is_it(&line);
            self.told.push(line);
            if found {
                return;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

fn history(rig: &Rig, number: u64) -> Vec<String> {
    let show = rig.json(&["sectors", "show", &number.to_string(), "--json"]);
    let applied = show["history"].as_array().unwrap().iter().filter(|line| line["applied"] == true);
    applied.map(|line| line["event"]["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_stream_tells_every_move_and_one_who_stops_reading_holds_nobody_up() {
    let rig = endless(0);
    let mut run = rig.start();
    run.until("prepared the miner actor");
    let mut watch = Watch::start(&rig);
    watch.until(|line| line["kind"] == "status" && line["snapshot"]["miner"].is_string());
    let mut stalled = UnixStream::connect(rig.state().join("control.sock")).unwrap();
    stalled.write_all(b"GET /v1/events HTTP/1.1\r\nHost: seald\r\n\r\n").unwrap();
    rig.json(&["sectors", "pledge", "3", "--json"]);
    run.until("target 3/3 proving");
    let is_over = |line: &Value| line["kind"] == "status" && line["snapshot"]["target"]["proving"] == 3;
    watch.until(is_over);
    assert!(!watch.told.iter().any(|line| line["kind"] == "lagged"));
    for number in 1..=3 {
        let moves: Vec<&Value> = watch.told.iter().filter(|line| line["number"] == number).collect();
        let events: Vec<&str> = moves.iter().map(|line| line["event"].as_str().unwrap()).collect();
        let history = history(&rig, number);
        assert_eq!(events[0], "Created");
        // the history may have grown since the last line that was read
        assert_eq!(events[1..], history[..events.len() - 1]);
        assert!(events.contains(&"Proving"), "{events:?}");
        for pair in moves.windows(2) {
            assert_eq!(pair[0]["to"], pair[1]["from"], "{pair:#?}");
        }
    }
    assert_eq!(run.stopped().code(), Some(0));
    watch.until(|line| line["kind"] == "down");
    drop(stalled);
}

#[test]
fn metrics_are_printed_written_and_served_on_the_address_of_the_manifest() {
    let mut rig = endless(1);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    rig.more = vec![format!("--set=node.address={address}")];
    let mut run = rig.start();
    run.until("target 1/1 proving");
    let line = "seald_proving_sectors 1";
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: seald\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains(&format!("\n{line}\n")), "{page}");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: seald\r\nConnection: close\r\n\r\n").unwrap();
    let mut other = String::new();
    stream.read_to_string(&mut other).unwrap();
    assert!(other.starts_with("HTTP/1.1 404"), "{other}");
    let printed = String::from_utf8(rig.ask(&["metrics"]).stdout).unwrap();
    assert!(printed.lines().any(|found| found == line), "{printed}");
    let file = rig.state().join("seald.prom");
    assert_eq!(rig.ask(&["metrics", "--output", file.to_str().unwrap()]).status.code(), Some(0));
    assert!(std::fs::read_to_string(&file).unwrap().contains(line));

    // a second one cannot have the address: it works all the same, and says so
    let mut second = endless(0);
    second.more.clone_from(&rig.more);
    let mut other = second.start();
    other.until("ALARM node.address: cannot listen on");
    assert_eq!(other.stopped().code(), Some(0));
    assert_eq!(run.stopped().code(), Some(0));
}
