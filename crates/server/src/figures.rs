//! What is told of the whole service: read from the records that all its processes share, so that any server can tell it,
//! and kept some seconds, so that who asks often costs little.

use kindling_engine::{Service, now_ms};
use kindling_spec::{TaskState, TrialState};
use kindling_store::{DutyRecord, RungFigures, StoredBytes, WorkerRecord};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

use crate::Problem;

/// Figures of one moment.
#[derive(Debug)]
pub(crate) struct Figures {
    /// When that was, in Unix milliseconds.
    pub(crate) at: i64,
    /// Rungs that wait for a worker.
    pub(crate) depth: u64,
    /// How long the trial has waited that has waited longest.
    pub(crate) oldest: Duration,
    pub(crate) queued_tasks: usize,
    pub(crate) running_tasks: usize,
    pub(crate) trials: BTreeMap<TrialState, u64>,
    pub(crate) workers: Vec<WorkerRecord>,
    pub(crate) rungs: BTreeMap<u32, RungFigures>,
    pub(crate) stored: Vec<StoredBytes>,
    pub(crate) duties: Vec<DutyRecord>,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerState {
    Busy,
    Idle,
    /// Nothing was heard of it lately.
    Silent,
}

impl WorkerState {
    pub(crate) const ALL: [Self; 3] = [Self::Busy, Self::Idle, Self::Silent];

    pub(crate) fn of(worker: &WorkerRecord, now: i64) -> Self {
        if worker.is_silent(now) {
            Self::Silent
        } else if worker.trial.is_some() {
            Self::Busy
        } else {
            Self::Idle
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Silent => "silent",
        }
    }
}

impl Figures {
    async fn read(service: &Service) -> Result<Self, Problem> {
        let (meta, at) = (&service.store().meta, now_ms());
        let tasks = meta.active_tasks().await?;
        let count = |state| tasks.iter().filter(|task| task.state == state).count();
        let since = meta.oldest_waiting().await?;
        let oldest = since.map_or(0, |since| u64::try_from(at.saturating_sub(since)).unwrap_or(0));
        Ok(Self {
            at,
            depth: service.store().queue.depth().await?,
            oldest: Duration::from_millis(oldest),
            queued_tasks: count(TaskState::Queued),
            running_tasks: count(TaskState::Running),
            trials: meta.trial_counts(None).await?,
            workers: meta.workers().await?,
            rungs: meta.rung_figures().await?,
            stored: meta.stored_bytes().await?,
            duties: meta.duties().await?,
        })
    }

    pub(crate) fn workers_in(&self, state: WorkerState) -> usize {
        self.workers.iter().filter(|worker| WorkerState::of(worker, self.at) == state).count()
    }
}

/// Something that is looked up at most once in a while. Of many who ask at once one looks, the others wait for it.
pub(crate) struct Kept<T> {
    memory: Duration,
    found: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T> Kept<T> {
    pub(crate) fn new(memory: Duration) -> Self {
        Self { memory, found: Mutex::new(None) }
    }

    pub(crate) async fn get<E>(&self, look: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let mut found = self.found.lock().await;
        if let Some((at, value)) = &*found
            && at.elapsed() < self.memory
        {
            return Ok(value.clone());
        }
        let value = Arc::new(look.await?);
        *found = Some((Instant::now(), value.clone()));
        Ok(value)
    }
}

/// The figures of a service, and how long they are kept.
pub(crate) async fn of(service: &Service, kept: &Kept<Figures>) -> Result<Arc<Figures>, Problem> {
    kept.get(Figures::read(service)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_looked_up_is_kept_for_a_while() {
        let forgetful = Kept::new(Duration::ZERO);
        let kept = Kept::new(Duration::from_secs(3600));
        for n in 0..3 {
            assert_eq!(*forgetful.get(async { Ok::<_, ()>(n) }).await.unwrap(), n);
            assert_eq!(*kept.get(async { Ok::<_, ()>(n) }).await.unwrap(), 0);
        }
        let failing = Kept::new(Duration::from_secs(3600));
        assert_eq!(failing.get(async { Err::<u8, _>("away") }).await.unwrap_err(), "away");
        assert_eq!(*failing.get(async { Ok::<_, ()>(7) }).await.unwrap(), 7, "a failure is not kept");
    }
}
