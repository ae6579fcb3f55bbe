//! Other manifests for a daemon that runs: brought into force, refused, rolled back, written at last.

use super::{assert_proven, endless, rig::Rig};
use crate::{read, root};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::{
    fs,
    process::{Output, Stdio},
};

fn example() -> String {
    read(root().join("examples/configs/devnet.toml").to_str().unwrap())
}

/// The example with so many workers of its first slot, and another cap of fees.
fn with(count: u64, fee: u64) -> String {
    example().replacen("count = 1", &format!("count = {count}"), 1) + &format!("\n[fees]\nmax_commit = \"{fee} FIL\"\n")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn generation(rig: &Rig) -> u64 {
    rig.json(&["status", "--json"])["generation"]["number"].as_u64().unwrap()
}

fn about_manifest(status: &Value) -> Option<&str> {
    let alarms = status["alarms"].as_array()?;
    alarms.iter().find(|alarm| alarm["about"] == "manifest")?["what"].as_str()
}

#[test]
fn a_hundred_reloads_under_load_lose_nothing() {
    let mut rig = endless(6);
    rig.env = vec![("SEALD_SIMULATED_STAGE_MS".to_owned(), "150".to_owned())];
    rig.write_manifest(&with(1, 1));
    let mut run = rig.start();
    run.until("sector 1 PreCommit1");
    for turn in 0..100_u64 {
        rig.write_manifest(&with(1 + (turn + 1) % 3, 1 + (turn + 1) % 2));
        let answer = rig.ask(&["reload", "--json"]);
        let told = said(&answer);
        assert_eq!(answer.status.code(), Some(0), "{turn}: {told}");
        let told: Value = serde_json::from_slice(&answer.stdout).unwrap();
        assert_eq!((&told["applied"], &told["generation"]), (&true.into(), &(turn + 2).into()), "{told:#}");
    }
    run.until("target 6/6 proving");
    assert_eq!(generation(&rig), 101);
    let answer = rig.ask(&["reload"]);
    assert!(said(&answer).contains("nothing changed; generation 101"), "{}", said(&answer));
    let list = rig.json(&["sectors", "list", "--json"]);
    assert_eq!(list["sectors"].as_array().unwrap().len(), 6, "{list:#}");
    for number in 1..=6 {
        let show = rig.json(&["sectors", "show", &number.to_string(), "--json"]);
        let history = show["history"].to_string();
        assert!(!history.contains("Failed"), "{history}");
        assert_eq!(history.matches("PreCommit1Done").count(), 1, "{history}");
    }
    run.trimmed(&rig);
    assert_eq!(run.stopped().code(), Some(0));
    assert_proven(&rig);
}

#[test]
fn a_bad_manifest_is_refused_with_its_place_and_changes_nothing() {
    let mut rig = endless(1);
    rig.write_manifest(&with(1, 1));
    let mut run = rig.start();
    run.until("sector 1");
    let before = generation(&rig);
    // it seals: that is nothing that a reload would change
    let plan = rig.ask(&["plan"]);
    let told = said(&plan);
    assert_eq!(plan.status.code(), Some(0), "{told}");
    assert!(told.starts_with("a reload would change nothing of generation "), "{told}");
    assert!(!told.contains("a start does") && !told.contains("start worker"), "{told}");
    for (text, reason) in [
        (with(0, 1), "slot.cpu.count"),
        (with(1, 1) + "\n[slott.x]\n", "slott"),
        (with(1, 1).replace("\"2KiB\"", "\"8MiB\""), "miner.sector_size: 2KiB becomes 8MiB"),
        (with(1, 1) + "\n[workers]\nlauncher = \"direct\"\n", "workers.launcher"),
        (with(1, 1) + "\n[repo.gone]\npath = \"/proc/nothing\"\nroles = [\"store\"]\n", "repo.gone.path"),
    ] {
        rig.write_manifest(&text);
        let answer = rig.ask(&["reload"]);
        let told = said(&answer);
        assert_eq!(answer.status.code(), Some(1), "{told}");
        assert!(told.contains(reason) && told.contains("help: "), "{reason}: {told}");
        let status = run.watch(&rig, |status| about_manifest(status).is_some_and(|what| what.contains(reason)));
        assert_eq!(status["generation"]["number"], before);
    }
    // a plan says what a reload would: of what only the daemon finds here, and of what it refuses
    rig.write_manifest(&(with(1, 1) + "\n[repo.gone]\npath = \"/proc/nothing\"\nroles = [\"store\"]\n"));
    let (plan, reload) = (rig.ask(&["plan"]), rig.ask(&["reload"]));
    assert_eq!(plan.status.code(), Some(3));
    let refusal = said(&plan);
    assert!(refusal.starts_with("error: ") && said(&reload).ends_with(&refusal), "{refusal}{}", said(&reload));
    rig.write_manifest(&with(2, 1).replace("\"2KiB\"", "\"8MiB\""));
    let plan = rig.ask(&["plan"]);
    assert_eq!(plan.status.code(), Some(4));
    let told = said(&plan);
    assert!(told.starts_with("`seald reload` refuses this manifest, and generation "), "{told}");
    assert!(told.contains("\nthese changes wait for that:\n  slot.cpu.count: 1 -> 2 (new jobs)\n"), "{told}");
    assert_eq!(told.matches("miner.sector_size").count(), 1, "{told}");

    // the place of what is wrong, as `seald check` says it
    rig.write_manifest(&with(0, 1));
    let line = with(0, 1).lines().position(|line| line == "count = 0").unwrap() + 1;
    assert!(said(&rig.ask(&["reload"])).contains(&format!("seald.toml:{line}:")));

    rig.write_manifest(&with(2, 1));
    let plan = rig.ask(&["plan"]);
    assert!(said(&plan).contains("slot.cpu.count: 1 -> 2 (new jobs)"), "{}", said(&plan));
    assert_eq!((plan.status.code(), generation(&rig)), (Some(4), before));
    assert_eq!(rig.ask(&["reload"]).status.code(), Some(0));
    let status = run.watch(&rig, |status| about_manifest(status).is_none());
    assert_eq!(status["generation"]["number"], before + 1);
    run.until("target 1/1 proving");
    assert_eq!(run.stopped().code(), Some(0));
}

#[test]
fn reloads_take_turns_a_preview_holds_up_nobody_and_a_disk_that_hangs_ends_nothing() {
    let mut rig = endless(2);
    rig.write_manifest(&with(1, 1));
    let mut run = rig.start();
    run.until("target 0/2");
    let begin = |args: &[&str]| {
        let mut command = rig.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for _ in 0..5 {
        let asked: Vec<_> = (0..8).map(|n| begin(&[if n % 2 == 0 { "reload" } else { "plan" }])).collect();
        for one in asked {
            let told = said(&one.wait_with_output().unwrap());
            assert!(!told.contains("ask again"), "{told}");
        }
    }
    let elsewhere = std::mem::replace(&mut rig.config, root().join("examples/configs/cpu.toml"));
    let refused = rig.ask(&["reload"]);
    assert!(said(&refused).contains("the daemon that runs here reads"), "{}", said(&refused));
    assert!(!refused.status.success());
    rig.config = elsewhere;

    // nobody ever writes into it
    let dropins = rig.config.with_extension("d");
    fs::create_dir(&dropins).unwrap();
    let hangs = dropins.join("hangs.toml");
    nix::unistd::mkfifo(&hangs, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let refused = rig.ask(&["reload"]);
    assert!(said(&refused).contains("does not answer") && !refused.status.success(), "{}", said(&refused));
    fs::remove_file(&hangs).unwrap();
    let answer = rig.ask(&["reload"]);
    assert!(answer.status.success(), "{}", said(&answer));
    assert_eq!(run.stopped().code(), Some(0));
}

#[test]
fn a_rollback_returns_and_a_start_keeps_to_it_until_the_file_is_edited() {
    let mut rig = endless(1);
    rig.write_manifest(&with(1, 1));
    let mut run = rig.start();
    run.until("target 1/1 proving");
    let answer = rig.ask(&["rollback"]);
    assert!(said(&answer).contains("there is no generation before"), "{}", said(&answer));
    rig.write_manifest(&with(2, 1));
    // a signal asks for the same, without an answer
    kill(run.pid(), Signal::SIGHUP).unwrap();
    let workers = |status: &Value| status["slots"].as_array().unwrap().len();
    run.watch(&rig, |status| status["generation"]["number"] == 2 && workers(status) == 3);
    let answer = rig.ask(&["rollback"]);
    assert_eq!(answer.status.code(), Some(0), "{}", said(&answer));
    run.watch(&rig, |status| status["generation"]["number"] == 3 && workers(status) == 2);
    drop(run.killed());

    let mut run = rig.start();
    run.until("target 1/1 proving");
    let status = run.watch(&rig, |status| about_manifest(status).is_some());
    assert!(about_manifest(&status).unwrap().contains("was rolled back to generation 3"), "{status:#}");
    assert_eq!((status["generation"]["number"].as_u64(), workers(&status)), (Some(3), 2));
    // asked for by name, it is taken again
    let answer = rig.ask(&["reload"]);
    assert_eq!(answer.status.code(), Some(0), "{}", said(&answer));
    run.watch(&rig, |status| about_manifest(status).is_none() && workers(status) == 3);
    assert_eq!(run.stopped().code(), Some(0));
}

#[test]
fn a_daemon_without_a_manifest_says_what_to_write_and_a_reload_brings_it_up() {
    let mut rig = endless(1);
    rig.run.push("--wait-for-manifest".to_owned());
    rig.write_manifest("# nothing yet\n");
    let mut run = rig.start();
    run.until("not configured");
    let status =
        run.watch(&rig, |status| status["alarms"][0]["what"].as_str().is_some_and(|w| w.contains("sets nothing")));
    assert_eq!((&status["daemon"], &status["generation"]), (&"running".into(), &Value::Null));
    assert_eq!(rig.ask(&["status"]).status.code(), Some(1));
    let answer = rig.ask(&["sectors", "pledge"]);
    assert!(said(&answer).contains("not configured"), "{}", said(&answer));
    rig.write_manifest("[miner]\nactor = 7\n");
    let answer = rig.ask(&["reload"]);
    assert_eq!(answer.status.code(), Some(1));
    assert!(said(&answer).contains("seald.toml:2:9: miner.actor"), "{}", said(&answer));
    let is_told = |status: &Value| status["alarms"][0]["what"].as_str().is_some_and(|w| w.contains("miner.actor"));
    run.watch(&rig, is_told);

    rig.write_manifest(&example());
    // it has nothing to compare with
    let plan = rig.ask(&["plan"]);
    assert_eq!(plan.status.code(), Some(4));
    assert!(said(&plan).contains("a start does, in order:"), "{}", said(&plan));
    let answer = rig.ask(&["reload"]);
    assert_eq!(answer.status.code(), Some(0), "{}", said(&answer));
    assert!(said(&answer).contains("generation 1 of the manifest is in force"), "{}", said(&answer));
    run.until("target 1/1 proving");
    run.trimmed(&rig);
    assert_eq!(run.stopped().code(), Some(0));
    assert_proven(&rig);
}
