//! What two handles of one store must do between them, wherever it keeps things.

use kindling_spec::{TaskId, TrialId, TrialState};
use kindling_store::{Job, Store, conformance};
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
