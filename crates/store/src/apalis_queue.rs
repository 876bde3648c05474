//! [`Queue`] on apalis' SQLite storage.
//!
//! apalis' tables, migrations and queries are used, its worker runtime is not: a worker here has one job
//! for minutes and trains on its own threads, acknowledges when the trial's record says so, and must
//! outlive a busy database, while the runtime's backend is dead after its first error.

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
use sqlx::{Sqlite, SqlitePool, Transaction, sqlite::SqlitePoolOptions, sqlite::SqliteSynchronous};
use std::{path::Path, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{Delivery, Job, Queue, Receipt, StoreError, sqlite};

/// How often an idle worker looks.
const POLL: Duration = Duration::from_millis(50);
/// How often a worker says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Heartbeats missed until a worker's jobs are another's. Taking one too early does no harm (the trial's
/// record decides), so this need not wait as long as a trial may take.
const MISSED: usize = 3;
/// How long rows of workers that are gone are kept.
const WORKERS_KEPT_SECONDS: i64 = 3600;

type Tx = Transaction<'static, Sqlite>;

fn refused(error: impl std::fmt::Display) -> StoreError {
    StoreError::Queue(error.to_string())
}

fn of_apalis(error: apalis_sqlite::Error) -> StoreError {
    match error {
        apalis_sqlite::Error::Database(error) => error.into(),
        error => refused(error),
    }
}

/// Jobs in one SQLite file.
#[derive(Clone)]
pub(crate) struct ApalisQueue {
    pool: SqlitePool,
    config: Config,
}

impl ApalisQueue {
    /// Opens or makes the file. The caller holds the lock of the data directory.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        // NORMAL: what a power cut takes from the queue the scheduler pushes again from the trials' records,
        // and a killed process loses nothing. apalis' own `setup` is not called: it sets `synchronous = OFF`
        // on one connection of the pool, and only its migrations are wanted.
        let options = sqlite::options(path, SqliteSynchronous::Normal);
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        sqlite::migrate(&SqliteStorage::migrations(), &pool, path).await?;
        let config =
            Config::default().queue("rungs").batch_size(1).heartbeat_interval(HEARTBEAT).missed_heartbeats(MISSED);
        Ok(Self { pool, config })
    }

    fn name(&self) -> &str {
        self.config.queue.as_ref()
    }

    async fn write(&self) -> Result<Tx, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Makes what this worker had in hand available again, whenever it was last seen.
    async fn let_go(&self, tx: &mut Tx, worker: &str) -> Result<u64, StoreError> {
        Ok(reenqueue_orphaned(&mut **tx, i64::MIN, self.name(), &WorkerFilter::Only(worker.to_owned())).await?)
    }

    /// Enters the worker in apalis' table, where jobs in hand refer to it.
    async fn register(&self, worker: &WorkerContext) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        self.let_go(&mut tx, worker.name()).await?;
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

    /// Makes available what workers silent for a lease had in hand.
    async fn take_back(&self, tx: &mut Tx, worker: &WorkerContext) -> Result<(), StoreError> {
        let lease = i64::try_from(self.config.orphaned_duration().as_secs()).unwrap_or(i64::MAX);
        let others = WorkerFilter::AllExcept(worker.name().to_owned());
        let count = reenqueue_orphaned(&mut **tx, lease, self.name(), &others).await?;
        if count > 0 {
            tracing::warn!(count, "jobs of silent workers are available again");
        }
        Ok(())
    }

    /// Says that the worker lives.
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
        .bind(self.name())
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

    /// Removes a job that no worker could read, so that it does not come back for ever.
    async fn discard(&self, task: &Task<Vec<u8>>) -> Result<(), StoreError> {
        let id = task.ctx().task_id().map(ToString::to_string);
        sqlx::query("DELETE FROM Jobs WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(())
    }
}

#[async_trait]
impl Queue for ApalisQueue {
    async fn push(&self, job: &Job) -> Result<(), StoreError> {
        let key = format!("{}/{}", job.trial, job.rung);
        let task = TaskBuilder::new(serde_json::to_vec(job)?).idempotency_key(&key).build();
        let mut tx = self.write().await?;
        // apalis drops a job whose key is there already. One in a worker's hands must not stand in the way
        // of a new one: should that worker be dead, the job would wait until its lease ran out.
        sqlx::query(
            "UPDATE Jobs SET idempotency_key = NULL WHERE job_type = ? AND idempotency_key = ? AND status <> 'Pending'",
        )
        .bind(self.name())
        .bind(&key)
        .execute(&mut *tx)
        .await?;
        push_tasks(&mut *tx, self.name(), &[task]).await.map_err(of_apalis)?;
        tx.commit().await?;
        Ok(())
    }

    async fn next(&self, worker: &str) -> Result<Delivery, StoreError> {
        let context = WorkerContext::new(worker);
        self.register(&context).await?;
        let mut beaten = Instant::now();
        loop {
            if beaten.elapsed() >= HEARTBEAT {
                if let Err(error) = self.beat(&context).await {
                    // This worker may have been thought dead and struck from the table.
                    tracing::warn!(%error, worker, "the queue did not take a heartbeat; entering the worker again");
                    self.register(&context).await?;
                }
                beaten = Instant::now();
            }
            let Some(task) = self.fetch(&context).await? else {
                sleep(POLL).await;
                continue;
            };
            match serde_json::from_slice(&task.args) {
                Ok(job) => return Ok(Delivery::new(job, Box::new(InHand::new(self.clone(), context, task)))),
                Err(error) => {
                    tracing::error!(%error, "a job that cannot be read was discarded");
                    self.discard(&task).await?;
                }
            }
        }
    }

    async fn worker_gone(&self, worker: &str) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let count = self.let_go(&mut tx, worker).await?;
        sqlx::query("DELETE FROM Workers WHERE id = ?").bind(worker).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(count)
    }

    async fn depth(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM Jobs WHERE job_type = ? AND status = 'Pending'")
            .bind(self.name())
            .fetch_one(&self.pool)
            .await?;
        u64::try_from(count).map_err(refused)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.write().await?.rollback().await?;
        Ok(())
    }
}

/// A job in a worker's hands.
struct InHand {
    queue: ApalisQueue,
    worker: String,
    task: Task<Vec<u8>>,
    beating: tokio::task::JoinHandle<()>,
}

impl InHand {
    fn new(queue: ApalisQueue, worker: WorkerContext, task: Task<Vec<u8>>) -> Self {
        let name = worker.name().to_owned();
        let beats = queue.clone();
        let beating = tokio::spawn(async move {
            let mut clock = interval(HEARTBEAT);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                clock.tick().await;
                if let Err(error) = beats.beat(&worker).await {
                    tracing::warn!(%error, "a heartbeat did not reach the queue; the next may");
                }
            }
        });
        Self { queue, worker: name, task, beating }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

#[async_trait]
impl Receipt for InHand {
    async fn ack(self: Box<Self>) -> Result<(), StoreError> {
        let Some(task_id) = self.task.ctx().task_id().cloned() else {
            return Err(refused("a job without an id"));
        };
        let id = task_id.to_string();
        let done =
            TaskResult { task_id, attempt: self.task.ctx().attempt(), status: Status::Done, result: Ok(().into()) };
        let mut tx = self.queue.write().await?;
        ack_tasks(&mut *tx, &[&done], &self.worker).await?;
        // Done jobs are of no use to anyone here; the trial's record says what came of them.
        sqlx::query("DELETE FROM Jobs WHERE id = ? AND status = 'Done'").bind(id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn give_back(self: Box<Self>) -> Result<(), StoreError> {
        let mut tx = self.queue.write().await?;
        self.queue.let_go(&mut tx, &self.worker).await?;
        tx.commit().await?;
        Ok(())
    }
}
