//! The same networks in plain 64-bit loops, written from ONNX's definitions.

use kindling_graph::{Graph, Op, Source};

/// One value of the whole batch: `[N][C * H * W]`.
type Value = Vec<Vec<f64>>;

/// What a network answers in training, and its statistics as [`kindling_kernels::Answer`] has them.
pub(crate) fn train(graph: &Graph, images: &[f64], weights: &[f64], masks: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    run(graph, images, weights, Mode::Training { masks })
}

/// What it answers with its running statistics.
pub(crate) fn infer(graph: &Graph, images: &[f64], weights: &[f64], running: &[f64]) -> Vec<f64> {
    run(graph, images, weights, Mode::Inference { running }).0
}

enum Mode<'a> {
    Training { masks: &'a [Vec<f64>] },
    Inference { running: &'a [f64] },
}

fn run(graph: &Graph, images: &[f64], mut weights: &[f64], mode: Mode<'_>) -> (Vec<f64>, Vec<f64>) {
    let shapes = graph.shapes().unwrap();
    let input = graph.input.shape();
    let len: usize = input.iter().product();
    let images: Value = images.chunks(len).map(<[f64]>::to_vec).collect();
    let (mut values, mut statistics, mut dropouts, mut normed): (Vec<Value>, Vec<f64>, usize, usize) =
        (Vec::new(), Vec::new(), 0, 0);
    for (node, shape) in graph.nodes.iter().zip(&shapes) {
        let of = |source: &Source| match source {
            Source::Input => (&images, input.clone()),
            Source::Node(id) => (&values[*id], shapes[*id].clone()),
        };
        let (x, from) = of(&node.inputs[0]);
        let mut take = |len: usize| {
            let (own, rest) = weights.split_at(len);
            weights = rest;
            own
        };
        let map = |f: &dyn Fn(f64) -> f64| x.iter().map(|image| image.iter().map(|v| f(*v)).collect()).collect();
        let value: Value = match &node.op {
            Op::Conv { out_channels, kernel, strides, pads, group, bias } => {
                let each = from[0] / group;
                let w = take(out_channels * each * kernel[0] * kernel[1]);
                let bias = bias.then(|| take(*out_channels));
                x.iter()
                    .map(|image| {
                        let mut out = Vec::new();
                        for o in 0..*out_channels {
                            let first = o / (out_channels / group) * each;
                            for y in 0..shape[1] {
                                for x in 0..shape[2] {
                                    let mut sum = bias.map_or(0.0, |bias| bias[o]);
                                    for c in 0..each {
                                        for ky in 0..kernel[0] {
                                            for kx in 0..kernel[1] {
                                                let (iy, ix) = (y * strides[0] + ky, x * strides[1] + kx);
                                                let (Some(iy), Some(ix)) =
                                                    (iy.checked_sub(pads[0]), ix.checked_sub(pads[1]))
                                                else {
                                                    continue;
                                                };
                                                if iy < from[1] && ix < from[2] {
                                                    sum += image[((first + c) * from[1] + iy) * from[2] + ix]
                                                        * w[((o * each + c) * kernel[0] + ky) * kernel[1] + kx];
                                                }
                                            }
                                        }
                                    }
                                    out.push(sum);
                                }
                            }
                        }
                        out
                    })
                    .collect()
            }
            Op::Gemm { out_features, bias } => {
                let features = x[0].len();
                let w = take(out_features * features);
                let bias = bias.then(|| take(*out_features));
                let answer = |image: &Vec<f64>, o: usize| {
                    let row = &w[o * features..][..features];
                    row.iter().zip(image).map(|(w, x)| w * x).sum::<f64>() + bias.map_or(0.0, |bias| bias[o])
                };
                x.iter().map(|image| (0..*out_features).map(|o| answer(image, o)).collect()).collect()
            }
            Op::BatchNormalization { epsilon } => {
                let channels = from[0];
                let pixels = x[0].len() / channels;
                let (scale, bias) = (take(channels), take(channels));
                let (mut means, mut variances) = (Vec::new(), Vec::new());
                let mut out = x.clone();
                for c in 0..channels {
                    let own = || x.iter().flat_map(|image| &image[c * pixels..][..pixels]);
                    let count = (x.len() * pixels) as f64;
                    let mean = own().sum::<f64>() / count;
                    let variance = own().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
                    let (mean, variance) = match mode {
                        Mode::Training { .. } => (mean, variance),
                        Mode::Inference { running } => (running[normed + c], running[normed + channels + c]),
                    };
                    for v in out.iter_mut().flat_map(|image| &mut image[c * pixels..][..pixels]) {
                        *v = (*v - mean) / (variance + f64::from(*epsilon)).sqrt() * scale[c] + bias[c];
                    }
                    means.push(mean);
                    variances.push(variance);
                }
                normed += 2 * channels;
                statistics.extend(means.into_iter().chain(variances));
                out
            }
            Op::Relu => map(&|v| v.max(0.0)),
            Op::Clip { min, max } => map(&|v| v.clamp(f64::from(*min), f64::from(*max))),
            Op::HardSwish => map(&|v| v * (v / 6.0 + 0.5).clamp(0.0, 1.0)),
            Op::Sigmoid => map(&|v| 1.0 / (1.0 + (-v).exp())),
            Op::Add => {
                let (other, _) = of(&node.inputs[1]);
                x.iter().zip(other).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
            }
            Op::MaxPool { kernel, strides, pads } => pool(x, &from, shape, *kernel, *strides, *pads, true),
            Op::AveragePool { kernel, strides, pads } => pool(x, &from, shape, *kernel, *strides, *pads, false),
            Op::GlobalAveragePool => pool(x, &from, shape, [from[1], from[2]], [1, 1], [0; 4], false),
            Op::Dropout { .. } => match mode {
                Mode::Inference { .. } => x.clone(),
                Mode::Training { masks } => {
                    let masks = masks[dropouts].chunks(x[0].len());
                    dropouts += 1;
                    x.iter().zip(masks).map(|(x, m)| x.iter().zip(m).map(|(x, m)| x * m).collect()).collect()
                }
            },
            Op::Flatten => x.clone(),
            Op::Softmax => unreachable!("not in these tests"),
        };
        values.push(value);
    }
    (values[graph.output].concat(), statistics)
}

fn pool(
    x: &Value,
    from: &[usize],
    to: &[usize],
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    greatest: bool,
) -> Value {
    let span = |axis: usize, out: usize| {
        let begin = out * strides[axis];
        begin.saturating_sub(pads[axis])..(begin + kernel[axis]).saturating_sub(pads[axis]).min(from[axis + 1])
    };
    x.iter()
        .map(|image| {
            let mut out = Vec::new();
            for c in 0..to[0] {
                for y in 0..to[1] {
                    for x in 0..to[2] {
                        let seen: Vec<f64> = span(0, y)
                            .flat_map(|y| span(1, x).map(move |x| image[(c * from[1] + y) * from[2] + x]))
                            .collect();
                        out.push(match greatest {
                            true => seen.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                            false => seen.iter().sum::<f64>() / seen.len() as f64,
                        });
                    }
                }
            }
            out
        })
        .collect()
}
