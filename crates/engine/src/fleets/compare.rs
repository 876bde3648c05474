//! Two models' scores for one class on the same examples, compared.

use kindling_models::tasks::image_classification::wilson;
use kindling_search::derive_seed;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 1_000;

/// Examples ranked by a model's score for one class, the surest first.
pub(crate) struct Ranking {
    scores: Vec<f64>,
    order: Vec<usize>,
}

impl Ranking {
    /// `scores` is one number an example.
    pub(crate) fn new(scores: Vec<f64>) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        Self { scores, order }
    }

    /// The average precision: precision summed over the thresholds, each weighted by the recall it adds, equal
    /// scores being one threshold (not interpolated; Zhu 2004). Example `i` counts `weights[i]` times.
    ///
    /// 0 when none is of the class.
    pub(crate) fn average_precision(&self, of_class: &[bool], weights: &[u32]) -> f64 {
        let positives: u64 = of_class.iter().zip(weights).filter(|(is, _)| **is).map(|(_, w)| u64::from(*w)).sum();
        if positives == 0 {
            return 0.0;
        }
        let (mut seen, mut hits, mut told, mut sum) = (0u64, 0u64, 0u64, 0.0);
        for (place, &i) in self.order.iter().enumerate() {
            seen += u64::from(weights[i]);
            hits += u64::from(weights[i]) * u64::from(of_class[i]);
            let tied = self.order.get(place + 1).is_some_and(|&next| self.scores[next] == self.scores[i]);
            if !tied && hits > told {
                sum += (hits - told) as f64 / positives as f64 * (hits as f64 / seen as f64);
                told = hits;
            }
        }
        sum
    }
}

/// Average precision of each ranking over resamples of the examples, drawn with replacement among those of the class
/// and among the rest (stratified bootstrap; Efron & Tibshirani 1993). All rankings see the same resamples, so that
/// their differences are paired. The same for the same seed.
pub(crate) fn bootstrap(rankings: &[&Ranking], of_class: &[bool], seed: u64) -> Vec<Vec<f64>> {
    let strata = [true, false].map(|is| (0..of_class.len()).filter(|&i| of_class[i] == is).collect::<Vec<_>>());
    let mut drawn = 0u64;
    let mut found = vec![Vec::with_capacity(RESAMPLES); rankings.len()];
    let mut weights = vec![0u32; of_class.len()];
    for _ in 0..RESAMPLES {
        weights.fill(0);
        for stratum in strata.iter().filter(|s| !s.is_empty()) {
            for _ in stratum {
                drawn += 1;
                let pick = derive_seed(seed, drawn) % stratum.len() as u64;
                weights[stratum[pick as usize]] += 1;
            }
        }
        for (ranking, found) in rankings.iter().zip(&mut found) {
            found.push(ranking.average_precision(of_class, &weights));
        }
    }
    found
}

/// The middle 95% of the values.
pub(crate) fn middle(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * values.len() as f64).ceil() as usize;
        values.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    };
    [at(0.025), at(0.975)]
}

/// The 95% interval of the difference of two shares on the same examples, first less second, from the counts of
/// examples that are right in both, only the first, only the second, and neither (Newcombe 1998, method 10): honest
/// for few examples and where both are all right.
pub(crate) fn paired_difference(both: u64, first: u64, second: u64, neither: u64) -> [f64; 2] {
    let total = both + first + second + neither;
    if total == 0 {
        return [-1.0, 1.0];
    }
    let n = total as f64;
    let (p1, p2) = ((both + first) as f64 / n, (both + second) as f64 / n);
    let ([l1, u1], [l2, u2]) = (wilson(both + first, total), wilson(both + second, total));
    let [a, b, c, d] = [both, first, second, neither].map(|count| count as f64);
    let product = (a + b) * (c + d) * (a + c) * (b + d);
    let excess = a * d - b * c;
    // Corrected for continuity where the answers go together.
    let excess = if excess > 0.0 { (excess - n / 2.0).max(0.0) } else { excess };
    let phi = if product > 0.0 { excess / product.sqrt() } else { 0.0 };
    let spread = |x: f64, y: f64| (x * x - 2.0 * phi * x * y + y * y).max(0.0).sqrt();
    let difference = p1 - p2;
    [(difference - spread(p1 - l1, u2 - p2)).clamp(-1.0, 1.0), (difference + spread(u1 - p1, p2 - l2)).clamp(-1.0, 1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() < by, "{a} is not {b}");
    }

    #[test]
    fn average_precision_by_hand() {
        // + - + + - : 1/3 * (1 + 2/3 + 3/4).
        let of = [true, false, true, true, false];
        let ranking = Ranking::new(vec![0.9, 0.8, 0.7, 0.6, 0.5]);
        close(ranking.average_precision(&of, &[1; 5]), (1.0 + 2.0 / 3.0 + 3.0 / 4.0) / 3.0, 1e-12);
        // Equal scores are one threshold: all five at once, precision 3/5.
        close(Ranking::new(vec![0.5; 5]).average_precision(&of, &[1; 5]), 0.6, 1e-12);
        // A weight of two is the example twice.
        let twice = Ranking::new(vec![0.9, 0.8, 0.8, 0.7, 0.6, 0.5]);
        let weighted = ranking.average_precision(&of, &[1, 2, 1, 1, 1]);
        close(twice.average_precision(&[true, false, false, true, true, false], &[1; 6]), weighted, 1e-12);
        assert_eq!(ranking.average_precision(&[false; 5], &[1; 5]), 0.0);
    }

    #[test]
    fn the_paired_interval_is_the_published_one() {
        // The airway study of Bentur et al. 2009 (1, 1, 7, 12), a standard example of such tables: -0.507 to -0.026.
        let [low, high] = paired_difference(1, 1, 7, 12);
        close(low, -0.5069, 5e-5);
        close(high, -0.0256, 5e-5);
        // Where the answers go together, the correction counts: computed apart from this code.
        let [low, high] = paired_difference(59, 6, 16, 80);
        close(low, -0.118_621, 1e-6);
        close(high, -0.004_625, 1e-6);
        // Turned round, it is mirrored.
        let [other_low, other_high] = paired_difference(59, 16, 6, 80);
        close(other_low, -high, 1e-12);
        close(other_high, -low, 1e-12);
        let [low, high] = paired_difference(20, 0, 0, 0);
        assert!(low < -0.1 && high > 0.1, "twenty right by both leave much open: {low} {high}");
        assert_eq!(paired_difference(0, 0, 0, 0), [-1.0, 1.0]);
    }

    #[test]
    fn a_bootstrap_is_paired_seeded_and_as_wide_as_the_examples_are_few() {
        let width = |n: usize| {
            let of: Vec<bool> = (0..n).map(|i| i % 2 == 0).collect();
            // The class scores higher on the whole, with much overlap.
            let noise = |i: usize| (derive_seed(1, i as u64) % 1000) as f64 / 1000.0;
            let a = Ranking::new((0..n).map(|i| noise(i) + if of[i] { 0.4 } else { 0.0 }).collect());
            let found = bootstrap(&[&a, &a], &of, 5);
            assert_eq!(found[0], found[1], "both see the same resamples");
            assert_eq!(found[0], bootstrap(&[&a], &of, 5)[0]);
            assert_ne!(found[0], bootstrap(&[&a], &of, 6)[0]);
            let value = a.average_precision(&of, &vec![1; n]);
            let [low, high] = middle(found[0].clone());
            assert!(low < value && value < high, "{low} {value} {high}");
            high - low
        };
        let (few, many) = (width(40), width(640));
        // Four times the root of the number, a quarter of the width.
        assert!((2.0..8.0).contains(&(few / many)), "{few} {many}");
    }
}
