//! Independent uniform draws (Bergstra & Bengio 2012, "Random Search for Hyper-Parameter
//! Optimization").

use super::Sampler;
use crate::{Observation, derive_seed};
use kindling_spec::{Domain, Genome, SearchSpace, Value};
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
        let params = family.params.iter().map(|p| (p.name.clone(), draw(&p.domain, &mut rng))).collect();
        Some(Genome { family: family.family.clone(), params })
    }
}

fn draw(domain: &Domain, rng: &mut ChaCha8Rng) -> Value {
    let real = |low: f64, high: f64, log: bool, u: f64| {
        let value = if log { (low.ln() + u * (high.ln() - low.ln())).exp() } else { low + u * (high - low) };
        value.clamp(low, high)
    };
    match domain {
        Domain::Int { low, high, log: false } => Value::Int(rng.random_range(*low..=*high)),
        Domain::Int { low, high, log: true } => {
            // Half a step on each side, so that the ends are as likely as their neighbours.
            let value = real(*low as f64 - 0.5, *high as f64 + 0.5, true, rng.random());
            Value::Int((value.round() as i64).clamp(*low, *high))
        }
        Domain::Float { low, high, log } => Value::Float(real(*low, *high, *log, rng.random())),
        Domain::Choice { options } => options[rng.random_range(0..options.len())].clone(),
    }
}
