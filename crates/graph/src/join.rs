//! Several networks of one graph side by side as one network (horizontal fusion: Wang et al. 2021, HFTA),
//! so that a device that one small network leaves idle trains many at once.

use crate::{Graph, GraphError, InputSpec, Node, Op, Source, Tensor, Weights};

/// The graph `count` times side by side: every convolution in `count` times as many groups, so that
/// nothing passes from one copy to another. Nodes keep their names.
///
/// # Shapes
/// `[count * C, H, W]` to `[count * F]`, the copies one after another.
///
/// # Errors
/// [`GraphError`] if the graph is not valid or mixes all features at once, as `Softmax` does.
pub fn join_graph(graph: &Graph, count: usize) -> Result<Graph, GraphError> {
    let shapes = graph.shapes()?;
    let InputSpec { channels, height, width, mean, std } = &graph.input;
    let input = InputSpec {
        channels: channels * count,
        height: *height,
        width: *width,
        mean: mean.repeat(count),
        std: std.repeat(count),
    };
    let mut nodes: Vec<Node> = Vec::with_capacity(graph.nodes.len() + 1);
    // Where each node's value is now, and its shape: a flattened map stays a map until the end.
    let mut places: Vec<(Source, Vec<usize>)> = Vec::with_capacity(graph.nodes.len());
    for (index, node) in graph.nodes.iter().enumerate() {
        let place = |source: &Source| match source {
            Source::Input => (Source::Input, graph.input.shape()),
            Source::Node(id) => places[*id].clone(),
        };
        let inputs: Vec<_> = node.inputs.iter().map(place).collect();
        let (first, from) = inputs[0].clone();
        let whole = || [from.get(1).copied().unwrap_or(1), from.get(2).copied().unwrap_or(1)];
        let mut to = shapes[index].clone();
        to.resize(3, 1);
        let op = match &node.op {
            Op::Flatten => {
                places.push((first, from));
                continue;
            }
            Op::Conv { out_channels, kernel, strides, pads, group, bias } => Op::Conv {
                out_channels: out_channels * count,
                kernel: *kernel,
                strides: *strides,
                pads: *pads,
                group: group * count,
                bias: *bias,
            },
            // A fully connected layer is a convolution as large as the map; in groups, one a copy.
            Op::Gemm { out_features, bias } => Op::Conv {
                out_channels: out_features * count,
                kernel: whole(),
                strides: [1, 1],
                pads: [0; 4],
                group: count,
                bias: *bias,
            },
            Op::Softmax => return Err(graph.node_error(index, "cannot be joined: it mixes the copies' features")),
            Op::BatchNormalization { .. } if from.len() == 3 && to[0] != from[0] => {
                return Err(graph.node_error(index, "cannot be joined: it normalises a flattened map"));
            }
            same => {
                if matches!(
                    same,
                    Op::Relu
                        | Op::Clip { .. }
                        | Op::HardSwish
                        | Op::Sigmoid
                        | Op::Add
                        | Op::Dropout { .. }
                        | Op::BatchNormalization { .. }
                ) {
                    to.clone_from(&from);
                }
                same.clone()
            }
        };
        nodes.push(Node {
            name: node.name.clone(),
            op,
            inputs: inputs.into_iter().map(|(source, _)| source).collect(),
        });
        places.push((Source::Node(nodes.len() - 1), to));
    }
    let (output, shape) = places.swap_remove(graph.output);
    if shape[1..] != [1, 1] {
        return Err(GraphError::Graph("cannot be joined: its output is a map".into()));
    }
    nodes.push(Node { name: "joined_output".into(), op: Op::Flatten, inputs: vec![output] });
    let joined = Graph { input, output: nodes.len() - 1, nodes, answer: graph.answer };
    joined.validate()?;
    Ok(joined)
}

/// The copies' weights as the joined graph has them: one after another along the first axis.
///
/// # Errors
/// [`GraphError`] if a part's weights are not the graph's.
pub fn join_weights(graph: &Graph, parts: &[Weights]) -> Result<Weights, GraphError> {
    let joined = join_graph(graph, parts.len())?;
    for part in parts {
        graph.check_weights(part)?;
    }
    let mut weights = Weights::new();
    for spec in joined.params()? {
        let data = parts.iter().filter_map(|part| part.get(&spec.name)).flat_map(|array| array.data.clone()).collect();
        weights.insert(spec.name, Tensor::new(spec.shape, data)?);
    }
    Ok(weights)
}

/// One copy's weights out of the joined ones.
///
/// # Errors
/// [`GraphError`] if the weights are not those of `count` copies of the graph, or there is no such copy.
pub fn part_weights(graph: &Graph, joined: &Weights, count: usize, part: usize) -> Result<Weights, GraphError> {
    join_graph(graph, count)?.check_weights(joined)?;
    if part >= count {
        return Err(GraphError::Graph(format!("has {count} copies; there is no copy {part}")));
    }
    let mut weights = Weights::new();
    for spec in graph.params()? {
        let length = spec.shape.iter().product::<usize>();
        let data = joined.get(&spec.name).map(|array| array.data[part * length..(part + 1) * length].to_vec());
        weights.insert(spec.name, Tensor::new(spec.shape, data.unwrap_or_default())?);
    }
    Ok(weights)
}
