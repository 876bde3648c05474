//! What a sealed data set says of itself: `manifest.json`.

use crate::limits::{BOX_RESOLUTIONS, RESOLUTIONS};
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
    /// pictures under the same classes have the same hash, whatever the files are called. Where the
    /// labels are boxes, over (content hash, boxes, given split).
    pub hash: String,
    /// What the labels are.
    #[serde(default, skip_serializing_if = "Labels::is_classes")]
    pub labels: Labels,
    /// The names of the classes, sorted. Where the labels are boxes, of those that have a box.
    pub classes: Vec<String>,
    /// The examples, sorted by (class, SHA-256, boxes).
    pub examples: Vec<Example>,
    /// What a person should know about the data.
    pub audit: Audit,
    /// What it was made from, if it is a new version of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
}

impl Manifest {
    /// The name of an example's class, or none: a picture without boxes is of no class, whatever the
    /// number says. Ask this rather than index `classes` where the labels may be boxes.
    pub fn class_of(&self, example: &Example) -> Option<&str> {
        let is_of_one = self.labels == Labels::Classes || !example.boxes.is_empty();
        self.classes.get(example.class).filter(|_| is_of_one).map(String::as_str)
    }
}

/// What the labels of a data set are: what is wanted of an upload, and what a sealed one holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// One class for each picture.
    #[default]
    Classes,
    /// Boxes with classes, any number in each picture.
    Boxes,
}

impl Labels {
    fn is_classes(&self) -> bool {
        *self == Self::Classes
    }

    /// The sides, in pixels, of a data set's caches.
    pub fn resolutions(self) -> &'static [usize] {
        match self {
            Self::Classes => RESOLUTIONS,
            Self::Boxes => BOX_RESOLUTIONS,
        }
    }
}

/// Something in a picture, with its place in shares of the upright picture's width and height. It
/// lies wholly within the picture and has an area.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelledBox {
    /// Its class, an index into the manifest's classes (in a [`crate::BoxView`], into its own).
    pub class: usize,
    /// Of the left side, 0 to 1.
    pub x: f32,
    /// Of the upper side, 0 to 1.
    pub y: f32,
    /// To the right.
    pub width: f32,
    /// Downwards.
    pub height: f32,
}

impl LabelledBox {
    /// The share of the picture that it covers.
    pub fn area(&self) -> f32 {
        self.width * self.height
    }

    /// Intersection over union.
    pub fn iou(&self, other: &Self) -> f32 {
        let side = |a: f32, aw: f32, b: f32, bw: f32| ((a + aw).min(b + bw) - a.max(b)).max(0.0);
        let shared = side(self.x, self.width, other.x, other.width) * side(self.y, self.height, other.y, other.height);
        if shared > 0.0 { shared / (self.area() + other.area() - shared) } else { 0.0 }
    }

    /// For sorting and comparing: the numbers are finite and not negative, so their bits are in order.
    pub(crate) fn key(&self) -> (usize, [u32; 4]) {
        (self.class, [self.x, self.y, self.width, self.height].map(f32::to_bits))
    }
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
    /// Its class, an index into the manifest's classes. Where the labels are boxes, that of its largest
    /// box (of equals the first class), and 0 if it has none: see [`Manifest::class_of`].
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
    /// What is where in it, sorted; empty where the labels are classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boxes: Vec<LabelledBox>,
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
    /// Examples of each class on each side. Where the labels are boxes, pictures with at least one of
    /// the class, so that a picture may count for several.
    pub class_counts: Vec<ClassCount>,
    /// The pictures' sizes in pixels.
    pub sizes: Sizes,
    /// Files that could not be used.
    pub broken: Listed<Broken>,
    /// Files of classes that are neither pictures nor called so (texts, annotations), left out.
    pub other_files: usize,
    /// Copies with the same label, or with boxes that say the same: the first path is kept, the others
    /// were left out.
    pub exact_duplicates: Listed<Vec<String>>,
    /// Pictures that look alike; all are kept, on one side of the split.
    pub near_duplicates: Listed<Vec<String>>,
    /// Pictures that are the same or look alike but have different labels or boxes; all are kept, on
    /// one side of the split.
    pub label_conflicts: Listed<Conflict>,
    /// What is to be known of the boxes, where the labels are boxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boxes: Option<BoxAudit>,
    /// Sentences for a person.
    pub warnings: Vec<String>,
}

/// What a person should know about boxes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BoxAudit {
    /// Boxes of each class on each side.
    pub counts: Vec<ClassCount>,
    /// Pictures without boxes: train, validation, test.
    pub empty: [usize; 3],
    /// Most boxes in one picture.
    pub most: usize,
    /// Smallest, median and largest width, as shares of the pictures'.
    pub width: [f32; 3],
    /// The same of heights.
    pub height: [f32; 3],
    /// The same of areas.
    pub area: [f32; 3],
    /// Boxes that reached out of their pictures by more than a pixel, and were cut off at the edge.
    pub clipped: Listed<OddBox>,
    /// Boxes without an area, left out.
    pub no_area: Listed<OddBox>,
    /// Boxes around crowds of objects (COCO's `iscrowd`), left out.
    pub crowds: Listed<OddBox>,
    /// Annotations of pictures that are not there: the annotation file, and the picture it names.
    pub without_picture: Listed<Broken>,
    /// Pictures that no annotation speaks of.
    pub without_annotation: Listed<String>,
    /// Whether pictures that no annotation speaks of were taken for pictures without boxes, as YOLO's
    /// layout has it; else they were left out.
    pub silence_is_empty: bool,
}

/// A box that is not as it should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OddBox {
    /// The picture's path.
    pub path: String,
    /// The file that has the box, and where in it.
    pub place: String,
    /// The box's class.
    pub class: String,
    /// Left, top, width and height as they were given.
    pub given: [f32; 4],
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
    /// The files, each with its class, or with a count of its boxes in words.
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
