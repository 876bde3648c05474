//! Processes killed in the middle of their work: nothing is lost and the study goes on.

use crate::harness::*;
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn a_killed_worker_and_a_killed_service_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, 2);
    let (dataset, sealed) = server.upload(sample_zip());
    let task = server.task(&dataset, json!({"trials": 4, "seconds": 25}));

    // A worker, in the middle of a rung.
    server.wait(&task, "a trial runs", |t| t["progress"]["trials"]["running"].as_u64() > Some(0));
    let workers = server.workers();
    assert_eq!(workers.len(), 2, "{}", server.log());
    let killed = Command::new("kill").args(["-9", &workers[0].to_string()]).status().unwrap();
    assert!(killed.success());
    server.wait(&task, "there is a model", |t| t["best"].is_object());
    assert!(!server.workers().contains(&workers[0]));

    // The service, in the middle of the study.
    let before = snapshot(&server, &task);
    server.kill();
    let server = Server::start(&data, 2);
    assert_eq!(server.get(&format!("/v1/datasets/{dataset}")).json["hash"], sealed.json["hash"]);
    let after = snapshot(&server, &task);
    for (trial, results) in &before.trials {
        let now = after.trials.iter().find(|(id, _)| id == trial);
        let (_, now) = now.unwrap_or_else(|| panic!("trial {trial} is lost"));
        assert!(
            now.len() >= results.len() && now[..results.len()] == results[..],
            "{trial}: {results:?} became {now:?}"
        );
    }
    for (model, hash) in &before.models {
        let file = server.get(&format!("/v1/models/{model}/files/model.onnx"));
        assert_eq!((file.status, sha256(&file.body)), (200, hash.clone()));
    }
    let over = server.wait_over(&task);
    assert_eq!(over["state"], "complete", "{over}\n{}", server.log());
    let trials = &over["progress"]["trials"];
    assert_eq!(
        (&trials["running"], &trials["waiting"], &trials["failed"]),
        (&json!(0), &json!(0), &json!(0)),
        "{over}"
    );
    let best = over["best"]["model"].as_str().unwrap();
    let answer = server.post_bytes(&format!("/v1/models/{best}/predict"), &png(&picture(32, 32, 1)));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What must never be lost.
struct Snapshot {
    /// Trial id and the results of its rungs.
    trials: Vec<(String, Vec<Value>)>,
    /// Model id and the SHA-256 of its ONNX file.
    models: Vec<(String, String)>,
}

fn snapshot(server: &Server, task: &str) -> Snapshot {
    let trials = server.get(&format!("/v1/tasks/{task}/trials?limit=100"));
    let board = server.get(&format!("/v1/tasks/{task}/leaderboard?limit=100"));
    let text = |v: &Value, name: &str| v[name].as_str().unwrap().to_owned();
    let trials = trials.json["items"].as_array().unwrap();
    let models = board.json["items"].as_array().unwrap();
    Snapshot {
        trials: trials.iter().map(|t| (text(t, "id"), t["results"].as_array().unwrap().clone())).collect(),
        models: models
            .iter()
            .map(|m| text(m, "model"))
            .map(|m| (m.clone(), sha256(&server.get(&format!("/v1/models/{m}/files/model.onnx")).body)))
            .collect(),
    }
}

#[test]
fn workers_do_not_outlive_a_killed_service() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), 2);
    let start = std::time::Instant::now();
    while server.workers().len() < 2 {
        assert!(start.elapsed().as_secs() < 20, "{}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let workers = server.workers();
    server.kill();
    let alive = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
    };
    let start = std::time::Instant::now();
    while workers.iter().any(alive) {
        assert!(start.elapsed().as_secs() < 20, "a worker still runs");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
