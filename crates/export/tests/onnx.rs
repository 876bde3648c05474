//! `model.onnx` itself: its text, its batches, its sizes, and what is not one.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use kindling_export::{formats::*, *};
use kindling_graph::{Answer, GraphBuilder, InputSpec, Op, Weights, find_objects};
use kindling_spec::ExportFormat;

fn onnx(graph: &kindling_graph::Graph, weights: &Weights) -> Vec<u8> {
    let labels = labels_of(graph);
    let source = Source::new(graph, weights, None, &labels, "fire or smoke").unwrap();
    let format = FORMATS.iter().find(|format| format.format() == ExportFormat::Onnx).unwrap();
    format.write(&source).unwrap().remove(0).bytes
}

#[test]
fn a_batch_answers_as_its_images_do_and_many_sizes_are_kept_apart() {
    let graph = everything();
    let weights = weights(&graph);
    let model = OnnxModel::load(&onnx(&graph, &weights)).unwrap();
    assert_eq!(model.labels(), labels());
    assert_eq!(model.metadata("graph_sha256"), Some(graph.hash().as_str()));
    let pictures: Vec<_> = (0..3).map(|seed| picture(50, 33, seed)).collect();
    let batch = model.predict_batch(&pictures.concat(), 3, 50, 33).unwrap();
    for (picture, row) in pictures.iter().zip(&batch) {
        let one = model.predict(picture, 50, 33).unwrap();
        assert!(one.iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-6));
    }
    for size in [1u32, 2, 3, 23, 24, 25, 48, 49, 64, 65, 96] {
        let rgb = picture(size, 97 - size, 1);
        let expected = answer(&graph, &weights, &rgb, size, 97 - size);
        let found = model.predict(&rgb, size, 97 - size).unwrap();
        assert!(expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < TOLERANCE), "{size}: {expected:?} {found:?}");
    }
    assert!(matches!(model.predict(&[0; 5], 2, 1), Err(ExportError::Image(_))));
    assert!(matches!(model.predict_batch(&[0; 6], 4, 2, 1), Err(ExportError::Image(_))));
}

#[test]
fn what_is_not_a_model_is_told_so() {
    let graph = with_softmax();
    let bytes = onnx(&graph, &weights(&graph));
    for broken in [&b""[..], b"<html>", &bytes[..bytes.len() / 2], &[0xff; 64]] {
        assert!(matches!(OnnxModel::load(broken), Err(ExportError::Model(_))), "{} bytes", broken.len());
    }
    // An operator of the same length that is not written here.
    let mut other = bytes;
    let place = other.windows(7).position(|w| w == b"Softmax").unwrap();
    other[place..place + 7].copy_from_slice(b"Hardmax");
    let error = OnnxModel::load(&other).unwrap_err().to_string();
    assert!(error.contains("Hardmax"), "{error}");
}

/// What runtimes rely on, as text: a change here changes every user's file.
#[test]
fn the_file_s_operators_are_the_golden_ones() {
    use prost::Message;
    let mut net = GraphBuilder::new(InputSpec::rgb(24));
    let x = net.conv("stem", net.input(), 4, 3, 2);
    let x = net.batch_norm("bn", x);
    let x = net.relu6("act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("fc", x, 3);
    let graph = net.finish(x).unwrap();
    let bytes = onnx(&graph, &weights(&graph));
    let model = tract_onnx::pb::ModelProto::decode(&bytes[..]).unwrap();
    let inner = model.graph.unwrap();
    let mut text = format!("ir {} opset {}\n", model.ir_version, model.opset_import[0].version);
    for node in &inner.node {
        let attributes: Vec<_> = node
            .attribute
            .iter()
            .map(|a| if a.ints.is_empty() { format!("{}={}", a.name, a.i) } else { format!("{}={:?}", a.name, a.ints) })
            .collect();
        text += &format!("{} = {}({}) {}\n", node.output[0], node.op_type, node.input.join(", "), attributes.join(" "));
    }
    for tensor in &inner.initializer {
        text +=
            &format!("{} {:?} type {} {} bytes\n", tensor.name, tensor.dims, tensor.data_type, tensor.raw_data.len());
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/model.onnx.txt");
    if std::env::var_os("KINDLING_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, golden, "if the change is meant, run once with KINDLING_UPDATE_GOLDEN=1");
}

/// Writes models, pictures and answers for `tests/check_onnxruntime.py`.
#[test]
#[ignore = "writes files for another runtime to check; run with KINDLING_ONNX_DIR=DIR"]
fn write_files_for_onnxruntime() {
    let dir = std::path::PathBuf::from(std::env::var_os("KINDLING_ONNX_DIR").unwrap());
    std::fs::create_dir_all(&dir).unwrap();
    for (name, graph) in every_kind() {
        let weights = weights(&graph);
        std::fs::write(dir.join(format!("{name}.onnx")), onnx(&graph, &weights)).unwrap();
        let cases: Vec<_> = judges(&graph, &weights)
            .into_iter()
            .map(|j| serde_json::json!({"width": j.width, "height": j.height, "rgb": j.rgb, "answer": j.answer}))
            .collect();
        std::fs::write(dir.join(format!("{name}.json")), serde_json::to_vec(&cases).unwrap()).unwrap();
    }
}

/// Prints how long tract takes for a new image size and for one known; figures, not a check.
#[test]
#[ignore = "prints times of this machine"]
fn print_times() {
    for (name, graph) in graphs() {
        let model = OnnxModel::load(&onnx(&graph, &weights(&graph))).unwrap();
        for (width, height) in [(24, 24), (640, 480), (1920, 1080)] {
            let rgb = picture(width, height, 0);
            let start = std::time::Instant::now();
            model.predict(&rgb, width, height).unwrap();
            let first = start.elapsed();
            model.predict(&rgb, width, height).unwrap();
            println!("{name} {width}x{height}: first {first:?}, then {:?}", start.elapsed() - first);
        }
        println!("{name} {:?}", measure_latency(&graph, None).unwrap());
    }
}

#[test]
fn a_detector_s_file_finds_what_its_map_says_and_says_what_it_is() {
    for (name, graph) in detectors() {
        let weights = weights(&graph);
        let model = OnnxModel::load(&onnx(&graph, &weights)).unwrap();
        assert_eq!((model.answer(), model.labels()), (Answer::Map, labels_of(&graph).as_slice()));
        assert_eq!(model.at_least(), AT_LEAST as f32);
        let pictures: Vec<_> = (0..3).map(|seed| picture(50, 33, seed)).collect();
        let batch = model.detect_batch(&pictures.concat(), 3, 50, 33, 0.0).unwrap();
        for (rgb, found) in pictures.iter().zip(&batch) {
            let map = output(&graph, &weights, rgb, 50, 33);
            let expected = find_objects(&map, map_shape(&graph), f32::MIN_POSITIVE);
            assert!(expected.len() >= 3 && expected.len() == found.len(), "{name}: {expected:?} {found:?}");
            for (expected, found) in expected.iter().zip(found) {
                let far = expected.sides.iter().zip(&found.sides).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let score = (expected.score - found.score).abs();
                assert!(expected.class == found.class && far < TOLERANCE && score < TOLERANCE, "{name}: {far} {score}");
            }
            assert_eq!(model.detect(rgb, 50, 33, 0.0).unwrap().len(), found.len());
            let [first, second] = [found[0].score, found[1].score];
            let sure = model.detect(rgb, 50, 33, (first + second) / 2.0).unwrap();
            assert!(sure.len() == usize::from(first > second) || first == second, "{name}: {sure:?}");
        }
        assert!(matches!(model.detect(&[0; 5], 2, 1, 0.0), Err(ExportError::Image(_))));
        let error = model.predict(&pictures[0], 50, 33).unwrap_err().to_string();
        assert!(error.contains("ask it to detect"), "{error}");
    }
    let graph = everything();
    let model = OnnxModel::load(&onnx(&graph, &weights(&graph))).unwrap();
    let error = model.detect(&picture(9, 9, 0), 9, 9, 0.0).unwrap_err().to_string();
    assert!(error.contains("ask it to predict"), "{error}");
}

/// A map of more places than objects are said, and of equals.
#[test]
fn a_hundred_objects_are_said_at_most_and_equals_come_in_order() {
    let mut net = GraphBuilder::new(InputSpec { height: 12, width: 16, ..InputSpec::rgb(8) });
    let (kernel, strides, pads) = ([1; 2], [1; 2], [0; 4]);
    let head = Op::Conv { out_channels: 6, kernel, strides, pads, group: 1, bias: true };
    let x = net.push("head", head, &[net.input()]);
    let graph = net.finish_as(x, Answer::Map).unwrap();
    let mut weights = weights(&graph);
    weights.get_mut("head.weight").unwrap().data.fill(0.0);
    weights.get_mut("head.bias").unwrap().data = vec![0.0, 1.0, 9.0, -200.0, -1.0, 0.5];
    let model = OnnxModel::load(&onnx(&graph, &weights)).unwrap();
    let found = model.detect(&picture(16, 12, 0), 16, 12, 0.0).unwrap();
    let expected = find_objects(&output(&graph, &weights, &picture(16, 12, 0), 16, 12), map_shape(&graph), 0.0);
    assert_eq!(found.len(), 100);
    for (a, b) in expected.iter().zip(&found) {
        let sides = a.sides.iter().zip(&b.sides).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(a.class == b.class && (a.score - b.score).abs() < 1e-6 && sides < 1e-6, "{a:?} {b:?}");
    }
}
