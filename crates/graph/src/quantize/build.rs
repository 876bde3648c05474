//! Rounds layer after layer, each by what those before it make of the images for calibration.

use super::execute::Made;
use super::fit::{Rows, fit_rows};
use super::observe::{Observed, Patches};
use super::{Affine, Calibration, LOGIT_BITS, Multiplier, Quantized, QuantizedKind, QuantizedLayer, SumFactors};
use crate::lower::{Activation, Convolution, Layer, LayerKind, Lowered};
use crate::{GraphError, InputSpec, Source, Tensor};

/// As many products of 8 bits as are sure to fit in 32 bits with a bias.
const MAX_TAPS: usize = 33_000;
/// The greatest exponent of a layer's biases: they and their sums stay within 32 bits.
const MAX_BIAS_SHIFT: u8 = 15;
/// Scales are chosen such that no bias needs a greater one: eight units are little beside the hundreds that make one code.
const FINE_BIAS_SHIFT: u8 = 4;

/// The network in 8 bits, and its logits for each image. `images` are normalised as `spec` says, `input` are the codes of what
/// `lowered` reads, `factors` those of its channels.
pub(super) fn build(
    lowered: &Lowered,
    (spec, input): (&InputSpec, Affine),
    factors: &[Vec<f64>],
    observed: &Observed,
    calibration: Calibration,
    images: &Tensor,
) -> Result<(Quantized, Vec<Vec<i32>>), GraphError> {
    let mut made = Quantized { lowered: lowered.clone(), input, layers: Vec::new(), calibration };
    let size: usize = images.shape.iter().skip(1).product();
    // Through bytes, as pictures come in.
    let tables = made.input_tables();
    let norms = spec.mean.iter().zip(&spec.std);
    let channels: Vec<_> = tables.iter().zip(norms.map(|(mean, std)| (f64::from(*mean), f64::from(*std)))).collect();
    let plane = (size / channels.len().max(1)).max(1);
    let code = |image: &[f32]| -> Vec<i8> {
        let numbers = image.iter().enumerate();
        let codes = numbers.filter_map(|(at, x)| {
            let (table, (mean, std)) = channels.get(at / plane)?;
            let level = (f64::from(*x) * std + mean) * 255.0 + 0.5;
            table.get(level.floor().clamp(0.0, 255.0) as usize).copied()
        });
        codes.collect()
    };
    let coded: Vec<Vec<i8>> = images.data.chunks_exact(size.max(1)).map(code).collect();
    let mut held: Vec<Vec<Vec<i8>>> = Vec::with_capacity(lowered.layers.len());
    let mut logits = Vec::with_capacity(coded.len());
    for (at, layer) in lowered.layers.iter().enumerate() {
        let read = |source: &Source, image: usize| match source {
            Source::Input => coded[image].as_slice(),
            Source::Node(before) => held[*before][image].as_slice(),
        };
        let Some(first) = layer.inputs.first() else {
            return Err(GraphError::Graph(format!("layer `{}` reads nothing", layer.name)));
        };
        let (raw, output) = codes(layer, made.codes_of(first), &factors[at], observed, calibration);
        let inputs = (0..coded.len()).map(|image| read(first, image)).collect();
        let kind = kind(&made, at, inputs, raw, &factors[at], &observed.targets[at])?;
        made.layers.push(rounded(layer, raw, output, kind));
        let mut values = Vec::with_capacity(coded.len());
        for image in 0..coded.len() {
            let inputs: Vec<_> =
                layer.inputs.iter().map(|source| (read(source, image), made.codes_of(source))).collect();
            match made.run_layer(at, &inputs)? {
                Made::Codes(codes) => values.push(codes),
                Made::Logits(made) => logits.push(made),
            }
        }
        held.push(values);
        let is_read = |before: usize| {
            let mut later = lowered.layers.iter().skip(at + 1);
            before == lowered.output || later.any(|layer| layer.inputs.contains(&Source::Node(before)))
        };
        for source in &layer.inputs {
            if let Source::Node(before) = source
                && !is_read(*before)
            {
                held[*before] = Vec::new();
            }
        }
    }
    if logits.is_empty() {
        logits = held[lowered.output].iter().map(|codes| made.logits(codes)).collect();
    }
    Ok((made, logits))
}

/// Codes of a layer's value before and after its activation.
fn codes(
    layer: &Layer,
    from: Affine,
    factors: &[f64],
    observed: &Observed,
    calibration: Calibration,
) -> (Affine, Affine) {
    let alone = matches!(layer.kind, LayerKind::Activation);
    let own = || observed.range(layer.node, factors, calibration);
    let within = |least, most| match alone {
        true => from,
        false => observed.range_within(layer.raw, factors, calibration, least, most),
    };
    match layer.activation {
        // A pool keeps its input's codes; all else has its own.
        _ if matches!(layer.kind, LayerKind::MaxPool(_) | LayerKind::AveragePool(_)) => (from, from),
        _ if alone && layer.activation != Activation::Sigmoid => (from, own()),
        // The code of a limit is a limit of the codes.
        Activation::Identity | Activation::Clamp { .. } => {
            let own = own();
            (own, own)
        }
        // What is beyond comes to the same, or nearly.
        Activation::HardSwish => (within(-3.0, f32::INFINITY), own()),
        Activation::Sigmoid => (within(-8.0, 8.0), Affine { scale: 1.0 / 256.0, zero: -128 }),
    }
}

/// A layer with its limits and its table.
fn rounded(layer: &Layer, raw: Affine, output: Affine, kind: QuantizedKind) -> QuantizedLayer {
    let (mut limits, mut table) = ([-128, 127], None);
    match layer.activation {
        Activation::Identity => {}
        Activation::Clamp { low, high } if !matches!(layer.kind, LayerKind::Activation) => {
            limits = [raw.encode(f64::from(low)), raw.encode(f64::from(high))];
        }
        activation => {
            table = Some((-128..=127).map(|code| output.encode(activation.apply(raw.decode(code)))).collect());
        }
    }
    QuantizedLayer { raw, limits, table, output, kind }
}

/// The numbers of a layer; `inputs` are each image's codes of what it reads first.
fn kind(
    made: &Quantized,
    at: usize,
    inputs: Vec<&[i8]>,
    raw: Affine,
    factors: &[f64],
    targets: &[f32],
) -> Result<QuantizedKind, GraphError> {
    let layer = &made.lowered.layers[at];
    let from = layer.inputs.first().map_or(made.input, |source| made.codes_of(source));
    Ok(match &layer.kind {
        LayerKind::Conv(conv) => {
            let taps = conv.taps();
            if taps > MAX_TAPS {
                let what = format!("layer `{}` sums {taps} products; 32 bits hold at most {MAX_TAPS}", layer.name);
                return Err(GraphError::Graph(what));
            }
            let (weight, scales, biases) = weights(layer, conv, &inputs, from, factors, targets);
            let (bias, bias_shift) = round_biases(&biases);
            let last = at == made.lowered.output && layer.activation == Activation::Identity;
            let unit = if last { 1.0 / f64::from(1 << LOGIT_BITS) } else { f64::from(raw.scale) };
            let multiplier = |scale: &f32| Multiplier::new(f64::from(from.scale) * f64::from(*scale) / unit);
            let multipliers = scales.iter().map(multiplier).collect();
            QuantizedKind::Conv { weight, scales, bias, bias_shift, multipliers }
        }
        LayerKind::Add => {
            let second = layer.inputs.get(1).map_or(from, |source| made.codes_of(source));
            let factor = |codes: Affine| f64::from(codes.scale) / f64::from(raw.scale);
            QuantizedKind::Add(SumFactors::new([factor(from), factor(second)]))
        }
        LayerKind::MaxPool(_) | LayerKind::AveragePool(_) => QuantizedKind::Pool,
        LayerKind::GlobalAveragePool => {
            let count = (layer.from[1] * layer.from[2]) as f64;
            QuantizedKind::Mean(Multiplier::new(f64::from(from.scale) / f64::from(raw.scale) / count))
        }
        LayerKind::Activation => QuantizedKind::Activation,
    })
}

/// A convolution's weights, their scales, and biases in units of both scales. `targets`: what its sums were, for unscaled
/// channels.
fn weights(
    layer: &Layer,
    conv: &Convolution,
    inputs: &[&[i8]],
    from: Affine,
    factors: &[f64],
    targets: &[f32],
) -> (Vec<i8>, Vec<f32>, Vec<f64>) {
    let (outs, taps, unit) = (conv.bias.len(), conv.taps(), f64::from(from.scale));
    // A channel of next to no weight has a bias of many units: with a coarser scale it has fewer, so that it does not make
    // all the layer's biases coarse. Half of what fits is left for what the fit moves.
    let least = |bias: f64| bias.abs() / f64::from(1 << (14 + FINE_BIAS_SHIFT));
    let (mut weight, mut scales, mut biases) = (Vec::with_capacity(conv.weight.len()), Vec::new(), Vec::new());
    for group in 0..conv.group {
        let own = group * outs / conv.group..(group + 1) * outs / conv.group;
        let reals = own.clone().map(|o| conv.weight[o * taps..(o + 1) * taps].iter().map(|w| f64::from(*w) * unit));
        let targets = own.clone().map(|o| targets.iter().skip(o).step_by(outs).map(move |t| t * factors[o] as f32));
        let rows = Rows {
            weight: reals.map(Iterator::collect).collect(),
            targets: targets.map(Iterator::collect).collect(),
            least: own.map(|o| least(f64::from(conv.bias[o]))).collect(),
        };
        for row in fit_rows(&Patches::of(layer, conv, group, inputs, from.zero), &rows) {
            weight.extend(row.codes);
            scales.push((row.scale / unit) as f32);
            biases.push(row.bias / row.scale);
        }
    }
    (weight, scales, biases)
}

/// Biases of 16 bits times the least power of two that all fit with.
fn round_biases(biases: &[f64]) -> (Vec<i32>, u8) {
    let code = |bias: f64, shift: u8| (bias / f64::from(1 << shift)).round();
    let most = f64::from(i16::MAX);
    let fits = |shift: &u8| biases.iter().all(|bias| code(*bias, *shift).abs() <= most);
    let shift = (0..MAX_BIAS_SHIFT).find(fits).unwrap_or(MAX_BIAS_SHIFT);
    (biases.iter().map(|bias| (code(*bias, shift).clamp(-most, most) as i32) << shift).collect(), shift)
}
