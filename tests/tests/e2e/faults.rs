//! What a machine can do to a service: its disk is full, its clock jumps, a worker gets no more memory, the graphics card
//! is lost. Each is made to happen while a study runs.

use crate::harness::*;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Whether the program is there, or else this is not the machine to test this on.
fn there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !there {
        println!("skipped: there is no `{program}`");
    }
    there
}

/// How many rungs are done.
fn results(server: &Server, task: &str) -> usize {
    let trials = server.get(&format!("/v1/tasks/{task}/trials")).json;
    trials["items"].as_array().unwrap().iter().map(|trial| trial["results"].as_array().unwrap().len()).sum()
}

/// It has a model and no trial of it failed.
fn assert_whole(server: &Server, over: &Value) {
    let failed = &over["progress"]["trials"]["failed"];
    assert_eq!((&over["state"], failed), (&json!("complete"), &json!(0)), "{over}\n{}", server.log());
    let best = over["best"]["model"].as_str().unwrap();
    let answer = server.post_bytes(&format!("/v1/models/{best}/predict"), &png(&picture(32, 32, 1)));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("disk");
    std::fs::create_dir(&place).unwrap();
    // A disk of its own, seen by this service alone.
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command.arg(r#"mount -t tmpfs -o size=64m tmpfs "$0" && exec "$@""#).arg(&place);
    let can = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
    if !can.is_ok_and(|status| status.success()) {
        println!("skipped: this user may not have disks of its own");
        return;
    }
    let server = Server::start_as(with_binary(command), &place.join("data"), "flex", 1, &[]);
    let (dataset, task) = server.begin(json!({"trials": 2}));
    let seen = server.wait(&task, "there is a model", |t| t["best"].is_object());
    let model = format!("/v1/models/{}/files/model.onnx", seen["best"]["model"].as_str().unwrap());
    let onnx = sha256(&server.get(&model).body);

    let inside = PathBuf::from(format!("/proc/{}/root{}", server.child.id(), place.display()));
    let fill = || {
        let mut filler = File::options().create(true).append(true).open(inside.join("filler")).unwrap();
        for size in [1 << 20, 1 << 12] {
            while filler.write_all(&vec![1; size]).is_ok() {}
        }
    };
    fill();
    // The archive, or the record of a data set: there is no room for either.
    let made = server.post("/v1/datasets", &json!({"name": "test", "kind": "image-classification"}));
    let refused = match made.status {
        201 => server.put(&format!("/v1/datasets/{}/content", made.text("/id")), sample_zip()),
        _ => made,
    };
    refused.assert_problem("storage_full", 507);
    // Whoever is at work: the worker that has something to keep, or the scheduler that has something to decide.
    let is_felt = |log: String| log.contains("storage did not do it") || log.contains("a scheduling step failed");
    server.wait_for("it is felt", || {
        fill();
        is_felt(server.log())
    });
    // What there is can be read.
    assert_eq!(server.get(&format!("/v1/datasets/{dataset}")).json["state"], "ready");
    assert_eq!(server.get(&format!("/v1/datasets/{dataset}/examples/0/image")).status, 200);
    assert_eq!(sha256(&server.get(&model).body), onnx);
    assert_eq!(server.get(&format!("/v1/tasks/{task}")).json["state"], "running");

    std::fs::remove_file(inside.join("filler")).unwrap();
    let (_, sealed) = server.upload(sample_zip());
    assert_eq!(sealed.status, 200, "{sealed:?}");
    let over = server.wait_over(&task);
    assert_whole(&server, &over);
    assert_eq!(sha256(&server.get(&model).body), onnx);
}

fn with_binary(mut command: Command) -> Command {
    command.arg(binary());
    command
}

#[test]
fn a_clock_that_jumps_neither_ends_a_study_nor_takes_its_trials_away() {
    if !there("faketime") {
        return;
    }
    let library = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime"]
        .map(|dir| Path::new(dir).join("libfaketimeMT.so.1"));
    let library = library.iter().find(|path| path.is_file()).expect("faketime has its library");
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    let set = |to: &str| {
        // Whole, at once: it may be read at any moment.
        std::fs::write(dir.path().join("next"), to).unwrap();
        std::fs::rename(dir.path().join("next"), &clock).unwrap();
    };
    set("+0");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let variables = [
        ("LD_PRELOAD", text(library)),
        ("FAKETIME_TIMESTAMP_FILE", text(&clock)),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // The name of later versions, and of this.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let server = Server::start_with(&dir.path().join("data"), 1, &variables);
    let (_, task) = server.begin(json!({"trials": 6, "seconds": 3000}));
    server.wait(&task, "a trial runs", |t| t["progress"]["trials"]["running"].as_u64() > Some(0));
    for to in ["+2h", "-400d", "+0"] {
        set(to);
        let before = results(&server, &task);
        server.wait_for(&format!("it goes on at {to}"), || results(&server, &task) != before);
    }
    let seen = server.get(&format!("/v1/tasks/{task}")).json;
    assert_eq!((&seen["state"], &seen["progress"]["trials"]["failed"]), (&json!("running"), &json!(0)), "{seen}");
    // Hours that nobody worked are not spent.
    let spent = seen["progress"]["seconds_spent"].as_f64().unwrap();
    assert!((0.0..600.0).contains(&spent), "{seen}");
    assert_eq!(server.post(&format!("/v1/tasks/{task}/cancel"), &json!({})).status, 200);
    let log = server.log();
    assert!(!log.contains("a worker died"), "{log}");
}

#[test]
fn a_worker_that_gets_no_more_memory_is_replaced_and_its_trial_goes_on() {
    if !there("prlimit") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), 1);
    let (_, task) = server.begin(json!({"trials": 2}));
    server.wait(&task, "a trial runs", |t| t["progress"]["trials"]["running"].as_u64() > Some(0));
    let worker = server.workers()[0];
    // Less than it has: the next larger allocation is refused, as where a container's limit is reached.
    let limited = Command::new("prlimit").args(["--pid", &worker.to_string(), "--data=1000000"]).status().unwrap();
    assert!(limited.success());
    server.wait_for("the worker is gone", || !server.workers().contains(&worker));
    let over = server.wait_over(&task);
    assert_whole(&server, &over);
    let log = server.log();
    assert!(log.contains("memory allocation of") && log.contains("a worker died"), "{log}");
}

#[test]
fn a_lost_graphics_card_costs_a_worker_and_no_trial() {
    if std::env::var("KINDLING_TEST_WGPU").as_deref() != Ok("1") {
        println!(
            "skipped: KINDLING_TEST_WGPU=1 demands it, where there is a Vulkan driver (mesa-vulkan-drivers will do)"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let layer = dir.path().join("liblose_device.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/lose_device.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&layer, &source]).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let manifest = json!({"file_format_version": "1.0.0", "layer": {
        "name": "VK_LAYER_KINDLING_lose_device", "type": "GLOBAL", "library_path": layer, "api_version": "1.3.0",
        "implementation_version": "1", "description": "Loses the device", "functions": {
            "vkGetInstanceProcAddr": "lose_device_instance", "vkGetDeviceProcAddr": "lose_device_device",
        },
    }});
    std::fs::write(dir.path().join("lose_device.json"), manifest.to_string()).unwrap();
    let lost = dir.path().join("lost");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let variables = [
        ("VK_LAYER_PATH", text(dir.path())),
        ("VK_INSTANCE_LAYERS", "VK_LAYER_KINDLING_lose_device".to_owned()),
        ("LOSE_DEVICE_WHILE", text(&lost)),
    ];
    let server = Server::start_as(kindling(), &dir.path().join("data"), "wgpu", 1, &variables);
    let (_, task) = server.begin(json!({"trials": 1}));
    server.wait(&task, "a trial runs", |t| t["progress"]["trials"]["running"].as_u64() > Some(0));
    let worker = server.workers()[0];
    std::thread::sleep(Duration::from_secs(2));
    File::create(&lost).unwrap();
    let is_told = |log: String| log.contains("Device is lost") && log.contains("a worker died");
    server.wait_for("the worker is gone", || !server.workers().contains(&worker) && is_told(server.log()));
    std::fs::remove_file(&lost).unwrap();
    // A processor that poses as a card would take minutes to the end.
    let of_trial = || server.get(&format!("/v1/tasks/{task}/trials")).json["items"][0].clone();
    let trial = of_trial();
    server.wait_for("the trial goes on", || of_trial()["state"] == "running" && !server.workers().is_empty());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((&of_trial()["id"], &of_trial()["state"]), (&trial["id"], &json!("running")), "{}", server.log());
    server.post(&format!("/v1/tasks/{task}/cancel"), &json!({}));
}
