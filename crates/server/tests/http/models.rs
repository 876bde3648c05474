//! Models: files in parts, the bundle, answers.

use axum::body::Body;
use axum::http::Method;
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::Read;

use crate::fixture::{Server, png};

async fn with_model() -> (Server, String) {
    let server = Server::open().await;
    let task = server.task(&server.dataset().await).await;
    let trial = server.trial(&task, 0, 0.9).await;
    let model = server.model(&task, &trial, 0.9).await;
    (server, format!("/v1/models/{model}"))
}

#[tokio::test]
async fn files_come_whole_in_parts_or_not_again() {
    let (server, base) = with_model().await;
    let card = server.get(&base).await.is(200).json();
    assert!(base.ends_with(card["model"].as_str().unwrap()));
    let list = server.get(&format!("{base}/files")).await.is(200).json();
    let files = list["items"].as_array().unwrap();
    assert!(files.iter().any(|f| f["name"] == "model.onnx") && files.iter().any(|f| f["name"] == "SHA256SUMS"));
    for file in files {
        let href = file["href"].as_str().unwrap();
        let whole = server.get(href).await.is(200);
        let hash: String =
            <sha2::Sha256 as sha2::Digest>::digest(&whole.body).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(file["sha256"], hash.as_str());
        assert_eq!(whole.header("etag"), format!("\"{hash}\""));
        assert_eq!(whole.header("content-type"), file["media_type"]);
        assert_eq!(whole.header("content-length"), file["bytes"].to_string());
    }
    let path = format!("{base}/files/model.onnx");
    let whole = server.get(&path).await;
    let size = whole.body.len();
    for (range, from, to) in [("bytes=0-9", 0, 10), ("bytes=-7", size - 7, size), ("bytes=100-", 100, size)] {
        let part = server.send(Method::GET, &path, &[("range", range)], Body::empty()).await.is(206);
        assert_eq!(part.body, whole.body[from..to], "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {from}-{}/{size}", to - 1));
    }
    let outside = [("range", "bytes=99999999-")];
    let reply = server.send(Method::GET, &path, &outside, Body::empty()).await;
    reply.is_problem(416, "range_not_satisfiable");
    assert_eq!(reply.header("content-range"), format!("bytes */{size}"));
    let etag = whole.header("etag");
    assert!(server.send(Method::GET, &path, &[("if-none-match", etag)], Body::empty()).await.is(304).body.is_empty());
    let stale = [("range", "bytes=0-9"), ("if-range", "\"old\"")];
    assert_eq!(server.send(Method::GET, &path, &stale, Body::empty()).await.is(200).body.len(), size);
    let head = server.send(Method::HEAD, &path, &[], Body::empty()).await.is(200);
    assert_eq!((head.body.len(), head.header("content-length")), (0, size.to_string().as_str()));
    server.get(&format!("{base}/files/nothing")).await.is_problem(404, "file_not_found");
    server.get(&format!("{base}/files/..%2F..%2Fkindling.db")).await.is_problem(404, "file_not_found");
}

#[tokio::test]
async fn the_bundle_is_the_same_bytes_each_time() {
    let (server, base) = with_model().await;
    let path = format!("{base}/bundle.zip");
    let first = server.get(&path).await.is(200);
    assert_eq!(first.body, server.get(&path).await.body);
    assert_eq!(first.header("content-length"), first.body.len().to_string());
    let part = server.send(Method::GET, &path, &[("range", "bytes=10-19")], Body::empty()).await.is(206);
    assert_eq!(part.body, first.body[10..20]);
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(first.body.clone())).unwrap();
    let files = server.get(&format!("{base}/files")).await.json();
    assert_eq!(zip.len(), files["items"].as_array().unwrap().len());
    let mut onnx = Vec::new();
    zip.by_name("model.onnx").unwrap().read_to_end(&mut onnx).unwrap();
    assert_eq!(onnx, server.get(&format!("{base}/files/model.onnx")).await.body);
}

#[tokio::test]
async fn a_model_answers_and_says_what_it_cannot_read() {
    let (server, base) = with_model().await;
    let path = format!("{base}/predict");
    let answer = server.send(Method::POST, &path, &[("content-type", "image/png")], png(5, 40)).await.is(200).json();
    let labels: Vec<_> = answer["probabilities"].as_array().unwrap().iter().map(|p| p["label"].clone()).collect();
    assert_eq!(labels, ["fire", "neither", "smoke"]);
    let sum: f64 = answer["probabilities"].as_array().unwrap().iter().map(|p| p["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4 && labels.contains(&answer["label"]), "{answer}");
    assert_eq!((answer["width"].as_u64(), answer["height"].as_u64()), (Some(40), Some(40)));
    // Whatever the Content-Type says, the bytes decide.
    server.send(Method::POST, &path, &[("content-type", "text/plain")], png(5, 40)).await.is(200);
    server.send(Method::POST, &path, &[], Body::empty()).await.is_problem(400, "invalid_request");
    server.send(Method::POST, &path, &[], "<!doctype html>").await.is_problem(415, "invalid_image");
    let half = png(5, 40);
    server.send(Method::POST, &path, &[], half[..half.len() / 2].to_vec()).await.is_problem(415, "invalid_image");
    let form = [("content-type", "multipart/form-data; boundary=x")];
    let problem = server.send(Method::POST, &path, &form, half).await.is_problem(400, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("--data-binary"));
    let large = vec![0u8; (32 << 20) + 1];
    server.send(Method::POST, &path, &[], large).await.is_problem(413, "image_too_large");

    // Several at once: as a form, or in base64.
    let part = |name: &str, bytes: &[u8]| {
        let head = format!("--x\r\ncontent-disposition: form-data; name=\"image\"; filename=\"{name}\"\r\n\r\n");
        [head.as_bytes(), bytes, b"\r\n"].concat()
    };
    let whole = [part("a.png", &png(5, 40)), part("b.txt", b"no image"), part("c.png", &png(6, 30)), b"--x--".to_vec()];
    let many = server.send(Method::POST, &path, &form, whole.concat()).await.is(200).json();
    let answers = many["answers"].as_array().unwrap();
    assert_eq!(answers[0]["answer"]["probabilities"], answer["probabilities"]);
    assert_eq!((&answers[0]["name"], answers.len()), (&"a.png".into(), 3));
    assert_eq!((&answers[1]["problem"]["code"], &answers[1]["answer"]), (&"invalid_image".into(), &Value::Null));
    assert_eq!(answers[2]["answer"]["width"], 30);
    let list = |images: &[&str]| json!({"images": images}).to_string();
    let json = [("content-type", "application/json")];
    let encoded = base64::engine::general_purpose::STANDARD.encode(png(5, 40));
    let many = server.send(Method::POST, &path, &json, list(&[&encoded, "?"])).await.is(200).json();
    assert_eq!(many["answers"][0]["answer"]["probabilities"], answer["probabilities"]);
    assert!(many["answers"][1]["problem"]["detail"].as_str().unwrap().contains("base64"), "{many}");
    server.send(Method::POST, &path, &json, list(&[])).await.is_problem(400, "invalid_request");
    server.send(Method::POST, &path, &json, list(&["", ""].repeat(40))).await.is_problem(413, "invalid_request");
    let open = [part("a.png", &png(5, 40))].concat();
    server.send(Method::POST, &path, &form, open).await.is_problem(400, "invalid_request");

    // Where it sees it.
    let explain = |more: &str| format!("{path}?explain=heatmap{more}");
    for class in ["", "&class=smoke"] {
        let painted = server.send(Method::POST, &explain(class), &[], png(5, 40)).await.is(200);
        assert_eq!(painted.header("content-type"), "image/png");
        let picture = image::load_from_memory(&painted.body).unwrap();
        assert_eq!((picture.width(), picture.height()), (40, 40));
    }
    for wrong in ["&class=cat", "&clas=smoke"] {
        server.send(Method::POST, &explain(wrong), &[], png(5, 40)).await.is_problem(400, "invalid_request");
    }
    let other = format!("{path}?explain=shap");
    server.send(Method::POST, &other, &[], png(5, 40)).await.is_problem(400, "invalid_request");
    server.send(Method::POST, &explain(""), &json, list(&[&encoded])).await.is_problem(400, "invalid_request");

    let mistakes = server.get(&format!("{base}/mistakes")).await.is(200).json();
    assert_eq!(mistakes["items"][0]["truth"], "fire");
    server.get(mistakes["items"][0]["image"].as_str().unwrap()).await.is(200);
}
