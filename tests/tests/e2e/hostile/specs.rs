//! Specifications that are no JSON, mean two things, or ask for what cannot be.

use super::Sent::{Fleet, Task};
use super::{Case, Sent, case};

/// A task that would be taken, but for these members; each replaces or joins its own. `DATASET` stands for a data set.
fn with(members: &[(&str, &str)]) -> String {
    let mut all = vec![
        ("version", "1"),
        ("name", "\"x\""),
        ("kind", "\"image-classification\""),
        ("dataset", "\"DATASET\""),
        ("budget", "{\"seconds\": 5}"),
    ];
    for (name, value) in members {
        all.retain(|(known, _)| known != name);
        all.push((name, value));
    }
    let all: Vec<String> = all.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", all.join(", "))
}

fn task(members: &'static [(&'static str, &'static str)]) -> impl Fn() -> Sent {
    move || Task(with(members).into_bytes())
}

fn fleet(members: &'static [(&'static str, &'static str)]) -> impl Fn() -> Sent {
    move || Fleet(with(members).into_bytes())
}

pub(super) fn cases() -> Vec<Case> {
    let text = |text: &'static str| move || Task(text.as_bytes().to_vec());
    vec![
        case("task: empty", 400, "invalid_request", text("")),
        case("task: cut off", 400, "invalid_request", text("{")),
        case("task: null", 400, "invalid_request", text("null")),
        case("task: a list of its values", 400, "invalid_request", text(r#"[1, "x", "image-classification"]"#)),
        case("task: two of them", 400, "invalid_request", text("{}{}")),
        case("task: no UTF-8", 400, "invalid_request", || Task(b"{\"name\": \"\xFF\"}".to_vec())),
        case("task: half a letter", 400, "invalid_request", text(r#"{"name": "\ud800"}"#)),
        case("task: NaN", 400, "invalid_request", task(&[("seed", "NaN")])),
        case("task: 1e999", 400, "invalid_request", task(&[("seed", "1e999")])),
        case("task: 100,000 brackets", 400, "invalid_request", || {
            Task(with(&[("classes", &"[".repeat(100_000))]).into_bytes())
        }),
        case("task: 100,000 objects in one another", 400, "invalid_request", || {
            Task("{\"a\":".repeat(100_000).into_bytes())
        }),
        case("task: a member twice", 400, "invalid_request", || {
            Task(with(&[]).replace("\"version\": 1", "\"version\": 1, \"version\": 1").into_bytes())
        }),
        case("task: a member twice, once written otherwise", 400, "invalid_request", || {
            Task(with(&[]).replace("{\"seconds\": 5}", r#"{"seconds": 5, "\u0073econds": 1e6}"#).into_bytes())
        }),
        case("task: more than a megabyte", 413, "invalid_request", || {
            Task(with(&[("name", &format!("\"{}\"", "x".repeat(1 << 20)))]).into_bytes())
        }),
        case("task: a name of almost a megabyte", 422, "invalid_spec", || {
            Task(with(&[("name", &format!("\"{}\"", "x".repeat((1 << 20) - 500)))]).into_bytes())
        }),
        case("task: an unknown member", 422, "invalid_spec", task(&[("__proto__", "{\"admin\": true}")])),
        case("task: 50,000 unknown members", 422, "invalid_spec", || {
            let many: String = (0..50_000).map(|i| format!(", \"member {i}\": 1")).collect();
            Task(with(&[]).replace("\"version\": 1", &format!("\"version\": 1{many}")).into_bytes())
        }),
        case("task: wrong types", 422, "invalid_spec", task(&[("name", "{}"), ("budget", "[]"), ("classes", "7")])),
        case("task: a version that is not there yet", 422, "invalid_spec", task(&[("version", "2")])),
        case("task: a version that is almost right", 422, "invalid_spec", task(&[("version", "1.0000001")])),
        case("task: a name of control characters", 422, "invalid_spec", task(&[("name", r#""a\u0000\u001b[2J""#)])),
        case("task: no classes", 422, "invalid_spec", task(&[("classes", "[]")])),
        case("task: a class of nothing", 422, "invalid_spec", task(&[("classes", r#"{"a": [], "b": ["fire"]}"#)])),
        case("task: a class in two", 422, "invalid_spec", task(&[("classes", r#"{"a": ["fire"], "b": ["fire"]}"#)])),
        case("task: classes that are not there", 422, "invalid_spec", task(&[("classes", r#"["no", "none"]"#)])),
        case("task: 100,000 classes", 422, "invalid_spec", || {
            let names: Vec<String> = (0..100_000).map(|i| format!("\"{i}\"")).collect();
            Task(with(&[("classes", &format!("[{}]", names.join(",")))]).into_bytes())
        }),
        case("task: a seed of 2^64", 422, "invalid_spec", task(&[("seed", "18446744073709551616")])),
        case("task: a negative seed", 422, "invalid_spec", task(&[("seed", "-1")])),
        case("task: a budget without end", 422, "invalid_spec", task(&[("budget", "{\"seconds\": 1e300}")])),
        case("task: no budget", 422, "invalid_spec", task(&[("budget", "{}")])),
        case("task: a limit of nothing", 422, "invalid_spec", task(&[("constraints", "{\"max_macs\": 0}")])),
        case("task: limits that nothing meets", 422, "limits_too_tight", {
            task(&[("constraints", "{\"max_weights_bytes\": 10, \"max_macs\": 1125899906842624}")])
        }),
        case("task: limits that contradict each other", 422, "limits_too_tight", {
            task(&[("constraints", "{\"max_weights_bytes\": 1000000, \"max_macs\": 1, \"max_ram_bytes\": 1}")])
        }),
        case("task: no formats", 422, "invalid_spec", task(&[("exports", "[]")])),
        case("task: 100,000 formats", 422, "invalid_spec", || {
            Task(with(&[("exports", &format!("[{}]", vec!["\"exe\""; 100_000].join(",")))]).into_bytes())
        }),
        case("task: a path for a data set", 404, "dataset_not_found", task(&[("dataset", "\"../../etc/passwd\"")])),
        case("task: a data set that is not there", 404, "dataset_not_found", {
            task(&[("dataset", "\"ds_01890000000070008000000000000000\"")])
        }),
        case("task: a model that is not there", 404, "model_not_found", {
            task(&[("warm_start", "\"model_01890000000070008000000000000000\"")])
        }),
        case("task: another kind of labels", 422, "invalid_spec", task(&[("kind", "\"object-detection\"")])),
        case("fleet: nothing to specialise in", 422, "invalid_spec", {
            fleet(&[("background", r#"["fire", "smoke", "neither"]"#)])
        }),
        case("fleet: a class on both sides", 422, "invalid_spec", {
            fleet(&[("specialists", r#"["fire"]"#), ("background", r#"["fire"]"#)])
        }),
        case("fleet: a member twice", 400, "invalid_request", || {
            Fleet(with(&[]).replace("\"version\": 1", "\"version\": 1, \"version\": 2").into_bytes())
        }),
        case("fleet: fewer seconds than tasks", 422, "invalid_spec", fleet(&[("budget", "{\"seconds\": 2}")])),
    ]
}
