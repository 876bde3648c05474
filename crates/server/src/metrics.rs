//! `/metrics` in Prometheus's text format (version 0.0.4), written by hand: it is a dozen figures.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use kindling_spec::TrialState;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{Problem, api::health, app::Host};

/// Upper bounds of the latency histogram, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Requests counted since the start. Routes are the table's own, so the number of series is bounded.
#[derive(Default)]
pub(crate) struct HttpMetrics {
    series: Mutex<Series>,
}

#[derive(Default)]
struct Series {
    requests: BTreeMap<(String, &'static str, u16), u64>,
    latency: BTreeMap<&'static str, Histogram>,
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    sum: f64,
    count: u64,
}

impl HttpMetrics {
    /// Counts one answered request; an event stream or a download counts when its answer begins.
    pub(crate) fn observe(&self, method: &str, route: &'static str, status: u16, took: Duration) {
        // A panic while the lock is held leaves counts that are at most one short.
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        *series.requests.entry((method.to_owned(), route, status)).or_default() += 1;
        let histogram = series.latency.entry(route).or_default();
        let seconds = took.as_secs_f64();
        for (bucket, bound) in histogram.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
        histogram.sum += seconds;
        histogram.count += 1;
    }

    fn write(&self, out: &mut String) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        head(out, "kindling_http_requests_total", "counter", "HTTP requests answered.");
        for ((method, route, status), count) in &series.requests {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            line(out, "kindling_http_requests_total", &labels, *count as f64);
        }
        let name = "kindling_http_request_duration_seconds";
        head(out, name, "histogram", "Seconds until the answer began.");
        for (route, histogram) in &series.latency {
            for (bucket, bound) in histogram.buckets.iter().zip(BUCKETS) {
                line(out, &format!("{name}_bucket"), &format!("route=\"{route}\",le=\"{bound}\""), *bucket as f64);
            }
            let count = histogram.count as f64;
            line(out, &format!("{name}_bucket"), &format!("route=\"{route}\",le=\"+Inf\""), count);
            line(out, &format!("{name}_sum"), &format!("route=\"{route}\""), histogram.sum);
            line(out, &format!("{name}_count"), &format!("route=\"{route}\""), count);
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        _ => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

/// The page a Prometheus server reads.
pub(crate) async fn show(State(host): State<Host>) -> Result<Response, Problem> {
    let store = host.whole_service().store();
    let mut out = String::new();
    head(&mut out, "kindling_info", "gauge", "The version that runs.");
    line(&mut out, "kindling_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1.0);
    head(&mut out, "kindling_queue_depth", "gauge", "Rungs that wait for a worker.");
    line(&mut out, "kindling_queue_depth", "", store.queue.depth().await? as f64);
    let counts = store.meta.trial_counts(None).await?;
    head(&mut out, "kindling_trials", "gauge", "Trials by state.");
    for state in TrialState::ALL {
        let count = counts.get(state).copied().unwrap_or(0);
        line(&mut out, "kindling_trials", &format!("state=\"{state}\""), count as f64);
    }
    head(&mut out, "kindling_active_tasks", "gauge", "Tasks queued or running.");
    line(&mut out, "kindling_active_tasks", "", store.meta.active_tasks().await?.len() as f64);
    let workers = store.meta.workers().await?;
    let live: Vec<_> = workers.iter().filter(|w| health::is_live(w)).collect();
    head(&mut out, "kindling_workers", "gauge", "Worker processes seen lately.");
    line(&mut out, "kindling_workers", "", live.len() as f64);
    head(&mut out, "kindling_workers_busy", "gauge", "Worker processes with a trial.");
    line(&mut out, "kindling_workers_busy", "", live.iter().filter(|w| w.trial.is_some()).count() as f64);
    host.metrics().write(&mut out);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = HttpMetrics::default();
        metrics.observe("GET", "/v1/tasks", 200, Duration::from_millis(20));
        metrics.observe("GET", "/v1/tasks", 404, Duration::from_millis(200));
        let mut out = String::new();
        metrics.write(&mut out);
        assert!(out.contains("requests_total{method=\"GET\",route=\"/v1/tasks\",status=\"404\"} 1\n"), "{out}");
        assert!(out.contains("bucket{route=\"/v1/tasks\",le=\"0.01\"} 0\n"), "{out}");
        assert!(out.contains("bucket{route=\"/v1/tasks\",le=\"0.025\"} 1\n"), "{out}");
        assert!(out.contains("bucket{route=\"/v1/tasks\",le=\"+Inf\"} 2\n"), "{out}");
        assert!(out.contains("duration_seconds_count{route=\"/v1/tasks\"} 2\n"), "{out}");
    }
}
