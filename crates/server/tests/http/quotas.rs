//! What a project may use, and what is said when it has.

use axum::body::Body;
use axum::http::Method;
use kindling_spec::Scope;
use kindling_store::Quota;
use serde_json::json;

use crate::fixture::{Server, archive, png, spec, zip};

async fn limited(quota: Quota) -> (Server, kindling_spec::ProjectId) {
    let server = Server::open().await;
    let project = server.project("small", quota).await;
    (server.holder(&project, Scope::Write).await.0, project)
}

fn kept(server: &Server) -> u64 {
    fn bytes(folder: &std::path::Path) -> u64 {
        let entries: Vec<std::fs::DirEntry> =
            std::fs::read_dir(folder).map(|entries| entries.flatten().collect()).unwrap_or_default();
        entries.iter().map(|e| if e.path().is_dir() { bytes(&e.path()) } else { e.metadata().unwrap().len() }).sum()
    }
    let dir = server.service.data_dir();
    bytes(&dir.join("files")) + bytes(&dir.join("scratch"))
}

#[tokio::test]
async fn bytes_that_do_not_fit_are_not_kept() {
    let content = archive(&["fire", "smoke"], 14);
    let (server, project) = limited(Quota { bytes: Some(content.len() as u64 - 1), ..Quota::default() }).await;
    let id = server.empty_dataset().await;
    let path = format!("/v1/datasets/{id}/content");
    // Announced, and not announced.
    let length = content.len().to_string();
    let told = [("content-length", length.as_str())];
    server.send(Method::PUT, &path, &told, Body::empty()).await.is_problem(403, "quota_exceeded");
    server.upload(&id, content.clone()).await.is_problem(403, "quota_exceeded");
    assert_eq!(server.get(&format!("/v1/datasets/{id}")).await.json()["state"], "empty");
    assert_eq!(kept(&server), 0);
    // The archive fits, what is kept of it does not.
    let meta = &server.service.store().meta;
    meta.set_quota(&project, &Quota { bytes: Some(content.len() as u64 + 1), ..Quota::default() }).await.unwrap();
    let problem = server.upload(&id, content.clone()).await.is_problem(403, "quota_exceeded");
    assert!(problem["detail"].as_str().unwrap().contains("room for"), "{problem}");
    let refused = server.get(&format!("/v1/datasets/{id}")).await.json();
    assert_eq!((&refused["state"], &refused["problem"]["code"]), (&json!("refused"), &json!("quota_exceeded")));
    assert_eq!(kept(&server), 0);

    meta.set_quota(&project, &Quota { bytes: Some(4 << 20), ..Quota::default() }).await.unwrap();
    server.upload(&id, content).await.is(200);
    let used = meta.usage(&project, 0).await.unwrap().bytes;
    assert_eq!(used, kept(&server));

    let draft = server.post("/v1/drafts", &json!({"name": "raw", "classes": ["a"]})).await.is(201).json();
    let pictures = format!("/v1/drafts/{}/pictures", draft["id"].as_str().unwrap());
    let add =
        async |seed: u64| server.send(Method::POST, &pictures, &[], zip(&[("a.png".into(), png(seed, 64))])).await;
    add(5001).await.is(200);
    assert_eq!(meta.usage(&project, 0).await.unwrap().bytes, kept(&server));
    let full = meta.usage(&project, 0).await.unwrap().bytes;
    meta.set_quota(&project, &Quota { bytes: Some(full), ..Quota::default() }).await.unwrap();
    add(5002).await.is_problem(403, "quota_exceeded");
    server.post("/v1/drafts", &json!({"from": id})).await.is_problem(403, "quota_exceeded");
    let changes = json!({"changes": [{"example": 0, "remove": true}]});
    server.post(&format!("/v1/datasets/{id}/relabel"), &changes).await.is_problem(403, "quota_exceeded");
    assert_eq!(kept(&server), full);
    server.send(Method::DELETE, &format!("/v1/datasets/{id}"), &[], Body::empty()).await.is(204);
    assert_eq!(meta.usage(&project, 0).await.unwrap().bytes, kept(&server));
    add(5002).await.is(200);
}

#[tokio::test]
async fn studies_wait_for_each_other_and_for_tomorrow() {
    let (server, project) =
        limited(Quota { running_studies: Some(1), seconds_a_day: Some(150), ..Quota::default() }).await;
    let dataset = server.dataset().await;
    let post = async |seconds: f64| {
        let mut wanted = spec(&dataset);
        wanted["budget"] = json!({"seconds": seconds});
        server.post("/v1/tasks", &wanted).await
    };
    let never = post(151.0).await;
    never.is_problem(403, "quota_exceeded");
    assert_eq!(never.header("retry-after"), "");
    let first = post(100.0).await.is(201).json()["id"].as_str().unwrap().to_owned();
    let busy = post(10.0).await;
    busy.is_problem(429, "quota_exceeded");
    assert_eq!(busy.header("retry-after"), "60");
    let mut fleet = spec(&dataset);
    fleet["background"] = json!(["neither"]);
    server.post("/v1/fleets", &fleet).await.is_problem(403, "quota_exceeded");

    let meta = &server.service.store().meta;
    meta.set_quota(&project, &Quota { running_studies: None, seconds_a_day: Some(150), ..Quota::default() })
        .await
        .unwrap();
    let late = post(60.0).await;
    late.is_problem(429, "quota_exceeded");
    assert!((1..=86_400).contains(&late.header("retry-after").parse::<u32>().unwrap()));
    post(50.0).await.is(201);
    let mut endless = spec(&dataset);
    endless["budget"] = json!({"trials": 3});
    let problem = server.post("/v1/tasks", &endless).await.is_problem(403, "quota_exceeded");
    assert!(problem["detail"].as_str().unwrap().contains("`seconds`"), "{problem}");
    // What is over has nothing granted any more; to go on it is asked for again.
    server.post(&format!("/v1/tasks/{first}/cancel"), &json!({})).await.is(200);
    let resume =
        async |seconds: f64| server.post(&format!("/v1/tasks/{first}/resume"), &json!({"seconds": seconds})).await;
    resume(1.0).await.is_problem(429, "quota_exceeded");
    meta.set_quota(&project, &Quota { seconds_a_day: Some(151), ..Quota::default() }).await.unwrap();
    resume(1.0).await.is(200);
    assert_eq!(
        server.get("/v1/tasks").await.json()["items"].as_array().unwrap().len(),
        2,
        "what was refused is not there"
    );
}
