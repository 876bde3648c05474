//@ head
//! {{TITLE}}
//! Made by Kindling for the task {{TASK}}.
//!
//! Classes, {{ORDER}}:
{{CLASSES}}//!
//! Constants (weights, biases{{MORE_CONSTANTS}}): {{CONSTANT_BYTES}} bytes. Working memory: {{ARENA_BYTES}} bytes, in
//! [`Model`]. No dependencies, no allocation, no unsafe code, `no_std`. Use, with this file next to the crate's root:
//!
//! ```ignore
//! mod {{FILE}};
//! let mut model = {{FILE}}::Model::new(); // or in a static, since `new` is const
{{USE}}//! ```

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
{{ANSWER}}
const CHANNELS: usize = {{CHANNELS}};

/// The network's working memory; one picture at a time.
pub struct Model {
    arena: [{{NUMBER}}; {{ARENA}}],
{{MORE_MEMORY}}}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// Ready to answer.
    pub const fn new() -> Self {
        Self { arena: [{{NOTHING}}; {{ARENA}}]{{MORE_NOTHING}} }
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

//@ softmax
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

//@ classes_use
//! if let Some(probabilities) = model.predict(&pixels, width, height) {
//!     for (label, probability) in {{FILE}}::LABELS.iter().zip(probabilities) { /* ... */ }
//! }
//@ classes_answer
/// An answer whose greatest probability is below this is likely for a picture of none of the classes.
pub const UNKNOWN_BELOW: f32 = {{UNKNOWN_BELOW}};
//@ boxes_use
//! let mut objects = [{{FILE}}::Object::NONE; {{FILE}}::MOST_OBJECTS];
//! if let Some(found) = model.detect(&pixels, width, height, {{FILE}}::AT_LEAST, &mut objects) {
//!     for object in found { /* {{FILE}}::LABELS[object.label], object.score, object.left, ... */ }
//! }
//@ boxes_answer
/// The score from which on to say that an object is there.
pub const AT_LEAST: f32 = {{AT_LEAST}};
/// Objects in one picture at most.
pub const MOST_OBJECTS: usize = {{MOST}};
/// Rows of the map that objects are read from.
pub const MAP_HEIGHT: usize = {{MAP_HEIGHT}};
/// Places in a row of it.
pub const MAP_WIDTH: usize = {{MAP_WIDTH}};
/// Numbers of each place: a logit a class, then the logarithms of how many places the box reaches to the left, top, right
/// and bottom from the middle of the place.
pub const MAP_CHANNELS: usize = CLASSES + 4;

const MAP: usize = MAP_HEIGHT * MAP_WIDTH * MAP_CHANNELS;

/// What the network says is in a picture. The box is in shares of the picture's width and height, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Its place in [`LABELS`].
    pub label: usize,
    /// How sure the network is, 0 to 1.
    pub score: f32,
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

impl Object {
    /// Nothing, for arrays that are to be filled.
    pub const NONE: Self = Self { label: 0, score: 0.0, left: 0.0, top: 0.0, right: 0.0, bottom: 0.0 };
}
//@ find
/// Whether no place around it has a greater logit of the class.
fn is_peak(map: &[{{REAL}}], label: usize, row: usize, column: usize) -> bool {
    let logit = |row: usize, column: usize| real(map[(row * MAP_WIDTH + column) * MAP_CHANNELS + label]);
    let own = logit(row, column);
    for y in row.saturating_sub(1)..(row + 2).min(MAP_HEIGHT) {
        for x in column.saturating_sub(1)..(column + 2).min(MAP_WIDTH) {
            if !(own >= logit(y, x)) {
                return false;
            }
        }
    }
    true
}

/// A side of a box in shares of the picture: no reach is over e^6 places, and what is beyond the picture is cut off.
fn side(place: usize, direction: f32, reach: f32, places: usize) -> f32 {
    ((place as f32 + 0.5 + direction * exp(reach.min(6.0))) / places as f32).clamp(0.0, 1.0)
}

/// The objects of a map, the surest first; of equals the one that comes first in the map of its class.
fn find<'a>(map: &[{{REAL}}], at_least: f32, objects: &'a mut [Object]) -> &'a [Object] {
    let most = objects.len().min(MOST_OBJECTS);
    let mut count = 0;
    for label in 0..CLASSES {
        for (at, place) in map.chunks_exact(MAP_CHANNELS).enumerate() {
            let (row, column) = (at / MAP_WIDTH, at % MAP_WIDTH);
            let score = 1.0 / (1.0 + exp(-real(place[label])));
            if !(score >= at_least) || !is_peak(map, label, row, column) {
                continue;
            }
            let at = objects[..count].iter().take_while(|object| object.score >= score).count();
            if at >= most {
                continue;
            }
            count = (count + 1).min(most);
            objects[at..count].rotate_right(1);
            let reach = |side: usize| real(place[CLASSES + side]);
            objects[at] = Object {
                label,
                score,
                left: side(column, -1.0, reach(0), MAP_WIDTH),
                top: side(row, -1.0, reach(1), MAP_HEIGHT),
                right: side(column, 1.0, reach(2), MAP_WIDTH),
                bottom: side(row, 1.0, reach(3), MAP_HEIGHT),
            };
        }
    }
    &objects[..count]
}

