//! Everything that can go wrong here, each with its stable code.

use kindling_data::DataError;
use kindling_export::ExportError;
use kindling_spec::{ErrorCode, SpecError, Violation};
use kindling_store::{Outage, StoreError};
use kindling_train::TrainError;
use std::path::PathBuf;
use std::time::Duration;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The task specification breaks rules.
    #[error("{0}")]
    Spec(#[from] SpecError),
    /// The request cannot be carried out; the text says why and how to mend it.
    #[error("{detail}")]
    Refused {
        /// The stable code.
        code: ErrorCode,
        /// What is wrong and how to mend it.
        detail: String,
    },
    /// The project has used up what it may use; the text says what of it and how to mend it.
    #[error("{detail}")]
    Quota {
        /// What is used up and how to mend it.
        detail: String,
        /// How long to wait, where waiting helps.
        retry_after: Option<Duration>,
    },
    /// The data or one image.
    #[error("{0}")]
    Data(#[from] DataError),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Training or the device.
    #[error("{0}")]
    Train(#[from] TrainError),
    /// Writing or running a model's files.
    #[error("{0}")]
    Export(#[from] ExportError),
    /// Building a network from a genome.
    #[error("{0}")]
    Model(#[from] kindling_models::ModelError),
    /// Costing a graph.
    #[error("{0}")]
    Graph(#[from] kindling_graph::GraphError),
    /// The operating system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored JSON value is not of the expected form.
    #[error("a stored value cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A background thread ended without an answer.
    #[error("a background thread failed: {0}")]
    Thread(String),
}

impl EngineError {
    pub(crate) fn refused(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::Refused { code, detail: detail.into() }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        if let Some(outage) = Outage::of(self) {
            return outage.code();
        }
        match self {
            Self::Spec(_) => ErrorCode::InvalidSpec,
            Self::Refused { code, .. } => *code,
            Self::Quota { .. } => ErrorCode::QuotaExceeded,
            Self::Data(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Train(_)
            | Self::Export(_)
            | Self::Model(_)
            | Self::Graph(_)
            | Self::Io { .. }
            | Self::Json(_)
            | Self::Thread(_) => ErrorCode::Internal,
        }
    }

    /// What a client may be told: internal errors say nothing of the inside.
    pub fn detail(&self) -> String {
        match (Outage::of(self), self.code()) {
            (Some(outage), _) => outage.detail().to_owned(),
            (None, ErrorCode::Internal) => "something failed inside the service; its log says what".to_owned(),
            (None, _) => self.to_string(),
        }
    }

    /// The broken rules of a specification; empty for other errors.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Spec(error) => &error.violations,
            _ => &[],
        }
    }
}

/// Runs blocking work on a thread of its own.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, EngineError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, EngineError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|e| EngineError::Thread(e.to_string()))?
}
