//! From an upload to a sealed data set: written under a temporary name, then renamed, so that it
//! is there whole or not at all.

use crate::copies::drop_copies;
use crate::dataset::{MANIFEST, ORIGINALS, cache_name, map, map_picture};
use crate::layout::{LABELS, Layout, Listing, is_litter};
use crate::limits::{OnProgress, Progress, RESOLUTIONS, Stage, check};
use crate::manifest::MANIFEST_VERSION;
use crate::pack::{Fault, Faulty, Packed, unpack};
use crate::room::Room;
use crate::source::{Entry, Source};
use crate::{Broken, DataError, Example, Labels, Limits, Manifest};
use crate::{audit, boxes, decode, resize, similar, sniff, split};
use kindling_spec::Split;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A picture's facts and its bytes for each cache, or why it cannot be used.
type Decoded = Result<(Seen, Vec<Vec<u8>>), DataError>;

/// What an unfinished data set's directory is called at first.
pub const TEMP_PREFIX: &str = ".ingest-";

/// Pictures decoded before their small copies are written out.
const BLOCK: usize = 256;
/// Pixels decoded at the same time by all threads together; a larger picture is decoded alone.
pub(crate) const PIXELS_AT_ONCE: u64 = 40_000_000;
/// Bytes of a `labels.csv` that are read.
const MAX_LABELS: u64 = 64 << 20;

/// [`ingest_as`] of pictures that have one class each, by their folders or a `labels.csv`.
///
/// # Errors
/// As [`ingest_as`].
pub fn ingest(
    source: &Path,
    out: &Path,
    limits: &Limits,
    progress: OnProgress<'_>,
    cancel: &AtomicBool,
) -> Result<Manifest, DataError> {
    ingest_as(Labels::Classes, source, out, limits, progress, cancel)
}

/// Reads a zip, tar, tar.gz or directory (told by content) into a new directory `out`: `manifest.json`,
/// `originals.pack`, and `cache_{R}.u8` for each of the labels' [`resolutions`](Labels::resolutions).
///
/// Where both are there, `labels` decides whether the pictures' classes or the boxes in them are read. Boxes
/// may be COCO's JSON, Pascal VOC's XML, YOLO's texts or a `boxes.csv`, whichever is there.
///
/// Pictures are decoded once, in parallel; memory does not grow with the upload. A file that cannot
/// be used is listed in the audit. Nothing is left behind on an error or when cancelled.
///
/// Sides that the upload does not give are carved out of its training examples, 15% of each class.
///
/// # Errors
/// What the source or the limits refuse, each with its own [`DataError::code`];
/// [`DataError::Cancelled`] soon after `cancel` is set; [`DataError::Exists`] when `out` is there.
pub fn ingest_as(
    labels: Labels,
    source: &Path,
    out: &Path,
    limits: &Limits,
    progress: OnProgress<'_>,
    cancel: &AtomicBool,
) -> Result<Manifest, DataError> {
    if out.exists() {
        return Err(DataError::Exists(out.to_owned()));
    }
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(DataError::io(parent))?;
    let source = Source::detect(source)?;
    let listing = list(&source, labels, limits, progress, cancel)?;
    let layout = match labels {
        Labels::Classes => listing.resolve(limits.min_classes)?,
        Labels::Boxes => listing.resolve_boxes()?,
    };
    check_classes(&layout.classes, limits)?;
    let temp = tempfile::Builder::new().prefix(TEMP_PREFIX).tempdir_in(parent).map_err(DataError::io(parent))?;
    let manifest = build(&source, layout, temp.path(), limits, progress, cancel)?;
    check(cancel)?;
    std::fs::rename(temp.path(), out).map_err(DataError::io(out))?;
    // The directory now has another name, there is nothing to delete under the old one.
    let _ = temp.keep();
    sync_dir(parent)?;
    Ok(manifest)
}

fn check_classes(classes: &[String], limits: &Limits) -> Result<(), DataError> {
    let n = classes.len();
    if n <= limits.max_classes {
        return Ok(());
    }
    Err(DataError::InvalidLayout(format!("{n} classes are more than the {} allowed", limits.max_classes)))
}

/// Deletes what ingests left in a directory when their process was killed. Call it only while none
/// runs there. Returns how many were deleted.
///
/// # Errors
/// [`DataError::Io`].
pub fn sweep(parent: &Path) -> Result<usize, DataError> {
    let mut deleted = 0;
    for entry in std::fs::read_dir(parent).map_err(DataError::io(parent))? {
        let entry = entry.map_err(DataError::io(parent))?;
        if entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX) {
            let path = entry.path();
            std::fs::remove_dir_all(&path).map_err(DataError::io(&path))?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Makes names and renamings of a directory's files last.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), DataError> {
    if cfg!(unix) {
        File::open(dir).and_then(|d| d.sync_all()).map_err(DataError::io(dir))?;
    }
    Ok(())
}

/// Finds out what is there, and refuses archives within archives.
pub(crate) fn list(
    source: &Source,
    labels: Labels,
    limits: &Limits,
    progress: OnProgress<'_>,
    cancel: &AtomicBool,
) -> Result<Listing, DataError> {
    let mut listing = Listing::default();
    let mut done = 0;
    source.walk(limits, cancel, &mut |Entry { path, is_dir, content }| {
        done += 1;
        progress(Progress { stage: Stage::Listing, done, total: 0 });
        if is_litter(path) {
            return Ok(());
        }
        if is_dir {
            listing.dirs.push(path.to_owned());
            return Ok(());
        }
        let depth = |path: &str| path.matches('/').count();
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut head = Vec::new();
        let nearer = listing.labels.as_ref().is_none_or(|(other, _)| depth(path) < depth(other));
        let explain = |error| source.explain(path, error);
        if labels == Labels::Boxes && listing.annotations.read(path, content, limits, &explain)? {
            // It was read to its end, or is told of as broken.
        } else if labels == Labels::Classes && name.eq_ignore_ascii_case(LABELS) && nearer {
            if let Err(error) = content.take(MAX_LABELS + 1).read_to_end(&mut head) {
                return Err(DataError::InvalidArchive(source.explain(path, error)?));
            }
            if head.len() as u64 > MAX_LABELS {
                let what = format!("`{path}` has more than the {} MiB allowed; send less", MAX_LABELS >> 20);
                return Err(DataError::InvalidLayout(what));
            }
            listing.labels = Some((path.to_owned(), head));
        } else if source.is_archive() {
            // A damaged file is told of when it is read in full.
            if let Err(error) = content.take(512).read_to_end(&mut head) {
                source.explain(path, error)?;
            }
            if let Some(kind) = sniff::archive_kind(&head) {
                return Err(DataError::NestedArchive { path: path.to_owned(), kind });
            }
        }
        listing.files.push(path.to_owned());
        Ok(())
    })?;
    // Unpackers differ in which of two they would take.
    let mut paths: Vec<&String> = listing.files.iter().collect();
    paths.sort_unstable();
    match paths.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(DataError::InvalidArchive(format!("`{}` is in it twice; pack each file once", pair[0]))),
        None => Ok(listing),
    }
}

/// Everything between the listing and the renaming.
fn build(
    source: &Source,
    mut layout: Layout,
    dir: &Path,
    limits: &Limits,
    progress: OnProgress<'_>,
    cancel: &AtomicBool,
) -> Result<Manifest, DataError> {
    let pack_path = dir.join(ORIGINALS);
    let labels = layout.labels();
    let mut unpacked = unpack(source, &layout, &pack_path, limits, progress, cancel)?;
    let mut faulty = unpacked.faulty;
    let mut box_audit = None;
    if let Some(marks) = layout.marks.as_ref().filter(|_| !unpacked.files.is_empty()) {
        let pack = map(&pack_path)?;
        let (classes, audit) = boxes::place_all(marks, &mut unpacked.files, &mut faulty, &pack, limits)?;
        check_classes(&classes, limits)?;
        layout.classes = classes;
        box_audit = Some(audit);
        let unread = |broken: &Broken| Faulty { class: 0, fault: Fault::Unreadable, broken: broken.clone() };
        faulty.extend(marks.broken.iter().map(unread));
        unpacked.other_files += marks.other_files;
    }
    let (files, duplicates) = drop_copies(unpacked.files);
    let decoded = decode_all(&files, labels.resolutions(), dir, limits, progress, cancel)?;

    progress(Progress { stage: Stage::Auditing, done: 0, total: 1 });
    let mut examples = Vec::new();
    let mut given = Vec::new();
    let (mut hashes, mut keys) = (Vec::new(), Vec::new());
    for (file, result) in files.into_iter().zip(decoded) {
        match result {
            Ok(Seen { width, height, hash }) => {
                hashes.push(hash);
                keys.push(file.sha256);
                given.push(file.given);
                examples.push(Example {
                    path: file.path,
                    class: file.class,
                    split: Split::Train,
                    sha256: hex(&file.sha256),
                    offset: file.offset,
                    bytes: file.bytes,
                    width,
                    height,
                    group: 0,
                    boxes: file.boxes,
                });
            }
            Err(error) => {
                let fault =
                    if matches!(error, DataError::ImageTooLarge(_)) { Fault::TooLarge } else { Fault::Unreadable };
                let broken = Broken { path: file.path, reason: error.to_string() };
                faulty.push(Faulty { class: file.class, fault, broken });
            }
        }
    }
    match labels {
        Labels::Classes => {
            let mut counts = vec![0; layout.classes.len()];
            examples.iter().for_each(|e| counts[e.class] += 1);
            audit::check_counts(&layout.classes, &counts, &faulty, limits)?;
        }
        Labels::Boxes => boxes::check_counts(&examples, &faulty, limits)?,
    }
    check(cancel)?;

    let smallest = RESOLUTIONS[0];
    let small = map(&dir.join(cache_name(smallest)))?;
    let groups = similar::group(&hashes, &keys, &small, smallest * smallest * 3);
    examples.iter_mut().zip(groups).for_each(|(example, group)| example.group = group);
    match labels {
        Labels::Classes => audit::check_variety(&layout.classes, &examples, limits)?,
        Labels::Boxes => boxes::check_variety(&examples)?,
    }
    let found = audit::Found { labels, faulty, duplicates, other_files: unpacked.other_files };
    let mut audit = audit::describe(&layout.classes, &examples, &layout, found);
    audit.boxes = box_audit;

    let candidates: Vec<split::Candidate> = (examples.iter().zip(&keys).zip(&given))
        .map(|((example, key), given)| split::Candidate {
            // Pictures without boxes are dealt by themselves, so that each side has its share of them.
            class: if labels == Labels::Boxes && example.boxes.is_empty() {
                layout.classes.len()
            } else {
                example.class
            },
            key: key.iter().take(8).fold(0, |k, b| k << 8 | u64::from(*b)),
            group: example.group,
            given: *given,
        })
        .collect();
    let strata = layout.classes.len() + usize::from(labels == Labels::Boxes);
    let assignment = split::assign(&candidates, strata);
    examples.iter_mut().zip(assignment.splits).for_each(|(example, split)| example.split = split);
    audit::count_sides(&mut audit, &layout.classes, &examples, assignment.moved);

    let hash = content_hash(labels, &layout.classes, &examples, &given);
    let (version, classes) = (MANIFEST_VERSION, layout.classes);
    let manifest = Manifest { version, hash, labels, classes, examples, audit, parent: None };
    write_manifest(&manifest, &dir.join(MANIFEST))?;
    sync_dir(dir)?;
    progress(Progress { stage: Stage::Auditing, done: 1, total: 1 });
    Ok(manifest)
}

/// Writes the manifest, on disk when this returns.
pub(crate) fn write_manifest(manifest: &Manifest, path: &Path) -> Result<(), DataError> {
    let text = serde_json::to_vec(manifest)
        .map_err(|error| DataError::Damaged { path: path.to_owned(), why: error.to_string() })?;
    let mut file = File::create(path).map_err(DataError::io(path))?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(DataError::io(path))
}

/// What is kept in memory of a decoded picture.
struct Seen {
    width: u32,
    height: u32,
    hash: u64,
}

/// Decodes every file once and writes the good ones' small copies to the caches, in order.
fn decode_all(
    files: &[Packed],
    resolutions: &[usize],
    dir: &Path,
    limits: &Limits,
    progress: OnProgress<'_>,
    cancel: &AtomicBool,
) -> Result<Vec<Result<Seen, DataError>>, DataError> {
    let mut caches = Vec::new();
    for resolution in resolutions {
        let path = dir.join(cache_name(*resolution));
        caches.push((BufWriter::with_capacity(1 << 18, File::create(&path).map_err(DataError::io(&path))?), path));
    }
    let mut seen = Vec::with_capacity(files.len());
    if files.is_empty() {
        return Ok(seen);
    }
    let pack_path = dir.join(ORIGINALS);
    let pack = File::open(&pack_path).map_err(DataError::io(&pack_path))?;
    let done = AtomicUsize::new(0);
    let room = Room::new(PIXELS_AT_ONCE);
    for block in files.chunks(BLOCK) {
        let results: Vec<Decoded> = block
            .par_iter()
            .with_max_len(1)
            .map(|file| {
                check(cancel)?;
                let bytes = map_picture(&pack, &pack_path, file.offset, file.bytes)?;
                let result = decode_one(&bytes, resolutions, limits, &room);
                progress(Progress {
                    stage: Stage::Decoding,
                    done: done.fetch_add(1, Ordering::Relaxed) + 1,
                    total: files.len(),
                });
                result
            })
            .collect();
        check(cancel)?;
        for result in results {
            seen.push(result.and_then(|(seen, small)| {
                for ((cache, path), bytes) in caches.iter_mut().zip(&small) {
                    cache.write_all(bytes).map_err(DataError::io(path))?;
                }
                Ok(seen)
            }));
            // A full disk is not a broken picture.
            if matches!(seen.last(), Some(Err(DataError::Io { .. })))
                && let Some(Err(error)) = seen.pop()
            {
                return Err(error);
            }
        }
    }
    for (cache, path) in caches {
        let file = cache.into_inner().map_err(|error| error.into_error()).map_err(DataError::io(&path))?;
        file.sync_all().map_err(DataError::io(&path))?;
    }
    Ok(seen)
}

fn decode_one(
    bytes: &[u8],
    resolutions: &[usize],
    limits: &Limits,
    room: &Room,
) -> Result<(Seen, Vec<Vec<u8>>), DataError> {
    let (width, height) = decode::image_size(bytes, limits)?;
    let _held = room.take(u64::from(width) * u64::from(height));
    let image = decode::decode_image(bytes, limits)?;
    let floats = resize::resize_all(&image, resolutions);
    let hash = resolutions.iter().zip(&floats).find(|(r, _)| **r == 32).map_or(0, |(_, f)| similar::perceptual_hash(f));
    let seen = Seen { width: image.width(), height: image.height(), hash };
    Ok((seen, floats.iter().map(|f| resize::to_u8(f)).collect()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The name of a data set by its content; see [`Manifest::hash`].
pub(crate) fn content_hash(
    labels: Labels,
    classes: &[String],
    examples: &[Example],
    given: &[Option<Split>],
) -> String {
    let mut hash = Sha256::new();
    hash.update(match labels {
        Labels::Classes => &b"kindling data set 1\n"[..],
        Labels::Boxes => &b"kindling data set 1, boxes\n"[..],
    });
    for (example, given) in examples.iter().zip(given) {
        // The length goes first, so that no class name can imitate what follows it.
        let split = given.map_or("", Split::as_str);
        if labels == Labels::Boxes {
            hash.update(format!("{} {} {split}\n", example.boxes.len(), example.sha256));
            for b in &example.boxes {
                let (class, bits) = (&classes[b.class], b.key().1);
                hash.update(format!("{} {class} {bits:?}\n", class.len()));
            }
            continue;
        }
        let class = &classes[example.class];
        hash.update(format!("{} {class} {} {split}\n", class.len(), example.sha256));
    }
    hex(&hash.finalize())
}
