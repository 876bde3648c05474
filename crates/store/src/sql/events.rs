//! Events.

use kindling_spec::TaskId;
use serde_json::Value;

use super::{DbRow, Result, Row, SqlMetadata, Tx, constraint, json, webhooks};
use crate::{Event, Noun, StoreError, event_kind};

pub(super) fn read(row: &DbRow) -> Result<Event> {
    let row = Row { row, table: "events" };
    Ok(Event {
        id: row.get("id")?,
        task: row.word("task")?,
        kind: row.get("kind")?,
        data: row.json("data")?,
        at: row.get("at")?,
    })
}

/// Adds an event to the transaction of the change it tells of.
pub(super) async fn insert(tx: &mut Tx, task: &TaskId, kind: &str, data: &Value, now: i64) -> Result<i64> {
    let missing = || StoreError::NotFound { what: Noun::Task, id: task.to_string() };
    let id: i64 = sqlx::query_scalar("INSERT INTO events (task, kind, data, at) VALUES ($1, $2, $3, $4) RETURNING id")
        .bind(task.as_str())
        .bind(kind)
        .bind(json(data)?)
        .bind(now)
        .fetch_one(&mut **tx)
        .await
        .map_err(|error| constraint(error, missing, missing))?;
    if kind == event_kind::TASK || kind == event_kind::MODEL {
        webhooks::enqueue(tx, task, id, now).await?;
    }
    Ok(id)
}

pub(super) async fn append(db: &SqlMetadata, task: &TaskId, kind: &str, data: &Value, now: i64) -> Result<i64> {
    let mut tx = db.write().await?;
    let id = insert(&mut tx, task, kind, data, now).await?;
    tx.commit().await?;
    Ok(id)
}

pub(super) async fn after(db: &SqlMetadata, task: &TaskId, id: i64, limit: u32) -> Result<Vec<Event>> {
    sqlx::query("SELECT * FROM events WHERE task = $1 AND id > $2 ORDER BY id LIMIT $3")
        .bind(task.as_str())
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read)
        .collect()
}
