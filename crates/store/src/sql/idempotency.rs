//! Answers kept for requests that carry an Idempotency-Key.

use super::{Result, Row, SqlMetadata, json};
use crate::{Remembered, SavedResponse};

/// How long an answer is kept.
const KEPT_MS: i64 = 24 * 3600 * 1000;
/// How long a request may take before its server counts as killed.
const WORKED_ON_MS: i64 = 5 * 60 * 1000;

pub(super) async fn remember(
    db: &SqlMetadata,
    scope: &str,
    key: &str,
    body_hash: &str,
    now: i64,
) -> Result<Remembered> {
    let mut tx = db.write().await?;
    sqlx::query("DELETE FROM idempotency WHERE created_at < $1 OR (status IS NULL AND created_at < $2)")
        .bind(now.saturating_sub(KEPT_MS))
        .bind(now.saturating_sub(WORKED_ON_MS))
        .execute(&mut *tx)
        .await?;
    let added = sqlx::query(
        "INSERT INTO idempotency (scope, key, body_hash, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(scope)
    .bind(key)
    .bind(body_hash)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    let answer = if added.rows_affected() == 1 {
        Remembered::New
    } else {
        let found = sqlx::query("SELECT *, key AS id FROM idempotency WHERE scope = $1 AND key = $2")
            .bind(scope)
            .bind(key)
            .fetch_one(&mut *tx)
            .await?;
        let row = Row { row: &found, table: "idempotency" };
        if row.get::<&str>("body_hash")? != body_hash {
            Remembered::Conflict
        } else if row.get::<Option<i64>>("status")?.is_none() {
            Remembered::InProgress
        } else {
            Remembered::Same(SavedResponse {
                status: row.count("status")?,
                headers: row.json("headers")?,
                body: row.get("body")?,
            })
        }
    };
    tx.commit().await?;
    Ok(answer)
}

pub(super) async fn complete(db: &SqlMetadata, scope: &str, key: &str, response: &SavedResponse) -> Result<()> {
    sqlx::query("UPDATE idempotency SET status = $1, headers = $2, body = $3 WHERE scope = $4 AND key = $5")
        .bind(i64::from(response.status))
        .bind(json(&response.headers)?)
        .bind(&response.body)
        .bind(scope)
        .bind(key)
        .execute(&db.writer)
        .await?;
    Ok(())
}

pub(super) async fn forget(db: &SqlMetadata, scope: &str, key: &str) -> Result<()> {
    sqlx::query("DELETE FROM idempotency WHERE scope = $1 AND key = $2 AND status IS NULL")
        .bind(scope)
        .bind(key)
        .execute(&db.writer)
        .await?;
    Ok(())
}
