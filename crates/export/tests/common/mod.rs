//! Graphs that use every operator, images, and a bundle's input.
#![allow(dead_code, reason = "each test file uses its part")]

use kindling_export::*;
use kindling_graph::*;
use kindling_spec::{Genome, Metric, Objective, Split, TaskKind, TaskSpec};

/// Every operator but Softmax, odd kernels, strides, pads, groups, and a BatchNormalization that cannot be folded.
pub(crate) fn everything() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(24));
    let bare = net.batch_norm("first_bn", net.input());
    let conv = Op::Conv { out_channels: 8, kernel: [3, 5], strides: [2, 1], pads: [1, 2, 0, 1], group: 1, bias: true };
    let x = net.push("stem", conv, &[bare]);
    let x = net.batch_norm("stem_bn", x);
    let x = net.hard_swish("stem_act", x);
    let pool = Op::MaxPool { kernel: [3, 3], strides: [1, 1], pads: [1, 1, 1, 1] };
    let pooled = net.push("pool", pool, &[x]);
    let left = net.depthwise("dw", pooled, 3, 1);
    let left = net.batch_norm("dw_bn", left);
    let left = net.relu6("dw_act", left);
    let left = net.conv("pw", left, 8, 1, 1);
    let sum = net.add("sum", left, x);
    let average = Op::AveragePool { kernel: [2, 3], strides: [2, 2], pads: [0, 1, 1, 0] };
    let x = net.push("average", average, &[sum]);
    let x = net.grouped_conv("grouped", x, 6, 3, 1, 2);
    let x = net.sigmoid("gate", x);
    let x = net.conv("last", x, 12, 3, 2);
    let x = net.relu("last_act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.dropout("drop", x, 0.2);
    let x = net.gemm("hidden", x, 7);
    let x = net.push("head", Op::Gemm { out_features: 3, bias: false }, &[x]);
    net.finish(x).unwrap()
}

/// A graph that gives probabilities itself, flattening a map that is more than one pixel.
pub(crate) fn with_softmax() -> Graph {
    let mut net =
        GraphBuilder::new(InputSpec { mean: vec![0.5, 0.4, 0.3], std: vec![0.25, 0.2, 0.3], ..InputSpec::rgb(32) });
    let x = net.conv("c", net.input(), 4, 3, 2);
    let x = net.relu("r", x);
    let x = net.max_pool("m", x, 4, 4);
    let x = net.flatten("f", x);
    let x = net.gemm("g", x, 3);
    let x = net.softmax("s", x);
    net.finish(x).unwrap()
}

/// An inverted residual block as pretrained networks have it: TensorFlow's padding, more at the end, and its epsilon.
pub(crate) fn same_padded() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(32));
    let mut layer = |name: &str, x: Source, channels: usize, kernel: usize, strides: usize, group: usize| {
        let all = kernel - strides.min(kernel);
        let (before, after) = (all / 2, all - all / 2);
        let (kernel, strides, pads) = ([kernel; 2], [strides; 2], [before, before, after, after]);
        let op = Op::Conv { out_channels: channels, kernel, strides, pads, group, bias: false };
        let x = net.push(name, op, &[x]);
        net.push(&format!("{name}_bn"), Op::BatchNormalization { epsilon: 1e-3 }, &[x])
    };
    let x = layer("stem", Source::Input, 8, 3, 2, 1);
    let y = layer("expand", x, 24, 1, 1, 1);
    let y = layer("dw", y, 24, 5, 1, 24);
    let y = layer("project", y, 8, 1, 1, 1);
    let x = net.add("sum", x, y);
    let pads = [1, 1, 2, 2];
    let half = Op::Conv { out_channels: 8, kernel: [5, 5], strides: [2, 2], pads, group: 8, bias: false };
    let x = net.push("half", half, &[x]);
    let x = net.relu6("half_act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("fc", x, 3);
    net.finish(x).unwrap()
}

/// Finds objects of two classes on 5 x 5 places, from depthwise layers.
pub(crate) fn separable_boxes() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(40));
    let x = net.conv("stem", net.input(), 8, 3, 2);
    let x = net.batch_norm("stem_bn", x);
    let mut x = net.relu6("stem_act", x);
    for (name, channels) in [("a", 16), ("b", 24)] {
        x = net.depthwise(&format!("{name}_dw"), x, 3, 2);
        x = net.batch_norm(&format!("{name}_dw_bn"), x);
        x = net.relu6(&format!("{name}_dw_act"), x);
        x = net.conv(&format!("{name}_pw"), x, channels, 1, 1);
        x = net.batch_norm(&format!("{name}_pw_bn"), x);
        x = net.relu6(&format!("{name}_pw_act"), x);
    }
    map_of(net, x, 2)
}

/// Finds objects of one class on 7 x 9 places, from plain layers.
pub(crate) fn plain_boxes() -> Graph {
    let mut net = GraphBuilder::new(InputSpec { height: 28, width: 36, ..InputSpec::rgb(8) });
    let x = net.conv("stem", net.input(), 7, 5, 2);
    let x = net.hard_swish("stem_act", x);
    let x = net.conv("body", x, 12, 3, 2);
    let y = net.hard_swish("body_act", x);
    let y = net.conv("more", y, 12, 3, 1);
    let x = net.add("sum", x, y);
    map_of(net, x, 1)
}

fn map_of(mut net: GraphBuilder, x: Source, classes: usize) -> Graph {
    let (kernel, strides, pads) = ([1; 2], [1; 2], [0; 4]);
    let head = Op::Conv { out_channels: classes + 4, kernel, strides, pads, group: 1, bias: true };
    let x = net.push("head", head, &[x]);
    net.finish_as(x, Answer::Boxes).unwrap()
}

/// Networks that find objects.
pub(crate) fn detectors() -> Vec<(&'static str, Graph)> {
    vec![("separable_boxes", separable_boxes()), ("plain_boxes", plain_boxes())]
}

pub(crate) fn every_kind() -> Vec<(&'static str, Graph)> {
    graphs().into_iter().chain(detectors()).collect()
}

pub(crate) fn graphs() -> Vec<(&'static str, Graph)> {
    vec![("everything", everything()), ("with_softmax", with_softmax()), ("same_padded", same_padded())]
}

pub(crate) fn labels() -> Vec<String> {
    ["fire", "smoke", "neither"].map(str::to_owned).to_vec()
}

/// The names of a graph's classes.
pub(crate) fn labels_of(graph: &Graph) -> Vec<String> {
    let outputs = graph.output_shape().unwrap()[0];
    let classes = if graph.answer == Answer::Boxes { outputs - 4 } else { outputs };
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
    if graph.answer == Answer::Boxes {
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

/// How far the nearest object of the class is from each, both ways; infinite where they are not as many.
pub(crate) fn objects_apart(a: &[f32], b: &[f32]) -> f32 {
    let nearest = |object: &[f32], of: &[f32]| {
        let same = of.chunks(OBJECT_NUMBERS).filter(|other| other[0] == object[0]);
        let far = same.map(|other| object.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max));
        far.fold(f32::INFINITY, f32::min)
    };
    let one = |a: &[f32], b: &[f32]| a.chunks(OBJECT_NUMBERS).map(|object| nearest(object, b)).fold(0.0, f32::max);
    if a.len() == b.len() { one(a, b).max(one(b, a)) } else { f32::INFINITY }
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
        Answer::Boxes => (TaskKind::ObjectDetection, box_figures(graph).into()),
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
