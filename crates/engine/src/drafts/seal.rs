//! From a draft to a data set, which never changes. The draft stays, to be gone on with.

use kindling_data::{DraftExample, DraftLabel, Example, Labels, Manifest, ingest_draft};
use kindling_spec::{DatasetId, DatasetState, DraftId, ErrorCode, ProjectId, TaskKind};
use kindling_store::{
    Annotation, DatasetRecord, DatasetUpdate, DraftExampleRecord, DraftFilter, DraftRecord, DraftState, LabelKind, Noun,
};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::datasets::{key, labels_for, labels_of, summary};
use crate::error::blocking;
use crate::{EngineError, Service, clock::now_ms};

/// The kind of task that these labels are for.
fn kind_for(labels: LabelKind) -> TaskKind {
    let wants = |kind: &&TaskKind| labels_for(**kind) == labels;
    TaskKind::ALL.iter().find(wants).copied().unwrap_or(TaskKind::ImageClassification)
}

impl Service {
    /// Makes a data set of the labelled pictures, read, audited and divided as an upload's are. Pictures from a sealed data
    /// set stay on their side of the split. What has no label or is skipped is left out.
    ///
    /// # Errors
    /// There is no such draft; nothing is labelled, or what is labelled is refused as an upload would be. Nothing is made
    /// then, and the draft is as it was.
    pub async fn seal_draft(&self, id: &DraftId, name: Option<&str>) -> Result<DatasetRecord, EngineError> {
        let meta = &self.store().meta;
        let draft = meta.draft(id).await?;
        let name = Self::dataset_name(name.unwrap_or(&draft.name))?;
        let filter = DraftFilter { state: Some(DraftState::Labelled), ..DraftFilter::default() };
        let records = meta.draft_examples(id, &filter, None, u32::MAX).await?;
        check(&draft, &records)?;
        let mut examples = Vec::with_capacity(records.len());
        let mut packs: HashMap<String, PathBuf> = HashMap::new();
        for record in records {
            let pack = match packs.get(&record.pack) {
                Some(path) => path.clone(),
                None => {
                    // A pack lies alone in its folder.
                    let (folder, file) = record.pack.rsplit_once('/').unwrap_or((&record.pack, ""));
                    let path = self.store().files.fetch_dir(folder).await?.join(file);
                    packs.insert(record.pack.clone(), path.clone());
                    path
                }
            };
            examples.push(sealable(record, pack));
        }

        let made = DatasetId::new();
        let out = self.scratch().join(format!("seal-{made}"));
        let (labels, limits, to) = (labels_of(draft.labels), self.limits().clone(), out.clone());
        let read = move || Ok(ingest_draft(labels, &examples, &to, &limits, &|_| {}, &AtomicBool::new(false))?);
        let manifest: Manifest = blocking(read).await?;
        let _one_at_a_time = self.admission().lock().await;
        self.check_folder(&draft.project, &out, 0).await?;

        // As with a relabelled data set: files first, so that a record that says ready has its content.
        let now = now_ms();
        let record = DatasetRecord {
            id: made.clone(),
            project: ProjectId::local(),
            name,
            kind: kind_for(draft.labels),
            labels: draft.labels,
            state: DatasetState::Processing,
            problem: None,
            hash: None,
            summary: None,
            created_at: now,
            updated_at: now,
        };
        meta.create_dataset(&record).await?;
        self.store().files.move_dir(&key(&made), &out).await?;
        self.count_files(Noun::Dataset, made.as_str(), &key(&made)).await?;
        let mut summary = summary(&manifest);
        summary["draft"] = json!(id);
        if let Some(parent) = self.parent_of(&draft, &manifest).await {
            summary["parent"] = parent;
        }
        let update = DatasetUpdate {
            hash: Some(manifest.hash.clone()),
            summary: Some(summary),
            ..DatasetUpdate::to(DatasetState::Ready)
        };
        meta.update_dataset(&made, &[DatasetState::Processing], &update, now_ms()).await?;
        Ok(meta.dataset(&made).await?)
    }

    /// What changed since the data set that the draft began from, if that is still there.
    async fn parent_of(&self, draft: &DraftRecord, made: &Manifest) -> Option<Value> {
        let id = draft.parent.as_ref()?;
        let old = self.open_dataset(id).await.ok()?;
        let old = old.manifest();
        let said = |manifest: &Manifest, e: &Example| match manifest.labels {
            Labels::Classes => vec![(manifest.class_of(e).map(str::to_owned), [0; 4])],
            Labels::Boxes => {
                let one = |b: &kindling_data::LabelledBox| {
                    (manifest.classes.get(b.class).cloned(), [b.x, b.y, b.width, b.height].map(f32::to_bits))
                };
                let mut boxes: Vec<_> = e.boxes.iter().map(one).collect();
                boxes.sort();
                boxes
            }
        };
        let new: HashMap<&str, _> = made.examples.iter().map(|e| (e.path.as_str(), said(made, e))).collect();
        let (mut relabelled, mut removed) = (0, 0);
        for example in &old.examples {
            match new.get(example.path.as_str()) {
                None => removed += 1,
                Some(now) if *now != said(old, example) => relabelled += 1,
                Some(_) => {}
            }
        }
        Some(json!({"dataset": id, "hash": old.hash, "relabelled": relabelled, "removed": removed}))
    }
}

/// A labelled picture, in the pack at this path.
fn sealable(record: DraftExampleRecord, pack: PathBuf) -> DraftExample {
    let label = match record.label {
        Some(Annotation::Class(class)) => DraftLabel::Class(class),
        Some(Annotation::Boxes(boxes)) => {
            DraftLabel::Boxes(boxes.into_iter().map(|b| (b.class, [b.x, b.y, b.width, b.height])).collect())
        }
        None => DraftLabel::Boxes(Vec::new()),
    };
    let DraftExampleRecord { path, start, bytes, split, .. } = record;
    DraftExample { path, pack, offset: start, bytes, split, label }
}

/// Says in the draft's own words what the reader of uploads would say of folders.
fn check(draft: &DraftRecord, examples: &[DraftExampleRecord]) -> Result<(), EngineError> {
    let refuse = |what: String| Err(EngineError::refused(ErrorCode::TooFewExamples, what));
    if examples.is_empty() {
        return refuse("no picture has a label yet; label some first".to_owned());
    }
    let class = |e: &DraftExampleRecord| match &e.label {
        Some(Annotation::Class(class)) => Some(class.clone()),
        _ => None,
    };
    let classes: BTreeSet<String> = examples.iter().filter_map(class).collect();
    match (draft.labels, classes.first()) {
        (LabelKind::Classes, Some(only)) if classes.len() == 1 => refuse(format!(
            "every labelled picture is of the class `{only}`; there is nothing to tell it from. Label pictures of another class"
        )),
        _ => Ok(()),
    }
}
