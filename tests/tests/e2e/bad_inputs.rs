//! Hostile and mistaken input: each gets its own clear problem, and the service goes on serving.

use crate::harness::*;
use flate2::{Compression, Crc, write::ZlibEncoder};
use serde_json::json;
use std::io::Write;
use std::sync::LazyLock;
use tempfile::TempDir;

/// A service without workers: nothing here gets as far as training.
fn service() -> &'static Server {
    static DIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(&DIR.path().join("data"), 0));
    &SERVER
}

/// Uploads what must be refused; then the same data set takes a good archive, so nothing is stuck.
fn refused(archive: &[u8], code: &str, status: u16, named: &[&str]) {
    let server = service();
    let (id, answer) = server.upload(archive);
    answer.assert_problem(code, status);
    for word in named {
        assert!(answer.text("/detail").contains(word), "`{word}` is not named: {}", answer.text("/detail"));
    }
    let record = server.get(&format!("/v1/datasets/{id}"));
    assert_eq!((record.text("/state"), record.text("/problem/code")), ("refused".into(), code.into()));
    let mended = server.put(&format!("/v1/datasets/{id}/content"), sample_zip());
    assert_eq!(mended.status, 200, "{mended:?}");
    assert_eq!(server.get("/readyz").status, 200);
}

/// Two classes of twelve good pictures, to which the bad is added.
fn good() -> Vec<(String, Vec<u8>)> {
    (0..24).map(|i| (format!("{}/{i}.png", ["a", "b"][i as usize % 2]), png(&picture(24, 24, i)))).collect()
}

#[test]
fn a_zip_bomb() {
    let mut entries = good();
    entries.push(("a/bomb.png".into(), vec![0; 64 << 20]));
    let archive = zip_of(&entries);
    assert!(archive.len() < 1 << 20, "it packs to {}", archive.len());
    refused(&archive, "archive_too_large", 413, &["a/bomb.png"]);
}

#[test]
fn a_path_that_climbs_out() {
    for path in ["../../etc/cron.d/x.png", "/tmp/x.png", "a/../../x.png"] {
        let mut entries = good();
        entries.push((path.into(), png(&picture(24, 24, 99))));
        refused(&zip_of(&entries), "unsafe_path", 422, &["x.png"]);
    }
}

#[test]
fn a_truncated_zip() {
    let archive = zip_of(&good());
    refused(&archive[..archive.len() * 2 / 3], "invalid_archive", 422, &[]);
    refused(b"this is no archive at all", "invalid_archive", 422, &[]);
}

#[test]
fn an_archive_within_the_archive() {
    let mut entries = good();
    entries.push(("a/more.zip".into(), zip_of(&good())));
    refused(&zip_of(&entries), "nested_archive", 422, &["a/more.zip"]);
}

#[test]
fn web_pages_called_jpg() {
    let mut entries: Vec<_> = good().into_iter().filter(|(name, _)| name.starts_with("a/")).collect();
    let page = b"<!DOCTYPE html><html><body>404 Not Found</body></html>".to_vec();
    entries.extend((0..12).map(|i| (format!("b/{i}.jpg"), page.clone())));
    refused(&zip_of(&entries), "invalid_image", 415, &["`b`"]);
}

#[test]
fn one_web_page_among_good_pictures_is_only_listed() {
    let mut entries = good();
    entries.push(("a/page.jpg".into(), b"<html></html>".to_vec()));
    let (id, sealed) = service().upload(&zip_of(&entries));
    assert_eq!(sealed.status, 200, "{sealed:?}");
    let record = service().get(&format!("/v1/datasets/{id}"));
    assert_eq!(record.text("/summary/audit/broken/items/0/path"), "a/page.jpg");
}

#[test]
fn a_class_with_too_few() {
    let mut entries: Vec<_> = good().into_iter().filter(|(name, _)| name.starts_with("a/")).collect();
    entries.extend((0..3).map(|i| (format!("rare/{i}.png"), png(&picture(24, 24, 50 + i)))));
    refused(&zip_of(&entries), "too_few_examples", 422, &["`rare`", "3", "10"]);
}

#[test]
fn an_empty_class() {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in good() {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.add_directory("void/", zip::write::SimpleFileOptions::default()).unwrap();
    let archive = zip.finish().unwrap().into_inner();
    refused(&archive, "too_few_examples", 422, &["`void`", "0"]);
}

/// A valid PNG of one grey, 20,000 by 20,000: 400 million pixels in half a megabyte or less.
fn huge_png() -> &'static [u8] {
    static PNG: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let side = 20_000u32;
        let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut chunk = |kind: &[u8; 4], data: &[u8]| {
            let mut crc = Crc::new();
            crc.update(kind);
            crc.update(data);
            out.extend((data.len() as u32).to_be_bytes());
            out.extend(kind);
            out.extend(data);
            out.extend(crc.sum().to_be_bytes());
        };
        chunk(b"IHDR", &[&side.to_be_bytes()[..], &side.to_be_bytes(), &[1, 0, 0, 0, 0]].concat());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        // One bit a pixel, and a filter byte a row.
        let row = vec![0; 1 + side as usize / 8];
        (0..side).for_each(|_| zlib.write_all(&row).unwrap());
        chunk(b"IDAT", &zlib.finish().unwrap());
        chunk(b"IEND", &[]);
        out
    });
    &PNG
}

#[test]
fn a_picture_of_twenty_thousand_squared() {
    assert!(huge_png().len() < 1 << 19, "{}", huge_png().len());
    let mut entries: Vec<_> = good().into_iter().filter(|(name, _)| name.starts_with("a/")).collect();
    // Each has another byte at its end, or they would count as one.
    entries.extend((0..10u8).map(|i| (format!("vast/{i}.png"), [huge_png(), &[i]].concat())));
    refused(&zip_of(&entries), "image_too_large", 413, &["`vast`"]);
}

#[test]
fn a_prediction_for_what_is_no_picture() {
    let Finished { server, model, .. } = finished();
    let predict = format!("/v1/models/{model}/predict");
    server.post_bytes(&predict, b"<html>").assert_problem("invalid_image", 415);
    server.post_bytes(&predict, huge_png()).assert_problem("image_too_large", 413);
    assert_eq!(server.post_bytes(&predict, &png(&picture(40, 40, 1))).status, 200);
}

#[test]
fn a_specification_with_many_faults_hears_of_them_all() {
    let server = service();
    let (dataset, _) = server.upload(&zip_of(&good()));
    let spec = json!({
        "version": 1, "name": "x", "kind": "image-classification", "dataset": dataset,
        "bugdet": {"seconds": 1}, "budget": {"seconds": -1}, "objective": {"metric": "beauty"},
    });
    let answer = server.post("/v1/tasks", &spec);
    answer.assert_problem("invalid_spec", 422);
    let pointers: Vec<_> =
        answer.json["violations"].as_array().unwrap().iter().map(|v| v["pointer"].as_str().unwrap()).collect();
    for pointer in ["/bugdet", "/budget/seconds", "/objective/metric"] {
        assert!(pointers.contains(&pointer), "{pointer} is not among {pointers:?}");
    }
    let mut spec = json!({
        "version": 1, "name": "x", "kind": "image-classification", "dataset": dataset, "budget": {"seconds": 5},
        "constraints": {"max_weights_bytes": 10},
    });
    server.post("/v1/tasks", &spec).assert_problem("limits_too_tight", 422);
    spec["constraints"] = json!({});
    spec["classes"] = json!(["a", "c"]);
    let answer = server.post("/v1/tasks", &spec);
    answer.assert_problem("invalid_spec", 422);
    assert_eq!(answer.text("/violations/0/pointer"), "/classes/1");
    let broken =
        Answer::of(agent().post(server.url("/v1/tasks")).header("content-type", "application/json").send("{").unwrap());
    broken.assert_problem("invalid_request", 400);
}
