//! The whole way over HTTP: upload, task, events, leaderboard, files, answers.

use crate::harness::*;
use kindling_export::OnnxModel;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// The greatest difference of a probability that two runtimes may show.
const TOLERANCE: f64 = 1e-4;

#[test]
fn a_data_set_is_divided_and_shown() {
    let Finished { server, dataset, .. } = finished();
    let shown = server.get(&format!("/v1/datasets/{dataset}"));
    assert_eq!(shown.text("/state"), "ready");
    assert_eq!(shown.json["summary"]["classes"], json!(["fire", "neither", "smoke"]));
    let counts = &shown.json["summary"]["counts"]["smoke"];
    let all: u64 = ["train", "validation", "test"].iter().map(|s| counts[*s].as_u64().unwrap()).sum();
    assert_eq!(all, 40, "{counts}");
    let page = server.get(&format!("/v1/datasets/{dataset}/examples?class=fire&split=test&limit=2"));
    let items = page.json["items"].as_array().unwrap();
    assert!(items.len() == 2 && items.iter().all(|e| e["class"] == "fire" && e["split"] == "test"), "{page:?}");
    let image = server.get(items[0]["image"].as_str().unwrap());
    assert_eq!(sha256(&image.body), items[0]["sha256"]);
}

#[test]
fn events_are_ordered_and_taken_up_where_a_reader_left() {
    let Finished { server, task, .. } = finished();
    let all = events(server, task, None, |_| false);
    let (end, rest) = all.split_last().unwrap();
    assert_eq!((end.kind.as_str(), &end.data["state"]), ("end", &json!("complete")));
    let ids: Vec<i64> = rest.iter().map(|e| e.id.unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    for kind in ["task", "trial", "rung", "model", "files"] {
        assert!(rest.iter().any(|e| e.kind == kind), "no {kind} event");
    }
    // A reader that breaks off and comes back with Last-Event-ID gets the rest, once.
    let head = events(server, task, None, |found| found.len() == 3);
    let tail = events(server, task, head[2].id, |_| false);
    assert_eq!([head, tail].concat(), all);
    server.get(&format!("/v1/tasks/{task}/events?after=no")).assert_problem("invalid_request", 400);
}

#[test]
fn every_model_can_have_all_its_files_and_the_best_has_them() {
    let Finished { server, task, model, .. } = finished();
    let board = server.get(&format!("/v1/tasks/{task}/leaderboard"));
    for item in board.json["items"].as_array().unwrap() {
        let files = format!("/v1/models/{}/files", item["model"].as_str().unwrap());
        let names = || -> Vec<String> {
            let listed = server.get(&format!("{files}?limit=100"));
            listed.json["items"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap().to_owned()).collect()
        };
        assert!(item["model"] != *model || names().contains(&"model.html".to_owned()), "{item}");
        // Twice: the second time there is nothing to make.
        for _ in 0..2 {
            let card = server.post(&files, &json!({}));
            assert_eq!(card.status, 200, "{card:?}");
            assert!(card.json["int8"]["accuracy"].as_f64().is_some_and(|accuracy| accuracy > 0.3), "{card:?}");
        }
        let all = names();
        for name in [
            "model.int8.onnx",
            "model.c",
            "model_int8.c",
            "arduino.zip",
            "model.rs",
            "model.js",
            "model.html",
            "predict.py",
        ] {
            assert!(all.contains(&name.to_owned()), "{name} is not in {all:?}");
        }
        for name in &all {
            let file = server.get(&format!("{files}/{name}"));
            let sum = card_sum(server, &files, name);
            assert_eq!(sha256(&file.body), sum, "{name}");
        }
    }
}

fn card_sum(server: &Server, files: &str, name: &str) -> String {
    let listed = server.get(&format!("{files}?limit=100"));
    let items = listed.json["items"].as_array().unwrap();
    items.iter().find(|f| f["name"] == name).unwrap()["sha256"].as_str().unwrap().to_owned()
}

#[test]
fn the_leaderboard_is_ordered_and_within_the_limits() {
    let Finished { server, task, model, .. } = finished();
    let board = server.get(&format!("/v1/tasks/{task}/leaderboard"));
    let items = board.json["items"].as_array().unwrap();
    let values: Vec<f64> = items.iter().map(|i| i["value"].as_f64().unwrap()).collect();
    assert!(!values.is_empty() && values.is_sorted_by(|a, b| a >= b), "{values:?}");
    assert_eq!(items[0]["model"], *model);
    for item in items {
        assert!(item["weights_bytes"].as_u64().unwrap() <= 60_000, "{item}");
        assert!(item["macs"].as_u64().unwrap() <= 2_000_000, "{item}");
    }
    let trials = server.get(&format!("/v1/tasks/{task}/trials"));
    assert_eq!(trials.json["items"].as_array().unwrap().len(), 3);
}

#[test]
fn every_file_downloads_and_has_the_hash_it_should() {
    let Finished { server, model, .. } = finished();
    let list = server.get(&format!("/v1/models/{model}/files"));
    let mut files = BTreeMap::new();
    for file in list.json["items"].as_array().unwrap() {
        let got = server.get(file["href"].as_str().unwrap());
        assert_eq!((got.status, got.body.len() as u64), (200, file["bytes"].as_u64().unwrap()));
        assert_eq!(sha256(&got.body), file["sha256"]);
        assert!(got.header("etag").contains(file["sha256"].as_str().unwrap()), "{:?}", got.headers);
        files.insert(file["name"].as_str().unwrap().to_owned(), got.body);
    }
    for name in ["model.onnx", "weights.safetensors", "graph.json", "labels.json", "card.json", "card.md", "SHA256SUMS"]
    {
        assert!(files.contains_key(name), "{name} is missing among {:?}", files.keys());
    }
    let sums = String::from_utf8(files["SHA256SUMS"].clone()).unwrap();
    let listed: BTreeMap<_, _> = sums.lines().map(|l| l.split_once("  ").unwrap()).map(|(h, n)| (n, h)).collect();
    assert_eq!(listed.len(), files.len() - 1);
    for (name, hash) in listed {
        assert_eq!(sha256(&files[name]), hash, "{name}");
    }
    let card: Value = serde_json::from_slice(&files["card.json"]).unwrap();
    assert_eq!(card["labels"], json!(["fire", "neither", "smoke"]));
    for check in card["checks"].as_array().unwrap() {
        assert!(check["max_difference"].as_f64() <= check["tolerance"].as_f64(), "{check}");
    }
    assert!(String::from_utf8_lossy(&files["card.md"]).contains("belongs to the person who made it"));

    let onnx = format!("/v1/models/{model}/files/model.onnx");
    let request = agent().get(server.url(&onnx)).header("range", "bytes=4-9");
    let part = Answer::of(request.call().unwrap());
    assert_eq!((part.status, &part.body[..]), (206, &files["model.onnx"][4..10]));
    let zip = server.get(&format!("/v1/models/{model}/bundle.zip"));
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip.body)).unwrap();
    for (name, bytes) in &files {
        let entry = (0..zip.len()).find(|i| zip.by_index(*i).unwrap().name().unwrap().ends_with(name.as_str()));
        let mut unpacked = Vec::new();
        std::io::Read::read_to_end(&mut zip.by_index(entry.unwrap()).unwrap(), &mut unpacked).unwrap();
        assert_eq!(unpacked, *bytes, "{name}");
    }
    server.get(&format!("/v1/models/{model}/files/..%2fserve.lock")).assert_problem("file_not_found", 404);
}

/// The pictures that every runtime is asked about, of several sizes.
fn pictures() -> Vec<image::RgbImage> {
    [(32, 32), (50, 31), (7, 90), (200, 150)].iter().zip(0..).map(|((w, h), i)| picture(*w, *h, i)).collect()
}

fn probabilities(answer: &Value) -> Vec<f64> {
    answer["probabilities"].as_array().unwrap().iter().map(|p| p["probability"].as_f64().unwrap()).collect()
}

fn assert_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let difference = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(difference <= TOLERANCE, "{what}: {difference:e}");
}

#[test]
fn tract_answers_as_the_service_does() {
    let Finished { server, model, .. } = finished();
    let file = server.get(&format!("/v1/models/{model}/files/model.onnx")).body;
    let onnx = OnnxModel::load(&file).unwrap();
    for image in pictures() {
        let answer = server.post_bytes(&format!("/v1/models/{model}/predict"), &png(&image));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            (answer.json["width"].as_u64(), answer.json["height"].as_u64()),
            (Some(image.width().into()), Some(image.height().into()))
        );
        let served = probabilities(&answer.json);
        assert!((served.iter().sum::<f64>() - 1.0).abs() < 1e-4);
        // Twice the same picture in one batch: the same answer twice.
        let twice = [image.as_raw().as_slice(), image.as_raw()].concat();
        for row in onnx.predict_batch(&twice, 2, image.width(), image.height()).unwrap() {
            let row: Vec<f64> = row.into_iter().map(f64::from).collect();
            assert_close(&served, &row, &format!("{:?}", image.dimensions()));
        }
    }
}

/// Runs a model on batches of two, with nothing of ours.
const ONNXRUNTIME: &str = r#"
import json, sys
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
answers = []
for width, height, rgb in json.load(sys.stdin):
    image = numpy.array(rgb, numpy.uint8).reshape(height, width, 3)
    answers.append(session.run(None, {"image": numpy.stack([image, image])})[0].tolist())
print(json.dumps(answers))
"#;

#[test]
fn onnxruntime_answers_as_the_service_does() {
    let asked_for = std::env::var("KINDLING_TEST_PYTHON").ok();
    let python = asked_for.clone().unwrap_or_else(|| "python3".into());
    let has = Command::new(&python).args(["-c", "import onnxruntime, numpy"]).output();
    if !has.is_ok_and(|o| o.status.success()) {
        assert!(asked_for.is_none(), "KINDLING_TEST_PYTHON={python} has no onnxruntime and numpy");
        println!("skipped: {python} has no onnxruntime; set KINDLING_TEST_PYTHON to one that has");
        return;
    }
    let Finished { server, model, .. } = finished();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, server.get(&format!("/v1/models/{model}/files/model.onnx")).body).unwrap();
    let input = dir.path().join("input.json");
    let images: Vec<_> = pictures().iter().map(|i| json!([i.width(), i.height(), i.as_raw()])).collect();
    std::fs::write(&input, serde_json::to_vec(&images).unwrap()).unwrap();
    let ran = Command::new(&python)
        .args(["-c", ONNXRUNTIME])
        .arg(&path)
        .stdin(std::fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let answers: Vec<Vec<Vec<f64>>> = serde_json::from_slice(&ran.stdout).unwrap();
    for (image, rows) in pictures().iter().zip(answers) {
        let answer = server.post_bytes(&format!("/v1/models/{model}/predict"), &png(image));
        for row in rows {
            assert_close(&probabilities(&answer.json), &row, &format!("{:?}", image.dimensions()));
        }
    }
}

#[test]
fn the_service_tells_of_itself() {
    let Finished { server, .. } = finished();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    let metrics = server.get("/metrics");
    assert!(String::from_utf8_lossy(&metrics.body).contains("# TYPE kindling_"), "{metrics:?}");
    let openapi = server.get("/openapi.json");
    assert!(openapi.text("/openapi").starts_with("3.1"));
    server.get("/v1/tasks/task_00000000000000000000000000000000").assert_problem("task_not_found", 404);
    let page = server.get("/");
    assert!(page.header("content-type").starts_with("text/html"));
}
