//! Uploads of every kind, good and hostile.

use crate::{DataError, Dataset, Limits, Manifest, View, decode_image, ingest, sample};
use image::{ImageFormat, RgbImage};
use kindling_spec::ErrorCode;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

type File = (String, Vec<u8>);

fn png(image: &RgbImage) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}

fn good(per_class: usize) -> Vec<File> {
    let file = |class: usize, i: usize| {
        (format!("{}/{i}.png", sample::CLASSES[class]), png(&sample::draw(class, i as u64, 24, 5).0))
    };
    (0..3).flat_map(|class| (0..per_class).map(move |i| file(class, i))).collect()
}

fn zipped(files: &[File]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn tarred(files: &[File]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Manifest, DataError> {
    read_with(bytes, &Limits::default(), false)
}

fn read_with(bytes: &[u8], limits: &Limits, cancel: bool) -> Result<Manifest, DataError> {
    let dir = tempfile::tempdir().unwrap();
    let upload = dir.path().join("upload");
    std::fs::write(&upload, bytes).unwrap();
    let out = dir.path().join("out");
    let result = ingest(&upload, &out, limits, &|_| {}, &AtomicBool::new(cancel));
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 1 + usize::from(result.is_ok()), "nothing but a whole data set is left");
    result
}

fn code(bytes: &[u8]) -> ErrorCode {
    let error = read(bytes).unwrap_err();
    println!("{error}");
    error.code()
}

#[test]
fn zip_tar_folder_and_any_order_give_the_same_data_set() {
    let mut files = good(12);
    let zip = read(&zipped(&files)).unwrap();
    files.reverse();
    let wrapped: Vec<File> = files.iter().map(|(name, bytes)| (format!("my data/{name}"), bytes.clone())).collect();
    let tar = read(&tarred(&wrapped)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in &files {
        let path = dir.path().join("in").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let out = dir.path().join("out");
    let folder = ingest(&dir.path().join("in"), &out, &Limits::default(), &|_| {}, &AtomicBool::new(false)).unwrap();
    let sides = |m: &Manifest| m.examples.iter().map(|e| (e.sha256.clone(), e.split)).collect::<Vec<_>>();
    for other in [&tar, &folder] {
        assert_eq!((zip.hash.as_str(), sides(&zip)), (other.hash.as_str(), sides(other)));
    }
    let dataset = Dataset::open(&out).unwrap();
    let groups: Vec<_> = sample::CLASSES.iter().map(|c| (c.to_string(), vec![c.to_string()])).collect();
    let view = View::new(&dataset, &groups).unwrap();
    assert_eq!([view.train.len(), view.validation.len(), view.test.len()], [24, 6, 6]);
    check_batches(&dataset, &view);
}

fn check_batches(dataset: &Dataset, view: &View) {
    use crate::{Augment, BatchSource, load_exact};
    let (mean, std, len) = ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3], 3 * 32 * 32);
    let source = BatchSource::new(dataset);
    let mut plain = vec![0.0; view.train.len() * len];
    source.fill(&view.train, 32, &mean, &std, None, &mut plain).unwrap();
    let exact = load_exact(dataset, &view.train, 32, &mean, &std).unwrap();
    // The cache is rounded to whole levels: half a level over the smallest deviation.
    assert!(plain.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 0.51 / 255.0 / 0.2));
    let augment = Augment { flip: true, crop: 0.2, colour: 0.5, cutout: 0.3 };
    let mut varied = vec![0.0; plain.len()];
    source.fill(&view.train, 32, &mean, &std, Some((&augment, 9)), &mut varied).unwrap();
    let mut alone = vec![0.0; len];
    source.fill(&view.train[7..8], 32, &mean, &std, Some((&augment, 9)), &mut alone).unwrap();
    assert_eq!(alone, varied[7 * len..8 * len], "the batch does not matter");
    source.fill(&view.train[7..8], 32, &mean, &std, Some((&augment, 10)), &mut alone).unwrap();
    assert_ne!(alone, varied[7 * len..8 * len], "the seed does");
    assert!(source.fill(&view.train, 33, &mean, &std, None, &mut plain).is_err());
}

#[test]
fn hostile_archives_are_refused_each_with_its_code() {
    let with = |name: &str, bytes: Vec<u8>| zipped(&[good(10), vec![(name.to_owned(), bytes)]].concat());
    assert_eq!(code(&with("../evil.png", vec![1])), ErrorCode::UnsafePath);
    assert_eq!(code(&with("/etc/evil.png", vec![1])), ErrorCode::UnsafePath);
    assert_eq!(code(&with("fire/more.zip", zipped(&good(1)))), ErrorCode::NestedArchive);
    assert_eq!(code(&with("fire/bomb.bmp", vec![0; 40 << 20])), ErrorCode::ArchiveTooLarge);
    let zip = zipped(&good(10));
    assert_eq!(code(&zip[..zip.len() / 2]), ErrorCode::InvalidArchive);
    let tar = tarred(&good(10));
    assert_eq!(code(&tar[..tar.len() / 2]), ErrorCode::InvalidArchive);
    assert_eq!(code(&tarred(&[("fire/bomb.bmp".to_owned(), vec![0; 40 << 20])])), ErrorCode::ArchiveTooLarge);
    assert_eq!(code(b"<html>not an archive</html>"), ErrorCode::InvalidArchive);
    assert_eq!(code(&zipped(&[("a.png".to_owned(), vec![1])])), ErrorCode::InvalidLayout);

    let mut links = zip::ZipWriter::new(Cursor::new(Vec::new()));
    links.add_symlink("fire/a.png", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    assert_eq!(code(&links.finish().unwrap().into_inner()), ErrorCode::UnsafePath);
    let few = Limits { max_entries: 5, ..Limits::default() };
    assert_eq!(read_with(&zip, &few, false).unwrap_err().code(), ErrorCode::ArchiveTooLarge);
    assert!(matches!(read_with(&zip, &Limits::default(), true), Err(DataError::Cancelled)));
}

/// A PNG whose header says 20,000 by 20,000.
fn huge() -> Vec<u8> {
    let mut bytes = png(&RgbImage::new(8, 8));
    bytes[16..24].copy_from_slice(&[0, 0, 0x4E, 0x20, 0, 0, 0x4E, 0x20]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

#[test]
fn broken_files_are_listed_and_refuse_only_a_class_made_of_them() {
    let html = b"<!doctype html><p>404".to_vec();
    let extra = vec![("fire/page.jpg".to_owned(), html.clone()), ("smoke/huge.png".to_owned(), huge())];
    let manifest = read(&zipped(&[good(10), extra].concat())).unwrap();
    let broken = manifest.audit.broken;
    assert_eq!(broken.total, 2);
    assert!(broken.items[0].reason.contains("HTML") && broken.items[1].reason.contains("20000x20000"), "{broken:?}");

    let class_of = |bytes: &[u8]| (0..10).map(|i| (format!("odd/{i}.jpg"), [bytes, &[i]].concat())).collect::<Vec<_>>();
    let error = read(&zipped(&[good(10), class_of(&html)].concat())).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidImage);
    assert!(error.to_string().contains("`odd` has 0") && error.to_string().contains("HTML"), "{error}");
    assert_eq!(code(&zipped(&[good(10), class_of(&huge())].concat())), ErrorCode::ImageTooLarge);
    assert_eq!(code(&zipped(&good(9))), ErrorCode::TooFewExamples);
    let mut empty = zip::ZipWriter::new_append(Cursor::new(zipped(&good(10)))).unwrap();
    empty.add_directory("empty/", zip::write::SimpleFileOptions::default()).unwrap();
    assert_eq!(code(&empty.finish().unwrap().into_inner()), ErrorCode::TooFewExamples);
}

#[test]
fn labels_and_splits_can_be_given_in_a_table() {
    let mut files = good(12);
    let mut csv = "path,label,split\n".to_owned();
    for (i, (name, _)) in files.iter_mut().enumerate() {
        let label = name.split('/').next().unwrap().to_owned();
        *name = format!("images/{i}.png");
        csv += &format!("{name},{label},{}\n", if i % 4 == 0 { "test" } else { "train" });
    }
    files.push(("labels.csv".to_owned(), csv.into_bytes()));
    let manifest = read(&zipped(&files)).unwrap();
    assert_eq!(manifest.classes, ["fire", "neither", "smoke"]);
    for count in manifest.audit.class_counts {
        assert_eq!([count.train, count.validation, count.test], [7, 2, 3]);
    }
}

#[test]
fn copies_are_dropped_and_conflicts_told() {
    let mut files = good(12);
    files.push(("fire/copy.png".to_owned(), files[0].1.clone()));
    files.push(("smoke/wrong.png".to_owned(), files[1].1.clone()));
    let manifest = read(&zipped(&files)).unwrap();
    assert_eq!(manifest.audit.exact_duplicates.items, [["fire/0.png", "fire/copy.png"]]);
    assert_eq!(manifest.audit.label_conflicts.total, 1);
    let pair: Vec<_> =
        manifest.examples.iter().filter(|e| ["fire/1.png", "smoke/wrong.png"].contains(&e.path.as_str())).collect();
    assert_eq!((pair.len(), pair[0].split, pair[0].group), (2, pair[1].split, pair[1].group));
}

#[test]
fn alpha_and_sixteen_bits_become_plain_rgb() {
    let limits = Limits::default();
    let clear = image::RgbaImage::from_pixel(4, 4, image::Rgba([200, 0, 0, 0]));
    let mut out = Cursor::new(Vec::new());
    clear.write_to(&mut out, ImageFormat::Png).unwrap();
    assert_eq!(decode_image(&out.into_inner(), &limits).unwrap().get_pixel(0, 0).0, [255; 3]);
    let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_pixel(4, 4, image::Luma([0x8080]));
    let mut out = Cursor::new(Vec::new());
    deep.write_to(&mut out, ImageFormat::Png).unwrap();
    assert_eq!(decode_image(&out.into_inner(), &limits).unwrap().get_pixel(0, 0).0, [0x80; 3]);
}

#[test]
fn the_sample_set_is_the_same_each_time_and_has_boxes() {
    let dir = tempfile::tempdir().unwrap();
    sample::fire_smoke(dir.path(), 3, 32, 1).unwrap();
    assert!(Path::new(&dir.path().join("fire/00002.png")).exists());
    let coco: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("annotations.json")).unwrap()).unwrap();
    assert_eq!(coco["images"].as_array().unwrap().len(), 9);
    for class in 0..3 {
        for i in 0..30 {
            let (image, found) = sample::draw(class, i, 32, 1);
            assert_eq!((image, found.clone()), sample::draw(class, i, 32, 1));
            assert_eq!(found.iter().any(|f| f.what == "fire"), class == 0);
            assert_eq!(found.is_empty(), class == 1);
        }
    }
}

/// Multinomial logistic regression on the mean colour must not tell the classes apart.
#[test]
fn mean_colour_does_not_give_the_sample_set_away() {
    let features = |i: usize| {
        let image = sample::draw(i % 3, (i / 3) as u64, 32, 11).0;
        let mut x = [0.0f64, 0.0, 0.0, 1.0];
        image.pixels().for_each(|p| (0..3).for_each(|c| x[c] += f64::from(p[c]) / 255.0 / 1024.0));
        (0..3).for_each(|c| x[c] = (x[c] - 0.45) * 5.0);
        (x, i % 3)
    };
    let all: Vec<_> = (0..900).map(features).collect();
    let (train, test) = all.split_at(600);
    let mut w = [[0.0f64; 4]; 3];
    let scores = |w: &[[f64; 4]; 3], x: &[f64; 4]| w.map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>());
    for _ in 0..1500 {
        let mut gradient = [[0.0; 4]; 3];
        for (x, y) in train {
            let e = scores(&w, x).map(f64::exp);
            let sum: f64 = e.iter().sum();
            for k in 0..3 {
                (0..4).for_each(|c| gradient[k][c] += (e[k] / sum - f64::from(u8::from(k == *y))) * x[c]);
            }
        }
        for k in 0..3 {
            (0..4).for_each(|c| w[k][c] -= 2.0 * gradient[k][c] / 600.0);
        }
    }
    let right = test.iter().filter(|(x, y)| {
        let s = scores(&w, x);
        (0..3).all(|k| k == *y || s[*y] > s[k])
    });
    let accuracy = right.count() as f64 / test.len() as f64;
    println!("linear model on mean colour: {accuracy:.3}");
    assert!(accuracy < 0.75, "{accuracy}");
}

/// What would be kept in memory, or taken for something else by another unpacker, is refused before it is.
#[test]
fn names_are_bounded_plain_and_there_once() {
    let with = |name: &str| zipped(&[good(10), vec![(name.to_owned(), png(&sample::draw(0, 99, 24, 5).0))]].concat());
    let refused = |bytes: &[u8], what: &str| {
        let error = read(bytes).unwrap_err();
        assert!(error.to_string().contains(what) && error.to_string().len() < 1000, "{error}");
        error.code()
    };
    assert_eq!(refused(&with(&"x/".repeat(1000)), "too long"), ErrorCode::UnsafePath);
    assert_eq!(refused(&with("fire/\u{202e}gnp.exe"), "control characters"), ErrorCode::UnsafePath);
    // A tar may hold a file again; zips' writers do not write the same name twice.
    let mut twice = good(10);
    twice.push((twice[0].0.clone(), twice[1].1.clone()));
    assert_eq!(refused(&tarred(&twice), "twice"), ErrorCode::InvalidArchive);
    // A name of two megabytes is some kilobytes of tar.gz.
    let long = tarred(&[good(10), vec![("x/".repeat(1 << 20), vec![1])]].concat());
    assert!(long.len() < 100_000);
    assert_eq!(refused(&long, "name and attributes"), ErrorCode::ArchiveTooLarge);
    let few = Limits { max_entries: 29, ..Limits::default() };
    let error = read_with(&zipped(&good(10)), &few, false).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ArchiveTooLarge, "{error}");
}

#[test]
fn a_table_of_labels_is_bounded_in_every_direction() {
    let told = |labels: String| {
        let error =
            read(&zipped(&[good(10), vec![("labels.csv".to_owned(), labels.into_bytes())]].concat())).unwrap_err();
        assert!(error.to_string().len() < 1000);
        (error.code(), error.to_string())
    };
    let open = format!("path,label\n\"fire/0.png,fire{}", "\nsmoke/0.png,smoke".repeat(10_000));
    for (labels, what) in [
        (open, "quotation mark"),
        ("x,".repeat(100_000), "more than 64 KiB"),
        (format!("path,label\nfire/0.png,{}\n", "x".repeat(1000)), "no name of a class"),
        (format!("path,label,split\nfire/0.png,fire,{}\n", "x".repeat(9000)), "is none of train"),
        (
            (0..1_000_001).fold("path,label\n".to_owned(), |rows, i| rows + &format!("{i},a\n")),
            "more than 1000000 files",
        ),
    ] {
        let (code, text) = told(labels);
        assert_eq!(code, ErrorCode::InvalidLayout, "{text}");
        assert!(text.contains(what), "{what}: {text}");
    }
}

/// What stands before a picture is packed too: a profile of a gigabyte is a megabyte of file.
#[test]
fn a_picture_is_decoded_with_bounded_memory() {
    let mut zlib = flate2::write::ZlibEncoder::new(b"x\0\0".to_vec(), flate2::Compression::fast());
    (0..200).for_each(|_| zlib.write_all(&vec![0; 1 << 20]).unwrap());
    let profile = zlib.finish().unwrap();
    let mut bytes = png(&sample::draw(0, 1, 24, 5).0);
    let mut crc = flate2::Crc::new();
    crc.update(b"iCCP");
    crc.update(&profile);
    let chunk = [&(profile.len() as u32).to_be_bytes()[..], b"iCCP", &profile, &crc.sum().to_be_bytes()].concat();
    bytes.splice(33..33, chunk);
    // The decoder leaves such a profile out or gives up; it does not unpack it.
    if let Err(error) = decode_image(&bytes, &Limits::default()) {
        assert_eq!(error.code(), ErrorCode::InvalidImage, "{error}");
    }
    let deep = image::DynamicImage::from(sample::draw(0, 1, 24, 5).0).to_rgba16();
    let mut out = Cursor::new(Vec::new());
    deep.write_to(&mut out, ImageFormat::Png).unwrap();
    let limits = Limits { max_pixels: 24 * 24, ..Limits::default() };
    let error = decode_image(out.get_ref(), &limits).unwrap_err();
    assert!(matches!(&error, DataError::ImageTooLarge(text) if text.contains("8 bits a channel")), "{error}");
}
