//! Small facts: named settings, and how long stages take here.

use super::{
    Store, StoreError,
    read::{failed, number, text, to_bigint},
    sql,
};
use crate::units::SectorSize;
use sqlx::{Row as _, any::AnyRow};

impl Store {
    /// The value last set; `None` when it never was.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let query = sqlx::query(sql::SETTING).bind(key.to_owned());
        let row = query.fetch_optional(&self.reader).await.map_err(failed("read a setting"))?;
        row.map(|row| row.try_get("value")).transpose().map_err(failed("read a setting"))
    }

    /// Sets a value, in place of any earlier one.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn set_setting(&self, key: &str, value: &str) -> Result<(), StoreError> {
        let query = sqlx::query(sql::SET_SETTING).bind(key.to_owned()).bind(value.to_owned());
        query.execute(&self.writer).await.map(drop).map_err(failed("write a setting"))
    }

    /// Counts a finished stage in: `ms` milliseconds for one sector of this size.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn record_duration(&self, stage: &str, size: SectorSize, ms: u64) -> Result<(), StoreError> {
        let query = sqlx::query(sql::RECORD_DURATION).bind(stage.to_owned()).bind(size.to_string()).bind(to_bigint(ms));
        query.execute(&self.writer).await.map(drop).map_err(failed("record a duration"))
    }

    /// Stage, sector size, average milliseconds (late ones count most) and number of finished runs, for
    /// estimates only: a row that makes no sense is left out.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn durations(&self) -> Result<Vec<(String, SectorSize, u64, u64)>, StoreError> {
        let query = sqlx::query(sql::DURATIONS);
        let rows = query.fetch_all(&self.reader).await.map_err(failed("read the durations"))?;
        Ok(rows.iter().filter_map(duration).collect())
    }
}

fn duration(row: &AnyRow) -> Option<(String, SectorSize, u64, u64)> {
    let size = text(row, "size").ok()?.parse().ok()?;
    Some((text(row, "stage").ok()?.to_owned(), size, number(row, "avg_ms").ok()?, number(row, "samples").ok()?))
}
