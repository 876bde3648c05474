//! Analyses.

use kindling_spec::{AnalysisId, AnalysisKind, AnalysisState};
use sqlx::sqlite::SqliteRow;

use super::{Result, Row, SqliteMetadata, constraint, finite, json, json_or_none, words};
use crate::{AnalysisRecord, AnalysisUpdate, Noun, StoreError};

fn read(row: &SqliteRow) -> Result<AnalysisRecord> {
    let row = Row { row, table: "analyses" };
    Ok(AnalysisRecord {
        id: row.word("id")?,
        kind: row.word("kind")?,
        subject: row.get("subject")?,
        options: row.json("options")?,
        state: row.word("state")?,
        reason: row.get("reason")?,
        progress: row.get("progress")?,
        deaths: row.count("deaths")?,
        summary: row.json_or_none("summary")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

pub(super) async fn create(db: &SqliteMetadata, record: &AnalysisRecord) -> Result<bool> {
    let mut tx = db.write().await?;
    let busy: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM analyses WHERE subject = ? AND kind = ? AND state IN ('waiting', 'running'))",
    )
    .bind(&record.subject)
    .bind(record.kind.as_str())
    .fetch_one(&mut *tx)
    .await?;
    if busy {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO analyses (id, kind, subject, options, state, reason, progress, deaths, summary, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(record.id.as_str())
    .bind(record.kind.as_str())
    .bind(&record.subject)
    .bind(json(&record.options)?)
    .bind(record.state.as_str())
    .bind(&record.reason)
    .bind(finite("an analysis' progress", record.progress)?)
    .bind(record.deaths)
    .bind(json_or_none(&record.summary)?)
    .bind(record.created_at)
    .bind(record.updated_at)
    .execute(&mut *tx)
    .await
    .map_err(|error| {
        let doubled = || StoreError::Exists { what: Noun::Analysis, id: record.id.to_string() };
        constraint(error, doubled, || missing(&record.id))
    })?;
    tx.commit().await?;
    Ok(true)
}

fn missing(id: &AnalysisId) -> StoreError {
    StoreError::NotFound { what: Noun::Analysis, id: id.to_string() }
}

pub(super) async fn get(db: &SqliteMetadata, id: &AnalysisId) -> Result<AnalysisRecord> {
    let row = sqlx::query("SELECT * FROM analyses WHERE id = ?").bind(id.as_str()).fetch_optional(&db.reader).await?;
    read(&row.ok_or_else(|| missing(id))?)
}

pub(super) async fn latest(db: &SqliteMetadata, kind: AnalysisKind, subject: &str) -> Result<Option<AnalysisRecord>> {
    sqlx::query("SELECT * FROM analyses WHERE subject = ? AND kind = ? ORDER BY id DESC LIMIT 1")
        .bind(subject)
        .bind(kind.as_str())
        .fetch_optional(&db.reader)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

pub(super) async fn open(db: &SqliteMetadata) -> Result<Vec<AnalysisRecord>> {
    sqlx::query("SELECT * FROM analyses WHERE state IN ('waiting', 'running') ORDER BY id")
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read)
        .collect()
}

pub(super) async fn update(
    db: &SqliteMetadata,
    id: &AnalysisId,
    from: &[AnalysisState],
    update: &AnalysisUpdate,
    now: i64,
) -> Result<bool> {
    let from: Vec<_> = from.iter().map(|state| state.as_str()).collect();
    let done = sqlx::query(
        "UPDATE analyses SET state = ?, reason = ?, progress = ?, deaths = ?, summary = ?, updated_at = ?
         WHERE id = ? AND state IN (SELECT value FROM json_each(?))",
    )
    .bind(update.state.as_str())
    .bind(&update.reason)
    .bind(finite("an analysis' progress", update.progress)?)
    .bind(update.deaths)
    .bind(json_or_none(&update.summary)?)
    .bind(now)
    .bind(id.as_str())
    .bind(words(&from)?)
    .execute(&db.writer)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn delete(db: &SqliteMetadata, subject: &str) -> Result<Vec<AnalysisId>> {
    sqlx::query("DELETE FROM analyses WHERE subject = ? RETURNING id")
        .bind(subject)
        .fetch_all(&db.writer)
        .await?
        .iter()
        .map(|row| Row { row, table: "analyses" }.word("id"))
        .collect()
}
