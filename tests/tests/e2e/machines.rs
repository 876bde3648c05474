//! Several machines: servers and workers that have nothing in common but a database and an object store.

use crate::harness::*;
use kindling_tests::{Postgres, S3};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A `kindling worker`. It stops when this is dropped, and also when the test process is killed.
pub(crate) struct Machine {
    child: Child,
}

impl Machine {
    pub(crate) fn start(data_dir: &Path, workers: usize, variables: &[(&str, String)]) -> Self {
        Self::start_with(data_dir, &["--workers", &workers.to_string()], variables)
    }

    pub(crate) fn start_with(data_dir: &Path, options: &[&str], variables: &[(&str, String)]) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(data_dir.with_extension("log")).unwrap();
        let child = kindling()
            .args(["worker", "--stop-with-input", "--device", "flex", "--data-dir"])
            .arg(data_dir)
            .args(options)
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(15) && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_services_and_a_worker_elsewhere_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let variables = storage(&dir.path().join("place"));
    if variables.is_empty() {
        return;
    }
    let first = Server::start_with(&dir.path().join("a"), 0, &variables);
    let second = Server::start_with(&dir.path().join("b"), 0, &variables);
    let _machine = Machine::start(&dir.path().join("c"), 2, &variables);
    let (dataset, sealed) = first.upload(sample_zip());
    assert_eq!(sealed.status, 200, "{sealed:?}");
    assert_eq!(second.get(&format!("/v1/datasets/{dataset}")).json, sealed.json);
    let task = second.task(&dataset, json!({"trials": 3, "seconds": 20}));
    // The one that has the duty of scheduling may be either: the other goes on when it is killed.
    first.wait(&task, "there is a model", |t| t["best"].is_object());
    first.kill();
    let over = second.wait_over(&task);
    assert_eq!(over["state"], "complete", "{over}\n{}", second.log());
    let model = over["best"]["model"].as_str().unwrap();
    let answer = second.post_bytes(&format!("/v1/models/{model}/predict"), &png(&picture(32, 32, 1)));
    assert_eq!(answer.status, 200, "{answer:?}");
    let bundle = second.get(&format!("/v1/models/{model}/bundle.zip"));
    assert_eq!(bundle.status, 200, "{bundle:?}");
}

/// A worker that may hold a megabyte leaves every trial to one that may hold more, until there is no such.
#[test]
fn a_trial_goes_to_a_worker_that_can_hold_it() {
    let dir = tempfile::tempdir().unwrap();
    let variables = storage(&dir.path().join("place"));
    if variables.is_empty() {
        return;
    }
    let server = Server::start_with(&dir.path().join("a"), 0, &variables);
    let start = |name: &str, megabytes: &str| {
        let options = ["--workers", "1", "--memory", megabytes];
        Machine::start_with(&dir.path().join(name), &options, &variables)
    };
    // By the memory that each may hold: how fast it trained, null if it did not.
    let speeds = || -> BTreeMap<u64, bool> {
        let seen = server.get("/v1/service");
        let workers = seen.json["workers"].as_array().unwrap().iter();
        workers.map(|w| (w["memory_bytes"].as_u64().unwrap(), w["images_per_second"].is_number())).collect()
    };
    let (small, large) = (1_000_000, 64_000_000_000);
    let _first = start("small", "1");
    let second = start("large", "64000");
    server.wait_for("both are there", || speeds() == BTreeMap::from([(small, false), (large, false)]));
    let (dataset, task) = server.begin(json!({"trials": 2, "seconds": 10}));
    assert_eq!(server.wait_over(&task)["state"], "complete", "{}", server.log());
    server.wait_for("the large one trained alone", || speeds() == BTreeMap::from([(small, false), (large, true)]));

    drop(second);
    server.wait_for("one is there", || speeds() == BTreeMap::from([(small, false)]));
    let task = server.task(&dataset, json!({"trials": 2, "seconds": 10}));
    assert_eq!(server.wait_over(&task)["state"], "complete", "{}", server.log());
    server.wait_for("the small one trained", || speeds() == BTreeMap::from([(small, true)]));
}

/// What cannot be reached is named, and looked for again.
#[test]
fn readiness_tells_that_the_database_or_the_object_store_is_gone() {
    let Some(mut postgres) = Postgres::start() else { return };
    let s3 = S3::start();
    let dir = tempfile::tempdir().unwrap();
    let variables = place(postgres.url(), &s3, "ready");
    let server = Server::start_with(&dir.path().join("data"), 0, &variables);
    // What was looked for a moment ago is not looked for again: the answer tells of the fault soon, not at once.
    let until = |status: u16, says: &str| {
        let started = Instant::now();
        loop {
            let seen = server.get("/readyz");
            if seen.status == status && String::from_utf8_lossy(&seen.body).contains(says) {
                return seen;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{seen:?}\n{}", server.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    until(200, "ready");
    // The server makes a bucket's folder again, unless something is in its place.
    let aside = s3.root().with_extension("aside");
    std::fs::rename(s3.root(), &aside).unwrap();
    std::fs::write(s3.root(), b"no bucket").unwrap();
    let gone = until(503, "object store");
    gone.assert_problem("unavailable", 503);
    let told = gone.text("/detail");
    assert!(told.contains("object store") && !told.contains("database") && !told.contains("queue"), "{told}");
    std::fs::remove_file(s3.root()).unwrap();
    std::fs::rename(&aside, s3.root()).unwrap();
    until(200, "ready");
    postgres.kill();
    let gone = until(503, "database");
    gone.assert_problem("unavailable", 503);
    let told = gone.text("/detail");
    assert!(told.contains("database") && told.contains("queue") && !told.contains("object store"), "{told}");
    assert_eq!(server.get("/healthz").status, 200);
    postgres.restart();
    until(200, "ready");
}

/// Where trials wait for a slow object store, four workers do four at a time. Two cores can show no more.
/// `cargo test --release --workspace --test shared -- --ignored four_workers --nocapture`
#[test]
#[ignore = "takes minutes"]
fn four_workers_take_less_than_a_third_of_the_time_of_one() {
    let Some(postgres) = Postgres::start() else { return };
    let s3 = S3::start();
    s3.slow_down(Duration::from_secs(4));
    // So little to learn that waiting is most of a trial.
    let set = tempfile::tempdir().unwrap();
    kindling_data::sample::fire_smoke(&set.path().join("set"), 12, 32, 3).unwrap();
    let set = zip_of_folder(&set.path().join("set"));
    let seconds = |workers: usize| {
        let dir = tempfile::tempdir().unwrap();
        let variables = place(postgres.database(&format!("with_{workers}")), &s3, &format!("with-{workers}"));
        let server = Server::start_with(&dir.path().join("server"), 0, &variables);
        let (dataset, sealed) = server.upload(&set);
        assert_eq!(sealed.status, 200, "{sealed:?}");
        let machines: Vec<_> =
            (0..workers).map(|n| Machine::start(&dir.path().join(format!("machine-{n}")), 1, &variables)).collect();
        let started = Instant::now();
        let spec = json!({
            "version": 1, "name": "test", "kind": "image-classification", "dataset": dataset, "seed": 1,
            "budget": {"trials": 100}, "constraints": {"max_macs": 30_000},
        });
        let task = server.post("/v1/tasks", &spec).text("/id");
        let over = loop {
            let seen = server.get(&format!("/v1/tasks/{task}")).json;
            if !["queued", "running"].contains(&seen["state"].as_str().unwrap()) {
                break seen;
            }
            assert!(started.elapsed() < Duration::from_secs(1800), "{seen}\n{}", server.log());
            std::thread::sleep(Duration::from_millis(200));
        };
        let took = started.elapsed().as_secs_f64();
        assert_eq!(over["state"], "complete", "{over}\n{}", server.log());
        drop(machines);
        check_once(&server, &task, 100);
        println!("{workers} workers: {took:.1} s");
        took
    };
    let (one, four) = (seconds(1), seconds(4));
    println!("ratio {:.3}", four / one);
    assert!(four <= 0.3 * one, "{four:.1} s of {one:.1} s");
}

/// That a study has so many trials, each once, each rung of each once.
pub(crate) fn check_once(server: &Server, task: &str, trials: usize) {
    let page = server.get(&format!("/v1/tasks/{task}/trials?limit=500")).json;
    let items = page["items"].as_array().unwrap();
    let numbers: BTreeSet<_> = items.iter().map(|t| t["number"].as_u64().unwrap()).collect();
    assert_eq!((items.len(), numbers.len()), (trials, trials), "each number once");
    for trial in items {
        let rungs: Vec<_> = trial["results"].as_array().unwrap().iter().map(|r| r["rung"].as_u64().unwrap()).collect();
        let once: BTreeSet<_> = rungs.iter().collect();
        assert_eq!(once.len(), rungs.len(), "{trial}");
    }
    // Events tell of each result once, too.
    let told = events(server, task, None, |_| false);
    let mut results: Vec<(Value, Value)> =
        told.iter().filter(|e| e.kind == "rung").map(|e| (e.data["trial"].clone(), e.data["rung"].clone())).collect();
    let all = results.len();
    results.sort_by_key(|(trial, rung)| (trial.to_string(), rung.to_string()));
    results.dedup();
    assert_eq!(results.len(), all, "each once");
}
