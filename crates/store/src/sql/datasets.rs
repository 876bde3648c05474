//! Data sets.

use kindling_spec::{DatasetId, DatasetState, ProjectId};

use super::{DbRow, Result, Row, SqlMetadata, constraint, json_or_none, projects, removals, words};
use crate::{DatasetRecord, DatasetUpdate, Deletion, Noun, StoreError};

fn read(row: &DbRow) -> Result<DatasetRecord> {
    let row = Row { row, table: "datasets" };
    Ok(DatasetRecord {
        id: row.word("id")?,
        project: row.word("project")?,
        name: row.get("name")?,
        kind: row.word("kind")?,
        labels: row.word("labels")?,
        state: row.word("state")?,
        problem: row.json_or_none("problem")?,
        hash: row.get("hash")?,
        summary: row.json_or_none("summary")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

pub(super) async fn create(db: &SqlMetadata, record: &DatasetRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO datasets (id, project, name, kind, labels, state, problem, hash, summary, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(record.id.as_str())
    .bind(record.project.as_str())
    .bind(&record.name)
    .bind(record.kind.as_str())
    .bind(record.labels.as_str())
    .bind(record.state.as_str())
    .bind(json_or_none(&record.problem)?)
    .bind(&record.hash)
    .bind(json_or_none(&record.summary)?)
    .bind(record.created_at)
    .bind(record.updated_at)
    .execute(&db.writer)
    .await
    .map_err(|error| {
        let doubled = || StoreError::Exists { what: Noun::Dataset, id: record.id.to_string() };
        constraint(error, doubled, || projects::missing(&record.project))
    })?;
    Ok(())
}

pub(super) async fn get(db: &SqlMetadata, id: &DatasetId) -> Result<DatasetRecord> {
    read(&super::row(db, "datasets", Noun::Dataset, id.as_str()).await?)
}

pub(super) async fn page(
    db: &SqlMetadata,
    project: Option<&ProjectId>,
    after: Option<&DatasetId>,
    limit: u32,
) -> Result<Vec<DatasetRecord>> {
    super::page(db, "datasets", project, after.map(DatasetId::as_str), limit).await?.iter().map(read).collect()
}

pub(super) async fn update(
    db: &SqlMetadata,
    id: &DatasetId,
    from: &[DatasetState],
    update: &DatasetUpdate,
    now: i64,
) -> Result<bool> {
    let from: Vec<_> = from.iter().map(|state| state.as_str()).collect();
    let done = sqlx::query(
        "UPDATE datasets SET state = $1, problem = $2, hash = $3, summary = $4, updated_at = $5
         WHERE id = $6 AND state IN (SELECT value FROM json_each($7))",
    )
    .bind(update.state.as_str())
    .bind(json_or_none(&update.problem)?)
    .bind(&update.hash)
    .bind(json_or_none(&update.summary)?)
    .bind(now)
    .bind(id.as_str())
    .bind(words(&from)?)
    .execute(&db.writer)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn delete(db: &SqlMetadata, id: &DatasetId) -> Result<Deletion> {
    let mut tx = db.write().await?;
    let found: Option<(String, bool)> = sqlx::query_as(
        "SELECT state, EXISTS (SELECT 1 FROM tasks WHERE dataset = datasets.id) FROM datasets WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let answer = match found {
        None => Deletion::NotFound,
        Some((_, true)) => Deletion::InUse,
        Some((state, false)) if state == DatasetState::Processing.as_str() => Deletion::Busy,
        Some(_) => {
            // The rows of its uploads go with it; so must their parts.
            let uploads: Vec<String> = sqlx::query_scalar("SELECT id FROM uploads WHERE dataset = $1")
                .bind(id.as_str())
                .fetch_all(&mut *tx)
                .await?;
            for upload in uploads {
                removals::note(&mut tx, Noun::Upload, &upload).await?;
            }
            removals::analyses(&mut tx, id.as_str()).await?;
            removals::note(&mut tx, Noun::Dataset, id.as_str()).await?;
            sqlx::query("DELETE FROM datasets WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
            Deletion::Deleted
        }
    };
    tx.commit().await?;
    Ok(answer)
}
