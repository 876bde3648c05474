//! Text from anywhere is refused with a reason, never a panic.

use kindling_graph::{Graph, GraphBuilder, GraphError, InputSpec, Source, execute, memory_plan, random_weights};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::{Value, json};

fn small() -> Value {
    let mut net = GraphBuilder::new(InputSpec::rgb(8));
    let x = net.conv("conv", Source::Input, 4, 3, 1);
    let x = net.batch_norm("bn", x);
    let x = net.relu6("act", x);
    let x = net.max_pool("pool", x, 2, 2);
    let x = net.dropout("drop", x, 0.25);
    let x = net.add("add", x, x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flatten", x);
    let x = net.gemm("fc", x, 3);
    serde_json::to_value(net.finish(x).unwrap()).unwrap()
}

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut value = small();
    change(&mut value);
    Graph::from_json(&value.to_string()).expect_err("a wrong graph was accepted").to_string()
}

#[test]
fn what_is_wrong_is_named() {
    assert!(Graph::from_json(&small().to_string()).is_ok());
    let set = |pointer: &str, new: Value| {
        refusal(|value| *value.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = new)
    };
    let cases: Vec<(String, &str)> = vec![
        (set("/version", json!(2)), "is of version 2, this program reads version 1"),
        (set("/version", json!("1")), "invalid type"),
        (
            refusal(|v| {
                v.as_object_mut().unwrap().remove("version");
            }),
            "missing field `version`",
        ),
        (refusal(|v| v["extra"] = json!(1)), "unknown field `extra`"),
        (refusal(|v| v["input"]["extra"] = json!(1)), "unknown field `extra`"),
        (refusal(|v| v["nodes"][0]["extra"] = json!(1)), "unknown field `extra`"),
        (refusal(|v| v["nodes"][0]["op"]["dilations"] = json!([2, 2])), "unknown field `dilations`"),
        (refusal(|v| v["nodes"][6]["op"]["extra"] = json!(1)), "`GlobalAveragePool` has no attributes"),
        (set("/nodes/6/op/op_type", json!("Loop")), "unknown variant `Loop`"),
        (set("/input/channels", json!(0)), "0 channels"),
        (set("/input/height", json!(1 << 20)), "each side may be 1 to 16384"),
        (set("/input/mean", json!([0.5])), "one number a channel"),
        (set("/input/std", json!([0.5, 0.0, 1.0])), "above 0"),
        (set("/input/mean", json!([0.5, null, 1.0])), "invalid type: null"),
        (set("/output", json!(9)), "the output is node 9, but there are 9 nodes"),
        (set("/output", json!(3)), "node 8 `fc`: the output does not depend on it"),
        (set("/nodes", json!([])), "there are 0 nodes"),
        (set("/nodes/0/inputs", json!([0])), "node 0 `conv`: reads node 0, which does not run before it"),
        (set("/nodes/0/inputs", json!([-1])), "a source is"),
        (set("/nodes/0/inputs", json!(["output"])), "a source is"),
        (set("/nodes/0/inputs", json!([])), "Conv reads 1 tensor(s), not 0"),
        (set("/nodes/5/inputs", json!([3, "input"])), "must be the same"),
        (set("/nodes/1/name", json!("conv")), "another node has this name"),
        (set("/nodes/1/name", json!("Conv 1")), "a name has 1 to 100 characters"),
        (set("/nodes/1/name", json!("")), "a name has 1 to 100 characters"),
        (set("/nodes/0/op/kernel", json!([0, 3])), "may be 1 to 255"),
        (set("/nodes/0/op/strides", json!([0, 1])), "may be 1 to 255"),
        (set("/nodes/0/op/pads", json!([0, 0, 0, u64::MAX])), "may be 1 to 255"),
        (set("/nodes/0/op/kernel", json!([11, 11])), "does not fit"),
        (set("/nodes/0/op/group", json!(0)), "group 0 does not divide"),
        (set("/nodes/0/op/group", json!(2)), "group 2 does not divide"),
        (set("/nodes/0/op/out_channels", json!(u64::MAX)), "out_channels is"),
        (set("/nodes/0/op/bias", json!(1)), "invalid type"),
        (set("/nodes/1/op/epsilon", json!(-1)), "epsilon is -1"),
        (set("/nodes/1/op/epsilon", json!(1e300)), "epsilon is inf"),
        (set("/nodes/2/op/min", json!(7)), "clips to 7..6"),
        (set("/nodes/3/op/pads", json!([2, 0, 0, 0])), "must be smaller than its kernel"),
        (set("/nodes/4/op/ratio", json!(1.0)), "from 0 to below 1"),
        (set("/nodes/8/inputs", json!([5])), "put a Flatten before it"),
        (set("/nodes/8/op/out_features", json!(0)), "out_features is 0"),
    ];
    for (message, wanted) in cases {
        assert!(message.contains(wanted), "{message:?} does not say {wanted:?}");
    }
    assert_eq!(Graph::from_json("{\"version\":7,\"new\":[]}").unwrap_err(), GraphError::Version(7));
    for text in ["", "null", "[]", "{", "\u{0}", "{\"version\":1}"] {
        assert!(matches!(Graph::from_json(text), Err(GraphError::Json(_))), "{text:?}");
    }
}

#[test]
fn sizes_are_limited_before_they_are_multiplied() {
    let wide = |channels: usize, side: usize| {
        let mut net = GraphBuilder::new(InputSpec::rgb(side));
        let x = net.conv("a", Source::Input, channels, 3, 1);
        let x = net.conv("b", x, channels, 255, 1);
        net.finish(x).unwrap_err().to_string()
    };
    assert!(wide(1 << 16, 1).contains("parameters (at `b.weight`)"), "{}", wide(1 << 16, 1));
    assert!(wide(1 << 16, 1 << 12).contains("makes 1099511627776 numbers"), "{}", wide(1 << 16, 1 << 12));
    let mut net = GraphBuilder::new(InputSpec::rgb(1));
    let mut x = Source::Input;
    for i in 0..5000 {
        x = net.relu(&format!("n{i}"), x);
    }
    assert!(net.finish(x).unwrap_err().to_string().contains("has 5000 nodes"));
    // Valid, but not to be run with so many at once.
    let mut net = GraphBuilder::new(InputSpec::rgb(1024));
    let x = net.conv("a", Source::Input, 60, 1, 1);
    let graph = net.finish(x).unwrap();
    let input = crate::some_input(&graph, 5);
    let message = execute(&graph, &random_weights(&graph, 0).unwrap(), &input).unwrap_err().to_string();
    assert!(message.contains("give fewer images"), "{message}");
}

/// All places in the value, as JSON pointers.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().enumerate().for_each(|(i, v)| places(v, format!("{at}/{i}"), found)),
        Value::Object(map) => map.iter().for_each(|(k, v)| places(v, format!("{at}/{k}"), found)),
        _ => {}
    }
    found.push(at);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn any_change_is_refused_or_works(picks in prop::collection::vec((any::<usize>(), 0usize..16), 1..4)) {
        let news = [
            json!(null), json!(0), json!(1), json!(2), json!(3), json!(7), json!(255), json!(65536), json!(u64::MAX), json!(-1),
            json!(1e39), json!("input"), json!([]), json!({}), json!([1, 2]), json!([1, 0, 1, 0]),
        ];
        let mut value = small();
        for (place, new) in picks {
            let mut found = Vec::new();
            places(&value, String::new(), &mut found);
            *value.pointer_mut(&found[place % found.len()]).unwrap() = news[new].clone();
        }
        if let Ok(graph) = Graph::from_json(&value.to_string()) {
            prop_assert!(memory_plan(&graph).is_ok());
            let cost = graph.cost().unwrap();
            if cost.macs < 1_000_000 && cost.parameters < 1_000_000 && cost.peak_ram_bytes < 10_000_000 {
                prop_assert!(execute(&graph, &random_weights(&graph, 0).unwrap(), &crate::some_input(&graph, 1)).is_ok());
            }
        }
    }
}
