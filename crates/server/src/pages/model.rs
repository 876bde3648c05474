//! `/models/{id}`: one model.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;

use super::{page, parts, plain};
use crate::request::model_id;
use crate::{Problem, app::App};

pub(crate) async fn show(app: App, Path(id): Path<String>) -> Result<Response, Problem> {
    let model = app.service().model(&model_id(&id)?).await?;
    let task = app.service().task(&model.task).await?;
    let mistakes = app.service().mistakes(&model.id).await?;
    let card = parts::card(&model);
    let family = card.as_ref().map_or("network", |c| c.genome.family.as_str());
    let body = html! {
        section.heading {
            p.eyebrow { "Model" }
            h1 { (task.spec.name) }
            p.small { "A " (family) " network of task " a href={ "/tasks/" (task.id) } { (task.spec.name) } ", made " (plain::when(model.created_at)) "." }
        }
        div #model data-model=(model.id) {
            div.columns {
                section.card #best aria-labelledby="best-title" {
                    h2 #best-title { "How good it is" }
                    @match &card { Some(card) => { (parts::figures(card)) } None => { p.empty { "Its card cannot be read." } } }
                    p.small { a href={ "/v1/models/" (model.id) } { "The whole card as JSON" } }
                }
                (parts::try_box(Some(&model.id)))
            }
            section.card #downloads aria-labelledby="downloads-title" {
                h2 #downloads-title { "Take it with you" }
                (parts::downloads(&model))
            }
            @if let Some(card) = &card {
                section.card #mistakes aria-labelledby="mistakes-title" {
                    h2 #mistakes-title { "What it gets wrong" }
                    (parts::confusion(card, &mistakes, &task.dataset))
                }
                section.card aria-labelledby="checks-title" {
                    h2 #checks-title { "Checked before it was offered" }
                    @if card.checks.is_empty() { p.empty { "No check is on its card." } }
                    @else {
                        ul.list {
                            @for check in &card.checks {
                                li { code { (check.file) } span.small { (check.how) " on " (plain::counted(check.images, "picture")) ": probabilities differ by at most " (format!("{:.1e}", check.max_difference)) " (allowed " (format!("{:.0e}", check.tolerance)) ")" } }
                            }
                        }
                    }
                    p.small { (card.ownership) }
                }
            }
        }
    };
    Ok(page(StatusCode::OK, &task.spec.name, &body))
}
