//! A whole study without a service: data in, search, the best model's files out. `train` and `bench
//! real` are made of this, `fleet` of parts of it.

use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::{output, running};
use kindling_data::Limits;
use kindling_engine::{LeaderboardEntry, Progress, Service, WorkerFleet, run_scheduler};
use kindling_spec::{BackboneName, TaskId, TaskKind, TaskSpec, TaskState};
use kindling_store::{DatasetRecord, FileRecord, ModelRecord, TaskRecord};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What to do.
pub(crate) struct Request<'a> {
    /// A folder or archive of examples.
    pub(crate) data: &'a Path,
    /// Other examples that an earlier task learns first, with the same budget.
    pub(crate) after: Option<&'a Path>,
    /// The task; its `dataset` is filled in.
    pub(crate) spec: Value,
    /// An empty folder for everything that is kept meanwhile.
    pub(crate) work: &'a Path,
    /// The service's folder, where the weights of backbones are.
    pub(crate) backbones: &'a Path,
    pub(crate) device: &'a str,
    pub(crate) workers: Option<usize>,
    pub(crate) label: &'a str,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) dataset: DatasetRecord,
    pub(crate) progress: Progress,
    pub(crate) leaderboard: Vec<LeaderboardEntry>,
    pub(crate) best: ModelRecord,
    /// The best model's files, still in `work`.
    pub(crate) files: Vec<(FileRecord, PathBuf)>,
    /// Seconds from posting the task to its end.
    pub(crate) seconds: f64,
    /// Seconds from posting the task to the first model.
    pub(crate) first_model: Option<f64>,
}

/// Runs a study to its end. A signal stops it with [`Exit::Interrupted`].
pub(crate) async fn run(request: Request<'_>) -> Result<Outcome, Failure> {
    let spec = TaskSpec::from_json(&request.spec)?;
    let stop = running::signals()?;
    let service = Service::open(request.work, Limits::default()).await?;
    if let Some(name) = spec.backbone {
        lend_backbone(&service, name, request.backbones)?;
    }

    if let Some(after) = request.after {
        let label = format!("{}, before it", request.label);
        search(&service, &request, after, &label, &stop).await?;
    }
    let Searched { dataset, task, progress, seconds, first_model } =
        search(&service, &request, request.data, request.label, &stop).await?;
    let leaderboard = service.leaderboard(&task.id).await?;
    let Some(best) = leaderboard.first() else {
        let why = progress.reason.clone().unwrap_or_else(|| "no candidate could be finished".to_owned());
        return Err(Failure::new(Exit::NoModel, format!("the search ended without a model: {why}"))
            .mend("give more seconds or trials in `budget`, or wider `constraints`"));
    };
    let best = service.model(&best.model).await?;
    let mut files = Vec::new();
    for file in &best.files {
        files.push(service.model_file(&best.id, &file.name).await?);
    }
    Ok(Outcome { dataset, progress, leaderboard, best, files, seconds, first_model })
}

/// A study that is over.
struct Searched {
    dataset: DatasetRecord,
    task: TaskRecord,
    progress: Progress,
    seconds: f64,
    first_model: Option<f64>,
}

/// Seals the data, posts the task, and works on it until it is over.
async fn search(
    service: &Service,
    request: &Request<'_>,
    data: &Path,
    label: &str,
    stop: &CancellationToken,
) -> Result<Searched, Failure> {
    let spec = TaskSpec::from_json(&request.spec)?;
    let dataset = seal(service, data, spec.kind, label, stop).await?;
    let mut posted = request.spec.clone();
    posted["dataset"] = json!(dataset.id);
    let task = service.create_task(&posted).await?;
    let start = Instant::now();
    let workers = Workers::start(service, request.device, request.workers, stop)?;
    let watched = watch(service, &task.id, &spec, label, stop, start).await;
    let seconds = start.elapsed().as_secs_f64();
    workers.end().await;
    let (progress, first_model) = watched?;
    Ok(Searched { dataset, task, progress, seconds, first_model })
}

/// Copies a backbone's weights from where `kindling fetch backbone` put them to the service's folder.
fn lend_backbone(service: &Service, name: BackboneName, from: &Path) -> Result<(), Failure> {
    let to = service.backbone_path(name);
    let from = from.join("backbones").join(to.file_name().unwrap_or_default());
    let copied = to.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::copy(&from, &to));
    copied.map(|_| ()).map_err(|error| {
        Failure::new(Exit::Refused, format!("the weights of `{name}` cannot be read: {error}"))
            .at(from.display().to_string())
            .mend(format!("run `kindling fetch backbone {name}`, or say with --data-dir where it put them"))
    })
}

/// Reads a folder or archive of examples into a data set of the service.
pub(crate) async fn seal(
    service: &Service,
    data: &Path,
    kind: TaskKind,
    label: &str,
    stop: &CancellationToken,
) -> Result<DatasetRecord, Failure> {
    let _reading = Meter::new(&format!("{label}: reading the data"), 0, Unit::Items);
    let source = data.canonicalize().map_err(|error| {
        Failure::new(Exit::Refused, format!("the data cannot be read: {error}")).at(data.display().to_string())
    })?;
    let dataset = service.create_dataset("local", kind).await?;
    let sealed = tokio::select! {
        sealed = service.seal_dataset(&dataset.id, &source) => sealed,
        () = stop.cancelled() => return Err(Failure::interrupted()),
    };
    sealed.map_err(|error| Failure::from(error).at(source.display().to_string()))
}

/// A scheduler and workers at work on a service's tasks.
pub(crate) struct Workers {
    stop_workers: CancellationToken,
    stop_scheduler: CancellationToken,
    fleet: JoinHandle<()>,
    scheduler: JoinHandle<()>,
}

impl Workers {
    /// The workers end when `stop` is cancelled.
    pub(crate) fn start(
        service: &Service,
        device: &str,
        asked: Option<usize>,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let fleet = WorkerFleet::new(service.clone(), running::program()?, running::crew(device, asked, None)?);
        let (stop_workers, stop_scheduler) = (stop.child_token(), CancellationToken::new());
        let scheduler = tokio::spawn(run_scheduler(service.clone(), stop_scheduler.clone()));
        let fleet = tokio::spawn(fleet.run(stop_workers.clone()));
        Ok(Self { stop_workers, stop_scheduler, fleet, scheduler })
    }

    /// Lets each worker hand its trial back.
    pub(crate) async fn end(self) {
        self.stop_workers.cancel();
        let _ = self.fleet.await;
        self.stop_scheduler.cancel();
        let _ = self.scheduler.await;
    }
}

/// Shows progress until the task is over.
async fn watch(
    service: &Service,
    task: &TaskId,
    spec: &TaskSpec,
    label: &str,
    stop: &CancellationToken,
    start: Instant,
) -> Result<(Progress, Option<f64>), Failure> {
    let total = spec.budget.seconds.map_or(0, |s| (s * 10.0) as u64);
    let meter = Meter::new(label, total, Unit::Time);
    let mut first_model = None;
    loop {
        let progress = service.progress(task).await?;
        if first_model.is_none() && progress.best.is_some() {
            first_model = Some(start.elapsed().as_secs_f64());
        }
        meter.set((progress.seconds_spent * 10.0) as u64);
        meter.message(line(&progress, spec.objective.metric.as_str()));
        if progress.state.is_over() {
            return match progress.state {
                TaskState::Cancelled => Err(Failure::interrupted()),
                _ => Ok((progress, first_model)),
            };
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
            () = stop.cancelled() => return Err(Failure::interrupted()),
        }
    }
}

/// Trials, best so far, time left.
fn line(progress: &Progress, metric: &str) -> String {
    let mut text = format!("{} trials", progress.trials_started);
    if let Some(best) = &progress.best {
        text += &format!(", best {metric} {} in {}", output::percent(best.value), output::bytes(best.weights_bytes));
    }
    if let Some(left) = progress.seconds_left {
        text += &format!(", {left:.0} s left");
    }
    if let Some(left) = progress.trials_left {
        text += &format!(", {left} trials left");
    }
    text
}

/// The leaderboard as a table, the best `most` of it.
pub(crate) fn board<'a>(entries: impl Iterator<Item = &'a Value>, metric: &str, most: usize) -> String {
    let validation = format!("{metric} (val.)");
    let head = ["", "family", "px", &validation, "test", "parameters", "weights", "MACs", "ms", "pick"];
    let rows: Vec<Vec<String>> = entries
        .take(most)
        .enumerate()
        .map(|(i, e)| {
            let number = |name: &str| e.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
            let whole = |name: &str| e.get(name).and_then(Value::as_u64).unwrap_or(0);
            let star = if e.get("pareto").and_then(Value::as_bool).unwrap_or(false) { "*" } else { " " };
            vec![
                format!("{:>2}{star}", i + 1),
                e.get("family").and_then(Value::as_str).unwrap_or("?").to_owned(),
                whole("resolution").to_string(),
                output::percent(number("value")),
                output::percent(number("test_value")),
                output::count(whole("parameters")),
                output::bytes(whole("weights_bytes")),
                output::count(whole("macs")),
                format!("{:.2}", number("latency_ms")),
                picks(e).join(", "),
            ]
        })
        .collect();
    format!(
        "{}\n* none is better in size, speed and {metric} at once; picks are of those within a point of the best",
        output::table(&head, &rows)
    )
}

/// What a leaderboard's entry is picked for.
fn picks(entry: &Value) -> Vec<&str> {
    let picks = entry.get("picks").and_then(Value::as_array);
    let word = |pick: &'_ Value| match pick.as_str() {
        Some("most_accurate") => Some("best"),
        Some("smallest_within_a_point") => Some("smallest"),
        Some("fastest_within_a_point") => Some("fastest"),
        _ => None,
    };
    picks.into_iter().flatten().filter_map(word).collect()
}
