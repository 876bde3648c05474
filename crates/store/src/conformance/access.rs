//! Projects, keys, uploads, webhooks, duties, and what a project sees.

use kindling_spec::{DatasetState, ErrorCode, KeyId, ProjectId, Scope, TaskState, UploadId, WebhookId};
use serde_json::json;
use std::sync::Arc;

use super::{Checked, dataset, running_task, task, trial};
use crate::{
    DatasetRecord, Deletion, Delivered, KeyRecord, Metadata, Noun, PartRecord, ProjectRecord, Quota, Remembered,
    SavedResponse, StoreError, TaskRecord, UploadRecord, WebhookRecord, scoped::Scoped,
};

const DAY_MS: i64 = 24 * 3600 * 1000;

async fn project(meta: &dyn Metadata) -> Result<ProjectRecord, StoreError> {
    let id = ProjectId::new();
    let record = ProjectRecord { name: format!("project {id}"), id, quota: Quota::default(), created_at: 3 };
    meta.create_project(&record).await?;
    Ok(record)
}

pub(super) async fn projects_and_keys(meta: &dyn Metadata) -> Checked {
    assert_eq!(meta.project(&ProjectId::local()).await?.name, "local");
    let (a, b) = (project(meta).await?, project(meta).await?);
    assert_eq!(meta.project(&a.id).await?, a);
    let named = ProjectRecord { id: ProjectId::new(), ..a.clone() };
    assert!(matches!(meta.create_project(&named).await, Err(StoreError::Exists { what: Noun::Project, .. })));
    let quota = Quota { bytes: Some(1 << 40), running_studies: Some(2), seconds_a_day: None };
    meta.set_quota(&a.id, &quota).await?;
    assert_eq!(meta.project(&a.id).await?.quota, quota);
    assert!(meta.projects().await?.contains(&b));
    assert!(meta.set_quota(&ProjectId::new(), &quota).await.is_err());

    let key = KeyRecord {
        id: KeyId::new(),
        name: "line 3".into(),
        project: a.id.clone(),
        scope: Scope::Write,
        hash: "00ff".into(),
        created_at: 4,
        expires_at: Some(9),
        revoked_at: None,
    };
    meta.create_key(&key).await?;
    assert_eq!(meta.key(&key.id).await?, key);
    assert_eq!(meta.keys(Some(&a.id)).await?, std::slice::from_ref(&key));
    assert!(meta.keys(Some(&b.id)).await?.is_empty() && meta.keys(None).await?.contains(&key));
    assert!(meta.revoke_key(&key.id, 7).await? && !meta.revoke_key(&key.id, 8).await?);
    assert_eq!(meta.key(&key.id).await?.revoked_at, Some(7));
    assert!(!meta.revoke_key(&KeyId::new(), 8).await?);
    let orphan = KeyRecord { id: KeyId::new(), project: ProjectId::new(), ..key };
    assert!(matches!(meta.create_key(&orphan).await, Err(StoreError::NotFound { what: Noun::Project, .. })));
    Ok(())
}

pub(super) async fn uploads(meta: &dyn Metadata) -> Checked {
    let data = dataset(1);
    meta.create_dataset(&data).await?;
    let id = UploadId::new();
    let record = UploadRecord {
        id: id.clone(),
        dataset: data.id.clone(),
        bytes: 25,
        part_bytes: 10,
        parts: Vec::new(),
        created_at: -5,
    };
    meta.create_upload(&record).await?;
    let part = |number, sha256: &str| PartRecord { number, bytes: 10, sha256: sha256.into() };
    for part in [part(1, "aa"), part(0, "bb"), part(1, "cc")] {
        meta.add_part(&id, &part).await?;
    }
    assert_eq!(meta.upload(&id).await?.parts, [part(0, "bb"), part(1, "cc")]);
    assert!(matches!(meta.add_part(&UploadId::new(), &part(0, "")).await, Err(StoreError::NotFound { .. })));
    assert!(meta.uploads_before(0).await?.iter().any(|upload| upload.id == id));
    assert!(meta.uploads_before(-5).await?.iter().all(|upload| upload.id != id));
    assert!(meta.delete_upload(&id).await? && !meta.delete_upload(&id).await?);
    assert!(meta.upload(&id).await.is_err());
    // One that is under way does not hold its data set.
    meta.create_upload(&record).await?;
    meta.add_part(&id, &part(0, "bb")).await?;
    assert_eq!(meta.delete_dataset(&data.id).await?, Deletion::Deleted);
    assert!(meta.upload(&id).await.is_err());
    let unknown = UploadRecord { id: UploadId::new(), ..record };
    assert_eq!(meta.create_upload(&unknown).await.map_err(|e| e.code()), Err(ErrorCode::DatasetNotFound));
    Ok(())
}

pub(super) async fn webhooks(meta: &dyn Metadata) -> Checked {
    let mine = project(meta).await?.id;
    let data = DatasetRecord { state: DatasetState::Ready, project: mine.clone(), ..dataset(1) };
    meta.create_dataset(&data).await?;
    let early = TaskRecord { project: mine.clone(), ..task(&data.id, 1)? };
    meta.create_task(&early).await?;
    let hook = WebhookRecord {
        id: WebhookId::new(),
        project: mine.clone(),
        url: "https://example.org/hook".into(),
        secret: "s".into(),
        created_at: 2,
    };
    meta.create_webhook(&hook).await?;
    assert_eq!((meta.webhook(&hook.id).await?, meta.webhooks(&mine).await?), (hook.clone(), vec![hook.clone()]));
    assert!(meta.take_deliveries(100, 200, 10).await?.is_empty(), "what was before is not told");

    running_task(meta, 3).await?;
    meta.update_task_state(&early.id, &[TaskState::Queued], TaskState::Running, None, 10).await?;
    meta.append_event(&early.id, "trial", &json!({}), 10).await?;
    meta.update_task_state(&early.id, &[TaskState::Running], TaskState::Cancelled, Some("why"), 11).await?;
    assert!(meta.take_deliveries(9, 200, 10).await?.is_empty(), "not due yet");
    let due = meta.take_deliveries(20, 30, 10).await?;
    assert_eq!(due.iter().map(|d| d.event.data["state"].clone()).collect::<Vec<_>>(), ["running", "cancelled"]);
    assert!(due.iter().all(|d| d.webhook == hook && d.failures == 0 && d.event.task == early.id));
    assert!(meta.take_deliveries(29, 60, 10).await?.is_empty(), "another has them");
    meta.delivered(due[0].id, &Delivered::Yes).await?;
    meta.delivered(due[1].id, &Delivered::Later { at: 50, reason: "503".into() }).await?;
    assert!(meta.take_deliveries(49, 60, 10).await?.is_empty());
    let again = meta.take_deliveries(50, 60, 10).await?;
    assert_eq!((again.len(), again[0].id, again[0].failures), (1, due[1].id, 1));
    meta.delivered(due[1].id, &Delivered::Never { reason: "410".into() }).await?;
    assert!(meta.take_deliveries(1000, 2000, 10).await?.is_empty());
    let states = meta.deliveries(&hook.id, 10).await?;
    assert_eq!(
        states.iter().map(|s| (s.state.as_str(), s.failures)).collect::<Vec<_>>(),
        [("given_up", 2), ("delivered", 0)]
    );
    assert_eq!(states[0].reason.as_deref(), Some("410"));

    meta.update_task_state(&early.id, &[TaskState::Cancelled], TaskState::Running, None, 12).await?;
    assert!(meta.delete_webhook(&hook.id).await? && !meta.delete_webhook(&hook.id).await?);
    assert!(meta.take_deliveries(1000, 2000, 10).await?.is_empty(), "nothing is left to deliver");
    Ok(())
}

pub(super) async fn usage(meta: &dyn Metadata) -> Checked {
    let mine = project(meta).await?.id;
    assert_eq!(meta.usage(&mine, 0).await?, crate::Usage::default());
    let data = DatasetRecord { state: DatasetState::Ready, project: mine.clone(), ..dataset(1) };
    meta.create_dataset(&data).await?;
    meta.set_bytes(Noun::Dataset, data.id.as_str(), 1000).await?;
    assert!(meta.set_bytes(Noun::Draft, data.id.as_str(), 1000).await.is_err());
    let posted = TaskRecord { project: mine.clone(), ..task(&data.id, 1)? };
    meta.create_task(&posted).await?;
    meta.add_spent(&posted.id, 2.0, DAY_MS - 1).await?;
    meta.add_spent(&posted.id, 3.0, DAY_MS).await?;
    meta.add_spent(&posted.id, 4.0, DAY_MS + 1).await?;
    let used = meta.usage(&mine, DAY_MS + 5).await?;
    assert_eq!((used.bytes, used.running_studies, used.seconds_today), (1000, 1, 7.0));
    assert_eq!(used.seconds_granted, 51.0, "60 granted, 9 spent");
    let first = trial(&posted.id, 0, 2);
    meta.create_trial(&first).await?;
    meta.add_model(&super::models::model(&first, 0, 3)).await?;
    assert!(meta.usage(&mine, DAY_MS).await?.bytes > 1000, "models count");
    meta.update_task_state(&posted.id, &[TaskState::Queued], TaskState::Complete, None, 3).await?;
    let used = meta.usage(&mine, 3 * DAY_MS).await?;
    assert_eq!((used.running_studies, used.seconds_today, used.seconds_granted), (0, 0.0, 0.0));
    Ok(())
}

pub(super) async fn duties(meta: &dyn Metadata) -> Checked {
    let duty = UploadId::new().to_string();
    assert!(meta.take_duty(&duty, "a", 10, 20).await?);
    assert!(!meta.take_duty(&duty, "b", 15, 25).await?, "a has it");
    assert!(meta.take_duty(&duty, "a", 15, 30).await?, "a keeps it");
    assert!(meta.take_duty(&duty, "b", 31, 40).await?, "a fell silent");
    assert!(!meta.take_duty(&duty, "a", 32, 50).await?);
    meta.leave_duty(&duty, "a").await?;
    assert!(!meta.take_duty(&duty, "a", 33, 50).await?, "one cannot give up another's");
    meta.leave_duty(&duty, "b").await?;
    assert!(meta.take_duty(&duty, "a", 34, 50).await?);
    Ok(())
}

/// What the decorator of [`crate::Store::scoped`] shows.
pub(super) async fn scoped(meta: Arc<dyn Metadata>) -> Checked {
    let (a, b) = (project(&*meta).await?.id, project(&*meta).await?.id);
    let (of_a, of_b) = (Scoped::new(meta.clone(), a.clone()), Scoped::new(meta.clone(), b.clone()));
    let mine = running_task(&of_a, 1).await?;
    assert_eq!(of_a.task(&mine.id).await?, TaskRecord { project: a.clone(), ..mine.clone() });
    assert_eq!(meta.project_of(Noun::Task, mine.id.as_str()).await?, Some(a.clone()));
    let first = trial(&mine.id, 0, 2);
    of_a.create_trial(&first).await?;
    let model = super::models::model(&first, 0, 3);
    of_a.add_model(&model).await?;

    let codes = |error: StoreError| error.code();
    assert_eq!(of_b.dataset(&mine.dataset).await.map_err(codes), Err(ErrorCode::DatasetNotFound));
    assert_eq!(of_b.task(&mine.id).await.map_err(codes), Err(ErrorCode::TaskNotFound));
    assert_eq!(of_b.trial(&first.id).await.map_err(codes), Err(ErrorCode::NotFound));
    assert_eq!(of_b.model(&model.id).await.map_err(codes), Err(ErrorCode::ModelNotFound));
    assert_eq!(of_b.models(&mine.id).await.map_err(codes), Err(ErrorCode::TaskNotFound));
    assert_eq!(of_b.events_after(&mine.id, 0, 10).await.map_err(codes), Err(ErrorCode::TaskNotFound));
    assert_eq!(of_b.delete_dataset(&mine.dataset).await?, Deletion::NotFound);
    assert_eq!(of_b.delete_task(&mine.id).await?, Deletion::NotFound);
    assert_eq!(of_b.delete_model(&model.id).await?, Deletion::NotFound);
    assert!(of_b.stored_bytes().await?.iter().all(|of| of.project == b));
    assert_eq!(of_b.create_task(&task(&mine.dataset, 2)?).await.map_err(codes), Err(ErrorCode::DatasetNotFound));
    let to = TaskState::Cancelled;
    assert!(of_b.update_task_state(&mine.id, &[TaskState::Running], to, None, 5).await.is_err());
    assert!(of_b.datasets(None, None, 10).await?.is_empty() && of_b.tasks(Some(&a), None, 10).await?.is_empty());
    assert!(of_b.active_tasks().await?.is_empty() && of_b.trial_counts(None).await?.is_empty());
    assert_eq!(of_a.tasks(None, None, 10).await?.len(), 1);
    assert_eq!(of_a.trial_counts(None).await?.values().sum::<u64>(), 1);
    assert_eq!(meta.task(&mine.id).await?.state, TaskState::Running, "b changed nothing");

    // The same Idempotency-Key in two projects is two keys.
    let answer = SavedResponse { status: 201, headers: json!([]), body: b"a's".to_vec() };
    assert_eq!(of_a.remember("POST /v1/tasks", "k", "h", 1).await?, Remembered::New);
    of_a.complete_idempotent("POST /v1/tasks", "k", &answer).await?;
    assert_eq!(of_b.remember("POST /v1/tasks", "k", "h", 1).await?, Remembered::New);
    assert_eq!(of_a.remember("POST /v1/tasks", "k", "h", 1).await?, Remembered::Same(answer));
    Ok(())
}
