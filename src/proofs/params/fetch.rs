//! Fetches published parameter files from a mirror: goes on where it broke off, and believes nothing but the digest.
//!
//! A file has its name only once its digest is right; until then it is `<name>.part`, which a later run continues.
//! Dropping the future stops between two writes and loses nothing.

use super::{
    FileState, ParamFile, ParamsError, Progress, Report, at, can_generate, catalog, check,
    files::{self, with_suffix},
    progress::Meter,
};
use crate::{
    error::Chain,
    units::{Bytes, SectorSize},
};
use futures_util::StreamExt as _;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_RANGE, RANGE},
};
use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Duration,
};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

/// Tries in a row that bring nothing new before the mirror counts as unreachable: about a minute of trying.
const TRIES: u32 = 6;
/// The wait before the second try; doubled before each further one.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// A connection that is silent for so long is broken.
const SILENCE: Duration = Duration::from_secs(60);

/// Brings every file of a size into `dir` from `<mirror>/<name>`. Files that [`check`](super::check) calls good stay.
/// `report` hears of progress several times a second while bytes come.
///
/// # Errors
/// What [`ParamsError::remedy`] says; whatever came before the error is kept for the next run, unless it was wrong.
pub async fn fetch(size: SectorSize, dir: &Path, mirror: &str, report: Report<'_>) -> Result<(), ParamsError> {
    let wanted = Wanted { files: catalog::files(size)?, may_be_made_here: can_generate(size) };
    fetch_files(wanted, dir, mirror, FIRST_WAIT, report).await
}

struct Wanted {
    files: Vec<ParamFile>,
    may_be_made_here: bool,
}

async fn fetch_files(
    wanted: Wanted,
    dir: &Path,
    mirror: &str,
    first_wait: Duration,
    report: Report<'_>,
) -> Result<(), ParamsError> {
    let never = AtomicBool::new(false);
    let address = mirror.trim_end_matches('/').to_owned();
    let mirror = Mirror { client: client(&address)?, address, first_wait };
    let meter = Meter::new(report, &never);
    meter.advance("looking at the files that are there", 0);
    let (at_dir, Wanted { files, may_be_made_here }) = (dir.to_owned(), wanted);
    let reports = blocking(dir, move || check::check_files(files, &at_dir, may_be_made_here)).await?;

    let mut missing = Vec::new();
    let mut needed = 0u64;
    for file in reports.into_iter().filter(|report| !matches!(report.state, FileState::Good(_))).map(|r| r.file) {
        let length = mirror.length(&file).await?;
        let part = with_suffix(&dir.join(&file.name), ".part");
        let have = std::fs::metadata(&part).map_or(0, |meta| meta.len());
        let rest = length.unwrap_or(0).saturating_sub(have);
        needed = needed.saturating_add(rest);
        meter.expect(rest);
        missing.push((file, part));
    }
    files::make_room(dir, Bytes::new(needed))?;
    for (file, part) in missing {
        mirror.fetch(&file, &part, &dir.join(&file.name), &meter).await?;
    }
    report(Progress { step: "all files are there".to_owned(), permille: 1000, eta: Some(Duration::ZERO) });
    Ok(())
}

/// Work that reads whole files, away from the runtime's threads.
async fn blocking<T: Send + 'static>(
    dir: &Path,
    work: impl FnOnce() -> Result<T, ParamsError> + Send + 'static,
) -> Result<T, ParamsError> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| at("read", dir)(io::Error::other(panic)))?
}

fn client(address: &str) -> Result<Client, ParamsError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // an error says that another thread was faster, which is as good
        drop(rustls::crypto::ring::default_provider().install_default());
    }
    Client::builder()
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(SILENCE)
        .build()
        .map_err(|error| ParamsError::Unreachable { url: shown(address), tries: 0, why: why(error) })
}

/// An address as it may be told: without login and query, which may hold secrets.
fn shown(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return "the mirror".to_owned() };
    url.set_query(None);
    url.set_fragment(None);
    // only an address without a host has no place for a login, and then it has none
    url.set_username("").unwrap_or_default();
    url.set_password(None).unwrap_or_default();
    url.into()
}

/// Why it failed; the address is told beside it.
fn why(error: reqwest::Error) -> String {
    Chain(&error.without_url()).to_string()
}

struct Mirror {
    client: Client,
    address: String,
    first_wait: Duration,
}

/// How one download ended.
enum Ended {
    /// The mirror says that this was all.
    Complete,
    /// It broke off with so many bytes in the partial file.
    Broke { length: u64, why: String },
}

impl Mirror {
    fn url(&self, file: &ParamFile) -> String {
        format!("{}/{}", self.address, file.name)
    }

    fn shown(&self, file: &ParamFile) -> String {
        shown(&self.url(file))
    }

    /// The length of a file, where the mirror tells it beforehand.
    async fn length(&self, file: &ParamFile) -> Result<Option<u64>, ParamsError> {
        match self.client.head(self.url(file)).send().await {
            Ok(answer) if answer.status().is_success() => {
                let header = answer.headers().get(reqwest::header::CONTENT_LENGTH);
                Ok(header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok()))
            }
            Ok(answer) if [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN].contains(&answer.status()) => {
                Err(ParamsError::Refused { url: self.shown(file), status: answer.status().as_u16() })
            }
            // a mirror without HEAD, or one that is down right now: the download itself will tell
            Ok(_) | Err(_) => Ok(None),
        }
    }

    async fn fetch(&self, file: &ParamFile, part: &Path, path: &Path, meter: &Meter<'_>) -> Result<(), ParamsError> {
        let mut out = open(part)?;
        let step = format!("fetching {} ({})", file.name, file.purpose.as_str());
        let mut found = String::new();
        for _ in 0..2 {
            self.download(file, &mut out, part, &step, meter).await?;
            meter.advance(&format!("checking {}", file.name), 0);
            let read = part.to_owned();
            found = blocking(part, move || files::digest(&read).map_err(at("read", &read))).await?;
            if found == file.published {
                return files::finish(part, path);
            }
            out.set_len(0).await.map_err(at("empty", part))?;
        }
        std::fs::remove_file(part).map_err(at("remove", part))?;
        Err(ParamsError::WrongDigest { url: self.shown(file), found, wanted: file.published.clone() })
    }

    /// Downloads until the mirror says that it was all, going on after every break.
    async fn download(
        &self,
        file: &ParamFile,
        out: &mut tokio::fs::File,
        part: &Path,
        step: &str,
        meter: &Meter<'_>,
    ) -> Result<(), ParamsError> {
        let (mut tries, mut wait, mut longest) = (0u32, self.first_wait, 0u64);
        loop {
            match self.attempt(file, out, part, step, meter).await? {
                Ended::Complete => return Ok(()),
                // only more than ever before counts: a mirror without ranges begins anew every time
                Ended::Broke { length, .. } if length > longest => {
                    (tries, wait, longest) = (0, self.first_wait, length);
                }
                Ended::Broke { why, .. } => {
                    tries = tries.saturating_add(1);
                    if tries >= TRIES {
                        return Err(ParamsError::Unreachable { url: self.shown(file), tries, why });
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2);
        }
    }

    async fn attempt(
        &self,
        file: &ParamFile,
        out: &mut tokio::fs::File,
        part: &Path,
        step: &str,
        meter: &Meter<'_>,
    ) -> Result<Ended, ParamsError> {
        let io = |error| at("write", part)(error);
        let have = out.seek(io::SeekFrom::End(0)).await.map_err(io)?;
        let ask = self.client.get(self.url(file));
        let ask = if have > 0 { ask.header(RANGE, format!("bytes={have}-")) } else { ask };
        let answer = match ask.send().await {
            Ok(answer) => answer,
            Err(error) => return Ok(Ended::Broke { length: have, why: why(error) }),
        };
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&answer) == Some(have) => {}
            // the whole file instead of the rest, or another part than asked for: from the start
            StatusCode::OK => out.set_len(0).await.map_err(io)?,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                if total(&answer) == Some(have) {
                    return Ok(Ended::Complete);
                }
                out.set_len(0).await.map_err(io)?;
                return Ok(Ended::Broke { length: 0, why: "it has another length than what came".to_owned() });
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Ok(Ended::Broke { length: have, why: format!("the mirror answers {status}") });
            }
            status => return Err(ParamsError::Refused { url: self.shown(file), status: status.as_u16() }),
        }
        let mut length = out.seek(io::SeekFrom::End(0)).await.map_err(io)?;
        let mut body = answer.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    out.flush().await.map_err(io)?;
                    return Ok(Ended::Broke { length, why: why(error) });
                }
            };
            out.write_all(&chunk).await.map_err(io)?;
            let more = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            length = length.saturating_add(more);
            meter.advance(step, more);
        }
        out.flush().await.map_err(io)?;
        Ok(Ended::Complete)
    }
}

/// `bytes <start>-<end>/<total>`.
fn content_range(answer: &Response) -> Option<(&str, &str)> {
    answer.headers().get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')
}

fn starts_at(answer: &Response) -> Option<u64> {
    content_range(answer)?.0.split_once('-')?.0.parse().ok()
}

fn total(answer: &Response) -> Option<u64> {
    content_range(answer)?.1.parse().ok()
}

/// The partial file, with a lock on it until it is closed: two processes must not append to one file.
fn open(part: &Path) -> Result<tokio::fs::File, ParamsError> {
    let file = File::options().create(true).append(true).read(true).open(part).map_err(at("create", part))?;
    match file.try_lock() {
        Ok(()) => Ok(tokio::fs::File::from_std(file)),
        Err(TryLockError::WouldBlock) => Err(ParamsError::Busy { path: PathBuf::from(part) }),
        Err(TryLockError::Error(error)) => Err(at("lock", part)(error)),
    }
}

#[cfg(test)]
mod tests;
