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

impl Readiness {
    async fn look(service: &Service) -> Self {
        let store = service.store();
        let data_dir = service.data_dir().to_owned();
        let write = move || tempfile::tempfile_in(data_dir).and_then(|mut file| file.write_all(b"ready"));
        let disk = async { tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other)? };
        let (database, workers, queue, files, disk) = tokio::join!(
            works("database", store.meta.ping()),
            works("workers", store.meta.workers()),
            works("queue", store.queue.ping()),
            works("object store", store.files.ping()),
            works("data directory", disk),
        );
        let (database, queue, files, disk) =
            (database.is_some() && workers.is_some(), queue.is_some(), files.is_some(), disk.is_some());
        let now = now_ms();
        let workers = workers.unwrap_or_default().iter().filter(|worker| !worker.is_silent(now)).count();
        Self { ready: database && queue && files && disk, database, queue, files, disk, workers }
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

/// What a part answers in time, if it does.
async fn works<T, E: Display>(what: &str, probe: impl Future<Output = Result<T, E>>) -> Option<T> {
    match tokio::time::timeout(PATIENCE, probe).await {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => tracing::error!(%error, "not ready: {what}"),
        Err(_) => tracing::error!("not ready: {what}: no answer within {PATIENCE:?}"),
    }
    None
}

pub(crate) async fn ready(State(host): State<Host>) -> Result<Response, Problem> {
    if host.stopping().is_cancelled() {
        return Err(Problem::new(ErrorCode::Unavailable, "the service is stopping; another may be running"));
    }
    let service = host.whole_service();
    let readiness = host.readiness().get(async { Ok::<_, Infallible>(Readiness::look(service).await) }).await;
    let readiness = readiness.unwrap_or_else(|never| match never {});
    if !readiness.ready {
        return Err(Problem::new(ErrorCode::Unavailable, readiness.faults().join("; ")));
    }
    Ok(Json(&*readiness).into_response())
}
