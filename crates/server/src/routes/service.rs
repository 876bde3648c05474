//! Webhooks, and what is of the whole service.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use kindling_spec::{ErrorCode as E, FleetSpec, Scope, TaskSpec};

use super::{Route, delete, get, post};
use crate::api::webhooks::{NewWebhook, Webhook, WebhookDeliveries, Webhooks};
use crate::openapi::{self, op};
use crate::{api, metrics};

pub(super) fn webhooks() -> Vec<Route> {
    use api::webhooks as w;
    let o = |id, summary| op("webhooks", id, summary);
    vec![
        post(
            "/v1/webhooks",
            w::create,
            o("createWebhook", "Has an address told of each change of a study's state and each model.")
                .about(
                    "Messages are posted as JSON `{type, task, id, at, data}`, those of the event stream, and signed as \
                     Standard Webhooks says (`webhook-id`, `webhook-timestamp`, `webhook-signature` by HMAC-SHA256 of \
                     `id.timestamp.body`). Refuse what is older than five minutes or was not signed with the secret. Any \
                     answer of 2xx is a receipt; without one it is tried again for a day and a half with the same id, unless \
                     the answer is 410.",
                )
                .takes::<NewWebhook>()
                .once()
                .gives::<Webhook>(201, "Made; `secret` is told this once.")
                .problems(&[E::QuotaExceeded]),
        ),
        get("/v1/webhooks", w::list, o("listWebhooks", "Every webhook.").gives::<Webhooks>(200, "They.")),
        get(
            "/v1/webhooks/{id}",
            w::get,
            o("getWebhook", "One webhook.").gives::<Webhook>(200, "It.").problems(&[E::WebhookNotFound]),
        ),
        get(
            "/v1/webhooks/{id}/deliveries",
            w::deliveries,
            o("listDeliveries", "What was told last, and what went wrong.")
                .gives::<WebhookDeliveries>(200, "The last hundred, newest first.")
                .problems(&[E::WebhookNotFound]),
        ),
        delete(
            "/v1/webhooks/{id}",
            w::delete,
            o("deleteWebhook", "Removes a webhook and what was to be told to it.")
                .gives_nothing(204, "It is gone.")
                .problems(&[E::WebhookNotFound]),
        ),
    ]
}

pub(super) fn service() -> Vec<Route> {
    let o = |id, summary| op("service", id, summary);
    vec![
        get(
            "/v1/schema/task-spec.json",
            || async { json_text(TaskSpec::json_schema().to_string(), "application/schema+json") },
            o("getTaskSpecSchema", "The task specification's JSON Schema.").public().gives_bytes(
                200,
                "application/schema+json",
                "The schema.",
            ),
        ),
        get(
            "/v1/schema/fleet-spec.json",
            || async { json_text(FleetSpec::json_schema().to_string(), "application/schema+json") },
            o("getFleetSpecSchema", "The fleet specification's JSON Schema.").public().gives_bytes(
                200,
                "application/schema+json",
                "The schema.",
            ),
        ),
        get(
            "/openapi.json",
            || async { json_text(openapi::document().to_string(), "application/json") },
            o("getOpenApi", "This document.").public().gives_bytes(200, "application/json", "OpenAPI 3.1."),
        ),
        get(
            "/healthz",
            api::health::alive,
            o("getHealth", "The process answers.").public().gives_bytes(200, "text/plain", "It does."),
        ),
        get(
            "/readyz",
            api::health::ready,
            o("getReadiness", "Whether database, queue, object store and disk can be written and read.")
                .public()
                .about(
                    "A problem says which cannot, or that the service is stopping. A tiny file is written and removed, \
                     every few seconds at most.",
                )
                .gives::<api::health::Readiness>(200, "They can.")
                .problems(&[E::Unavailable]),
        ),
        get(
            "/v1/service",
            api::service::show,
            o("getService", "Workers, queue, storage by project and duties of the whole service.")
                .scope(Scope::Admin)
                .about("Some seconds old at most. What workers do is told of the key's own project.")
                .gives::<api::service::ServiceView>(200, "The service."),
        ),
        get(
            "/metrics",
            metrics::show,
            o("getMetrics", "Figures of the whole service for Prometheus.").scope(Scope::Admin).gives_bytes(
                200,
                "text/plain",
                "Prometheus's text format.",
            ),
        ),
    ]
}

fn json_text(text: String, media_type: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}
