//! What holds for every route: problems, the OpenAPI document, probes, figures, headers.

use axum::body::Body;
use axum::http::Method;
use kindling_spec::ErrorCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;

use crate::fixture::Server;

#[tokio::test]
async fn the_openapi_document_is_the_one_in_git() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi.json");
    let document = serde_json::to_string_pretty(&kindling_server::openapi_document()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &document).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        known == document,
        "openapi.json differs; if that is meant: UPDATE=1 cargo test --release -p kindling-server"
    );
    let server = Server::open().await;
    assert_eq!(server.get("/openapi.json").await.is(200).json(), serde_json::from_str::<Value>(&known).unwrap());
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    fn walk(value: &Value, root: &Value, seen: &mut usize) {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target}"));
                    assert!(root.pointer(pointer).is_some(), "{target} leads nowhere");
                    *seen += 1;
                }
                members.values().for_each(|v| walk(v, root, seen));
            }
            Value::Array(items) => items.iter().for_each(|v| walk(v, root, seen)),
            _ => {}
        }
    }
    let document = kindling_server::openapi_document();
    assert_eq!(document["openapi"].as_str().map(|v| &v[..3]), Some("3.1"), "{}", document["openapi"]);
    let mut seen = 0;
    walk(&document, &document, &mut seen);
    assert!(seen > 50, "{seen}");
    let schema = &document["components"]["schemas"]["TaskSpec"];
    assert_eq!(schema["additionalProperties"], json!(false), "{schema}");
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}");
            assert!(
                operation["responses"].as_object().unwrap().keys().any(|s| s.starts_with(['2', '3'])),
                "{method} {path}"
            );
        }
    }
}

/// Asks every route of the document for something that is not there: each answers with a problem of its
/// own, which shows that the route exists, and none falls over.
#[tokio::test]
async fn every_documented_route_is_served() {
    let server = Server::open().await;
    for (path, item) in kindling_server::openapi_document()["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let target =
                path.replace("{id}", "zebra").replace("{number}", "0").replace("{name}", "x").replace("{code}", "x");
            let reply = server.send(method.clone(), &target, &[], Body::empty()).await;
            assert_ne!(reply.status.as_u16(), 405, "{method} {path}");
            assert!(!reply.status.is_server_error(), "{method} {path}: {}", reply.text());
            assert_eq!(reply.header("x-request-id").len(), 32, "{method} {path}");
            if path.contains("{id}") {
                let noun = ["dataset", "upload", "draft", "task", "fleet", "model", "webhook"]
                    .into_iter()
                    .find(|n| path.starts_with(&format!("/v1/{n}s/")) || path.starts_with(&format!("/{n}s/")))
                    .unwrap();
                // A body is read before the id is looked at in some; either way it is refused in words.
                let code = reply.json()["code"].as_str().unwrap().to_owned();
                assert!(code == format!("{noun}_not_found"), "{method} {path}: {}", reply.text());
                reply.is_problem(404, &code);
            }
        }
    }
}

#[tokio::test]
async fn ids_of_another_kind_or_unknown_are_not_found() {
    let server = Server::open().await;
    let hex = "0".repeat(32);
    for (path, code) in [
        (format!("/v1/datasets/task_{hex}"), "dataset_not_found"),
        (format!("/v1/datasets/ds_{hex}"), "dataset_not_found"),
        (format!("/v1/datasets/ds_{hex}/examples"), "dataset_not_found"),
        (format!("/v1/tasks/task_{hex}"), "task_not_found"),
        (format!("/v1/tasks/task_{hex}/trials"), "task_not_found"),
        (format!("/v1/tasks/task_{hex}/leaderboard"), "task_not_found"),
        (format!("/v1/tasks/task_{hex}/events"), "task_not_found"),
        (format!("/v1/fleets/task_{hex}"), "fleet_not_found"),
        (format!("/v1/fleets/fleet_{hex}"), "fleet_not_found"),
        (format!("/v1/fleets/fleet_{hex}/report"), "fleet_not_found"),
        (format!("/v1/fleets/fleet_{hex}/bundle.zip"), "fleet_not_found"),
        (format!("/v1/models/model_{hex}"), "model_not_found"),
        (format!("/v1/models/model_{hex}/bundle.zip"), "model_not_found"),
        (format!("/v1/models/model_{hex}/files/model.onnx"), "model_not_found"),
        ("/v1/zebras".to_owned(), "not_found"),
        ("/v1/datasets/%ff".to_owned(), "invalid_request"),
    ] {
        let status = if code == "invalid_request" { 400 } else { 404 };
        let problem = server.get(&path).await.is_problem(status, code);
        assert_eq!(problem["instance"], path.as_str());
    }
    let reply = server.send(Method::PATCH, "/v1/tasks", &[], Body::empty()).await;
    reply.is_problem(405, "method_not_allowed");
    assert!(reply.header("allow").contains("POST"), "{:?}", reply.headers);
}

#[tokio::test]
async fn bodies_are_read_strictly() {
    let server = Server::open().await;
    let send = |body: String| {
        let server = &server;
        async move { server.send(Method::POST, "/v1/datasets", &[("content-type", "text/plain")], body).await }
    };
    send("{".into()).await.is_problem(400, "invalid_request");
    send(String::new()).await.is_problem(400, "invalid_request");
    send(json!({"name": "x", "kind": "poetry"}).to_string()).await.is_problem(400, "invalid_request");
    let unknown = send(json!({"name": "x", "kind": "image-classification", "size": 3}).to_string()).await;
    assert!(unknown.is_problem(400, "invalid_request")["detail"].as_str().unwrap().contains("size"));
    send(json!({"name": "x".repeat(2 << 20), "kind": "image-classification"}).to_string())
        .await
        .is_problem(413, "invalid_request");
    // The wrong media type is no reason to refuse what can be read.
    send(json!({"name": "x", "kind": "image-classification"}).to_string()).await.is(201);
    let elsewhere = [("sec-fetch-site", "cross-site")];
    server.send(Method::POST, "/v1/datasets", &elsewhere, "{}").await.is_problem(403, "invalid_request");
}

#[tokio::test]
async fn probes_and_figures() {
    let server = Server::open().await;
    assert_eq!(server.get("/healthz").await.is(200).text(), "ok\n");
    let ready = server.get("/readyz").await.is(200).json();
    assert_eq!(
        ready,
        json!({"ready": true, "database": true, "queue": true, "files": true, "disk": true, "workers": 0})
    );
    server.get("/v1/tasks").await.is(200);
    server.get("/nowhere").await;
    let figures = server.get("/metrics").await.is(200);
    assert!(figures.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = figures.text();
    for line in [
        "kindling_queue_depth 0",
        "kindling_workers{state=\"busy\"} 0",
        "kindling_trials{state=\"waiting\"} 0",
        "kindling_http_requests_total{method=\"GET\",route=\"/v1/tasks\",status=\"200\"} 1",
        "kindling_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "kindling_http_request_duration_seconds_count{route=\"/v1/tasks\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing:\n{text}");
    }
}

#[tokio::test]
async fn every_problem_has_a_page_and_the_schema_is_published() {
    let server = Server::open().await;
    for code in ErrorCode::ALL {
        let page = server.get(&format!("/problems/{code}")).await.is(200);
        assert!(page.text().contains(kindling_server::about(*code).title), "{code}");
    }
    server.get("/problems/zebra").await.is_problem(404, "not_found");
    let schema = server.get("/v1/schema/task-spec.json").await.is(200);
    assert_eq!(schema.json(), kindling_spec::TaskSpec::json_schema());
    let schema = server.get("/v1/schema/fleet-spec.json").await.is(200);
    assert_eq!(schema.json(), kindling_spec::FleetSpec::json_schema());
}
