//! The outbox: batches of sectors, and their chain messages, as rows before they are calls.
//!
//! Does not talk to a node. A sector is in at most one batch of a kind that may still land, and there is at most one
//! such CreateMiner: the database itself refuses a second.

use super::{
    Batch, BatchState, MessageKind, Store, StoreError, Unreadable,
    read::{bigint, failed, json, number, text, to_bigint, to_json},
    sql,
};
use crate::{book::Change, outbox::Sent, sector::MessageId, units::SectorNumber, units::UnixMillis};
use sqlx::{
    Row as _, Transaction,
    any::{Any, AnyRow},
};

const DOING: &str = "record a message";

impl Store {
    /// Every batch that matters still, oldest first, and the rows that cannot be read: those that may still
    /// land or be taken back, those that ended while one of their sectors is not in a final state, and every CreateMiner.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn batches(&self) -> Result<(Vec<Batch>, Vec<Unreadable>), StoreError> {
        self.read_all(&sql::BATCHES, batch).await
    }

    /// One batch, however old.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`], or the database does not answer.
    pub async fn batch(&self, id: &MessageId) -> Result<Option<Batch>, StoreError> {
        self.read_one(&sql::BATCHES, id.0.clone(), batch).await
    }

    /// Records a batch that comes without a change of sectors.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn put_batch(&self, batch: &Batch) -> Result<(), StoreError> {
        self.commit(&Change { batches: vec![batch.clone()], ..Change::default() }).await
    }
}

/// Records batches as they are from now on; part of the caller's transaction. All rows first: a sector may leave one of
/// them for another.
pub(super) async fn put_all(transaction: &mut Transaction<'static, Any>, batches: &[Batch]) -> Result<(), StoreError> {
    for batch in batches {
        put(transaction, batch).await?;
    }
    for batch in batches {
        for sector in &batch.sectors {
            insert_sector(transaction, batch, *sector).await?;
        }
    }
    Ok(())
}

async fn put(transaction: &mut Transaction<'static, Any>, batch: &Batch) -> Result<(), StoreError> {
    let known = sqlx::query(sql::LOCK_BATCH).bind(batch.id.0.as_str());
    let Some(row) = known.fetch_optional(&mut **transaction).await.map_err(failed(DOING))? else {
        return insert(transaction, batch).await;
    };
    let what = format!("messages {}", batch.id.0);
    let before: BatchState = json(&row, "outcome").map_err(|error| StoreError::Unreadable { what, error })?;
    if !before.may_become(&batch.state) {
        let (from, to) = (before.as_str(), batch.state.as_str());
        return Err(StoreError::Backwards { id: batch.id.clone(), from, to });
    }
    update(transaction, batch).await
}

async fn insert(transaction: &mut Transaction<'static, Any>, batch: &Batch) -> Result<(), StoreError> {
    let query = sqlx::query(sql::INSERT_BATCH).bind(batch.id.0.as_str()).bind(batch.kind.as_str());
    let query = query.bind(batch.created.as_i64());
    let done = details(query, batch).map_err(failed(DOING))?.execute(&mut **transaction).await;
    if done.map_err(failed(DOING))?.rows_affected() == 0 {
        return Err(StoreError::LiveMessage { kind: batch.kind, sector: None });
    }
    Ok(())
}

async fn update(transaction: &mut Transaction<'static, Any>, batch: &Batch) -> Result<(), StoreError> {
    let query = sqlx::query(sql::UPDATE_BATCH).bind(batch.id.0.as_str()).bind(batch.kind.as_str());
    let query = query.bind(batch.created.as_i64());
    let done = details(query, batch).map_err(failed(DOING))?.execute(&mut **transaction).await;
    done.map_err(|source| taken(source, batch.kind, None))?;
    let query = sqlx::query(sql::FORGET_BATCH_SECTORS).bind(batch.id.0.as_str());
    query.execute(&mut **transaction).await.map(drop).map_err(failed(DOING))
}

type Query<'q> = sqlx::query::Query<'q, Any, sqlx::any::AnyArguments>;

/// Binds the columns from the fourth on.
fn details<'q>(query: Query<'q>, batch: &Batch) -> Result<Query<'q>, sqlx::Error> {
    Ok(query
        .bind(batch.state.as_str())
        .bind(i64::from(batch.attempts))
        .bind(to_json(&batch.sectors)?)
        .bind(to_json(&batch.state)?)
        .bind(batch.sent.as_ref().map(to_json).transpose()?)
        .bind(to_json(&batch.message)?))
}

async fn insert_sector(
    transaction: &mut Transaction<'static, Any>,
    batch: &Batch,
    sector: SectorNumber,
) -> Result<(), StoreError> {
    let done = sqlx::query(sql::INSERT_BATCH_SECTOR)
        .bind(batch.id.0.as_str())
        .bind(to_bigint(sector.as_u64()))
        .bind(batch.kind.as_str())
        .bind(i64::from(batch.state.is_live()))
        .execute(&mut **transaction)
        .await;
    match done {
        Ok(done) if done.rows_affected() == 0 => {
            Err(StoreError::LiveMessage { kind: batch.kind, sector: Some(sector) })
        }
        Ok(_) => Ok(()),
        Err(source) => Err(taken(source, batch.kind, Some(sector))),
    }
}

/// The rows of sectors are unique while they are live, so a second batch shows here.
fn taken(source: sqlx::Error, kind: MessageKind, sector: Option<SectorNumber>) -> StoreError {
    match (source.as_database_error(), sector) {
        (Some(error), Some(number)) if error.is_foreign_key_violation() => StoreError::UnknownSector { number },
        (Some(error), _) if error.is_unique_violation() => StoreError::LiveMessage { kind, sector },
        (Some(_) | None, _) => failed(DOING)(source),
    }
}

fn kind(row: &AnyRow) -> Result<MessageKind, String> {
    let found = text(row, "kind")?;
    let kind = MessageKind::ALL.into_iter().find(|kind| kind.as_str() == found);
    kind.ok_or_else(|| format!("column kind: {found:?} is not a kind of message"))
}

fn batch(row: &AnyRow) -> Result<Batch, String> {
    let state: BatchState = json(row, "outcome")?;
    let column = text(row, "status")?;
    if column != state.as_str() {
        return Err(format!("the row says {column}, its outcome says {}", state.as_str()));
    }
    let sent = row.try_get::<Option<String>, _>("pushed").map_err(|error| error.to_string())?;
    let sent = sent.as_deref().map(serde_json::from_str::<Sent>).transpose();
    Ok(Batch {
        id: MessageId(text(row, "id")?.to_owned()),
        kind: kind(row)?,
        sectors: json(row, "sectors")?,
        message: json(row, "message")?,
        created: UnixMillis::new(bigint(row, "created")?),
        state,
        sent: sent.map_err(|error| format!("column pushed: {error}"))?,
        attempts: number(row, "attempts")?,
    })
}
