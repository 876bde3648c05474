//! Hyperband (Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization"),
//! asynchronous: its brackets run beside each other, each halved as [`super::Asha`] does.

use super::{Promotion, Pruner, asha::promote};
use crate::{Ladder, Observation};

/// Most trials start at the first rung; some start higher, so that one that learns slowly is not judged by
/// how it began.
pub struct Hyperband;

/// The highest rung that a trial starts at.
const HIGHEST: u32 = 2;

impl Hyperband {
    /// The bracket of a trial: the rung it starts at. Each bracket's share of the trials is the paper's,
    /// `eta^s / (s + 1)` where `s` rungs are above its first.
    fn bracket(number: u32, ladder: &Ladder) -> u32 {
        let highest = HIGHEST.min(ladder.top);
        let share = |rung: u32| {
            let above = ladder.top - rung;
            f64::from(ladder.eta.max(2)).powi(above as i32) / f64::from(above + 1)
        };
        let total: f64 = (0..=highest).map(share).sum();
        // Multiples of the golden ratio fall evenly over the unit interval, in any stretch of them.
        let mut at = (f64::from(number) * 0.618_033_988_749_894_9).fract() * total;
        (0..highest)
            .find(|rung| {
                at -= share(*rung);
                at < 0.0
            })
            .unwrap_or(highest)
    }
}

impl Pruner for Hyperband {
    fn name(&self) -> &'static str {
        "hyperband"
    }

    fn first_rung(&self, number: u32, ladder: &Ladder) -> u32 {
        Self::bracket(number, ladder)
    }

    fn next(&self, history: &[Observation], ladder: &Ladder) -> Option<Promotion> {
        (0..=HIGHEST.min(ladder.top))
            .find_map(|bracket| promote(history, ladder, |o| Self::bracket(o.number, ladder) == bracket))
    }
}
