//! What a sealed data set says of itself: `manifest.json`.

use kindling_spec::Split;
use serde::{Deserialize, Serialize};

/// The only version of the manifest so far.
pub const MANIFEST_VERSION: u32 = 1;

/// Lists in the audit name at most this many; their totals count all.
pub const LIST_CAP: usize = 1000;

/// A sealed data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format.
    pub version: u32,
    /// SHA-256 over the sorted (class, content hash, given split) of the examples: the same
    /// pictures under the same classes have the same hash, whatever the files are called.
    pub hash: String,
    /// The names of the classes, sorted.
    pub classes: Vec<String>,
    /// The examples, sorted by (class, SHA-256).
    pub examples: Vec<Example>,
    /// What a person should know about the data.
    pub audit: Audit,
    /// What it was made from, if it is a new version of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
}

/// The data set that another is a new version of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its hash.
    pub hash: String,
    /// Examples given another label.
    pub relabelled: usize,
    /// Examples left out.
    pub removed: usize,
}

/// One labelled picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Its path in the upload.
    pub path: String,
    /// Its class, an index into the manifest's classes.
    pub class: usize,
    /// The side it is on.
    pub split: Split,
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: String,
    /// Where its file starts in `originals.pack`.
    pub offset: u64,
    /// The length of its file.
    pub bytes: u64,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// Its group of near duplicates; a group lies on one side of the split. Numbered from 0 in the
    /// order of the examples; most groups have one member.
    pub group: u32,
}

/// A list cut off at [`LIST_CAP`] items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed<T> {
    /// How many there are.
    pub total: usize,
    /// The first of them.
    pub items: Vec<T>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { total: 0, items: Vec::new() }
    }
}

impl<T> Listed<T> {
    /// Keeps the first [`LIST_CAP`].
    pub fn of(mut items: Vec<T>) -> Self {
        let total = items.len();
        items.truncate(LIST_CAP);
        Self { total, items }
    }
}

/// What a person should know about the data before trusting a model made from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Examples of each class on each side.
    pub class_counts: Vec<ClassCount>,
    /// The pictures' sizes in pixels.
    pub sizes: Sizes,
    /// Files that could not be used.
    pub broken: Listed<Broken>,
    /// Files of classes that are neither pictures nor called so (texts, annotations), left out.
    pub other_files: usize,
    /// Copies with the same label: the first path is kept, the others were left out.
    pub exact_duplicates: Listed<Vec<String>>,
    /// Pictures that look alike; all are kept, on one side of the split.
    pub near_duplicates: Listed<Vec<String>>,
    /// Pictures that are the same or look alike but have different labels; all are kept, on one
    /// side of the split.
    pub label_conflicts: Listed<Conflict>,
    /// Sentences for a person.
    pub warnings: Vec<String>,
}

/// How many examples a class has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// Examples to train on.
    pub train: usize,
    /// Examples the search chooses by.
    pub validation: usize,
    /// Examples the search never sees.
    pub test: usize,
}

/// Smallest, median and largest of the pictures' sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Widths: minimum, median, maximum.
    pub width: [u32; 3],
    /// Heights: minimum, median, maximum.
    pub height: [u32; 3],
}

/// A file that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Its path in the upload.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Look-alikes with different labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Whether the files are the same to the byte.
    pub exact: bool,
    /// The files, each with its class.
    pub files: Vec<Labelled>,
}

/// A file and its class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Labelled {
    /// Its path in the upload.
    pub path: String,
    /// Its class.
    pub class: String,
}
