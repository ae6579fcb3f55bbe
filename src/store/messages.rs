//! The outbox: chain messages as rows before they are calls.
//!
//! Does not talk to a node. A sector has at most one message of a kind that may still land, and there is at
//! most one such CreateMiner: the database itself refuses a second.

use super::{
    MessageKind, MessageStatus, OutboxMessage, Store, StoreError, Unreadable,
    read::{bigint, failed, json, number, text, to_bigint, to_json},
    sql,
};
use crate::{
    chain::Pushed,
    sector::MessageId,
    units::{SectorNumber, UnixMillis},
};
use sqlx::{
    Row as _, Transaction,
    any::{Any, AnyRow},
};

impl Store {
    /// Every message that matters still, oldest first, and the rows that cannot be read: those that may still
    /// land, those that ended while one of their sectors is not in a final state, and every CreateMiner.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn messages(&self) -> Result<(Vec<OutboxMessage>, Vec<Unreadable>), StoreError> {
        self.read_all(&sql::MESSAGES, message).await
    }

    /// One message, however old.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`], or the database does not answer.
    pub async fn message(&self, id: &MessageId) -> Result<Option<OutboxMessage>, StoreError> {
        self.read_one(&sql::MESSAGES, id.0.clone(), message).await
    }

    /// Records a message that comes without a change of sectors.
    ///
    /// # Errors
    /// [`StoreError::LiveMessage`], [`StoreError::DuplicateMessage`].
    pub async fn add_message(&self, message: &OutboxMessage) -> Result<(), StoreError> {
        let doing = "record a message";
        let mut transaction = self.begin().await.map_err(failed(doing))?;
        insert(&mut transaction, message).await?;
        transaction.commit().await.map_err(failed(doing))
    }

    /// Records where a message stands now. It only moves down the list of [`MessageStatus`]; recording the
    /// same status again replaces its details.
    ///
    /// # Errors
    /// [`StoreError::Backwards`], [`StoreError::UnknownMessage`].
    pub async fn set_message(&self, id: &MessageId, status: &MessageStatus, attempts: u32) -> Result<(), StoreError> {
        let doing = "record what became of a message";
        let (rank, pushed) = match status {
            MessageStatus::Intended => (0i64, None),
            MessageStatus::Pushed(pushed) => (1, Some(to_json(pushed).map_err(failed(doing))?)),
            MessageStatus::Landed(_) | MessageStatus::Refused { .. } => (2, None),
        };
        let mut transaction = self.begin().await.map_err(failed(doing))?;
        let done = sqlx::query(sql::SET_MESSAGE)
            .bind(id.0.as_str())
            .bind(status.as_str())
            .bind(to_json(status).map_err(failed(doing))?)
            .bind(i64::from(attempts))
            .bind(pushed)
            .bind(rank)
            .execute(&mut *transaction)
            .await
            .map_err(failed(doing))?;
        if done.rows_affected() == 0 {
            return Err(refusal(&mut transaction, id, status.as_str()).await);
        }
        set_live(&mut transaction, id, status).await.map_err(failed(doing))?;
        transaction.commit().await.map_err(failed(doing))
    }

    /// A reorganisation took a landed message off the chain: it is again what it was before, pushed, or
    /// intended when no push was ever recorded. Returns that status.
    ///
    /// # Errors
    /// [`StoreError::Backwards`] when it is not landed, [`StoreError::UnknownMessage`], and
    /// [`StoreError::LiveMessage`] when another message has taken its place in the meantime.
    pub async fn revert_message(&self, id: &MessageId) -> Result<MessageStatus, StoreError> {
        let doing = "take back a message";
        let mut transaction = self.begin().await.map_err(failed(doing))?;
        let landed = sqlx::query(sql::LOCK_LANDED).bind(id.0.as_str());
        let Some(row) = landed.fetch_optional(&mut *transaction).await.map_err(failed(doing))? else {
            return Err(refusal(&mut transaction, id, "pushed").await);
        };
        let unreadable = |error| StoreError::Unreadable { what: format!("messages {}", id.0), error };
        let kind = kind(&row).map_err(unreadable)?;
        let status = last_status(&row).map_err(unreadable)?;
        // the rows are unique while they are live, so a successor shows here
        let taken = |source: sqlx::Error| match source.as_database_error() {
            Some(error) if error.is_unique_violation() => StoreError::LiveMessage { kind, sector: None },
            Some(_) | None => failed(doing)(source),
        };
        sqlx::query(sql::REVERT_MESSAGE)
            .bind(id.0.as_str())
            .bind(status.as_str())
            .bind(to_json(&status).map_err(failed(doing))?)
            .execute(&mut *transaction)
            .await
            .map_err(taken)?;
        set_live(&mut transaction, id, &status).await.map_err(taken)?;
        transaction.commit().await.map_err(failed(doing))?;
        Ok(status)
    }
}

/// Part of the caller's transaction.
pub(super) async fn insert(
    transaction: &mut Transaction<'static, Any>,
    message: &OutboxMessage,
) -> Result<(), StoreError> {
    let OutboxMessage { id, kind, sectors, message, created, status, attempts } = message;
    let doing = "record a message";
    let pushed = match status {
        MessageStatus::Pushed(pushed) => Some(to_json(pushed).map_err(failed(doing))?),
        MessageStatus::Intended | MessageStatus::Landed(_) | MessageStatus::Refused { .. } => None,
    };
    let done = sqlx::query(sql::INSERT_MESSAGE)
        .bind(id.0.as_str())
        .bind(kind.as_str())
        .bind(created.as_i64())
        .bind(status.as_str())
        .bind(i64::from(*attempts))
        .bind(to_json(sectors).map_err(failed(doing))?)
        .bind(to_json(status).map_err(failed(doing))?)
        .bind(pushed)
        .bind(to_json(message).map_err(failed(doing))?)
        .execute(&mut **transaction)
        .await
        .map_err(failed(doing))?;
    if done.rows_affected() == 0 {
        return Err(match status_of(transaction, id).await.map_err(failed(doing))? {
            Some(_) => StoreError::DuplicateMessage { id: id.clone() },
            None => StoreError::LiveMessage { kind: *kind, sector: None },
        });
    }
    for sector in sectors {
        insert_sector(transaction, id, *kind, status, *sector).await?;
    }
    Ok(())
}

async fn insert_sector(
    transaction: &mut Transaction<'static, Any>,
    id: &MessageId,
    kind: MessageKind,
    status: &MessageStatus,
    sector: SectorNumber,
) -> Result<(), StoreError> {
    let done = sqlx::query(sql::INSERT_MESSAGE_SECTOR)
        .bind(id.0.as_str())
        .bind(to_bigint(sector.as_u64()))
        .bind(kind.as_str())
        .bind(i64::from(status.is_live()))
        .execute(&mut **transaction)
        .await;
    match done {
        Ok(done) if done.rows_affected() == 0 => Err(StoreError::LiveMessage { kind, sector: Some(sector) }),
        Ok(_) => Ok(()),
        Err(source) => Err(match source.as_database_error() {
            Some(error) if error.is_foreign_key_violation() => StoreError::UnknownSector { number: sector },
            Some(_) | None => failed("record a message")(source),
        }),
    }
}

async fn set_live(
    transaction: &mut Transaction<'static, Any>,
    id: &MessageId,
    status: &MessageStatus,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(sql::SET_LIVE).bind(id.0.as_str()).bind(i64::from(status.is_live()));
    query.execute(&mut **transaction).await.map(drop)
}

async fn status_of(transaction: &mut Transaction<'static, Any>, id: &MessageId) -> Result<Option<String>, sqlx::Error> {
    let row = sqlx::query(sql::MESSAGE_STATUS).bind(id.0.as_str()).fetch_optional(&mut **transaction).await?;
    row.map(|row| row.try_get("status")).transpose()
}

/// Why no row was changed.
async fn refusal(transaction: &mut Transaction<'static, Any>, id: &MessageId, to: &'static str) -> StoreError {
    match status_of(transaction, id).await {
        Ok(Some(from)) => StoreError::Backwards { id: id.clone(), from, to },
        Ok(None) => StoreError::UnknownMessage { id: id.clone() },
        Err(source) => failed("read a message")(source),
    }
}

/// What a message was before it landed.
fn last_status(row: &AnyRow) -> Result<MessageStatus, String> {
    match row.try_get::<Option<String>, _>("pushed").map_err(|error| error.to_string())? {
        None => Ok(MessageStatus::Intended),
        Some(pushed) => serde_json::from_str::<Pushed>(&pushed)
            .map(MessageStatus::Pushed)
            .map_err(|error| format!("column pushed: {error}")),
    }
}

fn kind(row: &AnyRow) -> Result<MessageKind, String> {
    let found = text(row, "kind")?;
    let kind = MessageKind::ALL.into_iter().find(|kind| kind.as_str() == found);
    kind.ok_or_else(|| format!("column kind: {found:?} is not a kind of message"))
}

fn message(row: &AnyRow) -> Result<OutboxMessage, String> {
    let status: MessageStatus = json(row, "outcome")?;
    let column = text(row, "status")?;
    if column != status.as_str() {
        return Err(format!("the row says {column}, its outcome says {}", status.as_str()));
    }
    Ok(OutboxMessage {
        id: MessageId(text(row, "id")?.to_owned()),
        kind: kind(row)?,
        sectors: json(row, "sectors")?,
        message: json(row, "message")?,
        created: UnixMillis::new(bigint(row, "created")?),
        status,
        attempts: number(row, "attempts")?,
    })
}
