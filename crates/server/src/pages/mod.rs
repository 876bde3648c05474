//! The pages: written on the server, brought to life by one small script, styled by one file.

mod advice;
mod boxes;
mod chart;
mod dataset;
mod doubts;
mod fleet;
mod home;
mod label;
mod login;
mod model;
mod parts;
mod plain;
mod service;
mod task;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kindling_spec::{ErrorCode, Scope};
use maud::{DOCTYPE, Markup, html};

use crate::middleware::Final;
use crate::{Problem, about};

pub(crate) use dataset::show as dataset;
pub(crate) use doubts::show as doubts;
pub(crate) use fleet::{live as fleet_live, show as fleet};
pub(crate) use home::show as home;
pub(crate) use label::show as label;
pub(crate) use login::{LogIn, address as login_address, leave as log_out, show as login, take as log_in};
pub(crate) use model::show as model;
pub(crate) use service::show as service;
pub(crate) use task::{live as task_live, show as task};

tokio::task_local! {
    /// What who asks for a page may do: the frame of every page leads an administrator further than others.
    pub(crate) static VISITOR: Scope;
}

/// The frame around every page.
fn layout(title: &str, body: &Markup) -> Markup {
    let is_admin = VISITOR.try_with(|scope| *scope == Scope::Admin).unwrap_or(false);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Kindling" }
                link rel="icon" type="image/svg+xml" href="/favicon.ico";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/app.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" { (mark()) span { "Kindling" } }
                    nav aria-label="Main" {
                        a href="/" { "Home" }
                        @if is_admin { a href="/service" { "Service" } }
                        a href="/openapi.json" { "API" }
                        a href="/login" { "Key" }
                    }
                }
                main #main { (body) }
                noscript { p.note { "Uploading, live progress and trying a model need JavaScript; everything else works without." } }
            }
        }
    }
}

/// A page with a status.
fn page(status: StatusCode, title: &str, body: &Markup) -> Response {
    html_response(status, layout(title, body))
}

/// Markup with a status. What it shows changes by the second, so it is not kept.
fn html_response(status: StatusCode, markup: Markup) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, markup.into_string()).into_response()
}

fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" aria-hidden="true" {
            path d="M12 2c1 4 6 6.5 6 12a6 6 0 0 1-12 0c0-2.5 1.200-4 2.5-5.500C9 10 9.5 11 10.500 11 12 9 12 5 12 2z" {}
        }
    }
}

/// An error as a page.
pub(crate) fn problem(problem: &Problem, request: &str) -> Response {
    let body = html! {
        section.card.narrow {
            p.eyebrow { "Error " (problem.status.as_u16()) }
            h1 { (about(problem.code).title) }
            p { (problem.detail) }
            p.actions {
                a.button href="/" { "To the start" }
                a.quiet href={ "/problems/" (problem.code) } { "What does this mean?" }
            }
            p.small { "Request " code { (request) } }
        }
    };
    let mut response = page(problem.status, about(problem.code).title, &body);
    for (name, value) in &problem.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response.extensions_mut().insert(Final);
    response
}

/// What an error means: where a problem's `type` leads.
pub(crate) async fn explain(Path(code): Path<String>) -> Result<Response, Problem> {
    let Some(code) = ErrorCode::from_word(&code) else {
        return Err(Problem::new(ErrorCode::NotFound, "no problem has this name"));
    };
    let about = about(code);
    let body = html! {
        section.card.narrow {
            p.eyebrow { "Problem · HTTP " (about.status.as_u16()) }
            h1 { (about.title) }
            p { (about.explanation) }
            p.small { "Code " code { (code) } }
        }
    };
    Ok(page(StatusCode::OK, about.title, &body))
}

fn asset(text: &'static str, media_type: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

pub(crate) async fn style() -> Response {
    asset(include_str!("../assets/style.css"), "text/css; charset=utf-8")
}

pub(crate) async fn script() -> Response {
    asset(include_str!("../assets/app.js"), "text/javascript; charset=utf-8")
}

pub(crate) async fn label_script() -> Response {
    asset(include_str!("../assets/label.js"), "text/javascript; charset=utf-8")
}

pub(crate) async fn icon() -> Response {
    asset(include_str!("../assets/icon.svg"), "image/svg+xml")
}
