//! What each value does on the images for calibration.

use super::Affine;
use crate::lower::Lowered;
use crate::{Graph, GraphError, NodeId, Tensor, Weights, execute_with};

/// Images run at once.
const BLOCK: usize = 16;
/// Numbers kept of each value, in all.
const SAMPLE: usize = 1 << 14;

/// How a value's range is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calibration {
    /// From the least to the greatest seen.
    MinMax,
    /// Without the outermost thousandth.
    Percentile,
    /// With the least squared error of rounding and of cutting off.
    LeastSquares,
}

impl Calibration {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MinMax, Self::Percentile, Self::LeastSquares];

    /// For the model card.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "least to greatest",
            Self::Percentile => "without the outermost thousandth",
            Self::LeastSquares => "least squared error",
        }
    }
}

/// One value's.
#[derive(Default, Clone)]
struct Value {
    low: f32,
    high: f32,
    sample: Vec<f32>,
    /// Sums of each channel, over `count` numbers.
    sums: Vec<f64>,
    count: usize,
}

/// All values' of the folded graph.
pub(super) struct Observed {
    nodes: Vec<Value>,
    input: Value,
    /// `[images, classes]`.
    pub(super) logits: Vec<f32>,
}

impl Observed {
    pub(super) fn of(
        folded: &Graph,
        weights: &Weights,
        lowered: &Lowered,
        images: &Tensor,
    ) -> Result<Self, GraphError> {
        let count = images.shape.first().copied().unwrap_or(0);
        let size: usize = images.shape.iter().skip(1).product();
        if count == 0 || images.data.len() != count * size {
            return Err(GraphError::Tensor("there are no images to calibrate by".into()));
        }
        let mut nodes = vec![Value::default(); folded.nodes.len()];
        let (mut input, mut logits) = (Value::default(), Vec::new());
        let last = lowered.layers.get(lowered.output).map_or(folded.output, |layer| layer.node);
        for block in images.data.chunks(BLOCK * size.max(1)) {
            let mut shape = images.shape.clone();
            shape[0] = block.len() / size.max(1);
            let block = Tensor::new(shape, block.to_vec())?;
            input.add(&block, count);
            execute_with(folded, weights, &block, &mut |id, value| {
                nodes[id].add(value, count);
                if id == last {
                    logits.extend(&value.data);
                }
            })?;
        }
        Ok(Self { nodes, input, logits })
    }

    pub(super) fn range(&self, node: NodeId, calibration: Calibration) -> Affine {
        self.range_within(node, calibration, f32::NEG_INFINITY, f32::INFINITY)
    }

    /// Codes for what lies between two ends.
    pub(super) fn range_within(&self, node: NodeId, calibration: Calibration, least: f32, most: f32) -> Affine {
        let Some(value) = self.nodes.get(node) else { return Affine::of_range(0.0, 1.0) };
        let (low, high) = match calibration {
            Calibration::MinMax => (value.low, value.high),
            Calibration::Percentile => value.percentile(),
            Calibration::LeastSquares => value.least_squares(least, most),
        };
        Affine::of_range(low.clamp(least, most), high.clamp(least, most))
    }

    /// Mean of each channel of a node's value, or of the input's.
    pub(super) fn means(&self, node: Option<NodeId>, channels: usize) -> Vec<f64> {
        let value = node.and_then(|id| self.nodes.get(id)).unwrap_or(&self.input);
        let means: Vec<f64> = value.sums.iter().map(|sum| sum / value.count.max(1) as f64).collect();
        // A list that stands for a map has more sums than the map has channels.
        let each = means.len() / channels.max(1);
        means.chunks(each.max(1)).map(|part| part.iter().sum::<f64>() / part.len() as f64).collect()
    }
}

impl Value {
    fn add(&mut self, value: &Tensor, images: usize) {
        let channels = value.shape.get(1).copied().unwrap_or(1);
        let plane: usize = value.shape.iter().skip(2).product();
        self.sums.resize(channels, 0.0);
        for (i, numbers) in value.data.chunks_exact(plane.max(1)).enumerate() {
            self.sums[i % channels] += numbers.iter().map(|x| f64::from(*x)).sum::<f64>();
            self.low = numbers.iter().copied().fold(self.low, f32::min);
            self.high = numbers.iter().copied().fold(self.high, f32::max);
        }
        self.count += value.shape[0] * plane;
        let each = (SAMPLE / images.max(1)).max(1) * value.shape[0];
        // An odd step meets every column of a picture.
        let step = (value.data.len() / each.max(1)).max(1) | 1;
        self.sample.extend(value.data.iter().step_by(step));
    }

    fn percentile(&self) -> (f32, f32) {
        let mut sorted = self.sample.clone();
        sorted.sort_by(f32::total_cmp);
        let cut = sorted.len() / 1000;
        let at = |place: usize| sorted.get(place).copied().unwrap_or(0.0);
        (at(cut), at(sorted.len().saturating_sub(1 + cut)))
    }

    fn least_squares(&self, least: f32, most: f32) -> (f32, f32) {
        let mut best = (f64::INFINITY, (self.low, self.high));
        for share in (6..=20).map(|step| step as f32 / 20.0) {
            let (low, high) = (self.low * share, self.high * share);
            let codes = Affine::of_range(low.clamp(least, most), high.clamp(least, most));
            let error: f64 = self
                .sample
                .iter()
                .map(|x| f64::from(x.clamp(least, most)))
                .map(|x| (codes.decode(codes.encode(x)) - x).powi(2))
                .sum();
            if error < best.0 {
                best = (error, (low, high));
            }
        }
        best.1
    }
}
