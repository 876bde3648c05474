//! Studies of tasks that learn from good pictures what is strange.

mod common;

use common::{service_with, study, whole_model};
use kindling_data::sample;
use kindling_engine::Said;
use kindling_models::tasks::anomaly_detection::{auroc, log_odds};
use kindling_spec::{Split, TaskKind};
use serde_json::{Value, json};
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn good_pictures_become_a_model_that_says_what_is_faulty_as_its_card_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let pictures = dir.path().join("pictures");
    sample::soap_boxes(&pictures, 64, 64, 3).expect("the sample is drawn");
    let (service, dataset) = service_with(dir.path(), &pictures, TaskKind::AnomalyDetection).await;
    let spec = json!({
        "version": 1, "name": "boxes", "kind": "anomaly-detection", "dataset": dataset.to_string(), "false_alarms": 0.1,
        "constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": 16, "trials": 1}, "seed": 1
    });
    let (task, best) = study(&service, dir.path(), &spec).await;
    assert_eq!(service.task(&task).await.expect("is there").spec.objective.metric.as_str(), "image_auroc");

    let model = whole_model(&service, &best).await;

    // The card's figures are found again by asking the file about every test picture.
    let open = service.open_dataset(&dataset).await.expect("is ready");
    let manifest = open.manifest();
    let (mut good, mut faulty, mut alarms) = (Vec::new(), Vec::new(), 0);
    for (i, example) in manifest.examples.iter().enumerate().filter(|(_, example)| example.split == Split::Test) {
        let answer = service.predict(&best, &open.original(i).expect("bytes"), None).await.expect("answers");
        let Said::Class { label, probabilities, .. } = answer.said else { panic!("a class") };
        assert_eq!(probabilities.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["good", "faulty"]);
        let odds = log_odds(&[probabilities[0].1, probabilities[1].1])[0];
        if manifest.classes[example.class] == "good" {
            good.push(odds);
            alarms += usize::from(label == "faulty");
        } else {
            faulty.push(odds);
        }
    }
    let card = &model.card["test"];
    let told = card["anomalies"]["image_auroc"].as_f64().expect("a figure");
    let again = auroc(&good, &faulty).expect("there are both");
    assert!(told > 0.55, "{told} after so short a search");
    // Scores that differ in the last digit may change places.
    assert!((told - again).abs() < 5e-3, "the card says {told}, the file {again}");
    assert_eq!(card["objective"], json!({"metric": "image_auroc", "value": told}));
    let share = card["anomalies"]["false_alarms"].as_f64().expect("a figure");
    assert!((share * good.len() as f64 - alarms as f64).abs() <= 1.01, "{share} of {}, {alarms} found", good.len());
    let labels: Vec<&str> =
        card["anomalies"]["per_class"].as_array().expect("a list").iter().filter_map(|f| f["label"].as_str()).collect();
    assert_eq!(labels, ["empty", "open", "torn"]);
    // No faulty picture was there to choose by, so that defects were drawn.
    let validation = &model.card["validation"];
    assert_eq!(validation["anomalies"]["image_auroc"], Value::Null);
    assert_eq!(validation["anomalies"]["drawn_auroc"], validation["objective"]["value"]);

    let torn = manifest.examples.iter().position(|e| manifest.classes[e.class] == "torn").expect("is there");
    let heat = service.explain(&best, &open.original(torn).expect("bytes"), None).await.expect("a picture");
    assert!(heat.starts_with(b"\x89PNG"));

    // Another study begins where this one ended: with one short rung it is as good as the first was after all of its.
    let mut again = spec.clone();
    (again["warm_start"], again["budget"]) = (json!(best), json!({"seconds": 8, "trials": 1}));
    let (_, next) = study(&service, dir.path(), &again).await;
    let value = |card: &Value| card["validation"]["objective"]["value"].as_f64().expect("a figure");
    let next = service.model(&next).await.expect("is there");
    assert!(value(&next.card) > value(&model.card) - 0.1, "{} after {}", value(&next.card), value(&model.card));
}

#[tokio::test]
async fn what_cannot_be_learned_from_is_refused_in_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let pictures = dir.path().join("pictures");
    sample::soap_boxes(&pictures, 24, 32, 3).expect("the sample is drawn");
    // One class alone, and a fault that was seen once.
    let (only, few) = (dir.path().join("only"), dir.path().join("few"));
    for (to, from) in [(&only, "good"), (&few, "good"), (&few, "torn")] {
        let side = if from == "good" { "train" } else { "test" };
        let most = if from == "good" { 24 } else { 1 };
        copy(&pictures.join(side).join(from), &to.join(if from == "good" { "full" } else { from }), most);
    }
    let (service, dataset) = service_with(dir.path(), &only, TaskKind::AnomalyDetection).await;
    let spec = |dataset: &str, more: Value| {
        let mut spec = json!({
            "version": 1, "name": "x", "kind": "anomaly-detection", "dataset": dataset, "budget": {"trials": 1},
        });
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        spec
    };
    service.create_task(&spec(dataset.as_str(), json!({}))).await.expect("needs no fault");
    let second = service.create_dataset("few", TaskKind::AnomalyDetection).await.expect("is made").id;
    service.seal_dataset(&second, &few).await.expect("is sealed");
    service.create_task(&spec(second.as_str(), json!({"good": "full"}))).await.expect("needs no more");
    for (more, said) in [
        (json!({}), "name the class whose examples are good, one of `full`, `torn`"),
        (json!({"good": "fine"}), "no class `fine`"),
        (json!({"good": "torn"}), "needs at least 1"),
        (json!({"good": "full", "classes": ["full", "torn"]}), "leave this out and name that in `good`"),
        (json!({"good": "full", "false_alarms": 0.9}), "above 0 and at most 0.5"),
        (json!({"good": "full", "objective": {"metric": "accuracy"}}), "`image_auroc`"),
        (json!({"kind": "image-classification", "good": "full"}), "belongs to `anomaly-detection`"),
    ] {
        let told = service.create_task(&spec(second.as_str(), more.clone())).await.expect_err("is refused").to_string();
        assert!(told.contains(said), "{more}: {told}");
    }
}

fn copy(from: &Path, to: &Path, most: usize) {
    std::fs::create_dir_all(to).expect("is made");
    let files = std::fs::read_dir(from).expect("is there").map(|entry| entry.expect("an entry").path());
    for file in files.take(most) {
        std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("is copied");
    }
}
