//! `seald logs`: what was logged, all of it or about one sector or slot: from the log file of a daemon that runs on a
//! terminal, or else from systemd's journal by its fields.

use super::{
    Global,
    failure::{Exit, Failure, OrHelp as _, Outcome, print},
    log, state_dir,
};
use crate::{clock, plan::Place, units::SectorNumber};
use anyhow::Context as _;
use clap::Args;
use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

/// Arguments of `seald logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The number of a sector, or a slot such as gpu0 or gpu0/1; everything without it
    #[arg(value_name = "SECTOR|SLOT", value_parser = parse_subject)]
    pub subject: Option<Subject>,
    /// Go on with what is logged from now on, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Only what is younger than this, such as 90m, 2h or 3d
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    pub since: Option<Duration>,
}

/// What the log is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A sector.
    Sector(SectorNumber),
    /// A slot, or one worker of it.
    Slot(Place),
}

fn parse_subject(text: &str) -> Result<Subject, String> {
    if text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('/') {
        return text.parse().map(Subject::Sector).map_err(|why| format!("{why}"));
    }
    text.parse().map(Subject::Slot).map_err(|why| format!("{why}"))
}

fn parse_age(text: &str) -> Result<Duration, String> {
    let wanted = || "give a number with the unit s, m, h or d, such as 90m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wanted)?;
    let factor = match unit {
        "s" => 1_u64,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wanted()),
    };
    let number: u64 = number.parse().map_err(|_| wanted())?;
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(wanted)
}

/// Runs `seald logs`.
///
/// # Errors
/// There is neither a log file nor a journal, or it cannot be read.
pub fn run(global: &Global, args: &LogsArgs) -> Outcome {
    let file = state_dir::find(global).join(log::FILE);
    if file.exists() { from_file(&file, args) } else { Err(from_journal(args)) }
}

const JOURNALCTL: &str = "/usr/bin/journalctl";

/// Workers of one slot that are looked for in the journal, which knows no beginnings of fields.
const MOST_WORKERS: u32 = 64;

/// Becomes journalctl; what is returned is why not.
#[expect(clippy::disallowed_methods, reason = "no process is started: this one becomes it")]
fn from_journal(args: &LogsArgs) -> Failure {
    let error = Command::new(JOURNALCTL).args(journal_arguments(args)).exec();
    let error = anyhow::Error::from(error).context(format!("cannot run {JOURNALCTL}"));
    Failure::of(error, "the log of a daemon without systemd is in its state folder: give --set state.dir=PATH")
}

fn journal_arguments(args: &LogsArgs) -> Vec<String> {
    let mut all = vec!["--output=short-iso".to_owned(), "--no-hostname".to_owned()];
    if args.follow {
        all.push("--follow".to_owned());
    }
    all.extend(args.since.map(|since| format!("--since=-{}s", since.as_secs())));
    match &args.subject {
        None => all.extend(["seald", "seald-worker@*"].map(|unit| format!("--unit={unit}"))),
        Some(Subject::Sector(number)) => all.push(format!("SEALD_SECTOR={number}")),
        Some(Subject::Slot(place)) => {
            all.push(format!("SEALD_SLOT={place}"));
            if place.instance.is_none() {
                // matches of one field are alternatives
                all.extend((0..MOST_WORKERS).map(|instance| format!("SEALD_SLOT={place}/{instance}")));
            }
        }
    }
    all
}

/// A file that has no more lines is looked at again this often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

fn from_file(path: &Path, args: &LogsArgs) -> Outcome {
    let help = "run this as root or as the user seald runs as";
    let doing = || format!("cannot read {}", path.display());
    let mut lines = BufReader::new(File::open(path).with_context(doing).or_help(help)?);
    let after = args.since.map(|since| {
        let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(clock::now().plus_ms(ms.saturating_neg()).as_i64()).unwrap_or_default()
    });
    let mut line = String::new();
    // a line without a time of its own belongs to the one before it
    let mut young = after.is_none();
    loop {
        if lines.read_line(&mut line).with_context(doing).or_help(help)? == 0 {
            if !args.follow {
                return Ok(Exit::Well);
            }
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
        if !line.ends_with('\n') && args.follow {
            continue;
        }
        let at = line.split_whitespace().next().and_then(|word| word.parse::<jiff::Timestamp>().ok());
        if let (Some(after), Some(at)) = (after, at) {
            young = at >= after;
        }
        if young && args.subject.as_ref().is_none_or(|subject| is_about(&line, subject)) {
            print(&line)?;
        }
        line.clear();
    }
}

/// Whether a field of this line of text names the subject.
fn is_about(line: &str, subject: &Subject) -> bool {
    let field = |name: &str| {
        let start = format!("{name}=");
        let words = line.split([' ', '{', '}', '\n']);
        words.filter_map(move |word| word.strip_prefix(&start).map(|value| value.trim_matches('"').to_owned()))
    };
    match subject {
        Subject::Sector(number) => field("sector").any(|value| value == number.to_string()),
        Subject::Slot(place) => field("slot").any(|value| {
            let of = format!("{place}/");
            value == place.to_string() || (place.instance.is_none() && value.starts_with(&of))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(subject: Option<&str>) -> LogsArgs {
        let subject = subject.map(|text| parse_subject(text).unwrap());
        LogsArgs { subject, follow: false, since: Some(Duration::from_secs(7_200)) }
    }

    #[test]
    fn a_sector_is_a_number_and_a_slot_has_a_name() {
        assert_eq!(parse_subject("12"), Ok(Subject::Sector(12.try_into().unwrap())));
        assert_eq!(parse_subject("gpu0/1"), Ok(Subject::Slot("gpu0/1".parse().unwrap())));
        assert!(parse_subject("GPU").is_err() && parse_subject("1x").is_err());
        assert_eq!(parse_age("90m"), Ok(Duration::from_secs(5_400)));
        for wrong in ["", "90", "m", "-3h", "3w", "é"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_journal_is_asked_by_field() {
        assert!(journal_arguments(&args(None)).contains(&"--unit=seald".to_owned()));
        let sector = journal_arguments(&args(Some("3")));
        assert_eq!(sector[2..], ["--since=-7200s", "SEALD_SECTOR=3"]);
        let slot = journal_arguments(&args(Some("gpu0")));
        assert!(slot.contains(&"SEALD_SLOT=gpu0".to_owned()) && slot.contains(&"SEALD_SLOT=gpu0/63".to_owned()));
        assert_eq!(journal_arguments(&args(Some("gpu0/1"))).last().unwrap(), "SEALD_SLOT=gpu0/1");
    }

    #[test]
    fn a_line_of_a_file_is_about_what_its_fields_name() {
        let line =
            "2026-03-01T12:03:41.000000Z  INFO seald::daemon: stage started sector=3 stage=\"commit\" slot=gpu0/1\n";
        let about = |text: &str| is_about(line, &parse_subject(text).unwrap());
        assert!(about("3") && about("gpu0") && about("gpu0/1"));
        assert!(!about("33") && !about("gpu0/2") && !about("gpu"));
    }
}
