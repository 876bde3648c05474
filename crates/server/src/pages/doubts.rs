//! `/datasets/{id}/doubts`: the labels that are probably wrong, each with its picture and what to do about it.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use kindling_engine::{AnalysisView, DoubtEntry, DoubtReport};
use kindling_spec::{AnalysisState, DatasetId};
use kindling_store::{AnalysisRecord, DatasetRecord};
use maud::{Markup, html};

use super::{page, plain};
use crate::request::{Page, Query, dataset_id};
use crate::{Problem, api::doubts::newest, app::App};

/// Doubtful labels on a page.
const SHOWN: u32 = 60;

pub(crate) async fn show(app: App, Path(id): Path<String>, Query(which): Query<Page>) -> Result<Response, Problem> {
    let dataset = app.service().dataset(&dataset_id(&id)?).await?;
    // A data set without content has no labels to doubt.
    app.service().open_dataset(&dataset.id).await?;
    let view = newest(&app, &dataset.id).await?;
    let first = which.after::<usize>()?.map_or(0, |last| last.saturating_add(1));
    let limit = crate::request::limit(which.limit.or(Some(SHOWN)))? as usize;
    let body = html! {
        section.heading {
            p.eyebrow { "Data set" }
            h1 { "Doubtful labels" }
            p.small { "Of " a href={ "/datasets/" (dataset.id) } { (dataset.name) } "." }
        }
        @match &view {
            None => { (begin(&dataset)) }
            Some(AnalysisView { record, report: Some(report) }) => { (found(&dataset, record, report, first, limit)) }
            Some(AnalysisView { record, report: None }) => { (unfinished(&dataset, record)) }
        }
    };
    Ok(page(StatusCode::OK, &format!("Doubtful labels of {}", dataset.name), &body))
}

fn explanation() -> Markup {
    html! {
        p {
            "Small networks learn from a part of the pictures and are asked about the rest. Where one that never saw a "
            "picture is surer of another kind than it usually is of that kind, the label is worth a look."
        }
    }
}

fn start_button(dataset: &DatasetRecord, text: &str) -> Markup {
    html! {
        p.actions {
            button.button type="button" data-post={ "/v1/datasets/" (dataset.id) "/doubts" } data-status="#doubts-status" { (text) }
        }
        div #doubts-status role="status" aria-live="polite" {}
    }
}

fn begin(dataset: &DatasetRecord) -> Markup {
    html! {
        section.card.narrow {
            (explanation())
            p.small { "It takes a few minutes, beside whatever else is trained. Nothing is changed by it." }
            (start_button(dataset, "Look for doubtful labels"))
        }
    }
}

fn unfinished(dataset: &DatasetRecord, record: &AnalysisRecord) -> Markup {
    html! {
        section.card.narrow {
            @if record.state == AnalysisState::Failed {
                div.alert role="alert" {
                    strong { "The search could not be done" }
                    @if let Some(reason) = &record.reason { p { (reason) } }
                }
                (start_button(dataset, "Try again"))
            } @else {
                (explanation())
                div data-reload="2000" role="status" {
                    p { @if record.state == AnalysisState::Waiting { "Waiting to begin." } @else { "Looking, " (plain::percent(record.progress)) " done." } " This page goes on by itself." }
                    div.bar { svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" { rect width=(format!("{:.1}", record.progress * 100.0)) height="1" {} } }
                }
            }
        }
    }
}

fn found(dataset: &DatasetRecord, record: &AnalysisRecord, report: &DoubtReport, first: usize, limit: usize) -> Markup {
    let shown: Vec<_> = report.doubts.iter().skip(first).take(limit).collect();
    let last = first + shown.len();
    html! {
        section.card {
            p {
                strong { (plain::counted(report.doubts.len() as u64, "doubtful label")) } " among "
                (plain::counted(report.examples as u64, "picture")) ", the most doubtful first. It is a list to look through: "
                "pictures that are only rare or odd are on it too."
            }
            p.small {
                "Networks that did not see a picture gave its label for " (plain::percent(report.agreement)) " of them. They are wrong "
                "at times themselves, and that counts in the method's own estimate of " (format!("{:.0}", report.estimated)) " wrong labels: expect fewer. "
                (report.folds) " parts held out in turn, " (report.epochs) " epochs each, " (plain::seconds(report.seconds))
                ", " (plain::when(record.updated_at)) "."
            }
            @if shown.is_empty() {
                p.empty { "None." }
            } @else {
                form #relabel data-dataset=(dataset.id) {
                    ul.doubts { @for (i, doubt) in shown.iter().enumerate() { li { (choice(&dataset.id, report, doubt, first + i)) } } }
                    div.apply {
                        span #relabel-count role="status" aria-live="polite" { "Nothing is changed yet." }
                        button.button type="submit" disabled { "Make a new version" }
                    }
                    div #relabel-status role="status" aria-live="polite" {}
                    p.small { "The data set stays as it is. The new version has the changes above; every other picture stays on its side of learning, choosing and testing." }
                }
                @if last < report.doubts.len() {
                    p.actions { a.button.plain href={ "/datasets/" (dataset.id) "/doubts?limit=" (limit) "&after=" (last - 1) } { "The next " ((report.doubts.len() - last).min(limit)) } }
                    p.small { "Changes are of this page: make a version before you go on, or take them through the API." }
                }
            }
            details { summary { "Look again" } (start_button(dataset, "Look for doubtful labels again")) }
        }
    }
}

/// One picture, what is said of it, and three ways to go on.
fn choice(id: &DatasetId, report: &DoubtReport, doubt: &DoubtEntry, place: usize) -> Markup {
    let name = format!("doubt-{place}");
    let sure = |class: &str| {
        let at = report.classes.iter().position(|c| c == class);
        plain::percent(f64::from(at.and_then(|at| doubt.probabilities.get(at)).copied().unwrap_or(0.0)))
    };
    let option = |key: &str, on: bool, text: Markup| {
        html! {
            input type="radio" name=(name) id={ (name) "-" (key) } value=(key) checked[on];
            label for={ (name) "-" (key) } { (text) }
        }
    };
    html! {
        fieldset.doubt data-example=(doubt.example) data-suggested=(doubt.suggested) {
            legend.hidden { (doubt.path) }
            a href={ "/v1/datasets/" (id) "/examples/" (doubt.example) "/image" } {
                img loading="lazy" width="192" height="192" src={ "/v1/datasets/" (id) "/examples/" (doubt.example) "/image?size=384" } alt={ "labelled " (doubt.given) ", probably " (doubt.suggested) } title=(doubt.path);
            }
            p { "Labelled " strong { (doubt.given) } " " span.small { (sure(&doubt.given)) } br; "probably " strong { (doubt.suggested) } " " span.small { (sure(&doubt.suggested)) } }
            div.choices {
                (option("keep", true, html! { "Keep" }))
                (option("change", false, html! { "It is " (doubt.suggested) }))
                (option("remove", false, html! { "Remove" }))
            }
        }
    }
}
