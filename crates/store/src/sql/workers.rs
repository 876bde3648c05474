//! Workers.

use super::{DbRow, Result, Row, SqlMetadata, whole};
use crate::WorkerRecord;
use kindling_spec::TrialId;

fn read(row: &DbRow) -> Result<WorkerRecord> {
    let row = Row { row, table: "workers" };
    Ok(WorkerRecord {
        name: row.get("name")?,
        pid: row.count("pid")?,
        machine: row.get("machine")?,
        device: row.get("device")?,
        started_at: row.get("started_at")?,
        seen_at: row.get("seen_at")?,
        trial: row.word_or_none("trial")?,
        resident_bytes: row.count_or_none("resident_bytes")?,
        memory_bytes: row.count_or_none("memory_bytes")?,
        images_per_second: row.get("images_per_second")?,
    })
}

pub(super) async fn seen(db: &SqlMetadata, record: &WorkerRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO workers
             (name, pid, machine, device, started_at, seen_at, trial, resident_bytes, memory_bytes, images_per_second)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (name) DO UPDATE SET pid = excluded.pid, machine = excluded.machine, device = excluded.device,
             started_at = excluded.started_at, seen_at = excluded.seen_at, trial = excluded.trial,
             resident_bytes = excluded.resident_bytes, memory_bytes = excluded.memory_bytes,
             images_per_second = excluded.images_per_second",
    )
    .bind(&record.name)
    .bind(i64::from(record.pid))
    .bind(&record.machine)
    .bind(&record.device)
    .bind(record.started_at)
    .bind(record.seen_at)
    .bind(record.trial.as_ref().map(TrialId::as_str))
    .bind(record.resident_bytes.map(whole))
    .bind(record.memory_bytes.map(whole))
    .bind(record.images_per_second)
    .execute(&db.writer)
    .await?;
    Ok(())
}

pub(super) async fn all(db: &SqlMetadata) -> Result<Vec<WorkerRecord>> {
    sqlx::query("SELECT * FROM workers ORDER BY name").fetch_all(&db.reader).await?.iter().map(read).collect()
}

pub(super) async fn gone(db: &SqlMetadata, name: &str) -> Result<bool> {
    let done = sqlx::query("DELETE FROM workers WHERE name = $1").bind(name).execute(&db.writer).await?;
    Ok(done.rows_affected() == 1)
}
