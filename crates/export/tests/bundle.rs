//! Every format on graphs that use every operator: written, re-run, compared; and what is refused.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use kindling_export::{formats::FORMATS, *};
use kindling_graph::{Answer, Found, Graph, Weights};
use kindling_spec::ExportFormat;
use std::{fs, path::Path};

fn write(
    graph: &Graph,
    weights: &Weights,
    judges: &[Judge],
    formats: &[ExportFormat],
    out: &Path,
) -> Result<Vec<FileInfo>, ExportError> {
    let quantized = quantized(graph, weights);
    let pictures = levels(graph);
    let labels_of_all = vec![0; pictures.len() / (graph.input.height * graph.input.width * 3)];
    let count = |found: &[Vec<Found>]| {
        let objects = found.iter().flatten().count() as f64;
        [objects / found.len() as f64, found.len() as f64]
    };
    let truth = match graph.answer {
        Answer::Classes => Truth::Classes(&labels_of_all),
        Answer::Map => Truth::Boxes(&count),
    };
    let int8 = quantized.as_ref().map(|quantized| Int8 { quantized, pictures: &pictures, truth });
    let input = BundleInput {
        graph,
        weights,
        int8,
        labels: &labels_of(graph),
        card: card(graph),
        judges,
        formats,
        extra_files: vec![],
        extra_checks: vec![],
    };
    write_bundle(&input, out)
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_format_agrees_on_every_operator() {
    let home = tempfile::tempdir().unwrap();
    for (name, graph) in every_kind() {
        let weights = weights(&graph);
        let judges = judges(&graph, &weights);
        // Some are found in every picture of more than one colour.
        let found = judges.iter().filter(|judge| judge.answer.len() >= 3 * OBJECT_NUMBERS).count();
        assert!(graph.answer == Answer::Classes || found >= 4, "{name}: {judges:?}");
        for format in FORMATS {
            let out = home.path().join(format!("{name}-{}", format.format()));
            let files = write(&graph, &weights, &judges, &[format.format()], &out).unwrap();
            let mut written: Vec<_> = files.iter().map(|f| f.name.clone()).collect();
            written.sort();
            assert_eq!(entries(&out), written);
            let card: Card = serde_json::from_slice(&fs::read(out.join("card.json")).unwrap()).unwrap();
            let checked = match format.format() {
                ExportFormat::Python | ExportFormat::Rust => 0,
                ExportFormat::C => 2,
                _ => 1,
            };
            // Without Node nothing is said of JavaScript.
            assert!(card.checks.len() == checked || format.format() == ExportFormat::Web, "{name}: {:?}", card.checks);
            for check in &card.checks {
                assert!(check.images >= 6 && check.max_difference <= check.tolerance, "{name}: {check:?}");
            }
        }
    }
    assert!(entries(home.path()).iter().all(|name| !name.starts_with('.')));
}

#[test]
fn a_bundle_is_whole_checked_and_the_same_each_time() {
    let home = tempfile::tempdir().unwrap();
    let graph = everything();
    let weights = weights(&graph);
    let judges = judges(&graph, &weights);
    let all = ExportFormat::ALL;
    let first = write(&graph, &weights, &judges, all, &home.path().join("a")).unwrap();
    let second = write(&graph, &weights, &judges, all, &home.path().join("b")).unwrap();
    assert_eq!(first, second);
    let sums = std::process::Command::new("sha256sum")
        .args(["--strict", "-c", "SHA256SUMS"])
        .current_dir(home.path().join("a"))
        .output()
        .unwrap();
    assert!(sums.status.success(), "{}", String::from_utf8_lossy(&sums.stderr));
    let zip = |name: &str| bundle_zip(&home.path().join(name), std::io::Cursor::new(Vec::new())).unwrap().into_inner();
    assert_eq!(zip("a"), zip("b"));
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip("a"))).unwrap();
    for file in &first {
        let mut bytes = Vec::new();
        std::io::copy(&mut archive.by_name(&file.name).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, fs::read(home.path().join("a").join(&file.name)).unwrap());
    }
    assert_eq!(archive.len(), first.len());
    let text = fs::read_to_string(home.path().join("a/card.md")).unwrap();
    for words in
        ["# fire \\| smoke", "belongs to the person", "sha256sum -c SHA256SUMS", "kindling predict", "not known"]
    {
        assert!(text.contains(words), "{words}");
    }
    let again = write(&graph, &weights, &judges, all, &home.path().join("a"));
    assert!(matches!(again, Err(ExportError::Input(_))));
}

#[test]
fn a_tampered_weight_is_found_by_every_format_and_nothing_is_left() {
    let home = tempfile::tempdir().unwrap();
    let graph = everything();
    let weights = weights(&graph);
    let judges = judges(&graph, &weights);
    let mut tampered = weights.clone();
    tampered.get_mut("head.weight").unwrap().data[0] += 1.0;
    // The others hold no weights, or are compared with the 8-bit network that they are written from.
    for format in FORMATS.iter().filter(|f| matches!(f.format(), ExportFormat::Onnx | ExportFormat::Safetensors)) {
        let error = write(&graph, &tampered, &judges, &[format.format()], &home.path().join("out")).unwrap_err();
        let text = error.to_string();
        assert!(matches!(&error, ExportError::Disagrees { difference, .. } if *difference > TOLERANCE), "{text}");
        assert!(
            text.contains("test/0.png") && (text.contains("model.onnx") || text.contains("weights.safetensors")),
            "{text}"
        );
        assert!(entries(home.path()).is_empty());
    }
}

#[test]
fn the_card_states_what_the_file_of_8_bits_did() {
    let home = tempfile::tempdir().unwrap();
    for (name, graph) in graphs() {
        let weights = weights(&graph);
        let judges = judges(&graph, &weights);
        let out = home.path().join(name);
        write(&graph, &weights, &judges, &[ExportFormat::OnnxInt8], &out).unwrap();
        let card: Card = serde_json::from_slice(&fs::read(out.join("card.json")).unwrap()).unwrap();
        let (int8, quantized) = (card.int8.unwrap(), quantized(&graph, &weights).unwrap());
        assert_eq!((int8.examples, int8.peak_ram_bytes * 4), (24, card.cost.peak_ram_bytes));
        assert!(int8.agreement >= 0.95, "{name}: {int8:?}");
        // Weights of one byte for four, biases as they were.
        assert!(int8.weights_bytes == quantized.weights_bytes() && int8.weights_bytes * 2 < card.cost.weights_bytes);
        let model = OnnxModel::load(&fs::read(out.join("model.int8.onnx")).unwrap()).unwrap();
        assert_eq!(model.labels(), labels());
        let size = graph.input.height;
        let first = levels(&graph)
            .chunks(size * size * 3)
            .filter(|rgb| {
                let answer = model.predict(rgb, size as u32, size as u32).unwrap();
                answer[0] >= answer[1] && answer[0] >= answer[2]
            })
            .count();
        assert!((int8.accuracy.unwrap() - first as f64 / 24.0).abs() < 0.05, "{name}: {first} {int8:?}");
        let text = fs::read_to_string(out.join("card.md")).unwrap();
        assert!(text.contains("In 8 bits"), "{text}");
    }
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let graph = everything();
    let weights = weights(&graph);
    let good = judges(&graph, &weights);
    let out = home.path().join("out");
    let all = ExportFormat::ALL;
    assert!(matches!(write(&graph, &weights, &[], all, &out), Err(ExportError::Input(_))));
    let mut nan = good.clone();
    nan[0].answer[1] = f32::NAN;
    assert!(matches!(write(&graph, &weights, &nan, all, &out), Err(ExportError::Disagrees { .. })));
    let mut broken = weights.clone();
    broken.get_mut("head.weight").unwrap().data[0] = f32::INFINITY;
    assert!(matches!(write(&graph, &broken, &good, all, &out), Err(ExportError::Input(_))));
    let mut missing = weights.clone();
    missing.remove("head.weight");
    assert!(matches!(write(&graph, &missing, &good, all, &out), Err(ExportError::Graph(_))));
    let labels = labels();
    let mut input = BundleInput {
        graph: &graph,
        weights: &weights,
        int8: None,
        labels: &labels,
        card: card(&graph),
        judges: &good,
        formats: &[],
        extra_files: vec![("model.burnpack".into(), vec![1, 2])],
        extra_checks: vec![],
    };
    assert!(write_bundle(&input, &out).unwrap_err().to_string().contains("model.burnpack"));
    let check = |file: &str| Check {
        file: file.into(),
        how: String::new(),
        images: 1,
        max_difference: 0.0,
        tolerance: TOLERANCE,
    };
    input.extra_checks = vec![check("model.burnpack"), check("../up")];
    input.extra_files.push(("../up".into(), vec![]));
    assert!(write_bundle(&input, &out).is_err());
    assert!(entries(home.path()).is_empty());
    input.extra_files.pop();
    assert!(write_bundle(&input, &out).unwrap().iter().any(|file| file.name == "model.burnpack"));
}

#[test]
fn latency_is_measured_with_and_without_weights() {
    let graph = everything();
    for weights in [None, Some(&weights(&graph))] {
        let latency = measure_latency(&graph, weights).unwrap();
        assert!(latency.runs >= 3 && latency.median_ms > 0.0 && latency.p95_ms >= latency.median_ms, "{latency:?}");
    }
}

#[test]
fn a_hash_of_hashes_is_what_the_shell_gives() {
    // printf 'a\nb\n' | sha256sum
    assert_eq!(hash_of_hashes(["b", "a"]), "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2");
}
