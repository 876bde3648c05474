//! `/healthz`: the process answers. `/readyz`: what it stands on can be read and written.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kindling_engine::Service;
use kindling_spec::ErrorCode;
use serde::Serialize;
use std::convert::Infallible;
use std::fmt::Display;
use std::io::Write;
use std::time::Duration;
use utoipa::ToSchema;

use crate::figures::WorkerState;
use crate::{Problem, app::Host, app::now_ms};

/// What has not answered by then does not work: a probe has an answer before its sender gives up.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// What the service stands on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Requests can be served: database, queue, files and disk work.
    ready: bool,
    /// The database answers and can be written.
    database: bool,
    /// The queue answers and can be written.
    queue: bool,
    /// The object store can be written and read.
    files: bool,
    /// The data directory can be written.
    disk: bool,
    /// Worker processes seen lately. Without one nothing is trained, but everything else works.
    workers: usize,
}

/// What works.
#[derive(Debug)]
pub(crate) struct Probe {
    database: bool,
    queue: bool,
    files: bool,
    disk: bool,
}

impl Probe {
    async fn look(service: &Service) -> Self {
        let store = service.store();
        let data_dir = service.data_dir().to_owned();
        let write = move || tempfile::tempfile_in(data_dir).and_then(|mut file| file.write_all(b"ready"));
        let disk = async { tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other)? };
        let (database, queue, files, disk) = tokio::join!(
            works("database", store.meta.ping()),
            works("queue", store.queue.ping()),
            works("object store", store.files.ping()),
            works("data directory", disk),
        );
        Self { database, queue, files, disk }
    }

    /// What does not work, in words.
    fn faults(&self) -> Vec<&'static str> {
        let parts = [
            (self.database, "the database cannot be written"),
            (self.queue, "the queue cannot be written"),
            (self.files, "the object store cannot be written or read"),
            (self.disk, "the data directory cannot be written"),
        ];
        parts.into_iter().filter(|(works, _)| !works).map(|(_, fault)| fault).collect()
    }
}

async fn works<E: Display>(what: &str, probe: impl Future<Output = Result<(), E>>) -> bool {
    match tokio::time::timeout(PATIENCE, probe).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(%error, "not ready: {what}");
            false
        }
        Err(_) => {
            tracing::error!("not ready: {what}: no answer within {PATIENCE:?}");
            false
        }
    }
}

pub(crate) async fn ready(State(host): State<Host>) -> Result<Response, Problem> {
    if host.stopping().is_cancelled() {
        return Err(Problem::new(ErrorCode::Unavailable, "the service is stopping; another may be running"));
    }
    let service = host.whole_service();
    let probe = host.probe().get(async { Ok::<_, Infallible>(Probe::look(service).await) }).await;
    let probe = probe.unwrap_or_else(|never| match never {});
    let faults = probe.faults();
    if !faults.is_empty() {
        return Err(Problem::new(ErrorCode::Unavailable, faults.join("; ")));
    }
    let now = now_ms();
    let workers = service.store().meta.workers().await?;
    let workers = workers.iter().filter(|worker| WorkerState::of(worker, now) != WorkerState::Silent).count();
    let Probe { database, queue, files, disk } = *probe;
    Ok(Json(Readiness { ready: true, database, queue, files, disk, workers }).into_response())
}
