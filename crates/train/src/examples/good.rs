//! Good pictures, on which defects are drawn to learn from.

use super::{Draw, Examples, Verdict};
use crate::{HostBatch, Hyperparameters, TrainError};
use kindling_data::{BatchSource, Dataset, Defects, View, epoch_seed};
use kindling_graph::{Answer, Graph, InputSpec};
use kindling_models::random::Random;
use kindling_models::tasks::anomaly_detection::{choice, score};

/// Seeds the defects on pictures that models are chosen and measured by, so that all see the same.
const SPOILED: u64 = 0x5701_1ED0;
/// How often it is tried to draw something that can be seen.
const TRIES: u64 = 8;

/// Pictures of which the training split's are all good.
#[derive(Clone, Copy)]
pub struct GoodExamples<'a> {
    /// Where the pictures are.
    pub dataset: &'a Dataset,
    /// Which of them; the first class is the good one.
    pub view: &'a View,
}

/// Draws on each picture in place, so often that something of it is to be seen.
///
/// # Shapes
/// `images`: `[N, C, H, W]`, normalised as `input` says, square.
///
/// # Errors
/// They are no such pictures.
pub fn spoil(input: &InputSpec, images: &mut [f32]) -> Result<(), TrainError> {
    let defects = Defects { share: 1.0, ..Defects::default() };
    let clean = images.to_vec();
    let one = input.shape().iter().product::<usize>().max(1);
    let mut plain = vec![true; images.len() / one];
    for again in 0..TRIES {
        let mut drawn = clean.clone();
        let seen = defects.draw(&mut drawn, input.height, 1, &input.mean, &input.std, SPOILED + again)?;
        for (n, is_plain) in plain.iter_mut().enumerate().filter(|(n, is_plain)| **is_plain && seen[*n] > 0.0) {
            images[n * one..][..one].copy_from_slice(&drawn[n * one..][..one]);
            *is_plain = false;
        }
    }
    Ok(())
}

impl GoodExamples<'_> {
    /// Good examples of the validation split.
    fn good(&self) -> impl Iterator<Item = &(usize, usize)> {
        self.view.validation.iter().filter(|(_, label)| *label == 0)
    }

    /// Each example's score, given its map.
    ///
    /// # Shapes
    /// `answers`: `[N, 1, H, W]` to `[N]`.
    pub fn scores(graph: &Graph, answers: &[f32]) -> Vec<f32> {
        let places = graph.output_shape().map_or(1, |shape| shape.iter().product::<usize>());
        answers.chunks_exact(places.max(1)).map(score).collect()
    }
}

impl Examples for GoodExamples<'_> {
    fn count(&self) -> usize {
        self.view.train.len()
    }

    fn check(&self, graph: &Graph, _: &Hyperparameters) -> Result<(), TrainError> {
        match graph.output_shape()?[..] {
            [1, height, width] if graph.answer == Answer::Map && height == width => Ok(()),
            ref shape => {
                Err(TrainError::Input(format!("the graph answers {shape:?}, not a square map of one channel")))
            }
        }
    }

    fn batch(&self, draw: &Draw<'_>, chosen: &[usize]) -> Result<HostBatch, TrainError> {
        let Draw { input, settings, seed, epoch, batch, .. } = *draw;
        let picks: Vec<(usize, usize)> = chosen.iter().map(|i| self.view.train[*i]).collect();
        let mut images = vec![0.0; picks.len() * input.channels * input.height * input.width];
        let augment = Some((&settings.augment, epoch_seed(seed, epoch)));
        let InputSpec { height, mean, std, .. } = input;
        BatchSource::new(self.dataset).fill(&picks, *height, mean, std, augment, &mut images)?;
        let defects = Random::new(&[seed, u64::from(epoch), u64::from(batch), 4]).next_u64();
        let targets = Defects::default().draw(&mut images, *height, draw.map[0], mean, std, defects)?;
        Ok(HostBatch { images, targets, size: picks.len() })
    }

    /// The good ones, the same again for defects to be drawn on, and the faulty ones that there are.
    fn validation(&self) -> Vec<(usize, usize)> {
        let faulty = self.view.validation.iter().filter(|(_, label)| *label != 0);
        self.good().chain(self.good()).chain(faulty).copied().collect()
    }

    fn prepare(&self, graph: &Graph, images: &mut [f32]) -> Result<(), TrainError> {
        let one: usize = graph.input.shape().iter().product();
        let good = self.good().count();
        spoil(&graph.input, &mut images[good * one..2 * good * one])
    }

    fn judge(&self, graph: &Graph, answers: &[f32]) -> Verdict {
        let scores = Self::scores(graph, answers);
        let good = self.good().count();
        // Between equals, the further apart the better: by standard deviations of the good.
        let mean = |scores: &[f32]| scores.iter().map(|s| f64::from(*s)).sum::<f64>() / scores.len().max(1) as f64;
        let (clean, strange) = scores.split_at(good.min(scores.len()));
        let middle = mean(clean);
        let spread = mean(&clean.iter().map(|s| (*s - middle as f32).powi(2)).collect::<Vec<_>>()).sqrt();
        Verdict { objective: choice(&scores, good), loss: (middle - mean(strange)) / spread.max(1e-9) }
    }
}
