//! Networks side by side.

use kindling_graph::{
    Graph, GraphBuilder, InputSpec, Op, Tensor, Weights, execute, join_graph, join_weights, part_weights,
    random_weights,
};

fn network() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(8));
    let x = net.conv("a", net.input(), 6, 3, 2);
    let x = net.batch_norm("a_bn", x);
    let x = net.relu("a_act", x);
    let y = net.depthwise("b", x, 3, 1);
    let y = net.grouped_conv("c", y, 6, 1, 1, 3);
    let x = net.add("sum", x, y);
    let x = net.flatten("flat", x);
    let x = net.gemm("hidden", x, 5);
    let x = net.batch_norm("hidden_bn", x);
    let x = net.hard_swish("hidden_act", x);
    let x = net.gemm("logits", x, 3);
    net.finish(x).unwrap()
}

#[test]
fn each_answers_as_if_alone() {
    let graph = network();
    let parts: Vec<Weights> = (0..3).map(|seed| random_weights(&graph, seed).unwrap()).collect();
    let image = |part: usize, n: usize| -> Vec<f32> {
        (0..3 * 8 * 8).map(|i| ((i * 37 + part * 101 + n * 53) % 97) as f32 / 48.5 - 1.0).collect()
    };
    let joined = join_graph(&graph, 3).unwrap();
    let weights = join_weights(&graph, &parts).unwrap();
    let images = (0..2).flat_map(|n| (0..3).flat_map(move |part| image(part, n))).collect();
    let together = execute(&joined, &weights, &Tensor::new(vec![2, 9, 8, 8], images).unwrap()).unwrap();
    assert_eq!(together.shape, [2, 9]);
    for (part, own) in parts.iter().enumerate() {
        let images = (0..2).flat_map(|n| image(part, n)).collect();
        let alone = execute(&graph, own, &Tensor::new(vec![2, 3, 8, 8], images).unwrap()).unwrap();
        for n in 0..2 {
            for class in 0..3 {
                let (a, b) = (alone.data[n * 3 + class], together.data[n * 9 + part * 3 + class]);
                assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{part} {n} {class}: {a} {b}");
            }
        }
        assert_eq!(part_weights(&graph, &weights, 3, part).unwrap(), *own);
    }
    assert!(part_weights(&graph, &weights, 3, 3).is_err());
    assert_eq!(joined.cost().unwrap().macs, 3 * graph.cost().unwrap().macs);
}

#[test]
fn what_mixes_features_is_refused() {
    let mut net = GraphBuilder::new(InputSpec::rgb(4));
    let x = net.flatten("flat", net.input());
    let x = net.gemm("fc", x, 3);
    let x = net.push("softmax", Op::Softmax, &[x]);
    let error = join_graph(&net.finish(x).unwrap(), 2).unwrap_err();
    assert!(error.to_string().contains("softmax"), "{error}");
}
