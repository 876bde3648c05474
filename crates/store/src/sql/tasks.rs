//! Tasks.

use kindling_spec::{Budget, DatasetState, ModelId, ProjectId, TaskId, TaskState};
use serde_json::json;

use super::{DbRow, Result, Row, SqlMetadata, Tx, constraint, events, finite, projects, words};
use crate::{Noun, StoreError, TaskRecord, event_kind};

fn read(row: &DbRow) -> Result<TaskRecord> {
    let row = Row { row, table: "tasks" };
    Ok(TaskRecord {
        id: row.word("id")?,
        project: row.word("project")?,
        spec: row.json("spec")?,
        dataset: row.word("dataset")?,
        state: row.word("state")?,
        reason: row.get("reason")?,
        budget: budget(&row)?,
        spent_seconds: row.get("spent_seconds")?,
        created_at: row.get("created_at")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
        best_model: row.word_or_none("best_model")?,
    })
}

fn budget(row: &Row<'_>) -> Result<Budget> {
    let trials = match row.get::<Option<i64>>("budget_trials")? {
        Some(_) => Some(row.count("budget_trials")?),
        None => None,
    };
    Ok(Budget { seconds: row.get("budget_seconds")?, trials })
}

fn missing(id: &TaskId) -> StoreError {
    StoreError::NotFound { what: Noun::Task, id: id.to_string() }
}

pub(super) async fn create(db: &SqlMetadata, record: &TaskRecord) -> Result<()> {
    let mut tx = db.write().await?;
    insert(&mut tx, record).await?;
    tx.commit().await?;
    Ok(())
}

/// Adds a task to a transaction.
pub(super) async fn insert(tx: &mut Tx, record: &TaskRecord) -> Result<()> {
    let unknown = || StoreError::NotFound { what: Noun::Dataset, id: record.dataset.to_string() };
    let found = sqlx::query("SELECT * FROM datasets WHERE id = $1")
        .bind(record.dataset.as_str())
        .fetch_optional(&mut **tx)
        .await?
        .ok_or_else(unknown)?;
    let state = Row { row: &found, table: "datasets" }.word("state")?;
    if state != DatasetState::Ready {
        return Err(StoreError::DatasetNotReady { id: record.dataset.to_string(), state });
    }
    sqlx::query(
        "INSERT INTO tasks (id, project, spec, dataset, state, reason, budget_seconds, budget_trials, spent_seconds,
             created_at, started_at, ended_at, best_model)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(record.id.as_str())
    .bind(record.project.as_str())
    .bind(super::json(&record.spec)?)
    .bind(record.dataset.as_str())
    .bind(record.state.as_str())
    .bind(&record.reason)
    .bind(record.budget.seconds)
    .bind(record.budget.trials.map(i64::from))
    .bind(finite("the seconds spent", record.spent_seconds)?)
    .bind(record.created_at)
    .bind(record.started_at)
    .bind(record.ended_at)
    .bind(record.best_model.as_ref().map(ModelId::as_str))
    .execute(&mut **tx)
    .await
    .map_err(|error| {
        let doubled = || StoreError::Exists { what: Noun::Task, id: record.id.to_string() };
        constraint(error, doubled, unknown)
    })?;
    let data = json!({ "state": record.state, "reason": record.reason });
    events::insert(tx, &record.id, event_kind::TASK, &data, record.created_at).await?;
    Ok(())
}

pub(super) async fn get(db: &SqlMetadata, id: &TaskId) -> Result<TaskRecord> {
    read(&super::row(db, "tasks", Noun::Task, id.as_str()).await?)
}

pub(super) async fn page(
    db: &SqlMetadata,
    project: Option<&ProjectId>,
    after: Option<&TaskId>,
    limit: u32,
) -> Result<Vec<TaskRecord>> {
    super::page(db, "tasks", project, after.map(TaskId::as_str), limit).await?.iter().map(read).collect()
}

pub(super) async fn active(db: &SqlMetadata) -> Result<Vec<TaskRecord>> {
    sqlx::query("SELECT * FROM tasks WHERE state IN ('queued', 'running') ORDER BY id")
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read)
        .collect()
}

pub(super) async fn update_state(
    db: &SqlMetadata,
    id: &TaskId,
    from: &[TaskState],
    to: TaskState,
    reason: Option<&str>,
    now: i64,
) -> Result<bool> {
    let from: Vec<_> = from.iter().map(|state| state.as_str()).collect();
    let mut tx = db.write().await?;
    let done = sqlx::query(
        "UPDATE tasks SET state = $1, reason = $2,
             started_at = CASE WHEN $3 THEN coalesce(started_at, $5) ELSE started_at END,
             ended_at = CASE WHEN $4 THEN $5 ELSE NULL END
         WHERE id = $6 AND state IN (SELECT value FROM json_each($7))",
    )
    .bind(to.as_str())
    .bind(reason)
    .bind(to == TaskState::Running)
    .bind(to.is_over())
    .bind(now)
    .bind(id.as_str())
    .bind(words(&from)?)
    .execute(&mut *tx)
    .await?
    .rows_affected()
        == 1;
    if done {
        events::insert(&mut tx, id, event_kind::TASK, &json!({ "state": to, "reason": reason }), now).await?;
    }
    tx.commit().await?;
    Ok(done)
}

pub(super) async fn add_spent(db: &SqlMetadata, id: &TaskId, seconds: f64, now: i64) -> Result<f64> {
    let seconds = finite("the seconds spent", seconds)?;
    let mut tx = db.write().await?;
    let row = sqlx::query("UPDATE tasks SET spent_seconds = spent_seconds + $1 WHERE id = $2 RETURNING *")
        .bind(seconds)
        .bind(id.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let task = read(&row.ok_or_else(|| missing(id))?)?;
    sqlx::query(
        "INSERT INTO spent (project, day, seconds) VALUES ($1, $2, $3)
         ON CONFLICT (project, day) DO UPDATE SET seconds = spent.seconds + excluded.seconds",
    )
    .bind(task.project.as_str())
    .bind(projects::day(now))
    .bind(seconds)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(task.spent_seconds)
}

pub(super) async fn extend_budget(db: &SqlMetadata, id: &TaskId, add: &Budget, now: i64) -> Result<Budget> {
    let mut tx = db.write().await?;
    // NULL plus a number is NULL, so what was not limited stays so.
    let row = sqlx::query(
        "UPDATE tasks SET budget_seconds = budget_seconds + $1, budget_trials = budget_trials + $2
         WHERE id = $3 RETURNING *",
    )
    .bind(finite("the budget's seconds", add.seconds.unwrap_or(0.0))?)
    .bind(i64::from(add.trials.unwrap_or(0)))
    .bind(id.as_str())
    .fetch_optional(&mut *tx)
    .await?
    .ok_or_else(|| missing(id))?;
    let task = read(&row)?;
    let data = json!({ "state": task.state, "budget": task.budget });
    events::insert(&mut tx, id, event_kind::TASK, &data, now).await?;
    tx.commit().await?;
    Ok(task.budget)
}

pub(super) async fn set_best_model(
    db: &SqlMetadata,
    id: &TaskId,
    expected: Option<&ModelId>,
    best: &ModelId,
    now: i64,
) -> Result<bool> {
    let mut tx = db.write().await?;
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM models WHERE id = $1 AND task = $2)")
        .bind(best.as_str())
        .bind(id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    if !known {
        return Err(StoreError::NotFound { what: Noun::Model, id: best.to_string() });
    }
    let state: Option<String> = sqlx::query_scalar(
        "UPDATE tasks SET best_model = $1 WHERE id = $2 AND best_model IS NOT DISTINCT FROM $3 RETURNING state",
    )
    .bind(best.as_str())
    .bind(id.as_str())
    .bind(expected.map(ModelId::as_str))
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(state) = &state {
        let data = json!({ "state": state, "best_model": best });
        events::insert(&mut tx, id, event_kind::TASK, &data, now).await?;
    }
    tx.commit().await?;
    Ok(state.is_some())
}
