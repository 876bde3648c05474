//! How an error falls as something is doubled: `error = a + b n^-c` (Hestness et al., "Deep learning
//! scaling is predictable, empirically", 2017; Hoffmann et al., "Training compute-optimal large language
//! models", 2022), with an interval that knows how little a few noisy points say.
//!
//! Three or four points do not settle three parameters, and a least-squares fit would hide that. The fit
//! here is the whole posterior over a grid of curves, each weighted by how well it explains the points;
//! a prediction is the mixture of what all of them say.

/// A measured error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// How much there was: examples, bytes, seconds. Above 0.
    pub amount: f64,
    /// The error, 0 to 1.
    pub error: f64,
    /// Its variance.
    pub variance: f64,
}

/// A predicted value with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// The mean.
    pub mean: f64,
    /// The lower end of the 95% interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The variance of a share measured on so many examples, of which none need be wrong (Laplace's rule keeps
/// a share of 0 from being taken as certain).
pub fn binomial_variance(share: f64, examples: usize) -> f64 {
    let n = examples as f64;
    let p = (share.clamp(0.0, 1.0) * n + 1.0) / (n + 2.0);
    p * (1.0 - p) / n.max(1.0)
}

/// Exponents searched: a learning curve's lie from a little to about 1, and no curve is flat by assumption
/// since `b` may be 0.
const EXPONENTS: (f64, f64, usize) = (0.1, 1.2, 23);
/// Steps of the error that no amount takes away.
const FLOORS: usize = 41;
/// Steps of the part that falls.
const FALLS: usize = 61;

/// One curve of the posterior.
#[derive(Debug, Clone, Copy)]
struct Curve {
    weight: f64,
    floor: f64,
    /// The falling part at the reference amount.
    fall: f64,
    exponent: f64,
}

/// The curves that explain some points, each with its weight.
#[derive(Debug, Clone)]
pub struct PowerLaw {
    curves: Vec<Curve>,
    /// The largest amount measured: `error = floor + fall (amount / reference)^-exponent`.
    reference: f64,
}

impl PowerLaw {
    /// Fits at least two points of different amounts; `None` of less, or of values that are no numbers.
    ///
    /// The prior is flat in the floor and in the falling part (both from 0 to what the points allow) and in
    /// the exponent from 0.1 to 1.2.
    pub fn fit(points: &[Measured]) -> Option<Self> {
        let sound =
            |p: &Measured| p.amount.is_finite() && p.amount > 0.0 && p.error.is_finite() && p.variance.is_finite();
        let points: Vec<Measured> = points.iter().copied().filter(sound).collect();
        let reference = points.iter().map(|p| p.amount).fold(0.0, f64::max);
        if points.iter().all(|p| p.amount == reference) {
            return None;
        }
        let spread = |p: &Measured| p.variance.max(1e-8).sqrt();
        // What the last point may be at most bounds both parts there.
        let most =
            points.iter().filter(|p| p.amount == reference).map(|p| p.error + 4.0 * spread(p)).fold(0.0, f64::max);
        let most = most.clamp(1e-4, 1.0);
        let mut curves = Vec::with_capacity(FLOORS * FALLS * EXPONENTS.2);
        let mut best = f64::MIN;
        for e in 0..EXPONENTS.2 {
            let exponent = EXPONENTS.0 + (EXPONENTS.1 - EXPONENTS.0) * e as f64 / (EXPONENTS.2 - 1) as f64;
            let factors: Vec<f64> = points.iter().map(|p| (p.amount / reference).powf(-exponent)).collect();
            for floor in (0..FLOORS).map(|i| most * i as f64 / (FLOORS - 1) as f64) {
                for fall in (0..FALLS).map(|i| most * i as f64 / (FALLS - 1) as f64) {
                    let misses = points.iter().zip(&factors).map(|(p, factor)| {
                        let miss = p.error - floor - fall * factor;
                        -0.5 * miss * miss / p.variance.max(1e-8)
                    });
                    let likelihood: f64 = misses.sum();
                    best = best.max(likelihood);
                    curves.push(Curve { weight: likelihood, floor, fall, exponent });
                }
            }
        }
        curves.iter_mut().for_each(|c| c.weight = (c.weight - best).exp());
        // What weighs next to nothing costs time only.
        curves.retain(|c| c.weight > 1e-6);
        let total: f64 = curves.iter().map(|c| c.weight).sum();
        curves.iter_mut().for_each(|c| c.weight /= total);
        Some(Self { curves, reference })
    }

    fn at(&self, curve: &Curve, amount: f64) -> f64 {
        (curve.floor + curve.fall * (amount / self.reference).powf(-curve.exponent)).min(1.0)
    }

    /// The error that will be measured at an amount on so many examples: the interval knows the curve's
    /// uncertainty, the examples' and `noise`, the variance from one training to another.
    pub fn predict(&self, amount: f64, examples: usize, noise: f64) -> Forecast {
        self.mixture(|curve| {
            let error = self.at(curve, amount);
            (error, (binomial_variance(error, examples) + noise.max(0.0)).sqrt())
        })
        .clamped(0.0, 1.0)
    }

    /// By how much the error falls from one amount to a larger; never below 0, since no curve rises.
    pub fn gain(&self, from: f64, to: f64) -> Forecast {
        self.mixture(|curve| (self.at(curve, from) - self.at(curve, to), 0.0)).clamped(0.0, 1.0)
    }

    /// Mean and 95% interval of a mixture of normals.
    fn mixture(&self, part: impl Fn(&Curve) -> (f64, f64)) -> Forecast {
        let parts: Vec<(f64, f64, f64)> = self
            .curves
            .iter()
            .map(|curve| {
                let (mean, deviation) = part(curve);
                (curve.weight, mean, deviation.max(1e-9))
            })
            .collect();
        let mean = parts.iter().map(|(w, m, _)| w * m).sum();
        let below = |x: f64| parts.iter().map(|(w, m, s)| w * normal_below((x - m) / s)).sum::<f64>();
        let quantile = |share: f64| {
            let (mut low, mut high) = (-2.0, 3.0);
            for _ in 0..40 {
                let middle = (low + high) / 2.0;
                if below(middle) < share { low = middle } else { high = middle }
            }
            (low + high) / 2.0
        };
        Forecast { mean, low: quantile(0.025), high: quantile(0.975) }
    }
}

impl Forecast {
    fn clamped(self, low: f64, high: f64) -> Self {
        let keep = |v: f64| v.clamp(low, high);
        Self { mean: keep(self.mean), low: keep(self.low), high: keep(self.high) }
    }
}

/// The standard normal distribution function, to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
fn normal_below(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let erf = 1.0 - poly * (-x * x).exp();
    if z < 0.0 { (1.0 - erf) / 2.0 } else { (1.0 + erf) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rng(u64);

    impl Rng {
        fn unit(&mut self) -> f64 {
            self.0 += 1;
            (crate::derive_seed(5, self.0) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// Errors as a validation split and the luck of training would give them.
    fn draw(rng: &mut Rng, truth: f64, examples: usize, noise: f64) -> f64 {
        let normal =
            |rng: &mut Rng| (-2.0 * rng.unit().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * rng.unit()).cos();
        let p = (truth + noise.sqrt() * normal(rng)).clamp(0.0, 1.0);
        (0..examples).filter(|_| rng.unit() < p).count() as f64 / examples as f64
    }

    #[test]
    fn the_normal_distribution_is_right() {
        for (z, share) in [(0.0, 0.5), (1.0, 0.841_344_7), (-1.959_964, 0.025), (3.0, 0.998_650_1)] {
            assert!((normal_below(z) - share).abs() < 1e-6, "{z}");
        }
    }

    #[test]
    fn a_curve_known_exactly_is_found_again() {
        for (a, b, c) in [(0.05, 0.8, 0.5), (0.0, 0.5, 0.3), (0.1, 3.0, 0.8)] {
            let truth = |n: f64| a + b * n.powf(-c);
            let points: Vec<_> = [50.0, 100.0, 200.0, 400.0, 800.0]
                .map(|n| Measured { amount: n, error: truth(n), variance: 1e-6 })
                .into();
            let law = PowerLaw::fit(&points).unwrap();
            let found = law.predict(1600.0, 1_000_000, 0.0);
            assert!((found.mean - truth(1600.0)).abs() < 0.01, "{a} {b} {c}: {found:?} {}", truth(1600.0));
            let gain = law.gain(800.0, 1600.0);
            assert!((gain.mean - (truth(800.0) - truth(1600.0))).abs() < 0.01, "{gain:?}");
            assert!(gain.low <= gain.mean && gain.mean <= gain.high);
        }
    }

    #[test]
    fn a_flat_curve_promises_little() {
        let points: Vec<_> = [100.0, 200.0, 400.0]
            .map(|n| Measured { amount: n, error: 0.2, variance: binomial_variance(0.2, 2000) })
            .into();
        let gain = PowerLaw::fit(&points).unwrap().gain(400.0, 800.0);
        assert!(gain.mean < 0.02 && gain.low < 0.004, "{gain:?}");
    }

    #[test]
    fn what_is_no_curve_is_none() {
        let point = Measured { amount: 100.0, error: 0.2, variance: 0.001 };
        assert!(PowerLaw::fit(&[]).is_none());
        assert!(PowerLaw::fit(&[point, point]).is_none(), "one amount");
        assert!(PowerLaw::fit(&[point, Measured { amount: 200.0, error: f64::NAN, variance: 0.1 }]).is_none());
        let perfect =
            [100.0, 200.0].map(|amount| Measured { amount, error: 0.0, variance: binomial_variance(0.0, 100) });
        let found = PowerLaw::fit(&perfect).unwrap().predict(400.0, 100, 0.0);
        assert!(found.low >= 0.0 && found.high < 0.1, "{found:?}");
    }

    /// Of many studies whose truth is known, the interval at twice the data holds what is then measured
    /// about as often as it says.
    #[test]
    fn the_interval_holds_what_is_measured_later() {
        let mut rng = Rng(0);
        let (mut held, mut widths, studies) = (0, 0.0, 200);
        for _ in 0..studies {
            let (a, c) = (0.15 * rng.unit(), 0.25 + 0.65 * rng.unit());
            // At the full amount the falling part is 3 to 20 points.
            let fall = 0.03 + 0.17 * rng.unit();
            let truth = |n: f64| (a + fall * (n / 800.0).powf(-c)).min(0.95);
            let (examples, noise) = (300, 0.0001);
            let points: Vec<_> = [200.0, 400.0, 800.0]
                .into_iter()
                .map(|n| {
                    let error = draw(&mut rng, truth(n), examples, noise);
                    Measured { amount: n, error, variance: binomial_variance(error, examples) + noise }
                })
                .collect();
            let found = PowerLaw::fit(&points).unwrap().predict(1600.0, examples, noise);
            let later = draw(&mut rng, truth(1600.0), examples, noise);
            held += u32::from((found.low..=found.high).contains(&later));
            widths += found.high - found.low;
        }
        let (share, width) = (f64::from(held) / f64::from(studies), widths / f64::from(studies));
        eprintln!("held {share:.3}, mean width {width:.3}");
        assert!((0.9..=1.0).contains(&share), "{share}");
        assert!(width < 0.2, "an interval of everything holds everything: {width}");
    }
}
