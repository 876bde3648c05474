//! Training by the kernels against training composed of burn's own operators.

#![allow(clippy::unwrap_used)]

use kindling_graph::Graph;
use kindling_models::{build_graph, default_genomes, initial_weights, random::Random};
use kindling_spec::{Genome, Value};
use kindling_train::{HostBatch, Hyperparameters, Trainer, open_device};

const STEPS: usize = 100;

fn graph(family: &str) -> Graph {
    let mut params = default_genomes(family).remove(0);
    for (name, value) in [
        ("resolution", Value::Int(24)),
        ("stem_stride", Value::Int(4)),
        ("width", Value::Int(8)),
        ("growth", Value::Float(1.5)),
        ("dropout", Value::Float(0.2)),
        ("head", Value::Word("hidden".into())),
        ("activation", Value::Word("hard_swish".into())),
    ] {
        assert!(params.insert(name.into(), value).is_some(), "{name}");
    }
    build_graph(&Genome { family: family.into(), params }, 3).unwrap()
}

/// Pictures of noise about a colour that tells the class.
fn batch(random: &mut Random) -> HostBatch {
    let (size, plane) = (12, 24 * 24);
    let (mut images, mut targets) = (Vec::new(), vec![0.0; size * 3]);
    for i in 0..size {
        targets[i * 3 + i % 3] = 1.0 / size as f32;
        for channel in 0..3 {
            let lift = if channel == i % 3 { 0.3 } else { 0.0 };
            images.extend((0..plane).map(|_| random.uniform() as f32 * 2.0 - 1.0 + lift));
        }
    }
    HostBatch { images, targets, size }
}

fn losses(graph: &Graph, composed: bool) -> Vec<f32> {
    let settings = Hyperparameters { learning_rate: 2e-3, batch_size: 12, ..Default::default() };
    let device = open_device("flex").unwrap();
    let mut trainer = Trainer::new(&device, graph, &initial_weights(graph, 3).unwrap(), &settings).unwrap();
    if composed {
        trainer = trainer.composed();
    }
    let mut random = Random::new(&[2]);
    let step = |i: usize| {
        let batch = batch(&mut random);
        trainer.step(batch, 2e-3, &mut Random::new(&[5, i as u64])).unwrap().into_scalar::<f32>()
    };
    (0..STEPS).map(step).collect()
}

#[test]
fn the_loss_falls_along_the_same_curve() {
    for family in ["plain", "residual", "separable"] {
        let graph = graph(family);
        let (kernels, composed) = (losses(&graph, false), losses(&graph, true));
        let apart = kernels.iter().zip(&composed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        eprintln!("{family}: {} to {}, at most {apart:.1e} apart", kernels[0], kernels[STEPS - 1]);
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        let (begin, end) = (mean(&kernels[..10]), mean(&kernels[STEPS - 10..]));
        assert!(end < 0.9 * begin, "{family} learns nothing: {kernels:?}");
        assert_ne!(kernels, composed, "{family} ran one way twice");
        assert!(apart <= 1e-3, "{family}: {apart}, {kernels:?} {composed:?}");
    }
}
