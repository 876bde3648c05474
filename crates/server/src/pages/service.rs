//! `/service`: who works, what waits, what is stored, for who runs the service.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::{page, plain};
use crate::api::service::{DutyView, ServiceView, StoredView, WorkerView, view};
use crate::{Problem, app::App};

pub(crate) async fn show(app: App) -> Result<Response, Problem> {
    let service = view(&app).await?;
    let body = html! {
        section.heading {
            p.eyebrow { "Kindling " (service.version) }
            h1 { "Service" }
        }
        (overview(&service))
        (workers(&service))
        div.columns {
            (storage(&service.stored))
            (duties(&service))
        }
        p.small {
            "As of " (plain::when(service.at)) ", as JSON at " a href="/v1/service" { "/v1/service" }
            ", over time at " a href="/metrics" { "/metrics" } ", whether all works at " a href="/readyz" { "/readyz" } "."
        }
    };
    Ok(page(StatusCode::OK, "Service", &body))
}

fn overview(service: &ServiceView) -> Markup {
    let in_state = |state: &str| service.workers.iter().filter(|worker| worker.state == state).count() as u64;
    let trials: u64 = service.trials.values().sum();
    let stored: u64 = service.stored.iter().map(StoredView::bytes).sum();
    html! {
        section.card aria-labelledby="now-title" {
            h2 #now-title { "Now" }
            dl.facts {
                div { dt { "Busy workers" } dd { (in_state("busy")) " of " (in_state("busy") + in_state("idle")) } }
                div { dt { "Rungs waiting" } dd { (plain::count(service.queue.depth)) } }
                div { dt { "Longest wait" } dd { (if service.queue.oldest_seconds > 0.0 { plain::seconds(service.queue.oldest_seconds) } else { "–".to_owned() }) } }
                div { dt { "Studies running" } dd { (plain::count(service.tasks.running)) } }
                div { dt { "Studies queued" } dd { (plain::count(service.tasks.queued)) } }
                div { dt { "Trials kept" } dd { (plain::count(trials)) } }
                div { dt { "Stored" } dd { (plain::bytes(stored)) } }
            }
            @if in_state("busy") + in_state("idle") == 0 {
                p.small { "No worker is there: nothing is trained until one is started with " code { "kindling worker" } " or by " code { "kindling serve" } "." }
            }
        }
    }
}

fn workers(service: &ServiceView) -> Markup {
    html! {
        section.card aria-labelledby="workers-title" {
            h2 #workers-title { "Workers" }
            @if service.workers.is_empty() {
                p.empty { "None." }
            } @else {
                div.scroll {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Machine" } th scope="col" { "Worker" } th scope="col" { "Device" } th scope="col" { "State" }
                                th scope="col" { "Works on" } th.number scope="col" { "Memory" } th.number scope="col" { "Examples/s" }
                                th.number scope="col" { "Heard of" } th.number scope="col" { "Runs for" }
                            }
                        }
                        tbody { @for worker in &service.workers { (worker_row(worker, service.at)) } }
                    }
                }
            }
        }
    }
}

fn worker_row(worker: &WorkerView, at: i64) -> Markup {
    let ago = |time: i64| plain::seconds(at.saturating_sub(time) as f64 / 1e3);
    html! {
        tr {
            th scope="row" { (if worker.machine.is_empty() { "–" } else { worker.machine.as_str() }) }
            td.nowrap { code { (worker.name) } }
            td { (worker.device) }
            td { span class={ "state " (worker.state) } { (worker.state) } }
            td {
                @match &worker.work {
                    Some(work) => {
                        a href={ "/tasks/" (work.task) } { (work.name) }
                        span.small { " trial " (work.trial) ", rung " (work.rung) }
                    }
                    None if worker.state == "busy" => span.small { "another project's" },
                    None => span.small { "–" },
                }
            }
            td.number {
                (worker.resident_bytes.map_or_else(|| "–".to_owned(), plain::bytes))
                @if let Some(bytes) = worker.memory_bytes { span.small { " of " (plain::bytes(bytes)) } }
            }
            td.number { (worker.images_per_second.map_or_else(|| "–".to_owned(), |speed| format!("{speed:.0}"))) }
            td.number { (ago(worker.seen_at)) " ago" }
            td.number { (ago(worker.started_at)) }
        }
    }
}

fn storage(stored: &[StoredView]) -> Markup {
    html! {
        section.card aria-labelledby="storage-title" {
            h2 #storage-title { "Storage" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "Project" } th.number scope="col" { "Data sets" } th.number scope="col" { "Drafts" }
                            th.number scope="col" { "Uploads" } th.number scope="col" { "Models" } th.number scope="col" { "All" }
                        }
                    }
                    tbody {
                        @for of in stored {
                            tr {
                                th scope="row" { (of.name) }
                                td.number { (plain::bytes(of.datasets)) } td.number { (plain::bytes(of.drafts)) }
                                td.number { (plain::bytes(of.uploads)) } td.number { (plain::bytes(of.models)) }
                                td.number { strong { (plain::bytes(of.bytes())) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn duties(service: &ServiceView) -> Markup {
    html! {
        section.card aria-labelledby="duties-title" {
            h2 #duties-title { "Duties" }
            @if service.shared {
                @if service.duties.is_empty() { p.empty { "Nobody has any." } }
                ul.rows { @for duty in &service.duties { (duty_row(duty)) } }
            } @else {
                p.small { "One service uses this data directory, and has them all: it schedules, runs analyses and clears away." }
            }
        }
    }
}

fn duty_row(duty: &DutyView) -> Markup {
    html! {
        li {
            div.row {
                span.grow { strong { (duty.duty) } }
                span.figure {
                    @match (&duty.machine, duty.pid) {
                        (Some(machine), Some(pid)) => { strong { (machine) } span.small { "process " (pid) } },
                        _ => span.small { "nobody now" },
                    }
                }
            }
        }
    }
}
