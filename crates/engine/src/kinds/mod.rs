//! What differs between kinds of tasks in a study: one file a kind. To add one, write a file with a [`Kind`] and its line in
//! [`Kind::open`](open).

mod anomalies;
mod classification;
mod detection;

use kindling_data::{Dataset, View, load_exact};
use kindling_export::{CardDecision, CardUnknown, SplitMetrics};
use kindling_graph::{Found, Graph, Weights};
use kindling_spec::{Objective, Split, TaskKind, TaskSpec};
use kindling_train::{Examples, RungOutcome, TrialConfig};

use crate::release::Release;
use crate::{EngineError, Mistake, Plan};

/// A task's examples, and what its kind makes of a network's answers about them.
///
/// # Contract
/// Answers are those of [`kindling_train::predict`], `[examples, numbers]`, in the order of [`Kind::picks`]; on the validation
/// split in that of [`Examples::validation`].
pub(crate) trait Kind: std::fmt::Debug + Send + Sync {
    /// The names that the model answers with.
    fn classes(&self) -> &[String];

    /// The examples of a side: (example, label), the label being 0 where there is none.
    fn picks(&self, split: Split) -> Vec<(usize, usize)>;

    /// A rung shows the network at least this many images, so that a small data set's first rung tells something.
    fn least_images(&self) -> usize {
        1_500
    }

    /// How many there are of each class on a side: examples, or boxes.
    fn counts(&self, split: Split) -> Vec<u64>;

    /// What is trained of a task's network.
    ///
    /// # Errors
    /// The graph is not of this kind.
    fn trained(&self, graph: Graph) -> Result<Graph, EngineError> {
        Ok(graph)
    }

    /// The examples as classes, where each has one.
    fn view(&self) -> Option<&View> {
        None
    }

    /// The examples as training sees them. `teacher` is for those that have classes.
    fn examples<'a>(
        &'a self,
        dataset: &'a Dataset,
        objective: &'a Objective,
        teacher: Option<&'a [f32]>,
    ) -> Box<dyn Examples + 'a>;

    /// What answers of [`Kind::trained`] on the validation split are worth.
    ///
    /// # Errors
    /// The graph is not of this kind.
    fn validate(&self, graph: &Graph, answers: &[f32], objective: &Objective) -> Result<Validated, EngineError>;

    /// What is still done to a trained network before it is measured, given what was trained, its weights and its answers on the
    /// validation split.
    ///
    /// # Errors
    /// The weights are not the graph's.
    fn settle(&self, plan: &Plan, trained: &TrialConfig, outcome: &RungOutcome) -> Result<Settled, EngineError>;

    /// What the card and the pages say of a model, given its answers on the test split.
    ///
    /// # Errors
    /// Something that is measured beside cannot be read or run.
    fn describe(&self, release: &Release<'_>, test: &[f32]) -> Result<Description, EngineError>;

    /// Pictures, about `most`, by which the ranges of a network of 8 bits are chosen: how many, and themselves as its input is
    /// normalised.
    ///
    /// # Errors
    /// They cannot be read.
    fn calibration(&self, dataset: &Dataset, graph: &Graph, most: usize) -> Result<(usize, Vec<f32>), EngineError> {
        let validation = self.picks(Split::Validation);
        let step = validation.len().div_ceil(most).max(1);
        let picks: Vec<_> = validation.into_iter().step_by(step).collect();
        let input = &graph.input;
        let images = load_exact(dataset, &picks, input.height, &input.mean, &input.std)?;
        Ok((picks.len(), images))
    }

    /// One picture's answer as files give it.
    ///
    /// # Errors
    /// The graph is not of this kind.
    fn file_answer(&self, graph: &Graph, answer: &[f32]) -> Result<Vec<f32>, EngineError>;

    /// What is right of the test split.
    fn right(&self) -> Right<'_>;
}

/// What answers are worth.
pub(crate) struct Validated {
    /// The objective.
    pub(crate) value: f64,
    /// Every figure, for the trial's record.
    pub(crate) metrics: serde_json::Value,
}

/// A network ready to be measured.
pub(crate) struct Settled {
    /// The whole network.
    pub(crate) graph: Graph,
    /// Its weights.
    pub(crate) weights: Weights,
    /// Its answers on the validation split.
    pub(crate) answers: Vec<f32>,
    /// By what the logits were divided.
    pub(crate) temperature: Option<f64>,
}

/// What is said of a model.
pub(crate) struct Description {
    pub(crate) validation: SplitMetrics,
    pub(crate) test: SplitMetrics,
    pub(crate) decision: Option<CardDecision>,
    pub(crate) unknown: Option<CardUnknown>,
    pub(crate) at_least: Option<f64>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// What is right of pictures.
pub(crate) enum Right<'a> {
    /// Each one's label.
    Classes(Vec<usize>),
    /// Gives mAP@.5 and mAP of what was found in each.
    Boxes(Measure<'a>),
}

/// Measures what was found in each picture.
pub(crate) type Measure<'a> = Box<dyn Fn(&[Vec<Found>]) -> [f64; 2] + 'a>;

/// The examples of a task.
///
/// # Errors
/// The data set's labels are of another kind, or a class has no example on a side.
pub(crate) fn open(spec: &TaskSpec, dataset: &Dataset) -> Result<Box<dyn Kind>, EngineError> {
    let groups = spec.groups(&dataset.manifest().classes);
    Ok(match spec.kind {
        TaskKind::ImageClassification => Box::new(classification::Classification::new(dataset, &groups)?),
        TaskKind::ObjectDetection => Box::new(detection::Detection::new(dataset, &groups)?),
        TaskKind::ObjectLocalization => Box::new(detection::Detection::of_one(dataset, &groups)?),
        TaskKind::AnomalyDetection => Box::new(anomalies::Anomalies::new(dataset, &groups, spec)?),
    })
}
