//! The pages: what a person must find on them.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::fixture::{Server, archive, png, zip};

#[tokio::test]
async fn a_first_visitor_is_led_in_and_errors_are_pages() {
    let server = Server::open().await;
    let home = server.get("/").await.is(200);
    assert!(home.header("content-type").starts_with("text/html"));
    assert!(home.header("content-security-policy").contains("default-src 'self'"));
    for part in ["id=\"upload\"", "id=\"archive\"", "None yet", "/assets/app.js"] {
        assert!(home.text().contains(part), "{part}");
    }
    assert!(!home.text().contains(" style="), "the policy forbids inline styles");
    let browser = [("accept", "text/html,*/*")];
    let lost = server.send(Method::GET, "/tasks/zebra", &browser, Body::empty()).await.is(404);
    assert!(lost.text().contains("There is no such task") && lost.header("content-type").starts_with("text/html"));
    for asset in ["style.css", "app.js"] {
        assert!(server.get(&format!("/assets/{asset}")).await.is(200).body.len() > 1000);
    }
}

#[tokio::test]
async fn a_data_sets_page_tells_the_audit_and_offers_the_form() {
    let server = Server::open().await;
    let id = server.empty_dataset().await;
    assert!(server.get(&format!("/datasets/{id}")).await.is(200).text().contains("id=\"upload\""));
    server.upload(&id, zip(&[("fire/<b>.png".into(), png(1, 24))])).await;
    let refused = server.get(&format!("/datasets/{id}")).await.is(200).text();
    assert!(refused.contains("role=\"alert\"") && refused.contains("id=\"upload\""), "{refused}");
    server.upload(&id, archive(&["fire", "smoke & fog"], 14)).await.is(200);
    let page = server.get(&format!("/datasets/{id}")).await.is(200).text();
    for part in [
        "28 pictures",
        "1 file could not be used",
        "fire/page.jpg",
        "id=\"grow\"",
        "smoke &amp; fog",
        "class=smoke%20%26%20fog",
    ] {
        assert!(page.contains(part), "{part}:\n{page}");
    }
    let filtered = server.get(&format!("/datasets/{id}?class=smoke%20%26%20fog&limit=5")).await.is(200).text();
    assert_eq!(filtered.matches("loading=\"lazy\"").count(), 5);
    assert!(filtered.contains("&amp;after="), "there are more");
}

#[tokio::test]
async fn a_tasks_page_shows_progress_models_and_the_box_to_try() {
    let server = Server::open().await;
    let dataset = server.dataset().await;
    let task = server.task(&dataset).await;
    let waiting = server.get(&format!("/tasks/{task}")).await.is(200).text();
    for id in ["drop", "file", "answer", "progress", "leaderboard", "downloads", "scatter", "best"] {
        assert_eq!(waiting.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
    assert!(waiting.contains("About to start"));
    let trial = server.trial(&task, 0, 0.9).await;
    let model = server.model(&task, &trial, 0.9).await;
    let page = server.get(&format!("/tasks/{task}")).await.is(200).text();
    let live = server.get(&format!("/tasks/{task}/live")).await.is(200).text();
    for part in
        ["93 of 100", "interval 79–98", "bundle.zip", "model.onnx", "<circle", "fire</strong> taken for <strong>smoke"]
    {
        assert!(page.contains(part) && live.contains(part), "{part}:\n{page}");
    }
    assert!(page.contains("<td class=\"number right s9\">9</td>"), "the matrix is tinted");
    assert!(page.contains(&format!("data-model=\"{model}\"")));
    assert!(!live.contains("id=\"drop\""), "what a person is using is not replaced");
    assert!(!page.contains(" style="));
    let model = server.get(&format!("/models/{model}")).await.is(200).text();
    assert!(model.contains("id=\"drop\"") && model.contains("Checked before it was offered"));
    assert!(server.get("/").await.text().contains("Fire on the hill"));
    server.post(&format!("/v1/tasks/{task}/cancel"), &json!({})).await.is(200);
    assert!(server.get(&format!("/tasks/{task}")).await.text().contains("Search 5 minutes more"));
}
