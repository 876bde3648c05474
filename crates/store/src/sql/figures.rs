//! Figures of the whole service.

use std::collections::BTreeMap;

use super::{Result, Row, SqlMetadata, Tx};
use crate::figures::bucket;
use crate::{RungFigures, RungResult, StoredBytes};

/// Counts a rung that is done, in the transaction that notes it.
pub(super) async fn count(tx: &mut Tx, result: &RungResult) -> Result<()> {
    sqlx::query(
        "INSERT INTO rung_figures (rung, bucket, rungs, seconds, speeds) VALUES ($1, $2, 1, $3, $4)
         ON CONFLICT (rung, bucket) DO UPDATE SET rungs = rung_figures.rungs + 1,
             seconds = rung_figures.seconds + excluded.seconds, speeds = rung_figures.speeds + excluded.speeds",
    )
    .bind(i64::from(result.rung))
    .bind(bucket(result.seconds) as i64)
    .bind(result.seconds)
    .bind(result.images_per_second)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn rungs(db: &SqlMetadata) -> Result<BTreeMap<u32, RungFigures>> {
    let mut figures: BTreeMap<u32, RungFigures> = BTreeMap::new();
    for row in &sqlx::query("SELECT * FROM rung_figures").fetch_all(&db.reader).await? {
        let row = Row { row, table: "rung_figures" };
        let figure = figures.entry(row.count("rung")?).or_default();
        if let Some(counted) = figure.counts.get_mut(row.count::<usize>("bucket")?) {
            *counted = row.count("rungs")?;
        }
        figure.seconds += row.get::<f64>("seconds")?;
        figure.speeds += row.get::<f64>("speeds")?;
    }
    Ok(figures)
}

pub(super) async fn oldest_waiting(db: &SqlMetadata) -> Result<Option<i64>> {
    let since = sqlx::query_scalar(
        "SELECT min(trials.updated_at) FROM trials JOIN tasks ON tasks.id = trials.task
         WHERE trials.state = 'waiting' AND tasks.state IN ('queued', 'running')",
    );
    Ok(since.fetch_one(&db.reader).await?)
}

pub(super) async fn stored(db: &SqlMetadata) -> Result<Vec<StoredBytes>> {
    // Each kind is added up by itself first: joined, each data set would count once for every model.
    let rows = sqlx::query(
        "SELECT projects.id AS id, name, CAST(coalesce(ds.bytes, 0) AS BIGINT) AS datasets,
             CAST(coalesce(dr.bytes, 0) AS BIGINT) AS drafts, CAST(coalesce(up.bytes, 0) AS BIGINT) AS uploads,
             CAST(coalesce(mo.bytes, 0) AS BIGINT) AS models
         FROM projects
         LEFT JOIN (SELECT project, sum(bytes) AS bytes FROM datasets GROUP BY project) AS ds ON ds.project = projects.id
         LEFT JOIN (SELECT project, sum(bytes) AS bytes FROM drafts GROUP BY project) AS dr ON dr.project = projects.id
         LEFT JOIN (SELECT project, sum(uploads.bytes) AS bytes FROM uploads
                        JOIN datasets ON datasets.id = uploads.dataset GROUP BY project) AS up ON up.project = projects.id
         LEFT JOIN (SELECT project, sum(models.bytes) AS bytes FROM models
                        JOIN tasks ON tasks.id = models.task GROUP BY project) AS mo ON mo.project = projects.id
         ORDER BY projects.id",
    )
    .fetch_all(&db.reader)
    .await?;
    rows.iter()
        .map(|row| {
            let row = Row { row, table: "projects" };
            Ok(StoredBytes {
                project: row.word("id")?,
                name: row.get("name")?,
                datasets: row.count("datasets")?,
                drafts: row.count("drafts")?,
                uploads: row.count("uploads")?,
                models: row.count("models")?,
            })
        })
        .collect()
}
