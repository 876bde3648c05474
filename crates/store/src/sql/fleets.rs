//! Fleets.

use kindling_spec::{FleetId, ProjectId, TaskId};
use std::collections::BTreeSet;

use super::{DbRow, Result, Row, SqlMetadata, constraint, tasks};
use crate::{FleetMember, FleetRecord, Noun, StoreError, TaskRecord};

fn read(row: &DbRow) -> Result<FleetRecord> {
    let row = Row { row, table: "fleets" };
    Ok(FleetRecord {
        id: row.word("id")?,
        project: row.word("project")?,
        spec: row.json("spec")?,
        dataset: row.word("dataset")?,
        members: Vec::new(),
        created_at: row.get("created_at")?,
    })
}

async fn members(db: &SqlMetadata, id: &FleetId) -> Result<Vec<FleetMember>> {
    sqlx::query("SELECT * FROM fleet_members WHERE fleet = $1 ORDER BY place")
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

pub(super) async fn create(db: &SqlMetadata, record: &FleetRecord, posted: &[TaskRecord]) -> Result<()> {
    let mut tx = db.write().await?;
    for task in posted {
        tasks::insert(&mut tx, task).await?;
    }
    sqlx::query("INSERT INTO fleets (id, project, spec, dataset, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(record.id.as_str())
        .bind(record.project.as_str())
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
        sqlx::query("INSERT INTO fleet_members (fleet, place, task, class) VALUES ($1, $2, $3, $4)")
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

pub(super) async fn get(db: &SqlMetadata, id: &FleetId) -> Result<FleetRecord> {
    let row = super::row(db, "fleets", Noun::Fleet, id.as_str()).await?;
    Ok(FleetRecord { members: members(db, id).await?, ..read(&row)? })
}

pub(super) async fn page(
    db: &SqlMetadata,
    project: Option<&ProjectId>,
    after: Option<&FleetId>,
    limit: u32,
) -> Result<Vec<FleetRecord>> {
    let rows = super::page(db, "fleets", project, after.map(FleetId::as_str), limit).await?;
    let mut records = Vec::new();
    for row in &rows {
        let record = read(row)?;
        records.push(FleetRecord { members: members(db, &record.id).await?, ..record });
    }
    Ok(records)
}

pub(super) async fn held(db: &SqlMetadata) -> Result<BTreeSet<TaskId>> {
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
