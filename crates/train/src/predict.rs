//! Answers of a trained network.

use crate::{
    OpenDevice, TrainError,
    device::guard,
    trainer::{flatten, read},
};
use burn::tensor::{Tensor, TensorData};
use kindling_graph::{Answer, Graph, Weights, fold_batch_norm};
use kindling_kernels::{KernelError, Program, runs_on};
use kindling_models::{ModelError, Network, tasks::image_classification::softmax};

/// Images answered at once.
const BATCH: usize = 128;
/// The same for the processor's kernels, which keep every layer's values: few enough to stay in the cache.
const KERNEL_BATCH: usize = 16;

/// The probabilities of each class for each image; where objects are found, the maps as they are.
///
/// # Shapes
/// `nchw` is `[n, C, H, W]`, normalised as the graph's input says; gives `[n, classes]`, or `[n, classes + 4, h, w]`.
///
/// # Errors
/// [`TrainError::Input`] if there are not `n` images, [`TrainError::Graph`] if the weights are not
/// the graph's, [`TrainError::Device`] if the device fails.
pub fn predict(
    device: &OpenDevice,
    graph: &Graph,
    weights: &Weights,
    nchw: &[f32],
    n: usize,
) -> Result<Vec<f32>, TrainError> {
    let mut answers = answer(device, graph, weights, nchw, n)?;
    if graph.answer == Answer::Classes {
        softmax(&mut answers, graph.output_shape()?.iter().product());
    }
    Ok(answers)
}

/// As [`predict`], but what the graph gives as it is: logits, or features.
pub(crate) fn answer(
    device: &OpenDevice,
    graph: &Graph,
    weights: &Weights,
    nchw: &[f32],
    n: usize,
) -> Result<Vec<f32>, TrainError> {
    let input = &graph.input;
    let length = input.channels * input.height * input.width;
    if nchw.len() != n * length {
        return Err(TrainError::Input(format!("{} numbers are not {n} images of {length} each", nchw.len())));
    }
    // Normalisation costs nothing once it is folded into the convolutions.
    let (graph, weights) = fold_batch_norm(graph, weights)?;
    let values: usize = graph.output_shape()?.iter().product();
    guard(|| {
        if let Some(program) = program(device, &graph)? {
            return infer(program, &graph, &weights, nchw, length);
        }
        let network = Network::from_weights(&graph, &weights, &device.device)?;
        let mut answers = Vec::with_capacity(n * values);
        for images in nchw.chunks(BATCH * length.max(1)) {
            let shape = [images.len() / length, input.channels, input.height, input.width];
            let images = Tensor::<4>::from_data(TensorData::new(images.to_vec(), shape), &device.device);
            answers.extend(read(&network.forward(images)?)?);
        }
        Ok(answers)
    })
}

/// The processor's kernels for the graph, if it is to run there and they know it.
fn program(device: &OpenDevice, graph: &Graph) -> Result<Option<Program>, TrainError> {
    if !runs_on(&device.device) {
        return Ok(None);
    }
    match Program::inference(graph, KERNEL_BATCH) {
        Err(KernelError::Unsupported(_)) => Ok(None),
        other => Ok(Some(other.map_err(ModelError::from)?)),
    }
}

fn infer(
    mut program: Program,
    graph: &Graph,
    weights: &Weights,
    nchw: &[f32],
    length: usize,
) -> Result<Vec<f32>, TrainError> {
    let (trained, running) = flatten(graph, weights)?;
    let mut answers = Vec::new();
    for images in nchw.chunks(KERNEL_BATCH * length.max(1)) {
        answers.extend(program.forward(images, &trained, &running, &[]).map_err(ModelError::from)?.output);
    }
    Ok(answers)
}
