//! What a person asks for and what everyone calls it: task specifications, genomes and search
//! spaces, ids, states and error codes.
//!
//! Knows nothing of files, tensors, SQL or HTTP: plain data, parsed once and valid afterwards.

#![forbid(unsafe_code)]

mod error;
mod fleet;
#[cfg(any(test, fuzzing))]
pub mod foreign;
mod genome;
mod ids;
mod json;
mod metric;
pub mod schema;
mod state;
mod task;
mod validate;

pub use error::ErrorCode;
pub use fleet::{FleetObjective, FleetSpec, FleetTask};
pub use genome::{Domain, FamilySpace, Genome, Param, SearchSpace, Value};
pub use ids::{
    AnalysisId, DatasetId, DraftId, FleetId, IdError, KeyId, ModelId, ProjectId, TaskId, TrialId, UploadId, WebhookId,
};
pub use json::Json;
pub use metric::{Direction, Metric, Objective};
pub use state::{AnalysisKind, AnalysisState, DatasetState, Scope, Split, TaskState, TrialState};
pub use task::{BackboneName, Budget, Classes, Constraints, DataType, ExportFormat, TaskKind, TaskSpec, WarmStart};
pub use validate::{SpecError, Violation};
