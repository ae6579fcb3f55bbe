//! Sector records and their histories.
//!
//! A record is stored whole, as JSON; `number`, `state` and `version` are columns besides, for the database
//! to search and to compare. A row whose columns and record disagree is unreadable.

use super::{
    Change, HistoryEntry, Store, StoreError, Unreadable,
    read::{bigint, failed, json, number, text, to_bigint, to_json},
    sql,
};
use crate::{
    sector::{Event, Record},
    units::{SectorNumber, UnixMillis},
};
use sqlx::{
    Row as _, Transaction,
    any::{Any, AnyRow},
};

impl Store {
    /// Every sector by number, and the rows that cannot be read.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn sectors(&self) -> Result<(Vec<Record>, Vec<Unreadable>), StoreError> {
        self.read_all(&sql::SECTORS, record).await
    }

    /// The number of sectors in each state that some are in, by the state's name. Reads no record, so it takes as long
    /// for a hundred thousand as an index of them does.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn count_by_state(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let doing = "count the sectors";
        let rows = sqlx::query(sql::COUNT_BY_STATE).fetch_all(&self.reader).await.map_err(failed(doing))?;
        let unreadable = |error| StoreError::Unreadable { what: "sectors".to_owned(), error };
        let one = |row: &AnyRow| Ok((text(row, "state")?.to_owned(), number(row, "number")?));
        rows.iter().map(|row| one(row).map_err(unreadable)).collect()
    }

    /// Every sector with the name of its state, by number. Reads no record, as in [`Store::count_by_state`].
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn states(&self) -> Result<Vec<(SectorNumber, String)>, StoreError> {
        let rows = sqlx::query(sql::STATES).fetch_all(&self.reader).await.map_err(failed("list the sectors"))?;
        let unreadable = |error| StoreError::Unreadable { what: "sectors".to_owned(), error };
        let one = |row: &AnyRow| {
            let found: u64 = number(row, "number")?;
            let found = SectorNumber::try_from(found).map_err(|error| error.to_string())?;
            Ok((found, text(row, "state")?.to_owned()))
        };
        rows.iter().map(|row| one(row).map_err(unreadable)).collect()
    }

    /// One sector; `None` when the number was never used.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`], or the database does not answer.
    pub async fn sector(&self, number: SectorNumber) -> Result<Option<Record>, StoreError> {
        self.read_one(&sql::SECTORS, number.to_string(), record).await
    }

    /// What happened to a sector, oldest first; empty when the number was never used.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`], or the database does not answer.
    pub async fn history(&self, number: SectorNumber) -> Result<Vec<HistoryEntry>, StoreError> {
        let doing = "read the history of a sector";
        let query = sqlx::query(sql::HISTORY).bind(to_bigint(number.as_u64()));
        let rows = query.fetch_all(&self.reader).await.map_err(failed(doing))?;
        let unreadable = |row: &AnyRow, error| StoreError::Unreadable {
            what: format!("events {number}/{}", bigint(row, "seq").unwrap_or_default()),
            error,
        };
        rows.iter().map(|row| entry(row).map_err(|error| unreadable(row, error))).collect()
    }

    /// The highest number ever used, unreadable rows included.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn max_number(&self) -> Result<Option<SectorNumber>, StoreError> {
        let query = sqlx::query(sql::MAX_NUMBER);
        let row = query.fetch_one(&self.reader).await.map_err(failed("read the highest sector number"))?;
        let found: Option<i64> = row.try_get("number").map_err(failed("read the highest sector number"))?;
        Ok(found.and_then(|found| u64::try_from(found).ok()).and_then(|found| SectorNumber::try_from(found).ok()))
    }

    /// Records all of a change, or nothing of it.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when the number of a new sector was used before; [`StoreError::Conflict`] when a sector is
    /// no longer at the version the change was made from; [`StoreError::UnknownSector`]; [`StoreError::LiveMessage`] when
    /// a sector is in another batch of that kind, [`StoreError::Backwards`] when the batch is further than that.
    pub async fn commit(&self, change: &Change) -> Result<(), StoreError> {
        let Change { created, sectors, notes, batches, durations, at } = change;
        let doing = "record a change of sectors";
        let mut transaction = self.begin().await.map_err(failed(doing))?;
        for record in created {
            insert(&mut transaction, record).await?;
        }
        // always locked in the same order, so that two changes cannot wait for each other; events of a sector in theirs
        let mut sectors: Vec<_> = sectors.iter().collect();
        sectors.sort_by_key(|(record, _)| record.number);
        for (record, event) in sectors {
            replace(&mut transaction, record).await?;
            let entry = HistoryEntry { at: *at, event: event.clone(), applied: true };
            append(&mut transaction, record.number, &entry).await.map_err(failed(doing))?;
        }
        for (number, event) in notes {
            note(&mut transaction, *number, event, *at).await?;
        }
        super::batches::put_all(&mut transaction, batches).await?;
        for took in durations {
            super::settings::count_in(&mut transaction, took).await.map_err(failed(doing))?;
        }
        transaction.commit().await.map_err(failed(doing))
    }
}

async fn insert(transaction: &mut Transaction<'static, Any>, record: &Record) -> Result<(), StoreError> {
    let doing = "record new sectors";
    let done = sqlx::query(sql::INSERT_SECTOR)
        .bind(to_bigint(record.number.as_u64()))
        .bind(record.state.as_str())
        .bind(to_bigint(record.version))
        .bind(to_json(record).map_err(failed(doing))?)
        .execute(&mut **transaction)
        .await
        .map_err(failed(doing))?;
    if done.rows_affected() == 0 { Err(StoreError::Taken { number: record.number }) } else { Ok(()) }
}

/// Keeps an event that met the wrong state: the sector stays as it is.
async fn note(
    transaction: &mut Transaction<'static, Any>,
    number: SectorNumber,
    event: &Event,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let doing = "record an event";
    let lock = sqlx::query(sql::LOCK_SECTOR).bind(to_bigint(number.as_u64()));
    if lock.execute(&mut **transaction).await.map_err(failed(doing))?.rows_affected() == 0 {
        return Err(StoreError::UnknownSector { number });
    }
    let entry = HistoryEntry { at, event: event.clone(), applied: false };
    append(transaction, number, &entry).await.map_err(failed(doing))
}

/// Compare and set: only the version before this one is replaced.
async fn replace(transaction: &mut Transaction<'static, Any>, record: &Record) -> Result<(), StoreError> {
    let doing = "record a sector";
    let conflict = |expected| StoreError::Conflict { number: record.number, expected };
    let expected = record.version.checked_sub(1).ok_or_else(|| conflict(0))?;
    let done = sqlx::query(sql::UPDATE_SECTOR)
        .bind(to_bigint(record.number.as_u64()))
        .bind(record.state.as_str())
        .bind(to_bigint(record.version))
        .bind(to_json(record).map_err(failed(doing))?)
        .bind(to_bigint(expected))
        .execute(&mut **transaction)
        .await
        .map_err(failed(doing))?;
    if done.rows_affected() == 0 { Err(conflict(expected)) } else { Ok(()) }
}

async fn append(
    transaction: &mut Transaction<'static, Any>,
    number: SectorNumber,
    entry: &HistoryEntry,
) -> Result<(), sqlx::Error> {
    sqlx::query(sql::APPEND_EVENT)
        .bind(to_bigint(number.as_u64()))
        .bind(entry.at.as_i64())
        .bind(i64::from(entry.applied))
        .bind(to_json(&entry.event)?)
        .execute(&mut **transaction)
        .await
        .map(drop)
}

fn record(row: &AnyRow) -> Result<Record, String> {
    let record: Record = json(row, "record")?;
    let columns: (u64, &str, u64) = (number(row, "number")?, text(row, "state")?, number(row, "version")?);
    if columns != (record.number.as_u64(), record.state.as_str(), record.version) {
        let (number, state, version) = columns;
        return Err(format!(
            "the row says number {number}, state {state}, version {version}; its record says {}, {}, {}",
            record.number, record.state, record.version
        ));
    }
    Ok(record)
}

fn entry(row: &AnyRow) -> Result<HistoryEntry, String> {
    Ok(HistoryEntry {
        at: UnixMillis::new(bigint(row, "at")?),
        event: json(row, "event")?,
        applied: bigint(row, "applied")? != 0,
    })
}
