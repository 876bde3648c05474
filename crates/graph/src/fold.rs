//! Passes from the graph that is trained to the one that is deployed.

use crate::{Graph, GraphError, Node, Op, Source, Tensor, Weights};

/// A normalisation that went into the layer before it.
struct Merge {
    norm: String,
    epsilon: f32,
    layer: String,
}

/// The graph without Dropout, and with each BatchNormalization merged into the Conv or Gemm before it
/// (which gets a bias) where that layer has no other reader. Other normalisations stay.
///
/// # Errors
/// As [`Graph::validate`].
pub fn fold_graph(graph: &Graph) -> Result<Graph, GraphError> {
    graph.validate()?;
    let (folded, _) = merge_norms(&drop_dropout(graph));
    folded.validate()?;
    Ok(folded)
}

/// [`fold_graph`] with the weights to match: `w * scale / sqrt(var + epsilon)` and
/// `(b - mean) * scale / sqrt(var + epsilon) + bias` per output channel (Jacob et al. 2018, section
/// 3.2), computed in 64 bits.
///
/// # Errors
/// [`GraphError`] if the graph is not valid, or the weights are not its own or have a negative variance.
pub fn fold_batch_norm(graph: &Graph, weights: &Weights) -> Result<(Graph, Weights), GraphError> {
    graph.validate()?;
    graph.check_weights(weights)?;
    let (folded, merges) = merge_norms(&drop_dropout(graph));
    folded.validate()?;
    let mut weights = weights.clone();
    for merge in merges {
        merge_weights(&mut weights, &merge)?;
    }
    folded.check_weights(&weights)?;
    Ok((folded, weights))
}

/// The weights with all logits times a factor: those of the layer that makes them are scaled. None if that is no Conv or Gemm
/// whose value is the output as it is.
///
/// # Errors
/// As [`Graph::validate`], or if the weights are not the graph's.
pub fn scale_logits(graph: &Graph, weights: &Weights, factor: f32) -> Result<Option<Weights>, GraphError> {
    graph.validate()?;
    graph.check_weights(weights)?;
    let mut at = graph.output;
    loop {
        let node = &graph.nodes[at];
        match (&node.op, node.inputs.first()) {
            (Op::Softmax | Op::Flatten | Op::Dropout { .. } | Op::GlobalAveragePool, Some(Source::Node(before))) => {
                at = *before
            }
            (Op::Conv { .. } | Op::Gemm { .. }, _) => {
                let mut weights = weights.clone();
                for role in ["weight", "bias"] {
                    if let Some(tensor) = weights.get_mut(&format!("{}.{role}", node.name)) {
                        tensor.data.iter_mut().for_each(|w| *w *= factor);
                    }
                }
                return Ok(Some(weights));
            }
            _ => return Ok(None),
        }
    }
}

/// Where an old source is found in the new graph.
fn resolve(map: &[Source], source: Source) -> Source {
    match source {
        Source::Input => Source::Input,
        Source::Node(id) => map[id],
    }
}

fn drop_dropout(graph: &Graph) -> Graph {
    let mut nodes: Vec<Node> = Vec::with_capacity(graph.nodes.len());
    let mut map = Vec::with_capacity(graph.nodes.len());
    let mut output = graph.output;
    for (id, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<Source> = node.inputs.iter().map(|source| resolve(&map, *source)).collect();
        // A graph that is nothing but Dropout keeps it: its output has to be a node.
        let is_all = id == graph.output && inputs == [Source::Input];
        if let (Op::Dropout { .. }, [source], false) = (&node.op, inputs.as_slice(), is_all) {
            map.push(*source);
        } else {
            map.push(Source::Node(nodes.len()));
            nodes.push(Node { name: node.name.clone(), op: node.op.clone(), inputs });
        }
        if let (true, Source::Node(new)) = (id == graph.output, map[id]) {
            output = new;
        }
    }
    Graph { input: graph.input.clone(), nodes, output, answer: graph.answer }
}

fn merge_norms(graph: &Graph) -> (Graph, Vec<Merge>) {
    let uses = graph.uses();
    let mut nodes: Vec<Node> = Vec::with_capacity(graph.nodes.len());
    let mut map = Vec::with_capacity(graph.nodes.len());
    let mut merges = Vec::new();
    let mut output = graph.output;
    for (id, node) in graph.nodes.iter().enumerate() {
        let inputs: Vec<Source> = node.inputs.iter().map(|source| resolve(&map, *source)).collect();
        let layer = match (&node.op, node.inputs.first(), inputs.first()) {
            // One use of the old node is this normalisation's; what it was merged into has no other either.
            (Op::BatchNormalization { epsilon }, Some(Source::Node(old)), Some(Source::Node(new)))
                if uses[*old] == 1 =>
            {
                match &mut nodes[*new] {
                    Node { name, op: Op::Conv { bias, .. } | Op::Gemm { bias, .. }, .. } => {
                        *bias = true;
                        merges.push(Merge { norm: node.name.clone(), epsilon: *epsilon, layer: name.clone() });
                        Some(*new)
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        let new = layer.unwrap_or(nodes.len());
        if layer.is_none() {
            nodes.push(Node { name: node.name.clone(), op: node.op.clone(), inputs });
        }
        map.push(Source::Node(new));
        if id == graph.output {
            output = new;
        }
    }
    (Graph { input: graph.input.clone(), nodes, output, answer: graph.answer }, merges)
}

fn merge_weights(weights: &mut Weights, merge: &Merge) -> Result<(), GraphError> {
    let mut take = |role: &str| {
        let name = format!("{}.{role}", merge.norm);
        weights.remove(&name).ok_or_else(|| GraphError::weight(name, "is missing"))
    };
    let (scale, shift, mean, var) = (take("scale")?, take("bias")?, take("mean")?, take("var")?);
    let factors = scale.data.iter().zip(&var.data).map(|(scale, var)| {
        let spread = f64::from(*var) + f64::from(merge.epsilon);
        if spread > 0.0 {
            Ok(f64::from(*scale) / spread.sqrt())
        } else {
            Err(GraphError::weight(format!("{}.var", merge.norm), format!("has {var}; a variance is never negative")))
        }
    });
    let factors: Vec<f64> = factors.collect::<Result<_, _>>()?;
    let name = format!("{}.weight", merge.layer);
    let weight = weights.get_mut(&name).ok_or_else(|| GraphError::weight(name, "is missing"))?;
    let rows = (weight.data.len() / factors.len().max(1)).max(1);
    for (row, factor) in weight.data.chunks_mut(rows).zip(&factors) {
        for value in row {
            *value = (f64::from(*value) * factor) as f32;
        }
    }
    let bias =
        weights.entry(format!("{}.bias", merge.layer)).or_insert_with(|| Tensor::filled(vec![factors.len()], 0.0));
    for (i, (value, factor)) in bias.data.iter_mut().zip(&factors).enumerate() {
        *value = ((f64::from(*value) - f64::from(mean.data[i])) * factor + f64::from(shift.data[i])) as f32;
    }
    Ok(())
}
