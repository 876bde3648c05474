//! Batches on the host, made by a thread of their own while the device works.

use crate::{Draw, Examples, Hyperparameters, TrainError};
use kindling_graph::Graph;
use kindling_models::random::Random;
use std::sync::mpsc::SyncSender;

/// A batch ready for the device.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// `[N, C, H, W]`, normalised.
    pub images: Vec<f32>,
    /// `[N, T]`. Where classes are told apart T is their number, each row being the target's distribution times its weight,
    /// all weights summing to 1, so that the loss is the sum of `-target * log(probability)`; where objects are found see
    /// [`kindling_models::tasks::object_detection::Targets`].
    pub targets: Vec<f32>,
    /// N.
    pub size: usize,
}

/// Where a batch belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) epoch: u32,
    pub(crate) batch: u32,
}

/// Everything batches are made of. What a batch holds depends on the seed, its epoch and its number
/// only, so that a resumed trial sees the same as one never stopped.
pub(crate) struct Batches<'a> {
    examples: &'a dyn Examples,
    graph: &'a Graph,
    map: [usize; 2],
    settings: &'a Hyperparameters,
    seed: u64,
    size: usize,
    count: usize,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(
        examples: &'a dyn Examples,
        graph: &'a Graph,
        settings: &'a Hyperparameters,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let total = examples.count();
        if total == 0 {
            return Err(TrainError::Input("the training split is empty; add training examples".into()));
        }
        // A last batch of another size would need its own kernels on a GPU and weigh its examples
        // more, so it is left out of that epoch; with fewer examples than a batch, all are one batch.
        let size = settings.batch_size.min(total);
        examples.check(graph, settings)?;
        let shape = graph.output_shape()?;
        let map = [1, 2].map(|axis| shape.get(axis).copied().unwrap_or(1));
        Ok(Self { examples, graph, map, settings, seed, size, count: total / size })
    }

    /// Batches an epoch.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Examples a batch.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Sends the batches of the epochs in order, until all are sent or nobody listens.
    pub(crate) fn send(&self, epochs: std::ops::Range<u32>, to: &SyncSender<Result<(Place, HostBatch), TrainError>>) {
        for epoch in epochs {
            let mut order: Vec<usize> = (0..self.examples.count()).collect();
            Random::new(&[self.seed, u64::from(epoch), 1]).shuffle(&mut order);
            for (batch, chosen) in order.chunks_exact(self.size).enumerate() {
                let place = Place { epoch, batch: batch as u32 };
                let Self { graph, map, settings, seed, .. } = *self;
                let draw = Draw { input: &graph.input, map, settings, seed, epoch, batch: place.batch };
                let made = self.examples.batch(&draw, chosen).map(|made| (place, made));
                let failed = made.is_err();
                if to.send(made).is_err() || failed {
                    return;
                }
            }
        }
    }
}
