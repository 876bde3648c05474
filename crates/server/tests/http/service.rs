//! The service as who runs it sees it: figures, readiness, the page; and what is deleted.

use axum::body::Body;
use axum::http::Method;
use kindling_engine::Retention;
use kindling_server::Config;
use kindling_spec::{DatasetId, ModelId, ProjectId, Scope, TaskId};
use kindling_store::{Quota, RUNG_BOUNDS, WorkerRecord};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::fixture::{Server, png, zip};

/// A server that looks anew at each request.
async fn forgetful() -> Server {
    let config = Config { status_memory: Duration::ZERO, key_memory: Duration::ZERO, ..Config::default() };
    Server::open_with(config).await
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

fn worker(name: &str, machine: &str, seen_at: i64) -> WorkerRecord {
    WorkerRecord {
        name: name.into(),
        pid: 7,
        machine: machine.into(),
        device: "flex".into(),
        started_at: seen_at - 60_000,
        seen_at,
        trial: None,
        resident_bytes: Some(150_000_000),
        memory_bytes: Some(8_000_000_000),
        images_per_second: Some(1234.5),
    }
}

/// The samples of a page in Prometheus' text format by name and labels, after it was held against the format's rules and
/// those of names.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let (mut helped, mut current, mut found) = (BTreeSet::new(), String::new(), BTreeMap::new());
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()) && help.ends_with('.'), "{line}");
            current = name.to_owned();
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "HELP comes first");
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let reserved = ["_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end));
            let unit = ["_ms", "_milliseconds", "_minutes", "_kilobytes", "_percent"].iter().any(|u| name.contains(u));
            assert!(!reserved && !unit && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            kinds.insert(name.to_owned(), kind.to_owned());
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let family = family.filter(|family| kinds.contains_key(*family)).unwrap_or(name);
        assert_eq!(family, current, "samples of a metric stand together: {line}");
        if let Some(labels) = series.strip_prefix(name).and_then(|rest| rest.strip_prefix('{')) {
            assert!(labels.ends_with("\"}") && labels.contains("=\""), "{line}");
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(found.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }
    for (name, kind) in kinds.iter().filter(|(_, kind)| *kind == "histogram") {
        let counts = found.iter().filter(|(series, _)| series.starts_with(&format!("{name}_count")));
        for (series, count) in counts {
            let labels = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
            let of = |le: &str| found[&format!("{name}_bucket{{{labels},le=\"{le}\"}}")];
            assert_eq!(of("+Inf"), *count, "{series} of a {kind}");
            let buckets = found.iter().filter(|(s, _)| s.starts_with(&format!("{name}_bucket{{{labels},le=")));
            let mut buckets: Vec<(f64, f64)> = buckets
                .map(|(s, count)| (s.rsplit_once("le=\"").unwrap().1.trim_end_matches("\"}").parse().unwrap(), *count))
                .collect();
            buckets.sort_by(|a, b| a.partial_cmp(b).unwrap());
            assert!(buckets.len() > 5 && buckets.is_sorted_by(|a, b| a.1 <= b.1), "cumulative: {series}");
        }
    }
    found
}

#[tokio::test]
async fn figures_are_read_from_what_all_share_and_keep_prometheus_rules() {
    let server = forgetful().await;
    let dataset = server.dataset().await;
    let task = server.task(&dataset).await;
    let trial = server.trial(&task, 0, 0.9).await;
    server.model(&task, &trial, 0.9).await;
    server.project("quote \" and \\", Quota::default()).await;
    let meta = &server.service.store().meta;
    let time = now();
    meta.worker_seen(&worker("w0", "hill", time)).await.unwrap();
    meta.worker_seen(&WorkerRecord { trial: Some(trial), ..worker("w1", "hill", time) }).await.unwrap();
    meta.worker_seen(&worker("w2", "valley", time - 60_000)).await.unwrap();
    server.get("/v1/tasks").await.is(200);
    let page = server.get("/metrics").await.is(200);
    let found = samples(&page.text());
    let rung = |what: &str| found[&format!("kindling_rung_{what}{{rung=\"0\"}}")];
    assert_eq!((rung("duration_seconds_sum"), rung("duration_seconds_count")), (1.0, 1.0));
    assert_eq!((rung("images_per_second_sum"), rung("images_per_second_count")), (30.0, 1.0));
    assert_eq!(found["kindling_rung_duration_seconds_bucket{rung=\"0\",le=\"0.5\"}"], 0.0);
    assert_eq!(found["kindling_rung_duration_seconds_bucket{rung=\"0\",le=\"1\"}"], 1.0);
    let workers = ["busy", "idle", "silent"].map(|state| found[&format!("kindling_workers{{state=\"{state}\"}}")]);
    assert_eq!(workers, [1.0, 1.0, 1.0]);
    let memory = "kindling_worker_resident_memory_bytes{worker=\"w0\",machine=\"hill\",device=\"flex\"}";
    assert_eq!(found[memory], 150e6);
    assert!(!page.text().contains("worker=\"w2\""), "what a silent one held is not known");
    let stored = |kind: &str| found[&format!("kindling_stored_bytes{{project=\"local\",kind=\"{kind}\"}}")];
    assert!(stored("datasets") > 10_000.0 && stored("models") > 1_000.0 && stored("drafts") == 0.0);
    assert!(found.contains_key("kindling_stored_bytes{project=\"quote \\\" and \\\\\",kind=\"models\"}"), "{found:?}");
    assert_eq!(found["kindling_queue_oldest_age_seconds"], 0.0);
    assert!(found["kindling_active_tasks"] == 1.0 && found["kindling_trials{state=\"paused\"}"] == 1.0);

    // A trial that waits, made an hour ago.
    let waiting = kindling_store::conformance::trial(&task, 1, time - 3_600_000);
    meta.create_trial(&waiting).await.unwrap();
    let oldest = samples(&server.get("/metrics").await.text())["kindling_queue_oldest_age_seconds"];
    assert!((3600.0..3700.0).contains(&oldest), "{oldest}");

    // What was done stays counted when it is deleted: a counter that falls looks like one that began anew.
    server.post(&format!("/v1/tasks/{task}/cancel"), &json!({})).await.is(200);
    server.send(Method::DELETE, &format!("/v1/tasks/{task}"), &[], Body::empty()).await.is(204);
    let after = samples(&server.get("/metrics").await.text());
    assert_eq!(after["kindling_rung_duration_seconds_count{rung=\"0\"}"], 1.0);
    assert_eq!(after["kindling_trials{state=\"paused\"}"], 0.0);
    assert_eq!(
        RUNG_BOUNDS.len() + 1,
        after.keys().filter(|k| k.starts_with("kindling_rung_duration_seconds_bucket")).count()
    );
}

/// `cargo test --release --workspace --test http -- --ignored a_thousand --nocapture`
#[tokio::test]
#[ignore = "measures"]
async fn a_thousand_trials_are_told_in_a_moment() {
    let server = forgetful().await;
    let task = server.task(&server.dataset().await).await;
    for number in 0..1000 {
        server.trial(&task, number, 0.5).await;
    }
    let mut took = Vec::new();
    for _ in 0..50 {
        let began = Instant::now();
        server.get("/metrics").await.is(200);
        took.push(began.elapsed());
    }
    took.sort();
    println!("median {:?}, longest {:?}", took[25], took[49]);
    assert!(took[25] < Duration::from_millis(100), "{:?}", took[25]);
}

#[tokio::test]
async fn readiness_says_what_cannot_be_written() {
    let server = forgetful().await;
    server.get("/readyz").await.is(200);
    // The folder of the files is gone, and something else in its place.
    let files = server.service.data_dir().join("files");
    let aside = server.service.data_dir().join("aside");
    std::fs::rename(&files, &aside).unwrap();
    std::fs::write(&files, b"no folder").unwrap();
    let problem = server.get("/readyz").await.is_problem(503, "unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("object store") && !detail.contains("database") && !detail.contains("queue"), "{detail}");
    server.get("/healthz").await.is(200);
    std::fs::remove_file(&files).unwrap();
    std::fs::rename(&aside, &files).unwrap();
    server.get("/readyz").await.is(200);
    assert!(server.service.store().files.list("probe").await.unwrap().is_empty(), "nothing is left of the looking");

    server.stopping.cancel();
    let problem = server.get("/readyz").await.is_problem(503, "unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("stopping"), "{problem}");
}

#[tokio::test]
async fn readiness_is_looked_for_now_and_then() {
    let server = Server::open_with(Config { status_memory: Duration::from_secs(3600), ..Config::default() }).await;
    server.get("/readyz").await.is(200);
    std::fs::rename(server.service.data_dir().join("files"), server.service.data_dir().join("aside")).unwrap();
    std::fs::write(server.service.data_dir().join("files"), b"no folder").unwrap();
    server.get("/readyz").await.is(200);
}

#[tokio::test]
async fn the_page_of_the_service_is_for_administrators() {
    let server = forgetful().await;
    let meta = &server.service.store().meta;
    let time = now();
    let task = server.task(&server.dataset().await).await;
    let trial = server.trial(&task, 0, 0.9).await;
    meta.worker_seen(&WorkerRecord { trial: Some(trial), ..worker("w0", "hill <b>", time) }).await.unwrap();
    // Where there are no keys whoever reaches the service may see it.
    let page = server.get("/service").await.is(200).text();
    for part in ["hill &lt;b&gt;", "150 MB", "Fire on the hill", "trial 0, rung 0", "has them all", "href=\"/service\""]
    {
        assert!(page.contains(part), "{part}:\n{page}");
    }
    assert!(!page.contains(" style="));
    let told = server.get("/v1/service").await.is(200).json();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["workers"][0]["state"], "busy");
    assert_eq!(told["workers"][0]["work"], json!({"task": task, "name": "Fire on the hill", "trial": 0, "rung": 0}));
    assert_eq!((&told["trials"], &told["tasks"]), (&json!({"paused": 1}), &json!({"queued": 1, "running": 0})));
    assert_eq!((&told["shared"], &told["queue"]), (&json!(false), &json!({"depth": 0, "oldest_seconds": 0.0})));

    let other = server.project("valley", Quota::default()).await;
    let (theirs, _) = server.holder(&other, Scope::Admin).await;
    let told = theirs.get("/v1/service").await.is(200).json();
    assert_eq!((&told["workers"][0]["state"], &told["workers"][0]["work"]), (&json!("busy"), &json!(null)));
    let names: Vec<_> = told["stored"].as_array().unwrap().iter().map(|of| of["name"].clone()).collect();
    assert_eq!(names, ["local", "valley"]);
    let page = theirs.get("/service").await.is(200).text();
    assert!(page.contains("another project's") && !page.contains("Fire on the hill"), "{page}");
    // The way there is shown to who may go it.
    assert!(theirs.get("/").await.text().contains("href=\"/service\""));
    let (writer, _) = server.holder(&ProjectId::local(), Scope::Write).await;
    assert!(!writer.get("/").await.is(200).text().contains("href=\"/service\""));
    writer.get("/service").await.is_problem(403, "forbidden");
    writer.get("/v1/service").await.is_problem(403, "forbidden");
}

#[tokio::test]
async fn what_is_deleted_is_gone_with_its_files() {
    let server = Server::open().await;
    let files = &server.service.store().files;
    let kept = async || {
        let mut keys = BTreeSet::new();
        for prefix in ["datasets", "drafts", "uploads", "models", "mistakes", "answers", "checkpoints", "analyses"] {
            keys.extend(files.list(prefix).await.unwrap().into_iter().map(|file| file.key));
        }
        keys
    };
    let delete = async |path: &str| server.send(Method::DELETE, path, &[], Body::empty()).await;
    let before = kept().await;
    assert!(before.is_empty());
    let dataset = server.dataset().await;
    let with_dataset = kept().await;
    let task = server.task(&dataset).await;
    let (first, second) = (server.trial(&task, 0, 0.9).await, server.trial(&task, 1, 0.8).await);
    let (best, other) = (server.model(&task, &first, 0.9).await, server.model(&task, &second, 0.8).await);
    let meta = &server.service.store().meta;
    assert!(meta.set_best_model(&task, None, &best, 9).await.unwrap());
    for key in [format!("checkpoints/{task}/{first}/rung-0-1.safetensors"), format!("models/{best}-1/half.onnx")] {
        files.put_bytes(&key, &b"x"[..]).await.unwrap();
    }
    let draft = server.post("/v1/drafts", &json!({"name": "raw", "classes": ["fire"]})).await.is(201).json();
    let draft = format!("/v1/drafts/{}", draft["id"].as_str().unwrap());
    server.send(Method::POST, &format!("{draft}/pictures"), &[], zip(&[("a.png".into(), png(9, 24))])).await.is(200);
    let waiting = server.empty_dataset().await;
    let upload = server.post("/v1/uploads", &json!({"dataset": waiting, "bytes": 3})).await.is(201).json();
    let upload = format!("/v1/uploads/{}", upload["id"].as_str().unwrap());
    server.send(Method::PUT, &format!("{upload}/parts/0"), &[], "abc").await.is(200);

    delete(&format!("/v1/tasks/{task}")).await.is_problem(409, "task_state");
    delete(&format!("/v1/models/{best}")).await.is_problem(409, "task_state");
    server.post(&format!("/v1/tasks/{task}/cancel"), &json!({})).await.is(200);
    delete(&format!("/v1/datasets/{dataset}")).await.is_problem(409, "dataset_in_use");
    delete(&format!("/v1/models/{best}")).await.is(204);
    delete(&format!("/v1/models/{best}")).await.is_problem(404, "model_not_found");
    assert!(kept().await.iter().all(|key| !key.contains(best.as_str())));
    let left = server.get(&format!("/v1/tasks/{task}")).await.is(200).json();
    assert_eq!(left["best"]["model"], other.as_str(), "the next takes its place");
    server.get(&format!("/tasks/{task}")).await.is(200);
    // An upload's parts go with its data set.
    delete(&format!("/v1/datasets/{waiting}")).await.is(204);
    server.get(&upload).await.is_problem(404, "upload_not_found");
    delete(&draft).await.is(204);
    delete(&format!("/v1/tasks/{task}")).await.is(204);
    for path in [format!("/v1/tasks/{task}"), format!("/v1/models/{other}")] {
        assert_eq!(server.get(&path).await.status, 404, "{path}");
    }
    delete(&format!("/v1/tasks/{task}")).await.is_problem(404, "task_not_found");
    assert_eq!(kept().await, with_dataset);
    delete(&format!("/v1/datasets/{dataset}")).await.is(204);
    assert_eq!(kept().await, before);
    for path in [format!("/v1/tasks/{}", TaskId::new()), format!("/v1/datasets/{}", DatasetId::new())] {
        assert_eq!(delete(&path).await.status, 404, "{path}");
    }
    assert!(meta.removals(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_fleet_goes_as_a_whole() {
    let server = Server::open().await;
    let dataset = server.dataset().await;
    let spec = json!({
        "version": 1, "name": "Watch", "kind": "image-classification", "dataset": dataset,
        "background": ["neither"], "constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": 90},
    });
    let fleet = server.post("/v1/fleets", &spec).await.is(201).json();
    let path = format!("/v1/fleets/{}", fleet["id"].as_str().unwrap());
    let delete = async |path: &str| server.send(Method::DELETE, path, &[], Body::empty()).await;
    delete(&path).await.is_problem(409, "fleet_state");
    server.post(&format!("{path}/cancel"), &json!({})).await.is(200);
    let member = server.get("/v1/tasks").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let told = delete(&format!("/v1/tasks/{member}")).await.is_problem(409, "task_state");
    assert!(told["detail"].as_str().unwrap().contains("fleet"), "{told}");
    delete(&path).await.is(204);
    delete(&path).await.is_problem(404, "fleet_not_found");
    assert_eq!(server.get("/v1/tasks").await.json()["items"], json!([]));
    delete(&format!("/v1/datasets/{dataset}")).await.is(204);
}

#[tokio::test]
async fn what_is_old_goes_and_what_people_made_stays() {
    let server = Server::open().await;
    let (files, meta) = (&server.service.store().files, &server.service.store().meta);
    let dataset = server.dataset().await;
    let task = server.task(&dataset).await;
    let (won, lost) = (server.trial(&task, 0, 0.9).await, server.trial(&task, 1, 0.8).await);
    let model = server.model(&task, &won, 0.9).await;
    let checkpoint = |trial: &kindling_spec::TrialId| format!("checkpoints/{task}/{trial}/rung-0-1.safetensors");
    for trial in [&won, &lost] {
        files.put_bytes(&checkpoint(trial), &b"x"[..]).await.unwrap();
    }
    let waiting = server.empty_dataset().await;
    let upload = server.post("/v1/uploads", &json!({"dataset": waiting, "bytes": 3})).await.is(201).json();
    let upload = format!("/v1/uploads/{}", upload["id"].as_str().unwrap());
    server.send(Method::PUT, &format!("{upload}/parts/0"), &[], "abc").await.is(200);
    meta.worker_seen(&worker("w0", "hill", now())).await.unwrap();
    // Of workers that were killed before they wrote the record, or after it was deleted.
    let stray = ModelId::new();
    let strays = [
        format!("models/{stray}/model.onnx"),
        format!("models/{stray}-1/model.c"),
        format!("mistakes/{stray}.json"),
        format!("checkpoints/{}/{lost}/rung-0-1.safetensors", TaskId::new()),
    ];
    for key in &strays {
        files.put_bytes(key, &b"x"[..]).await.unwrap();
    }

    let day = Duration::from_secs(24 * 3600);
    let usual = Retention::default();
    let at = |days: u32| now() + i64::try_from((day * days).as_millis()).unwrap();
    server.service.expire(&usual, now() + 3_600_000).await.unwrap();
    for key in &strays {
        assert!(files.exists(key).await.unwrap(), "{key} is not old");
    }
    server.service.expire(&usual, at(2)).await.unwrap();
    for key in &strays {
        assert!(!files.exists(key).await.unwrap(), "{key}");
    }
    // A study that goes on is none of its business, however long.
    server.service.expire(&Retention { uploads: None, ..usual }, at(1000)).await.unwrap();
    assert!(files.exists(&checkpoint(&lost)).await.unwrap());
    server.get(&upload).await.is(200);
    server.post(&format!("/v1/tasks/{task}/cancel"), &json!({})).await.is(200);
    let never = Retention { trials: None, uploads: None, deliveries: None };
    server.service.expire(&never, at(1000)).await.unwrap();
    server.service.expire(&usual, at(6)).await.unwrap();
    assert!(files.exists(&checkpoint(&lost)).await.unwrap());
    server.get(&upload).await.is(200);
    assert!(meta.workers().await.unwrap().is_empty(), "one that was silent for days is forgotten");
    server.service.expire(&usual, at(8)).await.unwrap();
    server.get(&upload).await.is_problem(404, "upload_not_found");
    assert!(files.list("uploads").await.unwrap().is_empty());
    assert!(!meta.events_after(&task, 0, 10).await.unwrap().is_empty());
    server.service.expire(&usual, at(31)).await.unwrap();
    assert!(meta.events_after(&task, 0, 10).await.unwrap().is_empty());
    assert!(!files.exists(&checkpoint(&lost)).await.unwrap() && files.exists(&checkpoint(&won)).await.unwrap());
    let trials = server.get(&format!("/v1/tasks/{task}/trials")).await.is(200).json();
    assert_eq!(trials["items"].as_array().unwrap().len(), 2, "what they reached is kept");
    server.get(&format!("/v1/models/{model}/bundle.zip")).await.is(200);
    server.get(&format!("/v1/datasets/{dataset}/examples/0/image")).await.is(200);
    server.get(&format!("/tasks/{task}")).await.is(200);
}

/// The status of an answer over a connection of its own.
async fn status(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_server_that_drains_answers_and_says_that_it_is_not_ready() {
    let server = Server::open().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config { drain: Duration::from_secs(1), ..Config::default() };
    let (stop, told) = tokio::sync::oneshot::channel::<()>();
    let serving =
        tokio::spawn(kindling_server::serve_with(listener, server.service.clone(), config, async { drop(told.await) }));
    assert_eq!(status(address, "/readyz").await, "200");
    stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((status(address, "/readyz").await, status(address, "/v1/tasks").await), ("503".into(), "200".into()));
    let ended = tokio::time::timeout(Duration::from_secs(5), serving).await;
    ended.expect("it ends").unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
