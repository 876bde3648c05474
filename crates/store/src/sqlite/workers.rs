//! Workers.

use sqlx::sqlite::SqliteRow;

use super::{Result, Row, SqliteMetadata};
use crate::WorkerRecord;
use kindling_spec::TrialId;

fn read(row: &SqliteRow) -> Result<WorkerRecord> {
    let row = Row { row, table: "workers" };
    Ok(WorkerRecord {
        name: row.get("name")?,
        pid: row.count("pid")?,
        device: row.get("device")?,
        started_at: row.get("started_at")?,
        seen_at: row.get("seen_at")?,
        trial: row.word_or_none("trial")?,
    })
}

pub(super) async fn seen(db: &SqliteMetadata, record: &WorkerRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO workers (name, pid, device, started_at, seen_at, trial) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET pid = excluded.pid, device = excluded.device,
             started_at = excluded.started_at, seen_at = excluded.seen_at, trial = excluded.trial",
    )
    .bind(&record.name)
    .bind(record.pid)
    .bind(&record.device)
    .bind(record.started_at)
    .bind(record.seen_at)
    .bind(record.trial.as_ref().map(TrialId::as_str))
    .execute(&db.writer)
    .await?;
    Ok(())
}

pub(super) async fn all(db: &SqliteMetadata) -> Result<Vec<WorkerRecord>> {
    sqlx::query("SELECT * FROM workers ORDER BY name").fetch_all(&db.reader).await?.iter().map(read).collect()
}

pub(super) async fn gone(db: &SqliteMetadata, name: &str) -> Result<bool> {
    let done = sqlx::query("DELETE FROM workers WHERE name = ?").bind(name).execute(&db.writer).await?;
    Ok(done.rows_affected() == 1)
}
