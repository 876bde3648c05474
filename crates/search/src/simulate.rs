//! Studies against an objective that is computed instead of trained: no network and no clock, so that
//! samplers and pruners are compared over many seeds in seconds.

use crate::{Decision, Moment, Observation, Rung, Study};
use kindling_spec::{Genome, TrialState};

/// What stands in for training.
pub trait Objective {
    /// The value after so many epochs in all; higher is better. The same for the same arguments.
    fn value(&self, genome: &Genome, epochs: u32) -> f64;
    /// What trials are compared by, if not by the value itself.
    fn score(&self, genome: &Genome, epochs: u32) -> f64 {
        self.value(genome, epochs)
    }
    /// Seconds one epoch takes.
    fn epoch_seconds(&self, genome: &Genome) -> f64;
}

/// How a simulated study ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Trials at a time.
    pub workers: usize,
    /// Seconds of the budget.
    pub seconds: Option<f64>,
    /// Trials of the budget.
    pub trials: Option<u32>,
}

/// Who was the best when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Incumbent {
    /// From when.
    pub seconds: f64,
    /// Its value.
    pub value: f64,
    /// The trial's number.
    pub number: u32,
    /// Epochs it was trained for.
    pub epochs: u32,
}

/// What a simulated study did.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Every trial.
    pub history: Vec<Observation>,
    /// When the last result came.
    pub seconds: f64,
    /// Every decision, in order.
    pub decisions: Vec<Decision>,
    /// Each time the best value so far rose.
    pub best: Vec<Incumbent>,
}

impl Outcome {
    /// The best at a time, `None` before the first result.
    pub fn best_at(&self, seconds: f64) -> Option<&Incumbent> {
        self.best.iter().take_while(|best| best.seconds <= seconds).last()
    }
}

/// Runs a study to its end, with workers that take what they are given.
///
/// # Panics
/// If the study promotes a trial that is not paused, trains one backwards, waits for nothing, or never
/// ends: each breaks the contract of a sampler or pruner.
pub fn simulate(study: &Study<'_>, objective: &dyn Objective, limits: Limits) -> Outcome {
    let Limits { workers, seconds, trials } = limits;
    let mut running: Vec<(f64, u32, Rung)> = Vec::new();
    let mut out = Outcome { history: Vec::new(), seconds: 0.0, decisions: Vec::new(), best: Vec::new() };
    for _ in 0..1_000_000 {
        let moment = Moment {
            trials_left: trials.map(|t| t.saturating_sub(out.history.len() as u32)),
            seconds_left: seconds.map(|s| s - out.seconds),
            seconds_total: seconds,
        };
        let decision = if running.len() < workers { study.decide(&out.history, &moment) } else { Decision::Wait };
        out.decisions.push(decision.clone());
        let started = match decision {
            Decision::Start { number, genome, rung, target_epochs, .. } => {
                assert_eq!(number as usize, out.history.len(), "trials are numbered in order");
                out.history.push(Observation { number, genome, state: TrialState::Running, rungs: Vec::new() });
                Some((number, rung, target_epochs))
            }
            Decision::Promote { number, to, target_epochs } => Some((number, to, target_epochs)),
            Decision::Finished if running.is_empty() => return out,
            Decision::Finished | Decision::Wait => None,
        };
        if let Some((number, index, epochs)) = started {
            let trial = &mut out.history[number as usize];
            let fresh = trial.rungs.is_empty() && trial.state == TrialState::Running;
            assert!(fresh || trial.state == TrialState::Paused, "only a paused trial is promoted");
            trial.state = TrialState::Running;
            let before = trial.last().map_or(0, |rung| rung.epochs);
            assert!(epochs > before, "a rung trains further");
            let took = f64::from(epochs - before) * objective.epoch_seconds(&trial.genome);
            let rung = Rung { index, epochs, value: objective.score(&trial.genome, epochs), seconds: took };
            running.push((out.seconds + took, number, rung));
            continue;
        }
        running.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(!running.is_empty(), "told to wait with nothing running");
        let (at, number, rung) = running.remove(0);
        out.seconds = at;
        let trial = &mut out.history[number as usize];
        let value = objective.value(&trial.genome, rung.epochs);
        if out.best.last().is_none_or(|best| value > best.value) {
            out.best.push(Incumbent { seconds: at, value, number, epochs: rung.epochs });
        }
        trial.rungs.push(rung);
        trial.state = TrialState::Paused;
    }
    panic!("the study never ended");
}
