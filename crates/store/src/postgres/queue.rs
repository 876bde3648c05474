//! apalis' jobs in a PostgreSQL database.

use apalis_core::{
    backend::TaskResult,
    task::{Task, builder::TaskBuilder, status::Status},
    worker::context::WorkerContext,
};
use apalis_postgres::{
    Config, PostgresStorage,
    queries::{fetch_next, handle_results, keep_alive, push_tasks, reenqueue_abandoned, reenqueue_orphaned},
};
use async_trait::async_trait;
use sqlx::PgPool;

use super::{begin, migrate, sql::Tx};
use crate::{
    StoreError,
    apalis_queue::{HEARTBEAT, MISSED, NAME, Storage, WORKERS_KEPT_SECONDS, refused},
};

fn of_apalis(error: apalis_postgres::Error) -> StoreError {
    match error {
        apalis_postgres::Error::Database(error) => error.into(),
        error => refused(error),
    }
}

/// Jobs in one PostgreSQL database. All times in the tables are the database's own.
#[derive(Clone)]
pub(crate) struct PostgresQueue {
    pool: PgPool,
    config: Config,
}

impl PostgresQueue {
    /// Jobs behind a pool's connections.
    pub(crate) async fn open(pool: &PgPool) -> Result<Self, StoreError> {
        migrate(&PostgresStorage::<()>::migrations(), pool).await?;
        Ok(Self { pool: pool.clone(), config: Config::default().queue(NAME).batch_size(1) })
    }

    async fn let_go_in(&self, tx: &mut Tx, worker: &str) -> Result<u64, StoreError> {
        let held: Vec<String> =
            sqlx::query_scalar("SELECT id FROM apalis.jobs WHERE lock_by = $1 AND job_type = $2 FOR UPDATE")
                .bind(worker)
                .bind(NAME)
                .fetch_all(&mut **tx)
                .await?;
        if held.is_empty() {
            return Ok(0);
        }
        reenqueue_abandoned(&mut **tx, NAME, worker, &held).await.map_err(of_apalis)
    }

    /// Makes available what workers silent for a lease had in hand.
    async fn take_back(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let lease = HEARTBEAT.as_secs() * MISSED as u64;
        reenqueue_orphaned(&mut **tx, NAME, lease).await.map_err(of_apalis)?;
        Ok(())
    }
}

#[async_trait]
impl Storage for PostgresQueue {
    async fn push(&self, key: &str, job: Vec<u8>) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, "BEGIN").await?;
        // Pushers one after another, so that of two with the same job the second sees the first's.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtext('kindling jobs'))").execute(&mut *tx).await?;
        // One in a worker's hands must not stand in the way of a new one: should that worker be dead, the job
        // would wait until its lease ran out.
        sqlx::query(
            "UPDATE apalis.jobs SET idempotency_key = NULL
             WHERE job_type = $1 AND idempotency_key = $2 AND status <> 'Pending'",
        )
        .bind(NAME)
        .bind(key)
        .execute(&mut *tx)
        .await?;
        let waits: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM apalis.jobs WHERE job_type = $1 AND idempotency_key = $2)",
        )
        .bind(NAME)
        .bind(key)
        .fetch_one(&mut *tx)
        .await?;
        if !waits {
            push_tasks(&mut *tx, NAME, vec![TaskBuilder::new(job).idempotency_key(key).build()])
                .await
                .map_err(of_apalis)?;
            // apalis wrote when it may run by this machine's clock, in whole seconds.
            sqlx::query(
                "UPDATE apalis.jobs SET run_at = clock_timestamp() WHERE job_type = $1 AND idempotency_key = $2",
            )
            .bind(NAME)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn register(&self, worker: &WorkerContext) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, "BEGIN").await?;
        self.let_go_in(&mut tx, worker.name()).await?;
        sqlx::query(
            "DELETE FROM apalis.workers WHERE last_seen < now() - make_interval(secs => $1)
             AND id NOT IN (SELECT lock_by FROM apalis.jobs WHERE lock_by IS NOT NULL)",
        )
        .bind(WORKERS_KEPT_SECONDS as f64)
        .execute(&mut *tx)
        .await?;
        // Not apalis' own query: that takes a lock for the connection's life when the worker is known, but here the
        // same process asks again for each job, on any connection.
        sqlx::query(
            "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen)
             VALUES ($1, $2, 'kindling', $3, now())
             ON CONFLICT (id) DO UPDATE SET last_seen = now()",
        )
        .bind(worker.name())
        .bind(NAME)
        .bind(worker.get_service())
        .execute(&mut *tx)
        .await?;
        self.take_back(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn beat(&self, worker: &WorkerContext) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, "BEGIN").await?;
        keep_alive(&mut *tx, NAME, worker).await.map_err(of_apalis)?;
        self.take_back(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn fetch(&self, worker: &WorkerContext) -> Result<Option<Task<Vec<u8>>>, StoreError> {
        // A look first: most find nothing, and many workers look often.
        let any: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM apalis.jobs WHERE job_type = $1 AND status = 'Pending' AND run_at < now())",
        )
        .bind(NAME)
        .fetch_one(&self.pool)
        .await?;
        if !any {
            return Ok(None);
        }
        let mut connection = self.pool.acquire().await?;
        let found = fetch_next(&mut *connection, &self.config, worker).await.map_err(of_apalis)?;
        Ok(found.into_iter().next())
    }

    async fn done(&self, worker: &str, task: &Task<Vec<u8>>) -> Result<(), StoreError> {
        let Some(task_id) = task.ctx().task_id().cloned() else {
            return Err(refused("a job without an id"));
        };
        let id = task_id.to_string();
        let done = TaskResult { task_id, attempt: task.ctx().attempt(), status: Status::Done, result: Ok(().into()) };
        let mut tx = begin(&self.pool, "BEGIN").await?;
        handle_results(&mut *tx, &[&done], worker).await.map_err(of_apalis)?;
        // Done jobs are of no use to anyone here; the trial's record says what came of them.
        sqlx::query("DELETE FROM apalis.jobs WHERE id = $1 AND status = 'Done'").bind(id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn discard(&self, task: &Task<Vec<u8>>) -> Result<(), StoreError> {
        let id = task.ctx().task_id().map(ToString::to_string);
        sqlx::query("DELETE FROM apalis.jobs WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    async fn let_go(&self, worker: &str) -> Result<u64, StoreError> {
        let mut tx = begin(&self.pool, "BEGIN").await?;
        let count = self.let_go_in(&mut tx, worker).await?;
        tx.commit().await?;
        Ok(count)
    }

    async fn bury(&self, worker: &str) -> Result<u64, StoreError> {
        let mut tx = begin(&self.pool, "BEGIN").await?;
        let count = self.let_go_in(&mut tx, worker).await?;
        sqlx::query("DELETE FROM apalis.workers WHERE id = $1").bind(worker).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(count)
    }

    async fn depth(&self) -> Result<u64, StoreError> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE job_type = $1 AND status = 'Pending'")
                .bind(NAME)
                .fetch_one(&self.pool)
                .await?;
        u64::try_from(count).map_err(refused)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut tx = begin(&self.pool, "BEGIN").await?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtext('kindling jobs'))").execute(&mut *tx).await?;
        tx.rollback().await?;
        Ok(())
    }
}
