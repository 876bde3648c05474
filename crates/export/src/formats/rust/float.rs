//@ methods_boxes
    /// Finds the objects in a picture of any size whose score is `at_least` or more: as many as there is room for in
    /// `objects`, the surest first, and at most [`MOST_OBJECTS`]. Rows from the top, each pixel {{PIXEL}}, 0 to 255; the
    /// picture is resized as the pictures were that the network learned from. None if the bytes are not as many as the size
    /// takes, a side is 0 or over 65535, or there are over 134 million pixels.
    pub fn detect<'a>(
        &mut self,
        rgb: &[u8],
        width: usize,
        height: usize,
        at_least: f32,
        objects: &'a mut [Object],
    ) -> Option<&'a [Object]> {
        if !is_picture(rgb, width, height) {
            return None;
        }
{{RESIZED}}        network(&mut self.arena);
        Some(find(&self.arena[{{OUTPUT}}..][..MAP], at_least, objects))
    }

    /// The map itself, for a picture of [`WIDTH`] x [`HEIGHT`] pixels: [`MAP_HEIGHT`] rows of [`MAP_WIDTH`] places of
    /// [`MAP_CHANNELS`] numbers.
    pub fn run(&mut self, rgb: &[u8; HEIGHT * WIDTH * CHANNELS]) -> &[f32] {
{{OWN}}        network(&mut self.arena);
        &self.arena[{{OUTPUT}}..][..MAP]
    }
//@ network_boxes
{{READING}}
/// From the normalised picture in the arena to the map in it.
fn network(arena: &mut [f32]) {
{{CALLS}}}

fn real(number: f32) -> f32 {
    number
}

//@ own
        let to = &mut self.arena[{{INPUT}}..][..HEIGHT * WIDTH * CHANNELS];
        for (to, pixel) in to.chunks_exact_mut(CHANNELS).zip(rgb.chunks_exact(CHANNELS)) {
            for c in 0..CHANNELS {
                to[c] = f32::from(pixel[c]) * FACTORS[c] + ADDENDS[c];
            }
        }
//@ resized
        for y in 0..HEIGHT {
            let down = Taps::new(height, HEIGHT, y);
            for x in 0..WIDTH {
                let across = Taps::new(width, WIDTH, x);
                let share = 1.0 / (down.sum as f32 * across.sum as f32);
                let sums = resized(rgb, width, &down, &across);
                let to = &mut self.arena[{{INPUT}} + (y * WIDTH + x) * CHANNELS..][..CHANNELS];
                for c in 0..CHANNELS {
                    to[c] = sums[c] as f32 * share * FACTORS[c] + ADDENDS[c];
                }
            }
        }
//@ reading
/// Levels to what the network learned from: `level * factor + addend`, a channel.
static FACTORS: [f32; CHANNELS] = {{FACTORS}};
static ADDENDS: [f32; CHANNELS] = {{ADDENDS}};
//@ methods
    /// The probability of each class for a picture of [`WIDTH`] x [`HEIGHT`] pixels: rows from the top, each pixel
    /// {{PIXEL}}, 0 to 255.
    pub fn run(&mut self, rgb: &[u8; HEIGHT * WIDTH * CHANNELS]) -> [f32; CLASSES] {
{{OWN}}        network(&mut self.arena)
    }

    /// The same for a picture of any size, which is resized as the pictures were that the network learned from. None if
    /// the bytes are not as many as the size takes, a side is 0 or over 65535, or there are over 134 million pixels.
    pub fn predict(&mut self, rgb: &[u8], width: usize, height: usize) -> Option<[f32; CLASSES]> {
        if !is_picture(rgb, width, height) {
            return None;
        }
{{RESIZED}}        Some(network(&mut self.arena))
    }
//@ network
{{READING}}
/// From the normalised picture in the arena.
fn network(arena: &mut [f32]) -> [f32; CLASSES] {
{{CALLS}}    let mut logits = [0.0; CLASSES];
    logits.copy_from_slice(&arena[{{OUTPUT}}..][..CLASSES]);
    softmax(logits)
}

//@ layer
struct Layer {
    weight: &'static [f32],
    bias: &'static [f32],
    /// Limits of what it makes.
    low: f32,
    high: f32,
    g: Geometry,
}

fn limited(value: f32, low: f32, high: f32) -> f32 {
    let above = if value > low { value } else { low };
    if above < high { above } else { high }
}

//@ conv
/// A convolution. Some pixels at a time, so that they stay near while all channels read them.
fn conv(l: &Layer, x: &[f32], y: &mut [f32]) {
    const NEAR: usize = 32;
    let g = &l.g;
    let (inputs, outs) = (g.channels / g.group, g.outs / g.group);
    let taps = g.rows * g.columns * inputs;
    for (row, y) in y.chunks_exact_mut(g.out_width * g.outs).enumerate() {
        let down = clip(row, g.down, g.top, g.rows, g.height);
        let from = down.from * g.width * g.channels;
        let skip = down.skip * g.columns * inputs;
        for start in (0..g.out_width).step_by(NEAR) {
            let end = (start + NEAR).min(g.out_width);
            for group in 0..g.group {
                let x = &x[from + group * inputs..];
                let mut w = group * outs * taps;
                let (mut o, last) = (group * outs, (group + 1) * outs);
{{SPANS}}                debug_assert!(o == last && w == last * taps);
            }
        }
    }
}

/// `B` channels, from `o` on, of the pixels `start` to before `end` of a row. The weights of a tap and an input lie side
/// by side for the channels.
fn conv_span<const B: usize>(l: &Layer, x: &[f32], w: &[f32], o: usize, rows: usize, mut start: usize, end: usize, y: &mut [f32]) {
    let g = &l.g;
    let inputs = g.channels / g.group;
    while start < end {
        let across = clip(start, g.right, g.left, g.columns, g.width);
        let (x, w) = (&x[across.from * g.channels..], &w[across.skip * inputs * B..]);
        let y = &mut y[start * g.outs + o..];
        if across.count == g.columns && start + 4 <= end && across.from + 3 * g.right + g.columns <= g.width {
            conv_tile::<B, 4>(l, x, w, o, rows, across.count, y);
            start += 4;
        } else {
            conv_tile::<B, 1>(l, x, w, o, rows, across.count, y);
            start += 1;
        }
    }
}

/// `P` pixels of `B` channels.
fn conv_tile<const B: usize, const P: usize>(l: &Layer, x: &[f32], w: &[f32], o: usize, rows: usize, columns: usize, y: &mut [f32]) {
    let g = &l.g;
    let (inputs, step) = (g.channels / g.group, g.right * g.channels);
    // Taps of a row lie side by side where there is one group.
    let (runs, run) = if g.group == 1 { (1, columns * inputs) } else { (columns, inputs) };
    let mut sums = [[0.0f32; B]; P];
    for sums in &mut sums {
        sums.copy_from_slice(&l.bias[o..][..B]);
    }
    for row in 0..rows {
        for r in 0..runs {
            let from = (row * g.width + r) * g.channels;
            let values: [&[f32]; P] = core::array::from_fn(|p| &x[from + p * step..][..run]);
            let weights = &w[(row * g.columns * inputs + r * run) * B..][..run * B];
            for (i, weights) in weights.chunks_exact(B).enumerate() {
                for p in 0..P {
                    let value = values[p][i];
                    for j in 0..B {
                        sums[p][j] += weights[j] * value;
                    }
                }
            }
        }
    }
    for p in 0..P {
        for (y, sum) in y[p * g.outs..][..B].iter_mut().zip(sums[p]) {
            *y = limited(sum, l.low, l.high);
        }
    }
}

//@ conv_call
                while last - o >= {{B}} {
                    conv_span::<{{B}}>(l, x, &l.weight[w + {{B}} * skip..], o, down.count, start, end, y);
                    o += {{B}};
                    w += {{B}} * taps;
                }
//@ depthwise
/// A convolution of each channel by itself; weights lie as `[rows, columns, channels]`.
fn depthwise(l: &Layer, x: &[f32], y: &mut [f32]) {
    let g = &l.g;
    for (row, y) in y.chunks_exact_mut(g.out_width * g.channels).enumerate() {
        let down = clip(row, g.down, g.top, g.rows, g.height);
        let (x, w) = (&x[down.from * g.width * g.channels..], &l.weight[down.skip * g.columns * g.channels..]);
        let mut o = 0;
{{SPANS}}        debug_assert!(o == g.channels);
    }
}

/// `B` channels, from `o` on, of a row.
fn depthwise_span<const B: usize>(l: &Layer, x: &[f32], w: &[f32], o: usize, rows: usize, y: &mut [f32]) {
    let g = &l.g;
    let mut start = 0;
    while start < g.out_width {
        let across = clip(start, g.right, g.left, g.columns, g.width);
        let (x, w) = (&x[across.from * g.channels + o..], &w[across.skip * g.channels + o..]);
        let y = &mut y[start * g.channels + o..];
        let whole = across.count == g.columns;
        if whole && start + 4 <= g.out_width && across.from + 3 * g.right + g.columns <= g.width {
            depthwise_tile::<B, 4>(l, x, w, o, rows, across.count, y);
            start += 4;
        } else {
            depthwise_tile::<B, 1>(l, x, w, o, rows, across.count, y);
            start += 1;
        }
    }
}

/// `P` pixels of `B` channels.
fn depthwise_tile<const B: usize, const P: usize>(l: &Layer, x: &[f32], w: &[f32], o: usize, rows: usize, columns: usize, y: &mut [f32]) {
    let g = &l.g;
    let step = g.right * g.channels;
    let mut sums = [[0.0f32; B]; P];
    for sums in &mut sums {
        sums.copy_from_slice(&l.bias[o..][..B]);
    }
    for row in 0..rows {
        for column in 0..columns {
            let from = (row * g.width + column) * g.channels;
            let weights = &w[(row * g.columns + column) * g.channels..][..B];
            for p in 0..P {
                let values = &x[from + p * step..][..B];
                for j in 0..B {
                    sums[p][j] += weights[j] * values[j];
                }
            }
        }
    }
    for p in 0..P {
        for (y, sum) in y[p * g.channels..][..B].iter_mut().zip(sums[p]) {
            *y = limited(sum, l.low, l.high);
        }
    }
}

//@ depthwise_call
        while g.channels - o >= {{B}} {
            depthwise_span::<{{B}}>(l, x, w, o, down.count, y);
            o += {{B}};
        }
//@ scale
/// A factor and an addend a channel, in place.
fn scale(l: &Layer, values: &mut [f32]) {
    for pixel in values.chunks_exact_mut(l.g.channels) {
        for ((value, weight), bias) in pixel.iter_mut().zip(l.weight).zip(l.bias) {
            *value = limited(*value * weight + bias, l.low, l.high);
        }
    }
}

//@ add
/// A sum, kept between two limits.
fn add(a: &[f32], b: &[f32], y: &mut [f32], low: f32, high: f32) {
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        *y = (a + b).max(low).min(high);
    }
}

//@ max_pool
/// The greatest of each window, padding left out.
fn max_pool(g: &Geometry, x: &[f32], y: &mut [f32]) {
    y.fill(f32::MIN);
    windows(g, x, y, |y, value| *y = if value > *y { value } else { *y });
}

//@ average_pool
/// The mean of each window, padding left out.
fn average_pool(g: &Geometry, x: &[f32], y: &mut [f32]) {
    y.fill(0.0);
    windows(g, x, y, |y, value| *y += value);
    for (i, pixel) in y.chunks_exact_mut(g.channels).enumerate() {
        let down = clip(i / g.out_width, g.down, g.top, g.rows, g.height);
        let across = clip(i % g.out_width, g.right, g.left, g.columns, g.width);
        let share = 1.0 / (down.count * across.count) as f32;
        pixel.iter_mut().for_each(|value| *value *= share);
    }
}

//@ windows
/// Joins what lies in each window to what it makes.
fn windows(g: &Geometry, x: &[f32], y: &mut [f32], join: impl Fn(&mut f32, f32)) {
    for (i, y) in y.chunks_exact_mut(g.channels).enumerate() {
        let down = clip(i / g.out_width, g.down, g.top, g.rows, g.height);
        let across = clip(i % g.out_width, g.right, g.left, g.columns, g.width);
        for row in down.from..down.from + down.count {
            let from = (row * g.width + across.from) * g.channels;
            for pixel in x[from..][..across.count * g.channels].chunks_exact(g.channels) {
                y.iter_mut().zip(pixel).for_each(|(y, value)| join(y, *value));
            }
        }
    }
}

//@ mean
/// The mean of each channel.
fn mean(x: &[f32], y: &mut [f32]) {
    y.fill(0.0);
    for pixel in x.chunks_exact(y.len()) {
        y.iter_mut().zip(pixel).for_each(|(y, value)| *y += value);
    }
    let plane = (x.len() / y.len()) as f32;
    y.iter_mut().for_each(|value| *value /= plane);
}

//@ clamp
/// Limits, in place.
fn clamp(values: &mut [f32], low: f32, high: f32) {
    values.iter_mut().for_each(|value| *value = value.max(low).min(high));
}

//@ hard_swish
/// `x * max(0, min(1, x / 6 + 1/2))`, in place.
fn hard_swish(values: &mut [f32]) {
    values.iter_mut().for_each(|x| *x *= (*x * (1.0 / 6.0) + 0.5).max(0.0).min(1.0));
}

//@ sigmoid
/// `1 / (1 + exp(-x))`, in place.
fn sigmoid(values: &mut [f32]) {
    values.iter_mut().for_each(|x| *x = 1.0 / (1.0 + exp(-*x)));
}

