//! What clients see of the records: all that is of use to them, nothing of the inside (tokens, keys, pids).
//! Times are Unix milliseconds.

use kindling_data::{Example, LabelledBox, Labels, Manifest};
use kindling_engine::{FleetStatus, LeaderboardEntry, MemberStatus, Mistake, Object, Prediction, Progress, Said};
use kindling_spec::DatasetId;
use kindling_store::{DatasetRecord, FileRecord, FleetRecord, LabelKind, RungResult, TaskRecord, TrialRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::words;

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// The next page's `after`; null on the last page.
    pub(crate) next: Option<String>,
}

impl<T> List<T> {
    /// A page out of one item more than asked for.
    pub(crate) fn page(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Self { next: items.last().filter(|_| more).map(key), items }
    }

    pub(crate) fn map<U>(self, with: impl Fn(T) -> U) -> List<U> {
        List { items: self.items.into_iter().map(with).collect(), next: self.next }
    }
}

/// What `POST /v1/datasets` takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDataset {
    /// A name for people, 1 to 200 characters.
    pub(crate) name: String,
    /// What its labels are for.
    #[schema(schema_with = words::task_kind)]
    pub(crate) kind: kindling_spec::TaskKind,
    /// What its labels are: a class for each picture, or boxes with classes. Left out, what the kind wants.
    #[serde(default)]
    #[schema(schema_with = words::labels, required = false)]
    pub(crate) labels: Option<LabelKind>,
}

/// What `POST /v1/tasks/{id}/resume` takes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoreBudget {
    /// Seconds to add; a task that has none left needs one at least.
    #[serde(default)]
    #[schema(exclusive_minimum = 0, maximum = 2592000)]
    pub(crate) seconds: Option<f64>,
    /// Trials to add.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100000)]
    pub(crate) trials: Option<u32>,
}

/// Why content was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refusal {
    /// The stable code.
    #[schema(schema_with = words::error_code)]
    code: &'static str,
    /// What, where and how to mend it.
    detail: String,
}

/// A data set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Dataset {
    /// Its id.
    id: String,
    /// A name for people.
    name: String,
    /// What its labels are for.
    #[schema(schema_with = words::task_kind)]
    kind: &'static str,
    /// What its labels are: a class for each picture, or boxes with classes.
    #[schema(schema_with = words::labels)]
    labels: &'static str,
    /// Where it stands.
    #[schema(schema_with = words::dataset_state)]
    state: &'static str,
    /// Why its content was refused.
    problem: Option<Refusal>,
    /// SHA-256 over its classes and pictures, once sealed.
    hash: Option<String>,
    /// Once sealed: `classes`, `counts` by class and split, `examples`, `audit`. Where the labels are boxes, `counts` are
    /// of pictures that show the class, `boxes` is how many there are and `box_counts` are by class and split.
    summary: Option<Value>,
    /// When it was made.
    created_at: i64,
    /// When it last changed.
    updated_at: i64,
}

impl From<DatasetRecord> for Dataset {
    fn from(record: DatasetRecord) -> Self {
        Self {
            id: record.id.into(),
            name: record.name,
            kind: record.kind.as_str(),
            labels: record.labels.as_str(),
            state: record.state.as_str(),
            problem: record.problem.map(|p| Refusal { code: p.code.as_str(), detail: p.detail }),
            hash: record.hash,
            summary: record.summary,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// One labelled picture.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Example)]
pub(crate) struct ExampleView {
    /// Its number, from 0.
    pub(crate) index: usize,
    /// Its path in the upload.
    path: String,
    /// Its class; where the labels are boxes, that of the largest box, or null without any.
    class: Option<String>,
    /// What is where in it, where the labels are boxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    boxes: Option<Vec<BoxView>>,
    /// The side it is on.
    #[schema(schema_with = words::split)]
    split: &'static str,
    /// SHA-256 of its file.
    sha256: String,
    /// The size of its file.
    bytes: u64,
    /// Width in pixels, upright.
    width: u32,
    /// Height in pixels, upright.
    height: u32,
    /// Its group of look-alikes.
    group: u32,
    /// Where its file is.
    image: String,
}

/// Something in a picture. Its place is in shares of the upright picture's width and height.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Box)]
pub(crate) struct BoxView {
    /// Its class.
    pub(crate) class: String,
    /// Of the left side.
    pub(crate) x: f32,
    /// Of the upper side.
    pub(crate) y: f32,
    /// To the right.
    pub(crate) width: f32,
    /// Downwards.
    pub(crate) height: f32,
}

impl ExampleView {
    pub(crate) fn new(dataset: &DatasetId, index: usize, example: &Example, manifest: &Manifest) -> Self {
        let boxed = |b: &LabelledBox| {
            let class = manifest.classes.get(b.class).cloned().unwrap_or_default();
            BoxView { class, x: b.x, y: b.y, width: b.width, height: b.height }
        };
        let has_boxes = manifest.labels == Labels::Boxes;
        Self {
            index,
            path: example.path.clone(),
            class: manifest.class_of(example).map(str::to_owned),
            boxes: has_boxes.then(|| example.boxes.iter().map(boxed).collect()),
            split: example.split.as_str(),
            sha256: example.sha256.clone(),
            bytes: example.bytes,
            width: example.width,
            height: example.height,
            group: example.group,
            image: format!("/v1/datasets/{dataset}/examples/{index}/image"),
        }
    }
}

/// A task and its study.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Task {
    /// Its id.
    pub(crate) id: String,
    /// What was asked for.
    #[schema(value_type = Object)]
    spec: Value,
    /// The data set it learns from.
    dataset: String,
    /// Where it stands.
    #[schema(schema_with = words::task_state)]
    state: &'static str,
    /// Why it ended as it did.
    reason: Option<String>,
    /// The budget granted in all.
    #[schema(value_type = Object)]
    budget: Value,
    /// Seconds of it spent.
    spent_seconds: f64,
    /// When it was posted.
    created_at: i64,
    /// When its first trial started.
    started_at: Option<i64>,
    /// When it ended.
    ended_at: Option<i64>,
    /// The best model so far.
    best_model: Option<String>,
}

impl TryFrom<TaskRecord> for Task {
    type Error = serde_json::Error;

    fn try_from(record: TaskRecord) -> Result<Self, Self::Error> {
        Ok(Self {
            id: record.id.into(),
            spec: serde_json::to_value(record.spec)?,
            dataset: record.dataset.into(),
            state: record.state.as_str(),
            reason: record.reason,
            budget: serde_json::to_value(record.budget)?,
            spent_seconds: record.spent_seconds,
            created_at: record.created_at,
            started_at: record.started_at,
            ended_at: record.ended_at,
            best_model: record.best_model.map(Into::into),
        })
    }
}

/// A task with how its study stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskWithProgress {
    #[serde(flatten)]
    pub(crate) task: Task,
    /// How the study stands: `state`, `reason`, `trials` by state, `trials_started`, `seconds_spent`,
    /// `seconds_total`, `seconds_left`, `trials_left`, `best`.
    #[schema(value_type = Object)]
    pub(crate) progress: Progress,
    /// The best model so far, as on the leaderboard.
    #[schema(value_type = Option<LeaderboardItem>)]
    pub(crate) best: Option<LeaderboardEntry>,
}

/// A fleet and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Fleet {
    /// Its id.
    id: String,
    /// What was asked for.
    #[schema(value_type = Object)]
    spec: Value,
    /// The data set its tasks learn from.
    dataset: String,
    /// Where it stands: that of its tasks, taken together.
    #[schema(schema_with = words::task_state)]
    state: &'static str,
    /// Why it ended as it did.
    reason: Option<String>,
    /// Its tasks in the order they run.
    tasks: Vec<FleetMember>,
    /// When it was posted.
    created_at: i64,
}

/// A task of a fleet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FleetMember {
    /// The class that it finds; null for the single model that tells all classes apart.
    class: Option<String>,
    /// The task.
    task: String,
    /// Where it stands.
    #[schema(schema_with = words::task_state)]
    state: &'static str,
    /// As a task's `progress`.
    #[schema(value_type = Object)]
    progress: Progress,
    /// The best model so far.
    #[schema(value_type = Option<LeaderboardItem>)]
    best: Option<LeaderboardEntry>,
}

impl Fleet {
    pub(crate) fn new(record: FleetRecord, status: FleetStatus) -> Result<Self, serde_json::Error> {
        let member = |MemberStatus { class, task, progress }| FleetMember {
            class,
            task: task.into(),
            state: progress.state.as_str(),
            best: progress.best.clone(),
            progress,
        };
        Ok(Self {
            id: record.id.into(),
            spec: serde_json::to_value(record.spec)?,
            dataset: record.dataset.into(),
            state: status.state.as_str(),
            reason: status.reason,
            tasks: status.members.into_iter().map(member).collect(),
            created_at: record.created_at,
        })
    }
}

/// The schema of a [`kindling_engine::FleetReport`].
#[derive(ToSchema)]
#[expect(dead_code, reason = "it stands for the engine's type in the OpenAPI document")]
pub(crate) struct FleetReport {
    /// The fleet.
    fleet: String,
    /// Every task is over.
    complete: bool,
    /// The precision at which recalls are compared.
    precision: f64,
    /// Test examples that the models were asked about.
    test_examples: u64,
    /// A comparison for each class with a specialist: `class`, `positives` (its test examples), `specialist` and
    /// `single` (each null until there is a model, else `task`, `model`, `recall`, `recall_ci`, `threshold`,
    /// `average_precision`, `average_precision_ci`, `weights_bytes`, `macs`, `ram_bytes`, `latency_ms`), and
    /// `difference` (`recall`, `recall_ci`, `average_precision`, `average_precision_ci`), the specialist's figures
    /// less the single model's.
    #[schema(value_type = Vec<Object>)]
    classes: Vec<Value>,
    /// The specialists together: `models`, `weights_bytes`, `macs`, `latency_ms`.
    #[schema(value_type = Object)]
    specialists: Value,
    /// The single model, the same.
    #[schema(value_type = Option<Object>)]
    single: Option<Value>,
    /// How all this was measured.
    method: String,
}

/// One candidate.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trial {
    /// Its id.
    id: String,
    /// The task it is of.
    task: String,
    /// Its number within the task.
    pub(crate) number: u32,
    /// The network and its training: `family` and `params`.
    #[schema(value_type = Object)]
    genome: kindling_spec::Genome,
    /// What the network costs, known before training.
    cost: Value,
    /// Where it stands.
    #[schema(schema_with = words::trial_state)]
    state: &'static str,
    /// The rung to run, running, or last run.
    rung: u32,
    /// Epochs done.
    epochs: u32,
    /// Epochs done when that rung is.
    target_epochs: u32,
    /// How often a worker died while it had this trial.
    deaths: u32,
    /// The worker that has it or last had it.
    worker: Option<String>,
    /// Why it was pruned or failed.
    reason: Option<String>,
    /// The objective on the validation split after the last rung done.
    value: Option<f64>,
    /// The rungs done: `rung`, `epochs`, `value`, `metrics`, `train_loss`, `seconds`, `images_per_second`,
    /// `finished_at`.
    #[schema(value_type = Vec<Object>)]
    results: Vec<RungResult>,
    /// When it was made.
    created_at: i64,
    /// When its state last changed.
    updated_at: i64,
}

impl From<TrialRecord> for Trial {
    fn from(record: TrialRecord) -> Self {
        Self {
            id: record.id.into(),
            task: record.task.into(),
            number: record.number,
            genome: record.genome,
            cost: record.cost,
            state: record.state.as_str(),
            rung: record.rung,
            epochs: record.epochs,
            target_epochs: record.target_epochs,
            deaths: record.deaths,
            worker: record.worker,
            reason: record.reason,
            value: record.results.last().map(|r| r.value),
            results: record.results,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// The schema of a [`LeaderboardEntry`].
#[derive(ToSchema)]
#[expect(dead_code, reason = "it stands for the engine's type in the OpenAPI document")]
pub(crate) struct LeaderboardItem {
    /// The model.
    model: String,
    /// The trial it comes from.
    trial: String,
    /// That trial's number.
    trial_number: u32,
    /// The rung it was exported after.
    rung: u32,
    /// The family of its network.
    family: String,
    /// Pixels a side of its input.
    resolution: u64,
    /// The objective on the validation split.
    value: f64,
    /// The objective on the test split.
    test_value: f64,
    /// Trainable parameters.
    parameters: u64,
    /// Bytes of the weights as deployed.
    weights_bytes: u64,
    /// Multiply-accumulates for one image.
    macs: u64,
    /// Peak bytes of activations.
    ram_bytes: u64,
    /// Milliseconds for one image.
    latency_ms: f64,
    /// Whether no other model is at least as good in value, weight bytes and latency, and better in one.
    pareto: bool,
    /// What it is picked for: `most_accurate`, or among the models within a point of that one
    /// `smallest_within_a_point` or `fastest_within_a_point`.
    picks: Vec<String>,
    /// When it was made.
    created_at: i64,
}

/// One file of a model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = File)]
pub(crate) struct FileView {
    /// Its name.
    name: String,
    /// Its size.
    bytes: u64,
    /// SHA-256 of its content.
    sha256: String,
    /// Its media type.
    media_type: String,
    /// What it is for.
    about: String,
    /// Where it is.
    href: String,
}

impl FileView {
    pub(crate) fn new(model: &kindling_spec::ModelId, file: FileRecord) -> Self {
        let href = format!("/v1/models/{model}/files/{}", file.name);
        let FileRecord { name, bytes, sha256, media_type, about } = file;
        Self { name, bytes, sha256, media_type, about, href }
    }
}

/// A model's answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answer {
    /// The model that answered.
    model: String,
    /// The most probable class; absent of models that find objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Each class and its probability, in the order of the model's outputs; absent of models that find objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<Vec<ClassProbability>>,
    /// Of models that find objects: those in the picture, the surest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<Vec<ObjectView>>,
    /// Of models that find objects: the score that each has at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f32>,
    /// Whether the most probable class is so improbable that the picture is likely of none; absent if the model cannot tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<bool>,
    /// Of a task after recall at a precision: whether its class is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    /// Width of the picture in pixels, upright.
    width: u32,
    /// Height of the picture in pixels, upright.
    height: u32,
    /// Milliseconds the network and its preprocessing took.
    milliseconds: f64,
}

/// Whether a class is there, by the threshold on the model's card.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Decision {
    /// The class.
    label: String,
    /// Whether it is.
    there: bool,
}

/// A class and its probability.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClassProbability {
    /// The class.
    pub(crate) label: String,
    /// Its probability, 0 to 1.
    pub(crate) probability: f32,
}

/// Something in a picture.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Object)]
pub(crate) struct ObjectView {
    /// Its class.
    label: String,
    /// How sure the model is, 0 to 1.
    score: f32,
    /// Where it is: left, top, right and bottom in shares of the picture's width and height, 0 to 1.
    #[serde(rename = "box")]
    sides: [f32; 4],
}

impl Answer {
    pub(crate) fn new(model: &kindling_spec::ModelId, given: Prediction) -> Self {
        let mut answer = Self {
            model: model.to_string(),
            label: None,
            probabilities: None,
            objects: None,
            at_least: None,
            unknown: None,
            decision: None,
            width: given.width,
            height: given.height,
            milliseconds: given.milliseconds,
        };
        match given.said {
            Said::Class { label, probabilities, unknown, decision } => {
                let pair = |(label, probability)| ClassProbability { label, probability };
                answer.label = Some(label);
                answer.probabilities = Some(probabilities.into_iter().map(pair).collect());
                answer.unknown = unknown;
                answer.decision = decision.map(|(label, there)| Decision { label, there });
            }
            Said::Objects { objects, at_least } => {
                let view = |Object { label, score, sides }| ObjectView { label, score, sides };
                answer.objects = Some(objects.into_iter().map(view).collect());
                answer.at_least = Some(at_least);
            }
        }
        answer
    }
}

/// A test picture that the model got wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Mistake)]
pub(crate) struct MistakeView {
    /// The example's number in the data set.
    pub(crate) example: usize,
    /// Its class.
    truth: String,
    /// What the model answered.
    predicted: String,
    /// With which probability.
    probability: f32,
    /// Where the picture is.
    image: String,
}

impl MistakeView {
    pub(crate) fn new(dataset: &DatasetId, given: Mistake) -> Self {
        Self {
            image: format!("/v1/datasets/{dataset}/examples/{}/image", given.example),
            example: given.example,
            truth: given.truth,
            predicted: given.predicted,
            probability: given.probability,
        }
    }
}
