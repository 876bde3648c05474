//! Any graph as a burn module.

use crate::{ModelError, initial_weights, ops, random::Random};
use burn::module::{Module, Param, ParamId};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device, Gradients, Tensor, TensorData};
use kindling_graph::{Graph, GraphError, Op, Source, Tensor as Array, Weights};
use std::sync::Arc;

/// Runs a [`Graph`] with burn, on whichever device its weights are.
///
/// On a device with autodiff [`Network::forward_train`] records what a backward pass needs;
/// [`Network::forward`] is inference and uses the running statistics on any device.
#[derive(Module, Debug)]
pub struct Network {
    convolutions: Vec<Convolution>,
    norms: Vec<Norm>,
    linears: Vec<Linear>,
    #[module(skip)]
    plan: Arc<Plan>,
}

#[derive(Module, Debug)]
struct Convolution {
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
}

#[derive(Module, Debug)]
struct Norm {
    scale: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    mean: Param<Tensor<1>>,
    var: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Linear {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
}

/// The graph with, for each node, the place of its layer and how often its value is read.
#[derive(Debug)]
struct Plan {
    graph: Graph,
    layers: Vec<usize>,
    reads: Vec<usize>,
}

/// What a BatchNormalization saw of one batch: per channel, with the biased variance.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// `[C]`
    pub mean: Tensor<1>,
    /// `[C]`
    pub var: Tensor<1>,
}

/// A value on its way: images or features.
#[derive(Clone)]
enum Value {
    Map(Tensor<4>),
    Flat(Tensor<2>),
}

impl Value {
    fn map(self) -> Result<Tensor<4>, ModelError> {
        match self {
            Self::Map(x) => Ok(x),
            Self::Flat(_) => Err(misfit("an image is needed where features are")),
        }
    }

    fn flat(self) -> Tensor<2> {
        match self {
            Self::Flat(x) => x,
            Self::Map(x) => {
                let [n, c, h, w] = x.dims();
                x.reshape([n, c * h * w])
            }
        }
    }
}

fn misfit(what: &str) -> ModelError {
    GraphError::Graph(what.into()).into()
}

impl Network {
    /// A network with [`initial_weights`].
    ///
    /// # Errors
    /// [`ModelError`] if the graph is not valid.
    pub fn init(graph: &Graph, seed: u64, device: &Device) -> Result<Self, ModelError> {
        Self::from_weights(graph, &initial_weights(graph, seed)?, device)
    }

    /// A network with these weights.
    ///
    /// # Errors
    /// [`ModelError`] if the graph is not valid or the weights are not its own.
    pub fn from_weights(graph: &Graph, weights: &Weights, device: &Device) -> Result<Self, ModelError> {
        graph.validate()?;
        graph.check_weights(weights)?;
        let load = |name: String| Loader { array: weights.get(&name), name, device };
        let mut network = Self {
            convolutions: Vec::new(),
            norms: Vec::new(),
            linears: Vec::new(),
            plan: Arc::new(Plan { graph: graph.clone(), layers: Vec::new(), reads: Vec::new() }),
        };
        let mut layers = Vec::with_capacity(graph.nodes.len());
        let mut reads = vec![0; graph.nodes.len()];
        for node in &graph.nodes {
            let name = |role: &str| format!("{}.{role}", node.name);
            layers.push(match &node.op {
                Op::Conv { bias, .. } => {
                    let bias = bias.then(|| load(name("bias")).param::<1>(true)).transpose()?;
                    let weight = load(name("weight")).param::<4>(true)?;
                    network.convolutions.push(Convolution { weight, bias });
                    network.convolutions.len() - 1
                }
                Op::BatchNormalization { .. } => {
                    network.norms.push(Norm {
                        scale: load(name("scale")).param::<1>(true)?,
                        bias: load(name("bias")).param::<1>(true)?,
                        mean: load(name("mean")).param::<1>(false)?,
                        var: load(name("var")).param::<1>(false)?,
                    });
                    network.norms.len() - 1
                }
                Op::Gemm { bias, .. } => {
                    let bias = bias.then(|| load(name("bias")).param::<1>(true)).transpose()?;
                    let weight = load(name("weight")).param::<2>(true)?;
                    network.linears.push(Linear { weight, bias });
                    network.linears.len() - 1
                }
                _ => 0,
            });
            for source in &node.inputs {
                if let Source::Node(id) = source {
                    reads[*id] += 1;
                }
            }
        }
        reads[graph.output] += 1;
        network.plan = Arc::new(Plan { graph: graph.clone(), layers, reads });
        Ok(network)
    }

    /// The graph it runs.
    pub fn graph(&self) -> &Graph {
        &self.plan.graph
    }

    /// The weights by name, as in [`kindling_graph::ParamSpec`].
    ///
    /// # Errors
    /// [`ModelError::Device`] if the device cannot be read.
    pub fn weights(&self) -> Result<Weights, ModelError> {
        let mut weights = Weights::new();
        let mut put = |node: &str, role: &str, data: Result<Array, ModelError>| -> Result<(), ModelError> {
            weights.insert(format!("{node}.{role}"), data?);
            Ok(())
        };
        for (node, layer) in self.plan.graph.nodes.iter().zip(&self.plan.layers) {
            match &node.op {
                Op::Conv { .. } => {
                    let layer = &self.convolutions[*layer];
                    put(&node.name, "weight", read(&layer.weight))?;
                    if let Some(bias) = &layer.bias {
                        put(&node.name, "bias", read(bias))?;
                    }
                }
                Op::BatchNormalization { .. } => {
                    let layer = &self.norms[*layer];
                    put(&node.name, "scale", read(&layer.scale))?;
                    put(&node.name, "bias", read(&layer.bias))?;
                    put(&node.name, "mean", read(&layer.mean))?;
                    put(&node.name, "var", read(&layer.var))?;
                }
                Op::Gemm { .. } => {
                    let layer = &self.linears[*layer];
                    put(&node.name, "weight", read(&layer.weight))?;
                    if let Some(bias) = &layer.bias {
                        put(&node.name, "bias", read(bias))?;
                    }
                }
                _ => {}
            }
        }
        Ok(weights)
    }

    /// Answers with the running statistics; nothing is dropped.
    ///
    /// # Shapes
    /// `[N, C, H, W]`, normalised, to logits `[N, classes]`.
    ///
    /// # Errors
    /// [`ModelError`] if the graph reads features where an image is needed.
    pub fn forward(&self, images: Tensor<4>) -> Result<Tensor<2>, ModelError> {
        self.run(images, &mut None)
    }

    /// Answers as in training: with the batch's own statistics, which are given back in the order
    /// of the graph's nodes, and with dropout drawn from `random`.
    ///
    /// # Shapes
    /// `[N, C, H, W]`, normalised, to logits `[N, classes]`.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn forward_train(
        &self,
        images: Tensor<4>,
        random: &mut Random,
    ) -> Result<(Tensor<2>, Vec<BatchStatistics>), ModelError> {
        let mut training = Some(Training { random, statistics: Vec::with_capacity(self.norms.len()) });
        let logits = self.run(images, &mut training)?;
        Ok((logits, training.map(|t| t.statistics).unwrap_or_default()))
    }

    fn run(&self, images: Tensor<4>, training: &mut Option<Training<'_>>) -> Result<Tensor<2>, ModelError> {
        let graph = &self.plan.graph;
        let mut left = self.plan.reads.clone();
        let mut values: Vec<Option<Value>> = vec![None; graph.nodes.len()];
        let images = Value::Map(images);
        for (index, node) in graph.nodes.iter().enumerate() {
            let mut inputs = Vec::with_capacity(2);
            for source in &node.inputs {
                inputs.push(match source {
                    Source::Input => images.clone(),
                    // The last reader takes the value, so that its memory can be reused.
                    Source::Node(id) => take(&mut values[*id], &mut left[*id])?,
                });
            }
            let mut inputs = inputs.into_iter();
            let first = inputs.next().ok_or_else(|| misfit("a node reads nothing"))?;
            let second = inputs.next();
            values[index] = Some(self.apply(index, first, second, training)?);
        }
        Ok(take(&mut values[graph.output], &mut left[graph.output])?.flat())
    }

    fn apply(
        &self,
        index: usize,
        x: Value,
        second: Option<Value>,
        training: &mut Option<Training<'_>>,
    ) -> Result<Value, ModelError> {
        let layer = self.plan.layers[index];
        Ok(match &self.plan.graph.nodes[index].op {
            Op::Conv { strides, pads, group, .. } => {
                let layer = &self.convolutions[layer];
                let bias = layer.bias.as_ref().map(Param::val);
                Value::Map(ops::conv2d(x.map()?, layer.weight.val(), bias, *strides, *pads, *group))
            }
            Op::BatchNormalization { epsilon } => {
                let layer = &self.norms[layer];
                let (scale, bias) = (layer.scale.val(), layer.bias.val());
                let (flat, x) = match x {
                    Value::Map(x) => (false, x),
                    Value::Flat(x) => (true, x.unsqueeze_dims(&[2, 3])),
                };
                let y = match training {
                    Some(training) => {
                        let (y, statistics) = ops::batch_norm_train(x, scale, bias, *epsilon);
                        training.statistics.push(statistics);
                        y
                    }
                    None => ops::batch_norm(x, scale, bias, layer.mean.val(), layer.var.val(), *epsilon),
                };
                if flat { Value::Flat(Value::Map(y).flat()) } else { Value::Map(y) }
            }
            Op::Gemm { .. } => {
                let layer = &self.linears[layer];
                Value::Flat(ops::gemm(x.flat(), layer.weight.val(), layer.bias.as_ref().map(Param::val)))
            }
            Op::Add => match (x, second) {
                (Value::Map(a), Some(Value::Map(b))) => Value::Map(a.add(b)),
                (Value::Flat(a), Some(Value::Flat(b))) => Value::Flat(a.add(b)),
                _ => return Err(misfit("an Add reads an image and features")),
            },
            Op::MaxPool { kernel, strides, pads } => Value::Map(ops::max_pool(x.map()?, *kernel, *strides, *pads)),
            Op::AveragePool { kernel, strides, pads } => {
                Value::Map(ops::average_pool(x.map()?, *kernel, *strides, *pads))
            }
            Op::GlobalAveragePool => Value::Map(ops::global_average_pool(x.map()?)),
            Op::Flatten => Value::Flat(x.flat()),
            Op::Softmax => Value::Flat(burn::tensor::activation::softmax(x.flat(), 1)),
            Op::Dropout { ratio } => match (training, x) {
                (Some(training), Value::Map(x)) => Value::Map(ops::dropout(x, *ratio, training.random)),
                (Some(training), Value::Flat(x)) => Value::Flat(ops::dropout(x, *ratio, training.random)),
                (None, x) => x,
            },
            op @ (Op::Relu | Op::Clip { .. } | Op::HardSwish | Op::Sigmoid) => match x {
                Value::Map(x) => Value::Map(ops::activate(op, x)),
                Value::Flat(x) => Value::Flat(ops::activate(op, x)),
            },
        })
    }

    /// The network with the trainable parameters replaced by slices of one flat tensor, in the
    /// order of [`Graph::params`], as leaves that a backward pass gives gradients to.
    ///
    /// # Shapes
    /// `[P]`, on the device without autodiff.
    ///
    /// # Panics
    /// If `flat` is shorter than the parameters.
    #[must_use]
    pub fn with_trainable(mut self, flat: &Tensor<1>) -> Self {
        let mut at = 0;
        for (node, layer) in self.plan.graph.nodes.iter().zip(&self.plan.layers) {
            match &node.op {
                Op::Conv { .. } => {
                    let layer = &mut self.convolutions[*layer];
                    leaf(&mut layer.weight, flat, &mut at);
                    layer.bias.iter_mut().for_each(|bias| leaf(bias, flat, &mut at));
                }
                Op::BatchNormalization { .. } => {
                    let layer = &mut self.norms[*layer];
                    leaf(&mut layer.scale, flat, &mut at);
                    leaf(&mut layer.bias, flat, &mut at);
                }
                Op::Gemm { .. } => {
                    let layer = &mut self.linears[*layer];
                    leaf(&mut layer.weight, flat, &mut at);
                    layer.bias.iter_mut().for_each(|bias| leaf(bias, flat, &mut at));
                }
                _ => {}
            }
        }
        self
    }

    /// The gradients of the trainable parameters as one flat tensor, in the same order as
    /// [`Network::with_trainable`]; zeros where a parameter has none.
    ///
    /// # Shapes
    /// `[P]`, on the device without autodiff.
    pub fn flat_gradients(&self, mut gradients: Gradients) -> Tensor<1> {
        let mut parts = Vec::new();
        for (node, layer) in self.plan.graph.nodes.iter().zip(&self.plan.layers) {
            match &node.op {
                Op::Conv { .. } => {
                    let layer = &self.convolutions[*layer];
                    parts.push(gradient(&layer.weight, &mut gradients));
                    parts.extend(layer.bias.as_ref().map(|bias| gradient(bias, &mut gradients)));
                }
                Op::BatchNormalization { .. } => {
                    let layer = &self.norms[*layer];
                    parts.push(gradient(&layer.scale, &mut gradients));
                    parts.push(gradient(&layer.bias, &mut gradients));
                }
                Op::Gemm { .. } => {
                    let layer = &self.linears[*layer];
                    parts.push(gradient(&layer.weight, &mut gradients));
                    parts.extend(layer.bias.as_ref().map(|bias| gradient(bias, &mut gradients)));
                }
                _ => {}
            }
        }
        Tensor::cat(parts, 0)
    }

    /// The file that burn's own `Module::load_record` and `ModuleRecord::load` read (`model.burnpack`).
    ///
    /// # Errors
    /// [`ModelError::Record`] if burn cannot write it.
    pub fn burnpack(&self) -> Result<Vec<u8>, ModelError> {
        let bytes = self.clone().into_record().into_bytes().map_err(|e| ModelError::Record(e.to_string()))?;
        Ok(bytes.to_vec())
    }

    /// The network with the weights of a file written by [`Network::burnpack`].
    ///
    /// # Errors
    /// [`ModelError::Record`] if the bytes are not such a file, or are of another graph.
    pub fn load_burnpack(self, bytes: &[u8]) -> Result<Self, ModelError> {
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec()));
        let record = record.map_err(|e| ModelError::Record(e.to_string()))?;
        self.try_load_record(record).map_err(|e| ModelError::Record(e.to_string()))
    }
}

/// What only training needs.
struct Training<'a> {
    random: &'a mut Random,
    statistics: Vec<BatchStatistics>,
}

fn take(value: &mut Option<Value>, left: &mut usize) -> Result<Value, ModelError> {
    *left = left.saturating_sub(1);
    let found = if *left == 0 { value.take() } else { value.clone() };
    found.ok_or_else(|| misfit("a node is read before it has run"))
}

/// Replaces a parameter by the next slice of the flat tensor.
fn leaf<const D: usize>(param: &mut Param<Tensor<D>>, flat: &Tensor<1>, at: &mut usize) {
    let shape = param.lazy_shape();
    let length = shape.num_elements();
    let slice = flat.clone().narrow(0, *at, length).reshape(shape.dims::<D>());
    *at += length;
    *param = Param::initialized(param.id, Tensor::from_inner(slice).require_grad());
}

fn gradient<const D: usize>(param: &Param<Tensor<D>>, gradients: &mut Gradients) -> Tensor<1> {
    let value = param.val();
    let length = value.shape().num_elements();
    match value.grad_remove(gradients) {
        Some(gradient) => gradient.reshape([length]),
        None => Tensor::zeros([length], &value.device().without_autodiff()),
    }
}

fn read<const D: usize>(param: &Param<Tensor<D>>) -> Result<Array, ModelError> {
    let value = param.val();
    let shape = value.dims().to_vec();
    let data = value.try_into_data().map_err(|e| ModelError::Device(e.to_string()))?;
    let data = data.try_into_vec_as::<f32>().map_err(|e| ModelError::Device(e.to_string()))?;
    Ok(Array::new(shape, data)?)
}

/// One array on its way to a device.
struct Loader<'a> {
    array: Option<&'a Array>,
    name: String,
    device: &'a Device,
}

impl Loader<'_> {
    fn param<const D: usize>(self, trainable: bool) -> Result<Param<Tensor<D>>, ModelError> {
        let Self { array, name, device } = self;
        let wrong = |what: &str| GraphError::Weight { name: name.clone(), what: what.into() };
        let array = array.ok_or_else(|| wrong("is missing"))?;
        let shape = <[usize; D]>::try_from(array.shape.as_slice()).map_err(|_| wrong("has the wrong rank"))?;
        let value = Tensor::from_data(TensorData::new(array.data.clone(), shape), device);
        Ok(Param::initialized(ParamId::new(), value).set_require_grad(trainable))
    }
}
