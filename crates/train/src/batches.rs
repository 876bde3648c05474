//! Batches on the host, made by a thread of their own while the device works.

use crate::{Hyperparameters, TrainError};
use kindling_data::{BatchSource, Dataset, View, epoch_seed};
use kindling_graph::InputSpec;
use kindling_models::random::Random;
use std::sync::mpsc::SyncSender;

/// A batch ready for the device.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// `[N, C, H, W]`, normalised.
    pub images: Vec<f32>,
    /// `[N, classes]`: each row the target's distribution times its weight, all weights summing to 1,
    /// so that the loss is the sum of `-target * log(probability)`.
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
    source: BatchSource<'a>,
    picks: &'a [(usize, usize)],
    classes: usize,
    class_weight: Vec<f32>,
    teacher: Option<&'a [f32]>,
    input: &'a InputSpec,
    settings: &'a Hyperparameters,
    seed: u64,
    size: usize,
    count: usize,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(
        dataset: &'a Dataset,
        view: &'a View,
        teacher: Option<&'a [f32]>,
        input: &'a InputSpec,
        settings: &'a Hyperparameters,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let (picks, classes) = (view.train.as_slice(), view.classes.len());
        if picks.is_empty() {
            return Err(TrainError::Input("the training split is empty; add training examples".into()));
        }
        let mut counts = vec![0usize; classes];
        for (_, label) in picks {
            let count = counts.get_mut(*label);
            *count.ok_or_else(|| TrainError::Input(format!("label {label} is not one of {classes} classes")))? += 1;
        }
        if let Some(rows) = teacher
            && (rows.len() != picks.len() * classes || rows.iter().any(|p| !(0.0..=1.0).contains(p)))
        {
            let what = format!("a teacher's answers must be {} x {classes} probabilities", picks.len());
            return Err(TrainError::Input(what));
        }
        let class_weight = counts
            .iter()
            .map(|count| match (settings.class_weights, *count) {
                (true, count @ 1..) => picks.len() as f32 / (classes * count) as f32,
                _ => 1.0,
            })
            .collect();
        // A last batch of another size would need its own kernels on a GPU and weigh its examples
        // more, so it is left out of that epoch; with fewer examples than a batch, all are one batch.
        let size = settings.batch_size.min(picks.len());
        let count = picks.len() / size;
        let source = BatchSource::new(dataset);
        Ok(Self { source, picks, classes, class_weight, teacher, input, settings, seed, size, count })
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
            let mut order: Vec<usize> = (0..self.picks.len()).collect();
            Random::new(&[self.seed, u64::from(epoch), 1]).shuffle(&mut order);
            for (batch, chosen) in order.chunks_exact(self.size).enumerate() {
                let place = Place { epoch, batch: batch as u32 };
                let made = self.make(place, chosen).map(|made| (place, made));
                let failed = made.is_err();
                if to.send(made).is_err() || failed {
                    return;
                }
            }
        }
    }

    fn make(&self, place: Place, chosen: &[usize]) -> Result<HostBatch, TrainError> {
        let picks: Vec<(usize, usize)> = chosen.iter().map(|i| self.picks[*i]).collect();
        let InputSpec { channels, height, width, mean, std } = self.input;
        let length = channels * height * width;
        let mut images = vec![0.0; picks.len() * length];
        let augment = Some((&self.settings.augment, epoch_seed(self.seed, place.epoch)));
        self.source.fill(&picks, *height, mean, std, augment, &mut images)?;

        let mut random = Random::new(&[self.seed, u64::from(place.epoch), u64::from(place.batch), 2]);
        let share = random.beta(self.settings.mixup) as f32;
        // Partners are the batch in reverse; since it is in random order, so are they.
        let partner = |i: usize| picks.len() - 1 - i;
        if share < 1.0 {
            let other = images.clone();
            for (i, image) in images.chunks_exact_mut(length).enumerate() {
                let from = &other[partner(i) * length..][..length];
                image.iter_mut().zip(from).for_each(|(a, b)| *a = *a * share + b * (1.0 - share));
            }
        }
        let smooth = self.settings.label_smoothing as f32;
        let mut targets = vec![0.0; picks.len() * self.classes];
        let mut total = 0.0;
        for (i, row) in targets.chunks_exact_mut(self.classes).enumerate() {
            for (of, part) in [(i, share), (partner(i), 1.0 - share)] {
                let label = picks[of].1;
                let weight = self.class_weight[label] * part;
                total += weight;
                let told = self.teacher.map(|rows| &rows[chosen[of] * self.classes..][..self.classes]);
                let taught = if told.is_some() { self.settings.distillation as f32 } else { 0.0 };
                row[label] += weight * (1.0 - taught) * (1.0 - smooth);
                for (class, to) in row.iter_mut().enumerate() {
                    let answer = told.map_or(0.0, |answer| answer[class]);
                    *to += weight * (taught * answer + (1.0 - taught) * smooth / self.classes as f32);
                }
            }
        }
        targets.iter_mut().for_each(|t| *t /= total);
        Ok(HostBatch { images, targets, size: picks.len() })
    }
}
