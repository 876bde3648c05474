//! A teacher: a linear classifier on the features of a pretrained network that is not trained further.

use crate::{OpenDevice, TrainError, device::guard, predict::answer, trainer::read};
use burn::tensor::{Device, Tensor, TensorData, activation::softmax};
use kindling_data::{Dataset, load_exact};
use kindling_graph::{Graph, Weights};
use std::sync::atomic::{AtomicBool, Ordering};

/// Pictures in memory at once.
const BLOCK: usize = 64;
/// Steps of gradient descent; the loss is convex, so that more would only bring it nearer to the same end.
const STEPS: usize = 200;
/// Weights of the squared norm that are tried; the best by cross-entropy on the first fold held out is taken.
const DECAYS: [f64; 3] = [1e-3, 1e-2, 1e-1];

/// The features of each pick's picture, read from its original file, by a graph whose output they are.
///
/// # Shapes
/// Returns `[picks, features]`.
///
/// # Errors
/// [`TrainError::Cancelled`] within a block of pictures of `cancel` being set; those of the data, the graph and
/// the device.
pub fn features(
    device: &OpenDevice,
    graph: &Graph,
    weights: &Weights,
    dataset: &Dataset,
    picks: &[(usize, usize)],
    cancel: &AtomicBool,
) -> Result<Vec<f32>, TrainError> {
    let input = &graph.input;
    let mut found = Vec::new();
    for block in picks.chunks(BLOCK) {
        if cancel.load(Ordering::Relaxed) {
            return Err(TrainError::Cancelled);
        }
        let images = load_exact(dataset, block, input.height, &input.mean, &input.std)?;
        found.extend(answer(device, graph, weights, &images, block.len())?);
    }
    Ok(found)
}

/// The probabilities of each class for each example by multinomial logistic regression on its features, each by
/// the classifier that was fitted to the other folds.
///
/// # Shapes
/// `features` `[examples, n]`, `labels` and `folds` `[examples]`; returns `[examples, classes]`.
///
/// # Errors
/// [`TrainError::Input`] when there are fewer than two folds or the lengths differ; those of the device.
pub fn held_out_answers(
    device: &OpenDevice,
    features: &[f32],
    labels: &[usize],
    folds: &[usize],
    classes: usize,
) -> Result<Vec<f32>, TrainError> {
    let count = folds.iter().max().map_or(0, |most| most + 1);
    let length = features.len() / labels.len().max(1);
    if count < 2 || folds.len() != labels.len() || length * labels.len() != features.len() || length == 0 {
        let what = format!("{} features of {} examples in {count} fold(s)", features.len(), labels.len());
        return Err(TrainError::Input(what));
    }
    guard(|| {
        // The examples of a fold with their answers, from the others.
        let answer = |fold: usize, decay: f64| -> Result<(Vec<usize>, Vec<f32>), TrainError> {
            let side =
                |held: bool| -> Vec<usize> { (0..labels.len()).filter(|at| (folds[*at] == fold) == held).collect() };
            let rows = |of: &[usize]| -> Vec<f32> {
                of.iter().flat_map(|at| &features[at * length..][..length]).copied().collect()
            };
            let (held, others) = (side(true), side(false));
            let targets: Vec<usize> = others.iter().map(|at| labels[*at]).collect();
            let linear = Linear::fit(&device.device, rows(&others), &targets, classes, decay)?;
            let given = linear.answer(rows(&held))?;
            Ok((held, given))
        };
        let mut best = (f64::INFINITY, DECAYS[0], (Vec::new(), Vec::new()));
        for decay in DECAYS {
            let (held, given) = answer(0, decay)?;
            let rows = held.iter().zip(given.chunks_exact(classes));
            let loss = rows.map(|(at, row)| -f64::from(row[labels[*at]].max(1e-12)).ln()).sum::<f64>();
            if loss < best.0 {
                best = (loss, decay, (held, given));
            }
        }
        let (_, decay, first) = best;
        let mut answers = vec![0.0; labels.len() * classes];
        let mut keep = |(held, given): (Vec<usize>, Vec<f32>)| {
            for (at, row) in held.iter().zip(given.chunks_exact(classes)) {
                answers[at * classes..][..classes].copy_from_slice(row);
            }
        };
        keep(first);
        for fold in 1..count {
            keep(answer(fold, decay)?);
        }
        Ok(answers)
    })
}

/// A linear classifier on standardised features.
struct Linear {
    /// `[1, n]` each.
    mean: Tensor<2>,
    scale: Tensor<2>,
    /// `[n, classes]` and `[1, classes]`.
    weight: Tensor<2>,
    bias: Tensor<2>,
    device: Device,
}

impl Linear {
    /// Minimises the mean cross-entropy and `decay / 2` times the squared norm of the weights with Nesterov's
    /// accelerated gradient descent, in steps of one over a bound of the curvature.
    fn fit(
        device: &Device,
        features: Vec<f32>,
        labels: &[usize],
        classes: usize,
        decay: f64,
    ) -> Result<Self, TrainError> {
        let (rows, length) = (labels.len(), features.len() / labels.len().max(1));
        let x = Tensor::<2>::from_data(TensorData::new(features, [rows, length]), device);
        let mean = x.clone().mean_dim(0);
        let spread = (x.clone() - mean.clone()).powf_scalar(2.0).mean_dim(0).sqrt();
        let scale = (spread + 1e-6).recip();
        let x = (x - mean.clone()) * scale.clone();
        let mut hot = vec![0.0f32; rows * classes];
        labels.iter().enumerate().for_each(|(row, label)| hot[row * classes + label] = 1.0);
        let y = Tensor::<2>::from_data(TensorData::new(hot, [rows, classes]), device);
        let across = x.clone().transpose();

        // The curvature is at most half the largest eigenvalue of the features' second moments (Böhning 1992).
        let mut along = Tensor::<2>::ones([length, 1], device);
        let mut largest = 1.0;
        for _ in 0..20 {
            let next = across.clone().matmul(x.clone().matmul(along.clone())) / rows as f64;
            largest = read(&next.clone().powf_scalar(2.0).sum().sqrt())?.first().copied().map_or(1.0, f64::from);
            along = next / largest.max(1e-12);
        }
        // Power iteration comes from below.
        let step = 1.0 / (0.55 * largest.max(1.0) + decay);

        let mut weight = Tensor::<2>::zeros([length, classes], device);
        let mut bias = Tensor::<2>::zeros([1, classes], device);
        let (mut ahead, mut ahead_bias) = (weight.clone(), bias.clone());
        for t in 0..STEPS {
            let logits = x.clone().matmul(ahead.clone()) + ahead_bias.clone();
            let error = softmax(logits, 1) - y.clone();
            let gradient = across.clone().matmul(error.clone()) / rows as f64 + ahead.clone() * decay;
            let (last, last_bias) = (weight, bias);
            weight = ahead - gradient * step;
            bias = ahead_bias - error.mean_dim(0) * step;
            let momentum = t as f64 / (t as f64 + 3.0);
            ahead = weight.clone() + (weight.clone() - last) * momentum;
            ahead_bias = bias.clone() + (bias.clone() - last_bias) * momentum;
        }
        Ok(Self { mean, scale, weight, bias, device: device.clone() })
    }

    fn answer(&self, features: Vec<f32>) -> Result<Vec<f32>, TrainError> {
        let length = self.weight.dims()[0];
        let rows = features.len() / length;
        if rows == 0 {
            return Ok(Vec::new());
        }
        let x = Tensor::<2>::from_data(TensorData::new(features, [rows, length]), &self.device);
        let x = (x - self.mean.clone()) * self.scale.clone();
        let answers = softmax(x.matmul(self.weight.clone()) + self.bias.clone(), 1);
        read(&answers.reshape([-1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_device;

    #[test]
    fn what_can_be_told_apart_by_a_line_is_told_by_those_that_did_not_see_it() {
        let device = open_device("flex").unwrap();
        // Two of three features matter, on very different scales; every tenth label is wrong.
        let at = |i: usize, k: usize| ((i * 7919 + k * 104_729) % 1000) as f32 / 500.0 - 1.0;
        let features: Vec<f32> = (0..300).flat_map(|i| [at(i, 1) * 100.0, at(i, 2) * 0.01, at(i, 3)]).collect();
        let truth = |i: usize| usize::from(at(i, 1) + at(i, 2) > 0.0);
        let labels: Vec<usize> = (0..300).map(|i| if i % 10 == 0 { 1 - truth(i) } else { truth(i) }).collect();
        let folds: Vec<usize> = (0..300).map(|i| i % 5).collect();
        let answers = held_out_answers(&device, &features, &labels, &folds, 2).unwrap();
        assert_eq!(answers.len(), 600);
        assert!(answers.chunks(2).all(|row| (row[0] + row[1] - 1.0).abs() < 1e-5));
        let right = (0..300).filter(|i| (answers[i * 2 + 1] > 0.5) == (truth(*i) == 1)).count();
        assert!(right > 280, "{right} of 300");
        // Probabilities, not decisions: it knows that some labels are wrong.
        let sure = answers.iter().filter(|p| **p > 0.999).count();
        assert!(sure < 60, "{sure}");
    }

    #[test]
    fn one_fold_leaves_nothing_to_learn_from() {
        let device = open_device("flex").unwrap();
        assert!(matches!(held_out_answers(&device, &[1.0, 2.0], &[0, 1], &[0, 0], 2), Err(TrainError::Input(_))));
        assert!(matches!(held_out_answers(&device, &[1.0], &[0, 1], &[0, 1], 2), Err(TrainError::Input(_))));
    }
}
