//! The specification as a person would write it, right and wrong.

use kindling_spec::{Metric, TaskSpec, WarmStart};
use serde_json::{Value, json};

fn good() -> Value {
    json!({
        "version": 1,
        "name": "smoke or fire?",
        "kind": "image-classification",
        "dataset": "local",
        "classes": {"fire": ["fire"], "not-fire": ["smoke", "neither"]},
        "objective": {"metric": "recall_at_precision", "class": "fire", "precision": 0.95},
        "constraints": {"max_weights_bytes": 100000, "max_latency_ms": 5.5},
        "budget": {"seconds": 60, "trials": 20},
        "exports": ["onnx"],
        "seed": 7
    })
}

fn violations(value: &Value) -> Vec<(String, String)> {
    let error = TaskSpec::from_json(value).expect_err("this must be refused");
    error.violations.into_iter().map(|v| (v.pointer, v.message)).collect()
}

#[test]
fn a_full_specification_reads_and_writes_back() {
    let spec = TaskSpec::from_json(&good()).expect("good");
    assert_eq!(spec.objective.metric, Metric::RecallAtPrecision);
    let again = TaskSpec::from_json(&serde_json::to_value(&spec).expect("to JSON")).expect("reads back");
    assert_eq!(spec, again);
    let classes = ["fire", "neither", "smoke"].map(String::from);
    assert!(spec.check_classes(&classes).is_ok());
    assert_eq!(spec.groups(&classes)[1], ("not-fire".to_owned(), vec!["smoke".to_owned(), "neither".to_owned()]));
}

#[test]
fn the_least_specification_gets_the_defaults() {
    let spec = json!({"version": 1, "name": "x", "kind": "image-classification", "budget": {"trials": 1}});
    let spec = TaskSpec::from_json(&spec).expect("good");
    assert_eq!((spec.dataset.as_str(), spec.objective.metric, spec.seed), ("local", Metric::Accuracy, 0));
    assert_eq!(spec.exports.len(), kindling_spec::ExportFormat::ALL.len());
    assert_eq!((spec.warm_start, spec.distillation), (WarmStart::Auto, false));
}

#[test]
fn a_search_begins_from_what_is_found_from_nothing_or_from_a_model_that_is_named() {
    let id = kindling_spec::ModelId::new();
    for (text, expected) in
        [("auto", WarmStart::Auto), ("off", WarmStart::Off), (id.as_str(), WarmStart::Model(id.clone()))]
    {
        let mut spec = good();
        spec["warm_start"] = json!(text);
        let spec = TaskSpec::from_json(&spec).expect("good");
        assert_eq!(spec.warm_start, expected);
        assert_eq!(serde_json::to_value(&spec).expect("JSON")["warm_start"], json!(text));
    }
}

#[test]
fn every_violation_is_reported_at_once_with_its_pointer() {
    let bad = json!({
        "version": 2,
        "name": "  ",
        "kind": "image-clasification",
        "datset": "x",
        "classes": {"a/b": [], "c": ["x", "x"]},
        "objective": {"metric": "accuracy", "precision": 0.5, "direction": "minimize"},
        "constraints": {"max_weights_bytes": 0, "max_ram_bytes": -1, "max_latency_ms": "5"},
        "budget": {},
        "distillation": true,
        "warm_start": "cold",
        "exports": ["onnx", "onnx", "tflite"],
        "seed": 1.5
    });
    let found = violations(&bad);
    let pointers: Vec<&str> = found.iter().map(|(p, _)| p.as_str()).collect();
    for expected in [
        "/version",
        "/name",
        "/kind",
        "/datset",
        "/classes/a~1b",
        "/classes/c/1",
        "/objective/precision",
        "/objective/direction",
        "/constraints/max_weights_bytes",
        "/constraints/max_ram_bytes",
        "/constraints/max_latency_ms",
        "/budget",
        "/distillation",
        "/warm_start",
        "/exports/1",
        "/exports/2",
        "/seed",
    ] {
        assert!(pointers.contains(&expected), "{expected} is missing from {pointers:?}");
    }
    let (_, hint) = found.iter().find(|(p, _)| p == "/datset").expect("listed");
    assert!(hint.contains("did you mean `dataset`"), "{hint}");
}

#[test]
fn what_is_missing_is_named() {
    let pointers: Vec<String> = violations(&json!({})).into_iter().map(|(p, _)| p).collect();
    assert_eq!(pointers, ["/version", "/name", "/kind", "/budget"]);
    assert_eq!(violations(&json!([]))[0].1, "must be an object, not an array");
    let mut spec = good();
    spec["objective"] = json!({"metric": "recall_at_precision"});
    assert_eq!(violations(&spec).len(), 2);
}

#[test]
fn classes_unknown_to_the_data_set_are_refused_with_those_it_has() {
    let spec = TaskSpec::from_json(&good()).expect("good");
    let error = spec.check_classes(&["fire".to_owned(), "smoke".to_owned()]).expect_err("neither is unknown");
    assert_eq!(error.violations[0].pointer, "/classes/not-fire/1");
    assert!(error.violations[0].message.contains("it has `fire`, `smoke`"));
}

#[test]
fn whatever_serde_accepts_the_walk_accepts_and_the_other_way_round() {
    // Each change of one member to each odd value: either both refuse, or both accept.
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(1e300),
        json!(""),
        json!("onnx"),
        json!([]),
        json!({}),
    ];
    for member in [
        "version",
        "name",
        "kind",
        "dataset",
        "classes",
        "objective",
        "constraints",
        "budget",
        "exports",
        "seed",
        "backbone",
        "distillation",
        "warm_start",
    ] {
        for value in &odd {
            let mut spec = good();
            spec[member] = value.clone();
            match TaskSpec::from_json(&spec) {
                Ok(parsed) => assert!(TaskSpec::from_json(&serde_json::to_value(parsed).expect("JSON")).is_ok()),
                Err(e) => assert!(e.violations.iter().all(|v| !v.pointer.is_empty()), "{member} {value}: {e}"),
            }
        }
    }
}

#[test]
fn the_published_schema_is_the_golden_file() {
    insta::assert_json_snapshot!("task-spec-schema", TaskSpec::json_schema());
}

/// A body of a megabyte has room for a hundred thousand faults; the answer must not be a gigabyte, nor take minutes.
#[test]
fn faults_without_number_are_told_briefly() {
    let mut spec = good();
    spec["objective"] = json!({"metric": "accuracy"});
    spec["classes"] = (0..100_000).map(|i| i.to_string()).collect();
    assert_eq!(violations(&spec)[0].1, "names 100000 classes, more than the 1000 allowed");
    spec["classes"] = (0..1000).map(|i| format!("no {i}")).collect();
    let spec = TaskSpec::from_json(&spec).expect("as far as is known without the data set");
    let classes: Vec<String> = (0..1000).map(|i| format!("{i:0100}")).collect();
    let error = spec.check_classes(&classes).expect_err("none of them is there");
    assert_eq!(error.violations.len(), 100);
    assert!(error.violations[0].message.ends_with("and 980 more"), "{}", error.violations[0].message);
    let mut spec = good();
    (0..50_000).for_each(|i| spec[format!("member {i}")] = json!(1));
    assert_eq!(violations(&spec).len(), 100);
}
