//! A task's part of a data set: its own classes, and which examples are of them.

use crate::{DataError, Dataset, Labels, Manifest, error::ShortClass};
use kindling_spec::Split;

/// The group of each of the data set's classes, if it is in one.
pub(crate) fn labels_of(
    manifest: &Manifest,
    groups: &[(String, Vec<String>)],
) -> Result<Vec<Option<usize>>, DataError> {
    let mut label_of = vec![None; manifest.classes.len()];
    for (label, (_, members)) in groups.iter().enumerate() {
        for member in members {
            let Some(class) = manifest.classes.iter().position(|name| name == member) else {
                return Err(DataError::UnknownClass { class: member.clone(), classes: manifest.classes.clone() });
            };
            if label_of[class].replace(label).is_some() {
                return Err(DataError::InvalidLayout(format!(
                    "the data set's class `{member}` is named twice; a class belongs to one group"
                )));
            }
        }
    }
    Ok(label_of)
}

/// The examples of a task. Each entry is (example, label): an index into the manifest's examples
/// and one into `classes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The names the model answers with.
    pub classes: Vec<String>,
    /// What is trained on.
    pub train: Vec<(usize, usize)>,
    /// What the search chooses by.
    pub validation: Vec<(usize, usize)>,
    /// What the search never sees.
    pub test: Vec<(usize, usize)>,
}

impl View {
    /// Maps the data set's classes to the task's: each group is a new name and the classes it is
    /// made of ([`kindling_spec::TaskSpec::groups`]). Examples of other classes are left out.
    ///
    /// # Errors
    /// [`DataError::UnknownClass`] when a class is not the data set's; [`DataError::InvalidLayout`]
    /// when there are fewer than two groups, a class is in two of them, or the labels are boxes;
    /// [`DataError::TooFewExamples`] when a group has none on one of the sides.
    pub fn new(dataset: &Dataset, groups: &[(String, Vec<String>)]) -> Result<Self, DataError> {
        let view = Self::sort(dataset, groups)?;
        view.check(view.classes.len())?;
        Ok(view)
    }

    fn sort(dataset: &Dataset, groups: &[(String, Vec<String>)]) -> Result<Self, DataError> {
        let manifest = dataset.manifest();
        if manifest.labels != Labels::Classes {
            let what = "this data set's labels are boxes, not classes of whole pictures; use it to detect objects";
            return Err(DataError::InvalidLayout(what.into()));
        }
        if groups.len() < 2 {
            return Err(DataError::InvalidLayout("a task tells at least two classes apart; name another".into()));
        }
        let label_of = labels_of(manifest, groups)?;
        let classes = groups.iter().map(|(name, _)| name.clone()).collect();
        let mut view = Self { classes, train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        for (index, example) in manifest.examples.iter().enumerate() {
            let Some(label) = label_of.get(example.class).copied().flatten() else { continue };
            match example.split {
                Split::Train => view.train.push((index, label)),
                Split::Validation => view.validation.push((index, label)),
                Split::Test => view.test.push((index, label)),
            }
        }
        Ok(view)
    }

    /// The examples of a task that learns from good ones: the groups are those ([`kindling_spec::TaskSpec::groups`]) and all
    /// others, of which there may be none.
    ///
    /// Faulty examples on the training side are not trained on, so they are tested with.
    ///
    /// # Errors
    /// As [`View::new`], but that only good examples are needed on each side.
    pub fn of_good(dataset: &Dataset, groups: &[(String, Vec<String>)]) -> Result<Self, DataError> {
        let mut view = Self::sort(dataset, groups)?;
        let (good, faulty) = view.train.iter().partition(|(_, label)| *label == 0);
        view.train = good;
        view.test.extend::<Vec<_>>(faulty);
        view.test.sort_unstable();
        view.check(1)?;
        Ok(view)
    }

    /// Training needs every class; a measurement is only one if there is something to measure.
    fn check(&self, needed: usize) -> Result<(), DataError> {
        let mut short = Vec::new();
        for (label, class) in self.classes.iter().enumerate().take(needed) {
            for (side, picks) in [("training", &self.train), ("validation", &self.validation), ("test", &self.test)] {
                if !picks.iter().any(|(_, l)| *l == label) {
                    let class = format!("{class} ({side})");
                    short.push(ShortClass { class, count: 0, needed: 1, broken: 0, because: None });
                }
            }
        }
        if short.is_empty() { Ok(()) } else { Err(DataError::TooFewExamples(short)) }
    }
}
