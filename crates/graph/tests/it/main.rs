//! The graph crate against hand-computed networks, random graphs and hostile text.

#![allow(clippy::unwrap_used)]

mod heat;
mod hostile;
mod joined;
mod networks;
mod ops;
mod passes;
mod properties;
mod quantized;

use kindling_graph::{Graph, Tensor};

/// A batch of plausible values for a graph, the same every time.
fn some_input(graph: &Graph, batch: usize) -> Tensor {
    let mut shape = vec![batch];
    shape.extend(graph.input.shape());
    let count: usize = shape.iter().product();
    let data = (0..count).map(|i| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * 2.0).collect();
    Tensor::new(shape, data).unwrap()
}
