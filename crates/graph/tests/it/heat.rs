//! Heat maps against maps worked out by hand.

use kindling_graph::{Graph, GraphBuilder, InputSpec, Op, Tensor, Weights, execute, heat, random_weights};

/// The input is the map; its channels' means are weighed by hand.
#[test]
fn a_linear_head_weighs_the_channels_by_its_weights() {
    let mut net = GraphBuilder::new(InputSpec { height: 2, width: 2, ..InputSpec::rgb(2) });
    let x = net.global_average_pool("pool", net.input());
    let x = net.flatten("flat", x);
    let x = net.gemm("fc", x, 2);
    let x = net.softmax("answer", x);
    let graph = net.finish(x).unwrap();
    let weights: Weights = [
        ("fc.weight".to_owned(), Tensor::new(vec![2, 3], vec![1.0, 2.0, 0.0, -1.0, 0.0, 0.5]).unwrap()),
        ("fc.bias".to_owned(), Tensor::new(vec![2], vec![0.3, -0.7]).unwrap()),
    ]
    .into();
    let planes = [1.0, 0.0, 0.0, 2.0, 0.0, 1.0, 0.0, -4.0, 4.0, 4.0, 1.0, 0.0];
    let image = Tensor::new(vec![1, 3, 2, 2], planes.to_vec()).unwrap();
    // Class 0: first + 2 * second = 1, 2, 0, -6. Class 1: third / 2 - first = 1, 2, 0.5, -2.
    for (class, expected) in [(0, [0.5, 1.0, 0.0, 0.0]), (1, [0.5, 1.0, 0.25, 0.0])] {
        let found = heat(&graph, &weights, &image, class).unwrap();
        assert_eq!((found.height, found.width), (2, 2));
        for (a, b) in found.values.iter().zip(expected) {
            assert!((a - b).abs() < 1e-3, "class {class}: {found:?}");
        }
    }
    assert!(heat(&graph, &weights, &image, 2).unwrap_err().to_string().contains("class 2"));
    let nothing = Tensor::new(vec![1, 3, 2, 2], vec![0.0; 12]).unwrap();
    assert_eq!(heat(&graph, &weights, &nothing, 0).unwrap().values, [0.0; 4]);
}

fn network() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(16));
    let x = net.conv("a", net.input(), 6, 3, 2);
    let x = net.batch_norm("a_bn", x);
    let x = net.relu("a_act", x);
    let conv = Op::Conv { out_channels: 8, kernel: [3, 3], strides: [2, 2], pads: [1; 4], group: 1, bias: true };
    let x = net.push("b", conv, &[x]);
    let x = net.relu("b_act", x);
    let x = net.global_average_pool("pool", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("hidden", x, 5);
    let x = net.hard_swish("hidden_act", x);
    let x = net.gemm("fc", x, 3);
    net.finish(x).unwrap()
}

/// A place of the map that is hotter moves the logit more: the derivative along the map itself, by moving the bias of
/// the last convolution, is the sum that the heat is made of.
#[test]
fn a_hidden_layer_is_differentiated() {
    let graph = network();
    let weights = random_weights(&graph, 5).unwrap();
    let image = super::some_input(&graph, 1);
    // The same from finite differences of the whole network: the last map's channel k is moved by its convolution's bias.
    let mut map = None;
    let last = graph.nodes.iter().position(|node| node.name == "b_act").unwrap();
    let logits = |weights: &Weights| execute(&graph, weights, &image).unwrap().data;
    kindling_graph::execute_with(&graph, &weights, &image, &mut |id, value| {
        if id == last {
            map = Some(value.clone());
        }
    })
    .unwrap();
    let map = map.unwrap();
    let mut hot = 0;
    for class in 0..3 {
        let mut sum = vec![0.0f32; 16];
        for (k, plane) in map.data.chunks_exact(16).enumerate() {
            // Only places that the ReLU lets through move the mean.
            let live = plane.iter().filter(|x| **x > 0.0).count() as f32;
            if live == 0.0 {
                continue;
            }
            let moved = |step: f32| {
                let mut weights = weights.clone();
                weights.get_mut("b.bias").unwrap().data[k] += step;
                logits(&weights)[class]
            };
            let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3 / live * 16.0;
            sum.iter_mut().zip(plane).for_each(|(sum, x)| *sum += slope * x);
        }
        let found = heat(&graph, &weights, &image, class).unwrap();
        assert_eq!((found.height, found.width), (4, 4));
        let most = sum.iter().copied().fold(0.0f32, f32::max);
        hot += usize::from(most > 0.0);
        for (a, b) in found.values.iter().zip(&sum) {
            let expected = if most > 0.0 { b.max(0.0) / most } else { 0.0 };
            assert!((a - expected).abs() < 0.05, "{class}: {found:?}, not {sum:?}");
        }
    }
    assert!(hot > 0, "nothing speaks for any class");
}

#[test]
fn a_network_without_a_pool_is_refused() {
    let mut net = GraphBuilder::new(InputSpec::rgb(4));
    let x = net.flatten("flat", net.input());
    let x = net.gemm("fc", x, 2);
    let graph = net.finish(x).unwrap();
    let weights = random_weights(&graph, 1).unwrap();
    let error = heat(&graph, &weights, &super::some_input(&graph, 1), 0).unwrap_err();
    assert!(error.to_string().contains("GlobalAveragePool"), "{error}");
}

#[test]
fn a_network_that_looks_for_the_strangest_place_is_asked_of_each() {
    let mut net = GraphBuilder::new(InputSpec::rgb(2));
    let x = net.pointwise_with_bias("map", net.input(), 1);
    let x = net.push("strangest", Op::MaxPool { kernel: [2, 2], strides: [2, 2], pads: [0; 4] }, &[x]);
    let x = net.flatten("flat", x);
    let x = net.gemm("logits", x, 2);
    let graph = net.finish(x).unwrap();
    let weights: Weights = [
        ("map.weight", Tensor::new(vec![1, 3, 1, 1], vec![1.0, 0.0, 0.0]).unwrap()),
        ("map.bias", Tensor::new(vec![1], vec![0.5]).unwrap()),
        ("logits.weight", Tensor::new(vec![2, 1], vec![-1.0, 1.0]).unwrap()),
        ("logits.bias", Tensor::new(vec![2], vec![1.5, -1.5]).unwrap()),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into();
    let planes = [[1.0, 0.0, 2.0, -3.0], [0.0; 4], [9.0; 4]].concat();
    let image = Tensor::new(vec![1, 3, 2, 2], planes).unwrap();
    // The logits differ by 2 (x + 0.5) - 3.
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let found = heat(&graph, &weights, &image, 1).unwrap();
    assert_eq!((found.height, found.width), (2, 2));
    for (value, x) in found.values.iter().zip([1.0f32, 0.0, 2.0, -3.0]) {
        assert!((value - sigmoid(2.0 * (x + 0.5) - 3.0)).abs() < 1e-6, "{found:?}");
    }
    let good = heat(&graph, &weights, &image, 0).unwrap();
    assert!(good.values.iter().zip(&found.values).all(|(a, b)| (a + b - 1.0).abs() < 1e-6));
}
