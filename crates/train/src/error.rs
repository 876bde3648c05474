//! What can go wrong with a trial.

use kindling_data::DataError;
use kindling_graph::GraphError;
use kindling_models::ModelError;

/// Why a rung did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// It was asked to stop.
    #[error("the trial was cancelled")]
    Cancelled,
    /// The loss is no number any more; the genome's learning rate is too high for its network.
    #[error("the loss became {loss} in epoch {epoch}, batch {batch}; a lower learning_rate may help")]
    Diverged {
        /// Epoch from 0.
        epoch: u32,
        /// Batch from 0.
        batch: u32,
        /// What it became.
        loss: f64,
    },
    /// The device failed or cannot be had. A worker ends on this, since a GPU's state is unknown afterwards.
    #[error("device: {0}")]
    Device(String),
    /// The name of a device is not known, or needs another build.
    #[error("{0}")]
    UnknownDevice(String),
    /// A training parameter of the genome is missing or out of its range.
    #[error("genome parameter `{name}` {what}")]
    Genome {
        /// Which.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The checkpoint cannot be used.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A backbone's file cannot be used.
    #[error("backbone file: {0}; fetch it again with `kindling fetch backbone`")]
    Backbone(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Input(String),
    /// The data set cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The graph or its weights are wrong.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The network cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
}
