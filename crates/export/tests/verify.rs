//! A good bundle passes; each kind of damage is found, with the file and the reason.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use kindling_export::*;
use kindling_spec::ExportFormat;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

fn bundle(out: &Path, seed: u64) {
    bundle_of(&same_padded(), out, seed);
}

fn bundle_of(graph: &kindling_graph::Graph, out: &Path, seed: u64) {
    let weights = kindling_graph::random_weights_with(graph, seed, kindling_graph::Statistics::Random).unwrap();
    let quantized = quantized(graph, &weights).unwrap();
    let pictures = levels(graph);
    let truth = match graph.answer {
        kindling_graph::Answer::Classes => Truth::Classes(&[0; 24]),
        kindling_graph::Answer::Map => Truth::Boxes(&|found| [found.len() as f64 / 32.0, 0.5]),
    };
    let mut card = card(graph);
    card.task.exports.retain(|format| *format != ExportFormat::Burnpack);
    let input = BundleInput {
        graph,
        weights: &weights,
        int8: Some(Int8 { quantized: &quantized, pictures: &pictures, truth }),
        labels: &labels_of(graph),
        judges: &judges(graph, &weights),
        formats: &card.task.exports.clone(),
        card,
        extra_files: vec![],
        extra_checks: vec![],
    };
    write_bundle(&input, out).unwrap();
}

/// What is wrong, as `file: what`.
fn wrong(dir: &Path) -> Vec<String> {
    let findings = verify_bundle(dir, &[]).unwrap();
    findings.into_iter().filter(|f| !f.ok).map(|f| format!("{}: {}", f.file, f.what)).collect()
}

/// Lists the checksums anew, as one who hides a change would.
fn cover(dir: &Path) {
    let path = dir.join("SHA256SUMS");
    let text: String = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| {
            let name = &line[66..];
            let sum: String =
                Sha256::digest(fs::read(dir.join(name)).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
            format!("{sum}  {name}\n")
        })
        .collect();
    fs::write(path, text).unwrap();
    edit(dir, |card| {
        for file in card["files"].as_array_mut().unwrap() {
            let bytes = fs::read(dir.join(file["name"].as_str().unwrap())).unwrap();
            let sum: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
            file["sha256"] = json!(sum);
        }
    });
    // The card itself has changed by that.
    let path = dir.join("SHA256SUMS");
    let sum: String =
        Sha256::digest(fs::read(dir.join("card.json")).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    let text: String = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| if line.ends_with("  card.json") { format!("{sum}  card.json\n") } else { format!("{line}\n") })
        .collect();
    fs::write(path, text).unwrap();
}

fn edit(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("card.json");
    let mut card: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut card);
    fs::write(path, serde_json::to_vec_pretty(&card).unwrap()).unwrap();
}

#[test]
fn every_file_says_which_answers_are_too_unsure() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bundle");
    bundle(&out, 3);
    for (file, line) in [
        ("model.h", "#define MODEL_UNKNOWN_BELOW 0.42f\n"),
        ("model_int8.h", "#define MODEL_INT8_UNKNOWN_BELOW 0.42f\n"),
        ("model.rs", "pub const UNKNOWN_BELOW: f32 = 0.42;\n"),
        ("model.js", "export const unknownBelow = 0.42;\n"),
        ("model.html", "const unknownBelow = 0.42;\n"),
    ] {
        assert!(fs::read_to_string(out.join(file)).unwrap().contains(line), "{file}");
    }
    for file in ["model.onnx", "model.int8.onnx"] {
        let model = OnnxModel::load(&fs::read(out.join(file)).unwrap()).unwrap();
        assert_eq!(model.unknown_below(), Some(0.42), "{file}");
        assert_eq!(model.decision(), Some(("smoke".into(), 0.3)), "{file}");
    }
}

#[test]
fn every_kind_of_damage_is_found_and_named() {
    let home = tempfile::tempdir().unwrap();
    let (good, other) = (home.path().join("good"), home.path().join("other"));
    bundle(&good, 3);
    bundle(&other, 4);
    assert_eq!(wrong(&good), Vec::<String>::new());
    let findings = verify_bundle(&good, &[]).unwrap();
    for file in ["model.onnx", "model.int8.onnx", "weights.safetensors", "graph.json", "card.md", "predict.py"] {
        assert!(findings.iter().any(|f| f.file == file), "{file} of {findings:?}");
    }

    let flip = |dir: &Path, name: &str, at: usize| {
        let mut bytes = fs::read(dir.join(name)).unwrap();
        bytes[at] ^= 1;
        fs::write(dir.join(name), bytes).unwrap();
    };
    type Damage<'a> = (&'a str, &'a str, Box<dyn Fn(&Path) + 'a>);
    let kinds: Vec<Damage<'_>> = vec![
        ("one bit of a weight", "model.onnx: SHA-256", Box::new(|d| flip(d, "model.onnx", 3000))),
        ("one bit of the card for people", "card.md: SHA-256", Box::new(|d| flip(d, "card.md", 5))),
        (
            "a file cut short",
            "model.int8.onnx: SHA-256",
            Box::new(|d| {
                let bytes = fs::read(d.join("model.int8.onnx")).unwrap();
                fs::write(d.join("model.int8.onnx"), &bytes[..bytes.len() / 2]).unwrap();
            }),
        ),
        (
            "a file that is gone",
            "weights.safetensors: is there",
            Box::new(|d| {
                fs::remove_file(d.join("weights.safetensors")).unwrap();
            }),
        ),
        ("a file too many", "virus.exe: is of the bundle", Box::new(|d| fs::write(d.join("virus.exe"), b"x").unwrap())),
        ("no checksums", "SHA256SUMS: is there", Box::new(|d| fs::remove_file(d.join("SHA256SUMS")).unwrap())),
        (
            "checksums that are none",
            "SHA256SUMS: is a list of checksums",
            Box::new(|d| {
                let text = fs::read_to_string(d.join("SHA256SUMS")).unwrap();
                fs::write(d.join("SHA256SUMS"), format!("{text}xyz\n")).unwrap();
            }),
        ),
        ("no card", "card.json: can be read", Box::new(|d| fs::write(d.join("card.json"), b"{").unwrap())),
        (
            "a figure made better, hidden",
            "graph.json: multiply-accumulates",
            Box::new(|d| {
                edit(d, |card| card["cost"]["macs"] = json!(1));
                cover(d);
            }),
        ),
        (
            "labels changed about, hidden",
            "labels.json: labels",
            Box::new(|d| {
                fs::write(d.join("labels.json"), r#"["smoke", "fire", "neither"]"#).unwrap();
                cover(d);
            }),
        ),
        (
            "another network's file, hidden",
            "weights.safetensors: answers as model.onnx",
            Box::new(|d| {
                fs::copy(other.join("weights.safetensors"), d.join("weights.safetensors")).unwrap();
                cover(d);
            }),
        ),
        (
            "a graph that is not the weights', hidden",
            "weights.safetensors: is the network of graph.json",
            Box::new(|d| {
                let text = fs::read_to_string(d.join("graph.json")).unwrap();
                fs::write(d.join("graph.json"), text.replacen("\"out_channels\":24", "\"out_channels\":23", 1))
                    .unwrap();
                cover(d);
            }),
        ),
    ];
    for (n, (kind, expected, damage)) in kinds.iter().enumerate() {
        let dir = home.path().join(format!("damaged-{n}"));
        fs::create_dir(&dir).unwrap();
        for entry in fs::read_dir(&good).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
        }
        damage(&dir);
        let found = wrong(&dir);
        assert!(found.iter().any(|text| text.starts_with(expected)), "{kind}: {found:?}");
    }
    assert!(matches!(verify_bundle(home.path(), &[]), Err(ExportError::Model(_))));
}

#[test]
fn a_detector_s_files_are_held_to_each_other() {
    let home = tempfile::tempdir().unwrap();
    let (dir, other) = (home.path().join("good"), home.path().join("other"));
    bundle_of(&plain_boxes(), &dir, 3);
    bundle_of(&plain_boxes(), &other, 4);
    // On pictures of one colour and of noise an untrained network finds much that is a peak but for rounding.
    let examples: Vec<Example> = (0..4)
        .map(|seed| Example {
            rgb: picture(60, 45, seed),
            width: 60,
            height: 45,
            label: "fire".into(),
            sha256: format!("{seed:064x}"),
        })
        .collect();
    let findings = verify_bundle(&dir, &examples).unwrap();
    let of =
        |file: &str| findings.iter().filter(|f| f.file == file && f.what.starts_with("answers")).collect::<Vec<_>>();
    for file in ["model.onnx", "weights.safetensors", "model.c"] {
        assert!(!of(file).is_empty() && of(file).iter().all(|f| f.ok), "{file}: {findings:?}");
    }
    assert!(findings.iter().any(|f| f.what == "average precision" && f.ok && f.said == "0.6250"), "{findings:?}");
    let card: Card = serde_json::from_slice(&fs::read(dir.join("card.json")).unwrap()).unwrap();
    let int8 = card.int8.as_ref().unwrap();
    assert_eq!((int8.accuracy, int8.map50, int8.map, int8.examples), (None, Some(0.75), Some(0.5), 24));
    assert!(int8.agreement >= 0.9, "{int8:?}");
    let text = fs::read_to_string(dir.join("card.md")).unwrap();
    for words in ["Finds: fire", "mAP@.5 0.7500, -0.1250 below", "at least 0.450", "F1 of centres", "--draw OUT.png"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for (file, line) in [
        ("model.h", "#define MODEL_AT_LEAST 0.45f\n"),
        ("model_int8.h", "#define MODEL_INT8_AT_LEAST 0.45f\n"),
        ("model.rs", "pub const AT_LEAST: f32 = 0.45;\n"),
        ("model_int8.rs", "pub const AT_LEAST: f32 = 0.45;\n"),
        ("model.js", "export const atLeast = 0.45;\n"),
        ("model.html", "export const atLeast = 0.45;\n"),
    ] {
        assert!(fs::read_to_string(dir.join(file)).unwrap().contains(line), "{file}");
    }
    for file in ["model.onnx", "model.int8.onnx"] {
        assert_eq!(OnnxModel::load(&fs::read(dir.join(file)).unwrap()).unwrap().at_least(), 0.45, "{file}");
    }
    fs::copy(other.join("weights.safetensors"), dir.join("weights.safetensors")).unwrap();
    cover(&dir);
    let findings = verify_bundle(&dir, &examples).unwrap();
    assert!(findings.iter().any(|f| !f.ok && f.what.starts_with("answers as model.onnx")), "{findings:?}");
}

#[test]
fn the_test_split_is_answered_anew() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("bundle");
    bundle(&dir, 3);
    let model = OnnxModel::load(&fs::read(dir.join("model.onnx")).unwrap()).unwrap();
    let example = |seed: u64| {
        let rgb = picture(40, 30, seed);
        let answer = model.predict(&rgb, 40, 30).unwrap();
        let best = (0..3).max_by(|a, b| answer[*a].total_cmp(&answer[*b])).unwrap();
        Example { rgb, width: 40, height: 30, label: labels()[best].clone(), sha256: format!("{seed:064x}") }
    };
    let examples: Vec<Example> = (0..20).map(example).collect();
    let accuracy = |examples: &[Example]| {
        let findings = verify_bundle(&dir, examples).unwrap();
        findings.into_iter().find(|f| f.file == "model.onnx" && f.what == "accuracy").unwrap()
    };
    // Other pictures than the card's: told, not judged.
    let told = accuracy(&examples);
    assert!(told.ok && told.found == "100.00%" && told.said == "90.00%", "{told:?}");
    // The card's own: 90% is said, 100% is found.
    edit(&dir, |card| {
        card["data"]["splits"][0]["sha256"] = json!(hash_of_hashes(examples.iter().map(|e| &e.sha256)));
    });
    cover(&dir);
    assert!(!accuracy(&examples).ok);
    let mut wrong = examples.clone();
    for at in [0, 1] {
        wrong[at].label = labels().into_iter().find(|label| *label != examples[at].label).unwrap();
    }
    assert!(accuracy(&wrong).ok);
}
