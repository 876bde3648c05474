//! Draft data sets.

use kindling_spec::{DraftId, ModelId, ProjectId};
use std::collections::{BTreeSet, HashSet};

use super::{DbRow, Result, Row, SqlMetadata, constraint, finite, json, json_or_none, projects, whole};
use crate::{
    Annotation, DraftCounts, DraftExampleRecord, DraftFilter, DraftRecord, DraftState, Noun, StoreError, Suggestion,
};

fn read(row: &DbRow) -> Result<DraftRecord> {
    let row = Row { row, table: "drafts" };
    Ok(DraftRecord {
        id: row.word("id")?,
        project: row.word("project")?,
        name: row.get("name")?,
        labels: row.word("labels")?,
        classes: row.json("classes")?,
        parent: row.word_or_none("parent")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn read_example(row: &DbRow) -> Result<DraftExampleRecord> {
    let row = Row { row, table: "draft_examples" };
    Ok(DraftExampleRecord {
        number: row.count("number")?,
        path: row.get("path")?,
        sha256: row.get("sha256")?,
        pack: row.get("pack")?,
        start: row.count("start")?,
        bytes: row.count("bytes")?,
        width: row.count("width")?,
        height: row.count("height")?,
        split: row.word_or_none("split")?,
        state: row.word("state")?,
        label: row.json_or_none("label")?,
        suggestion: row.json_or_none("suggestion")?,
        doubt: row.get("doubt")?,
        suggested_by: row.word_or_none("suggested_by")?,
        updated_at: row.get("updated_at")?,
    })
}

fn missing(id: &DraftId) -> StoreError {
    StoreError::NotFound { what: Noun::Draft, id: id.to_string() }
}

fn missing_example(number: u32) -> StoreError {
    StoreError::NotFound { what: Noun::DraftExample, id: number.to_string() }
}

pub(super) async fn create(db: &SqlMetadata, record: &DraftRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO drafts (id, project, name, labels, classes, parent, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(record.id.as_str())
    .bind(record.project.as_str())
    .bind(&record.name)
    .bind(record.labels.as_str())
    .bind(json(&record.classes)?)
    .bind(record.parent.as_ref().map(|id| id.as_str()))
    .bind(record.created_at)
    .bind(record.updated_at)
    .execute(&db.writer)
    .await
    .map_err(|error| {
        let doubled = || StoreError::Exists { what: Noun::Draft, id: record.id.to_string() };
        constraint(error, doubled, || projects::missing(&record.project))
    })?;
    Ok(())
}

pub(super) async fn get(db: &SqlMetadata, id: &DraftId) -> Result<DraftRecord> {
    read(&super::row(db, "drafts", Noun::Draft, id.as_str()).await?)
}

pub(super) async fn page(
    db: &SqlMetadata,
    project: Option<&ProjectId>,
    after: Option<&DraftId>,
    limit: u32,
) -> Result<Vec<DraftRecord>> {
    super::page(db, "drafts", project, after.map(DraftId::as_str), limit).await?.iter().map(read).collect()
}

pub(super) async fn counts(db: &SqlMetadata, id: &DraftId) -> Result<DraftCounts> {
    let row = sqlx::query(
        "SELECT count(*) AS examples, count(*) FILTER (WHERE state = 'labelled') AS labelled,
             count(*) FILTER (WHERE state = 'skipped') AS skipped,
             count(*) FILTER (WHERE state = 'unlabelled' AND suggestion IS NOT NULL) AS suggested
         FROM draft_examples WHERE draft = $1",
    )
    .bind(id.as_str())
    .fetch_one(&db.reader)
    .await?;
    let row = Row { row: &row, table: "draft_examples" };
    Ok(DraftCounts {
        examples: row.count("examples")?,
        labelled: row.count("labelled")?,
        skipped: row.count("skipped")?,
        suggested: row.count("suggested")?,
    })
}

pub(super) async fn add_classes(db: &SqlMetadata, id: &DraftId, add: &[String], now: i64) -> Result<Vec<String>> {
    let mut tx = db.write().await?;
    let row = sqlx::query("SELECT * FROM drafts WHERE id = $1").bind(id.as_str()).fetch_optional(&mut *tx).await?;
    let mut classes = read(&row.ok_or_else(|| missing(id))?)?.classes;
    for class in add {
        if !classes.contains(class) {
            classes.push(class.clone());
        }
    }
    sqlx::query("UPDATE drafts SET classes = $1, updated_at = $2 WHERE id = $3")
        .bind(json(&classes)?)
        .bind(now)
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(classes)
}

pub(super) async fn packs(db: &SqlMetadata) -> Result<BTreeSet<String>> {
    Ok(sqlx::query_scalar("SELECT DISTINCT pack FROM draft_examples")
        .fetch_all(&db.reader)
        .await?
        .into_iter()
        .collect())
}

/// `a/b.png` -> `a/b-2.png`.
fn renamed(path: &str, copy: u32) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((_, ending)) => format!("{}-{copy}.{ending}", path.strip_suffix(&format!(".{ending}")).unwrap_or(path)),
        None => format!("{path}-{copy}"),
    }
}

pub(super) async fn add_examples(
    db: &SqlMetadata,
    id: &DraftId,
    examples: &[DraftExampleRecord],
    now: i64,
) -> Result<u64> {
    let mut tx = db.write().await?;
    let known: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT path, sha256, number FROM draft_examples WHERE draft = $1")
            .bind(id.as_str())
            .fetch_all(&mut *tx)
            .await?;
    let mut next = known.iter().map(|(_, _, number)| number + 1).max().unwrap_or(0);
    let (mut paths, mut hashes) = (HashSet::new(), HashSet::new());
    for (path, hash, _) in known {
        paths.insert(path);
        hashes.insert(hash);
    }
    let mut added = 0;
    for example in examples {
        if hashes.contains(&example.sha256) {
            continue;
        }
        let mut path = example.path.clone();
        for copy in 2.. {
            if paths.insert(path.clone()) {
                break;
            }
            path = renamed(&example.path, copy);
        }
        sqlx::query(
            "INSERT INTO draft_examples (draft, number, path, sha256, pack, start, bytes, width, height, split, state,
                 label, suggestion, doubt, suggested_by, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, NULL, NULL, NULL, $13)",
        )
        .bind(id.as_str())
        .bind(next)
        .bind(path)
        .bind(&example.sha256)
        .bind(&example.pack)
        .bind(whole(example.start))
        .bind(whole(example.bytes))
        .bind(i64::from(example.width))
        .bind(i64::from(example.height))
        .bind(example.split.map(|split| split.as_str()))
        .bind(example.state.as_str())
        .bind(json_or_none(&example.label)?)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(|error| {
            let doubled = || StoreError::Exists { what: Noun::DraftExample, id: next.to_string() };
            constraint(error, doubled, || missing(id))
        })?;
        next += 1;
        added += 1;
    }
    tx.commit().await?;
    Ok(added)
}

pub(super) async fn example(db: &SqlMetadata, id: &DraftId, number: u32) -> Result<DraftExampleRecord> {
    let row = sqlx::query("SELECT * FROM draft_examples WHERE draft = $1 AND number = $2")
        .bind(id.as_str())
        .bind(i64::from(number))
        .fetch_optional(&db.reader)
        .await?;
    read_example(&row.ok_or_else(|| missing_example(number))?)
}

pub(super) async fn examples(
    db: &SqlMetadata,
    id: &DraftId,
    filter: &DraftFilter,
    after: Option<u32>,
    limit: u32,
) -> Result<Vec<DraftExampleRecord>> {
    // What nobody was asked about is after everything else.
    let sql = if filter.doubtful_first {
        "SELECT * FROM draft_examples WHERE draft = $1 AND ($2 IS NULL OR state = $2)
             AND ($3 IS NULL OR suggested_by IS DISTINCT FROM $3)
             AND ($4 IS NULL OR (-coalesce(doubt, -1), number) > (
                 SELECT -coalesce(doubt, -1), number FROM draft_examples WHERE draft = $1 AND number = $4))
         ORDER BY -coalesce(doubt, -1), number LIMIT $5"
    } else {
        "SELECT * FROM draft_examples WHERE draft = $1 AND ($2 IS NULL OR state = $2)
             AND ($3 IS NULL OR suggested_by IS DISTINCT FROM $3) AND ($4 IS NULL OR number > $4)
         ORDER BY number LIMIT $5"
    };
    sqlx::query(sql)
        .bind(id.as_str())
        .bind(filter.state.map(DraftState::as_str))
        .bind(filter.unseen_by.as_ref().map(ModelId::as_str))
        .bind(after.map(i64::from))
        .bind(i64::from(limit))
        .fetch_all(&db.reader)
        .await?
        .iter()
        .map(read_example)
        .collect()
}

pub(super) async fn label(
    db: &SqlMetadata,
    id: &DraftId,
    number: u32,
    state: DraftState,
    label: Option<&Annotation>,
    now: i64,
) -> Result<DraftExampleRecord> {
    let mut tx = db.write().await?;
    let row = sqlx::query(
        "UPDATE draft_examples SET state = $1, label = $2, updated_at = $3 WHERE draft = $4 AND number = $5 RETURNING *",
    )
    .bind(state.as_str())
    .bind(label.map(json).transpose()?)
    .bind(now)
    .bind(id.as_str())
    .bind(i64::from(number))
    .fetch_optional(&mut *tx)
    .await?;
    let saved = read_example(&row.ok_or_else(|| missing_example(number))?)?;
    touch(&mut tx, id, now).await?;
    tx.commit().await?;
    Ok(saved)
}

async fn touch(tx: &mut super::Tx, id: &DraftId, now: i64) -> Result<()> {
    sqlx::query("UPDATE drafts SET updated_at = $1 WHERE id = $2")
        .bind(now)
        .bind(id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn suggest(db: &SqlMetadata, id: &DraftId, model: &ModelId, suggestions: &[Suggestion]) -> Result<()> {
    let mut tx = db.write().await?;
    for suggestion in suggestions {
        sqlx::query(
            "UPDATE draft_examples SET suggestion = $1, doubt = $2, suggested_by = $3 WHERE draft = $4 AND number = $5",
        )
        .bind(json_or_none(&suggestion.annotation)?)
        .bind(finite("a suggestion's doubt", suggestion.doubt)?)
        .bind(model.as_str())
        .bind(id.as_str())
        .bind(i64::from(suggestion.number))
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(super) async fn accept(
    db: &SqlMetadata,
    id: &DraftId,
    numbers: Option<&[u32]>,
    at_most: Option<f64>,
    now: i64,
) -> Result<Vec<u32>> {
    let mut tx = db.write().await?;
    let numbers = numbers.map(json).transpose()?;
    let rows = sqlx::query(
        "UPDATE draft_examples SET state = 'labelled', label = suggestion, updated_at = $1
         WHERE draft = $2 AND state = 'unlabelled' AND suggestion IS NOT NULL
             AND ($3 IS NULL OR number IN (SELECT CAST(value AS BIGINT) FROM json_each($3))) AND ($4 IS NULL OR doubt <= $4)
         RETURNING number",
    )
    .bind(now)
    .bind(id.as_str())
    .bind(numbers)
    .bind(at_most)
    .fetch_all(&mut *tx)
    .await?;
    touch(&mut tx, id, now).await?;
    tx.commit().await?;
    let mut accepted: Vec<u32> =
        rows.iter().map(|row| Row { row, table: "draft_examples" }.count("number")).collect::<Result<_>>()?;
    accepted.sort_unstable();
    Ok(accepted)
}
