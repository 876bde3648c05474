//! `/metrics` in Prometheus's text format (version 0.0.4), written by hand: it is some dozens of figures.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use kindling_engine::resident_bytes;
use kindling_spec::TrialState;
use kindling_store::RUNG_BOUNDS;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::figures::{Figures, WorkerState};
use crate::{Problem, app::Host};

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
            let buckets = histogram.buckets.iter().copied().zip(BUCKETS);
            spread(out, name, &format!("route=\"{route}\""), buckets, histogram.sum, histogram.count);
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

/// The lines of a histogram: of each bucket how many are in it or in one before, and its upper bound.
fn spread(out: &mut String, name: &str, labels: &str, up_to: impl Iterator<Item = (u64, f64)>, sum: f64, count: u64) {
    for (counted, bound) in up_to {
        line(out, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), counted as f64);
    }
    line(out, &format!("{name}_bucket"), &format!("{labels},le=\"+Inf\""), count as f64);
    line(out, &format!("{name}_sum"), labels, sum);
    line(out, &format!("{name}_count"), labels, count as f64);
}

/// A label's value, which a person may have chosen.
fn quoted(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The page a Prometheus server reads.
pub(crate) async fn show(State(host): State<Host>) -> Result<Response, Problem> {
    let mut out = String::new();
    head(&mut out, "kindling_info", "gauge", "The version that runs.");
    line(&mut out, "kindling_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1.0);
    if let Some(bytes) = resident_bytes() {
        head(&mut out, "process_resident_memory_bytes", "gauge", "Memory that this server holds.");
        line(&mut out, "process_resident_memory_bytes", "", bytes as f64);
    }
    let figures = host.figures().await?;
    of_service(&figures, &mut out);
    host.metrics().write(&mut out);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response())
}

/// What is the same whichever server is asked.
fn of_service(figures: &Figures, out: &mut String) {
    head(out, "kindling_queue_depth", "gauge", "Rungs that wait for a worker.");
    line(out, "kindling_queue_depth", "", figures.depth as f64);
    let name = "kindling_queue_oldest_age_seconds";
    head(out, name, "gauge", "How long the rung has waited that has waited longest; 0 where none waits.");
    line(out, name, "", figures.oldest.as_secs_f64());
    head(out, "kindling_trials", "gauge", "Trials by state.");
    for state in TrialState::ALL {
        let count = figures.trials.get(state).copied().unwrap_or(0);
        line(out, "kindling_trials", &format!("state=\"{state}\""), count as f64);
    }
    head(out, "kindling_active_tasks", "gauge", "Tasks queued or running.");
    line(out, "kindling_active_tasks", "", (figures.queued_tasks + figures.running_tasks) as f64);
    head(out, "kindling_workers", "gauge", "Worker processes by what they do; silent ones were not heard of lately.");
    for state in WorkerState::ALL {
        let labels = format!("state=\"{}\"", state.as_str());
        line(out, "kindling_workers", &labels, figures.workers_in(state) as f64);
    }
    let name = "kindling_worker_resident_memory_bytes";
    head(out, name, "gauge", "Memory that a worker process holds, where its system tells; none of a device's own.");
    for worker in &figures.workers {
        let Some(bytes) = worker.resident_bytes.filter(|_| WorkerState::of(worker, figures.at) != WorkerState::Silent)
        else {
            continue;
        };
        let (machine, device) = (quoted(&worker.machine), quoted(&worker.device));
        let labels = format!("worker=\"{}\",machine=\"{machine}\",device=\"{device}\"", quoted(&worker.name));
        line(out, name, &labels, bytes as f64);
    }
    let name = "kindling_rung_duration_seconds";
    head(out, name, "histogram", "Seconds that rungs of trials took, training and validation, by the rung's number.");
    for (rung, figure) in &figures.rungs {
        let up_to = figure.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        let count = figure.counts.iter().sum();
        spread(out, name, &format!("rung=\"{rung}\""), up_to.zip(RUNG_BOUNDS), figure.seconds, count);
    }
    let name = "kindling_rung_images_per_second";
    head(out, name, "summary", "Images a second in training, of each rung done.");
    for (rung, figure) in &figures.rungs {
        line(out, &format!("{name}_sum"), &format!("rung=\"{rung}\""), figure.speeds);
        let count = figure.counts.iter().sum::<u64>() as f64;
        line(out, &format!("{name}_count"), &format!("rung=\"{rung}\""), count);
    }
    head(out, "kindling_stored_bytes", "gauge", "Bytes that a project has stored.");
    for of in &figures.stored {
        let kinds = [("datasets", of.datasets), ("drafts", of.drafts), ("uploads", of.uploads), ("models", of.models)];
        for (kind, bytes) in kinds {
            let labels = format!("project=\"{}\",kind=\"{kind}\"", quoted(&of.name));
            line(out, "kindling_stored_bytes", &labels, bytes as f64);
        }
    }
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
