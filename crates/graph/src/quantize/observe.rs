//! What each value does on the images for calibration.

use super::Affine;
use super::needed::Needed;
use crate::lower::{Convolution, Layer, LayerKind, Lowered};
use crate::{Graph, GraphError, NodeId, Tensor, Weights, execute_with};
use std::ops::Range;

/// Images run at once.
const BLOCK: usize = 16;
/// Numbers kept of each value, in all.
const SAMPLE: usize = 1 << 14;
/// Places of each convolution's output that its weights are fitted at, in all.
const PLACES: usize = 1 << 13;
/// Products of two differences of codes, each at most 255, that 32 bits hold.
const PRODUCTS: usize = 1 << 14;

/// How a value's range is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calibration {
    /// From the least to the greatest seen.
    MinMax,
    /// With the least squared error of rounding and of cutting off.
    LeastSquares,
}

impl Calibration {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::MinMax, Self::LeastSquares];

    /// For the model card.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "least to greatest",
            Self::LeastSquares => "least squared error",
        }
    }
}

/// One value's.
#[derive(Default, Clone)]
struct Value {
    /// The least and the greatest of each place of one image, or of each channel of a map.
    ends: Vec<[f32; 2]>,
    /// Numbers with the place in `ends` of their channel.
    sample: Vec<(u32, f32)>,
}

/// All values' of the folded graph.
pub(super) struct Observed {
    nodes: Vec<Value>,
    /// For each convolution of the lowered network, what it makes before its activation at its [`places`], `[images, places, O]`.
    pub(super) targets: Vec<Vec<f32>>,
    /// `[images, classes]`.
    pub(super) logits: Vec<f32>,
}

/// Where the output of a convolution is looked at in one image of several.
pub(super) fn places(layer: &Layer, image: usize, images: usize) -> impl Iterator<Item = usize> {
    let plane = layer.to[1] * layer.to[2];
    let count = (PLACES / images.max(1)).clamp(1, plane);
    // Other ones in each image, spread evenly.
    let first = image.wrapping_mul(7919) % plane;
    (0..count).map(move |k| (first + k * plane / count) % plane)
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
        let mut targets = vec![Vec::new(); lowered.layers.len()];
        let mut logits = Vec::new();
        let mut needed = Needed::of(lowered);
        let last = lowered.layers.get(lowered.output).map_or(folded.output, |layer| layer.node);
        let mut first = 0;
        for block in images.data.chunks(BLOCK * size.max(1)) {
            let mut shape = images.shape.clone();
            shape[0] = block.len() / size.max(1);
            let block = Tensor::new(shape, block.to_vec())?;
            execute_with(folded, weights, &block, &mut |id, value| {
                needed.see(id, value, |of, value| nodes[of].add(value, count));
                if id == last {
                    logits.extend(&value.data);
                }
                for (at, layer) in lowered.layers.iter().enumerate() {
                    if layer.raw == id && matches!(layer.kind, LayerKind::Conv(_)) {
                        let plane = layer.to[1] * layer.to[2];
                        for (i, image) in value.data.chunks_exact(layer.len()).enumerate() {
                            for place in places(layer, first + i, count) {
                                targets[at].extend(image.iter().skip(place).step_by(plane));
                            }
                        }
                    }
                }
            })?;
            first += block.shape[0];
        }
        Ok(Self { nodes, targets, logits })
    }

    /// Codes for a node's value, its channels scaled by factors.
    pub(super) fn range(&self, node: NodeId, factors: &[f64], calibration: Calibration) -> Affine {
        self.range_within(node, factors, calibration, f32::NEG_INFINITY, f32::INFINITY)
    }

    /// Codes for what lies between two ends.
    pub(super) fn range_within(
        &self,
        node: NodeId,
        factors: &[f64],
        calibration: Calibration,
        least: f32,
        most: f32,
    ) -> Affine {
        let Some(value) = self.nodes.get(node) else { return Affine::of_range(0.0, 1.0) };
        let (low, high) = value.scaled(factors).range(calibration, least, most);
        Affine::of_range(low.clamp(least, most), high.clamp(least, most))
    }

    /// The least and the greatest of each channel of a node's value.
    pub(super) fn channels(&self, node: NodeId, channels: usize) -> Vec<[f32; 2]> {
        let ends = self.nodes.get(node).map(|value| value.ends.as_slice()).unwrap_or_default();
        // A list that stands for a map has more numbers than the map has channels.
        let each = (ends.len() / channels.max(1)).max(1);
        ends.chunks(each).map(|part| part.iter().fold([0.0f32; 2], |a, b| [a[0].min(b[0]), a[1].max(b[1])])).collect()
    }
}

impl Value {
    fn add(&mut self, value: &Tensor, images: usize) {
        let channels = value.shape.get(1).copied().unwrap_or(1);
        let plane = value.shape.iter().skip(2).product::<usize>().max(1);
        self.ends.resize(channels, [0.0; 2]);
        for (i, numbers) in value.data.chunks_exact(plane).enumerate() {
            let [low, high] = &mut self.ends[i % channels];
            *low = numbers.iter().copied().fold(*low, f32::min);
            *high = numbers.iter().copied().fold(*high, f32::max);
        }
        let each = (SAMPLE / images.max(1)).max(1) * value.shape[0];
        // An odd step meets every column of a picture.
        let step = (value.data.len() / each.max(1)).max(1) | 1;
        let numbers = value.data.iter().enumerate().step_by(step);
        self.sample.extend(numbers.map(|(i, x)| ((i / plane % channels) as u32, *x)));
    }

    fn scaled(&self, factors: &[f64]) -> Scaled {
        let each = (self.ends.len() / factors.len().max(1)).max(1);
        let scale = |place: usize, x: f32| (factors.get(place / each).copied().unwrap_or(1.0) * f64::from(x)) as f32;
        let mut scaled = Scaled::default();
        for (place, [low, high]) in self.ends.iter().enumerate() {
            (scaled.low, scaled.high) = (scaled.low.min(scale(place, *low)), scaled.high.max(scale(place, *high)));
        }
        scaled.sample = self.sample.iter().map(|(place, x)| scale(*place as usize, *x)).collect();
        scaled
    }
}

/// A value with its channels scaled.
#[derive(Default)]
struct Scaled {
    low: f32,
    high: f32,
    sample: Vec<f32>,
}

impl Scaled {
    fn range(&self, calibration: Calibration, least: f32, most: f32) -> (f32, f32) {
        match calibration {
            Calibration::MinMax => (self.low, self.high),
            Calibration::LeastSquares => self.least_squares(least, most),
        }
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

/// The codes that one group of a convolution reads at its [`places`], less their zero.
pub(super) struct Patches {
    /// `[taps, images * places]`.
    pub(super) columns: Vec<Vec<i16>>,
}

impl Patches {
    /// `inputs`: each image's codes `[C, H, W]`.
    pub(super) fn of(layer: &Layer, conv: &Convolution, group: usize, inputs: &[&[i8]], zero: i8) -> Self {
        let [channels, height, width] = layer.from;
        let (per_group, window) = (channels / conv.group, conv.window);
        let area = window.kernel[0] * window.kernel[1];
        let spots: Vec<(&[i8], [usize; 2])> = inputs
            .iter()
            .enumerate()
            .flat_map(|(i, codes)| {
                let corner =
                    |place: usize| [place / layer.to[2] * window.strides[0], place % layer.to[2] * window.strides[1]];
                places(layer, i, inputs.len()).map(move |place| (*codes, corner(place)))
            })
            .collect();
        let column = |tap: usize| {
            let (c, at) = (group * per_group + tap / area.max(1), tap % area.max(1));
            let (down, right) = (at / window.kernel[1], at % window.kernel[1]);
            let read = |(codes, corner): &(&[i8], [usize; 2])| {
                // Above and left of the image wraps to beyond it.
                let y = (corner[0] + down).wrapping_sub(window.pads[0]);
                let x = (corner[1] + right).wrapping_sub(window.pads[1]);
                match y < height && x < width {
                    true => i16::from(codes[(c * height + y) * width + x]) - i16::from(zero),
                    false => 0,
                }
            };
            spots.iter().map(read).collect()
        };
        Self { columns: (0..conv.taps()).map(column).collect() }
    }

    fn count(&self) -> f64 {
        self.columns.first().map_or(1.0, |column| column.len().max(1) as f64)
    }

    /// Mean of each tap.
    pub(super) fn means(&self) -> Vec<f64> {
        let sum = |column: &Vec<i16>| column.iter().map(|x| i64::from(*x)).sum::<i64>() as f64;
        self.columns.iter().map(|column| sum(column) / self.count()).collect()
    }

    /// Covariance of some taps, row by row.
    pub(super) fn covariance(&self, taps: Range<usize>, means: &[f64]) -> Vec<f64> {
        let (n, first) = (taps.len(), taps.start);
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let (a, b) = (&self.columns[first + i], &self.columns[first + j]);
                // So few products of 16 bits fit in 32, which compilers vectorise.
                let parts = a.chunks(PRODUCTS).zip(b.chunks(PRODUCTS));
                let part = |(a, b): (&[i16], &[i16])| -> i64 {
                    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>().into()
                };
                let sum = parts.map(part).sum::<i64>() as f64;
                let value = sum / self.count() - means[first + i] * means[first + j];
                (matrix[i * n + j], matrix[j * n + i]) = (value, value);
            }
        }
        matrix
    }

    /// What a row of codes sums up to at each place.
    pub(super) fn sums(&self, codes: &[i8]) -> Vec<f32> {
        let mut sums = vec![0i32; self.columns.first().map_or(0, Vec::len)];
        for (code, column) in codes.iter().map(|code| i16::from(*code)).zip(&self.columns) {
            for (sum, x) in sums.iter_mut().zip(column) {
                *sum += i32::from(code) * i32::from(*x);
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}
