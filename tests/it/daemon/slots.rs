//! Slots that operators hold while a real daemon seals: cordoned, drained, paused, let go again, and over a restart.

use super::{
    endless,
    rig::{Kind, Rig},
};
use serde_json::Value;
use std::{io::Read as _, process::Stdio};

const LONG: &str = "600000";

/// One sector whose first stage takes as long as `ms` says, up to the moment when a worker has it.
fn busy(ms: &str) -> (Rig, super::rig::Run) {
    let mut rig = endless(1);
    // nobody takes over from the other
    rig.more = vec!["--set=slot.light.tasks=[\"finalize\"]".to_owned()];
    rig.env = vec![("SEALD_SIMULATED_STAGE_MS".to_owned(), ms.to_owned())];
    let mut run = rig.start();
    run.until("sector 1 PreCommit1");
    run.watch(&rig, |status| status["sectors"][0]["slot"].is_string());
    (rig, run)
}

/// The worker that has the sector.
fn place(status: &Value) -> String {
    status["sectors"][0]["slot"].as_str().unwrap().to_owned()
}

fn slot<'a>(status: &'a Value, place: &str) -> &'a Value {
    let is = |slot: &&Value| format!("{}/{}", slot["slot"].as_str().unwrap(), slot["instance"]) == place;
    status["slots"].as_array().unwrap().iter().find(is).unwrap_or_else(|| panic!("no slot {place} in {status:#}"))
}

/// Whether anything in the sector's history is a failed attempt.
fn has_failed(rig: &Rig) -> bool {
    let show = rig.json(&["sectors", "show", "1", "--json"]);
    let failed = |line: &Value| line["event"]["event"].as_str().unwrap().contains("Failed");
    show["history"].as_array().unwrap().iter().any(failed) || show["sector"]["attempts"] != 0
}

#[test]
fn a_paused_task_ends_at_once_goes_on_later_and_is_no_failure() {
    let (mut rig, mut run) = busy(LONG);
    let status = rig.json(&["status", "--json"]);
    let who = place(&status);
    let pid = slot(&status, &who)["pid"].clone();
    let name = who.split('/').next().unwrap();
    let answer = rig.ask(&["pause", name, "--now", "--wait"]);
    let said = String::from_utf8(answer.stdout).unwrap();
    assert_eq!(answer.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("slot {who}: paused, sector 1 precommit1 ends now and goes on later")), "{said}");
    let waits = format!("slot {name}, which is paused: `seald resume {name}` lets it go on");
    let status = run.watch(&rig, |status| status["sectors"][0]["waits_for"] == waits.as_str());
    assert_ne!(slot(&status, &who)["pid"], pid, "the worker was ended");
    assert_eq!(slot(&status, &who)["held"]["how"], "paused");

    // a restart keeps it
    drop(run.killed());
    rig.env = vec![("SEALD_SIMULATED_STAGE_MS".to_owned(), "20".to_owned())];
    let mut run = rig.start();
    run.until("sector 1 PreCommit1, waits for");
    let status = run.watch(&rig, |status| status["sectors"][0]["waits_for"] == waits.as_str());
    assert_eq!(slot(&status, &who)["held"]["place"], name);
    assert_eq!(rig.ask(&["resume", "--all"]).status.code(), Some(0));
    run.until("target 1/1 proving");
    assert!(!has_failed(&rig));
    assert_eq!(run.stopped().code(), Some(0));
}

#[test]
fn a_drained_slot_finishes_its_task_then_its_worker_leaves() {
    let (rig, mut run) = busy("2000");
    let status = rig.json(&["status", "--json"]);
    let who = place(&status);
    let answer = rig.ask(&["drain", &who, "--wait"]);
    let told = String::from_utf8(answer.stderr).unwrap();
    assert_eq!(answer.status.code(), Some(0), "{told}");
    assert!(told.contains(&format!("waits for slot {who}: sector 1 precommit1")), "{told}");
    let history = rig.json(&["sectors", "show", "1", "--json"])["history"].to_string();
    assert!(history.contains("PreCommit1Done") && !has_failed(&rig), "{history}");
    let status = run.watch(&rig, |status| slot(status, &who)["state"] == "away");
    assert_eq!((&slot(&status, &who)["pid"], &slot(&status, &who)["held"]["how"]), (&Value::Null, &"drained".into()));
    assert_eq!(rig.ask(&["resume", &who]).status.code(), Some(0));
    run.watch(&rig, |status| slot(status, &who)["pid"].is_number() && slot(status, &who)["held"].is_null());
    run.until("target 1/1 proving");
    assert_eq!(run.stopped().code(), Some(0));
}

#[test]
fn a_wait_ends_well_without_a_reader_and_with_an_error_when_somebody_resumes_the_slot() {
    let (rig, mut run) = busy(LONG);
    let who = place(&rig.json(&["status", "--json"]));
    let (mut said, writer) = std::io::pipe().unwrap();
    let mut waiting = rig.command(&["drain", &who, "--wait"]);
    let mut child = waiting.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
    drop(waiting);
    let mut first = [0];
    // it waits now
    said.read_exact(&mut first).unwrap();
    assert_eq!(rig.ask(&["resume", &who]).status.code(), Some(0));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains(&format!("error: slot {who} takes tasks again")), "{rest}");
    assert!(rest.contains(&format!("help: `seald drain {who} --wait`")), "{rest}");

    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let mut waiting = rig.command(&["drain", &who, "--wait"]);
    let mut child = waiting.stdout(Stdio::null()).stderr(closed).spawn().unwrap();
    // it has said what it waits for, or panicked over it, when the order shows
    run.watch(&rig, |status| slot(status, &who)["held"]["how"] == "drained");
    assert_eq!(rig.ask(&["pause", &who, "--now"]).status.code(), Some(0));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(run.stopped().code(), Some(0));
}

#[test]
fn a_cordoned_slot_keeps_its_worker_and_an_unknown_one_is_refused_with_those_there_are() {
    let (rig, mut run) = busy("1000");
    let status = rig.json(&["status", "--json"]);
    let who = place(&status);
    let name = who.split('/').next().unwrap().to_owned();
    let pid = slot(&status, &who)["pid"].clone();
    let ruled = rig.json(&["cordon", &name, "--json"]);
    assert_eq!((&ruled["order"], &ruled["stopped"]), (&"cordon".into(), &Value::Array(vec![])), "{ruled:#}");
    let status =
        run.watch(&rig, |status| slot(status, &who)["state"] == "idle" && status["sectors"][0]["since"].is_number());
    assert_eq!(slot(&status, &who)["pid"], pid);
    for (args, error, help) in [
        (&["drain", "gpu7"][..], "error: there is no slot gpu7", "help: the manifest has "),
        (&["pause", &format!("{name}/99"), "--now"], "error: there is no worker ", "help: give "),
    ] {
        let answer = rig.ask(args);
        let said = String::from_utf8(answer.stderr).unwrap();
        assert_eq!(answer.status.code(), Some(1), "{said}");
        assert!(said.starts_with(error) && said.contains(help), "{said}");
    }
    assert_eq!(rig.ask(&["resume", &name]).status.code(), Some(0));
    run.until("target 1/1 proving");
    assert_eq!(run.stopped().code(), Some(0));
    assert!(rig.processes(Kind::Worker).is_empty());
}
