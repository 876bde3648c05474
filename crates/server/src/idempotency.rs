//! `Idempotency-Key`: a request that is sent twice is done once.
//!
//! The scheme is that of the IETF draft "The Idempotency-Key HTTP Header Field": 409 while the first is
//! worked on, 422 for another body, the first answer again otherwise. Problems are not kept, so that what
//! was refused may be mended and sent again under the same key.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use kindling_spec::ErrorCode;
use kindling_store::{Remembered, SavedResponse};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::future::Future;

use crate::{Problem, app::App, app::now_ms, files::hex};

/// Does the work once for each key of a project (the store sees to that it is of each); without a key, each time.
///
/// # Errors
/// The work's own, or the key's.
pub(crate) async fn once<F>(
    app: &App,
    scope: &str,
    headers: &HeaderMap,
    body: &[u8],
    work: F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Response, Problem>> + Send + 'static,
{
    let Some(key) = headers.get("idempotency-key") else { return work.await };
    let key = match key.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) && !key.contains('\t') => key.to_owned(),
        _ => return Err(Problem::request("`Idempotency-Key` must have 1 to 255 visible ASCII characters")),
    };
    let hash = hex(&Sha256::digest(body));
    match app.meta().remember(scope, &key, &hash, now_ms()).await? {
        Remembered::New => {}
        Remembered::Same(saved) => return Ok(replay(saved)),
        Remembered::Conflict => {
            let detail = format!("the key `{key}` came before with another body; use a new key for a new request");
            return Err(Problem::new(ErrorCode::IdempotencyConflict, detail));
        }
        Remembered::InProgress => {
            let detail = format!("the request with the key `{key}` is still being worked on; ask again in a moment");
            return Err(Problem::new(ErrorCode::IdempotencyConflict, detail)
                .with_status(StatusCode::CONFLICT)
                .with_header(axum::http::header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
    }
    let (app, scope) = (app.clone(), scope.to_owned());
    // On a task of its own, so that a client who hangs up does not leave the key taken for nothing.
    let done = tokio::spawn(async move {
        let result = match work.await {
            Ok(response) => keep(&app, &scope, &key, response).await,
            Err(problem) => Err(problem),
        };
        if result.is_err()
            && let Err(error) = app.meta().forget_idempotent(&scope, &key).await
        {
            tracing::warn!(%error, "an idempotency key could not be freed; it frees itself in minutes");
        }
        result
    });
    done.await.map_err(Problem::internal)?
}

async fn keep(app: &App, scope: &str, key: &str, response: Response) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 16 << 20).await.map_err(Problem::internal)?;
    let headers: BTreeMap<&str, &str> =
        parts.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    let headers = serde_json::to_value(headers).map_err(Problem::internal)?;
    let saved = SavedResponse { status: parts.status.as_u16(), headers, body: body.to_vec() };
    app.meta().complete_idempotent(scope, key, &saved).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(saved: SavedResponse) -> Response {
    let status = StatusCode::from_u16(saved.status).unwrap_or(StatusCode::OK);
    let mut response = (status, saved.body).into_response();
    let headers = response.headers_mut();
    for (name, value) in saved.headers.as_object().into_iter().flatten() {
        let name = HeaderName::try_from(name.as_str());
        let value = value.as_str().map(HeaderValue::try_from);
        if let (Ok(name), Some(Ok(value))) = (name, value) {
            headers.insert(name, value);
        }
    }
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}
