//! `seald logs`: what was logged, all of it or about one sector or slot: from systemd's journal by its fields, or from the
//! log file of a daemon on a terminal. Of both, the one that the daemon that runs writes to; when none runs, the one that
//! was written last.

use super::{
    Global,
    failure::{Exit, Failure, OrHelp as _, Outcome, print},
    log, runtime, state_dir, status,
};
use crate::{
    clock,
    plan::Place,
    status::DaemonState,
    supervisor,
    units::{SectorNumber, UnixMillis},
};
use anyhow::Context as _;
use clap::Args;
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
    time::Duration,
};
use tokio::time::timeout;

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
/// There is neither a log file nor a journal that has it, or it cannot be read.
pub fn run(global: &Global, args: &LogsArgs) -> Outcome {
    let dir = state_dir::find_running(global);
    let path = dir.join(log::FILE);
    let found = look(&dir, &path)?;
    match choose(&found) {
        Choice::File { other } => {
            if other {
                note(&format!("this is {}; the journal has older ones: `journalctl -u seald`", path.display()));
            }
            from_file(&path, args)
        }
        Choice::Journal { other } => {
            if other {
                note(&format!("this is the journal; {} has what ran on a terminal before", path.display()));
            }
            Err(from_journal(args))
        }
        Choice::Nowhere => Err(nowhere(global, &path, &found)),
    }
}

/// What there is to read.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// A daemon runs.
    runs: bool,
    /// It logs to the file: it runs on a terminal.
    on_terminal: bool,
    /// When the file was written last.
    file: Option<UnixMillis>,
    /// When the newest entry of the journal about seald's units was made.
    journal: Option<UnixMillis>,
}

/// What is read.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// The file. `other`: the journal has something too.
    File { other: bool },
    /// The journal. `other`: there is a file too.
    Journal { other: bool },
    /// Neither has the log.
    Nowhere,
}

/// Where the log of the daemon that runs is, or else of the one that ran last: what a daemon left in one place must not
/// hide what another one writes to the other.
fn choose(found: &Found) -> Choice {
    let Found { runs, on_terminal, file, journal } = *found;
    match (file, journal) {
        (Some(_), other) if on_terminal => Choice::File { other: other.is_some() },
        (file, Some(_)) if runs => Choice::Journal { other: file.is_some() },
        (_, None) if runs => Choice::Nowhere,
        (Some(file), Some(journal)) if file > journal => Choice::File { other: true },
        (file, Some(_)) => Choice::Journal { other: file.is_some() },
        (Some(_), None) => Choice::File { other: false },
        (None, None) => Choice::Nowhere,
    }
}

fn look(dir: &Path, path: &Path) -> Outcome<Found> {
    let help = "run this as root or as the user seald runs as";
    // who may not look into the folder may still read the journal
    let runs = status::daemon_state(dir).is_ok_and(|state| state == DaemonState::Running);
    let file = match File::open(path) {
        Ok(file) => Some(file),
        Err(_) if !path.exists() => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())).or_help(help),
    };
    let on_terminal = runs && file.as_ref().is_some_and(log::is_written);
    let written = file.and_then(|file| file.metadata().ok()).map(|meta| {
        let ms = meta.mtime_nsec().checked_div(1_000_000).unwrap_or_default();
        UnixMillis::new(meta.mtime().saturating_mul(1_000).saturating_add(ms))
    });
    let journal = runtime()?.block_on(newest_entry());
    Ok(Found { runs, on_terminal, file: written, journal })
}

/// When the newest entry of the journal about seald's units was made; `None` when it has none that this user may see.
async fn newest_entry() -> Option<UnixMillis> {
    let mut args: Vec<String> = ["--quiet", "--no-pager", "--lines=1", "--output=json"].map(str::to_owned).into();
    args.push("--output-fields=PRIORITY".to_owned());
    args.extend(of_units());
    let lines = timeout(JOURNAL_PATIENCE, supervisor::printed(Path::new(JOURNALCTL), &args)).await.ok()?.ok()?;
    lines.iter().rev().find_map(|line| time_of_entry(line))
}

/// The time of an entry as `journalctl --output=json` prints it, in microseconds.
fn time_of_entry(line: &str) -> Option<UnixMillis> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    let micros: i64 = entry.get("__REALTIME_TIMESTAMP")?.as_str()?.parse().ok()?;
    Some(UnixMillis::new(micros.checked_div(1_000)?))
}

fn nowhere(global: &Global, path: &Path, found: &Found) -> Failure {
    let journal = "the journal has no entry of seald.service that this user may see";
    if found.runs {
        let earlier = if found.file.is_some() { " (it has what earlier ones logged)" } else { "" };
        return Failure::new(
            format!("the daemon that runs does not log to {}{earlier}, and {journal}", path.display()),
            "run this as root; a daemon that was started by hand logs to the stderr that it was started with",
        );
    }
    let config = global.config.display();
    Failure::new(
        format!("nothing was logged yet: there is no {}, and {journal}", path.display()),
        format!(
            "start it with `systemctl start seald`, or with `seald run --config {config}`; if it has run, ask as root, or \
             name its folder: --set state.dir=PATH"
        ),
    )
}

/// What belongs beside the log, not into it.
fn note(text: &str) {
    // with stderr closed nobody is left to tell; the log is shown all the same
    io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap_or_default();
}

/// How long the journal may take to find its newest entry.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(20);

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

fn of_units() -> [String; 2] {
    ["seald", "seald-worker@*"].map(|unit| format!("--unit={unit}"))
}

fn journal_arguments(args: &LogsArgs) -> Vec<String> {
    let mut all = vec!["--output=short-iso".to_owned(), "--no-hostname".to_owned()];
    if args.follow {
        all.push("--follow".to_owned());
    }
    all.extend(args.since.map(|since| format!("--since=-{}s", since.as_secs())));
    match &args.subject {
        None => all.extend(of_units()),
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
    fn what_one_daemon_left_does_not_hide_what_another_writes() {
        let at = |ms| Some(UnixMillis::new(ms));
        let case = |runs, on_terminal, file, journal| choose(&Found { runs, on_terminal, file, journal });
        // a daemon runs: where it writes, however old or new the other is
        assert_eq!(case(true, true, at(1), at(2)), Choice::File { other: true });
        assert_eq!(case(true, true, at(1), None), Choice::File { other: false });
        assert_eq!(case(true, false, at(2), at(1)), Choice::Journal { other: true });
        assert_eq!(case(true, false, None, at(1)), Choice::Journal { other: false });
        assert_eq!(case(true, false, at(2), None), Choice::Nowhere);
        // none runs: what was written last
        assert_eq!(case(false, false, at(2), at(1)), Choice::File { other: true });
        assert_eq!(case(false, false, at(1), at(2)), Choice::Journal { other: true });
        assert_eq!(case(false, false, at(1), None), Choice::File { other: false });
        assert_eq!(case(false, false, None, at(1)), Choice::Journal { other: false });
        assert_eq!(case(false, false, None, None), Choice::Nowhere);
    }

    #[test]
    fn an_entry_of_the_journal_tells_its_time() {
        let line = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1700000000123456","PRIORITY":"6"}"#;
        assert_eq!(time_of_entry(line), Some(UnixMillis::new(1_700_000_000_123)));
        assert_eq!(time_of_entry("No journal files were found."), None);
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
