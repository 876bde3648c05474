//! The binary from a shell: output, JSON, exit codes.

use crate::harness::*;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn train(spec: &Value, data: &Path, out: &Path) -> Output {
    let file = out.with_extension("json");
    std::fs::write(&file, spec.to_string()).unwrap();
    let mut command = kindling();
    command.arg("train").arg(&file).arg("--data").arg(data).arg("--out").arg(out);
    command.args(["--device", "flex", "--workers", "1", "--json"]).output().unwrap()
}

#[test]
fn train_writes_a_bundle_that_predict_reads() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("model");
    let spec = json!({
        "version": 1, "name": "fire finder", "kind": "image-classification", "budget": {"trials": 1, "seconds": 10},
        "classes": {"fire": ["fire"], "not-fire": ["smoke", "neither"]}, "exports": ["onnx"],
        "objective": {"metric": "balanced_accuracy"}, "constraints": {"max_weights_bytes": 60_000},
    });
    let trained = train(&spec, sample_dir(), &out);
    assert_eq!(code(&trained), 0, "{}", said(&trained));
    let told: Value = serde_json::from_slice(&trained.stdout).unwrap();
    assert_eq!(told["card"]["labels"], json!(["fire", "not-fire"]));
    for file in told["files"].as_array().unwrap() {
        let bytes = std::fs::read(out.join(file["name"].as_str().unwrap())).unwrap();
        assert_eq!(sha256(&bytes), file["sha256"]);
    }
    // Beside the bundle and its specification nothing is left.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);

    let good = dir.path().join("good.png");
    std::fs::write(&good, png(&picture(60, 40, 2))).unwrap();
    let answered = kindling().arg("predict").arg(&out).arg(&good).arg("--json").output().unwrap();
    assert_eq!(code(&answered), 0, "{}", said(&answered));
    let answers: Value = serde_json::from_slice(&answered.stdout).unwrap();
    let sum: f64 = answers[0]["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{answers}");
    // A bad image is told of, and the good one is still answered.
    let mixed = kindling().arg("predict").arg(&out).arg(dir.path().join("model.json")).arg(&good).output().unwrap();
    assert_eq!(code(&mixed), 3, "{}", said(&mixed));
    assert!(said(&mixed).contains("model.json") && !mixed.stdout.is_empty(), "{mixed:?}");
    // A bundle is never written over.
    let again = train(&spec, sample_dir(), &out);
    assert_eq!(code(&again), 3, "{}", said(&again));
}

#[test]
fn every_kind_of_failure_has_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| kindling().current_dir(dir.path()).args(args).output().unwrap();
    assert_eq!(code(&run(&["train"])), 2);
    assert_eq!(code(&run(&["fetch", "nonesuch"])), 2);
    let unknown = run(&["fetch", "backbone", "nonesuch"]);
    assert!(code(&unknown) == 2 && said(&unknown).contains("efficientnet-lite0"), "{}", said(&unknown));
    let unread = run(&["audit", "nothing-here"]);
    assert_ne!(code(&unread), 0);
    std::fs::write(dir.path().join("bad.zip"), b"no archive").unwrap();
    let refused = run(&["audit", "bad.zip"]);
    assert_eq!(code(&refused), 3, "{}", said(&refused));
    assert!(said(&refused).contains("where: ") && said(&refused).contains("bad.zip"), "{}", said(&refused));
    assert_eq!(code(&run(&["predict", "bad.zip", "bad.zip"])), 3);
    let spec = json!({"version": 1, "name": "x", "kind": "image-classification", "budget": {}, "colour": 1});
    let refused = train(&spec, sample_dir(), &dir.path().join("out"));
    assert_eq!(code(&refused), 3);
    assert!(said(&refused).contains("/budget") && said(&refused).contains("/colour"), "{}", said(&refused));
}

#[test]
fn a_second_service_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _first = Server::start(&data, 0);
    let mut second = kindling();
    let second = second.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data).output().unwrap();
    assert_eq!(code(&second), 6, "{}", said(&second));
    assert!(said(&second).contains("another service"), "{}", said(&second));
}

#[test]
fn what_is_for_machines_is_json() {
    let json_of = |args: &[&str]| -> Value {
        let ran = kindling().args(args).output().unwrap();
        assert_eq!(code(&ran), 0, "{args:?}: {}", said(&ran));
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}"))
    };
    assert_eq!(json_of(&["schema"])["properties"]["version"]["const"], 1.0);
    assert!(json_of(&["openapi"])["paths"]["/v1/tasks"].is_object());
    assert!(json_of(&["devices", "--json"]).as_array().unwrap().iter().any(|d| d["name"] == "flex"));
    assert!(json_of(&["fetch", "--list", "--json"])["mnist"]["file"].is_array());
    assert!(json_of(&["fetch", "backbone", "--list", "--json"])["efficientnet-lite0"]["file"].is_object());
    let audit = json_of(&["audit", "--json", sample_dir().to_str().unwrap()]);
    assert_eq!((&audit["examples"], &audit["classes"]), (&json!(120), &json!(["fire", "neither", "smoke"])));
    let boxed = json_of(&["audit", "--labels", "boxes", "--json", sample_dir().to_str().unwrap()]);
    assert_eq!((&boxed["labels"], &boxed["classes"]), (&json!("boxes"), &json!(["fire", "smoke"])));
    let train = boxed.pointer("/audit/boxes/counts/0/train").and_then(Value::as_u64);
    assert!(train > Some(10), "{boxed}");
}

#[test]
fn the_sample_is_the_same_for_the_same_seed() {
    let dir = tempfile::tempdir().unwrap();
    let draw = |name: &str, seed: &str| {
        let to = dir.path().join(name);
        let mut command = kindling();
        command.args(["sample", "fire-smoke", "--per-class", "10", "--size", "24", "--seed", seed]).arg(&to);
        assert_eq!(code(&command.output().unwrap()), 0);
        std::fs::read(to.join("fire").read_dir().unwrap().flatten().map(|e| e.path()).min().unwrap()).unwrap()
    };
    assert_eq!(draw("a", "5"), draw("b", "5"));
    assert_ne!(draw("c", "6"), draw("d", "5"));
}

#[test]
fn the_demo_goes_the_whole_way_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let demo = || {
        let mut command = kindling();
        command.args(["demo", "--seconds", "6", "--device", "flex", "--json", "--dir"]).arg(dir.path().join("demo"));
        let ran = command.arg("--data").arg(sample_dir()).output().unwrap();
        assert_eq!(code(&ran), 0, "{}", said(&ran));
        serde_json::from_slice::<Value>(&ran.stdout).unwrap()
    };
    let first = demo();
    assert!(first["first_model_seconds"].as_f64().unwrap() < 15.0, "{first}");
    assert!(first["best"]["weights_bytes"].as_u64().unwrap() <= 100_000);
    assert!(dir.path().join("demo/model/model.onnx").is_file());
    let second = demo();
    assert_ne!(first["task"], second["task"]);
}
