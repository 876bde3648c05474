//! Fleets over HTTP: posted, watched, compared, bundled, cancelled. The models' answers are made up here, and what
//! the report says of them is computed again.

use axum::body::Body;
use axum::http::Method;
use kindling_spec::{ModelId, Split, TaskId};
use serde_json::{Value, json};
use std::io::Read;

use crate::fixture::Server;

fn spec(dataset: &str) -> Value {
    json!({
        "version": 1, "name": "Watch on the hill", "kind": "image-classification", "dataset": dataset,
        "background": ["neither"], "objective": {"metric": "accuracy", "precision": 0.7},
        "constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": 90, "trials": 7},
    })
}

/// The test examples' numbers and classes.
async fn test_split(server: &Server, dataset: &str) -> Vec<(usize, String)> {
    let open = server.service.open_dataset(&dataset.parse().unwrap()).await.unwrap();
    let manifest = open.manifest();
    let examples = manifest.examples.iter().enumerate().filter(|(_, e)| e.split == Split::Test);
    examples.map(|(i, e)| (i, manifest.classes[e.class].clone())).collect()
}

/// A model of the task, and what it is to have said: a score for each test example, per class of fire, neither, smoke.
async fn answered(server: &Server, task: &TaskId, score: impl Fn(usize, &str) -> [f32; 3]) -> ModelId {
    let trial = server.trial(task, 0, 0.9).await;
    let model = server.model(task, &trial, 0.9).await;
    let meta = &server.service.store().meta;
    assert!(meta.set_best_model(task, None, &model, 9).await.unwrap());
    let dataset = server.service.task(task).await.unwrap().dataset;
    let split = test_split(server, dataset.as_str()).await;
    let answers = json!({
        "examples": split.iter().map(|(i, _)| i).collect::<Vec<_>>(),
        "probabilities": split.iter().enumerate().flat_map(|(n, (_, class))| score(n, class)).collect::<Vec<_>>(),
    });
    server.service.store().files.put_bytes(&format!("answers/{model}.json"), answers.to_string()).await.unwrap();
    model
}

fn tasks(fleet: &Value) -> Vec<TaskId> {
    fleet["tasks"].as_array().unwrap().iter().map(|t| t["task"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn a_fleet_is_posted_once_listed_and_cancelled() {
    let server = Server::open().await;
    let dataset = server.dataset().await;
    let key = [("idempotency-key", "first")];
    let post = async || server.send(Method::POST, "/v1/fleets", &key, spec(&dataset).to_string()).await.is(201);
    let (posted, again) = (post().await, post().await);
    let fleet = posted.json();
    assert_eq!((again.json(), again.header("idempotent-replayed")), (fleet.clone(), "true"));
    let path = format!("/v1/fleets/{}", fleet["id"].as_str().unwrap());
    assert_eq!(posted.header("location"), path);
    assert_eq!(fleet["state"], "queued");
    let classes: Vec<_> = fleet["tasks"].as_array().unwrap().iter().map(|t| t["class"].clone()).collect();
    assert_eq!(classes, [Value::Null, json!("fire"), json!("smoke")]);
    let budgets: Vec<_> =
        fleet["tasks"].as_array().unwrap().iter().map(|t| t["progress"]["trials_left"].clone()).collect();
    assert_eq!(budgets, [3, 2, 2]);
    let task = server.get(&format!("/v1/tasks/{}", tasks(&fleet)[1])).await.is(200).json();
    assert_eq!(task["spec"]["classes"], json!({"fire": ["fire"], "rest": ["neither", "smoke"]}));
    assert_eq!(task["budget"]["seconds"], 30.0);

    let second = server.post("/v1/fleets", &spec(&dataset)).await.is(201).json();
    let page = server.get("/v1/fleets?limit=1").await.is(200).json();
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&second["id"], &second["id"]));
    let rest = server.get(&format!("/v1/fleets?after={}", page["next"].as_str().unwrap())).await.is(200).json();
    assert_eq!((&rest["items"][0], &rest["next"]), (&fleet, &Value::Null));

    let cancelled = server.post(&format!("{path}/cancel"), &json!({})).await.is(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    for task in tasks(&fleet) {
        assert_eq!(server.get(&format!("/v1/tasks/{task}")).await.json()["state"], "cancelled");
    }
    server.post(&format!("{path}/cancel"), &json!({})).await.is_problem(409, "fleet_state");
    server.get(&format!("{path}/bundle.zip")).await.is_problem(409, "fleet_state");
    let report = server.get(&format!("{path}/report")).await.is(200).json();
    assert_eq!((&report["complete"], &report["classes"][0]["specialist"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn every_broken_rule_is_told_and_nothing_is_posted() {
    let server = Server::open().await;
    let dataset = server.dataset().await;
    let mut bad = spec(&dataset);
    bad["specialists"] = json!([]);
    bad["exports"] = json!(["safetensors"]);
    let problem = server.post("/v1/fleets", &bad).await.is_problem(422, "invalid_spec");
    let pointers: Vec<_> = problem["violations"].as_array().unwrap().iter().map(|v| v["pointer"].clone()).collect();
    assert_eq!(pointers, ["/specialists", "/exports"]);
    let mut unknown = spec(&dataset);
    unknown["specialists"] = json!(["cat"]);
    unknown["budget"] = json!({"trials": 1});
    let problem = server.post("/v1/fleets", &unknown).await.is_problem(422, "invalid_spec");
    assert_eq!(problem["violations"][0]["pointer"], "/specialists/0");
    let mut tight = spec(&dataset);
    tight["single_constraints"] = json!({});
    tight["constraints"] = json!({"max_weights_bytes": 10});
    let problem = server.post("/v1/fleets", &tight).await.is_problem(422, "limits_too_tight");
    assert!(problem["detail"].as_str().unwrap().starts_with("the specialist of `fire`: "), "{problem}");
    server.post("/v1/fleets", &spec("local")).await.is_problem(422, "invalid_spec");
    server.post("/v1/fleets", &spec(&format!("ds_{}", "0".repeat(32)))).await.is_problem(404, "dataset_not_found");
    assert_eq!(server.get("/v1/tasks").await.json()["items"], json!([]), "all or none");
}

#[tokio::test]
async fn the_report_is_what_the_answers_say_and_the_bundle_holds_it() {
    let server = Server::open().await;
    let dataset = server.dataset().await;
    let fleet = server.post("/v1/fleets", &spec(&dataset)).await.is(201).json();
    let path = format!("/v1/fleets/{}", fleet["id"].as_str().unwrap());
    let members = tasks(&fleet);
    // The single model takes every third picture of a class for another; the specialist of fire is never wrong.
    let hit = |n: usize| if n.is_multiple_of(3) { 0.2 } else { 0.8 };
    let single = |n: usize, class: &str| match class {
        "fire" => [hit(n), 0.1, 0.1],
        "smoke" => [0.5, 0.1, hit(n)],
        _ => [0.3, 0.6, 0.3],
    };
    answered(&server, &members[0], single).await;
    let finder = |_: usize, class: &str| if class == "fire" { [0.9, 0.1, 0.0] } else { [0.1, 0.9, 0.0] };
    let model = answered(&server, &members[1], finder).await;

    let report = server.get(&format!("{path}/report")).await.is(200).json();
    let split = test_split(&server, &dataset).await;
    assert_eq!((&report["test_examples"], &report["complete"]), (&json!(split.len()), &json!(false)));
    let fire = &report["classes"][0];
    let positives = split.iter().filter(|(_, class)| class == "fire").count();
    assert_eq!((&fire["class"], &fire["positives"]), (&json!("fire"), &json!(positives)));
    assert_eq!(fire["specialist"]["recall"], 1.0);
    assert_eq!(
        (&fire["specialist"]["average_precision"], &fire["specialist"]["average_precision_ci"]),
        (&json!(1.0), &Value::Null)
    );
    assert_eq!(fire["specialist"]["model"], json!(model));
    // Sorted by the score of fire: those at 0.8 are all fire; then 0.5 all smoke, 0.3 neither, 0.2 the missed ones.
    let found = split.iter().enumerate().filter(|(n, (_, class))| class == "fire" && !n.is_multiple_of(3)).count();
    let recall = found as f64 / positives as f64;
    let of = |v: &Value| v.as_f64().unwrap();
    let whole = positives as f64 / split.len() as f64;
    let expected = if whole >= 0.7 { 1.0 } else { recall };
    assert!((of(&fire["single"]["recall"]) - expected).abs() < 1e-12, "{fire}");
    let precise = recall + (1.0 - recall) * whole;
    assert!((of(&fire["single"]["average_precision"]) - precise).abs() < 1e-9, "{fire} {precise}");
    assert!((of(&fire["difference"]["recall"]) - (1.0 - expected)).abs() < 1e-12);
    let [low, high] = [0, 1].map(|i| of(&fire["difference"]["recall_ci"][i]));
    assert!(low < 1.0 - expected && 1.0 - expected < high && high <= 1.0, "{fire}");
    assert_eq!(fire["difference"]["average_precision_ci"].as_array().map(Vec::len), Some(2));
    let smoke = &report["classes"][1];
    assert_eq!((&smoke["specialist"], &smoke["difference"]), (&Value::Null, &Value::Null));
    assert!(smoke["single"]["recall"].is_number());
    assert_eq!((&report["specialists"]["models"], &report["single"]["weights_bytes"]), (&json!(1), &json!(4000)));

    let zip = server.get(&format!("{path}/bundle.zip")).await.is(200);
    assert_eq!(zip.body, server.get(&format!("{path}/bundle.zip")).await.body, "the same bytes each time");
    let etag = zip.header("etag").to_owned();
    assert_eq!(zip.header("cache-control"), "private, no-cache", "it changes with its specialists");
    let known = [("if-none-match", etag.as_str())];
    server.send(Method::GET, &format!("{path}/bundle.zip"), &known, Body::empty()).await.is(304);
    let part = [("range", "bytes=10-19")];
    let part = server.send(Method::GET, &format!("{path}/bundle.zip"), &part, Body::empty()).await.is(206);
    assert_eq!(part.body, zip.body[10..20]);
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip.body)).unwrap();
    let mut read = |name: &str| {
        let mut bytes = Vec::new();
        archive.by_name(name).unwrap_or_else(|e| panic!("{name}: {e}")).read_to_end(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(serde_json::from_slice::<Value>(&read("report.json")).unwrap(), report);
    let manifest: Value = serde_json::from_slice(&read("fleet.json")).unwrap();
    let entry = &manifest["specialists"][0];
    assert_eq!((&entry["class"], &entry["path"]), (&json!("fire"), &json!("specialists/0-fire/model.onnx")));
    let onnx = read("specialists/0-fire/model.onnx");
    assert_eq!(onnx, server.get(&format!("/v1/models/{model}/files/model.onnx")).await.body);
    let readme = String::from_utf8(read("README.md")).unwrap();
    assert!(readme.contains("| fire |") && readme.contains("router.py"), "{readme}");
    let sums = String::from_utf8(read("SHA256SUMS")).unwrap();
    for line in sums.lines() {
        let (hash, name) = line.split_once("  ").unwrap();
        let found: String =
            <sha2::Sha256 as sha2::Digest>::digest(read(name)).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, hash, "{name}");
    }
    assert!(sums.contains("  router.py\n") && sums.contains("  specialists/0-fire/card.json\n"), "{sums}");
}

#[tokio::test]
async fn a_fleets_page_shows_progress_and_the_comparison() {
    let server = Server::open().await;
    let dataset = server.dataset().await;
    assert!(!server.get("/").await.text().contains("Fleets"));
    let fleet = server.post("/v1/fleets", &spec(&dataset)).await.is(201).json();
    let path = format!("/fleets/{}", fleet["id"].as_str().unwrap());
    let waiting = server.get(&path).await.is(200).text();
    for part in ["About to start", "The comparison appears", "The files will be here", "data-cancel"] {
        assert!(waiting.contains(part), "{part}:\n{waiting}");
    }
    let members = tasks(&fleet);
    for task in &members[..2] {
        answered(
            &server,
            task,
            |n, class| if class == "fire" { [0.9, 0.1, n as f32 / 100.0] } else { [0.1, 0.9, 0.0] },
        )
        .await;
    }
    let page = server.get(&path).await.is(200).text();
    let live = server.get(&format!("{path}/live")).await.is(200).text();
    for part in ["Recall at 70.0% precision", "bundle.zip", "All specialists", "The single model", "difference, points"]
    {
        assert!(page.contains(part) && live.contains(part), "{part}:\n{page}");
    }
    assert!(page.contains(&format!("/tasks/{}", members[2])) && !page.contains(" style="));
    assert!(live.len() < page.len() && !live.contains("<html"));
    let home = server.get("/").await.text();
    assert!(home.contains(&path) && home.contains("1 of 2"), "{home}");
    let posted = format!("/v1{path}/cancel");
    server.post(&posted, &json!({})).await.is(200);
    assert!(server.get(&path).await.text().contains("Stopped"));
}
