//! Every statement of the store, in one place; the suite runs each on SQLite and on PostgreSQL.
//!
//! Both engines take `$1`, `ON CONFLICT` and partial unique indexes. Only BIGINT and TEXT cross the border.

/// SQLite takes its write lock at once: a transaction that reads first and writes later would fail when
/// somebody else wrote in between, and no timeout helps then.
pub(super) const BEGIN_SQLITE: &str = "BEGIN IMMEDIATE";
pub(super) const BEGIN_POSTGRES: &str = "BEGIN";

/// Per connection. A commit is on disk when it returns; readers never wait for the writer.
pub(super) const SQLITE_WRITER: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
pub(super) const SQLITE_READER: &str = "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON";
/// The same promises, whatever the server's defaults are.
pub(super) const POSTGRES_WRITER: &str =
    "SET synchronous_commit = on; SET default_transaction_isolation = 'read committed'";
pub(super) const POSTGRES_READER: &str = "SET default_transaction_read_only = on";

pub(super) const SCHEMA_VERSION: &str = "SELECT MAX(version) AS version FROM _sqlx_migrations";

/// How a table is read: all rows at once, or its keys and then row by row.
pub(super) struct Listing {
    pub(super) table: &'static str,
    pub(super) all: &'static str,
    pub(super) keys: &'static str,
    pub(super) one: &'static str,
}

pub(super) const SECTORS: Listing = Listing {
    table: "sectors",
    all: "SELECT number, state, version, record FROM sectors ORDER BY number",
    keys: "SELECT CAST(number AS TEXT) AS key FROM sectors ORDER BY number",
    one: "SELECT number, state, version, record FROM sectors WHERE number = CAST($1 AS BIGINT)",
};
pub(super) const STATES: &str = "SELECT number, state FROM sectors ORDER BY number";
pub(super) const COUNT_BY_STATE: &str = "SELECT state, COUNT(*) AS number FROM sectors GROUP BY state ORDER BY state";
pub(super) const MAX_NUMBER: &str = "SELECT MAX(number) AS number FROM sectors";
pub(super) const INSERT_SECTOR: &str =
    "INSERT INTO sectors (number, state, version, record) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
pub(super) const UPDATE_SECTOR: &str =
    "UPDATE sectors SET state = $2, version = $3, record = $4 WHERE number = $1 AND version = $5";
/// Changes nothing: takes the row's lock, and says whether the row exists.
pub(super) const LOCK_SECTOR: &str = "UPDATE sectors SET number = number WHERE number = $1";

pub(super) const HISTORY: &str = "SELECT seq, at, applied, event FROM events WHERE sector = $1 ORDER BY seq";
/// The sector's row is locked by then, so no other event of this sector takes the same place.
pub(super) const APPEND_EVENT: &str = "INSERT INTO events (sector, seq, at, applied, event) \
     VALUES ($1, (SELECT COALESCE(MAX(seq), 0) + 1 FROM events WHERE sector = $1), $2, $3, $4)";

/// The columns of a batch.
macro_rules! batch_columns {
    () => {
        "SELECT id, kind, created, status, attempts, sectors, outcome, pushed, message FROM messages "
    };
}

/// Batches that may still land, or be taken back by a reorganisation; those that ended, while a sector they carried is
/// still on its way (states that are not `State::is_final`); and every CreateMiner.
macro_rules! batches_that_matter {
    () => {
        "WHERE status IN ('open', 'sealed', 'sent', 'landed') OR kind = 'create_miner' OR id IN (\
         SELECT message_sectors.message FROM message_sectors JOIN sectors ON sectors.number = message_sectors.sector \
         WHERE sectors.state NOT IN ('Proving', 'FailedUnrecoverable', 'PackingFailed', 'FaultedFinal', 'Removed')) \
         ORDER BY created, id"
    };
}

pub(super) const BATCHES: Listing = Listing {
    table: "messages",
    all: concat!(batch_columns!(), batches_that_matter!()),
    keys: concat!("SELECT id AS key FROM messages ", batches_that_matter!()),
    one: concat!(batch_columns!(), "WHERE id = $1"),
};
pub(super) const INSERT_BATCH: &str = "INSERT INTO messages \
     (id, kind, created, status, attempts, sectors, outcome, pushed, message) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
pub(super) const UPDATE_BATCH: &str = "UPDATE messages SET kind = $2, created = $3, status = $4, attempts = $5, \
     sectors = $6, outcome = $7, pushed = $8, message = $9 WHERE id = $1";
/// Changes nothing: takes the row's lock.
pub(super) const LOCK_BATCH: &str = "UPDATE messages SET id = id WHERE id = $1 RETURNING outcome";
pub(super) const FORGET_BATCH_SECTORS: &str = "DELETE FROM message_sectors WHERE message = $1";
pub(super) const INSERT_BATCH_SECTOR: &str =
    "INSERT INTO message_sectors (message, sector, kind, live) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

pub(super) const SETTING: &str = "SELECT value FROM settings WHERE name = $1";
pub(super) const SET_SETTING: &str =
    "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
pub(super) const FORGET_SETTING: &str = "DELETE FROM settings WHERE name = $1";

/// A plain mean of the first eight, then each new one counts an eighth.
pub(super) const RECORD_DURATION: &str = "INSERT INTO durations (stage, size, avg_ms, samples) \
     VALUES ($1, $2, $3, 1) ON CONFLICT (stage, size) DO UPDATE SET \
     avg_ms = durations.avg_ms + (excluded.avg_ms - durations.avg_ms) \
     / CASE WHEN durations.samples < 8 THEN durations.samples + 1 ELSE 8 END, samples = durations.samples + 1";
pub(super) const DURATIONS: &str = "SELECT stage, size, avg_ms, samples FROM durations ORDER BY stage, size";

pub(super) const RECORD_PEAK: &str = "INSERT INTO peaks (stage, size, bytes) VALUES ($1, $2, $3) \
     ON CONFLICT (stage, size) DO UPDATE SET bytes = \
     CASE WHEN excluded.bytes > peaks.bytes THEN excluded.bytes ELSE peaks.bytes END";
pub(super) const PEAKS: &str = "SELECT stage, size, bytes FROM peaks ORDER BY stage, size";
pub(super) const GENERATIONS: &str =
    "SELECT number, applied, note, files FROM generations ORDER BY number DESC LIMIT $1";
pub(super) const INSERT_GENERATION: &str =
    "INSERT INTO generations (number, applied, note, files) VALUES ($1, $2, $3, $4)";
