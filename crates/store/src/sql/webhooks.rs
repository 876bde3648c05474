//! Webhooks and what is on its way to them.

use kindling_spec::{ProjectId, TaskId, WebhookId};

use super::{DbRow, Result, Row, SqlMetadata, Tx, constraint, events, projects};
use crate::{Delivered, DeliveryRecord, DeliveryState, Noun, StoreError, WebhookRecord};

fn read(row: &DbRow) -> Result<WebhookRecord> {
    let row = Row { row, table: "webhooks" };
    Ok(WebhookRecord {
        id: row.word("id")?,
        project: row.word("project")?,
        url: row.get("url")?,
        secret: row.get("secret")?,
        created_at: row.get("created_at")?,
    })
}

pub(super) async fn create(db: &SqlMetadata, record: &WebhookRecord) -> Result<()> {
    sqlx::query("INSERT INTO webhooks (id, project, url, secret, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(record.id.as_str())
        .bind(record.project.as_str())
        .bind(&record.url)
        .bind(&record.secret)
        .bind(record.created_at)
        .execute(&db.writer)
        .await
        .map_err(|error| {
            let doubled = || StoreError::Exists { what: Noun::Webhook, id: record.id.to_string() };
            constraint(error, doubled, || projects::missing(&record.project))
        })?;
    Ok(())
}

pub(super) async fn get(db: &SqlMetadata, id: &WebhookId) -> Result<WebhookRecord> {
    read(&super::row(db, "webhooks", Noun::Webhook, id.as_str()).await?)
}

pub(super) async fn of_project(db: &SqlMetadata, project: &ProjectId) -> Result<Vec<WebhookRecord>> {
    sqlx::query("SELECT * FROM webhooks WHERE project = $1 ORDER BY id")
        .bind(project.as_str())
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read)
        .collect()
}

pub(super) async fn delete(db: &SqlMetadata, id: &WebhookId) -> Result<bool> {
    let mut tx = db.write().await?;
    sqlx::query("DELETE FROM deliveries WHERE webhook = $1").bind(id.as_str()).execute(&mut *tx).await?;
    let done = sqlx::query("DELETE FROM webhooks WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// Notes, in the event's own transaction, that it is to be delivered to each webhook of the task's project.
pub(super) async fn enqueue(tx: &mut Tx, task: &TaskId, event: i64, now: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO deliveries (webhook, event, state, failures, next_at)
         SELECT webhooks.id, $1, 'waiting', 0, $2 FROM webhooks JOIN tasks ON tasks.project = webhooks.project
         WHERE tasks.id = $3",
    )
    .bind(event)
    .bind(now)
    .bind(task.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn take(db: &SqlMetadata, now: i64, until: i64, limit: u32) -> Result<Vec<DeliveryRecord>> {
    const DUE: &str =
        "SELECT id FROM deliveries WHERE state = 'waiting' AND next_at <= $1 ORDER BY next_at, id LIMIT $2";
    // Mostly there is none, and it is asked often: look without the write lock first.
    if sqlx::query(DUE).bind(now).bind(1i64).fetch_optional(&db.reader).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut tx = db.write().await?;
    let due: Vec<i64> = sqlx::query_scalar(DUE).bind(now).bind(i64::from(limit)).fetch_all(&mut *tx).await?;
    let mut taken = Vec::with_capacity(due.len());
    for id in due {
        let row = sqlx::query("UPDATE deliveries SET next_at = $1 WHERE id = $2 RETURNING *")
            .bind(until)
            .bind(id)
            .fetch_one(&mut *tx)
            .await?;
        let row = Row { row: &row, table: "deliveries" };
        let webhook = sqlx::query("SELECT * FROM webhooks WHERE id = $1")
            .bind(row.get::<String>("webhook")?)
            .fetch_one(&mut *tx)
            .await?;
        let event = sqlx::query("SELECT * FROM events WHERE id = $1")
            .bind(row.get::<i64>("event")?)
            .fetch_one(&mut *tx)
            .await?;
        taken.push(DeliveryRecord {
            id,
            webhook: read(&webhook)?,
            event: events::read(&event)?,
            failures: row.count("failures")?,
        });
    }
    tx.commit().await?;
    Ok(taken)
}

pub(super) async fn delivered(db: &SqlMetadata, id: i64, outcome: &Delivered) -> Result<()> {
    let (state, next_at, reason) = match outcome {
        Delivered::Yes => ("delivered", None, None),
        Delivered::Later { at, reason } => ("waiting", Some(*at), Some(reason)),
        Delivered::Never { reason } => ("given_up", None, Some(reason)),
    };
    sqlx::query(
        "UPDATE deliveries SET state = $1, next_at = coalesce($2, next_at), reason = $3,
             failures = failures + CASE WHEN $1 = 'delivered' THEN 0 ELSE 1 END
         WHERE id = $4 AND state = 'waiting'",
    )
    .bind(state)
    .bind(next_at)
    .bind(reason)
    .bind(id)
    .execute(&db.writer)
    .await?;
    Ok(())
}

pub(super) async fn states(db: &SqlMetadata, id: &WebhookId, limit: u32) -> Result<Vec<DeliveryState>> {
    sqlx::query(
        "SELECT deliveries.id AS id, kind, data, failures, state, reason, at FROM deliveries
             JOIN events ON events.id = deliveries.event
         WHERE webhook = $1 ORDER BY deliveries.id DESC LIMIT $2",
    )
    .bind(id.as_str())
    .bind(i64::from(limit))
    .fetch_all(&db.reader)
    .await?
    .iter()
    .map(|row| {
        let row = Row { row, table: "deliveries" };
        Ok(DeliveryState {
            id: row.get("id")?,
            kind: row.get("kind")?,
            data: row.json("data")?,
            failures: row.count("failures")?,
            state: row.get("state")?,
            reason: row.get("reason")?,
            at: row.get("at")?,
        })
    })
    .collect()
}
