//! Logs, and traces for who collects them.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::Duration;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The target of spans that are for collectors of traces and not for the log.
const TRACES: &str = "traces";
/// How long the end of the process may take for the last spans to be sent.
const FAREWELL: Duration = Duration::from_secs(2);

/// Sends what is left when the process ends.
pub(crate) struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(FAREWELL)
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Begins logging to standard error: `KINDLING_LOG` chooses what is in it, `KINDLING_LOG_JSON=1` its form. Where
/// OpenTelemetry's variables name a collector (`OTEL_EXPORTER_OTLP_ENDPOINT`), spans of requests and rungs are sent to it.
pub(crate) fn start(usual: &str) -> Telemetry {
    let filter = EnvFilter::try_from_env("KINDLING_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let filter = filter.and(filter_fn(|about| about.target() != TRACES));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = if std::env::var("KINDLING_LOG_JSON").is_ok_and(|v| v == "1") {
        log.json().boxed()
    } else {
        log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed()
    };
    let registry = tracing_subscriber::registry().with(log.with_filter(filter));
    let provider = match provider() {
        None => {
            registry.init();
            return Telemetry(None);
        }
        Some(Err(error)) => {
            registry.init();
            tracing::error!(error, "no spans are sent: what OTEL_EXPORTER_OTLP_… say cannot be used");
            return Telemetry(None);
        }
        Some(Ok(provider)) => provider,
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("kindling"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false);
    registry.with(spans.with_filter(filter_fn(|about| about.is_span() && about.target() == TRACES))).init();
    Telemetry(Some(provider))
}

/// What sends spans, if a collector is named.
fn provider() -> Option<Result<SdkTracerProvider, String>> {
    let named = |name: &str| std::env::var(name).is_ok_and(|address| !address.is_empty());
    if !named("OTEL_EXPORTER_OTLP_ENDPOINT") && !named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return None;
    }
    // Of the two crypto providers in use one must be the process' own; it may be set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = match SpanExporter::builder().with_http().build() {
        Ok(exporter) => exporter,
        Err(error) => return Some(Err(error.to_string())),
    };
    let resource = Resource::builder();
    let resource = if named("OTEL_SERVICE_NAME") { resource } else { resource.with_service_name("kindling") };
    Some(Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build()))
}
