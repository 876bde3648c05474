//! Tasks: posted, watched, cancelled, resumed.

use kindling_data::Dataset;
use kindling_spec::{Budget, DatasetId, ErrorCode, ProjectId, SpecError, TaskId, TaskSpec, TaskState, TrialState};
use kindling_store::TaskRecord;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{EngineError, LeaderboardEntry, Plan, Service, clock::now_ms};

/// How a study stands.
#[derive(Debug, Clone, Serialize)]
pub struct Progress {
    /// The task's state.
    pub state: TaskState,
    /// Why it ended as it did.
    pub reason: Option<String>,
    /// How many trials are in each state; states of none are 0.
    pub trials: BTreeMap<TrialState, u64>,
    /// Trials started.
    pub trials_started: u64,
    /// Seconds of the budget spent.
    pub seconds_spent: f64,
    /// Seconds granted in all.
    pub seconds_total: Option<f64>,
    /// Seconds left.
    pub seconds_left: Option<f64>,
    /// Trials that may still be started.
    pub trials_left: Option<u64>,
    /// The best model so far.
    pub best: Option<LeaderboardEntry>,
}

/// The data set that a specification names.
pub(crate) fn dataset_id(text: &str) -> Result<DatasetId, SpecError> {
    text.parse().map_err(|e| SpecError::one("/dataset", format!("{e}; POST /v1/datasets makes one, GET lists them")))
}

/// Seconds that a task may spend once it is granted more; `None` where there is no limit.
fn seconds_to_go(task: &TaskRecord, more: &Budget) -> Option<f64> {
    Some((task.budget.seconds? - task.spent_seconds).max(0.0) + more.seconds.unwrap_or(0.0))
}

impl Service {
    /// Posts a task; its study starts when a worker is free.
    ///
    /// # Errors
    /// The specification breaks rules (all are listed), its data set is unknown or not ready, no network
    /// meets its limits, or the project's quota is used up.
    pub async fn create_task(&self, spec: &Value) -> Result<TaskRecord, EngineError> {
        let spec = TaskSpec::from_json(spec)?;
        let dataset = dataset_id(&spec.dataset)?;
        let open = self.open_dataset(&dataset).await?;
        spec.check_classes(&open.manifest().classes)?;
        let (record, plan) = self.plan_task(spec, dataset, open).await?;
        let project = self.dataset(&record.dataset).await?.project;
        let _one_at_a_time = self.admission().lock().await;
        self.check_studies(&project, std::slice::from_ref(&record.budget)).await?;
        self.store().meta.create_task(&record).await?;
        self.plan_cache().put(&record.id, plan);
        Ok(record)
    }

    /// A task as it is posted, its study planned, not yet recorded.
    pub(crate) async fn plan_task(
        &self,
        mut spec: TaskSpec,
        dataset: DatasetId,
        open: Arc<Dataset>,
    ) -> Result<(TaskRecord, Arc<Plan>), EngineError> {
        self.check_backbone(spec.backbone).await?;
        spec.warm_start = self.resolve_warm_start(&spec, &open).await?;
        let plan = Arc::new(self.make_plan(&spec, open).await?);
        let record = TaskRecord {
            id: TaskId::new(),
            project: ProjectId::local(),
            budget: spec.budget.clone(),
            spec,
            dataset,
            state: TaskState::Queued,
            reason: None,
            spent_seconds: 0.0,
            created_at: now_ms(),
            started_at: None,
            ended_at: None,
            best_model: None,
        };
        Ok((record, plan))
    }

    /// One task.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn task(&self, id: &TaskId) -> Result<TaskRecord, EngineError> {
        Ok(self.store().meta.task(id).await?)
    }

    /// Stops a study; workers notice within a batch, and what was found is kept.
    ///
    /// # Errors
    /// There is none of this id, or it is over.
    pub async fn cancel_task(&self, id: &TaskId) -> Result<TaskRecord, EngineError> {
        let from = [TaskState::Queued, TaskState::Running];
        let reason = Some("stopped by a person");
        if !self.store().meta.update_task_state(id, &from, TaskState::Cancelled, reason, now_ms()).await? {
            let state = self.task(id).await?.state;
            let detail = format!("task {id} is {state}: only one that is queued or running can be cancelled");
            return Err(EngineError::refused(ErrorCode::TaskState, detail));
        }
        // What was found is worth as much as at the end.
        self.finish_models(self.unfinished(id).await?);
        self.task(id).await
    }

    /// Grants a study that is over more budget; it goes on where it was, its best trials first.
    ///
    /// # Errors
    /// There is none of this id, it is not over, neither seconds nor trials are granted, or the project's quota is
    /// used up.
    pub async fn resume_task(&self, id: &TaskId, more: Budget) -> Result<TaskRecord, EngineError> {
        let seconds_good = more.seconds.is_none_or(|s| s.is_finite() && (0.0..=2_592_000.0).contains(&s));
        let task = self.task(id).await?;
        if !seconds_good {
            let detail = "`seconds` must be above 0 and at most 2592000 (30 days)";
            return Err(EngineError::refused(ErrorCode::InvalidRequest, detail));
        }
        if !task.state.is_over() {
            let detail = format!("task {id} is {}: it can be resumed when it is over", task.state);
            return Err(EngineError::refused(ErrorCode::TaskState, detail));
        }
        let spent = task.budget.seconds.is_some_and(|total| total - task.spent_seconds < 1.0);
        if spent && more.seconds.is_none_or(|s| s < 1.0) {
            let detail = format!("task {id} has no seconds left to go on with; grant at least one (`seconds`)");
            return Err(EngineError::refused(ErrorCode::TaskState, detail));
        }
        let meta = &self.store().meta;
        let left = Budget { seconds: seconds_to_go(&task, &more), trials: None };
        let _one_at_a_time = self.admission().lock().await;
        self.check_studies(&task.project, &[left]).await?;
        meta.extend_budget(id, &more, now_ms()).await?;
        let from = [TaskState::Complete, TaskState::Cancelled, TaskState::Failed];
        meta.close_trials(id, &[TrialState::Complete], TrialState::Paused, None, now_ms()).await?;
        // A task that has trials runs at once; it is the first trial that starts the clock.
        let to = if meta.all_trials(id).await?.is_empty() { TaskState::Queued } else { TaskState::Running };
        meta.update_task_state(id, &from, to, None, now_ms()).await?;
        self.task(id).await
    }

    /// How a study stands.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn progress(&self, id: &TaskId) -> Result<Progress, EngineError> {
        self.progress_of(&self.task(id).await?).await
    }

    /// The same of a task at hand.
    ///
    /// # Errors
    /// The store failed.
    pub async fn progress_of(&self, task: &TaskRecord) -> Result<Progress, EngineError> {
        let counts = self.store().meta.trial_counts(Some(&task.id)).await?;
        let trials: BTreeMap<_, _> =
            TrialState::ALL.iter().map(|s| (*s, counts.get(s).copied().unwrap_or(0))).collect();
        let started: u64 = trials.values().sum();
        let best = self.board(&task.id).await?.entries.first().cloned();
        Ok(Progress {
            state: task.state,
            reason: task.reason.clone(),
            trials_started: started,
            seconds_spent: task.spent_seconds,
            seconds_total: task.budget.seconds,
            seconds_left: task.budget.seconds.map(|t| (t - task.spent_seconds).max(0.0)),
            trials_left: task.budget.trials.map(|t| u64::from(t).saturating_sub(started)),
            trials,
            best,
        })
    }
}
