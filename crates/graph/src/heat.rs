//! Which parts of an image speak for a class.

use crate::{Graph, GraphError, InputSpec, Node, NodeId, Op, Source, Tensor, Weights, execute, execute_with};

/// How much each place of an image speaks for a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Heat {
    /// Rows of places.
    pub height: usize,
    /// Places in a row.
    pub width: usize,
    /// `[height, width]`, 0 to 1; the most is 1, unless nothing speaks for the class or the values are probabilities.
    pub values: Vec<f32>,
}

/// How far each pooled feature is moved to see what the logit does, as a share of the greatest of them.
const STEP: f32 = 1e-2;

/// Grad-CAM (Selvaraju et al. 2017) at the last map before the mean over all places: the map's channels, each weighted by
/// how the class's logit grows with the channel's mean, summed, what speaks against the class left out.
///
/// What follows the mean is so small that its gradient is taken by moving each feature both ways.
///
/// A network that judges an image by the strangest of all places is asked of each place by itself: its values are the
/// probabilities of the class.
///
/// # Shapes
/// `image`: `[1, C, H, W]`, normalised as the graph's input says.
///
/// # Errors
/// [`GraphError`] if the graph, its weights or the image are not valid, there is no such class, or the network pools no
/// whole map.
pub fn heat(graph: &Graph, weights: &Weights, image: &Tensor, class: usize) -> Result<Heat, GraphError> {
    let classes: usize = graph.output_shape()?.iter().product();
    if class >= classes {
        return Err(GraphError::Graph(format!("there is no class {class}; the network has {classes}")));
    }
    let (pool, by_places) = pool(graph)?;
    let before = graph.nodes[pool].inputs.first().copied().unwrap_or(Source::Input);
    let mut map = (before == Source::Input).then(|| image.clone());
    let mut pooled = Vec::new();
    execute_with(graph, weights, image, &mut |id, value| {
        if before == Source::Node(id) {
            map = Some(value.clone());
        }
        if id == pool {
            pooled.clone_from(&value.data);
        }
    })?;
    let map = map.ok_or_else(|| GraphError::Graph("the pool reads nothing".into()))?;
    let [1, channels, height, width] = map.shape[..] else {
        return Err(GraphError::Tensor(format!("the map is {:?}; give one image", map.shape)));
    };

    let tail = tail(graph, pool, channels)?;
    let own: Weights =
        weights.iter().filter(|(name, _)| is_of(&tail, name)).map(|(n, t)| (n.clone(), t.clone())).collect();
    if by_places {
        let logits = execute(&tail, &own, &Tensor::new(vec![height * width, 1, 1, 1], map.data)?)?.data;
        let probability = |row: &[f32]| {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            (row[class] - most).exp() / row.iter().map(|logit| (logit - most).exp()).sum::<f32>()
        };
        return Ok(Heat { height, width, values: logits.chunks_exact(classes).map(probability).collect() });
    }
    let greatest = pooled.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let step = (greatest * STEP).max(1e-4);
    let moved: Vec<f32> = (0..channels)
        .flat_map(|channel| [step, -step].map(|step| (channel, step)))
        .flat_map(|(channel, step)| {
            let feature = move |(at, x): (usize, &f32)| if at == channel { x + step } else { *x };
            pooled.iter().enumerate().map(feature).collect::<Vec<_>>()
        })
        .collect();
    let moved = Tensor::new(vec![2 * channels, channels, 1, 1], moved)?;
    let logits = execute(&tail, &own, &moved)?.data;

    let mut values = vec![0.0f32; height * width];
    for (plane, logits) in map.data.chunks_exact(height * width).zip(logits.chunks_exact(2 * classes)) {
        let slope = (logits[class] - logits[classes + class]) / (2.0 * step);
        values.iter_mut().zip(plane).for_each(|(sum, x)| *sum += slope * x);
    }
    let most = values.iter().copied().fold(0.0f32, f32::max);
    let scale = if most > 0.0 { 1.0 / most } else { 0.0 };
    values.iter_mut().for_each(|x| *x = x.max(0.0) * scale);
    Ok(Heat { height, width, values })
}

fn is_of(graph: &Graph, parameter: &str) -> bool {
    graph.nodes.iter().any(|node| parameter.strip_prefix(&node.name).is_some_and(|rest| rest.starts_with('.')))
}

/// The last node that makes one place of a whole map, and whether each place was an answer already: one channel, of which the
/// greatest value is taken.
fn pool(graph: &Graph) -> Result<(NodeId, bool), GraphError> {
    let shapes = graph.shapes()?;
    let by_places = |node: &Node| {
        let before = node.inputs.first().map(|source| match source {
            Source::Input => graph.input.shape().to_vec(),
            Source::Node(id) => shapes[*id].clone(),
        });
        match (&node.op, before.as_deref()) {
            (Op::MaxPool { kernel, pads: [0, 0, 0, 0], .. }, Some([1, height, width])) => kernel == &[*height, *width],
            _ => false,
        }
    };
    let found = graph.nodes.iter().enumerate().rev().find_map(|(id, node)| match node.op {
        Op::GlobalAveragePool => Some((id, false)),
        _ => by_places(node).then_some((id, true)),
    });
    found.ok_or_else(|| {
        GraphError::Graph("the network has no GlobalAveragePool, nor a MaxPool of a whole map, to look behind".into())
    })
}

/// What follows the pool, up to the logits, as a network of its own that reads the pooled features.
fn tail(graph: &Graph, pool: NodeId, channels: usize) -> Result<Graph, GraphError> {
    let mut output = graph.output;
    while let (Op::Softmax, Some(Source::Node(before))) = (&graph.nodes[output].op, graph.nodes[output].inputs.first())
    {
        output = *before;
    }
    let mut nodes = Vec::new();
    for node in graph.nodes.iter().take(output + 1).skip(pool + 1) {
        let mut node = node.clone();
        for source in &mut node.inputs {
            *source = match source {
                Source::Node(before) if *before == pool => Source::Input,
                Source::Node(before) if *before > pool => Source::Node(*before - pool - 1),
                _ => return Err(graph.node_error(pool, "is not all that the logits are made of")),
            };
        }
        nodes.push(node);
    }
    let input = InputSpec { channels, height: 1, width: 1, mean: vec![0.0; channels], std: vec![1.0; channels] };
    let last = output.checked_sub(pool + 1);
    let last = last.ok_or_else(|| graph.node_error(pool, "is the output; there is no class behind it"))?;
    Ok(Graph { input, nodes, output: last, answer: graph.answer })
}
