//! Pictures that wait for labels: read as an upload is, kept in a pack, and made into a data set once they have labels.

use crate::dataset::map;
use crate::ingest::{PIXELS_AT_ONCE, TEMP_PREFIX, hex, list, sync_dir};
use crate::layout::{LABELS, Layout};
use crate::limits::{OnProgress, Progress, Stage, check};
use crate::pack::{Packed, unpack};
use crate::room::Room;
use crate::source::Source;
use crate::{Broken, DataError, Labels, Limits, Manifest, decode, ingest_as, sniff};
use image::ImageFormat;
use kindling_spec::Split;
use rayon::prelude::*;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The file in which [`read_pictures`] leaves the pictures.
pub const PICTURES: &str = "pictures.pack";

/// Where the boxes stand in what is ingested.
const BOXES: &str = "boxes.csv";

/// A picture without a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its path in the upload, ending as its content wants.
    pub path: String,
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: String,
    /// Where its file starts in the pack.
    pub offset: u64,
    /// The length of its file.
    pub bytes: u64,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
}

/// What [`read_pictures`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pictures {
    /// One of each content, by path.
    pub pictures: Vec<Picture>,
    /// Files that could not be used, by path.
    pub broken: Vec<Broken>,
    /// Files that are the same as others, left out.
    pub copies: usize,
    /// Files that are no pictures nor called so, left out.
    pub other_files: usize,
}

/// Reads the pictures of a zip, tar, tar.gz or directory, or a picture's own file, into a new file [`PICTURES`] in the
/// directory `out`. Folders and annotations say nothing here. `name` is what a lone picture is called.
///
/// # Errors
/// What the source or the limits refuse; [`DataError::InvalidImage`] or [`DataError::ImageTooLarge`] of a lone picture;
/// [`DataError::InvalidArchive`] when no picture can be used.
pub fn read_pictures(
    source: &Path,
    name: &str,
    out: &Path,
    limits: &Limits,
    progress: OnProgress<'_>,
    cancel: &AtomicBool,
) -> Result<Pictures, DataError> {
    std::fs::create_dir_all(out).map_err(DataError::io(out))?;
    let source = Source::detect_pictures(source, name)?;
    let listing = list(&source, Labels::Classes, limits, progress, cancel)?;
    let files = listing.files.into_iter().map(|path| (path, (0, None))).collect();
    let layout = Layout { files, ..Layout::default() };
    let pack_path = out.join(PICTURES);
    let unpacked = unpack(&source, &layout, &pack_path, limits, progress, cancel)?;
    let mut found = Pictures { other_files: unpacked.other_files, ..Pictures::default() };
    found.broken.extend(unpacked.faulty.into_iter().map(|faulty| faulty.broken));
    let mut files = unpacked.files;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut seen = HashSet::new();
    let all = files.len();
    files.retain(|file| seen.insert(file.sha256));
    found.copies = all - files.len();

    let mut refusal = None;
    for (file, decoded) in decode(&files, &pack_path, limits, progress, cancel)? {
        match decoded {
            Ok((width, height, format)) => found.pictures.push(Picture {
                path: with_ending(&file.path, format),
                sha256: hex(&file.sha256),
                offset: file.offset,
                bytes: file.bytes,
                width,
                height,
            }),
            Err(error) => {
                found.broken.push(Broken { path: file.path.clone(), reason: error.to_string() });
                refusal = Some(error);
            }
        }
    }
    found.broken.sort_by(|a, b| a.path.cmp(&b.path));
    match (found.pictures.is_empty(), refusal) {
        (false, _) => sync_dir(out).map(|()| found),
        (true, Some(error)) if matches!(source, Source::Picture { .. }) => Err(error),
        (true, _) => {
            let first = found.broken.first().map(|b| format!(": `{}` is {}", b.path, b.reason)).unwrap_or_default();
            Err(DataError::InvalidArchive(format!("there is no picture in it that can be used{first}")))
        }
    }
}

type Decoded = Result<(u32, u32, ImageFormat), DataError>;

/// Decodes every file to its end, so that only what can be shown and learnt from is labelled.
fn decode<'a>(
    files: &'a [Packed],
    pack_path: &Path,
    limits: &Limits,
    progress: OnProgress<'_>,
    cancel: &AtomicBool,
) -> Result<Vec<(&'a Packed, Decoded)>, DataError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let pack = map(pack_path)?;
    let (room, done) = (Room::new(PIXELS_AT_ONCE), AtomicUsize::new(0));
    let decoded = files.par_iter().with_max_len(1).map(|file| {
        check(cancel)?;
        let bytes = pack.get(file.offset as usize..(file.offset + file.bytes) as usize).unwrap_or_default();
        let read = || {
            let (width, height) = decode::image_size(bytes, limits)?;
            let _held = room.take(u64::from(width) * u64::from(height));
            let image = decode::decode_image(bytes, limits)?;
            let format = sniff::image_format(bytes).unwrap_or(ImageFormat::Png);
            Ok((image.width(), image.height(), format))
        };
        let read = read();
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress(Progress { stage: Stage::Decoding, done, total: files.len() });
        Ok((file, read))
    });
    decoded.collect()
}

/// Files are told apart by content here, but by name where annotations are looked for: a picture is called one.
fn with_ending(path: &str, format: ImageFormat) -> String {
    let path = path.trim();
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.contains('.') && sniff::named_as_image(path) {
        return path.to_owned();
    }
    format!("{path}.{}", format.extensions_str().first().unwrap_or(&"png"))
}

/// What a person says of a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum DraftLabel {
    /// Its class.
    Class(String),
    /// What is where in it: a class, and left, top, width and height as shares of the upright picture's sides.
    Boxes(Vec<(String, [f32; 4])>),
}

/// A labelled picture of a draft.
#[derive(Debug, Clone, PartialEq)]
pub struct DraftExample {
    /// Its path, unlike all others'.
    pub path: String,
    /// The file that it is in.
    pub pack: PathBuf,
    /// Where its file starts there.
    pub offset: u64,
    /// The length of its file.
    pub bytes: u64,
    /// The side of the split that it is on, if it is on one already.
    pub split: Option<Split>,
    /// What a person says of it.
    pub label: DraftLabel,
}

/// Makes labelled pictures a data set in the new directory `out`, as [`ingest_as`] would an upload of them.
///
/// # Errors
/// As [`ingest_as`].
pub fn ingest_draft(
    labels: Labels,
    examples: &[DraftExample],
    out: &Path,
    limits: &Limits,
    progress: OnProgress<'_>,
    cancel: &AtomicBool,
) -> Result<Manifest, DataError> {
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(DataError::io(parent))?;
    let temp = tempfile::Builder::new().prefix(TEMP_PREFIX).tempdir_in(parent).map_err(DataError::io(parent))?;
    let path = temp.path().join("draft.tar");
    write_tar(labels, examples, &path, cancel)?;
    ingest_as(labels, &path, out, limits, progress, cancel)
}

fn write_tar(labels: Labels, examples: &[DraftExample], path: &Path, cancel: &AtomicBool) -> Result<(), DataError> {
    let file = File::create(path).map_err(DataError::io(path))?;
    let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 20, file));
    let header = |bytes: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o644);
        header
    };
    let (name, table) = table(labels, examples).map_err(|error| DataError::io(path)(std::io::Error::other(error)))?;
    tar.append_data(&mut header(table.len() as u64), name, table.as_slice()).map_err(DataError::io(path))?;
    let mut open: Option<(&Path, File)> = None;
    for example in examples {
        check(cancel)?;
        let pack = example.pack.as_path();
        if open.as_ref().is_none_or(|(known, _)| *known != pack) {
            open = Some((pack, File::open(pack).map_err(DataError::io(pack))?));
        }
        let Some((_, file)) = &mut open else { continue };
        file.seek(SeekFrom::Start(example.offset)).map_err(DataError::io(pack))?;
        let content = file.take(example.bytes);
        tar.append_data(&mut header(example.bytes), &example.path, content).map_err(DataError::io(path))?;
    }
    tar.finish().map_err(DataError::io(path))
}

/// The labels as the readers of uploads want them.
fn table(labels: Labels, examples: &[DraftExample]) -> Result<(&'static str, Vec<u8>), csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    match labels {
        Labels::Classes => writer.write_record(["path", "label", "split"])?,
        Labels::Boxes => writer.write_record(["path", "label", "x_min", "y_min", "x_max", "y_max", "split"])?,
    }
    for DraftExample { path, split, label, .. } in examples {
        let split = split.map_or("", Split::as_str);
        match label {
            DraftLabel::Class(class) => writer.write_record([path, class, split])?,
            DraftLabel::Boxes(boxes) if boxes.is_empty() => {
                writer.write_record([path.as_str(), "", "", "", "", "", split])?;
            }
            DraftLabel::Boxes(boxes) => {
                for (class, [x, y, width, height]) in boxes {
                    // The sum of two of these is exact in doubles, and so is what is read back.
                    let end = |start: &f32, length: &f32| (f64::from(*start) + f64::from(*length)).to_string();
                    let edges = [f64::from(*x).to_string(), f64::from(*y).to_string(), end(x, width), end(y, height)];
                    let [left, top, right, bottom] = edges.each_ref().map(String::as_str);
                    writer.write_record([path, class, left, top, right, bottom, split])?;
                }
            }
        }
    }
    let table = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok((if labels == Labels::Classes { LABELS } else { BOXES }, table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dataset, sample};
    use std::io::Cursor;

    fn drawn(number: u64) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        sample::draw(number as usize % 3, number, 32, 5).0.write_to(&mut out, ImageFormat::Png).unwrap();
        out.into_inner()
    }

    fn take(source: &Path, out: &Path) -> Result<Pictures, DataError> {
        read_pictures(source, "lone", out, &Limits::default(), &|_| {}, &AtomicBool::new(false))
    }

    /// A folder of pictures, a copy, a text, something broken, and a picture without an ending.
    fn folder(dir: &Path, pictures: u64) -> PathBuf {
        let folder = dir.join("raw");
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        for number in 0..pictures {
            std::fs::write(folder.join(format!("deep/{number:03}.png")), drawn(number)).unwrap();
        }
        std::fs::write(folder.join("copy.png"), drawn(1)).unwrap();
        std::fs::write(folder.join("notes.txt"), "none").unwrap();
        std::fs::write(folder.join("page.jpg"), "<!doctype html>").unwrap();
        std::fs::write(folder.join("bare.txt"), drawn(1000)).unwrap();
        folder
    }

    #[test]
    fn pictures_are_taken_in_once_and_the_rest_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let found = take(&folder(dir.path(), 4), &dir.path().join("out")).unwrap();
        let paths: Vec<&str> = found.pictures.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["bare.txt.png", "copy.png", "deep/000.png", "deep/002.png", "deep/003.png"]);
        assert_eq!((found.copies, found.other_files, found.broken.len()), (1, 1, 1));
        let pack = std::fs::read(dir.path().join("out").join(PICTURES)).unwrap();
        for (picture, number) in found.pictures.iter().zip([1000, 1, 0, 2, 3]) {
            let bytes = &pack[picture.offset as usize..(picture.offset + picture.bytes) as usize];
            assert_eq!(bytes, drawn(number));
            assert_eq!((picture.width, picture.height), (32, 32));
        }
        let lone = dir.path().join("lone.bin");
        std::fs::write(&lone, drawn(7)).unwrap();
        assert_eq!(take(&lone, &dir.path().join("one")).unwrap().pictures[0].path, "lone.png");
        let half = drawn(7);
        std::fs::write(&lone, &half[..half.len() / 2]).unwrap();
        assert!(matches!(take(&lone, &dir.path().join("half")), Err(DataError::InvalidImage(_))));
        std::fs::remove_dir_all(dir.path().join("raw/deep")).unwrap();
        for name in ["copy.png", "bare.txt"] {
            std::fs::remove_file(dir.path().join("raw").join(name)).unwrap();
        }
        let none = take(&dir.path().join("raw"), &dir.path().join("none")).unwrap_err();
        assert!(none.to_string().contains("page.jpg"), "{none}");
    }

    #[test]
    fn boxes_come_out_of_the_data_set_to_the_last_bit() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let found = take(&folder(dir.path(), 24), &out).unwrap();
        let boxes = |i: usize| {
            let share = |k: usize| ((i * 7919 + k * 104_729) % 1000) as f32 / 1000.0 * 0.5 + 0.000_123_4;
            let one = |k: usize| (["fire", "a, \"b\""][k % 2].to_owned(), [0, 1, 2, 3].map(|at| share(4 * k + at)));
            (0..i % 4).map(one).collect::<Vec<_>>()
        };
        let examples: Vec<DraftExample> = (found.pictures.iter().enumerate())
            .map(|(i, p)| DraftExample {
                path: p.path.clone(),
                pack: out.join(PICTURES),
                offset: p.offset,
                bytes: p.bytes,
                split: None,
                label: DraftLabel::Boxes(boxes(i)),
            })
            .collect();
        let sealed = dir.path().join("sealed");
        let limits = Limits::default();
        ingest_draft(Labels::Boxes, &examples, &sealed, &limits, &|_| {}, &AtomicBool::new(false)).unwrap();
        let dataset = Dataset::open(&sealed).unwrap();
        let manifest = dataset.manifest();
        assert_eq!(manifest.examples.len(), examples.len());
        for example in &manifest.examples {
            let i = examples.iter().position(|e| e.path == example.path).unwrap();
            let mut said: Vec<_> = example
                .boxes
                .iter()
                .map(|b| (manifest.classes[b.class].clone(), [b.x, b.y, b.width, b.height]))
                .collect();
            let mut meant = boxes(i);
            for list in [&mut said, &mut meant] {
                list.sort_by(|a, b| a.partial_cmp(b).unwrap());
            }
            assert_eq!(said, meant, "{}", example.path);
        }
        assert_eq!(manifest.audit.boxes.as_ref().map(|b| b.without_annotation.total), Some(0));
    }

    #[test]
    fn classes_and_given_sides_go_over() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let found = take(&folder(dir.path(), 40), &out).unwrap();
        let side = |i: usize| [Some(Split::Train), Some(Split::Test), Some(Split::Validation), None][i % 4];
        let examples: Vec<DraftExample> = (found.pictures.iter().enumerate())
            .map(|(i, p)| DraftExample {
                path: p.path.clone(),
                pack: out.join(PICTURES),
                offset: p.offset,
                bytes: p.bytes,
                split: side(i),
                label: DraftLabel::Class(["a", "b"][i / 2 % 2].to_owned()),
            })
            .collect();
        let sealed = dir.path().join("sealed");
        let limits = Limits::default();
        let made =
            ingest_draft(Labels::Classes, &examples, &sealed, &limits, &|_| {}, &AtomicBool::new(false)).unwrap();
        for example in &made.examples {
            let i = examples.iter().position(|e| e.path == example.path).unwrap();
            assert_eq!(example.class, i / 2 % 2);
            let alone = made.examples.iter().filter(|e| e.group == example.group).count() == 1;
            assert!(!alone || side(i).is_none_or(|given| given == example.split), "{}", example.path);
        }
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }
}
