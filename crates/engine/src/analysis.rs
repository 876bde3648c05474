//! Looks at a data set or a task that train networks of their own: asked for, run, remembered.
//!
//! An analysis is a record and, when it is done, a file. The [`Analyst`] of one service, whose duty it is, starts a process for each, one after another, so that one out of memory takes neither the
//! service nor a study with it. A process needs no lease: its parent holds the other end of its standard
//! input, and a service that was killed starts what it left again from the beginning. What is written
//! twice is the same, since it follows from the data and the seed.

use kindling_data::Limits;
use kindling_spec::{AnalysisId, AnalysisKind, AnalysisState, ErrorCode};
use kindling_store::{AnalysisRecord, AnalysisUpdate, Place};
use kindling_train::{TrainError, open_device};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::error::blocking;
use crate::fleet::{place_arguments, place_variables};
use crate::{EngineError, Service, advice, clock::now_ms, doubts, duty::Duty, scheduler::MAX_DEATHS};

/// How often the analyst looks for work, and a process says how far it is.
const LOOK: Duration = Duration::from_millis(300);
/// How long a process may take to end when the service stops.
const FAREWELL: Duration = Duration::from_secs(10);

const OPEN: [AnalysisState; 2] = [AnalysisState::Waiting, AnalysisState::Running];

pub(crate) fn file_key(id: &AnalysisId) -> String {
    format!("analyses/{id}.json")
}

/// An analysis with what it found, if it is done.
#[derive(Debug, Clone)]
pub struct AnalysisView<R> {
    /// How it stands.
    pub record: AnalysisRecord,
    /// What it found.
    pub report: Option<R>,
}

impl Service {
    /// Asks for an analysis; the analyst begins it as soon as it is free.
    ///
    /// # Errors
    /// [`ErrorCode::AnalysisBusy`] while one of the same kind and subject is open.
    pub(crate) async fn ask_for(
        &self,
        kind: AnalysisKind,
        subject: &str,
        options: Value,
    ) -> Result<AnalysisRecord, EngineError> {
        let now = now_ms();
        let record = AnalysisRecord {
            id: AnalysisId::new(),
            kind,
            subject: subject.to_owned(),
            options,
            state: AnalysisState::Waiting,
            reason: None,
            progress: 0.0,
            deaths: 0,
            summary: None,
            created_at: now,
            updated_at: now,
        };
        if !self.store().meta.create_analysis(&record).await? {
            let detail = format!("the search for {kind} of {subject} is under way; wait until it has ended");
            return Err(EngineError::refused(ErrorCode::AnalysisBusy, detail));
        }
        Ok(record)
    }

    /// The newest analysis of a kind and subject, with its report.
    pub(crate) async fn look_up<R: DeserializeOwned + Send + 'static>(
        &self,
        kind: AnalysisKind,
        subject: &str,
    ) -> Result<Option<AnalysisView<R>>, EngineError> {
        let Some(record) = self.store().meta.latest_analysis(kind, subject).await? else { return Ok(None) };
        let report = match record.state {
            AnalysisState::Complete => {
                let bytes = self.store().files.get(&file_key(&record.id)).await?;
                Some(blocking(move || Ok(serde_json::from_slice(&bytes)?)).await?)
            }
            _ => None,
        };
        Ok(Some(AnalysisView { record, report }))
    }
}

/// What a running analysis needs.
pub(crate) struct Work<'a> {
    pub(crate) service: &'a Service,
    pub(crate) record: &'a AnalysisRecord,
    pub(crate) device: &'a str,
    pub(crate) signals: Arc<Signals>,
}

/// What the training thread and the process share.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) cancel: AtomicBool,
    /// Share done, in millionths.
    done: AtomicU64,
}

impl Signals {
    /// Notes how far the work is, 0 to 1.
    pub(crate) fn tell(&self, share: f64) {
        self.done.store((share.clamp(0.0, 1.0) * 1e6) as u64, Ordering::Relaxed);
    }
}

/// What an analysis found: a few figures for the record, and the whole.
pub(crate) struct Found {
    pub(crate) summary: Value,
    pub(crate) report: Value,
}

impl Found {
    pub(crate) fn new(summary: Value, report: &impl Serialize) -> Result<Self, EngineError> {
        Ok(Self { summary, report: serde_json::to_value(report)? })
    }
}

/// Runs one analysis in this process and records what it finds, or why it cannot be done. Told to stop,
/// it leaves the record as it is, to be begun again.
///
/// # Errors
/// The data directory, the store or the device failed: the process should end and be started again.
pub async fn run_analysis(
    place: impl Into<Place>,
    id: &AnalysisId,
    device: &str,
    shutdown: CancellationToken,
) -> Result<(), EngineError> {
    let service = Service::attach(place, Limits::default()).await?;
    let meta = &service.store().meta;
    let record = meta.analysis(id).await?;
    let signals = Arc::new(Signals::default());
    let running = AnalysisUpdate {
        state: AnalysisState::Running,
        reason: None,
        progress: 0.0,
        deaths: record.deaths,
        summary: None,
    };
    if !meta.update_analysis(id, &OPEN, &running, now_ms()).await? {
        return Ok(());
    }
    let telling = tokio::spawn(tell(service.clone(), id.clone(), running.clone(), signals.clone(), shutdown));
    let work = Work { service: &service, record: &record, device, signals };
    let found = match record.kind {
        AnalysisKind::Doubts => doubts::run(&work).await,
        AnalysisKind::Advice => advice::run(&work).await,
    };
    telling.abort();
    // Its last word must not come after ours.
    let _ = telling.await;
    let end = match found {
        Ok(found) => {
            service.store().files.put_bytes(&file_key(id), serde_json::to_vec(&found.report)?).await?;
            let summary = Some(found.summary);
            AnalysisUpdate { state: AnalysisState::Complete, progress: 1.0, summary, ..running }
        }
        Err(EngineError::Train(TrainError::Cancelled)) => return Ok(()),
        Err(
            error @ (EngineError::Store(_)
            | EngineError::Thread(_)
            | EngineError::Io { .. }
            | EngineError::Train(TrainError::Device(_))),
        ) => return Err(error),
        Err(error) => {
            tracing::warn!(analysis = %id, %error, "an analysis failed");
            // Errors of training carry no path of ours: they say what to change.
            let reason = match &error {
                EngineError::Train(error) => error.to_string(),
                other => other.detail(),
            };
            AnalysisUpdate { state: AnalysisState::Failed, reason: Some(reason), ..running }
        }
    };
    if !meta.update_analysis(id, &OPEN, &end, now_ms()).await? {
        // Its subject was deleted meanwhile.
        service.store().files.delete(&file_key(id)).await?;
    }
    Ok(())
}

/// Writes how far the work is now and then, and hands on the wish to stop.
async fn tell(
    service: Service,
    id: AnalysisId,
    running: AnalysisUpdate,
    signals: Arc<Signals>,
    shutdown: CancellationToken,
) {
    let mut told = 0;
    loop {
        tokio::select! {
            () = shutdown.cancelled(), if !signals.cancel.load(Ordering::Relaxed) => {
                signals.cancel.store(true, Ordering::Relaxed);
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        let done = signals.done.load(Ordering::Relaxed);
        if done == told {
            continue;
        }
        told = done;
        let update = AnalysisUpdate { progress: done as f64 / 1e6, ..running.clone() };
        match service.store().meta.update_analysis(&id, &[AnalysisState::Running], &update, now_ms()).await {
            Ok(true) => {}
            // It is gone: its subject was deleted.
            Ok(false) => signals.cancel.store(true, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "the progress of an analysis could not be written"),
        }
    }
}

/// Starts a process for each analysis, one after another.
pub struct Analyst {
    service: Service,
    program: PathBuf,
    device: String,
}

impl Analyst {
    /// `program` is started as `PROGRAM analyse --data-dir … --device … --id …`. It must end when its
    /// standard input does.
    pub fn new(service: Service, program: PathBuf, device: &str) -> Self {
        Self { service, program, device: device.to_owned() }
    }

    /// Works until told to stop.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut duty = Duty::new(self.service.clone(), "analyses");
        while !shutdown.is_cancelled() {
            if let Err(error) = self.step_if_mine(&mut duty, &shutdown).await {
                tracing::error!(%error, "an analysis could not be run; it is tried again");
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        duty.leave().await;
    }

    /// Takes a step if it is this service's duty, and keeps the duty as long as that takes. Should it be lost meanwhile,
    /// the analysis is stopped: another service begins it again.
    async fn step_if_mine(&self, duty: &mut Duty, shutdown: &CancellationToken) -> Result<(), EngineError> {
        if !duty.is_mine().await? {
            return Ok(());
        }
        let stop = shutdown.child_token();
        let step = self.step(&stop);
        tokio::pin!(step);
        loop {
            tokio::select! {
                done = &mut step => return done,
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    if !matches!(duty.is_mine().await, Ok(true)) {
                        stop.cancel();
                    }
                }
            }
        }
    }

    async fn step(&self, shutdown: &CancellationToken) -> Result<(), EngineError> {
        let meta = &self.service.store().meta;
        let Some(next) = meta.open_analyses().await?.into_iter().next() else { return Ok(()) };
        // Beside a running study it takes one core's time and no more.
        let busy = !meta.active_tasks().await?.is_empty();
        let mut child = self.spawn(&next.id, busy)?;
        let status = attend(&mut child, shutdown).await;
        let now = meta.analysis(&next.id).await;
        let left = match now {
            Ok(record) if record.state.is_over() => return Ok(()),
            Ok(record) => record,
            // Deleted with its subject.
            Err(kindling_store::StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut update = AnalysisUpdate {
            state: AnalysisState::Waiting,
            reason: None,
            progress: 0.0,
            deaths: left.deaths,
            summary: None,
        };
        if !shutdown.is_cancelled() {
            let told = status.map_or_else(|| "killed".to_owned(), |s| s.to_string());
            update.deaths += 1;
            tracing::warn!(analysis = %next.id, deaths = update.deaths, status = %told, "its process died");
            if update.deaths >= MAX_DEATHS {
                update.state = AnalysisState::Failed;
                update.reason = Some(format!("its process died {MAX_DEATHS} times ({told}); the log says more"));
            }
        }
        meta.update_analysis(&next.id, &OPEN, &update, now_ms()).await?;
        Ok(())
    }

    fn spawn(&self, id: &AnalysisId, busy: bool) -> Result<Child, EngineError> {
        let mut command = Command::new(&self.program);
        command
            .arg("analyse")
            .args(place_arguments(self.service.place()))
            .envs(place_variables(self.service.place()))
            .args(["--device", &self.device, "--id", id.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        if busy {
            command.env("RAYON_NUM_THREADS", "1");
        }
        command.spawn().map_err(EngineError::io(&self.program))
    }
}

/// Waits for the process' end. To stop, its standard input is closed.
async fn attend(child: &mut Child, shutdown: &CancellationToken) -> Option<ExitStatus> {
    let input = child.stdin.take();
    tokio::select! {
        status = child.wait() => return status.ok(),
        () = shutdown.cancelled() => {}
    }
    drop(input);
    match tokio::time::timeout(FAREWELL, child.wait()).await {
        Ok(status) => status.ok(),
        Err(_) => {
            if let Err(error) = child.kill().await {
                tracing::warn!(%error, "the process of an analysis could not be killed");
            }
            None
        }
    }
}

/// Opens a device on a thread of its own.
pub(crate) async fn device(name: &str) -> Result<Arc<kindling_train::OpenDevice>, EngineError> {
    let name = name.to_owned();
    Ok(Arc::new(blocking(move || Ok(open_device(&name)?)).await?))
}
