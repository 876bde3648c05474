//! Each operator against numbers worked out by hand from ONNX's definitions.

use kindling_graph::{Graph, GraphBuilder, InputSpec, Op, Source, Tensor, Weights, execute};

/// Runs one operator on an image of one batch.
fn run(op: Op, weights: &[(&str, &[f32])], shape: [usize; 3], x: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let [channels, height, width] = shape;
    let input = InputSpec { channels, height, width, mean: vec![0.0; channels], std: vec![1.0; channels] };
    let mut net = GraphBuilder::new(input);
    let flat = matches!(op, Op::Gemm { .. } | Op::Softmax);
    let from = if flat { net.flatten("flat", Source::Input) } else { Source::Input };
    let out = net.push("x", op, &[from]);
    let graph = net.finish(out).unwrap();
    let params = graph.params().unwrap();
    let weights: Weights = params
        .into_iter()
        .map(|spec| {
            let role = spec.name.rsplit('.').next().unwrap();
            let values = weights.iter().find(|(name, _)| *name == role).unwrap().1;
            let tensor = Tensor::new(spec.shape, values.to_vec()).unwrap();
            (spec.name, tensor)
        })
        .collect();
    let input = Tensor::new(vec![1, channels, height, width], x.to_vec()).unwrap();
    let y = execute(&graph, &weights, &input).unwrap();
    (y.shape, y.data)
}

fn close(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {wanted:?}");
}

const NINE: [f32; 9] = [1., 2., 3., 4., 5., 6., 7., 8., 9.];

fn conv(out_channels: usize, kernel: [usize; 2], strides: [usize; 2], pads: [usize; 4], group: usize) -> Op {
    Op::Conv { out_channels, kernel, strides, pads, group, bias: true }
}

#[test]
fn conv_is_cross_correlation_with_zero_padding() {
    let op = conv(1, [2, 2], [1, 1], [0; 4], 1);
    let (shape, y) = run(op, &[("weight", &[1., 2., 3., 4.]), ("bias", &[0.5])], [1, 3, 3], &NINE);
    assert_eq!(shape, [1, 1, 2, 2]);
    close(&y, &[37.5, 47.5, 67.5, 77.5]);
    // Padding only above and to the right; stride 2 both ways.
    let op = conv(1, [2, 2], [2, 2], [1, 0, 0, 1], 1);
    let (shape, y) = run(op, &[("weight", &[1., 2., 3., 4.]), ("bias", &[0.])], [1, 3, 3], &NINE);
    assert_eq!(shape, [1, 1, 2, 2]);
    close(&y, &[3. + 8., 9., 4. + 10. + 21. + 32., 6. + 27.]);
}

#[test]
fn conv_of_uneven_kernel_and_stride() {
    let op = conv(1, [1, 3], [2, 1], [0, 1, 0, 1], 1);
    let (shape, y) = run(op, &[("weight", &[1., 10., 100.]), ("bias", &[0.])], [1, 3, 3], &NINE);
    assert_eq!(shape, [1, 1, 2, 3]);
    close(&y, &[210., 321., 32., 870., 987., 98.]);
}

#[test]
fn conv_sums_channels_within_its_group() {
    let x = [1., 2., 10., 20.];
    let op = conv(2, [1, 1], [1, 1], [0; 4], 1);
    let (_, y) = run(op, &[("weight", &[1., 1., 2., 3.]), ("bias", &[0., 1.])], [2, 1, 2], &x);
    close(&y, &[11., 22., 33., 65.]);
    let op = conv(2, [1, 1], [1, 1], [0; 4], 2);
    let (_, y) = run(op, &[("weight", &[2., 3.]), ("bias", &[0., 1.])], [2, 1, 2], &x);
    close(&y, &[2., 4., 31., 61.]);
}

#[test]
fn conv_whose_kernel_is_mostly_padding() {
    // Most taps never touch the input: the whole 1x1 image times the kernel's middle.
    let weights: Vec<f32> = (0..25).map(|v| v as f32).collect();
    let op = conv(1, [5, 5], [1, 1], [2; 4], 1);
    let (shape, y) = run(op, &[("weight", &weights), ("bias", &[0.])], [1, 1, 1], &[2.0]);
    assert_eq!(shape, [1, 1, 1, 1]);
    close(&y, &[24.0]);
}

#[test]
fn batch_normalization_uses_running_statistics() {
    let op = Op::BatchNormalization { epsilon: 1.0 };
    let weights: &[(&str, &[f32])] =
        &[("scale", &[2., 1.]), ("bias", &[1., 0.]), ("mean", &[3., 1.]), ("var", &[3., 0.])];
    let (_, y) = run(op, weights, [2, 1, 2], &[3., 5., 1., 4.]);
    close(&y, &[1., 3., 0., 3.]);
}

#[test]
fn activations() {
    let x = [-4., -1., 0., 1., 3., 8.];
    let on = |op| run(op, &[], [1, 1, 6], &x).1;
    close(&on(Op::Relu), &[0., 0., 0., 1., 3., 8.]);
    close(&on(Op::Clip { min: -2.0, max: 6.0 }), &[-2., -1., 0., 1., 3., 6.]);
    close(&on(Op::HardSwish), &[0., -1. / 3., 0., 2. / 3., 3., 8.]);
    close(&on(Op::Sigmoid)[1..4], &[0.268_941_43, 0.5, 0.731_058_6]);
    close(&on(Op::Dropout { ratio: 0.5 }), &x);
    assert_eq!(run(Op::Flatten, &[], [3, 1, 2], &x).0, [1, 6]);
}

#[test]
fn pools_leave_padding_out() {
    let max = |kernel, strides, pads| run(Op::MaxPool { kernel, strides, pads }, &[], [1, 3, 3], &NINE.map(|v| -v));
    // Floor mode: the last row and column are left over.
    assert_eq!(max([2, 2], [2, 2], [0; 4]), (vec![1, 1, 1, 1], vec![-1.0]));
    // All inputs are negative, so padding would win if it counted as zero.
    assert_eq!(max([2, 2], [2, 2], [1, 1, 0, 0]).1, [-1.0, -2.0, -4.0, -5.0]);
    let mean = |kernel, strides, pads| run(Op::AveragePool { kernel, strides, pads }, &[], [1, 3, 3], &NINE).1;
    close(&mean([2, 2], [1, 1], [0; 4]), &[3., 4., 6., 7.]);
    close(&mean([2, 2], [2, 2], [1, 1, 0, 0]), &[1., 2.5, 5.5, 7.]);
    close(&mean([3, 3], [1, 1], [1; 4]), &[3., 3.5, 4., 4.5, 5., 5.5, 6., 6.5, 7.]);
    let (shape, y) = run(Op::GlobalAveragePool, &[], [2, 1, 2], &[1., 2., 5., 9.]);
    assert_eq!(shape, [1, 2, 1, 1]);
    close(&y, &[1.5, 7.]);
}

#[test]
fn gemm_and_softmax() {
    let weight: Vec<f32> = (0..22).map(|v| v as f32 * 0.5).collect();
    let x: Vec<f32> = (0..11).map(|v| v as f32).collect();
    let op = Op::Gemm { out_features: 2, bias: true };
    let (shape, y) = run(op, &[("weight", &weight), ("bias", &[1., -1.])], [11, 1, 1], &x);
    assert_eq!(shape, [1, 2]);
    // 0.5 * sum(i^2) = 192.5, and with each weight 5.5 more: 192.5 + 5.5 * 55.
    close(&y, &[193.5, 494.0]);
    let (_, y) = run(Op::Softmax, &[], [3, 1, 1], &[1000., 1000., 1000. + 2f32.ln()]);
    assert!((y[0] - 0.25).abs() < 1e-4 && (y[2] - 0.5).abs() < 1e-4, "{y:?}");
}

#[test]
fn each_image_of_a_batch_is_its_own() {
    let mut net = GraphBuilder::new(InputSpec::rgb(5));
    let x = net.conv("a", Source::Input, 4, 3, 2);
    let x = net.max_pool("b", x, 2, 1);
    let x = net.flatten("c", x);
    let x = net.gemm("d", x, 3);
    let graph: Graph = net.finish(x).unwrap();
    let weights = kindling_graph::random_weights(&graph, 3).unwrap();
    let batch = crate::some_input(&graph, 3);
    let all = execute(&graph, &weights, &batch).unwrap();
    for i in 0..3 {
        let image = Tensor::new(vec![1, 3, 5, 5], batch.data[i * 75..(i + 1) * 75].to_vec()).unwrap();
        assert_eq!(execute(&graph, &weights, &image).unwrap().data, all.data[i * 3..(i + 1) * 3]);
    }
}

#[test]
fn wrong_inputs_and_weights_are_refused() {
    let mut net = GraphBuilder::new(InputSpec::rgb(4));
    let x = net.conv("a", Source::Input, 2, 3, 1);
    let graph = net.finish(x).unwrap();
    let weights = kindling_graph::random_weights(&graph, 0).unwrap();
    let good = crate::some_input(&graph, 1);
    assert!(execute(&graph, &weights, &good).is_ok());
    for shape in
        [vec![], vec![3, 4, 4], vec![0, 3, 4, 4], vec![1, 3, 4, 5], vec![2, 3, 4, 4], vec![usize::MAX, 3, 4, 4]]
    {
        let input = Tensor { shape, data: good.data.clone() };
        assert!(execute(&graph, &weights, &input).is_err());
    }
    let mut over = weights.clone();
    over.insert("b.weight".into(), Tensor::default());
    let error = execute(&graph, &over, &good).unwrap_err();
    assert_eq!(error.to_string(), "weight `b.weight`: is not of this graph");
    let mut short = weights.clone();
    short.get_mut("a.weight").unwrap().data.pop();
    assert!(execute(&graph, &short, &good).unwrap_err().to_string().contains("needs [2, 3, 3, 3]"));
    assert!(execute(&graph, &Weights::new(), &good).unwrap_err().to_string().contains("is missing"));
    assert!(Tensor::new(vec![2, 2], vec![0.0; 3]).is_err());
    assert!(Tensor::new(vec![usize::MAX, 2], vec![0.0; 3]).is_err());
}
