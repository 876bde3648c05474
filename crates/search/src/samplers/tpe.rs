//! The multivariate tree-structured Parzen estimator (Bergstra et al. 2011; with joint kernels as in
//! Falkner et al. 2018, BOHB).

use super::{Random, Sampler, unit};
use crate::{Observation, derive_seed, rank};
use kindling_spec::{Domain, FamilySpace, Genome, SearchSpace};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Draws near trials that went well and far from those that did not.
///
/// Which are good is told by what each would reach at the highest rung so far.
pub struct Tpe;

/// Trials with a result before anything is concluded from them.
const LEAST_TRIALS: usize = 10;
/// Share of the trials that are called good, and the most of them.
const GOOD_SHARE: f64 = 0.2;
const MOST_GOOD: usize = 25;
/// Draws, of which the one that good trials make most likely against the others is taken.
const CANDIDATES: usize = 24;
/// Share of suggestions drawn at random all the same, so that nothing is ruled out for ever.
const RANDOM_SHARE: f64 = 0.15;
/// A kernel's width before there are many trials, as a share of the domain.
const WIDTH: f64 = 0.2;

impl Sampler for Tpe {
    fn name(&self) -> &'static str {
        "tpe"
    }

    fn suggest(
        &self,
        space: &SearchSpace,
        history: &[Observation],
        seed: u64,
        number: u32,
        attempt: u32,
    ) -> Option<Genome> {
        let stream = (u64::from(number) << 32) | u64::from(attempt);
        let mut rng = ChaCha8Rng::seed_from_u64(derive_seed(seed ^ 0x7065, stream));
        let ranked = rank(history);
        if ranked.len() < LEAST_TRIALS || rng.random::<f64>() < RANDOM_SHARE {
            return Random.suggest(space, history, seed, number, attempt);
        }
        let count = ((ranked.len() as f64 * GOOD_SHARE).ceil() as usize).clamp(2, MOST_GOOD);
        let (good, others) = ranked.split_at(count);
        let models: Vec<Model> = space.families.iter().map(|family| Model::new(family, good, others)).collect();
        let total: f64 = models.iter().map(|model| model.share).sum();
        let mut best: Option<(f64, Genome)> = None;
        for _ in 0..CANDIDATES {
            let mut at = rng.random::<f64>() * total;
            let chosen = models.iter().find(|model| {
                at -= model.share;
                at < 0.0
            });
            let Some(model) = chosen.or(models.last()) else { continue };
            let point = model.good.draw(&mut rng);
            let score = model.good.log_density(&point) - model.others.log_density(&point) + model.log_ratio;
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, model.genome(&point)));
            }
        }
        best.map(|(_, genome)| genome)
    }
}

/// One family's two densities.
struct Model<'a> {
    family: &'a FamilySpace,
    good: Density<'a>,
    others: Density<'a>,
    /// How likely good trials are of this family, not normalised.
    share: f64,
    log_ratio: f64,
}

impl<'a> Model<'a> {
    fn new(family: &'a FamilySpace, good: &[&Observation], others: &[&Observation]) -> Self {
        let points = |trials: &[&Observation]| -> Vec<Vec<f64>> {
            let own = trials.iter().filter(|o| o.genome.family == family.family);
            own.filter_map(|o| {
                let at = |p: &kindling_spec::Param| unit::place(&p.domain, o.genome.params.get(&p.name)?);
                family.params.iter().map(at).collect()
            })
            .collect()
        };
        let (near, far) = (points(good), points(others));
        // One more of each, so that a family without a good trial yet is not given up.
        let share = (near.len() + 1) as f64 / (good.len() + 1) as f64;
        let other = (far.len() + 1) as f64 / (others.len() + 1) as f64;
        Self {
            family,
            good: Density::new(family, near),
            others: Density::new(family, far),
            share,
            log_ratio: (share / other).ln(),
        }
    }

    fn genome(&self, point: &[f64]) -> Genome {
        let params = self.family.params.iter().zip(point);
        let params: BTreeMap<_, _> = params.map(|(p, at)| (p.name.clone(), unit::value(&p.domain, *at))).collect();
        Genome { family: self.family.family.clone(), params }
    }
}

/// A mixture of one product of kernels a trial and the uniform one.
struct Density<'a> {
    family: &'a FamilySpace,
    points: Vec<Vec<f64>>,
    width: f64,
}

impl<'a> Density<'a> {
    fn new(family: &'a FamilySpace, points: Vec<Vec<f64>>) -> Self {
        let count = points.len().max(1) as f64;
        // Scott's rule for so many axes, from a width that is a share of the domain.
        let width = WIDTH * count.powf(-1.0 / (family.params.len() as f64 + 4.0));
        Self { family, points, width }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let centre = self.points.get(rng.random_range(0..=self.points.len()));
        let axes = self.family.params.iter().enumerate();
        axes.map(|(axis, param)| match (centre, &param.domain) {
            (None, _) => rng.random(),
            (Some(centre), Domain::Choice { options }) => match rng.random::<f64>() < self.spill(options.len()) {
                true => rng.random(),
                false => centre[axis],
            },
            (Some(centre), _) => unit::normal_within(centre[axis], self.width, rng),
        })
        .collect()
    }

    /// How much of an option's probability goes to all of them alike (Aitchison and Aitken 1976).
    fn spill(&self, options: usize) -> f64 {
        (self.width * 1.5).min(1.0 - 1.0 / options.max(2) as f64)
    }

    fn log_density(&self, point: &[f64]) -> f64 {
        let kernels = self.points.iter().map(|centre| {
            let axes = self.family.params.iter().zip(centre).zip(point);
            axes.map(|((param, centre), at)| match &param.domain {
                Domain::Choice { options } => {
                    let spill = self.spill(options.len());
                    let count = options.len() as f64;
                    let same = (centre * count) as usize == ((at * count) as usize).min(options.len() - 1);
                    (spill + if same { (1.0 - spill) * count } else { 0.0 }).ln()
                }
                _ => log_normal_within(*at, *centre, self.width),
            })
            .sum::<f64>()
        });
        // The uniform kernel's density is 1 everywhere.
        let logs: Vec<f64> = kernels.chain([0.0]).collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + (logs.iter().map(|log| (log - most).exp()).sum::<f64>() / logs.len() as f64).ln()
    }
}

/// The density of [`unit::normal_within`].
fn log_normal_within(at: f64, centre: f64, width: f64) -> f64 {
    let far = (at - centre) / width;
    let inside = normal_below((1.0 - centre) / width) - normal_below(-centre / width);
    -0.5 * far * far - (width * std::f64::consts::TAU.sqrt() * inside).ln()
}

/// The normal distribution's share below (Abramowitz and Stegun 1964, 7.1.26: within 1.5e-7).
fn normal_below(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let erf = 1.0 - poly * (-x * x).exp();
    if z < 0.0 { 0.5 * (1.0 - erf) } else { 0.5 * (1.0 + erf) }
}
