//! Archives in parts over HTTP.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::fixture::{Server, png, zip};

const PART: usize = 64 << 10;

async fn begin(server: &Server, bytes: usize) -> (String, String) {
    let made = server.post("/v1/datasets", &json!({"name": "hill", "kind": "image-classification"})).await.is(201);
    let dataset = made.json()["id"].as_str().unwrap().to_owned();
    let asked = json!({"dataset": dataset, "bytes": bytes, "part_bytes": PART});
    let begun = server.post("/v1/uploads", &asked).await.is(201);
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(begun.header("location"), format!("/v1/uploads/{id}"));
    (dataset, id)
}

#[tokio::test]
async fn parts_come_in_any_order_and_twice_and_make_the_same_data_set() {
    let server = Server::open().await;
    // Large enough for several parts.
    let file = |n: u64| (format!("{}/{n:03}.png", ["fire", "smoke"][n as usize % 2]), png(n + 1, 64));
    let archive = zip(&(0..28).map(file).collect::<Vec<_>>());
    let (dataset, id) = begin(&server, archive.len()).await;
    let parts: Vec<&[u8]> = archive.chunks(PART).collect();
    assert!(parts.len() >= 4);
    let address = |n: usize| format!("/v1/uploads/{id}/parts/{n}");
    let send =
        async |n: usize, bytes: &[u8]| server.send(Method::PUT, &address(n), &[], Body::from(bytes.to_vec())).await;
    let missing = server.post(&format!("/v1/uploads/{id}/complete"), &json!({})).await;
    missing.is_problem(409, "upload_incomplete");
    // The second came damaged at first.
    let mut damaged = parts[1].to_vec();
    damaged[0] ^= 1;
    send(1, &damaged).await.is(200);
    for n in (0..parts.len()).rev() {
        let part = send(n, parts[n]).await.is(200).json();
        assert_eq!((&part["number"], &part["bytes"]), (&json!(n), &json!(parts[n].len())));
    }
    let seen = server.get(&format!("/v1/uploads/{id}")).await.is(200).json();
    assert_eq!(seen["parts"].as_array().unwrap().len(), parts.len());
    let sealed = server.post(&format!("/v1/uploads/{id}/complete"), &json!({})).await.is(200).json();
    assert_eq!(
        (&sealed["id"], &sealed["state"], &sealed["summary"]["examples"]),
        (&json!(dataset), &json!("ready"), &json!(28))
    );
    server.get(&format!("/v1/uploads/{id}")).await.is_problem(404, "upload_not_found");
    let files = server.service.store().files.list("uploads").await.unwrap();
    assert!(files.is_empty(), "no part is left: {files:?}");

    let whole = server.post("/v1/datasets", &json!({"name": "hill", "kind": "image-classification"})).await.is(201);
    let whole = whole.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.upload(&whole, archive).await.is(200).json()["hash"], sealed["hash"]);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_nothing_is_left() {
    let server = Server::open().await;
    let (dataset, id) = begin(&server, PART + 10).await;
    let put = async |n: &str, headers: &[(&str, &str)], bytes: usize| {
        let address = format!("/v1/uploads/{id}/parts/{n}");
        server.send(Method::PUT, &address, headers, Body::from(vec![7; bytes])).await
    };
    put("0", &[], PART - 1).await.is_problem(400, "invalid_request");
    put("0", &[], PART + 1).await.is_problem(400, "invalid_request");
    put("2", &[], 10).await.is_problem(400, "invalid_request");
    put("x", &[], 10).await.is_problem(400, "invalid_request");
    put("1", &[("x-content-sha256", "00")], 10).await.is_problem(400, "invalid_request");
    for bad in [json!({"bytes": 0}), json!({"bytes": 10, "part_bytes": 1}), json!({"bytes": u64::MAX})] {
        let mut asked = json!({"dataset": dataset});
        asked.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        server.post("/v1/uploads", &asked).await.is_problem(400, "invalid_request");
    }
    let unknown = json!({"dataset": "ds_00000000000000000000000000000000", "bytes": 10});
    server.post("/v1/uploads", &unknown).await.is_problem(404, "dataset_not_found");
    put("0", &[], PART).await.is(200);
    put("1", &[], 10).await.is(200);
    // It is no archive: the data set says so and may get other content.
    server.post(&format!("/v1/uploads/{id}/complete"), &json!({})).await.is_problem(422, "invalid_archive");
    assert_eq!(server.get(&format!("/v1/datasets/{dataset}")).await.json()["state"], "refused");
    let asked = json!({"dataset": dataset, "bytes": 10});
    let again = server.post("/v1/uploads", &asked).await.is(201).json()["id"].as_str().unwrap().to_owned();
    server.send(Method::DELETE, &format!("/v1/uploads/{again}"), &[], Body::empty()).await.is(204);
    server
        .send(Method::DELETE, &format!("/v1/uploads/{again}"), &[], Body::empty())
        .await
        .is_problem(404, "upload_not_found");
    assert!(server.service.store().files.list("uploads").await.unwrap().is_empty());
    assert_eq!(std::fs::read_dir(server.service.data_dir().join("scratch")).unwrap().count(), 0);
}
