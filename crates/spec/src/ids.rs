//! Ids are time-ordered (UUID version 7) with a prefix that says what they name, so that a trial's
//! id handed in where a task's is expected is refused by its looks alone.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An id that is not of the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not an id of the form {prefix}_ followed by 32 hexadecimal digits")]
pub struct IdError {
    /// What was given.
    pub given: String,
    /// The prefix the id should have.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind starts with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later in order than every id made before it.
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self(format!("{}_{}", $prefix, uuid::Uuid::now_v7().simple()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let hex = text.strip_prefix($prefix).and_then(|rest| rest.strip_prefix('_'));
                match hex {
                    Some(h) if h.len() == 32 && h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
                        Ok(Self(text.to_owned()))
                    }
                    _ => Err(IdError { given: text.chars().take(80).collect(), prefix: $prefix }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Names a data set.
    DatasetId, "ds"
);
id!(
    /// Names a task and its study.
    TaskId, "task"
);
id!(
    /// Names a fleet of tasks.
    FleetId, "fleet"
);
id!(
    /// Names one trial of a study.
    TrialId, "trial"
);
id!(
    /// Names a trained model.
    ModelId, "model"
);

id!(
    /// Names a look at a data set or a task that trains networks of its own: doubts or advice.
    AnalysisId, "analysis"
);

id!(
    /// Names a draft data set: pictures that are being labelled.
    DraftId, "draft"
);

id!(
    /// Names a project: whose keys see its data sets, tasks and models and no other's.
    ProjectId, "project"
);

id!(
    /// Names an access key.
    KeyId, "key"
);

id!(
    /// Names an upload in parts.
    UploadId, "upload"
);

id!(
    /// Names an address that is told of events.
    WebhookId, "webhook"
);

impl ProjectId {
    /// The project of what is made where there are no keys; it is always there.
    pub fn local() -> Self {
        Self(format!("{}_{:032}", Self::PREFIX, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_another_kind_is_refused() {
        let id = TaskId::new();
        assert_eq!(id.as_str().parse::<TaskId>(), Ok(id.clone()));
        let error = id.as_str().parse::<TrialId>().unwrap_err();
        assert!(error.to_string().contains("trial_"), "{error}");
        assert!("task_../../etc".parse::<TaskId>().is_err());
        assert_eq!(ProjectId::local().as_str().parse(), Ok(ProjectId::local()));
    }

    #[test]
    fn later_ids_sort_later() {
        let ids: Vec<_> = (0..100).map(|_| ModelId::new()).collect();
        assert!(ids.is_sorted());
    }
}
