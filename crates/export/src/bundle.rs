//! The bundle: every file of a model in one folder, written whole or not at all.

use crate::formats::{FORMATS, INT8_FILE, Source};
use crate::{Card, Check, ExportError, OBJECT_NUMBERS, OnnxModel, SplitMetrics, how_to_check, int8_file};
use kindling_graph::{Answer, Found, Graph, Quantized, Weights};
use kindling_spec::{ExportFormat, TaskKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The checksums' file.
pub(crate) const SUMS: &str = "SHA256SUMS";
const JSON: &str = "application/json";

/// A test image with the answer of the trained network, against which each file is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    /// Its name, for messages.
    pub name: String,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// `height * width * 3` bytes, rows from the top, red, green, blue.
    pub rgb: Vec<u8>,
    /// The trained network's probability of each label, or its objects as [`objects_answer`](crate::objects_answer) lists them.
    pub answer: Vec<f32>,
}

/// What a bundle is written from.
#[derive(Debug, Clone)]
pub struct BundleInput<'a> {
    /// The graph as trained, not folded.
    pub graph: &'a Graph,
    /// Its weights, running statistics included.
    pub weights: &'a Weights,
    /// The same in 8 bits; without it there are no files of 8 bits.
    pub int8: Option<Int8<'a>>,
    /// The classes' names in the order of the outputs.
    pub labels: &'a [String],
    /// The card; its `checks`, `files` and `how_to_check` are filled here.
    pub card: Card,
    /// Test images; at least one.
    pub judges: &'a [Judge],
    /// The formats asked for. `burnpack` comes through `extra_files`.
    pub formats: &'a [ExportFormat],
    /// Files made elsewhere, each with a check in `extra_checks`.
    pub extra_files: Vec<(String, Vec<u8>)>,
    /// How the caller re-ran each of the extra files.
    pub extra_checks: Vec<Check>,
}

/// An 8-bit network and the test split, on which its file is measured.
#[derive(Debug, Clone, Copy)]
pub struct Int8<'a> {
    /// The network.
    pub quantized: &'a Quantized,
    /// Pictures at the network's size in bytes, `[N, H, W, 3]`.
    pub pictures: &'a [u8],
    /// What is right of them.
    pub truth: Truth<'a>,
}

/// What is right of pictures.
#[derive(Clone, Copy)]
pub enum Truth<'a> {
    /// Each one's label, by number.
    Classes(&'a [usize]),
    /// Measures what was found in each, in their order, the surest first and every score above 0: gives mAP at an overlap of
    /// half, and mAP.
    Boxes(&'a dyn Fn(&[Vec<Found>]) -> [f64; 2]),
}

impl std::fmt::Debug for Truth<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Classes(labels) => f.debug_tuple("Classes").field(labels).finish(),
            Self::Boxes(_) => f.write_str("Boxes"),
        }
    }
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// As in HTTP's Content-Type.
    pub media_type: String,
    /// What it is, for people.
    pub about: String,
}

/// Writes the bundle into the new folder `out`: the formats asked for, `labels.json`, `card.json`,
/// `card.md` and `SHA256SUMS`. Everything is written beside `out`, read back and re-run, and only then
/// renamed to `out`.
///
/// # Errors
/// [`ExportError::Disagrees`] or [`ExportError::ReadBack`] when a file does not do what the trained
/// network did; [`ExportError::Input`] when something is missing. On any error nothing is left.
pub fn write_bundle(input: &BundleInput<'_>, out: &Path) -> Result<Vec<FileInfo>, ExportError> {
    let quantized = input.int8.map(|int8| int8.quantized);
    let mut source = Source::new(input.graph, input.weights, quantized, input.labels, &input.card.task.name)?;
    source.unknown_below = input.card.unknown.as_ref().map(|unknown| unknown.below);
    source.at_least = input.card.at_least;
    source.at_most = (input.card.task.kind == TaskKind::ObjectLocalization).then_some(1);
    source.decision = input.card.decision.as_ref().map(|decision| (decision.label.as_str(), decision.at_least));
    check(input)?;
    if fs::symlink_metadata(out).is_ok() {
        let what = format!("{} is there already; name a folder that is not", out.display());
        return Err(ExportError::Input(what));
    }
    let staging = Staging::beside(out)?;
    let files = write(input, &source, &staging.path)?;
    fs::rename(&staging.path, out).map_err(|error| ExportError::io(out, error))?;
    if let Some(parent) = out.parent() {
        sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    }
    Ok(files)
}

/// Checks what the formats do not.
fn check(input: &BundleInput<'_>) -> Result<(), ExportError> {
    let refuse = |what: String| Err(ExportError::Input(what));
    if input.judges.is_empty() {
        return refuse("there is no test image to judge the files by; hand in at least one".into());
    }
    for judge in input.judges {
        let (given, labels) = (judge.answer.len(), input.labels.len());
        match input.graph.answer {
            Answer::Classes if given != labels => {
                return refuse(format!("{} has {given} probabilities, there are {labels} labels", judge.name));
            }
            Answer::Map if !given.is_multiple_of(OBJECT_NUMBERS) => {
                let what = format!("{} has {given} numbers, an object takes {OBJECT_NUMBERS}", judge.name);
                return refuse(what);
            }
            _ => {}
        }
    }
    let is_of_classes = |metrics: &SplitMetrics| metrics.classes().is_some() == (input.graph.answer == Answer::Classes);
    if ![&input.card.validation, &input.card.test].into_iter().all(is_of_classes) {
        return refuse("the card's figures are of another kind of task than the network".into());
    }
    if input.card.labels != input.labels {
        return refuse("the card's labels are not the model's".into());
    }
    let mut names: BTreeSet<&str> = [SUMS, "labels.json", "card.json", "card.md"].into();
    for (name, _) in &input.extra_files {
        if !is_plain_name(name) || !names.insert(name) {
            return refuse(format!("`{name}` cannot be a file's name here, or it is taken"));
        }
        if !input.extra_checks.iter().any(|check| check.file == *name && check.max_difference <= check.tolerance) {
            return refuse(format!("`{name}` was not re-run, or it disagreed; nothing is offered unchecked"));
        }
    }
    Ok(())
}

/// Writes every file into `dir`, re-running each.
fn write(input: &BundleInput<'_>, source: &Source<'_>, dir: &Path) -> Result<Vec<FileInfo>, ExportError> {
    let mut files: Vec<FileInfo> = Vec::new();
    let mut checks = Vec::new();
    for format in FORMATS.iter().filter(|format| input.formats.contains(&format.format())) {
        for file in format.write(source)? {
            files.push(put(dir, file.name, &file.bytes, file.media_type, file.about)?);
        }
        checks.extend(format.verify(dir, source, input.judges)?);
    }
    for (name, bytes) in &input.extra_files {
        if files.iter().any(|file| file.name == *name) {
            return Err(ExportError::Input(format!("`{name}` is written here already")));
        }
        let about = "made by the program that trained the network";
        files.push(put(dir, name, bytes, "application/octet-stream", about)?);
    }
    checks.extend(input.extra_checks.iter().cloned());
    let labels = pretty("labels.json", &input.labels)?;
    files.push(put(dir, "labels.json", &labels, JSON, "the labels in the order of their numbers")?);

    let mut card = input.card.clone();
    if let Some(int8) = input.int8.filter(|_| files.iter().any(|file| file.name == INT8_FILE)) {
        card.int8 = Some(int8_file::measure(&OnnxModel::load(&read(&dir.join(INT8_FILE))?)?, int8)?);
    }
    (card.how_to_check, card.checks, card.files) = (how_to_check(&files, source.answer()), checks, files.clone());
    card.graph_sha256 = source.graph.hash();
    let about = "the model card: data, figures, costs, checks; for machines";
    files.push(put(dir, "card.json", &pretty("card.json", &card)?, JSON, about)?);
    let about = "the model card for people";
    files.push(put(dir, "card.md", card.to_markdown().as_bytes(), "text/markdown; charset=utf-8", about)?);

    let sums: String = files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
    let about = "the other files' SHA-256, for `sha256sum -c SHA256SUMS`";
    files.push(put(dir, SUMS, sums.as_bytes(), "text/plain; charset=utf-8", about)?);
    sync_dir(dir);
    Ok(files)
}

/// Notes a judge's verdict on a file: the greatest difference so far, or the error.
pub(crate) fn agree(
    file: &str,
    judge: &Judge,
    difference: f32,
    tolerance: f32,
    greatest: f32,
) -> Result<f32, ExportError> {
    // Written so that NaN disagrees too.
    if difference <= tolerance {
        return Ok(greatest.max(difference));
    }
    let (file, image) = (file.to_owned(), judge.name.clone());
    Err(ExportError::Disagrees { file, image, difference, tolerance })
}

/// Letters, digits, `.`, `_` and `-`, not starting with a point: safe in a path, a URL and a list.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.bytes().all(plain)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ExportError> {
    fs::read(path).map_err(|error| ExportError::io(path, error))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pretty<T: Serialize + ?Sized>(name: &str, value: &T) -> Result<Vec<u8>, ExportError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| ExportError::Input(format!("{name}: {error}")))?;
    text.push(b'\n');
    Ok(text)
}

fn put(dir: &Path, name: &str, bytes: &[u8], media_type: &str, about: &str) -> Result<FileInfo, ExportError> {
    let path = dir.join(name);
    let write = || -> std::io::Result<()> {
        let mut file = File::create_new(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| ExportError::io(&path, error))?;
    Ok(FileInfo {
        name: name.into(),
        bytes: bytes.len() as u64,
        sha256: hex(&Sha256::digest(bytes)),
        media_type: media_type.into(),
        about: about.into(),
    })
}

/// Makes a rename last through a power cut. Not every file system offers it, and the files are right
/// without it, so a refusal is not an error.
fn sync_dir(dir: &Path) {
    if let Err(error) = File::open(dir).and_then(|dir| dir.sync_all()) {
        tracing::debug!(%error, dir = %dir.display(), "the folder could not be synced");
    }
}

/// A folder that goes away unless it is renamed.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn beside(out: &Path) -> Result<Self, ExportError> {
        let Some(name) = out.file_name() else {
            return Err(ExportError::Input(format!("{} is not a folder's name", out.display())));
        };
        let name = format!(".{}.partial-{}", name.to_string_lossy(), std::process::id());
        let path = out.with_file_name(name);
        let clear = match fs::remove_dir_all(&path) {
            // Left by a process of the same number that was killed.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(&path),
        };
        clear.map_err(|error| ExportError::io(&path, error))?;
        Ok(Self { path })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After the rename there is nothing of this name any more.
        let _ = fs::remove_dir_all(&self.path);
    }
}
