//! Answers, statistics and gradients.

use crate::naive;
use crate::networks::{Numbers, random};
use kindling_graph::{Graph, GraphBuilder, InputSpec, Op};
use kindling_kernels::{KernelError, Program};
use proptest::{prelude::*, test_runner::RngSeed};

struct Case {
    graph: Graph,
    batch: usize,
    images: Vec<f64>,
    weights: Vec<f64>,
    running: Vec<f64>,
    masks: Vec<Vec<f64>>,
    /// What the loss weighs each output with.
    by: Vec<f64>,
}

fn narrow(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|v| *v as f32).collect()
}

/// As the kernels are given it, so that both sides begin with the same numbers.
fn rounded(numbers: Vec<f64>) -> Vec<f64> {
    numbers.into_iter().map(|v| f64::from(v as f32)).collect()
}

impl Case {
    fn new(graph: Graph, batch: usize, seed: u64) -> Self {
        let mut r = Numbers(seed | 1);
        for _ in 0..10 {
            r.next();
        }
        let shapes = graph.shapes().unwrap();
        let images = batch * graph.input.shape().iter().product::<usize>();
        let (mut weights, mut running) = (Vec::new(), Vec::new());
        for spec in graph.params().unwrap() {
            let count = spec.numbers() as usize;
            let fan = spec.shape[1..].iter().product::<usize>().max(1) as f64;
            let to = if spec.trainable { &mut weights } else { &mut running };
            let positive = spec.name.ends_with("scale") || spec.name.ends_with("var");
            to.extend((0..count).map(|_| if positive { 1.2 + r.real() } else { r.real() * 1.7 / fan.sqrt() }));
        }
        let dropouts = graph.nodes.iter().zip(&shapes).filter(|(node, _)| matches!(node.op, Op::Dropout { .. }));
        let masks = dropouts
            .map(|(_, shape)| {
                let count = batch * shape.iter().product::<usize>();
                rounded((0..count).map(|_| if r.below(3) == 0 { 0.0 } else { 1.4 }).collect())
            })
            .collect();
        let outputs = batch * graph.output_shape().unwrap().iter().product::<usize>();
        Self {
            images: rounded(r.reals(images)),
            weights: rounded(weights),
            running: rounded(running),
            masks,
            by: rounded(r.reals(outputs)),
            graph,
            batch,
        }
    }

    fn loss(&self, weights: &[f64]) -> f64 {
        let (output, _) = naive::train(&self.graph, &self.images, weights, &self.masks);
        output.iter().zip(&self.by).map(|(o, by)| o * by).sum()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let masks: Vec<Vec<f32>> = self.masks.iter().map(|m| narrow(m)).collect();
        let (images, weights) = (narrow(&self.images), narrow(&self.weights));
        let mut program = Program::training(&self.graph, self.batch).unwrap();
        let (output, statistics) = naive::train(&self.graph, &self.images, &self.weights, &self.masks);
        // Twice: the buffers are kept, and nothing of the first pass may be left in them.
        for _ in 0..2 {
            let answer = program.forward(&images, &weights, &[], &masks).unwrap();
            near("output", &answer.output, &output, 2e-4)?;
            near("statistics", &answer.statistics, &statistics, 2e-4)?;
            let gradient = program.backward(&narrow(&self.by)).unwrap();
            self.check_gradient(&gradient)?;
        }
        let mut program = Program::inference(&self.graph, self.batch + 1).unwrap();
        let answer = program.forward(&images, &weights, &narrow(&self.running), &[]).unwrap();
        near("inference", &answer.output, &naive::infer(&self.graph, &self.images, &self.weights, &self.running), 2e-4)
    }

    /// Along random directions, and along single weights, by central differences.
    fn check_gradient(&self, gradient: &[f32]) -> Result<(), TestCaseError> {
        let mut r = Numbers(77);
        let count = self.weights.len();
        let largest = gradient.iter().fold(0.0f64, |a, b| a.max(f64::from(b.abs())));
        for probe in 0..12 {
            let direction = match probe {
                0..6 => r.reals(count),
                _ => {
                    let at = r.below(count);
                    (0..count).map(|i| f64::from(u8::from(i == at))).collect()
                }
            };
            let shifted = |by: f64| self.weights.iter().zip(&direction).map(|(w, d)| w + d * by).collect::<Vec<f64>>();
            let slope = |h: f64| (self.loss(&shifted(h)) - self.loss(&shifted(-h))) / (2.0 * h);
            let (coarse, expected) = (slope(2e-7), slope(1e-7));
            let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
            let scale = (largest * length).max(1e-3);
            if (coarse - expected).abs() > 1e-4 * scale {
                // A kink of an activation or a pool lies in between: there is no one gradient to compare.
                continue;
            }
            let found: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * d).sum();
            prop_assert!(
                (found - expected).abs() <= 2e-3 * scale,
                "probe {probe}: {found}, expected {expected} ± {scale}"
            );
        }
        Ok(())
    }
}

fn near(what: &str, found: &[f32], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len(), "{}", what);
    let largest = expected.iter().fold(1.0f64, |a, b| a.max(b.abs()));
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        prop_assert!((f64::from(*a) - b).abs() <= tolerance * largest, "{what} {i}: {a}, expected {b}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 3 } else { 150 }, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..Default::default() })]

    /// Random layers: shapes, strides, paddings, groups, activations, pools.
    #[test]
    fn agrees_with_plain_loops(seed in any::<u64>(), batch in 1usize..12) {
        let graph = random(seed);
        // With one number a channel a batch's variance is 0 and its gradient noise.
        let batch = batch.max(3);
        Case::new(graph, batch, seed).check()?;
    }
}

/// A layer of each shape that the kernels treat in a way of its own.
#[test]
fn every_special_path_agrees() {
    let layers: &[(usize, usize, [usize; 2], usize, usize)] = &[
        // channels in, out, kernel, stride, group
        (8, 8, [3, 3], 1, 8),
        (16, 16, [3, 3], 2, 16),
        (12, 12, [5, 5], 1, 12),
        (24, 24, [5, 5], 2, 24),
        (8, 8, [1, 1], 2, 8),
        (16, 48, [3, 3], 2, 1),
        (24, 40, [1, 1], 1, 1),
        (24, 8, [1, 1], 2, 1),
        (32, 32, [3, 3], 1, 4),
        (32, 16, [3, 3], 2, 2),
        (12, 20, [3, 3], 1, 4),
        (7, 9, [2, 4], 1, 1),
        (40, 56, [3, 3], 3, 1),
    ];
    for (n, (channels, out_channels, kernel, stride, group)) in layers.iter().enumerate() {
        let mut net = GraphBuilder::new(InputSpec { height: 9, width: 7, ..InputSpec::rgb(8) });
        let x = net.conv("first", net.input(), *channels, 3, 1);
        let x = net.batch_norm("first.bn", x);
        let x = net.hard_swish("first.act", x);
        let op = Op::Conv {
            out_channels: *out_channels,
            kernel: *kernel,
            strides: [*stride; 2],
            pads: [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2],
            group: *group,
            bias: false,
        };
        let x = net.push("second", op, &[x]);
        let x = net.batch_norm("second.bn", x);
        let x = net.push("second.act", Op::Sigmoid, &[x]);
        let x = net.global_average_pool("pool", x);
        let x = net.flatten("flat", x);
        let x = net.gemm("logits", x, 3);
        let case = Case::new(net.finish(x).unwrap(), 5, n as u64 + 1);
        case.check().unwrap_or_else(|e| panic!("{:?}: {e}", layers[n]));
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let case = Case::new(random(12), 13, 5);
    let masks: Vec<Vec<f32>> = case.masks.iter().map(|m| narrow(m)).collect();
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let mut program = Program::training(&case.graph, case.batch).unwrap();
            let answer = program.forward(&narrow(&case.images), &narrow(&case.weights), &[], &masks).unwrap();
            (answer, program.backward(&narrow(&case.by)).unwrap())
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn what_does_not_fit_is_refused() {
    let graph = random(3);
    let mut program = Program::training(&graph, 4).unwrap();
    let len = graph.input.shape().iter().product::<usize>();
    let images = |count: usize| vec![0.0; count * len];
    let is_size = |e: KernelError, about: &str| assert!(e.to_string().contains(about), "{e}");
    is_size(program.forward(&images(3), &[], &[], &[]).unwrap_err(), "images");
    is_size(program.forward(&images(4), &[0.0], &[], &[]).unwrap_err(), "weights");
    is_size(program.backward(&[0.0]).unwrap_err(), "gradient");
    let mut net = GraphBuilder::new(InputSpec::rgb(8));
    let x = net.conv("c", net.input(), 4, 3, 1);
    let x = net.push("soft", Op::Softmax, &[x]);
    assert!(matches!(
        net.finish(x).map(|graph| Program::training(&graph, 4)),
        Err(_) | Ok(Err(KernelError::Unsupported(_) | KernelError::Graph(_)))
    ));
}
