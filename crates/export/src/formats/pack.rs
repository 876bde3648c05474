//! What the writers of source code share: which kernel runs each layer, the orders of weights, and text.

use kindling_graph::{Activation, Convolution, Layer, LayerKind, Lowered, QuantizedLayer, Source, Window};
use std::fmt::Write as _;

/// Which kernel runs a layer. Values lie as `[H, W, C]` in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kernel {
    /// A convolution, grouped or not.
    Conv,
    /// A convolution of each channel by itself.
    Depthwise,
    /// The same of one tap: may work in place.
    Scale,
    /// A sum.
    Add,
    /// Greatest of a window.
    MaxPool,
    /// Mean of a window.
    AveragePool,
    /// Mean of each channel.
    Mean,
    /// The activation alone: may work in place.
    Activation,
}

/// A value in the arena.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Where it begins, in numbers.
    pub(super) offset: usize,
    /// `[C, H, W]`.
    pub(super) shape: [usize; 3],
}

impl Place {
    /// Pixels of a map.
    pub(super) fn plane(&self) -> usize {
        self.shape[1] * self.shape[2]
    }
}

/// A layer with what it reads.
pub(super) struct Step<'a> {
    /// Its number.
    pub(super) at: usize,
    /// The layer.
    pub(super) layer: &'a Layer,
    /// What runs it.
    pub(super) kernel: Kernel,
    /// What it reads first.
    pub(super) from: Place,
    /// What it reads last: the same, but for a sum.
    pub(super) other: Place,
}

/// The layers up to the logits, in order.
pub(super) fn steps<'a>(lowered: &'a Lowered) -> Vec<Step<'a>> {
    let place = |source: Option<&Source>| match source.and_then(|source| match source {
        Source::Input => None,
        Source::Node(before) => lowered.layers.get(*before),
    }) {
        Some(layer) => Place { offset: layer.offset, shape: layer.to },
        None => Place {
            offset: lowered.input_offset,
            shape: [lowered.input.channels, lowered.input.height, lowered.input.width],
        },
    };
    let step = |(at, layer): (usize, &'a Layer)| {
        let (from, other) = (place(layer.inputs.first()), place(layer.inputs.last()));
        Step { at, layer, kernel: kernel(layer), from, other }
    };
    lowered.layers.iter().enumerate().take(lowered.output + 1).map(step).collect()
}

fn kernel(layer: &Layer) -> Kernel {
    match &layer.kind {
        LayerKind::Conv(conv) if conv.is_depthwise(layer.from[0]) => match conv.window {
            Window { kernel: [1, 1], strides: [1, 1], pads: [0, 0, 0, 0] } => Kernel::Scale,
            _ => Kernel::Depthwise,
        },
        LayerKind::Conv(_) => Kernel::Conv,
        LayerKind::Add => Kernel::Add,
        LayerKind::MaxPool(_) => Kernel::MaxPool,
        LayerKind::AveragePool(_) => Kernel::AveragePool,
        LayerKind::GlobalAveragePool => Kernel::Mean,
        LayerKind::Activation => Kernel::Activation,
    }
}

/// The sizes of a layer with a window, by the names that they have in the code: channels, height, width, outs,
/// out_height, out_width, rows, columns, down, right, top, left, group.
pub(super) fn geometry(layer: &Layer) -> [usize; 13] {
    let unit = Window { kernel: [1, 1], strides: [1, 1], pads: [0; 4] };
    let (window, group) = match &layer.kind {
        LayerKind::Conv(conv) => (conv.window, conv.group),
        LayerKind::MaxPool(window) | LayerKind::AveragePool(window) => (*window, 1),
        _ => (unit, 1),
    };
    let ([c, mut h, mut w], [o, mut oh, mut ow]) = (layer.from, layer.to);
    if matches!(layer.kind, LayerKind::Conv(_)) && window == unit {
        // Pixels by themselves: one long row, so that blocks of pixels do not end where a row does.
        (w, ow) = (h * w, oh * ow);
        (h, oh) = (1, 1);
    }
    let Window { kernel: [rows, columns], strides: [down, right], pads: [top, left, ..] } = window;
    [c, h, w, o, oh, ow, rows, columns, down, right, top, left, group]
}

/// Whether some window of it reaches into padding.
pub(super) fn is_padded(conv: &Convolution) -> bool {
    conv.window.pads != [0; 4]
}

/// The blocks that `outs` channels are worked on in: as many of the greatest size as fit, then of the next.
pub(super) fn blocks(outs: usize, sizes: &[usize]) -> Vec<usize> {
    let mut left = outs;
    let mut blocks = Vec::new();
    for size in sizes {
        blocks.extend(std::iter::repeat_n(*size, left / size));
        left %= size;
    }
    blocks
}

/// Weights `[O, I, kH, kW]` as `[O, kH, kW, I]`.
pub(super) fn inputs_last<T: Copy>(conv: &Convolution, weight: &[T]) -> Vec<T> {
    let taps = conv.window.kernel[0] * conv.window.kernel[1];
    let inputs = (conv.taps() / taps.max(1)).max(1);
    let rows = weight.chunks_exact(inputs * taps);
    rows.flat_map(|row| (0..taps).flat_map(move |tap| row.iter().skip(tap).step_by(taps).copied())).collect()
}

/// Weights `[C, 1, kH, kW]` as `[kH, kW, C]`.
pub(super) fn channels_last<T: Copy>(conv: &Convolution, weight: &[T]) -> Vec<T> {
    let taps = conv.taps();
    (0..taps).flat_map(|tap| weight.iter().skip(tap).step_by(taps).copied()).collect()
}

/// Weights `[O, I, kH, kW]` as, for each group and each block of its channels, `[kH, kW, I, block]`.
pub(super) fn in_blocks<T: Copy>(conv: &Convolution, weight: &[T], sizes: &[usize]) -> Vec<T> {
    let weight = inputs_last(conv, weight);
    let (taps, outs) = (conv.taps(), conv.bias.len() / conv.group.max(1));
    let mut packed = Vec::with_capacity(weight.len());
    let mut first = 0;
    for size in (0..conv.group).flat_map(|_| blocks(outs, sizes)) {
        packed.extend((0..taps).flat_map(|tap| {
            let column = weight.iter().skip(first * taps + tap).step_by(taps);
            column.take(size).copied()
        }));
        first += size;
    }
    packed
}

/// Biases with the input's zero point folded in, so that a whole window needs no difference from it. As many bits hold
/// them as held the sums.
pub(super) fn folded(bias: &[i32], weight: &[i8], zero: i8) -> Vec<i32> {
    let taps = (weight.len() / bias.len().max(1)).max(1);
    let sums = weight.chunks_exact(taps).map(|row| row.iter().map(|w| i32::from(*w)).sum::<i32>());
    bias.iter().zip(sums).map(|(bias, sum)| bias - i32::from(zero) * sum).collect()
}

/// Limits and table of a layer whose kernel does neither, as one table; none if nothing is left to do.
pub(super) fn table_alone(numbers: &QuantizedLayer) -> Option<Vec<i8>> {
    let [low, high] = numbers.limits;
    let table = |code: i8| match &numbers.table {
        Some(table) => table.get((i16::from(code) + 128) as usize).copied().unwrap_or(code),
        None => code,
    };
    let all: Vec<i8> = (i8::MIN..=i8::MAX).map(|code| table(code.clamp(low, high))).collect();
    (!all.iter().copied().eq(i8::MIN..=i8::MAX)).then_some(all)
}

/// Least and greatest value of a float layer that limits what it makes; the greatest floats where it does not.
pub(super) fn limits(activation: Activation) -> [f32; 2] {
    match activation {
        Activation::Clamp { low, high } => [low.max(f32::MIN), high.min(f32::MAX)],
        _ => [f32::MIN, f32::MAX],
    }
}

/// `level * factor + addend` is what the network reads, a channel.
pub(super) fn normalisation(lowered: &Lowered) -> (Vec<f32>, Vec<f32>) {
    let pairs =
        lowered.input.mean.iter().zip(&lowered.input.std).map(|(mean, std)| (f64::from(*mean), f64::from(*std)));
    pairs.map(|(mean, std)| ((1.0 / (255.0 * std)) as f32, (-mean / std) as f32)).unzip()
}

/// The part of a template under the line `//@ name`; empty if there is none.
pub(super) fn section<'a>(template: &'a str, name: &str) -> &'a str {
    let mut rest = template;
    while let Some(start) = rest.find("//@ ") {
        let (title, body) = rest[start + 4..].split_once('\n').unwrap_or_default();
        let end = body.find("//@ ").unwrap_or(body.len());
        if title == name {
            return &body[..end];
        }
        rest = &body[end..];
    }
    ""
}

/// Replaces each `{{NAME}}` once: what is put in is left as it is, whatever it holds.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{{") {
        let (before, after) = rest.split_at(start);
        text.push_str(before);
        let value = values.iter().find_map(|(name, value)| {
            let after = after[2..].strip_prefix(name)?.strip_prefix("}}")?;
            Some((*value, after))
        });
        let (value, after) = value.unwrap_or(("{{", &after[2..]));
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Words with commas, in lines that are not long.
pub(super) fn lines(words: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in words {
        if column > 0 && column + word.len() > 116 {
            text.push('\n');
            column = 0;
        }
        text.push_str(if column == 0 { "    " } else { " " });
        let _ = write!(text, "{word},");
        column += word.len() + 2;
    }
    text.push('\n');
    text
}

/// A name as it may stand in a comment of any language: what is invisible, ends a comment or turns the direction of
/// writing is replaced.
pub(super) fn comment(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let plain: String = text.chars().map(|c| if hidden(c) { '_' } else { c }).collect();
    plain.replace("*/", "* /").replace("/*", "/ *").replace("??/", "?? /")
}
