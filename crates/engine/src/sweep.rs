//! What is cleared away: the files of what was deleted, and what only a study at work needs, once it is old.

use kindling_spec::{ErrorCode, FleetId, ModelId, TaskId};
use kindling_store::{Deletion, Noun, Removal, StoreError};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::models::{REVISIONS, answers_key, bundle_key, mistakes_key};
use crate::{EngineError, Service, analysis, clock::now_ms, datasets, drafts, duty::Duty, uploads};

/// How often files of what was deleted are looked for: often enough to keep the duty.
const OFTEN: Duration = Duration::from_secs(5);
/// How often it is looked for what has grown old.
const SELDOM: Duration = Duration::from_secs(3600);
/// A worker that was silent for so long is not coming back: its machine died with it. Nor comes the record that it would
/// have written of files as old.
const WORKER_MS: i64 = 24 * 3_600_000;
/// Things whose files are removed at a time.
const AT_A_TIME: u32 = 100;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long is kept what nobody made or downloads; `None` is for ever. Data sets, drafts, tasks, trials' results, models and
/// their files stay until a person deletes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// After the end of a study: events, and checkpoints of trials without a model.
    pub trials: Option<Duration>,
    /// After its beginning: an upload in parts that nobody completed.
    pub uploads: Option<Duration>,
    /// After its end: what became of a delivery to a webhook.
    pub deliveries: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { trials: Some(30 * DAY), uploads: Some(7 * DAY), deliveries: Some(30 * DAY) }
    }
}

/// The moment so long ago.
fn before(now: i64, kept: Option<Duration>) -> Option<i64> {
    Some(now.saturating_sub(i64::try_from(kept?.as_millis()).unwrap_or(i64::MAX)))
}

impl Service {
    /// Deletes a task that is over, with its trials and models. What began from one of its models goes on from nothing.
    ///
    /// # Errors
    /// It is not over, a worker has not let go of it yet, it is of a fleet, or there is none of this id.
    pub async fn delete_task(&self, id: &TaskId) -> Result<(), EngineError> {
        match self.store().meta.delete_task(id).await? {
            Deletion::Deleted => {
                self.forget_task(id);
                self.clear_away().await;
                Ok(())
            }
            Deletion::Busy => Err(EngineError::refused(
                ErrorCode::TaskState,
                format!(
                    "task {id} is at work: cancel it, and delete it seconds later, when its workers have let go of it"
                ),
            )),
            Deletion::InUse => Err(EngineError::refused(
                ErrorCode::TaskState,
                format!("task {id} is of a fleet, which would miss it: delete the fleet"),
            )),
            Deletion::NotFound => {
                let detail = format!("there is no task {id}; GET /v1/tasks lists those there are");
                Err(EngineError::refused(ErrorCode::TaskNotFound, detail))
            }
        }
    }

    /// Deletes a fleet with its tasks, all of which are over.
    ///
    /// # Errors
    /// One is not over, or a worker has not let go of it yet, or there is none of this id.
    pub async fn delete_fleet(&self, id: &FleetId) -> Result<(), EngineError> {
        let missing = || {
            let detail = format!("there is no fleet {id}; GET /v1/fleets lists those there are");
            EngineError::refused(ErrorCode::FleetNotFound, detail)
        };
        let members = self.store().meta.fleet(id).await.map_err(|_| missing())?.members;
        match self.store().meta.delete_fleet(id).await? {
            Deletion::Deleted => {
                members.iter().for_each(|member| self.forget_task(&member.task));
                self.clear_away().await;
                Ok(())
            }
            Deletion::Busy | Deletion::InUse => Err(EngineError::refused(
                ErrorCode::FleetState,
                format!(
                    "fleet {id} is at work: cancel it, and delete it seconds later, when its workers have let go of it"
                ),
            )),
            Deletion::NotFound => Err(missing()),
        }
    }

    /// Deletes a model of a task that is over; was it the best, the next takes its place.
    ///
    /// # Errors
    /// Its task is not over, or there is none of this id.
    pub async fn delete_model(&self, id: &ModelId) -> Result<(), EngineError> {
        let task = self.model(id).await?.task;
        match self.store().meta.delete_model(id).await? {
            Deletion::Deleted => {
                self.model_cache().forget(id);
                self.board_cache().forget(&task);
                self.clear_away().await;
                Ok(())
            }
            Deletion::Busy | Deletion::InUse => Err(EngineError::refused(
                ErrorCode::TaskState,
                format!("model {id} is of task {task}, which is at work: delete it when that is over"),
            )),
            Deletion::NotFound => {
                Err(EngineError::refused(ErrorCode::ModelNotFound, format!("there is no model {id}")))
            }
        }
    }

    fn forget_task(&self, id: &TaskId) {
        self.plan_cache().forget(id);
        self.board_cache().forget(id);
    }

    /// Removes the files of everything that was deleted. What fails is tried again by the sweeper.
    pub(crate) async fn clear_away(&self) {
        loop {
            let open = match self.store().meta.removals(AT_A_TIME).await {
                Ok(open) => open,
                Err(error) => {
                    tracing::warn!(%error, "what was deleted is cleared away later");
                    return;
                }
            };
            // What failed stays first in the list; it is not tried again and again.
            let mut whole = open.len() == AT_A_TIME as usize;
            for removal in &open {
                let cleared = async {
                    self.remove_files(removal).await?;
                    Ok::<_, EngineError>(self.store().meta.removed(removal).await?)
                };
                if let Err(error) = cleared.await {
                    tracing::warn!(%error, what = %removal.what, id = removal.id, "its files are removed later");
                    whole = false;
                }
            }
            if !whole {
                return;
            }
        }
    }

    async fn remove_files(&self, removal: &Removal) -> Result<(), EngineError> {
        let id = &removal.id;
        let unreadable =
            |_| EngineError::refused(ErrorCode::Internal, format!("`{id}` is no id of a {}", removal.what));
        let (single, below) = match removal.what {
            Noun::Dataset => (vec![], vec![datasets::key(&id.parse().map_err(unreadable)?)]),
            Noun::Draft => (vec![], vec![drafts::key(&id.parse().map_err(unreadable)?)]),
            Noun::Upload => (vec![], vec![uploads::prefix(&id.parse().map_err(unreadable)?)]),
            Noun::Task | Noun::Trial => (vec![], vec![format!("checkpoints/{id}")]),
            Noun::Analysis => (vec![analysis::file_key(&id.parse().map_err(unreadable)?)], vec![]),
            Noun::Model => {
                let id = id.parse().map_err(unreadable)?;
                // A process that was killed while it added files has left some of a revision that no record names.
                let bundles = REVISIONS.map(|revision| bundle_key(&id, revision)).to_vec();
                (vec![mistakes_key(&id), answers_key(&id)], bundles)
            }
            // These have no files of their own.
            Noun::Fleet | Noun::DraftExample | Noun::File | Noun::Project | Noun::Key | Noun::Webhook => {
                (vec![], vec![])
            }
        };
        let files = &self.store().files;
        for key in &single {
            files.delete(key).await?;
        }
        for prefix in &below {
            files.delete_prefix(prefix).await?;
        }
        Ok(())
    }

    /// Removes what is older than it is kept.
    ///
    /// # Errors
    /// The store failed; the rest is removed the next time.
    pub async fn expire(&self, retention: &Retention, now: i64) -> Result<(), EngineError> {
        let meta = &self.store().meta;
        if let Some(time) = before(now, retention.deliveries) {
            meta.expire_deliveries(time).await?;
        }
        if let Some(time) = before(now, retention.trials) {
            let count = meta.expire_studies(time, now).await?;
            if count > 0 {
                tracing::info!(count, "checkpoints and events of studies that ended long ago are removed");
            }
        }
        if let Some(time) = before(now, retention.uploads) {
            for upload in meta.uploads_before(time).await? {
                tracing::info!(upload = %upload.id, dataset = %upload.dataset, "an upload that nobody completed is dropped");
                meta.delete_upload(&upload.id).await?;
            }
        }
        for worker in meta.workers().await?.iter().filter(|worker| worker.seen_at < now.saturating_sub(WORKER_MS)) {
            meta.worker_gone(&worker.name).await?;
        }
        self.clear_away().await;
        self.remove_strays(now.saturating_sub(WORKER_MS)).await
    }

    /// Removes bundles and checkpoints, written before a time, that are of no model and no task: a worker was killed before
    /// it wrote the record, or wrote the files after the task was deleted.
    async fn remove_strays(&self, before: i64) -> Result<(), EngineError> {
        let (files, meta) = (&self.store().files, &self.store().meta);
        for (folder, what) in [("models", Noun::Model), ("checkpoints", Noun::Task)] {
            // `models/ID/…`, `models/ID-1/…`, `checkpoints/ID/…`.
            let id = |key: String| Some(key.split('/').nth(1)?.split('-').next()?.to_owned());
            let ids: BTreeSet<String> = files.list_older(folder, before).await?.into_iter().filter_map(id).collect();
            for id in ids {
                let record = match (what, id.parse(), id.parse()) {
                    (Noun::Model, Ok(id), _) => meta.model(&id).await.map(drop),
                    (Noun::Task, _, Ok(id)) => meta.task(&id).await.map(drop),
                    _ => continue,
                };
                match record {
                    Ok(()) => {}
                    Err(StoreError::NotFound { .. }) => {
                        tracing::info!(%what, id, "files that no record names are removed");
                        self.remove_files(&Removal { what, id }).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// Clears away until told to stop. Of several over the same records one works.
pub async fn run_sweeper(service: Service, retention: Retention, shutdown: CancellationToken) {
    let mut duty = Duty::new(service.clone(), "clearing away");
    let mut expired = None;
    loop {
        if let Err(error) = sweep(&service, &retention, &mut duty, &mut expired).await {
            tracing::warn!(%error, "what is old could not be removed; it is tried again");
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(OFTEN) => {}
        }
    }
    duty.leave().await;
}

async fn sweep(
    service: &Service,
    retention: &Retention,
    duty: &mut Duty,
    expired: &mut Option<Instant>,
) -> Result<(), EngineError> {
    if !duty.is_mine().await? {
        return Ok(());
    }
    if expired.is_some_and(|at| at.elapsed() < SELDOM) {
        service.clear_away().await;
        return Ok(());
    }
    *expired = Some(Instant::now());
    service.expire(retention, now_ms()).await
}
