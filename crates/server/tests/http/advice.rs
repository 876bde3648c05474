//! Advice over HTTP. It is measured in the engine's tests; here it is asked for, fails and is told.

use kindling_engine::run_analysis;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fixture::Server;

#[tokio::test(flavor = "multi_thread")]
async fn advice_needs_a_model_is_given_once_at_a_time_and_says_why_it_failed() {
    let server = Server::open().await;
    let task = server.task(&server.dataset().await).await;
    let (path, page) = (format!("/v1/tasks/{task}/advice"), format!("/tasks/{task}"));
    server.get(&path).await.is_problem(404, "analysis_not_found");
    let problem = server.post(&path, &json!({})).await.is_problem(409, "task_state");
    assert!(problem["detail"].as_str().unwrap().contains("no model yet"), "{problem}");
    server.get("/v1/tasks/zebra/advice").await.is_problem(404, "task_not_found");
    server.post("/v1/tasks/zebra/advice", &json!({})).await.is_problem(404, "task_not_found");
    assert!(server.get(&page).await.is(200).text().contains("id=\"advice\""));

    let trial = server.trial(&task, 0, 0.9).await;
    server.model(&task, &trial, 0.9).await;
    for bad in [json!({"repeats": 0}), json!({"repeats": 9}), json!({"epochs": 0}), json!({"hours": 1}), json!([])] {
        server.post(&path, &bad).await.is_problem(400, "invalid_request");
    }
    assert!(server.get(&page).await.text().contains(&format!("data-post=\"{path}\"")));
    let asked = server.post(&path, &json!({"repeats": 1, "epochs": 1})).await.is(202);
    assert_eq!(asked.header("location"), path);
    server.post(&path, &json!({})).await.is_problem(409, "analysis_busy");
    let waiting = server.get(&path).await.is(200).json();
    assert_eq!((&waiting["state"], &waiting["report"]), (&json!("waiting"), &json!(null)));
    assert!(server.get(&page).await.text().contains("Waiting to begin"));

    // The trial's genome is made up and no network: that is the analysis' failure, not the process'.
    let id = asked.json()["id"].as_str().unwrap().parse().unwrap();
    run_analysis(server.service.data_dir(), &id, "flex", CancellationToken::new()).await.unwrap();
    let failed = server.get(&path).await.is(200).json();
    assert_eq!((&failed["state"], &failed["report"]), (&json!("failed"), &json!(null)), "{failed}");
    assert!(failed["reason"].as_str().is_some_and(|r| !r.is_empty()));
    assert!(server.get(&page).await.text().contains("It could not be measured"));
    server.post(&path, &json!({})).await.is(202);
}
