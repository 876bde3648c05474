//! Archives that are no such thing, hold others, or unpack to too much.

use super::Sent::{Boxes, Classes, Picture};
use super::zips::{deflated, entry, raw_zip};
use super::{Case, case, good};
use crate::harness::zip_of;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn with(name: &str, bytes: Vec<u8>) -> Vec<u8> {
    zip_of(&[good(), vec![(name.to_owned(), bytes)]].concat())
}

/// A zip that holds zips that hold zips.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(zip_of(&good()), |inner, _| {
        let entries: Vec<_> = (0..16).map(|i| deflated(&format!("a/lib {i}.zip"), &inner)).collect();
        raw_zip(&entries)
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("empty", 422, "invalid_archive", || Classes(Vec::new())),
        case("one letter", 422, "invalid_archive", || Classes(b"P".to_vec())),
        case("a text", 422, "invalid_archive", || Classes(b"this is no archive at all".to_vec())),
        case("a 7z", 422, "invalid_archive", || Classes(b"7z\xBC\xAF\x27\x1C\0\x04".to_vec())),
        case("a bzip2", 422, "invalid_archive", || Classes(b"BZh91AY&SY\0\0".to_vec())),
        case("a picture with a zip behind it", 422, "invalid_archive", || {
            Classes([good()[0].1.clone(), zip_of(&good())].concat())
        }),
        case("a zip cut off", 422, "invalid_archive", || {
            let zip = zip_of(&good());
            Classes(zip[..zip.len() * 2 / 3].to_vec())
        }),
        case("a zip without its beginning", 422, "invalid_archive", || Classes(zip_of(&good())[100..].to_vec())),
        case("64 MiB of zeros", 413, "archive_too_large", || Classes(with("a/bomb.bmp", vec![0; 64 << 20]))),
        case("a zip in a zip", 422, "nested_archive", || Classes(with("a/more.zip", zip_of(&good())))),
        case("a zip in a zip that is called a picture", 422, "nested_archive", || {
            Classes(with("a/more.png", zip_of(&good())))
        }),
        case("zips in zips in zips", 422, "nested_archive", || Classes(nested(3))),
        case("a tar.gz in a zip", 422, "nested_archive", || Classes(with("a/more.tgz", gzip(&[0; 4096])))),
        case("an entry that is the archive itself", 422, "nested_archive", || {
            // Its content begins with a header as the archive does, and so on.
            let inner = raw_zip(&[entry("a/0.png", &good()[0].1)]);
            Classes(raw_zip(&[entry("a/r.zip", &raw_zip(&[entry("a/r.zip", &inner)]))]))
        }),
        case("a draft's zip bomb", 413, "archive_too_large", || Picture(with("bomb.bmp", vec![0; 64 << 20]))),
        case("a draft's zip that climbs out", 422, "unsafe_path", || Picture(with("../x.png", vec![0; 9]))),
        case("a draft's zip of texts", 422, "invalid_archive", || {
            Picture(zip_of(&[("a.txt".to_owned(), b"none".to_vec())]))
        }),
        case("one class", 422, "invalid_layout", || {
            Classes(zip_of(&good().into_iter().filter(|(name, _)| name.starts_with('a')).collect::<Vec<_>>()))
        }),
        case("5000 classes", 422, "invalid_layout", || {
            let entries: Vec<_> = (0..5000).map(|i| entry(format!("class {i}/x.png"), &good()[0].1)).collect();
            Classes(raw_zip(&entries))
        }),
        case("pictures without any box", 422, "invalid_layout", || Boxes(zip_of(&good()))),
    ]
}
