//! Webhooks over HTTP, and what arrives.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use kindling_server::{Config, run_webhooks};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::fixture::Server;

type Told = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A receiver that fails at first; its address and what it was sent.
async fn receiver() -> (String, Told) {
    let told = Told::default();
    let take = async |State(told): State<Told>, headers: HeaderMap, body: String| {
        let mut told = told.lock().unwrap();
        told.push((headers, body));
        if told.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
    };
    let router = axum::Router::new().route("/hook", axum::routing::post(take)).with_state(told.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, told)
}

#[tokio::test]
async fn what_happens_to_a_task_is_told_signed_and_again_until_it_arrives() {
    let server = Server::open_with(Config { private_webhooks: true, ..Config::default() }).await;
    let dataset = server.dataset().await;
    let task = server.task(&dataset).await;
    let (address, told) = receiver().await;
    let made = server.post("/v1/webhooks", &json!({"url": address})).await.is(201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/webhooks/{id}"));
    let shown = server.get(&format!("/v1/webhooks/{id}")).await.is(200).json();
    assert!(shown["secret"].is_null(), "it is told once: {shown}");

    let stop = CancellationToken::new();
    let running = tokio::spawn(run_webhooks(server.service.clone(), true, stop.clone()));
    server.service.store().meta.append_event(&task, "task", &json!({"state": "running"}), 7).await.unwrap();
    let started = Instant::now();
    while told.lock().unwrap().len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", told.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = told.lock().unwrap().clone();
    let text = |n: usize, name: &str| told[n].0.get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
    assert_eq!(text(0, "webhook-id"), text(1, "webhook-id"), "the same message again");
    for (n, (_, body)) in told.iter().enumerate() {
        let signed = format!("{}.{}.{body}", text(n, "webhook-id"), text(n, "webhook-timestamp"));
        let base64 = base64::engine::general_purpose::STANDARD;
        let key = base64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(signed.as_bytes());
        assert_eq!(text(n, "webhook-signature"), format!("v1,{}", base64.encode(mac.finalize().into_bytes())));
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&body["type"], &body["task"], &body["data"]["state"]),
            (&json!("task"), &json!(task), &json!("running"))
        );
    }
    let deliveries = loop {
        let seen = server.get(&format!("/v1/webhooks/{id}/deliveries")).await.is(200).json();
        if seen["items"][0]["state"] != "waiting" {
            break seen;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(
        (&deliveries["items"][0]["state"], &deliveries["items"][0]["failures"]),
        (&json!("delivered"), &json!(1))
    );
    stop.cancel();
    running.await.unwrap();

    assert_eq!(server.get("/v1/webhooks").await.is(200).json()["items"].as_array().unwrap().len(), 1);
    server.send(Method::DELETE, &format!("/v1/webhooks/{id}"), &[], Body::empty()).await.is(204);
    server.get(&format!("/v1/webhooks/{id}")).await.is_problem(404, "webhook_not_found");
}

#[tokio::test]
async fn an_address_inside_is_refused() {
    let server = Server::open().await;
    for url in [
        "http://example.org/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "nonsense",
        "",
    ] {
        server.post("/v1/webhooks", &json!({"url": url})).await.is_problem(400, "invalid_request");
    }
    server.post("/v1/webhooks", &json!({"url": "https://example.org/hook"})).await.is(201);
}
