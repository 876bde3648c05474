//! Telling pictures of none of the classes from those of one: four scores, higher for what is more likely known.

use serde::{Deserialize, Serialize};

/// A way to score how well a picture is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// The greatest probability (Hendrycks and Gimpel 2017).
    MaxSoftmax,
    /// Logarithm of the sum of the logits' exponentials (Liu et al. 2020).
    Energy,
    /// Squared distance to the nearest class's mean in the features, with one covariance for all (Lee et al. 2018), negated.
    Mahalanobis,
    /// How badly a linear decoder re-creates the features from the logits, negated: a classifier that has seen the like keeps
    /// what there was to see (after the self-consistency of Ma, Tsao and Shum 2022).
    Recreation,
}

impl Score {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MaxSoftmax, Self::Energy, Self::Mahalanobis, Self::Recreation];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxSoftmax => "max softmax",
            Self::Energy => "energy",
            Self::Mahalanobis => "Mahalanobis",
            Self::Recreation => "re-creation",
        }
    }
}

/// What a network makes of pictures on its way: the features its last layer reads, and the logits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// `[N, features]`.
    pub features: Vec<f32>,
    /// `[N, classes]`.
    pub logits: Vec<f32>,
    /// N.
    pub count: usize,
}

impl Seen {
    fn feature_rows(&self) -> impl Iterator<Item = &[f32]> {
        self.features.chunks_exact((self.features.len() / self.count.max(1)).max(1))
    }

    fn logit_rows(&self) -> impl Iterator<Item = &[f32]> {
        self.logits.chunks_exact((self.logits.len() / self.count.max(1)).max(1))
    }
}

/// What the scores need to know of the training pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// `[features]` each: features are standardised by these first.
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// `[classes][features]`.
    centres: Vec<Vec<f64>>,
    /// Of the covariance within classes, the lower triangle of its Cholesky factor, `[features, features]`.
    factor: Vec<f64>,
    /// From the logits and 1 to the features, `[classes + 1][features]`.
    decoder: Vec<Vec<f64>>,
}

/// Added to the diagonal of what is inverted, in units of a standardised feature's variance.
const RIDGE: f64 = 0.05;

impl Known {
    /// Fits means, covariance and decoder to pictures of the classes.
    ///
    /// # Shapes
    /// `labels` `[N]`, below `classes`. None if there are fewer than two pictures or no features.
    pub fn fit(seen: &Seen, labels: &[usize], classes: usize) -> Option<Self> {
        let features = seen.features.len() / seen.count.max(1);
        if seen.count < 2 || labels.len() != seen.count || features == 0 || labels.iter().any(|l| *l >= classes) {
            return None;
        }
        let n = seen.count as f64;
        let moment = |of: &dyn Fn(f64, usize) -> f64| -> Vec<f64> {
            let mut sums = vec![0.0; features];
            for row in seen.feature_rows() {
                sums.iter_mut().zip(row).enumerate().for_each(|(k, (sum, x))| *sum += of(f64::from(*x), k));
            }
            sums.iter().map(|sum| sum / n).collect()
        };
        let mean = moment(&|x, _| x);
        let scale: Vec<f64> = moment(&|x, k| (x - mean[k]).powi(2)).iter().map(|v| 1.0 / (v.sqrt() + 1e-6)).collect();
        let rows: Vec<Vec<f64>> = seen.feature_rows().map(|row| standardise(row, &mean, &scale)).collect();

        let mut centres = vec![vec![0.0; features]; classes];
        let mut counts = vec![0.0f64; classes];
        for (row, label) in rows.iter().zip(labels) {
            counts[*label] += 1.0;
            centres[*label].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        for (centre, count) in centres.iter_mut().zip(&counts) {
            centre.iter_mut().for_each(|sum| *sum /= count.max(1.0));
        }
        let mut covariance = vec![0.0; features * features];
        for (row, label) in rows.iter().zip(labels) {
            let away: Vec<f64> = row.iter().zip(&centres[*label]).map(|(x, c)| x - c).collect();
            for i in 0..features {
                for j in 0..=i {
                    covariance[i * features + j] += away[i] * away[j] / n;
                }
            }
        }
        let factor = cholesky(covariance, features);

        // Ridge regression of the features on the logits.
        let width = seen.logits.len() / seen.count + 1;
        let codes: Vec<Vec<f64>> =
            seen.logit_rows().map(|row| row.iter().map(|z| f64::from(*z)).chain([1.0]).collect()).collect();
        let mut gram = vec![0.0; width * width];
        let mut right = vec![vec![0.0; features]; width];
        for (code, row) in codes.iter().zip(&rows) {
            for i in 0..width {
                for j in 0..=i {
                    gram[i * width + j] += code[i] * code[j] / n;
                }
                right[i].iter_mut().zip(row).for_each(|(sum, x)| *sum += code[i] * x / n);
            }
        }
        let gram = cholesky(gram, width);
        let mut decoder = right;
        for feature in 0..features {
            let column: Vec<f64> = decoder.iter().map(|row| row[feature]).collect();
            let solved = solve_transposed(&gram, width, solve(&gram, width, column));
            decoder.iter_mut().zip(solved).for_each(|(row, value)| row[feature] = value);
        }
        Some(Self { mean, scale, centres, factor, decoder })
    }

    /// Scores pictures, `[N]`.
    pub fn scores(&self, seen: &Seen, score: Score) -> Vec<f64> {
        seen.feature_rows()
            .zip(seen.logit_rows())
            .map(|(features, logits)| self.score(features, logits, score))
            .collect()
    }

    fn score(&self, features: &[f32], logits: &[f32], score: Score) -> f64 {
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|z| f64::from(z - greatest).exp()).sum();
        match score {
            Score::MaxSoftmax => 1.0 / sum,
            Score::Energy => f64::from(greatest) + sum.ln(),
            Score::Mahalanobis => {
                let row = standardise(features, &self.mean, &self.scale);
                let distance = |centre: &Vec<f64>| -> f64 {
                    let away = row.iter().zip(centre).map(|(x, c)| x - c).collect();
                    solve(&self.factor, row.len(), away).iter().map(|v| v * v).sum()
                };
                -self.centres.iter().map(distance).fold(f64::INFINITY, f64::min)
            }
            Score::Recreation => {
                let row = standardise(features, &self.mean, &self.scale);
                let code = logits.iter().map(|z| f64::from(*z)).chain([1.0]);
                let mut left = row;
                for (z, weights) in code.zip(&self.decoder) {
                    left.iter_mut().zip(weights).for_each(|(x, w)| *x -= z * w);
                }
                -left.iter().map(|x| x * x).sum::<f64>()
            }
        }
    }
}

fn standardise(row: &[f32], mean: &[f64], scale: &[f64]) -> Vec<f64> {
    row.iter().zip(mean).zip(scale).map(|((x, mean), scale)| (f64::from(*x) - mean) * scale).collect()
}

/// The lower factor of a symmetric matrix given by its lower triangle, a ridge added.
fn cholesky(mut matrix: Vec<f64>, n: usize) -> Vec<f64> {
    for i in 0..n {
        for j in 0..=i {
            let before: f64 = (0..j).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
            let left = matrix[i * n + j] - before;
            matrix[i * n + j] = if i == j { (left + RIDGE).max(1e-12).sqrt() } else { left / matrix[j * n + j] };
        }
    }
    matrix
}

/// `L x = b`.
fn solve(factor: &[f64], n: usize, mut b: Vec<f64>) -> Vec<f64> {
    for i in 0..n {
        let before: f64 = (0..i).map(|k| factor[i * n + k] * b[k]).sum();
        b[i] = (b[i] - before) / factor[i * n + i];
    }
    b
}

/// `Lᵀ x = b`.
fn solve_transposed(factor: &[f64], n: usize, mut b: Vec<f64>) -> Vec<f64> {
    for i in (0..n).rev() {
        let after: f64 = (i + 1..n).map(|k| factor[k * n + i] * b[k]).sum();
        b[i] = (b[i] - after) / factor[i * n + i];
    }
    b
}

/// The chance that a known picture scores higher than an unknown one, ties counted half: the area under the receiver operating
/// characteristic. None without both.
pub fn auroc(known: &[f64], unknown: &[f64]) -> Option<f64> {
    if known.is_empty() || unknown.is_empty() {
        return None;
    }
    let mut all: Vec<(f64, bool)> =
        known.iter().map(|s| (*s, true)).chain(unknown.iter().map(|s| (*s, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins, mut at) = (0.0, 0.0, 0);
    while at < all.len() {
        let end = at + all[at..].iter().take_while(|(score, _)| *score == all[at].0).count();
        let here = all[at..end].iter().filter(|(_, known)| *known).count() as f64;
        let others = (end - at) as f64 - here;
        wins += here * (below + others / 2.0);
        below += others;
        at = end;
    }
    Some(wins / (known.len() as f64 * unknown.len() as f64))
}

/// The score that all but a share of the known pictures reach.
pub fn threshold(known: &[f64], refused: f64) -> Option<f64> {
    let mut sorted = known.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(((sorted.len() as f64 * refused) as usize).min(sorted.len().checked_sub(1)?)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand() {
        assert_eq!(auroc(&[3.0, 2.0], &[1.0, 0.0]), Some(1.0));
        assert_eq!(auroc(&[0.0], &[1.0]), Some(0.0));
        assert_eq!(auroc(&[1.0], &[1.0]), Some(0.5));
        // Of six pairs: 3 > all of 2, 1, 2.5 (3 wins); 2 > 1 (1), 2 = 2 (1/2), 2 < 2.5.
        assert_eq!(auroc(&[3.0, 2.0], &[2.0, 1.0, 2.5]), Some(4.5 / 6.0));
        assert_eq!(auroc(&[], &[1.0]), None);
        assert_eq!(threshold(&[5.0, 1.0, 3.0, 2.0, 4.0], 0.2), Some(2.0));
        assert_eq!(threshold(&[], 0.05), None);
    }

    /// Two classes along the first feature, noise in the second, nothing in the third.
    fn seen(count: usize, at: impl Fn(usize) -> [f32; 3]) -> Seen {
        let rows: Vec<[f32; 3]> = (0..count).map(at).collect();
        let logits = rows.iter().flat_map(|row| [row[0] * 2.0, -row[0] * 2.0]).collect();
        Seen { features: rows.concat(), logits, count }
    }

    #[test]
    fn what_lies_off_the_classes_is_found_by_what_looks_at_features() {
        let noise = |i: usize, k: usize| ((i * 7919 + k * 104_729) % 1000) as f32 / 500.0 - 1.0;
        let side = |i: usize| if i.is_multiple_of(2) { 2.0 } else { -2.0 };
        let known = |i: usize| [side(i) + noise(i, 1) * 0.3, noise(i, 2), noise(i, 3) * 0.1];
        let train = seen(200, known);
        let labels: Vec<usize> = (0..200).map(|i| i % 2).collect();
        let fitted = Known::fit(&train, &labels, 2).unwrap();
        let test = seen(100, |i| known(i + 1000));
        // As sure as the known ones, far off in the third feature.
        let odd = seen(100, |i| [side(i), noise(i, 5), 3.0]);
        let area = |score| auroc(&fitted.scores(&test, score), &fitted.scores(&odd, score)).unwrap();
        assert!(area(Score::Mahalanobis) > 0.999 && area(Score::Recreation) > 0.999);
        assert!((0.3..0.7).contains(&area(Score::MaxSoftmax)));
        // In between the classes: the probabilities tell.
        let between = seen(100, |i| [noise(i, 6) * 0.3, noise(i, 7), noise(i, 8) * 0.1]);
        for score in [Score::MaxSoftmax, Score::Energy, Score::Mahalanobis] {
            assert!(auroc(&fitted.scores(&test, score), &fitted.scores(&between, score)).unwrap() > 0.99, "{score:?}");
        }
        assert!(Known::fit(&train, &labels[..3], 2).is_none());
        assert!(Known::fit(&Seen::default(), &[], 2).is_none());
    }

    #[test]
    fn a_factor_gives_the_matrix_back() {
        let factor = cholesky(vec![4.0, 0.0, 2.0, 3.0], 2);
        let x = solve_transposed(&factor, 2, solve(&factor, 2, vec![1.0, 2.0]));
        // (4.05 2; 2 3.05) x = (1, 2).
        assert!((4.05 * x[0] + 2.0 * x[1] - 1.0).abs() < 1e-12 && (2.0 * x[0] + 3.05 * x[1] - 2.0).abs() < 1e-12);
    }
}
