//! The decision a study takes whenever a worker is free.

use crate::{Ladder, Observation, Pruner, Sampler, derive_seed, rank};
use kindling_spec::{Genome, SearchSpace, TrialState};

/// A study's settings; its history is passed in.
pub struct Study<'a> {
    /// What may be chosen.
    pub space: &'a SearchSpace,
    /// Genomes known to be good, tried first and in this order.
    pub portfolio: &'a [Genome],
    /// Chooses genomes after those.
    pub sampler: &'a dyn Sampler,
    /// Chooses who goes on.
    pub pruner: &'a dyn Pruner,
    /// The rungs.
    pub ladder: Ladder,
    /// Seeds the sampler and each trial.
    pub seed: u64,
    /// The genome if it meets the limits that can be known without training, else one near it that does; given
    /// the trials so far, so that it may be one that was not tried.
    pub fit: &'a dyn Fn(Genome, &[Observation]) -> Option<Genome>,
}

/// What is left of the budget when a decision is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Trials that may still be started; `None` without such a limit.
    pub trials_left: Option<u32>,
    /// Seconds left for training (the time kept for export already taken off); `None` without such a limit.
    pub seconds_left: Option<f64>,
    /// The whole budget of seconds.
    pub seconds_total: Option<f64>,
}

/// What a free worker should do.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Start a trial.
    Start {
        /// Its number.
        number: u32,
        /// Its genome.
        genome: Genome,
        /// The rung it is trained to.
        rung: u32,
        /// Its seed.
        seed: u64,
        /// Epochs to train.
        target_epochs: u32,
    },
    /// Train a paused trial further.
    Promote {
        /// Its number.
        number: u32,
        /// The rung it goes to.
        to: u32,
        /// Epochs in all to train to.
        target_epochs: u32,
    },
    /// Nothing now; something may follow when a running trial ends.
    Wait,
    /// Nothing will follow: once no trial runs, the study is over.
    Finished,
}

/// The most of the budget that is kept for training the best trials found to the top of the ladder. The rest
/// goes to finding them.
const CLOSING_SHARE: f64 = 0.65;
/// How many of the best are trained to the top at the end.
const FINALISTS: usize = 2;
/// Draws before a trial's genome is given up.
const MAX_ATTEMPTS: u32 = 2_000;
/// A last stretch must add at least this share of the epochs already done, or a restart only does harm.
const LEAST_GAIN: f64 = 0.3;
/// Estimates of an epoch's length are taken this much longer, because a late model is no model.
const CAUTION: f64 = 1.08;

impl Study<'_> {
    /// Decides, given every trial so far.
    pub fn decide(&self, history: &[Observation], moment: &Moment) -> Decision {
        let seconds = moment.seconds_left.unwrap_or(f64::INFINITY);
        let total = moment.seconds_total.unwrap_or(f64::INFINITY);
        let closing = self.is_closing(history, seconds, total);
        if closing && let Some(promotion) = self.close(history, seconds) {
            return promotion;
        }
        if let Some(p) = self.pruner.next(history, &self.ladder)
            && let Some(target_epochs) = self.reach(history, p.number, self.ladder.epochs(p.to), seconds)
        {
            return Decision::Promote { number: p.number, to: p.to, target_epochs };
        }
        let number = history.len() as u32;
        let mut rung = self.pruner.first_rung(number, &self.ladder);
        // A trial that the time left would not let finish is not begun; a shorter one may be.
        while rung > 0 && self.rung_seconds(history, rung) > seconds {
            rung -= 1;
        }
        if moment.trials_left != Some(0)
            && seconds > 0.0
            && self.rung_seconds(history, rung) <= seconds
            && let Some(genome) = self.sample(history)
        {
            let seed = derive_seed(self.seed, u64::from(number));
            return Decision::Start { number, genome, rung, seed, target_epochs: self.ladder.epochs(rung) };
        }
        if seconds.is_finite() {
            let busy = history.iter().any(|o| matches!(o.state, TrialState::Waiting | TrialState::Running));
            return self.close(history, seconds).unwrap_or(if busy { Decision::Wait } else { Decision::Finished });
        }
        self.climb(history)
    }

    /// Whether the time left is only what the best trials need to climb to the top.
    fn is_closing(&self, history: &[Observation], seconds: f64, total: f64) -> bool {
        let top = self.ladder.epochs(self.ladder.top);
        let needed = best_first(history).take(FINALISTS).filter_map(|o| {
            let epochs = top.saturating_sub(o.last()?.epochs);
            Some(f64::from(epochs) * o.seconds_per_epoch()? * CAUTION)
        });
        let needed = needed.reduce(f64::max);
        seconds.is_finite() && needed.is_some_and(|needed| seconds <= needed.min(total * CLOSING_SHARE))
    }

    /// What a trial to a rung would take at most, by what was seen of others; 0 before anything was.
    fn rung_seconds(&self, history: &[Observation], rung: u32) -> f64 {
        let slowest = history.iter().filter_map(Observation::seconds_per_epoch).reduce(f64::max);
        slowest.map_or(0.0, |each| each * CAUTION * f64::from(self.ladder.epochs(rung)))
    }

    /// With no clock running, the best paused trial climbs the rest of the ladder.
    fn climb(&self, history: &[Observation]) -> Decision {
        if history.iter().any(|o| matches!(o.state, TrialState::Waiting | TrialState::Running)) {
            return Decision::Wait;
        }
        let best = best_first(history).next();
        match best.and_then(|o| o.last().map(|r| (o, r.index + 1))) {
            Some((o, to)) if o.state == TrialState::Paused && to <= self.ladder.top => {
                Decision::Promote { number: o.number, to, target_epochs: self.ladder.epochs(to) }
            }
            _ => Decision::Finished,
        }
    }

    /// Of the best trials one that is not running and not at the top gets the time that is left, at most to the
    /// top, as one annealed cycle.
    fn close(&self, history: &[Observation], seconds: f64) -> Option<Decision> {
        let top = self.ladder.epochs(self.ladder.top);
        best_first(history).take(FINALISTS).filter(|o| o.state == TrialState::Paused).find_map(|o| {
            let to = o.last()?.index + 1;
            let target_epochs = self.reach(history, o.number, top, seconds)?;
            Some(Decision::Promote { number: o.number, to, target_epochs })
        })
    }

    /// How far the trial can be trained in the time left, at most to `wanted` epochs; `None` when
    /// that would gain too little.
    fn reach(&self, history: &[Observation], number: u32, wanted: u32, seconds: f64) -> Option<u32> {
        let trial = history.iter().find(|o| o.number == number)?;
        let done = trial.last()?.epochs;
        let each = trial.seconds_per_epoch()? * CAUTION;
        let possible = if seconds.is_finite() { (seconds.max(0.0) / each.max(1e-9)).floor() } else { f64::INFINITY };
        let extra = possible.min(f64::from(wanted.saturating_sub(done))) as u32;
        let least = (f64::from(done) * LEAST_GAIN).ceil().max(1.0) as u32;
        (extra >= least).then_some(done.saturating_add(extra))
    }

    /// The portfolio's next genome, then the sampler's; each within the limits and none tried before.
    fn sample(&self, history: &[Observation]) -> Option<Genome> {
        let number = history.len() as u32;
        let sampled = (0..MAX_ATTEMPTS)
            .filter_map(|attempt| self.sampler.suggest(self.space, history, self.seed, number, attempt));
        let candidates = self.portfolio.iter().cloned().chain(sampled);
        candidates
            .filter_map(|genome| (self.fit)(genome, history))
            .find(|genome| !history.iter().any(|o| o.genome == *genome))
    }
}

/// Trials that were not given up, the most promising first. Compared by what they have reached, those that were
/// trained longer would seem better.
fn best_first(history: &[Observation]) -> impl Iterator<Item = &Observation> {
    rank(history)
        .into_iter()
        .filter(|o| !matches!(o.state, TrialState::Failed | TrialState::Pruned) && o.best().is_some())
}
