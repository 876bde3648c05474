//! `/login`: a key, given once and kept by the browser in a cookie that no script reads.

use axum::body::Body;
use axum::extract::{Form, FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use kindling_spec::ErrorCode;
use kindling_store::KeyRecord;
use maud::{Markup, html};
use serde::Deserialize;
use utoipa::ToSchema;

use super::dataset::encode;
use super::{page, plain};
use crate::access::{COOKIE, given};
use crate::middleware::{Final, address as address_of};
use crate::request::{Query, read_within};
use crate::{Problem, app::Host};

/// Bytes of the form, at most.
const FORM_BYTES: usize = 8 << 10;

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    next: Option<String>,
}

/// What the form sends.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct LogIn {
    /// The key.
    key: String,
    /// The page to go to afterwards.
    #[schema(required = false, nullable = false)]
    next: Option<String>,
}

/// The address of the page, which leads on to another.
pub(crate) fn address(next: &str) -> String {
    if next == "/" { "/login".to_owned() } else { format!("/login?next={}", encode(next)) }
}

/// An address of this service's, or the start: a link must not lead elsewhere by way of the log-in.
fn onward(next: Option<&str>) -> &str {
    let rest = next.and_then(|next| next.strip_prefix('/')).filter(|rest| !rest.starts_with(['/', '\\']));
    match (next, rest) {
        (Some(next), Some(_)) if next.bytes().all(|b| b.is_ascii_graphic()) => next,
        _ => "/",
    }
}

pub(crate) async fn show(
    State(host): State<Host>,
    Query(Target { next }): Query<Target>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let service = host.whole_service();
    if !host.access().has_keys(service).await? {
        return Ok(page(StatusCode::OK, "Key", &not_wanted()));
    }
    // A cookie that is no longer good is as none.
    let held = match given(&headers) {
        Ok(Some(text)) => service.authenticate(text).await?,
        _ => None,
    };
    let body = match held {
        Some(key) => {
            let project = service.store().meta.project(&key.project).await?.name;
            logged_in(&key, &project)
        }
        None => form(onward(next.as_deref()), None),
    };
    Ok(page(StatusCode::OK, "Key", &body))
}

fn not_wanted() -> Markup {
    html! {
        section.card.narrow {
            h1 { "No key is wanted" }
            p { "Whoever reaches this service may use it. The first key that is made closes it to everyone without one:" }
            pre { code { "kindling keys create --name … --scope write" } }
            p.actions { a.button href="/" { "To the start" } }
        }
    }
}

fn logged_in(key: &KeyRecord, project: &str) -> Markup {
    html! {
        section.card.narrow {
            p.eyebrow { "Logged in" }
            h1 { (key.name) }
            p {
                "This key may " (key.scope.as_str()) " in the project " strong { (project) }
                @if let Some(end) = key.expires_at { ", until " (plain::when(end)) }
                "."
            }
            form method="post" action="/logout" { button.button type="submit" { "Log out" } }
        }
    }
}

fn form(next: &str, problem: Option<&Problem>) -> Markup {
    html! {
        section.card.narrow {
            h1 { "Log in" }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                label for="key" { "Your key" }
                input #key name="key" type="password" autocomplete="current-password" required placeholder="kdl_…" autofocus;
                @if let Some(problem) = problem { div.alert role="alert" { p { (problem.detail) } } }
                button.button type="submit" { "Log in" }
            }
            p.small { "Who runs the service makes keys: " code { "kindling keys create" } }
        }
    }
}

pub(crate) async fn take(State(host): State<Host>, request: Request) -> Result<Response, Problem> {
    let (address, secure) = (address_of(&request), is_secure(request.headers()));
    let too_large = || Problem::request("the form is too large").with_status(StatusCode::PAYLOAD_TOO_LARGE);
    let body = read_within(request, FORM_BYTES, host.config().json_time, too_large).await?;
    let LogIn { key, next } = parse(body.into()).await?;
    let (service, next) = (host.whole_service(), onward(next.as_deref()));
    if !host.access().has_keys(service).await? {
        return Ok(Redirect::to(next).into_response());
    }
    let key = key.trim();
    match host.access().holder(service, key, address).await {
        Ok(_) => with_cookie(Redirect::to(next), key, secure, ""),
        Err(problem) if problem.code == ErrorCode::Unauthorized => {
            let mut response = page(problem.status, "Log in", &form(next, Some(&problem)));
            for (name, value) in &problem.headers {
                response.headers_mut().insert(name, value.clone());
            }
            response.extensions_mut().insert(Final);
            Ok(response)
        }
        Err(problem) => Err(problem),
    }
}

async fn parse(body: Body) -> Result<LogIn, Problem> {
    let form = Request::builder()
        .method(Method::POST)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body)
        .map_err(Problem::internal)?;
    let read = Form::<LogIn>::from_request(form, &()).await;
    read.map(|Form(given)| given).map_err(|error| Problem::request(format!("the form cannot be read: {error}")))
}

pub(crate) async fn leave(headers: HeaderMap) -> Result<Response, Problem> {
    with_cookie(Redirect::to("/login"), "", is_secure(&headers), "; Max-Age=0")
}

/// Whether the browser came by https, as what stands before the service tells.
fn is_secure(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|protocol| protocol == "https")
}

fn with_cookie(to: Redirect, key: &str, secure: bool, age: &str) -> Result<Response, Problem> {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={key}; Path=/; HttpOnly; SameSite=Strict{secure}{age}");
    let cookie = HeaderValue::try_from(cookie).map_err(Problem::internal)?;
    Ok(([(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], to)
        .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_on_stays_here() {
        for (next, expected) in [
            (Some("/tasks/task_1?after=2"), "/tasks/task_1?after=2"),
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/a\r\nset-cookie: b"), "/"),
            (Some("/é"), "/"),
            (None, "/"),
        ] {
            assert_eq!(onward(next), expected, "{next:?}");
        }
        assert_eq!(address("/tasks/1?a=b"), "/login?next=%2Ftasks%2F1%3Fa%3Db");
        assert_eq!(address("/"), "/login");
    }
}
