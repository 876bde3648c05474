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
{{RESIZED}}        network(&mut self.arena, &mut self.map);
        Some(find(&self.map, at_least, objects))
    }

    /// The map itself in units of 1/65536, for a picture of [`WIDTH`] x [`HEIGHT`] pixels: [`MAP_HEIGHT`] rows of
    /// [`MAP_WIDTH`] places of [`MAP_CHANNELS`] numbers. Whole-number arithmetic only, so the same bits on every machine.
    pub fn run(&mut self, rgb: &[u8; HEIGHT * WIDTH * CHANNELS]) -> &[i32] {
{{OWN}}        network(&mut self.arena, &mut self.map);
        &self.map
    }
//@ network_boxes
{{READING}}
/// From the codes of the picture in the arena.
fn network(arena: &mut [i8], logits: &mut [i32]) {
{{CALLS}}}

fn real(number: i32) -> f32 {
    number as f32 * (1.0 / 65536.0)
}

//@ own
        let to = &mut self.arena[{{INPUT}}..][..HEIGHT * WIDTH * CHANNELS];
        for (to, pixel) in to.chunks_exact_mut(CHANNELS).zip(rgb.chunks_exact(CHANNELS)) {
            for c in 0..CHANNELS {
                to[c] = CODES[c][pixel[c] as usize];
            }
        }
//@ resized
        for y in 0..HEIGHT {
            let down = Taps::new(height, HEIGHT, y);
            for x in 0..WIDTH {
                let across = Taps::new(width, WIDTH, x);
                let whole = u64::from(down.sum) * u64::from(across.sum);
                let sums = resized(rgb, width, &down, &across);
                let to = &mut self.arena[{{INPUT}} + (y * WIDTH + x) * CHANNELS..][..CHANNELS];
                for c in 0..CHANNELS {
                    to[c] = CODES[c][((sums[c] + whole / 2) / whole) as usize];
                }
            }
        }
//@ reading
/// Levels, a channel, to codes of what the network learned from.
static CODES: [[i8; 256]; CHANNELS] = [
{{CODES}}];
//@ methods
    /// What the probabilities are the softmax of, in units of 1/65536, of a picture of [`WIDTH`] x [`HEIGHT`] pixels:
    /// whole-number arithmetic only, so the same bits on every machine.
    pub fn logits(&mut self, rgb: &[u8; HEIGHT * WIDTH * CHANNELS]) -> [i32; CLASSES] {
{{OWN}}        network(&mut self.arena)
    }

    /// The probability of each class for a picture of [`WIDTH`] x [`HEIGHT`] pixels: rows from the top, each pixel
    /// {{PIXEL}}, 0 to 255.
    pub fn run(&mut self, rgb: &[u8; HEIGHT * WIDTH * CHANNELS]) -> [f32; CLASSES] {
        probabilities(self.logits(rgb))
    }

    /// The same for a picture of any size, which is resized as the pictures were that the network learned from. None if
    /// the bytes are not as many as the size takes, a side is 0 or over 65535, or there are over 134 million pixels.
    pub fn predict(&mut self, rgb: &[u8], width: usize, height: usize) -> Option<[f32; CLASSES]> {
        if !is_picture(rgb, width, height) {
            return None;
        }
{{RESIZED}}        Some(probabilities(network(&mut self.arena)))
    }
//@ network
{{READING}}
/// From the codes of the picture in the arena.
fn network(arena: &mut [i8]) -> [i32; CLASSES] {
    let mut logits = [0; CLASSES];
{{CALLS}}    logits
}

fn probabilities(logits: [i32; CLASSES]) -> [f32; CLASSES] {
    softmax(logits.map(|logit| logit as f32 * (1.0 / 65536.0)))
}

//@ layer
/// A factor as `value / 2^shift`.
struct Factor {
    value: i32,
    shift: u8,
}

/// `sum` times a factor, rounded to the nearest, halves up.
fn scaled(sum: i32, factor: &Factor) -> i64 {
    (i64::from(sum) * i64::from(factor.value) + (1 << (factor.shift - 1))) >> factor.shift
}

/// Limits less the code of 0, and that code.
struct Ends {
    low: i32,
    high: i32,
    zero: i32,
}

/// A code from a scaled sum.
fn limited(value: i64, ends: &Ends) -> i8 {
    let value = value.max(i64::from(ends.low)).min(i64::from(ends.high));
    (value as i32 + ends.zero) as i8
}

struct Layer {
    weight: &'static [i8],
    /// With the input's zero point folded in, for whole windows.
    bias: &'static [i32],
    /// Without it, for windows partly in the padding, whose codes are the zero point.
    bare: &'static [i32],
    /// Of each channel.
    factors: &'static [Factor],
    /// Code of 0 in the input.
    from_zero: i32,
    ends: Ends,
    g: Geometry,
}

//@ conv
/// A convolution; weights lie as `[outs, rows, columns, inputs]`. Some pixels at a time, so that they stay near while all
/// channels read them.
fn conv(l: &Layer, x: &[i8], y: &mut [i8]) {
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
                let (mut o, last) = (group * outs, (group + 1) * outs);
{{SPANS}}                debug_assert!(o == last);
            }
        }
    }
}

/// `B` channels, from `o` on, of the pixels `start` to before `end` of a row.
fn conv_span<const B: usize>(l: &Layer, x: &[i8], w: &[i8], o: usize, rows: usize, mut start: usize, end: usize, y: &mut [i8]) {
    let g = &l.g;
    let inputs = g.channels / g.group;
    while start < end {
        let across = clip(start, g.right, g.left, g.columns, g.width);
        let (x, w) = (&x[across.from * g.channels..], &w[across.skip * inputs..]);
        let y = &mut y[start * g.outs + o..];
        if rows < g.rows || across.count < g.columns {
            conv_tile::<B, 1, true>(l, x, w, o, rows, across.count, y);
            start += 1;
        } else if start + 2 <= end && across.from + g.right + g.columns <= g.width {
            conv_tile::<B, 2, false>(l, x, w, o, rows, across.count, y);
            start += 2;
        } else {
            conv_tile::<B, 1, false>(l, x, w, o, rows, across.count, y);
            start += 1;
        }
    }
}

/// `P` pixels of `B` channels, clipped or whole.
fn conv_tile<const B: usize, const P: usize, const CLIPPED: bool>(l: &Layer, x: &[i8], w: &[i8], o: usize, rows: usize, columns: usize, y: &mut [i8]) {
    let g = &l.g;
    let (inputs, step) = (g.channels / g.group, g.right * g.channels);
    let taps = g.rows * g.columns * inputs;
    let (zero, bias) = if CLIPPED { (l.from_zero, l.bare) } else { (0, l.bias) };
    // Taps of a row lie side by side where there is one group.
    let (runs, run) = if g.group == 1 { (1, columns * inputs) } else { (columns, inputs) };
    let mut sums = [[0i32; B]; P];
    for sums in &mut sums {
        sums.copy_from_slice(&bias[o..][..B]);
    }
    for row in 0..rows {
        for r in 0..runs {
            let from = (row * g.width + r) * g.channels;
            let values: [&[i8]; P] = core::array::from_fn(|p| &x[from + p * step..][..run]);
            let weights: [&[i8]; B] = core::array::from_fn(|j| &w[j * taps + row * g.columns * inputs + r * run..][..run]);
            for i in 0..run {
                for p in 0..P {
                    for j in 0..B {
                        sums[p][j] += i32::from(weights[j][i]) * (i32::from(values[p][i]) - zero);
                    }
                }
            }
        }
    }
    for p in 0..P {
        for j in 0..B {
            y[p * g.outs + j] = limited(scaled(sums[p][j], &l.factors[o + j]), &l.ends);
        }
    }
}

//@ conv_call
                while last - o >= {{B}} {
                    conv_span::<{{B}}>(l, x, &l.weight[o * taps + skip..], o, down.count, start, end, y);
                    o += {{B}};
                }
//@ depthwise
/// A convolution of each channel by itself; weights lie as `[rows, columns, channels]`.
fn depthwise(l: &Layer, x: &[i8], y: &mut [i8]) {
    let g = &l.g;
    for (row, y) in y.chunks_exact_mut(g.out_width * g.channels).enumerate() {
        let down = clip(row, g.down, g.top, g.rows, g.height);
        let (x, w) = (&x[down.from * g.width * g.channels..], &l.weight[down.skip * g.columns * g.channels..]);
        let mut o = 0;
{{SPANS}}        debug_assert!(o == g.channels);
    }
}

/// `B` channels, from `o` on, of a row.
fn depthwise_span<const B: usize>(l: &Layer, x: &[i8], w: &[i8], o: usize, rows: usize, y: &mut [i8]) {
    let g = &l.g;
    for (column, y) in y.chunks_exact_mut(g.channels).enumerate() {
        let across = clip(column, g.right, g.left, g.columns, g.width);
        let (x, w) = (&x[across.from * g.channels + o..], &w[across.skip * g.channels + o..]);
        if rows < g.rows || across.count < g.columns {
            depthwise_tile::<B, true>(l, x, w, o, rows, across.count, &mut y[o..]);
        } else {
            depthwise_tile::<B, false>(l, x, w, o, rows, across.count, &mut y[o..]);
        }
    }
}

/// `B` channels of a pixel, clipped or whole.
fn depthwise_tile<const B: usize, const CLIPPED: bool>(l: &Layer, x: &[i8], w: &[i8], o: usize, rows: usize, columns: usize, y: &mut [i8]) {
    let g = &l.g;
    let (zero, bias) = if CLIPPED { (l.from_zero, l.bare) } else { (0, l.bias) };
    let mut sums = [0i32; B];
    sums.copy_from_slice(&bias[o..][..B]);
    for row in 0..rows {
        for column in 0..columns {
            let values = &x[(row * g.width + column) * g.channels..][..B];
            let weights = &w[(row * g.columns + column) * g.channels..][..B];
            for j in 0..B {
                sums[j] += i32::from(weights[j]) * (i32::from(values[j]) - zero);
            }
        }
    }
    for j in 0..B {
        y[j] = limited(scaled(sums[j], &l.factors[o + j]), &l.ends);
    }
}

//@ depthwise_call
        while g.channels - o >= {{B}} {
            depthwise_span::<{{B}}>(l, x, w, o, down.count, y);
            o += {{B}};
        }
//@ scale
/// A factor and an addend a channel, in place.
fn scale(l: &Layer, codes: &mut [i8]) {
    for pixel in codes.chunks_exact_mut(l.g.channels) {
        for (c, code) in pixel.iter_mut().enumerate() {
            let sum = l.bias[c] + i32::from(l.weight[c]) * i32::from(*code);
            *code = limited(scaled(sum, &l.factors[c]), &l.ends);
        }
    }
}

//@ last_conv
/// The convolution that ends in logits, one pixel; weights lie as `[outs, rows, columns, inputs]`.
fn last_conv(l: &Layer, x: &[i8], logits: &mut [i32]) {
    let g = &l.g;
    let (inputs, outs) = (g.channels / g.group, g.outs / g.group);
    let down = clip(0, g.down, g.top, g.rows, g.height);
    let across = clip(0, g.right, g.left, g.columns, g.width);
    for (o, logit) in logits.iter_mut().enumerate() {
        let mut sum = l.bare[o];
        for row in 0..down.count {
            for column in 0..across.count {
                let pixel = (down.from + row) * g.width + across.from + column;
                let tap = (down.skip + row) * g.columns + across.skip + column;
                let values = &x[pixel * g.channels + o / outs * inputs..][..inputs];
                let weights = &l.weight[(o * g.rows * g.columns + tap) * inputs..][..inputs];
                for (value, weight) in values.iter().zip(weights) {
                    sum += i32::from(*weight) * (i32::from(*value) - l.from_zero);
                }
            }
        }
        *logit = scaled(sum, &l.factors[o]).max(i64::from(i32::MIN)).min(i64::from(i32::MAX)) as i32;
    }
}

//@ map_conv
/// The convolution that ends in the map; weights lie as `[outs, rows, columns, inputs]`.
fn map_conv(l: &Layer, x: &[i8], map: &mut [i32]) {
    let g = &l.g;
    let (inputs, outs) = (g.channels / g.group, g.outs / g.group);
    for (at, place) in map.chunks_exact_mut(g.outs).enumerate() {
        let down = clip(at / g.out_width, g.down, g.top, g.rows, g.height);
        let across = clip(at % g.out_width, g.right, g.left, g.columns, g.width);
        for (o, number) in place.iter_mut().enumerate() {
            let mut sum = l.bare[o];
            for row in 0..down.count {
                for column in 0..across.count {
                    let pixel = (down.from + row) * g.width + across.from + column;
                    let tap = (down.skip + row) * g.columns + across.skip + column;
                    let values = &x[pixel * g.channels + o / outs * inputs..][..inputs];
                    let weights = &l.weight[(o * g.rows * g.columns + tap) * inputs..][..inputs];
                    for (value, weight) in values.iter().zip(weights) {
                        sum += i32::from(*weight) * (i32::from(*value) - l.from_zero);
                    }
                }
            }
            *number = scaled(sum, &l.factors[o]).max(i64::from(i32::MIN)).min(i64::from(i32::MAX)) as i32;
        }
    }
}

//@ last_codes
/// Logits from codes.
fn last_codes(x: &[i8], zero: i32, factor: &Factor, logits: &mut [i32]) {
    for (logit, code) in logits.iter_mut().zip(x) {
        let value = scaled(i32::from(*code) - zero, factor);
        *logit = value.max(i64::from(i32::MIN)).min(i64::from(i32::MAX)) as i32;
    }
}

//@ add
/// A sum.
struct Sum {
    /// Codes of 0 of both inputs.
    zeros: [i32; 2],
    /// Over `2^shift`.
    factors: [i32; 2],
    shift: u8,
    ends: Ends,
}

fn add(l: &Sum, a: &[i8], b: &[i8], y: &mut [i8]) {
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        let (a, b) = (i32::from(*a) - l.zeros[0], i32::from(*b) - l.zeros[1]);
        let sum = (a * l.factors[0] + b * l.factors[1] + (1 << (l.shift - 1))) >> l.shift;
        *y = limited(i64::from(sum), &l.ends);
    }
}

//@ max_pool
/// The greatest of each window, padding left out.
fn max_pool(g: &Geometry, x: &[i8], y: &mut [i8]) {
    pool(g, x, y, i32::MIN, i32::max, |greatest, _| greatest as i8);
}

//@ average_pool
/// The mean of each window, padding left out; sums are from -128 up, so that they round the same way everywhere.
fn average_pool(g: &Geometry, x: &[i8], y: &mut [i8]) {
    pool(g, x, y, 0, |a, b| a + b, |sum, count| ((sum + 128 * count + count / 2) / count - 128) as i8);
}

//@ windows
/// What a window's codes and their number make.
fn pool(g: &Geometry, x: &[i8], y: &mut [i8], start: i32, join: impl Fn(i32, i32) -> i32, end: impl Fn(i32, i32) -> i8) {
    for (i, y) in y.chunks_exact_mut(g.channels).enumerate() {
        let down = clip(i / g.out_width, g.down, g.top, g.rows, g.height);
        let across = clip(i % g.out_width, g.right, g.left, g.columns, g.width);
        for (c, y) in y.iter_mut().enumerate() {
            let mut value = start;
            for row in down.from..down.from + down.count {
                for column in across.from..across.from + across.count {
                    value = join(value, i32::from(x[(row * g.width + column) * g.channels + c]));
                }
            }
            *y = end(value, (down.count * across.count) as i32);
        }
    }
}

//@ mean
/// The mean of each channel.
fn mean(x: &[i8], from_zero: i32, factor: &Factor, ends: &Ends, y: &mut [i8]) {
    let channels = y.len();
    for (c, y) in y.iter_mut().enumerate() {
        let sum: i32 = x.iter().skip(c).step_by(channels).map(|code| i32::from(*code) - from_zero).sum();
        *y = limited(scaled(sum, factor), ends);
    }
}

//@ lookup
/// An activation, from a table of all codes, -128 first, in place.
fn lookup(table: &[i8; 256], codes: &mut [i8]) {
    codes.iter_mut().for_each(|code| *code = table[(i32::from(*code) + 128) as usize]);
}

