//! Studies of tasks that find objects, without processes: the scheduler and one worker run as tasks.

mod common;

use common::{service_with, study, whole_model};
use kindling_data::sample;
use kindling_engine::{Said, Service};
use kindling_models::tasks::object_detection::{Detection, Rect, Seen, Truth, mean_precision};
use kindling_spec::{DatasetId, ErrorCode, Split, TaskKind};
use serde_json::{Value, json};
use std::path::Path;

async fn service_with_boxes(dir: &Path, kind: TaskKind) -> (Service, DatasetId) {
    let pictures = dir.join("pictures");
    sample::fire_smoke(&pictures, 60, 64, 3).expect("the sample is drawn");
    service_with(dir, &pictures, kind).await
}

fn rect([x, y, right, bottom]: [f32; 4]) -> Rect {
    let [x, y, right, bottom] = [x, y, right, bottom].map(f64::from);
    Rect { x, y, width: right - x, height: bottom - y }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_becomes_models_that_find_objects_as_their_cards_say() {
    let dir = tempfile::tempdir().expect("a directory");
    let (service, dataset) = service_with_boxes(dir.path(), TaskKind::ObjectDetection).await;
    let spec = json!({
        "version": 1, "name": "fire and smoke", "kind": "object-detection", "dataset": dataset.to_string(),
        "constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": 20, "trials": 3}, "seed": 1
    });
    let (task, best) = study(&service, dir.path(), &spec).await;
    assert_eq!(service.task(&task).await.expect("is there").spec.objective.metric.as_str(), "map50");

    let model = whole_model(&service, &best).await;

    // The card's figure is found again by asking the file about every test picture.
    let open = service.open_dataset(&dataset).await.expect("is ready");
    let classes = &open.manifest().classes;
    let mut seen = Vec::new();
    for (i, example) in open.manifest().examples.iter().enumerate() {
        if example.split != Split::Test {
            continue;
        }
        let answer = service.predict(&best, &open.original(i).expect("bytes"), Some(0.01)).await.expect("answers");
        let Said::Objects { objects, .. } = answer.said else { panic!("objects") };
        let class = |label: &str| classes.iter().position(|name| name == label).expect("is a class");
        let found = |o: &kindling_engine::Object| Detection {
            class: class(&o.label),
            score: f64::from(o.score),
            rect: rect(o.sides),
        };
        let truth = |b: &kindling_data::LabelledBox| Truth {
            class: b.class,
            rect: rect([b.x, b.y, b.x + b.width, b.y + b.height]),
        };
        seen.push(Seen {
            truths: example.boxes.iter().map(truth).collect(),
            detections: objects.iter().map(found).collect(),
        });
    }
    let card = &model.card["test"];
    assert_eq!(card["examples"].as_u64(), Some(seen.len() as u64));
    let (told, again) = (card["map50"].as_f64().expect("a figure"), mean_precision(&seen, classes.len()).map50);
    let again = again.expect("there are boxes");
    assert!(told > 0.05, "{told} after so short a search");
    // Scores that differ in the last digit may change places.
    assert!((told - again).abs() < 5e-3, "the card says {told}, the file {again}");

    for mistake in service.mistakes(&best).await.expect("are kept") {
        assert_ne!(open.manifest().examples[mistake.example].split, Split::Train);
    }
    let picture = open.original(0).expect("bytes");
    let error = service.explain(&best, &picture, None).await.expect_err("is of classes");
    assert_eq!(error.code(), ErrorCode::InvalidRequest);
    let options = kindling_engine::AdviceOptions { repeats: Some(1), epochs: Some(1) };
    let error = service.seek_advice(&task, &options).await.expect_err("is of classes");
    assert_eq!(error.code(), ErrorCode::InvalidRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_one_object_at_most_one_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let (service, dataset) = service_with_boxes(dir.path(), TaskKind::ObjectLocalization).await;
    let spec = |classes: Value| {
        json!({
            "version": 1, "name": "smoke", "kind": "object-localization", "dataset": dataset.to_string(), "classes": classes,
            "constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": 14, "trials": 2}, "exports": ["onnx"]
        })
    };
    // Some pictures have a fire and its smoke, or two fires.
    let told = service.create_task(&spec(json!(["fire", "smoke"]))).await.expect_err("is refused").to_string();
    assert!(told.contains("several boxes") && told.contains("object-detection"), "{told}");
    let (_, best) = study(&service, dir.path(), &spec(json!(["smoke"]))).await;
    let card = service.model(&best).await.expect("is there").card;
    let objective = &card["test"]["objective"];
    assert_eq!(
        (&objective["metric"], &objective["value"]),
        (&json!("localization_accuracy"), &card["test"]["localization_accuracy"])
    );
    let open = service.open_dataset(&dataset).await.expect("is ready");
    let test = open.manifest().examples.iter().enumerate().filter(|(_, example)| example.split == Split::Test);
    for (i, _) in test {
        let answer = service.predict(&best, &open.original(i).expect("bytes"), Some(0.0)).await.expect("answers");
        let Said::Objects { objects, .. } = answer.said else { panic!("objects") };
        assert_eq!(objects.len(), 1, "{objects:?}");
    }
}

#[tokio::test]
async fn a_task_of_the_other_kind_of_labels_is_refused_in_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let (service, dataset) = service_with_boxes(dir.path(), TaskKind::ObjectDetection).await;
    let refused = async |kind: &str, more: Value| {
        let mut spec = json!({
            "version": 1, "name": "x", "kind": kind, "dataset": dataset.to_string(), "budget": {"trials": 1},
        });
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        service.create_task(&spec).await.expect_err("is refused").to_string()
    };
    let told = refused("image-classification", json!({})).await;
    assert!(told.contains("labels are boxes"), "{told}");
    let told = refused("object-detection", json!({"objective": {"metric": "accuracy"}})).await;
    assert!(told.contains("`map50`"), "{told}");
    let told = refused("object-detection", json!({"classes": ["fire", "water"]})).await;
    assert!(told.contains("no class `water`"), "{told}");
    let told = refused("object-detection", json!({"constraints": {"max_weights_bytes": 100}})).await;
    assert!(told.contains("max_weights_bytes"), "{told}");
}
