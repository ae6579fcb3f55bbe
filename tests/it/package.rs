//! What the package says about seald, held against seald: metrics, commands, places, and the unit files' own promises.
//! That they work is tested under a real systemd, in tests/box.

use crate::{files_below, read};
use std::collections::BTreeSet;

/// Words in a text that look like names of metrics.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("seald_")).collect()
}

#[test]
fn alerts_and_dashboard_use_metrics_that_exist() {
    let documented = read("docs/metrics.md");
    let there = metrics(&documented);
    for file in ["packaging/monitoring/seald.rules.yml", "packaging/monitoring/seald.json"] {
        let text = read(file);
        let used = metrics(&text);
        assert!(used.len() > 10, "{file} uses {used:?} only");
        let unknown: Vec<_> = used.difference(&there).collect();
        assert!(unknown.is_empty(), "{file} uses {unknown:?}, which docs/metrics.md does not have");
    }
}

/// An alert that asks for a job of another name than the one that is to be declared says nothing, ever.
#[test]
fn the_alerts_are_about_the_job_that_is_to_be_declared() {
    let rules = read("packaging/monitoring/seald.rules.yml");
    for text in [&rules, &read("docs/metrics.md")] {
        assert!(text.contains("- job_name: seald\n"), "no job is declared: {text}");
    }
    let named: Vec<_> = rules.split("job=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(named, ["seald"]);
}

/// From its second sample on, a counter that did not move has not moved for a day.
#[test]
fn nothing_sealed_is_said_after_a_day_and_not_after_an_hour() {
    let rules = read("packaging/monitoring/seald.rules.yml");
    let (_, rule) = rules.split_once("alert: SealdNothingSealed\n").unwrap();
    let expression = rule.lines().find_map(|line| line.trim().strip_prefix("expr: ")).unwrap();
    assert!(expression.ends_with(" and seald_in_flight_sectors offset 24h > 0"), "{expression}");
}

#[test]
fn the_dashboard_is_json_whose_panels_ask_for_something() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("packaging/monitoring/seald.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    for panel in panels {
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{} shows nothing", panel["title"]);
    }
}

/// Every file below `packaging/` is in the package or makes it.
#[test]
fn the_package_takes_every_file_that_is_meant_for_it() {
    let listed = read("Cargo.toml");
    for file in files_below("packaging").into_iter().chain(files_below("examples/configs")) {
        let path = file.to_str().unwrap();
        let folder = file.parent().unwrap().to_str().unwrap();
        let makes_it = folder == "packaging/deb";
        let taken = listed.contains(&format!("\"{path}\"")) || listed.contains(&format!("\"{folder}/*\""));
        assert!(makes_it || taken, "{path} is not among the assets of Cargo.toml");
    }
}

/// The value of a setting in a unit file, the last one of that name.
fn setting<'a>(unit: &'a str, name: &str) -> Option<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).next_back()
}

/// A place that one of them may write to and the other may not would be a sector that is placed and cannot be sealed.
#[test]
fn manager_and_workers_may_write_to_the_same_storage() {
    let manager = read("packaging/systemd/seald.service");
    let worker = read("packaging/systemd/seald-worker@.service");
    for name in ["ReadWritePaths", "BindPaths", "ProtectSystem", "ProtectHome", "PrivateTmp", "User", "Group"] {
        assert!(setting(&manager, name).is_some(), "seald.service does not set {name}");
        assert_eq!(setting(&manager, name), setting(&worker, name), "{name}");
    }
    assert_eq!(setting(&worker, "PrivateNetwork"), Some("yes"));
    assert_eq!(setting(&worker, "StandardInput"), Some("socket"));
}

/// A database that is away for a while at a boot must not leave seald down until somebody looks.
#[test]
fn the_manager_is_started_again_however_often_it_fails() {
    let manager = read("packaging/systemd/seald.service");
    assert_eq!(setting(&manager, "StartLimitIntervalSec"), Some("0"));
    assert_eq!(setting(&manager, "Restart"), Some("on-failure"));
    assert_eq!(setting(&manager, "RestartPreventExitStatus"), Some("78"));
    let after = setting(&manager, "After").unwrap();
    assert!(after.split(' ').any(|unit| unit == "postgresql.service"), "{after}");
}

/// What bounds the workers is read from their slice, before the first of them too.
#[test]
fn the_slice_of_the_workers_is_there_before_the_manager() {
    let manager = read("packaging/systemd/seald.service");
    for name in ["Wants", "After"] {
        let units = setting(&manager, name).unwrap();
        assert!(units.split(' ').any(|unit| unit == "seald-workers.slice"), "{name}={units}");
    }
}

/// A `RestartPreventExitStatus=` that differs from what seald ends with would be a restart loop over a bad manifest.
#[test]
fn the_units_start_commands_that_exist() {
    let text =
        ["seald.service", "seald-worker@.service"].map(|file| read(&format!("packaging/systemd/{file}"))).concat();
    let commands = text.lines().filter_map(|line| line.split_once("=/usr/bin/seald ").map(|(_, command)| command));
    let commands: Vec<_> = commands.collect();
    assert_eq!(commands, ["run --wait-for-manifest", "reload", "worker-start", "worker-exit"]);
    for command in commands {
        let mut seald = std::process::Command::new(env!("CARGO_BIN_EXE_seald"));
        let out = seald.args(command.split(' ')).arg("--help").output().unwrap();
        assert!(out.status.success(), "seald {command}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

/// The template of the manifest has comments only, and its example is one: without the marks it can be parsed.
#[test]
fn the_shipped_manifest_is_empty_and_its_example_is_right() {
    let text = read("packaging/etc/seald.toml");
    assert!(text.lines().all(|line| line.starts_with('#')), "a line that is no comment configures every machine");
    let (_, example) = text.split_once("#\n# [miner]").unwrap();
    let example: String =
        format!("# [miner]{example}").lines().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let example = example.replace("#\n", "\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seald.toml");
    std::fs::write(&file, &example).unwrap();
    let mut seald = std::process::Command::new(env!("CARGO_BIN_EXE_seald"));
    let out = seald.args(["plan", "--json", "--config"]).arg(&file).env_clear().output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(4), "changes are pending: {said}\n{example}");
}
