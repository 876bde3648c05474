//! What would make a task's models better: asked for, and told.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use kindling_engine::{AdviceOptions, AdviceReport, AnalysisView};
use kindling_spec::TaskId;
use serde::Serialize;
use utoipa::ToSchema;

use super::Answered;
use super::doubts::Analysis;
use crate::request::{JsonBody, task_id};
use crate::{Problem, app::App, idempotency};

/// What `POST /v1/tasks/{id}/advice` takes.
#[derive(ToSchema)]
#[schema(as = AdviceOptions)]
#[expect(dead_code, reason = "it stands for the engine's type in the OpenAPI document")]
pub(crate) struct AdviceOptionsView {
    /// Trainings of each share of the examples; 2 when left out.
    #[schema(minimum = 1, maximum = 5)]
    repeats: Option<u32>,
    /// Epochs on all examples; when left out as many as show 300,000 pictures in all, from 6 to 40.
    #[schema(minimum = 1, maximum = 200)]
    epochs: Option<u32>,
}

/// The advice on a task.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaskAdvice)]
pub(crate) struct TaskAdvice {
    #[serde(flatten)]
    analysis: Analysis,
    /// Once complete: `advice` (each `lever`, which is `examples`, `size` or `time`, what there is `now`, and the
    /// `gain` of twice as much with its 95% interval, or a `note`), the most promising first; `classes` with the
    /// gain that each one's examples account for; `doubled`, the error to expect with twice the examples; the
    /// learning `curve`; `family`, `trial`, `validation`, `epochs`, `seconds`. Gains and errors are shares of the
    /// validation examples.
    #[schema(value_type = Option<Object>)]
    report: Option<AdviceReport>,
}

pub(crate) async fn start(app: App, Path(id): Path<String>, headers: HeaderMap, body: JsonBody) -> Answered {
    let id = task_id(&id)?;
    let options: AdviceOptions = body.parse_or_default()?;
    let service = app.service().clone();
    let scope = format!("POST /v1/tasks/{id}/advice");
    idempotency::once(&app, &scope, &headers, &body.0, async move {
        let record = service.seek_advice(&id, &options).await?;
        let location = [(header::LOCATION, format!("/v1/tasks/{id}/advice"))];
        Ok((StatusCode::ACCEPTED, location, Json(Analysis::from(record))).into_response())
    })
    .await
}

pub(crate) async fn get(app: App, Path(id): Path<String>) -> Answered {
    let AnalysisView { record, report } = app.service().advice(&task_id(&id)?).await?;
    Ok(Json(TaskAdvice { analysis: record.into(), report }).into_response())
}

/// The newest advice, if anyone asked for some.
pub(crate) async fn newest(app: &App, id: &TaskId) -> Result<Option<AnalysisView<AdviceReport>>, Problem> {
    match app.service().advice(id).await {
        Ok(view) => Ok(Some(view)),
        Err(error) if error.code() == kindling_spec::ErrorCode::AnalysisNotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
