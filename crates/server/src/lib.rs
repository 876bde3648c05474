//! The HTTP API, its events and the pages, over an engine's [`Service`].
//!
//! The only crate that knows HTTP. It decides nothing: what may be done, and how, is the engine's. Knows
//! nothing of training, search, SQL or file formats beyond handing their bytes out.
//!
//! Every route stands in one table ([`routes`](mod@routes)) from which both the router and the OpenAPI
//! document are made, so neither can forget the other.

#![forbid(unsafe_code)]

mod access;
mod api;
mod app;
mod bodies;
mod figures;
mod files;
mod idempotency;
mod metrics;
mod middleware;
mod openapi;
mod pages;
mod parameters;
mod problem;
mod request;
mod routes;
mod views;
mod webhooks;
mod words;

use kindling_engine::Service;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use openapi::document as openapi_document;
pub use problem::{About, Problem, about};
pub use webhooks::run_webhooks;

/// What the server accepts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of an uploaded archive.
    pub max_upload_bytes: u64,
    /// Bytes of a JSON body.
    pub max_json_bytes: usize,
    /// Bytes of an image to predict.
    pub max_image_bytes: usize,
    /// Silence after which an upload is given up.
    pub upload_idle: Duration,
    /// How long a JSON body may take to arrive.
    pub json_time: Duration,
    /// Requests a second that are answered of one key, and, where there are no keys, of one address elsewhere.
    pub requests_per_second: NonZeroU32,
    /// Wrong keys a minute that are looked at from one address.
    pub wrong_keys_per_minute: NonZeroU32,
    /// How long a key that was good counts as good without being looked up again: so long a revoked one still works.
    pub key_memory: Duration,
    /// How long what /metrics, /readyz and the page of the service found counts, so that who asks often costs little.
    pub status_memory: Duration,
    /// Whether webhooks may lead to this machine and its own network.
    pub private_webhooks: bool,
    /// How long requests are still answered once the server is asked to stop, `/readyz` saying so, for what stands before
    /// several servers to send them elsewhere.
    pub drain: Duration,
    /// How long open requests may go on once the server is asked to stop.
    pub shutdown_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_upload_bytes: 8 << 30,
            max_json_bytes: 1 << 20,
            max_image_bytes: 32 << 20,
            upload_idle: Duration::from_secs(120),
            json_time: Duration::from_secs(30),
            requests_per_second: NonZeroU32::new(600).unwrap_or(NonZeroU32::MIN),
            wrong_keys_per_minute: NonZeroU32::new(20).unwrap_or(NonZeroU32::MIN),
            key_memory: Duration::from_secs(2),
            status_memory: Duration::from_secs(3),
            private_webhooks: false,
            drain: Duration::ZERO,
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// Everything under one router, with the default [`Config`].
pub fn router(service: Service) -> axum::Router {
    router_with(service, Config::default(), CancellationToken::new())
}

/// Everything under one router. Event streams end when `stopping` is cancelled.
pub fn router_with(service: Service, config: Config, stopping: CancellationToken) -> axum::Router {
    routes::router(app::Host::new(service, config, stopping))
}

/// Serves until `shutdown` is ready and for [`Config::drain`] longer, then lets open requests end within
/// [`Config::shutdown_grace`].
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    serve_with(listener, service, Config::default(), shutdown).await
}

/// As [`serve`], with a [`Config`].
///
/// # Errors
/// The listener failed.
pub async fn serve_with(
    listener: TcpListener,
    service: Service,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let stopping = CancellationToken::new();
    let (drain, grace) = (config.drain, config.shutdown_grace);
    let router = router_with(service, config, stopping.clone());
    let announced = stopping.clone();
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        announced.cancel();
        tokio::time::sleep(drain).await;
    });
    tokio::select! {
        served = server => served,
        () = async { stopping.cancelled().await; tokio::time::sleep(drain + grace).await } => {
            tracing::warn!("requests still open after {grace:?} are cut off");
            Ok(())
        }
    }
}
