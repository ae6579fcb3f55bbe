//! How a worker comes to be in a unit of its own: the daemon connects to a socket of systemd, which forks a unit with
//! the connection as standard input; the unit reads one line that says what to become, and becomes it.
//!
//! The line comes from whoever may connect: a worker is all that it can ask for, and the program is this very file.

use super::process::become_program;
use crate::worker::protocol::PROTOCOL;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Read},
    path::Path,
};

/// What a unit is to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    protocol: u32,
    pub(super) args: Vec<String>,
    env: BTreeMap<String, String>,
}

/// Longest line: a few arguments and variables.
const LONGEST: usize = 64 << 10;

/// What the service manager tells a unit and the worker must know; everything else comes from the daemon.
const PASSED_ON: &[&str] = &["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The name of the exit record of this run.
const INVOCATION: &str = "INVOCATION_ID";

impl Launch {
    /// A worker with these arguments, `worker` first, and this whole environment.
    ///
    /// # Errors
    /// An argument is not UTF-8.
    pub fn new(args: Vec<OsString>, env: BTreeMap<String, String>) -> Result<Self, String> {
        let text =
            |arg: OsString| arg.into_string().map_err(|arg| format!("the argument {} is not UTF-8", arg.display()));
        Ok(Self { protocol: PROTOCOL, args: args.into_iter().map(text).collect::<Result<_, _>>()?, env })
    }

    /// As one line of JSON.
    pub fn to_line(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// What the unit becomes: `told` is a variable of its own environment.
    pub(super) fn read(line: &[u8], told: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut launch: Self = serde_json::from_slice(line).map_err(|error| {
            format!("what to become cannot be understood ({error}): is the daemon of another version? restart it")
        })?;
        if launch.protocol != PROTOCOL {
            let theirs = launch.protocol;
            return Err(format!("the daemon speaks protocol {theirs}, this seald {PROTOCOL}: restart the daemon"));
        }
        if launch.args.first().map(String::as_str) != Some("worker") {
            return Err(format!("only `worker` can be started this way, not {:?}", launch.args.first()));
        }
        launch.env.extend(PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), told(name)?))));
        if let Some(id) = told(INVOCATION) {
            launch.args.extend(["--invocation".to_owned(), id]);
        }
        Ok(launch)
    }
}

/// Becomes the worker that the line on standard input describes, with standard input as its socket. Returns only when
/// that fails, and then says why.
pub fn become_worker() -> String {
    let launch = line(&mut io::stdin().lock()).and_then(|line| Launch::read(&line, |name| std::env::var(name).ok()));
    match launch {
        Ok(Launch { args, env, protocol: _ }) => {
            format!("cannot become a worker: {}", become_program(Path::new("/proc/self/exe"), &args, &env))
        }
        Err(why) => why,
    }
}

/// Byte by byte: what follows the line is the worker's to read.
fn line(input: &mut impl Read) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LONGEST {
        match input.read(&mut byte) {
            Ok(0) => return Err("the daemon was gone before it said what to become".to_owned()),
            Ok(_) if byte == *b"\n" => return Ok(line),
            Ok(_) => line.extend(byte),
            Err(error) => return Err(format!("standard input is not the daemon's socket: {error}")),
        }
    }
    Err(format!("what to become is longer than {LONGEST} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(args: &[&str]) -> Launch {
        Launch::new(args.iter().map(OsString::from).collect(), BTreeMap::from([("A".to_owned(), "1".to_owned())]))
            .unwrap()
    }

    fn read(launch: &Launch) -> Result<Launch, String> {
        let told =
            |name: &str| ["NOTIFY_SOCKET", "INVOCATION_ID", "LD_PRELOAD"].contains(&name).then(|| "x".to_owned());
        Launch::read(launch.to_line().as_bytes(), told)
    }

    #[test]
    fn only_a_worker_is_started_and_only_what_it_must_know_is_passed_on() {
        let Launch { args, env, .. } = read(&launch(&["worker", "--slot", "cpu"])).unwrap();
        assert_eq!(args, ["worker", "--slot", "cpu", "--invocation", "x"]);
        assert_eq!(env.keys().collect::<Vec<_>>(), ["A", "NOTIFY_SOCKET"]);
        for args in [&["run"][..], &["--log", "worker"], &[]] {
            assert!(read(&launch(args)).unwrap_err().contains("only `worker`"), "{args:?}");
        }
        let newer = Launch { protocol: PROTOCOL + 1, ..launch(&["worker"]) };
        assert!(read(&newer).unwrap_err().contains("restart the daemon"));
        assert!(Launch::read(b"{}", |_| None).unwrap_err().contains("cannot be understood"));
    }

    #[test]
    fn nothing_behind_the_line_is_swallowed() {
        let mut input = &b"one\ntwo\n"[..];
        assert_eq!(line(&mut input).unwrap(), b"one");
        assert_eq!(input, b"two\n");
        assert!(line(&mut &b"one"[..]).unwrap_err().contains("gone before"));
        assert!(line(&mut &vec![b'a'; LONGEST + 1][..]).unwrap_err().contains("longer than"));
    }
}
