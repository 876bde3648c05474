//! Whole studies without processes: the scheduler is stepped and one worker runs as a task.

use kindling_data::{Limits, sample};
use kindling_engine::{EngineError, Said, Scheduler, Service, WorkerOptions, run_scheduler, run_worker};
use kindling_spec::{
    Budget, DatasetId, DatasetState, ErrorCode, ModelId, TaskId, TaskKind, TaskState, TrialState, WarmStart,
};
use kindling_store::WorkerRecord;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

async fn service_with_data(dir: &Path) -> (Service, DatasetId) {
    let pictures = dir.join("pictures");
    sample::fire_smoke(&pictures, 45, 32, 3).expect("the sample is drawn");
    let service = Service::open(&dir.join("data"), Limits::default()).await.expect("opens");
    let dataset = service.create_dataset("sample", TaskKind::ImageClassification).await.expect("is made").id;
    let record = service.seal_dataset(&dataset, &pictures).await.expect("is sealed");
    assert_eq!(record.state, DatasetState::Ready);
    (service, dataset)
}

fn spec(dataset: &DatasetId, budget: Value) -> Value {
    json!({
        "version": 1, "name": "fire or smoke", "kind": "image-classification", "dataset": dataset.to_string(),
        "constraints": {"max_weights_bytes": 60_000, "max_macs": 1_500_000}, "budget": budget, "seed": 1
    })
}

async fn wait_until_over(service: &Service, task: &TaskId) -> TaskState {
    for _ in 0..1200 {
        let state = service.task(task).await.expect("is there").state;
        if state.is_over() {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the study did not end within a minute: {:?}", service.progress(task).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_becomes_models_that_answer_and_can_be_given_more() {
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

    let mut wanted = spec(&dataset, json!({"trials": 3, "seconds": 8}));
    wanted["classes"] = json!({"fire": ["fire"], "other": ["smoke", "neither"]});
    let task = service.create_task(&wanted).await.expect("is posted").id;
    assert_eq!(wait_until_over(&service, &task).await, TaskState::Complete);

    let board = service.leaderboard(&task).await.expect("has models");
    let best = board.first().expect("at least one");
    assert_eq!(service.task(&task).await.expect("is there").best_model.as_ref(), Some(&best.model));
    assert!(board.is_sorted_by(|a, b| a.value >= b.value));
    assert!(best.weights_bytes <= 60_000 && best.macs <= 1_500_000);
    assert!(board.iter().any(|e| e.pareto));

    let model = service.model(&best.model).await.expect("is there");
    let names: Vec<&str> = model.files.iter().map(|f| f.name.as_str()).collect();
    for name in [
        "model.onnx",
        "model.int8.onnx",
        "predict.py",
        "weights.safetensors",
        "graph.json",
        "model.burnpack",
        "labels.json",
        "card.json",
        "card.md",
        "SHA256SUMS",
    ] {
        assert!(names.contains(&name), "{name} is missing from {names:?}");
        let (file, path) = service.model_file(&best.model, name).await.expect("is listed");
        assert_eq!(std::fs::metadata(path).expect("is on disk").len(), file.bytes);
    }
    // The files made after the search are in the card, which is the one on disk.
    let card = &model.card;
    assert_eq!((model.revision, card["int8"]["examples"].as_u64()), (1, card["test"]["examples"].as_u64()));
    assert!(card["int8"]["agreement"].as_f64().is_some_and(|share| share >= 0.9), "{}", card["int8"]);
    let (_, path) = service.model_file(&best.model, "card.json").await.expect("is listed");
    let on_disk: Value = serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("is a card");
    assert_eq!(on_disk, *card);
    assert!(!service.finish_model(&best.model).await.expect("there is nothing to do"));
    let folder = path.parent().expect("a folder");
    let findings = kindling_export::verify_bundle(folder, &[]).expect("is a bundle");
    assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");
    let error = service.model_file(&best.model, "../kindling.db").await.expect_err("is refused");
    assert_eq!(error.code(), ErrorCode::FileNotFound);

    // The test accuracy of the card is found again by asking the file about every test picture.
    let open = service.open_dataset(&dataset).await.expect("is ready");
    let (mut right, mut unknown, mut total) = (0u32, 0u32, 0u32);
    for (i, example) in open.manifest().examples.iter().enumerate() {
        if example.split == kindling_spec::Split::Test {
            let answer = service.predict(&best.model, &open.original(i).expect("bytes"), None).await.expect("answers");
            let Said::Class { label, unknown: unsure, .. } = answer.said else { panic!("a class") };
            let truth = if open.manifest().classes[example.class] == "fire" { "fire" } else { "other" };
            right += u32::from(label == truth);
            unknown += u32::from(unsure.expect("the model tells"));
            total += 1;
        }
    }
    // So is the share of them that it turns away.
    let refused = card["unknown"]["refused"].as_array().expect("a list");
    let told: Vec<&str> = refused.iter().filter_map(|kind| kind["of"].as_str()).collect();
    assert_eq!(told.len(), 3, "no class is left out: {told:?}");
    let of_test = refused.iter().find(|kind| kind["of"] == "test images").expect("is among them");
    let share = f64::from(unknown) / f64::from(total);
    assert!((of_test["share"].as_f64().expect("a share") - share).abs() < 1e-9, "{refused:?}, not {share}");
    let mistakes = service.mistakes(&best.model).await.expect("are kept");
    assert_eq!(mistakes.len() as u32, total - right);
    assert!((f64::from(right) / f64::from(total) - best.test_value).abs() < 1e-9);
    let error = service.predict(&best.model, b"<html>", None).await.expect_err("no image");
    assert_eq!(error.code(), ErrorCode::InvalidImage);

    // What would help is measured with the best network and the study's own trials.
    let options = kindling_engine::AdviceOptions { repeats: Some(1), epochs: Some(2) };
    let asked = service.seek_advice(&task, &options).await.expect("is asked for");
    let data = dir.path().join("data");
    kindling_engine::run_analysis(&data, &asked.id, "flex", CancellationToken::new()).await.expect("runs");
    let view = service.advice(&task).await.expect("is there");
    let report = view.report.unwrap_or_else(|| panic!("{:?}", view.record));
    assert_eq!(report.curve.iter().map(|p| p.share).collect::<Vec<_>>(), [0.25, 0.5, 1.0]);
    assert_eq!(
        report.curve[2].examples,
        open.manifest().examples.iter().filter(|e| e.split == kindling_spec::Split::Train).count()
    );
    assert_eq!((report.advice.len(), report.classes.len()), (3, 2));
    let gain = |a: &kindling_engine::Advice| a.gain.map_or(f64::MIN, |g| g.mean);
    assert!(report.advice.is_sorted_by(|a, b| gain(a) >= gain(b)), "{:?}", report.advice);
    let doubled = report.doubled.expect("three shares make a curve");
    assert!((0.0..=1.0).contains(&doubled.low) && doubled.low <= doubled.mean && doubled.mean <= doubled.high);

    let epochs = async || {
        let trials = service.store().meta.all_trials(&task).await.expect("are there");
        trials.iter().map(|t| t.epochs).sum::<u32>()
    };
    let before = epochs().await;
    let more = Budget { seconds: Some(12.0), trials: Some(1) };
    service.resume_task(&task, more).await.expect("goes on");
    assert_eq!(wait_until_over(&service, &task).await, TaskState::Complete);
    assert!(epochs().await > before, "the added time was used");

    shutdown.cancel();
    scheduler.await.expect("ends");
    worker.await.expect("ends").expect("in good order");
}

#[tokio::test]
async fn a_task_that_cannot_be_done_is_refused_when_it_is_posted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (service, dataset) = service_with_data(dir.path()).await;
    let post = |change: fn(&mut Value)| {
        let mut spec = spec(&dataset, json!({"seconds": 5}));
        change(&mut spec);
        let service = service.clone();
        async move { service.create_task(&spec).await.expect_err("must be refused") }
    };
    let error = post(|s| s["constraints"] = json!({"max_weights_bytes": 100, "max_macs": 10})).await;
    assert_eq!(error.code(), ErrorCode::LimitsTooTight);
    assert!(error.detail().contains("`max_weights_bytes` is 100 and the smallest network needs"), "{error}");
    let error = post(|s| s["classes"] = json!(["fire", "cat"])).await;
    assert_eq!(error.violations()[0].pointer, "/classes/1");
    assert_eq!(post(|s| s["dataset"] = json!("local")).await.violations()[0].pointer, "/dataset");
    assert_eq!(post(|s| s["dataset"] = json!(DatasetId::new())).await.code(), ErrorCode::DatasetNotFound);
    assert!(matches!(post(|s| s["colour"] = json!(1)).await, EngineError::Spec(_)));
}

#[tokio::test]
async fn a_data_set_is_sealed_once_used_is_kept_and_unused_is_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (service, dataset) = service_with_data(dir.path()).await;
    let again = service.seal_dataset(&dataset, &dir.path().join("pictures")).await.expect_err("is sealed");
    assert_eq!(again.code(), ErrorCode::DatasetSealed);

    let other = service.create_dataset("other", TaskKind::ImageClassification).await.expect("is made").id;
    let archive = service.upload_path(&other);
    std::fs::write(&archive, b"not an archive").expect("is written");
    let refused = service.seal_dataset(&other, &archive).await.expect_err("no archive");
    let record = service.dataset(&other).await.expect("is there");
    assert_eq!((record.state, record.problem.map(|p| p.code)), (DatasetState::Refused, Some(refused.code())));
    assert!(!archive.exists(), "the upload is removed");
    assert_eq!(
        service.open_dataset(&other).await.map(|_| ()).expect_err("not ready").code(),
        ErrorCode::DatasetNotReady
    );
    service.seal_dataset(&other, &dir.path().join("pictures")).await.expect("other content is taken");
    service.delete_dataset(&other).await.expect("nobody uses it");

    service.create_task(&spec(&dataset, json!({"seconds": 5}))).await.expect("is posted");
    assert_eq!(service.delete_dataset(&dataset).await.expect_err("is used").code(), ErrorCode::DatasetInUse);
}

/// The scheduler stepped by hand: time is what it is told.
#[tokio::test]
async fn trials_of_silent_workers_are_given_to_others_and_given_up_after_three_deaths() {
    let dir = tempfile::tempdir().expect("a directory");
    let (service, dataset) = service_with_data(dir.path()).await;
    let task = service.create_task(&spec(&dataset, json!({"trials": 1}))).await.expect("is posted").id;
    let mut scheduler = Scheduler::new(service.clone());
    let meta = &service.store().meta;
    let mut now = 1_000_000_000_000;
    assert!(scheduler.step(now).await.expect("steps").is_empty(), "nobody is there to work");
    assert_eq!(service.task(&task).await.expect("is there").state, TaskState::Queued);

    let present = |now| WorkerRecord {
        name: "w".into(),
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
    meta.worker_seen(&present(now)).await.expect("is noted");
    let jobs = scheduler.step(now).await.expect("steps");
    assert_eq!(jobs.len(), 1);
    assert_eq!(service.task(&task).await.expect("is there").state, TaskState::Running);
    for death in 1..=3u32 {
        let claimed = meta.claim_trial(&jobs[0].trial, 0, "w", now).await.expect("asks").expect("is its");
        assert_eq!(claimed.deaths, death - 1);
        now += 60_000;
        meta.worker_seen(&present(now)).await.expect("is noted");
        scheduler.step(now).await.expect("steps");
        let trial = meta.trial(&jobs[0].trial).await.expect("is there");
        let expected = if death < 3 { TrialState::Waiting } else { TrialState::Failed };
        assert_eq!((trial.state, trial.deaths), (expected, death));
    }
    now += 1_000;
    scheduler.step(now).await.expect("steps");
    let ended = service.task(&task).await.expect("is there");
    assert_eq!(ended.state, TaskState::Failed);
    assert!(ended.reason.is_some_and(|r| r.contains("died")));
}

#[tokio::test]
async fn a_cancelled_task_starts_nothing_more_and_cannot_be_cancelled_twice() {
    let dir = tempfile::tempdir().expect("a directory");
    let (service, dataset) = service_with_data(dir.path()).await;
    let task = service.create_task(&spec(&dataset, json!({"seconds": 5}))).await.expect("is posted").id;
    service.cancel_task(&task).await.expect("is cancelled");
    assert_eq!(service.cancel_task(&task).await.expect_err("is over").code(), ErrorCode::TaskState);
    let mut scheduler = Scheduler::new(service.clone());
    assert!(scheduler.step(1_000).await.expect("steps").is_empty());
    let nothing = service.resume_task(&task, Budget { seconds: Some(-1.0), trials: None }).await;
    assert_eq!(nothing.expect_err("no budget").code(), ErrorCode::InvalidRequest);
    let more = Budget { seconds: Some(5.0), trials: None };
    assert_eq!(service.resume_task(&task, more).await.expect("goes on").state, TaskState::Queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_and_trials_give_the_same_leaderboard_bit_for_bit() {
    let mut boards = Vec::new();
    for _ in 0..2 {
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
        let mut wanted = spec(&dataset, json!({"trials": 3}));
        wanted["constraints"] = json!({"max_macs": 60_000});
        let task = service.create_task(&wanted).await.expect("is posted").id;
        assert_eq!(wait_until_over(&service, &task).await, TaskState::Complete);
        let mut board = Vec::new();
        for entry in service.leaderboard(&task).await.expect("has models") {
            let model = service.model(&entry.model).await.expect("is there");
            let sha = |name: &str| model.files.iter().find(|f| f.name == name).map(|f| f.sha256.clone());
            board.push((
                entry.value.to_bits(),
                entry.test_value.to_bits(),
                sha("model.onnx"),
                sha("weights.safetensors"),
            ));
        }
        shutdown.cancel();
        worker.await.expect("ends").expect("ends well");
        scheduler.await.expect("ends");
        boards.push(board);
    }
    assert!(!boards[0].is_empty() && boards[0].iter().all(|(_, _, onnx, weights)| onnx.is_some() && weights.is_some()));
    assert_eq!(boards[0], boards[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_like_an_earlier_one_begins_from_its_model_unless_told_not_to() {
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
    let wanted = spec(&dataset, json!({"trials": 2}));
    let first = service.create_task(&wanted).await.expect("is posted");
    assert_eq!(first.spec.warm_start, WarmStart::Off, "there is nothing to begin from");
    assert_eq!(wait_until_over(&service, &first.id).await, TaskState::Complete);
    let best = service.leaderboard(&first.id).await.expect("has models").remove(0);
    let trials = |task: TaskId| {
        let service = service.clone();
        async move { service.store().meta.all_trials(&task).await.expect("are there") }
    };
    let earlier = trials(first.id.clone()).await.into_iter().find(|t| t.id == best.trial).expect("is there");

    let mut again = spec(&dataset, json!({"trials": 1}));
    let task = service.create_task(&again).await.expect("is posted");
    assert_eq!(task.spec.warm_start, WarmStart::Model(best.model.clone()));
    assert_eq!(wait_until_over(&service, &task.id).await, TaskState::Complete);
    let trial = trials(task.id).await.remove(0);
    assert_eq!(trial.genome, earlier.genome);
    let loss = |trial: &kindling_store::TrialRecord| trial.results.first().map_or(f64::NAN, |rung| rung.train_loss);
    assert!(loss(&trial) < 0.7 * loss(&earlier), "{} after {}", loss(&trial), loss(&earlier));

    // Other names for the same classes.
    again["classes"] = json!({"flames": ["fire"], "fumes": ["smoke"], "nothing": ["neither"]});
    let renamed = service.create_task(&again).await.expect("is posted").spec.warm_start;
    assert!(matches!(renamed, WarmStart::Model(_)), "{renamed:?}");
    again["warm_start"] = json!("off");
    assert_eq!(service.create_task(&again).await.expect("is posted").spec.warm_start, WarmStart::Off);
    again["warm_start"] = json!(ModelId::new());
    let refused = service.create_task(&again).await.expect_err("is unknown");
    assert!(refused.to_string().contains("/warm_start"), "{refused}");
    shutdown.cancel();
    worker.await.expect("ends").expect("ends well");
    scheduler.await.expect("ends");
}
