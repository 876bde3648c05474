//! Analyses.

use kindling_spec::{AnalysisId, AnalysisKind, AnalysisState};

use super::{DbRow, Result, Row, SqlMetadata, constraint, finite, json, json_or_none, words};
use crate::{AnalysisRecord, AnalysisUpdate, Noun, StoreError};

fn read(row: &DbRow) -> Result<AnalysisRecord> {
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

pub(super) async fn create(db: &SqlMetadata, record: &AnalysisRecord) -> Result<bool> {
    let mut tx = db.write().await?;
    let busy: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM analyses WHERE subject = $1 AND kind = $2 AND state IN ('waiting', 'running'))",
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
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(record.id.as_str())
    .bind(record.kind.as_str())
    .bind(&record.subject)
    .bind(json(&record.options)?)
    .bind(record.state.as_str())
    .bind(&record.reason)
    .bind(finite("an analysis' progress", record.progress)?)
    .bind(i64::from(record.deaths))
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

pub(super) async fn get(db: &SqlMetadata, id: &AnalysisId) -> Result<AnalysisRecord> {
    read(&super::row(db, "analyses", Noun::Analysis, id.as_str()).await?)
}

pub(super) async fn latest(db: &SqlMetadata, kind: AnalysisKind, subject: &str) -> Result<Option<AnalysisRecord>> {
    sqlx::query("SELECT * FROM analyses WHERE subject = $1 AND kind = $2 ORDER BY id DESC LIMIT 1")
        .bind(subject)
        .bind(kind.as_str())
        .fetch_optional(&db.reader)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

pub(super) async fn open(db: &SqlMetadata) -> Result<Vec<AnalysisRecord>> {
    sqlx::query("SELECT * FROM analyses WHERE state IN ('waiting', 'running') ORDER BY id")
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read)
        .collect()
}

pub(super) async fn update(
    db: &SqlMetadata,
    id: &AnalysisId,
    from: &[AnalysisState],
    update: &AnalysisUpdate,
    now: i64,
) -> Result<bool> {
    let from: Vec<_> = from.iter().map(|state| state.as_str()).collect();
    let done = sqlx::query(
        "UPDATE analyses SET state = $1, reason = $2, progress = $3, deaths = $4, summary = $5, updated_at = $6
         WHERE id = $7 AND state IN (SELECT value FROM json_each($8))",
    )
    .bind(update.state.as_str())
    .bind(&update.reason)
    .bind(finite("an analysis' progress", update.progress)?)
    .bind(i64::from(update.deaths))
    .bind(json_or_none(&update.summary)?)
    .bind(now)
    .bind(id.as_str())
    .bind(words(&from)?)
    .execute(&db.writer)
    .await?;
    Ok(done.rows_affected() == 1)
}
