//! What the values of queries and headers may be, by their names. The handlers refuse others; this has the OpenAPI document
//! say so.

use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::bodies::id_pattern;
use crate::words;

fn of(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind)
}

fn one_of(words: &[&str]) -> ObjectBuilder {
    of(Type::String).enum_values(Some(words.iter().copied()))
}

/// The last item of the page before, which is what the list is ordered by.
fn after(path: &str) -> Option<ObjectBuilder> {
    let id = |prefix| Some(id_pattern(prefix));
    let pattern = match path {
        "/v1/datasets" => id("ds"),
        "/v1/drafts" => id("draft"),
        "/v1/fleets" => id("fleet"),
        "/v1/tasks" => id("task"),
        "/v1/tasks/{id}/leaderboard" => id("model"),
        "/v1/models/{id}/files" => None,
        path if ["/examples", "/doubts", "/trials", "/mistakes", "/events"].iter().any(|end| path.ends_with(end)) => {
            Some("^[0-9]{1,9}$".to_owned())
        }
        "/datasets/{id}" => Some("^[0-9]{1,9}$".to_owned()),
        _ => None,
    };
    pattern.map(|pattern| of(Type::String).pattern(Some(pattern)))
}

fn schema(path: &str, parameter: &Parameter) -> Option<Object> {
    let number = |least: i32, most: i32| of(Type::Integer).minimum(Some(least)).maximum(Some(most));
    let schema = match (&parameter.parameter_in, parameter.name.as_str()) {
        (ParameterIn::Path, "number") => of(Type::String).pattern(Some("^[0-9]{1,9}$")),
        (ParameterIn::Query, "after") => after(path)?,
        (ParameterIn::Query, "limit") => number(1, 500).default(Some(json!(100))),
        (ParameterIn::Query, "size") if path.starts_with("/v1/datasets/") => number(16, 1024),
        (ParameterIn::Query, "size") => number(16, 2048),
        (ParameterIn::Query, "empty") => of(Type::Boolean),
        (ParameterIn::Query, "split") => return Some(words::split()),
        (ParameterIn::Query, "state") if path.ends_with("/examples") => one_of(&["unlabelled", "labelled", "skipped"]),
        (ParameterIn::Query, "order") => one_of(&["number", "doubt"]),
        (ParameterIn::Query, "explain") => one_of(&["heatmap"]),
        (ParameterIn::Query, "at_least") => of(Type::Number).minimum(Some(0)).maximum(Some(1)),
        (ParameterIn::Query, "name") => of(Type::String).min_length(Some(1)).max_length(Some(200)),
        (ParameterIn::Header, "Idempotency-Key") => of(Type::String).pattern(Some("^[!-~]([ -~]{0,253}[!-~])?$")),
        (ParameterIn::Header, "Last-Event-ID") => of(Type::String).pattern(Some("^[0-9]{1,18}$")),
        _ => return None,
    };
    Some(schema.build())
}

/// Gives those whose values are not just any text their schemas.
pub(crate) fn refine(path: &str, parameters: &mut [Parameter]) {
    for parameter in parameters {
        if let Some(schema) = schema(path, parameter) {
            parameter.schema = Some(schema.into());
        }
    }
}
