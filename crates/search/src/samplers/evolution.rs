//! Regularised evolution (Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search").

use super::{Random, Sampler, unit};
use crate::{Observation, derive_seed, rank};
use kindling_spec::{Domain, Genome, SearchSpace};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Changes one parameter, sometimes more, of the best of a few trials drawn from the last ones.
pub struct Evolution;

/// The last so many trials with a result may have children.
const POPULATION: usize = 50;
/// Of how many drawn from these the best has one.
const SAMPLE: usize = 10;
/// Trials drawn at random before the first child.
const LEAST_TRIALS: usize = 10;
/// How far a number is moved, as a share of its domain (the deviation of a normal distribution).
const STEP: f64 = 0.2;

impl Sampler for Evolution {
    fn name(&self) -> &'static str {
        "evolution"
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
        let mut rng = ChaCha8Rng::seed_from_u64(derive_seed(seed ^ 0x6576, stream));
        let mut ranked = rank(history);
        // The oldest die, however good they are.
        let mut numbers: Vec<u32> = ranked.iter().map(|o| o.number).collect();
        numbers.sort_unstable();
        let oldest = numbers.len().checked_sub(POPULATION).and_then(|i| numbers.get(i)).copied().unwrap_or(0);
        ranked.retain(|o| o.number >= oldest);
        if ranked.len() < LEAST_TRIALS {
            return Random.suggest(space, history, seed, number, attempt);
        }
        // The best of so many drawn is the first drawn of the ranks.
        let parent = (0..SAMPLE).map(|_| rng.random_range(0..ranked.len())).min()?;
        let mut child = ranked.get(parent)?.genome.clone();
        let family = space.family(&child.family)?;
        loop {
            let param = family.params.get(rng.random_range(0..family.params.len().max(1)))?;
            let at = match (&param.domain, unit::place(&param.domain, child.params.get(&param.name)?)) {
                (Domain::Choice { .. }, _) | (_, None) => rng.random(),
                (_, Some(centre)) => unit::normal_within(centre, STEP, &mut rng),
            };
            child.params.insert(param.name.clone(), unit::value(&param.domain, at));
            if rng.random::<f64>() < 0.5 {
                return Some(child);
            }
        }
    }
}
