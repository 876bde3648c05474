//! What can go wrong with a network.

use kindling_graph::GraphError;

/// Why a network cannot be built, loaded or run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The graph or its weights are wrong.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The kernels were given something else than the graph needs.
    #[error(transparent)]
    Kernel(#[from] kindling_kernels::KernelError),
    /// A burnpack file cannot be written or read.
    #[error("model.burnpack: {0}")]
    Record(String),
    /// A checkpoint of another library cannot be used.
    #[error("PyTorch checkpoint: {0}")]
    Checkpoint(String),
    /// The device failed.
    #[error("device: {0}")]
    Device(String),
}
