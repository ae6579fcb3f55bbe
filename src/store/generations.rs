//! Generations of the manifest: what was in force, since when, and why.
//!
//! The texts are the daemon's: nothing here reads them. None is ever removed; they are small, and few.

use super::{
    Store, StoreError,
    read::{failed, number, text, to_bigint},
    sql,
};
use crate::units::UnixMillis;
use sqlx::{Row as _, any::AnyRow};

/// A manifest that was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Counts from 1.
    pub number: u64,
    /// Since when.
    pub applied: UnixMillis,
    /// What brought it into force, such as `start`, `reload` or `rollback of 7`.
    pub note: String,
    /// Its files, as the daemon wrote them down.
    pub files: String,
}

/// The setting with the generation whose text is not to be taken from the manifest file again, since an operator rolled
/// it back; empty when there is none.
const DECLINED: &str = "declined_generation";

impl Store {
    /// The newest generations, at most `most` of them, the newest first. A row that makes no sense is left out.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn generations(&self, most: u32) -> Result<Vec<Generation>, StoreError> {
        let query = sqlx::query(sql::GENERATIONS).bind(i64::from(most));
        let rows = query.fetch_all(&self.reader).await.map_err(failed("read the generations"))?;
        Ok(rows.iter().filter_map(|row| generation(row).ok()).collect())
    }

    /// Records that a generation is in force, and which one was declined for it, together.
    ///
    /// # Errors
    /// The database does not answer, or there is one with this number: nothing is changed.
    pub async fn begin_generation(&self, next: &Generation, declined: Option<u64>) -> Result<(), StoreError> {
        let Generation { number, applied, note, files } = next;
        let declined = declined.map(|number| number.to_string()).unwrap_or_default();
        let done = async {
            let mut transaction = self.begin().await?;
            let row = sqlx::query(sql::INSERT_GENERATION).bind(to_bigint(*number)).bind(applied.as_i64());
            row.bind(note.clone()).bind(files.clone()).execute(&mut *transaction).await?;
            let mark = sqlx::query(sql::SET_SETTING).bind(DECLINED).bind(declined);
            mark.execute(&mut *transaction).await?;
            transaction.commit().await
        };
        done.await.map_err(failed("record a generation of the manifest"))
    }

    /// The generation that an operator rolled back last, when none came into force by another way since.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn declined_generation(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.setting(DECLINED).await?.and_then(|text| text.parse().ok()))
    }
}

fn generation(row: &AnyRow) -> Result<Generation, String> {
    Ok(Generation {
        number: number(row, "number")?,
        applied: UnixMillis::new(row.try_get("applied").map_err(|error| error.to_string())?),
        note: text(row, "note")?.to_owned(),
        files: text(row, "files")?.to_owned(),
    })
}
