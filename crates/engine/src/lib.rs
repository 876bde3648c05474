//! Runs studies: takes data sets and tasks in, decides what is trained next, trains it in worker
//! processes, and turns the best trials into models that were re-run before they are offered.
//!
//! Knows nothing of HTTP. Everything it must not forget is in the store before it is acted upon, so
//! any process may be killed at any moment: a restart finds the records, gives the trials of dead
//! workers to living ones, and goes on.

#![forbid(unsafe_code)]

mod access;
mod advice;
mod analysis;
mod clock;
mod curve;
mod datasets;
mod doubts;
mod drafts;
mod duty;
mod error;
mod explain;
mod finishing;
mod fleet;
mod fleets;
mod kinds;
mod machine;
mod models;
mod pretrained;
mod quota;
mod relabel;
mod release;
mod scheduler;
mod service;
mod space;
mod sweep;
mod tasks;
mod teacher;
mod unknown;
mod uploads;
mod warm_start;
mod worker;

pub use access::{NewKey, is_valid};
pub use advice::{Advice, AdviceOptions, AdviceReport, ClassAdvice, Interval, Lever};
pub use analysis::{AnalysisView, Analyst, run_analysis};
pub use clock::now_ms;
pub use curve::CurvePoint;
pub use datasets::labels_for;
pub use doubts::{DoubtEntry, DoubtOptions, DoubtReport, find_doubtful_labels};
pub use drafts::{Accept, Added, LabelRequest, NewDraft, Suggested};
pub use error::EngineError;
pub use fleet::{Crew, MEGABYTE, WorkerFleet};
pub use fleets::{
    FleetComparison, FleetContent, FleetCost, FleetDifference, FleetFile, FleetReport, FleetSide, FleetStatus,
    MemberStatus,
};
pub use machine::resident_bytes;
pub use models::{LeaderboardEntry, Mistake, Object, Pick, Prediction, Said, TestAnswers, say};
pub use relabel::ChangeRequest;
pub use scheduler::{Scheduler, run_scheduler};
pub use service::Service;
pub use space::Plan;
pub use sweep::{Retention, run_sweeper};
pub use tasks::Progress;
pub use worker::{WorkerOptions, run_worker};
