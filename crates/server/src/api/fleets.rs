//! Fleets: posted, watched, cancelled, compared, taken away.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use kindling_engine::{FleetContent, FleetFile, Service};
use kindling_export::zip_files;
use kindling_spec::FleetId;
use kindling_store::FleetRecord;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Cursor, Read, Seek, Write};

use super::Answered;
use crate::request::{JsonBody, Page, Query, fleet_id};
use crate::views::{Fleet, List};
use crate::{Problem, app::App, files, idempotency};

async fn view(service: &Service, record: FleetRecord) -> Result<Fleet, Problem> {
    let status = service.fleet_status(&record).await?;
    Fleet::new(record, status).map_err(Problem::internal)
}

pub(crate) async fn create(app: App, headers: HeaderMap, body: JsonBody) -> Answered {
    let kindling_spec::Json(spec) = body.parse()?;
    let service = app.service().clone();
    idempotency::once(&app, "POST /v1/fleets", &headers, &body.0, async move {
        let record = service.create_fleet(&spec).await?;
        let location = [(header::LOCATION, format!("/v1/fleets/{}", record.id))];
        Ok((StatusCode::CREATED, location, Json(view(&service, record).await?)).into_response())
    })
    .await
}

pub(crate) async fn list(app: App, Query(page): Query<Page>) -> Answered {
    let limit = page.limit()?;
    let records = app.meta().fleets(Some(app.project()), page.after::<FleetId>()?.as_ref(), limit + 1).await?;
    let List { items: records, next } = List::page(records, limit as usize, |record| record.id.to_string());
    let mut items = Vec::new();
    for record in records {
        items.push(view(app.service(), record).await?);
    }
    Ok(Json(List { items, next }).into_response())
}

pub(crate) async fn get(app: App, Path(id): Path<String>) -> Answered {
    let record = app.service().fleet(&fleet_id(&id)?).await?;
    Ok(Json(view(app.service(), record).await?).into_response())
}

pub(crate) async fn delete(app: App, Path(id): Path<String>) -> Answered {
    app.service().delete_fleet(&fleet_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn cancel(app: App, Path(id): Path<String>, headers: HeaderMap, body: JsonBody) -> Answered {
    let id = fleet_id(&id)?;
    let service = app.service().clone();
    let scope = format!("POST /v1/fleets/{id}/cancel");
    idempotency::once(&app, &scope, &headers, &body.0, async move {
        let record = service.cancel_fleet(&id).await?;
        Ok(Json(view(&service, record).await?).into_response())
    })
    .await
}

pub(crate) async fn report(app: App, Path(id): Path<String>) -> Answered {
    Ok(Json(app.service().fleet_report(&fleet_id(&id)?).await?).into_response())
}

pub(crate) async fn bundle(app: App, Path(id): Path<String>, headers: HeaderMap) -> Answered {
    let id = fleet_id(&id)?;
    let parts = app.service().fleet_bundle(&id).await?;
    // The zip is stored with fixed times: what is in it decides every byte.
    let mut tag = Sha256::new();
    for part in &parts {
        tag.update(format!("{} {}\n", part.sha256, part.path));
    }
    let tag = files::hex(&tag.finalize());
    let scratch = app.service().data_dir().to_owned();
    let (file, bytes) = tokio::task::spawn_blocking(move || pack(parts, &scratch))
        .await
        .map_err(Problem::internal)?
        .map_err(Problem::internal)?;
    let name = format!("kindling-{id}.zip");
    let offer = files::Offer { file, bytes, sha256: &tag, media_type: "application/zip", name: &name };
    // Unlike a model's, a fleet's bundle changes when a specialist does: it must be asked for again each time.
    let mut response = files::hand_out(&headers, offer).await?;
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Packs into a nameless file on the data directory's disk, gone when it is closed.
fn pack(parts: Vec<FleetFile>, scratch: &std::path::Path) -> Result<(File, u64), kindling_export::ExportError> {
    let io = |error: std::io::Error| kindling_export::ExportError::Zip(error.to_string());
    let open = |part: FleetFile| -> std::io::Result<(String, Box<dyn Read>)> {
        let content: Box<dyn Read> = match part.content {
            FleetContent::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            FleetContent::File(path) => Box::new(File::open(path)?),
        };
        Ok((part.path, content))
    };
    let parts = parts.into_iter().map(open).collect::<std::io::Result<Vec<_>>>().map_err(io)?;
    let mut file = zip_files(parts, tempfile::tempfile_in(scratch).map_err(io)?)?;
    file.flush().map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    file.rewind().map_err(io)?;
    Ok((file, bytes))
}
