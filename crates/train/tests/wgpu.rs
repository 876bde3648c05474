//! The GPU path on a software adapter, in a process of its own: burn's GPU servers live as long as it.

#![allow(clippy::unwrap_used)]

use kindling_graph::{GraphBuilder, InputSpec, Source};
use kindling_models::{initial_weights, random::Random};
use kindling_train::{HostBatch, Hyperparameters, OptimizerKind, Trainer, open_device};

#[test]
fn losses_equal_those_of_flex() {
    if std::env::var("KINDLING_TEST_WGPU").as_deref() != Ok("1") {
        eprintln!("skipped: set KINDLING_TEST_WGPU=1 where there is a Vulkan driver (mesa-vulkan-drivers will do)");
        return;
    }
    let mut net = GraphBuilder::new(InputSpec::rgb(8));
    let x = net.conv("a", Source::Input, 4, 3, 1);
    let x = net.batch_norm("a_bn", x);
    let x = net.relu("a_act", x);
    let x = net.conv("b", x, 8, 3, 2);
    let x = net.relu("b_act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("fc", x, 2);
    let graph = net.finish(x).unwrap();
    let weights = initial_weights(&graph, 3).unwrap();
    let settings = Hyperparameters {
        optimizer: OptimizerKind::AdamW,
        learning_rate: 0.01,
        weight_decay: 0.01,
        momentum: 0.9,
        batch_size: 4,
        warmup: 0.0,
        label_smoothing: 0.0,
        mixup: 0.0,
        ema: 0.9,
        class_weights: false,
        augment: Default::default(),
    };
    let losses = |device: &str| -> Vec<f32> {
        let device = open_device(device).unwrap();
        let mut trainer = Trainer::new(&device, &graph, &weights, &settings).unwrap();
        let mut random = Random::new(&[2]);
        (0..3)
            .map(|_| {
                let images = (0..4 * 3 * 64).map(|_| random.uniform() as f32 * 2.0 - 1.0).collect();
                let targets = [[0.25, 0.0], [0.0, 0.25], [0.25, 0.0], [0.0, 0.25]].concat();
                let batch = HostBatch { images, targets, size: 4 };
                trainer.step(batch, 0.01, &mut Random::new(&[5])).unwrap().into_scalar::<f32>()
            })
            .collect()
    };
    let flex = losses("flex");
    let start = std::time::Instant::now();
    let wgpu = losses("wgpu");
    eprintln!("flex {flex:?}, wgpu {wgpu:?}, {:.1} s", start.elapsed().as_secs_f64());
    assert!(flex.windows(2).any(|w| w[0] != w[1]));
    for (a, b) in flex.iter().zip(&wgpu) {
        assert!((a - b).abs() <= 1e-3, "{flex:?} {wgpu:?}");
    }
}
