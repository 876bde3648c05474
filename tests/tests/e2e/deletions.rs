//! What is deleted leaves no file, also where a process was killed half way.

use crate::harness::*;
use kindling_store::{Deletion, Place, Store};
use serde_json::json;
use std::time::{Duration, Instant};

/// Deletes, once the workers have let go.
fn delete(server: &Server, path: &str) {
    let started = Instant::now();
    loop {
        let seen = server.delete(path);
        if seen.status == 204 {
            return;
        }
        assert!(seen.status == 409 && started.elapsed() < Duration::from_secs(60), "{path}: {seen:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_is_deleted_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let server = Server::start(&data_dir, 2);
    let before = kept_files(&data_dir);
    let (dataset, sealed) = server.upload(sample_zip());
    assert_eq!(sealed.status, 200, "{sealed:?}");
    let with_dataset = kept_files(&data_dir);
    assert!(with_dataset.len() > before.len());

    // However slow the machine is, it ends as soon as there is something to delete.
    let task = server.task(&dataset, json!({"seconds": 600}));
    server.wait(&task, "there is a model", |t| t["best"].is_object());
    for part in ["models/", "checkpoints/", "mistakes/", "answers/"] {
        server.wait_for("the files are as they should be", || {
            kept_files(&data_dir).iter().any(|key| key.starts_with(part))
        });
    }
    server.post(&format!("/v1/tasks/{task}/cancel"), &json!({}));
    // Files of the models may still be in the making: what is deleted meanwhile leaves none either.
    let best = server.get(&format!("/v1/tasks/{task}")).text("/best/model");
    delete(&server, &format!("/v1/models/{best}"));
    server.wait_for("the files are as they should be", || kept_files(&data_dir).iter().all(|key| !key.contains(&best)));
    delete(&server, &format!("/v1/tasks/{task}"));
    server.wait_for("the files are as they should be", || kept_files(&data_dir) == with_dataset);

    // As a server leaves it that is killed when the records are gone and the files are not.
    let task = server.task(&dataset, json!({"seconds": 600}));
    server.wait(&task, "there is a model", |t| t["best"].is_object());
    server.post(&format!("/v1/tasks/{task}/cancel"), &json!({}));
    let database = storage(&data_dir).into_iter().find(|(name, _)| *name == "KINDLING_DATABASE").map(|(_, url)| url);
    let data_dir_of_records = if database.is_some() { dir.path().join("beside") } else { data_dir.clone() };
    let place = Place { data_dir: data_dir_of_records, database, artifacts: None };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let records = Store::connect(&place).await.unwrap().meta;
        let id = task.parse().unwrap();
        let started = Instant::now();
        while records.delete_task(&id).await.unwrap() != Deletion::Deleted {
            assert!(started.elapsed() < Duration::from_secs(60), "its workers do not let go");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(records.delete_dataset(&dataset.parse().unwrap()).await.unwrap(), Deletion::Deleted);
    });
    assert_ne!(kept_files(&data_dir), before, "nobody has cleared away yet");
    server.wait_for("the files are as they should be", || kept_files(&data_dir) == before);
}
