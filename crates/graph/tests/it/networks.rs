//! Costs against figures computed by hand.

use kindling_graph::{Graph, GraphBuilder, InputSpec, Op, Source, fold_graph, memory_plan};

/// A convolution with bias and its normalisation, as Keras builds MLPerf Tiny's networks.
fn conv_bn(net: &mut GraphBuilder, name: &str, x: Source, out: usize, kernel: usize, stride: usize) -> Source {
    let op = Op::Conv {
        out_channels: out,
        kernel: [kernel; 2],
        strides: [stride; 2],
        pads: [kernel / 2; 4],
        group: 1,
        bias: true,
    };
    let x = net.push(&format!("{name}.conv"), op, &[x]);
    net.batch_norm(&format!("{name}.bn"), x)
}

/// MLPerf Tiny's image classification network: one block a stage, and a 1x1 convolution with bias but
/// without normalisation on the shortcut where the size changes.
fn resnet8() -> Graph {
    let mut net = GraphBuilder::new(InputSpec::rgb(32));
    let x = conv_bn(&mut net, "stem", Source::Input, 16, 3, 1);
    let mut x = net.relu("stem.relu", x);
    for (i, (width, stride)) in [(16, 1), (32, 2), (64, 2)].into_iter().enumerate() {
        let y = conv_bn(&mut net, &format!("s{i}.a"), x, width, 3, stride);
        let y = net.relu(&format!("s{i}.a.relu"), y);
        let y = conv_bn(&mut net, &format!("s{i}.b"), y, width, 3, 1);
        if stride != 1 {
            let op = Op::Conv {
                out_channels: width,
                kernel: [1, 1],
                strides: [stride; 2],
                pads: [0; 4],
                group: 1,
                bias: true,
            };
            x = net.push(&format!("s{i}.short"), op, &[x]);
        }
        let sum = net.add(&format!("s{i}.add"), x, y);
        x = net.relu(&format!("s{i}.relu"), sum);
    }
    let x = net.average_pool("pool", x, 8, 8);
    let x = net.flatten("flatten", x);
    let x = net.gemm("fc", x, 10);
    net.finish(x).unwrap()
}

#[test]
fn resnet8_costs_what_mlperf_tiny_says() {
    let graph = resnet8();
    let cost = graph.cost().unwrap();
    // Keras's count, as published: convolutions with biases, four vectors a normalisation.
    assert_eq!(cost.parameters_with_statistics, 78_666);
    // Without running statistics: 2 * (16 * 3 + 32 * 2 + 64 * 2) = 480 fewer.
    assert_eq!(cost.parameters, 78_186);
    // Folded, the other two vectors of each normalisation go as well.
    assert_eq!(cost.weights_bytes, (78_666 - 2 * 480) * 4);
    assert_eq!(cost.macs, 12_501_632);
    // Worst is the first block's sum and its kin: stem's output, the block's inner and outer activations
    // of 32 * 32 * 16 reals each, of which three are alive while the second convolution runs.
    assert_eq!(cost.peak_ram_bytes, 3 * 32 * 32 * 16 * 4);
    let shape = |name: &str| cost.per_node.iter().find(|n| n.name == name).unwrap().shape.clone();
    assert_eq!(shape("s1.add"), [32, 16, 16]);
    assert_eq!(shape("s2.short"), [64, 8, 8]);
    assert_eq!(shape("pool"), [64, 1, 1]);
    assert_eq!(cost.per_node.iter().map(|n| n.macs).sum::<u64>(), cost.macs);
    assert_eq!(cost.per_node.iter().map(|n| n.parameters).sum::<u64>(), cost.parameters);
}

#[test]
fn a_depthwise_pair_costs_what_the_hand_says() {
    // 8x8x4 -> depthwise 3x3 stride 2 -> 4x4x4 -> pointwise to 6 -> mean -> 2 classes.
    let input = InputSpec { channels: 4, height: 8, width: 8, mean: vec![0.0; 4], std: vec![1.0; 4] };
    let mut net = GraphBuilder::new(input);
    let x = net.depthwise("dw", Source::Input, 3, 2);
    let x = net.batch_norm("dw.bn", x);
    let x = net.relu6("dw.act", x);
    let x = net.conv("pw", x, 6, 1, 1);
    let x = net.global_average_pool("pool", x);
    let x = net.flatten("flatten", x);
    let x = net.gemm("fc", x, 2);
    let cost = net.finish(x).unwrap().cost().unwrap();
    assert_eq!(cost.macs, 4 * 4 * 4 * 9 + 4 * 4 * 6 * 4 + 12);
    assert_eq!(cost.parameters, 36 + 8 + 24 + 14);
    // dw gets a bias of 4; pw has no normalisation and so stays without.
    assert_eq!(cost.weights_bytes, (36 + 4 + 24 + 14) * 4);
    // The input (256 reals) and the first output (64) are alive together.
    assert_eq!(cost.peak_ram_bytes, (256 + 64) * 4);
}

#[test]
fn a_skip_keeps_its_memory_until_it_is_added() {
    let input = InputSpec { channels: 1, height: 4, width: 4, mean: vec![0.0], std: vec![1.0] };
    let mut net = GraphBuilder::new(input);
    let a = net.conv("a", Source::Input, 2, 3, 1);
    let b = net.conv("b", a, 2, 3, 1);
    let c = net.conv("c", b, 2, 3, 1);
    let sum = net.add("sum", a, c);
    let graph = net.finish(sum).unwrap();
    let plan = memory_plan(&graph).unwrap();
    // a, b and c of 32 reals each while c runs.
    assert_eq!(plan.arena_bytes, 3 * 32 * 4);
    assert_eq!(plan.buffers.len(), 5);
}

#[test]
fn an_activation_works_in_place_unless_its_input_is_read_again() {
    let input = InputSpec { channels: 1, height: 4, width: 4, mean: vec![0.0], std: vec![1.0] };
    let mut net = GraphBuilder::new(input.clone());
    let a = net.conv("a", Source::Input, 1, 3, 1);
    let b = net.relu("b", a);
    let plan = memory_plan(&net.finish(b).unwrap()).unwrap();
    assert_eq!(plan.node_buffers, [1, 1]);
    let mut net = GraphBuilder::new(input);
    let a = net.conv("a", Source::Input, 1, 3, 1);
    let b = net.relu("b", a);
    let c = net.add("c", a, b);
    let plan = memory_plan(&net.finish(c).unwrap()).unwrap();
    assert_eq!(plan.node_buffers, [1, 2, 3]);
}

#[test]
fn the_builder_passes_shapes_and_tells_the_first_fault() {
    let mut net = GraphBuilder::new(InputSpec::rgb(4));
    let x = net.conv("a", Source::Input, 8, 3, 2);
    assert_eq!(net.shape(x), Some(vec![8, 2, 2]));
    let x = net.max_pool("b", x, 3, 2);
    assert_eq!(net.shape(x), None);
    let x = net.global_average_pool("c", x);
    let message = net.finish(x).unwrap_err().to_string();
    assert!(message.starts_with("node 1 `b`: the kernel [3, 3] does not fit into [2, 2]"), "{message}");
    assert!(GraphBuilder::new(InputSpec::rgb(4)).finish(Source::Input).is_err());
}

#[test]
fn the_text_keeps_every_bit_and_its_hash() {
    let graph = resnet8();
    let text = graph.to_json().unwrap();
    let back = Graph::from_json(&text).unwrap();
    assert_eq!(back, graph);
    assert_eq!(back.to_json().unwrap(), text);
    assert_eq!(back.hash(), graph.hash());
    let via_value: Graph = serde_json::from_value(serde_json::to_value(&graph).unwrap()).unwrap();
    assert_eq!(via_value.hash(), graph.hash());
    let mut other = graph.clone();
    other.nodes[0].name = "first".into();
    assert_ne!(other.hash(), graph.hash());
    assert_ne!(fold_graph(&graph).unwrap().hash(), graph.hash());
}
