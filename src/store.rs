//! Documents in a database: SQLite (embedded) or PostgreSQL (shared by several gateways).
//!
//! Owns the tables, transactions, unique and foreign keys (the database enforces them), the revision that every write advances,
//! and the changes that gateways follow. A document is a validated JSON object with what the database needs to know of it spelled
//! out beside it ([`Document`]); what its fields mean is the schema tables' business.
//! Must not know HTTP, nor what is served. Cold path only: nothing here runs while a request waits.

mod bulk;
mod changes;
mod collection;
mod feed;
mod read;
mod sql;
pub mod tokens;
mod transfer;
mod typed;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use uuid::Uuid;

pub use self::changes::{Changed, Changes, Documents, Everything, Signal, Watcher};
pub use self::collection::{COLLECTIONS, Collection, Document, Foreign, OnDelete, Reference, Unique, cache_key_of};
pub use self::feed::Feed;
pub use self::read::{Listed, Page, Parent, Query, Tagged, Tags};
pub use self::transfer::{Difference, ImportError, Imported, diff};
pub use self::typed::resolve;
pub use self::write::{Conflict, Deleted, Write};

/// A document's fields.
pub type Body = Map<String, Value>;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// How long a caller waits for a connection before the database counts as lost.
const ACQUIRE: Duration = Duration::from_secs(3);

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("database settings: {0}")]
    Settings(String),
    #[error(
        "the database was written by a newer version of portcullis (it has migration {found}, this program knows up to {known}); \
         run that version, or restore a backup from before the upgrade"
    )]
    Newer { found: i64, known: i64 },
    #[error("the database needs `portcullis migrations up` ({pending} pending)")]
    Pending { pending: usize },
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("database: {0}")]
    Migration(MigrateError),
    #[error("the database did not answer in time")]
    Timeout,
    #[error("a stored document cannot be read: {0}")]
    Document(#[from] serde_json::Error),
}

/// A database of documents. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Engine,
    /// Where it is, without a password: for logs and `GET /`.
    location: Arc<str>,
}

#[derive(Clone, Debug)]
enum Engine {
    /// One connection writes, several read; SQLite allows no more.
    Sqlite {
        writer: sqlx::SqlitePool,
        readers: sqlx::SqlitePool,
    },
    Postgres(sqlx::PgPool),
}

/// One migration and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MigrationState {
    pub version: i64,
    pub description: String,
    pub applied: bool,
}

/// Opens a database and brings its tables up to date.
///
/// `url` is `sqlite:PATH` or `postgres://user:password@host/name?sslmode=…`.
///
/// # Errors
/// When it cannot be reached, is not a database of ours, or was written by a newer version.
pub async fn open(url: &str) -> Result<Store, Error> {
    let store = Store::connect(url, true).await?;
    store.migrate().await?;
    Ok(store)
}

/// As [`open`], waiting for a database that is not up yet: it may be starting as well.
///
/// # Errors
/// As [`open`], when it does not come up within a minute.
pub async fn open_patiently(url: &str) -> Result<Store, Error> {
    const PATIENCE: Duration = Duration::from_secs(60);
    const CANNOT_CONNECT_NOW: &str = "57P03";
    let start = std::time::Instant::now();
    let mut said = false;
    loop {
        let fault = match open(url).await {
            Ok(store) => return Ok(store),
            Err(fault) => fault,
        };
        let passing = match &fault {
            Error::Database(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => true,
            Error::Database(sqlx::Error::Database(fault)) => {
                fault.code().is_some_and(|code| code == CANNOT_CONNECT_NOW)
            }
            _ => false,
        };
        if !passing || start.elapsed() > PATIENCE {
            return Err(fault);
        }
        if !said {
            tracing::warn!(%fault, "the database is not there yet; trying again");
            said = true;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

impl Store {
    /// Connects without touching the tables. `create`: whether an SQLite file that is not there is made.
    ///
    /// # Errors
    /// When the address is wrong or the database cannot be reached.
    pub async fn connect(url: &str, create: bool) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(Error::Settings(
                    "`sqlite:` needs a path, e.g. sqlite:/var/lib/portcullis/portcullis.db".into(),
                ));
            }
            return Self::sqlite(Path::new(path), create).await;
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).map_err(|fault| Error::Settings(fault.to_string()))?;
            let options = options.application_name("portcullis");
            let location = format!(
                "postgres://{}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or("")
            );
            let pool = PgPoolOptions::new()
                .max_connections(16)
                .acquire_timeout(ACQUIRE)
                .idle_timeout(Duration::from_secs(300))
                .connect_with(options)
                .await?;
            return Ok(Self { engine: Engine::Postgres(pool), location: location.into() });
        }
        Err(Error::Settings(format!("`{}` is neither sqlite:PATH nor postgres://…", without_password(url))))
    }

    async fn sqlite(path: &Path, create: bool) -> Result<Self, Error> {
        if create && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(folder)
                .await
                .map_err(|fault| Error::Settings(format!("{}: {fault}", folder.display())))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            // A write that was answered survives a power cut, not only a crash of the process.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            // Rows come from a thread of SQLite's own; with room for a page of them it does not stop and go.
            .row_buffer_size(1024)
            // Checkpoints are the feed's work (`Store::fold`), not the next writer's; this is for when nobody does it.
            .pragma("wal_autocheckpoint", "10000")
            // 32 MiB: the upper levels of the indexes of a million documents.
            .pragma("cache_size", "-32768");
        let pool = |size| SqlitePoolOptions::new().max_connections(size).acquire_timeout(ACQUIRE);
        let writer = pool(1).acquire_timeout(Duration::from_secs(30)).connect_with(options.clone()).await?;
        let readers = pool(4).connect_with(options).await?;
        keep_private(path);
        Ok(Self { engine: Engine::Sqlite { writer, readers }, location: format!("sqlite:{}", path.display()).into() })
    }

    /// Where the database is, without a password.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Kong's name of the kind of database (`configuration.database` of `GET /`): tools take anything but `off` as writable.
    pub fn kind(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite { .. } => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Whether other gateways may write to it.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Brings the tables up to date.
    ///
    /// # Errors
    /// When the database is newer than this program, or cannot be written.
    pub async fn migrate(&self) -> Result<(), Error> {
        let ran = match &self.engine {
            Engine::Sqlite { writer, .. } => MIGRATIONS.run(writer).await,
            Engine::Postgres(pool) => MIGRATIONS.run(pool).await,
        };
        ran.map_err(|fault| match fault {
            MigrateError::VersionMissing(found) | MigrateError::VersionTooNew(found, _) => {
                Error::Newer { found, known: MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0) }
            }
            MigrateError::Execute(fault) => Error::Database(fault),
            other => Error::Migration(other),
        })
    }

    /// Every migration this program knows or the database has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn migrations(&self) -> Result<Vec<MigrationState>, Error> {
        let mut session = self.read().await?;
        let there = match &self.engine {
            Engine::Sqlite { .. } => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'"
            }
            Engine::Postgres(_) => "SELECT tablename::text FROM pg_tables WHERE tablename = '_sqlx_migrations'",
        };
        let mut applied = Vec::new();
        if !session.fetch(there, &[]).await?.is_empty() {
            for row in session.fetch("SELECT version, description FROM _sqlx_migrations ORDER BY version", &[]).await? {
                applied.push((row.integer(0)?, row.text(1)?));
            }
        }
        let mut states: Vec<MigrationState> = MIGRATIONS
            .iter()
            .map(|migration| MigrationState {
                version: migration.version,
                description: migration.description.to_string(),
                applied: applied.iter().any(|(version, _)| *version == migration.version),
            })
            .collect();
        for (version, description) in applied {
            if !states.iter().any(|state| state.version == version) {
                states.push(MigrationState {
                    version,
                    description: format!("{description} (unknown to this program)"),
                    applied: true,
                });
            }
        }
        Ok(states)
    }

    /// Folds SQLite's write-ahead log into its file, as far as that goes without making anybody wait.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn fold(&self) -> Result<(), Error> {
        if let Engine::Sqlite { readers, .. } = &self.engine {
            sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(readers).await?;
        }
        Ok(())
    }

    /// Closes all connections; SQLite folds its write-ahead log into the file.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }
}

/// The file holds secrets: only its owner may read it.
fn keep_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(meta) = std::fs::metadata(path) {
        let mut permissions = meta.permissions();
        if permissions.mode() & 0o077 != 0 {
            permissions.set_mode(permissions.mode() & !0o077);
            let _ = std::fs::set_permissions(path, permissions);
        }
    }
}

fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let (start, end) = (url.get(..scheme + 3).unwrap_or(""), url.get(at..).unwrap_or(""));
            format!("{start}***{end}")
        }
        _ => url.to_owned(),
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A document as it came out of the database.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub id: Uuid,
    pub body: Body,
    /// Milliseconds since 1970; hidden and soon deleted from then on.
    pub expires_at: Option<i64>,
}
