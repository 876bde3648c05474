//! The 8-bit network against the one it is rounded from.

use kindling_graph::{
    Graph, GraphBuilder, GraphError, InputSpec, LOGIT_BITS, LayerKind, Op, QuantizedKind, Source, Statistics, Tensor,
    Weights, execute, fold_graph, lower, memory_plan, quantize, random_weights_with,
};

fn logits(stored: &[i32]) -> Vec<f32> {
    stored.iter().map(|x| *x as f32 / (1 << LOGIT_BITS) as f32).collect()
}

/// Pictures in bytes `[H, W, C]`, and normalised.
fn pictures(graph: &Graph, batch: usize) -> (Vec<Vec<u8>>, Tensor) {
    let (spec, mut images) = (&graph.input, crate::some_input(graph, batch));
    let plane = spec.height * spec.width;
    let mut bytes = Vec::new();
    for image in images.data.chunks_mut(plane * spec.channels) {
        let mut rgb = vec![0; image.len()];
        for (at, x) in image.iter_mut().enumerate() {
            let (c, place) = (at / plane, at % plane);
            let level = ((*x * spec.std[c] + spec.mean[c]) * 255.0).round().clamp(0.0, 255.0);
            rgb[place * spec.channels + c] = level as u8;
            *x = (level / 255.0 - spec.mean[c]) / spec.std[c];
        }
        bytes.push(rgb);
    }
    (bytes, images)
}

/// Root mean square error of the logits over their spread.
fn error(graph: &Graph, weights: &Weights) -> f64 {
    let (bytes, images) = pictures(graph, 12);
    let quantized = quantize(graph, weights, &images).unwrap();
    let truth = execute(graph, weights, &images).unwrap().data;
    let found = bytes.iter().flat_map(|rgb| logits(&quantized.run(&quantized.codes(rgb)).unwrap()));
    let found: Vec<f32> = found.collect();
    let square = |of: &dyn Fn(usize) -> f32| (0..truth.len()).map(|i| f64::from(of(i)).powi(2)).sum::<f64>();
    let mean = truth.iter().sum::<f32>() / truth.len() as f32;
    (square(&|i| truth[i] - found[i]) / square(&|i| truth[i] - mean)).sqrt()
}

/// Every layer kind, every activation, odd windows and pads, groups.
fn everything() -> Graph {
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
    let active = net.relu("sum_act", sum);
    let sum = net.add("again", active, sum);
    let average = Op::AveragePool { kernel: [2, 3], strides: [2, 2], pads: [0, 1, 1, 0] };
    let x = net.push("average", average, &[sum]);
    let x = net.grouped_conv("grouped", x, 6, 3, 1, 2);
    let x = net.sigmoid("gate", x);
    let x = net.conv("last", x, 12, 3, 2);
    let x = net.relu("last_act", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("hidden", x, 7);
    let x = net.hard_swish("hidden_act", x);
    let x = net.push("head", Op::Gemm { out_features: 3, bias: false }, &[x]);
    net.finish(x).unwrap()
}

#[test]
fn rounding_changes_the_logits_little() {
    for seed in 0..4 {
        let graph = everything();
        let error = error(&graph, &random_weights_with(&graph, seed, Statistics::Random).unwrap());
        assert!(error < 0.1, "seed {seed}: {error}");
    }
    // Without an activation or a convolution at the end.
    let mut net = GraphBuilder::new(InputSpec::rgb(16));
    let x = net.conv("c", net.input(), 5, 3, 1);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.softmax("end", x);
    let graph = net.finish(x).unwrap();
    let weights = random_weights_with(&graph, 1, Statistics::Random).unwrap();
    let (bytes, images) = pictures(&graph, 4);
    let quantized = quantize(&graph, &weights, &images).unwrap();
    assert!(quantized.logits_from_codes().is_some());
    let truth = execute(&graph, &weights, &images).unwrap();
    for (rgb, truth) in bytes.iter().zip(truth.data.chunks(5)) {
        let found = logits(&quantized.run(&quantized.codes(rgb)).unwrap());
        let sum: f32 = found.iter().map(|x| x.exp()).sum();
        for (a, b) in truth.iter().zip(&found) {
            assert!((a - b.exp() / sum).abs() < 0.01, "{truth:?} {found:?}");
        }
    }
}

/// 3 inputs of a grey picture, weights that are whole multiples of the scale: worked by hand.
#[test]
fn a_sum_of_few_codes_is_the_one_worked_by_hand() {
    // An input whose codes are the levels less 128.
    let input = InputSpec { channels: 1, height: 1, width: 3, mean: vec![0.0], std: vec![1.0 / 255.0] };
    let mut net = GraphBuilder::new(input);
    let x = net.flatten("flat", net.input());
    let x = net.gemm("fc", x, 2);
    let graph = net.finish(x).unwrap();
    let weights = [
        ("fc.weight", Tensor::new(vec![2, 3], vec![127.0, -64.0, 1.0, 0.127, 0.064, -0.127]).unwrap()),
        ("fc.bias", Tensor::new(vec![2], vec![10.0, -1.0]).unwrap()),
    ];
    let weights = weights.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
    let images = Tensor::new(vec![2, 1, 1, 3], vec![0.0, 255.0, 100.0, 10.0, 20.0, 30.0]).unwrap();
    let quantized = quantize(&graph, &weights, &images).unwrap();
    assert!((quantized.input.scale - 1.0).abs() < 1e-6 && quantized.input.zero == -128, "{:?}", quantized.input);
    let found = logits(&quantized.run(&quantized.codes(&[3, 2, 1])).unwrap());
    assert!((found[0] - (127.0 * 3.0 - 64.0 * 2.0 + 1.0 + 10.0)).abs() < 1e-3, "{found:?}");
    assert!((found[1] - (0.127 * 3.0 + 0.064 * 2.0 - 0.127 - 1.0)).abs() < 1e-3, "{found:?}");
    let sum: f32 = quantized.answer(&[3, 2, 1]).unwrap().iter().sum();
    assert!((sum - 1.0).abs() < 1e-6);
    assert_eq!(quantized.weights_bytes(), 6 + 2 * 2 + 1);
}

/// Depthwise channels a hundred times apart, which the next layer makes alike again: with one scale for all of them the
/// small ones would be a code or two.
#[test]
fn channels_of_different_ranges_are_all_kept() {
    let mut net = GraphBuilder::new(InputSpec::rgb(12));
    let x = net.conv("stem", net.input(), 8, 3, 1);
    let x = net.relu("stem_act", x);
    let x = net.depthwise("dw", x, 3, 1);
    let x = net.relu("dw_act", x);
    let x = net.conv("pw", x, 8, 1, 1);
    let x = net.relu6("pw_act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("head", x, 3);
    let graph = net.finish(x).unwrap();
    let mut weights = random_weights_with(&graph, 3, Statistics::Random).unwrap();
    let plain = error(&graph, &weights);
    for channel in [1, 2, 5, 6] {
        for w in &mut weights.get_mut("dw.weight").unwrap().data[channel * 9..(channel + 1) * 9] {
            *w /= 100.0;
        }
        for row in weights.get_mut("pw.weight").unwrap().data.chunks_mut(8) {
            row[channel] *= 100.0;
        }
    }
    let apart = error(&graph, &weights);
    assert!(plain < 0.01 && apart < 0.01, "{plain} {apart}");
}

/// A residual branch that reaches far below what its shortcut can lift above zero: its codes end where the sum is cut off.
#[test]
fn a_residual_branch_has_few_codes_for_what_is_cut_off() {
    let mut net = GraphBuilder::new(InputSpec::rgb(12));
    let point =
        |outs| Op::Conv { out_channels: outs, kernel: [1, 1], strides: [1, 1], pads: [0; 4], group: 1, bias: true };
    let x = net.push("stem", point(8), &[net.input()]);
    let short = net.relu("stem_act", x);
    let branch = net.push("branch", point(8), &[short]);
    let x = net.add("sum", branch, short);
    let x = net.relu("sum_act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("head", x, 3);
    let graph = net.finish(x).unwrap();
    let mut weights = random_weights_with(&graph, 3, Statistics::Random).unwrap();
    for (o, row) in weights.get_mut("branch.weight").unwrap().data.chunks_mut(8).enumerate() {
        row.iter_mut().for_each(|w| *w = -10.0 * w.abs());
        row[o] += 0.5;
    }
    let images = crate::some_input(&graph, 12);
    let quantized = quantize(&graph, &weights, &images).unwrap();
    let layer = |name: &str| {
        let at = quantized.lowered.layers.iter().position(|layer| layer.name == name).unwrap();
        quantized.layers[at].output
    };
    let (branch, short) = (layer("branch"), layer("stem"));
    assert!(branch.decode(-128) >= -1.01 * short.decode(127), "{branch:?} {short:?}");
    let error = error(&graph, &weights);
    assert!(error < 0.01, "{error}");
}

/// Levels of a channel that are as far apart as codes are not rounded a second time.
#[test]
fn one_channel_of_an_input_normalised_unevenly_has_a_code_for_each_level() {
    let mut net = GraphBuilder::new(InputSpec::rgb(8));
    let x = net.conv("c", net.input(), 4, 3, 2);
    let x = net.relu("act", x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("head", x, 3);
    let graph = net.finish(x).unwrap();
    let weights = random_weights_with(&graph, 2, Statistics::Random).unwrap();
    let (bytes, images) = pictures(&graph, 16);
    let quantized = quantize(&graph, &weights, &images).unwrap();
    let codes = |table: &[i8; 256]| table.iter().collect::<std::collections::BTreeSet<_>>().len();
    let counts: Vec<usize> = quantized.input_tables().iter().map(codes).collect();
    assert!(counts.contains(&256) && counts.iter().all(|count| *count > 215), "{counts:?}");
    let truth = execute(&graph, &weights, &images).unwrap();
    for (rgb, truth) in bytes.iter().zip(truth.data.chunks(3)) {
        let found = logits(&quantized.run(&quantized.codes(rgb)).unwrap());
        for (a, b) in truth.iter().zip(&found) {
            assert!((a - b).abs() < 0.02, "{truth:?} {found:?}");
        }
    }
}

#[test]
fn the_same_network_and_images_give_the_same_codes() {
    let graph = everything();
    let weights = random_weights_with(&graph, 5, Statistics::Random).unwrap();
    let images = crate::some_input(&graph, 6);
    assert_eq!(quantize(&graph, &weights, &images).unwrap(), quantize(&graph, &weights, &images).unwrap());
}

/// One channel of next to no weight with a bias like the others': its scale is made coarser, theirs stay fine.
#[test]
fn biases_have_sixteen_bits_and_one_shift_a_layer() {
    let mut net = GraphBuilder::new(InputSpec { mean: vec![0.0; 3], std: vec![1.0; 3], ..InputSpec::rgb(8) });
    let conv = Op::Conv { out_channels: 3, kernel: [1, 1], strides: [1, 1], pads: [0; 4], group: 1, bias: true };
    let x = net.push("c", conv, &[net.input()]);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("fc", x, 3);
    let graph = net.finish(x).unwrap();
    let mut weights = random_weights_with(&graph, 1, Statistics::Random).unwrap();
    let bias = [3.0f32, -2.0, 0.04];
    weights.insert(
        "c.weight".into(),
        Tensor::new(vec![3, 3, 1, 1], vec![0.5, -0.3, 0.1, 1e-9, -1e-9, 0.0, 0.2, 0.7, 0.3]).unwrap(),
    );
    weights.insert("c.bias".into(), Tensor::new(vec![3], bias.to_vec()).unwrap());
    let mut images = crate::some_input(&graph, 4);
    images.data.iter_mut().for_each(|x| *x = *x / 4.0 + 0.5);
    let quantized = quantize(&graph, &weights, &images).unwrap();
    for layer in &quantized.layers {
        let QuantizedKind::Conv { bias: whole, bias_shift, .. } = &layer.kind else { continue };
        let (codes, shift) = layer.kind.bias_codes().unwrap();
        assert_eq!(shift, *bias_shift);
        let back: Vec<i32> = codes.iter().map(|code| i32::from(*code) << shift).collect();
        assert_eq!(back, *whole);
        // The least shift: with one less the greatest would not fit.
        let most = whole.iter().map(|bias| bias.abs()).max().unwrap();
        assert!(shift == 0 || most > i32::from(i16::MAX) << (shift - 1), "{codes:?} {shift}");
    }
    let QuantizedKind::Conv { bias: whole, scales, bias_shift, .. } = &quantized.layers[0].kind else { panic!() };
    assert!(*bias_shift <= 4, "{bias_shift}");
    // Its channels may have been scaled.
    let LayerKind::Conv(conv) = &quantized.lowered.layers[0].kind else { panic!() };
    assert_eq!(conv.bias[0], bias[0]);
    for ((whole, scale), bias) in whole.iter().zip(scales).zip(&conv.bias) {
        let found = *whole as f32 * scale * quantized.input.scale;
        assert!((found - bias).abs() < 5e-3, "{found} for {bias}");
    }
    assert!(quantized.layers[1].kind.bias_codes().is_none());
}

#[test]
fn what_is_lowered_has_the_folded_graph_s_arena_and_no_more_layers_than_it_needs() {
    let graph = everything();
    let weights = random_weights_with(&graph, 0, Statistics::Random).unwrap();
    let lowered = lower(&graph, &weights).unwrap();
    assert_eq!(lowered.arena as u64 * 4, memory_plan(&fold_graph(&graph).unwrap()).unwrap().arena_bytes);
    let names: Vec<&str> = lowered.layers.iter().map(|layer| layer.name.as_str()).collect();
    let expected = [
        "first_bn", "stem", "pool", "dw", "pw", "sum", "sum_act", "again", "average", "grouped", "last", "hidden",
        "head",
    ];
    assert_eq!(names, expected);
    for layer in &lowered.layers {
        assert!(layer.offset + layer.len() <= lowered.arena, "{}", layer.name);
    }
    let hidden = lowered.layers.iter().find(|layer| layer.name == "hidden").unwrap();
    let LayerKind::Conv(conv) = &hidden.kind else { panic!("{hidden:?}") };
    assert_eq!(conv.window.kernel, [hidden.from[1], hidden.from[2]]);
}

#[test]
fn what_is_read_twice_keeps_its_value_before_the_activation() {
    let mut net = GraphBuilder::new(InputSpec::rgb(4));
    let x = net.conv("c", Source::Input, 2, 3, 2);
    let flat = net.flatten("flat", x);
    let active = net.relu("act", flat);
    let raw = net.flatten("other", x);
    let sum = net.add("sum", active, raw);
    let x = net.gemm("fc", sum, 2);
    let graph = net.finish(x).unwrap();
    let weights = random_weights_with(&graph, 2, Statistics::Random).unwrap();
    let lowered = lower(&graph, &weights).unwrap();
    let names: Vec<&str> = lowered.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["c", "act", "sum", "fc"]);
    assert!(error(&graph, &weights) < 0.1);
}

#[test]
fn what_cannot_be_lowered_or_calibrated_is_refused() {
    let mut net = GraphBuilder::new(InputSpec::rgb(4));
    let x = net.conv("c", Source::Input, 2, 3, 1);
    let x = net.relu("r", x);
    let graph = net.finish(x).unwrap();
    let weights = random_weights_with(&graph, 0, Statistics::Random).unwrap();
    let error = lower(&graph, &weights).unwrap_err().to_string();
    assert!(error.contains("not a list of logits"), "{error}");

    let graph = everything();
    let weights = random_weights_with(&graph, 0, Statistics::Random).unwrap();
    let none = Tensor { shape: vec![0, 3, 24, 24], data: Vec::new() };
    assert!(matches!(quantize(&graph, &weights, &none), Err(GraphError::Tensor(_))));
    let quantized = quantize(&graph, &weights, &crate::some_input(&graph, 1)).unwrap();
    assert!(matches!(quantized.run(&[0; 5]), Err(GraphError::Tensor(_))));
}
