//! Fetching, against a file server on the loopback interface.

use super::download::{authorities, hex};
use super::fetch;
use super::recipe::{File, Layout, Recipe};
use crate::failure::Exit;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Serves one file; the first answer breaks off after `cut` bytes.
struct FileServer {
    url: String,
    /// The `range` headers that came, in order; empty where there was none.
    asked: Arc<Mutex<Vec<String>>>,
}

impl FileServer {
    fn start(content: Vec<u8>, cut: Option<usize>, ranges: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let cut = cut.filter(|_| number == 0);
                let _ = answer(stream.unwrap(), &content, cut, ranges, &log);
            }
        });
        Self { url, asked }
    }
}

fn answer(
    mut stream: TcpStream,
    content: &[u8],
    cut: Option<usize>,
    ranges: bool,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut range = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("range: ") {
            range = value.to_owned();
        }
        if line.is_empty() {
            break;
        }
    }
    asked.lock().unwrap().push(range.clone());
    let start = range.strip_prefix("bytes=").and_then(|r| r.trim_end_matches('-').parse().ok()).filter(|_| ranges);
    let (status, body) = match start {
        Some(start) if start >= content.len() => ("416 Range Not Satisfiable".to_owned(), &content[..0]),
        Some(start) => {
            let last = content.len() - 1;
            (format!("206 Partial Content\r\ncontent-range: bytes {start}-{last}/{}", content.len()), &content[start..])
        }
        None => ("200 OK".to_owned(), content),
    };
    let head =
        format!("HTTP/1.1 {status}\r\netag: \"v1\"\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body[..cut.unwrap_or(body.len())])
}

fn archive(urls: Vec<String>, sha256: Option<String>) -> Recipe {
    Recipe {
        title: "t".into(),
        about: "a".into(),
        homepage: "h".into(),
        licence: "l".into(),
        layout: Layout::Archive,
        classes: vec!["a".into(), "b".into()],
        files: vec![File { name: "set.zip".into(), urls, bytes: None, sha256, md5: None }],
    }
}

fn content() -> (Vec<u8>, String) {
    let bytes: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let hash = hex(&Sha256::digest(&bytes));
    (bytes, hash)
}

#[test]
fn a_broken_download_goes_on_where_it_broke_off() {
    let (bytes, hash) = content();
    let server = FileServer::start(bytes.clone(), Some(100_000), true);
    let to = tempfile::tempdir().unwrap();
    let path = fetch(&archive(vec![server.url.clone()], Some(hash)), to.path()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), bytes);
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(asked, ["", "bytes=100000-"]);
    assert!(!to.path().join("set.zip.part").exists() && !to.path().join("set.zip.part.tag").exists());
}

#[test]
fn a_server_without_ranges_is_asked_for_the_whole_again() {
    let (bytes, hash) = content();
    let server = FileServer::start(bytes.clone(), Some(100_000), false);
    let to = tempfile::tempdir().unwrap();
    let path = fetch(&archive(vec![server.url], Some(hash)), to.path()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), bytes);
}

#[test]
fn what_is_here_already_is_not_downloaded_again() {
    let (bytes, hash) = content();
    let server = FileServer::start(bytes, None, true);
    let to = tempfile::tempdir().unwrap();
    let recipe = archive(vec![server.url.clone()], Some(hash));
    fetch(&recipe, to.path()).unwrap();
    fetch(&recipe, to.path()).unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), 1);
}

#[test]
fn another_hash_is_refused_and_nothing_is_kept() {
    let (bytes, _) = content();
    let server = FileServer::start(bytes, None, true);
    let to = tempfile::tempdir().unwrap();
    let failure = fetch(&archive(vec![server.url], Some("0".repeat(64))), to.path()).unwrap_err();
    assert_eq!(failure.exit, Exit::Download);
    assert!(failure.to_string().contains("SHA-256"), "{failure}");
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0);
}

#[test]
fn the_second_address_is_tried_when_the_first_has_other_bytes() {
    let (bytes, hash) = content();
    let (wrong, right) = (FileServer::start(vec![1; 10], None, true), FileServer::start(bytes.clone(), None, true));
    let to = tempfile::tempdir().unwrap();
    let path = fetch(&archive(vec![wrong.url, right.url], Some(hash)), to.path()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), bytes);
}

#[test]
fn authorities_come_from_a_file_of_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, "A CA\n-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n").unwrap();
    let ureq::tls::RootCerts::Specific(found) = authorities(&path).unwrap() else { panic!("not those of the file") };
    assert_eq!(found.iter().map(|c| c.der().to_vec()).collect::<Vec<_>>(), [[0, 1, 2]]);
    std::fs::write(&path, "no certificates").unwrap();
    assert!(authorities(&path).unwrap_err().to_string().contains("SSL_CERT_FILE"));
    assert!(authorities(dir.path()).unwrap_err().to_string().contains("SSL_CERT_FILE"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

#[test]
fn idx_files_become_folders_of_classes() {
    let head = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    let images = gzip(&[head(&[0x0803, 2, 2, 3]), (0..12).collect()].concat());
    let labels = gzip(&[head(&[0x0801, 2]), vec![1, 0]].concat());
    let files = [("i", &images), ("l", &labels), ("ti", &images), ("tl", &labels)].map(|(name, bytes)| File {
        name: name.into(),
        urls: vec![FileServer::start(bytes.clone(), None, true).url],
        bytes: Some(bytes.len() as u64),
        sha256: None,
        md5: None,
    });
    let to = tempfile::tempdir().unwrap();
    let recipe = Recipe { layout: Layout::Idx, files: files.into(), ..archive(vec![], None) };
    let data = fetch(&recipe, to.path()).unwrap();
    let image = image::open(data.join("train/a/00001.png")).unwrap().to_luma8();
    assert_eq!((image.dimensions(), image.into_raw()), ((3, 2), (6..12).collect::<Vec<u8>>()));
    assert!(data.join("test/b/00000.png").is_file());
    assert_eq!(fetch(&recipe, to.path()).unwrap_err().exit, Exit::Refused);
}

#[test]
fn cifar_batches_become_folders_of_classes() {
    let record = |label: u8| [vec![label], vec![10; 1024], vec![20; 1024], vec![30; 1024]].concat();
    let mut tar = tar::Builder::new(Vec::new());
    let names =
        (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".to_owned(), "readme.html".into()]);
    for (i, name) in names.enumerate() {
        let bytes = record((i % 2) as u8);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..]).unwrap();
    }
    let bytes = gzip(&tar.into_inner().unwrap());
    let server = FileServer::start(bytes, None, true);
    let to = tempfile::tempdir().unwrap();
    let recipe = Recipe { layout: Layout::Cifar10, ..archive(vec![server.url], None) };
    let data = fetch(&recipe, to.path()).unwrap();
    let image = image::open(data.join("train/b/00001.png")).unwrap().to_rgb8();
    assert_eq!(image.get_pixel(31, 31).0, [10, 20, 30]);
    assert_eq!(std::fs::read_dir(data.join("train/a")).unwrap().count(), 3);
    assert_eq!(std::fs::read_dir(data.join("test/b")).unwrap().count(), 1);
}
