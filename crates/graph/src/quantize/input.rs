//! Codes of the input.

use super::Affine;
use crate::Source;
use crate::lower::{Convolution, LayerKind, Lowered};

/// Codes that hold black and white in every channel.
///
/// A channel whose levels are as far apart as codes are has a code for each level; else levels are rounded a second time.
/// Where normalisation differs between channels one scale and zero can be such for one of them only. So each channel is
/// stretched on its own, and the weights that read it are made smaller as much: as far as it fits, but no further than one
/// code a level, around the zero with which the rest of the rounding adds the least to what reads the input.
pub(super) fn input_codes(lowered: &mut Lowered) -> Affine {
    let spec = &lowered.input;
    let ends = spec.mean.iter().zip(&spec.std).flat_map(|(mean, std)| [-mean / std, (1.0 - mean) / std]);
    let (low, high) = ends.fold((0.0f32, 0.0f32), |(low, high), x| (low.min(x), high.max(x)));
    let plain = Affine::of_range(low, high);
    let alike = |numbers: &[f32]| numbers.windows(2).all(|pair| pair[0] == pair[1]);
    let within = spec.mean.iter().all(|mean| (0.0..=1.0).contains(mean));
    let Some(weights) = squares(lowered) else { return plain };
    if !within || (alike(&spec.mean) && alike(&spec.std)) {
        return plain;
    }
    let levels: Vec<f64> = spec.mean.iter().map(|mean| 255.0 * f64::from(*mean)).collect();
    // Codes a level: what is half a code beyond the ends is rounded to them anyway.
    let fine = |zero: i8, black: f64| {
        let below = (f64::from(zero) + 128.5) / black.max(1e-9);
        let above = (127.5 - f64::from(zero)) / (255.0 - black).max(1e-9);
        below.min(above).min(1.0)
    };
    let noise = |zero: i8| -> f64 {
        let each = levels.iter().zip(&spec.std).zip(&weights);
        each.map(|((black, std), weight)| match fine(zero, *black) {
            codes if codes < 1.0 => weight / (codes * f64::from(*std)).powi(2),
            _ => 0.0,
        })
        .sum()
    };
    let found = (i8::MIN..=i8::MAX).map(|zero| (noise(zero), zero)).min_by(|a, b| a.0.total_cmp(&b.0));
    let Some((_, zero)) = found else { return plain };
    // The first channel keeps its normalisation.
    let codes: Vec<f64> = levels.iter().map(|black| fine(zero, *black)).collect();
    let scale = 1.0 / (255.0 * f64::from(spec.std[0]) * codes[0]);
    let factors: Vec<f64> =
        codes.iter().zip(&spec.std).map(|(codes, std)| scale * codes * 255.0 * f64::from(*std)).collect();
    for (std, factor) in lowered.input.std.iter_mut().zip(&factors) {
        *std = (f64::from(*std) / factor) as f32;
    }
    for layer in lowered.layers.iter_mut().filter(|layer| layer.inputs.contains(&Source::Input)) {
        let LayerKind::Conv(conv) = &mut layer.kind else { continue };
        let channel = channels(layer.from[0], conv);
        for (at, w) in conv.weight.iter_mut().enumerate() {
            *w = (f64::from(*w) / factors[channel(at)]) as f32;
        }
    }
    Affine { scale: scale as f32, zero }
}

/// The sum of the squared weights that read each channel; `None` where something else than a convolution reads one.
fn squares(lowered: &Lowered) -> Option<Vec<f64>> {
    let mut squares = vec![0.0; lowered.input.channels];
    for layer in lowered.layers.iter().filter(|layer| layer.inputs.contains(&Source::Input)) {
        let LayerKind::Conv(conv) = &layer.kind else { return None };
        let channel = channels(layer.from[0], conv);
        for (at, w) in conv.weight.iter().enumerate() {
            *squares.get_mut(channel(at))? += f64::from(*w).powi(2);
        }
    }
    Some(squares)
}

/// From the place of a weight to the channel that it reads.
fn channels(count: usize, conv: &Convolution) -> impl Fn(usize) -> usize + use<> {
    let (taps, outs) = (conv.taps().max(1), (conv.bias.len() / conv.group).max(1));
    let per_group = count / conv.group;
    let window = (taps / per_group.max(1)).max(1);
    move |at| at / taps / outs * per_group + at % taps / window
}
