//! Folding, case by case.

use kindling_graph::{
    Graph, GraphBuilder, GraphError, InputSpec, Op, Source, Statistics, execute, fold_batch_norm, fold_graph,
    random_weights, random_weights_with, scale_logits,
};

fn ops(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|node| node.op.op_type()).collect()
}

fn same(graph: &Graph) -> Graph {
    let weights = random_weights_with(graph, 5, Statistics::Random).unwrap();
    let input = crate::some_input(graph, 2);
    let (folded, folded_weights) = fold_batch_norm(graph, &weights).unwrap();
    assert_eq!(folded, fold_graph(graph).unwrap());
    let before = execute(graph, &weights, &input).unwrap();
    let after = execute(&folded, &folded_weights, &input).unwrap();
    assert_eq!(before.shape, after.shape);
    for (a, b) in before.data.iter().zip(&after.data) {
        assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} is not {b}");
    }
    folded
}

#[test]
fn conv_and_gemm_take_their_norms_and_dropout_goes() {
    let mut net = GraphBuilder::new(InputSpec::rgb(6));
    let x = net.conv("a", Source::Input, 4, 3, 2);
    let x = net.dropout("drop1", x, 0.1);
    let x = net.batch_norm("a.bn", x);
    let x = net.batch_norm("a.bn2", x);
    let x = net.hard_swish("a.act", x);
    let x = net.flatten("flat", x);
    let x = net.gemm("fc", x, 5);
    let x = net.batch_norm("fc.bn", x);
    let x = net.dropout("drop2", x, 0.5);
    let folded = same(&net.finish(x).unwrap());
    assert_eq!(ops(&folded), ["Conv", "HardSwish", "Flatten", "Gemm"]);
    assert_eq!(folded.output, 3);
    assert!(matches!(folded.nodes[0].op, Op::Conv { bias: true, .. }));
}

#[test]
fn a_norm_stays_where_it_cannot_go() {
    // On the input, after a pool, and after a convolution that something else reads as well.
    let mut net = GraphBuilder::new(InputSpec::rgb(6));
    let x = net.batch_norm("in.bn", Source::Input);
    let a = net.conv("a", x, 4, 3, 1);
    let b = net.batch_norm("b", a);
    let x = net.add("sum", a, b);
    let x = net.average_pool("pool", x, 2, 2);
    let x = net.batch_norm("c", x);
    let graph = net.finish(x).unwrap();
    let folded = same(&graph);
    assert_eq!(folded, graph);
}

#[test]
fn a_norm_stays_where_the_convolution_is_the_result() {
    // The graph's result is the sum of a convolution's own output and its normalised one, through Dropout.
    let mut net = GraphBuilder::new(InputSpec::rgb(4));
    let a = net.conv("a", Source::Input, 2, 1, 1);
    let d = net.dropout("d", a, 0.2);
    let b = net.batch_norm("b", d);
    let x = net.add("sum", d, b);
    assert_eq!(ops(&same(&net.finish(x).unwrap())), ["Conv", "BatchNormalization", "Add"]);
}

#[test]
fn nothing_but_dropout_is_kept() {
    let mut net = GraphBuilder::new(InputSpec::rgb(4));
    let x = net.dropout("d", Source::Input, 0.2);
    let x = net.dropout("e", x, 0.2);
    assert_eq!(ops(&same(&net.finish(x).unwrap())), ["Dropout"]);
}

#[test]
fn a_negative_variance_is_told() {
    let mut net = GraphBuilder::new(InputSpec::rgb(4));
    let x = net.conv("a", Source::Input, 2, 1, 1);
    let x = net.batch_norm("b", x);
    let graph = net.finish(x).unwrap();
    for bad in [-1.0, f32::NAN] {
        let mut weights = random_weights(&graph, 1).unwrap();
        weights.get_mut("b.var").unwrap().data[1] = bad;
        let error = fold_batch_norm(&graph, &weights).unwrap_err();
        assert!(matches!(&error, GraphError::Weight { name, .. } if name == "b.var"), "{error}");
    }
    let weights = random_weights(&graph, 1).unwrap();
    let folded = fold_graph(&graph).unwrap();
    assert!(fold_batch_norm(&folded, &weights).is_err(), "weights of another graph");
}

#[test]
fn random_weights_are_seeded_and_spread_as_he_says() {
    let mut net = GraphBuilder::new(InputSpec::rgb(8));
    let x = net.conv("a", Source::Input, 256, 5, 1);
    let x = net.batch_norm("b", x);
    let graph = net.finish(x).unwrap();
    let weights = random_weights(&graph, 1).unwrap();
    assert_eq!(weights, random_weights(&graph, 1).unwrap());
    assert_ne!(weights, random_weights(&graph, 2).unwrap());
    let values = &weights["a.weight"].data;
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let var = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
    assert!(mean.abs() < 0.005 && (var * 75.0 / 2.0 - 1.0).abs() < 0.05, "mean {mean}, variance {var}");
    assert!(weights["b.var"].data.iter().all(|v| *v == 1.0) && weights["b.mean"].data.iter().all(|v| *v == 0.0));
}

#[test]
fn logits_are_scaled_where_a_layer_makes_them() {
    let mut net = GraphBuilder::new(InputSpec::rgb(6));
    let x = net.conv("a", Source::Input, 4, 3, 2);
    let x = net.flatten("flat", x);
    let x = net.gemm("fc", x, 3);
    let graph = net.finish(x).unwrap();
    let weights = random_weights(&graph, 1).unwrap();
    let scaled = scale_logits(&graph, &weights, 0.5).unwrap().unwrap();
    let input = crate::some_input(&graph, 2);
    let (before, after) = (execute(&graph, &weights, &input).unwrap(), execute(&graph, &scaled, &input).unwrap());
    assert!(before.data.iter().zip(&after.data).all(|(a, b)| (a * 0.5 - b).abs() < 1e-6));
    // A sum of two layers has no one layer to scale.
    let mut net = GraphBuilder::new(InputSpec::rgb(1));
    let flat = net.flatten("flat", Source::Input);
    let (a, b) = (net.gemm("a", flat, 2), net.gemm("b", flat, 2));
    let x = net.add("sum", a, b);
    let graph = net.finish(x).unwrap();
    assert!(scale_logits(&graph, &random_weights(&graph, 1).unwrap(), 2.0).unwrap().is_none());
}
