//! What is deleted: records at once, and a note of each thing whose files are to go, in the same transaction. So no file is
//! forgotten, whenever a process is killed.

use kindling_spec::{DraftId, FleetId, ModelId, TaskId, TaskState, UploadId};

use super::{DbRow, Result, Row, SqlMetadata, Tx};
use crate::{Deletion, Noun, Removal, StoreError};

/// The word in the table; what has no files has none.
fn word(what: Noun) -> Option<&'static str> {
    Some(match what {
        Noun::Dataset => "dataset",
        Noun::Task => "task",
        Noun::Trial => "trial",
        Noun::Model => "model",
        Noun::Analysis => "analysis",
        Noun::Draft => "draft",
        Noun::Upload => "upload",
        Noun::Fleet | Noun::DraftExample | Noun::File | Noun::Project | Noun::Key | Noun::Webhook => return None,
    })
}

const NOUNS: [Noun; 7] =
    [Noun::Dataset, Noun::Task, Noun::Trial, Noun::Model, Noun::Analysis, Noun::Draft, Noun::Upload];

fn read(row: &DbRow) -> Result<Removal> {
    let row = Row { row, table: "removals" };
    let found: String = row.get("what")?;
    let what = NOUNS.into_iter().find(|noun| word(*noun) == Some(found.as_str()));
    Ok(Removal { what: what.ok_or_else(|| row.corrupt("what", format!("`{found}`")))?, id: row.get("id")? })
}

/// Notes that a thing's files are to go.
pub(super) async fn note(tx: &mut Tx, what: Noun, id: &str) -> Result<()> {
    sqlx::query("INSERT INTO removals (what, id) VALUES ($1, $2) ON CONFLICT (what, id) DO NOTHING")
        .bind(word(what))
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn list(db: &SqlMetadata, limit: u32) -> Result<Vec<Removal>> {
    let rows = sqlx::query("SELECT * FROM removals ORDER BY what, id LIMIT $1")
        .bind(i64::from(limit))
        .fetch_all(&db.reader)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn done(db: &SqlMetadata, removal: &Removal) -> Result<()> {
    sqlx::query("DELETE FROM removals WHERE what = $1 AND id = $2")
        .bind(word(removal.what))
        .bind(&removal.id)
        .execute(&db.writer)
        .await?;
    Ok(())
}

/// Removes the analyses of a subject.
pub(super) async fn analyses(tx: &mut Tx, subject: &str) -> Result<()> {
    let found: Vec<String> = sqlx::query_scalar("DELETE FROM analyses WHERE subject = $1 RETURNING id")
        .bind(subject)
        .fetch_all(&mut **tx)
        .await?;
    for id in found {
        note(tx, Noun::Analysis, &id).await?;
    }
    Ok(())
}

pub(super) async fn upload(db: &SqlMetadata, id: &UploadId) -> Result<bool> {
    let mut tx = db.write().await?;
    sqlx::query("DELETE FROM upload_parts WHERE upload = $1").bind(id.as_str()).execute(&mut *tx).await?;
    let done = sqlx::query("DELETE FROM uploads WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
    let known = done.rows_affected() == 1;
    if known {
        note(&mut tx, Noun::Upload, id.as_str()).await?;
    }
    tx.commit().await?;
    Ok(known)
}

pub(super) async fn draft(db: &SqlMetadata, id: &DraftId) -> Result<()> {
    let mut tx = db.write().await?;
    sqlx::query("DELETE FROM draft_examples WHERE draft = $1").bind(id.as_str()).execute(&mut *tx).await?;
    let done = sqlx::query("DELETE FROM drafts WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
    if done.rows_affected() == 0 {
        tx.rollback().await?;
        return Err(StoreError::NotFound { what: Noun::Draft, id: id.to_string() });
    }
    note(&mut tx, Noun::Draft, id.as_str()).await?;
    tx.commit().await?;
    Ok(())
}

/// Why a task cannot be deleted now, if so.
async fn barred(tx: &mut Tx, task: &str) -> Result<Option<Deletion>> {
    let found: Option<(String, bool)> = sqlx::query_as(
        "SELECT state, EXISTS (SELECT 1 FROM trials WHERE task = tasks.id AND state = 'running') FROM tasks WHERE id = $1",
    )
    .bind(task)
    .fetch_optional(&mut **tx)
    .await?;
    let open = [TaskState::Queued.as_str(), TaskState::Running.as_str()];
    Ok(match found {
        None => Some(Deletion::NotFound),
        // A worker that is not told yet that the study is over may still put files there.
        Some((state, running)) if running || open.contains(&state.as_str()) => Some(Deletion::Busy),
        Some(_) => None,
    })
}

/// Removes a task's records, those that refer to others first.
async fn task_in(tx: &mut Tx, task: &str) -> Result<()> {
    let models: Vec<String> =
        sqlx::query_scalar("SELECT id FROM models WHERE task = $1").bind(task).fetch_all(&mut **tx).await?;
    for model in models {
        note(tx, Noun::Model, &model).await?;
    }
    analyses(tx, task).await?;
    for sql in [
        "DELETE FROM deliveries WHERE event IN (SELECT id FROM events WHERE task = $1)",
        "DELETE FROM events WHERE task = $1",
        "DELETE FROM models WHERE task = $1",
        "DELETE FROM rungs WHERE trial IN (SELECT id FROM trials WHERE task = $1)",
        "DELETE FROM trials WHERE task = $1",
        "DELETE FROM tasks WHERE id = $1",
    ] {
        sqlx::query(sql).bind(task).execute(&mut **tx).await?;
    }
    note(tx, Noun::Task, task).await
}

pub(super) async fn task(db: &SqlMetadata, id: &TaskId) -> Result<Deletion> {
    let mut tx = db.write().await?;
    let member: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM fleet_members WHERE task = $1)")
        .bind(id.as_str())
        .fetch_one(&mut *tx)
        .await?;
    let answer = match barred(&mut tx, id.as_str()).await? {
        Some(why) => why,
        None if member => Deletion::InUse,
        None => {
            task_in(&mut tx, id.as_str()).await?;
            Deletion::Deleted
        }
    };
    tx.commit().await?;
    Ok(answer)
}

pub(super) async fn fleet(db: &SqlMetadata, id: &FleetId) -> Result<Deletion> {
    let mut tx = db.write().await?;
    let tasks: Vec<String> = sqlx::query_scalar("SELECT task FROM fleet_members WHERE fleet = $1 ORDER BY place")
        .bind(id.as_str())
        .fetch_all(&mut *tx)
        .await?;
    for task in &tasks {
        if let Some(why) = barred(&mut tx, task).await? {
            tx.rollback().await?;
            return Ok(why);
        }
    }
    sqlx::query("DELETE FROM fleet_members WHERE fleet = $1").bind(id.as_str()).execute(&mut *tx).await?;
    for task in &tasks {
        task_in(&mut tx, task).await?;
    }
    let done = sqlx::query("DELETE FROM fleets WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(if done.rows_affected() == 1 { Deletion::Deleted } else { Deletion::NotFound })
}

pub(super) async fn model(db: &SqlMetadata, id: &ModelId) -> Result<Deletion> {
    let mut tx = db.write().await?;
    let task: Option<String> =
        sqlx::query_scalar("SELECT task FROM models WHERE id = $1").bind(id.as_str()).fetch_optional(&mut *tx).await?;
    let Some(task) = task else {
        tx.rollback().await?;
        return Ok(Deletion::NotFound);
    };
    if let Some(why) = barred(&mut tx, &task).await? {
        tx.rollback().await?;
        return Ok(why);
    }
    sqlx::query("DELETE FROM models WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
    // The best is now the best of those that are left; of equals the smaller, as workers choose.
    sqlx::query(
        "UPDATE tasks SET best_model =
             (SELECT id FROM models WHERE task = tasks.id ORDER BY value DESC, weights_bytes, created_at, id LIMIT 1)
         WHERE id = $1 AND best_model = $2",
    )
    .bind(&task)
    .bind(id.as_str())
    .execute(&mut *tx)
    .await?;
    note(&mut tx, Noun::Model, id.as_str()).await?;
    tx.commit().await?;
    Ok(Deletion::Deleted)
}

pub(super) async fn expire_studies(db: &SqlMetadata, ended_before: i64, now: i64) -> Result<u64> {
    let mut tx = db.write().await?;
    // What may still go on from its checkpoint (the study was cancelled) cannot without it.
    sqlx::query(
        "UPDATE trials SET state = 'pruned', reason = 'it was not gone on with; its checkpoint is removed', updated_at = $1
         WHERE state IN ('waiting', 'paused') AND NOT EXISTS (SELECT 1 FROM models WHERE models.trial = trials.id)
             AND task IN (SELECT id FROM tasks WHERE state NOT IN ('queued', 'running') AND ended_at < $2)",
    )
    .bind(now)
    .bind(ended_before)
    .execute(&mut *tx)
    .await?;
    let trials: Vec<(String, String)> = sqlx::query_as(
        "UPDATE trials SET checkpoint = NULL
         WHERE checkpoint IS NOT NULL AND state IN ('pruned', 'failed')
             AND NOT EXISTS (SELECT 1 FROM models WHERE models.trial = trials.id)
             AND task IN (SELECT id FROM tasks WHERE state NOT IN ('queued', 'running') AND ended_at < $1)
         RETURNING task, id",
    )
    .bind(ended_before)
    .fetch_all(&mut *tx)
    .await?;
    for (task, trial) in &trials {
        note(&mut tx, Noun::Trial, &format!("{task}/{trial}")).await?;
    }
    let events = sqlx::query(
        "DELETE FROM events WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE event = events.id)
             AND task IN (SELECT id FROM tasks WHERE state NOT IN ('queued', 'running') AND ended_at < $1)",
    )
    .bind(ended_before)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(trials.len() as u64 + events.rows_affected())
}

pub(super) async fn expire_deliveries(db: &SqlMetadata, before: i64) -> Result<u64> {
    let done = sqlx::query("DELETE FROM deliveries WHERE state <> 'waiting' AND next_at < $1");
    Ok(done.bind(before).execute(&db.writer).await?.rows_affected())
}
