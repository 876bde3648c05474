//! Trials as the scheduler handles them.

use kindling_spec::{ErrorCode, TaskId, TaskState, TrialId, TrialState};
use serde_json::json;
use std::collections::BTreeMap;

use super::{Checked, running_task, trial};
use crate::{Job, Metadata, StoreError, TrialRecord};

pub(super) async fn kept_and_listed(meta: &dyn Metadata) -> Checked {
    let task = running_task(meta, 1).await?;
    let mut made = Vec::new();
    for number in 0..5 {
        let record = trial(&task.id, number, 10 + i64::from(number));
        meta.create_trial(&record).await?;
        made.push(record);
    }
    let pruned = TrialRecord {
        state: TrialState::Pruned,
        reason: Some("140 kB of weights, 100 kB allowed".into()),
        ..trial(&task.id, 5, 15)
    };
    meta.create_trial(&pruned).await?;
    made.push(pruned);
    assert_eq!(meta.trial(&made[3].id).await?, made[3]);
    assert_eq!(meta.all_trials(&task.id).await?, made);
    assert_eq!(meta.trials(&task.id, None, 2).await?, made[..2]);
    assert_eq!(meta.trials(&task.id, Some(1), 3).await?, made[2..5]);
    assert!(meta.trials(&task.id, Some(5), 3).await?.is_empty());
    let counts = BTreeMap::from([(TrialState::Waiting, 5), (TrialState::Pruned, 1)]);
    assert_eq!(meta.trial_counts(Some(&task.id)).await?, counts);
    assert!(meta.trial_counts(None).await?[&TrialState::Waiting] >= 5);

    // A number is used once in a task, and may be used in another.
    assert!(matches!(meta.create_trial(&trial(&task.id, 2, 20)).await, Err(StoreError::Exists { .. })));
    let other = running_task(meta, 1).await?;
    meta.create_trial(&trial(&other.id, 2, 20)).await?;
    let orphan = meta.create_trial(&trial(&TaskId::new(), 0, 20)).await.map_err(|error| error.code());
    assert_eq!(orphan, Err(ErrorCode::TaskNotFound));
    assert_eq!(meta.trial(&TrialId::new()).await.map_err(|error| error.code()), Err(ErrorCode::NotFound));

    // Those that have waited since a time, of tasks that are not over.
    let mine = |jobs: Vec<Job>| jobs.into_iter().filter(|job| job.task == task.id).collect::<Vec<_>>();
    let jobs: Vec<_> = made[..3].iter().map(|t| Job { task: task.id.clone(), trial: t.id.clone(), rung: 0 }).collect();
    assert_eq!(mine(meta.waiting_trials(12).await?), jobs);
    let before = -1_000_000;
    assert_eq!(mine(meta.waiting_trials(before).await?).len(), 5, "the clock was set back since");
    meta.update_task_state(&task.id, &[TaskState::Running], TaskState::Cancelled, None, 30).await?;
    assert!(mine(meta.waiting_trials(12).await?).is_empty());
    Ok(())
}

pub(super) async fn promoted_and_closed(meta: &dyn Metadata) -> Checked {
    let task = running_task(meta, 1).await?;
    let paused = TrialRecord { state: TrialState::Paused, epochs: 1, ..trial(&task.id, 0, 2) };
    let waiting = trial(&task.id, 1, 2);
    let ended = TrialRecord { state: TrialState::Complete, ..trial(&task.id, 2, 2) };
    for record in [&paused, &waiting, &ended] {
        meta.create_trial(record).await?;
    }
    assert!(!meta.promote_trial(&paused.id, 1, 2, 9, 5).await?, "it is after rung 0, not 1");
    assert!(!meta.promote_trial(&waiting.id, 0, 1, 3, 5).await?, "it is not paused");
    assert!(meta.promote_trial(&paused.id, 0, 1, 3, 5).await?);
    assert!(!meta.promote_trial(&paused.id, 0, 1, 3, 6).await?, "another server promoted it before");
    let found = meta.trial(&paused.id).await?;
    assert_eq!((found.state, found.rung, found.target_epochs, found.updated_at), (TrialState::Waiting, 1, 3, 5));

    assert!(!meta.fail_trial(&ended.id, None, TrialState::Failed, "late", 6).await?, "it has ended");
    assert!(!meta.fail_trial(&waiting.id, Some(0), TrialState::Failed, "no claim", 6).await?, "no one runs it");
    assert!(meta.fail_trial(&waiting.id, None, TrialState::Pruned, "too slow", 6).await?);
    assert_eq!(meta.trial(&waiting.id).await?.reason.as_deref(), Some("too slow"));

    let more = trial(&task.id, 3, 7);
    meta.create_trial(&more).await?;
    let open = [TrialState::Waiting, TrialState::Paused];
    let why = Some("the budget is spent");
    let seen = meta.events_after(&task.id, 0, 100).await?.last().map_or(0, |event| event.id);
    assert_eq!(meta.close_trials(&task.id, &open, TrialState::Pruned, why, 8).await?, 2);
    assert_eq!(meta.close_trials(&task.id, &open, TrialState::Pruned, why, 9).await?, 0);
    let told: Vec<_> = meta.events_after(&task.id, seen, 100).await?.into_iter().map(|event| event.data).collect();
    let event = |record: &TrialRecord, number, rung| json!({ "trial": record.id, "number": number, "state": "pruned", "rung": rung, "worker": null, "reason": why });
    assert_eq!(told, [event(&paused, 0, 1), event(&more, 3, 0)]);
    Ok(())
}
