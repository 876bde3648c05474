//! `/drafts/{id}`: pictures to be labelled, one at a time, by mouse, finger or keyboard. The script draws it; what is
//! written here is its frame.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use kindling_engine::labels_for;
use kindling_spec::ModelId;
use kindling_store::{DraftCounts, DraftRecord, LabelKind, TaskRecord};
use maud::{Markup, html};

use super::{page, plain};
use crate::request::draft_id;
use crate::{Problem, app::App};

/// Tasks whose best models are offered to suggest labels; the API takes any model.
const TASKS: u32 = 50;

/// What each key does; the script has the same list in mind.
const KEYS: [(&str, &str, bool); 11] = [
    ("1 – 9", "choose a kind", false),
    ("0", "nothing here", false),
    ("← →", "the picture before, the next", false),
    ("Enter", "the next without a label", false),
    ("A", "take the suggestion", false),
    ("S", "leave the picture out", false),
    ("Z", "take the last step back", false),
    ("B", "a new box in the middle", true),
    ("Tab", "select the next box; Esc lets it go", true),
    ("← ↑ → ↓", "move the selected box; with Alt, its size; with Shift, less", true),
    ("Delete", "remove the selected box", true),
];

pub(crate) async fn show(app: App, Path(id): Path<String>) -> Result<Response, Problem> {
    let (draft, counts) = app.service().draft(&draft_id(&id)?).await?;
    let tasks = app.meta().tasks(Some(app.project()), None, TASKS).await?;
    let fits = |task: &TaskRecord| labels_for(task.spec.kind) == draft.labels;
    let named = |task: TaskRecord| Some((task.spec.name.clone(), task.best_model?));
    let models: Vec<(String, ModelId)> = tasks.into_iter().filter(fits).filter_map(named).collect();
    Ok(page(StatusCode::OK, &draft.name, &body(&draft, counts, &models)))
}

fn body(draft: &DraftRecord, counts: DraftCounts, models: &[(String, ModelId)]) -> Markup {
    let boxed = draft.labels == LabelKind::Boxes;
    html! {
        section.heading.line {
            div {
                p.eyebrow { "Draft data set" @if let Some(parent) = &draft.parent { ", begun from " a href={ "/datasets/" (parent) } { "another" } } }
                h1 { (draft.name) }
            }
            div.label-progress {
                p #label-count { (plain::count(counts.labelled)) " of " (plain::counted(counts.examples, "picture")) " labelled" }
                div.bar { span #label-bar {} }
            }
        }
        section #label data-draft=(draft.id) data-labels=(draft.labels.as_str()) aria-label="Labelling" hidden[counts.examples == 0] {
            div.label-stage {
                div #stage.stage tabindex="0" role="application" aria-label="The picture" aria-describedby="stage-said" {
                    img #picture alt="" draggable="false";
                    svg #boxes aria-hidden="true" {}
                }
                p #stage-said.hidden role="status" aria-live="polite" {}
                div.label-foot {
                    button.button.plain type="button" data-do="before" aria-label="The picture before" { "←" }
                    span.small #label-place {}
                    span #saved.saved role="status" aria-live="polite" {}
                    button.button.plain type="button" data-do="after" aria-label="The next picture" { "→" }
                }
            }
            aside.label-side {
                div #kinds.kinds role="group" aria-label="Kinds" {}
                div.label-buttons {
                    button.button.plain type="button" data-do="nothing" { kbd { "0" } @if boxed { "Nothing here" } @else { "None of these" } }
                    button.button.plain type="button" data-do="skip" { kbd { "S" } "Leave out" }
                    button.button.plain type="button" data-do="undo" { kbd { "Z" } "Undo" }
                    button.button.plain type="button" data-do="next" { kbd { "↵" } "Next open" }
                    button.button.plain type="button" data-do="accept" hidden { kbd { "A" } "Take suggestion" }
                    @if boxed { button.button.plain type="button" data-do="remove" hidden { kbd { "Del" } "Remove box" } }
                }
                div #label-problem role="alert" {}
                form #add-kind.inline {
                    label.hidden for="kind" { "Another kind" }
                    input #kind name="kind" maxlength="200" placeholder="Another kind" autocomplete="off" required;
                    button.button.plain type="submit" { "Add" }
                }
                details {
                    summary { "Keys" }
                    dl.keys { @for (key, what, of_boxes) in KEYS { @if boxed || !of_boxes { div { dt { kbd { (key) } } dd { (what) } } } } }
                }
            }
            nav #strip.strip aria-label="Pictures" {}
        }
        div.columns {
            section.card aria-labelledby="add-title" {
                h2 #add-title { @if counts.examples == 0 { "Add pictures" } @else { "Add more pictures" } }
                form #add-pictures {
                    label.drop #add-drop for="pictures" {
                        strong { "Drop pictures here, or a zip of them" }
                        span { "PNG, JPEG, WebP, BMP or TIFF; zip, tar or tar.gz" }
                        input #pictures type="file" multiple accept="image/*,.zip,.tar,.gz,.tgz" data-over="#add-drop";
                    }
                    div #add-status.status role="status" aria-live="polite" {}
                    div #add-bar.bar hidden { span {} }
                }
            }
            div.stack {
                (suggestions(models))
                section.card.accent aria-labelledby="seal-title" {
                    h2 #seal-title { "Seal it" }
                    p { "A sealed data set never changes: models made from it can be checked again. The draft stays, and what has no label yet is left out." }
                    form #seal {
                        label for="seal-name" { "What to call it" }
                        input #seal-name name="name" maxlength="200" required value=(draft.name);
                        div #seal-status role="status" aria-live="polite" {}
                        button.button type="submit" { "Seal as a data set" }
                    }
                }
            }
        }
        script src="/assets/label.js" defer {}
    }
}

fn suggestions(models: &[(String, ModelId)]) -> Markup {
    html! {
        section.card #suggestions aria-labelledby="suggest-title" {
            h2 #suggest-title { "Let a model suggest" }
            @if models.is_empty() {
                p.empty { "There is no model yet. Label some pictures, seal them and grow one; it can suggest labels for the rest." }
            } @else {
                form #suggest.inline {
                    label.hidden for="suggest-model" { "Model" }
                    select #suggest-model name="model" { @for (name, model) in models { option value=(model) { (name) } } }
                    button.button.plain type="submit" { "Ask it" }
                }
            }
            div #suggest-status role="status" aria-live="polite" {}
            div #bulk hidden {
                label for="doubt" { "Take what it is at least this sure of" }
                div.range { input #doubt type="range" min="0" max="100" value="95"; output #sure for="doubt" { "95%" } }
                div #bulk-grid.thumbs.grid {}
                p.actions { button.button type="button" #bulk-accept { "Take none" } button.button.plain type="button" data-do="doubtful" { "Show the most doubtful" } }
            }
        }
    }
}
