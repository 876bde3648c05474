//! The parameters that a graph's nodes own.

use crate::{Graph, GraphError, Op, Weights};

/// One parameter: its name among the [`Weights`] and its shape.
///
/// # Shapes
/// | node | parameter | shape |
/// | --- | --- | --- |
/// | Conv | `{node}.weight`, `{node}.bias` if it has one | `[O, I / group, kH, kW]`, `[O]` |
/// | Gemm | `{node}.weight`, `{node}.bias` if it has one | `[O, F]`, `[O]` |
/// | BatchNormalization | `{node}.scale`, `{node}.bias`, `{node}.mean`, `{node}.var` | `[C]` each |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamSpec {
    /// Node name, a point, and the role.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether the optimiser changes it; running statistics are not trained.
    pub trainable: bool,
}

impl ParamSpec {
    /// How many numbers it has.
    pub fn numbers(&self) -> u64 {
        self.shape.iter().map(|d| *d as u64).fold(1, u64::saturating_mul)
    }
}

impl Graph {
    /// Every parameter in the order of the nodes.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn params(&self) -> Result<Vec<ParamSpec>, GraphError> {
        let shapes = self.shapes()?;
        let mut specs = Vec::new();
        for index in 0..self.nodes.len() {
            specs.extend(self.node_params(&shapes, index));
        }
        Ok(specs)
    }

    /// The parameters of one node, given all shapes.
    pub(crate) fn node_params(&self, shapes: &[Vec<usize>], index: usize) -> Vec<ParamSpec> {
        let Some(node) = self.nodes.get(index) else { return Vec::new() };
        let features = self.input_shape(shapes, index).first().copied().unwrap_or(0);
        let spec = |role: &str, shape: Vec<usize>, trainable| {
            Some(ParamSpec { name: format!("{}.{role}", node.name), shape, trainable })
        };
        let found = match &node.op {
            Op::Conv { out_channels, kernel, group, bias, .. } => vec![
                spec("weight", vec![*out_channels, features / (*group).max(1), kernel[0], kernel[1]], true),
                bias.then(|| spec("bias", vec![*out_channels], true)).flatten(),
            ],
            Op::Gemm { out_features, bias } => vec![
                spec("weight", vec![*out_features, features], true),
                bias.then(|| spec("bias", vec![*out_features], true)).flatten(),
            ],
            Op::BatchNormalization { .. } => vec![
                spec("scale", vec![features], true),
                spec("bias", vec![features], true),
                spec("mean", vec![features], false),
                spec("var", vec![features], false),
            ],
            Op::Relu
            | Op::Clip { .. }
            | Op::HardSwish
            | Op::Sigmoid
            | Op::Add
            | Op::MaxPool { .. }
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool
            | Op::Flatten
            | Op::Dropout { .. }
            | Op::Softmax => Vec::new(),
        };
        found.into_iter().flatten().collect()
    }

    /// Checks that the weights are this graph's: none missing, none over, all of the right shape.
    ///
    /// # Errors
    /// [`GraphError::Weight`] naming the first that is wrong.
    pub fn check_weights(&self, weights: &Weights) -> Result<(), GraphError> {
        let specs = self.params()?;
        for spec in &specs {
            let Some(tensor) = weights.get(&spec.name) else {
                return Err(GraphError::weight(&spec.name, "is missing"));
            };
            if tensor.shape != spec.shape || tensor.data.len() as u64 != spec.numbers() {
                let (shape, length) = (&tensor.shape, tensor.data.len());
                let what = format!("has the shape {shape:?} and {length} numbers; the graph needs {:?}", spec.shape);
                return Err(GraphError::weight(&spec.name, what));
            }
        }
        if weights.len() != specs.len()
            && let Some(name) = weights.keys().find(|name| !specs.iter().any(|spec| &spec.name == *name))
        {
            return Err(GraphError::weight(name, "is not of this graph"));
        }
        Ok(())
    }
}
