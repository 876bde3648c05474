//! What every store must do, as checks that any implementation's tests call.
//!
//! A check panics where the store does not keep its contract. All may run one after another on the same
//! store, empty or not: each makes its own records.

mod access;
mod analyses;
mod drafts;
mod files;
mod fleets;
mod leases;
mod models;
mod queue;
mod records;
mod removals;
mod trials;

use kindling_spec::{
    Budget, DatasetId, DatasetState, Genome, ProjectId, TaskId, TaskKind, TaskSpec, TaskState, TrialId, TrialState,
};
use serde_json::json;
use std::collections::BTreeMap;

use crate::{DatasetRecord, Files, LabelKind, Metadata, Queue, RungResult, Store, StoreError, TaskRecord, TrialRecord};

pub(crate) type Checked = Result<(), StoreError>;

/// Every check.
///
/// # Errors
/// The store refused something that it must do.
///
/// # Panics
/// The store broke its contract.
pub async fn all(store: &Store) -> Result<(), StoreError> {
    metadata(&*store.meta).await?;
    access::scoped(store.meta.clone()).await?;
    self::files(&store.files).await?;
    self::queue(&*store.queue).await
}

/// The checks of [`Metadata`].
///
/// # Errors
/// The store refused something that it must do.
///
/// # Panics
/// The store broke its contract.
pub async fn metadata(meta: &dyn Metadata) -> Result<(), StoreError> {
    meta.ping().await?;
    records::datasets(meta).await?;
    records::tasks(meta).await?;
    records::events(meta).await?;
    records::workers(meta).await?;
    records::idempotency(meta).await?;
    fleets::in_turn(meta).await?;
    trials::kept_and_listed(meta).await?;
    trials::promoted_and_closed(meta).await?;
    leases::claims_and_tokens(meta).await?;
    leases::results(meta).await?;
    leases::deaths(meta).await?;
    leases::tasks_that_are_over(meta).await?;
    models::once_for_each_rung(meta).await?;
    analyses::one_at_a_time(meta).await?;
    drafts::labelled_step_by_step(meta).await?;
    access::projects_and_keys(meta).await?;
    removals::tasks(meta).await?;
    removals::models(meta).await?;
    removals::what_goes_with_a_dataset(meta).await?;
    removals::fleets(meta).await?;
    removals::expired(meta).await?;
    removals::figures(meta).await?;
    access::uploads(meta).await?;
    access::webhooks(meta).await?;
    access::usage(meta).await?;
    access::duties(meta).await
}

/// The checks of [`Files`].
///
/// # Errors
/// The store refused something that it must do.
///
/// # Panics
/// The store broke its contract.
pub async fn files(files: &Files) -> Result<(), StoreError> {
    files::keys(files).await?;
    files::content(files).await?;
    files::directories(files).await
}

/// The checks of [`Queue`]. The queue must be empty and no one else may take from it.
///
/// # Errors
/// The store refused something that it must do.
///
/// # Panics
/// The store broke its contract.
pub async fn queue(queue: &dyn Queue) -> Result<(), StoreError> {
    queue.ping().await?;
    queue::handed_out_once(queue).await?;
    queue::handed_out_again(queue).await?;
    queue::pushed_again(queue).await
}

/// A data set as it is made.
pub fn dataset(now: i64) -> DatasetRecord {
    DatasetRecord {
        id: DatasetId::new(),
        project: ProjectId::local(),
        name: "fire or smoke".into(),
        kind: TaskKind::ImageClassification,
        labels: LabelKind::Classes,
        state: DatasetState::Empty,
        problem: None,
        hash: None,
        summary: None,
        created_at: now,
        updated_at: now,
    }
}

/// A task as it is posted.
///
/// # Errors
/// Never: the specification within is a valid one.
pub fn task(dataset: &DatasetId, now: i64) -> Result<TaskRecord, StoreError> {
    let spec: TaskSpec = serde_json::from_value(json!({
        "version": 1,
        "name": "fire or smoke",
        "kind": "image-classification",
        "dataset": dataset,
        "budget": { "seconds": 60.0, "trials": 20 },
    }))?;
    Ok(TaskRecord {
        id: TaskId::new(),
        project: ProjectId::local(),
        budget: spec.budget.clone(),
        spec,
        dataset: dataset.clone(),
        state: TaskState::Queued,
        reason: None,
        spent_seconds: 0.0,
        created_at: now,
        started_at: None,
        ended_at: None,
        best_model: None,
    })
}

/// A trial that waits for its first rung.
pub fn trial(task: &TaskId, number: u32, now: i64) -> TrialRecord {
    TrialRecord {
        id: TrialId::new(),
        task: task.clone(),
        number,
        genome: Genome { family: "plain".into(), params: BTreeMap::new() },
        cost: json!({ "parameters": 1000 }),
        state: TrialState::Waiting,
        rung: 0,
        target_epochs: 1,
        epochs: 0,
        deaths: 0,
        token: 0,
        worker: None,
        heartbeat_at: None,
        reason: None,
        results: Vec::new(),
        checkpoint: None,
        created_at: now,
        updated_at: now,
    }
}

/// What a rung gave.
pub fn result(rung: u32, now: i64) -> RungResult {
    RungResult {
        rung,
        epochs: 3_u32.pow(rung),
        value: 0.5 + 0.1 * f64::from(rung),
        metrics: json!({ "accuracy": 0.5 }),
        train_loss: 0.7,
        seconds: 1.25,
        images_per_second: 1000.0,
        finished_at: now,
    }
}

/// A ready data set and a running task in the store.
///
/// # Errors
/// The store refused.
pub async fn running_task(meta: &dyn Metadata, now: i64) -> Result<TaskRecord, StoreError> {
    let dataset = DatasetRecord { state: DatasetState::Ready, ..dataset(now) };
    meta.create_dataset(&dataset).await?;
    let task = TaskRecord { state: TaskState::Running, started_at: Some(now), ..task(&dataset.id, now)? };
    meta.create_task(&task).await?;
    Ok(task)
}

/// The budget that [`task`] is posted with.
pub(crate) fn posted_budget() -> Budget {
    Budget { seconds: Some(60.0), trials: Some(20) }
}
