//! Independent uniform draws (Bergstra & Bengio 2012, "Random Search for Hyper-Parameter
//! Optimization").

use super::{Sampler, unit};
use crate::{Observation, derive_seed};
use kindling_spec::{Genome, SearchSpace};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Uniform in each parameter, in its logarithm where the domain says so.
pub struct Random;

impl Sampler for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn suggest(
        &self,
        space: &SearchSpace,
        _history: &[Observation],
        seed: u64,
        number: u32,
        attempt: u32,
    ) -> Option<Genome> {
        let stream = (u64::from(number) << 32) | u64::from(attempt);
        let mut rng = ChaCha8Rng::seed_from_u64(derive_seed(seed, stream));
        let family = space.families.get(rng.random_range(0..space.families.len().max(1)))?;
        let params = family.params.iter().map(|p| (p.name.clone(), unit::value(&p.domain, rng.random()))).collect();
        Some(Genome { family: family.family.clone(), params })
    }
}
