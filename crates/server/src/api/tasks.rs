//! Tasks: posted, watched, cancelled, resumed.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use kindling_engine::Service;
use kindling_spec::{Budget, TaskId};
use kindling_store::TaskRecord;

use super::Answered;
use crate::request::{JsonBody, Page, Query, task_id};
use crate::views::{List, MoreBudget, Task, TaskWithProgress, Trial};
use crate::{Problem, app::App, idempotency};

async fn view(service: &Service, record: TaskRecord) -> Result<TaskWithProgress, Problem> {
    let progress = service.progress_of(&record).await?;
    let task = Task::try_from(record).map_err(Problem::internal)?;
    Ok(TaskWithProgress { task, best: progress.best.clone(), progress })
}

pub(crate) async fn create(app: App, headers: HeaderMap, body: JsonBody) -> Answered {
    let kindling_spec::Json(spec) = body.parse()?;
    let service = app.service().clone();
    idempotency::once(&app, "POST /v1/tasks", &headers, &body.0, async move {
        let record = service.create_task(&spec).await?;
        let location = [(header::LOCATION, format!("/v1/tasks/{}", record.id))];
        Ok((StatusCode::CREATED, location, Json(view(&service, record).await?)).into_response())
    })
    .await
}

pub(crate) async fn list(app: App, Query(page): Query<Page>) -> Answered {
    let limit = page.limit()?;
    let records = app.meta().tasks(Some(app.project()), page.after()?.as_ref(), limit + 1).await?;
    let List { items, next } = List::page(records, limit as usize, |record| record.id.to_string());
    let items = items.into_iter().map(Task::try_from).collect::<Result<Vec<_>, _>>().map_err(Problem::internal)?;
    Ok(Json(List { items, next }).into_response())
}

pub(crate) async fn get(app: App, Path(id): Path<String>) -> Answered {
    let record = app.service().task(&task_id(&id)?).await?;
    Ok(Json(view(app.service(), record).await?).into_response())
}

pub(crate) async fn delete(app: App, Path(id): Path<String>) -> Answered {
    app.service().delete_task(&task_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn cancel(app: App, Path(id): Path<String>, headers: HeaderMap, body: JsonBody) -> Answered {
    let id = task_id(&id)?;
    let service = app.service().clone();
    let scope = format!("POST /v1/tasks/{id}/cancel");
    idempotency::once(&app, &scope, &headers, &body.0, async move {
        let record = service.cancel_task(&id).await?;
        Ok(Json(view(&service, record).await?).into_response())
    })
    .await
}

pub(crate) async fn resume(app: App, Path(id): Path<String>, headers: HeaderMap, body: JsonBody) -> Answered {
    let id = task_id(&id)?;
    let more: MoreBudget = body.parse_or_default()?;
    if more.trials.is_some_and(|n| !(1..=100_000).contains(&n)) || more.seconds.is_some_and(|s| s.is_nan() || s <= 0.0)
    {
        let detail = "`seconds` and `trials` are added to the budget and must be above 0, of trials 100000 at most";
        return Err(Problem::request(detail));
    }
    let more = Budget { seconds: more.seconds, trials: more.trials };
    let service = app.service().clone();
    let scope = format!("POST /v1/tasks/{id}/resume");
    idempotency::once(&app, &scope, &headers, &body.0, async move {
        let record = service.resume_task(&id, more).await?;
        Ok(Json(view(&service, record).await?).into_response())
    })
    .await
}

/// The id of a task that is there.
async fn known(app: &App, id: &str) -> Result<TaskId, Problem> {
    Ok(app.service().task(&task_id(id)?).await?.id)
}

pub(crate) async fn trials(app: App, Path(id): Path<String>, Query(page): Query<Page>) -> Answered {
    let limit = page.limit()?;
    let id = known(&app, &id).await?;
    let records = app.meta().trials(&id, page.after()?, limit + 1).await?;
    let list = List::page(records, limit as usize, |record| record.number.to_string());
    Ok(Json(list.map(Trial::from)).into_response())
}

pub(crate) async fn leaderboard(app: App, Path(id): Path<String>, Query(page): Query<Page>) -> Answered {
    let limit = page.limit()? as usize;
    let id = known(&app, &id).await?;
    let after = page.after::<kindling_spec::ModelId>()?;
    let entries = app.service().leaderboard(&id).await?;
    let first = match &after {
        None => 0,
        Some(last) => entries.iter().position(|entry| entry.model == *last).map_or(entries.len(), |at| at + 1),
    };
    let rest = entries.into_iter().skip(first).take(limit + 1).collect();
    Ok(Json(List::page(rest, limit, |entry| entry.model.to_string())).into_response())
}
