//! Models: the card, the files, answers and mistakes.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;

use super::Answered;
use crate::request::{Page, Query, model_id};
use crate::views::{FileView, List, MistakeView};
use crate::{Problem, app::App, files};

pub(crate) async fn card(app: App, Path(id): Path<String>) -> Answered {
    Ok(Json(app.service().model(&model_id(&id)?).await?.card).into_response())
}

pub(crate) async fn delete(app: App, Path(id): Path<String>) -> Answered {
    app.service().delete_model(&model_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn list_files(app: App, Path(id): Path<String>, Query(page): Query<Page>) -> Answered {
    let limit = page.limit()? as usize;
    let model = app.service().model(&model_id(&id)?).await?;
    let after = page.after.as_deref();
    let first = after.map_or(0, |last| model.files.iter().position(|f| f.name == last).map_or(usize::MAX, |i| i + 1));
    let rest = model.files.into_iter().skip(first).take(limit + 1).collect();
    let list = List::page(rest, limit, |file: &kindling_store::FileRecord| file.name.clone());
    Ok(Json(list.map(|file| FileView::new(&model.id, file))).into_response())
}

/// Makes the files that are made last, for a model that a study did not pick, or before it is over.
pub(crate) async fn make_files(app: App, Path(id): Path<String>) -> Answered {
    let id = model_id(&id)?;
    let _permit = app.decoders().acquire().await.map_err(Problem::internal)?;
    app.service().finish_model(&id).await?;
    Ok(Json(app.service().model(&id).await?.card).into_response())
}

pub(crate) async fn file(app: App, Path((id, name)): Path<(String, String)>, headers: HeaderMap) -> Answered {
    let (record, path) = app.service().model_file(&model_id(&id)?, &name).await?;
    let file = tokio::fs::File::open(&path).await.map_err(Problem::internal)?.into_std().await;
    let offer = files::Offer {
        file,
        bytes: record.bytes,
        sha256: &record.sha256,
        media_type: &record.media_type,
        name: &record.name,
    };
    files::hand_out(&headers, offer).await
}

pub(crate) async fn mistakes(app: App, Path(id): Path<String>, Query(page): Query<Page>) -> Answered {
    let limit = page.limit()? as usize;
    let after = page.after::<usize>()?;
    let model = app.service().model(&model_id(&id)?).await?;
    let dataset = app.service().task(&model.task).await?.dataset;
    let mut all = app.service().mistakes(&model.id).await?;
    all.sort_by_key(|mistake| mistake.example);
    let rest = all.into_iter().filter(|m| after.is_none_or(|last| m.example > last)).take(limit + 1).collect();
    let list = List::page(rest, limit, |mistake: &kindling_engine::Mistake| mistake.example.to_string());
    Ok(Json(list.map(|mistake| MistakeView::new(&dataset, mistake))).into_response())
}
