//! Doubtful labels and new versions over HTTP.

use axum::http::Method;
use kindling_engine::run_analysis;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::fixture::Server;

/// Runs what was asked for, as the analyst's process would.
async fn run(server: &Server, asked: &Value) {
    let id = asked["id"].as_str().unwrap().parse().unwrap();
    run_analysis(server.service.data_dir(), &id, "flex", CancellationToken::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn doubts_are_asked_for_found_paged_and_shown() {
    let server = Server::open().await;
    let id = server.dataset().await;
    let (path, page) = (format!("/v1/datasets/{id}/doubts"), format!("/datasets/{id}/doubts"));
    server.get(&path).await.is_problem(404, "analysis_not_found");
    assert!(server.get(&page).await.is(200).text().contains("data-post"));
    assert!(server.get(&format!("/datasets/{id}")).await.text().contains(&format!("href=\"{page}\"")));
    for bad in [json!({"folds": 1}), json!({"epochs": 0}), json!({"epochs": 1000}), json!({"speed": 1}), json!([1])] {
        server.post(&path, &bad).await.is_problem(400, "invalid_request");
    }
    let empty = server.empty_dataset().await;
    server.post(&format!("/v1/datasets/{empty}/doubts"), &json!({})).await.is_problem(409, "dataset_not_ready");
    server.post("/v1/datasets/ds_1/doubts", &json!({})).await.is_problem(404, "dataset_not_found");
    server.get("/v1/datasets/ds_1/doubts").await.is_problem(404, "dataset_not_found");
    server.get(&format!("/v1/datasets/{empty}/doubts")).await.is_problem(404, "analysis_not_found");

    let asked = server.post(&path, &json!({"epochs": 2, "folds": 2})).await.is(202);
    assert_eq!(asked.header("location"), path);
    assert_eq!(asked.json()["state"], "waiting");
    server.send(Method::POST, &path, &[], "").await.is_problem(409, "analysis_busy");
    assert!(server.get(&page).await.text().contains("data-reload"));
    run(&server, &asked.json()).await;

    // Two epochs on noise: the networks know nothing, and what they doubt is arbitrary but told in full.
    let found = server.get(&path).await.is(200).json();
    assert_eq!((&found["state"], &found["progress"]), (&json!("complete"), &json!(1.0)), "{found}");
    assert_eq!(found["options"]["folds"], 2);
    assert_eq!(found["summary"]["examples"], 42);
    let items = found["items"].as_array().unwrap();
    assert_eq!(found["summary"]["doubtful"], items.len());
    assert!(items.len() > 1, "{found}");
    for item in items {
        let sum: f64 =
            item["probabilities"].as_array().unwrap().iter().map(|p| p["probability"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-3 && item["given"] != item["suggested"], "{item}");
        server.get(item["image"].as_str().unwrap()).await.is(200);
    }
    let first = server.get(&format!("{path}?limit=1")).await.json();
    assert_eq!((&first["items"][0], &first["next"]), (&items[0], &json!("0")));
    let second = server.get(&format!("{path}?limit=1&after=0")).await.json();
    assert_eq!(second["items"][0], items[1]);
    server.get(&format!("{path}?after=x")).await.is_problem(400, "invalid_request");
    let shown = server.get(&page).await.is(200).text();
    assert_eq!(shown.matches("data-example=").count(), items.len().min(60));
    assert!(shown.contains("Make a new version") && !shown.contains(" style="));
    // It may be asked for again.
    server.post(&path, &json!({"epochs": 1})).await.is(202);
}

#[tokio::test]
async fn a_new_version_keeps_what_is_not_named_and_names_its_parent() {
    let server = Server::open().await;
    let id = server.dataset().await;
    let path = format!("/v1/datasets/{id}/relabel");
    let all = server.get(&format!("/v1/datasets/{id}/examples")).await.json()["items"].as_array().unwrap().clone();
    let pick = |class: &str, nth: usize| all.iter().filter(|e| e["class"] == class).nth(nth).unwrap().clone();
    let (moved, gone) = (pick("fire", 2), pick("neither", 3));
    let changes = json!([{"example": moved["index"], "label": "smoke"}, {"example": gone["index"], "remove": true}]);
    let made = server.post(&path, &json!({"changes": changes})).await.is(201);
    let new = made.json();
    let made_id = new["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("/v1/datasets/{made_id}"));
    assert_eq!((&new["state"], &new["name"]), (&json!("ready"), &json!("hill (relabelled)")));
    let old = server.get(&format!("/v1/datasets/{id}")).await.json();
    let parent = json!({"dataset": id, "hash": old["hash"], "relabelled": 1, "removed": 1});
    assert_eq!(new["summary"]["parent"], parent);
    assert_eq!(new["summary"]["examples"], 41);
    assert_eq!(old["summary"]["examples"], 42, "the old one stays as it is");
    let after =
        server.get(&format!("/v1/datasets/{made_id}/examples")).await.json()["items"].as_array().unwrap().clone();
    for example in &after {
        let was = all.iter().find(|e| e["sha256"] == example["sha256"]).unwrap();
        assert_eq!(example["split"], was["split"]);
        let class = if was["index"] == moved["index"] { &json!("smoke") } else { &was["class"] };
        assert_eq!(&example["class"], class);
    }
    assert!(after.iter().all(|e| e["sha256"] != gone["sha256"]));
    let image = server.get(after[5]["image"].as_str().unwrap()).await.is(200);
    assert_eq!(image.header("etag"), format!("\"{}\"", after[5]["sha256"].as_str().unwrap()));
    assert!(server.get(&format!("/datasets/{made_id}")).await.text().contains("1 label changed, 1 picture removed"));
    let named = server.post(&path, &json!({"name": "better", "changes": changes})).await.is(201).json();
    assert_eq!(
        (&named["name"], &named["hash"]),
        (&json!("better"), &new["hash"]),
        "the same changes, the same content"
    );
}

#[tokio::test]
async fn a_relabelling_that_makes_no_sense_is_refused_and_makes_nothing() {
    let server = Server::open().await;
    let id = server.dataset().await;
    let path = format!("/v1/datasets/{id}/relabel");
    let class = server.get(&format!("/v1/datasets/{id}/examples?limit=1")).await.json()["items"][0]["class"].clone();
    for (changes, status, code, told) in [
        (json!([]), 400, "invalid_request", "nothing would change"),
        (json!([{"example": 0, "label": class}]), 400, "invalid_request", "nothing would change"),
        (json!([{"example": 42, "remove": true}]), 404, "example_not_found", "`changes/0`"),
        (
            json!([{"example": 1, "remove": true}, {"example": 0, "label": "water"}]),
            400,
            "invalid_request",
            "`changes/1`",
        ),
        (json!([{"example": 0}]), 400, "invalid_request", "either"),
        (json!([{"example": 0, "label": "smoke", "remove": true}]), 400, "invalid_request", "either"),
        (json!([{"example": 0, "remove": true}, {"example": 0, "label": "smoke"}]), 400, "invalid_request", "once"),
        (json!([{"example": -1, "remove": true}]), 400, "invalid_request", "cannot be read"),
        (json!([{"example": 0, "colour": "red"}]), 400, "invalid_request", "cannot be read"),
    ] {
        let problem = server.post(&path, &json!({ "changes": changes })).await.is_problem(status, code);
        assert!(problem["detail"].as_str().unwrap().contains(told), "{problem}");
    }
    let smoke = server.get(&format!("/v1/datasets/{id}/examples?class=smoke")).await.json();
    let all: Vec<_> =
        smoke["items"].as_array().unwrap().iter().map(|e| json!({"example": e["index"], "remove": true})).collect();
    let problem = server.post(&path, &json!({ "changes": all })).await.is_problem(422, "too_few_examples");
    assert!(problem["detail"].as_str().unwrap().contains("class `smoke` has 0"), "{problem}");
    let bad_name = json!({"name": "", "changes": [{"example": 0, "remove": true}]});
    server.post(&path, &bad_name).await.is_problem(400, "invalid_request");
    let change = json!({"changes": [{"example": 0, "remove": true}]});
    server.post("/v1/datasets/ds_1/relabel", &change).await.is_problem(404, "dataset_not_found");
    let empty = server.empty_dataset().await;
    server.post(&format!("/v1/datasets/{empty}/relabel"), &change).await.is_problem(409, "dataset_not_ready");
    let sets = server.get("/v1/datasets").await.json()["items"].as_array().unwrap().len();
    assert_eq!(sets, 2, "the two made here");
}
