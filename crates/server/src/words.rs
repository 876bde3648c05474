//! Schemas of the vocabulary's words.

use kindling_spec::{AnalysisState, DatasetState, ErrorCode, Split, TaskKind, TaskState, TrialState};
use kindling_store::LabelKind;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

pub(crate) fn labels() -> Object {
    one_of([LabelKind::Classes, LabelKind::Boxes].into_iter().map(LabelKind::as_str))
}

macro_rules! schemas {
    ($($name:ident: $words:ty),+ $(,)?) => {
        $(pub(crate) fn $name() -> Object {
            one_of(<$words>::ALL.iter().map(|word| word.as_str()))
        })+
    };
}

schemas!(
    analysis_state: AnalysisState,
    dataset_state: DatasetState,
    error_code: ErrorCode,
    split: Split,
    task_kind: TaskKind,
    task_state: TaskState,
    trial_state: TrialState,
);
