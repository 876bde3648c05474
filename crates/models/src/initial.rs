//! Weights before training.

use crate::{ModelError, random::Random};
use kindling_graph::{Answer, Graph, Op, Tensor, Weights};

/// The logit of one in ten.
const RARE: f32 = -2.2;

/// Initial weights of a graph, drawn from the seed alone: the same on every device.
///
/// Convolutions are uniform with He's variance (He et al. 2015), `2 / fan_in`, which needs no
/// transcendental function and so has the same bits everywhere; layers whose outputs are logits have variance
/// `1 / (3 fan_in)`. Biases and means are 0, scales and variances 1; of maps the classes' biases
/// are [`RARE`], so that training does not begin with unlearning objects everywhere (Lin et al. 2017, section 4.1).
///
/// # Errors
/// [`ModelError`] if the graph is not valid.
pub fn initial_weights(graph: &Graph, seed: u64) -> Result<Weights, ModelError> {
    let mut weights = Weights::new();
    // The layer whose output is the map.
    let map = match graph.answer {
        Answer::Map => graph.nodes.get(graph.output).map_or("", |node| node.name.as_str()),
        Answer::Classes => "",
    };
    for spec in graph.params()? {
        let (node, role) = spec.name.rsplit_once('.').unwrap_or((spec.name.as_str(), ""));
        let numbers: usize = spec.shape.iter().product();
        let data = match role {
            "weight" => {
                let logits =
                    node == map || graph.nodes.iter().any(|n| n.name == node && matches!(n.op, Op::Gemm { .. }));
                let fan_in = spec.shape.iter().skip(1).product::<usize>().max(1) as f64;
                let bound = (if logits { 1.0 } else { 6.0 } / fan_in).sqrt();
                let mut random = Random::named(seed, &spec.name);
                (0..numbers).map(|_| ((random.uniform() * 2.0 - 1.0) * bound) as f32).collect()
            }
            "scale" | "var" => vec![1.0; numbers],
            "bias" if node == map => {
                let sides = if numbers > 4 { 4 } else { 0 };
                (0..numbers).map(|i| if i + sides < numbers { RARE } else { 0.0 }).collect()
            }
            _ => vec![0.0; numbers],
        };
        weights.insert(spec.name.clone(), Tensor::new(spec.shape, data)?);
    }
    Ok(weights)
}
