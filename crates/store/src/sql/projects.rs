//! Projects, what they use, and whose things are.

use kindling_spec::ProjectId;

use super::{DbRow, Result, Row, SqlMetadata, constraint, json, whole};
use crate::{Noun, ProjectRecord, Quota, StoreError, Usage};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The day, counted from 1970, for the seconds spent in it.
pub(super) fn day(now: i64) -> i64 {
    now.div_euclid(DAY_MS)
}

fn read(row: &DbRow) -> Result<ProjectRecord> {
    let row = Row { row, table: "projects" };
    Ok(ProjectRecord {
        id: row.word("id")?,
        name: row.get("name")?,
        quota: row.json("quota")?,
        created_at: row.get("created_at")?,
    })
}

pub(super) fn missing(id: &ProjectId) -> StoreError {
    StoreError::NotFound { what: Noun::Project, id: id.to_string() }
}

pub(super) async fn create(db: &SqlMetadata, record: &ProjectRecord) -> Result<()> {
    sqlx::query("INSERT INTO projects (id, name, quota, created_at) VALUES ($1, $2, $3, $4)")
        .bind(record.id.as_str())
        .bind(&record.name)
        .bind(json(&record.quota)?)
        .bind(record.created_at)
        .execute(&db.writer)
        .await
        .map_err(|error| {
            let doubled = || StoreError::Exists { what: Noun::Project, id: record.name.clone() };
            constraint(error, doubled, || missing(&record.id))
        })?;
    Ok(())
}

pub(super) async fn get(db: &SqlMetadata, id: &ProjectId) -> Result<ProjectRecord> {
    read(&super::row(db, "projects", Noun::Project, id.as_str()).await?)
}

pub(super) async fn all(db: &SqlMetadata) -> Result<Vec<ProjectRecord>> {
    sqlx::query("SELECT * FROM projects ORDER BY id").fetch_all(&db.reader).await?.iter().map(read).collect()
}

pub(super) async fn set_quota(db: &SqlMetadata, id: &ProjectId, quota: &Quota) -> Result<()> {
    let done = sqlx::query("UPDATE projects SET quota = $1 WHERE id = $2")
        .bind(json(quota)?)
        .bind(id.as_str())
        .execute(&db.writer)
        .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(missing(id)) }
}

pub(super) async fn usage(db: &SqlMetadata, id: &ProjectId, now: i64) -> Result<Usage> {
    let row = sqlx::query(
        "SELECT CAST((SELECT coalesce(sum(bytes), 0) FROM datasets WHERE project = $1)
             + (SELECT coalesce(sum(bytes), 0) FROM drafts WHERE project = $1)
             + (SELECT coalesce(sum(uploads.bytes), 0) FROM uploads
                    JOIN datasets ON datasets.id = uploads.dataset WHERE datasets.project = $1)
             + (SELECT coalesce(sum(models.bytes), 0) FROM models
                    JOIN tasks ON tasks.id = models.task WHERE tasks.project = $1) AS BIGINT) AS bytes,
             (SELECT count(*) FROM tasks WHERE project = $1 AND state IN ('queued', 'running')) AS running_studies,
             (SELECT coalesce(sum(seconds), 0.0) FROM spent WHERE project = $1 AND day = $2) AS seconds_today,
             (SELECT coalesce(sum(budget_seconds - spent_seconds), 0.0) FROM tasks
                  WHERE project = $1 AND state IN ('queued', 'running')) AS seconds_granted",
    )
    .bind(id.as_str())
    .bind(day(now))
    .fetch_one(&db.reader)
    .await?;
    let row = Row { row: &row, table: "projects" };
    Ok(Usage {
        bytes: row.count("bytes")?,
        running_studies: row.count("running_studies")?,
        seconds_today: row.get("seconds_today")?,
        seconds_granted: row.get("seconds_granted")?,
    })
}

pub(super) async fn set_bytes(db: &SqlMetadata, what: Noun, id: &str, bytes: u64) -> Result<()> {
    let sql = match what {
        Noun::Draft => "UPDATE drafts SET bytes = $1 WHERE id = $2",
        _ => "UPDATE datasets SET bytes = $1 WHERE id = $2",
    };
    let done = sqlx::query(sql).bind(whole(bytes)).bind(id).execute(&db.writer).await?;
    let missing = || StoreError::NotFound { what, id: id.to_owned() };
    if done.rows_affected() == 1 { Ok(()) } else { Err(missing()) }
}

pub(super) async fn of(db: &SqlMetadata, what: Noun, id: &str) -> Result<Option<ProjectId>> {
    let sql = match what {
        Noun::Dataset => "SELECT project FROM datasets WHERE id = $1",
        Noun::Task => "SELECT project FROM tasks WHERE id = $1",
        Noun::Fleet => "SELECT project FROM fleets WHERE id = $1",
        Noun::Trial => "SELECT project FROM trials JOIN tasks ON tasks.id = trials.task WHERE trials.id = $1",
        Noun::Model => "SELECT project FROM models JOIN tasks ON tasks.id = models.task WHERE models.id = $1",
        Noun::Analysis => {
            "SELECT coalesce(datasets.project, tasks.project) AS project FROM analyses
                 LEFT JOIN datasets ON datasets.id = analyses.subject
                 LEFT JOIN tasks ON tasks.id = analyses.subject WHERE analyses.id = $1"
        }
        Noun::Draft | Noun::DraftExample => "SELECT project FROM drafts WHERE id = $1",
        Noun::Key => "SELECT project FROM access_keys WHERE id = $1",
        Noun::Upload => {
            "SELECT project FROM uploads JOIN datasets ON datasets.id = uploads.dataset WHERE uploads.id = $1"
        }
        Noun::Webhook => "SELECT project FROM webhooks WHERE id = $1",
        Noun::Project => "SELECT id AS project FROM projects WHERE id = $1",
        // Files have no project of their own: who may see them may see the record that names them.
        Noun::File => return Ok(None),
    };
    let row = sqlx::query(sql).bind(id).fetch_optional(&db.reader).await?;
    let project = row.map(|row| Row { row: &row, table: "projects" }.word_or_none("project")).transpose()?;
    Ok(project.flatten())
}
