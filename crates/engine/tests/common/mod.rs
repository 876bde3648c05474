//! Studies without processes: the scheduler and one worker run as tasks.

#![allow(dead_code)]

use kindling_data::Limits;
use kindling_engine::{Service, WorkerOptions, run_scheduler, run_worker};
use kindling_spec::{DatasetId, DatasetState, ModelId, TaskId, TaskKind, TaskState};
use kindling_store::ModelRecord;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A service whose one data set is made of these pictures.
pub(crate) async fn service_with(dir: &Path, pictures: &Path, kind: TaskKind) -> (Service, DatasetId) {
    let service = Service::open(&dir.join("data"), Limits::default()).await.expect("opens");
    let dataset = service.create_dataset("sample", kind).await.expect("is made").id;
    let record = service.seal_dataset(&dataset, pictures).await.expect("is sealed");
    assert_eq!(record.state, DatasetState::Ready, "{record:?}");
    (service, dataset)
}

pub(crate) async fn wait_until_over(service: &Service, task: &TaskId) -> TaskState {
    for _ in 0..2400 {
        let state = service.task(task).await.expect("is there").state;
        if state.is_over() {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the study did not end within two minutes: {:?}", service.progress(task).await);
}

/// Runs a study to its end; gives its best model.
pub(crate) async fn study(service: &Service, dir: &Path, spec: &Value) -> (TaskId, ModelId) {
    let shutdown = CancellationToken::new();
    let options = WorkerOptions {
        place: (&dir.join("data")).into(),
        name: "w".into(),
        device: "flex".into(),
        memory_bytes: None,
    };
    let worker = tokio::spawn(run_worker(options, shutdown.clone()));
    let scheduler = tokio::spawn(run_scheduler(service.clone(), shutdown.clone()));
    let task = service.create_task(spec).await.expect("is posted").id;
    assert_eq!(wait_until_over(service, &task).await, TaskState::Complete);
    let best = service.leaderboard(&task).await.expect("has models").first().expect("at least one").model.clone();
    shutdown.cancel();
    scheduler.await.expect("ends");
    worker.await.expect("ends").expect("in good order");
    (task, best)
}

/// A model that has every file, each of which answers as the others.
pub(crate) async fn whole_model(service: &Service, id: &ModelId) -> ModelRecord {
    let model = service.model(id).await.expect("is there");
    for name in ["model.onnx", "model.int8.onnx", "model.c", "model.rs", "model.html", "predict.py", "model.burnpack"] {
        assert!(model.files.iter().any(|file| file.name == name), "{name} is missing");
    }
    let (_, path) = service.model_file(id, "card.json").await.expect("is listed");
    let findings = kindling_export::verify_bundle(path.parent().expect("a folder"), &[]).expect("is a bundle");
    assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");
    model
}
