//! Nobody is pruned: every trial climbs the whole ladder before the next is started.

use super::{Promotion, Pruner};
use crate::{Ladder, Observation};
use kindling_spec::TrialState;

/// Promotes whoever is paused, the earliest first.
pub struct Never;

impl Pruner for Never {
    fn name(&self) -> &'static str {
        "none"
    }

    fn next(&self, history: &[Observation], ladder: &Ladder) -> Option<Promotion> {
        history.iter().filter(|o| o.state == TrialState::Paused).find_map(|o| {
            let to = o.last()?.index + 1;
            (to <= ladder.top).then_some(Promotion { number: o.number, to })
        })
    }
}
