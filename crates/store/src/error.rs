//! Everything that can go wrong here.

use kindling_spec::{DatasetState, ErrorCode};
use std::path::PathBuf;

use crate::Outage;

/// What a missing or doubled record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Noun {
    /// A data set.
    Dataset,
    /// A task.
    Task,
    /// A fleet.
    Fleet,
    /// A trial.
    Trial,
    /// A model.
    Model,
    /// An analysis.
    Analysis,
    /// A draft data set.
    Draft,
    /// A picture of a draft data set.
    DraftExample,
    /// A file.
    File,
    /// A project.
    Project,
    /// An access key.
    Key,
    /// An upload in parts.
    Upload,
    /// A webhook.
    Webhook,
}

impl std::fmt::Display for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dataset => "data set",
            Self::Task => "task",
            Self::Fleet => "fleet",
            Self::Trial => "trial",
            Self::Model => "model",
            Self::Analysis => "analysis",
            Self::Draft => "draft data set",
            Self::DraftExample => "example",
            Self::File => "file",
            Self::Project => "project",
            Self::Key => "key",
            Self::Upload => "upload",
            Self::Webhook => "webhook",
        })
    }
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No record or file of this name.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What was looked for.
        what: Noun,
        /// Its id or key.
        id: String,
    },
    /// A record of this id or number is there already.
    #[error("there is a {what} `{id}` already")]
    Exists {
        /// What was to be made.
        what: Noun,
        /// Its id, or what else must be unique.
        id: String,
    },
    /// A task needs a sealed data set.
    #[error("data set `{id}` is {state}, not ready: upload its content and wait until it is sealed")]
    DatasetNotReady {
        /// The data set.
        id: String,
        /// Its state.
        state: DatasetState,
    },
    /// A key that is not allowed.
    #[error("`{key}` is not a key of a file: {reason}")]
    InvalidKey {
        /// The key.
        key: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A value that the store does not keep.
    #[error("{what} is {given}, which is not a number that can be compared")]
    NotFinite {
        /// Which value.
        what: &'static str,
        /// The value.
        given: f64,
    },
    /// A stored value that cannot be read back.
    #[error("{table}.{column} of `{id}` cannot be read: {reason}")]
    Corrupt {
        /// Where it is.
        table: &'static str,
        /// Which part of the record.
        column: &'static str,
        /// Which record.
        id: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// The address of a database or an object store that is not understood.
    #[error("`{given}` is not an address to keep things at: {reason}")]
    Address {
        /// What was given, without what may be secret.
        given: String,
        /// What is understood.
        reason: &'static str,
    },
    /// The database was written by a later version.
    #[error("{database} was written by a later version of Kindling (it has migration {version}); use that version")]
    TooNew {
        /// The database.
        database: String,
        /// The migration that this version does not know.
        version: i64,
    },
    /// The database refused or is not there.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The database could not be brought up to date.
    #[error("the database's migrations: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The queue refused or is not there.
    #[error("the queue: {0}")]
    Queue(String),
    /// The file store refused or is not there.
    #[error("file `{key}`: {source}")]
    Files {
        /// The file's key.
        key: String,
        /// What the file store said.
        source: object_store::Error,
    },
    /// The local disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A value could not be written as JSON.
    #[error("a value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl StoreError {
    /// The stable code to tell a client.
    pub fn code(&self) -> ErrorCode {
        if let Some(outage) = Outage::of(self) {
            return outage.code();
        }
        match self {
            Self::NotFound { what: Noun::Dataset, .. } => ErrorCode::DatasetNotFound,
            Self::NotFound { what: Noun::Task, .. } => ErrorCode::TaskNotFound,
            Self::NotFound { what: Noun::Fleet, .. } => ErrorCode::FleetNotFound,
            Self::NotFound { what: Noun::Model, .. } => ErrorCode::ModelNotFound,
            Self::NotFound { what: Noun::File, .. } | Self::InvalidKey { .. } => ErrorCode::FileNotFound,
            Self::NotFound { what: Noun::Analysis, .. } => ErrorCode::AnalysisNotFound,
            Self::NotFound { what: Noun::Draft, .. } => ErrorCode::DraftNotFound,
            Self::NotFound { what: Noun::DraftExample, .. } => ErrorCode::ExampleNotFound,
            Self::NotFound { what: Noun::Upload, .. } => ErrorCode::UploadNotFound,
            Self::NotFound { what: Noun::Webhook, .. } => ErrorCode::WebhookNotFound,
            Self::NotFound { what: Noun::Trial | Noun::Project | Noun::Key, .. } => ErrorCode::NotFound,
            Self::DatasetNotReady { .. } => ErrorCode::DatasetNotReady,
            Self::Exists { .. }
            | Self::NotFinite { .. }
            | Self::Corrupt { .. }
            | Self::Address { .. }
            | Self::TooNew { .. }
            | Self::Database(_)
            | Self::Migrate(_)
            | Self::Queue(_)
            | Self::Files { .. }
            | Self::Io { .. }
            | Self::Json(_) => ErrorCode::Internal,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
