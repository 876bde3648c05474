//! The model card: what a model is, what it was made from, how good it is, what it costs, and how to
//! check each of these again. Plain data, written as `card.json`; `card.md` is the same for people.

use crate::FileInfo;
use kindling_graph::Answer;
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

/// Figures on one split, by the kind of the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SplitMetrics {
    /// Of one class an image.
    Classes(CardMetrics),
    /// Of boxes in images.
    Boxes(BoxMetrics),
}

impl SplitMetrics {
    /// Those of one class an image, if they are.
    pub fn classes(&self) -> Option<&CardMetrics> {
        match self {
            Self::Classes(metrics) => Some(metrics),
            Self::Boxes(_) => None,
        }
    }

    /// Those of boxes, if they are.
    pub fn boxes(&self) -> Option<&BoxMetrics> {
        match self {
            Self::Classes(_) => None,
            Self::Boxes(metrics) => Some(metrics),
        }
    }

    /// Examples measured.
    pub fn examples(&self) -> u64 {
        match self {
            Self::Classes(metrics) => metrics.examples,
            Self::Boxes(metrics) => metrics.examples,
        }
    }

    /// The task's objective.
    pub fn objective(&self) -> &ObjectiveValue {
        match self {
            Self::Classes(metrics) => &metrics.objective,
            Self::Boxes(metrics) => &metrics.objective,
        }
    }
}

impl From<CardMetrics> for SplitMetrics {
    fn from(metrics: CardMetrics) -> Self {
        Self::Classes(metrics)
    }
}

impl From<BoxMetrics> for SplitMetrics {
    fn from(metrics: BoxMetrics) -> Self {
        Self::Boxes(metrics)
    }
}

/// How well objects are found on one split. What there is no box to measure by is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoxMetrics {
    /// Images measured.
    pub examples: u64,
    /// True boxes in them.
    pub boxes: u64,
    /// Mean of the classes' average precision, a box being right where it overlaps a true one by half (intersection over union).
    pub map50: Option<f64>,
    /// The same, mean over overlaps from .5 to .95: COCO's AP.
    pub map: Option<f64>,
    /// Harmonic mean of precision and recall at the card's `at_least`, an object being right where its centre lies in a true box.
    pub centroid_f1: Option<f64>,
    /// Share of the objects said at the card's `at_least` that overlap a true box by half.
    pub precision: Option<f64>,
    /// Share of the true boxes that are found so.
    pub recall: Option<f64>,
    /// In the order of the labels.
    pub per_class: Vec<BoxClassMetrics>,
    /// The task's objective.
    pub objective: ObjectiveValue,
}

/// How well one class's objects are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoxClassMetrics {
    /// Its name.
    pub label: String,
    /// Average precision at an overlap of half; absent if there are no true boxes.
    pub ap50: Option<f64>,
    /// Mean of it over overlaps from .5 to .95.
    pub ap: Option<f64>,
    /// Share of the objects said that are right; absent if none was said.
    pub precision: Option<f64>,
    /// Share of its true boxes that were found; absent if there are none.
    pub recall: Option<f64>,
    /// Its true boxes.
    pub boxes: u64,
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
    /// As [`BoxMetrics::map50`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map50: Option<f64>,
    /// As [`BoxMetrics::map`].
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

/// How to check a bundle's figures again, for the files it holds.
pub fn how_to_check(files: &[FileInfo], answer: Answer) -> Vec<HowTo> {
    let how = |figure: &str, command: &str| HowTo { figure: figure.into(), command: command.into() };
    let mut list = vec![how("that no file was changed since it was written", "sha256sum -c SHA256SUMS")];
    let has = |name: &str| files.iter().any(|file| file.name == name);
    if has("predict.py") {
        list.push(how("the answer for some images, with nothing of ours", "python3 predict.py IMAGE..."));
        if answer == Answer::Boxes {
            list.push(how("the same, drawn over the image", "python3 predict.py --draw OUT.png IMAGE"));
        }
    }
    if has("model.onnx") {
        list.push(how("the answer for some images", "kindling predict model.onnx IMAGE..."));
    }
    if has("model.onnx") && answer == Answer::Boxes {
        list.push(how(
            "average precision, on a folder of images with their boxes in COCO's JSON, whose categories bear the labels' names (needs \
             Python with onnxruntime, numpy, pillow and pycocotools; lay images with transparency over white first)",
            AVERAGE_PRECISION,
        ));
    }
    if has("model.onnx") && answer == Answer::Classes {
        list.push(how(
            "accuracy and confusion matrix, on a folder that holds one folder a label (needs Python with onnxruntime, numpy and pillow; \
             lay images with transparency over white first)",
            ACCURACY,
        ));
    }
    list.push(how(
        "which files were in a split: compare with the split's `sha256`",
        "sha256sum FOLDER/*/* | cut -c1-64 | LC_ALL=C sort | sha256sum",
    ));
    list
}

/// Measures average precision with nothing of ours.
const AVERAGE_PRECISION: &str = r#"python3 - FOLDER BOXES.json <<'END'
import json, pathlib, sys
import numpy, onnxruntime
from PIL import Image, ImageOps
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
truth = COCO(sys.argv[2])
numbers = {kind["name"]: kind["id"] for kind in truth.dataset["categories"]}
found = []
for picture in truth.dataset["images"]:
    image = ImageOps.exif_transpose(Image.open(pathlib.Path(sys.argv[1], picture["file_name"]))).convert("RGB")
    answer = session.run(["boxes", "scores", "classes"], {"image": numpy.asarray(image)[None]})
    for box, score, kind in zip(*(part[0] for part in answer)):
        left, top, right, bottom = (float(side) for side in box * (image.size * 2))
        if score > 0:
            found.append({"image_id": picture["id"], "category_id": numbers[labels[kind]], "score": float(score),
                          "bbox": [left, top, right - left, bottom - top]})
measure = COCOeval(truth, truth.loadRes(found), "bbox")
measure.params.catIds = [numbers[label] for label in labels]
measure.evaluate()
measure.accumulate()
measure.summarize()
END"#;

/// Measures accuracy with nothing of ours.
const ACCURACY: &str = r#"python3 - FOLDER <<'END'
import json, pathlib, sys
import numpy, onnxruntime
from PIL import Image, ImageOps
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
confusion = numpy.zeros((len(labels), len(labels)), int)
for truth, label in enumerate(labels):
    for path in sorted(pathlib.Path(sys.argv[1], label).iterdir()):
        image = numpy.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        answer = session.run(None, {"image": image[None]})[0][0].argmax()
        confusion[truth, answer] += 1
print(labels, confusion, sep="\n")
print("accuracy", confusion.trace() / confusion.sum())
END"#;
