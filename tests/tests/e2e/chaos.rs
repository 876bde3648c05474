//! Processes killed and frozen at random while studies run: nothing that was said to be kept is lost or doubled.
//!
//! `KINDLING_CHAOS_BLOWS` is how often (12 by default), `KINDLING_CHAOS_SEED` which ones.

use crate::harness::*;
use crate::machines::{Machine, check_once};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// SplitMix64 (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn signal(pid: u32, name: &str) {
    // A process that is gone already needs no blow.
    let _ = Command::new("kill").args([name, &pid.to_string()]).status();
}

fn children(parent: u32) -> Vec<u32> {
    let found = Command::new("pgrep").args(["-P", &parent.to_string()]).output().unwrap().stdout;
    String::from_utf8_lossy(&found).lines().filter_map(|line| line.parse().ok()).collect()
}

/// What was seen and must stay as it was seen.
#[derive(Default)]
struct Seen {
    /// A data set's id and hash.
    datasets: BTreeMap<String, String>,
    /// A trial's rung, and its result.
    results: BTreeMap<(String, u64), Value>,
    /// A model's id and the SHA-256 of its ONNX file.
    models: BTreeMap<String, String>,
}

impl Seen {
    fn look(&mut self, server: &Server, task: &str) {
        let trials = server.get(&format!("/v1/tasks/{task}/trials?limit=500"));
        for trial in trials.json["items"].as_array().into_iter().flatten() {
            let id = trial["id"].as_str().unwrap();
            for result in trial["results"].as_array().unwrap() {
                let key = (id.to_owned(), result["rung"].as_u64().unwrap());
                let known = self.results.entry(key).or_insert_with(|| result.clone());
                assert_eq!(known, result, "a result changed");
            }
        }
        let board = server.get(&format!("/v1/tasks/{task}/leaderboard?limit=500"));
        for entry in board.json["items"].as_array().into_iter().flatten() {
            let id = entry["model"].as_str().unwrap();
            if !self.models.contains_key(id) {
                let file = server.get(&format!("/v1/models/{id}/files/model.onnx"));
                if file.status == 200 {
                    self.models.insert(id.to_owned(), sha256(&file.body));
                }
            }
        }
    }

    /// Everything that was seen is there, and is the same.
    fn check(&self, server: &Server, task: &str) {
        for (id, hash) in &self.datasets {
            let seen = server.get(&format!("/v1/datasets/{id}"));
            assert_eq!(
                (seen.status, seen.json["state"].as_str(), seen.json["hash"].as_str()),
                (200, Some("ready"), Some(&**hash))
            );
            let picture = server.get(&format!("/v1/datasets/{id}/examples/0/image"));
            assert_eq!(picture.status, 200, "{picture:?}");
        }
        let mut now = Seen::default();
        now.look(server, task);
        for (key, result) in &self.results {
            assert_eq!(now.results.get(key), Some(result), "the result of {key:?} is lost");
        }
        for (id, hash) in &self.models {
            let file = server.get(&format!("/v1/models/{id}/files/model.onnx"));
            assert_eq!((file.status, sha256(&file.body)), (200, hash.clone()), "model {id}");
        }
    }
}

/// Two servers and two machines of workers, each started again when it is killed.
struct Cluster {
    dir: PathBuf,
    variables: Vec<(&'static str, String)>,
    servers: Vec<Server>,
    machines: Vec<Machine>,
    blows: BTreeMap<&'static str, u32>,
}

impl Cluster {
    fn start(dir: &Path, variables: Vec<(&'static str, String)>) -> Self {
        let servers = (0..2).map(|n| Server::start_with(&dir.join(format!("server-{n}")), 0, &variables)).collect();
        let machines = (0..2).map(|n| Machine::start(&dir.join(format!("machine-{n}")), 2, &variables)).collect();
        Self { dir: dir.to_owned(), variables, servers, machines, blows: BTreeMap::new() }
    }

    /// One blow to a process chosen at random.
    fn strike(&mut self, random: &mut Random) {
        let n = random.below(2);
        let worker = |machine: &Machine, random: &mut Random| {
            let workers = children(machine.id());
            (!workers.is_empty()).then(|| workers[random.below(workers.len())])
        };
        let what = match random.below(6) {
            0 => {
                let killed = self.servers.remove(n);
                killed.kill();
                self.servers.insert(n, Server::start_with(&self.dir.join(format!("server-{n}")), 0, &self.variables));
                "server killed"
            }
            1 => {
                // Longer than its duties' lease: the other takes them over, then this one is back.
                let pid = self.servers[n].child.id();
                signal(pid, "-STOP");
                std::thread::sleep(Duration::from_secs(11));
                signal(pid, "-CONT");
                "server frozen"
            }
            2 => {
                self.machines[n].kill();
                self.machines[n] = Machine::start(&self.dir.join(format!("machine-{n}")), 2, &self.variables);
                "machine killed"
            }
            3 => {
                if let Some(pid) = worker(&self.machines[n], random) {
                    signal(pid, "-STOP");
                    std::thread::sleep(Duration::from_secs(1 + 2 * random.below(12) as u64));
                    signal(pid, "-CONT");
                }
                "worker frozen"
            }
            _ => {
                if let Some(pid) = worker(&self.machines[n], random) {
                    signal(pid, "-KILL");
                }
                "worker killed"
            }
        };
        *self.blows.entry(what).or_default() += 1;
    }
}

#[test]
fn kindling_chaos() {
    let dir = tempfile::tempdir().unwrap();
    let variables = storage(&dir.path().join("place"));
    if variables.is_empty() {
        return;
    }
    let (blows, seed) = (number("KINDLING_CHAOS_BLOWS", 12), number("KINDLING_CHAOS_SEED", 1));
    let mut random = Random(seed);
    let mut cluster = Cluster::start(dir.path(), variables);
    let mut seen = Seen::default();
    let (dataset, sealed) = cluster.servers[0].upload(sample_zip());
    assert_eq!(sealed.status, 200, "{sealed:?}");
    seen.datasets.insert(dataset.clone(), sealed.text("/hash"));
    let task = cluster.servers[0].task(&dataset, json!({"trials": 400, "seconds": 100_000}));
    let started = Instant::now();
    for blow in 0..blows {
        // Now and then in the middle of an upload, whose answer decides whether it must be there.
        let base = cluster.servers[random.below(2)].base.clone();
        let uploading = (blow % 3 == 0).then(|| std::thread::spawn(move || upload(&base)));
        std::thread::sleep(Duration::from_millis(300 + 400 * random.below(8) as u64));
        cluster.strike(&mut random);
        if let Some(Some((id, hash))) = uploading.map(|thread| thread.join().unwrap()) {
            seen.datasets.insert(id, hash);
        }
        let n = random.below(2);
        seen.look(&cluster.servers[n], &task);
    }
    let struck = started.elapsed();
    // Then it is let go on, and ends as it is told to.
    cluster.servers[0].wait(&task, "it goes on", |t| {
        t["progress"]["trials"]["running"].as_u64() > Some(0) || t["state"] != "running"
    });
    let cancelled = cluster.servers[1].post(&format!("/v1/tasks/{task}/cancel"), &json!({}));
    assert!(matches!(cancelled.status, 200 | 202), "{cancelled:?}");
    let over = cluster.servers[0].wait_over(&task);
    assert_eq!(over["state"], "cancelled", "{over}");
    for server in &cluster.servers {
        seen.check(server, &task);
    }
    let page = cluster.servers[0].get(&format!("/v1/tasks/{task}/trials?limit=500")).json;
    let trials = page["items"].as_array().unwrap();
    check_once(&cluster.servers[0], &task, trials.len());
    // Three deaths end a trial; that is told, and is no loss of a result.
    println!(
        "{blows} blows in {:.0} s: {:?}; {} data sets, {} trials, {} results, {} models, all as they were seen",
        struck.as_secs_f64(),
        cluster.blows,
        seen.datasets.len(),
        trials.len(),
        seen.results.len(),
        seen.models.len()
    );
    assert!(seen.results.len() >= 2 && !seen.models.is_empty(), "it was let work in between");
}

/// Uploads a data set; its id and hash if the service said that it is sealed.
fn upload(base: &str) -> Option<(String, String)> {
    let made =
        agent().post(format!("{base}/v1/datasets")).send_json(json!({"name": "x", "kind": "image-classification"}));
    let made = Answer::of(made.ok()?);
    let id = made.json["id"].as_str()?.to_owned();
    let sealed = agent().put(format!("{base}/v1/datasets/{id}/content")).send(sample_zip()).ok()?;
    if sealed.status() != 200 {
        return None;
    }
    // A connection that breaks in the middle of the answer has said nothing.
    let text = sealed.into_body().read_to_string().ok()?;
    let sealed: Value = serde_json::from_str(&text).ok()?;
    Some((id, sealed["hash"].as_str()?.to_owned()))
}
