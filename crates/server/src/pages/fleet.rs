//! `/fleets/{id}`: how the specialists come along, and how they do against the single model.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use kindling_engine::{FleetComparison, FleetCost, FleetDifference, FleetReport, FleetSide, FleetStatus, MemberStatus};
use kindling_spec::TaskState;
use kindling_store::FleetRecord;
use maud::{Markup, html};

use super::{html_response, page, parts, plain};
use crate::request::fleet_id;
use crate::{Problem, app::App};

pub(crate) async fn show(app: App, Path(id): Path<String>) -> Result<Response, Problem> {
    let fleet = app.service().fleet(&fleet_id(&id)?).await?;
    let dataset = app.service().dataset(&fleet.dataset).await?;
    let status = app.service().fleet_status(&fleet).await?;
    let live = changing(&app, &fleet, &status).await?;
    let body = html! {
        section.heading {
            p.eyebrow { "Fleet" }
            h1 { (fleet.spec.name) }
            p.small {
                "One small model a class, beside one for all. Learns from " a href={ "/datasets/" (dataset.id) } { (dataset.name) } (wish(&fleet)) "."
            }
        }
        div #fleet data-fleet=(fleet.id) data-over=(status.state.is_over()) { (live) }
    };
    Ok(page(StatusCode::OK, &fleet.spec.name, &body))
}

/// Only the parts that change, for the script to put in place.
pub(crate) async fn live(app: App, Path(id): Path<String>) -> Result<Response, Problem> {
    let fleet = app.service().fleet(&fleet_id(&id)?).await?;
    let status = app.service().fleet_status(&fleet).await?;
    Ok(html_response(StatusCode::OK, changing(&app, &fleet, &status).await?))
}

async fn changing(app: &App, fleet: &FleetRecord, status: &FleetStatus) -> Result<Markup, Problem> {
    let report = app.service().fleet_report(&fleet.id).await?;
    Ok(html! { (progress(fleet, status)) (comparison(&report)) (downloads(fleet, &report)) })
}

fn wish(fleet: &FleetRecord) -> Markup {
    let limits = &fleet.spec.constraints;
    html! {
        @if let Some(bytes) = limits.max_weights_bytes { " · at most " (plain::bytes(bytes)) " each" }
        @if let Some(macs) = limits.max_macs { " · at most " (plain::large(macs)) " MACs each" }
        @if let Some(ms) = limits.max_latency_ms { " · at most " (plain::milliseconds(ms)) " a picture each" }
    }
}

fn progress(fleet: &FleetRecord, status: &FleetStatus) -> Markup {
    let over = status.state.is_over();
    let done = status.members.iter().filter(|m| m.progress.state.is_over()).count();
    let title = match status.state {
        TaskState::Queued => "About to start".to_owned(),
        TaskState::Running => format!("{done} of {} searches done", status.members.len()),
        TaskState::Complete => "Done".to_owned(),
        TaskState::Cancelled => "Stopped".to_owned(),
        TaskState::Failed => "Not every model could be made".to_owned(),
    };
    let metric = parts::metric_name(fleet.spec.objective.metric);
    html! {
        section.card #progress data-live data-over=(over) aria-labelledby="progress-title" {
            div.line { h2 #progress-title { (title) } (parts::state(status.state.as_str())) }
            @if let Some(reason) = &status.reason { p.small { "Reason: " (reason) "." } }
            p.small { "The searches run one after another and share the time evenly. Choose and test are by " (metric) "." }
            div.scroll {
                table {
                    thead { tr { th scope="col" { "Finds" } th scope="col" { "State" } th.number scope="col" { "Tried" } th.number scope="col" { "Time" } th.number scope="col" { "Choose" } th.number scope="col" { "Test" } th.number scope="col" { "Size" } } }
                    tbody { @for member in &status.members { (member_row(member)) } }
                }
            }
            p.actions {
                @if !over { button.button.plain type="button" data-cancel { "Stop here" } }
                span #action-status role="status" aria-live="polite" {}
            }
        }
    }
}

fn member_row(member: &MemberStatus) -> Markup {
    let progress = &member.progress;
    html! {
        tr {
            th scope="row" {
                a href={ "/tasks/" (member.task) } {
                    @match &member.class { Some(class) => { (class) } None => { "all classes (the single model)" } }
                }
            }
            td { (parts::state(progress.state.as_str())) }
            td.number { (plain::count(progress.trials_started)) }
            td.number {
                (plain::seconds(progress.seconds_spent))
                @if let Some(total) = progress.seconds_total { " of " (plain::seconds(total)) }
            }
            @match &progress.best {
                Some(best) => {
                    td.number { (plain::percent(best.value)) }
                    td.number { strong { (plain::percent(best.test_value)) } }
                    td.number { (plain::bytes(best.weights_bytes)) }
                }
                None => { td.number { "–" } td.number { "–" } td.number { "–" } }
            }
        }
    }
}

fn comparison(report: &FleetReport) -> Markup {
    html! {
        section.card #report data-live aria-labelledby="report-title" {
            h2 #report-title { "Specialists against the single model" }
            @if report.test_examples == 0 {
                p.empty { "The comparison appears with the first models." }
            } @else {
                p.small {
                    "Each on its own class and the same " (plain::counted(report.test_examples, "test picture"))
                    " that took no part in the search; in brackets 95% intervals."
                    @if !report.complete { " These are the best models so far." }
                }
                div.scroll {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Finds" } th scope="col" { "Model" } th.number scope="col" { "Pictures" }
                                th.number scope="col" { "Recall at " (plain::percent(report.precision)) " precision" }
                                th.number scope="col" { "Average precision" } th.number scope="col" { "Size" }
                                th.number scope="col" { "MACs" } th.number scope="col" { "Time" }
                            }
                        }
                        tbody { @for row in &report.classes { (class_rows(row)) } }
                    }
                }
                h3 { "Together" }
                div.scroll {
                    table {
                        thead { tr { th scope="col" { "What" } th.number scope="col" { "Models" } th.number scope="col" { "Size" } th.number scope="col" { "MACs" } th.number scope="col" { "Time" } } }
                        tbody {
                            (cost_row("All specialists", &report.specialists))
                            @if let Some(single) = &report.single { (cost_row("The single model", single)) }
                        }
                    }
                }
                details { summary { "How this was measured" } p.small { (report.method) } }
            }
        }
    }
}

fn class_rows(row: &FleetComparison) -> Markup {
    html! {
        (side_row(Some(&row.class), "specialist", Some(row.positives), row.specialist.as_ref()))
        (side_row(None, "single", None, row.single.as_ref()))
        @if let Some(difference) = &row.difference { (difference_row(difference)) }
    }
}

fn side_row(class: Option<&str>, what: &str, positives: Option<u64>, side: Option<&FleetSide>) -> Markup {
    html! {
        tr {
            th scope="row" { @if let Some(class) = class { (class) } }
            td { @match side { Some(side) => { a href={ "/models/" (side.model) } { (what) } } None => { (what) } } }
            td.number { @if let Some(positives) = positives { (plain::count(positives)) } }
            @match side {
                Some(side) => {
                    td.number { strong { (plain::percent(side.recall)) } " " (interval(Some(side.recall_ci))) }
                    td.number { strong { (plain::percent(side.average_precision)) } " " (interval(side.average_precision_ci)) }
                    td.number { (plain::bytes(side.weights_bytes)) }
                    td.number { (plain::large(side.macs)) }
                    td.number { (plain::milliseconds(side.latency_ms)) }
                }
                None => { td.number { "–" } td.number { "–" } td.number { "–" } td.number { "–" } td.number { "–" } }
            }
        }
    }
}

fn difference_row(difference: &FleetDifference) -> Markup {
    let points = |value: f64| format!("{:+.1}", value * 100.0);
    let between = |ci: Option<[f64; 2]>| ci.map(|[low, high]| format!("({} to {})", points(low), points(high)));
    html! {
        tr {
            th scope="row" {}
            td { "difference, points" }
            td {}
            td.number { (points(difference.recall)) " " span.small { (between(Some(difference.recall_ci)).unwrap_or_default()) } }
            td.number { (points(difference.average_precision)) " " span.small { (between(difference.average_precision_ci).unwrap_or_default()) } }
            td {} td {} td {}
        }
    }
}

fn interval(ci: Option<[f64; 2]>) -> Markup {
    html! { @if let Some([low, high]) = ci { span.small { (format!("({:.0}–{:.0})", low * 100.0, high * 100.0)) } } }
}

fn cost_row(what: &str, cost: &FleetCost) -> Markup {
    html! {
        tr {
            th scope="row" { (what) } td.number { (cost.models) } td.number { (plain::bytes(cost.weights_bytes)) }
            td.number { (plain::large(cost.macs)) } td.number { (plain::milliseconds(cost.latency_ms)) }
        }
    }
}

fn downloads(fleet: &FleetRecord, report: &FleetReport) -> Markup {
    html! {
        section.card #downloads data-live aria-labelledby="downloads-title" {
            h2 #downloads-title { "Take them with you" }
            @if report.specialists.models == 0 {
                p.empty { "The files will be here." }
            } @else {
                p.actions { a.button.download href={ "/v1/fleets/" (fleet.id) "/bundle.zip" } { "Download all specialists " span.weak { "zip" } } }
                p.small {
                    "With " code { "router.py" } ", which asks them all: " code { "python3 router.py picture.jpg" }
                    " prints each class with its probability. It needs onnxruntime, numpy and pillow."
                }
            }
        }
    }
}
