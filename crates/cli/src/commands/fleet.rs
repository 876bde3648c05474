//! `kindling fleet`.

use crate::failure::{Exit, Failure};
use crate::meter::{Meter, Unit};
use crate::study::{Workers, seal};
use crate::{commands::sample::refuse_full, commands::train::read_json, output, running};
use kindling_data::Limits;
use kindling_engine::{FleetContent, FleetFile, FleetReport, FleetStatus, Service};
use kindling_spec::{FleetSpec, TaskState};
use kindling_store::FleetRecord;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Grows a small model for each class, and one for all to compare with, without a service.
#[derive(clap::Args)]
pub(crate) struct Fleet {
    /// The fleet specification, a JSON file; `-` reads standard input. `kindling schema --fleet` prints its schema.
    spec: PathBuf,
    /// The examples: a folder with one folder a class, or an archive of one.
    #[arg(long, value_name = "DIR|ZIP")]
    data: PathBuf,
    /// Where the specialists' files, the router and the report go; made if need be, must be empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The device to train on; `kindling devices` lists them.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    device: String,
    /// Worker processes; by default one a core, or one a graphics card.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What came of it.
struct Outcome {
    fleet: FleetRecord,
    status: FleetStatus,
    report: FleetReport,
    files: Vec<FleetFile>,
    seconds: f64,
}

impl Fleet {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let spec = read_spec(&self.spec)?;
        refuse_full(&self.out)?;
        let parent = self.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(Failure::io(parent, "the folder cannot be made"))?;
        // Beside the target, so that the files get there by a rename: all of them or none.
        let work = tempfile::Builder::new()
            .prefix(".kindling-")
            .tempdir_in(parent)
            .map_err(Failure::io(parent, "a folder for the work cannot be made"))?;
        let runtime = running::runtime()?;
        let outcome = runtime.block_on(self.grow(spec, &work.path().join("data")));
        runtime.shutdown_background();
        let outcome = outcome?;
        deliver(&outcome.files, &work.path().join("bundle"), &self.out)?;
        self.tell(&outcome)
    }

    async fn grow(&self, mut spec: Value, work: &Path) -> Result<Outcome, Failure> {
        let parsed = FleetSpec::from_json(&spec)?;
        let stop = running::signals()?;
        let service = Service::open(work, Limits::default()).await?;
        let dataset = seal(&service, &self.data, parsed.kind, "fleet", &stop).await?;
        spec["dataset"] = json!(dataset.id);
        let fleet = service.create_fleet(&spec).await?;
        let start = Instant::now();
        let workers = Workers::start(&service, &self.device, self.workers.map(usize::from), &stop)?;
        let watched = watch(&service, &fleet, &parsed, &stop).await;
        let seconds = start.elapsed().as_secs_f64();
        workers.end().await;
        let status = watched?;
        let report = service.fleet_report(&fleet.id).await?;
        if report.specialists.models == 0 {
            let why = status.reason.clone().unwrap_or_else(|| "no candidate could be finished".to_owned());
            return Err(Failure::new(Exit::NoModel, format!("the search ended without a specialist: {why}"))
                .mend("give more seconds or trials in `budget`, or wider `constraints`"));
        }
        let files = service.fleet_bundle(&fleet.id).await?;
        Ok(Outcome { fleet, status, report, files, seconds })
    }

    fn tell(&self, outcome: &Outcome) -> Result<(), Failure> {
        let Outcome { fleet, status, report, files, seconds } = outcome;
        if self.json {
            let listed: Vec<_> = files.iter().map(|f| json!({"path": f.path, "sha256": f.sha256})).collect();
            return output::say_json(&json!({
                "out": self.out,
                "fleet": fleet.id,
                "state": status.state,
                "reason": status.reason,
                "tasks": status.members,
                "report": report,
                "files": listed,
                "seconds": seconds,
            }));
        }
        output::say(&table(report));
        if let Some(reason) = &status.reason {
            output::say(&format!("\n{reason}"));
        }
        output::say(&format!(
            "\n{} specialists, {} and {:.2} ms a picture together, grown in {seconds:.0} s. They are in {}: \
             python3 {} PICTURE asks them all",
            report.specialists.models,
            output::bytes(report.specialists.weights_bytes),
            report.specialists.latency_ms,
            self.out.display(),
            self.out.join("router.py").display(),
        ));
        Ok(())
    }
}

/// Shows progress until every task is over.
async fn watch(
    service: &Service,
    fleet: &FleetRecord,
    spec: &FleetSpec,
    stop: &CancellationToken,
) -> Result<FleetStatus, Failure> {
    let total = spec.budget.seconds.map_or(0, |s| (s * 10.0) as u64);
    let meter = Meter::new("fleet", total, Unit::Time);
    loop {
        let status = service.fleet_status(fleet).await?;
        let spent: f64 = status.members.iter().map(|m| m.progress.seconds_spent).sum();
        meter.set((spent * 10.0) as u64);
        meter.message(line(&status));
        if status.state.is_over() {
            return if status.state == TaskState::Cancelled { Err(Failure::interrupted()) } else { Ok(status) };
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
            () = stop.cancelled() => return Err(Failure::interrupted()),
        }
    }
}

/// Which task runs, and how it goes.
fn line(status: &FleetStatus) -> String {
    let done = status.members.iter().filter(|m| m.progress.state.is_over()).count();
    let mut text = format!("{done} of {} searches done", status.members.len());
    if let Some(member) = status.members.iter().find(|m| m.progress.state == TaskState::Running) {
        let name = member.class.as_deref().unwrap_or("all classes");
        text += &format!(", {name}: {} trials", member.progress.trials_started);
        if let Some(best) = &member.progress.best {
            text += &format!(", best {} in {}", output::percent(best.value), output::bytes(best.weights_bytes));
        }
    }
    text
}

/// The report: two lines a class.
fn table(report: &FleetReport) -> String {
    let recall = format!("recall at {}", output::percent(report.precision));
    let head = ["class", "model", &recall, "95%", "avg. precision", "weights", "MACs", "ms"];
    let mut rows = Vec::new();
    for row in &report.classes {
        for (name, side) in [("specialist", &row.specialist), ("single", &row.single)] {
            let class = if name == "specialist" { row.class.clone() } else { String::new() };
            rows.push(match side {
                Some(s) => vec![
                    class,
                    name.to_owned(),
                    output::percent(s.recall),
                    format!("{:.0}-{:.0}", s.recall_ci[0] * 100.0, s.recall_ci[1] * 100.0),
                    output::percent(s.average_precision),
                    output::bytes(s.weights_bytes),
                    output::count(s.macs),
                    format!("{:.2}", s.latency_ms),
                ],
                None => vec![class, name.to_owned(), "no model".to_owned()],
            });
        }
    }
    format!("{}\non the same {} test pictures", output::table(&head, &rows), report.test_examples)
}

/// Reads a specification, filling in what there is to fill in without a service.
fn read_spec(path: &Path) -> Result<Value, Failure> {
    let at = path.display().to_string();
    let mut spec = read_json(path)?;
    if let Value::Object(map) = &mut spec {
        map.entry("dataset").or_insert_with(|| json!(kindling_spec::TaskSpec::LOCAL_DATASET));
    }
    let parsed = FleetSpec::from_json(&spec).map_err(|e| {
        Failure::new(Exit::Refused, format!("the fleet specification breaks rules:\n{e}"))
            .mend("`kindling schema --fleet` prints the schema")
            .at(at.clone())
    })?;
    if parsed.dataset != kindling_spec::TaskSpec::LOCAL_DATASET {
        let what = format!("`dataset` is {:?}, but --data gives the data", parsed.dataset);
        return Err(Failure::new(Exit::Refused, what).at(at).mend("leave `dataset` out, or write \"local\""));
    }
    Ok(spec)
}

/// Writes the files beside the target, then moves them there in one step.
fn deliver(files: &[FleetFile], bundle: &Path, out: &Path) -> Result<(), Failure> {
    for file in files {
        let to = bundle.join(&file.path);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(Failure::io(folder, "a folder cannot be made"))?;
        }
        let written = match &file.content {
            FleetContent::Bytes(bytes) => std::fs::write(&to, bytes),
            FleetContent::File(path) => std::fs::copy(path, &to).map(drop),
        };
        written.map_err(Failure::io(&to, "a file cannot be written"))?;
    }
    if out.is_dir() {
        std::fs::remove_dir(out).map_err(Failure::io(out, "the folder cannot be replaced"))?;
    }
    std::fs::rename(bundle, out).map_err(Failure::io(out, "the files cannot be moved there"))
}
