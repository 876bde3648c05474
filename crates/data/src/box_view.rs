//! A task's part of a data set with boxes: its own classes, and each picture with its boxes of them.

use crate::view::labels_of;
use crate::{DataError, Dataset, LabelledBox, Labels, error::ShortClass};
use kindling_spec::Split;

/// A picture, by its index in the manifest, and what is where in it; each box's class is one of the view's.
#[derive(Debug, Clone, PartialEq)]
pub struct Boxed {
    /// An index into the manifest's examples.
    pub example: usize,
    /// None in a picture that shows nothing of the classes, which is worth learning too.
    pub boxes: Vec<LabelledBox>,
}

/// The pictures of a task that finds objects.
#[derive(Debug, Clone, PartialEq)]
pub struct BoxView {
    /// The names the model answers with.
    pub classes: Vec<String>,
    /// What is trained on.
    pub train: Vec<Boxed>,
    /// What the search chooses by.
    pub validation: Vec<Boxed>,
    /// What the search never sees.
    pub test: Vec<Boxed>,
}

impl BoxView {
    /// Maps the data set's classes to the task's: each group is a new name and the classes it is made of. Boxes of other
    /// classes are left out, but no picture is: one that shows only those is one that shows nothing.
    ///
    /// # Errors
    /// [`DataError::UnknownClass`] when a class is not the data set's; [`DataError::InvalidLayout`] when there is no group,
    /// a class is in two of them, or the labels are no boxes; [`DataError::TooFewExamples`] when a group has no box on one
    /// of the sides.
    pub fn new(dataset: &Dataset, groups: &[(String, Vec<String>)]) -> Result<Self, DataError> {
        let manifest = dataset.manifest();
        if manifest.labels != Labels::Boxes {
            let what =
                "this data set's labels are classes of whole pictures, not boxes; send it with boxes to find objects";
            return Err(DataError::InvalidLayout(what.into()));
        }
        if groups.is_empty() {
            return Err(DataError::InvalidLayout("a task finds at least one class; name it".into()));
        }
        let label_of = labels_of(manifest, groups)?;
        let classes = groups.iter().map(|(name, _)| name.clone()).collect();
        let mut view = Self { classes, train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        for (index, example) in manifest.examples.iter().enumerate() {
            let relabel = |b: &LabelledBox| {
                let class = label_of.get(b.class).copied().flatten()?;
                Some(LabelledBox { class, ..*b })
            };
            let boxed = Boxed { example: index, boxes: example.boxes.iter().filter_map(relabel).collect() };
            match example.split {
                Split::Train => view.train.push(boxed),
                Split::Validation => view.validation.push(boxed),
                Split::Test => view.test.push(boxed),
            }
        }
        view.check()?;
        Ok(view)
    }

    /// Training needs every class; a measurement is only one if there is something to measure.
    fn check(&self) -> Result<(), DataError> {
        let mut short = Vec::new();
        for (label, class) in self.classes.iter().enumerate() {
            for (side, picks) in [("training", &self.train), ("validation", &self.validation), ("test", &self.test)] {
                if !picks.iter().any(|boxed| boxed.boxes.iter().any(|b| b.class == label)) {
                    let class = format!("{class} ({side})");
                    short.push(ShortClass { class, count: 0, needed: 1, broken: 0, because: None });
                }
            }
        }
        if short.is_empty() { Ok(()) } else { Err(DataError::TooFewExamples(short)) }
    }
}
