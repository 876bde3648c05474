//! Analyses run by the service itself, in a process of their own, killed and begun again.

use crate::harness::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Waits until `until` says so of the search for doubtful labels.
fn wait(server: &Server, path: &str, what: &str, until: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let seen = server.get(path);
        assert_eq!(seen.status, 200, "{seen:?}");
        if until(&seen.json) {
            return seen.json;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "waited too long until {what}: {}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_search_for_doubtful_labels_outlives_the_service_and_leads_to_a_new_version() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, 1);
    let (dataset, _) = server.upload(sample_zip());
    let path = format!("/v1/datasets/{dataset}/doubts");
    let asked = server.post(&path, &json!({"folds": 2, "epochs": 8}));
    assert_eq!((asked.status, asked.json["state"].as_str()), (202, Some("waiting")), "{asked:?}");
    wait(&server, &path, "it is under way", |d| d["state"] == "running" && d["progress"].as_f64() > Some(0.0));
    server.kill();

    let server = Server::start(&data, 1);
    let left = server.get(&path).json;
    assert!(["waiting", "running"].contains(&left["state"].as_str().unwrap()), "{left}");
    let found = wait(&server, &path, "it is over", |d| d["state"] == "complete" || d["state"] == "failed");
    assert_eq!((&found["state"], &found["id"]), (&json!("complete"), &asked.json["id"]), "{}", server.log());
    let doubts = found["items"].as_array().unwrap();
    assert!(!doubts.is_empty(), "eight epochs of a small network leave some: {found}");
    let change = json!({"changes": [{"example": doubts[0]["example"], "label": doubts[0]["suggested"]}]});
    let made = server.post(&format!("/v1/datasets/{dataset}/relabel"), &change);
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json["summary"]["parent"]["dataset"], dataset.as_str());
    // What the service deletes with a data set is deleted.
    assert_eq!(server.delete(&format!("/v1/datasets/{dataset}")).status, 204);
    assert_eq!(server.get(&path).status, 404);
    assert_eq!(std::fs::read_dir(data.join("files/analyses")).map_or(0, Iterator::count), 0);
}
