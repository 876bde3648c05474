//! [`Metadata`] in SQL that SQLite and PostgreSQL both speak.
//!
//! These files are compiled once for each database, as a child of [`crate::sqlite`] and of [`crate::postgres`], whose
//! `dialect` gives the types of sqlx and says how a transaction begins: so each query is written once, and what it binds
//! and reads is checked for both.

mod analyses;
mod datasets;
mod drafts;
mod duties;
mod events;
mod figures;
mod fleets;
mod idempotency;
mod keys;
mod leases;
mod models;
mod projects;
mod removals;
mod tasks;
mod trials;
mod uploads;
mod webhooks;
mod workers;

use super::dialect::{Db, DbPool, DbRow};
use async_trait::async_trait;
use kindling_spec::{
    AnalysisId, AnalysisKind, AnalysisState, Budget, DatasetId, DatasetState, DraftId, FleetId, KeyId, ModelId,
    ProjectId, TaskId, TaskState, TrialId, TrialState, UploadId, WebhookId,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Decode, Row as _, Transaction, Type};
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    AnalysisRecord, AnalysisUpdate, Annotation, Beat, DatasetRecord, DatasetUpdate, Deletion, Delivered,
    DeliveryRecord, DeliveryState, DraftCounts, DraftExampleRecord, DraftFilter, DraftRecord, DraftState, DutyRecord,
    Event, FileRecord, FleetRecord, Job, KeyRecord, Metadata, ModelRecord, Noun, PartRecord, ProjectRecord, Quota,
    Reaped, Remembered, Removal, RungFigures, RungResult, SavedResponse, StoreError, StoredBytes, Suggestion,
    TaskRecord, TrialRecord, UploadRecord, Usage, WebhookRecord, WorkerRecord, owners::Owners,
};

pub(crate) type Result<T, E = StoreError> = std::result::Result<T, E>;
pub(crate) type Tx = Transaction<'static, Db>;

/// Records in one database.
pub(crate) struct SqlMetadata {
    pub(super) writer: DbPool,
    pub(super) reader: DbPool,
    pub(super) owners: Owners,
}

/// A row being read, with the names to tell when it cannot be.
struct Row<'r> {
    row: &'r DbRow,
    table: &'static str,
}

impl<'r> Row<'r> {
    fn get<T: Decode<'r, Db> + Type<Db>>(&self, column: &'static str) -> Result<T> {
        Ok(self.row.try_get(column)?)
    }

    /// A whole number that is not negative and fits.
    fn count<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T> {
        let value: i64 = self.get(column)?;
        T::try_from(value).map_err(|_| self.corrupt(column, format!("{value} is out of range")))
    }

    fn count_or_none<T: TryFrom<i64>>(&self, column: &'static str) -> Result<Option<T>> {
        match self.get::<Option<i64>>(column)? {
            Some(_) => self.count(column).map(Some),
            None => Ok(None),
        }
    }

    /// An id or a state: what is a string in JSON.
    fn word<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        let value: String = self.get(column)?;
        serde_json::from_value(Value::String(value)).map_err(|error| self.corrupt(column, error.to_string()))
    }

    fn word_or_none<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>> {
        match self.get::<Option<&str>>(column)? {
            Some(_) => self.word(column).map(Some),
            None => Ok(None),
        }
    }

    fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        let value: &str = self.get(column)?;
        serde_json::from_str(value).map_err(|error| self.corrupt(column, error.to_string()))
    }

    fn json_or_none<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>> {
        match self.get::<Option<&str>>(column)? {
            Some(_) => self.json(column).map(Some),
            None => Ok(None),
        }
    }

    fn corrupt(&self, column: &'static str, reason: String) -> StoreError {
        let id = ["id", "trial", "name"].into_iter().find_map(|name| self.row.try_get::<String, _>(name).ok());
        StoreError::Corrupt { table: self.table, column, id: id.unwrap_or_default(), reason }
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

fn json_or_none<T: Serialize>(value: &Option<T>) -> Result<Option<String>> {
    value.as_ref().map(json).transpose()
}

/// States as a JSON array, for `IN (SELECT value FROM json_each(?))`.
fn words(states: &[&'static str]) -> Result<String> {
    json(&states)
}

fn finite(what: &'static str, value: f64) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(StoreError::NotFinite { what, given: value }) }
}

/// The databases' integers are signed; sizes and counts here never come near the limit.
fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Tells a doubled key and a missing parent from other errors.
fn constraint(
    error: sqlx::Error,
    doubled: impl FnOnce() -> StoreError,
    missing: impl FnOnce() -> StoreError,
) -> StoreError {
    match error.as_database_error() {
        Some(e) if e.is_unique_violation() => doubled(),
        Some(e) if e.is_foreign_key_violation() => missing(),
        _ => error.into(),
    }
}

/// The row of a table that has this id.
async fn row(db: &SqlMetadata, table: &'static str, what: Noun, id: &str) -> Result<DbRow> {
    let sql = format!("SELECT * FROM {table} WHERE id = $1");
    let row = sqlx::query(AssertSqlSafe(sql)).bind(id).fetch_optional(&db.reader).await?;
    row.ok_or_else(|| StoreError::NotFound { what, id: id.to_owned() })
}

/// A page of a table's rows, newest first; of one project or of all.
async fn page(
    db: &SqlMetadata,
    table: &'static str,
    project: Option<&ProjectId>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<DbRow>> {
    let sql = format!(
        "SELECT * FROM {table} WHERE ($1 IS NULL OR id < $1) AND ($2 IS NULL OR project = $2) ORDER BY id DESC LIMIT $3"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(project.map(ProjectId::as_str)).bind(i64::from(limit));
    Ok(rows.fetch_all(&db.reader).await?)
}

#[async_trait]
impl Metadata for SqlMetadata {
    async fn ping(&self) -> Result<()> {
        self.write().await?.rollback().await?;
        Ok(())
    }
    async fn now(&self) -> Result<Option<i64>> {
        self.clock().await
    }
    async fn take_duty(&self, duty: &str, who: &str, now: i64, until: i64) -> Result<bool> {
        duties::take(self, duty, who, now, until).await
    }
    async fn leave_duty(&self, duty: &str, who: &str) -> Result<()> {
        duties::leave(self, duty, who).await
    }

    async fn duties(&self) -> Result<Vec<DutyRecord>> {
        duties::all(self).await
    }

    async fn rung_figures(&self) -> Result<BTreeMap<u32, RungFigures>> {
        figures::rungs(self).await
    }
    async fn oldest_waiting(&self) -> Result<Option<i64>> {
        figures::oldest_waiting(self).await
    }
    async fn stored_bytes(&self) -> Result<Vec<StoredBytes>> {
        figures::stored(self).await
    }

    async fn delete_task(&self, id: &TaskId) -> Result<Deletion> {
        removals::task(self, id).await
    }
    async fn delete_fleet(&self, id: &FleetId) -> Result<Deletion> {
        removals::fleet(self, id).await
    }
    async fn delete_model(&self, id: &ModelId) -> Result<Deletion> {
        removals::model(self, id).await
    }
    async fn expire_studies(&self, ended_before: i64, now: i64) -> Result<u64> {
        removals::expire_studies(self, ended_before, now).await
    }
    async fn expire_deliveries(&self, before: i64) -> Result<u64> {
        removals::expire_deliveries(self, before).await
    }
    async fn removals(&self, limit: u32) -> Result<Vec<Removal>> {
        removals::list(self, limit).await
    }
    async fn removed(&self, removal: &Removal) -> Result<()> {
        removals::done(self, removal).await
    }

    async fn create_project(&self, record: &ProjectRecord) -> Result<()> {
        projects::create(self, record).await
    }
    async fn project(&self, id: &ProjectId) -> Result<ProjectRecord> {
        projects::get(self, id).await
    }
    async fn projects(&self) -> Result<Vec<ProjectRecord>> {
        projects::all(self).await
    }
    async fn set_quota(&self, id: &ProjectId, quota: &Quota) -> Result<()> {
        projects::set_quota(self, id, quota).await
    }
    async fn usage(&self, id: &ProjectId, now: i64) -> Result<Usage> {
        projects::usage(self, id, now).await
    }
    async fn project_of(&self, what: Noun, id: &str) -> Result<Option<ProjectId>> {
        if let Some(project) = self.owners.get(what, id) {
            return Ok(Some(project));
        }
        let found = projects::of(self, what, id).await?;
        if let Some(project) = &found {
            self.owners.put(what, id, project);
        }
        Ok(found)
    }

    async fn create_key(&self, record: &KeyRecord) -> Result<()> {
        keys::create(self, record).await
    }
    async fn key(&self, id: &KeyId) -> Result<KeyRecord> {
        keys::get(self, id).await
    }
    async fn keys(&self, project: Option<&ProjectId>) -> Result<Vec<KeyRecord>> {
        keys::all(self, project).await
    }
    async fn revoke_key(&self, id: &KeyId, now: i64) -> Result<bool> {
        keys::revoke(self, id, now).await
    }

    async fn create_upload(&self, record: &UploadRecord) -> Result<()> {
        uploads::create(self, record).await
    }
    async fn upload(&self, id: &UploadId) -> Result<UploadRecord> {
        uploads::get(self, id).await
    }
    async fn add_part(&self, id: &UploadId, part: &PartRecord) -> Result<()> {
        uploads::add_part(self, id, part).await
    }
    async fn delete_upload(&self, id: &UploadId) -> Result<bool> {
        removals::upload(self, id).await
    }
    async fn uploads_before(&self, time: i64) -> Result<Vec<UploadRecord>> {
        uploads::before(self, time).await
    }

    async fn create_webhook(&self, record: &WebhookRecord) -> Result<()> {
        webhooks::create(self, record).await
    }
    async fn webhook(&self, id: &WebhookId) -> Result<WebhookRecord> {
        webhooks::get(self, id).await
    }
    async fn webhooks(&self, project: &ProjectId) -> Result<Vec<WebhookRecord>> {
        webhooks::of_project(self, project).await
    }
    async fn delete_webhook(&self, id: &WebhookId) -> Result<bool> {
        webhooks::delete(self, id).await
    }
    async fn take_deliveries(&self, now: i64, until: i64, limit: u32) -> Result<Vec<DeliveryRecord>> {
        webhooks::take(self, now, until, limit).await
    }
    async fn delivered(&self, id: i64, outcome: &Delivered) -> Result<()> {
        webhooks::delivered(self, id, outcome).await
    }
    async fn deliveries(&self, id: &WebhookId, limit: u32) -> Result<Vec<DeliveryState>> {
        webhooks::states(self, id, limit).await
    }

    async fn create_dataset(&self, record: &DatasetRecord) -> Result<()> {
        datasets::create(self, record).await
    }
    async fn dataset(&self, id: &DatasetId) -> Result<DatasetRecord> {
        datasets::get(self, id).await
    }
    async fn datasets(
        &self,
        project: Option<&ProjectId>,
        after: Option<&DatasetId>,
        limit: u32,
    ) -> Result<Vec<DatasetRecord>> {
        datasets::page(self, project, after, limit).await
    }
    async fn update_dataset(
        &self,
        id: &DatasetId,
        from: &[DatasetState],
        update: &DatasetUpdate,
        now: i64,
    ) -> Result<bool> {
        datasets::update(self, id, from, update, now).await
    }
    async fn set_bytes(&self, what: Noun, id: &str, bytes: u64) -> Result<()> {
        projects::set_bytes(self, what, id, bytes).await
    }
    async fn delete_dataset(&self, id: &DatasetId) -> Result<Deletion> {
        datasets::delete(self, id).await
    }

    async fn create_task(&self, record: &TaskRecord) -> Result<()> {
        tasks::create(self, record).await
    }
    async fn task(&self, id: &TaskId) -> Result<TaskRecord> {
        tasks::get(self, id).await
    }
    async fn tasks(&self, project: Option<&ProjectId>, after: Option<&TaskId>, limit: u32) -> Result<Vec<TaskRecord>> {
        tasks::page(self, project, after, limit).await
    }
    async fn active_tasks(&self) -> Result<Vec<TaskRecord>> {
        tasks::active(self).await
    }
    async fn update_task_state(
        &self,
        id: &TaskId,
        from: &[TaskState],
        to: TaskState,
        reason: Option<&str>,
        now: i64,
    ) -> Result<bool> {
        tasks::update_state(self, id, from, to, reason, now).await
    }
    async fn add_spent(&self, id: &TaskId, seconds: f64, now: i64) -> Result<f64> {
        tasks::add_spent(self, id, seconds, now).await
    }
    async fn extend_budget(&self, id: &TaskId, add: &Budget, now: i64) -> Result<Budget> {
        tasks::extend_budget(self, id, add, now).await
    }
    async fn set_best_model(&self, id: &TaskId, expected: Option<&ModelId>, best: &ModelId, now: i64) -> Result<bool> {
        tasks::set_best_model(self, id, expected, best, now).await
    }

    async fn create_fleet(&self, record: &FleetRecord, tasks: &[TaskRecord]) -> Result<()> {
        fleets::create(self, record, tasks).await
    }
    async fn fleet(&self, id: &FleetId) -> Result<FleetRecord> {
        fleets::get(self, id).await
    }
    async fn fleets(
        &self,
        project: Option<&ProjectId>,
        after: Option<&FleetId>,
        limit: u32,
    ) -> Result<Vec<FleetRecord>> {
        fleets::page(self, project, after, limit).await
    }
    async fn held_tasks(&self) -> Result<BTreeSet<TaskId>> {
        fleets::held(self).await
    }

    async fn create_trial(&self, record: &TrialRecord) -> Result<()> {
        trials::create(self, record).await
    }
    async fn trial(&self, id: &TrialId) -> Result<TrialRecord> {
        trials::get(self, id).await
    }
    async fn trials(&self, task: &TaskId, after: Option<u32>, limit: u32) -> Result<Vec<TrialRecord>> {
        trials::page(self, task, after, i64::from(limit)).await
    }
    async fn all_trials(&self, task: &TaskId) -> Result<Vec<TrialRecord>> {
        trials::page(self, task, None, i64::MAX).await
    }
    async fn trial_counts(&self, task: Option<&TaskId>) -> Result<BTreeMap<TrialState, u64>> {
        trials::counts(self, task).await
    }
    async fn promote_trial(
        &self,
        id: &TrialId,
        from_rung: u32,
        to_rung: u32,
        target_epochs: u32,
        now: i64,
    ) -> Result<bool> {
        trials::promote(self, id, from_rung, to_rung, target_epochs, now).await
    }
    async fn claim_trial(&self, id: &TrialId, rung: u32, worker: &str, now: i64) -> Result<Option<TrialRecord>> {
        leases::claim(self, id, rung, worker, now).await
    }
    async fn heartbeat(&self, id: &TrialId, token: i64, now: i64) -> Result<Beat> {
        leases::heartbeat(self, id, token, now).await
    }
    async fn finish_rung(
        &self,
        id: &TrialId,
        token: i64,
        result: &RungResult,
        checkpoint: &str,
        now: i64,
    ) -> Result<bool> {
        leases::finish_rung(self, id, token, result, checkpoint, now).await
    }
    async fn fail_trial(
        &self,
        id: &TrialId,
        token: Option<i64>,
        to: TrialState,
        reason: &str,
        now: i64,
    ) -> Result<bool> {
        trials::end(self, id, token, to, reason, now).await
    }
    async fn release_trial(&self, id: &TrialId, token: i64, now: i64) -> Result<bool> {
        leases::release(self, id, token, now).await
    }
    async fn close_trials(
        &self,
        task: &TaskId,
        from: &[TrialState],
        to: TrialState,
        reason: Option<&str>,
        now: i64,
    ) -> Result<u64> {
        trials::close(self, task, from, to, reason, now).await
    }
    async fn reap(&self, now: i64, lease_ms: i64, max_deaths: u32) -> Result<Vec<Reaped>> {
        leases::reap(self, leases::Dead::Silent(lease_ms), now, max_deaths).await
    }
    async fn reap_worker(&self, worker: &str, now: i64, max_deaths: u32) -> Result<Vec<Reaped>> {
        leases::reap(self, leases::Dead::Worker(worker), now, max_deaths).await
    }
    async fn waiting_trials(&self, older_than: i64) -> Result<Vec<Job>> {
        trials::waiting(self, older_than).await
    }

    async fn add_model(&self, record: &ModelRecord) -> Result<bool> {
        models::add(self, record).await
    }
    async fn revise_model(
        &self,
        id: &ModelId,
        from: u32,
        card: &Value,
        files: &[FileRecord],
        now: i64,
    ) -> Result<bool> {
        models::revise(self, id, from, card, files, now).await
    }
    async fn model(&self, id: &ModelId) -> Result<ModelRecord> {
        models::get(self, id).await
    }
    async fn models(&self, task: &TaskId) -> Result<Vec<ModelRecord>> {
        models::of_task(self, task).await
    }
    async fn model_ids(&self, task: &TaskId) -> Result<Vec<ModelId>> {
        models::ids_of_task(self, task).await
    }

    async fn create_analysis(&self, record: &AnalysisRecord) -> Result<bool> {
        analyses::create(self, record).await
    }
    async fn analysis(&self, id: &AnalysisId) -> Result<AnalysisRecord> {
        analyses::get(self, id).await
    }
    async fn latest_analysis(&self, kind: AnalysisKind, subject: &str) -> Result<Option<AnalysisRecord>> {
        analyses::latest(self, kind, subject).await
    }
    async fn open_analyses(&self) -> Result<Vec<AnalysisRecord>> {
        analyses::open(self).await
    }
    async fn update_analysis(
        &self,
        id: &AnalysisId,
        from: &[AnalysisState],
        update: &AnalysisUpdate,
        now: i64,
    ) -> Result<bool> {
        analyses::update(self, id, from, update, now).await
    }

    async fn create_draft(&self, record: &DraftRecord) -> Result<()> {
        drafts::create(self, record).await
    }
    async fn draft(&self, id: &DraftId) -> Result<DraftRecord> {
        drafts::get(self, id).await
    }
    async fn drafts(
        &self,
        project: Option<&ProjectId>,
        after: Option<&DraftId>,
        limit: u32,
    ) -> Result<Vec<DraftRecord>> {
        drafts::page(self, project, after, limit).await
    }
    async fn draft_counts(&self, id: &DraftId) -> Result<DraftCounts> {
        drafts::counts(self, id).await
    }
    async fn add_draft_classes(&self, id: &DraftId, add: &[String], now: i64) -> Result<Vec<String>> {
        drafts::add_classes(self, id, add, now).await
    }
    async fn delete_draft(&self, id: &DraftId) -> Result<()> {
        removals::draft(self, id).await
    }
    async fn draft_packs(&self) -> Result<BTreeSet<String>> {
        drafts::packs(self).await
    }
    async fn add_draft_examples(&self, id: &DraftId, examples: &[DraftExampleRecord], now: i64) -> Result<u64> {
        drafts::add_examples(self, id, examples, now).await
    }
    async fn draft_example(&self, id: &DraftId, number: u32) -> Result<DraftExampleRecord> {
        drafts::example(self, id, number).await
    }
    async fn draft_examples(
        &self,
        id: &DraftId,
        filter: &DraftFilter,
        after: Option<u32>,
        limit: u32,
    ) -> Result<Vec<DraftExampleRecord>> {
        drafts::examples(self, id, filter, after, limit).await
    }
    async fn label_draft_example(
        &self,
        id: &DraftId,
        number: u32,
        state: DraftState,
        label: Option<&Annotation>,
        now: i64,
    ) -> Result<DraftExampleRecord> {
        drafts::label(self, id, number, state, label, now).await
    }
    async fn suggest_draft_labels(&self, id: &DraftId, model: &ModelId, suggestions: &[Suggestion]) -> Result<()> {
        drafts::suggest(self, id, model, suggestions).await
    }
    async fn accept_suggestions(
        &self,
        id: &DraftId,
        numbers: Option<&[u32]>,
        at_most: Option<f64>,
        now: i64,
    ) -> Result<Vec<u32>> {
        drafts::accept(self, id, numbers, at_most, now).await
    }

    async fn append_event(&self, task: &TaskId, kind: &str, data: &Value, now: i64) -> Result<i64> {
        events::append(self, task, kind, data, now).await
    }
    async fn events_after(&self, task: &TaskId, id: i64, limit: u32) -> Result<Vec<Event>> {
        events::after(self, task, id, limit).await
    }

    async fn worker_seen(&self, record: &WorkerRecord) -> Result<()> {
        workers::seen(self, record).await
    }
    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        workers::all(self).await
    }
    async fn worker_gone(&self, name: &str) -> Result<bool> {
        workers::gone(self, name).await
    }

    async fn remember(&self, scope: &str, key: &str, body_hash: &str, now: i64) -> Result<Remembered> {
        idempotency::remember(self, scope, key, body_hash, now).await
    }
    async fn complete_idempotent(&self, scope: &str, key: &str, response: &SavedResponse) -> Result<()> {
        idempotency::complete(self, scope, key, response).await
    }
    async fn forget_idempotent(&self, scope: &str, key: &str) -> Result<()> {
        idempotency::forget(self, scope, key).await
    }
}
