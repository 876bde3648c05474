//! Runs a graph on plain numbers: the judge of every other way to run it. Loops are kept plain; the
//! inner ones go along rows, so that the compiler vectorises them.

mod conv;
mod pool;

pub(crate) use conv::inside;

use crate::{Graph, GraphError, NodeId, Op, Source, Tensor, Weights, memory_plan};
use std::collections::BTreeMap;

/// Most bytes of activations that one call plans for (1 GiB), so that no graph from elsewhere takes all memory.
const MAX_EXECUTE_BYTES: u64 = 1 << 30;

/// Runs the graph in inference mode.
///
/// # Shapes
/// - `input`: `[N, C, H, W]` as the graph's [`InputSpec`](crate::InputSpec) says, already normalised
/// - result: `[N, F]` or `[N, C, H, W]`, the batch axis before [`Graph::output_shape`]
///
/// # Errors
/// [`GraphError`] if the graph is not valid, the weights are not its own, the input's shape is wrong, or
/// the batch would need more than 1 GiB of activations.
pub fn execute(graph: &Graph, weights: &Weights, input: &Tensor) -> Result<Tensor, GraphError> {
    execute_with(graph, weights, input, &mut |_, _| {})
}

/// [`execute`], showing each node's output to `visit` as it is made.
///
/// # Errors
/// As [`execute`].
pub fn execute_with(
    graph: &Graph,
    weights: &Weights,
    input: &Tensor,
    visit: &mut dyn FnMut(NodeId, &Tensor),
) -> Result<Tensor, GraphError> {
    graph.validate()?;
    graph.check_weights(weights)?;
    let shapes = graph.shapes()?;
    let batch = check_input(graph, input)?;
    let mut uses = graph.uses();
    let mut alive: BTreeMap<NodeId, Tensor> = BTreeMap::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        let mut shape = vec![batch];
        shape.extend(&shapes[id]);
        let mut inputs = Vec::with_capacity(2);
        for source in &node.inputs {
            inputs.push(match source {
                Source::Input => input,
                Source::Node(before) => alive
                    .get(before)
                    .ok_or_else(|| graph.node_error(id, "its input is gone; this is a fault of ours"))?,
            });
        }
        let output = run_node(&node.op, &node.name, weights, &inputs, shape)?;
        for source in &node.inputs {
            if let Source::Node(before) = source {
                uses[*before] -= 1;
                if uses[*before] == 0 {
                    alive.remove(before);
                }
            }
        }
        visit(id, &output);
        alive.insert(id, output);
    }
    alive.remove(&graph.output).ok_or_else(|| graph.node_error(graph.output, "made nothing; this is a fault of ours"))
}

fn check_input(graph: &Graph, input: &Tensor) -> Result<usize, GraphError> {
    let wanted = graph.input.shape();
    let Some((batch, rest)) = input.shape.split_first() else {
        return Err(GraphError::Tensor(format!("the input has no axes; give [N, C, H, W] = [N, {wanted:?}]")));
    };
    if rest != wanted || *batch == 0 {
        return Err(GraphError::Tensor(format!("the input is {:?}; give at least one of {wanted:?}", input.shape)));
    }
    let arena = memory_plan(graph)?.arena_bytes;
    if (*batch as u64).checked_mul(arena).is_none_or(|bytes| bytes > MAX_EXECUTE_BYTES) {
        return Err(GraphError::Tensor(format!(
            "a batch of {batch} would need more than {MAX_EXECUTE_BYTES} bytes at once; give fewer images, or a smaller graph"
        )));
    }
    if input.shape.iter().product::<usize>() != input.data.len() {
        let what = format!("the shape {:?} does not hold {} numbers", input.shape, input.data.len());
        return Err(GraphError::Tensor(what));
    }
    Ok(*batch)
}

/// A parameter whose presence [`Graph::check_weights`] has made sure of.
fn param<'w>(weights: &'w Weights, node: &str, role: &str) -> Result<&'w [f32], GraphError> {
    let name = format!("{node}.{role}");
    weights.get(&name).map(|t| t.data.as_slice()).ok_or_else(|| GraphError::weight(name, "is missing"))
}

fn run_node(
    op: &Op,
    name: &str,
    weights: &Weights,
    inputs: &[&Tensor],
    shape: Vec<usize>,
) -> Result<Tensor, GraphError> {
    let Some(x) = inputs.first().copied() else {
        return Err(GraphError::Tensor(format!("node `{name}` reads nothing")));
    };
    let map = |f: &dyn Fn(&f32) -> f32| Tensor { shape: shape.clone(), data: x.data.iter().map(f).collect() };
    Ok(match op {
        Op::Conv { kernel, strides, pads, group, bias, .. } => {
            let bias = if *bias { Some(param(weights, name, "bias")?) } else { None };
            let weight = param(weights, name, "weight")?;
            conv::conv(x, weight, bias, *kernel, *strides, *pads, *group, shape)
        }
        Op::Gemm { bias, .. } => {
            let bias = if *bias { Some(param(weights, name, "bias")?) } else { None };
            gemm(x, param(weights, name, "weight")?, bias, shape)
        }
        Op::BatchNormalization { epsilon } => {
            let (scale, bias) = (param(weights, name, "scale")?, param(weights, name, "bias")?);
            let (mean, var) = (param(weights, name, "mean")?, param(weights, name, "var")?);
            batch_norm(x, scale, bias, mean, var, *epsilon)
        }
        Op::Relu => map(&|v| v.max(0.0)),
        Op::Clip { min, max } => map(&|v| v.max(*min).min(*max)),
        Op::HardSwish => map(&|v| v * (v / 6.0 + 0.5).clamp(0.0, 1.0)),
        Op::Sigmoid => map(&|v| 1.0 / (1.0 + (-v).exp())),
        Op::Flatten | Op::Dropout { .. } => Tensor { shape, data: x.data.clone() },
        Op::Add => {
            let other = inputs.get(1).copied().unwrap_or(x);
            Tensor { shape, data: x.data.iter().zip(&other.data).map(|(a, b)| a + b).collect() }
        }
        Op::MaxPool { kernel, strides, pads } => pool::max_pool(x, *kernel, *strides, *pads, shape),
        Op::AveragePool { kernel, strides, pads } => pool::average_pool(x, *kernel, *strides, *pads, shape),
        Op::GlobalAveragePool => pool::global_average_pool(x, shape),
        Op::Softmax => softmax(x),
    })
}

fn gemm(x: &Tensor, weight: &[f32], bias: Option<&[f32]>, shape: Vec<usize>) -> Tensor {
    let (outs, ins) = (shape[1], x.shape[1]);
    let mut y = Tensor::filled(shape, 0.0);
    for (row, out) in x.data.chunks_exact(ins).zip(y.data.chunks_exact_mut(outs)) {
        for (o, value) in out.iter_mut().enumerate() {
            // Eight sums side by side: one alone could not be vectorised without changing its order.
            let mut sums = [0f32; 8];
            let weights = &weight[o * ins..(o + 1) * ins];
            let (mut a, mut b) = (row.chunks_exact(8), weights.chunks_exact(8));
            for (a, b) in (&mut a).zip(&mut b) {
                for lane in 0..8 {
                    sums[lane] += a[lane] * b[lane];
                }
            }
            let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
            *value = sums.iter().sum::<f32>() + rest + bias.map_or(0.0, |bias| bias[o]);
        }
    }
    y
}

fn batch_norm(x: &Tensor, scale: &[f32], bias: &[f32], mean: &[f32], var: &[f32], epsilon: f32) -> Tensor {
    let plane: usize = x.shape[2..].iter().product();
    let mut y = x.clone();
    for (i, values) in y.data.chunks_exact_mut(plane).enumerate() {
        let c = i % scale.len();
        let factor = scale[c] / (var[c] + epsilon).sqrt();
        for value in values {
            *value = (*value - mean[c]) * factor + bias[c];
        }
    }
    y
}

fn softmax(x: &Tensor) -> Tensor {
    let mut y = x.clone();
    for row in y.data.chunks_exact_mut(x.shape[1]) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = (*value - top).exp();
            sum += *value;
        }
        for value in row {
            *value /= sum;
        }
    }
    y
}
