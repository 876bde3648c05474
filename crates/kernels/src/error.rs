//! What can be wrong.

use kindling_graph::GraphError;

/// Why a network cannot be run by the kernels.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// There is no kernel for it; run it with the backend's own operators.
    #[error("the CPU kernels do not know {0}")]
    Unsupported(String),
    /// An array of the wrong size.
    #[error("{what}: {given} numbers were given, {expected} are needed")]
    Size {
        /// Of what.
        what: &'static str,
        /// Numbers given.
        given: usize,
        /// Numbers needed.
        expected: usize,
    },
}
