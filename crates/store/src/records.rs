//! What the store keeps. Times are Unix milliseconds.

use kindling_spec::{
    AnalysisId, AnalysisKind, AnalysisState, Budget, DatasetId, DatasetState, ErrorCode, FleetId, FleetSpec, Genome,
    ModelId, ProjectId, TaskId, TaskKind, TaskSpec, TaskState, TrialId, TrialState,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a data set's content could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable code.
    pub code: ErrorCode,
    /// What, where and how to mend it.
    pub detail: String,
}

/// What the labels of a data set are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelKind {
    /// One class for each picture.
    #[default]
    Classes,
    /// Boxes with classes, any number in each picture.
    Boxes,
}

impl LabelKind {
    /// The word used in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Boxes => "boxes",
        }
    }
}

/// A data set. Its content is in [`crate::Files`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Its id.
    pub id: DatasetId,
    /// The project it is of.
    pub project: ProjectId,
    /// A name for people.
    pub name: String,
    /// What its labels are for.
    pub kind: TaskKind,
    /// What its labels are, or will be.
    pub labels: LabelKind,
    /// Where it stands.
    pub state: DatasetState,
    /// Why it was refused.
    pub problem: Option<Problem>,
    /// The hash of its content once sealed.
    pub hash: Option<String>,
    /// Counts, audit and the like, as the API shows them.
    pub summary: Option<Value>,
    /// When it was made.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
}

/// What [`crate::Metadata::update_dataset`] sets; what is `None` becomes empty.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetUpdate {
    /// The new state.
    pub state: DatasetState,
    /// Why it was refused.
    pub problem: Option<Problem>,
    /// The hash of its content once sealed.
    pub hash: Option<String>,
    /// Counts, audit and the like.
    pub summary: Option<Value>,
}

impl DatasetUpdate {
    /// Only a state, nothing beside it.
    pub fn to(state: DatasetState) -> Self {
        Self { state, problem: None, hash: None, summary: None }
    }
}

/// What came of deleting a data set, task, fleet or model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The record is gone, and it is noted that its files are to go ([`crate::Metadata::removals`]).
    Deleted,
    /// Another uses it, so it stays: of a data set a task, of a task its fleet.
    InUse,
    /// It is being worked on (read, searched, trained); ask again when that has ended.
    Busy,
    /// There is none of this id.
    NotFound,
}

/// A task and its study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// The project it is of.
    pub project: ProjectId,
    /// What was asked for.
    pub spec: TaskSpec,
    /// The data set it learns from.
    pub dataset: DatasetId,
    /// Where it stands.
    pub state: TaskState,
    /// Why it ended as it did.
    pub reason: Option<String>,
    /// The budget granted in all; it grows when the task is resumed with more.
    pub budget: Budget,
    /// Seconds of that budget spent.
    pub spent_seconds: f64,
    /// When it was posted.
    pub created_at: i64,
    /// When it first ran.
    pub started_at: Option<i64>,
    /// When it ended; empty while it runs, also after it was resumed.
    pub ended_at: Option<i64>,
    /// The best model so far.
    pub best_model: Option<ModelId>,
}

/// A fleet: tasks on one data set that run one after another. Where it stands is where they do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetRecord {
    /// Its id.
    pub id: FleetId,
    /// The project it is of.
    pub project: ProjectId,
    /// What was asked for.
    pub spec: FleetSpec,
    /// The data set its tasks learn from.
    pub dataset: DatasetId,
    /// Its tasks in the order they run.
    pub members: Vec<FleetMember>,
    /// When it was posted.
    pub created_at: i64,
}

/// A task of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetMember {
    /// The task.
    pub task: TaskId,
    /// The class that it finds; none for the single model that tells all classes apart.
    pub class: Option<String>,
}

/// One candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Its id.
    pub id: TrialId,
    /// The task it is of.
    pub task: TaskId,
    /// Its number, unique within the task.
    pub number: u32,
    /// The network and its training.
    pub genome: Genome,
    /// What the network costs, before training.
    pub cost: Value,
    /// Where it stands.
    pub state: TrialState,
    /// The rung to run, running, or last run.
    pub rung: u32,
    /// Epochs done in all when that rung is done.
    pub target_epochs: u32,
    /// Epochs done in all.
    pub epochs: u32,
    /// How often a worker died while it had this trial.
    pub deaths: u32,
    /// The fencing token: larger at each claim. A write with an older one is refused.
    pub token: i64,
    /// The worker that has it, or last had it.
    pub worker: Option<String>,
    /// When that worker last said that it lives; only while running.
    pub heartbeat_at: Option<i64>,
    /// Why it was pruned or failed.
    pub reason: Option<String>,
    /// The rungs done, in order.
    pub results: Vec<RungResult>,
    /// The key of the checkpoint of the last rung done.
    pub checkpoint: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// When its state last changed.
    pub updated_at: i64,
}

/// What one rung gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RungResult {
    /// Which rung.
    pub rung: u32,
    /// Epochs done in all at its end.
    pub epochs: u32,
    /// The objective on the validation split.
    pub value: f64,
    /// Every metric on the validation split.
    pub metrics: Value,
    /// Mean loss of the last epoch on the train split.
    pub train_loss: f64,
    /// Seconds the rung took.
    pub seconds: f64,
    /// Training speed.
    pub images_per_second: f64,
    /// When it ended.
    pub finished_at: i64,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name within the bundle.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
    /// Its media type.
    pub media_type: String,
    /// What it is for, in a sentence.
    pub about: String,
}

/// A trained model; it does not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Its id.
    pub id: ModelId,
    /// The task it answers.
    pub task: TaskId,
    /// The trial it comes from.
    pub trial: TrialId,
    /// The rung it was exported after.
    pub rung: u32,
    /// The objective on the validation split.
    pub value: f64,
    /// The objective on the test split.
    pub test_value: f64,
    /// Trainable parameters.
    pub parameters: u64,
    /// Bytes of the weights as deployed.
    pub weights_bytes: u64,
    /// Multiply-accumulates to answer one image.
    pub macs: u64,
    /// Peak bytes of activations.
    pub ram_bytes: u64,
    /// Milliseconds to answer one image.
    pub latency_ms: f64,
    /// The model card.
    pub card: Value,
    /// Its files.
    pub files: Vec<FileRecord>,
    /// How often files were added since it was made; card and files are of this revision.
    pub revision: u32,
    /// When it was made.
    pub created_at: i64,
}

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Later events have larger ids; ids of one task are not without gaps.
    pub id: i64,
    /// The task.
    pub task: TaskId,
    /// `task`, `trial`, `rung`, `model` from the store itself; other words from its users.
    pub kind: String,
    /// What happened, by kind.
    pub data: Value,
    /// When.
    pub at: i64,
}

/// The kinds of event the store writes with the change each tells of.
pub mod event_kind {
    /// A task's state: `{state, reason}`; a grown budget: `{state, budget}`; a new best: `{state, best_model}`.
    pub const TASK: &str = "task";
    /// A trial's state: `{trial, number, state, rung, worker, reason}`.
    pub const TRIAL: &str = "trial";
    /// A rung done: `{trial, number, rung, epochs, value, seconds}`.
    pub const RUNG: &str = "rung";
    /// A model made: `{model, trial, rung, value, test_value, parameters, weights_bytes, macs, latency_ms}`.
    pub const MODEL: &str = "model";
    /// Files added to a model: `{model, revision}`.
    pub const FILES: &str = "files";
}

/// A worker process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// Its name: one for each process that ever lived.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// The name of the machine it runs on.
    pub machine: String,
    /// The device it trains on.
    pub device: String,
    /// When it started.
    pub started_at: i64,
    /// When it last said that it lives.
    pub seen_at: i64,
    /// The trial it works on.
    pub trial: Option<TrialId>,
    /// Bytes of memory that the process holds, where its system tells.
    pub resident_bytes: Option<u64>,
    /// Bytes of memory that it may hold; `None` where nobody said.
    pub memory_bytes: Option<u64>,
    /// Examples a second that it trained in its last rung.
    pub images_per_second: Option<f64>,
}

impl WorkerRecord {
    /// How long, in milliseconds, after which one of which nothing was heard does not count.
    pub const SILENCE_MS: i64 = 20_000;

    /// Whether nothing was heard of it lately.
    pub fn is_silent(&self, now: i64) -> bool {
        now.saturating_sub(self.seen_at) > Self::SILENCE_MS
    }
}

/// What a worker hears when it says that it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Go on.
    Go,
    /// The task is over: stop, and give the trial back with `release_trial`.
    Cancelled,
    /// The trial is another's now, or ended: stop, and write nothing.
    Lost,
}

/// A trial taken from a dead worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaped {
    /// The trial.
    pub trial: TrialId,
    /// Its task.
    pub task: TaskId,
    /// The rung it was in, to be run again unless `failed`.
    pub rung: u32,
    /// Deaths so far.
    pub deaths: u32,
    /// It died too often and is failed now.
    pub failed: bool,
}

/// What became of an Idempotency-Key.
#[derive(Debug, Clone, PartialEq)]
pub enum Remembered {
    /// Not seen before: do the work, then `complete_idempotent`, or `forget_idempotent` if it failed.
    New,
    /// Seen with the same body: answer this again.
    Same(SavedResponse),
    /// Seen with another body.
    Conflict,
    /// Seen with the same body, and not answered yet.
    InProgress,
}

/// An answer kept for a repeated request.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers, as JSON.
    pub headers: Value,
    /// The body.
    pub body: Vec<u8>,
}

/// A look at a data set or a task that trains networks of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnalysisRecord {
    /// Its id.
    pub id: AnalysisId,
    /// What it finds out.
    pub kind: AnalysisKind,
    /// The id of the data set or task it looks at.
    pub subject: String,
    /// How it was asked for.
    pub options: Value,
    /// Where it stands.
    pub state: AnalysisState,
    /// Why it failed.
    pub reason: Option<String>,
    /// Share of the work done, 0 to 1.
    pub progress: f64,
    /// How many processes died over it.
    pub deaths: u32,
    /// What it found in a few figures; all of it is in a file.
    pub summary: Option<Value>,
    /// When it was asked for.
    pub created_at: i64,
    /// When it last changed.
    pub updated_at: i64,
}

/// What [`crate::Metadata::update_analysis`] sets.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisUpdate {
    /// The new state.
    pub state: AnalysisState,
    /// Why it failed.
    pub reason: Option<String>,
    /// Share of the work done, 0 to 1.
    pub progress: f64,
    /// How many processes died over it.
    pub deaths: u32,
    /// What it found in a few figures.
    pub summary: Option<Value>,
}
