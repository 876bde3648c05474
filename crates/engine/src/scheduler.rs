//! Decides what is trained next.
//!
//! A step reads the records, decides, writes the decision as a record and only then pushes the job.
//! A process killed in between loses nothing: a trial that waits without a job is pushed again. Time
//! is passed in, so that tests step it.

use kindling_data::Dataset;
use kindling_search::{Decision, Moment, Observation, Rung, Study, pruners::Hyperband, samplers::Tpe, score};
use kindling_spec::{TaskId, TaskSpec, TaskState, TrialId, TrialState};
use kindling_store::{Job, Outage, RungResult, StoreError, TaskRecord, TrialRecord};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::datasets::ABANDONED_MS;
use crate::{EngineError, Plan, Service, clock::now_ms, duty::Duty};

/// A worker is thought dead after so long a silence; one killed beside its fleet is found at once.
pub(crate) const LEASE_MS: i64 = 20_000;
/// Deaths of workers after which a trial is given up.
pub(crate) const MAX_DEATHS: u32 = 3;
/// A worker counts towards the capacity for so long after it was last seen.
const PRESENT_MS: i64 = 5_000;
/// A trial that has waited this long may have lost its job.
const LOST_JOB_MS: i64 = 3_000;
/// How often lost jobs and dead workers are looked for.
const SWEEP_MS: i64 = 1_000;
/// How often it is looked for what was left for minutes or days; that reads every data set's record.
const TIDY_MS: i64 = 10_000;
/// A clock that went so much more or less than time did was set.
const JUMP_MS: i64 = 2_000;

/// Seconds of the budget kept free for the last export.
pub(crate) fn export_reserve(total_seconds: f64) -> f64 {
    (0.03 * total_seconds).clamp(1.0, 8.0)
}

/// How long after its budget is spent a study waits for exports under way: within 5% of the budget.
fn grace_seconds(total_seconds: f64) -> f64 {
    (0.045 * total_seconds).clamp(2.0, 30.0)
}

/// Steps every active study.
pub struct Scheduler {
    service: Service,
    /// When each running task's time was last accounted for.
    accounted: HashMap<TaskId, i64>,
    /// Studies that are over but for files of their models.
    finishing: HashMap<TaskId, JoinHandle<()>>,
    swept_at: i64,
    tidied_at: i64,
    duty: Duty,
}

impl Scheduler {
    /// A scheduler over the service. Of several over the same records one works, the others wait for its end.
    pub fn new(service: Service) -> Self {
        let duty = Duty::new(service.clone(), "scheduling");
        Self {
            service,
            accounted: HashMap::new(),
            finishing: HashMap::new(),
            swept_at: i64::MIN,
            tidied_at: i64::MIN,
            duty,
        }
    }

    /// Time that was skipped is nobody's, and what was last heard of before it is waited for anew.
    fn clock_was_set(&mut self, now: i64) {
        self.accounted.values_mut().for_each(|since| *since = now);
        self.swept_at = now + LEASE_MS;
        self.tidied_at = now + ABANDONED_MS;
    }

    /// Does everything there is to do now; returns the jobs pushed.
    ///
    /// # Errors
    /// The store failed. What was done before that is kept, and the next step does the rest.
    pub async fn step(&mut self, now: i64) -> Result<Vec<Job>, EngineError> {
        let store = self.service.store().clone();
        let mut pushed = Vec::new();
        if !self.duty.is_mine().await? {
            // Time is accounted for by who has the duty.
            self.accounted.clear();
            return Ok(pushed);
        }
        if now.saturating_sub(self.swept_at) >= SWEEP_MS {
            self.swept_at = now;
            for reaped in store.meta.reap(now, LEASE_MS, MAX_DEATHS).await? {
                tracing::warn!(trial = %reaped.trial, deaths = reaped.deaths, failed = reaped.failed, "its worker fell silent");
            }
            for job in store.meta.waiting_trials(now - LOST_JOB_MS).await? {
                store.queue.push(&job).await?;
            }
        }
        if now.saturating_sub(self.tidied_at) >= TIDY_MS {
            self.tidied_at = now;
            self.service.refuse_abandoned(now).await?;
        }
        let mut tasks = store.meta.active_tasks().await?;
        // Of a fleet one task runs after the other, so that to the rest it is one task.
        let held = store.meta.held_tasks().await?;
        tasks.retain(|task| !held.contains(&task.id));
        self.accounted.retain(|id, _| tasks.iter().any(|t| t.id == *id));
        self.finishing.retain(|id, _| tasks.iter().any(|t| t.id == *id));
        if tasks.is_empty() {
            return Ok(pushed);
        }
        let workers = store.meta.workers().await?;
        let capacity = workers.iter().filter(|w| now - w.seen_at < PRESENT_MS).count();
        let mut free = capacity;
        let mut busy = Vec::new();
        for task in &tasks {
            let counts = store.meta.trial_counts(Some(&task.id)).await?;
            let count = |state| counts.get(&state).copied().unwrap_or(0) as usize;
            let of_task = count(TrialState::Waiting) + count(TrialState::Running);
            free = free.saturating_sub(of_task);
            busy.push(of_task);
        }
        // Every active task gets its share of the workers, and those that want less leave theirs to the others.
        let share = capacity.div_ceil(tasks.len()).max(1);
        for (task, busy) in tasks.iter().zip(busy) {
            let slots = free.min(share.saturating_sub(busy));
            match self.step_task(task, slots, now).await {
                Ok(jobs) => {
                    free -= jobs.len().min(free);
                    pushed.extend(jobs);
                }
                // A fault of the store is not the study's: the step is tried again.
                Err(error) if matches!(error, EngineError::Store(_)) || Outage::of(&error).is_some() => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::error!(task = %task.id, %error, "a study cannot go on");
                    let from = [TaskState::Queued, TaskState::Running];
                    let reason = format!("the study cannot go on: {}", error.detail());
                    store.meta.update_task_state(&task.id, &from, TaskState::Failed, Some(&reason), now).await?;
                }
            }
        }
        Ok(pushed)
    }

    async fn step_task(&mut self, task: &TaskRecord, slots: usize, now: i64) -> Result<Vec<Job>, EngineError> {
        let spent = self.account(task, now).await?;
        let total = task.budget.seconds;
        let left = total.map(|t| t - spent);
        let over = left.is_some_and(|l| l <= 0.0);
        if slots == 0 && !over {
            return Ok(Vec::new());
        }
        let store = self.service.store().clone();
        let meta = &store.meta;
        let plan = self.service.plan(task).await?;
        let mut trials = meta.all_trials(&task.id).await?;
        if over {
            let exporting = trials.iter().any(|t| t.state == TrialState::Running);
            let waited = -left.unwrap_or(0.0) > grace_seconds(total.unwrap_or(0.0));
            if !exporting || waited {
                self.finish(task, &trials, "the budget of seconds is spent", now).await?;
            }
            return Ok(Vec::new());
        }
        let mut jobs = Vec::new();
        for _ in 0..slots {
            let history: Vec<Observation> = trials.iter().map(|t| observe(t, plan.kind().classes().len())).collect();
            let moment = Moment {
                trials_left: task.budget.trials.map(|t| t.saturating_sub(trials.len() as u32)),
                seconds_left: left.map(|l| l - export_reserve(total.unwrap_or(0.0))),
                seconds_total: total,
            };
            let deciding = plan.clone();
            // Choosing may build thousands of graphs.
            let decision = crate::error::blocking(move || Ok(decide(&deciding, &history, &moment))).await?;
            match decision {
                Decision::Start { number, genome, rung, seed, target_epochs } => {
                    let cost = serde_json::to_value(plan.graph(&genome)?.cost()?)?;
                    let record = TrialRecord {
                        id: TrialId::new(),
                        task: task.id.clone(),
                        number,
                        genome,
                        cost,
                        state: TrialState::Waiting,
                        rung,
                        target_epochs,
                        epochs: 0,
                        deaths: 0,
                        token: 0,
                        worker: None,
                        heartbeat_at: None,
                        reason: None,
                        results: Vec::new(),
                        checkpoint: None,
                        created_at: now,
                        updated_at: now,
                    };
                    debug_assert_eq!(seed, plan.trial_seed(number));
                    match meta.create_trial(&record).await {
                        // Another scheduler was quicker; the next step sees its trial.
                        Err(StoreError::Exists { .. }) => break,
                        other => other?,
                    }
                    let queued = [TaskState::Queued];
                    meta.update_task_state(&task.id, &queued, TaskState::Running, None, now).await?;
                    jobs.push(Job { task: task.id.clone(), trial: record.id.clone(), rung });
                    trials.push(record);
                }
                Decision::Promote { number, to, target_epochs } => {
                    let Some(trial) = trials.iter_mut().find(|t| t.number == number) else { break };
                    if !meta.promote_trial(&trial.id, trial.rung, to, target_epochs, now).await? {
                        break;
                    }
                    jobs.push(Job { task: task.id.clone(), trial: trial.id.clone(), rung: to });
                    trial.state = TrialState::Waiting;
                }
                Decision::Wait => break,
                Decision::Finished => {
                    let busy = trials.iter().any(|t| matches!(t.state, TrialState::Waiting | TrialState::Running));
                    if !busy {
                        let reason = match (task.budget.trials, total) {
                            (Some(t), _) if trials.len() as u32 >= t => "the budget of trials is spent",
                            (_, Some(_)) => "the budget of seconds is spent",
                            _ => "no further network meets the limits",
                        };
                        self.finish(task, &trials, reason, now).await?;
                    }
                    break;
                }
            }
        }
        for job in &jobs {
            self.service.store().queue.push(job).await?;
        }
        Ok(jobs)
    }

    /// Adds the time since the last step to what the task has spent; time in which nobody ran is not counted.
    async fn account(&mut self, task: &TaskRecord, now: i64) -> Result<f64, EngineError> {
        if task.state != TaskState::Running {
            return Ok(task.spent_seconds);
        }
        let since = self.accounted.entry(task.id.clone()).or_insert(now);
        let elapsed = (now - *since).max(0) as f64 / 1e3;
        // Written a few times a second at most: a crash forgets no more than that.
        if elapsed < 0.2 {
            return Ok(task.spent_seconds + elapsed);
        }
        *since = now;
        Ok(self.service.store().meta.add_spent(&task.id, elapsed, now).await?)
    }

    /// Whether the files that are made last are made for the study's best model; begins with it where they are not. A
    /// model of which that fails is left as it is.
    async fn files_are_made(&mut self, task: &TaskId) -> Result<bool, EngineError> {
        if let Some(running) = self.finishing.get(task) {
            return Ok(running.is_finished());
        }
        let mut open = self.service.unfinished(task).await?;
        open.truncate(1);
        if open.is_empty() {
            return Ok(true);
        }
        let running = self.service.finish_models(open);
        self.finishing.insert(task.clone(), running);
        Ok(false)
    }

    /// Ends the study: trials that made a model are complete, the others were beaten.
    async fn finish(
        &mut self,
        task: &TaskRecord,
        trials: &[TrialRecord],
        reason: &str,
        now: i64,
    ) -> Result<(), EngineError> {
        if !self.files_are_made(&task.id).await? {
            return Ok(());
        }
        let meta = &self.service.store().meta;
        let models = meta.models(&task.id).await?;
        for trial in trials.iter().filter(|t| t.state == TrialState::Paused) {
            let (to, why) = if models.iter().any(|m| m.trial == trial.id) {
                (TrialState::Complete, "trained as far as the study took it")
            } else {
                (TrialState::Pruned, "others did better")
            };
            meta.fail_trial(&trial.id, None, to, why, now).await?;
        }
        let open = [TrialState::Waiting, TrialState::Running];
        meta.close_trials(&task.id, &open, TrialState::Pruned, Some("the budget was spent"), now).await?;
        let (state, reason) = if models.is_empty() {
            let told = trials.iter().rev().find_map(|t| t.reason.as_deref());
            let why = told.map_or_else(
                || "no trial finished its first rung; give it more seconds".to_owned(),
                |r| format!("the last trial that gave a reason: {r}"),
            );
            (TaskState::Failed, format!("no model could be made: {why}"))
        } else {
            (TaskState::Complete, reason.to_owned())
        };
        let from = [TaskState::Queued, TaskState::Running];
        meta.update_task_state(&task.id, &from, state, Some(&reason), now).await?;
        // The other picks' are nobody's to wait for.
        self.service.finish_models(self.service.unfinished(&task.id).await?);
        Ok(())
    }
}

fn decide(plan: &Plan, history: &[Observation], moment: &Moment) -> Decision {
    Study {
        space: plan.space(),
        portfolio: plan.portfolio(),
        sampler: &Tpe,
        pruner: &Hyperband,
        ladder: plan.ladder(),
        seed: plan.spec().seed,
        fit: &|genome, _| plan.fit(genome),
    }
    .decide(history, moment)
}

/// What the search needs to know of a trial of a task with so many classes.
pub(crate) fn observe(trial: &TrialRecord, classes: usize) -> Observation {
    let value = |r: &RungResult| match r.metrics.get("log_loss").and_then(serde_json::Value::as_f64) {
        Some(log_loss) => score(r.value, log_loss, classes),
        None => r.value,
    };
    let rungs = trial
        .results
        .iter()
        .map(|r| Rung { index: r.rung, epochs: r.epochs, value: value(r), seconds: r.seconds })
        .collect();
    Observation { number: trial.number, genome: trial.genome.clone(), state: trial.state, rungs }
}

impl Service {
    /// The plan of a task's study, made once.
    pub(crate) async fn plan(&self, task: &TaskRecord) -> Result<Arc<Plan>, EngineError> {
        if let Some(plan) = self.plan_cache().get(&task.id) {
            return Ok(plan);
        }
        let dataset = self.open_dataset(&task.dataset).await?;
        let plan = Arc::new(self.make_plan(&task.spec, dataset).await?);
        self.plan_cache().put(&task.id, plan.clone());
        Ok(plan)
    }

    /// The plan of a study, with what it takes over from an earlier one.
    pub(crate) async fn make_plan(&self, spec: &TaskSpec, dataset: Arc<Dataset>) -> Result<Plan, EngineError> {
        let (planned, open) = (spec.clone(), dataset.clone());
        let plan = crate::error::blocking(move || Plan::new(&planned, &open)).await?;
        let earlier = self.earlier(spec, plan.kind(), &dataset).await?;
        Ok(plan.begin_from(earlier))
    }
}

/// Steps until told to stop. An error is logged and the next step tries again.
pub async fn run_scheduler(service: Service, shutdown: CancellationToken) {
    let mut scheduler = Scheduler::new(service);
    let mut last = (Instant::now(), now_ms());
    loop {
        let now = now_ms();
        let jump = now - last.1 - i64::try_from(last.0.elapsed().as_millis()).unwrap_or(i64::MAX);
        if jump.abs() > JUMP_MS {
            tracing::warn!(seconds = jump as f64 / 1e3, "the clock was set");
            scheduler.clock_was_set(now);
        }
        last = (Instant::now(), now);
        let pause = match scheduler.step(now).await {
            Ok(_) => Duration::from_millis(50),
            Err(error) => {
                tracing::error!(%error, "a scheduling step failed; it is tried again");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    scheduler.duty.leave().await;
}
