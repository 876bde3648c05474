//! The network in whole numbers of 8 bits: weights symmetric per output channel, activations with one scale and
//! zero point a value, sums in 32 bits (Jacob et al. 2018; Krishnamoorthi 2018), logits in 16.16 bits.
//!
//! Everything after the input's codes is whole-number arithmetic, so that each language the code is generated in
//! gives the same bits as [`Quantized::run`].

mod execute;
mod fixed;
mod observe;

pub use fixed::{LOGIT_BITS, Multiplier, SumFactors};
pub use observe::Calibration;

use crate::lower::{Activation, LayerKind, Lowered, lower};
use crate::{Graph, GraphError, Source, Tensor, Weights, fold_batch_norm};
use observe::Observed;

/// A real `x` is stored as `round(x / scale) + zero`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// The real distance of two codes.
    pub scale: f32,
    /// The code of 0.
    pub zero: i8,
}

impl Affine {
    /// Codes for a range, widened to hold 0.
    fn of_range(low: f32, high: f32) -> Self {
        let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
        let scale = ((high - low) / 255.0).max(1e-9);
        let zero = (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i8;
        Self { scale: scale as f32, zero }
    }

    /// The code of a real, the ends for what is beyond them.
    pub fn encode(self, x: f64) -> i8 {
        (x / f64::from(self.scale) + f64::from(self.zero) + 0.5).floor().clamp(-128.0, 127.0) as i8
    }

    /// The real of a code.
    pub fn decode(self, code: i8) -> f64 {
        f64::from(i32::from(code) - i32::from(self.zero)) * f64::from(self.scale)
    }
}

/// An 8-bit network.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// Geometry, order and arena (one byte a number); the real numbers are those that were rounded.
    pub lowered: Lowered,
    /// Codes of the normalised input.
    pub input: Affine,
    /// One a layer of `lowered`.
    pub layers: Vec<QuantizedLayer>,
    /// How the ranges were chosen.
    pub calibration: Calibration,
}

/// The numbers of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedLayer {
    /// Codes of what it makes before its table.
    pub raw: Affine,
    /// Least and greatest code before its table: where the activation only limits, it is this.
    pub limits: [i8; 2],
    /// From each code, -128 first, to the code after the activation, for an activation that does more.
    pub table: Option<Vec<i8>>,
    /// Codes of what it makes.
    pub output: Affine,
    /// What is particular to its kind.
    pub kind: QuantizedKind,
}

/// The numbers of a kind of layer.
#[derive(Debug, Clone, PartialEq)]
pub enum QuantizedKind {
    /// A convolution.
    Conv {
        /// `[O, I / group, kH, kW]`, -127 to 127.
        weight: Vec<i8>,
        /// Of the weights, `[O]`.
        scales: Vec<f32>,
        /// In units of the input's scale times the weights', `[O]`: each a number of 16 bits times `2^bias_shift`, so that
        /// files may keep two bytes for each ([`QuantizedKind::bias_codes`]).
        bias: Vec<i32>,
        /// The least that all biases of the layer fit with; 0 to 15.
        bias_shift: u8,
        /// From sums to the codes of `raw`, or to logits in the last layer, `[O]`.
        multipliers: Vec<Multiplier>,
    },
    /// A sum.
    Add(SumFactors),
    /// A pool of codes: its input's scale is its output's.
    Pool,
    /// A mean of each channel, from the sum of all codes less as many zeros.
    Mean(Multiplier),
    /// A table alone.
    Activation,
}

/// Rounds a network to 8 bits; the ranges come from what it does with the images given.
///
/// Tries each [`Calibration`] and keeps the one whose answers on the images are nearest to those before, in
/// Kullback-Leibler divergence. The error that rounding the weights makes in each channel's mean is taken from its bias
/// (Nagel et al. 2019, section 4.2).
///
/// # Shapes
/// `images`: `[N, C, H, W]`, normalised as the graph's input says; a hundred of the validation split do.
///
/// # Errors
/// [`GraphError`] if something is not valid, or a layer has so many inputs that 32 bits do not hold its sum.
pub fn quantize(graph: &Graph, weights: &Weights, images: &Tensor) -> Result<Quantized, GraphError> {
    let (folded, weights) = fold_batch_norm(graph, weights)?;
    let lowered = lower(&folded, &weights)?;
    let observed = Observed::of(&folded, &weights, &lowered, images)?;
    let mut best: Option<(f64, Quantized)> = None;
    for calibration in Calibration::ALL {
        let candidate = with_ranges(&lowered, &observed, calibration)?;
        let far = divergence(&candidate, images, &observed.logits)?;
        if best.as_ref().is_none_or(|(least, _)| far < *least) {
            best = Some((far, candidate));
        }
    }
    best.map(|(_, quantized)| quantized).ok_or_else(|| GraphError::Tensor("there are no images to calibrate by".into()))
}

/// Images that the ways to choose ranges are compared on, at most.
const COMPARED: usize = 24;

/// Kullback-Leibler divergence of the answers from those of the network as it was.
fn divergence(quantized: &Quantized, images: &Tensor, logits: &[f32]) -> Result<f64, GraphError> {
    let size: usize = images.shape[1..].iter().product();
    let classes = logits.len() / images.shape[0].max(1);
    let mut sum = 0.0;
    for (image, truth) in images.data.chunks_exact(size).zip(logits.chunks_exact(classes)).take(COMPARED) {
        let codes: Vec<i8> = image.iter().map(|x| quantized.input.encode(f64::from(*x))).collect();
        let found = log_softmax(quantized.run(&codes)?.iter().map(|x| logit(*x)));
        let truth = log_softmax(truth.iter().map(|x| f64::from(*x)));
        sum += truth.iter().zip(&found).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
    }
    Ok(sum)
}

fn log_softmax(logits: impl Iterator<Item = f64>) -> Vec<f64> {
    let logits: Vec<f64> = logits.collect();
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = logits.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
    logits.iter().map(|x| x - top - sum).collect()
}

/// The real of a logit as it is stored.
pub(crate) fn logit(stored: i32) -> f64 {
    f64::from(stored) / f64::from(1 << LOGIT_BITS)
}

fn with_ranges(lowered: &Lowered, observed: &Observed, calibration: Calibration) -> Result<Quantized, GraphError> {
    let input = input_codes(lowered);
    let mut layers: Vec<QuantizedLayer> = Vec::with_capacity(lowered.layers.len());
    for (at, layer) in lowered.layers.iter().enumerate() {
        let codes = |source: &Source| match source {
            Source::Input => input,
            Source::Node(before) => layers[*before].output,
        };
        let Some(first) = layer.inputs.first() else {
            return Err(GraphError::Graph(format!("layer `{}` reads nothing", layer.name)));
        };
        let from = codes(first);
        // A pool keeps its input's codes; all else has its own.
        let pool = matches!(layer.kind, LayerKind::MaxPool(_) | LayerKind::AveragePool(_));
        let range = |node: usize| observed.range(node, calibration);
        let (raw, output) = match layer.activation {
            _ if pool => (from, from),
            Activation::Identity => {
                let own = range(layer.node);
                (own, own)
            }
            // The code of a limit is a limit of the codes.
            Activation::Clamp { .. } if !matches!(layer.kind, LayerKind::Activation) => {
                let own = range(layer.node);
                (own, own)
            }
            Activation::Clamp { .. } => (from, range(layer.node)),
            // What is beyond comes to the same, or nearly.
            Activation::HardSwish => {
                (observed.range_within(layer.raw, calibration, -3.0, f32::INFINITY), range(layer.node))
            }
            Activation::Sigmoid => {
                (observed.range_within(layer.raw, calibration, -8.0, 8.0), Affine { scale: 1.0 / 256.0, zero: -128 })
            }
        };
        let raw = if matches!(layer.kind, LayerKind::Activation) { from } else { raw };
        let limits = match layer.activation {
            Activation::Clamp { low, high } if !matches!(layer.kind, LayerKind::Activation) => {
                [raw.encode(f64::from(low)), raw.encode(f64::from(high))]
            }
            _ => [-128, 127],
        };
        let table = match layer.activation {
            Activation::Identity => None,
            Activation::Clamp { .. } if !matches!(layer.kind, LayerKind::Activation) => None,
            activation => Some((-128..=127).map(|code| output.encode(activation.apply(raw.decode(code)))).collect()),
        };
        let last = at == lowered.output && layer.activation == Activation::Identity;
        let kind = match &layer.kind {
            LayerKind::Conv(conv) => {
                let source = match first {
                    Source::Input => None,
                    Source::Node(before) => Some(lowered.layers[*before].node),
                };
                let taps = conv.taps();
                if taps > MAX_TAPS {
                    let what = format!("layer `{}` sums {taps} products; 32 bits hold at most {MAX_TAPS}", layer.name);
                    return Err(GraphError::Graph(what));
                }
                let (weight, scales, bias) = round_weights(conv, from.scale, &observed.means(source, layer.from[0]));
                let (bias, bias_shift) = round_biases(&bias);
                let unit = if last { 1.0 / f64::from(1 << LOGIT_BITS) } else { f64::from(raw.scale) };
                let multiplier = |scale: &f32| Multiplier::new(f64::from(from.scale) * f64::from(*scale) / unit);
                let multipliers = scales.iter().map(multiplier).collect();
                QuantizedKind::Conv { weight, scales, bias, bias_shift, multipliers }
            }
            LayerKind::Add => {
                let second = layer.inputs.get(1).map_or(from, codes);
                let factor = |codes: Affine| f64::from(codes.scale) / f64::from(raw.scale);
                QuantizedKind::Add(SumFactors::new([factor(from), factor(second)]))
            }
            LayerKind::MaxPool(_) | LayerKind::AveragePool(_) => QuantizedKind::Pool,
            LayerKind::GlobalAveragePool => {
                let count = (layer.from[1] * layer.from[2]) as f64;
                QuantizedKind::Mean(Multiplier::new(f64::from(from.scale) / f64::from(raw.scale) / count))
            }
            LayerKind::Activation => QuantizedKind::Activation,
        };
        layers.push(QuantizedLayer { raw, limits, table, output, kind });
    }
    Ok(Quantized { lowered: lowered.clone(), input, layers, calibration })
}

/// As many products of 8 bits as are sure to fit in 32 bits with a bias.
const MAX_TAPS: usize = 33_000;

/// Codes that hold black and white in every channel.
fn input_codes(lowered: &Lowered) -> Affine {
    let spec = &lowered.input;
    let ends = spec.mean.iter().zip(&spec.std).flat_map(|(mean, std)| [-mean / std, (1.0 - mean) / std]);
    let (low, high) = ends.fold((0.0f32, 0.0f32), |(low, high), x| (low.min(x), high.max(x)));
    Affine::of_range(low, high)
}

/// Weights, their scales and biases; `means` are those of the input's channels.
fn round_weights(conv: &crate::lower::Convolution, from: f32, means: &[f64]) -> (Vec<i8>, Vec<f32>, Vec<f64>) {
    let (outs, taps) = (conv.bias.len(), conv.taps());
    let per_group = means.len() / conv.group.max(1);
    let window = taps / per_group.max(1);
    let (mut weight, mut scales, mut biases) = (Vec::with_capacity(conv.weight.len()), Vec::new(), Vec::new());
    for (o, (row, bias)) in conv.weight.chunks_exact(taps.max(1)).zip(&conv.bias).enumerate() {
        let greatest = row.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        // A channel of next to no weight has a bias of many units: with a coarser scale it has fewer, so that it does not
        // make all the layer's biases coarse. Half of what fits is left for what is taken from the bias below.
        let least = f64::from(bias.abs()) / f64::from(from) / f64::from(1 << (14 + FINE_BIAS_SHIFT));
        let scale = (f64::from(greatest) / 127.0).max(least).max(1e-12) as f32;
        let codes: Vec<i8> =
            row.iter().map(|w| (f64::from(*w) / f64::from(scale)).round().clamp(-127.0, 127.0) as i8).collect();
        let first = o / (outs / conv.group.max(1)).max(1) * per_group;
        let error: f64 = row
            .iter()
            .zip(&codes)
            .enumerate()
            .map(|(tap, (w, code))| {
                (f64::from(*code) * f64::from(scale) - f64::from(*w)) * means[first + tap / window.max(1)]
            })
            .sum();
        let unit = f64::from(from) * f64::from(scale);
        weight.extend(codes);
        scales.push(scale);
        biases.push((f64::from(*bias) - error) / unit);
    }
    (weight, scales, biases)
}

/// The greatest exponent of a layer's biases: they and their sums stay within 32 bits.
const MAX_BIAS_SHIFT: u8 = 15;
/// Scales are chosen such that no bias needs a greater one: eight units are little beside the hundreds that make one code.
const FINE_BIAS_SHIFT: u8 = 4;

/// Biases of 16 bits times the least power of two that all fit with.
fn round_biases(biases: &[f64]) -> (Vec<i32>, u8) {
    let code = |bias: f64, shift: u8| (bias / f64::from(1 << shift)).round();
    let fits = |shift: &u8| biases.iter().all(|bias| code(*bias, *shift).abs() <= f64::from(i16::MAX));
    let shift = (0..MAX_BIAS_SHIFT).find(fits).unwrap_or(MAX_BIAS_SHIFT);
    let most = f64::from(i16::MAX);
    (biases.iter().map(|bias| (code(*bias, shift).clamp(-most, most) as i32) << shift).collect(), shift)
}

impl QuantizedKind {
    /// A convolution's biases as numbers of 16 bits, and the power of two that each is to be multiplied by.
    pub fn bias_codes(&self) -> Option<(Vec<i16>, u8)> {
        match self {
            Self::Conv { bias, bias_shift, .. } => {
                Some((bias.iter().map(|bias| (bias >> bias_shift) as i16).collect(), *bias_shift))
            }
            _ => None,
        }
    }
}

impl Quantized {
    /// For each channel and level of a picture, the code of the normalised input.
    pub fn input_tables(&self) -> Vec<[i8; 256]> {
        let spec = &self.lowered.input;
        let table = |(mean, std): (&f32, &f32)| {
            let level = |v: usize| (v as f64 / 255.0 - f64::from(*mean)) / f64::from(*std);
            std::array::from_fn(|v| self.input.encode(level(v)))
        };
        spec.mean.iter().zip(&spec.std).map(table).collect()
    }

    /// Bytes of weights, one each, and biases, two each and one for each layer's shift. Multipliers, tables and geometry are
    /// not counted, as no scales of floats are.
    pub fn weights_bytes(&self) -> u64 {
        let bytes = |layer: &QuantizedLayer| match &layer.kind {
            QuantizedKind::Conv { weight, bias, .. } => weight.len() as u64 + 2 * bias.len() as u64 + 1,
            _ => 0,
        };
        self.layers.iter().map(bytes).sum()
    }

    /// The factor that makes logits of the last layer's codes, where that layer is not a convolution without an
    /// activation, which makes logits itself.
    pub fn logits_from_codes(&self) -> Option<Multiplier> {
        let layer = self.lowered.layers.get(self.lowered.output)?;
        let own = matches!(layer.kind, LayerKind::Conv(_)) && layer.activation == Activation::Identity;
        let scale = self.layers.get(self.lowered.output)?.output.scale;
        (!own).then(|| Multiplier::new(f64::from(scale) * f64::from(1 << LOGIT_BITS)))
    }
}
