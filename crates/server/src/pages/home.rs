//! `/`: the way in, the data sets and the tasks.

use axum::http::StatusCode;
use axum::response::Response;
use kindling_engine::FleetStatus;
use kindling_store::{DatasetRecord, DraftCounts, DraftRecord, FleetRecord, TaskRecord};
use maud::{Markup, html};

use super::{page, parts, plain};
use crate::{Problem, app::App};

/// Items of each list on the page; the API lists all.
const SHOWN: u32 = 30;

pub(crate) async fn show(app: App) -> Result<Response, Problem> {
    let datasets = app.meta().datasets(Some(app.project()), None, SHOWN).await?;
    let tasks = app.meta().tasks(Some(app.project()), None, SHOWN).await?;
    let mut rows = Vec::new();
    for task in tasks {
        let best = app.service().progress_of(&task).await?.best;
        rows.push((task, best));
    }
    let mut fleets = Vec::new();
    for fleet in app.meta().fleets(Some(app.project()), None, SHOWN).await? {
        let status = app.service().fleet_status(&fleet).await?;
        fleets.push((fleet, status));
    }
    let mut drafts = Vec::new();
    for draft in app.meta().drafts(Some(app.project()), None, SHOWN).await? {
        let counts = app.meta().draft_counts(&draft.id).await?;
        drafts.push((draft, counts));
    }
    let body = html! {
        section.hero {
            h1 { "Show it examples. Get a small model." }
            p.lead {
                "Kindling grows small neural networks that tell your pictures apart, and hands you files that run anywhere. "
                "No knowledge of machine learning is needed."
            }
        }
        (start())
        div.columns {
            section.card aria-labelledby="tasks-title" {
                h2 #tasks-title { "Tasks" }
                @if rows.is_empty() {
                    p.empty { "None yet. Upload pictures above, then say what you want told apart." }
                } @else {
                    ul.rows { @for (task, best) in &rows { (task_row(task, best.as_ref())) } }
                }
            }
            @if !fleets.is_empty() {
                section.card aria-labelledby="fleets-title" {
                    h2 #fleets-title { "Fleets" }
                    ul.rows { @for (fleet, status) in &fleets { (fleet_row(fleet, status)) } }
                }
            }
            @if !drafts.is_empty() {
                section.card aria-labelledby="drafts-title" {
                    h2 #drafts-title { "Draft data sets" }
                    ul.rows { @for (draft, counts) in &drafts { (draft_row(draft, *counts)) } }
                }
            }
            section.card aria-labelledby="datasets-title" {
                h2 #datasets-title { "Data sets" }
                @if datasets.is_empty() {
                    p.empty { "None yet." }
                } @else {
                    ul.rows { @for dataset in &datasets { (dataset_row(dataset)) } }
                }
            }
        }
    };
    Ok(page(StatusCode::OK, "Home", &body))
}

fn start() -> Markup {
    html! {
        section.card.start aria-labelledby="start-title" {
            h2 #start-title { "Start here" }
            ol.steps {
                li { strong { "Sort" } " your pictures into one folder for each kind, such as " code { "fire" } ", " code { "smoke" } " and " code { "neither" } "." }
                li { strong { "Zip" } " the folders together and drop the file here." }
                li { strong { "Say" } " how small and fast the model must be. That is all." }
            }
            (parts::upload_form(None))
            (label_form())
        }
    }
}

fn draft_row(draft: &DraftRecord, counts: DraftCounts) -> Markup {
    html! {
        li {
            a.row href={ "/drafts/" (draft.id) } {
                span.grow { strong { (draft.name) } span.small { (plain::when(draft.created_at)) } }
                span.figure { strong { (plain::count(counts.labelled)) " of " (plain::count(counts.examples)) } span.small { "labelled" } }
            }
        }
    }
}

/// The way in for who has pictures and no labels.
fn label_form() -> Markup {
    html! {
        details #label-here {
            summary { "Pictures without labels? Label them here" }
            form #new-draft {
                label for="draft-name" { "What do the pictures show?" }
                input #draft-name name="name" maxlength="200" required placeholder="Camera on the hill" autocomplete="off";
                label for="draft-labels" { "What is to be said of each?" }
                select #draft-labels name="labels" {
                    option value="classes" { "Which kind it is" }
                    option value="boxes" { "What is where in it, by boxes" }
                }
                label for="draft-classes" { "The kinds, with commas between" }
                input #draft-classes name="classes" placeholder="fire, smoke" autocomplete="off";
                div #draft-status role="status" aria-live="polite" {}
                button.button type="submit" { "Begin" }
            }
        }
    }
}

fn task_row(task: &TaskRecord, best: Option<&kindling_engine::LeaderboardEntry>) -> Markup {
    html! {
        li {
            a.row href={ "/tasks/" (task.id) } {
                span.grow { strong { (task.spec.name) } span.small { (plain::when(task.created_at)) } }
                @if let Some(best) = best {
                    span.figure { strong { (plain::percent(best.test_value)) } span.small { (plain::bytes(best.weights_bytes)) } }
                }
                (parts::state(task.state.as_str()))
            }
        }
    }
}

fn fleet_row(fleet: &FleetRecord, status: &FleetStatus) -> Markup {
    let specialists = || status.members.iter().filter(|m| m.class.is_some());
    let done = specialists().filter(|m| m.progress.best.is_some()).count();
    html! {
        li {
            a.row href={ "/fleets/" (fleet.id) } {
                span.grow { strong { (fleet.spec.name) } span.small { (plain::when(fleet.created_at)) } }
                span.figure { strong { (done) " of " (specialists().count()) } span.small { "specialists" } }
                (parts::state(status.state.as_str()))
            }
        }
    }
}

fn dataset_row(dataset: &DatasetRecord) -> Markup {
    let summary = dataset.summary.as_ref();
    let examples = summary.and_then(|s| s.get("examples")?.as_u64());
    let classes = summary.and_then(|s| Some(s.get("classes")?.as_array()?.len() as u64));
    html! {
        li {
            a.row href={ "/datasets/" (dataset.id) } {
                span.grow { strong { (dataset.name) } span.small { (plain::when(dataset.created_at)) } }
                @if let (Some(examples), Some(classes)) = (examples, classes) {
                    span.figure { strong { (plain::counted(examples, "picture")) } span.small { (classes) " kinds" } }
                }
                (parts::state(dataset.state.as_str()))
            }
        }
    }
}
