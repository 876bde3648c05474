//! What a network costs, known before anything is trained.

use crate::{Graph, GraphError, Op, fold_graph, memory_plan};
use serde::{Deserialize, Serialize};

/// Cost of one inference of one image, and of keeping the network.
///
/// # Conventions
/// - One MAC is one multiply-accumulate of a Conv or Gemm; those that fall on padding count, as in
///   MLPerf Tiny (Banbury et al. 2021) and in torchvision's tables. Biases, activations, pools, sums
///   and BatchNormalization (gone once folded) count as none.
/// - Literature differs in what a parameter is: `parameters` counts what the optimiser changes, as
///   PyTorch's `parameters()` does; `parameters_with_statistics` adds the running mean and variance,
///   as Keras's summary does. MLPerf Tiny's ResNet-8 is 78,186 by the first, 78,666 by the second,
///   and 77,706 numbers (310,824 bytes) once folded; its MACs are 12,501,632.
/// - Bytes are of 32-bit reals, where not said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Trainable parameters of the graph as trained.
    pub parameters: u64,
    /// The same and the running statistics.
    pub parameters_with_statistics: u64,
    /// Bytes of the weights that are deployed, BatchNormalization folded.
    pub weights_bytes: u64,
    /// Bytes of the same in 8 bits: one a weight, two a bias, one a layer for the biases' shift.
    pub int8_weights_bytes: u64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of activations alive at once at the worst moment, input included, as the folded graph's
    /// [`memory_plan`] lays them out.
    pub peak_ram_bytes: u64,
    /// The graph's nodes one by one.
    pub per_node: Vec<NodeCost>,
}

/// One node's share of the [`Cost`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCost {
    /// The node's name.
    pub name: String,
    /// ONNX's name of its operator.
    pub op_type: String,
    /// Its output's shape without the batch axis.
    pub shape: Vec<usize>,
    /// Trainable parameters.
    pub parameters: u64,
    /// Multiply-accumulates.
    pub macs: u64,
}

impl Graph {
    /// Costs the graph.
    ///
    /// # Errors
    /// [`GraphError`] if the graph is not valid or its MACs exceed 64 bits.
    pub fn cost(&self) -> Result<Cost, GraphError> {
        self.validate()?;
        let shapes = self.shapes()?;
        let (mut parameters, mut parameters_with_statistics, mut macs) = (0u64, 0u64, 0u64);
        let mut per_node = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let specs = self.node_params(&shapes, index);
            let trained: u64 = specs.iter().filter(|spec| spec.trainable).map(|spec| spec.numbers()).sum();
            parameters += trained;
            parameters_with_statistics += specs.iter().map(|spec| spec.numbers()).sum::<u64>();
            let input = self.input_shape(&shapes, index);
            let own = node_macs(&node.op, &input, &shapes[index]);
            let sum = own.and_then(|own| Some((own, macs.checked_add(own)?)));
            let (own, sum) = sum.ok_or_else(|| self.node_error(index, "needs more than 2^64 MACs"))?;
            macs = sum;
            per_node.push(NodeCost {
                name: node.name.clone(),
                op_type: node.op.op_type().into(),
                shape: shapes[index].clone(),
                parameters: trained,
                macs: own,
            });
        }
        let folded = fold_graph(self)?;
        let (mut deployed, mut int8_weights_bytes) = (0u64, 0u64);
        for spec in folded.params()? {
            deployed += spec.numbers();
            let bias = spec.name.ends_with(".bias");
            int8_weights_bytes += if bias { 2 * spec.numbers() + 1 } else { spec.numbers() };
        }
        let (weights_bytes, peak_ram_bytes) = (deployed * 4, memory_plan(&folded)?.arena_bytes);
        Ok(Cost {
            parameters,
            parameters_with_statistics,
            weights_bytes,
            int8_weights_bytes,
            macs,
            peak_ram_bytes,
            per_node,
        })
    }
}

/// Multiply-accumulates of one node, or `None` if 64 bits do not hold them.
fn node_macs(op: &Op, input: &[usize], output: &[usize]) -> Option<u64> {
    let out = output.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64))?;
    let channels = input.first().copied().unwrap_or(0);
    let each = match op {
        Op::Conv { kernel, group, .. } => (channels / (*group).max(1) * kernel[0] * kernel[1]) as u64,
        Op::Gemm { .. } => channels as u64,
        Op::BatchNormalization { .. }
        | Op::Relu
        | Op::Clip { .. }
        | Op::HardSwish
        | Op::Sigmoid
        | Op::Add
        | Op::MaxPool { .. }
        | Op::AveragePool { .. }
        | Op::GlobalAveragePool
        | Op::Flatten
        | Op::Dropout { .. }
        | Op::Softmax => 0,
    };
    out.checked_mul(each)
}
