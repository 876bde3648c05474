//! What earlier versions wrote is read by this one: databases kept at releases (`tests/tests/e2e/kept.rs` writes them), and
//! rows in the tables as they were before each migration.

#![allow(clippy::unwrap_used)]

use flate2::read::GzDecoder;
use kindling_spec::{AnalysisKind, DatasetId, ProjectId, TaskId};
use kindling_store::{DraftFilter, LabelKind, Metadata, Noun, Place, Remembered, Store};
use kindling_tests::Postgres;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::io::Read;
use std::path::{Path, PathBuf};

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kept(ending: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kept");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if let Some(version) = path.file_name().unwrap().to_str().unwrap().strip_suffix(ending) {
            let mut content = Vec::new();
            GzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut content).unwrap();
            found.push((version.to_owned(), content));
        }
    }
    assert!(!found.is_empty(), "no *{ending} is kept");
    found.sort();
    found
}

/// Every record there is, by the store's own calls. A model's card is long; its hash stands for it.
async fn everything(meta: &dyn Metadata) -> Value {
    let projects = meta.projects().await.unwrap();
    let datasets = meta.datasets(None, None, 500).await.unwrap();
    let tasks = meta.tasks(None, None, 500).await.unwrap();
    let (mut trials, mut models, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for task in &tasks {
        trials.extend(meta.all_trials(&task.id).await.unwrap());
        events.extend(meta.events_after(&task.id, 0, 1000).await.unwrap());
        for model in meta.models(&task.id).await.unwrap() {
            assert!(model.card.is_object(), "{model:?}");
            let mut value = serde_json::to_value(&model).unwrap();
            value["card"] = hash(value["card"].to_string().as_bytes()).into();
            models.push(value);
        }
    }
    let (mut webhooks, mut usage) = (Vec::new(), Vec::new());
    for project in &projects {
        let day = tasks.first().map_or(0, |task| task.created_at);
        usage.push(json!({"project": project.id, "usage": meta.usage(&project.id, day).await.unwrap()}));
        for webhook in meta.webhooks(&project.id).await.unwrap() {
            let deliveries = meta.deliveries(&webhook.id, 100).await.unwrap();
            webhooks.push(json!({"webhook": webhook, "deliveries": deliveries}));
        }
    }
    let mut drafts = Vec::new();
    for draft in meta.drafts(None, None, 500).await.unwrap() {
        let examples = meta.draft_examples(&draft.id, &DraftFilter::default(), None, 500).await.unwrap();
        let counts = meta.draft_counts(&draft.id).await.unwrap();
        drafts.push(json!({"draft": draft, "counts": counts, "examples": examples}));
    }
    let mut analyses = Vec::new();
    for dataset in &datasets {
        analyses.extend(meta.latest_analysis(AnalysisKind::Doubts, dataset.id.as_str()).await.unwrap());
    }
    let idempotent = match datasets.iter().find(|dataset| dataset.name == "in parts") {
        None => Value::Null,
        Some(dataset) => {
            let body = hash(br#"{"kind":"object-detection","name":"in parts"}"#);
            let scope = format!("{} POST /v1/datasets", dataset.project);
            let Remembered::Same(saved) = meta.remember(&scope, "kept", &body, dataset.created_at).await.unwrap()
            else {
                panic!("the answer is not remembered");
            };
            json!({"status": saved.status, "headers": saved.headers, "body": String::from_utf8(saved.body).unwrap()})
        }
    };
    json!({
        "projects": projects, "keys": meta.keys(None).await.unwrap(), "usage": usage,
        "datasets": datasets, "uploads": meta.uploads_before(i64::MAX).await.unwrap(), "analyses": analyses,
        "tasks": tasks, "trials": trials, "models": models, "events": events,
        "fleets": meta.fleets(None, None, 500).await.unwrap(), "drafts": drafts, "webhooks": webhooks,
        "workers": meta.workers().await.unwrap(), "idempotent": idempotent,
    })
}

/// That a kept database has something of each kind, so that none goes untested.
fn check_kinds(found: &Value) {
    // A service that ends in good order takes its workers' records along.
    let mut kinds: Vec<_> = found.as_object().unwrap().iter().filter(|(name, _)| *name != "workers").collect();
    kinds.retain(|(_, of_kind)| of_kind.is_null() || of_kind.as_array().is_some_and(Vec::is_empty));
    assert!(kinds.is_empty(), "{kinds:?}");
}

#[tokio::test]
async fn what_a_release_kept_in_sqlite_is_read() {
    for (version, content) in kept(".sqlite.gz") {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kindling.db"), content).unwrap();
        let found = everything(&*Store::open(dir.path()).await.unwrap().meta).await;
        check_kinds(&found);
        insta::assert_json_snapshot!(format!("{version}-sqlite"), found);
    }
}

#[tokio::test]
async fn what_a_release_kept_in_postgresql_is_read() {
    let Some(postgres) = Postgres::start() else { return };
    for (i, (version, content)) in kept(".postgres.sql.gz").into_iter().enumerate() {
        let database = postgres.database(&format!("kept_{i}"));
        let mut beside = PgConnection::connect(&database).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(String::from_utf8(content).unwrap())).execute(&mut beside).await.unwrap();
        beside.close().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let place = Place { database: Some(database), ..Place::local(dir.path()) };
        let found = everything(&*Store::connect(&place).await.unwrap().meta).await;
        check_kinds(&found);
        insta::assert_json_snapshot!(format!("{version}-postgres"), found);
    }
}

const DATASET: &str = "ds_00000000000000000000000000000001";
const TASK: &str = "task_00000000000000000000000000000001";

/// Rows as each migration's tables had them: since which, and the statements.
const ROWS: [(i64, &str); 5] = [
    (
        1,
        r#"INSERT INTO datasets (id, name, kind, state, hash, summary, created_at, updated_at) VALUES
               ('ds_00000000000000000000000000000001', 'pictures', 'image-classification', 'ready', 'abc', '{"examples": 3}', 1, 2);
           INSERT INTO datasets (id, name, kind, state, problem, created_at, updated_at) VALUES
               ('ds_00000000000000000000000000000002', 'broken', 'image-classification', 'refused',
                '{"code": "invalid_archive", "detail": "no zip"}', 3, 4);
           INSERT INTO tasks VALUES ('task_00000000000000000000000000000001',
               '{"version": 1, "name": "old", "kind": "image-classification", "dataset": "ds_00000000000000000000000000000001",
                 "budget": {"seconds": 60.0}}',
               'ds_00000000000000000000000000000001', 'running', NULL, 60.0, NULL, 12.5, 5, 6, NULL,
               'model_00000000000000000000000000000001');
           INSERT INTO trials VALUES ('trial_00000000000000000000000000000001', 'task_00000000000000000000000000000001', 0,
               '{"family": "depthwise", "params": {"width": 8}}', '{"parameters": 10}', 'paused', 0, 2, 2, 1, 3, NULL, NULL,
               NULL, 'trials/checkpoint', 7, 8);
           INSERT INTO rungs VALUES ('trial_00000000000000000000000000000001', 0, 2, 0.75, '{"accuracy": 0.75}', 0.5, 4.0, 100.0, 8);
           INSERT INTO models (id, task, trial, rung, value, test_value, parameters, weights_bytes, macs, ram_bytes, latency_ms,
                               card, files, created_at) VALUES
               ('model_00000000000000000000000000000001', 'task_00000000000000000000000000000001',
                'trial_00000000000000000000000000000001', 0, 0.75, 0.7, 10, 40, 1000, 64, 0.1, '{"name": "old"}',
                '[{"name": "model.onnx", "bytes": 100, "sha256": "00", "media_type": "application/octet-stream", "about": "a"},
                  {"name": "labels.json", "bytes": 23, "sha256": "01", "media_type": "application/json", "about": "b"}]', 9);
           INSERT INTO events (task, kind, data, at) VALUES
               ('task_00000000000000000000000000000001', 'task', '{"state": "running"}', 6);
           INSERT INTO workers VALUES ('worker 1', 42, 'flex', 6, 7, 'trial_00000000000000000000000000000001');
           INSERT INTO idempotency VALUES ('POST /v1/tasks', 'k', 'hash', 201, '[]', x'7b7d', 5);"#,
    ),
    (
        2,
        r#"INSERT INTO fleets (id, spec, dataset, created_at) VALUES ('fleet_00000000000000000000000000000001',
               '{"version": 1, "name": "watch", "kind": "image-classification",
                 "dataset": "ds_00000000000000000000000000000001", "budget": {"trials": 4}}',
               'ds_00000000000000000000000000000001', 10);
           INSERT INTO fleet_members VALUES
               ('fleet_00000000000000000000000000000001', 0, 'task_00000000000000000000000000000001', NULL);"#,
    ),
    (
        3,
        r#"INSERT INTO analyses VALUES ('analysis_00000000000000000000000000000001', 'doubts',
               'ds_00000000000000000000000000000001', '{"folds": 2}', 'complete', NULL, 1.0, 0, '{"doubtful": 1}', 11, 12);"#,
    ),
    (4, "UPDATE models SET revision = 2;"),
    (
        6,
        r#"INSERT INTO drafts (id, name, labels, classes, created_at, updated_at) VALUES
               ('draft_00000000000000000000000000000001', 'raw', 'boxes', '["fire"]', 13, 14);
           INSERT INTO draft_examples VALUES ('draft_00000000000000000000000000000001', 0, 'a.png', 'aa', 'drafts/x/pictures', 0,
               50, 20, 10, NULL, 'labelled', '{"boxes": [{"class": "fire", "x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}]}',
               NULL, NULL, NULL, 14);"#,
    ),
];

/// A data directory in which the first migrations were made and rows written then.
async fn written_after(migrations: usize, dir: &Path) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    let all = Migrator::new(folder).await.unwrap();
    let options = SqliteConnectOptions::new().filename(dir.join("kindling.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options.foreign_keys(true)).await.unwrap();
    Migrator::with_migrations(all.iter().take(migrations).cloned().collect()).run(&pool).await.unwrap();
    for (_, rows) in ROWS.iter().filter(|(since, _)| *since <= migrations as i64) {
        sqlx::raw_sql(*rows).execute(&pool).await.unwrap();
    }
    if migrations >= 5 {
        let boxes = "UPDATE datasets SET labels = 'boxes' WHERE name = 'broken'";
        sqlx::query(boxes).execute(&pool).await.unwrap();
    }
    pool.close().await;
}

#[tokio::test]
async fn rows_from_before_each_migration_are_read_and_are_the_local_projects() {
    for migrations in 1..=6 {
        let dir = tempfile::tempdir().unwrap();
        written_after(migrations, dir.path()).await;
        let store = Store::open(dir.path()).await.unwrap();
        // What has no project since before there were any is of the local one, and of no other.
        let (local, other) = (store.scoped(&ProjectId::local()), store.scoped(&ProjectId::new()));
        let (dataset, task): (DatasetId, TaskId) = (DATASET.parse().unwrap(), TASK.parse().unwrap());
        assert!(other.meta.dataset(&dataset).await.is_err() && other.meta.task(&task).await.is_err());

        let found = everything(&*store.meta).await;
        let of_local = |list: &str| {
            let list = found[list].as_array().unwrap();
            assert!(list.iter().all(|one| one["project"] == ProjectId::local().as_str()), "{list:?}");
            list.len()
        };
        assert_eq!((of_local("datasets"), of_local("tasks")), (2, 1));
        assert_eq!(of_local("fleets"), usize::from(migrations >= 2));
        assert_eq!(found["projects"][0]["name"], "local");
        assert_eq!(found["usage"][0]["usage"]["bytes"], 123, "the bytes of the model's files");

        let kept = local.meta.dataset(&dataset).await.unwrap();
        assert_eq!(
            (kept.name.as_str(), kept.labels, kept.hash.as_deref()),
            ("pictures", LabelKind::Classes, Some("abc"))
        );
        assert_eq!(kept.summary, Some(json!({"examples": 3})));
        let broken = &found["datasets"][0];
        assert_eq!(broken["labels"], if migrations >= 5 { "boxes" } else { "classes" });
        assert_eq!(broken["problem"]["code"], "invalid_archive");
        let kept = local.meta.task(&task).await.unwrap();
        assert_eq!((kept.spec.name.as_str(), kept.spent_seconds, kept.started_at), ("old", 12.5, Some(6)));
        assert_eq!(kept.budget.seconds, Some(60.0));
        let trial = &found["trials"][0];
        assert_eq!(trial["genome"], json!({"family": "depthwise", "params": {"width": 8}}));
        assert_eq!(
            (&trial["deaths"], &trial["token"], &trial["results"][0]["value"]),
            (&json!(1), &json!(3), &json!(0.75))
        );
        let model = &found["models"][0];
        assert_eq!(model["revision"], if migrations >= 4 { 2 } else { 0 });
        assert_eq!(model["files"][1]["name"], "labels.json");
        assert_eq!(found["events"][0]["data"], json!({"state": "running"}));
        assert_eq!(found["workers"][0]["pid"], 42);
        // What was remembered was nobody's; with projects it is forgotten, and the request is a new one.
        let remembered = local.meta.remember("POST /v1/tasks", "k", "hash", 6).await.unwrap();
        assert_eq!(remembered, Remembered::New);
        let owner = store.meta.project_of(Noun::Trial, trial["id"].as_str().unwrap()).await.unwrap();
        assert_eq!(owner, Some(ProjectId::local()));

        assert_eq!(found["analyses"].as_array().unwrap().len(), usize::from(migrations >= 3));
        if migrations >= 3 {
            assert_eq!(found["analyses"][0]["summary"], json!({"doubtful": 1}));
        }
        assert_eq!(of_drafts(&found), usize::from(migrations >= 6));
        if migrations >= 6 {
            assert_eq!(found["drafts"][0]["draft"]["project"], ProjectId::local().as_str());
            assert_eq!(found["drafts"][0]["examples"][0]["label"]["boxes"][0]["class"], "fire");
        }
        // It is a whole store of this version.
        kindling_store::conformance::metadata(&*store.meta).await.unwrap();
    }
}

fn of_drafts(found: &Value) -> usize {
    found["drafts"].as_array().unwrap().len()
}
