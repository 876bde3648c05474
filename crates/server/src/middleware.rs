//! What happens to every request: an id, a log line, counts, safe headers, and problems in their final form.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use kindling_spec::{ErrorCode, Scope};
use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

use crate::{Problem, app::Host, pages};

/// The route of the table that answered; absent when none did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RouteName(pub(crate) &'static str);

const REQUEST_ID: &str = "x-request-id";

/// Scripts, styles and pictures only from here; no frames, no forms elsewhere.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; \
                      frame-ancestors 'none'; form-action 'self'";

/// The outermost layer.
pub(crate) async fn around(State(host): State<Host>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let wants_page = wants_page(request.headers(), &path);
    let id = request_id(request.headers());
    if let Ok(value) = HeaderValue::try_from(&id) {
        request.headers_mut().insert(REQUEST_ID, value);
    }
    let span = tracing::info_span!("request", id, %method, path, key = tracing::field::Empty);
    // For who collects traces (kindling's `traces` target); the log has the span above.
    let traced = tracing::info_span!(
        target: "traces",
        "request",
        // A span that has begun is not renamed, and the route is known when it is answered.
        otel.name = label(&method),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = label(&method),
        http.route = tracing::field::Empty,
        http.response.status_code = tracing::field::Empty,
        url.path = path,
        kindling.request = id,
    );
    let refused = cross_site(&method, request.headers());
    let run = async {
        match refused {
            Some(problem) => problem.into_response(),
            None => next.run(request).await,
        }
    };
    let mut response = run.instrument(traced.clone()).instrument(span.clone()).await;
    let _entered = span.enter();
    if let Some(problem) = problem_of(&response) {
        if let Some(internal) = &problem.internal {
            tracing::error!(error = internal, "internal error");
        }
        let kept = response.headers().get(header::ALLOW).cloned();
        let route = response.extensions().get::<RouteName>().copied();
        response = if wants_page { pages::problem(&problem, &id) } else { problem.render(Some(&path)) };
        if let Some(allow) = kept {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        if let Some(route) = route {
            response.extensions_mut().insert(route);
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    // Pages of other sites may not show what is here as a picture either.
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    // What is not said to be kept is for the one who asked, and asked for again.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    if let Ok(value) = HeaderValue::try_from(&id) {
        headers.insert(REQUEST_ID, value);
    }
    let (status, took) = (response.status(), started.elapsed());
    let route = response.extensions().get::<RouteName>().map_or("none", |route| route.0);
    host.metrics().observe(label(&method), route, status.as_u16(), took);
    traced.record("http.route", route);
    traced.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        traced.record("otel.status_code", "ERROR");
    }
    // Pages poll and probes knock: what goes well is for the debug level.
    let ms = took.as_secs_f64() * 1e3;
    if status.is_server_error() || method != Method::GET && method != Method::HEAD {
        tracing::info!(status = status.as_u16(), ms, "answered");
    } else {
        tracing::debug!(status = status.as_u16(), ms, "answered");
    }
    response
}

/// Lets a request in, with the service as who asks may see it; `wanted` is the least scope, none for public routes.
pub(crate) async fn guard(
    State((host, wanted)): State<(Host, Option<Scope>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = address(&request);
    let admitted = host.access().admit(&host, wanted, request.headers(), address).await;
    match admitted {
        Ok(Some(app)) => {
            let scope = app.scope();
            request.extensions_mut().insert(app);
            pages::VISITOR.scope(scope, next.run(request)).await
        }
        Ok(None) => next.run(request).await,
        Err(problem) if problem.code == ErrorCode::Unauthorized && is_visit(&request) => {
            let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
            Redirect::to(&pages::login_address(target)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Where the request comes from, where that is known.
pub(crate) fn address(request: &Request) -> Option<IpAddr> {
    Some(request.extensions().get::<ConnectInfo<SocketAddr>>()?.0.ip())
}

/// Whether a person has come to a page, and not a script that fetches it.
fn is_visit(request: &Request) -> bool {
    let mode = request.headers().get("sec-fetch-mode");
    request.method() == Method::GET
        && wants_page(request.headers(), request.uri().path())
        && mode.is_none_or(|mode| mode == "navigate")
}

/// Methods outside HTTP's own would let a stranger make series without end.
fn label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// The id a proxy gave, if it is harmless in a log, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    given.filter(harmless).map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), str::to_owned)
}

/// A browser that shows a page of another site must not change anything here with its user's reach: where there are no
/// keys, being able to connect is all the permission there is.
fn cross_site(method: &Method, headers: &HeaderMap) -> Option<Problem> {
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
    (changes && elsewhere).then(|| {
        Problem::request("a page of another site may not change anything here").with_status(StatusCode::FORBIDDEN)
    })
}

fn wants_page(headers: &HeaderMap, path: &str) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    accept.contains("text/html") && !path.starts_with("/v1/")
}

/// The problem a handler answered with, or one made of a bare error of the framework's own.
fn problem_of(response: &Response) -> Option<Arc<Problem>> {
    if let Some(problem) = response.extensions().get::<Arc<Problem>>() {
        return Some(problem.clone());
    }
    let status = response.status();
    let ours = response.extensions().get::<Final>().is_some();
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    Some(Arc::new(match status {
        StatusCode::NOT_FOUND => Problem::new(ErrorCode::NotFound, "nothing has this address"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(ErrorCode::MethodNotAllowed, "this address does not take this method")
        }
        status if status.is_client_error() => {
            Problem::request("the address or the body cannot be read").with_status(status)
        }
        _ => Problem::internal(format!("an unexpected answer with status {status}")),
    }))
}

/// Marks an error answer that is in its final form already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Final;

/// What becomes of a panic in a handler.
pub(crate) fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".into());
    Problem::internal(format!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_that_could_forge_log_lines_is_replaced() {
        let with = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::try_from(id).unwrap());
            request_id(&headers)
        };
        assert_eq!(with("abc-1.2_3"), "abc-1.2_3");
        assert_ne!(with("a b"), "a b");
        assert_eq!(with(&"x".repeat(65)).len(), 32);
    }

    #[test]
    fn another_sites_page_may_look_but_not_touch() {
        let headers = |site: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            headers
        };
        assert!(cross_site(&Method::POST, &headers("cross-site")).is_some());
        assert!(cross_site(&Method::GET, &headers("cross-site")).is_none());
        assert!(cross_site(&Method::POST, &headers("same-origin")).is_none());
        assert!(cross_site(&Method::DELETE, &HeaderMap::new()).is_none());
    }
}
