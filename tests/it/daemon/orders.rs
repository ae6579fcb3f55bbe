//! What an operator orders, at the command line, of a daemon that runs: carried out, refused, or only priced.

use super::{endless, rig::Rig};
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use std::process::Output;

/// A command's exit code, stdout and stderr.
fn said(rig: &Rig, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = rig.ask(args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn states(rig: &Rig) -> Vec<(u64, String)> {
    let list = rig.json(&["sectors", "list", "--json"]);
    let row = |row: &Value| (row["number"].as_u64().unwrap(), row["state"].as_str().unwrap().to_owned());
    list["sectors"].as_array().unwrap().iter().map(row).collect()
}

// matrix: A9
#[test]
fn an_order_about_a_sector_that_nobody_knows_makes_none() {
    let rig = endless(1);
    let mut run = rig.start();
    run.until("target 1/1 proving");
    let before = states(&rig);
    for order in [&["retry", "99"][..], &["remove", "99"], &["terminate", "99"], &["set-state", "99", "PreCommit1"]] {
        let args: Vec<&str> = ["sectors"].iter().chain(order).chain(&["--yes"]).copied().collect();
        let (code, out, err) = said(&rig, &args);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        assert!(err.starts_with("error: there is no sector 99\nhelp: `seald sectors list`"), "{args:?}: {err}");
    }
    assert_eq!(states(&rig), before);
    assert_eq!(said(&rig, &["sectors", "show", "99"]).0, Some(1));
    assert_eq!(run.stopped().code(), Some(0));
}

#[test]
fn what_was_ordered_beyond_the_manifest_is_sealed_and_survives_a_kill() {
    let rig = endless(1);
    let mut run = rig.start();
    run.until("target 1/1 proving");
    let pledged = rig.json(&["sectors", "pledge", "2", "--json"]);
    assert_eq!((&pledged["declared"], &pledged["wanted"]), (&1.into(), &3.into()), "{pledged}");
    run.until("/3 proving (2 ordered by command)");
    run.killed();
    // the socket of the one that was killed is still there, and so is the order
    assert!(rig.state().join("control.sock").exists());
    let (code, _, err) = said(&rig, &["sectors", "pledge"]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("error: seald is not running"), "{err}");
    let (_, plan, _) = said(&rig, &["plan"]);
    assert!(plan.contains("of 3 sectors proven (2 of them ordered by command)"), "{plan}");

    let mut run = rig.start();
    run.until("target 3/3 proving (2 ordered by command)");
    assert_eq!(states(&rig).len(), 3);
    let taken_back = rig.json(&["sectors", "pledge", "--as-declared", "--json"]);
    assert_eq!((&taken_back["declared"], &taken_back["wanted"]), (&1.into(), &1.into()), "{taken_back}");
    let status = run.watch(&rig, |status| status["target"]["wanted"] == 1);
    assert_eq!((&status["target"]["ordered"], &status["target"]["proving"]), (&0.into(), &3.into()), "{status:#}");
    assert_eq!(run.stopped().code(), Some(0));
    assert!(!rig.state().join("control.sock").exists());
}

#[test]
fn an_order_that_costs_something_is_priced_first_and_done_only_with_a_yes() {
    let mut rig = endless(1);
    rig.env = vec![("SEALD_SIMULATED_STAGE_MS".to_owned(), "600000".to_owned())];
    let mut run = rig.start();
    run.until("sector 1 PreCommit1");
    // a worker has it, and the chain was asked about it
    run.watch(&rig, |status| status["sectors"][0]["slot"].is_string());
    let before = states(&rig);
    let (code, out, err) = said(&rig, &["sectors", "remove", "1"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.starts_with("sector 1 is in PreCommit1; remove would cost:\n  - "), "{out}");
    assert!(err.contains("nothing was changed") && err.contains("`seald sectors remove 1 --yes`"), "{err}");
    let priced: Value = serde_json::from_str(&said(&rig, &["sectors", "remove", "1", "--json"]).1).unwrap();
    assert_eq!((&priced["done"], &priced["order"], &priced["sector"]), (&false.into(), &"remove".into(), &1.into()));
    assert!(!priced["costs"].as_array().unwrap().is_empty(), "{priced}");
    assert_eq!(states(&rig), before);

    let (code, out, err) = said(&rig, &["sectors", "terminate", "1", "--yes"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.starts_with("error: ") && err.contains("\nhelp: "), "{err}");
    assert_eq!(states(&rig), before);

    let (code, out, err) = said(&rig, &["sectors", "remove", "1", "--yes"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.starts_with("sector 1: remove is recorded"), "{out}");
    assert_ne!(states(&rig)[0], before[0]);
    drop(run.killed());
}

// matrix: A6
#[test]
fn an_order_wins_over_the_result_of_a_worker_that_comes_later() {
    let mut rig = endless(1);
    rig.env = vec![("SEALD_SIMULATED_STAGE_MS".to_owned(), "3000".to_owned())];
    let mut run = rig.start();
    run.until("sector 1 PreCommit1");
    run.watch(&rig, |status| status["sectors"][0]["slot"].is_string());
    let (code, out, err) = said(&rig, &["sectors", "set-state", "1", "FailedUnrecoverable", "--yes"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.starts_with("sector 1: set-state is recorded, it is in FailedUnrecoverable now"), "{out}");
    let late = |line: &Value| line["event"]["event"] == "PreCommit1Done" && line["applied"] == false;
    run.watch(&rig, |_| rig.json(&["sectors", "show", "1", "--json"])["history"].as_array().unwrap().iter().any(late));
    assert_eq!(states(&rig)[0], (1, "FailedUnrecoverable".to_owned()));
    let (_, show, _) = said(&rig, &["sectors", "show", "1"]);
    assert!(show.contains("did not apply"), "{show}");
    // what was given up can be removed, as the chain was asked about it
    let removed = rig.json(&["sectors", "remove", "1", "--yes", "--json"]);
    assert_eq!((&removed["done"], &removed["state"]), (&true.into(), &"Removing".into()), "{removed}");
    drop(run.killed());
}

/// Changes the database behind seald's back.
fn spoil(rig: &Rig, statements: &[&'static str]) {
    let path = rig.state().join("seald.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut database = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
        for statement in statements {
            assert_eq!(sqlx::query(*statement).execute(&mut database).await.unwrap().rows_affected(), 1, "{statement}");
        }
        database.close().await.unwrap();
    });
}

#[test]
fn a_parked_sector_says_how_it_is_tried_again_and_a_retry_takes_it_to_the_target() {
    let mut rig = endless(1);
    rig.env = vec![("SEALD_SIMULATED_STAGE_MS".to_owned(), "600000".to_owned())];
    let mut run = rig.start();
    run.until("sector 1 PreCommit1");
    run.watch(&rig, |status| status["sectors"][0]["slot"].is_string());
    run.killed();
    // what only an operator can change is tried once
    spoil(
        &rig,
        &[
            "UPDATE sectors SET record = REPLACE(REPLACE(record, '\"attempts\":0', '\"attempts\":1'), '\"failure\":null', \
           '\"failure\":{\"class\":\"operator\",\"doing\":\"precommit1\",\"error\":\"no such folder\"}') WHERE number = 1",
        ],
    );
    rig.env = vec![("SEALD_SIMULATED_STAGE_MS".to_owned(), "20".to_owned())];
    let mut run = rig.start();
    let parked = "an operator: precommit1 failed once";
    let status = run.watch(&rig, |status| status["sectors"][0]["waits_for"] == parked);
    assert!(status["sectors"][0]["since"].is_number(), "{status:#}");
    let alarm = &status["alarms"][0];
    assert_eq!(alarm["what"], "parked after 1 attempt: precommit1: no such folder", "{status:#}");
    assert!(alarm["remedy"].as_str().unwrap().contains("`seald sectors retry 1`"), "{alarm}");
    let (_, show, _) = said(&rig, &["sectors", "show", "1"]);
    assert!(show.contains(parked) && show.contains("since") && show.contains("an operator acts"), "{show}");
    let (_, list, _) = said(&rig, &["sectors", "list", "--why", "no such folder", "--failed", "--waiting"]);
    assert!(list.contains("PreCommit1"), "{list}");

    let (code, out, err) = said(&rig, &["sectors", "retry", "1"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("sector 1: retry is recorded, it is in PreCommit1 now"), "{out}");
    run.until("target 1/1 proving");
    assert_eq!(run.stopped().code(), Some(0));
}

// matrix: A8
#[test]
fn a_record_that_cannot_be_read_is_quarantined_and_shown_while_the_others_go_on() {
    let mut rig = Rig::simulated(4, 20);
    rig.finish();
    spoil(
        &rig,
        &[
            // a state that nobody knows
            "UPDATE sectors SET state = 'Baking', record = REPLACE(record, '\"state\":\"Proving\"', '\"state\":\"Baking\"') \
             WHERE number = 1",
            // a write that was cut
            "UPDATE sectors SET record = SUBSTR(record, 1, 40) WHERE number = 2",
            // what a later version may say
            "UPDATE sectors SET record = REPLACE(record, '\"proof\":', '\"proof\":9') WHERE number = 3",
        ],
    );
    rig.sectors = 5;
    rig.run.retain(|arg| arg != "--until-target");
    let mut run = rig.start();
    let status = run.watch(&rig, |_| states(&rig).iter().any(|(number, state)| *number > 4 && state == "Proving"));
    for number in [1, 2, 3] {
        let about = format!("sectors {number}");
        let alarms = status["alarms"].as_array().unwrap();
        assert!(alarms.iter().any(|alarm| alarm["about"] == about.as_str()), "{status:#}");
        let (code, _, err) = said(&rig, &["sectors", "show", &number.to_string()]);
        assert!(code == Some(1) && err.starts_with(&format!("error: sector {number} is quarantined")), "{err}");
        let (code, _, err) = said(&rig, &["sectors", "remove", &number.to_string(), "--yes"]);
        assert!(code == Some(1) && err.starts_with(&format!("error: sector {number} is quarantined")), "{err}");
    }
    assert_eq!(rig.ask(&["status"]).status.code(), Some(1));
    let (code, list, _) = said(&rig, &["sectors", "list"]);
    assert_eq!(code, Some(0));
    assert_eq!(list.matches("quarantined, cannot be read: sectors ").count(), 3, "{list}");
    let readable = states(&rig);
    assert!(readable.contains(&(4, "Proving".to_owned())) && readable.iter().all(|(n, _)| *n > 3), "{readable:?}");
    assert_eq!(run.stopped().code(), Some(0));
}
