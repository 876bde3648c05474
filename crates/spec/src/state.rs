//! Where things stand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in JSON and in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads the word back.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words!(
    /// A data set's life.
    DatasetState {
        /// Made, its content not yet uploaded.
        Empty = "empty",
        /// The content is here and is being read, audited and packed.
        Processing = "processing",
        /// Sealed: it will not change again.
        Ready = "ready",
        /// The content could not be used; the reason is beside it. New content may be uploaded.
        Refused = "refused",
    }
);

words!(
    /// A task's life (and its study's).
    TaskState {
        /// Posted, no trial has started.
        Queued = "queued",
        /// Trials run.
        Running = "running",
        /// The budget is spent and the models are here.
        Complete = "complete",
        /// Stopped by a person; what was found is kept.
        Cancelled = "cancelled",
        /// No model could be made; the reason is beside it.
        Failed = "failed",
    }
);

impl TaskState {
    /// No worker will do anything for it until it is resumed.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Complete | Self::Cancelled | Self::Failed)
    }
}

words!(
    /// A trial's life.
    TrialState {
        /// In the queue for its next rung.
        Waiting = "waiting",
        /// A worker trains it.
        Running = "running",
        /// Its last rung is done; it may be promoted to the next.
        Paused = "paused",
        /// Trained as far as the study will take it.
        Complete = "complete",
        /// Stopped because others did better or a limit was broken.
        Pruned = "pruned",
        /// It could not be trained; the reason is beside it.
        Failed = "failed",
    }
);

words!(
    /// Which part of a data set an example is in.
    Split {
        /// Weights are fitted to these.
        Train = "train",
        /// The search chooses by these.
        Validation = "validation",
        /// Only finished models are measured on these.
        Test = "test",
    }
);

words!(
    /// What a key may do in its project; each includes those before it.
    Scope {
        /// Look: lists, figures, files, answers.
        Read = "read",
        /// Make, change and delete data sets, tasks and models.
        Write = "write",
        /// Also what is of the whole service: projects, keys, metrics.
        Admin = "admin",
    }
);

words!(
    /// What an analysis finds out.
    AnalysisKind {
        /// Which of a data set's labels are probably wrong.
        Doubts = "doubts",
        /// What would make a task's models better: examples, size or time.
        Advice = "advice",
    }
);

words!(
    /// An analysis' life.
    AnalysisState {
        /// Asked for, not begun or to be begun again.
        Waiting = "waiting",
        /// A process works on it.
        Running = "running",
        /// What it found is here.
        Complete = "complete",
        /// It found nothing; the reason is beside it.
        Failed = "failed",
    }
);

impl AnalysisState {
    /// What it found, or that it failed, stands.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Complete | Self::Failed)
    }
}
