//! Records and queue in SQLite files.

mod queue;
#[path = "sql/mod.rs"]
mod sql;

pub(crate) use queue::SqliteQueue;
pub(crate) use sql::SqlMetadata as SqliteMetadata;

use sqlx::{
    Connection, SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};

use crate::{StoreError, owners::Owners};
use sql::{Result, Tx};

/// What [`sql`] is compiled for.
mod dialect {
    pub(super) type Db = sqlx::Sqlite;
    pub(super) type DbPool = sqlx::SqlitePool;
    pub(super) type DbRow = sqlx::sqlite::SqliteRow;
}

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// How long a statement waits for another process to end its transaction. Transactions here are short;
/// only a stopped process (SIGSTOP, a debugger) could hold one for long.
const BUSY: Duration = Duration::from_secs(15);

/// How a database file of ours is opened: WAL, so that readers and the one writer do not wait for each
/// other; foreign keys on.
fn options(path: &Path, synchronous: SqliteSynchronous) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY)
        .foreign_keys(true)
}

/// How connections are kept. One whose transaction SQLite itself rolled back, as it does when the disk is full, is opened
/// anew: sqlx 0.9.0 believes that the transaction still runs, and no other could begin on that connection ever again.
fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}

/// Brings a database up to date. SQLite's migrator in sqlx does not lock, so the caller holds a lock that
/// keeps other processes out.
async fn migrate(migrator: &Migrator, pool: &SqlitePool, path: &Path) -> Result<()> {
    match migrator.run(pool).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(version)) => {
            Err(StoreError::TooNew { database: path.display().to_string(), version })
        }
        Err(error) => Err(error.into()),
    }
}

impl SqliteMetadata {
    /// Opens or makes the file. The caller holds the lock of the data directory.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        // FULL: a commit is on disk before the call returns, so that what a client was told is kept also
        // when power is lost. Writes are few (some a second), so the wait does not matter.
        let options = options(path, SqliteSynchronous::Full);
        // One connection: SQLite has one writer at a time, and tasks waiting for a connection in turn are
        // served fairly, which SQLite's own waiting is not.
        let writer =
            pool().max_connections(1).idle_timeout(None).max_lifetime(None).connect_with(options.clone()).await?;
        migrate(&MIGRATIONS, &writer, path).await?;
        let reader = pool().max_connections(4).connect_with(options.pragma("query_only", "on")).await?;
        Ok(Self { writer, reader, owners: Owners::default() })
    }

    /// A transaction that holds the write lock from its beginning. One that began with a read and then
    /// wrote could fail at once, without waiting, when another process wrote in between.
    async fn write(&self) -> Result<Tx> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// A transaction whose reads are all of one moment.
    async fn snapshot(&self) -> Result<Tx> {
        Ok(self.reader.begin().await?)
    }

    /// Whoever uses the file is on this machine.
    async fn clock(&self) -> Result<Option<i64>> {
        Ok(None)
    }
}
