//! Trials in workers' hands: claims, heartbeats, results, and what happens when a worker dies.

use kindling_spec::{TrialId, TrialState};
use serde_json::json;

use super::{Result, SqlMetadata, events, figures, finite, trials};
use crate::{Beat, Reaped, RungResult, TrialRecord, event_kind};

pub(super) async fn claim(
    db: &SqlMetadata,
    id: &TrialId,
    rung: u32,
    worker: &str,
    now: i64,
) -> Result<Option<TrialRecord>> {
    let mut tx = db.write().await?;
    let row = sqlx::query(
        "UPDATE trials SET state = 'running', token = token + 1, worker = $1, heartbeat_at = $2, updated_at = $2
         WHERE id = $3 AND rung = $4 AND state = 'waiting'
             AND (SELECT state FROM tasks WHERE tasks.id = trials.task) IN ('queued', 'running')
         RETURNING *",
    )
    .bind(worker)
    .bind(now)
    .bind(id.as_str())
    .bind(i64::from(rung))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else {
        tx.rollback().await?;
        return Ok(None);
    };
    let trial = trials::read(&row)?;
    trials::tell(&mut tx, &trial, now).await?;
    let trial = trials::with_results(&mut *tx, vec![trial]).await?.pop();
    tx.commit().await?;
    Ok(trial)
}

pub(super) async fn heartbeat(db: &SqlMetadata, id: &TrialId, token: i64, now: i64) -> Result<Beat> {
    let mut tx = db.write().await?;
    let row = sqlx::query(
        "UPDATE trials SET heartbeat_at = $1 WHERE id = $2 AND state = 'running' AND token = $3 RETURNING *",
    )
    .bind(now)
    .bind(id.as_str())
    .bind(token)
    .fetch_optional(&mut *tx)
    .await?;
    let beat = match row {
        None => Beat::Lost,
        Some(row) if trials::task_is_over(&mut tx, &trials::read(&row)?.task).await? => Beat::Cancelled,
        Some(_) => Beat::Go,
    };
    tx.commit().await?;
    Ok(beat)
}

pub(super) async fn finish_rung(
    db: &SqlMetadata,
    id: &TrialId,
    token: i64,
    result: &RungResult,
    checkpoint: &str,
    now: i64,
) -> Result<bool> {
    let mut tx = db.write().await?;
    let row = sqlx::query(
        "UPDATE trials SET state = 'paused', epochs = $1, checkpoint = $2, heartbeat_at = NULL, updated_at = $3
         WHERE id = $4 AND state = 'running' AND token = $5 AND rung = $6 RETURNING *",
    )
    .bind(i64::from(result.epochs))
    .bind(checkpoint)
    .bind(now)
    .bind(id.as_str())
    .bind(token)
    .bind(i64::from(result.rung))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else {
        tx.rollback().await?;
        return Ok(false);
    };
    let trial = trials::read(&row)?;
    let added = sqlx::query(
        "INSERT INTO rungs (trial, rung, epochs, value, metrics, train_loss, seconds, images_per_second, finished_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (trial, rung) DO NOTHING",
    )
    .bind(id.as_str())
    .bind(i64::from(result.rung))
    .bind(i64::from(result.epochs))
    .bind(finite("a rung's value", result.value)?)
    .bind(super::json(&result.metrics)?)
    .bind(finite("a rung's training loss", result.train_loss)?)
    .bind(finite("a rung's seconds", result.seconds)?)
    .bind(finite("a rung's speed", result.images_per_second)?)
    .bind(result.finished_at)
    .execute(&mut *tx)
    .await?;
    if added.rows_affected() == 1 {
        figures::count(&mut tx, result).await?;
    }
    let data = json!({
        "trial": trial.id,
        "number": trial.number,
        "rung": result.rung,
        "epochs": result.epochs,
        "value": result.value,
        "seconds": result.seconds,
    });
    events::insert(&mut tx, &trial.task, event_kind::RUNG, &data, now).await?;
    trials::tell(&mut tx, &trial, now).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn release(db: &SqlMetadata, id: &TrialId, token: i64, now: i64) -> Result<bool> {
    let mut tx = db.write().await?;
    let row = sqlx::query(
        "UPDATE trials SET state = 'waiting', worker = NULL, heartbeat_at = NULL, updated_at = $1
         WHERE id = $2 AND state = 'running' AND token = $3 RETURNING *",
    )
    .bind(now)
    .bind(id.as_str())
    .bind(token)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(row) = &row {
        trials::tell(&mut tx, &trials::read(row)?, now).await?;
    }
    tx.commit().await?;
    Ok(row.is_some())
}

/// Which running trials to take back.
#[derive(Clone, Copy)]
pub(super) enum Dead<'a> {
    /// Those not heard of for so many milliseconds. One heard of later than in as many from now was heard of before the
    /// clock was set back.
    Silent(i64),
    /// Those of this worker.
    Worker(&'a str),
}

pub(super) async fn reap(db: &SqlMetadata, dead: Dead<'_>, now: i64, max_deaths: u32) -> Result<Vec<Reaped>> {
    let (heard, worker) = match dead {
        Dead::Silent(lease) => (Some((now.saturating_sub(lease), now.saturating_add(lease))), None),
        Dead::Worker(name) => (None, Some(name)),
    };
    let (silent, future) = heard.unzip();
    const FIND: &str = "SELECT * FROM trials WHERE state = 'running'
        AND CASE WHEN $1 IS NULL THEN worker = $2 ELSE heartbeat_at < $1 OR heartbeat_at > $3 END ORDER BY id";
    // Mostly there is none, and the scheduler asks often: look without the write lock first.
    if sqlx::query(FIND).bind(silent).bind(worker).bind(future).fetch_optional(&db.reader).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut tx = db.write().await?;
    let rows = sqlx::query(FIND).bind(silent).bind(worker).bind(future).fetch_all(&mut *tx).await?;
    let mut reaped = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut trial = trials::read(row)?;
        trial.deaths = trial.deaths.saturating_add(1);
        let failed = trial.deaths >= max_deaths;
        if failed {
            trial.state = TrialState::Failed;
            trial.reason = Some(format!(
                "its worker died {} times, last on worker {} in rung {}",
                trial.deaths,
                trial.worker.as_deref().unwrap_or("(unknown)"),
                trial.rung
            ));
        } else {
            trial.state = TrialState::Waiting;
        }
        sqlx::query(
            "UPDATE trials SET state = $1, deaths = $2, reason = $3, heartbeat_at = NULL, updated_at = $4 WHERE id = $5",
        )
        .bind(trial.state.as_str())
        .bind(i64::from(trial.deaths))
        .bind(&trial.reason)
        .bind(now)
        .bind(trial.id.as_str())
        .execute(&mut *tx)
        .await?;
        trials::tell(&mut tx, &trial, now).await?;
        reaped.push(Reaped { trial: trial.id, task: trial.task, rung: trial.rung, deaths: trial.deaths, failed });
    }
    tx.commit().await?;
    Ok(reaped)
}
