//! Graphs that use every operator, odd shapes, and networks that find objects.

use kindling_graph::*;

/// Every operator but Softmax, odd kernels, strides, pads, groups, and a BatchNormalization that cannot be folded.
pub(crate) fn everything() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(24));
    let bare = net.batch_norm("first_bn", net.input());
    let conv = Op::Conv { out_channels: 8, kernel: [3, 5], strides: [2, 1], pads: [1, 2, 0, 1], group: 1, bias: true };
    let x = net.push("stem", conv, &[bare]);
    let x = net.batch_norm("stem_bn", x);
    let x = net.hard_swish("stem_act", x);
    let pool = Op::MaxPool { kernel: [3, 3], strides: [1, 1], pads: [1, 1, 1, 1] };
    let pooled = net.push("pool", pool, &[x]);
    let left = net.depthwise("dw", pooled, 3, 1);
    let left = net.batch_norm("dw_bn", left);
    let left = net.relu6("dw_act", left);
    let left = net.conv("pw", left, 8, 1, 1);
    let sum = net.add("sum", left, x);
    let average = Op::AveragePool { kernel: [2, 3], strides: [2, 2], pads: [0, 1, 1, 0] };
    let x = net.push("average", average, &[sum]);
    let x = net.grouped_conv("grouped", x, 6, 3, 1, 2);
    let x = net.sigmoid("gate", x);
    let x = net.conv("last", x, 12, 3, 2);
    let x = net.relu("last_act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.dropout("drop", x, 0.2);
    let x = net.gemm("hidden", x, 7);
    let x = net.push("head", Op::Gemm { out_features: 3, bias: false }, &[x]);
    net.finish(x).unwrap()
}

/// A graph that gives probabilities itself, flattening a map that is more than one pixel.
pub(crate) fn with_softmax() -> Graph {
    let mut net =
        GraphBuilder::new(InputSpec { mean: vec![0.5, 0.4, 0.3], std: vec![0.25, 0.2, 0.3], ..InputSpec::rgb(32) });
    let x = net.conv("c", net.input(), 4, 3, 2);
    let x = net.relu("r", x);
    let x = net.max_pool("m", x, 4, 4);
    let x = net.flatten("f", x);
    let x = net.gemm("g", x, 3);
    let x = net.softmax("s", x);
    net.finish(x).unwrap()
}

/// An inverted residual block as pretrained networks have it: TensorFlow's padding, more at the end, and its epsilon.
pub(crate) fn same_padded() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(32));
    let mut layer = |name: &str, x: Source, channels: usize, kernel: usize, strides: usize, group: usize| {
        let all = kernel - strides.min(kernel);
        let (before, after) = (all / 2, all - all / 2);
        let (kernel, strides, pads) = ([kernel; 2], [strides; 2], [before, before, after, after]);
        let op = Op::Conv { out_channels: channels, kernel, strides, pads, group, bias: false };
        let x = net.push(name, op, &[x]);
        net.push(&format!("{name}_bn"), Op::BatchNormalization { epsilon: 1e-3 }, &[x])
    };
    let x = layer("stem", Source::Input, 8, 3, 2, 1);
    let y = layer("expand", x, 24, 1, 1, 1);
    let y = layer("dw", y, 24, 5, 1, 24);
    let y = layer("project", y, 8, 1, 1, 1);
    let x = net.add("sum", x, y);
    let pads = [1, 1, 2, 2];
    let half = Op::Conv { out_channels: 8, kernel: [5, 5], strides: [2, 2], pads, group: 8, bias: false };
    let x = net.push("half", half, &[x]);
    let x = net.relu6("half_act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("fc", x, 3);
    net.finish(x).unwrap()
}

/// Finds objects of two classes on 5 x 5 places, from depthwise layers.
pub(crate) fn separable_boxes() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(40));
    let x = net.conv("stem", net.input(), 8, 3, 2);
    let x = net.batch_norm("stem_bn", x);
    let mut x = net.relu6("stem_act", x);
    for (name, channels) in [("a", 16), ("b", 24)] {
        x = net.depthwise(&format!("{name}_dw"), x, 3, 2);
        x = net.batch_norm(&format!("{name}_dw_bn"), x);
        x = net.relu6(&format!("{name}_dw_act"), x);
        x = net.conv(&format!("{name}_pw"), x, channels, 1, 1);
        x = net.batch_norm(&format!("{name}_pw_bn"), x);
        x = net.relu6(&format!("{name}_pw_act"), x);
    }
    map_of(net, x, 2)
}

/// Finds objects of one class on 7 x 9 places, from plain layers.
pub(crate) fn plain_boxes() -> Graph {
    let mut net = GraphBuilder::new(InputSpec { height: 28, width: 36, ..InputSpec::rgb(8) });
    let x = net.conv("stem", net.input(), 7, 5, 2);
    let x = net.hard_swish("stem_act", x);
    let x = net.conv("body", x, 12, 3, 2);
    let y = net.hard_swish("body_act", x);
    let y = net.conv("more", y, 12, 3, 1);
    let x = net.add("sum", x, y);
    map_of(net, x, 1)
}

fn map_of(mut net: GraphBuilder, x: Source, classes: usize) -> Graph {
    let (kernel, strides, pads) = ([1; 2], [1; 2], [0; 4]);
    let head = Op::Conv { out_channels: classes + 4, kernel, strides, pads, group: 1, bias: true };
    let x = net.push("head", head, &[x]);
    net.finish_as(x, Answer::Map).unwrap()
}

/// Networks that find objects.
pub(crate) fn detectors() -> Vec<(&'static str, Graph)> {
    vec![("separable_boxes", separable_boxes()), ("plain_boxes", plain_boxes())]
}

pub(crate) fn every_kind() -> Vec<(&'static str, Graph)> {
    graphs().into_iter().chain(detectors()).collect()
}

pub(crate) fn graphs() -> Vec<(&'static str, Graph)> {
    vec![("everything", everything()), ("with_softmax", with_softmax()), ("same_padded", same_padded())]
}

/// Numbers of channels that end within a block, maps that do within a tile, windows of which most is padding, strides that
/// leave something over, maps too narrow for a tile in a row.
pub(crate) fn uneven() -> Graph {
    let mut net = GraphBuilder::new(InputSpec { width: 29, height: 22, ..InputSpec::rgb(8) });
    let mut count = 0;
    let mut conv =
        |net: &mut GraphBuilder, x: Source, out: usize, kernel: [usize; 2], strides: [usize; 2], pads: [usize; 4]| {
            count += 1;
            let group = if out == 0 { net.shape(x).unwrap()[0] } else { 1 };
            let out_channels = if out == 0 { group } else { out };
            let op = Op::Conv { out_channels, kernel, strides, pads, group, bias: true };
            net.push(&format!("conv{count}"), op, &[x])
        };
    let x = conv(&mut net, Source::Input, 19, [3, 5], [1, 1], [2, 3, 1, 4]);
    let x = net.hard_swish("swish", x);
    let x = conv(&mut net, x, 36, [1, 1], [1, 1], [0; 4]);
    let x = net.relu6("relu6", x);
    let y = conv(&mut net, x, 0, [5, 3], [1, 1], [2, 1, 2, 1]);
    let y = net.relu("relu", y);
    let x = net.add("sum", x, y);
    let x = conv(&mut net, x, 0, [3, 3], [2, 3], [0, 1, 1, 0]);
    let x = conv(&mut net, x, 11, [2, 2], [1, 1], [0; 4]);
    let x = conv(&mut net, x, 0, [3, 3], [1, 1], [1; 4]);
    let x = net.sigmoid("sigmoid", x);
    let x = conv(&mut net, x, 45, [3, 3], [2, 4], [4, 1, 1, 1]);
    let x = conv(&mut net, x, 0, [3, 3], [1, 1], [1; 4]);
    let x = conv(&mut net, x, 24, [3, 3], [1, 1], [1; 4]);
    let x = conv(&mut net, x, 6, [3, 1], [2, 1], [1, 0, 1, 0]);
    let x = net.flatten("flat", x);
    let x = net.gemm("hidden", x, 13);
    let x = net.gemm("head", x, 3);
    net.finish(x).unwrap()
}

/// Maps of one row.
pub(crate) fn row() -> Graph {
    let mut net = GraphBuilder::new(InputSpec { width: 37, height: 1, ..InputSpec::rgb(8) });
    let mut layer = |name: &str, x: Source, channels: usize, step: usize, pads: [usize; 4], group: usize| {
        let (kernel, strides) = ([1, 7], [1, step]);
        let op = Op::Conv { out_channels: channels, kernel, strides, pads, group, bias: false };
        let x = net.push(name, op, &[x]);
        net.relu(&format!("{name}_relu"), x)
    };
    let x = layer("a", Source::Input, 10, 1, [0, 3, 0, 3], 1);
    let x = layer("b", x, 10, 2, [0, 3, 0, 2], 10);
    let x = layer("c", x, 21, 1, [0; 4], 1);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("head", x, 3);
    net.finish(x).unwrap()
}
