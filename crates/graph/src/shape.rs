//! Validation and shape inference. Every number is checked before it is multiplied, so that a graph
//! from anywhere is either refused with a reason or safe to cost and to run.

use crate::{Answer, Graph, GraphError, NodeId, Op, Source};
use std::collections::HashSet;

/// Most nodes in a graph.
pub const MAX_NODES: usize = 4096;
/// Most numbers in one activation of one image (256 MiB).
pub const MAX_ACTIVATION: u64 = 1 << 26;
/// Most parameters in all (1 GiB).
pub const MAX_PARAMETERS: u64 = 1 << 28;

const MAX_CHANNELS: usize = 1 << 16;
const MAX_SIDE: usize = 1 << 14;
const MAX_WINDOW: usize = 255;
const MAX_NAME: usize = 100;

impl Graph {
    /// The shape of each node's output without the batch axis: `[C, H, W]` or `[F]`.
    ///
    /// # Errors
    /// [`GraphError`] naming the first node that is wrong.
    pub fn shapes(&self) -> Result<Vec<Vec<usize>>, GraphError> {
        self.check_input()?;
        if self.nodes.len() > MAX_NODES {
            return Err(GraphError::Graph(format!("has {} nodes; at most {MAX_NODES} are allowed", self.nodes.len())));
        }
        let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            if node.inputs.len() != node.op.arity() {
                let (op, needs, has) = (node.op.op_type(), node.op.arity(), node.inputs.len());
                return Err(self.node_error(index, format!("{op} reads {needs} tensor(s), not {has}")));
            }
            let mut inputs = Vec::with_capacity(2);
            for source in &node.inputs {
                inputs.push(match source {
                    Source::Input => self.input.shape(),
                    Source::Node(id) => shapes
                        .get(*id)
                        .ok_or_else(|| {
                            self.node_error(index, format!("reads node {id}, which does not run before it"))
                        })?
                        .clone(),
                });
            }
            let shape = infer(&node.op, &inputs).map_err(|what| self.node_error(index, what))?;
            let numbers: u64 = shape.iter().map(|d| *d as u64).product();
            if numbers > MAX_ACTIVATION {
                let what = format!("makes {numbers} numbers; at most {MAX_ACTIVATION} are allowed");
                return Err(self.node_error(index, what));
            }
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// The shape that comes out, without the batch axis.
    ///
    /// # Errors
    /// As [`Graph::shapes`], or if the output is not a node.
    pub fn output_shape(&self) -> Result<Vec<usize>, GraphError> {
        let mut shapes = self.shapes()?;
        if self.output >= shapes.len() {
            return Err(self.output_error());
        }
        Ok(shapes.swap_remove(self.output))
    }

    /// Checks everything: names, order, attributes, shapes, sizes, and that every node matters to the output.
    ///
    /// # Errors
    /// [`GraphError`] saying what is wrong first.
    pub fn validate(&self) -> Result<(), GraphError> {
        self.shapes()?;
        if self.output >= self.nodes.len() {
            return Err(self.output_error());
        }
        let shape = self.output_shape()?;
        if self.answer == Answer::Map && (shape.len() != 3 || (2..5).contains(&shape[0])) {
            let what = format!("must make a map of a channel a class and 4 more, or of one channel, not {shape:?}");
            return Err(self.node_error(self.output, what));
        }
        let mut seen = HashSet::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
            if node.name.is_empty() || node.name.len() > MAX_NAME || !node.name.chars().all(allowed) {
                let what = format!("a name has 1 to {MAX_NAME} characters of a-z, 0-9, _ and .");
                return Err(self.node_error(index, what));
            }
            if !seen.insert(&node.name) {
                return Err(self.node_error(index, "another node has this name; rename one"));
            }
        }
        // Backwards, since every reader of a node stands after it.
        let mut needed = vec![false; self.nodes.len()];
        needed[self.output] = true;
        for (index, node) in self.nodes.iter().enumerate().rev() {
            if !needed[index] {
                return Err(self.node_error(index, "the output does not depend on it; remove it"));
            }
            for source in &node.inputs {
                if let Source::Node(id) = source {
                    needed[*id] = true;
                }
            }
        }
        let mut parameters = 0u64;
        for spec in self.params()? {
            parameters += spec.numbers();
            if parameters > MAX_PARAMETERS {
                let what = format!("has more than {MAX_PARAMETERS} parameters (at `{}`)", spec.name);
                return Err(GraphError::Graph(what));
            }
        }
        Ok(())
    }

    /// Shape of what a node reads first, given all shapes.
    pub(crate) fn input_shape(&self, shapes: &[Vec<usize>], index: NodeId) -> Vec<usize> {
        match self.nodes.get(index).and_then(|node| node.inputs.first()) {
            Some(Source::Node(id)) => shapes.get(*id).cloned().unwrap_or_default(),
            Some(Source::Input) => self.input.shape(),
            None => Vec::new(),
        }
    }

    fn output_error(&self) -> GraphError {
        GraphError::Graph(format!("the output is node {}, but there are {} nodes", self.output, self.nodes.len()))
    }

    fn check_input(&self) -> Result<(), GraphError> {
        let input = &self.input;
        if !(1..=MAX_CHANNELS).contains(&input.channels) {
            return Err(GraphError::Input(format!("{} channels; 1 to {MAX_CHANNELS} are allowed", input.channels)));
        }
        if !(1..=MAX_SIDE).contains(&input.height) || !(1..=MAX_SIDE).contains(&input.width) {
            let what = format!("{}x{}; each side may be 1 to {MAX_SIDE}", input.height, input.width);
            return Err(GraphError::Input(what));
        }
        if input.shape().iter().map(|d| *d as u64).product::<u64>() > MAX_ACTIVATION {
            return Err(GraphError::Input(format!("has more than {MAX_ACTIVATION} numbers")));
        }
        if input.mean.len() != input.channels || input.std.len() != input.channels {
            return Err(GraphError::Input("`mean` and `std` need one number a channel".into()));
        }
        if !input.mean.iter().all(|v| v.is_finite()) || !input.std.iter().all(|v| v.is_finite() && *v > 0.0) {
            return Err(GraphError::Input("`mean` must be finite and `std` above 0".into()));
        }
        Ok(())
    }
}

/// The output's shape, or what is wrong.
pub(crate) fn infer(op: &Op, inputs: &[Vec<usize>]) -> Result<Vec<usize>, String> {
    let shape = inputs.first().ok_or("reads nothing")?;
    match op {
        Op::Conv { out_channels, kernel, strides, pads, group, .. } => {
            let [c, h, w] = image(shape)?;
            if !(1..=MAX_CHANNELS).contains(out_channels) {
                return Err(format!("out_channels is {out_channels}; 1 to {MAX_CHANNELS} are allowed"));
            }
            if *group == 0 || !c.is_multiple_of(*group) || !out_channels.is_multiple_of(*group) {
                return Err(format!("group {group} does not divide the channels {c} and {out_channels}"));
            }
            let [h, w] = window([h, w], *kernel, *strides, *pads)?;
            Ok(vec![*out_channels, h, w])
        }
        Op::MaxPool { kernel, strides, pads } | Op::AveragePool { kernel, strides, pads } => {
            let [c, h, w] = image(shape)?;
            // A window wholly in the padding would have no value at all.
            if pads[0] >= kernel[0] || pads[2] >= kernel[0] || pads[1] >= kernel[1] || pads[3] >= kernel[1] {
                return Err(format!("a pool's pads {pads:?} must be smaller than its kernel {kernel:?}"));
            }
            let [h, w] = window([h, w], *kernel, *strides, *pads)?;
            Ok(vec![c, h, w])
        }
        Op::BatchNormalization { epsilon } => {
            if !epsilon.is_finite() || *epsilon <= 0.0 {
                return Err(format!("epsilon is {epsilon}; it must be above 0"));
            }
            Ok(shape.clone())
        }
        Op::Clip { min, max } => {
            if !min.is_finite() || !max.is_finite() || min > max {
                return Err(format!("clips to {min}..{max}; both must be finite, the lower first"));
            }
            Ok(shape.clone())
        }
        Op::Dropout { ratio } => {
            if !(0.0..1.0).contains(ratio) {
                return Err(format!("drops a share of {ratio}; it must be from 0 to below 1"));
            }
            Ok(shape.clone())
        }
        Op::Relu | Op::HardSwish | Op::Sigmoid => Ok(shape.clone()),
        Op::Add => match inputs.get(1) {
            Some(other) if other == shape => Ok(shape.clone()),
            Some(other) => Err(format!("adds the shapes {shape:?} and {other:?}; they must be the same")),
            None => Err("adds one tensor only".into()),
        },
        Op::GlobalAveragePool => image(shape).map(|[c, _, _]| vec![c, 1, 1]),
        // Cannot overflow: each shape was checked against the limit when it was made.
        Op::Flatten => Ok(vec![shape.iter().product()]),
        Op::Gemm { out_features, .. } => {
            flat(shape)?;
            if !(1..=MAX_CHANNELS).contains(out_features) {
                return Err(format!("out_features is {out_features}; 1 to {MAX_CHANNELS} are allowed"));
            }
            Ok(vec![*out_features])
        }
        Op::Softmax => flat(shape).map(|f| vec![f]),
    }
}

fn image(shape: &[usize]) -> Result<[usize; 3], String> {
    <[usize; 3]>::try_from(shape).map_err(|_| format!("needs [C, H, W], not {shape:?}"))
}

fn flat(shape: &[usize]) -> Result<usize, String> {
    match shape {
        [f] => Ok(*f),
        _ => Err(format!("needs [F], not {shape:?}; put a Flatten before it")),
    }
}

/// Rows and columns of windows that fit, ONNX's floor mode.
fn window(size: [usize; 2], kernel: [usize; 2], strides: [usize; 2], pads: [usize; 4]) -> Result<[usize; 2], String> {
    let allowed = 1..=MAX_WINDOW;
    if !kernel.iter().chain(&strides).all(|v| allowed.contains(v)) || pads.iter().any(|v| *v > MAX_WINDOW) {
        return Err(format!(
            "kernel {kernel:?} and strides {strides:?} may be 1 to {MAX_WINDOW}, pads {pads:?} 0 to {MAX_WINDOW}"
        ));
    }
    let mut out = [0; 2];
    for axis in 0..2 {
        let padded = size[axis] + pads[axis] + pads[axis + 2];
        if padded < kernel[axis] {
            let what = format!("the kernel {kernel:?} does not fit into {size:?} with pads {pads:?}");
            return Err(format!("{what}; use fewer strided layers or a larger input"));
        }
        out[axis] = (padded - kernel[axis]) / strides[axis] + 1;
    }
    Ok(out)
}
