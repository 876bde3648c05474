//! Pools.

use crate::Tensor;

/// Greatest value of each window, padding left out.
pub(super) fn max_pool(
    x: &Tensor,
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    shape: Vec<usize>,
) -> Tensor {
    pool(x, kernel, strides, pads, shape, f32::NEG_INFINITY, |a, b| a.max(b), |value, _| value)
}

/// Mean of each window, padding left out.
pub(super) fn average_pool(
    x: &Tensor,
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    shape: Vec<usize>,
) -> Tensor {
    pool(x, kernel, strides, pads, shape, 0.0, |a, b| a + b, |sum, count| sum / count as f32)
}

#[allow(clippy::too_many_arguments)]
fn pool(
    x: &Tensor,
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    shape: Vec<usize>,
    start: f32,
    join: impl Fn(f32, f32) -> f32,
    end: impl Fn(f32, usize) -> f32,
) -> Tensor {
    let (height, width) = (x.shape[2], x.shape[3]);
    let (out_height, out_width) = (shape[2], shape[3]);
    let mut y = Tensor::filled(shape, start);
    let planes = x.data.chunks_exact(height * width).zip(y.data.chunks_exact_mut(out_height * out_width));
    for (image, out) in planes {
        for (i, value) in out.iter_mut().enumerate() {
            let rows = span(i / out_width, height, kernel[0], strides[0], pads[0]);
            let columns = span(i % out_width, width, kernel[1], strides[1], pads[1]);
            let count = rows.len() * columns.len();
            for row in rows {
                let cells = &image[row * width + columns.start..row * width + columns.end];
                *value = cells.iter().fold(*value, |a, b| join(a, *b));
            }
            *value = end(*value, count);
        }
    }
    y
}

/// The part of a window that lies on the input.
fn span(out: usize, size: usize, kernel: usize, stride: usize, pad: usize) -> std::ops::Range<usize> {
    let from = out * stride;
    from.saturating_sub(pad)..(from + kernel).saturating_sub(pad).min(size)
}

/// Mean of each channel, summed in 64 bits since it may be over many values.
pub(super) fn global_average_pool(x: &Tensor, shape: Vec<usize>) -> Tensor {
    let plane = x.shape[2] * x.shape[3];
    let mean = |values: &[f32]| (values.iter().map(|v| f64::from(*v)).sum::<f64>() / plane as f64) as f32;
    Tensor { shape, data: x.data.chunks_exact(plane).map(mean).collect() }
}
