//! A server in a temporary directory, small archives, and a study whose results are made up.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use kindling_data::Limits;
use kindling_engine::{NewKey, Service};
use kindling_export::{BundleInput, Card, FileInfo, Judge, OWNERSHIP, OnnxModel, write_bundle};
use kindling_graph::{GraphBuilder, InputSpec, random_weights};
use kindling_spec::{
    ExportFormat, Genome, KeyId, ModelId, ProjectId, Scope, TaskId, TrialId, TrialState, Value as Choice,
};
use kindling_store::{FileRecord, ModelRecord, Quota, RungResult, TrialRecord};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A server and the directory that goes with it, as the holder of a key sees it if there is one.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) service: Service,
    pub(crate) router: Router,
    pub(crate) stopping: CancellationToken,
    pub(crate) key: Option<String>,
    _dir: Arc<TempDir>,
}

/// An answer, read to its end.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Asserts that it is this problem, in the form every problem has.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status.as_u16(), self.header("content-type")),
            (status, "application/problem+json"),
            "{}",
            self.text()
        );
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["type"], format!("/problems/{code}"));
        assert_eq!(body["status"], status);
        assert!(body["title"].is_string() && body["detail"].as_str().is_some_and(|d| !d.is_empty()), "{body}");
        assert!(body["instance"].as_str().is_some_and(|i| i.starts_with('/')), "{body}");
        body
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}

impl Server {
    pub(crate) async fn open() -> Self {
        Self::open_with(kindling_server::Config::default()).await
    }

    pub(crate) async fn open_with(config: kindling_server::Config) -> Self {
        let dir = TempDir::new().unwrap();
        let service = Service::open(dir.path(), Limits::default()).await.unwrap();
        let stopping = CancellationToken::new();
        let router = kindling_server::router_with(service.clone(), config, stopping.clone());
        Self { service, router, stopping, key: None, _dir: Arc::new(dir) }
    }

    /// A new project.
    pub(crate) async fn project(&self, name: &str, quota: Quota) -> ProjectId {
        self.service.create_project(name, quota).await.unwrap().id
    }

    /// The same server as the holder of a new key sees it, and the key's id.
    pub(crate) async fn holder(&self, project: &ProjectId, scope: Scope) -> (Self, KeyId) {
        let new = NewKey { name: "a test's".into(), project: project.clone(), scope, expires_at: None };
        let (record, text) = self.service.create_key(new).await.unwrap();
        (Self { key: Some(text), ..self.clone() }, record.id)
    }

    /// The same server as one without a key sees it.
    pub(crate) fn stranger(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 64 << 20).await.unwrap().to_vec();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// A new data set without content.
    pub(crate) async fn empty_dataset(&self) -> String {
        let made = self.post("/v1/datasets", &json!({"name": "hill", "kind": "image-classification"})).await.is(201);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn upload(&self, dataset: &str, archive: Vec<u8>) -> Reply {
        self.send(Method::PUT, &format!("/v1/datasets/{dataset}/content"), &[], archive).await
    }

    /// A sealed data set of three classes with 14 pictures each and one broken file.
    pub(crate) async fn dataset(&self) -> String {
        let id = self.empty_dataset().await;
        self.upload(&id, archive(&["fire", "neither", "smoke"], 14)).await.is(200);
        id
    }

    /// A task that no worker will touch.
    pub(crate) async fn task(&self, dataset: &str) -> TaskId {
        let posted = self.post("/v1/tasks", &spec(dataset)).await.is(201).json();
        posted["id"].as_str().unwrap().parse().unwrap()
    }

    /// A trial of the task with one rung done, written as a worker would.
    pub(crate) async fn trial(&self, task: &TaskId, number: u32, value: f64) -> TrialId {
        let meta = &self.service.store().meta;
        let record = TrialRecord {
            id: TrialId::new(),
            task: task.clone(),
            number,
            genome: Genome {
                family: "plain".into(),
                params: BTreeMap::from([("resolution".to_owned(), Choice::Int(24))]),
            },
            cost: json!({"parameters": 100, "weights_bytes": 4000 * (number + 1), "macs": 1000, "peak_ram_bytes": 500}),
            state: TrialState::Waiting,
            rung: 0,
            target_epochs: 1,
            epochs: 0,
            deaths: 0,
            token: 0,
            worker: None,
            heartbeat_at: None,
            reason: None,
            results: Vec::new(),
            checkpoint: None,
            created_at: 1,
            updated_at: 1,
        };
        meta.create_trial(&record).await.unwrap();
        let claimed = meta.claim_trial(&record.id, 0, "w1", 2).await.unwrap().unwrap();
        let result = RungResult {
            rung: 0,
            epochs: 1,
            value,
            metrics: json!({}),
            train_loss: 0.5,
            seconds: 1.0,
            images_per_second: 30.0,
            finished_at: 3,
        };
        assert!(meta.finish_rung(&record.id, claimed.token, &result, "checkpoint", 3).await.unwrap());
        record.id
    }

    /// A model of a real, untrained network with a real bundle.
    pub(crate) async fn model(&self, task: &TaskId, trial: &TrialId, value: f64) -> ModelId {
        let id = ModelId::new();
        let record = self.service.task(task).await.unwrap();
        let dir = TempDir::new().unwrap();
        let out = dir.path().join("bundle");
        let spec = serde_json::to_value(&record.spec).unwrap();
        let files = bundle(&card(&id, spec, record.dataset.as_str()), &out);
        let store = self.service.store();
        store.files.put_dir(&format!("models/{id}"), &out).await.unwrap();
        let mistakes = json!([{"example": 1, "truth": "fire", "predicted": "smoke", "probability": 0.75}]);
        store.files.put_bytes(&format!("mistakes/{id}.json"), mistakes.to_string()).await.unwrap();
        let card: Value = serde_json::from_slice(&std::fs::read(out.join("card.json")).unwrap()).unwrap();
        let file = |f: FileInfo| FileRecord {
            name: f.name,
            bytes: f.bytes,
            sha256: f.sha256,
            media_type: f.media_type,
            about: f.about,
        };
        let model = ModelRecord {
            id: id.clone(),
            task: task.clone(),
            trial: trial.clone(),
            rung: 0,
            value,
            test_value: value,
            parameters: 100,
            weights_bytes: 4000,
            macs: 1000,
            ram_bytes: 500,
            latency_ms: 0.1,
            card,
            files: files.into_iter().map(file).collect(),
            revision: 0,
            created_at: 5,
        };
        assert!(store.meta.add_model(&model).await.unwrap());
        id
    }
}

/// The specification every test task is posted with.
pub(crate) fn spec(dataset: &str) -> Value {
    json!({
        "version": 1, "name": "Fire on the hill", "kind": "image-classification", "dataset": dataset,
        "constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": 60},
    })
}

fn card(id: &ModelId, spec: Value, dataset: &str) -> Card {
    let class = |label: &str| json!({"label": label, "precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 10});
    let metrics = json!({
        "examples": 30, "accuracy": 0.9333, "accuracy_ci": [0.787, 0.982], "balanced_accuracy": 0.9333,
        "f1_macro": 0.93, "log_loss": 0.3, "objective": {"metric": "accuracy", "value": 0.9333},
        "per_class": [class("fire"), class("neither"), class("smoke")],
        "confusion": [[9, 0, 1], [0, 10, 0], [0, 1, 9]],
    });
    serde_json::from_value(json!({
        "version": 1, "model": id, "created": "2026-01-01T00:00:00Z", "task": spec,
        "labels": ["fire", "neither", "smoke"],
        "data": {
            "dataset": dataset, "sha256": "00", "splits": [],
            "audit": {"broken": 1, "exact_duplicate_groups": 0, "near_duplicate_groups": 0, "label_conflicts": 0, "warnings": []},
        },
        "validation": metrics, "test": metrics,
        "cost": {"parameters": 100, "weights_bytes": 4000, "macs": 1000, "peak_ram_bytes": 500, "resolution": [24, 24], "latency": null},
        "making": {"trials": 1, "epochs": 1, "images": 30, "seconds": 1.0, "energy": {"joules": null, "note": "not known"}},
        "genome": {"family": "plain", "params": {}}, "graph_sha256": "00", "seed": 0, "device": "none",
        "versions": {"kindling": "0", "burn": "0"}, "ownership": OWNERSHIP,
    }))
    .unwrap()
}

/// Writes a bundle of a small untrained network.
fn bundle(card: &Card, out: &std::path::Path) -> Vec<FileInfo> {
    let input = InputSpec { channels: 3, height: 24, width: 24, mean: vec![0.5; 3], std: vec![0.25; 3] };
    let mut builder = GraphBuilder::new(input);
    let x = builder.input();
    let x = builder.conv("stem", x, 4, 3, 2);
    let x = builder.relu("act", x);
    let x = builder.global_average_pool("pool", x);
    let x = builder.flatten("flat", x);
    let x = builder.gemm("head", x, 3);
    let graph = builder.finish(x).unwrap();
    let weights = random_weights(&graph, 7).unwrap();
    let rgb = noise(7, 24 * 24 * 3);
    // What the network itself says of the judge, normalised as its exports do.
    let mut nchw = vec![0.0; rgb.len()];
    for (i, value) in rgb.iter().enumerate() {
        nchw[i % 3 * 576 + i / 3] = (f32::from(*value) / 255.0 - 0.5) / 0.25;
    }
    let logits =
        kindling_graph::execute(&graph, &weights, &kindling_graph::Tensor::new(vec![1, 3, 24, 24], nchw).unwrap());
    let exp: Vec<f32> = logits.unwrap().data.iter().map(|v| v.exp()).collect();
    let probabilities = exp.iter().map(|e| e / exp.iter().sum::<f32>()).collect();
    let judges = [Judge { name: "noise".into(), width: 24, height: 24, rgb, answer: probabilities }];
    let input = BundleInput {
        graph: &graph,
        weights: &weights,
        int8: None,
        labels: &card.labels.clone(),
        card: card.clone(),
        judges: &judges,
        formats: &[ExportFormat::Onnx, ExportFormat::Safetensors],
        extra_files: Vec::new(),
        extra_checks: Vec::new(),
    };
    let files = write_bundle(&input, out).unwrap();
    assert!(OnnxModel::load(&std::fs::read(out.join("model.onnx")).unwrap()).is_ok());
    files
}

/// Bytes that are never twice the same.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A PNG of noise.
pub(crate) fn png(seed: u64, side: u32) -> Vec<u8> {
    let image = image::RgbImage::from_raw(side, side, noise(seed, (side * side * 3) as usize)).unwrap();
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

/// A zip of class folders; the first class has a broken file too.
pub(crate) fn archive(classes: &[&str], each: usize) -> Vec<u8> {
    let mut files = Vec::new();
    for (c, class) in classes.iter().enumerate() {
        for i in 0..each {
            files.push((format!("{class}/{i:03}.png"), png((c * 1000 + i + 1) as u64, 24)));
        }
    }
    files.push((format!("{}/page.jpg", classes[0]), b"<!doctype html><html></html>".to_vec()));
    zip(&files)
}

pub(crate) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
