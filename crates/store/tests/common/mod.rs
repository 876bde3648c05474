//! What two handles of one store must do between them, wherever it keeps things.

use kindling_spec::{AnalysisKind, DraftId, ErrorCode, ProjectId, TaskId, TrialId, TrialState};
use kindling_store::{DraftRecord, Job, LabelKind, Store, StoreError, conformance};
use std::time::Duration;

pub(crate) const NOW: i64 = 1_800_000_000_000;

pub(crate) async fn of_many_claims_one_wins(stores: [&Store; 2]) {
    let task = conformance::running_task(&*stores[0].meta, NOW).await.unwrap();
    let trials: Vec<_> = (0..12).map(|number| conformance::trial(&task.id, number, NOW)).collect();
    for trial in &trials {
        stores[0].meta.create_trial(trial).await.unwrap();
    }
    let claims: Vec<_> = (0..4)
        .map(|n: usize| {
            let (store, trials) = (stores[n % 2].clone(), trials.clone());
            tokio::spawn(async move {
                let mut won = Vec::new();
                for trial in &trials {
                    let claimed = store.meta.claim_trial(&trial.id, 0, &format!("worker {n}"), NOW + 1).await;
                    won.extend(claimed.unwrap().map(|trial| (trial.id, trial.worker)));
                }
                won
            })
        })
        .collect();
    let mut won = Vec::new();
    for claim in claims {
        won.extend(claim.await.unwrap());
    }
    won.sort();
    let kept = stores[1].meta.all_trials(&task.id).await.unwrap();
    let mut expected: Vec<_> = kept.iter().map(|trial| (trial.id.clone(), trial.worker.clone())).collect();
    expected.sort();
    assert_eq!(won, expected, "each trial was won once, by the worker on record");
    assert!(kept.iter().all(|trial| trial.state == TrialState::Running && trial.token == 1));
}

/// Whose a thing is may be remembered; that it is there may not.
pub(crate) async fn what_another_deletes_is_gone_at_once(stores: [&Store; 2]) {
    let (mine, other) = (stores[0].scoped(&ProjectId::local()).meta, &stores[1].meta);
    let code = |error: StoreError| error.code();
    let dataset = conformance::dataset(NOW);
    assert_eq!(mine.dataset(&dataset.id).await.map_err(code), Err(ErrorCode::DatasetNotFound), "not yet");
    other.create_dataset(&dataset).await.unwrap();
    let draft = DraftRecord {
        id: DraftId::new(),
        project: ProjectId::local(),
        name: "raw".into(),
        labels: LabelKind::Classes,
        classes: vec!["fire".into()],
        parent: None,
        created_at: NOW,
        updated_at: NOW,
    };
    other.create_draft(&draft).await.unwrap();
    for _ in 0..2 {
        assert_eq!(mine.dataset(&dataset.id).await.unwrap(), dataset);
        assert_eq!(mine.draft(&draft.id).await.unwrap(), draft);
    }
    other.delete_dataset(&dataset.id).await.unwrap();
    other.delete_draft(&draft.id).await.unwrap();
    assert_eq!(mine.dataset(&dataset.id).await.map_err(code), Err(ErrorCode::DatasetNotFound));
    assert_eq!(mine.draft(&draft.id).await.map_err(code), Err(ErrorCode::DraftNotFound));
    assert_eq!(mine.draft_counts(&draft.id).await.map_err(code), Err(ErrorCode::DraftNotFound));
    assert_eq!(
        mine.latest_analysis(AnalysisKind::Doubts, dataset.id.as_str()).await.map_err(code),
        Err(ErrorCode::DatasetNotFound)
    );

    let task = conformance::running_task(&**other, NOW).await.unwrap();
    let trial = conformance::trial(&task.id, 0, NOW);
    assert!(mine.trial(&trial.id).await.is_err(), "not yet");
    other.create_trial(&trial).await.unwrap();
    assert_eq!(mine.trial(&trial.id).await.unwrap(), trial);
    let stranger = stores[0].scoped(&ProjectId::new()).meta;
    assert!(stranger.trial(&trial.id).await.is_err() && stranger.task(&task.id).await.is_err());
}

pub(crate) async fn each_job_goes_to_one_of_many_workers(stores: [&Store; 2]) {
    let task = TaskId::new();
    let jobs: Vec<_> = (0..20).map(|rung| Job { task: task.clone(), trial: TrialId::new(), rung }).collect();
    // Two schedulers push the same.
    for job in &jobs {
        let (a, b) = tokio::join!(stores[0].queue.push(job), stores[1].queue.push(job));
        a.and(b).unwrap();
    }
    let workers: Vec<_> = (0..4)
        .map(|n: usize| {
            let store = stores[n % 2].clone();
            tokio::spawn(async move {
                let (name, mut done) = (format!("worker {n}"), Vec::new());
                while let Ok(delivery) = tokio::time::timeout(Duration::from_secs(2), store.queue.next(&name)).await {
                    let delivery = delivery.unwrap();
                    done.push(delivery.job.clone());
                    delivery.ack().await.unwrap();
                }
                done
            })
        })
        .collect();
    let mut done = Vec::new();
    for worker in workers {
        done.extend(worker.await.unwrap());
    }
    done.sort_by_key(|job| job.rung);
    assert_eq!(done, jobs);
}
