//! Training small networks on the processor: a whole [`Graph`](kindling_graph::Graph) as one program
//! over buffers that are kept, with native backward passes of convolution, normalisation and pools.
//!
//! Knows nothing of data sets, training loops, files, SQL or HTTP.

// The only crate that cannot forbid unsafe code: its loops use vector instructions and pointers into buffers whose sizes
// `compile` has checked once for all steps. Each block says what it relies on.

// Loops over a constant number of registers in several arrays at once: by index they unroll whole.
#![allow(clippy::needless_range_loop)]

mod activation;
mod compile;
mod dense;
mod depthwise;
mod elementwise;
mod error;
mod extension;
mod lanes;
mod norm;
mod optimizer;
mod plan;
mod plane;
mod pool;
mod program;
mod step;
mod window;

pub use error::KernelError;
pub use extension::{OptimizerTensors, Trained, TrainingProgram, optimize, runs_on};
pub use optimizer::{Rule, State, Step};
pub use program::{Answer, Program};
