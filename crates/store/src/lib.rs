//! What outlives a process: records in SQL, files in an object store, and the queue of work.
//!
//! Several processes open the same data directory, or the same database and object store, at once. Knows nothing of training, search policy or
//! HTTP: it keeps what it is told, and the conditions under which a record may change.

#![forbid(unsafe_code)]
// `sql` is compiled once for each database, on purpose.
#![allow(clippy::duplicate_mod)]

mod access;
mod apalis_queue;
mod backup;
pub mod conformance;
mod drafts;
mod error;
mod figures;
mod file_cache;
mod files;
mod metadata;
mod outage;
mod owners;
mod postgres;
mod queue;
mod records;
mod scoped;
mod sqlite;
mod store;

pub use access::{
    Delivered, DeliveryRecord, DeliveryState, KeyRecord, PartRecord, ProjectRecord, Quota, UploadRecord, Usage,
    WebhookRecord,
};
pub use backup::{back_up, restore};
pub use drafts::{
    Annotation, DraftBox, DraftCounts, DraftExampleRecord, DraftFilter, DraftRecord, DraftState, Suggestion,
};
pub use error::{Noun, StoreError};
pub use figures::{DutyRecord, RUNG_BOUNDS, Removal, RungFigures, StoredBytes};
pub use file_cache::FileCache;
pub use files::{FileInfo, FileStream, Files};
pub use metadata::Metadata;
pub use outage::Outage;
pub use queue::{Delivery, Job, Queue, Receipt};
pub use records::{
    AnalysisRecord, AnalysisUpdate, Beat, DatasetRecord, DatasetUpdate, Deletion, Event, FileRecord, FleetMember,
    FleetRecord, LabelKind, ModelRecord, Problem, Reaped, Remembered, RungResult, SavedResponse, TaskRecord,
    TrialRecord, WorkerRecord, event_kind,
};
pub use store::{Place, Store};
