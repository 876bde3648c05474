//! A new version of a data set: labels changed, examples left out.

use kindling_data::{Change, Dataset, Manifest, relabel};
use kindling_spec::{DatasetId, DatasetState, ErrorCode, ProjectId};
use kindling_store::{DatasetRecord, DatasetUpdate, Noun};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

use crate::datasets::{key, summary};
use crate::error::blocking;
use crate::{EngineError, Service, clock::now_ms};

/// What is wanted of one example: a label, or that it is left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// The example's number.
    pub example: usize,
    /// The name of the class it is of.
    #[serde(default)]
    pub label: Option<String>,
    /// Whether it is left out.
    #[serde(default)]
    pub remove: bool,
}

impl Service {
    /// Makes a new version of a data set with some labels changed and some examples left out. All other
    /// examples are on the side of the split that they were on. The old version stays as it is; the new
    /// one's `summary` names it under `parent`.
    ///
    /// # Errors
    /// The data set is unknown or not ready; an example or class is not its; an example is named twice,
    /// or with both or neither of a label and removal; nothing would change; or a class would become too
    /// small ([`ErrorCode::TooFewExamples`]). Nothing is made then.
    pub async fn relabel_dataset(
        &self,
        id: &DatasetId,
        name: Option<&str>,
        changes: &[ChangeRequest],
    ) -> Result<DatasetRecord, EngineError> {
        let old = self.dataset(id).await?;
        let dataset = self.open_dataset(id).await?;
        let changes = parse(&dataset, changes)?;
        let name = match name {
            Some(name) => Self::dataset_name(name)?,
            None => next_name(&old.name),
        };
        let made = DatasetId::new();
        let (directory, limits) = (self.scratch().join(format!("relabel-{made}")), self.limits_for(old.kind));
        let out = directory.clone();
        let manifest: Manifest = blocking(move || Ok(relabel(&dataset, &changes, &out, &limits)?)).await?;
        let _one_at_a_time = self.admission().lock().await;
        self.check_folder(&old.project, &directory, 0).await?;

        // Files first: a record that says ready has its content. A process killed in between leaves a
        // record in processing, which the next start refuses, or a folder that no record names.
        let now = now_ms();
        let record = DatasetRecord {
            id: made.clone(),
            project: ProjectId::local(),
            name,
            kind: old.kind,
            labels: old.labels,
            state: DatasetState::Processing,
            problem: None,
            hash: None,
            summary: None,
            created_at: now,
            updated_at: now,
        };
        self.store().meta.create_dataset(&record).await?;
        self.store().files.move_dir(&key(&made), &directory).await?;
        self.count_files(Noun::Dataset, made.as_str(), &key(&made)).await?;
        let mut summary = summary(&manifest);
        if let Some(parent) = &manifest.parent {
            let (relabelled, removed) = (parent.relabelled, parent.removed);
            summary["parent"] =
                json!({"dataset": id, "hash": parent.hash, "relabelled": relabelled, "removed": removed});
        }
        let update = DatasetUpdate {
            hash: Some(manifest.hash.clone()),
            summary: Some(summary),
            ..DatasetUpdate::to(DatasetState::Ready)
        };
        self.store().meta.update_dataset(&made, &[DatasetState::Processing], &update, now_ms()).await?;
        Ok(self.store().meta.dataset(&made).await?)
    }
}

/// `hill` → `hill (relabelled)` → `hill (relabelled 2)`.
fn next_name(name: &str) -> String {
    let (base, count) = match name.strip_suffix(')').and_then(|n| n.rsplit_once(" (relabelled")) {
        Some((base, "")) => (base, 2),
        Some((base, number)) => match number.trim().parse::<u32>() {
            Ok(count) => (base, count.saturating_add(1)),
            Err(_) => (name, 1),
        },
        None => (name, 1),
    };
    let suffix = if count == 1 { " (relabelled)".to_owned() } else { format!(" (relabelled {count})") };
    // Names have at most 200 characters.
    base.chars().take(200 - suffix.len()).chain(suffix.chars()).collect()
}

/// Reads the changes, each problem with its place in the list.
fn parse(dataset: &Dataset, changes: &[ChangeRequest]) -> Result<BTreeMap<usize, Change>, EngineError> {
    let manifest = dataset.manifest();
    let mut parsed = BTreeMap::new();
    for (i, change) in changes.iter().enumerate() {
        let refuse =
            |code, what: String| Err(EngineError::refused(code, format!("`changes/{i}`: {what}; nothing was changed")));
        let example = change.example;
        if example >= manifest.examples.len() {
            let last = manifest.examples.len() - 1;
            let what = format!("there is no example {example}; they are numbered from 0 to {last}");
            return refuse(ErrorCode::ExampleNotFound, what);
        }
        let wanted = match (&change.label, change.remove) {
            (None, true) => Change::Remove,
            (Some(label), false) => match manifest.classes.iter().position(|class| class == label) {
                Some(class) => Change::Label(class),
                None => {
                    let shown: String = label.chars().take(80).collect();
                    let known = manifest.classes.join("`, `");
                    let what = format!("the data set has no class `{shown}`; it has `{known}`");
                    return refuse(ErrorCode::InvalidRequest, what);
                }
            },
            _ => {
                let what = format!("example {example} needs either a `label` or `\"remove\": true`");
                return refuse(ErrorCode::InvalidRequest, what);
            }
        };
        if parsed.insert(example, wanted).is_some() {
            return refuse(ErrorCode::InvalidRequest, format!("example {example} was named before; name it once"));
        }
    }
    let changes_anything = |(example, change): (&usize, &Change)| match change {
        Change::Remove => true,
        Change::Label(class) => manifest.examples[*example].class != *class,
    };
    if !parsed.iter().any(changes_anything) {
        let what = "nothing would change: `changes` names no example to remove or to give another label";
        return Err(EngineError::refused(ErrorCode::InvalidRequest, what));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_counted_in_their_names() {
        let names: Vec<_> =
            std::iter::successors(Some("hill".to_owned()), |name| Some(next_name(name))).skip(1).take(3).collect();
        assert_eq!(names, ["hill (relabelled)", "hill (relabelled 2)", "hill (relabelled 3)"]);
        assert_eq!(next_name("a (relabelled by Ann)"), "a (relabelled by Ann) (relabelled)");
        assert_eq!(next_name(&"é".repeat(200)).chars().count(), 200);
    }
}
