//! Direct convolution.

use crate::Tensor;
use std::ops::Range;

/// Cross-correlation with zero padding; depthwise is the case of one input channel a group.
///
/// # Shapes
/// - `x`: `[N, C, H, W]`, `weight`: `[O, C / group, kH, kW]`, result: `shape` = `[N, O, H', W']`
#[allow(clippy::too_many_arguments)]
pub(super) fn conv(
    x: &Tensor,
    weight: &[f32],
    bias: Option<&[f32]>,
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    group: usize,
    shape: Vec<usize>,
) -> Tensor {
    let (channels, height, width) = (x.shape[1], x.shape[2], x.shape[3]);
    let (outs, out_height, out_width) = (shape[1], shape[2], shape[3]);
    let per_group = channels / group;
    let taps = per_group * kernel[0] * kernel[1];
    let plane = height * width;
    let mut y = Tensor::filled(shape, 0.0);
    // A pointwise convolution has no edges: the whole plane is one long row.
    let pointwise = kernel == [1, 1] && strides == [1, 1] && pads == [0; 4];
    for (i, out) in y.data.chunks_exact_mut(out_height * out_width).enumerate() {
        let (n, o) = (i / outs, i % outs);
        if let Some(bias) = bias {
            out.fill(bias[o]);
        }
        let first = n * channels + o / (outs / group) * per_group;
        let weights = &weight[o * taps..(o + 1) * taps];
        for (c, kernel_weights) in weights.chunks_exact(kernel[0] * kernel[1]).enumerate() {
            let image = &x.data[(first + c) * plane..(first + c + 1) * plane];
            if pointwise {
                add_scaled(out, image, kernel_weights[0]);
                continue;
            }
            for (tap, w) in kernel_weights.iter().enumerate() {
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
                        add_scaled(to, from, *w);
                    } else {
                        for (to, from) in to.iter_mut().zip(from.iter().step_by(strides[1])) {
                            *to += w * from;
                        }
                    }
                }
            }
        }
    }
    y
}

fn add_scaled(to: &mut [f32], from: &[f32], w: f32) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += w * from;
    }
}

/// Output places whose tap `k` falls on the input and not on its padding.
pub(crate) fn inside(outs: usize, ins: usize, k: usize, stride: usize, pad: usize) -> Range<usize> {
    let start = pad.saturating_sub(k).div_ceil(stride);
    let end = if ins + pad > k { ((ins + pad - k - 1) / stride + 1).min(outs) } else { 0 };
    start..end.max(start)
}
