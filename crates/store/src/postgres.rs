//! Records and queue in a PostgreSQL database, for any number of servers and workers on any machines.

mod queue;
#[path = "sql/mod.rs"]
mod sql;

pub(crate) use queue::PostgresQueue;
pub(crate) use sql::SqlMetadata as PostgresMetadata;

use sqlx::{
    PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::time::Duration;

use crate::{StoreError, owners::Owners};
use sql::{Result, Tx};

/// What [`sql`] is compiled for.
mod dialect {
    pub(super) type Db = sqlx::Postgres;
    pub(super) type DbPool = sqlx::PgPool;
    pub(super) type DbRow = sqlx::postgres::PgRow;
}

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// Where our migrations are noted; apalis has its own in sqlx's usual table.
const NOTED_IN: &str = "kindling_migrations";

/// How long a call waits for a connection: a database that is away is said to be away after that.
const ACQUIRE: Duration = Duration::from_secs(10);

/// Connections to a database, shared by records and queue.
pub(crate) async fn connect(url: &str) -> Result<PgPool> {
    let options: PgConnectOptions = url.parse()?;
    let options = options
        .application_name("kindling")
        // A transaction of a process that was stopped holds the writers' lock: the database ends it.
        .options([("idle_in_transaction_session_timeout", "10s"), ("statement_timeout", "30s")]);
    Ok(PgPoolOptions::new().max_connections(8).acquire_timeout(ACQUIRE).connect_with(options).await?)
}

/// Begins a transaction, by a task of its own: whose caller is gone before the database has answered is rolled back.
/// sqlx 0.9.0 itself would put the connection back with the transaction open (its issue 4393, mended after 0.9.0), and
/// what others then write on that connection is never committed.
async fn begin(pool: &PgPool, statement: &'static str) -> Result<Tx> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await }).await;
    // The task does not panic; it ends without an answer where the runtime does.
    Ok(begun.unwrap_or(Err(sqlx::Error::WorkerCrashed))?)
}

/// Brings the database up to date; sqlx keeps others out meanwhile.
async fn migrate(migrator: &Migrator, pool: &PgPool) -> Result<()> {
    match migrator.run(pool).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(version)) => {
            Err(StoreError::TooNew { database: "the database".to_owned(), version })
        }
        Err(error) => Err(error.into()),
    }
}

impl PostgresMetadata {
    /// Records behind a pool's connections.
    pub(crate) async fn open(pool: &PgPool) -> Result<Self> {
        let mut migrations = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
        migrations.dangerous_set_table_name(NOTED_IN);
        migrate(&migrations, pool).await?;
        Ok(Self { writer: pool.clone(), reader: pool.clone(), owners: Owners::default() })
    }

    /// A transaction that holds the one writers' lock to its end, as SQLite's do. So decisions are made one after
    /// another, and events appear in the order of their ids. Writes are some a second for each worker and take a
    /// millisecond or two.
    async fn write(&self) -> Result<Tx> {
        let mut tx = begin(&self.writer, "BEGIN").await?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtext('kindling'))").execute(&mut *tx).await?;
        Ok(tx)
    }

    /// A transaction whose reads are all of one moment.
    async fn snapshot(&self) -> Result<Tx> {
        begin(&self.reader, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    /// The database's clock is everyone's.
    async fn clock(&self) -> Result<Option<i64>> {
        let now = sqlx::query_scalar("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)")
            .fetch_one(&self.reader)
            .await?;
        Ok(Some(now))
    }
}
