//! Keys over the real binary: made by the command line, wanted by the service, revoked beside it.

use crate::harness::*;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

fn told(data: &Path, words: &[&str]) -> Output {
    kindling().args(words).arg("--data-dir").arg(data).output().unwrap()
}

/// What the command prints as JSON.
fn json_of(data: &Path, words: &[&str]) -> Value {
    let out = told(data, &[words, &["--json"]].concat());
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn ask(server: &Server, key: &str, method: &str, path: &str, body: &[u8]) -> Answer {
    let request = ureq::http::Request::builder().method(method).uri(server.url(path));
    let request = request.header("authorization", format!("Bearer {key}")).body(body.to_vec()).unwrap();
    Answer::of(agent().run(request).unwrap())
}

#[test]
fn each_project_has_its_own_and_a_revoked_key_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    json_of(&data, &["projects", "create", "hill"]);
    json_of(&data, &["projects", "create", "valley", "--bytes", "10kB", "--running", "1"]);
    let key = |project: &str, scope: &str| {
        let made = json_of(&data, &["keys", "create", "--name", "test", "--scope", scope, "--project", project]);
        (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
    };
    let ((hill, hill_id), (reader, _), (valley, _)) =
        (key("hill", "write"), key("hill", "read"), key("valley", "admin"));
    let server = Server::start(&data, 0);
    server.get("/v1/datasets").assert_problem("unauthorized", 401);
    assert_eq!(server.get("/healthz").status, 200);

    let new = json!({"name": "camera", "kind": "image-classification"}).to_string();
    ask(&server, &reader, "POST", "/v1/datasets", new.as_bytes()).assert_problem("forbidden", 403);
    let made = ask(&server, &hill, "POST", "/v1/datasets", new.as_bytes());
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").to_owned();
    let sealed = ask(&server, &hill, "PUT", &format!("{path}/content"), sample_zip());
    assert_eq!((sealed.status, sealed.text("/state")), (200, "ready".to_owned()), "{sealed:?}");
    for address in [path.clone(), format!("{path}/examples"), format!("{path}/examples/0/image")] {
        assert_eq!(ask(&server, &reader, "GET", &address, b"").status, 200, "{address}");
        ask(&server, &valley, "GET", &address, b"").assert_problem("dataset_not_found", 404);
    }
    ask(&server, &valley, "DELETE", &path, b"").assert_problem("dataset_not_found", 404);
    assert_eq!(ask(&server, &valley, "GET", "/v1/datasets", b"").json["items"], json!([]));
    assert_eq!(ask(&server, &hill, "GET", "/v1/datasets", b"").json["items"].as_array().unwrap().len(), 1);
    ask(&server, &hill, "GET", "/metrics", b"").assert_problem("forbidden", 403);
    assert_eq!(ask(&server, &valley, "GET", "/metrics", b"").status, 200);

    // A quota set beside the running service holds, and what is used is told.
    let other = ask(&server, &valley, "POST", "/v1/datasets", new.as_bytes());
    let content = format!("{}/content", other.header("location"));
    ask(&server, &valley, "PUT", &content, sample_zip()).assert_problem("quota_exceeded", 403);
    json_of(&data, &["projects", "quota", "valley", "--bytes", "none"]);
    assert_eq!(ask(&server, &valley, "PUT", &content, sample_zip()).status, 200);
    let projects = json_of(&data, &["projects", "list"]);
    let used = |name: &str| {
        let project = projects.as_array().unwrap().iter().find(|p| p["name"] == name);
        project.unwrap_or_else(|| panic!("{projects}"))["usage"]["bytes"].as_u64().unwrap()
    };
    assert!(used("hill") > 10_000 && used("hill") == used("valley"), "{projects}");

    // The command line's own client sends the key that it is given.
    let advise = |key: Option<&str>| {
        let mut command = kindling();
        command.args(["advise", &format!("task_{}", "0".repeat(32)), "--url", &server.base]);
        command.env_remove("KINDLING_KEY");
        if let Some(key) = key {
            command.env("KINDLING_KEY", key);
        }
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(3));
        String::from_utf8(out.stderr).unwrap()
    };
    assert!(advise(None).contains("KINDLING_KEY"));
    assert!(advise(Some(&hill)).contains("there is no task"), "{}", advise(Some(&hill)));

    let revoked = told(&data, &["keys", "revoke", &hill_id]);
    assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    let begun = Instant::now();
    while ask(&server, &hill, "GET", &path, b"").status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(5), "a revoked key still opens");
        std::thread::sleep(Duration::from_millis(100));
    }
    ask(&server, &hill, "GET", &path, b"").assert_problem("unauthorized", 401);
    assert_eq!(ask(&server, &reader, "GET", &path, b"").status, 200);
    assert_eq!(told(&data, &["keys", "revoke", &hill_id]).status.code(), Some(3), "once is enough");
    let listed = json_of(&data, &["keys", "list"]);
    let state = listed.as_array().unwrap().iter().find(|k| k["id"] == hill_id.as_str()).unwrap()["state"].clone();
    assert_eq!(state, "revoked");
    assert!(!listed.to_string().contains(&hill[40..]), "a key is shown once");
    // What a script takes is the key alone.
    let words = ["keys", "create", "--name", "script", "--scope", "read", "--project", "hill", "--expires", "1h"];
    let plain = told(&data, &words);
    let text = String::from_utf8(plain.stdout).unwrap();
    assert_eq!(ask(&server, text.trim(), "GET", &path, b"").status, 200, "{text}");
    assert!(!server.log().contains(&reader[40..]) && !server.log().contains(text.trim()), "a log holds no key");
}

#[test]
fn a_service_without_keys_is_not_put_where_others_reach_it() {
    let dir = tempfile::tempdir().unwrap();
    let serve = |more: &[&str]| {
        let mut command = kindling();
        command.args(["serve", "--json", "--stop-with-input", "--listen", "0.0.0.0:0", "--workers", "0"]);
        command.args(more).arg("--data-dir").arg(dir.path().join("data"));
        command
    };
    let refused = serve(&[]).output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(why.contains("kindling keys create") && why.contains("--insecure"), "{why}");
    let starts = |more: &[&str]| {
        let mut child = serve(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        assert!(line.contains("\"address\""), "{line}");
    };
    starts(&["--insecure"]);
    json_of(&dir.path().join("data"), &["keys", "create", "--name", "first", "--scope", "read"]);
    starts(&[]);
}
