//! Small facts: named settings, and how long stages take here.

use super::{
    Store, StoreError, Took,
    read::{failed, number, text, to_bigint},
    sql,
};
use crate::units::{Bytes, SectorSize};
use sqlx::{
    Row as _, Transaction,
    any::{Any, AnyRow},
};

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

    /// Forgets a value, so that it counts as never set.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn forget_setting(&self, key: &str) -> Result<(), StoreError> {
        let query = sqlx::query(sql::FORGET_SETTING).bind(key.to_owned());
        query.execute(&self.writer).await.map(drop).map_err(failed("forget a setting"))
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

    /// Stage, sector size, and the most memory that it ever took: a row that makes no sense is left out.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn peaks(&self) -> Result<Vec<(String, SectorSize, Bytes)>, StoreError> {
        let query = sqlx::query(sql::PEAKS);
        let rows = query.fetch_all(&self.reader).await.map_err(failed("read the peaks of memory"))?;
        Ok(rows.iter().filter_map(peak).collect())
    }
}

/// Counts a finished stage in.
pub(super) async fn count_in(transaction: &mut Transaction<'static, Any>, took: &Took) -> Result<(), sqlx::Error> {
    let Took { stage, size, ms, peak } = took;
    let query = sqlx::query(sql::RECORD_DURATION).bind(stage.as_str()).bind(size.to_string()).bind(to_bigint(*ms));
    query.execute(&mut **transaction).await?;
    let Some(peak) = peak else { return Ok(()) };
    let query = sqlx::query(sql::RECORD_PEAK).bind(stage.as_str()).bind(size.to_string());
    query.bind(to_bigint(peak.as_u64())).execute(&mut **transaction).await.map(drop)
}

fn peak(row: &AnyRow) -> Option<(String, SectorSize, Bytes)> {
    let size = text(row, "size").ok()?.parse().ok()?;
    Some((text(row, "stage").ok()?.to_owned(), size, Bytes::new(number(row, "bytes").ok()?)))
}

fn duration(row: &AnyRow) -> Option<(String, SectorSize, u64, u64)> {
    let size = text(row, "size").ok()?.parse().ok()?;
    Some((text(row, "stage").ok()?.to_owned(), size, number(row, "avg_ms").ok()?, number(row, "samples").ok()?))
}
