//! Data sets over HTTP.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;
use std::time::Duration;

use crate::fixture::{Server, archive, png, zip};

#[tokio::test]
async fn a_data_set_is_made_filled_looked_into_and_deleted() {
    let server = Server::open().await;
    let made = server.post("/v1/datasets", &json!({"name": "hill", "kind": "image-classification"})).await.is(201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/datasets/{id}"));
    assert_eq!(made.json()["state"], "empty");

    let sealed = server.upload(&id, archive(&["fire", "smoke"], 14)).await.is(200);
    assert_eq!(sealed.header("x-content-sha256").len(), 64);
    let seen = server.get(&format!("/v1/datasets/{id}")).await.is(200).json();
    assert_eq!(seen, sealed.json());
    assert_eq!(seen["state"], "ready");
    assert_eq!(seen["summary"]["classes"], json!(["fire", "smoke"]));
    assert_eq!(seen["summary"]["examples"], 28);
    assert_eq!(seen["summary"]["audit"]["broken"]["total"], 1);
    assert_eq!(seen["summary"]["audit"]["broken"]["items"][0]["path"], "fire/page.jpg");

    server.upload(&id, archive(&["fire", "smoke"], 14)).await.is_problem(409, "dataset_sealed");
    server.send(Method::DELETE, &format!("/v1/datasets/{id}"), &[], Body::empty()).await.is(204);
    server.get(&format!("/v1/datasets/{id}")).await.is_problem(404, "dataset_not_found");
    server
        .send(Method::DELETE, &format!("/v1/datasets/{id}"), &[], Body::empty())
        .await
        .is_problem(404, "dataset_not_found");
}

#[tokio::test]
async fn examples_come_in_pages_by_class_and_split() {
    let server = Server::open().await;
    let id = server.dataset().await;
    let base = format!("/v1/datasets/{id}/examples");
    let all = server.get(&base).await.is(200).json();
    assert_eq!((all["items"].as_array().unwrap().len(), &all["next"]), (42, &json!(null)));
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("{base}?class=smoke&limit=5{after}")).await.is(200).json();
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = all["items"].as_array().unwrap().iter().filter(|e| e["class"] == "smoke").cloned().collect();
    assert_eq!(seen, expected);
    let test = server.get(&format!("{base}?split=test")).await.is(200).json();
    assert!(test["items"].as_array().unwrap().iter().all(|e| e["split"] == "test"));
    for bad in ["class=water", "split=dev", "limit=0", "limit=501", "limit=x", "after=x", "colour=red"] {
        server.get(&format!("{base}?{bad}")).await.is_problem(400, "invalid_request");
    }

    let first = &all["items"][0];
    let image = server.get(first["image"].as_str().unwrap()).await.is(200);
    assert_eq!(image.header("content-type"), "image/png");
    assert_eq!(image.body.len() as u64, first["bytes"].as_u64().unwrap());
    assert_eq!(image.header("x-content-type-options"), "nosniff");
    let known = [("if-none-match", image.header("etag"))];
    let path = first["image"].as_str().unwrap();
    assert!(server.send(Method::GET, path, &known, Body::empty()).await.is(304).body.is_empty());
    let small = server.get(&format!("{path}?size=16")).await.is(200);
    assert_eq!(small.header("content-type"), "image/jpeg");
    assert_eq!(image::load_from_memory(&small.body).unwrap().width(), 16);
    server.get(&format!("{path}?size=5000")).await.is_problem(400, "invalid_request");
    server.get(&format!("{base}/42/image")).await.is_problem(404, "example_not_found");
    server.get(&format!("{base}/-1/image")).await.is_problem(404, "example_not_found");
}

#[tokio::test]
async fn each_bad_archive_has_its_own_problem_and_another_may_follow() {
    let server = Server::open().await;
    let id = server.empty_dataset().await;
    let good = archive(&["fire", "smoke"], 14);
    let named = |name: &str, bytes: Vec<u8>| zip(&[(name.to_owned(), bytes)]);
    let bomb = zip(&[("fire/a.png".to_owned(), vec![0; 64 << 20]), ("smoke/a.png".to_owned(), png(1, 24))]);
    for (what, bytes, status, code) in [
        ("nothing", Vec::new(), 422, "invalid_archive"),
        ("a web page", b"<!doctype html><html>".to_vec(), 422, "invalid_archive"),
        ("a truncated zip", good[..good.len() / 2].to_vec(), 422, "invalid_archive"),
        ("a path that climbs out", named("../../etc/cron.d/x.png", png(1, 24)), 422, "unsafe_path"),
        ("a zip in a zip", named("fire/more.zip", good.clone()), 422, "nested_archive"),
        ("a zip bomb", bomb, 413, "archive_too_large"),
        ("pictures without classes", named("a.png", png(1, 24)), 422, "invalid_layout"),
        ("a class of three", archive(&["fire", "smoke"], 3), 422, "too_few_examples"),
    ] {
        let reply = server.upload(&id, bytes).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["code"].as_str()),
            (status, Some(code)),
            "{what}: {}",
            reply.text()
        );
        reply.is_problem(status, code);
    }
    let refused = server.get(&format!("/v1/datasets/{id}")).await.json();
    assert_eq!((&refused["state"], &refused["problem"]["code"]), (&json!("refused"), &json!("too_few_examples")));
    server.get(&format!("/v1/datasets/{id}/examples")).await.is_problem(409, "dataset_not_ready");
    server.upload(&id, good).await.is(200);
    let left: Vec<_> = std::fs::read_dir(server.service.data_dir().join("scratch")).unwrap().collect();
    assert!(left.is_empty(), "uploads are left over: {left:?}");
}

#[tokio::test]
async fn a_digest_is_checked_and_a_large_body_refused() {
    let config = kindling_server::Config { max_upload_bytes: 1000, ..Default::default() };
    let server = Server::open_with(config).await;
    let id = server.empty_dataset().await;
    let path = format!("/v1/datasets/{id}/content");
    let wrong = [("x-content-sha256", "00")];
    server.send(Method::PUT, &path, &wrong, "abc").await.is_problem(400, "invalid_request");
    server
        .send(Method::PUT, &path, &[("content-length", "1001")], Body::empty())
        .await
        .is_problem(413, "archive_too_large");
    // Without a length it is noticed as it comes.
    let chunks = futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![0u8; 100])));
    server.send(Method::PUT, &path, &[], Body::from_stream(chunks)).await.is_problem(413, "archive_too_large");
    assert_eq!(server.get(&format!("/v1/datasets/{id}")).await.json()["state"], "empty");
}

#[tokio::test]
async fn an_upload_that_breaks_off_or_falls_silent_leaves_nothing() {
    let config = kindling_server::Config { upload_idle: Duration::from_millis(100), ..Default::default() };
    let server = Server::open_with(config).await;
    let id = server.empty_dataset().await;
    let path = format!("/v1/datasets/{id}/content");
    let broken = futures::stream::iter([Ok(vec![0u8; 100]), Err(std::io::Error::other("reset"))]);
    server.send(Method::PUT, &path, &[], Body::from_stream(broken)).await.is_problem(400, "invalid_request");
    let silent = || Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    server.send(Method::PUT, &path, &[], silent()).await.is_problem(408, "invalid_request");
    // A client that hangs up: its request is dropped.
    let hung_up = server.send(Method::PUT, &path, &[], silent());
    assert!(tokio::time::timeout(Duration::from_millis(30), hung_up).await.is_err());
    assert_eq!(server.get(&format!("/v1/datasets/{id}")).await.json()["state"], "empty");
    assert_eq!(std::fs::read_dir(server.service.data_dir().join("scratch")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_may_be_read_behind_ones_back() {
    let server = Server::open().await;
    let id = server.empty_dataset().await;
    let path = format!("/v1/datasets/{id}/content");
    let reply =
        server.send(Method::PUT, &path, &[("prefer", "respond-async")], archive(&["fire", "smoke"], 14)).await.is(202);
    assert_eq!(reply.header("preference-applied"), "respond-async");
    assert_ne!(reply.json()["state"], "empty");
    for _ in 0..200 {
        if server.get(&format!("/v1/datasets/{id}")).await.json()["state"] == "ready" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never got ready");
}

#[tokio::test]
async fn lists_page_from_the_newest() {
    let server = Server::open().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(server.empty_dataset().await);
    }
    ids.reverse();
    let first = server.get("/v1/datasets?limit=3").await.json();
    let second = server.get(&format!("/v1/datasets?limit=3&after={}", first["next"].as_str().unwrap())).await.json();
    let both: Vec<_> =
        [&first, &second].iter().flat_map(|p| p["items"].as_array().unwrap()).map(|d| d["id"].clone()).collect();
    assert_eq!(both, ids);
    assert_eq!(second["next"], json!(null));
    server.get("/v1/datasets?after=zebra").await.is_problem(400, "invalid_request");
}
