//! The object store or the database is away while a study runs.

use crate::harness::*;
use crate::machines::check_once;
use kindling_tests::{Postgres, S3};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn an_object_store_that_refuses_or_is_slow_costs_time_and_nothing_else() {
    let Some(postgres) = Postgres::start() else { return };
    let (s3, dir) = (S3::start(), tempfile::tempdir().unwrap());
    let variables = place(postgres.database("away"), &s3, "away");
    let server = Server::start_with(&dir.path().join("data"), 1, &variables);
    let (_, task) = server.begin(json!({"trials": 2}));
    let seen = server.wait(&task, "there is a model", |t| t["best"].is_object());
    let model = format!("/v1/models/{}/files/model.onnx", seen["best"]["model"].as_str().unwrap());
    let onnx = sha256(&server.get(&model).body);

    s3.refuse(true);
    let (empty, refused) = server.upload(sample_zip());
    refused.assert_problem("unavailable", 503);
    assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
    assert_eq!(sha256(&server.get(&model).body), onnx, "there is a copy");
    assert_eq!(server.get(&format!("/v1/tasks/{task}")).json["state"], "running");
    // What the worker has trained meanwhile it keeps, and tries again.
    server.wait_for("it is told", || server.log().contains("storage did not do it"));
    let results = server.get(&format!("/v1/tasks/{task}/trials")).json;

    s3.refuse(false);
    s3.slow_down(Duration::from_millis(700));
    assert_eq!(sha256(&server.get(&model).body), onnx);
    let sealed = server.put(&format!("/v1/datasets/{empty}/content"), sample_zip());
    assert_eq!(sealed.status, 200, "{}\n{}", sealed.json, server.log());
    let over = server.wait_over(&task);
    assert_eq!((&over["state"], &over["progress"]["trials"]["failed"]), (&json!("complete"), &json!(0)), "{over}");
    let log = server.log();
    assert!(!log.contains("a worker died") && !log.contains("could not be made;"), "{log}");
    assert_kept(&server, &task, &results);
    let best = over["best"]["model"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/models/{best}/bundle.zip")).status, 200);
}

#[test]
fn a_database_that_goes_and_comes_back_costs_time_and_nothing_else() {
    let Some(mut postgres) = Postgres::start() else { return };
    let (s3, dir) = (S3::start(), tempfile::tempdir().unwrap());
    let variables = place(postgres.database("away"), &s3, "away");
    let server = Server::start_with(&dir.path().join("data"), 1, &variables);
    let (_, task) = server.begin(json!({"trials": 2}));
    server.wait(&task, "there is a model", |t| t["best"].is_object());
    let results = server.get(&format!("/v1/tasks/{task}/trials")).json;

    postgres.kill();
    let away = server.get(&format!("/v1/tasks/{task}"));
    away.assert_problem("unavailable", 503);
    // Longer than a trial's lease.
    std::thread::sleep(Duration::from_secs(12));
    postgres.restart();
    let back = Instant::now();
    while server.get(&format!("/v1/tasks/{task}")).status != 200 {
        assert!(back.elapsed() < Duration::from_secs(20), "{}", server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let over = server.wait_over(&task);
    assert_eq!((&over["state"], &over["progress"]["trials"]["failed"]), (&json!("complete"), &json!(0)), "{over}");
    assert_kept(&server, &task, &results);
    check_once(&server, &task, 2);
}

/// The results that there were are as they were.
fn assert_kept(server: &Server, task: &str, before: &Value) {
    let after = server.get(&format!("/v1/tasks/{task}/trials")).json;
    for trial in before["items"].as_array().unwrap() {
        let now = after["items"].as_array().unwrap().iter().find(|now| now["id"] == trial["id"]).unwrap();
        let (before, now) = (trial["results"].as_array().unwrap(), now["results"].as_array().unwrap());
        assert_eq!(before[..], now[..before.len()]);
    }
}
