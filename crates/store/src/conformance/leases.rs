//! Trials in workers' hands.

use kindling_spec::{TaskState, TrialId, TrialState};

use super::{Checked, result, running_task, trial};
use crate::{Beat, Metadata, Reaped, StoreError, TrialRecord, event_kind};

/// Claims a trial that must be free.
async fn claim(meta: &dyn Metadata, record: &TrialRecord, worker: &str, now: i64) -> Result<TrialRecord, StoreError> {
    let claimed = meta.claim_trial(&record.id, record.rung, worker, now).await?;
    assert!(claimed.is_some(), "a waiting trial can be claimed");
    Ok(claimed.unwrap_or_else(|| record.clone()))
}

pub(super) async fn claims_and_tokens(meta: &dyn Metadata) -> Checked {
    let task = running_task(meta, 1).await?;
    let record = trial(&task.id, 0, 2);
    meta.create_trial(&record).await?;
    assert_eq!(meta.claim_trial(&record.id, 1, "a", 3).await?, None, "it waits for rung 0");
    assert_eq!(meta.claim_trial(&TrialId::new(), 0, "a", 3).await?, None);
    let claimed = claim(meta, &record, "a", 3).await?;
    assert!(claimed.token > record.token);
    assert_eq!((claimed.state, claimed.worker.as_deref()), (TrialState::Running, Some("a")));
    assert_eq!(claimed.heartbeat_at, Some(3));
    assert_eq!(meta.trial(&record.id).await?, claimed);
    assert_eq!(meta.claim_trial(&record.id, 0, "b", 4).await?, None, "a job delivered twice runs once");

    assert_eq!(meta.heartbeat(&record.id, claimed.token, 5).await?, Beat::Go);
    assert_eq!(meta.trial(&record.id).await?.heartbeat_at, Some(5));
    assert_eq!(meta.heartbeat(&record.id, claimed.token - 1, 6).await?, Beat::Lost);
    assert_eq!(meta.heartbeat(&TrialId::new(), 1, 6).await?, Beat::Lost);

    // Handed back in good order: no death, and the old token is worth nothing once it is claimed again.
    assert!(!meta.release_trial(&record.id, claimed.token - 1, 7).await?);
    assert!(meta.release_trial(&record.id, claimed.token, 7).await?);
    assert_eq!(meta.heartbeat(&record.id, claimed.token, 8).await?, Beat::Lost);
    let again = claim(meta, &record, "b", 9).await?;
    assert_eq!(again.deaths, 0);
    assert!(again.token > claimed.token);
    assert!(!meta.finish_rung(&record.id, claimed.token, &result(0, 9), "old", 10).await?);
    assert!(!meta.fail_trial(&record.id, Some(claimed.token), TrialState::Failed, "old", 10).await?);
    assert!(!meta.release_trial(&record.id, claimed.token, 10).await?);
    assert!(meta.fail_trial(&record.id, Some(again.token), TrialState::Failed, "its loss is NaN", 11).await?);
    let failed = meta.trial(&record.id).await?;
    assert_eq!((failed.state, failed.reason.as_deref()), (TrialState::Failed, Some("its loss is NaN")));
    assert_eq!((failed.results.len(), failed.checkpoint), (0, None), "nothing of the old token was kept");
    Ok(())
}

pub(super) async fn results(meta: &dyn Metadata) -> Checked {
    let task = running_task(meta, 1).await?;
    let record = trial(&task.id, 0, 2);
    meta.create_trial(&record).await?;
    let claimed = claim(meta, &record, "a", 3).await?;
    let nan = crate::RungResult { value: f64::NAN, ..result(0, 4) };
    let refused = meta.finish_rung(&record.id, claimed.token, &nan, "c0", 4).await;
    assert!(matches!(refused, Err(StoreError::NotFinite { .. })));
    assert_eq!(meta.trial(&record.id).await?.state, TrialState::Running, "nothing of a refused call is kept");
    assert!(!meta.finish_rung(&record.id, claimed.token, &result(1, 4), "c1", 4).await?, "it runs rung 0");
    assert!(meta.finish_rung(&record.id, claimed.token, &result(0, 4), "c0", 4).await?);
    assert!(!meta.finish_rung(&record.id, claimed.token, &result(0, 4), "c0", 5).await?, "once");
    let paused = meta.trial(&record.id).await?;
    assert_eq!((paused.state, paused.epochs, paused.checkpoint.as_deref()), (TrialState::Paused, 1, Some("c0")));
    assert_eq!((paused.heartbeat_at, paused.results.as_slice()), (None, [result(0, 4)].as_slice()));

    assert!(meta.promote_trial(&record.id, 0, 1, 3, 6).await?);
    let claimed = meta.claim_trial(&record.id, 1, "b", 7).await?;
    let token = claimed.as_ref().map_or(0, |trial| trial.token);
    assert_eq!(claimed.map(|trial| trial.results), Some(vec![result(0, 4)]), "a claim brings what was done");
    assert!(meta.finish_rung(&record.id, token, &result(1, 8), "c1", 8).await?);
    let two = meta.trial(&record.id).await?;
    assert_eq!((two.results, two.epochs), (vec![result(0, 4), result(1, 8)], 3));
    let rungs = meta.events_after(&task.id, 0, 100).await?;
    assert_eq!(rungs.iter().filter(|event| event.kind == event_kind::RUNG).count(), 2);
    Ok(())
}

pub(super) async fn deaths(meta: &dyn Metadata) -> Checked {
    let task = running_task(meta, 1).await?;
    let (record, healthy) = (trial(&task.id, 0, 2), trial(&task.id, 1, 2));
    meta.create_trial(&record).await?;
    meta.create_trial(&healthy).await?;
    let mine = |reaped: Vec<Reaped>| reaped.into_iter().filter(|r| r.task == task.id).collect::<Vec<_>>();
    let reaped =
        |deaths, failed| vec![Reaped { trial: record.id.clone(), task: task.id.clone(), rung: 0, deaths, failed }];
    let (lease, max) = (1000, 3);

    let first = claim(meta, &record, "a", 10_000).await?;
    let other = claim(meta, &healthy, "healthy", 10_000).await?;
    assert!(mine(meta.reap(11_000, lease, max).await?).is_empty(), "the lease is not over yet");
    meta.heartbeat(&healthy.id, other.token, 10_900).await?;
    assert_eq!(mine(meta.reap(11_001, lease, max).await?), reaped(1, false));
    assert!(mine(meta.reap(11_001, lease, max).await?).is_empty(), "once");
    assert!(mine(meta.reap(9_900, lease, max).await?).is_empty(), "clocks differ by a little");
    assert_eq!(meta.heartbeat(&record.id, first.token, 11_002).await?, Beat::Lost);
    assert!(!meta.finish_rung(&record.id, first.token, &result(0, 1), "late", 11_002).await?, "it came too late");

    claim(meta, &record, "b", 12_000).await?;
    assert!(mine(meta.reap_worker("a", 12_001, max).await?).is_empty(), "it is b's now");
    assert_eq!(mine(meta.reap_worker("b", 12_001, max).await?), reaped(2, false));
    claim(meta, &record, "c", 13_000).await?;
    assert_eq!(mine(meta.reap_worker("c", 13_001, max).await?), reaped(3, true));
    let failed = meta.trial(&record.id).await?;
    assert_eq!((failed.state, failed.deaths), (TrialState::Failed, 3));
    assert_eq!(failed.reason.as_deref(), Some("its worker died 3 times, last on worker c in rung 0"));
    assert_eq!(meta.claim_trial(&record.id, 0, "d", 14_000).await?, None);
    assert_eq!(meta.trial(&healthy.id).await?.deaths, 0);
    // A heartbeat of a time that is yet to come: the clock was set back since, and who wrote it may be dead.
    let set_back = mine(meta.reap(-1_000_000, lease, max).await?);
    assert_eq!(set_back.iter().map(|r| (&r.trial, r.deaths)).collect::<Vec<_>>(), [(&healthy.id, 1)]);
    Ok(())
}

pub(super) async fn tasks_that_are_over(meta: &dyn Metadata) -> Checked {
    let task = running_task(meta, 1).await?;
    let (running, waiting) = (trial(&task.id, 0, 2), trial(&task.id, 1, 2));
    meta.create_trial(&running).await?;
    meta.create_trial(&waiting).await?;
    let claimed = claim(meta, &running, "a", 3).await?;
    meta.update_task_state(&task.id, &[TaskState::Running], TaskState::Cancelled, None, 4).await?;
    assert_eq!(meta.heartbeat(&running.id, claimed.token, 5).await?, Beat::Cancelled);
    assert_eq!(meta.claim_trial(&waiting.id, 0, "b", 5).await?, None);
    // Work that was done anyway is kept.
    assert!(meta.finish_rung(&running.id, claimed.token, &result(0, 6), "c0", 6).await?);
    meta.update_task_state(&task.id, &[TaskState::Cancelled], TaskState::Running, None, 7).await?;
    claim(meta, &waiting, "b", 8).await?;
    Ok(())
}
