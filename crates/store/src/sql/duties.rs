//! Duties that one process at a time may have.

use super::{Result, Row, SqlMetadata};
use crate::DutyRecord;

pub(super) async fn take(db: &SqlMetadata, duty: &str, who: &str, now: i64, until: i64) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO duties (duty, holder, until) VALUES ($1, $2, $3)
         ON CONFLICT (duty) DO UPDATE SET holder = excluded.holder, until = excluded.until
         WHERE duties.holder = excluded.holder OR duties.until < $4",
    )
    .bind(duty)
    .bind(who)
    .bind(until)
    .bind(now)
    .execute(&db.writer)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn leave(db: &SqlMetadata, duty: &str, who: &str) -> Result<()> {
    sqlx::query("DELETE FROM duties WHERE duty = $1 AND holder = $2").bind(duty).bind(who).execute(&db.writer).await?;
    Ok(())
}

pub(super) async fn all(db: &SqlMetadata) -> Result<Vec<DutyRecord>> {
    let rows = sqlx::query("SELECT * FROM duties ORDER BY duty").fetch_all(&db.reader).await?;
    rows.iter()
        .map(|row| {
            let row = Row { row, table: "duties" };
            Ok(DutyRecord { duty: row.get("duty")?, holder: row.get("holder")?, until: row.get("until")? })
        })
        .collect()
}
