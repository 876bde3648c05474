//! Models.

use kindling_spec::{ModelId, TaskId};
use serde_json::{Value, json};

use super::{DbRow, Result, Row, SqlMetadata, constraint, events, finite, whole};
use crate::{FileRecord, ModelRecord, Noun, StoreError, event_kind};

fn read(row: &DbRow) -> Result<ModelRecord> {
    let row = Row { row, table: "models" };
    Ok(ModelRecord {
        id: row.word("id")?,
        task: row.word("task")?,
        trial: row.word("trial")?,
        rung: row.count("rung")?,
        value: row.get("value")?,
        test_value: row.get("test_value")?,
        parameters: row.count("parameters")?,
        weights_bytes: row.count("weights_bytes")?,
        macs: row.count("macs")?,
        ram_bytes: row.count("ram_bytes")?,
        latency_ms: row.get("latency_ms")?,
        card: row.json("card")?,
        files: row.json("files")?,
        revision: row.count("revision")?,
        created_at: row.get("created_at")?,
    })
}

fn bytes(files: &[FileRecord]) -> i64 {
    whole(files.iter().map(|file| file.bytes).sum())
}

pub(super) async fn add(db: &SqlMetadata, record: &ModelRecord) -> Result<bool> {
    let mut tx = db.write().await?;
    let added = sqlx::query(
        "INSERT INTO models (id, task, trial, rung, value, test_value, parameters, weights_bytes, macs, ram_bytes,
             latency_ms, card, files, bytes, revision, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (trial, rung) DO NOTHING",
    )
    .bind(record.id.as_str())
    .bind(record.task.as_str())
    .bind(record.trial.as_str())
    .bind(i64::from(record.rung))
    .bind(finite("a model's validation value", record.value)?)
    .bind(finite("a model's test value", record.test_value)?)
    .bind(whole(record.parameters))
    .bind(whole(record.weights_bytes))
    .bind(whole(record.macs))
    .bind(whole(record.ram_bytes))
    .bind(finite("a model's latency", record.latency_ms)?)
    .bind(super::json(&record.card)?)
    .bind(super::json(&record.files)?)
    .bind(bytes(&record.files))
    .bind(i64::from(record.revision))
    .bind(record.created_at)
    .execute(&mut *tx)
    .await
    .map_err(|error| {
        let doubled = || StoreError::Exists { what: Noun::Model, id: record.id.to_string() };
        constraint(error, doubled, || StoreError::NotFound { what: Noun::Trial, id: record.trial.to_string() })
    })?
    .rows_affected()
        == 1;
    if added {
        let data = json!({
            "model": record.id,
            "trial": record.trial,
            "rung": record.rung,
            "value": record.value,
            "test_value": record.test_value,
            "parameters": record.parameters,
            "weights_bytes": record.weights_bytes,
            "macs": record.macs,
            "latency_ms": record.latency_ms,
        });
        events::insert(&mut tx, &record.task, event_kind::MODEL, &data, record.created_at).await?;
    }
    tx.commit().await?;
    Ok(added)
}

pub(super) async fn revise(
    db: &SqlMetadata,
    id: &ModelId,
    from: u32,
    card: &Value,
    files: &[FileRecord],
    now: i64,
) -> Result<bool> {
    let mut tx = db.write().await?;
    let task: Option<String> = sqlx::query_scalar(
        "UPDATE models SET card = $1, files = $2, bytes = $3, revision = revision + 1
         WHERE id = $4 AND revision = $5 RETURNING task",
    )
    .bind(super::json(card)?)
    .bind(super::json(files)?)
    .bind(bytes(files))
    .bind(id.as_str())
    .bind(i64::from(from))
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(task) = &task {
        let data = json!({ "model": id, "revision": from + 1 });
        let task = task.parse().map_err(|_| StoreError::NotFound { what: Noun::Task, id: task.clone() })?;
        events::insert(&mut tx, &task, event_kind::FILES, &data, now).await?;
    }
    tx.commit().await?;
    Ok(task.is_some())
}

pub(super) async fn get(db: &SqlMetadata, id: &ModelId) -> Result<ModelRecord> {
    read(&super::row(db, "models", Noun::Model, id.as_str()).await?)
}

pub(super) async fn of_task(db: &SqlMetadata, task: &TaskId) -> Result<Vec<ModelRecord>> {
    sqlx::query("SELECT * FROM models WHERE task = $1 ORDER BY created_at, id")
        .bind(task.as_str())
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read)
        .collect()
}

pub(super) async fn ids_of_task(db: &SqlMetadata, task: &TaskId) -> Result<Vec<ModelId>> {
    sqlx::query("SELECT id FROM models WHERE task = $1 ORDER BY created_at, id")
        .bind(task.as_str())
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(|row| Row { row, table: "models" }.word("id"))
        .collect()
}
