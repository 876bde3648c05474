//! The body of a worker process: takes a trial, trains a rung of it, records the result, and when the
//! trial leads makes a model of it at once, so that the best so far can always be downloaded.
//!
//! A worker ends on any failure of the store or the device: its fleet starts another, and its trial
//! goes on from the last rung.

use futures::future::{BoxFuture, FutureExt};
use kindling_data::{Dataset, Limits};
use kindling_export::{EnergyMeter, measure_latency};
use kindling_search::pareto_front;
use kindling_spec::{TaskId, TrialId, TrialState};
use kindling_store::{
    Beat, Job, ModelRecord, Outage, Place, RungResult, StoreError, TaskRecord, TrialRecord, WorkerRecord,
};
use kindling_train::{
    Hyperparameters, OpenDevice, RungInput, RungOutcome, TrainError, TrialConfig, open_device, run_rung,
};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::blocking;
use crate::kinds::Validated;
use crate::models::{answers_key, bundle_key, mistakes_key};
use crate::release::{Release, Released, making_cost};
use crate::scheduler::export_reserve;
use crate::{EngineError, Plan, Service, clock::now_ms, machine};

/// How often a worker says that it lives and hears whether its task does.
const BEAT: Duration = Duration::from_millis(500);
/// How long it waits before it tries again what storage did not do: at first, and at most.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];
/// How long a worker pauses that handed a trial on to one with more memory.
const HANDED_ON: Duration = Duration::from_secs(1);
/// From this rung on, a trial that is nobody's match in both accuracy and size becomes a model even
/// if it does not lead: the leaderboard offers smaller ones too.
const PARETO_RUNG: u32 = 2;

/// How a worker is started.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Where everything is kept.
    pub place: Place,
    /// Its name, never used by another process.
    pub name: String,
    /// The device to train on.
    pub device: String,
    /// Bytes of memory that it may hold; `None` for any.
    pub memory_bytes: Option<u64>,
}

/// Works until told to stop; then hands its trial back.
///
/// # Errors
/// The data directory or the device cannot be used, or failed while working: the process should end
/// and be started again.
pub async fn run_worker(options: WorkerOptions, shutdown: CancellationToken) -> Result<(), EngineError> {
    let service = Service::attach(&options.place, Limits::default()).await?;
    let name = options.device.clone();
    let device = Arc::new(blocking(move || Ok(open_device(&name)?)).await?);
    tracing::info!(worker = %options.name, device = %device.name, "a worker is ready");
    let worker = Worker {
        service,
        device,
        name: options.name,
        memory_bytes: options.memory_bytes,
        at: Arc::default(),
        energy: Mutex::new(None),
        shutdown,
    };
    let presence = tokio::spawn(worker.presence());
    let result = worker.run().await;
    presence.abort();
    worker.service.store().meta.worker_gone(&worker.name).await?;
    result
}

/// Why training was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stop {
    /// It was not.
    None,
    /// The task is over.
    Cancelled,
    /// The trial is another worker's.
    Lost,
    /// The worker is told to end.
    Shutdown,
}

/// What the training thread and the heartbeat share.
#[derive(Default)]
pub(crate) struct Signals {
    pub(crate) cancel: AtomicBool,
    stop: AtomicU8,
}

impl Signals {
    fn stop(&self, why: Stop) {
        // The first reason stands, but that the trial is lost outweighs all.
        if why == Stop::Lost {
            self.stop.store(why as u8, Ordering::SeqCst);
        } else {
            let none = Stop::None as u8;
            let _ = self.stop.compare_exchange(none, why as u8, Ordering::SeqCst, Ordering::SeqCst);
        }
        self.cancel.store(true, Ordering::SeqCst);
    }

    fn why(&self) -> Stop {
        [Stop::Cancelled, Stop::Lost, Stop::Shutdown]
            .into_iter()
            .find(|s| *s as u8 == self.stop.load(Ordering::SeqCst))
            .unwrap_or(Stop::None)
    }
}

/// What a worker tells of itself.
#[derive(Clone, Default)]
struct At {
    /// The trial in hand.
    trial: Option<TrialId>,
    /// How fast the last one was.
    images_per_second: Option<f64>,
}

struct Worker {
    service: Service,
    device: Arc<OpenDevice>,
    name: String,
    memory_bytes: Option<u64>,
    at: Arc<Mutex<At>>,
    /// Counts the machine's energy since this worker first worked for the task.
    energy: Mutex<Option<(TaskId, EnergyMeter)>>,
    shutdown: CancellationToken,
}

/// A claimed trial and everything needed to train it.
struct Work {
    task: TaskRecord,
    trial: TrialRecord,
    plan: Arc<Plan>,
    dataset: Arc<Dataset>,
    config: TrialConfig,
}

impl Worker {
    /// Says once a second that the worker lives.
    fn presence(&self) -> impl Future<Output = ()> + use<> {
        let (service, at, started_at) = (self.service.clone(), self.at.clone(), now_ms());
        let (name, device, memory_bytes) = (self.name.clone(), self.device.name.clone(), self.memory_bytes);
        async move {
            loop {
                let At { trial, images_per_second } = at.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let record = WorkerRecord {
                    name: name.clone(),
                    pid: std::process::id(),
                    machine: machine::name().to_owned(),
                    device: device.clone(),
                    started_at,
                    seen_at: now_ms(),
                    trial,
                    resident_bytes: machine::resident_bytes(),
                    memory_bytes,
                    images_per_second,
                };
                if let Err(error) = service.store().meta.worker_seen(&record).await {
                    tracing::warn!(%error, "the worker could not say that it lives");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    async fn run(&self) -> Result<(), EngineError> {
        let store = self.service.store();
        loop {
            let delivery = tokio::select! {
                () = self.shutdown.cancelled() => return Ok(()),
                delivery = store.queue.next(&self.name) => delivery?,
            };
            if self.is_for_another(&delivery.job).await? {
                // To the queue's end, first: it is nowhere else for a moment.
                store.queue.push(&delivery.job).await?;
                delivery.ack().await?;
                tokio::select! {
                    () = self.shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep(HANDED_ON) => continue,
                }
            }
            if let Some(trial) =
                store.meta.claim_trial(&delivery.job.trial, delivery.job.rung, &self.name, now_ms()).await?
            {
                self.tell(|at| at.trial = Some(trial.id.clone()));
                // For who collects traces.
                let span = tracing::info_span!(
                    target: "traces",
                    "rung",
                    otel.kind = "consumer",
                    otel.status_code = tracing::field::Empty,
                    kindling.task = %trial.task,
                    kindling.trial = %trial.id,
                    kindling.rung = trial.rung,
                    kindling.worker = self.name,
                );
                let result = self.work(&delivery.job, trial).instrument(span.clone()).await;
                if result.is_err() {
                    span.record("otel.status_code", "ERROR");
                }
                self.tell(|at| at.trial = None);
                result?;
            }
            delivery.ack().await?;
        }
    }

    fn tell(&self, change: impl FnOnce(&mut At)) {
        change(&mut self.at.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether a trial needs more memory than this worker may hold and another worker has as much. Where none has, it is
    /// tried here: what is needed is an estimate.
    async fn is_for_another(&self, job: &Job) -> Result<bool, EngineError> {
        let Some(memory) = self.memory_bytes else { return Ok(false) };
        let meta = &self.service.store().meta;
        let trial = match meta.trial(&job.trial).await {
            Err(StoreError::NotFound { .. }) => return Ok(false),
            found => found?,
        };
        let task = meta.task(&job.task).await?;
        // What cannot be planned now, or at all, is waited for or told where it is trained.
        let needed = self.service.plan(&task).await.and_then(|plan| plan.training_bytes(&trial.genome));
        let Ok(needed) = needed else { return Ok(false) };
        if needed <= memory {
            return Ok(false);
        }
        let now = now_ms();
        let holds = |w: &WorkerRecord| !w.is_silent(now) && w.memory_bytes.is_none_or(|bytes| needed <= bytes);
        let other = meta.workers().await?.into_iter().find(|worker| worker.name != self.name && holds(worker));
        match &other {
            Some(other) => {
                tracing::info!(trial = %trial.id, needed, memory, to = %other.name, "a trial waits for more memory");
            }
            None => tracing::warn!(trial = %trial.id, needed, memory, "no worker has the memory that a trial needs"),
        }
        Ok(other.is_some())
    }

    /// Runs one rung. An error ends the worker; what is the trial's own fault fails the trial.
    async fn work(&self, job: &Job, trial: TrialRecord) -> Result<(), EngineError> {
        let meta = &self.service.store().meta;
        let (id, token) = (trial.id.clone(), trial.token);
        let task = meta.task(&job.task).await?;
        let signals = Arc::new(Signals::default());
        let beats = tokio::spawn(beat(self.service.clone(), id.clone(), token, self.shutdown.clone(), signals.clone()));
        let result = self.run_rung(task, trial, &signals).await;
        beats.abort();
        match result {
            Ok(()) => Ok(()),
            // Another worker has it.
            Err(_) if signals.why() == Stop::Lost => Ok(()),
            Err(EngineError::Train(TrainError::Cancelled)) => {
                meta.release_trial(&id, token, now_ms()).await?;
                Ok(())
            }
            Err(error) if Outage::of(&error).is_some() => {
                // Not the trial's fault. Where that cannot be said either, its lease ends.
                if let Err(error) = meta.release_trial(&id, token, now_ms()).await {
                    tracing::warn!(trial = %id, %error, "a trial could not be handed back");
                }
                Err(error)
            }
            Err(
                error @ (EngineError::Store(_)
                | EngineError::Thread(_)
                | EngineError::Io { .. }
                | EngineError::Train(TrainError::Device(_))),
            ) => Err(error),
            Err(error) => {
                tracing::warn!(trial = %id, %error, "a trial failed");
                meta.fail_trial(&id, Some(token), TrialState::Failed, &error.to_string(), now_ms()).await?;
                Ok(())
            }
        }
    }

    async fn run_rung(&self, task: TaskRecord, trial: TrialRecord, signals: &Arc<Signals>) -> Result<(), EngineError> {
        let finish_by = training_time(&task).map(|time| Instant::now() + time);
        let plan = self.patiently(signals, || self.service.plan(&task).boxed()).await?;
        let dataset = self.patiently(signals, || self.service.open_dataset(&task.dataset).boxed()).await?;
        let config = self.patiently(signals, || self.service.trial_config(&plan, &trial).boxed()).await?;
        let work = Arc::new(Work { task, trial, plan, dataset, config });
        if let Some(reason) = too_slow(&work).await? {
            let meta = &self.service.store().meta;
            meta.fail_trial(&work.trial.id, Some(work.trial.token), TrialState::Pruned, &reason, now_ms()).await?;
            return Ok(());
        }
        self.start_energy(&work.task.id);
        let checkpoint = match &work.trial.checkpoint {
            Some(key) => {
                let get = || async { Ok(self.service.store().files.get(key).await?) }.boxed();
                Some(self.patiently(signals, get).await?)
            }
            None => None,
        };
        let teacher = match work.plan.spec().backbone {
            Some(name) if Hyperparameters::from_genome(&work.config.genome)?.distillation > 0.0 => {
                Some(self.service.teacher(&work.plan, name, &work.dataset, &self.device, signals.clone()).await?)
            }
            _ => None,
        };
        let (device, at_work, seen) = (self.device.clone(), work.clone(), signals.clone());
        let outcome = blocking(move || {
            let (plan, dataset) = (&at_work.plan, &at_work.dataset);
            let examples = plan.kind().examples(dataset, &plan.spec().objective, teacher.as_deref());
            let input = RungInput {
                config: &at_work.config,
                dataset,
                examples: examples.as_ref(),
                checkpoint: checkpoint.as_deref(),
                from_epoch: at_work.trial.epochs,
                to_epoch: at_work.trial.target_epochs,
                finish_by,
            };
            Ok(run_rung(&device, input, &mut |_| {}, &seen.cancel)?)
        })
        .await?;
        self.tell(|at| at.images_per_second = Some(outcome.images_per_second));
        let (kind, objective) = (work.plan.kind(), &work.plan.spec().objective);
        let validation = kind.validate(&work.config.graph, &outcome.validation_answers, objective)?;
        let outcome = Arc::new(outcome);
        // From here on what was learned is kept, however long storage takes to be there again.
        if self.patiently(signals, || self.deserves_model(&work, &validation).boxed()).await?
            && signals.why() != Stop::Lost
        {
            let released = self.patiently(signals, || self.release(&work, &outcome).boxed()).await?;
            if let Some(limit) = work.task.spec.constraints.max_latency_ms
                && released.record.latency_ms > limit
            {
                remove_folder(&released.folder)?;
                let reason = format!("it takes {:.3} ms, the limit is {limit} ms", released.record.latency_ms);
                let meta = &self.service.store().meta;
                let (id, token) = (&work.trial.id, work.trial.token);
                meta.fail_trial(id, Some(token), TrialState::Pruned, &reason, now_ms()).await?;
                return Ok(());
            }
            let bytes = released.record.files.iter().map(|file| file.bytes).sum();
            match self.service.check_room(&work.task.project, bytes).await {
                Err(error @ EngineError::Quota { .. }) => {
                    remove_folder(&released.folder)?;
                    tracing::warn!(task = %work.task.id, %error, "a model is not kept");
                    let meta = &self.service.store().meta;
                    let (id, token) = (&work.trial.id, work.trial.token);
                    meta.fail_trial(id, Some(token), TrialState::Pruned, &error.detail(), now_ms()).await?;
                    return Ok(());
                }
                checked => checked?,
            }
            self.patiently(signals, || self.publish(&released, signals).boxed()).await?;
        }
        self.patiently(signals, || self.record(&work, &outcome, &validation).boxed()).await
    }

    /// Does it, and again while storage is full or away: until it is done, the trial is another's, or the worker is told
    /// to end.
    async fn patiently<'a, T>(
        &self,
        signals: &Signals,
        attempt: impl Fn() -> BoxFuture<'a, Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let [mut pause, most] = AGAIN;
        loop {
            let error = match attempt().await {
                Err(error) if Outage::of(&error).is_some() && signals.why() != Stop::Lost => error,
                done => return done,
            };
            tracing::warn!(%error, "storage did not do it; it is tried again in {} s", pause.as_secs());
            tokio::select! {
                () = self.shutdown.cancelled() => return Err(error),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (2 * pause).min(most);
        }
    }

    /// Keeps the checkpoint and the result.
    async fn record(&self, work: &Work, outcome: &RungOutcome, validation: &Validated) -> Result<(), EngineError> {
        let store = self.service.store();
        let trial = &work.trial;
        // The token is in the name: a worker thought dead cannot overwrite its successor's file.
        let key = format!("checkpoints/{}/{}/rung-{}-{}.safetensors", trial.task, trial.id, trial.rung, trial.token);
        store.files.put_bytes(&key, outcome.checkpoint.clone()).await?;
        let result = RungResult {
            rung: trial.rung,
            epochs: outcome.epochs,
            value: validation.value,
            metrics: validation.metrics.clone(),
            train_loss: outcome.train_loss,
            seconds: outcome.seconds,
            images_per_second: outcome.images_per_second,
            finished_at: now_ms(),
        };
        let stale = if store.meta.finish_rung(&trial.id, trial.token, &result, &key, now_ms()).await? {
            trial.checkpoint.as_ref()
        } else {
            tracing::warn!(trial = %trial.id, rung = trial.rung, "the result came too late: the trial was taken over");
            Some(&key)
        };
        if let Some(stale) = stale {
            store.files.delete(stale).await?;
        }
        Ok(())
    }

    /// Whether a trial with this result should be made a model now.
    async fn deserves_model(&self, work: &Work, validation: &Validated) -> Result<bool, EngineError> {
        let models = self.service.store().meta.models(&work.task.id).await?;
        let bytes = work.plan.graph(&work.trial.genome)?.cost()?.weights_bytes;
        Ok(models.iter().all(|m| leads(validation.value, bytes, m)) || {
            let mut points: Vec<Vec<f64>> = models.iter().map(|m| vec![-m.value, m.weights_bytes as f64]).collect();
            points.push(vec![-validation.value, bytes as f64]);
            work.trial.rung >= PARETO_RUNG && pareto_front(&points).contains(&(points.len() - 1))
        })
    }

    async fn release(&self, work: &Arc<Work>, outcome: &Arc<RungOutcome>) -> Result<Released, EngineError> {
        let meta = &self.service.store().meta;
        // What the search has cost is told as of now, this rung included.
        let task = meta.task(&work.task.id).await?;
        let mut trials = meta.all_trials(&work.task.id).await?;
        for trial in trials.iter_mut().filter(|t| t.id == work.trial.id) {
            trial.epochs = outcome.epochs;
        }
        let making = making_cost(&work.plan, &task, &trials, self.read_energy());
        let (work, outcome) = (work.clone(), outcome.clone());
        let (device, scratch) = (self.device.clone(), self.service.scratch());
        blocking(move || {
            let settled = work.plan.kind().settle(&work.plan, &work.config, &outcome)?;
            Release {
                device: &device,
                plan: &work.plan,
                dataset: &work.dataset,
                task: &task,
                trial: &work.trial,
                graph: &settled.graph,
                weights: &settled.weights,
                temperature: settled.temperature,
                validation_answers: &settled.answers,
                making,
                scratch: &scratch,
            }
            .make()
        })
        .await
    }

    /// Files first, then the record that names them.
    async fn publish(&self, released: &Released, signals: &Signals) -> Result<(), EngineError> {
        let store = self.service.store();
        let Released { record, folder, mistakes, answers } = released;
        if signals.why() == Stop::Lost {
            return remove_folder(folder);
        }
        let key = bundle_key(&record.id, 0);
        // Moved already, if this is tried again.
        if folder.exists() {
            store.files.delete_prefix(&key).await?;
            store.files.move_dir(&key, folder).await?;
        }
        store.files.put_bytes(&mistakes_key(&record.id), serde_json::to_vec(mistakes)?).await?;
        store.files.put_bytes(&answers_key(&record.id), serde_json::to_vec(answers)?).await?;
        let added = match store.meta.add_model(record).await {
            // Its task was deleted: this worker was thought dead and is not.
            Err(StoreError::NotFound { .. }) => false,
            added => added?,
        };
        if !added {
            // Or made already, before an earlier worker on this rung died.
            store.files.delete_prefix(&key).await?;
            store.files.delete(&mistakes_key(&record.id)).await?;
            store.files.delete(&answers_key(&record.id)).await?;
            return Ok(());
        }
        loop {
            let best = store.meta.task(&record.task).await?.best_model;
            if let Some(best) = &best
                && !leads(record.value, record.weights_bytes, &store.meta.model(best).await?)
            {
                return Ok(());
            }
            if store.meta.set_best_model(&record.task, best.as_ref(), &record.id, now_ms()).await? {
                return Ok(());
            }
        }
    }

    fn start_energy(&self, task: &TaskId) {
        let mut energy = self.energy.lock().unwrap_or_else(PoisonError::into_inner);
        if energy.as_ref().is_none_or(|(of, _)| of != task) {
            *energy = Some((task.clone(), EnergyMeter::start()));
        }
    }

    fn read_energy(&self) -> kindling_export::Energy {
        let mut energy = self.energy.lock().unwrap_or_else(PoisonError::into_inner);
        match energy.as_mut() {
            Some((_, meter)) => meter.read(),
            None => kindling_export::Energy { joules: None, note: "it was not measured".to_owned() },
        }
    }
}

/// Whether a result is better than a model; of equals the smaller leads.
fn leads(value: f64, weights_bytes: u64, model: &ModelRecord) -> bool {
    value > model.value || (value == model.value && weights_bytes < model.weights_bytes)
}

fn remove_folder(folder: &std::path::Path) -> Result<(), EngineError> {
    std::fs::remove_dir_all(folder).map_err(EngineError::io(folder))
}

/// How long the task's budget lets this worker train; the rest is for writing the model. What is
/// trained by then counts, so that a slow machine ends with a model too.
fn training_time(task: &TaskRecord) -> Option<Duration> {
    let total = task.budget.seconds?;
    let left = total - task.spent_seconds - export_reserve(total);
    Some(Duration::from_secs_f64(left.max(0.0)))
}

/// Why the trial's network breaks the limit of latency, if it does. Weights do not change it, so the
/// untrained network is run; once, before the first rung.
async fn too_slow(work: &Arc<Work>) -> Result<Option<String>, EngineError> {
    let Some(limit) = work.task.spec.constraints.max_latency_ms.filter(|_| work.trial.results.is_empty()) else {
        return Ok(None);
    };
    let work = work.clone();
    blocking(move || {
        let latency = measure_latency(&work.plan.graph(&work.trial.genome)?, None)?.median_ms;
        Ok((latency > limit).then(|| format!("untrained it takes {latency:.3} ms, the limit is {limit} ms")))
    })
    .await
}

/// Renews the lease and listens for reasons to stop. Once the rung is trained, only a lost trial
/// matters: what was found is still written.
async fn beat(service: Service, trial: TrialId, token: i64, shutdown: CancellationToken, signals: Arc<Signals>) {
    loop {
        tokio::select! {
            () = shutdown.cancelled(), if signals.why() == Stop::None => signals.stop(Stop::Shutdown),
            () = tokio::time::sleep(BEAT) => {}
        }
        match service.store().meta.heartbeat(&trial, token, now_ms()).await {
            Ok(Beat::Go) => {}
            Ok(Beat::Cancelled) => signals.stop(Stop::Cancelled),
            Ok(Beat::Lost) => signals.stop(Stop::Lost),
            Err(error) => tracing::warn!(%trial, %error, "a heartbeat failed; the next one is tried"),
        }
    }
}
