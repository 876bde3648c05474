//! `kindling demo`: the whole way, as a person with an HTTP client would go it.

use crate::client::Client;
use crate::commands::predict;
use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::{archive, output, running, sse, study};
use kindling_data::sample;
use kindling_engine::Said;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Pictures of each class in the sample that the demo draws.
const SAMPLE_PER_CLASS: usize = 400;
/// Their sides in pixels.
const SAMPLE_SIZE: u32 = 64;
/// How long the service may take to start.
const START: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(15);

/// Starts a service of its own and goes the whole way through its HTTP API: uploads a data set, posts a
/// task, follows the search, downloads the best model's files, and asks the model about a picture.
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Seconds the search may take.
    #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u32).range(5..))]
    seconds: u32,
    /// The most bytes the network's weights may have.
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_weights_bytes: u64,
    /// Your own examples, a folder with one folder a class or an archive of one, instead of the sample.
    #[arg(long, value_name = "DIR|ZIP")]
    data: Option<PathBuf>,
    /// Where everything is kept.
    #[arg(long, default_value = "./kindling-demo", value_name = "DIR")]
    dir: PathBuf,
    /// Leave the service up until Ctrl-C.
    #[arg(long)]
    keep_serving: bool,
    /// Worker processes; by default one a core, or one a graphics card.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// The device to train on; `kindling devices` lists them.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    device: String,
    /// Print JSON at the end.
    #[arg(long)]
    json: bool,
}

/// What the event stream told.
#[derive(Default)]
struct Seen {
    trials: u64,
    rungs: u64,
    best: Option<(f64, u64)>,
    first_model: Option<f64>,
    started: Option<Instant>,
    end: Option<(String, Option<String>)>,
}

impl Demo {
    pub(crate) fn run(self) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.dir).map_err(Failure::io(&self.dir, "the demo's folder cannot be made"))?;
        let archive = self.archive()?;
        let mut server = Server::start(&self)?;
        let client = Client::new(&server.address);
        self.say(&format!("service      {}", server.address));

        let dataset = self.upload(&client, &archive)?;
        let (task, posted) = self.post(&client, &dataset)?;
        let page = client.url(&format!("/tasks/{task}"));
        self.say(&format!("task         {page}"));
        let seen = self.follow(&client, &task, posted)?;
        let searched = posted.elapsed().as_secs_f64();

        let board = client.list(&format!("/v1/tasks/{task}/leaderboard"))?;
        let Some(best) = board.first() else {
            let why = seen.end.and_then(|(_, why)| why).unwrap_or_else(|| "no candidate could be finished".to_owned());
            return Err(Failure::new(Exit::NoModel, format!("the search ended without a model: {why}"))
                .mend("give more --seconds, or a larger --max-weights-bytes"));
        };
        self.say(&format!("\n{}", study::board(board.iter(), "accuracy", 10)));
        let model = text(best, "model");
        let folder = self.dir.join("model");
        let files = download(&client, &model, &folder)?;
        self.say(&format!("\nfiles        {} in {}", files.len(), folder.display()));
        if let Some(seconds) = seen.first_model {
            self.say(&format!("first model  ready to download {seconds:.1} s after the task was posted"));
        }
        let prediction = try_one(&client, &dataset, &folder)?;
        self.say(&format!(
            "prediction   {} is {} ({}); it is {} in truth{}",
            text(&prediction, "image"),
            text(&prediction, "label"),
            output::percent(prediction["probability"].as_f64().unwrap_or(0.0)),
            text(&prediction, "truth"),
            if prediction["right"] == true { "" } else { ", so the model is wrong here" }
        ));
        if self.json {
            output::say_json(&json!({
                "address": server.address,
                "page": page,
                "dataset": dataset,
                "task": task,
                "model": model,
                "best": best,
                "leaderboard": board,
                "trials": seen.trials,
                "rungs": seen.rungs,
                "seconds": searched,
                "first_model_seconds": seen.first_model,
                "files": files,
                "folder": folder,
                "prediction": prediction,
            }))?;
        }
        if self.keep_serving {
            self.say(&format!("page         {page}\n\nThe service stays up. Ctrl-C stops it."));
            return server.wait();
        }
        self.say(&format!(
            "page         {page} (while the service is up: add --keep-serving, or run\n             kindling serve --data-dir {})",
            self.dir.join("data").display()
        ));
        server.stop();
        Ok(())
    }

    /// With `--json` only JSON goes to standard output.
    fn say(&self, line: &str) {
        if self.json { eprintln!("{line}") } else { output::say(line) }
    }

    /// The archive to upload.
    fn archive(&self) -> Result<PathBuf, Failure> {
        let folder = match &self.data {
            Some(path) if path.is_file() => return Ok(path.clone()),
            Some(path) if path.is_dir() => path.clone(),
            Some(path) => {
                return Err(
                    Failure::new(Exit::Refused, "there is no such folder or archive").at(path.display().to_string())
                );
            }
            None => self.sample()?,
        };
        let out = self.dir.join("upload.zip");
        archive::zip_folder(&folder, &out)?;
        Ok(out)
    }

    /// Draws the sample data set, once.
    fn sample(&self) -> Result<PathBuf, Failure> {
        let dir = self.dir.join(format!("sample-{SAMPLE_PER_CLASS}x{SAMPLE_SIZE}"));
        if dir.is_dir() {
            return Ok(dir);
        }
        // Under another name until it is whole: a demo may be stopped at any moment.
        let part = self.dir.join("sample.part");
        if part.exists() {
            std::fs::remove_dir_all(&part).map_err(Failure::io(&part, "what an earlier run left cannot be removed"))?;
        }
        let meter = Meter::new("drawing the sample pictures", 0, Unit::Items);
        sample::fire_smoke(&part, SAMPLE_PER_CLASS, SAMPLE_SIZE, 0)?;
        drop(meter);
        std::fs::rename(&part, &dir).map_err(Failure::io(&dir, "the sample cannot be moved there"))?;
        Ok(dir)
    }

    fn upload(&self, client: &Client, archive: &Path) -> Result<String, Failure> {
        let name =
            self.data.as_deref().and_then(Path::file_stem).map_or("fire-smoke sample".into(), |n| n.to_string_lossy());
        let made = client.post("/v1/datasets", &json!({"name": name, "kind": "image-classification"}))?;
        let id = text(&made, "id");
        let length = std::fs::metadata(archive).map_err(Failure::io(archive, "the archive cannot be read"))?.len();
        let meter = Meter::new("uploading", length, Unit::Bytes);
        let sealed = client.put_file(&format!("/v1/datasets/{id}/content"), archive, |sent| meter.set(sent))?;
        drop(meter);
        let counts = sealed.pointer("/summary/counts").and_then(Value::as_object).cloned().unwrap_or_default();
        let all = |c: &Value| c.as_object().into_iter().flat_map(|m| m.values()).filter_map(Value::as_u64).sum::<u64>();
        let classes: Vec<_> = counts.iter().map(|(class, c)| format!("{class} {}", all(c))).collect();
        self.say(&format!("data set     {id}: {}", classes.join(", ")));
        Ok(id)
    }

    fn post(&self, client: &Client, dataset: &str) -> Result<(String, Instant), Failure> {
        let name = if self.data.is_some() { "demo" } else { "fire, smoke or neither" };
        let spec = json!({
            "version": 1,
            "name": name,
            "kind": "image-classification",
            "dataset": dataset,
            "constraints": {"max_weights_bytes": self.max_weights_bytes},
            "budget": {"seconds": self.seconds},
        });
        let posted = Instant::now();
        let task = client.post("/v1/tasks", &spec)?;
        Ok((text(&task, "id"), posted))
    }

    /// Shows trials, best so far and time left until the study ends.
    fn follow(&self, client: &Client, task: &str, posted: Instant) -> Result<Seen, Failure> {
        let events = sse::follow(client.clone(), format!("/v1/tasks/{task}/events"));
        let meter = Meter::new("searching", u64::from(self.seconds) * 10, Unit::Time);
        let mut seen = Seen::default();
        while seen.end.is_none() {
            match events.recv_timeout(Duration::from_millis(250)) {
                Ok(event) => {
                    let event = event?;
                    if event.kind == "model" && seen.first_model.is_none() {
                        seen.first_model = Some(posted.elapsed().as_secs_f64());
                        meter.note(&format!("first model after {:.1} s", posted.elapsed().as_secs_f64()));
                    }
                    seen.take(&event.kind, &event.data);
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Failure::new(Exit::Unavailable, "the event stream ended before the study did"));
                }
            }
            let spent = seen.started.map_or(0.0, |s| s.elapsed().as_secs_f64());
            meter.set((spent * 10.0) as u64);
            meter.message(seen.line(f64::from(self.seconds) - spent));
        }
        Ok(seen)
    }
}

impl Seen {
    fn take(&mut self, kind: &str, data: &Value) {
        match kind {
            "trial" => {
                self.started.get_or_insert_with(Instant::now);
                let number = data.get("number").and_then(Value::as_u64).unwrap_or(0);
                self.trials = self.trials.max(number + 1);
            }
            "rung" => self.rungs += 1,
            "model" => {
                let value = data.get("value").and_then(Value::as_f64).unwrap_or(0.0);
                let size = data.get("weights_bytes").and_then(Value::as_u64).unwrap_or(0);
                if self.best.is_none_or(|(best, _)| value > best) {
                    self.best = Some((value, size));
                }
            }
            "end" => {
                self.end = Some((text(data, "state"), data.get("reason").and_then(Value::as_str).map(str::to_owned)))
            }
            _ => {}
        }
    }

    fn line(&self, left: f64) -> String {
        let best = match self.best {
            Some((value, size)) => format!("best {} in {}", output::percent(value), output::bytes(size)),
            None => "no model yet".to_owned(),
        };
        format!("{} trials, {} rungs, {best}, {:.0} s left", self.trials, self.rungs, left.max(0.0))
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Downloads every file of a model into a fresh folder that takes the old one's place when it is whole.
fn download(client: &Client, model: &str, folder: &Path) -> Result<Vec<String>, Failure> {
    let part = folder.with_extension("part");
    if part.exists() {
        std::fs::remove_dir_all(&part).map_err(Failure::io(&part, "what an earlier run left cannot be removed"))?;
    }
    std::fs::create_dir_all(&part).map_err(Failure::io(&part, "the folder cannot be made"))?;
    let mut names = Vec::new();
    for file in client.list(&format!("/v1/models/{model}/files"))? {
        let name = text(&file, "name");
        // The name comes from outside: only a plain file name is written to.
        if Path::new(&name).file_name().is_none_or(|n| n != name.as_str()) {
            return Err(Failure::new(Exit::Failed, format!("the service names a file `{name}`")));
        }
        let bytes = client.bytes(&format!("/v1/models/{model}/files/{name}"))?;
        if sha256(&bytes) != text(&file, "sha256") {
            return Err(Failure::new(Exit::Failed, format!("{name} arrived with another SHA-256 than announced")));
        }
        let path = part.join(&name);
        std::fs::write(&path, bytes).map_err(Failure::io(&path, "the file cannot be written"))?;
        names.push(name);
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(Failure::io(folder, "the last run's model cannot be replaced"))?;
    }
    std::fs::rename(&part, folder).map_err(Failure::io(folder, "the files cannot be moved there"))?;
    Ok(names)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    crate::fetch::download::hex(&sha2::Sha256::digest(bytes))
}

/// Asks the downloaded ONNX file about a test picture, one that neither training nor search has seen.
fn try_one(client: &Client, dataset: &str, folder: &Path) -> Result<Value, Failure> {
    let page = client.get(&format!("/v1/datasets/{dataset}/examples?split=test&limit=1"))?;
    let example = page.pointer("/items/0").cloned().unwrap_or_default();
    let bytes = client.bytes(&text(&example, "image"))?;
    let model = predict::load(folder)?;
    let Said::Class { label, probabilities, .. } = predict::ask(&model, &bytes, None)? else {
        return Err(Failure::new(Exit::Failed, "the model finds objects, which the demo has none of"));
    };
    let probability = probabilities.iter().find(|(name, _)| *name == label).map_or(0.0, |(_, p)| *p);
    let truth = text(&example, "class");
    Ok(json!({
        "image": text(&example, "path"),
        "truth": truth,
        "right": truth == label,
        "label": label,
        "probability": probability,
    }))
}

/// A service of our own.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts `kindling serve` on a free loopback port. It stops when our end of its input closes, so it
    /// never outlives the demo.
    fn start(demo: &Demo) -> Result<Self, Failure> {
        let log_path = demo.dir.join("serve.log");
        let log = std::fs::File::create(&log_path).map_err(Failure::io(&log_path, "the log cannot be written"))?;
        let mut command = Command::new(running::program()?);
        command.args(["serve", "--json", "--stop-with-input", "--listen", "127.0.0.1:0", "--device", &demo.device]);
        command.arg("--data-dir").arg(demo.dir.join("data"));
        if let Some(workers) = demo.workers {
            command.args(["--workers", &workers.to_string()]);
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child.map_err(|e| Failure::new(Exit::Failed, format!("the service cannot be started: {e}")))?;
        let (sender, receiver) = std::sync::mpsc::channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        // A service that ends closes its output, and the channel with it.
        let line = receiver.recv_timeout(START).unwrap_or_default();
        let told: Value = serde_json::from_str(&line).unwrap_or_default();
        let mut server = Self { child, address: text(&told, "address") };
        if server.address.is_empty() {
            server.stop();
            let said = std::fs::read_to_string(&log_path).unwrap_or_default();
            let tail: Vec<_> = said.lines().rev().take(5).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            return Err(Failure::new(Exit::Unavailable, format!("the service did not start:\n{}", tail.join("\n")))
                .at(log_path.display().to_string()));
        }
        Ok(server)
    }

    /// Waits until it is stopped from outside.
    fn wait(&mut self) -> Result<(), Failure> {
        self.child.wait().map_err(|e| Failure::new(Exit::Failed, format!("the service is lost: {e}")))?;
        Ok(())
    }

    /// Asks it to stop; kills it if it does not.
    fn stop(&mut self) {
        drop(self.child.stdin.take());
        let start = Instant::now();
        while start.elapsed() < STOP {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(50)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}
