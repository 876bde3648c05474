//! Which parts of an image speak for a class.

use crate::{Graph, GraphError, InputSpec, NodeId, Op, Source, Tensor, Weights, execute, execute_with};

/// How much each place of an image speaks for a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Heat {
    /// Rows of places.
    pub height: usize,
    /// Places in a row.
    pub width: usize,
    /// `[height, width]`, 0 to 1; the most is 1, unless nothing speaks for the class.
    pub values: Vec<f32>,
}

/// How far each pooled feature is moved to see what the logit does, as a share of the greatest of them.
const STEP: f32 = 1e-2;

/// Grad-CAM (Selvaraju et al. 2017) at the last map before the mean over all places: the map's channels, each weighted by
/// how the class's logit grows with the channel's mean, summed, what speaks against the class left out.
///
/// What follows the mean is so small that its gradient is taken by moving each feature both ways.
///
/// # Shapes
/// `image`: `[1, C, H, W]`, normalised as the graph's input says.
///
/// # Errors
/// [`GraphError`] if the graph, its weights or the image are not valid, there is no such class, or the network has no
/// GlobalAveragePool.
pub fn heat(graph: &Graph, weights: &Weights, image: &Tensor, class: usize) -> Result<Heat, GraphError> {
    let classes: usize = graph.output_shape()?.iter().product();
    if class >= classes {
        return Err(GraphError::Graph(format!("there is no class {class}; the network has {classes}")));
    }
    let pool = graph.nodes.iter().rposition(|node| node.op == Op::GlobalAveragePool);
    let pool = pool.ok_or_else(|| GraphError::Graph("the network has no GlobalAveragePool to look behind".into()))?;
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
    let own: Weights =
        weights.iter().filter(|(name, _)| is_of(&tail, name)).map(|(n, t)| (n.clone(), t.clone())).collect();
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

/// The pool and what follows it, up to the logits, as a network of its own that reads the pooled features.
fn tail(graph: &Graph, pool: NodeId, channels: usize) -> Result<Graph, GraphError> {
    let mut output = graph.output;
    while let (Op::Softmax, Some(Source::Node(before))) = (&graph.nodes[output].op, graph.nodes[output].inputs.first())
    {
        output = *before;
    }
    let mut nodes = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate().take(output + 1).skip(pool) {
        let mut node = node.clone();
        for source in &mut node.inputs {
            *source = match source {
                // The mean of one place is that place.
                _ if id == pool => Source::Input,
                Source::Node(before) if *before >= pool => Source::Node(*before - pool),
                _ => return Err(graph.node_error(id, "reads what lies before the last GlobalAveragePool")),
            };
        }
        nodes.push(node);
    }
    let input = InputSpec { channels, height: 1, width: 1, mean: vec![0.0; channels], std: vec![1.0; channels] };
    Ok(Graph { input, nodes, output: output - pool, answer: graph.answer })
}
