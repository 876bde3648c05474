//! The burn network against the reference executor, and its gradients against finite differences.

#![allow(clippy::unwrap_used)]

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use kindling_graph::{Graph, GraphBuilder, InputSpec, Op, Source, Tensor as Array, Weights, execute, fold_batch_norm};
use kindling_models::backbones::{BACKBONES, Cut, End};
use kindling_models::{FAMILIES, Network, build_graph, initial_weights, random::Random};
use kindling_spec::{Domain, Genome, TaskKind, Value};

fn draw(domain: &Domain, random: &mut Random) -> Value {
    match domain {
        Domain::Int { low, high, .. } => Value::Int(low + random.below((high - low + 1) as usize) as i64),
        Domain::Float { low, high, .. } => Value::Float(low + random.uniform() * (high - low)),
        Domain::Choice { options } => options[random.below(options.len())].clone(),
    }
}

/// Random small networks of every family.
fn graphs(each: usize) -> Vec<Graph> {
    let mut random = Random::new(&[5]);
    let mut graphs = Vec::new();
    for family in FAMILIES {
        let before = graphs.len();
        // A backbone on pictures in which to find objects is never smaller.
        let large = family.backbone().is_some() && family.is_for(TaskKind::ObjectDetection);
        let most = if large { 12_000_000 } else { 3_000_000 };
        while graphs.len() < before + each {
            let params = family.params().into_iter().map(|p| (p.name, draw(&p.domain, &mut random)));
            let genome = Genome { family: family.name().into(), params: params.collect() };
            let graph = build_graph(&genome, 3).unwrap();
            if graph.cost().unwrap().macs < most {
                graphs.push(graph);
            }
        }
    }
    graphs
}

/// Every backbone, cut early: padded on one side only, and with kernels of 5x5.
fn backbones() -> Vec<Graph> {
    BACKBONES.iter().map(|backbone| backbone.build(Cut::After(4), 32, End::Classes(3)).unwrap()).collect()
}

/// Weights with every statistic away from its start.
fn weights(graph: &Graph, seed: u64) -> Weights {
    let mut weights = initial_weights(graph, seed).unwrap();
    let mut random = Random::new(&[seed, 9]);
    for (name, array) in &mut weights {
        let mut shift =
            |low: f32, span: f32| array.data.iter_mut().for_each(|v| *v = low + span * random.uniform() as f32);
        match name.rsplit('.').next().unwrap() {
            "scale" | "var" => shift(0.5, 1.0),
            "mean" | "bias" => shift(-0.2, 0.4),
            _ => {}
        }
    }
    weights
}

fn images(graph: &Graph, n: usize) -> Array {
    let shape: Vec<usize> = [n].into_iter().chain(graph.input.shape()).collect();
    let mut random = Random::new(&[11]);
    let count = shape.iter().product();
    Array::new(shape, (0..count).map(|_| random.uniform() as f32 * 2.0 - 1.0).collect()).unwrap()
}

fn upload(array: &Array, device: &Device) -> Tensor<4> {
    let shape: [usize; 4] = array.shape.clone().try_into().unwrap();
    Tensor::from_data(TensorData::new(array.data.clone(), shape), device)
}

fn answer(graph: &Graph, weights: &Weights, images: &Array, device: &Device) -> Vec<f32> {
    let network = Network::from_weights(graph, weights, device).unwrap();
    network.forward(upload(images, device)).unwrap().into_data().try_into_vec_as::<f32>().unwrap()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Every operator, odd sizes, and pads that differ on each side.
fn every_operator() -> Graph {
    let mut net = GraphBuilder::new(InputSpec { height: 11, width: 9, ..InputSpec::rgb(11) });
    let conv = Op::Conv { out_channels: 6, kernel: [3, 2], strides: [2, 1], pads: [0, 1, 2, 0], group: 3, bias: true };
    let x = net.push("a", conv, &[Source::Input]);
    let x = net.batch_norm("a_bn", x);
    let x = net.hard_swish("a_act", x);
    let y = net.depthwise("b", x, 5, 1);
    let y = net.sigmoid("b_act", y);
    let y = net.add("sum", x, y);
    let y = net.push("pool", Op::MaxPool { kernel: [2, 3], strides: [1, 2], pads: [1, 1, 0, 1] }, &[y]);
    let y = net.push("mean", Op::AveragePool { kernel: [3, 2], strides: [1, 1], pads: [1, 0, 1, 1] }, &[y]);
    let y = net.conv("c", y, 5, 1, 2);
    let y = net.relu6("c_act", y);
    let y = net.relu("relu", y);
    let y = net.global_average_pool("gap", y);
    let y = net.flatten("flat", y);
    let y = net.dropout("drop", y, 0.5);
    let y = net.gemm("fc", y, 4);
    let y = net.softmax("softmax", y);
    net.finish(y).unwrap()
}

#[test]
fn agrees_with_the_reference_executor() {
    let device = Device::flex();
    for (i, graph) in graphs(5).iter().chain(&backbones()).chain([&every_operator()]).enumerate() {
        let (weights, images) = (weights(graph, i as u64), images(graph, 2));
        let expected = execute(graph, &weights, &images).unwrap().data;
        let scale = expected.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        let got = answer(graph, &weights, &images, &device);
        assert!(furthest(&got, &expected) <= 1e-5 * scale, "graph {i}: {got:?} {expected:?}");
        let (folded, folded_weights) = fold_batch_norm(graph, &weights).unwrap();
        let got = answer(&folded, &folded_weights, &images, &device);
        assert!(furthest(&got, &expected) <= 1e-5 * scale, "graph {i} folded: {got:?} {expected:?}");
    }
}

#[test]
#[allow(deprecated)]
fn ndarray_agrees_with_flex() {
    for graph in graphs(1).iter().chain([&every_operator()]) {
        let (weights, images) = (weights(graph, 1), images(graph, 2));
        let flex = answer(graph, &weights, &images, &Device::flex());
        let ndarray = answer(graph, &weights, &images, &Device::ndarray());
        assert!(furthest(&flex, &ndarray) <= 1e-5, "{flex:?} {ndarray:?}");
    }
}

#[test]
fn weights_come_back() {
    let graph = every_operator();
    let weights = weights(&graph, 3);
    let network = Network::from_weights(&graph, &weights, &Device::flex().autodiff()).unwrap();
    assert_eq!(network.weights().unwrap(), weights);
    let mut short = weights.clone();
    short.remove("fc.bias");
    assert!(Network::from_weights(&graph, &short, &Device::flex()).unwrap_err().to_string().contains("fc.bias"));
}

#[test]
fn burnpack_comes_back() {
    let graph = every_operator();
    let device = Device::flex();
    let network = Network::from_weights(&graph, &weights(&graph, 3), &device).unwrap();
    let bytes = network.burnpack().unwrap();
    let back = Network::init(&graph, 99, &device).unwrap().load_burnpack(&bytes).unwrap();
    assert_eq!(back.weights().unwrap(), weights(&graph, 3));
    assert_eq!(back.num_params(), network.num_params());
    let other = Network::init(&graphs(1)[0], 0, &device).unwrap();
    assert!(other.load_burnpack(&bytes).is_err());
    assert!(back.load_burnpack(&bytes[..bytes.len() / 2]).is_err());
}

/// A weighted sum of the logits, so that every output matters differently.
fn loss(network: &Network, images: &Array, device: &Device) -> Tensor<1> {
    let (logits, _) = network.forward_train(upload(images, device), &mut Random::new(&[1])).unwrap();
    let [n, classes] = logits.dims();
    let factors: Vec<f32> = (0..n * classes).map(|i| ((i * 5 % 7) as f32 - 3.0) / 3.0).collect();
    logits.mul(Tensor::from_data(TensorData::new(factors, [n, classes]), device)).sum()
}

#[test]
fn gradients_agree_with_finite_differences() {
    let mut net = GraphBuilder::new(InputSpec::rgb(6));
    let x = net.conv("a", Source::Input, 4, 3, 2);
    let x = net.batch_norm("a_bn", x);
    let x = net.hard_swish("a_act", x);
    let y = net.depthwise("b", x, 3, 1);
    let y = net.batch_norm("b_bn", y);
    let y = net.sigmoid("b_act", y);
    let y = net.conv("c", y, 4, 1, 1);
    let y = net.add("sum", x, y);
    let y = net.global_average_pool("gap", y);
    let y = net.flatten("flat", y);
    let y = net.gemm("fc", y, 3);
    let graph = net.finish(y).unwrap();
    let (weights, images) = (weights(&graph, 4), images(&graph, 3));
    let device = Device::flex().autodiff();
    let trained: Vec<_> = graph.params().unwrap().into_iter().filter(|p| p.trainable).collect();
    let flat: Vec<f32> = trained.iter().flat_map(|p| weights[&p.name].data.clone()).collect();
    let template = Network::from_weights(&graph, &weights, &device).unwrap();
    let at = |values: &[f32]| {
        let flat = Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex());
        template.clone().with_trainable(&flat)
    };
    let network = at(&flat);
    let gradients = network.flat_gradients(loss(&network, &images, &device).backward());
    let gradients = gradients.into_data().try_into_vec_as::<f32>().unwrap();
    assert_eq!(gradients.len(), flat.len());
    assert!(gradients.iter().any(|g| g.abs() > 0.1));
    for i in 0..flat.len() {
        let moved = |by: f32| {
            let mut values = flat.clone();
            values[i] += by;
            f64::from(loss(&at(&values), &images, &device).into_scalar::<f32>())
        };
        let numeric = (moved(5e-3) - moved(-5e-3)) / 1e-2;
        let analytic = f64::from(gradients[i]);
        assert!((numeric - analytic).abs() < 5e-3 + 0.02 * numeric.abs(), "{i}: {numeric} {analytic}");
    }
}
