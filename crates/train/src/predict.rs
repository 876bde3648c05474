//! Answers of a trained network.

use crate::{OpenDevice, TrainError, device::guard, trainer::read};
use burn::tensor::{Tensor, TensorData};
use kindling_graph::{Graph, Weights, fold_batch_norm};
use kindling_models::{Network, tasks::image_classification::softmax};

/// Images answered at once.
const BATCH: usize = 128;

/// The probabilities of each class for each image.
///
/// # Shapes
/// `nchw` is `[n, C, H, W]`, normalised as the graph's input says; gives `[n, classes]`.
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
    let input = &graph.input;
    let length = input.channels * input.height * input.width;
    if nchw.len() != n * length {
        return Err(TrainError::Input(format!("{} numbers are not {n} images of {length} each", nchw.len())));
    }
    // Normalisation costs nothing once it is folded into the convolutions.
    let (graph, weights) = fold_batch_norm(graph, weights)?;
    let classes = graph.output_shape()?.iter().product();
    guard(|| {
        let network = Network::from_weights(&graph, &weights, &device.device)?;
        let mut answers = Vec::with_capacity(n * classes);
        for images in nchw.chunks(BATCH * length.max(1)) {
            let shape = [images.len() / length, input.channels, input.height, input.width];
            let images = Tensor::<4>::from_data(TensorData::new(images.to_vec(), shape), &device.device);
            answers.extend(read(&network.forward(images)?)?);
        }
        softmax(&mut answers, classes);
        Ok(answers)
    })
}
