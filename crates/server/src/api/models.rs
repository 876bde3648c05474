//! Models: the card, the files, answers and mistakes.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use kindling_spec::ErrorCode;

use super::Answered;
use crate::request::{self, Page, Query, model_id};
use crate::views::{Answer, FileView, List, MistakeView};
use crate::{Problem, app::App, files};

pub(crate) async fn card(State(app): State<App>, Path(id): Path<String>) -> Answered {
    Ok(Json(app.service().model(&model_id(&id)?).await?.card).into_response())
}

pub(crate) async fn list_files(State(app): State<App>, Path(id): Path<String>, Query(page): Query<Page>) -> Answered {
    let limit = page.limit()? as usize;
    let model = app.service().model(&model_id(&id)?).await?;
    let after = page.after.as_deref();
    let first = after.map_or(0, |last| model.files.iter().position(|f| f.name == last).map_or(usize::MAX, |i| i + 1));
    let rest = model.files.into_iter().skip(first).take(limit + 1).collect();
    let list = List::page(rest, limit, |file: &kindling_store::FileRecord| file.name.clone());
    Ok(Json(list.map(|file| FileView::new(&model.id, file))).into_response())
}

/// Makes the files that are made last, for a model that a study did not pick, or before it is over.
pub(crate) async fn make_files(State(app): State<App>, Path(id): Path<String>) -> Answered {
    let id = model_id(&id)?;
    let _permit = app.decoders().acquire().await.map_err(Problem::internal)?;
    app.service().finish_model(&id).await?;
    Ok(Json(app.service().model(&id).await?.card).into_response())
}

pub(crate) async fn file(
    State(app): State<App>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answered {
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

pub(crate) async fn predict(State(app): State<App>, Path(id): Path<String>, request: Request) -> Answered {
    let id = model_id(&id)?;
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if media_type.starts_with("multipart/") || media_type.starts_with("application/json") {
        let shown: String = media_type.chars().take(60).collect();
        let detail = format!(
            "the body must be the image's own bytes, not {shown}: curl --data-binary @picture.jpg -H 'content-type: \
             image/jpeg'"
        );
        return Err(Problem::request(detail).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let limit = app.config().max_image_bytes;
    let too_large = || {
        let detail = format!("the image has more than {limit} bytes, the most accepted here");
        Problem::new(ErrorCode::ImageTooLarge, detail)
    };
    let image = request::read(request, limit, too_large).await?;
    if image.is_empty() {
        return Err(Problem::request("the body is empty; send the image's own bytes"));
    }
    let _permit = app.decoders().acquire().await.map_err(Problem::internal)?;
    let prediction = app.service().predict(&id, &image).await?;
    Ok(Json(Answer::new(&id, prediction)).into_response())
}

pub(crate) async fn mistakes(State(app): State<App>, Path(id): Path<String>, Query(page): Query<Page>) -> Answered {
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
