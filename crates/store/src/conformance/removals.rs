//! What is deleted, by a person or by its age, and what is to be cleared away after it.

use kindling_spec::{
    AnalysisKind, DatasetState, ModelId, ProjectId, TaskId, TaskState, TrialState, UploadId, WebhookId,
};

use super::{Checked, analyses::analysis, dataset, fleets::fleet, models::model, result, running_task, task, trial};
use crate::{
    DatasetRecord, Deletion, Delivered, Metadata, ModelRecord, Noun, RungFigures, StoreError, TaskRecord, TrialRecord,
    UploadRecord, WebhookRecord,
};

const RUNNING: [TaskState; 1] = [TaskState::Running];

/// A running task with a trial whose first rung is done.
async fn begun(meta: &dyn Metadata) -> Result<(TaskRecord, TrialRecord), StoreError> {
    let task = running_task(meta, 1).await?;
    let record = trial(&task.id, 0, 2);
    meta.create_trial(&record).await?;
    let claimed = meta.claim_trial(&record.id, 0, "w", 3).await?.map_or(0, |t| t.token);
    assert!(meta.finish_rung(&record.id, claimed, &result(0, 4), &format!("{}/0", record.id), 4).await?);
    Ok((task, meta.trial(&record.id).await?))
}

async fn noted(meta: &dyn Metadata, what: Noun, id: &str) -> Result<bool, StoreError> {
    Ok(meta.removals(u32::MAX).await?.iter().any(|removal| removal.what == what && removal.id == id))
}

pub(super) async fn tasks(meta: &dyn Metadata) -> Checked {
    let (task, first) = begun(meta).await?;
    let made = model(&first, 0, 5);
    meta.add_model(&made).await?;
    let asked = analysis(task.id.as_str(), AnalysisKind::Advice);
    meta.create_analysis(&asked).await?;
    let hook = WebhookRecord {
        id: WebhookId::new(),
        project: ProjectId::local(),
        url: "https://example.org/hook".into(),
        secret: "s".into(),
        created_at: 5,
    };
    meta.create_webhook(&hook).await?;
    let second = trial(&task.id, 1, 6);
    meta.create_trial(&second).await?;
    let held = meta.claim_trial(&second.id, 0, "w", 7).await?.map_or(0, |t| t.token);

    assert_eq!(meta.delete_task(&TaskId::new()).await?, Deletion::NotFound);
    assert_eq!(meta.delete_task(&task.id).await?, Deletion::Busy, "it runs");
    assert!(meta.update_task_state(&task.id, &RUNNING, TaskState::Cancelled, None, 8).await?);
    assert_eq!(meta.delete_task(&task.id).await?, Deletion::Busy, "a worker has a trial of it");
    assert!(meta.release_trial(&second.id, held, 9).await?);
    assert_eq!(meta.delete_task(&task.id).await?, Deletion::Deleted);
    assert_eq!(meta.delete_task(&task.id).await?, Deletion::NotFound);
    assert!(meta.task(&task.id).await.is_err() && meta.trial(&first.id).await.is_err());
    assert!(meta.model(&made.id).await.is_err() && meta.analysis(&asked.id).await.is_err());
    assert!(meta.events_after(&task.id, 0, 10).await?.is_empty() && meta.deliveries(&hook.id, 10).await?.is_empty());
    meta.delete_webhook(&hook.id).await?;
    // What a worker thought dead still makes finds nothing to belong to.
    assert!(meta.add_model(&model(&first, 1, 9)).await.is_err());
    for (what, id) in
        [(Noun::Task, task.id.as_str()), (Noun::Model, made.id.as_str()), (Noun::Analysis, asked.id.as_str())]
    {
        assert!(noted(meta, what, id).await?, "{what} {id}");
    }
    let open = meta.removals(u32::MAX).await?;
    for removal in open.iter().filter(|removal| removal.what == Noun::Task && removal.id == task.id.as_str()) {
        meta.removed(removal).await?;
        meta.removed(removal).await?;
    }
    assert!(!noted(meta, Noun::Task, task.id.as_str()).await? && noted(meta, Noun::Model, made.id.as_str()).await?);
    // Its data set is in nobody's use any more.
    assert_eq!(meta.delete_dataset(&task.dataset).await?, Deletion::Deleted);
    Ok(())
}

pub(super) async fn models(meta: &dyn Metadata) -> Checked {
    let (task, first) = begun(meta).await?;
    let best = ModelRecord { value: 0.95, ..model(&first, 0, 5) };
    let others = [ModelRecord { value: 0.8, weights_bytes: 9, ..model(&first, 1, 6) }, model(&first, 2, 7)];
    for model in [&best, &others[0], &others[1]] {
        meta.add_model(model).await?;
    }
    assert!(meta.set_best_model(&task.id, None, &best.id, 8).await?);
    assert_eq!(meta.delete_model(&best.id).await?, Deletion::Busy, "the study goes on");
    assert!(meta.update_task_state(&task.id, &RUNNING, TaskState::Complete, None, 9).await?);
    assert_eq!(meta.delete_model(&ModelId::new()).await?, Deletion::NotFound);
    assert_eq!(meta.delete_model(&best.id).await?, Deletion::Deleted);
    assert!(noted(meta, Noun::Model, best.id.as_str()).await?);
    assert_eq!(meta.task(&task.id).await?.best_model.as_ref(), Some(&others[1].id), "the best of those left");
    assert_eq!(meta.delete_model(&others[0].id).await?, Deletion::Deleted);
    assert_eq!(meta.delete_model(&others[1].id).await?, Deletion::Deleted);
    assert_eq!(meta.task(&task.id).await?.best_model, None);
    Ok(())
}

pub(super) async fn what_goes_with_a_dataset(meta: &dyn Metadata) -> Checked {
    let data = dataset(1);
    meta.create_dataset(&data).await?;
    let upload = UploadRecord {
        id: UploadId::new(),
        dataset: data.id.clone(),
        bytes: 25,
        part_bytes: 10,
        parts: Vec::new(),
        created_at: 1,
    };
    meta.create_upload(&upload).await?;
    let asked = analysis(data.id.as_str(), AnalysisKind::Doubts);
    meta.create_analysis(&asked).await?;
    assert_eq!(meta.delete_dataset(&data.id).await?, Deletion::Deleted);
    assert!(meta.analysis(&asked.id).await.is_err());
    for (what, id) in
        [(Noun::Dataset, data.id.as_str()), (Noun::Upload, upload.id.as_str()), (Noun::Analysis, asked.id.as_str())]
    {
        assert!(noted(meta, what, id).await?, "{what} {id}");
    }
    Ok(())
}

pub(super) async fn fleets(meta: &dyn Metadata) -> Checked {
    let data = DatasetRecord { state: DatasetState::Ready, ..dataset(1) };
    meta.create_dataset(&data).await?;
    let tasks = [task(&data.id, 2)?, task(&data.id, 2)?];
    let record = fleet(&tasks)?;
    meta.create_fleet(&record, &tasks).await?;
    assert_eq!(meta.delete_fleet(&record.id).await?, Deletion::Busy);
    for task in &tasks {
        assert!(meta.update_task_state(&task.id, &[TaskState::Queued], TaskState::Cancelled, None, 3).await?);
    }
    assert_eq!(meta.delete_task(&tasks[0].id).await?, Deletion::InUse, "its fleet would miss it");
    assert_eq!(meta.delete_fleet(&record.id).await?, Deletion::Deleted);
    assert_eq!(meta.delete_fleet(&record.id).await?, Deletion::NotFound);
    assert!(meta.fleet(&record.id).await.is_err() && meta.task(&tasks[1].id).await.is_err());
    assert!(noted(meta, Noun::Task, tasks[1].id.as_str()).await?);
    Ok(())
}

pub(super) async fn expired(meta: &dyn Metadata) -> Checked {
    // Long before anything else here.
    let (old, young) = (-1_000_000, -900_000);
    let (ended, beaten) = begun(meta).await?;
    let led = trial(&ended.id, 1, 2);
    meta.create_trial(&led).await?;
    let token = meta.claim_trial(&led.id, 0, "w", 3).await?.map_or(0, |t| t.token);
    assert!(meta.finish_rung(&led.id, token, &result(0, 4), "led", 4).await?);
    meta.add_model(&model(&led, 0, 5)).await?;
    let (fresh, other) = begun(meta).await?;
    for (task, at) in [(&ended, old), (&fresh, young)] {
        assert!(meta.update_task_state(&task.id, &RUNNING, TaskState::Cancelled, None, at).await?);
    }
    assert_eq!(meta.expire_studies(old, 10).await?, 0, "nothing is that old");
    assert!(meta.expire_studies(old + 1, 10).await? > 1);
    let gone = meta.trial(&beaten.id).await?;
    assert_eq!((gone.state, gone.checkpoint, gone.results.len()), (TrialState::Pruned, None, 1));
    assert!(noted(meta, Noun::Trial, &format!("{}/{}", ended.id, beaten.id)).await?);
    let kept = meta.trial(&led.id).await?;
    assert_eq!((kept.state, kept.checkpoint.as_deref()), (TrialState::Paused, Some("led")), "a model is of it");
    assert_eq!(meta.models(&ended.id).await?.len(), 1);
    assert!(meta.events_after(&ended.id, 0, 10).await?.is_empty());
    assert!(
        !meta.events_after(&fresh.id, 0, 10).await?.is_empty() && meta.trial(&other.id).await?.checkpoint.is_some()
    );
    assert_eq!(meta.expire_studies(old + 1, 11).await?, 0, "once");

    // A delivery that has not ended keeps its event, however old.
    let hook = WebhookRecord {
        id: WebhookId::new(),
        project: ProjectId::local(),
        url: "https://example.org/hook".into(),
        secret: "s".into(),
        created_at: old,
    };
    meta.create_webhook(&hook).await?;
    assert!(meta.update_task_state(&ended.id, &[TaskState::Cancelled], TaskState::Complete, None, old).await?);
    assert_eq!(meta.expire_studies(old + 1, 12).await?, 0);
    assert_eq!(meta.expire_deliveries(old + 10).await?, 0);
    let due = meta.take_deliveries(old, old + 5, 10).await?;
    assert_eq!(due.len(), 1);
    meta.delivered(due[0].id, &Delivered::Yes).await?;
    assert_eq!((meta.expire_deliveries(old + 5).await?, meta.expire_deliveries(old + 6).await?), (0, 1));
    assert_eq!(meta.expire_studies(old + 1, 13).await?, 1);
    meta.delete_webhook(&hook.id).await?;
    Ok(())
}

pub(super) async fn figures(meta: &dyn Metadata) -> Checked {
    let of = |all: &std::collections::BTreeMap<u32, RungFigures>| all.get(&0).cloned().unwrap_or_default();
    let before = of(&meta.rung_figures().await?);
    let (task, first) = begun(meta).await?;
    let after = of(&meta.rung_figures().await?);
    assert_eq!(after.counts[2], before.counts[2] + 1, "1.25 seconds are more than 1 and at most 2.5");
    assert_eq!(after.counts.iter().sum::<u64>(), before.counts.iter().sum::<u64>() + 1);
    assert!(
        (after.seconds - before.seconds - 1.25).abs() < 1e-6 && (after.speeds - before.speeds - 1000.0).abs() < 1e-6
    );

    let stored = |all: Vec<crate::StoredBytes>| all.into_iter().find(|of| of.project == ProjectId::local());
    let before = stored(meta.stored_bytes().await?).map_or((0, 0), |of| (of.datasets, of.models));
    meta.set_bytes(Noun::Dataset, task.dataset.as_str(), 1000).await?;
    for rung in 0..2 {
        meta.add_model(&model(&first, rung, 5)).await?;
    }
    let after = stored(meta.stored_bytes().await?).map_or((0, 0), |of| (of.datasets, of.models));
    assert_eq!(after, (before.0 + 1000, before.1 + 104_000), "a data set counts once however many models there are");

    let waiting = trial(&task.id, 7, -2_000_000);
    meta.create_trial(&waiting).await?;
    assert_eq!(meta.oldest_waiting().await?, Some(-2_000_000));
    assert!(meta.update_task_state(&task.id, &RUNNING, TaskState::Cancelled, None, 6).await?);
    assert_ne!(meta.oldest_waiting().await?, Some(-2_000_000), "nobody waits for what is over");
    let counts = of(&meta.rung_figures().await?);
    assert_eq!(meta.delete_task(&task.id).await?, Deletion::Deleted);
    assert_eq!(of(&meta.rung_figures().await?), counts, "what was done was done");

    let duty = format!("duty of {}", task.id);
    assert!(meta.take_duty(&duty, "me", 1, 9).await?);
    let found = meta.duties().await?.into_iter().find(|record| record.duty == duty);
    assert_eq!(found.map(|record| (record.holder, record.until)), Some(("me".to_owned(), 9)));
    meta.leave_duty(&duty, "me").await
}
