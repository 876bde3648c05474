//! Untrained weights, for measuring latency and for tests.

use crate::{Graph, GraphError, Tensor, Weights};

/// What biases and the parameters of BatchNormalization are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    /// As before training: biases 0, scale 1, mean 0, variance 1.
    Fresh,
    /// Random but plausible, so that a test sees each of them.
    Random,
}

/// Weights as before training, drawn from a seed: normal with variance `2 / fan_in` (He et al. 2015).
///
/// # Errors
/// As [`Graph::validate`].
pub fn random_weights(graph: &Graph, seed: u64) -> Result<Weights, GraphError> {
    random_weights_with(graph, seed, Statistics::Fresh)
}

/// [`random_weights`] with a choice of what the rest is.
///
/// # Errors
/// As [`Graph::validate`].
pub fn random_weights_with(graph: &Graph, seed: u64, statistics: Statistics) -> Result<Weights, GraphError> {
    graph.validate()?;
    let mut random = SplitMix(seed);
    let fresh = statistics == Statistics::Fresh;
    let mut weights = Weights::new();
    for spec in graph.params()? {
        let fan_in: usize = spec.shape[1..].iter().product();
        let deviation = (2.0 / fan_in.max(1) as f64).sqrt();
        let role = spec.name.rsplit('.').next().unwrap_or_default();
        let mut draw = || match role {
            "weight" => deviation * random.normal(),
            "scale" | "var" if fresh => 1.0,
            "scale" | "var" => 0.5 + random.unit(),
            _ if fresh => 0.0,
            _ => random.unit() - 0.5,
        };
        let data = (0..spec.numbers()).map(|_| draw() as f32).collect();
        weights.insert(spec.name, Tensor { shape: spec.shape, data });
    }
    Ok(weights)
}

/// SplitMix64 (Steele, Lea and Flood 2014): tiny, and the same on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Box and Muller 1958.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}
