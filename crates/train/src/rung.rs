//! A trial's training from one epoch to another.

use crate::{
    Checkpoint, Examples, Hyperparameters, OpenDevice, TrainError, Trainer, Verdict,
    batches::{Batches, Place},
    device::guard,
    learning_rate, predict,
    trainer::read,
};
use burn::tensor::Tensor;
use kindling_data::{BatchSource, Dataset};
use kindling_graph::{Graph, Weights};
use kindling_models::{initial_weights, random::Random};
use kindling_spec::Genome;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

/// What is trained and how.
#[derive(Debug, Clone)]
pub struct TrialConfig {
    /// The network.
    pub graph: Graph,
    /// Its hyperparameters, see [`crate::params`].
    pub genome: Genome,
    /// Seeds the weights, the order of examples and their variation.
    pub seed: u64,
    /// The weights to begin from; `None` for those that the seed draws.
    pub initial: Option<Weights>,
}

/// One rung of a trial.
pub struct RungInput<'a> {
    /// The trial.
    pub config: &'a TrialConfig,
    /// The pictures.
    pub dataset: &'a Dataset,
    /// What they teach, and what chooses between the weights and their moving average.
    pub examples: &'a dyn Examples,
    /// Where the rung before it ended; `None` for a trial's first.
    pub checkpoint: Option<&'a [u8]>,
    /// First epoch.
    pub from_epoch: u32,
    /// The epoch after the last.
    pub to_epoch: u32,
    /// Ends the rung early at this moment, with what was trained so far; `None` to train it all.
    pub finish_by: Option<Instant>,
}

/// How far a rung is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The epoch, counted from the trial's start at 0.
    pub epoch: u32,
    /// Batches done in it.
    pub batch: u32,
    /// Batches an epoch.
    pub batches: u32,
    /// The last batch's loss.
    pub loss: f64,
}

/// Which weights a rung ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsFrom {
    /// Those of the last step.
    LastStep,
    /// Their moving average.
    Average,
}

/// What a rung ends with.
#[derive(Debug, Clone, PartialEq)]
pub struct RungOutcome {
    /// Everything to go on from here: weights, optimiser, averages, epoch.
    pub checkpoint: Vec<u8>,
    /// The weights to judge and export.
    pub weights: Weights,
    /// Which they are: the better on the validation split.
    pub weights_from: WeightsFrom,
    /// Their answers on the validation split in its order, as [`predict`] gives them.
    pub validation_answers: Vec<f32>,
    /// Mean loss over the rung's last epoch.
    pub train_loss: f64,
    /// Whole epochs trained since the trial's start; less than was asked for when the time was up.
    pub epochs: u32,
    /// Seconds this rung took.
    pub seconds: f64,
    /// Examples trained a second, without the validation.
    pub images_per_second: f64,
}

/// Trains the epochs `from_epoch..to_epoch` and judges the result on the validation split.
///
/// The learning rate climbs and settles within each rung ([`learning_rate`]). On the `flex` device
/// the outcome depends on the input alone, bit for bit, so that a rung may be repeated; unless it was
/// cut short by `finish_by`.
///
/// # Errors
/// [`TrainError::Cancelled`] within one batch of `cancel` being set, [`TrainError::Diverged`] when
/// the loss is no number, [`TrainError::Checkpoint`] when the checkpoint is not of this graph and
/// epoch, and those of the data, the graph and the device.
pub fn run_rung(
    device: &OpenDevice,
    input: RungInput<'_>,
    on_progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<RungOutcome, TrainError> {
    guard(|| train(device, &input, on_progress, cancel))
}

fn train(
    device: &OpenDevice,
    input: &RungInput<'_>,
    on_progress: &mut dyn FnMut(Progress),
    cancel: &AtomicBool,
) -> Result<RungOutcome, TrainError> {
    let start = Instant::now();
    let TrialConfig { graph, genome, seed, initial } = input.config;
    let (from, to) = (input.from_epoch, input.to_epoch);
    if to <= from {
        return Err(TrainError::Input(format!("a rung from epoch {from} to {to} has nothing to train")));
    }
    let settings = Hyperparameters::from_genome(genome)?;
    let batches = Batches::new(input.examples, graph, &settings, *seed)?;
    let drawn;
    let weights = match initial {
        Some(weights) => weights,
        None => {
            drawn = initial_weights(graph, *seed)?;
            &drawn
        }
    };
    let mut trainer = Trainer::new(device, graph, weights, &settings)?;
    match input.checkpoint.map(Checkpoint::from_bytes).transpose()? {
        None if from == 0 => {}
        None => return Err(TrainError::Checkpoint(format!("none is given to go on from epoch {from}"))),
        Some(checkpoint) if checkpoint.epoch == from => trainer.restore(&checkpoint)?,
        Some(checkpoint) => {
            let what = format!("it ends at epoch {}, the rung begins at {from}", checkpoint.epoch);
            return Err(TrainError::Checkpoint(what));
        }
    }

    let began = Instant::now();
    let ended = std::thread::scope(|scope| {
        // Two batches ahead: the device never waits, and memory stays small.
        let (sender, receiver) = sync_channel(2);
        scope.spawn(|| {
            let sender = sender;
            batches.send(from..to, &sender);
        });
        let schedule = |step| {
            learning_rate(settings.learning_rate, settings.warmup, step, u64::from(to - from) * batches.count() as u64)
        };
        // The receiver is dropped on every way out, which ends the other thread.
        let steps = Steps { seed: *seed, to, batches: batches.count() as u32, finish_by: input.finish_by };
        steps.run(&mut trainer, receiver, schedule, on_progress, cancel)
    })?;
    let trained = ended.steps * batches.size() as u64;
    let images_per_second = trained as f64 / began.elapsed().as_secs_f64().max(1e-9);

    let checkpoint = trainer.checkpoint(ended.epochs)?.to_bytes()?;
    let (weights, weights_from, validation_answers) = judge(device, input, &trainer, cancel)?;
    Ok(RungOutcome {
        checkpoint,
        weights,
        weights_from,
        validation_answers,
        train_loss: ended.loss,
        epochs: ended.epochs,
        seconds: start.elapsed().as_secs_f64(),
        images_per_second,
    })
}

/// The loop over a rung's batches.
struct Steps {
    seed: u64,
    to: u32,
    batches: u32,
    finish_by: Option<Instant>,
}

/// Where that loop ended.
struct Ended {
    /// Mean loss of the last epoch begun.
    loss: f64,
    /// Whole epochs since the trial's start.
    epochs: u32,
    steps: u64,
}

impl Steps {
    fn run(
        &self,
        trainer: &mut Trainer,
        receiver: Receiver<Result<(Place, crate::HostBatch), TrainError>>,
        schedule: impl Fn(u64) -> f64,
        on_progress: &mut dyn FnMut(Progress),
        cancel: &AtomicBool,
    ) -> Result<Ended, TrainError> {
        let (mut sum, mut count, mut summed) = (0.0, 0u32, 0);
        let mut settle = |place: Place, loss: Tensor<1>| {
            let loss = read(&loss)?.first().copied().map_or(f64::NAN, f64::from);
            if !loss.is_finite() {
                return Err(TrainError::Diverged { epoch: place.epoch, batch: place.batch, loss });
            }
            if place.epoch != summed {
                (sum, count, summed) = (0.0, 0, place.epoch);
            }
            (sum, count) = (sum + loss, count + 1);
            on_progress(Progress { epoch: place.epoch, batch: place.batch + 1, batches: self.batches, loss });
            Ok(())
        };
        // A loss is read while the device works on the step after it, so that a GPU never idles.
        let mut waiting: Option<(Place, Tensor<1>)> = None;
        let (mut epochs, mut steps) = (self.to, 0);
        for (step, made) in (0u64..).zip(receiver) {
            if cancel.load(Ordering::Relaxed) {
                return Err(TrainError::Cancelled);
            }
            let (place, batch) = made?;
            if step > 0 && self.finish_by.is_some_and(|end| Instant::now() >= end) {
                epochs = place.epoch;
                break;
            }
            let mut random = Random::new(&[self.seed, u64::from(place.epoch), u64::from(place.batch), 3]);
            let loss = trainer.step(batch, schedule(step), &mut random)?;
            steps = step + 1;
            if let Some((place, loss)) = waiting.replace((place, loss)) {
                settle(place, loss)?;
            }
        }
        if let Some((place, loss)) = waiting {
            settle(place, loss)?;
        }
        Ok(Ended { loss: sum / f64::from(count.max(1)), epochs, steps })
    }
}

/// Takes the better on the validation split of the last step's weights and their average.
fn judge(
    device: &OpenDevice,
    input: &RungInput<'_>,
    trainer: &Trainer,
    cancel: &AtomicBool,
) -> Result<(Weights, WeightsFrom, Vec<f32>), TrainError> {
    let graph = &input.config.graph;
    let picks = input.examples.validation();
    let resolution = graph.input.height;
    let mut images = vec![0.0; picks.len() * graph.input.shape().iter().product::<usize>()];
    let source = BatchSource::new(input.dataset);
    source.fill(&picks, resolution, &graph.input.mean, &graph.input.std, None, &mut images)?;
    input.examples.prepare(graph, &mut images)?;
    let mut best: Option<(Verdict, Weights, WeightsFrom, Vec<f32>)> = None;
    let candidates =
        [(WeightsFrom::Average, trainer.average_weights()?), (WeightsFrom::LastStep, trainer.raw_weights()?)];
    for (from, weights) in candidates {
        if cancel.load(Ordering::Relaxed) {
            return Err(TrainError::Cancelled);
        }
        let answers = predict(device, graph, &weights, &images, picks.len())?;
        if answers.iter().any(|p| !p.is_finite()) {
            // Weights may have become infinite in the last step, after its loss was computed.
            continue;
        }
        let found = input.examples.judge(graph, &answers);
        let better = best.as_ref().is_none_or(|(verdict, ..)| {
            found.objective > verdict.objective || (found.objective == verdict.objective && found.loss < verdict.loss)
        });
        if better {
            best = Some((found, weights, from, answers));
        }
    }
    let last = TrainError::Diverged { epoch: input.to_epoch - 1, batch: 0, loss: f64::NAN };
    best.map(|(_, weights, from, answers)| (weights, from, answers)).ok_or(last)
}
