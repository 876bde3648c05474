//! A whole fleet without processes, and its report computed again from the files it offers.

use kindling_data::{Limits, sample};
use kindling_engine::{FleetContent, Scheduler, Service, WorkerOptions, run_scheduler, run_worker};
use kindling_export::OnnxModel;
use kindling_spec::{DatasetId, ErrorCode, FleetId, Split, TaskKind, TaskState};
use kindling_store::WorkerRecord;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

async fn service_with_data(dir: &Path) -> (Service, DatasetId) {
    let pictures = dir.join("pictures");
    sample::fire_smoke(&pictures, 30, 32, 3).expect("the sample is drawn");
    let service = Service::open(&dir.join("data"), Limits::default()).await.expect("opens");
    let dataset = service.create_dataset("sample", TaskKind::ImageClassification).await.expect("is made").id;
    service.seal_dataset(&dataset, &pictures).await.expect("is sealed");
    (service, dataset)
}

fn spec(dataset: &DatasetId, budget: Value) -> Value {
    json!({
        "version": 1, "name": "watch", "kind": "image-classification", "dataset": dataset.to_string(),
        "background": ["neither"], "objective": {"precision": 0.8},
        "constraints": {"max_weights_bytes": 40_000, "max_macs": 1_000_000}, "budget": budget,
        "exports": ["onnx"], "seed": 1
    })
}

/// Recall at a precision by trying every score as a threshold, the slow and plain way.
fn best_recall(scored: &[(f32, bool)], precision: f64) -> f64 {
    let positives = scored.iter().filter(|(_, is)| *is).count() as f64;
    let at = |threshold: f32| {
        let answered: Vec<bool> = scored.iter().filter(|(s, _)| *s >= threshold).map(|(_, is)| *is).collect();
        let hits = answered.iter().filter(|is| **is).count() as f64;
        if hits / answered.len() as f64 >= precision { hits / positives } else { 0.0 }
    };
    scored.iter().map(|(s, _)| at(*s)).fold(0.0, f64::max)
}

/// Average precision as the mean, over the class's examples, of the precision at that example's score.
fn mean_precision(scored: &[(f32, bool)]) -> f64 {
    let precision_at = |threshold: f32| {
        let answered: Vec<bool> = scored.iter().filter(|(s, _)| *s >= threshold).map(|(_, is)| *is).collect();
        answered.iter().filter(|is| **is).count() as f64 / answered.len() as f64
    };
    let of_class: Vec<f64> = scored.iter().filter(|(_, is)| *is).map(|(s, _)| precision_at(*s)).collect();
    of_class.iter().sum::<f64>() / of_class.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_becomes_specialists_and_a_report_that_their_files_confirm() {
    let dir = tempfile::tempdir().expect("a directory");
    let (service, dataset) = service_with_data(dir.path()).await;
    let shutdown = CancellationToken::new();
    let options = WorkerOptions {
        place: (&dir.path().join("data")).into(),
        name: "w".into(),
        device: "flex".into(),
        memory_bytes: None,
    };
    let worker = tokio::spawn(run_worker(options, shutdown.clone()));
    let scheduler = tokio::spawn(run_scheduler(service.clone(), shutdown.clone()));

    let wanted = spec(&dataset, json!({"trials": 3, "seconds": 18}));
    let fleet = service.create_fleet(&wanted).await.expect("is posted");
    let mut status = service.fleet_status(&fleet).await.expect("stands");
    for _ in 0..1800 {
        let busy = status.members.iter().filter(|m| m.progress.state == TaskState::Running).count();
        assert!(busy <= 1, "one runs at a time: {status:?}");
        if status.state.is_over() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        status = service.fleet_status(&fleet).await.expect("stands");
    }
    assert_eq!(status.state, TaskState::Complete, "{status:?}");
    let mut ended = 0;
    for member in &fleet.members {
        let task = service.task(&member.task).await.expect("is there");
        assert!(task.started_at.expect("ran") >= ended, "each began when the one before was over");
        ended = task.ended_at.expect("is over");
    }

    let report = service.fleet_report(&fleet.id).await.expect("is reported");
    assert!(report.complete);
    let names: Vec<_> = report.classes.iter().map(|c| c.class.as_str()).collect();
    assert_eq!(names, ["fire", "smoke"]);
    // Every figure again, from the ONNX files' own answers to the pictures as uploaded.
    let open = service.open_dataset(&dataset).await.expect("is ready");
    let manifest = open.manifest();
    let examples: Vec<usize> =
        (0..manifest.examples.len()).filter(|i| manifest.examples[*i].split == Split::Test).collect();
    assert_eq!(report.test_examples, examples.len() as u64);
    for row in &report.classes {
        let is: Vec<bool> =
            examples.iter().map(|i| manifest.classes[manifest.examples[*i].class] == row.class).collect();
        assert_eq!(row.positives, is.iter().filter(|is| **is).count() as u64);
        let mut recalls = Vec::new();
        for side in [&row.specialist, &row.single] {
            let side = side.as_ref().expect("has a model");
            assert_eq!(service.task(&side.task).await.expect("is there").best_model.as_ref(), Some(&side.model));
            assert!(side.weights_bytes <= 40_000 && side.macs <= 1_000_000 && side.latency_ms > 0.0, "{side:?}");
            let (_, path) = service.model_file(&side.model, "model.onnx").await.expect("is there");
            let onnx = OnnxModel::load(&std::fs::read(path).expect("is read")).expect("loads");
            let column = onnx.labels().iter().position(|l| *l == row.class).expect("answers the class");
            let mut scored = Vec::new();
            let kept = service.test_answers(&side.model).await.expect("are kept");
            assert_eq!(kept.examples, examples);
            for (n, i) in examples.iter().enumerate() {
                let image = open.image(*i).expect("decodes");
                let p = onnx.predict(image.as_raw(), image.width(), image.height()).expect("answers");
                let before = kept.probabilities[n * p.len() + column];
                assert!((p[column] - before).abs() < 1e-4, "{} {before}", p[column]);
                scored.push((before, is[n]));
            }
            assert!((side.recall - best_recall(&scored, report.precision)).abs() < 1e-12, "{side:?}");
            assert!((side.average_precision - mean_precision(&scored)).abs() < 1e-9, "{side:?}");
            let [low, high] = side.recall_ci;
            assert!(
                low <= side.recall && side.recall <= high && high - low > 0.05,
                "few examples leave doubt: {side:?}"
            );
            recalls.push(side.recall);
        }
        let difference = row.difference.as_ref().expect("both are there");
        assert!((difference.recall - (recalls[0] - recalls[1])).abs() < 1e-12);
        let [low, high] = difference.recall_ci;
        assert!(low < difference.recall && difference.recall < high || low.abs().max(high) >= 1.0, "{difference:?}");
    }
    let bytes = |side: &Option<kindling_engine::FleetSide>| side.as_ref().expect("has a model").weights_bytes;
    assert_eq!(report.specialists.weights_bytes, report.classes.iter().map(|c| bytes(&c.specialist)).sum::<u64>());
    assert_eq!(report.single.as_ref().expect("is there").weights_bytes, bytes(&report.classes[0].single));
    assert_eq!(service.fleet_report(&fleet.id).await.expect("again"), report, "the same each time");

    let files = service.fleet_bundle(&fleet.id).await.expect("is bundled");
    let of = |path: &str| files.iter().find(|f| f.path == path).unwrap_or_else(|| panic!("{path} is missing"));
    for path in ["router.py", "README.md", "specialists/0-fire/model.onnx", "specialists/1-smoke/card.json"] {
        of(path);
    }
    let FleetContent::Bytes(manifest) = &of("fleet.json").content else { panic!("fleet.json is made here") };
    let manifest: Value = serde_json::from_slice(manifest).expect("is JSON");
    assert_eq!(manifest["specialists"][1]["sha256"], json!(of("specialists/1-smoke/model.onnx").sha256));
    assert_eq!(manifest["specialists"][0]["threshold"], 0.5);

    shutdown.cancel();
    scheduler.await.expect("ends");
    worker.await.expect("ends").expect("in good order");
}

/// The scheduler stepped by hand, with workers for everyone.
#[tokio::test]
async fn of_a_fleet_one_task_runs_and_others_are_not_kept_waiting() {
    let dir = tempfile::tempdir().expect("a directory");
    let (service, dataset) = service_with_data(dir.path()).await;
    let fleet = service.create_fleet(&spec(&dataset, json!({"trials": 30}))).await.expect("is posted");
    let mut other = spec(&dataset, json!({"trials": 5}));
    for member in ["background", "objective"] {
        other.as_object_mut().expect("an object").remove(member);
    }
    let other = service.create_task(&other).await.expect("is posted").id;
    let meta = &service.store().meta;
    let now = 1_000_000_000_000;
    for name in ["a", "b", "c", "d"] {
        let name = name.to_owned();
        let record = WorkerRecord {
            name,
            pid: 1,
            machine: "hill".into(),
            device: "flex".into(),
            started_at: now,
            seen_at: now,
            trial: None,
            resident_bytes: None,
            memory_bytes: None,
            images_per_second: None,
        };
        meta.worker_seen(&record).await.expect("is noted");
    }
    let mut scheduler = Scheduler::new(service.clone());
    let jobs = scheduler.step(now).await.expect("steps");
    let of = |task| jobs.iter().filter(|job| job.task == task).count();
    // To the other task the fleet is one task: each has half of the workers.
    assert_eq!(of(fleet.members[0].task.clone()), 2, "{jobs:?}");
    assert_eq!((of(other.clone()), jobs.len()), (2, 4), "{jobs:?}");
    let states = async || {
        let status = service.fleet_status(&fleet).await.expect("stands");
        status.members.iter().map(|m| m.progress.state).collect::<Vec<_>>()
    };
    assert_eq!(states().await, [TaskState::Running, TaskState::Queued, TaskState::Queued]);
    service.cancel_task(&fleet.members[0].task).await.expect("is stopped");
    let jobs = scheduler.step(now + 100).await.expect("steps");
    assert!(jobs.iter().any(|job| job.task == fleet.members[1].task), "the next one's turn: {jobs:?}");
    assert_eq!(states().await, [TaskState::Cancelled, TaskState::Running, TaskState::Queued]);

    service.cancel_fleet(&fleet.id).await.expect("is stopped");
    assert!(states().await.iter().all(|state| *state == TaskState::Cancelled));
    assert_eq!(service.cancel_fleet(&fleet.id).await.expect_err("is over").code(), ErrorCode::FleetState);
    assert!(!service.task(&other).await.expect("is there").state.is_over(), "others go on");
    assert_eq!(service.fleet(&FleetId::new()).await.expect_err("none").code(), ErrorCode::FleetNotFound);
}
