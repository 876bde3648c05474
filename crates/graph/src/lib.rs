//! A network described once, as plain data: operators with ONNX's names and semantics, their shapes,
//! parameters, cost and memory plan, the passes over them, and a reference executor.
//!
//! Knows nothing of burn, of training, of files or of any export format: whoever trains, costs or
//! exports a network reads it from here, so that no architecture is written twice.
//!
//! ```
//! use kindling_graph::{GraphBuilder, InputSpec};
//! let mut net = GraphBuilder::new(InputSpec::rgb(32));
//! let x = net.conv("stem.conv", net.input(), 8, 3, 2);
//! let x = net.batch_norm("stem.bn", x);
//! let x = net.relu("stem.act", x);
//! let x = net.global_average_pool("head.pool", x);
//! let x = net.flatten("head.flatten", x);
//! let x = net.gemm("head.fc", x, 3);
//! let graph = net.finish(x)?;
//! assert_eq!(graph.output_shape()?, [3]);
//! # Ok::<(), kindling_graph::GraphError>(())
//! ```

#![forbid(unsafe_code)]

mod builder;
mod cost;
mod detect;
mod error;
mod execute;
mod fold;
mod graph;
mod heat;
mod join;
mod lower;
mod op;
mod params;
mod plan;
mod quantize;
mod random;
mod shape;
mod tensor;

pub use builder::GraphBuilder;
pub use cost::{Cost, NodeCost};
pub use detect::{Found, MOST_OBJECTS, find_objects, object_at};
pub use error::GraphError;
pub use execute::{execute, execute_with};
pub use fold::{fold_batch_norm, fold_graph, scale_logits};
pub use graph::{Answer, Graph, InputSpec, Node, NodeId, Source, VERSION};
pub use heat::{Heat, heat};
pub use join::{join_graph, join_weights, part_weights};
pub use lower::{Activation, Convolution, Layer, LayerKind, Lowered, Window, lower};
pub use op::Op;
pub use params::ParamSpec;
pub use plan::{Buffer, MemoryPlan, memory_plan};
pub use quantize::{
    Affine, Calibration, LOGIT_BITS, Multiplier, Quantized, QuantizedKind, QuantizedLayer, SumFactors, quantize,
};
pub use random::{Statistics, random_weights, random_weights_with};
pub use shape::{MAX_ACTIVATION, MAX_NODES, MAX_PARAMETERS};
pub use tensor::{Tensor, Weights};
