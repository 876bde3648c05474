//! This crate's parsers of strangers' bytes. Fuzzing (`fuzz/`) and a test go through the same list.

use crate::{FleetSpec, Json, SpecError, TaskSpec};
use kindling_spoil::Parser;

/// All of them.
pub const PARSERS: &[Parser] = &[
    Parser { name: "task_spec", read: task_spec, seeds: || texts(TASKS), cases: 4000 },
    Parser { name: "fleet_spec", read: fleet_spec, seeds: || texts(FLEETS), cases: 4000 },
];

const TASKS: &[&str] = &[
    r#"{"version": 1, "name": "smoke?", "kind": "image-classification", "dataset": "local",
    "classes": {"fire": ["fire"], "not-fire": ["smoke", "neither"]},
    "objective": {"metric": "recall_at_precision", "direction": "maximize", "class": "fire", "precision": 0.95},
    "constraints": {"data_type": "int8", "max_weights_bytes": 100000, "max_ram_bytes": 5, "max_macs": 7, "max_latency_ms": 5.5},
    "budget": {"seconds": 60, "trials": 20}, "backbone": "efficientnet-lite0", "distillation": true, "warm_start": "off",
    "exports": ["onnx", "c"], "seed": 7}"#,
    r#"{"version": 1, "name": "x", "kind": "anomaly-detection", "good": "a", "false_alarms": 0.1, "budget": {"trials": 1}}"#,
    r#"{"version": 1, "name": "x", "kind": "object-detection", "classes": ["a"], "objective": {"metric": "map"},
    "budget": {"seconds": 1}}"#,
];
const FLEETS: &[&str] = &[r#"{"version": 1, "name": "hill", "kind": "image-classification", "dataset": "local",
    "background": ["neither"], "specialists": ["fire"], "objective": {"metric": "recall_at_precision", "precision": 0.9},
    "constraints": {"max_weights_bytes": 20000}, "single_constraints": {"max_macs": 9}, "budget": {"seconds": 180}}"#];

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn classes() -> [String; 4] {
    ["fire", "smoke", "neither", "a"].map(str::to_owned)
}

fn check_words(error: &SpecError) {
    assert!((1..=100).contains(&error.violations.len()));
    assert!(error.violations.iter().all(|v| (1..4096).contains(&v.message.len())), "{error}");
}

fn task_spec(bytes: &[u8]) {
    let Ok(Json(value)) = serde_json::from_slice(bytes) else { return };
    match TaskSpec::from_json(&value) {
        Ok(spec) => {
            let _ = spec.check_classes(&classes()).inspect_err(check_words);
            let again = serde_json::to_value(&spec).expect("a specification is JSON");
            assert_eq!(TaskSpec::from_json(&again).expect("it reads back"), spec);
            assert!(!spec.groups(&classes()).is_empty());
        }
        Err(error) => check_words(&error),
    }
}

fn fleet_spec(bytes: &[u8]) {
    let Ok(Json(value)) = serde_json::from_slice(bytes) else { return };
    match FleetSpec::from_json(&value) {
        Ok(spec) => match spec.check_classes(&classes()) {
            Ok(()) => {
                for task in spec.tasks(&classes()) {
                    let value = serde_json::to_value(&task.spec).expect("a specification is JSON");
                    TaskSpec::from_json(&value).expect("a fleet's tasks are tasks");
                }
            }
            Err(error) => check_words(&error),
        },
        Err(error) => check_words(&error),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_spoiled_specification_makes_a_reader_panic() {
        kindling_spoil::check(super::PARSERS);
    }
}
