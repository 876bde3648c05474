//! Runs an 8-bit network on one image: the judge of the generated code. Loops go along rows of 16-bit differences from the
//! zero point, which compilers vectorise.

use super::{Affine, Quantized, QuantizedKind, QuantizedLayer};
use crate::execute::inside;
use crate::lower::{Convolution, Layer, LayerKind, Window};
use crate::{Answer, GraphError, Source};

/// What a layer makes.
pub(super) enum Made {
    Codes(Vec<i8>),
    /// In 16.16 bits.
    Logits(Vec<i32>),
}

impl Quantized {
    /// The logits in 16.16 bits of one image.
    ///
    /// # Shapes
    /// `codes`: `[C, H, W]`, each number of the normalised input in the codes of [`Quantized::input`]. Returns `[classes]`.
    ///
    /// # Errors
    /// [`GraphError::Tensor`] if there are more or fewer codes.
    pub fn run(&self, codes: &[i8]) -> Result<Vec<i32>, GraphError> {
        let wanted: usize = self.lowered.input.shape().iter().product();
        if codes.len() != wanted {
            return Err(GraphError::Tensor(format!("the input has {} codes, not {wanted}", codes.len())));
        }
        let mut held: Vec<Vec<i8>> = Vec::with_capacity(self.layers.len());
        for at in 0..self.layers.len() {
            let read = |source: &Source| match source {
                Source::Input => (codes, self.input),
                Source::Node(before) => (held[*before].as_slice(), self.codes_of(source)),
            };
            let inputs: Vec<_> = self.lowered.layers[at].inputs.iter().map(read).collect();
            match self.run_layer(at, &inputs)? {
                Made::Codes(codes) => held.push(codes),
                Made::Logits(logits) => return Ok(logits),
            }
        }
        Ok(self.logits(&held[self.lowered.output]))
    }

    /// The logits of the last layer's codes, where it makes codes.
    pub(super) fn logits(&self, codes: &[i8]) -> Vec<i32> {
        let factor = self.logits_from_codes().unwrap_or_default();
        let zero = i32::from(self.layers[self.lowered.output].output.zero);
        codes.iter().map(|code| factor.apply(i32::from(*code) - zero)).collect()
    }

    /// Codes of a value.
    pub(super) fn codes_of(&self, source: &Source) -> Affine {
        match source {
            Source::Input => self.input,
            Source::Node(before) => self.layers[*before].output,
        }
    }

    /// What one layer makes of codes that it reads.
    pub(super) fn run_layer(&self, at: usize, inputs: &[(&[i8], Affine)]) -> Result<Made, GraphError> {
        let (layer, numbers) = (&self.lowered.layers[at], &self.layers[at]);
        let Some((x, from)) = inputs.first().copied() else {
            return Err(GraphError::Graph(format!("layer `{}` reads nothing", layer.name)));
        };
        let zero = i32::from(from.zero);
        let to_code = |value: i32| (value + i32::from(numbers.raw.zero)).clamp(-128, 127) as i8;
        let made: Vec<i8> = match (&layer.kind, &numbers.kind) {
            (LayerKind::Conv(conv), QuantizedKind::Conv { weight, bias, multipliers, .. }) => {
                let sums = convolve(x, from.zero, layer, conv, weight, bias);
                let channels = sums.chunks_exact(layer.to[1] * layer.to[2]).zip(multipliers);
                if at == self.lowered.output && self.logits_from_codes().is_none() {
                    let logits = channels.flat_map(|(sums, m)| sums.iter().map(|sum| m.apply(*sum)));
                    return Ok(Made::Logits(logits.collect()));
                }
                let mut codes = Vec::with_capacity(sums.len());
                for (sums, multiplier) in channels {
                    codes.extend(sums.iter().map(|sum| to_code(multiplier.apply(*sum).clamp(-1024, 1024))));
                }
                codes
            }
            (LayerKind::Add, QuantizedKind::Add(sum)) => {
                let (y, other) = inputs.get(1).copied().unwrap_or((x, from));
                let pairs = x.iter().zip(y);
                pairs
                    .map(|(a, b)| to_code(sum.apply(i32::from(*a) - zero, i32::from(*b) - i32::from(other.zero))))
                    .collect()
            }
            (LayerKind::MaxPool(window), _) => pool(x, layer, *window, i32::MIN, i32::max, |most, _| most as i8),
            (LayerKind::AveragePool(window), _) => {
                // From 0 up, so that division rounds the same way in every language.
                let mean = |sum: i32, count: i32| ((sum + 128 * count + count / 2) / count - 128) as i8;
                pool(x, layer, *window, 0, |a, b| a + b, mean)
            }
            (LayerKind::GlobalAveragePool, QuantizedKind::Mean(multiplier)) => {
                let plane = layer.from[1] * layer.from[2];
                let sum = |codes: &[i8]| codes.iter().map(|c| i32::from(*c) - zero).sum::<i32>();
                x.chunks_exact(plane).map(|codes| to_code(multiplier.apply(sum(codes)).clamp(-1024, 1024))).collect()
            }
            _ => x.to_vec(),
        };
        Ok(Made::Codes(finish(made, numbers)))
    }

    /// The probabilities of one picture at the network's own size, or the map of what it finds.
    ///
    /// # Shapes
    /// `rgb`: `[H, W, C]` bytes. Returns `[classes]`, or the numbers of [`Graph::output_shape`](crate::Graph::output_shape).
    ///
    /// # Errors
    /// As [`Quantized::run`].
    pub fn answer(&self, rgb: &[u8]) -> Result<Vec<f32>, GraphError> {
        let logits: Vec<f64> = self.run(&self.codes(rgb))?.into_iter().map(super::logit).collect();
        if self.lowered.answer == Answer::Map {
            return Ok(logits.into_iter().map(|x| x as f32).collect());
        }
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = logits.iter().map(|x| (x - top).exp()).collect();
        let sum: f64 = powers.iter().sum();
        Ok(powers.iter().map(|power| (power / sum) as f32).collect())
    }

    /// The codes `[C, H, W]` of a picture at the network's own size, `[H, W, C]` bytes.
    pub fn codes(&self, rgb: &[u8]) -> Vec<i8> {
        let tables = self.input_tables();
        let channels = tables.len().max(1);
        let channel = |(c, table): (usize, &[i8; 256])| {
            let levels = rgb.iter().skip(c).step_by(channels);
            levels.map(|level| table[usize::from(*level)]).collect::<Vec<i8>>()
        };
        tables.iter().enumerate().flat_map(channel).collect()
    }
}

/// Limits and table.
fn finish(mut codes: Vec<i8>, numbers: &QuantizedLayer) -> Vec<i8> {
    let [low, high] = numbers.limits;
    for code in &mut codes {
        *code = (*code).clamp(low, high);
        if let Some(table) = &numbers.table {
            *code = table[(i32::from(*code) + 128) as usize];
        }
    }
    codes
}

/// Sums `[O, H', W']`; padding is the code of 0.
fn convolve(x: &[i8], zero: i8, layer: &Layer, conv: &Convolution, weight: &[i8], bias: &[i32]) -> Vec<i32> {
    let ([channels, height, width], [outs, out_height, out_width]) = (layer.from, layer.to);
    let Window { kernel, strides, pads } = conv.window;
    let x: Vec<i16> = x.iter().map(|code| i16::from(*code) - i16::from(zero)).collect();
    let per_group = channels / conv.group;
    let (taps, plane) = (conv.taps(), height * width);
    let pointwise = kernel == [1, 1] && strides == [1, 1] && pads == [0; 4];
    let mut sums = vec![0i32; outs * out_height * out_width];
    for (o, out) in sums.chunks_exact_mut(out_height * out_width).enumerate() {
        out.fill(bias[o]);
        let first = o / (outs / conv.group) * per_group;
        if pointwise {
            let images = x[first * plane..(first + per_group) * plane].chunks(4 * plane);
            for (images, weights) in images.zip(weight[o * taps..(o + 1) * taps].chunks(4)) {
                add_scaled(out, images, weights);
            }
            continue;
        }
        for (c, window) in weight[o * taps..(o + 1) * taps].chunks_exact(kernel[0] * kernel[1]).enumerate() {
            let image = &x[(first + c) * plane..(first + c + 1) * plane];
            for (tap, w) in window.iter().enumerate() {
                let (ky, kx) = (tap / kernel[1], tap % kernel[1]);
                let rows = inside(out_height, height, ky, strides[0], pads[0]);
                let columns = inside(out_width, width, kx, strides[1], pads[1]);
                if columns.is_empty() {
                    continue;
                }
                let left = columns.start * strides[1] + kx - pads[1];
                for oy in rows {
                    let iy = oy * strides[0] + ky - pads[0];
                    let from = &image[iy * width + left..(iy + 1) * width];
                    let to = &mut out[oy * out_width + columns.start..oy * out_width + columns.end];
                    if strides[1] == 1 {
                        add_scaled(to, &from[..to.len()], &[*w]);
                    } else {
                        for (to, from) in to.iter_mut().zip(from.iter().step_by(strides[1])) {
                            *to += i32::from(*w) * i32::from(*from);
                        }
                    }
                }
            }
        }
    }
    sums
}

/// Adds up to four rows, one after another in `from`, each times its weight: four at once read and write the sums once.
fn add_scaled(to: &mut [i32], from: &[i16], weights: &[i8]) {
    let length = to.len();
    if let ([w0, w1, w2, w3], true) = (weights, from.len() == 4 * length) {
        let [w0, w1, w2, w3] = [w0, w1, w2, w3].map(|w| i16::from(*w));
        let (first, second) = from.split_at(2 * length);
        let ((a, b), (c, d)) = (first.split_at(length), second.split_at(length));
        for ((((to, a), b), c), d) in to.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *to += (i32::from(w0) * i32::from(*a) + i32::from(w1) * i32::from(*b))
                + (i32::from(w2) * i32::from(*c) + i32::from(w3) * i32::from(*d));
        }
        return;
    }
    for (row, w) in from.chunks_exact(length.max(1)).zip(weights) {
        let w = i16::from(*w);
        for (to, from) in to.iter_mut().zip(row) {
            *to += i32::from(w) * i32::from(*from);
        }
    }
}

fn pool(
    x: &[i8],
    layer: &Layer,
    window: Window,
    start: i32,
    join: impl Fn(i32, i32) -> i32,
    end: impl Fn(i32, i32) -> i8,
) -> Vec<i8> {
    let ([channels, height, width], [_, out_height, out_width]) = (layer.from, layer.to);
    let mut made = Vec::with_capacity(layer.len());
    for image in x.chunks_exact(height * width).take(channels) {
        for oy in 0..out_height {
            for ox in 0..out_width {
                let span = |out: usize, axis: usize, length: usize| {
                    let from = out * window.strides[axis];
                    let end = (from + window.kernel[axis]).saturating_sub(window.pads[axis]).min(length);
                    from.saturating_sub(window.pads[axis])..end
                };
                let (rows, columns) = (span(oy, 0, height), span(ox, 1, width));
                let count = (rows.len() * columns.len()) as i32;
                let value = rows.fold(start, |value, row| {
                    image[row * width + columns.start..row * width + columns.end]
                        .iter()
                        .fold(value, |value, code| join(value, i32::from(*code)))
                });
                made.push(end(value, count));
            }
        }
    }
    made
}
