//! Turns the formats that public data sets come in into `train/CLASS/N.png` and `test/CLASS/N.png`.

use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use flate2::read::GzDecoder;
use image::{GrayImage, ImageFormat, RgbImage};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// IDX images: magic number, count, rows, columns as big-endian words, then the pixels.
const IDX_IMAGES: u32 = 0x0803;
/// IDX labels: magic number, count, then the labels.
const IDX_LABELS: u32 = 0x0801;
/// One CIFAR-10 record: the label, then three planes of 32 x 32.
const CIFAR_RECORD: usize = 1 + 3 * 32 * 32;
/// No such set is larger; a file that unpacks to more is not one.
const MOST: u64 = 1 << 30;

fn bad(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::Download, what.to_owned())
        .at(path.display().to_string())
        .mend("delete the file and fetch it again")
}

/// MNIST and those like it. `files`: train images, train labels, test images, test labels.
pub(crate) fn idx(files: &[PathBuf], classes: &[String], out: &Path) -> Result<(), Failure> {
    let [train_images, train_labels, test_images, test_labels] = files else {
        return Err(Failure::new(Exit::Failed, "an IDX recipe has four files"));
    };
    for (split, images, labels) in [("train", train_images, train_labels), ("test", test_images, test_labels)] {
        let (pixels, answers) = (unpack(images)?, unpack(labels)?);
        let ([IDX_IMAGES, count, height, width], Some(pixels)) = (words(&pixels), pixels.get(16..)) else {
            return Err(bad(images, "this is not an IDX file of images"));
        };
        let [kind, label_count, ..] = words(&answers);
        let Some(answers) = answers.get(8..).filter(|_| kind == IDX_LABELS) else {
            return Err(bad(labels, "this is not an IDX file of labels"));
        };
        let size = height as usize * width as usize;
        if label_count != count || answers.len() != count as usize || pixels.len() != count as usize * size || size == 0
        {
            return Err(bad(images, "images and labels are not as many as their headers say"));
        }
        let mut writer = Writer::new(out, split, classes, count as usize)?;
        for (pixels, label) in pixels.chunks_exact(size).zip(answers) {
            let path = writer.next(*label).ok_or_else(|| bad(labels, "a label is larger than there are classes"))?;
            let image = GrayImage::from_raw(width, height, pixels.to_vec());
            let saved = image.map(|image| image.save_with_format(&path, ImageFormat::Png));
            write_error(&path, saved)?;
        }
    }
    Ok(())
}

/// CIFAR-10, binary version: `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.
pub(crate) fn cifar10(files: &[PathBuf], classes: &[String], out: &Path) -> Result<(), Failure> {
    let [archive] = files else { return Err(Failure::new(Exit::Failed, "a CIFAR-10 recipe has one file")) };
    let damaged = |e: std::io::Error| bad(archive, &format!("the archive is damaged: {e}"));
    let file = File::open(archive).map_err(Failure::io(archive, "the archive cannot be read"))?;
    let mut tar = tar::Archive::new(GzDecoder::new(file).take(MOST));
    let mut batches = 0;
    let mut train = Writer::new(out, "train", classes, 50_000)?;
    let mut test = Writer::new(out, "test", classes, 10_000)?;
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        // Only names are looked at and nothing is unpacked, so no path of the archive reaches the disk.
        let name =
            entry.path().map_err(damaged)?.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let writer = match name.as_str() {
            "test_batch.bin" => &mut test,
            _ if name.starts_with("data_batch_") && name.ends_with(".bin") => &mut train,
            _ => continue,
        };
        let mut records = Vec::new();
        entry.read_to_end(&mut records).map_err(damaged)?;
        if records.is_empty() || records.len() % CIFAR_RECORD != 0 {
            return Err(bad(archive, &format!("{name} does not hold whole records")));
        }
        batches += 1;
        for record in records.chunks_exact(CIFAR_RECORD) {
            let path =
                writer.next(record[0]).ok_or_else(|| bad(archive, "a label is larger than there are classes"))?;
            let plane = |p: usize, i: usize| record[1 + p * 1024 + i];
            let pixels = (0..1024).flat_map(|i| [plane(0, i), plane(1, i), plane(2, i)]).collect();
            let saved = RgbImage::from_raw(32, 32, pixels).map(|image| image.save_with_format(&path, ImageFormat::Png));
            write_error(&path, saved)?;
        }
    }
    if batches != 6 { Err(bad(archive, &format!("it has {batches} batches instead of six"))) } else { Ok(()) }
}

fn write_error(path: &Path, saved: Option<image::ImageResult<()>>) -> Result<(), Failure> {
    match saved {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => {
            Err(Failure::new(Exit::Failed, format!("a picture cannot be written: {error}"))
                .at(path.display().to_string()))
        }
        None => Err(Failure::new(Exit::Failed, "a picture has another size than it should")),
    }
}

fn unpack(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(Failure::io(path, "the file cannot be read"))?;
    let mut bytes = Vec::new();
    let read = GzDecoder::new(file).take(MOST).read_to_end(&mut bytes);
    read.map_err(|e| bad(path, &format!("the file is damaged: {e}")))?;
    Ok(bytes)
}

/// The first four big-endian words; those that are not there are 0.
fn words(bytes: &[u8]) -> [u32; 4] {
    let word = |i: usize| bytes.get(4 * i..4 * i + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    [word(0), word(1), word(2), word(3)]
}

/// Names the pictures of one split.
struct Writer {
    folders: Vec<PathBuf>,
    number: u64,
    meter: Meter,
}

impl Writer {
    fn new(out: &Path, split: &str, classes: &[String], total: usize) -> Result<Self, Failure> {
        let folders: Vec<PathBuf> = classes.iter().map(|class| out.join(split).join(class)).collect();
        for folder in &folders {
            std::fs::create_dir_all(folder).map_err(Failure::io(folder, "the folder cannot be made"))?;
        }
        Ok(Self {
            folders,
            number: 0,
            meter: Meter::new(&format!("writing {split} pictures"), total as u64, Unit::Items),
        })
    }

    /// The next picture's path; `None` for a label of no class.
    fn next(&mut self, label: u8) -> Option<PathBuf> {
        self.number += 1;
        self.meter.set(self.number);
        Some(self.folders.get(usize::from(label))?.join(format!("{:05}.png", self.number - 1)))
    }
}
