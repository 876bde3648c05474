//! Draft data sets: pictures that are labelled one by one, and made into data sets.
//!
//! Pictures lie in packs, one for each upload, moved into place before a record names them; a label is a row of its own,
//! on disk before the call returns. So a process may be killed at any moment, and two people may label side by side.

mod label;
mod seal;
mod suggest;

pub use label::LabelRequest;
pub use suggest::{Accept, Suggested};

use image::{DynamicImage, ImageFormat};
use kindling_data::{Broken, Labels, Limits, PICTURES, decode_image, read_pictures};
use kindling_spec::{DatasetId, DraftId, ErrorCode, ProjectId};
use kindling_store::{Annotation, DraftBox, DraftCounts, DraftExampleRecord, DraftRecord, DraftState, LabelKind, Noun};
use serde::Deserialize;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::error::blocking;
use crate::{EngineError, Service, clock::now_ms, datasets::is_name};

/// The file with a sealed data set's pictures.
const ORIGINALS: &str = "originals.pack";

/// What a draft is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDraft {
    /// A name for people; left out, that of the data set it begins from.
    #[serde(default)]
    pub name: Option<String>,
    /// What its labels are; left out, those of the data set it begins from, else classes.
    #[serde(default)]
    pub labels: Option<LabelKind>,
    /// The classes to choose from, besides those of the data set it begins from.
    #[serde(default)]
    pub classes: Vec<String>,
    /// The sealed data set whose pictures and labels it begins with.
    #[serde(default)]
    pub from: Option<DatasetId>,
}

/// What came of an upload to a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Pictures that are new to it.
    pub added: u64,
    /// Pictures that were there already, or twice in the upload.
    pub copies: u64,
    /// Files that could not be used.
    pub broken: Vec<Broken>,
    /// Files that are no pictures.
    pub other_files: usize,
}

pub(crate) fn key(id: &DraftId) -> String {
    format!("drafts/{id}")
}

/// Names of classes, trimmed, if they may be ones.
fn class_names(given: &[String], limits: &Limits) -> Result<Vec<String>, EngineError> {
    let refuse = |what: String| Err(EngineError::refused(ErrorCode::InvalidRequest, what));
    let mut names: Vec<String> = Vec::new();
    for (i, given) in given.iter().enumerate() {
        let name = given.trim();
        if !is_name(given) {
            let what = "a class's name has 1 to 200 characters, not only spaces and no control characters";
            return refuse(format!("`classes/{i}`: {what}"));
        }
        if names.iter().any(|other| other == name) {
            return refuse(format!("`classes/{i}`: `{name}` was named before; name it once"));
        }
        names.push(name.to_owned());
    }
    if names.len() > limits.max_classes {
        return refuse(format!("{} classes are more than the {} allowed", names.len(), limits.max_classes));
    }
    Ok(names)
}

/// A pack this old that no record names is nobody's.
const SWEPT_AFTER_MS: i64 = 3600 * 1000;

impl Service {
    /// Makes a draft: empty, or with the pictures and labels of a sealed data set.
    ///
    /// # Errors
    /// A name or class is none; the data set is unknown or not ready, or its labels are of another kind.
    pub async fn create_draft(&self, new: &NewDraft) -> Result<DraftRecord, EngineError> {
        let mut classes = class_names(&new.classes, self.limits())?;
        let now = now_ms();
        let id = DraftId::new();
        let make = |name: String, labels: LabelKind, classes: Vec<String>| DraftRecord {
            id: id.clone(),
            project: ProjectId::local(),
            name,
            labels,
            classes,
            parent: new.from.clone(),
            created_at: now,
            updated_at: now,
        };
        let meta = &self.store().meta;
        let Some(from) = &new.from else {
            let name = Self::dataset_name(new.name.as_deref().unwrap_or_default())?;
            let record = make(name, new.labels.unwrap_or_default(), classes);
            meta.create_draft(&record).await?;
            return Ok(record);
        };
        let old = self.dataset(from).await?;
        let dataset = self.open_dataset(from).await?;
        if let Some(labels) = new.labels.filter(|labels| *labels != old.labels) {
            let (wanted, has) = (labels.as_str(), old.labels.as_str());
            let what = format!("`labels` are `{wanted}`, but those of data set {from} are `{has}`; leave `labels` out");
            return Err(EngineError::refused(ErrorCode::InvalidRequest, what));
        }
        let manifest = dataset.manifest();
        let added = std::mem::take(&mut classes);
        classes = manifest.classes.clone();
        classes.extend(added.into_iter().filter(|name| !manifest.classes.contains(name)));
        let name = new.name.as_deref().unwrap_or(&old.name);
        let record = make(Self::dataset_name(name)?, old.labels, classes);

        let (originals, scratch) = (dataset.dir().join(ORIGINALS), self.scratch().join(format!("draft-{id}")));
        let size = tokio::fs::metadata(&originals).await.map_err(EngineError::io(&originals))?.len();
        self.check_room(&old.project, size).await?;
        let pack = self.move_pack(&id, scratch, move |to| {
            // The original never changes, so a second name for it is as good as a copy.
            std::fs::hard_link(&originals, to).or_else(|_| std::fs::copy(&originals, to).map(drop))
        });
        let pack = pack.await?;
        let examples: Vec<DraftExampleRecord> = (0u32..)
            .zip(&manifest.examples)
            .map(|(number, example)| {
                let name = |class: usize| manifest.classes.get(class).cloned().unwrap_or_default();
                let boxed = |b: &kindling_data::LabelledBox| DraftBox {
                    class: name(b.class),
                    x: b.x,
                    y: b.y,
                    width: b.width,
                    height: b.height,
                };
                let label = match manifest.labels {
                    Labels::Classes => Annotation::Class(name(example.class)),
                    Labels::Boxes => Annotation::Boxes(example.boxes.iter().map(boxed).collect()),
                };
                DraftExampleRecord {
                    number,
                    path: example.path.clone(),
                    sha256: example.sha256.clone(),
                    pack: pack.clone(),
                    start: example.offset,
                    bytes: example.bytes,
                    width: example.width,
                    height: example.height,
                    split: Some(example.split),
                    state: DraftState::Labelled,
                    label: Some(label),
                    suggestion: None,
                    doubt: None,
                    suggested_by: None,
                    updated_at: now,
                }
            })
            .collect();
        meta.create_draft(&record).await?;
        meta.add_draft_examples(&id, &examples, now).await?;
        self.count_files(Noun::Draft, id.as_str(), &key(&id)).await?;
        Ok(record)
    }

    /// Has `write` write a pack at the path it is given, and moves it among the draft's files. Returns its key.
    async fn move_pack(
        &self,
        id: &DraftId,
        scratch: PathBuf,
        write: impl FnOnce(&Path) -> std::io::Result<()> + Send + 'static,
    ) -> Result<String, EngineError> {
        let directory = scratch.clone();
        blocking(move || {
            std::fs::create_dir_all(&directory).map_err(EngineError::io(&directory))?;
            let path = directory.join(PICTURES);
            write(&path).map_err(EngineError::io(path))
        })
        .await?;
        let prefix = format!("{}/{}", key(id), DraftId::new());
        self.store().files.move_dir(&prefix, &scratch).await?;
        Ok(format!("{prefix}/{PICTURES}"))
    }

    /// One draft, and how far it is.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn draft(&self, id: &DraftId) -> Result<(DraftRecord, DraftCounts), EngineError> {
        let meta = &self.store().meta;
        Ok((meta.draft(id).await?, meta.draft_counts(id).await?))
    }

    /// Adds classes to choose from; returns all.
    ///
    /// # Errors
    /// There is no such draft, a name is none, or there would be too many.
    pub async fn add_draft_classes(&self, id: &DraftId, add: &[String]) -> Result<Vec<String>, EngineError> {
        let known = self.store().meta.draft(id).await?.classes;
        let add = class_names(add, self.limits())?;
        let all = known.len() + add.iter().filter(|name| !known.contains(name)).count();
        if all > self.limits().max_classes {
            let what = format!("{all} classes are more than the {} allowed", self.limits().max_classes);
            return Err(EngineError::refused(ErrorCode::InvalidRequest, what));
        }
        Ok(self.store().meta.add_draft_classes(id, &add, now_ms()).await?)
    }

    /// A fresh path to write pictures to before [`add_pictures`](Self::add_pictures).
    pub fn draft_upload_path(&self) -> PathBuf {
        self.scratch().join(format!("upload-{}", DraftId::new()))
    }

    /// Reads the pictures of an archive, or a picture's own file, into the draft. A file written to
    /// [`draft_upload_path`](Self::draft_upload_path) is removed in every case. `name` is what a lone picture is called.
    ///
    /// # Errors
    /// There is no such draft, the content was refused, or the draft would have too many pictures.
    pub async fn add_pictures(&self, id: &DraftId, source: &Path, name: &str) -> Result<Added, EngineError> {
        let result = self.read_into_draft(id, source, name).await;
        if source.starts_with(self.scratch())
            && let Err(error) = tokio::fs::remove_file(source).await
        {
            tracing::warn!(path = %source.display(), %error, "uploaded pictures could not be removed");
        }
        result
    }

    async fn read_into_draft(&self, id: &DraftId, source: &Path, name: &str) -> Result<Added, EngineError> {
        let (draft, before) = self.draft(id).await?;
        let out = self.scratch().join(format!("draft-{}", DraftId::new()));
        let (from, name, limits, to) = (source.to_owned(), name.to_owned(), self.limits().clone(), out.clone());
        let read = blocking(move || {
            let read = read_pictures(&from, &name, &to, &limits, &|_| {}, &AtomicBool::new(false));
            if read.is_err() {
                let _ = std::fs::remove_dir_all(&to);
            }
            Ok(read?)
        });
        let found = read.await?;
        let most = self.limits().max_entries as u64;
        if before.examples + found.pictures.len() as u64 > most {
            tokio::fs::remove_dir_all(&out).await.map_err(EngineError::io(&out))?;
            let what = format!("the draft would have more than {most} pictures, the most allowed; make another draft");
            return Err(EngineError::refused(ErrorCode::ArchiveTooLarge, what));
        }
        let _one_at_a_time = self.admission().lock().await;
        self.check_folder(&draft.project, &out, 0).await?;
        let prefix = format!("{}/{}", key(id), DraftId::new());
        self.store().files.move_dir(&prefix, &out).await?;
        let (pack, now) = (format!("{prefix}/{PICTURES}"), now_ms());
        let all = found.pictures.len() as u64;
        let example = |picture: kindling_data::Picture| DraftExampleRecord {
            number: 0,
            path: picture.path,
            sha256: picture.sha256,
            pack: pack.clone(),
            start: picture.offset,
            bytes: picture.bytes,
            width: picture.width,
            height: picture.height,
            split: None,
            state: DraftState::Unlabelled,
            label: None,
            suggestion: None,
            doubt: None,
            suggested_by: None,
            updated_at: now,
        };
        let examples: Vec<DraftExampleRecord> = found.pictures.into_iter().map(example).collect();
        let added = self.store().meta.add_draft_examples(id, &examples, now).await;
        if !matches!(added, Ok(1..)) {
            // Nothing of it is named: the draft was deleted meanwhile, or knew all of it.
            self.store().files.delete_prefix(&prefix).await?;
        }
        let added = added?;
        self.count_files(Noun::Draft, id.as_str(), &key(id)).await?;
        let copies = found.copies as u64 + all - added;
        Ok(Added { added, copies, broken: found.broken, other_files: found.other_files })
    }

    /// A picture's file as it was uploaded.
    ///
    /// # Errors
    /// There is no such draft or picture.
    pub async fn draft_picture(&self, example: &DraftExampleRecord) -> Result<Vec<u8>, EngineError> {
        let range = example.start..example.start + example.bytes;
        Ok(self.store().files.get_range(&example.pack, range).await?.to_vec())
    }

    /// A JPEG of a picture whose longer side is at most `side` pixels (never enlarged).
    ///
    /// # Errors
    /// There is no such draft or picture.
    pub async fn draft_thumbnail(&self, example: &DraftExampleRecord, side: u32) -> Result<Vec<u8>, EngineError> {
        let bytes = self.draft_picture(example).await?;
        blocking(move || {
            // What was accepted once is decoded again, whatever the limits are now.
            let limits = Limits { max_pixels: u64::MAX, max_image_bytes: u64::MAX, ..Limits::default() };
            let image = DynamicImage::ImageRgb8(decode_image(&bytes, &limits)?);
            let small = if image.width().max(image.height()) > side { image.thumbnail(side, side) } else { image };
            let mut out = Cursor::new(Vec::new());
            let written = small.write_to(&mut out, ImageFormat::Jpeg);
            written.map_err(|error| EngineError::Thread(format!("no thumbnail could be made: {error}")))?;
            Ok(out.into_inner())
        })
        .await
    }

    /// Deletes a draft. Data sets that were made of it stay.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn delete_draft(&self, id: &DraftId) -> Result<(), EngineError> {
        self.store().meta.delete_draft(id).await?;
        self.clear_away().await;
        Ok(())
    }

    /// Removes packs that no record names: their process was killed in between.
    pub(crate) async fn sweep_drafts(&self) -> Result<(), EngineError> {
        let files = &self.store().files;
        // Of several services another may be about to name what it has just put there.
        let older = if self.is_shared() { now_ms() - SWEPT_AFTER_MS } else { i64::MAX };
        let found = files.list_older("drafts", older).await?;
        let known = self.store().meta.draft_packs().await?;
        for key in found.iter().filter(|key| !known.contains(*key)) {
            files.delete(key).await?;
        }
        Ok(())
    }
}
