//! What is kept of draft data sets. Times are Unix milliseconds.

use kindling_spec::{DatasetId, DraftId, ModelId, ProjectId, Split};
use serde::{Deserialize, Serialize};

use crate::LabelKind;

/// A draft data set: pictures that are being labelled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DraftRecord {
    /// Its id.
    pub id: DraftId,
    /// The project it is of.
    pub project: ProjectId,
    /// A name for people.
    pub name: String,
    /// What its labels are.
    pub labels: LabelKind,
    /// The classes to choose from, in the order in which they are shown.
    pub classes: Vec<String>,
    /// The data set that it began from.
    pub parent: Option<DatasetId>,
    /// When it was made.
    pub created_at: i64,
    /// When a label last changed.
    pub updated_at: i64,
}

/// How far the labelling is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DraftCounts {
    /// Pictures in all.
    pub examples: u64,
    /// Those with a label.
    pub labelled: u64,
    /// Those left out.
    pub skipped: u64,
    /// Those without a label that a model suggests one for.
    pub suggested: u64,
}

/// Where a picture of a draft stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DraftState {
    /// Nobody has said anything of it.
    #[default]
    Unlabelled,
    /// It has a label; no boxes in it is one too.
    Labelled,
    /// It is to be left out.
    Skipped,
}

impl DraftState {
    /// Every value, in order.
    pub const ALL: [Self; 3] = [Self::Unlabelled, Self::Labelled, Self::Skipped];

    /// The word used in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unlabelled => "unlabelled",
            Self::Labelled => "labelled",
            Self::Skipped => "skipped",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Something in a picture, its place in shares of the upright picture's width and height.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftBox {
    /// Its class.
    pub class: String,
    /// Of the left side.
    pub x: f32,
    /// Of the upper side.
    pub y: f32,
    /// To the right.
    pub width: f32,
    /// Downwards.
    pub height: f32,
}

/// What is said of a picture, by a person or by a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Annotation {
    /// The class of the whole picture.
    Class(String),
    /// What is where in it; none says that it shows nothing of the classes.
    Boxes(Vec<DraftBox>),
}

/// A picture of a draft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DraftExampleRecord {
    /// Its number, from 0, in the order in which pictures came.
    pub number: u32,
    /// Its path in the upload.
    pub path: String,
    /// SHA-256 of its file, hexadecimal.
    pub sha256: String,
    /// The key of the file that its file is in.
    pub pack: String,
    /// Where its file starts there.
    pub start: u64,
    /// The length of its file.
    pub bytes: u64,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// The side of the split that it is on, if it came from a sealed data set.
    pub split: Option<Split>,
    /// Where it stands.
    pub state: DraftState,
    /// What a person says of it.
    pub label: Option<Annotation>,
    /// What a model says of it.
    pub suggestion: Option<Annotation>,
    /// How unsure the model is, 0 to 1.
    pub doubt: Option<f64>,
    /// The model that was asked last.
    pub suggested_by: Option<ModelId>,
    /// When its label last changed.
    pub updated_at: i64,
}

/// Which pictures of a draft, and in which order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DraftFilter {
    /// Only those that stand so.
    pub state: Option<DraftState>,
    /// Only those that this model was not asked about.
    pub unseen_by: Option<ModelId>,
    /// Those that a model is most unsure of first, then those without a suggestion, instead of by number.
    pub doubtful_first: bool,
}

/// A model's word on one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// The picture.
    pub number: u32,
    /// What it says, if that is of the draft's classes.
    pub annotation: Option<Annotation>,
    /// How unsure it is, 0 to 1.
    pub doubt: f64,
}
