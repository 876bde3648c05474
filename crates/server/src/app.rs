//! What every handler shares.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use kindling_engine::Service;
use kindling_spec::{KeyId, ProjectId, Scope};
use kindling_store::{Metadata, Store};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::api::health::Readiness;
use crate::figures::{self, Figures, Kept};
use crate::{Config, Problem, metrics::HttpMetrics};

/// Pictures decoded at a time for thumbnails and predictions; each may take hundreds of megabytes.
const DECODERS: usize = 4;

/// The state behind the router; clones share it. What it sees is of all projects: handlers that show or change
/// anything of a project's ask for an [`App`] instead.
#[derive(Clone)]
pub(crate) struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    config: Config,
    access: Access,
    metrics: HttpMetrics,
    figures: Kept<Figures>,
    readiness: Kept<Readiness>,
    decoders: Semaphore,
    stopping: CancellationToken,
}

impl Host {
    pub(crate) fn new(service: Service, config: Config, stopping: CancellationToken) -> Self {
        let access = Access::new(&service, &config);
        let (metrics, decoders) = (HttpMetrics::default(), Semaphore::new(DECODERS));
        let (figures, readiness) = (Kept::new(config.status_memory), Kept::new(config.status_memory));
        Self { inner: Arc::new(Inner { service, config, access, metrics, figures, readiness, decoders, stopping }) }
    }

    /// The service as who runs it sees it: every project's.
    pub(crate) fn whole_service(&self) -> &Service {
        &self.inner.service
    }

    pub(crate) fn access(&self) -> &Access {
        &self.inner.access
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn metrics(&self) -> &HttpMetrics {
        &self.inner.metrics
    }

    /// Figures of the whole service, some seconds old at most.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn figures(&self) -> Result<Arc<Figures>, Problem> {
        figures::of(&self.inner.service, &self.inner.figures).await
    }

    /// What was last found of what the service stands on.
    pub(crate) fn readiness(&self) -> &Kept<Readiness> {
        &self.inner.readiness
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.inner.stopping
    }
}

/// The service as who asks may see it: one project's data and nothing else. It is made when a request is let in.
#[derive(Clone)]
pub(crate) struct App {
    host: Host,
    service: Service,
    project: ProjectId,
    key: Option<KeyId>,
    scope: Scope,
}

impl App {
    /// `service` sees the project only; `key` is the one that it was let in by, if there are keys, and `scope` what it may.
    pub(crate) fn new(host: &Host, service: Service, project: ProjectId, key: Option<KeyId>, scope: Scope) -> Self {
        Self { host: host.clone(), service, project, key, scope }
    }

    /// What who asks may do.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    fn store(&self) -> &Store {
        self.service.store()
    }

    pub(crate) fn meta(&self) -> &dyn Metadata {
        &*self.store().meta
    }

    pub(crate) fn project(&self) -> &ProjectId {
        &self.project
    }

    pub(crate) fn config(&self) -> &Config {
        self.host.config()
    }

    pub(crate) fn decoders(&self) -> &Semaphore {
        &self.host.inner.decoders
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        self.host.stopping()
    }

    /// Whether who asked would still be let in: for answers that go on for hours.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn is_still_welcome(&self) -> Result<bool, Problem> {
        match &self.key {
            Some(key) => Ok(self.host.whole_service().is_key_valid(key).await?),
            None => Ok(!self.host.access().has_keys(self.host.whole_service()).await?),
        }
    }
}

impl FromRequestParts<Host> for App {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Host) -> Result<Self, Problem> {
        let app = parts.extensions.get::<Self>().cloned();
        app.ok_or_else(|| Problem::internal("a public route wants to know whose data it may show"))
    }
}

/// Now, in Unix milliseconds, by the clock that records are written by.
pub(crate) use kindling_engine::now_ms;
