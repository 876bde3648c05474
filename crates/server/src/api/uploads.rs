//! Archives in parts: begun, sent in any order over any number of connections, completed.

use axum::Json;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use kindling_spec::DatasetId;
use kindling_store::{PartRecord, UploadRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Answered;
use super::upload::{Unfinished, accepts, check_digest, prefers_async, receive, started};
use crate::request::{JsonBody, upload_id};
use crate::views::Dataset;
use crate::{Problem, app::App, files::hex, idempotency, request::content_length};

/// What `POST /v1/uploads` takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUpload {
    /// The data set whose content it will be.
    #[schema(value_type = String)]
    dataset: DatasetId,
    /// Bytes of the whole archive.
    #[schema(minimum = 1, maximum = 10737418240000u64)]
    bytes: u64,
    /// Bytes of each part but the last, 65536 to 1073741824; left out, 33554432 or what 10,000 parts need.
    #[serde(default)]
    #[schema(minimum = 65536, maximum = 1073741824)]
    part_bytes: Option<u64>,
}

/// A part that is here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UploadPart {
    /// Its number, from 0.
    number: u32,
    /// Its size.
    bytes: u64,
    /// SHA-256 of its content, hexadecimal.
    sha256: String,
}

impl From<PartRecord> for UploadPart {
    fn from(PartRecord { number, bytes, sha256 }: PartRecord) -> Self {
        Self { number, bytes, sha256 }
    }
}

/// An archive that arrives in parts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Upload {
    /// Its id.
    id: String,
    /// The data set whose content it will be.
    dataset: String,
    /// Bytes of the whole archive.
    bytes: u64,
    /// Bytes of each part but the last.
    part_bytes: u64,
    /// The parts that are here, by number.
    parts: Vec<UploadPart>,
    /// When it was begun.
    created_at: i64,
}

impl From<UploadRecord> for Upload {
    fn from(record: UploadRecord) -> Self {
        Self {
            id: record.id.into(),
            dataset: record.dataset.into(),
            bytes: record.bytes,
            part_bytes: record.part_bytes,
            parts: record.parts.into_iter().map(UploadPart::from).collect(),
            created_at: record.created_at,
        }
    }
}

pub(crate) async fn begin(app: App, headers: HeaderMap, body: JsonBody) -> Answered {
    let NewUpload { dataset, bytes, part_bytes } = body.parse()?;
    accepts(&app.service().dataset(&dataset).await?)?;
    let service = app.service().clone();
    idempotency::once(&app, "POST /v1/uploads", &headers, &body.0, async move {
        let record = service.begin_upload(&dataset, bytes, part_bytes).await?;
        let location = [(header::LOCATION, format!("/v1/uploads/{}", record.id))];
        Ok((StatusCode::CREATED, location, Json(Upload::from(record))).into_response())
    })
    .await
}

pub(crate) async fn get(app: App, Path(id): Path<String>) -> Answered {
    let record = app.service().upload(&upload_id(&id)?).await?;
    Ok(Json(Upload::from(record)).into_response())
}

pub(crate) async fn put_part(app: App, Path((id, number)): Path<(String, String)>, request: Request) -> Answered {
    let upload = app.service().upload(&upload_id(&id)?).await?;
    let number: u32 = number.parse().map_err(|_| {
        let shown: String = number.chars().take(20).collect();
        Problem::request(format!("parts are numbered from 0; `{shown}` is no number of one"))
    })?;
    let expected = app.service().part_bytes(&upload, number)?;
    let headers = request.headers().clone();
    let differs = || {
        let detail = format!("part {number} has {expected} bytes; send these and no others");
        Problem::request(detail)
    };
    if content_length(&headers).is_some_and(|length| length != expected) {
        return Err(differs());
    }
    let path = app.service().upload_path(&upload.dataset);
    // Removed at the end in any case: what is kept is a copy among the files.
    let unfinished = Unfinished(Some(path.clone()));
    let hash = receive(request.into_body(), &path, expected, app.config().upload_idle).await.map_err(|problem| {
        if problem.code == kindling_spec::ErrorCode::ArchiveTooLarge { differs() } else { problem }
    })?;
    check_digest(&headers, &hash)?;
    let part = app.service().keep_part(&upload, number, &path, hex(&hash)).await?;
    drop(unfinished);
    Ok(Json(UploadPart::from(part)).into_response())
}

pub(crate) async fn complete(app: App, Path(id): Path<String>, headers: HeaderMap) -> Answered {
    let upload = app.service().upload(&upload_id(&id)?).await?;
    app.service().check_whole(&upload)?;
    let dataset = upload.dataset.clone();
    accepts(&app.service().dataset(&dataset).await?)?;
    let service = app.service().clone();
    // On a task of its own: a client who hangs up now has delivered everything.
    let sealed = tokio::spawn(async move { service.complete_upload(&upload).await });
    if prefers_async(&headers) {
        return started(&app, &dataset, || sealed.is_finished()).await;
    }
    let record = sealed.await.map_err(Problem::internal)??;
    Ok(Json(Dataset::from(record)).into_response())
}

pub(crate) async fn give_up(app: App, Path(id): Path<String>) -> Answered {
    app.service().drop_upload(&upload_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
