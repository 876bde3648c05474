//! Graphs that use every operator, images, and a bundle's input.
#![allow(dead_code, reason = "each test file uses its part")]

mod networks;

use kindling_export::*;
use kindling_graph::*;
use kindling_spec::{Genome, Metric, Objective, Split, TaskKind, TaskSpec};
pub(crate) use networks::*;

pub(crate) fn labels() -> Vec<String> {
    ["fire", "smoke", "neither"].map(str::to_owned).to_vec()
}

/// The names of a graph's classes.
pub(crate) fn labels_of(graph: &Graph) -> Vec<String> {
    let outputs = graph.output_shape().unwrap()[0];
    let classes = if graph.answer == Answer::Map { outputs - 4 } else { outputs };
    labels().into_iter().take(classes).collect()
}

/// A picture with edges and slopes, the same for a seed.
pub(crate) fn picture(width: u32, height: u32, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let noise = (state % 60) as u32;
            let edge = if (x * 3 / width.max(1) + y * 2 / height.max(1)).is_multiple_of(2) { 120 } else { 20 };
            rgb.extend([
                (edge + noise) as u8,
                ((x * 200 / width) + noise / 2) as u8,
                ((y * 190 / height) + noise) as u8,
            ]);
        }
    }
    rgb
}

/// The answer of the reference: probabilities, or objects.
pub(crate) fn answer(graph: &Graph, weights: &Weights, rgb: &[u8], width: u32, height: u32) -> Vec<f32> {
    let output = output(graph, weights, rgb, width, height);
    if graph.answer == Answer::Map {
        return objects_answer(&find_objects(&output, map_shape(graph), LEAST_SCORE));
    }
    if matches!(graph.nodes[graph.output].op, Op::Softmax) {
        return output;
    }
    let greatest = output.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f32> = output.iter().map(|v| (v - greatest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

pub(crate) fn map_shape(graph: &Graph) -> [usize; 3] {
    graph.output_shape().unwrap().try_into().unwrap()
}

/// The reference: the plain triangle filter, written over again in the test, then graph's executor.
pub(crate) fn output(graph: &Graph, weights: &Weights, rgb: &[u8], width: u32, height: u32) -> Vec<f32> {
    let spec = &graph.input;
    let axis = |input: usize, output: usize| -> Vec<Vec<f64>> {
        let scale = input as f64 / output as f64;
        let support = scale.max(1.0);
        (0..output)
            .map(|o| {
                let centre = (o as f64 + 0.5) * scale;
                let row: Vec<f64> =
                    (0..input).map(|i| (1.0 - ((i as f64 + 0.5 - centre) / support).abs()).max(0.0)).collect();
                let sum: f64 = row.iter().sum();
                row.iter().map(|w| w / sum).collect()
            })
            .collect()
    };
    let (w, h) = (width as usize, height as usize);
    let (rows, columns) = (axis(h, spec.height), axis(w, spec.width));
    let mut data = Vec::new();
    for c in 0..3 {
        for row in &rows {
            let line: Vec<f64> =
                (0..w).map(|x| (0..h).map(|y| row[y] * f64::from(rgb[(y * w + x) * 3 + c])).sum()).collect();
            for column in &columns {
                let value: f64 = column.iter().zip(&line).map(|(a, b)| a * b).sum();
                data.push(((value / 255.0 - f64::from(spec.mean[c])) / f64::from(spec.std[c])) as f32);
            }
        }
    }
    let input = Tensor::new(vec![1, 3, spec.height, spec.width], data).unwrap();
    execute(graph, weights, &input).unwrap().data
}

/// How far the nearest object of the class is from each; infinite where there is none.
pub(crate) fn objects_from(a: &[f32], b: &[f32]) -> f32 {
    let nearest = |object: &[f32]| {
        let same = b.chunks(OBJECT_NUMBERS).filter(|other| other[0] == object[0]);
        let far = same.map(|other| object.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max));
        far.fold(f32::INFINITY, f32::min)
    };
    a.chunks(OBJECT_NUMBERS).map(nearest).fold(0.0, f32::max)
}

/// The same both ways; infinite where they are not as many.
pub(crate) fn objects_apart(a: &[f32], b: &[f32]) -> f32 {
    if a.len() == b.len() { objects_from(a, b).max(objects_from(b, a)) } else { f32::INFINITY }
}

pub(crate) fn judges(graph: &Graph, weights: &Weights) -> Vec<Judge> {
    let sizes = [(24, 24), (32, 32), (100, 61), (7, 40), (1, 1), (211, 180)];
    let judge = |(i, (width, height)): (usize, (u32, u32))| {
        let rgb = picture(width, height, i as u64);
        let answer = answer(graph, weights, &rgb, width, height);
        Judge { name: format!("test/{i}.png"), width, height, rgb, answer }
    };
    sizes.into_iter().enumerate().map(judge).collect()
}

pub(crate) fn weights(graph: &Graph) -> Weights {
    random_weights_with(graph, 3, Statistics::Random).unwrap()
}

/// The network in 8 bits, its ranges those of some pictures; none if it is not valid.
pub(crate) fn quantized(graph: &Graph, weights: &Weights) -> Option<Quantized> {
    let spec = &graph.input;
    let plane = spec.height * spec.width;
    let levels = levels(graph);
    let images = levels.chunks(plane * 3).flat_map(|rgb| {
        let of = move |(c, i): (usize, usize)| (f32::from(rgb[i * 3 + c]) / 255.0 - spec.mean[c]) / spec.std[c];
        (0..3).flat_map(move |c| (0..plane).map(move |i| of((c, i)))).collect::<Vec<_>>()
    });
    let images: Vec<f32> = images.collect();
    let count = images.len() / (plane * 3);
    quantize(graph, weights, &Tensor::new(vec![count, 3, spec.height, spec.width], images).unwrap()).ok()
}

/// 24 pictures at the network's size.
pub(crate) fn levels(graph: &Graph) -> Vec<u8> {
    (0..24).flat_map(|seed| picture(graph.input.width as u32, graph.input.height as u32, seed)).collect()
}

/// A task's kind and its figures.
fn figures(graph: &Graph) -> (TaskKind, SplitMetrics) {
    match graph.answer {
        Answer::Classes => (TaskKind::ImageClassification, class_figures().into()),
        Answer::Map => (TaskKind::ObjectDetection, box_figures(graph).into()),
    }
}

fn box_figures(graph: &Graph) -> BoxMetrics {
    let class = |label| BoxClassMetrics {
        label,
        ap50: Some(0.625),
        ap: Some(0.375),
        precision: Some(0.75),
        recall: None,
        boxes: 12,
    };
    BoxMetrics {
        examples: 10,
        boxes: 24,
        map50: Some(0.625),
        map: Some(0.375),
        centroid_f1: Some(0.7),
        precision: Some(0.75),
        recall: None,
        localization_accuracy: None,
        per_class: labels_of(graph).into_iter().map(class).collect(),
        objective: ObjectiveValue { metric: Metric::Map50, value: 0.625 },
    }
}

fn class_figures() -> CardMetrics {
    CardMetrics {
        examples: 10,
        accuracy: 0.9,
        accuracy_ci: [0.596, 0.982],
        balanced_accuracy: 0.9,
        f1_macro: 0.89,
        log_loss: 0.3,
        calibration_error: Some(0.02),
        reliability: vec![ReliabilityBin { count: 10, confidence: 0.88, accuracy: 0.9 }],
        anomalies: None,
        objective: ObjectiveValue { metric: Metric::Accuracy, value: 0.9 },
        per_class: labels()
            .into_iter()
            .map(|label| ClassMetrics { label, precision: Some(0.9), recall: None, f1: Some(0.9), support: 3 })
            .collect(),
        confusion: vec![vec![3, 0, 0], vec![0, 3, 1], vec![0, 0, 3]],
    }
}

pub(crate) fn card(graph: &Graph) -> Card {
    let (kind, metrics) = figures(graph);
    let is_boxes = kind == TaskKind::ObjectDetection;
    let task = serde_json::json!({"version": 1, "name": "fire | smoke", "kind": kind, "budget": {"trials": 1},
        "objective": Objective::of(kind)});
    let cost = graph.cost().unwrap();
    Card {
        version: CARD_VERSION,
        model: "model_0".into(),
        created: "2026-01-01T00:00:00Z".into(),
        task: TaskSpec::from_json(&task).unwrap(),
        labels: labels_of(graph),
        data: CardData {
            dataset: "local".into(),
            sha256: "00".into(),
            splits: vec![SplitSummary {
                split: Split::Test,
                examples: 10,
                class_counts: vec![3, 4, 3][..labels_of(graph).len()].to_vec(),
                sha256: hash_of_hashes(["b", "a"]),
            }],
            audit: AuditSummary { warnings: vec!["few <images>".into()], ..AuditSummary::default() },
        },
        validation: metrics.clone(),
        test: metrics,
        at_least: is_boxes.then_some(0.45),
        temperature: (!is_boxes).then_some(1.1),
        decision: (!is_boxes).then(|| CardDecision {
            label: "smoke".into(),
            at_least: 0.3,
            precision: Some(0.5),
            recall: None,
        }),
        unknown: (!is_boxes).then(|| CardUnknown {
            below: 0.42,
            refused: vec![Refused { of: "test images".into(), images: 10, share: 0.1 }],
        }),
        int8: None,
        cost: ModelCost {
            parameters: cost.parameters,
            weights_bytes: cost.weights_bytes,
            macs: cost.macs,
            peak_ram_bytes: cost.peak_ram_bytes,
            resolution: [24, 24],
            latency: Some(Latency { median_ms: 1.0, p95_ms: 2.0, runs: 3 }.into()),
        },
        making: MakingCost {
            trials: 1,
            epochs: 2,
            images: 3,
            seconds: 4.0,
            energy: Energy { joules: None, note: "no counter".into() },
        },
        genome: Genome { family: "plain".into(), params: Default::default() },
        graph_sha256: graph.hash(),
        seed: 0,
        device: "flex".into(),
        versions: Versions { kindling: "0.1.0".into(), burn: "0.22.1".into() },
        ownership: OWNERSHIP.into(),
        checks: vec![],
        files: vec![],
        how_to_check: vec![],
    }
}

/// Generated code keeps a pixel's channels side by side.
pub(crate) fn channels_first<T: Copy>(numbers: &[T], [channels, height, width]: [usize; 3]) -> Vec<T> {
    assert_eq!(numbers.len(), channels * height * width);
    (0..channels).flat_map(|c| numbers.iter().skip(c).step_by(channels).copied()).collect()
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
