//! Trials: what the scheduler reads and decides. What workers do is in [`super::leases`].

use kindling_spec::{TaskId, TaskState, TrialId, TrialState};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

use super::{Db, DbRow, Result, Row, SqlMetadata, Tx, constraint, events, words};
use crate::{Job, Noun, RungResult, StoreError, TrialRecord, event_kind};

/// A trial without its results.
pub(super) fn read(row: &DbRow) -> Result<TrialRecord> {
    let row = Row { row, table: "trials" };
    Ok(TrialRecord {
        id: row.word("id")?,
        task: row.word("task")?,
        number: row.count("number")?,
        genome: row.json("genome")?,
        cost: row.json("cost")?,
        state: row.word("state")?,
        rung: row.count("rung")?,
        target_epochs: row.count("target_epochs")?,
        epochs: row.count("epochs")?,
        deaths: row.count("deaths")?,
        token: row.get("token")?,
        worker: row.get("worker")?,
        heartbeat_at: row.get("heartbeat_at")?,
        reason: row.get("reason")?,
        results: Vec::new(),
        checkpoint: row.get("checkpoint")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn read_rung(row: &DbRow) -> Result<(TrialId, RungResult)> {
    let row = Row { row, table: "rungs" };
    let result = RungResult {
        rung: row.count("rung")?,
        epochs: row.count("epochs")?,
        value: row.get("value")?,
        metrics: row.json("metrics")?,
        train_loss: row.get("train_loss")?,
        seconds: row.get("seconds")?,
        images_per_second: row.get("images_per_second")?,
        finished_at: row.get("finished_at")?,
    };
    Ok((row.word("trial")?, result))
}

/// Adds their results to trials read.
pub(super) async fn with_results<'e>(
    db: impl sqlx::Executor<'e, Database = Db>,
    mut trials: Vec<TrialRecord>,
) -> Result<Vec<TrialRecord>> {
    let ids: Vec<_> = trials.iter().map(|trial| trial.id.as_str()).collect();
    let rows = sqlx::query("SELECT * FROM rungs WHERE trial IN (SELECT value FROM json_each($1)) ORDER BY trial, rung")
        .bind(super::json(&ids)?)
        .fetch_all(db)
        .await?;
    let mut results: HashMap<TrialId, Vec<RungResult>> = HashMap::new();
    for row in &rows {
        let (trial, result) = read_rung(row)?;
        results.entry(trial).or_default().push(result);
    }
    for trial in &mut trials {
        trial.results = results.remove(&trial.id).unwrap_or_default();
    }
    Ok(trials)
}

/// Writes a trial's state as an event.
pub(super) async fn tell(tx: &mut Tx, trial: &TrialRecord, now: i64) -> Result<()> {
    let data = json!({
        "trial": trial.id,
        "number": trial.number,
        "state": trial.state,
        "rung": trial.rung,
        "worker": trial.worker,
        "reason": trial.reason,
    });
    events::insert(tx, &trial.task, event_kind::TRIAL, &data, now).await?;
    Ok(())
}

pub(super) async fn create(db: &SqlMetadata, record: &TrialRecord) -> Result<()> {
    let mut tx = db.write().await?;
    sqlx::query(
        "INSERT INTO trials (id, task, number, genome, cost, state, rung, target_epochs, epochs, deaths, token, worker,
             heartbeat_at, reason, checkpoint, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(record.id.as_str())
    .bind(record.task.as_str())
    .bind(i64::from(record.number))
    .bind(super::json(&record.genome)?)
    .bind(super::json(&record.cost)?)
    .bind(record.state.as_str())
    .bind(i64::from(record.rung))
    .bind(i64::from(record.target_epochs))
    .bind(i64::from(record.epochs))
    .bind(i64::from(record.deaths))
    .bind(record.token)
    .bind(&record.worker)
    .bind(record.heartbeat_at)
    .bind(&record.reason)
    .bind(&record.checkpoint)
    .bind(record.created_at)
    .bind(record.updated_at)
    .execute(&mut *tx)
    .await
    .map_err(|error| {
        let doubled =
            || StoreError::Exists { what: Noun::Trial, id: format!("{}, number {}", record.id, record.number) };
        constraint(error, doubled, || StoreError::NotFound { what: Noun::Task, id: record.task.to_string() })
    })?;
    tell(&mut tx, record, record.created_at).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn get(db: &SqlMetadata, id: &TrialId) -> Result<TrialRecord> {
    // One transaction, so that state and results are of the same moment.
    let mut tx = db.snapshot().await?;
    let row = sqlx::query("SELECT * FROM trials WHERE id = $1").bind(id.as_str()).fetch_optional(&mut *tx).await?;
    let missing = || StoreError::NotFound { what: Noun::Trial, id: id.to_string() };
    let found = with_results(&mut *tx, vec![read(&row.ok_or_else(missing)?)?]).await?;
    found.into_iter().next().ok_or_else(missing)
}

/// A page by number.
pub(super) async fn page(db: &SqlMetadata, task: &TaskId, after: Option<u32>, limit: i64) -> Result<Vec<TrialRecord>> {
    let mut tx = db.snapshot().await?;
    let rows = sqlx::query("SELECT * FROM trials WHERE task = $1 AND number > $2 ORDER BY number LIMIT $3")
        .bind(task.as_str())
        .bind(after.map_or(-1, i64::from))
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
    let trials = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    with_results(&mut *tx, trials).await
}

pub(super) async fn counts(db: &SqlMetadata, task: Option<&TaskId>) -> Result<BTreeMap<TrialState, u64>> {
    // One query for both would look at the trials of every task.
    let query = match task {
        Some(task) => sqlx::query("SELECT state, count(*) AS trials FROM trials WHERE task = $1 GROUP BY state")
            .bind(task.as_str()),
        None => sqlx::query("SELECT state, count(*) AS trials FROM trials GROUP BY state"),
    };
    let rows = query.fetch_all(&db.reader).await?;
    rows.iter()
        .map(|row| {
            let row = Row { row, table: "trials" };
            Ok((row.word("state")?, row.count("trials")?))
        })
        .collect()
}

pub(super) async fn promote(
    db: &SqlMetadata,
    id: &TrialId,
    from_rung: u32,
    to_rung: u32,
    target_epochs: u32,
    now: i64,
) -> Result<bool> {
    let mut tx = db.write().await?;
    let row = sqlx::query(
        "UPDATE trials SET state = 'waiting', rung = $1, target_epochs = $2, updated_at = $3
         WHERE id = $4 AND state = 'paused' AND rung = $5 RETURNING *",
    )
    .bind(i64::from(to_rung))
    .bind(i64::from(target_epochs))
    .bind(now)
    .bind(id.as_str())
    .bind(i64::from(from_rung))
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(row) = &row {
        tell(&mut tx, &read(row)?, now).await?;
    }
    tx.commit().await?;
    Ok(row.is_some())
}

pub(super) async fn end(
    db: &SqlMetadata,
    id: &TrialId,
    token: Option<i64>,
    to: TrialState,
    reason: &str,
    now: i64,
) -> Result<bool> {
    let mut tx = db.write().await?;
    let row = sqlx::query(
        "UPDATE trials SET state = $1, reason = $2, heartbeat_at = NULL, updated_at = $3
         WHERE id = $4 AND CASE WHEN $5 IS NULL THEN state IN ('waiting', 'running', 'paused')
                                ELSE state = 'running' AND token = $5 END
         RETURNING *",
    )
    .bind(to.as_str())
    .bind(reason)
    .bind(now)
    .bind(id.as_str())
    .bind(token)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(row) = &row {
        tell(&mut tx, &read(row)?, now).await?;
    }
    tx.commit().await?;
    Ok(row.is_some())
}

pub(super) async fn close(
    db: &SqlMetadata,
    task: &TaskId,
    from: &[TrialState],
    to: TrialState,
    reason: Option<&str>,
    now: i64,
) -> Result<u64> {
    let from: Vec<_> = from.iter().map(|state| state.as_str()).collect();
    let mut tx = db.write().await?;
    let rows = sqlx::query(
        "UPDATE trials SET state = $1, reason = $2, heartbeat_at = NULL, updated_at = $3
         WHERE task = $4 AND state IN (SELECT value FROM json_each($5)) RETURNING *",
    )
    .bind(to.as_str())
    .bind(reason)
    .bind(now)
    .bind(task.as_str())
    .bind(words(&from)?)
    .fetch_all(&mut *tx)
    .await?;
    let mut closed = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    // RETURNING promises no order; readers of the events like one.
    closed.sort_by_key(|trial| trial.number);
    for trial in &closed {
        tell(&mut tx, trial, now).await?;
    }
    tx.commit().await?;
    Ok(closed.len() as u64)
}

/// What is noted for later than this was noted before the clock was set back.
const FUTURE_MS: i64 = 60_000;

pub(super) async fn waiting(db: &SqlMetadata, older_than: i64) -> Result<Vec<Job>> {
    let rows = sqlx::query(
        "SELECT trials.id AS id, task, rung FROM trials JOIN tasks ON tasks.id = trials.task
         WHERE trials.state = 'waiting' AND (updated_at <= $1 OR updated_at > $2) AND tasks.state IN ('queued', 'running')
         ORDER BY updated_at, trials.id",
    )
    .bind(older_than)
    .bind(older_than.saturating_add(FUTURE_MS))
    .fetch_all(&db.reader)
    .await?;
    rows.iter()
        .map(|row| {
            let row = Row { row, table: "trials" };
            Ok(Job { task: row.word("task")?, trial: row.word("id")?, rung: row.count("rung")? })
        })
        .collect()
}

/// Whether the trial's task will have no more work done.
pub(super) async fn task_is_over(tx: &mut Tx, task: &TaskId) -> Result<bool> {
    let row = sqlx::query("SELECT id, state FROM tasks WHERE id = $1").bind(task.as_str()).fetch_one(&mut **tx).await?;
    let state: TaskState = Row { row: &row, table: "tasks" }.word("state")?;
    Ok(state.is_over())
}
