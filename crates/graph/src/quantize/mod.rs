//! The network in whole numbers of 8 bits: weights symmetric per output channel, activations with one scale and
//! zero point a value, sums in 32 bits (Jacob et al. 2018; Krishnamoorthi 2018), logits in 16.16 bits.
//!
//! Everything after the input's codes is whole-number arithmetic, so that each language the code is generated in
//! gives the same bits as [`Quantized::run`].

mod build;
mod equalise;
mod execute;
mod fit;
mod fixed;
mod input;
mod needed;
mod observe;

pub use fixed::{LOGIT_BITS, Multiplier, SumFactors};
pub use observe::Calibration;

use crate::lower::{Activation, LayerKind, Lowered, lower};
use crate::{Answer, Graph, GraphError, Tensor, Weights, fold_batch_norm};
use build::build;
use equalise::equalise;
use input::input_codes;
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
    /// Codes of the input as `lowered.input` normalises it, which may stretch channels otherwise than the graph's.
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

/// Rounds a network to 8 bits, by what it does with the images given and without training.
///
/// Channels are scaled to fill the range that they share, then layer after layer is rounded and run: its weights one by
/// one such that the later ones make up for the earlier ones' errors, its scales and biases such that the sums on the
/// inputs as rounded so far are what they were. Of the ways to choose ranges the one is kept whose answers are nearest to
/// those before.
///
/// # Shapes
/// `images`: `[N, C, H, W]`, normalised as the graph's input says; 64 of the validation split do.
///
/// # Errors
/// [`GraphError`] if something is not valid, or a layer has so many inputs that 32 bits do not hold its sum.
pub fn quantize(graph: &Graph, weights: &Weights, images: &Tensor) -> Result<Quantized, GraphError> {
    let (folded, weights) = fold_batch_norm(graph, weights)?;
    let mut lowered = lower(&folded, &weights)?;
    let observed = Observed::of(&folded, &weights, &lowered, images)?;
    let input = input_codes(&mut lowered);
    let factors = equalise(&mut lowered, &observed);
    let mut best: Option<(f64, Quantized)> = None;
    for calibration in Calibration::ALL {
        let (candidate, logits) = build(&lowered, (&graph.input, input), &factors, &observed, calibration, images)?;
        let far = divergence(graph.answer, &logits, &observed.logits);
        // The first is as good or better on most networks; a few images do not tell by less.
        if best.as_ref().is_none_or(|(least, _)| far < CLEARLY * *least) {
            best = Some((far, candidate));
        }
    }
    best.map(|(_, quantized)| quantized).ok_or_else(|| GraphError::Tensor("there are no images to calibrate by".into()))
}

/// The share of a divergence that is clearly less.
const CLEARLY: f64 = 0.5;

/// How far all answers are from those of the network as it was: by Kullback-Leibler divergence, or where they are maps by the
/// squared differences.
fn divergence(answer: Answer, found: &[Vec<i32>], truth: &[f32]) -> f64 {
    if answer == Answer::Map {
        let pairs = found.iter().flatten().zip(truth);
        return pairs.map(|(found, truth)| (logit(*found) - f64::from(*truth)).powi(2)).sum();
    }
    let classes = truth.len() / found.len().max(1);
    let answers = found.iter().zip(truth.chunks_exact(classes.max(1)));
    answers
        .map(|(found, truth)| {
            let found = log_softmax(found.iter().map(|x| logit(*x)));
            let truth = log_softmax(truth.iter().map(|x| f64::from(*x)));
            truth.iter().zip(&found).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
        })
        .sum()
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
