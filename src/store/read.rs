//! Total reading: a row that does not parse is named and passed over; the others are read all the same.

use super::{Store, StoreError, Unreadable, sql::Listing};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, any::AnyRow};

/// What one row means, or why it cannot be read.
pub(super) type Parse<T> = fn(&AnyRow) -> Result<T, String>;

/// Says what a failed statement was for.
pub(super) fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Query { doing, source }
}

/// A value as the text of a column.
pub(super) fn to_json(value: &impl Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A count as a BIGINT. Nothing here ever counts past it.
pub(super) fn to_bigint(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// A BIGINT column.
pub(super) fn bigint(row: &AnyRow, column: &'static str) -> Result<i64, String> {
    row.try_get(column).map_err(|error| error.to_string())
}

/// A BIGINT column that holds a count or a number.
pub(super) fn number<T: TryFrom<i64>>(row: &AnyRow, column: &'static str) -> Result<T, String> {
    let found = bigint(row, column)?;
    T::try_from(found).map_err(|_| format!("column {column} is {found}"))
}

/// A TEXT column.
pub(super) fn text<'r>(row: &'r AnyRow, column: &'static str) -> Result<&'r str, String> {
    row.try_get(column).map_err(|error| error.to_string())
}

/// A TEXT column that holds JSON.
pub(super) fn json<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T, String> {
    serde_json::from_str(text(row, column)?).map_err(|error| format!("column {column}: {error}"))
}

impl Store {
    /// Every row of a listing, in its order.
    pub(super) async fn read_all<T>(
        &self,
        listing: &Listing,
        parse: Parse<T>,
    ) -> Result<(Vec<T>, Vec<Unreadable>), StoreError> {
        let rows = match sqlx::query(listing.all).fetch_all(&self.reader).await {
            Ok(rows) => rows,
            // bytes that are no text spoil the whole answer: look for them row by row
            Err(error) if is_decode(&error) => return self.read_each(listing, parse).await,
            Err(error) => return Err(failed("read the database")(error)),
        };
        let (mut read, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match parse(row) {
                Ok(value) => read.push(value),
                Err(error) => unreadable.push(Unreadable { what: name(listing, &key(row)), error }),
            }
        }
        Ok((read, unreadable))
    }

    async fn read_each<T>(&self, listing: &Listing, parse: Parse<T>) -> Result<(Vec<T>, Vec<Unreadable>), StoreError> {
        let keys = sqlx::query(listing.keys).fetch_all(&self.reader).await.map_err(failed("read the database"))?;
        let (mut read, mut unreadable) = (Vec::with_capacity(keys.len()), Vec::new());
        for row in &keys {
            match self.read_one(listing, key(row), parse).await {
                Ok(value) => read.extend(value),
                Err(StoreError::Unreadable { what, error }) => unreadable.push(Unreadable { what, error }),
                Err(error) => return Err(error),
            }
        }
        Ok((read, unreadable))
    }

    /// One row of a listing.
    pub(super) async fn read_one<T>(
        &self,
        listing: &Listing,
        key: String,
        parse: Parse<T>,
    ) -> Result<Option<T>, StoreError> {
        let what = name(listing, &key);
        match sqlx::query(listing.one).bind(key).fetch_optional(&self.reader).await {
            Ok(row) => row.as_ref().map(parse).transpose().map_err(|error| StoreError::Unreadable { what, error }),
            Err(error) if is_decode(&error) => Err(StoreError::Unreadable { what, error: error.to_string() }),
            Err(error) => Err(failed("read the database")(error)),
        }
    }
}

/// The row arrived, but is not what its columns say.
fn is_decode(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
}

/// The key of a row is its first column: a number or a text.
fn key(row: &AnyRow) -> String {
    row.try_get::<String, _>(0)
        .or_else(|_| row.try_get::<i64, _>(0).map(|number| number.to_string()))
        .unwrap_or_else(|_| "?".to_owned())
}

fn name(listing: &Listing, key: &str) -> String {
    format!("{} {key}", listing.table)
}
