//! What to try next: samplers choose genomes, pruners choose which trials go on, and the budget
//! says when to stop looking and finish what was found.
//!
//! Knows nothing of clocks, files, tensors or threads: everything is a function of the history, the
//! seed and the seconds it is told are left, so a study can be replayed and run against a simulator.

#![forbid(unsafe_code)]

mod pareto;
mod power_law;
pub mod pruners;
pub mod recorded;
pub mod samplers;
pub mod simulate;
mod study;

pub use pareto::pareto_front;
pub use power_law::{Forecast, Measured, PowerLaw, binomial_variance};
pub use pruners::{PRUNERS, Promotion, Pruner};
pub use samplers::{SAMPLERS, Sampler};
pub use study::{Decision, Moment, Study};

use kindling_spec::{Genome, TrialState};

/// What is known of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Its number in the study, from 0.
    pub number: u32,
    /// What was chosen.
    pub genome: Genome,
    /// Where it stands.
    pub state: TrialState,
    /// The rungs it has finished, in order.
    pub rungs: Vec<Rung>,
}

/// One finished rung of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rung {
    /// Its index, from 0.
    pub index: u32,
    /// Epochs trained in all when it was finished.
    pub epochs: u32,
    /// What trials are compared by ([`score`]); higher is better.
    pub value: f64,
    /// Seconds this rung took.
    pub seconds: f64,
}

impl Observation {
    /// The last finished rung.
    pub fn last(&self) -> Option<&Rung> {
        self.rungs.last()
    }

    /// The best value at any rung, `None` before the first.
    pub fn best(&self) -> Option<f64> {
        self.rungs.iter().map(|r| r.value).filter(|v| v.is_finite()).reduce(f64::max)
    }

    /// Seconds an epoch takes, by its own last rung.
    pub fn seconds_per_epoch(&self) -> Option<f64> {
        let last = self.last()?;
        let before = self.rungs.len().checked_sub(2).and_then(|i| self.rungs.get(i)).map_or(0, |r| r.epochs);
        let epochs = last.epochs.checked_sub(before).filter(|e| *e > 0)?;
        Some(last.seconds / f64::from(epochs))
    }
}

/// What trials are compared by: the objective on the validation split less a share of the cross-entropy there,
/// in units of what guessing costs among so many classes.
///
/// An accuracy over a few hundred examples comes in steps and by luck; the cross-entropy of the same answers tells
/// earlier how good a network will be. In the recorded table (benches/) the rank correlation of the value at two
/// thirds of the ladder with the test accuracy at its top is 0.73 and 0.85 without it and 0.77 and 0.88 with it.
/// A model is still chosen by the objective alone.
pub fn score(objective: f64, log_loss: f64, classes: usize) -> f64 {
    let guessing = (classes.max(2) as f64).ln();
    // A network that is sure of a wrong answer is not worse than one that is far off everywhere.
    objective - LOG_LOSS_SHARE * (log_loss / guessing).clamp(0.0, 2.0)
}

/// See [`score`].
const LOG_LOSS_SHARE: f64 = 0.3;

/// Trials with a result, the best first: by what each would reach at the highest rung so far, which is its last
/// value and for each rung above that the median of what the trials gained there that were trained on.
fn rank(history: &[Observation]) -> Vec<&Observation> {
    let highest = history.iter().filter_map(|o| o.last()).map(|rung| rung.index).max().unwrap_or(0);
    let gains: Vec<f64> = (0..highest)
        .map(|rung| {
            let value = |o: &Observation, rung| o.rungs.iter().find(|r| r.index == rung).map(|r| r.value);
            let gain = |o: &Observation| Some(value(o, rung + 1)? - value(o, rung)?).filter(|g| g.is_finite());
            let mut gains: Vec<f64> = history.iter().filter_map(gain).collect();
            gains.sort_by(f64::total_cmp);
            gains.get(gains.len() / 2).copied().unwrap_or(0.0).max(0.0)
        })
        .collect();
    let mut trials: Vec<(f64, &Observation)> = history
        .iter()
        .filter_map(|o| o.last().map(|rung| (rung.value + gains.iter().skip(rung.index as usize).sum::<f64>(), o)))
        .map(|(value, o)| (if value.is_nan() { f64::NEG_INFINITY } else { value }, o))
        .collect();
    trials.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.number.cmp(&b.1.number)));
    trials.into_iter().map(|(_, o)| o).collect()
}

/// The epochs trained in all at the end of each rung: `first * eta^index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ladder {
    /// Epochs of rung 0, at least 1.
    pub first: u32,
    /// How many times longer each rung is than the one before, at least 2.
    pub eta: u32,
    /// The index of the last rung.
    pub top: u32,
}

impl Ladder {
    /// Epochs in all at the end of a rung; saturates.
    pub fn epochs(&self, index: u32) -> u32 {
        self.first.saturating_mul(self.eta.saturating_pow(index))
    }
}

/// A seed for one purpose, decorrelated from its neighbours (splitmix64, Steele et al. 2014).
pub fn derive_seed(seed: u64, stream: u64) -> u64 {
    let mut z = seed ^ stream.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
