//! Fleets.

use kindling_spec::{FleetId, TaskId};
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeSet;

use super::{Result, Row, SqliteMetadata, constraint, tasks};
use crate::{FleetMember, FleetRecord, Noun, StoreError, TaskRecord};

fn read(row: &SqliteRow) -> Result<FleetRecord> {
    let row = Row { row, table: "fleets" };
    Ok(FleetRecord {
        id: row.word("id")?,
        spec: row.json("spec")?,
        dataset: row.word("dataset")?,
        members: Vec::new(),
        created_at: row.get("created_at")?,
    })
}

async fn members(db: &SqliteMetadata, id: &FleetId) -> Result<Vec<FleetMember>> {
    sqlx::query("SELECT * FROM fleet_members WHERE fleet = ? ORDER BY place")
        .bind(id.as_str())
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(|row| {
            let row = Row { row, table: "fleet_members" };
            Ok(FleetMember { task: row.word("task")?, class: row.get("class")? })
        })
        .collect()
}

pub(super) async fn create(db: &SqliteMetadata, record: &FleetRecord, posted: &[TaskRecord]) -> Result<()> {
    let mut tx = db.write().await?;
    for task in posted {
        tasks::insert(&mut tx, task).await?;
    }
    sqlx::query("INSERT INTO fleets (id, spec, dataset, created_at) VALUES (?, ?, ?, ?)")
        .bind(record.id.as_str())
        .bind(super::json(&record.spec)?)
        .bind(record.dataset.as_str())
        .bind(record.created_at)
        .execute(&mut *tx)
        .await
        .map_err(|error| {
            let doubled = || StoreError::Exists { what: Noun::Fleet, id: record.id.to_string() };
            constraint(error, doubled, || StoreError::NotFound { what: Noun::Dataset, id: record.dataset.to_string() })
        })?;
    for (place, member) in (0i64..).zip(&record.members) {
        sqlx::query("INSERT INTO fleet_members (fleet, place, task, class) VALUES (?, ?, ?, ?)")
            .bind(record.id.as_str())
            .bind(place)
            .bind(member.task.as_str())
            .bind(&member.class)
            .execute(&mut *tx)
            .await
            .map_err(|error| {
                let doubled = || StoreError::Exists { what: Noun::Fleet, id: record.id.to_string() };
                constraint(error, doubled, || StoreError::NotFound { what: Noun::Task, id: member.task.to_string() })
            })?;
    }
    tx.commit().await?;
    Ok(())
}

pub(super) async fn get(db: &SqliteMetadata, id: &FleetId) -> Result<FleetRecord> {
    let row = sqlx::query("SELECT * FROM fleets WHERE id = ?").bind(id.as_str()).fetch_optional(&db.reader).await?;
    let row = row.ok_or_else(|| StoreError::NotFound { what: Noun::Fleet, id: id.to_string() })?;
    Ok(FleetRecord { members: members(db, id).await?, ..read(&row)? })
}

pub(super) async fn page(db: &SqliteMetadata, after: Option<&FleetId>, limit: u32) -> Result<Vec<FleetRecord>> {
    let rows = sqlx::query("SELECT * FROM fleets WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2")
        .bind(after.map(FleetId::as_str))
        .bind(limit)
        .fetch_all(&db.reader)
        .await?;
    let mut records = Vec::new();
    for row in &rows {
        let record = read(row)?;
        records.push(FleetRecord { members: members(db, &record.id).await?, ..record });
    }
    Ok(records)
}

pub(super) async fn held(db: &SqliteMetadata) -> Result<BTreeSet<TaskId>> {
    sqlx::query(
        "SELECT mine.task AS id FROM tasks
             JOIN fleet_members AS mine ON mine.task = tasks.id
         WHERE tasks.state = 'queued' AND EXISTS (
             SELECT 1 FROM fleet_members AS earlier JOIN tasks AS its ON its.id = earlier.task
             WHERE earlier.fleet = mine.fleet AND earlier.place < mine.place AND its.state IN ('queued', 'running'))",
    )
    .fetch_all(&db.reader)
    .await?
    .iter()
    .map(|row| Row { row, table: "fleet_members" }.word("id"))
    .collect()
}
