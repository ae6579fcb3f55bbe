//! Opening the database: where it is, who may read it, which schema it has.
//!
//! Does not wait for a database server that is down, and does not keep a second daemon out: the daemon
//! holds its own lock. On PostgreSQL one daemon at a time is first started after an upgrade.

use super::{StoreError, sql};
use sqlx::{
    AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _,
    Transaction,
    any::{Any, AnyConnectOptions, AnyPoolOptions},
    migrate::{Migrate as _, Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};
use std::{path::PathBuf, time::Duration};

/// The steps of the schema, oldest first: description, SQLite text, PostgreSQL text. Only ever added to.
pub(super) const MIGRATIONS: &[(&str, &str, &str)] = &[
    ("first", include_str!("migrations/sqlite/0001_first.sql"), include_str!("migrations/postgres/0001_first.sql")),
    (
        "batches",
        include_str!("migrations/sqlite/0002_batches.sql"),
        include_str!("migrations/postgres/0002_batches.sql"),
    ),
    (
        "generations",
        include_str!("migrations/sqlite/0003_generations.sql"),
        include_str!("migrations/postgres/0003_generations.sql"),
    ),
    ("peaks", include_str!("migrations/sqlite/0004_peaks.sql"), include_str!("migrations/postgres/0004_peaks.sql")),
];

/// Longest wait for a free connection, and for a server to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections for reading, and to PostgreSQL altogether: `status`, the loop and a few requests at once.
const CONNECTIONS: u32 = 4;

/// The open database. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Engine,
    pub(super) writer: AnyPool,
    pub(super) reader: AnyPool,
}

impl Store {
    /// Opens the database for the daemon: makes the SQLite file (readable by its owner only) and its folder,
    /// and brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when a later seald has used it; [`StoreError::Open`] for everything else.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let place = Place::parse(url)?;
        place.create().await.map_err(|source| place.failed(source))?;
        let (writer, reader) = place.connect().await.map_err(|source| place.failed(source))?;
        let mut connection = writer.acquire().await.map_err(|source| place.failed(source))?;
        let migrator = place.engine.migrator();
        let ready = connection.ensure_migrations_table(&migrator.table_name).await;
        ready.map_err(|error| place.failed(error.into()))?;
        let found = schema_version(&mut connection).await.map_err(|source| place.failed(source))?;
        if found > known_version() {
            return Err(StoreError::Newer { found, known: known_version() });
        }
        let done = migrator.run_direct(None, &mut *connection, false).await;
        done.map_err(|error| place.failed(error.into()))?;
        drop(connection);
        Ok(Self { engine: place.engine, writer, reader })
    }

    /// Opens the database for reading only, whether a daemon runs or not. Never waits for the daemon, never
    /// makes it wait, changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Missing`] before the first start of the daemon, [`StoreError::Older`] and
    /// [`StoreError::Newer`] when the schema is another, [`StoreError::Open`] for everything else.
    pub async fn open_read_only(url: &str) -> Result<Self, StoreError> {
        let mut place = Place::parse(url)?;
        if let Some(file) = &place.file {
            match tokio::fs::try_exists(file).await {
                Ok(true) => {}
                Ok(false) => return Err(StoreError::Missing { url: place.shown }),
                Err(error) => return Err(place.failed(error.into())),
            }
            place.options.database_url.query_pairs_mut().append_pair("mode", "ro");
        }
        let reader = place.reader().await.map_err(|source| place.failed(source))?;
        let mut connection = reader.acquire().await.map_err(|source| place.failed(source))?;
        let found = match schema_version(&mut connection).await {
            Ok(found) => found,
            Err(error) if is_missing_table(&error) => 0,
            Err(error) => return Err(place.failed(error)),
        };
        drop(connection);
        match found.cmp(&known_version()) {
            std::cmp::Ordering::Less => Err(StoreError::Older { found, known: known_version() }),
            std::cmp::Ordering::Greater => Err(StoreError::Newer { found, known: known_version() }),
            std::cmp::Ordering::Equal => Ok(Self { engine: place.engine, writer: reader.clone(), reader }),
        }
    }

    /// A transaction that writes. Dropping it undoes it.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.engine {
            Engine::Sqlite => self.writer.begin_with(sql::BEGIN_SQLITE).await,
            Engine::Postgres => self.writer.begin_with(sql::BEGIN_POSTGRES).await,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    fn migrator(self) -> Migrator {
        let steps = MIGRATIONS.iter().zip(1..).map(|((description, sqlite, postgres), version)| {
            let text = match self {
                Self::Sqlite => *sqlite,
                Self::Postgres => *postgres,
            };
            let no_transaction = text.starts_with("-- no-transaction");
            let description = (*description).into();
            Migration::new(version, description, MigrationType::Simple, text.into_sql_str(), no_transaction)
        });
        let mut migrator = Migrator::with_migrations(steps.collect());
        // YugabyteDB has no advisory locks
        migrator.set_locking(false);
        migrator
    }
}

/// The schema version this program writes and reads.
pub fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

async fn schema_version(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    let row = sqlx::query(sql::SCHEMA_VERSION).fetch_one(connection).await?;
    Ok(row.try_get::<Option<i64>, _>("version")?.unwrap_or(0))
}

/// SQLite has one code for everything a statement text can be wrong about; this one is fixed, so only the
/// table can be missing.
fn is_missing_table(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|database| database.code());
    matches!(code.as_deref(), Some("1" | "42P01"))
}

/// Where the database is.
struct Place {
    engine: Engine,
    options: AnyConnectOptions,
    /// The SQLite file.
    file: Option<PathBuf>,
    /// The address without secrets.
    shown: String,
}

impl Place {
    fn parse(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let wrong = |source| StoreError::Open { url: "named by [state] url".to_owned(), source };
        let refused = |shown: &str| StoreError::Open {
            url: shown.to_owned(),
            source: sqlx::Error::Configuration(
                "wanted sqlite:/path/to/file or postgres://user@host/database".to_owned().into(),
            ),
        };
        let options: AnyConnectOptions = url.parse().map_err(wrong)?;
        let mut shown = options.database_url.clone();
        // the query of a PostgreSQL address may carry a password too
        shown.set_query(None);
        if shown.password().is_some() && shown.set_password(Some("...")).is_err() {
            return Err(refused(shown.scheme()));
        }
        let shown = shown.to_string();
        match options.database_url.scheme() {
            "postgres" | "postgresql" => Ok(Self { engine: Engine::Postgres, options, file: None, shown }),
            "sqlite" => {
                let parsed = SqliteConnectOptions::from_url(&options.database_url).map_err(wrong)?;
                let file = parsed.get_filename().to_owned();
                let in_memory = options.database_url.path() == ":memory:";
                if in_memory || file.as_os_str().is_empty() || options.database_url.query().is_some() {
                    return Err(refused(&shown));
                }
                Ok(Self { engine: Engine::Sqlite, options, file: Some(file), shown })
            }
            _ => Err(refused(&shown)),
        }
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::Open { url: self.shown.clone(), source }
    }

    /// Makes the file before SQLite does, because SQLite would let everybody read it.
    async fn create(&self) -> Result<(), sqlx::Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await?;
        }
        let made = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).await;
        match (made, folder) {
            (Err(error), _) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            (Err(error), _) => Err(error.into()),
            // the new name must survive a power cut as well as what will be written under it
            (Ok(_), Some(folder)) => Ok(tokio::fs::File::open(folder).await?.sync_all().await?),
            (Ok(_), None) => Ok(()),
        }
    }

    async fn connect(&self) -> Result<(AnyPool, AnyPool), sqlx::Error> {
        match self.engine {
            Engine::Sqlite => Ok((self.pool(1, sql::SQLITE_WRITER).await?, self.reader().await?)),
            Engine::Postgres => {
                let both = self.pool(CONNECTIONS, sql::POSTGRES_WRITER).await?;
                Ok((both.clone(), both))
            }
        }
    }

    async fn reader(&self) -> Result<AnyPool, sqlx::Error> {
        match self.engine {
            Engine::Sqlite => self.pool(CONNECTIONS, sql::SQLITE_READER).await,
            Engine::Postgres => self.pool(CONNECTIONS, sql::POSTGRES_READER).await,
        }
    }

    async fn pool(&self, connections: u32, setup: &'static str) -> Result<AnyPool, sqlx::Error> {
        // A pool tries for as long as it has patience and then forgets why it failed: one connection goes first.
        let first = tokio::time::timeout(PATIENCE, async {
            let mut first = self.options.connect().await?;
            first.execute(sqlx::raw_sql(setup)).await?;
            first.close().await
        });
        first.await.map_err(|_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))??;
        let pool = AnyPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
        let pool = pool.after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(sqlx::raw_sql(setup)).await.map(drop) })
        });
        pool.connect_with(self.options.clone()).await
    }
}
