//! Access keys.

use kindling_spec::{KeyId, ProjectId};

use super::{DbRow, Result, Row, SqlMetadata, constraint, projects};
use crate::{KeyRecord, Noun, StoreError};

fn read(row: &DbRow) -> Result<KeyRecord> {
    let row = Row { row, table: "access_keys" };
    Ok(KeyRecord {
        id: row.word("id")?,
        name: row.get("name")?,
        project: row.word("project")?,
        scope: row.word("scope")?,
        hash: row.get("hash")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        revoked_at: row.get("revoked_at")?,
    })
}

pub(super) async fn create(db: &SqlMetadata, record: &KeyRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO access_keys (id, name, project, scope, hash, created_at, expires_at, revoked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(record.id.as_str())
    .bind(&record.name)
    .bind(record.project.as_str())
    .bind(record.scope.as_str())
    .bind(&record.hash)
    .bind(record.created_at)
    .bind(record.expires_at)
    .bind(record.revoked_at)
    .execute(&db.writer)
    .await
    .map_err(|error| {
        let doubled = || StoreError::Exists { what: Noun::Key, id: record.id.to_string() };
        constraint(error, doubled, || projects::missing(&record.project))
    })?;
    Ok(())
}

pub(super) async fn get(db: &SqlMetadata, id: &KeyId) -> Result<KeyRecord> {
    read(&super::row(db, "access_keys", Noun::Key, id.as_str()).await?)
}

pub(super) async fn all(db: &SqlMetadata, project: Option<&ProjectId>) -> Result<Vec<KeyRecord>> {
    sqlx::query("SELECT * FROM access_keys WHERE $1 IS NULL OR project = $1 ORDER BY id")
        .bind(project.map(ProjectId::as_str))
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read)
        .collect()
}

pub(super) async fn revoke(db: &SqlMetadata, id: &KeyId, now: i64) -> Result<bool> {
    let done = sqlx::query("UPDATE access_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
        .bind(now)
        .bind(id.as_str())
        .execute(&db.writer)
        .await?;
    Ok(done.rows_affected() == 1)
}
