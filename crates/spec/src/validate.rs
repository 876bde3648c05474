//! Every violation of a specification at once (the first hundred), each with where it is and how to mend it.
//!
//! serde stops at the first fault; a person who posts a task wants them all. So the JSON is walked
//! here before serde reads it, and serde is left to be the proof that nothing was missed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::{BackboneName, DataType, Direction, ExportFormat, Metric, TaskKind, TaskSpec, WarmStart, task::VERSION};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the value; to the missing member's place if it is missing.
    pub pointer: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// Violations told at once; a stranger can break a rule as often as the body has room for.
const MOST_VIOLATIONS: usize = 100;
/// Classes that a specification may name.
pub(crate) const MOST_CLASSES: usize = 1000;
/// Classes that a message lists.
const MOST_LISTED: usize = 20;

/// The rules a specification breaks, the first hundred; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct SpecError {
    /// Each of them, in the order of the specification's members.
    pub violations: Vec<Violation>,
}

impl SpecError {
    /// An error of a single violation.
    pub fn one(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { violations: vec![Violation { pointer: pointer.into(), message: message.into() }] }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, v) in self.violations.iter().enumerate() {
            let place = if v.pointer.is_empty() { "the specification" } else { &v.pointer };
            write!(f, "{}{place}: {}", if i > 0 { "\n" } else { "" }, v.message)?;
        }
        Ok(())
    }
}

pub(crate) const MAX_SECONDS: u32 = 30 * 24 * 3600;
pub(crate) const MAX_TRIALS: u64 = 100_000;
pub(crate) const MAX_LATENCY_MS: u32 = 1_000_000;
/// Of bytes and multiply-accumulates.
pub(crate) const MAX_WHOLE: u64 = 1 << 50;
/// JSON numbers are doubles to most readers, so a larger seed would not survive them.
pub(crate) const MAX_SEED: u64 = (1 << 53) - 1;

/// Collects violations while walking.
#[derive(Default)]
pub(crate) struct Walk {
    found: Vec<Violation>,
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

pub(crate) fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// Names of a data set's classes, not too many of them.
pub(crate) fn listed(names: &[String]) -> String {
    let shown = quoted(names.iter().take(MOST_LISTED).map(String::as_str));
    if names.len() > MOST_LISTED { format!("{shown} and {} more", names.len() - MOST_LISTED) } else { shown }
}

impl Walk {
    pub(crate) fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        if self.found.len() == MOST_VIOLATIONS {
            return;
        }
        self.found.push(Violation { pointer: pointer.into(), message: message.into() });
    }

    pub(crate) fn object<'v>(&mut self, at: &str, value: &'v Value, known: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(map) = value.as_object() else {
            self.add(at, format!("must be an object, not {}", type_name(value)));
            return None;
        };
        for key in map.keys().filter(|k| !known.contains(&k.as_str())) {
            let near = known.iter().find(|k| close(k, key));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("remove it; known are {}", quoted(known.iter().copied())),
            };
            let shown: String = key.chars().take(60).collect();
            self.add(format!("{at}/{}", escape(key)), format!("`{shown}` is not a known member: {hint}"));
        }
        Some(map)
    }

    fn text<'v>(&mut self, at: &str, value: &'v Value) -> Option<&'v str> {
        let text = value.as_str();
        if text.is_none() {
            self.add(at, format!("must be a string, not {}", type_name(value)));
        }
        text
    }

    pub(crate) fn word(&mut self, at: &str, value: &Value, known: &[&'static str]) -> bool {
        match self.text(at, value) {
            Some(word) if known.contains(&word) => true,
            Some(word) => {
                let shown: String = word.chars().take(60).collect();
                self.add(at, format!("`{shown}` is not known; use one of {}", quoted(known.iter().copied())));
                false
            }
            None => false,
        }
    }

    fn whole(&mut self, at: &str, value: &Value, low: u64, high: u64) {
        if value.as_u64().is_none_or(|v| v < low || v > high) {
            self.add(at, format!("must be a whole number from {low} to {high}, not {}", short(value)));
        }
    }

    pub(crate) fn real(&mut self, at: &str, value: &Value, test: impl Fn(f64) -> bool, rule: &str) {
        if value.as_f64().is_none_or(|v| !test(v)) {
            self.add(at, format!("must be {rule}, not {}", short(value)));
        }
    }

    fn class_name(&mut self, at: &str, name: &str) {
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            self.add(at, "a class name has 1 to 100 characters and no control characters");
        }
    }

    pub(crate) fn names(&mut self, at: &str, value: &Value) -> Vec<String> {
        let Some(list) = value.as_array() else {
            self.add(at, format!("must be an array of class names, not {}", type_name(value)));
            return Vec::new();
        };
        if list.len() > MOST_CLASSES {
            self.add(at, format!("names {} classes, more than the {MOST_CLASSES} allowed", list.len()));
        }
        let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
        for (i, item) in list.iter().take(MOST_CLASSES).enumerate() {
            let at = format!("{at}/{i}");
            if let Some(name) = self.text(&at, item) {
                self.class_name(&at, name);
                if !seen.insert(name) {
                    let shown: String = name.chars().take(100).collect();
                    self.add(&at, format!("`{shown}` is named twice; remove one"));
                }
                names.push(name.to_owned());
            }
        }
        names
    }

    fn classes(&mut self, at: &str, value: &Value, kind: TaskKind) {
        // What is found need not be told from anything.
        let least = if kind.is_of_boxes() { 1 } else { 2 };
        match value {
            Value::Array(_) => match self.names(at, value).len() {
                count if count >= least => {}
                _ if least == 1 => self.add(at, "names no class; name one, or leave it out for all"),
                _ => self.add(at, "names fewer than two classes; name at least two, or leave it out for all"),
            },
            Value::Object(map) => {
                if map.len() < least {
                    let what = match least {
                        1 => "makes no class; a model needs at least one to find",
                        _ => "makes fewer than two classes; a model needs at least two to tell apart",
                    };
                    self.add(at, what);
                }
                if map.len() > MOST_CLASSES {
                    self.add(at, format!("makes {} classes, more than the {MOST_CLASSES} allowed", map.len()));
                }
                let mut owner = BTreeMap::new();
                for (name, list) in map.iter().take(MOST_CLASSES) {
                    let at = format!("{at}/{}", escape(name));
                    self.class_name(&at, name);
                    let members = self.names(&at, list);
                    if list.is_array() && members.is_empty() {
                        self.add(&at, "is empty; name the data set's classes it is made of");
                    }
                    for member in members {
                        if let Some(other) = owner.insert(member.clone(), name.clone())
                            && &other != name
                        {
                            let [member, other] = [&member, &other].map(|n| n.chars().take(100).collect::<String>());
                            self.add(&at, format!("`{member}` is already in `{other}`; leave it in one of them"));
                        }
                    }
                }
            }
            other => self.add(
                at,
                format!(
                    "must be an array of class names or an object of new name to class names, not {}",
                    type_name(other)
                ),
            ),
        }
    }

    fn objective(&mut self, at: &str, value: &Value, kind: TaskKind) {
        let known: Vec<_> = Metric::ALL.iter().filter(|m| m.is_of(kind)).map(|m| m.as_str()).collect();
        let Some(map) = self.object(at, value, &["metric", "direction", "class", "precision"]) else { return };
        let metric = match map.get("metric") {
            None => {
                let known = quoted(known.iter().copied());
                self.add(format!("{at}/metric"), format!("is missing; use one of {known}"));
                None
            }
            Some(v) => {
                let at = format!("{at}/metric");
                match v.as_str().and_then(Metric::from_word).filter(|metric| !metric.is_of(kind)) {
                    Some(metric) => {
                        let known = quoted(known.iter().copied());
                        self.add(at, format!("`{metric}` is no figure of `{kind}`; use one of {known}"));
                    }
                    None => {
                        self.word(&at, v, &known);
                    }
                }
                v.as_str().and_then(Metric::from_word)
            }
        };
        if let Some(v) = map.get("direction") {
            let words: Vec<_> = Direction::ALL.iter().map(|m| m.as_str()).collect();
            if self.word(&format!("{at}/direction"), v, &words) && v == Direction::Minimize.as_str() {
                self.add(format!("{at}/direction"), "every metric so far is better when higher; use `maximize`");
            }
        }
        let needs = metric == Some(Metric::RecallAtPrecision);
        for (member, meaning) in [("class", "the class to find"), ("precision", "the least precision, such as 0.95")] {
            let at = format!("{at}/{member}");
            match map.get(member).filter(|v| !v.is_null()) {
                None if needs => self.add(at, format!("is missing; `recall_at_precision` needs {meaning}")),
                Some(_) if metric.is_some() && !needs => {
                    self.add(at, format!("`{member}` belongs to `recall_at_precision`; remove it"))
                }
                Some(v) if member == "class" => {
                    if let Some(name) = self.text(&at, v) {
                        self.class_name(&at, name);
                    }
                }
                Some(v) => self.real(&at, v, |p| p > 0.0 && p <= 1.0, "above 0 and at most 1"),
                None => {}
            }
        }
    }

    /// The members that only tasks of anomalies have.
    fn anomalies(&mut self, map: &Map<String, Value>, kind: TaskKind) {
        let given = |name: &str| map.get(name).filter(|v| !v.is_null());
        if kind != TaskKind::AnomalyDetection {
            for name in ["good", "false_alarms"].into_iter().filter(|name| given(name).is_some()) {
                self.add(format!("/{name}"), format!("`{name}` belongs to `anomaly-detection`; remove it"));
            }
            return;
        }
        if let Some(name) = given("good").and_then(|v| self.text("/good", v)) {
            self.class_name("/good", name);
            if name == TaskSpec::FAULTY {
                self.add("/good", "`faulty` is what the model calls the others; give the good class another name");
            }
        }
        if let Some(v) = given("false_alarms") {
            self.real("/false_alarms", v, |share| share > 0.0 && share <= 0.5, "above 0 and at most 0.5");
        }
    }

    pub(crate) fn constraints(&mut self, at: &str, value: &Value) {
        let whole = ["max_weights_bytes", "max_ram_bytes", "max_macs"];
        let known = ["data_type", "max_weights_bytes", "max_ram_bytes", "max_macs", "max_latency_ms"];
        let Some(map) = self.object(at, value, &known) else { return };
        if let Some(v) = map.get("data_type").filter(|v| !v.is_null()) {
            let words: Vec<_> = DataType::ALL.iter().map(|word| word.as_str()).collect();
            self.word(&format!("{at}/data_type"), v, &words);
        }
        for name in whole {
            if let Some(v) = map.get(name).filter(|v| !v.is_null()) {
                self.whole(&format!("{at}/{name}"), v, 1, MAX_WHOLE);
            }
        }
        if let Some(v) = map.get("max_latency_ms").filter(|v| !v.is_null()) {
            let rule = format!("above 0 and at most {MAX_LATENCY_MS}");
            self.real(&format!("{at}/max_latency_ms"), v, |ms| ms > 0.0 && ms <= f64::from(MAX_LATENCY_MS), &rule);
        }
    }

    pub(crate) fn budget(&mut self, at: &str, value: &Value) {
        let Some(map) = self.object(at, value, &["seconds", "trials"]) else { return };
        let seconds = map.get("seconds").filter(|v| !v.is_null());
        let trials = map.get("trials").filter(|v| !v.is_null());
        if let Some(v) = seconds {
            let rule = format!("from 1 to {MAX_SECONDS} (30 days)");
            self.real(&format!("{at}/seconds"), v, |s| (1.0..=f64::from(MAX_SECONDS)).contains(&s), &rule);
        }
        if let Some(v) = trials {
            self.whole(&format!("{at}/trials"), v, 1, MAX_TRIALS);
        }
        if seconds.is_none() && trials.is_none() {
            self.add(at, "is empty; give `seconds`, `trials` or both, or the search would never end");
        }
    }

    pub(crate) fn exports(&mut self, at: &str, value: &Value) {
        let Some(list) = value.as_array() else {
            self.add(at, format!("must be an array of formats, not {}", type_name(value)));
            return;
        };
        if list.is_empty() {
            self.add(at, "is empty; leave it out for every format");
        }
        let words: Vec<_> = ExportFormat::ALL.iter().map(|m| m.as_str()).collect();
        let mut seen = BTreeSet::new();
        for (i, item) in list.iter().enumerate() {
            let at = format!("{at}/{i}");
            if self.word(&at, item, &words) && !seen.insert(item.as_str()) {
                self.add(at, format!("{} is named twice; remove one", short(item)));
            }
        }
    }

    /// The members that every specification begins with: version, name, kind, data set.
    pub(crate) fn heading(&mut self, map: &Map<String, Value>, noun: &str) {
        match map.get("version") {
            None => self.add("/version", format!("is missing; write {VERSION}")),
            Some(v) if v.as_u64() != Some(VERSION.into()) => {
                self.add("/version", format!("{} is not a version this service knows; write {VERSION}", short(v)))
            }
            Some(_) => {}
        }
        match map.get("name") {
            None => self.add("/name", format!("is missing; give the {noun} a name, such as \"smoke or fire\"")),
            Some(v) => {
                if let Some(name) = self.text("/name", v)
                    && (name.trim().is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control))
                {
                    self.add("/name", "must have 1 to 200 characters, not only spaces and no control characters");
                }
            }
        }
        let kinds: Vec<_> = TaskKind::ALL.iter().map(|k| k.as_str()).collect();
        match map.get("kind") {
            None => self.add("/kind", format!("is missing; use one of {}", quoted(kinds))),
            Some(v) => {
                self.word("/kind", v, &kinds);
            }
        }
        if let Some(v) = map.get("dataset") {
            self.text("/dataset", v);
        }
    }

    pub(crate) fn seed(&mut self, map: &Map<String, Value>) {
        if let Some(v) = map.get("seed") {
            self.whole("/seed", v, 0, MAX_SEED);
        }
    }
}

/// What was found.
pub(crate) fn finish(walk: Walk) -> Result<(), SpecError> {
    if walk.found.is_empty() { Ok(()) } else { Err(SpecError { violations: walk.found }) }
}

fn short(value: &Value) -> String {
    match value {
        Value::Number(n) => n.to_string(),
        Value::String(s) => format!("the string {:?}", s.chars().take(40).collect::<String>()),
        other => type_name(other).to_owned(),
    }
}

/// Whether two names differ by a slip of the keys: at most two edits (Levenshtein 1966).
fn close(a: &str, b: &str) -> bool {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = if ca == *cb { corner } else { corner.min(row[j]).min(row[j + 1]) + 1 };
            corner = row[j + 1];
            row[j + 1] = cost;
        }
    }
    row[b.len()] <= 2
}

pub(crate) fn check(value: &Value) -> Result<(), SpecError> {
    const MEMBERS: &[&str] = &[
        "version",
        "name",
        "kind",
        "dataset",
        "classes",
        "good",
        "false_alarms",
        "objective",
        "constraints",
        "budget",
        "backbone",
        "distillation",
        "warm_start",
        "exports",
        "seed",
    ];
    let mut walk = Walk::default();
    if let Some(map) = walk.object("", value, MEMBERS) {
        walk.heading(map, "task");
        let kind = map.get("kind").and_then(Value::as_str).and_then(TaskKind::from_word);
        let kind = kind.unwrap_or(TaskKind::ImageClassification);
        match map.get("classes").filter(|v| !v.is_null()) {
            Some(_) if kind == TaskKind::AnomalyDetection => {
                let what = "where anomalies are found every class but the good one is faulty; leave this out and name that in `good`";
                walk.add("/classes", what);
            }
            Some(v) => walk.classes("/classes", v, kind),
            None => {}
        }
        walk.anomalies(map, kind);
        if let Some(v) = map.get("objective") {
            walk.objective("/objective", v, kind);
        }
        if let Some(v) = map.get("constraints") {
            walk.constraints("/constraints", v);
        }
        match map.get("budget") {
            None => walk.add("/budget", "is missing; write for example {\"seconds\": 60}"),
            Some(v) => walk.budget("/budget", v),
        }
        if let Some(v) = map.get("backbone").filter(|v| !v.is_null()) {
            walk.word("/backbone", v, BackboneName::ALL.iter().map(|b| b.as_str()).collect::<Vec<_>>().as_slice());
        }
        match map.get("distillation") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) if kind != TaskKind::ImageClassification => {
                walk.add("/distillation", format!("there is no teacher for `{kind}`; leave this out"));
            }
            Some(Value::Bool(true)) if map.get("backbone").is_some_and(|v| !v.is_null()) => {}
            Some(Value::Bool(true)) => {
                walk.add("/distillation", "a backbone is the teacher: name one in `backbone`, or leave this out");
            }
            Some(other) => walk.add("/distillation", format!("must be true or false, not {}", short(other))),
        }
        if let Some(v) = map.get("warm_start")
            && let Some(text) = walk.text("/warm_start", v)
            && let Err(what) = WarmStart::try_from(text.to_owned())
        {
            walk.add("/warm_start", what);
        }
        if let Some(v) = map.get("exports") {
            walk.exports("/exports", v);
        }
        walk.seed(map);
    }
    finish(walk)
}

pub(crate) fn check_classes(spec: &TaskSpec, classes: &[String]) -> Result<(), SpecError> {
    let mut walk = Walk::default();
    let known = listed(classes);
    if spec.kind == TaskKind::AnomalyDetection {
        match spec.good_class(classes) {
            Some(good) if classes.contains(&good) => {}
            Some(good) => walk.add("/good", format!("the data set has no class `{good}`; it has {known}")),
            None => walk.add("/good", format!("is missing; name the class whose examples are good, one of {known}")),
        }
    }
    match &spec.classes {
        Some(crate::Classes::Subset(names)) => {
            for (i, name) in names.iter().enumerate().filter(|(_, n)| !classes.contains(n)) {
                walk.add(format!("/classes/{i}"), format!("the data set has no class `{name}`; it has {known}"));
            }
        }
        Some(crate::Classes::Mapping(map)) => {
            for (new, names) in map {
                for (i, name) in names.iter().enumerate().filter(|(_, n)| !classes.contains(n)) {
                    let at = format!("/classes/{}/{i}", escape(new));
                    walk.add(at, format!("the data set has no class `{name}`; it has {known}"));
                }
            }
        }
        None => {}
    }
    if let Some(class) = &spec.objective.class {
        let groups = spec.groups(classes);
        if !groups.iter().any(|(name, _)| name == class) {
            let known = listed(&groups.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
            walk.add("/objective/class", format!("`{class}` is not a class of this task; it has {known}"));
        }
    }
    finish(walk)
}
