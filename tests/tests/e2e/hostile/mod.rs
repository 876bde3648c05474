//! Hostile archives, annotations, images and specifications: each is answered with its own problem, leaves nothing behind,
//! and costs the service no more memory than is stated here.

mod annotations;
mod archives;
mod images;
mod specs;
mod tars;
mod zips;

use crate::harness::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

/// MiB above what the service has when idle. An image within the limits may need most of it: 100 million pixels with
/// transparency take 400, and 300 more once that is laid over white.
const MOST_MIB: u64 = 900;
/// Bytes of a detail: that of a specification tells its first hundred faults.
const MOST_WORDS: usize = 40_000;

/// What is sent where.
pub(super) enum Sent {
    /// The content of a data set of classes.
    Classes(Vec<u8>),
    /// The content of a data set of boxes.
    Boxes(Vec<u8>),
    /// A picture of a draft.
    Picture(Vec<u8>),
    Task(Vec<u8>),
    Fleet(Vec<u8>),
}

/// One hostile input, and what must be answered.
pub(super) struct Case {
    name: &'static str,
    status: u16,
    code: &'static str,
    sent: Box<dyn Fn() -> Sent>,
}

pub(super) fn case(name: &'static str, status: u16, code: &'static str, sent: impl Fn() -> Sent + 'static) -> Case {
    Case { name, status, code, sent: Box::new(sent) }
}

/// Two classes of twelve good pictures, to which the bad is added.
pub(super) fn good() -> Vec<(String, Vec<u8>)> {
    (0..24).map(|i| (format!("{}/{i}.png", ["a", "b"][i as usize % 2]), png(&picture(24, 24, i)))).collect()
}

/// A field of the process's status, in MiB.
fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// What uploads and unfinished data sets are called, below a folder.
fn left_over(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if [".ingest-", "upload-", "draft-"].iter().any(|start| name.starts_with(start)) {
            found.push(entry.path().display().to_string());
        } else if entry.path().is_dir() {
            left_over(&entry.path(), found);
        }
    }
}

struct Target {
    server: Server,
    draft: String,
    dataset: String,
}

impl Target {
    fn send(&self, sent: Sent) -> Answer {
        let json = |path: &str, body: &[u8]| {
            Answer::of(agent().post(self.server.url(path)).content_type("application/json").send(body).unwrap())
        };
        let content = |kind: &str, bytes: &[u8]| {
            let made = self.server.post("/v1/datasets", &json!({"name": "hostile", "kind": kind}));
            let id = made.text("/id");
            let answer = self.server.put(&format!("/v1/datasets/{id}/content"), bytes);
            let record = self.server.get(&format!("/v1/datasets/{id}"));
            // What does not arrive is not tried; what is tried is remembered as refused.
            assert!(bytes.is_empty() || record.text("/state") == "refused", "{record:?}");
            assert_eq!(self.server.delete(&format!("/v1/datasets/{id}")).status, 204);
            answer
        };
        let filled = |body: Vec<u8>| match String::from_utf8(body) {
            Ok(text) => text.replace("DATASET", &self.dataset).into_bytes(),
            Err(error) => error.into_bytes(),
        };
        match sent {
            Sent::Classes(bytes) => content("image-classification", &bytes),
            Sent::Boxes(bytes) => content("object-detection", &bytes),
            Sent::Picture(bytes) => self.server.post_bytes(&format!("/v1/drafts/{}/pictures", self.draft), &bytes),
            Sent::Task(body) => json("/v1/tasks", &filled(body)),
            Sent::Fleet(body) => json("/v1/fleets", &filled(body)),
        }
    }
}

#[test]
fn hostile_inputs_are_refused_one_by_one_in_bounded_memory() {
    let cases: Vec<Case> =
        [zips::cases(), archives::cases(), tars::cases(), annotations::cases(), images::cases(), specs::cases()]
            .into_iter()
            .flatten()
            .collect();
    assert!(cases.len() >= 64, "{} cases", cases.len());
    assert_eq!(cases.iter().map(|case| case.name).collect::<BTreeSet<_>>().len(), cases.len(), "each has its own name");

    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, 0);
    let pid = server.child.id();
    let (dataset, sealed) = server.upload(sample_zip());
    assert_eq!(sealed.status, 200, "{sealed:?}");
    let draft = server.post("/v1/drafts", &json!({"name": "hostile", "labels": "boxes", "classes": ["a"]})).text("/id");
    let target = Target { server, draft, dataset };
    let idle = memory(pid, "VmRSS");
    let (mut wrong, mut most) = (Vec::new(), (0, ""));
    for Case { name, status, code, sent } in &cases {
        // Begins the count of the greatest memory anew.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        let start = std::time::Instant::now();
        let answer = target.send(sent());
        let (took, used) = (start.elapsed(), memory(pid, "VmHWM").saturating_sub(idle));
        println!("{:5} ms {used:4} MiB  {name}: {} {}", took.as_millis(), answer.status, answer.text("/detail"));
        most = most.max((used, *name));
        if (answer.status, answer.text("/code").as_str()) != (*status, *code) {
            wrong.push(format!("{name}: {} {}, not {status} {code}", answer.status, answer.text("/code")));
        } else if !answer.header("content-type").starts_with("application/problem+json") {
            wrong.push(format!("{name}: it is {}", answer.header("content-type")));
        } else if !(1..MOST_WORDS).contains(&answer.text("/detail").len()) || answer.body.len() > 200_000 {
            wrong.push(format!("{name}: a detail of {} bytes", answer.text("/detail").len()));
        }
        if used > MOST_MIB {
            wrong.push(format!("{name}: {used} MiB of memory"));
        }
        let mut left = Vec::new();
        left_over(&data, &mut left);
        if !left.is_empty() {
            wrong.push(format!("{name} left {left:?}"));
        }
    }
    println!("{} cases; idle {idle} MiB; most above it {} MiB for `{}`", cases.len(), most.0, most.1);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(target.server.get("/readyz").status, 200);
    assert!(!target.server.log().contains("panicked"), "{}", target.server.log());
    let (_, sealed) = target.server.upload(sample_zip());
    assert_eq!(sealed.status, 200, "it still takes what is good: {sealed:?}");
}
