//! What the bodies of requests may be beyond their types: lengths, bounds, which members belong together. The handlers and the
//! engine refuse the rest; this has the OpenAPI document say so. What only the records can tell (whether a data set has a
//! class) no schema says.

use kindling_spec::schema::{merge, name};
use kindling_spec::{DatasetId, ModelId};
use serde_json::{Map, Value, json};

/// Classes that a data set or draft may have.
const CLASSES: u32 = 1000;
/// Of the seeds that are not in a specification.
const SEED: u64 = u64::MAX;

/// What ids look like.
pub(crate) fn id_pattern(prefix: &str) -> String {
    format!("^{prefix}_[0-9a-f]{{32}}$")
}

fn id(prefix: &str) -> Value {
    json!({"pattern": id_pattern(prefix)})
}

/// Names of classes of a draft.
fn classes() -> Value {
    json!({"items": name(), "uniqueItems": true, "maxItems": CLASSES})
}

fn labels() -> Value {
    let about = "What its labels are: a class for each picture, or boxes with classes. Left out, what is usual there.";
    json!({"type": ["string", "null"], "enum": ["classes", "boxes", null], "description": about})
}

/// One of several members, the others absent, null or false.
fn one_of(members: &[(&str, Value)]) -> Value {
    let one = |(name, schema): &(&str, Value)| {
        let mut properties = Map::new();
        for (other, schema) in members.iter().filter(|(other, _)| other != name) {
            let none = if schema.get("const").is_some() { json!({"const": false}) } else { json!({"type": "null"}) };
            properties.insert((*other).to_owned(), none);
        }
        properties.insert((*name).to_owned(), schema.clone());
        json!({"properties": properties, "required": [name]})
    };
    json!({"additionalProperties": false, "oneOf": members.iter().map(one).collect::<Vec<_>>()})
}

/// One of several members or more, as said.
fn any_of(members: &[(&str, &str)]) -> Value {
    let one = |(name, kind): &(&str, &str)| json!({"required": [name], "properties": {*name: {"type": kind}}});
    json!({"additionalProperties": false, "anyOf": members.iter().map(one).collect::<Vec<_>>()})
}

fn rules() -> Vec<(&'static str, Value)> {
    let share = json!({"minimum": 0, "maximum": 1});
    let truth = json!({"const": true});
    let host = r"^https://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}(:[1-5]?[0-9]{1,4})?(/[!-~]*)?$";
    let mut draft = any_of(&[("name", "string"), ("from", "string")]);
    let members = json!({"name": name(), "labels": labels(), "classes": classes(), "from": id(DatasetId::PREFIX)});
    merge(&mut draft, json!({"properties": members}));
    let mut label = one_of(&[
        ("class", json!({"type": "string"})),
        ("boxes", json!({"type": "array"})),
        ("skip", truth.clone()),
        ("clear", truth.clone()),
    ]);
    merge(&mut label, json!({"properties": {"boxes": {"maxItems": 5000}}}));
    let mut accept = any_of(&[("examples", "array"), ("at_most_doubt", "number")]);
    let members = json!({"examples": {"items": {"maximum": u32::MAX}}, "at_most_doubt": share});
    merge(&mut accept, json!({"properties": members}));
    let mut change = one_of(&[("label", json!({"type": "string"})), ("remove", truth)]);
    merge(&mut change, json!({"properties": {"example": {"maximum": u32::MAX}}}));
    vec![
        ("NewDataset", json!({"properties": {"name": name(), "labels": labels()}})),
        ("NewUpload", json!({"properties": {"dataset": id(DatasetId::PREFIX)}})),
        ("NewWebhook", json!({"properties": {"url": {"pattern": host, "maxLength": 2000}}})),
        ("NewDraft", draft),
        ("DraftClasses", json!({"properties": {"add_classes": classes()}})),
        ("Label", label),
        (
            "Box",
            json!({"additionalProperties": false, "properties": {"x": share, "y": share, "width": share, "height": share}}),
        ),
        ("SuggestFrom", json!({"properties": {"model": id(ModelId::PREFIX)}})),
        ("Accept", accept),
        ("Seal", json!({"properties": {"name": name()}})),
        ("DoubtOptions", json!({"additionalProperties": false, "properties": {"seed": {"maximum": SEED}}})),
        ("AdviceOptions", json!({"additionalProperties": false})),
        ("Relabel", json!({"properties": {"name": name(), "changes": {"minItems": 1}}})),
        ("LabelChange", change),
    ]
}

/// Gives the schemas that are of requests what they lack.
pub(crate) fn refine(schemas: &mut Map<String, Value>) {
    for (name, rule) in rules() {
        if let Some(schema) = schemas.get_mut(name) {
            merge(schema, rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule for a schema or a member that was renamed would say nothing.
    #[test]
    fn every_rule_is_of_a_schema_and_members_that_there_are() {
        let document = crate::openapi::document();
        for (name, rule) in rules() {
            let schema = &document["components"]["schemas"][name];
            let members = schema["properties"].as_object().unwrap_or_else(|| panic!("there is no schema {name}"));
            let ruled = |rule: &Value| rule["properties"].as_object().cloned().unwrap_or_default();
            let branches = ["oneOf", "anyOf"].into_iter().filter_map(|word| rule[word].as_array()).flatten();
            for (member, _) in branches.flat_map(ruled).chain(ruled(&rule)) {
                assert!(members[&member].get("description").is_some(), "{name} has no member {member}");
            }
        }
    }
}
