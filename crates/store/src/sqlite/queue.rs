//! apalis' jobs in a SQLite file.

use apalis_core::{
    backend::{TaskResult, WorkerFilter},
    task::{Task, builder::TaskBuilder, status::Status},
    worker::context::WorkerContext,
};
use apalis_sqlite::{
    Config, SqliteStorage,
    queries::{ack_tasks, fetch_next, keep_alive, push_tasks, reenqueue_orphaned, register_worker},
};
use async_trait::async_trait;
use sqlx::{SqlitePool, sqlite::SqliteSynchronous};
use std::path::Path;

use super::{migrate, options, pool, sql::Tx};
use crate::{
    StoreError,
    apalis_queue::{HEARTBEAT, MISSED, NAME, Storage, WORKERS_KEPT_SECONDS, refused},
};

fn of_apalis(error: apalis_sqlite::Error) -> StoreError {
    match error {
        apalis_sqlite::Error::Database(error) => error.into(),
        error => refused(error),
    }
}

/// Jobs in one SQLite file.
#[derive(Clone)]
pub(crate) struct SqliteQueue {
    pool: SqlitePool,
    config: Config,
}

impl SqliteQueue {
    /// Opens or makes the file. The caller holds the lock of the data directory.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        // NORMAL: what a power cut takes from the queue the scheduler pushes again from the trials' records,
        // and a killed process loses nothing. apalis' own `setup` is not called: it sets `synchronous = OFF`
        // on one connection of the pool, and only its migrations are wanted.
        let pool = pool()
            .max_connections(2)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options(path, SqliteSynchronous::Normal))
            .await?;
        migrate(&SqliteStorage::migrations(), &pool, path).await?;
        let config =
            Config::default().queue(NAME).batch_size(1).heartbeat_interval(HEARTBEAT).missed_heartbeats(MISSED);
        Ok(Self { pool, config })
    }

    async fn write(&self) -> Result<Tx, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    async fn let_go_in(&self, tx: &mut Tx, worker: &str) -> Result<u64, StoreError> {
        Ok(reenqueue_orphaned(&mut **tx, i64::MIN, NAME, &WorkerFilter::Only(worker.to_owned())).await?)
    }

    /// Makes available what workers silent for a lease had in hand.
    async fn take_back(&self, tx: &mut Tx, worker: &WorkerContext) -> Result<(), StoreError> {
        let lease = i64::try_from(self.config.orphaned_duration().as_secs()).unwrap_or(i64::MAX);
        let others = WorkerFilter::AllExcept(worker.name().to_owned());
        let count = reenqueue_orphaned(&mut **tx, lease, NAME, &others).await?;
        if count > 0 {
            tracing::warn!(count, "jobs of silent workers are available again");
        }
        Ok(())
    }
}

#[async_trait]
impl Storage for SqliteQueue {
    async fn push(&self, key: &str, job: Vec<u8>) -> Result<(), StoreError> {
        let task = TaskBuilder::new(job).idempotency_key(key).build();
        let mut tx = self.write().await?;
        // apalis drops a job whose key is there already. One in a worker's hands must not stand in the way
        // of a new one: should that worker be dead, the job would wait until its lease ran out.
        sqlx::query(
            "UPDATE Jobs SET idempotency_key = NULL WHERE job_type = ? AND idempotency_key = ? AND status <> 'Pending'",
        )
        .bind(NAME)
        .bind(key)
        .execute(&mut *tx)
        .await?;
        push_tasks(&mut *tx, NAME, &[task]).await.map_err(of_apalis)?;
        // apalis notes from when on it may run. Now, also should the clock be set back: their ids keep jobs in order.
        sqlx::query("UPDATE Jobs SET run_at = 0 WHERE job_type = ? AND idempotency_key = ?")
            .bind(NAME)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn register(&self, worker: &WorkerContext) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        self.let_go_in(&mut tx, worker.name()).await?;
        // apalis refuses a name seen shortly before, but here the same process asks again for each job.
        sqlx::query(
            "DELETE FROM Workers WHERE (id = ?1 OR last_seen < strftime('%s', 'now') - ?2)
             AND id NOT IN (SELECT lock_by FROM Jobs WHERE lock_by IS NOT NULL)",
        )
        .bind(worker.name())
        .bind(WORKERS_KEPT_SECONDS)
        .execute(&mut *tx)
        .await?;
        register_worker(&mut *tx, &self.config, worker, "kindling").await?;
        self.take_back(&mut tx, worker).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn beat(&self, worker: &WorkerContext) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        keep_alive(&mut *tx, &self.config, worker).await?;
        self.take_back(&mut tx, worker).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn fetch(&self, worker: &WorkerContext) -> Result<Option<Task<Vec<u8>>>, StoreError> {
        // A look without the write lock first: most find nothing, and many workers look often.
        let any: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM Jobs WHERE job_type = ? AND status = 'Pending' AND lock_by IS NULL)",
        )
        .bind(NAME)
        .fetch_one(&self.pool)
        .await?;
        if !any {
            return Ok(None);
        }
        let mut tx = self.write().await?;
        let found = fetch_next(&mut *tx, &self.config, worker).await.map_err(of_apalis)?;
        tx.commit().await?;
        Ok(found.into_iter().next())
    }

    async fn done(&self, worker: &str, task: &Task<Vec<u8>>) -> Result<(), StoreError> {
        let Some(task_id) = task.ctx().task_id().cloned() else {
            return Err(refused("a job without an id"));
        };
        let id = task_id.to_string();
        let done = TaskResult { task_id, attempt: task.ctx().attempt(), status: Status::Done, result: Ok(().into()) };
        let mut tx = self.write().await?;
        ack_tasks(&mut *tx, &[&done], worker).await?;
        // Done jobs are of no use to anyone here; the trial's record says what came of them.
        sqlx::query("DELETE FROM Jobs WHERE id = ? AND status = 'Done'").bind(id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn discard(&self, task: &Task<Vec<u8>>) -> Result<(), StoreError> {
        let id = task.ctx().task_id().map(ToString::to_string);
        sqlx::query("DELETE FROM Jobs WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    async fn let_go(&self, worker: &str) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let count = self.let_go_in(&mut tx, worker).await?;
        tx.commit().await?;
        Ok(count)
    }

    async fn bury(&self, worker: &str) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let count = self.let_go_in(&mut tx, worker).await?;
        sqlx::query("DELETE FROM Workers WHERE id = ?").bind(worker).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(count)
    }

    async fn depth(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM Jobs WHERE job_type = ? AND status = 'Pending'")
            .bind(NAME)
            .fetch_one(&self.pool)
            .await?;
        u64::try_from(count).map_err(refused)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.write().await?.rollback().await?;
        Ok(())
    }
}
