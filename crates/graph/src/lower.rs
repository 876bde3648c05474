//! The graph as code is generated from it: a list of few kinds of layers, each with its numbers, its geometry
//! and its place in the arena.

use crate::{Answer, Graph, GraphError, InputSpec, NodeId, Op, Source, Weights, fold_batch_norm, memory_plan};

/// A network as deployed. What only reshapes is gone, normalisation is folded or a depthwise layer, a fully
/// connected layer is a convolution over the whole of its input, an activation belongs to the layer before it
/// where nothing else reads that, and a Softmax at the end is left to the reader of the logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// What goes in.
    pub input: InputSpec,
    /// Place of the input in the arena, in numbers.
    pub input_offset: usize,
    /// In the order they run.
    pub layers: Vec<Layer>,
    /// The layer whose values are the logits, or the map of objects.
    pub output: usize,
    /// How they are to be read.
    pub answer: Answer,
    /// Length of the arena in numbers: that of [`memory_plan`] for the folded graph.
    pub arena: usize,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Of the node that it is made from.
    pub name: String,
    /// The folded graph's node whose value it makes.
    pub node: NodeId,
    /// The folded graph's node whose value it makes before the activation.
    pub raw: NodeId,
    /// What it computes.
    pub kind: LayerKind,
    /// What it reads: the input, or earlier layers by their number.
    pub inputs: Vec<Source>,
    /// `[C, H, W]` of what it reads first; `[F, 1, 1]` for a list.
    pub from: [usize; 3],
    /// `[C, H, W]` of what it makes.
    pub to: [usize; 3],
    /// Applied to what it makes.
    pub activation: Activation,
    /// Place of what it makes in the arena, in numbers.
    pub offset: usize,
}

/// The kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum LayerKind {
    /// Cross-correlation.
    Conv(Convolution),
    /// Sum of two values of the same shape.
    Add,
    /// Greatest of a window.
    MaxPool(Window),
    /// Mean of a window, padding not counted.
    AveragePool(Window),
    /// Mean of each channel.
    GlobalAveragePool,
    /// The activation alone.
    Activation,
}

/// A convolution's geometry and numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// Kernel, strides and pads.
    pub window: Window,
    /// Independent groups of channels.
    pub group: usize,
    /// `[O, I / group, kH, kW]`.
    pub weight: Vec<f32>,
    /// `[O]`.
    pub bias: Vec<f32>,
}

/// A window that moves over the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Steps down and right.
    pub strides: [usize; 2],
    /// Added at top, left, bottom, right.
    pub pads: [usize; 4],
}

/// An elementwise function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// None.
    Identity,
    /// `min(max(x, low), high)`; Relu has no upper end.
    Clamp {
        /// Lowest value.
        low: f32,
        /// Highest value, infinite for Relu.
        high: f32,
    },
    /// `x * max(0, min(1, x / 6 + 1/2))`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

impl Activation {
    fn of(op: &Op) -> Option<Self> {
        match op {
            Op::Relu => Some(Self::Clamp { low: 0.0, high: f32::INFINITY }),
            Op::Clip { min, max } => Some(Self::Clamp { low: *min, high: *max }),
            Op::HardSwish => Some(Self::HardSwish),
            Op::Sigmoid => Some(Self::Sigmoid),
            _ => None,
        }
    }

    /// Its value at `x`.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            Self::Clamp { low, high } => x.max(f64::from(low)).min(f64::from(high)),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }
}

impl Layer {
    /// Numbers that it makes.
    pub fn len(&self) -> usize {
        self.to.iter().product()
    }

    /// Whether it makes none; never so in a valid graph.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Convolution {
    /// Whether each output channel reads one input channel of its own.
    pub fn is_depthwise(&self, channels: usize) -> bool {
        self.group == channels && self.bias.len() == channels
    }

    /// Numbers that make one output.
    pub fn taps(&self) -> usize {
        self.weight.len() / self.bias.len().max(1)
    }
}

/// Lowers a graph as trained, or as folded.
///
/// # Errors
/// [`GraphError`] if the graph or its weights are not valid, or what comes out is not a list of logits.
pub fn lower(graph: &Graph, weights: &Weights) -> Result<Lowered, GraphError> {
    let (graph, weights) = fold_batch_norm(graph, weights)?;
    let plan = memory_plan(&graph)?;
    let shapes = graph.shapes()?;
    let uses = graph.uses();
    let place = |id: NodeId| plan.offsets.get(id).map_or(0, |bytes| *bytes as usize / 4);
    let mut layers: Vec<Layer> = Vec::new();
    // Which layer holds each node's value, and as `[C, H, W]`.
    let mut held: Vec<(Source, [usize; 3])> = Vec::with_capacity(graph.nodes.len());
    // Whether a node's value has one reader, and so has what it is another name of.
    let mut alone: Vec<bool> = uses.iter().map(|uses| *uses == 1).collect();
    for (id, node) in graph.nodes.iter().enumerate() {
        let read = |source: &Source| match source {
            Source::Input => (Source::Input, spread(&graph.input.shape())),
            Source::Node(before) => held[*before],
        };
        let inputs: Vec<(Source, [usize; 3])> = node.inputs.iter().map(read).collect();
        let Some((first, from)) = inputs.first().copied() else {
            return Err(graph.node_error(id, "reads nothing; this is a fault of ours"));
        };
        let activation = Activation::of(&node.op);
        if matches!(node.op, Op::Flatten | Op::Dropout { .. }) || (matches!(node.op, Op::Softmax) && id == graph.output)
        {
            alone[id] &= matches!(node.inputs.first(), Some(Source::Node(before)) if alone[*before]);
            held.push((first, from));
            continue;
        }
        // Into the layer before, where this is its only reader.
        if let (Some(activation), Source::Node(at), Some(Source::Node(before))) =
            (activation, first, node.inputs.first())
            && alone[*before]
            && layers[at].activation == Activation::Identity
            && matches!(layers[at].kind, LayerKind::Conv(_) | LayerKind::Add)
        {
            layers[at].activation = activation;
            (layers[at].offset, layers[at].node) = (place(id), id);
            held.push((first, from));
            continue;
        }
        let numbers = |role: &str| -> Result<Vec<f32>, GraphError> {
            let name = format!("{}.{role}", node.name);
            weights.get(&name).map(|tensor| tensor.data.clone()).ok_or_else(|| GraphError::weight(name, "is missing"))
        };
        let (kind, to) = match &node.op {
            Op::Conv { kernel, strides, pads, group, bias, out_channels } => {
                let window = Window { kernel: *kernel, strides: *strides, pads: *pads };
                let bias = if *bias { numbers("bias")? } else { vec![0.0; *out_channels] };
                let conv = Convolution { window, group: *group, weight: numbers("weight")?, bias };
                (LayerKind::Conv(conv), spread(&shapes[id]))
            }
            Op::Gemm { out_features, bias } => {
                let window = Window { kernel: [from[1], from[2]], strides: [1, 1], pads: [0; 4] };
                let bias = if *bias { numbers("bias")? } else { vec![0.0; *out_features] };
                let conv = Convolution { window, group: 1, weight: numbers("weight")?, bias };
                (LayerKind::Conv(conv), [*out_features, 1, 1])
            }
            Op::BatchNormalization { epsilon } => {
                let (scale, bias, mean, var) = (numbers("scale")?, numbers("bias")?, numbers("mean")?, numbers("var")?);
                // A list that was a map has more numbers than the map has channels.
                if from[0] != scale.len() {
                    let what = "normalises a flattened map, for which no code can be generated; flatten after it";
                    return Err(graph.node_error(id, what));
                }
                let factors = scale.iter().zip(&var);
                let factors: Vec<f64> =
                    factors.map(|(s, v)| f64::from(*s) / (f64::from(*v) + f64::from(*epsilon)).sqrt()).collect();
                let bias =
                    (0..bias.len()).map(|c| (f64::from(bias[c]) - f64::from(mean[c]) * factors[c]) as f32).collect();
                let window = Window { kernel: [1, 1], strides: [1, 1], pads: [0; 4] };
                let weight = factors.iter().map(|f| *f as f32).collect();
                (LayerKind::Conv(Convolution { window, group: from[0], weight, bias }), from)
            }
            Op::Add if inputs.iter().any(|(_, shape)| *shape != from) => {
                // Generated code keeps maps with their channels last, so that the two lie in different orders.
                let what = "adds a flattened map to a list, for which no code can be generated; flatten after the sum";
                return Err(graph.node_error(id, what));
            }
            Op::Add => (LayerKind::Add, from),
            Op::MaxPool { kernel, strides, pads } => {
                (LayerKind::MaxPool(Window { kernel: *kernel, strides: *strides, pads: *pads }), spread(&shapes[id]))
            }
            Op::AveragePool { kernel, strides, pads } => (
                LayerKind::AveragePool(Window { kernel: *kernel, strides: *strides, pads: *pads }),
                spread(&shapes[id]),
            ),
            Op::GlobalAveragePool => (LayerKind::GlobalAveragePool, spread(&shapes[id])),
            Op::Relu | Op::Clip { .. } | Op::HardSwish | Op::Sigmoid => (LayerKind::Activation, from),
            Op::Flatten | Op::Dropout { .. } | Op::Softmax => {
                return Err(graph.node_error(id, "stands where no code can be generated for it; put it at the end"));
            }
        };
        held.push((Source::Node(layers.len()), to));
        layers.push(Layer {
            name: node.name.clone(),
            inputs: inputs.into_iter().map(|(source, _)| source).collect(),
            activation: activation.unwrap_or(Activation::Identity),
            offset: place(id),
            node: id,
            raw: id,
            kind,
            from,
            to,
        });
    }
    let is_answer = |shape: &[usize; 3]| graph.answer == Answer::Map || shape[1..] == [1, 1];
    match held.get(graph.output) {
        Some((Source::Node(output), shape)) if is_answer(shape) => Ok(Lowered {
            input: graph.input.clone(),
            input_offset: plan.input_offset as usize / 4,
            output: *output,
            answer: graph.answer,
            arena: plan.arena_bytes as usize / 4,
            layers,
        }),
        _ => Err(graph.node_error(graph.output, "is not a list of logits; end with one number a class")),
    }
}

fn spread(shape: &[usize]) -> [usize; 3] {
    [0, 1, 2].map(|axis| shape.get(axis).copied().unwrap_or(1))
}
