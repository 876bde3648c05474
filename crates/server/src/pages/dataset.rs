//! `/datasets/{id}`: the audit in plain words, the pictures, and the form that posts a task.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use kindling_data::{Audit, ClassCount, Conflict, Dataset, Labels, Listed, Manifest};
use kindling_spec::{DatasetId, DatasetState, Metric, Split, TaskKind, TaskSpec};
use kindling_store::DatasetRecord;
use maud::{Markup, html};
use std::collections::HashMap;

use super::{boxes, page, parts, plain};
use crate::api::datasets::Which;
use crate::request::{Query, dataset_id};
use crate::{Problem, app::App};

/// Items of a list on the page; the API's `summary.audit` has more.
const SHOWN: usize = 20;
/// Pictures in the grid.
const GRID: u32 = 48;

pub(crate) async fn show(
    app: App,
    Path(id): Path<String>,
    Query(mut which): Query<Which>,
) -> Result<Response, Problem> {
    let record = app.service().dataset(&dataset_id(&id)?).await?;
    let body = if record.state == DatasetState::Ready {
        let dataset = app.service().open_dataset(&record.id).await?;
        which.limit = which.limit.or(Some(GRID));
        ready(&record, &dataset, &which)?
    } else {
        waiting(&record)
    };
    Ok(page(StatusCode::OK, &record.name, &body))
}

fn heading(record: &DatasetRecord) -> Markup {
    let parent = record.summary.as_ref().and_then(|summary| summary.get("parent"));
    let draft = record.summary.as_ref().and_then(|summary| summary.get("draft")?.as_str());
    let count =
        |parent: &serde_json::Value, name: &str| parent.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    html! {
        section.heading {
            p.eyebrow { "Data set" }
            h1 { (record.name) " " (parts::state(record.state.as_str())) }
            @if let Some(parent) = parent {
                p.small {
                    "A new version of " a href={ "/datasets/" (parent.get("dataset").and_then(serde_json::Value::as_str).unwrap_or_default()) } { "another data set" }
                    ": " (plain::counted(count(parent, "relabelled"), "label")) " changed, " (plain::counted(count(parent, "removed"), "picture")) " removed."
                }
            }
            @if let Some(draft) = draft {
                p.small { "Made of " a href={ "/drafts/" (draft) } { "a draft" } ", which can be gone on with." }
            }
        }
    }
}

fn waiting(record: &DatasetRecord) -> Markup {
    html! {
        (heading(record))
        section.card.narrow {
            @match record.state {
                DatasetState::Processing => {
                    div data-reload="2000" role="status" {
                        p { "The pictures are being read, checked and packed. This page goes on by itself." }
                        div.bar.busy { span {} }
                    }
                }
                DatasetState::Refused => {
                    @if let Some(problem) = &record.problem { (parts::refusal(problem.code, &problem.detail)) }
                    h2 { "Try again with another archive" }
                    (parts::upload_form(Some(&record.id)))
                }
                _ => {
                    p { "It has no pictures yet." }
                    (parts::upload_form(Some(&record.id)))
                }
            }
        }
    }
}

fn ready(record: &DatasetRecord, dataset: &Dataset, which: &Which) -> Result<Markup, Problem> {
    let manifest = dataset.manifest();
    let grid = which.pick(dataset)?;
    Ok(html! {
        (heading(record))
        div.columns.wide-left {
            div.stack {
                section.card aria-labelledby="audit-title" {
                    h2 #audit-title { "What is in it" }
                    (audit_words(manifest))
                    (counts(&manifest.audit))
                    (boxes::audit_words(&manifest.audit))
                }
                (findings(&record.id, manifest))
            }
            (task_form(record, manifest))
        }
        section.card #pictures aria-labelledby="pictures-title" {
            div.line {
                h2 #pictures-title { "Pictures" }
                button.button.plain type="button" data-draft-from=(record.id) { "Change labels or add pictures" }
            }
            div #draft-status role="status" aria-live="polite" {}
            (filters(&record.id, manifest, which))
            @if grid.items.is_empty() { p.empty { "None of this kind." } }
            div.thumbs.grid.large[manifest.labels == Labels::Boxes] {
                @for index in &grid.items {
                    @let example = &manifest.examples[*index];
                    a.boxed href={ "/v1/datasets/" (record.id) "/examples/" (index) "/image" } {
                        @if manifest.labels == Labels::Boxes {
                            img loading="lazy" width="192" height="192" src=(thumbnail(&record.id, *index)) alt=(boxes::words(example, manifest)) title=(example.path);
                            (boxes::drawing(example, manifest))
                        } @else {
                            img loading="lazy" width="96" height="96" src=(thumbnail(&record.id, *index)) alt=(manifest.classes[example.class]) title=(example.path);
                        }
                    }
                }
            }
            @if let Some(next) = &grid.next {
                p.actions { a.button.plain href={ (link(&record.id, which.class.as_deref(), which.split.as_deref())) @if which.empty == Some(true) { "&empty=true" } "&after=" (next) "#pictures" } { "More" } }
            }
        }
    })
}

fn thumbnail(id: &DatasetId, index: usize) -> String {
    format!("/v1/datasets/{id}/examples/{index}/image?size=192")
}

fn total(manifest: &Manifest, split: Split) -> u64 {
    manifest.examples.iter().filter(|e| e.split == split).count() as u64
}

fn audit_words(manifest: &Manifest) -> Markup {
    let sizes = &manifest.audit.sizes;
    html! {
        p {
            strong { (plain::counted(manifest.examples.len() as u64, "picture")) }
            @if manifest.labels == Labels::Boxes {
                " with " strong { (boxes::total(manifest)) " boxes" } " around things of " (manifest.classes.len()) " kinds. "
            } @else {
                " of " (manifest.classes.len()) " kinds. "
            }
            (plain::count(total(manifest, Split::Train))) " to learn from, "
            (plain::count(total(manifest, Split::Validation))) " to choose the best network by, and "
            (plain::count(total(manifest, Split::Test))) " kept aside for the final test."
        }
        p.small {
            @if sizes.width[0] == sizes.width[2] && sizes.height[0] == sizes.height[2] {
                "All are " (sizes.width[0]) "×" (sizes.height[0]) " pixels."
            } @else {
                "They are " (sizes.width[0]) "×" (sizes.height[0]) " to " (sizes.width[2]) "×" (sizes.height[2])
                " pixels, typically " (sizes.width[1]) "×" (sizes.height[1]) "."
            }
        }
        @for warning in &manifest.audit.warnings { p.warning { (warning) } }
    }
}

/// Examples of each class or, where the labels are boxes, the boxes of each.
fn counts(audit: &Audit) -> Markup {
    let counts = audit.boxes.as_ref().map_or(&audit.class_counts, |boxes| &boxes.counts);
    let all = |c: &ClassCount| c.train + c.validation + c.test;
    let pictures = |class: &str| audit.class_counts.iter().find(|c| c.class == class).map_or(0, all);
    let most = counts.iter().map(all).max().unwrap_or(1).max(1);
    html! {
        div.scroll {
            table {
                thead { tr {
                    th scope="col" { "Kind" } th.number scope="col" { "Learn" } th.number scope="col" { "Choose" } th.number scope="col" { "Test" }
                    th.number scope="col" { @if audit.boxes.is_some() { "Boxes" } @else { "All" } }
                    @if audit.boxes.is_some() { th.number scope="col" { "Pictures" } }
                    th.meter-column { span.hidden { "Share" } }
                } }
                tbody {
                    @for class in counts {
                        tr {
                            th scope="row" { (class.class) }
                            td.number { (class.train) } td.number { (class.validation) } td.number { (class.test) } td.number { strong { (all(class)) } }
                            @if audit.boxes.is_some() { td.number { (pictures(&class.class)) } }
                            td.meter-column { meter min="0" max=(most) value=(all(class)) { (all(class)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What the audit found, where it found something.
fn findings(id: &DatasetId, manifest: &Manifest) -> Markup {
    let audit = &manifest.audit;
    let quiet = audit.broken.total == 0
        && audit.label_conflicts.total == 0
        && audit.near_duplicates.total == 0
        && audit.exact_duplicates.total == 0;
    html! {
        section.card aria-labelledby="findings-title" {
            h2 #findings-title { "What to know about it" }
            @if quiet { p { "Every file could be read, and no two pictures are the same." } }
            (conflicts(id, manifest))
            (boxes::findings(audit, SHOWN))
            @if audit.broken.total > 0 {
                details {
                    summary { (plain::counted(audit.broken.total as u64, "file")) " could not be used" }
                    ul.list { @for broken in audit.broken.items.iter().take(SHOWN) { li { code { (broken.path) } span.small { (broken.reason) } } } }
                    (rest(&audit.broken))
                }
            }
            (duplicates("exact copies; one of each was kept", &audit.exact_duplicates))
            (duplicates("pictures that look alike; they were kept together, so that none is learnt and tested at once", &audit.near_duplicates))
            @if manifest.labels == Labels::Classes {
                p.small { "A label may still be wrong: " a href={ "/datasets/" (id) "/doubts" } { "look for doubtful labels" } "." }
            }
            @if audit.other_files > 0 { p.small { (plain::counted(audit.other_files as u64, "other file")) " left out." } }
        }
    }
}

pub(super) fn rest<T>(list: &Listed<T>) -> Markup {
    html! { @if list.total > SHOWN { p.small { "… and " (list.total - SHOWN) " more." } } }
}

fn duplicates(what: &str, list: &Listed<Vec<String>>) -> Markup {
    html! {
        @if list.total > 0 {
            details {
                summary { (plain::counted(list.total as u64, "group")) " of " (what) }
                ul.list { @for group in list.items.iter().take(SHOWN) { li { @for path in group.iter().take(6) { code { (path) } " " } @if group.len() > 6 { "… " (group.len()) " in all" } } } }
                (rest(list))
            }
        }
    }
}

fn conflicts(id: &DatasetId, manifest: &Manifest) -> Markup {
    let list = &manifest.audit.label_conflicts;
    if list.total == 0 {
        return html! {};
    }
    let index: HashMap<&str, usize> = manifest.examples.iter().enumerate().map(|(i, e)| (e.path.as_str(), i)).collect();
    html! {
        details open {
            summary { (plain::counted(list.total as u64, "group")) " of look-alikes with different labels: one of them is probably in the wrong folder" }
            @for Conflict { exact, files } in list.items.iter().take(SHOWN / 2) {
                div.thumbs.conflict {
                    @for file in files.iter().take(6) {
                        figure {
                            @if let Some(index) = index.get(file.path.as_str()) {
                                img loading="lazy" width="96" height="96" src=(thumbnail(id, *index)) alt=(file.path) title=(file.path);
                            }
                            figcaption { (file.class) }
                        }
                    }
                    span.small { @if *exact { "the same file" } @else { "look alike" } }
                }
            }
        }
    }
}

/// The page showing a part of the pictures.
fn link(id: &DatasetId, class: Option<&str>, split: Option<&str>) -> String {
    let mut link = format!("/datasets/{id}?limit={GRID}");
    for (name, value) in [("class", class), ("split", split)] {
        if let Some(value) = value {
            link += &format!("&{name}={}", encode(value));
        }
    }
    link
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}

fn filters(id: &DatasetId, manifest: &Manifest, which: &Which) -> Markup {
    let (class, split) = (which.class.as_deref(), which.split.as_deref());
    let chip = |text: &str, to: String, on: bool| {
        html! { a.chip href={ (to) "#pictures" } aria-current=[on.then_some("true")] { (text) } }
    };
    html! {
        nav.chips aria-label="Kind" {
            (chip("all kinds", link(id, None, split), class.is_none() && which.empty.is_none()))
            @for name in &manifest.classes { (chip(name, link(id, Some(name), split), class == Some(name.as_str()))) }
            @if manifest.labels == Labels::Boxes { (chip("nothing", link(id, None, split) + "&empty=true", which.empty == Some(true))) }
        }
        nav.chips aria-label="Part" {
            (chip("all parts", link(id, class, None), split.is_none()))
            @for (word, name) in [("train", "learn"), ("validation", "choose"), ("test", "test")] {
                (chip(name, link(id, class, Some(word)), split == Some(word)))
            }
        }
    }
}

fn task_form(record: &DatasetRecord, manifest: &Manifest) -> Markup {
    let boxed = manifest.labels == Labels::Boxes;
    let kinds: &[(TaskKind, &str)] = match (manifest.labels, manifest.classes.len()) {
        (Labels::Boxes, _) => &[
            (TaskKind::ObjectDetection, "find what is where"),
            (TaskKind::ObjectLocalization, "find the one thing in each picture"),
        ],
        (Labels::Classes, 1) => &[(TaskKind::AnomalyDetection, "notice what is unlike good pictures")],
        (Labels::Classes, _) if record.kind == TaskKind::AnomalyDetection => &[
            (TaskKind::AnomalyDetection, "notice what is unlike good pictures"),
            (TaskKind::ImageClassification, "tell the kinds apart"),
        ],
        (Labels::Classes, _) => &[
            (TaskKind::ImageClassification, "tell the kinds apart"),
            (TaskKind::AnomalyDetection, "notice what is unlike good pictures"),
        ],
    };
    let good = |class: &String| class == TaskSpec::GOOD;
    html! {
        section.card.accent aria-labelledby="grow-title" {
            h2 #grow-title { "Grow a model" }
            form #grow data-dataset=(record.id) {
                label for="name" { "What to call it" }
                input #name name="name" maxlength="200" required value=(record.name);
                label for="kind" { "What it should do" }
                select #kind name="kind" {
                    @for (kind, text) in kinds { option value=(kind) { (text) } }
                }
                @if !boxed {
                    div data-for=(TaskKind::AnomalyDetection) {
                        label for="good" { "Which pictures are good" }
                        select #good name="good" {
                            @for class in &manifest.classes { option value=(class) selected[good(class)] { (class) } }
                        }
                        p.small { "It learns from these alone; all others are faulty, and are only used to choose and to test." }
                        label for="alarms" { "Good pictures that may be called faulty, in 100" }
                        input #alarms name="alarms" type="number" inputmode="decimal" min="0.1" max="50" step="any" value=(TaskSpec::FALSE_ALARMS * 100.0);
                    }
                }
                fieldset data-for="others" {
                    legend { @if boxed { "What should it find?" } @else { "What should it tell apart?" } }
                    p.small { "Untick what it need not know. Give two kinds the same answer to make them one." }
                    @for (i, class) in manifest.classes.iter().enumerate() {
                        div.kind-row {
                            input type="checkbox" id={ "use-" (i) } data-class=(class) checked;
                            label for={ "use-" (i) } { (class) }
                            span aria-hidden="true" { "→" }
                            input data-answer=(class) value=(class) maxlength="100" aria-label={ "Answer for " (class) };
                        }
                    }
                }
                div.pair {
                    div {
                        label for="seconds" { "Time to search" }
                        select #seconds name="seconds" {
                            @for (seconds, text) in [(60, "1 minute"), (300, "5 minutes"), (900, "15 minutes"), (3600, "1 hour"), (28_800, "8 hours")] {
                                option value=(seconds) selected[seconds == 60] { (text) }
                            }
                        }
                    }
                    div {
                        label for="kilobytes" { "At most, in kB" }
                        input #kilobytes name="kilobytes" type="number" inputmode="decimal" min="1" step="any" value="100";
                    }
                }
                details {
                    summary { "More" }
                    label for="latency" { "Milliseconds for one picture, at most" }
                    input #latency name="latency" type="number" inputmode="decimal" min="0.001" step="any" placeholder="no limit";
                    @if !boxed {
                        div data-for=(TaskKind::ImageClassification) {
                            label for="metric" { "What counts" }
                            select #metric name="metric" {
                                @for (metric, text) in [
                                    (Metric::Accuracy, "how many pictures it gets right"),
                                    (Metric::BalancedAccuracy, "every kind equally, also rare ones"),
                                    (Metric::F1Macro, "F1, the mean over the kinds"),
                                ] {
                                    option value=(metric) { (text) }
                                }
                            }
                        }
                    }
                }
                div #grow-status role="status" aria-live="polite" {}
                button.button type="submit" { "Start" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_any_name_fits_into_a_link() {
        assert_eq!(encode("not fire & smoke/é"), "not%20fire%20%26%20smoke%2F%C3%A9");
    }
}
