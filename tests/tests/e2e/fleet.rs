//! `kindling fleet` and the router it hands out, run with nothing of ours.

use crate::harness::*;
use kindling_export::OnnxModel;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn fleet(spec: &Value, out: &Path) -> Output {
    let file = out.with_extension("json");
    std::fs::write(&file, spec.to_string()).unwrap();
    let mut command = kindling();
    command.arg("fleet").arg(&file).arg("--data").arg(sample_dir()).arg("--out").arg(out);
    command.args(["--device", "flex", "--json"]).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A Python with what the router needs, if there is one.
fn python() -> Option<String> {
    let asked_for = std::env::var("KINDLING_TEST_PYTHON").ok();
    let python = asked_for.clone().unwrap_or_else(|| "python3".into());
    let has = Command::new(&python).args(["-c", "import onnxruntime, numpy, PIL"]).output();
    if has.is_ok_and(|o| o.status.success()) {
        return Some(python);
    }
    assert!(asked_for.is_none(), "KINDLING_TEST_PYTHON={python} has no onnxruntime, numpy and pillow");
    println!("the router is not run: {python} has no onnxruntime; set KINDLING_TEST_PYTHON to one that has");
    None
}

#[test]
fn a_fleet_is_grown_and_its_router_answers_as_its_models_do() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("fleet");
    let spec = json!({
        "version": 1, "name": "watch", "kind": "image-classification", "specialists": ["fire", "smoke"],
        "constraints": {"max_weights_bytes": 40_000, "max_macs": 1_000_000}, "exports": ["onnx"],
        "budget": {"trials": 3, "seconds": 15}, "objective": {"metric": "recall_at_precision", "precision": 0.6},
    });
    let grown = fleet(&spec, &out);
    assert_eq!(grown.status.code(), Some(0), "{}", said(&grown));
    let told: Value = serde_json::from_slice(&grown.stdout).unwrap();
    assert_eq!((&told["state"], told["tasks"].as_array().unwrap().len()), (&json!("complete"), 3), "{told}");
    assert_eq!(told["report"]["specialists"]["models"], 2);
    for file in told["files"].as_array().unwrap() {
        assert_eq!(sha256(&std::fs::read(out.join(file["path"].as_str().unwrap())).unwrap()), file["sha256"]);
    }
    // Beside the fleet and its specification nothing is left, and it is never written over.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    let again = fleet(&spec, &out);
    assert_eq!(again.status.code(), Some(3), "{}", said(&again));

    let Some(python) = python() else { return };
    let mut paths = Vec::new();
    for (number, (width, height)) in [(32, 32), (50, 31), (200, 150)].into_iter().enumerate() {
        let path = dir.path().join(format!("{number}.png"));
        std::fs::write(&path, png(&picture(width, height, number as u32))).unwrap();
        paths.push(path);
    }
    paths.push(std::fs::read_dir(sample_dir().join("fire")).unwrap().flatten().map(|e| e.path()).min().unwrap());
    let ask = |paths: &[&Path]| Command::new(&python).arg(out.join("router.py")).args(paths).output().unwrap();
    let ran = ask(&paths.iter().map(|p| p.as_path()).collect::<Vec<_>>());
    assert!(ran.status.success(), "{}", said(&ran));
    let lines: Vec<Value> = ran.stdout.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    assert_eq!(lines.len(), paths.len(), "{ran:?}");
    let manifest: Value = serde_json::from_slice(&std::fs::read(out.join("fleet.json")).unwrap()).unwrap();
    for entry in manifest["specialists"].as_array().unwrap() {
        let class = entry["class"].as_str().unwrap();
        let onnx = OnnxModel::load(&std::fs::read(out.join(entry["path"].as_str().unwrap())).unwrap()).unwrap();
        let (label, at_least) = onnx.decision().unwrap();
        assert_eq!(label, class);
        assert!((f64::from(at_least) - entry["threshold"].as_f64().unwrap()).abs() < 1e-6, "{at_least}, {entry}");
        let column = onnx.labels().iter().position(|l| l == class).unwrap();
        for (path, line) in paths.iter().zip(&lines) {
            let image = image::open(path).unwrap().to_rgb8();
            let ours = f64::from(onnx.predict(image.as_raw(), image.width(), image.height()).unwrap()[column]);
            let theirs = line["probabilities"][class].as_f64().unwrap();
            assert!((ours - theirs).abs() < 1e-4, "{class} {path:?}: {ours} {theirs}");
            let found = line["found"].as_array().unwrap().contains(&json!(class));
            assert_eq!(found, theirs >= entry["threshold"].as_f64().unwrap(), "{line}");
        }
    }
    // A file that is no picture is told of, and the others are still answered.
    let mixed = ask(&[&out.join("fleet.json"), &paths[0]]);
    assert_eq!(mixed.status.code(), Some(1), "{mixed:?}");
    assert!(said(&mixed).contains("fleet.json") && mixed.stdout.starts_with(b"{\"picture\""), "{mixed:?}");
    // A damaged model is refused and not run.
    let model = out.join(manifest["specialists"][0]["path"].as_str().unwrap());
    let mut bytes = std::fs::read(&model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let damaged = ask(&[&paths[0]]);
    assert_eq!((damaged.status.code(), damaged.stdout.is_empty()), (Some(1), true), "{damaged:?}");
    assert!(said(&damaged).contains("SHA-256"), "{}", said(&damaged));
}

#[test]
fn a_fleet_specification_is_checked_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    let spec = json!({"version": 1, "name": "x", "kind": "image-classification", "budget": {}, "colour": 1});
    let refused = fleet(&spec, &dir.path().join("out"));
    assert_eq!(refused.status.code(), Some(3));
    assert!(said(&refused).contains("/budget") && said(&refused).contains("/colour"), "{}", said(&refused));
    let unknown = json!({
        "version": 1, "name": "x", "kind": "image-classification", "specialists": ["cat"], "budget": {"trials": 9},
    });
    let refused = fleet(&unknown, &dir.path().join("out"));
    assert_eq!(refused.status.code(), Some(3));
    assert!(said(&refused).contains("`cat`") && !dir.path().join("out").exists(), "{}", said(&refused));
    let schema = kindling().args(["schema", "--fleet"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["properties"]["background"].is_object(), "{schema}");
}
