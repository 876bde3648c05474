//! Families (genome to graph), task heads (metrics and decoding), and [`Network`], the burn module
//! that executes any [`Graph`](kindling_graph::Graph).
//!
//! Knows nothing of data sets, files, training loops, SQL or HTTP.

#![forbid(unsafe_code)]

pub mod backbones;
mod error;
pub mod families;
mod initial;
mod learner;
mod network;
mod ops;
pub mod random;
pub mod reference;
pub mod tasks;

pub use error::ModelError;
pub use families::{FAMILIES, Family, build_graph, default_genomes};
pub use initial::initial_weights;
pub use learner::{Learner, Leaves, Pass};
pub use network::{BatchStatistics, Network};
