//! A local mirror that misbehaves on demand.

use super::*;
use crate::proofs::params::{Kind, Purpose};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

/// What the mirror does with its n-th GET.
type Manners = Arc<dyn Fn(usize) -> Answer + Send + Sync>;

#[derive(Clone, Copy)]
enum Answer {
    Whole,
    /// Only so many bytes of the body, then the connection is closed.
    BreakAfter(usize),
    IgnoreRange,
    /// Both of these.
    IgnoreRangeAndBreakAfter(usize),
    Corrupt,
    Status(u16),
}

struct Fake {
    address: String,
    /// The `Range` headers of the GETs, empty where there was none.
    asked: Arc<Mutex<Vec<String>>>,
    tasks: tokio::task::JoinSet<()>,
}

/// A reference string of the right shape: no points in three lists, and 4166 of 96 bytes in the last.
fn content() -> Vec<u8> {
    let points = (0..4166 * 24u32).flat_map(|i| i.to_le_bytes());
    [0, 0, 0, 4166u32].into_iter().flat_map(u32::to_be_bytes).chain(points).collect()
}

fn wanted() -> Wanted {
    let hash = blake2b_simd::blake2b(&content());
    let file = ParamFile {
        name: "some.srs".into(),
        purpose: Purpose::Aggregation,
        kind: Kind::Srs,
        published: files::digest_text(&hash),
    };
    Wanted { files: vec![file], may_be_made_here: false }
}

async fn mirror(manners: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (manners, gets): (Manners, _) = (Arc::new(manners), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    let log = Arc::clone(&asked);
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // one request a connection, one after the other: the order of answers is the order of questions
            serve(stream, &manners, &gets, &log).await.unwrap_or_default();
        }
    });
    Fake { address, asked, tasks }
}

async fn serve(
    mut stream: tokio::net::TcpStream,
    manners: &Manners,
    gets: &AtomicUsize,
    log: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let mut body = content();
    let length = body.len();
    if head.starts_with("head ") {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        return stream.write_all(answer.as_bytes()).await;
    }
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
    log.lock().unwrap().push(range.unwrap_or_default().to_owned());
    let manner = manners(gets.fetch_add(1, Ordering::Relaxed));
    let start: usize = range.and_then(|range| range.strip_suffix('-')).map_or(0, |start| start.parse().unwrap());
    let ranged = range.is_some() && !matches!(manner, Answer::IgnoreRange | Answer::IgnoreRangeAndBreakAfter(_));
    let mut sent = usize::MAX;
    match manner {
        Answer::Status(status) => {
            let answer = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return stream.write_all(answer.as_bytes()).await;
        }
        Answer::Corrupt => body[length - 1] ^= 1,
        Answer::BreakAfter(bytes) | Answer::IgnoreRangeAndBreakAfter(bytes) => sent = bytes,
        Answer::Whole | Answer::IgnoreRange => {}
    }
    let (status, body) = match ranged {
        true if start >= length => {
            let answer = "HTTP/1.1 416 No\r\ncontent-length: 0\r\nconnection: close\r\n";
            return stream.write_all(format!("{answer}content-range: bytes */{length}\r\n\r\n").as_bytes()).await;
        }
        true => (format!("206 Partial\r\ncontent-range: bytes {start}-{}/{length}", length - 1), &body[start..]),
        false => ("200 OK".to_owned(), &body[..]),
    };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.write_all(&body[..sent.min(body.len())]).await
}

async fn get(fake: &Fake, dir: &Path) -> Result<(), ParamsError> {
    fetch_files(wanted(), dir, &fake.address, Duration::from_millis(1), &|_| ()).await
}

#[tokio::test]
async fn what_a_mirrors_address_hides_is_not_told() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), mirror(|_| Answer::Status(404)).await);
    let secret = |address: &str| address.replacen("http://", "http://SECRET:SECRET@", 1);
    for address in
        [secret(&fake.address), secret("http://127.0.0.1:1/files"), "http://127.0.0.1:1/?k=SECRET".to_owned()]
    {
        let failed = fetch_files(wanted(), dir.path(), &address, Duration::from_millis(1), &|_| ()).await;
        let told = Chain(&failed.unwrap_err()).to_string();
        assert!(!told.contains("SECRET") && told.contains("http://127.0.0.1:"), "{told}");
    }
}

fn is_whole(dir: &Path) -> bool {
    std::fs::read(dir.join("some.srs")).is_ok_and(|bytes| bytes == content()) && !dir.join("some.srs.part").exists()
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let fake = mirror(|n| if n < 3 { Answer::BreakAfter(70_000) } else { Answer::Whole }).await;
    let told = Mutex::new(Vec::new());
    let report = |progress: Progress| told.lock().unwrap().push(progress.permille);
    fetch_files(wanted(), dir.path(), &fake.address, Duration::from_millis(1), &report).await.unwrap();
    assert!(is_whole(dir.path()));
    let asked = fake.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[0], "");
    assert!(asked[1..].iter().all(|range| range.ends_with('-')), "{asked:?}");
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&1000), "{told:?}");
    // and a second run has nothing to do
    get(&fake, dir.path()).await.unwrap();
    assert_eq!(fake.asked.lock().unwrap().len(), 4);
    drop(fake.tasks);
}

#[tokio::test]
async fn a_later_run_continues_the_part_of_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("some.srs.part");
    std::fs::write(&part, &content()[..1234]).unwrap();
    let fake = mirror(|_| Answer::Whole).await;
    get(&fake, dir.path()).await.unwrap();
    assert!(is_whole(dir.path()));
    assert_eq!(*fake.asked.lock().unwrap(), ["1234-"]);
}

#[tokio::test]
async fn a_complete_part_is_checked_and_taken() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("some.srs.part"), content()).unwrap();
    let fake = mirror(|_| Answer::Whole).await;
    get(&fake, dir.path()).await.unwrap();
    assert!(is_whole(dir.path()));
}

#[tokio::test]
async fn a_part_longer_than_the_file_is_fetched_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("some.srs.part"), [content(), vec![0]].concat()).unwrap();
    let fake = mirror(|_| Answer::Whole).await;
    get(&fake, dir.path()).await.unwrap();
    assert!(is_whole(dir.path()));
}

#[tokio::test]
async fn a_mirror_without_ranges_starts_over_and_still_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let fake = mirror(|n| if n == 0 { Answer::BreakAfter(90_000) } else { Answer::IgnoreRange }).await;
    get(&fake, dir.path()).await.unwrap();
    assert!(is_whole(dir.path()));
}

#[tokio::test]
async fn a_mirror_that_begins_anew_and_never_ends_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let fake = mirror(|_| Answer::IgnoreRangeAndBreakAfter(50_000)).await;
    let error = get(&fake, dir.path()).await.unwrap_err();
    assert!(matches!(error, ParamsError::Unreachable { tries: TRIES, .. }), "{error}");
}

#[tokio::test]
async fn a_corrupt_file_is_fetched_once_more_and_then_refused() {
    let dir = tempfile::tempdir().unwrap();
    let once = mirror(|n| if n == 0 { Answer::Corrupt } else { Answer::Whole }).await;
    get(&once, dir.path()).await.unwrap();
    assert!(is_whole(dir.path()));
    assert_eq!(*once.asked.lock().unwrap(), ["", ""]);

    let dir = tempfile::tempdir().unwrap();
    let always = mirror(|_| Answer::Corrupt).await;
    let error = get(&always, dir.path()).await.unwrap_err();
    assert!(matches!(error, ParamsError::WrongDigest { .. }), "{error}");
    assert_eq!(always.asked.lock().unwrap().len(), 2);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing wrong is left behind");
}

#[tokio::test]
async fn a_missing_file_fails_at_once_and_a_dead_mirror_after_some_tries() {
    let dir = tempfile::tempdir().unwrap();
    let fake = mirror(|_| Answer::Status(404)).await;
    let error = get(&fake, dir.path()).await.unwrap_err();
    assert!(matches!(error, ParamsError::Refused { status: 404, .. }), "{error}");
    assert_eq!(fake.asked.lock().unwrap().len(), 1);

    let fake = mirror(|_| Answer::Status(503)).await;
    let error = get(&fake, dir.path()).await.unwrap_err();
    assert!(matches!(error, ParamsError::Unreachable { tries: TRIES, .. }), "{error}");

    let nobody = Fake { address: "http://127.0.0.1:9".into(), ..fake };
    let error = get(&nobody, dir.path()).await.unwrap_err();
    assert!(matches!(error, ParamsError::Unreachable { tries: TRIES, .. }), "{error}");
}

#[tokio::test]
async fn two_processes_do_not_write_one_part() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("some.srs.part");
    let held = open(&part).unwrap();
    let fake = mirror(|_| Answer::Whole).await;
    let error = get(&fake, dir.path()).await.unwrap_err();
    assert!(matches!(error, ParamsError::Busy { .. }), "{error}");
    drop(held);
}
