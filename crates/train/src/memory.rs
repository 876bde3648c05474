//! How much memory training takes.

use kindling_graph::{Graph, GraphError};

/// What a worker holds before it trains: the program, its runtime, a database's pages.
const PROCESS: u64 = 64_000_000;
/// Numbers for each parameter: itself, its gradient, two moments, the moving average, a copy while one is written.
const OF_A_PARAMETER: u64 = 6;
/// Batches of images that are made ahead or in hand.
const BATCHES: u64 = 3;

/// About how many bytes a process on a processor holds that trains the graph, so many examples a batch: what every operator
/// gives is kept until its gradient is known. BENCHMARKS.md compares it with what was measured.
///
/// # Errors
/// [`GraphError`] if the graph is not valid.
pub fn training_bytes(graph: &Graph, batch: usize) -> Result<u64, GraphError> {
    let cost = graph.cost()?;
    let numbers = |shape: &[usize]| shape.iter().map(|side| *side as u64).fold(1, u64::saturating_mul);
    let outputs = cost.per_node.iter().map(|node| numbers(&node.shape));
    let (kept, largest) = outputs.fold((0u64, 0), |(sum, most), n| (sum.saturating_add(n), most.max(n)));
    let images = BATCHES.saturating_mul(numbers(&graph.input.shape()));
    let each = kept.saturating_add(largest).saturating_add(images);
    let floats = (batch as u64).saturating_mul(each).saturating_add(OF_A_PARAMETER * cost.parameters_with_statistics);
    Ok(floats.saturating_mul(4).saturating_add(PROCESS))
}
