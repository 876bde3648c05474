//! How the next genome is chosen. One file a sampler, one line in [`SAMPLERS`].

mod evolution;
mod random;
mod tpe;
mod unit;

pub use evolution::Evolution;
pub use random::Random;
pub use tpe::Tpe;
pub(crate) use unit::distance;

use crate::Observation;
use kindling_spec::{Genome, SearchSpace};

/// Chooses genomes.
///
/// # Contract
/// - The genome lies in the space ([`SearchSpace::contains`]).
/// - The same arguments give the same genome.
/// - `attempt` counts the suggestions refused so far for this trial (too large, or tried before); another attempt
///   gives another draw.
pub trait Sampler: Sync + Send {
    /// The name in settings.
    fn name(&self) -> &'static str;

    /// A genome for the trial `number`. `None` only for a space without families.
    fn suggest(
        &self,
        space: &SearchSpace,
        history: &[Observation],
        seed: u64,
        number: u32,
        attempt: u32,
    ) -> Option<Genome>;
}

/// Every sampler.
pub static SAMPLERS: &[&dyn Sampler] = &[&Evolution, &Random, &Tpe];

/// The sampler of a name.
pub fn by_name(name: &str) -> Option<&'static dyn Sampler> {
    SAMPLERS.iter().copied().find(|s| s.name() == name)
}
