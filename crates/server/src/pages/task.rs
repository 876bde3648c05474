//! `/tasks/{id}`: how the search goes, and what came of it.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use kindling_engine::{LeaderboardEntry, Progress};
use kindling_spec::{Classes, TaskState, TrialState};
use kindling_store::TaskRecord;
use maud::{Markup, html};

use super::{advice, chart, html_response, page, parts, plain};
use crate::request::task_id;
use crate::{Problem, app::App};

/// Models on the page's leaderboard; the API lists all.
const SHOWN: usize = 10;

pub(crate) async fn show(app: App, Path(id): Path<String>) -> Result<Response, Problem> {
    let task = app.service().task(&task_id(&id)?).await?;
    let dataset = app.service().dataset(&task.dataset).await?;
    let parts = Parts::read(&app, &task).await?;
    let over = task.state.is_over();
    let asked = crate::api::advice::newest(&app, &task.id).await?;
    let body = html! {
        section.heading {
            p.eyebrow { "Task" }
            h1 { (task.spec.name) }
            p.small { "Learns from " a href={ "/datasets/" (dataset.id) } { (dataset.name) } (wish(&task)) "." }
        }
        div #task data-task=(task.id) data-over=(over) {
            (parts.progress)
            div.columns {
                div.stack { (parts.best) (parts::try_box(parts.model.as_ref())) }
                (parts.scatter)
            }
            (parts.downloads)
            (parts.leaderboard)
            (parts.mistakes)
        }
        (advice::card(&task, asked.as_ref(), parts.model.is_some()))
    };
    Ok(page(StatusCode::OK, &task.spec.name, &body))
}

/// Only the parts that change, for the script to put in place.
pub(crate) async fn live(app: App, Path(id): Path<String>) -> Result<Response, Problem> {
    let task = app.service().task(&task_id(&id)?).await?;
    let parts = Parts::read(&app, &task).await?;
    let body =
        html! { (parts.progress) (parts.best) (parts.downloads) (parts.scatter) (parts.leaderboard) (parts.mistakes) };
    Ok(html_response(StatusCode::OK, body))
}

/// What was asked for, in words.
fn wish(task: &TaskRecord) -> Markup {
    let limits = &task.spec.constraints;
    html! {
        @if let Some(classes) = &task.spec.classes {
            " · answers "
            @match classes {
                Classes::Subset(names) => { (names.join(", ")) }
                Classes::Mapping(map) => { (map.keys().cloned().collect::<Vec<_>>().join(", ")) }
            }
        }
        @if let Some(bytes) = limits.max_weights_bytes {
            " · at most " (plain::bytes(bytes)) @if limits.is_int8() { " in 8 bits" }
        }
        @if let Some(bytes) = limits.max_ram_bytes { " · at most " (plain::bytes(bytes)) " of memory" }
        @if let Some(macs) = limits.max_macs { " · at most " (plain::large(macs)) " MACs" }
        @if let Some(ms) = limits.max_latency_ms { " · at most " (plain::milliseconds(ms)) " a picture" }
    }
}

/// The changing parts of the page, each with an id under which the script finds it.
struct Parts {
    progress: Markup,
    best: Markup,
    scatter: Markup,
    leaderboard: Markup,
    downloads: Markup,
    mistakes: Markup,
    model: Option<kindling_spec::ModelId>,
}

impl Parts {
    async fn read(app: &App, task: &TaskRecord) -> Result<Self, Problem> {
        let service = app.service();
        let progress = service.progress_of(task).await?;
        let models = service.leaderboard(&task.id).await?;
        let trials = app.meta().all_trials(&task.id).await?;
        let metric = parts::metric_name(task.spec.objective.metric);
        let best = match models.first() {
            None => None,
            Some(entry) => Some(service.model(&entry.model).await?),
        };
        let card = best.as_ref().and_then(parts::card);
        let mistakes = match &best {
            None => Vec::new(),
            Some(model) => service.mistakes(&model.id).await?,
        };
        let limit = task.spec.constraints.max_float_weights_bytes();
        Ok(Self {
            progress: progress_part(task, &progress),
            best: html! {
                section.card #best data-live data-model=[best.as_ref().map(|m| &m.id)] aria-labelledby="best-title" {
                    h2 #best-title { @if task.state.is_over() { "The best model" } @else { "The best so far" } }
                    @match &card {
                        Some(card) => { (parts::figures(card)) }
                        None => { p.empty { @if task.state.is_over() { "No model was made." } @else { "The first model is usually here within seconds." } } }
                    }
                }
            },
            scatter: html! {
                section.card #scatter data-live aria-labelledby="scatter-title" {
                    h2 #scatter-title { "Size against " (metric) }
                    (chart::scatter(&trials, &models, limit, metric))
                }
            },
            leaderboard: leaderboard(&models, metric),
            downloads: html! {
                section.card #downloads data-live aria-labelledby="downloads-title" {
                    h2 #downloads-title { "Take it with you" }
                    @match &best { Some(model) => { (parts::downloads(model)) } None => { p.empty { "The files will be here." } } }
                }
            },
            mistakes: html! {
                section.card #mistakes data-live hidden[card.is_none()] aria-labelledby="mistakes-title" {
                    h2 #mistakes-title { "What it gets wrong" }
                    @if let Some(card) = &card { (parts::confusion(card, &mistakes, &task.dataset)) }
                }
            },
            model: best.map(|m| m.id),
        })
    }
}

fn progress_part(task: &TaskRecord, progress: &Progress) -> Markup {
    let count = |state| progress.trials.get(&state).copied().unwrap_or(0);
    let done = count(TrialState::Complete) + count(TrialState::Pruned) + count(TrialState::Failed);
    let running = progress.state == TaskState::Running;
    let share = match (progress.seconds_total, progress.trials_left) {
        _ if progress.state.is_over() => 1.0,
        (Some(total), _) if total > 0.0 => progress.seconds_spent / total,
        (_, Some(left)) => progress.trials_started as f64 / (progress.trials_started + left).max(1) as f64,
        _ => 0.0,
    };
    html! {
        section.card #progress data-live aria-labelledby="progress-title" {
            div.line {
                h2 #progress-title { (headline(progress)) }
                (parts::state(progress.state.as_str()))
            }
            @if let Some(reason) = &progress.reason { p.small { "Reason: " (reason) "." } }
            div.bar role="progressbar" aria-label="Budget spent" aria-valuemin="0" aria-valuemax="100" aria-valuenow=(format!("{:.0}", share * 100.0))
                data-total=[progress.seconds_total.filter(|_| running)] data-spent=[running.then_some(progress.seconds_spent)] {
                svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" { rect width=(format!("{:.2}", (share * 100.0).clamp(0.0, 100.0))) height="1" {} }
            }
            p.counts {
                span { strong { (plain::count(progress.trials_started)) } " tried" }
                span { strong { (count(TrialState::Running)) } " in training" }
                span { strong { (count(TrialState::Waiting) + count(TrialState::Paused)) } " in the running" }
                span { strong { (done) } " done or given up" }
                @if let Some(total) = progress.seconds_total {
                    span { strong data-clock { (plain::seconds(progress.seconds_spent)) } " of " (plain::seconds(total)) }
                }
            }
            p.actions {
                @if progress.state.is_over() {
                    button.button.plain type="button" data-resume="300" { "Search 5 minutes more" }
                } @else {
                    button.button.plain type="button" data-cancel { "Stop here" }
                }
                span #action-status role="status" aria-live="polite" {}
            }
            @if task.state == TaskState::Queued { p.small { "Waiting for a free worker." } }
        }
    }
}

fn headline(progress: &Progress) -> String {
    match (progress.state, progress.seconds_left) {
        (TaskState::Queued, _) => "About to start".to_owned(),
        (TaskState::Running, Some(left)) if left >= 1.0 => format!("Searching, {} left", plain::seconds(left)),
        (TaskState::Running, Some(_)) => "Finishing".to_owned(),
        (TaskState::Running, None) => "Searching".to_owned(),
        (TaskState::Complete, _) => "Done".to_owned(),
        (TaskState::Cancelled, _) => "Stopped".to_owned(),
        (TaskState::Failed, _) => "No model could be made".to_owned(),
    }
}

fn leaderboard(models: &[LeaderboardEntry], metric: &str) -> Markup {
    html! {
        section.card #leaderboard data-live aria-labelledby="leaderboard-title" {
            h2 #leaderboard-title { "Leaderboard" }
            @if models.is_empty() {
                p.empty { "Models appear here, the best first." }
            } @else {
                p.small { "By " (metric) " on the pictures to choose by; ● is on the Pareto front of value, size and speed." }
                div.scroll {
                    table {
                        thead {
                            tr { th scope="col" { "Model" } th.number scope="col" { "Choose" } th.number scope="col" { "Test" } th.number scope="col" { "Size" } th.number scope="col" { "Time" } th.number scope="col" { "MACs" } th.number scope="col" { "Parameters" } }
                        }
                        tbody {
                            @for entry in models.iter().take(SHOWN) {
                                tr {
                                    th scope="row" { a href={ "/models/" (entry.model) } { (entry.family) " " (entry.trial_number) "." (entry.rung) } @if entry.pareto { span.pareto title="on the Pareto front" { " ●" } } @for pick in &entry.picks { " " span.pick { (pick.about()) } } }
                                    td.number { (plain::percent(entry.value)) } td.number { strong { (plain::percent(entry.test_value)) } }
                                    td.number { (plain::bytes(entry.weights_bytes)) } td.number { (plain::milliseconds(entry.latency_ms)) }
                                    td.number { (plain::large(entry.macs)) } td.number { (plain::large(entry.parameters)) }
                                }
                            }
                        }
                    }
                }
                @if models.len() > SHOWN { p.small { "The best " (SHOWN) " of " (models.len()) "." } }
            }
        }
    }
}
