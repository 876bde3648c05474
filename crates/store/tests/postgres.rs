//! The store that several machines share: PostgreSQL and S3.

#![allow(clippy::unwrap_used)]

mod common;

use common::NOW;
use kindling_spec::{TaskId, TrialId};
use kindling_store::{Job, Outage, Place, Store, StoreError, conformance};
use kindling_tests::{Postgres, S3};
use std::time::Duration;

/// Machines of a new place: each has a directory of its own.
struct Machines {
    postgres: Postgres,
    // Kept for its end.
    _s3: S3,
    artifacts: String,
    dirs: tempfile::TempDir,
}

impl Machines {
    fn new() -> Option<Self> {
        let postgres = Postgres::start()?;
        let s3 = S3::start();
        for (name, value) in s3.environment() {
            // SAFETY: this is the only test of its process that touches the environment, before other threads read it.
            unsafe { std::env::set_var(name, value) };
        }
        let artifacts = s3.url("all/of/it");
        Some(Self { postgres, _s3: s3, artifacts, dirs: tempfile::tempdir().unwrap() })
    }

    fn place(&self, database: &str, machine: &str) -> Place {
        Place {
            data_dir: self.dirs.path().join(machine),
            database: Some(database.to_owned()),
            artifacts: Some(self.artifacts.clone()),
        }
    }
}

/// One test, so that one server is started and the environment is set once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_contract_between_machines() {
    let Some(mut machines) = Machines::new() else { return };
    let database = machines.postgres.database("first");
    opened_by_many_at_once(&machines, &database).await;
    let store = Store::connect(&machines.place(&database, "a")).await.unwrap();
    conformance::all(&store).await.unwrap();
    // Again, on what the first left there, from another machine.
    let other = Store::connect(&machines.place(&database, "b")).await.unwrap();
    conformance::all(&other).await.unwrap();

    common::of_many_claims_one_wins([&store, &other]).await;
    common::each_job_goes_to_one_of_many_workers([&store, &other]).await;
    common::what_another_deletes_is_gone_at_once([&store, &other]).await;
    events_come_in_order([&store, &other]).await;
    a_silent_workers_job_is_anothers_after_the_lease(&store, &database).await;
    callers_that_left_leave_nothing_open([&store, &other], &database).await;
    a_copy_is_fetched_once_and_dropped_with_its_files([&store, &other], &machines).await;
    the_database_goes_and_comes_back(&mut machines, &store).await;
    what_is_not_understood_is_refused(&machines).await;
}

async fn opened_by_many_at_once(machines: &Machines, database: &str) {
    let opening: Vec<_> = (0..6)
        .map(|n| {
            let place = machines.place(database, &format!("machine-{n}"));
            tokio::spawn(async move { Store::connect(&place).await.map(drop) })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
}

/// Whoever follows a task's events misses none, however many write at once.
async fn events_come_in_order(stores: [&Store; 2]) {
    let task = conformance::running_task(&*stores[0].meta, NOW).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|n: usize| {
            let (store, id) = (stores[n % 2].clone(), task.id.clone());
            tokio::spawn(async move {
                for step in 0..50 {
                    let data = serde_json::json!([n, step]);
                    store.meta.append_event(&id, "test", &data, NOW).await.unwrap();
                }
            })
        })
        .collect();
    let (mut last, mut seen) = (0, Vec::new());
    while seen.len() < 200 {
        for event in stores[1].meta.events_after(&task.id, last, 1000).await.unwrap() {
            last = event.id;
            seen.extend((event.kind == "test").then_some(event.data));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let all: std::collections::BTreeSet<_> = seen.iter().map(ToString::to_string).collect();
    assert_eq!(all.len(), 200, "each once");
}

async fn a_silent_workers_job_is_anothers_after_the_lease(store: &Store, database: &str) {
    let job = Job { task: TaskId::new(), trial: TrialId::new(), rung: 0 };
    store.queue.push(&job).await.unwrap();
    let held = store.queue.next("silent").await.unwrap();
    let pool = sqlx::PgPool::connect(database).await.unwrap();
    sqlx::query("UPDATE apalis.workers SET last_seen = now() - interval '16 seconds' WHERE id = 'silent'")
        .execute(&pool)
        .await
        .unwrap();
    let taken = store.queue.next("other").await.unwrap();
    assert_eq!(taken.job, job);
    // The silent one was only slow: its ack does not take the job from the other.
    held.ack().await.unwrap();
    drop(taken);
    let again = store.queue.next("other").await.unwrap();
    assert_eq!(again.job, job);
    again.ack().await.unwrap();
}

/// A call may be dropped at any moment, as when a client hangs up: no transaction stays open for the next.
async fn callers_that_left_leave_nothing_open(stores: [&Store; 2], database: &str) {
    let pool = sqlx::PgPool::connect(database).await.unwrap();
    let job = Job { task: TaskId::new(), trial: TrialId::new(), rung: 0 };
    for steps in 0..30 {
        let mut pushing = stores[0].queue.push(&job);
        for _ in 0..steps {
            if futures::poll!(&mut pushing).is_ready() {
                break;
            }
            std::thread::sleep(Duration::from_micros(20));
            tokio::task::yield_now().await;
        }
        drop(pushing);
        let dropped = std::time::Instant::now();
        let open = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        while sqlx::query_scalar::<_, i64>(open).fetch_one(&pool).await.unwrap() > 0 {
            assert!(dropped.elapsed().as_secs() < 3, "a transaction was left open");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    stores[0].queue.push(&job).await.unwrap();
    let taken = stores[1].queue.next("another").await.unwrap();
    assert_eq!(taken.job, job);
    taken.ack().await.unwrap();
    assert_eq!(stores[1].queue.depth().await.unwrap(), 0);
}

async fn a_copy_is_fetched_once_and_dropped_with_its_files(stores: [&Store; 2], machines: &Machines) {
    let from = tempfile::tempdir().unwrap();
    std::fs::create_dir(from.path().join("sub")).unwrap();
    std::fs::write(from.path().join("sub/large"), vec![7; 6 << 20]).unwrap();
    std::fs::write(from.path().join("small"), b"small").unwrap();
    stores[0].files.put_dir("things/one", from.path()).await.unwrap();
    let fetching = (0..4).map(|_| stores[1].files.fetch_dir("things/one"));
    let copies: Vec<_> = futures::future::join_all(fetching).await.into_iter().map(Result::unwrap).collect();
    assert!(copies.iter().all(|copy| *copy == copies[0] && copy.starts_with(machines.dirs.path().join("b/cache"))));
    assert_eq!(std::fs::read(copies[0].join("small")).unwrap(), b"small");
    assert_eq!(std::fs::read(copies[0].join("sub/large")).unwrap(), vec![7; 6 << 20]);
    assert_eq!(std::fs::read_dir(copies[0].parent().unwrap()).unwrap().count(), 1, "no half copy is left");
    assert_eq!(stores[1].files.delete_prefix("things").await.unwrap(), 2);
    assert!(!copies[0].exists());
    let gone = stores[1].files.fetch_dir("things/one").await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
}

async fn the_database_goes_and_comes_back(machines: &mut Machines, store: &Store) {
    let task = conformance::running_task(&*store.meta, NOW).await.unwrap();
    machines.postgres.kill();
    let away = store.meta.task(&task.id).await.unwrap_err();
    assert_eq!(Outage::of(&away), Some(Outage::Away), "{away}");
    machines.postgres.restart();
    let started = std::time::Instant::now();
    let back = loop {
        match store.meta.task(&task.id).await {
            Ok(task) => break task,
            Err(error) => assert!(Outage::of(&error).is_some() && started.elapsed().as_secs() < 20, "{error}"),
        }
    };
    assert_eq!(back, task);
    store.meta.ping().await.unwrap();
    store.queue.ping().await.unwrap();
}

async fn what_is_not_understood_is_refused(machines: &Machines) {
    let dir = machines.dirs.path().join("c");
    for (database, artifacts) in [(Some("mysql://user:secret@host/x"), None), (None, Some("ftp://secret"))] {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let place = Place { data_dir: dir.clone(), database: owned(database), artifacts: owned(artifacts) };
        let error = Store::connect(&place).await.map(drop).unwrap_err().to_string();
        assert!(error.contains("://…") && !error.contains("secret"), "{error}");
    }
    let later = machines.postgres.database("later");
    drop(Store::connect(&machines.place(&later, "a")).await.unwrap());
    let pool = sqlx::PgPool::connect(&later).await.unwrap();
    sqlx::query("INSERT INTO kindling_migrations VALUES (9999, 'later', now(), TRUE, ''::bytea, 0)")
        .execute(&pool)
        .await
        .unwrap();
    let error = Store::connect(&machines.place(&later, "a")).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { version: 9999, .. }), "{error}");
}
