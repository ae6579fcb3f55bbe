//! Whoever looks at the miner and its sectors: with a chain that answers, with one that is away, and without a daemon.

use super::{chain::fault, endless, rig::Rig};
use serde_json::{Value, json};
use std::process::Output;

/// What a command prints, and its exit code.
fn said(rig: &Rig, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = rig.ask(args);
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// What the list says of a sector.
fn row(rig: &Rig, number: u64, more: &[&str]) -> Value {
    let list = rig.json(&[&["sectors", "list", "--json"], more].concat());
    let mut rows = list["sectors"].as_array().unwrap().iter();
    rows.find(|row| row["number"] == number).unwrap_or_else(|| panic!("no sector {number} in {list:#}")).clone()
}

#[test]
fn the_chain_is_told_beside_the_database_and_when_it_is_away_the_database_alone() {
    let rig = endless(2);
    let mut run = rig.start();
    run.until("target 2/2 proving");
    let info = rig.json(&["info", "--json"]);
    assert_eq!(
        (&info["committed"], &info["proving"], &info["states"]),
        (&2.into(), &2.into(), &json!([["Proving", 2]]))
    );
    assert!(info["winning"]["blocks_per_day"].as_f64().unwrap() > 0.0, "{info:#}");
    assert_eq!((&info["daily_fee"], &info["deadline"]["due"]["faulty"]), (&"0".into(), &0.into()), "{info:#}");
    let (code, text) = said(&rig, &["info", "--hide-sectors"]);
    assert_eq!(code, Some(0), "{text}");
    for line in ["Chain:", "Daemon:", "Expected block win rate:", "Daily Fee:", "Worker Balance:", "Deadline:", "Due:"]
    {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    assert!(!text.contains("Sectors:") && text.contains("running for "), "{text}");

    let one = row(&rig, 1, &["--states", "Proving,WaitSeed"]);
    assert_eq!((&one["on_chain"], &one["active"]), (&true.into(), &true.into()), "{one:#}");
    assert!(one["expiration"].as_i64().unwrap() > 500_000, "{one:#}");
    assert_eq!(row(&rig, 1, &["--fast"])["on_chain"], Value::Null);
    let show = rig.json(&["sectors", "status", "1", "--on-chain-info", "--json"]);
    let terms = &show["on_chain"]["terms"];
    assert_eq!(
        (&terms["expiration"], &terms["initial_pledge"]),
        (&one["expiration"], &show["sector"]["activation"]["pledge"])
    );
    assert!(terms["deadline"].is_u64() && terms["on_time"] == one["expiration"], "{show:#}");
    for name in ["comm_d", "comm_r", "precommit", "commit"] {
        assert!(show["names"][name].as_str().unwrap().starts_with("ba"), "{name}: {show:#}");
    }
    let porep = show["sector"]["porep"].as_str().unwrap().to_owned();
    let (code, text) = said(&rig, &["sectors", "show", "1", "--proof"]);
    assert!(code == Some(0) && text.contains(&porep), "{text}");
    assert!(!said(&rig, &["sectors", "show", "1"]).1.contains(&porep));

    fault(&rig, "sector", &json!({ "miner": info["miner"], "number": 2, "condition": "faulty" }));
    run.watch(&rig, |_| row(&rig, 2, &[])["active"] == false);
    assert_eq!(row(&rig, 2, &[])["on_chain"], true);
    assert_eq!(rig.json(&["info", "--json"])["faulty"], 1);

    fault(&rig, "fail", &json!({ "method": "StateMinerSectors", "count": 1_000 }));
    let list = rig.json(&["sectors", "list", "--json"]);
    assert!(list["unknown"].as_str().unwrap().contains("told to fail"), "{list:#}");
    assert_eq!((list["sectors"].as_array().unwrap().len(), &list["sectors"][0]["on_chain"]), (2, &Value::Null));
    let (code, text) = said(&rig, &["sectors", "list"]);
    assert!(code == Some(0) && text.contains("expiration are not known: "), "{text}");
    assert_eq!(run.stopped().code(), Some(0));

    // the devnet went with the daemon
    let (code, text) = said(&rig, &["sectors", "list"]);
    assert!(code == Some(0) && text.contains("expiration are not known: "), "{text}");
    let (code, text) = said(&rig, &["sectors", "list", "--fast"]);
    assert!(code == Some(0) && !text.contains("not known"), "{text}");
    let (code, text) = said(&rig, &["sectors", "show", "1", "--on-chain-info"]);
    assert!(code == Some(1) && text.contains("\nhelp: "), "{text}");
}
