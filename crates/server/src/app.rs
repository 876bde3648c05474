//! What every handler shares.

use kindling_engine::Service;
use kindling_spec::ProjectId;
use kindling_store::{Metadata, Store};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{Config, metrics::HttpMetrics};

/// Pictures decoded at a time for thumbnails and predictions; each may take hundreds of megabytes.
const DECODERS: usize = 4;

/// The state behind the router; clones share it.
#[derive(Clone)]
pub(crate) struct App {
    inner: Arc<Inner>,
}

struct Inner {
    service: Service,
    config: Config,
    metrics: HttpMetrics,
    decoders: Semaphore,
    stopping: CancellationToken,
}

impl App {
    pub(crate) fn new(service: Service, config: Config, stopping: CancellationToken) -> Self {
        let decoders = Semaphore::new(DECODERS);
        Self { inner: Arc::new(Inner { service, config, metrics: HttpMetrics::default(), decoders, stopping }) }
    }

    pub(crate) fn service(&self) -> &Service {
        &self.inner.service
    }

    pub(crate) fn store(&self) -> &Store {
        self.inner.service.store()
    }

    pub(crate) fn meta(&self) -> &dyn Metadata {
        &*self.store().meta
    }

    /// Whose things are seen and made.
    pub(crate) fn project(&self) -> ProjectId {
        ProjectId::local()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn metrics(&self) -> &HttpMetrics {
        &self.inner.metrics
    }

    pub(crate) fn decoders(&self) -> &Semaphore {
        &self.inner.decoders
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.inner.stopping
    }
}

/// Now, in Unix milliseconds, by the clock that records are written by.
pub(crate) use kindling_engine::now_ms;
