//! The command line as scripts see it: help, exit codes, which stream says what. Golden texts are in `golden/`;
//! `UPDATE_EXPECT=1` rewrites them.

mod render;
mod sample;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Compares with a golden file, or writes it.
fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs; UPDATE_EXPECT=1 rewrites it\n--- expected\n{expected}\n--- actual\n{actual}",
        path.display()
    );
}

/// `seald` with nothing from this environment, not even a terminal.
fn seald(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seald"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const COMMANDS: &[&str] = &[
    "",
    "run",
    "check",
    "plan",
    "reload",
    "rollback",
    "status",
    "sectors",
    "sectors list",
    "sectors show",
    "sectors pledge",
    "sectors retry",
    "sectors remove",
    "sectors terminate",
    "sectors set-state",
    "cordon",
    "drain",
    "pause",
    "resume",
    "info",
    "logs",
    "api",
    "api token",
    "api info",
    "metrics",
    "init",
    "params",
    "params check",
    "params fetch",
    "params generate",
    "bench",
    "devnet",
    "version",
    "completions",
    "man",
    "worker",
];

#[test]
fn every_help_is_as_written() {
    for name in COMMANDS {
        let args: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
        let Output { status, stdout, stderr } = seald(&args);
        assert_eq!(status.code(), Some(0), "{name}");
        assert_eq!(text(&stderr), "", "{name}");
        let file = ["seald"].into_iter().chain(name.split_whitespace()).collect::<Vec<_>>().join("-");
        golden(&format!("help/{file}.txt"), &text(&stdout));
    }
}

#[test]
fn every_command_of_the_help_has_a_golden_file() {
    let main = text(&seald(&["--help"]).stdout);
    let listed = main.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: Vec<&str> = listed.filter_map(|line| line.split_whitespace().next()).filter(|n| *n != "help").collect();
    let tested: Vec<&str> =
        COMMANDS.iter().copied().filter(|n| !n.is_empty() && !n.contains(' ') && *n != "worker").collect();
    assert_eq!(listed, tested, "hidden: worker");
}

#[test]
fn a_wrong_command_line_is_2_and_on_stderr() {
    for args in [
        &["stauts"][..],
        &[],
        &["status", "--set", "x"],
        &["--log", "a=loud", "status"],
        &["sectors", "show", "-1"],
        &["sectors", "pledge", "0"],
        &["sectors", "pledge", "3", "--as-declared"],
        &["sectors", "remove"],
        &["sectors", "set-state", "1", "Packed"],
        &["drain"],
        &["pause", "cpu", "--all"],
        &["resume", "CPU"],
    ] {
        let Output { status, stdout, stderr } = seald(args);
        assert_eq!(status.code(), Some(2), "{args:?}");
        assert_eq!(text(&stdout), "", "{args:?}");
        assert!(!stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_word_that_is_nearly_right_gets_a_hint() {
    assert!(text(&seald(&["stauts"]).stderr).contains("'status'"));
    assert!(text(&seald(&["sectors", "list", "--state", "WaitSed"]).stderr).contains("'WaitSeed'"));
}

#[test]
fn a_reader_that_goes_away_is_not_an_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let Output { status, stderr, .. } = command(&["completions", "bash"]).stdout(writer).output().unwrap();
    assert_eq!((status.code(), text(&stderr)), (Some(0), String::new()));
}

#[test]
fn a_completion_offers_nothing_that_the_help_hides() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&seald(&["completions", shell]).stdout);
        for word in ["set-state", "until-target", "as-declared", "config"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
        for hidden in ["simulate-proofs", "devnet-epoch-ms", "worker)", "seald worker"] {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
}

#[test]
fn a_verb_that_changes_something_wants_a_daemon_and_says_how_to_start_it() {
    for args in [
        &["sectors", "pledge"][..],
        &["sectors", "pledge", "--as-declared"],
        &["sectors", "retry", "1"],
        &["sectors", "remove", "1", "--yes"],
        &["sectors", "terminate", "1", "--yes"],
        &["sectors", "set-state", "1", "PreCommit1", "--yes"],
        &["cordon", "cpu"],
        &["drain", "cpu/0", "--wait"],
        &["pause", "--all", "--now"],
        &["resume", "cpu"],
    ] {
        let Output { status, stdout, stderr } = with_manifest(&devnet(), args);
        assert_eq!((status.code(), text(&stdout)), (Some(1), String::new()), "{args:?}");
        let said = text(&stderr);
        assert!(said.starts_with("error: seald is not running"), "{said}");
        assert!(said.contains("\nhelp: start it with `seald run --config seald.toml`"), "{said}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_visible_command() {
    let folder = tempfile::tempdir().unwrap();
    let made = seald(&["man", "--dir", folder.path().to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    for name in COMMANDS.iter().filter(|name| **name != "worker") {
        let page = ["seald"].into_iter().chain(name.split_whitespace()).collect::<Vec<_>>().join("-");
        assert!(folder.path().join(format!("{page}.1")).exists(), "{page}");
    }
    assert!(!folder.path().join("seald-worker.1").exists());
}

/// A state folder as a daemon leaves it.
struct State(tempfile::TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn has(&self, snapshot: &seald::status::Snapshot) {
        fs::write(self.path("status.json"), serde_json::to_string(snapshot).unwrap()).unwrap();
    }

    /// What a living daemon holds.
    fn lock(&self) -> fs::File {
        let lock = fs::File::create(self.path("lock")).unwrap();
        lock.lock().unwrap();
        lock
    }

    fn status(&self, more: &[&str]) -> Output {
        let args = ["status", "--state-dir", self.0.path().to_str().unwrap()];
        seald(&args.iter().chain(more).copied().collect::<Vec<_>>())
    }
}

#[test]
fn status_before_the_first_run_says_how_to_start() {
    let Output { status, stdout, stderr } = State::new().status(&["--config", "/etc/mine.toml"]);
    assert_eq!(status.code(), Some(1));
    assert_eq!(text(&stdout), "");
    let said = text(&stderr);
    assert!(said.starts_with("error: seald has not run yet with this manifest"), "{said}");
    assert!(said.contains("\nhelp: start it with `seald run --config /etc/mine.toml`"), "{said}");
}

#[test]
fn status_knows_whether_the_daemon_lives() {
    let state = State::new();
    let mut snapshot = sample::sealing();
    snapshot.at = seald::clock::now();
    state.has(&snapshot);

    let down = state.status(&[]);
    assert_eq!(down.status.code(), Some(1));
    assert!(text(&down.stdout).contains("not running; facts are 0 s old"), "{}", text(&down.stdout));

    let lock = state.lock();
    let up = state.status(&[]);
    assert_eq!(up.status.code(), Some(0));
    assert!(text(&up.stdout).contains("running, pid 4242"), "{}", text(&up.stdout));
    assert!(!text(&up.stdout).contains('\u{1b}'), "colour without a terminal");

    snapshot.alarms = sample::alarms().alarms;
    state.has(&snapshot);
    assert_eq!(state.status(&[]).status.code(), Some(1), "alarms");
    drop(lock);
}

#[test]
fn status_as_json_is_the_snapshot_and_what_the_reader_found() {
    let state = State::new();
    state.has(&sample::sealing());
    let json: serde_json::Value = serde_json::from_slice(&state.status(&["--json"]).stdout).unwrap();
    assert_eq!(json["format_version"], 1);
    assert_eq!(json["daemon"], "stopped");
    assert!(json["age_ms"].as_u64().unwrap() > 0);
    assert_eq!(json["sectors"][0]["state"], "PreCommit2");
}

#[test]
fn a_manifest_that_does_not_parse_does_not_keep_status_from_answering() {
    let state = State::new();
    state.has(&sample::sealing());
    let manifest = state.path("seald.toml");
    fs::write(&manifest, format!("[miner\n= 7\n[state]\ndir = {:?}\n", state.0.path())).unwrap();
    let answer = seald(&["status", "--config", manifest.to_str().unwrap()]);
    assert!(text(&answer.stdout).contains("not running; facts are"), "{}", text(&answer.stderr));
}

#[test]
fn a_snapshot_of_another_version_is_named() {
    let state = State::new();
    fs::write(state.path("status.json"), "{}").unwrap();
    let said = text(&state.status(&[]).stderr);
    assert!(said.starts_with("error: cannot understand ") && said.contains("format_version"), "{said}");
    assert!(said.contains("\nhelp: "), "{said}");
}

#[test]
fn logs_of_a_sector_or_a_slot_come_from_the_log_file_that_is_there() {
    let state = State::new();
    let line = |at: &str, fields: &str| format!("{at}  INFO seald::daemon: stage {fields}\n");
    let old = line("2020-01-01T00:00:00.000000Z", "sector=3 slot=gpu0/1");
    let new = line("2999-01-01T00:00:00.000000Z", "sector=3 slot=gpu0/0");
    let other = line("2999-01-01T00:00:00.000000Z", "sector=33 slot=gpu1/0");
    fs::write(state.path("seald.log"), format!("{old}{new}{other}")).unwrap();
    let dir = format!("state.dir={}", state.0.path().display());
    let logs = |args: &[&str]| {
        let Output { status, stdout, stderr } = seald(&[&["logs", "--set", &dir], args].concat());
        assert_eq!((status.code(), text(&stderr)), (Some(0), String::new()), "{args:?}");
        text(&stdout)
    };
    assert_eq!(logs(&[]), format!("{old}{new}{other}"));
    assert_eq!(logs(&["3"]), format!("{old}{new}"));
    assert_eq!(logs(&["gpu0"]), format!("{old}{new}"));
    assert_eq!(logs(&["gpu0/1"]), old);
    assert_eq!(logs(&["3", "--since", "2d"]), new);
    assert_eq!(seald(&["logs", "GPU"]).status.code(), Some(2));
}

#[test]
fn a_log_file_of_an_earlier_run_is_not_the_log_of_the_daemon_that_runs() {
    let state = State::new();
    fs::write(state.path("seald.log"), "2020-01-01T00:00:00Z  INFO seald: of yesterday\n").unwrap();
    let dir = format!("state.dir={}", state.0.path().display());
    let logs = || {
        let Output { status, stdout, stderr } = seald(&["logs", "--set", &dir]);
        (status.code(), text(&stdout), text(&stderr))
    };
    let file = fs::File::open(state.path("seald.log")).unwrap();
    let _lock = state.lock();
    let (code, out, err) = logs();
    // what is in the journal of this machine, if it has one, is not what this test is about
    assert!(!out.contains("of yesterday"), "{code:?} {err}");
    if out.is_empty() {
        assert_eq!(code, Some(1));
        assert!(err.starts_with("error: the daemon that runs does not log to "), "{err}");
        assert!(err.contains("the journal has no entry of seald.service") && err.contains("\nhelp: "), "{err}");
    }
    // what a daemon on a terminal holds
    file.lock_shared().unwrap();
    let (code, out, err) = logs();
    assert!(code == Some(0) && out.contains("of yesterday"), "{code:?} {err}");
}

/// A folder with a manifest of this text, and `seald` in it.
fn with_manifest(manifest: &str, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("seald.toml"), manifest).unwrap();
    command(args).env("SEALD_CONFIG", "seald.toml").current_dir(folder.path()).output().unwrap()
}

fn devnet() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/configs/devnet.toml")).unwrap()
}

#[test]
fn check_is_0_for_the_devnet_and_3_for_a_slip() {
    let right = with_manifest(&devnet(), &["check"]);
    assert_eq!((right.status.code(), text(&right.stderr)), (Some(0), String::new()), "{}", text(&right.stdout));
    let wrong = with_manifest(&devnet().replace("sectors = 2", "sector = 2"), &["check", "--json"]);
    assert_eq!(wrong.status.code(), Some(3));
    let json: serde_json::Value = serde_json::from_slice(&wrong.stdout).unwrap();
    assert_eq!((&json["ok"], &json["format_version"]), (&false.into(), &1.into()));
    assert!(json["problems"].to_string().contains("did you mean"), "{json}");
}

#[test]
fn commands_that_need_the_manifest_show_its_problems() {
    for args in [&["info"][..], &["sectors", "list"], &["params", "check"]] {
        let Output { status, stdout, stderr } = with_manifest("[miner]\nactor = 7\n", args);
        assert_eq!((status.code(), text(&stdout)), (Some(3), String::new()), "{args:?}");
        let said = text(&stderr);
        assert!(said.contains("\n  seald.toml:2:9: miner.actor: ") && said.contains("\nhelp: "), "{said}");
    }
}

#[test]
fn before_the_first_run_every_command_says_what_to_do() {
    for args in [&["info"][..], &["sectors", "list"], &["sectors", "show", "1"], &["params", "fetch"]] {
        let Output { status, stdout, stderr } = with_manifest(&devnet(), args);
        assert_eq!((status.code(), text(&stdout)), (Some(1), String::new()), "{args:?}");
        let said = text(&stderr);
        assert!(said.starts_with("error: ") && said.contains("\nhelp: "), "{said}");
    }
    let said = text(&seald(&["params", "check", "--config", "none.toml"]).stderr);
    assert!(said.contains("\nhelp: give --sector-size"), "{said}");
}
