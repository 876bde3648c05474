//! The fleet specification: one small model a class, beside one model for all of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use crate::schema;
use crate::task::{all_exports, local};
use crate::validate::{SpecError, Walk, finish, listed};
use crate::{Budget, Classes, Constraints, Direction, ExportFormat, Metric, Objective, TaskKind, TaskSpec, WarmStart};

/// The most specialists that may be named.
const MOST: usize = 100;
/// Task names have at most 200 characters, of which a class may take 100.
const NAME_SHARE: usize = 90;

/// What the studies of a fleet work towards, and the precision at which its report compares recalls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetObjective {
    /// The figure; with `recall_at_precision` each specialist looks for its own class, and the single model, which
    /// has no class of its own, works towards balanced accuracy.
    #[serde(default = "balanced")]
    pub metric: Metric,
    /// The least precision at which recalls are compared, above 0 and at most 1.
    #[serde(default = "precision")]
    pub precision: f64,
}

fn balanced() -> Metric {
    Metric::BalancedAccuracy
}

fn precision() -> f64 {
    0.9
}

impl Default for FleetObjective {
    fn default() -> Self {
        Self { metric: balanced(), precision: precision() }
    }
}

/// A model for each class that tells it from the rest, and for comparison one model that tells all classes apart.
///
/// Parse it with [`FleetSpec::from_json`], which reports every violation at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetSpec {
    /// The version of this format: 1.
    pub version: u32,
    /// A name for people, 1 to 200 characters.
    pub name: String,
    /// What sort of answer is wanted.
    pub kind: TaskKind,
    /// The id of a data set; `local` with `kindling fleet --data`.
    #[serde(default = "local")]
    pub dataset: String,
    /// The classes that get a specialist; every class that is not background when left out. All other classes are
    /// the rest it is told from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specialists: Option<Vec<String>>,
    /// Classes that get no specialist, such as `normal`; they are part of the rest, and a class of the single model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub background: Vec<String>,
    /// What is to be made best, balanced accuracy when left out, and the precision recalls are compared at.
    #[serde(default)]
    pub objective: FleetObjective,
    /// What each specialist may cost.
    #[serde(default)]
    pub constraints: Constraints,
    /// What the single model may cost; the same as a specialist when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub single_constraints: Option<Constraints>,
    /// When the whole fleet is done. Its tasks run one after another with all workers, the single model's first, and
    /// each gets an equal share of the seconds and of the trials (what does not divide goes to the first).
    pub budget: Budget,
    /// The formats to write, `onnx` among them since the router runs it; all when left out.
    #[serde(default = "all_exports")]
    pub exports: Vec<ExportFormat>,
    /// Seeds everything random; 0 when left out.
    #[serde(default)]
    pub seed: u64,
}

/// A task of a fleet, ready to be posted.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetTask {
    /// The class that it finds; none for the single model.
    pub class: Option<String>,
    /// The task.
    pub spec: TaskSpec,
}

impl FleetSpec {
    /// Reads a specification.
    ///
    /// # Errors
    /// Every violation there is, each with its JSON pointer and how to mend it.
    pub fn from_json(value: &Value) -> Result<Self, SpecError> {
        check(value)?;
        serde_json::from_value(value.clone()).map_err(|error| SpecError::one("", error.to_string()))
    }

    /// Checks the parts that depend on the data set: the classes named, and that the budget reaches for all tasks.
    ///
    /// # Errors
    /// Every violation there is.
    pub fn check_classes(&self, classes: &[String]) -> Result<(), SpecError> {
        let mut walk = Walk::default();
        let known = listed(classes);
        let named = self.specialists.iter().flatten().enumerate().map(|(i, name)| ("specialists", i, name));
        let background = self.background.iter().enumerate().map(|(i, name)| ("background", i, name));
        for (member, i, name) in named.chain(background).filter(|(_, _, name)| !classes.contains(name)) {
            walk.add(format!("/{member}/{i}"), format!("the data set has no class `{name}`; it has {known}"));
        }
        let specialists = self.specialists_of(classes);
        if specialists.is_empty() {
            walk.add("/background", "leaves no class to make a specialist of; take at least one out");
        } else if specialists.len() > MOST {
            let many = specialists.len();
            walk.add("/specialists", format!("{many} classes would get one; name at most {MOST} of them here"));
        }
        let tasks = specialists.len() + 1;
        if let Some(seconds) = self.budget.seconds.filter(|s| *s < tasks as f64) {
            let least =
                format!("{seconds} are too few for {tasks} tasks; give at least {tasks}, better many times that");
            walk.add("/budget/seconds", least);
        }
        if let Some(trials) = self.budget.trials.filter(|t| (*t as usize) < tasks) {
            walk.add("/budget/trials", format!("{trials} are too few for {tasks} tasks; give at least {tasks}"));
        }
        finish(walk)
    }

    /// The classes that get a specialist, in the data set's order.
    pub fn specialists_of(&self, classes: &[String]) -> Vec<String> {
        let wanted = |name: &&String| match &self.specialists {
            Some(names) => names.contains(name),
            None => !self.background.contains(name),
        };
        classes.iter().filter(wanted).cloned().collect()
    }

    /// The tasks, in the order they run: the single model's, then each specialist's. The budget is split evenly.
    pub fn tasks(&self, classes: &[String]) -> Vec<FleetTask> {
        let specialists = self.specialists_of(classes);
        let count = specialists.len() as u32 + 1;
        let roles = std::iter::once(None).chain(specialists.into_iter().map(Some));
        let task = |(place, class): (u32, Option<String>)| {
            let trials = self.budget.trials.map(|t| t / count + u32::from(place < t % count));
            let budget = Budget { seconds: self.budget.seconds.map(|s| s / f64::from(count)), trials };
            let short: String = self.name.chars().take(NAME_SHARE).collect();
            let name = format!("{short}: {}", class.as_deref().unwrap_or("all classes"));
            let (mapping, constraints) = match &class {
                Some(class) => (Some(against_rest(class, classes)), &self.constraints),
                None => (None, self.single_constraints.as_ref().unwrap_or(&self.constraints)),
            };
            let spec = TaskSpec {
                version: crate::task::VERSION,
                name,
                kind: self.kind,
                dataset: self.dataset.clone(),
                classes: mapping,
                good: None,
                false_alarms: None,
                objective: self.objective_of(class.as_deref()),
                constraints: constraints.clone(),
                budget,
                backbone: None,
                distillation: false,
                warm_start: WarmStart::default(),
                exports: self.exports.clone(),
                seed: self.seed,
            };
            FleetTask { class, spec }
        };
        (0..).zip(roles).map(task).collect()
    }

    fn objective_of(&self, class: Option<&str>) -> Objective {
        let plain = |metric| Objective { metric, direction: Direction::Maximize, class: None, precision: None };
        match (self.objective.metric, class) {
            (Metric::RecallAtPrecision, Some(class)) => Objective {
                class: Some(class.to_owned()),
                precision: Some(self.objective.precision),
                ..plain(Metric::RecallAtPrecision)
            },
            (Metric::RecallAtPrecision, None) => plain(Metric::BalancedAccuracy),
            (metric, _) => plain(metric),
        }
    }

    /// The published JSON Schema.
    pub fn json_schema() -> Value {
        schema::fleet(schemars::schema_for!(Self).to_value(), MOST)
    }
}

/// What every other class is called by a specialist.
fn rest(class: &str) -> &'static str {
    if class == "rest" { "others" } else { "rest" }
}

fn against_rest(class: &str, classes: &[String]) -> Classes {
    let others = classes.iter().filter(|name| *name != class).cloned().collect();
    Classes::Mapping(BTreeMap::from([(class.to_owned(), vec![class.to_owned()]), (rest(class).to_owned(), others)]))
}

fn check(value: &Value) -> Result<(), SpecError> {
    const MEMBERS: &[&str] = &[
        "version",
        "name",
        "kind",
        "dataset",
        "specialists",
        "background",
        "objective",
        "constraints",
        "single_constraints",
        "budget",
        "exports",
        "seed",
    ];
    let mut walk = Walk::default();
    if let Some(map) = walk.object("", value, MEMBERS) {
        walk.heading(map, "fleet");
        let kind = map.get("kind").and_then(Value::as_str).and_then(TaskKind::from_word);
        if kind.is_some_and(|kind| kind != TaskKind::ImageClassification) {
            let what = format!("a fleet tells classes apart; use `{}`", TaskKind::ImageClassification);
            walk.add("/kind", what);
        }
        let present = |name: &str| map.get(name).filter(|v| !v.is_null());
        let specialists = present("specialists").map(|v| {
            if v.as_array().is_some_and(Vec::is_empty) {
                walk.add("/specialists", "is empty; name at least one class, or leave it out for all");
            }
            if v.as_array().is_some_and(|list| list.len() > MOST) {
                walk.add("/specialists", format!("names more than {MOST} classes; make several fleets"));
            }
            walk.names("/specialists", v)
        });
        if let Some(v) = map.get("background") {
            for (i, name) in walk.names("/background", v).into_iter().enumerate() {
                if specialists.as_ref().is_some_and(|s| s.contains(&name)) {
                    let at = format!("/background/{i}");
                    walk.add(at, format!("`{name}` is in `specialists` too; leave it in one of them"));
                }
            }
        }
        if let Some(v) = map.get("objective") {
            objective(&mut walk, v);
        }
        if let Some(v) = map.get("constraints") {
            walk.constraints("/constraints", v);
        }
        if let Some(v) = present("single_constraints") {
            walk.constraints("/single_constraints", v);
        }
        match map.get("budget") {
            None => walk.add("/budget", "is missing; write for example {\"seconds\": 300}"),
            Some(v) => walk.budget("/budget", v),
        }
        if let Some(v) = map.get("exports") {
            walk.exports("/exports", v);
            let onnx = ExportFormat::Onnx.as_str();
            if v.as_array().is_some_and(|list| !list.is_empty() && !list.iter().any(|f| f == onnx)) {
                walk.add("/exports", "must have `onnx` among them: the fleet's router runs it");
            }
        }
        walk.seed(map);
    }
    finish(walk)
}

fn objective(walk: &mut Walk, value: &Value) {
    let Some(map) = walk.object("/objective", value, &["metric", "precision"]) else { return };
    if let Some(v) = map.get("metric") {
        let fits = |metric: &&Metric| metric.is_of(TaskKind::ImageClassification);
        let words: Vec<_> = Metric::ALL.iter().filter(fits).map(|m| m.as_str()).collect();
        walk.word("/objective/metric", v, &words);
    }
    if let Some(v) = map.get("precision") {
        walk.real("/objective/precision", v, |p| p > 0.0 && p <= 1.0, "above 0 and at most 1");
    }
}
