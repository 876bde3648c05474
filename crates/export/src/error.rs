//! What can go wrong while writing, reading or running a model's files.

use kindling_graph::GraphError;
use std::path::{Path, PathBuf};

/// Says what is wrong, where, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The graph or its weights are not valid, or do not belong together.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// What was handed in to be written is not complete or not consistent.
    #[error("the bundle cannot be written: {0}")]
    Input(String),
    /// A format cannot express this graph.
    #[error("{format} cannot express this network: {what}")]
    Unsupported {
        /// The format's word.
        format: &'static str,
        /// What it cannot express.
        what: String,
    },
    /// A written file, run again, does not answer as the trained network did.
    #[error(
        "{file} answers {difference:e} away from the trained network on {image} (at most {tolerance:e} is allowed); nothing was kept"
    )]
    Disagrees {
        /// The file's name.
        file: String,
        /// The image's name.
        image: String,
        /// Greatest difference of a probability; NaN if the file answered with something not a number.
        difference: f32,
        /// The greatest difference allowed.
        tolerance: f32,
    },
    /// A written file does not read back as what was written.
    #[error("{file} does not read back as it was written: {what}; nothing was kept")]
    ReadBack {
        /// The file's name.
        file: String,
        /// What differs.
        what: String,
    },
    /// The bytes are not a model that this program can run.
    #[error("not a model this program can run: {0}")]
    Model(String),
    /// The image handed to a model is not one.
    #[error("the image cannot be used: {0}")]
    Image(String),
    /// The runtime failed on a file.
    #[error("running {what} failed: {reason}")]
    Runtime {
        /// What was run.
        what: String,
        /// The runtime's words.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The archive could not be written.
    #[error("the zip could not be written: {0}")]
    Zip(String),
}

impl ExportError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn runtime(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        // The alternate form joins the whole chain of causes.
        Self::Runtime { what: what.into(), reason: format!("{reason:#}") }
    }
}
