//! Stopping a study, and going on with more budget.

use crate::harness::*;
use serde_json::json;

#[test]
fn a_cancelled_task_stops_and_a_resumed_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), 1);
    let (dataset, _) = server.upload(sample_zip());
    let task = server.task(&dataset, json!({"seconds": 120, "trials": 50}));
    server.wait(&task, "a rung is done", |t| t["progress"]["best"].is_object());
    let cancelled = server.post(&format!("/v1/tasks/{task}/cancel"), &json!({}));
    assert_eq!((cancelled.status, cancelled.text("/state")), (200, "cancelled".into()));
    server.post(&format!("/v1/tasks/{task}/cancel"), &json!({})).assert_problem("task_state", 409);
    // The worker notices within a batch, and no trial is left running.
    let still = server.wait(&task, "no trial runs", |t| t["progress"]["trials"]["running"] == 0);
    let best = still["best"]["model"].clone();
    assert_eq!(server.get(&format!("/v1/models/{}", best.as_str().unwrap())).status, 200, "what was found is kept");

    let (spent, tried) = (&still["progress"]["seconds_spent"], still["progress"]["trials_started"].as_u64().unwrap());
    assert!(spent.as_f64().unwrap() < 100.0, "{still}");
    server.delete(&format!("/v1/datasets/{dataset}")).assert_problem("dataset_in_use", 409);
    let resumed = server.post(&format!("/v1/tasks/{task}/resume"), &json!({"trials": 1}));
    assert_eq!(resumed.status, 200, "{resumed:?}");
    let events = events(&server, &task, None, |found| found.iter().filter(|e| e.kind == "rung").count() > 2);
    assert!(events.iter().any(|e| e.data["state"] == "cancelled"), "{events:?}");
    let on = server.wait(&task, "it goes on", |t| t["progress"]["trials_started"].as_u64().unwrap() >= tried);
    assert_eq!(on["state"], "running", "{on}");
    assert_eq!(server.post(&format!("/v1/tasks/{task}/cancel"), &json!({})).status, 200);
}

#[test]
fn an_idempotency_key_makes_one_task() {
    let Finished { server, dataset, .. } = finished();
    let send = |name: &str| {
        let spec = json!({
            "version": 1, "name": name, "kind": "image-classification", "dataset": dataset, "budget": {"trials": 1},
        });
        let request = agent().post(server.url("/v1/tasks")).header("idempotency-key", "e2e-1");
        Answer::of(request.send_json(spec).unwrap())
    };
    let (first, second) = (send("one"), send("one"));
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.text("/id"), second.text("/id"));
    send("other").assert_problem("idempotency_conflict", 422);
    server.post(&format!("/v1/tasks/{}/cancel", first.text("/id")), &json!({}));
}
