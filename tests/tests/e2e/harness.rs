//! Starts the binary, speaks HTTP, makes data sets.

use kindling_tests::{Postgres, S3};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ureq::{Agent, Body, http::Response};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The binary that cargo built beside this test (`target/release/deps/e2e-…` and `target/release/kindling`).
pub(crate) fn binary() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push(format!("kindling{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "{} is missing: run `cargo test --release --workspace`, which builds it", path.display());
    path
}

pub(crate) fn kindling() -> Command {
    let mut command = Command::new(binary());
    command.env_remove("KINDLING_LOG").stdin(Stdio::null());
    command
}

/// A running service. It stops when this is dropped, and also when the test process is killed.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) base: String,
    log: PathBuf,
}

/// PostgreSQL and S3, where this is the test binary `shared`; a directory is all there is otherwise.
struct Shared {
    postgres: Postgres,
    s3: S3,
    databases: Mutex<HashMap<PathBuf, String>>,
}

fn shared() -> Option<&'static Shared> {
    static SHARED: LazyLock<Option<Shared>> = LazyLock::new(|| {
        let name = std::env::current_exe().unwrap();
        if !name.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shared-")) {
            return None;
        }
        let Some(postgres) = Postgres::start() else {
            println!("without PostgreSQL these tests are of a directory once more");
            return None;
        };
        Some(Shared { postgres, s3: S3::start(), databases: Mutex::default() })
    });
    SHARED.as_ref()
}

/// What a process must have in its environment to use what belongs to this directory: in `shared` a database and a prefix
/// of its own, the same each time.
pub(crate) fn storage(data_dir: &Path) -> Vec<(&'static str, String)> {
    let Some(shared) = shared() else { return Vec::new() };
    let mut databases = shared.databases.lock().unwrap();
    let name = format!("test_{}", databases.len());
    let database = databases.entry(data_dir.to_owned()).or_insert_with(|| shared.postgres.database(&name)).clone();
    let prefix = database.rsplit('/').next().unwrap_or_default().to_owned();
    place(database, &shared.s3, &prefix)
}

/// The same for a database and a prefix of its own.
pub(crate) fn place(database: String, s3: &S3, prefix: &str) -> Vec<(&'static str, String)> {
    let mut variables = vec![("KINDLING_DATABASE", database), ("KINDLING_ARTIFACTS", s3.url(prefix))];
    variables.extend(s3.environment());
    variables
}

/// The keys of all files that are kept for this directory, in it or in its part of the object store.
pub(crate) fn kept_files(data_dir: &Path) -> BTreeSet<String> {
    let root = match (shared(), storage(data_dir).iter().find(|(name, _)| *name == "KINDLING_ARTIFACTS")) {
        (Some(shared), Some((_, address))) => shared.s3.root().join(address.rsplit('/').next().unwrap_or_default()),
        _ => data_dir.join("files"),
    };
    let mut found = BTreeSet::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => open.push(path),
                path => drop(found.insert(path.strip_prefix(&root).unwrap().display().to_string())),
            }
        }
    }
    found
}

impl Server {
    pub(crate) fn start(data_dir: &Path, workers: usize) -> Self {
        Self::start_with(data_dir, workers, &storage(data_dir))
    }

    /// With these variables in its environment.
    pub(crate) fn start_with(data_dir: &Path, workers: usize, variables: &[(&str, String)]) -> Self {
        Self::start_as(kindling(), data_dir, "flex", workers, variables)
    }

    /// By a command that ends in the binary, on a device.
    pub(crate) fn start_as(
        mut command: Command,
        data_dir: &Path,
        device: &str,
        workers: usize,
        variables: &[(&str, String)],
    ) -> Self {
        let log = data_dir.with_extension("log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut child = command
            .args(["serve", "--json", "--stop-with-input", "--listen", "127.0.0.1:0", "--device", device])
            .args(["--workers", &workers.to_string(), "--data-dir"])
            .arg(data_dir)
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the service did not start: {}", std::fs::read_to_string(&log).unwrap()));
        Self { child, base: told["address"].as_str().unwrap().to_owned(), log }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        Answer::of(agent().get(self.url(path)).call().unwrap())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(agent().post(self.url(path)).send_json(body).unwrap())
    }

    pub(crate) fn post_bytes(&self, path: &str, body: &[u8]) -> Answer {
        Answer::of(agent().post(self.url(path)).content_type("application/octet-stream").send(body).unwrap())
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        Answer::of(agent().delete(self.url(path)).call().unwrap())
    }

    pub(crate) fn put(&self, path: &str, body: &[u8]) -> Answer {
        Answer::of(agent().put(self.url(path)).send(body).unwrap())
    }

    /// What the service and its workers said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Makes a data set and uploads the archive.
    pub(crate) fn upload(&self, archive: &[u8]) -> (String, Answer) {
        let made = self.post("/v1/datasets", &json!({"name": "test", "kind": "image-classification"}));
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.text("/id");
        let sealed = self.put(&format!("/v1/datasets/{id}/content"), archive);
        (id, sealed)
    }

    /// Posts a task and returns its id.
    pub(crate) fn task(&self, dataset: &str, budget: Value) -> String {
        let spec = json!({
            "version": 1, "name": "test", "kind": "image-classification", "dataset": dataset, "budget": budget,
            "constraints": {"max_weights_bytes": 60_000, "max_macs": 2_000_000}, "seed": 1,
        });
        let posted = self.post("/v1/tasks", &spec);
        assert_eq!(posted.status, 201, "{posted:?}");
        assert_eq!(posted.header("location"), format!("/v1/tasks/{}", posted.text("/id")));
        posted.text("/id")
    }

    /// Waits until `until` says so of the task.
    pub(crate) fn wait(&self, task: &str, what: &str, until: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let seen = self.get(&format!("/v1/tasks/{task}"));
            assert_eq!(seen.status, 200, "{seen:?}");
            if until(&seen.json) {
                return seen.json;
            }
            let log = if start.elapsed() > PATIENCE { self.log() } else { String::new() };
            assert!(start.elapsed() < PATIENCE, "waited too long until {what}: {}\n{log}", seen.json);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn wait_over(&self, task: &str) -> Value {
        self.wait(task, "the task is over", |t| {
            ["complete", "cancelled", "failed"].contains(&t["state"].as_str().unwrap())
        })
    }

    /// Uploads the sample data set and posts a task on it; returns both ids.
    pub(crate) fn begin(&self, budget: Value) -> (String, String) {
        let (dataset, sealed) = self.upload(sample_zip());
        assert_eq!(sealed.status, 200, "{sealed:?}");
        let task = self.task(&dataset, budget);
        (dataset, task)
    }

    /// Waits a minute at most.
    pub(crate) fn wait_for(&self, what: &str, until: impl Fn() -> bool) {
        let started = Instant::now();
        while !until() {
            assert!(started.elapsed() < Duration::from_secs(60), "waited too long until {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The process ids of its workers.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // The name in brackets may hold spaces; state and parent follow it.
            let mut fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
            let (state, parent) = (fields.next(), fields.next());
            if state != Some("Z") && parent == Some(self.child.id().to_string().as_str()) {
                found.push(pid);
            }
        }
        found
    }

    /// As the kernel ends a process that is out of memory.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(15) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The longest anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(150);

pub(crate) fn agent() -> Agent {
    Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).proxy(None).build().into()
}

/// A response read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn of(response: Response<Body>) -> Self {
        let headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        let mut body = Vec::new();
        std::io::Read::read_to_end(&mut response.into_body().into_reader(), &mut body).unwrap();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Self { status, headers, body, json }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self, pointer: &str) -> String {
        let found = self.json.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no text at {pointer}: {self:?}")).to_owned()
    }

    /// Asserts that it is the problem of this code, told as RFC 9457 wants it.
    pub(crate) fn assert_problem(&self, code: &str, status: u16) {
        assert_eq!((self.json["code"].as_str(), self.status), (Some(code), status), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json["type"], format!("/problems/{code}"));
        assert_eq!(self.json["status"], status);
        assert!(self.text("/detail").len() > 20 && !self.text("/title").is_empty(), "{self:?}");
    }
}

/// A small sample data set as a zip, the same for all tests.
pub(crate) fn sample_zip() -> &'static [u8] {
    static ZIP: LazyLock<Vec<u8>> = LazyLock::new(|| zip_of_folder(sample_dir()));
    &ZIP
}

/// The same as a folder.
pub(crate) fn sample_dir() -> &'static Path {
    static DIR: LazyLock<TempDir> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        kindling_data::sample::fire_smoke(&dir.path().join("set"), 40, 32, 3).unwrap();
        dir
    });
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| DIR.path().join("set"));
    &PATH
}

pub(crate) fn zip_of_folder(dir: &Path) -> Vec<u8> {
    let mut entries = Vec::new();
    for class in std::fs::read_dir(dir).unwrap().flatten().filter(|e| e.path().is_dir()) {
        for file in std::fs::read_dir(class.path()).unwrap().flatten() {
            let name = format!("{}/{}", class.file_name().display(), file.file_name().display());
            entries.push((name, std::fs::read(file.path()).unwrap()));
        }
    }
    zip_of(&entries)
}

/// A zip of named bytes, names taken as they are.
pub(crate) fn zip_of(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let method = if bytes.len() > 100_000 { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        zip.start_file(name.as_str(), SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A PNG with stripes that differ from number to number.
pub(crate) fn picture(width: u32, height: u32, number: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let wave = (x * (number % 7 + 1) * 40 / width + y * (number % 5 + 1) * 60 / height) as u8;
        image::Rgb([wave.wrapping_mul(3), wave ^ (number as u8).wrapping_mul(31), (x * 255 / width) as u8])
    })
}

pub(crate) fn png(image: &image::RgbImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// One message of an event stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<i64>,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// Reads a task's events after `last` until `enough` says so or the stream ends.
pub(crate) fn events(server: &Server, task: &str, last: Option<i64>, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let mut request = agent().get(server.url(&format!("/v1/tasks/{task}/events")));
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let response = request.call().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut found, mut next) = (Vec::new(), Event { id: None, kind: String::new(), data: Value::Null });
    for line in BufReader::new(response.into_body().into_reader()).lines() {
        let line = line.unwrap();
        match line.split_once(": ").or_else(|| line.split_once(':')) {
            Some(("id", id)) => next.id = Some(id.parse().unwrap()),
            Some(("event", kind)) => next.kind = kind.to_owned(),
            Some(("data", data)) => next.data = serde_json::from_str(data).unwrap(),
            _ if line.is_empty() && !next.kind.is_empty() => {
                found.push(std::mem::replace(&mut next, Event { id: None, kind: String::new(), data: Value::Null }));
                if enough(&found) {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// A service with one study done; several tests ask it things.
pub(crate) struct Finished {
    pub(crate) server: Server,
    pub(crate) dataset: String,
    pub(crate) task: String,
    pub(crate) model: String,
    _dir: TempDir,
}

pub(crate) fn finished() -> &'static Finished {
    static FINISHED: LazyLock<Finished> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(&dir.path().join("data"), 2);
        let (dataset, sealed) = server.upload(sample_zip());
        assert_eq!(sealed.status, 200, "{sealed:?}");
        let task = server.task(&dataset, json!({"trials": 3, "seconds": 12}));
        let over = server.wait_over(&task);
        assert_eq!(over["state"], "complete", "{over}\n{}", server.log());
        let model = over["best"]["model"].as_str().unwrap_or_else(|| panic!("{over}\n{}", server.log())).to_owned();
        Finished { server, dataset, task, model, _dir: dir }
    });
    &FINISHED
}
