//! How a command ends: exit codes, and failures that say what to do next.
//!
//! Every `?` of a command goes through [`OrHelp::or_help`], so that no error reaches the operator without a remedy.

use crate::error::Chain;
use std::{fmt::Display, io, io::Write as _, process::ExitCode};

/// Every exit code there is. Scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command did what it says, and all is well.
    Well = 0,
    /// It failed, or it found something an operator must look at.
    Failed = 1,
    /// The command line itself is wrong.
    Usage = 2,
    /// The manifest has problems.
    BadManifest = 3,
    /// A reload would change something, or refuses to; a start would, where no daemon runs.
    Pending = 4,
    /// The daemon was not started, as its manifest has problems: starting it again would find them again (EX_CONFIG of
    /// sysexits.h, which the unit's RestartPreventExitStatus= names).
    Configuration = 78,
}

impl Exit {
    /// The table in the help of `seald`.
    pub const HELP: &str = "\
Exit codes:
  0  well
  1  failed, or something needs an operator (alarms, daemon not running)
  2  the command line is wrong
  3  the manifest has problems
  4  changes are pending (plan)
 78  the daemon was not started: its manifest has problems (run)";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Well => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::BadManifest => 3,
            Exit::Pending => 4,
            Exit::Configuration => 78,
        })
    }
}

/// How a command ended.
pub type Outcome<T = Exit> = Result<T, Failure>;

/// A command that could not do what was asked.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    help: String,
    exit: Exit,
}

impl Failure {
    /// A failure in words, and what to do about it.
    pub fn new(what: impl Display, help: impl Into<String>) -> Self {
        Self { error: anyhow::anyhow!("{what}"), help: help.into(), exit: Exit::Failed }
    }

    /// An error with all its causes, and what to do about it.
    pub fn of(error: impl Into<anyhow::Error>, help: impl Into<String>) -> Self {
        Self { error: error.into(), help: help.into(), exit: Exit::Failed }
    }

    /// What went wrong, with all its causes, for who can go on without.
    pub fn why(&self) -> String {
        Chain(self.error.as_ref()).to_string()
    }

    /// The same with another exit code.
    #[must_use]
    pub fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Tells the operator on stderr. A reader that closed the pipe has what it wanted: that is a quiet 0.
    pub fn report(&self) -> Exit {
        if self.error.chain().any(is_broken_pipe) {
            return Exit::Well;
        }
        // with stderr closed nobody is left to tell; the exit code still says it
        match io::stderr().write_all(self.text().as_bytes()) {
            Ok(()) | Err(_) => self.exit,
        }
    }

    fn text(&self) -> String {
        format!("error: {}\nhelp: {}\n", Chain(self.error.as_ref()), self.help)
    }
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Turns any error into a [`Failure`].
pub trait OrHelp<T> {
    /// The value, or a failure with this advice.
    ///
    /// # Errors
    /// The error, when there is one.
    fn or_help(self, help: &str) -> Outcome<T>;
}

impl<T, E: Into<anyhow::Error>> OrHelp<T> for Result<T, E> {
    fn or_help(self, help: &str) -> Outcome<T> {
        self.map_err(|error| Failure::of(error, help))
    }
}

/// Writes a result to stdout.
///
/// # Errors
/// Stdout cannot be written; a closed pipe ends the command quietly.
pub fn print(text: &str) -> Outcome<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).or_help("look at where the output goes")
}

/// Writes a result to stdout as JSON with a line break.
///
/// # Errors
/// As [`print`].
pub fn print_json(value: &impl serde::Serialize) -> Outcome<()> {
    let text = serde_json::to_string_pretty(value).or_help("this is a defect of seald: report it")?;
    print(&format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_closed_pipe_is_not_a_failure() {
        let closed: Result<(), io::Error> = Err(io::ErrorKind::BrokenPipe.into());
        let failure = closed.context("printing").or_help("none").unwrap_err();
        assert_eq!(failure.report(), Exit::Well);
    }

    #[test]
    fn a_failure_says_all_causes_and_what_to_do() {
        let lost: Result<(), io::Error> = Err(io::Error::other("disk gone"));
        let failure = lost.context("cannot read it").context("status").or_help("look at the disk").unwrap_err();
        assert_eq!(failure.text(), "error: status: cannot read it: disk gone\nhelp: look at the disk\n");
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(failure.exit(Exit::BadManifest).exit, Exit::BadManifest);
    }
}
