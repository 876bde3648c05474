//! Random graphs: what must hold for every one of them.

use kindling_graph::{
    Graph, GraphBuilder, InputSpec, Op, Source, Statistics, Tensor, Weights, execute, execute_with, fold_batch_norm,
    fold_graph, memory_plan, random_weights_with,
};
use proptest::{prelude::*, test_runner::RngSeed};

/// One layer's dice: kind, channels, kernel, stride, padding, and from how far back it reads.
type Dice = (u8, usize, usize, usize, usize, usize);

/// A valid graph from any dice: a layer that does not fit is left out, and a last Add chain ties loose
/// ends to the output where shapes allow, else they are cut.
fn grow(side: usize, channels: usize, dice: &[Dice]) -> Graph {
    let input =
        InputSpec { channels, height: side, width: side + 1, mean: vec![0.1; channels], std: vec![0.3; channels] };
    let mut net = GraphBuilder::new(input);
    let mut values = vec![Source::Input];
    for (i, (kind, out, kernel, stride, pad, back)) in dice.iter().copied().enumerate() {
        let x = values[values.len() - 1 - back % values.len().min(3)];
        let c = net.channels(x);
        let (kernel, strides, pads) = ([kernel, kernel.max(2) - 1], [stride, 1], [pad, kernel / 2, pad / 2, 1]);
        let conv = |out_channels, group, bias| Op::Conv { out_channels, kernel, strides, pads, group, bias };
        let (op, inputs) = match kind % 12 {
            0 => (conv(out, 1, false), vec![x]),
            1 => (conv(c, c, true), vec![x]),
            2 => (conv(out * 2, if c.is_multiple_of(2) { 2 } else { 1 }, false), vec![x]),
            3 | 4 => (Op::BatchNormalization { epsilon: 1e-3 }, vec![x]),
            5 => (Op::Relu, vec![x]),
            6 => (Op::Clip { min: -0.5, max: 3.0 }, vec![x]),
            7 => (Op::HardSwish, vec![x]),
            8 => (Op::MaxPool { kernel, strides, pads: [0; 4] }, vec![x]),
            9 => (Op::AveragePool { kernel, strides, pads: [kernel[0] / 2, 0, 0, kernel[1] / 2] }, vec![x]),
            10 => (Op::Dropout { ratio: 0.25 }, vec![x]),
            _ => match values.iter().rev().find(|v| **v != x && net.shape(**v) == net.shape(x)) {
                Some(other) => (Op::Add, vec![x, *other]),
                None => (Op::Sigmoid, vec![x]),
            },
        };
        let mut trial = net.clone();
        let y = trial.push(&format!("n{i}"), op, &inputs);
        if trial.shape(y).is_some() {
            net = trial;
            values.push(y);
        }
    }
    let x = values[values.len() - 1];
    let x = net.global_average_pool("pool", x);
    let x = net.flatten("flatten", x);
    let x = net.gemm("fc", x, 3);
    let x = net.batch_norm("fc.bn", x);
    let x = net.softmax("softmax", x);
    let Source::Node(output) = x else { unreachable!() };
    prune(net, output)
}

/// Cuts what the output does not read, since a valid graph has no such node.
fn prune(net: GraphBuilder, output: usize) -> Graph {
    let nodes = net.nodes().to_vec();
    let mut needed = vec![false; nodes.len()];
    needed[output] = true;
    for i in (0..nodes.len()).rev().filter(|i| *i <= output).collect::<Vec<_>>() {
        if needed[i] {
            for source in &nodes[i].inputs {
                if let Source::Node(id) = source {
                    needed[*id] = true;
                }
            }
        }
    }
    let mut map = vec![Source::Input; nodes.len()];
    let mut pruned = GraphBuilder::new(net.input_spec().clone());
    for (i, node) in nodes.iter().enumerate().filter(|(i, _)| needed[*i]) {
        let inputs: Vec<Source> =
            node.inputs.iter().map(|s| if let Source::Node(id) = s { map[*id] } else { Source::Input }).collect();
        map[i] = pruned.push(&node.name, node.op.clone(), &inputs);
    }
    pruned.finish(map[output]).unwrap()
}

fn graphs() -> impl Strategy<Value = Graph> {
    let dice = (0u8..12, 1usize..6, 1usize..4, 1usize..3, 0usize..2, 0usize..3);
    (4usize..9, 1usize..4, prop::collection::vec(dice, 0..14)).prop_map(|(side, c, dice)| grow(side, c, &dice))
}

fn weights_of(graph: &Graph, seed: u64) -> Weights {
    random_weights_with(graph, seed, Statistics::Random).unwrap()
}

/// Convolution as its definition reads, one output at a time in 64 bits.
fn conv_by_definition(
    x: &Tensor,
    w: &Tensor,
    strides: [usize; 2],
    pads: [usize; 4],
    group: usize,
    out: &Tensor,
) -> Vec<f64> {
    let at = |n: usize, c: usize, y: i64, z: i64| {
        let (h, wd) = (x.shape[2] as i64, x.shape[3] as i64);
        if y < 0 || z < 0 || y >= h || z >= wd {
            return 0.0;
        }
        f64::from(x.data[((n * x.shape[1] + c) * h as usize + y as usize) * wd as usize + z as usize])
    };
    let mut found = Vec::new();
    for n in 0..out.shape[0] {
        for o in 0..out.shape[1] {
            for oy in 0..out.shape[2] {
                for ox in 0..out.shape[3] {
                    let mut sum = 0.0;
                    for c in 0..w.shape[1] {
                        for ky in 0..w.shape[2] {
                            for kx in 0..w.shape[3] {
                                let iy = (oy * strides[0] + ky) as i64 - pads[0] as i64;
                                let ix = (ox * strides[1] + kx) as i64 - pads[1] as i64;
                                let from = o / (out.shape[1] / group) * w.shape[1] + c;
                                let weight = w.data[((o * w.shape[1] + c) * w.shape[2] + ky) * w.shape[3] + kx];
                                sum += at(n, from, iy, ix) * f64::from(weight);
                            }
                        }
                    }
                    found.push(sum);
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn executed_shapes_are_the_inferred_ones(graph in graphs(), seed in any::<u64>()) {
        let shapes = graph.shapes().unwrap();
        let mut seen = Vec::new();
        let out = execute_with(&graph, &weights_of(&graph, seed), &crate::some_input(&graph, 2), &mut |id, t| {
            assert_eq!(t.shape.iter().product::<usize>(), t.data.len());
            assert_eq!(id, seen.len());
            seen.push(t.shape[1..].to_vec());
        }).unwrap();
        prop_assert_eq!(seen, shapes);
        prop_assert_eq!(&out.shape[1..], &graph.output_shape().unwrap()[..]);
    }

    #[test]
    fn folding_changes_nothing(graph in graphs(), seed in any::<u64>()) {
        let weights = weights_of(&graph, seed);
        let (folded, folded_weights) = fold_batch_norm(&graph, &weights).unwrap();
        prop_assert!(folded.nodes.iter().all(|n| n.op.op_type() != "Dropout"));
        prop_assert_eq!(fold_graph(&folded).unwrap(), folded.clone());
        let input = crate::some_input(&graph, 2);
        let a = execute(&graph, &weights, &input).unwrap();
        let b = execute(&folded, &folded_weights, &input).unwrap();
        for (a, b) in a.data.iter().zip(&b.data) {
            prop_assert!((a - b).abs() <= 1e-5, "{} is not {}", a, b);
        }
        let cost = graph.cost().unwrap();
        let bytes: u64 = folded_weights.values().map(|t| 4 * t.data.len() as u64).sum();
        prop_assert_eq!(cost.weights_bytes, bytes);
        prop_assert_eq!(cost.macs, folded.cost().unwrap().macs);
    }

    #[test]
    fn live_tensors_never_overlap(graph in graphs()) {
        let plan = memory_plan(&graph).unwrap();
        let shapes = graph.shapes().unwrap();
        for (i, a) in plan.buffers.iter().enumerate() {
            prop_assert!(a.offset + a.bytes <= plan.arena_bytes && a.offset % 4 == 0);
            for b in &plan.buffers[i + 1..] {
                let apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
                let never_together = a.last < b.first || b.last < a.first;
                prop_assert!(apart || never_together, "{:?} and {:?}", a, b);
            }
        }
        // No less than what is alive at the worst moment.
        let alive = |t: usize| plan.buffers.iter().filter(|b| (b.first..=b.last).contains(&t)).map(|b| b.bytes).sum::<u64>();
        prop_assert!(plan.arena_bytes >= (0..=graph.nodes.len()).map(alive).max().unwrap());
        // Played through: whatever a node reads is still what was written there.
        let mut owner = vec![usize::MAX; plan.arena_bytes as usize / 4];
        let cells = |offset: u64, shape: &[usize]| offset as usize / 4..offset as usize / 4 + shape.iter().product::<usize>();
        owner[cells(plan.input_offset, &graph.input.shape())].fill(0);
        for (id, node) in graph.nodes.iter().enumerate() {
            for source in &node.inputs {
                let (mark, at) = match source {
                    Source::Input => (0, cells(plan.input_offset, &graph.input.shape())),
                    Source::Node(from) => (from + 1, cells(plan.offsets[*from], &shapes[*from])),
                };
                prop_assert!(owner[at].iter().all(|o| *o == mark), "node {} reads what is gone", id);
            }
            owner[cells(plan.offsets[id], &shapes[id])].fill(id + 1);
        }
        prop_assert!(owner[cells(plan.offsets[graph.output], &shapes[graph.output])].iter().all(|o| *o == graph.output + 1));
    }

    #[test]
    fn the_text_comes_back_the_same(graph in graphs()) {
        let text = graph.to_json().unwrap();
        let back = Graph::from_json(&text).unwrap();
        prop_assert_eq!(back.hash(), graph.hash());
        prop_assert_eq!(back, graph);
    }

    #[test]
    fn conv_is_what_its_definition_says(
        side in 1usize..8, per_group in 1usize..4, outs in 1usize..4, group in 1usize..4,
        kernel in (1usize..5, 1usize..5), strides in (1usize..4, 1usize..4), pads in prop::array::uniform4(0usize..4),
    ) {
        let channels = per_group * group;
        let input = InputSpec { channels, height: side, width: 8 - side, mean: vec![0.0; channels], std: vec![1.0; channels] };
        let mut net = GraphBuilder::new(input);
        let (kernel, strides) = ([kernel.0, kernel.1], [strides.0, strides.1]);
        let op = Op::Conv { out_channels: outs * group, kernel, strides, pads, group, bias: false };
        let x = net.push("x", op, &[Source::Input]);
        prop_assume!(net.shape(x).is_some());
        let graph = net.finish(x).unwrap();
        let (weights, input) = (weights_of(&graph, 1), crate::some_input(&graph, 2));
        let y = execute(&graph, &weights, &input).unwrap();
        let wanted = conv_by_definition(&input, &weights["x.weight"], strides, pads, group, &y);
        prop_assert_eq!(wanted.len(), y.data.len());
        for (a, b) in y.data.iter().zip(wanted) {
            prop_assert!((f64::from(*a) - b).abs() < 1e-4, "{} is not {}", a, b);
        }
    }
}
