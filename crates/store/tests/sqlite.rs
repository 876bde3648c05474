//! The store on SQLite and the local disk, by several handles and by processes that are killed.

#![allow(clippy::unwrap_used)]

mod common;

use common::NOW;
use kindling_spec::TaskId;
use kindling_store::{Beat, Job, Store, StoreError, TrialRecord, conformance};
use serde_json::json;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

async fn open(dir: &Path) -> Store {
    Store::open(dir).await.unwrap()
}

/// A connection beside the store's own, to look and to meddle.
async fn beside(path: PathBuf) -> sqlx::SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5));
    sqlx::SqlitePool::connect_with(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_contract() {
    let dir = tempfile::tempdir().unwrap();
    conformance::all(&open(dir.path()).await).await.unwrap();
    // Again, on what the first left there, by a second handle.
    conformance::all(&open(dir.path()).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_open_a_fresh_directory_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let path = dir.path().join("new");
            tokio::spawn(async move { open(&path).await })
        })
        .collect();
    let mut stores = Vec::new();
    for store in opening {
        stores.push(store.await.unwrap());
    }
    let task = conformance::running_task(&*stores[0].meta, NOW).await.unwrap();
    for store in &stores {
        assert_eq!(store.meta.task(&task.id).await.unwrap(), task);
    }
}

#[tokio::test]
async fn settings_keep_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    store.meta.ping().await.unwrap();
    for (file, migrations) in [("kindling.db", 9), ("queue.db", 11)] {
        let pool = beside(dir.path().join(file)).await;
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.unwrap();
        assert_eq!(mode, "wal", "{file}");
        let done: i64 =
            sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success").fetch_one(&pool).await.unwrap();
        assert_eq!(done, migrations, "{file}");
    }
}

#[tokio::test]
async fn a_directory_of_a_later_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    let pool = beside(dir.path().join("kindling.db")).await;
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'later', CURRENT_TIMESTAMP, TRUE, x'00', 0)")
        .execute(&pool)
        .await
        .unwrap();
    let error = Store::open(dir.path()).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { version: 9999, .. }), "{error}");
    assert!(error.to_string().contains("later version"), "{error}");
}

#[tokio::test]
async fn a_damaged_record_is_told_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let task = conformance::running_task(&*store.meta, NOW).await.unwrap();
    let other = conformance::running_task(&*store.meta, NOW).await.unwrap();
    let pool = beside(dir.path().join("kindling.db")).await;
    sqlx::query("UPDATE tasks SET state = 'odd' WHERE id = ?").bind(task.id.as_str()).execute(&pool).await.unwrap();
    let error = store.meta.task(&task.id).await.unwrap_err().to_string();
    assert!(error.contains("tasks.state") && error.contains(task.id.as_str()), "{error}");
    assert_eq!(store.meta.task(&other.id).await.unwrap(), other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_claims_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [open(dir.path()).await, open(dir.path()).await];
    common::of_many_claims_one_wins([&stores[0], &stores[1]]).await;
}

#[tokio::test]
async fn what_another_deletes_is_gone_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (open(dir.path()).await, open(dir.path()).await);
    common::what_another_deletes_is_gone_at_once([&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_goes_to_one_of_many_workers() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [open(dir.path()).await, open(dir.path()).await];
    common::each_job_goes_to_one_of_many_workers([&stores[0], &stores[1]]).await;
    // Nothing of them is left to make the file grow.
    let pool = beside(dir.path().join("queue.db")).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM Jobs").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_workers_job_is_anothers_after_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let job = Job { task: TaskId::new(), trial: kindling_spec::TrialId::new(), rung: 0 };
    store.queue.push(&job).await.unwrap();
    // It takes the job on a runtime of its own, which then ends with all its tasks, as its process would.
    let path = dir.path().to_owned();
    let silent = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let held = runtime.block_on(async { open(&path).await.queue.next("silent").await.unwrap() });
        runtime.shutdown_background();
        held.job.clone()
    });
    assert_eq!(tokio::task::spawn_blocking(move || silent.join().unwrap()).await.unwrap(), job);
    let early = tokio::time::timeout(Duration::from_millis(300), store.queue.next("living")).await;
    assert!(early.is_err(), "its lease is not over yet");
    // The clock goes on.
    let pool = beside(dir.path().join("queue.db")).await;
    sqlx::query("UPDATE Workers SET last_seen = last_seen - 3600").execute(&pool).await.unwrap();
    let waiting = store.queue.next("living");
    let delivery = tokio::time::timeout(Duration::from_secs(3), waiting).await.unwrap().unwrap();
    assert_eq!(delivery.job, job);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_directory_moves_across_disks() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    if std::fs::metadata(dir.path()).unwrap().dev() == std::fs::metadata(other.path()).unwrap().dev() {
        return;
    }
    let from = other.path().join("set");
    std::fs::create_dir(&from).unwrap();
    std::fs::write(from.join("manifest.json"), "{}").unwrap();
    let files = open(dir.path()).await.files;
    assert_eq!(files.move_dir("datasets/a", &from).await.unwrap(), 1);
    assert_eq!(files.get("datasets/a/manifest.json").await.unwrap(), "{}");
    assert!(!from.exists());
}

/// Runs the named test below in a process of its own.
fn child(role: &str, dir: &Path, task: &TaskId) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", role, "--ignored", "--nocapture", "--test-threads=1"])
        .env("KINDLING_STORE_TEST_DIR", dir)
        .env("KINDLING_STORE_TEST_TASK", task.as_str())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a child is told; nothing when run by hand.
fn told() -> Option<(PathBuf, TaskId)> {
    let task = std::env::var("KINDLING_STORE_TEST_TASK").ok()?;
    Some((std::env::var_os("KINDLING_STORE_TEST_DIR")?.into(), task.parse().unwrap()))
}

/// The lines with our mark; the harness prints others.
fn marked(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(Result::ok).filter_map(|line| line.rsplit_once("@@").map(|(_, said)| said.to_owned()))
}

fn content(n: usize) -> Vec<u8> {
    vec![(n % 251) as u8; 200_000 + n]
}

#[test]
#[ignore = "a process that another test starts and kills"]
fn writes_until_killed() {
    let Some((dir, task)) = told() else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = open(&dir).await;
        for n in store.meta.all_trials(&task).await.unwrap().len().. {
            store.files.put_bytes(&format!("kill/{n}"), content(n)).await.unwrap();
            let trial = conformance::trial(&task, u32::try_from(n).unwrap(), NOW);
            store.meta.create_trial(&trial).await.unwrap();
            store.meta.append_event(&task, "said", &json!(n), NOW).await.unwrap();
            println!("@@{n}");
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_that_was_said_to_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let task = conformance::running_task(&*store.meta, NOW).await.unwrap();
    let mut last = None;
    for round in 0..4_u64 {
        let mut process = child("writes_until_killed", dir.path(), &task.id);
        let lines = marked(&mut process);
        let said = tokio::task::spawn_blocking(move || {
            let mut lines = lines;
            let first = lines.next();
            // Killed at another moment of its work in each round.
            std::thread::sleep(Duration::from_millis(17 + 13 * round));
            process.kill().unwrap();
            process.wait().unwrap();
            lines.last().or(first)
        });
        let said: usize = said.await.unwrap().unwrap().parse().unwrap();
        assert!(last.is_none_or(|last| said > last), "it went on where it had been killed");
        last = Some(said);

        // By the handle that was open all the while and by a new one.
        for store in [store.clone(), open(dir.path()).await] {
            let trials = store.meta.all_trials(&task.id).await.unwrap();
            assert!(trials.len() > said, "trial {said} was said to be kept, {} are here", trials.len());
            assert!(trials.iter().enumerate().all(|(n, trial)| trial.number as usize == n));
            let events = store.meta.events_after(&task.id, 0, 1_000_000).await.unwrap();
            let told: Vec<_> = events.iter().filter(|e| e.kind == "said").map(|e| e.data.clone()).collect();
            assert!(told.contains(&json!(said)));
            // One event for each trial: a record and its event are one transaction.
            assert_eq!(events.iter().filter(|e| e.kind == "trial").count(), trials.len());
        }
        for file in store.files.list("kill").await.unwrap() {
            let n: usize = file.key.rsplit('/').next().unwrap().parse().unwrap();
            assert!(store.files.get(&file.key).await.unwrap() == content(n), "{} is not whole", file.key);
        }
        assert!(store.files.exists(&format!("kill/{said}")).await.unwrap());
    }
}

#[test]
#[ignore = "a process that another test starts and kills"]
fn works_until_killed() {
    let Some((dir, _)) = told() else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = open(&dir).await;
        let delivery = store.queue.next("doomed").await.unwrap();
        let job = delivery.job.clone();
        let claimed = store.meta.claim_trial(&job.trial, job.rung, "doomed", NOW + 1).await.unwrap();
        println!("@@{}", serde_json::to_string(&claimed.unwrap()).unwrap());
        std::future::pending::<()>().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trial_of_a_killed_worker_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let task = conformance::running_task(&*store.meta, NOW).await.unwrap();
    let trial = conformance::trial(&task.id, 0, NOW);
    store.meta.create_trial(&trial).await.unwrap();
    let job = Job { task: task.id.clone(), trial: trial.id.clone(), rung: 0 };
    store.queue.push(&job).await.unwrap();

    let mut process = child("works_until_killed", dir.path(), &task.id);
    let mut lines = marked(&mut process);
    let said = tokio::task::spawn_blocking(move || lines.next().unwrap()).await.unwrap();
    let dead: TrialRecord = serde_json::from_str(&said).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();

    // What the scheduler does when it sees a worker's process end.
    let reaped = store.meta.reap_worker("doomed", NOW + 2, 3).await.unwrap();
    assert_eq!(
        reaped.iter().map(|r| (r.trial.clone(), r.deaths, r.failed)).collect::<Vec<_>>(),
        [(trial.id.clone(), 1, false)]
    );
    assert_eq!(store.meta.waiting_trials(NOW + 2).await.unwrap(), std::slice::from_ref(&job));
    store.queue.push(&job).await.unwrap();
    let delivery = store.queue.next("next").await.unwrap();
    assert_eq!(delivery.job, job, "without waiting for the dead worker's lease");
    let claimed = store.meta.claim_trial(&trial.id, 0, "next", NOW + 3).await.unwrap().unwrap();
    assert!(claimed.token > dead.token);
    assert_eq!(store.meta.heartbeat(&trial.id, dead.token, NOW + 4).await.unwrap(), Beat::Lost);
    assert_eq!(store.meta.heartbeat(&trial.id, claimed.token, NOW + 4).await.unwrap(), Beat::Go);
    delivery.ack().await.unwrap();
    // The dead one's delivery comes up again too; the record says that there is nothing to do.
    assert_eq!(store.queue.worker_gone("doomed").await.unwrap(), 1);
    let twice = store.queue.next("third").await.unwrap();
    assert_eq!(store.meta.claim_trial(&twice.job.trial, 0, "third", NOW + 5).await.unwrap(), None);
    twice.ack().await.unwrap();
    assert_eq!(store.queue.depth().await.unwrap(), 0);
}
