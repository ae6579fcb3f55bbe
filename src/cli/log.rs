//! Where the log goes: the journal under systemd, a file while a live view owns the terminal, else stderr as text.

use super::{
    colour_of,
    failure::{OrHelp as _, Outcome},
};
use crate::status::paint::Colour;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IsTerminal as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Name of the log file in the state folder.
pub const FILE: &str = "seald.log";

/// Where the log of this process goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// systemd's journal, with its fields.
    Journal,
    /// Text on stderr.
    Stderr,
    /// Text at the end of this file.
    File(PathBuf),
}

impl Sink {
    /// For a command without a live view.
    pub fn choose() -> Self {
        if is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()) { Self::Journal } else { Self::Stderr }
    }

    /// For `seald run`: on a terminal the live view owns the screen, so the log goes to `file`.
    pub fn choose_for_run(file: PathBuf) -> Self {
        if io::stdout().is_terminal() { Self::File(file) } else { Self::choose() }
    }
}

/// Whether stderr is the stream that systemd connected to the journal: the variable alone is inherited by shells.
fn is_journal(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else { return false };
    let Ok(stat) = nix::sys::stat::fstat(io::stderr()) else { return false };
    device.parse() == Ok(stat.st_dev) && inode.parse() == Ok(stat.st_ino)
}

/// Whether this is a log level, such as `info` or `seald=debug,sqlx=warn`; the text itself when it is.
///
/// # Errors
/// What is accepted.
pub fn parse_level(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; give error, warn, info, debug, trace, or such as seald=debug,sqlx=warn")),
    }
}

/// Starts logging for the rest of the process. `level` has passed [`parse_level`].
///
/// # Errors
/// The log file cannot be opened, or logging was started before.
pub fn start(level: &str, sink: &Sink) -> Outcome<()> {
    // also takes in what the proofs libraries say through the `log` crate
    subscriber(level, sink)?.try_init().or_help("this is a defect of seald: report it")
}

fn subscriber(level: &str, sink: &Sink) -> Outcome<impl Subscriber + Send + Sync> {
    let filter = EnvFilter::try_new(level).or_help("give --log a level, such as info")?;
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match sink {
        Sink::Journal => match tracing_journald::layer() {
            Ok(layer) => Box::new(layer.with_field_prefix(Some("SEALD".to_owned()))),
            // no journal socket, such as in a container: systemd still collects stderr
            Err(_) => Box::new(text(io::stderr)),
        },
        Sink::Stderr => Box::new(text(io::stderr).with_ansi(colour_of(&io::stderr()) == Colour::Ansi)),
        Sink::File(path) => Box::new(text(Mutex::new(open(path)?))),
    };
    Ok(Registry::default().with(layer.with_filter(filter)))
}

fn text<W>(writer: W) -> fmt::Layer<Registry, fmt::format::DefaultFields, fmt::format::Format, W>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().with_writer(writer).with_ansi(false)
}

fn open(path: &Path) -> Outcome<File> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    let file = folder.and_then(|()| OpenOptions::new().append(true).create(true).mode(0o640).open(path));
    if let Ok(file) = &file {
        // who reads it asks this lock whether the daemon that runs writes there; without it they look elsewhere, no more
        file.try_lock_shared().unwrap_or_default();
    }
    let doing =
        |error: io::Error| anyhow::Error::from(error).context(format!("cannot write the log {}", path.display()));
    file.map_err(doing).or_help("let seald write to its state folder, or give another with --set state.dir=PATH")
}

/// Whether a process writes its log to this file now.
pub fn is_written(file: &File) -> bool {
    // the lock that this takes lasts as long as the file is open, so it is given back at once
    match file.try_lock() {
        Ok(()) => file.unlock().is_err(),
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_plain_text_of_the_level_and_above() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state").join(FILE);
        let subscriber = subscriber("info", &Sink::File(path.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(sector = 3, "sector moved");
            tracing::debug!("details");
        });
        let log = fs::read_to_string(&path).unwrap();
        assert!(!is_written(&File::open(&path).unwrap()), "it was closed");
        let writer = open(&path).unwrap();
        assert!(is_written(&File::open(&path).unwrap()) && is_written(&File::open(&path).unwrap()));
        drop(writer);
        assert!(!is_written(&File::open(&path).unwrap()));
        assert!(log.contains("sector moved sector=3") && !log.contains("details"), "{log}");
        assert!(!log.contains('\u{1b}'), "{log}");
    }

    #[test]
    fn levels_are_checked() {
        for right in ["info", "seald=debug,sqlx=warn", "off"] {
            assert_eq!(parse_level(right).as_deref(), Ok(right));
        }
        assert!(parse_level("seald=loud").is_err());
    }

    #[test]
    fn an_inherited_variable_is_not_the_journal() {
        assert!(!is_journal(None));
        assert!(!is_journal(Some("8:1")));
        assert!(!is_journal(Some("not a stream")));
        let stderr = nix::sys::stat::fstat(io::stderr()).unwrap();
        assert!(is_journal(Some(&format!("{}:{}", stderr.st_dev, stderr.st_ino))));
    }
}
