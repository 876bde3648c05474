//! Data sets: taken in, sealed, opened, deleted.

use kindling_data::{ClassCount, Dataset, Labels, Limits, Manifest, ingest_as, sweep};
use kindling_spec::{DatasetId, DatasetState, ErrorCode, ProjectId, TaskKind};
use kindling_store::{DatasetRecord, DatasetUpdate, Deletion, LabelKind, Noun, Problem};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

use crate::error::blocking;
use crate::release::EXPORT_PREFIX;
use crate::{EngineError, Service, clock::now_ms};

/// Content being read of which nothing was said for so long was abandoned.
pub(crate) const ABANDONED_MS: i64 = 60_000;

/// The key of a data set's directory among the files.
pub(crate) fn key(id: &DatasetId) -> String {
    format!("datasets/{id}")
}

/// The labels that a task of this kind learns from.
pub fn labels_for(kind: TaskKind) -> LabelKind {
    if kind.is_of_boxes() { LabelKind::Boxes } else { LabelKind::Classes }
}

/// The same word in the reader's vocabulary.
pub(crate) fn labels_of(kind: LabelKind) -> Labels {
    match kind {
        LabelKind::Classes => Labels::Classes,
        LabelKind::Boxes => Labels::Boxes,
    }
}

/// What the record tells of a sealed data set.
pub(crate) fn summary(manifest: &Manifest) -> Value {
    let sides = |counts: &[ClassCount]| -> Value {
        let one =
            |c: &ClassCount| (c.class.clone(), json!({"train": c.train, "validation": c.validation, "test": c.test}));
        counts.iter().map(one).collect::<serde_json::Map<_, _>>().into()
    };
    let mut summary = json!({
        "classes": manifest.classes,
        "examples": manifest.examples.len(),
        "counts": sides(&manifest.audit.class_counts),
        "audit": manifest.audit,
    });
    if let Some(boxes) = &manifest.audit.boxes {
        summary["boxes"] = manifest.examples.iter().map(|e| e.boxes.len()).sum::<usize>().into();
        summary["box_counts"] = sides(&boxes.counts);
    }
    summary
}

/// Whether a person may call something so; the spaces around it count, and are not kept.
pub(crate) fn is_name(given: &str) -> bool {
    !given.trim().is_empty() && given.chars().count() <= 200 && !given.chars().any(char::is_control)
}

impl Service {
    /// Makes a data set without content, with the labels that the kind of task wants.
    ///
    /// # Errors
    /// The name is not 1 to 200 characters, or the store failed.
    pub async fn create_dataset(&self, name: &str, kind: TaskKind) -> Result<DatasetRecord, EngineError> {
        self.create_dataset_of(name, kind, labels_for(kind)).await
    }

    /// Makes a data set without content, whose content will be read for these labels.
    ///
    /// # Errors
    /// The name is not 1 to 200 characters, or the store failed.
    pub async fn create_dataset_of(
        &self,
        name: &str,
        kind: TaskKind,
        labels: LabelKind,
    ) -> Result<DatasetRecord, EngineError> {
        let name = Self::dataset_name(name)?;
        let now = now_ms();
        let record = DatasetRecord {
            id: DatasetId::new(),
            project: ProjectId::local(),
            name,
            kind,
            labels,
            state: DatasetState::Empty,
            problem: None,
            hash: None,
            summary: None,
            created_at: now,
            updated_at: now,
        };
        self.store().meta.create_dataset(&record).await?;
        Ok(record)
    }

    /// A data set's name, trimmed, if it may be one.
    pub(crate) fn dataset_name(name: &str) -> Result<String, EngineError> {
        if !is_name(name) {
            let detail = "`name` must have 1 to 200 characters, not only spaces and no control characters";
            return Err(EngineError::refused(ErrorCode::InvalidRequest, detail));
        }
        Ok(name.trim().to_owned())
    }

    /// A fresh path to write an upload to before [`seal_dataset`](Self::seal_dataset).
    pub fn upload_path(&self, id: &DatasetId) -> PathBuf {
        self.scratch().join(format!("upload-{id}-{}", DatasetId::new()))
    }

    /// Reads an archive or directory into the data set and seals it. An archive written to
    /// [`upload_path`](Self::upload_path) is removed in every case.
    ///
    /// # Errors
    /// The data set is not waiting for content ([`ErrorCode::DatasetSealed`], [`ErrorCode::DatasetNotReady`]);
    /// or the content was refused, which is kept in the record too, and other content may be uploaded.
    pub async fn seal_dataset(&self, id: &DatasetId, source: &Path) -> Result<DatasetRecord, EngineError> {
        let result = self.seal(id, async { Ok(source.to_owned()) }, 0).await;
        if source.starts_with(self.scratch())
            && let Err(error) = tokio::fs::remove_file(source).await
        {
            tracing::warn!(path = %source.display(), %error, "an uploaded archive could not be removed");
        }
        result
    }

    /// What a data set for tasks of this kind may be.
    pub(crate) fn limits_for(&self, kind: TaskKind) -> Limits {
        let mut limits = self.limits().clone();
        if kind == TaskKind::AnomalyDetection {
            // No fault need have been seen, or it was seen once; how many good examples are needed is for the task to say.
            (limits.min_classes, limits.min_per_class) = (1, 1);
        }
        limits
    }

    /// Seals with the archive or directory that `source` gives, once it is known that the data set waits for one. Of what the
    /// project has, `freed` bytes go when that is done.
    pub(crate) async fn seal(
        &self,
        id: &DatasetId,
        source: impl Future<Output = Result<PathBuf, EngineError>>,
        freed: u64,
    ) -> Result<DatasetRecord, EngineError> {
        let open = [DatasetState::Empty, DatasetState::Refused];
        let meta = &self.store().meta;
        if !meta.update_dataset(id, &open, &DatasetUpdate::to(DatasetState::Processing), now_ms()).await? {
            let state = meta.dataset(id).await?.state;
            return Err(match state {
                DatasetState::Ready => EngineError::refused(
                    ErrorCode::DatasetSealed,
                    format!("data set {id} has content and is sealed; make a new data set for other content"),
                ),
                _ => EngineError::refused(
                    ErrorCode::DatasetNotReady,
                    format!("content for data set {id} is being read already; wait until that has ended"),
                ),
            });
        }
        let record = meta.dataset(id).await?;
        let labels = labels_of(record.labels);
        let limits = self.limits_for(record.kind);
        let directory = self.scratch().join(format!("ingest-{id}"));
        let out = directory.clone();
        let beats = AbortOnDropHandle::new(tokio::spawn(self.keep_reading(id.clone())));
        let read = async {
            let source = source.await?;
            blocking(move || Ok(ingest_as(labels, &source, &out, &limits, &|_| {}, &AtomicBool::new(false))?)).await
        };
        let read = read.await;
        let kept = match &read {
            Ok(_) => self.keep_content(&record, &directory, freed).await,
            Err(_) => Ok(()),
        };
        let read = read.and_then(|manifest| kept.map(|()| manifest));
        let update = match &read {
            Ok(manifest) => DatasetUpdate {
                state: DatasetState::Ready,
                problem: None,
                hash: Some(manifest.hash.clone()),
                summary: Some(summary(manifest)),
            },
            Err(error) => DatasetUpdate {
                state: DatasetState::Refused,
                problem: Some(Problem { code: error.code(), detail: error.detail() }),
                hash: None,
                summary: None,
            },
        };
        drop(beats);
        let kept = meta.update_dataset(id, &[DatasetState::Processing], &update, now_ms()).await?;
        read?;
        let record = meta.dataset(id).await?;
        if !kept && record.hash != update.hash {
            let detail = format!("data set {id} was taken for abandoned while its content was read; upload it again");
            return Err(EngineError::refused(ErrorCode::DatasetNotReady, detail));
        }
        Ok(record)
    }

    /// Puts what was read among the files, if the project has room for it. What a process killed before it could say so
    /// left there is removed first.
    async fn keep_content(&self, record: &DatasetRecord, directory: &Path, freed: u64) -> Result<(), EngineError> {
        let (id, files) = (&record.id, &self.store().files);
        let _one_at_a_time = self.admission().lock().await;
        let kept = async {
            self.check_folder(&record.project, directory, freed).await?;
            files.delete_prefix(&key(id)).await?;
            files.move_dir(&key(id), directory).await?;
            self.count_files(Noun::Dataset, id.as_str(), &key(id)).await
        };
        let kept = kept.await;
        if kept.is_err() {
            // Of a full disk or a store that fails nothing half there may stay; the next try would be in its way.
            let _ = tokio::fs::remove_dir_all(directory).await;
            let _ = files.delete_prefix(&key(id)).await;
        }
        kept
    }

    /// Says that the content is still being read, so that no other service takes it for abandoned.
    fn keep_reading(&self, id: DatasetId) -> impl Future<Output = ()> + use<> {
        let meta = self.store().meta.clone();
        async move {
            let (from, same) = ([DatasetState::Processing], DatasetUpdate::to(DatasetState::Processing));
            loop {
                tokio::time::sleep(Duration::from_millis(ABANDONED_MS as u64 / 6)).await;
                if let Err(error) = meta.update_dataset(&id, &from, &same, now_ms()).await {
                    tracing::warn!(%id, %error, "that the content is being read could not be said");
                }
            }
        }
    }

    /// One data set's record.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn dataset(&self, id: &DatasetId) -> Result<DatasetRecord, EngineError> {
        Ok(self.store().meta.dataset(id).await?)
    }

    /// Opens a sealed data set's content.
    ///
    /// # Errors
    /// There is none of this id, or it is not ready.
    pub async fn open_dataset(&self, id: &DatasetId) -> Result<Arc<Dataset>, EngineError> {
        let record = self.dataset(id).await?;
        if record.state != DatasetState::Ready {
            self.dataset_cache().forget(id);
            let why = record.problem.map_or_else(
                || "upload its content and wait until it is ready".to_owned(),
                |p| format!("{}; upload other content", p.detail),
            );
            let detail = format!("data set {id} is {}, not ready: {why}", record.state);
            return Err(EngineError::refused(ErrorCode::DatasetNotReady, detail));
        }
        if let Some(open) = self.dataset_cache().get(id) {
            return Ok(open);
        }
        let directory = self.store().files.fetch_dir(&key(id)).await?;
        let open = Arc::new(blocking(move || Ok(Dataset::open(&directory)?)).await?);
        self.dataset_cache().put(id, open.clone());
        Ok(open)
    }

    /// Deletes a data set that no task uses.
    ///
    /// # Errors
    /// A task uses it, its content is being read, or there is none of this id.
    pub async fn delete_dataset(&self, id: &DatasetId) -> Result<(), EngineError> {
        match self.store().meta.delete_dataset(id).await? {
            Deletion::Deleted => {
                self.dataset_cache().forget(id);
                self.clear_away().await;
                Ok(())
            }
            Deletion::InUse => Err(EngineError::refused(
                ErrorCode::DatasetInUse,
                format!("data set {id} is used by a task, whose models could not be checked without it"),
            )),
            Deletion::Busy => Err(EngineError::refused(
                ErrorCode::DatasetNotReady,
                format!("the content of data set {id} is being read; delete it when that has ended"),
            )),
            Deletion::NotFound => Err(EngineError::refused(
                ErrorCode::DatasetNotFound,
                format!("there is no data set {id}; GET /v1/datasets lists those there are"),
            )),
        }
    }

    /// What a killed server left: half-read content is refused with that reason, its files removed.
    pub(crate) async fn recover(&self) -> Result<(), EngineError> {
        let scratch = self.scratch();
        sweep(&scratch)?;
        for entry in std::fs::read_dir(&scratch).map_err(EngineError::io(&scratch))? {
            let entry = entry.map_err(EngineError::io(&scratch))?;
            let path = entry.path();
            let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
            // A worker of the killed server may still be at its last export; it removes that itself.
            let dying = entry.file_name().to_string_lossy().starts_with(EXPORT_PREFIX);
            if dying && age.is_none_or(|age| age < Duration::from_secs(3600)) {
                continue;
            }
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(EngineError::io(&path))?;
        }
        self.sweep_drafts().await?;
        // In a directory of one service whoever read it is dead.
        if self.is_shared() { Ok(()) } else { self.refuse_silent(i64::MAX).await }
    }

    /// Refuses content that a service of many died reading.
    pub(crate) async fn refuse_abandoned(&self, now: i64) -> Result<(), EngineError> {
        if self.is_shared() { self.refuse_silent(now - ABANDONED_MS).await } else { Ok(()) }
    }

    /// Refuses the content of data sets being read of which nothing was said since a time.
    async fn refuse_silent(&self, since: i64) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let page = self.store().meta.datasets(None, after.as_ref(), 500).await?;
            let silent = |r: &&DatasetRecord| r.state == DatasetState::Processing && r.updated_at < since;
            for record in page.iter().filter(silent) {
                let detail = "the service stopped while it read the content; upload it again";
                let update = DatasetUpdate {
                    problem: Some(Problem { code: ErrorCode::DatasetNotReady, detail: detail.to_owned() }),
                    ..DatasetUpdate::to(DatasetState::Refused)
                };
                self.store().meta.update_dataset(&record.id, &[DatasetState::Processing], &update, now_ms()).await?;
            }
            match page.last() {
                Some(last) => after = Some(last.id.clone()),
                None => return Ok(()),
            }
        }
    }
}
