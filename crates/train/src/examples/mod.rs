//! What differs between kinds of tasks while a network is trained: one file a kind.

mod boxed;
mod good;
mod labelled;

pub use boxed::{BoxedExamples, truths};
pub use good::{GoodExamples, spoil};
pub use labelled::LabelledExamples;

use crate::{HostBatch, Hyperparameters, TrainError};
use kindling_graph::{Graph, InputSpec};

/// A task's examples.
///
/// # Contract
/// A batch depends on the draw and the examples chosen alone.
pub trait Examples: Sync {
    /// How many there are to train on.
    fn count(&self) -> usize;

    /// That the network answers what they teach, and the settings and examples can be used.
    ///
    /// # Errors
    /// [`TrainError::Input`] saying what does not fit.
    fn check(&self, graph: &Graph, settings: &Hyperparameters) -> Result<(), TrainError>;

    /// A batch of the training examples of these numbers, each below [`Examples::count`].
    ///
    /// # Errors
    /// Those of the data.
    fn batch(&self, draw: &Draw<'_>, chosen: &[usize]) -> Result<HostBatch, TrainError>;

    /// The validation split: (example, label), the label being 0 where there is none.
    fn validation(&self) -> Vec<(usize, usize)>;

    /// Makes the pictures of the validation split, `[examples, C, H, W]` as the graph's input is normalised, what the network is
    /// asked about: nothing, but where defects are drawn.
    ///
    /// # Errors
    /// Those of the data.
    fn prepare(&self, _: &Graph, _images: &mut [f32]) -> Result<(), TrainError> {
        Ok(())
    }

    /// What answers on the validation split are worth, as [`predict`](crate::predict) gives them.
    fn judge(&self, graph: &Graph, answers: &[f32]) -> Verdict;
}

/// Where a batch belongs and how it is made.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// What goes into the network.
    pub input: &'a InputSpec,
    /// Rows and columns of what comes out, where that is a map; else 1 and 1.
    pub map: [usize; 2],
    /// How the pictures are varied and the targets made.
    pub settings: &'a Hyperparameters,
    /// The trial's seed.
    pub seed: u64,
    /// The epoch.
    pub epoch: u32,
    /// The batch's number in it.
    pub batch: u32,
}

/// What answers are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The figure that the study works towards.
    pub objective: f64,
    /// What decides between equals, less being better.
    pub loss: f64,
}
