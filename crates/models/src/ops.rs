//! The operators on burn tensors.

use crate::{BatchStatistics, random::Random};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, TensorData, activation, module};
use kindling_graph::Op;

/// Padding as burn has it, from top, left, bottom, right.
fn pairs(pads: [usize; 4]) -> [(usize, usize); 2] {
    [(pads[0], pads[2]), (pads[1], pads[3])]
}

/// # Shapes
/// `[N, C, H, W]` and `[O, C / group, kH, kW]` to `[N, O, H', W']`.
pub(crate) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    strides: [usize; 2],
    pads: [usize; 4],
    group: usize,
) -> Tensor<4> {
    module::conv2d(x, weight, bias, ConvOptions::new_with_padding(strides, pairs(pads), [1, 1], group))
}

/// # Shapes
/// `[N, C, H, W]`; the others `[C]`.
pub(crate) fn batch_norm(
    x: Tensor<4>,
    scale: Tensor<1>,
    bias: Tensor<1>,
    mean: Tensor<1>,
    var: Tensor<1>,
    epsilon: f32,
) -> Tensor<4> {
    // One factor and one term per channel: two passes over the image instead of four.
    let factor = scale.div(var.add_scalar(epsilon).sqrt());
    let term = bias.sub(mean.mul(factor.clone()));
    let channels = factor.dims()[0];
    x.mul(factor.reshape([1, channels, 1, 1])).add(term.reshape([1, channels, 1, 1]))
}

/// # Shapes
/// `[N, C, H, W]`; `scale` and `bias` `[C]`.
pub(crate) fn batch_norm_train(
    x: Tensor<4>,
    scale: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f32,
) -> (Tensor<4>, BatchStatistics) {
    let found = module::batch_norm_train(x, scale, bias, f64::from(epsilon));
    let statistics = BatchStatistics { mean: found.mean.detach().inner(), var: found.variance.detach().inner() };
    (found.output, statistics)
}

/// # Shapes
/// `[N, F]` and `[O, F]` to `[N, O]`.
pub(crate) fn gemm(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    match bias {
        Some(bias) => y.add(bias.unsqueeze()),
        None => y,
    }
}

pub(crate) fn max_pool(x: Tensor<4>, kernel: [usize; 2], strides: [usize; 2], pads: [usize; 4]) -> Tensor<4> {
    module::max_pool2d(x, MaxPoolOptions::new(kernel).with_stride(strides).with_padding_pairs(pairs(pads)))
}

pub(crate) fn average_pool(x: Tensor<4>, kernel: [usize; 2], strides: [usize; 2], pads: [usize; 4]) -> Tensor<4> {
    let options = AvgPoolOptions::new(kernel).with_stride(strides).with_padding_pairs(pairs(pads));
    module::avg_pool2d(x, options.with_count_include_pad(false))
}

pub(crate) fn global_average_pool(x: Tensor<4>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    x.reshape([n, c, h * w]).mean_dim(2).reshape([n, c, 1, 1])
}

/// Any operator that works on each number alone.
pub(crate) fn activate<const D: usize>(op: &Op, x: Tensor<D>) -> Tensor<D> {
    match op {
        Op::Relu => activation::relu(x),
        Op::Clip { min, max } => x.clamp(*min, *max),
        Op::HardSwish => activation::hard_swish(x),
        Op::Sigmoid => activation::sigmoid(x),
        _ => x,
    }
}

/// Drops a share of the numbers and scales the rest up (Srivastava et al. 2014). The mask comes from
/// our own generator, since burn's is shared by the whole process.
pub(crate) fn dropout<const D: usize>(x: Tensor<D>, ratio: f32, random: &mut Random) -> Tensor<D> {
    if ratio <= 0.0 {
        return x;
    }
    let dims = x.dims();
    let mask = dropout_mask(ratio, dims.iter().product(), random);
    let mask = Tensor::<D>::from_data(TensorData::new(mask, dims), &x.device());
    x.mul(mask)
}

/// The factors that drop a share of so many numbers; nothing is drawn when nothing is dropped.
pub(crate) fn dropout_mask(ratio: f32, numbers: usize, random: &mut Random) -> Vec<f32> {
    if ratio <= 0.0 {
        return vec![1.0; numbers];
    }
    let keep = 1.0 / (1.0 - ratio);
    (0..numbers).map(|_| if random.uniform() < f64::from(ratio) { 0.0 } else { keep }).collect()
}
