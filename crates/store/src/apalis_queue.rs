//! [`Queue`] on apalis' storages.
//!
//! apalis' tables, migrations and queries are used, its worker runtime is not: a worker here has one job
//! for minutes and trains on its own threads, acknowledges when the trial's record says so, and must
//! outlive a busy database, while the runtime's backend is dead after its first error.

use apalis_core::{task::Task, worker::context::WorkerContext};
use async_trait::async_trait;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{Delivery, Job, Queue, Receipt, StoreError};

/// The queue's name among apalis' jobs.
pub(crate) const NAME: &str = "rungs";
/// How often a worker says that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
/// Heartbeats missed until a worker's jobs are another's. Taking one too early does no harm (the trial's
/// record decides), so this need not wait as long as a trial may take.
pub(crate) const MISSED: usize = 3;
/// How long rows of workers that are gone are kept.
pub(crate) const WORKERS_KEPT_SECONDS: i64 = 3600;
/// How often an idle worker looks.
const POLL: Duration = Duration::from_millis(50);

pub(crate) fn refused(error: impl std::fmt::Display) -> StoreError {
    StoreError::Queue(error.to_string())
}

/// What differs between apalis' storages.
#[async_trait]
pub(crate) trait Storage: Clone + Send + Sync + 'static {
    /// Adds a job, unless one of its key waits.
    async fn push(&self, key: &str, job: Vec<u8>) -> Result<(), StoreError>;
    /// Enters the worker in apalis' table, where jobs in hand refer to it; what it had in hand is available again.
    async fn register(&self, worker: &WorkerContext) -> Result<(), StoreError>;
    /// Says that the worker lives, and makes available what workers silent for a lease had in hand.
    async fn beat(&self, worker: &WorkerContext) -> Result<(), StoreError>;
    /// Takes a job.
    async fn fetch(&self, worker: &WorkerContext) -> Result<Option<Task<Vec<u8>>>, StoreError>;
    /// Removes a job that the worker has in hand.
    async fn done(&self, worker: &str, task: &Task<Vec<u8>>) -> Result<(), StoreError>;
    /// Removes a job that no worker could read, so that it does not come back for ever.
    async fn discard(&self, task: &Task<Vec<u8>>) -> Result<(), StoreError>;
    /// Makes what a worker had in hand available again, whenever it was last seen; returns how many jobs.
    async fn let_go(&self, worker: &str) -> Result<u64, StoreError>;
    /// The same, and strikes the worker from the table.
    async fn bury(&self, worker: &str) -> Result<u64, StoreError>;
    /// Jobs that wait for a worker.
    async fn depth(&self) -> Result<u64, StoreError>;
    /// Whether it can be written to.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Jobs in one of apalis' storages.
pub(crate) struct ApalisQueue<S>(pub(crate) S);

#[async_trait]
impl<S: Storage> Queue for ApalisQueue<S> {
    async fn push(&self, job: &Job) -> Result<(), StoreError> {
        self.0.push(&format!("{}/{}", job.trial, job.rung), serde_json::to_vec(job)?).await
    }

    async fn next(&self, worker: &str) -> Result<Delivery, StoreError> {
        let context = WorkerContext::new(worker);
        self.0.register(&context).await?;
        let mut beaten = Instant::now();
        loop {
            if beaten.elapsed() >= HEARTBEAT {
                if let Err(error) = self.0.beat(&context).await {
                    // This worker may have been thought dead and struck from the table.
                    tracing::warn!(%error, worker, "the queue did not take a heartbeat; entering the worker again");
                    self.0.register(&context).await?;
                }
                beaten = Instant::now();
            }
            let Some(task) = self.0.fetch(&context).await? else {
                sleep(POLL).await;
                continue;
            };
            match serde_json::from_slice(&task.args) {
                Ok(job) => return Ok(Delivery::new(job, Box::new(InHand::new(self.0.clone(), context, task)))),
                Err(error) => {
                    tracing::error!(%error, "a job that cannot be read was discarded");
                    self.0.discard(&task).await?;
                }
            }
        }
    }

    async fn worker_gone(&self, worker: &str) -> Result<u64, StoreError> {
        self.0.bury(worker).await
    }

    async fn depth(&self) -> Result<u64, StoreError> {
        self.0.depth().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }
}

/// A job in a worker's hands.
struct InHand<S> {
    storage: S,
    worker: String,
    task: Task<Vec<u8>>,
    beating: tokio::task::JoinHandle<()>,
}

impl<S: Storage> InHand<S> {
    fn new(storage: S, worker: WorkerContext, task: Task<Vec<u8>>) -> Self {
        let name = worker.name().to_owned();
        let beats = storage.clone();
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
        Self { storage, worker: name, task, beating }
    }
}

impl<S> Drop for InHand<S> {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

#[async_trait]
impl<S: Storage> Receipt for InHand<S> {
    async fn ack(self: Box<Self>) -> Result<(), StoreError> {
        self.storage.done(&self.worker, &self.task).await
    }

    async fn give_back(self: Box<Self>) -> Result<(), StoreError> {
        self.storage.let_go(&self.worker).await?;
        Ok(())
    }
}
