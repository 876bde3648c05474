//! A trainer that was saved and taken up again is the same as one never stopped.

#![allow(clippy::unwrap_used)]

use kindling_graph::{GraphBuilder, InputSpec, Source};
use kindling_models::{initial_weights, random::Random};
use kindling_train::{Checkpoint, HostBatch, Hyperparameters, OptimizerKind, TrainError, Trainer, open_device};

fn batch(step: u64) -> HostBatch {
    let mut random = Random::new(&[step, 2]);
    let images = (0..8 * 3 * 144).map(|_| random.uniform() as f32 * 2.0 - 1.0).collect();
    let targets = (0..8).flat_map(|i| if i % 2 == 0 { [0.125, 0.0] } else { [0.0, 0.125] }).collect();
    HostBatch { images, targets, size: 8 }
}

#[test]
fn a_saved_trainer_goes_on_bit_for_bit() {
    let mut net = GraphBuilder::new(InputSpec::rgb(12));
    let x = net.conv("a", Source::Input, 8, 3, 2);
    let x = net.batch_norm("a_bn", x);
    let x = net.relu("a_act", x);
    let x = net.depthwise("b", x, 3, 1);
    let x = net.batch_norm("b_bn", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.dropout("drop", x, 0.2);
    let x = net.gemm("fc", x, 2);
    let graph = net.finish(x).unwrap();
    let weights = initial_weights(&graph, 3).unwrap();
    let device = open_device("flex").unwrap();
    for optimizer in [OptimizerKind::AdamW, OptimizerKind::Sgd] {
        let settings = Hyperparameters { optimizer, learning_rate: 0.01, batch_size: 8, ..Default::default() };
        let start = || Trainer::new(&device, &graph, &weights, &settings).unwrap();
        let go = |trainer: &mut Trainer, steps: std::ops::Range<u64>| {
            for step in steps {
                trainer.step(batch(step), 0.01, &mut Random::new(&[step])).unwrap();
            }
        };
        let mut whole = start();
        go(&mut whole, 0..6);
        let mut parted = start();
        go(&mut parted, 0..3);
        let saved = parted.checkpoint(1).unwrap().to_bytes().unwrap();
        let mut parted = start();
        parted.restore(&Checkpoint::from_bytes(&saved).unwrap()).unwrap();
        go(&mut parted, 3..6);
        let (whole, parted) = (whole.checkpoint(2).unwrap(), parted.checkpoint(2).unwrap());
        assert!(whole == parted, "{optimizer:?}");
        assert_ne!(whole.weights, whole.average_weights);
        let mut damaged = whole;
        damaged.first.pop();
        assert!(matches!(start().restore(&damaged), Err(TrainError::Checkpoint(_))));
    }
}
