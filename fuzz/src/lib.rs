//! The parsers that are fuzzed: those of `kindling-data`, and those of the crates that need not burn.

pub use kindling_spoil::Parser;

use kindling_graph::{Graph, GraphBuilder, InputSpec, Source, Tensor, execute, memory_plan, random_weights};
use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use std::collections::HashMap;

/// The reader itself, without the crate around it, which would need burn.
#[path = "../../crates/models/src/backbones/pytorch.rs"]
mod pytorch;

/// What that reader knows of its crate's errors.
#[derive(Debug)]
pub enum ModelError {
    /// What is wrong with a checkpoint.
    Checkpoint(String),
}

/// All of them.
pub fn parsers() -> impl Iterator<Item = &'static Parser> {
    kindling_data::foreign::PARSERS.iter().chain(kindling_spec::foreign::PARSERS).chain(PARSERS)
}

const PARSERS: &[Parser] = &[
    Parser { name: "graph", read: graph, seeds: graphs, cases: 1 },
    Parser { name: "checkpoint", read: checkpoint, seeds: || vec![CHECKPOINT.to_vec()], cases: 1 },
    Parser { name: "safetensors", read: safetensors, seeds: tensors, cases: 1 },
];

/// Two tensors of one storage and a counter, as PyTorch wrote them before version 1.6.
const CHECKPOINT: &[u8] = include_bytes!("../checkpoint.pth");

/// The one that the environment's `KINDLING_PARSER` names.
///
/// # Panics
/// If it names none, with the names of all.
pub fn chosen() -> &'static Parser {
    let name = std::env::var("KINDLING_PARSER").unwrap_or_default();
    let known: Vec<_> = parsers().map(|parser| parser.name).collect();
    let found = parsers().find(|parser| parser.name == name);
    found.unwrap_or_else(|| panic!("KINDLING_PARSER must be one of {}", known.join(" ")))
}

fn graph(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(graph) = Graph::from_json(text) else { return };
    memory_plan(&graph).expect("a graph that was read can be planned");
    let cost = graph.cost().expect("and costed");
    if cost.macs < 100_000 && cost.parameters < 100_000 && cost.peak_ram_bytes < 1_000_000 {
        let weights = random_weights(&graph, 0).expect("and has parameters");
        let shape: Vec<usize> = [1].into_iter().chain(graph.input.shape()).collect();
        let numbers = shape.iter().product();
        let input = Tensor::new(shape, vec![0.5; numbers]).expect("a picture");
        execute(&graph, &weights, &input).expect("and run");
    }
}

fn graphs() -> Vec<Vec<u8>> {
    let mut net = GraphBuilder::new(InputSpec::rgb(8));
    let x = net.conv("conv", Source::Input, 4, 3, 1);
    let x = net.batch_norm("bn", x);
    let x = net.relu6("act", x);
    let x = net.max_pool("pool", x, 2, 2);
    let x = net.add("add", x, x);
    let x = net.global_average_pool("gap", x);
    let x = net.flatten("flatten", x);
    let x = net.gemm("fc", x, 3);
    let graph = net.finish(x).expect("a small network");
    vec![graph.to_json().expect("a network is JSON").into_bytes()]
}

fn checkpoint(bytes: &[u8]) {
    if let Ok(weights) = pytorch::read_pytorch(bytes) {
        let numbers: usize = weights.values().map(|tensor| tensor.data.len()).sum();
        assert!(numbers <= bytes.len() / 4, "{numbers} numbers of {} bytes", bytes.len());
    }
}

fn safetensors(bytes: &[u8]) {
    let Ok(file) = SafeTensors::deserialize(bytes) else { return };
    for (_, view) in file.iter().filter(|(_, view)| view.dtype() == Dtype::F32) {
        let (numbers, _) = view.data().as_chunks::<4>();
        let data = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Tensor::new(view.shape().to_vec(), data).expect("its shape holds its numbers");
    }
}

fn tensors() -> Vec<Vec<u8>> {
    let data = [0u8; 24];
    let view = |shape: &[usize]| TensorView::new(Dtype::F32, shape.to_vec(), &data).expect("a tensor");
    let about = HashMap::from([("kindling_backbone".to_owned(), "{}".to_owned())]);
    vec![serialize([("a", view(&[2, 3])), ("b", view(&[6]))], Some(about)).expect("a file")]
}
