//! The fleet specification, right and wrong, and the tasks it is made of.

use kindling_spec::{Classes, ExportFormat, FleetSpec, Metric, TaskSpec};
use serde_json::{Value, json};

fn good() -> Value {
    json!({
        "version": 1, "name": "watch", "kind": "image-classification", "dataset": "local",
        "specialists": ["smoke", "fire"], "background": ["neither"],
        "objective": {"metric": "recall_at_precision", "precision": 0.8},
        "constraints": {"max_weights_bytes": 20_000}, "single_constraints": {"max_weights_bytes": 60_000},
        "budget": {"seconds": 30, "trials": 8}, "exports": ["onnx"], "seed": 7
    })
}

fn classes() -> Vec<String> {
    ["fire", "neither", "smoke"].map(String::from).to_vec()
}

fn told(value: &Value) -> Vec<(String, String)> {
    let error = FleetSpec::from_json(value).expect_err("this must be refused");
    error.violations.into_iter().map(|v| (v.pointer, v.message)).collect()
}

#[test]
fn a_full_specification_reads_and_writes_back() {
    let spec = FleetSpec::from_json(&good()).expect("good");
    let again = FleetSpec::from_json(&serde_json::to_value(&spec).expect("to JSON")).expect("reads back");
    assert_eq!(spec, again);
    assert!(spec.check_classes(&classes()).is_ok());
}

#[test]
fn the_least_specification_gets_the_defaults() {
    let least = json!({"version": 1, "name": "x", "kind": "image-classification", "budget": {"trials": 4}});
    let spec = FleetSpec::from_json(&least).expect("good");
    assert_eq!((spec.objective.metric, spec.objective.precision), (Metric::BalancedAccuracy, 0.9));
    assert_eq!(spec.specialists_of(&classes()), classes());
    assert_eq!(spec.exports, ExportFormat::ALL);
}

#[test]
fn its_tasks_are_valid_and_share_the_budget() {
    let spec = FleetSpec::from_json(&good()).expect("good");
    let tasks = spec.tasks(&classes());
    let roles: Vec<_> = tasks.iter().map(|t| t.class.as_deref()).collect();
    assert_eq!(roles, [None, Some("fire"), Some("smoke")]);
    for task in &tasks {
        let value = serde_json::to_value(&task.spec).expect("to JSON");
        assert_eq!(TaskSpec::from_json(&value).as_ref(), Ok(&task.spec));
        assert_eq!(task.spec.check_classes(&classes()), Ok(()));
        assert_eq!((task.spec.budget.seconds, task.spec.seed), (Some(10.0), 7));
    }
    let trials: Vec<_> = tasks.iter().map(|t| t.spec.budget.trials).collect();
    assert_eq!(trials, [Some(3), Some(3), Some(2)]);
    assert_eq!(tasks[0].spec.constraints.max_weights_bytes, Some(60_000));
    assert_eq!((tasks[0].spec.classes.as_ref(), tasks[0].spec.objective.metric), (None, Metric::BalancedAccuracy));
    let fire = &tasks[1].spec;
    let Some(Classes::Mapping(map)) = &fire.classes else { panic!("{fire:?}") };
    assert_eq!(map["fire"], ["fire"]);
    assert_eq!(map["rest"], ["neither", "smoke"]);
    assert_eq!((fire.objective.class.as_deref(), fire.objective.precision), (Some("fire"), Some(0.8)));
    assert_eq!(fire.constraints.max_weights_bytes, Some(20_000));
}

#[test]
fn long_names_and_a_class_called_rest_still_make_valid_tasks() {
    let mut value = good();
    value["name"] = json!("n".repeat(200));
    let long = "c".repeat(100);
    value["specialists"] = json!(["rest", long]);
    let spec = FleetSpec::from_json(&value).expect("good");
    let classes = [long, "neither".to_owned(), "rest".to_owned()];
    spec.check_classes(&classes).expect("they are there");
    for task in spec.tasks(&classes) {
        TaskSpec::from_json(&serde_json::to_value(&task.spec).expect("to JSON")).expect("valid");
    }
}

#[test]
fn every_violation_is_told_at_once() {
    let found = told(&json!({
        "version": 2, "name": " ", "kind": "poetry", "specialist": [], "specialists": ["fire", "fire"],
        "background": ["fire"], "objective": {"metric": "speed", "precision": 0, "class": "fire"},
        "constraints": {"max_macs": 0}, "single_constraints": {"max_bytes": 1}, "budget": {},
        "exports": ["safetensors"], "seed": -1
    }));
    let pointers: Vec<_> = found.iter().map(|(p, _)| p.as_str()).collect();
    for pointer in [
        "/specialist",
        "/version",
        "/name",
        "/kind",
        "/specialists/1",
        "/background/0",
        "/objective/class",
        "/objective/metric",
        "/objective/precision",
        "/constraints/max_macs",
        "/single_constraints/max_bytes",
        "/budget",
        "/exports",
        "/seed",
    ] {
        assert!(pointers.contains(&pointer), "{pointer} is missing from {found:#?}");
    }
    assert_eq!(pointers.len(), 14, "{found:#?}");
    assert_eq!(told(&json!([]))[0].0, "");
    let mut empty = good();
    empty["specialists"] = json!([]);
    assert_eq!(told(&empty)[0].0, "/specialists");
}

#[test]
fn what_depends_on_the_data_set_is_told_at_once_too() {
    let mut value = good();
    value["specialists"] = json!(["fire", "cat"]);
    value["background"] = json!(["dog"]);
    value["budget"] = json!({"seconds": 1.5, "trials": 1});
    let error = FleetSpec::from_json(&value).expect("well formed").check_classes(&classes()).expect_err("refused");
    let pointers: Vec<_> = error.violations.iter().map(|v| v.pointer.as_str()).collect();
    assert_eq!(pointers, ["/specialists/1", "/background/0", "/budget/seconds", "/budget/trials"]);
    let mut nobody = good();
    nobody.as_object_mut().expect("an object").remove("specialists");
    nobody["background"] = json!(classes());
    let error = FleetSpec::from_json(&nobody).expect("well formed").check_classes(&classes()).expect_err("refused");
    assert_eq!(error.violations[0].pointer, "/background");
}

#[test]
fn the_schema_has_the_bounds() {
    let schema = FleetSpec::json_schema();
    assert_eq!(schema.pointer("/properties/version/const"), Some(&json!(1)));
    assert_eq!(schema.pointer("/$defs/FleetObjective/properties/precision/maximum"), Some(&json!(1)));
    assert_eq!(schema.pointer("/additionalProperties"), Some(&json!(false)));
}
