//! The service as who runs it sees it.

use axum::Json;
use axum::response::IntoResponse;
use kindling_store::WorkerRecord;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use super::Answered;
use crate::figures::{Figures, WorkerState};
use crate::{Problem, app::App};

/// What the service is, does and has, whichever of its servers is asked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Service)]
pub(crate) struct ServiceView {
    /// The version of the server that answers.
    pub(crate) version: &'static str,
    /// When this was so, in Unix milliseconds by the clock that all share.
    pub(crate) at: i64,
    /// Whether several machines share its records; else one process has every duty.
    pub(crate) shared: bool,
    /// Of several servers one has each duty.
    pub(crate) duties: Vec<DutyView>,
    /// The rungs that wait.
    pub(crate) queue: QueueView,
    /// Worker processes by machine and name.
    pub(crate) workers: Vec<WorkerView>,
    /// Studies that are not over.
    pub(crate) tasks: TaskCounts,
    /// Trials by state; states of none are left out.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(crate) trials: BTreeMap<&'static str, u64>,
    /// What each project has stored.
    pub(crate) stored: Vec<StoredView>,
}

/// A duty of one process at a time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Duty)]
pub(crate) struct DutyView {
    /// What is to be done.
    pub(crate) duty: String,
    /// The machine of the process that has it; null where nobody has it now.
    pub(crate) machine: Option<String>,
    /// That process' id.
    pub(crate) pid: Option<u32>,
}

/// Rungs that wait for a worker.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueState)]
pub(crate) struct QueueView {
    /// How many wait.
    pub(crate) depth: u64,
    /// How long the one has waited that has waited longest; 0 where none waits.
    pub(crate) oldest_seconds: f64,
}

/// A worker process.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Worker)]
pub(crate) struct WorkerView {
    /// Its name, which no other has or had.
    pub(crate) name: String,
    /// The machine it runs on, as that calls itself.
    pub(crate) machine: String,
    /// Its process id there.
    pub(crate) pid: u32,
    /// The device it trains on.
    pub(crate) device: String,
    /// `busy`, `idle`, or `silent`: not heard of for 20 seconds.
    pub(crate) state: &'static str,
    /// When it started.
    pub(crate) started_at: i64,
    /// When it last said that it lives.
    pub(crate) seen_at: i64,
    /// Memory that it holds, where its system tells.
    pub(crate) resident_bytes: Option<u64>,
    /// Memory that it may hold, where somebody said: a trial that needs more goes to a worker that has more.
    pub(crate) memory_bytes: Option<u64>,
    /// Examples a second that it trained in its last rung.
    pub(crate) images_per_second: Option<f64>,
    /// What it works on; null where that is nothing, or another project's.
    pub(crate) work: Option<WorkView>,
}

/// A rung in a worker's hands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Work)]
pub(crate) struct WorkView {
    /// The task.
    pub(crate) task: String,
    /// The task's name.
    pub(crate) name: String,
    /// The trial's number.
    pub(crate) trial: u32,
    /// The rung's number.
    pub(crate) rung: u32,
}

/// How many studies are not over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskCounts {
    /// Those that wait for their first trial.
    pub(crate) queued: u64,
    /// Those that search.
    pub(crate) running: u64,
}

/// What a project has stored, in bytes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stored)]
pub(crate) struct StoredView {
    /// The project's id.
    pub(crate) project: String,
    /// Its name.
    pub(crate) name: String,
    /// Of its data sets.
    pub(crate) datasets: u64,
    /// Of its draft data sets.
    pub(crate) drafts: u64,
    /// Of uploads that are not complete.
    pub(crate) uploads: u64,
    /// Of its models.
    pub(crate) models: u64,
}

impl StoredView {
    /// All of it.
    pub(crate) fn bytes(&self) -> u64 {
        self.datasets + self.drafts + self.uploads + self.models
    }
}

pub(crate) async fn show(app: App) -> Answered {
    Ok(Json(view(&app).await?).into_response())
}

/// The service as an administrator sees it: of other projects how much, not what.
pub(crate) async fn view(app: &App) -> Result<ServiceView, Problem> {
    let figures = app.host().figures().await?;
    let mut workers = Vec::new();
    for worker in &figures.workers {
        workers.push(worker_view(app, worker, &figures).await);
    }
    workers.sort_by(|a, b| (&a.machine, &a.name).cmp(&(&b.machine, &b.name)));
    let stored = figures.stored.iter().map(|of| StoredView {
        project: of.project.to_string(),
        name: of.name.clone(),
        datasets: of.datasets,
        drafts: of.drafts,
        uploads: of.uploads,
        models: of.models,
    });
    Ok(ServiceView {
        version: env!("CARGO_PKG_VERSION"),
        at: figures.at,
        shared: app.service().place().is_shared(),
        duties: duties(&figures),
        queue: QueueView { depth: figures.depth, oldest_seconds: figures.oldest.as_secs_f64() },
        workers,
        tasks: TaskCounts { queued: figures.queued_tasks as u64, running: figures.running_tasks as u64 },
        trials: figures.trials.iter().map(|(state, count)| (state.as_str(), *count)).collect(),
        stored: stored.collect(),
    })
}

fn duties(figures: &Figures) -> Vec<DutyView> {
    let view = |record: &kindling_store::DutyRecord| {
        // Who has it said its machine, its process and a number that no other has.
        let mut words = record.holder.rsplitn(3, ' ').skip(1);
        let (pid, machine) = (words.next(), words.next());
        let held = record.until >= figures.at;
        DutyView {
            duty: record.duty.clone(),
            machine: machine.filter(|_| held).map(str::to_owned),
            pid: pid.filter(|_| held).and_then(|pid| pid.parse().ok()),
        }
    };
    figures.duties.iter().map(view).collect()
}

async fn worker_view(app: &App, worker: &WorkerRecord, figures: &Figures) -> WorkerView {
    // What is another project's is not there for who asks; what ended meanwhile is over.
    let work = async {
        let trial = app.meta().trial(worker.trial.as_ref()?).await.ok()?;
        let task = app.meta().task(&trial.task).await.ok()?;
        Some(WorkView { task: task.id.to_string(), name: task.spec.name, trial: trial.number, rung: trial.rung })
    };
    WorkerView {
        name: worker.name.clone(),
        machine: worker.machine.clone(),
        pid: worker.pid,
        device: worker.device.clone(),
        state: WorkerState::of(worker, figures.at).as_str(),
        started_at: worker.started_at,
        seen_at: worker.seen_at,
        resident_bytes: worker.resident_bytes,
        memory_bytes: worker.memory_bytes,
        images_per_second: worker.images_per_second,
        work: work.await,
    }
}
