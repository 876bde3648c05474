//! Data sets, tasks, events, workers, remembered requests.

use kindling_spec::{Budget, DatasetId, DatasetState, ErrorCode, ModelId, TaskId, TaskState};
use serde_json::json;

use super::{Checked, dataset, posted_budget, running_task, task};
use crate::{DatasetUpdate, Deletion, Metadata, Problem, Remembered, SavedResponse, StoreError, WorkerRecord};

pub(super) async fn datasets(meta: &dyn Metadata) -> Checked {
    let made = [dataset(1), dataset(2), dataset(3)];
    for record in &made {
        meta.create_dataset(record).await?;
    }
    let [first, second, third] = &made;
    assert_eq!(&meta.dataset(&first.id).await?, first);
    assert!(matches!(meta.create_dataset(first).await, Err(StoreError::Exists { .. })));
    let missing = meta.dataset(&DatasetId::new()).await.map_err(|error| error.code());
    assert_eq!(missing, Err(ErrorCode::DatasetNotFound));

    // Newest first; a page goes on after the last id of the one before, also when that is gone.
    let page: Vec<_> = meta.datasets(None, None, 2).await?.into_iter().map(|record| record.id).collect();
    assert_eq!(page, [third.id.clone(), second.id.clone()]);
    assert_eq!(meta.datasets(None, Some(&second.id), 1).await?[0].id, first.id);
    assert_eq!(meta.delete_dataset(&second.id).await?, Deletion::Deleted);
    assert_eq!(meta.delete_dataset(&second.id).await?, Deletion::NotFound);
    assert_eq!(meta.datasets(None, Some(&second.id), 1).await?[0].id, first.id);

    // The state moves only from where the caller believes it to be.
    let processing = DatasetUpdate::to(DatasetState::Processing);
    assert!(meta.update_dataset(&first.id, &[DatasetState::Empty, DatasetState::Refused], &processing, 10).await?);
    assert!(!meta.update_dataset(&first.id, &[DatasetState::Empty, DatasetState::Refused], &processing, 11).await?);
    assert!(!meta.update_dataset(&DatasetId::new(), &[DatasetState::Empty], &processing, 11).await?);
    assert_eq!(meta.delete_dataset(&first.id).await?, Deletion::Busy);
    let problem =
        Problem { code: ErrorCode::TooFewExamples, detail: "class `fire` has 2 examples; 10 are needed".into() };
    let refused = DatasetUpdate { problem: Some(problem), ..DatasetUpdate::to(DatasetState::Refused) };
    assert!(meta.update_dataset(&first.id, &[DatasetState::Processing], &refused, 12).await?);
    let found = meta.dataset(&first.id).await?;
    assert_eq!((found.state, found.problem, found.updated_at), (DatasetState::Refused, refused.problem, 12));
    let ready = DatasetUpdate {
        hash: Some("abc".into()),
        summary: Some(json!({ "classes": ["fire", "smoke"] })),
        ..DatasetUpdate::to(DatasetState::Ready)
    };
    assert!(meta.update_dataset(&first.id, &[DatasetState::Refused], &ready, 13).await?);
    let found = meta.dataset(&first.id).await?;
    assert_eq!((found.problem, found.hash, found.summary), (None, ready.hash, ready.summary));
    assert_eq!(found.created_at, 1);
    Ok(())
}

pub(super) async fn tasks(meta: &dyn Metadata) -> Checked {
    let data = dataset(1);
    let record = task(&data.id, 5)?;
    let unknown = meta.create_task(&record).await.map_err(|error| error.code());
    assert_eq!(unknown, Err(ErrorCode::DatasetNotFound));
    meta.create_dataset(&data).await?;
    let empty = meta.create_task(&record).await.map_err(|error| error.code());
    assert_eq!(empty, Err(ErrorCode::DatasetNotReady));
    meta.update_dataset(&data.id, &[DatasetState::Empty], &DatasetUpdate::to(DatasetState::Ready), 2).await?;
    meta.create_task(&record).await?;
    assert!(matches!(meta.create_task(&record).await, Err(StoreError::Exists { .. })));
    assert_eq!(meta.task(&record.id).await?, record);
    assert_eq!(meta.task(&TaskId::new()).await.map_err(|error| error.code()), Err(ErrorCode::TaskNotFound));
    assert_eq!(meta.delete_dataset(&data.id).await?, Deletion::InUse);
    assert_eq!(meta.tasks(None, None, 1).await?, std::slice::from_ref(&record));
    assert!(meta.tasks(None, Some(&record.id), 100).await?.iter().all(|older| older.id < record.id));

    let active = || async { Ok::<_, StoreError>(meta.active_tasks().await?.iter().any(|task| task.id == record.id)) };
    assert!(active().await?);
    let over = [TaskState::Complete, TaskState::Cancelled, TaskState::Failed];
    assert!(meta.update_task_state(&record.id, &[TaskState::Queued], TaskState::Running, None, 10).await?);
    assert!(!meta.update_task_state(&record.id, &[TaskState::Queued], TaskState::Running, None, 11).await?);
    let stopped = Some("stopped by a person");
    assert!(meta.update_task_state(&record.id, &[TaskState::Running], TaskState::Cancelled, stopped, 20).await?);
    let found = meta.task(&record.id).await?;
    assert_eq!((found.started_at, found.ended_at, found.reason.as_deref()), (Some(10), Some(20), stopped));
    assert!(!active().await?);
    assert!(meta.update_task_state(&record.id, &over, TaskState::Running, None, 30).await?);
    let found = meta.task(&record.id).await?;
    assert_eq!((found.started_at, found.ended_at, found.reason), (Some(10), None, None));

    assert_eq!(meta.add_spent(&record.id, 1.5, 5).await?, 1.5);
    assert_eq!(meta.add_spent(&record.id, 2.0, 5).await?, 3.5);
    assert!(matches!(meta.add_spent(&record.id, f64::NAN, 5).await, Err(StoreError::NotFinite { .. })));
    assert_eq!(found.budget, posted_budget());
    let more = meta.extend_budget(&record.id, &Budget { seconds: Some(30.0), trials: None }, 31).await?;
    assert_eq!(more, Budget { seconds: Some(90.0), trials: Some(20) });
    let unlimited = task(&data.id, 6)?;
    meta.create_task(&crate::TaskRecord { budget: Budget { seconds: Some(1.0), trials: None }, ..unlimited.clone() })
        .await?;
    let more = meta.extend_budget(&unlimited.id, &Budget { seconds: Some(1.0), trials: Some(5) }, 32).await?;
    assert_eq!(more, Budget { seconds: Some(2.0), trials: None }, "what was not limited stays so");
    assert!(meta.set_best_model(&record.id, None, &ModelId::new(), 33).await.is_err());

    // Each change told once, in order, and only those that happened.
    let states: Vec<_> = meta.events_after(&record.id, 0, 100).await?.into_iter().map(|event| event.data).collect();
    let expected = [
        json!({ "state": "queued", "reason": null }),
        json!({ "state": "running", "reason": null }),
        json!({ "state": "cancelled", "reason": "stopped by a person" }),
        json!({ "state": "running", "reason": null }),
        json!({ "state": "running", "budget": { "seconds": 90.0, "trials": 20 } }),
    ];
    assert_eq!(states, expected);
    Ok(())
}

pub(super) async fn events(meta: &dyn Metadata) -> Checked {
    let (mine, other) = (running_task(meta, 1).await?, running_task(meta, 1).await?);
    let start = meta.events_after(&mine.id, 0, 10).await?.last().map_or(0, |event| event.id);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(meta.append_event(&mine.id, "progress", &json!({ "n": n }), 100 + n).await?);
        meta.append_event(&other.id, "progress", &json!({}), 100).await?;
    }
    assert!(ids.is_sorted() && ids[0] > start);
    let read = meta.events_after(&mine.id, ids[1], 2).await?;
    assert_eq!(read.iter().map(|event| event.id).collect::<Vec<_>>(), ids[2..4]);
    assert_eq!((read[0].kind.as_str(), &read[0].data, read[0].at), ("progress", &json!({ "n": 2 }), 102));
    assert!(meta.events_after(&mine.id, ids[4], 10).await?.is_empty());
    assert!(meta.append_event(&TaskId::new(), "progress", &json!({}), 1).await.is_err());
    Ok(())
}

pub(super) async fn workers(meta: &dyn Metadata) -> Checked {
    let name = format!("conformance-{}", DatasetId::new());
    let mut record = WorkerRecord {
        name: name.clone(),
        pid: 42,
        machine: "hill".into(),
        device: "flex".into(),
        started_at: 1,
        seen_at: 1,
        trial: None,
        resident_bytes: None,
        memory_bytes: None,
        images_per_second: None,
    };
    meta.worker_seen(&record).await?;
    record.seen_at = 9;
    record.resident_bytes = Some(1 << 33);
    record.memory_bytes = Some(1 << 34);
    record.images_per_second = Some(812.5);
    record.trial = Some(kindling_spec::TrialId::new());
    meta.worker_seen(&record).await?;
    let found: Vec<_> = meta.workers().await?.into_iter().filter(|worker| worker.name == name).collect();
    assert_eq!(found, [record]);
    assert!(meta.worker_gone(&name).await?);
    assert!(!meta.worker_gone(&name).await?);
    assert!(meta.workers().await?.iter().all(|worker| worker.name != name));
    Ok(())
}

pub(super) async fn idempotency(meta: &dyn Metadata) -> Checked {
    let scope = format!("POST /v1/tasks {}", DatasetId::new());
    let (hour, now) = (3_600_000, 1_000_000_000);
    assert_eq!(meta.remember(&scope, "k", "hash", now).await?, Remembered::New);
    assert_eq!(meta.remember(&scope, "k", "hash", now).await?, Remembered::InProgress);
    assert_eq!(meta.remember(&scope, "k", "other", now).await?, Remembered::Conflict);
    assert_eq!(meta.remember("another scope", &scope, "other", now).await?, Remembered::New);
    meta.forget_idempotent(&scope, "k").await?;
    assert_eq!(meta.remember(&scope, "k", "hash", now).await?, Remembered::New);
    let response =
        SavedResponse { status: 201, headers: json!({ "location": "/v1/tasks/x" }), body: b"{\"id\":1}".to_vec() };
    meta.complete_idempotent(&scope, "k", &response).await?;
    // What was answered is not forgotten before its time.
    meta.forget_idempotent(&scope, "k").await?;
    assert_eq!(meta.remember(&scope, "k", "hash", now + 23 * hour).await?, Remembered::Same(response));
    assert_eq!(meta.remember(&scope, "k", "other", now + 23 * hour).await?, Remembered::Conflict);
    assert_eq!(meta.remember(&scope, "k", "other", now + 25 * hour).await?, Remembered::New);
    // Its server was killed at work.
    assert_eq!(meta.remember(&scope, "k", "other", now + 26 * hour).await?, Remembered::New);
    Ok(())
}
