//! Asynchronous successive halving (Li et al. 2018, "A System for Massively Parallel
//! Hyperparameter Tuning", algorithm 2).

use super::{Promotion, Pruner};
use crate::{Ladder, Observation};
use kindling_spec::TrialState;

/// From the highest rung down, promotes a trial that is among the best `1/eta` of those that have
/// finished the rung and has not been promoted yet.
pub struct Asha;

impl Pruner for Asha {
    fn name(&self) -> &'static str {
        "asha"
    }

    fn next(&self, history: &[Observation], ladder: &Ladder) -> Option<Promotion> {
        promote(history, ladder, |_| true)
    }
}

/// The same among the trials that `compete` with each other.
pub(super) fn promote(
    history: &[Observation],
    ladder: &Ladder,
    compete: impl Fn(&Observation) -> bool,
) -> Option<Promotion> {
    (0..ladder.top).rev().find_map(|rung| {
        let competing = history.iter().filter(|o| compete(o));
        let mut finished: Vec<(f64, &Observation)> =
            competing.filter_map(|o| o.rungs.iter().find(|r| r.index == rung).map(|r| (r.value, o))).collect();
        // Best first; a value that is not a number is worst; the earlier trial wins a tie.
        let key = |v: f64| if v.is_nan() { f64::NEG_INFINITY } else { v };
        finished.sort_by(|a, b| key(b.0).total_cmp(&key(a.0)).then(a.1.number.cmp(&b.1.number)));
        let places = finished.len() / ladder.eta.max(2) as usize;
        finished[..places]
            .iter()
            .find(|(_, o)| o.state == TrialState::Paused && o.last().is_some_and(|r| r.index == rung))
            .map(|(_, o)| Promotion { number: o.number, to: rung + 1 })
    })
}
