//! Webhooks: made, listed, looked into, removed.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use kindling_spec::{ErrorCode, WebhookId};
use kindling_store::{DeliveryState, WebhookRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Answered;
use crate::request::{JsonBody, webhook_id};
use crate::{Problem, app::App, app::now_ms, idempotency, webhooks};

/// Webhooks of one project.
const MOST: usize = 20;
/// Deliveries shown.
const SHOWN: u32 = 100;

/// What `POST /v1/webhooks` takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// Where events are posted: https, and a host of the public internet.
    url: String,
}

/// An address that is told of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Webhook {
    /// Its id.
    id: String,
    /// Where events are posted.
    url: String,
    /// What messages are signed with; told once, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// When it was made.
    created_at: i64,
}

impl Webhook {
    fn shown(record: WebhookRecord) -> Self {
        Self { id: record.id.into(), url: record.url, secret: None, created_at: record.created_at }
    }
}

/// Every webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Webhooks {
    /// They, oldest first.
    items: Vec<Webhook>,
}

/// One event on its way, or told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookDelivery {
    /// The event's kind: `task` or `model`.
    kind: String,
    /// What happened.
    data: Value,
    /// `waiting`, `delivered` or `given_up`.
    state: String,
    /// Tries that failed.
    failures: u32,
    /// What last went wrong.
    reason: Option<String>,
    /// When the event was.
    at: i64,
}

impl From<DeliveryState> for WebhookDelivery {
    fn from(state: DeliveryState) -> Self {
        let DeliveryState { kind, data, failures, state, reason, at, .. } = state;
        Self { kind, data, state, failures, reason, at }
    }
}

/// The last deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookDeliveries {
    /// They, newest first.
    items: Vec<WebhookDelivery>,
}

pub(crate) async fn create(app: App, headers: HeaderMap, body: JsonBody) -> Answered {
    let NewWebhook { url } = body.parse()?;
    if url.len() > 2000 {
        return Err(Problem::request("`url` must have at most 2000 bytes"));
    }
    if let Some(reason) = webhooks::refusal(&url, app.config().private_webhooks) {
        return Err(Problem::request(reason));
    }
    let project = app.project().clone();
    let there = app.meta().webhooks(&project).await?.len();
    if there >= MOST {
        let detail = format!("there are {there} webhooks, the most a project may have; remove one first");
        return Err(Problem::new(ErrorCode::QuotaExceeded, detail));
    }
    let meta = app.service().store().meta.clone();
    idempotency::once(&app, "POST /v1/webhooks", &headers, &body.0, async move {
        let secret = webhooks::new_secret();
        let record = WebhookRecord { id: WebhookId::new(), project, url, secret: secret.clone(), created_at: now_ms() };
        meta.create_webhook(&record).await?;
        let location = [(header::LOCATION, format!("/v1/webhooks/{}", record.id))];
        let told = Webhook { secret: Some(secret), ..Webhook::shown(record) };
        Ok((StatusCode::CREATED, location, Json(told)).into_response())
    })
    .await
}

pub(crate) async fn list(app: App) -> Answered {
    let records = app.meta().webhooks(app.project()).await?;
    Ok(Json(Webhooks { items: records.into_iter().map(Webhook::shown).collect() }).into_response())
}

pub(crate) async fn get(app: App, Path(id): Path<String>) -> Answered {
    let record = app.meta().webhook(&webhook_id(&id)?).await?;
    Ok(Json(Webhook::shown(record)).into_response())
}

pub(crate) async fn deliveries(app: App, Path(id): Path<String>) -> Answered {
    let record = app.meta().webhook(&webhook_id(&id)?).await?;
    let states = app.meta().deliveries(&record.id, SHOWN).await?;
    Ok(Json(WebhookDeliveries { items: states.into_iter().map(WebhookDelivery::from).collect() }).into_response())
}

pub(crate) async fn delete(app: App, Path(id): Path<String>) -> Answered {
    let record = app.meta().webhook(&webhook_id(&id)?).await?;
    app.meta().delete_webhook(&record.id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
