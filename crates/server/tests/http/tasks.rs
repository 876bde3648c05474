//! Tasks, their events, and requests sent twice.

use axum::body::Body;
use axum::http::Method;
use kindling_spec::{TaskState, TrialState};
use serde_json::{Value, json};
use std::time::Duration;

use crate::fixture::{Reply, Server, spec};

#[tokio::test]
async fn a_task_is_posted_watched_cancelled_and_resumed() {
    let server = Server::open().await;
    let dataset = server.dataset().await;
    let posted = server.post("/v1/tasks", &spec(&dataset)).await.is(201);
    let id = posted.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/tasks/{id}");
    assert_eq!(posted.header("location"), path);
    let task = server.get(&path).await.is(200).json();
    assert_eq!(task["spec"]["dataset"], dataset.as_str());
    assert_eq!((&task["state"], &task["progress"]["trials_started"]), (&json!("queued"), &json!(0)));
    assert_eq!((&task["best"], &task["progress"]["seconds_left"]), (&json!(null), &json!(60.0)));
    assert_eq!(server.get("/v1/tasks").await.json()["items"][0]["id"], id.as_str());
    server
        .send(Method::DELETE, &format!("/v1/datasets/{dataset}"), &[], Body::empty())
        .await
        .is_problem(409, "dataset_in_use");

    server.post(&format!("{path}/resume"), &json!({"seconds": 5})).await.is_problem(409, "task_state");
    let cancelled = server.send(Method::POST, &format!("{path}/cancel"), &[], Body::empty()).await.is(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    server.post(&format!("{path}/cancel"), &json!({})).await.is_problem(409, "task_state");
    for bad in [json!({"seconds": -1}), json!({"trials": 0}), json!({"hours": 1}), json!([1])] {
        server.post(&format!("{path}/resume"), &bad).await.is_problem(400, "invalid_request");
    }
    let resumed = server.post(&format!("{path}/resume"), &json!({"seconds": 5})).await.is(200).json();
    assert_eq!((&resumed["state"], &resumed["budget"]["seconds"]), (&json!("queued"), &json!(65.0)));
}

#[tokio::test]
async fn every_violation_of_a_specification_is_told_at_once() {
    let server = Server::open().await;
    let dataset = server.dataset().await;
    let mut bad = spec(&dataset);
    bad["colour"] = json!("red");
    bad["name"] = json!("");
    bad["budget"] = json!({});
    let problem = server.post("/v1/tasks", &bad).await.is_problem(422, "invalid_spec");
    let pointers: Vec<_> =
        problem["violations"].as_array().unwrap().iter().map(|v| v["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers.len(), 3, "{problem}");
    assert!(pointers.contains(&"/colour") && pointers.contains(&"/name") && pointers.contains(&"/budget"), "{problem}");
    let mut none_fits = spec(&dataset);
    none_fits["constraints"] = json!({"max_weights_bytes": 1});
    server.post("/v1/tasks", &none_fits).await.is_problem(422, "limits_too_tight");
    let mut unknown = spec(&dataset);
    unknown["classes"] = json!(["fire", "water"]);
    server.post("/v1/tasks", &unknown).await.is_problem(422, "invalid_spec");
    let empty = server.empty_dataset().await;
    server.post("/v1/tasks", &spec(&empty)).await.is_problem(409, "dataset_not_ready");
}

#[tokio::test]
async fn trials_and_leaderboard_page() {
    let server = Server::open().await;
    let task = server.task(&server.dataset().await).await;
    let mut models = Vec::new();
    for number in 0..3 {
        let value = 0.5 + f64::from(number) / 10.0;
        let trial = server.trial(&task, number, value).await;
        models.push(server.model(&task, &trial, value).await.to_string());
    }
    models.reverse();
    let trials = server.get(&format!("/v1/tasks/{task}/trials?limit=2")).await.is(200).json();
    assert_eq!((&trials["items"][1]["number"], &trials["next"]), (&json!(1), &json!("1")));
    assert_eq!(trials["items"][1]["value"], 0.6);
    assert!(trials["items"][0].get("token").is_none(), "tokens are the workers' own");
    let rest = server.get(&format!("/v1/tasks/{task}/trials?limit=2&after=1")).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &json!(null)));
    let board = server.get(&format!("/v1/tasks/{task}/leaderboard?limit=2")).await.is(200).json();
    let next = board["next"].as_str().unwrap();
    let rest = server.get(&format!("/v1/tasks/{task}/leaderboard?limit=2&after={next}")).await.json();
    let seen: Vec<_> =
        [&board, &rest].iter().flat_map(|p| p["items"].as_array().unwrap()).map(|e| e["model"].clone()).collect();
    assert_eq!(seen, models, "the best first");
    assert_eq!(server.get(&format!("/v1/tasks/{task}")).await.json()["best"]["model"], models[0].as_str());
}

/// The messages of an event stream: (id, event, data).
fn messages(reply: &Reply) -> Vec<(Option<i64>, String, Value)> {
    assert_eq!(reply.header("content-type"), "text/event-stream");
    let text = reply.text();
    let mut found = Vec::new();
    for block in text.split("\n\n").filter(|b| b.lines().any(|l| !l.starts_with(':'))) {
        let field = |name: &str| block.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let data = serde_json::from_str(field("data").unwrap()).unwrap();
        found.push((field("id").map(|id| id.parse().unwrap()), field("event").unwrap().to_owned(), data));
    }
    found
}

#[tokio::test]
async fn events_rise_are_resumed_and_end() {
    let server = Server::open().await;
    let task = server.task(&server.dataset().await).await;
    let path = format!("/v1/tasks/{task}/events");
    let meta = &server.service.store().meta;
    let live = tokio::spawn({
        let router = server.router.clone();
        let path = path.clone();
        async move {
            use tower::ServiceExt;
            let request = axum::http::Request::get(path).body(Body::empty()).unwrap();
            let response = router.oneshot(request).await.unwrap();
            axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()
        }
    });
    server.trial(&task, 0, 0.7).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.trial(&task, 1, 0.8).await;
    let open = [TaskState::Queued, TaskState::Running];
    meta.close_trials(&task, &[TrialState::Paused], TrialState::Complete, None, 9).await.unwrap();
    assert!(meta.update_task_state(&task, &open, TaskState::Complete, Some("the budget is spent"), 9).await.unwrap());
    let live = tokio::time::timeout(Duration::from_secs(5), live).await.expect("the stream ends").unwrap();

    let all = server.get(&path).await.is(200);
    let events = messages(&all);
    let live = messages(&Reply { body: live, status: all.status, headers: all.headers.clone() });
    assert_eq!(live, events, "following and reading afterwards tell the same");
    let ids: Vec<_> = events.iter().filter_map(|(id, ..)| *id).collect();
    assert!(ids.is_sorted() && ids.windows(2).all(|w| w[0] < w[1]), "{ids:?}");
    assert!(events.iter().any(|(_, kind, data)| kind == "rung" && data["value"] == 0.8), "{events:?}");
    let (id, kind, data) = events.last().unwrap();
    assert_eq!((id, kind.as_str(), &data["state"]), (&None, "end", &json!("complete")));

    let third = ids[2].to_string();
    let rest = server.send(Method::GET, &path, &[("last-event-id", &third)], Body::empty()).await.is(200);
    assert_eq!(messages(&rest), events[3..]);
    assert_eq!(messages(&server.get(&format!("{path}?after={third}")).await), events[3..]);
    server.send(Method::GET, &path, &[("last-event-id", "x")], Body::empty()).await.is_problem(400, "invalid_request");
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops() {
    let server = Server::open().await;
    let task = server.task(&server.dataset().await).await;
    server.stopping.cancel();
    let path = format!("/v1/tasks/{task}/events");
    let read = server.get(&path);
    let reply = tokio::time::timeout(Duration::from_secs(2), read).await.expect("the stream ends");
    assert!(messages(&reply).iter().all(|(_, kind, _)| kind != "end"), "the task goes on");
}

#[tokio::test]
async fn a_request_sent_twice_is_done_once() {
    let server = Server::open().await;
    let body = json!({"name": "hill", "kind": "image-classification"}).to_string();
    let send = |key: &'static str, body: String| {
        let server = &server;
        async move { server.send(Method::POST, "/v1/datasets", &[("idempotency-key", key)], body).await }
    };
    let first = send("k1", body.clone()).await.is(201);
    let again = send("k1", body.clone()).await.is(201);
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(server.get("/v1/datasets").await.json()["items"].as_array().unwrap().len(), 1);
    send("k1", body.replace("hill", "lake")).await.is_problem(422, "idempotency_conflict");
    assert_ne!(send("k2", body.clone()).await.is(201).json()["id"], first.json()["id"]);
    // While the first is still being worked on.
    let hash: String = <sha2::Sha256 as sha2::Digest>::digest(&body).iter().map(|b| format!("{b:02x}")).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let local = server.service.for_project(&kindling_spec::ProjectId::local());
    local.store().meta.remember("POST /v1/datasets", "k3", &hash, now).await.unwrap();
    send("k3", body.clone()).await.is_problem(409, "idempotency_conflict");
    // What was refused may be mended under the same key.
    send("k4", body.replace("hill", "")).await.is_problem(400, "invalid_request");
    send("k4", body).await.is(201);
    send("", "{}".into()).await.is_problem(400, "invalid_request");
}
