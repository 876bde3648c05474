//! The queue of rungs to run.

use async_trait::async_trait;
use kindling_spec::{TaskId, TrialId};
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Work for one worker: one rung of one trial.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Job {
    /// The task.
    pub task: TaskId,
    /// The trial.
    pub trial: TrialId,
    /// The rung to run.
    pub rung: u32,
}

/// A job handed to a worker. Dropped without [`ack`](Self::ack), it is handed out again: to the same
/// worker's next [`Queue::next`], or to another once this one has been silent for a lease.
pub struct Delivery {
    /// The job.
    pub job: Job,
    receipt: Box<dyn Receipt>,
}

impl Delivery {
    /// For implementations of [`Queue`].
    pub fn new(job: Job, receipt: Box<dyn Receipt>) -> Self {
        Self { job, receipt }
    }

    /// The job needs no further worker: it was done, or [`crate::Metadata::claim_trial`] said that it is
    /// not to be done.
    ///
    /// # Errors
    /// The queue refused; the job will be handed out again, which `claim_trial` makes harmless.
    pub async fn ack(self) -> Result<(), StoreError> {
        self.receipt.ack().await
    }

    /// Hands the job back at once, for another worker.
    ///
    /// # Errors
    /// The queue refused; the job will be handed out again after a lease.
    pub async fn give_back(self) -> Result<(), StoreError> {
        self.receipt.give_back().await
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("job", &self.job).finish_non_exhaustive()
    }
}

/// A queue's own side of a [`Delivery`]. While it lives, the lease on the job is kept up.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// Removes the job for good.
    async fn ack(self: Box<Self>) -> Result<(), StoreError>;
    /// Makes the job available at once.
    async fn give_back(self: Box<Self>) -> Result<(), StoreError>;
}

/// Hands jobs from the scheduler to the workers.
///
/// # Contract
/// - A job pushed is handed out at least once, in about the order pushed, and again if its worker dies
///   before it acks. It may be handed out twice: the trial's record decides who runs it.
/// - Pushing a job that waits already changes nothing, so whoever fears that a job was lost may push it
///   again. A job being worked on does not count as waiting: a push puts a second one behind it.
/// - A worker has one delivery at a time. Calling `next` again gives up one that was not acked.
/// - Names of workers are not used again by another process while the first may live.
/// - `next` may be cancelled (dropped) at any await; nothing is lost.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds a job.
    async fn push(&self, job: &Job) -> Result<(), StoreError>;
    /// Waits for a job.
    async fn next(&self, worker: &str) -> Result<Delivery, StoreError>;
    /// Makes what a worker known to be dead had in hand available at once; returns how many jobs.
    async fn worker_gone(&self, worker: &str) -> Result<u64, StoreError>;
    /// Jobs that wait for a worker.
    async fn depth(&self) -> Result<u64, StoreError>;
    /// Whether the queue answers.
    async fn ping(&self) -> Result<(), StoreError>;
}
