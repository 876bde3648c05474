//! This crate's parsers of strangers' bytes. Fuzzing (`fuzz/`) and a test go through the same list, so that a parser in it
//! is covered by both.

use crate::boxes::Annotations;
use crate::layout::Listing;
use crate::{DataError, Labels, Limits, decode, ingest_as, read_pictures};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use kindling_spoil::Parser;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// All of them.
pub const PARSERS: &[Parser] = &[
    Parser { name: "archive", read: archive, seeds: archives, cases: 150 },
    Parser { name: "image", read: image, seeds: images, cases: 2000 },
    Parser { name: "labels_csv", read: labels_csv, seeds: || texts(&[LABELS]), cases: 2000 },
    Parser { name: "boxes_csv", read: |bytes| annotation("boxes.csv", bytes), seeds: || texts(&[TABLE]), cases: 2000 },
    Parser { name: "coco", read: |bytes| annotation("instances.json", bytes), seeds: || texts(&[COCO]), cases: 2000 },
    Parser { name: "voc", read: |bytes| annotation("1.xml", bytes), seeds: || texts(&[VOC]), cases: 2000 },
    Parser { name: "yolo", read: yolo, seeds: || texts(YOLO), cases: 2000 },
];

const LABELS: &str = "path,label,split\na/1.png,a,train\n\"a/2.png\",\"b, c\",\n";
const TABLE: &str = "path,label,x_min,y_min,x_max,y_max,split\na/1.png,fire,1,2,11,22,train\na/2.png,,,,,,test\n";
const COCO: &str = r#"{"info": {"x": [1, "a\"b"]}, "images": [{"id": 7, "file_name": "a/1.png", "width": 40, "height": 30},
{"id": "b", "file_name": "2.png"}], "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 3.5, 4e0], "iscrowd": 0},
{"image_id": "b", "category_id": 3, "iscrowd": true, "segmentation": {"counts": "x", "size": [1, 2]}}],
"categories": [{"id": 3, "name": "fire"}]}"#;
const VOC: &str = "<annotation><filename>1.png</filename><size><width>40</width><height>30</height></size><object>\
                   <name>fire &amp; smoke</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>12.5</ymax></bndbox>\
                   </object></annotation>";
/// The first letter says which of YOLO's files it is; see [`yolo`].
const YOLO: &[&str] = &[
    "b0 0.5 0.5 0.5 0.5\n1 0.1 0.1 0.2 0.2\n2 0 0 1 0 1 1 0 1\n",
    "l./a/1.png\na/2.png\n",
    "nfire\nsmoke\n",
    "ytrain: images/train\nval: [a, b]\nnames: {0: fire, 1: 2.5}\n",
    "ynames:\n- fire\n- no\npath: &x ..\ntrain: *x\n",
];

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Small enough that what a parser keeps is soon too much.
fn small() -> Limits {
    Limits {
        max_entries: 200,
        max_unpacked_bytes: 4 << 20,
        ratio_floor_bytes: 1 << 18,
        max_pixels: 1 << 16,
        max_image_bytes: 1 << 18,
        min_per_class: 1,
        min_classes: 1,
        max_classes: 50,
        max_boxes: 500,
        max_annotation_bytes: 1 << 18,
        ..Limits::default()
    }
}

/// A refusal is in words that are fit for a client and of a length that one reads.
fn check_words(error: &DataError) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 8192, "{} characters: {text:.200}", text.len());
    assert_ne!(error.code(), kindling_spec::ErrorCode::Internal, "{text}");
}

fn archive(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder for scratch files");
    let (upload, never) = (dir.path().join("upload"), AtomicBool::new(false));
    std::fs::write(&upload, bytes).expect("room for the upload");
    for (labels, out) in [(Labels::Classes, "classes"), (Labels::Boxes, "boxes")] {
        let read = ingest_as(labels, &upload, &dir.path().join(out), &small(), &|_| {}, &never);
        if let Err(error) = read {
            check_words(&error);
            assert!(!dir.path().join(out).exists());
        }
    }
    if let Err(error) = read_pictures(&upload, "lone", &dir.path().join("draft"), &small(), &|_| {}, &never) {
        check_words(&error);
    }
    let names = std::fs::read_dir(dir.path()).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let left = names.filter(|name| name.to_string_lossy().starts_with(crate::TEMP_PREFIX)).count();
    assert_eq!(left, 0, "a scratch folder is left behind");
}

fn image(bytes: &[u8]) {
    let limits = small();
    match (decode::image_size(bytes, &limits), decode::decode_image(bytes, &limits)) {
        (Ok((width, height)), Ok(picture)) => {
            let turned = [(width, height), (height, width)];
            assert!(turned.contains(&picture.dimensions()), "{width}x{height}, but {:?}", picture.dimensions());
            assert!(u64::from(width) * u64::from(height) <= limits.max_pixels);
        }
        (Ok(_), Err(error)) => check_words(&error),
        (Err(error), Err(_)) => check_words(&error),
        (Err(error), Ok(_)) => panic!("it was decoded, but {error}"),
    }
    if let Err(error) = decode::shape(bytes, &limits) {
        check_words(&error);
    }
}

const PICTURES: [&str; 3] = ["a/1.png", "a/2.png", "b/images/3.jpg"];

fn labels_csv(bytes: &[u8]) {
    let files = PICTURES.map(str::to_owned).to_vec();
    let labels = Some(("labels.csv".to_owned(), bytes.to_vec()));
    match (Listing { files, labels, ..Listing::default() }).resolve(1) {
        Ok(layout) => assert!(layout.files.values().all(|(class, _)| *class < layout.classes.len())),
        Err(error) => check_words(&error),
    }
}

/// One annotation file beside the pictures.
fn annotation(path: &str, bytes: &[u8]) {
    let mut read = Annotations::default();
    let explain = |error: std::io::Error| Ok(error.to_string());
    if let Err(error) = read.read(path, &mut &bytes[..], &small(), &explain) {
        return check_words(&error);
    }
    let files: Vec<String> = PICTURES.iter().map(|path| (*path).to_owned()).chain([path.to_owned()]).collect();
    match read.resolve(&files) {
        Ok(marks) => marks.check(),
        Err(error) => check_words(&error),
    }
}

fn yolo(bytes: &[u8]) {
    match bytes {
        [b'b', rest @ ..] => annotation("a/1.txt", rest),
        [b'l', rest @ ..] => annotation("train.txt", rest),
        [b'n', rest @ ..] => annotation("obj.names", rest),
        [_, rest @ ..] => annotation("data.yaml", rest),
        [] => {}
    }
}

/// A picture that packs badly, so that spoiled bytes matter.
fn drawn(number: u32) -> DynamicImage {
    let noise = |x: u32, y: u32, c: u32| crate::rng::mix(u64::from(number << 20 | x << 12 | y << 4 | c)) as u8;
    RgbImage::from_fn(9, 7, |x, y| Rgb([noise(x / 2, y / 2, 0), noise(x / 2, y, 1), noise(x, y, 2)])).into()
}

fn written(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, format).expect("a small picture is written");
    out.into_inner()
}

fn images() -> Vec<Vec<u8>> {
    use ImageFormat as F;
    let rgb = drawn(1);
    let mut all: Vec<_> = [F::Png, F::Jpeg, F::WebP, F::Bmp, F::Tiff].map(|format| written(&rgb, format)).into();
    for deep in [DynamicImage::from(rgb.to_rgba16()), rgb.to_luma_alpha8().into(), rgb.to_luma8().into()] {
        all.push(written(&deep, F::Png));
        if let Some(tiff) = Some(deep).filter(|deep| deep.color() != image::ColorType::La8) {
            all.push(written(&tiff, F::Tiff));
        }
    }
    all
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let picture = |number| written(&drawn(number), ImageFormat::Png);
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("a/1.png", picture(1)),
        ("a/2.png", picture(2)),
        ("b/images/3.jpg", written(&drawn(3), ImageFormat::Jpeg)),
        ("boxes.csv", text(TABLE)),
        ("labels.csv", text("path,label\na/1.png,a\na/2.png,b\n")),
    ]
}

fn archives() -> Vec<Vec<u8>> {
    use flate2::{Compression, write::GzEncoder};
    let mut all = Vec::new();
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        for (path, bytes) in files() {
            zip.start_file(path, options.large_file(path.ends_with("2.png"))).expect("a zip is written");
            zip.write_all(&bytes).expect("a zip is written");
        }
        all.push(zip.finish().expect("a zip is written").into_inner());
    }
    let mut tar = tar::Builder::new(Vec::new());
    let long = format!("b/{}.png", "long/".repeat(30));
    for (path, bytes) in files().into_iter().chain([(long.as_str(), vec![1; 9])]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, Path::new(path), bytes.as_slice()).expect("a tar is written");
    }
    tar.append_pax_extensions([("path", "a/7.png".as_bytes()), ("size", b"5")]).expect("a tar is written");
    let tar = tar.into_inner().expect("a tar is written");
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&tar).expect("it is packed");
    all.push(tar);
    all.push(packed.finish().expect("it is packed"));
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_spoiled_file_makes_a_parser_panic() {
        kindling_spoil::check(super::PARSERS);
    }
}
