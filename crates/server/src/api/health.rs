//! `/healthz`: the process answers. `/readyz`: what it stands on works.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kindling_store::WorkerRecord;
use serde::Serialize;
use std::io::Write;
use utoipa::ToSchema;

use crate::{app::Host, app::now_ms, middleware::Final};

/// A worker silent for longer is not counted.
const WORKER_SILENCE_MS: i64 = 20_000;

/// Whether the worker was seen lately.
pub(crate) fn is_live(worker: &WorkerRecord) -> bool {
    now_ms() - worker.seen_at <= WORKER_SILENCE_MS
}

pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// What the service stands on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Requests can be served: database, queue, files and disk work.
    ready: bool,
    /// The database answers.
    database: bool,
    /// The queue answers.
    queue: bool,
    /// The object store answers.
    files: bool,
    /// The data directory can be written.
    disk: bool,
    /// Worker processes seen lately. Without one nothing is trained, but everything else works.
    workers: usize,
}

pub(crate) async fn ready(State(host): State<Host>) -> Response {
    let service = host.whole_service();
    let database = logged("database", service.store().meta.ping().await);
    let queue = logged("queue", service.store().queue.ping().await);
    let files = logged("files", service.store().files.ping().await);
    let data_dir = service.data_dir().to_owned();
    let write = move || tempfile::tempfile_in(data_dir).and_then(|mut file| file.write_all(b"ready"));
    let disk = match tokio::task::spawn_blocking(write).await {
        Ok(result) => logged("disk", result),
        Err(error) => logged("disk", Err(error)),
    };
    let workers = match service.store().meta.workers().await {
        Ok(workers) => workers.iter().filter(|w| is_live(w)).count(),
        Err(_) => 0,
    };
    let ready = database && queue && files && disk;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, Json(Readiness { ready, database, queue, files, disk, workers })).into_response();
    response.extensions_mut().insert(Final);
    response
}

fn logged<E: std::fmt::Display>(what: &str, result: Result<(), E>) -> bool {
    if let Err(error) = &result {
        tracing::error!(%error, "not ready: {what}");
    }
    result.is_ok()
}
