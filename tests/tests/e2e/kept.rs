//! Keeps what the service of this version writes, for later versions' tests (`crates/store/tests/migrations.rs`) to open.
//!
//! Before a release: `cargo test --release --workspace --test e2e --test shared -- --ignored keeps_a_database`. It writes
//! `crates/store/tests/kept/VERSION.sqlite.gz` and, of the same service with PostgreSQL, `VERSION.postgres.sql.gz`.

use crate::harness::*;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// One of each kind of record, most of them by the service's own addresses.
fn fill(server: &Server) {
    // Nobody answers there, so that the deliveries are of every state but delivered.
    let hook = server.post("/v1/webhooks", &json!({"url": "https://kindling.invalid/hook"}));
    assert_eq!(hook.status, 201, "{hook:?}");
    let (dataset, sealed) = server.upload(sample_zip());
    assert_eq!(sealed.status, 200, "{sealed:?}");
    let task = server.task(&dataset, json!({"trials": 3, "seconds": 12}));
    assert_eq!(server.wait_over(&task)["state"], "complete", "{}", server.log());

    let asked = server.post(&format!("/v1/datasets/{dataset}/doubts"), &json!({"epochs": 1, "folds": 2}));
    assert_eq!(asked.status, 202, "{asked:?}");
    let (_, refused) = server.upload(b"no archive");
    refused.assert_problem("invalid_archive", 422);
    let new = json!({"name": "in parts", "kind": "object-detection"}).to_string();
    let begun = agent().post(server.url("/v1/datasets")).header("idempotency-key", "kept");
    let waiting = Answer::of(begun.send(new.as_bytes()).unwrap());
    let parts = json!({"dataset": waiting.text("/id"), "bytes": 100_000, "part_bytes": 65_536});
    let upload = server.post("/v1/uploads", &parts).text("/id");
    let part = server.put(&format!("/v1/uploads/{upload}/parts/1"), &[7; 100_000 - 65_536]);
    assert_eq!(part.status, 200, "{part:?}");

    let draft = server.post("/v1/drafts", &json!({"name": "raw", "classes": ["fire", "smoke"]})).text("/id");
    let pictures: Vec<_> = (0..3).map(|i| (format!("{i}.png"), png(&picture(24, 16, i)))).collect();
    let added = server.post_bytes(&format!("/v1/drafts/{draft}/pictures"), &zip_of(&pictures));
    assert_eq!(added.status, 200, "{added:?}");
    for (number, label) in [(0, json!({"class": "fire"})), (1, json!({"skip": true}))] {
        let request = agent().patch(server.url(&format!("/v1/drafts/{draft}/examples/{number}")));
        assert_eq!(Answer::of(request.send_json(label).unwrap()).status, 200);
    }
    let fleet = json!({
        "version": 1, "name": "watch", "kind": "image-classification", "dataset": dataset, "background": ["neither"],
        "constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": 90},
    });
    let fleet = server.post("/v1/fleets", &fleet).text("/id");
    assert_eq!(server.post(&format!("/v1/fleets/{fleet}/cancel"), &json!({})).status, 200);
    let start = std::time::Instant::now();
    while server.get(&format!("/v1/datasets/{dataset}/doubts")).json["state"] != "complete" {
        assert!(start.elapsed().as_secs() < 120, "{}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

fn told(data: &Path, words: &[&str]) -> Vec<u8> {
    let out = kindling().args(words).arg("--data-dir").arg(data).envs(storage(data)).output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A service begun before the first key has its keys from here on.
fn keys(data: &Path) {
    told(data, &["projects", "create", "hill", "--bytes", "10MB", "--running", "2"]);
    told(data, &["keys", "create", "--name", "laptop", "--scope", "write", "--project", "hill"]);
    let lost = told(data, &["keys", "create", "--name", "lost", "--scope", "read", "--json"]);
    let lost: Value = serde_json::from_slice(&lost).unwrap();
    told(data, &["keys", "revoke", lost["id"].as_str().unwrap()]);
}

fn keep(name: &str, content: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/store/tests/kept");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{}.{name}.gz", env!("CARGO_PKG_VERSION")));
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
    packed.write_all(content).unwrap();
    std::fs::write(&path, packed.finish().unwrap()).unwrap();
    println!("kept {}", path.display());
}

/// What a database holds, as statements that any client sends.
fn dump(address: &str) -> Vec<u8> {
    let out = Command::new("pg_dump").args(["--inserts", "--no-owner", "--no-privileges", address]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    // Lines that begin so are for psql alone.
    let lines = text.lines().filter(|line| !line.starts_with('\\') && !line.starts_with("--"));
    lines.flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

#[test]
#[ignore = "it writes into the repository"]
fn keeps_a_database() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, 2);
    fill(&server);
    drop(server);
    keys(&data);
    match storage(&data).into_iter().find(|(name, _)| *name == "KINDLING_DATABASE") {
        Some((_, address)) => keep("postgres.sql", &dump(&address)),
        None => {
            // A backup's records are one file, what was still in the journal among them.
            let (archive, plain) = (dir.path().join("backup.tar"), dir.path().join("plain"));
            told(&data, &["backup", archive.to_str().unwrap()]);
            told(&plain, &["restore", archive.to_str().unwrap()]);
            keep("sqlite", &std::fs::read(plain.join("kindling.db")).unwrap());
        }
    }
}
