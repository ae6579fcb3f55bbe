//! What is particular to SQLite: files, their modes, crashes, and addresses.

use super::{meddle, samples::*};
use crate::store::{Store, StoreError};
use sqlx::Row as _;
use std::os::unix::fs::PermissionsExt as _;

fn address(folder: &tempfile::TempDir, name: &str) -> String {
    format!("sqlite:{}/{name}", folder.path().display())
}

fn mode(folder: &tempfile::TempDir, name: &str) -> u32 {
    std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn only_the_owner_reads_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&address(&folder, "a b/c/seald.db")).await.unwrap();
    created(&store, 1).await;
    assert_eq!((mode(&folder, "a b"), mode(&folder, "a b/c")), (0o700, 0o700));
    for file in ["seald.db", "seald.db-wal", "seald.db-shm"] {
        assert_eq!(mode(&folder, &format!("a b/c/{file}")), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_commit_is_on_disk_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&address(&folder, "seald.db")).await.unwrap();
    let ask = async |pragma: &'static str| {
        let row = sqlx::query(pragma).fetch_one(&store.writer).await.unwrap();
        row.try_get::<String, _>(0).or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string())).unwrap()
    };
    assert_eq!(ask("PRAGMA journal_mode").await, "wal");
    assert_eq!(ask("PRAGMA synchronous").await, "2", "FULL");
    assert_eq!(ask("PRAGMA foreign_keys").await, "1");
}

#[tokio::test]
async fn what_a_killed_daemon_leaves_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&address(&folder, "seald.db")).await.unwrap();
    created(&store, 1).await;
    let mut unfinished = store.begin().await.unwrap();
    sqlx::raw_sql("DELETE FROM sectors").execute(&mut *unfinished).await.unwrap();
    // as the files lie at this moment, so a kill would leave them; the shared memory is gone after a power cut
    for file in ["seald.db", "seald.db-wal"] {
        std::fs::copy(folder.path().join(file), folder.path().join(format!("left-{file}"))).unwrap();
    }
    let left = address(&folder, "left-seald.db");
    assert_eq!(Store::open_read_only(&left).await.unwrap().sectors().await.unwrap().0, vec![sector(1)]);
    assert_eq!(Store::open(&left).await.unwrap().sectors().await.unwrap().0, vec![sector(1)]);
}

#[tokio::test]
async fn reading_a_missing_database_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open_read_only(&address(&folder, "seald.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error:?}");
    assert!(error.to_string().ends_with("seald.db: `seald run` makes it when it first starts"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    std::fs::write(folder.path().join("seald.db"), "").unwrap();
    let error = Store::open_read_only(&address(&folder, "seald.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Older { found: 0, .. }), "{error:?}");
    std::fs::write(folder.path().join("seald.db"), "not a database, but long enough to be looked at".repeat(100))
        .unwrap();
    for error in
        [Store::open_read_only(&address(&folder, "seald.db")).await, Store::open(&address(&folder, "seald.db")).await]
    {
        assert!(matches!(error, Err(StoreError::Open { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn one_spoilt_byte_costs_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&address(&folder, "seald.db")).await.unwrap();
    for n in 1..=3 {
        created(&store, n).await;
    }
    meddle(&store, "UPDATE sectors SET record = CAST(x'7bff7d' AS TEXT) WHERE number = 2").await;
    let (read, unreadable) = store.sectors().await.unwrap();
    assert_eq!(read, [1, 3].map(sector).to_vec());
    assert_eq!(unreadable.iter().map(|row| row.what.as_str()).collect::<Vec<_>>(), ["sectors 2"]);
}

#[tokio::test]
async fn wrong_addresses_are_refused_and_secrets_kept() {
    for wrong in ["", "seald.db", "sqlite:", "sqlite::memory:", "sqlite:/a.db?mode=ro", "mysql://u:secret@h/d"] {
        for error in [Store::open(wrong).await.unwrap_err(), Store::open_read_only(wrong).await.unwrap_err()] {
            assert!(matches!(error, StoreError::Open { .. }), "{wrong}: {error:?}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
