//! Trials trained as one against the same trials trained one by one.

#![allow(clippy::unwrap_used)]

use kindling_graph::Graph;
use kindling_models::{build_graph, default_genomes, initial_weights, random::Random};
use kindling_spec::{Genome, Value};
use kindling_train::{HostBatch, Hyperparameters, JoinedTrainer, OptimizerKind, Trainer, open_device};

const TRIALS: usize = 4;
const SIZE: usize = 6;
const SIDE: usize = 24;

fn graph(family: &str) -> Graph {
    let mut params = default_genomes(family).remove(0);
    for (name, value) in [
        ("resolution", Value::Int(SIDE as i64)),
        ("stem_stride", Value::Int(4)),
        ("width", Value::Int(8)),
        ("growth", Value::Float(1.5)),
        ("head", Value::Word("hidden".into())),
    ] {
        params.insert(name.into(), value);
    }
    build_graph(&Genome { family: family.into(), params }, 3).unwrap()
}

fn settings(trial: usize, optimizer: OptimizerKind) -> Hyperparameters {
    Hyperparameters {
        optimizer,
        learning_rate: 0.0,
        weight_decay: [0.0, 0.02, 0.1, 0.01][trial],
        momentum: [0.9, 0.8, 0.95, 0.85][trial],
        batch_size: SIZE,
        ..Default::default()
    }
}

/// Small enough that rounding does not grow: labels are drawn, and there is nothing to learn.
fn rate(trial: usize, step: usize) -> f64 {
    [5e-4, 1e-3, 2e-4, 8e-4][trial] / (1.0 + step as f64 / 10.0)
}

fn batch(trial: usize, step: usize) -> HostBatch {
    let mut random = Random::new(&[trial as u64, step as u64]);
    let images = (0..SIZE * 3 * SIDE * SIDE).map(|_| random.uniform() as f32 * 2.0 - 1.0).collect();
    let mut targets = vec![0.0; SIZE * 3];
    (0..SIZE).for_each(|i| targets[i * 3 + random.below(3)] = 1.0 / SIZE as f32);
    HostBatch { images, targets, size: SIZE }
}

fn numbers(tensor: burn::tensor::Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as::<f32>().unwrap()
}

#[test]
fn four_as_one_equal_four_apart() {
    let device = open_device("flex").unwrap();
    for (family, optimizer) in
        [("plain", OptimizerKind::AdamW), ("residual", OptimizerKind::Sgd), ("separable", OptimizerKind::AdamW)]
    {
        let graph = graph(family);
        let start: Vec<_> = (0..TRIALS)
            .map(|trial| (initial_weights(&graph, trial as u64).unwrap(), settings(trial, optimizer)))
            .collect();
        let mut joined = JoinedTrainer::new(&device, &graph, &start).unwrap();
        let mut apart: Vec<_> =
            start.iter().map(|(weights, s)| Trainer::new(&device, &graph, weights, s).unwrap()).collect();
        let mut furthest = 0.0f32;
        for step in 0..20 {
            let batches: Vec<_> = (0..TRIALS).map(|trial| batch(trial, step)).collect();
            let rates: Vec<_> = (0..TRIALS).map(|trial| rate(trial, step)).collect();
            let together = numbers(joined.step(&batches, &rates, &mut Random::new(&[1])).unwrap());
            for (trial, trainer) in apart.iter_mut().enumerate() {
                let alone = trainer.step(batches[trial].clone(), rates[trial], &mut Random::new(&[1])).unwrap();
                furthest = furthest.max((numbers(alone)[0] - together[trial]).abs());
            }
            assert!(together.windows(2).any(|w| w[0] != w[1]));
        }
        eprintln!("{family}: at most {furthest:.1e} apart");
        assert!(furthest <= 1e-3, "{family}: {furthest}");
        for (trial, trainer) in apart.iter().enumerate() {
            let (together, alone) = (joined.weights(trial).unwrap(), trainer.raw_weights().unwrap());
            assert_eq!(together.keys().collect::<Vec<_>>(), alone.keys().collect::<Vec<_>>());
            // A bias before a normalisation has no gradient but rounding's, which AdamW makes as large as any;
            // the mean after it takes it away again.
            let noise = |name: &str| name == "head.hidden.bias" || name == "head.hidden.bn.mean";
            for (name, array) in alone.iter().filter(|(name, _)| !noise(name)) {
                let pairs = array.data.iter().zip(&together[name].data);
                let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart <= 2e-3, "{family} {trial} {name}: {apart}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = open_device("flex").unwrap();
    let graph = graph("plain");
    let trial = |n| (initial_weights(&graph, n).unwrap(), settings(0, OptimizerKind::AdamW));
    assert!(JoinedTrainer::new(&device, &graph, &[]).is_err());
    let other = (trial(1).0, settings(1, OptimizerKind::Sgd));
    assert!(JoinedTrainer::new(&device, &graph, &[trial(0), other]).is_err());
    let mut two = JoinedTrainer::new(&device, &graph, &[trial(0), trial(1)]).unwrap();
    assert!(two.step(&[batch(0, 0)], &[0.1, 0.1], &mut Random::new(&[1])).is_err());
    assert!(two.weights(2).is_err());
}
