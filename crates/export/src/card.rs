//! The model card: what a model is, what it was made from, how good it is, what it costs, and how to
//! check each of these again. Plain data, written as `card.json`; `card.md` is the same for people.

use crate::{AnomalyMetrics, FileInfo, SplitMetrics};
use kindling_spec::{Genome, Metric, Split, TaskSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version of this format.
pub const CARD_VERSION: u32 = 1;

/// Whose a trained model is.
pub const OWNERSHIP: &str = "This trained model belongs to the person who made it, together with every file of this \
     bundle. Kindling claims no right in it. Rights in the training images remain with their owners.";

/// Everything known about a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// [`CARD_VERSION`].
    pub version: u32,
    /// The model's id.
    pub model: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The task as it was posted.
    pub task: TaskSpec,
    /// The classes' names in the order of the outputs.
    pub labels: Vec<String>,
    /// What it was made from.
    pub data: CardData,
    /// Figures on the validation split, by which the search chose this model; thus a little too good.
    pub validation: SplitMetrics,
    /// Figures on the test split, which the search never saw.
    pub test: SplitMetrics,
    /// The score from which on to say that an object is there; absent of tasks that find none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// By what the network's logits were divided, so that probabilities mean what they say: chosen on the validation split, held by
    /// the weights of every file already.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// When to say that the objective's class is there; absent of tasks whose objective is no recall at a precision.
    #[serde(default)]
    pub decision: Option<CardDecision>,
    /// Which answers are likely for a picture of none of the labels; absent where there are too few validation images to tell.
    #[serde(default)]
    pub unknown: Option<CardUnknown>,
    /// The 8-bit network; absent where no file of it was asked for. Filled by [`write_bundle`](crate::write_bundle).
    #[serde(default)]
    pub int8: Option<CardInt8>,
    /// What it costs to use.
    pub cost: ModelCost,
    /// What it cost to make.
    pub making: MakingCost,
    /// The network and its training, as drawn from the search space.
    pub genome: Genome,
    /// SHA-256 of the network's canonical graph.json.
    pub graph_sha256: String,
    /// What seeded its training.
    pub seed: u64,
    /// What it was trained on.
    pub device: String,
    /// What it was made with.
    pub versions: Versions,
    /// Whose it is: [`OWNERSHIP`].
    pub ownership: String,
    /// Each file's agreement with the trained network; filled by [`write_bundle`](crate::write_bundle).
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The model's files; filled by [`write_bundle`](crate::write_bundle).
    #[serde(default)]
    pub files: Vec<FileInfo>,
    /// How to check the figures again: [`how_to_check`]; filled by [`write_bundle`](crate::write_bundle).
    #[serde(default)]
    pub how_to_check: Vec<HowTo>,
}

/// What a model was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardData {
    /// The data set's id or `local`.
    pub dataset: String,
    /// The data set's content hash.
    pub sha256: String,
    /// The splits of this task's examples.
    pub splits: Vec<SplitSummary>,
    /// What the data set's audit found.
    pub audit: AuditSummary,
}

/// One split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// Which.
    pub split: Split,
    /// Its examples.
    pub examples: u64,
    /// Its examples of each class, in the order of the labels.
    pub class_counts: Vec<u64>,
    /// [`hash_of_hashes`] of its files, so that anyone who holds the files can tell which were in it.
    pub sha256: String,
}

/// What an audit found, in numbers; the whole audit is with the data set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditSummary {
    /// Files that could not be read as images.
    pub broken: u64,
    /// Groups of files that are the same.
    pub exact_duplicate_groups: u64,
    /// Groups of images that look the same.
    pub near_duplicate_groups: u64,
    /// Groups whose members' labels disagree.
    pub label_conflicts: u64,
    /// What the audit warned of, in words.
    pub warnings: Vec<String>,
}

/// Figures on one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardMetrics {
    /// Examples measured.
    pub examples: u64,
    /// Share answered right.
    pub accuracy: f64,
    /// Wilson's 95% confidence interval of the accuracy (Wilson 1927).
    pub accuracy_ci: [f64; 2],
    /// Mean of the classes' recalls.
    pub balanced_accuracy: f64,
    /// Mean of the classes' F1.
    pub f1_macro: f64,
    /// Mean negative natural logarithm of the right class's probability.
    pub log_loss: f64,
    /// Expected calibration error in ten bins (Guo et al. 2017): how far the share of right answers is from the probability they
    /// are given with, on average.
    #[serde(default)]
    pub calibration_error: Option<f64>,
    /// Answers by their probability, in bins of a tenth, empty ones left out.
    #[serde(default)]
    pub reliability: Vec<ReliabilityBin>,
    /// Of tasks that find anomalies: what else is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomalies: Option<AnomalyMetrics>,
    /// The task's objective.
    pub objective: ObjectiveValue,
    /// In the order of the labels.
    pub per_class: Vec<ClassMetrics>,
    /// Counts, `[true class][answered class]`, in the order of the labels.
    pub confusion: Vec<Vec<u64>>,
}

/// The 8-bit network: measured by running `model.int8.onnx` itself on the whole test split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardInt8 {
    /// Test examples.
    pub examples: u64,
    /// Share answered right; absent of tasks that find objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// As [`BoxMetrics::map50`](crate::BoxMetrics::map50).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map50: Option<f64>,
    /// As [`BoxMetrics::map`](crate::BoxMetrics::map).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<f64>,
    /// Test examples on which the file was compared with the whole-number network, which the files in C, Rust and JavaScript are.
    pub compared: u64,
    /// Share of those answered alike: with the same label, or with the same objects but for what 8 bits allow.
    pub agreement: f64,
    /// Bytes of weights (8 bits) and biases (16 bits); source code and ONNX keep biases in 32 bits, with what is folded into them.
    pub weights_bytes: u64,
    /// Planned peak of activations for one image, one byte each, input included.
    pub peak_ram_bytes: u64,
    /// How the activations' ranges were chosen on validation images.
    pub calibration: String,
}

/// When to say that a class is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardDecision {
    /// The class.
    pub label: String,
    /// Say so where its probability is at least this: the least with which the validation split had the precision that the task
    /// asks for.
    pub at_least: f64,
    /// Share right of the test images of which it is said so; absent if of none.
    pub precision: Option<f64>,
    /// Share of the class's test images of which it is said so; absent if there are none.
    pub recall: Option<f64>,
}

/// Which answers are likely for a picture of none of the labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardUnknown {
    /// Those whose greatest probability is below this.
    pub below: f64,
    /// What that turns away, one entry a kind of images.
    pub refused: Vec<Refused>,
}

/// How many images of a kind are turned away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The kind.
    pub of: String,
    /// Images measured.
    pub images: u64,
    /// Share turned away.
    pub share: f64,
}

/// Answers of about the same probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Answers.
    pub count: u64,
    /// Mean probability that they are given with.
    pub confidence: f64,
    /// Share that is right.
    pub accuracy: f64,
}

/// The task's objective and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveValue {
    /// Which figure.
    pub metric: Metric,
    /// Its value.
    pub value: f64,
}

/// Figures of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Its name.
    pub label: String,
    /// Share of the answers of this class that are right; absent if it was never answered.
    pub precision: Option<f64>,
    /// Share of its examples that were found; absent if there are none.
    pub recall: Option<f64>,
    /// Harmonic mean of the two.
    pub f1: Option<f64>,
    /// Its examples.
    pub support: u64,
}

/// What a model costs to use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCost {
    /// Trained numbers, before folding.
    pub parameters: u64,
    /// Bytes of the weights as deployed, normalisation folded, 32-bit floats.
    pub weights_bytes: u64,
    /// Multiply-accumulates for one image, resize not counted.
    pub macs: u64,
    /// Planned peak of activations for one image, 32-bit floats, input included.
    pub peak_ram_bytes: u64,
    /// The network's own resolution, `[height, width]`.
    pub resolution: [u64; 2],
    /// Time for one image; absent if it was not measured.
    pub latency: Option<CardLatency>,
}

/// Time for one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardLatency {
    /// Half of the runs took no longer.
    pub median_ms: f64,
    /// 95 in 100 runs took no longer.
    pub p95_ms: f64,
    /// Runs measured.
    pub runs: u32,
    /// The processor.
    pub cpu: String,
    /// How it was measured.
    pub method: String,
}

impl From<crate::Latency> for CardLatency {
    fn from(latency: crate::Latency) -> Self {
        let (cpu, method) = (crate::cpu_name(), crate::LATENCY_METHOD.to_owned());
        Self { median_ms: latency.median_ms, p95_ms: latency.p95_ms, runs: latency.runs, cpu, method }
    }
}

/// What a model cost to make, the whole search until it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakingCost {
    /// Candidates started.
    pub trials: u64,
    /// Epochs trained, all candidates together.
    pub epochs: u64,
    /// Images shown to a network in training, repeats counted.
    pub images: u64,
    /// Seconds from the first trial's start.
    pub seconds: f64,
    /// Energy, where the machine tells it.
    pub energy: Energy,
}

/// Energy, or why it is not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// Joules; absent where they are not known.
    pub joules: Option<f64>,
    /// How they were measured, or why they are not known.
    pub note: String,
}

/// What a model was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Kindling's version.
    pub kindling: String,
    /// burn's version.
    pub burn: String,
}

/// One file, run again and compared with the trained network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The file's name.
    pub file: String,
    /// What was done.
    pub how: String,
    /// On how many test images.
    pub images: u64,
    /// Greatest difference of one probability, or of a score or side of an object.
    pub max_difference: f32,
    /// The greatest difference at which the file is still offered.
    pub tolerance: f32,
}

/// How to check one figure again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HowTo {
    /// What is checked.
    pub figure: String,
    /// What to type, in the bundle's folder.
    pub command: String,
}

/// SHA-256 over the files' SHA-256 in lower-case hexadecimal, sorted, each followed by a newline: what
/// `sha256sum FILES | cut -c1-64 | LC_ALL=C sort | sha256sum` gives.
pub fn hash_of_hashes<S: AsRef<str>>(hashes: impl IntoIterator<Item = S>) -> String {
    let mut hashes: Vec<S> = hashes.into_iter().collect();
    hashes.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
    let mut digest = Sha256::new();
    for hash in &hashes {
        digest.update(hash.as_ref());
        digest.update("\n");
    }
    crate::bundle::hex(&digest.finalize())
}
