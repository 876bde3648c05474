//! The records' trait.

use async_trait::async_trait;
use kindling_spec::{
    AnalysisId, AnalysisKind, AnalysisState, Budget, DatasetId, DatasetState, DraftId, FleetId, KeyId, ModelId,
    ProjectId, TaskId, TaskState, TrialId, TrialState, UploadId, WebhookId,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    AnalysisRecord, AnalysisUpdate, Annotation, Beat, DatasetRecord, DatasetUpdate, Deletion, Delivered,
    DeliveryRecord, DeliveryState, DraftCounts, DraftExampleRecord, DraftFilter, DraftRecord, DraftState, DutyRecord,
    Event, FileRecord, FleetRecord, Job, KeyRecord, ModelRecord, Noun, PartRecord, ProjectRecord, Quota, Reaped,
    Remembered, Removal, RungFigures, RungResult, SavedResponse, StoreError, StoredBytes, Suggestion, TaskRecord,
    TrialRecord, UploadRecord, Usage, WebhookRecord, WorkerRecord,
};

/// Keeps data sets, tasks, trials, models, events and workers.
///
/// # Contract
/// - Each call is one transaction: it happens wholly or not at all, and once it has returned, killing any
///   process loses nothing of it. Any number of processes may call at once.
/// - `now` is the caller's clock in Unix milliseconds; implementations read no clock.
/// - Calls that take `from` states, a rung, a token or an expected value compare and set: they change
///   nothing and answer `false` (or `None`, or [`Beat::Lost`]) when the record is not as the caller
///   believes, or is not there. Of others, an unknown id is [`StoreError::NotFound`].
/// - A trial's `token` grows at each claim, and what a worker writes with an older token is refused, so
///   that one thought dead cannot overwrite its successor's work.
/// - A change of a task, trial, rung or model writes its event ([`crate::event_kind`]) in the same
///   transaction. Events are seen in the order of their ids: none appears later with an id below one
///   already seen.
/// - Lists come in pages: data sets, tasks and fleets newest first, `after` being the last id of the page before
///   (it need not exist any more); trials by number, events by id, both ascending.
#[async_trait]
pub trait Metadata: Send + Sync {
    /// Whether the database answers and can be written.
    async fn ping(&self) -> Result<(), StoreError>;

    /// The clock of the database in Unix milliseconds, where processes of several machines use it and need one clock;
    /// `None` where all of them run on one machine and have its clock.
    async fn now(&self) -> Result<Option<i64>, StoreError>;
    /// Takes a duty that one process at a time may have, or keeps it, until a time; `false` if another has it now.
    async fn take_duty(&self, duty: &str, who: &str, now: i64, until: i64) -> Result<bool, StoreError>;
    /// Gives a duty up, if it is one's own.
    async fn leave_duty(&self, duty: &str, who: &str) -> Result<(), StoreError>;

    /// Every duty that someone has or had.
    async fn duties(&self) -> Result<Vec<DutyRecord>, StoreError>;

    /// The rungs that were ever done, by their number; also those of tasks that are deleted.
    async fn rung_figures(&self) -> Result<BTreeMap<u32, RungFigures>, StoreError>;
    /// Since when the trial waits that has waited longest for a worker; none where none of an active task does.
    async fn oldest_waiting(&self) -> Result<Option<i64>, StoreError>;
    /// What each project has stored, oldest project first.
    async fn stored_bytes(&self) -> Result<Vec<StoredBytes>, StoreError>;

    /// Removes a task that is over with its trials, models, events and analyses, unless a worker still has one of its trials
    /// ([`Deletion::Busy`]) or it is of a fleet ([`Deletion::InUse`]).
    async fn delete_task(&self, id: &TaskId) -> Result<Deletion, StoreError>;
    /// Removes a fleet and its tasks, all of which must be over.
    async fn delete_fleet(&self, id: &FleetId) -> Result<Deletion, StoreError>;
    /// Removes a model of a task that is over; was it the best, the best of the others takes its place.
    async fn delete_model(&self, id: &ModelId) -> Result<Deletion, StoreError>;
    /// Of the studies that are over since before a time, drops the checkpoints of trials without a model (those that were
    /// not at an end are pruned) and the events that no delivery needs; returns how many.
    async fn expire_studies(&self, ended_before: i64, now: i64) -> Result<u64, StoreError>;
    /// Drops what is known of deliveries that ended before a time; returns how many.
    async fn expire_deliveries(&self, before: i64) -> Result<u64, StoreError>;
    /// Things whose records are gone and whose files may still be there. A call that removes a data set, draft, upload, task,
    /// fleet or model, or drops checkpoints, notes them in the same transaction.
    async fn removals(&self, limit: u32) -> Result<Vec<Removal>, StoreError>;
    /// The files of such a thing are gone.
    async fn removed(&self, removal: &Removal) -> Result<(), StoreError>;

    /// Adds a project. [`StoreError::Exists`] when its id or name is taken.
    async fn create_project(&self, record: &ProjectRecord) -> Result<(), StoreError>;
    /// One project. [`ProjectId::local`] is always there.
    async fn project(&self, id: &ProjectId) -> Result<ProjectRecord, StoreError>;
    /// Every project, oldest first.
    async fn projects(&self) -> Result<Vec<ProjectRecord>, StoreError>;
    /// Sets what a project may use.
    async fn set_quota(&self, id: &ProjectId, quota: &Quota) -> Result<(), StoreError>;
    /// What a project uses now; of an unknown one nothing.
    async fn usage(&self, id: &ProjectId, now: i64) -> Result<Usage, StoreError>;
    /// The project of what has this id; `None` where there is nothing. Of an analysis that of its subject, of a trial,
    /// model or webhook's delivery that of its task.
    async fn project_of(&self, what: Noun, id: &str) -> Result<Option<ProjectId>, StoreError>;

    /// Adds a key, if its project is there.
    async fn create_key(&self, record: &KeyRecord) -> Result<(), StoreError>;
    /// One key, also one that has expired or was revoked.
    async fn key(&self, id: &KeyId) -> Result<KeyRecord, StoreError>;
    /// Every key of a project or of all, oldest first.
    async fn keys(&self, project: Option<&ProjectId>) -> Result<Vec<KeyRecord>, StoreError>;
    /// Revokes a key from `now` on; `false` if it was before, or is not there.
    async fn revoke_key(&self, id: &KeyId, now: i64) -> Result<bool, StoreError>;

    /// Begins an upload in parts, if its data set is there.
    async fn create_upload(&self, record: &UploadRecord) -> Result<(), StoreError>;
    /// One upload with the parts that are here, by number.
    async fn upload(&self, id: &UploadId) -> Result<UploadRecord, StoreError>;
    /// Notes that a part is here, in place of one of its number.
    async fn add_part(&self, id: &UploadId, part: &PartRecord) -> Result<(), StoreError>;
    /// Removes an upload; whether there was one.
    async fn delete_upload(&self, id: &UploadId) -> Result<bool, StoreError>;
    /// The uploads begun before a time, oldest first.
    async fn uploads_before(&self, time: i64) -> Result<Vec<UploadRecord>, StoreError>;

    /// Adds a webhook, if its project is there. From now on each event of a task's state and of a model is to be
    /// delivered to it.
    async fn create_webhook(&self, record: &WebhookRecord) -> Result<(), StoreError>;
    /// One webhook.
    async fn webhook(&self, id: &WebhookId) -> Result<WebhookRecord, StoreError>;
    /// Every webhook of a project, oldest first.
    async fn webhooks(&self, project: &ProjectId) -> Result<Vec<WebhookRecord>, StoreError>;
    /// Removes a webhook and what was to be delivered to it; whether there was one.
    async fn delete_webhook(&self, id: &WebhookId) -> Result<bool, StoreError>;
    /// Takes deliveries that are due, the longest due first, so that no other taker gets them before `until`.
    async fn take_deliveries(&self, now: i64, until: i64, limit: u32) -> Result<Vec<DeliveryRecord>, StoreError>;
    /// Notes what came of a delivery.
    async fn delivered(&self, id: i64, outcome: &Delivered) -> Result<(), StoreError>;
    /// A webhook's last deliveries, newest first.
    async fn deliveries(&self, id: &WebhookId, limit: u32) -> Result<Vec<DeliveryState>, StoreError>;

    /// Adds a data set as given.
    async fn create_dataset(&self, record: &DatasetRecord) -> Result<(), StoreError>;
    /// One data set.
    async fn dataset(&self, id: &DatasetId) -> Result<DatasetRecord, StoreError>;
    /// A page of data sets, newest first; of one project or of all.
    async fn datasets(
        &self,
        project: Option<&ProjectId>,
        after: Option<&DatasetId>,
        limit: u32,
    ) -> Result<Vec<DatasetRecord>, StoreError>;
    /// Sets state, problem, hash and summary if the state is one of `from`.
    async fn update_dataset(
        &self,
        id: &DatasetId,
        from: &[DatasetState],
        update: &DatasetUpdate,
        now: i64,
    ) -> Result<bool, StoreError>;
    /// Sets how many bytes of files a data set or draft has, for [`usage`](Self::usage).
    async fn set_bytes(&self, what: Noun, id: &str, bytes: u64) -> Result<(), StoreError>;
    /// Removes a data set with its uploads and analyses, unless a task uses it or its content is being read.
    async fn delete_dataset(&self, id: &DatasetId) -> Result<Deletion, StoreError>;

    /// Adds a task as given, if its data set is there and ready.
    async fn create_task(&self, record: &TaskRecord) -> Result<(), StoreError>;
    /// One task.
    async fn task(&self, id: &TaskId) -> Result<TaskRecord, StoreError>;
    /// A page of tasks, newest first; of one project or of all.
    async fn tasks(
        &self,
        project: Option<&ProjectId>,
        after: Option<&TaskId>,
        limit: u32,
    ) -> Result<Vec<TaskRecord>, StoreError>;
    /// The tasks queued or running, oldest first.
    async fn active_tasks(&self) -> Result<Vec<TaskRecord>, StoreError>;
    /// Sets state and reason if the state is one of `from`. `started_at` is set when it first runs,
    /// `ended_at` when it is over (and emptied when it is resumed).
    async fn update_task_state(
        &self,
        id: &TaskId,
        from: &[TaskState],
        to: TaskState,
        reason: Option<&str>,
        now: i64,
    ) -> Result<bool, StoreError>;
    /// Adds to the seconds spent, by the task and on this day by its project; returns those of the task in all.
    async fn add_spent(&self, id: &TaskId, seconds: f64, now: i64) -> Result<f64, StoreError>;
    /// Adds to the budget and returns it. What was not limited stays so.
    async fn extend_budget(&self, id: &TaskId, add: &Budget, now: i64) -> Result<Budget, StoreError>;
    /// Sets the best model if it is `expected` now, so that of two workers that both found a better one
    /// the second looks again.
    async fn set_best_model(
        &self,
        id: &TaskId,
        expected: Option<&ModelId>,
        best: &ModelId,
        now: i64,
    ) -> Result<bool, StoreError>;

    /// Adds a fleet and its tasks, one for each member and in their order, if the data set is there and ready.
    async fn create_fleet(&self, record: &FleetRecord, tasks: &[TaskRecord]) -> Result<(), StoreError>;
    /// One fleet.
    async fn fleet(&self, id: &FleetId) -> Result<FleetRecord, StoreError>;
    /// A page of fleets, newest first; of one project or of all.
    async fn fleets(
        &self,
        project: Option<&ProjectId>,
        after: Option<&FleetId>,
        limit: u32,
    ) -> Result<Vec<FleetRecord>, StoreError>;
    /// The queued tasks that wait for an earlier one of their fleet to be over.
    async fn held_tasks(&self) -> Result<BTreeSet<TaskId>, StoreError>;

    /// Adds a trial as given, without results. [`StoreError::Exists`] when the task has one of this number.
    async fn create_trial(&self, record: &TrialRecord) -> Result<(), StoreError>;
    /// One trial with its results.
    async fn trial(&self, id: &TrialId) -> Result<TrialRecord, StoreError>;
    /// A page of a task's trials by number; `after` is the last number of the page before.
    async fn trials(&self, task: &TaskId, after: Option<u32>, limit: u32) -> Result<Vec<TrialRecord>, StoreError>;
    /// Every trial of a task by number.
    async fn all_trials(&self, task: &TaskId) -> Result<Vec<TrialRecord>, StoreError>;
    /// How many trials are in each state, of a task or of all; states of none are left out.
    async fn trial_counts(&self, task: Option<&TaskId>) -> Result<BTreeMap<TrialState, u64>, StoreError>;
    /// Paused after `from_rung` -> waiting for `to_rung`.
    async fn promote_trial(
        &self,
        id: &TrialId,
        from_rung: u32,
        to_rung: u32,
        target_epochs: u32,
        now: i64,
    ) -> Result<bool, StoreError>;
    /// Waiting for `rung` -> running, with a new token, if the task is not over. `None` if not.
    async fn claim_trial(
        &self,
        id: &TrialId,
        rung: u32,
        worker: &str,
        now: i64,
    ) -> Result<Option<TrialRecord>, StoreError>;
    /// The worker lives; renews the lease unless the trial is lost.
    async fn heartbeat(&self, id: &TrialId, token: i64, now: i64) -> Result<Beat, StoreError>;
    /// Running -> paused, its result and checkpoint kept. A result comes in also when the task is over.
    async fn finish_rung(
        &self,
        id: &TrialId,
        token: i64,
        result: &RungResult,
        checkpoint: &str,
        now: i64,
    ) -> Result<bool, StoreError>;
    /// -> `failed` or `pruned` (or `complete`): from running with this token, or, without a token, from
    /// waiting, running or paused.
    async fn fail_trial(
        &self,
        id: &TrialId,
        token: Option<i64>,
        to: TrialState,
        reason: &str,
        now: i64,
    ) -> Result<bool, StoreError>;
    /// Running -> waiting without counting a death: the worker stops in good order.
    async fn release_trial(&self, id: &TrialId, token: i64, now: i64) -> Result<bool, StoreError>;
    /// Every trial of the task in one of `from` -> `to`; returns how many.
    async fn close_trials(
        &self,
        task: &TaskId,
        from: &[TrialState],
        to: TrialState,
        reason: Option<&str>,
        now: i64,
    ) -> Result<u64, StoreError>;
    /// Takes back every running trial whose worker has been silent for more than `lease_ms`:
    /// -> waiting with one death more, or at `max_deaths` -> failed.
    async fn reap(&self, now: i64, lease_ms: i64, max_deaths: u32) -> Result<Vec<Reaped>, StoreError>;
    /// The same at once for one worker known to be dead.
    async fn reap_worker(&self, worker: &str, now: i64, max_deaths: u32) -> Result<Vec<Reaped>, StoreError>;
    /// The jobs of trials of active tasks that have waited since `older_than` or before: to be pushed
    /// again, in case a job was lost.
    async fn waiting_trials(&self, older_than: i64) -> Result<Vec<Job>, StoreError>;

    /// Adds a model; `false` if this trial and rung has one, which then stays.
    async fn add_model(&self, record: &ModelRecord) -> Result<bool, StoreError>;
    /// Puts another card and other files in the place of a model's, if it is of revision `from`, and counts that up.
    async fn revise_model(
        &self,
        id: &ModelId,
        from: u32,
        card: &Value,
        files: &[FileRecord],
        now: i64,
    ) -> Result<bool, StoreError>;
    /// One model.
    async fn model(&self, id: &ModelId) -> Result<ModelRecord, StoreError>;
    /// A task's models, oldest first.
    async fn models(&self, task: &TaskId) -> Result<Vec<ModelRecord>, StoreError>;
    /// The same models' ids, in the same order.
    async fn model_ids(&self, task: &TaskId) -> Result<Vec<ModelId>, StoreError>;

    /// Adds an analysis as given; `false` if one of its kind and subject is waiting or running.
    async fn create_analysis(&self, record: &AnalysisRecord) -> Result<bool, StoreError>;
    /// One analysis.
    async fn analysis(&self, id: &AnalysisId) -> Result<AnalysisRecord, StoreError>;
    /// The newest analysis of a kind and subject.
    async fn latest_analysis(&self, kind: AnalysisKind, subject: &str) -> Result<Option<AnalysisRecord>, StoreError>;
    /// The analyses waiting or running, oldest first.
    async fn open_analyses(&self) -> Result<Vec<AnalysisRecord>, StoreError>;
    /// Sets what the update says if the state is one of `from`.
    async fn update_analysis(
        &self,
        id: &AnalysisId,
        from: &[AnalysisState],
        update: &AnalysisUpdate,
        now: i64,
    ) -> Result<bool, StoreError>;

    /// Adds a draft data set as given.
    async fn create_draft(&self, record: &DraftRecord) -> Result<(), StoreError>;
    /// One draft.
    async fn draft(&self, id: &DraftId) -> Result<DraftRecord, StoreError>;
    /// A page of drafts, newest first; of one project or of all.
    async fn drafts(
        &self,
        project: Option<&ProjectId>,
        after: Option<&DraftId>,
        limit: u32,
    ) -> Result<Vec<DraftRecord>, StoreError>;
    /// How far a draft's labelling is; of an unknown one all are 0.
    async fn draft_counts(&self, id: &DraftId) -> Result<DraftCounts, StoreError>;
    /// Adds the classes that are not there; returns all.
    async fn add_draft_classes(&self, id: &DraftId, add: &[String], now: i64) -> Result<Vec<String>, StoreError>;
    /// Removes a draft and its examples.
    async fn delete_draft(&self, id: &DraftId) -> Result<(), StoreError>;
    /// The keys of all files that hold pictures of drafts.
    async fn draft_packs(&self) -> Result<BTreeSet<String>, StoreError>;
    /// Adds pictures, numbered on from those there, without suggestions. What the draft had before with the same content is
    /// left out, and a path that is taken gets a number. Returns how many were added.
    async fn add_draft_examples(
        &self,
        id: &DraftId,
        examples: &[DraftExampleRecord],
        now: i64,
    ) -> Result<u64, StoreError>;
    /// One picture of a draft.
    async fn draft_example(&self, id: &DraftId, number: u32) -> Result<DraftExampleRecord, StoreError>;
    /// A page of a draft's pictures; `after` is the number of the last of the page before, which must be there if the order
    /// is by doubt.
    async fn draft_examples(
        &self,
        id: &DraftId,
        filter: &DraftFilter,
        after: Option<u32>,
        limit: u32,
    ) -> Result<Vec<DraftExampleRecord>, StoreError>;
    /// Sets what a person says of a picture; returns it as it is then.
    async fn label_draft_example(
        &self,
        id: &DraftId,
        number: u32,
        state: DraftState,
        label: Option<&Annotation>,
        now: i64,
    ) -> Result<DraftExampleRecord, StoreError>;
    /// Sets what a model says of pictures; numbers that are not there are passed over.
    async fn suggest_draft_labels(
        &self,
        id: &DraftId,
        model: &ModelId,
        suggestions: &[Suggestion],
    ) -> Result<(), StoreError>;
    /// Makes the suggestions of pictures without a label their labels: of these numbers, if any are given, and with a doubt of
    /// at most so much, if that is given. Returns the numbers of those that are labelled by it.
    async fn accept_suggestions(
        &self,
        id: &DraftId,
        numbers: Option<&[u32]>,
        at_most: Option<f64>,
        now: i64,
    ) -> Result<Vec<u32>, StoreError>;

    /// Adds an event; returns its id.
    async fn append_event(&self, task: &TaskId, kind: &str, data: &Value, now: i64) -> Result<i64, StoreError>;
    /// A task's events after this id (0: from the first).
    async fn events_after(&self, task: &TaskId, id: i64, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// Adds the worker or renews its record.
    async fn worker_seen(&self, record: &WorkerRecord) -> Result<(), StoreError>;
    /// Every worker not gone, by name.
    async fn workers(&self) -> Result<Vec<WorkerRecord>, StoreError>;
    /// Removes the worker's record; whether there was one.
    async fn worker_gone(&self, name: &str) -> Result<bool, StoreError>;

    /// Looks an Idempotency-Key up and takes it if it is new. Keys are forgotten after 24 hours; one whose
    /// request never ended (the server was killed) after 5 minutes.
    async fn remember(&self, scope: &str, key: &str, body_hash: &str, now: i64) -> Result<Remembered, StoreError>;
    /// Keeps the answer to a remembered request.
    async fn complete_idempotent(&self, scope: &str, key: &str, response: &SavedResponse) -> Result<(), StoreError>;
    /// Forgets a request that failed, so that it may be tried again.
    async fn forget_idempotent(&self, scope: &str, key: &str) -> Result<(), StoreError>;
}
