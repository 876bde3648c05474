//! `weights.safetensors` and `graph.json`: the network as trained, from which it can be rebuilt and
//! trained on.

use super::{Format, Picture, Run, Source, Written};
use crate::preprocess::{preprocess, softmax};
use crate::{Check, ExportError, Judge, TOLERANCE, answer::map_answer, bundle};
use ::safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use kindling_graph::{Answer, Graph, Op, Tensor, Weights, execute};
use kindling_spec::ExportFormat;
use std::{collections::HashMap, path::Path};

const WEIGHTS: &str = "weights.safetensors";
const GRAPH: &str = "graph.json";
/// The reference executor is plain, and the weights are compared bit by bit as well, so a few images
/// are enough.
const MAX_JUDGES: usize = 8;

/// See the module.
pub(super) struct Safetensors;

impl Format for Safetensors {
    fn format(&self) -> ExportFormat {
        ExportFormat::Safetensors
    }

    fn write(&self, source: &Source<'_>) -> Result<Vec<Written>, ExportError> {
        let mut graph = source.graph.to_json()?;
        graph.push('\n');
        Ok(vec![
            Written {
                name: WEIGHTS,
                bytes: write_weights(source)?,
                media_type: "application/octet-stream",
                about: "every parameter by name, 32-bit floats, running statistics included; shapes as graph.json's nodes need them",
            },
            Written {
                name: GRAPH,
                bytes: graph.into_bytes(),
                media_type: "application/json",
                about: "the network: operators with ONNX's names and semantics, and the normalisation of its input",
            },
        ])
    }

    fn verify(&self, dir: &Path, source: &Source<'_>, judges: &[Judge]) -> Result<Vec<Check>, ExportError> {
        let (graph, weights) = read(dir)?;
        if graph.hash() != source.graph.hash() {
            return Err(ExportError::ReadBack { file: GRAPH.into(), what: "the graph is another".into() });
        }
        if let Some((name, _)) = source.weights.iter().find(|(name, tensor)| !same(weights.get(*name), tensor)) {
            return Err(ExportError::ReadBack { file: WEIGHTS.into(), what: format!("`{name}` differs") });
        }
        let judges = judges.get(..MAX_JUDGES).unwrap_or(judges);
        let mut greatest = 0.0f32;
        for judge in judges {
            let picture = Picture { rgb: &judge.rgb, width: judge.width, height: judge.height };
            let far = source.far_from(judge, &answer(&graph, &weights, picture)?)?;
            greatest = bundle::agree(WEIGHTS, judge, far, TOLERANCE, greatest)?;
        }
        Ok(vec![Check {
            file: WEIGHTS.into(),
            how: "read back from disk with graph.json, compared bit by bit, and run with the reference executor".into(),
            images: judges.len() as u64,
            max_difference: greatest,
            tolerance: TOLERANCE,
        }])
    }

    fn run(&self, dir: &Path, pictures: &[Picture<'_>]) -> Result<Vec<Run>, ExportError> {
        let (graph, weights) = read(dir)?;
        let answers = pictures.iter().map(|picture| answer(&graph, &weights, *picture)).collect::<Result<_, _>>()?;
        Ok(vec![Run { file: WEIGHTS, by: "the reference executor", int8: false, answers }])
    }
}

/// The network as it lies in a bundle.
///
/// # Errors
/// If either file is missing, broken, or not of the other.
pub(crate) fn read(dir: &Path) -> Result<(Graph, Weights), ExportError> {
    let text = String::from_utf8(bundle::read(&dir.join(GRAPH))?).unwrap_or_default();
    let graph = Graph::from_json(&text)?;
    let weights = read_weights(&bundle::read(&dir.join(WEIGHTS))?)?;
    graph.check_weights(&weights)?;
    Ok((graph, weights))
}

fn answer(graph: &Graph, weights: &Weights, picture: Picture<'_>) -> Result<Vec<f32>, ExportError> {
    let softmax_inside = graph.nodes.get(graph.output).is_some_and(|node| matches!(node.op, Op::Softmax));
    let input = preprocess(picture.rgb, picture.width, picture.height, &graph.input)?;
    let output = execute(graph, weights, &input)?;
    if let (Answer::Map, [_, channels, height, width]) = (graph.answer, output.shape.as_slice()) {
        return Ok(map_answer(&output.data, [*channels, *height, *width]));
    }
    let output = output.data;
    Ok(if softmax_inside { output } else { softmax(&output) })
}

/// Equal to the bit, so that the sign of zero counts too.
fn same(found: Option<&Tensor>, expected: &Tensor) -> bool {
    found.is_some_and(|found| {
        let bits = |tensor: &Tensor| tensor.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        found.shape == expected.shape && bits(found) == bits(expected)
    })
}

fn write_weights(source: &Source<'_>) -> Result<Vec<u8>, ExportError> {
    let unwritten = |error: ::safetensors::SafeTensorError| ExportError::Input(format!("{WEIGHTS}: {error}"));
    let bytes: Vec<(&String, &Tensor, Vec<u8>)> = source
        .weights
        .iter()
        .map(|(name, tensor)| (name, tensor, tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, tensor, bytes) in &bytes {
        views.push((*name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(unwritten)?));
    }
    // One entry only: the library writes several in no fixed order.
    let metadata = HashMap::from([("graph_sha256".to_owned(), source.graph.hash())]);
    serialize(views, Some(metadata)).map_err(unwritten)
}

fn read_weights(bytes: &[u8]) -> Result<Weights, ExportError> {
    let broken = |what: String| ExportError::ReadBack { file: WEIGHTS.into(), what };
    let file = SafeTensors::deserialize(bytes).map_err(|error| broken(error.to_string()))?;
    let mut weights = Weights::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(broken(format!("`{name}` is not of 32-bit floats")));
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        let data = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        weights.insert(name.to_owned(), Tensor::new(view.shape().to_vec(), data)?);
    }
    Ok(weights)
}
