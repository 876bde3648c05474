//@ head
//! {{TITLE}}
//! Made by Kindling for the task {{TASK}}.
//!
//! Classes, in the order of the probabilities:
{{CLASSES}}//!
//! Constants (weights, biases{{MORE_CONSTANTS}}): {{CONSTANT_BYTES}} bytes. Working memory: {{ARENA_BYTES}} bytes, in
//! [`Model`]. No dependencies, no allocation, no unsafe code, `no_std`. Use, with this file next to the crate's root:
//!
//! ```ignore
//! mod {{FILE}};
//! let mut model = {{FILE}}::Model::new(); // or in a static, since `new` is const
//! if let Some(probabilities) = model.predict(&pixels, width, height) {
//!     for (label, probability) in {{FILE}}::LABELS.iter().zip(probabilities) { /* ... */ }
//! }
//! ```

#![forbid(unsafe_code)]
#![allow(dead_code, clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]

/// Height of a picture as the network sees it.
pub const HEIGHT: usize = {{HEIGHT}};
/// Width of a picture as the network sees it.
pub const WIDTH: usize = {{WIDTH}};
/// Number of classes.
pub const CLASSES: usize = {{COUNT}};
/// Size of the working memory.
pub const ARENA_BYTES: usize = {{ARENA_BYTES}};
/// Names of the classes.
pub static LABELS: [&str; CLASSES] = [
{{LABELS}}];
/// An answer whose greatest probability is below this is likely for a picture of none of the classes.
pub const UNKNOWN_BELOW: f32 = {{UNKNOWN_BELOW}};

const CHANNELS: usize = {{CHANNELS}};

/// The network's working memory; one picture at a time.
pub struct Model {
    arena: [{{NUMBER}}; {{ARENA}}],
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// Ready to answer.
    pub const fn new() -> Self {
        Self { arena: [{{NOTHING}}; {{ARENA}}] }
    }

{{METHODS}}}

{{NETWORK}}
//@ common
/// What may be read while a part of the arena is written.
struct Rest<'a> {
    before: &'a [{{NUMBER}}],
    after: &'a [{{NUMBER}}],
    /// Where `after` begins.
    end: usize,
}

impl Rest<'_> {
    fn at(&self, from: usize, count: usize) -> &[{{NUMBER}}] {
        if from < self.end { &self.before[from..][..count] } else { &self.after[from - self.end..][..count] }
    }
}

fn split(arena: &mut [{{NUMBER}}], to: usize, count: usize) -> (Rest<'_>, &mut [{{NUMBER}}]) {
    let (before, from) = arena.split_at_mut(to);
    let (made, after) = from.split_at_mut(count);
    (Rest { before, after, end: to + count }, made)
}

/// Sizes of a layer whose window moves over its input. Values lie as `[height, width, channels]`.
struct Geometry {
    channels: usize,
    height: usize,
    width: usize,
    outs: usize,
    out_height: usize,
    out_width: usize,
    /// Of the window.
    rows: usize,
    columns: usize,
    /// Its steps.
    down: usize,
    right: usize,
    /// Padding.
    top: usize,
    left: usize,
    /// Independent groups of channels.
    group: usize,
}

/// The part of a window that lies inside the input along one axis.
struct Part {
    /// First sample of the input that it covers.
    from: usize,
    /// Taps before that, in the padding.
    skip: usize,
    /// Taps inside.
    count: usize,
}

fn clip(out: usize, step: usize, pad: usize, taps: usize, length: usize) -> Part {
    let start = out * step;
    let from = start.saturating_sub(pad);
    let end = (start + taps).saturating_sub(pad).min(length);
    if end <= from {
        return Part { from: 0, skip: 0, count: 0 };
    }
    Part { from, skip: pad.saturating_sub(start), count: end - from }
}

/// Samples along one axis that make one sample of the resized picture: a triangle filter, as wide as the scale when
/// shrinking and two samples when growing. Weights are whole numbers, so that no rounding ever shows.
struct Taps {
    first: usize,
    end: usize,
    centre: i32,
    half: i32,
    step: i32,
    sum: u32,
}

impl Taps {
    fn new(from: usize, to: usize, at: usize) -> Self {
        let (step, half) = (2 * to as i32, 2 * from.max(to) as i32);
        let centre = (2 * at as i32 + 1) * from as i32 - to as i32;
        let first = if centre < half { 0 } else { ((centre - half) / step + 1) as usize };
        let end = (((centre + half + step - 1) / step) as usize).min(from);
        let mut taps = Self { first, end, centre, half, step, sum: 0 };
        taps.sum = (first..end).map(|i| taps.weight(i)).sum();
        taps
    }

    fn weight(&self, i: usize) -> u32 {
        (self.half - (self.step * i as i32 - self.centre).abs()) as u32
    }
}

/// Sums of one resized pixel; its levels are these over the product of both sums of weights.
fn resized(rgb: &[u8], width: usize, down: &Taps, across: &Taps) -> [u64; CHANNELS] {
    let mut sums = [0u64; CHANNELS];
    for y in down.first..down.end {
        let mut row = [0u64; CHANNELS];
        let pixels = &rgb[(y * width + across.first) * CHANNELS..(y * width + across.end) * CHANNELS];
        for (x, pixel) in pixels.chunks_exact(CHANNELS).enumerate() {
            let weight = across.weight(across.first + x);
            for c in 0..CHANNELS {
                row[c] += u64::from(weight * u32::from(pixel[c]));
            }
        }
        let weight = u64::from(down.weight(y));
        for c in 0..CHANNELS {
            sums[c] += weight * row[c];
        }
    }
    sums
}

/// Whether it is a picture of a size that can be resized without an overflow.
fn is_picture(rgb: &[u8], width: usize, height: usize) -> bool {
    const SIDE: core::ops::RangeInclusive<usize> = 1..=65_535;
    SIDE.contains(&width)
        && SIDE.contains(&height)
        && u64::from(width as u32) * u64::from(height as u32) <= 1 << 27
        && rgb.len() == width * height * CHANNELS
}

/// e to the power of `x`, which `core` lacks: a power of two and Taylor's series for what is left.
fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let twos = (x * core::f32::consts::LOG2_E + if x < 0.0 { -0.5 } else { 0.5 }) as i32;
    // ln 2 in two parts, of which the first times any such number is exact.
    let r = x - twos as f32 * 0.693_359_4 + twos as f32 * 2.121_944_4e-4;
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))))));
    series * f32::from_bits(((twos + 127) as u32) << 23)
}

/// Logits to probabilities.
fn softmax(mut values: [f32; CLASSES]) -> [f32; CLASSES] {
    let greatest = values.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for value in &mut values {
        *value = exp(*value - greatest);
        sum += *value;
    }
    for value in &mut values {
        *value /= sum;
    }
    values
}

