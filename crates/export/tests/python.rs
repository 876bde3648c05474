//! `predict.py` on real onnxruntime: classes and objects, as the reference says them.

#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use kindling_export::formats::{FORMATS, Source};
use kindling_export::{LEAST_SCORE, OBJECT_NUMBERS};
use std::fs;
use std::process::Command;

/// A Python with onnxruntime, numpy and pillow; a test may do without only where none is asked for.
fn python() -> Option<String> {
    let asked_for = std::env::var("KINDLING_TEST_PYTHON").ok();
    let python = asked_for.clone().unwrap_or_else(|| "python3".into());
    let here = Command::new(&python).args(["-c", "import onnxruntime, numpy, PIL"]).output();
    if here.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(asked_for.is_none(), "KINDLING_TEST_PYTHON={python} has no onnxruntime, numpy and pillow");
    println!("not run: {python} has no onnxruntime; set KINDLING_TEST_PYTHON to one that has");
    None
}

#[test]
fn predict_py_says_what_the_reference_says() {
    let Some(python) = python() else { return };
    for (name, graph) in every_kind() {
        let dir = tempfile::tempdir().unwrap();
        let (weights, labels) = (weights(&graph), labels_of(&graph));
        let quantized = quantized(&graph, &weights).unwrap();
        let mut source = Source::new(&graph, &weights, Some(&quantized), &labels, "test").unwrap();
        source.at_least = Some(f64::from(LEAST_SCORE));
        for format in FORMATS {
            for file in format.write(&source).unwrap() {
                fs::write(dir.path().join(file.name), file.bytes).unwrap();
            }
        }
        let (width, height) = (100, 61);
        let rgb = picture(width, height, 2);
        let mut ppm = format!("P6 {width} {height} 255\n").into_bytes();
        ppm.extend(&rgb);
        fs::write(dir.path().join("picture.ppm"), ppm).unwrap();
        let run = |words: &[&str]| {
            let output = Command::new(&python).current_dir(&dir).arg("predict.py").args(words).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            (output.status.code(), text, String::from_utf8(output.stderr).unwrap())
        };
        let (code, text, error) = run(&["picture.ppm"]);
        assert_eq!(code, Some(0), "{name}: {error}");
        let expected = answer(&graph, &weights, &rgb, width, height);
        if graph.answer == kindling_graph::Answer::Classes {
            let best = (0..3).max_by(|a, b| expected[*a].total_cmp(&expected[*b])).unwrap();
            assert!(text.starts_with(&format!("picture.ppm: {} ", labels[best])), "{name}: {text}");
            assert_eq!(run(&["--draw", "out.png", "picture.ppm"]).0, Some(2));
            continue;
        }
        let found: Vec<f32> = text
            .lines()
            .flat_map(|line| {
                let words: Vec<&str> = line.strip_prefix("picture.ppm: ").unwrap().split(' ').collect();
                let class = labels.iter().position(|label| label == words[0]).unwrap() as f32;
                let score = words[1].trim_end_matches('%').parse::<f32>().unwrap() / 100.0;
                let side = |at: usize| words[2 + at].parse::<f32>().unwrap() / [width, height][at % 2] as f32;
                [class, score, side(0), side(1), side(2), side(3)]
            })
            .collect();
        // Printed with a digit after the point.
        let far = objects_apart(&expected, &found);
        assert!(found.len() >= 3 * OBJECT_NUMBERS && far < 1e-3, "{name}: {far}: {expected:?} {found:?}");
        let (code, text, error) = run(&["--at-least", "1.0", "--model", "model.int8.onnx", "picture.ppm"]);
        assert_eq!((code, text.as_str()), (Some(0), "picture.ppm: nothing found\n"), "{error}");
        let (code, _, error) = run(&["--draw", "out.png", "picture.ppm"]);
        assert_eq!(code, Some(0), "{error}");
        assert!(fs::read(dir.path().join("out.png")).unwrap().starts_with(b"\x89PNG"));
        assert_eq!(run(&["--folder", "."]).0, Some(2));
        assert_eq!(run(&["picture.ppm", "nothing.png"]).0, Some(1));
    }
}
