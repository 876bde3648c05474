//! How fast a network trains.

use crate::{HostBatch, Hyperparameters, JoinedTrainer, OpenDevice, TrainError, Trainer, device::guard, trainer::read};
use kindling_graph::Graph;
use kindling_models::{initial_weights, random::Random};
use std::time::Instant;

/// Images trained a second, over `steps` steps of `batch` images after one that does not count,
/// without making the batches.
///
/// # Errors
/// [`TrainError::Graph`] if the graph is not valid, [`TrainError::Device`] if the device fails.
pub fn measure(device: &OpenDevice, graph: &Graph, batch: usize, steps: usize) -> Result<f64, TrainError> {
    let (settings, host, mut random) = example(graph, batch)?;
    guard(|| {
        let mut trainer = Trainer::new(device, graph, &initial_weights(graph, 1)?, &settings)?;
        // Each loss is read, as training does, so that nothing is left waiting on the device.
        time(batch, steps, || read(&trainer.step(host.clone(), RATE, &mut random)?))
    })
}

/// The same for several trials of the graph trained as one ([`JoinedTrainer`]): the images of all.
///
/// # Errors
/// As [`measure`], and [`TrainError::Graph`] if the graph cannot be joined.
pub fn measure_joined(
    device: &OpenDevice,
    graph: &Graph,
    batch: usize,
    steps: usize,
    trials: usize,
) -> Result<f64, TrainError> {
    let (settings, host, mut random) = example(graph, batch)?;
    guard(|| {
        let start = vec![(initial_weights(graph, 1)?, settings); trials];
        let mut trainer = JoinedTrainer::new(device, graph, &start)?;
        let (batches, rates) = (vec![host; trials], vec![RATE; trials]);
        time(trials * batch, steps, || read(&trainer.step(&batches, &rates, &mut random)?))
    })
}

const RATE: f64 = 1e-3;

fn time<T>(images: usize, steps: usize, mut step: impl FnMut() -> Result<T, TrainError>) -> Result<f64, TrainError> {
    step()?;
    let start = Instant::now();
    for _ in 0..steps {
        step()?;
    }
    Ok((images * steps) as f64 / start.elapsed().as_secs_f64())
}

/// A batch of noise, and how it is trained on.
fn example(graph: &Graph, batch: usize) -> Result<(Hyperparameters, HostBatch, Random), TrainError> {
    let settings = Hyperparameters { learning_rate: RATE, batch_size: batch, ema: 0.99, ..Default::default() };
    let classes: usize = graph.output_shape()?.iter().product();
    let length = graph.input.shape().iter().product::<usize>();
    let mut random = Random::new(&[1]);
    let images: Vec<f32> = (0..batch * length).map(|_| random.uniform() as f32 * 2.0 - 1.0).collect();
    let mut targets = vec![0.0; batch * classes];
    for (i, row) in targets.chunks_exact_mut(classes.max(1)).enumerate() {
        row[i % classes] = 1.0 / batch as f32;
    }
    Ok((settings, HostBatch { images, targets, size: batch }, random))
}
