//! Answers about every example from networks that did not see it.

use crate::{
    LabelledExamples, OpenDevice, Progress, RungInput, RungOutcome, TrainError, TrialConfig, predict, run_rung,
};
use kindling_data::{BatchSource, Dataset, View};
use kindling_graph::{Graph, Weights};
use kindling_spec::Objective;
use std::sync::atomic::AtomicBool;

/// Examples whose pictures are in memory at once while they are answered about.
const BLOCK: usize = 512;
/// Examples trained on by which the better of the last weights and their average is told: none that
/// are held out has a say.
const JUDGED: usize = 256;

/// The examples that are cross-fitted.
#[derive(Clone, Copy)]
pub struct CrossFit<'a> {
    /// The network and how it is trained.
    pub config: &'a TrialConfig,
    /// Where the examples are.
    pub dataset: &'a Dataset,
    /// The classes' names.
    pub classes: &'a [String],
    /// (example, label) of each.
    pub picks: &'a [(usize, usize)],
    /// The fold of each: its answers come from the network trained on all others.
    pub folds: &'a [usize],
    /// Epochs each network is trained.
    pub epochs: u32,
}

/// Trains a network a fold, each on all the others, and gives every example's probabilities by the
/// network that did not see it. `on_progress` is told the share done, 0 to 1.
///
/// # Shapes
/// Returns `[picks, classes]` in the order of the picks.
///
/// # Errors
/// [`TrainError::Input`] when there are fewer than two folds or a fold's training lacks a class;
/// else as [`run_rung`].
pub fn cross_fit(
    device: &OpenDevice,
    input: CrossFit<'_>,
    on_progress: &mut dyn FnMut(f64),
    cancel: &AtomicBool,
) -> Result<Vec<f32>, TrainError> {
    let CrossFit { config, dataset, classes, picks, folds, epochs } = input;
    let count = folds.iter().max().map_or(0, |most| most + 1);
    if count < 2 || folds.len() != picks.len() {
        let what = format!("{count} fold(s) of {} for {} examples cannot be held out", folds.len(), picks.len());
        return Err(TrainError::Input(what));
    }
    let mut answers = vec![0.0; picks.len() * classes.len()];
    for fold in 0..count {
        let side = |held: bool| move |(_, f): &(_, &usize)| (**f == fold) == held;
        let train: Vec<_> = picks.iter().zip(folds).filter(side(false)).map(|(pick, _)| *pick).collect();
        if let Some(class) = (0..classes.len()).find(|c| train.iter().all(|(_, label)| label != c)) {
            let what = format!("every example of class `{}` is in one fold; take more folds", classes[class]);
            return Err(TrainError::Input(what));
        }
        let step = (train.len() / JUDGED).max(1);
        let validation = train.iter().step_by(step).copied().collect();
        let view = View { classes: classes.to_vec(), train, validation, test: Vec::new() };
        let mut tell = |p: Progress| {
            let epoch = f64::from(p.epoch) + f64::from(p.batch) / f64::from(p.batches.max(1));
            on_progress((fold as f64 + epoch / f64::from(epochs.max(1))) / count as f64);
        };
        // Each fold's network is another draw.
        let config = TrialConfig { seed: config.seed.wrapping_add(fold as u64), ..config.clone() };
        let trained = train_once(device, &config, dataset, &view, epochs, &mut tell, cancel)?;
        let held: Vec<usize> = folds.iter().enumerate().filter(|(_, f)| **f == fold).map(|(at, _)| at).collect();
        let asked: Vec<_> = held.iter().map(|at| picks[*at]).collect();
        let given = answer(device, &config.graph, &trained.weights, dataset, &asked)?;
        for (at, row) in held.iter().zip(given.chunks_exact(classes.len())) {
            answers[at * classes.len()..][..classes.len()].copy_from_slice(row);
        }
    }
    Ok(answers)
}

/// Trains a network from its beginning in one rung; the better weights by accuracy on the view's validation split.
///
/// # Errors
/// As [`run_rung`].
pub fn train_once(
    device: &OpenDevice,
    config: &TrialConfig,
    dataset: &Dataset,
    view: &View,
    epochs: u32,
    on_progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<RungOutcome, TrainError> {
    let objective = Objective::default();
    let input = RungInput {
        config,
        dataset,
        examples: &LabelledExamples { dataset, view, teacher: None, objective: &objective },
        checkpoint: None,
        from_epoch: 0,
        to_epoch: epochs,
        finish_by: None,
    };
    run_rung(device, input, on_progress, cancel)
}

/// The probabilities of each class for each of the picks, a block at a time.
///
/// # Shapes
/// Returns `[picks, classes]`.
fn answer(
    device: &OpenDevice,
    graph: &Graph,
    weights: &Weights,
    dataset: &Dataset,
    picks: &[(usize, usize)],
) -> Result<Vec<f32>, TrainError> {
    let (input, source) = (&graph.input, BatchSource::new(dataset));
    let length = input.shape().iter().product::<usize>();
    let mut answers = Vec::new();
    for block in picks.chunks(BLOCK) {
        let mut images = vec![0.0; block.len() * length];
        source.fill(block, input.height, &input.mean, &input.std, None, &mut images)?;
        answers.extend(predict(device, graph, weights, &images, block.len())?);
    }
    Ok(answers)
}
