//! Events.

use kindling_spec::TaskId;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;

use super::{Result, Row, SqliteMetadata, Tx, constraint, json};
use crate::{Event, Noun, StoreError};

fn read(row: &SqliteRow) -> Result<Event> {
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
    let done = sqlx::query("INSERT INTO events (task, kind, data, at) VALUES (?, ?, ?, ?)")
        .bind(task.as_str())
        .bind(kind)
        .bind(json(data)?)
        .bind(now)
        .execute(&mut **tx)
        .await
        .map_err(|error| constraint(error, missing, missing))?;
    Ok(done.last_insert_rowid())
}

pub(super) async fn append(db: &SqliteMetadata, task: &TaskId, kind: &str, data: &Value, now: i64) -> Result<i64> {
    let mut tx = db.write().await?;
    let id = insert(&mut tx, task, kind, data, now).await?;
    tx.commit().await?;
    Ok(id)
}

pub(super) async fn after(db: &SqliteMetadata, task: &TaskId, id: i64, limit: u32) -> Result<Vec<Event>> {
    sqlx::query("SELECT * FROM events WHERE task = ? AND id > ? ORDER BY id LIMIT ?")
        .bind(task.as_str())
        .bind(id)
        .bind(limit)
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read)
        .collect()
}
