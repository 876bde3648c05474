//! Annotations of every kind, good and hostile.

mod layouts;
mod parsers;
mod places;

use crate::{DataError, Labels, Limits, Manifest, ingest_as};
use image::{ImageFormat, RgbImage};
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::AtomicBool;

type File = (String, Vec<u8>);

/// A picture of its own for each number, 32 wide and 16 high, so that pixels are exact shares.
fn png(number: u32) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let noise =
        |x: u32, y: u32| crate::rng::mix(u64::from(number) << 32 | u64::from(y / 4) << 16 | u64::from(x / 4)) as u8;
    let picture = RgbImage::from_fn(32, 16, |x, y| image::Rgb([noise(x, y), noise(x + 99, y), noise(x, y + 99)]));
    picture.write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}

fn text(path: &str, content: impl Into<String>) -> File {
    (path.to_owned(), content.into().into_bytes())
}

fn write(dir: &Path, files: &[File]) {
    for (name, bytes) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Ingests files as boxes, from a folder.
fn read(files: &[File]) -> Result<Manifest, DataError> {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("in"), files);
    read_dir(&dir.path().join("in"), &dir.path().join("out"))
}

fn read_dir(from: &Path, out: &Path) -> Result<Manifest, DataError> {
    ingest_as(Labels::Boxes, from, out, &Limits::default(), &|_| {}, &AtomicBool::new(false))
}

fn refused(files: &[File]) -> String {
    let text = read(files).unwrap_err().to_string();
    println!("{text}");
    text
}
