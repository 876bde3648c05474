//! One class of several for each image: softmax, decoding, and every figure reported about a split.

use kindling_spec::{Metric, Objective};
use serde::{Deserialize, Serialize};

/// What a model's answers on a split are worth.
///
/// Every share lies in 0..=1 and is 0 where it would be 0/0 (a class never predicted has precision
/// 0), as in scikit-learn with `zero_division=0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The figure the study works towards.
    pub objective: f64,
    /// How many examples.
    pub examples: u64,
    /// Share of examples answered right.
    pub accuracy: f64,
    /// Its 95% interval (Wilson 1927).
    pub accuracy_ci: [f64; 2],
    /// Mean recall over the classes that have examples.
    pub balanced_accuracy: f64,
    /// Mean F1 over the classes that have examples or are predicted.
    pub f1_macro: f64,
    /// One entry a class, in their order.
    pub per_class: Vec<ClassMetrics>,
    /// Counts, `[true][predicted]`.
    pub confusion: Vec<Vec<u64>>,
    /// Mean negative natural logarithm of the probability given to the true class.
    pub log_loss: f64,
    /// With `recall_at_precision`: answer the class when its probability is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// The figures of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Its name.
    pub class: String,
    /// Share of those answered with it that are of it.
    pub precision: f64,
    /// Share of its examples answered with it.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// How many examples it has.
    pub support: u64,
}

/// Computes every figure.
///
/// # Shapes
/// `probabilities` is `[N, classes]` row by row, `labels` `[N]` of class numbers; what has no
/// counterpart is left out.
pub fn metrics(
    probabilities: &[f32],
    classes: usize,
    labels: &[usize],
    objective: &Objective,
    names: &[String],
) -> Metrics {
    let rows: Vec<(&[f32], usize)> = probabilities
        .chunks_exact(classes.max(1))
        .zip(labels.iter().copied())
        .filter(|(_, label)| *label < classes)
        .collect();
    let mut confusion = vec![vec![0u64; classes]; classes];
    let mut log_loss = 0.0;
    for (row, label) in &rows {
        confusion[*label][top(row)] += 1;
        // Probabilities are f32, so the least loss of a certain answer is kept finite like theirs.
        log_loss -= f64::from(row[*label]).clamp(f64::from(f32::EPSILON), 1.0).ln();
    }
    let total = rows.len() as u64;
    let right: u64 = (0..classes).map(|c| confusion[c][c]).sum();
    let per_class: Vec<ClassMetrics> = (0..classes)
        .map(|c| {
            let support = confusion[c].iter().sum::<u64>();
            let predicted = confusion.iter().map(|row| row[c]).sum::<u64>();
            let hits = confusion[c][c];
            ClassMetrics {
                class: names.get(c).cloned().unwrap_or_else(|| c.to_string()),
                precision: share(hits, predicted),
                recall: share(hits, support),
                f1: share(2 * hits, support + predicted),
                support,
            }
        })
        .collect();
    let balanced_accuracy = mean(per_class.iter().filter(|c| c.support > 0).map(|c| c.recall));
    let seen = |c: &usize| per_class[*c].support > 0 || confusion.iter().any(|row| row[*c] > 0);
    let f1_macro = mean((0..classes).filter(seen).map(|c| per_class[c].f1));
    let accuracy = share(right, total);
    let (objective, threshold) = match objective.metric {
        Metric::Accuracy => (accuracy, None),
        Metric::BalancedAccuracy => (balanced_accuracy, None),
        Metric::F1Macro => (f1_macro, None),
        Metric::RecallAtPrecision => {
            let wanted = objective.class.as_ref().and_then(|class| names.iter().position(|n| n == class));
            let found = wanted.and_then(|class| {
                let scored: Vec<_> = rows.iter().map(|(row, label)| (f64::from(row[class]), *label == class)).collect();
                recall_at_precision(scored, objective.precision.unwrap_or(1.0))
            });
            (found.map_or(0.0, |(recall, _)| recall), found.map(|(_, threshold)| threshold))
        }
        // Of boxes, which there are none of; a specification that asks for them here is refused.
        Metric::Map50 | Metric::Map | Metric::LocalizationAccuracy | Metric::ImageAuroc => (0.0, None),
    };
    Metrics {
        objective,
        examples: total,
        accuracy,
        accuracy_ci: wilson(right, total),
        balanced_accuracy,
        f1_macro,
        per_class,
        confusion,
        log_loss: if total == 0 { 0.0 } else { log_loss / total as f64 },
        threshold,
    }
}

/// The highest recall whose precision is at least `precision`, with the highest threshold that
/// gives it, over (score, is of the class); `None` if no threshold does.
pub fn recall_at_precision(mut scored: Vec<(f64, bool)>, precision: f64) -> Option<(f64, f64)> {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = scored.iter().filter(|(_, is)| *is).count() as u64;
    let (mut hits, mut best) = (0u64, None);
    for (i, (score, is)) in scored.iter().enumerate() {
        hits += u64::from(*is);
        // Equal scores fall on the same side of any threshold.
        if scored.get(i + 1).is_some_and(|(next, _)| next == score) {
            continue;
        }
        let recall = share(hits, positives);
        if hits > 0 && share(hits, i as u64 + 1) >= precision && best.is_none_or(|(r, _)| recall > r) {
            best = Some((recall, *score));
        }
    }
    best
}

/// The 95% interval of a share (Wilson 1927): honest for few examples and near 0 and 1.
pub fn wilson(right: u64, total: u64) -> [f64; 2] {
    if total == 0 {
        return [0.0, 1.0];
    }
    let (z, n) = (1.959_963_984_540_054_f64, total as f64);
    let p = right as f64 / n;
    let middle = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // At 0 and 1 the ends are exact, which rounding would miss by a little.
    let low = if right == 0 { 0.0 } else { (middle - half) / scale };
    let high = if right == total { 1.0 } else { (middle + half) / scale };
    [low, high]
}

/// Probabilities from logits, each row of `classes` for itself and in place; the greatest is
/// subtracted first, so that nothing overflows.
pub fn softmax(logits: &mut [f32], classes: usize) {
    for row in logits.chunks_exact_mut(classes.max(1)) {
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - greatest).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
}

/// The number of the most probable class; the first of equals.
pub fn top(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, p) in row.iter().enumerate() {
        if *p > row[best] {
            best = i;
        }
    }
    best
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u64), |(s, n), v| (s + v, n + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    /// Predicted 0 0 1 1 2 0, true 0 0 1 2 2 1.
    fn example() -> (Vec<f32>, Vec<usize>) {
        let rows =
            [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]];
        (rows.concat(), vec![0, 0, 1, 2, 2, 1])
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    }

    #[test]
    fn figures_by_hand() {
        let (probabilities, labels) = example();
        let m = metrics(&probabilities, 3, &labels, &Objective::default(), &names());
        assert_eq!(m.confusion, [[2, 0, 0], [1, 1, 0], [0, 1, 1]]);
        close(m.accuracy, 4.0 / 6.0);
        close(m.objective, m.accuracy);
        close(m.balanced_accuracy, (1.0 + 0.5 + 0.5) / 3.0);
        // F1: a 2*2/(2+3) = 0.8, b 2*1/(2+2) = 0.5, c 2*1/(2+1) = 2/3.
        close(m.f1_macro, (0.8 + 0.5 + 2.0 / 3.0) / 3.0);
        close(m.per_class[0].precision, 2.0 / 3.0);
        close(m.per_class[2].recall, 0.5);
        assert_eq!(m.per_class[1].support, 2);
        let expected = -(0.7f64.ln() + 0.5f64.ln() + 0.8f64.ln() + 0.3f64.ln() + 0.7f64.ln() + 0.3f64.ln()) / 6.0;
        close(m.log_loss, expected);
        assert_eq!(m.threshold, None);
    }

    #[test]
    fn wilson_by_hand() {
        // 8 of 10: centre (0.8 + 0.19207) / 1.38415, half 1.95996 * sqrt(0.016 + 0.0096037) / 1.38415.
        let [low, high] = wilson(8, 10);
        close(low, 0.490_162_47);
        close(high, 0.943_317_8);
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
        assert_eq!(wilson(10, 10)[1], 1.0);
        assert_eq!(wilson(0, 10)[0], 0.0);
    }

    #[test]
    fn recall_at_a_precision() {
        // Down the scores: + + - + - ; precisions 1, 1, 2/3, 3/4, 3/5.
        let scored = vec![(0.9, true), (0.8, true), (0.7, false), (0.6, true), (0.5, false)];
        assert_eq!(recall_at_precision(scored.clone(), 1.0), Some((2.0 / 3.0, 0.8)));
        assert_eq!(recall_at_precision(scored.clone(), 0.75), Some((1.0, 0.6)));
        assert_eq!(recall_at_precision(scored, 0.5), Some((1.0, 0.6)));
        // Equal scores cannot be parted, and nothing reaches precision 1 here.
        assert_eq!(recall_at_precision(vec![(0.5, true), (0.5, false)], 1.0), None);
        assert_eq!(recall_at_precision(Vec::new(), 0.5), None);
    }

    #[test]
    fn the_objective_chooses_the_figure() {
        let (probabilities, labels) = example();
        let ask = |metric, class: Option<&str>, precision| {
            let objective = Objective { metric, class: class.map(String::from), precision, ..Objective::default() };
            metrics(&probabilities, 3, &labels, &objective, &names())
        };
        close(ask(Metric::BalancedAccuracy, None, None).objective, 2.0 / 3.0);
        close(ask(Metric::F1Macro, None, None).objective, (0.8 + 0.5 + 2.0 / 3.0) / 3.0);
        // Scores of b: 0.8+ 0.5- 0.3- 0.3+ 0.2- 0.2-: precision 1 down to 0.8, 1/2 with all found.
        let m = ask(Metric::RecallAtPrecision, Some("b"), Some(0.9));
        close(m.objective, 0.5);
        close(m.threshold.unwrap(), f64::from(0.8f32));
        let m = ask(Metric::RecallAtPrecision, Some("b"), Some(0.5));
        close(m.objective, 1.0);
        close(m.threshold.unwrap(), f64::from(0.3f32));
        close(ask(Metric::RecallAtPrecision, Some("nobody"), Some(0.5)).objective, 0.0);
    }

    #[test]
    fn a_class_without_examples_does_not_count() {
        let m = metrics(&[0.9, 0.1, 0.0, 0.2, 0.8, 0.0], 3, &[0, 1], &Objective::default(), &names());
        close(m.balanced_accuracy, 1.0);
        close(m.f1_macro, 1.0);
        assert_eq!(m.per_class[2].support, 0);
    }

    #[test]
    fn nothing_to_judge() {
        let m = metrics(&[], 3, &[], &Objective::default(), &names());
        assert_eq!((m.accuracy, m.log_loss, m.examples), (0.0, 0.0, 0));
    }

    #[test]
    fn softmax_does_not_overflow() {
        let mut logits = vec![1000.0, 1000.0, 0.0, (2.0f32).ln(), 0.0, 0.0];
        softmax(&mut logits, 3);
        for (got, want) in logits.iter().zip([0.5, 0.5, 0.0, 0.5, 0.25, 0.25]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }
}
