//! Uploads in parts.

use kindling_spec::UploadId;

use super::{DbRow, Result, Row, SqlMetadata, constraint, whole};
use crate::{Noun, PartRecord, StoreError, UploadRecord};

fn read(row: &DbRow) -> Result<UploadRecord> {
    let row = Row { row, table: "uploads" };
    Ok(UploadRecord {
        id: row.word("id")?,
        dataset: row.word("dataset")?,
        bytes: row.count("bytes")?,
        part_bytes: row.count("part_bytes")?,
        parts: Vec::new(),
        created_at: row.get("created_at")?,
    })
}

fn missing(id: &UploadId) -> StoreError {
    StoreError::NotFound { what: Noun::Upload, id: id.to_string() }
}

pub(super) async fn create(db: &SqlMetadata, record: &UploadRecord) -> Result<()> {
    sqlx::query("INSERT INTO uploads (id, dataset, bytes, part_bytes, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(record.id.as_str())
        .bind(record.dataset.as_str())
        .bind(whole(record.bytes))
        .bind(whole(record.part_bytes))
        .bind(record.created_at)
        .execute(&db.writer)
        .await
        .map_err(|error| {
            let doubled = || StoreError::Exists { what: Noun::Upload, id: record.id.to_string() };
            constraint(error, doubled, || StoreError::NotFound { what: Noun::Dataset, id: record.dataset.to_string() })
        })?;
    Ok(())
}

pub(super) async fn get(db: &SqlMetadata, id: &UploadId) -> Result<UploadRecord> {
    let mut tx = db.snapshot().await?;
    let row = sqlx::query("SELECT * FROM uploads WHERE id = $1").bind(id.as_str()).fetch_optional(&mut *tx).await?;
    let record = read(&row.ok_or_else(|| missing(id))?)?;
    let parts = sqlx::query("SELECT * FROM upload_parts WHERE upload = $1 ORDER BY number")
        .bind(id.as_str())
        .fetch_all(&mut *tx)
        .await?
        .iter()
        .map(|row| {
            let row = Row { row, table: "upload_parts" };
            Ok(PartRecord { number: row.count("number")?, bytes: row.count("bytes")?, sha256: row.get("sha256")? })
        })
        .collect::<Result<_>>()?;
    Ok(UploadRecord { parts, ..record })
}

pub(super) async fn add_part(db: &SqlMetadata, id: &UploadId, part: &PartRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO upload_parts (upload, number, bytes, sha256) VALUES ($1, $2, $3, $4)
         ON CONFLICT (upload, number) DO UPDATE SET bytes = excluded.bytes, sha256 = excluded.sha256",
    )
    .bind(id.as_str())
    .bind(i64::from(part.number))
    .bind(whole(part.bytes))
    .bind(&part.sha256)
    .execute(&db.writer)
    .await
    .map_err(|error| constraint(error, || missing(id), || missing(id)))?;
    Ok(())
}

pub(super) async fn before(db: &SqlMetadata, time: i64) -> Result<Vec<UploadRecord>> {
    sqlx::query("SELECT * FROM uploads WHERE created_at < $1 ORDER BY created_at, id")
        .bind(time)
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read)
        .collect()
}
