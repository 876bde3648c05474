//! Spans on their way to a collector: OTLP over HTTP, in protobuf.

use crate::harness::*;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A collector that keeps what it is sent. It ends with the test's process.
struct Collector {
    port: u16,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || answer(stream, &kept));
            }
        });
        Self { port, bodies }
    }

    /// Whether some message holds all of these. Texts stand in protobuf as they are.
    fn has(&self, texts: &[&str]) -> bool {
        let holds = |body: &[u8], text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
        self.bodies.lock().unwrap().iter().any(|body| texts.iter().all(|text| holds(body, text)))
    }
}

/// Reads requests until the client goes.
fn answer(stream: TcpStream, kept: &Mutex<Vec<Vec<u8>>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let (mut length, mut first) = (0, String::new());
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        let mut protobuf = false;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", bytes)) => length = bytes.parse().ok()?,
                Some(("content-type", kind)) => protobuf = kind == "application/x-protobuf",
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        if first.starts_with("POST /v1/traces ") && protobuf {
            kept.lock().unwrap().push(body);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
            .ok()?;
    }
}

#[test]
fn spans_of_requests_and_rungs_come_to_the_collector() {
    let collector = Collector::start();
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let mut variables = storage(&data_dir);
    variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", collector.port)));
    variables.push(("OTEL_SERVICE_NAME", "hill-watch".to_owned()));
    // As often as a test has patience for.
    variables.push(("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()));
    let server = Server::start_with(&data_dir, 1, &variables);
    let (dataset, sealed) = server.upload(sample_zip());
    assert_eq!(sealed.status, 200, "{sealed:?}");
    let task = server.task(&dataset, json!({"trials": 1}));
    let first = |task: &serde_json::Value| task["progress"]["trials"]["paused"] != 0 || task["state"] == "complete";
    server.wait(&task, "a rung is done", first);
    let trials = server.get(&format!("/v1/tasks/{task}/trials")).json;
    let trial = trials["items"][0]["id"].as_str().unwrap();
    server.get("/v1/tasks/zebra").assert_problem("task_not_found", 404);
    let started = Instant::now();
    let wanted: [&[&str]; 3] = [
        &["hill-watch", "rung", "kindling.trial", trial, "kindling.task", &task, "kindling.rung"],
        &["hill-watch", "POST", "http.route", "/v1/tasks", "http.response.status_code", "kindling.request"],
        &["http.route", "/v1/tasks/{id}", "url.path", "/v1/tasks/zebra"],
    ];
    for texts in wanted {
        while !collector.has(texts) {
            assert!(started.elapsed() < Duration::from_secs(30), "{texts:?} did not come\n{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    assert!(!server.log().contains("otel."), "the log is as ever: {}", server.log());
}

#[test]
fn a_collector_that_is_away_hinders_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut variables = storage(&data_dir);
    variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{nobody}")));
    let server = Server::start_with(&data_dir, 0, &variables);
    assert_eq!(server.get("/v1/tasks").status, 200);
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
