//! Labels that are probably wrong: searched for, listed, mended in a new version of the data set.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use kindling_engine::{AnalysisView, ChangeRequest, DoubtEntry, DoubtOptions, DoubtReport};
use kindling_spec::DatasetId;
use kindling_store::AnalysisRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Answered;
use crate::request::{JsonBody, Page, Query, dataset_id};
use crate::views::{ClassProbability, Dataset, List};
use crate::{Problem, app::App, idempotency, words};

/// What `POST /v1/datasets/{id}/doubts` takes.
#[derive(ToSchema)]
#[schema(as = DoubtOptions)]
#[expect(dead_code, reason = "it stands for the engine's type in the OpenAPI document")]
pub(crate) struct DoubtOptionsView {
    /// Parts that are held out in turn; 4 when left out.
    #[schema(minimum = 2, maximum = 20)]
    folds: Option<u32>,
    /// Epochs of each network; when left out as many as show 200,000 pictures in all, from 6 to 60.
    #[schema(minimum = 1, maximum = 200)]
    epochs: Option<u32>,
    /// Seeds folds and networks; 0 when left out.
    seed: Option<u64>,
}

/// How an analysis stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Analysis {
    /// Its id.
    id: String,
    /// Where it stands.
    #[schema(schema_with = words::analysis_state)]
    state: &'static str,
    /// Why it failed.
    reason: Option<String>,
    /// Share of the work done, 0 to 1.
    progress: f64,
    /// How it was asked for.
    #[schema(value_type = Object)]
    options: Value,
    /// What it found in a few figures, once complete.
    summary: Option<Value>,
    /// When it was asked for.
    created_at: i64,
    /// When it last changed.
    updated_at: i64,
}

impl From<AnalysisRecord> for Analysis {
    fn from(record: AnalysisRecord) -> Self {
        Self {
            id: record.id.into(),
            state: record.state.as_str(),
            reason: record.reason,
            progress: record.progress,
            options: record.options,
            summary: record.summary,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// A label that is probably wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Doubt)]
pub(crate) struct DoubtView {
    /// Its place in the list, from 0.
    place: usize,
    /// The example's number in the data set.
    example: usize,
    /// Its path in the upload.
    path: String,
    /// The side of the split it is on.
    #[schema(schema_with = words::split)]
    split: String,
    /// The label it has.
    given: String,
    /// The label it should probably have.
    suggested: String,
    /// How doubtful the label is, 0 to 1.
    score: f64,
    /// What a network that did not see it says.
    probabilities: Vec<ClassProbability>,
    /// Where the picture is.
    image: String,
}

impl DoubtView {
    fn new(dataset: &DatasetId, classes: &[String], place: usize, given: DoubtEntry) -> Self {
        let DoubtEntry { example, path, split, given, suggested, score, probabilities } = given;
        let pair = |(label, probability): (&String, f32)| ClassProbability { label: label.clone(), probability };
        Self {
            place,
            image: format!("/v1/datasets/{dataset}/examples/{example}/image"),
            probabilities: classes.iter().zip(probabilities).map(pair).collect(),
            example,
            path,
            split,
            given,
            suggested,
            score,
        }
    }
}

/// The search for doubtful labels and a page of what it found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Doubts {
    #[serde(flatten)]
    analysis: Analysis,
    /// The doubtful labels, the most doubtful first; none until the search is complete.
    items: Vec<DoubtView>,
    /// The `after` of the next page; null on the last.
    next: Option<String>,
}

pub(crate) async fn start(app: App, Path(id): Path<String>, headers: HeaderMap, body: JsonBody) -> Answered {
    let id = dataset_id(&id)?;
    let options: DoubtOptions = body.parse_or_default()?;
    let service = app.service().clone();
    let scope = format!("POST /v1/datasets/{id}/doubts");
    idempotency::once(&app, &scope, &headers, &body.0, async move {
        let record = service.search_doubts(&id, &options).await?;
        let location = [(header::LOCATION, format!("/v1/datasets/{id}/doubts"))];
        Ok((StatusCode::ACCEPTED, location, Json(Analysis::from(record))).into_response())
    })
    .await
}

pub(crate) async fn list(app: App, Path(id): Path<String>, Query(page): Query<Page>) -> Answered {
    let (limit, after) = (page.limit()? as usize, page.after::<usize>()?);
    let id = dataset_id(&id)?;
    let AnalysisView { record, report } = app.service().doubts(&id).await?;
    let DoubtReport { classes, doubts, .. } = report.unwrap_or_else(nothing);
    let first = after.map_or(0, |last| last.saturating_add(1));
    let rest = doubts.into_iter().enumerate().skip(first).take(limit + 1);
    let items = rest.map(|(place, doubt)| DoubtView::new(&id, &classes, place, doubt)).collect();
    let List { items, next } = List::page(items, limit, |doubt| doubt.place.to_string());
    Ok(Json(Doubts { analysis: record.into(), items, next }).into_response())
}

/// The report of a search that is not complete.
fn nothing() -> DoubtReport {
    DoubtReport {
        classes: Vec::new(),
        examples: 0,
        folds: 0,
        epochs: 0,
        seed: 0,
        agreement: 0.0,
        estimated: 0.0,
        thresholds: Vec::new(),
        joint: Vec::new(),
        seconds: 0.0,
        doubts: Vec::new(),
    }
}

/// What `POST /v1/datasets/{id}/relabel` takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Relabel {
    /// The new version's name; the old one's with a note when left out.
    #[serde(default)]
    name: Option<String>,
    /// What changes; all other examples stay as they are.
    #[schema(value_type = Vec<LabelChange>)]
    changes: Vec<ChangeRequest>,
}

/// What changes of one example: either `label` or `remove`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it stands for the engine's type in the OpenAPI document")]
pub(crate) struct LabelChange {
    /// The example's number.
    example: usize,
    /// The class it is of.
    label: Option<String>,
    /// `true`: it is left out.
    #[schema(required = false)]
    remove: bool,
}

pub(crate) async fn relabel(app: App, Path(id): Path<String>, headers: HeaderMap, body: JsonBody) -> Answered {
    let id = dataset_id(&id)?;
    let wanted: Relabel = body.parse()?;
    let service = app.service().clone();
    let scope = format!("POST /v1/datasets/{id}/relabel");
    idempotency::once(&app, &scope, &headers, &body.0, async move {
        let record = service.relabel_dataset(&id, wanted.name.as_deref(), &wanted.changes).await?;
        let location = [(header::LOCATION, format!("/v1/datasets/{}", record.id))];
        Ok((StatusCode::CREATED, location, Json(Dataset::from(record))).into_response())
    })
    .await
}

/// The newest search, if anyone asked for one.
pub(crate) async fn newest(app: &App, id: &DatasetId) -> Result<Option<AnalysisView<DoubtReport>>, Problem> {
    match app.service().doubts(id).await {
        Ok(view) => Ok(Some(view)),
        Err(error) if error.code() == kindling_spec::ErrorCode::AnalysisNotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
