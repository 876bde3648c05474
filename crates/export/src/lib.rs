//! From a trained graph to files that run anywhere: one module per format in `formats`, each file
//! re-run before it is offered, the model card, and the bundle that holds them all.
//!
//! Knows nothing of burn, of searching, of databases or of HTTP. It takes a [`Graph`](kindling_graph::Graph),
//! its weights, and the answers the trained network gave on some images ([`Judge`]); it writes files
//! whose own answers agree with those, or nothing.

#![forbid(unsafe_code)]

mod answer;
mod archive;
mod bundle;
mod card;
mod card_markdown;
mod error;
mod fleet;
pub mod formats;
mod how_to_check;
mod int8_file;
mod latency;
mod machine;
mod onnx_proto;
mod preprocess;
mod runtime;
mod split_metrics;
mod verify;

pub use answer::{AT_LEAST, LEAST_SCORE, OBJECT_NUMBERS, objects_answer};
pub use archive::{bundle_zip, zip_files};
pub use bundle::{BundleInput, FileInfo, Int8, Judge, Truth, write_bundle};
pub use card::{
    AuditSummary, CARD_VERSION, Card, CardData, CardDecision, CardInt8, CardLatency, CardMetrics, CardUnknown, Check,
    ClassMetrics, Energy, HowTo, MakingCost, ModelCost, OWNERSHIP, ObjectiveValue, Refused, ReliabilityBin,
    SplitSummary, Versions, hash_of_hashes,
};
pub use error::ExportError;
pub use fleet::{FLEET_VERSION, FleetEntry, FleetManifest, ROUTER, folder_name};
pub use how_to_check::how_to_check;
pub use latency::{LATENCY_METHOD, Latency, measure_latency};
pub use machine::{EnergyMeter, cpu_name};
pub use runtime::OnnxModel;
pub use split_metrics::{AnomalyMetrics, BoxClassMetrics, BoxMetrics, FaultMetrics, SplitMetrics};
pub use verify::{Example, Finding, verify_bundle};

/// The folded network alone as ONNX, for measuring: float `[1, C, H, W]`, normalised, in; what the graph gives out.
///
/// # Errors
/// [`ExportError::Graph`] if graph or weights are not valid.
pub fn network_onnx(graph: &kindling_graph::Graph, weights: &kindling_graph::Weights) -> Result<Vec<u8>, ExportError> {
    graph.check_weights(weights)?;
    let (graph, weights) = kindling_graph::fold_batch_norm(graph, weights)?;
    formats::network_only(&graph, &weights)
}

/// The network of a bundle's folder: its `graph.json` and `weights.safetensors`.
///
/// # Errors
/// If one is missing, broken, or not of the other.
pub fn network_files(dir: &std::path::Path) -> Result<(kindling_graph::Graph, kindling_graph::Weights), ExportError> {
    formats::read_network(dir)
}

/// The greatest difference of one probability, or of a score or side of an object, between a written file and the trained network at
/// which the file is still offered.
pub const TOLERANCE: f32 = 1e-4;
