//! Whether probabilities mean what they say, and how to make them.

use crate::tasks::image_classification::top;
use serde::{Deserialize, Serialize};

/// How often answers of each confidence are right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Expected calibration error (Naeini et al. 2015; Guo et al. 2017): the mean over the answers of how far the share of
    /// right ones of their bin is from their mean probability. 0 is perfect.
    pub ece: f64,
    /// Bins of equal width with at least one answer, the least confident first.
    pub bins: Vec<Bin>,
}

/// Answers of about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Answers in it.
    pub count: u64,
    /// Mean probability of the answers.
    pub confidence: f64,
    /// Share that is right.
    pub accuracy: f64,
}

/// Bins from probability 0 to 1.
const BINS: usize = 10;
/// With fewer examples a temperature would follow chance.
const LEAST_EXAMPLES: usize = 30;
/// The temperatures that are looked for.
const TEMPERATURES: [f64; 2] = [0.25, 4.0];

/// Sorts answers into bins.
///
/// # Shapes
/// `probabilities` is `[N, classes]`, `labels` `[N]`.
pub fn reliability(probabilities: &[f32], classes: usize, labels: &[usize]) -> Reliability {
    let mut sums = [(0u64, 0.0f64, 0u64); BINS];
    for (row, label) in probabilities.chunks_exact(classes.max(1)).zip(labels) {
        let answer = top(row);
        let confidence = f64::from(row[answer]);
        let bin = &mut sums[((confidence * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + confidence, bin.2 + u64::from(answer == *label));
    }
    let all: u64 = sums.iter().map(|(count, ..)| count).sum();
    let filled = sums.iter().filter(|(count, ..)| *count > 0);
    let bins: Vec<Bin> = filled
        .map(|(count, confidence, right)| {
            let n = *count as f64;
            Bin { count: *count, confidence: confidence / n, accuracy: *right as f64 / n }
        })
        .collect();
    let gap = |bin: &Bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs();
    Reliability { ece: bins.iter().map(gap).sum::<f64>() / all.max(1) as f64, bins }
}

/// The temperature by which logits are to be divided for the least log loss (Guo et al. 2017, section 4.2), 1 where there are too
/// few examples to tell. Which class is answered does not change.
///
/// # Shapes
/// As [`reliability`].
pub fn temperature(probabilities: &[f32], classes: usize, labels: &[usize]) -> f64 {
    if labels.len() < LEAST_EXAMPLES {
        return 1.0;
    }
    let loss = |log: f64| {
        let warm = with_temperature(probabilities, classes, log.exp());
        let rows = warm.chunks_exact(classes.max(1)).zip(labels);
        rows.map(|(row, label)| -f64::from(row[*label]).max(1e-12).ln()).sum::<f64>()
    };
    // The loss has one valley in the temperature's logarithm: golden section (Kiefer 1953).
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let [mut low, mut high] = TEMPERATURES.map(f64::ln);
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_left, mut at_right) = (loss(left), loss(right));
    while high - low > 1e-3 {
        if at_left < at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - golden * (high - low);
            at_left = loss(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + golden * (high - low);
            at_right = loss(right);
        }
    }
    // Where all answers are certain and right, every temperature is as good.
    let found = (low + high) / 2.0;
    if loss(found) < loss(0.0) { found.exp() } else { 1.0 }
}

/// The probabilities after dividing the logits by a temperature.
///
/// # Shapes
/// `[N, classes]`, as given.
pub fn with_temperature(probabilities: &[f32], classes: usize, temperature: f64) -> Vec<f32> {
    let mut warm = Vec::with_capacity(probabilities.len());
    for row in probabilities.chunks_exact(classes.max(1)) {
        // A logarithm of a probability is a logit less the same for all.
        let logits = row.iter().map(|p| f64::from(p.max(1e-30)).ln() / temperature);
        let greatest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logits.clone().map(|x| (x - greatest).exp()).sum();
        warm.extend(logits.map(|x| ((x - greatest).exp() / sum) as f32));
    }
    warm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_by_hand() {
        // Two answers near 0.95, one of them right; one at 0.6, right.
        let found = reliability(&[0.94, 0.06, 0.04, 0.96, 0.6, 0.4], 2, &[0, 0, 0]);
        assert_eq!(found.bins.len(), 2);
        assert!((found.bins[1].confidence - 0.95).abs() < 1e-6 && found.bins[1].accuracy == 0.5);
        assert!((found.ece - (2.0 * 0.45 + 0.4) / 3.0).abs() < 1e-6, "{}", found.ece);
        assert_eq!(reliability(&[], 2, &[]).ece, 0.0);
    }

    #[test]
    fn too_sure_answers_are_cooled_down() {
        // 90% sure, right 7 times of 10: the loss is least where 70% are said.
        let probabilities: Vec<f32> = (0..100).flat_map(|_| [0.9, 0.1]).collect();
        let labels: Vec<usize> = (0..100).map(|i| usize::from(i % 10 >= 7)).collect();
        let found = temperature(&probabilities, 2, &labels);
        let warm = with_temperature(&probabilities, 2, found);
        assert!((warm[0] - 0.7).abs() < 0.002, "{found}: {}", warm[0]);
        assert!(reliability(&warm, 2, &labels).ece < 0.003);
        // Right ones stay where they are.
        let back = with_temperature(&warm, 2, 1.0);
        assert!(back.iter().zip(&warm).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(temperature(&probabilities[..20], 2, &labels[..10]), 1.0);
    }

    #[test]
    fn certain_answers_stay_within_bounds() {
        let probabilities: Vec<f32> = (0..40).flat_map(|_| [1.0, 0.0]).collect();
        assert_eq!(temperature(&probabilities, 2, &[0; 40]), 1.0);
        assert!((temperature(&probabilities, 2, &[1; 40]) - 4.0).abs() < 0.05);
    }
}
