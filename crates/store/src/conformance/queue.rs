//! The queue.

use kindling_spec::{TaskId, TrialId};
use std::time::Duration;
use tokio::time::timeout;

use super::Checked;
use crate::{Job, Queue, StoreError};

fn job(rung: u32) -> Job {
    Job { task: TaskId::new(), trial: TrialId::new(), rung }
}

/// Whether the worker is left waiting.
async fn idle(queue: &dyn Queue, worker: &str) -> Result<bool, StoreError> {
    match timeout(Duration::from_millis(250), queue.next(worker)).await {
        Err(_) => Ok(true),
        Ok(delivery) => {
            delivery?.give_back().await?;
            Ok(false)
        }
    }
}

pub(super) async fn handed_out_once(queue: &dyn Queue) -> Checked {
    let (a, b) = (format!("a-{}", TaskId::new()), format!("b-{}", TaskId::new()));
    assert_eq!(queue.depth().await?, 0);
    assert!(idle(queue, &a).await?);
    let jobs = [job(0), job(1)];
    for job in &jobs {
        queue.push(job).await?;
    }
    assert_eq!(queue.depth().await?, 2);
    let (first, second) = (queue.next(&a).await?, queue.next(&b).await?);
    assert_ne!(first.job, second.job);
    assert!(jobs.contains(&first.job) && jobs.contains(&second.job));
    assert_eq!(queue.depth().await?, 0);
    first.ack().await?;
    second.ack().await?;
    assert!(idle(queue, &a).await? && idle(queue, &b).await?, "what was acked does not come back");
    Ok(())
}

pub(super) async fn handed_out_again(queue: &dyn Queue) -> Checked {
    let (a, b) = (format!("a-{}", TaskId::new()), format!("b-{}", TaskId::new()));
    let only = job(0);
    queue.push(&only).await?;
    let delivery = queue.next(&a).await?;
    assert!(idle(queue, &b).await?, "a has it");
    drop(delivery);
    let delivery = queue.next(&a).await?;
    assert_eq!(delivery.job, only, "dropped without an ack, it comes again");
    delivery.give_back().await?;
    let delivery = queue.next(&b).await?;
    assert_eq!(delivery.job, only, "handed back, another gets it at once");
    assert_eq!(queue.worker_gone(&b).await?, 1);
    let again = queue.next(&a).await?;
    assert_eq!(again.job, only, "its worker known to be dead, another gets it at once");
    // The dead one was not dead. Its ack does not take the job from the other.
    delivery.ack().await?;
    drop(again);
    let again = queue.next(&a).await?;
    assert_eq!(again.job, only);
    again.ack().await?;
    assert!(idle(queue, &a).await?);
    Ok(())
}

pub(super) async fn pushed_again(queue: &dyn Queue) -> Checked {
    let (a, b) = (format!("a-{}", TaskId::new()), format!("b-{}", TaskId::new()));
    let only = job(2);
    for _ in 0..3 {
        queue.push(&only).await?;
    }
    assert_eq!(queue.depth().await?, 1, "it waited already");
    let held = queue.next(&a).await?;
    queue.push(&only).await?;
    queue.push(&only).await?;
    assert_eq!(queue.depth().await?, 1, "one in hand does not count as waiting");
    let second = queue.next(&b).await?;
    assert_eq!(second.job, only);
    second.ack().await?;
    held.ack().await?;
    assert!(idle(queue, &a).await?);
    queue.push(&only).await?;
    queue.next(&a).await?.ack().await?;
    assert_eq!(queue.depth().await?, 0);
    Ok(())
}
