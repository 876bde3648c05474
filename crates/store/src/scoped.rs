//! The records as one project sees them.

use async_trait::async_trait;
use kindling_spec::{
    AnalysisId, AnalysisKind, AnalysisState, Budget, DatasetId, DatasetState, DraftId, FleetId, KeyId, ModelId,
    ProjectId, TaskId, TaskState, TrialId, TrialState, UploadId, WebhookId,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    AnalysisRecord, AnalysisUpdate, Annotation, Beat, DatasetRecord, DatasetUpdate, Deletion, Delivered,
    DeliveryRecord, DeliveryState, DraftCounts, DraftExampleRecord, DraftFilter, DraftRecord, DraftState, DutyRecord,
    Event, FileRecord, FleetRecord, Job, KeyRecord, Metadata, ModelRecord, Noun, PartRecord, ProjectRecord, Quota,
    Reaped, Remembered, Removal, RungFigures, RungResult, SavedResponse, StoreError, StoredBytes, Suggestion,
    TaskRecord, TrialRecord, UploadRecord, Usage, WebhookRecord, WorkerRecord,
};

/// [`Metadata`] in which there is nothing but one project's. What is made is made in it, and an id of another project is
/// answered as one that nothing has. What is of the whole service (duties, dead workers, lost jobs) is handed on.
pub(crate) struct Scoped {
    inner: Arc<dyn Metadata>,
    project: ProjectId,
}

impl Scoped {
    pub(crate) fn new(inner: Arc<dyn Metadata>, project: ProjectId) -> Self {
        Self { inner, project }
    }

    async fn own(&self, what: Noun, id: &str) -> Result<(), StoreError> {
        if self.owns(what, id).await? { Ok(()) } else { Err(StoreError::NotFound { what, id: id.to_owned() }) }
    }

    async fn owns(&self, what: Noun, id: &str) -> Result<bool, StoreError> {
        Ok(self.inner.project_of(what, id).await?.as_ref() == Some(&self.project))
    }

    /// The same for what an analysis looks at.
    async fn own_subject(&self, subject: &str) -> Result<(), StoreError> {
        self.own(subject_noun(subject), subject).await
    }

    /// This project, unless another was asked for.
    fn mine(&self, asked: Option<&ProjectId>) -> Option<&ProjectId> {
        asked.is_none_or(|asked| *asked == self.project).then_some(&self.project)
    }

    /// Two projects may use the same Idempotency-Key.
    fn keyed(&self, scope: &str) -> String {
        format!("{} {scope}", self.project)
    }

    async fn every_task(&self) -> Result<Vec<TaskRecord>, StoreError> {
        let mut all: Vec<TaskRecord> = Vec::new();
        loop {
            let page = self.inner.tasks(Some(&self.project), all.last().map(|task| &task.id), 500).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}

/// What an analysis looks at.
fn subject_noun(subject: &str) -> Noun {
    if subject.starts_with(TaskId::PREFIX) { Noun::Task } else { Noun::Dataset }
}

#[async_trait]
impl Metadata for Scoped {
    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn now(&self) -> Result<Option<i64>, StoreError> {
        self.inner.now().await
    }

    async fn take_duty(&self, duty: &str, who: &str, now: i64, until: i64) -> Result<bool, StoreError> {
        self.inner.take_duty(duty, who, now, until).await
    }

    async fn leave_duty(&self, duty: &str, who: &str) -> Result<(), StoreError> {
        self.inner.leave_duty(duty, who).await
    }

    async fn duties(&self) -> Result<Vec<DutyRecord>, StoreError> {
        self.inner.duties().await
    }

    async fn rung_figures(&self) -> Result<BTreeMap<u32, RungFigures>, StoreError> {
        self.inner.rung_figures().await
    }

    async fn oldest_waiting(&self) -> Result<Option<i64>, StoreError> {
        self.inner.oldest_waiting().await
    }

    async fn stored_bytes(&self) -> Result<Vec<StoredBytes>, StoreError> {
        let mut stored = self.inner.stored_bytes().await?;
        stored.retain(|of| of.project == self.project);
        Ok(stored)
    }

    async fn delete_task(&self, id: &TaskId) -> Result<Deletion, StoreError> {
        match self.owns(Noun::Task, id.as_str()).await? {
            true => self.inner.delete_task(id).await,
            false => Ok(Deletion::NotFound),
        }
    }

    async fn delete_fleet(&self, id: &FleetId) -> Result<Deletion, StoreError> {
        match self.owns(Noun::Fleet, id.as_str()).await? {
            true => self.inner.delete_fleet(id).await,
            false => Ok(Deletion::NotFound),
        }
    }

    async fn delete_model(&self, id: &ModelId) -> Result<Deletion, StoreError> {
        match self.owns(Noun::Model, id.as_str()).await? {
            true => self.inner.delete_model(id).await,
            false => Ok(Deletion::NotFound),
        }
    }

    async fn expire_studies(&self, ended_before: i64, now: i64) -> Result<u64, StoreError> {
        self.inner.expire_studies(ended_before, now).await
    }

    async fn expire_deliveries(&self, before: i64) -> Result<u64, StoreError> {
        self.inner.expire_deliveries(before).await
    }

    async fn removals(&self, limit: u32) -> Result<Vec<Removal>, StoreError> {
        self.inner.removals(limit).await
    }

    async fn removed(&self, removal: &Removal) -> Result<(), StoreError> {
        self.inner.removed(removal).await
    }

    async fn create_project(&self, record: &ProjectRecord) -> Result<(), StoreError> {
        Err(StoreError::NotFound { what: Noun::Project, id: record.id.to_string() })
    }

    async fn project(&self, id: &ProjectId) -> Result<ProjectRecord, StoreError> {
        self.own(Noun::Project, id.as_str()).await?;
        self.inner.project(id).await
    }

    async fn projects(&self) -> Result<Vec<ProjectRecord>, StoreError> {
        Ok(vec![self.inner.project(&self.project).await?])
    }

    async fn set_quota(&self, id: &ProjectId, quota: &Quota) -> Result<(), StoreError> {
        self.own(Noun::Project, id.as_str()).await?;
        self.inner.set_quota(id, quota).await
    }

    async fn usage(&self, id: &ProjectId, now: i64) -> Result<Usage, StoreError> {
        self.own(Noun::Project, id.as_str()).await?;
        self.inner.usage(id, now).await
    }

    async fn project_of(&self, what: Noun, id: &str) -> Result<Option<ProjectId>, StoreError> {
        let found = self.inner.project_of(what, id).await?;
        Ok(found.filter(|project| *project == self.project))
    }

    async fn create_key(&self, record: &KeyRecord) -> Result<(), StoreError> {
        let record = KeyRecord { project: self.project.clone(), ..record.clone() };
        self.inner.create_key(&record).await
    }

    async fn key(&self, id: &KeyId) -> Result<KeyRecord, StoreError> {
        self.own(Noun::Key, id.as_str()).await?;
        self.inner.key(id).await
    }

    async fn keys(&self, project: Option<&ProjectId>) -> Result<Vec<KeyRecord>, StoreError> {
        let Some(project) = self.mine(project) else { return Ok(Vec::new()) };
        self.inner.keys(Some(project)).await
    }

    async fn revoke_key(&self, id: &KeyId, now: i64) -> Result<bool, StoreError> {
        self.own(Noun::Key, id.as_str()).await?;
        self.inner.revoke_key(id, now).await
    }

    async fn create_upload(&self, record: &UploadRecord) -> Result<(), StoreError> {
        self.own(Noun::Dataset, record.dataset.as_str()).await?;
        self.inner.create_upload(record).await
    }

    async fn upload(&self, id: &UploadId) -> Result<UploadRecord, StoreError> {
        self.own(Noun::Upload, id.as_str()).await?;
        self.inner.upload(id).await
    }

    async fn add_part(&self, id: &UploadId, part: &PartRecord) -> Result<(), StoreError> {
        self.own(Noun::Upload, id.as_str()).await?;
        self.inner.add_part(id, part).await
    }

    async fn delete_upload(&self, id: &UploadId) -> Result<bool, StoreError> {
        self.own(Noun::Upload, id.as_str()).await?;
        self.inner.delete_upload(id).await
    }

    async fn uploads_before(&self, time: i64) -> Result<Vec<UploadRecord>, StoreError> {
        self.inner.uploads_before(time).await
    }

    async fn create_webhook(&self, record: &WebhookRecord) -> Result<(), StoreError> {
        let record = WebhookRecord { project: self.project.clone(), ..record.clone() };
        self.inner.create_webhook(&record).await
    }

    async fn webhook(&self, id: &WebhookId) -> Result<WebhookRecord, StoreError> {
        self.own(Noun::Webhook, id.as_str()).await?;
        self.inner.webhook(id).await
    }

    async fn webhooks(&self, project: &ProjectId) -> Result<Vec<WebhookRecord>, StoreError> {
        let Some(project) = self.mine(Some(project)) else { return Ok(Vec::new()) };
        self.inner.webhooks(project).await
    }

    async fn delete_webhook(&self, id: &WebhookId) -> Result<bool, StoreError> {
        self.own(Noun::Webhook, id.as_str()).await?;
        self.inner.delete_webhook(id).await
    }

    async fn take_deliveries(&self, now: i64, until: i64, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError> {
        self.inner.take_deliveries(now, until, limit).await
    }

    async fn delivered(&self, id: i64, outcome: &Delivered) -> Result<(), StoreError> {
        self.inner.delivered(id, outcome).await
    }

    async fn deliveries(&self, id: &WebhookId, limit: u32) -> Result<Vec<DeliveryState>, StoreError> {
        self.own(Noun::Webhook, id.as_str()).await?;
        self.inner.deliveries(id, limit).await
    }

    async fn create_dataset(&self, record: &DatasetRecord) -> Result<(), StoreError> {
        let record = DatasetRecord { project: self.project.clone(), ..record.clone() };
        self.inner.create_dataset(&record).await
    }

    async fn dataset(&self, id: &DatasetId) -> Result<DatasetRecord, StoreError> {
        self.own(Noun::Dataset, id.as_str()).await?;
        self.inner.dataset(id).await
    }

    async fn datasets(
        &self,
        project: Option<&ProjectId>,
        after: Option<&DatasetId>,
        limit: u32,
    ) -> Result<Vec<DatasetRecord>, StoreError> {
        let Some(project) = self.mine(project) else { return Ok(Vec::new()) };
        self.inner.datasets(Some(project), after, limit).await
    }

    async fn update_dataset(
        &self,
        id: &DatasetId,
        from: &[DatasetState],
        update: &DatasetUpdate,
        now: i64,
    ) -> Result<bool, StoreError> {
        self.own(Noun::Dataset, id.as_str()).await?;
        self.inner.update_dataset(id, from, update, now).await
    }

    async fn set_bytes(&self, what: Noun, id: &str, bytes: u64) -> Result<(), StoreError> {
        self.own(what, id).await?;
        self.inner.set_bytes(what, id, bytes).await
    }

    async fn delete_dataset(&self, id: &DatasetId) -> Result<Deletion, StoreError> {
        match self.owns(Noun::Dataset, id.as_str()).await? {
            true => self.inner.delete_dataset(id).await,
            false => Ok(Deletion::NotFound),
        }
    }

    async fn create_task(&self, record: &TaskRecord) -> Result<(), StoreError> {
        self.own(Noun::Dataset, record.dataset.as_str()).await?;
        let record = TaskRecord { project: self.project.clone(), ..record.clone() };
        self.inner.create_task(&record).await
    }

    async fn task(&self, id: &TaskId) -> Result<TaskRecord, StoreError> {
        self.own(Noun::Task, id.as_str()).await?;
        self.inner.task(id).await
    }

    async fn tasks(
        &self,
        project: Option<&ProjectId>,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<TaskRecord>, StoreError> {
        let Some(project) = self.mine(project) else { return Ok(Vec::new()) };
        self.inner.tasks(Some(project), after, limit).await
    }

    async fn active_tasks(&self) -> Result<Vec<TaskRecord>, StoreError> {
        let mut tasks = self.inner.active_tasks().await?;
        tasks.retain(|task| task.project == self.project);
        Ok(tasks)
    }

    async fn update_task_state(
        &self,
        id: &TaskId,
        from: &[TaskState],
        to: TaskState,
        reason: Option<&str>,
        now: i64,
    ) -> Result<bool, StoreError> {
        self.own(Noun::Task, id.as_str()).await?;
        self.inner.update_task_state(id, from, to, reason, now).await
    }

    async fn add_spent(&self, id: &TaskId, seconds: f64, now: i64) -> Result<f64, StoreError> {
        self.own(Noun::Task, id.as_str()).await?;
        self.inner.add_spent(id, seconds, now).await
    }

    async fn extend_budget(&self, id: &TaskId, add: &Budget, now: i64) -> Result<Budget, StoreError> {
        self.own(Noun::Task, id.as_str()).await?;
        self.inner.extend_budget(id, add, now).await
    }

    async fn set_best_model(
        &self,
        id: &TaskId,
        expected: Option<&ModelId>,
        best: &ModelId,
        now: i64,
    ) -> Result<bool, StoreError> {
        self.own(Noun::Task, id.as_str()).await?;
        self.inner.set_best_model(id, expected, best, now).await
    }

    async fn create_fleet(&self, record: &FleetRecord, tasks: &[TaskRecord]) -> Result<(), StoreError> {
        self.own(Noun::Dataset, record.dataset.as_str()).await?;
        let project = &self.project;
        let tasks: Vec<_> = tasks.iter().map(|t| TaskRecord { project: project.clone(), ..t.clone() }).collect();
        let record = FleetRecord { project: project.clone(), ..record.clone() };
        self.inner.create_fleet(&record, &tasks).await
    }

    async fn fleet(&self, id: &FleetId) -> Result<FleetRecord, StoreError> {
        self.own(Noun::Fleet, id.as_str()).await?;
        self.inner.fleet(id).await
    }

    async fn fleets(
        &self,
        project: Option<&ProjectId>,
        after: Option<&FleetId>,
        limit: u32,
    ) -> Result<Vec<FleetRecord>, StoreError> {
        let Some(project) = self.mine(project) else { return Ok(Vec::new()) };
        self.inner.fleets(Some(project), after, limit).await
    }

    async fn held_tasks(&self) -> Result<BTreeSet<TaskId>, StoreError> {
        self.inner.held_tasks().await
    }

    async fn create_trial(&self, record: &TrialRecord) -> Result<(), StoreError> {
        self.own(Noun::Task, record.task.as_str()).await?;
        self.inner.create_trial(record).await
    }

    async fn trial(&self, id: &TrialId) -> Result<TrialRecord, StoreError> {
        self.own(Noun::Trial, id.as_str()).await?;
        self.inner.trial(id).await
    }

    async fn trials(&self, task: &TaskId, after: Option<u32>, limit: u32) -> Result<Vec<TrialRecord>, StoreError> {
        self.own(Noun::Task, task.as_str()).await?;
        self.inner.trials(task, after, limit).await
    }

    async fn all_trials(&self, task: &TaskId) -> Result<Vec<TrialRecord>, StoreError> {
        self.own(Noun::Task, task.as_str()).await?;
        self.inner.all_trials(task).await
    }

    async fn trial_counts(&self, task: Option<&TaskId>) -> Result<BTreeMap<TrialState, u64>, StoreError> {
        let Some(task) = task else {
            let mut counts = BTreeMap::new();
            for task in self.every_task().await? {
                for (state, count) in self.inner.trial_counts(Some(&task.id)).await? {
                    *counts.entry(state).or_default() += count;
                }
            }
            return Ok(counts);
        };
        self.own(Noun::Task, task.as_str()).await?;
        self.inner.trial_counts(Some(task)).await
    }

    async fn promote_trial(
        &self,
        id: &TrialId,
        from_rung: u32,
        to_rung: u32,
        target_epochs: u32,
        now: i64,
    ) -> Result<bool, StoreError> {
        self.own(Noun::Trial, id.as_str()).await?;
        self.inner.promote_trial(id, from_rung, to_rung, target_epochs, now).await
    }

    async fn claim_trial(
        &self,
        id: &TrialId,
        rung: u32,
        worker: &str,
        now: i64,
    ) -> Result<Option<TrialRecord>, StoreError> {
        self.own(Noun::Trial, id.as_str()).await?;
        self.inner.claim_trial(id, rung, worker, now).await
    }

    async fn heartbeat(&self, id: &TrialId, token: i64, now: i64) -> Result<Beat, StoreError> {
        self.own(Noun::Trial, id.as_str()).await?;
        self.inner.heartbeat(id, token, now).await
    }

    async fn finish_rung(
        &self,
        id: &TrialId,
        token: i64,
        result: &RungResult,
        checkpoint: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        self.own(Noun::Trial, id.as_str()).await?;
        self.inner.finish_rung(id, token, result, checkpoint, now).await
    }

    async fn fail_trial(
        &self,
        id: &TrialId,
        token: Option<i64>,
        to: TrialState,
        reason: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        self.own(Noun::Trial, id.as_str()).await?;
        self.inner.fail_trial(id, token, to, reason, now).await
    }

    async fn release_trial(&self, id: &TrialId, token: i64, now: i64) -> Result<bool, StoreError> {
        self.own(Noun::Trial, id.as_str()).await?;
        self.inner.release_trial(id, token, now).await
    }

    async fn close_trials(
        &self,
        task: &TaskId,
        from: &[TrialState],
        to: TrialState,
        reason: Option<&str>,
        now: i64,
    ) -> Result<u64, StoreError> {
        self.own(Noun::Task, task.as_str()).await?;
        self.inner.close_trials(task, from, to, reason, now).await
    }

    async fn reap(&self, now: i64, lease_ms: i64, max_deaths: u32) -> Result<Vec<Reaped>, StoreError> {
        self.inner.reap(now, lease_ms, max_deaths).await
    }

    async fn reap_worker(&self, worker: &str, now: i64, max_deaths: u32) -> Result<Vec<Reaped>, StoreError> {
        self.inner.reap_worker(worker, now, max_deaths).await
    }

    async fn waiting_trials(&self, older_than: i64) -> Result<Vec<Job>, StoreError> {
        self.inner.waiting_trials(older_than).await
    }

    async fn add_model(&self, record: &ModelRecord) -> Result<bool, StoreError> {
        self.own(Noun::Task, record.task.as_str()).await?;
        self.inner.add_model(record).await
    }

    async fn revise_model(
        &self,
        id: &ModelId,
        from: u32,
        card: &Value,
        files: &[FileRecord],
        now: i64,
    ) -> Result<bool, StoreError> {
        self.own(Noun::Model, id.as_str()).await?;
        self.inner.revise_model(id, from, card, files, now).await
    }

    async fn model(&self, id: &ModelId) -> Result<ModelRecord, StoreError> {
        self.own(Noun::Model, id.as_str()).await?;
        self.inner.model(id).await
    }

    async fn models(&self, task: &TaskId) -> Result<Vec<ModelRecord>, StoreError> {
        self.own(Noun::Task, task.as_str()).await?;
        self.inner.models(task).await
    }

    async fn model_ids(&self, task: &TaskId) -> Result<Vec<ModelId>, StoreError> {
        self.own(Noun::Task, task.as_str()).await?;
        self.inner.model_ids(task).await
    }

    async fn create_analysis(&self, record: &AnalysisRecord) -> Result<bool, StoreError> {
        self.own_subject(&record.subject).await?;
        self.inner.create_analysis(record).await
    }

    async fn analysis(&self, id: &AnalysisId) -> Result<AnalysisRecord, StoreError> {
        self.own(Noun::Analysis, id.as_str()).await?;
        self.inner.analysis(id).await
    }

    async fn latest_analysis(&self, kind: AnalysisKind, subject: &str) -> Result<Option<AnalysisRecord>, StoreError> {
        self.own_subject(subject).await?;
        self.inner.latest_analysis(kind, subject).await
    }

    async fn open_analyses(&self) -> Result<Vec<AnalysisRecord>, StoreError> {
        let mut mine = Vec::new();
        for record in self.inner.open_analyses().await? {
            if self.inner.project_of(Noun::Analysis, record.id.as_str()).await?.as_ref() == Some(&self.project) {
                mine.push(record);
            }
        }
        Ok(mine)
    }

    async fn update_analysis(
        &self,
        id: &AnalysisId,
        from: &[AnalysisState],
        update: &AnalysisUpdate,
        now: i64,
    ) -> Result<bool, StoreError> {
        self.own(Noun::Analysis, id.as_str()).await?;
        self.inner.update_analysis(id, from, update, now).await
    }

    async fn create_draft(&self, record: &DraftRecord) -> Result<(), StoreError> {
        let record = DraftRecord { project: self.project.clone(), ..record.clone() };
        self.inner.create_draft(&record).await
    }

    async fn draft(&self, id: &DraftId) -> Result<DraftRecord, StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.draft(id).await
    }

    async fn drafts(
        &self,
        project: Option<&ProjectId>,
        after: Option<&DraftId>,
        limit: u32,
    ) -> Result<Vec<DraftRecord>, StoreError> {
        let Some(project) = self.mine(project) else { return Ok(Vec::new()) };
        self.inner.drafts(Some(project), after, limit).await
    }

    async fn draft_counts(&self, id: &DraftId) -> Result<DraftCounts, StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.draft_counts(id).await
    }

    async fn add_draft_classes(&self, id: &DraftId, add: &[String], now: i64) -> Result<Vec<String>, StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.add_draft_classes(id, add, now).await
    }

    async fn delete_draft(&self, id: &DraftId) -> Result<(), StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.delete_draft(id).await
    }

    async fn draft_packs(&self) -> Result<BTreeSet<String>, StoreError> {
        self.inner.draft_packs().await
    }

    async fn add_draft_examples(
        &self,
        id: &DraftId,
        examples: &[DraftExampleRecord],
        now: i64,
    ) -> Result<u64, StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.add_draft_examples(id, examples, now).await
    }

    async fn draft_example(&self, id: &DraftId, number: u32) -> Result<DraftExampleRecord, StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.draft_example(id, number).await
    }

    async fn draft_examples(
        &self,
        id: &DraftId,
        filter: &DraftFilter,
        after: Option<u32>,
        limit: u32,
    ) -> Result<Vec<DraftExampleRecord>, StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.draft_examples(id, filter, after, limit).await
    }

    async fn label_draft_example(
        &self,
        id: &DraftId,
        number: u32,
        state: DraftState,
        label: Option<&Annotation>,
        now: i64,
    ) -> Result<DraftExampleRecord, StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.label_draft_example(id, number, state, label, now).await
    }

    async fn suggest_draft_labels(
        &self,
        id: &DraftId,
        model: &ModelId,
        suggestions: &[Suggestion],
    ) -> Result<(), StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.suggest_draft_labels(id, model, suggestions).await
    }

    async fn accept_suggestions(
        &self,
        id: &DraftId,
        numbers: Option<&[u32]>,
        at_most: Option<f64>,
        now: i64,
    ) -> Result<Vec<u32>, StoreError> {
        self.own(Noun::Draft, id.as_str()).await?;
        self.inner.accept_suggestions(id, numbers, at_most, now).await
    }

    async fn append_event(&self, task: &TaskId, kind: &str, data: &Value, now: i64) -> Result<i64, StoreError> {
        self.own(Noun::Task, task.as_str()).await?;
        self.inner.append_event(task, kind, data, now).await
    }

    async fn events_after(&self, task: &TaskId, id: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.own(Noun::Task, task.as_str()).await?;
        self.inner.events_after(task, id, limit).await
    }

    async fn worker_seen(&self, record: &WorkerRecord) -> Result<(), StoreError> {
        self.inner.worker_seen(record).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError> {
        let mut workers = self.inner.workers().await?;
        for worker in &mut workers {
            // That a worker is busy is everyone's to know, with what is not.
            let Some(trial) = &worker.trial else { continue };
            if self.inner.project_of(Noun::Trial, trial.as_str()).await?.as_ref() != Some(&self.project) {
                worker.trial = None;
            }
        }
        Ok(workers)
    }

    async fn worker_gone(&self, name: &str) -> Result<bool, StoreError> {
        self.inner.worker_gone(name).await
    }

    async fn remember(&self, scope: &str, key: &str, body_hash: &str, now: i64) -> Result<Remembered, StoreError> {
        self.inner.remember(&self.keyed(scope), key, body_hash, now).await
    }

    async fn complete_idempotent(&self, scope: &str, key: &str, response: &SavedResponse) -> Result<(), StoreError> {
        self.inner.complete_idempotent(&self.keyed(scope), key, response).await
    }

    async fn forget_idempotent(&self, scope: &str, key: &str) -> Result<(), StoreError> {
        self.inner.forget_idempotent(&self.keyed(scope), key).await
    }
}
