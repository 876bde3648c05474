//! What the published schemas say beyond the types: lengths, bounds, and which members belong together. `validate` refuses
//! what they forbid; what only a data set can tell, such as whether it has a class, no schema says.

use serde_json::{Value, json};

use crate::task::VERSION;
use crate::validate::{MAX_LATENCY_MS, MAX_SECONDS, MAX_SEED, MAX_TRIALS, MAX_WHOLE, MOST_CLASSES};
use crate::{Direction, ExportFormat, Metric, TaskKind, TaskSpec};

/// No control characters.
const TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// The same, and not only spaces.
const WORDS: &str = concat!(
    r"^[^\u0000-\u001f\u007f-\u009f]*",
    r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
    r"[^\u0000-\u001f\u007f-\u009f]*$"
);

/// Puts what `more` says into `schema`, member by member; of what both say anything of that is no object, `more` is right.
pub fn merge(schema: &mut Value, more: Value) {
    match (schema, more) {
        (Value::Object(members), Value::Object(more)) => {
            for (name, value) in more {
                merge(members.entry(name).or_insert(Value::Null), value);
            }
        }
        (schema, more) => *schema = more,
    }
}

/// A name for people: 1 to 200 characters, not only spaces, no control characters.
pub fn name() -> Value {
    json!({"minLength": 1, "maxLength": 200, "pattern": WORDS})
}

/// The name of a class in a specification.
fn class() -> Value {
    json!({"minLength": 1, "maxLength": 100, "pattern": TEXT})
}

fn classes() -> Value {
    let mut item = class();
    merge(&mut item, json!({"type": "string"}));
    json!({"items": item, "uniqueItems": true, "maxItems": MOST_CLASSES})
}

fn budget() -> Value {
    json!({
        "properties": {
            "seconds": {"minimum": 1, "maximum": MAX_SECONDS},
            "trials": {"minimum": 1, "maximum": MAX_TRIALS},
        },
        "anyOf": [
            {"required": ["seconds"], "properties": {"seconds": {"type": "number"}}},
            {"required": ["trials"], "properties": {"trials": {"type": "integer"}}},
        ],
    })
}

fn constraints() -> Value {
    let whole = json!({"minimum": 1, "maximum": MAX_WHOLE});
    json!({"properties": {
        "max_weights_bytes": whole,
        "max_ram_bytes": whole,
        "max_macs": whole,
        "max_latency_ms": {"exclusiveMinimum": 0, "maximum": MAX_LATENCY_MS},
    }})
}

fn exports() -> Value {
    json!({"minItems": 1, "uniqueItems": true})
}

fn metrics(kind: TaskKind) -> Vec<&'static str> {
    Metric::ALL.iter().filter(|metric| metric.is_of(kind)).map(|metric| metric.as_str()).collect()
}

/// What a member has no say in.
fn absent() -> Value {
    json!({"type": "null"})
}

fn objective() -> Value {
    let (none, found) = (absent(), Metric::RecallAtPrecision);
    json!({
        "properties": {
            "direction": {"const": Direction::Maximize},
            "class": class(),
            "precision": {"exclusiveMinimum": 0, "maximum": 1},
        },
        "oneOf": [
            {"properties": {"metric": {"not": {"const": found}}, "class": none, "precision": none}},
            {
                "properties": {
                    "metric": {"const": found},
                    "class": {"type": "string"},
                    "precision": {"type": "number"},
                },
                "required": ["class", "precision"],
            },
        ],
    })
}

/// What a kind of task has that others have not. One with a teacher needs its name.
fn of_kind(kind: TaskKind, taught: bool) -> Value {
    let least = if kind.is_of_boxes() { 1 } else { 2 };
    let mut its = json!({"properties": {
        "kind": {"const": kind},
        "classes": {"minItems": least, "minProperties": least},
        "objective": {"properties": {"metric": {"enum": metrics(kind)}}},
        "distillation": {"const": taught},
    }});
    if kind == TaskKind::AnomalyDetection {
        merge(&mut its, json!({"properties": {"classes": absent()}}));
    } else {
        merge(&mut its, json!({"properties": {"good": absent(), "false_alarms": absent()}}));
    }
    if taught {
        let backbone = json!({"type": "string"});
        merge(&mut its, json!({"properties": {"backbone": backbone}, "required": ["backbone", "distillation"]}));
    }
    its
}

fn dataset() -> Value {
    let prefix = crate::DatasetId::PREFIX;
    json!({"pattern": format!("^({}|{prefix}_[0-9a-f]{{32}})$", TaskSpec::LOCAL_DATASET)})
}

/// Of the definitions that tasks and fleets share.
fn shared() -> Value {
    let mut group = classes();
    merge(&mut group, json!({"type": "array", "minItems": 1}));
    let mut subset = classes();
    merge(&mut subset, json!({"type": "array", "description": "Only these; examples of others are left out."}));
    let mapping = json!({
        "type": "object",
        "description": "New class name to the data set's classes it is made of; examples of others are left out.",
        "propertyNames": class(),
        "additionalProperties": group,
        "maxProperties": MOST_CLASSES,
    });
    json!({"Budget": budget(), "Constraints": constraints(), "Objective": objective(), "Classes": {"anyOf": [subset, mapping]}})
}

/// Only those that this schema refers to.
fn put_shared(schema: &mut Value) {
    let (Value::Object(shared), Some(Value::Object(own))) = (shared(), schema.get_mut("$defs")) else { return };
    for (name, more) in shared {
        if let Some(definition) = own.get_mut(&name) {
            merge(definition, more);
        }
    }
}

pub(crate) fn task(mut schema: Value) -> Value {
    let mut good = class();
    merge(&mut good, json!({"not": {"const": TaskSpec::FAULTY}}));
    let mut kinds: Vec<Value> = TaskKind::ALL.iter().map(|kind| of_kind(*kind, false)).collect();
    kinds.push(of_kind(TaskKind::ImageClassification, true));
    merge(
        &mut schema,
        json!({
            "properties": {
                "version": {"const": VERSION},
                "name": name(),
                "dataset": dataset(),
                "good": good,
                "false_alarms": {"exclusiveMinimum": 0, "maximum": 0.5},
                "exports": exports(),
                "seed": {"maximum": MAX_SEED},
            },
            "oneOf": kinds,
        }),
    );
    put_shared(&mut schema);
    schema
}

pub(crate) fn fleet(mut schema: Value, most: usize) -> Value {
    let mut specialists = classes();
    merge(&mut specialists, json!({"minItems": 1, "maxItems": most}));
    let mut exports = exports();
    merge(&mut exports, json!({"contains": {"const": ExportFormat::Onnx}}));
    let kind = TaskKind::ImageClassification;
    merge(
        &mut schema,
        json!({
            "properties": {
                "version": {"const": VERSION},
                "name": name(),
                "dataset": dataset(),
                "kind": {"const": kind},
                "specialists": specialists,
                "background": classes(),
                "exports": exports,
                "seed": {"maximum": MAX_SEED},
            },
            "$defs": {"FleetObjective": {"properties": {
                "metric": {"enum": metrics(kind)},
                "precision": {"exclusiveMinimum": 0, "maximum": 1},
            }}},
        }),
    );
    put_shared(&mut schema);
    schema
}
