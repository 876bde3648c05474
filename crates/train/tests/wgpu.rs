//! The GPU path on a software adapter, in a process of its own: burn's GPU servers live as long as it.

#![allow(clippy::unwrap_used)]

use burn::tensor::Tensor;
use kindling_graph::{Graph, GraphBuilder, InputSpec, Source};
use kindling_models::{initial_weights, random::Random};
use kindling_train::{HostBatch, Hyperparameters, JoinedTrainer, Trainer, open_device};
use std::time::Instant;

const SIZE: usize = 4;

/// Tiny: a software adapter takes seconds for what a card does in microseconds.
fn graph() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(8));
    let x = net.conv("a", Source::Input, 4, 3, 1);
    let x = net.batch_norm("a_bn", x);
    let x = net.relu("a_act", x);
    let x = net.conv("b", x, 8, 3, 2);
    let x = net.relu("b_act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("fc", x, 2);
    net.finish(x).unwrap()
}

fn settings() -> Hyperparameters {
    Hyperparameters { learning_rate: 0.01, batch_size: SIZE, ..Default::default() }
}

fn batch(random: &mut Random) -> HostBatch {
    let images = (0..SIZE * 3 * 64).map(|_| random.uniform() as f32 * 2.0 - 1.0).collect();
    let targets = [[0.25, 0.0], [0.0, 0.25], [0.25, 0.0], [0.0, 0.25]].concat();
    HostBatch { images, targets, size: SIZE }
}

fn numbers(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().unwrap()
}

fn asked_for() -> bool {
    let asked = std::env::var("KINDLING_TEST_WGPU").as_deref() == Ok("1");
    if !asked {
        eprintln!("skipped: set KINDLING_TEST_WGPU=1 where there is a Vulkan driver (mesa-vulkan-drivers will do)");
    }
    asked
}

#[test]
fn losses_equal_those_of_flex() {
    if !asked_for() {
        return;
    }
    let weights = initial_weights(&graph(), 3).unwrap();
    let losses = |device: &str| -> Vec<f32> {
        let device = open_device(device).unwrap();
        let mut trainer = Trainer::new(&device, &graph(), &weights, &settings()).unwrap();
        let mut random = Random::new(&[2]);
        let mut step = || numbers(trainer.step(batch(&mut random), 0.01, &mut Random::new(&[5])).unwrap());
        (0..3).flat_map(|_| step()).collect()
    };
    let flex = losses("flex");
    let start = Instant::now();
    let wgpu = losses("wgpu");
    eprintln!("flex {flex:?}, wgpu {wgpu:?}, {:.1} s", start.elapsed().as_secs_f64());
    assert!(flex.windows(2).any(|w| w[0] != w[1]));
    for (a, b) in flex.iter().zip(&wgpu) {
        assert!((a - b).abs() <= 1e-3, "{flex:?} {wgpu:?}");
    }
}

/// Four trials as one against four one by one, on the adapter itself.
#[test]
#[ignore = "takes minutes on a software adapter; prints the ratio of their speeds"]
fn joined_trials_equal_separate_ones() {
    const TRIALS: usize = 4;
    const STEPS: usize = 6;
    let device = open_device("wgpu").unwrap();
    let start: Vec<_> = (0..TRIALS as u64).map(|n| (initial_weights(&graph(), n).unwrap(), settings())).collect();
    let mut random = Random::new(&[2]);
    let batches: Vec<Vec<HostBatch>> = (0..STEPS).map(|_| (0..TRIALS).map(|_| batch(&mut random)).collect()).collect();
    // The first step compiles kernels and counts in neither.
    let mut seconds = [0.0; 2];
    let mut joined = JoinedTrainer::new(&device, &graph(), &start).unwrap();
    let mut losses = [Vec::new(), Vec::new()];
    for (number, batches) in batches.iter().enumerate() {
        let begin = Instant::now();
        losses[0].extend(numbers(joined.step(batches, &[0.01; TRIALS], &mut Random::new(&[5])).unwrap()));
        seconds[0] += if number > 0 { begin.elapsed().as_secs_f64() } else { 0.0 };
    }
    let mut apart: Vec<_> = start.iter().map(|(w, s)| Trainer::new(&device, &graph(), w, s).unwrap()).collect();
    for (number, batches) in batches.iter().enumerate() {
        let begin = Instant::now();
        for (trainer, batch) in apart.iter_mut().zip(batches) {
            losses[1].extend(numbers(trainer.step(batch.clone(), 0.01, &mut Random::new(&[5])).unwrap()));
        }
        seconds[1] += if number > 0 { begin.elapsed().as_secs_f64() } else { 0.0 };
    }
    let furthest = losses[0].iter().zip(&losses[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let [together, one_by_one] = seconds;
    eprintln!("{TRIALS} trials: joined {together:.3} s, one by one {one_by_one:.3} s, at most {furthest:.1e} apart");
    assert!(furthest <= 1e-3, "{losses:?}");
}
